//! A store in memory, for tests and simulations: stricter than a real one, with versions and protection as a blob
//! container has them, and with an adversary. Never a place for an archive.
//!
//! [`Append`] is the archiver's way in. [`Memory::attacker_put`] and [`Memory::attacker_remove`] are what someone with
//! the account's write and delete permissions can do, and are refused where the protection refuses them.
//! [`Memory::corrupt`] and [`Memory::lose`] are what no protection prevents: a failing disk, a lying provider.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{BoxStream, StreamExt as _};
use md5::{Digest as _, Md5};

use super::{
    Append, Condition, Created, Error, Guard, Listed, Period, Protect, Protection, Reach, Read, Whole, Worm,
    check_until,
};
use crate::ambient::Clock;
use crate::model::{HoldTag, Mode, StorePath};

/// A store in memory.
#[derive(Debug)]
pub struct Memory {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    guard: Guard,
    /// Tags of the legal holds on the whole.
    tags: BTreeSet<String>,
    /// How often the locked policy of the whole was made longer.
    extensions: u32,
    /// How often the policy of the whole was changed.
    stamp: u64,
    /// Versions by name, the oldest first. Names are plain text, since an adversary is not bound to [`StorePath`].
    files: BTreeMap<String, Vec<Version>>,
    created: u64,
}

struct Version {
    id: Option<String>,
    current: bool,
    bytes: Bytes,
    created: DateTime<Utc>,
    protection: Protection,
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({:?}, {} bytes)", self.id, self.bytes.len())
    }
}

impl Memory {
    /// An empty store without versions or protection.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let guard = Guard { worm: Worm::None, lock: Some(Mode::None), days: None, legal_hold: false };
        let (tags, files) = (BTreeSet::new(), BTreeMap::new());
        Memory { clock, state: Mutex::new(State { guard, tags, extensions: 0, stamp: 0, files, created: 0 }) }
    }

    /// An empty store whose default policy protects each file for `days` from its creation.
    pub fn protected(clock: Arc<dyn Clock>, worm: Worm, mode: Mode, days: u32) -> Self {
        let store = Memory::new(clock);
        store.set_guard(Guard { worm, lock: Some(mode), days: Some(days), legal_hold: false });
        store
    }

    /// Changes the default policy. Versions that have a policy of their own keep it; a policy on the whole is every file's.
    pub fn set_guard(&self, guard: Guard) {
        let mut state = self.state();
        state.guard = guard;
        state.stamp += 1;
    }

    /// Puts bytes under a name without any condition, as a client does that omits `If-None-Match`: refused by a policy
    /// on the container, a new version on top where each version has its own, a replacement otherwise.
    pub fn attacker_put(&self, name: &str, bytes: impl Into<Bytes>) -> Result<Created, Error> {
        let now = self.clock.now();
        let mut state = self.state();
        let taken = state.files.contains_key(name);
        match state.guard.worm {
            Worm::ContainerLevel if taken => return Err(immutable(name)),
            Worm::None => drop(state.files.remove(name)),
            Worm::ContainerLevel | Worm::VersionLevel => {}
        }
        Ok(state.add(name, bytes.into(), now))
    }

    /// Deletes a name: refused while its current version is protected. Where there are versions, the bytes stay as a
    /// previous version.
    pub fn attacker_remove(&self, name: &str) -> Result<(), Error> {
        let now = self.clock.now();
        let mut state = self.state();
        let versioned = state.guard.worm == Worm::VersionLevel;
        let guard = state.guard.clone();
        let versions = state.files.get_mut(name).ok_or_else(|| missing(name))?;
        let current = versions.iter_mut().find(|version| version.current).ok_or_else(|| missing(name))?;
        let protection = guard.covers(&listed(name, current));
        if protection.legal_hold || protection.until.is_some_and(|until| until > now) {
            return Err(immutable(name));
        }
        current.current = false;
        if !versioned {
            state.files.remove(name);
        }
        Ok(())
    }

    /// Replaces the bytes of every version of a name where they lie. Whether there was one.
    pub fn corrupt(&self, name: &str, bytes: impl Into<Bytes>) -> bool {
        let bytes = bytes.into();
        let mut state = self.state();
        let versions = state.files.get_mut(name);
        versions.map(|versions| versions.iter_mut().for_each(|version| version.bytes = bytes.clone())).is_some()
    }

    /// Loses a name with all its versions. Whether there was one.
    pub fn lose(&self, name: &str) -> bool {
        self.state().files.remove(name).is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, name: &str, bytes: Bytes, now: DateTime<Utc>) -> Created {
        self.created += 1;
        // The form of `x-ms-version-id`; the fraction tells versions of one moment apart.
        let id = format!("{}.{:07}Z", now.format("%Y-%m-%dT%H:%M:%S"), self.created);
        let id = (self.guard.worm == Worm::VersionLevel).then_some(id);
        let until = self.guard.days.and_then(|days| now.checked_add_signed(TimeDelta::days(days.into())));
        let mode = self.guard.lock.unwrap_or_default();
        // As in Azure, a listing shows nothing of a policy or a hold that is the whole store's.
        let protection = match self.guard.worm {
            Worm::VersionLevel => Protection { mode, until, legal_hold: false },
            Worm::ContainerLevel | Worm::None => Protection::default(),
        };
        let versions = self.files.entry(name.to_owned()).or_default();
        versions.iter_mut().for_each(|version| version.current = false);
        versions.push(Version { id: id.clone(), current: true, bytes, created: now, protection });
        Created { version: id }
    }

    /// A version that can have protection of its own.
    fn own_mut(&mut self, path: &StorePath, id: Option<&str>) -> Result<&mut Version, Error> {
        if self.guard.worm != Worm::VersionLevel {
            return Err(Error::new(Condition::Refused, "versions in memory have no protection of their own"));
        }
        let versions = self.files.get_mut(path.as_str()).ok_or_else(|| missing(path.as_str()))?;
        let meant = |version: &&mut Version| id.map_or(version.current, |id| version.id.as_deref() == Some(id));
        versions.iter_mut().find(meant).ok_or_else(|| missing(path.as_str()))
    }
}

#[async_trait]
impl Read for Memory {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, Error> {
        let state = self.state();
        let versions = state.files.get(path.as_str()).ok_or_else(|| missing(path.as_str()))?;
        let found = match version {
            None => versions.iter().find(|version| version.current).ok_or_else(|| missing(path.as_str()))?,
            Some(id) => versions
                .iter()
                .find(|version| version.id.as_deref() == Some(id))
                .ok_or_else(|| Error::new(Condition::NotFound, format!("{path} has no version {id:?} in memory")))?,
        };
        if found.bytes.len() as u64 > limit {
            return Err(Error::new(Condition::TooLarge, format!("{path} is larger than {limit} bytes")));
        }
        Ok(found.bytes.clone())
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, Error>> {
        let items = futures::stream::once(async move {
            let state = self.state();
            let files = state.files.iter().filter(|(name, _)| name.starts_with(prefix));
            let items: Vec<Listed> =
                files.flat_map(|(name, versions)| versions.iter().map(|version| listed(name, version))).collect();
            futures::stream::iter(items.into_iter().map(Ok))
        });
        items.flatten().boxed()
    }

    async fn guard(&self) -> Result<Guard, Error> {
        Ok(self.state().guard.clone())
    }
}

#[async_trait]
impl Append for Memory {
    /// Refuses an empty file, which Azure takes and which is never right: nothing that the archiver writes is empty.
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, Error> {
        if bytes.is_empty() {
            return Err(Error::new(Condition::Malformed, format!("{path} would be empty")));
        }
        let now = self.clock.now();
        let mut state = self.state();
        // A deleted name is free again, though its previous versions stay.
        if state.files.get(path.as_str()).is_some_and(|versions| versions.iter().any(|version| version.current)) {
            return Err(Error::new(Condition::Exists, format!("{path} exists already")));
        }
        Ok(state.add(path.as_str(), bytes, now))
    }
}

impl State {
    fn whole(&self) -> Result<Whole, Error> {
        if self.guard.worm == Worm::VersionLevel {
            return Err(Error::new(Condition::Refused, "versions in memory are protected one by one"));
        }
        let mode = self.guard.lock.filter(|mode| *mode != Mode::None && self.guard.worm == Worm::ContainerLevel);
        let period = mode.zip(self.guard.days).map(|(mode, days)| Period {
            days,
            locked: mode == Mode::Locked,
            extensions: Some(self.extensions),
        });
        Ok(Whole { period, tags: self.tags.clone(), stamp: self.stamp.to_string() })
    }

    /// Changes the policy of the whole from the one that was seen.
    fn set_whole(&mut self, seen: &Whole, days: u32, lock: bool) -> Result<Whole, Error> {
        let now = self.whole()?;
        let none = || Error::new(Condition::Refused, "memory has no policy");
        let before = now.period.ok_or_else(none)?;
        let after = before.extended(days, lock)?;
        if after == before {
            return Ok(now);
        }
        if now.stamp != seen.stamp {
            return Err(Error::new(Condition::Changed, "the policy is not the one that was seen"));
        }
        (self.guard.days, self.guard.lock) = (Some(after.days), Some(after.mode()));
        self.extensions = after.extensions.unwrap_or_default();
        self.stamp += 1;
        self.whole()
    }
}

/// Azure's rules: versions have policies and holds of their own, or the whole has them and no version does; a hold and a
/// policy are independent.
#[async_trait]
impl Protect for Memory {
    async fn reach(&self) -> Result<Reach, Error> {
        let state = self.state();
        match state.guard.worm {
            Worm::VersionLevel => Ok(Reach::Versions),
            Worm::ContainerLevel | Worm::None => state.whole().map(Reach::Whole),
        }
    }

    async fn extend(
        &self,
        path: &StorePath,
        version: Option<&str>,
        until: DateTime<Utc>,
        lock: bool,
    ) -> Result<Protection, Error> {
        check_until(until, self.clock.now())?;
        let mut state = self.state();
        let version = state.own_mut(path, version)?;
        version.protection = version.protection.extended(until, lock);
        Ok(version.protection)
    }

    async fn hold(&self, path: &StorePath, version: Option<&str>, held: bool) -> Result<(), Error> {
        self.state().own_mut(path, version)?.protection.legal_hold = held;
        Ok(())
    }

    async fn extend_whole(&self, seen: &Whole, days: u32) -> Result<Whole, Error> {
        self.state().set_whole(seen, days, false)
    }

    async fn lock_whole(&self, seen: &Whole) -> Result<Whole, Error> {
        self.state().set_whole(seen, 0, true)
    }

    async fn hold_whole(&self, tag: &HoldTag, held: bool) -> Result<Whole, Error> {
        let mut state = self.state();
        state.tags = state.whole()?.tags_with(tag, held)?;
        state.guard.legal_hold = !state.tags.is_empty();
        state.whole()
    }
}

fn listed(name: &str, version: &Version) -> Listed {
    Listed {
        path: StorePath::parse(name).ok_or_else(|| name.to_owned()),
        version: version.id.clone(),
        current: version.current,
        size: version.bytes.len() as u64,
        md5: Some(Md5::digest(&version.bytes).into()),
        created: version.created,
        protection: version.protection,
    }
}

fn missing(name: &str) -> Error {
    Error::new(Condition::NotFound, format!("there is no {name} in memory"))
}

fn immutable(name: &str) -> Error {
    Error::new(Condition::Denied, format!("{name} is immutable due to a policy"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::TryStreamExt as _;

    use super::*;
    use crate::ambient::ManualClock;

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(DateTime::from_timestamp(1_700_000_000, 0).unwrap()))
    }

    fn path(text: &str) -> StorePath {
        StorePath::parse(text).unwrap()
    }

    async fn listing(store: &Memory) -> Vec<Listed> {
        store.list("").try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn under_version_level_an_overwrite_lies_on_top_and_the_oldest_stays() {
        let store = Memory::protected(clock(), Worm::VersionLevel, Mode::Locked, 365);
        let first = store.create(&path("a"), Bytes::from_static(b"true")).await.unwrap();
        store.attacker_put("a", "false").unwrap();
        assert_eq!(store.get(&path("a"), None, 10).await.unwrap(), "false");
        assert_eq!(store.get(&path("a"), first.version.as_deref(), 10).await.unwrap(), "true");
        let found: Vec<_> = listing(&store).await.into_iter().map(|item| (item.version, item.current)).collect();
        assert_eq!((found.len(), &found[0]), (2, &(first.version, false)));
        assert_eq!(store.attacker_remove("a").unwrap_err().condition, Condition::Denied);
    }

    #[tokio::test]
    async fn under_container_level_nothing_changes_until_the_day_comes() {
        let clock = clock();
        let store = Memory::protected(clock.clone(), Worm::ContainerLevel, Mode::Locked, 7);
        store.create(&path("a"), Bytes::from_static(b"true")).await.unwrap();
        clock.advance(Duration::from_secs(7 * 86_400 - 1));
        assert_eq!(store.attacker_put("a", "false").unwrap_err().condition, Condition::Denied);
        assert_eq!(store.attacker_remove("a").unwrap_err().condition, Condition::Denied);
        clock.advance(Duration::from_secs(1));
        // After expiry a blob may be deleted, still not overwritten (azure.md §7.1).
        assert_eq!(store.attacker_put("a", "false").unwrap_err().condition, Condition::Denied);
        store.attacker_remove("a").unwrap();
        assert!(listing(&store).await.is_empty());
    }

    #[tokio::test]
    async fn without_protection_an_attacker_has_it_his_way_and_foreign_names_are_listed() {
        let store = Memory::new(clock());
        store.create(&path("a"), Bytes::from_static(b"true")).await.unwrap();
        store.attacker_put("a", "false").unwrap();
        store.attacker_put("no te", "x").unwrap();
        assert_eq!(store.get(&path("a"), None, 10).await.unwrap(), "false");
        let paths: Vec<_> = listing(&store).await.into_iter().map(|item| item.path.map(String::from)).collect();
        assert_eq!(paths, [Ok("a".to_owned()), Err("no te".to_owned())]);
        store.attacker_remove("a").unwrap();
        assert_eq!(store.get(&path("a"), None, 10).await.unwrap_err().condition, Condition::NotFound);
    }

    #[tokio::test]
    async fn protection_grows_and_a_hold_outlasts_it() {
        let clock = clock();
        let store = Memory::protected(clock.clone(), Worm::VersionLevel, Mode::Locked, 7);
        let version = store.create(&path("a"), Bytes::from_static(b"true")).await.unwrap().version;
        let version = version.as_deref();
        let at = |days: i64| DateTime::from_timestamp(1_700_000_000 + days * 86_400, 0).unwrap();
        assert_eq!(store.extend(&path("a"), version, at(3), false).await.unwrap().until, Some(at(7)), "never shorter");
        let after = store.extend(&path("a"), version, at(9), false).await.unwrap();
        assert_eq!((after.until, after.mode), (Some(at(9)), Mode::Locked));
        assert_eq!(store.extend(&path("a"), version, at(0), true).await.unwrap_err().condition, Condition::Refused);
        store.hold(&path("a"), version, true).await.unwrap();
        clock.advance(Duration::from_secs(9 * 86_400));
        assert_eq!(store.attacker_remove("a").unwrap_err().condition, Condition::Denied);
        assert_eq!(listing(&store).await[0].protection.until, Some(at(9)), "a hold leaves the policy alone");
        store.hold(&path("a"), version, false).await.unwrap();
        store.attacker_remove("a").unwrap();
        let gone = store.hold(&path("b"), version, true).await.unwrap_err();
        assert_eq!(gone.condition, Condition::NotFound);
    }

    #[tokio::test]
    async fn a_longer_period_and_a_hold_of_the_whole_protect_what_is_there_at_once() {
        let clock = clock();
        let store = Memory::protected(clock.clone(), Worm::ContainerLevel, Mode::Locked, 7);
        store.create(&path("a"), Bytes::from_static(b"true")).await.unwrap();
        assert_eq!(listing(&store).await[0].protection, Protection::default(), "no version tells of it");
        let Reach::Whole(seen) = store.reach().await.unwrap() else { panic!() };
        store.extend_whole(&seen, 9).await.unwrap();
        clock.advance(Duration::from_secs(8 * 86_400));
        assert_eq!(store.attacker_remove("a").unwrap_err().condition, Condition::Denied);
        let tag = HoldTag::parse("case7").unwrap();
        store.hold_whole(&tag, true).await.unwrap();
        clock.advance(Duration::from_secs(2 * 86_400));
        assert_eq!(store.attacker_remove("a").unwrap_err().condition, Condition::Denied);
        store.hold_whole(&tag, false).await.unwrap();
        store.attacker_remove("a").unwrap();
    }

    #[tokio::test]
    async fn empty_files_are_refused() {
        let error = Memory::new(clock()).create(&path("a"), Bytes::new()).await.unwrap_err();
        assert_eq!(error.message, "a would be empty");
    }
}
