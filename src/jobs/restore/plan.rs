//! Planning a restore: what is in the captures, what holds the names, what the logs say of earlier restores. Changes
//! nothing, and needs nothing that could.

use std::collections::BTreeMap;

use futures::StreamExt;

use super::choose::{Chosen, Request, choose, in_archive};
use super::fetch;
use crate::ambient::Ambient;
use crate::archive::Reader;
use crate::error::{Context, Error, Kind, Result};
use crate::jobs::history::{Found, Log};
use crate::model::{Kind as ObjectKind, Object, VaultFacts, VaultUri};
use crate::progress::Progress;
use crate::restore::decide::{self, Route, Wanted};
use crate::restore::{Allowed, Ledger, Plan, Slot, Source, observe};
use crate::seal::Identities;
use crate::vault;

/// Slots and captures looked at at the same time.
const IN_FLIGHT: usize = 8;

/// What planning works with. Nothing in here can change a vault or an archive.
pub struct Eyes<'a> {
    /// The archive; none where captures were brought in files, and no archive is there.
    pub reader: Option<&'a Reader<'a>>,
    /// Who opens its captures.
    pub identities: &'a Identities,
    /// The vault that the captures came from.
    pub source: VaultUri,
    /// The target vault, for reading.
    pub target: &'a dyn vault::Read,
    /// The management plane, where there is one to ask.
    pub facts: Option<&'a dyn vault::Facts>,
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
    let Chosen { found, named, missing, whole, notes } = chosen;
    let mut ground = Ground { source_facts, whole, missing, notes, ..Ground::default() };
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
/// vault before, those of all vaults where such a key is wanted.
pub(super) async fn ledger(
    reader: &Reader<'_>,
    log: &Log,
    wanted: &[Wanted],
    notes: &mut Vec<String>,
) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    ledger.add(&log.entries);
    if wanted.iter().any(|wanted| wanted.source.hsm) {
        for vault in reader.vaults().await?.into_iter().filter(|vault| *vault != log.vault) {
            match Log::read(reader, &vault).await {
                Ok(other) => {
                    ledger.add(&other.entries);
                    notes.extend(other.note());
                }
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) if error.kind() == Kind::Tampered => {
                    notes.push(format!("what was restored from {} before is not known: {error}", vault.host()));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(ledger)
}

/// Looks at the slots and the places, and decides.
pub(super) async fn finish(eyes: &Eyes<'_>, ground: Ground, allowed: Allowed) -> Result<Plan> {
    let slots = look(eyes, ground.wanted.iter().map(|wanted| &wanted.source.object)).await?;
    let target = eyes.target.uri().clone();
    let target_facts = ask_facts(eyes, &target).await;
    let source_facts = match ground.source_facts {
        // Only a restore into another vault depends on it.
        None if eyes.source != target => ask_facts(eyes, &eyes.source).await,
        facts => facts,
    };
    let route = Route { source: eyes.source.clone(), source_facts, target: target.clone(), target_facts };
    Ok(Plan {
        format: Plan::FORMAT.into(),
        plan: uuid::Builder::from_random_bytes(eyes.ambient.bytes()).into_uuid(),
        created: chrono::DateTime::from_timestamp(eyes.ambient.now().timestamp(), 0).unwrap_or_default(),
        archive_id: ground.archive_id,
        source: eyes.source.clone(),
        target,
        whole: ground.whole,
        steps: decide::plan(&ground.wanted, &slots, &route, &allowed, &ground.ledger),
        allowed,
        missing: ground.missing.iter().map(ToString::to_string).collect(),
        notes: ground.notes,
    })
}

/// Looks at the slots of all objects, and for a certificate at those of its key and secret.
async fn look(eyes: &Eyes<'_>, objects: impl Iterator<Item = &Object>) -> Result<BTreeMap<Object, Slot>> {
    let mut names: Vec<Object> = Vec::new();
    for object in objects {
        names.push(object.clone());
        if object.kind == ObjectKind::Certificate {
            names.push(Object::new(ObjectKind::Key, object.name.clone()));
            names.push(Object::new(ObjectKind::Secret, object.name.clone()));
        }
    }
    names.sort();
    names.dedup();
    eyes.progress.stage("looking at names", Some(names.len() as u64));
    let mut seen = futures::stream::iter(names)
        .map(|object| async move {
            let slot = observe(eyes.target, &object)
                .await
                .context(format!("couldn't look at {object} in {}", eyes.target.uri()));
            eyes.progress.step();
            slot.map(|slot| (object, slot))
        })
        .buffered(IN_FLIGHT);
    let mut slots = BTreeMap::new();
    while let Some(slot) = seen.next().await {
        slots.extend([slot?]);
    }
    Ok(slots)
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
