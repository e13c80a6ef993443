//! A vault and an archive in memory, everything that a job needs beside them, and the jobs: for whoever damages, cuts off
//! or simulates. Chance is seeded and the clock stands still between jobs.

use std::sync::Arc;
use std::time::Duration;

use akv_archiver::ambient::{Ambient, Clock, ManualClock, SeededRandom};
use akv_archiver::archive::Reader;
use akv_archiver::error::Error;
use akv_archiver::format::archive::key_name;
use akv_archiver::jobs::protection::Demand;
use akv_archiver::jobs::snapshot::{Doors, Order, Outcome, snapshot};
use akv_archiver::jobs::{init, restore};
use akv_archiver::model::{Atlas, Mode, Object, VaultUri};
use akv_archiver::progress::{Silent, Stop};
use akv_archiver::restore::{Applied, Plan};
use akv_archiver::seal::{Identities, NoPrompt, Recipients, generate};
use akv_archiver::store::memory::Memory as Store;
use akv_archiver::store::{Append, Worm};
use akv_archiver::tlog::{Signer, Verifier};
use akv_archiver::vault::memory::Memory as Vault;
use akv_archiver::vault::{self, Read as _};
use akv_archiver::verify::{Code, Finding, Severity, Standard, verify};
use chrono::DateTime;

use super::order::order;

/// A vault, and everything that a job needs beside a store.
pub(crate) struct House {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ambient: Ambient,
    pub(crate) vault: Vault,
    pub(crate) signer: Signer,
    pub(crate) verifiers: Vec<Verifier>,
    pub(crate) recipients: Arc<Recipients>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) order: Order,
}

pub(crate) fn object(text: &str) -> Object {
    Object::parse(text).unwrap()
}

/// The clock of a house.
pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()))
}

/// A house with these objects, and the store with its empty archive.
pub(crate) async fn house(objects: &[&str]) -> (House, Store) {
    let clock = clock();
    let store = Store::protected(clock.clone(), Worm::VersionLevel, Mode::Locked, 365);
    (furnish(objects, clock, &store, Demand::Required, 3).await, store)
}

/// A house with these objects, and an empty archive in `store`. Another seed makes another archive with another signer.
pub(crate) async fn furnish(
    objects: &[&str],
    clock: Arc<ManualClock>,
    store: &dyn Append,
    worm: Demand,
    seed: u8,
) -> House {
    let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(seed.into())));
    let (archive, _) = init::create_archive(store, worm, &ambient).await.unwrap();
    let signer = Signer::from_seed(&key_name(archive.archive_id), &[seed; 32]).unwrap();
    let identity = generate(DateTime::UNIX_EPOCH);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identity");
    std::fs::write(&file, identity.file.as_bytes()).unwrap();
    let vault = Vault::new(VaultUri::parse("https://prod.vault.azure.net").unwrap(), clock.clone());
    objects.iter().for_each(|text| drop(vault.put(&object(text))));
    let order = Order { worm, ..order() };
    House {
        verifiers: vec![signer.verifier()],
        recipients: Arc::new(Recipients::parse(&[&identity.recipient]).unwrap()),
        identities: Arc::new(Identities::from_files(&[file], Arc::new(NoPrompt)).unwrap()),
        clock,
        ambient,
        vault,
        signer,
        order,
    }
}

impl House {
    pub(crate) async fn snapshot(&self, store: &dyn Append) -> Result<Outcome, Error> {
        self.snapshot_through(&self.vault, store).await
    }

    /// The same through another door to the vault.
    pub(crate) async fn snapshot_through(&self, vault: &dyn vault::Read, store: &dyn Append) -> Result<Outcome, Error> {
        self.clock.advance(Duration::from_secs(60));
        let doors = Doors {
            vault,
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

    /// Plans to bring these objects back into the vault.
    pub(crate) async fn plan(&self, store: &dyn Append, objects: &[&str]) -> Result<Plan, Error> {
        self.plan_into(&self.vault, store, objects).await
    }

    /// The same into another vault; where the two are, this vault tells.
    pub(crate) async fn plan_into(
        &self,
        target: &dyn vault::Read,
        store: &dyn Append,
        objects: &[&str],
    ) -> Result<Plan, Error> {
        let eyes = restore::Eyes {
            reader: Some(&Reader::open(store, &self.verifiers).await?),
            identities: &self.identities,
            source: self.vault.uri().clone(),
            target,
            facts: Some(&self.vault),
            others: &[],
            atlas: Atlas::default(),
            ambient: &self.ambient,
            progress: &Silent,
        };
        restore::make_plan(&eyes, &restore::Request::of(&objects.iter().map(|text| object(text)).collect::<Vec<_>>()))
            .await
    }

    pub(crate) async fn apply(&self, store: &dyn Append, plan: &Plan) -> Result<String, Error> {
        self.apply_through(&self.vault, store, plan).await
    }

    /// The same through another door to the vault.
    pub(crate) async fn apply_through(
        &self,
        vault: &dyn vault::Write,
        store: &dyn Append,
        plan: &Plan,
    ) -> Result<String, Error> {
        self.applied_through(vault, store, plan).await.map(|applied| applied.status)
    }

    /// All that is told of it.
    pub(crate) async fn applied_through(
        &self,
        vault: &dyn vault::Write,
        store: &dyn Append,
        plan: &Plan,
    ) -> Result<Applied, Error> {
        let reader = Reader::open(store, &self.verifiers).await?;
        let stop = Stop::new();
        restore::apply(&self.hands(vault, store, &reader, &stop), plan).await
    }

    /// Finishes every open intent.
    pub(crate) async fn resume(&self, store: &dyn Append) -> Result<(), Error> {
        assert!(self.resume_through(&self.vault, store).await?);
        Ok(())
    }

    /// The same through another door to the vault. Whether all of them are closed.
    pub(crate) async fn resume_through(&self, vault: &dyn vault::Write, store: &dyn Append) -> Result<bool, Error> {
        let reader = Reader::open(store, &self.verifiers).await?;
        let stop = Stop::new();
        let hands = self.hands(vault, store, &reader, &stop);
        let mut closed = true;
        for (vault, record) in restore::open_intents(&reader, &[self.vault.uri().clone()], None).await? {
            closed &= restore::resume(&hands, &vault, &record, restore::Mode::Finish).await?.closed;
        }
        Ok(closed)
    }

    fn hands<'a>(
        &'a self,
        vault: &'a dyn vault::Write,
        store: &'a dyn Append,
        reader: &'a Reader<'a>,
        stop: &'a Stop,
    ) -> restore::Hands<'a> {
        restore::Hands {
            logbook: Some(restore::Logbook { store, signer: &self.signer }),
            reader: Some(reader),
            identities: &self.identities,
            vault,
            ambient: &self.ambient,
            operator: "tester",
            progress: &Silent,
            stop,
            wait: Duration::from_secs(600),
            in_flight: self.order.in_flight,
        }
    }

    /// Nothing that is worse than a note, except that there may be no snapshot yet.
    pub(crate) async fn judge(&self, store: &Store, cut: &str) {
        let findings = self.verify(store).await;
        let harmless = findings.iter().all(|f| f.severity == Severity::Note || f.code == Code::NoSnapshot);
        assert!(harmless, "{cut}: {findings:#?}");
    }

    /// What the verifier finds.
    pub(crate) async fn verify(&self, store: &Store) -> Vec<Finding> {
        verify(store, &self.standard()).await.unwrap().findings
    }

    /// What the archive is held to.
    pub(crate) fn standard(&self) -> Standard {
        Standard {
            vaults: Vec::new(),
            verifiers: self.verifiers.clone(),
            worm: self.order.worm == Demand::Required,
            protection_min: self.order.renewal.protection_min,
            protection_min_of: Default::default(),
            max_age: None,
            now: self.clock.now(),
        }
    }
}
