//! The conformance suite against blob containers: the emulated Azure's, whole and with every Put Blob going wrong,
//! and one outside (`tests/interop/azurite`).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use akv_archiver::ambient::{Ambient, ManualClock, SeededRandom};
use akv_archiver::azure::{Cloud, Connection, Container, CredentialConfig, Network};
use akv_archiver::emulator::faults::{Action, Rule, Status, When};
use akv_archiver::emulator::seed::Seed;
use akv_archiver::emulator::{Emulator, Options};
use akv_archiver::model::StorePath;
use akv_archiver::store::{Append, Condition, Created, Error, Guard, Listed, Protect as _, Read, Worm};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use crate::conformance;

const SEED: &str = r#"
    [[storage]]
    account = "archive"
    subscription = "22222222-2222-2222-2222-222222222222"
    location = "northeurope"
    containers = [
      { name = "versions", worm = "version-level", days = 365, locked = true },
      { name = "whole", worm = "container-level", days = 365, locked = true },
      { name = "plain" },
    ]
"#;

const CONTAINERS: [(&str, Worm); 3] =
    [("versions", Worm::VersionLevel), ("whole", Worm::ContainerLevel), ("plain", Worm::None)];

fn emulator() -> Emulator {
    Emulator::start(Seed::parse(SEED).unwrap(), Options::default()).unwrap()
}

fn container(emulator: &Emulator, name: &str) -> Container {
    let ready = emulator.ready();
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
    let clock = Arc::new(ManualClock::new(emulator.now()));
    let ambient = Ambient::new(clock, Arc::new(SeededRandom::new(1)));
    let connection = Connection::new(&network, Cloud::Public, &credential, ambient).unwrap();
    let address = Url::parse(&format!("https://archive.blob.core.windows.net/{name}")).unwrap();
    let arm = Arc::new(connection.arm().unwrap());
    connection.container(&address, Some(arm)).unwrap()
}

#[tokio::test]
async fn containers_of_both_worm_kinds_and_none_conform() {
    let emulator = emulator();
    for (name, worm) in CONTAINERS {
        let container = container(&emulator, name);
        assert_eq!(container.guard().await.unwrap().worm, worm, "{name}");
        conformance::run(&container, "conformance").await;
    }
}

#[tokio::test]
async fn containers_conform_while_every_put_blob_is_lost_and_lands_unheard() {
    let emulator = emulator();
    for (name, _) in CONTAINERS {
        let before = struck(&emulator);
        let store = Troubled { emulator: &emulator, container: container(&emulator, name), struck: Mutex::default() };
        conformance::run(&store, "conformance").await;
        emulator.clear_faults();
        let files = files(&store.container).await;
        assert!(struck(&emulator) - before >= 3 * files, "{name}: each of {files} files was put three times");
    }
}

#[tokio::test]
async fn containers_protect_versions_or_say_that_they_cannot() {
    let emulator = emulator();
    conformance::protection(&container(&emulator, "versions"), "protection", emulator.now()).await;
    conformance::whole_protection(&container(&emulator, "whole"), "protection", emulator.now()).await;
    conformance::no_protection(&container(&emulator, "plain"), "protection", emulator.now()).await;
}

#[tokio::test]
async fn containers_protect_versions_while_every_answer_is_lost_once() {
    let emulator = emulator();
    let container = container(&emulator, "versions");
    let strike = |when| emulator.fault(Rule::new(Action::Reset(when)).method("PUT").query("comp=")).unwrap();
    let path = StorePath::parse("archive.json").unwrap();
    let version = container.create(&path, Bytes::from_static(b"x")).await.unwrap().version;
    let until = emulator.now() + chrono::TimeDelta::days(400);
    let until = chrono::DateTime::from_timestamp(until.timestamp(), 0).unwrap();
    for when in [When::Before, When::After] {
        strike(when);
        let after = container.extend(&path, version.as_deref(), until, true).await.unwrap();
        assert_eq!(after.until, Some(until));
        strike(when);
        container.hold(&path, version.as_deref(), when == When::Before).await.unwrap();
        emulator.clear_faults();
    }
}

async fn files(container: &Container) -> usize {
    container.list("").try_collect::<Vec<Listed>>().await.unwrap().len()
}

/// How many requests a fault has struck.
fn struck(emulator: &Emulator) -> usize {
    emulator.requests().iter().filter(|request| request.fault.is_some()).count()
}

/// A container whose every Put Blob fails three times: it is lost with the connection, lost with 503, and then lands
/// without an answer that says so, in turn for want of a connection and with 503.
///
/// The same bytes put under the same name again go through: with a lost answer nobody could tell them from those that
/// are there, and the promise is only that these bytes are there ([`what_a_lost_answer_leaves_open`]).
struct Troubled<'a> {
    emulator: &'a Emulator,
    container: Container,
    struck: Mutex<BTreeSet<(String, Bytes)>>,
}

impl Troubled<'_> {
    fn strike(&self, path: &StorePath, bytes: &Bytes) {
        let mut struck = self.struck.lock().unwrap();
        if !struck.insert((path.to_string(), bytes.clone())) {
            return;
        }
        let busy = |when| Action::Status(Status { code: 503, headers: Default::default(), body: None, when });
        let landed = if struck.len().is_multiple_of(2) { busy(When::After) } else { Action::Reset(When::After) };
        for action in [Action::Reset(When::Before), busy(When::Before), landed] {
            // The SDK sends a name as one segment.
            let sent = path.as_str().replace('/', "%2F");
            self.emulator.fault(Rule::new(action).method("PUT").path(&sent)).unwrap();
        }
    }
}

#[async_trait]
impl Read for Troubled<'_> {
    fn describe(&self) -> String {
        self.container.describe()
    }

    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, Error> {
        self.container.get(path, version, limit).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, Error>> {
        self.container.list(prefix)
    }

    async fn guard(&self) -> Result<Guard, Error> {
        self.container.guard().await
    }
}

#[async_trait]
impl Append for Troubled<'_> {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, Error> {
        self.strike(path, &bytes);
        self.container.create(path, bytes).await
    }
}

#[tokio::test]
async fn what_a_lost_answer_leaves_open() {
    let emulator = emulator();
    for (name, _) in CONTAINERS {
        let container = container(&emulator, name);
        let path = StorePath::parse("log/0000000001").unwrap();
        let first = container.create(&path, Bytes::from_static(b"entry")).await.unwrap();
        for when in [When::Before, When::After] {
            let strike = || emulator.fault(Rule::new(Action::Reset(when)).method("PUT")).unwrap();
            strike();
            let again = container.create(&path, Bytes::from_static(b"entry")).await.unwrap();
            assert_eq!(again, first, "{name}: these bytes are there, and no version more");
            strike();
            let error = container.create(&path, Bytes::from_static(b"other")).await.unwrap_err();
            assert_eq!(error.condition, Condition::Exists, "{name}: {error}");
        }
        assert_eq!(files(&container).await, 1, "{name}");
    }
}

/// A container that is not the emulator's. `AKV_CONTAINER` names a file like the emulator's ready file that also has
/// `container`, an address below which `conformance/` is empty.
#[tokio::test]
async fn an_outside_container_conforms() {
    let Ok(file) = std::env::var("AKV_CONTAINER") else {
        eprintln!("skipped: AKV_CONTAINER names no container; tests/interop/azurite does");
        return;
    };
    let ready: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let text = |name: &str| ready[name].as_str().unwrap_or_else(|| panic!("{name} is missing")).to_owned();
    let proxy = ready["proxy"].as_str().map(|proxy| Url::parse(proxy).unwrap());
    let network = Network { proxy, ca_file: ready["ca_file"].as_str().map(PathBuf::from), ..Network::default() };
    let credential = CredentialConfig::ClientSecret {
        tenant_id: text("tenant_id"),
        client_id: text("client_id"),
        secret: Zeroizing::new(text("client_secret")),
    };
    let connection = Connection::new(&network, Cloud::Public, &credential, Ambient::system()).unwrap();
    let container = connection.container(&Url::parse(&text("container")).unwrap(), None).unwrap();
    conformance::run(&container, "conformance").await;
}
