//! The decision table, row by row.

use super::*;
use crate::format::entry::{Became, Change, Entry, Event, FORMAT, IntentStep, Outcome, RestoreIntent, RestoreResult};
use crate::format::manifest::CaptureRef;
use crate::format::paths;
use crate::model::{Atlas, Attributes, Digest, Mode, Place, SoftDelete, VaultFacts, VaultUri, geography_of};
use crate::restore::slot::slots_of;
use crate::restore::source::Version;
use chrono::{DateTime, Utc};
use uuid::Uuid;

pub(super) fn at(seconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0)
}

pub(super) fn object(text: &str) -> Object {
    Object::parse(text).unwrap()
}

pub(super) fn uri(text: &str) -> VaultUri {
    VaultUri::parse(text).unwrap()
}

pub(super) fn version(created: i64, updated: i64, thumbprint: Option<&str>) -> Version {
    let attributes = Attributes { created: at(created), updated: at(updated), ..Attributes::default() };
    Version { attributes, tags: String::new(), thumbprint: thumbprint.map(str::to_owned) }
}

/// Versions v1 and v2, created at 10 and 20, changed last at 30.
pub(super) fn versions() -> Versions {
    Versions::from([("v1".into(), version(10, 10, Some("t1"))), ("v2".into(), version(20, 30, Some("t2")))])
}

pub(super) fn wanted(text: &str) -> Wanted {
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

pub(super) fn facts(subscription: &str, location: &str, sku: &str) -> Option<VaultFacts> {
    let place =
        Place { subscription: subscription.into(), location: location.into(), geography: geography_of(location) };
    let soft_delete = SoftDelete { enabled: true, retention_days: 90, purge_protection: false };
    Some(VaultFacts { resource_id: "/x".into(), place, sku: sku.into(), soft_delete, rbac: true })
}

/// Into the vault that it came from.
pub(super) fn home() -> Route {
    let vault = uri("https://prod.vault.azure.net");
    let facts = facts("s1", "westeurope", "premium");
    Route {
        source: vault.clone(),
        source_facts: facts.clone(),
        target: vault,
        target_facts: facts,
        atlas: Atlas::default(),
        known: Vec::new(),
    }
}

/// Into another vault.
pub(super) fn away(target_facts: Option<VaultFacts>) -> Route {
    Route { target: uri("https://spare.vault.azure.net"), target_facts, ..home() }
}

pub(super) fn deleted(version: &str, updated: Option<i64>, level: &str) -> Slot {
    let attributes =
        Attributes { updated: updated.and_then(at), recovery_level: Some(level.into()), ..Attributes::default() };
    Slot::Deleted(Deleted { version: Some(version.into()), attributes, purge_at: at(86_400), managed: false })
}

fn one(wanted: Wanted, slot: Slot, route: &Route) -> Step {
    judged(wanted, &[slot], route, &Allowed::default(), &Ledger::default())
}

fn allowing(wanted: Wanted, slot: Slot, route: &Route, allowed: &Allowed) -> Step {
    judged(wanted, &[slot], route, allowed, &Ledger::default())
}

/// The step for one object whose slots are these, in the order of `slots_of`.
fn judged(wanted: Wanted, slots: &[Slot], route: &Route, allowed: &Allowed, ledger: &Ledger) -> Step {
    let slots = slots_of(&wanted.source.object).into_iter().zip(slots.iter().cloned()).collect();
    let mut steps = plan(&[wanted], &slots, route, allowed, ledger);
    assert_eq!(steps.len(), 1);
    let step = steps.remove(0);
    assert_eq!(step.action == Action::Refused, step.refusal.is_some(), "{step:?}");
    assert_eq!(step.action == Action::Refused, !step.alternatives.is_empty(), "{step:?}");
    step
}

#[test]
fn a_free_name_is_restored_into() {
    let step = one(wanted("key/k"), Slot::Free, &home());
    assert_eq!((step.action, &step.from), (Action::Restore, &wanted("key/k").from));
    assert!(step.reason.contains("2 versions, newest v2") && step.cost.contains("for 90 days"), "{step:?}");
}

fn live(versions: Versions) -> Slot {
    Slot::Live { versions, managed: false }
}

#[test]
fn a_live_name_is_left_alone_and_what_differs_is_told_version_by_version() {
    let step = one(wanted("key/k"), live(versions()), &home());
    assert_eq!((step.action, step.reason.as_str()), (Action::Nothing, "it is live, with the same versions"));
    let mut unread = versions();
    unread.values_mut().for_each(|version| version.thumbprint = None);
    assert_eq!(one(wanted("key/k"), live(unread), &home()).action, Action::Nothing, "what is not known cannot differ");
    let mut other = versions();
    other.remove("v1");
    other.get_mut("v2").unwrap().thumbprint = Some("forged".into());
    other.insert("v3".into(), version(40, 40, None));
    let step = one(wanted("key/k"), live(other), &home());
    assert_eq!(step.refusal, Some(Refusal::LiveOther));
    assert_eq!(
        step.reason,
        "a different object is live under this name: version v1 is only in the archive; version v2 has another \
         public key; version v3 is only in the vault"
    );
}

#[test]
fn a_live_name_with_newer_versions_has_lost_nothing() {
    let mut more = versions();
    more.insert("v3".into(), version(40, 40, None));
    let step = one(wanted("key/k"), live(more.clone()), &home());
    assert_eq!(step.action, Action::Nothing);
    assert_eq!(step.reason, "it is live, with all captured versions and 1 version newer: v3");
    more.extend((0..500).map(|n| (format!("w{n:03}"), version(50, 50, None))));
    let reason = one(wanted("key/k"), live(more), &home()).reason;
    assert!(reason.contains("501 versions newer: v3, w000, ") && reason.ends_with("and 489 more"), "{reason}");
}

#[test]
fn a_key_that_is_live_and_was_only_disabled_is_told() {
    let enabled = |enabled| {
        let mut versions = versions();
        versions.values_mut().for_each(|version| version.attributes.enabled = Some(enabled));
        versions
    };
    let mut captured = wanted("key/k");
    captured.source.versions = enabled(true);
    let step = one(captured, live(enabled(false)), &home());
    assert_eq!(step.action, Action::Nothing);
    assert!(step.reason.ends_with("version v2 was disabled since, and can be enabled again"), "{}", step.reason);
}

#[test]
fn a_name_that_a_certificate_owns_is_refused_for_a_key_and_compared_for_a_certificate() {
    let owned = Slot::Live { versions: versions(), managed: true };
    assert_eq!(one(wanted("key/k"), owned.clone(), &home()).refusal, Some(Refusal::OwnedByCertificate));
    assert_eq!(one(wanted("certificate/k"), owned, &home()).action, Action::Nothing);
    let everything = Allowed { purge: true, recover_other: true, single_restore_override: Some("why not".into()) };
    let step = allowing(wanted("secret/k"), managed(deleted("v2", Some(30), "Purgeable")), &home(), &everything);
    assert_eq!(step.refusal, Some(Refusal::OwnedByCertificate), "Azure would refuse to recover or purge it: {step:?}");
    assert!(step.alternatives[0].contains("certificate/k"), "{step:?}");
}

/// The same, as a certificate's part.
fn managed(slot: Slot) -> Slot {
    match slot {
        Slot::Deleted(deleted) => Slot::Deleted(Deleted { managed: true, ..deleted }),
        Slot::Live { versions, .. } => Slot::Live { versions, managed: true },
        other => other,
    }
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
    assert_eq!(purgeable.refusal, Some(Refusal::HeldPurgeable));
    assert_eq!(
        purgeable.reason,
        "the name is held until 2027-01-16 08:00 UTC by an older state of it, soft-deleted: version v1, last changed \
         2027-01-15 08:00 UTC; recovering it would bring back version v1, last changed 2027-01-15 08:00 UTC; captured 1 \
         version would be missing: v2"
    );
    assert_eq!(
        purgeable.alternatives,
        [
            "recover what is there: plan with --recover-other",
            "purge what is there, if nobody needs it: plan with --allow-purge",
            "restore into a vault of the same subscription and geography (--to)",
            "wait until that date: then the name comes free, and plan again",
        ]
    );
    let kept = one(wanted("key/k"), deleted("v1", Some(29), "Recoverable+ProtectedSubscription"), &home());
    assert_eq!(kept.refusal, Some(Refusal::HeldProtected));
    assert!(kept.reason.contains("until 2027-01-16") && kept.reason.contains("purge protection"), "{}", kept.reason);
    assert!(!kept.alternatives.iter().any(|text| text.contains("purge")), "{kept:?}");
    let stranger = one(wanted("key/k"), deleted("other", None, ""), &home());
    assert_eq!(stranger.refusal, Some(Refusal::HeldProtected));
    assert!(stranger.reason.contains("whether any of the captured 2 versions is in it"), "{}", stranger.reason);
}

#[test]
fn what_a_vault_protects_is_not_purged_whatever_the_object_says() {
    let mut protected = facts("s1", "westeurope", "premium").unwrap();
    protected.soft_delete.purge_protection = true;
    let route = Route { target_facts: Some(protected), ..home() };
    let allowed = Allowed { purge: true, ..Allowed::default() };
    let step = allowing(wanted("key/k"), deleted("v1", Some(29), "Recoverable+Purgeable"), &route, &allowed);
    assert_eq!(step.refusal, Some(Refusal::HeldProtected));
}

#[test]
fn what_holds_the_name_is_purged_by_leave_only_and_its_loss_is_told() {
    let allowed = Allowed { purge: true, ..Allowed::default() };
    let step = allowing(wanted("key/k"), deleted("v9", Some(29), "Recoverable+Purgeable"), &home(), &allowed);
    assert_eq!(step.action, Action::PurgeAndRestore);
    assert!(step.reason.ends_with("purging it is allowed; then 2 versions, newest v2"), "{}", step.reason);
    assert_eq!(
        step.cost,
        "what is purged is lost for good (version v9, last changed 2027-01-15 08:00 UTC, and all versions before it); \
         freeing the name takes Azure up to some minutes; deleting it again would hold the name for 90 days"
    );
    let same = allowing(wanted("key/k"), deleted("v2", Some(30), "Purgeable"), &home(), &allowed);
    assert_eq!(same.action, Action::Recover, "what can be had back without loss is not purged");
}

#[test]
fn nothing_is_purged_for_a_backup_that_would_not_open() {
    let allowed = Allowed { purge: true, ..Allowed::default() };
    let held = || deleted("v1", Some(29), "Recoverable+Purgeable");
    let far = allowing(wanted("key/k"), held(), &away(facts("s1", "eastus", "premium")), &allowed);
    assert_eq!(far.refusal, Some(Refusal::OtherGeography));
    assert!(far.reason.starts_with("the name is held until") && far.reason.contains("geography"), "{}", far.reason);
    assert!(far.alternatives[0].contains("--recover-other"), "{far:?}");
    let moved = Route { target_facts: facts("s2", "westeurope", "premium"), ..home() };
    assert_eq!(allowing(wanted("key/k"), held(), &moved, &allowed).refusal, Some(Refusal::OtherSubscription));
    let free = one(wanted("key/k"), Slot::Free, &moved);
    assert_eq!(free.action, Action::Restore, "a vault that was moved is still the same vault");
    assert!(free.reason.contains("in subscription s1") && free.reason.contains("may refuse"), "{}", free.reason);
}

#[test]
fn another_object_is_recovered_by_leave_only_and_what_will_be_missing_is_told() {
    let allowed = Allowed { recover_other: true, purge: true, ..Allowed::default() };
    let step = allowing(wanted("key/k"), deleted("v1", Some(29), "Recoverable+Purgeable"), &home(), &allowed);
    assert_eq!(step.action, Action::Recover, "where both are allowed, nothing is purged");
    assert_eq!(step.cost, "captured 1 version would be missing: v2; the object that is recovered takes the name");
    let edited = allowing(wanted("key/k"), deleted("v2", Some(29), "Recoverable"), &home(), &allowed);
    assert!(edited.cost.starts_with("what was changed after that, such as tags, would be missing"), "{edited:?}");
    let stranger = allowing(wanted("key/k"), deleted("v9", Some(29), "Recoverable"), &home(), &allowed);
    assert!(stranger.cost.starts_with("whether any of the captured 2 versions"), "{stranger:?}");
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
    use Slot::{Free, InTransition};
    let allowed = Allowed { purge: true, ..Allowed::default() };
    let certificate =
        |slots: [Slot; 3]| judged(wanted("certificate/tls"), &slots, &home(), &allowed, &Ledger::default());
    let same = || managed(deleted("v2", Some(30), "Purgeable"));
    let older = || managed(deleted("v1", Some(29), "Purgeable"));
    let stranger = || deleted("v9", None, "Purgeable");
    assert_eq!(certificate([Free, Free, Free]).action, Action::Restore);
    for (part, slots) in [("key/tls", [Free, live(versions()), Free]), ("secret/tls", [Free, Free, stranger()])] {
        let step = certificate(slots);
        assert_eq!(step.refusal, Some(Refusal::PartTaken), "{part}");
        assert!(step.reason.contains(part) && step.alternatives.iter().any(|text| text.contains(part)), "{step:?}");
    }
    // Its own parts go where it goes.
    assert_eq!(certificate([same(), same(), same()]).action, Action::Recover);
    assert_eq!(certificate([older(), older(), older()]).action, Action::PurgeAndRestore);
    // A recovery that is not possible is refused by Azure; a purge is for good.
    assert_eq!(certificate([same(), stranger(), Free]).action, Action::Recover);
    assert_eq!(certificate([older(), stranger(), Free]).refusal, Some(Refusal::PartTaken));
    assert_eq!(certificate([older(), live(versions()), Free]).refusal, Some(Refusal::PartTaken));
    // Parts show before and after their certificate while it is deleted, recovered or purged.
    for slots in [
        [Free, InTransition, Free],
        [Free, same(), Free],
        [Free, Free, managed(live(versions()))],
        [same(), managed(live(versions())), same()],
    ] {
        assert_eq!(certificate(slots.clone()).action, Action::Wait, "{slots:?}");
    }
    let unseen = judged(wanted("certificate/tls"), &[Free], &home(), &allowed, &Ledger::default());
    assert_eq!(unseen.action, Action::Wait, "a name that nobody looked at is not free");
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
    assert_eq!(one(wanted("key/k"), Slot::Free, &china).refusal, Some(Refusal::OtherCloud));
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
fn one_object_is_restored_from_one_capture() {
    let slots = BTreeMap::from([(object("key/k"), Slot::Free)]);
    let both = [wanted("key/k"), wanted("key/K")];
    let steps = plan(&both, &slots, &home(), &Allowed::default(), &Ledger::default());
    let decided: Vec<Option<Refusal>> = steps.iter().map(|step| step.refusal).collect();
    assert_eq!(decided, [None, Some(Refusal::AskedTwice)]);
}

#[test]
fn a_refusal_of_place_names_the_vaults_that_would_do() {
    let known = |name: &str, subscription: &str, location: &str, sku: &str| Known {
        uri: uri(&format!("https://{name}.vault.azure.net")),
        facts: facts(subscription, location, sku).unwrap(),
    };
    let route = Route {
        known: vec![
            known("prod", "s1", "westeurope", "premium"),
            known("far", "s1", "eastus", "premium"),
            known("foreign", "s2", "westeurope", "premium"),
            known("plain", "s1", "northeurope", "standard"),
            known("spare", "s1", "eastus", "premium"),
        ],
        ..away(facts("s1", "eastus", "premium"))
    };
    let alternative = |route: &Route, hsm: bool| {
        let mut wanted = wanted("key/k");
        wanted.source.hsm = hsm;
        one(wanted, Slot::Free, route).alternatives.remove(0)
    };
    let would_do = "restore into another vault that would do (--to): https://prod.vault.azure.net";
    assert_eq!(alternative(&route, false), format!("{would_do}, https://plain.vault.azure.net"));
    assert_eq!(alternative(&route, true), would_do);
    let mut many = route.clone();
    many.known.extend((0..9).map(|n| known(&format!("v{n}"), "s1", "westeurope", "premium")));
    assert!(alternative(&many, true).ends_with("https://v1.vault.azure.net or 7 more"), "{}", alternative(&many, true));
    let none = Route { known: Vec::new(), ..route };
    assert_eq!(alternative(&none, true), "restore into a premium vault of the same subscription and geography (--to)");
}

/// An intent, number `first` in the log of the vault, and its result if there is one.
pub(super) fn entries(
    first: u64,
    target: &VaultUri,
    steps: &[(Object, bool, Change)],
    results: Option<&[Became]>,
) -> Vec<Entry> {
    let entry = |sequence, event| Entry {
        format: FORMAT.into(),
        archive_id: Uuid::from_u128(2),
        vault: "prod.vault.azure.net".into(),
        sequence,
        time: at(0).unwrap(),
        previous: None,
        frontier: Vec::new(),
        latest_snapshot: None,
        event,
    };
    let intent = RestoreIntent {
        plan: Uuid::from_u128(1),
        target: target.clone(),
        steps: steps
            .iter()
            .map(|(object, hsm, action)| IntentStep {
                object: object.clone(),
                action: *action,
                snapshot: Some(3),
                capture: None,
                hsm: *hsm,
            })
            .collect(),
        operator: "ann".into(),
        single_restore_override: None,
    };
    let mut entries = vec![entry(first, Event::RestoreIntent(intent))];
    entries.extend(results.map(|results| {
        let outcome = |(step, result): (&(Object, bool, Change), &Became)| Outcome {
            object: step.0.clone(),
            result: *result,
            detail: String::new(),
        };
        let outcomes = steps.iter().zip(results).map(outcome).collect();
        entry(first + 1, Event::RestoreResult(RestoreResult { intent: first, outcomes }))
    }));
    entries
}

fn log(target: &VaultUri, steps: &[(Object, bool, Change)], results: Option<&[Became]>) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.add(&entries(7, target, steps, results));
    ledger
}

#[test]
fn an_hsm_key_goes_into_a_vault_once_and_again_only_for_a_reason_that_the_plan_keeps() {
    let mut hsm = wanted("key/k");
    hsm.source.hsm = true;
    let route = home();
    let spent = log(&route.target, &[(object("key/k"), true, Change::Restore)], Some(&[Became::Done]));
    let judge =
        |wanted: &Wanted, slot: Slot, allowed: &Allowed| judged(wanted.clone(), &[slot], &route, allowed, &spent);
    let step = judge(&hsm, Slot::Free, &Allowed::default());
    assert_eq!(step.refusal, Some(Refusal::RestoredBefore));
    assert_eq!(
        step.reason,
        "an HSM key was restored into this name before, by ann on 2027-01-15 08:00 UTC (entry 7 of the log of \
         prod.vault.azure.net)"
    );
    let why = Allowed { single_restore_override: Some("drill".into()), ..Allowed::default() };
    let step = judge(&hsm, Slot::Free, &why);
    assert_eq!(step.action, Action::Restore);
    assert!(step.reason.contains("by ann") && step.reason.ends_with("allowed again: drill"), "{}", step.reason);
    assert!(step.cost.contains("second time"), "{}", step.cost);
    assert_eq!(judge(&wanted("key/k"), Slot::Free, &Allowed::default()).action, Action::Restore, "no HSM, no limit");
    let recovered = judge(&hsm, deleted("v2", Some(30), "Recoverable"), &Allowed::default());
    assert_eq!(recovered.action, Action::Recover, "a recovery restores nothing");
    let purge = Allowed { purge: true, ..Allowed::default() };
    let held = judge(&hsm, deleted("v1", Some(29), "Purgeable"), &purge);
    assert_eq!(held.refusal, Some(Refusal::RestoredBefore), "nothing is purged for it");
    let failed = log(&route.target, &[(object("key/k"), true, Change::Restore)], Some(&[Became::Failed]));
    assert_eq!(judged(hsm, &[Slot::Free], &route, &Allowed::default(), &failed).action, Action::Restore);
}

#[test]
fn an_open_intent_keeps_its_name_and_tells_who_and_when() {
    let route = home();
    let open = log(&route.target, &[(object("key/k"), false, Change::Restore)], None);
    let judge = |slot: Slot| judged(wanted("key/k"), &[slot], &route, &Allowed::default(), &open);
    for slot in [Slot::Free, deleted("v2", Some(30), "Recoverable")] {
        let step = judge(slot);
        assert_eq!(step.refusal, Some(Refusal::IntentOpen));
        assert_eq!(
            step.reason,
            "its restore was begun by ann on 2027-01-15 08:00 UTC (entry 7 of the log of prod.vault.azure.net), and how \
             that ended is not in the log"
        );
        assert!(step.alternatives.iter().any(|text| text.contains("restore resume")), "{step:?}");
    }
    assert!(judge(Slot::InTransition).reason.contains("begun by ann"), "who waits wants to know for whom");
    assert_eq!(judge(live(versions())).action, Action::Nothing);
    let elsewhere = Route { target: uri("https://spare.vault.azure.net"), ..home() };
    let step = judged(wanted("key/k"), &[Slot::Free], &elsewhere, &Allowed::default(), &open);
    assert_eq!(step.action, Action::Restore, "another vault's name");
}
