//! What the log is told before and after, and operators who meet there.

use super::*;

#[tokio::test]
async fn a_large_plan_is_recorded_in_batches_and_certificates_come_first() {
    let house = House::new(&["secret/a", "secret/b", "secret/c", "certificate/tls", "key/k"]).await;
    house.snapshot().await.unwrap();
    house.wipe(&["secret/a", "secret/b", "secret/c", "certificate/tls", "key/k"]);
    let mut plan = house.plan(&[]).await.unwrap();
    plan.steps.reverse();
    let order = Arc::new(Mutex::new(Vec::new()));
    let heard = order.clone();
    house.vault.interfere(move |_, moment, call| {
        if let (Moment::Before, Call::Restore(kind)) = (moment, call) {
            heard.lock().unwrap().push(*kind);
        }
        Ok(())
    });
    let reader = house.reader().await;
    let applied = apply_in_batches(&house.hands(&house.store, &reader), &plan, 2).await.unwrap();
    assert_eq!((applied.status.as_str(), applied.intents.as_slice()), ("done", &[2, 4, 6][..]), "{applied:?}");
    assert_eq!(order.lock().unwrap()[0], ObjectKind::Certificate);
    assert_eq!(
        log(&house).await[1..],
        ["intent 2", "result of 2: done done", "intent 2", "result of 4: done done", "intent 1", "result of 6: done"]
    );
    let told: Vec<&str> = applied.steps.iter().map(|step| step.object.as_str()).collect();
    let planned: Vec<String> = plan.steps.iter().map(|step| step.object.to_string()).collect();
    assert_eq!(told, planned, "outcomes are told in the order of the plan");
}

#[tokio::test]
async fn a_batch_that_cannot_be_recorded_is_not_tried_and_what_was_done_is_told() {
    let house = House::new(&["secret/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    house.wipe(&["secret/a", "secret/b"]);
    let plan = house.plan(&[]).await.unwrap();
    let store = Meddled::failing(&house, 3);
    let reader = house.reader().await;
    let applied = apply_in_batches(&house.hands(&store, &reader), &plan, 1).await.unwrap();
    assert_eq!((step(&applied, "secret/a").result, step(&applied, "secret/b").result), (Became::Done, Became::Skipped));
    assert!(step(&applied, "secret/b").detail.starts_with("not tried: couldn't commit"), "{applied:?}");
    assert_eq!(log(&house).await[1..], ["intent 1", "result of 2: done"]);
}

#[tokio::test]
async fn without_a_recorded_intent_nothing_is_changed() {
    let (house, plan) = wiped().await;
    house.vault.interfere(|_, _, call| match call {
        Call::Restore(_) => panic!("nothing may be sent"),
        _ => Ok(()),
    });
    let error = house.apply_through(&Meddled::failing(&house, 1), &plan).await.unwrap_err();
    assert!(error.message().starts_with("couldn't record the intent; nothing was changed"), "{error}");
    assert_eq!(log(&house).await, ["snapshot"]);
}

#[tokio::test]
async fn a_result_that_cannot_be_recorded_is_told_and_resume_closes_it() {
    let (house, plan) = wiped().await;
    let error = house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
    assert!(error.message().starts_with("the vault was changed (2 done), but the result of intent 2"), "{error}");
    assert!(error.hint_text().unwrap().contains("restore resume"), "{error}");
    assert_eq!(log(&house).await, ["snapshot", "intent 2"]);
    let error = house.apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    for told in ["tester at 2027-01-15 ", "(entry 2 in the log of prod.vault.azure.net)", "no result is recorded"] {
        assert!(error.message().contains(told), "{error}");
    }
    let looked = resume_all(&house, Mode::DryRun).await.unwrap();
    assert!(!looked[0].closed && looked[0].steps.iter().all(|step| step.result == Some(Became::Done)), "{looked:?}");
    assert_eq!(log(&house).await.len(), 2, "a dry run records nothing");
    house.vault.interfere(|_, _, call| match call {
        Call::Restore(_) => panic!("it is there already"),
        _ => Ok(()),
    });
    let resumed = resume_all(&house, Mode::Finish).await.unwrap();
    assert!(resumed[0].closed, "{resumed:?}");
    assert_eq!(log(&house).await[1..], ["intent 2", "result of 2: done done"]);
    assert!(resume_all(&house, Mode::Finish).await.unwrap().is_empty());
}

#[tokio::test]
async fn of_two_operators_one_wins_and_the_other_is_told_who_and_when() {
    // The first is about to commit his intent when the second begins and is through with everything.
    let (house, plan) = wiped().await;
    let restores = Arc::new(AtomicU32::new(0));
    let counted = restores.clone();
    house.vault.interfere(move |_, moment, call| {
        if moment == Moment::Before && matches!(call, Call::Restore(_)) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    });
    let (quick, rival) = (&house, &plan);
    let store = Meddled::new(&house, move |attempt| {
        Box::pin(async move {
            if attempt == 1 {
                let reader = quick.reader().await;
                let hands = crate::jobs::restore::Hands { operator: "winner", ..quick.hands(&quick.store, &reader) };
                assert_eq!(crate::jobs::restore::apply(&hands, rival).await.unwrap().status, "done");
            }
            None
        })
    });
    let error = house.apply_through(&store, &plan).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    for told in ["nothing was changed", "winner at 2027-01-15 ", "changed it since this plan was begun"] {
        assert!(error.message().contains(told), "{error}");
    }
    assert_eq!(restores.load(Ordering::SeqCst), 2, "each name was asked for once");
    assert_eq!(log(&house).await[1..], ["intent 2", "result of 2: done done"]);
}

#[tokio::test]
async fn an_operator_who_meets_an_open_intent_at_the_last_moment_gives_way() {
    // The winner has committed his intent and is still at work.
    let (house, plan) = wiped().await;
    let (quick, rival) = (&house, &plan);
    let store = Meddled::new(&house, move |attempt| {
        Box::pin(async move {
            if attempt == 1 {
                let failing = Meddled::failing(quick, 2);
                quick.apply_through(&failing, rival).await.unwrap_err();
            }
            None
        })
    });
    let error = house.apply_through(&store, &plan).await.unwrap_err();
    assert!(error.kind() == Kind::Conflict && error.message().contains("no result is recorded"), "{error}");
    assert_eq!(log(&house).await, ["snapshot", "intent 2"]);
}

#[tokio::test]
async fn a_snapshot_in_between_does_not_stop_a_restore() {
    let (house, plan) = wiped().await;
    let quick = &house;
    let store = Meddled::new(&house, move |attempt| {
        Box::pin(async move {
            if attempt == 1 {
                quick.snapshot().await.unwrap();
            }
            None
        })
    });
    assert_eq!(house.apply_through(&store, &plan).await.unwrap().status, "done");
    assert_eq!(log(&house).await, ["snapshot", "snapshot", "intent 2", "result of 3: done done"]);
}

#[tokio::test]
async fn an_hsm_key_goes_into_a_name_once_unless_somebody_says_why() {
    let (house, plan) = hsm().await;
    assert_eq!(house.apply(&plan).await.unwrap().status, "done");
    house.wipe(&["key/k"]);
    let mut again = plan.clone();
    again.plan = uuid::Uuid::from_u128(2);
    let error = house.apply(&again).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.message().contains("tester at") && error.hint_text().unwrap().contains("--override"), "{error}");
    assert_eq!(log(&house).await.len(), 3);
    again.allowed.single_restore_override = Some("the vault was rebuilt".to_owned());
    assert_eq!(house.apply(&again).await.unwrap().status, "done");
    let told = restores(&house.reader().await, &[house.vault.uri().clone()], None).await.unwrap();
    assert_eq!(told.restores[1].single_restore_override.as_deref(), Some("the vault was rebuilt"));
}

#[tokio::test]
async fn an_hsm_key_that_a_rival_restored_at_the_last_moment_from_another_log_is_left_alone() {
    // The rival begins, ends and records it between this operator's last look at his log and this operator's intent.
    for (became, status) in [(Became::Done, "partial"), (Became::Skipped, "done")] {
        let (house, plan) = hsm().await;
        let (quick, step) = (&house, &intent_of(&plan));
        rival(quick, &IntentStep { object: object("key/unconcerned"), ..step.clone() }, Became::Done).await;
        let store = Meddled::new(&house, move |attempt| {
            Box::pin(async move {
                if attempt == 1 {
                    rival(quick, step, became).await;
                }
                None
            })
        });
        let applied = house.apply_through(&store, &plan).await.unwrap();
        assert_eq!(applied.status, status, "{applied:?}");
        let told = applied.steps[0].detail.contains("rival at ");
        assert_eq!(told, became == Became::Done, "{applied:?}");
    }
}

fn intent_of(plan: &Plan) -> IntentStep {
    let object = plan.steps[0].object.clone();
    IntentStep { object, action: Change::Restore, snapshot: Some(1), capture: None, hsm: true }
}

/// Somebody restores into the house's vault from captures of another one: intent and result in the log of that.
async fn rival(house: &House, step: &IntentStep, became: Became) {
    let other = crate::model::VaultUri::parse("https://other.vault.azure.net").unwrap();
    let reader = house.reader().await;
    let appender = Appender::new(&house.store, &reader, &house.signer, &other, &house.ambient);
    let intent = RestoreIntent {
        plan: uuid::Uuid::from_u128(9),
        target: house.vault.uri().clone(),
        steps: vec![step.clone()],
        operator: "rival".to_owned(),
        single_restore_override: None,
    };
    let intent = appender.commit(|_, _| Ok(Event::RestoreIntent(intent.clone()))).await.unwrap();
    let outcome = Outcome { object: step.object.clone(), result: became, detail: String::new() };
    let result = RestoreResult { intent, outcomes: vec![outcome] };
    appender.commit(|_, _| Ok(Event::RestoreResult(result.clone()))).await.unwrap();
}

#[tokio::test]
async fn an_hsm_key_is_not_restored_past_an_entry_that_cannot_be_read() {
    let (house, plan) = hsm().await;
    // A damaged entry, and a whole one after it.
    let other = house.plan(&["key/k"]).await.unwrap();
    house.commit(|_| ()).await;
    house.commit(|_| ()).await;
    let entry = house.files("/log/").await[1].clone();
    assert!(house.store.corrupt(&entry, "junk"));
    let error = house.apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.message().contains("entry 2 in the log of prod.vault.azure.net cannot be read"), "{error}");
    let told = Plan {
        allowed: crate::restore::Allowed { single_restore_override: Some("seen".into()), ..Default::default() },
        ..other
    };
    assert_eq!(house.apply(&told).await.unwrap().status, "done");
}

#[tokio::test]
async fn entries_of_other_logs_that_cannot_be_read_are_told_where_an_hsm_key_is_planned() {
    let (house, plan) = hsm().await;
    rival(&house, &intent_of(&plan), Became::Failed).await;
    let told = async || house.plan(&["key/k"]).await.unwrap().notes.join("; ");
    assert_eq!(told().await, "");
    let entry = house.files("/log/").await.into_iter().find(|path| !path.contains("/prod.")).unwrap();
    assert!(house.store.corrupt(&entry, "junk"));
    let notes = told().await;
    assert!(notes.contains("log entries 1 of ") && notes.contains("they may tell of restores"), "{notes}");
}
