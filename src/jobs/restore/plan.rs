//! Planning a restore: which captures, what is in them, what holds the names. Changes nothing.

use futures::StreamExt;

use super::open;
use crate::ambient::Ambient;
use crate::archive::Reader;
use crate::error::Result;
use crate::jobs::history;
use crate::model::{Object, VaultFacts, VaultUri};
use crate::progress::Progress;
use crate::restore::decide::{Route, Wanted, plan};
use crate::restore::{Allowed, Ledger, Origin, Plan, Source, observe_all};
use crate::seal::Identities;
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
    let all = objects.is_empty();
    let (mut objects, excluded) = match objects {
        [] => {
            let history::Population { live, excluded } = history::all_objects(eyes.reader, &eyes.source, at).await?;
            (live, excluded)
        }
        some => (some.to_vec(), Vec::new()),
    };
    objects.sort();
    objects.dedup();
    let mut search = history::search(eyes.reader, &eyes.source, &objects, at).await?;
    let missing: Vec<Object> = search.missing(&objects);
    let mut notes = std::mem::take(&mut search.notes);
    if !excluded.is_empty() {
        let names = history::some_of(&excluded);
        notes.push(format!(
            "the archive's policy leaves out, and this plan too unless they are asked for by name: {names}"
        ));
    }
    // What was asked for by name must be there; of all that there is, what has no capture anywhere is told.
    let found = match all {
        true => search.found.into_iter().flatten().collect(),
        false => search.all(&eyes.source, &objects)?,
    };
    objects.retain(|object| !missing.contains(object));
    let source_facts = found.first().and_then(|found| found.facts.clone());
    eyes.progress.stage("opening captures", Some(found.len() as u64));
    let opened = futures::stream::iter(found)
        .map(|found| async move {
            let capture = open(eyes.reader, eyes.identities, &found.capture).await;
            eyes.progress.step();
            capture.map(|capture| Wanted {
                source: Source::of(&capture),
                from: Origin::Archive { snapshot: found.snapshot, capture: Box::new(found.capture) },
            })
        })
        .buffered(IN_FLIGHT);
    let wanted = collect(opened).await?;
    let slots = observe_all(eyes.target, &objects, eyes.progress).await?;
    let target = eyes.target.uri().clone();
    let target_facts = ask_facts(eyes, &target).await?;
    let route =
        Route { source: eyes.source.clone(), source_facts, target: target.clone(), target_facts, known: Vec::new() };
    Ok(Plan {
        format: Plan::FORMAT.into(),
        plan: uuid::Builder::from_random_bytes(eyes.ambient.bytes()).into_uuid(),
        created: chrono::DateTime::from_timestamp(eyes.ambient.now().timestamp(), 0).unwrap_or_default(),
        archive_id: Some(eyes.reader.archive().archive_id),
        source: eyes.source.clone(),
        target,
        whole: all,
        steps: plan(&wanted, &slots, &route, &Allowed::default(), &Ledger::default()),
        allowed: Allowed::default(),
        missing: missing.iter().map(ToString::to_string).collect(),
        notes,
        settings: None,
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
