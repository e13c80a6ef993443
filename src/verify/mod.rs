//! The verifier: reads a store and says what does not hold. It imports formats, the tree and the store traits, and
//! shares no code with the writer (`archive`, `capture`, `jobs`): where the writer is wrong, this sees it.
//!
//! Default level: the whole log of each vault, every manifest, and for every capture ever referenced its existence,
//! size, listed MD5, version and protection. It needs no identity and downloads no capture. [`Depth`] goes further;
//! docs/VERIFY.md tells how.

mod captures;
mod finding;
mod inventory;
mod live;
mod log;
mod opening;
mod protection;
mod reading;
mod record;
mod snapshots;
mod subset;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use finding::{Code, Finding, Findings, KEPT, Severity};
pub use live::{Live, Seen};
pub use opening::Opener;
pub use record::{Cover, Head, RECORD_MAX, Record};
pub use subset::Subset;

use crate::error::{Error, Kind, Result};
use crate::format::archive::{ARCHIVE_MAX, Archive};
use crate::format::paths;
use crate::model::{Digest, Mode, StorePath, VaultUri};
use crate::progress::{Progress, Silent};
use crate::store::{self, Guard};
use crate::tlog::Verifier;
use captures::Wanted;
use inventory::{Inventory, Shelf};

/// What to hold an archive to.
#[derive(Clone, Debug)]
pub struct Standard {
    /// The keys that may have signed its logs: pinned by the operator, never taken from the archive.
    pub verifiers: Vec<Verifier>,
    /// Vaults that must have a snapshot, whatever the archive holds.
    pub vaults: Vec<VaultUri>,
    /// Whether files must be locked.
    pub worm: bool,
    /// How much longer what the newest snapshot needs must stay locked.
    pub protection_min: TimeDelta,
    /// The same, of vaults for which it differs.
    pub protection_min_of: BTreeMap<VaultUri, TimeDelta>,
    /// How old the newest complete snapshot of a vault may be.
    pub max_age: Option<TimeDelta>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// How deep to look, beyond the default level.
#[derive(Clone, Copy, Default)]
pub struct Depth<'a> {
    /// Which captures to download and hash.
    pub read: Option<Subset>,
    /// Who opens the captures that are read.
    pub open: Option<&'a Opener<'a>>,
    /// What vaults show now.
    pub live: &'a [Live],
    /// What an earlier run found: captures that it covers are not read again, and the logs must continue those it saw.
    pub since: Option<&'a Record>,
}

/// What verification found. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The worst severity, as a verdict.
    pub status: Status,
    /// How many findings of each code.
    pub counts: BTreeMap<Code, u64>,
    /// What does not hold, worst first; of one code at most [`KEPT`].
    pub findings: Vec<Finding>,
    /// How much was looked at.
    pub checked: Checked,
    /// What the next run can start from; none where the archive has no identity.
    #[serde(skip)]
    pub record: Option<Record>,
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing above a note.
    Ok,
    /// Intact, but not as protected or as complete as it must be.
    Noncompliant,
    /// Bytes, a signature or history do not hold.
    Tampered,
}

/// How much was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// Vaults that the archive holds any file of.
    pub vaults: u64,
    /// Log entries.
    pub entries: u64,
    /// Snapshots, each with its manifest.
    pub snapshots: u64,
    /// Different captures that snapshots refer to, those of vaults' settings among them.
    pub captures: u64,
    /// Of these, how many were downloaded and hashed.
    pub read: u64,
    /// Of these, how many were handed to the identities.
    pub opened: u64,
    /// Captures that were not read since an earlier report covers them.
    pub skipped: u64,
    /// Files in the store, all versions counted.
    pub files: u64,
    /// Bytes of the captures that snapshots refer to.
    pub bytes: u64,
    /// The earliest end of protection among what the newest snapshots need.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub protected_until: Option<DateTime<Utc>>,
}

/// Verifies the archive in `store` at the default level. An error means that it could not be read, not that it is wrong.
pub async fn verify(store: &dyn store::Read, standard: &Standard) -> Result<Report> {
    inspect(store, standard, &Depth::default(), &Silent).await
}

/// Verifies the archive in `store` as deep as asked. An error means that it could not be read, or that the earlier report
/// is of another archive.
pub async fn inspect(
    store: &dyn store::Read,
    standard: &Standard,
    depth: &Depth<'_>,
    progress: &dyn Progress,
) -> Result<Report> {
    let mut findings = Findings::default();
    let mut checked = Checked::default();
    let guard =
        store.guard().await.map_err(|e| Error::from(e).context("couldn't tell how the archive is protected"))?;
    progress.stage("listing the archive", None);
    let mut inventory = Inventory::read(store, &guard, &mut findings).await?;
    checked.files = inventory.files;
    let archive = read_archive(store, &inventory, &mut findings).await?;
    protection::check_store(&guard, standard, store, &mut findings);
    let mut heads = BTreeMap::new();
    let mut sound = true;
    let mut needed = BTreeSet::new();
    if let Some((archive, sha256)) = &archive {
        same_archive(archive, *sha256, depth, &mut findings)?;
        for (vault, shelf) in &mut inventory.shelves {
            progress.stage("reading the log", None);
            let needs = &mut needed;
            let mut one = Vault { store, standard, depth, archive, guard: &guard, vault, progress, needs };
            let (head, whole) = one.check(shelf, &mut findings, &mut checked).await?;
            heads.extend(head.map(|head| (vault.host().to_owned(), head)));
            sound &= whole;
        }
        missing_vaults(&inventory, standard, depth, &mut findings);
        inventory.report_orphans(&mut findings);
    }
    protection::check_all(&inventory, &guard, standard, &mut findings);
    protection::check_records(&inventory, &guard, standard, &needed, &mut findings);
    let counts = findings.counts().clone();
    let findings = findings.sorted();
    let status = match findings.first().map(|finding| finding.severity) {
        Some(Severity::Tampered) => Status::Tampered,
        Some(Severity::Noncompliant) => Status::Noncompliant,
        Some(Severity::Note) | None => Status::Ok,
    };
    let mut report = Report { status, counts, findings, checked, record: None };
    let read = depth.read.filter(|_| sound).map(|subset| (subset, depth.open.is_some()));
    report.record = archive.map(|archive| report.record(archive, standard, depth, heads, read));
    Ok(report)
}

impl Report {
    fn record(
        &self,
        (archive, archive_sha256): (Archive, Digest),
        standard: &Standard,
        depth: &Depth<'_>,
        heads: BTreeMap<String, Head>,
        read: Option<(Subset, bool)>,
    ) -> Record {
        let now = DateTime::from_timestamp(standard.now.timestamp(), 0).unwrap_or(standard.now);
        Record {
            format: record::FORMAT.to_owned(),
            archive_id: archive.archive_id,
            archive_sha256,
            time: now,
            tool: concat!("akv-archiver ", env!("CARGO_PKG_VERSION")).to_owned(),
            status: self.status,
            counts: self.counts.iter().map(|(code, count)| (code.name().to_owned(), *count)).collect(),
            checked: self.checked.clone(),
            covers: record::covers(depth.since, &heads, read, self.checked.skipped > 0, now),
            heads,
        }
    }
}

/// One vault's part of a verification.
struct Vault<'a> {
    store: &'a dyn store::Read,
    standard: &'a Standard,
    depth: &'a Depth<'a>,
    archive: &'a Archive,
    guard: &'a Guard,
    vault: &'a VaultUri,
    progress: &'a dyn Progress,
    /// Log entries and manifests that newest snapshots need.
    needs: &'a mut BTreeSet<StorePath>,
}

impl Vault<'_> {
    /// Checks everything of the vault. Returns the head of its log, if that holds, and whether all captures that were read
    /// are what they must be.
    async fn check(
        &mut self,
        shelf: &mut Shelf,
        findings: &mut Findings,
        checked: &mut Checked,
    ) -> Result<(Option<Head>, bool)> {
        let Vault { store, standard, depth, archive, guard, vault, progress, .. } = *self;
        checked.vaults += 1;
        let earlier = depth.since.and_then(|since| since.heads.get(vault.host()));
        let log = log::check(store, shelf, archive, vault, &standard.verifiers, earlier, findings).await?;
        checked.entries += log.read;
        if let Some(max_age) = standard.max_age {
            snapshots::check_age(vault, &log.snapshots, max_age, standard.now, findings);
        }
        // Only what a log that holds still refers to is known to be what the earlier report saw.
        let since = depth.since.filter(|_| depth.read.is_some() && log.head.is_some());
        let covered = |path: &StorePath, sequence| {
            since.is_some_and(|since| since.covers(vault, path.as_str(), sequence, depth.open.is_some()))
        };
        let before = checked.captures;
        let live = depth.live.iter().find(|live| live.vault == *vault);
        progress.stage("reading manifests", None);
        let mut walk = snapshots::Walk {
            store,
            archive,
            vault,
            shelf,
            covered: &covered,
            live: live.map(|live| live::Comparison::new(live, standard.now)),
            second: snapshots::Second::default(),
            findings,
            checked,
        };
        let needed = walk.check(&log.snapshots).await?;
        protection::check_needed(shelf, guard, standard, vault, &needed, findings, checked);
        self.needs.extend(needed.others.iter().filter_map(|listed| listed.path.clone().ok()));
        progress.stage("reading captures", depth.read.map(|_| checked.captures - before));
        let whole = self.read(shelf, findings, checked).await?;
        Ok((log.head, whole))
    }

    /// Reads the captures that are asked for, and those of which the store lists no digest.
    async fn read(&self, shelf: &Shelf, findings: &mut Findings, checked: &mut Checked) -> Result<bool> {
        let asked = |path: &str| self.depth.read.is_some_and(|subset| subset.contains(path));
        let mut skipped = 0;
        let strays = shelf.strays.iter().filter_map(|(path, stray)| {
            let listed = stray.listed.as_ref().filter(|listed| listed.md5.is_none() || asked(path.as_str()))?;
            Some(Wanted {
                path: path.to_string(),
                version: listed.version.clone(),
                size: listed.size,
                sha256: stray.sha256,
                kid: stray.kid.clone(),
                open: asked(path.as_str()),
            })
        });
        let locked = |protection: store::Protection| {
            let running = protection.until.is_some_and(|until| until > self.standard.now);
            protection.legal_hold || (protection.mode == Mode::Locked && running)
        };
        let wanted = shelf.captures.wanted(|path, protection, covered| {
            let skip = asked(path) && covered && locked(protection);
            skipped += u64::from(skip);
            asked(path) && !skip
        });
        let open = self.depth.open.filter(|_| self.depth.read.is_some());
        let wanted = Box::new(wanted.chain(strays));
        let whole = reading::read(self.store, wanted, open, self.progress, findings, checked).await?;
        checked.skipped += skipped;
        Ok(whole)
    }
}

/// Vaults that the archive should hold something of, and does not.
fn missing_vaults(inventory: &Inventory, standard: &Standard, depth: &Depth<'_>, findings: &mut Findings) {
    for vault in standard.vaults.iter().filter(|vault| !inventory.shelves.contains_key(vault)) {
        findings.add(Code::NoSnapshot, vault.host(), "the settings name it, and the archive holds nothing of it");
    }
    if inventory.shelves.is_empty() && standard.vaults.is_empty() {
        findings.add(Code::NoSnapshot, "", "the archive holds no vault's log");
    }
    for (host, head) in depth.since.iter().flat_map(|since| &since.heads) {
        let vault = VaultUri::parse(&format!("https://{host}"));
        if let Some(vault) = vault.filter(|vault| !inventory.shelves.contains_key(vault)) {
            log::check_length(&vault, head, 0, findings);
        }
    }
}

/// Refuses a report of another archive: nothing in it would mean anything here. The day of an archive's birth is in no
/// log: only a report remembers it.
fn same_archive(archive: &Archive, sha256: Digest, depth: &Depth<'_>, findings: &mut Findings) -> Result<()> {
    match depth.since {
        Some(since) if since.archive_id != archive.archive_id => Err(Error::new(
            Kind::Usage,
            format!("the earlier report is of archive {}, and this is {}", since.archive_id, archive.archive_id),
        )
        .hint("is this the right container or directory? Without --since-report everything is read")),
        Some(since) if since.archive_sha256 != sha256 => {
            let detail = "an earlier report saw another one, of the same archive";
            findings.add(Code::ArchiveChanged, paths::archive()?.as_str(), detail);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `archive.json` and its digest, if it is there and can be read.
async fn read_archive(
    store: &dyn store::Read,
    inventory: &Inventory,
    findings: &mut Findings,
) -> Result<Option<(Archive, Digest)>> {
    let path = paths::archive()?;
    let Some(file) = &inventory.archive else {
        if !inventory.shelves.is_empty() {
            findings.add(Code::ArchiveMalformed, path.as_str(), "it is gone, and the files of an archive are there");
            return Ok(None);
        }
        let hint = "`akv-archiver init` creates an archive; is this the right container or directory?";
        return Err(
            Error::new(crate::error::Kind::NotFound, format!("there is no {path} in {}", store.describe())).hint(hint)
        );
    };
    let bytes = match store.get(&path, file.version.as_deref(), ARCHIVE_MAX).await {
        Ok(bytes) => bytes,
        Err(error) if error.condition == store::Condition::TooLarge => {
            findings.add(Code::ArchiveMalformed, path.as_str(), "it is larger than any such file may be");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    match Archive::decode(&bytes) {
        Ok(archive) => Ok(Some((archive, Digest::of(&bytes)))),
        Err(error) => {
            findings.add(Code::ArchiveMalformed, path.as_str(), error.to_string());
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
