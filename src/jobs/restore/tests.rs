//! Restores against a vault and a store in memory: here a plan that is carried out undisturbed, and what all stories share.

mod answers;
mod claiming;
mod plans;
mod purging;
mod recovering;
mod resuming;

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
