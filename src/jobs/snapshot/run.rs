//! The run itself: lists are read, objects are taken and outcomes are entered into the book, all side by side; every so
//! often, and at the end, the book is committed.

use std::collections::{BTreeSet, VecDeque};
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use super::book::{Book, Met};
use super::take::{Entry, Settled, take_one};
use super::{Doors, Order, commit};
use crate::capture::{self, EVERYTHING, Found, List, Renewal, Room, Swept, Task};
use crate::error::{Error, Result};
use crate::format::manifest::{Gap, Header};
use crate::format::settings::Settings;
use crate::jobs::protection::Demand;
use crate::model::{Kind, Mode, Object, tags_of};
use crate::policy::Facts;
use crate::progress::Halt;
use crate::store::{Guard, Protection};
use crate::vault;

/// How long objects that are being taken may go on after a request to stop.
const GRACE: Duration = Duration::from_secs(10);

/// After so many objects in a row without an answer the vault itself is silent, and not they; or twice as many as are taken
/// at the same time, if that is more.
const SILENT: usize = 8;

/// And only after this time: an object is given up after minutes, but a name that does not resolve within seconds.
const SILENT_FOR: Duration = Duration::from_secs(300);

/// A run over one vault.
pub(super) struct Run<'a> {
    pub(super) doors: &'a Doors<'a>,
    pub(super) order: &'a Order,
    pub(super) guard: Guard,
    pub(super) started: DateTime<Utc>,
    pub(super) book: Book,
    /// What the header says of the vault itself.
    pub(super) header: Header,
    /// The vault's settings, where the archive does not have them yet.
    pub(super) new_settings: Option<Settings>,
    /// What could not be read of the vault itself.
    pub(super) gaps: Vec<Gap>,
    pub(super) warnings: Vec<String>,
    /// Whose captures were stored since the last commit.
    pub(super) fresh: BTreeSet<Object>,
    /// Captures stored under a policy that is not locked.
    pub(super) unlocked: u64,
    /// When the last commit was, or the start, by the clock that nobody sets.
    pub(super) committed_at: Duration,
    /// The log entries of this run.
    pub(super) sequences: Vec<u64>,
    /// Objects that were captured or compared.
    pub(super) gained: u64,
    /// Who asked the run to stop.
    pub(super) halted: Option<Halt>,
    /// Whether every list was read to its end.
    pub(super) listed: bool,
    /// Objects in a row that the vault gave no answer for, and when the first of them was given up.
    pub(super) unanswered: (usize, Duration),
}

/// An object whose turn has not come.
struct Waiting {
    object: Object,
    swept: Swept,
    task: Task,
}

/// The lists as far as they were read.
#[derive(Default)]
struct Lists {
    failed: Vec<(List, vault::Error)>,
    waiting: VecDeque<Waiting>,
    ahead: usize,
}

impl Lists {
    /// The object whose turn it is. With `elsewhere`, one from the other end of the lists: what ails one object may ail its
    /// neighbours, and whether the vault answers at all is better asked far from there.
    fn next(&mut self, elsewhere: bool) -> Option<Waiting> {
        let next = if elsewhere { self.waiting.pop_back() } else { self.waiting.pop_front() }?;
        self.ahead = self.ahead.saturating_sub(next.swept.raw.get().len());
        Some(next)
    }
}

impl Run<'_> {
    /// Takes everything that is to be taken.
    pub(super) async fn all(&mut self) -> Result<()> {
        self.doors.progress.stage("taking", Some(0));
        let failed = self.take(&EVERYTHING).await?;
        self.judge(failed)?;
        if self.halted.is_none() && !self.book.orphans().is_empty() {
            // Their certificates may have been made while the lists were read: look again before calling them lost.
            self.take(&[List::Live(Kind::Certificate)]).await?;
        }
        if self.halted.is_none() {
            for object in self.book.orphans() {
                let detail =
                    "a certificate that the vault does not list owns it, and its backup cannot be asked for alone";
                self.book.gap(&object, Gap { code: "managed-without-certificate".into(), detail: detail.into() });
            }
        }
        Ok(())
    }

    /// Reads these lists, and takes what they show.
    async fn take(&mut self, lists: &[List]) -> Result<Vec<(List, vault::Error)>> {
        let doors = self.doors;
        let room = Room::default();
        let mut found = capture::sweep(doors.vault, lists.iter().copied(), &room).fuse();
        let mut lists = Lists::default();
        let mut running = FuturesUnordered::new();
        let mut stopped = std::pin::pin!(doors.stop.wait().fuse());
        let mut reading = true;
        loop {
            let silent = self.silent();
            if silent && running.is_empty() && !lists.waiting.is_empty() {
                self.give_up(&mut lists);
            }
            // Nobody waits for what comes next: then the end is near, or the lists are slow, and both need no commit.
            let due = commit::due(self) && !lists.waiting.is_empty();
            room.set(!due && lists.ahead < self.order.ahead.max(1));
            while !due && !silent && running.len() < self.order.in_flight.max(1) {
                let Some(Waiting { object, swept, task }) = lists.next(self.unanswered.0 > 0) else { break };
                running.push(async move {
                    let settled = take_one(doors, &object, &swept, task).await;
                    (object, swept, settled)
                });
            }
            if running.is_empty() && !reading && lists.waiting.is_empty() {
                return Ok(lists.failed);
            }
            let ready = due && running.is_empty();
            futures::select_biased! {
                why = stopped => {
                    self.halted = Some(why);
                    break;
                }
                (object, swept, settled) = running.select_next_some() => self.enter(&object, &swept, settled?)?,
                item = next(&mut found, reading).fuse() => match item {
                    Some(item) => self.meet(item, &mut lists),
                    None => reading = false,
                },
                // While a commit is under way, nothing else is looked at: no request may be. Asked last, for requests
                // end only when the lists are looked at, and an empty page ends one without anything being found.
                () = quiet(&room, ready).fuse() => {
                    commit::commit(self).await?;
                    doors.progress.stage("taking", Some(lists.waiting.len() as u64));
                },
            }
        }
        // Whoever reads no further must not keep others waiting.
        drop(found);
        // What is being taken may come to its end, if it does so soon; the rest is left for the next run.
        let mut grace = std::pin::pin!(doors.ambient.sleep(GRACE).fuse());
        while !running.is_empty() {
            futures::select_biased! {
                (object, swept, settled) = running.select_next_some() => self.enter(&object, &swept, settled?)?,
                () = grace => break,
            }
        }
        Ok(lists.failed)
    }

    /// Whether the vault has stopped answering.
    fn silent(&self) -> bool {
        let (objects, since) = self.unanswered;
        let enough = objects >= SILENT.max(2 * self.order.in_flight);
        enough && self.doors.ambient.monotonic().saturating_sub(since) >= SILENT_FOR
    }

    /// Leaves what waits to the next run: asked for one by one, a vault that does not answer costs minutes for each.
    fn give_up(&mut self, lists: &mut Lists) {
        self.book.give_up();
        lists.waiting.drain(..).for_each(|_| self.doors.progress.step());
        lists.ahead = 0;
    }

    /// Enters what a list shows.
    fn meet(&mut self, found: Found, lists: &mut Lists) {
        let salt = self.doors.ambient.bytes::<16>();
        match found {
            Found::Live(object, swept) if swept.managed && object.kind != Kind::Certificate => {
                self.book.managed(&object, &swept, salt);
            }
            Found::Live(object, swept) => {
                let Some(renewal) = self.wanted(&object, &swept) else {
                    self.book.excluded(&object, &swept, salt);
                    return;
                };
                let known = self.book.known(&object);
                if self.book.listed(&object, &swept, salt) == Met::Already {
                    return;
                }
                let task = capture::decide(&swept, known.as_ref(), &renewal, self.order.effort, self.started);
                if task == Task::Reuse {
                    self.book.reuse(&object, None);
                } else {
                    self.doors.progress.expect(1);
                    lists.ahead += swept.raw.get().len();
                    lists.waiting.push_back(Waiting { object, swept, task });
                }
            }
            Found::Deleted(object, swept) => self.book.deleted(object, &swept, salt),
            Found::Malformed(detail) => {
                self.gaps.push(Gap { code: "malformed-item".into(), detail });
            }
            Found::Ended(List::Live(kind)) => self.book.close(kind),
            Found::Ended(_) => {}
            Found::Failed(list, error) => {
                let gap = list_gap(list, &error);
                if let List::Live(kind) = list {
                    self.book.leave_open(kind, &gap);
                }
                self.gaps.push(gap);
                lists.failed.push((list, error));
            }
        }
    }

    /// What the policy says of an object: when to take it again, or `None` to leave it out.
    fn wanted(&self, object: &Object, swept: &Swept) -> Option<Renewal> {
        let Order { policy, renewal, .. } = self.order;
        if policy.rules.is_empty() {
            return Some(*renewal);
        }
        let tags = tags_of(&serde_json::from_str(swept.raw.get()).unwrap_or_default());
        let vault = Some(self.doors.vault.uri());
        let decision = policy.decide(&Facts { vault, object, enabled: swept.attributes.enabled, tags: Some(&tags) });
        decision.take.then_some(Renewal { recapture_every: decision.recapture_every, ..*renewal })
    }

    /// Notes that the store holds a new capture, protected so.
    pub(super) fn secured(&mut self, object: &Object, protection: Protection) {
        self.unlocked += u64::from(protection.mode == Mode::Unlocked && self.order.worm == Demand::Required);
        self.book.protected(object, protection);
    }

    /// Enters what became of an object.
    fn enter(&mut self, object: &Object, swept: &Swept, settled: Settled) -> Result<()> {
        self.doors.progress.step();
        self.warnings.extend(settled.warning);
        self.gained += u64::from(!matches!(settled.entry, Entry::Gap(_)));
        let silence = [vault::Condition::Unavailable, vault::Condition::Throttled, vault::Condition::Unresolved];
        self.unanswered = match (&settled.entry, self.unanswered) {
            (Entry::Gap(gap), (objects, since)) if silence.iter().any(|condition| condition.name() == gap.code) => {
                (objects + 1, if objects == 0 { self.doors.ambient.monotonic() } else { since })
            }
            _ => (0, Duration::ZERO),
        };
        match settled.entry {
            Entry::Same => self.book.reuse(object, Some(self.started)),
            Entry::Gap(gap) => self.book.gap(object, gap),
            Entry::Taken(taken) => {
                let (capture, summary) = *taken;
                self.book.taken(object, swept, capture, summary)?;
                self.fresh.insert(object.clone());
            }
        }
        Ok(())
    }

    /// Where no live list could be read, there is nothing to take, and the first failure is the answer.
    fn judge(&mut self, mut failed: Vec<(List, vault::Error)>) -> Result<()> {
        self.listed = failed.is_empty() && self.halted.is_none();
        let live = failed.iter().filter(|(list, _)| matches!(list, List::Live(_))).count();
        if live < Kind::ALL.len() {
            return Ok(());
        }
        failed.sort_by_key(|(list, _)| Kind::ALL.iter().position(|kind| *list == List::Live(*kind)).unwrap_or(9));
        let (_, error) = failed.swap_remove(0);
        Err(Error::from(error).context(format!("couldn't list {}", self.doors.vault.uri())))
    }
}

/// The next thing found, if the lists have not ended.
async fn next(found: &mut (impl StreamExt<Item = Found> + Unpin), reading: bool) -> Option<Found> {
    match reading {
        true => found.next().await,
        false => std::future::pending().await,
    }
}

/// Waits until no page is asked for, if anybody is `ready` for it. Whoever looks at the lists looks here afterwards, so
/// nobody needs to be woken.
async fn quiet(room: &Room, ready: bool) {
    futures::future::poll_fn(|_| if ready && room.quiet() { Poll::Ready(()) } else { Poll::Pending }).await;
}

fn list_gap(list: List, error: &vault::Error) -> Gap {
    Gap { code: format!("list-{}", error.condition.name()), detail: format!("{list}: {error}") }
}
