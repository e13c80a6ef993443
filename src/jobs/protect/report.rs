//! What was planned and what became of it, as one value. Its JSON form is a contract (`docs/JSON.md`).

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::carry_out::{Carried, Failure, Recorded};
use super::plan::{Affected, Plan};
use super::whole::{Turn, Turned};
use crate::format::entry::ProtectAction;

/// What was planned, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was wanted.
    pub action: ProtectAction,
    /// Until when files are protected at least; of an extension.
    pub until: Option<DateTime<Utc>>,
    /// Whether what was not locked is locked.
    pub lock: bool,
    /// Why.
    pub reason: Option<String>,
    /// How far it went.
    pub status: Status,
    /// What is done to the container as a whole; none where versions are changed one by one.
    pub container: Option<Turned>,
    /// By class, as it was before.
    pub classes: Vec<Affected>,
    /// The entries that tell of it.
    pub entries: Vec<Recorded>,
    /// Versions that were changed, the entries' own files among them.
    pub changed: u64,
    /// Versions that could not be changed.
    pub failed: u64,
    /// Versions that were not tried.
    pub not_tried: u64,
    /// What failed, a thousand at most.
    pub failures: Vec<Failure>,
    /// What could not be read.
    pub notes: Vec<String>,
}

/// How far it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing was changed yet.
    Planned,
    /// There is nothing to change.
    Nothing,
    /// Everything was changed.
    Done,
    /// Something could not be changed.
    Partial,
    /// Somebody asked to stop.
    Interrupted,
}

impl Report {
    /// Of a plan, and of what became of it, if it was carried out.
    pub fn of(plan: &Plan, carried: Option<Carried>) -> Self {
        let status = match &carried {
            _ if plan.versions.is_empty() => Status::Nothing,
            None => Status::Planned,
            Some(carried) if carried.interrupted => Status::Interrupted,
            Some(carried) if carried.failed + carried.not_tried > 0 => Status::Partial,
            Some(_) => Status::Done,
        };
        let carried = carried.unwrap_or_default();
        Report {
            action: plan.want.action,
            until: plan.want.until,
            lock: plan.want.lock,
            reason: plan.want.reason.clone(),
            status,
            container: plan.turn.as_ref().map(Turn::turned),
            classes: plan.classes.clone(),
            entries: carried.entries,
            changed: carried.changed,
            failed: carried.failed,
            not_tried: carried.not_tried,
            failures: carried.failures,
            notes: plan.notes.clone(),
        }
    }

    /// Versions that were meant, and versions that are to be changed.
    pub fn counts(&self) -> (u64, u64) {
        self.classes.iter().fold((0, 0), |(selected, change), row| (selected + row.selected, change + row.change))
    }
}
