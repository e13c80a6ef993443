//! The ledger: what a log says was restored into which name, by whom and when. Pure: it is given log entries and reads
//! none. It is why two operators cannot spend one name slot, and why an HSM key does not go into a vault twice unawares.

use chrono::{DateTime, Utc};

use crate::format::entry::{Entry, Event, RestoreIntent, RestoreResult};
use crate::model::{Object, VaultUri};

/// All intents of some logs, each with its result where there is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    records: Vec<Record>,
}

/// An intent and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The host of the vault whose log this is.
    pub log: String,
    /// The intent's sequence number in that log.
    pub sequence: u64,
    /// When it was committed.
    pub time: DateTime<Utc>,
    /// The intent.
    pub intent: RestoreIntent,
    /// When the result was committed, and what it says; none while the intent is open.
    pub result: Option<(DateTime<Utc>, RestoreResult)>,
}

impl Ledger {
    /// Reads the entries of a log, oldest first, and adds what they tell. A result without its intent tells nothing.
    pub fn add(&mut self, entries: &[Entry]) {
        for entry in entries {
            match &entry.event {
                Event::RestoreIntent(intent) => self.records.push(Record {
                    log: entry.vault.clone(),
                    sequence: entry.sequence,
                    time: entry.time,
                    intent: intent.clone(),
                    result: None,
                }),
                Event::RestoreResult(result) => {
                    let of = |record: &&mut Record| record.log == entry.vault && record.sequence == result.intent;
                    if let Some(record) = self.records.iter_mut().find(of) {
                        record.result.get_or_insert((entry.time, result.clone()));
                    }
                }
                _ => {}
            }
        }
    }

    /// All records, in the order of their logs.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The open intent on a name, if there is one.
    pub fn open(&self, target: &VaultUri, object: &Object) -> Option<&Record> {
        let on = |record: &&Record| {
            record.intent.target == *target && record.intent.steps.iter().any(|step| step.object == *object)
        };
        self.records.iter().filter(|record| record.result.is_none()).find(on)
    }

    /// The record that first spent the only restore of an HSM key into a name, if one did.
    pub fn spent(&self, target: &VaultUri, object: &Object) -> Option<&Record> {
        self.records.iter().find(|record| {
            record.intent.target == *target
                && record.intent.steps.iter().enumerate().any(|(index, step)| {
                    let outcome = record.result.as_ref().and_then(|(_, result)| result.outcomes.get(index));
                    step.object == *object
                        && step.hsm
                        && step.action.creates()
                        && outcome.is_some_and(|outcome| outcome.result.spent())
                })
        })
    }
}
