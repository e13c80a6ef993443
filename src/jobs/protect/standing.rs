//! How the archive is protected, in a table: for each class of file how many versions, how they are protected, until when.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::survey::{Found, survey};
use crate::archive::Reader;
use crate::error::{Context, Result};
use crate::format::entry::Class;
use crate::model::{Mode, VaultUri};
use crate::progress::Progress;
use crate::store::{self, Protection, Worm};

/// How everything is protected. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// Whether anything that the archive lives on is at risk: all classes but `old-captures` and `unreferenced`, whose
    /// protection may end.
    pub at_risk: bool,
    /// When it was asked.
    pub checked: DateTime<Utc>,
    /// The store as a whole.
    pub store: Store,
    /// By class, all vaults together.
    pub classes: Vec<Row>,
    /// By vault and class; `archive.json` belongs to none.
    pub vaults: Vec<VaultRows>,
    /// What could not be read.
    pub notes: Vec<String>,
}

/// How the store as a whole protects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Store {
    /// `none`, `container-level` or `version-level`.
    pub worm: &'static str,
    /// Whether the default policy is locked, if that may be read.
    pub lock: Option<Mode>,
    /// Days of the default policy, if known.
    pub days: Option<u32>,
    /// Whether a legal hold covers the whole store.
    pub legal_hold: bool,
}

/// One vault's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VaultRows {
    /// Its address.
    pub vault: VaultUri,
    /// How much longer its files must be protected.
    pub protection_min_seconds: i64,
    /// Its classes.
    pub classes: Vec<Row>,
}

/// The versions of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The class.
    pub class: Class,
    /// How many versions.
    pub versions: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Versions whose policy is locked and has not ended.
    pub locked: u64,
    /// Versions whose policy can be taken back, or may be so for all that is known, and has not ended.
    pub unlocked: u64,
    /// Versions whose policy has ended.
    pub lapsed: u64,
    /// Versions without a policy.
    pub unprotected: u64,
    /// Versions under a legal hold, whatever else protects them.
    pub held: u64,
    /// Versions whose locked policy ends before the vault's `protection_min` is over.
    pub short: u64,
    /// Versions that no hold covers and that are unlocked, lapsed, unprotected or short.
    pub at_risk: u64,
    /// The first end of a policy.
    pub earliest: Option<DateTime<Utc>>,
    /// The last one.
    pub latest: Option<DateTime<Utc>>,
    /// How long it is to the first one; 0 where that has passed.
    pub shortest_remaining_seconds: Option<i64>,
}

impl Row {
    fn new(class: Class) -> Self {
        Row {
            class,
            versions: 0,
            bytes: 0,
            locked: 0,
            unlocked: 0,
            lapsed: 0,
            unprotected: 0,
            held: 0,
            short: 0,
            at_risk: 0,
            earliest: None,
            latest: None,
            shortest_remaining_seconds: None,
        }
    }

    /// One version more, which must stay protected for `min` from `now`.
    fn add(&mut self, size: u64, protection: Protection, min: TimeDelta, now: DateTime<Utc>) {
        let Protection { mode, until, legal_hold } = protection;
        self.versions += 1;
        self.bytes += size;
        self.held += u64::from(legal_hold);
        let lapsed = mode != Mode::None && until.is_some_and(|until| until <= now);
        let counted = match mode {
            _ if lapsed => &mut self.lapsed,
            Mode::None => &mut self.unprotected,
            Mode::Unlocked => &mut self.unlocked,
            Mode::Locked => &mut self.locked,
        };
        *counted += 1;
        let short = mode == Mode::Locked && !lapsed && until.is_some_and(|until| until < now + min);
        self.short += u64::from(short);
        self.at_risk += u64::from(!legal_hold && (lapsed || short || mode != Mode::Locked));
        if let Some(until) = until.filter(|_| mode != Mode::None) {
            self.earliest = Some(self.earliest.map_or(until, |earliest| earliest.min(until)));
            self.latest = Some(self.latest.map_or(until, |latest| latest.max(until)));
            self.shortest_remaining_seconds = self.earliest.map(|earliest| (earliest - now).num_seconds().max(0));
        }
    }
}

/// Looks. `min_of` says how much longer each vault's files must be protected; for `archive.json`, the longest of them counts.
pub async fn standing(
    store: &dyn store::Read,
    reader: &Reader<'_>,
    vaults: &[VaultUri],
    mut min_of: impl FnMut(&VaultUri) -> Result<TimeDelta>,
    progress: &dyn Progress,
    now: DateTime<Utc>,
) -> Result<Standing> {
    let guard = store.guard().await.context("couldn't tell how the archive is protected")?;
    let minima = vaults.iter().map(&mut min_of).collect::<Result<Vec<TimeDelta>>>()?;
    let longest = minima.iter().max().copied().unwrap_or_default();
    let rows = || Class::ALL.map(Row::new).to_vec();
    let (mut classes, mut by_vault) = (rows(), vec![rows(); vaults.len()]);
    let mut each = |found: Found<'_>| {
        let min = found.vault.and_then(|vault| minima.get(vault)).copied().unwrap_or(longest);
        let of_vault = found.vault.and_then(|vault| by_vault.get_mut(vault)).into_iter().flatten();
        for row in classes.iter_mut().chain(of_vault).filter(|row| row.class == found.class) {
            row.add(found.listed.size, found.protection, min, now);
        }
    };
    let notes = survey(store, &guard, reader, vaults, progress, &mut each).await?;
    let needed = |row: &&Row| !matches!(row.class, Class::OldCaptures | Class::Unreferenced);
    let vaults = vaults.iter().zip(minima).zip(by_vault).map(|((vault, min), mut classes)| {
        classes.retain(|row| row.class != Class::Archive);
        VaultRows { vault: vault.clone(), protection_min_seconds: min.num_seconds(), classes }
    });
    Ok(Standing {
        at_risk: classes.iter().filter(needed).any(|row| row.at_risk > 0),
        checked: now,
        store: Store {
            worm: match guard.worm {
                Worm::None => "none",
                Worm::ContainerLevel => "container-level",
                Worm::VersionLevel => "version-level",
            },
            lock: guard.lock,
            days: guard.days,
            legal_hold: guard.legal_hold,
        },
        vaults: vaults.collect(),
        classes,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_risk_is_what_could_be_gone_before_its_time() {
        let at = |day: i64| DateTime::from_timestamp(day * 86_400, 0).unwrap();
        let (now, min) = (at(100), TimeDelta::days(30));
        let of = |mode, until: Option<i64>, legal_hold| Protection { mode, until: until.map(at), legal_hold };
        let mut row = Row::new(Class::Log);
        for (protection, at_risk) in [
            (of(Mode::Locked, Some(130), false), false),
            (of(Mode::Locked, Some(129), false), true),
            (of(Mode::Locked, Some(100), false), true),
            (of(Mode::Unlocked, Some(400), false), true),
            (of(Mode::None, None, false), true),
            (of(Mode::None, None, true), false),
            (of(Mode::Locked, Some(99), true), false),
        ] {
            let before = row.at_risk;
            row.add(10, protection, min, now);
            assert_eq!(row.at_risk - before, u64::from(at_risk), "{protection:?}");
        }
        let counts = (row.versions, row.locked, row.unlocked, row.lapsed, row.unprotected, row.held, row.short);
        assert_eq!(counts, (7, 2, 1, 2, 2, 2, 1));
        assert_eq!((row.earliest, row.latest, row.shortest_remaining_seconds), (Some(at(99)), Some(at(400)), Some(0)));
    }
}
