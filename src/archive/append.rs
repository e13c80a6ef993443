//! Appending to an archive: files first, then one log entry that names them. Creating `log/<n>` if absent is both the
//! lock and the commit.
//!
//! If we die after a capture or a manifest was created, they are orphans that nobody refers to. If we die after the log
//! entry was created, it is committed. There is no other state.

use bytes::Bytes;

use super::read::Reader;
use crate::ambient::Ambient;
use crate::error::{Error, Kind, Result};
use crate::format::entry::{Entry, Event, LogFile};
use crate::format::paths;
use crate::model::{StorePath, VaultUri};
use crate::store::{self, Condition, Created};
use crate::tlog::Signer;

/// Lost races that are rebased before giving up; each means that somebody else's entry went in between.
const REBASES: u32 = 32;

/// An archive, opened for appending to one vault's log.
pub struct Appender<'a> {
    store: &'a dyn store::Append,
    reader: &'a Reader<'a>,
    signer: &'a Signer,
    vault: &'a VaultUri,
    ambient: &'a Ambient,
}

impl<'a> Appender<'a> {
    /// An appender to the log of `vault`.
    pub fn new(
        store: &'a dyn store::Append,
        reader: &'a Reader<'a>,
        signer: &'a Signer,
        vault: &'a VaultUri,
        ambient: &'a Ambient,
    ) -> Self {
        Appender { store, reader, signer, vault, ambient }
    }

    /// Creates a file that a later entry will name.
    pub async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, store::Error> {
        self.store.create(path, bytes).await
    }

    /// Appends an entry and returns its sequence number. `event` is asked again, with the new head and number, each time
    /// another writer was faster; its error ends the attempt, which is how a caller refuses what newer entries forbid.
    pub async fn commit(&self, mut event: impl FnMut(Option<&LogFile>, u64) -> Result<Event>) -> Result<u64> {
        for _ in 0..REBASES {
            let head = self.reader.head(self.vault).await?;
            let sequence = head.as_ref().map_or(0, |head| head.entry().sequence) + 1;
            let event = event(head.as_ref(), sequence)?;
            let now = self.ambient.now();
            let entry = match &head {
                Some(head) => head.successor(now, event)?,
                None => Entry::first(self.reader.archive().archive_id, self.vault, now, event),
            };
            let file = LogFile::build(entry, self.signer)?;
            let path = paths::log(self.vault, sequence)?;
            match self.store.create(&path, Bytes::from(file.bytes())).await {
                Ok(_) => return Ok(sequence),
                Err(error) if error.condition == Condition::Exists => {}
                Err(error) => return Err(Error::from(error).context(format!("couldn't commit {path}"))),
            }
        }
        let vault = self.vault.host();
        let message =
            format!("couldn't commit to the log of {vault}: other writers were faster {REBASES} times in a row");
        Err(Error::new(Kind::Conflict, message).hint("run again; see that not every job starts at the same moment"))
    }
}

/// MD5 as Azure lists it: for comparing a listing with what was written, not a defence.
pub(crate) fn md5(bytes: &[u8]) -> [u8; 16] {
    use md5::{Digest as _, Md5};
    Md5::digest(bytes).into()
}
