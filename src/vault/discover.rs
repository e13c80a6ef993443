//! Finding vaults through the management plane: what an identity may see. Tells what the service said and judges nothing;
//! which of the vaults are meant is for others to say.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::Error;
use crate::model::SubscriptionId;

/// Listing what the management plane shows to an identity.
#[async_trait]
pub trait Discover: Send + Sync {
    /// The subscriptions that the identity sees, to the list's end.
    async fn subscriptions(&self) -> Result<Vec<SubscriptionId>, Error>;

    /// The vaults of a subscription, to the list's end. `Denied` where the identity may not list them.
    async fn vaults(&self, subscription: &SubscriptionId) -> Result<Vec<Sighting>, Error>;
}

/// A vault as a list of the management plane shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its resource id, `/subscriptions/…/vaults/NAME`.
    pub resource_id: String,
    /// Its address as the service wrote it, not yet believed; empty where it has none so far.
    pub address: String,
    /// Its region, such as `westeurope`.
    pub location: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}
