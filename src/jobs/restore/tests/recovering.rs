//! Recovering what is soft-deleted, through transition, lost answers and whoever is faster.

use super::*;

#[tokio::test]
async fn a_recovery_is_waited_for_through_transition_and_a_stumbling_service() {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    house.vault.delete(&object("key/k"));
    house.vault.set_limbo(Duration::from_secs(200));
    let plan = house.plan(&["key/k"]).await.unwrap();
    assert_eq!(plan.steps[0].action, Action::Recover);
    let looks = Arc::new(AtomicU32::new(0));
    let counted = looks.clone();
    house.vault.interfere(move |_, moment, call| match (moment, call) {
        (Moment::Before, Call::List(_)) if counted.fetch_add(1, Ordering::SeqCst) == 3 => {
            Err(fails(Condition::Unavailable))
        }
        _ => Ok(()),
    });
    let before = house.clock.now();
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!(applied.steps[0].detail, "recovered with 1 version", "{applied:?}");
    let waited = house.clock.now() - before;
    assert!((200..240).contains(&waited.num_seconds()), "{waited}");
    assert!(looks.load(Ordering::SeqCst) < 40, "looks grow rarer");
}

#[tokio::test]
async fn a_recovery_that_is_refused_lost_or_overtaken_is_seen_through() {
    for (at, condition) in [
        (Moment::Before, Condition::Unavailable),
        (Moment::After, Condition::Unavailable),
        // A delete that is still on its way, and one that somebody recovered already.
        (Moment::Before, Condition::InTransition),
        (Moment::After, Condition::InTransition),
        (Moment::After, Condition::Live),
        (Moment::After, Condition::Conflict),
    ] {
        let house = House::new(&["key/k"]).await;
        house.snapshot().await.unwrap();
        house.vault.delete(&object("key/k"));
        house.vault.set_limbo(Duration::from_secs(20));
        let plan = house.plan(&["key/k"]).await.unwrap();
        let failed = AtomicBool::new(false);
        house.vault.interfere(move |_, moment, call| match call {
            Call::Recover(_) if moment == at && !failed.swap(true, Ordering::SeqCst) => Err(fails(condition)),
            _ => Ok(()),
        });
        let applied = house.apply(&plan).await.unwrap();
        assert_eq!(applied.steps[0].result, Became::Done, "{at:?} {condition:?}: {applied:?}");
    }
}

#[tokio::test]
async fn what_is_gone_for_good_cannot_be_recovered_and_that_is_told_within_minutes() {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    house.vault.delete(&object("key/k"));
    let plan = house.plan(&["key/k"]).await.unwrap();
    house.vault.interfere(|vault, moment, call| {
        if moment == Moment::Before && matches!(call, Call::Recover(_)) {
            Memory::purge(vault, &object("key/k"));
        }
        Ok(())
    });
    let before = house.clock.now();
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!(applied.steps[0].result, Became::Failed, "{applied:?}");
    assert!((120..180).contains(&(house.clock.now() - before).num_seconds()));
}

#[tokio::test]
async fn what_never_comes_live_is_given_up_on_after_ten_minutes_and_is_unclear() {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    house.vault.delete(&object("key/k"));
    house.vault.set_limbo(Duration::from_secs(3600));
    let plan = house.plan(&["key/k"]).await.unwrap();
    let before = house.clock.now();
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!((applied.status.as_str(), applied.steps[0].result.name()), ("partial", "unclear"));
    assert!(applied.steps[0].detail.contains("not live 10 minutes after"), "{}", applied.steps[0].detail);
    assert!((house.clock.now() - before).num_seconds() < 660);
}

#[tokio::test]
async fn a_recovered_object_that_is_another_one_is_told_from_the_one_that_was_captured() {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    house.wipe(&["key/k"]);
    house.clock.advance(Duration::from_secs(60));
    house.vault.put(&object("key/k"));
    house.vault.delete(&object("key/k"));
    let mut plan = house.plan(&["key/k"]).await.unwrap();
    plan.steps[0].action = Action::Recover;
    plan.steps[0].refusal = None;
    let applied = house.apply(&plan).await.unwrap();
    let differences = &applied.steps[0].differences;
    assert!(differences.len() == 1 && differences[0].detail.ends_with("did not come back"), "{applied:?}");
    assert_eq!((applied.status.as_str(), applied.steps[0].result.name()), ("partial", "different"));
}
