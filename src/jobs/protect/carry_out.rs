//! Carrying out what was planned: first an entry in the log of each vault that is affected, then version by version, or
//! (`whole`) the store as a whole. What fails is told and holds up nothing else; running again finds what is left, and leaves alone what is done.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::Serialize;

use super::plan::{Plan, Version};
use super::whole::{self, Turn};
use crate::ambient::Ambient;
use crate::archive::{Appender, Reader, oldest_of};
use crate::error::{Context, Error, Kind, Result};
use crate::format::entry::{Class, Event, Protect, ProtectAction, list};
use crate::format::paths;
use crate::model::{Digest, StorePath, VaultUri};
use crate::progress::{Progress, Stop};
use crate::store;
use crate::tlog::Signer;

/// Versions that are changed at the same time.
const IN_FLIGHT: usize = 16;

/// Failures that are told one by one.
const TOLD: usize = 1_000;

/// What carrying out works with.
pub struct Hands<'a> {
    /// The archive's store, for the log.
    pub store: &'a dyn store::Append,
    /// The same store, for whoever may change protection.
    pub keeper: &'a dyn store::Protect,
    /// The archive.
    pub reader: &'a Reader<'a>,
    /// The key that signs the log.
    pub signer: &'a Signer,
    /// Time.
    pub ambient: &'a Ambient,
    /// Who is doing this, as told.
    pub operator: &'a str,
    /// Who listens.
    pub progress: &'a dyn Progress,
    /// Who may ask to stop.
    pub stop: &'a Stop,
}

/// An entry that tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// Whose log.
    pub vault: VaultUri,
    /// The entry's number.
    pub sequence: u64,
    /// Versions that it speaks of.
    pub versions: u64,
    /// The digest of their list.
    pub sha256: Digest,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The entries.
    pub entries: Vec<Recorded>,
    /// Versions that were changed, the entries' own files among them.
    pub changed: u64,
    /// Versions that could not be changed.
    pub failed: u64,
    /// Versions that were not tried, since somebody asked to stop, or the right is missing.
    pub not_tried: u64,
    /// What failed, a thousand at most.
    pub failures: Vec<Failure>,
    /// Whether somebody asked to stop.
    pub interrupted: bool,
}

/// A version that could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its path.
    pub path: StorePath,
    /// Its version id.
    pub version: Option<String>,
    /// Why.
    pub error: String,
}

/// Carries a plan out. A plan of nothing leaves no trace.
///
/// # Errors
/// Where the log cannot be written, where nothing at all could be changed for want of a permission, and where the store as
/// a whole could not be changed or is not as it was planned for.
pub async fn carry_out(hands: &Hands<'_>, plan: &Plan) -> Result<Carried> {
    let mut carried = Carried::default();
    if plan.versions.is_empty() {
        return Ok(carried);
    }
    if let Some(turn) = &plan.turn {
        whole::insist(hands.keeper, turn).await?;
    }
    carried.entries = record(hands, plan).await.context("nothing was changed")?;
    match &plan.turn {
        // The entries' own files need nothing: the policy is theirs from their creation.
        Some(turn) => whole::carry(hands, plan, turn, &mut carried).await?,
        None => each_version(hands, plan, &mut carried).await?,
    }
    Ok(carried)
}

async fn each_version(hands: &Hands<'_>, plan: &Plan, carried: &mut Carried) -> Result<()> {
    let own = own_files(hands, plan, &carried.entries).await?;
    let total = plan.versions.len() as u64 + own.len() as u64;
    hands.progress.stage("protecting", Some(total));
    let mut waiting = plan.versions.iter().chain(&own);
    let mut running = FuturesUnordered::new();
    let mut denied: Option<store::Error> = None;
    loop {
        // Who may not change one may change none: a million requests would only say so a million times.
        while running.len() < IN_FLIGHT && denied.is_none() && hands.stop.asked().is_none() {
            let Some(version) = waiting.next() else { break };
            running.push(change(hands.keeper, plan, version));
        }
        let Some((version, outcome)) = running.next().await else { break };
        hands.progress.step();
        let Err(error) = outcome else {
            carried.changed += 1;
            continue;
        };
        carried.failed += 1;
        if carried.failures.len() < TOLD {
            let (path, version) = (version.path.clone(), version.version.clone());
            carried.failures.push(Failure { path, version, error: error.to_string() });
        }
        if error.condition == store::Condition::Denied {
            denied = Some(error);
        }
    }
    if let (Some(denied), 0) = (&denied, carried.changed) {
        return Err(
            Error::from(denied.clone()).context("nothing was changed, and the log tells that it was about to be")
        );
    }
    carried.not_tried = total - carried.changed - carried.failed;
    carried.interrupted = hands.stop.asked().is_some() && carried.not_tried > 0 && denied.is_none();
    carried.failures.sort_by(|a, b| a.path.cmp(&b.path).then_with(|| a.version.cmp(&b.version)));
    Ok(())
}

async fn change<'p>(
    keeper: &dyn store::Protect,
    plan: &Plan,
    version: &'p Version,
) -> (&'p Version, Result<(), store::Error>) {
    let (path, id) = (&version.path, version.version.as_deref());
    let outcome = match (plan.want.action, plan.want.until) {
        (ProtectAction::Extend, Some(until)) => keeper.extend(path, id, until, plan.want.lock).await.map(drop),
        (ProtectAction::Extend, None) => Ok(()),
        (ProtectAction::Hold, _) => keeper.hold(path, id, true).await,
        (ProtectAction::Release, _) => keeper.hold(path, id, false).await,
    };
    (version, outcome)
}

/// Commits an entry to the log of each vault of which a version would be changed. `archive.json` is every vault's: it is
/// in each of these entries, and where nothing else would be changed, every log tells of it.
async fn record(hands: &Hands<'_>, plan: &Plan) -> Result<Vec<Recorded>> {
    let affected: BTreeSet<usize> = plan.versions.iter().filter_map(|version| version.vault).collect();
    let affected = if affected.is_empty() { (0..plan.vaults.len()).collect() } else { affected };
    if affected.is_empty() {
        return Err(Error::new(Kind::Refused, "the archive has no log yet, and what is done here must be recorded")
            .hint("take a snapshot first"));
    }
    let mut recorded = Vec::new();
    for (index, vault) in plan.vaults.iter().enumerate().filter(|(index, _)| affected.contains(index)) {
        let (classes, versions, sha256) = told(plan, index);
        let event = Protect {
            action: plan.want.action,
            until: plan.want.until,
            lock: plan.want.lock,
            classes,
            container: plan.turn.as_ref().map(Turn::told),
            paths: plan.want.paths.clone(),
            reason: plan.want.reason.clone(),
            operator: hands.operator.to_owned(),
            versions,
            sha256,
        };
        let appender = Appender::new(hands.store, hands.reader, hands.signer, vault, hands.ambient);
        let sequence = appender.commit(|_, _| Ok(Event::Protect(event.clone()))).await?;
        recorded.push(Recorded { vault: vault.clone(), sequence, versions, sha256 });
    }
    Ok(recorded)
}

/// What the log of one vault tells of: the classes, the number and the digest of its versions and those of `archive.json`.
fn told(plan: &Plan, vault: usize) -> (Vec<Class>, u64, Digest) {
    let ours: Vec<&Version> =
        plan.versions.iter().filter(|version| version.vault.is_none_or(|of| of == vault)).collect();
    let classes: BTreeSet<Class> = ours.iter().map(|version| version.class).collect();
    let list = list(ours.iter().map(|version| (&version.path, version.version.as_deref())));
    (classes.into_iter().collect(), ours.len() as u64, Digest::of(list.as_bytes()))
}

/// The files of these entries, which were not there when the plan was made. They are protected like the log that they are
/// part of; else the next run would find them short, write of that, and never come to an end.
async fn own_files(hands: &Hands<'_>, plan: &Plan, entries: &[Recorded]) -> Result<Vec<Version>> {
    let mut own = Vec::new();
    for entry in entries.iter().filter(|_| plan.want.action != ProtectAction::Release) {
        let path = paths::log(&entry.vault, entry.sequence)?;
        let listed = oldest_of(hands.store, &path).await.context("couldn't look at the entry that was just written")?;
        let Some(listed) = listed else { continue };
        let vault = plan.vaults.iter().position(|vault| *vault == entry.vault);
        if plan.want.outcome(listed.protection) != listed.protection {
            own.push(Version { vault, class: Class::Log, path, version: listed.version });
        }
    }
    Ok(own)
}
