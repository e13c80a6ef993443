//! The crash matrix: a snapshot and a restore are cut off at each of their store requests, in every way that a request
//! can fail. `verify` is the judge, and then the job runs again and completes.

use crate::support::order::order;
use std::sync::Arc;
use std::time::Duration;

use akv_archiver::ambient::{Ambient, Clock, ManualClock, SeededRandom};
use akv_archiver::archive::Reader;
use akv_archiver::error::{Error, Kind};
use akv_archiver::format::archive::key_name;
use akv_archiver::jobs::protection::Demand;
use akv_archiver::jobs::snapshot::{Doors, Order, Outcome, snapshot};
use akv_archiver::jobs::{init, restore};
use akv_archiver::model::{Atlas, Mode, Object, VaultUri};
use akv_archiver::progress::{Silent, Stop};
use akv_archiver::restore::{Action, Plan};
use akv_archiver::seal::{Identities, NoPrompt, Recipients, generate};
use akv_archiver::store::memory::Memory as Store;
use akv_archiver::store::{Append, Worm};
use akv_archiver::tlog::{Signer, Verifier};
use akv_archiver::vault::Read as _;
use akv_archiver::vault::memory::Memory as Vault;
use akv_archiver::verify::{Code, Severity, Standard, verify};
use chrono::DateTime;

use crate::support::faulty::{Fault, Faulty, Plan as Cut};

const OBJECTS: [&str; 4] = ["key/tde", "secret/a", "secret/b", "certificate/tls"];

/// A vault, and everything that a job needs beside a store.
struct House {
    clock: Arc<ManualClock>,
    ambient: Ambient,
    vault: Vault,
    signer: Signer,
    verifiers: Vec<Verifier>,
    recipients: Arc<Recipients>,
    identities: Identities,
    order: Order,
}

fn object(text: &str) -> Object {
    Object::parse(text).unwrap()
}

/// A house, and the store with its empty archive.
async fn house() -> (House, Store) {
    let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
    let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(3)));
    let store = Store::protected(clock.clone(), Worm::VersionLevel, Mode::Locked, 365);
    let (archive, _) = init::create_archive(&store, Demand::Required, &ambient).await.unwrap();
    let signer = Signer::from_seed(&key_name(archive.archive_id), &[3; 32]).unwrap();
    let identity = generate(DateTime::UNIX_EPOCH);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identity");
    std::fs::write(&file, identity.file.as_bytes()).unwrap();
    let vault = Vault::new(VaultUri::parse("https://prod.vault.azure.net").unwrap(), clock.clone());
    OBJECTS.iter().for_each(|text| drop(vault.put(&object(text))));
    let order = order();
    let house = House {
        verifiers: vec![signer.verifier()],
        recipients: Arc::new(Recipients::parse(&[&identity.recipient]).unwrap()),
        identities: Identities::from_files(&[file], Arc::new(NoPrompt)).unwrap(),
        clock,
        ambient,
        vault,
        signer,
        order,
    };
    (house, store)
}

impl House {
    async fn snapshot(&self, store: &dyn Append) -> Result<Outcome, Error> {
        self.clock.advance(Duration::from_secs(60));
        let doors = Doors {
            vault: &self.vault,
            facts: None,
            store,
            reader: &Reader::open(store, &self.verifiers).await?,
            recipients: &self.recipients,
            signer: &self.signer,
            ambient: &self.ambient,
            progress: &Silent,
            stop: &Stop::new(),
        };
        snapshot(&doors, &self.order).await.map(|report| report.status)
    }

    async fn plan(&self, store: &dyn Append) -> Result<Plan, Error> {
        let eyes = restore::Eyes {
            reader: Some(&Reader::open(store, &self.verifiers).await?),
            identities: &self.identities,
            source: self.vault.uri().clone(),
            target: &self.vault,
            facts: None,
            others: &[],
            atlas: Atlas::default(),
            ambient: &self.ambient,
            progress: &Silent,
        };
        restore::make_plan(&eyes, &restore::Request::of(&OBJECTS.map(object))).await
    }

    async fn apply(&self, store: &dyn Append, plan: &Plan) -> Result<String, Error> {
        let reader = Reader::open(store, &self.verifiers).await?;
        let stop = Stop::new();
        restore::apply(&self.hands(store, &reader, &stop), plan).await.map(|applied| applied.status)
    }

    /// Finishes every open intent.
    async fn resume(&self, store: &dyn Append) -> Result<(), Error> {
        let reader = Reader::open(store, &self.verifiers).await?;
        let stop = Stop::new();
        let hands = self.hands(store, &reader, &stop);
        for (vault, record) in restore::open_intents(&reader, &[self.vault.uri().clone()], None).await? {
            assert!(restore::resume(&hands, &vault, &record, restore::Mode::Finish).await?.closed);
        }
        Ok(())
    }

    fn hands<'a>(&'a self, store: &'a dyn Append, reader: &'a Reader<'a>, stop: &'a Stop) -> restore::Hands<'a> {
        restore::Hands {
            logbook: Some(restore::Logbook { store, signer: &self.signer }),
            reader: Some(reader),
            identities: &self.identities,
            vault: &self.vault,
            ambient: &self.ambient,
            operator: "tester",
            progress: &Silent,
            stop,
            wait: Duration::from_secs(600),
            in_flight: 4,
        }
    }

    /// Nothing that is worse than a note, except that there may be no snapshot yet.
    async fn judge(&self, store: &Store, cut: &str) {
        let standard = Standard {
            vaults: Vec::new(),
            verifiers: self.verifiers.clone(),
            worm: true,
            protection_min: self.order.renewal.protection_min,
            protection_min_of: Default::default(),
            max_age: None,
            now: self.clock.now(),
        };
        let findings = verify(store, &standard).await.unwrap().findings;
        let harmless = findings.iter().all(|f| f.severity == Severity::Note || f.code == Code::NoSnapshot);
        assert!(harmless, "{cut}: {findings:#?}");
    }
}

/// The four ways in which request `at` can fail.
fn cuts(at: u64) -> impl Iterator<Item = Cut> {
    Fault::ALL.into_iter().flat_map(move |fault| [false, true].map(|fatal| Cut { at, fault, fatal }))
}

#[tokio::test]
async fn a_snapshot_that_is_cut_off_at_any_request_leaves_a_whole_archive_and_runs_again() {
    let mut points = 0;
    for earlier in 0..2 {
        let (house, store) = house().await;
        let counting = Faulty::counting(store);
        for _ in 0..earlier {
            house.snapshot(counting.inner()).await.unwrap();
        }
        house.vault.put(&object("secret/a"));
        house.snapshot(&counting).await.unwrap();
        for cut in (0..counting.requests()).flat_map(cuts) {
            points += 1;
            let what = format!("after {earlier} snapshots, {cut:?}");
            let (house, store) = self::house().await;
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
        let (house, store) = house().await;
        house.snapshot(&store).await.unwrap();
        OBJECTS.iter().for_each(|text| house.vault.delete(&object(text)));
        for gone in ["key/tde", "secret/b", "certificate/tls", "key/tls", "secret/tls"] {
            house.vault.purge(&object(gone));
        }
        (house, store)
    }
    let (house, store) = accident().await;
    let plan = house.plan(&store).await.unwrap();
    let counting = Faulty::counting(store);
    house.apply(&counting, &plan).await.unwrap();
    let mut points = 0;
    for cut in (0..counting.requests()).flat_map(cuts) {
        points += 1;
        let (house, store) = accident().await;
        let plan = house.plan(&store).await.unwrap();
        assert_eq!(plan.changes().count(), OBJECTS.len());
        let faulty = Faulty::failing(store, cut);
        // A capture that cannot be read costs its own object only, and a recovery does not need it.
        match house.apply(&faulty, &plan).await {
            Ok(status) => assert!(["done", "partial"].contains(&status.as_str()), "{cut:?}: {status}"),
            Err(error) => assert_eq!(error.kind(), Kind::Unavailable, "{cut:?}: {error}"),
        }
        house.judge(faulty.inner(), &format!("{cut:?}")).await;
        house.resume(faulty.inner()).await.unwrap();
        let again = house.plan(faulty.inner()).await.unwrap();
        assert!(!again.refused(), "{cut:?}: {again:#?}");
        house.apply(faulty.inner(), &again).await.unwrap();
        let last = house.plan(faulty.inner()).await.unwrap();
        assert!(last.steps.iter().all(|step| step.action == Action::Nothing), "{cut:?}: {last:#?}");
        house.judge(faulty.inner(), &format!("{cut:?}")).await;
    }
    assert!(points >= 40, "only {points} points were tried");
    println!("{points} points were tried");
}
