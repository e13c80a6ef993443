//! The decision table, row by row.

pub(super) mod earlier;
mod held;
mod places;

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
fn one_object_is_restored_from_one_capture() {
    let slots = BTreeMap::from([(object("key/k"), Slot::Free)]);
    let both = [wanted("key/k"), wanted("key/K")];
    let steps = plan(&both, &slots, &home(), &Allowed::default(), &Ledger::default());
    let decided: Vec<Option<Refusal>> = steps.iter().map(|step| step.refusal).collect();
    assert_eq!(decided, [None, Some(Refusal::AskedTwice)]);
}
