//! A vault's address, and what is known of the vault beyond its objects.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::place::Place;

/// A vault's address: `https://NAME.SUFFIX`, nothing after the host. Stored without a trailing slash, host in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VaultUri(String);

impl VaultUri {
    /// Parses an address. A trailing slash and an explicit port 443 are dropped; anything else beyond the host is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let plain = url.scheme() == "https"
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none();
        let host = url.host_str()?;
        let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (plain && host.len() <= 253 && host.contains('.') && host.split('.').all(label))
            .then(|| VaultUri(format!("https://{host}")))
    }

    /// `https://NAME.SUFFIX`, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `NAME.SUFFIX`: the vault's folder in an archive.
    pub fn host(&self) -> &str {
        self.0.strip_prefix("https://").unwrap_or(&self.0)
    }

    /// The first label of the host: the vault's name in Azure.
    pub fn name(&self) -> &str {
        self.host().split('.').next().unwrap_or_default()
    }

    /// The host without the vault's name, such as `vault.azure.net`: it tells the cloud.
    pub fn suffix(&self) -> &str {
        self.host().split_once('.').map_or("", |(_, suffix)| suffix)
    }
}

impl fmt::Display for VaultUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VaultUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for VaultUri {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        VaultUri::parse(&text)
            .ok_or_else(|| format!("{text:?} is not a vault address such as https://NAME.vault.azure.net"))
    }
}

impl From<VaultUri> for String {
    fn from(uri: VaultUri) -> String {
        uri.0
    }
}

/// What Azure Resource Manager says of a vault. Written into manifests as found; compared before a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultFacts {
    /// The resource id, `/subscriptions/…/vaults/NAME`.
    pub resource_id: String,
    /// Where the vault is.
    #[serde(flatten)]
    pub place: Place,
    /// `standard` or `premium`.
    pub sku: String,
    /// Soft delete and purge protection.
    pub soft_delete: SoftDelete,
    /// Whether permissions come from Azure roles (true) or access policies (false).
    pub rbac: bool,
}

/// A vault's soft-delete settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftDelete {
    /// Whether soft delete is on; always so for vaults made since 2020.
    pub enabled: bool,
    /// Days that a deleted object stays recoverable, 7 to 90.
    pub retention_days: u32,
    /// Whether nobody can purge before that time.
    pub purge_protection: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_scheme_and_host_and_nothing_else() {
        let uri = VaultUri::parse("https://Prod.vault.azure.net:443/").unwrap();
        assert_eq!(
            (uri.as_str(), uri.host(), uri.name(), uri.suffix()),
            ("https://prod.vault.azure.net", "prod.vault.azure.net", "prod", "vault.azure.net")
        );
        for wrong in [
            "http://a.b",
            "https://a.b/keys",
            "https://a.b:8443",
            "https://u@a.b",
            "https://a.b?x",
            "a.b",
            "https://a",
            "https://a_b.c",
        ] {
            assert!(VaultUri::parse(wrong).is_none(), "{wrong}");
        }
    }
}
