//! A store that is protected as a whole: what its policy and its legal holds would become, and making it so. One policy
//! covers every file, so nothing can be chosen here but how long, and the name of a hold.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::carry_out::{Carried, Hands};
use super::plan::{Affected, Plan, Want};
use crate::error::{Context, Error, Kind, Result};
use crate::format::entry::{Container, ProtectAction};
use crate::model::{HoldTag, Mode};
use crate::store::{self, MOST_DAYS, Period, Reach, Whole};

/// What would be done to the store as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// As it is.
    pub before: Whole,
    /// As it would be.
    pub after: Whole,
    /// The hold that is put on or lifted.
    pub tag: Option<HoldTag>,
}

/// The same for reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turned {
    /// Days of the policy from each file's creation; none where there is no policy.
    pub days: Option<u32>,
    /// Days afterwards.
    pub days_after: Option<u32>,
    /// Its mode.
    pub lock: Mode,
    /// Its mode afterwards.
    pub lock_after: Mode,
    /// How often the locked policy was extended, if that is known.
    pub extensions_used: Option<u32>,
    /// How often afterwards.
    pub extensions_after: Option<u32>,
    /// The hold that is put on or lifted.
    pub tag: Option<HoldTag>,
    /// The legal holds.
    pub tags: Vec<String>,
    /// The legal holds afterwards.
    pub tags_after: Vec<String>,
}

impl Turn {
    /// What would become of a store whose oldest file was created at `oldest`.
    ///
    /// # Errors
    /// `Refused` for what the store's rules forbid.
    pub(super) fn of(want: &Want, before: Whole, oldest: DateTime<Utc>) -> Result<Self> {
        let mut after = before.clone();
        match want.action {
            ProtectAction::Extend => {
                let period = before.period.ok_or_else(unruled)?;
                after.period = Some(period.extended(days(want.until.unwrap_or(oldest), oldest)?, want.lock)?);
            }
            ProtectAction::Hold | ProtectAction::Release => {
                let tag = want.tag.as_ref().ok_or_else(untagged)?;
                after.tags = before.tags_with(tag, want.action == ProtectAction::Hold)?;
            }
        }
        Ok(Turn { before, after, tag: want.tag.clone() })
    }

    /// Whether anything is to be done.
    pub fn changes(&self) -> bool {
        self.before != self.after
    }

    /// What a log entry tells of it.
    pub(super) fn told(&self) -> Container {
        let days = self.after.period.map(|period| period.days).filter(|_| self.tag.is_none());
        Container { days, tag: self.tag.clone() }
    }

    /// For reports.
    pub(super) fn turned(&self) -> Turned {
        let Turn { before, after, tag } = self;
        let mode = |period: Option<Period>| period.map_or(Mode::None, Period::mode);
        Turned {
            days: before.period.map(|period| period.days),
            days_after: after.period.map(|period| period.days),
            lock: mode(before.period),
            lock_after: mode(after.period),
            extensions_used: before.period.and_then(|period| period.extensions),
            extensions_after: after.period.and_then(|period| period.extensions),
            tag: tag.clone(),
            tags: before.tags.iter().cloned().collect(),
            tags_after: after.tags.iter().cloned().collect(),
        }
    }

    /// Says in a row by class, which has the first and the last creation, when protection ends.
    pub(super) fn fill(&self, row: &mut Affected) {
        let end = |period: Option<Period>, created: Option<DateTime<Utc>>| period?.end(created?);
        let (first, last) = (row.earliest, row.latest);
        (row.earliest, row.latest) = (end(self.before.period, first), end(self.before.period, last));
        (row.earliest_after, row.latest_after) = (end(self.after.period, first), end(self.after.period, last));
        if self.changes() {
            let locked = self.tag.is_some() || self.after.period.is_some_and(|period| period.locked);
            (row.change, row.left_unlocked) = (row.selected, if locked { 0 } else { row.selected });
        } else {
            row.already = row.selected;
        }
    }
}

/// Refuses what cannot be asked of a whole, or of single versions.
pub(super) fn check(want: &Want, narrowed: bool, reach: &Reach) -> Result<()> {
    match (reach, want.action) {
        (Reach::Whole(_), _) if narrowed => Err(refused(
            "files cannot be chosen here",
            "the policy covers every file of the container: leave out --vault, --class and --path",
        )),
        (Reach::Whole(_), ProtectAction::Hold | ProtectAction::Release) if want.tag.is_none() => Err(untagged()),
        (Reach::Versions, _) if want.tag.is_some() => Err(refused(
            "legal holds on versions have no tags",
            "leave out --tag: this container holds versions one by one; --reason says why",
        )),
        _ => Ok(()),
    }
}

fn untagged() -> Error {
    refused(
        "a legal hold on a whole container has a tag",
        "say --tag TAG, 3 to 23 letters and digits, such as the number of the case",
    )
}

fn unruled() -> Error {
    refused(
        "the container has no immutability policy that could be extended",
        "set one first: `az storage container immutability-policy create`; or archive into a container that has one",
    )
}

fn refused(why: &str, hint: &str) -> Error {
    Error::new(Kind::Refused, why).hint(hint)
}

/// Days from the creation of the oldest file until that time, begun ones counted.
fn days(until: DateTime<Utc>, oldest: DateTime<Utc>) -> Result<u32> {
    let seconds = (until - oldest).num_seconds().max(0);
    let days = seconds / 86_400 + i64::from(seconds % 86_400 > 0);
    u32::try_from(days).map_err(|_| {
        Error::new(Kind::Refused, format!("no policy can be longer than {MOST_DAYS} days, and not {days}"))
    })
}

/// Refuses to go on where something changed since the plan was made: people agreed to other numbers.
pub(super) async fn insist(keeper: &dyn store::Protect, turn: &Turn) -> Result<()> {
    let now = keeper.reach().await.context("nothing was changed")?;
    match now == Reach::Whole(turn.before.clone()) {
        true => Ok(()),
        false => Err(Error::new(Kind::Conflict, "somebody changed how the container is protected; nothing was done")
            .hint("run again, and look at the plan anew")),
    }
}

/// Makes it so, step by step. A step that fails ends it: the next run goes on from what is so then.
pub(super) async fn carry(hands: &Hands<'_>, plan: &Plan, turn: &Turn, carried: &mut Carried) -> Result<()> {
    hands.progress.stage("protecting", Some(1));
    if hands.stop.asked().is_some() {
        (carried.interrupted, carried.not_tried) = (true, plan.versions.len() as u64);
        return Ok(());
    }
    let recorded = "the log tells of it, and running again completes it";
    if let Some(tag) = &turn.tag {
        hands.keeper.hold_whole(tag, plan.want.action == ProtectAction::Hold).await.context(recorded)?;
    } else {
        let (before, after) = turn.before.period.zip(turn.after.period).ok_or_else(unruled)?;
        let mut now = turn.before.clone();
        if before.days < after.days {
            now = hands.keeper.extend_whole(&now, after.days).await.context(recorded)?;
        }
        if !before.locked && after.locked {
            hands.keeper.lock_whole(&now).await.context(recorded)?;
        }
    }
    hands.progress.step();
    carried.changed = plan.versions.len() as u64;
    Ok(())
}
