//! What the doctor tells before the night: too much power, wrong clocks, keys that lie open, and doors that stay shut.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::world::{SEED, World};

/// A principal with what these roles in policies/roles grant, and more.
fn principal(roles: &[&str], more: &[&str]) -> String {
    let powers = |role: &&str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("policies/roles/{role}.json"));
        let role: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let of = |field: &str| role[field].as_array().unwrap().clone();
        [of("Actions"), of("DataActions")].concat()
    };
    let actions: Vec<String> = roles.iter().flat_map(powers).map(|it| it.as_str().unwrap().to_owned()).collect();
    let more = more.iter().map(|action| (*action).to_owned());
    format!("[[principal]]\nname = \"job\"\nactions = {:?}\n", actions.into_iter().chain(more).collect::<Vec<_>>())
}

/// A world whose archive is read and written by the principal `job`.
fn world(principal: &str) -> World {
    let world = World::new(&format!("{SEED}\n{principal}"));
    world.init("prod", "vaults").succeeded();
    let ready = world.azure.ready();
    let job = &ready.principals["job"];
    std::fs::write(world.path("secret"), &job.client_secret).unwrap();
    std::fs::set_permissions(world.path("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let (from, to) = (ready.client_id.clone(), job.client_id.clone());
    world.edit_settings(|text| {
        text.replace(&from, &to)
            .replace("client_secret_env = \"AZURE_CLIENT_SECRET\"", "client_secret_file = \"secret\"")
    });
    world
}

/// The checks that are not `ok`, as `subject: check`.
fn complaints(doctor: &Value) -> Vec<String> {
    let checks = doctor["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] != "ok");
    checks.map(|it| format!("{}: {}", it["subject"].as_str().unwrap(), it["check"].as_str().unwrap())).collect()
}

const ROLES: [&str; 3] = ["snapshot-reader", "contacts-reader", "archive-writer"];

#[test]
fn the_documented_roles_are_enough_and_not_too_much() {
    let world = world(&principal(&ROLES, &[]));
    let before = world.azure.requests().len();
    let (code, doctor) = world.json(&["doctor"]);
    // One recipient, and the identity beside the signer: so `init` leaves it.
    assert_eq!(
        (code, complaints(&doctor)),
        (0, vec!["keys: recipients".into(), "keys: identity".into()]),
        "{doctor:#}"
    );
    let found = |check: &str| doctor["checks"].as_array().unwrap().iter().find(|it| it["check"] == check).cloned();
    assert_eq!(found("archive's region").unwrap()["detail"], "northeurope, another than the vault's");
    // Nothing was tried that could have changed anything.
    for request in world.azure.requests().iter().skip(before) {
        let harmless = match request.method.as_str() {
            "GET" | "HEAD" => true,
            "POST" => request.path.ends_with("/backup") || request.host == "login.microsoftonline.com",
            "PUT" => request.path.ends_with("/archive.json"),
            _ => false,
        };
        assert!(harmless, "{} {}{}", request.method, request.host, request.path);
    }
}

#[test]
fn too_much_power_is_told_without_being_tried() {
    let too_much = [
        "Microsoft.KeyVault/vaults/secrets/*",
        "Microsoft.KeyVault/vaults/keys/decrypt/action",
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete",
    ];
    let world = world(&principal(&ROLES, &too_much));
    let (code, doctor) = world.json(&["doctor"]);
    let expected = [
        "archive: least privilege: destroy",
        "archive: least privilege: overwrite",
        "prod: least privilege: destroy",
        "prod: least privilege: read secrets",
        "prod: least privilege: use keys",
        "prod: least privilege: restore",
        "prod: least privilege: change",
    ];
    let told: Vec<String> = complaints(&doctor).into_iter().filter(|it| it.contains("least privilege")).collect();
    assert_eq!((code, told), (0, expected.map(str::to_owned).to_vec()), "{doctor:#}");
    let text = world.run(&["doctor"]).succeeded().stdout;
    assert!(
        text.contains("\nprod\n") && text.contains("may read secrets: KeyVault/vaults/secrets/getSecret"),
        "{text}"
    );
}

#[test]
fn what_is_not_allowed_is_a_line_with_its_role_and_no_failure() {
    let lean = principal(&ROLES[..1], &[]).replace("\"Microsoft.Authorization/permissions/read\", ", "");
    let lean = lean.replace("\"Microsoft.Authorization/roleAssignments/read\", ", "");
    let lean = lean.replace("\"Microsoft.KeyVault/vaults/certificatecas/read\"", "\"Microsoft.Storage/*\"");
    let world = world(&lean);
    let (code, doctor) = world.json(&["doctor"]);
    let told = complaints(&doctor);
    assert_eq!(code, 0, "{doctor:#}");
    for expected in [
        "prod: read certificate issuers",
        "prod: read certificate contacts",
        "prod: read role assignments",
        "prod: least privilege",
        "archive: least privilege",
    ] {
        assert_eq!(told.iter().filter(|it| *it == expected).count(), 1, "{expected}: {told:?}");
    }
}

#[test]
fn a_clock_that_is_off_is_a_warning_first_and_then_a_failure() {
    let world = World::with_archive();
    world.azure.advance(Duration::from_secs(10 * 60));
    let (_, doctor) = world.json(&["doctor"]);
    let told = complaints(&doctor);
    assert!(told.contains(&"prod: clock".to_owned()) && told.contains(&"archive: clock".to_owned()), "{doctor:#}");
    assert_eq!(doctor["status"], "warn");
    world.azure.advance(Duration::from_secs(2 * 3_600));
    let (code, doctor) = world.json(&["doctor"]);
    assert_eq!((code, &doctor["status"]), (22, &"fail".into()), "{doctor:#}");
}

#[test]
fn who_is_not_let_in_hears_it_once() {
    let world = World::with_archive();
    let mut command = world.command(&["-o", "json", "doctor"]);
    let output = command.env("AZURE_CLIENT_SECRET", "wrong").output().unwrap();
    let doctor: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(12), "{doctor:#}");
    let failed: Vec<&str> = doctor["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["verdict"] == "fail")
        .map(|check| check["check"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["sign in"], "{doctor:#}");
    assert!(!doctor.to_string().contains("wrong\""), "no secret is repeated");
}

#[test]
fn neighbours_in_one_subscription_and_open_key_files_are_told() {
    let seed = SEED.replace("22222222-2222-2222-2222-222222222222", "11111111-1111-1111-1111-111111111111");
    let seed = seed.replacen("purge_protection = true\nretention_days = 90", "retention_days = 7", 1);
    let world = World::new(&seed.replacen("location = \"westeurope\"", "location = \"northeurope\"", 1));
    world.init("prod", "vaults").succeeded();
    std::fs::set_permissions(world.path("signer.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, doctor) = world.json(&["doctor"]);
    let told = complaints(&doctor);
    assert_eq!(code, 0, "{doctor:#}");
    for expected in [
        "keys: signer file",
        "prod: soft delete",
        "prod: purge protection",
        "prod: archive's region",
        "prod: archive's subscription",
    ] {
        assert!(told.contains(&expected.to_owned()), "{expected}: {told:?}");
    }
}
