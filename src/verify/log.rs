//! Checking a vault's log: every entry is there, signed by a pinned key, follows from the one before, and leads to the
//! root that was signed.

use chrono::{DateTime, Utc};

use super::finding::{Code, Findings};
use super::inventory::Inventory;
use crate::error::Result;
use crate::format::archive::Archive;
use crate::format::entry::{Entry, Event, LOG_FILE_MAX, LogFile, SnapshotRef};
use crate::format::{self, Fault};
use crate::model::{Digest, StorePath, VaultUri};
use crate::store::{self, Condition, Listed};
use crate::tlog::{Frontier, Verifier};

/// What the next entry must follow from. `None` in the beginning, and after a gap or an unreadable file.
struct Before {
    digest: Digest,
    tree: Option<Frontier>,
    latest_snapshot: Option<SnapshotRef>,
    time: DateTime<Utc>,
}

/// Checks the log of `vault` and returns its readable entries, oldest first.
pub(super) async fn check(
    store: &dyn store::Read,
    inventory: &Inventory,
    archive: &Archive,
    vault: &VaultUri,
    verifiers: &[Verifier],
    findings: &mut Findings,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut before: Option<Before> = None;
    let mut last = 0;
    for (sequence, (path, listed)) in inventory.log(vault) {
        if sequence != last + 1 {
            let missing = (last + 1, sequence - 1);
            findings.add(Code::LogGap, path.as_str(), format!("entries {} to {} are missing", missing.0, missing.1));
            inventory.note_blind(vault);
            before = None;
        }
        last = sequence;
        inventory.mark(path);
        let Some(file) = read(store, path, listed, findings).await? else {
            inventory.note_blind(vault);
            before = None;
            continue;
        };
        let entry = file.entry();
        if let Err(error) = file.verify(verifiers) {
            findings.add(code_of(&error), path.as_str(), error.to_string());
        }
        if entry.sequence != sequence || entry.archive_id != archive.archive_id || entry.vault != vault.host() {
            findings.add(Code::LogChain, path.as_str(), "it is the log file of another place, vault or archive");
        }
        if let Some(before) = &before {
            follows(entry, before, path, findings);
        }
        if matches!(entry.event, Event::Unknown(_)) {
            findings.add(
                Code::UnknownEntry,
                path.as_str(),
                "a later akv-archiver wrote it; its place in the log was checked",
            );
        }
        before = Some(Before {
            digest: file.digest(),
            tree: file.tree().ok(),
            latest_snapshot: match &entry.event {
                Event::Snapshot(snapshot) => Some(snapshot.clone()),
                _ => entry.latest_snapshot.clone(),
            },
            time: entry.time,
        });
        entries.push(entry.clone());
    }
    Ok(entries)
}

async fn read(
    store: &dyn store::Read,
    path: &StorePath,
    listed: &Listed,
    findings: &mut Findings,
) -> Result<Option<LogFile>> {
    let bytes = match store.get(path, listed.version.as_deref(), LOG_FILE_MAX).await {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.condition, Condition::NotFound | Condition::TooLarge) => {
            findings.add(Code::LogMalformed, path.as_str(), error.to_string());
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    match LogFile::parse(&bytes) {
        Ok(file) => Ok(Some(file)),
        Err(error) => {
            findings.add(code_of(&error), path.as_str(), error.to_string());
            Ok(None)
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
