//! Choosing: which captures a restore takes, by name, pattern or kind, and by snapshot, time or version. Reads manifests,
//! and opens a capture only where its versions are asked for. Looks at no vault.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::fetch;
use crate::archive::Reader;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::format::entry::SnapshotRef;
use crate::format::manifest::{CaptureRef, State};
use crate::jobs::history::{self, Found, Log, Population, Range};
use crate::model::{Kind, Object, Pattern};
use crate::progress::Progress;
use crate::restore::{Allowed, Origin, Source};
use crate::seal::Identities;

/// What somebody wants back.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Which objects.
    pub selection: Selection,
    /// From which captures.
    pub point: Point,
    /// What may be done beyond what loses nothing.
    pub allowed: Allowed,
    /// Whether the vault's settings are to be written, too.
    pub vault_settings: bool,
}

impl Request {
    /// The newest captures of these objects; none means all.
    pub fn of(objects: &[Object]) -> Self {
        let selection = Selection { objects: objects.to_vec(), all: objects.is_empty(), ..Selection::default() };
        Request { selection, ..Request::default() }
    }
}

/// Which objects.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// These; each must have a capture.
    pub objects: Vec<Object>,
    /// Those that one of these describes; each must describe one.
    pub patterns: Vec<Pattern>,
    /// Everything of these kinds.
    pub kinds: Vec<Kind>,
    /// Everything; with kinds, everything of them.
    pub all: bool,
}

/// From which captures.
#[derive(Clone, Debug, Default)]
pub enum Point {
    /// The newest that there are.
    #[default]
    Newest,
    /// Those of a snapshot.
    Snapshot(u64),
    /// Those of the newest snapshot that had begun by then, and of older ones for what it does not have.
    Time(DateTime<Utc>),
    /// The newest that contains this version of the one object.
    Version(String),
}

/// What was chosen.
pub(super) struct Chosen {
    /// Objects and their captures, in order.
    pub(super) found: Vec<(Object, Found)>,
    /// Objects that were asked for by name.
    pub(super) named: BTreeSet<Object>,
    /// Objects that were asked for with others, and have no capture.
    pub(super) missing: Vec<Object>,
    /// Whether everything was asked for.
    pub(super) whole: bool,
    /// What a person should know of how they were found.
    pub(super) notes: Vec<String>,
}

/// Chooses captures from what a vault's log names.
pub(super) async fn choose(
    reader: &Reader<'_>,
    identities: &Identities,
    log: &Log,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Chosen> {
    let Request { selection, point, .. } = request;
    let range = match point {
        Point::Newest => log.all(),
        Point::Snapshot(number) => log.numbered(*number)?,
        Point::Time(time) => log.until(*time)?,
        Point::Version(version) => {
            let object = the_one(selection)?;
            let search = Containing { reader, identities, log, object, version, notes: Vec::new() };
            return search.run(progress).await;
        }
    };
    let mut notes = Vec::new();
    if let (Point::Time(time), Some(newest)) = (point, range.snapshots.first()) {
        notes.push(format!("by {}, the newest was {}", history::minute(*time), history::told(newest)));
    }
    let named: BTreeSet<Object> = selection.objects.iter().cloned().collect();
    let mut wanted = named.clone();
    wanted.extend(described(reader, log, &range, selection, &mut notes).await?);
    let objects: Vec<Object> = wanted.into_iter().collect();
    let mut search = history::search(reader, log, &range, &objects).await?;
    notes.append(&mut search.notes);
    let missing: Vec<Object> = search.missing(&objects);
    // What was asked for by name must be there. What came with others is told, and the others come back.
    if let Some(object) = missing.iter().find(|object| named.contains(*object)) {
        return Err(search.unknown(&log.vault, object));
    }
    let each = objects.into_iter().zip(search.found);
    let found = each.filter_map(|(object, found)| Some((object, found?))).collect();
    let whole = selection.all && selection.kinds.is_empty();
    Ok(Chosen { found, named, missing, whole, notes: distinct(notes) })
}

/// Damage is met more than once; a person is told once.
fn distinct(mut notes: Vec<String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    notes.retain(|note| known.insert(note.clone()));
    notes
}

/// The objects that a selection describes without naming them: what the newest snapshot of a range had.
///
/// Everything, and everything of a kind, is what was live then. A pattern stands for names, and whoever uses one often
/// wants back what is gone: it describes what was soft-deleted, too, and that is told.
async fn described(
    reader: &Reader<'_>,
    log: &Log,
    range: &Range<'_>,
    selection: &Selection,
    notes: &mut Vec<String>,
) -> Result<Vec<Object>> {
    let Selection { objects, patterns, kinds, all } = selection;
    let everything = *all || !kinds.is_empty();
    if !everything && patterns.is_empty() {
        return match objects.is_empty() {
            true => Err(Error::usage("nothing is asked for").hint("name objects, or patterns, or use --kind or --all")),
            false => Ok(Vec::new()),
        };
    }
    let mut population = history::population(reader, log, range).await?;
    notes.append(&mut population.notes);
    let Population { snapshot, live, deleted, excluded, .. } = &population;
    let of_kind = |object: &&Object| everything && (kinds.is_empty() || kinds.contains(&object.kind));
    let mut described: Vec<Object> = live.iter().filter(of_kind).cloned().collect();
    if let ([kind, ..], true) = (kinds.as_slice(), described.is_empty()) {
        let message = format!("{snapshot} of {} has no live {kind}", log.vault.host());
        return Err(Error::new(ErrorKind::NotFound, message).hint("--at and --snapshot look at an earlier one"));
    }
    let mut gone = BTreeSet::new();
    for pattern in patterns {
        let fits = |object: &&Object| pattern.matches(object);
        let (lives, lay): (Vec<&Object>, Vec<&Object>) =
            (live.iter().filter(fits).collect(), deleted.iter().filter(fits).collect());
        if lives.is_empty() && lay.is_empty() {
            let message = format!("nothing in {snapshot} of {} fits {pattern}", log.vault.host());
            return Err(Error::new(ErrorKind::NotFound, message).hint(match excluded.iter().any(|o| fits(&o)) {
                true => "the archive's policy leaves out what does; an earlier snapshot may have it (--at, --snapshot)",
                false => "`akv-archiver list` shows what there is; --at and --snapshot look at an earlier one",
            }));
        }
        described.extend(lives.into_iter().chain(lay.iter().copied()).cloned());
        gone.extend(lay);
    }
    if !gone.is_empty() {
        let names = history::some_of(&gone.into_iter().collect::<Vec<_>>());
        notes.push(format!("{snapshot} saw them deleted, and earlier captures are used: {names}"));
    }
    let left_out: Vec<&Object> = excluded.iter().filter(of_kind).collect();
    if !left_out.is_empty() {
        let names = history::some_of(&left_out);
        notes.push(format!(
            "the archive's policy leaves out, and this plan too unless they are asked for by name: {names}"
        ));
    }
    Ok(described)
}

/// The one object whose version is asked for.
fn the_one(selection: &Selection) -> Result<&Object> {
    match (selection.objects.as_slice(), selection.patterns.is_empty() && selection.kinds.is_empty() && !selection.all)
    {
        ([object], true) => Ok(object),
        _ => Err(Error::usage("a version is one object's")
            .hint("name the one object, or give the version's whole identifier, https://VAULT/keys/NAME/VERSION")),
    }
}

/// The search for the newest capture that contains a version.
struct Containing<'a> {
    reader: &'a Reader<'a>,
    identities: &'a Identities,
    log: &'a Log,
    object: &'a Object,
    version: &'a str,
    notes: Vec<String>,
}

impl Containing<'_> {
    async fn run(mut self, progress: &dyn Progress) -> Result<Chosen> {
        self.notes.extend(self.log.note());
        progress.stage("looking for the version", Some(self.log.snapshots().len() as u64));
        let mut opened: BTreeSet<String> = BTreeSet::new();
        for snapshot in self.log.snapshots() {
            progress.step();
            let (object, current, found) = match self.look(snapshot).await {
                Ok(Some(line)) => line,
                Ok(None) => continue,
                Err(error) if error.kind() == ErrorKind::Tampered => {
                    self.notes.push(history::gone_around(snapshot, &error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let current = current.is_some_and(|id| id.eq_ignore_ascii_case(self.version));
            // Captures are shared by the snapshots that reuse them: each is opened once.
            if current || (opened.insert(found.capture.path.to_string()) && self.contained(&object, &found).await?) {
                return Ok(self.chosen(object, found));
            }
        }
        Err(self.nowhere(opened.len()))
    }

    /// What a snapshot has of the object: itself, or the certificate that it belongs to, whose versions have the same ids.
    async fn look(&self, snapshot: &SnapshotRef) -> Result<Option<(Object, Option<String>, Found)>> {
        let certificate = Object::new(Kind::Certificate, self.object.name.clone());
        let wanted = BTreeSet::from([self.object, &certificate]);
        let (header, mut lines) = history::lines_of(self.reader, snapshot, &wanted).await?;
        let managed = lines.get(self.object).is_some_and(|line| line.state == State::Managed);
        let object = if managed { certificate } else { self.object.clone() };
        let line = lines.remove(&object);
        Ok(line.and_then(|line| {
            let found = Found { snapshot: snapshot.sequence, capture: line.capture?, facts: header.facts };
            Some((object, line.current, found))
        }))
    }

    /// Opens a capture and looks. One that does not hold is gone around.
    async fn contained(&mut self, object: &Object, found: &Found) -> Result<bool> {
        let from = in_archive(found.snapshot, &found.capture);
        match fetch(Some(self.reader), self.identities, &self.log.vault, object, &from).await {
            Ok(capture) => {
                Ok(Source::of(&capture).versions.keys().any(|version| version.eq_ignore_ascii_case(self.version)))
            }
            Err(error) if error.kind() == ErrorKind::Tampered => {
                self.notes.push(format!("a capture does not hold, and others were searched: {error}"));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn chosen(mut self, object: Object, found: Found) -> Chosen {
        if object != *self.object {
            self.notes.push(format!("{} belongs to {object}, and comes back with it", self.object));
        }
        let at = history::minute(found.capture.captured_at);
        self.notes.push(format!(
            "the newest capture that contains version {} is that of snapshot {}, captured {at}",
            self.version, found.snapshot
        ));
        let named = BTreeSet::from([object.clone()]);
        Chosen { found: vec![(object, found)], named, missing: Vec::new(), whole: false, notes: distinct(self.notes) }
    }

    fn nowhere(&self, opened: usize) -> Error {
        let host = self.log.vault.host();
        let snapshots = self.log.snapshots().len();
        let mut message = match opened {
            0 => format!("no snapshot of {host} has a capture of {}: {snapshots} were searched", self.object),
            _ => format!(
                "no capture of {} from {host} contains version {}: {snapshots} snapshots were searched, and {opened}                  different captures opened",
                self.object, self.version
            ),
        };
        if !self.notes.is_empty() {
            message.push_str(&format!("; {}", history::some_of(&self.notes)));
        }
        Error::new(ErrorKind::NotFound, message)
            .hint(format!("`akv-archiver history {}` shows its captures and their newest versions", self.object))
    }
}

/// A capture in the archive, as steps name it.
pub(super) fn in_archive(snapshot: u64, capture: &CaptureRef) -> Origin {
    Origin::Archive { snapshot, capture: Box::new(capture.clone()) }
}
