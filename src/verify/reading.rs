//! Reading captures: each is downloaded, hashed, and opened if somebody can. Several at a time, and never many bytes.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use super::captures::Wanted;
use super::finding::{Code, Findings, Severity};
use super::{Checked, Opener, opening};
use crate::error::{Error, Result};
use crate::format::capture::SEALED_MAX;
use crate::model::{Digest, StorePath};
use crate::progress::Progress;
use crate::store::{self, Condition};

/// Captures read at the same time.
const IN_FLIGHT: usize = 16;

/// Kibibytes of captures in memory at the same time: room for the largest there may be.
const ROOM: u32 = 80 << 10;

/// Reads what is wanted. Returns whether all of it is what the manifests say.
pub(super) async fn read(
    store: &dyn store::Read,
    wanted: Box<dyn Iterator<Item = Wanted> + Send + '_>,
    open: Option<&Opener<'_>>,
    progress: &dyn Progress,
    findings: &mut Findings,
    checked: &mut Checked,
) -> Result<bool> {
    let before = findings.of(Severity::Tampered) + findings.of(Severity::Noncompliant);
    let room = &Semaphore::new(ROOM as usize);
    let mut read =
        futures::stream::iter(wanted).map(|wanted| one(store, room, wanted, open)).buffer_unordered(IN_FLIGHT);
    while let Some((path, opened, found)) = read.try_next().await? {
        progress.step();
        checked.read += 1;
        checked.opened += u64::from(opened);
        found.into_iter().for_each(|(code, detail)| findings.add(code, path.as_str(), detail));
    }
    Ok(findings.of(Severity::Tampered) + findings.of(Severity::Noncompliant) == before)
}

/// What is wrong with one capture; its path, and whether it got so far as to be opened.
async fn one(
    store: &dyn store::Read,
    room: &Semaphore,
    wanted: Wanted,
    open: Option<&Opener<'_>>,
) -> Result<(String, bool, Vec<(Code, String)>)> {
    let Wanted { path, version, size, sha256, kid, open: asked } = wanted;
    let share = u32::try_from(size / 1024 + 1).unwrap_or(ROOM).min(ROOM);
    let _held = room.acquire_many(share).await.map_err(|_| Error::internal("nobody closes the room"))?;
    let parsed = StorePath::parse(&path).ok_or_else(|| Error::internal(format!("{path:?} was listed as a path")))?;
    let bytes: Bytes = match store.get(&parsed, version.as_deref(), SEALED_MAX).await {
        Ok(bytes) => bytes,
        Err(error) if error.condition == Condition::NotFound => {
            return Ok((path, false, vec![(Code::CaptureMissing, "it was listed, and cannot be read".to_owned())]));
        }
        Err(error) if error.condition == Condition::TooLarge => {
            return Ok((path, false, vec![(Code::CaptureMismatch, error.to_string())]));
        }
        Err(error) => return Err(Error::from(error).context("couldn't read a capture")),
    };
    if Digest::of(&bytes) != sha256 {
        let detail = "its SHA-256 is not the one in the manifest".to_owned();
        return Ok((path, false, vec![(Code::CaptureMismatch, detail)]));
    }
    match open.filter(|_| asked) {
        Some(open) => Ok((path, true, opening::check(open, &parsed, &bytes, kid.as_deref())?)),
        None => Ok((path, false, Vec::new())),
    }
}
