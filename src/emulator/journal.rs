//! The request log: what was asked of the emulated services, and how it was answered. Single requests are forgotten in
//! time, sums are not. Bounded; pure.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Requests that are remembered; older ones are forgotten.
const CAPACITY: usize = 200_000;

/// A request in the log.
#[derive(Clone, Debug, Serialize)]
pub struct Logged {
    /// Its number, from 1.
    pub n: u64,
    /// When it came, by the emulator's clock.
    pub time: DateTime<Utc>,
    /// Host.
    pub host: String,
    /// Method.
    pub method: String,
    /// Path as sent.
    pub path: String,
    /// Query as sent, without the question mark.
    pub query: String,
    /// Bytes of its body.
    pub length: usize,
    /// The status of the answer; absent while there is none, and for good if there never was one.
    pub status: Option<u16>,
    /// The fault that struck it.
    pub fault: Option<u64>,
    /// Who asked; absent without a valid token.
    pub caller: Option<String>,
    /// Its `user-agent`.
    pub user_agent: Option<String>,
}

/// Answered requests to one host that counted as one class and had one status, added up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// What they counted as; absent where no limit is emulated.
    pub class: Option<&'static str>,
    /// The status of the answers.
    pub status: u16,
    /// How many.
    pub requests: u64,
    /// Bytes of the requests' bodies.
    pub received: u64,
    /// Bytes of the answers' bodies.
    pub sent: u64,
}

/// The log.
#[derive(Debug, Default)]
pub struct Journal {
    last: u64,
    entries: VecDeque<Logged>,
    tallies: BTreeMap<String, Vec<Tally>>,
}

impl Journal {
    /// Adds a request, as yet unanswered; returns its number.
    pub fn begin(&mut self, entry: Logged) -> u64 {
        self.last += 1;
        if self.entries.len() == CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back(Logged { n: self.last, ..entry });
        self.last
    }

    /// Notes the fault that struck request `n`.
    pub fn fault(&mut self, n: u64, id: u64) {
        if let Some(entry) = self.entry(n) {
            entry.fault = Some(id);
        }
    }

    /// Notes the answer to request `n`.
    pub fn answered(&mut self, n: u64, status: u16) {
        if let Some(entry) = self.entry(n) {
            entry.status = Some(status);
        }
    }

    /// Adds an answered request to the sums of its host.
    pub fn add(&mut self, host: &str, one: Tally) {
        if !self.tallies.contains_key(host) {
            self.tallies.insert(host.to_owned(), Vec::new());
        }
        let Some(tallies) = self.tallies.get_mut(host) else { return };
        match tallies.iter_mut().find(|tally| (tally.class, tally.status) == (one.class, one.status)) {
            None => tallies.push(one),
            Some(tally) => {
                tally.requests += one.requests;
                tally.received += one.received;
                tally.sent += one.sent;
            }
        }
    }

    /// The sums by host, since the start.
    pub fn tallies(&self) -> BTreeMap<String, Vec<Tally>> {
        self.tallies.clone()
    }

    fn entry(&mut self, n: u64) -> Option<&mut Logged> {
        let first = self.entries.front()?.n;
        self.entries.get_mut(usize::try_from(n.checked_sub(first)?).ok()?)
    }

    /// The requests after number `n`.
    pub fn since(&self, n: u64) -> Vec<Logged> {
        self.entries.iter().filter(|entry| entry.n > n).cloned().collect()
    }
}
