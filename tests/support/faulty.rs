//! A store that fails on demand. Wraps any other, numbers its requests from zero and fails one of them, either before
//! its effect (*lost*) or after it (*landed*); and, if asked, everything from then on, as for a process that was
//! killed. A crash test runs a job once to count its requests, then once for each of them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use akv_archiver::model::StorePath;
use akv_archiver::store::{Append, Condition, Created, Error, Guard, Listed, Protect, Protection, Read, Wish};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It never had an effect.
    Lost,
    /// It had its effect; the answer never came.
    Landed,
}

impl Fault {
    pub(crate) const ALL: [Fault; 2] = [Fault::Lost, Fault::Landed];
}

/// Which request fails, how, and what comes after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The request's number, from zero.
    pub(crate) at: u64,
    pub(crate) fault: Fault,
    /// Whether every later request is lost too.
    pub(crate) fatal: bool,
}

pub(crate) struct Faulty<S> {
    store: S,
    plan: Option<Plan>,
    requests: AtomicU64,
}

impl<S> Faulty<S> {
    /// A store that only counts.
    pub(crate) fn counting(store: S) -> Self {
        Faulty { store, plan: None, requests: AtomicU64::new(0) }
    }

    pub(crate) fn failing(store: S, plan: Plan) -> Self {
        Faulty { store, plan: Some(plan), requests: AtomicU64::new(0) }
    }

    /// Requests made so far, failed ones counted. A list is one request, made when its first item is asked for.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// The store inside, which never fails: for whoever judges afterwards.
    pub(crate) fn inner(&self) -> &S {
        &self.store
    }

    fn next(&self) -> Option<Fault> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let plan = self.plan?;
        match number.cmp(&plan.at) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(plan.fault),
            std::cmp::Ordering::Greater => plan.fatal.then_some(Fault::Lost),
        }
    }

    fn failure(&self, what: impl fmt::Display, fault: Fault) -> Error {
        Error::new(Condition::Unavailable, format!("no answer to {what} (injected: {fault:?})"))
    }
}

#[async_trait]
impl<S: Append> Read for Faulty<S> {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, Error> {
        match self.next() {
            None => self.store.get(path, version, limit).await,
            Some(fault) => Err(self.failure(format_args!("get {path}"), fault)),
        }
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, Error>> {
        stream::once(async move {
            match self.next() {
                None => self.store.list(prefix),
                Some(fault) => stream::iter([Err(self.failure(format_args!("list {prefix}"), fault))]).boxed(),
            }
        })
        .flatten()
        .boxed()
    }

    async fn guard(&self) -> Result<Guard, Error> {
        match self.next() {
            None => self.store.guard().await,
            Some(fault) => Err(self.failure("guard", fault)),
        }
    }
}

#[async_trait]
impl<S: Append> Append for Faulty<S> {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, Error> {
        match self.next() {
            None => self.store.create(path, bytes).await,
            Some(fault) => {
                if fault == Fault::Landed {
                    self.store.create(path, bytes).await?;
                }
                Err(self.failure(format_args!("create {path}"), fault))
            }
        }
    }
}

#[async_trait]
impl<S: Append + Protect> Protect for Faulty<S> {
    async fn admits(&self, wish: Wish) -> Result<(), Error> {
        match self.next() {
            None => self.store.admits(wish).await,
            Some(fault) => Err(self.failure("admits", fault)),
        }
    }

    async fn extend(
        &self,
        path: &StorePath,
        version: Option<&str>,
        until: DateTime<Utc>,
        lock: bool,
    ) -> Result<Protection, Error> {
        match self.next() {
            None => self.store.extend(path, version, until, lock).await,
            Some(fault) => {
                if fault == Fault::Landed {
                    self.store.extend(path, version, until, lock).await?;
                }
                Err(self.failure(format_args!("extend {path}"), fault))
            }
        }
    }

    async fn hold(&self, path: &StorePath, version: Option<&str>, held: bool) -> Result<(), Error> {
        match self.next() {
            None => self.store.hold(path, version, held).await,
            Some(fault) => {
                if fault == Fault::Landed {
                    self.store.hold(path, version, held).await?;
                }
                Err(self.failure(format_args!("hold {path}"), fault))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use akv_archiver::ambient::ManualClock;
    use akv_archiver::store::memory::Memory;
    use chrono::DateTime;

    use super::*;

    #[tokio::test]
    async fn counting_counts_every_kind_of_request_and_fails_none() {
        let store = Faulty::counting(Memory::new(Arc::new(ManualClock::new(DateTime::UNIX_EPOCH))));
        let path = StorePath::parse("a").unwrap();
        store.create(&path, Bytes::from_static(b"x")).await.unwrap();
        store.get(&path, None, 9).await.unwrap();
        store.guard().await.unwrap();
        assert!(store.list("").next().await.unwrap().is_ok());
        assert_eq!(store.requests(), 4);
    }

    #[tokio::test]
    async fn lost_leaves_nothing_landed_leaves_the_file_and_the_dead_stay_dead() {
        for fault in Fault::ALL {
            let memory = Memory::new(Arc::new(ManualClock::new(DateTime::UNIX_EPOCH)));
            let store = Faulty::failing(memory, Plan { at: 1, fault, fatal: true });
            let path = |n: u32| StorePath::parse(&format!("f{n}")).unwrap();
            for n in 0..3 {
                let result = store.create(&path(n), Bytes::from_static(b"x")).await;
                assert_eq!(result.is_ok(), n == 0);
            }
            assert!(store.list("").next().await.unwrap().is_err());
            assert_eq!(store.requests(), 4);
            let there = store.inner().get(&path(1), None, 9).await.is_ok();
            assert_eq!(there, fault == Fault::Landed);
            assert!(store.inner().get(&path(2), None, 9).await.is_err());
        }
    }
}
