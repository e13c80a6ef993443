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
<<<<<<< HEAD
mod tests {
    use super::*;
    use crate::format::manifest::CaptureRef;
    use crate::format::paths;
    use crate::model::{Attributes, Digest, Mode, Place, SoftDelete, geography_of};
    use crate::restore::plan::Plan;
    use crate::restore::source::Version;
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn at(seconds: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0)
    }

    fn object(text: &str) -> Object {
        Object::parse(text).unwrap()
    }

    fn uri(text: &str) -> VaultUri {
        VaultUri::parse(text).unwrap()
    }

    fn version(created: i64, updated: i64, thumbprint: Option<&str>) -> Version {
        let attributes = Attributes { created: at(created), updated: at(updated), ..Attributes::default() };
        Version { attributes, tags: String::new(), thumbprint: thumbprint.map(str::to_owned) }
    }

    /// Versions v1 and v2, created at 10 and 20, changed last at 30.
    fn versions() -> Versions {
        Versions::from([("v1".into(), version(10, 10, Some("t1"))), ("v2".into(), version(20, 30, Some("t2")))])
    }

    fn wanted(text: &str) -> Wanted {
        let object = object(text);
        let vault = uri("https://prod.vault.azure.net");
        let captured_at = at(60).unwrap();
        let path = paths::capture(&vault, &object, captured_at, &Digest::of(b"")).unwrap();
        let capture = CaptureRef {
            path,
            version: None,
            sha256: Digest::of(b""),
            md5: String::new(),
            size: 1,
            captured_at,
            mode: Mode::Locked,
            protected_until: None,
            kid: None,
            reused: false,
        };
        Wanted {
            source: Source { object, versions: versions(), hsm: false },
            from: Origin::Archive { snapshot: 3, capture: Box::new(capture) },
        }
    }

    fn facts(subscription: &str, location: &str, sku: &str) -> Option<VaultFacts> {
        let place =
            Place { subscription: subscription.into(), location: location.into(), geography: geography_of(location) };
        let soft_delete = SoftDelete { enabled: true, retention_days: 90, purge_protection: true };
        Some(VaultFacts { resource_id: "/x".into(), place, sku: sku.into(), soft_delete, rbac: true })
    }

    /// Into the vault that it came from.
    fn home() -> Route {
        let vault = uri("https://prod.vault.azure.net");
        let facts = facts("s1", "westeurope", "premium");
        Route { source: vault.clone(), source_facts: facts.clone(), target: vault, target_facts: facts }
    }

    /// Into another vault.
    fn away(target_facts: Option<VaultFacts>) -> Route {
        Route { target: uri("https://spare.vault.azure.net"), target_facts, ..home() }
    }

    fn deleted(version: &str, updated: Option<i64>, level: &str) -> Slot {
        let attributes =
            Attributes { updated: updated.and_then(at), recovery_level: Some(level.into()), ..Attributes::default() };
        Slot::Deleted(Deleted { version: Some(version.into()), attributes, purge_at: at(86_400) })
    }

    fn one(wanted: Wanted, slot: Slot, route: &Route) -> Step {
        let slots = BTreeMap::from([(wanted.source.object.clone(), slot)]);
        let mut steps = plan(&[wanted], &slots, route, &Allowed::default(), &Ledger::default());
        assert_eq!(steps.len(), 1);
        let step = steps.remove(0);
        assert_eq!(step.action == Action::Refused, !step.alternatives.is_empty(), "{step:?}");
        step
    }

    #[test]
    fn a_free_name_is_restored_into() {
        let step = one(wanted("key/k"), Slot::Free, &home());
        assert_eq!((step.action, &step.from), (Action::Restore, &wanted("key/k").from));
        assert!(step.reason.contains("2 versions, newest v2") && step.cost.contains("for 90 days"), "{step:?}");
    }

    #[test]
    fn a_live_name_is_left_alone_and_what_differs_is_told_version_by_version() {
        let live = |versions| Slot::Live { versions, managed: false };
        assert_eq!(one(wanted("key/k"), live(versions()), &home()).action, Action::Nothing);
        let mut unread = versions();
        unread.values_mut().for_each(|version| version.thumbprint = None);
        assert_eq!(
            one(wanted("key/k"), live(unread), &home()).action,
            Action::Nothing,
            "what is not known cannot differ"
        );
        let mut other = versions();
        other.remove("v1");
        other.get_mut("v2").unwrap().thumbprint = Some("forged".into());
        other.insert("v3".into(), version(40, 40, None));
        let step = one(wanted("key/k"), live(other), &home());
        assert_eq!(step.action, Action::Refused);
        assert_eq!(
            step.reason,
            "a different object is live under this name: version v1 is only in the archive; version v2 has another \
             public key; version v3 is only in the vault"
        );
    }

    #[test]
    fn a_name_that_a_certificate_owns_is_refused_for_a_key_and_compared_for_a_certificate() {
        let owned = Slot::Live { versions: versions(), managed: true };
        assert_eq!(one(wanted("key/k"), owned.clone(), &home()).action, Action::Refused);
        assert_eq!(one(wanted("certificate/k"), owned, &home()).action, Action::Nothing);
    }

    #[test]
    fn a_soft_deleted_object_at_least_as_new_is_recovered() {
        let same = one(wanted("key/k"), deleted("v2", Some(30), "Recoverable"), &home());
        assert_eq!(same.action, Action::Recover);
        assert!(same.reason.contains("loses nothing"), "{}", same.reason);
        let newer = one(wanted("key/k"), deleted("v3", Some(31), "Recoverable"), &home());
        assert_eq!(newer.action, Action::Recover);
        assert!(!newer.reason.contains("loses nothing"), "nobody can know: {}", newer.reason);
        let dateless = one(wanted("key/k"), deleted("v2", None, "Recoverable"), &home());
        assert_eq!(dateless.action, Action::Recover, "the version is known");
    }

    #[test]
    fn a_stranger_in_another_vaults_bin_stays_there() {
        let route = Route { target: uri("https://other.vault.azure.net"), ..home() };
        let stranger = one(wanted("key/k"), deleted("v3", Some(31), "Recoverable"), &route);
        assert_eq!(stranger.action, Action::Refused, "{stranger:?}");
        let known = one(wanted("key/k"), deleted("v2", Some(30), "Recoverable"), &route);
        assert_eq!(known.action, Action::Recover, "{known:?}");
    }

    #[test]
    fn a_soft_deleted_object_that_is_older_or_unknown_holds_the_name() {
        let purgeable = one(wanted("key/k"), deleted("v1", Some(29), "Recoverable+Purgeable"), &home());
        assert_eq!(purgeable.action, Action::Refused);
        assert!(purgeable.alternatives.iter().any(|text| text.contains("purge it")), "{purgeable:?}");
        let kept = one(wanted("key/k"), deleted("v1", Some(29), "Recoverable+ProtectedSubscription"), &home());
        assert!(
            kept.reason.contains("until 2027-01-16") && kept.reason.contains("purge protection"),
            "{}",
            kept.reason
        );
        assert!(!kept.alternatives.iter().any(|text| text.contains("purge it")), "{kept:?}");
        assert_eq!(one(wanted("key/k"), deleted("other", None, ""), &home()).action, Action::Refused);
    }

    #[test]
    fn a_name_in_transition_or_never_looked_at_is_waited_for() {
        assert_eq!(one(wanted("key/k"), Slot::InTransition, &home()).action, Action::Wait);
        assert_eq!(
            plan(&[wanted("key/k")], &BTreeMap::new(), &home(), &Allowed::default(), &Ledger::default())[0].action,
            Action::Wait
        );
    }

    #[test]
    fn a_certificate_needs_all_three_of_its_names() {
        for taken in ["key/tls", "secret/tls"] {
            for slot in
                [Slot::InTransition, deleted("v9", None, ""), Slot::Live { versions: versions(), managed: false }]
            {
                let slots = BTreeMap::from([
                    (object("certificate/tls"), Slot::Free),
                    (object("key/tls"), Slot::Free),
                    (object("secret/tls"), Slot::Free),
                    (object(taken), slot),
                ]);
                let step = plan(&[wanted("certificate/tls")], &slots, &home(), &Allowed::default(), &Ledger::default())
                    .remove(0);
                assert_eq!(step.action, Action::Refused, "{taken}");
                assert!(step.reason.contains(taken) && !step.alternatives.is_empty(), "{}", step.reason);
            }
        }
    }

    #[test]
    fn a_certificate_comes_first_and_a_key_of_its_name_gives_way() {
        let objects = ["secret/a", "key/tls", "certificate/TLS"];
        let slots: BTreeMap<Object, Slot> =
            objects.iter().chain(&["secret/tls"]).map(|text| (object(text), Slot::Free)).collect();
        let steps = plan(&objects.map(wanted), &slots, &home(), &Allowed::default(), &Ledger::default());
        let decided: Vec<(String, Action)> = steps.iter().map(|step| (step.object.to_string(), step.action)).collect();
        assert_eq!(
            decided,
            [
                ("certificate/TLS".to_owned(), Action::Restore),
                ("key/tls".to_owned(), Action::Refused),
                ("secret/a".to_owned(), Action::Restore)
            ]
        );
    }

    #[test]
    fn a_backup_opens_only_in_its_own_cloud_subscription_and_geography() {
        for (target, allowed) in [
            (facts("S1", "North Europe", "premium"), true),
            (facts("s2", "westeurope", "premium"), false),
            (facts("s1", "eastus", "premium"), false),
            (facts("s1", "atlantis", "premium"), false),
            (None, false),
        ] {
            let step = one(wanted("key/k"), Slot::Free, &away(target.clone()));
            assert_eq!(step.action == Action::Restore, allowed, "{target:?}: {}", step.reason);
        }
        let unknown = Route { source_facts: None, ..away(facts("s1", "westeurope", "premium")) };
        assert_eq!(one(wanted("key/k"), Slot::Free, &unknown).action, Action::Refused);
        let china = Route { target: uri("https://spare.vault.azure.cn"), ..home() };
        assert!(one(wanted("key/k"), Slot::Free, &china).reason.contains("different clouds"));
        let blind = Route { source_facts: None, target_facts: None, ..home() };
        assert_eq!(one(wanted("key/k"), Slot::Free, &blind).action, Action::Restore, "its own vault needs no facts");
        let new = facts("s1", "atlantis", "premium");
        let region = Route { source_facts: new.clone(), ..away(new) };
        assert_eq!(one(wanted("key/k"), Slot::Free, &region).action, Action::Restore, "one region is one geography");
    }

    #[test]
    fn an_hsm_key_fits_into_a_premium_vault_only() {
        let hsm = || {
            let mut wanted = wanted("key/k");
            wanted.source.hsm = true;
            wanted
        };
        let standard = || facts("s1", "westeurope", "Standard");
        for route in [away(standard()), Route { target_facts: standard(), ..home() }] {
            assert!(one(hsm(), Slot::Free, &route).reason.contains("standard vault"));
            assert_eq!(one(wanted("key/k"), Slot::Free, &route).action, Action::Restore);
        }
        let step = one(hsm(), Slot::Free, &away(facts("s1", "westeurope", "premium")));
        assert!(step.action == Action::Restore && step.hsm);
    }

    #[test]
    fn a_plan_survives_its_file_and_refuses_what_it_does_not_know() {
        let plan = Plan {
            format: Plan::FORMAT.into(),
            plan: Uuid::from_u128(1),
            created: at(0).unwrap(),
            archive_id: Some(Uuid::from_u128(2)),
            source: uri("https://prod.vault.azure.net"),
            target: uri("https://prod.vault.azure.net"),
            whole: false,
            allowed: Allowed::default(),
            steps: vec![one(wanted("key/k"), Slot::Free, &home())],
            missing: Vec::new(),
            notes: Vec::new(),
            settings: None,
        };
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        for (from, to) in [("key/k", "k"), ("\"hsm\"", "\"hsn\""), ("\"restore\"", "\"purge\"")] {
            assert!(serde_json::from_str::<Plan>(&text.replace(from, to)).is_err(), "{to}");
        }
    }

    fn slots() -> impl Strategy<Value = Slot> {
        prop_oneof![
            Just(Slot::Free),
            Just(Slot::InTransition),
            any::<bool>().prop_map(|managed| Slot::Live { versions: versions(), managed }),
            Just(Slot::Live { versions: Versions::from([("v9".into(), version(1, 1, None))]), managed: false }),
            ("v[1-4]", proptest::option::of(0i64..60), any::<bool>()).prop_map(|(id, updated, purge)| deleted(
                &id,
                updated,
                if purge { "Purgeable" } else { "Recoverable" }
            )),
        ]
    }

    fn places() -> impl Strategy<Value = Option<VaultFacts>> {
        let location = prop_oneof![Just("westeurope"), Just("northeurope"), Just("eastus"), Just("atlantis")];
        let sku = prop_oneof![Just("standard"), Just("premium")];
        proptest::option::of(("s[12]", location, sku)).prop_map(|facts| {
            let (subscription, location, sku) = facts?;
            self::facts(&subscription, location, sku)
        })
    }

    proptest! {
        #[test]
        fn no_plan_takes_a_taken_name_or_crosses_a_border(
            objects in proptest::collection::btree_map("(key|secret|certificate)/[a-c]", (slots(), any::<bool>()), 1..9),
            (source_facts, target_facts) in (places(), places()),
            elsewhere: bool,
        ) {
            let slots: BTreeMap<Object, Slot> =
                objects.iter().map(|(text, (slot, _))| (object(text), slot.clone())).collect();
            let wanted: Vec<Wanted> = objects.iter().map(|(text, (_, hsm))| {
                let mut wanted = wanted(text);
                wanted.source.hsm = *hsm && wanted.source.object.kind == Kind::Key;
                wanted
            }).collect();
            let mut route = if elsewhere { away(target_facts) } else { Route { target_facts, ..home() } };
            if elsewhere { route.source_facts = source_facts; }
            let steps = plan(&wanted, &slots, &route, &Allowed::default(), &Ledger::default());
            prop_assert_eq!(steps.len(), wanted.len());
            prop_assert!(steps.windows(2).all(|pair| pair[0].object < pair[1].object));
            let mut names = BTreeSet::new();
            for step in &steps {
                prop_assert_eq!(step.action == Action::Refused, !step.alternatives.is_empty());
                let slot = &slots[&step.object];
                if step.action.changes() {
                    let parts = match step.object.kind { Kind::Certificate => Kind::ALL.to_vec(), kind => vec![kind] };
                    for kind in parts {
                        prop_assert!(names.insert(Object::new(kind, step.object.name.clone())), "taken twice");
                    }
                }
                match step.action {
                    Action::Restore => {
                        prop_assert_eq!(slot, &Slot::Free);
                        if let (true, Some(to)) = (step.hsm, &route.target_facts) {
                            prop_assert_eq!(to.sku.as_str(), "premium");
                        }
                        if elsewhere {
                            let (from, to) = (route.source_facts.as_ref().unwrap(), route.target_facts.as_ref().unwrap());
                            prop_assert_eq!(&from.place.subscription, &to.place.subscription);
                            prop_assert_eq!(&from.place.geography, &to.place.geography);
                            prop_assert!(from.place.geography.is_some() || from.place.location == to.place.location);
                        }
                    }
                    Action::PurgeAndRestore => prop_assert!(false, "nobody allowed it"),
                    Action::Recover => prop_assert!(slot.seen().state == "deleted"),
                    Action::Nothing => prop_assert!(slot.seen().state == "live"),
                    Action::Wait => prop_assert_eq!(slot, &Slot::InTransition),
                    Action::Refused => {}
                }
            }
        }
    }
}
=======
mod properties;
#[cfg(test)]
mod tests;
>>>>>>> i/planner
