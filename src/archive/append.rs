//! Appending to an archive: files first, then one log entry that names them. Creating `log/<n>` if absent is both the
//! lock and the commit.
//!
//! If we die after a capture or a manifest was created, they are orphans that nobody refers to. If we die after the log
//! entry was created, it is committed. There is no other state.

use bytes::Bytes;

use super::read::Reader;
use crate::ambient::Ambient;
use crate::error::{Error, Kind, Result};
use crate::format::entry::{Entry, Event, LogFile};
use crate::format::paths;
use crate::model::{StorePath, VaultUri};
use crate::store::{self, Condition, Created};
use crate::tlog::Signer;

/// Lost races that are rebased before giving up; each means that somebody else's entry went in between.
pub const REBASES: u32 = 32;

/// An archive, opened for appending to one vault's log.
pub struct Appender<'a> {
    store: &'a dyn store::Append,
    reader: &'a Reader<'a>,
    signer: &'a Signer,
    vault: &'a VaultUri,
    ambient: &'a Ambient,
}

impl<'a> Appender<'a> {
    /// An appender to the log of `vault`.
    pub fn new(
        store: &'a dyn store::Append,
        reader: &'a Reader<'a>,
        signer: &'a Signer,
        vault: &'a VaultUri,
        ambient: &'a Ambient,
    ) -> Self {
        Appender { store, reader, signer, vault, ambient }
    }

    /// Creates a file that a later entry will name.
    pub async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, store::Error> {
        self.store.create(path, bytes).await
    }

    /// Appends an entry and returns its sequence number. `event` is asked again, with the new head and number, each time
    /// another writer was faster; its error ends the attempt, which is how a caller refuses what newer entries forbid.
    pub async fn commit(&self, mut event: impl FnMut(Option<&LogFile>, u64) -> Result<Event>) -> Result<u64> {
        for _ in 0..REBASES {
            let head = self.reader.head(self.vault).await?;
            let event = event(head.as_ref(), following(head.as_ref()))?;
            if let Some(sequence) = self.try_commit(head.as_ref(), event).await? {
                return Ok(sequence);
            }
        }
        Err(self.overtaken())
    }

    /// Appends an entry only if the log's head is still `head`, by which the caller judged, and returns its sequence
    /// number; `None` if another writer was faster.
    pub async fn try_commit(&self, head: Option<&LogFile>, event: Event) -> Result<Option<u64>> {
        let now = self.ambient.now();
        let entry = match head {
            Some(head) => head.successor(now, event)?,
            None => Entry::first(self.reader.archive().archive_id, self.vault, now, event),
        };
        let sequence = entry.sequence;
        let file = LogFile::build(entry, self.signer)?;
        let path = paths::log(self.vault, sequence)?;
        match self.store.create(&path, Bytes::from(file.bytes())).await {
            Ok(_) => Ok(Some(sequence)),
            Err(error) if error.condition == Condition::Exists => Ok(None),
            Err(error) => Err(Error::from(error).context(format!("couldn't commit {path}"))),
        }
    }

    /// The error of a caller that was overtaken [`REBASES`] times.
    pub fn overtaken(&self) -> Error {
        let vault = self.vault.host();
        let message =
            format!("couldn't commit to the log of {vault}: other writers were faster {REBASES} times in a row");
        Error::new(Kind::Conflict, message).hint("run again; see that not every job starts at the same moment")
    }
}

/// The number of the entry after `head`.
fn following(head: Option<&LogFile>) -> u64 {
    head.map_or(0, |head| head.entry().sequence) + 1
}

/// MD5 as Azure lists it: for comparing a listing with what was written, not a defence.
pub(crate) fn md5(bytes: &[u8]) -> [u8; 16] {
    use md5::{Digest as _, Md5};
    Md5::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::format::entry::RestoreResult;
    use crate::jobs::fixture::House;
    use crate::store::{Append, Guard, Listed, Read};
    use crate::vault::Read as _;
    use futures::stream::BoxStream;

    /// A store in which another writer is faster, so many times.
    struct Rival<'a> {
        house: &'a House,
        times: AtomicU32,
    }

    #[async_trait::async_trait]
    impl Read for Rival<'_> {
        fn describe(&self) -> String {
            self.house.store.describe()
        }
        async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
            self.house.store.get(path, version, limit).await
        }
        fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, store::Error>> {
            self.house.store.list(prefix)
        }
        async fn guard(&self) -> Result<Guard, store::Error> {
            self.house.store.guard().await
        }
    }

    #[async_trait::async_trait]
    impl Append for Rival<'_> {
        async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, store::Error> {
            let more = |left: u32| left.checked_sub(1);
            if self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok() {
                commit(self.house, &self.house.store, &self.house.signer).await.unwrap();
            }
            self.house.store.create(path, bytes).await
        }
    }

    fn event(sequence: u64) -> Result<Event> {
        Ok(Event::RestoreResult(RestoreResult { intent: sequence - 1, outcomes: Vec::new() }))
    }

    async fn commit(house: &House, store: &dyn Append, signer: &Signer) -> Result<u64> {
        let reader = house.reader().await;
        let appender = Appender::new(store, &reader, signer, house.vault.uri(), &house.ambient);
        appender.commit(|_, sequence| event(sequence)).await
    }

    async fn house() -> House {
        let house = House::new(&["key/k"]).await;
        house.snapshot().await.unwrap();
        house
    }

    #[tokio::test]
    async fn a_lost_race_is_rebased_on_the_winners_entry() {
        let house = house().await;
        let rival = Rival { house: &house, times: AtomicU32::new(3) };
        assert_eq!(commit(&house, &rival, &house.signer).await.unwrap(), 5);
        let entries = house.reader().await.entries(house.vault.uri()).await.unwrap().verified;
        assert_eq!(entries.len(), 5);
        assert!(entries[1..].iter().all(|entry| entry.latest_snapshot.as_ref().is_some_and(|s| s.sequence == 1)));
        assert_eq!(house.verify().await.findings, [], "the chain is whole");
    }

    #[tokio::test]
    async fn races_without_end_are_given_up_and_leave_a_whole_log() {
        let house = house().await;
        let rival = Rival { house: &house, times: AtomicU32::new(u32::MAX) };
        let error = commit(&house, &rival, &house.signer).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(house.files("/log/").await.len(), 1 + REBASES as usize, "theirs, and none of ours");
        assert_eq!(house.verify().await.findings, []);
    }

    #[tokio::test]
    async fn what_was_judged_by_an_old_head_is_not_committed() {
        let house = house().await;
        let reader = house.reader().await;
        let appender = Appender::new(&house.store, &reader, &house.signer, house.vault.uri(), &house.ambient);
        let old = reader.head(house.vault.uri()).await.unwrap();
        assert_eq!(appender.try_commit(old.as_ref(), event(2).unwrap()).await.unwrap(), Some(2));
        assert_eq!(commit(&house, &house.store, &house.signer).await.unwrap(), 3);
        assert_eq!(appender.try_commit(old.as_ref(), event(2).unwrap()).await.unwrap(), None);
        assert_eq!(house.files("/log/").await.len(), 3);
    }

    #[tokio::test]
    async fn what_newer_entries_forbid_is_refused_by_the_caller() {
        let house = house().await;
        let reader = house.reader().await;
        let appender = Appender::new(&house.store, &reader, &house.signer, house.vault.uri(), &house.ambient);
        let refusal = appender.commit(|head, sequence| {
            assert_eq!((head.unwrap().entry().sequence, sequence), (1, 2));
            Err(Error::new(Kind::Refused, "no"))
        });
        assert_eq!(refusal.await.unwrap_err().kind(), Kind::Refused);
        assert_eq!(house.files("/log/").await.len(), 1);
    }

    #[tokio::test]
    async fn a_head_signed_by_a_key_that_is_not_pinned_is_not_built_upon() {
        let house = house().await;
        let stranger = Signer::from_seed(house.signer.name(), &[8; 32]).unwrap();
        assert_eq!(commit(&house, &house.store, &stranger).await.unwrap(), 2, "nobody stops him from writing");
        let error = commit(&house, &house.store, &house.signer).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Tampered);
        assert!(error.hint_text().is_some_and(|hint| hint.contains("forged")), "{error}");
    }

    #[tokio::test]
    async fn the_oldest_version_is_the_archive_whatever_was_put_over_it() {
        let house = house().await;
        for path in
            [house.files("/log/").await, house.files("/manifests/").await, house.files("archive.json").await].concat()
        {
            house.store.attacker_put(&path, "forged").unwrap();
        }
        assert_eq!(commit(&house, &house.store, &house.signer).await.unwrap(), 2);
        let reader = house.reader().await;
        let head = reader.head(house.vault.uri()).await.unwrap().unwrap();
        let snapshot = crate::archive::latest_snapshot(&head).unwrap();
        assert_eq!(reader.manifest(snapshot).await.unwrap().lines.len(), 1);
    }
}
