//! The model: what each vault held when, and from that what every snapshot must hold, which intents are open, and which
//! names of HSM keys are spent. Reads the archive through doors that never fail, and says what cannot be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use akv_archiver::archive::Reader;
use akv_archiver::format::entry::{Event, IntentStep, RestoreIntent, SnapshotRef};
use akv_archiver::format::manifest::{CaptureRef, Line, Manifest, State, Status};
use akv_archiver::format::paths;
use akv_archiver::jobs::restore;
use akv_archiver::model::{Kind, Object, StorePath, VaultUri};
use akv_archiver::verify::Finding;
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;

use super::doors::{Change, Creation};
use super::found_out;
use super::keep::Kept;
use super::seen::{Moment, described, held_versions, look, shown};
use super::world::{Landing, World, keys};

/// An intent as the log has it.
struct Intent {
    intent: RestoreIntent,
    results: u32,
}

/// A snapshot that was committed.
pub(crate) struct Snapshot {
    pub(crate) vault: VaultUri,
    pub(crate) sequence: u64,
    pub(crate) status: Status,
    pub(crate) started: DateTime<Utc>,
    pub(crate) manifest: Manifest,
}

/// What must be, by what was seen.
#[derive(Default)]
pub(crate) struct Model {
    /// Of each vault, from the beginning.
    history: Vec<Vec<Moment>>,
    /// When processes began.
    begun: BTreeMap<String, u64>,
    pub(crate) snapshots: Vec<Snapshot>,
    intents: BTreeMap<(String, u64), Intent>,
    /// Intents that restored an HSM key, by target and key.
    spent: BTreeMap<(VaultUri, Object), BTreeSet<(String, u64)>>,
    /// Every file, as it was created.
    files: BTreeMap<StorePath, Creation>,
    /// The winners of log entries.
    entries: BTreeMap<(String, u64), String>,
    /// Backups in captures that were opened.
    opened: BTreeMap<StorePath, Arc<[u8]>>,
    /// How files are protected, and who said so.
    pub(crate) kept: Kept,
    /// The findings of the newest verification.
    pub(crate) verdict: Option<Vec<Finding>>,
    pub(crate) wrong: Vec<String>,
}

pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

impl Model {
    pub(crate) fn new(world: &World) -> Self {
        let mut model = Model { history: vec![Vec::new(); world.vaults.len()], ..Model::default() };
        model.born(world, &paths::archive().unwrap());
        model
    }

    fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    pub(crate) fn began(&mut self, process: &str, step: u64) {
        self.begun.insert(process.to_owned(), step);
    }

    /// When a process began.
    pub(crate) fn begun(&self, process: &str) -> u64 {
        self.begun.get(process).copied().unwrap_or(0)
    }

    pub(crate) fn is_live(&self, number: usize, object: &Object) -> bool {
        self.history[number].last().is_some_and(|moment| moment.live.contains_key(object))
    }

    pub(crate) fn is_deleted(&self, number: usize, object: &Object) -> bool {
        self.history[number].last().is_some_and(|moment| moment.deleted.contains(object))
    }

    /// What is live in a vault.
    pub(crate) fn live(&self, number: usize) -> Vec<Object> {
        self.history[number].last().into_iter().flat_map(|moment| moment.live.keys().cloned()).collect()
    }

    /// What the newest snapshot of a vault has.
    pub(crate) fn captured(&self, world: &World, number: usize) -> Vec<Object> {
        let newest = self.snapshots.iter().rfind(|snapshot| world.number(&snapshot.vault) == number);
        newest.map(|snapshot| self.claims(snapshot).into_keys().collect()).unwrap_or_default()
    }

    /// What was ever live in a vault.
    pub(crate) fn ever(&self, number: usize) -> Vec<Object> {
        let all: BTreeSet<&Object> = self.history[number].iter().flat_map(|moment| moment.live.keys()).collect();
        all.into_iter().cloned().collect()
    }

    /// Looks at the vaults, and at what was created and changed since.
    pub(crate) fn look(&mut self, world: &World) {
        if world.changed() {
            for number in 0..world.vaults.len() {
                let moment = look(world, number);
                let same = |last: &Moment| {
                    last.live == moment.live && last.deleted == moment.deleted && last.managed == moment.managed
                };
                if !self.history[number].last().is_some_and(same) {
                    self.history[number].push(moment);
                }
            }
        }
        let (created, landings, keepings) = world.note(|notes| {
            use std::mem::take;
            (take(&mut notes.created), take(&mut notes.landings), take(&mut notes.keepings))
        });
        for landing in landings {
            self.landed(world, landing);
        }
        for creation in created {
            self.created(world, creation);
        }
        for keeping in keepings {
            self.keeps(world, keeping);
        }
    }

    fn created(&mut self, world: &World, creation: Creation) {
        if let Some((vault, sequence, file)) = creation.entry() {
            let place = (vault.host().to_owned(), sequence);
            if self.entries.insert(place, creation.process.clone()).is_some() {
                self.wrong(format!("two writers both created entry {sequence} of {}", vault.name()));
            }
            if sequence > 1 && !self.entries.contains_key(&(vault.host().to_owned(), sequence - 1)) {
                self.wrong(format!("entry {sequence} of {} came before the one before it", vault.name()));
            }
            match &file.entry().event {
                Event::Snapshot(snapshot) => self.committed(world, &vault, sequence, snapshot, &creation),
                Event::RestoreIntent(intent) => {
                    world.count("intents");
                    self.claimed(&vault, sequence, intent);
                    let intent = Intent { intent: intent.clone(), results: 0 };
                    self.intents.insert((vault.host().to_owned(), sequence), intent);
                }
                Event::RestoreResult(result) => match self.intents.get_mut(&(vault.host().to_owned(), result.intent)) {
                    Some(intent) => {
                        intent.results += 1;
                        let steps = intent.intent.steps.len();
                        if intent.results > 1 || steps != result.outcomes.len() {
                            self.wrong(format!(
                                "intent {} of {} has two results, or of other steps",
                                result.intent,
                                vault.name()
                            ));
                        }
                        for outcome in &result.outcomes {
                            world.count(match outcome.result.name() {
                                "done" => "outcomes: done",
                                "different" => "outcomes: different",
                                "failed" => "outcomes: failed",
                                "unclear" => "outcomes: unclear",
                                _ => "outcomes: skipped",
                            });
                        }
                    }
                    None => self.wrong(format!("entry {sequence} is a result without an intent")),
                },
                Event::Protect(said) => self.said(world, &creation.process, &vault, said),
                Event::Unknown(_) => self.wrong(format!("entry {sequence} is of no known type")),
            }
        }
        let path = creation.path.clone();
        self.born(world, &path);
        if self.files.insert(path.clone(), creation).is_some() {
            self.wrong(format!("{path} was created twice"));
        }
    }

    /// Who claims a name that somebody else's intent in the same log stands on was not to get it.
    fn claimed(&mut self, vault: &VaultUri, sequence: u64, intent: &RestoreIntent) {
        let both = |one: &Object, other: &Object| {
            let parts = one.kind == Kind::Certificate || other.kind == Kind::Certificate;
            one.name == other.name && (one.kind == other.kind || parts)
        };
        let open = self.intents.iter().filter(|((log, _), other)| {
            log == vault.host() && other.results == 0 && other.intent.target == intent.target
        });
        let taken = open.flat_map(|((_, number), other)| other.intent.steps.iter().map(move |step| (number, step)));
        let mut taken = taken.filter(|(_, step)| intent.steps.iter().any(|ours| both(&ours.object, &step.object)));
        if let Some((number, step)) = taken.next() {
            let what =
                format!("intent {sequence} of {} takes {}, on which intent {number} stands", vault.name(), step.object);
            self.wrong(what);
        }
    }

    /// What restores change, they have said before; and no name is given to an HSM key twice.
    fn landed(&mut self, world: &World, landing: Landing) {
        let Landing { process, resumes, vault, object, change, hsm } = landing;
        let fits = |step: &IntentStep| {
            use akv_archiver::format::entry::Change as Said;
            step.object == object
                && match (&change, step.action) {
                    (Change::Restore(..), said) => said.creates(),
                    (Change::Recover(_), said) => said == Said::Recover,
                    (Change::Purge(_), said) => said == Said::PurgeAndRestore,
                }
        };
        let ours = self.intents.iter().filter(|(place, intent)| {
            let theirs = intent.intent.operator == process || resumes.as_ref() == Some(*place);
            theirs && intent.intent.target == vault && intent.intent.steps.iter().any(fits)
        });
        let place = ours.map(|(place, _)| place.clone()).next_back();
        world.count(match change {
            Change::Restore(..) => "objects restored",
            Change::Recover(_) => "objects recovered",
            Change::Purge(_) => "objects purged by restores",
        });
        let Some(place) = place else {
            self.wrong(format!("{process} changed {object} of {} without an intent in the log", vault.name()));
            return;
        };
        if matches!(change, Change::Restore(..)) && hsm {
            world.count("HSM keys restored");
            let by = self.intents[&place].intent.single_restore_override.is_some();
            let spenders = self.spent.entry((vault.clone(), object.clone())).or_default();
            let again = spenders.insert(place) && spenders.len() > 1;
            if again && !by {
                self.wrong(format!("{process} restored the HSM key {object} into {} a second time", vault.name()));
            }
            if again && by {
                world.count("HSM keys restored again on purpose");
            }
        }
    }

    /// The states of a vault from one step to another.
    fn during(&self, number: usize, from: u64, to: u64) -> &[Moment] {
        let all = &self.history[number];
        let first = all.iter().rposition(|moment| moment.step <= from).unwrap_or(0);
        let end = all.iter().rposition(|moment| moment.step <= to).unwrap_or(0);
        &all[first..=end]
    }

    fn committed(&mut self, world: &World, vault: &VaultUri, sequence: u64, found: &SnapshotRef, creation: &Creation) {
        let number = world.number(vault);
        let reader = now_or_never(Reader::open(&world.store, &world.verifiers)).unwrap();
        let manifest = match now_or_never(reader.manifest(found)) {
            Ok(manifest) => manifest,
            Err(error) => return self.wrong(format!("the manifest of snapshot {sequence} does not hold: {error}")),
        };
        world.count(match found.status {
            Status::Complete => "complete snapshots",
            Status::Partial => "partial snapshots",
        });
        let begun = self.begun(&creation.process);
        let window: Vec<Moment> = self.during(number, begun, creation.step).to_vec();
        if window.len() > 1 {
            world.count("snapshots of a vault that changed meanwhile");
        }
        for line in manifest.lines.iter().filter(|line| line.state == State::Live) {
            if let Some(why) = self.misheld(world, &reader, number, (line, found.started), &window, creation) {
                let status = found.status;
                self.wrong(format!("snapshot {sequence} of {} ({status:?}): {}: {why}", vault.name(), line.object()));
            }
            if let Some(gap) = &line.gap {
                self.count_gap(world, &gap.code);
            }
        }
        for missing in missing(&manifest, &window, found.status) {
            self.wrong(format!("snapshot {sequence} of {} ({:?}): {missing}", vault.name(), found.status));
        }
        let (captured, reused) = (manifest.header.counts.captured, manifest.header.counts.reused);
        world.count_many("captures taken", captured);
        world.count_many("captures reused", reused);
        let (status, started) = (found.status, found.started);
        self.snapshots.push(Snapshot { vault: vault.clone(), sequence, status, started, manifest });
    }

    fn count_gap(&self, world: &World, code: &str) {
        world.count(match code {
            "interrupted" => "gaps: interrupted",
            "torn-read" => "gaps: torn-read",
            "vanished" => "gaps: vanished",
            "managed-without-certificate" => "gaps: managed-without-certificate",
            _ if code.starts_with("list-") => "gaps: of a list",
            _ => "gaps: others",
        });
    }

    /// Why a line's capture is not what the vault held while it was taken.
    fn misheld(
        &mut self,
        world: &World,
        reader: &Reader<'_>,
        number: usize,
        (line, started): (&Line, DateTime<Utc>),
        window: &[Moment],
        creation: &Creation,
    ) -> Option<String> {
        let object = line.object();
        let Some(capture) = &line.capture else {
            return line.gap.is_none().then(|| "it has neither a capture nor a gap".to_owned());
        };
        let blob = match self.open(reader, capture) {
            Ok(blob) => blob,
            Err(why) => return Some(why),
        };
        let held = |moment: &Moment| moment.live.get(&object).is_some_and(|held| held.blob == blob);
        let history = &self.history[number];
        if line.gap.is_some() {
            let ever = history.iter().any(held);
            return (!ever).then(|| "what its earlier capture holds was never in the vault".to_owned());
        }
        if !window.iter().any(|moment| moment.live.contains_key(&object)) {
            return Some("the vault did not have it then".to_owned());
        }
        if !capture.reused {
            world.count("captures checked against the vault");
            return (!window.iter().any(held)).then(|| "its new capture is not what the vault held".to_owned());
        }
        let now = shown(&blob);
        let seen = |moment: &Moment| moment.live.get(&object).is_some_and(|held| held.shown == now);
        if !window.iter().any(seen) {
            return Some("it changed for all to see, and its old capture was reused".to_owned());
        }
        let compared = line.compared_at.unwrap_or(capture.captured_at).max(capture.captured_at);
        let ends = history.iter().skip(1).map(|moment| moment.at).chain([creation.at]);
        let after = history.iter().zip(ends).filter(|(_, end)| *end >= compared).map(|(moment, _)| moment);
        let mut after = after.take_while(|moment| moment.step <= creation.step);
        if !after.any(held) {
            return Some(format!("its capture is older than its last comparison at {compared}"));
        }
        let (renewal, slack) = (&world.order.renewal, TimeDelta::seconds(2));
        if started - compared >= renewal.full_every + slack {
            return Some(format!("its versions were last compared at {compared}, too long ago"));
        }
        if started - capture.captured_at >= renewal.recapture_every + slack {
            return Some("its capture is too old to be reused".to_owned());
        }
        let short = capture.protected_until.is_none_or(|until| until - started < renewal.protection_min - slack);
        short.then(|| "its capture is not protected for long enough to be reused".to_owned())
    }

    /// The backup in a capture.
    fn open(&mut self, reader: &Reader<'_>, capture: &CaptureRef) -> Result<Arc<[u8]>, String> {
        if let Some(blob) = self.opened.get(&capture.path) {
            return Ok(blob.clone());
        }
        let opened = found_out(restore::open(reader, &keys().identities, capture))
            .map_err(|error| format!("its capture does not open: {error}"))?;
        let blob: Arc<[u8]> = opened.blob.to_vec().into();
        if described(&opened) != held_versions(&blob) {
            return Err("its capture describes other versions than its backup holds: a torn read".to_owned());
        }
        self.opened.insert(capture.path.clone(), blob.clone());
        Ok(blob)
    }

    /// How many intents are open.
    pub(crate) fn open_intents(&self) -> usize {
        self.intents.values().filter(|intent| intent.results == 0).count()
    }

    /// The process that created an entry.
    pub(crate) fn author(&self, vault: &VaultUri, sequence: u64) -> Option<&str> {
        self.entries.get(&(vault.host().to_owned(), sequence)).map(String::as_str)
    }

    /// The backups that a snapshot claims to hold, by object.
    pub(crate) fn claims(&self, snapshot: &Snapshot) -> BTreeMap<Object, Arc<[u8]>> {
        let lines = snapshot.manifest.lines.iter().filter(|line| line.state == State::Live);
        lines.filter_map(|line| Some((line.object(), self.opened.get(&line.capture.as_ref()?.path)?.clone()))).collect()
    }

    /// What the vault holds now.
    pub(crate) fn holds(&self, number: usize) -> BTreeMap<Object, Arc<[u8]>> {
        let now = self.history[number].last();
        now.into_iter()
            .flat_map(|moment| moment.live.iter().map(|(it, held)| (it.clone(), held.blob.clone())))
            .collect()
    }

    /// Every file, as it was created.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Creation> {
        self.files.values()
    }

    /// Who created a file.
    pub(crate) fn process_of(&self, path: &StorePath) -> Option<&str> {
        self.files.get(path).map(|file| file.process.as_str())
    }

    /// Whether a vault was the same from this step on.
    pub(crate) fn still_since(&self, number: usize, step: u64) -> bool {
        self.history[number].last().is_none_or(|moment| moment.step < step)
    }
}

/// What was there the whole time, and is not in the manifest.
fn missing(manifest: &Manifest, window: &[Moment], status: Status) -> Vec<String> {
    let mut states: BTreeMap<Object, Vec<&Line>> = BTreeMap::new();
    for line in &manifest.lines {
        states.entry(line.object()).or_default().push(line);
    }
    let has = |object: &Object, state: State| {
        states.get(object).and_then(|lines| lines.iter().find(|line| line.state == state).copied())
    };
    let mut missing = Vec::new();
    let always = |of: &dyn Fn(&Moment) -> BTreeSet<Object>| {
        let mut all = window.iter().map(of);
        let first = all.next().unwrap_or_default();
        all.fold(first, |kept, next| kept.intersection(&next).cloned().collect())
    };
    for object in always(&|moment| moment.live.keys().cloned().collect()) {
        match has(&object, State::Live) {
            Some(line) if status == Status::Complete && (line.capture.is_none() || line.gap.is_some()) => {
                missing.push(format!("{object} is not captured"));
            }
            None if status == Status::Complete => {
                missing.push(format!("{object} was there all the time, and is not in it"))
            }
            _ => {}
        }
    }
    if status == Status::Complete {
        let managed = always(&|moment| moment.managed.clone());
        let gone = managed.into_iter().filter(|object| has(object, State::Managed).is_none());
        missing.extend(gone.map(|object| format!("{object} belonged to a certificate all the time, and is not in it")));
        let deleted = always(&|moment| moment.deleted.clone());
        let gone = deleted.into_iter().filter(|object| has(object, State::Deleted).is_none());
        missing.extend(gone.map(|object| format!("{object} was deleted all the time, and is not in it")));
    }
    missing
}
