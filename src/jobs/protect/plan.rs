//! What would be changed: the versions that are meant, less those of which it is so already. Changes nothing.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::survey::{Found, survey};
use crate::archive::Reader;
use crate::error::{Context, Error, Result};
use crate::format::entry::{Class, ProtectAction, list};
use crate::model::{StorePath, VaultUri};
use crate::progress::Progress;
use crate::store::{self, Protection, Wish, check_until};

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// What is to be done.
    pub action: ProtectAction,
    /// Until when files are to be protected, in whole seconds; for an extension, and for nothing else.
    pub until: Option<DateTime<Utc>>,
    /// Whether an extension locks what is not locked.
    pub lock: bool,
    /// Why.
    pub reason: Option<String>,
    /// Files of these classes.
    pub classes: Vec<Class>,
    /// Of these, only what begins with one of these, if there are any.
    pub paths: Vec<String>,
}

impl Want {
    /// Whether a version is meant. What proves the others is protected with them, whatever was asked for; a hold is lifted
    /// from what was asked for, and from nothing else.
    fn means(&self, class: Class, path: &StorePath) -> bool {
        let root = matches!(class, Class::Archive | Class::Log) && self.action != ProtectAction::Release;
        let begins = |path: &StorePath| self.paths.iter().any(|prefix| path.as_str().starts_with(prefix));
        root || self.classes.contains(&class) && (self.paths.is_empty() || begins(path))
    }

    /// What becomes of a version's protection; the same, where it is so already.
    pub(super) fn outcome(&self, before: Protection) -> Protection {
        match (self.action, self.until) {
            (ProtectAction::Extend, Some(until)) => before.extended(until, self.lock),
            (ProtectAction::Extend, None) => before,
            (ProtectAction::Hold, _) => Protection { legal_hold: true, ..before },
            (ProtectAction::Release, _) => Protection { legal_hold: false, ..before },
        }
    }

    fn check(&self, now: DateTime<Utc>) -> Result<()> {
        match (self.action, self.until) {
            (ProtectAction::Extend, Some(until)) => {
                check_until(until, now).map_err(|error| Error::usage(error.message))
            }
            (ProtectAction::Extend, None) => Err(Error::internal("an extension to no time")),
            (_, _) if self.reason.is_none() => Err(Error::internal("a legal hold without a reason")),
            (_, _) => Ok(()),
        }
    }
}

/// A version that would be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Whose it is, as its place among the plan's vaults; none for `archive.json`.
    pub vault: Option<usize>,
    /// What it is.
    pub class: Class,
    /// Its path.
    pub path: StorePath,
    /// Its version id, where the store has versions.
    pub version: Option<String>,
}

/// How much of a class would be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// The class.
    pub class: Class,
    /// Versions that are meant.
    pub selected: u64,
    /// Of these, versions of which it is so already.
    pub already: u64,
    /// Of these, versions that would be changed.
    pub change: u64,
    /// Of those, versions that would be protected and not locked.
    pub left_unlocked: u64,
    /// The first end of protection among those.
    pub earliest: Option<DateTime<Utc>>,
    /// The last one.
    pub latest: Option<DateTime<Utc>>,
}

/// What would be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is wanted.
    pub want: Want,
    /// The vaults whose files were looked at.
    pub vaults: Vec<VaultUri>,
    /// By class; classes of which nothing is meant are left out.
    pub classes: Vec<Affected>,
    /// The versions that would be changed, those that the others stand on first.
    pub versions: Vec<Version>,
    /// What could not be read.
    pub notes: Vec<String>,
}

impl Plan {
    /// The list of versions as the log's digest is over it.
    pub fn list(&self) -> String {
        list(self.versions.iter().map(|version| (&version.path, version.version.as_deref())))
    }
}

/// Looks what there is and says what would be changed.
///
/// # Errors
/// `Usage` for a time that no policy can have; `Refused` where the store has no protection of single versions.
pub async fn plan(
    keeper: &dyn store::Protect,
    reader: &Reader<'_>,
    vaults: &[VaultUri],
    want: Want,
    progress: &dyn Progress,
    now: DateTime<Utc>,
) -> Result<Plan> {
    want.check(now)?;
    let guard = keeper.guard().await.context("couldn't tell how the archive is protected")?;
    let none =
        |class| Affected { class, selected: 0, already: 0, change: 0, left_unlocked: 0, earliest: None, latest: None };
    let mut classes = Class::ALL.map(none).to_vec();
    let mut versions = Vec::new();
    let mut oldest = now;
    let mut each = |found: Found<'_>| {
        let Some(row) = classes.iter_mut().find(|row| row.class == found.class) else { return };
        if !want.means(found.class, found.path) {
            return;
        }
        row.selected += 1;
        oldest = oldest.min(found.listed.created);
        // A hold on the whole container is no version's own.
        let before = found.listed.protection;
        let after = want.outcome(before);
        if after == before {
            row.already += 1;
            return;
        }
        row.change += 1;
        let unlocked = want.action == ProtectAction::Extend && after.mode != crate::model::Mode::Locked;
        row.left_unlocked += u64::from(unlocked);
        if let Some(until) = before.until {
            row.earliest = Some(row.earliest.map_or(until, |earliest| earliest.min(until)));
            row.latest = Some(row.latest.map_or(until, |latest| latest.max(until)));
        }
        let Found { vault, class, path, listed, .. } = found;
        versions.push(Version { vault, class, path: path.clone(), version: listed.version.clone() });
    };
    let notes = survey(keeper, &guard, reader, vaults, progress, &mut each).await?;
    keeper.admits(wish(&want, oldest)).await?;
    versions.sort_by_key(|version| version.class);
    classes.retain(|row| row.selected > 0);
    Ok(Plan { want, vaults: vaults.to_vec(), classes, versions, notes })
}

/// The same for a store that can only do it as a whole: a period that reaches far enough from the oldest file.
fn wish(want: &Want, oldest: DateTime<Utc>) -> Wish {
    match (want.action, want.until) {
        (ProtectAction::Extend, until) => {
            let seconds = until.map_or(0, |until| (until - oldest).num_seconds());
            Wish::Extend { days: seconds.div_euclid(86_400) + i64::from(seconds.rem_euclid(86_400) > 0) }
        }
        (ProtectAction::Hold, _) => Wish::Hold,
        (ProtectAction::Release, _) => Wish::Release,
    }
}
