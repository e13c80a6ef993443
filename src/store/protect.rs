//! Changing how single versions of files are protected: the door for people who hold that right. No job has it, and it
//! only ever lengthens: there is no way to shorten, unlock or remove a policy.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Condition, Error, Protection, Read};
use crate::model::{Mode, StorePath};

/// The longest protection from now, in days (`azure.md` §7.1).
pub const MOST_DAYS: i64 = 146_000;

/// What somebody asks of versions' protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Longer protection; where only the store as a whole can give it: for so many days from each file's creation.
    Extend {
        /// Days from the creation of the oldest file that is meant.
        days: i64,
    },
    /// A legal hold.
    Hold,
    /// The end of one.
    Release,
}

/// Protecting versions that are in a store.
#[async_trait]
pub trait Protect: Read {
    /// Refuses ([`Condition::Refused`]) where versions have no protection of their own; the hint is what a person can do.
    async fn admits(&self, wish: Wish) -> Result<(), Error>;

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
