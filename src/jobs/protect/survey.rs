//! Every version in the archive, and what it is to the archive: manifests tell what is needed, listings what there is.

use std::collections::HashMap;

use futures::StreamExt;

use crate::archive::Reader;
use crate::error::{Context, Kind, Result};
use crate::format::entry::Class;
use crate::format::paths::{self, ArchivePath};
use crate::jobs::history::Log;
use crate::model::{Digest, StorePath, VaultUri};
use crate::progress::Progress;
use crate::store::{self, Guard, Listed, Protection};

/// One version of a file.
pub struct Found<'a> {
    /// Whose it is, as its place among the vaults that were asked for; none for `archive.json`.
    pub vault: Option<usize>,
    /// What it is.
    pub class: Class,
    /// Its path.
    pub path: &'a StorePath,
    /// As the store lists it.
    pub listed: &'a Listed,
    /// How it is protected, all told.
    pub protection: Protection,
}

/// What manifests name, by half the digest of its path: a million paths must fit into memory.
#[derive(Default)]
struct Named(HashMap<[u8; 16], Class>);

impl Named {
    /// The class of a path that is named twice is the one that needs it most.
    fn add(&mut self, path: &StorePath, class: Class) {
        self.0.entry(key(path)).and_modify(|known| *known = (*known).min(class)).or_insert(class);
    }

    fn class(&self, path: &StorePath) -> Class {
        self.0.get(&key(path)).copied().unwrap_or(Class::Unreferenced)
    }
}

fn key(path: &StorePath) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(Digest::of(path.as_str().as_bytes()).0).for_each(|(to, from)| *to = from);
    half
}

/// Hands `each` every version of `archive.json` and of the files of `vaults`, in the order of their paths. Returns what
/// could not be read, in sentences: then captures may count as unreferenced that are not.
///
/// # Errors
/// Where the store cannot be read, or the archive has no log of a vault. What is damaged is no reason to leave the rest
/// unprotected.
pub async fn survey(
    store: &dyn store::Read,
    guard: &Guard,
    reader: &Reader<'_>,
    vaults: &[VaultUri],
    progress: &dyn Progress,
    each: &mut (dyn FnMut(Found<'_>) + Send),
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let (archive, nothing) = (paths::archive()?, Named::default());
    list(store, guard, archive.as_str(), None, &nothing, each).await?;
    for (index, vault) in vaults.iter().enumerate() {
        progress.stage("reading manifests", None);
        let named = named(reader, vault, &mut notes).await?;
        progress.stage("listing", None);
        list(store, guard, &paths::vault_prefix(vault), Some(index), &named, each).await?;
    }
    Ok(notes)
}

async fn list(
    store: &dyn store::Read,
    guard: &Guard,
    prefix: &str,
    vault: Option<usize>,
    named: &Named,
    each: &mut (dyn FnMut(Found<'_>) + Send),
) -> Result<()> {
    let mut last: Option<StorePath> = None;
    let mut list = store.list(prefix);
    while let Some(listed) = list.next().await {
        let listed = listed.context("couldn't list the archive")?;
        let Ok(path) = &listed.path else { continue };
        let Some(part) = ArchivePath::parse(path) else { continue };
        // The oldest version comes first, and is the archive; any other was put over it.
        let oldest = last.as_ref() != Some(path);
        let class = match part {
            _ if !oldest => Class::Unreferenced,
            ArchivePath::Archive => Class::Archive,
            ArchivePath::Log { .. } => Class::Log,
            ArchivePath::Manifest { .. } | ArchivePath::Capture { .. } | ArchivePath::Settings { .. } => {
                named.class(path)
            }
        };
        each(Found { vault, class, path, listed: &listed, protection: guard.covers(&listed) });
        if oldest {
            last = Some(path.clone());
        }
    }
    Ok(())
}

/// What the manifests of a vault name.
async fn named(reader: &Reader<'_>, vault: &VaultUri, notes: &mut Vec<String>) -> Result<Named> {
    let mut named = Named::default();
    let log = match Log::read(reader, vault).await {
        Ok(log) => log,
        Err(error) if error.kind() == Kind::Tampered => {
            notes.push(error.to_string());
            return Ok(named);
        }
        Err(error) => return Err(error),
    };
    for sequence in &log.damaged {
        notes
            .push(format!("entry {sequence} in the log of {} does not hold: what it names is not known", vault.host()));
    }
    let mut class = Class::Captures;
    for snapshot in log.snapshots() {
        named.add(&snapshot.manifest, Class::Manifests);
        let mut captures = Vec::new();
        let lines = reader.manifest_lines(snapshot, |_, line| {
            captures.extend(line.capture.map(|capture| key(&capture.path)));
            Ok(())
        });
        match lines.await {
            Ok(header) => {
                captures.extend(header.settings.map(|settings| key(&settings.path)));
                for capture in captures {
                    named.0.entry(capture).or_insert(class);
                }
            }
            Err(error) if error.kind() == Kind::Tampered => {
                notes.push(format!("snapshot {} of {} cannot be read: {error}", snapshot.sequence, vault.host()));
            }
            Err(error) => return Err(error.context("couldn't read a manifest")),
        }
        // Only the newest one's are the newest, whether it can be read or not.
        class = Class::OldCaptures;
    }
    Ok(named)
}
