//! Captures that somebody brought in files, such as on a USB stick. No archive vouches for them, unless one is there after
//! all: then it is asked whether it names these very files.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::open_file;
use super::plan::{Eyes, Ground, finish, ledger};
use crate::archive::Reader;
use crate::error::{Error, Kind, Result};
use crate::jobs::history::{self, Log};
use crate::model::{Object, VaultFacts, VaultUri};
use crate::restore::decide::Wanted;
use crate::restore::{Allowed, Origin, Plan, Source};
use crate::seal::Identities;

/// Opened captures of one vault, without their blobs.
pub struct Brought {
    /// The vault that they were taken from, by their own word.
    pub vault: VaultUri,
    wanted: Vec<Wanted>,
}

/// Opens captures in files.
///
/// # Errors
/// `Usage` where they come from several vaults, or two hold the same object.
pub fn bring(identities: &Identities, paths: &[PathBuf]) -> Result<Brought> {
    let mut brought: Option<Brought> = None;
    for path in paths {
        let (capture, sha256) = open_file(identities, path)?;
        let (vault, shown) = (capture.metadata.vault.clone(), path.display());
        let brought = brought.get_or_insert_with(|| Brought { vault: vault.clone(), wanted: Vec::new() });
        if brought.vault != vault {
            return Err(Error::usage(format!("{shown} was taken from {vault}, and others from {}", brought.vault))
                .hint("make one plan for each vault"));
        }
        let source = Source::of(&capture);
        if brought.wanted.iter().any(|wanted| wanted.source.object == source.object) {
            return Err(Error::usage(format!("{shown} is a second capture of {}", source.object))
                .hint("bring the one that is to be restored; `akv-archiver open` shows when each was taken"));
        }
        let path = path.to_str().ok_or_else(|| Error::usage(format!("the name {shown} is not text")))?;
        brought.wanted.push(Wanted { source, from: Origin::File { path: path.to_owned(), sha256 } });
    }
    brought.ok_or_else(|| Error::usage("no file is given"))
}

/// Plans a restore from files.
pub async fn plan_files(eyes: &Eyes<'_>, brought: Brought, allowed: Allowed) -> Result<Plan> {
    let mut ground = Ground { wanted: brought.wanted, ..Ground::default() };
    let asked = match eyes.reader {
        Some(reader) => ask_archive(reader, &eyes.source, &mut ground).await,
        None => Err(Error::usage("no archive was asked")),
    };
    if let Err(error) = asked {
        let all: Vec<&Object> = ground.wanted.iter().map(|wanted| &wanted.source.object).collect();
        ground.notes = vec![
            unvouched(&all),
            format!(
                "{error}: whether HSM keys were restored into this vault before is not known, and no log will tell of \
                 this restore"
            ),
        ];
    }
    finish(eyes, ground, allowed).await
}

fn unvouched(objects: &[&Object]) -> String {
    format!(
        "no archive vouches for the files of {}: anybody can seal one to your recipients, so be sure where they come from",
        history::some_of(objects)
    )
}

/// Asks the archive which of the files it names, and what was restored before. All of it, or nothing.
async fn ask_archive(reader: &Reader<'_>, vault: &VaultUri, ground: &mut Ground) -> Result<()> {
    let log = Log::read(reader, vault).await?;
    ground.notes.extend(log.note());
    let facts = vouch(reader, &log, ground).await?;
    ground.ledger = ledger(reader, &log, &ground.wanted, &mut ground.notes).await?;
    ground.source_facts = facts;
    ground.archive_id = Some(reader.archive().archive_id);
    Ok(())
}

/// Looks for the very files in manifests, from the newest on, and tells of each. Returns the vault as the newest snapshot
/// that could be read saw it.
async fn vouch(reader: &Reader<'_>, log: &Log, ground: &mut Ground) -> Result<Option<VaultFacts>> {
    let Ground { wanted, notes, .. } = ground;
    let mut open: BTreeSet<&Object> = wanted.iter().map(|wanted| &wanted.source.object).collect();
    let mut facts = None;
    for snapshot in log.snapshots() {
        if open.is_empty() {
            break;
        }
        let (header, lines) = match history::lines_of(reader, snapshot, &open).await {
            Ok(found) => found,
            Err(error) if error.kind() == Kind::Tampered => {
                notes.push(history::gone_around(snapshot, &error));
                continue;
            }
            Err(error) => return Err(error),
        };
        facts = facts.or(header.facts);
        for Wanted { source, from } in wanted.iter() {
            let named = lines.get(&source.object).and_then(|line| line.capture.as_ref());
            if let (Origin::File { path, sha256 }, Some(named)) = (from, named)
                && named.sha256 == *sha256
                && open.remove(&source.object)
            {
                let told = history::told(snapshot);
                notes.push(format!("{path} is in the archive: {told} names it as the capture of {}", source.object));
            }
        }
    }
    if !open.is_empty() {
        notes.push(unvouched(&open.into_iter().collect::<Vec<_>>()));
    }
    Ok(facts)
}
