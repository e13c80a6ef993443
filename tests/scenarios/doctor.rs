//! What the doctor tells before the night: too much power, wrong clocks, keys that lie open, and doors that stay shut.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;

use crate::support::world::{SEED, World, principal};

/// The checks that are not `ok`, as `subject: check`.
fn complaints(doctor: &Value) -> Vec<String> {
    let checks = doctor["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] != "ok");
    checks.map(|it| format!("{}: {}", it["subject"].as_str().unwrap(), it["check"].as_str().unwrap())).collect()
}

const ROLES: [&str; 3] = ["snapshot-reader", "contacts-reader", "archive-writer"];

#[test]
fn the_documented_roles_are_enough_and_not_too_much() {
    let world = World::played_by(&principal(&ROLES, &[]));
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
    let pair = found("region pair").unwrap();
    assert!(pair["detail"].as_str().unwrap().starts_with("westeurope is replicated to northeurope"), "{pair}");
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
    let world = World::played_by(&principal(&ROLES, &too_much));
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
    let world = World::played_by(&lean);
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

const OPERATOR: [&str; 2] = ["restore-operator", "archive-writer"];

fn failures(doctor: &Value) -> Vec<String> {
    let checks = doctor["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] == "fail");
    checks.map(|it| format!("{}: {}", it["subject"].as_str().unwrap(), it["check"].as_str().unwrap())).collect()
}

#[test]
fn a_restores_operator_is_asked_for_what_a_restore_takes() {
    let world = World::taken_over_by(&principal(&OPERATOR, &[]));
    let (code, doctor) = world.json(&["doctor", "--for", "restore"]);
    assert_eq!((code, complaints(&doctor)), (0, Vec::new()), "{doctor:#}");
    for check in ["identity", "signer", "add files", "restore", "recover", "purge"] {
        assert!(doctor["checks"].as_array().unwrap().iter().any(|it| it["check"] == check), "{check}: {doctor:#}");
    }
    for key in ["identity.txt", "signer.key"] {
        std::fs::rename(world.path(key), world.path("away")).unwrap();
        let (code, doctor) = world.json(&["doctor", "--for", "restore"]);
        let name = key.split('.').next().unwrap();
        assert_eq!((code, failures(&doctor)), (2, vec![format!("keys: {name}")]), "{doctor:#}");
        std::fs::rename(world.path("away"), world.path(key)).unwrap();
    }
    world.edit_settings(|text| text.replace("identity = ", "# identity = "));
    let (code, doctor) = world.json(&["doctor", "--for", "restore"]);
    assert_eq!((code, failures(&doctor)), (14, vec!["keys: identity".to_owned()]), "{doctor:#}");
}

#[test]
fn who_may_only_back_up_cannot_restore_and_hears_it() {
    let world = World::taken_over_by(&principal(&ROLES, &[]));
    let (code, doctor) = world.json(&["doctor", "--for", "restore", "--vault", "https://spare.vault.azure.net"]);
    assert_eq!((code, failures(&doctor)), (12, vec!["spare: restore".into(), "spare: recover".into()]), "{doctor:#}");
    let (code, doctor) = world.json(&["doctor", "--for", "verify"]);
    assert_eq!((code, complaints(&doctor)), (0, Vec::new()), "{doctor:#}");
    assert!(doctor["checks"].as_array().unwrap().iter().all(|it| it["check"] != "add files"), "{doctor:#}");
}

#[test]
fn settings_without_a_vault_and_a_secret_that_is_not_set_are_one_line_each() {
    let world = World::with_archive();
    let mut command = world.command(&["-o", "json", "doctor"]);
    let output = command.env_remove("AZURE_CLIENT_SECRET").output().unwrap();
    let doctor: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), failures(&doctor)), (Some(2), vec!["archive: sign in".to_owned()]), "{doctor:#}");
    let detail = doctor["checks"].as_array().unwrap().iter().find(|it| it["check"] == "sign in").unwrap();
    let expected = "archive.credential: environment variable AZURE_CLIENT_SECRET is not set";
    assert_eq!(detail["detail"], expected, "{doctor:#}");

    world.edit_settings(|text| text.split("[[vault]]").next().unwrap().to_owned());
    let (code, doctor) = world.json(&["doctor"]);
    assert_eq!((code, failures(&doctor)), (2, vec!["vaults: named".to_owned()]), "{doctor:#}");
}
