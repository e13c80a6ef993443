//! What every vault must do when it is changed, as one story: in memory, and in Azure as far as it is emulated. So what
//! unit tests learn from the vault in memory holds on the wire too.

use std::sync::Arc;
use std::time::Duration;

use akv_archiver::ambient::{Ambient, ManualClock, SeededRandom};
use akv_archiver::azure::{Cloud, Connection, CredentialConfig, Network};
use akv_archiver::model::{Kind, Object, VaultUri, object_of_id};
use akv_archiver::vault::memory::Memory;
use akv_archiver::vault::{Condition, Error, Item, Listing, Page, Setting, Write};
use chrono::DateTime;
use futures::TryStreamExt as _;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::Url;
use zeroize::Zeroizing;

use crate::support::world::World;

/// Seconds until changes show. Long ones: the emulator's clock goes on while a slow machine works.
const DELETE: u64 = 1_000;
const RECOVER: u64 = 2_000;
const PURGE: u64 = 3_000;
const DAY: u64 = 86_400;

/// A vault with `key/k`, `secret/s` and `certificate/tls`, and what others may do to it.
struct Stage<'a> {
    door: &'a dyn Write,
    delete: &'a dyn Fn(&Object),
    advance: &'a dyn Fn(u64),
    runtime: &'a Runtime,
}

fn object(text: &str) -> Object {
    Object::parse(text).unwrap()
}

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

fn condition<T>(result: Result<T, Error>) -> Option<Condition> {
    result.err().map(|error| error.condition)
}

impl Stage<'_> {
    fn list(&self, what: Listing) -> Vec<Value> {
        let pages: Vec<Page> = self.runtime.block_on(self.door.list(what).try_collect()).unwrap();
        pages.iter().flat_map(|page| &page.items).map(|item| serde_json::from_str(item.get()).unwrap()).collect()
    }

    fn get(&self, what: Item) -> Result<Value, Condition> {
        let answer = self.runtime.block_on(self.door.get(what));
        answer.map(|answer| serde_json::from_str(answer.body.get()).unwrap()).map_err(|error| error.condition)
    }

    /// The versions of a live object, with their attributes; none where it is not live.
    fn versions(&self, object: &Object) -> Vec<(String, Value)> {
        let mut versions: Vec<(String, Value)> = self
            .list(Listing::Versions(object.clone()))
            .into_iter()
            .map(|item| {
                let id = item.get("kid").or_else(|| item.get("id")).unwrap().as_str().unwrap();
                (object_of_id(id).unwrap().1.unwrap(), item["attributes"].clone())
            })
            .collect();
        versions.sort_by(|(a, _), (b, _)| a.cmp(b));
        versions
    }

    fn live(&self, object: &Object) -> bool {
        let listed = self.list(Listing::Live(object.kind)).iter().any(|item| names(item, object));
        assert_eq!(!self.versions(object).is_empty(), listed, "{object}");
        listed
    }

    fn deleted(&self, object: &Object) -> Option<Value> {
        let found = self.get(Item::Deleted(object.clone()));
        let listed = self.list(Listing::Deleted(object.kind)).iter().any(|item| names(item, object));
        assert_eq!(found.is_ok(), listed, "{object}: {found:?}");
        found.map_err(|condition| assert_eq!(condition, Condition::NotFound, "{object}")).ok()
    }

    fn recover(&self, object: &Object) -> Option<Condition> {
        condition(self.runtime.block_on(self.door.recover(object)))
    }

    fn purge(&self, object: &Object) -> Option<Condition> {
        condition(self.runtime.block_on(self.door.purge(object)))
    }

    fn restore(&self, kind: Kind, blob: &[u8]) -> Option<Condition> {
        condition(self.runtime.block_on(self.door.restore(kind, blob)))
    }

    fn write(&self, setting: Setting<'_>) -> Option<Condition> {
        condition(self.runtime.block_on(self.door.write(setting)))
    }

    fn backup(&self, object: &Object) -> Vec<u8> {
        self.runtime.block_on(self.door.backup(object)).unwrap().blob.to_vec()
    }

    /// Until a change shows: not a second before.
    fn wait(&self, seconds: u64, shows: impl Fn() -> bool) {
        (self.advance)(seconds - 500);
        assert!(!shows());
        (self.advance)(500);
        assert!(shows());
    }
}

fn names(item: &Value, object: &Object) -> bool {
    let id = item.get("kid").or_else(|| item.get("id")).unwrap().as_str().unwrap();
    object_of_id(id).unwrap().0 == *object
}

/// The names that an object takes.
fn parts(object: &Object) -> Vec<Object> {
    let kinds = if object.kind == Kind::Certificate { Kind::ALL.to_vec() } else { vec![object.kind] };
    kinds.into_iter().map(|kind| Object::new(kind, object.name.clone())).collect()
}

/// Deleted, recovered, deleted again, purged, restored: what shows when, and what is refused meanwhile.
fn the_life_of(stage: &Stage<'_>, object: &Object) {
    const MOVING: Option<Condition> = Some(Condition::InTransition);
    let all = parts(object);
    let none =
        |what: &str| assert!(all.iter().all(|part| !stage.live(part) && stage.deleted(part).is_none()), "{what}");
    let blob = stage.backup(object);
    let before: Vec<_> = all.iter().map(|part| stage.versions(part)).collect();
    let refused = |(recover, purge): (Option<Condition>, Option<Condition>)| {
        assert_eq!(stage.recover(object), recover, "recover {object}");
        assert_eq!(stage.purge(object), purge, "purge {object}");
        assert_eq!(stage.restore(object.kind, &blob), Some(Condition::Conflict), "restore {object}");
    };
    let live = (Some(Condition::Live), Some(Condition::Live));

    refused(live);
    (stage.delete)(object);
    none("its name is taken before it can be seen");
    refused((MOVING, MOVING));
    stage.wait(DELETE, || all.iter().all(|part| stage.deleted(part).is_some()));
    let bundle = stage.deleted(object).unwrap();
    let date = |name: &str| bundle[name].as_u64().unwrap();
    assert_eq!(date("scheduledPurgeDate") - date("deletedDate"), 7 * DAY);
    assert_eq!(stage.restore(object.kind, &blob), Some(Condition::Conflict));
    for part in all.iter().filter(|part| *part != object) {
        assert_eq!(stage.recover(part), Some(Condition::Forbidden), "{part}");
        assert_eq!(stage.purge(part), Some(Condition::Forbidden), "{part}");
    }

    assert_eq!(stage.recover(object), None);
    none("it looks free while it is recovered");
    refused((MOVING, MOVING));
    stage.wait(RECOVER, || all.iter().all(|part| stage.live(part)));
    assert_eq!(all.iter().map(|part| stage.versions(part)).collect::<Vec<_>>(), before);
    refused(live);

    (stage.delete)(object);
    (stage.advance)(DELETE);
    assert_eq!(stage.purge(object), None);
    none("it looks free while it is purged");
    refused((MOVING, MOVING));
    (stage.advance)(PURGE - 500);
    refused((MOVING, MOVING));
    (stage.advance)(500);
    assert_eq!(stage.purge(object), Some(Condition::NotFound));
    assert_eq!(stage.recover(object), Some(Condition::NotFound));
    for other in Kind::ALL.into_iter().filter(|kind| *kind != object.kind) {
        assert_eq!(stage.restore(other, &blob), Some(Condition::Rejected), "{object} as a {other}");
    }
    assert_eq!(stage.restore(object.kind, &blob), None);
    assert_eq!(all.iter().map(|part| stage.versions(part)).collect::<Vec<_>>(), before);
}

/// When the retention ends, the service purges by itself.
fn the_end_of_retention(stage: &Stage<'_>) {
    let secret = object("secret/s");
    let blob = stage.backup(&secret);
    (stage.delete)(&secret);
    (stage.advance)(7 * DAY - 500);
    assert!(stage.deleted(&secret).is_some());
    (stage.advance)(500);
    assert!(stage.deleted(&secret).is_none());
    assert_eq!(stage.purge(&secret), Some(Condition::NotFound));
    assert_eq!(stage.restore(Kind::Secret, &blob), None);
}

fn without(value: &Value, fields: &[&str]) -> Value {
    let mut value = value.clone();
    for field in fields {
        let (parent, name) = field.rsplit_once('/').unwrap();
        if let Some(Value::Object(members)) = value.pointer_mut(parent) {
            members.remove(name);
        }
    }
    value
}

const DECIDED: [&str; 3] = ["/id", "/attributes/created", "/attributes/updated"];

/// Rotation policies are kept through a recovery and lost with a purge; no backup carries them.
fn rotation_policies(stage: &Stage<'_>) {
    let key = object("key/k");
    let shown = || stage.get(Item::RotationPolicy(key.name.clone()));
    let first = shown().unwrap();
    let notify = json!({"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}});
    assert_eq!(without(&first, &DECIDED), json!({"lifetimeActions": [notify], "attributes": {}}));
    let rotate = json!({"trigger": {"timeAfterCreate": "P60D"}, "action": {"type": "Rotate"}});
    let policy = json!({"lifetimeActions": [rotate, notify], "attributes": {"expiryTime": "P90D"}});
    assert_eq!(stage.write(Setting::RotationPolicy(&key.name, &raw(&policy))), None);
    let written = shown().unwrap();
    assert_eq!(without(&written, &DECIDED), policy);
    let times = |shown: &Value| (shown["attributes"]["created"].as_u64(), shown["attributes"]["updated"].as_u64());
    (stage.advance)(60);
    assert_eq!(stage.write(Setting::RotationPolicy(&key.name, &raw(&written))), None, "as it was shown");
    let again = shown().unwrap();
    assert_eq!(without(&again, &DECIDED), policy);
    assert_eq!(times(&again).0, times(&written).0);
    assert!(times(&again).1 > times(&written).1);
    let missing = object("key/none").name;
    assert_eq!(stage.write(Setting::RotationPolicy(&missing, &raw(&policy))), Some(Condition::NotFound));
    assert_eq!(stage.write(Setting::RotationPolicy(&key.name, &raw(&json!([])))), Some(Condition::Rejected));

    let blob = stage.backup(&key);
    (stage.delete)(&key);
    (stage.advance)(DELETE);
    assert_eq!(stage.write(Setting::RotationPolicy(&key.name, &raw(&policy))), Some(Condition::NotFound));
    assert_eq!(stage.recover(&key), None);
    (stage.advance)(RECOVER);
    assert_eq!(shown(), Ok(again));
    (stage.delete)(&key);
    (stage.advance)(DELETE);
    assert_eq!(stage.purge(&key), None);
    (stage.advance)(PURGE);
    assert_eq!(stage.restore(Kind::Key, &blob), None);
    assert_eq!(shown(), Ok(first), "no backup carries it");
}

fn issuers_and_contacts(stage: &Stage<'_>) {
    let issuer = || stage.get(Item::Issuer("own".into()));
    assert_eq!(issuer(), Err(Condition::NotFound));
    let written = json!({
        "provider": "Test",
        "credentials": {"account_id": "a"},
        "org_details": {"id": "O", "admin_details": [{"email": "x@y"}]},
        "attributes": {"enabled": false},
    });
    assert_eq!(stage.write(Setting::Issuer("own", &raw(&written))), None);
    let shown = issuer().unwrap();
    let decided = [&DECIDED[..], &["/org_details/zip"]].concat();
    assert_eq!(without(&shown, &decided), written);
    let listed = stage.list(Listing::Issuers);
    assert_eq!(listed, [json!({"id": shown["id"], "provider": "Test"})]);
    assert_eq!(stage.write(Setting::Issuer("own", &raw(&shown))), None, "as it was shown");
    assert_eq!(without(&issuer().unwrap(), &decided), written);
    assert_eq!(stage.write(Setting::Issuer("OWN", &raw(&json!({"provider": "DigiCert"})))), None);
    let replaced = json!({"provider": "DigiCert", "attributes": {"enabled": true}});
    assert_eq!(without(&issuer().unwrap(), &decided), replaced, "nothing is left of the old one");
    assert_eq!(stage.list(Listing::Issuers).len(), 1);
    assert_eq!(stage.write(Setting::Issuer("new", &raw(&json!({})))), Some(Condition::Rejected));

    assert_eq!(stage.get(Item::Contacts), Err(Condition::NotFound));
    for list in [json!([{"email": "a@b", "name": "A", "phone": "1"}, {"email": "c@d"}]), json!([{"email": "c@d"}])] {
        assert_eq!(stage.write(Setting::Contacts(&raw(&json!({"contacts": list})))), None);
        let shown = stage.get(Item::Contacts).unwrap();
        assert_eq!(without(&shown, &DECIDED), json!({"contacts": list}));
        assert_eq!(stage.write(Setting::Contacts(&raw(&shown))), None, "as they were shown");
    }
    assert_eq!(stage.write(Setting::Contacts(&raw(&json!({"contacts": []})))), Some(Condition::Rejected));
}

fn level(stage: &Stage<'_>) -> (String, u64) {
    let attributes = stage.get(Item::Key(object("key/k").name, None)).unwrap()["attributes"].clone();
    (attributes["recoveryLevel"].as_str().unwrap().to_owned(), attributes["recoverableDays"].as_u64().unwrap())
}

fn a_whole_story(stage: &Stage<'_>) {
    assert_eq!(level(stage), ("CustomizedRecoverable+Purgeable".to_owned(), 7));
    for nothing in ["key/none", "secret/none", "certificate/none"].map(object) {
        assert_eq!(stage.recover(&nothing), Some(Condition::NotFound));
        assert_eq!(stage.purge(&nothing), Some(Condition::NotFound));
        assert_eq!(stage.restore(nothing.kind, b"garbage"), Some(Condition::Rejected));
    }
    rotation_policies(stage);
    issuers_and_contacts(stage);
    for it in ["key/k", "secret/s", "certificate/tls"].map(object) {
        the_life_of(stage, &it);
    }
    the_end_of_retention(stage);
}

/// Of a vault with purge protection and 90 days.
fn protected(stage: &Stage<'_>) {
    assert_eq!(level(stage), ("Recoverable".to_owned(), 90));
    for it in ["key/k", "secret/s", "certificate/tls"].map(object) {
        (stage.delete)(&it);
        (stage.advance)(DELETE);
        assert_eq!(stage.purge(&it), Some(Condition::Forbidden), "{it}");
        assert_eq!(stage.recover(&it), None);
        (stage.advance)(RECOVER);
        assert!(stage.live(&it), "{it}");
    }
}

fn in_memory(story: fn(&Stage<'_>), prepare: fn(&Memory)) {
    let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_763_700_000, 0).unwrap()));
    let vault = Memory::new(VaultUri::parse("https://prod.vault.azure.net").unwrap(), clock.clone());
    for it in ["key/k", "key/k", "secret/s", "certificate/tls"] {
        vault.put(&object(it));
    }
    let [delete, recover, purge] = [DELETE, RECOVER, PURGE].map(Duration::from_secs);
    vault.set_delete_limbo(delete);
    vault.set_recover_limbo(recover);
    vault.set_purge_limbo(purge);
    prepare(&vault);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (delete, advance) = (|it: &Object| vault.delete(it), |seconds| clock.advance(Duration::from_secs(seconds)));
    story(&Stage { door: &vault, delete: &delete, advance: &advance, runtime: &runtime });
}

fn emulated(story: fn(&Stage<'_>), more: &str) {
    let world = World::new(&format!(
        r#"
        [limits]
        limbo = {{ delete = {DELETE}, recover = {RECOVER}, purge = {PURGE} }}
        [[vault]]
        name = "prod"
        subscription = "11111111-1111-1111-1111-111111111111"
        location = "westeurope"
        {more}
        objects = [
          {{ kind = "key", type = "EC", name = "k", versions = 2 }},
          {{ kind = "secret", name = "s" }},
          {{ kind = "certificate", name = "tls", type = "EC" }},
        ]
        "#
    ));
    let ready = world.azure.ready();
    let network = Network {
        proxy: Some(Url::parse(&ready.proxy).unwrap()),
        ca_file: Some(ready.ca_file.clone()),
        ..Network::default()
    };
    let credential = CredentialConfig::ClientSecret {
        tenant_id: ready.tenant_id.clone(),
        client_id: ready.client_id.clone(),
        secret: Zeroizing::new(ready.client_secret.clone()),
    };
    let clock = Arc::new(ManualClock::new(world.azure.now()));
    let ambient = Ambient::new(clock, Arc::new(SeededRandom::new(1)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let door = {
        let _inside = runtime.enter();
        let connection = Connection::new(&network, Cloud::Public, &credential, ambient).unwrap();
        connection.vault(&VaultUri::parse("https://prod.vault.azure.net").unwrap()).unwrap()
    };
    let stranger = world.stranger();
    let delete = |it: &Object| {
        let path = format!("prod.vault.azure.net/{}/{}", it.kind.plural(), it.name);
        assert_eq!(stranger.vault("DELETE", &path, "").0, 200, "{it}");
    };
    let advance = |seconds| world.azure.advance(Duration::from_secs(seconds));
    story(&Stage { door: &door, delete: &delete, advance: &advance, runtime: &runtime });
}

#[test]
fn memory_lives_the_story() {
    in_memory(a_whole_story, |vault| vault.set_retention(7));
}

#[test]
fn the_emulated_azure_lives_the_story() {
    emulated(a_whole_story, "retention_days = 7");
}

#[test]
fn memory_with_purge_protection_purges_nothing() {
    in_memory(protected, |vault| vault.set_purge_protection(true));
}

#[test]
fn the_emulated_azure_with_purge_protection_purges_nothing() {
    emulated(protected, "purge_protection = true");
}
