//! The crash matrix of `protect`: an extension, a legal hold and its end, of versions and of a container as a whole, are cut
//! off at each of their store requests, in every way that a request can fail. `verify` is the judge; run again, they
//! complete, and then have nothing to do.

use std::collections::BTreeMap;

use akv_archiver::archive::Reader;
use akv_archiver::error::{Error, Kind};
use akv_archiver::format::entry::{Class, Event, ProtectAction};
use akv_archiver::jobs::protect::{Hands, Report, Status, Want, carry_out, plan};
use akv_archiver::jobs::protection::Demand;
use akv_archiver::model::{HoldTag, Mode};
use akv_archiver::progress::{Silent, Stop};
use akv_archiver::store::memory::Memory as Store;
use akv_archiver::store::{Append, Listed, Protect, Protection, Reach, Read as _, Whole, Worm};
use akv_archiver::vault::Read as _;
use akv_archiver::verify::{Code, Finding, Severity};
use chrono::TimeDelta;
use futures::TryStreamExt as _;

use crate::support::faulty::{After, Course, Fault, Faulty, Plan as Cut};
use crate::support::house::{House, clock, furnish, house, object};

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
    let plan = plan(store, &reader, &[], want, &Silent, house.ambient.now()).await?;
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

/// What is done to a container as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// A locked policy gets longer.
    Extend,
    /// An unlocked policy gets longer and is locked: two changes.
    ExtendAndLock,
    Hold,
    Release,
}

impl Deed {
    fn action(self) -> ProtectAction {
        match self {
            Deed::Extend | Deed::ExtendAndLock => ProtectAction::Extend,
            Deed::Hold => ProtectAction::Hold,
            Deed::Release => ProtectAction::Release,
        }
    }

    fn want(self, house: &House) -> Want {
        let want = want(house, self.action());
        let tag = HoldTag::parse("case7").filter(|_| want.until.is_none());
        Want { lock: self == Deed::ExtendAndLock, tag, classes: Vec::new(), ..want }
    }

    /// A snapshot in a container that another hold is on; held, where that hold is to be lifted.
    async fn ready(self) -> (House, Store) {
        let clock = clock();
        let mode = if self == Deed::ExtendAndLock { Mode::Unlocked } else { Mode::Locked };
        let store = Store::protected(clock.clone(), Worm::ContainerLevel, mode, 365);
        let house = furnish(&["key/tde", "secret/a"], clock, &store, Demand::Required, 3).await;
        house.snapshot(&store).await.unwrap();
        store.hold_whole(&HoldTag::parse("audit").unwrap(), true).await.unwrap();
        if self == Deed::Release {
            protect(&house, &store, Deed::Hold.want(&house)).await.unwrap();
        }
        (house, store)
    }
}

async fn whole(store: &Store) -> Whole {
    match store.reach().await.unwrap() {
        Reach::Whole(whole) => whole,
        Reach::Versions => panic!("the store is protected as a whole"),
    }
}

#[tokio::test]
async fn a_whole_container_that_is_cut_off_at_any_request_is_told_of_in_the_log_and_completes_when_run_again() {
    let mut points = 0;
    for deed in [Deed::Extend, Deed::ExtendAndLock, Deed::Hold, Deed::Release] {
        let (house, store) = deed.ready().await;
        let counting = Course::new(None);
        let counted = protect(&house, &Faulty::new(&store, &counting), deed.want(&house)).await;
        assert_eq!(counted.unwrap().status, Status::Done);
        let writes = counting.writes();
        for at in 0..counting.requests() {
            for (fault, after) in Fault::ALL.into_iter().flat_map(|fault| After::ALL.map(|after| (fault, after))) {
                if fault == Fault::Landed && !writes.contains(&at) {
                    continue;
                }
                points += 1;
                whole_is_cut_off(deed, Cut { at, fault, after }).await;
            }
        }
    }
    assert!(points >= 200, "only {points} points were tried");
    println!("protect of a container: {points} points were tried");
}

async fn whole_is_cut_off(deed: Deed, cut: Cut) {
    let what = format!("{deed:?}, {cut:?}");
    let (house, store) = deed.ready().await;
    let (before, wanted, store) = (whole(&store).await, deed.want(&house), &store);
    let told_before = told(&house, store, deed.action()).await;
    let course = Course::new(Some(cut));
    match course.run(protect(&house, &Faulty::new(store, &course), wanted.clone())).await {
        None => assert_eq!(cut.after, After::Silence, "{what}"),
        Some(Ok(report)) => panic!("{what}: a request failed, and the report says {:?}", report.status),
        Some(Err(error)) => assert_eq!(error.kind(), Kind::Unavailable, "{what}: {error}"),
    }
    let findings = house.verify(store).await;
    let unlocked = |finding: &Finding| deed == Deed::ExtendAndLock && finding.code == Code::Unlocked;
    assert!(findings.iter().all(|it| it.severity == Severity::Note || unlocked(it)), "{what}: {findings:#?}");
    let after = whole(store).await;
    let told_since = told(&house, store, deed.action()).await - told_before;
    assert!(told_since == 1 || (told_since == 0 && after == before), "{what}: changed, and nothing tells of it");
    let (old, new) = (before.period.unwrap(), after.period.unwrap());
    assert!(new.days >= old.days && new.locked >= old.locked, "{what}: {new:?} after {old:?}");
    assert!(after.tags.contains("audit"), "{what}: another's hold is gone");

    let again = protect(&house, store, wanted.clone()).await.unwrap();
    assert!(matches!(again.status, Status::Done | Status::Nothing), "{what}: {again:#?}");
    let last = protect(&house, store, wanted.clone()).await.unwrap();
    assert_eq!(last.status, Status::Nothing, "{what}: {last:#?}");
    let end = whole(store).await;
    let period = end.period.unwrap();
    assert!(period.locked && period.extensions <= Some(1), "{what}: {period:?}");
    match deed {
        Deed::Extend | Deed::ExtendAndLock => assert!(period.days >= 400, "{what}: {period:?}"),
        Deed::Hold | Deed::Release => assert_eq!(end.tags.contains("case7"), deed == Deed::Hold, "{what}"),
    }
    house.judge(store, &what).await;
}
