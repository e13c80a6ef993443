//! One listing of the store, kept as little as it takes to say which vaults there are and how each file is protected:
//! an archive has a million files, and a listing of it must fit into a job's memory.

use std::collections::{BTreeMap, HashMap};

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
}

impl Inventory {
    /// Lists the vaults' files and asks how the store as a whole protects them.
    pub(super) async fn read(store: &dyn store::Read) -> Result<Inventory> {
        let guard = store.guard().await?;
        let mut inventory = Inventory::default();
        let mut list = store.list("vaults/");
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
                Some(ArchivePath::Archive) | None => continue,
            };
            inventory.files.entry(key(path)).or_insert_with(|| guard.covers(&listed));
            let log_of = inventory.logs.entry(vault).or_default();
            if let Some(sequence) = log {
                log_of.entry(sequence).or_insert(listed.version);
            }
        }
        Ok(inventory)
    }

    /// How a file is protected now; `None` where it is not there.
    pub(super) fn protection(&self, path: &StorePath) -> Option<Protection> {
        self.files.get(&key(path)).copied()
    }
}

fn key(path: &StorePath) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(Digest::of(path.as_str().as_bytes()).0).for_each(|(to, from)| *to = from);
    half
}
