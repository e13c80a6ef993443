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
        Listing::Issuers => (Kind::Certificate, true),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::ManualClock;
    use crate::model::VaultUri;
    use crate::vault::memory::{Call, Memory, Moment};
    use crate::vault::{Answer, Backup, Condition, Exchange, Item, Page, Read, Traffic};
    use futures::stream::{self, BoxStream};
    use std::sync::Arc;

    fn object(text: &str) -> Object {
        Object::parse(text).unwrap()
    }

    fn vault(objects: &[&str]) -> Memory {
        let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let uri = VaultUri::parse("https://v.vault.azure.net").unwrap();
        let vault = Memory::new(uri, Arc::new(ManualClock::new(now)));
        objects.iter().for_each(|text| drop(vault.put(&object(text))));
        vault
    }

    fn denied() -> vault::Error {
        vault::Error::new(Condition::Denied, "the role is missing")
    }

    /// A vault whose list of live secrets is what a test says.
    struct Says(Memory, Vec<&'static str>);

    #[async_trait::async_trait]
    impl Read for Says {
        fn uri(&self) -> &VaultUri {
            self.0.uri()
        }
        fn list(&self, what: Listing) -> BoxStream<'_, Result<Page, vault::Error>> {
            if what != Listing::Live(Kind::Secret) {
                return self.0.list(what);
            }
            let items = self.1.iter().map(|text| RawValue::from_string((*text).to_owned()).unwrap());
            let page = |raw| Ok(Page { items: vec![raw], exchange: Exchange::default() });
            stream::iter(items.map(page).collect::<Vec<_>>()).boxed()
        }
        async fn get(&self, what: Item) -> Result<Answer, vault::Error> {
            self.0.get(what).await
        }
        async fn backup(&self, object: &Object) -> Result<Backup, vault::Error> {
            self.0.backup(object).await
        }
        fn traffic(&self) -> Traffic {
            self.0.traffic()
        }
    }

    #[tokio::test]
    async fn every_page_is_read_past_the_empty_ones() {
        let vault = vault(&["key/a", "secret/a", "secret/b", "secret/c", "certificate/d", "secret/gone"]);
        vault.delete(&object("secret/gone"));
        let sweep = sweep(&vault).await.unwrap();
        let live: Vec<String> = sweep.live.keys().map(Object::to_string).collect();
        assert_eq!(live, ["certificate/d", "key/a", "key/d", "secret/a", "secret/b", "secret/c", "secret/d"]);
        assert!(sweep.live[&object("key/d")].managed && !sweep.live[&object("key/a")].managed);
        let gone = &sweep.deleted[&object("secret/gone")];
        assert_eq!(gone.purge_at.unwrap().timestamp(), 1_800_000_000 + 90 * 86_400);
        assert_eq!((sweep.deleted.len(), sweep.gaps.len()), (1, 0));
        assert!(sweep.pages > 12, "six lists, each with an empty page at either end");
    }

    #[tokio::test]
    async fn a_list_that_is_denied_is_a_gap_and_the_others_are_read() {
        let vault = vault(&["key/a", "secret/a"]);
        vault.interfere(|_, moment, call| match (moment, call) {
            (Moment::Before, Call::List(Listing::Live(Kind::Key) | Listing::Deleted(Kind::Secret))) => Err(denied()),
            _ => Ok(()),
        });
        let sweep = sweep(&vault).await.unwrap();
        assert_eq!(sweep.live.keys().collect::<Vec<_>>(), [&object("secret/a")]);
        let gaps: Vec<(&str, &str)> = sweep.gaps.iter().map(|gap| (gap.code.as_str(), gap.detail.as_str())).collect();
        assert_eq!(
            gaps,
            [
                ("list-denied", "the list of live keys: the role is missing"),
                ("list-denied", "the list of deleted secrets: the role is missing")
            ]
        );
    }

    #[tokio::test]
    async fn where_every_live_list_fails_there_is_nothing_to_take() {
        let vault = vault(&["key/a"]);
        vault.interfere(|_, _, call| match call {
            Call::List(Listing::Live(Kind::Certificate)) => Err(denied()),
            Call::List(Listing::Live(_)) => Err(vault::Error::new(Condition::Throttled, "later")),
            _ => Ok(()),
        });
        assert_eq!(sweep(&vault).await.unwrap_err().condition, Condition::Denied, "the first failure is the answer");
    }

    #[tokio::test]
    async fn items_that_make_no_sense_are_gaps_and_the_rest_stands() {
        let says = Says(
            vault(&[]),
            vec![
                r#"{"id":"https://v.vault.azure.net/secrets/good"}"#,
                r#"{"id":"https://v.vault.azure.net/keys/stray"}"#,
                r#"{"id":"https://v.vault.azure.net/secrets/not_a_name"}"#,
                r#"{"attributes":{}}"#,
                "[]",
                "null",
                r#"{"id":"https://v.vault.azure.net/secrets/twice","id":"https://v.vault.azure.net/secrets/twice"}"#,
            ],
        );
        let sweep = sweep(&says).await.unwrap();
        assert_eq!(sweep.live.keys().collect::<Vec<_>>(), [&object("secret/good")]);
        assert_eq!(sweep.gaps.len(), 6);
        assert!(sweep.gaps.iter().all(|gap| gap.code == "malformed-item" && gap.detail.contains("secrets")));
    }

    #[tokio::test]
    async fn an_item_that_is_listed_twice_is_one_object_whatever_its_case_and_the_later_reading_counts() {
        let says = Says(
            vault(&[]),
            vec![
                r#"{"id":"https://v.vault.azure.net/secrets/Token","attributes":{"enabled":true}}"#,
                r#"{"id":"https://v.vault.azure.net/secrets/token","attributes":{"enabled":false}}"#,
            ],
        );
        let sweep = sweep(&says).await.unwrap();
        assert_eq!((sweep.live.len(), sweep.gaps.len()), (1, 0));
        assert_eq!(sweep.live[&object("secret/TOKEN")].attributes.enabled, Some(false));
    }
}
