//! The inventory: one listing of the whole store, against which everything else is looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::StreamExt;

use super::finding::{Code, Findings};
use crate::error::{Context, Result};
use crate::format::paths::ArchivePath;
use crate::model::{StorePath, VaultUri};
use crate::store::{self, Listed};

/// A file as listed, with what verification learns of it.
pub(super) struct File {
    /// The oldest version: the one that counts.
    pub(super) oldest: Listed,
    /// Whether something refers to it.
    referenced: AtomicBool,
}

/// Every file in a store.
pub(super) struct Inventory {
    files: BTreeMap<StorePath, File>,
    vaults: BTreeSet<VaultUri>,
    versions: u64,
    /// Vaults of which something could not be read that refers to files.
    blind: Mutex<BTreeSet<VaultUri>>,
}

impl Inventory {
    /// Lists the store. Extra versions and names that are not ours are findings.
    pub(super) async fn read(store: &dyn store::Read, findings: &mut Findings) -> Result<Inventory> {
        let mut inventory =
            Inventory { files: BTreeMap::new(), vaults: BTreeSet::new(), versions: 0, blind: Mutex::default() };
        let mut list = store.list("");
        while let Some(listed) = list.next().await {
            inventory.add(listed.context("couldn't list the archive")?, findings);
        }
        Ok(inventory)
    }

    fn add(&mut self, listed: Listed, findings: &mut Findings) {
        self.versions += 1;
        let path = match &listed.path {
            Ok(path) => path.clone(),
            Err(name) => {
                return findings.add(Code::ForeignFile, name.clone(), "its name is not one that an archive has");
            }
        };
        if self.files.contains_key(&path) {
            let version = listed.version.unwrap_or_default();
            let detail =
                format!("version {version} of {} was written over it; readers use the oldest version", listed.created);
            return findings.add(Code::ExtraVersion, path.as_str(), detail);
        }
        match ArchivePath::parse(&path) {
            Some(ArchivePath::Archive) => {}
            Some(
                ArchivePath::Capture { vault, .. }
                | ArchivePath::Settings { vault, .. }
                | ArchivePath::Manifest { vault, .. }
                | ArchivePath::Log { vault, .. },
            ) => drop(self.vaults.insert(vault)),
            None => findings.add(Code::ForeignFile, path.as_str(), "it is no part of an archive"),
        }
        self.files.insert(path, File { oldest: listed, referenced: AtomicBool::new(false) });
    }

    /// How many files there are, every version counted.
    pub(super) fn files(&self) -> u64 {
        self.versions
    }

    /// The vaults that have any file.
    pub(super) fn vaults(&self) -> impl Iterator<Item = &VaultUri> {
        self.vaults.iter()
    }

    /// The version of a path that counts.
    pub(super) fn oldest(&self, path: &StorePath) -> Option<&Listed> {
        self.files.get(path).map(|file| &file.oldest)
    }

    fn blind(&self) -> MutexGuard<'_, BTreeSet<VaultUri>> {
        self.blind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that something refers to a path.
    pub(super) fn mark(&self, path: &StorePath) {
        if let Some(file) = self.files.get(path) {
            file.referenced.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that a log file or manifest of a vault is missing or cannot be read: what it refers to is not known.
    pub(super) fn note_blind(&self, vault: &VaultUri) {
        self.blind().insert(vault.clone());
    }

    /// Every file that is part of an archive.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&StorePath, &Listed)> {
        self.files
            .iter()
            .filter(|(path, _)| ArchivePath::parse(path).is_some())
            .map(|(path, file)| (path, &file.oldest))
    }

    /// The log files of a vault, by sequence.
    pub(super) fn log(&self, vault: &VaultUri) -> BTreeMap<u64, (&StorePath, &Listed)> {
        self.parts()
            .filter_map(|(path, listed)| match ArchivePath::parse(path)? {
                ArchivePath::Log { vault: owner, sequence } if owner == *vault => Some((sequence, (path, listed))),
                _ => None,
            })
            .collect()
    }

    /// Captures, settings and manifests that nothing refers to are notes: a run that was cut short leaves them. Where a
    /// log file or manifest cannot be read, they may be its own.
    pub(super) fn report_orphans(&self, findings: &mut Findings) {
        for (path, _) in self.files.iter().filter(|(_, file)| !file.referenced.load(Ordering::Relaxed)) {
            let Some(
                ArchivePath::Capture { vault, .. }
                | ArchivePath::Settings { vault, .. }
                | ArchivePath::Manifest { vault, .. },
            ) = ArchivePath::parse(path)
            else {
                continue;
            };
            let detail = match self.blind().contains(&vault) {
                false => "no log entry refers to it; a run that was cut short leaves such files",
                true => "nothing that can be read refers to it; a log file or manifest that cannot be read may",
            };
            findings.add(Code::Orphan, path.as_str(), detail);
        }
    }
}
