//! The sweep: the three live lists and the three deleted lists of a vault, read side by side to their true ends.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::stream::{self, BoxStream, Stream, StreamExt};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::format::fingerprint::fingerprint;
use crate::model::{Attributes, Digest, Kind, Object, VaultUri, object_in, unix_time};
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

/// A list of a vault's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// The live objects of a kind.
    Live(Kind),
    /// The soft-deleted ones.
    Deleted(Kind),
}

impl List {
    fn kind(self) -> Kind {
        match self {
            List::Live(kind) | List::Deleted(kind) => kind,
        }
    }

    fn listing(self) -> Listing {
        match self {
            List::Live(kind) => Listing::Live(kind),
            List::Deleted(kind) => Listing::Deleted(kind),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            List::Live(kind) => write!(f, "the list of live {}", kind.plural()),
            List::Deleted(kind) => write!(f, "the list of deleted {}", kind.plural()),
        }
    }
}

/// One thing that a sweep finds.
#[derive(Debug)]
pub enum Found {
    /// A live object. Lists repeat themselves: it may have been found before.
    Live(Object, Swept),
    /// A soft-deleted object.
    Deleted(Object, Swept),
    /// An item that makes no sense; what is wrong with it.
    Malformed(String),
    /// A list was read to its true end.
    Ended(List),
    /// A list could not be read to its end.
    Failed(List, vault::Error),
}

/// The lists of a whole vault.
pub const EVERYTHING: [List; 6] = [
    List::Live(Kind::Certificate),
    List::Live(Kind::Key),
    List::Live(Kind::Secret),
    List::Deleted(Kind::Certificate),
    List::Deleted(Kind::Key),
    List::Deleted(Kind::Secret),
];

/// Whether there is room for more of the lists. Shared by a sweep and whoever reads it.
///
/// The sweep must be polled while requests for pages are under way, room or no room: such a request may hold a place in
/// a queue that others wait in, and would hold it for ever. So it is the *next* request that waits for room.
#[derive(Debug, Default)]
pub struct Room {
    closed: AtomicBool,
    asking: AtomicUsize,
    opened: Notify,
}

impl Room {
    /// Lets requests for pages go out, or wait.
    pub fn set(&self, open: bool) {
        if self.closed.swap(!open, Ordering::SeqCst) && open {
            self.opened.notify_waiters();
        }
    }

    /// Whether no request for a page is under way.
    pub fn quiet(&self) -> bool {
        self.asking.load(Ordering::SeqCst) == 0
    }

    /// Waits until there is room; a request is under way until what this returns is dropped.
    async fn enter(&self) -> Asking<'_> {
        loop {
            // Enlisted before looking: an opening between the two would be missed otherwise.
            let opened = self.opened.notified();
            if !self.closed.load(Ordering::SeqCst) {
                break;
            }
            opened.await;
        }
        self.asking.fetch_add(1, Ordering::SeqCst);
        Asking(self)
    }
}

struct Asking<'a>(&'a Room);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads lists side by side, page by page while there is room. Every list ends in [`Found::Ended`] or [`Found::Failed`].
///
/// A list is not a snapshot: an object that is created behind the reader is missed until the next run (`azure.md` §1.2).
pub fn sweep<'a>(
    vault: &'a dyn vault::Read,
    lists: impl IntoIterator<Item = List>,
    room: &'a Room,
) -> impl Stream<Item = Found> + Send + Unpin + 'a {
    stream::select_all(lists.into_iter().map(|list| read(vault, list, room)))
}

fn read<'a>(vault: &'a dyn vault::Read, list: List, room: &'a Room) -> BoxStream<'a, Found> {
    stream::unfold(Some(vault.list(list.listing())), move |pages| async move {
        let mut pages = pages?;
        let _asking = room.enter().await;
        let (found, pages) = match pages.next().await {
            Some(Ok(page)) => (items(vault.uri(), list, page), Some(pages)),
            Some(Err(error)) => (vec![Found::Failed(list, error)], None),
            None => (vec![Found::Ended(list)], None),
        };
        Some((stream::iter(found), pages))
    })
    .flatten()
    .boxed()
}

fn items(vault: &VaultUri, list: List, page: vault::Page) -> Vec<Found> {
    let found = |raw| match (parse(vault, list.kind(), raw), list) {
        (Ok((object, swept)), List::Live(_)) => Found::Live(object, swept),
        (Ok((object, swept)), List::Deleted(_)) => Found::Deleted(object, swept),
        (Err(why), _) => Found::Malformed(format!("{list} holds an item that {why}")),
    };
    page.items.into_iter().map(found).collect()
}

/// Reads an item, or says what is wrong with it.
fn parse(vault: &VaultUri, kind: Kind, raw: Box<RawValue>) -> Result<(Object, Swept), String> {
    let item: Value = serde_json::from_str(raw.get()).map_err(|error| format!("cannot be read: {error}"))?;
    let id = item.get("kid").or_else(|| item.get("id")).and_then(Value::as_str);
    let object = id
        .and_then(|id| object_in(vault, id))
        .map(|(object, _)| object)
        .filter(|object| object.kind == kind)
        .ok_or_else(|| format!("names no {kind} of this vault"))?;
    let swept = Swept {
        fingerprint: fingerprint(&raw).map_err(|error| format!("cannot be compared: {error}"))?,
        attributes: Attributes::of(&item),
        managed: item.get("managed").and_then(Value::as_bool).unwrap_or(false),
        purge_at: item.get("scheduledPurgeDate").and_then(unix_time),
        raw,
    };
    Ok((object, swept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::ManualClock;
    use crate::vault::memory::{Call, Memory, Moment};
    use crate::vault::{Answer, Backup, Condition, Exchange, Item, Page, Read, Traffic};
    use futures::FutureExt;
    use std::collections::BTreeMap;
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

    /// What was found: live objects, deleted ones, lists that failed, items that made no sense.
    #[derive(Default)]
    struct Net {
        live: BTreeMap<Object, Vec<Swept>>,
        deleted: BTreeMap<Object, Swept>,
        ended: usize,
        failed: Vec<(List, Condition)>,
        malformed: Vec<String>,
    }

    async fn net(vault: &dyn Read) -> Net {
        let mut net = Net::default();
        let room = Room::default();
        let mut found = sweep(vault, EVERYTHING, &room);
        while let Some(found) = found.next().await {
            match found {
                Found::Live(object, swept) => net.live.entry(object).or_default().push(swept),
                Found::Deleted(object, swept) => drop(net.deleted.insert(object, swept)),
                Found::Malformed(detail) => net.malformed.push(detail),
                Found::Ended(_) => net.ended += 1,
                Found::Failed(list, error) => net.failed.push((list, error.condition)),
            }
        }
        net
    }

    #[tokio::test]
    async fn every_page_is_read_past_the_empty_ones() {
        let vault = vault(&["key/a", "secret/a", "secret/b", "secret/c", "certificate/d", "secret/gone"]);
        vault.delete(&object("secret/gone"));
        let net = net(&vault).await;
        let live: Vec<String> = net.live.keys().map(Object::to_string).collect();
        assert_eq!(live, ["certificate/d", "key/a", "key/d", "secret/a", "secret/b", "secret/c", "secret/d"]);
        assert!(net.live[&object("key/d")][0].managed && !net.live[&object("key/a")][0].managed);
        let gone = &net.deleted[&object("secret/gone")];
        assert_eq!(gone.purge_at.unwrap().timestamp(), 1_800_000_000 + 90 * 86_400);
        assert_eq!((net.deleted.len(), net.ended, net.malformed.len()), (1, 6, 0));
    }

    #[tokio::test]
    async fn a_list_that_fails_says_so_and_the_others_are_read() {
        let vault = vault(&["key/a", "secret/a"]);
        vault.interfere(|_, moment, call| match (moment, call) {
            (Moment::Before, Call::List(Listing::Live(Kind::Key) | Listing::Deleted(Kind::Secret))) => Err(denied()),
            _ => Ok(()),
        });
        let net = net(&vault).await;
        assert_eq!(net.live.keys().collect::<Vec<_>>(), [&object("secret/a")]);
        let denied = |list| (list, Condition::Denied);
        assert_eq!(net.failed, [denied(List::Live(Kind::Key)), denied(List::Deleted(Kind::Secret))]);
        assert_eq!(net.ended, 4);
    }

    #[tokio::test]
    async fn lists_are_read_side_by_side() {
        let vault = vault(&["certificate/a", "key/b", "secret/c"]);
        let first: Vec<Found> = sweep(&vault, EVERYTHING, &Room::default()).take(3).collect().await;
        let kinds = first.iter().filter_map(|found| match found {
            Found::Live(object, _) => Some(object.kind),
            _ => None,
        });
        assert_eq!(kinds.collect::<std::collections::BTreeSet<_>>().len(), 3, "{first:?}");
    }

    #[tokio::test]
    async fn without_room_no_page_is_asked_for_and_with_room_it_goes_on() {
        let vault = vault(&["secret/a"]);
        let room = Room::default();
        room.set(false);
        let mut found = sweep(&vault, [List::Live(Kind::Secret)], &room);
        assert!(found.next().now_or_never().is_none());
        assert!(room.quiet() && vault.traffic().requests == 0);
        room.set(true);
        assert!(matches!(found.next().await, Some(Found::Live(..))));
        room.set(false);
        assert!(found.next().now_or_never().is_none() && room.quiet());
        room.set(true);
        assert!(matches!(found.next().await, Some(Found::Ended(_))));
    }

    #[tokio::test]
    async fn items_that_make_no_sense_are_told_and_the_rest_stands() {
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
        let net = net(&says).await;
        assert_eq!(net.live.keys().collect::<Vec<_>>(), [&object("secret/good")]);
        assert_eq!(net.malformed.len(), 6);
        assert!(net.malformed.iter().all(|detail| detail.contains("secrets")));
    }

    #[tokio::test]
    async fn an_item_that_is_listed_twice_is_one_object_whatever_its_case() {
        let says = Says(
            vault(&[]),
            vec![
                r#"{"id":"https://v.vault.azure.net/secrets/Token","attributes":{"enabled":true}}"#,
                r#"{"id":"https://v.vault.azure.net/secrets/token","attributes":{"enabled":false}}"#,
            ],
        );
        let net = net(&says).await;
        assert_eq!((net.live.len(), net.live[&object("secret/TOKEN")].len()), (1, 2));
    }
}
