//! Where a store is in Azure, and what the identity that asks may do there. A directory has no seat.

use async_trait::async_trait;
use chrono::TimeDelta;

use super::Error;
use crate::model::Permissions;

/// Asking about a store's surroundings. Changes nothing and tries nothing.
#[async_trait]
pub trait Seat: Send + Sync {
    /// Where the store's account is.
    async fn site(&self) -> Result<Site, Error>;

    /// What the identity may do with the container and all that is in it, by its role assignments. `Denied` where it
    /// may not ask.
    async fn rights(&self) -> Result<Permissions, Error>;

    /// The store's clock minus ours, asked for if nothing was heard yet; `None` where it does not tell.
    async fn clock_skew(&self) -> Option<TimeDelta>;
}

/// Where an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its subscription's id.
    pub subscription: String,
    /// Its region, such as `westeurope`.
    pub location: String,
}
