//! Choosing: which captures a restore takes, by name, pattern or kind, and by snapshot, time or version. Reads manifests,
//! and opens a capture only where its versions are asked for. Looks at no vault.

use std::collections::BTreeSet;
use std::sync::Arc;

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
    /// Nothing that the snapshot saw deleted or no longer names, unless it is named.
    pub live_only: bool,
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
    /// Objects that would have been asked for with others, were they not gone from the snapshot altogether.
    pub(super) gone: Vec<Object>,
    /// Whether everything was asked for.
    pub(super) whole: bool,
    /// What a person should know of how they were found.
    pub(super) notes: Vec<String>,
}

/// Chooses captures from what a vault's log names.
pub(super) async fn choose(
    reader: &Reader<'_>,
    identities: &Arc<Identities>,
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
    let Described { objects, gone } = described(reader, log, &range, selection, &mut notes).await?;
    wanted.extend(objects);
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
    Ok(Chosen { found, named, missing, gone, whole, notes: distinct(notes) })
}

/// Damage is met more than once; a person is told once.
fn distinct(mut notes: Vec<String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    notes.retain(|note| known.insert(note.clone()));
    notes
}

/// What a selection describes without naming it.
#[derive(Default)]
struct Described {
    objects: Vec<Object>,
    gone: Vec<Object>,
}

/// The objects that a selection describes without naming them: what the newest snapshot of a range had.
///
/// Whoever asks for everything, or uses a pattern, mostly wants back what is gone, and the job that runs every night has
/// seen it go: what the snapshot saw soft-deleted is described too, and that is told. What it no longer names may have been
/// purged in an attack or have run out years ago. Only a person can say which, so it is told and does not come back.
async fn described(
    reader: &Reader<'_>,
    log: &Log,
    range: &Range<'_>,
    selection: &Selection,
    notes: &mut Vec<String>,
) -> Result<Described> {
    let Selection { objects, patterns, kinds, all, live_only } = selection;
    let everything = *all || !kinds.is_empty();
    if !everything && patterns.is_empty() {
        return match objects.is_empty() {
            true => Err(Error::usage("nothing is asked for").hint("name objects, or patterns, or use --kind or --all")),
            false => Ok(Described::default()),
        };
    }
    let mut population = history::population(reader, log, range).await?;
    notes.append(&mut population.notes);
    let Population { snapshot, live, deleted, excluded, named, .. } = &population;
    let of_kind = |object: &&Object| everything && (kinds.is_empty() || kinds.contains(&object.kind));
    let deleted: &[Object] = if *live_only { &[] } else { deleted };
    let mut described: Vec<Object> = live.iter().filter(of_kind).cloned().collect();
    let mut lay: BTreeSet<&Object> = deleted.iter().filter(of_kind).collect();
    if range.only && !lay.is_empty() {
        let names = history::some_of(&std::mem::take(&mut lay).into_iter().collect::<Vec<_>>());
        notes
            .push(format!("{snapshot} saw them deleted, and has no capture of them; --at finds earlier ones: {names}"));
    }
    let gone = match everything && !live_only && !range.only {
        true => gone(reader, log, range, named, notes).await?.into_iter().filter(|object| of_kind(&object)).collect(),
        false => Vec::new(),
    };
    if let ([kind, ..], true) = (kinds.as_slice(), described.is_empty() && lay.is_empty() && gone.is_empty()) {
        let message = format!("{snapshot} of {} has no {kind}", log.vault.host());
        return Err(Error::new(ErrorKind::NotFound, message).hint("--at and --snapshot look at an earlier one"));
    }
    for pattern in patterns {
        let fits = |object: &&Object| pattern.matches(object);
        let (lives, dead): (Vec<&Object>, Vec<&Object>) =
            (live.iter().filter(fits).collect(), deleted.iter().filter(fits).collect());
        if lives.is_empty() && dead.is_empty() {
            let message = format!("nothing in {snapshot} of {} fits {pattern}", log.vault.host());
            return Err(Error::new(ErrorKind::NotFound, message).hint(match excluded.iter().any(|o| fits(&o)) {
                true => "the archive's policy leaves out what does; an earlier snapshot may have it (--at, --snapshot)",
                false => "`akv-archiver list` shows what there is; --at and --snapshot look at an earlier one",
            }));
        }
        described.extend(lives.into_iter().cloned());
        lay.extend(dead);
    }
    if !lay.is_empty() {
        described.extend(lay.iter().copied().cloned());
        let names = history::some_of(&lay.into_iter().collect::<Vec<_>>());
        notes.push(format!(
            "{snapshot} saw them deleted, and earlier captures are used (--live-only leaves them out): {names}"
        ));
    }
    let left_out: Vec<&Object> = excluded.iter().filter(of_kind).collect();
    if !left_out.is_empty() {
        let names = history::some_of(&left_out);
        notes.push(format!(
            "the archive's policy leaves out, and this plan too unless they are asked for by name: {names}"
        ));
    }
    Ok(Described { objects: described, gone })
}

/// The objects that a range has captures of, and its newest snapshot does not name. What the store has no file of need not
/// be searched for in every manifest.
async fn gone(
    reader: &Reader<'_>,
    log: &Log,
    range: &Range<'_>,
    named: &BTreeSet<Object>,
    notes: &mut Vec<String>,
) -> Result<Vec<Object>> {
    let mut files: Vec<Object> = reader.captured(&log.vault).await?.into_iter().collect();
    files.retain(|object| !named.contains(object));
    if files.is_empty() {
        return Ok(files);
    }
    let mut search = history::search(reader, log, range, &files).await?;
    notes.append(&mut search.notes);
    let each = files.into_iter().zip(search.found);
    Ok(each.filter_map(|(object, found)| found.map(|_| object)).collect())
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
    identities: &'a Arc<Identities>,
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
            let (versions, facts) = (line.versions, header.facts);
            let found = Found { snapshot: snapshot.sequence, capture: line.capture?, versions, facts };
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
        Chosen {
            found: vec![(object, found)],
            named,
            missing: Vec::new(),
            gone: Vec::new(),
            whole: false,
            notes: distinct(self.notes),
        }
    }

    fn nowhere(&self, opened: usize) -> Error {
        let host = self.log.vault.host();
        let snapshots = self.log.snapshots().len();
        let mut message = match opened {
            0 => format!("no snapshot of {host} has a capture of {}: {snapshots} were searched", self.object),
            _ => format!(
                "no capture of {} from {host} contains version {}: {snapshots} snapshots were searched, and {opened} \
                 different captures opened",
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::jobs::fixture::{House, object};
    use crate::progress::Silent;
    use crate::seal::{NoPrompt, generate};
    use crate::vault::Read as _;

    fn request(names: &[&str], point: Point) -> Request {
        let mut selection = Selection::default();
        for name in names {
            match Object::parse(name) {
                Some(object) => selection.objects.push(object),
                None => selection.patterns.push(Pattern::parse(name).unwrap()),
            }
        }
        Request { selection, point, ..Request::default() }
    }

    fn of_kinds(kinds: &[Kind]) -> Request {
        Request { selection: Selection { kinds: kinds.to_vec(), ..Selection::default() }, ..Request::default() }
    }

    async fn chosen(house: &House, request: &Request) -> Result<Chosen> {
        chosen_by(house, &house.identities, request).await
    }

    async fn chosen_by(house: &House, identities: &Arc<Identities>, request: &Request) -> Result<Chosen> {
        let reader = house.reader().await;
        let log = Log::read(&reader, house.vault.uri()).await?;
        choose(&reader, identities, &log, request, &Silent).await
    }

    /// Whoever tries to open a capture with this one fails.
    fn nobody() -> Identities {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), generate(DateTime::UNIX_EPOCH).file.as_bytes()).unwrap();
        Identities::from_files(&[file.path().to_owned()], std::sync::Arc::new(NoPrompt)).unwrap()
    }

    fn told(chosen: &Chosen) -> Vec<(String, u64)> {
        chosen.found.iter().map(|(object, found)| (object.to_string(), found.snapshot)).collect()
    }

    fn line(object: &str, snapshot: u64) -> (String, u64) {
        (object.to_owned(), snapshot)
    }

    fn failed(result: Result<Chosen>) -> (ErrorKind, String) {
        let error = result.err().unwrap();
        (error.kind(), format!("{error} / {}", error.hint_text().unwrap_or_default()))
    }

    #[tokio::test]
    async fn what_was_live_is_described_and_what_the_snapshot_saw_deleted() {
        let house = House::new(&["key/pay-1", "key/pay-2", "secret/pay", "secret/other", "certificate/pay-tls"]).await;
        house.snapshot().await.unwrap();
        house.vault.delete(&object("key/pay-2"));
        house.vault.delete(&object("certificate/pay-tls"));
        house.snapshot().await.unwrap();
        let found = chosen(&house, &request(&["*/pay*", "secret/other"], Point::Newest)).await.unwrap();
        let all = [
            line("certificate/pay-tls", 1),
            line("key/pay-1", 2),
            line("key/pay-2", 1),
            line("secret/other", 2),
            line("secret/pay", 2),
        ];
        assert_eq!(told(&found), all, "the certificate's key and secret come with it");
        assert!(found.missing.is_empty() && !found.whole);
        let gone = found.notes.iter().find(|note| note.contains("saw them deleted")).unwrap();
        assert!(gone.contains("certificate/pay-tls, key/pay-2"), "{gone}");
        let keys = chosen(&house, &of_kinds(&[Kind::Key])).await.unwrap();
        assert_eq!(told(&keys), [line("key/pay-1", 2), line("key/pay-2", 1)]);
        assert!(!keys.whole);
        let whole = chosen(&house, &Request::of(&[])).await.unwrap();
        assert_eq!(told(&whole), all);
        assert!(whole.whole && whole.missing.is_empty() && whole.gone.is_empty());
        let gone = whole.notes.iter().find(|note| note.contains("saw them deleted")).unwrap();
        assert!(gone.contains("certificate/pay-tls, key/pay-2") && gone.contains("--live-only"), "{gone}");
        for mut request in [Request::of(&[]), request(&["*/*"], Point::Newest)] {
            request.selection.live_only = true;
            let live = chosen(&house, &request).await.unwrap();
            assert_eq!(told(&live), [line("key/pay-1", 2), line("secret/other", 2), line("secret/pay", 2)]);
            assert!(live.notes.is_empty(), "{:?}", live.notes);
        }
        // That one snapshot has no capture of what it saw deleted.
        let second = chosen(&house, &Request { point: Point::Snapshot(2), ..Request::of(&[]) }).await.unwrap();
        assert_eq!((second.found.len(), second.missing.len()), (3, 0));
        assert!(second.notes.iter().any(|note| note.contains("--at finds earlier ones")), "{:?}", second.notes);
    }

    #[tokio::test]
    async fn what_the_snapshot_no_longer_names_is_told_and_does_not_come_back() {
        let house = House::new(&["key/k", "secret/a", "secret/b", "certificate/tls"]).await;
        house.snapshot().await.unwrap();
        let before = house.ambient.now();
        house.wipe(&["key/k", "certificate/tls", "secret/b"]);
        house.snapshot().await.unwrap();
        let gone = |chosen: &Chosen| chosen.gone.iter().map(ToString::to_string).collect::<Vec<_>>();
        let whole = chosen(&house, &Request::of(&[])).await.unwrap();
        assert_eq!(told(&whole), [line("secret/a", 2)]);
        assert_eq!(gone(&whole), ["certificate/tls", "key/k", "secret/b"]);
        let secrets = chosen(&house, &of_kinds(&[Kind::Secret])).await.unwrap();
        assert_eq!((told(&secrets).len(), gone(&secrets)), (1, vec!["secret/b".to_owned()]));
        let keys = chosen(&house, &of_kinds(&[Kind::Key])).await.unwrap();
        assert_eq!((told(&keys).len(), gone(&keys)), (0, vec!["key/k".to_owned()]));
        // A person who names them or an earlier time gets them; who does not want them says so.
        assert!(gone(&chosen(&house, &request(&["secret/*"], Point::Newest)).await.unwrap()).is_empty());
        for (point, count) in [(Point::Time(before), 4), (Point::Snapshot(1), 4), (Point::Snapshot(2), 1)] {
            let at = chosen(&house, &Request { point, ..Request::of(&[]) }).await.unwrap();
            assert_eq!((at.found.len(), at.gone.len()), (count, 0));
        }
        let mut live = Request::of(&[]);
        live.selection.live_only = true;
        assert!(gone(&chosen(&house, &live).await.unwrap()).is_empty());
        // What was made after a time was not gone by then.
        house.vault.put(&object("secret/new"));
        house.snapshot().await.unwrap();
        let at = chosen(&house, &Request { point: Point::Time(before), ..Request::of(&[]) }).await.unwrap();
        assert!(gone(&at).is_empty(), "{:?}", gone(&at));
    }

    #[tokio::test]
    async fn what_describes_nothing_is_an_error_that_names_it() {
        let house = House::new(&["key/a", "key/b"]).await;
        house.snapshot().await.unwrap();
        let (kind, error) = failed(chosen(&house, &request(&["key/a*", "key/x*"], Point::Newest)).await);
        assert!(kind == ErrorKind::NotFound && error.contains("fits key/x*") && error.contains("--at"), "{error}");
        let (kind, error) = failed(chosen(&house, &of_kinds(&[Kind::Secret])).await);
        assert!(kind == ErrorKind::NotFound && error.contains("has no secret"), "{error}");
        assert_eq!(failed(chosen(&house, &request(&[], Point::Newest)).await).0, ErrorKind::Usage);
        house.commit(|manifest| manifest.lines.remove(0).state = State::Excluded).await;
        let (kind, error) = failed(chosen(&house, &request(&["key/a"], Point::Snapshot(2))).await);
        assert!(kind == ErrorKind::NotFound && error.contains("snapshot 2 holds no capture of key/a"), "{error}");
    }

    #[tokio::test]
    async fn a_snapshot_that_does_not_exist_is_told_with_those_near_it() {
        let house = House::new(&["key/a"]).await;
        house.snapshot().await.unwrap();
        house.wipe(&["key/a"]);
        let plan = house.plan(&["key/a"]).await.unwrap();
        house.apply(&plan).await.unwrap();
        house.snapshot().await.unwrap();
        for (number, says) in [
            (
                2,
                "snapshot 2 of prod.vault.azure.net does not exist: entry 2 of its log is no snapshot / near it: snapshot 1 (",
            ),
            (9, "snapshot 9 of prod.vault.azure.net does not exist / near it: snapshot 4 ("),
        ] {
            let (kind, error) = failed(chosen(&house, &request(&["key/a"], Point::Snapshot(number))).await);
            assert!(kind == ErrorKind::NotFound && error.contains(says), "{error}");
        }
        assert_eq!(told(&chosen(&house, &request(&["key/a"], Point::Snapshot(1))).await.unwrap()), [line("key/a", 1)]);
        assert!(house.store.corrupt(&house.files("/log/").await[3], "junk"));
        let (kind, error) = failed(chosen(&house, &request(&["key/a"], Point::Snapshot(4))).await);
        assert!(kind == ErrorKind::Tampered && error.contains("entry 4"), "{error}");
    }

    #[tokio::test]
    async fn a_time_means_what_was_archived_by_then() {
        let house = House::new(&["key/a", "key/b"]).await;
        house.snapshot().await.unwrap();
        let first = house.ambient.now();
        house.clock.advance(Duration::from_secs(3600));
        house.vault.delete(&object("key/b"));
        house.snapshot().await.unwrap();
        let second = house.ambient.now();
        house.clock.advance(Duration::from_secs(3600));
        house.vault.put(&object("key/a"));
        house.snapshot().await.unwrap();
        let both = ["key/a", "key/b"];
        let house = &house;
        let at = |time| async move { chosen(house, &request(&both, Point::Time(time))).await };
        assert_eq!(told(&at(first).await.unwrap()), [line("key/a", 1), line("key/b", 1)]);
        let later = at(second + chrono::TimeDelta::minutes(30)).await.unwrap();
        assert_eq!(told(&later), [line("key/a", 2), line("key/b", 1)], "what it lacks, an older one has");
        assert!(later.notes.iter().any(|note| note.contains("the newest was snapshot 2")), "{:?}", later.notes);
        assert_eq!(told(&at(second + chrono::TimeDelta::days(9)).await.unwrap()), [line("key/a", 3), line("key/b", 1)]);
        let (kind, error) = failed(at(first - chrono::TimeDelta::seconds(1)).await);
        assert!(kind == ErrorKind::NotFound && error.contains("the first is snapshot 1"), "{error}");
    }

    #[tokio::test]
    async fn a_version_is_found_in_the_newest_capture_that_contains_it() {
        let house = House::new(&["key/other"]).await;
        let k = object("key/k");
        let one = house.vault.put(&k);
        house.snapshot().await.unwrap();
        let two = house.vault.put(&k);
        house.snapshot().await.unwrap();
        // Somebody purged it, and made another of the same name.
        house.wipe(&["key/k"]);
        let three = house.vault.put(&k);
        house.snapshot().await.unwrap();
        house.snapshot().await.unwrap();
        let version = |id: &str| request(&["key/k"], Point::Version(id.to_owned()));
        for (id, snapshot) in [(&one, 2), (&two, 2), (&three, 4)] {
            assert_eq!(told(&chosen(&house, &version(id)).await.unwrap()), [line("key/k", snapshot)], "{id}");
        }
        let upper = three.to_ascii_uppercase();
        assert_eq!(told(&chosen(&house, &version(&upper)).await.unwrap()), [line("key/k", 4)]);
        // The manifest alone decides about a newest version; only for others is a capture opened.
        assert!(chosen_by(&house, &Arc::new(nobody()), &version(&three)).await.is_ok());
        assert_eq!(failed(chosen_by(&house, &Arc::new(nobody()), &version(&one)).await).0, ErrorKind::NoIdentity);
        let (kind, error) = failed(chosen(&house, &version("0123")).await);
        let searched = "version 0123: 4 snapshots were searched, and 3 different captures opened";
        assert!(kind == ErrorKind::NotFound && error.contains(searched), "{error}");
        let (_, error) = failed(chosen(&house, &request(&["key/none"], Point::Version(one.clone()))).await);
        assert!(error.contains("has a capture of key/none: 4 were searched"), "{error}");
        for several in [request(&["key/k", "key/other"], Point::Version(one.clone())), of_kinds(&[Kind::Key])] {
            let several = Request { point: Point::Version(one.clone()), ..several };
            assert_eq!(failed(chosen(&house, &several).await).0, ErrorKind::Usage);
        }
    }

    #[tokio::test]
    async fn a_version_of_a_certificates_key_leads_to_the_certificate() {
        let house = House::new(&["certificate/tls"]).await;
        house.snapshot().await.unwrap();
        let reader = house.reader().await;
        let log = Log::read(&reader, house.vault.uri()).await.unwrap();
        let (_, lines) = history::lines_of(&reader, &log.snapshots()[0], &BTreeSet::from([&object("certificate/tls")]))
            .await
            .unwrap();
        let version = lines[&object("certificate/tls")].current.clone().unwrap();
        let found = chosen(&house, &request(&["secret/tls"], Point::Version(version))).await.unwrap();
        assert_eq!(told(&found), [line("certificate/tls", 1)]);
        assert!(
            found.notes.iter().any(|note| note.contains("secret/tls belongs to certificate/tls")),
            "{:?}",
            found.notes
        );
    }

    #[tokio::test]
    async fn damage_is_gone_around_and_told() {
        let house = House::new(&["key/a", "key/b"]).await;
        let one = house.vault.put(&object("key/a"));
        house.snapshot().await.unwrap();
        house.vault.put(&object("key/a"));
        house.snapshot().await.unwrap();
        assert!(house.store.corrupt(&house.files("/manifests/").await[1], "junk"));
        let gone_around =
            |chosen: &Chosen| chosen.notes.iter().filter(|it| it.contains("snapshot 2 does not hold")).count();
        for request in [Request::of(&[]), request(&["key/*"], Point::Newest), of_kinds(&[Kind::Key])] {
            let found = chosen(&house, &request).await.unwrap();
            assert_eq!((told(&found), gone_around(&found)), (vec![line("key/a", 1), line("key/b", 1)], 1));
        }
        let found = chosen(&house, &request(&["key/a"], Point::Version(one))).await.unwrap();
        assert_eq!((told(&found), gone_around(&found)), (vec![line("key/a", 1)], 1));
        let (kind, _) = failed(chosen(&house, &request(&["key/a"], Point::Snapshot(2))).await);
        assert_eq!(kind, ErrorKind::Tampered, "what was asked for by number is not replaced by another");
        let (kind, error) = failed(chosen(&house, &request(&["key/none"], Point::Newest)).await);
        assert!(kind == ErrorKind::NotFound && error.contains("snapshots 2 do not hold"), "{error}");
    }
}
