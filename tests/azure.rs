//! `azure` against the emulator, over a real proxy and TLS: production host names, official SDK, nothing replaced.

use std::sync::Arc;
use std::time::Duration;

use akv_archiver::ambient::{Ambient, ManualClock, SeededRandom};
use akv_archiver::azure::{Cloud, Connection, CredentialConfig, Network};
use akv_archiver::capture;
use akv_archiver::emulator::faults::{Action, Rewrite, Rule, Status, When};
use akv_archiver::emulator::seed::Seed;
use akv_archiver::emulator::{Emulator, Options};
use akv_archiver::format::settings::{Document, fingerprint};
use akv_archiver::model::{Kind, Mode, Object, StorePath, VaultUri};
use akv_archiver::store::{self, Append as _, Listed, Read as _, Worm};
use akv_archiver::vault::{Condition, Facts as _, Item, Listing, Page, Read as _, Write as _};
use bytes::Bytes;
use futures::TryStreamExt as _;
use url::Url;
use zeroize::Zeroizing;

const SEED: &str = r#"
    [[vault]]
    name = "prod"
    subscription = "11111111-1111-1111-1111-111111111111"
    location = "westeurope"
    sku = "premium"
    tags = { owner = "payments" }
    network = { default_action = "Deny", ip_rules = ["1.2.3.4/32"] }
    role_assignments = [
      { role = "44444444-4444-4444-4444-444444444444", principal = "33333333-3333-3333-3333-333333333333" },
    ]
    diagnostic_settings = [{ name = "audit", workspace = "/subscriptions/s/workspaces/w", categories = ["AuditEvent"] }]
    issuers = [{ name = "digicert", provider = "DigiCert", account_id = "a1" }]
    contacts = [{ email = "pki@example.com" }]
    objects = [
      { kind = "key", type = "RSA-HSM", name = "tde-protector", versions = 3 },
      { kind = "secret", name = "app", count = 60 },
      { kind = "certificate", name = "tls" },
    ]
    [[vault]]
    name = "bare"
    subscription = "11111111-1111-1111-1111-111111111111"
    location = "westeurope"
    [[storage]]
    account = "archive"
    subscription = "22222222-2222-2222-2222-222222222222"
    location = "northeurope"
    containers = [
      { name = "vaults", worm = "version-level", days = 365, locked = true },
      { name = "drafts", worm = "container-level", days = 7 },
      { name = "plain" },
    ]
    [[principal]]
    name = "reader"
    actions = ["Microsoft.KeyVault/vaults/secrets/readMetadata/action"]
"#;

struct Stage {
    emulator: Emulator,
    connection: Connection,
}

impl Stage {
    fn start() -> Self {
        let emulator = Emulator::start(Seed::parse(SEED).unwrap(), Options::default()).unwrap();
        let ready = emulator.ready();
        let (id, secret) = (ready.client_id.clone(), ready.client_secret.clone());
        let connection = Stage::connect(&emulator, id, secret);
        Stage { emulator, connection }
    }

    fn connect(emulator: &Emulator, client_id: String, secret: String) -> Connection {
        let ready = emulator.ready();
        let network = Network {
            proxy: Some(Url::parse(&ready.proxy).unwrap()),
            ca_file: Some(ready.ca_file.clone()),
            ..Network::default()
        };
        let credential = CredentialConfig::ClientSecret {
            tenant_id: ready.tenant_id.clone(),
            client_id,
            secret: Zeroizing::new(secret),
        };
        let clock = Arc::new(ManualClock::new(emulator.now()));
        let ambient = Ambient::new(clock, Arc::new(SeededRandom::new(1)));
        Connection::new(&network, Cloud::Public, &credential, ambient).unwrap()
    }

    fn vault(&self, name: &str) -> akv_archiver::azure::Vault {
        self.connection.vault(&uri(name)).unwrap()
    }

    fn container(&self, name: &str) -> akv_archiver::azure::Container {
        let arm = Arc::new(self.connection.arm().unwrap());
        let address = Url::parse(&format!("https://archive.blob.core.windows.net/{name}")).unwrap();
        self.connection.container(&address, Some(arm)).unwrap()
    }

    fn strike(&self, host: &str, method: &str, action: Action) {
        self.emulator.fault(Rule::new(action).host(host).method(method)).unwrap();
    }
}

fn uri(name: &str) -> VaultUri {
    VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap()
}

fn object(text: &str) -> Object {
    Object::parse(text).unwrap()
}

async fn count(vault: &akv_archiver::azure::Vault, what: Listing) -> usize {
    let pages: Vec<Page> = vault.list(what).try_collect().await.unwrap();
    pages.iter().map(|page| page.items.len()).sum()
}

#[tokio::test]
async fn a_vault_is_read_backed_up_and_restored() {
    let stage = Stage::start();
    let vault = stage.vault("prod");
    assert_eq!(count(&vault, Listing::Live(Kind::Secret)).await, 61);
    assert_eq!(count(&vault, Listing::Live(Kind::Key)).await, 2);
    assert_eq!(count(&vault, Listing::Live(Kind::Certificate)).await, 1);
    assert_eq!(count(&vault, Listing::Versions(object("key/tde-protector"))).await, 3);
    assert_eq!(count(&vault, Listing::Versions(object("key/none"))).await, 0);
    assert_eq!(count(&vault, Listing::Deleted(Kind::Key)).await, 0);

    let tde = object("key/tde-protector");
    let backup = vault.backup(&tde).await.unwrap();
    assert_eq!(&backup.blob[..12], b"&AzureKeyVau");
    assert!(backup.exchange.region.is_some() && backup.exchange.date.is_some());
    let bundle = vault.get(Item::Key(tde.name.clone(), None)).await.unwrap();
    assert!(bundle.body.get().contains("RSA-HSM"));
    vault.get(Item::RotationPolicy(tde.name.clone())).await.unwrap();
    vault.get(Item::Certificate(object("certificate/tls").name, None)).await.unwrap();

    let error = vault.restore(Kind::Key, &backup.blob).await.unwrap_err();
    assert_eq!(error.condition, Condition::Conflict, "{error}");
    let error = vault.restore(Kind::Key, b"garbage").await.unwrap_err();
    assert_eq!(error.condition, Condition::Rejected, "{error}");
    let error = vault.recover(&tde).await.unwrap_err();
    assert!(matches!(error.condition, Condition::Live | Condition::NotFound), "{error:?}");
    let error = vault.get(Item::Deleted(tde)).await.unwrap_err();
    assert_eq!(error.condition, Condition::NotFound, "{error}");
    assert!(vault.clock_skew().unwrap().num_seconds().abs() < 120);
}

#[tokio::test]
async fn faults_of_the_wire_are_survived_or_told() {
    let stage = Stage::start();
    let vault = stage.vault("prod");
    let host = "prod.vault.azure.net";
    let status = |code| {
        Action::Status(Status {
            code,
            headers: [("retry-after".into(), "2".into())].into(),
            body: None,
            when: When::Before,
        })
    };
    for action in [
        status(429),
        status(503),
        Action::Reset(When::Before),
        Action::Reset(When::After),
        Action::Rewrite(Rewrite::Cut),
    ] {
        stage.strike(host, "GET", action);
        assert_eq!(count(&vault, Listing::Live(Kind::Key)).await, 2);
    }
    assert_eq!(vault.traffic().throttled, 1);
    // The first request of a client is answered with a challenge, whose body nobody reads.
    assert_eq!(count(&vault, Listing::Live(Kind::Secret)).await, 61);
    for rewrite in [Rewrite::Html, Rewrite::Truncate, Rewrite::Empty] {
        stage.strike(host, "POST", Action::Rewrite(rewrite.clone()));
        vault.backup(&object("secret/app-0001")).await.unwrap();
        stage.emulator.fault(Rule::new(Action::Rewrite(rewrite)).host(host).method("POST").window(0, 3)).unwrap();
        let error = vault.backup(&object("secret/app-0001")).await.unwrap_err();
        assert_eq!(error.condition, Condition::Malformed, "{error}");
    }
    let backup = vault.backup(&object("secret/app-0001")).await.unwrap();
    stage.strike(host, "POST", Action::Reset(When::After));
    let error = vault.restore(Kind::Secret, &backup.blob).await.unwrap_err();
    assert_eq!(error.condition, Condition::Unavailable, "{error}");
}

#[tokio::test]
async fn the_first_restore_keeps_its_body_whatever_meets_it() {
    let stage = Stage::start();
    let blob = stage.vault("prod").backup(&object("key/tde-protector")).await.unwrap().blob;
    let fresh = stage.vault("prod");
    stage.strike(
        "prod.vault.azure.net",
        "POST",
        Action::Status(Status { code: 503, headers: Default::default(), body: None, when: When::Before }),
    );
    let error = fresh.restore(Kind::Key, &blob).await.unwrap_err();
    assert_eq!(
        error.condition,
        Condition::Conflict,
        "with its body it is a conflict, without it a bad request: {error}"
    );
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let stage = Stage::start();
    let started = std::time::Instant::now();
    let error = stage.vault("nowhere").backup(&object("key/a")).await.unwrap_err();
    assert_eq!(error.condition, Condition::Unresolved, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
    let ready = stage.emulator.ready();
    let wrong = Stage::connect(&stage.emulator, ready.client_id.clone(), "wrong".into());
    let error = wrong.vault(&uri("prod")).unwrap().backup(&object("key/a")).await.unwrap_err();
    assert!(error.condition == Condition::Denied && error.message.contains("AADSTS"), "{error}");
    let reader = &ready.principals["reader"];
    let reader = Stage::connect(&stage.emulator, reader.client_id.clone(), reader.client_secret.clone());
    let vault = reader.vault(&uri("prod")).unwrap();
    assert_eq!(count(&vault, Listing::Live(Kind::Secret)).await, 61);
    let error = vault.backup(&object("key/tde-protector")).await.unwrap_err();
    assert_eq!(error.condition, Condition::Denied, "{error}");
    let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
    let error = reader.container(&address, None).unwrap().guard().await.unwrap_err();
    assert_eq!(error.condition, store::Condition::Denied, "{error}");
    let error = stage.container("nothing").guard().await.unwrap_err();
    assert_eq!(error.condition, store::Condition::NotFound, "{error}");
}

#[tokio::test]
async fn a_container_takes_a_file_once() {
    let stage = Stage::start();
    for (name, worm, lock, days) in [
        ("vaults", Worm::VersionLevel, Mode::Locked, Some(365)),
        ("drafts", Worm::ContainerLevel, Mode::Unlocked, Some(7)),
        ("plain", Worm::None, Mode::None, None),
    ] {
        let container = stage.container(name);
        let guard = container.guard().await.unwrap();
        assert_eq!((guard.worm, guard.lock, guard.days), (worm, Some(lock), days), "{name}");
        let path = StorePath::parse("vaults/prod/log/0000000001").unwrap();
        let bytes = Bytes::from(vec![3; 5 << 20]);
        let made = container.create(&path, bytes.clone()).await.unwrap();
        let error = container.create(&path, Bytes::from_static(b"other")).await.unwrap_err();
        assert_eq!(error.condition, store::Condition::Exists, "{error}");
        assert_eq!(container.get(&path, made.version.as_deref(), u64::MAX).await.unwrap(), bytes);
        let error = container.get(&path, None, 100).await.unwrap_err();
        assert_eq!(error.condition, store::Condition::TooLarge);
        let empty = StorePath::parse("empty").unwrap();
        container.create(&empty, Bytes::new()).await.unwrap();
        assert!(container.get(&empty, None, 0).await.unwrap().is_empty());

        for when in [When::Before, When::After] {
            let path = StorePath::parse(&format!("lost/{when:?}")).unwrap();
            stage.strike("archive.blob.core.windows.net", "PUT", Action::Reset(when));
            container.create(&path, Bytes::from_static(b"entry")).await.unwrap();
            assert_eq!(container.get(&path, None, 10).await.unwrap(), "entry");
        }
        let all: Vec<Listed> = container.list("").try_collect().await.unwrap();
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(all.iter().all(|item| item.current && item.md5.is_some()));
        if worm == Worm::VersionLevel {
            assert!(all.iter().all(|item| item.protection.mode == Mode::Locked && item.protection.until.is_some()));
        }
        let some: Vec<Listed> = container.list("lost/").try_collect().await.unwrap();
        assert_eq!(some.len(), 2);
    }
}

#[tokio::test]
async fn the_management_plane_tells_what_a_vault_is() {
    let stage = Stage::start();
    let facts = stage.connection.arm().unwrap().facts(&uri("prod")).await.unwrap();
    assert_eq!((facts.place.location.as_str(), facts.sku.as_str()), ("westeurope", "premium"));
    assert_eq!(facts.place.subscription, "11111111-1111-1111-1111-111111111111");
    let error = stage.connection.arm().unwrap().facts(&uri("gone")).await.unwrap_err();
    assert_eq!(error.condition, Condition::NotFound, "{error}");
    for scope in [
        stage.connection.cloud().vault_scope(),
        stage.connection.cloud().storage_scope(),
        stage.connection.cloud().management_scope(),
    ] {
        stage.connection.token_check(&scope).await.unwrap();
    }
}

#[tokio::test]
async fn the_settings_of_a_vault_are_read_whole() {
    let stage = Stage::start();
    let (vault, arm) = (stage.vault("prod"), stage.connection.arm().unwrap());
    let settled = capture::settings(&vault, Some(&arm), "tool", stage.emulator.now()).await;
    assert!(settled.gaps.is_empty(), "{:?}", settled.gaps);
    assert_eq!(settled.facts.unwrap().sku, "premium");
    let settings = settled.settings.unwrap();
    let document = |document: Document| -> serde_json::Value {
        serde_json::from_str(settings.documents[&document].get()).unwrap()
    };
    let resource = document(Document::Vault);
    assert_eq!((&resource["tags"]["owner"], &resource["location"]), (&"payments".into(), &"westeurope".into()));
    assert_eq!(resource["properties"]["networkAcls"]["defaultAction"], "Deny");
    assert_eq!(document(Document::RoleAssignments)[0]["type"], "Microsoft.Authorization/roleAssignments");
    assert_eq!(document(Document::DiagnosticSettings)[0]["name"], "audit");
    assert_eq!(document(Document::Issuers)[0]["credentials"]["account_id"], "a1");
    assert_eq!(document(Document::Contacts)["contacts"][0]["email"], "pki@example.com");
    let again = capture::settings(&vault, Some(&arm), "tool", stage.emulator.now()).await.settings.unwrap();
    assert_eq!(fingerprint(&again).unwrap(), fingerprint(&settings).unwrap(), "nothing in it changes of its own");

    let bare = capture::settings(&stage.vault("bare"), None, "tool", stage.emulator.now()).await;
    let settings = bare.settings.unwrap();
    let documents = &settings.documents;
    assert_eq!((documents[&Document::Issuers].get(), documents[&Document::Contacts].get()), ("[]", "null"));
}

#[tokio::test]
async fn settings_that_may_not_be_read_are_gaps_that_name_what_to_grant() {
    let stage = Stage::start();
    let reader = stage.emulator.ready().principals["reader"].clone();
    let limited = Stage::connect(&stage.emulator, reader.client_id, reader.client_secret);
    let id = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-prod/providers/Microsoft.KeyVault/vaults/prod";
    let (vault, arm) = (limited.vault(&uri("prod")).unwrap(), limited.arm().unwrap().knowing(id));
    let settled = capture::settings(&vault, Some(&arm), "tool", stage.emulator.now()).await;
    assert!(settled.settings.is_none() && settled.facts.is_none());
    for (gap, (code, grant)) in settled.gaps.iter().zip([
        ("vault-facts-denied", "grant the identity Microsoft.KeyVault/vaults/read"),
        ("vault-roles-denied", "grant the identity Microsoft.Authorization/roleAssignments/read"),
        ("vault-diagnostics-denied", "grant the identity Microsoft.Insights/diagnosticSettings/read"),
        ("vault-issuers-denied", "Microsoft.KeyVault/vaults/certificatecas/read"),
        ("vault-contacts-denied", "Microsoft.KeyVault/vaults/certificatecontacts/write"),
    ]) {
        assert!(gap.code == code && gap.detail.contains(grant), "{gap:?} is not {code}, {grant}");
    }
    assert_eq!(settled.gaps.len(), 5);
}

#[tokio::test]
async fn an_issuer_whose_name_would_change_the_address_is_not_asked_for() {
    let stage = Stage::start();
    let vault = stage.vault("prod");
    for name in ["", "..", "a/b", "a?x", "a#x", "a%2e", "a b"] {
        let error = vault.get(Item::Issuer(name.into())).await.unwrap_err();
        assert_eq!(error.condition, Condition::Rejected, "{name:?}: {error}");
    }
    let error = vault.get(Item::Issuer("none".into())).await.unwrap_err();
    assert_eq!(error.condition, Condition::NotFound);
    assert!(error.message.contains("\"none\""), "{error}");
}
