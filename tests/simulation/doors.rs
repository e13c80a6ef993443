//! The doors of one process: a vault and a store in memory behind which every request waits for its turn, and may be lost,
//! land without an answer, or land late. Notes for the model what took effect, whatever the process was told.

use std::sync::Arc;
use std::time::Duration;

use akv_archiver::ambient::Clock as _;
use akv_archiver::format::entry::LogFile;
use akv_archiver::format::paths::ArchivePath;
use akv_archiver::model::{Atlas, Kind, Object, StorePath, VaultFacts, VaultUri};
use akv_archiver::store::{self, Append, Created, Guard, Listed, Read as _};
use akv_archiver::vault::{
    Answer, Backup, Condition, Description, Error, Facts, Item, Listing, Page, Read, Setting, Traffic, Write,
};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use serde_json::value::RawValue;

use super::stage::StageClock;
use super::world::World;

/// How requests of a process fare.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Requests to the vault, and to the store, that fail, of a thousand.
    pub(crate) vault: usize,
    pub(crate) store: usize,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Served,
    Lost,
    Landed,
    Late,
}

/// A process: its name, and how it fares.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) world: Arc<World>,
    pub(crate) name: String,
    pub(crate) weather: Weather,
    /// The intent of somebody else that it finishes: the log's host and the number.
    pub(crate) resumes: Option<(String, u64)>,
}

impl Process {
    pub(super) fn fate(&self, rate: usize, changes: bool) -> Fate {
        let fate = self.world.stage.chance(|chance| match chance.per_mille(rate) {
            false => Fate::Served,
            true if changes => chance.weighed(&[(2, Fate::Lost), (2, Fate::Landed), (1, Fate::Late)]),
            true => Fate::Lost,
        });
        match fate {
            Fate::Served => {}
            Fate::Lost => self.world.count("requests lost"),
            Fate::Landed => self.world.count("requests landed without an answer"),
            Fate::Late => self.world.count("requests landed late"),
        }
        if fate != Fate::Served {
            self.world.fault(&self.name);
        }
        fate
    }

    /// When something comes late: any time within half a minute, after which nothing does.
    pub(super) fn lateness(&self) -> Duration {
        Duration::from_millis(self.world.stage.chance(|chance| chance.between(1, 25_000)) as u64)
    }

    pub(crate) fn vault(&self, number: usize) -> VaultDoor {
        VaultDoor { process: self.clone(), number }
    }

    pub(crate) fn store(&self) -> StoreDoor {
        StoreDoor { process: self.clone() }
    }
}

/// A vault as a process sees it.
pub(crate) struct VaultDoor {
    process: Process,
    number: usize,
}

/// A request that changes a vault.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Restore(Kind, Vec<u8>),
    Recover(Object),
    Purge(Object),
}

impl VaultDoor {
    fn error(&self, what: &str, changes: bool) -> Error {
        let condition = self.process.world.stage.chance(|chance| {
            let often = [(4, Condition::Unavailable), (2, Condition::Throttled), (2, Condition::Malformed)];
            match changes {
                true => chance.weighed(&often),
                false => chance.weighed(&[&often[..], &[(1, Condition::Denied), (1, Condition::Firewall)]].concat()),
            }
        });
        Error::new(condition, format!("{what} was not answered"))
    }

    /// Something that is only asked.
    async fn ask<T>(&self, what: String, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.process.world.stage.turn(what.clone()).await;
        match self.process.fate(self.process.weather.vault, false) {
            Fate::Served => answer.await,
            _ => Err(self.error(&what, false)),
        }
    }

    /// Something that changes the vault.
    async fn change(&self, what: String, change: Change) -> Result<Option<Answer>, Error> {
        let Process { world, name, resumes, .. } = &self.process;
        world.stage.turn(what.clone()).await;
        let fate = self.process.fate(self.process.weather.vault, true);
        if fate == Fate::Late {
            let (world, name, resumes, number) = (world.clone(), name.clone(), resumes.clone(), self.number);
            let later = Box::new(move || drop(world.change(number, &name, resumes.as_ref(), &change)));
            self.process.world.stage.later(self.process.lateness(), later);
            return Err(self.error(&what, true));
        }
        let effect = (fate != Fate::Lost).then(|| world.change(self.number, name, resumes.as_ref(), &change));
        match (fate, effect) {
            (Fate::Served, Some(answer)) => answer,
            _ => Err(self.error(&what, true)),
        }
    }

    /// One page of a list: what stands behind the cursor now. Lists are no snapshots.
    async fn page(&self, what: &Listing, after: Option<String>) -> Result<(Page, Option<Option<String>>), Error> {
        let vault = &self.process.world.vaults[self.number];
        let shown = match what {
            Listing::Live(kind) => format!("lists live {}", kind.plural()),
            Listing::Deleted(kind) => format!("lists deleted {}", kind.plural()),
            Listing::Versions(object) => format!("lists the versions of {object}"),
            Listing::Issuers => "lists issuers".to_owned(),
        };
        let all = async {
            let pages: Vec<Result<Page, Error>> = vault.memory.list(what.clone()).collect().await;
            pages.into_iter().collect::<Result<Vec<Page>, Error>>()
        };
        let pages = self.ask(shown, all).await?;
        let exchange = pages.first().map(|page| page.exchange.clone()).unwrap_or_default();
        let mut items: Vec<(String, Box<RawValue>)> =
            pages.into_iter().flat_map(|page| page.items).map(|item| (id_of(&item), item)).collect();
        if matches!(what, Listing::Versions(_) | Listing::Issuers) {
            let items = items.into_iter().map(|(_, item)| item).collect();
            return Ok((Page { items, exchange }, None));
        }
        items.sort_by(|a, b| a.0.cmp(&b.0));
        items.retain(|(id, _)| after.as_ref().is_none_or(|after| id > after));
        let size = self.process.world.stage.chance(|chance| if chance.one_in(4) { 0 } else { 1 + chance.below(4) });
        let more = items.len() > size || size == 0 && self.process.world.stage.chance(|chance| chance.one_in(2));
        items.truncate(size);
        let cursor = items.last().map(|(id, _)| id.clone()).or(after);
        let items = items.into_iter().map(|(_, item)| item).collect();
        Ok((Page { items, exchange }, more.then_some(cursor)))
    }
}

fn id_of(item: &RawValue) -> String {
    let item: serde_json::Value = serde_json::from_str(item.get()).unwrap();
    item.get("kid").or_else(|| item.get("id")).and_then(|id| id.as_str()).unwrap_or_default().to_owned()
}

#[async_trait]
impl Read for VaultDoor {
    fn uri(&self) -> &VaultUri {
        self.process.world.vaults[self.number].memory.uri()
    }

    fn list(&self, what: Listing) -> BoxStream<'_, Result<Page, Error>> {
        stream::unfold(Some(None), move |cursor: Option<Option<String>>| {
            let what = what.clone();
            async move {
                match self.page(&what, cursor?).await {
                    Ok((page, next)) => Some((Ok(page), next)),
                    Err(error) => Some((Err(error), None)),
                }
            }
        })
        .boxed()
    }

    async fn get(&self, what: Item) -> Result<Answer, Error> {
        let memory = &self.process.world.vaults[self.number].memory;
        self.ask(format!("gets {what:?}"), memory.get(what.clone())).await
    }

    async fn backup(&self, object: &Object) -> Result<Backup, Error> {
        let memory = &self.process.world.vaults[self.number].memory;
        self.ask(format!("backs up {object}"), memory.backup(object)).await
    }

    fn traffic(&self) -> Traffic {
        self.process.world.vaults[self.number].memory.traffic()
    }
}

#[async_trait]
impl Write for VaultDoor {
    async fn restore(&self, kind: Kind, blob: &[u8]) -> Result<Answer, Error> {
        let answer = self.change(format!("restores a {kind}"), Change::Restore(kind, blob.to_vec())).await?;
        answer.ok_or_else(|| Error::new(Condition::Malformed, "no answer"))
    }

    async fn recover(&self, object: &Object) -> Result<(), Error> {
        self.change(format!("recovers {object}"), Change::Recover(object.clone())).await.map(drop)
    }

    async fn purge(&self, object: &Object) -> Result<(), Error> {
        self.change(format!("purges {object}"), Change::Purge(object.clone())).await.map(drop)
    }

    async fn write(&self, setting: Setting<'_>) -> Result<(), Error> {
        let memory = &self.process.world.vaults[self.number].memory;
        self.ask("writes a setting".to_owned(), memory.write(setting)).await
    }
}

/// The management plane as a process sees it: of all vaults.
pub(crate) struct FactsDoor(pub(crate) Process);

#[async_trait]
impl Facts for FactsDoor {
    async fn facts(&self, vault: &VaultUri) -> Result<VaultFacts, Error> {
        let number = self.0.world.number(vault);
        let door = self.0.vault(number);
        door.ask(format!("asks where {} is", vault.name()), self.0.world.vaults[number].memory.facts(vault)).await
    }

    async fn describe(&self, vault: &VaultUri) -> Description {
        let number = self.0.world.number(vault);
        let door = self.0.vault(number);
        match door.ask(format!("asks what {} is", vault.name()), async { Ok(()) }).await {
            Ok(()) => self.0.world.vaults[number].memory.describe(vault).await,
            Err(error) => Description {
                facts: Err(error.clone()),
                resource: Err(error.clone()),
                role_assignments: Err(error.clone()),
                diagnostic_settings: Err(error),
            },
        }
    }

    async fn atlas(&self, _: &str) -> Atlas {
        Atlas::default()
    }
}

/// The store as a process sees it.
pub(crate) struct StoreDoor {
    pub(super) process: Process,
}

/// A path without what differs between two runs of a seed.
pub(super) fn shown(path: &StorePath) -> String {
    match ArchivePath::parse(path) {
        Some(ArchivePath::Manifest { vault, sequence, .. }) => format!("the manifest {sequence} of {}", vault.name()),
        Some(ArchivePath::Log { vault, sequence }) => format!("the entry {sequence} of {}", vault.name()),
        Some(ArchivePath::Capture { vault, object, captured_at, .. }) => {
            format!("{object} of {} at {}", vault.name(), captured_at.format("%T"))
        }
        _ => path.to_string(),
    }
}

impl StoreDoor {
    pub(super) fn error(&self, what: &str) -> store::Error {
        let condition =
            self.process.world.stage.chance(|chance| {
                chance.weighed(&[(6, store::Condition::Unavailable), (1, store::Condition::Malformed)])
            });
        store::Error::new(condition, format!("{what} was not answered"))
    }

    pub(super) async fn ask<T>(
        &self,
        what: String,
        answer: impl Future<Output = Result<T, store::Error>>,
    ) -> Result<T, store::Error> {
        self.process.world.stage.turn(what.clone()).await;
        match self.process.fate(self.process.weather.store, false) {
            Fate::Served => answer.await,
            _ => Err(self.error(&what)),
        }
    }

    async fn page(&self, prefix: &str, after: Option<String>) -> Result<(Vec<Listed>, Option<String>), store::Error> {
        let shortened = match prefix.len() > 60 {
            true => StorePath::parse(prefix).map_or_else(|| prefix.to_owned(), |path| shown(&path)),
            false => prefix.to_owned(),
        };
        let name = |listed: &Listed| listed.path.as_ref().map_or_else(Clone::clone, ToString::to_string);
        let all = async {
            let all: Vec<Result<Listed, store::Error>> = self.process.world.store.list(prefix).collect().await;
            all.into_iter().collect::<Result<Vec<Listed>, _>>()
        };
        let mut files = self.ask(format!("lists {shortened}"), all).await?;
        files.retain(|listed| after.as_ref().is_none_or(|after| name(listed) > *after));
        let size = self.process.world.stage.chance(|chance| chance.between(3, 40)) as usize;
        let more = files.len() > size;
        files.truncate(size);
        let cursor = files.last().map(name).filter(|_| more);
        Ok((files, cursor))
    }
}

#[async_trait]
impl store::Read for StoreDoor {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
        let store = &self.process.world.store;
        self.ask(format!("reads {}", shown(path)), store.get(path, version, limit)).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, store::Error>> {
        stream::unfold(Some(None), move |cursor: Option<Option<String>>| async move {
            match self.page(prefix, cursor?).await {
                Ok((files, next)) => Some((files.into_iter().map(Ok).collect(), next.map(Some))),
                Err(error) => Some((vec![Err(error)], None)),
            }
        })
        .map(stream::iter)
        .flatten()
        .boxed()
    }

    async fn guard(&self) -> Result<Guard, store::Error> {
        self.ask("asks how the store is protected".to_owned(), self.process.world.store.guard()).await
    }
}

#[async_trait]
impl Append for StoreDoor {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, store::Error> {
        let Process { world, name, .. } = &self.process;
        let what = format!("creates {}", shown(path));
        world.stage.turn(what.clone()).await;
        let fate = self.process.fate(self.process.weather.store, true);
        if fate == Fate::Late {
            let (world, name, path) = (world.clone(), name.clone(), path.clone());
            let later = Box::new(move || drop(world.create(&name, &path, bytes)));
            self.process.world.stage.later(self.process.lateness(), later);
            return Err(self.error(&what));
        }
        let effect = (fate != Fate::Lost).then(|| world.create(name, path, bytes));
        match (fate, effect) {
            (Fate::Served, Some(answer)) => {
                if matches!(&answer, Err(error) if error.condition == store::Condition::Exists) {
                    world.stage.tell(format_args!("{name}: it exists already"));
                    let log = matches!(ArchivePath::parse(path), Some(ArchivePath::Log { .. }));
                    world.count(if log { "races for a log entry lost" } else { "races for a file lost" });
                }
                answer
            }
            _ => Err(self.error(&what)),
        }
    }
}

/// A file that was created.
pub(crate) struct Creation {
    pub(crate) process: String,
    pub(crate) path: StorePath,
    pub(crate) bytes: Bytes,
    pub(crate) step: u64,
    pub(crate) at: DateTime<Utc>,
}

impl World {
    /// Creates a file, and notes it.
    fn create(&self, process: &str, path: &StorePath, bytes: Bytes) -> Result<Created, store::Error> {
        let created = self.store.create(path, bytes.clone()).now_or_never().unwrap()?;
        let at = StageClock(self.stage.clone()).now();
        let creation = Creation { process: process.to_owned(), path: path.clone(), bytes, step: self.stage.step(), at };
        self.note(|notes| notes.created.push(creation));
        Ok(created)
    }
}

impl Creation {
    /// The log entry that it is.
    pub(crate) fn entry(&self) -> Option<(VaultUri, u64, LogFile)> {
        let ArchivePath::Log { vault, sequence } = ArchivePath::parse(&self.path)? else { return None };
        Some((vault, sequence, LogFile::parse(&self.bytes).unwrap()))
    }
}
