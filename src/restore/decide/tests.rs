//! The decision table, row by row.

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
    assert_eq!(one(wanted("key/k"), live(unread), &home()).action, Action::Nothing, "what is not known cannot differ");
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
    assert!(kept.reason.contains("until 2027-01-16") && kept.reason.contains("purge protection"), "{}", kept.reason);
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
        for slot in [Slot::InTransition, deleted("v9", None, ""), Slot::Live { versions: versions(), managed: false }] {
            let slots = BTreeMap::from([
                (object("certificate/tls"), Slot::Free),
                (object("key/tls"), Slot::Free),
                (object("secret/tls"), Slot::Free),
                (object(taken), slot),
            ]);
            let step =
                plan(&[wanted("certificate/tls")], &slots, &home(), &Allowed::default(), &Ledger::default()).remove(0);
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
