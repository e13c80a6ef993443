//! `archive.json`: what an archive is, written once by `init`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The archive's birth certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// `akv-archiver/archive/1`.
    pub format: String,
    /// The archive's identity; part of every log's origin.
    pub archive_id: Uuid,
    /// When it was created; whole seconds, UTC.
    pub created: DateTime<Utc>,
}
