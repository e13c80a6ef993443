//! Planning a restore: what is in the captures, what holds the names, what the logs say of earlier restores. Changes
//! nothing, and needs nothing that could.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;

use super::choose::{Chosen, Request, choose, in_archive};
use super::claim::ledger_with;
use super::fetch;
use crate::ambient::Ambient;
use crate::archive::Reader;
use crate::error::{Error, Kind, Result};
use crate::jobs::history::{Found, Log, some_of};
use crate::model::{Atlas, Object, VaultFacts, VaultUri};
use crate::progress::Progress;
use crate::restore::decide::{self, Known, Route, Wanted};
use crate::restore::slot::slots_of;
use crate::restore::{Allowed, Ledger, Plan, Refusal, Slot, Source, observe_all};
use crate::seal::Identities;
use crate::vault;

/// Slots and captures looked at at the same time.
const IN_FLIGHT: usize = 8;

/// What planning works with. Nothing in here can change a vault or an archive.
pub struct Eyes<'a> {
    /// The archive; none where captures were brought in files, and no archive is there.
    pub reader: Option<&'a Reader<'a>>,
    /// Who opens its captures.
    pub identities: &'a Arc<Identities>,
    /// The vault that the captures came from.
    pub source: VaultUri,
    /// The target vault, for reading.
    pub target: &'a dyn vault::Read,
    /// The management plane, where there is one to ask.
    pub facts: Option<&'a dyn vault::Facts>,
    /// Vaults that may be named where the target will not do.
    pub others: &'a [VaultUri],
    /// Where regions are, for want of a management plane that tells.
    pub atlas: Atlas,
    /// Time and chance.
    pub ambient: &'a Ambient,
    /// Who listens.
    pub progress: &'a dyn Progress,
}

/// What is wanted, found and opened: the ground that a plan is made on.
#[derive(Default)]
pub(super) struct Ground {
    pub(super) wanted: Vec<Wanted>,
    pub(super) ledger: Ledger,
    /// The source vault as the newest capture's snapshot saw it.
    pub(super) source_facts: Option<VaultFacts>,
    pub(super) archive_id: Option<uuid::Uuid>,
    pub(super) whole: bool,
    pub(super) missing: Vec<Object>,
    pub(super) gone: Vec<Object>,
    pub(super) notes: Vec<String>,
}

/// Plans a restore from the archive.
pub async fn make_plan(eyes: &Eyes<'_>, request: &Request) -> Result<Plan> {
    let reader = eyes.reader.ok_or_else(|| {
        Error::usage("captures come from an archive, and there is none here")
            .hint("set `container` or `directory` in [archive], or bring captures in files with --from-file")
    })?;
    // The whole log is read, once: for the snapshots that it names, and for what it says of earlier restores.
    let log = Log::read(reader, &eyes.source).await?;
    let chosen = choose(reader, eyes.identities, &log, request, eyes.progress).await?;
    let newest = chosen.found.iter().filter(|(_, found)| found.facts.is_some()).max_by_key(|(_, it)| it.snapshot);
    let source_facts = newest.and_then(|(_, found)| found.facts.clone());
    let Chosen { found, named, missing, gone, whole, notes } = chosen;
    let mut ground = Ground { source_facts, whole, missing, gone, notes, ..Ground::default() };
    eyes.progress.stage("opening captures", Some(found.len() as u64));
    let mut opened = futures::stream::iter(found)
        .map(|(object, found)| async move {
            let wanted = open_wanted(eyes, reader, &object, found).await;
            eyes.progress.step();
            (object, wanted)
        })
        .buffered(IN_FLIGHT);
    while let Some((object, wanted)) = opened.next().await {
        match wanted {
            Ok(wanted) => ground.wanted.push(wanted),
            // One damaged file among many must not keep the others from coming back.
            Err(error) if error.kind() == Kind::Tampered && !named.contains(&object) => {
                ground
                    .notes
                    .push(format!("{object} is left out: {error}; `akv-archiver history {object}` shows others"));
                ground.missing.push(object);
            }
            Err(error) => return Err(error),
        }
    }
    drop(opened);
    ground.archive_id = Some(reader.archive().archive_id);
    ground.ledger = ledger(reader, &log, &ground.wanted, &mut ground.notes).await?;
    finish(eyes, ground, request.allowed.clone()).await
}

/// What a capture holds. Its blob is dropped at once: a vault's worth of them would not fit into memory.
async fn open_wanted(eyes: &Eyes<'_>, reader: &Reader<'_>, object: &Object, found: Found) -> Result<Wanted> {
    let from = in_archive(found.snapshot, &found.capture);
    let capture = fetch(Some(reader), eyes.identities, &eyes.source, object, &from).await?;
    Ok(Wanted { source: Source::of(&capture), from })
}

/// What the logs say of earlier restores: the log of the source vault and, since an HSM key may have come from another
/// vault before, those of all vaults where such a key is wanted. Entries of those that cannot be read are told.
pub(super) async fn ledger(
    reader: &Reader<'_>,
    log: &Log,
    wanted: &[Wanted],
    notes: &mut Vec<String>,
) -> Result<Ledger> {
    let ledger = ledger_with(reader, log, wanted.iter().any(|wanted| wanted.source.hsm)).await?;
    let mut unreadable: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (host, sequence) in ledger.blind().iter().filter(|(host, _)| host != log.vault.host()) {
        unreadable.entry(host).or_default().push(*sequence);
    }
    notes.extend(unreadable.into_iter().map(|(host, entries)| {
        format!("log entries {} of {host} cannot be read: they may tell of restores", some_of(&entries))
    }));
    Ok(ledger)
}

/// Looks at the slots and the places, and decides.
pub(super) async fn finish(eyes: &Eyes<'_>, mut ground: Ground, allowed: Allowed) -> Result<Plan> {
    let objects: Vec<Object> = ground.wanted.iter().map(|wanted| wanted.source.object.clone()).collect();
    let target = eyes.target.uri().clone();
    let slots = match observe_all(eyes.target, &objects, eyes.progress).await {
        // What makes a vault like the captured one lies beside the plan, and is wanted before there is one. Its place is not
        // known either, so that every restore into it is refused.
        Err(error) if error.kind() == Kind::NotFound && ground.whole && eyes.source != target => {
            ground.notes.push(format!(
                "{} is not there yet, and was taken to be empty: make it, then plan again ({error})",
                target.host()
            ));
            objects.iter().flat_map(slots_of).map(|object| (object, Slot::Free)).collect()
        }
        slots => slots?,
    };
    let target_facts = ask_facts(eyes, &target).await;
    let source_facts = match ground.source_facts {
        // Only a restore into another vault depends on it.
        None if eyes.source != target => ask_facts(eyes, &eyes.source).await,
        facts => facts,
    };
    let atlas = match (eyes.facts, &target_facts) {
        (Some(door), Some(facts)) => door.atlas(&facts.place.subscription).await,
        (_, _) => eyes.atlas.clone(),
    };
    let known = Vec::new();
    let mut route =
        Route { source: eyes.source.clone(), source_facts, target: target.clone(), target_facts, atlas, known };
    let mut steps = decide::plan(&ground.wanted, &slots, &route, &allowed, &ground.ledger);
    // Only who is refused for the place needs to hear of others, and each of them costs a request.
    if steps.iter().any(|step| step.refusal.is_some_and(Refusal::of_place)) {
        for uri in eyes.others.iter().filter(|uri| **uri != target) {
            if let Some(facts) = ask_facts(eyes, uri).await {
                route.known.push(Known { uri: uri.clone(), facts });
            }
        }
        steps = decide::plan(&ground.wanted, &slots, &route, &allowed, &ground.ledger);
    }
    Ok(Plan {
        format: Plan::FORMAT.into(),
        plan: uuid::Builder::from_random_bytes(eyes.ambient.bytes()).into_uuid(),
        created: chrono::DateTime::from_timestamp(eyes.ambient.now().timestamp(), 0).unwrap_or_default(),
        archive_id: ground.archive_id,
        source: eyes.source.clone(),
        target,
        whole: ground.whole,
        steps,
        allowed,
        missing: ground.missing.iter().map(ToString::to_string).collect(),
        gone: ground.gone.iter().map(ToString::to_string).collect(),
        notes: ground.notes,
        settings: None,
    })
}

/// A vault's place, where it may be read.
async fn ask_facts(eyes: &Eyes<'_>, vault: &VaultUri) -> Option<VaultFacts> {
    match eyes.facts?.facts(vault).await {
        Ok(facts) => Some(facts),
        Err(error) => {
            eyes.progress.note(&format!("the place of {vault} couldn't be read: {error}"));
            None
        }
    }
}
