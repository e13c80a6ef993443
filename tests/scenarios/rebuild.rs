//! A whole vault made anew in an empty one: objects, rotation policies, issuers and contacts, and files for the rest.

use std::collections::BTreeMap;

use akv_archiver::emulator::faults::{Action, Rule, Status, When};
use serde_json::Value;

use crate::support::world::World;

/// A vault with everything that no blob carries, beside objects; an empty one; an archive.
const SEED: &str = r#"
[[vault]]
name = "prod"
subscription = "11111111-1111-1111-1111-111111111111"
location = "westeurope"
sku = "premium"
retention_days = 90
tags = { team = "it's ${theirs}" }
network = { default_action = "Allow", ip_rules = ["203.0.113.0/24"] }
role_assignments = [
  { role = "21090545-7ca7-4776-b22c-e363652d74d2", principal = "99999999-9999-9999-9999-999999999999" },
  { role = "21090545-7ca7-4776-b22c-e363652d74d2", principal = "88888888-8888-8888-8888-888888888888", subscription = true },
]
diagnostic_settings = [{ name = "to-logs", workspace = "/subscriptions/1/workspaces/w", categories = ["AuditEvent"] }]
issuers = [
  { name = "digicert", provider = "DigiCert", account_id = "acme", organization = "42" },
  { name = "own", provider = "Test" },
]
contacts = [{ email = "ops@b.example", name = "O'Brien" }]
objects = [
  { kind = "key", type = "RSA", name = "tde", versions = 2 },
  { kind = "key", type = "EC", name = "signing", curve = "P-256" },
  { kind = "secret", name = "app", tags = { team = "payments" } },
  { kind = "certificate", name = "tls" },
]

[[vault]]
name = "spare"
subscription = "11111111-1111-1111-1111-111111111111"
location = "northeurope"
sku = "premium"
retention_days = 7

[[storage]]
account = "archive"
subscription = "22222222-2222-2222-2222-222222222222"
location = "northeurope"
containers = [{ name = "vaults", worm = "version-level", days = 365, locked = true }]
"#;

const SPARE: &str = "https://spare.vault.azure.net";
const ROTATION: &str = r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"Rotate"}}],"attributes":{"expiryTime":"P120D"}}"#;

fn archived() -> World {
    let world = World::new(SEED);
    world.init("prod", "vaults").succeeded();
    let (status, body) = world.stranger().vault("PUT", "prod.vault.azure.net/keys/tde/rotationpolicy", ROTATION);
    assert_eq!(status, 200, "{body}");
    world.azure.advance(std::time::Duration::from_secs(10));
    world.run(&["snapshot"]).succeeded();
    world
}

fn get(world: &World, path: &str) -> (u16, Value) {
    world.stranger().vault("GET", path, "")
}

fn results(shown: &Value) -> Vec<(&str, &str)> {
    let settings = shown["vault_settings"].as_array().unwrap();
    settings.iter().map(|it| (it["setting"].as_str().unwrap(), it["result"].as_str().unwrap())).collect()
}

#[test]
fn a_vault_is_made_anew_with_what_no_blob_carries() {
    let world = archived();
    let (code, plan) = world.json(&["restore", "plan", "--all", "--to", SPARE, "--with-vault-settings"]);
    assert_eq!(code, 0, "{plan:#}");
    let steps: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["object"].as_str().unwrap()).collect();
    assert_eq!(
        steps,
        ["certificate/tls", "key/signing", "key/tde", "secret/app"],
        "certificates first, managed ones never"
    );
    assert_eq!(results(&plan), [("issuer digicert", "missing"), ("issuer own", "missing"), ("contacts", "missing")]);
    let (code, applied) = world.json(&["restore", "apply", "--yes"]);
    assert_eq!((code, &applied["status"]), (0, &"done".into()), "{applied:#}");
    assert_eq!(results(&applied), [("issuer digicert", "written"), ("issuer own", "written"), ("contacts", "written")]);
    for step in applied["steps"].as_array().unwrap() {
        assert_eq!(step["differences"], serde_json::json!([]), "{step:#}");
    }
    let (_, policy) = get(&world, "spare.vault.azure.net/keys/tde/rotationpolicy");
    assert_eq!(policy["attributes"]["expiryTime"], "P120D", "{policy:#}");
    assert_eq!(policy["lifetimeActions"][0]["trigger"]["timeAfterCreate"], "P90D", "{policy:#}");
    let (_, issuer) = get(&world, "spare.vault.azure.net/certificates/issuers/digicert");
    assert_eq!((&issuer["provider"], &issuer["credentials"]["account_id"]), (&"DigiCert".into(), &"acme".into()));
    let (_, contacts) = get(&world, "spare.vault.azure.net/certificates/contacts");
    assert_eq!(contacts["contacts"][0]["name"], "O'Brien");
    // Once more: there is nothing left to do.
    let (_, again) = world.json(&["restore", "plan", "--all", "--to", SPARE, "--with-vault-settings"]);
    assert!(again["steps"].as_array().unwrap().iter().all(|step| step["action"] == "nothing"), "{again:#}");
    assert!(results(&again).iter().all(|(_, result)| *result == "same"), "{again:#}");
}

#[test]
fn the_files_beside_the_plan_tell_the_rest_and_planning_writes_nothing_else() {
    let world = archived();
    let out = world.path("new.json");
    let ran = world.run(&["restore", "plan", "--all", "--to", SPARE, "--out", out.to_str().unwrap()]).succeeded();
    for told in ["role assignments: 1 of the vault, 1 inherited", "Event Grid", "new.bicep", "new.sh"] {
        assert!(ran.stdout.contains(told), "{told} in {ran:#?}");
    }
    let bicep = std::fs::read_to_string(world.path("new.bicep")).unwrap();
    for line in [
        "param name string = 'spare'",
        "    'team': 'it\\'s \\${theirs}'",
        "        { value: '203.0.113.0/24' }",
        "    principalId: '99999999-9999-9999-9999-999999999999'",
        "  name: 'to-logs'",
    ] {
        assert!(bicep.lines().any(|found| found == line), "{line} in\n{bicep}");
    }
    assert!(
        bicep.lines().any(|line| line.starts_with("//") && line.contains("88888888")),
        "inherited, told only:\n{bicep}"
    );
    let script = std::fs::read_to_string(world.path("new.sh")).unwrap();
    assert!(script.contains("--account-id='acme'") && script.contains(r#""expiryTime":"P120D""#), "{script}");
    assert!(std::process::Command::new("sh").arg("-n").arg(world.path("new.sh")).status().unwrap().success());
    world.run(&["restore", "apply", "--yes", out.to_str().unwrap()]).succeeded();
    assert_eq!(get(&world, "spare.vault.azure.net/certificates/issuers/own").0, 404, "nobody asked for it");
}

#[test]
fn what_lay_beside_an_earlier_plan_does_not_stay_beside_another_one() {
    let world = archived();
    let plan = |arguments: &[&str]| world.run(&[&["restore", "plan"], arguments].concat()).succeeded().stdout;
    plan(&["--all", "--to", SPARE]);
    let (bicep, script) = (world.path("restore-plan.bicep"), world.path("restore-plan.sh"));
    assert!(bicep.exists() && script.exists());
    // Somebody else's file of that name is nobody's business.
    std::fs::write(&script, "#!/bin/sh\n# mine\n").unwrap();
    let told = plan(&["certificate/tls"]);
    assert!(!bicep.exists() && script.exists(), "{told}");
    assert!(told.contains("Removed restore-plan.bicep") && !told.contains("Removed restore-plan.sh"), "{told}");
    assert!(told.contains("Nothing would be changed. Written to restore-plan.json, over an earlier plan."), "{told}");
}

#[test]
fn a_vault_that_was_purged_before_the_last_snapshot_is_not_taken_for_an_empty_one() {
    let world = archived();
    let stranger = world.stranger();
    for (live, deleted) in [("certificates/tls", "deletedcertificates/tls"), ("keys/tde", "deletedkeys/tde")] {
        assert_eq!(stranger.vault("DELETE", &format!("prod.vault.azure.net/{live}"), "").0, 200);
        world.azure.advance(std::time::Duration::from_secs(120));
        assert_eq!(stranger.vault("DELETE", &format!("prod.vault.azure.net/{deleted}"), "").0, 204);
        world.azure.advance(std::time::Duration::from_secs(120));
    }
    world.run(&["snapshot"]).succeeded();
    let (code, plan) = world.json(&["restore", "plan", "--all", "--to", SPARE]);
    let gone = serde_json::json!(["certificate/tls", "key/tde"]);
    assert_eq!((code, &plan["gone"], plan["steps"].as_array().unwrap().len()), (3, &gone, 2), "{plan:#}");
    let ran = world.run(&["restore", "plan", "--all", "--to", SPARE]).exited(3);
    assert!(ran.stdout.contains("GONE FROM THE SNAPSHOT, and NOT in this plan: 2 objects"), "{ran:#?}");
    let (code, plan) = world.json(&["restore", "plan", "--all", "--to", SPARE, "--live-only"]);
    assert_eq!((code, &plan["gone"]), (0, &serde_json::json!([])), "{plan:#}");
    let (code, plan) = world.json(&["restore", "plan", "--all", "--to", SPARE, "--snapshot", "1"]);
    assert_eq!((code, plan["steps"].as_array().unwrap().len()), (0, 4), "{plan:#}");
    let listed = world.run(&["list", "--ever"]).succeeded();
    assert!(listed.stdout.contains("gone: purged"), "{listed:#?}");
}

#[test]
fn what_makes_the_new_vault_is_written_before_there_is_one() {
    let world = archived();
    let (code, plan) = world.json(&["restore", "plan", "--all", "--to", "https://fresh.vault.azure.net"]);
    assert_eq!((code, plan["steps"].as_array().unwrap().len()), (22, 4), "{plan:#}");
    for step in plan["steps"].as_array().unwrap() {
        assert_eq!((&step["refusal"], &step["slot"]["state"]), (&"place-unknown".into(), &"free".into()), "{step:#}");
    }
    let told = plan["notes"].to_string();
    assert!(told.contains("fresh.vault.azure.net is not there yet") && told.contains("plan again"), "{told}");
    let bicep = std::fs::read_to_string(world.path("restore-plan.bicep")).unwrap();
    assert!(bicep.contains("param name string = 'fresh'"), "{bicep}");
    // A single object needs no vault made for it: its name is mistyped.
    world.run(&["restore", "plan", "key/tde", "--to", "https://fresh.vault.azure.net"]).exited(10);
}

#[test]
fn an_issuer_that_is_there_and_different_is_left_alone_and_told() {
    let world = archived();
    let other = r#"{"provider":"GlobalSign"}"#;
    let (status, _) = world.stranger().vault("PUT", "spare.vault.azure.net/certificates/issuers/own", other);
    assert_eq!(status, 200);
    world.run(&["restore", "plan", "--all", "--to", SPARE, "--with-vault-settings"]).succeeded();
    let (code, applied) = world.json(&["restore", "apply", "--yes"]);
    assert_eq!((code, results(&applied)[1]), (3, ("issuer own", "different")), "{applied:#}");
    let (_, issuer) = get(&world, "spare.vault.azure.net/certificates/issuers/own");
    assert_eq!(issuer["provider"], "GlobalSign");
}

/// Whoever finishes what somebody left open has no plan, and the log tells of objects only.
#[test]
fn a_rebuild_that_is_cut_off_and_resumed_keeps_no_issuer_back() {
    let world = archived();
    world.run(&["restore", "plan", "--all", "--to", SPARE, "--with-vault-settings"]).succeeded();
    let refusal = Status { code: 403, headers: BTreeMap::new(), body: None, when: When::Before };
    let result = Rule::new(Action::Status(refusal)).method("PUT").path("0000000003");
    world.azure.fault(result.window(0, 1000)).unwrap();
    let ran = world.run(&["restore", "apply", "--yes"]).exited(12);
    assert!(ran.stderr.contains("the vault was changed (4 done)"), "{ran:#?}");
    world.azure.clear_faults();
    world.run(&["restore", "resume", "--yes"]).succeeded();
    for setting in ["issuers/digicert", "issuers/own", "contacts"] {
        let (status, body) = get(&world, &format!("spare.vault.azure.net/certificates/{setting}"));
        assert_eq!(status, 200, "{setting}: {body:#}");
    }
}

#[test]
fn vault_settings_are_for_a_whole_vault_that_goes_elsewhere() {
    let world = archived();
    for asked in [&["key/tde", "--to", SPARE][..], &["--all"]] {
        let ran = world.run(&[&["restore", "plan", "--with-vault-settings"], asked].concat()).exited(2);
        assert!(ran.stderr.contains("--all") && ran.stderr.contains("--to"), "{ran:#?}");
        assert!(!world.path("restore-plan.json").exists() && !world.path("restore-plan.sh").exists());
    }
}
