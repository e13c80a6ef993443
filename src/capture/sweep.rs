//! The sweep: the three live lists and the three deleted lists of a vault, read to their true ends.

use std::collections::BTreeMap;
use std::fmt;

use futures::StreamExt;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::format::fingerprint::fingerprint;
use crate::format::manifest::Gap;
use crate::model::{Attributes, Digest, Kind, Object, object_of_id};
use crate::vault::{self, Listing};

/// One item of a list, read as far as planning needs.
pub struct Swept {
    /// The item as the service wrote it.
    pub raw: Box<RawValue>,
    /// Equal fingerprints mean that nothing changed that a list can show.
    pub fingerprint: Digest,
    /// The current version's attributes.
    pub attributes: Attributes,
    /// Whether a certificate owns it.
    pub managed: bool,
    /// When the service will purge it, for a deleted object.
    pub purge_at: Option<chrono::DateTime<chrono::Utc>>,
}

impl fmt::Debug for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Swept({})", self.fingerprint.short())
    }
}

/// What the lists of a vault showed.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Live objects.
    pub live: BTreeMap<Object, Swept>,
    /// Soft-deleted objects.
    pub deleted: BTreeMap<Object, Swept>,
    /// Lists that could not be read, and items in them that made no sense.
    pub gaps: Vec<Gap>,
    /// Pages read.
    pub pages: u64,
}

/// Reads all six lists. A list that fails is a gap, unless every live list fails: then there is nothing to take, and
/// the first failure is the answer.
///
/// A list is not a snapshot: an object that is created behind the reader is missed until the next run (`azure.md` §1.2).
pub async fn sweep(vault: &dyn vault::Read) -> Result<Sweep, vault::Error> {
    let mut sweep = Sweep::default();
    let mut failures = Vec::new();
    for kind in Kind::ALL {
        if let Err(error) = read(vault, Listing::Live(kind), &mut sweep).await {
            sweep.gaps.push(list_gap("live", kind, &error));
            failures.push(error);
        }
    }
    if failures.len() == Kind::ALL.len() {
        return Err(failures.swap_remove(0));
    }
    for kind in Kind::ALL {
        if let Err(error) = read(vault, Listing::Deleted(kind), &mut sweep).await {
            sweep.gaps.push(list_gap("deleted", kind, &error));
        }
    }
    Ok(sweep)
}

fn list_gap(state: &str, kind: Kind, error: &vault::Error) -> Gap {
    Gap {
        code: format!("list-{}", error.condition.name()),
        detail: format!("the list of {state} {}: {error}", kind.plural()),
    }
}

async fn read(vault: &dyn vault::Read, listing: Listing, sweep: &mut Sweep) -> Result<(), vault::Error> {
    let (kind, live) = match &listing {
        Listing::Live(kind) => (*kind, true),
        Listing::Deleted(kind) => (*kind, false),
        Listing::Versions(object) => (object.kind, true),
    };
    let mut pages = vault.list(listing);
    while let Some(page) = pages.next().await {
        let page = page?;
        sweep.pages += 1;
        for raw in page.items {
            match parse(kind, raw) {
                // An item listed twice is the same object; the later reading is the fresher one.
                Ok((object, swept)) if live => drop(sweep.live.insert(object, swept)),
                Ok((object, swept)) => drop(sweep.deleted.insert(object, swept)),
                Err(detail) => sweep.gaps.push(Gap { code: "malformed-item".into(), detail }),
            }
        }
    }
    Ok(())
}

fn parse(kind: Kind, raw: Box<RawValue>) -> Result<(Object, Swept), String> {
    let item: Value =
        serde_json::from_str(raw.get()).map_err(|e| format!("an item of the list of {}: {e}", kind.plural()))?;
    let id = item.get("kid").or_else(|| item.get("id")).and_then(Value::as_str);
    let object = id
        .and_then(object_of_id)
        .map(|(object, _)| object)
        .filter(|object| object.kind == kind)
        .ok_or_else(|| format!("an item of the list of {} names no {kind}", kind.plural()))?;
    let swept = Swept {
        fingerprint: fingerprint(&raw).map_err(|e| format!("an item of the list of {}: {e}", kind.plural()))?,
        attributes: Attributes::of(&item),
        managed: item.get("managed").and_then(Value::as_bool).unwrap_or(false),
        purge_at: item
            .get("scheduledPurgeDate")
            .and_then(Value::as_i64)
            .and_then(|s| chrono::DateTime::from_timestamp(s, 0)),
        raw,
    };
    Ok((object, swept))
}
