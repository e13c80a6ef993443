//! Checking a vault's log: every entry is there, signed by a pinned key, follows from the one before, and leads to the
//! root that was signed; and it continues the log that an earlier report saw.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};

use super::finding::{Code, Findings, Severity};
use super::inventory::Shelf;
use super::record::Head;
use crate::error::Result;
use crate::format::archive::Archive;
use crate::format::entry::{Entry, Event, LOG_FILE_MAX, LogFile, SnapshotRef};
use crate::format::{self, Fault, paths};
use crate::model::{Digest, StorePath, VaultUri};
use crate::store::{self, Condition};
use crate::tlog::{Frontier, Verifier};

/// Log files read at the same time.
const IN_FLIGHT: usize = 8;

/// A log as it was found.
pub(super) struct Log {
    /// How many entries could be read.
    pub(super) read: u64,
    /// The snapshots of those that a pinned key signed for their place, oldest first. What others say is nobody's word,
    /// and is not followed: whoever may write to the storage could send the reader anywhere.
    pub(super) snapshots: Vec<SnapshotRef>,
    /// Its head, if all of it holds.
    pub(super) head: Option<Head>,
}

/// What the next entry must follow from. `None` in the beginning, and after a gap or an unreadable file.
struct Before {
    digest: Digest,
    tree: Option<Frontier>,
    latest_snapshot: Option<SnapshotRef>,
    time: DateTime<Utc>,
}

/// Checks the log of `vault`, which an earlier report may have seen up to `earlier`.
pub(super) async fn check(
    store: &dyn store::Read,
    shelf: &mut Shelf,
    archive: &Archive,
    vault: &VaultUri,
    verifiers: &[Verifier],
    earlier: Option<&Head>,
    findings: &mut Findings,
) -> Result<Log> {
    let tampered = findings.of(Severity::Tampered);
    let mut snapshots = Vec::new();
    let mut before: Option<Before> = None;
    let (mut last, mut read, mut head) = (0, 0, None);
    let Shelf { log, blind, .. } = shelf;
    let listed =
        log.iter().map(|(sequence, listed)| Ok((*sequence, paths::log(vault, *sequence)?, listed.version.clone())));
    let listed = listed.collect::<Result<Vec<_>>>()?;
    let mut files = futures::stream::iter(listed).map(|file| fetch(store, file)).buffered(IN_FLIGHT);
    while let Some((sequence, path, bytes)) = files.try_next().await? {
        if sequence != last + 1 {
            let missing = (last + 1, sequence - 1);
            findings.add(Code::LogGap, path.as_str(), format!("entries {} to {} are missing", missing.0, missing.1));
            *blind = true;
            before = None;
        }
        last = sequence;
        let Some(file) = parse(bytes, &path, findings) else {
            *blind = true;
            before = None;
            continue;
        };
        read += 1;
        let entry = file.entry();
        let holds = holds(&file, sequence, archive, vault, verifiers, &path, findings);
        if let Some(before) = &before {
            follows(entry, before, &path, findings);
        }
        let tree = file.tree().ok();
        head = tree.as_ref().map(|tree| Head { size: sequence, root: tree.root() });
        if let (Some(earlier), Some(head)) = (earlier.filter(|earlier| holds && earlier.size == sequence), &head)
            && earlier.root != head.root
        {
            let detail = "an earlier report saw another log up to here: history was rewritten, and signed again";
            findings.add(Code::LogFork, path.as_str(), detail);
        }
        if holds && matches!(entry.event, Event::Unknown(_)) {
            findings.add(
                Code::UnknownEntry,
                path.as_str(),
                "a later akv-archiver wrote it; its place in the log was checked",
            );
        }
        before = Some(Before {
            digest: file.digest(),
            tree,
            latest_snapshot: match &entry.event {
                Event::Snapshot(snapshot) => Some(snapshot.clone()),
                _ => entry.latest_snapshot.clone(),
            },
            time: entry.time,
        });
        // A file may have 16 MiB, and there may be many: of each only this is kept.
        match &entry.event {
            Event::Snapshot(snapshot) if holds => snapshots.push(snapshot.clone()),
            _ => *blind |= !holds,
        }
    }
    if let Some(earlier) = earlier {
        check_length(vault, earlier, last, findings);
    }
    let sound = findings.of(Severity::Tampered) == tampered;
    Ok(Log { read, snapshots, head: head.filter(|_| sound) })
}

/// A log that ends before the head that an earlier report saw has lost entries.
pub(super) fn check_length(vault: &VaultUri, earlier: &Head, last: u64, findings: &mut Findings) {
    if last < earlier.size {
        let detail =
            format!("it ends with entry {last}, and an earlier report saw {}: the newest are gone", earlier.size);
        findings.add(Code::LogRollback, paths::log_prefix(vault), detail);
    }
}

/// A log file, by sequence, path and version, with its bytes; an error that only concerns this file is a sentence.
async fn fetch(
    store: &dyn store::Read,
    (sequence, path, version): (u64, StorePath, Option<String>),
) -> Result<(u64, StorePath, Result<Bytes, String>)> {
    match store.get(&path, version.as_deref(), LOG_FILE_MAX).await {
        Ok(bytes) => Ok((sequence, path, Ok(bytes))),
        Err(error) if matches!(error.condition, Condition::NotFound | Condition::TooLarge) => {
            Ok((sequence, path, Err(error.to_string())))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a pinned key signed the file for this place in this log.
fn holds(
    file: &LogFile,
    sequence: u64,
    archive: &Archive,
    vault: &VaultUri,
    verifiers: &[Verifier],
    path: &StorePath,
    findings: &mut Findings,
) -> bool {
    let signed = file.verify(verifiers);
    if let Err(error) = &signed {
        findings.add(code_of(error), path.as_str(), error.to_string());
    }
    let entry = file.entry();
    let here = entry.sequence == sequence && entry.archive_id == archive.archive_id && entry.vault == vault.host();
    if !here {
        findings.add(Code::LogChain, path.as_str(), "it is the log file of another place, vault or archive");
    }
    signed.is_ok() && here
}

fn parse(bytes: Result<Bytes, String>, path: &StorePath, findings: &mut Findings) -> Option<LogFile> {
    let bytes = bytes.map_err(|detail| findings.add(Code::LogMalformed, path.as_str(), detail)).ok()?;
    match LogFile::parse(&bytes) {
        Ok(file) => Some(file),
        Err(error) => {
            findings.add(code_of(&error), path.as_str(), error.to_string());
            None
        }
    }
}

/// Which finding a fault of one log file is.
fn code_of(error: &format::Error) -> Code {
    match error.fault {
        Fault::WrongRoot | Fault::WrongSize => Code::LogRoot,
        Fault::BadChain | Fault::WrongOrigin => Code::LogChain,
        Fault::Log(_) => Code::LogSignature,
        _ => Code::LogMalformed,
    }
}

fn follows(entry: &Entry, before: &Before, path: &StorePath, findings: &mut Findings) {
    let mut wrong = |detail: &str| findings.add(Code::LogChain, path.as_str(), detail);
    if entry.previous != Some(before.digest) {
        wrong("it does not name the digest of the entry before it");
    }
    if before.tree.as_ref().is_some_and(|tree| tree.hashes() != entry.frontier) {
        wrong("its frontier is not that of the entries before it");
    }
    if entry.latest_snapshot != before.latest_snapshot {
        wrong("it does not name the newest snapshot before it");
    }
    if entry.time < before.time {
        findings.add(Code::ClockBackwards, path.as_str(), "it is dated before the entry that it follows");
    }
}
