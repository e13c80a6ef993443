//! Waiting: for a deleted object to be recovered, for a purged name to come free, for what was restored to come live. Azure
//! takes seconds or minutes for each (`azure.md` §1.6). Knows how long, and who should hear of it; not what is waited for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ambient::Ambient;
use crate::model::Object;
use crate::progress::{Progress, Stop};
use crate::vault::Condition;

/// The first wait. Each is twice as long as the one before.
const SHORTEST: Duration = Duration::from_millis(250);

/// The longest wait between two looks.
const LONGEST: Duration = Duration::from_secs(10);

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// It is time to look again.
    Again,
    /// The patience is at its end.
    Over,
    /// Somebody asked to stop.
    Stopped,
}

/// Whether an answer says nothing of what became of the request.
pub(super) fn lost(condition: Condition) -> bool {
    matches!(condition, Condition::Unavailable | Condition::Malformed | Condition::Throttled)
}

/// What all waits of a job share.
pub(super) struct Patience<'a> {
    ambient: &'a Ambient,
    progress: &'a dyn Progress,
    stop: &'a Stop,
    /// How long one object may take for one change.
    bound: Duration,
    /// What is waited for right now.
    waiting: Mutex<BTreeMap<Object, &'static str>>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(ambient: &'a Ambient, progress: &'a dyn Progress, stop: &'a Stop, bound: Duration) -> Self {
        Patience { ambient, progress, stop, bound, waiting: Mutex::default() }
    }

    /// Patience with one object, from now on.
    pub(super) fn with<'p>(&'p self, object: &'p Object) -> Limbo<'p> {
        let until = self.ambient.monotonic().saturating_add(self.bound);
        Limbo { patience: self, object, until, pause: SHORTEST }
    }

    /// How long is waited, for a sentence.
    pub(super) fn bound(&self) -> String {
        match self.bound.as_secs() {
            seconds if seconds % 60 == 0 => format!("{} minutes", seconds / 60),
            seconds => format!("{seconds} seconds"),
        }
    }

    /// Notes or forgets a wait, and tells what is waited for now.
    fn tell(&self, object: &Object, what: Option<&'static str>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Some(what) => drop(waiting.insert(object.clone(), what)),
            None => drop(waiting.remove(object)),
        }
        let text = match (waiting.first_key_value(), waiting.len()) {
            (None, _) => "restoring".to_owned(),
            (Some((object, what)), 1) => format!("waiting for {object} to {what}"),
            (Some((object, what)), n) => format!("waiting for {n} names, such as {object} to {what}"),
        };
        self.progress.note(&text);
    }
}

/// The patience with one object.
pub(super) struct Limbo<'p> {
    patience: &'p Patience<'p>,
    object: &'p Object,
    /// By the clock that nobody sets.
    until: Duration,
    pause: Duration,
}

impl Limbo<'_> {
    /// Waits for the object to do `what`, such as "come free"; a little longer each time.
    pub(super) async fn wait(&mut self, what: &'static str) -> Waited {
        let Patience { ambient, stop, .. } = self.patience;
        let left = self.until.saturating_sub(ambient.monotonic());
        if left.is_zero() {
            return Waited::Over;
        }
        self.patience.tell(self.object, Some(what));
        let waited = tokio::select! {
            biased;
            _ = stop.wait() => Waited::Stopped,
            () = ambient.sleep(self.pause.min(left)) => Waited::Again,
        };
        self.patience.tell(self.object, None);
        self.pause = (self.pause * 2).min(LONGEST);
        waited
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::ambient::{Clock as _, ManualClock, SeededRandom};
    use crate::progress::Halt;
    use std::sync::Arc;

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

    #[tokio::test]
    async fn waits_grow_end_at_the_bound_and_are_told() {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(1)));
        let (heard, stop) = (Heard::default(), Stop::new());
        let patience = Patience::new(&ambient, &heard, &stop, Duration::from_secs(60));
        let key = Object::parse("key/k").unwrap();
        let mut limbo = patience.with(&key);
        let mut waits = 0;
        while limbo.wait("come free").await == Waited::Again {
            waits += 1;
        }
        assert_eq!(clock.now().timestamp(), 60, "not a moment longer");
        assert!((9..=12).contains(&waits), "{waits}");
        assert_eq!(heard.0.lock().unwrap()[..2], ["waiting for key/k to come free", "restoring"]);
        let other = Object::parse("secret/s").unwrap();
        patience.tell(&key, Some("come free"));
        patience.tell(&other, Some("come live"));
        assert_eq!(heard.0.lock().unwrap().last().unwrap(), "waiting for 2 names, such as key/k to come free");
    }

    #[tokio::test]
    async fn whoever_asks_to_stop_waits_no_longer() {
        let ambient = Ambient::new(Arc::new(ManualClock::new(DateTime::UNIX_EPOCH)), Arc::new(SeededRandom::new(1)));
        let stop = Stop::new();
        let patience = Patience::new(&ambient, &crate::progress::Silent, &stop, Duration::from_secs(60));
        stop.ask(Halt::Signal);
        let key = Object::parse("key/k").unwrap();
        assert_eq!(patience.with(&key).wait("come free").await, Waited::Stopped);
        assert_eq!(ambient.now(), DateTime::UNIX_EPOCH);
    }
}
