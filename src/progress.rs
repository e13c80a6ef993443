//! Where a job says how far it is. The command line shows it as a bar; tests listen or ignore.

use std::sync::atomic::{AtomicBool, Ordering};

/// A listener to a job's progress. Calls are cheap and may come from several tasks at once.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` steps are expected, if that is known.
    fn stage(&self, what: &str, total: Option<u64>);

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
    fn step(&self) {}
    fn note(&self, _: &str) {}
}

/// A request to stop, made by a signal and looked at by jobs between steps.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Nobody has asked yet.
    pub const fn new() -> Self {
        Stop(AtomicBool::new(false))
    }

    /// Asks jobs to finish what they hold and commit it.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
