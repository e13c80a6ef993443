//! Write-once storage, and stores that only pretend.

use crate::support::world::{SEED, World};

/// Paths of the blobs in a container whose names hold `part`.
fn blobs(world: &World, container: &str, part: &str) -> Vec<String> {
    let (status, body) = world.stranger().blob("GET", &format!("{container}?restype=container&comp=list"), &[], b"");
    assert_eq!(status, 200);
    let text = String::from_utf8(body).unwrap();
    let names = text.split("<Name>").skip(1).filter_map(|rest| rest.split("</Name>").next());
    names.filter(|name| name.contains(part)).map(str::to_owned).collect()
}

#[test]
fn a_container_without_a_policy_is_refused_before_anything_is_written() {
    let world = World::new(SEED);
    let ran = world.init("prod", "plain").exited(21);
    assert!(ran.stderr.contains("no immutability policy"), "{ran:#?}");
    assert!(ran.stderr.contains("hint:"), "{ran:#?}");
    assert!(blobs(&world, "plain", "").is_empty());
}

#[test]
fn an_unlocked_policy_is_archived_into_and_reported() {
    let world = World::new(SEED);
    world.init("prod", "unlocked").succeeded();
    let (code, snapshot) = world.json(&["snapshot"]);
    assert_eq!(code, 0, "{snapshot:#}");
    assert!(snapshot["warnings"][0].as_str().unwrap().contains("not locked"), "{snapshot:#}");
    let (code, verified) = world.json(&["verify"]);
    assert_eq!((code, &verified["status"]), (21, &"noncompliant".into()));
    assert!(
        verified["findings"].as_array().unwrap().iter().all(|finding| finding["code"] == "unlocked"),
        "{verified:#}"
    );
}

#[test]
fn a_container_level_policy_protects_names_too() {
    let world = World::new(SEED);
    world.init("prod", "rigid").succeeded();
    world.run(&["snapshot"]).succeeded();
    world.run(&["verify"]).succeeded();
    let path = blobs(&world, "rigid", "/captures/key/tde-protector/").pop().unwrap();
    let headers = [("x-ms-blob-type", "BlockBlob")];
    let (status, _) = world.stranger().blob("PUT", &format!("rigid/{path}"), &headers, b"forged");
    assert_eq!(status, 409);
    let (status, _) = world.stranger().blob("DELETE", &format!("rigid/{path}"), &[], b"");
    assert_eq!(status, 409);
}

#[test]
fn what_was_written_over_is_reported_and_the_oldest_version_still_restores() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let headers = [("x-ms-blob-type", "BlockBlob")];
    for part in ["/captures/secret/app-0001/", "/manifests/", "/log/", "archive.json"] {
        let path = blobs(&world, "vaults", part).pop().unwrap();
        let (status, _) = world.stranger().blob("PUT", &format!("vaults/{path}"), &headers, b"forged");
        assert_eq!(status, 201, "a version-level container takes a new version over the old one");
        let (status, _) = world.stranger().blob("DELETE", &format!("vaults/{path}"), &[], b"");
        assert_eq!(status, 409);
    }
    let (code, verified) = world.json(&["verify"]);
    assert_eq!(code, 20, "{verified:#}");
    let codes: Vec<&str> =
        verified["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["extra-version"; 4], "{verified:#}");
    let (code, plan) = world.json(&["restore", "plan", "secret/app-0001", "--to", "https://spare.vault.azure.net"]);
    assert_eq!((code, &plan["steps"][0]["action"]), (0, &"restore".into()), "{plan:#}");
    world.run(&["snapshot"]).succeeded();
}
