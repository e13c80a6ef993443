//! The crash matrix of `protect`: an extension, a legal hold and its end are cut off at each of their store requests, in
//! every way that a request can fail. `verify` is the judge; run again, they complete, and then have nothing to do.

use std::collections::BTreeMap;

use akv_archiver::archive::Reader;
use akv_archiver::error::{Error, Kind};
use akv_archiver::format::entry::{Class, Event, ProtectAction};
use akv_archiver::jobs::protect::{Hands, Report, Status, Want, carry_out, plan};
use akv_archiver::progress::{Silent, Stop};
use akv_archiver::store::memory::Memory as Store;
use akv_archiver::store::{Append, Listed, Protect, Protection, Read as _};
use akv_archiver::vault::Read as _;
use chrono::TimeDelta;
use futures::TryStreamExt as _;

use crate::support::faulty::{After, Course, Fault, Faulty, Plan as Cut};
use crate::support::house::{House, house, object};

fn want(house: &House, action: ProtectAction) -> Want {
    let until = house.ambient.now() + TimeDelta::days(400);
    let until = chrono::DateTime::from_timestamp(until.timestamp(), 0);
    Want {
        action,
        until: until.filter(|_| action == ProtectAction::Extend),
        lock: false,
        reason: Some("case 7".to_owned()),
        tag: None,
        classes: Class::ALL.to_vec(),
        paths: Vec::new(),
    }
}

async fn protect<S: Append + Protect>(house: &House, store: &S, want: Want) -> Result<Report, Error> {
    let reader = Reader::open(store, &house.verifiers).await?;
    let vaults = [house.vault.uri().clone()];
    let plan = plan(store, &reader, &vaults, want, &Silent, house.ambient.now()).await?;
    let hands = Hands {
        store,
        keeper: store,
        reader: &reader,
        signer: &house.signer,
        ambient: &house.ambient,
        operator: "tester",
        progress: &Silent,
        stop: &Stop::new(),
    };
    Ok(Report::of(&plan, Some(carry_out(&hands, &plan).await?)))
}

/// Two snapshots; held, where a hold is to be lifted.
async fn ready(action: ProtectAction) -> (House, Store) {
    let (house, store) = house(&["key/tde", "secret/a"]).await;
    house.snapshot(&store).await.unwrap();
    house.vault.put(&object("secret/a"));
    house.snapshot(&store).await.unwrap();
    if action == ProtectAction::Release {
        protect(&house, &store, want(&house, ProtectAction::Hold)).await.unwrap();
    }
    (house, store)
}

async fn protections(store: &Store) -> BTreeMap<String, Protection> {
    let listed: Vec<Listed> = store.list("").try_collect().await.unwrap();
    listed.into_iter().map(|item| (item.path.unwrap().to_string(), item.protection)).collect()
}

/// How many entries tell of this action.
async fn told(house: &House, store: &Store, action: ProtectAction) -> usize {
    let reader = Reader::open(store, &house.verifiers).await.unwrap();
    let entries = reader.entries(house.vault.uri()).await.unwrap();
    assert!(entries.damaged.is_empty());
    let of = |event: &Event| matches!(event, Event::Protect(protect) if protect.action == action);
    entries.verified.iter().filter(|entry| of(&entry.event)).count()
}

#[tokio::test]
async fn what_is_cut_off_at_any_request_is_told_of_in_the_log_and_completes_when_run_again() {
    let mut points = 0;
    for action in [ProtectAction::Extend, ProtectAction::Hold, ProtectAction::Release] {
        let (house, store) = ready(action).await;
        let counting = Course::new(None);
        let counted = protect(&house, &Faulty::new(&store, &counting), want(&house, action)).await;
        assert_eq!(counted.unwrap().status, Status::Done);
        let writes = counting.writes();
        for at in 0..counting.requests() {
            for (fault, after) in Fault::ALL.into_iter().flat_map(|fault| After::ALL.map(|after| (fault, after))) {
                if fault == Fault::Landed && !writes.contains(&at) {
                    continue;
                }
                points += 1;
                let cut = Cut { at, fault, after };
                let what = format!("{action:?}, {cut:?}");
                let (house, store) = ready(action).await;
                let (before, wanted) = (protections(&store).await, want(&house, action));
                let course = Course::new(Some(cut));
                match course.run(protect(&house, &Faulty::new(&store, &course), wanted.clone())).await {
                    None => assert_eq!(cut.after, After::Silence, "{what}"),
                    Some(Ok(report)) => assert_eq!(report.status, Status::Partial, "{what}: {report:#?}"),
                    Some(Err(error)) => assert_eq!(error.kind(), Kind::Unavailable, "{what}: {error}"),
                }
                let store = &store;
                house.judge(store, &what).await;
                let after = protections(store).await;
                let recorded = told(&house, store, action).await;
                assert!(
                    recorded == 1 || (recorded == 0 && after == before),
                    "{what}: changed, and nothing tells of it"
                );
                let shorter = before.iter().any(|(path, before)| after[path].until < before.until);
                assert!(!shorter, "{what}: something is protected for less long");

                let again = protect(&house, store, wanted.clone()).await.unwrap();
                assert!(matches!(again.status, Status::Done | Status::Nothing), "{what}: {again:#?}");
                let last = protect(&house, store, wanted.clone()).await.unwrap();
                assert_eq!(last.status, Status::Nothing, "{what}: {last:#?}");
                let so = |one: &Protection| match action {
                    ProtectAction::Extend => one.until >= wanted.until,
                    ProtectAction::Hold => one.legal_hold,
                    ProtectAction::Release => !one.legal_hold,
                };
                assert!(protections(store).await.values().all(so), "{what}");
                house.judge(store, &what).await;
            }
        }
    }
    assert!(points >= 200, "only {points} points were tried");
    println!("protect: {points} points were tried");
}
