//! Whether an archive is fresh, asked by somebody who can only read it.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use akv_archiver::ambient::{Ambient, ManualClock, SeededRandom};
use akv_archiver::archive::Reader;
use akv_archiver::jobs::protection::Demand;
use akv_archiver::jobs::snapshot::{Doors, Order, snapshot};
use akv_archiver::model::{Object, VaultUri};
use akv_archiver::progress::{Silent, Stop};
use akv_archiver::seal::{Recipients, generate};
use akv_archiver::store::directory::Directory;
use akv_archiver::tlog::Signer;
use akv_archiver::vault::memory::Memory;
use chrono::DateTime;
use serde_json::{Value, json};

use crate::support::order::order;
use crate::support::world::{SEED, World};

/// What a monitor may do: the role archive-reader.
const MONITOR: &str = r#"
[[principal]]
name = "monitor"
actions = [
  "Microsoft.Resources/subscriptions/read",
  "Microsoft.Storage/storageAccounts/read",
  "Microsoft.Storage/storageAccounts/blobServices/containers/read",
  "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/read",
  "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
]
"#;

fn text(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.path(name)).unwrap()
}

/// Samples of a metrics file: the name with its labels, and the value.
fn sample(metrics: &str, name: &str) -> Option<i64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_monitor_with_read_access_and_nothing_else_sees_where_vaults_stand() {
    let world = World::new(&format!("{SEED}{MONITOR}"));
    world.init("prod", "vaults").succeeded();
    world.run(&["snapshot"]).succeeded();
    // The monitor's settings name neither vault nor signer nor identity.
    let ready = world.azure.ready();
    let settings: toml::Table = text(&world, "akv-archiver.toml").parse().unwrap();
    let verifier = settings["archive"]["verifiers"].as_array().unwrap()[0].as_str().unwrap();
    let monitor = &ready.principals["monitor"];
    let credential = format!(
        "{{ kind = \"client-secret\", tenant_id = \"{}\", client_id = \"{}\", client_secret_env = \"MONITOR\" }}",
        ready.tenant_id, monitor.client_id
    );
    let only = format!(
        "[network]\nproxy = \"{}\"\nca_file = {:?}\n[archive]\ncontainer = \
         \"https://archive.blob.core.windows.net/vaults\"\nverifiers = [\"{verifier}\"]\ncredential = {credential}\n",
        ready.proxy, ready.ca_file
    );
    std::fs::write(world.path("monitor.toml"), only).unwrap();
    let before = world.azure.requests().len();
    let run = |arguments: &[&str]| {
        let mut command = world.command(&[&["-c", "monitor.toml", "-o", "json", "status"], arguments].concat());
        let output = command.env("MONITOR", &monitor.client_secret).output().unwrap();
        (output.status.code().unwrap(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (code, report) = run(&["--metrics-file", "akv.prom"]);
    assert_eq!((code, &report["status"]), (0, &json!("ok")), "{report:#}");
    let vault = &report["vaults"][0];
    assert_eq!([&vault["named"], &vault["expected"]], [false, true]);
    assert_eq!([&vault["newest"]["seen"], &vault["newest"]["gaps"], &vault["max_age_seconds"]], [7, 0, 93_600]);
    assert_eq!([&vault["protection"]["files"], &vault["protection"]["unlocked"]], [9, 0], "7, settings, manifest");
    let requests = world.azure.requests();
    let hosts: Vec<&str> = requests.iter().skip(before).map(|it| it.host.as_str()).collect();
    assert!(hosts.iter().all(|host| !host.ends_with("vault.azure.net")), "{hosts:?}");

    let metrics = text(&world, "akv.prom");
    assert_eq!(sample(&metrics, "akv_archiver_status_up"), Some(1));
    assert_eq!(sample(&metrics, "akv_archiver_objects{vault=\"prod.vault.azure.net\"}"), Some(7));
    let until =
        sample(&metrics, "akv_archiver_protected_until_timestamp_seconds{vault=\"prod.vault.azure.net\"}").unwrap();
    let newest =
        sample(&metrics, "akv_archiver_newest_complete_snapshot_timestamp_seconds{vault=\"prod.vault.azure.net\"}");
    assert!((364..=366).contains(&((until - newest.unwrap()) / 86_400)));
    let mode = std::fs::metadata(world.path("akv.prom")).unwrap().permissions().mode();
    assert_eq!(mode & 0o600, 0o600);

    // Without a vault that is named, nothing short of a listing tells which there are.
    assert_eq!(run(&["--quick"]).0, 2);
    // The check itself fails: the file says so, and no longer what was true before.
    world.edit_settings(|text| text);
    std::fs::write(world.path("monitor.toml"), text(&world, "monitor.toml").replace("/vaults\"", "/nothing\""))
        .unwrap();
    let (code, report) = run(&["--metrics-file", "akv.prom"]);
    assert_eq!((code, &report["error"]["kind"]), (10, &json!("not-found")), "{report:#}");
    let metrics = text(&world, "akv.prom");
    assert_eq!(sample(&metrics, "akv_archiver_status_up"), Some(0));
    assert_eq!(sample(&metrics, "akv_archiver_status_exit_code"), Some(10));
    assert!(!metrics.contains("prod.vault"), "{metrics}");
}

#[test]
fn a_vault_that_was_never_archived_is_an_alarm_and_an_unlocked_container_another() {
    let world = World::with_archive();
    let ran = world.run(&["status"]).exited(21);
    assert!(ran.stdout.starts_with("NEVER: 0 of 1 vault in order\n"), "{ran:#?}");
    world.run(&["snapshot"]).succeeded();
    let ran = world.run(&["status"]).succeeded();
    assert!(ran.stdout.starts_with("OK: 1 of 1 vault in order\n"), "{ran:#?}");
    let (code, quick) = world.json(&["status", "--quick"]);
    assert_eq!((code, &quick["vaults"][0]["protection"]["source"]), (0, &json!("manifest")), "{quick:#}");

    let world = World::new(SEED);
    world.init("prod", "unlocked").succeeded();
    world.run(&["snapshot"]).succeeded();
    let (code, report) = world.json(&["status"]);
    assert_eq!((code, &report["status"]), (21, &json!("at-risk")), "{report:#}");
}

#[test]
fn what_was_committed_long_ago_is_stale_and_what_does_not_hold_is_worse() {
    let world = World::new(SEED);
    let folder = world.path("archive");
    let verifier = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(archived_in_2025(&folder));
    let settings = format!("[archive]\ndirectory = \"archive\"\nverifiers = [\"{verifier}\"]\n");
    std::fs::write(world.path("akv-archiver.toml"), settings).unwrap();
    let (code, report) = world.json(&["status"]);
    assert_eq!((code, &report["status"]), (21, &json!("stale")), "{report:#}");
    let reason = report["vaults"][0]["reasons"][0].as_str().unwrap();
    assert!(reason.ends_with("old, and 26h is allowed"), "{reason}");
    world.run(&["status", "--max-age", "36525d"]).succeeded();

    let log = folder.join("vaults/prod.vault.azure.net/log");
    let file = std::fs::read_dir(log).unwrap().next().unwrap().unwrap().path();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&file, "junk").unwrap();
    let (code, report) = world.json(&["status", "--max-age", "36525d"]);
    assert_eq!((code, &report["vaults"][0]["status"]), (20, &json!("tampered")), "{report:#}");
}

/// An archive in a directory, with one snapshot of 2025. Returns the verifier key.
async fn archived_in_2025(folder: &std::path::Path) -> String {
    let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_750_000_000, 0).unwrap()));
    let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(5)));
    std::fs::create_dir(folder).unwrap();
    let store = Directory::new(folder.to_owned(), false);
    let (archive, _) = akv_archiver::jobs::init::create_archive(&store, Demand::Optional, &ambient).await.unwrap();
    let name = akv_archiver::format::archive::key_name(archive.archive_id);
    let signer = Signer::from_seed(&name, &[5; 32]).unwrap();
    let verifiers = [signer.verifier()];
    let vault = Memory::new(VaultUri::parse("https://prod.vault.azure.net").unwrap(), clock.clone());
    drop(vault.put(&Object::parse("secret/app").unwrap()));
    clock.advance(std::time::Duration::from_secs(60));
    let identity = generate(DateTime::UNIX_EPOCH);
    let doors = Doors {
        vault: &vault,
        facts: None,
        store: &store,
        reader: &Reader::open(&store, &verifiers).await.unwrap(),
        recipients: &Arc::new(Recipients::parse(&[&identity.recipient]).unwrap()),
        signer: &signer,
        ambient: &ambient,
        progress: &Silent,
        stop: &Stop::new(),
    };
    let order = Order { worm: Demand::Optional, ..order() };
    snapshot(&doors, &order).await.unwrap();
    verifiers[0].to_string()
}
