//! Rows for what the logs tell of earlier restores.

use super::*;

/// An intent, number `first` in the log of the vault, and its result if there is one.
pub(in crate::restore::decide) fn entries(
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
