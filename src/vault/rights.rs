//! What the identity that asks may do, as the management plane adds it up. Asking changes nothing and tries nothing.

use async_trait::async_trait;

use super::Error;
use crate::model::{Permissions, VaultUri};

/// Asking the management plane what one may do oneself.
#[async_trait]
pub trait Rights: Send + Sync {
    /// What the identity may do with a vault and all that is in it, by its role assignments. Nothing of access policies.
    /// `Denied` where it may not ask.
    async fn rights(&self, vault: &VaultUri) -> Result<Permissions, Error>;
}
