//! A snapshot: one run over one vault. Sweep, plan, take, seal, store, read back, commit.
//!
//! It holds a vault *reader*, an archive *appender*, age *recipients* and a log signer: it can neither change the vault
//! nor read what it wrote.

mod report;
mod take;

use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use report::{Objects, Outcome, Report, ReportedGap, gap_codes};

use super::protection::{Demand, Written, insist, read_back, take_stock};
use crate::ambient::Ambient;
use crate::archive::{Appender, Reader, latest_snapshot, md5};
use crate::capture::{self, Policy, Sweep};
use crate::error::{Context, Kind, Result};
use crate::format::entry::{Event, LogFile, SnapshotRef};
use crate::format::manifest::{self, Counts, Gap, Header, Line, Manifest, Status};
use crate::format::paths;
use crate::model::{Digest, Object, VaultFacts};
use crate::progress::{Progress, Stop};
use crate::seal::Recipients;
use crate::store::{self, Guard};
use crate::tlog::Signer;
use crate::vault;
use take::{LineOf, line, secure, take_all};

/// What a snapshot works with.
pub struct Doors<'a> {
    /// The vault, for reading.
    pub vault: &'a dyn vault::Read,
    /// The management plane, where there is one to ask.
    pub facts: Option<&'a dyn vault::Facts>,
    /// The archive's store.
    pub store: &'a dyn store::Append,
    /// The archive in it, opened.
    pub reader: &'a Reader<'a>,
    /// Who can open the captures.
    pub recipients: &'a Arc<Recipients>,
    /// The key that signs the log.
    pub signer: &'a Signer,
    /// Time and chance.
    pub ambient: &'a Ambient,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// Who may ask to stop.
    pub stop: &'a Stop,
}

/// How to take it.
#[derive(Clone, Debug)]
pub struct Order {
    /// When to take an unchanged object again.
    pub policy: Policy,
    /// Digest of the policy's text.
    pub policy_sha256: Digest,
    /// Compare the versions of unchanged objects too.
    pub full: bool,
    /// Objects taken at the same time, at least 1.
    pub in_flight: usize,
    /// Whether the store must be write-once.
    pub worm: Demand,
}

/// Takes a snapshot of one vault and commits it.
pub async fn snapshot(doors: &Doors<'_>, order: &Order) -> Result<Report> {
    let started = doors.ambient.now();
    let vault = doors.vault.uri();
    let guard = doors.store.guard().await.context("couldn't tell how the archive is protected")?;
    insist(doors.store, &guard, order.worm)?;
    let head = doors.reader.head(vault).await?;
    let (mut previous, damage) = read_previous(doors, head.as_ref()).await?;
    let struck = match &mut previous {
        Some(manifest) => take_stock(doors.store, &guard, manifest, &paths::captures_prefix(vault)).await?,
        None => 0,
    };
    let (facts, mut vault_gaps) = ask_facts(doors).await;
    let damaged = damage.as_ref().map(|gap| gap.detail.clone());
    vault_gaps.extend(damage);

    doors.progress.stage("listing", None);
    let mut sweep = capture::sweep(doors.vault).await.context(format!("couldn't list {}", doors.vault.uri()))?;
    vault_gaps.append(&mut sweep.gaps);
    let plan = capture::plan(&sweep, previous.as_ref(), &order.policy, order.full, started);

    doors.progress.stage("taking", Some(plan.tasks.len() as u64));
    let full = plan.full;
    let mut taken = take_all(doors, order, &sweep, plan).await?;
    taken.warnings.extend(damaged);
    if struck > 0 {
        taken.warnings.push(format!(
            "{struck} captures of the previous snapshot are gone or hold other bytes, and were taken again where they could be: run `akv-archiver verify`"
        ));
    }
    secure(doors, &guard, order.worm, &mut taken).await?;

    let full_at = if full && !taken.interrupted { Some(started) } else { previous.and_then(|m| m.header.full_at) };
    let sequence = head.map_or(0, |head| head.entry().sequence) + 1;
    let manifest = assemble(doors, order, sweep, taken.lines, facts, vault_gaps, Moment { sequence, started, full_at });
    let committed = commit(doors, &guard, order.worm, &manifest).await?;
    Ok(report(doors, &manifest, committed, started, taken.interrupted, taken.warnings))
}

/// The newest manifest, whose captures may be reused.
///
/// One that is damaged or gone is a gap and no reason to stop: everything is taken anew, for a job that stops taking
/// snapshots loses what comes after. It hides nothing: the head of the log holds, or we would not be here; the log goes
/// on naming the manifest, and `verify` finds the damage for as long as the archive lives.
async fn read_previous(doors: &Doors<'_>, head: Option<&LogFile>) -> Result<(Option<Manifest>, Option<Gap>)> {
    let Some(snapshot) = head.and_then(latest_snapshot) else { return Ok((None, None)) };
    match doors.reader.manifest(snapshot).await {
        Ok(manifest) => Ok((Some(manifest), None)),
        Err(error) if error.kind() == Kind::Tampered => {
            let detail = format!("the previous manifest does not hold, so everything was taken again: {error}");
            Ok((None, Some(Gap { code: "previous-manifest".into(), detail })))
        }
        Err(error) => Err(error.context("couldn't read the previous manifest")),
    }
}

async fn ask_facts(doors: &Doors<'_>) -> (Option<VaultFacts>, Vec<Gap>) {
    let Some(door) = doors.facts else { return (None, Vec::new()) };
    match door.facts(doors.vault.uri()).await {
        Ok(facts) => (Some(facts), Vec::new()),
        Err(error) => {
            (None, vec![Gap { code: format!("vault-facts-{}", error.condition.name()), detail: error.to_string() }])
        }
    }
}

struct Moment {
    sequence: u64,
    started: DateTime<Utc>,
    full_at: Option<DateTime<Utc>>,
}

fn assemble(
    doors: &Doors<'_>,
    order: &Order,
    sweep: Sweep,
    mut lines: Vec<Line>,
    facts: Option<VaultFacts>,
    gaps: Vec<Gap>,
    moment: Moment,
) -> Manifest {
    let deleted = sweep.deleted.iter().map(|(object, swept)| line(doors.ambient, object, swept, LineOf::Deleted));
    lines.extend(deleted);
    lines.sort_by(|a, b| Line::order(a).cmp(&Line::order(b)));
    let counts = Counts::of(&lines);
    let blind = gaps.iter().any(|gap| gap.code.starts_with("list-") || gap.code == "malformed-item");
    let status = if counts.gaps > 0 || blind { Status::Partial } else { Status::Complete };
    let header = Header {
        format: manifest::FORMAT.into(),
        archive_id: doors.reader.archive().archive_id,
        sequence: moment.sequence,
        vault: doors.vault.uri().clone(),
        facts,
        started: moment.started,
        finished: doors.ambient.now(),
        tool: super::TOOL.into(),
        status,
        full_at: moment.full_at,
        policy_sha256: order.policy_sha256,
        counts,
        gaps,
    };
    Manifest { header, lines }
}

async fn commit(doors: &Doors<'_>, guard: &Guard, demand: Demand, manifest: &Manifest) -> Result<u64> {
    doors.progress.stage("committing", None);
    let vault = doors.vault.uri();
    let encoded = manifest.encode().context("couldn't write the manifest")?;
    let path = paths::manifest(vault, manifest.header.sequence, encoded.sha256)?;
    let appender = Appender::new(doors.store, doors.reader, doors.signer, vault, doors.ambient);
    let size = encoded.bytes.len() as u64;
    let digest = md5(&encoded.bytes);
    let created = appender.create(&path, encoded.bytes.into()).await.context("couldn't store the manifest")?;
    let written = [Written { path: path.clone(), version: created.version.clone(), size, md5: digest }];
    read_back(doors.store, guard, demand, &written, path.as_str()).await?;
    let snapshot = SnapshotRef {
        sequence: 0,
        manifest: path,
        version: created.version,
        sha256: encoded.sha256,
        size,
        root: encoded.root,
        lines: encoded.lines,
        status: manifest.header.status,
        counts: manifest.header.counts,
        started: manifest.header.started,
    };
    appender.commit(|_, sequence| Ok(Event::Snapshot(SnapshotRef { sequence, ..snapshot.clone() }))).await
}

fn report(
    doors: &Doors<'_>,
    manifest: &Manifest,
    sequence: u64,
    started: DateTime<Utc>,
    interrupted: bool,
    warnings: Vec<String>,
) -> Report {
    let header = &manifest.header;
    let of_objects = manifest.lines.iter().filter_map(|line| {
        let gap = line.gap.as_ref()?;
        let object = Object::new(line.kind, line.name.clone()).to_string();
        Some(ReportedGap { object: Some(object), code: gap.code.clone(), detail: gap.detail.clone() })
    });
    let of_vault =
        header.gaps.iter().map(|gap| ReportedGap { object: None, code: gap.code.clone(), detail: gap.detail.clone() });
    let traffic = doors.vault.traffic();
    let Counts { seen, captured, reused, gaps, .. } = header.counts;
    let milliseconds = (doors.ambient.now() - started).num_milliseconds().max(0);
    Report {
        vault: doors.vault.uri().to_string(),
        status: match header.status {
            Status::Complete => Outcome::Complete,
            Status::Partial => Outcome::Partial,
        },
        sequence: Some(sequence),
        objects: Objects { seen, captured, reused, gaps },
        gaps: of_vault.chain(of_objects).collect(),
        requests: traffic.requests,
        throttled: traffic.throttled,
        seconds: milliseconds as f64 / 1000.0,
        warnings,
        interrupted,
        error: None,
        hint: None,
        kind: None,
    }
}

#[cfg(test)]
mod tests;
