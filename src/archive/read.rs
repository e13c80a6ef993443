//! Reading an archive: its identity, the head of a log, entries, manifests, sealed captures.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::StreamExt;

use crate::error::{Context, Error, Kind, Result};
use crate::format::archive::{ARCHIVE_MAX, Archive};
use crate::format::capture::SEALED_MAX;
use crate::format::entry::{Entry, Event, LOG_FILE_MAX, LogFile, SnapshotRef};
use crate::format::manifest::{CaptureRef, Decoder, Header, Limits, Line, Manifest};
use crate::format::paths::{self, ArchivePath};
use crate::model::{Digest, Object, StorePath, VaultUri};
use crate::store::{self, Condition, Listed};
use crate::tlog::Verifier;

/// Log files read at the same time: a log grows by one each night, for years.
const IN_FLIGHT: usize = 8;

/// The most of a log that is held in memory, in bytes of its entries: what restores of a million objects leave. Only
/// whoever has the signer could write more, so that a restore ends without memory on the night that it is needed.
const HELD_MAX: u64 = 512 << 20;

/// An archive, opened for reading.
pub struct Reader<'a> {
    store: &'a dyn store::Read,
    verifiers: &'a [Verifier],
    archive: Archive,
}

/// The numbers of a log's files, each with the version that counts, where the store has versions.
pub type Sequences = BTreeMap<u64, Option<String>>;

/// The entries of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries {
    /// Those whose signature holds, oldest first.
    pub verified: Vec<Entry>,
    /// The sequence numbers of those that do not hold.
    pub damaged: Vec<u64>,
}

/// The newest snapshot up to and including a log file's entry.
pub fn latest_snapshot(file: &LogFile) -> Option<&SnapshotRef> {
    match &file.entry().event {
        Event::Snapshot(snapshot) => Some(snapshot),
        _ => file.entry().latest_snapshot.as_ref(),
    }
}

impl<'a> Reader<'a> {
    /// Opens the archive in `store`; `verifiers` are the pinned keys that may have signed its logs.
    pub async fn open(store: &'a dyn store::Read, verifiers: &'a [Verifier]) -> Result<Reader<'a>> {
        let doing = || format!("couldn't open the archive in {}", store.describe());
        let path = paths::archive()?;
        let Some(listed) = oldest_of(store, &path).await.context(doing())? else {
            return Err(Error::new(Kind::NotFound, format!("{}: there is no {path}", doing()))
                .hint("`akv-archiver init` creates an archive; is this the right container or directory?"));
        };
        let bytes = store.get(&path, listed.version.as_deref(), ARCHIVE_MAX).await.context(doing())?;
        let archive = Archive::decode(&bytes).map_err(|e| at(&path, e)).context(doing())?;
        Ok(Reader { store, verifiers, archive })
    }

    /// What the archive is.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The vaults that have a log.
    pub async fn vaults(&self) -> Result<Vec<VaultUri>> {
        let mut vaults = BTreeSet::new();
        let mut list = self.store.list("vaults/");
        while let Some(listed) = list.next().await {
            if let Ok(Some(ArchivePath::Log { vault, .. })) = listed?.path.map(|path| ArchivePath::parse(&path)) {
                vaults.insert(vault);
            }
        }
        Ok(vaults.into_iter().collect())
    }

    /// The objects of a vault that the store has files of. One listing, of what is not signed: which of them are captures,
    /// manifests alone say.
    pub async fn captured(&self, vault: &VaultUri) -> Result<BTreeSet<Object>> {
        let mut found = BTreeSet::new();
        let prefix = paths::captures_prefix(vault);
        let mut list = self.store.list(&prefix);
        while let Some(listed) = list.next().await {
            let path = listed?.path.map(|path| ArchivePath::parse(&path));
            if let Ok(Some(ArchivePath::Capture { object, .. })) = path {
                found.insert(object);
            }
        }
        Ok(found)
    }

    /// The sequence numbers of a vault's log with the version that counts: the oldest.
    pub async fn sequences(&self, vault: &VaultUri) -> Result<Sequences> {
        let mut found = BTreeMap::new();
        let prefix = paths::log_prefix(vault);
        let mut list = self.store.list(&prefix);
        while let Some(listed) = list.next().await {
            let Listed { path: Ok(path), version, .. } = listed? else { continue };
            if let Some(ArchivePath::Log { sequence, .. }) = ArchivePath::parse(&path) {
                found.entry(sequence).or_insert(version);
            }
        }
        Ok(found)
    }

    /// The head of a vault's log; `None` for a vault that was never archived.
    ///
    /// One list of the log, and one read. A head whose signature, origin or tree does not hold is `Tampered`: nothing
    /// may be appended to it.
    pub async fn head(&self, vault: &VaultUri) -> Result<Option<LogFile>> {
        let sequences = self.sequences(vault).await?;
        let Some((sequence, version)) = sequences.last_key_value() else { return Ok(None) };
        self.log_file(vault, *sequence, version.as_deref()).await.map(Some)
    }

    /// One file of a vault's log; `Tampered` where its signature does not hold or it belongs elsewhere.
    pub async fn log_file(&self, vault: &VaultUri, sequence: u64, version: Option<&str>) -> Result<LogFile> {
        let path = paths::log(vault, sequence)?;
        let bytes = self.store.get(&path, version, LOG_FILE_MAX).await.context("couldn't read the log")?;
        let file = LogFile::parse(&bytes).map_err(|e| at(&path, e))?;
        file.verify(self.verifiers).map_err(|e| {
            at(&path, e).hint(
                "do not go on before somebody has looked: either it was signed with a key that `archive.verifiers` does not \
                 list, or somebody forged it",
            )
        })?;
        let entry = file.entry();
        if entry.sequence != sequence || entry.vault != vault.host() || entry.archive_id != self.archive.archive_id {
            return Err(tampered(&path, "it is the log file of another place, vault or archive"));
        }
        Ok(file)
    }

    /// Every entry of a vault's log whose signature holds, oldest first, and the numbers of those that do not hold.
    pub async fn entries(&self, vault: &VaultUri) -> Result<Entries> {
        self.entries_after(vault, 0).await
    }

    /// The same, of the entries after number `after`: for whoever has read the others.
    ///
    /// # Errors
    /// Beside those of the store: `Refused` where they are more than fit into memory.
    pub async fn entries_after(&self, vault: &VaultUri, after: u64) -> Result<Entries> {
        self.entries_within(vault, after, HELD_MAX).await
    }

    async fn entries_within(&self, vault: &VaultUri, after: u64, limit: u64) -> Result<Entries> {
        let newer = self.sequences(vault).await?.split_off(&after.saturating_add(1));
        let files =
            futures::stream::iter(newer)
                .map(|(sequence, version)| async move {
                    (sequence, self.log_file(vault, sequence, version.as_deref()).await)
                })
                .buffered(IN_FLIGHT);
        let mut files = std::pin::pin!(files);
        let mut entries = Entries { verified: Vec::new(), damaged: Vec::new() };
        let mut held = 0;
        while let Some((sequence, file)) = files.next().await {
            match file {
                Ok(file) => {
                    held += file.line().len() as u64;
                    if held > limit {
                        return Err(too_long(vault, limit));
                    }
                    entries.verified.push(file.entry().clone());
                }
                Err(error) if error.kind() == Kind::Tampered => entries.damaged.push(sequence),
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// The manifest of a snapshot, checked against the digest and the root in its log entry.
    pub async fn manifest(&self, snapshot: &SnapshotRef) -> Result<Manifest> {
        let mut lines = Vec::new();
        let header = self.manifest_lines(snapshot, |_, line| {
            lines.push(line);
            Ok(())
        });
        Ok(Manifest { header: header.await?, lines })
    }

    /// The manifest of a snapshot, line by line: `each` is given the header with every line, and its error is the
    /// answer. Returns the header.
    ///
    /// The file is compared with the digest in its log entry before the first line is handed out, so every line is what
    /// was signed, though the root, the counts and the rules are known to hold only after the last one.
    pub async fn manifest_lines(
        &self,
        snapshot: &SnapshotRef,
        mut each: impl FnMut(&Header, Line) -> Result<()>,
    ) -> Result<Header> {
        let path = &snapshot.manifest;
        bounded(path, snapshot.size, Limits::default().stored as u64)?;
        let bytes = self.fetch(path, snapshot.version.as_deref(), snapshot.size, &snapshot.sha256).await?;
        let mut decoder = Decoder::new(&bytes, &Limits::default()).map_err(|e| at(path, e))?;
        while let Some(line) = decoder.next() {
            each(decoder.header(), line.map_err(|e| at(path, e))?)?;
        }
        let whole = decoder.finish().map_err(|e| at(path, e))?;
        match whole.root == snapshot.root {
            true => Ok(whole.header),
            false => Err(tampered(path, "its lines do not lead to the root in the log")),
        }
    }

    /// A sealed capture, checked against the digest in its manifest line.
    pub async fn sealed(&self, capture: &CaptureRef) -> Result<Bytes> {
        bounded(&capture.path, capture.size, SEALED_MAX)?;
        self.fetch(&capture.path, capture.version.as_deref(), capture.size, &capture.sha256).await
    }

    async fn fetch(&self, path: &StorePath, version: Option<&str>, size: u64, sha256: &Digest) -> Result<Bytes> {
        let bytes = match self.store.get(path, version, size).await {
            Ok(bytes) => bytes,
            Err(error) if error.condition == Condition::NotFound => {
                return Err(tampered(path, "the log names it, and it is not there"));
            }
            Err(error) => return Err(error.into()),
        };
        match Digest::of(&bytes) == *sha256 {
            true => Ok(bytes),
            false => Err(tampered(path, "its SHA-256 is not the one in the log")),
        }
    }
}

/// The oldest version of a path, which is the archive, whatever somebody put over it since.
pub async fn oldest_of(store: &dyn store::Read, path: &StorePath) -> Result<Option<Listed>, store::Error> {
    let mut list = store.list(path.as_str());
    while let Some(listed) = list.next().await {
        let listed = listed?;
        if listed.path.as_ref() == Ok(path) {
            return Ok(Some(listed));
        }
    }
    Ok(None)
}

/// A size in the archive is somebody's word: what no such file may have is not even asked for.
fn bounded(path: &StorePath, size: u64, limit: u64) -> Result<()> {
    match size <= limit {
        true => Ok(()),
        false => Err(tampered(
            path,
            &format!("it is said to have {size} bytes, and no such file may have more than {limit}"),
        )),
    }
}

fn too_long(vault: &VaultUri, limit: u64) -> Error {
    let message =
        format!("the log of {} has more than {limit} bytes of entries, which is too much to hold", vault.host());
    Error::new(Kind::Refused, message).hint(
        "look at its largest files: the signer may have been misused; `restore plan --from-file` and \
         `restore apply --without-log` go on without the log",
    )
}

fn at(path: &StorePath, error: impl Into<Error>) -> Error {
    error.into().context(path)
}

fn tampered(path: &StorePath, what: &str) -> Error {
    Error::new(Kind::Tampered, format!("{path}: {what}")).hint("`akv-archiver verify` tells what else does not hold")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::fixture::House;
    use crate::vault::Read as _;

    #[tokio::test]
    async fn a_manifest_can_be_read_line_by_line_and_the_reader_may_end_it() {
        let house = House::new(&["key/a", "secret/b", "secret/c"]).await;
        house.snapshot().await.unwrap();
        let reader = house.reader().await;
        let head = reader.head(house.vault.uri()).await.unwrap().unwrap();
        let snapshot = latest_snapshot(&head).unwrap();
        let whole = reader.manifest(snapshot).await.unwrap();
        let mut lines = Vec::new();
        let each = |header: &Header, line| {
            assert_eq!(header.counts.seen, 3);
            lines.push(line);
            Ok(())
        };
        assert_eq!(reader.manifest_lines(snapshot, each).await.unwrap(), whole.header);
        assert_eq!(lines, whole.lines);
        let mut seen = 0;
        let each = |_: &Header, _| {
            seen += 1;
            if seen == 2 { Err(Error::new(Kind::Conflict, "enough")) } else { Ok(()) }
        };
        assert_eq!(reader.manifest_lines(snapshot, each).await.unwrap_err().kind(), Kind::Conflict);
        assert_eq!(seen, 2);
    }

    #[tokio::test]
    async fn a_log_that_would_not_fit_into_memory_is_refused_with_a_way_out() {
        let house = House::new(&["key/a"]).await;
        for _ in 0..3 {
            house.snapshot().await.unwrap();
        }
        let (reader, vault) = (house.reader().await, house.vault.uri());
        let mut size = 0;
        for sequence in 1..=3 {
            size += reader.log_file(vault, sequence, None).await.unwrap().line().len() as u64;
        }
        assert_eq!(reader.entries_within(vault, 0, size).await.unwrap().verified.len(), 3);
        let error = reader.entries_within(vault, 0, size - 1).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.hint_text().is_some_and(|hint| hint.contains("--from-file")), "{error}");
        assert_eq!(reader.entries_within(vault, 2, size - 1).await.unwrap().verified.len(), 1);
        // What does not hold is not kept, however much there is.
        let path = house.files("/log/").await.pop().unwrap();
        house.store.corrupt(&path, vec![b'x'; 1 << 20]);
        assert_eq!(reader.entries_within(vault, 0, size).await.unwrap().damaged, [3]);
    }

    #[tokio::test]
    async fn no_line_is_handed_out_of_a_file_that_is_not_the_signed_one_nor_kept_of_a_wrong_root() {
        let house = House::new(&["key/a"]).await;
        house.snapshot().await.unwrap();
        let reader = house.reader().await;
        let head = reader.head(house.vault.uri()).await.unwrap().unwrap();
        let snapshot = latest_snapshot(&head).unwrap();
        let wrong_root = SnapshotRef { root: snapshot.sha256, ..snapshot.clone() };
        let error = reader.manifest_lines(&wrong_root, |_, _| Ok(())).await.unwrap_err();
        assert!(error.kind() == Kind::Tampered && error.message().contains("root"), "{error}");
        assert!(reader.manifest(&wrong_root).await.is_err());
        let wrong_digest = SnapshotRef { sha256: snapshot.root, ..snapshot.clone() };
        let each = |_: &Header, _| panic!("a line was handed out");
        assert_eq!(reader.manifest_lines(&wrong_digest, each).await.unwrap_err().kind(), Kind::Tampered);
    }
}
