//! Is the archive fresh, whole enough and protected: one line for each vault. Needs nothing but the store and the pinned
//! keys, so that whoever asks can be somebody else than the job that is asked about. Writes nothing.
//!
//! `verify` proves everything; this looks at the newest end of each log, and is meant to be asked often.

mod inventory;
mod judge;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::Serialize;

use crate::archive::{Reader, Sequences, latest_snapshot};
use crate::error::{Error, Kind, Result};
use crate::format::entry::{Event, SnapshotRef};
use crate::format::manifest::{CaptureRef, Header, Status};
use crate::format::paths;
use crate::model::{StorePath, VaultUri};
use crate::store::{self, Protection};
use inventory::Inventory;
pub use judge::{Found, Rule, Shelter, Source, Verdict, judge, since};

/// Vaults looked at at the same time.
const IN_FLIGHT: usize = 8;

/// Partial snapshots in a row behind which a complete one is looked for: more than a year of nights.
const WALK_MAX: usize = 400;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// One listing of the store: which vaults there are beside those that are named, which files, and how they are
    /// protected now.
    Listing,
    /// The logs and manifests of the named vaults only: what was promised when files were stored.
    Promises,
}

/// Where every vault stands. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The worst verdict among the expected vaults; tampering counts wherever it is.
    pub status: Verdict,
    /// When it was asked; whole seconds.
    pub checked: DateTime<Utc>,
    /// The vaults, the worst first, then by host.
    pub vaults: Vec<Standing>,
}

/// Where one vault stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// Its address.
    pub vault: VaultUri,
    /// What the settings, or else Azure, call it.
    pub name: String,
    /// The verdict.
    pub status: Verdict,
    /// Whether the settings name it.
    pub named: bool,
    /// Whether the verdict counts for the exit code.
    pub expected: bool,
    /// Its newest snapshot.
    pub newest: Option<Snapshot>,
    /// The snapshot before that.
    pub previous: Option<Snapshot>,
    /// Its newest complete snapshot.
    pub complete: Option<Snapshot>,
    /// How old that is.
    pub age_seconds: Option<i64>,
    /// How old it may be.
    pub max_age_seconds: i64,
    /// Entries in its log.
    pub entries: u64,
    /// How the files that the newest snapshot needs are protected.
    pub protection: Option<Shelter>,
    /// Why the verdict is not better, the worst first.
    pub reasons: Vec<String>,
    /// Why nothing could be read, for the exit code.
    #[serde(skip)]
    pub failure: Option<Kind>,
}

/// A snapshot, as its log entry tells of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// Its number in the log.
    pub sequence: u64,
    /// When the run began.
    pub started: DateTime<Utc>,
    /// Whether it covers everything it saw.
    pub status: Status,
    /// Live objects.
    pub seen: u64,
    /// Taken in that run.
    pub captured: u64,
    /// Unchanged, the earlier capture still good.
    pub reused: u64,
    /// Not taken.
    pub gaps: u64,
    /// Left out by the policy.
    pub excluded: u64,
    /// Soft-deleted objects.
    pub deleted: u64,
}

impl From<&SnapshotRef> for Snapshot {
    fn from(snapshot: &SnapshotRef) -> Self {
        let counts = snapshot.counts;
        Snapshot {
            sequence: snapshot.sequence,
            started: snapshot.started,
            status: snapshot.status,
            seen: counts.seen,
            captured: counts.captured,
            reused: counts.reused,
            gaps: counts.gaps,
            excluded: counts.excluded,
            deleted: counts.deleted,
        }
    }
}

impl Report {
    /// Why the program should not end with 0: tampering first, then what is stale or at risk, then what could not be
    /// read. A partial snapshot is no reason while an earlier one is complete and young enough, nor is one that saw fewer
    /// objects. An archive of no vault at all was never written to.
    pub fn kind(&self) -> Option<Kind> {
        let expected = || self.vaults.iter().filter(|vault| vault.expected);
        let any = |verdicts: &[Verdict]| expected().any(|vault| verdicts.contains(&vault.status));
        if self.vaults.iter().any(|vault| vault.status == Verdict::Tampered) {
            return Some(Kind::Tampered);
        }
        match self.vaults.is_empty() || any(&[Verdict::Never, Verdict::Stale, Verdict::AtRisk]) {
            true => Some(Kind::Noncompliant),
            false => expected().find_map(|vault| vault.failure),
        }
    }
}

/// Looks where the vaults stand: the `named` ones, and at [`Depth::Listing`] those that the archive holds beside them.
/// `rule` says what each is held to.
///
/// # Errors
/// Where the store cannot be listed, or `rule` fails. What is wrong with one vault is its verdict, and hides no other.
pub async fn status(
    store: &dyn store::Read,
    reader: &Reader<'_>,
    named: &[VaultUri],
    depth: Depth,
    rule: impl Fn(&VaultUri) -> Result<Rule>,
    now: DateTime<Utc>,
) -> Result<Report> {
    let inventory = match depth {
        Depth::Listing => Some(Inventory::read(store).await?),
        Depth::Promises => None,
    };
    let inventory = inventory.as_ref();
    let mut vaults: BTreeSet<&VaultUri> = named.iter().collect();
    vaults.extend(inventory.iter().flat_map(|inventory| inventory.logs.keys()));
    let mut looks = Vec::with_capacity(vaults.len());
    for vault in vaults {
        let rule = rule(vault)?;
        looks.push(async move { stand(reader, vault, rule, inventory, now).await });
    }
    let mut vaults: Vec<Standing> = futures::stream::iter(looks).buffered(IN_FLIGHT).collect().await;
    vaults.sort_by_key(|vault| vault.status);
    let counts = |vault: &&Standing| vault.expected || vault.status == Verdict::Tampered;
    let none = if vaults.is_empty() { Verdict::Never } else { Verdict::Ok };
    let status = vaults.iter().filter(counts).map(|vault| vault.status).min().unwrap_or(none);
    let checked = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
    Ok(Report { status, checked, vaults })
}

/// Looks at one vault and judges.
async fn stand(
    reader: &Reader<'_>,
    vault: &VaultUri,
    rule: Rule,
    inventory: Option<&Inventory>,
    now: DateTime<Utc>,
) -> Standing {
    let mut look = Look::default();
    let outcome = look.take(reader, vault, inventory).await;
    let (mut status, mut reasons) = match (&outcome, &look.found.newest) {
        // Where nothing was read, nothing is known of what was committed.
        (Err(_), None) => (Verdict::Ok, Vec::new()),
        _ => judge(&look.found, &rule, now),
    };
    if let Err(error) = &outcome {
        status = status.min(match error.kind() {
            Kind::Tampered => Verdict::Tampered,
            _ => Verdict::Unreadable,
        });
        reasons.insert(0, error.to_string());
    }
    let Found { newest, previous, complete, shelter, .. } = look.found;
    Standing {
        vault: vault.clone(),
        name: rule.name,
        status,
        named: rule.named,
        expected: rule.expected,
        age_seconds: complete.as_ref().map(|snapshot| (now - snapshot.started).num_seconds().max(0)),
        newest: newest.as_ref().map(Snapshot::from),
        previous: previous.as_ref().map(Snapshot::from),
        complete: complete.as_ref().map(Snapshot::from),
        max_age_seconds: rule.max_age.num_seconds(),
        entries: look.entries,
        protection: shelter,
        reasons,
        failure: outcome.err().map(|error| error.kind()),
    }
}

/// What was seen of a vault, up to where a look at it ended.
#[derive(Default)]
struct Look {
    found: Found,
    entries: u64,
}

impl Look {
    async fn take(&mut self, reader: &Reader<'_>, vault: &VaultUri, inventory: Option<&Inventory>) -> Result<()> {
        let listed;
        let sequences = match inventory {
            Some(inventory) => inventory.logs.get(vault),
            None => {
                listed = reader.sequences(vault).await?;
                Some(&listed)
            }
        };
        let Some((sequences, head)) = sequences.and_then(|all| Some((all, *all.last_key_value()?.0))) else {
            return Ok(());
        };
        self.entries = sequences.len() as u64;
        self.found.records_until = inventory.and_then(|inventory| inventory.records(vault));
        self.walk(reader, vault, sequences, head).await?;
        if self.entries != head {
            let missing = head - self.entries;
            return Err(tampered(format!("{missing} of {head} entries are missing from the log of {}", vault.host())));
        }
        if let Some(newest) = &self.found.newest {
            let mut shelter = Shelter::new(if inventory.is_some() { Source::Listing } else { Source::Manifest });
            let outcome = shelter_of(reader, newest, inventory, &mut shelter).await;
            if outcome.is_ok() {
                self.found.shelter = Some(shelter);
            }
            outcome?;
        }
        Ok(())
    }

    /// Finds the newest snapshot from the head, and the newest complete one behind it: each entry names the snapshot
    /// before it, so partial ones cost one request each, and nothing else in the log is read. Of the newest, its own entry
    /// is read: it names the one before.
    async fn walk(&mut self, reader: &Reader<'_>, vault: &VaultUri, sequences: &Sequences, head: u64) -> Result<()> {
        let read = async |sequence: u64| {
            let version = sequences
                .get(&sequence)
                .ok_or_else(|| tampered(format!("entry {sequence} is missing from the log of {}", vault.host())))?;
            reader.log_file(vault, sequence, version.as_deref()).await
        };
        let mut at = head;
        let mut file = read(head).await?;
        let Some(mut snapshot) = latest_snapshot(&file).cloned() else { return Ok(()) };
        self.found.newest = Some(snapshot.clone());
        for steps in 0..WALK_MAX {
            if snapshot.status == Status::Complete {
                self.found.complete = Some(snapshot.clone());
                if steps > 0 {
                    return Ok(());
                }
            }
            if snapshot.sequence != at {
                // Entries point backwards; one that does not would lead in a circle.
                if snapshot.sequence > at {
                    return Err(tampered(format!("{} names a snapshot that comes after it", paths::log(vault, at)?)));
                }
                at = snapshot.sequence;
                file = read(at).await?;
                if !matches!(&file.entry().event, Event::Snapshot(found) if *found == snapshot) {
                    return Err(tampered(format!(
                        "{} is not the snapshot that later entries say",
                        paths::log(vault, at)?
                    )));
                }
            }
            let Some(earlier) = file.entry().latest_snapshot.clone() else { return Ok(()) };
            if earlier.sequence >= at {
                return Err(tampered(format!("{} names itself as the earlier snapshot", paths::log(vault, at)?)));
            }
            if steps == 0 {
                self.found.previous = Some(earlier.clone());
            }
            if self.found.complete.is_some() {
                return Ok(());
            }
            snapshot = earlier;
        }
        Ok(())
    }
}

/// Adds up how the files that a snapshot needs are protected.
async fn shelter_of(
    reader: &Reader<'_>,
    snapshot: &SnapshotRef,
    inventory: Option<&Inventory>,
    shelter: &mut Shelter,
) -> Result<()> {
    let of = |path: &StorePath, promised: Option<&CaptureRef>| match (inventory, promised) {
        (Some(inventory), _) => Some(inventory.protection(path)),
        (None, Some(capture)) => {
            let CaptureRef { mode, protected_until, .. } = capture;
            Some(Some(Protection { mode: *mode, until: *protected_until, legal_hold: false }))
        }
        // Nobody wrote down how manifests are protected.
        (None, None) => None,
    };
    if let Some(protection) = of(&snapshot.manifest, None) {
        shelter.add(protection);
    }
    let each = |_: &Header, line: crate::format::manifest::Line| {
        let protection = line.capture.as_ref().and_then(|capture| of(&capture.path, Some(capture)));
        if let Some(protection) = protection {
            shelter.add(protection);
        }
        Ok(())
    };
    let header = reader.manifest_lines(snapshot, each).await?;
    let settings = header.settings.as_ref().and_then(|settings| of(&settings.path, Some(settings)));
    if let Some(protection) = settings {
        shelter.add(protection);
    }
    Ok(())
}

fn tampered(message: String) -> Error {
    Error::new(Kind::Tampered, message).hint("`akv-archiver verify` tells what else does not hold")
}

#[cfg(test)]
mod tests;
