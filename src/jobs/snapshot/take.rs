//! Taking one object: fetch, pack, seal, store. What comes of it is a value; the run enters it into its book.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use super::Doors;
use super::book::Summary;
use crate::ambient::within;
use crate::archive::md5;
use crate::capture::{self, Fetched, Swept, Task};
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::Capture;
use crate::format::manifest::{CaptureRef, Gap};
use crate::format::{self, paths};
use crate::jobs::TOOL;
use crate::jobs::protection::Written;
use crate::model::{Digest, Mode, Object, StorePath, hex};
use crate::seal::Recipients;
use crate::store::Condition;

/// What became of an object.
pub(super) struct Settled {
    pub(super) entry: Entry,
    pub(super) warning: Option<String>,
}

/// What is to be entered into the book.
pub(super) enum Entry {
    /// A new capture.
    Taken(Box<(CaptureRef, Summary, Written)>),
    /// Its versions are those of the earlier capture.
    Same,
    /// Nothing, and why.
    Gap(Gap),
}

impl Settled {
    fn of(entry: Entry) -> Self {
        Settled { entry, warning: None }
    }
}

/// Carries out one task. An error is one that ends the run: the store fails, or this program is wrong.
pub(super) async fn take_one(doors: &Doors<'_>, object: &Object, swept: &Swept, task: Task) -> Result<Settled> {
    match task {
        Task::Reuse => Ok(Settled::of(Entry::Same)),
        Task::Take => take(doors, object, swept).await,
        Task::Compare(expected) => match capture::versions_fingerprint(doors.vault, object).await {
            Ok(digest) if Some(digest) == expected => Ok(Settled::of(Entry::Same)),
            Ok(_) => take(doors, object, swept).await,
            Err(gap) => Ok(Settled::of(Entry::Gap(gap))),
        },
    }
}

async fn take(doors: &Doors<'_>, object: &Object, swept: &Swept) -> Result<Settled> {
    let fetched = match capture::fetch(doors.vault, object, &swept.raw, TOOL, doors.ambient).await {
        Ok(fetched) => fetched,
        Err(gap) => return Ok(Settled::of(Entry::Gap(gap))),
    };
    let Fetched { capture, current, versions_fingerprint, key_type, thumbprint, many_versions } = fetched;
    let began = capture.metadata.captured_at;
    let kid = capture.metadata.backup.header.as_ref().map(|header| header.kid.clone());
    let versions = capture.metadata.versions.len() as u64;
    let sealed = match seal(doors, capture).await.context(format!("couldn't encrypt {object}"))? {
        Ok(sealed) => sealed,
        // More than a capture may hold, or a date that no tar has: this object's trouble, not that of the others.
        Err(error) => {
            let gap = Gap { code: "unpackable".into(), detail: format!("{object} cannot be packed: {error}") };
            return Ok(Settled::of(Entry::Gap(gap)));
        }
    };
    let (path, captured_at, version) = store_capture(doors, object, began, &swept.fingerprint, &sealed).await?;
    let written =
        Written { path: path.clone(), version: version.clone(), size: sealed.len() as u64, md5: md5(&sealed) };
    let reference = CaptureRef {
        path,
        version,
        sha256: Digest::of(&sealed),
        md5: hex(&written.md5),
        size: written.size,
        captured_at,
        mode: Mode::None,
        protected_until: None,
        kid,
        reused: false,
    };
    let warning = many_versions.then(|| {
        format!("{object} has {versions} versions; Azure may refuse to back up more than 500, and versions cannot be deleted: plan its successor")
    });
    let summary = Summary { current, versions, versions_fingerprint, key_type, thumbprint };
    Ok(Settled { entry: Entry::Taken(Box::new((reference, summary, written))), warning })
}

/// Packs and encrypts. The inner failure is the object's, the outer one everybody's.
async fn seal(doors: &Doors<'_>, capture: Capture) -> Result<Result<Bytes, format::Error>> {
    close(doors, move || format::capture::pack(&capture)).await
}

/// How long a plugin of a recipient may take to encrypt for it. Nobody is there to touch a token or to type a PIN.
const SEALING: Duration = Duration::from_secs(300);

/// Packs and encrypts, on a thread that may block: it takes a processor for a while, and plugins of recipients talk to
/// programs, while other objects' answers wait to be read.
pub(super) async fn close(
    doors: &Doors<'_>,
    pack: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, format::Error> + Send + 'static,
) -> Result<Result<Bytes, format::Error>> {
    close_within(SEALING, doors.recipients, pack).await
}

async fn close_within(
    limit: Duration,
    recipients: &Arc<Recipients>,
    pack: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, format::Error> + Send + 'static,
) -> Result<Result<Bytes, format::Error>> {
    let recipients = Arc::clone(recipients);
    let sealing = tokio::task::spawn_blocking(move || match pack() {
        Ok(packed) => recipients.close(&packed).map(|sealed| Ok(Bytes::from(sealed))),
        Err(error) => Ok(Err(error)),
    });
    match within(limit, sealing).await {
        Some(sealed) => sealed.map_err(|error| Error::internal(format!("the thread that encrypts ended: {error}")))?,
        // The thread is lost: what waits in a plugin cannot be called back. So the run ends, before it loses them all.
        None => Err(Error::new(Kind::Unavailable, format!("encrypting took longer than {} seconds", limit.as_secs()))
            .hint("does a plugin of `recipients` wait for somebody?")),
    }
}

async fn store_capture(
    doors: &Doors<'_>,
    object: &Object,
    captured_at: DateTime<Utc>,
    fingerprint: &Digest,
    sealed: &Bytes,
) -> Result<(StorePath, DateTime<Utc>, Option<String>)> {
    let path = |at| paths::capture(doors.vault.uri(), object, at, fingerprint);
    store_sealed(doors, &format!("the capture of {object}"), captured_at, path, sealed).await
}

/// Stores something sealed. A taken path means that another run took the same thing in the same second; the next
/// second's name will do, and is then the time that the manifest gives, since the two must agree.
pub(super) async fn store_sealed(
    doors: &Doors<'_>,
    what: &str,
    captured_at: DateTime<Utc>,
    path: impl Fn(DateTime<Utc>) -> Result<StorePath, format::Error>,
    sealed: &Bytes,
) -> Result<(StorePath, DateTime<Utc>, Option<String>)> {
    const NAMES: i64 = 10;
    for later in 0..NAMES {
        let at = captured_at + chrono::TimeDelta::seconds(later);
        let path = path(at)?;
        match doors.store.create(&path, sealed.clone()).await {
            Ok(created) => return Ok((path, at, created.version)),
            Err(error) if error.condition == Condition::Exists => {}
            Err(error) => return Err(Error::from(error).context(format!("couldn't store {what}"))),
        }
    }
    Err(Error::new(Kind::Conflict, format!("couldn't store {what}: {NAMES} names in a row are taken")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::fixture::House;

    #[tokio::test]
    async fn a_recipient_that_never_answers_ends_the_run_and_does_not_hold_it() {
        let house = House::new(&[]).await;
        let (answer, answered) = std::sync::mpsc::channel();
        let hangs = move || {
            let _ = answered.recv();
            Ok(Zeroizing::new(Vec::new()))
        };
        let error = close_within(Duration::ZERO, &house.recipients, hangs).await.unwrap_err();
        assert!(error.kind() == Kind::Unavailable && error.hint_text().is_some_and(|hint| hint.contains("plugin")));
        answer.send(()).unwrap();
        let sealed = close_within(SEALING, &house.recipients, || Ok(Zeroizing::new(b"x".to_vec()))).await.unwrap();
        assert!(sealed.unwrap().len() > 100);
    }
}
