//! Resuming what somebody began, and the history that the log tells.

use super::*;

#[tokio::test]
async fn resume_closes_what_was_not_begun_or_gives_it_up() {
    for (mode, results) in [(Mode::Finish, "done done"), (Mode::Abandon, "skipped skipped")] {
        let (house, plan) = wiped().await;
        // All that the first run did was to commit the intent.
        house.vault.interfere(|_, _, call| match call {
            Call::Restore(_) => Err(fails(Condition::Denied)),
            _ => Ok(()),
        });
        house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
        house.vault.leave_alone();
        let looked = resume_all(&house, Mode::DryRun).await.unwrap();
        assert!(looked[0].steps.iter().all(|step| step.result.is_none() && step.detail == "would be restored"));
        assert!(resume_all(&house, mode).await.unwrap()[0].closed);
        assert_eq!(log(&house).await[1..], ["intent 2".to_owned(), format!("result of 2: {results}")]);
    }
}

#[tokio::test]
async fn resume_judges_what_others_did_to_the_name_since() {
    type Since = fn(&House);
    let other_live: Since = |house| drop(house.vault.put(&object("key/k")));
    let other_deleted: Since = |house| {
        house.vault.put(&object("key/k"));
        house.vault.delete(&object("key/k"));
    };
    for (since, landed, became) in
        [(other_live, false, "unclear"), (other_deleted, false, "unclear"), (|_| (), true, "done")]
            as [(Since, bool, &str); 3]
    {
        let (house, plan) = hsm().await;
        house.vault.interfere(move |_, at, call| match call {
            Call::Restore(_) if !landed && at == Moment::Before => Err(fails(Condition::Denied)),
            _ => Ok(()),
        });
        house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
        house.vault.leave_alone();
        since(&house);
        resume_all(&house, Mode::Finish).await.unwrap();
        assert_eq!(log(&house).await[2], format!("result of 2: {became}"));
        assert!(spent(&house, "key/k").await, "what cannot be ruled out counts");
    }
    // What was restored and deleted again can be recovered; it is not restored a second time.
    let (house, plan) = hsm().await;
    house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
    house.vault.delete(&object("key/k"));
    resume_all(&house, Mode::Finish).await.unwrap();
    assert_eq!(log(&house).await[2], "result of 2: different");
}

#[tokio::test]
async fn resume_purges_only_what_was_deleted_before_the_intent() {
    let (house, plan) = held().await;
    house.vault.interfere(|_, _, call| match call {
        Call::Purge(_) => Err(fails(Condition::Denied)),
        _ => Ok(()),
    });
    house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
    house.vault.leave_alone();
    house.clock.advance(Duration::from_secs(5));
    Memory::purge(&house.vault, &object("key/k"));
    house.vault.put(&object("key/k"));
    house.vault.delete(&object("key/k"));
    let resumed = resume_all(&house, Mode::Finish).await.unwrap();
    assert_eq!(resumed[0].steps[0].result, Some(Became::Failed), "{resumed:?}");
    assert!(resumed[0].steps[0].detail.contains("was deleted after the restore had begun"), "{resumed:?}");
}

#[tokio::test]
async fn resume_purges_nothing_on_the_word_of_a_clock_that_may_be_half_an_hour_wrong() {
    // Deleted so long before the intent is written; by a clock that is half an hour ahead.
    for (before, result) in [(Duration::from_secs(2 * 3600), Became::Done), (Duration::ZERO, Became::Failed)] {
        let (house, _) = held().await;
        house.clock.advance(before);
        let plan = purging(house.plan(&["key/k"]).await.unwrap());
        house.vault.interfere(|_, _, call| match call {
            Call::Purge(_) => Err(fails(Condition::Denied)),
            _ => Ok(()),
        });
        house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
        house.vault.leave_alone();
        if result == Became::Failed {
            house.clock.advance(Duration::from_secs(20 * 60));
            Memory::purge(&house.vault, &object("key/k"));
            house.vault.put(&object("key/k"));
            house.vault.delete(&object("key/k"));
        }
        let reader = house.reader().await;
        let vault = house.vault.uri().clone();
        let mut open = open_intents(&reader, std::slice::from_ref(&vault), None).await.unwrap();
        let (_, record) = &mut open[0];
        record.time += chrono::TimeDelta::minutes(30);
        let resumed = resume(&house.hands(&house.store, &reader), &vault, record, Mode::Finish).await.unwrap();
        assert_eq!(resumed.steps[0].result, Some(result), "{resumed:?}");
        let told = resumed.steps[0].detail.contains("make a new plan");
        assert_eq!(told, result == Became::Failed, "{resumed:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_told_yet_leaves_the_intent_open() {
    let (house, plan) = wiped().await;
    house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
    house.vault.interfere(|_, at, call| match (at, call) {
        (Moment::Before, Call::List(vault::Listing::Versions(of))) if of.name.as_str() == "k" => {
            Err(fails(Condition::Denied))
        }
        _ => Ok(()),
    });
    let resumed = resume_all(&house, Mode::Finish).await.unwrap();
    assert!(!resumed[0].closed, "{resumed:?}");
    assert_eq!(log(&house).await.len(), 2);
    house.vault.leave_alone();
    assert!(resume_all(&house, Mode::Finish).await.unwrap()[0].closed);
}

#[tokio::test]
async fn an_intent_whose_captures_came_from_files_is_judged_by_the_slots_alone() {
    for (there, became) in [(true, "unclear"), (false, "failed")] {
        let (house, plan) = wiped().await;
        house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
        let reader = house.reader().await;
        let vault = house.vault.uri().clone();
        let (_, mut record) = open_intents(&reader, std::slice::from_ref(&vault), None).await.unwrap().remove(0);
        record.intent.steps.iter_mut().for_each(|step| (step.snapshot, step.capture) = (None, None));
        if !there {
            house.wipe(&["key/k", "certificate/tls"]);
        }
        let resumed = resume(&house.hands(&house.store, &reader), &vault, &record, Mode::Finish).await.unwrap();
        assert!(resumed.closed, "{resumed:?}");
        assert_eq!(log(&house).await[2], format!("result of 2: {became} {became}"));
    }
}

#[tokio::test]
async fn the_history_shows_who_did_what_and_what_is_open() {
    let (house, plan) = wiped().await;
    house.apply(&plan).await.unwrap();
    house.wipe(&["key/k"]);
    let again = house.plan(&["key/k"]).await.unwrap();
    house.apply_through(&Meddled::failing(&house, 2), &again).await.unwrap_err();
    let (reader, vault) = (house.reader().await, house.vault.uri().clone());
    let all = restores(&reader, std::slice::from_ref(&vault), None).await.unwrap();
    let told: Vec<(u64, bool, usize)> =
        all.restores.iter().map(|restore| (restore.intent, restore.closed.is_some(), restore.steps.len())).collect();
    assert_eq!(told, [(2, true, 2), (4, false, 1)]);
    assert_eq!(all.restores[0].steps[1].result, Some(Became::Done));
    assert_eq!(all.restores[1].steps[0].result, None);
    let one = restores(&reader, &[vault], Some(&object("certificate/TLS"))).await.unwrap();
    assert_eq!((one.restores.len(), one.restores[0].steps.len()), (1, 1));
}
