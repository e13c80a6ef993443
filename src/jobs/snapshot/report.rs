//! What a snapshot did, as a value that the command line prints.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Error;
use crate::model::VaultUri;

/// What a snapshot did. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The vault's address.
    pub vault: String,
    /// `complete`, `partial`, `failed` or `skipped`.
    pub status: Outcome,
    /// The sequence number of the log entry; absent when nothing was committed.
    pub sequence: Option<u64>,
    /// Log entries that the run made.
    pub commits: u64,
    /// How many of what.
    pub objects: Objects,
    /// What could not be taken, by object.
    pub gaps: Vec<ReportedGap>,
    /// HTTP requests to the vault.
    pub requests: u64,
    /// Of these, how many were answered 429.
    pub throttled: u64,
    /// Seconds from start to commit.
    pub seconds: f64,
    /// What a person should look at, though the snapshot stands.
    pub warnings: Vec<String>,
    /// Whether a signal or the deadline cut it short.
    pub interrupted: bool,
    /// Why it failed, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What would help, where it failed and a fix is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The name of the failure's exit code, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
}

impl Report {
    /// The report of a vault of which nothing was committed.
    pub fn failed(vault: &str, error: &Error) -> Self {
        Report {
            status: Outcome::Failed,
            error: Some(error.to_string()),
            hint: error.hint_text().map(str::to_owned),
            kind: Some(error.kind().name()),
            ..Report::skipped(vault)
        }
    }

    /// The report of a vault of which nothing was taken when the run was stopped.
    pub fn stopped(vault: &VaultUri) -> Self {
        Report { interrupted: true, ..Report::skipped(vault.as_str()) }
    }

    /// The report of a vault whose turn did not come before the run was stopped.
    pub fn skipped(vault: &str) -> Self {
        Report {
            vault: vault.to_owned(),
            status: Outcome::Skipped,
            sequence: None,
            commits: 0,
            objects: Objects::default(),
            gaps: Vec::new(),
            requests: 0,
            throttled: 0,
            seconds: 0.0,
            warnings: Vec::new(),
            interrupted: false,
            error: None,
            hint: None,
            kind: None,
        }
    }
}

/// How a snapshot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything that was seen has a capture.
    Complete,
    /// Some has none; the manifest says what.
    Partial,
    /// Nothing was committed.
    Failed,
    /// The run was stopped before anything of it was taken.
    Skipped,
}

/// Counts of a snapshot: `seen = captured + reused + gaps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Objects {
    /// Live objects.
    pub seen: u64,
    /// Taken in this run.
    pub captured: u64,
    /// Unchanged.
    pub reused: u64,
    /// Without a capture of their present state.
    pub gaps: u64,
    /// Left out by the policy; not among those seen.
    pub excluded: u64,
}

/// A gap and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportedGap {
    /// `KIND/NAME`; absent for a gap of the vault as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// A stable code.
    pub code: String,
    /// One sentence.
    pub detail: String,
}

/// Counts of a set of gaps by code, for a line of text.
pub fn gap_codes(gaps: &[ReportedGap]) -> BTreeMap<&str, usize> {
    let mut codes = BTreeMap::new();
    for gap in gaps {
        *codes.entry(gap.code.as_str()).or_default() += 1;
    }
    codes
}
