//! What holds for every plan, over generated captures, slots, logs, allowances and vaults. Knows the promises, and not how
//! they are kept.

use super::tests::earlier::entries;
use super::tests::{at, away, deleted, facts, object, version, versions, wanted};
use super::*;
use crate::format::entry::{Became, Change};
use crate::model::VaultFacts;
use crate::restore::slot::slots_of;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::RefCell;

/// A whole case.
#[derive(Clone, Debug)]
struct Case {
    wanted: Vec<(String, bool)>,
    slots: BTreeMap<String, Slot>,
    route: Route,
    allowed: Allowed,
    /// What the log says of the target: object, whether in an HSM, what was done, and what became of it.
    history: Vec<(String, bool, Change, Option<Became>)>,
}

const KINDS: [&str; 3] = ["certificate", "key", "secret"];

fn names() -> impl Strategy<Value = String> {
    (prop::sample::select(KINDS.to_vec()), prop::sample::select(vec!["a", "b", "c"]))
        .prop_map(|(kind, name)| format!("{kind}/{name}"))
}

fn slots() -> impl Strategy<Value = Slot> {
    let levels = vec!["Purgeable", "Recoverable+Purgeable", "Recoverable", "Recoverable+ProtectedSubscription"];
    let dead = ("v[1-4]", prop::option::of(0i64..60), prop::sample::select(levels), any::<bool>(), any::<bool>());
    prop_oneof![
        3 => Just(Slot::Free),
        1 => Just(Slot::InTransition),
        1 => any::<bool>().prop_map(|managed| Slot::Live { versions: versions(), managed }),
        1 => any::<bool>().prop_map(|managed| {
            let versions = Versions::from([("v9".into(), version(1, 1, None))]);
            Slot::Live { versions, managed }
        }),
        3 => dead.prop_map(|(id, updated, level, managed, named)| {
            let Slot::Deleted(mut dead) = deleted(&id, updated, level) else { panic!() };
            dead.managed = managed;
            dead.version = dead.version.filter(|_| named);
            Slot::Deleted(dead)
        }),
    ]
}

fn places() -> impl Strategy<Value = Option<VaultFacts>> {
    let location = prop::sample::select(vec!["westeurope", "westeurope", "northeurope", "eastus", "atlantis"]);
    let sku = prop::sample::select(vec!["standard", "premium", "premium"]);
    let subscription = prop::sample::select(vec!["s1", "s1", "s1", "s2"]);
    prop::option::weighted(0.9, (subscription, location, sku, prop::bool::weighted(0.2))).prop_map(|facts| {
        let (subscription, location, sku, protected) = facts?;
        let mut facts = self::facts(subscription, location, sku)?;
        facts.soft_delete.purge_protection = protected;
        Some(facts)
    })
}

fn routes() -> impl Strategy<Value = Route> {
    let target = prop::sample::select(vec!["prod.vault.azure.net", "spare.vault.azure.net", "spare.vault.azure.cn"]);
    (target, places(), places(), prop::option::of(places())).prop_map(|(target, source_facts, target_facts, known)| {
        let known = known.flatten().map(|facts| Known { uri: super::tests::uri("https://web.vault.azure.net"), facts });
        let target = super::tests::uri(&format!("https://{target}"));
        Route { target, source_facts, known: known.into_iter().collect(), ..away(target_facts) }
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let allowed = (any::<bool>(), prop::bool::weighted(0.3), prop::option::weighted(0.3, Just("drill".to_owned())));
    let change = prop::sample::select(vec![Change::Restore, Change::Recover, Change::PurgeAndRestore]);
    let results = vec![Became::Done, Became::Different, Became::Failed, Became::Unclear, Became::Skipped];
    let past = (names(), any::<bool>(), change, prop::option::of(prop::sample::select(results)));
    // Every name has a slot, but now and then nobody looked at it.
    let slots = prop::collection::vec(prop::option::weighted(0.95, slots()), 9);
    (prop::collection::vec((names(), any::<bool>()), 1..9), slots, routes(), allowed, prop::collection::vec(past, 0..3))
        .prop_map(|(wanted, slots, route, (purge, recover_other, single_restore_override), history)| Case {
            wanted,
            slots: KINDS
                .iter()
                .flat_map(|kind| ["a", "b", "c"].map(|name| format!("{kind}/{name}")))
                .zip(slots)
                .filter_map(|(name, slot)| Some((name, slot?)))
                .collect(),
            route,
            allowed: Allowed { purge, recover_other, single_restore_override },
            history,
        })
}

/// Plans a case and holds the plan to every promise.
fn judge(case: &Case) -> Result<Vec<Step>, TestCaseError> {
    let Case { route, allowed, .. } = case;
    let slots: BTreeMap<Object, Slot> = case.slots.iter().map(|(name, slot)| (object(name), slot.clone())).collect();
    let wanted: Vec<Wanted> = case
        .wanted
        .iter()
        .map(|(name, hsm)| {
            let mut wanted = wanted(name);
            wanted.source.hsm = *hsm && wanted.source.object.kind != Kind::Secret;
            wanted
        })
        .collect();
    let mut ledger = Ledger::default();
    for (first, (name, hsm, change, result)) in (1..).step_by(2).zip(&case.history) {
        let result = result.as_ref().map(std::slice::from_ref);
        ledger.add(&entries(first, &route.target, &[(object(name), *hsm, *change)], result));
    }
    let steps = plan(&wanted, &slots, route, allowed, &ledger);
    prop_assert_eq!(steps.len(), wanted.len());
    prop_assert!(steps.windows(2).all(|pair| pair[0].object <= pair[1].object));
    let mut taken = BTreeSet::new();
    for step in &steps {
        let slot = slots.get(&step.object);
        prop_assert_eq!(step.action == Action::Refused, step.refusal.is_some());
        prop_assert_eq!(step.action == Action::Refused, !step.alternatives.is_empty());
        prop_assert!(!step.reason.is_empty());
        match step.action {
            Action::Restore => prop_assert_eq!(slot, Some(&Slot::Free)),
            Action::Recover | Action::PurgeAndRestore => prop_assert!(matches!(slot, Some(Slot::Deleted(_)))),
            Action::Nothing => prop_assert!(matches!(slot, Some(Slot::Live { .. })), "{slot:?}"),
            Action::Wait | Action::Refused => {}
        }
        if step.action.changes() {
            let slots_of = slots_of(&step.object);
            for part in &slots_of {
                prop_assert!(taken.insert(part.clone()), "{part} is taken twice");
                let stands = slots.get(part);
                prop_assert!(
                    !matches!(stands, None | Some(Slot::Live { .. } | Slot::InTransition)),
                    "{part}: {stands:?}"
                );
                prop_assert!(step.action != Action::Restore || stands == Some(&Slot::Free), "{part}: {stands:?}");
            }
            let open =
                |past: &&(String, bool, Change, Option<Became>)| past.3.is_none() && object(&past.0) == step.object;
            prop_assert!(case.history.iter().find(open).is_none(), "an intent on it is open");
        }
        if step.action == Action::PurgeAndRestore {
            prop_assert!(allowed.purge);
            prop_assert!(!route.target_facts.as_ref().is_some_and(|facts| facts.soft_delete.purge_protection));
            for part in slots_of(&step.object) {
                let Some(Slot::Deleted(dead)) = slots.get(&part) else { continue };
                prop_assert!(dead.managed || part == step.object, "{part} is nobody's to purge");
            }
            let Some(Slot::Deleted(dead)) = slot else { return Err(TestCaseError::fail("nothing to purge")) };
            prop_assert!(dead.attributes.recovery_level.as_deref().unwrap_or_default().contains("Purgeable"));
            let ours = dead.version.as_ref().is_some_and(|id| versions().contains_key(id));
            let newer = dead.attributes.updated >= at(30) && (ours || route.home());
            prop_assert!(!newer, "what was captured, or what became of it, is not purged");
            prop_assert!(step.cost.contains("lost for good"));
        }
        if step.action.creates() {
            opens(step, route)?;
            let spent = |past: &&(String, bool, Change, Option<Became>)| {
                let used = matches!(past.3, Some(Became::Done | Became::Different | Became::Unclear));
                object(&past.0) == step.object && past.1 && past.2 != Change::Recover && used
            };
            let before = step.hsm && case.history.iter().any(|past| spent(&past));
            prop_assert!(!before || allowed.single_restore_override.is_some(), "spent twice");
        }
    }
    Ok(steps)
}

/// The backup opens there: same cloud, subscription and geography, and an HSM for an HSM key.
fn opens(step: &Step, route: &Route) -> Result<(), TestCaseError> {
    if let (true, Some(to)) = (step.hsm, &route.target_facts) {
        prop_assert_eq!(to.sku.as_str(), "premium");
    }
    prop_assert_eq!(route.source.suffix(), route.target.suffix());
    if let (Some(from), Some(to)) = (&route.source_facts, &route.target_facts) {
        let (from, to) = (&from.place, &to.place);
        prop_assert!(from.location == to.location || (from.geography.is_some() && from.geography == to.geography));
        // A vault that was moved is restored into, and nothing is purged for it.
        let moved = route.source == route.target && step.action == Action::Restore;
        prop_assert!(from.subscription == to.subscription || moved);
    } else {
        prop_assert_eq!(&route.source, &route.target);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_plan_breaks_a_promise(case in cases()) {
        judge(&case)?;
    }
}

#[test]
fn the_generator_reaches_every_action_and_every_refusal() {
    let config = Config { cases: 4_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let reached = RefCell::new((BTreeSet::new(), BTreeSet::new()));
    runner
        .run(&cases(), |case| {
            for step in judge(&case)? {
                let (actions, refusals) = &mut *reached.borrow_mut();
                actions.insert(step.action);
                refusals.extend(step.refusal);
            }
            Ok(())
        })
        .unwrap();
    let (actions, refusals) = reached.into_inner();
    assert_eq!(actions, BTreeSet::from(Action::ALL));
    assert_eq!(refusals, BTreeSet::from_iter(Refusal::ALL.iter().copied()));
}
