//! What a capture holds, read as far as planning and comparing need it.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::format::capture::Capture;
use crate::format::jwk::thumbprint;
use crate::model::{Attributes, Kind, Object, object_of_id};

/// One version of an object, as a list shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Times and the enabled flag.
    pub attributes: Attributes,
    /// Tags in canonical text.
    pub tags: String,
    /// RFC 7638 thumbprint of a key, `x5t` of a certificate.
    pub thumbprint: Option<String>,
}

/// An object's versions by id.
pub type Versions = BTreeMap<String, Version>;

/// What a capture holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The object.
    pub object: Object,
    /// Its versions.
    pub versions: Versions,
    /// Whether any version's key material lives in an HSM.
    pub hsm: bool,
}

impl Source {
    /// Reads a capture's metadata.
    pub fn of(capture: &Capture) -> Self {
        let metadata = &capture.metadata;
        let mut versions = Versions::new();
        for raw in &metadata.versions {
            let _ = add_item(&mut versions, raw);
        }
        let mut hsm = false;
        for bundle in &metadata.bundles {
            hsm |= add_bundle(&mut versions, bundle);
        }
        Source { object: metadata.object.clone(), versions, hsm }
    }

    /// The version created last, and of those the one changed last.
    pub fn newest(&self) -> Option<(&String, &Version)> {
        newest(&self.versions)
    }

    /// The versions, the one created last first.
    pub fn newest_first(&self) -> Vec<(&String, &Version)> {
        let mut versions: Vec<(&String, &Version)> = self.versions.iter().collect();
        versions
            .sort_by_key(|(_, version)| std::cmp::Reverse((version.attributes.created, version.attributes.updated)));
        versions
    }

    /// How a person would name the kind of thing: `key (HSM)`, `secret`.
    pub fn label(&self) -> String {
        match (self.object.kind, self.hsm) {
            (Kind::Key, true) => "HSM key".into(),
            (kind, _) => kind.to_string(),
        }
    }
}

/// The version created last, and of those the one changed last.
pub fn newest(versions: &Versions) -> Option<(&String, &Version)> {
    versions.iter().max_by_key(|(_, version)| (version.attributes.created, version.attributes.updated))
}

/// Adds an item of a versions list. Tells whether a certificate owns it.
pub fn add_item(versions: &mut Versions, raw: &RawValue) -> bool {
    let item: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    let id = item.get("kid").or_else(|| item.get("id")).and_then(Value::as_str).and_then(object_of_id);
    if let Some((_, Some(id))) = id {
        let version = Version {
            attributes: Attributes::of(&item),
            tags: tags(&item),
            thumbprint: item.get("x5t").and_then(Value::as_str).map(str::to_owned),
        };
        versions.insert(id, version);
    }
    item.get("managed").and_then(Value::as_bool).unwrap_or(false)
}

/// Tags in canonical text. None and an empty set are the same: which one Azure sends varies.
fn tags(item: &Value) -> String {
    let tags = item.get("tags").filter(|tags| tags.as_object().is_some_and(|tags| !tags.is_empty()));
    tags.map(Value::to_string).unwrap_or_default()
}

/// Adds a key bundle's thumbprint to its version. Tells whether the key is in an HSM: a key's own type, or the one that a
/// certificate's policy asks for.
pub fn add_bundle(versions: &mut Versions, raw: &RawValue) -> bool {
    let bundle: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    let in_hsm = |key: &Value| key.get("kty").and_then(Value::as_str).is_some_and(|kty| kty.ends_with("-HSM"));
    let Some(key) = bundle.get("key") else {
        return bundle.get("policy").and_then(|policy| policy.get("key_props")).is_some_and(in_hsm);
    };
    let id = key.get("kid").and_then(Value::as_str).and_then(object_of_id).and_then(|(_, version)| version);
    if let Some(version) = id.and_then(|id| versions.get_mut(&id)) {
        version.thumbprint = thumbprint(key);
    }
    in_hsm(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_an_hsm_by_its_type_and_a_certificates_by_its_policy() {
        let hsm = |text: &str| add_bundle(&mut Versions::new(), serde_json::from_str(text).unwrap());
        assert!(hsm(r#"{"key": {"kid": "https://v.vault.azure.net/keys/a/1", "kty": "RSA-HSM"}}"#));
        assert!(!hsm(r#"{"key": {"kid": "https://v.vault.azure.net/keys/a/1", "kty": "RSA"}}"#));
        assert!(hsm(r#"{"kid": "https://v.vault.azure.net/keys/a/1", "policy": {"key_props": {"kty": "EC-HSM"}}}"#));
        assert!(!hsm(r#"{"kid": "https://v.vault.azure.net/keys/a/1", "policy": {"key_props": {"kty": "EC"}}}"#));
        assert!(!hsm(r#"{"policy": 5}"#) && !hsm("5"));
    }
}
