//! The life of a name in the vault in memory: deleted, recovered, purged, and the time that each takes to show. The rules
//! are the emulator's (`azure.md` §1.4–1.7), so that what holds here holds there. Knows no content.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Gone, Memory, State, Stored, missing};
use crate::model::{Kind, Object};
use crate::vault::{Condition, Error, Traffic};

/// How a vault deals with what was deleted.
pub(super) struct Rules {
    /// How long deleted objects take to be seen.
    deleting: Duration,
    /// How long recovered objects take to come live.
    recovering: Duration,
    /// How long purged names take to come free.
    purging: Duration,
    purge_protection: bool,
    /// How long a soft-deleted object is kept.
    pub(super) retention_days: u32,
}

impl Rules {
    pub(super) fn retention(&self) -> TimeDelta {
        TimeDelta::days(i64::from(self.retention_days))
    }

    /// How a deleted object comes back, or does not (`azure.md` §1.7).
    pub(super) fn recovery_level(&self) -> &'static str {
        match (self.retention_days < 90, self.purge_protection) {
            (true, false) => "CustomizedRecoverable+Purgeable",
            (true, true) => "CustomizedRecoverable",
            (false, false) => "Recoverable+Purgeable",
            (false, true) => "Recoverable",
        }
    }
}

impl Memory {
    /// How long recovered objects take to come live, and purged names to come free. No time at first.
    pub fn set_limbo(&self, limbo: Duration) {
        self.set_recover_limbo(limbo);
        self.set_purge_limbo(limbo);
    }

    /// How long recovered objects take to come live.
    pub fn set_recover_limbo(&self, limbo: Duration) {
        self.state().rules.recovering = limbo;
    }

    /// How long purged names take to come free.
    pub fn set_purge_limbo(&self, limbo: Duration) {
        self.state().rules.purging = limbo;
    }

    /// How long deleted objects take to be seen; their names are taken from the first moment. No time at first.
    pub fn set_delete_limbo(&self, limbo: Duration) {
        self.state().rules.deleting = limbo;
    }

    /// Whether nobody may purge before the retention ends. Not at first.
    pub fn set_purge_protection(&self, on: bool) {
        self.state().rules.purge_protection = on;
    }

    /// For how many days deleted objects are kept, and then purged: 90 at first.
    pub fn set_retention(&self, days: u32) {
        self.state().rules.retention_days = days;
    }

    /// Deletes a live object softly; a certificate with its key and secret.
    pub fn delete(&self, object: &Object) {
        let at = self.clock.now();
        let mut state = self.state();
        let visible = at + state.rules.deleting;
        for part in parts(object) {
            if let Some(stored) = state.live.remove(&part) {
                state.deleted.insert(part, Gone { stored, at, visible });
            }
        }
    }

    /// Purges a soft-deleted object, as somebody else may, whatever protects it. Its name stays taken for as long as
    /// [`Memory::set_limbo`] says.
    pub fn purge(&self, object: &Object) {
        let mut state = self.state();
        let until = self.clock.now() + state.rules.purging;
        state.deleted.remove(object);
        state.purging.insert(object.clone(), until);
    }

    /// Takes an object out of the live ones without a trace, which the real service never does.
    pub fn lose(&self, object: &Object) {
        self.state().live.remove(object);
    }
}

/// The names that stand and fall together.
fn parts(object: &Object) -> impl Iterator<Item = Object> {
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind == object.kind || object.kind == Kind::Certificate);
    kinds.map(|kind| Object::new(kind, object.name.clone()))
}

impl State {
    pub(super) fn new() -> Self {
        State {
            live: BTreeMap::new(),
            deleted: BTreeMap::new(),
            arriving: BTreeMap::new(),
            purging: BTreeMap::new(),
            settings: super::settings::Settings::default(),
            rules: Rules {
                deleting: Duration::ZERO,
                recovering: Duration::ZERO,
                purging: Duration::ZERO,
                purge_protection: false,
                retention_days: 90,
            },
            now: DateTime::UNIX_EPOCH,
            versions: 0,
            traffic: Traffic::default(),
        }
    }

    /// Lets happen what is due.
    pub(super) fn settle(&mut self, now: DateTime<Utc>) {
        self.purging.retain(|_, until| *until > now);
        let retention = self.rules.retention();
        let outdated = self.deleted.extract_if(.., |_, gone| gone.at + retention <= now);
        let outdated: Vec<Object> = outdated.map(|(object, _)| object).collect();
        outdated.iter().for_each(|object| self.unset(object));
        let due: Vec<(Object, Stored)> = self
            .arriving
            .extract_if(.., |_, (_, at)| *at <= now)
            .map(|(object, (stored, _))| (object, stored))
            .collect();
        self.live.extend(due);
        self.now = now;
    }

    /// Deleted objects that can be seen.
    pub(super) fn visible(&self) -> impl Iterator<Item = &Gone> {
        self.deleted.values().filter(|gone| gone.visible <= self.now)
    }

    pub(super) fn taken(&self, object: &Object) -> bool {
        self.live.contains_key(object)
            || self.deleted.contains_key(object)
            || self.arriving.contains_key(object)
            || self.purging.contains_key(object)
    }

    /// Lets nothing but a live object hold the name.
    pub(super) fn forget(&mut self, object: &Object) {
        self.deleted.remove(object);
        self.arriving.remove(object);
        self.purging.remove(object);
    }

    fn unset(&mut self, object: &Object) {
        if object.kind == Kind::Key {
            self.settings.rotation_policies.remove(&object.name);
        }
    }

    /// The deleted object, if it can be recovered or purged.
    fn deleted(&self, object: &Object, doing: &str) -> Result<&Gone, Error> {
        let refused = |condition, why: &str| Err(Error::new(condition, format!("couldn't {doing} {object}: {why}")));
        if self.live.contains_key(object) {
            return refused(Condition::Live, "it is live");
        }
        if self.arriving.contains_key(object) {
            return refused(Condition::InTransition, "it is being recovered");
        }
        if self.purging.contains_key(object) {
            return refused(Condition::InTransition, "it is being deleted");
        }
        let gone = self.deleted.get(object).ok_or_else(|| missing(object))?;
        match () {
            () if doing == "purge" && self.rules.purge_protection => {
                refused(Condition::Forbidden, "the vault has purge protection")
            }
            () if gone.visible > self.now => refused(Condition::InTransition, "it is being deleted"),
            () if gone.stored.managed => refused(Condition::Forbidden, "it belongs to a certificate"),
            () => Ok(gone),
        }
    }

    pub(super) fn recover(&mut self, object: &Object, now: DateTime<Utc>) -> Result<(), Error> {
        self.deleted(object, "recover")?;
        let at = now + self.rules.recovering;
        for part in parts(object) {
            if let Some(gone) = self.deleted.remove(&part) {
                self.arriving.insert(part, (gone.stored, at));
            }
        }
        Ok(())
    }

    pub(super) fn purge(&mut self, object: &Object, now: DateTime<Utc>) -> Result<(), Error> {
        self.deleted(object, "purge")?;
        let until = now + self.rules.purging;
        for part in parts(object) {
            if self.deleted.remove(&part).is_some() {
                self.unset(&part);
                self.purging.insert(part, until);
            }
        }
        Ok(())
    }
}
