//! Protection of a store as a whole: one period for all files, from the creation of each, and legal holds with tags
//! (`azure.md` §7.1). Values and their rules; asks and changes nothing.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Condition, Error, MOST_DAYS};
use crate::model::{HoldTag, Mode};

/// How often a locked policy can be made longer, in all its life.
pub const MOST_EXTENSIONS: u32 = 5;

/// How many legal holds there can be at a time.
pub const MOST_TAGS: usize = 10;

/// What of a store's protection can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// That of each version, on its own.
    Versions,
    /// That of the store, and of nothing less.
    Whole(Whole),
}

/// How a store is protected as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its policy, if it has one.
    pub period: Option<Period>,
    /// The tags of its legal holds, in lower case.
    pub tags: BTreeSet<String>,
    /// What tells this state of the policy from every other, in the store's own words; for the store alone.
    pub stamp: String,
}

/// A policy for all files of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Days from each file's creation.
    pub days: u32,
    /// Whether nobody can take it back.
    pub locked: bool,
    /// How often it was made longer since it is locked, if the store tells.
    pub extensions: Option<u32>,
}

impl Period {
    /// What becomes of it when it is to last `days` at least and, if `lock`, nobody shall be able to take it back; itself,
    /// where it is so already.
    ///
    /// # Errors
    /// [`Condition::Refused`] for a period that no policy can have, or that this one cannot have any more.
    pub fn extended(self, days: u32, lock: bool) -> Result<Period, Error> {
        let refused = |why: String, hint: &str| Err(Error::new(Condition::Refused, why).hint(hint));
        let locked = self.locked || lock;
        if days <= self.days {
            return Ok(Period { locked, ..self });
        }
        if i64::from(days) > MOST_DAYS {
            return refused(
                format!("a policy of {days} days is longer than {MOST_DAYS} days, which none can be"),
                "it counts from the oldest file's creation: ask for an earlier end",
            );
        }
        if self.locked && self.extensions.is_some_and(|used| used >= MOST_EXTENSIONS) {
            return refused(
                format!(
                    "the locked policy of {} days was extended {MOST_EXTENSIONS} times, and can never be extended again",
                    self.days
                ),
                "a legal hold (`protect hold --tag TAG`) keeps the files for as long as it is there; archive into a new \
                 container from now on",
            );
        }
        let extensions = if self.locked { self.extensions.map(|used| used + 1) } else { self.extensions };
        Ok(Period { days, locked, extensions })
    }

    /// When the protection of a file ends that was created then; none beyond the calendar.
    pub fn end(self, created: DateTime<Utc>) -> Option<DateTime<Utc>> {
        created.checked_add_signed(TimeDelta::days(i64::from(self.days)))
    }

    /// Its mode.
    pub fn mode(self) -> Mode {
        if self.locked { Mode::Locked } else { Mode::Unlocked }
    }
}

impl Whole {
    /// The tags after one is put on or lifted.
    ///
    /// # Errors
    /// [`Condition::Refused`] where there are as many as there can be.
    pub fn tags_with(&self, tag: &HoldTag, held: bool) -> Result<BTreeSet<String>, Error> {
        let mut tags = self.tags.clone();
        match held {
            true => drop(tags.insert(tag.to_string())),
            false => drop(tags.remove(tag.as_str())),
        }
        if held && tags.len() > MOST_TAGS {
            let text =
                format!("there are {} legal holds already, and no more than {MOST_TAGS} can be", self.tags.len());
            return Err(Error::new(Condition::Refused, text).hint("use a tag that is there, or lift one first"));
        }
        Ok(tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_only_grows_and_a_locked_one_five_times() {
        let of = |days, locked, extensions| Period { days, locked, extensions: Some(extensions) };
        for (before, days, lock, after) in [
            (of(365, false, 0), 400, false, of(400, false, 0)),
            (of(365, false, 0), 400, true, of(400, true, 0)),
            (of(365, false, 0), 30, true, of(365, true, 0)),
            (of(365, true, 4), 400, false, of(400, true, 5)),
            (of(365, true, 5), 365, true, of(365, true, 5)),
            (of(365, true, 5), 30, false, of(365, true, 5)),
        ] {
            assert_eq!(before.extended(days, lock).unwrap(), after, "{before:?}");
        }
        for (before, days) in [(of(365, true, 5), 366), (of(365, true, 9), 366), (of(365, false, 0), 146_001)] {
            assert_eq!(before.extended(days, false).unwrap_err().condition, Condition::Refused, "{before:?}");
        }
        let untold = Period { extensions: None, ..of(365, true, 0) };
        assert_eq!(untold.extended(400, false).unwrap().extensions, None, "unknown is allowed, and stays unknown");
    }

    #[test]
    fn a_tag_more_than_there_can_be_is_refused_and_one_that_is_there_is_none_more() {
        let tags: BTreeSet<String> = (0..10).map(|n| format!("case{n}")).collect();
        let whole = Whole { period: None, tags, stamp: String::new() };
        let tag = |text| HoldTag::parse(text).unwrap();
        assert_eq!(whole.tags_with(&tag("Case7"), true).unwrap(), whole.tags);
        assert_eq!(whole.tags_with(&tag("case10"), true).unwrap_err().condition, Condition::Refused);
        assert_eq!(whole.tags_with(&tag("case7"), false).unwrap().len(), 9);
    }
}
