//! Carrying out, resuming, and the log of both, against a vault and a store in memory that fail in every way.

mod plans;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::apply::apply_in_batches;
use super::log::restores;
use super::{Mode, Resumed, open_intents, read_ledger, resume};
use crate::ambient::Clock;
use crate::archive::Appender;
use crate::error::{Kind, Result};
use crate::format::entry::{Became, Change, Event, IntentStep, Outcome, RestoreIntent, RestoreResult};
use crate::jobs::fixture::{House, object};
use crate::model::{Kind as ObjectKind, StorePath};
use crate::progress::{Halt, Progress};
use crate::restore::{Action, Applied, AppliedStep, Origin, Plan};
use crate::store::{self, Append, Created, Guard, Listed};
use crate::vault::memory::{Call, Memory, Moment};
use crate::vault::{self, Condition, Read as _};

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

/// A house whose key lives in an HSM, and was captured and then wiped out.
async fn hsm() -> (House, Plan) {
    let house = House::new(&["key/k"]).await;
    house.vault.change(&object("key/k"), |version| version.key_type = "RSA-HSM".to_owned());
    house.snapshot().await.unwrap();
    house.wipe(&["key/k"]);
    let plan = house.plan(&["key/k"]).await.unwrap();
    assert!(plan.steps[0].hsm && plan.steps[0].action == Action::Restore);
    (house, plan)
}

/// A house in which another object, deleted softly, holds the captured key's name, and a plan to purge that.
async fn held() -> (House, Plan) {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    house.wipe(&["key/k"]);
    house.vault.put(&object("key/k"));
    house.vault.delete(&object("key/k"));
    let plan = purging(house.plan(&["key/k"]).await.unwrap());
    (house, plan)
}

/// The plan with a purge in the place of whatever it decided about what is soft-deleted.
fn purging(mut plan: Plan) -> Plan {
    plan.allowed.purge = true;
    for step in plan.steps.iter_mut().filter(|step| step.slot.state == "deleted") {
        step.action = Action::PurgeAndRestore;
        step.refusal = None;
    }
    plan
}

/// The log, a line each.
pub(super) async fn log(house: &House) -> Vec<String> {
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
            Event::Protect(_) | Event::Unknown(_) => "other".to_owned(),
        })
        .collect()
}

fn step<'a>(applied: &'a Applied, object: &str) -> &'a AppliedStep {
    applied.steps.iter().find(|step| step.object == object).unwrap()
}

/// Resumes every open intent.
async fn resume_all(house: &House, mode: Mode) -> Result<Vec<Resumed>> {
    let reader = house.reader().await;
    let hands = house.hands(&house.store, &reader);
    let mut resumed = Vec::new();
    for (vault, record) in open_intents(&reader, &[house.vault.uri().clone()], None).await? {
        resumed.push(resume(&hands, &vault, &record, mode).await?);
    }
    Ok(resumed)
}

async fn spent(house: &House, name: &str) -> bool {
    let ledger = read_ledger(&house.reader().await, house.vault.uri(), true).await.unwrap();
    ledger.spent(house.vault.uri(), &object(name)).is_some()
}

/// A store in which something happens before an entry of the log is created, or which fails to create it.
struct Meddled<'a> {
    house: &'a House,
    /// Called with the number of the attempt, from 1; `Some` is the answer.
    before: Box<dyn Fn(u32) -> BoxFuture<'a, Option<store::Error>> + Send + Sync + 'a>,
    attempts: AtomicU32,
}

type BoxFuture<'a, T> = futures::future::BoxFuture<'a, T>;

impl<'a> Meddled<'a> {
    fn new(house: &'a House, before: impl Fn(u32) -> BoxFuture<'a, Option<store::Error>> + Send + Sync + 'a) -> Self {
        Meddled { house, before: Box::new(before), attempts: AtomicU32::new(0) }
    }

    /// Fails the attempt with this number.
    fn failing(house: &'a House, attempt: u32) -> Self {
        Meddled::new(house, move |number| {
            let error = store::Error::new(store::Condition::Unavailable, "injected");
            Box::pin(async move { (number == attempt).then_some(error) })
        })
    }
}

#[async_trait]
impl store::Read for Meddled<'_> {
    fn describe(&self) -> String {
        self.house.store.describe()
    }
    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
        self.house.store.get(path, version, limit).await
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, store::Error>> {
        self.house.store.list(prefix)
    }
    async fn guard(&self) -> Result<Guard, store::Error> {
        self.house.store.guard().await
    }
}

#[async_trait]
impl Append for Meddled<'_> {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, store::Error> {
        let attempt = self.attempts.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(error) = (self.before)(attempt).await {
            return Err(error);
        }
        self.house.store.create(path, bytes).await
    }
}

#[tokio::test]
async fn what_was_wiped_comes_back_the_same_with_intent_and_result_in_the_log() {
    let (house, plan) = wiped().await;
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!((applied.status.as_str(), applied.intents.as_slice()), ("done", &[2][..]));
    assert!(applied.steps.iter().all(|step| step.result == Became::Done && step.differences.is_empty()), "{applied:?}");
    assert_eq!(log(&house).await, ["snapshot", "intent 2", "result of 2: done done"]);
    let again = house.plan(&["key/k", "certificate/tls"]).await.unwrap();
    assert!(again.steps.iter().all(|step| step.action == Action::Nothing));
    assert_eq!(house.apply(&again).await.unwrap().status, "nothing");
    assert_eq!(log(&house).await.len(), 3, "what changes nothing is not in the log");
    let findings = house.verify().await.findings;
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test]
async fn all_slots_that_moved_are_told_before_anything_is_changed() {
    let (house, plan) = wiped().await;
    house.vault.put(&object("key/k"));
    house.vault.put(&object("certificate/tls"));
    let error = house.apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    for moved in ["key/k is not as it was (it was free, it is live)", "certificate/tls is not as it was"] {
        assert!(error.message().contains(moved), "{error}");
    }
    assert_eq!(log(&house).await, ["snapshot"]);
}

#[tokio::test]
async fn what_the_plan_leaves_alone_may_move() {
    let house = House::new(&["key/k", "secret/s"]).await;
    house.snapshot().await.unwrap();
    house.wipe(&["key/k"]);
    let plan = house.plan(&[]).await.unwrap();
    house.vault.put(&object("secret/s"));
    assert_eq!(house.apply(&plan).await.unwrap().status, "done", "a vault that lives on does not keep a key away");
}

#[tokio::test]
async fn a_write_that_fails_once_lost_or_landed_is_found_out() {
    for (which, name) in [(ObjectKind::Key, "key/k"), (ObjectKind::Certificate, "certificate/tls")] {
        for moment in [Moment::Before, Moment::After] {
            for condition in [Condition::Unavailable, Condition::Malformed, Condition::Throttled] {
                let (house, plan) = wiped().await;
                let failed = AtomicBool::new(false);
                house.vault.interfere(move |_, at, call| match call {
                    Call::Restore(kind) if *kind == which && at == moment && !failed.swap(true, Ordering::SeqCst) => {
                        Err(fails(condition))
                    }
                    _ => Ok(()),
                });
                let applied = house.apply(&plan).await.unwrap();
                assert_eq!(step(&applied, name).result, Became::Done, "{name} {moment:?} {condition:?}: {applied:?}");
                assert_eq!(applied.status, "done");
            }
        }
    }
}

#[tokio::test]
async fn a_restore_that_never_lands_failed_and_one_of_which_nobody_can_tell_is_unclear_and_spends() {
    let lost = |house: &House| {
        house.vault.interfere(|_, at, call| match (at, call) {
            (Moment::Before, Call::Restore(_)) => Err(fails(Condition::Unavailable)),
            _ => Ok(()),
        });
    };
    let (house, plan) = hsm().await;
    lost(&house);
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!((applied.status.as_str(), applied.steps[0].result), ("partial", Became::Failed), "{applied:?}");
    assert!(!spent(&house, "key/k").await);

    // The answers are lost, and then nobody can look.
    for moment in [Moment::Before, Moment::After] {
        let (house, plan) = hsm().await;
        let sent = AtomicBool::new(false);
        house.vault.interfere(move |_, at, call| {
            if at == moment && matches!(call, Call::Restore(_)) {
                sent.store(true, Ordering::SeqCst);
            }
            match sent.load(Ordering::SeqCst) {
                true => Err(fails(Condition::Unavailable)),
                false => Ok(()),
            }
        });
        let applied = house.apply(&plan).await.unwrap();
        assert_eq!(applied.steps[0].result, Became::Unclear, "{applied:?}");
        assert_eq!(log(&house).await[1..], ["intent 1", "result of 2: unclear"]);
        assert!(spent(&house, "key/k").await, "it may have been");
    }
}

#[tokio::test]
async fn a_definite_refusal_is_not_asked_again() {
    for condition in [Condition::Rejected, Condition::Denied, Condition::Forbidden] {
        let (house, plan) = hsm().await;
        let sent = Arc::new(AtomicU32::new(0));
        let counted = sent.clone();
        house.vault.interfere(move |_, at, call| match (at, call) {
            (Moment::Before, Call::Restore(_)) => {
                counted.fetch_add(1, Ordering::SeqCst);
                Err(fails(condition))
            }
            _ => Ok(()),
        });
        assert_eq!(house.apply(&plan).await.unwrap().steps[0].result, Became::Failed);
        assert_eq!(sent.load(Ordering::SeqCst), 1, "{condition:?}");
        assert!(!spent(&house, "key/k").await);
    }
}

#[tokio::test]
async fn a_conflict_is_explained_by_what_holds_the_name() {
    type Meanwhile = fn(&Memory);
    let live: Meanwhile = |vault| drop(vault.put(&object("key/k")));
    let deleted: Meanwhile = |vault| {
        vault.put(&object("key/k"));
        vault.delete(&object("key/k"));
    };
    let part: Meanwhile = |vault| drop(vault.put(&object("secret/tls")));
    for (meanwhile, kind, name, why) in [
        (live, ObjectKind::Key, "key/k", "a live object, key/k"),
        (deleted, ObjectKind::Key, "key/k", "a soft-deleted object, key/k"),
        (part, ObjectKind::Certificate, "certificate/tls", "a live object, secret/tls"),
    ] {
        let (house, plan) = wiped().await;
        let done = AtomicBool::new(false);
        house.vault.interfere(move |vault, moment, call| {
            if moment == Moment::Before && matches!(call, Call::Restore(of) if *of == kind) {
                let first = !done.swap(true, Ordering::SeqCst);
                first.then(|| meanwhile(vault));
            }
            Ok(())
        });
        let applied = house.apply(&plan).await.unwrap();
        let failed = step(&applied, name);
        assert_eq!(failed.result, Became::Failed, "{failed:?}");
        assert!(failed.detail.contains(why) && failed.detail.contains("make a new plan"), "{}", failed.detail);
    }
}

#[tokio::test]
async fn a_name_in_limbo_is_waited_for_as_long_as_was_said() {
    for (limbo, result, least, most) in [(200, Became::Done, 200, 215), (3600, Became::Failed, 600, 601)] {
        let (house, plan) = wiped().await;
        let done = AtomicBool::new(false);
        house.vault.interfere(move |vault, moment, call| {
            if let (Moment::Before, Call::Restore(ObjectKind::Key)) = (moment, call)
                && !done.swap(true, Ordering::SeqCst)
            {
                vault.set_limbo(Duration::from_secs(limbo));
                vault.purge(&object("key/k"));
            }
            Ok(())
        });
        let before = house.clock.now();
        let applied = house.apply(&plan).await.unwrap();
        let found = step(&applied, "key/k");
        assert_eq!(found.result, result, "{found:?}");
        assert_eq!(result == Became::Failed, found.detail.contains("did not come free in 10 minutes"), "{found:?}");
        let waited = (house.clock.now() - before).num_seconds();
        assert!((least..=most).contains(&waited), "{waited}");
    }
}

#[tokio::test]
async fn what_holds_the_name_is_purged_and_the_limbo_waited_out_however_an_answer_is_lost() {
    for purge_fails in [None, Some(Moment::Before), Some(Moment::After)] {
        for restore_fails in [None, Some(Moment::Before), Some(Moment::After)] {
            let (house, plan) = held().await;
            house.vault.set_limbo(Duration::from_secs(60));
            let failed = Mutex::new(BTreeMap::new());
            house.vault.interfere(move |_, at, call| {
                let (what, fail) = match call {
                    Call::Purge(_) => ("purge", purge_fails),
                    Call::Restore(_) => ("restore", restore_fails),
                    _ => return Ok(()),
                };
                match Some(at) == fail && failed.lock().unwrap().insert(what, ()).is_none() {
                    true => Err(fails(Condition::Unavailable)),
                    false => Ok(()),
                }
            });
            let before = house.clock.now();
            let applied = house.apply(&plan).await.unwrap();
            let case = format!("{purge_fails:?} {restore_fails:?}: {applied:?}");
            assert_eq!((applied.status.as_str(), applied.steps[0].result), ("done", Became::Done), "{case}");
            assert_eq!(applied.steps[0].detail, "purged, and restored with 1 version", "{case}");
            assert!((60..80).contains(&(house.clock.now() - before).num_seconds()), "{case}");
        }
    }
}

#[tokio::test]
async fn only_what_the_plan_saw_is_purged() {
    let (house, plan) = held().await;
    let swapped = AtomicBool::new(false);
    house.vault.interfere(move |vault, moment, call| {
        // After the slots were looked at, and before the purge.
        if moment == Moment::Before && matches!(call, Call::Purge(_)) {
            panic!("something was purged");
        }
        let looks = matches!(call, Call::Get(vault::Item::Deleted(_))) && moment == Moment::After;
        if looks && !swapped.swap(true, Ordering::SeqCst) {
            Memory::purge(vault, &object("key/k"));
            vault.put(&object("key/k"));
            vault.delete(&object("key/k"));
        }
        Ok(())
    });
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!(applied.steps[0].result, Became::Failed);
    assert!(applied.steps[0].detail.contains("not what it was when the plan was made"), "{applied:?}");
}

#[tokio::test]
async fn opening_a_capture_holds_up_nobody_who_waits_for_the_network() {
    let house = House::new(&[]).await;
    let (answer, answered) = std::sync::mpsc::channel();
    // What blocks until the other has gone on would block both on one thread.
    let opening = super::aside(&house.identities, move |_| Ok(answered.recv().is_ok()));
    let (opened, sent) = tokio::join!(opening, async move { answer.send(()) });
    assert!(opened.unwrap() && sent.is_ok());
}

#[tokio::test]
async fn nothing_is_purged_for_a_capture_that_does_not_open() {
    let (house, plan) = held().await;
    let Origin::Archive { capture, .. } = &plan.steps[0].from else { panic!() };
    assert!(house.store.corrupt(capture.path.as_str(), "junk"));
    house.vault.interfere(|_, _, call| match call {
        Call::Purge(_) | Call::Restore(_) => panic!("nothing may be sent"),
        _ => Ok(()),
    });
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!(applied.steps[0].result, Became::Failed, "{applied:?}");
    assert!(applied.steps[0].detail.contains("SHA-256"), "{applied:?}");
}

#[tokio::test]
async fn a_purged_name_that_never_comes_free_did_not_spend_the_restore() {
    let house = House::new(&["key/k"]).await;
    house.vault.change(&object("key/k"), |version| version.key_type = "RSA-HSM".to_owned());
    house.snapshot().await.unwrap();
    house.wipe(&["key/k"]);
    house.vault.put(&object("key/k"));
    house.vault.delete(&object("key/k"));
    let plan = purging(house.plan(&["key/k"]).await.unwrap());
    house.vault.set_limbo(Duration::from_secs(3600));
    let applied = house.apply(&plan).await.unwrap();
    let detail = &applied.steps[0].detail;
    assert!(detail.starts_with("purged, and couldn't restore key/k") && detail.contains("10 minutes"), "{detail}");
    assert!(!spent(&house, "key/k").await);
    house.clock.advance(Duration::from_secs(3600));
    let again = house.plan(&["key/k"]).await.unwrap();
    assert_eq!(house.apply(&again).await.unwrap().status, "done");
    assert!(spent(&house, "key/k").await);
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
async fn a_recovery_that_is_refused_lost_or_overtaken_is_seen_through() {
    for (at, condition) in [
        (Moment::Before, Condition::Unavailable),
        (Moment::After, Condition::Unavailable),
        // A delete that is still on its way, and one that somebody recovered already.
        (Moment::Before, Condition::InTransition),
        (Moment::After, Condition::InTransition),
        (Moment::After, Condition::Live),
        (Moment::After, Condition::Conflict),
    ] {
        let house = House::new(&["key/k"]).await;
        house.snapshot().await.unwrap();
        house.vault.delete(&object("key/k"));
        house.vault.set_limbo(Duration::from_secs(20));
        let plan = house.plan(&["key/k"]).await.unwrap();
        let failed = AtomicBool::new(false);
        house.vault.interfere(move |_, moment, call| match call {
            Call::Recover(_) if moment == at && !failed.swap(true, Ordering::SeqCst) => Err(fails(condition)),
            _ => Ok(()),
        });
        let applied = house.apply(&plan).await.unwrap();
        assert_eq!(applied.steps[0].result, Became::Done, "{at:?} {condition:?}: {applied:?}");
    }
}

#[tokio::test]
async fn what_is_gone_for_good_cannot_be_recovered_and_that_is_told_within_minutes() {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    house.vault.delete(&object("key/k"));
    let plan = house.plan(&["key/k"]).await.unwrap();
    house.vault.interfere(|vault, moment, call| {
        if moment == Moment::Before && matches!(call, Call::Recover(_)) {
            Memory::purge(vault, &object("key/k"));
        }
        Ok(())
    });
    let before = house.clock.now();
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!(applied.steps[0].result, Became::Failed, "{applied:?}");
    assert!((120..180).contains(&(house.clock.now() - before).num_seconds()));
}

#[tokio::test]
async fn what_never_comes_live_is_given_up_on_after_ten_minutes_and_is_unclear() {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    house.vault.delete(&object("key/k"));
    house.vault.set_limbo(Duration::from_secs(3600));
    let plan = house.plan(&["key/k"]).await.unwrap();
    let before = house.clock.now();
    let applied = house.apply(&plan).await.unwrap();
    assert_eq!((applied.status.as_str(), applied.steps[0].result.name()), ("partial", "unclear"));
    assert!(applied.steps[0].detail.contains("not live 10 minutes after"), "{}", applied.steps[0].detail);
    assert!((house.clock.now() - before).num_seconds() < 660);
}

#[tokio::test]
async fn a_recovered_object_that_is_another_one_is_told_from_the_one_that_was_captured() {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    house.wipe(&["key/k"]);
    house.clock.advance(Duration::from_secs(60));
    house.vault.put(&object("key/k"));
    house.vault.delete(&object("key/k"));
    let mut plan = house.plan(&["key/k"]).await.unwrap();
    plan.steps[0].action = Action::Recover;
    plan.steps[0].refusal = None;
    let applied = house.apply(&plan).await.unwrap();
    let differences = &applied.steps[0].differences;
    assert!(differences.len() == 1 && differences[0].detail.ends_with("did not come back"), "{applied:?}");
    assert_eq!((applied.status.as_str(), applied.steps[0].result.name()), ("partial", "different"));
}

#[tokio::test]
async fn a_request_to_stop_skips_the_rest_and_the_result_is_written() {
    let (house, plan) = wiped().await;
    // The certificate comes first; while it is restored, somebody presses Ctrl-C.
    let stop: &'static crate::progress::Stop = Box::leak(Box::default());
    house.vault.interfere(move |_, moment, call| {
        if moment == Moment::Before && matches!(call, Call::Restore(_)) {
            stop.ask(Halt::Signal);
        }
        Ok(())
    });
    let reader = house.reader().await;
    let hands = super::Hands { stop, ..house.hands(&house.store, &reader) };
    let applied = super::apply(&hands, &plan).await.unwrap();
    assert!(applied.interrupted && applied.status == "partial", "{applied:?}");
    assert_eq!(step(&applied, "certificate/tls").result, Became::Done, "what was begun is ended");
    assert_eq!(step(&applied, "key/k").result, Became::Skipped);
    assert_eq!(log(&house).await[1..], ["intent 2", "result of 2: done skipped"]);
}

#[tokio::test]
async fn a_large_plan_is_recorded_in_batches_and_certificates_come_first() {
    let house = House::new(&["secret/a", "secret/b", "secret/c", "certificate/tls", "key/k"]).await;
    house.snapshot().await.unwrap();
    house.wipe(&["secret/a", "secret/b", "secret/c", "certificate/tls", "key/k"]);
    let mut plan = house.plan(&[]).await.unwrap();
    plan.steps.reverse();
    let order = Arc::new(Mutex::new(Vec::new()));
    let heard = order.clone();
    house.vault.interfere(move |_, moment, call| {
        if let (Moment::Before, Call::Restore(kind)) = (moment, call) {
            heard.lock().unwrap().push(*kind);
        }
        Ok(())
    });
    let reader = house.reader().await;
    let applied = apply_in_batches(&house.hands(&house.store, &reader), &plan, 2).await.unwrap();
    assert_eq!((applied.status.as_str(), applied.intents.as_slice()), ("done", &[2, 4, 6][..]), "{applied:?}");
    assert_eq!(order.lock().unwrap()[0], ObjectKind::Certificate);
    assert_eq!(
        log(&house).await[1..],
        ["intent 2", "result of 2: done done", "intent 2", "result of 4: done done", "intent 1", "result of 6: done"]
    );
    let told: Vec<&str> = applied.steps.iter().map(|step| step.object.as_str()).collect();
    let planned: Vec<String> = plan.steps.iter().map(|step| step.object.to_string()).collect();
    assert_eq!(told, planned, "outcomes are told in the order of the plan");
}

#[tokio::test]
async fn a_batch_that_cannot_be_recorded_is_not_tried_and_what_was_done_is_told() {
    let house = House::new(&["secret/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    house.wipe(&["secret/a", "secret/b"]);
    let plan = house.plan(&[]).await.unwrap();
    let store = Meddled::failing(&house, 3);
    let reader = house.reader().await;
    let applied = apply_in_batches(&house.hands(&store, &reader), &plan, 1).await.unwrap();
    assert_eq!((step(&applied, "secret/a").result, step(&applied, "secret/b").result), (Became::Done, Became::Skipped));
    assert!(step(&applied, "secret/b").detail.starts_with("not tried: couldn't commit"), "{applied:?}");
    assert_eq!(log(&house).await[1..], ["intent 1", "result of 2: done"]);
}

#[tokio::test]
async fn without_a_recorded_intent_nothing_is_changed() {
    let (house, plan) = wiped().await;
    house.vault.interfere(|_, _, call| match call {
        Call::Restore(_) => panic!("nothing may be sent"),
        _ => Ok(()),
    });
    let error = house.apply_through(&Meddled::failing(&house, 1), &plan).await.unwrap_err();
    assert!(error.message().starts_with("couldn't record the intent; nothing was changed"), "{error}");
    assert_eq!(log(&house).await, ["snapshot"]);
}

#[tokio::test]
async fn a_result_that_cannot_be_recorded_is_told_and_resume_closes_it() {
    let (house, plan) = wiped().await;
    let error = house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
    assert!(error.message().starts_with("the vault was changed (2 done), but the result of intent 2"), "{error}");
    assert!(error.hint_text().unwrap().contains("restore resume"), "{error}");
    assert_eq!(log(&house).await, ["snapshot", "intent 2"]);
    let error = house.apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    for told in ["tester at 2027-01-15 ", "(entry 2 in the log of prod.vault.azure.net)", "no result is recorded"] {
        assert!(error.message().contains(told), "{error}");
    }
    let looked = resume_all(&house, Mode::DryRun).await.unwrap();
    assert!(!looked[0].closed && looked[0].steps.iter().all(|step| step.result == Some(Became::Done)), "{looked:?}");
    assert_eq!(log(&house).await.len(), 2, "a dry run records nothing");
    house.vault.interfere(|_, _, call| match call {
        Call::Restore(_) => panic!("it is there already"),
        _ => Ok(()),
    });
    let resumed = resume_all(&house, Mode::Finish).await.unwrap();
    assert!(resumed[0].closed, "{resumed:?}");
    assert_eq!(log(&house).await[1..], ["intent 2", "result of 2: done done"]);
    assert!(resume_all(&house, Mode::Finish).await.unwrap().is_empty());
}

#[tokio::test]
async fn of_two_operators_one_wins_and_the_other_is_told_who_and_when() {
    // The first is about to commit his intent when the second begins and is through with everything.
    let (house, plan) = wiped().await;
    let restores = Arc::new(AtomicU32::new(0));
    let counted = restores.clone();
    house.vault.interfere(move |_, moment, call| {
        if moment == Moment::Before && matches!(call, Call::Restore(_)) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    });
    let (quick, rival) = (&house, &plan);
    let store = Meddled::new(&house, move |attempt| {
        Box::pin(async move {
            if attempt == 1 {
                let reader = quick.reader().await;
                let hands = super::Hands { operator: "winner", ..quick.hands(&quick.store, &reader) };
                assert_eq!(super::apply(&hands, rival).await.unwrap().status, "done");
            }
            None
        })
    });
    let error = house.apply_through(&store, &plan).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    for told in ["nothing was changed", "winner at 2027-01-15 ", "changed it since this plan was begun"] {
        assert!(error.message().contains(told), "{error}");
    }
    assert_eq!(restores.load(Ordering::SeqCst), 2, "each name was asked for once");
    assert_eq!(log(&house).await[1..], ["intent 2", "result of 2: done done"]);
}

#[tokio::test]
async fn an_operator_who_meets_an_open_intent_at_the_last_moment_gives_way() {
    // The winner has committed his intent and is still at work.
    let (house, plan) = wiped().await;
    let (quick, rival) = (&house, &plan);
    let store = Meddled::new(&house, move |attempt| {
        Box::pin(async move {
            if attempt == 1 {
                let failing = Meddled::failing(quick, 2);
                quick.apply_through(&failing, rival).await.unwrap_err();
            }
            None
        })
    });
    let error = house.apply_through(&store, &plan).await.unwrap_err();
    assert!(error.kind() == Kind::Conflict && error.message().contains("no result is recorded"), "{error}");
    assert_eq!(log(&house).await, ["snapshot", "intent 2"]);
}

#[tokio::test]
async fn a_snapshot_in_between_does_not_stop_a_restore() {
    let (house, plan) = wiped().await;
    let quick = &house;
    let store = Meddled::new(&house, move |attempt| {
        Box::pin(async move {
            if attempt == 1 {
                quick.snapshot().await.unwrap();
            }
            None
        })
    });
    assert_eq!(house.apply_through(&store, &plan).await.unwrap().status, "done");
    assert_eq!(log(&house).await, ["snapshot", "snapshot", "intent 2", "result of 3: done done"]);
}

#[tokio::test]
async fn an_hsm_key_goes_into_a_name_once_unless_somebody_says_why() {
    let (house, plan) = hsm().await;
    assert_eq!(house.apply(&plan).await.unwrap().status, "done");
    house.wipe(&["key/k"]);
    let mut again = plan.clone();
    again.plan = uuid::Uuid::from_u128(2);
    let error = house.apply(&again).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.message().contains("tester at") && error.hint_text().unwrap().contains("--override"), "{error}");
    assert_eq!(log(&house).await.len(), 3);
    again.allowed.single_restore_override = Some("the vault was rebuilt".to_owned());
    assert_eq!(house.apply(&again).await.unwrap().status, "done");
    let told = restores(&house.reader().await, &[house.vault.uri().clone()], None).await.unwrap();
    assert_eq!(told.restores[1].single_restore_override.as_deref(), Some("the vault was rebuilt"));
}

#[tokio::test]
async fn an_hsm_key_that_a_rival_restored_at_the_last_moment_from_another_log_is_left_alone() {
    // The rival begins, ends and records it between this operator's last look at his log and this operator's intent.
    for (became, status) in [(Became::Done, "partial"), (Became::Skipped, "done")] {
        let (house, plan) = hsm().await;
        let (quick, step) = (&house, &intent_of(&plan));
        rival(quick, &IntentStep { object: object("key/unconcerned"), ..step.clone() }, Became::Done).await;
        let store = Meddled::new(&house, move |attempt| {
            Box::pin(async move {
                if attempt == 1 {
                    rival(quick, step, became).await;
                }
                None
            })
        });
        let applied = house.apply_through(&store, &plan).await.unwrap();
        assert_eq!(applied.status, status, "{applied:?}");
        let told = applied.steps[0].detail.contains("rival at ");
        assert_eq!(told, became == Became::Done, "{applied:?}");
    }
}

fn intent_of(plan: &Plan) -> IntentStep {
    let object = plan.steps[0].object.clone();
    IntentStep { object, action: Change::Restore, snapshot: Some(1), capture: None, hsm: true }
}

/// Somebody restores into the house's vault from captures of another one: intent and result in the log of that.
async fn rival(house: &House, step: &IntentStep, became: Became) {
    let other = crate::model::VaultUri::parse("https://other.vault.azure.net").unwrap();
    let reader = house.reader().await;
    let appender = Appender::new(&house.store, &reader, &house.signer, &other, &house.ambient);
    let intent = RestoreIntent {
        plan: uuid::Uuid::from_u128(9),
        target: house.vault.uri().clone(),
        steps: vec![step.clone()],
        operator: "rival".to_owned(),
        single_restore_override: None,
    };
    let intent = appender.commit(|_, _| Ok(Event::RestoreIntent(intent.clone()))).await.unwrap();
    let outcome = Outcome { object: step.object.clone(), result: became, detail: String::new() };
    let result = RestoreResult { intent, outcomes: vec![outcome] };
    appender.commit(|_, _| Ok(Event::RestoreResult(result.clone()))).await.unwrap();
}

#[tokio::test]
async fn an_hsm_key_is_not_restored_past_an_entry_that_cannot_be_read() {
    let (house, plan) = hsm().await;
    // A damaged entry, and a whole one after it.
    let other = house.plan(&["key/k"]).await.unwrap();
    house.commit(|_| ()).await;
    house.commit(|_| ()).await;
    let entry = house.files("/log/").await[1].clone();
    assert!(house.store.corrupt(&entry, "junk"));
    let error = house.apply(&plan).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.message().contains("entry 2 in the log of prod.vault.azure.net cannot be read"), "{error}");
    let told = Plan {
        allowed: crate::restore::Allowed { single_restore_override: Some("seen".into()), ..Default::default() },
        ..other
    };
    assert_eq!(house.apply(&told).await.unwrap().status, "done");
}

#[tokio::test]
async fn resume_closes_what_was_not_begun_or_gives_it_up() {
    for (mode, results) in [(Mode::Finish, "done done"), (Mode::Abandon, "skipped skipped")] {
        let (house, plan) = wiped().await;
        // All that the first run did was to commit the intent.
        house.vault.interfere(|_, _, call| match call {
            Call::Restore(_) => Err(fails(Condition::Denied)),
            _ => Ok(()),
        });
        house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
        house.vault.leave_alone();
        let looked = resume_all(&house, Mode::DryRun).await.unwrap();
        assert!(looked[0].steps.iter().all(|step| step.result.is_none() && step.detail == "would be restored"));
        assert!(resume_all(&house, mode).await.unwrap()[0].closed);
        assert_eq!(log(&house).await[1..], ["intent 2".to_owned(), format!("result of 2: {results}")]);
    }
}

#[tokio::test]
async fn resume_judges_what_others_did_to_the_name_since() {
    type Since = fn(&House);
    let other_live: Since = |house| drop(house.vault.put(&object("key/k")));
    let other_deleted: Since = |house| {
        house.vault.put(&object("key/k"));
        house.vault.delete(&object("key/k"));
    };
    for (since, landed, became) in
        [(other_live, false, "unclear"), (other_deleted, false, "unclear"), (|_| (), true, "done")]
            as [(Since, bool, &str); 3]
    {
        let (house, plan) = hsm().await;
        house.vault.interfere(move |_, at, call| match call {
            Call::Restore(_) if !landed && at == Moment::Before => Err(fails(Condition::Denied)),
            _ => Ok(()),
        });
        house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
        house.vault.leave_alone();
        since(&house);
        resume_all(&house, Mode::Finish).await.unwrap();
        assert_eq!(log(&house).await[2], format!("result of 2: {became}"));
        assert!(spent(&house, "key/k").await, "what cannot be ruled out counts");
    }
    // What was restored and deleted again can be recovered; it is not restored a second time.
    let (house, plan) = hsm().await;
    house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
    house.vault.delete(&object("key/k"));
    resume_all(&house, Mode::Finish).await.unwrap();
    assert_eq!(log(&house).await[2], "result of 2: different");
}

#[tokio::test]
async fn resume_purges_only_what_was_deleted_before_the_intent() {
    let (house, plan) = held().await;
    house.vault.interfere(|_, _, call| match call {
        Call::Purge(_) => Err(fails(Condition::Denied)),
        _ => Ok(()),
    });
    house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
    house.vault.leave_alone();
    house.clock.advance(Duration::from_secs(5));
    Memory::purge(&house.vault, &object("key/k"));
    house.vault.put(&object("key/k"));
    house.vault.delete(&object("key/k"));
    let resumed = resume_all(&house, Mode::Finish).await.unwrap();
    assert_eq!(resumed[0].steps[0].result, Some(Became::Failed), "{resumed:?}");
    assert!(resumed[0].steps[0].detail.contains("was deleted after the restore had begun"), "{resumed:?}");
}

#[tokio::test]
async fn resume_purges_nothing_on_the_word_of_a_clock_that_may_be_half_an_hour_wrong() {
    // Deleted so long before the intent is written; by a clock that is half an hour ahead.
    for (before, result) in [(Duration::from_secs(2 * 3600), Became::Done), (Duration::ZERO, Became::Failed)] {
        let (house, _) = held().await;
        house.clock.advance(before);
        let plan = purging(house.plan(&["key/k"]).await.unwrap());
        house.vault.interfere(|_, _, call| match call {
            Call::Purge(_) => Err(fails(Condition::Denied)),
            _ => Ok(()),
        });
        house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
        house.vault.leave_alone();
        if result == Became::Failed {
            house.clock.advance(Duration::from_secs(20 * 60));
            Memory::purge(&house.vault, &object("key/k"));
            house.vault.put(&object("key/k"));
            house.vault.delete(&object("key/k"));
        }
        let reader = house.reader().await;
        let vault = house.vault.uri().clone();
        let mut open = open_intents(&reader, std::slice::from_ref(&vault), None).await.unwrap();
        let (_, record) = &mut open[0];
        record.time += chrono::TimeDelta::minutes(30);
        let resumed = resume(&house.hands(&house.store, &reader), &vault, record, Mode::Finish).await.unwrap();
        assert_eq!(resumed.steps[0].result, Some(result), "{resumed:?}");
        let told = resumed.steps[0].detail.contains("make a new plan");
        assert_eq!(told, result == Became::Failed, "{resumed:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_told_yet_leaves_the_intent_open() {
    let (house, plan) = wiped().await;
    house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
    house.vault.interfere(|_, at, call| match (at, call) {
        (Moment::Before, Call::List(vault::Listing::Versions(of))) if of.name.as_str() == "k" => {
            Err(fails(Condition::Denied))
        }
        _ => Ok(()),
    });
    let resumed = resume_all(&house, Mode::Finish).await.unwrap();
    assert!(!resumed[0].closed, "{resumed:?}");
    assert_eq!(log(&house).await.len(), 2);
    house.vault.leave_alone();
    assert!(resume_all(&house, Mode::Finish).await.unwrap()[0].closed);
}

#[tokio::test]
async fn an_intent_whose_captures_came_from_files_is_judged_by_the_slots_alone() {
    for (there, became) in [(true, "unclear"), (false, "failed")] {
        let (house, plan) = wiped().await;
        house.apply_through(&Meddled::failing(&house, 2), &plan).await.unwrap_err();
        let reader = house.reader().await;
        let vault = house.vault.uri().clone();
        let (_, mut record) = open_intents(&reader, std::slice::from_ref(&vault), None).await.unwrap().remove(0);
        record.intent.steps.iter_mut().for_each(|step| (step.snapshot, step.capture) = (None, None));
        if !there {
            house.wipe(&["key/k", "certificate/tls"]);
        }
        let resumed = resume(&house.hands(&house.store, &reader), &vault, &record, Mode::Finish).await.unwrap();
        assert!(resumed.closed, "{resumed:?}");
        assert_eq!(log(&house).await[2], format!("result of 2: {became} {became}"));
    }
}

#[tokio::test]
async fn the_history_shows_who_did_what_and_what_is_open() {
    let (house, plan) = wiped().await;
    house.apply(&plan).await.unwrap();
    house.wipe(&["key/k"]);
    let again = house.plan(&["key/k"]).await.unwrap();
    house.apply_through(&Meddled::failing(&house, 2), &again).await.unwrap_err();
    let (reader, vault) = (house.reader().await, house.vault.uri().clone());
    let all = restores(&reader, std::slice::from_ref(&vault), None).await.unwrap();
    let told: Vec<(u64, bool, usize)> =
        all.restores.iter().map(|restore| (restore.intent, restore.closed.is_some(), restore.steps.len())).collect();
    assert_eq!(told, [(2, true, 2), (4, false, 1)]);
    assert_eq!(all.restores[0].steps[1].result, Some(Became::Done));
    assert_eq!(all.restores[1].steps[0].result, None);
    let one = restores(&reader, &[vault], Some(&object("certificate/TLS"))).await.unwrap();
    assert_eq!((one.restores.len(), one.restores[0].steps.len()), (1, 1));
}

#[tokio::test]
async fn who_listens_hears_what_is_waited_for() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);
    impl Progress for Heard {
        fn stage(&self, _: &str, _: Option<u64>) {}
        fn expect(&self, _: u64) {}
        fn step(&self) {}
        fn note(&self, text: &str) {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
    let (house, plan) = held().await;
    house.vault.set_limbo(Duration::from_secs(60));
    let heard = Heard::default();
    let reader = house.reader().await;
    let hands = super::Hands { progress: &heard, ..house.hands(&house.store, &reader) };
    super::apply(&hands, &plan).await.unwrap();
    assert!(heard.0.lock().unwrap().iter().any(|text| text == "waiting for key/k to come free"), "{:?}", heard.0);
}
