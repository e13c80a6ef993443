//! The verifier: reads a store and says what does not hold. It imports formats, the tree and the store traits, and
//! shares no code with the writer (`archive`, `capture`, `jobs`): where the writer is wrong, this sees it.
//!
//! Default level: the whole log of each vault, every manifest, and for every capture ever referenced its existence,
//! size, listed MD5, version and protection. It needs no identity and downloads no capture.

mod finding;
mod inventory;
mod log;
mod protection;
mod snapshots;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

pub use finding::{Code, Finding, Findings, Severity};

use crate::error::{Error, Result};
use crate::format::archive::{ARCHIVE_MAX, Archive};
use crate::format::paths;
use crate::model::VaultUri;
use crate::store;
use crate::tlog::Verifier;
use inventory::Inventory;

/// What to hold an archive to.
#[derive(Clone, Debug)]
pub struct Standard {
    /// The keys that may have signed its logs: pinned by the operator, never taken from the archive.
    pub verifiers: Vec<Verifier>,
    /// Vaults that must have a snapshot, whatever the archive holds.
    pub vaults: Vec<VaultUri>,
    /// Whether files must be locked.
    pub worm: bool,
    /// How much longer what the newest snapshot needs must stay locked.
    pub protection_min: TimeDelta,
    /// The same, of vaults for which it differs.
    pub protection_min_of: BTreeMap<VaultUri, TimeDelta>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What verification found. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The worst severity, as a verdict.
    pub status: Status,
    /// What does not hold, worst first.
    pub findings: Vec<Finding>,
    /// How much was looked at.
    pub checked: Checked,
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing above a note.
    Ok,
    /// Intact, but not as protected or as complete as it must be.
    Noncompliant,
    /// Bytes, a signature or history do not hold.
    Tampered,
}

/// How much was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Vaults that the archive holds any file of.
    pub vaults: u64,
    /// Log entries.
    pub entries: u64,
    /// Snapshots, each with its manifest.
    pub snapshots: u64,
    /// Different captures that snapshots refer to, those of vaults' settings among them.
    pub captures: u64,
    /// Files in the store, all versions counted.
    pub files: u64,
    /// Bytes of the captures that snapshots refer to.
    pub bytes: u64,
    /// The earliest end of protection among what the newest snapshots need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected_until: Option<DateTime<Utc>>,
}

/// Verifies the archive in `store`. An error means that it could not be read, not that it is wrong.
pub async fn verify(store: &dyn store::Read, standard: &Standard) -> Result<Report> {
    let mut findings = Findings::default();
    let mut checked = Checked::default();
    let guard =
        store.guard().await.map_err(|e| Error::from(e).context("couldn't tell how the archive is protected"))?;
    let inventory = Inventory::read(store, &mut findings).await?;
    checked.files = inventory.files();
    let archive = read_archive(store, &inventory, &mut findings).await?;
    protection::check_store(&guard, standard, store, &mut findings);
    if let Some(archive) = archive {
        for vault in inventory.vaults() {
            checked.vaults += 1;
            let entries = log::check(store, &inventory, &archive, vault, &standard.verifiers, &mut findings).await?;
            checked.entries += entries.len() as u64;
            let needed =
                snapshots::check(store, &inventory, &archive, vault, &entries, &mut findings, &mut checked).await?;
            protection::check_needed(&inventory, &guard, standard, vault, &needed, &mut findings, &mut checked);
        }
        for vault in standard.vaults.iter().filter(|vault| !inventory.vaults().any(|known| known == *vault)) {
            findings.add(Code::NoSnapshot, vault.host(), "the settings name it, and the archive holds nothing of it");
        }
        if checked.vaults == 0 && standard.vaults.is_empty() {
            findings.add(Code::NoSnapshot, "", "the archive holds no vault's log");
        }
        inventory.report_orphans(&mut findings);
    }
    protection::check_all(&inventory, &guard, standard, &mut findings);
    let findings = findings.sorted();
    let status = match findings.first().map(|finding| finding.severity) {
        Some(Severity::Tampered) => Status::Tampered,
        Some(Severity::Noncompliant) => Status::Noncompliant,
        Some(Severity::Note) | None => Status::Ok,
    };
    Ok(Report { status, findings, checked })
}

async fn read_archive(
    store: &dyn store::Read,
    inventory: &Inventory,
    findings: &mut Findings,
) -> Result<Option<Archive>> {
    let path = paths::archive()?;
    let Some(file) = inventory.oldest(&path) else {
        if inventory.vaults().next().is_some() {
            findings.add(Code::ArchiveMalformed, path.as_str(), "it is gone, and the files of an archive are there");
            return Ok(None);
        }
        let hint = "`akv-archiver init` creates an archive; is this the right container or directory?";
        return Err(
            Error::new(crate::error::Kind::NotFound, format!("there is no {path} in {}", store.describe())).hint(hint)
        );
    };
    let bytes = match store.get(&path, file.version.as_deref(), ARCHIVE_MAX).await {
        Ok(bytes) => bytes,
        Err(error) if error.condition == store::Condition::TooLarge => {
            findings.add(Code::ArchiveMalformed, path.as_str(), "it is larger than any such file may be");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    inventory.mark(&path);
    match Archive::decode(&bytes) {
        Ok(archive) => Ok(Some(archive)),
        Err(error) => {
            findings.add(Code::ArchiveMalformed, path.as_str(), error.to_string());
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
