//! Recorded Azure traffic judges this module: every recorded answer that we can meet goes through the door that would meet
//! it, and every error must land in the condition that `azure.md` §1.4 to §1.6 and §9 give it.
//!
//! The recordings are not part of the repository; `tests/recordings/traffic.rs` says where they are looked for. The other
//! direction, recorded requests judging the emulator, is `tests/recordings`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::bodies;
use super::classify::{Aim, Asked, Deed, blob_error, vault_error};
use super::failure::{Cause, Failure, Refusal};
use super::fake::{Stage, Step, answer};
use super::wire;
use crate::capture::{self, Found, List, Room};
use crate::model::{Kind, Name, Object, StorePath, VaultUri, object_of_id};
use crate::vault::{Condition, Item, Listing, Read as _, Setting, Write as _};
use crate::{store, vault};
use store::{Append as _, Read as _};
use traffic::Interaction;

mod management;
#[path = "../../tests/recordings/traffic.rs"]
#[allow(dead_code, reason = "the emulator's judge uses the rest")]
mod traffic;

fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// A recorded answer as a step of the scripted network.
fn step(it: &Interaction) -> Step {
    let headers = it.answer_headers.iter();
    let headers = headers.map(|(name, value)| (&*Box::leak(name.clone().into_boxed_str()), value.clone()));
    Step::Answer(it.status, headers.collect(), it.answer.clone().into())
}

fn refusal(it: &Interaction) -> Refusal {
    let mut headers = azure_core::http::headers::Headers::new();
    it.answer_headers.iter().for_each(|(name, value)| headers.insert(name.clone(), value.clone()));
    let body = Bytes::from(it.answer.clone());
    Refusal::of(&wire::Answer { status: it.status, headers, body, took: std::time::Duration::ZERO })
}

/// What a request asks of our door to a vault.
#[derive(Debug)]
enum Ask {
    List(Listing),
    Get(Item),
    BackUp(Object),
    Restore(Kind),
    Recover(Object),
    Purge(Object),
    PutPolicy(Name),
    PutIssuer(String),
    PutContacts,
}

/// What our door would send this for; `None` for what it has no call for.
fn ask(it: &Interaction) -> Option<Ask> {
    let segments: Vec<&str> = it.path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (deleted, plural) = match segments.first()?.strip_prefix("deleted") {
        Some(plural) => (true, plural),
        None => (false, *segments.first()?),
    };
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural)?;
    let object = |name: &str| Some(Object { kind, name: Name::parse(name)? });
    Some(match (it.method.as_str(), deleted, segments.get(1..)?) {
        ("GET", false, []) => Ask::List(Listing::Live(kind)),
        ("GET", true, []) => Ask::List(Listing::Deleted(kind)),
        ("GET", false, ["issuers" | "contacts", ..]) => return None,
        ("GET", false, [name, "versions"]) => Ask::List(Listing::Versions(object(name)?)),
        ("GET", true, [name]) => Ask::Get(Item::Deleted(object(name)?)),
        ("GET", false, [name, "rotationpolicy"]) if kind == Kind::Key => {
            Ask::Get(Item::RotationPolicy(Name::parse(name)?))
        }
        ("GET", false, [_, "pending" | "policy"]) => return None,
        ("GET", false, [name, version @ ..]) => {
            let (name, version) = (Name::parse(name)?, version.first().map(|version| (*version).to_owned()));
            match kind {
                Kind::Key => Ask::Get(Item::Key(name, version)),
                Kind::Certificate => Ask::Get(Item::Certificate(name, version)),
                // There is no call that reads a secret's value.
                Kind::Secret => return None,
            }
        }
        ("POST", false, ["restore"]) => Ask::Restore(kind),
        ("POST", false, [name, "backup"]) => Ask::BackUp(object(name)?),
        ("POST", true, [name, "recover"]) => Ask::Recover(object(name)?),
        ("DELETE", true, [name]) => Ask::Purge(object(name)?),
        ("PUT", false, [name, "rotationpolicy"]) if kind == Kind::Key => Ask::PutPolicy(Name::parse(name)?),
        ("PUT", false, ["issuers", name]) => Ask::PutIssuer((*name).to_owned()),
        ("PUT", false, ["contacts"]) => Ask::PutContacts,
        _ => return None,
    })
}

/// Where each recorded refusal of a vault or a Managed HSM must land: status, code, inner code.
const VAULT: &[(u16, &str, &str, Condition)] = &[
    (400, "", "", Condition::Malformed),
    (400, "BadParameter", "", Condition::Rejected),
    (400, "BadRequest", "", Condition::Rejected),
    (400, "Malformed backup blob", "", Condition::Rejected),
    (400, "MalformedBackupBlob", "", Condition::Rejected),
    (400, "MethodNotAllowed", "RequestNotAllowedOnNonDeletedObject", Condition::Live),
    (401, "", "", Condition::Denied),
    (401, "Unauthorized", "", Condition::Denied),
    (403, "Forbidden", "SecretManagedByKeyVault", Condition::Forbidden),
    (404, "CertificateIssuerNotFound", "", Condition::NotFound),
    (404, "CertificateNotFound", "", Condition::NotFound),
    (404, "ContactsNotFound", "", Condition::NotFound),
    (404, "KeyNotFound", "", Condition::NotFound),
    (404, "SecretNotFound", "", Condition::NotFound),
    (409, "Conflict", "", Condition::Conflict),
    (409, "Conflict", "ObjectIsBeingDeleted", Condition::InTransition),
    (409, "Conflict", "ObjectIsDeletedButRecoverable", Condition::SoftDeleted),
];

fn expected(refusal: &Refusal) -> Option<Condition> {
    let is = |found: &Option<String>, code: &str| found.as_deref().unwrap_or_default() == code;
    let row = VAULT.iter().find(|(status, code, inner, _)| {
        *status == refusal.status && is(&refusal.code, code) && is(&refusal.inner, inner)
    });
    row.map(|(.., condition)| *condition)
}

#[test]
fn every_recorded_refusal_of_a_vault_lands_in_its_condition() {
    let Some(recorded) = traffic::read() else { return };
    let uri = VaultUri::parse("https://prod.vault.azure.net").unwrap();
    let mut seen = BTreeSet::new();
    let mut judged = 0;
    for it in recorded.iter().filter(|it| (it.to_vault() || it.to_hsm()) && it.status >= 400) {
        let refusal = refusal(it);
        let wanted = expected(&refusal).unwrap_or_else(|| panic!("{}: {refusal:?} is not in the table", it.place()));
        seen.insert((
            refusal.status,
            refusal.code.clone().unwrap_or_default(),
            refusal.inner.clone().unwrap_or_default(),
        ));
        let asked = Asked { vault: &uri, deed: Deed::Get, kind: Kind::Key, name: None };
        let error = vault_error(&Failure::new(Cause::Refused(refusal)), &asked);
        assert_eq!(error.condition, wanted, "{}: {error}", it.place());
        judged += 1;
    }
    let listed = VAULT.iter().map(|(status, code, inner, _)| (*status, (*code).to_owned(), (*inner).to_owned()));
    assert_eq!(listed.collect::<BTreeSet<_>>(), seen, "the table has rows that were never recorded");
    say(&format!("recorded refusals of vaults and Managed HSMs: {judged} judged, {} kinds", seen.len()));
}

#[tokio::test]
async fn every_recorded_answer_of_a_vault_passes_its_door() {
    let Some(recorded) = traffic::read() else { return };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for it in recorded.iter().filter(|it| it.to_vault()) {
        if it.status == 401 {
            challenged(it).await;
            *counts.entry("challenge").or_default() += 1;
            continue;
        }
        let Some(ask) = ask(it) else { continue };
        let what = match (&ask, it.status) {
            (Ask::List(listing), 200) => listed(it, listing).await,
            (Ask::PutPolicy(_) | Ask::PutIssuer(_) | Ask::PutContacts, 200) => written(it, ask).await,
            (_, 200 | 204) => granted(it, ask).await,
            _ => refused(it, ask).await,
        };
        *counts.entry(what).or_default() += 1;
    }
    let all =
        ["backup", "bundle", "challenge", "list", "purge", "recover", "refusal", "restore", "setting", "versions"];
    for what in all {
        assert!(counts.contains_key(what), "no recorded {what} was judged");
    }
    say(&format!("recorded answers through the door of a vault: {counts:?}"));
}

fn door(stage: &Stage, it: &Interaction) -> super::Vault {
    stage.connection.vault(&VaultUri::parse(&format!("https://{}", it.host)).unwrap()).unwrap()
}

/// What the door makes of it; a list's first page is enough.
async fn open(vault: &super::Vault, ask: Ask) -> Result<(), vault::Error> {
    match ask {
        Ask::List(listing) => vault.list(listing).next().await.transpose().map(drop),
        Ask::Get(item) => vault.get(item).await.map(drop),
        Ask::BackUp(object) => vault.backup(&object).await.map(drop),
        Ask::Restore(kind) => vault.restore(kind, b"blob").await.map(drop),
        Ask::Recover(object) => vault.recover(&object).await,
        Ask::Purge(object) => vault.purge(&object).await,
        Ask::PutPolicy(_) | Ask::PutIssuer(_) | Ask::PutContacts => unreachable!("no refusal of one was recorded"),
    }
}

/// What a vault showed of a setting, written back, is the request that led to it.
async fn written(it: &Interaction, ask: Ask) -> &'static str {
    let stage = Stage::new([step(it)]);
    let shown = RawValue::from_string(it.answer.clone()).unwrap();
    let setting = match &ask {
        Ask::PutPolicy(name) => Setting::RotationPolicy(name, &shown),
        Ask::PutIssuer(name) => Setting::Issuer(name, &shown),
        _ => Setting::Contacts(&shown),
    };
    let place = it.place();
    door(&stage, it).write(setting).await.expect(&place);
    let sent = &stage.fake.authorised()[0];
    assert!(sent.url.contains(&it.path) && sent.method == "PUT", "{}: {}", it.place(), sent.url);
    let json = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
    assert_eq!(json(&sent.body), json(it.body.as_bytes()), "{}", it.place());
    "setting"
}

/// A challenge, whatever it was that was asked, must get its token, and the request must go through with it.
async fn challenged(it: &Interaction) {
    let stage = Stage::new([answer(200, r#"{"value":[],"nextLink":null}"#)]);
    stage.fake.early([step(it)]);
    let opened = open(&door(&stage, it), Ask::List(Listing::Live(Kind::Key))).await;
    assert!(opened.is_ok(), "{}: {opened:?}", it.place());
    assert!(stage.done() && stage.fake.log().len() == 2, "{}", it.place());
}

async fn refused(it: &Interaction, ask: Ask) -> &'static str {
    let stage = Stage::new([step(it)]);
    let error = open(&door(&stage, it), ask).await.expect_err(&it.place());
    assert_eq!(Some(error.condition), expected(&refusal(it)), "{}: {error}", it.place());
    "refusal"
}

async fn granted(it: &Interaction, ask: Ask) -> &'static str {
    let stage = Stage::new([step(it)]);
    let vault = door(&stage, it);
    let place = it.place();
    let same = |body: &str| assert_eq!(body, it.answer, "{place}: an answer is kept as it came");
    match ask {
        Ask::List(_) | Ask::PutPolicy(_) | Ask::PutIssuer(_) | Ask::PutContacts => unreachable!(),
        Ask::Get(item) => {
            let answer = vault.get(item).await.expect(&place);
            same(answer.body.get());
            assert!(answer.exchange.date.is_some() && answer.exchange.region.is_some(), "{place}");
            "bundle"
        }
        Ask::BackUp(object) => {
            let backup = vault.backup(&object).await.expect(&place);
            let magic: &[u8] = if object.kind == Kind::Secret { b")AzureKeyVaultSecret" } else { b"&AzureKeyVaultKey" };
            assert!(backup.blob.starts_with(magic), "{place}");
            // Sent back, it is the very string that came.
            let value: Value = serde_json::from_str(&it.answer).unwrap();
            assert!(bodies::restore(&backup.blob).contains(value["value"].as_str().unwrap()), "{place}");
            "backup"
        }
        Ask::Restore(kind) => {
            same(vault.restore(kind, b"blob").await.expect(&place).body.get());
            "restore"
        }
        Ask::Recover(object) => {
            vault.recover(&object).await.expect(&place);
            "recover"
        }
        Ask::Purge(object) => {
            vault.purge(&object).await.expect(&place);
            "purge"
        }
    }
}

/// A page goes through the sweep, which reads the items.
async fn listed(it: &Interaction, listing: &Listing) -> &'static str {
    let end = || answer(200, r#"{"value":[],"nextLink":null}"#);
    let page: Value = serde_json::from_str(&it.answer).unwrap();
    let items = page["value"].as_array().unwrap();
    let addresses = items.iter().map(|item| item["kid"].as_str().or(item["id"].as_str()).unwrap());
    let more = page["nextLink"].is_string();
    if let Listing::Versions(object) = listing {
        let stage = Stage::new([step(it)].into_iter().chain(more.then(end)));
        let mut pages = door(&stage, it).list(listing.clone()).collect::<Vec<_>>().await;
        assert_eq!(pages.len(), 1 + usize::from(more), "{}", it.place());
        assert_eq!(pages.swap_remove(0).expect("a page").items.len(), items.len(), "{}", it.place());
        for address in addresses {
            let (found, version) = object_of_id(address).expect("an address");
            assert!(found == *object && version.is_some(), "{}: {address}", it.place());
        }
        return "versions";
    }
    let mut steps = vec![step(it)];
    steps.extend(more.then(end));
    let stage = Stage::new(steps);
    let door = door(&stage, it);
    let mut found = BTreeSet::new();
    let room = Room::default();
    let list = match listing {
        Listing::Live(kind) => List::Live(*kind),
        Listing::Deleted(kind) => List::Deleted(*kind),
        other => panic!("{other:?} is no list of objects"),
    };
    let mut sweep = capture::sweep(&door, [list], &room);
    while let Some(item) = sweep.next().await {
        match item {
            Found::Live(object, _) | Found::Deleted(object, _) => drop(found.insert(object)),
            Found::Ended(_) => assert!(stage.done(), "{}", it.place()),
            other => panic!("{}: {other:?}", it.place()),
        }
    }
    let names: BTreeSet<Object> = addresses.map(|address| object_of_id(address).expect("an address").0).collect();
    assert_eq!(names, found, "{}", it.place());
    "list"
}

/// Managed HSMs are no target; what they answer has the shapes that we parse all the same.
#[test]
fn recorded_answers_of_managed_hsms_have_the_shapes_of_vaults() {
    let Some(recorded) = traffic::read() else { return };
    let (mut lists, mut backups, mut objects) = (0, 0, 0);
    for it in recorded.iter().filter(|it| it.to_hsm() && it.status == 200 && it.answer.starts_with('{')) {
        let body = it.answer.as_bytes();
        bodies::object(body).unwrap_or_else(|why| panic!("{}: {why}", it.place()));
        match ask(it) {
            Some(Ask::List(_)) => {
                bodies::list_page(body).unwrap_or_else(|why| panic!("{}: {why}", it.place()));
                lists += 1;
            }
            Some(Ask::BackUp(_)) => {
                bodies::backup(body).unwrap_or_else(|why| panic!("{}: {why}", it.place()));
                backups += 1;
            }
            _ => objects += 1,
        }
    }
    assert!(lists > 0 && backups > 0 && objects > 0);
    say(&format!("recorded answers of Managed HSMs parsed: {lists} lists, {backups} backups, {objects} others"));
}

#[tokio::test]
async fn every_recorded_answer_of_blob_storage_passes_its_door() {
    let Some(recorded) = traffic::read() else { return };
    let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
    let path = StorePath::parse("vaults/prod.vault.azure.net/log/0000000001").unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for it in recorded.iter().filter(|it| it.to_blob()) {
        let place = it.place();
        let stage = Stage::new([step(it)]);
        // Requests that carry a token are never challenged by Blob Storage: the first one already has one.
        let container = stage.connection.container(&address, None).unwrap();
        let blob = it.path.trim_matches('/').contains('/');
        // The Put Blob that we send: no block, no setting, no lease of somebody else.
        let put = it.method == "PUT" && blob && it.query("comp").is_none() && !it.headers.contains_key("x-ms-lease-id");
        let what = match (it.method.as_str(), it.status) {
            ("GET", 200) if it.answer.contains("<EnumerationResults") && it.answer.contains("<Blobs") => {
                let all: Vec<_> = container.list("").collect().await;
                let wanted = it.answer.matches("<Blob>").count();
                assert!(all.iter().all(Result::is_ok) && all.len() == wanted, "{place}: {} of {wanted}", all.len());
                "listing"
            }
            ("PUT", 201)
                if put
                    && it.query.iter().all(|(name, _)| name == "timeout")
                    && it.answer_headers.contains_key("content-md5") =>
            {
                let made = container.create(&path, Bytes::new()).await.expect(&place);
                assert_eq!(made.version.as_ref(), it.answer_headers.get("x-ms-version-id"), "{place}");
                "create"
            }
            ("GET", 200 | 206) if blob => {
                let bytes = container.get(&path, None, 1 << 20).await.expect(&place);
                assert_eq!(bytes, it.answer, "{place}");
                "read"
            }
            (method, 400..) => {
                let refusal = refusal(it);
                assert!(refusal.code.is_some(), "{place}: {refusal:?}");
                let (aim, wanted) = match (method, refusal.code.as_deref()) {
                    ("PUT", Some("BlobAlreadyExists" | "ConditionNotMet")) if put => {
                        let error = container.create(&path, Bytes::new()).await.expect_err(&place);
                        assert_eq!(error.condition, store::Condition::Exists, "{place}: {error}");
                        (Aim::Create(&path), store::Condition::Exists)
                    }
                    ("HEAD" | "GET", Some("BlobNotFound")) => (Aim::Read(&path), store::Condition::NotFound),
                    // We delete nothing; but these are the words of a container that protects what we wrote.
                    ("DELETE", Some("BlobImmutableDueToPolicy" | "BlobImmutableDueToLegalHold")) => {
                        (Aim::Create(&path), store::Condition::Exists)
                    }
                    _ => {
                        *counts.entry("other refusal").or_default() += 1;
                        continue;
                    }
                };
                let error = blob_error(&Failure::new(Cause::Refused(refusal)), &address, &aim);
                assert_eq!(error.condition, wanted, "{place}: {error}");
                "refusal"
            }
            _ => continue,
        };
        *counts.entry(what).or_default() += 1;
    }
    for what in ["create", "listing", "read", "refusal"] {
        assert!(counts.contains_key(what), "no recorded {what} was judged");
    }
    say(&format!("recorded answers through the door of a container: {counts:?}"));
}
