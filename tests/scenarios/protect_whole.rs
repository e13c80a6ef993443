//! People who protect a container with one policy for all files: for longer, for good, and for as long as a case takes.

use std::time::Duration;

use serde_json::Value;

use super::protect::{documented, paths_in, shape};
use crate::support::world::{SEED, World, principal};

/// A world with an archive in a container of which nobody locked the policy.
fn loose() -> World {
    let seed = SEED.replace(
        "{ name = \"plain\" }",
        "{ name = \"plain\" }, { name = \"loose\", worm = \"container-level\", days = 365 }",
    );
    let world = World::new(&seed);
    world.init("prod", "loose").succeeded();
    world.run(&["snapshot"]).succeeded();
    world
}

/// The same where the policy is locked.
fn rigid(more: &str) -> World {
    let world = World::new(&format!("{SEED}\n{more}"));
    world.init("prod", "rigid").succeeded();
    world.run(&["snapshot"]).succeeded();
    world
}

/// Requests that change something.
fn writes(world: &World) -> usize {
    let changes = |host: &str, method: &str| !host.starts_with("login.") && !matches!(method, "GET" | "HEAD");
    world.azure.requests().iter().filter(|it| changes(&it.host, &it.method)).count()
}

fn entries(world: &World, container: &str) -> usize {
    paths_in(world, container).iter().filter(|path| path.contains("/log/")).count()
}

#[test]
fn an_unlocked_policy_is_made_longer_and_then_locked() {
    let world = loose();
    let before = writes(&world);
    let (code, planned) = world.json(&["protect", "extend", "--for", "400d", "--list", "list.txt"]);
    assert_eq!((code, &planned["status"], &planned["container"]["days"]), (0, &"planned".into(), &365.into()));
    let days = planned["container"]["days_after"].as_u64().unwrap();
    assert!((401..=402).contains(&days), "{planned:#}");
    assert_eq!(writes(&world), before, "a plan changes nothing");
    let shown = world.run(&["protect", "extend", "--for", "400d"]).succeeded().stdout;
    let policy = format!("policy of the container: 365 days, unlocked -> {days} days, unlocked");
    assert!(shown.contains(&policy) && shown.contains("--lock locks them"), "{shown}");

    let (code, done) = world.json(&["protect", "extend", "--for", "400d", "--yes", "--reason", "an audit"]);
    assert_eq!((code, &done["status"]), (0, &"done".into()), "{done:#}");
    let list = std::fs::read_to_string(world.path("list.txt")).unwrap();
    let digest = akv_archiver::model::Digest::of(list.as_bytes()).to_string();
    assert_eq!(done["entries"][0]["sha256"], digest.as_str(), "the digest in the log is the list's");
    assert_eq!(shape(&done), documented("\n### A container as a whole"));
    let standing = world.json(&["protect", "status"]).1;
    assert_eq!((&standing["store"]["days"], &standing["store"]["lock"]), (&days.into(), &"unlocked".into()));
    assert_eq!(world.json(&["protect", "extend", "--for", "400d", "--yes"]).1["status"], "nothing");

    let (code, locked) = world.json(&["protect", "extend", "--for", "30d", "--lock", "--yes"]);
    assert_eq!((code, &locked["status"]), (0, &"done".into()), "{locked:#}");
    assert_eq!(
        (&locked["container"]["lock_after"], &locked["container"]["days_after"]),
        (&"locked".into(), &days.into())
    );
    world.run(&["verify"]).succeeded();
    assert_eq!(world.json(&["protect", "status"]).1["store"]["lock"], "locked");
}

#[test]
fn a_locked_policy_is_extended_five_times_and_a_sixth_is_refused_with_nothing_recorded() {
    let world = rigid("");
    for extension in 1..=5 {
        let period = format!("{}d", 400 + extension * 10);
        let (code, done) = world.json(&["protect", "extend", "--for", &period, "--yes"]);
        assert_eq!((code, &done["container"]["extensions_after"]), (0, &extension.into()), "{done:#}");
    }
    let count = entries(&world, "rigid");
    let ran = world.run(&["protect", "extend", "--for", "500d", "--yes"]).exited(22);
    assert!(ran.stderr.contains("extended 5 times") && ran.stderr.contains("protect hold --tag"), "{ran:#?}");
    assert_eq!(entries(&world, "rigid"), count);
    world.run(&["verify"]).succeeded();

    // Nor can whoever holds every right take it back.
    let policy = "https://management.azure.com/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-archive/\
                  providers/Microsoft.Storage/storageAccounts/archive/blobServices/default/containers/rigid/\
                  immutabilityPolicies/default?api-version=2023-05-01";
    let shorter = br#"{"properties":{"immutabilityPeriodSinceCreationInDays":1}}"#;
    for (method, body) in [("DELETE", &b""[..]), ("PUT", shorter)] {
        let scope = "https://management.azure.com/.default";
        let (status, body) = world.stranger().send(scope, method, policy, &[("if-match", "*")], body.to_vec());
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(status == 409 && body.contains("ContainerImmutabilityPolicyFailure"), "{method}: {status} {body}");
    }
}

#[test]
fn a_hold_keeps_files_beyond_their_time_and_other_holds_outlast_one() {
    let world = rigid("");
    for (tag, reason) in [("Case7", "case 7"), ("audit", "the audit of 2026")] {
        let (code, done) = world.json(&["protect", "hold", "--tag", tag, "--reason", reason, "--yes"]);
        assert_eq!((code, &done["status"]), (0, &"done".into()), "{done:#}");
    }
    assert_eq!(world.json(&["protect", "hold", "--tag", "case7", "--reason", "again", "--yes"]).1["status"], "nothing");
    world.azure.advance(Duration::from_secs(500 * 86_400));
    let capture = paths_in(&world, "rigid").into_iter().find(|path| path.contains("/captures/")).unwrap();
    let delete = || world.stranger().blob("DELETE", &format!("rigid/{capture}"), &[], b"");
    let held = |(status, body): (u16, Vec<u8>)| {
        assert!(status == 409 && String::from_utf8_lossy(&body).contains("BlobImmutableDueToLegalHold"), "{status}");
    };
    held(delete());
    let verified = world.json(&["verify"]).1;
    assert_ne!(verified["status"], "tampered", "{verified:#}");
    let ran = world.run(&["protect", "release", "--tag", "CASE7", "--reason", "closed", "--yes"]).succeeded();
    assert!(ran.stdout.contains("legal holds: audit, case7 -> audit\nthe other holds stay"), "{ran:#?}");
    held(delete());
    world.run(&["protect", "release", "--tag", "audit", "--reason", "over", "--yes"]).succeeded();
    assert_eq!(delete().0, 202, "its time was over");
}

#[test]
fn what_makes_no_sense_for_a_whole_is_refused_and_nothing_is_written() {
    let world = rigid("");
    let before = entries(&world, "rigid");
    for wrong in [
        &["protect", "extend", "--for", "400d", "--yes", "--vault", "prod"][..],
        &["protect", "extend", "--for", "400d", "--yes", "--class", "log"],
        &["protect", "hold", "--tag", "case7", "--reason", "x", "--yes", "--path", "vaults/"],
        &["protect", "hold", "--reason", "x", "--yes"],
    ] {
        world.run(wrong).exited(22);
    }
    world.run(&["protect", "hold", "--tag", "a b", "--reason", "x", "--yes"]).exited(2);
    assert_eq!(entries(&world, "rigid"), before);

    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let ran = world.run(&["protect", "hold", "--tag", "case7", "--reason", "x", "--yes"]).exited(22);
    assert!(ran.stderr.contains("legal holds on versions have no tags"), "{ran:#?}");
}

/// What the roles give is enough, and less is refused by name.
#[test]
fn the_nightly_job_may_not_and_a_retention_admin_may() {
    let named = |name: &str, roles: &[&str]| principal(roles, &[]).replace("\"job\"", &format!("\"{name}\""));
    let seed = [
        named("reader", &["archive-reader"]),
        named("job", &["archive-writer"]),
        named("admin", &["archive-writer", "retention-admin"]),
    ];
    let world = rigid(&seed.concat());
    let ready = world.azure.ready().clone();
    let mut current = ready.client_id.clone();
    let extend: &[&str] = &["protect", "extend", "--for", "400d", "--yes"];
    let hold: &[&str] = &["protect", "hold", "--tag", "case7", "--reason", "case 7", "--yes"];
    let release: &[&str] = &["protect", "release", "--tag", "case7", "--reason", "closed", "--yes"];
    for (name, arguments, missing) in [
        ("reader", extend, Some(("blobs/add/action", "archive-writer.json"))),
        ("job", extend, Some(("immutabilityPolicies/extend/action", "retention-admin.json"))),
        ("job", hold, Some(("containers/setLegalHold/action", "retention-admin.json"))),
        ("admin", extend, None),
        ("admin", hold, None),
        ("job", release, Some(("containers/clearLegalHold/action", "retention-admin.json"))),
        ("admin", release, None),
    ] {
        let principal = &ready.principals[name];
        world.edit_settings(|text| text.replace(&current, &principal.client_id));
        current.clone_from(&principal.client_id);
        let mut command = world.command(arguments);
        let ran = command.env("AZURE_CLIENT_SECRET", &principal.client_secret).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(if missing.is_some() { 12 } else { 0 }), "{name} {arguments:?}: {told}");
        if let Some((action, role)) = missing {
            assert!(told.contains(action) && told.contains(role), "{told}");
        }
    }
    let verified: Value = world.json(&["verify"]).1;
    assert_ne!(verified["status"], "tampered");
}
