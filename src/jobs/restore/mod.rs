//! Bringing objects back: find captures, open them, look at the slots, plan; and carry a plan out. Prints nothing, and knows
//! neither Azure nor the settings file.

mod apply;
mod claim;
pub mod log;
mod plan;
mod resume;

pub use apply::{Hands, Logbook, apply};
pub use claim::read_ledger;
pub use plan::{Eyes, make_plan};
pub use resume::{Mode, Resumed, ResumedStep, open_intents, resume};

use crate::archive::Reader;
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::{self, Capture};
use crate::format::manifest::CaptureRef;
use crate::model::{Object, VaultUri};
use crate::restore::Origin;
use crate::seal::Identities;

/// Fetches a sealed capture and opens it.
pub async fn open(reader: &Reader<'_>, identities: &Identities, reference: &CaptureRef) -> Result<Capture> {
    let sealed = reader.sealed(reference).await?;
    let packed = identities.open(&sealed).context(format!("couldn't open {}", reference.path))?;
    capture::unpack(&packed)
        .map_err(|error| Error::new(Kind::Tampered, format!("couldn't open {}: {error}", reference.path)))
}

/// Opens the capture of `object` of `vault`, wherever it is.
pub async fn fetch(
    reader: Option<&Reader<'_>>,
    identities: &Identities,
    vault: &VaultUri,
    object: &Object,
    from: &Origin,
) -> Result<Capture> {
    let Origin::Archive { capture: reference, .. } = from else {
        return Err(Error::new(Kind::Refused, format!("the capture of {object} came from a file")));
    };
    let reader = reader.ok_or_else(|| Error::usage(format!("the capture of {object} is in an archive")))?;
    let capture = open(reader, identities, reference).await?;
    match capture.metadata.object == *object && capture.metadata.vault == *vault {
        true => Ok(capture),
        false => {
            Err(Error::new(Kind::Tampered, format!("{} holds another object than {object} of {vault}", reference.path)))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Kind;
    use crate::format::manifest::State;
    use crate::jobs::fixture::House;
    use crate::restore::{Action, Origin, Step};
    use crate::vault::memory::{Call, Moment};

    fn snapshot_of(step: &Step) -> u64 {
        match &step.from {
            Origin::Archive { snapshot, .. } => *snapshot,
            Origin::File { .. } => 0,
        }
    }

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
            plan.steps.iter().map(|step| (step.object.to_string(), snapshot_of(step))).collect();
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
        let Origin::Archive { capture: other, .. } = plan.steps[1].from.clone() else { panic!() };
        plan.steps[0].from = Origin::Archive { snapshot: snapshot_of(&plan.steps[0]), capture: other };
        house.vault.interfere(|_, _, call| match call {
            Call::Restore(_) => panic!("nothing may be sent"),
            _ => Ok(()),
        });
        assert_eq!(house.apply(&plan).await.unwrap_err().kind(), Kind::Tampered);
    }
}
