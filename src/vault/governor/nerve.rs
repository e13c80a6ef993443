//! How much of the share we dare to use, by how the vault took what it was asked. Additive increase, multiplicative
//! decrease, as TCP does it. Knows no limit and asks nobody for the time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Slower than this it never gets, whatever the vault says: at a standstill nothing would be learned.
const SLOWEST: f64 = 1.0 / 64.0;

/// What requests worth one window of the full share give back, if nothing disturbs them: from half to full.
const RECOVERY: f64 = 0.5;

/// What slow answers take away, at most once in [`PATIENCE`]: a slow vault is not yet one that refuses.
const EASE: f64 = 7.0 / 8.0;
const PATIENCE: TimeDelta = TimeDelta::seconds(1);

/// Slow answers alone take no more than this: they may have reasons that are not ours.
const EASED: f64 = 0.25;

/// Answers are slow when they take several times as long as the best, and long enough to matter.
const SLOW: f64 = 4.0;
const UNNOTICED: f64 = 0.2;

/// The level between [`SLOWEST`] and 1.
#[derive(Debug)]
pub(super) struct Nerve {
    level: f64,
    /// The first request to be sent after the last cut. News of those before it is old news.
    since: u64,
    eased: Option<DateTime<Utc>>,
}

impl Default for Nerve {
    fn default() -> Self {
        Nerve { level: 1.0, since: 0, eased: None }
    }
}

impl Nerve {
    /// The part of the share that is used.
    pub(super) fn level(&self) -> f64 {
        self.level
    }

    /// Request `number` was too much; `sent` were sent so far. All that were on their way when the pace was last cut
    /// may come back with the same news, which cuts it once.
    pub(super) fn cut(&mut self, number: u64, sent: u64) {
        if number >= self.since {
            self.level = (self.level / 2.0).max(SLOWEST);
            self.since = sent;
        }
    }

    /// Request `number` was answered well; it took `part` of the share for one window.
    pub(super) fn recover(&mut self, number: u64, part: f64) {
        if number >= self.since {
            self.level = (self.level + RECOVERY * part).min(1.0);
        }
    }

    /// Answers get slow.
    pub(super) fn ease(&mut self, now: DateTime<Utc>) {
        // Before the last time: the clock was set back.
        let recent = self.eased.is_some_and(|then| then <= now && now - then < PATIENCE);
        if !recent && self.level > EASED {
            self.level = (self.level * EASE).max(EASED);
            self.eased = Some(now);
        }
    }
}

/// How long answers to requests of one sort take, in seconds.
#[derive(Debug, Default)]
pub(super) struct Latency {
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    best: f64,
    smooth: f64,
}

impl Latency {
    /// Notes an answer's time. Whether answers are slow now.
    pub(super) fn note(&mut self, took: Duration) -> bool {
        let took = took.as_secs_f64();
        let seen = self.seen.get_or_insert(Seen { best: took, smooth: took });
        seen.best = seen.best.min(took);
        seen.smooth += (took - seen.smooth) / 8.0;
        seen.smooth > (SLOW * seen.best).max(UNNOTICED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn sixteen_refusals_of_one_moment_cut_the_pace_once() {
        let mut nerve = Nerve::default();
        for number in 100..116 {
            nerve.cut(number, 116);
        }
        assert!(near(nerve.level(), 0.5));
        nerve.recover(115, 1.0);
        assert!(near(nerve.level(), 0.5), "a success from before the cut says nothing of the pace after it");
        nerve.cut(116, 120);
        assert!(near(nerve.level(), 0.25));
        for round in 0..40 {
            nerve.cut(200 + round, 200 + round);
        }
        assert!(near(nerve.level(), SLOWEST), "never to a standstill");
    }

    #[test]
    fn what_one_window_of_the_share_does_brings_half_the_pace_back() {
        let mut nerve = Nerve::default();
        nerve.cut(0, 1);
        for number in 0..999 {
            nerve.recover(1 + number, 1.0 / 1_000.0);
        }
        assert!(nerve.level() < 1.0);
        nerve.recover(1_000, 1.0 / 1_000.0);
        nerve.recover(1_001, 1.0 / 1_000.0);
        assert!(near(nerve.level(), 1.0));
    }

    #[test]
    fn slow_answers_slow_us_down_mildly_and_not_for_ever() {
        let now = DateTime::UNIX_EPOCH;
        let mut nerve = Nerve::default();
        nerve.ease(now);
        nerve.ease(now + TimeDelta::milliseconds(900));
        assert!(near(nerve.level(), EASE));
        nerve.ease(now + TimeDelta::seconds(1));
        assert!(near(nerve.level(), EASE * EASE));
        nerve.ease(now - TimeDelta::hours(1));
        assert!(near(nerve.level(), EASE * EASE * EASE), "a clock that was set back is no excuse");
        for second in 0..100 {
            nerve.ease(now + TimeDelta::seconds(second));
        }
        assert!(near(nerve.level(), EASED));
        nerve.cut(1, 2);
        nerve.ease(now + TimeDelta::hours(1));
        assert!(near(nerve.level(), EASED / 2.0), "what is slow for another reason is left as it is");
    }

    #[test]
    fn answers_are_slow_only_beside_the_best_and_beyond_notice() {
        let slow = |best: u64, then: u64| {
            let mut latency = Latency::default();
            latency.note(Duration::from_millis(best));
            (0..50).any(|_| latency.note(Duration::from_millis(then)))
        };
        assert!(!slow(3, 150), "fifty times the best, and nobody would notice");
        assert!(slow(20, 250));
        assert!(!slow(150, 500), "an HSM far away is as it is");
        assert!(slow(150, 700));
        let mut latency = Latency::default();
        latency.note(Duration::from_millis(20));
        assert!(!latency.note(Duration::from_secs(1)), "one that is late is no trend");
    }
}
