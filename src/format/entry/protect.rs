//! The event of somebody who changes how files are protected: what is about to be asked of which versions
//! (docs/FORMAT.md section 4.2). Knows no store.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::format::time::maybe_seconds;
use crate::format::{Error, Fault};
use crate::model::{Digest, HoldTag, StorePath};

/// The longest policy, in days.
const MOST_DAYS: u32 = 146_000;

/// Somebody is about to change how versions of files are protected; committed before the first is changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protect {
    /// What is done.
    pub action: ProtectAction,
    /// Until when versions are protected at least; of `extend` only.
    #[serde(with = "maybe_seconds", skip_serializing_if = "Option::is_none", default)]
    pub until: Option<DateTime<Utc>>,
    /// Whether what was not locked is locked; of `extend` only.
    pub lock: bool,
    /// The classes that the versions are of, in the order of [`Class::ALL`].
    pub classes: Vec<Class>,
    /// What the whole container gets; there where its protection is changed, and not that of single versions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<Container>,
    /// What the paths were to begin with, where that was asked.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub paths: Vec<String>,
    /// Why; always there for a legal hold and its end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Who: the login name of the operator's machine, as told.
    pub operator: String,
    /// How many versions.
    pub versions: u64,
    /// SHA-256 over their list: [`list`].
    pub sha256: Digest,
}

/// What a container gets as a whole: one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Days that its policy lasts from each file's creation; of `extend` only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub days: Option<u32>,
    /// The tag of the legal hold; of `hold` and `release` only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tag: Option<HoldTag>,
}

/// What is done to versions' protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProtectAction {
    /// They are protected for longer.
    Extend,
    /// A legal hold is put on them.
    Hold,
    /// The legal hold is lifted.
    Release,
}

impl ProtectAction {
    /// Its name in the log, in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ProtectAction::Extend => "extend",
            ProtectAction::Hold => "hold",
            ProtectAction::Release => "release",
        }
    }
}

/// What a version of a file is to its archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// `archive.json`.
    Archive,
    /// A log file.
    Log,
    /// A manifest that the log names.
    Manifests,
    /// A capture that the vault's newest snapshot names.
    Captures,
    /// A capture that only older snapshots name.
    OldCaptures,
    /// A file that nothing names, and every version of a path but the oldest.
    Unreferenced,
}

impl Class {
    /// Every class, the one that the others stand on first.
    pub const ALL: [Class; 6] =
        [Class::Archive, Class::Log, Class::Manifests, Class::Captures, Class::OldCaptures, Class::Unreferenced];

    /// Its name in the log, in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Class::Archive => "archive",
            Class::Log => "log",
            Class::Manifests => "manifests",
            Class::Captures => "captures",
            Class::OldCaptures => "old-captures",
            Class::Unreferenced => "unreferenced",
        }
    }
}

/// The list of versions as it is hashed: a line for each, the path, and after a space the version where there is one; in
/// byte order of path and version.
pub fn list<'a>(versions: impl IntoIterator<Item = (&'a StorePath, Option<&'a str>)>) -> String {
    let mut versions: Vec<(&str, Option<&str>)> =
        versions.into_iter().map(|(path, version)| (path.as_str(), version)).collect();
    versions.sort_unstable();
    let mut text = String::new();
    for (path, version) in versions {
        text.push_str(path);
        if let Some(version) = version {
            text.push(' ');
            text.push_str(version);
        }
        text.push('\n');
    }
    text
}

impl Container {
    fn fits(&self, extends: bool) -> bool {
        self.days.is_some() == extends
            && self.tag.is_some() != extends
            && self.days.is_none_or(|days| (1..=MOST_DAYS).contains(&days))
    }
}

impl Protect {
    /// What the members must say of each other.
    pub(super) fn check(&self) -> Result<(), Error> {
        let extends = self.action == ProtectAction::Extend;
        let wrong = if self.until.is_some() != extends || (self.lock && !extends) {
            "an extension, and nothing else, has a time and may lock"
        } else if self.reason.is_none() && !extends {
            "a legal hold, and its end, have a reason"
        } else if self.classes.is_empty() || !self.classes.is_sorted_by(|one, next| one < next) {
            "the classes are not each named once, in their order"
        } else if self.versions == 0 {
            "it is of no version"
        } else if self.container.as_ref().is_some_and(|container| !container.fits(extends)) {
            "a container gets 1 to 146000 days by an extension, and a tag by a legal hold or its end"
        } else if self.container.is_some() && !self.paths.is_empty() {
            "a container is changed as a whole, and not by paths"
        } else {
            return Ok(());
        };
        Err(Error::new(Fault::BadMember, format!("the protect event: {wrong}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_byte_order_whatever_order_it_came_in() {
        let path = |text: &str| StorePath::parse(text).unwrap();
        let (a, b, c) = (path("a"), path("a-b"), path("a/b"));
        let text = list([(&c, None), (&b, Some("2")), (&a, Some("2")), (&a, Some("1"))]);
        assert_eq!(text, "a 1\na 2\na-b 2\na/b\n");
    }

    #[test]
    fn classes_have_the_names_that_json_has() {
        for class in Class::ALL {
            assert_eq!(serde_json::to_string(&class).unwrap(), format!("{:?}", class.name()));
        }
        assert!(Class::ALL.is_sorted_by(|one, next| one < next), "the order of the list is the order of the type");
    }
}
