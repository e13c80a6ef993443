//! Carrying out a plan: look again, write the intent, act, compare, write the result. Each change is one request whose
//! outcome is decided by looking at the slot, for an answer may be lost, and a 409 does not say what it means.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::equivalence::{Differences, differences};
use super::plan::{Action, Origin, Plan, Step};
use super::slot::{Slot, observe};
use super::source::{Source, Versions};
use crate::ambient::Ambient;
use crate::archive::Appender;
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::Capture;
use crate::format::entry::{Became, Change, Event, IntentStep, Outcome, RestoreIntent, RestoreResult};
use crate::model::Object;
use crate::progress::Progress;
use crate::vault::{self, Condition};

/// How long an object may take to come out of transition before we stop looking. Recorded on Azure: up to 204 s.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// Characters of a step's outcome in the log, whose files are bounded.
const OUTCOME_MAX: usize = 200;

/// What carrying out a plan works with.
pub struct Hands<'a> {
    /// The target vault.
    pub vault: &'a dyn vault::Write,
    /// The log of the vault that the captures came from; `None` where the operator goes on without it.
    pub appender: Option<&'a Appender<'a>>,
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
    /// What became of it.
    pub result: Became,
    /// One sentence.
    pub detail: String,
    /// How the restored object differs from its capture, in words; empty when it does not.
    pub differences: Vec<String>,
}

/// Carries out `plan`. `captures` holds the opened capture of every step that restores, and of those that recover as
/// far as they open.
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
            steps: changes.iter().filter_map(|step| intent_step(step)).collect(),
            operator: hands.operator.to_owned(),
            single_restore_override: plan.allowed.single_restore_override.clone(),
        };
        let committed = match hands.appender {
            Some(appender) => Some(
                appender
                    .commit(|_, _| Ok(Event::RestoreIntent(intent.clone())))
                    .await
                    .context("couldn't record the intent; nothing was changed")?,
            ),
            None => None,
        };
        hands.progress.stage("restoring", Some(changes.len() as u64));
        for step in &changes {
            steps.push(carry_out(hands, step, captures).await);
            hands.progress.step();
        }
        if let (Some(appender), Some(intent)) = (hands.appender, committed) {
            let outcomes = steps.iter().zip(&changes).map(|(done, step)| outcome(done, &step.object)).collect();
            let result = RestoreResult { intent, outcomes };
            appender.commit(|_, _| Ok(Event::RestoreResult(result.clone()))).await.context(
                "the vault was changed, but the result couldn't be recorded; `restore plan` again shows the state",
            )?;
        }
    }
    let skipped = plan.steps.iter().filter(|step| !step.action.changes());
    steps.extend(skipped.map(|step| settled(step, Became::Skipped, step.reason.clone())));
    let open = |step: &AppliedStep| {
        !matches!(step.result, Became::Done | Became::Skipped) || matches!(step.action, Action::Refused | Action::Wait)
    };
    let status = if steps.iter().any(open) {
        "partial"
    } else if changes.is_empty() {
        "nothing"
    } else {
        "done"
    };
    Ok(Applied { plan: plan.plan, target: plan.target.to_string(), status: status.into(), steps })
}

fn intent_step(step: &Step) -> Option<IntentStep> {
    let action = match step.action {
        Action::Restore => Change::Restore,
        Action::Recover => Change::Recover,
        Action::PurgeAndRestore => Change::PurgeAndRestore,
        Action::Nothing | Action::Wait | Action::Refused => return None,
    };
    let (snapshot, capture) = match &step.from {
        Origin::Archive { snapshot, capture } => (Some(*snapshot), action.creates().then(|| capture.path.clone())),
        Origin::File { .. } => (None, None),
    };
    Some(IntentStep { object: step.object.clone(), action, snapshot, capture, hsm: step.hsm })
}

fn outcome(done: &AppliedStep, object: &Object) -> Outcome {
    let detail = match done.differences.is_empty() {
        true => done.detail.clone(),
        false => format!("{}: {}", done.detail, done.differences.join("; ")),
    };
    // The log keeps that something differed and how it began; the command prints all of it.
    let detail = detail.chars().take(OUTCOME_MAX).collect();
    Outcome { object: object.clone(), result: done.result, detail }
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
        (Action::Recover, capture) => recover(hands, step, capture).await,
        (_, _) => Err(Error::internal(format!("{} has no opened capture", step.object))),
    };
    done.unwrap_or_else(|error| {
        let detail = match error.hint_text() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        settled(step, Became::Failed, detail)
    })
}

fn settled(step: &Step, result: Became, detail: String) -> AppliedStep {
    AppliedStep { object: step.object.to_string(), action: step.action, result, detail, differences: Vec::new() }
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
                Ok(Slot::Live { .. } | Slot::InTransition) => {}
                _ => return Err(Error::from(error).context(format!("couldn't restore {object}"))),
            }
        }
        Err(error) if error.condition == Condition::Conflict => {
            return Err(explain_conflict(hands, object, error).await);
        }
        Err(error) => return Err(Error::from(error).context(format!("couldn't restore {object}"))),
    }
    let versions = wait_live(hands, object).await?;
    let differences = differences(&Source::of(capture).versions, &versions, step.action);
    Ok(compared(step, "restored", &versions, differences))
}

/// A step that was done, with how its object differs from the capture.
fn compared(step: &Step, did: &str, versions: &Versions, differences: Differences) -> AppliedStep {
    let count = versions.len();
    let (result, note) = match (differences.grave, differences.found.is_empty()) {
        (true, _) => (Became::Different, ", and it is not what was captured"),
        (false, false) => (Became::Done, ", with differences"),
        (false, true) => (Became::Done, ""),
    };
    let plural = if count == 1 { "version" } else { "versions" };
    AppliedStep {
        differences: differences.found,
        ..settled(step, result, format!("{did} with {count} {plural}{note}"))
    }
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

async fn recover(hands: &Hands<'_>, step: &Step, capture: Option<&Capture>) -> Result<AppliedStep> {
    let object = &step.object;
    match hands.vault.recover(object).await {
        Ok(()) => {}
        // Live already: somebody, or a lost answer of ours, was faster. In transition or unclear: the slot will tell.
        Err(error) if matches!(error.condition, Condition::Live | Condition::InTransition | Condition::Unavailable) => {
        }
        Err(error) => return Err(Error::from(error).context(format!("couldn't recover {object}"))),
    }
    let versions = wait_live(hands, object).await?;
    // Only now can be seen whether it is the object that was captured, or another one that had the name later.
    let differences = match capture {
        Some(capture) => differences(&Source::of(capture).versions, &versions, step.action),
        None => {
            Differences { found: vec!["it could not be compared: its capture does not open".to_owned()], grave: false }
        }
    };
    Ok(compared(step, "recovered", &versions, differences))
}

/// Waits until an object is live: restores and recovers complete some time after their answer.
async fn wait_live(hands: &Hands<'_>, object: &Object) -> Result<Versions> {
    let deadline = hands.ambient.now() + PATIENCE;
    let mut pause = Duration::from_millis(250);
    loop {
        match observe(hands.vault, object).await {
            Ok(Slot::Live { versions, .. }) => return Ok(versions),
            Ok(_) => {}
            // On the way still, or a service that stumbles: there is time.
            Err(error)
                if matches!(
                    error.condition,
                    Condition::Conflict
                        | Condition::InTransition
                        | Condition::NotFound
                        | Condition::Throttled
                        | Condition::Unavailable
                ) => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Clock;
    use crate::jobs::fixture::{House, object};
    use crate::vault::Read as _;
    use crate::vault::memory::{Call, Moment};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn fails(condition: Condition) -> vault::Error {
        vault::Error::new(condition, "injected")
    }

    /// A house whose key and certificate were captured and then wiped out.
    async fn wiped() -> (House, Plan) {
        let house = House::new(&["key/k", "certificate/tls", "secret/s"]).await;
        house.snapshot().await.unwrap();
        house.wipe(&["key/k", "certificate/tls"]);
        let plan = house.plan(&["key/k", "certificate/tls"]).await.unwrap();
        assert_eq!(plan.changes().count(), 2);
        (house, plan)
    }

    async fn log(house: &House) -> Vec<String> {
        let vault = house.vault.uri().clone();
        let entries = house.reader().await.entries(&vault).await.unwrap().verified;
        entries
            .iter()
            .map(|entry| match &entry.event {
                Event::Snapshot(_) => "snapshot".to_owned(),
                Event::RestoreIntent(intent) => format!("intent {}", intent.steps.len()),
                Event::RestoreResult(result) => {
                    let results: Vec<&str> = result.outcomes.iter().map(|outcome| outcome.result.name()).collect();
                    format!("result of {}: {}", result.intent, results.join(" "))
                }
                Event::Unknown(_) => "unknown".to_owned(),
            })
            .collect()
    }

    fn step<'a>(applied: &'a Applied, object: &str) -> &'a AppliedStep {
        applied.steps.iter().find(|step| step.object == object).unwrap()
    }

    #[tokio::test]
    async fn what_was_wiped_comes_back_the_same_with_intent_and_result_in_the_log() {
        let (house, plan) = wiped().await;
        let applied = house.apply(&plan).await.unwrap();
        assert_eq!(applied.status, "done");
        assert!(
            applied.steps.iter().all(|step| step.result == Became::Done && step.differences.is_empty()),
            "{applied:?}"
        );
        assert_eq!(log(&house).await, ["snapshot", "intent 2", "result of 2: done done"]);
        let again = house.plan(&["key/k", "certificate/tls"]).await.unwrap();
        assert!(again.steps.iter().all(|step| step.action == Action::Nothing));
        assert_eq!(house.apply(&again).await.unwrap().status, "nothing");
        assert_eq!(log(&house).await.len(), 3, "what changes nothing is not in the log");
        let findings = house.verify().await.findings;
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[tokio::test]
    async fn a_slot_that_moved_stops_the_plan_before_anything_is_changed() {
        let (house, plan) = wiped().await;
        house.vault.put(&object("key/k"));
        let error = house.apply(&plan).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.message().contains("it was free, it is live"), "{error}");
        assert_eq!(log(&house).await, ["snapshot"]);
        assert!(
            house.plan(&["certificate/tls"]).await.unwrap().steps[0].action == Action::Restore,
            "nothing was restored"
        );
    }

    #[tokio::test]
    async fn a_lost_answer_is_decided_by_the_slot() {
        for (moment, result) in [(Moment::After, "done"), (Moment::Before, "failed")] {
            let (house, plan) = wiped().await;
            house.vault.interfere(move |_, at, call| match call {
                Call::Restore(crate::model::Kind::Key) if at == moment => Err(fails(Condition::Unavailable)),
                _ => Ok(()),
            });
            let applied = house.apply(&plan).await.unwrap();
            assert_eq!(step(&applied, "key/k").result.name(), result);
            assert_eq!(step(&applied, "certificate/tls").result, Became::Done, "one failure does not stop the next");
            assert_eq!(applied.status, if result == "done" { "done" } else { "partial" });
        }
    }

    #[tokio::test]
    async fn a_conflict_is_explained_by_what_holds_the_name() {
        type Meanwhile = fn(&crate::vault::memory::Memory);
        let live: Meanwhile = |vault| drop(vault.put(&object("key/k")));
        let deleted: Meanwhile = |vault| {
            vault.put(&object("key/k"));
            vault.delete(&object("key/k"));
        };
        let purging: Meanwhile = |vault| {
            vault.set_limbo(Duration::from_secs(60));
            vault.purge(&object("key/k"));
        };
        for (meanwhile, why) in
            [(live, "a live object"), (deleted, "a soft-deleted object"), (purging, "still on its way")]
        {
            let (house, plan) = wiped().await;
            house.vault.interfere(move |vault, moment, call| {
                if let (Moment::Before, Call::Restore(crate::model::Kind::Key)) = (moment, call) {
                    meanwhile(vault);
                }
                Ok(())
            });
            let applied = house.apply(&plan).await.unwrap();
            let failed = step(&applied, "key/k");
            assert_eq!(failed.result, Became::Failed);
            assert!(failed.detail.contains(why) && failed.detail.contains("make a new plan"), "{}", failed.detail);
        }
    }

    #[tokio::test]
    async fn a_recovery_is_waited_for_through_transition_and_a_stumbling_service() {
        let house = House::new(&["key/k"]).await;
        house.snapshot().await.unwrap();
        house.vault.delete(&object("key/k"));
        house.vault.set_limbo(Duration::from_secs(200));
        let plan = house.plan(&["key/k"]).await.unwrap();
        assert_eq!(plan.steps[0].action, Action::Recover);
        let looks = Arc::new(AtomicU32::new(0));
        let counted = looks.clone();
        house.vault.interfere(move |_, moment, call| match (moment, call) {
            (Moment::Before, Call::List(_)) if counted.fetch_add(1, Ordering::SeqCst) == 3 => {
                Err(fails(Condition::Unavailable))
            }
            _ => Ok(()),
        });
        let before = house.clock.now();
        let applied = house.apply(&plan).await.unwrap();
        assert_eq!(applied.steps[0].detail, "recovered with 1 version", "{applied:?}");
        let waited = house.clock.now() - before;
        assert!((200..240).contains(&waited.num_seconds()), "{waited}");
        assert!(looks.load(Ordering::SeqCst) < 40, "looks grow rarer");
    }

    #[tokio::test]
    async fn what_never_comes_live_is_given_up_on_after_ten_minutes() {
        let house = House::new(&["key/k"]).await;
        house.snapshot().await.unwrap();
        house.vault.delete(&object("key/k"));
        house.vault.set_limbo(Duration::from_secs(3600));
        let plan = house.plan(&["key/k"]).await.unwrap();
        let before = house.clock.now();
        let applied = house.apply(&plan).await.unwrap();
        assert_eq!((applied.status.as_str(), applied.steps[0].result.name()), ("partial", "failed"));
        assert!(applied.steps[0].detail.contains("not live 10 minutes after"), "{}", applied.steps[0].detail);
        assert!(house.clock.now() - before < TimeDelta::minutes(11));
        let again = house.plan(&["key/k"]).await.unwrap();
        assert_eq!(again.steps[0].action, Action::Restore, "a name that is being recovered looks free");
        let applied = house.apply(&again).await.unwrap();
        assert_eq!(applied.status, "partial", "and is not");
    }

    #[tokio::test]
    async fn a_recovered_object_that_is_another_one_is_told_from_the_one_that_was_captured() {
        let house = House::new(&["key/k"]).await;
        house.snapshot().await.unwrap();
        house.wipe(&["key/k"]);
        house.clock.advance(Duration::from_secs(60));
        house.vault.put(&object("key/k"));
        house.vault.delete(&object("key/k"));
        let plan = house.plan(&["key/k"]).await.unwrap();
        assert_eq!(plan.steps[0].action, Action::Recover);
        let applied = house.apply(&plan).await.unwrap();
        let differences = &applied.steps[0].differences;
        assert!(differences.len() == 1 && differences[0].ends_with("did not come back"), "{applied:?}");
        assert_eq!((applied.status.as_str(), applied.steps[0].result.name()), ("partial", "different"));
    }

    #[test]
    fn differences_are_versions_keys_attributes_and_tags_and_nothing_else() {
        use super::super::source::Version;
        use crate::model::Attributes;
        let version = |id: &str| {
            let attributes = Attributes { enabled: Some(true), ..Attributes::default() };
            (id.to_owned(), Version { attributes, tags: "{\"a\":\"b\"}".into(), thumbprint: Some("t".into()) })
        };
        let captured = Versions::from(["1", "2", "3", "4", "5"].map(version));
        let mut live = captured.clone();
        assert!(differences(&captured, &live, Action::Restore).found.is_empty());
        live.remove("1");
        live.get_mut("2").unwrap().thumbprint = None;
        live.get_mut("3").unwrap().attributes.enabled = Some(false);
        live.get_mut("4").unwrap().tags = String::new();
        live.get_mut("5").unwrap().attributes.recovery_level = Some("Purgeable".into());
        live.insert("6".into(), version("6").1);
        let told = differences(&captured, &live, Action::Restore);
        let expected = [
            "version 1 did not come back",
            "version 2 came back with another public key",
            "version 3 came back with other attributes",
            "version 4 came back with other tags",
            "version 6 was not in the capture",
        ];
        assert_eq!(told.found, expected);
        assert!(told.grave);
        assert_eq!(differences(&captured, &live, Action::Recover).found, expected[..2], "it may have lived on");
        live = captured.clone();
        live.get_mut("4").unwrap().tags = String::new();
        assert!(!differences(&captured, &live, Action::Restore).grave, "tags are told, and are no other object");
    }
}
