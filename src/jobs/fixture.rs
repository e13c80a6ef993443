//! A small house for tests: a vault and a store in memory, keys, a clock that stands still, and the jobs between them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};

use super::protection::Demand;
use super::restore::{Eyes, Hands, Logbook, Request, apply, make_plan};
use super::snapshot::{AHEAD, Doors, Effort, Order, Report, Rhythm, snapshot};
use crate::ambient::{Ambient, ManualClock, SeededRandom};
use crate::archive::{Appender, Reader, latest_snapshot};
use crate::capture::Renewal;
use crate::error::Result;
use crate::format::archive::key_name;
use crate::format::entry::{Event, SnapshotRef};
use crate::format::manifest::{Counts, Manifest, Status};
use crate::format::paths;
use crate::model::{Atlas, Mode, Object, VaultUri};
use crate::policy::Policy;
use crate::progress::{Progress, Silent, Stop};
use crate::restore::{Applied, Plan};
use crate::seal::{Identities, NoPrompt, Recipients, generate};
use crate::store::{self, Worm};
use crate::tlog::{Signer, Verifier};
use crate::vault::{self, Read as _};
use crate::verify;

pub(crate) const START: i64 = 1_800_000_000;

pub(crate) struct House {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ambient: Ambient,
    pub(crate) vault: vault::memory::Memory,
    pub(crate) store: store::memory::Memory,
    pub(crate) signer: Signer,
    pub(crate) verifiers: Vec<Verifier>,
    pub(crate) recipients: Arc<Recipients>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) stop: Stop,
    pub(crate) order: Order,
}

pub(crate) fn object(text: &str) -> Object {
    Object::parse(text).unwrap()
}

pub(crate) fn order() -> Order {
    Order {
        policy: Arc::new(Policy::built_in("default").unwrap()),
        renewal: Renewal {
            recapture_every: TimeDelta::days(30),
            protection_min: TimeDelta::days(90),
            protected: true,
            full_every: TimeDelta::days(7),
        },
        effort: Effort::Usual,
        in_flight: 1,
        ahead: AHEAD,
        worm: Demand::Required,
        rhythm: Rhythm::default(),
    }
}

impl House {
    /// A vault with these objects, made a minute ago, and an archive in a store with a locked version-level policy.
    pub(crate) async fn new(objects: &[&str]) -> House {
        let clock = clock();
        let store = store::memory::Memory::protected(clock.clone(), Worm::VersionLevel, Mode::Locked, 365);
        House::with(objects, clock, store).await
    }

    pub(crate) async fn with(objects: &[&str], clock: Arc<ManualClock>, store: store::memory::Memory) -> House {
        let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(7)));
        let vault = vault::memory::Memory::new(VaultUri::parse("https://prod.vault.azure.net").unwrap(), clock.clone());
        objects.iter().for_each(|text| drop(vault.put(&object(text))));
        clock.advance(Duration::from_secs(60));
        let (archive, _) = super::init::create_archive(&store, Demand::Optional, &ambient).await.unwrap();
        let signer = Signer::from_seed(&key_name(archive.archive_id), &[7; 32]).unwrap();
        let identity = generate(DateTime::UNIX_EPOCH);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("identity");
        std::fs::write(&file, identity.file.as_bytes()).unwrap();
        House {
            verifiers: vec![signer.verifier()],
            recipients: Arc::new(Recipients::parse(&[&identity.recipient]).unwrap()),
            identities: Arc::new(Identities::from_files(&[file], Arc::new(NoPrompt)).unwrap()),
            stop: Stop::new(),
            order: order(),
            clock,
            ambient,
            vault,
            store,
            signer,
        }
    }

    pub(crate) async fn reader(&self) -> Reader<'_> {
        Reader::open(&self.store, &self.verifiers).await.unwrap()
    }

    /// A snapshot, taken a minute after whatever came before.
    pub(crate) async fn snapshot(&self) -> Result<Report> {
        self.snapshot_into(&self.store).await
    }

    pub(crate) async fn snapshot_into(&self, store: &dyn store::Append) -> Result<Report> {
        self.snapshot_with(&self.vault, store).await
    }

    pub(crate) async fn snapshot_with(&self, vault: &dyn vault::Read, store: &dyn store::Append) -> Result<Report> {
        self.snapshot_heard(vault, store, &Silent).await
    }

    pub(crate) async fn snapshot_heard(
        &self,
        vault: &dyn vault::Read,
        store: &dyn store::Append,
        progress: &dyn Progress,
    ) -> Result<Report> {
        self.clock.advance(Duration::from_secs(60));
        let doors = Doors {
            vault,
            facts: None,
            store,
            reader: &self.reader().await,
            recipients: &self.recipients,
            signer: &self.signer,
            ambient: &self.ambient,
            progress,
            stop: &self.stop,
        };
        snapshot(&doors, &self.order).await
    }

    /// Commits the newest snapshot's manifest once more, changed: a snapshot of another making. Its counts, status and
    /// start are made right.
    pub(crate) async fn commit(&self, change: impl FnOnce(&mut Manifest)) -> u64 {
        self.clock.advance(Duration::from_secs(60));
        let (reader, vault) = (self.reader().await, self.vault.uri());
        let head = reader.head(vault).await.unwrap().unwrap();
        let mut manifest = reader.manifest(latest_snapshot(&head).unwrap()).await.unwrap();
        manifest.header.started = self.ambient.now();
        change(&mut manifest);
        let Manifest { header, lines } = &mut manifest;
        lines.sort_by(|a, b| a.order().cmp(&b.order()));
        header.counts = Counts::of(lines.iter());
        header.status = if header.counts.gaps > 0 { Status::Partial } else { Status::Complete };
        let encoded = manifest.encode().unwrap();
        let path = paths::manifest(vault, head.entry().sequence + 1, encoded.sha256).unwrap();
        let snapshot = SnapshotRef::of(&manifest.header, &encoded, path.clone());
        let created = store::Append::create(&self.store, &path, encoded.bytes.into()).await.unwrap();
        let snapshot = SnapshotRef { version: created.version, ..snapshot };
        let appender = Appender::new(&self.store, &reader, &self.signer, vault, &self.ambient);
        let event = |sequence| Ok(Event::Snapshot(SnapshotRef { sequence, ..snapshot.clone() }));
        appender.commit(|_, sequence| event(sequence)).await.unwrap()
    }

    pub(crate) async fn verify(&self) -> verify::Report {
        verify::verify(&self.store, &self.standard()).await.unwrap()
    }

    pub(crate) fn standard(&self) -> verify::Standard {
        verify::Standard {
            vaults: Vec::new(),
            verifiers: self.verifiers.clone(),
            worm: self.order.worm == Demand::Required,
            protection_min: self.order.renewal.protection_min,
            protection_min_of: Default::default(),
            max_age: None,
            now: self.ambient.now(),
        }
    }

    pub(crate) async fn plan(&self, objects: &[&str]) -> Result<Plan> {
        let objects: Vec<Object> = objects.iter().map(|text| object(text)).collect();
        self.plan_with(&Request::of(&objects)).await
    }

    pub(crate) async fn plan_with(&self, request: &Request) -> Result<Plan> {
        let reader = self.reader().await;
        let eyes = self.eyes(Some(&reader));
        make_plan(&eyes, request).await
    }

    pub(crate) fn eyes<'a>(&'a self, reader: Option<&'a Reader<'a>>) -> Eyes<'a> {
        Eyes {
            reader,
            identities: &self.identities,
            source: self.vault.uri().clone(),
            target: &self.vault,
            facts: None,
            others: &[],
            atlas: Atlas::default(),
            ambient: &self.ambient,
            progress: &Silent,
        }
    }

    pub(crate) async fn apply(&self, plan: &Plan) -> Result<Applied> {
        self.apply_through(&self.store, plan).await
    }

    pub(crate) async fn apply_through(&self, store: &dyn store::Append, plan: &Plan) -> Result<Applied> {
        let reader = Reader::open(store, &self.verifiers).await?;
        apply(&self.hands(store, &reader), plan).await
    }

    /// What `tester` carries out a plan with.
    pub(crate) fn hands<'a>(&'a self, store: &'a dyn store::Append, reader: &'a Reader<'a>) -> Hands<'a> {
        Hands {
            logbook: Some(Logbook { store, signer: &self.signer }),
            reader: Some(reader),
            identities: &self.identities,
            vault: &self.vault,
            ambient: &self.ambient,
            operator: "tester",
            progress: &Silent,
            stop: &self.stop,
            wait: Duration::from_secs(600),
            in_flight: 1,
        }
    }

    /// Deletes and purges, as an attacker would: the names are free at once.
    pub(crate) fn wipe(&self, objects: &[&str]) {
        for text in objects {
            self.vault.delete(&object(text));
            for part in crate::model::Kind::ALL {
                let part = Object::new(part, object(text).name);
                if part.kind == object(text).kind || object(text).kind == crate::model::Kind::Certificate {
                    self.vault.purge(&part);
                }
            }
        }
    }

    /// Names in the store that contain `part`, in order.
    pub(crate) async fn files(&self, part: &str) -> Vec<String> {
        use futures::TryStreamExt;
        use store::Read;
        let all: Vec<store::Listed> = self.store.list("").try_collect().await.unwrap();
        all.into_iter()
            .filter_map(|listed| listed.path.ok().map(String::from))
            .filter(|path| path.contains(part))
            .collect()
    }
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(DateTime::from_timestamp(START, 0).unwrap()))
}
