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
use crate::restore::{Action, Applied, Slot, Source, Step, execute, observe};
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
        missing: missing.iter().map(ToString::to_string).collect(),
        notes,
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
    /// The key that signs the log; `None` where the operator goes on without the log.
    pub signer: Option<&'a Signer>,
    /// The target vault.
    pub vault: &'a dyn vault::Write,
    /// Time.
    pub ambient: &'a Ambient,
    /// Who is doing this, as told.
    pub operator: &'a str,
    /// Who listens.
    pub progress: &'a dyn Progress,
}

/// Demands that each capture of the plan is the one that a signed snapshot names for that object: a plan file may have
/// gone through many hands, and anyone can seal a capture to public recipients.
async fn check_named(reader: &Reader<'_>, plan: &Plan) -> Result<()> {
    let mut by_snapshot: BTreeMap<u64, Vec<&Step>> = BTreeMap::new();
    for step in plan.changes() {
        by_snapshot.entry(step.snapshot).or_default().push(step);
    }
    for (snapshot, steps) in by_snapshot {
        let objects: Vec<Object> = steps.iter().map(|step| step.object.clone()).collect();
        let found = history::find(reader, &plan.source, &objects, Some(snapshot)).await?;
        for (step, found) in steps.iter().zip(found) {
            if found.capture != step.capture {
                let message = format!("the plan's capture of {} is not the one in snapshot {snapshot}", step.object);
                return Err(Error::new(Kind::Tampered, message).hint("nothing was changed; make a new plan"));
            }
        }
    }
    Ok(())
}

/// Carries out a plan that was made against this archive and this vault.
pub async fn apply(hands: &Hands<'_>, plan: &Plan) -> Result<Applied> {
    if plan.archive_id != hands.reader.archive().archive_id {
        return Err(Error::usage("the plan was made for another archive").hint("make a new plan"));
    }
    check_named(hands.reader, plan).await?;
    let mut captures = BTreeMap::new();
    for step in plan.changes() {
        match (open(hands.reader, hands.identities, &step.capture).await, step.action) {
            (Ok(capture), _) if capture.metadata.object != step.object || capture.metadata.vault != plan.source => {
                let message =
                    format!("{} holds another object than {} of {}", step.capture.path, step.object, plan.source);
                return Err(Error::new(Kind::Tampered, message));
            }
            (Ok(capture), _) => drop(captures.insert(step.object.clone(), capture)),
            // What is recovered needs no capture, except to be compared with.
            (Err(_), Action::Recover) => {}
            (Err(error), _) => return Err(error),
        }
    }
    let appender =
        hands.signer.map(|signer| Appender::new(hands.store, hands.reader, signer, &plan.source, hands.ambient));
    let doing = execute::Hands {
        vault: hands.vault,
        appender: appender.as_ref(),
        ambient: hands.ambient,
        operator: hands.operator,
        progress: hands.progress,
    };
    execute::apply(&doing, plan, &captures).await
}

#[cfg(test)]
mod tests {
    use crate::error::Kind;
    use crate::format::manifest::State;
    use crate::jobs::fixture::House;
    use crate::restore::Action;
    use crate::vault::memory::{Call, Moment};

    #[tokio::test]
    async fn all_means_what_an_earlier_snapshot_has_where_the_newest_could_not_take_it() {
        let house = House::new(&["secret/a", "secret/b", "secret/c"]).await;
        house.snapshot().await.unwrap();
        for name in ["secret/a", "secret/b"] {
            house.vault.put(&crate::jobs::fixture::object(name));
        }
        house.vault.put(&crate::jobs::fixture::object("secret/d"));
        house.vault.interfere(|_, moment, call| match (moment, call) {
            (Moment::Before, Call::Backup(object)) if ["a", "d"].contains(&object.name.as_str()) => {
                Err(crate::vault::Error::new(crate::vault::Condition::Denied, "no"))
            }
            _ => Ok(()),
        });
        house.clock.advance(std::time::Duration::from_secs(60));
        house.snapshot().await.unwrap();
        let plan = house.plan(&[]).await.unwrap();
        let found: Vec<(String, u64)> =
            plan.steps.iter().map(|step| (step.object.to_string(), step.snapshot)).collect();
        assert_eq!(found, [("secret/a".to_owned(), 2), ("secret/b".to_owned(), 2), ("secret/c".to_owned(), 2)]);
        assert_eq!(plan.missing, ["secret/d"], "nothing has it, and that is told");
    }

    #[tokio::test]
    async fn all_does_not_mean_what_the_policy_leaves_out_and_the_plan_says_so() {
        let house = House::new(&["secret/a", "secret/b"]).await;
        house.snapshot().await.unwrap();
        house
            .commit(|manifest| {
                manifest.lines[0].state = State::Excluded;
                manifest.lines[0].capture = None;
            })
            .await;
        let plan = house.plan(&[]).await.unwrap();
        assert_eq!(plan.steps.iter().map(|step| step.object.to_string()).collect::<Vec<_>>(), ["secret/b"]);
        assert!(plan.notes.iter().any(|note| note.ends_with("by name: secret/a")), "{:?}", plan.notes);
        assert_eq!(house.plan(&["secret/a"]).await.unwrap().steps.len(), 1, "an earlier snapshot has it");
    }

    #[tokio::test]
    async fn a_plan_that_somebody_changed_is_not_carried_out() {
        let house = House::new(&["secret/a", "secret/b"]).await;
        house.snapshot().await.unwrap();
        house.wipe(&["secret/a", "secret/b"]);
        let mut plan = house.plan(&["secret/a", "secret/b"]).await.unwrap();
        assert!(plan.steps.iter().all(|step| step.action == Action::Restore));
        let other = plan.steps[1].capture.clone();
        plan.steps[0].capture = other;
        house.vault.interfere(|_, _, call| match call {
            Call::Restore(_) => panic!("nothing may be sent"),
            _ => Ok(()),
        });
        assert_eq!(house.apply(&plan).await.unwrap_err().kind(), Kind::Tampered);
    }
}
