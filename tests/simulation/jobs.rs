//! What processes do: each is a job of the archiver between doors of its own, and what it says when it ends. Judges
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use akv_archiver::archive::Reader;
use akv_archiver::error::{Error, Result};
use akv_archiver::jobs::snapshot::{Doors, Order, Report, snapshot};
use akv_archiver::jobs::status::{self, Rule};
use akv_archiver::jobs::{live, protect, restore};
use akv_archiver::model::{Atlas, Object};
use akv_archiver::progress::{Silent, Stop};
use akv_archiver::restore::{Applied, Plan};
use akv_archiver::verify::{self, Depth, Live, Seen, Standard, Subset, inspect};
use chrono::TimeDelta;

use super::doors::{FactsDoor, Process};
use super::keep::Wanted;
use super::world::keys;

/// How a process ended.
pub(crate) enum Ended {
    Snapshot(Result<Report>),
    Restore(Result<(Plan, Applied)>),
    Resume(Result<Vec<restore::Resumed>>),
    Verify(Result<verify::Report>),
    Status(Result<status::Report>),
    Protect(Result<(Wanted, protect::Report)>),
}

impl Ended {
    /// What it says to people and machines.
    pub(crate) fn text(&self) -> String {
        fn told<T>(outcome: &Result<T>, text: impl Fn(&T) -> serde_json::Result<String>) -> String {
            match outcome {
                Ok(value) => text(value).unwrap(),
                Err(error) => format!("{error} {error:?} {:?}", error.hint_text()),
            }
        }
        match self {
            Ended::Snapshot(outcome) => told(outcome, serde_json::to_string),
            Ended::Restore(outcome) => told(outcome, serde_json::to_string),
            Ended::Resume(outcome) => told(outcome, serde_json::to_string),
            Ended::Verify(outcome) => told(outcome, serde_json::to_string),
            Ended::Status(outcome) => told(outcome, serde_json::to_string),
            Ended::Protect(outcome) => told(outcome, |(_, report)| serde_json::to_string(report)),
        }
    }

    pub(crate) fn error(&self) -> Option<&Error> {
        match self {
            Ended::Snapshot(outcome) => outcome.as_ref().err(),
            Ended::Restore(outcome) => outcome.as_ref().err(),
            Ended::Resume(outcome) => outcome.as_ref().err(),
            Ended::Verify(outcome) => outcome.as_ref().err(),
            Ended::Status(outcome) => outcome.as_ref().err(),
            Ended::Protect(outcome) => outcome.as_ref().err(),
        }
    }
}

pub(crate) async fn take(process: Process, number: usize, order: Order, facts: bool, stop: Arc<Stop>) -> Ended {
    let (vault, store, world) = (process.vault(number), process.store(), process.world.clone());
    let facts = facts.then(|| FactsDoor(process.clone()));
    let run = async {
        let doors = Doors {
            vault: &vault,
            facts: facts.as_ref().map(|facts| facts as _),
            store: &store,
            reader: &Reader::open(&store, &world.verifiers).await?,
            recipients: &keys().recipients,
            signer: &world.signer,
            ambient: &world.ambient,
            progress: &Silent,
            stop: &stop,
        };
        snapshot(&doors, &order).await
    };
    Ended::Snapshot(run.await)
}

/// Plans, shows the plan to somebody, and carries it out.
pub(crate) async fn bring_back(
    process: Process,
    from: usize,
    to: usize,
    request: restore::Request,
    stop: Arc<Stop>,
) -> Ended {
    let (target, store, world) = (process.vault(to), process.store(), process.world.clone());
    let facts = FactsDoor(process.clone());
    let run = async {
        let reader = Reader::open(&store, &world.verifiers).await?;
        let eyes = restore::Eyes {
            reader: Some(&reader),
            identities: &keys().identities,
            source: world.uris()[from].clone(),
            target: &target,
            facts: Some(&facts),
            others: &world.uris(),
            atlas: Atlas::default(),
            ambient: &world.ambient,
            progress: &Silent,
        };
        let plan = restore::make_plan(&eyes, &request).await?;
        // Plans go through files, and wait.
        let plan = Plan::parse(&serde_json::to_vec(&plan).unwrap())?;
        world.stage.turn("reads the plan").await;
        let hands = hands(&process, &reader, &store, &target, &stop);
        let applied = restore::apply(&hands, &plan).await?;
        Ok((plan, applied))
    };
    Ended::Restore(run.await)
}

fn hands<'a>(
    process: &'a Process,
    reader: &'a Reader<'a>,
    store: &'a dyn akv_archiver::store::Append,
    vault: &'a dyn akv_archiver::vault::Write,
    stop: &'a Stop,
) -> restore::Hands<'a> {
    restore::Hands {
        logbook: Some(restore::Logbook { store, signer: &process.world.signer }),
        reader: Some(reader),
        identities: &keys().identities,
        vault,
        ambient: &process.world.ambient,
        operator: &process.name,
        progress: &Silent,
        stop,
        wait: Duration::from_secs(600),
        in_flight: 1 + process.name.len() % 4,
    }
}

/// Finishes every open intent of all logs, in one way.
pub(crate) async fn finish(mut process: Process, mode: restore::Mode, stop: Arc<Stop>) -> Ended {
    let (store, world) = (process.store(), process.world.clone());
    let run = async {
        let reader = Reader::open(&store, &world.verifiers).await?;
        let mut resumed = Vec::new();
        for (vault, record) in restore::open_intents(&reader, &world.uris(), None).await? {
            process.resumes = Some((record.log.clone(), record.sequence));
            let target = process.vault(world.number(&record.intent.target));
            let hands = hands(&process, &reader, &store, &target, &stop);
            resumed.push(restore::resume(&hands, &vault, &record, mode).await?);
        }
        Ok(resumed)
    };
    Ended::Resume(run.await)
}

/// How deep a verifier looks.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) read: Option<Subset>,
    pub(crate) open: bool,
    pub(crate) live: bool,
    pub(crate) max_age: TimeDelta,
}

pub(crate) async fn check(process: Process, look: Look) -> Ended {
    let (store, world) = (process.store(), process.world.clone());
    let run = async {
        let mut lives = Vec::new();
        for number in (0..world.vaults.len()).filter(|_| look.live) {
            let door = process.vault(number);
            let objects = live::look(&door).await?.into_iter().map(|item| Seen {
                object: item.object,
                fingerprint: item.fingerprint,
                changed: item.attributes.updated.or(item.attributes.created),
                managed: item.managed,
            });
            let (vault, rpo) = (world.uris()[number].clone(), world.order.policy.cadence.rpo);
            lives.push(Live { vault, rpo, objects: objects.collect() });
        }
        let standard = Standard {
            vaults: world.uris(),
            verifiers: world.verifiers.clone(),
            worm: true,
            protection_min: world.order.renewal.protection_min,
            protection_min_of: Default::default(),
            max_age: Some(look.max_age),
            now: world.now(),
        };
        let opener = |sealed: &[u8]| keys().identities.open(sealed);
        let depth = Depth { read: look.read, open: look.open.then_some(&opener as _), live: &lives, since: None };
        inspect(&store, &standard, &depth, &Silent).await
    };
    Ended::Verify(run.await)
}

pub(crate) async fn stand(process: Process, depth: status::Depth, max_age: TimeDelta) -> Ended {
    let (store, world) = (process.store(), process.world.clone());
    let run = async {
        let reader = Reader::open(&store, &world.verifiers).await?;
        let rule = |vault: &akv_archiver::model::VaultUri| {
            let protection_min = world.order.renewal.protection_min;
            let name = vault.name().to_owned();
            Ok(Rule { name, named: true, expected: true, max_age, protection_min, worm: true })
        };
        status::status(&store, &reader, &world.uris(), depth, rule, world.now()).await
    };
    Ended::Status(run.await)
}

/// What somebody wants back.
pub(crate) fn request(
    objects: &[Object],
    point: restore::Point,
    allowed: akv_archiver::restore::Allowed,
) -> restore::Request {
    restore::Request { point, allowed, ..restore::Request::of(objects) }
}
