//! A container that is protected as a whole, for `store::Protect`: its policy made longer and locked, its legal holds put
//! on and lifted. Each change is asked for once and then looked at: an answer may be lost, and a yes may be worth nothing.

use super::{Container, ROUNDS, managed, unmanaged};
use crate::azure::arm::{Arm, Change, Standing};
use crate::store::{Condition, Error, MOST_EXTENSIONS, MOST_TAGS, Whole};
use crate::vault;

impl Container {
    fn management(&self) -> Result<&Arm, Error> {
        let hint = "`protect` changes a container's policy through Azure Resource Manager: let the settings name it";
        self.arm.as_deref().ok_or_else(|| unmanaged().hint(hint))
    }

    /// How the container is protected as a whole, as Resource Manager tells it now.
    pub(super) async fn standing(&self) -> Result<Standing, Error> {
        let arm = self.management()?;
        let id = self.id.get_or_try_init(|| arm.container_id(&self.address)).await.map_err(managed)?;
        arm.standing(id).await.map_err(managed)
    }

    /// Changes the container until it is as `wanted`, or is found to be neither that nor as it was `seen`.
    pub(super) async fn change(
        &self,
        seen: Option<&Whole>,
        change: Change<'_>,
        wanted: impl Fn(&Whole) -> bool + Send + Sync,
    ) -> Result<Whole, Error> {
        let arm = self.management()?;
        let mut granted = false;
        for round in 1.. {
            let standing = self.standing().await?;
            if wanted(&standing.whole) {
                return Ok(standing.whole);
            }
            if granted {
                let text = format!("couldn't protect container {}: the answer was yes, and nothing changed", self.address);
                return Err(Error::new(Condition::Malformed, text));
            }
            if seen.is_some_and(|seen| seen.stamp != standing.whole.stamp) {
                let text = format!("the immutability policy of container {} is not the one that was seen", self.address);
                return Err(Error::new(Condition::Changed, text).hint("somebody changed it meanwhile: run again"));
            }
            match arm.change(&standing, change).await {
                Ok(()) => granted = true,
                // Either it took effect and nobody heard of it, or somebody was faster: a look tells.
                Err((failure, error)) if failure.unclear || error.status == Some(412) => {
                    if round >= ROUNDS {
                        return Err(refusal(error, change, failure.unclear));
                    }
                    self.caller.pause(round).await;
                }
                Err((_, error)) => return Err(refusal(error, change, false)),
            }
        }
        Err(unmanaged())
    }
}

/// What a change's failure means. A refusal here is a rule of the service, and no trouble with a request.
fn refusal(error: vault::Error, change: Change<'_>, unclear: bool) -> Error {
    let condition = match error.status {
        Some(400 | 409) => Some(Condition::Refused),
        Some(412) => Some(Condition::Changed),
        _ => None,
    };
    let mut told = managed(error);
    told.condition = condition.unwrap_or(told.condition);
    if unclear {
        told.message = format!("{}; whether it took effect is not known", told.message);
    }
    match (told.condition, change) {
        (Condition::Refused, Change::Period(_)) => told.hint(format!(
            "a locked policy never gets shorter, and longer {MOST_EXTENSIONS} times in all its life; after that, archive into a \
             new container"
        )),
        (Condition::Refused, Change::Lock) => told.hint("somebody changed it meanwhile: run again"),
        (Condition::Refused, Change::Hold(_) | Change::Release(_)) => {
            told.hint(format!("a container takes {MOST_TAGS} legal holds, and none where versions are held one by one"))
        }
        (Condition::Changed, _) => told.hint("somebody changed it meanwhile: run again"),
        _ => told,
    }
}
