//! What was verified, when, as a file that the next verification can start from (docs/VERIFY.md). Signed by a key of
//! whoever verifies; laid out as a log file is: one line of canonical JSON, an empty line, a signed note with its digest.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::subset::Subset;
use super::{Checked, Status};
use crate::error::{Error, Kind, Result};
use crate::format::json;
use crate::model::{Digest, VaultUri};
use crate::tlog::{Note, Signer, Verifier};

/// The format that a record names.
pub(super) const FORMAT: &str = "akv-archiver/verified/1";

/// The longest record, in bytes.
pub const RECORD_MAX: u64 = 16 << 20;

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// `akv-archiver/verified/1`.
    pub format: String,
    /// The archive.
    pub archive_id: Uuid,
    /// The digest of its `archive.json`.
    pub archive_sha256: Digest,
    /// When; whole seconds.
    pub time: DateTime<Utc>,
    /// The program, `akv-archiver 0.1.0`.
    pub tool: String,
    /// The verdict.
    pub status: Status,
    /// How many findings of each code.
    pub counts: BTreeMap<String, u64>,
    /// How much was looked at.
    pub checked: Checked,
    /// The head of each log that holds, by the vault's host.
    pub heads: BTreeMap<String, Head>,
    /// Which captures were read, in this run or in one that it started from.
    pub covers: Vec<Cover>,
}

/// The head of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The number of its newest entry.
    pub size: u64,
    /// The root of the tree over its entries.
    pub root: Digest,
}

/// Captures that were read, and are what the manifests say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cover {
    /// Which part of them.
    pub subset: Subset,
    /// Whether they were opened too.
    pub opened: bool,
    /// None of them was read before this time.
    pub since: DateTime<Utc>,
    /// The log entries that may refer to them, from the first to this one, by the vault's host.
    pub entries: BTreeMap<String, u64>,
}

impl Cover {
    /// Whether it covers the capture at `path`, to which an entry of the vault was the first to refer.
    fn covers(&self, vault: &VaultUri, path: &str, sequence: u64, open: bool) -> bool {
        let seen = self.entries.get(vault.host()).is_some_and(|last| sequence <= *last);
        seen && (self.opened || !open) && self.subset.contains(path)
    }
}

impl Record {
    /// Signs the record.
    pub fn sign(&self, signer: &Signer) -> Result<Vec<u8>> {
        let line = json::write(self)?;
        let note = signer
            .sign(&text(self.archive_id, &line))
            .map_err(|error| Error::internal(format!("couldn't sign the report: {error}")))?;
        Ok([line.as_slice(), b"\n\n", note.as_bytes()].concat())
    }

    /// Whether bytes are a record, by whoever it was signed and of whichever version: what a newer one may replace.
    pub fn is_one(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        serde_json::from_slice::<Head>(line).is_ok_and(|head| head.format.starts_with("akv-archiver/verified/"))
    }

    /// Reads a record that one of the `known` keys signed. Anything else is refused.
    pub fn open(bytes: &[u8], known: &[Verifier]) -> Result<Record> {
        let refused = |what: String| {
            Error::new(Kind::Tampered, format!("the earlier report does not hold: {what}"))
                .hint("take the file that `verify --report` wrote, and pin its key in [verify] verifiers; without --since-report everything is read")
        };
        let split = bytes.windows(2).position(|pair| pair == b"\n\n").filter(|_| bytes.len() as u64 <= RECORD_MAX);
        let parts = split.and_then(|at| Some((bytes.get(..at)?, bytes.get(at + 2..)?)));
        let (line, note) = parts.ok_or_else(|| refused("it is not a line, an empty line and a note".into()))?;
        let note = Note::parse(note).map_err(|error| refused(error.to_string()))?;
        let signed = note.verify(known).map_err(|error| refused(error.to_string()))?;
        let record: Record = json::read_format(line, FORMAT).map_err(|error| refused(error.to_string()))?;
        match signed == text(record.archive_id, line) {
            true => Ok(record),
            false => Err(refused("what is signed is not this report".into())),
        }
    }

    /// Whether a run that had this record need not read the capture at `path` again, to which entry `sequence` was the
    /// first to refer.
    pub(super) fn covers(&self, vault: &VaultUri, path: &str, sequence: u64, open: bool) -> bool {
        self.covers.iter().any(|cover| cover.covers(vault, path, sequence, open))
    }
}

/// The text that is signed. Its first line is no log's origin, so that neither signature passes for the other.
fn text(archive_id: Uuid, line: &[u8]) -> String {
    format!("akv-archiver/{archive_id}/verified\n{}\n", Digest::of(line))
}

/// What is covered after a run that read `subset` (if any) up to `heads` and found nothing wrong with it; `skipped`, if it
/// relied on the earlier record.
pub(super) fn covers(
    earlier: Option<&Record>,
    heads: &BTreeMap<String, Head>,
    read: Option<(Subset, bool)>,
    skipped: bool,
    now: DateTime<Utc>,
) -> Vec<Cover> {
    let mut covers: Vec<Cover> = earlier.map(|record| record.covers.clone()).unwrap_or_default();
    // Of a log that does not continue the one that was seen, nothing is known any more.
    covers.iter_mut().for_each(|cover| cover.entries.retain(|host, _| heads.contains_key(host)));
    if let Some((subset, opened)) = read {
        let oldest = covers.iter().map(|cover| cover.since).min().filter(|_| skipped);
        let since = oldest.map_or(now, |oldest| oldest.min(now));
        let entries = heads.iter().map(|(host, head)| (host.clone(), head.size)).collect();
        covers.retain(|cover| !((subset == Subset::ALL || cover.subset == subset) && (opened || !cover.opened)));
        covers.push(Cover { subset, opened, since, entries });
    }
    covers.retain(|cover| !cover.entries.is_empty());
    covers
}
