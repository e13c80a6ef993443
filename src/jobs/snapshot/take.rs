//! Carrying out a snapshot's tasks: fetch, pack, seal, store, read back; one manifest line each.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::{Doors, Order};
use crate::ambient::Ambient;
use crate::archive::md5;
use crate::capture::{self, Fetched, Sweep, Swept, Task};
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::Capture;
use crate::format::manifest::{CaptureRef, Gap, Line, State};
use crate::format::{self, paths};
use crate::jobs::TOOL;
use crate::jobs::protection::{Demand, Written, read_back};
use crate::model::{Digest, Mode, Object, StorePath, hex};
use crate::store::{Condition, Guard, Protection};

/// What became of the tasks so far.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) lines: Vec<Line>,
    written: Vec<Written>,
    pub(super) warnings: Vec<String>,
    pub(super) interrupted: bool,
}

pub(super) async fn take_all(doors: &Doors<'_>, order: &Order, sweep: &Sweep, plan: capture::Plan) -> Result<Taken> {
    let mut taken = Taken::default();
    let mut running = futures::stream::iter(plan.tasks)
        .map(|(object, task)| async move {
            let swept = sweep.live.get(&object);
            let outcome = match swept {
                Some(swept) if doors.stop.asked().is_none() => take_one(doors, &object, swept, task).await,
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
pub(super) struct Settled {
    entry: LineOf,
    written: Option<Written>,
    warning: Option<String>,
    stopped: bool,
}

/// What a manifest line is made from.
pub(super) enum LineOf {
    Taken(Box<(CaptureRef, Summary)>),
    Reused(Box<Line>),
    Managed,
    Deleted,
    Gap(Gap),
}

/// What a manifest line says of a capture's content.
pub(super) struct Summary {
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

    fn orphaned() -> Self {
        let detail =
            "a certificate that the vault does not list owns it, and its backup cannot be asked for alone".into();
        Settled::of(LineOf::Gap(Gap { code: "managed-without-certificate".into(), detail }))
    }

    fn stopped(task: Task) -> Self {
        match task {
            Task::Reuse(line) => Settled::of(LineOf::Reused(line)),
            // Its capture is as good as yesterday; that its versions were compared must not be claimed.
            Task::Compare(line) => Settled { stopped: true, ..Settled::of(LineOf::Reused(line)) },
            Task::Managed => Settled::of(LineOf::Managed),
            Task::Orphaned => Settled::orphaned(),
            Task::Take => {
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
        Task::Orphaned => Ok(Settled::orphaned()),
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
    let fetched = match capture::fetch(doors.vault, object, &swept.raw, TOOL, doors.ambient).await {
        Ok(fetched) => fetched,
        Err(gap) => return Ok(Settled::of(LineOf::Gap(gap))),
    };
    let Fetched { capture, current, versions_fingerprint, key_type, thumbprint, many_versions } = fetched;
    let began = capture.metadata.captured_at;
    let kid = capture.metadata.backup.header.as_ref().map(|header| header.kid.clone());
    let versions = capture.metadata.versions.len() as u64;
    let sealed = match seal(doors, capture).await.context(format!("couldn't encrypt {object}"))? {
        Ok(sealed) => sealed,
        // More than a capture may hold, or a date that no tar has: this object's trouble, not that of the others.
        Err(error) => {
            let gap = Gap { code: "unpackable".into(), detail: format!("{object} cannot be packed: {error}") };
            return Ok(Settled::of(LineOf::Gap(gap)));
        }
    };
    let (path, captured_at, version) = store_capture(doors, object, began, &swept.fingerprint, &sealed).await?;
    let written =
        Written { path: path.clone(), version: version.clone(), size: sealed.len() as u64, md5: md5(&sealed) };
    let reference = CaptureRef {
        path,
        version,
        sha256: Digest::of(&sealed),
        md5: hex(&written.md5),
        size: written.size,
        captured_at,
        mode: Mode::None,
        protected_until: None,
        kid,
        reused: false,
    };
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

/// Packs and encrypts, on a thread that may block: it takes a processor for a while, and plugins of recipients talk to
/// programs, while other objects' answers wait to be read. The inner failure is the object's, the outer one everybody's.
async fn seal(doors: &Doors<'_>, capture: Capture) -> Result<Result<Bytes, format::Error>> {
    let recipients = Arc::clone(doors.recipients);
    let sealing = tokio::task::spawn_blocking(move || match format::capture::pack(&capture) {
        Ok(packed) => recipients.close(&packed).map(|sealed| Ok(Bytes::from(sealed))),
        Err(error) => Ok(Err(error)),
    });
    sealing.await.map_err(|error| Error::internal(format!("the thread that encrypts ended: {error}")))?
}

/// Stores a sealed capture. A taken path means that another run took the same object in the same second; the next
/// second's name will do, and is then the time that the manifest gives, since the two must agree.
async fn store_capture(
    doors: &Doors<'_>,
    object: &Object,
    captured_at: DateTime<Utc>,
    fingerprint: &Digest,
    sealed: &Bytes,
) -> Result<(StorePath, DateTime<Utc>, Option<String>)> {
    const NAMES: i64 = 10;
    for later in 0..NAMES {
        let at = captured_at + chrono::TimeDelta::seconds(later);
        let path = paths::capture(doors.vault.uri(), object, at, fingerprint)?;
        match doors.store.create(&path, sealed.clone()).await {
            Ok(created) => return Ok((path, at, created.version)),
            Err(error) if error.condition == Condition::Exists => {}
            Err(error) => return Err(Error::from(error).context(format!("couldn't store the capture of {object}"))),
        }
    }
    Err(Error::new(Kind::Conflict, format!("couldn't store the capture of {object}: {NAMES} names in a row are taken")))
}

pub(super) fn line(ambient: &Ambient, object: &Object, swept: &Swept, entry: LineOf) -> Line {
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
        LineOf::Deleted => {
            line.state = State::Deleted;
            line.purge_at = swept.purge_at;
        }
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
            line = Line { salt: line.salt, gap: None, ..*earlier };
            if let Some(reference) = &mut line.capture {
                reference.reused = true;
            }
        }
    }
    line
}

/// Reads the new captures back and notes their protection.
pub(super) async fn secure(doors: &Doors<'_>, guard: &Guard, demand: Demand, taken: &mut Taken) -> Result<()> {
    doors.progress.stage("reading back", None);
    let mut protections =
        read_back(doors.store, guard, demand, &taken.written, &paths::captures_prefix(doors.vault.uri())).await?;
    let mut unlocked = 0;
    for reference in taken.lines.iter_mut().filter_map(|line| line.capture.as_mut()) {
        if let Some(Protection { mode, until, .. }) = protections.remove(&reference.path) {
            reference.mode = mode;
            reference.protected_until = until;
            unlocked += u64::from(mode == Mode::Unlocked);
        }
    }
    if unlocked > 0 && demand == Demand::Required {
        taken.warnings.push(format!(
            "{unlocked} new captures are under a policy that is not locked, or whose lock may not be read"
        ));
    }
    Ok(())
}
