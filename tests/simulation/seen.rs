//! What a vault holds at a moment, and what a backup and a capture say of versions: seen through the vault's own door, and
//! read from the vault's own blobs. Judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use akv_archiver::format::capture::Capture;
use akv_archiver::model::{Kind, Object};
use akv_archiver::vault::{Listing, Read as _};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::model::now_or_never;
use super::world::World;

/// An object as its backup has it, and the part of that which a list shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) blob: Arc<[u8]>,
    pub(crate) shown: String,
}

/// A vault between two changes.
#[derive(Clone, Default)]
pub(crate) struct Moment {
    pub(crate) step: u64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) live: BTreeMap<Object, Held>,
    pub(crate) managed: BTreeSet<Object>,
    pub(crate) deleted: BTreeSet<Object>,
}

/// The part of a backup that a list shows: the newest version's item.
pub(crate) fn shown(blob: &[u8]) -> String {
    let stored: Value = serde_json::from_slice(blob).unwrap();
    let mut newest = stored["versions"].as_array().unwrap().last().unwrap().clone();
    if stored["object"]["kind"] != "certificate" {
        newest.as_object_mut().unwrap().remove("material");
    }
    newest.as_object_mut().unwrap().remove("key_type");
    newest.to_string()
}

/// What tells a version: its id, and whether it is enabled, when it was changed, and its tags.
pub(crate) type Versions = BTreeMap<String, (Value, Value, Value)>;

/// The versions in a backup.
pub(crate) fn held_versions(blob: &[u8]) -> Versions {
    let stored: Value = serde_json::from_slice(blob).unwrap();
    let versions = stored["versions"].as_array().unwrap().iter();
    let version = |it: &Value| (it["enabled"].clone(), it["updated"].clone(), it["tags"].clone());
    versions.map(|it| (it["id"].as_str().unwrap().to_owned(), version(it))).collect()
}

/// The versions that a capture tells of beside its backup.
pub(crate) fn described(capture: &Capture) -> Versions {
    let of = |raw: &RawValue| {
        let item: Value = serde_json::from_str(raw.get()).unwrap();
        let id = item.get("kid").or_else(|| item.get("id")).and_then(Value::as_str).unwrap();
        let tags = item.get("tags").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        let attributes = &item["attributes"];
        let id = id.rsplit('/').next().unwrap().to_owned();
        (id, (attributes["enabled"].clone(), attributes["updated"].clone(), tags))
    };
    capture.metadata.versions.iter().map(|raw| of(raw)).collect()
}

/// Looks at a vault.
pub(crate) fn look(world: &World, number: usize) -> Moment {
    let vault = &world.vaults[number].memory;
    let list = |what: Listing| -> Vec<(Object, bool)> {
        let pages = now_or_never(vault.list(what).collect::<Vec<_>>());
        let items = pages.into_iter().flat_map(|page| page.unwrap().items);
        items
            .map(|item| {
                let item: Value = serde_json::from_str(item.get()).unwrap();
                let id = item.get("kid").or_else(|| item.get("id")).and_then(Value::as_str).unwrap();
                let object = akv_archiver::model::object_in(vault.uri(), id).unwrap().0;
                (object, item.get("managed").and_then(Value::as_bool).unwrap_or(false))
            })
            .collect()
    };
    let mut moment = Moment { step: world.stage.step(), at: world.now(), ..Moment::default() };
    for kind in Kind::ALL {
        for (object, managed) in list(Listing::Live(kind)) {
            match managed {
                true => drop(moment.managed.insert(object)),
                false => {
                    let blob: Arc<[u8]> = now_or_never(vault.backup(&object)).unwrap().blob.to_vec().into();
                    let shown = shown(&blob);
                    moment.live.insert(object, Held { blob, shown });
                }
            }
        }
        moment.deleted.extend(list(Listing::Deleted(kind)).into_iter().map(|(object, _)| object));
    }
    moment
}
