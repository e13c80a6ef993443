//! Which objects a rule selects: conditions, all of which must hold. One function answers each of them, for decisions and
//! for explanations alike.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::model::{Glob, Kind, Object, VaultUri};

/// Which objects. A condition that is absent holds for everything; of a list, one item must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Patterns for the vault's name; one with a dot is for its host. None: every vault.
    pub vaults: Vec<Glob>,
    /// Kinds. None: every kind.
    pub kinds: BTreeSet<Kind>,
    /// Patterns for the object's name. None: every name.
    pub names: Vec<Glob>,
    /// Tags that the object must have, all of them.
    pub tags: BTreeMap<String, TagValue>,
    /// Whether it is enabled.
    pub enabled: Option<bool>,
}

/// What a tag must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagValue {
    /// There, whatever it says. Written `*`.
    Any,
    /// This text, to the letter.
    Is(String),
}

impl TagValue {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        match self {
            TagValue::Any => "*",
            TagValue::Is(text) => text,
        }
    }

    fn covers(&self, other: &TagValue) -> bool {
        *self == TagValue::Any || self == other
    }
}

/// What is known of an object when its vault has been listed. What is not known satisfies no condition.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its vault.
    pub vault: Option<&'a VaultUri>,
    /// The object.
    pub object: &'a Object,
    /// Whether it is enabled.
    pub enabled: Option<bool>,
    /// Its tags.
    pub tags: Option<&'a BTreeMap<String, String>>,
}

/// One condition of a selection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Condition<'a> {
    /// The vault is one of these.
    Vault(&'a [Glob]),
    /// The kind is one of these.
    Kind(&'a BTreeSet<Kind>),
    /// The name is one of these.
    Name(&'a [Glob]),
    /// The object has this tag.
    Tag(&'a str, &'a TagValue),
    /// The object is enabled, or is not.
    Enabled(bool),
}

impl Condition<'_> {
    /// Whether it holds; `None` if what it asks for is not known.
    pub(super) fn holds(self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            Condition::Vault(patterns) => facts.vault.map(|vault| patterns.iter().any(|glob| is_of(glob, vault))),
            Condition::Kind(kinds) => Some(kinds.contains(&facts.object.kind)),
            Condition::Name(patterns) => Some(patterns.iter().any(|glob| glob.matches(facts.object.name.as_str()))),
            Condition::Tag(name, wanted) => facts.tags.map(|tags| match (tags.get(name), wanted) {
                (None, _) => false,
                (Some(_), TagValue::Any) => true,
                (Some(text), TagValue::Is(wanted)) => text == wanted,
            }),
            Condition::Enabled(wanted) => facts.enabled.map(|enabled| enabled == wanted),
        }
    }
}

/// A vault's name has no dot, so a pattern with one can only mean the host.
fn is_of(glob: &Glob, vault: &VaultUri) -> bool {
    glob.matches(if glob.as_str().contains('.') { vault.host() } else { vault.name() })
}

impl Selection {
    /// Whether every condition holds.
    pub fn selects(&self, facts: &Facts<'_>) -> bool {
        self.conditions().all(|condition| condition.holds(facts) == Some(true))
    }

    /// The conditions, in the order in which docs/POLICIES.md lists them.
    pub(super) fn conditions(&self) -> impl Iterator<Item = Condition<'_>> {
        let vault = (!self.vaults.is_empty()).then_some(Condition::Vault(&self.vaults));
        let kind = (!self.kinds.is_empty()).then_some(Condition::Kind(&self.kinds));
        let name = (!self.names.is_empty()).then_some(Condition::Name(&self.names));
        let tags = self.tags.iter().map(|(name, value)| Condition::Tag(name, value));
        let enabled = self.enabled.map(Condition::Enabled);
        vault.into_iter().chain(kind).chain(name).chain(tags).chain(enabled)
    }

    /// Whether it selects every object there is.
    pub(super) fn is_everything(&self) -> bool {
        self.covers(&Selection::default())
    }

    /// Whether whatever `other` selects is surely selected by this one too.
    pub(super) fn covers(&self, other: &Selection) -> bool {
        let patterns = |ours: &[Glob], theirs: &[Glob]| {
            let each = |their: &Glob| ours.iter().any(|our| our.covers(their));
            ours.iter().any(|glob| glob.as_str() == "*") || (!theirs.is_empty() && theirs.iter().all(each))
        };
        let kinds = Kind::ALL.iter().all(|kind| self.kinds.contains(kind))
            || (!other.kinds.is_empty() && other.kinds.is_subset(&self.kinds));
        (self.vaults.is_empty() || patterns(&self.vaults, &other.vaults))
            && (self.kinds.is_empty() || kinds)
            && (self.names.is_empty() || patterns(&self.names, &other.names))
            && self.tags.iter().all(|(name, ours)| other.tags.get(name).is_some_and(|theirs| ours.covers(theirs)))
            && (self.enabled.is_none() || self.enabled == other.enabled)
    }

    /// The conditions as members of a rule in canonical JSON.
    pub(super) fn canonical(&self) -> Map<String, Value> {
        let texts = |globs: &[Glob]| globs.iter().map(|glob| Value::from(glob.as_str())).collect::<Value>();
        let members = self.conditions().filter_map(|condition| match condition {
            Condition::Vault(globs) => Some(("vaults", texts(globs))),
            Condition::Kind(kinds) => Some(("kinds", kinds.iter().map(|kind| Value::from(kind.name())).collect())),
            Condition::Name(globs) => Some(("names", texts(globs))),
            Condition::Enabled(enabled) => Some(("enabled", enabled.into())),
            // All of them are one member.
            Condition::Tag(..) => None,
        });
        let mut members: Map<String, Value> = members.map(|(name, value)| (name.to_owned(), value)).collect();
        if !self.tags.is_empty() {
            let tags = self.tags.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
            members.insert("tags".into(), Value::Object(tags.collect()));
        }
        members
    }
}
