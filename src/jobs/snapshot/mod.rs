//! A snapshot: one run over one vault. Take stock of what the archive has, read the lists, take what changed, seal it,
//! store it, read it back, commit.
//!
//! It holds a vault *reader*, an archive *appender*, age *recipients* and a log signer: it can neither change the vault
//! nor read what it wrote.

mod book;
mod commit;
mod kept;
mod report;
mod run;
mod settings;
mod stock;
mod take;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use crate::capture::Effort;
pub use commit::Rhythm;
pub use report::{Objects, Outcome, Report, ReportedGap, gap_codes};

use super::promises;
use super::protection::{Demand, insist};
use crate::ambient::{Ambient, within};
use crate::archive::Reader;
use crate::capture::Renewal;
use crate::error::{Context, Error, Kind, Result};
use crate::format::manifest::{self, Counts, Header, Status};
use crate::policy::Policy;
use crate::progress::{Progress, Stop};
use crate::seal::Recipients;
use crate::store;
use crate::tlog::Signer;
use crate::vault;
use run::Run;
use stock::{Stock, take_stock};

/// Some three thousand items: enough that nobody waits for a list, and two megabytes at most, all told.
pub const AHEAD: usize = 1 << 20;

/// How long the last commit of a run may take that was asked to stop. A manifest of the largest vault on a slow line takes
/// minutes.
const LAST_COMMIT: Duration = Duration::from_secs(900);

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
    /// What is taken, how often, and what the archive must promise.
    pub policy: Arc<Policy>,
    /// When to take an unchanged object again, where no rule of the policy says otherwise.
    pub renewal: Renewal,
    /// What is done beyond the policy.
    pub effort: Effort,
    /// Objects taken at the same time, at least 1.
    pub in_flight: usize,
    /// How much of the lists may be read ahead of the objects' turns, in bytes of items; [`AHEAD`] is plenty.
    pub ahead: usize,
    /// Whether the store must be write-once.
    pub worm: Demand,
    /// How often to commit before the end.
    pub rhythm: Rhythm,
}

/// Takes a snapshot of one vault and commits it.
///
/// A request to stop is heard at any moment: what was taken until then is committed, and the next run goes on from there.
/// Where nothing was taken yet, nothing is committed, and the vault counts as skipped.
pub async fn snapshot(doors: &Doors<'_>, order: &Order) -> Result<Report> {
    let begun = tokio::select! {
        biased;
        begun = begin(doors, order) => Some(begun?),
        _ = doors.stop.wait() => None,
    };
    let Some(mut run) = begun else { return Ok(Report::stopped(doors.vault.uri())) };
    run.all().await?;
    if run.halted.is_some() && run.gained == 0 {
        // What was there before says more than what we would write now.
        return Ok(Report::stopped(doors.vault.uri()));
    }
    finish(&mut run, LAST_COMMIT).await?;
    Ok(report(run))
}

/// Commits for the last time. A run that was asked to stop does so within `limit`: whoever asked will not wait for a disk
/// that hangs, and a commit may be cut off anywhere.
async fn finish(run: &mut Run<'_>, limit: Duration) -> Result<()> {
    let stopped = run.halted.is_some();
    let committing = commit::commit(run);
    if !stopped {
        return committing.await;
    }
    let late = || {
        let message =
            format!("what was taken could not be committed within {} minutes of the stop", limit.as_secs() / 60);
        Error::new(Kind::Unavailable, message).hint("does the store answer? the next run takes it again")
    };
    within(limit, committing).await.unwrap_or_else(|| Err(late()))
}

/// Looks at the archive and at the vault as a whole; takes nothing yet.
async fn begin<'a>(doors: &'a Doors<'a>, order: &'a Order) -> Result<Run<'a>> {
    let started = doors.ambient.now();
    let guard = doors.store.guard().await.context("couldn't tell how the archive is protected")?;
    insist(doors.store, &guard, order.worm)?;
    promises::lock(&order.policy, &doors.store.describe(), &guard)?;
    doors.progress.stage("taking stock", None);
    let head = doors.reader.head(doors.vault.uri()).await?;
    let Stock { book, previous, damage, struck } = take_stock(doors, &guard, head.as_ref()).await?;
    let mut warnings: Vec<String> = damage.iter().map(|gap| gap.detail.clone()).collect();
    if struck > 0 {
        warnings.push(format!(
            "{struck} captures of the previous snapshot are gone or hold other bytes, and were taken again where they could be: run `akv-archiver verify`"
        ));
    }
    let mut found = settings::find(doors, order, &guard, previous.as_ref()).await?;
    let gaps = found.gaps.drain(..).chain(damage).collect();
    let new_settings = found.new.take();
    let sequence = head.map_or(0, |head| head.entry().sequence) + 1;
    Ok(Run {
        doors,
        order,
        guard,
        started,
        book,
        header: blank(doors, order, sequence, started, found),
        new_settings,
        gaps,
        warnings,
        fresh: BTreeSet::new(),
        unlocked: 0,
        committed_at: doors.ambient.monotonic(),
        sequences: Vec::new(),
        gained: 0,
        halted: None,
        listed: false,
        unanswered: (0, Duration::ZERO),
    })
}

/// The header of a manifest that has no lines yet.
fn blank(doors: &Doors<'_>, order: &Order, sequence: u64, started: DateTime<Utc>, found: settings::Found) -> Header {
    Header {
        format: manifest::FORMAT.into(),
        archive_id: doors.reader.archive().archive_id,
        sequence,
        vault: doors.vault.uri().clone(),
        facts: found.facts,
        started,
        finished: started,
        tool: super::TOOL.into(),
        status: Status::Partial,
        policy_sha256: order.policy.sha256(),
        counts: Counts::default(),
        gaps: Vec::new(),
        settings: found.settings,
        settings_fingerprint: found.fingerprint,
    }
}

fn report(mut run: Run<'_>) -> Report {
    if run.unlocked > 0 {
        run.warnings.push(format!(
            "{} new captures are under a policy that is not locked, or whose lock may not be read",
            run.unlocked
        ));
    }
    if run.book.gave_up() {
        run.warnings.push(format!(
            "the vault stopped answering: {} objects in a row had no answer, and the rest was not asked for; run again when it answers",
            run.unanswered.0
        ));
    }
    let Run { doors, header, .. } = &run;
    let of_objects = run.book.gaps().into_iter().map(|(object, gap)| ReportedGap {
        object: Some(object.to_string()),
        code: gap.code,
        detail: gap.detail,
    });
    let of_vault =
        run.gaps.iter().map(|gap| ReportedGap { object: None, code: gap.code.clone(), detail: gap.detail.clone() });
    let traffic = doors.vault.traffic();
    let Counts { seen, captured, reused, gaps, excluded, .. } = header.counts;
    let milliseconds = (doors.ambient.now() - run.started).num_milliseconds().max(0);
    Report {
        vault: doors.vault.uri().to_string(),
        status: match header.status {
            Status::Complete => Outcome::Complete,
            Status::Partial => Outcome::Partial,
        },
        sequence: run.sequences.last().copied(),
        commits: run.sequences.len() as u64,
        objects: Objects { seen, captured, reused, gaps, excluded },
        gaps: of_vault.chain(of_objects).collect(),
        requests: traffic.requests,
        throttled: traffic.throttled,
        seconds: milliseconds as f64 / 1000.0,
        interrupted: run.halted.is_some(),
        warnings: run.warnings,
        error: None,
        hint: None,
        kind: None,
    }
}

#[cfg(test)]
mod tests;
