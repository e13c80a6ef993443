//! What two readings of an object are compared by, taken from Azure's JSON: leniently, since fields come and go with
//! api-versions. Judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::value::RawValue;

use super::live::Live;
use crate::format::capture::Metadata;
use crate::format::jwk::thumbprint;
use crate::model::{Attributes, object_of_id, tags_of};

/// One version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) attributes: Attributes,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) content_type: Option<String>,
    /// RFC 7638 thumbprint of a key.
    pub(super) public_key: Option<String>,
    pub(super) key_type: Option<String>,
    pub(super) key_ops: Option<BTreeSet<String>>,
    /// What the policy says, and whether it may be changed.
    pub(super) release_policy: Option<(String, Option<bool>)>,
    /// Thumbprint of a certificate.
    pub(super) x5t: Option<String>,
    /// The key and the secret that a certificate refers to, without the vault that they are in.
    pub(super) parts: Option<[String; 2]>,
}

/// A certificate policy's settings by name, each in canonical text; what nobody set is not there.
pub(super) type CertificatePolicy = BTreeMap<&'static str, String>;

/// A rotation policy: its actions in any order, and the expiry time as one more of them.
pub(super) type RotationPolicy = BTreeSet<String>;

/// An object as a capture or a vault shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) versions: BTreeMap<String, Version>,
    pub(super) certificate_policy: Option<CertificatePolicy>,
    pub(super) rotation_policy: Option<RotationPolicy>,
}

impl Reading {
    pub(super) fn of_capture(metadata: &Metadata) -> Self {
        Reading::of(&metadata.versions, &metadata.bundles, metadata.rotation_policy.as_deref())
    }

    pub(super) fn of_live(live: &Live) -> Self {
        Reading::of(&live.versions, &live.bundles, live.rotation_policy.as_deref())
    }

    fn of(versions: &[Box<RawValue>], bundles: &[Box<RawValue>], rotation: Option<&RawValue>) -> Self {
        let mut reading = Reading::default();
        for item in versions.iter().map(|raw| value_of(raw)) {
            let Some(id) = version_of(item.get("kid").or_else(|| item.get("id"))) else { continue };
            let version = Version {
                attributes: Attributes::of(&item),
                tags: tags_of(&item),
                content_type: text(&item, "contentType"),
                x5t: text(&item, "x5t"),
                ..Version::default()
            };
            reading.versions.insert(id, version);
        }
        // A policy belongs to the certificate, and each of its bundles shows the same one: the newest's is read.
        let newest = reading.versions.iter().max_by_key(|(_, v)| (v.attributes.created, v.attributes.updated));
        let newest = newest.map(|(id, _)| id.clone());
        for bundle in bundles.iter().map(|raw| value_of(raw)) {
            reading.add_bundle(&bundle, newest.as_deref());
        }
        reading.rotation_policy = rotation.map(|raw| rotation_policy(&value_of(raw)));
        reading
    }

    fn add_bundle(&mut self, bundle: &Value, newest: Option<&str>) {
        let key = bundle.get("key");
        let id = version_of(key.and_then(|key| key.get("kid")).or_else(|| bundle.get("id")));
        if let Some(policy) = bundle.get("policy").filter(|_| id.is_some() && id.as_deref() == newest) {
            self.certificate_policy = Some(certificate_policy(policy));
        }
        let Some(version) = id.and_then(|id| self.versions.get_mut(&id)) else { return };
        if let Some(key) = key {
            version.public_key = thumbprint(key);
            version.key_type = text(key, "kty");
            version.key_ops = Some(texts(key.get("key_ops")));
            version.release_policy = bundle.get("release_policy").and_then(release_policy);
        }
        if let (Some(kid), Some(sid)) = (part_of(bundle.get("kid")), part_of(bundle.get("sid"))) {
            version.parts = Some([kid, sid]);
        }
    }
}

fn value_of(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn text(value: &Value, member: &str) -> Option<String> {
    value.get(member).and_then(Value::as_str).map(str::to_owned)
}

fn texts(list: Option<&Value>) -> BTreeSet<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn version_of(id: Option<&Value>) -> Option<String> {
    object_of_id(id?.as_str()?)?.1
}

/// What an id names, without the vault.
fn part_of(id: Option<&Value>) -> Option<String> {
    let (object, version) = object_of_id(id?.as_str()?)?;
    Some(format!("{object}/{}", version.unwrap_or_default()).to_ascii_lowercase())
}

/// The terms of a release. Services spell the same JSON in more than one way.
fn release_policy(policy: &Value) -> Option<(String, Option<bool>)> {
    let data = policy.get("data").and_then(Value::as_str)?;
    let decoded = URL_SAFE_NO_PAD.decode(data.trim_end_matches('=')).ok();
    let json = decoded.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let terms = json.map_or_else(|| data.to_owned(), |json| json.to_string());
    Some((terms, policy.get("immutable").and_then(Value::as_bool)))
}

/// Settings of a certificate policy that are compared, and where they stand. They are as old as the service; `exportable`
/// is not among them, nor what later api-versions added.
const CERTIFICATE_POLICY: &[(&str, &str)] = &[
    ("enabled", "/attributes/enabled"),
    ("issuer", "/issuer/name"),
    ("certificate type", "/issuer/cty"),
    ("key type", "/key_props/kty"),
    ("key size", "/key_props/key_size"),
    ("curve", "/key_props/crv"),
    ("reuse of the key", "/key_props/reuse_key"),
    ("content type", "/secret_props/contentType"),
    ("subject", "/x509_props/subject"),
    ("extended key usage", "/x509_props/ekus"),
    ("key usage", "/x509_props/key_usage"),
    ("DNS names", "/x509_props/sans/dns_names"),
    ("e-mail addresses", "/x509_props/sans/emails"),
    ("user principal names", "/x509_props/sans/upns"),
    ("validity", "/x509_props/validity_months"),
    ("lifetime actions", "/lifetime_actions"),
];

fn certificate_policy(policy: &Value) -> CertificatePolicy {
    let set = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    let found = CERTIFICATE_POLICY.iter().filter_map(|(name, at)| Some((*name, policy.pointer(at)?)));
    found.filter(|(_, value)| set(value)).map(|(name, value)| (name, unordered(value))).collect()
}

/// Canonical text, the items of a list in whatever order.
fn unordered(value: &Value) -> String {
    match value.as_array() {
        Some(items) => {
            items.iter().map(Value::to_string).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(",")
        }
        None => value.to_string(),
    }
}

fn rotation_policy(policy: &Value) -> RotationPolicy {
    let actions = policy.get("lifetimeActions").and_then(Value::as_array).into_iter().flatten();
    let action = |action: &Value| {
        let at = |pointer| action.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        // Notify or notify: both are documented.
        let kind = at("/action/type").to_ascii_lowercase();
        format!("{kind}, after {:?}, before {:?}", at("/trigger/timeAfterCreate"), at("/trigger/timeBeforeExpiry"))
    };
    let expiry = policy.pointer("/attributes/expiryTime").and_then(Value::as_str);
    let expiry = expiry.map(|period| format!("expires after {period:?}"));
    actions.map(action).chain(expiry).collect()
}
