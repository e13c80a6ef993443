//! The decision table: a pure function of captures, slots, places, the log and what the operator allowed. All refusals are
//! found at once, each with what could be done instead. `docs/RESTORE.md` is the table for people.

mod words;

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{Ledger, Record};
pub use super::place::{Known, Route};
use super::plan::{Action, Allowed, Origin, Refusal, Step};
use super::slot::{Deleted, Slot};
use super::source::{Source, Versions};
use crate::model::{Kind, Name, Object};
use words::{count, list, maybe_time, time};

/// One object that somebody wants back.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What its capture holds.
    pub source: Source,
    /// Where its capture is.
    pub from: Origin,
}

/// What is decided for one object.
struct Verdict {
    action: Action,
    refusal: Option<Refusal>,
    reason: String,
    cost: String,
    alternatives: Vec<String>,
}

fn verdict(action: Action, reason: impl Into<String>) -> Verdict {
    Verdict { action, refusal: None, reason: reason.into(), cost: String::new(), alternatives: Vec::new() }
}

fn refuse(refusal: Refusal, reason: impl Into<String>, alternatives: Vec<String>) -> Verdict {
    Verdict { refusal: Some(refusal), alternatives, ..verdict(Action::Refused, reason) }
}

/// Plans each object. Certificates come first, since a certificate brings its key and secret with it.
///
/// `slots` holds the slots that every wanted object takes ([`slots_of`](super::slot::slots_of)); one that is not in there
/// was not looked at, and is waited for like one in transition.
pub fn plan(
    wanted: &[Wanted],
    slots: &BTreeMap<Object, Slot>,
    route: &Route,
    allowed: &Allowed,
    ledger: &Ledger,
) -> Vec<Step> {
    let table = Table { slots, route, allowed, ledger };
    let mut order: Vec<&Wanted> = wanted.iter().collect();
    order.sort_by(|a, b| a.source.object.cmp(&b.source.object));
    let mut certificates = BTreeSet::new();
    let mut before: Option<&Object> = None;
    let mut steps = Vec::with_capacity(order.len());
    for wanted in order {
        let object = &wanted.source.object;
        let verdict = match before.replace(object) == Some(object) {
            true => refuse(
                Refusal::AskedTwice,
                "another capture of the same object comes before it in this plan",
                vec!["plan one of the two".into(), table.route.elsewhere(&wanted.source)],
            ),
            false => table.give_way(&wanted.source, table.decide(&wanted.source), &certificates),
        };
        if object.kind == Kind::Certificate && (verdict.action.changes() || verdict.action == Action::Wait) {
            certificates.insert(object.name.clone());
        }
        let Verdict { action, refusal, reason, cost, alternatives } = verdict;
        steps.push(Step {
            object: object.clone(),
            action,
            refusal,
            reason,
            cost,
            alternatives,
            from: wanted.from.clone(),
            hsm: wanted.source.hsm,
            slot: table.slot(object).seen(),
        });
    }
    steps
}

/// What every object is judged by.
struct Table<'a> {
    slots: &'a BTreeMap<Object, Slot>,
    route: &'a Route,
    allowed: &'a Allowed,
    ledger: &'a Ledger,
}

impl Table<'_> {
    fn slot(&self, object: &Object) -> &Slot {
        self.slots.get(object).unwrap_or(&Slot::InTransition)
    }

    fn decide(&self, source: &Source) -> Verdict {
        let own = source.object.kind == Kind::Certificate;
        let verdict = match self.slot(&source.object) {
            Slot::Live { managed: true, .. } if !own => self.owned(source, "a certificate of this name owns the name"),
            Slot::Deleted(deleted) if deleted.managed && !own => {
                let reason = format!(
                    "the name is held until {} by a soft-deleted certificate that owns it",
                    maybe_time(deleted.purge_at)
                );
                self.owned(source, reason)
            }
            Slot::Live { versions, .. } => self.live(source, versions),
            Slot::Deleted(deleted) => self.soft_deleted(source, deleted),
            Slot::InTransition => verdict(Action::Wait, "the name is being deleted, purged or recovered right now"),
            Slot::Free => self.free(source),
        };
        self.heed_open(source, self.heed_parts(source, verdict))
    }

    fn owned(&self, source: &Source, reason: impl Into<String>) -> Verdict {
        let alternatives = vec![
            format!("plan the certificate (certificate/{}), which brings its key and secret", source.object.name),
            self.route.elsewhere(source),
        ];
        refuse(Refusal::OwnedByCertificate, reason, alternatives)
    }

    /// Nothing is lost where all that was captured is live; newer versions are told, and stay.
    fn live(&self, source: &Source, versions: &Versions) -> Verdict {
        let drift = drift(&source.versions, versions);
        if !drift.is_empty() {
            return refuse(
                Refusal::LiveOther,
                format!("a different object is live under this name: {}", list(&drift, "; ")),
                vec!["keep the live one".into(), self.route.elsewhere(source)],
            );
        }
        let newer: Vec<&String> = versions.keys().filter(|id| !source.versions.contains_key(*id)).collect();
        let mut reason = match newer.as_slice() {
            [] => "it is live, with the same versions".to_owned(),
            newer => format!(
                "it is live, with all captured versions and {} newer: {}",
                count(newer.len(), "version"),
                list(newer, ", ")
            ),
        };
        // Who misses a key that is live often misses one that was disabled, which no restore changes.
        let enabled = |versions: &Versions, id: &str| versions.get(id).and_then(|version| version.attributes.enabled);
        if let Some((id, _)) = source.newest()
            && (enabled(&source.versions, id), enabled(versions, id)) == (Some(true), Some(false))
        {
            reason.push_str(&format!("; version {id} was disabled since, and can be enabled again"));
        }
        verdict(Action::Nothing, reason)
    }

    /// In the vault that the capture came from, a newer object is what the captured one became. Elsewhere one that the
    /// capture does not know is a stranger, and making it live again cannot be undone but by holding its name for another
    /// retention period.
    fn soft_deleted(&self, source: &Source, deleted: &Deleted) -> Verdict {
        let until = maybe_time(deleted.purge_at);
        let known = deleted.version.as_ref().is_some_and(|version| source.versions.contains_key(version));
        let newest = source.newest().and_then(|(_, version)| version.attributes.updated);
        let as_new = match (deleted.attributes.updated, newest) {
            (Some(theirs), Some(ours)) => theirs >= ours,
            _ => known && deleted.version.as_ref() == source.newest().map(|(id, _)| id),
        };
        match (as_new && (known || self.route.home()), known) {
            (true, true) => verdict(
                Action::Recover,
                format!(
                    "it is soft-deleted until {until} with the same version: recovering costs nothing and loses nothing"
                ),
            ),
            (true, false) => verdict(
                Action::Recover,
                format!(
                    "it is soft-deleted until {until} with a newer version than the capture has: only recovering shows \
                     whether it is the same object"
                ),
            ),
            (false, _) => self.held(source, deleted, known),
        }
    }

    /// A soft-deleted object that is older than the capture, or another one.
    fn held(&self, source: &Source, deleted: &Deleted, known: bool) -> Verdict {
        let there = format!(
            "version {}, last changed {}",
            deleted.version.as_deref().unwrap_or("unknown"),
            maybe_time(deleted.attributes.updated)
        );
        let what = if known { "an older state of it" } else { "an object that the capture does not know" };
        let held = format!("the name is held until {} by {what}, soft-deleted: {there}", maybe_time(deleted.purge_at));
        let missing = match known {
            true => words::missing(&source.versions, deleted.version.as_deref()),
            false => format!(
                "whether any of the captured {} is in it shows only then",
                count(source.versions.len(), "version")
            ),
        };
        if self.allowed.recover_other {
            let cost = format!("{missing}; the object that is recovered takes the name");
            return Verdict { cost, ..verdict(Action::Recover, format!("{held}; recovering it is allowed")) };
        }
        let recover = "recover what is there: plan with --recover-other".to_owned();
        let offer = format!("recovering it would bring back {there}; {missing}");
        if let Some(refused) = self.cannot_create(source) {
            let alternatives = [vec![recover], refused.alternatives].concat();
            return Verdict { reason: format!("{held}; {}; {offer}", refused.reason), alternatives, ..refused };
        }
        let mut alternatives = vec![recover, self.route.elsewhere(source)];
        alternatives
            .extend(deleted.purge_at.map(|_| "wait until that date: then the name comes free, and plan again".into()));
        match (self.purgeable(deleted), self.allowed.purge) {
            (false, _) => refuse(
                Refusal::HeldProtected,
                format!("{held}; purge protection keeps it there until then; {offer}"),
                alternatives,
            ),
            (true, true) => self.purge(source, &held, &there),
            (true, false) => {
                alternatives.insert(1, "purge what is there, if nobody needs it: plan with --allow-purge".into());
                refuse(Refusal::HeldPurgeable, format!("{held}; {offer}"), alternatives)
            }
        }
    }

    /// By the object's recovery level and by the vault's settings: what one of them protects is not tried.
    fn purgeable(&self, deleted: &Deleted) -> bool {
        let protected = self.route.target_facts.as_ref().is_some_and(|facts| facts.soft_delete.purge_protection);
        deleted.attributes.purgeable() && !protected
    }

    fn purge(&self, source: &Source, held: &str, there: &str) -> Verdict {
        // A restore that Azure refuses costs nothing; after a purge it would have cost what was purged.
        if let Some(then) = self.route.moved() {
            let reason = format!(
                "{held}; the vault was in subscription {then} when the capture was taken, and is not any more: whether \
                 the backup opens is not known, and nothing is purged for that"
            );
            let alternatives = vec![
                "recover what is there: plan with --recover-other".into(),
                self.route.elsewhere(source),
                "purge it by hand and plan again, if nobody needs it".into(),
            ];
            return refuse(Refusal::OtherSubscription, reason, alternatives);
        }
        let reason = format!("{held}; purging it is allowed; then {}", self.backup(source));
        let lost = format!(
            "what is purged is lost for good ({there}, and all versions before it); freeing the name takes Azure up to \
             some minutes"
        );
        Verdict { cost: self.cost(source, Some(lost)), ..verdict(Action::PurgeAndRestore, reason) }
    }

    fn free(&self, source: &Source) -> Verdict {
        if let Some(refused) = self.cannot_create(source) {
            return refused;
        }
        let mut reason = format!("the name is free: {}", self.backup(source));
        if let Some(then) = self.route.moved() {
            reason.push_str(&format!(
                "; the vault was in subscription {then} when the capture was taken, and Azure may refuse the backup"
            ));
        }
        Verdict { cost: self.cost(source, None), ..verdict(Action::Restore, reason) }
    }

    /// What a restore brings, and by whose leave where a leave was needed.
    fn backup(&self, source: &Source) -> String {
        let newest = source.newest().map_or("", |(id, _)| id.as_str());
        let brings = format!("{}, newest {newest}", count(source.versions.len(), "version"));
        match (self.spent(source), &self.allowed.single_restore_override) {
            (Some(record), Some(why)) => format!("{brings}; restored before {}, allowed again: {why}", by(record)),
            _ => brings,
        }
    }

    /// What creating the object costs, besides what is `lost` for it.
    fn cost(&self, source: &Source, lost: Option<String>) -> String {
        let days = self.route.target_facts.as_ref().map(|facts| facts.soft_delete.retention_days);
        let held = days.map(|days| format!("deleting it again would hold the name for {days} days"));
        let spent = source.hsm.then(|| "restoring the HSM key here a second time would need an override".to_owned());
        lost.into_iter().chain(held).chain(spent).collect::<Vec<_>>().join("; ")
    }

    /// What keeps the object from being created from its backup in this vault, whatever holds the name.
    fn cannot_create(&self, source: &Source) -> Option<Verdict> {
        if let Some(obstacle) = self.route.obstacle(source) {
            return Some(refuse(obstacle.refusal, obstacle.reason, obstacle.alternatives));
        }
        let record = self.spent(source).filter(|_| self.allowed.single_restore_override.is_none())?;
        let reason = format!("an HSM key was restored into this name before, {}", by(record));
        let alternatives = vec![
            "restore it once more all the same: plan with --override-single-restore \"reason\", which the log records"
                .into(),
            self.route.elsewhere(source),
        ];
        Some(refuse(Refusal::RestoredBefore, reason, alternatives))
    }

    fn spent(&self, source: &Source) -> Option<&Record> {
        self.ledger.spent(&self.route.target, &source.object).filter(|_| source.hsm)
    }

    /// A certificate takes the names of its key and secret, too. What is there may be its own: then it goes where the
    /// certificate goes.
    fn heed_parts(&self, source: &Source, decided: Verdict) -> Verdict {
        if source.object.kind != Kind::Certificate || !decided.action.changes() {
            return decided;
        }
        let parts = [Kind::Key, Kind::Secret].map(|kind| Object::new(kind, source.object.name.clone()));
        let taken: Vec<(&Object, String, String)> = parts
            .iter()
            .filter_map(|part| match (self.slot(part), decided.action) {
                (Slot::Live { managed: false, .. }, _) => {
                    Some((part, "is live and not the certificate's".into(), format!("delete {part}")))
                }
                // That what is soft-deleted beside a soft-deleted certificate is its own is a good guess, and Azure
                // refuses a recovery that is not possible. A purge wants to know.
                (Slot::Deleted(deleted), Action::Restore | Action::PurgeAndRestore) if !deleted.managed => {
                    let state = format!("is soft-deleted until {}", maybe_time(deleted.purge_at));
                    let remedy = if self.purgeable(deleted) {
                        format!("purge {part}")
                    } else {
                        "wait until that date".to_owned()
                    };
                    Some((part, state, remedy))
                }
                _ => None,
            })
            .collect();
        if let Some((part, state, remedy)) = taken.first() {
            let alternatives =
                vec![self.route.elsewhere(source), format!("{remedy}, if nobody needs it, and plan again")];
            let reason = format!("a certificate needs the {} of its name too, and {part} {state}", part.kind);
            return refuse(Refusal::PartTaken, reason, alternatives);
        }
        let unsettled = parts.iter().find(|part| match (self.slot(part), decided.action) {
            (Slot::InTransition | Slot::Live { .. }, _) => true,
            // A certificate's part without its certificate: it is on its way in or out.
            (Slot::Deleted(_), action) => action == Action::Restore,
            (Slot::Free, _) => false,
        });
        match unsettled {
            Some(part) => verdict(
                Action::Wait,
                format!("the certificate's {} is being deleted, purged or recovered right now", part.kind),
            ),
            None => decided,
        }
    }

    /// While an intent is open, nobody knows what its operator has done or is about to do.
    fn heed_open(&self, source: &Source, decided: Verdict) -> Verdict {
        let Some(record) = self.ledger.open(&self.route.target, &source.object) else { return decided };
        let open = format!("its restore was begun {}, and how that ended is not in the log", by(record));
        match decided.action {
            Action::Wait => Verdict { reason: format!("{}; {open}", decided.reason), ..decided },
            action if action.changes() => refuse(
                Refusal::IntentOpen,
                open,
                vec![
                    "wait until it is done, if that operator is at work, and plan again".into(),
                    "finish it with `akv-archiver restore resume`, if nobody is, and plan again".into(),
                ],
            ),
            _ => decided,
        }
    }

    /// A certificate that is brought back takes the names of its key and secret. A key or secret that stood on its own
    /// under that name, in some earlier time, would come second.
    fn give_way(&self, source: &Source, decided: Verdict, certificates: &BTreeSet<Name>) -> Verdict {
        match decided.action.changes() && certificates.contains(&source.object.name) {
            true if source.object.kind != Kind::Certificate => refuse(
                Refusal::CertificateComes,
                "the certificate of this name is brought back by the same plan, and takes the name",
                vec!["plan one of the two".into(), self.route.elsewhere(source)],
            ),
            _ => decided,
        }
    }
}

/// Who did it and when, and where that is written.
fn by(record: &Record) -> String {
    format!(
        "by {} on {} (entry {} of the log of {})",
        record.intent.operator,
        time(record.time),
        record.sequence,
        record.log
    )
}

/// What the live object lacks of the captured one, version by version, and what it has besides if it lacks anything. The
/// same ids with the same public keys are the same; what is not known cannot differ.
fn drift(captured: &Versions, live: &Versions) -> Vec<String> {
    let mut differences: Vec<String> = captured
        .iter()
        .filter_map(|(id, version)| match live.get(id) {
            None => Some(format!("version {id} is only in the archive")),
            Some(other) => match (&version.thumbprint, &other.thumbprint) {
                (Some(ours), Some(theirs)) if ours != theirs => Some(format!("version {id} has another public key")),
                _ => None,
            },
        })
        .collect();
    if !differences.is_empty() {
        let more = live.keys().filter(|id| !captured.contains_key(*id));
        differences.extend(more.map(|id| format!("version {id} is only in the vault")));
    }
    differences
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
