//! Following a list from page to page without being led astray: never to another host, never twice to the same place,
//! never without end (`azure.md` §1.2). Knows no service.

use std::collections::HashSet;

use url::Url;

use crate::model::Digest;

/// More pages than any list has: 5,000,000 objects at 25 a page.
const MOST: usize = 200_000;

/// The way so far through one list. Remembers digests, so that long links cost no memory.
pub(super) struct Trail {
    origin: Url,
    seen: HashSet<Digest>,
}

impl Trail {
    /// A list that begins at `origin`.
    pub(super) fn new(origin: Url) -> Self {
        Trail { origin, seen: HashSet::new() }
    }

    /// Checks a link before it is followed, for a token goes with it. The service writes its port, `:443`, explicitly.
    pub(super) fn follow(&mut self, link: &str) -> Result<Url, String> {
        let url = self.origin.join(link).map_err(|_| "the link to the next page is no address".to_owned())?;
        let same = url.scheme() == self.origin.scheme()
            && url.host() == self.origin.host()
            && url.port_or_known_default() == self.origin.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none();
        if !same {
            let host = url.host_str().unwrap_or_default();
            return Err(format!("the link to the next page leads elsewhere, to {}://{host}", url.scheme()));
        }
        self.mark(url.as_str())?;
        Ok(url)
    }

    /// Checks that a continuation has not been used before.
    pub(super) fn mark(&mut self, continuation: &str) -> Result<(), String> {
        if self.seen.len() >= MOST {
            return Err(format!("the list does not end after {MOST} pages"));
        }
        if !self.seen.insert(Digest::of(continuation.as_bytes())) {
            return Err("the list runs in a circle: a link to the next page came twice".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail() -> Trail {
        Trail::new(Url::parse("https://v.vault.azure.net").unwrap())
    }

    #[test]
    fn a_link_to_the_same_host_is_followed_once() {
        let mut trail = trail();
        let link = "https://V.vault.azure.net:443/keys?api-version=7.6&$skiptoken=abc";
        assert!(trail.follow(link).is_ok());
        assert!(trail.follow(link).unwrap_err().contains("circle"));
        assert!(trail.follow("/keys?$skiptoken=def").is_ok());
    }

    #[test]
    fn a_link_elsewhere_is_refused() {
        for link in [
            "https://evil.example/keys",
            "http://v.vault.azure.net/keys",
            "https://v.vault.azure.net:8443/keys",
            "https://v.vault.azure.net@evil.example/keys",
            "https://user@v.vault.azure.net/keys",
            "//evil.example/keys",
            "javascript:alert(1)",
            "https://",
        ] {
            assert!(trail().follow(link).is_err(), "{link}");
        }
    }
}
