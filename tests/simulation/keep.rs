//! People who protect an archive for longer, hold on to it and let go, and a thief: the door through which they do it, what
//! they do, and what the model holds them to. Protection only grows, a hold ends only by a release, and the log tells of
//! each before it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use akv_archiver::archive::Reader;
use akv_archiver::error::Result;
use akv_archiver::format::entry::{Class, Protect as Said, ProtectAction, list};
use akv_archiver::format::paths::ArchivePath;
use akv_archiver::jobs::protect::{Hands, Report, Status, Want, carry_out, plan};
use akv_archiver::model::{Digest, HoldTag, Mode, StorePath, VaultUri};
use akv_archiver::progress::{Silent, Stop};
use akv_archiver::store::{self, Condition, Listed, Protect, Protection, Reach, Read as _, Whole};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;

use super::doors::{Fate, Process, StoreDoor, shown};
use super::jobs::Ended;
use super::model::{Model, now_or_never};
use super::world::World;

/// What is done to the protection of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Extend(DateTime<Utc>, bool),
    Hold,
    Release,
}

impl Deed {
    fn action(self) -> ProtectAction {
        match self {
            Deed::Extend(..) => ProtectAction::Extend,
            Deed::Hold => ProtectAction::Hold,
            Deed::Release => ProtectAction::Release,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Deed::Extend(..) => "extended",
            Deed::Hold => "held",
            Deed::Release => "released",
        }
    }
}

/// A change of protection that took effect.
pub(crate) struct Keeping {
    process: String,
    path: StorePath,
    version: Option<String>,
    deed: Deed,
    before: Protection,
    after: Protection,
    step: u64,
}

/// What somebody wants of which vaults.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) want: Want,
    pub(crate) vaults: Vec<VaultUri>,
}

/// What the model knows of protection.
#[derive(Default)]
pub(crate) struct Kept {
    /// Of each file, as the requests that took effect make it.
    files: BTreeMap<StorePath, (Protection, Option<String>)>,
    /// When something was held last, and when it was let go.
    held: BTreeMap<StorePath, u64>,
    released: BTreeMap<StorePath, u64>,
    /// What processes said in logs, and what they did.
    said: BTreeMap<String, Vec<(VaultUri, Said)>>,
    did: BTreeMap<String, BTreeSet<StorePath>>,
    /// When the newest change was made by somebody.
    newest: BTreeMap<String, u64>,
    /// What was begun last.
    pub(crate) last: Option<Wanted>,
}

impl Kept {
    /// Somebody wants something else, or in peace the same once more, if it can still be had.
    pub(crate) fn wants(&mut self, world: &World, other: bool) {
        let now = world.now();
        let same = self.last.take().filter(|last| !other && last.want.until.is_none_or(|until| until > now));
        let held = self.files.values().any(|(protection, _)| protection.legal_hold);
        self.last = Some(same.unwrap_or_else(|| world.wish(held)));
    }
}

impl World {
    /// What is there, with the protection that each file has: its own, or that of all.
    fn files(&self, prefix: &str) -> Vec<Listed> {
        let guard = now_or_never(self.store.guard()).unwrap();
        let all = now_or_never(self.store.list(prefix).map(std::result::Result::unwrap).collect::<Vec<_>>());
        all.into_iter().map(|listed| Listed { protection: guard.covers(&listed), ..listed }).collect()
    }

    fn listed(&self, path: &StorePath) -> Listed {
        self.files(path.as_str()).into_iter().find(|listed| listed.path.as_ref() == Ok(path)).unwrap()
    }

    /// Changes how a file is protected, and notes it.
    fn keep(
        &self,
        process: &str,
        path: &StorePath,
        version: Option<&str>,
        deed: Deed,
    ) -> Result<Protection, store::Error> {
        let before = self.listed(path).protection;
        match deed {
            Deed::Extend(until, lock) => drop(now_or_never(self.store.extend(path, version, until, lock))?),
            Deed::Hold => now_or_never(self.store.hold(path, version, true))?,
            Deed::Release => now_or_never(self.store.hold(path, version, false))?,
        }
        let Listed { protection: after, version, .. } = self.listed(path);
        let (process, path, step) = (process.to_owned(), path.clone(), self.stage.step());
        self.note(|notes| notes.keepings.push(Keeping { process, path, version, deed, before, after, step }));
        Ok(after)
    }

    /// What somebody may want of protection.
    fn wish(&self, held: bool) -> Wanted {
        let (now, uris) = (self.now().timestamp(), self.uris());
        self.stage.chance(|chance| {
            use ProtectAction::{Extend, Hold, Release};
            let action = chance.weighed(&[(3, Extend), (3, Hold), (if held { 6 } else { 1 }, Release)]);
            let until = DateTime::from_timestamp(now + chance.between(1, 500 * 86_400), 0).unwrap();
            let mut classes = Class::ALL.to_vec();
            if chance.one_in(3) {
                chance.shuffle(&mut classes);
                classes.truncate(1 + chance.below(3));
                classes.sort();
            }
            let vaults = match chance.one_in(3) {
                true => chance.pick(&uris).into_iter().cloned().collect(),
                false => uris.clone(),
            };
            let paths = match chance.one_in(6) {
                true => vec![format!("vaults/{}/captures/", uris[0].host())],
                false => Vec::new(),
            };
            let lock = action == Extend && chance.one_in(4);
            let until = (action == Extend).then_some(until);
            let want = Want { action, until, lock, reason: Some("case 7".to_owned()), tag: None, classes, paths };
            Wanted { want, vaults }
        })
    }
}

#[async_trait]
impl Protect for StoreDoor {
    async fn reach(&self) -> Result<Reach, store::Error> {
        let store = &self.process.world.store;
        self.ask("asks what can be protected".to_owned(), store.reach()).await
    }

    async fn extend(
        &self,
        path: &StorePath,
        version: Option<&str>,
        until: DateTime<Utc>,
        lock: bool,
    ) -> Result<Protection, store::Error> {
        self.keep(path, version, Deed::Extend(until, lock)).await
    }

    async fn hold(&self, path: &StorePath, version: Option<&str>, held: bool) -> Result<(), store::Error> {
        self.keep(path, version, if held { Deed::Hold } else { Deed::Release }).await.map(drop)
    }

    // People protect archives where versions are protected one by one; this is refused there.
    async fn extend_whole(&self, seen: &Whole, days: u32) -> Result<Whole, store::Error> {
        self.process.world.store.extend_whole(seen, days).await
    }

    async fn lock_whole(&self, seen: &Whole) -> Result<Whole, store::Error> {
        self.process.world.store.lock_whole(seen).await
    }

    async fn hold_whole(&self, tag: &HoldTag, held: bool) -> Result<Whole, store::Error> {
        self.process.world.store.hold_whole(tag, held).await
    }
}

impl StoreDoor {
    async fn keep(&self, path: &StorePath, version: Option<&str>, deed: Deed) -> Result<Protection, store::Error> {
        let Process { world, name, weather, .. } = &self.process;
        let what = format!("has {} {}", shown(path), deed.word());
        world.stage.turn(what.clone()).await;
        // Few of a run's requests are of this kind; each of them should fail often enough.
        let fate = self.process.fate(weather.store * 4, true);
        if fate == Fate::Late {
            let (world, name, path, version) = (world.clone(), name.clone(), path.clone(), version.map(str::to_owned));
            let later = Box::new(move || drop(world.keep(&name, &path, version.as_deref(), deed)));
            self.process.world.stage.later(self.process.lateness(), later);
            return Err(self.error(&what));
        }
        let effect = (fate != Fate::Lost).then(|| world.keep(name, path, version, deed));
        match (fate, effect) {
            (Fate::Served, Some(answer)) => answer,
            _ => Err(self.error(&what)),
        }
    }
}

/// Looks, shows somebody what would be changed, and changes it.
pub(crate) async fn protect(process: Process, wanted: Wanted, stop: Arc<Stop>) -> Ended {
    let (store, world) = (process.store(), process.world.clone());
    let run = async {
        let reader = Reader::open(&store, &world.verifiers).await?;
        let plan = plan(&store, &reader, &wanted.vaults, wanted.want.clone(), &Silent, world.now()).await?;
        world.stage.turn("reads the list").await;
        let hands = Hands {
            store: &store,
            keeper: &store,
            reader: &reader,
            signer: &world.signer,
            ambient: &world.ambient,
            operator: &process.name,
            progress: &Silent,
            stop: &stop,
        };
        let carried = carry_out(&hands, &plan).await?;
        Ok((wanted.clone(), Report::of(&plan, Some(carried))))
    };
    Ended::Protect(run.await)
}

/// Whether a file is meant; `None` where only manifests can tell.
fn meant(wanted: &Wanted, path: &StorePath) -> Option<bool> {
    let Wanted { want, vaults } = wanted;
    let begins = want.paths.is_empty() || want.paths.iter().any(|prefix| path.as_str().starts_with(prefix));
    let class = |classes: &[Class]| match classes.iter().filter(|class| want.classes.contains(class)).count() {
        0 => Some(false),
        all if all == classes.len() => Some(begins),
        _ => None,
    };
    // What proves the others is protected with them.
    let root = |class: Class| want.action != ProtectAction::Release || want.classes.contains(&class) && begins;
    match ArchivePath::parse(path)? {
        ArchivePath::Archive => Some(root(Class::Archive)),
        ArchivePath::Log { vault, .. } => Some(vaults.contains(&vault) && root(Class::Log)),
        ArchivePath::Manifest { vault, .. } if vaults.contains(&vault) => {
            class(&[Class::Manifests, Class::Unreferenced])
        }
        ArchivePath::Capture { vault, .. } | ArchivePath::Settings { vault, .. } if vaults.contains(&vault) => {
            class(&[Class::Captures, Class::OldCaptures, Class::Unreferenced])
        }
        _ => Some(false),
    }
}

/// The vault that a file is of; none for `archive.json`, which is every vault's.
fn vault_of(path: &StorePath) -> Option<VaultUri> {
    match ArchivePath::parse(path)? {
        ArchivePath::Log { vault, .. }
        | ArchivePath::Manifest { vault, .. }
        | ArchivePath::Capture { vault, .. }
        | ArchivePath::Settings { vault, .. } => Some(vault),
        ArchivePath::Archive => None,
    }
}

fn locked(mode: Mode) -> u8 {
    match mode {
        Mode::None => 0,
        Mode::Unlocked => 1,
        Mode::Locked => 2,
    }
}

impl Model {
    /// A file is protected from its birth.
    pub(crate) fn born(&mut self, world: &World, path: &StorePath) {
        let Listed { protection, version, .. } = world.listed(path);
        self.kept.files.insert(path.clone(), (protection, version));
    }

    /// Somebody says in a log what is about to be done.
    pub(crate) fn said(&mut self, world: &World, process: &str, vault: &VaultUri, said: &Said) {
        world.count("entries: protect");
        if said.operator != process {
            self.wrong.push(format!("{process} says that {} protects something", said.operator));
        }
        self.kept.said.entry(process.to_owned()).or_default().push((vault.clone(), said.clone()));
    }

    /// A change of protection took effect.
    pub(crate) fn keeps(&mut self, world: &World, keeping: Keeping) {
        let Keeping { process, path, version, deed, before, after, step } = keeping;
        world.count(match deed {
            Deed::Extend(..) => "files extended",
            Deed::Hold => "files held",
            Deed::Release => "files released",
        });
        let let_go = before.legal_hold && !after.legal_hold;
        if after.until < before.until || locked(after.mode) < locked(before.mode) || let_go && deed != Deed::Release {
            self.wrong.push(format!("{process} had {path} protected less: {before:?} became {after:?}"));
        }
        if self.kept.files.insert(path.clone(), (after, version)).is_none_or(|(known, _)| known != before) {
            self.wrong.push(format!("the protection of {path} changed, and nobody did it: {before:?}"));
        }
        let of = vault_of(&path);
        let tells = |(vault, said): &(VaultUri, Said)| {
            let how = match deed {
                Deed::Extend(until, lock) => said.until == Some(until) && said.lock == lock,
                Deed::Hold | Deed::Release => said.until.is_none(),
            };
            said.action == deed.action() && how && of.as_ref().is_none_or(|of| of == vault)
        };
        if !self.kept.said.get(&process).is_some_and(|said| said.iter().any(tells)) {
            self.wrong.push(format!("{process} changed how {path} is protected, and no log tells of it: {deed:?}"));
        }
        match deed {
            Deed::Hold => drop(self.kept.held.insert(path.clone(), step)),
            Deed::Release => drop(self.kept.released.insert(path.clone(), step)),
            Deed::Extend(..) => {}
        }
        self.kept.newest.insert(process.clone(), step);
        self.kept.did.entry(process).or_default().insert(path);
    }

    /// How an operator's run ended.
    pub(crate) fn kept(&mut self, world: &World, name: &str, undisturbed: bool, (wanted, report): &(Wanted, Report)) {
        let begun = self.begun(name);
        world.count(match report.status {
            Status::Planned => "protect runs: planned",
            Status::Nothing => "protect runs: nothing to do",
            Status::Done => "protect runs: done",
            Status::Partial => "protect runs: partial",
            Status::Interrupted => "protect runs: interrupted",
        });
        if !matches!(report.status, Status::Done | Status::Nothing) {
            if undisturbed {
                self.wrong.push(format!("{name} met nothing that disturbs, and is {:?}", report.status));
            }
            return;
        }
        let since = |when: &BTreeMap<StorePath, u64>, path: &StorePath| when.get(path).is_some_and(|at| *at > begun);
        let mut left = Vec::new();
        for file in self.files().filter(|file| file.step <= begun || file.process == name) {
            let path = &file.path;
            let own = file.process == name && wanted.want.action != ProtectAction::Release;
            if !own && (file.process == name || meant(wanted, path) != Some(true)) {
                continue;
            }
            let (now, _) = self.kept.files[path];
            let so = match (wanted.want.action, wanted.want.until) {
                (ProtectAction::Extend, until) => now.until >= until && (!wanted.want.lock || now.mode == Mode::Locked),
                (ProtectAction::Hold, _) => now.legal_hold || since(&self.kept.released, path),
                (ProtectAction::Release, _) => !now.legal_hold || since(&self.kept.held, path),
            };
            if !so {
                left.push(format!("{name} says that it is {:?}, and left {path} out: {now:?}", report.status));
            }
        }
        self.wrong.extend(left);
        if report.status == Status::Done {
            self.told_truly(name);
        }
        self.nothing_is_left(world, name, begun, wanted);
    }

    /// What a run said in logs, with the digest of a list, is what it did.
    fn told_truly(&mut self, name: &str) {
        let none = BTreeSet::new();
        let did = self.kept.did.get(name).unwrap_or(&none);
        for (vault, said) in self.kept.said.get(name).into_iter().flatten() {
            let of = |path: &&StorePath| vault_of(path).is_none_or(|of| of == *vault);
            let own = |path: &StorePath| self.process_of(path) == Some(name);
            let ours: Vec<&StorePath> = did.iter().filter(of).filter(|path| !own(path)).collect();
            let list = list(ours.iter().map(|path| (*path, self.kept.files[*path].1.as_deref())));
            if (said.versions, said.sha256) != (ours.len() as u64, Digest::of(list.as_bytes())) {
                let what =
                    format!("{name} says that it changed {} versions, and changed {}", said.versions, ours.len());
                return self.wrong.push(what);
            }
        }
    }

    /// Where nobody else did anything meanwhile, the same command finds nothing to do.
    fn nothing_is_left(&mut self, world: &World, name: &str, begun: u64, wanted: &Wanted) {
        let others = self.kept.newest.iter().any(|(process, step)| process != name && *step > begun);
        let more = self.files().any(|file| file.process != name && file.step > begun);
        if others || more || wanted.want.until.is_some_and(|until| until <= world.now()) {
            return;
        }
        let again = now_or_never(async {
            let reader = Reader::open(&world.store, &world.verifiers).await?;
            plan(&world.store, &reader, &wanted.vaults, wanted.want.clone(), &Silent, world.now()).await
        });
        world.count("second runs of protect with nothing to do");
        match again {
            Ok(again) if again.versions.is_empty() => {}
            Ok(again) => {
                let first = again.versions.first().map(|version| version.path.to_string());
                self.wrong.push(format!("{name} is done, and {} are left: {first:?}", again.versions.len()));
            }
            Err(error) => self.wrong.push(format!("{name} is done, and cannot run again: {error}")),
        }
    }

    /// Somebody with the account's right to delete tries to.
    pub(crate) fn thief(&mut self, world: &World) {
        let now = world.now();
        let running = |it: &Protection| it.until.is_some_and(|until| until > now);
        let all = self.kept.files.iter().map(|(path, (protection, _))| (path, protection));
        let (alone, rest): (Vec<_>, Vec<_>) =
            all.filter(|(_, it)| it.legal_hold || running(it)).partition(|(_, it)| !running(it));
        let held = !alone.is_empty();
        // What nothing but a hold protects is where it becomes interesting.
        let found = world.stage.chance(|chance| chance.pick(if held { &alone } else { &rest }).copied());
        let Some((path, protection)) = found else { return };
        world.count(if held { "thefts refused for a hold alone" } else { "thefts refused" });
        match world.store.attacker_remove(path.as_str()) {
            Err(error) if error.condition == Condition::Denied => {}
            other => self.wrong.push(format!("a thief took {path}, which is {protection:?}: {other:?}")),
        }
    }

    /// All files are protected as those say who changed it, and not less than at their birth.
    pub(crate) fn protection_holds(&self, world: &World) -> Option<String> {
        let listed = world.files("");
        let differs = |item: &&Listed| {
            let path = item.path.as_ref().unwrap();
            let born = item.created + TimeDelta::days(i64::from(world.days));
            let known = self.kept.files.get(path).map(|(protection, _)| *protection);
            known != Some(item.protection) || item.protection.until < Some(born)
        };
        let item = listed.iter().find(differs)?;
        Some(format!("{:?} is protected otherwise than anybody said: {:?}", item.path, item.protection))
    }
}
