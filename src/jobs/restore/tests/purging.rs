//! Purging what holds a name, no further than the plan saw, and waiting for the name.

use super::*;

#[tokio::test]
async fn what_holds_the_name_is_purged_and_the_limbo_waited_out_however_an_answer_is_lost() {
    for purge_fails in [None, Some(Moment::Before), Some(Moment::After)] {
        for restore_fails in [None, Some(Moment::Before), Some(Moment::After)] {
            let (house, plan) = held().await;
            house.vault.set_limbo(Duration::from_secs(60));
            let failed = Mutex::new(BTreeMap::new());
            house.vault.interfere(move |_, at, call| {
                let (what, fail) = match call {
                    Call::Purge(_) => ("purge", purge_fails),
                    Call::Restore(_) => ("restore", restore_fails),
                    _ => return Ok(()),
                };
                match Some(at) == fail && failed.lock().unwrap().insert(what, ()).is_none() {
                    true => Err(fails(Condition::Unavailable)),
                    false => Ok(()),
                }
            });
            let before = house.clock.now();
            let applied = house.apply(&plan).await.unwrap();
            let case = format!("{purge_fails:?} {restore_fails:?}: {applied:?}");
            assert_eq!((applied.status.as_str(), applied.steps[0].result), ("done", Became::Done), "{case}");
            assert_eq!(applied.steps[0].detail, "purged, and restored with 1 version", "{case}");
            assert!((60..80).contains(&(house.clock.now() - before).num_seconds()), "{case}");
        }
    }
}

#[tokio::test]
async fn only_what_the_plan_saw_is_purged() {
    let (house, plan) = held().await;
    let swapped = AtomicBool::new(false);
    house.vault.interfere(move |vault, moment, call| {
        // After the slots were looked at, and before the purge.
        if moment == Moment::Before && matches!(call, Call::Purge(_)) {
            panic!("something was purged");
        }
        let looks = matches!(call, Call::Get(vault::Item::Deleted(_))) && moment == Moment::After;
        if looks && !swapped.swap(true, Ordering::SeqCst) {
            Memory::purge(vault, &object("key/k"));
            vault.put(&object("key/k"));
            vault.delete(&object("key/k"));
        }
        Ok(())
    });
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!(applied.steps[0].result, Became::Failed);
    assert!(applied.steps[0].detail.contains("not what it was when the plan was made"), "{applied:?}");
}

#[tokio::test]
async fn nothing_is_purged_for_a_capture_that_does_not_open() {
    let (house, plan) = held().await;
    let Origin::Archive { capture, .. } = &plan.steps[0].from else { panic!() };
    assert!(house.store.corrupt(capture.path.as_str(), "junk"));
    house.vault.interfere(|_, _, call| match call {
        Call::Purge(_) | Call::Restore(_) => panic!("nothing may be sent"),
        _ => Ok(()),
    });
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!(applied.steps[0].result, Became::Failed, "{applied:?}");
    assert!(applied.steps[0].detail.contains("SHA-256"), "{applied:?}");
}

#[tokio::test]
async fn a_purged_name_that_never_comes_free_did_not_spend_the_restore() {
    let house = House::new(&["key/k"]).await;
    house.vault.change(&object("key/k"), |version| version.key_type = "RSA-HSM".to_owned());
    house.snapshot().await.unwrap();
    house.wipe(&["key/k"]);
    house.vault.put(&object("key/k"));
    house.vault.delete(&object("key/k"));
    let plan = purging(house.plan(&["key/k"]).await.unwrap());
    house.vault.set_limbo(Duration::from_secs(3600));
    let applied = house.apply(&plan).await.unwrap();
    let detail = &applied.steps[0].detail;
    assert!(detail.starts_with("purged, and couldn't restore key/k") && detail.contains("10 minutes"), "{detail}");
    assert!(!spent(&house, "key/k").await);
    house.clock.advance(Duration::from_secs(3600));
    let again = house.plan(&["key/k"]).await.unwrap();
    assert_eq!(house.apply(&again).await.unwrap().status, "done");
    assert!(spent(&house, "key/k").await);
}
