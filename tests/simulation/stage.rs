//! The stage: one thread on which all processes of a world take turns. Every request at a door and every sleep waits for a
//! turn, and the seed says whose turn is next, so that a world plays the same way each time. Where nobody can go on though
//! somebody is not done, it is a hang, and is told. Knows neither vaults nor archives.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use akv_archiver::ambient::Clock;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;

use super::chance::Chance;

/// What a request does, whoever asked for it.
pub(crate) type Effect = Box<dyn FnOnce() + Send>;

/// The time and whose turn it is.
pub(crate) struct Stage {
    state: Mutex<State>,
}

struct State {
    chance: Chance,
    now: DateTime<Utc>,
    /// Turns given so far.
    step: u64,
    tickets: BTreeMap<u64, Ticket>,
    next: u64,
    /// Effects of requests whose answers were lost before they arrived, and when they arrive.
    late: Vec<(DateTime<Utc>, Effect)>,
    trace: Vec<String>,
    digest: u64,
    /// The process that is being polled.
    playing: String,
}

struct Ticket {
    process: String,
    what: String,
    until: Option<DateTime<Utc>>,
    released: bool,
    waker: Waker,
}

/// What became of giving a turn.
pub(crate) enum Went {
    /// This process may go on.
    On(String),
    /// Time passed, and something arrived late.
    Late(Effect),
    /// Nobody waits for a turn.
    Nowhere,
}

impl Stage {
    pub(crate) fn new(seed: u64, now: DateTime<Utc>) -> Arc<Self> {
        let state = State {
            chance: Chance::new(seed),
            now,
            step: 0,
            tickets: BTreeMap::new(),
            next: 0,
            late: Vec::new(),
            trace: Vec::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            playing: String::new(),
        };
        Arc::new(Stage { state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the seed.
    pub(crate) fn chance<T>(&self, ask: impl FnOnce(&mut Chance) -> T) -> T {
        ask(&mut self.state().chance)
    }

    pub(crate) fn step(&self) -> u64 {
        self.state().step
    }

    /// Writes a line into the trace. Whatever differs between two runs of a seed must stay out of it: digests, sizes.
    pub(crate) fn tell(&self, what: impl fmt::Display) {
        self.state().tell(&what.to_string());
    }

    /// The trace, and a digest of it.
    pub(crate) fn trace(&self) -> (Vec<String>, u64) {
        let state = self.state();
        (state.trace.clone(), state.digest)
    }

    /// Waits for a turn.
    pub(crate) fn turn(self: &Arc<Self>, what: impl Into<String>) -> Turn {
        Turn { stage: self.clone(), what: what.into(), until: None, ticket: None }
    }

    /// Lets something happen later, whatever becomes of the process that asked for it.
    pub(crate) fn later(&self, after: Duration, effect: Effect) {
        let mut state = self.state();
        let due = state.now + after;
        state.late.push((due, effect));
    }

    pub(crate) fn advance(&self, by: TimeDelta) {
        let mut state = self.state();
        state.now += by;
        let now = state.now.format("%F %T");
        state.tell(&format!("it is {now}"));
    }

    /// Gives the next turn.
    pub(crate) fn go_on(&self) -> Went {
        let mut state = self.state();
        state.step += 1;
        let now = state.now;
        if let Some(effect) = state.arrived(now) {
            return Went::Late(effect);
        }
        let waiting = state.tickets.iter().filter(|(_, ticket)| !ticket.released);
        let (mut ready, mut asleep) = (Vec::new(), Vec::new());
        for (number, ticket) in waiting {
            match ticket.until {
                Some(until) if until > now => asleep.push((until, *number)),
                _ => ready.push(*number),
            }
        }
        let oversleep = !asleep.is_empty() && state.chance.one_in(15);
        let number = match state.chance.pick(&ready).copied().filter(|_| !oversleep) {
            Some(number) => {
                let passes = match state.chance.below(400) {
                    0 => state.chance.between(60_000, 7_200_000),
                    1..=80 => state.chance.between(100, 3_000),
                    _ => state.chance.between(1, 20),
                };
                state.now += TimeDelta::milliseconds(passes);
                number
            }
            None => {
                let Some((until, number)) = asleep.into_iter().min() else { return Went::Nowhere };
                if let Some(effect) = state.arrived(until) {
                    return Went::Late(effect);
                }
                state.now = until;
                number
            }
        };
        let Some(ticket) = state.tickets.get_mut(&number) else { return Went::Nowhere };
        ticket.released = true;
        ticket.waker.wake_by_ref();
        let (process, what) = (ticket.process.clone(), ticket.what.clone());
        state.tell(&format!("{process}: {what}"));
        Went::On(process)
    }

    /// Takes what has arrived by now, whenever that is.
    pub(crate) fn overdue(&self) -> Option<Effect> {
        self.state().late.pop().map(|(_, effect)| effect)
    }
}

impl State {
    fn tell(&mut self, what: &str) {
        // FNV-1a: two runs are compared, nobody is kept out.
        for byte in what.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.trace.push(format!("{:5} {} {what}", self.step, self.now.format("%F %T%.3f")));
    }

    fn arrived(&mut self, by: DateTime<Utc>) -> Option<Effect> {
        let place = self.late.iter().enumerate().filter(|(_, (due, _))| *due <= by).min_by_key(|(_, (due, _))| *due);
        let place = place.map(|(place, _)| place)?;
        let (due, effect) = self.late.remove(place);
        self.now = self.now.max(due);
        Some(effect)
    }
}

/// Waiting for a turn, or for a time.
pub(crate) struct Turn {
    stage: Arc<Stage>,
    what: String,
    until: Option<DateTime<Utc>>,
    ticket: Option<u64>,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let stage = self.stage.clone();
        let mut state = stage.state();
        match self.ticket {
            None => {
                let (number, process) = (state.next, state.playing.clone());
                state.next += 1;
                let (what, waker) = (std::mem::take(&mut self.what), context.waker().clone());
                state.tickets.insert(number, Ticket { process, what, until: self.until, released: false, waker });
                self.ticket = Some(number);
                Poll::Pending
            }
            Some(number) => match state.tickets.get_mut(&number) {
                Some(ticket) if !ticket.released => {
                    ticket.waker = context.waker().clone();
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            },
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(number) = self.ticket {
            self.stage.state().tickets.remove(&number);
        }
    }
}

/// The stage's clock: whoever sleeps waits for the seed to let the time pass.
#[derive(Clone)]
pub(crate) struct StageClock(pub(crate) Arc<Stage>);

impl fmt::Debug for StageClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StageClock")
    }
}

#[async_trait::async_trait]
impl Clock for StageClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.state().now
    }

    async fn sleep(&self, duration: Duration) {
        let until = Some(self.now() + duration);
        Turn { stage: self.0.clone(), what: format!("slept {duration:?}"), until, ticket: None }.await;
    }
}

/// Holds the one thread that may block, and lets it work only while nobody plays: so what is done there is done at a
/// moment that does not depend on how fast it is.
struct Gate {
    runtime: tokio::runtime::Handle,
    open: Option<Sender<()>>,
}

impl Gate {
    fn new(runtime: tokio::runtime::Handle) -> Self {
        let mut gate = Gate { runtime, open: None };
        gate.shut();
        gate
    }

    fn shut(&mut self) {
        let ((shut, here), (open, opened)): ((Sender<()>, Receiver<()>), _) = (channel(), channel::<()>());
        self.runtime.spawn_blocking(move || {
            let _ = shut.send(());
            let _ = opened.recv();
        });
        let _ = here.recv();
        self.open = Some(open);
    }

    /// Lets everything be done that was handed to the thread. It works in order, so what stands behind it is enough.
    fn settle(&mut self) {
        self.open = None;
        self.shut();
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Process<T> {
    future: BoxFuture<'static, T>,
    woken: Arc<Flag>,
    /// Whether it seals or opens, and so hands work to a thread.
    seals: bool,
}

/// The processes that are running, by name.
pub(crate) struct Company<T> {
    stage: Arc<Stage>,
    gate: Gate,
    processes: BTreeMap<String, Process<T>>,
}

impl<T> Company<T> {
    pub(crate) fn new(stage: Arc<Stage>, runtime: tokio::runtime::Handle) -> Self {
        Company { stage, gate: Gate::new(runtime), processes: BTreeMap::new() }
    }

    pub(crate) fn start(&mut self, name: &str, seals: bool, future: BoxFuture<'static, T>) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.processes.insert(name.to_owned(), Process { future, woken, seals });
    }

    pub(crate) fn running(&self) -> Vec<String> {
        self.processes.keys().cloned().collect()
    }

    /// Ends a process wherever it is, like SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) -> bool {
        self.processes.remove(name).is_some()
    }

    /// Lets everybody play until all wait. Returns who came to an end; an error is a panic.
    pub(crate) fn settle(&mut self) -> Vec<(String, Result<T, String>)> {
        let mut ended = Vec::new();
        loop {
            let woken = self.processes.iter().filter(|(_, process)| process.woken.0.load(Ordering::SeqCst));
            let mut names: Vec<String> = woken.map(|(name, _)| name.clone()).collect();
            if names.is_empty() {
                return ended;
            }
            self.stage.chance(|chance| chance.shuffle(&mut names));
            let mut seals = false;
            for name in names {
                let Some(process) = self.processes.get_mut(&name) else { continue };
                process.woken.0.store(false, Ordering::SeqCst);
                seals |= process.seals;
                self.stage.state().playing.clone_from(&name);
                let waker = Waker::from(process.woken.clone());
                let future = &mut process.future;
                let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
                let outcome = match polled {
                    Ok(Poll::Pending) => continue,
                    Ok(Poll::Ready(outcome)) => Ok(outcome),
                    Err(panic) => Err(super::words_of(&*panic)),
                };
                self.processes.remove(&name);
                ended.push((name, outcome));
            }
            if seals {
                self.gate.settle();
            }
        }
    }
}
