//! What all kinds of object look alike in on the wire: attributes, and the head of a deleted object. Fields stand in the
//! order of the recordings. Knows no kind's content.

use super::api::Api;
use super::object::{Attributes, DAY, Life};
use super::state::Vault;
use serde::Serialize;

/// Attributes with the vault's part in them.
#[derive(Serialize)]
pub(super) struct AttributesView {
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    created: i64,
    updated: i64,
    #[serde(rename = "recoveryLevel", skip_serializing_if = "Option::is_none")]
    recovery_level: Option<&'static str>,
    #[serde(rename = "recoverableDays", skip_serializing_if = "Option::is_none")]
    recoverable_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exportable: Option<bool>,
    #[serde(rename = "hsmPlatform", skip_serializing_if = "Option::is_none")]
    pub(super) hsm_platform: Option<&'static str>,
}

impl AttributesView {
    /// As in bundles and in most lists.
    pub(super) fn new(vault: &Vault, api: Api, attributes: &Attributes) -> Self {
        AttributesView {
            recovery_level: Some(vault.recovery_level()),
            recoverable_days: api.recoverable_days().then_some(vault.retention_days),
            ..Self::bare(attributes)
        }
    }

    /// Without the vault's part, as in lists of live certificates (REC).
    pub(super) fn bare(attributes: &Attributes) -> Self {
        let Attributes { enabled, nbf, exp, created, updated } = *attributes;
        AttributesView {
            enabled,
            key_size: None,
            nbf,
            exp,
            created,
            updated,
            recovery_level: None,
            recoverable_days: None,
            exportable: None,
            hsm_platform: None,
        }
    }
}

/// The head of a deleted object, in front of what it looked like live (REC).
#[derive(Serialize)]
pub(super) struct Deleted<T> {
    #[serde(rename = "recoveryId")]
    recovery_id: String,
    #[serde(rename = "deletedDate")]
    deleted_date: i64,
    #[serde(rename = "scheduledPurgeDate")]
    scheduled_purge_date: i64,
    #[serde(flatten)]
    object: T,
}

impl<T> Deleted<T> {
    /// `collection` is `keys`, `secrets` or `certificates`. The purge date is exact to the second (REC).
    pub(super) fn new(vault: &Vault, collection: &str, name: &str, life: Life, object: T) -> Self {
        let deleted_date = if let Life::Deleted { at, .. } = life { at } else { 0 };
        Deleted {
            recovery_id: format!("{}/deleted{collection}/{name}", vault.url()),
            deleted_date,
            scheduled_purge_date: deleted_date + i64::from(vault.retention_days) * DAY,
            object,
        }
    }
}
