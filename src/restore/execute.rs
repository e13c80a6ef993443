//! Carrying out a plan: look again, write the intent, act, compare, write the result. Each change is one request whose
//! outcome is decided by looking at the slot, for an answer may be lost, and a 409 does not say what it means.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::plan::{Action, Plan, Step};
use super::slot::{Slot, observe};
use super::source::{Source, Versions};
use crate::ambient::Ambient;
use crate::archive::Appender;
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::Capture;
use crate::format::entry::{Event, IntentStep, Outcome, RestoreIntent, RestoreResult};
use crate::model::Object;
use crate::progress::Progress;
use crate::vault::{self, Condition};

/// How long an object may take to come out of transition before we stop looking. Recorded on Azure: up to 204 s.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// What carrying out a plan works with.
pub struct Hands<'a> {
    /// The target vault.
    pub vault: &'a dyn vault::Write,
    /// The log of the vault that the captures came from.
    pub appender: &'a Appender<'a>,
    /// Time.
    pub ambient: &'a Ambient,
    /// Who is doing this, as told.
    pub operator: &'a str,
    /// Hears what is being waited for.
    pub progress: &'a dyn Progress,
}

/// What became of a plan. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Applied {
    /// The plan's id.
    pub plan: Uuid,
    /// The vault that was changed.
    pub target: String,
    /// `done`, `partial` or `nothing`.
    pub status: String,
    /// One per step of the plan.
    pub steps: Vec<AppliedStep>,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AppliedStep {
    /// `KIND/NAME`.
    pub object: String,
    /// What was planned.
    pub action: Action,
    /// `done`, `failed` or `skipped`.
    pub result: String,
    /// One sentence.
    pub detail: String,
    /// How the restored object differs from its capture, in words; empty when it does not.
    pub differences: Vec<String>,
}

/// Carries out `plan`. `captures` holds the opened capture of every step that restores.
///
/// Refuses with `Conflict`, before anything is changed, if a slot is not as the plan saw it.
pub async fn apply(hands: &Hands<'_>, plan: &Plan, captures: &BTreeMap<Object, Capture>) -> Result<Applied> {
    check_unmoved(hands, plan).await?;
    let changes: Vec<&Step> = plan.changes().collect();
    let mut steps = Vec::new();
    if !changes.is_empty() {
        let intent = RestoreIntent {
            plan: plan.plan,
            target: plan.target.clone(),
            steps: changes.iter().map(|step| intent_step(step)).collect(),
            operator: hands.operator.to_owned(),
        };
        let committed = hands
            .appender
            .commit(|_, _| Ok(Event::RestoreIntent(intent.clone())))
            .await
            .context("couldn't record the intent; nothing was changed")?;
        hands.progress.stage("restoring", Some(changes.len() as u64));
        for step in &changes {
            steps.push(carry_out(hands, step, captures).await);
            hands.progress.step();
        }
        let outcomes = steps.iter().zip(&changes).map(|(done, step)| outcome(done, &step.object)).collect();
        let result = RestoreResult { intent: committed, outcomes };
        hands.appender.commit(|_, _| Ok(Event::RestoreResult(result.clone()))).await.context(
            "the vault was changed, but the result couldn't be recorded; `restore plan` again shows the state",
        )?;
    }
    let skipped = plan.steps.iter().filter(|step| !matches!(step.action, Action::Restore | Action::Recover));
    steps.extend(skipped.map(|step| settled(step, "skipped", step.reason.clone())));
    let status = if steps.iter().any(|step| step.result == "failed") || plan.refused() {
        "partial"
    } else if changes.is_empty() {
        "nothing"
    } else {
        "done"
    };
    Ok(Applied { plan: plan.plan, target: plan.target.to_string(), status: status.into(), steps })
}

fn intent_step(step: &Step) -> IntentStep {
    let capture = (step.action == Action::Restore).then(|| step.capture.path.clone());
    IntentStep { object: step.object.clone(), action: step.action.name().into(), capture, hsm: step.hsm }
}

fn outcome(done: &AppliedStep, object: &Object) -> Outcome {
    let detail = match done.differences.is_empty() {
        true => done.detail.clone(),
        false => format!("{}: {}", done.detail, done.differences.join("; ")),
    };
    Outcome { object: object.clone(), result: done.result.clone(), detail }
}

async fn check_unmoved(hands: &Hands<'_>, plan: &Plan) -> Result<()> {
    for step in &plan.steps {
        let slot = observe(hands.vault, &step.object).await.context(format!("couldn't look at {}", step.object))?;
        if slot.seen() != step.slot {
            let message = format!(
                "{} is not as it was when the plan was made (it was {}, it is {})",
                step.object,
                step.slot.state,
                slot.seen().state
            );
            return Err(Error::new(Kind::Conflict, message).hint("nothing was changed; make a new plan"));
        }
    }
    Ok(())
}

async fn carry_out(hands: &Hands<'_>, step: &Step, captures: &BTreeMap<Object, Capture>) -> AppliedStep {
    let done = match (step.action, captures.get(&step.object)) {
        (Action::Restore, Some(capture)) => restore(hands, step, capture).await,
        (Action::Recover, _) => recover(hands, step).await,
        (_, _) => Err(Error::internal(format!("{} has no opened capture", step.object))),
    };
    done.unwrap_or_else(|error| {
        let detail = match error.hint_text() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        settled(step, "failed", detail)
    })
}

fn settled(step: &Step, result: &str, detail: String) -> AppliedStep {
    AppliedStep {
        object: step.object.to_string(),
        action: step.action,
        result: result.into(),
        detail,
        differences: Vec::new(),
    }
}

async fn restore(hands: &Hands<'_>, step: &Step, capture: &Capture) -> Result<AppliedStep> {
    let object = &step.object;
    let blob: &Zeroizing<Vec<u8>> = &capture.blob;
    match hands.vault.restore(object.kind, blob).await {
        Ok(_) => {}
        // The answer may be lost though the effect landed: only the slot tells.
        Err(error)
            if matches!(error.condition, Condition::Unavailable | Condition::Throttled | Condition::Malformed) =>
        {
            match observe(hands.vault, object).await {
                Ok(Slot::Live { .. }) => {}
                _ => return Err(Error::from(error).context(format!("couldn't restore {object}"))),
            }
        }
        Err(error) if error.condition == Condition::Conflict => {
            return Err(explain_conflict(hands, object, error).await);
        }
        Err(error) => return Err(Error::from(error).context(format!("couldn't restore {object}"))),
    }
    let versions = wait_live(hands, object).await?;
    let differences = differences(&Source::of(capture).versions, &versions);
    let count = versions.len();
    let mut done =
        settled(step, "done", format!("restored with {count} {}", if count == 1 { "version" } else { "versions" }));
    if !differences.is_empty() {
        done.detail = format!("{}, with differences", done.detail);
    }
    done.differences = differences;
    Ok(done)
}

/// A 409 says only that the name is taken; the slot says by what.
async fn explain_conflict(hands: &Hands<'_>, object: &Object, error: vault::Error) -> Error {
    let why = match observe(hands.vault, object).await {
        Ok(Slot::Live { .. }) => "a live object took the name meanwhile",
        Ok(Slot::Deleted(_)) => "a soft-deleted object holds the name",
        Ok(Slot::Free | Slot::InTransition) => {
            "nothing shows under the name: an earlier delete or purge is still on its way; wait some minutes"
        }
        Err(_) => "and the name could not be looked at",
    };
    Error::from(error).context(format!("couldn't restore {object}: {why}")).hint("make a new plan")
}

async fn recover(hands: &Hands<'_>, step: &Step) -> Result<AppliedStep> {
    let object = &step.object;
    match hands.vault.recover(object).await {
        Ok(()) => {}
        // Live already: somebody, or a lost answer of ours, was faster. In transition or unclear: the slot will tell.
        Err(error) if matches!(error.condition, Condition::Live | Condition::InTransition | Condition::Unavailable) => {
        }
        Err(error) => return Err(Error::from(error).context(format!("couldn't recover {object}"))),
    }
    let versions = wait_live(hands, object).await?;
    Ok(settled(step, "done", format!("recovered with {} versions", versions.len())))
}

/// Waits until an object is live: restores and recovers complete some time after their answer.
async fn wait_live(hands: &Hands<'_>, object: &Object) -> Result<Versions> {
    let deadline = hands.ambient.now() + PATIENCE;
    let mut pause = Duration::from_millis(250);
    loop {
        match observe(hands.vault, object).await {
            Ok(Slot::Live { versions, .. }) => return Ok(versions),
            Ok(_) => {}
            Err(error)
                if matches!(error.condition, Condition::Conflict | Condition::InTransition | Condition::NotFound) => {}
            Err(error) => return Err(Error::from(error).context(format!("couldn't look at {object}"))),
        }
        if hands.ambient.now() >= deadline {
            let message =
                format!("{object} is not live {} minutes after Azure accepted the request", PATIENCE.num_minutes());
            return Err(
                Error::new(Kind::Unavailable, message).hint("make a new plan later: it shows the state of the name")
            );
        }
        hands.progress.note(&format!("waiting for {object} to come live"));
        hands.ambient.sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

/// How a restored object differs from its capture: version ids, public keys, the enabled flag, dates, tags. The recovery
/// level is the target vault's own, and other fields come and go with api-versions: neither is a difference.
fn differences(captured: &Versions, live: &Versions) -> Vec<String> {
    let mut found = Vec::new();
    for (id, ours) in captured {
        let Some(theirs) = live.get(id) else {
            found.push(format!("version {id} did not come back"));
            continue;
        };
        let (a, b) = (&ours.attributes, &theirs.attributes);
        if ours.thumbprint.is_some() && ours.thumbprint != theirs.thumbprint {
            found.push(format!("version {id} came back with another public key"));
        }
        if (a.enabled, a.not_before, a.expires, a.created) != (b.enabled, b.not_before, b.expires, b.created) {
            found.push(format!("version {id} came back with other attributes"));
        }
        if ours.tags != theirs.tags {
            found.push(format!("version {id} came back with other tags"));
        }
    }
    found.extend(
        live.keys().filter(|id| !captured.contains_key(*id)).map(|id| format!("version {id} was not in the capture")),
    );
    found
}
