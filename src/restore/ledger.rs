//! The ledger: what a log says was restored into which name, by whom and when. Pure: it is given log entries and reads
//! none. It is why two operators cannot spend one name slot, and why an HSM key does not go into a vault twice unawares.

use chrono::{DateTime, Utc};

use crate::format::entry::{Entry, Event, IntentStep, Outcome, RestoreIntent, RestoreResult};
use crate::model::{Kind, Object, VaultUri};

/// All intents of some logs, each with its result where there is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    records: Vec<Record>,
    blind: Vec<(String, u64)>,
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

impl Record {
    /// The steps, each with its outcome where there is one.
    pub fn steps(&self) -> impl Iterator<Item = (&IntentStep, Option<&Outcome>)> {
        let outcomes = self.result.as_ref().map_or(&[][..], |(_, result)| &result.outcomes);
        self.intent.steps.iter().enumerate().map(|(index, step)| (step, outcomes.get(index)))
    }

    /// Whether a step of it uses a name in `target` that bringing `object` back would use too.
    pub fn touches(&self, target: &VaultUri, object: &Object) -> bool {
        self.intent.target == *target && self.intent.steps.iter().any(|step| share_a_name(&step.object, object))
    }

    /// Who began it, when, and where that stands, for a sentence.
    pub fn who(&self) -> String {
        let at = self.time.format("%Y-%m-%d %H:%M UTC");
        format!("{} at {at} (entry {} in the log of {})", self.intent.operator, self.sequence, self.log)
    }
}

/// A certificate takes the names of its key and secret.
fn share_a_name(a: &Object, b: &Object) -> bool {
    a.name == b.name && (a.kind == b.kind || a.kind == Kind::Certificate || b.kind == Kind::Certificate)
}

impl Ledger {
    /// Reads the entries of a log, oldest first, and adds what they tell. A result without its intent tells nothing.
    /// An event of a type that is not known may be anything, a restore too.
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
                Event::Unknown(_) => self.cannot_read(&entry.vault, entry.sequence),
                Event::Snapshot(_) | Event::Protect(_) => {}
            }
        }
    }

    /// Notes an entry that could not be read, in the log of the vault with this host.
    pub fn cannot_read(&mut self, log: &str, sequence: u64) {
        self.blind.push((log.to_owned(), sequence));
    }

    /// Entries of which nobody knows what they tell: hosts of vaults, and sequence numbers. Behind each may be a restore.
    pub fn blind(&self) -> &[(String, u64)] {
        &self.blind
    }

    /// All records, in the order of their logs.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The record of an intent.
    pub fn record(&self, log: &str, sequence: u64) -> Option<&Record> {
        self.records.iter().find(|record| record.log == log && record.sequence == sequence)
    }

    /// The open intent on a name, if there is one. One on a certificate is one on its key and secret.
    pub fn open(&self, target: &VaultUri, object: &Object) -> Option<&Record> {
        self.records.iter().filter(|record| record.result.is_none()).find(|record| record.touches(target, object))
    }

    /// The record that first spent the only restore of an HSM key into a name, if one did.
    pub fn spent(&self, target: &VaultUri, object: &Object) -> Option<&Record> {
        let spends = |(step, outcome): (&IntentStep, Option<&Outcome>)| {
            let spent = outcome.is_some_and(|outcome| outcome.result.spent());
            step.object == *object && step.hsm && step.action.creates() && spent
        };
        self.records.iter().find(|record| record.intent.target == *target && record.steps().any(spends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::{Became, Change, FORMAT};
    use uuid::Uuid;

    fn uri(name: &str) -> VaultUri {
        VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap()
    }

    fn object(text: &str) -> Object {
        Object::parse(text).unwrap()
    }

    fn entry(log: &str, sequence: u64, event: Event) -> Entry {
        Entry {
            format: FORMAT.into(),
            archive_id: Uuid::nil(),
            vault: uri(log).host().to_owned(),
            sequence,
            time: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            previous: None,
            frontier: Vec::new(),
            latest_snapshot: None,
            event,
        }
    }

    fn intent(target: &str, steps: &[(&str, Change, bool)]) -> Event {
        let step = |(object, action, hsm): &(&str, Change, bool)| IntentStep {
            object: self::object(object),
            action: *action,
            snapshot: Some(1),
            capture: None,
            hsm: *hsm,
        };
        Event::RestoreIntent(RestoreIntent {
            plan: Uuid::nil(),
            target: uri(target),
            steps: steps.iter().map(step).collect(),
            operator: "ann".into(),
            single_restore_override: None,
        })
    }

    fn result(of: u64, results: &[Became]) -> Event {
        let outcome = |result: &Became| Outcome { object: object("key/k"), result: *result, detail: String::new() };
        Event::RestoreResult(RestoreResult { intent: of, outcomes: results.iter().map(outcome).collect() })
    }

    fn ledger(entries: &[Entry]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.add(entries);
        ledger
    }

    #[test]
    fn an_intent_is_open_until_its_own_log_has_its_result() {
        let begun = entry("prod", 7, intent("spare", &[("key/k", Change::Restore, true)]));
        let mut known = ledger(&[begun]);
        assert_eq!(known.open(&uri("spare"), &object("key/K")).unwrap().sequence, 7, "names do not differ by case");
        assert!(known.open(&uri("prod"), &object("key/k")).is_none(), "another target");
        assert!(known.open(&uri("spare"), &object("secret/k")).is_none(), "another kind");
        assert!(known.open(&uri("spare"), &object("certificate/k")).is_some(), "a certificate would take the name");
        known.add(&[entry("other", 8, result(7, &[Became::Done]))]);
        assert!(known.open(&uri("spare"), &object("key/k")).is_some(), "a result in another log is of another intent");
        known.add(&[entry("prod", 8, result(7, &[Became::Failed])), entry("prod", 9, result(7, &[Became::Done]))]);
        assert!(known.open(&uri("spare"), &object("key/k")).is_none());
        assert!(known.spent(&uri("spare"), &object("key/k")).is_none(), "the first result counts");
        assert_eq!(known.records().len(), 1);
    }

    #[test]
    fn only_what_created_an_hsm_key_or_may_have_spends_it() {
        for (hsm, change, became, spent) in [
            (true, Change::Restore, Became::Done, true),
            (true, Change::PurgeAndRestore, Became::Different, true),
            (true, Change::Restore, Became::Unclear, true),
            (true, Change::Restore, Became::Failed, false),
            (true, Change::Restore, Became::Skipped, false),
            (true, Change::Recover, Became::Done, false),
            (false, Change::Restore, Became::Done, false),
        ] {
            // The second of two steps: outcomes go by place.
            let steps = [("key/other", Change::Restore, true), ("key/k", change, hsm)];
            let known = ledger(&[
                entry("prod", 2, intent("prod", &steps)),
                entry("prod", 3, result(2, &[Became::Failed, became])),
            ]);
            assert_eq!(known.spent(&uri("prod"), &object("key/k")).is_some(), spent, "{hsm} {change:?} {became:?}");
            assert!(known.spent(&uri("prod"), &object("key/other")).is_none());
            assert!(known.spent(&uri("spare"), &object("key/k")).is_none(), "in another vault it is another restore");
        }
    }

    #[test]
    fn what_nobody_can_read_is_kept_in_mind() {
        let unknown: Event = serde_json::from_str(r#"{"type":"drill","of":1}"#).unwrap();
        let mut known = ledger(&[entry("prod", 2, unknown)]);
        known.cannot_read("spare.vault.azure.net", 4);
        let blind: Vec<(&str, u64)> = known.blind().iter().map(|(log, sequence)| (log.as_str(), *sequence)).collect();
        assert_eq!(blind, [("prod.vault.azure.net", 2), ("spare.vault.azure.net", 4)]);
    }
}
