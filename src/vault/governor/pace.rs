//! When the next request may go: places at even distances, and the line in front of them. Knows shares of limits, and
//! nothing of what a request is for or of what came of it.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::MutexGuard;

use super::limits::WINDOW;
use crate::ambient::Ambient;

/// The longest wait at one go. A vault's own wishes end here, and so does the damage of a clock that is set back.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// How far behind its places a line may fall and still catch up: timers are late, and other work gets in between. An
/// idle line gathers no more than this either.
const SLACK: Duration = Duration::from_millis(100);

/// The time over which a window's share is spread: longer than the window by more than what can be caught up, so that no
/// window ever holds more than the share.
const SPREAD: Duration = WINDOW.saturating_add(SLACK).saturating_add(SLACK);

/// Which requests stand behind one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Pages of lists: they go first, but leave every second place to captures that wait.
    Lists,
    /// All others.
    Captures,
}

/// Places at distances that depend on what each takes.
#[derive(Debug)]
pub(super) struct Pace {
    share: f64,
    next: DateTime<Utc>,
    next_list: DateTime<Utc>,
    paused: DateTime<Utc>,
}

impl Pace {
    /// Places that come to `share` limits in any window.
    pub(super) fn new(share: f64, now: DateTime<Utc>) -> Self {
        Pace { share, next: now, next_list: now, paused: now }
    }

    /// Takes the next place, for a request that takes `cost` limits: how long to wait for it. A list that is `contended`
    /// leaves the place after it to a capture.
    pub(super) fn place(&mut self, lane: Lane, contended: bool, cost: f64, now: DateTime<Utc>) -> Duration {
        let farthest = now + LONGEST;
        self.next_list = self.next_list.min(farthest);
        let mut at = self.next.min(farthest).max(now - SLACK);
        if lane == Lane::Lists {
            at = at.max(self.next_list);
            self.next_list = at + self.distance(cost) * if contended { 2 } else { 1 };
        }
        self.next = at + self.distance(cost);
        (at - now).to_std().unwrap_or_default()
    }

    /// Accounts for what was used without a place.
    pub(super) fn charge(&mut self, cost: f64) {
        self.next += self.distance(cost);
    }

    /// Gives no place for `time`.
    pub(super) fn pause(&mut self, time: Duration, now: DateTime<Utc>) {
        self.paused = self.paused.max(now + time.min(LONGEST));
        self.next = self.next.max(self.paused);
    }

    /// How much of a pause is left.
    pub(super) fn rest(&mut self, now: DateTime<Utc>) -> Duration {
        self.paused = self.paused.min(now + LONGEST);
        (self.paused - now).to_std().unwrap_or_default()
    }

    fn distance(&self, cost: f64) -> TimeDelta {
        let distance = SPREAD.as_secs_f64() * cost / self.share;
        TimeDelta::from_std(Duration::try_from_secs_f64(distance).unwrap_or(LONGEST).min(LONGEST)).unwrap_or_default()
    }
}

/// A pace with a line for each lane. Only the first in each holds a place; those behind it hold none, so a change of pace
/// or a pause holds for them at once, and whoever gives up costs the others nothing.
#[derive(Debug)]
pub(super) struct Line {
    pace: Mutex<Pace>,
    lists: tokio::sync::Mutex<()>,
    captures: tokio::sync::Mutex<()>,
    ambient: Ambient,
}

impl Line {
    /// A line before `share` limits in any window.
    pub(super) fn new(share: f64, ambient: Ambient) -> Self {
        let pace = Mutex::new(Pace::new(share, ambient.now()));
        Line { pace, lists: tokio::sync::Mutex::default(), captures: tokio::sync::Mutex::default(), ambient }
    }

    /// Waits until it is our turn: first come, first served.
    pub(super) async fn turn(&self, lane: Lane) -> MutexGuard<'_, ()> {
        match lane {
            Lane::Lists => self.lists.lock().await,
            Lane::Captures => self.captures.lock().await,
        }
    }

    /// Waits for the next place. For whoever has the turn.
    pub(super) async fn place(&self, lane: Lane, cost: f64) {
        let now = self.ambient.now();
        // Whoever is first among the captures holds their turn.
        let contended = lane == Lane::Lists && self.captures.try_lock().is_err();
        self.sleep(self.with(|pace| pace.place(lane, contended, cost, now))).await;
    }

    /// Waits until there is no pause.
    pub(super) async fn rest(&self) {
        loop {
            let now = self.ambient.now();
            let left = self.with(|pace| pace.rest(now));
            if left.is_zero() {
                return;
            }
            self.sleep(left).await;
        }
    }

    /// Works on the pace.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Pace) -> T) -> T {
        work(&mut self.pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    async fn sleep(&self, time: Duration) {
        if !time.is_zero() {
            self.ambient.sleep(time).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: f64 = 1.0 / 4_000.0;
    const HSM_KEY: f64 = 1.0 / 2_000.0;
    const LARGE_KEY: f64 = 1.0 / 250.0;

    fn at(seconds: f64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    /// The fullest window of a sequence of departures, each with its cost, in limits.
    fn fullest(departures: &[(DateTime<Utc>, f64)]) -> f64 {
        let (mut sum, mut most, mut first) = (0.0, 0.0, 0);
        for (time, cost) in departures {
            sum += cost;
            while *time - departures[first].0 >= TimeDelta::seconds(10) {
                sum -= departures[first].1;
                first += 1;
            }
            most = f64::max(most, sum);
        }
        most
    }

    /// What leaves within a minute if each request comes when the one before it left, `late` after its place.
    fn leave(share: f64, costs: &[f64], late: Duration) -> Vec<(DateTime<Utc>, f64)> {
        let mut pace = Pace::new(share, at(0.0));
        let (mut now, mut left) = (at(0.0), Vec::new());
        for cost in costs.iter().cycle() {
            now += pace.place(Lane::Captures, false, *cost, now);
            if now > at(60.0) {
                return left;
            }
            left.push((now, *cost));
            // Every thousandth comes late: a timer, a slow machine.
            if left.len().is_multiple_of(1_000) {
                now += late;
            }
        }
        left
    }

    #[test]
    fn no_window_holds_more_than_the_share_and_little_of_it_is_wasted() {
        for share in [0.25, 0.9, 1.0] {
            for costs in [&[SECRET][..], &[HSM_KEY], &[SECRET, HSM_KEY], &[LARGE_KEY, SECRET, SECRET]] {
                for late in [0, 3, 90, 700] {
                    let left = leave(share, costs, Duration::from_millis(late));
                    let most = fullest(&left);
                    assert!(most <= share + 1e-9, "{share} {costs:?} {late}: {most}");
                    let used: f64 = left.iter().map(|(_, cost)| cost).sum::<f64>() / (6.0 * share);
                    assert!(late == 700 || used > 0.975, "{share} {costs:?} {late}: {used}");
                }
            }
        }
    }

    #[test]
    fn an_idle_line_owes_us_next_to_nothing() {
        let mut pace = Pace::new(0.5, at(0.0));
        let later = at(3_600.0);
        let at_once = (0..1_000).take_while(|_| pace.place(Lane::Captures, false, SECRET, later).is_zero()).count();
        assert_eq!(at_once, 20, "what 100 ms give at 200 a second");
    }

    #[test]
    fn lists_do_not_wait_for_captures_and_leave_them_every_second_place() {
        let mut pace = Pace::new(0.5, at(0.0));
        let mut left = Vec::new();
        // Both lanes always have somebody at their head: two clocks that run side by side.
        let (mut list, mut capture) = (at(0.0), at(0.0));
        while list.max(capture) < at(30.0) {
            if list <= capture {
                list += pace.place(Lane::Lists, true, SECRET, list);
                left.push((list, SECRET, true));
            } else {
                capture += pace.place(Lane::Captures, false, SECRET, capture);
                left.push((capture, SECRET, false));
            }
        }
        left.sort_by_key(|(time, ..)| *time);
        let lists = left.iter().filter(|(.., list)| *list).count();
        assert!((2_900..3_000).contains(&lists), "{lists} of {}", left.len());
        let left: Vec<_> = left.into_iter().map(|(time, cost, _)| (time, cost)).collect();
        assert!(fullest(&left) <= 0.5, "{}", fullest(&left));
        assert!(left.len() > 5_800, "{}", left.len());
    }

    #[test]
    fn a_pause_holds_for_everybody_and_ends() {
        let mut pace = Pace::new(1.0, at(0.0));
        pace.pause(Duration::from_secs(10), at(0.0));
        pace.pause(Duration::from_secs(4), at(1.0));
        assert_eq!(pace.rest(at(1.0)), Duration::from_secs(9));
        assert_eq!(pace.place(Lane::Captures, false, SECRET, at(1.0)), Duration::from_secs(9));
        assert!(pace.place(Lane::Lists, true, SECRET, at(1.0)) > Duration::from_secs(9));
        assert_eq!(pace.rest(at(10.0)), Duration::ZERO);
        pace.pause(Duration::from_secs(86_400), at(10.0));
        assert_eq!(pace.rest(at(10.0)), LONGEST);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_for_long() {
        for lane in [Lane::Lists, Lane::Captures] {
            let mut pace = Pace::new(1.0, at(7_200.0));
            pace.pause(Duration::from_secs(10), at(7_200.0));
            pace.place(lane, true, SECRET, at(7_200.0));
            assert_eq!(pace.place(lane, true, SECRET, at(0.0)), LONGEST);
            assert_eq!(pace.rest(at(0.0)), LONGEST);
            assert_eq!(pace.rest(at(60.0)), Duration::ZERO);
            assert!(pace.place(lane, true, SECRET, at(60.0)) < Duration::from_secs(1));
        }
    }
}
