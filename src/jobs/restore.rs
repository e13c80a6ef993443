//! Planning a restore: find captures, open them, look at the slots, plan. And carrying a plan out.

use std::collections::BTreeMap;

use futures::StreamExt;

use super::history;
use crate::ambient::Ambient;
use crate::archive::{Appender, Reader};
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::{self, Capture};
use crate::format::manifest::CaptureRef;
use crate::model::{Kind as ObjectKind, Object, VaultFacts, VaultUri};
use crate::progress::Progress;
use crate::restore::plan::{Plan, Route, Wanted, plan};
use crate::restore::{Action, Applied, Slot, Source, execute, observe};
use crate::seal::Identities;
use crate::store;
use crate::tlog::Signer;
use crate::vault;

/// Slots and captures looked at at the same time.
const IN_FLIGHT: usize = 8;

/// What planning works with. Nothing in here can change a vault or an archive.
pub struct Eyes<'a> {
    /// The archive.
    pub reader: &'a Reader<'a>,
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

/// Plans the restore of `objects`: of their newest captures, or those of snapshot `at`. An empty list means all that
/// the snapshot has.
pub async fn make_plan(eyes: &Eyes<'_>, objects: &[Object], at: Option<u64>) -> Result<Plan> {
    let mut objects = match objects {
        [] => history::all_objects(eyes.reader, &eyes.source, at).await?,
        some => some.to_vec(),
    };
    objects.sort();
    objects.dedup();
    let found = history::find(eyes.reader, &eyes.source, &objects, at).await?;
    let source_facts = found.first().and_then(|found| found.facts.clone());
    eyes.progress.stage("opening captures", Some(found.len() as u64));
    let opened = futures::stream::iter(found)
        .map(|found| async move {
            let capture = open(eyes.reader, eyes.identities, &found.capture).await;
            eyes.progress.step();
            capture.map(|capture| Wanted {
                source: Source::of(&capture),
                capture: found.capture,
                snapshot: found.snapshot,
            })
        })
        .buffered(IN_FLIGHT);
    let wanted = collect(opened).await?;
    let slots = look(eyes, &objects).await?;
    let target = eyes.target.uri().clone();
    let target_facts = ask_facts(eyes, &target).await?;
    let route = Route { source: eyes.source.clone(), source_facts, target: target.clone(), target_facts };
    Ok(Plan {
        format: Plan::FORMAT.into(),
        plan: uuid::Builder::from_random_bytes(eyes.ambient.bytes()).into_uuid(),
        created: chrono::DateTime::from_timestamp(eyes.ambient.now().timestamp(), 0).unwrap_or_default(),
        archive_id: eyes.reader.archive().archive_id,
        source: eyes.source.clone(),
        target,
        steps: plan(&wanted, &slots, &route),
    })
}

async fn collect<T>(stream: impl futures::Stream<Item = Result<T>>) -> Result<Vec<T>> {
    let mut stream = std::pin::pin!(stream);
    let mut all = Vec::new();
    while let Some(item) = stream.next().await {
        all.push(item?);
    }
    Ok(all)
}

/// Looks at the slots of all objects, and for a certificate at those of its key and secret.
async fn look(eyes: &Eyes<'_>, objects: &[Object]) -> Result<BTreeMap<Object, Slot>> {
    let mut names: Vec<Object> = objects.to_vec();
    for object in objects.iter().filter(|object| object.kind == ObjectKind::Certificate) {
        names.push(Object::new(ObjectKind::Key, object.name.clone()));
        names.push(Object::new(ObjectKind::Secret, object.name.clone()));
    }
    names.sort();
    names.dedup();
    eyes.progress.stage("looking at names", Some(names.len() as u64));
    let slots = futures::stream::iter(names)
        .map(|object| async move {
            let slot = observe(eyes.target, &object)
                .await
                .context(format!("couldn't look at {object} in {}", eyes.target.uri()));
            eyes.progress.step();
            slot.map(|slot| (object, slot))
        })
        .buffered(IN_FLIGHT);
    Ok(collect(slots).await?.into_iter().collect())
}

/// The target's place, where it may be read. Only a restore into another vault depends on it.
async fn ask_facts(eyes: &Eyes<'_>, target: &VaultUri) -> Result<Option<VaultFacts>> {
    let Some(door) = eyes.facts else { return Ok(None) };
    match door.facts(target).await {
        Ok(facts) => Ok(Some(facts)),
        Err(error) => {
            eyes.progress.note(&format!("the place of {target} couldn't be read: {error}"));
            Ok(None)
        }
    }
}

/// Fetches a sealed capture and opens it.
pub async fn open(reader: &Reader<'_>, identities: &Identities, reference: &CaptureRef) -> Result<Capture> {
    let sealed = reader.sealed(reference).await?;
    let packed = identities.open(&sealed).context(format!("couldn't open {}", reference.path))?;
    capture::unpack(&packed)
        .map_err(|error| Error::new(Kind::Tampered, format!("couldn't open {}: {error}", reference.path)))
}

/// What carrying out works with.
pub struct Hands<'a> {
    /// The archive's store, for the log.
    pub store: &'a dyn store::Append,
    /// The archive.
    pub reader: &'a Reader<'a>,
    /// Who opens its captures.
    pub identities: &'a Identities,
    /// The key that signs the log.
    pub signer: &'a Signer,
    /// The target vault.
    pub vault: &'a dyn vault::Write,
    /// Time.
    pub ambient: &'a Ambient,
    /// Who is doing this, as told.
    pub operator: &'a str,
    /// Who listens.
    pub progress: &'a dyn Progress,
}

/// Carries out a plan that was made against this archive and this vault.
pub async fn apply(hands: &Hands<'_>, plan: &Plan) -> Result<Applied> {
    if plan.archive_id != hands.reader.archive().archive_id {
        return Err(Error::usage("the plan was made for another archive").hint("make a new plan"));
    }
    let mut captures = BTreeMap::new();
    for step in plan.changes() {
        match (open(hands.reader, hands.identities, &step.capture).await, step.action) {
            (Ok(capture), _) => drop(captures.insert(step.object.clone(), capture)),
            // What is recovered needs no capture, except to be compared with.
            (Err(_), Action::Recover) => {}
            (Err(error), _) => return Err(error),
        }
    }
    let appender = Appender::new(hands.store, hands.reader, hands.signer, &plan.source, hands.ambient);
    let doing = execute::Hands {
        vault: hands.vault,
        appender: &appender,
        ambient: hands.ambient,
        operator: hands.operator,
        progress: hands.progress,
    };
    execute::apply(&doing, plan, &captures).await
}
