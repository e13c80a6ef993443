//! The inventory: one listing of the whole store, against which everything else is looked up. Of captures, which may be
//! a million, it keeps little; of the rest what the listing shows.

use std::collections::BTreeMap;

use futures::StreamExt;

use super::captures::Captures;
use super::finding::{Code, Findings};
use super::snapshots::Stray;
use crate::error::{Context, Result};
use crate::format::paths::ArchivePath;
use crate::model::{StorePath, VaultUri};
use crate::store::{self, Guard, Listed, Protection};

/// Every file in a store.
pub(super) struct Inventory {
    /// `archive.json`.
    pub(super) archive: Option<Listed>,
    /// The vaults that have any file.
    pub(super) shelves: BTreeMap<VaultUri, Shelf>,
    /// How many files there are, every version counted.
    pub(super) files: u64,
}

/// The files of one vault.
pub(super) struct Shelf {
    /// Its log, by sequence.
    pub(super) log: BTreeMap<u64, Listed>,
    /// Its manifests, and whether a log entry refers to them.
    pub(super) manifests: BTreeMap<StorePath, (Listed, bool)>,
    /// Its captures and settings.
    pub(super) captures: Captures,
    /// What manifests refer to and the listing did not show.
    pub(super) strays: BTreeMap<StorePath, Stray>,
    /// Whether a log file or manifest is missing or does not hold: what it refers to, or referred to, is not known.
    pub(super) blind: bool,
}

impl Shelf {
    fn new(vault: &VaultUri) -> Self {
        let captures = Captures::new(vault);
        Shelf { log: BTreeMap::new(), manifests: BTreeMap::new(), captures, strays: BTreeMap::new(), blind: false }
    }
}

impl Inventory {
    /// Lists the store. Extra versions and names that are not ours are findings.
    pub(super) async fn read(store: &dyn store::Read, guard: &Guard, findings: &mut Findings) -> Result<Inventory> {
        let mut inventory = Inventory { archive: None, shelves: BTreeMap::new(), files: 0 };
        let mut list = store.list("");
        let mut newest: Option<Listed> = None;
        while let Some(listed) = list.next().await {
            let listed = listed.context("couldn't list the archive")?;
            if let Some(newest) = newest.filter(|newest| newest.path != listed.path) {
                report_deleted(&newest, findings);
            }
            newest = Some(listed.clone());
            inventory.add(listed, guard, findings);
        }
        newest.iter().for_each(|newest| report_deleted(newest, findings));
        inventory.shelves.values_mut().for_each(|shelf| shelf.captures.complete(findings));
        Ok(inventory)
    }

    fn add(&mut self, listed: Listed, guard: &Guard, findings: &mut Findings) {
        self.files += 1;
        let path = match &listed.path {
            Ok(path) => path.clone(),
            Err(name) => {
                return findings.add(Code::ForeignFile, name.clone(), "its name is not one that an archive has");
            }
        };
        let extra = match ArchivePath::parse(&path) {
            None => return findings.add(Code::ForeignFile, path.as_str(), "it is no part of an archive"),
            Some(ArchivePath::Archive) if self.archive.is_none() => {
                self.archive = Some(listed);
                None
            }
            Some(ArchivePath::Archive) => Some(listed),
            Some(ArchivePath::Capture { vault, .. } | ArchivePath::Settings { vault, .. }) => {
                let protection = guard.covers(&listed);
                self.shelf(vault).captures.add(&path, &listed, protection, findings);
                None
            }
            Some(ArchivePath::Manifest { vault, .. }) => {
                keep(&mut self.shelf(vault).manifests, path.clone(), listed, |listed| (listed, false))
            }
            Some(ArchivePath::Log { vault, sequence }) => {
                keep(&mut self.shelf(vault).log, sequence, listed, |listed| listed)
            }
        };
        if let Some(listed) = extra {
            report_extra(path.as_str(), &listed, findings);
        }
    }

    fn shelf(&mut self, vault: VaultUri) -> &mut Shelf {
        self.shelves.entry(vault).or_insert_with_key(Shelf::new)
    }

    /// The protection of every file that is part of the archive, and how to tell its path.
    pub(super) fn each_protection(&self, guard: &Guard, mut each: impl FnMut(&dyn Fn() -> String, Protection)) {
        let shelves = self.shelves.values();
        let kept =
            shelves.flat_map(|shelf| shelf.log.values().chain(shelf.manifests.values().map(|(listed, _)| listed)));
        for listed in self.archive.iter().chain(kept) {
            each(&|| listed.path.as_ref().map(ToString::to_string).unwrap_or_default(), guard.covers(listed));
        }
        for (path, protection) in self.shelves.values().flat_map(|shelf| shelf.captures.protections()) {
            each(&path, protection);
        }
    }

    /// Captures, settings and manifests that nothing refers to are notes: a run that was cut short leaves them. Where a
    /// log file or manifest is missing or does not hold, they may be its own.
    pub(super) fn report_orphans(&self, findings: &mut Findings) {
        for shelf in self.shelves.values() {
            let detail = match shelf.blind {
                false => "no log entry refers to it; a run that was cut short leaves such files",
                true => "nothing that holds refers to it; a log file or manifest that is missing or does not hold may",
            };
            let manifests = shelf.manifests.iter().filter(|(_, (_, referenced))| !referenced);
            manifests.for_each(|(path, _)| findings.add(Code::Orphan, path.as_str(), detail));
            shelf.captures.unreferenced().for_each(|path| findings.add(Code::Orphan, path, detail));
        }
    }
}

/// Keeps the oldest version, which comes first; gives back any other.
fn keep<K: Ord, V>(
    files: &mut BTreeMap<K, V>,
    key: K,
    listed: Listed,
    value: impl FnOnce(Listed) -> V,
) -> Option<Listed> {
    match files.entry(key) {
        std::collections::btree_map::Entry::Occupied(_) => Some(listed),
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(value(listed));
            None
        }
    }
}

/// A path of the archive whose newest version is no current one: it was deleted as a name. Readers know its oldest version
/// and go on reading it, until somebody deletes that.
fn report_deleted(newest: &Listed, findings: &mut Findings) {
    if let Ok(path) = newest.path.as_ref()
        && !newest.current
        && ArchivePath::parse(path).is_some()
    {
        let detail = "it was deleted; a version of it is left, which is what readers use";
        findings.add(Code::NameDeleted, path.as_str(), detail);
    }
}

/// Another version of a path than the oldest.
pub(super) fn report_extra(path: &str, listed: &Listed, findings: &mut Findings) {
    let version = listed.version.as_deref().unwrap_or_default();
    let detail = format!("version {version} of {} was written over it; readers use the oldest version", listed.created);
    findings.add(Code::ExtraVersion, path, detail);
}
