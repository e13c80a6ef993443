//! What a slot tells of a change whose answer nobody heard: because it was lost, or because whoever asked has died. Pure.

use super::plan::Action;
use super::slot::Slot;
use super::source::Versions;
use crate::format::entry::{Became, Change};

/// What a slot tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aftermath {
    /// The change took effect: what was captured is live.
    Landed,
    /// Nothing took effect so far, and nothing stands in the way.
    Open,
    /// What is there is nobody's plan.
    Other(Became, &'static str),
    /// It is being deleted, purged or recovered: only later can be told.
    Moving,
}

/// The plan's name for a change.
pub fn action_of(change: Change) -> Action {
    match change {
        Change::Restore => Action::Restore,
        Change::Recover => Action::Recover,
        Change::PurgeAndRestore => Action::PurgeAndRestore,
    }
}

/// Whether a live object is what was captured, or was restored from it: every version is there, with its public key. Tags
/// and dates do not tell: they can be changed.
pub fn same(captured: &Versions, live: &Versions) -> bool {
    captured.iter().all(|(id, ours)| {
        let known = live.get(id);
        known.is_some_and(|theirs| ours.thumbprint.is_none() || ours.thumbprint == theirs.thumbprint)
    })
}

/// Judges a slot. `captured` is `None` where the capture cannot be had any more.
///
/// Whatever cannot be told for certain is `unclear`, and so counts as a restore that used the name up.
pub fn aftermath(change: Change, captured: Option<&Versions>, slot: &Slot) -> Aftermath {
    let knows = |id: &str| captured.is_some_and(|captured| captured.contains_key(id));
    match (change, slot) {
        (_, Slot::InTransition) => Aftermath::Moving,
        (_, Slot::Free) => Aftermath::Open,
        (Change::Recover, Slot::Live { .. }) => Aftermath::Landed,
        (Change::Recover | Change::PurgeAndRestore, Slot::Deleted(_)) => Aftermath::Open,
        (_, Slot::Live { versions, .. }) => match captured {
            Some(captured) if same(captured, versions) => Aftermath::Landed,
            Some(_) if versions.keys().any(|id| knows(id)) => {
                Aftermath::Other(Became::Different, "it is live, and lacks something of what was captured")
            }
            Some(_) => Aftermath::Other(Became::Unclear, "another object is live under the name"),
            None => Aftermath::Other(Became::Unclear, "an object is live under the name, and cannot be compared"),
        },
        (Change::Restore, Slot::Deleted(deleted)) => match deleted.version.as_deref().is_some_and(knows) {
            true => Aftermath::Other(Became::Different, "it was restored, and is soft-deleted: a new plan recovers it"),
            false => Aftermath::Other(Became::Unclear, "a soft-deleted object holds the name"),
        },
    }
}
