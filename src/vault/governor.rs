//! The gate of a vault that serves production, where this program is a guest: it is asked no faster than a stated share
//! of its documented limits, and more slowly when it says, or shows, that this is too much. Knows limits and time, and
//! nothing of how requests are sent.
//!
//! Requests about keys and all others have limits of their own, each with its window. Here they share one: that asks a
//! vault of many keys and many secrets for less than it would give, and never for more.

mod limits;
mod nerve;
mod pace;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;

use super::{Gate, Heard, Load, Outcome, Pass};
use crate::ambient::Ambient;
use limits::{Keys, VAULTS_IN_A_SUBSCRIPTION};
use nerve::{Latency, Nerve};
use pace::{Lane, Line};

/// The pace of all vaults in one subscription, which has a limit of its own: five times that of a vault.
#[derive(Debug)]
pub struct Subscription {
    line: Line,
    share: f64,
}

impl Subscription {
    /// At most `share` of the documented limit, above 0 and at most 1.
    pub fn new(share: f64, ambient: Ambient) -> Arc<Self> {
        let share = within(share);
        Arc::new(Subscription { line: Line::new(share * VAULTS_IN_A_SUBSCRIPTION, ambient), share })
    }

    /// Of each vault at most one request of each lane stands in this line, so vaults take turns, however much each of
    /// them has to ask.
    async fn enter(&self, lane: Lane, cost: f64) {
        let _turn = self.line.turn(lane).await;
        self.line.place(lane, cost).await;
    }
}

fn within(share: f64) -> f64 {
    share.clamp(0.001, 1.0)
}

/// What has been learned of a vault.
#[derive(Debug, Default)]
struct State {
    sent: u64,
    nerve: Nerve,
    /// Lists, transactions, keys: what is quick for one is slow for another.
    latencies: [Latency; 3],
    keys: Keys,
}

/// The gate of one vault.
#[derive(Debug)]
pub struct Governor {
    line: Line,
    subscription: Arc<Subscription>,
    state: Mutex<State>,
    ambient: Ambient,
}

impl Governor {
    /// The gate of a vault in `subscription`, with the same share of its limits as there.
    pub fn new(subscription: Arc<Subscription>, ambient: Ambient) -> Arc<Self> {
        let line = Line::new(subscription.share, ambient.clone());
        Arc::new(Governor { line, subscription, state: Mutex::default(), ambient })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn strained(&self, pass: Pass, retry_after: Option<Duration>) {
        let level = self.with(|state| {
            state.nerve.cut(pass.number, state.sent);
            state.nerve.level()
        });
        tracing::debug!(level, ?retry_after, "the vault is asked more slowly");
        if let Some(time) = retry_after {
            let now = self.ambient.now();
            self.line.with(|pace| pace.pause(time, now));
        }
    }

    fn served(&self, pass: Pass, took: Duration) {
        let part = pass.cost / self.subscription.share;
        let now = self.ambient.now();
        self.with(|state| {
            let State { nerve, latencies: [lists, transactions, keys], .. } = state;
            let latency = match pass {
                Pass { list: true, .. } => lists,
                Pass { key: true, .. } => keys,
                Pass { .. } => transactions,
            };
            match latency.note(took) {
                true => nerve.ease(now),
                false => nerve.recover(pass.number, part),
            }
        });
    }
}

#[async_trait]
impl Gate for Governor {
    async fn enter(&self, load: Load<'_>) -> Pass {
        let lane = if load == Load::List { Lane::Lists } else { Lane::Captures };
        // Kept while we wait for the subscription: who is next here must not overtake us there.
        let _turn = self.line.turn(lane).await;
        let (cost, level) = self.with(|state| (state.keys.cost(load), state.nerve.level()));
        self.line.place(lane, cost / level).await;
        self.subscription.enter(lane, cost).await;
        // A pause may have begun while we waited.
        self.line.rest().await;
        self.with(|state| {
            let number = state.sent;
            state.sent += 1;
            Pass { number, cost, list: lane == Lane::Lists, key: matches!(load, Load::Key(_)) }
        })
    }

    fn heard(&self, pass: Pass, heard: &Heard) {
        let more = f64::from(heard.requests.saturating_sub(1));
        if more > 0.0 {
            let level = self.with(|state| state.nerve.level());
            self.line.with(|pace| pace.charge(pass.cost * more / level));
            self.subscription.line.with(|pace| pace.charge(pass.cost * more));
        }
        match heard.outcome {
            Outcome::Served { took } => self.served(pass, took),
            Outcome::Strained { retry_after } => self.strained(pass, retry_after),
            Outcome::Unknown => {}
        }
    }

    fn learn(&self, keys: &[Box<RawValue>]) {
        self.with(|state| keys.iter().for_each(|key| state.keys.learn(key)));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::ambient::{Clock, SeededRandom};
    use crate::model::Name;

    /// A clock for many that wait at once: it goes on to the next moment that somebody waits for when nobody can do
    /// anything before.
    #[derive(Debug)]
    struct Events {
        now: Mutex<DateTime<Utc>>,
        alarms: Mutex<Vec<DateTime<Utc>>>,
    }

    #[async_trait]
    impl Clock for Events {
        fn now(&self) -> DateTime<Utc> {
            *self.now.lock().unwrap()
        }

        async fn sleep(&self, duration: Duration) {
            let until = self.now() + duration;
            poll_fn(|_| match self.now() >= until {
                true => Poll::Ready(()),
                false => {
                    self.alarms.lock().unwrap().push(until);
                    Poll::Pending
                }
            })
            .await;
        }
    }

    type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

    /// What left: when, for which vault, and what.
    #[derive(Clone, Copy)]
    struct Left {
        at: f64,
        vault: usize,
        pass: Pass,
    }

    struct Stage {
        clock: Arc<Events>,
        vaults: Vec<Arc<Governor>>,
        left: Mutex<Vec<Left>>,
    }

    const LATENCY: Duration = Duration::from_millis(20);

    impl Stage {
        fn new(share: f64, vaults: usize) -> Self {
            let clock = Arc::new(Events { now: Mutex::new(DateTime::UNIX_EPOCH), alarms: Mutex::default() });
            let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(1)));
            let subscription = Subscription::new(share, ambient.clone());
            let vaults = (0..vaults).map(|_| Governor::new(subscription.clone(), ambient.clone())).collect();
            Stage { clock, vaults, left: Mutex::default() }
        }

        fn seconds(&self) -> f64 {
            (self.clock.now() - DateTime::UNIX_EPOCH).as_seconds_f64()
        }

        /// Asks one thing after the other until `end`, and hears `answer` of each.
        fn worker<'a>(
            &'a self,
            vault: usize,
            load: Load<'a>,
            end: f64,
            answer: impl Fn(f64) -> Heard + 'a,
        ) -> Task<'a> {
            Box::pin(async move {
                while self.seconds() < end {
                    let pass = self.vaults[vault].enter(load).await;
                    let at = self.seconds();
                    self.left.lock().unwrap().push(Left { at, vault, pass });
                    self.clock.sleep(LATENCY).await;
                    self.vaults[vault].heard(pass, &answer(at));
                }
            })
        }

        fn run(&self, mut tasks: Vec<Task<'_>>) {
            let mut context = Context::from_waker(Waker::noop());
            let mut before = Vec::new();
            while !tasks.is_empty() {
                self.clock.alarms.lock().unwrap().clear();
                tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
                let mut alarms = self.clock.alarms.lock().unwrap().clone();
                alarms.sort();
                // Whoever handed on a turn may stand behind the one that got it: only a round without news is the last.
                if alarms == before && !tasks.is_empty() {
                    *self.clock.now.lock().unwrap() = alarms[0];
                    before.clear();
                } else {
                    before = alarms;
                }
            }
        }

        /// How many left in a span of seconds.
        fn between(&self, from: f64, to: f64) -> usize {
            self.left.lock().unwrap().iter().filter(|left| (from..to).contains(&left.at)).count()
        }

        /// The fullest window, in limits of one vault.
        fn fullest(&self, which: impl Fn(&Left) -> bool) -> f64 {
            let left: Vec<Left> = self.left.lock().unwrap().iter().filter(|left| which(left)).copied().collect();
            let (mut sum, mut most, mut first) = (0.0, 0.0, 0);
            for request in &left {
                sum += request.pass.cost;
                while request.at - left[first].at >= 10.0 {
                    sum -= left[first].pass.cost;
                    first += 1;
                }
                most = f64::max(most, sum);
            }
            most
        }

        fn level(&self) -> f64 {
            self.vaults[0].with(|state| state.nerve.level())
        }
    }

    fn served(_: f64) -> Heard {
        Heard { requests: 1, outcome: Outcome::Served { took: LATENCY } }
    }

    fn strained(retry_after: Option<Duration>) -> Heard {
        Heard { requests: 1, outcome: Outcome::Strained { retry_after } }
    }

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn no_window_holds_more_than_the_share_whatever_is_asked() {
        let (soft, hard) = (Name::parse("soft").unwrap(), Name::parse("hard").unwrap());
        for share in [0.25, 0.9, 1.0] {
            let stage = Stage::new(share, 1);
            let item =
                r#"{"kid":"https://v.vault.azure.net/keys/hard","attributes":{"key_size":4096,"hsmPlatform":"2"}}"#;
            stage.vaults[0].learn(&[raw(item)]);
            let loads = [Load::Transaction, Load::Key(&soft), Load::Key(&hard), Load::List];
            stage.run((0..24).map(|n| stage.worker(0, loads[n % 4], 15.0, served)).collect());
            let most = stage.fullest(|_| true);
            assert!(most <= share && most > share * 0.95, "{share}: {most}");
        }
    }

    #[test]
    fn lists_go_first_and_captures_go_on() {
        let stage = Stage::new(0.25, 1);
        let captures = (0..100).map(|_| stage.worker(0, Load::Transaction, 12.0, served));
        let lists = (0..6).map(|_| stage.worker(0, Load::List, 12.0, served));
        stage.run(captures.chain(lists).collect());
        let left = stage.left.lock().unwrap().clone();
        let lists: Vec<f64> = left.iter().filter(|left| left.pass.list).map(|left| left.at).collect();
        // 98 a second in all: 100 captures take a second, and the first page is not behind them.
        assert!(lists[0] < 0.05, "{}", lists[0]);
        let within = lists.iter().filter(|at| **at < 10.0).count();
        assert!((450..=500).contains(&within), "{within}");
        let captures = left.iter().filter(|left| !left.pass.list && left.at < 10.0).count();
        assert!((450..=550).contains(&captures), "{captures}");
        assert!(stage.fullest(|_| true) <= 0.25);
    }

    #[test]
    fn lists_that_nobody_waits_behind_may_use_it_all() {
        let stage = Stage::new(0.25, 1);
        stage.run((0..6).map(|_| stage.worker(0, Load::List, 12.0, served)).collect());
        let most = stage.fullest(|_| true);
        assert!(most <= 0.25 && most > 0.24, "{most}");
    }

    #[test]
    fn a_burst_of_429_halves_the_pace_once_and_it_comes_back() {
        let stage = Stage::new(0.9, 1);
        // Everything that is asked within one round-trip is refused.
        let answer = |at: f64| if (5.0..5.02).contains(&at) { strained(None) } else { served(at) };
        stage.run((0..16).map(|_| stage.worker(0, Load::Transaction, 30.0, answer)).collect());
        let full = stage.between(4.0, 5.0);
        let (half, again) = (stage.between(5.1, 6.1), stage.between(25.0, 26.0));
        assert!((340..=360).contains(&full), "{full}");
        assert!((full / 2 - 10..=full / 2 + 20).contains(&half), "{half} of {full}");
        assert!(again.abs_diff(full) < 5, "{again} of {full}");
        // An additive increase by time at full pace: exponential while the pace is low, some 14 seconds in all.
        assert!(stage.between(15.0, 16.0) < full - 10, "not at once");
    }

    #[test]
    fn a_vault_that_refuses_for_long_is_asked_ever_more_slowly_and_never_not_at_all() {
        let stage = Stage::new(0.9, 1);
        stage.run((0..16).map(|_| stage.worker(0, Load::Transaction, 20.0, |_| strained(None))).collect());
        assert!((stage.level() - 1.0 / 64.0).abs() < 1e-9);
        let asked = stage.between(10.0, 20.0);
        assert!((50..=60).contains(&asked), "a 64th of 3,529: {asked}");
    }

    #[test]
    fn everybody_waits_as_long_as_the_vault_asks_one_of_us() {
        let stage = Stage::new(0.9, 1);
        let refused = Mutex::new(false);
        let answer = |at: f64| match at >= 2.0 && !std::mem::replace(&mut *refused.lock().unwrap(), at >= 2.0) {
            true => strained(Some(Duration::from_secs(7))),
            false => served(at),
        };
        stage.run((0..16).map(|_| stage.worker(0, Load::Transaction, 12.0, answer)).collect());
        // The news is a round-trip old; seven seconds from then on are quiet.
        assert_eq!(stage.between(2.03, 9.02), 0);
        assert!(stage.between(1.0, 2.0) > 300);
        let after = stage.between(9.02, 10.02);
        assert!((160..=200).contains(&after), "at half the pace, and without a burst: {after}");
        assert!(stage.fullest(|_| true) <= 0.9);
    }

    #[test]
    fn slow_answers_slow_us_down_until_they_are_quick_again() {
        let stage = Stage::new(0.9, 1);
        let answer = |at: f64| {
            let took = if (5.0..15.0).contains(&at) { Duration::from_millis(400) } else { LATENCY };
            Heard { requests: 1, outcome: Outcome::Served { took } }
        };
        stage.run((0..16).map(|_| stage.worker(0, Load::Transaction, 60.0, answer)).collect());
        let (before, slow, after) = (stage.between(4.0, 5.0), stage.between(14.0, 15.0), stage.between(55.0, 56.0));
        assert!(slow < before / 2 && slow > before / 5, "{slow} of {before}");
        assert!(after.abs_diff(before) < 5, "{after} of {before}");
    }

    #[test]
    fn vaults_of_a_subscription_get_on_whatever_each_has_to_ask() {
        let stage = Stage::new(0.2, 8);
        let workers = |vault: usize| if vault == 0 { 40 } else { 3 + vault };
        let tasks = (0..8).flat_map(|vault| (0..workers(vault)).map(move |_| vault));
        stage.run(tasks.map(|vault| stage.worker(vault, Load::Transaction, 12.0, served)).collect());
        // After the end everybody's last request is still let through.
        let left: Vec<Left> = stage.left.lock().unwrap().iter().filter(|left| left.at < 12.0).copied().collect();
        let of = |vault: usize| left.iter().filter(|left| left.vault == vault).count();
        let fair = left.len() / 8;
        for vault in 0..8 {
            assert!(of(vault).abs_diff(fair) <= fair / 20, "vault {vault}: {} of {fair}", of(vault));
            assert!(stage.fullest(|left| left.vault == vault) <= 0.2);
        }
        let most = stage.fullest(|_| true);
        assert!(most <= 1.0 && most > 0.96, "{most}");
    }

    #[test]
    fn a_vault_alone_is_not_held_up_by_its_subscription() {
        let stage = Stage::new(1.0, 2);
        stage.run((0..16).map(|_| stage.worker(1, Load::Transaction, 11.0, served)).collect());
        assert!(stage.fullest(|_| true) > 0.97);
    }

    #[test]
    fn whoever_gives_up_wastes_one_place_at_most() {
        // A place each 2.55 seconds.
        let stage = Stage::new(0.001, 1);
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting: Vec<Task<'_>> = (0..50).map(|_| stage.worker(0, Load::Transaction, 1.0, served)).collect();
        for task in &mut waiting {
            assert!(task.as_mut().poll(&mut context).is_pending());
        }
        drop(waiting);
        // The first went, the second had the next place, and 48 stood behind it.
        stage.run(vec![stage.worker(0, Load::Transaction, 0.001, served)]);
        let left = stage.left.lock().unwrap().last().unwrap().at;
        assert!((left - 5.1).abs() < 0.01, "{left}");
    }

    #[test]
    fn requests_beyond_the_one_that_was_let_through_are_accounted_for() {
        let stage = Stage::new(0.25, 1);
        let twice = |at| Heard { requests: 2, ..served(at) };
        stage.run((0..16).map(|_| stage.worker(0, Load::Transaction, 20.0, twice)).collect());
        assert!(stage.fullest(|_| true) <= 0.13, "half of the share, for each was two");
    }

    #[test]
    fn what_says_nothing_of_the_vault_changes_nothing() {
        let stage = Stage::new(0.5, 1);
        let unknown = |_| Heard { requests: 0, outcome: Outcome::Unknown };
        stage.run((0..4).map(|_| stage.worker(0, Load::Transaction, 1.0, unknown)).collect());
        assert!((stage.level() - 1.0).abs() < 1e-9);
        assert!(stage.clock.now() < DateTime::UNIX_EPOCH + TimeDelta::seconds(2));
    }
}
