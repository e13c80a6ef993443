//! A name slot: the state of a name in a target vault. A restore creates and never overwrites, so the slot decides what
//! can be done.

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::source::{Versions, add_bundle, add_item, newest};
use crate::model::{Attributes, Digest, Kind, Object, object_of_id, unix_time};
use crate::vault::{self, Condition, Item, Listing};

/// What holds a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Nothing that shows. A purge may still be on its way: only trying tells (`azure.md` §1.4).
    Free,
    /// A live object with these versions.
    Live {
        /// Its versions.
        versions: Versions,
        /// Whether a certificate owns it.
        managed: bool,
    },
    /// A soft-deleted object.
    Deleted(Deleted),
    /// Being deleted, purged or recovered.
    InTransition,
}

/// A soft-deleted object, as far as it can be seen without recovering it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Its newest version's id.
    pub version: Option<String>,
    /// That version's attributes.
    pub attributes: Attributes,
    /// When the service will purge it.
    pub purge_at: Option<DateTime<Utc>>,
}

/// A slot's state in a plan file: enough to tell later whether it moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// `free`, `live`, `deleted` or `in-transition`.
    pub state: String,
    /// Digest of what was there.
    pub digest: Digest,
}

impl Slot {
    /// The state for a plan file.
    pub fn seen(&self) -> Seen {
        let (state, what) = match self {
            Slot::Free => ("free", String::new()),
            Slot::InTransition => ("in-transition", String::new()),
            Slot::Live { versions, managed } => ("live", format!("{managed} {versions:?}")),
            Slot::Deleted(deleted) => ("deleted", format!("{deleted:?}")),
        };
        Seen { state: state.into(), digest: Digest::of(what.as_bytes()) }
    }

    /// The id of the newest version there.
    pub fn current(&self) -> Option<&str> {
        match self {
            Slot::Live { versions, .. } => newest(versions).map(|(id, _)| id.as_str()),
            Slot::Deleted(deleted) => deleted.version.as_deref(),
            Slot::Free | Slot::InTransition => None,
        }
    }
}

/// Looks at a slot. Needs list and read permissions only, and never reads a secret.
pub async fn observe(vault: &dyn vault::Read, object: &Object) -> Result<Slot, vault::Error> {
    let mut versions = Versions::new();
    let mut managed = false;
    let mut pages = vault.list(Listing::Versions(object.clone()));
    while let Some(page) = pages.next().await {
        for item in page?.items {
            managed |= add_item(&mut versions, &item);
        }
    }
    if !versions.is_empty() {
        if object.kind == Kind::Key {
            let ids: Vec<String> = versions.keys().cloned().collect();
            for id in ids {
                let bundle = vault.get(Item::Key(object.name.clone(), Some(id))).await?;
                add_bundle(&mut versions, &bundle.body);
            }
        }
        return Ok(Slot::Live { versions, managed });
    }
    match vault.get(Item::Deleted(object.clone())).await {
        Ok(answer) => Ok(Slot::Deleted(deleted(&serde_json::from_str(answer.body.get()).unwrap_or_default()))),
        Err(error) if error.condition == Condition::NotFound => Ok(Slot::Free),
        Err(error) if error.condition == Condition::InTransition => Ok(Slot::InTransition),
        Err(error) => Err(error),
    }
}

fn deleted(bundle: &Value) -> Deleted {
    let id = bundle.get("key").and_then(|key| key.get("kid")).or_else(|| bundle.get("id")).and_then(Value::as_str);
    Deleted {
        version: id.and_then(object_of_id).and_then(|(_, version)| version),
        attributes: Attributes::of(bundle),
        purge_at: bundle.get("scheduledPurgeDate").and_then(unix_time),
    }
}
