//! Where a container is and what one may do with it, for `store::Seat`: questions to Resource Manager, and the service's
//! clock. Changes nothing.

use async_trait::async_trait;
use chrono::TimeDelta;

use super::Container;
use crate::model::Permissions;
use crate::store::{Condition, Error, Read as _, Seat, Site};

#[async_trait]
impl Seat for Container {
    async fn site(&self) -> Result<Site, Error> {
        let arm = self.arm.as_ref().ok_or_else(unmanaged)?;
        arm.site(&self.address).await.map_err(managed)
    }

    async fn rights(&self) -> Result<Permissions, Error> {
        let arm = self.arm.as_ref().ok_or_else(unmanaged)?;
        arm.container_rights(&self.address).await.map_err(managed)
    }

    async fn clock_skew(&self) -> Option<TimeDelta> {
        if self.caller.meter().skew().is_none() {
            // A refusal tells the time as well as an answer does.
            drop(self.guard().await);
        }
        self.caller.meter().skew()
    }
}

/// Why Resource Manager cannot be asked.
pub(super) fn unmanaged() -> Error {
    Error::new(Condition::Denied, "the management plane was not to be asked")
}

/// A failure of the management plane, as one of the store.
pub(super) fn managed(error: crate::vault::Error) -> Error {
    let condition = match error.condition {
        crate::vault::Condition::Denied => Condition::Denied,
        crate::vault::Condition::NotFound => Condition::NotFound,
        crate::vault::Condition::Malformed => Condition::Malformed,
        _ => Condition::Unavailable,
    };
    let plain = Error::new(condition, error.message);
    match error.hint {
        Some(hint) => plain.hint(hint),
        None => plain,
    }
}
