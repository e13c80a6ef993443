//! Carrying out a plan against the archive and the vault that it was made for.

use std::collections::BTreeMap;

use super::open;
use crate::ambient::Ambient;
use crate::archive::{Appender, Reader};
use crate::error::{Error, Kind, Result};
use crate::jobs::history;
use crate::model::Object;
use crate::progress::Progress;
use crate::restore::{Action, Applied, Origin, Plan, Step, execute};
use crate::seal::Identities;
use crate::store;
use crate::tlog::Signer;
use crate::vault;

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
        if let Origin::Archive { snapshot, .. } = &step.from {
            by_snapshot.entry(*snapshot).or_default().push(step);
        }
    }
    for (snapshot, steps) in by_snapshot {
        let objects: Vec<Object> = steps.iter().map(|step| step.object.clone()).collect();
        let found = history::find(reader, &plan.source, &objects, Some(snapshot)).await?;
        for (step, found) in steps.iter().zip(found) {
            if matches!(&step.from, Origin::Archive { capture, .. } if **capture != found.capture) {
                let message = format!("the plan's capture of {} is not the one in snapshot {snapshot}", step.object);
                return Err(Error::new(Kind::Tampered, message).hint("nothing was changed; make a new plan"));
            }
        }
    }
    Ok(())
}

/// Carries out a plan that was made against this archive and this vault.
pub async fn apply(hands: &Hands<'_>, plan: &Plan) -> Result<Applied> {
    if plan.archive_id != Some(hands.reader.archive().archive_id) {
        return Err(Error::usage("the plan was made for another archive").hint("make a new plan"));
    }
    check_named(hands.reader, plan).await?;
    let mut captures = BTreeMap::new();
    for step in plan.changes() {
        let Origin::Archive { capture: reference, .. } = &step.from else { continue };
        match (open(hands.reader, hands.identities, reference).await, step.action) {
            (Ok(capture), _) if capture.metadata.object != step.object || capture.metadata.vault != plan.source => {
                let message =
                    format!("{} holds another object than {} of {}", reference.path, step.object, plan.source);
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
