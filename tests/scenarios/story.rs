//! The main job, end to end: production host names, nothing set but a proxy and a CA file.

use crate::support::world::World;

#[test]
fn a_vault_is_archived_and_a_deleted_key_comes_back() {
    let world = World::with_archive();
    for (file, secret) in [("identity.txt", "AGE-SECRET-KEY"), ("signer.key", "PRIVATE+KEY")] {
        use std::os::unix::fs::PermissionsExt;
        let path = world.path(file);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        assert!(std::fs::read_to_string(&path).unwrap().contains(secret), "{file}");
    }
    let doctor = world.run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{doctor:#?}");
    assert!(doctor.stdout.contains("version-level policy, locked, 365 days"), "{doctor:#?}");

    let (code, first) = world.json(&["snapshot"]);
    assert_eq!(code, 0, "{first:#}");
    assert_eq!(first["status"], "complete");
    assert_eq!(first["sequence"], 1);
    assert_eq!(first["objects"], serde_json::json!({"seen": 7, "captured": 7, "reused": 0, "gaps": 0, "excluded": 0}));
    let (code, verified) = world.json(&["verify"]);
    assert_eq!((code, &verified["status"]), (0, &"ok".into()), "{verified:#}");
    assert_eq!(verified["findings"], serde_json::json!([]));
    assert_eq!(verified["checked"]["captures"], 8, "seven objects, and the settings of the vault");

    let (status, _) = world.stranger().vault("DELETE", "prod.vault.azure.net/keys/tde-protector", "");
    assert_eq!(status, 200);
    let (code, plan) = world.json(&["restore", "plan", "key/tde-protector"]);
    assert_eq!(code, 0, "{plan:#}");
    assert_eq!(plan["steps"][0]["object"], "key/tde-protector");
    assert_eq!(plan["steps"][0]["action"], "recover");
    world.run(&["restore", "apply"]).exited(2);
    let (code, applied) = world.json(&["restore", "apply", "--yes"]);
    assert_eq!((code, &applied["status"]), (0, &"done".into()), "{applied:#}");
    let (status, key) = world.stranger().vault("GET", "prod.vault.azure.net/keys/tde-protector", "");
    assert_eq!((status, &key["key"]["kty"]), (200, &"RSA-HSM".into()));

    let (code, verified) = world.json(&["verify"]);
    assert_eq!((code, &verified["status"]), (0, &"ok".into()), "{verified:#}");
    assert_eq!(verified["checked"]["entries"], 3, "snapshot, intent, result");
}

#[test]
fn an_unchanged_vault_costs_its_lists_and_one_manifest() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let before = world.azure.requests().len();
    let (code, second) = world.json(&["snapshot"]);
    assert_eq!(code, 0, "{second:#}");
    assert_eq!(second["objects"], serde_json::json!({"seen": 7, "captured": 0, "reused": 7, "gaps": 0, "excluded": 0}));
    let requests = world.azure.requests();
    let asked = |method: &str, part: &str| {
        requests.iter().skip(before).filter(|r| r.method == method && r.path.contains(part)).count()
    };
    assert_eq!(asked("POST", "/backup"), 0);
    assert_eq!(asked("PUT", "captures"), 0);
    assert_eq!((asked("PUT", "manifests"), asked("PUT", "%2Flog%2F")), (1, 1));
    world.run(&["verify"]).succeeded();
}

#[test]
fn a_rotated_key_is_taken_again_and_its_history_shows_both() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let (status, _) = world.stranger().vault("POST", "prod.vault.azure.net/keys/signing/rotate", "");
    assert_eq!(status, 200);
    world.azure.advance(std::time::Duration::from_secs(5));
    let (_, second) = world.json(&["snapshot"]);
    assert_eq!(second["objects"]["captured"], 1, "{second:#}");
    let (code, history) = world.json(&["history", "key/signing"]);
    assert_eq!(code, 0);
    let versions: Vec<u64> =
        history["captures"].as_array().unwrap().iter().map(|c| c["versions"].as_u64().unwrap()).collect();
    assert_eq!(versions, [2, 1]);
    let (_, list) = world.json(&["list"]);
    assert_eq!(list["objects"].as_array().unwrap().iter().filter(|o| o["state"] == "live").count(), 7);
    let (_, list) = world.json(&["list", "--snapshots"]);
    assert_eq!(list["snapshots"].as_array().unwrap().len(), 2);
    world.run(&["verify"]).succeeded();
}

#[test]
fn a_job_needs_no_settings_file() {
    let world = World::with_archive();
    let ready = world.azure.ready();
    let settings = std::fs::read_to_string(world.path("akv-archiver.toml")).unwrap();
    let settings: toml::Table = settings.parse().unwrap();
    let of = |field: &str| settings["archive"][field].as_array().unwrap()[0].as_str().unwrap().to_owned();
    let folder = world.path("elsewhere");
    std::fs::create_dir(&folder).unwrap();
    let mut command = world.command(&["snapshot", "--output", "json"]);
    command.current_dir(&folder);
    for (name, value) in [
        ("NETWORK__PROXY", ready.proxy.clone()),
        ("NETWORK__CA_FILE", ready.ca_file.to_string_lossy().into_owned()),
        ("ARCHIVE__CONTAINER", "https://archive.blob.core.windows.net/vaults".into()),
        ("ARCHIVE__RECIPIENTS", of("recipients")),
        ("ARCHIVE__VERIFIERS", of("verifiers")),
        ("ARCHIVE__SIGNER", world.path("signer.key").to_string_lossy().into_owned()),
        ("VAULT__URI", "https://prod.vault.azure.net".into()),
    ] {
        command.env(format!("AKV_ARCHIVER__{name}"), value);
    }
    for place in ["ARCHIVE", "VAULT"] {
        for (name, value) in [
            ("KIND", "client-secret"),
            ("TENANT_ID", &ready.tenant_id),
            ("CLIENT_ID", &ready.client_id),
            ("CLIENT_SECRET_ENV", "AZURE_CLIENT_SECRET"),
        ] {
            command.env(format!("AKV_ARCHIVER__{place}__CREDENTIAL__{name}"), value);
        }
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    world.run(&["verify"]).succeeded();
}
