//! What requests cost: Microsoft's request limits as data, and what is known of each key. Knows no time.
//!
//! Source: "Azure Key Vault service limits", <https://learn.microsoft.com/azure/key-vault/general/service-limits>, as
//! collected in `azure.md` §1.9. Creating keys and secrets has limits of its own, far lower; nothing here
//! creates any. No limit is documented for restores: they count as other requests do, and if that is wrong, 429 tells.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::Name;
use crate::vault::Load;

/// The time over which a vault counts requests.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// A subscription's limit, in limits of one vault.
pub(super) const VAULTS_IN_A_SUBSCRIPTION: f64 = 5.0;

/// Requests in a window about secrets, certificates and the vault itself, each list included.
const TRANSACTIONS: u16 = 4_000;

/// Requests in a window about keys: up to so many bits, in software, in an HSM. The first row is that of RSA 2048 and of
/// every elliptic curve.
#[rustfmt::skip]
const KEYS: [(u32, u16, u16); 3] = [
    (2_048, 4_000, 2_000),
    (3_072, 1_000,   500),
    (4_096,   500,   250),
];

/// A key in software of which no more is known.
const ORDINARY: u16 = 4_000;

/// The limit of a key.
fn limit(bits: u32, hsm: bool) -> u16 {
    let [.., largest] = KEYS;
    let (_, software, module) = *KEYS.iter().find(|(up_to, ..)| bits <= *up_to).unwrap_or(&largest);
    if hsm { module } else { software }
}

/// What is known of a vault's keys. A hundred thousand of them must fit, so only those that are not ordinary are kept,
/// and of these no names: two that fall on the same number would merely be asked at the wrong pace.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<u64, u16>);

impl Keys {
    /// The part of a vault's limit for a window that a request takes. Key Vault adds up parts, not requests: the limit
    /// is reached when they come to one.
    pub(super) fn cost(&self, load: Load<'_>) -> f64 {
        let limit = match load {
            Load::List | Load::Transaction => TRANSACTIONS,
            Load::Key(name) => self.0.get(&number(name)).copied().unwrap_or(ORDINARY),
        };
        1.0 / f64::from(limit)
    }

    /// Notes a key's type, if `shown`, an item of a list or a bundle, tells it. What cannot be read teaches nothing.
    pub(super) fn learn(&mut self, shown: &RawValue) {
        let Some((name, limit)) = read(shown) else { return };
        match limit {
            ORDINARY => self.0.remove(&number(&name)),
            limit => self.0.insert(number(&name), limit),
        };
    }
}

fn number(name: &Name) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[derive(Deserialize)]
struct Shown {
    kid: Option<String>,
    #[serde(default)]
    attributes: Attributes,
    key: Option<Jwk>,
}

#[derive(Default, Deserialize)]
struct Attributes {
    /// "0" in software, "1" or "2" in a module.
    #[serde(rename = "hsmPlatform")]
    hsm_platform: Option<String>,
    /// Bits of an RSA key, since api-version 2025-07-01.
    key_size: Option<u32>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: Option<String>,
    /// The modulus of an RSA key, base64url.
    n: Option<String>,
}

fn read(shown: &RawValue) -> Option<(Name, u16)> {
    let shown: Shown = serde_json::from_str(shown.get()).ok()?;
    let kid = shown.key.as_ref().map(|key| &key.kid).or(shown.kid.as_ref())?;
    let (_, path) = kid.split_once("/keys/")?;
    let name = Name::parse(path.split('/').next()?)?;
    let platform = shown.attributes.hsm_platform.as_deref();
    let kty = shown.key.as_ref().and_then(|key| key.kty.as_deref());
    let hsm = platform.is_some_and(|platform| platform != "0") || kty.is_some_and(|kty| kty.ends_with("-HSM"));
    // Four digits are three bytes.
    let modulus = shown.key.as_ref().and_then(|key| key.n.as_ref()).map(|n| n.len() * 3 / 4 * 8);
    let bits = shown.attributes.key_size.or(modulus.and_then(|bits| u32::try_from(bits).ok())).unwrap_or_default();
    Some((name, limit(bits, hsm)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    /// How many requests about `name` fill a window.
    fn requests(keys: &Keys, name: &str) -> f64 {
        1.0 / keys.cost(Load::Key(&Name::parse(name).unwrap()))
    }

    #[test]
    fn a_key_costs_what_the_documentation_says_of_its_type() {
        let item = |attributes: &str| {
            let mut keys = Keys::default();
            keys.learn(&raw(&format!(r#"{{"kid":"https://v.vault.azure.net/keys/Tde","attributes":{attributes}}}"#)));
            requests(&keys, "tde")
        };
        for (attributes, limit) in [
            (r#"{"enabled":true}"#, 4_000.0),
            (r#"{"hsmPlatform":"0"}"#, 4_000.0),
            (r#"{"hsmPlatform":"1"}"#, 2_000.0),
            (r#"{"hsmPlatform":"2"}"#, 2_000.0),
            (r#"{"key_size":2048,"hsmPlatform":"0"}"#, 4_000.0),
            (r#"{"key_size":3072,"hsmPlatform":"0"}"#, 1_000.0),
            (r#"{"key_size":4096,"hsmPlatform":"0"}"#, 500.0),
            (r#"{"key_size":2048,"hsmPlatform":"2"}"#, 2_000.0),
            (r#"{"key_size":3072,"hsmPlatform":"2"}"#, 500.0),
            (r#"{"key_size":4096,"hsmPlatform":"2"}"#, 250.0),
            (r#"{"key_size":8192,"hsmPlatform":"2"}"#, 250.0),
        ] {
            assert!((item(attributes) - limit).abs() < 1e-6, "{attributes}: {}", item(attributes));
        }
        assert!((Keys::default().cost(Load::List) * 4_000.0 - 1.0).abs() < 1e-9);
        assert!((Keys::default().cost(Load::Transaction) * 4_000.0 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_bundle_tells_more_than_a_list_of_an_older_api_version() {
        let mut keys = Keys::default();
        keys.learn(&raw(r#"{"kid":"https://v.vault.azure.net/keys/a","attributes":{"hsmPlatform":"1"}}"#));
        assert!((requests(&keys, "a") - 2_000.0).abs() < 1e-6);
        let modulus = "A".repeat(683);
        keys.learn(&raw(&format!(
            r#"{{"key":{{"kid":"https://v.vault.azure.net/keys/a/1","kty":"RSA-HSM","n":"{modulus}"}},"attributes":{{}}}}"#
        )));
        assert!((requests(&keys, "a") - 250.0).abs() < 1e-6);
    }

    #[test]
    fn only_what_is_not_ordinary_is_kept() {
        let mut keys = Keys::default();
        let item = |hsm: &str| raw(&format!(r#"{{"kid":"https://v/keys/a","attributes":{{"hsmPlatform":"{hsm}"}}}}"#));
        keys.learn(&item("0"));
        assert_eq!(keys.0.len(), 0);
        keys.learn(&item("2"));
        assert_eq!(keys.0.len(), 1);
        // The same name, made anew in software.
        keys.learn(&item("0"));
        assert_eq!(keys.0.len(), 0);
        for nonsense in [r#"{"kid":7}"#, r#"{"kid":"x"}"#, r#"{"kid":"https://v/keys/a b"}"#, "[]", "{}"] {
            keys.learn(&raw(nonsense));
        }
        assert_eq!(keys.0.len(), 0);
    }
}
