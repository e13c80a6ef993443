//! Which vaults are meant: conditions on subscription, tags and name, as settings and command lines give them. Pure; asks
//! nobody what there is.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Glob;

/// A subscription's id: a GUID in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubscriptionId(String);

impl SubscriptionId {
    /// Parses a GUID with hyphens, in any case. A subscription's *name* is none.
    pub fn parse(text: &str) -> Option<Self> {
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        let digits = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        (digits && groups == [8, 4, 4, 4, 12]).then(|| SubscriptionId(text.to_ascii_lowercase()))
    }

    /// The subscription in a resource id such as `/subscriptions/…/resourceGroups/…`.
    pub fn of_resource(id: &str) -> Option<Self> {
        let mut segments = id.split('/').skip(1);
        segments.next().filter(|first| first.eq_ignore_ascii_case("subscriptions"))?;
        SubscriptionId::parse(segments.next()?)
    }

    /// The GUID.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tag that a vault must have: its name in any case, its value to the letter, as Azure compares them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag {
    name: String,
    value: String,
}

impl Tag {
    /// A tag of this name and value. Azure's limits: 512 characters for a name, 256 for a value.
    pub fn new(name: &str, value: &str) -> Option<Self> {
        let fits = (1..=512).contains(&name.chars().count()) && value.chars().count() <= 256;
        fits.then(|| Tag { name: name.to_owned(), value: value.to_owned() })
    }

    /// Parses `NAME=VALUE`; the value may be empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.split_once('=')?;
        Tag::new(name, value)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &str {
        &self.value
    }

    fn is_among(&self, tags: &BTreeMap<String, String>) -> bool {
        tags.iter().any(|(name, value)| name.eq_ignore_ascii_case(&self.name) && *value == self.value)
    }
}

/// Conditions on a vault. The empty choice admits every vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaultChoice {
    /// It is in one of these; none given means any.
    pub subscriptions: Vec<SubscriptionId>,
    /// It has all of these.
    pub tags: Vec<Tag>,
    /// Its name fits one of these; none given means any.
    pub include: Vec<Glob>,
    /// And none of these.
    pub exclude: Vec<Glob>,
}

impl VaultChoice {
    /// Whether a vault's name is enough to judge it.
    pub fn by_name_only(&self) -> bool {
        self.subscriptions.is_empty() && self.tags.is_empty()
    }

    /// Whether a vault of this name is meant, as far as its name tells.
    pub fn admits_name(&self, name: &str) -> bool {
        let fits = |patterns: &[Glob]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.include.is_empty() || fits(&self.include)) && !fits(&self.exclude)
    }

    /// Whether a vault is meant. What is not known of it does not fit a condition.
    pub fn admits(
        &self,
        name: &str,
        subscription: Option<&SubscriptionId>,
        tags: Option<&BTreeMap<String, String>>,
    ) -> bool {
        self.admits_name(name)
            && (self.subscriptions.is_empty() || subscription.is_some_and(|id| self.subscriptions.contains(id)))
            && (self.tags.is_empty() || tags.is_some_and(|tags| self.tags.iter().all(|tag| tag.is_among(tags))))
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SubscriptionId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        SubscriptionId::parse(&text)
            .ok_or_else(|| format!("{text:?} is no subscription id: 32 hexadecimal digits with hyphens, not its name"))
    }
}

impl From<SubscriptionId> for String {
    fn from(id: SubscriptionId) -> String {
        id.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Tag {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Tag::parse(&text).ok_or_else(|| format!("{text:?} is no tag such as env=prod"))
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> String {
        tag.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "11111111-1111-1111-1111-1111111111aA";

    #[test]
    fn a_subscription_is_a_guid_wherever_it_stands() {
        let id = SubscriptionId::parse(ONE).unwrap();
        assert_eq!(id.as_str(), "11111111-1111-1111-1111-1111111111aa");
        assert_eq!(SubscriptionId::of_resource(&format!("/Subscriptions/{ONE}/resourceGroups/g")), Some(id));
        for wrong in
            ["Production", "", "11111111-1111-1111-1111-1111111111aa/..", "1111-11111111-1111-1111-1111111111aa"]
        {
            assert_eq!(SubscriptionId::parse(wrong), None, "{wrong}");
        }
        assert_eq!(SubscriptionId::of_resource(&format!("/tenants/{ONE}")), None);
    }

    #[test]
    fn every_condition_must_hold_and_what_is_unknown_does_not_fit() {
        let globs = |texts: &[&str]| texts.iter().map(|text| Glob::parse(text).unwrap()).collect::<Vec<_>>();
        let id = SubscriptionId::parse(ONE).unwrap();
        let tags: BTreeMap<String, String> = [("Env".to_owned(), "prod".to_owned())].into();
        let choice = VaultChoice {
            subscriptions: vec![id.clone()],
            tags: vec![Tag::parse("env=prod").unwrap()],
            include: globs(&["prod-*", "core"]),
            exclude: globs(&["*-scratch"]),
        };
        assert!(choice.admits("prod-a", Some(&id), Some(&tags)) && choice.admits("CORE", Some(&id), Some(&tags)));
        assert!(!choice.admits("prod-scratch", Some(&id), Some(&tags)));
        assert!(!choice.admits("dev-a", Some(&id), Some(&tags)));
        assert!(!choice.admits("prod-a", None, Some(&tags)) && !choice.admits("prod-a", Some(&id), None));
        let other = SubscriptionId::parse(&ONE.replace("aA", "bb")).unwrap();
        assert!(!choice.admits("prod-a", Some(&other), Some(&tags)));
        // A tag's value counts to the letter, its name does not.
        let shouted: BTreeMap<String, String> = [("env".to_owned(), "PROD".to_owned())].into();
        assert!(!choice.admits("prod-a", Some(&id), Some(&shouted)));
        assert!(VaultChoice::default().admits("any", None, None));
    }

    #[test]
    fn a_tag_is_split_at_its_first_sign() {
        let tag = Tag::parse("a=b=c").unwrap();
        assert_eq!((tag.name(), tag.value(), tag.to_string().as_str()), ("a", "b=c", "a=b=c"));
        assert!(Tag::parse("a=").is_some() && Tag::parse("=b").is_none() && Tag::parse("a").is_none());
    }
}
