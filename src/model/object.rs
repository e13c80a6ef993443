//! An object: a key, secret or certificate with all its versions. Names, ids and the attributes that lists show.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use chrono::{DateTime, Datelike as _, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::vault::VaultUri;

/// What kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A certificate; it owns a managed key and a managed secret of the same name.
    Certificate,
    /// A key.
    Key,
    /// A secret.
    Secret,
}

impl Kind {
    /// All kinds, certificates first: the order in which they are restored, since a certificate brings its key and secret.
    pub const ALL: [Kind; 3] = [Kind::Certificate, Kind::Key, Kind::Secret];

    /// `key`, `secret` or `certificate`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Certificate => "certificate",
            Kind::Key => "key",
            Kind::Secret => "secret",
        }
    }

    /// The collection in Key Vault's addresses: `keys`, `secrets`, `certificates`.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Certificate => "certificates",
            Kind::Key => "keys",
            Kind::Secret => "secrets",
        }
    }

    /// Parses the singular or the plural.
    pub fn parse(text: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| text == kind.name() || text == kind.plural())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An object's name: 1 to 127 letters, digits and hyphens (`^[0-9a-zA-Z-]{1,127}$`, Key Vault REST reference).
///
/// Names that differ only by case are the same name: the service's row store upper-cases them (recorded list order).
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

impl Name {
    /// Parses a name.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=127).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        fits.then(|| Name(text.into()))
    }

    /// The name as the vault spelt it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| state.write_u8(byte));
        state.write_u8(0xff);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Name::parse(&text)
            .ok_or_else(|| format!("{text:?} is not an object name: 1 to 127 letters, digits and hyphens"))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.into()
    }
}

/// A key, secret or certificate, named. Ordered by kind, then by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Object {
    /// Key, secret or certificate.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
}

impl Object {
    /// An object.
    pub fn new(kind: Kind, name: Name) -> Self {
        Object { kind, name }
    }

    /// Parses `KIND/NAME`, as in `key/tde-protector` or `keys/tde-protector`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        Some(Object::new(Kind::parse(kind)?, Name::parse(name)?))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The object and version that an identifier such as `https://v.vault.azure.net/keys/NAME[/VERSION]` names.
///
/// Looks only at the path, also `/deletedkeys/NAME`; the host is the caller's to check.
pub fn object_of_id(id: &str) -> Option<(Object, Option<String>)> {
    let url = url::Url::parse(id).ok()?;
    let mut segments = url.path_segments()?.filter(|segment| !segment.is_empty());
    let collection = segments.next()?;
    let kind = Kind::parse(collection.strip_prefix("deleted").unwrap_or(collection))?;
    let name = Name::parse(segments.next()?)?;
    let version = segments.next().map(str::to_owned);
    segments.next().is_none().then_some((Object::new(kind, name), version))
}

/// What [`object_of_id`] finds, if the identifier is one of `vault`'s own.
pub fn object_in(vault: &VaultUri, id: &str) -> Option<(Object, Option<String>)> {
    let own = url::Url::parse(id).ok()?.host_str()?.eq_ignore_ascii_case(vault.host());
    own.then(|| object_of_id(id))?
}

/// The attributes that every list item and bundle carries, read leniently: fields come and go with api-versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Whether the object may be used.
    pub enabled: Option<bool>,
    /// Not usable before this time.
    pub not_before: Option<DateTime<Utc>>,
    /// Not usable after this time.
    pub expires: Option<DateTime<Utc>>,
    /// When the version was created; whole seconds.
    pub created: Option<DateTime<Utc>>,
    /// When it was last changed; whole seconds.
    pub updated: Option<DateTime<Utc>>,
    /// Such as `Recoverable+Purgeable`; without `Purgeable` the vault has purge protection.
    pub recovery_level: Option<String>,
}

/// A time as Key Vault writes it, in seconds since 1970. Whoever may set an attribute may set an absurd one, and files
/// hold no year of more than four digits: beyond them a time counts as absent, and the answer itself still tells it.
pub fn unix_time(seconds: &Value) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds.as_i64()?, 0).filter(|time| (0..=9999).contains(&time.year()))
}

impl Attributes {
    /// Reads the `attributes` member of a list item or bundle.
    pub fn of(item: &Value) -> Self {
        let attributes = item.get("attributes");
        let time = |field: &str| unix_time(attributes?.get(field)?);
        Attributes {
            enabled: attributes.and_then(|a| a.get("enabled")).and_then(Value::as_bool),
            not_before: time("nbf"),
            expires: time("exp"),
            created: time("created"),
            updated: time("updated"),
            recovery_level: attributes.and_then(|a| a.get("recoveryLevel")).and_then(Value::as_str).map(str::to_owned),
        }
    }

    /// Whether a deleted object of this recovery level may be purged before its date (`azure.md` §1.7).
    pub fn purgeable(&self) -> bool {
        self.recovery_level.as_deref().is_some_and(|level| level.contains("Purgeable"))
    }
}

/// The tags of a list item or bundle. Azure's tags are texts; what is not one is left out, since nothing can be equal to
/// it.
pub fn tags_of(item: &Value) -> BTreeMap<String, String> {
    let tags = item.get("tags").and_then(Value::as_object).into_iter().flatten();
    tags.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_whatever_stands_there() {
        let tags = |text: &str| tags_of(&serde_json::from_str(text).unwrap());
        let read = tags(r#"{"tags": {"team": "payments", "empty": "", "odd": 1, "none": null}}"#);
        let expected = [("empty", ""), ("team", "payments")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read, BTreeMap::from(expected));
        for nothing in [r#"{}"#, r#"{"tags": null}"#, r#"{"tags": []}"#, "5"] {
            assert!(tags(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn names_that_differ_by_case_are_one_name() {
        let (a, b) = (Name::parse("TLS-1").unwrap(), Name::parse("tls-1").unwrap());
        assert_eq!(a, b);
        assert_eq!(a.cmp(&b), Ordering::Equal);
        assert_eq!(std::collections::HashSet::from([a, b]).len(), 1);
        for wrong in ["", "a_b", "a.b", "é", "a/b", &"a".repeat(128)] {
            assert!(Name::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_time_that_no_file_can_hold_is_none() {
        let year = |value: Value| unix_time(&value).map(|time| time.year());
        assert_eq!(year(253_402_300_799_i64.into()), Some(9999));
        for absurd in [253_402_300_800_i64, 292_277_026_596, -62_167_219_201, i64::MAX, i64::MIN] {
            assert_eq!(year(absurd.into()), None, "{absurd}");
        }
        assert_eq!((year("1".into()), year(1.5.into())), (None, None));
    }

    #[test]
    fn ids_of_other_vaults_are_told_apart() {
        let vault = VaultUri::parse("https://v.vault.azure.net").unwrap();
        for own in ["https://v.vault.azure.net/keys/a", "https://V.vault.azure.net:443/keys/a/1"] {
            assert!(object_in(&vault, own).is_some(), "{own}");
        }
        for other in ["https://w.vault.azure.net/keys/a", "https://v.vault.azure.net.evil.example/keys/a", "/keys/a"] {
            assert!(object_in(&vault, other).is_none(), "{other}");
        }
    }

    #[test]
    fn ids_name_objects_and_versions() {
        let (object, version) = object_of_id("https://v.vault.azure.net/keys/tde/0123").unwrap();
        assert_eq!((object.to_string().as_str(), version.as_deref()), ("key/tde", Some("0123")));
        let (object, version) = object_of_id("https://v.vault.azure.net:443/deletedsecrets/s/").unwrap();
        assert_eq!((object.to_string().as_str(), version), ("secret/s", None));
        for wrong in [
            "keys/a",
            "https://h/",
            "https://h/keys",
            "https://h/things/a",
            "https://h/keys/a/b/c",
            "https://h/keys/a%2fb",
        ] {
            assert!(object_of_id(wrong).is_none(), "{wrong}");
        }
    }
}
