//! Reading back what was written: the same bytes, one version, protected. A store that ignores write-once rules is
//! found out here, before anything refers to what it holds.

use futures::StreamExt;

use crate::error::{Error, Kind, Result};
use crate::model::{Mode, StorePath};
use crate::store::{self, Guard, Listed, Protection};

/// Whether a snapshot insists on write-once storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Refuse a store that does not protect what it is given. The default for containers.
    Required,
    /// Take what there is; `verify` reports it. The default for directories.
    Optional,
}

/// Something that was just written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Where.
    pub path: StorePath,
    /// The version that the store said it made.
    pub version: Option<String>,
    /// How many bytes.
    pub size: u64,
    /// Their MD5.
    pub md5: [u8; 16],
}

/// Refuses a store that says of itself that it protects nothing.
pub fn insist(store: &dyn store::Read, guard: &Guard, demand: Demand) -> Result<()> {
    if demand == Demand::Optional || guard.protects() {
        return Ok(());
    }
    Err(unprotected(&store.describe(), "it has no immutability policy"))
}

/// Lists a file that was written, and compares. Returns how it is protected.
///
/// Fails with `Noncompliant` for a file that is not protected although that was demanded, with `Tampered` for other bytes
/// or more than one version.
pub async fn read_back(store: &dyn store::Read, guard: &Guard, demand: Demand, file: &Written) -> Result<Protection> {
    let mut found = None;
    let mut list = store.list(file.path.as_str());
    while let Some(listed) = list.next().await {
        let listed = listed?;
        if listed.path.as_ref() != Ok(&file.path) {
            continue;
        }
        if found.is_some() {
            return Err(doubled(&file.path));
        }
        found = Some(compare(store, guard, demand, file, &listed).await?);
    }
    found.ok_or_else(|| gone(&file.path))
}

/// Compares a file that was written with what a listing shows of it, as [`read_back`] does.
pub async fn compare(
    store: &dyn store::Read,
    guard: &Guard,
    demand: Demand,
    file: &Written,
    listed: &Listed,
) -> Result<Protection> {
    let path = &file.path;
    let same = match listed.md5 {
        Some(md5) => md5 == file.md5,
        None => crate::archive::md5(&store.get(path, listed.version.as_deref(), file.size).await?) == file.md5,
    };
    if !same || listed.size != file.size {
        return Err(tampered(path, "holds other bytes now"));
    }
    if file.version.is_some() && listed.version != file.version {
        return Err(tampered(path, "has another version id now"));
    }
    let protection = guard.covers(listed);
    if demand == Demand::Required && protection.mode == Mode::None && !protection.legal_hold {
        return Err(unprotected(&store.describe(), &format!("{path} was stored without a policy")));
    }
    Ok(protection)
}

/// A file that was written has more than one version.
pub fn doubled(path: &StorePath) -> Error {
    tampered(path, "has more than one version now")
}

/// A file that was written is not listed.
pub fn gone(path: &StorePath) -> Error {
    tampered(path, "is not there now")
}

fn tampered(path: &StorePath, what: &str) -> Error {
    Error::new(Kind::Tampered, format!("{path} was written a moment ago, and {what}"))
}

fn unprotected(place: &str, why: &str) -> Error {
    Error::new(Kind::Noncompliant, format!("{place} does not protect what it is given: {why}")).hint(
        "give the container a locked immutability policy (deploy it unlocked first, prove a restore, then lock it); or set \
         `archive.worm = \"optional\"` (`init --allow-unprotected`) to archive without protection",
    )
}
