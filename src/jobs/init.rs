//! Creating an archive: `archive.json`, once.

use bytes::Bytes;
use futures::StreamExt;

use super::protection::{Demand, Written, insist, read_back};
use crate::ambient::Ambient;
use crate::archive::{md5, oldest_of};
use crate::error::{Context, Error, Kind, Result};
use crate::format::archive::{ARCHIVE_MAX, Archive};
use crate::format::paths;
use crate::store::{self, Condition};

/// Creates the archive in `store`, or finds the one that is there. Tells which.
pub async fn create_archive(store: &dyn store::Append, demand: Demand, ambient: &Ambient) -> Result<(Archive, bool)> {
    let place = store.describe();
    let guard = store.guard().await.context(format!("couldn't reach {place}"))?;
    insist(store, &guard, demand)?;
    if let Some(archive) = existing(store).await.context(format!("couldn't read the archive in {place}"))? {
        return Ok((archive, false));
    }
    if store.list("vaults/").next().await.transpose()?.is_some() {
        let message = format!("{place} holds an archive's files, and its archive.json is gone");
        return Err(Error::new(Kind::Tampered, message)
            .hint("a new archive could not be read together with them: find out what happened, or use another container or directory"));
    }
    let id = uuid::Builder::from_random_bytes(ambient.bytes()).into_uuid();
    let created = chrono::DateTime::from_timestamp(ambient.now().timestamp(), 0).unwrap_or_default();
    let archive = Archive::new(id, created);
    let path = paths::archive()?;
    let bytes = Bytes::from(archive.encode()?);
    let version = match store.create(&path, bytes.clone()).await {
        Ok(created) => created.version,
        // Somebody else was faster by a moment: theirs is the archive.
        Err(error) if error.condition == Condition::Exists => {
            let archive = existing(store)
                .await?
                .ok_or_else(|| Error::new(Kind::Conflict, format!("{path} appeared and vanished in {place}")))?;
            return Ok((archive, false));
        }
        Err(error) => return Err(Error::from(error).context(format!("couldn't create the archive in {place}"))),
    };
    let written = Written { path: path.clone(), version, size: bytes.len() as u64, md5: md5(&bytes) };
    read_back(store, &guard, demand, &written).await?;
    Ok((archive, true))
}

async fn existing(store: &dyn store::Append) -> Result<Option<Archive>> {
    let path = paths::archive()?;
    let Some(listed) = oldest_of(store, &path).await? else { return Ok(None) };
    let bytes = store.get(&path, listed.version.as_deref(), ARCHIVE_MAX).await?;
    Archive::decode(&bytes).map(Some).map_err(|e| Error::new(Kind::Tampered, format!("{path}: {e}")))
}
