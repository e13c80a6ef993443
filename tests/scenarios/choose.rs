//! What a restore takes, as operators ask for it: by name, pattern and kind, by snapshot, time and version, from files.

use serde_json::Value;

use crate::support::world::World;

const SPARE: [&str; 2] = ["--to", "https://spare.vault.azure.net"];

/// Two snapshots: of everything; then of a rotated key, and without a deleted secret.
fn archived() -> World {
    let world = World::with_archive();
    twice(&world);
    world
}

fn twice(world: &World) {
    world.run(&["snapshot"]).succeeded();
    let stranger = world.stranger();
    assert_eq!(stranger.vault("POST", "prod.vault.azure.net/keys/signing/rotate", "").0, 200);
    assert_eq!(stranger.vault("DELETE", "prod.vault.azure.net/secrets/app-0001", "").0, 200);
    world.azure.advance(std::time::Duration::from_secs(120));
    world.run(&["snapshot"]).succeeded();
}

/// Objects of a plan and the snapshots that their captures are from.
fn planned(world: &World, arguments: &[&str]) -> Vec<(String, u64)> {
    let (code, plan) = world.json(&[&["restore", "plan"], arguments, &SPARE].concat());
    assert_eq!(code, 0, "{plan:#}");
    let steps = plan["steps"].as_array().unwrap().iter();
    steps
        .map(|step| {
            let snapshot = step["from"]["archive"]["snapshot"].as_u64().unwrap();
            (step["object"].as_str().unwrap().to_owned(), snapshot)
        })
        .collect()
}

fn lines(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(object, snapshot)| ((*object).to_owned(), *snapshot)).collect()
}

/// Error message and hint of a plan that cannot be made.
fn refused(world: &World, code: i32, arguments: &[&str]) -> String {
    let ran = world.run(&[&["restore", "plan"], arguments].concat()).exited(code);
    assert!(!world.path("restore-plan.json").exists(), "nothing was planned");
    ran.stderr
}

#[test]
fn objects_are_chosen_by_pattern_and_kind() {
    chosen_by_pattern_and_kind(&archived());
}

#[test]
fn an_archive_in_a_directory_is_chosen_from_in_the_same_ways() {
    let world = World::new(crate::support::world::SEED);
    world.init_directory("archive").succeeded();
    twice(&world);
    chosen_by_pattern_and_kind(&world);
    assert_eq!(planned(&world, &["key/signing", "--snapshot", "1"]), lines(&[("key/signing", 1)]));
    let (code, plan) = world.json(&["restore", "plan", "--all"]);
    assert_eq!((code, &plan["whole"]), (0, &true.into()), "{plan:#}");
    for step in plan["steps"].as_array().unwrap() {
        let expected = if step["object"] == "secret/app-0001" { "recover" } else { "nothing" };
        assert_eq!(step["action"], expected, "{step:#}");
    }
    let (code, plan) = world.json(&["restore", "plan", "secret/app-0001"]);
    assert_eq!((code, &plan["steps"][0]["action"]), (0, &"recover".into()), "{plan:#}");
}

fn chosen_by_pattern_and_kind(world: &World) {
    let apps = [("secret/app-0000", 2), ("secret/app-0001", 1), ("secret/app-0002", 2)];
    assert_eq!(planned(world, &["secret/app-*"]), lines(&apps), "what is gone fits, too");
    assert_eq!(
        planned(world, &["*/tls", "*/S*GNING"]),
        lines(&[("certificate/tls", 2), ("key/signing", 2)]),
        "a certificate's key and secret have no capture of their own"
    );
    assert_eq!(planned(world, &["--kind", "key"]), lines(&[("key/signing", 2), ("key/tde-protector", 2)]));
    assert_eq!(planned(world, &["--kind", "keys", "--kind", "certificate"]).len(), 3);
    std::fs::remove_file(world.path("restore-plan.json")).unwrap();
    let error = refused(world, 10, &["key/payments-*"]);
    assert!(error.contains("nothing in snapshot 2 (begun ") && error.contains("fits key/payments-*"), "{error}");
}

#[test]
fn captures_are_chosen_by_snapshot_and_time() {
    let world = archived();
    assert_eq!(planned(&world, &["key/signing", "--snapshot", "1"]), lines(&[("key/signing", 1)]));
    assert_eq!(planned(&world, &["--all", "--snapshot", "1"]).len(), 7);
    assert_eq!(planned(&world, &["--all", "--snapshot", "2"]).len(), 6, "one of seven was deleted");
    assert_eq!(planned(&world, &["--all", "--at", "2999-01-01"]).len(), 7, "an older snapshot has the deleted one");
    assert_eq!(planned(&world, &["--all", "--live-only"]).len(), 6);
    std::fs::remove_file(world.path("restore-plan.json")).unwrap();
    let error = refused(&world, 10, &["key/signing", "--snapshot", "7"]);
    assert!(error.contains("snapshot 7 of prod.vault.azure.net does not exist"), "{error}");
    assert!(error.contains("near it: snapshot 2 (begun "), "{error}");
    let error = refused(&world, 10, &["key/signing", "--at", "2020-02-29 03:00"]);
    assert!(error.contains("no snapshot of prod.vault.azure.net had begun by 2020-02-29 03:00 UTC"), "{error}");
    assert!(error.contains("the first is snapshot 1"), "{error}");
    let error = refused(&world, 2, &["key/signing", "--at", "last week"]);
    assert!(error.contains("is no time such as 2026-11-20"), "{error}");
}

#[test]
fn a_capture_is_chosen_by_a_version_that_it_contains() {
    let world = archived();
    let (_, listed) = world.stranger().vault("GET", "prod.vault.azure.net/keys/signing/versions", "");
    let ids: Vec<&str> = listed["value"].as_array().unwrap().iter().map(|v| v["kid"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    for id in ids {
        // As SQL Server and Azure print it: that names the vault and the object.
        assert_eq!(planned(&world, &["--version-containing", id]), lines(&[("key/signing", 2)]));
        let version = id.rsplit('/').next().unwrap();
        let both = ["key/signing", "--version-containing", version];
        assert_eq!(planned(&world, &both), lines(&[("key/signing", 2)]));
    }
    std::fs::remove_file(world.path("restore-plan.json")).unwrap();
    let none = "https://prod.vault.azure.net/keys/signing/00000000000000000000000000000000";
    let error = refused(&world, 10, &["--version-containing", none]);
    assert!(error.contains("2 snapshots were searched, and 2 different captures opened"), "{error}");
    let error = refused(&world, 2, &["--version-containing", "00000000000000000000000000000000"]);
    assert!(error.contains("a version is one object's"), "{error}");
    let error = refused(&world, 2, &["--version-containing", none, "--vault", "https://spare.vault.azure.net"]);
    assert!(error.contains("leave --vault out"), "{error}");
    refused(&world, 2, &["key/other", "--version-containing", none]);
}

#[test]
fn what_contradicts_itself_is_refused_before_anything_is_read() {
    let world = archived();
    let before = world.azure.requests().len();
    for arguments in [
        &[][..],
        &["key/signing", "--all"],
        &["key/signing", "--kind", "key"],
        &["key/signing", "--at", "2026-01-01", "--snapshot", "1"],
        &["--all", "--version-containing", "0123"],
        &["key/signing", "--from-file", "capture.age"],
        &["key/signing", "--override-single-restore", " "],
        &["--all", "--with-vault-settings"],
        &["signing"],
    ] {
        refused(&world, 2, arguments);
    }
    assert_eq!(world.azure.requests().len(), before);
}

#[test]
fn what_was_allowed_stands_in_the_plan() {
    let world = archived();
    let flags = ["--allow-purge", "--recover-other", "--override-single-restore", "ticket 4711: the vault was rebuilt"];
    let (_, plan) = world.json(&[&["restore", "plan", "key/signing"], &flags[..]].concat());
    assert_eq!(
        plan["allowed"],
        serde_json::json!({
            "purge": true, "recover_other": true, "single_restore_override": "ticket 4711: the vault was rebuilt"
        })
    );
}

#[test]
fn a_plan_replaces_a_plan_and_nothing_else() {
    let world = archived();
    world.run(&["restore", "plan", "key/signing"]).succeeded();
    world.run(&["restore", "plan", "secret/app-0000"]).succeeded();
    let plan: Value = serde_json::from_slice(&std::fs::read(world.path("restore-plan.json")).unwrap()).unwrap();
    assert_eq!(plan["steps"][0]["object"], "secret/app-0000");
    let settings = std::fs::read(world.path("akv-archiver.toml")).unwrap();
    for dear in ["akv-archiver.toml", "identity.txt"] {
        let ran = world.run(&["restore", "plan", "key/signing", "--out", dear]).exited(2);
        assert!(ran.stderr.contains("is there, and is no plan"), "{ran:#?}");
    }
    assert_eq!(std::fs::read(world.path("akv-archiver.toml")).unwrap(), settings);
}

/// Fetches the newest capture of an object into a file, as somebody with a USB stick would have it.
fn on_a_stick(world: &World, object: &str) -> String {
    let (_, history) = world.json(&["history", object]);
    let path = history["captures"][0]["path"].as_str().unwrap();
    let (status, sealed) = world.stranger().blob("GET", &format!("vaults/{path}"), &[], b"");
    assert_eq!(status, 200);
    let name = format!("{}.tar.zst.age", object.replace('/', "-"));
    std::fs::write(world.path(&name), sealed).unwrap();
    name
}

/// Settings of somebody who has a vault and an identity, and no archive.
fn without_an_archive(world: &World) {
    let ready = world.azure.ready();
    let text = format!(
        "[network]\nproxy = \"{}\"\nca_file = \"{}\"\n[archive]\nidentity = \"identity.txt\"\n[[vault]]\n\
         uri = \"https://prod.vault.azure.net\"\ncredential = {{ kind = \"client-secret\", tenant_id = \"{}\", \
         client_id = \"{}\", client_secret_env = \"AZURE_CLIENT_SECRET\" }}\n",
        ready.proxy,
        ready.ca_file.display(),
        ready.tenant_id,
        ready.client_id
    );
    world.edit_settings(|_| text);
}

#[test]
fn captures_on_a_stick_are_planned_with_where_there_is_no_archive() {
    let world = archived();
    let (key, secret) = (on_a_stick(&world, "key/tde-protector"), on_a_stick(&world, "secret/app-0001"));
    without_an_archive(&world);
    std::fs::remove_file(world.path("signer.key")).unwrap();
    let before = world.azure.requests().len();
    let (code, plan) = world.json(&["restore", "plan", "--from-file", &key, &secret]);
    assert_eq!(code, 0, "{plan:#}");
    assert_eq!((&plan["source"], &plan["target"]), (&plan["target"], &"https://prod.vault.azure.net".into()));
    let actions: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["nothing", "recover"], "{plan:#}");
    assert_eq!(plan["steps"][0]["from"]["file"]["path"], key.as_str());
    assert_eq!(plan["archive_id"], Value::Null);
    let notes = plan["notes"].to_string();
    assert!(notes.contains("no archive vouches for the files of key/tde-protector, secret/app-0001"), "{notes}");
    assert!(notes.contains("whether HSM keys were restored into this vault before is not known"), "{notes}");
    let asked = world.azure.requests();
    assert!(asked.iter().skip(before).all(|request| !request.host.contains("blob")), "no store was asked");

    // Into another vault: where both are is asked of Azure.
    let (code, plan) = world.json(&[&["restore", "plan", "--from-file", &key][..], &SPARE].concat());
    assert_eq!((code, &plan["steps"][0]["action"]), (0, &"restore".into()), "{plan:#}");
    let sealed = std::fs::read(world.path(&key)).unwrap();
    std::fs::copy(world.path(&secret), world.path(&key)).unwrap();
    let (code, applied) = world.json(&["restore", "apply", "--yes"]);
    assert_eq!((code, &applied["steps"][0]["result"]), (3, &"failed".into()), "another file: {applied:#}");
    std::fs::write(world.path(&key), sealed).unwrap();
    let (code, applied) = world.json(&["restore", "apply", "--yes"]);
    assert_eq!((code, &applied["steps"][0]["result"]), (0, &"done".into()), "{applied:#}");
    let modulus = |vault: &str| {
        world.stranger().vault("GET", &format!("{vault}.vault.azure.net/keys/tde-protector"), "").1["key"]["n"].clone()
    };
    assert_eq!(modulus("spare"), modulus("prod"));
    let ran = world.run(&["restore", "plan", "key/tde-protector"]).exited(2);
    assert!(ran.stderr.contains("the settings name no archive"), "{ran:#?}");
}

#[test]
fn an_archive_that_answers_is_asked_about_a_file() {
    let world = archived();
    let key = on_a_stick(&world, "key/signing");
    let (code, plan) = world.json(&[&["restore", "plan", "--from-file", &key][..], &SPARE].concat());
    assert_eq!((code, plan["archive_id"].is_string()), (0, true), "{plan:#}");
    let notes = plan["notes"].to_string();
    assert!(notes.contains("key-signing.tar.zst.age is in the archive: snapshot 2 (begun "), "{notes}");
    let (code, applied) = world.json(&["restore", "apply", "--yes"]);
    assert_eq!((code, &applied["steps"][0]["result"]), (0, &"done".into()), "{applied:#}");
    let (_, log) = world.json(&["restore", "log"]);
    let step = &log["restores"][0]["steps"][0];
    assert_eq!((&step["object"], &step["snapshot"]), (&"key/signing".into(), &Value::Null), "{log:#}");
    // One that does not answer is gone on without.
    world.edit_settings(|text| text.replace("/vaults\"", "/no-such-container\""));
    let ran = world.run(&[&["restore", "plan", "--from-file", &key][..], &SPARE].concat()).succeeded();
    assert!(ran.stderr.contains("going on without the archive"), "{ran:#?}");
    assert!(ran.stdout.contains("no archive vouches"), "{ran:#?}");
    std::fs::write(world.path(&key), "junk").unwrap();
    let ran = world.run(&["restore", "plan", "--from-file", &key]).exited(20);
    assert!(ran.stderr.contains("key-signing.tar.zst.age: it is not an age file"), "{ran:#?}");
}

#[test]
fn several_files_are_opened_and_shown_without_archive_and_network() {
    let world = archived();
    let (key, tls) = (on_a_stick(&world, "key/signing"), on_a_stick(&world, "certificate/tls"));
    std::fs::remove_file(world.path("akv-archiver.toml")).unwrap();
    let before = world.azure.requests().len();
    let with = ["--identity", "identity.txt"];
    let ran = world.run(&[&["open", &key][..], &with].concat()).succeeded();
    for part in ["key/signing from https://prod.vault.azure.net, captured ", "versions: 2", "THUMBPRINT", "kind: key"] {
        assert!(ran.stdout.contains(part), "{part} in {ran:#?}");
    }
    let (code, one) = world.json(&[&["open", &key][..], &with].concat());
    assert_eq!((code, one["version_list"].as_array().unwrap().len()), (0, 2), "{one:#}");
    let newest = &one["version_list"][0];
    assert!(newest["created"].as_str() >= one["version_list"][1]["created"].as_str(), "{one:#}");
    assert_eq!((newest["thumbprint"].as_str().unwrap().len(), &newest["enabled"]), (43, &true.into()));

    std::fs::write(world.path("junk.age"), "junk").unwrap();
    let (code, all) = world.json(&[&["open", &key, "junk.age", &tls, "--extract", "opened"][..], &with].concat());
    assert_eq!(code, 20, "{all:#}");
    let captures = all["captures"].as_array().unwrap();
    assert_eq!(captures[0]["object"], "key/signing");
    assert_eq!((&captures[1]["file"], &captures[1]["error"]["kind"]), (&"junk.age".into(), &"tampered".into()));
    assert_eq!(captures[2]["object"], "certificate/tls");
    for folder in ["key-signing", "certificate-tls"] {
        assert!(world.path(&format!("opened/{folder}/backup.blob")).is_file(), "{folder}");
    }
    world.run(&[&["open", &key, &tls, "--metadata"][..], &with].concat()).exited(2);
    // The identity of somebody else, and half of a file.
    use age::secrecy::ExposeSecret as _;
    let stranger = age::x25519::Identity::generate();
    std::fs::write(world.path("stranger.txt"), stranger.to_string().expose_secret()).unwrap();
    let ran = world.run(&["open", &key, "--identity", "stranger.txt"]).exited(14);
    assert!(ran.stderr.contains("none of the identities opens it") && ran.stderr.contains("--identity"), "{ran:#?}");
    let sealed = std::fs::read(world.path(&key)).unwrap();
    std::fs::write(world.path(&key), &sealed[..sealed.len() / 2]).unwrap();
    let ran = world.run(&[&["open", &key][..], &with].concat()).exited(20);
    assert!(ran.stderr.contains("cut short"), "{ran:#?}");
    // What was encrypted to the same recipient, and is no capture.
    let identity = std::fs::read_to_string(world.path("identity.txt")).unwrap();
    let identity: age::x25519::Identity =
        identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY")).unwrap().parse().unwrap();
    std::fs::write(world.path(&key), age::encrypt(&identity.to_public(), b"holiday photo").unwrap()).unwrap();
    let ran = world.run(&[&["open", &key][..], &with].concat()).exited(20);
    assert!(ran.stderr.contains("it decrypts, and is no capture"), "{ran:#?}");
    assert_eq!(world.azure.requests().len(), before, "nothing was sent");
}
