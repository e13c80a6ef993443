//! The history of restores: what the logs say was begun, by whom, and what became of it. Asks no vault.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::claim::read_ledger;
use crate::archive::Reader;
use crate::error::Result;
use crate::format::entry::Became;
use crate::model::{Object, VaultUri};
use crate::restore::aftermath::action_of;
use crate::restore::{Action, Record};

/// The history of restores. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Restores {
    /// Every intent, the oldest first.
    pub restores: Vec<Restore>,
    /// Log entries that could not be read, so that what they tell is not known.
    pub unreadable: Vec<Unreadable>,
}

/// One intent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Restore {
    /// The host of the vault whose log it is in: that the captures came from.
    pub log: String,
    /// Its number there.
    pub intent: u64,
    /// When it was committed.
    pub time: DateTime<Utc>,
    /// Who began, as told.
    pub operator: String,
    /// The vault that was changed.
    pub target: VaultUri,
    /// The plan's id.
    pub plan: String,
    /// Why HSM keys might be restored into a vault once more.
    #[serde(rename = "override")]
    pub single_restore_override: Option<String>,
    /// When its result was committed; none while it is open.
    pub closed: Option<DateTime<Utc>>,
    /// Its steps; with a filter, those that fit.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// `KIND/NAME`.
    pub object: String,
    /// What was to be done.
    pub action: Action,
    /// The snapshot that names the capture; none for a capture from a file.
    pub snapshot: Option<u64>,
    /// Whether the key material lives in an HSM.
    pub hsm: bool,
    /// What became of it; none while the intent is open.
    pub result: Option<Became>,
    /// One sentence.
    pub detail: Option<String>,
}

/// A log entry that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The host of the vault whose log it is in.
    pub log: String,
    /// Its number.
    pub sequence: u64,
}

/// Reads the history of restores from the logs of these vaults: of all objects, or of one.
pub async fn restores(reader: &Reader<'_>, vaults: &[VaultUri], object: Option<&Object>) -> Result<Restores> {
    let mut found = Restores::default();
    for vault in vaults {
        let ledger = read_ledger(reader, vault, false).await?;
        found.restores.extend(ledger.records().iter().filter_map(|record| restore(record, object)));
        let blind = ledger.blind().iter();
        found.unreadable.extend(blind.map(|(log, sequence)| Unreadable { log: log.clone(), sequence: *sequence }));
    }
    found.restores.sort_by(|a, b| (a.time, &a.log, a.intent).cmp(&(b.time, &b.log, b.intent)));
    Ok(found)
}

fn restore(record: &Record, object: Option<&Object>) -> Option<Restore> {
    let steps: Vec<Step> = record
        .steps()
        .filter(|(step, _)| object.is_none_or(|object| *object == step.object))
        .map(|(step, outcome)| Step {
            object: step.object.to_string(),
            action: action_of(step.action),
            snapshot: step.snapshot,
            hsm: step.hsm,
            result: outcome.map(|outcome| outcome.result),
            detail: outcome.map(|outcome| outcome.detail.clone()),
        })
        .collect();
    let intent = &record.intent;
    (!steps.is_empty()).then(|| Restore {
        log: record.log.clone(),
        intent: record.sequence,
        time: record.time,
        operator: intent.operator.clone(),
        target: intent.target.clone(),
        plan: intent.plan.to_string(),
        single_restore_override: intent.single_restore_override.clone(),
        closed: record.result.as_ref().map(|(at, _)| *at),
        steps,
    })
}
