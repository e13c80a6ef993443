//! The gate that every request to a vault passes on its way out, retries included: where a pace is kept. Knows neither
//! HTTP nor any limit; a door without a gate is not held up.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;

use crate::model::{Kind, Name, Object};

/// Lets requests through, one try at a time.
#[async_trait]
pub trait Gate: fmt::Debug + Send + Sync {
    /// Returns when a request may be sent. Whoever gives up waiting wastes at most one place.
    async fn enter(&self, load: Load<'_>) -> Pass;

    /// Hears what came of the request that `pass` let through. Nothing is owed for one that was given up.
    fn heard(&self, pass: Pass, heard: &Heard);

    /// Looks at items of a list of keys, or at bundles of keys, for what requests on these keys cost.
    fn learn(&self, keys: &[Box<RawValue>]);
}

/// What is asked of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load<'a> {
    /// A page of the list of all live or all deleted objects of a kind. Everything else waits for what lists name, so
    /// they go first.
    List,
    /// Anything about a secret, a certificate or the vault itself.
    Transaction,
    /// Anything about this key.
    Key(&'a Name),
}

impl<'a> Load<'a> {
    /// Something about `object`.
    pub fn of(object: &'a Object) -> Self {
        match object.kind {
            Kind::Key => Load::Key(&object.name),
            Kind::Certificate | Kind::Secret => Load::Transaction,
        }
    }
}

/// What a gate gave for a request, and wants back with the news of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pass {
    /// How many were let through before it.
    pub(super) number: u64,
    /// The part of the vault's whole limit, for one window, that it takes.
    pub(super) cost: f64,
    /// Whether it is for a page of a list.
    pub(super) list: bool,
    /// Whether it is for a key.
    pub(super) key: bool,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Requests that it took; the answer to a challenge is one more.
    pub requests: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a try ended, as far as a pace is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The vault answered, with what it was asked for or with a refusal that has nothing to do with load.
    Served {
        /// How long the last request took.
        took: Duration,
    },
    /// The vault is asked too much, or is not well: 429, 408, 5xx, or no answer at all.
    Strained {
        /// How long it asks to be left alone (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// The try says nothing of the vault: there was no token, or no such host.
    Unknown,
}
