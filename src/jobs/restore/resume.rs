//! Finishing what somebody began: open intents are judged by looking at the vault, carried on, and closed with a result. It
//! needs the log, the archive and an identity, and nothing of whoever began.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::apply::{Hands, Sources, outcomes, tally};
use super::claim::{Register, read_ledger};
use crate::archive::Reader;
use crate::error::{Context, Error, Kind, Result};
use crate::format::entry::{Became, Change, IntentStep};
use crate::jobs::history::{self, Log};
use crate::model::{Object, VaultUri};
use crate::restore::aftermath::action_of;
use crate::restore::equivalence::Difference;
use crate::restore::execute::{Assessed, Done, Purge, Task, assess, carry_out};
use crate::restore::{Action, Origin, Record};

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Look, do what is left, close.
    Finish,
    /// Look, leave what is left undone, close.
    Abandon,
    /// Look.
    DryRun,
}

/// What became of an open intent. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resumed {
    /// The host of the vault whose log has the intent.
    pub log: String,
    /// The intent's number there.
    pub intent: u64,
    /// When it was committed.
    pub time: DateTime<Utc>,
    /// Who began.
    pub operator: String,
    /// The vault that was to be changed.
    pub target: String,
    /// Whether its result is in the log now.
    pub closed: bool,
    /// Whether it was stopped before everything was tried.
    pub interrupted: bool,
    /// One per step of the intent.
    pub steps: Vec<ResumedStep>,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResumedStep {
    /// `KIND/NAME`.
    pub object: String,
    /// What the intent says.
    pub action: Action,
    /// What became of it; none while that is open.
    pub result: Option<Became>,
    /// One sentence.
    pub detail: String,
    /// How what is live differs from the capture, in words.
    pub differences: Vec<Difference>,
}

/// The open intents in the logs of these vaults, or the one with this number.
pub async fn open_intents(
    reader: &Reader<'_>,
    vaults: &[VaultUri],
    only: Option<u64>,
) -> Result<Vec<(VaultUri, Record)>> {
    let mut open = Vec::new();
    for vault in vaults {
        for record in read_ledger(reader, vault, false).await?.records() {
            if record.result.is_none() && only.is_none_or(|only| only == record.sequence) {
                open.push((vault.clone(), record.clone()));
            }
        }
    }
    match (open.is_empty(), only) {
        (true, Some(only)) => Err(Error::new(Kind::NotFound, format!("the log has no open intent {only}"))
            .hint("`akv-archiver restore log` shows them all")),
        _ => Ok(open),
    }
}

/// Finishes an open intent in the log of `vault`; `hands.vault` is the intent's target.
///
/// What cannot be told now, such as an object that is still on its way after the whole wait, leaves the intent open, and
/// so does a request to stop.
pub async fn resume(hands: &Hands<'_>, vault: &VaultUri, record: &Record, mode: Mode) -> Result<Resumed> {
    let Some((reader, appender)) = hands.appender(vault) else {
        return Err(Error::usage("an intent is closed in the log, and there is no log to write to"));
    };
    let steps = &record.intent.steps;
    let sources = Sources {
        reader: hands.reader,
        identities: hands.identities,
        vault,
        from: origins(reader, vault, steps).await?,
    };
    let tasks: Vec<Task> = steps.iter().map(|step| task(step, record.time)).collect();
    let execute = hands.execute(&sources);
    hands.progress.stage("looking at names", Some(tasks.len() as u64));
    let assessed = assess(&execute, &tasks).await;
    let to_do: Vec<Task> =
        tasks.into_iter().zip(&assessed).filter(|(_, found)| **found == Assessed::ToDo).map(|(task, _)| task).collect();
    let carried = match mode {
        Mode::Finish => {
            hands.progress.stage("restoring", Some(to_do.len() as u64));
            carry_out(&execute, &to_do).await
        }
        Mode::Abandon => {
            let given_up =
                |task: &Task| Done::new(&task.object, Became::Skipped, "given up: it was not tried, or had no effect");
            to_do.iter().map(given_up).collect()
        }
        Mode::DryRun => Vec::new(),
    };
    let mut carried = carried.into_iter();
    let settled: Vec<Result<Done, String>> = assessed
        .into_iter()
        .zip(steps)
        .map(|(found, step)| match found {
            Assessed::Settled(done) => Ok(done),
            Assessed::Later(why) => Err(why),
            Assessed::ToDo => carried.next().ok_or_else(|| would(step.action).to_owned()),
        })
        .collect();
    let stopped = hands.stop.asked().is_some();
    let skipped = |done: &Result<Done, String>| done.as_ref().map_or(true, |done| done.result == Became::Skipped);
    let interrupted = stopped && mode == Mode::Finish && settled.iter().any(skipped);
    // What was stopped can still be finished: only what is over is closed.
    let over: Option<Vec<Done>> = match mode {
        Mode::DryRun => None,
        _ if interrupted => None,
        _ => settled.iter().map(|done| done.clone().ok()).collect(),
    };
    if let Some(done) = &over {
        let mut register = Register::open(reader, vault, false).await?;
        let what = tally(done);
        let closed = register.close(&appender, record.sequence, outcomes(done)).await;
        let closed = closed.context(format!("intent {} is over ({what}), but couldn't be closed", record.sequence));
        if !closed? {
            let message = format!("somebody else closed intent {} meanwhile ({what})", record.sequence);
            return Err(Error::new(Kind::Conflict, message).hint("`akv-archiver restore log` shows their result"));
        }
    }
    Ok(Resumed {
        log: record.log.clone(),
        intent: record.sequence,
        time: record.time,
        operator: record.intent.operator.clone(),
        target: record.intent.target.to_string(),
        closed: over.is_some(),
        interrupted,
        steps: steps.iter().zip(settled).map(|(step, done)| resumed(step, done)).collect(),
    })
}

fn task(step: &IntentStep, began: DateTime<Utc>) -> Task {
    Task { object: step.object.clone(), change: step.action, purge: Purge::DeletedBefore(began) }
}

fn would(change: Change) -> &'static str {
    match change {
        Change::Restore => "would be restored",
        Change::Recover => "would be recovered",
        Change::PurgeAndRestore => "what holds the name would be purged, and it would be restored",
    }
}

fn resumed(step: &IntentStep, done: Result<Done, String>) -> ResumedStep {
    let (object, action) = (step.object.to_string(), action_of(step.action));
    match done {
        Ok(Done { result, detail, differences, .. }) => {
            ResumedStep { object, action, result: Some(result), detail, differences }
        }
        Err(detail) => ResumedStep { object, action, result: None, detail, differences: Vec::new() },
    }
}

/// Where the captures of an intent's steps are. A step without a snapshot has its capture from a file, which is not here;
/// so has in effect one whose snapshot does not hold any more.
async fn origins(reader: &Reader<'_>, vault: &VaultUri, steps: &[IntentStep]) -> Result<BTreeMap<Object, Origin>> {
    let mut by_snapshot: BTreeMap<u64, Vec<&IntentStep>> = BTreeMap::new();
    for step in steps {
        if let Some(snapshot) = step.snapshot {
            by_snapshot.entry(snapshot).or_default().push(step);
        }
    }
    let mut origins = BTreeMap::new();
    if by_snapshot.is_empty() {
        return Ok(origins);
    }
    let log = Log::read(reader, vault).await?;
    for (snapshot, steps) in by_snapshot {
        let objects: Vec<Object> = steps.iter().map(|step| step.object.clone()).collect();
        // The intent may be all that is left of its snapshot.
        let Ok(range) = log.numbered(snapshot) else { continue };
        let found = match history::search(reader, &log, &range, &objects).await {
            Ok(search) => search.found,
            Err(error) if error.kind() == Kind::Tampered => continue,
            Err(error) => return Err(error),
        };
        for (step, found) in steps.into_iter().zip(found) {
            let Some(found) = found else { continue };
            if step.capture.as_ref().is_some_and(|path| *path != found.capture.path) {
                let message = format!("the intent's capture of {} is not the one in snapshot {snapshot}", step.object);
                return Err(Error::new(Kind::Tampered, message));
            }
            let from = Origin::Archive { snapshot, capture: Box::new(found.capture) };
            origins.insert(step.object.clone(), from);
        }
    }
    Ok(origins)
}
