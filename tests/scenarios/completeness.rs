//! Nothing is left out because of the state that it is in, and what cannot be taken says why.

use std::collections::BTreeMap;
use std::path::PathBuf;

use akv_archiver::format::settings::{Document, FORMAT, Settings, pack};
use akv_archiver::model::VaultUri;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::support::world::World;

fn world(objects: &str) -> World {
    let world = World::new(&format!(
        "[[vault]]\nname = \"prod\"\nsubscription = \"11111111-1111-1111-1111-111111111111\"\n\
         location = \"westeurope\"\nsku = \"premium\"\nobjects = [{objects}]\n"
    ));
    world.init_directory("archive").succeeded();
    world
}

/// The sealed captures of an object in the folder that is the archive.
fn sealed(world: &World, object: &str) -> Vec<PathBuf> {
    let folder = world.path("archive/vaults/prod.vault.azure.net/captures").join(object);
    std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
}

#[test]
fn what_is_disabled_expired_or_not_yet_valid_is_taken_like_the_rest() {
    let objects: Vec<String> = ["key", "secret", "certificate"]
        .into_iter()
        .flat_map(|kind| {
            let object = |state: &str, more: &str| {
                let curve = if kind == "secret" { "" } else { "type = \"EC\", " };
                format!("{{ kind = \"{kind}\", {curve}name = \"{kind}-{state}\", {more} }}")
            };
            [
                object("disabled", "enabled = false"),
                object("expired", "expires_in_days = -1"),
                object("future", "valid_in_days = 30"),
            ]
        })
        .collect();
    let world = world(&objects.join(", "));
    let (code, report) = world.json(&["snapshot"]);
    assert_eq!((code, &report["status"]), (0, &"complete".into()), "{report:#}");
    assert_eq!(report["objects"], serde_json::json!({"seen": 9, "captured": 9, "reused": 0, "gaps": 0, "excluded": 0}));
    for kind in ["key", "secret", "certificate"] {
        for (state, member) in [("disabled", "enabled"), ("expired", "exp"), ("future", "nbf")] {
            let file = &sealed(&world, &format!("{kind}/{kind}-{state}"))[0];
            let metadata = world.run(&["open", file.to_str().unwrap(), "--metadata"]).succeeded();
            let metadata: Value = serde_json::from_str(&metadata.stdout).unwrap();
            let attributes = &metadata["versions"][0]["attributes"];
            let now = world.azure.now().timestamp();
            let holds = match state {
                "disabled" => attributes[member] == false,
                "expired" => attributes[member].as_i64().is_some_and(|at| at < now),
                _ => attributes[member].as_i64().is_some_and(|at| at > now),
            };
            assert!(holds, "{kind}-{state}: {attributes}");
        }
    }
}

#[test]
fn more_versions_than_azure_backs_up_are_a_gap_that_says_how_many() {
    let world = world(
        "{ kind = \"secret\", name = \"many\", versions = 450 }, { kind = \"secret\", name = \"more\", versions = 502 }",
    );
    let (code, report) = world.json(&["snapshot"]);
    assert_eq!((code, &report["status"]), (3, &"partial".into()), "{report:#}");
    assert_eq!(report["objects"], serde_json::json!({"seen": 2, "captured": 1, "reused": 0, "gaps": 1, "excluded": 0}));
    let gap = &report["gaps"].as_array().unwrap().iter().find(|gap| gap["object"] == "secret/more").unwrap();
    assert_eq!(gap["code"], "too-many-versions");
    assert!(gap["detail"].as_str().unwrap().starts_with("secret/more has 502 versions"), "{gap}");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("secret/many"), "{warnings}");
}

#[test]
fn a_release_policy_is_in_the_capture() {
    let world = world("");
    let key = r#"{"kty":"RSA-HSM","attributes":{"exportable":true},"release_policy":{"contentType":"application/json; charset=utf-8","data":"eyJhbnlPZiI6W119"}}"#;
    let (status, made) = world.stranger().vault("POST", "prod.vault.azure.net/keys/released/create", key);
    assert_eq!(status, 200, "{made:#}");
    world.azure.advance(std::time::Duration::from_secs(5));
    world.run(&["snapshot"]).succeeded();
    let file = &sealed(&world, "key/released")[0];
    let metadata = world.run(&["open", file.to_str().unwrap(), "--metadata"]).succeeded();
    let metadata: Value = serde_json::from_str(&metadata.stdout).unwrap();
    assert_eq!(metadata["bundles"][0]["release_policy"]["data"], "eyJhbnlPZiI6W119", "{metadata:#}");
}

#[test]
fn sealed_settings_open_without_archive_or_network() {
    let world = World::with_archive();
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let settings = Settings {
        format: FORMAT.into(),
        vault: VaultUri::parse("https://prod.vault.azure.net").unwrap(),
        captured_at: chrono::DateTime::from_timestamp(1_795_224_600, 0).unwrap(),
        tool: "akv-archiver 0.1.0".into(),
        documents: BTreeMap::from([
            (Document::Contacts, raw("null")),
            (Document::Vault, raw(r#"{ "id":"/subscriptions/s","x":1.50}"#)),
        ]),
    };
    let identity = std::fs::read_to_string(world.path("identity.txt")).unwrap();
    let key: age::x25519::Identity =
        identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY")).unwrap().parse().unwrap();
    let file = world.path("settings.age");
    std::fs::write(&file, age::encrypt(&key.to_public(), &pack(&settings).unwrap()).unwrap()).unwrap();

    let open = ["open", file.to_str().unwrap(), "--identity", "identity.txt"];
    let told = world.run(&open).succeeded().stdout;
    assert!(told.contains("settings of https://prod.vault.azure.net, captured 2026-11-21T01:30:00Z"), "{told}");
    assert!(told.contains("documents: contacts, vault"), "{told}");
    let (_, summary) = world.json(&open);
    assert_eq!(summary["documents"], serde_json::json!(["contacts", "vault"]));
    let text = world.run(&[&open[..], &["--metadata"]].concat()).succeeded().stdout;
    assert!(text.contains(r#""vault":{ "id":"/subscriptions/s","x":1.50}"#) && text.ends_with('\n'), "{text}");
    world.run(&[&open[..], &["--extract", "opened"]].concat()).succeeded();
    assert_eq!(std::fs::read_to_string(world.path("opened/settings.json")).unwrap(), text);
    assert!(std::fs::read_to_string(world.path("opened/README.txt")).unwrap().contains("jq .documents.vault"));

    let mut packed = pack(&settings).unwrap().to_vec();
    let tar = zstd::bulk::decompress(&packed, 1 << 20).unwrap();
    let damaged = String::from_utf8(tar).unwrap().replacen("settings/1", "settings/9", 1);
    packed = zstd::bulk::compress(damaged.as_bytes(), 3).unwrap();
    std::fs::write(&file, age::encrypt(&key.to_public(), &packed).unwrap()).unwrap();
    let ran = world.run(&open).exited(20);
    assert!(ran.stderr.contains("settings.json: the format is"), "{ran:#?}");
}
