//! Where a job says how far it is. The command line shows it as a bar; tests listen or ignore.

use std::sync::OnceLock;

use tokio::sync::Notify;

/// A listener to a job's progress. Calls are cheap and may come from several tasks at once.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` steps are expected, if that is known.
    fn stage(&self, what: &str, total: Option<u64>);

    /// So many steps more are expected.
    fn expect(&self, more: u64);

    /// One step is done.
    fn step(&self);

    /// Something a person should know now.
    fn note(&self, text: &str);
}

/// Nobody listens.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: Option<u64>) {}
    fn expect(&self, _: u64) {}
    fn step(&self) {}
    fn note(&self, _: &str) {}
}

/// Why a job should stop early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Somebody sent a signal.
    Signal,
    /// The time that the run was given is over.
    Deadline,
}

/// A request to stop: made by a signal or a deadline, heard by jobs wherever they wait.
#[derive(Debug, Default)]
pub struct Stop {
    halt: OnceLock<Halt>,
    notify: Notify,
}

impl Stop {
    /// Nobody has asked yet.
    pub const fn new() -> Self {
        Stop { halt: OnceLock::new(), notify: Notify::const_new() }
    }

    /// Asks jobs to commit what is done and end. The first reason counts.
    pub fn ask(&self, why: Halt) {
        let _ = self.halt.set(why);
        self.notify.notify_waiters();
    }

    /// Who asked, if somebody did.
    pub fn asked(&self) -> Option<Halt> {
        self.halt.get().copied()
    }

    /// Returns once somebody has asked.
    pub async fn wait(&self) -> Halt {
        loop {
            // Enlisted before looking: a request between the two would be missed otherwise.
            let heard = self.notify.notified();
            match self.asked() {
                Some(why) => return why,
                None => heard.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn whoever_waits_hears_the_first_reason() {
        let stop = Stop::new();
        let mut waiting = Box::pin(stop.wait());
        assert_eq!((stop.asked(), waiting.as_mut().now_or_never()), (None, None));
        stop.ask(Halt::Deadline);
        stop.ask(Halt::Signal);
        assert_eq!(waiting.now_or_never(), Some(Halt::Deadline));
        assert_eq!(stop.wait().now_or_never(), Some(Halt::Deadline));
    }
}
