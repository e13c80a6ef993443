//! What every kind of object has in common: versions, attributes, tags, and its life from creation through soft delete to
//! purge. Knows no JSON of the wire and no kind's content.

use super::errors::Fault;
use super::state::{Call, Vault};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

pub(super) const DAY: i64 = 86_400;

/// The three kinds of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Key,
    Secret,
    Certificate,
}

impl Kind {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Kind::Key => "key",
            Kind::Secret => "secret",
            Kind::Certificate => "certificate",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Kind::Key => "Key",
            Kind::Secret => "Secret",
            Kind::Certificate => "Certificate",
        }
    }

    /// The collection's path segment.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Kind::Key => "keys",
            Kind::Secret => "secrets",
            Kind::Certificate => "certificates",
        }
    }

    pub(super) fn not_found_code(self) -> &'static str {
        match self {
            Kind::Key => "KeyNotFound",
            Kind::Secret => "SecretNotFound",
            Kind::Certificate => "CertificateNotFound",
        }
    }
}

/// What a kind of object holds, and how it looks on the wire.
pub(super) trait Content: Sized + Clone + Serialize + DeserializeOwned {
    const KIND: Kind;
    /// What the object holds beside its versions.
    type Extra: Clone + Default + Serialize + DeserializeOwned;
    /// The answer to most operations on one object.
    type Bundle: Serialize;
    /// A line of a list.
    type Item: Serialize;

    fn shelf(vault: &Vault) -> &Shelf<Self>;
    fn shelf_mut(vault: &mut Vault) -> &mut Shelf<Self>;
    /// The current version, without secret values, in whatever phase the object is. Makes key material if need be.
    fn bundle(call: &mut Call<'_>, name: &str) -> Result<Self::Bundle, Fault>;
    /// A line of a list: `version` is `None` in the lists of objects.
    fn item(call: &mut Call<'_>, name: &str, version: Option<&str>, deleted: bool) -> Result<Self::Item, Fault>;
    /// Whether the row store has a row of its own for the object's policy (`azure.md` §1.2, REC for certificates).
    fn has_policy_row(extra: &Self::Extra) -> bool;
}

/// Tags, in a fixed order.
pub(super) type Tags = BTreeMap<String, String>;

/// Attributes that clients set. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Attributes {
    pub(super) enabled: bool,
    pub(super) nbf: Option<i64>,
    pub(super) exp: Option<i64>,
    pub(super) created: i64,
    pub(super) updated: i64,
}

impl Attributes {
    pub(super) fn new(now: i64) -> Self {
        Attributes { enabled: true, nbf: None, exp: None, created: now, updated: now }
    }
}

/// What a request says about attributes; what it leaves out stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AttributesPatch {
    pub(super) enabled: Option<bool>,
    pub(super) nbf: Option<i64>,
    pub(super) exp: Option<i64>,
    pub(super) exportable: Option<bool>,
}

impl AttributesPatch {
    /// Applies the patch.
    ///
    /// # Errors
    /// An expiry before the beginning of validity (GUESS[exp-before-nbf] for the text).
    pub(super) fn apply(&self, attributes: &mut Attributes) -> Result<(), Fault> {
        let nbf = self.nbf.or(attributes.nbf);
        let exp = self.exp.or(attributes.exp);
        if let (Some(nbf), Some(exp)) = (nbf, exp)
            && exp <= nbf
        {
            return Err(Fault::bad_parameter("Attribute \"exp\" must be later than attribute \"nbf\""));
        }
        attributes.enabled = self.enabled.unwrap_or(attributes.enabled);
        (attributes.nbf, attributes.exp) = (nbf, exp);
        Ok(())
    }
}

/// One version of an object.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Version<C> {
    /// 32 hexadecimal digits, random.
    pub(super) id: String,
    pub(super) attributes: Attributes,
    pub(super) tags: Option<Tags>,
    /// Whether it stands behind a certificate.
    pub(super) managed: bool,
    pub(super) content: C,
}

/// An object's place between creation and purge. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Life {
    Live,
    /// Deleted at `at`; the deleted object can be seen from `visible` on.
    Deleted {
        at: i64,
        visible: i64,
    },
    /// Recovered; the live object can be seen from `ready` on.
    Recovering {
        ready: i64,
    },
    /// Purged; the name is free from `gone` on.
    Purging {
        gone: i64,
    },
}

/// What an object's life looks like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No such object, or purged and forgotten.
    Free,
    Live,
    /// Deleted, but neither readable nor listed yet.
    Deleting,
    Deleted,
    /// Recovered, but not readable yet.
    Recovering,
    /// Purged, but the name is still taken.
    Purging,
}

impl Life {
    /// The phase at `now`; `retention` is in seconds. The service purges by itself when the retention ends (DOC).
    pub(super) fn phase(self, now: i64, retention: i64) -> Phase {
        match self {
            Life::Live => Phase::Live,
            Life::Deleted { at, .. } if now >= at.saturating_add(retention) => Phase::Free,
            Life::Deleted { visible, .. } if now < visible => Phase::Deleting,
            Life::Deleted { .. } => Phase::Deleted,
            Life::Recovering { ready } if now < ready => Phase::Recovering,
            Life::Recovering { .. } => Phase::Live,
            Life::Purging { gone } if now < gone => Phase::Purging,
            Life::Purging { .. } => Phase::Free,
        }
    }
}

/// An object with all its versions, oldest first.
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound(
    serialize = "C: Serialize, C::Extra: Serialize",
    deserialize = "C: DeserializeOwned, C::Extra: DeserializeOwned"
))]
pub(super) struct Object<C: Content> {
    /// The name as it was first written; names compare without case.
    pub(super) name: String,
    pub(super) life: Life,
    pub(super) versions: Vec<Version<C>>,
    pub(super) extra: C::Extra,
}

impl<C: Content> Object<C> {
    pub(super) fn new(name: &str, extra: C::Extra) -> Self {
        Object { name: name.to_owned(), life: Life::Live, versions: Vec::new(), extra }
    }

    /// The newest version.
    pub(super) fn current(&self) -> Result<&Version<C>, Fault> {
        self.versions.last().ok_or_else(|| Fault::not_found(C::KIND, &self.name))
    }

    /// One version, or the newest.
    pub(super) fn version(&self, id: Option<&str>) -> Result<&Version<C>, Fault> {
        let Some(id) = id else { return self.current() };
        self.versions
            .iter()
            .find(|version| version.id.eq_ignore_ascii_case(id))
            .ok_or_else(|| Fault::not_found(C::KIND, &format!("{}/{id}", self.name)))
    }

    /// One version to change, or the newest.
    pub(super) fn version_mut(&mut self, id: Option<&str>) -> Result<&mut Version<C>, Fault> {
        let id = self.version(id)?.id.clone();
        let missing = Fault::not_found(C::KIND, &id);
        self.versions.iter_mut().find(|version| version.id == id).ok_or(missing)
    }

    /// Whether the object stands behind a certificate.
    pub(super) fn managed(&self) -> bool {
        self.versions.last().is_some_and(|version| version.managed)
    }
}

/// Now, and the vault's retention, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: i64,
    pub(super) retention: i64,
}

/// All objects of one kind in a vault, by upper-cased name: the order of Azure's row store (`azure.md` §1.2, REC).
#[derive(Clone, Serialize, Deserialize)]
#[serde(bound(
    serialize = "C: Serialize, C::Extra: Serialize",
    deserialize = "C: DeserializeOwned, C::Extra: DeserializeOwned"
))]
pub(super) struct Shelf<C: Content> {
    objects: BTreeMap<String, Object<C>>,
}

impl<C: Content> Default for Shelf<C> {
    fn default() -> Self {
        Shelf { objects: BTreeMap::new() }
    }
}

impl<C: Content> Shelf<C> {
    /// The key of a name.
    pub(super) fn key(name: &str) -> String {
        name.to_ascii_uppercase()
    }

    pub(super) fn phase(&self, name: &str, moment: Moment) -> Phase {
        self.objects.get(&Self::key(name)).map_or(Phase::Free, |object| object.life.phase(moment.now, moment.retention))
    }

    /// The object in whatever phase, for those who have looked at the phase.
    pub(super) fn any(&self, name: &str) -> Result<&Object<C>, Fault> {
        self.objects.get(&Self::key(name)).ok_or_else(|| Fault::not_found(C::KIND, name))
    }

    /// As [`Shelf::any`], to change.
    pub(super) fn any_mut(&mut self, name: &str) -> Result<&mut Object<C>, Fault> {
        self.objects.get_mut(&Self::key(name)).ok_or_else(|| Fault::not_found(C::KIND, name))
    }

    /// The live object. In limbo after a recover it is not there yet (REC).
    pub(super) fn live(&self, name: &str, moment: Moment) -> Result<&Object<C>, Fault> {
        match self.phase(name, moment) {
            Phase::Live => self.any(name),
            _ => Err(Fault::not_found(C::KIND, name)),
        }
    }

    /// As [`Shelf::live`], to change.
    pub(super) fn live_mut(&mut self, name: &str, moment: Moment) -> Result<&mut Object<C>, Fault> {
        self.live(name, moment)?;
        self.any_mut(name)
    }

    /// Whether a new version or object may be written under this name.
    ///
    /// # Errors
    /// The 409 of the phase. A deleted name is blocked at once, before the deleted object can be seen (REC).
    pub(super) fn writable(&self, name: &str, moment: Moment) -> Result<(), Fault> {
        match self.phase(name, moment) {
            Phase::Free | Phase::Live => Ok(()),
            Phase::Deleting | Phase::Deleted => Err(Fault::deleted_but_recoverable(C::KIND, name)),
            Phase::Recovering => Err(Fault::being_recovered(C::KIND, name)),
            Phase::Purging => Err(Fault::being_deleted_for_create(C::KIND, name)),
        }
    }

    /// Adds a version, and the object if the name is free.
    pub(super) fn push(&mut self, name: &str, moment: Moment, version: Version<C>, extra: C::Extra) {
        let free = self.phase(name, moment) == Phase::Free;
        let key = Self::key(name);
        if free {
            self.objects.remove(&key);
        }
        self.objects.entry(key).or_insert_with(|| Object::new(name, extra)).versions.push(version);
    }

    /// Puts a whole object in place, over a free name.
    pub(super) fn put(&mut self, object: Object<C>) {
        self.objects.insert(Self::key(&object.name), object);
    }

    /// Forgets what has been purged: its keys must not outlive it in a saved state.
    pub(super) fn sweep(&mut self, moment: Moment) {
        self.objects.retain(|_, object| object.life.phase(moment.now, moment.retention) != Phase::Free);
    }

    /// Objects from `key` on, in the row store's order.
    pub(super) fn from<'a>(&'a self, key: &str) -> impl Iterator<Item = (&'a String, &'a Object<C>)> {
        self.objects.range(key.to_owned()..)
    }

    /// Changes the life of an object, if it exists.
    pub(super) fn set_life(&mut self, name: &str, life: Life) {
        if let Some(object) = self.objects.get_mut(&Self::key(name)) {
            object.life = life;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_object_is_purged_when_its_retention_ends_and_not_a_second_before() {
        let life = Life::Deleted { at: 1000, visible: 1010 };
        assert_eq!(life.phase(1009, 7 * DAY), Phase::Deleting);
        assert_eq!(life.phase(1010, 7 * DAY), Phase::Deleted);
        assert_eq!(life.phase(1000 + 7 * DAY - 1, 7 * DAY), Phase::Deleted);
        assert_eq!(life.phase(1000 + 7 * DAY, 7 * DAY), Phase::Free);
    }

    #[test]
    fn a_patch_leaves_what_it_does_not_name_and_refuses_an_empty_validity() {
        let mut attributes = Attributes { exp: Some(50), ..Attributes::new(10) };
        AttributesPatch { enabled: Some(false), ..AttributesPatch::default() }.apply(&mut attributes).unwrap();
        assert_eq!((attributes.enabled, attributes.exp), (false, Some(50)));
        assert!(AttributesPatch { nbf: Some(50), ..AttributesPatch::default() }.apply(&mut attributes).is_err());
    }
}
