//! Taking one object: fetch, pack, seal, store. What comes of it is a value; the run enters it into its book.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use zeroize::Zeroizing;

use super::Doors;
use super::book::Summary;
use crate::ambient::within;
use crate::archive::md5;
use crate::capture::{self, Fetched, Swept, Task};
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::Capture;
use crate::format::manifest::{CaptureRef, Gap};
use crate::format::settings::Settings;
use crate::format::{self, paths};
use crate::jobs::TOOL;
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
    Taken(Box<(CaptureRef, Summary)>),
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
    let kid = capture.metadata.backup.header.as_ref().map(|header| header.kid.clone());
    let versions = capture.metadata.versions.len() as u64;
    let path = |at| paths::capture(doors.vault.uri(), object, at, &swept.fingerprint);
    let Sealed { path, captured_at, version, bytes } =
        match seal_and_store(doors, &object.to_string(), capture, path).await? {
            Ok(sealed) => sealed,
            // More than a capture may hold, or a date that no tar has: this object's trouble, not that of the others.
            Err(error) => {
                let gap = Gap { code: "unpackable".into(), detail: format!("{object} cannot be packed: {error}") };
                return Ok(Settled::of(Entry::Gap(gap)));
            }
        };
    let reference = CaptureRef {
        path,
        version,
        sha256: Digest::of(&bytes),
        md5: hex(&md5(&bytes)),
        size: bytes.len() as u64,
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
    Ok(Settled { entry: Entry::Taken(Box::new((reference, summary))), warning })
}

/// What is sealed as a whole, and says of itself when it was taken.
pub(super) trait Dated: Send + 'static {
    fn captured_at(&mut self) -> &mut DateTime<Utc>;
    fn pack(&self) -> Result<Zeroizing<Vec<u8>>, format::Error>;
}

impl Dated for Capture {
    fn captured_at(&mut self) -> &mut DateTime<Utc> {
        &mut self.metadata.captured_at
    }

    fn pack(&self) -> Result<Zeroizing<Vec<u8>>, format::Error> {
        format::capture::pack(self)
    }
}

impl Dated for Settings {
    fn captured_at(&mut self) -> &mut DateTime<Utc> {
        &mut self.captured_at
    }

    fn pack(&self) -> Result<Zeroizing<Vec<u8>>, format::Error> {
        format::settings::pack(self)
    }
}

/// Something sealed that is in the store.
pub(super) struct Sealed {
    pub(super) path: StorePath,
    pub(super) captured_at: DateTime<Utc>,
    pub(super) version: Option<String>,
    pub(super) bytes: Bytes,
}

/// Packs, encrypts and stores. The inner failure is that of `content`, the outer one everybody's.
///
/// A taken path means that another run took the same thing in the same second; the next second's name will do. It is then
/// the time that the manifest gives and that stands inside, since the three must agree: so it is packed again.
pub(super) async fn seal_and_store(
    doors: &Doors<'_>,
    what: &str,
    mut content: impl Dated,
    path: impl Fn(DateTime<Utc>) -> Result<StorePath, format::Error>,
) -> Result<Result<Sealed, format::Error>> {
    const NAMES: u32 = 10;
    for _ in 0..NAMES {
        let captured_at = *content.captured_at();
        let path = path(captured_at)?;
        let closed;
        (closed, content) = close(doors, content).await.context(format!("couldn't encrypt {what}"))?;
        let bytes = match closed {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error)),
        };
        match doors.store.create(&path, bytes.clone()).await {
            Ok(created) => return Ok(Ok(Sealed { path, captured_at, version: created.version, bytes })),
            Err(error) if error.condition == Condition::Exists => *content.captured_at() += TimeDelta::seconds(1),
            Err(error) => return Err(Error::from(error).context(format!("couldn't store the capture of {what}"))),
        }
    }
    Err(Error::new(Kind::Conflict, format!("couldn't store the capture of {what}: {NAMES} names in a row are taken")))
}

/// How long a plugin of a recipient may take to encrypt for it. Nobody is there to touch a token or to type a PIN.
const SEALING: Duration = Duration::from_secs(300);

/// Packs and encrypts, on a thread that may block: it takes a processor for a while, and plugins of recipients talk to
/// programs, while other objects' answers wait to be read.
async fn close<T: Dated>(doors: &Doors<'_>, content: T) -> Result<(Result<Bytes, format::Error>, T)> {
    close_within(SEALING, doors.recipients, content).await
}

async fn close_within<T: Dated>(
    limit: Duration,
    recipients: &Arc<Recipients>,
    content: T,
) -> Result<(Result<Bytes, format::Error>, T)> {
    let recipients = Arc::clone(recipients);
    let sealing = tokio::task::spawn_blocking(move || {
        let closed = match content.pack() {
            Ok(packed) => Ok(Bytes::from(recipients.close(&packed)?)),
            Err(error) => Err(error),
        };
        Ok((closed, content))
    });
    match within(limit, sealing).await {
        Some(sealed) => sealed.map_err(|error| Error::internal(format!("the thread that encrypts ended: {error}")))?,
        // The thread is lost: what waits in a plugin cannot be called back. So the run ends, before it loses them all.
        None => Err(Error::new(Kind::Unavailable, format!("encrypting took longer than {} seconds", limit.as_secs()))
            .hint("does a plugin of `recipients` wait for somebody?")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::jobs::fixture::House;

    /// Packs when it is told to.
    struct Late(DateTime<Utc>, Receiver<()>);

    impl Dated for Late {
        fn captured_at(&mut self) -> &mut DateTime<Utc> {
            &mut self.0
        }

        fn pack(&self) -> Result<Zeroizing<Vec<u8>>, format::Error> {
            let _ = self.1.recv();
            Ok(Zeroizing::new(b"x".to_vec()))
        }
    }

    #[tokio::test]
    async fn a_recipient_that_never_answers_ends_the_run_and_does_not_hold_it() {
        let house = House::new(&[]).await;
        let (answer, answered) = channel();
        let hangs = Late(DateTime::UNIX_EPOCH, answered);
        let error = close_within(Duration::ZERO, &house.recipients, hangs).await.map(drop).unwrap_err();
        assert!(error.kind() == Kind::Unavailable && error.hint_text().is_some_and(|hint| hint.contains("plugin")));
        answer.send(()).unwrap();
        let (_, told) = channel();
        let (sealed, _) = close_within(SEALING, &house.recipients, Late(DateTime::UNIX_EPOCH, told)).await.unwrap();
        assert!(sealed.unwrap().len() > 100);
    }
}
