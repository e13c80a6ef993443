//! What became of a plan, as values. Their JSON forms are contracts (`docs/JSON.md`).

use serde::Serialize;
use uuid::Uuid;

use super::equivalence::Difference;
use super::execute::Done;
use super::plan::{Action, Step};
use super::settings::AppliedSetting;
use crate::format::entry::Became;

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Applied {
    /// The plan's id.
    pub plan: Uuid,
    /// The vault that was changed.
    pub target: String,
    /// `done`, `partial` or `nothing`.
    pub status: String,
    /// Whether it was stopped before everything was tried.
    pub interrupted: bool,
    /// The log entries that record it: numbers of intents, each followed by its result.
    pub intents: Vec<u64>,
    /// One per step of the plan.
    pub steps: Vec<AppliedStep>,
    /// What became of the vault's issuers and contacts, where the plan names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vault_settings: Vec<AppliedSetting>,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AppliedStep {
    /// `KIND/NAME`.
    pub object: String,
    /// What was planned.
    pub action: Action,
    /// What became of it.
    pub result: Became,
    /// One sentence.
    pub detail: String,
    /// How the restored object differs from its capture; empty where it does not.
    pub differences: Vec<Difference>,
}

impl AppliedStep {
    /// A step that was carried out, or tried.
    pub fn of(step: &Step, done: Done) -> Self {
        let Done { result, detail, differences, .. } = done;
        AppliedStep { object: step.object.to_string(), action: step.action, result, detail, differences }
    }

    /// A step that was not tried.
    pub fn skipped(step: &Step, why: impl Into<String>) -> Self {
        AppliedStep::of(step, Done::new(&step.object, Became::Skipped, why))
    }

    /// Whether something is left to do about it, or to look at.
    pub fn open(&self) -> bool {
        match self.action {
            Action::Nothing => false,
            Action::Wait | Action::Refused => true,
            Action::Restore | Action::Recover | Action::PurgeAndRestore => self.result != Became::Done,
        }
    }
}
