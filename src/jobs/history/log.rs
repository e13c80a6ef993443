//! A vault's log, read once: its entries as far as they hold, and the snapshots among them, by number and by time. Reads no
//! manifest.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::some_of;
use crate::archive::{Entries, Reader};
use crate::error::{Error, Kind, Result};
use crate::format::entry::{Entry, Event, SnapshotRef};
use crate::model::VaultUri;

/// A vault's log.
#[derive(Clone, Debug)]
pub struct Log {
    /// The vault.
    pub vault: VaultUri,
    /// The entries whose signature holds, oldest first.
    pub entries: Vec<Entry>,
    /// The numbers of those that do not hold. They were not written by us: `verify` names them, and what else is there is
    /// still there.
    pub damaged: Vec<u64>,
    snapshots: Vec<SnapshotRef>,
}

/// Snapshots to look in, the newest first.
#[derive(Clone, Debug)]
pub struct Range<'a> {
    /// The snapshots.
    pub snapshots: Vec<&'a SnapshotRef>,
    /// What a person would call them: `the archive`, `snapshot 3`.
    pub place: String,
    /// Whether one snapshot was asked for by its number. Then its damage is an error, and gone around otherwise.
    pub only: bool,
}

impl Log {
    /// Reads a vault's log.
    ///
    /// # Errors
    /// `NotFound` where the archive has nothing of the vault, `Tampered` where nothing of its log holds.
    pub async fn read(reader: &Reader<'_>, vault: &VaultUri) -> Result<Log> {
        let Entries { verified: entries, damaged } = reader.entries(vault).await?;
        match (entries.is_empty(), damaged.is_empty()) {
            (true, true) => return Err(nothing(vault)),
            (true, false) => {
                let message = format!("no entry of the log of {} holds", vault.host());
                return Err(Error::new(Kind::Tampered, message).hint("`akv-archiver verify` tells why"));
            }
            _ => {}
        }
        // An entry names the snapshot before it, too, which is there though its own entry may be damaged.
        let mut snapshots = BTreeMap::new();
        for entry in &entries {
            let before = entry.latest_snapshot.as_ref();
            let here = match &entry.event {
                Event::Snapshot(snapshot) => Some(snapshot),
                _ => None,
            };
            for snapshot in before.into_iter().chain(here) {
                snapshots.insert(snapshot.sequence, snapshot.clone());
            }
        }
        let snapshots = snapshots.into_values().rev().collect();
        Ok(Log { vault: vault.clone(), entries, damaged, snapshots })
    }

    /// Its snapshots, the newest first.
    pub fn snapshots(&self) -> &[SnapshotRef] {
        &self.snapshots
    }

    /// All snapshots.
    pub fn all(&self) -> Range<'_> {
        Range { snapshots: self.snapshots.iter().collect(), place: "the archive".into(), only: false }
    }

    /// The snapshot of a number. Where there is none, the error says what else the number is, and which are near.
    pub fn numbered(&self, number: u64) -> Result<Range<'_>> {
        if let Some(snapshot) = self.snapshots.iter().find(|snapshot| snapshot.sequence == number) {
            return Ok(Range { snapshots: vec![snapshot], place: format!("snapshot {number}"), only: true });
        }
        let host = self.vault.host();
        if self.damaged.contains(&number) {
            let message = format!("entry {number} of the log of {host} does not hold: its snapshot cannot be used");
            return Err(Error::new(Kind::Tampered, message).hint("`akv-archiver verify` tells why"));
        }
        let what = match self.entries.iter().any(|entry| entry.sequence == number) {
            true => format!("snapshot {number} of {host} does not exist: entry {number} of its log is no snapshot"),
            false => format!("snapshot {number} of {host} does not exist"),
        };
        let newer = self.snapshots.iter().rev().find(|snapshot| snapshot.sequence > number);
        let older = self.snapshots.iter().find(|snapshot| snapshot.sequence < number);
        let near: Vec<String> = older.into_iter().chain(newer).map(told).collect();
        let hint = match near.is_empty() {
            true => "its log has no snapshot at all".to_owned(),
            false => format!("near it: {}; `akv-archiver list --snapshots` shows all", near.join(" and ")),
        };
        Err(Error::new(Kind::NotFound, what).hint(hint))
    }

    /// The snapshots that had begun by a time.
    pub fn until(&self, time: DateTime<Utc>) -> Result<Range<'_>> {
        let snapshots: Vec<&SnapshotRef> = self.snapshots.iter().filter(|snapshot| snapshot.started <= time).collect();
        let at = minute(time);
        if snapshots.is_empty() {
            let message = format!("no snapshot of {} had begun by {at}", self.vault.host());
            let first = self.snapshots.iter().min_by_key(|snapshot| (snapshot.started, snapshot.sequence));
            let hint = first
                .map_or_else(|| "its log has no snapshot at all".into(), |it| format!("the first is {}", told(it)));
            return Err(Error::new(Kind::NotFound, message).hint(hint));
        }
        Ok(Range { snapshots, place: format!("what was archived by {at}"), only: false })
    }

    /// What a person should know of the log itself.
    pub fn note(&self) -> Option<String> {
        let damaged = some_of(&self.damaged);
        let host = self.vault.host();
        (!damaged.is_empty()).then(|| format!("log entries {damaged} of {host} do not hold, and were passed over"))
    }
}

/// A snapshot, for a sentence.
pub(crate) fn told(snapshot: &SnapshotRef) -> String {
    format!("snapshot {} (begun {})", snapshot.sequence, minute(snapshot.started))
}

/// A time to the minute.
pub(crate) fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

pub(super) fn nothing(vault: &VaultUri) -> Error {
    let vault = vault.host();
    Error::new(Kind::NotFound, format!("the archive holds nothing of {vault}"))
        .hint("`akv-archiver list --snapshots` shows what there is")
}
