//! A restore whose answers are lost, late, or mean one of several things.

use super::*;

#[tokio::test]
async fn a_write_that_fails_once_lost_or_landed_is_found_out() {
    for (which, name) in [(ObjectKind::Key, "key/k"), (ObjectKind::Certificate, "certificate/tls")] {
        for moment in [Moment::Before, Moment::After] {
            for condition in [Condition::Unavailable, Condition::Malformed, Condition::Throttled] {
                let (house, plan) = wiped().await;
                let failed = AtomicBool::new(false);
                house.vault.interfere(move |_, at, call| match call {
                    Call::Restore(kind) if *kind == which && at == moment && !failed.swap(true, Ordering::SeqCst) => {
                        Err(fails(condition))
                    }
                    _ => Ok(()),
                });
                let applied = house.apply(&plan).await.unwrap();
                assert_eq!(step(&applied, name).result, Became::Done, "{name} {moment:?} {condition:?}: {applied:?}");
                assert_eq!(applied.status, "done");
            }
        }
    }
}

#[tokio::test]
async fn a_restore_that_never_lands_failed_and_one_of_which_nobody_can_tell_is_unclear_and_spends() {
    let lost = |house: &House| {
        house.vault.interfere(|_, at, call| match (at, call) {
            (Moment::Before, Call::Restore(_)) => Err(fails(Condition::Unavailable)),
            _ => Ok(()),
        });
    };
    let (house, plan) = hsm().await;
    lost(&house);
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!((applied.status.as_str(), applied.steps[0].result), ("partial", Became::Failed), "{applied:?}");
    assert!(!spent(&house, "key/k").await);

    // The answers are lost, and then nobody can look.
    for moment in [Moment::Before, Moment::After] {
        let (house, plan) = hsm().await;
        let sent = AtomicBool::new(false);
        house.vault.interfere(move |_, at, call| {
            if at == moment && matches!(call, Call::Restore(_)) {
                sent.store(true, Ordering::SeqCst);
            }
            match sent.load(Ordering::SeqCst) {
                true => Err(fails(Condition::Unavailable)),
                false => Ok(()),
            }
        });
        let applied = house.apply(&plan).await.unwrap();
        assert_eq!(applied.steps[0].result, Became::Unclear, "{applied:?}");
        assert_eq!(log(&house).await[1..], ["intent 1", "result of 2: unclear"]);
        assert!(spent(&house, "key/k").await, "it may have been");
    }
}

#[tokio::test]
async fn a_definite_refusal_is_not_asked_again() {
    for condition in [Condition::Rejected, Condition::Denied, Condition::Forbidden] {
        let (house, plan) = hsm().await;
        let sent = Arc::new(AtomicU32::new(0));
        let counted = sent.clone();
        house.vault.interfere(move |_, at, call| match (at, call) {
            (Moment::Before, Call::Restore(_)) => {
                counted.fetch_add(1, Ordering::SeqCst);
                Err(fails(condition))
            }
            _ => Ok(()),
        });
        assert_eq!(house.apply(&plan).await.unwrap().steps[0].result, Became::Failed);
        assert_eq!(sent.load(Ordering::SeqCst), 1, "{condition:?}");
        assert!(!spent(&house, "key/k").await);
    }
}

#[tokio::test]
async fn a_conflict_is_explained_by_what_holds_the_name() {
    type Meanwhile = fn(&Memory);
    let live: Meanwhile = |vault| drop(vault.put(&object("key/k")));
    let deleted: Meanwhile = |vault| {
        vault.put(&object("key/k"));
        vault.delete(&object("key/k"));
    };
    let part: Meanwhile = |vault| drop(vault.put(&object("secret/tls")));
    for (meanwhile, kind, name, why) in [
        (live, ObjectKind::Key, "key/k", "a live object, key/k"),
        (deleted, ObjectKind::Key, "key/k", "a soft-deleted object, key/k"),
        (part, ObjectKind::Certificate, "certificate/tls", "a live object, secret/tls"),
    ] {
        let (house, plan) = wiped().await;
        let done = AtomicBool::new(false);
        house.vault.interfere(move |vault, moment, call| {
            if moment == Moment::Before && matches!(call, Call::Restore(of) if *of == kind) {
                let first = !done.swap(true, Ordering::SeqCst);
                first.then(|| meanwhile(vault));
            }
            Ok(())
        });
        let applied = house.apply(&plan).await.unwrap();
        let failed = step(&applied, name);
        assert_eq!(failed.result, Became::Failed, "{failed:?}");
        assert!(failed.detail.contains(why) && failed.detail.contains("make a new plan"), "{}", failed.detail);
    }
}

#[tokio::test]
async fn a_name_in_limbo_is_waited_for_as_long_as_was_said() {
    for (limbo, result, least, most) in [(200, Became::Done, 200, 215), (3600, Became::Failed, 600, 601)] {
        let (house, plan) = wiped().await;
        let done = AtomicBool::new(false);
        house.vault.interfere(move |vault, moment, call| {
            if let (Moment::Before, Call::Restore(ObjectKind::Key)) = (moment, call)
                && !done.swap(true, Ordering::SeqCst)
            {
                vault.set_limbo(Duration::from_secs(limbo));
                vault.purge(&object("key/k"));
            }
            Ok(())
        });
        let before = house.clock.now();
        let applied = house.apply(&plan).await.unwrap();
        let found = step(&applied, "key/k");
        assert_eq!(found.result, result, "{found:?}");
        assert_eq!(result == Became::Failed, found.detail.contains("did not come free in 10 minutes"), "{found:?}");
        let waited = (house.clock.now() - before).num_seconds();
        assert!((least..=most).contains(&waited), "{waited}");
    }
}

#[tokio::test]
async fn opening_a_capture_holds_up_nobody_who_waits_for_the_network() {
    let house = House::new(&[]).await;
    let (answer, answered) = std::sync::mpsc::channel();
    // What blocks until the other has gone on would block both on one thread.
    let opening = crate::jobs::restore::aside(&house.identities, move |_| Ok(answered.recv().is_ok()));
    let (opened, sent) = tokio::join!(opening, async move { answer.send(()) });
    assert!(opened.unwrap() && sent.is_ok());
}
