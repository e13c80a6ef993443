//! A vault that is asked no faster than a stated share of its documented limit allows. The vault serves production; the
//! job is a guest. Knows limits and time, and nothing of how requests are sent.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::{Answer, Backup, Error, Item, Listing, Page, Read, Traffic};
use crate::ambient::Ambient;
use crate::model::{Kind, Object, VaultUri};

/// The window that Key Vault counts requests in (Microsoft's service limits; `azure.md` §1.9).
const WINDOW: Duration = Duration::from_secs(10);

/// Requests that a vault documents for one window, by what is asked. Key Vault adds up shares, not requests: a window is
/// full when the sum of requests over their limits reaches one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Secrets, certificates, and lists of any kind: 4,000.
    Transaction,
    /// An operation on a key. RSA 2048 and elliptic curves in an HSM may be asked 2,000 times, software keys twice as
    /// often, larger RSA keys less. A list does not tell which a key is, so the HSM's limit holds for all; 429 tells
    /// where it is lower still.
    Key,
}

impl Class {
    fn limit(self) -> f64 {
        match self {
            Class::Transaction => 4_000.0,
            Class::Key => 2_000.0,
        }
    }

    fn of(kind: Kind) -> Class {
        match kind {
            Kind::Key => Class::Key,
            Kind::Certificate | Kind::Secret => Class::Transaction,
        }
    }
}

/// Slower than this the pace never gets, however often the vault says 429.
const SLOWEST: f64 = 1.0 / 64.0;

/// What one unhindered request gives back of a pace that was cut: a full recovery takes some hundred.
const RECOVERY: f64 = 0.005;

/// When the next request may go, and how fast we dare to be.
#[derive(Debug)]
struct Pace {
    share: f64,
    /// 1 is the full share; halved by each 429, regained step by step.
    nerve: f64,
    next: DateTime<Utc>,
    throttled: u64,
}

impl Pace {
    /// Takes the next place in the queue: how long to wait for it.
    fn place(&mut self, class: Class, now: DateTime<Utc>) -> Duration {
        // A clock that was set back must not make us wait for the time to come round again.
        let at = self.next.max(now).min(now + TimeDelta::seconds(60));
        let cost = WINDOW.as_secs_f64() / (class.limit() * self.share * self.nerve);
        self.next = at + TimeDelta::from_std(Duration::from_secs_f64(cost)).unwrap_or_default();
        (at - now).to_std().unwrap_or_default()
    }

    /// Hears how many requests were answered 429 so far.
    fn hear(&mut self, throttled: u64) {
        match throttled > self.throttled {
            true => self.nerve = (self.nerve / 2.0).max(SLOWEST),
            false => self.nerve = (self.nerve + RECOVERY).min(1.0),
        }
        self.throttled = self.throttled.max(throttled);
    }
}

/// A vault behind a governor.
pub struct Governed<V> {
    inner: V,
    pace: Mutex<Pace>,
    ambient: Ambient,
}

impl<V: Read> Governed<V> {
    /// Governs `inner`: at most `share` of the documented limit, above 0 and at most 1; infinity lifts every limit.
    pub fn new(inner: V, share: f64, ambient: Ambient) -> Self {
        let share = if share == f64::INFINITY { share } else { share.clamp(0.001, 1.0) };
        let pace = Pace { share, nerve: 1.0, next: ambient.now(), throttled: 0 };
        Governed { inner, pace: Mutex::new(pace), ambient }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Pace) -> T) -> T {
        act(&mut self.pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    async fn wait(&self, class: Class) {
        let pause = self.with(|pace| pace.place(class, self.ambient.now()));
        if !pause.is_zero() {
            self.ambient.sleep(pause).await;
        }
    }

    fn hear(&self) {
        let throttled = self.inner.traffic().throttled;
        self.with(|pace| pace.hear(throttled));
    }
}

#[async_trait]
impl<V: Read> Read for Governed<V> {
    fn uri(&self) -> &VaultUri {
        self.inner.uri()
    }

    fn list(&self, what: Listing) -> BoxStream<'_, Result<Page, Error>> {
        let pages = self.inner.list(what);
        Box::pin(futures::stream::unfold(pages, |mut pages| async {
            self.wait(Class::Transaction).await;
            let page = pages.next().await?;
            self.hear();
            Some((page, pages))
        }))
    }

    async fn get(&self, what: Item) -> Result<Answer, Error> {
        let class = match &what {
            Item::Key(..) | Item::RotationPolicy(_) => Class::Key,
            Item::Certificate(..) => Class::Transaction,
            Item::Deleted(object) => Class::of(object.kind),
        };
        self.wait(class).await;
        let answer = self.inner.get(what).await;
        self.hear();
        answer
    }

    async fn backup(&self, object: &Object) -> Result<Backup, Error> {
        self.wait(Class::of(object.kind)).await;
        let backup = self.inner.backup(object).await;
        self.hear();
        backup
    }

    fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(share: f64) -> Pace {
        Pace { share, nerve: 1.0, next: DateTime::UNIX_EPOCH, throttled: 0 }
    }

    /// How many requests of these classes in turn start within one window, if each waits for its place.
    fn in_a_window(pace: &mut Pace, classes: &[Class]) -> usize {
        let start = pace.next;
        let end = start + TimeDelta::from_std(WINDOW).unwrap();
        let places =
            classes.iter().cycle().map(|class| start + TimeDelta::from_std(pace.place(*class, start)).unwrap());
        places.take_while(|at| *at < end).count()
    }

    #[test]
    fn a_window_holds_the_share_of_the_limit_and_no_more() {
        assert_eq!(in_a_window(&mut pace(0.25), &[Class::Transaction]), 1_000);
        assert_eq!(in_a_window(&mut pace(0.25), &[Class::Key]), 500);
        // A request of each kind costs 1/4000 + 1/2000 of a window.
        let mixed = in_a_window(&mut pace(1.0), &[Class::Transaction, Class::Key]);
        assert!((2_666..=2_668).contains(&mixed), "{mixed}");
    }

    #[test]
    fn an_idle_vault_owes_us_nothing() {
        let mut pace = pace(0.5);
        let later = DateTime::UNIX_EPOCH + TimeDelta::hours(1);
        assert_eq!(pace.place(Class::Transaction, later), Duration::ZERO);
        assert_eq!(pace.place(Class::Transaction, later), Duration::from_millis(5), "no burst for the hour of rest");
    }

    #[test]
    fn a_429_halves_the_pace_and_success_brings_it_back_slowly() {
        let mut pace = pace(1.0);
        pace.hear(1);
        assert_eq!(in_a_window(&mut pace, &[Class::Transaction]), 2_000);
        for _ in 0..99 {
            pace.hear(1);
        }
        assert!(pace.nerve < 1.0);
        pace.hear(1);
        assert!((pace.nerve - 1.0).abs() < 1e-9);
        for n in 2..40 {
            pace.hear(n);
        }
        assert!((pace.nerve - SLOWEST).abs() < 1e-9, "never to a standstill");
    }
}
