//! What would be changed: the versions that are meant, less those of which it is so already; or, where the store is
//! protected as a whole, all of them. Changes nothing.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::survey::{Found, survey};
use super::whole::{self, Turn};
use crate::archive::Reader;
use crate::error::{Context, Error, Result};
use crate::format::entry::{Class, ProtectAction, list};
use crate::jobs::history;
use crate::model::{HoldTag, Mode, StorePath, VaultUri};
use crate::progress::Progress;
use crate::store::{self, Protection, Reach, check_until};

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
    /// The tag of a legal hold; on a store as a whole, and on nothing less.
    pub tag: Option<HoldTag>,
    /// Files of these classes; where none is named, all of them, and for an extension all but `unreferenced`.
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
        let chosen = match self.classes.is_empty() {
            true => self.action != ProtectAction::Extend || class != Class::Unreferenced,
            false => self.classes.contains(&class),
        };
        root || chosen && (self.paths.is_empty() || begins(path))
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
    /// The first end of protection among them afterwards.
    pub earliest_after: Option<DateTime<Utc>>,
    /// The last one.
    pub latest_after: Option<DateTime<Utc>>,
}

impl Affected {
    fn new(class: Class) -> Self {
        Affected {
            class,
            selected: 0,
            already: 0,
            change: 0,
            left_unlocked: 0,
            earliest: None,
            latest: None,
            earliest_after: None,
            latest_after: None,
        }
    }

    /// One version more that would be changed.
    fn change(&mut self, before: Protection, after: Protection, extends: bool) {
        self.change += 1;
        self.left_unlocked += u64::from(extends && after.mode != Mode::Locked);
        widen(&mut self.earliest, &mut self.latest, before.until);
        widen(&mut self.earliest_after, &mut self.latest_after, after.until);
    }
}

/// Takes a moment in between the first and the last.
fn widen(first: &mut Option<DateTime<Utc>>, last: &mut Option<DateTime<Utc>>, moment: Option<DateTime<Utc>>) {
    let Some(moment) = moment else { return };
    *first = Some(first.map_or(moment, |first| first.min(moment)));
    *last = Some(last.map_or(moment, |last| last.max(moment)));
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
    /// What would be done to the store as a whole, where single versions have no protection.
    pub turn: Option<Turn>,
    /// What could not be read.
    pub notes: Vec<String>,
}

impl Plan {
    /// The list of versions as the log's digest is over it.
    pub fn list(&self) -> String {
        list(self.versions.iter().map(|version| (&version.path, version.version.as_deref())))
    }
}

/// Looks what there is and says what would be changed. `named` are the vaults whose files are meant; where none is named,
/// all of them.
///
/// # Errors
/// `Usage` for a time that no policy can have; `Refused` for a choice that the store does not offer, and for what its rules
/// forbid.
pub async fn plan(
    keeper: &dyn store::Protect,
    reader: &Reader<'_>,
    named: &[VaultUri],
    want: Want,
    progress: &dyn Progress,
    now: DateTime<Utc>,
) -> Result<Plan> {
    want.check(now)?;
    let reach = keeper.reach().await.context("couldn't tell what can be changed")?;
    let narrowed = !(named.is_empty() && want.classes.is_empty() && want.paths.is_empty());
    whole::check(&want, narrowed, &reach)?;
    let vaults = history::vaults(reader, named).await?;
    let guard = keeper.guard().await.context("couldn't tell how the archive is protected")?;
    let mut classes = Class::ALL.map(Affected::new).to_vec();
    let mut versions = Vec::new();
    let mut oldest = now;
    let extends = want.action == ProtectAction::Extend;
    let mut each = |found: Found<'_>| {
        let Some(row) = classes.iter_mut().find(|row| row.class == found.class) else { return };
        let (before, created) = (found.listed.protection, found.listed.created);
        match &reach {
            Reach::Versions if !want.means(found.class, found.path) => return,
            Reach::Versions => {
                row.selected += 1;
                // A hold on the whole container is no version's own.
                let after = want.outcome(before);
                if after == before {
                    row.already += 1;
                    return;
                }
                row.change(before, after, extends);
            }
            // When protection ends follows from the creation, once the period is known: that of the oldest file.
            Reach::Whole(_) => {
                row.selected += 1;
                oldest = oldest.min(created);
                widen(&mut row.earliest, &mut row.latest, Some(created));
            }
        }
        let Found { vault, class, path, listed, .. } = found;
        versions.push(Version { vault, class, path: path.clone(), version: listed.version.clone() });
    };
    let notes = survey(keeper, &guard, reader, &vaults, progress, &mut each).await?;
    classes.retain(|row| row.selected > 0);
    let turn = match reach {
        Reach::Versions => None,
        Reach::Whole(before) => {
            let turn = Turn::of(&want, before, oldest)?;
            classes.iter_mut().for_each(|row| turn.fill(row));
            versions.retain(|_| turn.changes());
            Some(turn)
        }
    };
    versions.sort_by_key(|version| version.class);
    Ok(Plan { want, vaults, classes, versions, turn, notes })
}
