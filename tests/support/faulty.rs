//! Doors that fail on demand: a store and a vault, each wrapped around another. Their requests are numbered from zero, in
//! one row if they share a [`Course`], and one of them fails: before its effect (*lost*) or after it (*landed*). What comes
//! after it works, or is lost too, or nothing is ever answered again, so that a test can drop the job there as a kill does.
//! A crash test runs a job once to count its requests, then once for each of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use akv_archiver::model::{HoldTag, Kind, Object, StorePath, VaultUri};
use akv_archiver::store::{Append, Condition, Created, Error, Guard, Listed, Protect, Protection, Reach, Read, Whole};
use akv_archiver::vault::{self, Answer, Backup, Item, Listing, Page, Setting, Traffic};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::Notify;

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

/// What comes after a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Every other request works.
    Well,
    /// Every later request is lost too.
    Dead,
    /// Nobody is told: no answer ever comes, to this request or a later one, and none of them has an effect.
    Silence,
}

impl After {
    pub(crate) const ALL: [After; 3] = [After::Well, After::Dead, After::Silence];
}

/// Which request fails, how, and what comes after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The request's number, from zero.
    pub(crate) at: u64,
    pub(crate) fault: Fault,
    pub(crate) after: After,
}

/// The requests of one process, through whatever doors.
pub(crate) struct Course {
    plan: Option<Plan>,
    requests: AtomicU64,
    writes: Mutex<BTreeSet<u64>>,
    silent: Notify,
}

impl Course {
    /// One that only counts, or fails as planned.
    pub(crate) fn new(plan: Option<Plan>) -> Arc<Course> {
        Arc::new(Course { plan, requests: AtomicU64::new(0), writes: Mutex::default(), silent: Notify::new() })
    }

    /// Requests made so far, failed ones counted. Of a store, a list is one request, made when its first item is asked
    /// for; of a vault, each page is one.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Which of them change something: only these differ by whether they landed.
    pub(crate) fn writes(&self) -> BTreeSet<u64> {
        self.writes.lock().unwrap().clone()
    }

    /// The ways in which the requests that were made can fail. One that changes nothing is the same whether it landed or not;
    /// a job without threads has the same requests in each run.
    pub(crate) fn cuts(&self) -> Vec<Plan> {
        let (requests, writes) = (self.requests(), self.writes());
        let all = (0..requests).flat_map(|at| {
            Fault::ALL.into_iter().flat_map(move |fault| After::ALL.map(|after| Plan { at, fault, after }))
        });
        let cuts: Vec<Plan> = all.filter(|cut| cut.fault == Fault::Lost || writes.contains(&cut.at)).collect();
        assert_eq!(cuts.len(), (requests as usize + writes.len()) * After::ALL.len());
        cuts
    }

    /// Runs a job to its end, or drops it at the request that is never answered.
    pub(crate) async fn run<T>(&self, job: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = job => Some(done),
            () = self.silent.notified() => None,
        }
    }

    fn next(&self) -> Option<Fault> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let plan = self.plan?;
        match number.cmp(&plan.at) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(plan.fault),
            std::cmp::Ordering::Greater => (plan.after != After::Well).then_some(Fault::Lost),
        }
    }

    /// One request that changes something.
    async fn change<T, E>(
        &self,
        request: impl Future<Output = Result<T, E>>,
        failure: impl FnOnce(Fault) -> E,
    ) -> Result<T, E> {
        self.writes.lock().unwrap().insert(self.requests());
        self.pass(request, failure).await
    }

    /// One request.
    async fn pass<T, E>(
        &self,
        request: impl Future<Output = Result<T, E>>,
        failure: impl FnOnce(Fault) -> E,
    ) -> Result<T, E> {
        let Some(fault) = self.next() else { return request.await };
        if fault == Fault::Landed {
            request.await?;
        }
        if self.plan.is_some_and(|plan| plan.after == After::Silence) {
            self.silent.notify_one();
            std::future::pending::<()>().await;
        }
        Err(failure(fault))
    }
}

/// A store on a course.
pub(crate) struct Faulty<'s, S> {
    store: &'s S,
    course: Arc<Course>,
}

impl<'s, S> Faulty<'s, S> {
    pub(crate) fn new(store: &'s S, course: &Arc<Course>) -> Self {
        Faulty { store, course: course.clone() }
    }
}

fn failure(what: impl fmt::Display, fault: Fault) -> Error {
    Error::new(Condition::Unavailable, format!("no answer to {what} (injected: {fault:?})"))
}

#[async_trait]
impl<S: Append> Read for Faulty<'_, S> {
    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, Error> {
        let request = self.store.get(path, version, limit);
        self.course.pass(request, |fault| failure(format_args!("get {path}"), fault)).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, Error>> {
        stream::once(async move {
            let request = async { Ok(self.store.list(prefix)) };
            match self.course.pass(request, |fault| failure(format_args!("list {prefix}"), fault)).await {
                Ok(items) => items,
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        })
        .flatten()
        .boxed()
    }

    async fn guard(&self) -> Result<Guard, Error> {
        self.course.pass(self.store.guard(), |fault| failure("guard", fault)).await
    }
}

#[async_trait]
impl<S: Append> Append for Faulty<'_, S> {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, Error> {
        let request = self.store.create(path, bytes);
        self.course.change(request, |fault| failure(format_args!("create {path}"), fault)).await
    }
}

#[async_trait]
impl<S: Append + Protect> Protect for Faulty<'_, S> {
    async fn reach(&self) -> Result<Reach, Error> {
        self.course.pass(self.store.reach(), |fault| failure("reach", fault)).await
    }

    async fn extend(
        &self,
        path: &StorePath,
        version: Option<&str>,
        until: DateTime<Utc>,
        lock: bool,
    ) -> Result<Protection, Error> {
        let request = self.store.extend(path, version, until, lock);
        self.course.change(request, |fault| failure(format_args!("extend {path}"), fault)).await
    }

    async fn hold(&self, path: &StorePath, version: Option<&str>, held: bool) -> Result<(), Error> {
        let request = self.store.hold(path, version, held);
        self.course.change(request, |fault| failure(format_args!("hold {path}"), fault)).await
    }

    async fn extend_whole(&self, seen: &Whole, days: u32) -> Result<Whole, Error> {
        let request = self.store.extend_whole(seen, days);
        self.course.change(request, |fault| failure(format_args!("extend to {days} days"), fault)).await
    }

    async fn lock_whole(&self, seen: &Whole) -> Result<Whole, Error> {
        self.course.change(self.store.lock_whole(seen), |fault| failure("lock", fault)).await
    }

    async fn hold_whole(&self, tag: &HoldTag, held: bool) -> Result<Whole, Error> {
        let request = self.store.hold_whole(tag, held);
        self.course.change(request, |fault| failure(format_args!("hold {tag}"), fault)).await
    }
}

/// A vault on a course.
pub(crate) struct FaultyVault<'v, V> {
    vault: &'v V,
    course: Arc<Course>,
}

impl<'v, V> FaultyVault<'v, V> {
    pub(crate) fn new(vault: &'v V, course: &Arc<Course>) -> Self {
        FaultyVault { vault, course: course.clone() }
    }
}

fn unheard(what: impl fmt::Display, fault: Fault) -> vault::Error {
    vault::Error::new(vault::Condition::Unavailable, format!("no answer to {what} (injected: {fault:?})"))
}

#[async_trait]
impl<V: vault::Read> vault::Read for FaultyVault<'_, V> {
    fn uri(&self) -> &VaultUri {
        self.vault.uri()
    }

    fn list(&self, what: Listing) -> BoxStream<'_, Result<Page, vault::Error>> {
        let told = format!("list {what:?}");
        let pages =
            self.vault.list(what).then(move |page| {
                let told = told.clone();
                async move {
                    self.course.pass(async { page }, |fault| unheard(format_args!("a page of {told}"), fault)).await
                }
            });
        // Nobody turns a page that never came.
        let mut over = false;
        pages.take_while(move |page| std::future::ready(!std::mem::replace(&mut over, page.is_err()))).boxed()
    }

    async fn get(&self, what: Item) -> Result<Answer, vault::Error> {
        let told = format!("get {what:?}");
        self.course.pass(self.vault.get(what), |fault| unheard(told, fault)).await
    }

    async fn backup(&self, object: &Object) -> Result<Backup, vault::Error> {
        self.course.pass(self.vault.backup(object), |fault| unheard(format_args!("backup {object}"), fault)).await
    }

    fn traffic(&self) -> Traffic {
        self.vault.traffic()
    }
}

#[async_trait]
impl<V: vault::Write> vault::Write for FaultyVault<'_, V> {
    async fn restore(&self, kind: Kind, blob: &[u8]) -> Result<Answer, vault::Error> {
        self.course
            .change(self.vault.restore(kind, blob), |fault| unheard(format_args!("restore a {kind}"), fault))
            .await
    }

    async fn recover(&self, object: &Object) -> Result<(), vault::Error> {
        self.course.change(self.vault.recover(object), |fault| unheard(format_args!("recover {object}"), fault)).await
    }

    async fn purge(&self, object: &Object) -> Result<(), vault::Error> {
        self.course.change(self.vault.purge(object), |fault| unheard(format_args!("purge {object}"), fault)).await
    }

    async fn write(&self, setting: Setting<'_>) -> Result<(), vault::Error> {
        self.course.change(self.vault.write(setting), |fault| unheard("write a setting", fault)).await
    }
}

#[cfg(test)]
mod tests {
    use akv_archiver::ambient::ManualClock;
    use akv_archiver::store::memory::Memory;
    use chrono::DateTime;

    use super::*;

    fn memory() -> Memory {
        Memory::new(Arc::new(ManualClock::new(DateTime::UNIX_EPOCH)))
    }

    #[tokio::test]
    async fn counting_counts_every_kind_of_request_and_fails_none() {
        let (memory, course) = (memory(), Course::new(None));
        let store = Faulty::new(&memory, &course);
        let path = StorePath::parse("a").unwrap();
        store.create(&path, Bytes::from_static(b"x")).await.unwrap();
        store.get(&path, None, 9).await.unwrap();
        store.guard().await.unwrap();
        assert!(store.list("").next().await.unwrap().is_ok());
        assert_eq!(course.requests(), 4);
    }

    #[tokio::test]
    async fn lost_leaves_nothing_landed_leaves_the_file_and_the_dead_stay_dead() {
        for (fault, after) in Fault::ALL.into_iter().flat_map(|fault| After::ALL.map(|after| (fault, after))) {
            let (memory, course) = (memory(), Course::new(Some(Plan { at: 1, fault, after })));
            let store = Faulty::new(&memory, &course);
            let path = |n: u32| StorePath::parse(&format!("f{n}")).unwrap();
            let job = async {
                for n in 0..3 {
                    let result = store.create(&path(n), Bytes::from_static(b"x")).await;
                    assert_eq!(result.is_ok(), n == 0 || (n == 2 && after == After::Well));
                }
                assert_eq!(store.list("").next().await.unwrap().is_err(), after == After::Dead);
            };
            assert_eq!(course.run(job).await.is_none(), after == After::Silence);
            assert_eq!(course.requests(), if after == After::Silence { 2 } else { 4 });
            assert_eq!(memory.get(&path(1), None, 9).await.is_ok(), fault == Fault::Landed);
            assert_eq!(memory.get(&path(2), None, 9).await.is_ok(), after == After::Well);
        }
    }
}
