//! A snapshot: one run over one vault. Sweep, plan, take, seal, store, read back, commit.
//!
//! It holds a vault *reader*, an archive *appender*, age *recipients* and a log signer: it can neither change the vault
//! nor read what it wrote.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::Serialize;

use super::protection::{Demand, Written, insist, read_back};
use crate::ambient::Ambient;
use crate::archive::{Appender, Reader, latest_snapshot, md5};
use crate::capture::{self, Fetched, Policy, Sweep, Swept, Task};
use crate::error::{Context, Error, Result};
use crate::format::entry::{Event, SnapshotRef};
use crate::format::manifest::{self, CaptureRef, Counts, Gap, Header, Line, Manifest, State, Status};
use crate::format::{capture as capture_format, paths};
use crate::model::{Digest, Mode, Object, StorePath, VaultFacts, hex};
use crate::progress::{Progress, Stop};
use crate::seal::Recipients;
use crate::store::{self, Condition, Guard, Protection};
use crate::tlog::Signer;
use crate::vault;

/// What a snapshot works with.
pub struct Doors<'a> {
    /// The vault, for reading.
    pub vault: &'a dyn vault::Read,
    /// The management plane, where there is one to ask.
    pub facts: Option<&'a dyn vault::Facts>,
    /// The archive's store.
    pub store: &'a dyn store::Append,
    /// The archive in it, opened.
    pub reader: &'a Reader<'a>,
    /// Who can open the captures.
    pub recipients: &'a Recipients,
    /// The key that signs the log.
    pub signer: &'a Signer,
    /// Time and chance.
    pub ambient: &'a Ambient,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// Who may ask to stop.
    pub stop: &'a Stop,
}

/// How to take it.
#[derive(Clone, Debug)]
pub struct Order {
    /// When to take an unchanged object again.
    pub policy: Policy,
    /// Digest of the policy's text.
    pub policy_sha256: Digest,
    /// Compare the versions of unchanged objects too.
    pub full: bool,
    /// Objects taken at the same time, at least 1.
    pub in_flight: usize,
    /// Whether the store must be write-once.
    pub worm: Demand,
}

/// What a snapshot did. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The vault's address.
    pub vault: String,
    /// `complete`, `partial` or `failed`.
    pub status: Outcome,
    /// The sequence number of the log entry; absent when nothing was committed.
    pub sequence: Option<u64>,
    /// How many of what.
    pub objects: Objects,
    /// What could not be taken, by object.
    pub gaps: Vec<ReportedGap>,
    /// HTTP requests to the vault.
    pub requests: u64,
    /// Of these, how many were answered 429.
    pub throttled: u64,
    /// Seconds from start to commit.
    pub seconds: f64,
    /// What a person should look at, though the snapshot stands.
    pub warnings: Vec<String>,
    /// Whether a signal cut it short.
    pub interrupted: bool,
    /// Why it failed, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Report {
    /// The report of a run that committed nothing.
    pub fn failed(vault: &str, error: &Error) -> Self {
        Report {
            vault: vault.to_owned(),
            status: Outcome::Failed,
            sequence: None,
            objects: Objects::default(),
            gaps: Vec::new(),
            requests: 0,
            throttled: 0,
            seconds: 0.0,
            warnings: Vec::new(),
            interrupted: false,
            error: Some(error.to_string()),
        }
    }
}

/// How a snapshot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything that was seen has a capture.
    Complete,
    /// Some has none; the manifest says what.
    Partial,
    /// Nothing was committed.
    Failed,
}

/// Counts of a snapshot: `seen = captured + reused + gaps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Objects {
    /// Live objects.
    pub seen: u64,
    /// Taken in this run.
    pub captured: u64,
    /// Unchanged.
    pub reused: u64,
    /// Without a capture.
    pub gaps: u64,
}

/// A gap and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportedGap {
    /// `KIND/NAME`; absent for a gap of the vault as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// A stable code.
    pub code: String,
    /// One sentence.
    pub detail: String,
}

/// Takes a snapshot of one vault and commits it.
pub async fn snapshot(doors: &Doors<'_>, order: &Order) -> Result<Report> {
    let started = doors.ambient.now();
    let vault = doors.vault.uri();
    let guard = doors.store.guard().await.context("couldn't tell how the archive is protected")?;
    insist(doors.store, &guard, order.worm)?;
    let head = doors.reader.head(vault).await?;
    let previous = match head.as_ref().and_then(latest_snapshot) {
        Some(snapshot) => Some(doors.reader.manifest(snapshot).await.context("couldn't read the previous manifest")?),
        None => None,
    };
    let (facts, mut vault_gaps) = ask_facts(doors).await;

    doors.progress.stage("listing", None);
    let mut sweep = capture::sweep(doors.vault).await.context(format!("couldn't list {}", doors.vault.uri()))?;
    vault_gaps.append(&mut sweep.gaps);
    let plan = capture::plan(&sweep, previous.as_ref(), &order.policy, order.full, started);

    doors.progress.stage("taking", Some(plan.tasks.len() as u64));
    let full = plan.full;
    let mut taken = take_all(doors, order, &sweep, plan).await?;
    secure(doors, &guard, order.worm, &mut taken).await?;

    let full_at = if full && !taken.interrupted { Some(started) } else { previous.and_then(|m| m.header.full_at) };
    let sequence = head.map_or(0, |head| head.entry().sequence) + 1;
    let manifest = assemble(doors, order, sweep, taken.lines, facts, vault_gaps, Moment { sequence, started, full_at });
    let committed = commit(doors, &guard, order.worm, &manifest).await?;
    Ok(report(doors, &manifest, committed, started, taken.interrupted, taken.warnings))
}

async fn ask_facts(doors: &Doors<'_>) -> (Option<VaultFacts>, Vec<Gap>) {
    let Some(door) = doors.facts else { return (None, Vec::new()) };
    match door.facts(doors.vault.uri()).await {
        Ok(facts) => (Some(facts), Vec::new()),
        Err(error) => {
            (None, vec![Gap { code: format!("vault-facts-{}", error.condition.name()), detail: error.to_string() }])
        }
    }
}

/// What became of the tasks so far.
#[derive(Default)]
struct Taken {
    lines: Vec<Line>,
    written: Vec<Written>,
    warnings: Vec<String>,
    interrupted: bool,
}

async fn take_all(doors: &Doors<'_>, order: &Order, sweep: &Sweep, plan: capture::Plan) -> Result<Taken> {
    let mut taken = Taken::default();
    let mut running = futures::stream::iter(plan.tasks)
        .map(|(object, task)| async move {
            let swept = sweep.live.get(&object);
            let outcome = match swept {
                Some(swept) if !doors.stop.asked() => take_one(doors, &object, swept, task).await,
                Some(_) => Ok(Settled::stopped(task)),
                None => Err(Error::internal(format!("{object} was planned and never swept"))),
            };
            doors.progress.step();
            (object, outcome)
        })
        .buffer_unordered(order.in_flight.max(1));
    while let Some((object, outcome)) = running.next().await {
        let settled = outcome?;
        let Some(swept) = sweep.live.get(&object) else { continue };
        taken.interrupted |= settled.stopped;
        taken.warnings.extend(settled.warning);
        taken.written.extend(settled.written);
        taken.lines.push(line(doors.ambient, &object, swept, settled.entry));
    }
    Ok(taken)
}

/// What became of one task.
struct Settled {
    entry: LineOf,
    written: Option<Written>,
    warning: Option<String>,
    stopped: bool,
}

/// What a manifest line is made from.
enum LineOf {
    Taken(Box<(CaptureRef, Summary)>),
    Reused(Box<Line>),
    Managed,
    Gap(Gap),
}

/// What a manifest line says of a capture's content.
struct Summary {
    current: Option<String>,
    versions: u64,
    versions_fingerprint: Digest,
    key_type: Option<String>,
    thumbprint: Option<String>,
}

impl Settled {
    fn of(entry: LineOf) -> Self {
        Settled { entry, written: None, warning: None, stopped: false }
    }

    fn stopped(task: Task) -> Self {
        match task {
            Task::Reuse(line) | Task::Compare(line) => Settled::of(LineOf::Reused(line)),
            Task::Managed => Settled::of(LineOf::Managed),
            Task::Take | Task::Orphaned => {
                let detail = "the run was stopped before this object's turn; the next run takes it".into();
                Settled { stopped: true, ..Settled::of(LineOf::Gap(Gap { code: "interrupted".into(), detail })) }
            }
        }
    }
}

/// Carries out one task. An error is one that ends the run: the store fails, or this program is wrong.
async fn take_one(doors: &Doors<'_>, object: &Object, swept: &Swept, task: Task) -> Result<Settled> {
    match task {
        Task::Managed => Ok(Settled::of(LineOf::Managed)),
        Task::Orphaned => {
            let detail = format!(
                "{object} is managed by a certificate that the vault does not list; its backup cannot be asked for alone"
            );
            Ok(Settled::of(LineOf::Gap(Gap { code: "managed-without-certificate".into(), detail })))
        }
        Task::Reuse(line) => Ok(Settled::of(LineOf::Reused(line))),
        Task::Compare(line) => match capture::versions_fingerprint(doors.vault, object).await {
            Ok(digest) if line.versions_fingerprint == Some(digest) => Ok(Settled::of(LineOf::Reused(line))),
            Ok(_) => take(doors, object, swept).await,
            Err(gap) => Ok(Settled::of(LineOf::Gap(gap))),
        },
        Task::Take => take(doors, object, swept).await,
    }
}

async fn take(doors: &Doors<'_>, object: &Object, swept: &Swept) -> Result<Settled> {
    let fetched = match capture::fetch(doors.vault, object, &swept.raw, super::TOOL, doors.ambient).await {
        Ok(fetched) => fetched,
        Err(gap) => return Ok(Settled::of(LineOf::Gap(gap))),
    };
    let Fetched { capture, current, versions_fingerprint, key_type, thumbprint, many_versions } = fetched;
    let packed = capture_format::pack(&capture).context(format!("couldn't pack {object}"))?;
    let sealed = Bytes::from(doors.recipients.close(&packed).context(format!("couldn't encrypt {object}"))?);
    let (path, version) =
        store_capture(doors, object, capture.metadata.captured_at, &swept.fingerprint, &sealed).await?;
    let written =
        Written { path: path.clone(), version: version.clone(), size: sealed.len() as u64, md5: md5(&sealed) };
    let reference = CaptureRef {
        path,
        version,
        sha256: Digest::of(&sealed),
        md5: hex(&written.md5),
        size: written.size,
        captured_at: capture.metadata.captured_at,
        mode: Mode::None,
        protected_until: None,
        kid: capture.metadata.backup.header.as_ref().map(|header| header.kid.clone()),
        reused: false,
    };
    let versions = capture.metadata.versions.len() as u64;
    let warning = many_versions.then(|| {
        format!("{object} has {versions} versions; Azure may refuse to back up more than 500, and versions cannot be deleted: plan its successor")
    });
    let summary = Summary { current, versions, versions_fingerprint, key_type, thumbprint };
    Ok(Settled {
        entry: LineOf::Taken(Box::new((reference, summary))),
        written: Some(written),
        warning,
        stopped: false,
    })
}

/// Stores a sealed capture. A taken path means that another run took the same object in the same second; the next
/// second's name will do, for the time in the name is only there for people.
async fn store_capture(
    doors: &Doors<'_>,
    object: &Object,
    captured_at: DateTime<Utc>,
    fingerprint: &Digest,
    sealed: &Bytes,
) -> Result<(StorePath, Option<String>)> {
    const NAMES: i64 = 10;
    for later in 0..NAMES {
        let path =
            paths::capture(doors.vault.uri(), object, captured_at + chrono::TimeDelta::seconds(later), fingerprint)?;
        match doors.store.create(&path, sealed.clone()).await {
            Ok(created) => return Ok((path, created.version)),
            Err(error) if error.condition == Condition::Exists => {}
            Err(error) => return Err(Error::from(error).context(format!("couldn't store the capture of {object}"))),
        }
    }
    Err(Error::new(
        crate::error::Kind::Conflict,
        format!("couldn't store the capture of {object}: {NAMES} names in a row are taken"),
    ))
}

fn line(ambient: &Ambient, object: &Object, swept: &Swept, entry: LineOf) -> Line {
    let mut line = Line {
        salt: hex(&ambient.bytes::<16>()),
        kind: object.kind,
        name: object.name.clone(),
        state: State::Live,
        fingerprint: swept.fingerprint,
        current: None,
        versions_fingerprint: None,
        versions: None,
        enabled: swept.attributes.enabled,
        expires: swept.attributes.expires,
        key_type: None,
        thumbprint: None,
        purge_at: None,
        capture: None,
        gap: None,
    };
    match entry {
        LineOf::Managed => line.state = State::Managed,
        LineOf::Gap(gap) => line.gap = Some(gap),
        LineOf::Taken(taken) => {
            let (reference, summary) = *taken;
            line.current = summary.current;
            line.versions = Some(summary.versions);
            line.versions_fingerprint = Some(summary.versions_fingerprint);
            line.key_type = summary.key_type;
            line.thumbprint = summary.thumbprint;
            line.capture = Some(reference);
        }
        LineOf::Reused(earlier) => {
            line = Line { salt: line.salt, ..*earlier };
            if let Some(reference) = &mut line.capture {
                reference.reused = true;
            }
        }
    }
    line
}

/// Reads the new captures back and notes their protection.
async fn secure(doors: &Doors<'_>, guard: &Guard, demand: Demand, taken: &mut Taken) -> Result<()> {
    doors.progress.stage("reading back", None);
    let mut protections =
        read_back(doors.store, guard, demand, &taken.written, &paths::captures_prefix(doors.vault.uri())).await?;
    for reference in taken.lines.iter_mut().filter_map(|line| line.capture.as_mut()) {
        if let Some(Protection { mode, until, .. }) = protections.remove(&reference.path) {
            reference.mode = mode;
            reference.protected_until = until;
        }
    }
    let unlocked =
        taken.lines.iter().filter_map(|line| line.capture.as_ref()).filter(|c| c.mode == Mode::Unlocked).count();
    if unlocked > 0 && demand == Demand::Required {
        taken
            .warnings
            .push(format!("{unlocked} captures are under a policy that is not locked, or whose lock may not be read"));
    }
    Ok(())
}

struct Moment {
    sequence: u64,
    started: DateTime<Utc>,
    full_at: Option<DateTime<Utc>>,
}

fn assemble(
    doors: &Doors<'_>,
    order: &Order,
    sweep: Sweep,
    mut lines: Vec<Line>,
    facts: Option<VaultFacts>,
    gaps: Vec<Gap>,
    moment: Moment,
) -> Manifest {
    let deleted = sweep.deleted.iter().map(|(object, swept)| {
        let entry = Line {
            state: State::Deleted,
            purge_at: swept.purge_at,
            ..line(doors.ambient, object, swept, LineOf::Managed)
        };
        Line { state: State::Deleted, ..entry }
    });
    lines.extend(deleted);
    lines.sort_by(|a, b| Line::order(a).cmp(&Line::order(b)));
    let counts = Counts::of(&lines);
    let blind = gaps.iter().any(|gap| gap.code.starts_with("list-") || gap.code == "malformed-item");
    let status = if counts.gaps > 0 || blind { Status::Partial } else { Status::Complete };
    let header = Header {
        format: manifest::FORMAT.into(),
        archive_id: doors.reader.archive().archive_id,
        sequence: moment.sequence,
        vault: doors.vault.uri().clone(),
        facts,
        started: moment.started,
        finished: doors.ambient.now(),
        tool: super::TOOL.into(),
        status,
        full_at: moment.full_at,
        policy_sha256: order.policy_sha256,
        counts,
        gaps,
    };
    Manifest { header, lines }
}

async fn commit(doors: &Doors<'_>, guard: &Guard, demand: Demand, manifest: &Manifest) -> Result<u64> {
    doors.progress.stage("committing", None);
    let vault = doors.vault.uri();
    let encoded = manifest.encode().context("couldn't write the manifest")?;
    let path = paths::manifest(vault, manifest.header.sequence, encoded.sha256)?;
    let appender = Appender::new(doors.store, doors.reader, doors.signer, vault, doors.ambient);
    let size = encoded.bytes.len() as u64;
    let digest = md5(&encoded.bytes);
    let created = appender.create(&path, encoded.bytes.into()).await.context("couldn't store the manifest")?;
    let written = [Written { path: path.clone(), version: created.version.clone(), size, md5: digest }];
    read_back(doors.store, guard, demand, &written, path.as_str()).await?;
    let snapshot = SnapshotRef {
        sequence: 0,
        manifest: path,
        version: created.version,
        sha256: encoded.sha256,
        size,
        root: encoded.root,
        lines: encoded.lines,
        status: manifest.header.status,
        counts: manifest.header.counts,
        started: manifest.header.started,
    };
    appender.commit(|_, sequence| Ok(Event::Snapshot(SnapshotRef { sequence, ..snapshot.clone() }))).await
}

fn report(
    doors: &Doors<'_>,
    manifest: &Manifest,
    sequence: u64,
    started: DateTime<Utc>,
    interrupted: bool,
    warnings: Vec<String>,
) -> Report {
    let header = &manifest.header;
    let of_objects = manifest.lines.iter().filter_map(|line| {
        let gap = line.gap.as_ref()?;
        let object = Object::new(line.kind, line.name.clone()).to_string();
        Some(ReportedGap { object: Some(object), code: gap.code.clone(), detail: gap.detail.clone() })
    });
    let of_vault =
        header.gaps.iter().map(|gap| ReportedGap { object: None, code: gap.code.clone(), detail: gap.detail.clone() });
    let traffic = doors.vault.traffic();
    let Counts { seen, captured, reused, gaps, .. } = header.counts;
    let milliseconds = (doors.ambient.now() - started).num_milliseconds().max(0);
    Report {
        vault: doors.vault.uri().to_string(),
        status: match header.status {
            Status::Complete => Outcome::Complete,
            Status::Partial => Outcome::Partial,
        },
        sequence: Some(sequence),
        objects: Objects { seen, captured, reused, gaps },
        gaps: of_vault.chain(of_objects).collect(),
        requests: traffic.requests,
        throttled: traffic.throttled,
        seconds: milliseconds as f64 / 1000.0,
        warnings,
        interrupted,
        error: None,
    }
}

/// Counts of a set of gaps by code, for a line of text.
pub fn gap_codes(gaps: &[ReportedGap]) -> BTreeMap<&str, usize> {
    let mut codes = BTreeMap::new();
    for gap in gaps {
        *codes.entry(gap.code.as_str()).or_default() += 1;
    }
    codes
}
