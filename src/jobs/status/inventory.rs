//! One listing of the store, kept as little as it takes to say which vaults there are and how each file is protected:
//! an archive has a million files, and a listing of it must fit into a job's memory.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use futures::StreamExt;

use crate::archive::Sequences;
use crate::error::Result;
use crate::format::paths::ArchivePath;
use crate::model::{Digest, StorePath, VaultUri};
use crate::store::{self, Protection};

/// What a listing showed.
#[derive(Default)]
pub(super) struct Inventory {
    /// The logs of vaults that have any file, the oldest version of each log file.
    pub(super) logs: BTreeMap<VaultUri, Sequences>,
    /// How the oldest version of each file is protected, by half the digest of its path.
    files: HashMap<[u8; 16], Protection>,
    /// When the first of what no snapshot renews loses its protection: `archive.json`, and each vault's log.
    archive: Option<DateTime<Utc>>,
    records: BTreeMap<VaultUri, DateTime<Utc>>,
}

impl Inventory {
    /// Lists the vaults' files and asks how the store as a whole protects them.
    pub(super) async fn read(store: &dyn store::Read) -> Result<Inventory> {
        let guard = store.guard().await?;
        let mut inventory = Inventory::default();
        let mut list = store.list("");
        while let Some(listed) = list.next().await {
            let listed = listed?;
            let Ok(path) = &listed.path else { continue };
            let (vault, log) = match ArchivePath::parse(path) {
                Some(ArchivePath::Log { vault, sequence }) => (vault, Some(sequence)),
                Some(
                    ArchivePath::Capture { vault, .. }
                    | ArchivePath::Settings { vault, .. }
                    | ArchivePath::Manifest { vault, .. },
                ) => (vault, None),
                Some(ArchivePath::Archive) => {
                    // The oldest version comes first, and is the one that counts.
                    inventory.archive = inventory.archive.or_else(|| ends(guard.covers(&listed)));
                    continue;
                }
                None => continue,
            };
            let protection = guard.covers(&listed);
            if let std::collections::hash_map::Entry::Vacant(place) = inventory.files.entry(key(path)) {
                place.insert(protection);
                if let Some(end) = ends(protection).filter(|_| log.is_some()) {
                    let first = inventory.records.entry(vault.clone()).or_insert(end);
                    *first = (*first).min(end);
                }
            }
            let log_of = inventory.logs.entry(vault).or_default();
            if let Some(sequence) = log {
                log_of.entry(sequence).or_insert(listed.version);
            }
        }
        Ok(inventory)
    }

    /// When the first of what no snapshot of a vault renews loses its protection.
    pub(super) fn records(&self, vault: &VaultUri) -> Option<DateTime<Utc>> {
        self.records.get(vault).copied().into_iter().chain(self.archive).min()
    }

    /// How a file is protected now; `None` where it is not there.
    pub(super) fn protection(&self, path: &StorePath) -> Option<Protection> {
        self.files.get(&key(path)).copied()
    }
}

/// When protection ends; a legal hold has no end.
fn ends(protection: Protection) -> Option<DateTime<Utc>> {
    protection.until.filter(|_| !protection.legal_hold)
}

fn key(path: &StorePath) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(Digest::of(path.as_str().as_bytes()).0).for_each(|(to, from)| *to = from);
    half
}
