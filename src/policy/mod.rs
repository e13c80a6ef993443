//! Archive policies: what is taken and what is left out, how often, and what the archive must promise. Pure values,
//! parsed once and sound ever after; docs/POLICIES.md describes them. Knows no vault, no store and no settings: what
//! follows from a policy is for others to do.

mod explain;
mod finding;
mod parse;
mod selection;

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use explain::{Considered, Explanation, Outcome};
pub use finding::{Code, Finding, Severity};
pub use selection::{Facts, Selection, TagValue};

use crate::error::Result;
use crate::model::Digest;

/// What a policy file says of itself.
pub const FORMAT: &str = "akv-archiver/policy/1";

/// The largest policy file, in bytes.
pub const LIMIT: u64 = 256 * 1024;

/// The policies that come with the program: their names and files.
const BUILT_IN: [(&str, &str); 2] = [
    ("default", include_str!("../../policies/default.toml")),
    ("regulated", include_str!("../../policies/regulated.toml")),
];

/// A policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name, for reports.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// How often.
    pub cadence: Cadence,
    /// What the archive must promise.
    pub retention: Retention,
    /// Who must be able to open it.
    pub recipients: Recipients,
    /// The first rule that selects an object decides. What no rule selects is taken.
    pub rules: Vec<Rule>,
}

/// How often. Whole seconds, more than none, at most a century.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// How often a snapshot is due.
    pub snapshot_every: TimeDelta,
    /// Recovery point objective: a newest complete snapshot that is older is stale.
    pub rpo: TimeDelta,
    /// A capture of an unchanged object that is older is taken again.
    pub recapture_every: TimeDelta,
    /// Versions of unchanged objects are compared after this time.
    pub full_every: TimeDelta,
}

impl Default for Cadence {
    fn default() -> Self {
        Cadence {
            snapshot_every: TimeDelta::days(1),
            rpo: TimeDelta::hours(26),
            recapture_every: TimeDelta::days(30),
            full_every: TimeDelta::days(7),
        }
    }
}

/// What the archive must promise. A retention class is a container: all that lies in it is kept equally long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The class's name, for reports.
    pub class: String,
    /// A capture that is protected for less is taken again; `verify` holds the newest snapshot to it.
    pub protection_min: TimeDelta,
    /// Whether the container's immutability policy must be locked.
    pub lock: Lock,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { class: "standard".into(), protection_min: TimeDelta::days(60), lock: Lock::Optional }
    }
}

/// Whether an immutability policy must be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lock {
    /// A snapshot refuses an archive without protection, and one whose protection its administrator can take back.
    Required,
    /// That is a warning of `doctor` and a finding of `verify`.
    Optional,
}

/// Who must be able to open the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipients {
    /// Different age recipients at least; not 0.
    pub quorum: u16,
}

impl Default for Recipients {
    fn default() -> Self {
        Recipients { quorum: 1 }
    }
}

/// What becomes of some objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name; no two rules of a policy have the same.
    pub name: String,
    /// The reason; there is one wherever objects are left out.
    pub why: Option<String>,
    /// Which objects.
    pub selection: Selection,
    /// What becomes of them.
    pub effect: Effect,
}

/// What becomes of the objects that a rule selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They are taken.
    Take {
        /// Instead of [`Cadence::recapture_every`].
        recapture_every: Option<TimeDelta>,
    },
    /// They are left out: recorded with their names, and not captured.
    LeaveOut,
}

/// What a policy says of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision<'p> {
    /// The rule that decided; none where none selects it.
    pub rule: Option<&'p Rule>,
    /// Whether it is taken.
    pub take: bool,
    /// After what time it is taken again though it has not changed.
    pub recapture_every: TimeDelta,
}

impl Policy {
    /// Parses a policy file. `origin` is what messages call it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`], as `ORIGIN:LINE:COLUMN: what is wrong`, with a hint.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        parse::policy(text, origin)
    }

    /// A policy that comes with the program: `default` or `regulated`.
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Policy::parse(text, name).ok()
    }

    /// What becomes of an object, as it is listed.
    ///
    /// A key or secret that belongs to a certificate goes with it: ask for the certificate.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision<'_> {
        self.decided_by(self.rules.iter().find(|rule| rule.selection.selects(facts)))
    }

    fn decided_by<'p>(&'p self, rule: Option<&'p Rule>) -> Decision<'p> {
        let (take, own) = match rule.map(|rule| rule.effect) {
            None => (true, None),
            Some(Effect::Take { recapture_every }) => (true, recapture_every),
            Some(Effect::LeaveOut) => (false, None),
        };
        Decision { rule, take, recapture_every: own.unwrap_or(self.cadence.recapture_every) }
    }

    /// The policy as canonical JSON: what the file leaves out is filled in, durations are in seconds, fields are in the
    /// order of their names, and there is no white space. Two files that say the same have the same text.
    pub fn canonical(&self) -> String {
        canonical(self).to_string()
    }

    /// The digest of [`Policy::canonical`], which manifests quote.
    pub fn sha256(&self) -> Digest {
        Digest::of(self.canonical().as_bytes())
    }

    /// What is allowed, and probably not meant, or unwise.
    pub fn findings(&self) -> Vec<Finding> {
        finding::findings(self)
    }

    /// Which rule decides, and why the others do not.
    pub fn explain<'p>(&'p self, facts: &Facts<'_>) -> Explanation<'p> {
        explain::explain(self, facts)
    }
}

/// `serde_json` keeps the members of an object in the order of their names.
fn canonical(policy: &Policy) -> serde_json::Value {
    let Cadence { snapshot_every, rpo, recapture_every, full_every } = policy.cadence;
    let Retention { class, protection_min, lock } = &policy.retention;
    serde_json::json!({
        "format": FORMAT,
        "name": policy.name,
        "description": policy.description,
        "cadence": {
            "snapshot_every": snapshot_every.num_seconds(),
            "rpo": rpo.num_seconds(),
            "recapture_every": recapture_every.num_seconds(),
            "full_every": full_every.num_seconds(),
        },
        "retention": {"class": class, "protection_min": protection_min.num_seconds(), "lock": lock},
        "recipients": {"quorum": policy.recipients.quorum},
        "rule": policy.rules.iter().map(|rule| canonical_rule(policy, rule)).collect::<Vec<_>>(),
    })
}

/// A condition that a rule does not have stays absent: it holds for everything.
fn canonical_rule(policy: &Policy, rule: &Rule) -> serde_json::Value {
    let decision = policy.decided_by(Some(rule));
    let mut members = rule.selection.canonical();
    members.insert("name".into(), rule.name.clone().into());
    members.insert("take".into(), decision.take.into());
    if decision.take {
        members.insert("recapture_every".into(), decision.recapture_every.num_seconds().into());
    }
    if let Some(why) = &rule.why {
        members.insert("why".into(), why.clone().into());
    }
    members.into()
}

/// Which policy: one that comes with the program, by name, or a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    /// One that comes with the program.
    BuiltIn(&'static str),
    /// A file.
    File(PathBuf),
}

impl Default for Choice {
    fn default() -> Self {
        let [(name, _), ..] = BUILT_IN;
        Choice::BuiltIn(name)
    }
}

impl Choice {
    /// What contains a slash or ends in `.toml` is a file; anything else must be the name of a policy that comes with the
    /// program, so that a misspelt name is not looked for on disk.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        if text.contains('/') || text.ends_with(".toml") {
            return Ok(Choice::File(text.into()));
        }
        let known = BUILT_IN.iter().find(|(name, _)| *name == text);
        known.map(|(name, _)| Choice::BuiltIn(name)).ok_or_else(|| {
            let names = BUILT_IN.map(|(name, _)| name).join(" and ");
            format!("there is no policy {text:?}: {names} come with the program, and a file's name has a `/` or ends in `.toml`")
        })
    }

    /// Makes a relative path relative to `base`.
    pub fn resolve(&mut self, base: &Path) {
        if let Choice::File(path) = self {
            *path = base.join(&*path);
        }
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Choice::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::BuiltIn(name) => f.write_str(name),
            Choice::File(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
