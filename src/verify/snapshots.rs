//! Checking snapshots: every manifest that the log names, line by line, and every capture that a manifest names, of
//! objects and of the vault's settings.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt;

use super::Checked;
use super::captures::difference;
use super::finding::{Code, Findings};
use super::inventory::Shelf;
use super::live::Comparison;
use crate::error::Result;
use crate::format::Error;
use crate::format::archive::Archive;
use crate::format::entry::SnapshotRef;
use crate::format::manifest::{CaptureRef, Decoder, Gap, Limits, MORE, Status};
use crate::format::paths::{self, ArchivePath};
use crate::model::{Digest, StorePath, VaultUri, duration};
use crate::store::{self, Condition, Listed};
use chrono::{DateTime, TimeDelta, Utc};

/// The most files of one vault that are asked for one by one, where the listing lacks them.
const ASKED_MAX: usize = 100;

/// A snapshot that is dated further ahead of this machine's clock has no age that could be believed. `status` has the
/// same.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(5);

/// A file that a manifest names and the listing did not show: one that came behind the reader, or none.
pub(super) struct Stray {
    pub(super) listed: Option<Listed>,
    pub(super) sha256: Digest,
    pub(super) kid: Option<String>,
}

/// What the newest snapshot of a vault needs.
#[derive(Default)]
pub(super) struct Needed {
    /// Captures, by their place on the shelf.
    pub(super) captures: Vec<usize>,
    /// Whatever else.
    pub(super) others: Vec<Listed>,
}

/// Who walks through the snapshots of one vault, with what is collected on the way.
pub(super) struct Walk<'a> {
    pub(super) store: &'a dyn store::Read,
    pub(super) archive: &'a Archive,
    pub(super) vault: &'a VaultUri,
    pub(super) shelf: &'a mut Shelf,
    /// Whether an earlier report covers a capture that an entry was the first to refer to.
    pub(super) covered: &'a (dyn Fn(&StorePath, u64) -> bool + Sync),
    pub(super) live: Option<Comparison<'a>>,
    pub(super) second: Second,
    pub(super) findings: &'a mut Findings,
    pub(super) checked: &'a mut Checked,
}

/// A second look, for what the listing of the whole store lacked: file by file, or in one more listing of the vault where
/// that is fewer requests. All that a listed entry can name was there when the entry was listed, so one is enough.
#[derive(Default)]
pub(super) struct Second {
    asked: usize,
    /// What the second listing shows and the first did not.
    shown: Option<BTreeMap<StorePath, Listed>>,
}

/// What one manifest told.
#[derive(Default)]
struct Told {
    needed: Vec<usize>,
    /// What the listing did not show.
    absent: Vec<CaptureRef>,
    /// What could not be read of the vault itself, as the end of a sentence.
    unread: String,
}

impl Walk<'_> {
    /// Checks the snapshots of the log entries that hold, and returns what the newest one needs.
    pub(super) async fn check(&mut self, snapshots: &[SnapshotRef]) -> Result<Needed> {
        let mut needed = Needed::default();
        let mut unread = String::new();
        for (number, snapshot) in snapshots.iter().enumerate() {
            self.checked.snapshots += 1;
            unread.clear();
            let newest = number + 1 == snapshots.len();
            let Some((listed, bytes)) = self.fetch(snapshot).await? else {
                self.shelf.blind = true;
                continue;
            };
            let mut told = Told::default();
            let whole = self.read(&bytes, snapshot, newest, &mut told);
            drop(bytes);
            let strays = self.look_up(std::mem::take(&mut told.absent)).await?;
            if let Err(error) = whole {
                self.findings.add(Code::ManifestMalformed, snapshot.manifest.as_str(), error.to_string());
                self.shelf.blind = true;
                continue;
            }
            unread = told.unread;
            let log = self.shelf.log.get(&snapshot.sequence).cloned();
            needed = Needed { captures: told.needed, others: log.into_iter().chain([listed]).chain(strays).collect() };
        }
        match snapshots.last() {
            // What was committed is not known, and that was told.
            None if self.shelf.blind => {}
            None => self.findings.add(Code::NoSnapshot, self.vault.host(), "its log holds no snapshot"),
            Some(snapshot) if snapshot.status == Status::Partial => {
                let (sequence, gaps) = (snapshot.sequence, snapshot.counts.gaps);
                let objects = if gaps == 1 { "object" } else { "objects" };
                let detail = format!("the newest snapshot, {sequence}, lacks {gaps} {objects}{unread}");
                self.findings.add(Code::CoverageGap, snapshot.manifest.as_str(), detail);
            }
            Some(_) => {}
        }
        Ok(needed)
    }

    /// Fetches a manifest whose digest is the one in the log; with its listing.
    async fn fetch(&mut self, snapshot: &SnapshotRef) -> Result<Option<(Listed, Bytes)>> {
        let path = &snapshot.manifest;
        let listed = match self.shelf.manifests.get_mut(path) {
            // A manifest is made for one entry. Reading it for each that names it would be work without end.
            Some((_, true)) => {
                let detail = format!("log entry {} names it, and an earlier entry does", snapshot.sequence);
                self.findings.add(Code::ManifestMismatch, path.as_str(), detail);
                return Ok(None);
            }
            Some((listed, referenced)) => {
                *referenced = true;
                Some(listed.clone())
            }
            None => {
                self.expect(1).await?;
                self.find(path).await?
            }
        };
        let Some(listed) = listed else {
            let detail = format!("log entry {} names it", snapshot.sequence);
            self.findings.add(Code::ManifestMissing, path.as_str(), detail);
            return Ok(None);
        };
        let mut mismatch = |detail: &str| self.findings.add(Code::ManifestMismatch, path.as_str(), detail);
        // A size in the log is somebody's word, and what no manifest may have is not read.
        if listed.size != snapshot.size || snapshot.size > Limits::default().stored as u64 {
            mismatch("its size is not the one in the log, or more than a manifest may have");
            return Ok(None);
        }
        if snapshot.version.is_some() && listed.version != snapshot.version {
            mismatch("its version id is not the one in the log");
        }
        let bytes = match self.store.get(path, listed.version.as_deref(), snapshot.size).await {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.condition, Condition::NotFound | Condition::TooLarge) => {
                self.findings.add(Code::ManifestMissing, path.as_str(), error.to_string());
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if Digest::of(&bytes) != snapshot.sha256 {
            mismatch("its SHA-256 is not the one in the log");
            return Ok(None);
        }
        Ok(Some((listed, bytes)))
    }

    /// Reads a manifest, line by line: what it refers to is looked up as it comes, since its bytes are the ones that were
    /// signed. That its root and counts are right is known at its end.
    fn read(&mut self, bytes: &[u8], snapshot: &SnapshotRef, newest: bool, told: &mut Told) -> Result<(), Error> {
        let mut decoder = Decoder::new(bytes, &Limits::default())?;
        told.unread = unread(&decoder.header().gaps);
        if let Some(settings) = decoder.header().settings.clone() {
            self.refer(settings, snapshot.sequence, told);
        }
        for line in decoder.by_ref() {
            let line = line?;
            if let Some(live) = self.live.as_mut().filter(|_| newest) {
                live.see(&line);
            }
            // Beside a gap too: what is left of an object that could not be taken is needed most.
            if let Some(reference) = line.capture {
                self.refer(reference, snapshot.sequence, told);
            }
        }
        let whole = decoder.finish()?;
        let header = &whole.header;
        let said = (snapshot.root, snapshot.lines, snapshot.status, snapshot.counts, self.archive.archive_id);
        let found = (whole.root, whole.lines, header.status, header.counts, header.archive_id);
        if said != found || header.vault != *self.vault {
            let detail = "its root, counts, status, archive or vault are not those in the log";
            self.findings.add(Code::ManifestMismatch, snapshot.manifest.as_str(), detail);
        }
        if newest && let Some(live) = self.live.take() {
            live.report(self.findings);
        }
        Ok(())
    }

    /// Looks a reference up in the listing.
    fn refer(&mut self, reference: CaptureRef, sequence: u64, told: &mut Told) {
        let path = &reference.path;
        let Some(index) = self.shelf.captures.find(path) else {
            return told.absent.push(reference);
        };
        told.needed.push(index);
        let covered = (self.covered)(path, sequence);
        let (first, wrong) = self.shelf.captures.refer(index, &reference, covered);
        if let Some(detail) = wrong {
            self.findings.add(Code::CaptureMismatch, path.as_str(), detail);
        }
        if first {
            self.checked.captures += 1;
            self.checked.bytes += reference.size;
        }
    }

    /// What the listing lacks is looked for once more: a snapshot that was committed while the store was listed names
    /// files that came behind the reader. Returns what is there.
    async fn look_up(&mut self, absent: Vec<CaptureRef>) -> Result<Vec<Listed>> {
        let mut there = Vec::new();
        let new = absent.iter().filter(|reference| !self.shelf.strays.contains_key(&reference.path)).count();
        self.expect(new).await?;
        for reference in absent {
            let path = &reference.path;
            if let Some(stray) = self.shelf.strays.get(path) {
                if stray.sha256 != reference.sha256 {
                    let detail = "two manifests give it different digests";
                    self.findings.add(Code::CaptureMismatch, path.as_str(), detail);
                }
                there.extend(stray.listed.clone());
                continue;
            }
            self.checked.captures += 1;
            self.checked.bytes += reference.size;
            let ours = match ArchivePath::parse(path) {
                Some(ArchivePath::Capture { vault, .. } | ArchivePath::Settings { vault, .. }) => vault == *self.vault,
                _ => false,
            };
            let mut listed = if ours { self.find(path).await? } else { None };
            let wrong = match &listed {
                None if !ours => Some("a manifest names it as a capture of this vault, and it is none"),
                None => None,
                Some(listed) => difference(&reference, listed.size, listed.md5, listed.version.as_deref()),
            };
            match wrong {
                Some(detail) => {
                    self.findings.add(Code::CaptureMismatch, path.as_str(), detail);
                    listed = None;
                }
                None if listed.is_none() => {
                    self.findings.add(Code::CaptureMissing, path.as_str(), "a manifest names it");
                }
                None => there.extend(listed.clone()),
            }
            let CaptureRef { path, sha256, kid, .. } = reference;
            self.shelf.strays.insert(path, Stray { listed, sha256, kid });
        }
        Ok(there)
    }

    /// Lists the vault once more, if so many files that the listing lacks are too many to be asked for one by one.
    async fn expect(&mut self, files: usize) -> Result<()> {
        self.second.asked += files;
        if self.second.asked <= ASKED_MAX || self.second.shown.is_some() {
            return Ok(());
        }
        let mut shown = BTreeMap::new();
        let prefix = paths::vault_prefix(self.vault);
        let mut list = self.store.list(&prefix);
        while let Some(listed) = list.next().await {
            let listed = listed?;
            let Ok(path) = &listed.path else { continue };
            let known = self.shelf.captures.find(path).is_some() || self.shelf.manifests.contains_key(path);
            let nameable = || !matches!(ArchivePath::parse(path), None | Some(ArchivePath::Log { .. }));
            if !known && nameable() {
                // The oldest version comes first, and is the one that counts.
                shown.entry(path.clone()).or_insert(listed);
            }
        }
        self.second.shown = Some(shown);
        Ok(())
    }

    /// The version that counts of a path that the listing lacks.
    async fn find(&self, path: &StorePath) -> Result<Option<Listed>> {
        match &self.second.shown {
            Some(shown) => Ok(shown.get(path).cloned()),
            None => find(self.store, path).await,
        }
    }
}

/// Complains if the newest complete snapshot is older than it may be, or from the future: a clock that was wrong once
/// would keep the alarm silent for as long as it was wrong.
pub(super) fn check_age(
    vault: &VaultUri,
    snapshots: &[SnapshotRef],
    max_age: TimeDelta,
    now: DateTime<Utc>,
    findings: &mut Findings,
) {
    let text = |age: TimeDelta| duration::render(age.to_std().unwrap_or_default());
    let detail = match snapshots.iter().rev().find(|snapshot| snapshot.status == Status::Complete) {
        Some(snapshot) if snapshot.started - now > AHEAD_MAX => format!(
            "the newest complete snapshot, {}, is of {}: that is in the future, so some clock is wrong",
            snapshot.sequence, snapshot.started
        ),
        Some(snapshot) if now - snapshot.started <= max_age => return,
        Some(snapshot) => format!(
            "the newest complete snapshot, {}, is of {}: older than {}",
            snapshot.sequence,
            snapshot.started,
            text(max_age)
        ),
        None if snapshots.is_empty() => return,
        None => "no snapshot is complete".to_owned(),
    };
    findings.add(Code::SnapshotStale, paths::log_prefix(vault), detail);
}

fn things(count: usize) -> String {
    if count == 1 { "1 thing".to_owned() } else { format!("{count} things") }
}

/// What could not be read of the vault itself, as the end of a sentence.
fn unread(gaps: &[Gap]) -> String {
    match gaps.split_last() {
        None => String::new(),
        Some((last, listed)) if last.code == MORE => {
            format!(", and more than {} could not be read of the vault itself", things(listed.len()))
        }
        Some(_) => format!(", and {} could not be read of the vault itself", things(gaps.len())),
    }
}

/// The version of a path that counts, asked for alone.
async fn find(store: &dyn store::Read, path: &StorePath) -> Result<Option<Listed>> {
    let mut list = store.list(path.as_str());
    while let Some(listed) = list.next().await {
        let listed = listed?;
        if listed.path.as_ref() == Ok(path) {
            return Ok(Some(listed));
        }
    }
    Ok(None)
}
