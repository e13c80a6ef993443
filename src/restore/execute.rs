//! Carrying out: restore, recover, purge and restore, object by object. Each change is one request whose outcome is decided
//! by looking at the slot, for an answer may be lost, and a 409 does not say what it means. Knows no archive: captures come
//! from whoever asks, and what became of each step goes back there.

mod assess;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{FutureExt, StreamExt};

pub use assess::{Assessed, assess};

use super::aftermath::{Aftermath, action_of, aftermath, same};
use super::equivalence::{Difference, compare, grave};
use super::limbo::{Patience, Waited, lost};
use super::live::{Live, read, reapply_rotation_policy};
use super::slot::{Seen, Slot, observe};
use super::source::Source;
use crate::ambient::Ambient;
use crate::error::{Error, Result};
use crate::format::capture::Capture;
use crate::format::entry::{Became, Change};
use crate::model::{Kind, Object, unix_time};
use crate::progress::{Progress, Stop};
use crate::vault::{self, Condition, Item};

/// How often a change is asked for whose answers are lost. Asking again is safe: a name is taken once.
const TRIES: u32 = 4;

/// After so long a request whose answer was lost has had its effect, if it ever will.
const SETTLED: Duration = Duration::from_secs(30);

/// How long a recovered object may show nowhere. Recorded on Azure: up to 61 s (`azure.md` §1.6).
const NOWHERE: Duration = Duration::from_secs(120);

/// How far a clock may be wrong by which a purge is decided: `doctor` fails beyond that.
const CLOCK_ERROR: TimeDelta = TimeDelta::hours(1);

const COME_FREE: &str = "come free";
const COME_LIVE: &str = "come live";
const ANSWER: &str = "be answered for";

/// Where captures come from, each when its turn comes: at no time more of them are open than steps are in flight.
#[async_trait]
pub trait Captures: Send + Sync {
    /// The opened capture of one of the objects that are carried out.
    async fn open(&self, object: &Object) -> Result<Capture>;
}

/// What carrying out works with.
pub struct Hands<'a> {
    /// The target vault.
    pub vault: &'a dyn vault::Write,
    /// The captures.
    pub captures: &'a dyn Captures,
    /// Time.
    pub ambient: &'a Ambient,
    /// Hears how far it is, and what is being waited for.
    pub progress: &'a dyn Progress,
    /// Who may ask to stop.
    pub stop: &'a Stop,
    /// How long one object may be waited for.
    pub wait: Duration,
    /// Objects that are worked on at the same time, at least 1.
    pub in_flight: usize,
}

/// One change to one object.
#[derive(Clone, Debug)]
pub struct Task {
    /// The object.
    pub object: Object,
    /// What to do.
    pub change: Change,
    /// What may be purged for it.
    pub purge: Purge,
}

/// Which soft-deleted object may be purged: nobody wants to lose another one than was looked at.
#[derive(Clone, Debug)]
pub enum Purge {
    /// The one that a plan saw.
    Seen(Seen),
    /// One that had been deleted already when the intent was written, by the clock of whoever wrote it. That clock may be
    /// wrong, and the deletion is dated by the service's: what lies within an hour of it is left alone.
    DeletedBefore(DateTime<Utc>),
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The object.
    pub object: Object,
    /// What became of it.
    pub result: Became,
    /// One sentence.
    pub detail: String,
    /// How what is live differs from the capture.
    pub differences: Vec<Difference>,
}

impl Done {
    /// Without differences.
    pub fn new(object: &Object, result: Became, detail: impl Into<String>) -> Self {
        Done { object: object.clone(), result, detail: detail.into(), differences: Vec::new() }
    }
}

/// Carries out changes: certificates first, for a certificate brings its key and secret. One outcome for each, in order.
/// After a request to stop nothing new is begun.
pub async fn carry_out(hands: &Hands<'_>, tasks: &[Task]) -> Vec<Done> {
    let work = Work::new(hands);
    let mut done: Vec<(usize, Done)> = Vec::with_capacity(tasks.len());
    for first in [true, false] {
        let phase = tasks.iter().enumerate().filter(|(_, task)| (task.object.kind == Kind::Certificate) == first);
        let phase: Vec<_> = phase.map(|(index, task)| work.one(task).map(move |done| (index, done)).boxed()).collect();
        let mut running = futures::stream::iter(phase).buffer_unordered(hands.in_flight.max(1));
        while let Some(outcome) = running.next().await {
            hands.progress.step();
            done.push(outcome);
        }
    }
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, done)| done).collect()
}

struct Work<'a> {
    hands: &'a Hands<'a>,
    patience: Patience<'a>,
}

/// What may be done about a name that is to be purged.
enum Holder {
    Purge,
    Gone,
    Other(&'static str),
}

impl<'a> Work<'a> {
    fn new(hands: &'a Hands<'a>) -> Self {
        Work { hands, patience: Patience::new(hands.ambient, hands.progress, hands.stop, hands.wait) }
    }

    async fn one(&self, task: &Task) -> Done {
        let object = &task.object;
        if self.hands.stop.asked().is_some() {
            return Done::new(object, Became::Skipped, "stopped before it was tried");
        }
        // Before anything is purged: what does not open cannot take its place.
        let capture = match (self.hands.captures.open(object).await, task.change) {
            (Ok(capture), _) => Some(capture),
            // What is recovered needs no capture, except to be compared with.
            (Err(_), Change::Recover) => None,
            (Err(error), _) => return failed(object, &error),
        };
        match (task.change, &capture) {
            (Change::Recover, capture) => self.recover(task, capture.as_ref()).await,
            (Change::Restore, Some(capture)) => self.create(task, capture, "").await,
            (Change::PurgeAndRestore, Some(capture)) => match self.purge(task).await {
                Ok(()) => self.create(task, capture, "purged, and ").await,
                Err(done) => done,
            },
            (_, None) => failed(object, &Error::internal(format!("{object} has no capture"))),
        }
    }

    /// Restores until the name is free for it.
    async fn create(&self, task: &Task, capture: &Capture, before: &str) -> Done {
        let object = &task.object;
        let captured = Source::of(capture).versions;
        let mut limbo = self.patience.with(object);
        let mut unheard = 0;
        loop {
            let error = match self.hands.vault.restore(object.kind, &capture.blob).await {
                Ok(_) => return self.came_back(task, Some(capture), &format!("{before}restored")).await,
                Err(error) => error,
            };
            unheard += u32::from(lost(error.condition));
            let taken =
                matches!(error.condition, Condition::Conflict | Condition::InTransition | Condition::SoftDeleted);
            if !taken && !lost(error.condition) {
                return self.give_up(task, capture, before, Error::from(error), unheard).await;
            }
            // A 409 says only that the name is taken, and a lost answer nothing at all: the slot says more.
            let (waits_for, why) = match self.holder(object).await {
                Ok((_, Slot::Live { versions, .. })) if same(&captured, &versions) => {
                    return self.came_back(task, Some(capture), &format!("{before}restored")).await;
                }
                Ok((held, Slot::Live { .. })) => {
                    let why = format!("a live object, {held}, took the name meanwhile");
                    return self.stood_aside(task, capture, before, &why, unheard).await;
                }
                Ok((held, Slot::Deleted(_))) if task.change == Change::Restore => {
                    let why = format!("a soft-deleted object, {held}, holds the name");
                    return self.stood_aside(task, capture, before, &why, unheard).await;
                }
                Ok((_, Slot::Free)) if !taken => (ANSWER, "its answers are lost"),
                Ok(_) => (COME_FREE, "an earlier delete or purge is still on its way"),
                Err(error) if lost(error.condition) => (ANSWER, "and the name could not be looked at"),
                Err(look) => return self.give_up(task, capture, before, Error::from(look), unheard).await,
            };
            if !taken && unheard >= TRIES {
                return self.give_up(task, capture, before, Error::from(error), unheard).await;
            }
            let ended = match limbo.wait(waits_for).await {
                Waited::Again => continue,
                Waited::Over => format!("the name did not come free in {}", self.patience.bound()),
                Waited::Stopped => "stopped".to_owned(),
            };
            return self.stood_aside(task, capture, before, &format!("{ended}: {why}"), unheard).await;
        }
    }

    /// Ends a restore that something stands in the way of.
    async fn stood_aside(&self, task: &Task, capture: &Capture, before: &str, why: &str, unheard: u32) -> Done {
        let error = Error::new(crate::error::Kind::Conflict, why).hint("make a new plan");
        self.give_up(task, capture, before, error, unheard).await
    }

    /// Ends a restore that Azure did not accept. Where an answer was lost, one of the requests may have landed.
    async fn give_up(&self, task: &Task, capture: &Capture, before: &str, error: Error, unheard: u32) -> Done {
        let object = &task.object;
        let done = failed(object, &error.context(format!("{before}couldn't restore {object}")));
        if unheard == 0 {
            return done;
        }
        let settled = tokio::select! {
            biased;
            _ = self.hands.stop.wait() => false,
            () = self.hands.ambient.sleep(SETTLED) => true,
        };
        let captured = Source::of(capture).versions;
        let told = observe(self.hands.vault, object).await.map(|slot| aftermath(task.change, Some(&captured), &slot));
        match told {
            Ok(Aftermath::Landed) => self.came_back(task, Some(capture), &format!("{before}restored")).await,
            Ok(Aftermath::Other(Became::Unclear, _)) => done,
            Ok(Aftermath::Other(became, what)) => Done { result: became, detail: what.to_owned(), ..done },
            Ok(Aftermath::Open) if settled => done,
            Ok(Aftermath::Open | Aftermath::Moving) | Err(_) => {
                let detail = format!("{}; whether it took effect is not known", done.detail);
                Done { result: Became::Unclear, detail, ..done }
            }
        }
    }

    /// Purges what holds the name, if it is what may be purged.
    async fn purge(&self, task: &Task) -> Result<(), Done> {
        let object = &task.object;
        let fail = |error: Error| failed(object, &error.context(format!("couldn't purge {object}")));
        let other = |why: &str| fail(Error::new(crate::error::Kind::Conflict, why).hint("make a new plan"));
        let mut limbo = self.patience.with(object);
        let mut asked = false;
        loop {
            // Looked at each time anew: what a lost request left behind may be something else by now.
            let looked = self.may_purge(task).await;
            let error = match looked {
                Ok(Holder::Gone) => return Ok(()),
                Ok(Holder::Other(why)) => return Err(other(why)),
                Ok(Holder::Purge) => match self.hands.vault.purge(object).await {
                    Ok(()) => return Ok(()),
                    Err(error) if error.condition == Condition::NotFound => return Ok(()),
                    Err(error) => {
                        asked = true;
                        error
                    }
                },
                Err(error) => error,
            };
            let passing = matches!(error.condition, Condition::InTransition | Condition::Conflict | Condition::Live);
            if !passing && !lost(error.condition) {
                return Err(fail(Error::from(error)));
            }
            match limbo.wait("be purged").await {
                Waited::Again => {}
                Waited::Over => return Err(fail(Error::from(error))),
                Waited::Stopped if asked => return Err(other("stopped, and whether it was purged is not known")),
                Waited::Stopped => return Err(Done::new(object, Became::Skipped, "stopped before it was tried")),
            }
        }
    }

    async fn may_purge(&self, task: &Task) -> Result<Holder, vault::Error> {
        let slot = observe(self.hands.vault, &task.object).await?;
        if matches!(slot, Slot::Free | Slot::InTransition) {
            return Ok(Holder::Gone);
        }
        let Slot::Deleted(_) = &slot else { return Ok(Holder::Other("a live object has the name")) };
        match &task.purge {
            Purge::Seen(seen) if slot.seen() == *seen => Ok(Holder::Purge),
            Purge::Seen(_) => Ok(Holder::Other("what holds the name is not what it was when the plan was made")),
            Purge::DeletedBefore(time) => {
                let answer = self.hands.vault.get(Item::Deleted(task.object.clone())).await?;
                let bundle: serde_json::Value = serde_json::from_str(answer.body.get()).unwrap_or_default();
                match bundle.get("deletedDate").and_then(unix_time) {
                    Some(deleted) if deleted.checked_add_signed(CLOCK_ERROR).is_some_and(|sure| sure <= *time) => {
                        Ok(Holder::Purge)
                    }
                    Some(deleted) if deleted <= *time => {
                        Ok(Holder::Other("what holds the name may have been deleted after the restore had begun"))
                    }
                    _ => Ok(Holder::Other("what holds the name was deleted after the restore had begun")),
                }
            }
        }
    }

    async fn recover(&self, task: &Task, capture: Option<&Capture>) -> Done {
        let object = &task.object;
        let mut limbo = self.patience.with(object);
        let mut nowhere_since = None;
        let mut unheard = 0;
        loop {
            let error = match self.hands.vault.recover(object).await {
                Ok(()) => return self.came_back(task, capture, "recovered").await,
                // Somebody, or a request of ours whose answer was lost, was faster.
                Err(error) if error.condition == Condition::Live => {
                    return self.came_back(task, capture, "recovered").await;
                }
                Err(error) => error,
            };
            unheard += u32::from(lost(error.condition));
            let passing =
                matches!(error.condition, Condition::InTransition | Condition::Conflict | Condition::NotFound);
            let slot = match passing || lost(error.condition) {
                true => observe(self.hands.vault, object).await,
                false => Err(error.clone()),
            };
            let gone = match slot {
                Ok(Slot::Live { .. }) => return self.came_back(task, capture, "recovered").await,
                Ok(Slot::Free) => {
                    let now = self.hands.ambient.monotonic();
                    now.saturating_sub(*nowhere_since.get_or_insert(now)) >= NOWHERE
                }
                Ok(_) => {
                    nowhere_since = None;
                    unheard > TRIES
                }
                Err(look) if lost(look.condition) => unheard > TRIES,
                Err(_) => true,
            };
            let waited = if gone { Waited::Over } else { limbo.wait(COME_LIVE).await };
            if waited == Waited::Again {
                continue;
            }
            let error = Error::from(error).context(format!("couldn't recover {object}")).hint("make a new plan");
            let done = failed(object, &error);
            let certain = unheard == 0 || nowhere_since.is_some() && gone;
            return match certain {
                true => done,
                false => Done { result: Became::Unclear, ..done },
            };
        }
    }

    /// What holds a name: of a certificate's three, the first that is not free. With it goes what it is.
    async fn holder(&self, object: &Object) -> Result<(Object, Slot), vault::Error> {
        let slot = observe(self.hands.vault, object).await?;
        if slot == Slot::Free && object.kind == Kind::Certificate {
            for kind in [Kind::Key, Kind::Secret] {
                let part = Object::new(kind, object.name.clone());
                let slot = observe(self.hands.vault, &part).await?;
                if slot != Slot::Free {
                    return Ok((part, slot));
                }
            }
        }
        Ok((object.clone(), slot))
    }

    /// Ends a change that Azure accepted: waits until the object is live, and compares it.
    async fn came_back(&self, task: &Task, capture: Option<&Capture>, did: &str) -> Done {
        let object = &task.object;
        let mut limbo = self.patience.with(object);
        loop {
            let why = match read(self.hands.vault, object).await {
                Ok(Some(live)) => return self.compared(task, capture, did, &live).await,
                Ok(None) => "it is not live yet".to_owned(),
                Err(error) => {
                    let passing =
                        matches!(error.condition, Condition::Conflict | Condition::InTransition | Condition::NotFound);
                    let why = error.to_string();
                    if !passing && !lost(error.condition) {
                        return Done::new(object, Became::Unclear, format!("{did}, and couldn't be looked at: {why}"));
                    }
                    why
                }
            };
            let ended = match limbo.wait(COME_LIVE).await {
                Waited::Again => continue,
                Waited::Over => format!("it is not live {} after Azure accepted the request", self.patience.bound()),
                Waited::Stopped => format!("stopped before it was compared: {why}"),
            };
            return Done::new(
                object,
                Became::Unclear,
                format!("{did}, but {ended}; a new plan shows the name's state"),
            );
        }
    }

    /// A change that was done, with how its object differs from the capture.
    async fn compared(&self, task: &Task, capture: Option<&Capture>, did: &str, live: &Live) -> Done {
        let found = match capture {
            Some(capture) => {
                let found = compare(capture, live, action_of(task.change));
                match task.change.creates() {
                    true => reapply_rotation_policy(self.hands.vault, capture, found).await,
                    false => found,
                }
            }
            None => vec![Difference::not_compared("its capture does not open")],
        };
        let (result, note) = match (grave(&found), found.is_empty()) {
            (true, _) => (Became::Different, ", and it is not what was captured"),
            (false, false) => (Became::Done, ", with differences"),
            (false, true) => (Became::Done, ""),
        };
        let count = live.versions().len();
        let plural = if count == 1 { "version" } else { "versions" };
        Done { differences: found, ..Done::new(&task.object, result, format!("{did} with {count} {plural}{note}")) }
    }
}

fn failed(object: &Object, error: &Error) -> Done {
    let detail = match error.hint_text() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    };
    Done::new(object, Became::Failed, detail)
}
