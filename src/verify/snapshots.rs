//! Checking snapshots: every manifest that the log names, and every capture that a manifest names, of objects and of
//! the vault's settings.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;

use super::Checked;
use super::finding::{Code, Findings};
use super::inventory::Inventory;
use crate::error::Result;
use crate::format::archive::Archive;
use crate::format::capture::SEALED_MAX;
use crate::format::entry::{Entry, Event, SnapshotRef};
use crate::format::manifest::{CaptureRef, Gap, Limits, MORE, Manifest, Status};
use crate::format::paths::{self, ArchivePath};
use crate::model::{Digest, StorePath, VaultUri, unhex};
use crate::store::{self, Condition, Listed};

/// Checks the snapshots in `entries` and returns the paths that the newest one needs.
pub(super) async fn check(
    store: &dyn store::Read,
    inventory: &Inventory,
    archive: &Archive,
    vault: &VaultUri,
    entries: &[Entry],
    findings: &mut Findings,
    checked: &mut Checked,
) -> Result<BTreeSet<StorePath>> {
    let mut captures: BTreeMap<StorePath, CaptureRef> = BTreeMap::new();
    let mut needed = BTreeSet::new();
    let mut newest = None;
    let mut unread = String::new();
    for entry in entries {
        let Event::Snapshot(snapshot) = &entry.event else { continue };
        checked.snapshots += 1;
        newest = Some(snapshot);
        unread.clear();
        let Some(manifest) = read(store, inventory, archive, vault, snapshot, findings).await? else {
            inventory.note_blind(vault);
            continue;
        };
        unread = told(&manifest.header.gaps);
        needed = BTreeSet::from([snapshot.manifest.clone(), paths::log(vault, entry.sequence)?]);
        // Beside a gap too: what is left of an object that could not be taken is needed most.
        let of_objects = manifest.lines.iter().filter_map(|line| line.capture.as_ref());
        for reference in manifest.header.settings.iter().chain(of_objects) {
            needed.insert(reference.path.clone());
            match captures.insert(reference.path.clone(), reference.clone()) {
                None => {
                    checked.captures += 1;
                    checked.bytes += reference.size;
                    check_capture(store, inventory, vault, reference, findings).await?;
                }
                Some(earlier) if !same_file(&earlier, reference) => {
                    let detail = "two manifests give it different digests, sizes or versions";
                    findings.add(Code::CaptureMismatch, reference.path.as_str(), detail);
                }
                Some(_) => {}
            }
        }
    }
    match newest {
        None => findings.add(Code::NoSnapshot, vault.host(), "its log holds no snapshot"),
        Some(snapshot) if snapshot.status == Status::Partial => {
            let (sequence, gaps) = (snapshot.sequence, snapshot.counts.gaps);
            let detail = format!("the newest snapshot, {sequence}, lacks {gaps} objects{unread}");
            findings.add(Code::CoverageGap, snapshot.manifest.as_str(), detail);
        }
        Some(_) => {}
    }
    Ok(needed)
}

/// What could not be read of the vault itself, as the end of a sentence.
fn told(gaps: &[Gap]) -> String {
    match gaps.split_last() {
        None => String::new(),
        Some((last, listed)) if last.code == MORE => {
            format!(", and more than {} things could not be read of the vault itself", listed.len())
        }
        Some(_) => format!(", and {} things could not be read of the vault itself", gaps.len()),
    }
}

/// Reads a manifest and compares it with what the log says of it.
async fn read(
    store: &dyn store::Read,
    inventory: &Inventory,
    archive: &Archive,
    vault: &VaultUri,
    snapshot: &SnapshotRef,
    findings: &mut Findings,
) -> Result<Option<Manifest>> {
    let path = &snapshot.manifest;
    let Some(listed) = look_up(store, inventory, path).await? else {
        findings.add(Code::ManifestMissing, path.as_str(), format!("log entry {} names it", snapshot.sequence));
        return Ok(None);
    };
    inventory.mark(path);
    let mut mismatch = |detail: &str| findings.add(Code::ManifestMismatch, path.as_str(), detail);
    // A size in the log is somebody's word, and what no manifest may have is not read.
    if listed.size != snapshot.size || snapshot.size > Limits::default().stored as u64 {
        mismatch("its size is not the one in the log, or more than a manifest may have");
        return Ok(None);
    }
    if snapshot.version.is_some() && listed.version != snapshot.version {
        mismatch("its version id is not the one in the log");
    }
    let bytes = match store.get(path, listed.version.as_deref(), snapshot.size).await {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.condition, Condition::NotFound | Condition::TooLarge) => {
            findings.add(Code::ManifestMissing, path.as_str(), error.to_string());
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    if Digest::of(&bytes) != snapshot.sha256 {
        mismatch("its SHA-256 is not the one in the log");
        return Ok(None);
    }
    let decoded = match Manifest::decode(&bytes, &Limits::default()) {
        Ok(decoded) => decoded,
        Err(error) => {
            findings.add(Code::ManifestMalformed, path.as_str(), error.to_string());
            return Ok(None);
        }
    };
    let header = &decoded.manifest.header;
    let told = (snapshot.root, snapshot.lines, snapshot.status, snapshot.counts, archive.archive_id);
    let found = (decoded.root, decoded.lines(), header.status, header.counts, header.archive_id);
    if told != found || header.vault != *vault {
        mismatch("its root, counts, status, archive or vault are not those in the log");
    }
    Ok(Some(decoded.manifest))
}

async fn check_capture(
    store: &dyn store::Read,
    inventory: &Inventory,
    vault: &VaultUri,
    reference: &CaptureRef,
    findings: &mut Findings,
) -> Result<()> {
    let path = &reference.path;
    let Some(listed) = look_up(store, inventory, path).await? else {
        findings.add(Code::CaptureMissing, path.as_str(), "a manifest names it");
        return Ok(());
    };
    inventory.mark(path);
    let ours = match ArchivePath::parse(path) {
        Some(ArchivePath::Capture { vault: owner, .. } | ArchivePath::Settings { vault: owner, .. }) => owner == *vault,
        _ => false,
    };
    if let Some(detail) = difference(reference, &listed) {
        findings.add(Code::CaptureMismatch, path.as_str(), detail);
    } else if !ours {
        findings.add(
            Code::CaptureMismatch,
            path.as_str(),
            "a manifest names it as a capture of this vault, and it is none",
        );
    } else if listed.md5.is_none() && !holds(store, reference, &listed).await? {
        findings.add(Code::CaptureMismatch, path.as_str(), "its SHA-256 is not the one in the manifest");
    }
    Ok(())
}

/// The version of a path that counts. What the inventory lacks is looked for once more: a snapshot that was committed
/// while the store was listed names files that came behind the reader.
async fn look_up(store: &dyn store::Read, inventory: &Inventory, path: &StorePath) -> Result<Option<Listed>> {
    if let Some(listed) = inventory.oldest(path) {
        return Ok(Some(listed.clone()));
    }
    let mut list = store.list(path.as_str());
    while let Some(listed) = list.next().await {
        let listed = listed?;
        if listed.path.as_ref() == Ok(path) {
            return Ok(Some(listed));
        }
    }
    Ok(None)
}

/// Whether a file whose listing shows no digest holds what the manifest says: then only reading it tells.
async fn holds(store: &dyn store::Read, reference: &CaptureRef, listed: &Listed) -> Result<bool> {
    match store.get(&reference.path, listed.version.as_deref(), SEALED_MAX).await {
        Ok(bytes) => Ok(Digest::of(&bytes) == reference.sha256),
        Err(error) if matches!(error.condition, Condition::NotFound | Condition::TooLarge) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether two references are to the same bytes. Protection and age may be told differently, and are.
fn same_file(a: &CaptureRef, b: &CaptureRef) -> bool {
    (&a.sha256, &a.md5, a.size, &a.version) == (&b.sha256, &b.md5, b.size, &b.version)
}

fn difference(reference: &CaptureRef, listed: &Listed) -> Option<&'static str> {
    if listed.size != reference.size {
        return Some("its size is not the one in the manifest");
    }
    if listed.md5.is_some_and(|md5| unhex(&reference.md5).as_deref() != Some(&md5)) {
        return Some("its MD5 is not the one in the manifest");
    }
    if reference.version.is_some() && listed.version != reference.version {
        return Some("its version id is not the one in the manifest");
    }
    None
}
