//! A log entry (docs/FORMAT.md section 4.2). The file that holds it is [`LogFile`]. Knows no store and no earlier entry.

mod event;
mod file;
mod protect;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::format::manifest::{Counts, Encoded, Header, Status};
use crate::format::time::seconds;
use crate::model::{Digest, Object, StorePath, VaultUri};

pub use event::Opaque;
pub use file::{LOG_FILE_MAX, LogFile};
pub use protect::{Class, Container, Protect, ProtectAction, list};

/// The format that an entry names.
pub const FORMAT: &str = "akv-archiver/log/1";

/// One entry of a vault's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `akv-archiver/log/1`.
    pub format: String,
    /// The archive.
    pub archive_id: Uuid,
    /// The vault whose log this is: the host, as in the path.
    pub vault: String,
    /// 1 for the first entry; equals the tree size of the checkpoint below it.
    pub sequence: u64,
    /// When it was written, by this machine's clock; whole seconds.
    #[serde(with = "seconds")]
    pub time: DateTime<Utc>,
    /// SHA-256 of the whole previous log file; absent in the first.
    pub previous: Option<Digest>,
    /// Roots of the full subtrees of the first `sequence - 1` leaves, largest first: enough to append.
    pub frontier: Vec<Digest>,
    /// The newest snapshot before this entry, so that a writer finds it from the head alone.
    pub latest_snapshot: Option<SnapshotRef>,
    /// What happened.
    pub event: Event,
}

/// What a log entry records; in JSON an object whose `type` is the variant's name.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A snapshot was committed.
    Snapshot(SnapshotRef),
    /// Somebody is about to restore.
    RestoreIntent(RestoreIntent),
    /// What became of an intent.
    RestoreResult(RestoreResult),
    /// Somebody is about to change how files are protected.
    Protect(Protect),
    /// A type that this program does not know. The chain goes on through it, but what it means is not for us to say.
    Unknown(Opaque),
}

/// A committed snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRef {
    /// The sequence number of its log entry.
    pub sequence: u64,
    /// The manifest's path.
    pub manifest: StorePath,
    /// The manifest's version, where the store has versions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// SHA-256 of the manifest file.
    pub sha256: Digest,
    /// Length of the manifest file.
    pub size: u64,
    /// RFC 6962 Merkle root over the manifest's lines, header included.
    pub root: Digest,
    /// How many lines, header included.
    pub lines: u64,
    /// Whether every object has a capture.
    pub status: Status,
    /// How many of what.
    pub counts: Counts,
    /// When the run began.
    #[serde(with = "seconds")]
    pub started: DateTime<Utc>,
}

impl SnapshotRef {
    /// What a log entry says of a manifest with this header, encoded and about to be stored at `path`. Its version and its
    /// sequence number are known once it is stored and committed.
    pub fn of(header: &Header, encoded: &Encoded, path: StorePath) -> Self {
        SnapshotRef {
            sequence: 0,
            manifest: path,
            version: None,
            sha256: encoded.sha256,
            size: encoded.bytes.len() as u64,
            root: encoded.root,
            lines: encoded.lines,
            status: header.status,
            counts: header.counts,
            started: header.started,
        }
    }
}

/// An operator is about to restore these objects; committed before the first request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreIntent {
    /// The plan's id.
    pub plan: Uuid,
    /// The vault that will be changed.
    pub target: VaultUri,
    /// What will be done, in order.
    pub steps: Vec<IntentStep>,
    /// Who: the login name of the operator's machine, as told.
    pub operator: String,
    /// Why HSM keys among the steps may be restored into a vault that they were restored into before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub single_restore_override: Option<String>,
}

/// One step of an intent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentStep {
    /// The object.
    pub object: Object,
    /// What will be done.
    pub action: Change,
    /// The snapshot of this log that names the capture; none for a capture that somebody brought in a file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snapshot: Option<u64>,
    /// The capture that will be used, for whatever creates.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub capture: Option<StorePath>,
    /// Whether the key material lives in an HSM.
    pub hsm: bool,
}

/// What a step of an intent does to the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Create the object from its backup.
    Restore,
    /// Recover the soft-deleted object.
    Recover,
    /// Purge the soft-deleted object that holds the name, then create the object from its backup.
    PurgeAndRestore,
}

impl Change {
    /// Whether it creates an object from a backup.
    pub fn creates(self) -> bool {
        self != Change::Recover
    }
}

/// What became of an intent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreResult {
    /// The sequence number of the intent.
    pub intent: u64,
    /// One outcome per step, in order.
    pub outcomes: Vec<Outcome>,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The object.
    pub object: Object,
    /// What became of it.
    pub result: Became,
    /// One sentence; differences found after a restore are listed here.
    pub detail: String,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Became {
    /// It is live, and what was captured.
    Done,
    /// The vault was changed, and what is live is not what was captured.
    Different,
    /// Nothing came back: the vault was not changed, or no further than by a purge, which the detail tells.
    Failed,
    /// Whether the vault was changed could not be found out.
    Unclear,
    /// It was not tried.
    Skipped,
}

impl Became {
    /// Its name in logs and reports.
    pub fn name(self) -> &'static str {
        match self {
            Became::Done => "done",
            Became::Different => "different",
            Became::Failed => "failed",
            Became::Unclear => "unclear",
            Became::Skipped => "skipped",
        }
    }

    /// Whether a restore that ended so used the name up, or may have.
    pub fn spent(self) -> bool {
        matches!(self, Became::Done | Became::Different | Became::Unclear)
    }
}
