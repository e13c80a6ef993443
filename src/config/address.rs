//! Addresses in settings: the container, the proxy, a cloud's endpoints. Parsed once; what is left cannot hold a secret.

use std::fmt;

use serde::Deserialize;
use url::Url;

/// A blob container: `https://ACCOUNT.blob.…/CONTAINER`, nothing more.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ContainerUrl(String);

impl ContainerUrl {
    /// Parses an address. A message never repeats a query, for it may hold a shared access signature.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| "the container's address is not a URL".to_owned())?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the container's address has a query: shared access signatures are not accepted, give a \
                        `credential` instead"
                .to_owned());
        }
        let host = plain_host(&url, "the container's address")?;
        let name = url.path().strip_prefix('/').unwrap_or_default();
        let name = name.strip_suffix('/').unwrap_or(name);
        if name.is_empty() || name.contains('/') {
            return Err(format!(
                "https://{host}{} is not a container's address: it needs exactly one name after the \
                                host, as in https://ACCOUNT.blob.core.windows.net/CONTAINER",
                url.path()
            ));
        }
        // https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (3..=63).contains(&name.len())
            && name.bytes().all(plain)
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.contains("--");
        if !fits {
            return Err(format!(
                "{name:?} is not a container's name: 3 to 63 small letters, digits and single hyphens"
            ));
        }
        Ok(ContainerUrl(format!("https://{host}/{name}")))
    }

    /// The whole address, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The account's address, without a trailing slash.
    pub fn endpoint(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(endpoint, _)| endpoint)
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }
}

/// A proxy: `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ProxyUrl(String);

impl ProxyUrl {
    /// Parses an address. Credentials in it are refused: secrets do not belong in settings.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "the proxy's address is not of the form http://HOST:PORT".to_owned();
        let url = Url::parse(text).map_err(|_| wrong())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the proxy's address holds a user name or password, which settings must not".to_owned());
        }
        let plain = matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none();
        match (url.host_str(), plain && url.fragment().is_none()) {
            (Some(_), true) => Ok(ProxyUrl(url.as_str().trim_end_matches('/').to_owned())),
            _ => Err(wrong()),
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A service of a cloud: `https://HOST`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(String);

impl Endpoint {
    /// Parses an address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| "an endpoint is not a URL".to_owned())?;
        let host = plain_host(&url, "an endpoint")?;
        match (url.path(), url.query(), url.fragment()) {
            ("" | "/", None, None) => Ok(Endpoint(format!("https://{host}"))),
            _ => Err("an endpoint has more than a scheme and a host".to_owned()),
        }
    }

    /// The address, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Host and port of an https address without credentials.
fn plain_host(url: &Url, what: &str) -> Result<String, String> {
    if url.scheme() != "https" {
        return Err(format!("{what} does not begin with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{what} holds a user name or password"));
    }
    let host = url.host_str().ok_or_else(|| format!("{what} has no host"))?;
    Ok(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

macro_rules! text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                $name::parse(&text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
text!(ContainerUrl, ProxyUrl, Endpoint);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_a_host_and_one_name() {
        let url = ContainerUrl::parse("https://Archive.blob.core.windows.net/vaults/").unwrap();
        assert_eq!(url.as_str(), "https://archive.blob.core.windows.net/vaults");
        assert_eq!((url.endpoint(), url.name()), ("https://archive.blob.core.windows.net", "vaults"));
        for (wrong, part) in [
            ("archive/vaults", "not a URL"),
            ("http://a.b/vaults", "https://"),
            ("https://a.b", "exactly one name"),
            ("https://a.b/c/d", "exactly one name"),
            ("https://a.b/Vaults", "not a container's name"),
            ("https://a.b/va", "not a container's name"),
            ("https://a.b/va--ults", "not a container's name"),
            ("https://a.b/$root", "not a container's name"),
            ("https://u:p@a.b/vaults", "user name"),
        ] {
            let message = ContainerUrl::parse(wrong).unwrap_err();
            assert!(message.contains(part), "{wrong}: {message}");
        }
    }

    #[test]
    fn a_shared_access_signature_is_refused_and_not_repeated() {
        let message = ContainerUrl::parse("https://a.b/vaults?sv=2024&sig=SECRET").unwrap_err();
        assert!(message.contains("shared access signatures are not accepted") && !message.contains("SECRET"));
    }

    #[test]
    fn proxies_and_endpoints_hold_no_secret() {
        assert_eq!(ProxyUrl::parse("http://127.0.0.1:8443/").unwrap().as_str(), "http://127.0.0.1:8443");
        let message = ProxyUrl::parse("http://u:SECRET@h:1").unwrap_err();
        assert!(message.contains("password") && !message.contains("SECRET"));
        for wrong in ["127.0.0.1:8443", "socks5://h:1", "http://h/path"] {
            assert!(ProxyUrl::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Endpoint::parse("https://login.example/").unwrap().as_str(), "https://login.example");
        assert!(Endpoint::parse("https://login.example/tenant").is_err());
    }
}
