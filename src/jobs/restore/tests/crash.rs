//! The crash matrix: a restore dies at each request to the vault and to the store, lost or landed. What is left is resumed,
//! and then every object is live and the same, every intent has one result, and the ledger is right.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::{log, purging, resume_all, spent};
use crate::error::Result;
use crate::jobs::fixture::{House, object};
use crate::jobs::restore::Mode;
use crate::model::StorePath;
use crate::restore::{Action, Plan};
use crate::store::{self, Append, Created, Guard, Listed, Read};
use crate::vault::memory::{Call, Moment};
use crate::vault::{self};

/// The requests of a process, and the one at which it dies.
struct Life {
    requests: AtomicU64,
    /// Which of them change something: only these differ by whether they landed.
    writes: Mutex<BTreeSet<u64>>,
    dies_at: u64,
    landed: bool,
}

#[derive(PartialEq)]
enum Fate {
    Lives,
    /// The request has its effect, and nobody hears of it.
    Lands,
    Dead,
}

impl Life {
    fn new(dies_at: u64, landed: bool) -> Arc<Life> {
        Arc::new(Life { requests: AtomicU64::new(0), writes: Mutex::default(), dies_at, landed })
    }

    fn next(&self, writes: bool) -> Fate {
        if writes {
            self.writes.lock().unwrap().insert(self.requests.load(Ordering::SeqCst));
        }
        match self.requests.fetch_add(1, Ordering::SeqCst) {
            number if number < self.dies_at => Fate::Lives,
            number if number == self.dies_at && self.landed => Fate::Lands,
            _ => Fate::Dead,
        }
    }

    fn over(&self) -> bool {
        self.requests.load(Ordering::SeqCst) > self.dies_at
    }
}

/// A store as a process sees it that dies.
struct Mortal<'a> {
    store: &'a store::memory::Memory,
    life: Arc<Life>,
}

fn dead() -> store::Error {
    store::Error::new(store::Condition::Unavailable, "dead")
}

#[async_trait]
impl Read for Mortal<'_> {
    fn describe(&self) -> String {
        self.store.describe()
    }
    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
        match self.life.next(false) {
            Fate::Lives => self.store.get(path, version, limit).await,
            _ => Err(dead()),
        }
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, store::Error>> {
        match self.life.next(false) {
            Fate::Lives => self.store.list(prefix),
            _ => stream::iter([Err(dead())]).boxed(),
        }
    }
    async fn guard(&self) -> Result<Guard, store::Error> {
        self.store.guard().await
    }
}

#[async_trait]
impl Append for Mortal<'_> {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, store::Error> {
        let fate = self.life.next(true);
        if fate != Fate::Dead {
            let created = self.store.create(path, bytes).await;
            if fate == Fate::Lives {
                return created;
            }
        }
        Err(dead())
    }
}

const ALL: [&str; 5] = ["certificate/tls", "key/gone", "key/held", "key/soft", "secret/s"];

/// A vault after an accident: one of each, an HSM key among them, and a name that another object holds.
async fn accident() -> (House, Plan) {
    let house = House::new(&ALL).await;
    house.vault.change(&object("key/gone"), |version| version.key_type = "RSA-HSM".to_owned());
    house.snapshot().await.unwrap();
    house.wipe(&["certificate/tls", "key/gone", "key/held", "secret/s"]);
    house.vault.delete(&object("key/soft"));
    house.vault.put(&object("key/held"));
    house.vault.delete(&object("key/held"));
    // Long before anybody restores: what is deleted just before, `resume` does not purge.
    house.clock.advance(Duration::from_secs(2 * 3600));
    house.vault.set_limbo(Duration::from_secs(30));
    let mut plan = house.plan(&[]).await.unwrap();
    let soft = plan.steps.iter().position(|step| step.object == object("key/soft")).unwrap();
    let kept = plan.steps.remove(soft);
    let mut plan = purging(plan);
    plan.steps.push(kept);
    assert_eq!(plan.changes().count(), ALL.len(), "{plan:#?}");
    (house, plan)
}

/// Carries the plan out in a process that dies at a request. Returns how many it made, and which of them were writes.
async fn live_and_die(house: &House, plan: &Plan, dies_at: u64, landed: bool) -> (u64, BTreeSet<u64>) {
    let life = Life::new(dies_at, landed);
    let hook = life.clone();
    house.vault.interfere(move |_, moment, call| {
        let writes = matches!(call, Call::Restore(_) | Call::Recover(_) | Call::Purge(_));
        let dies = match moment {
            Moment::Before => hook.next(writes) == Fate::Dead,
            Moment::After => hook.over(),
        };
        match dies {
            true => Err(vault::Error::new(vault::Condition::Unavailable, "dead")),
            false => Ok(()),
        }
    });
    let store = Mortal { store: &house.store, life: life.clone() };
    let _ = house.apply_through(&store, plan).await;
    house.vault.leave_alone();
    (life.requests.load(Ordering::SeqCst), life.writes.lock().unwrap().clone())
}

#[tokio::test]
async fn a_restore_that_dies_at_any_request_is_resumed_to_its_end() {
    let (house, plan) = accident().await;
    let (requests, writes) = live_and_die(&house, &plan, u64::MAX, false).await;
    assert_eq!(log(&house).await[2], "result of 2: done done done done done");
    let mut resumed_from = 0;
    assert!(writes.len() >= 8, "an intent, a result, a recovery, a purge and four restores at least");
    for dies_at in 0..requests {
        for landed in [false, true].into_iter().filter(|landed| !landed || writes.contains(&dies_at)) {
            let case = format!("request {dies_at}, landed: {landed}");
            let (house, plan) = accident().await;
            live_and_die(&house, &plan, dies_at, landed).await;
            let begun = log(&house).await.len() > 1;
            house.clock.advance(Duration::from_secs(60));
            let resumed = resume_all(&house, Mode::Finish).await.unwrap();
            assert!(resumed.iter().all(|one| one.closed), "{case}: {resumed:?}");
            resumed_from += u64::from(!resumed.is_empty());
            if !begun {
                assert_eq!(house.apply(&plan).await.unwrap().status, "done", "{case}");
            }
            assert_eq!(log(&house).await, ["snapshot", "intent 5", "result of 2: done done done done done"], "{case}");
            let last = house.plan(&[]).await.unwrap();
            assert!(last.steps.iter().all(|step| step.action == Action::Nothing), "{case}: {last:#?}");
            assert!(spent(&house, "key/gone").await && !spent(&house, "key/held").await, "{case}");
            assert_eq!(house.verify().await.findings, [], "{case}");
        }
    }
    assert!(resumed_from >= 20, "only {resumed_from} of {requests} points left something to resume");
}
