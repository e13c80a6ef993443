//! A manifest: what one snapshot covers (docs/FORMAT.md section 5). zstd of JSON Lines: a header, then one line per
//! object, ordered by kind and name. `check` has the rules that lines keep, `codec` the bytes, `gaps` the header's limit.

mod check;
mod codec;
mod gaps;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::format::time::{maybe_seconds, seconds};
pub use codec::{Decoded, Decoder, Encoded, Limits, Whole, encode};
pub use gaps::MORE;

use crate::model::{Digest, Kind, Mode, Name, StorePath, VaultFacts, VaultUri};

/// The format that a manifest's header names.
pub const FORMAT: &str = "akv-archiver/manifest/1";

/// Line 0 of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// `akv-archiver/manifest/1`.
    pub format: String,
    /// The archive.
    pub archive_id: Uuid,
    /// The sequence number that the log entry is meant to have. A lost race may give it a later one.
    pub sequence: u64,
    /// The vault.
    pub vault: VaultUri,
    /// The vault as Azure Resource Manager described it; absent where that could not be read (a gap says why).
    pub facts: Option<VaultFacts>,
    /// When the run began, by this machine's clock; whole seconds.
    #[serde(with = "seconds")]
    pub started: DateTime<Utc>,
    /// When the manifest was written.
    #[serde(with = "seconds")]
    pub finished: DateTime<Utc>,
    /// The program, `akv-archiver 0.1.0`.
    pub tool: String,
    /// Whether every object has a capture.
    pub status: Status,
    /// The policy's text in canonical JSON, digested.
    pub policy_sha256: Digest,
    /// How many of what.
    pub counts: Counts,
    /// What could not be read of the vault itself; see [`Header::cap_gaps`].
    pub gaps: Vec<Gap>,
    /// The sealed settings of the vault as a whole, of this run or an earlier one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub settings: Option<CaptureRef>,
    /// SHA-256 of their canonical content; equal means unchanged. There if `settings` is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub settings_fingerprint: Option<Digest>,
}

/// Whether a snapshot covers everything it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every live object has a capture.
    Complete,
    /// Some have none: gaps, or the run was cut short.
    Partial,
}

/// `seen = captured + reused + gaps`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Live objects; those owned by a certificate and those left out by the policy are not counted.
    pub seen: u64,
    /// Taken in this run.
    pub captured: u64,
    /// Unchanged, the earlier capture still good.
    pub reused: u64,
    /// Those that this run could not take, whether or not an earlier capture is left.
    pub gaps: u64,
    /// Keys and secrets that belong to a certificate and are covered by it.
    pub managed: u64,
    /// Soft-deleted objects seen.
    pub deleted: u64,
    /// Objects that the archive's policy leaves out.
    pub excluded: u64,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// 16 random bytes in hexadecimal: makes one line disclosable without the others being guessable.
    pub salt: String,
    /// Key, secret or certificate.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// Live, owned by a certificate, soft-deleted, or left out.
    pub state: State,
    /// SHA-256 of the canonical list item; equal means unchanged.
    pub fingerprint: Digest,
    /// The current version's id, where known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub current: Option<String>,
    /// Digest over the fingerprints of the versions list's items, in order of version id; equal means that no version
    /// changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub versions_fingerprint: Option<Digest>,
    /// How many versions the capture holds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub versions: Option<u64>,
    /// When the versions were last found to be those of the capture, if that was after the capture.
    #[serde(with = "maybe_seconds", skip_serializing_if = "Option::is_none", default)]
    pub compared_at: Option<DateTime<Utc>>,
    /// Whether the object may be used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub enabled: Option<bool>,
    /// When it expires.
    #[serde(with = "maybe_seconds", skip_serializing_if = "Option::is_none", default)]
    pub expires: Option<DateTime<Utc>>,
    /// A key's type, such as `RSA-HSM`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key_type: Option<String>,
    /// RFC 7638 thumbprint of the current public key, or `x5t` of a certificate; base64url.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub thumbprint: Option<String>,
    /// For a soft-deleted object, when the service will purge it.
    #[serde(with = "maybe_seconds", skip_serializing_if = "Option::is_none", default)]
    pub purge_at: Option<DateTime<Utc>>,
    /// Where the capture is. A live object has this or a gap; beside a gap it is the earlier capture, and the line is
    /// the earlier line.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub capture: Option<CaptureRef>,
    /// Why this run could not take it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gap: Option<Gap>,
}

/// What a line's object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Live and captured on its own.
    Live,
    /// A key or secret that belongs to the certificate of the same name.
    Managed,
    /// Soft-deleted.
    Deleted,
    /// Left out by the archive's policy.
    Excluded,
}

/// A sealed capture in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureRef {
    /// Its path.
    pub path: StorePath,
    /// Its version, where the store has versions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// SHA-256 of the sealed bytes.
    pub sha256: Digest,
    /// MD5 of the sealed bytes in hexadecimal: what a blob listing shows, so that a listing can be compared. Not a defence.
    pub md5: String,
    /// Length of the sealed bytes.
    pub size: u64,
    /// When the object was captured.
    #[serde(with = "seconds")]
    pub captured_at: DateTime<Utc>,
    /// Protection as read back before the commit.
    pub mode: Mode,
    /// Until when, as read back before the commit.
    #[serde(with = "maybe_seconds", skip_serializing_if = "Option::is_none", default)]
    pub protected_until: Option<DateTime<Utc>>,
    /// Wrapping key of Azure's blob, where its header is readable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kid: Option<String>,
    /// Whether an earlier snapshot took it.
    pub reused: bool,
}

/// Something a snapshot could not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// A stable code, such as `denied` or `torn-read`.
    pub code: String,
    /// One sentence.
    pub detail: String,
}

/// A whole manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Line 0.
    pub header: Header,
    /// The objects, ordered by kind, lower-case name, and deleted last ([`Line::order`]).
    pub lines: Vec<Line>,
}
