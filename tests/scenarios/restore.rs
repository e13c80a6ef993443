//! Bringing objects back: what is planned for each state of a name, and what becomes of it.

use serde_json::Value;

use crate::support::world::World;

fn archived() -> World {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    world
}

fn step(world: &World, arguments: &[&str]) -> (i32, Value) {
    let (code, plan) = world.json(&[&["restore", "plan"], arguments].concat());
    (code, plan["steps"][0].clone())
}

#[test]
fn everything_is_rebuilt_in_another_vault_of_the_same_subscription_and_geography() {
    let world = archived();
    let (code, plan) = world.json(&["restore", "plan", "--all", "--to", "https://spare.vault.azure.net"]);
    assert_eq!(code, 0, "{plan:#}");
    let steps = plan["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 7);
    assert!(steps.iter().all(|step| step["action"] == "restore"), "{plan:#}");
    assert_eq!(steps[0]["object"], "certificate/tls", "certificates come first");
    let (code, applied) = world.json(&["restore", "apply", "--yes"]);
    assert_eq!((code, &applied["status"]), (0, &"done".into()), "{applied:#}");
    for step in applied["steps"].as_array().unwrap() {
        assert_eq!(step["differences"], serde_json::json!([]), "{step:#}");
    }
    let stranger = world.stranger();
    let key = |vault: &str| {
        stranger.vault("GET", &format!("{vault}.vault.azure.net/keys/tde-protector"), "").1["key"]["n"].clone()
    };
    assert_eq!(key("prod"), key("spare"));
    let (_, again) = world.json(&["restore", "plan", "--all", "--to", "https://spare.vault.azure.net"]);
    assert!(again["steps"].as_array().unwrap().iter().all(|step| step["action"] == "nothing"), "{again:#}");
}

#[test]
fn what_is_live_and_the_same_is_left_alone() {
    let world = archived();
    let (code, step) = step(&world, &["secret/app-0000"]);
    assert_eq!((code, &step["action"]), (0, &"nothing".into()), "{step:#}");
}

#[test]
fn a_name_that_another_object_took_is_refused_with_the_drift() {
    let world = archived();
    world.stranger().vault("PUT", "spare.vault.azure.net/secrets/app-0000", r#"{"value":"other"}"#);
    let (code, step) = step(&world, &["secret/app-0000", "--to", "https://spare.vault.azure.net"]);
    assert_eq!((code, &step["action"]), (22, &"refused".into()), "{step:#}");
    assert!(step["reason"].as_str().unwrap().contains("only in the archive"), "{step:#}");
    assert!(!step["alternatives"].as_array().unwrap().is_empty());
}

#[test]
fn another_geography_is_refused_before_azure_is_asked() {
    let world = archived();
    let (code, step) = step(&world, &["key/signing", "--to", "https://faraway.vault.azure.net"]);
    assert_eq!((code, &step["action"]), (22, &"refused".into()), "{step:#}");
    assert!(step["reason"].as_str().unwrap().contains("Europe"), "{step:#}");
    assert!(world.azure.requests().iter().all(|request| !request.path.ends_with("/restore")));
}

#[test]
fn a_soft_deleted_object_that_is_not_the_captured_one_is_refused() {
    let world = archived();
    let stranger = world.stranger();
    // An older object of that name lies in the spare vault's bin.
    stranger.vault("PUT", "spare.vault.azure.net/keys/signing", r#"{"key":{"kty":"oct"}}"#);
    let (status, _) =
        stranger.vault("POST", "spare.vault.azure.net/keys/signing/create", r#"{"kty":"EC","crv":"P-256"}"#);
    assert_eq!(status, 200);
    stranger.vault("DELETE", "spare.vault.azure.net/keys/signing", "");
    world.azure.advance(std::time::Duration::from_secs(10));
    stranger.vault("POST", "prod.vault.azure.net/keys/signing/rotate", "");
    world.azure.advance(std::time::Duration::from_secs(10));
    world.run(&["snapshot"]).succeeded();
    let (code, step) = step(&world, &["key/signing", "--to", "https://spare.vault.azure.net"]);
    assert_eq!((code, &step["action"]), (22, &"refused".into()), "{step:#}");
    assert!(step["reason"].as_str().unwrap().contains("soft-deleted"), "{step:#}");
}

#[test]
fn a_plan_is_not_carried_out_when_a_name_moved_since() {
    let world = archived();
    world.run(&["restore", "plan", "secret/app-0000", "--to", "https://spare.vault.azure.net"]).succeeded();
    world.stranger().vault("PUT", "spare.vault.azure.net/secrets/app-0000", r#"{"value":"other"}"#);
    let ran = world.run(&["restore", "apply", "--yes"]).exited(11);
    assert!(ran.stderr.contains("secret/app-0000 is not as it was"), "{ran:#?}");
}

#[test]
fn a_restore_whose_answer_is_lost_is_found_to_have_landed() {
    use akv_archiver::emulator::faults::{Action, Rule, When};
    let world = archived();
    world.run(&["restore", "plan", "key/signing", "--to", "https://spare.vault.azure.net"]).succeeded();
    world.azure.fault(Rule::new(Action::Reset(When::After)).method("POST").path("/keys/restore")).unwrap();
    let (code, applied) = world.json(&["restore", "apply", "--yes"]);
    assert_eq!((code, &applied["status"]), (0, &"done".into()), "{applied:#}");
    let restores = world.azure.requests().iter().filter(|request| request.path == "/keys/restore").count();
    assert!(restores <= 2, "one without a token at most, and one with: {restores}");
}

#[test]
fn without_an_identity_nothing_opens() {
    let world = archived();
    std::fs::rename(world.path("identity.txt"), world.path("moved.txt")).unwrap();
    let ran = world.run(&["restore", "plan", "key/signing"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains("identity.txt"), "{ran:#?}");
    world
        .edit_settings(|text| text.lines().filter(|line| !line.starts_with("identity")).collect::<Vec<_>>().join("\n"));
    let ran = world.run(&["restore", "plan", "key/signing"]).exited(14);
    assert!(ran.stderr.contains("archive.identity"), "{ran:#?}");
    world.run(&["snapshot"]).succeeded();
    world.run(&["verify"]).succeeded();
}

#[test]
fn a_log_that_somebody_ended_does_not_keep_a_key_from_coming_back() {
    let world = archived();
    let junk = "vaults/vaults/prod.vault.azure.net/log/0000000002";
    let (status, _) = world.stranger().blob("PUT", junk, &[("x-ms-blob-type", "BlockBlob")], b"junk");
    assert_eq!(status, 201);
    world.run(&["snapshot"]).exited(20);
    let to = ["key/signing", "--to", "https://spare.vault.azure.net"];
    let (code, plan) = world.json(&[&["restore", "plan"], &to[..]].concat());
    assert_eq!((code, &plan["steps"][0]["action"]), (0, &"restore".into()), "{plan:#}");
    assert!(!plan["notes"].as_array().unwrap().is_empty(), "{plan:#}");
    world.run(&["restore", "apply", "--yes"]).exited(20);
    let ran = world.run(&["restore", "apply", "--yes", "--without-log"]).succeeded();
    let id = plan["plan"].as_str().unwrap();
    for part in ["the log will not tell of this restore", "Record by hand", id, "a signer is at hand"] {
        assert!(ran.stderr.contains(part), "{part}: {ran:#?}");
    }
    let (status, _) = world.stranger().vault("GET", "spare.vault.azure.net/keys/signing", "");
    assert_eq!(status, 200);
}
