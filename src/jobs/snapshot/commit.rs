//! Committing what a run has: read the new captures back, write the book as a manifest, append a log entry. Done at the
//! end of a run, and half-way through a long one, so that whatever ends it loses little.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;

use super::run::Run;
use super::settings;
use crate::archive::{Appender, md5, oldest_of};
use crate::error::{Context, Error, Result};
use crate::format::entry::{Event, SnapshotRef};
use crate::format::manifest::{self, Encoded, Header, Status};
use crate::format::paths;
use crate::jobs::protection::{Written, compare, doubled, gone, read_back};
use crate::model::Object;
use crate::store::Condition;

/// How often a run commits before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// After so many new captures.
    pub captures: usize,
    /// Or after this time, if there is a new capture.
    pub every: Duration,
}

impl Default for Rhythm {
    // A manifest lists the whole vault, so committing more often costs more than it saves.
    fn default() -> Self {
        Rhythm { captures: 20_000, every: Duration::from_secs(600) }
    }
}

/// Whether it is time to commit half-way.
pub(super) fn due(run: &Run<'_>) -> bool {
    let Rhythm { captures, every } = run.order.rhythm;
    let fresh = run.fresh.len();
    let since = run.doors.ambient.monotonic().saturating_sub(run.committed_at);
    fresh > 0 && (fresh >= captures || since >= every)
}

/// Commits the book as it stands.
pub(super) async fn commit(run: &mut Run<'_>) -> Result<()> {
    secure(run).await?;
    let doors = run.doors;
    if let Some(new) = run.new_settings.take() {
        match settings::store(doors, run.order, &run.guard, new).await? {
            Ok((stored, digest)) => {
                (run.header.settings, run.header.settings_fingerprint) = (Some(stored), Some(digest));
            }
            Err(gap) => run.gaps.push(gap),
        }
    }
    doors.progress.stage("committing", None);
    let header = head(run);
    let encoded = encode(run, &header)?;
    let vault = doors.vault.uri();
    let path = paths::manifest(vault, header.sequence, encoded.sha256)?;
    let appender = Appender::new(doors.store, doors.reader, doors.signer, vault, doors.ambient);
    let snapshot = SnapshotRef::of(&header, &encoded, path.clone());
    let digest = md5(&encoded.bytes);
    let version = match appender.create(&path, encoded.bytes.into()).await {
        Ok(created) => created.version,
        // Its name is its digest: another run saw the same in the same second, which only of an empty vault can be told in
        // the same words. Theirs is as good as ours, if it is what its name says, and that is looked at next.
        Err(error) if error.condition == Condition::Exists => {
            oldest_of(doors.store, &path).await.context("couldn't look for the manifest")?.and_then(|it| it.version)
        }
        Err(error) => return Err(Error::from(error).context("couldn't store the manifest")),
    };
    let size = snapshot.size;
    let written = Written { path: path.clone(), version: version.clone(), size, md5: digest };
    read_back(doors.store, &run.guard, run.order.worm, &written).await?;
    let snapshot = SnapshotRef { version, ..snapshot };
    let sequence =
        appender.commit(|_, sequence| Ok(Event::Snapshot(SnapshotRef { sequence, ..snapshot.clone() }))).await?;
    run.committed_at = doors.ambient.monotonic();
    run.sequences.push(sequence);
    run.header = Header { sequence: sequence + 1, ..header };
    Ok(())
}

/// The header of a manifest that is written now.
fn head(run: &Run<'_>) -> Header {
    let counts = run.book.counts();
    let blind = !run.listed || run.gaps.iter().any(|gap| gap.code == "malformed-item");
    Header {
        finished: run.doors.ambient.now(),
        status: if counts.gaps > 0 || blind { Status::Partial } else { Status::Complete },
        counts,
        gaps: Header::cap_gaps(run.gaps.clone()),
        ..run.header.clone()
    }
}

fn encode(run: &Run<'_>, header: &Header) -> Result<Encoded> {
    manifest::encode(header, || run.book.lines()).context("couldn't write the manifest")
}

/// Up to so many captures are looked up one by one; more are read from one listing of all, in which a page holds a thousand.
const ONE_BY_ONE: usize = 8;

/// Reads the captures back that were stored since the last commit, and notes how they are protected.
async fn secure(run: &mut Run<'_>) -> Result<()> {
    if run.fresh.is_empty() {
        return Ok(());
    }
    run.doors.progress.stage("reading back", None);
    let (store, demand, fresh) = (run.doors.store, run.order.worm, std::mem::take(&mut run.fresh));
    if fresh.len() > ONE_BY_ONE {
        return read_all_back(run, fresh).await;
    }
    for object in &fresh {
        let protection = read_back(store, &run.guard, demand, &stored(run, object)?).await?;
        run.secured(object, protection);
    }
    Ok(())
}

/// Looks for many captures in one listing. What they should be, the book says: a list of that would take as much memory as
/// the manifest that is written next.
async fn read_all_back(run: &mut Run<'_>, fresh: BTreeSet<Object>) -> Result<()> {
    let (store, demand) = (run.doors.store, run.order.worm);
    let prefix = paths::captures_prefix(run.doors.vault.uri());
    let mut wanted: BTreeMap<Object, bool> = fresh.into_iter().map(|object| (object, false)).collect();
    let mut list = store.list(&prefix);
    while let Some(listed) = list.next().await {
        let listed = listed?;
        let Ok(path) = &listed.path else { continue };
        let Some(object) = paths::object_below(&prefix, path) else { continue };
        let Some(found) = wanted.get_mut(&object) else { continue };
        let file = stored(run, &object)?;
        if file.path != *path {
            continue;
        }
        if std::mem::replace(found, true) {
            return Err(doubled(path));
        }
        let protection = compare(store, &run.guard, demand, &file, &listed).await?;
        run.secured(&object, protection);
    }
    match wanted.iter().find(|(_, found)| !**found) {
        Some((object, _)) => Err(gone(&stored(run, object)?.path)),
        None => Ok(()),
    }
}

/// A capture that this run stored, as the book has it.
fn stored(run: &Run<'_>, object: &Object) -> Result<Written> {
    let remembered = run.book.remembered(object).map(|remembered| remembered.file);
    remembered.ok_or_else(|| Error::internal(format!("the capture of {object} was stored and not entered")))
}
