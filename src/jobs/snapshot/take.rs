//! Taking one object: fetch, pack, seal, store. What comes of it is a value; the run enters it into its book.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use super::Doors;
use super::book::Summary;
use crate::archive::md5;
use crate::capture::{self, Fetched, Swept, Task};
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::Capture;
use crate::format::manifest::{CaptureRef, Gap};
use crate::format::{self, paths};
use crate::jobs::TOOL;
use crate::jobs::protection::Written;
use crate::model::{Digest, Mode, Object, StorePath, hex};
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

/// Packs and encrypts, on a thread that may block: it takes a processor for a while, and plugins of recipients talk to
/// programs, while other objects' answers wait to be read.
pub(super) async fn close(
    doors: &Doors<'_>,
    pack: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, format::Error> + Send + 'static,
) -> Result<Result<Bytes, format::Error>> {
    let recipients = Arc::clone(doors.recipients);
    let sealing = tokio::task::spawn_blocking(move || match pack() {
        Ok(packed) => recipients.close(&packed).map(|sealed| Ok(Bytes::from(sealed))),
        Err(error) => Ok(Err(error)),
    });
    sealing.await.map_err(|error| Error::internal(format!("the thread that encrypts ended: {error}")))?
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
