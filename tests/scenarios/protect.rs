//! People who protect an archive for longer, and hold on to it while somebody asks.

use std::time::Duration;

use serde_json::Value;

use crate::support::world::{SEED, World};

/// The version of a class in a table.
fn row<'a>(standing: &'a Value, class: &str) -> &'a Value {
    let rows = standing["classes"].as_array().unwrap();
    rows.iter().find(|row| row["class"] == class).unwrap()
}

fn paths(world: &World) -> Vec<String> {
    paths_in(world, "vaults")
}

/// The names of all blobs in a container.
pub(super) fn paths_in(world: &World, container: &str) -> Vec<String> {
    let (status, body) = world.stranger().blob("GET", &format!("{container}?restype=container&comp=list"), &[], b"");
    assert_eq!(status, 200);
    let text = String::from_utf8(body).unwrap();
    let names = text.split("<Name>").skip(1).filter_map(|rest| rest.split("</Name>").next());
    names.map(str::to_owned).collect()
}

/// The members of an object, and of the objects in its lists.
pub(super) fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => items.first().map_or(Value::Null, |first| Value::Array(vec![shape(first)])),
        _ => Value::Null,
    }
}

/// The shape of an example in docs/JSON.md, without what an answer of ours has not.
pub(super) fn documented(heading: &str) -> Value {
    let document = crate::documents::read("docs/JSON.md");
    let example = document.split_once(heading).unwrap().1.split_once("```json\n").unwrap().1;
    let mut example: Value = serde_json::from_str(example.split("```").next().unwrap()).unwrap();
    if let Some(failures) = example.get_mut("failures") {
        *failures = Value::Array(Vec::new());
    }
    shape(&example)
}

#[test]
fn an_archive_is_extended_held_through_the_end_of_its_policy_and_released() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let (code, standing) = world.json(&["protect", "status"]);
    assert_eq!((code, &standing["at_risk"]), (0, &false.into()), "{standing:#}");
    assert_eq!(
        (row(&standing, "log")["locked"].as_u64(), row(&standing, "captures")["locked"].as_u64()),
        (Some(1), Some(8))
    );

    let (code, planned) = world.json(&["protect", "extend", "--for", "400d", "--list", "list.txt"]);
    assert_eq!((code, &planned["status"]), (0, &"planned".into()), "{planned:#}");
    assert_eq!(row(&world.json(&["protect", "status"]).1, "log")["latest"], row(&standing, "log")["latest"]);
    let list = std::fs::read_to_string(world.path("list.txt")).unwrap();
    assert_eq!(
        list.lines().count(),
        11,
        "archive.json, a log entry, a manifest, captures of 7 objects and of settings"
    );

    let (code, done) = world.json(&["protect", "extend", "--for", "400d", "--yes", "--reason", "an audit"]);
    assert_eq!((code, &done["status"], &done["changed"]), (0, &"done".into(), &12.into()), "{done:#}");
    let digest = done["entries"][0]["sha256"].as_str().unwrap();
    assert_eq!(
        digest,
        akv_archiver::model::Digest::of(list.as_bytes()).to_string(),
        "the digest in the log is the list's"
    );
    assert_eq!(shape(&done), documented("\n## protect extend"));
    let standing = world.json(&["protect", "status"]).1;
    assert_eq!(shape(&standing), documented("\n## protect status"));
    for class in ["archive", "log", "manifests", "captures"] {
        assert_eq!(row(&standing, class)["earliest"], done["until"], "{class}");
    }
    assert_eq!(world.json(&["protect", "extend", "--for", "400d", "--yes"]).1["status"], "nothing");
    world.run(&["verify"]).succeeded();

    let ran = world.run(&["protect", "hold", "--yes", "--reason", "case 7"]).succeeded();
    assert!(
        ran.stdout.contains("hold: done: 13 versions changed\nentry 3 in the log of prod.vault.azure.net"),
        "{ran:#?}"
    );
    world.run(&["verify"]).succeeded();
    world.azure.advance(Duration::from_secs(500 * 86_400));
    for path in paths(&world) {
        let (status, body) = world.stranger().blob("DELETE", &format!("vaults/{path}"), &[], b"");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(status == 409 && body.contains("BlobImmutableDueToLegalHold"), "{path}: {status} {body}");
    }
    let ran = world.run(&["protect", "release", "--yes", "--reason", "case 7 is closed"]).succeeded();
    assert!(ran.stdout.contains("release: done: 13 versions changed"), "{ran:#?}");
    let capture = paths(&world).into_iter().find(|path| path.contains("/captures/")).unwrap();
    assert_eq!(world.stranger().blob("DELETE", &format!("vaults/{capture}"), &[], b"").0, 202, "its time was over");
}

#[test]
fn without_a_yes_nothing_is_changed_and_without_a_terminal_nobody_is_asked() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let before = world.azure.requests().len();
    let ran = world.run(&["protect", "hold", "--reason", "case 7"]).succeeded();
    assert!(ran.stdout.contains("hold: 11 of 11 versions would be changed"), "{ran:#?}");
    assert!(ran.stdout.contains("nothing was changed; --yes carries it out"), "{ran:#?}");
    let writes = world.azure.requests().into_iter().skip(before).filter(|it| it.method == "PUT").count();
    assert_eq!(writes, 0);
    for wrong in [
        &["protect", "hold", "--yes"][..],
        &["protect", "extend", "--yes"],
        &["protect", "extend", "--until", "2001-01-01"],
        &["protect", "extend", "--for", "400d", "--class", "logs"],
        &["protect", "extend", "--for", "400d", "--path", "no such path"],
    ] {
        world.run(wrong).exited(2);
    }
    world.run(&["protect", "extend", "--for", "400d", "--vault", "spare.vault.azure.net"]).exited(10);
}

#[test]
fn where_nothing_can_be_protected_a_person_is_told_what_to_do() {
    let world = World::new(SEED);
    world.init_directory("archive").succeeded();
    world.run(&["snapshot"]).succeeded();
    let ran = world.run(&["protect", "status"]).succeeded();
    assert!(ran.stdout.contains("the store protects nothing of its own accord"), "{ran:#?}");
    let ran = world.run(&["protect", "extend", "--for", "400d", "--yes"]).exited(22);
    assert!(ran.stderr.contains("no write-once protection that could be changed"), "{ran:#?}");
}

/// What the roles give is enough, and less is refused by name.
#[test]
fn the_nightly_job_may_not_and_a_retention_admin_may() {
    let powers = |roles: &[&str]| -> Vec<String> {
        let of = |role: &&str| {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("policies/roles/{role}.json"));
            let role: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let field = |name: &str| role[name].as_array().unwrap().clone();
            [field("Actions"), field("DataActions")].concat()
        };
        roles.iter().flat_map(of).map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let principals = format!(
        "[[principal]]\nname = \"job\"\nactions = {:?}\n[[principal]]\nname = \"admin\"\nactions = {:?}\n",
        powers(&["archive-writer"]),
        powers(&["archive-writer", "retention-admin"]),
    );
    let world = World::new(&format!("{SEED}\n{principals}"));
    world.init("prod", "vaults").succeeded();
    world.run(&["snapshot"]).succeeded();
    let ready = world.azure.ready().clone();
    let mut current = ready.client_id.clone();
    for (name, code) in [("job", 12), ("admin", 0)] {
        let principal = &ready.principals[name];
        world.edit_settings(|text| text.replace(&current, &principal.client_id));
        current.clone_from(&principal.client_id);
        let mut command = world.command(&["protect", "extend", "--for", "400d", "--yes"]);
        let ran = command.env("AZURE_CLIENT_SECRET", &principal.client_secret).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{name}: {told}");
        if code != 0 {
            assert!(told.contains("runAsSuperUser/action") && told.contains("retention-admin.json"), "{told}");
        }
    }
    let (_, verified) = world.json(&["verify"]);
    assert_ne!(verified["status"], "tampered");
}
