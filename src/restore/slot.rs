//! A name slot: the state of a name in a target vault. A restore creates and never overwrites, so the slot decides what
//! can be done. Looks only; knows nothing of captures.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::source::{Versions, add_bundle, add_item, newest};
use crate::error::{Context, Error, Result};
use crate::model::{Attributes, Digest, Kind, Name, Object, object_of_id, unix_time};
use crate::progress::Progress;
use crate::vault::{self, Condition, Item, Listing};

/// Slots looked at at the same time.
const IN_FLIGHT: usize = 8;

/// Names of one kind from which on its lists may be worth reading.
const MANY: usize = 8;

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
    /// Whether it belongs to the soft-deleted certificate of its name: it stands and falls with that, and the service
    /// refuses to recover or purge it on its own.
    pub managed: bool,
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

/// The names that an object takes: a certificate takes those of its key and secret too.
pub fn slots_of(object: &Object) -> Vec<Object> {
    match object.kind {
        Kind::Certificate => Kind::ALL.map(|kind| Object::new(kind, object.name.clone())).to_vec(),
        Kind::Key | Kind::Secret => vec![object.clone()],
    }
}

/// Looks at the slots that these objects take. Needs list and read permissions only, and never reads a secret.
///
/// A free name costs two requests. Where there are many, the lists are read first, once: a name that is in neither is
/// free. How long the lists are shows only as they come, so at most one page per name is read of them, and then each name
/// is looked at on its own: half as many requests again as without lists at worst, and next to none in an empty vault.
pub async fn observe_all(
    vault: &dyn vault::Read,
    objects: &[Object],
    progress: &dyn Progress,
) -> Result<BTreeMap<Object, Slot>> {
    let names: BTreeSet<Object> = objects.iter().flat_map(slots_of).collect();
    progress.stage("looking at names", Some(names.len() as u64));
    let mut slots = BTreeMap::new();
    let mut looks = Vec::new();
    for kind in Kind::ALL {
        let names: BTreeSet<&Name> = names.iter().filter(|name| name.kind == kind).map(|name| &name.name).collect();
        let lists = read_lists(vault, kind, &names).await?;
        for name in names {
            let object = Object::new(kind, name.clone());
            match &lists {
                Some(lists) if !lists.live.contains(name) && !lists.deleted.contains(name) => {
                    slots.insert(object, Slot::Free);
                    progress.step();
                }
                Some(lists) => looks.push((object, !lists.live.contains(name))),
                None => looks.push((object, false)),
            }
        }
    }
    let looked = stream::iter(looks).map(|(object, deleted)| async move {
        let slot = if deleted { observe_deleted(vault, &object).await } else { observe(vault, &object).await };
        progress.step();
        let slot = slot.context(format!("couldn't look at {object} in {}", vault.uri()))?;
        Ok::<_, Error>((object, slot))
    });
    slots.extend(looked.buffered(IN_FLIGHT).try_collect::<Vec<_>>().await?);
    Ok(slots)
}

/// Those of the wanted names that a vault's lists of one kind show.
#[derive(Default)]
struct Lists {
    live: BTreeSet<Name>,
    deleted: BTreeSet<Name>,
}

/// Reads both lists of a kind; `None` where that is not worth it, not allowed, or does not tell every name.
async fn read_lists(vault: &dyn vault::Read, kind: Kind, wanted: &BTreeSet<&Name>) -> Result<Option<Lists>> {
    if wanted.len() < MANY {
        return Ok(None);
    }
    let mut lists = Lists::default();
    let mut left = wanted.len();
    // The live ones first: what is deleted meanwhile is in both, and what is in both is looked at.
    for (listing, names) in [(Listing::Live(kind), &mut lists.live), (Listing::Deleted(kind), &mut lists.deleted)] {
        let mut pages = vault.list(listing);
        while let Some(page) = pages.next().await {
            let page = match page {
                Err(error) if error.condition == Condition::Denied => return Ok(None),
                page => page.context(format!("couldn't list the {} of {}", kind.plural(), vault.uri()))?,
            };
            let Some(more) = left.checked_sub(1) else { return Ok(None) };
            left = more;
            for item in &page.items {
                // An item that cannot be read may be any name.
                let Some(name) = name_of(item) else { return Ok(None) };
                if wanted.contains(&name) {
                    names.insert(name);
                }
            }
        }
    }
    Ok(Some(lists))
}

/// The name that an item of a list is about.
fn name_of(item: &RawValue) -> Option<Name> {
    let item: Value = serde_json::from_str(item.get()).ok()?;
    let id = item.get("kid").or_else(|| item.get("id"))?.as_str()?;
    object_of_id(id).map(|(object, _)| object.name)
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
    get_deleted(vault, object).await
}

/// As [`observe`], for a name that was in the list of deleted ones only: one request less.
async fn observe_deleted(vault: &dyn vault::Read, object: &Object) -> Result<Slot, vault::Error> {
    match get_deleted(vault, object).await? {
        // It moved since.
        Slot::Free => observe(vault, object).await,
        slot => Ok(slot),
    }
}

async fn get_deleted(vault: &dyn vault::Read, object: &Object) -> Result<Slot, vault::Error> {
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
        managed: bundle.get("managed").and_then(Value::as_bool).unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::ManualClock;
    use crate::model::VaultUri;
    use crate::progress::Silent;
    use crate::vault::memory::{Call, Memory, Moment};
    use crate::vault::{Read, Traffic};
    use std::sync::Arc;

    fn object(text: &str) -> Object {
        Object::parse(text).unwrap()
    }

    fn vault() -> Memory {
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        Memory::new(VaultUri::parse("https://prod.vault.azure.net").unwrap(), clock)
    }

    /// Looks at all names at once and one by one, and demands the same slots. Returns them with what the first way cost.
    async fn both(vault: &Memory, objects: &[Object]) -> (BTreeMap<Object, Slot>, u64) {
        let before: Traffic = vault.traffic();
        let slots = observe_all(vault, objects, &Silent).await.unwrap();
        let cost = vault.traffic().requests - before.requests;
        for (object, slot) in &slots {
            assert_eq!(*slot, observe(vault, object).await.unwrap(), "{object}");
        }
        (slots, cost)
    }

    fn secrets(count: usize) -> Vec<Object> {
        (0..count).map(|n| object(&format!("secret/s{n:03}"))).collect()
    }

    #[tokio::test]
    async fn names_that_no_list_shows_are_free_and_cost_nothing_more() {
        let vault = vault();
        vault.put(&object("secret/S001"));
        vault.change(&object("secret/s001"), |version| version.enabled = false);
        vault.put(&object("secret/s002"));
        vault.delete(&object("secret/s002"));
        vault.put(&object("secret/unasked"));
        let (slots, cost) = both(&vault, &secrets(40)).await;
        assert_eq!(slots.len(), 40);
        let state = |name: &str| slots[&object(name)].seen().state;
        assert_eq!(
            (state("secret/s000"), state("secret/s001"), state("secret/s002")),
            ("free".into(), "live".into(), "deleted".into())
        );
        assert_eq!(slots.values().filter(|slot| **slot == Slot::Free).count(), 38);
        assert_eq!(cost, 4, "two lists, and a look at each name that they show");
    }

    #[tokio::test]
    async fn a_few_names_are_looked_at_without_lists() {
        let vault = vault();
        vault.interfere(|_, moment, call| match (moment, call) {
            (Moment::Before, Call::List(Listing::Live(_) | Listing::Deleted(_))) => panic!("a list costs more"),
            _ => Ok(()),
        });
        let (slots, cost) = both(&vault, &secrets(MANY - 1)).await;
        assert_eq!((slots.len(), cost), (MANY - 1, 2 * (MANY as u64 - 1)));
    }

    #[tokio::test]
    async fn lists_that_are_longer_than_they_are_worth_are_given_up() {
        let vault = vault();
        (0..50).for_each(|n| drop(vault.put(&object(&format!("secret/other-{n}")))));
        let (slots, cost) = both(&vault, &secrets(10)).await;
        assert!(slots.values().all(|slot| *slot == Slot::Free));
        assert_eq!(cost, 1 + 20, "one list, given up after ten of its pages, then two requests a name");
    }

    #[tokio::test]
    async fn a_certificate_is_three_names_and_its_parts_are_seen_to_be_its_own() {
        let vault = vault();
        let certificates: Vec<Object> = (0..9).map(|n| object(&format!("certificate/c{n}"))).collect();
        vault.put(&certificates[0]);
        vault.put(&certificates[1]);
        vault.delete(&certificates[1]);
        vault.put(&object("key/c2"));
        let (slots, _) = both(&vault, &certificates).await;
        assert_eq!(slots.len(), 27);
        for kind in [Kind::Key, Kind::Secret] {
            let slot = |name: &Object| &slots[&Object::new(kind, name.name.clone())];
            assert!(matches!(slot(&certificates[0]), Slot::Live { managed: true, .. }));
            assert!(matches!(slot(&certificates[1]), Slot::Deleted(Deleted { managed: true, .. })));
        }
        assert!(matches!(slots[&object("key/c2")], Slot::Live { managed: false, .. }));
        assert_eq!(slots[&object("secret/c2")], Slot::Free);
    }

    #[tokio::test]
    async fn what_moves_while_the_lists_are_read_is_looked_at() {
        let vault = vault();
        let names = secrets(20);
        vault.put(&names[0]);
        vault.put(&names[1]);
        vault.delete(&names[1]);
        // Deleted between the lists, and recovered after them.
        vault.interfere(|vault, moment, call| {
            match (moment, call) {
                (Moment::Before, Call::List(Listing::Deleted(_))) => vault.delete(&object("secret/s000")),
                (Moment::Before, Call::Get(Item::Deleted(name))) if name.name.as_str() == "s001" => {
                    vault.leave_alone();
                    vault.purge(&object("secret/s001"));
                    vault.put(&object("secret/s001"));
                }
                _ => {}
            }
            Ok(())
        });
        let slots = observe_all(&vault, &names, &Silent).await.unwrap();
        assert_eq!(slots[&names[0]].seen().state, "deleted");
        assert_eq!(slots[&names[1]].seen().state, "live");
    }

    #[tokio::test]
    async fn lists_that_may_not_be_read_are_done_without_and_other_failures_are_told() {
        let vault = vault();
        let refusing = |condition: Condition| {
            move |_: &Memory, _: Moment, call: &Call<'_>| match call {
                Call::List(Listing::Deleted(_)) => Err(vault::Error::new(condition, "no")),
                _ => Ok(()),
            }
        };
        vault.interfere(refusing(Condition::Denied));
        assert_eq!(both(&vault, &secrets(10)).await.0.len(), 10);
        vault.interfere(refusing(Condition::Unavailable));
        let error = observe_all(&vault, &secrets(10), &Silent).await.unwrap_err();
        assert!(error.to_string().contains("couldn't list the secrets of https://prod"), "{error}");
    }

    #[test]
    fn an_item_without_a_name_is_told_from_others() {
        let name = |text: &str| name_of(serde_json::from_str(text).unwrap()).map(|name| name.to_string());
        assert_eq!(name(r#"{"kid": "https://v.vault.azure.net/deletedkeys/A"}"#).as_deref(), Some("A"));
        assert_eq!(name(r#"{"id": "https://v.vault.azure.net/secrets/b"}"#).as_deref(), Some("b"));
        for none in ["{}", r#"{"id": 5}"#, r#"{"id": "x"}"#, "null"] {
            assert_eq!(name(none), None, "{none}");
        }
    }
}
