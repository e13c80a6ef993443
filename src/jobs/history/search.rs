//! Finding captures: those of given objects in the newest snapshots that have them, and the objects of a snapshot. Damage
//! is gone around and told. Opens nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::lines_of;
use super::log::{Log, Range, told};
use crate::archive::Reader;
use crate::error::{Error, Kind, Result};
use crate::format::entry::SnapshotRef;
use crate::format::manifest::{CaptureRef, Header, Line, State};
use crate::model::{Kind as ObjectKind, Object, VaultFacts, VaultUri};

/// A capture, the manifest it was found in, and that manifest's sequence number.
#[derive(Clone, Debug)]
pub struct Found {
    /// The snapshot.
    pub snapshot: u64,
    /// The capture.
    pub capture: CaptureRef,
    /// How many versions it holds.
    pub versions: Option<u64>,
    /// The vault as that snapshot saw it.
    pub facts: Option<VaultFacts>,
}

/// What a search found: one result per object, in order, and what a person should know of it.
#[derive(Default)]
pub struct Search {
    /// What was found.
    pub found: Vec<Option<Found>>,
    /// Damage that the search went around, and captures that are older than the snapshot which names them.
    pub notes: Vec<String>,
    /// Objects that a snapshot left out by its policy, of those that were looked at.
    excluded: BTreeSet<Object>,
    /// What was searched.
    place: String,
    /// Snapshots that could not be read.
    unreadable: Vec<u64>,
}

impl Search {
    /// The objects that were not found.
    pub fn missing(&self, objects: &[Object]) -> Vec<Object> {
        objects.iter().zip(&self.found).filter(|(_, found)| found.is_none()).map(|(object, _)| object.clone()).collect()
    }

    /// What was found; every object must have been.
    pub fn all(self, vault: &VaultUri, objects: &[Object]) -> Result<Vec<Found>> {
        let each = objects.iter().zip(&self.found);
        each.map(|(object, found)| found.clone().ok_or_else(|| self.unknown(vault, object))).collect()
    }

    /// The error that an object was not found, with what was searched and what hides from the search.
    pub fn unknown(&self, vault: &VaultUri, object: &Object) -> Error {
        let error = unknown(&self.place, vault, object, self.excluded.contains(object));
        match self.unreadable.as_slice() {
            [] => error,
            damaged => error.context(format!("snapshots {} do not hold, and of the others", some_of(damaged))),
        }
    }

    /// Looks up in one snapshot what is still looked for.
    async fn look(&mut self, reader: &Reader<'_>, snapshot: &SnapshotRef, objects: &[Object]) -> Result<()> {
        let open = objects.iter().zip(&self.found).filter(|(_, found)| found.is_none());
        let wanted: BTreeSet<&Object> = open.map(|(object, _)| object).collect();
        let (header, lines) = lines_of(reader, snapshot, &wanted).await?;
        let mut stale = Vec::new();
        for (object, slot) in objects.iter().zip(&mut self.found).filter(|(_, slot)| slot.is_none()) {
            let Some(line) = lines.get(object) else { continue };
            if line.state == State::Excluded {
                self.excluded.insert(object.clone());
            }
            let Some(capture) = line.capture.clone() else { continue };
            if let Some(gap) = &line.gap {
                let at = capture.captured_at.format("%Y-%m-%d %H:%M");
                stale.push(format!("{object} ({}; captured {at})", gap.code));
            }
            let (versions, facts) = (line.versions, header.facts.clone());
            *slot = Some(Found { snapshot: snapshot.sequence, capture, versions, facts });
        }
        if !stale.is_empty() {
            let what = format!("snapshot {} could not take, and names earlier captures of", snapshot.sequence);
            self.notes.push(format!("{what} {}", some_of(&stale)));
        }
        Ok(())
    }
}

/// A list for a sentence, cut where nobody would read on.
pub(in crate::jobs) fn some_of<T: ToString>(items: &[T]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    match items.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The newest capture of each object, or that of snapshot `at`; every object must have one.
pub async fn find(reader: &Reader<'_>, vault: &VaultUri, objects: &[Object], at: Option<u64>) -> Result<Vec<Found>> {
    let log = Log::read(reader, vault).await?;
    let range = at.map_or_else(|| Ok(log.all()), |number| log.numbered(number))?;
    search(reader, &log, &range, objects).await?.all(vault, objects)
}

/// The captures that snapshot `number` has of the objects; it must have all of them.
pub async fn find_in(reader: &Reader<'_>, log: &Log, objects: &[Object], number: u64) -> Result<Vec<Found>> {
    search(reader, log, &log.numbered(number)?, objects).await?.all(&log.vault, objects)
}

/// Looks for the newest capture of each object in some snapshots: what the newest of them no longer has is looked for in
/// older ones.
///
/// Damage is gone around and told: whoever needs a key back must not be stopped by a file that has nothing to do with it.
/// What is used is signed all the same.
pub async fn search(reader: &Reader<'_>, log: &Log, range: &Range<'_>, objects: &[Object]) -> Result<Search> {
    let mut search = Search {
        found: objects.iter().map(|_| None).collect(),
        notes: log.note().into_iter().collect(),
        place: range.place.clone(),
        ..Search::default()
    };
    for snapshot in &range.snapshots {
        if search.found.iter().all(Option::is_some) {
            break;
        }
        match search.look(reader, snapshot, objects).await {
            Err(error) if error.kind() == Kind::Tampered && !range.only => {
                search.notes.push(gone_around(snapshot, &error));
                search.unreadable.push(snapshot.sequence);
            }
            other => other?,
        }
    }
    let found = objects.iter().zip(&search.found).filter(|(_, found)| found.is_some());
    let left_out: Vec<&Object> = found.map(|(object, _)| object).filter(|o| search.excluded.contains(o)).collect();
    if !left_out.is_empty() {
        let note = format!("the archive's policy leaves out, and only earlier snapshots have: {}", some_of(&left_out));
        search.notes.push(note);
    }
    Ok(search)
}

/// What is said of a snapshot that could not be read.
pub(in crate::jobs) fn gone_around(snapshot: &SnapshotRef, error: &Error) -> String {
    format!("snapshot {} does not hold, and others were used: {error}", snapshot.sequence)
}

/// The objects of a snapshot.
#[derive(Debug)]
pub struct Population {
    /// The snapshot, for a sentence.
    pub snapshot: String,
    /// All objects that it names, whatever it says of them.
    pub named: BTreeSet<Object>,
    /// The live ones: those that it could not take too, since an earlier snapshot may have.
    pub live: Vec<Object>,
    /// Those that were soft-deleted when it was taken, but for keys and secrets of certificates.
    pub deleted: Vec<Object>,
    /// Those that the archive's policy left out.
    pub excluded: Vec<Object>,
    /// Damage that was gone around.
    pub notes: Vec<String>,
}

/// The objects of the newest snapshot of a range that can be read.
pub async fn population(reader: &Reader<'_>, log: &Log, range: &Range<'_>) -> Result<Population> {
    let mut notes = Vec::new();
    for snapshot in &range.snapshots {
        let mut lines = BTreeMap::new();
        let each = |_: &Header, line: Line| {
            // Of a name's lines as live and as deleted, the live one.
            let state = line.state;
            let known = lines.entry(line.object()).or_insert(state);
            *known = if *known == State::Deleted { state } else { *known };
            Ok(())
        };
        match reader.manifest_lines(snapshot, each).await {
            Ok(_) => return Ok(populated(snapshot, lines, notes)),
            Err(error) if error.kind() == Kind::Tampered && !range.only => notes.push(gone_around(snapshot, &error)),
            Err(error) => return Err(error),
        }
    }
    match notes.is_empty() {
        true => Err(super::log::nothing(&log.vault)),
        false => {
            let message = format!("no snapshot of {} can be read: {}", log.vault.host(), some_of(&notes));
            Err(Error::new(Kind::Tampered, message).hint("`akv-archiver verify` tells why"))
        }
    }
}

fn populated(snapshot: &SnapshotRef, lines: BTreeMap<Object, State>, notes: Vec<String>) -> Population {
    let of = |wanted: State| -> Vec<Object> {
        lines.iter().filter(|(_, state)| **state == wanted).map(|(object, _)| object.clone()).collect()
    };
    let mut deleted = of(State::Deleted);
    // What goes with a certificate comes back with it, and has no capture of its own.
    deleted.retain(|object| {
        let certificate = Object::new(ObjectKind::Certificate, object.name.clone());
        object.kind == ObjectKind::Certificate || lines.get(&certificate) != Some(&State::Deleted)
    });
    let (live, excluded) = (of(State::Live), of(State::Excluded));
    let named = lines.into_keys().collect();
    Population { snapshot: told(snapshot), named, live, deleted, excluded, notes }
}

/// There is no capture of an object; perhaps because the policy leaves it out.
pub(super) fn unknown(place: &str, vault: &VaultUri, object: &Object, excluded: bool) -> Error {
    let message = format!("{place} holds no capture of {object} from {}", vault.host());
    match excluded {
        true => Error::new(Kind::NotFound, format!("{message}: its policy leaves the object out"))
            .hint("what a policy leaves out was never read from the vault; change the policy and take a snapshot"),
        false => Error::new(Kind::NotFound, message)
            .hint("`akv-archiver list` shows what there is; a key or secret that belongs to a certificate is restored with the certificate"),
    }
}
