//! Carrying out a plan against the archive and the vault that it was made for: check, look again, then in batches claim the
//! names in the log, change the vault, record what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::claim::Register;
use super::{fetch, settings};
use crate::ambient::Ambient;
use crate::archive::{Appender, Reader};
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::Capture;
use crate::format::entry::{Became, Change, IntentStep, Outcome, RestoreIntent};
use crate::jobs::history::{self, Log};
use crate::model::{Kind as ObjectKind, Object, VaultUri};
use crate::progress::{Progress, Stop};
use crate::restore::execute::{self, Captures, Done, Purge, Task, carry_out};
use crate::restore::{Action, Applied, AppliedStep, Origin, Plan, Slot, Step, observe_all};
use crate::seal::Identities;
use crate::store;
use crate::tlog::Signer;
use crate::vault;

/// Steps of one intent. A log file holds 16 MiB, and a result is written soon enough to be of use.
const BATCH: usize = 1000;

/// Characters of a step's outcome in the log, whose files are bounded.
const OUTCOME_MAX: usize = 200;

/// What carrying out works with.
pub struct Hands<'a> {
    /// Where the log is written; `None` where the operator goes on without it.
    pub logbook: Option<Logbook<'a>>,
    /// The archive; `None` where there is none, and all captures come from files.
    pub reader: Option<&'a Reader<'a>>,
    /// Who opens its captures.
    pub identities: &'a Arc<Identities>,
    /// The target vault.
    pub vault: &'a dyn vault::Write,
    /// Time.
    pub ambient: &'a Ambient,
    /// Who is doing this, as told.
    pub operator: &'a str,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// Who may ask to stop.
    pub stop: &'a Stop,
    /// How long one object may be waited for.
    pub wait: Duration,
    /// Objects that are worked on at the same time, at least 1.
    pub in_flight: usize,
}

/// The log, for writing.
#[derive(Clone, Copy)]
pub struct Logbook<'a> {
    /// The archive's store.
    pub store: &'a dyn store::Append,
    /// The key that signs.
    pub signer: &'a Signer,
}

impl<'a> Hands<'a> {
    /// What changes the vault.
    pub(super) fn execute<'h>(&'h self, captures: &'h dyn Captures) -> execute::Hands<'h> {
        execute::Hands {
            vault: self.vault,
            captures,
            ambient: self.ambient,
            progress: self.progress,
            stop: self.stop,
            wait: self.wait,
            in_flight: self.in_flight,
        }
    }

    /// What writes the log of `vault`; `None` where the operator goes on without it.
    pub(super) fn appender<'h>(&'h self, vault: &'h VaultUri) -> Option<(&'h Reader<'h>, Appender<'h>)> {
        let (logbook, reader) = (self.logbook?, self.reader?);
        Some((reader, Appender::new(logbook.store, reader, logbook.signer, vault, self.ambient)))
    }
}

/// Captures of some objects of a vault, wherever they are.
pub(super) struct Sources<'a> {
    pub(super) reader: Option<&'a Reader<'a>>,
    pub(super) identities: &'a Arc<Identities>,
    pub(super) vault: &'a VaultUri,
    pub(super) from: BTreeMap<Object, Origin>,
}

#[async_trait]
impl Captures for Sources<'_> {
    async fn open(&self, object: &Object) -> Result<Capture> {
        match self.from.get(object) {
            Some(from) => fetch(self.reader, self.identities, self.vault, object, from).await,
            None => Err(Error::new(Kind::Refused, format!("the capture of {object} came from a file"))
                .hint("plan again with that file")),
        }
    }
}

/// Carries out a plan that was made against this archive and this vault. Nothing is changed before the whole plan was
/// checked against the archive, the log and the vault. Issuers and contacts, where the plan names them, are written before
/// the first object.
///
/// # Errors
/// `Usage` for another archive's plan, `Tampered` where a capture is not the one in its snapshot, `Conflict` where a slot
/// moved or somebody else was faster, `Refused` for what the log forbids: then nothing was changed. What a step meets later
/// is its outcome. Where a result cannot be recorded, the error says what was changed.
pub async fn apply(hands: &Hands<'_>, plan: &Plan) -> Result<Applied> {
    apply_in_batches(hands, plan, BATCH).await
}

pub(super) async fn apply_in_batches(hands: &Hands<'_>, plan: &Plan, size: usize) -> Result<Applied> {
    let steps = check(hands, plan).await?;
    let intent = intent(hands, plan, &steps);
    let log = hands.appender(&plan.source);
    let mut register = match &log {
        Some((reader, _)) if !steps.is_empty() => {
            // Before the slots are looked at.
            let register = Register::open(reader, &plan.source, spends(&intent)).await?;
            register.judge(&intent).context("nothing was changed")?;
            Some(register)
        }
        _ => None,
    };
    check_unmoved(hands, &steps).await?;
    // Before the first object: an intent tells of objects only, and whoever resumes it has no plan. What is cut off here is
    // begun again with the same plan, since no name has moved.
    let vault_settings = settings::give(hands, plan).await;
    let sources = Sources {
        reader: hands.reader,
        identities: hands.identities,
        vault: &plan.source,
        from: steps.iter().map(|step| (step.object.clone(), step.from.clone())).collect(),
    };
    hands.progress.stage("restoring", Some(steps.len() as u64));
    let mut done: BTreeMap<&Object, AppliedStep> = BTreeMap::new();
    let mut intents = Vec::new();
    let mut ended: Option<String> = None;
    for batch in steps.chunks(size) {
        if ended.is_none() && hands.stop.asked().is_some() {
            ended = Some("stopped before it was tried".to_owned());
        }
        if let Some(why) = &ended {
            done.extend(batch.iter().map(|step| (&step.object, AppliedStep::skipped(step, why.as_str()))));
            continue;
        }
        let batch_intent = self::intent(hands, plan, batch);
        let claimed = match (&mut register, &log) {
            (Some(register), Some((_, appender))) => match register.claim(appender, &batch_intent).await {
                Ok(sequence) => Some(sequence),
                Err(error) if done.is_empty() => return Err(unclaimed(error, plan)),
                // What was done is done and recorded: it is told, and so is why it did not go on.
                Err(error) => {
                    let why = format!("not tried: {error}");
                    done.extend(batch.iter().map(|step| (&step.object, AppliedStep::skipped(step, why.as_str()))));
                    ended = Some(why);
                    continue;
                }
            },
            _ => None,
        };
        let rivals = match &mut register {
            Some(register) if spends(&batch_intent) => register.rivals(&batch_intent).await,
            _ => Ok(Vec::new()),
        };
        let outcomes = carry_out_but(hands, &sources, batch, rivals).await;
        if let (Some(register), Some((_, appender)), Some(sequence)) = (&mut register, &log, claimed) {
            record(register, appender, sequence, &outcomes).await?;
            intents.push(sequence);
        }
        done.extend(batch.iter().zip(outcomes).map(|(step, done)| (&step.object, AppliedStep::of(step, done))));
    }
    Ok(Applied { vault_settings, ..applied(hands, plan, done, intents) })
}

fn applied(hands: &Hands<'_>, plan: &Plan, mut done: BTreeMap<&Object, AppliedStep>, intents: Vec<u64>) -> Applied {
    let changed = !done.is_empty();
    let steps: Vec<AppliedStep> = plan
        .steps
        .iter()
        .map(|step| match step.action.changes() {
            true => done.remove(&step.object).unwrap_or_else(|| AppliedStep::skipped(step, "not tried")),
            false => AppliedStep::skipped(step, step.reason.clone()),
        })
        .collect();
    let status = match (steps.iter().any(AppliedStep::open), changed) {
        (true, _) => "partial",
        (false, true) => "done",
        (false, false) => "nothing",
    };
    let skipped = |step: &AppliedStep| step.action.changes() && step.result == Became::Skipped;
    Applied {
        plan: plan.plan,
        target: plan.target.to_string(),
        status: status.to_owned(),
        interrupted: hands.stop.asked().is_some() && steps.iter().any(skipped),
        intents,
        steps,
        vault_settings: Vec::new(),
    }
}

/// Checks what needs no vault, and returns the steps that change something: certificates first.
async fn check(hands: &Hands<'_>, plan: &Plan) -> Result<Vec<Step>> {
    let here = hands.reader.map(|reader| reader.archive().archive_id);
    if plan.archive_id.is_some() && plan.archive_id != here {
        return Err(Error::usage("the plan was made for another archive").hint("make a new plan"));
    }
    if here.is_none() && hands.logbook.is_some() {
        return Err(Error::usage("the log of an archive is written only where the archive is open"));
    }
    let mut steps: Vec<Step> = plan.changes().cloned().collect();
    let mut objects = BTreeSet::new();
    if let Some(twice) = steps.iter().find(|step| !objects.insert(&step.object)) {
        return Err(Error::usage(format!("the plan changes {} twice", twice.object)).hint("make a new plan"));
    }
    steps.sort_by_key(|step| step.object.kind != ObjectKind::Certificate);
    check_named(hands.reader, &plan.source, &steps).await?;
    settings::check_named(hands.reader, plan).await?;
    Ok(steps)
}

/// Demands that each capture of the plan is the one that a signed snapshot names for that object: a plan file may have
/// gone through many hands, and anyone can seal a capture to public recipients.
async fn check_named(reader: Option<&Reader<'_>>, source: &VaultUri, steps: &[Step]) -> Result<()> {
    let mut by_snapshot: BTreeMap<u64, Vec<&Step>> = BTreeMap::new();
    for step in steps {
        if let Origin::Archive { snapshot, .. } = &step.from {
            by_snapshot.entry(*snapshot).or_default().push(step);
        }
    }
    let (Some(reader), false) = (reader, by_snapshot.is_empty()) else { return Ok(()) };
    let log = Log::read(reader, source).await?;
    for (snapshot, steps) in by_snapshot {
        let objects: Vec<Object> = steps.iter().map(|step| step.object.clone()).collect();
        let found = history::find_in(reader, &log, &objects, snapshot).await?;
        for (step, found) in steps.iter().zip(found) {
            if matches!(&step.from, Origin::Archive { capture, .. } if **capture != found.capture) {
                let message = format!("the plan's capture of {} is not the one in snapshot {snapshot}", step.object);
                return Err(Error::new(Kind::Tampered, message).hint("nothing was changed; make a new plan"));
            }
        }
    }
    Ok(())
}

/// Demands that each slot is as the plan saw it. All that moved are told.
async fn check_unmoved(hands: &Hands<'_>, steps: &[Step]) -> Result<()> {
    let objects: Vec<Object> = steps.iter().map(|step| step.object.clone()).collect();
    let slots = observe_all(hands.vault, &objects, hands.progress).await.context("nothing was changed")?;
    let mut moved = Vec::new();
    for step in steps {
        let is = slots.get(&step.object).unwrap_or(&Slot::InTransition).seen();
        if is != step.slot {
            moved.push(format!("{} is not as it was (it was {}, it is {})", step.object, step.slot.state, is.state));
        }
    }
    match moved.is_empty() {
        true => Ok(()),
        false => Err(Error::new(Kind::Conflict, format!("names moved since the plan was made: {}", moved.join("; ")))
            .hint("nothing was changed; make a new plan")),
    }
}

fn intent(hands: &Hands<'_>, plan: &Plan, steps: &[Step]) -> RestoreIntent {
    RestoreIntent {
        plan: plan.plan,
        target: plan.target.clone(),
        steps: steps.iter().filter_map(intent_step).collect(),
        operator: hands.operator.to_owned(),
        single_restore_override: plan.allowed.single_restore_override.clone(),
    }
}

fn intent_step(step: &Step) -> Option<IntentStep> {
    let action = change(step.action)?;
    let (snapshot, capture) = match &step.from {
        Origin::Archive { snapshot, capture } => (Some(*snapshot), action.creates().then(|| capture.path.clone())),
        Origin::File { .. } => (None, None),
    };
    Some(IntentStep { object: step.object.clone(), action, snapshot, capture, hsm: step.hsm })
}

fn change(action: Action) -> Option<Change> {
    match action {
        Action::Restore => Some(Change::Restore),
        Action::Recover => Some(Change::Recover),
        Action::PurgeAndRestore => Some(Change::PurgeAndRestore),
        Action::Nothing | Action::Wait | Action::Refused => None,
    }
}

/// Whether it creates an HSM key.
fn spends(intent: &RestoreIntent) -> bool {
    intent.steps.iter().any(|step| step.hsm && step.action.creates())
}

fn unclaimed(error: Error, plan: &Plan) -> Error {
    let changed = match plan.settings {
        Some(_) => "no object was changed (issuers and contacts that were missing are written)",
        None => "nothing was changed",
    };
    // A log entry whose answer was lost may be there all the same.
    error.context(format!("couldn't record the intent; {changed}")).hint(
        "`akv-archiver restore log` shows whether it was recorded after all; then `akv-archiver restore resume` closes it",
    )
}

/// Carries out a batch but for the steps on which somebody else's intent stands in another log.
async fn carry_out_but(
    hands: &Hands<'_>,
    sources: &Sources<'_>,
    batch: &[Step],
    rivals: Result<Vec<(usize, String)>>,
) -> Vec<Done> {
    let yields: BTreeMap<usize, String> = match rivals {
        Ok(rivals) => rivals
            .into_iter()
            .map(|(index, who)| (index, format!("{who} is about to change it too; make a new plan")))
            .collect(),
        // Without having looked, no HSM key is restored.
        Err(error) => {
            let hsm = batch.iter().enumerate().filter(|(_, step)| step.hsm && step.action.creates());
            hsm.map(|(index, _)| (index, format!("couldn't look into the other logs once more: {error}"))).collect()
        }
    };
    let tasks: Vec<Task> = batch
        .iter()
        .enumerate()
        .filter(|(index, _)| !yields.contains_key(index))
        .filter_map(|(_, step)| {
            let purge = Purge::Seen(step.slot.clone());
            Some(Task { object: step.object.clone(), change: change(step.action)?, purge })
        })
        .collect();
    let mut carried = carry_out(&hands.execute(sources), &tasks).await.into_iter();
    let outcome = |(index, step): (usize, &Step)| match yields.get(&index) {
        Some(why) => Done::new(&step.object, Became::Skipped, why.as_str()),
        None => carried.next().unwrap_or_else(|| Done::new(&step.object, Became::Skipped, "not tried")),
    };
    batch.iter().enumerate().map(outcome).collect()
}

/// What the log keeps of outcomes: that something differed, and how it began; the command prints all of it.
pub(super) fn outcomes(done: &[Done]) -> Vec<Outcome> {
    let outcome = |done: &Done| {
        let detail = match done.differences.is_empty() {
            true => done.detail.clone(),
            false => {
                let differences: Vec<String> = done.differences.iter().map(ToString::to_string).collect();
                format!("{}: {}", done.detail, differences.join("; "))
            }
        };
        let detail = detail.chars().take(OUTCOME_MAX).collect();
        Outcome { object: done.object.clone(), result: done.result, detail }
    };
    done.iter().map(outcome).collect()
}

/// How many of what, for a sentence.
pub(super) fn tally(done: &[Done]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for done in done {
        *counts.entry(done.result.name()).or_default() += 1;
    }
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

async fn record(register: &mut Register<'_>, appender: &Appender<'_>, intent: u64, done: &[Done]) -> Result<()> {
    let what = tally(done);
    let closed = register
        .close(appender, intent, outcomes(done))
        .await
        .context(format!("the vault was changed ({what}), but the result of intent {intent} couldn't be recorded"));
    // The error of a store may have a hint of its own; what is to be done now matters more.
    match closed {
        Ok(true) => Ok(()),
        Ok(false) => {
            let message = format!(
                "the vault was changed ({what}), but somebody else closed intent {intent} meanwhile, and the log has their result"
            );
            Err(Error::new(Kind::Conflict, message).hint("`akv-archiver restore log` shows it"))
        }
        Err(error) => Err(Error::new(error.kind(), error.message())
            .hint("`akv-archiver restore resume` looks at the vault and closes the intent")),
    }
}
