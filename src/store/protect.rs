//! Changing how files are protected: the door for people who hold that right. No job has it, and it
//! only ever lengthens: there is no way to shorten, unlock or remove a policy.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::whole::{Reach, Whole};
use super::{Condition, Error, Protection, Read};
use crate::model::{HoldTag, Mode, StorePath};

/// The longest protection from now, in days (`azure.md` §7.1).
pub const MOST_DAYS: i64 = 146_000;

/// Protecting what is in a store: each version on its own or, where the store can do only that, all of them.
#[async_trait]
pub trait Protect: Read {
    /// What can be changed here. The methods for versions are refused ([`Condition::Refused`]) where it is the whole, and
    /// those for the whole where it is versions.
    async fn reach(&self) -> Result<Reach, Error>;

    /// Has a version protected until `until` at least, in whole seconds, and locked if `lock`. What is longer stays
    /// longer, and what is locked stays locked. Returns how the version is protected now; doing it twice is the same
    /// as once.
    async fn extend(
        &self,
        path: &StorePath,
        version: Option<&str>,
        until: DateTime<Utc>,
        lock: bool,
    ) -> Result<Protection, Error>;

    /// Puts a legal hold on a version, or lifts it. Its policy stays as it is.
    async fn hold(&self, path: &StorePath, version: Option<&str>, held: bool) -> Result<(), Error>;

    /// Has the whole store's policy last `days` at least, if it is still the one that was `seen`
    /// ([`Condition::Changed`] if not). What is longer stays longer. Returns what is so now; doing it twice is the same
    /// as once.
    async fn extend_whole(&self, seen: &Whole, days: u32) -> Result<Whole, Error>;

    /// Locks the whole store's policy, for good, if it is still the one that was `seen`. Returns what is so now.
    async fn lock_whole(&self, seen: &Whole) -> Result<Whole, Error>;

    /// Puts a legal hold on the whole store, or lifts the one of this tag. Returns what is so now.
    async fn hold_whole(&self, tag: &HoldTag, held: bool) -> Result<Whole, Error>;
}

impl Protection {
    /// What becomes of it when it is extended; itself, where it is so already.
    #[must_use]
    pub fn extended(self, until: DateTime<Utc>, lock: bool) -> Protection {
        let mode = if lock || self.mode == Mode::Locked { Mode::Locked } else { Mode::Unlocked };
        Protection { mode, until: self.until.max(Some(until)), ..self }
    }
}

/// Refuses a time that no policy can have.
pub fn check_until(until: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Error> {
    let refused = |what: String| Err(Error::new(Condition::Refused, format!("protection until {until}: {what}")));
    if until <= now {
        return refused("that has passed".to_owned());
    }
    if until - now > TimeDelta::days(MOST_DAYS) {
        return refused(format!("more than {MOST_DAYS} days away, which no policy can be"));
    }
    match until.timestamp_subsec_nanos() {
        0 => Ok(()),
        _ => refused("policies end at a whole second".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_only_grows() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let of = |mode, until: Option<i64>| Protection { mode, until: until.map(at), legal_hold: false };
        for (before, until, lock, after) in [
            (of(Mode::Locked, Some(100)), 200, false, of(Mode::Locked, Some(200))),
            (of(Mode::Locked, Some(300)), 200, false, of(Mode::Locked, Some(300))),
            (of(Mode::Unlocked, Some(300)), 200, true, of(Mode::Locked, Some(300))),
            (of(Mode::Unlocked, Some(100)), 200, false, of(Mode::Unlocked, Some(200))),
            (of(Mode::None, None), 200, false, of(Mode::Unlocked, Some(200))),
            (of(Mode::None, None), 200, true, of(Mode::Locked, Some(200))),
        ] {
            assert_eq!(before.extended(at(until), lock), after, "{before:?}");
        }
        let held = Protection { legal_hold: true, ..of(Mode::Locked, Some(1)) };
        assert!(held.extended(at(2), false).legal_hold, "a hold and a policy are independent");
    }

    #[test]
    fn times_that_no_policy_can_have_are_refused() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        check_until(now + TimeDelta::seconds(1), now).unwrap();
        check_until(now + TimeDelta::days(MOST_DAYS), now).unwrap();
        for wrong in [TimeDelta::zero(), TimeDelta::milliseconds(1_500), TimeDelta::days(MOST_DAYS + 1)] {
            assert_eq!(check_until(now + wrong, now).unwrap_err().condition, Condition::Refused, "{wrong}");
        }
    }
}
