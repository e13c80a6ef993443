//! The crash matrix: a snapshot and a restore are cut off at each of their store requests, in every way that a request
//! can fail. `verify` is the judge, and then the job runs again and completes.

use akv_archiver::error::Kind;
use akv_archiver::jobs::snapshot::Outcome;
use akv_archiver::restore::Action;
use akv_archiver::store::memory::Memory as Store;

use crate::support::faulty::{Fault, Faulty, Plan as Cut};
use crate::support::house::{House, house, object};

const OBJECTS: [&str; 4] = ["key/tde", "secret/a", "secret/b", "certificate/tls"];

/// The four ways in which request `at` can fail.
fn cuts(at: u64) -> impl Iterator<Item = Cut> {
    Fault::ALL.into_iter().flat_map(move |fault| [false, true].map(|fatal| Cut { at, fault, fatal }))
}

#[tokio::test]
async fn a_snapshot_that_is_cut_off_at_any_request_leaves_a_whole_archive_and_runs_again() {
    let mut points = 0;
    for earlier in 0..2 {
        let (house, store) = house(&OBJECTS).await;
        let counting = Faulty::counting(store);
        for _ in 0..earlier {
            house.snapshot(counting.inner()).await.unwrap();
        }
        house.vault.put(&object("secret/a"));
        house.snapshot(&counting).await.unwrap();
        for cut in (0..counting.requests()).flat_map(cuts) {
            points += 1;
            let what = format!("after {earlier} snapshots, {cut:?}");
            let (house, store) = self::house(&OBJECTS).await;
            for _ in 0..earlier {
                house.snapshot(&store).await.unwrap();
            }
            house.vault.put(&object("secret/a"));
            let faulty = Faulty::failing(store, cut);
            let error = house.snapshot(&faulty).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable, "{what}: {error}");
            house.judge(faulty.inner(), &what).await;
            assert_eq!(house.snapshot(faulty.inner()).await.unwrap(), Outcome::Complete, "{what}");
            house.judge(faulty.inner(), &what).await;
        }
    }
    assert!(points >= 100, "only {points} points were tried");
    println!("{points} points were tried");
}

#[tokio::test]
async fn a_restore_that_is_cut_off_at_any_request_leaves_a_whole_log_and_is_resumed_or_planned_anew() {
    /// A vault whose objects are gone, one of them softly, and their archive.
    async fn accident() -> (House, Store) {
        let (house, store) = house(&OBJECTS).await;
        house.snapshot(&store).await.unwrap();
        OBJECTS.iter().for_each(|text| house.vault.delete(&object(text)));
        for gone in ["key/tde", "secret/b", "certificate/tls", "key/tls", "secret/tls"] {
            house.vault.purge(&object(gone));
        }
        (house, store)
    }
    let (house, store) = accident().await;
    let plan = house.plan(&store, &OBJECTS).await.unwrap();
    let counting = Faulty::counting(store);
    house.apply(&counting, &plan).await.unwrap();
    let mut points = 0;
    for cut in (0..counting.requests()).flat_map(cuts) {
        points += 1;
        let (house, store) = accident().await;
        let plan = house.plan(&store, &OBJECTS).await.unwrap();
        assert_eq!(plan.changes().count(), OBJECTS.len());
        let faulty = Faulty::failing(store, cut);
        // A capture that cannot be read costs its own object only, and a recovery does not need it.
        match house.apply(&faulty, &plan).await {
            Ok(status) => assert!(["done", "partial"].contains(&status.as_str()), "{cut:?}: {status}"),
            Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{cut:?}: {error}"),
        }
        house.judge(faulty.inner(), &format!("{cut:?}")).await;
        house.resume(faulty.inner()).await.unwrap();
        let again = house.plan(faulty.inner(), &OBJECTS).await.unwrap();
        assert!(!again.refused(), "{cut:?}: {again:#?}");
        house.apply(faulty.inner(), &again).await.unwrap();
        let last = house.plan(faulty.inner(), &OBJECTS).await.unwrap();
        assert!(last.steps.iter().all(|step| step.action == Action::Nothing), "{cut:?}: {last:#?}");
        house.judge(faulty.inner(), &format!("{cut:?}")).await;
    }
    assert!(points >= 40, "only {points} points were tried");
    println!("{points} points were tried");
}
