//! What goes wrong at the door: a clear error with object, cause and hint, the right exit code, nothing half-written.

use crate::support::world::{SEED, World};

#[test]
fn without_settings_nothing_is_sent() {
    let world = World::new(SEED);
    let ran = world.run(&["snapshot"]).exited(2);
    assert!(ran.stderr.contains("there are no settings"), "{ran:#?}");
    assert!(ran.stderr.contains("hint:"), "{ran:#?}");
    assert!(world.azure.requests().is_empty());
}

#[test]
fn an_unknown_field_is_named_with_line_and_column() {
    let world = World::with_archive();
    world.edit_settings(|text| {
        format!("{text}\n[capture]\nrecapture_evry = \"3d\"\n").replacen("\n[capture]\n", "\n", 1)
    });
    let ran = world.run(&["snapshot"]).exited(2);
    assert!(ran.stderr.contains("recapture_evry") && ran.stderr.contains("akv-archiver.toml:"), "{ran:#?}");
}

#[test]
fn a_vault_that_does_not_resolve_is_not_found() {
    let world = World::new(SEED);
    world.init("nowhere", "vaults").succeeded();
    let ran = world.run(&["snapshot"]).exited(10);
    assert!(ran.stderr.contains("nowhere.vault.azure.net"), "{ran:#?}");
    assert!(ran.stderr.contains("hint:"), "{ran:#?}");
}

#[test]
fn a_vault_that_the_settings_do_not_name_is_a_usage_error() {
    let world = World::with_archive();
    let ran = world.run(&["snapshot", "--vault", "elsewhere"]).exited(2);
    assert!(ran.stderr.contains("elsewhere") && ran.stderr.contains("prod"), "{ran:#?}");
}

#[test]
fn a_vault_of_the_archive_is_known_by_its_name_in_azure_and_another_is_not_found() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    world.edit_settings(|text| text.replace("name = \"prod\"", "name = \"payments\""));
    for arguments in [
        &["list", "--vault", "payments"][..],
        &["list", "--vault", "prod"],
        &["list", "--vault", "PROD"],
        &["history", "key/signing", "--vault", "prod"],
        &["restore", "log", "--vault", "prod"],
        &["restore", "resume", "--dry-run", "--vault", "prod"],
        &["restore", "plan", "key/signing", "--vault", "prod"],
    ] {
        world.run(arguments).succeeded();
    }
    for arguments in [
        &["list", "--vault", "nosuch"][..],
        &["list", "--vault", "nosuch.vault.azure.net"],
        &["list", "--snapshots", "--vault", "nosuch"],
        &["history", "key/signing", "--vault", "nosuch"],
        &["restore", "log", "--vault", "nosuch"],
        &["restore", "plan", "key/signing", "--vault", "nosuch"],
    ] {
        let ran = world.run(arguments).exited(10);
        assert!(ran.stderr.contains("nosuch") && ran.stderr.contains("hint:"), "{ran:#?}");
    }
    let ran = world.run(&["list", "--vault", "nosuch"]);
    assert!(ran.stderr.contains("the archive holds: prod.vault.azure.net"), "{ran:#?}");
}

#[test]
fn hints_speak_of_what_was_given() {
    let world = World::with_archive();
    let ran = world.run(&["restore", "apply"]).exited(2);
    assert!(ran.stderr.contains("there is no plan restore-plan.json"), "{ran:#?}");
    assert!(ran.stderr.contains("hint: `akv-archiver restore plan` writes one"), "{ran:#?}");
    let ran = world.run(&["open", "x.age", "--identity", "nosuch.txt"]).exited(2);
    assert!(ran.stderr.contains("hint: --identity: there is no file nosuch.txt"), "{ran:#?}");
    assert!(!ran.stderr.contains("[archive]"), "{ran:#?}");
    let (code, error) = world.json(&["restore"]);
    assert_eq!((code, &error["error"]["message"]), (2, &"akv-archiver restore: a command is missing".into()));
}

/// The usual seed with an identity that may do what `actions` says.
fn with_principal(actions: &[&str]) -> World {
    let list: Vec<String> = actions.iter().map(|action| format!("\"{action}\"")).collect();
    World::new(&format!("{SEED}\n[[principal]]\nname = \"limited\"\nactions = [{}]\n", list.join(", ")))
}

/// Makes the program run as the limited identity.
fn limit(world: &World) {
    let ready = world.azure.ready();
    let limited = &ready.principals["limited"];
    let client_id = ready.client_id.clone();
    world.edit_settings(|text| text.replace(&client_id, &limited.client_id));
}

fn run_limited(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let secret = &world.azure.ready().principals["limited"].client_secret;
    let output = world.command(arguments).env("AZURE_CLIENT_SECRET", secret).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

const STORE: &[&str] = &[
    "Microsoft.Storage/storageAccounts/blobServices/containers/read",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
];

#[test]
fn a_denied_list_is_a_denial_that_names_the_action_and_the_role() {
    let world = with_principal(STORE);
    world.init("prod", "vaults").succeeded();
    limit(&world);
    let (code, _, stderr) = run_limited(&world, &["snapshot"]);
    assert_eq!(code, 12, "{stderr}");
    assert!(
        stderr.contains("Microsoft.KeyVault/vaults/") && stderr.contains("policies/roles/snapshot-reader.json"),
        "{stderr}"
    );
}

#[test]
fn a_denied_backup_is_a_gap_of_that_object_and_the_rest_is_taken() {
    let reads = [
        "Microsoft.KeyVault/vaults/*/read",
        "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
        "Microsoft.KeyVault/vaults/secrets/backup/action",
    ];
    let world = with_principal(&[STORE, &reads].concat());
    world.init("prod", "vaults").succeeded();
    limit(&world);
    let (code, stdout, stderr) = run_limited(&world, &["snapshot", "--output", "json"]);
    assert_eq!(code, 3, "{stdout}{stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["status"], "partial");
    assert_eq!(
        report["objects"],
        serde_json::json!({"seen": 7, "captured": 4, "reused": 0, "gaps": 3, "excluded": 0}),
        "{report:#}"
    );
    let denied: Vec<&str> = report["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|gap| gap["code"] == "denied")
        .filter_map(|gap| gap["object"].as_str())
        .collect();
    assert_eq!(denied, ["certificate/tls", "key/signing", "key/tde-protector"]);
    let (code, stdout, stderr) = run_limited(&world, &["verify"]);
    assert!(code == 21 && stdout.contains("coverage-gap"), "{stdout}{stderr}");
    let (code, stdout, _) = run_limited(&world, &["doctor", "--output", "json"]);
    let doctor: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &doctor["status"]), (12, &"fail".into()), "{doctor:#}");
    let failed: Vec<&str> = doctor["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["verdict"] == "fail")
        .filter_map(|c| c["check"].as_str())
        .collect();
    assert_eq!(failed, ["back up certificates", "back up keys"]);
}

#[test]
fn a_job_that_may_only_read_blobs_cannot_write_and_says_what_is_missing() {
    let world = with_principal(&[
        "Microsoft.KeyVault/*",
        "Microsoft.Storage/storageAccounts/blobServices/containers/read",
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    ]);
    world.init("prod", "vaults").succeeded();
    limit(&world);
    let (code, _, stderr) = run_limited(&world, &["snapshot"]);
    assert_eq!(code, 12, "{stderr}");
    assert!(stderr.contains("blobs/add/action") && stderr.contains("policies/roles/archive-writer.json"), "{stderr}");
}

#[test]
fn a_foreign_or_truncated_log_file_stops_the_job_and_is_tampering() {
    let world = World::new(SEED);
    world.init_directory("archive").succeeded();
    world.run(&["snapshot"]).succeeded();
    let verified = world.run(&["verify"]).succeeded();
    assert!(verified.stdout.contains("store-unprotected"), "{verified:#?}");
    let log = world.path("archive/vaults/prod.vault.azure.net/log/0000000001");
    let whole = std::fs::read(&log).unwrap();
    for broken in [&whole[..whole.len() / 2], b"", b"not a log file\n"] {
        std::fs::remove_file(&log).unwrap();
        std::fs::write(&log, broken).unwrap();
        world.run(&["snapshot"]).exited(20);
        let ran = world.run(&["verify"]).exited(20);
        assert!(ran.stdout.contains("log-malformed"), "{ran:#?}");
    }
    std::fs::remove_file(&log).unwrap();
    std::fs::write(&log, &whole).unwrap();
    world.run(&["verify"]).succeeded();
    // A directory lists no digests: one flipped bit is found all the same, and the object is taken again.
    let (_, history) = world.json(&["history", "secret/app-0001"]);
    let capture = world.path("archive").join(history["captures"][0]["path"].as_str().unwrap());
    let mut bytes = std::fs::read(&capture).unwrap();
    bytes[40] ^= 1;
    std::fs::remove_file(&capture).unwrap();
    std::fs::write(&capture, &bytes).unwrap();
    let ran = world.run(&["verify"]).exited(20);
    assert!(ran.stdout.contains("capture-mismatch"), "{ran:#?}");
    let (_, snapshot) = world.json(&["snapshot"]);
    assert_eq!(snapshot["objects"]["captured"], 1, "{snapshot:#}");
}

#[test]
fn a_directory_that_cannot_be_made_leaves_no_settings_and_no_keys() {
    let world = World::new(SEED);
    let ran = world.init_directory("/dev/null/archive");
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(!world.path("akv-archiver.toml").exists() && !world.path("signer.key").exists(), "{ran:#?}");
    world.init_directory("archive").succeeded();
    let again = world.init_directory("archive").exited(2);
    assert!(again.stderr.contains("is there already"), "{again:#?}");
    std::fs::remove_dir_all(world.path("archive")).unwrap();
    let ran = world.run(&["snapshot"]).exited(10);
    assert!(ran.stderr.contains("archive"), "{ran:#?}");
}

#[test]
fn a_full_disk_stops_the_run_and_loses_nothing() {
    // A file system of its own, in a mount namespace of its own; not every machine lets its users make one.
    let alone = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]);
        command
    };
    if !alone("mount -t tmpfs tmpfs /mnt").status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount a file system");
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    let world = World::new(SEED);
    world.init_directory("archive").succeeded();
    world.run(&["snapshot"]).succeeded();
    let before = world.run(&["verify"]).succeeded().stdout;
    // The same archive on a disk with room for some captures of the next run, and no more.
    let script = "mkdir disk && mount -t tmpfs -o size=1m tmpfs disk && cp -a archive disk && mount --bind disk/archive archive \
         && { cat /dev/zero >disk/filler 2>/dev/null; truncate -s -20480 disk/filler; \"$PROGRAM\" snapshot; code=$?; } \
         && cp -a archive after && exit $code";
    world.stranger().vault("PUT", "prod.vault.azure.net/secrets/app-0000", r#"{"value":"changed"}"#);
    for n in 0..12 {
        let (status, _) =
            world.stranger().vault("PUT", &format!("prod.vault.azure.net/secrets/new-{n}"), r#"{"value":"v"}"#);
        assert_eq!(status, 200);
    }
    world.azure.advance(std::time::Duration::from_secs(5));
    let output = alone(script)
        .current_dir(world.folder.path())
        .env("PROGRAM", env!("CARGO_BIN_EXE_akv-archiver"))
        .env("AZURE_CLIENT_SECRET", &world.azure.ready().client_secret)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(13), "{stderr}");
    assert!(stderr.contains("full") && stderr.contains("hint:"), "{stderr}");
    // What the full disk held verifies as before, but for captures that nothing refers to; then the run goes through.
    std::fs::remove_dir_all(world.path("archive")).unwrap();
    std::fs::rename(world.path("after"), world.path("archive")).unwrap();
    let (code, verified) = world.json(&["verify"]);
    assert_eq!(code, 0, "{verified:#} before: {before}");
    assert!(verified["findings"].as_array().unwrap().iter().all(|f| f["severity"] == "note"), "{verified:#}");
    world.run(&["snapshot"]).succeeded();
    world.run(&["verify"]).succeeded();
}

#[test]
fn a_wrong_secret_is_a_denial_and_a_missing_one_a_usage_error() {
    let world = World::with_archive();
    let output = world.command(&["snapshot"]).env("AZURE_CLIENT_SECRET", "wrong").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(12), "{stderr}");
    assert!(stderr.contains("sign in") && !stderr.contains("wrong-secret"), "{stderr}");
    let output = world.command(&["snapshot"]).env_remove("AZURE_CLIENT_SECRET").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("AZURE_CLIENT_SECRET"), "{stderr}");
}

#[test]
fn errors_are_documents_for_machines() {
    let world = World::with_archive();
    let (code, error) = world.json(&["history", "key/nobody"]);
    assert_eq!((code, &error["error"]["kind"]), (10, &"not-found".into()), "{error:#}");
    let (code, error) = world.json(&["history", "nonsense"]);
    assert_eq!((code, &error["error"]["kind"]), (2, &"usage".into()), "{error:#}");
    let (code, error) = world.json(&["no-such-command"]);
    assert_eq!((code, &error["error"]["kind"]), (2, &"usage".into()), "{error:#}");
    world.run(&["no-such-command"]).exited(2);
    world.run(&["--help"]).succeeded();
}

#[test]
fn a_result_that_could_not_be_written_is_no_success() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = world.command(&["list", "-o", "json"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(13), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn init_refuses_what_could_never_be_encrypted_to_and_an_archive_that_lost_its_name() {
    let world = World::new(SEED);
    let ran = world.run(&["init", "--vault", "prod", "--directory", "archive", "--recipient", "age1foo"]).exited(2);
    assert!(ran.stderr.contains("age1foo") && !world.path("archive").exists(), "{ran:#?}");
    world.init_directory("archive").succeeded();
    world.run(&["snapshot"]).succeeded();
    std::fs::remove_file(world.path("archive/archive.json")).unwrap();
    let ran = world.run(&["verify"]).exited(20);
    assert!(ran.stdout.contains("archive-malformed"), "{ran:#?}");
    world.run(&["init"]).exited(20);
}

/// Whatever can be wrong with the folder and the keys is found before the archive is made, which nobody can take back.
#[test]
fn init_makes_nothing_before_everything_can_be_made() {
    let world = World::new(SEED);
    let elsewhere = ["init", "-c", "missing/akv.toml", "--vault", "prod", "--directory", "archive"];
    let ran = world.run(&elsewhere).exited(2);
    assert!(ran.stderr.contains("/missing, which is no folder") && !world.path("archive").exists(), "{ran:#?}");
    std::fs::write(world.path("identity.txt"), "").unwrap();
    let ran = world.run(&["init", "--vault", "prod", "--directory", "archive"]).exited(2);
    assert!(ran.stderr.contains("as --recipient") && !world.path("archive").exists(), "{ran:#?}");
    std::fs::remove_file(world.path("identity.txt")).unwrap();
    std::fs::write(world.path("signer.key"), "no key").unwrap();
    let ran = world.run(&["init", "--vault", "prod", "--directory", "archive"]).exited(2);
    assert!(ran.stderr.contains("holds no log signer") && !world.path("archive").exists(), "{ran:#?}");
    std::fs::remove_file(world.path("signer.key")).unwrap();
    let ran = world.run(&["init", "--directory", "archive"]).succeeded();
    assert!(ran.stdout.contains("add a [[vault]]"), "{ran:#?}");
}

#[test]
fn what_is_there_is_not_written_over_by_a_demo_or_a_new_key() {
    let world = World::with_archive();
    let authority = std::fs::read(world.path("ca.pem")).unwrap();
    let ran = world.run(&["demo", "--dir", "."]).exited(2);
    assert!(ran.stderr.contains("holds ca.pem"), "{ran:#?}");
    assert_eq!(std::fs::read(world.path("ca.pem")).unwrap(), authority);
    let ran = world.run(&["verify", "--make-key", "signer.key"]).exited(11);
    assert!(ran.stderr.contains("hint: a key is never written over"), "{ran:#?}");
}

#[test]
fn that_nothing_is_due_is_said() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    for command in ["snapshot", "vaults"] {
        let ran = world.run(&[command, "--due"]).succeeded();
        assert_eq!(ran.stdout, "no vault is due, or none falls to this process\n", "{ran:#?}");
    }
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let world = World::new(SEED);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.run(&["completions", shell]).succeeded().stdout;
        assert!(script.contains("snapshot") && script.contains("restore"), "{shell}");
    }
    let (_, page) = world.json(&["man"]);
    assert!(page["page"].as_str().unwrap().contains("akv\\-archiver"), "{page:#}");
    world.run(&["man", "--out", "pages"]).succeeded();
    for name in ["akv-archiver", "akv-archiver-snapshot", "akv-archiver-restore-plan", "akv-archiver-emulator"] {
        let page = std::fs::read_to_string(world.path("pages").join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
}

#[test]
fn init_fills_in_a_settings_file_that_somebody_began() {
    let world = World::new(SEED);
    let ready = world.azure.ready();
    let credential = format!(
        r#"{{ kind = "client-secret", tenant_id = "{}", client_id = "{}", client_secret_env = "AZURE_CLIENT_SECRET" }}"#,
        ready.tenant_id, ready.client_id
    );
    let began = format!(
        "# ours\n[network]\nproxy = \"{}\"\nca_file = \"ca.pem\"\n\n[archive]\ncontainer = \"https://archive.blob.core.windows.net/vaults\"\ncredential = {credential}\n\n[[vault]]\nname = \"prod\"\nuri = \"https://prod.vault.azure.net\"\ncredential = {credential}\n",
        ready.proxy
    );
    std::fs::write(world.path("akv-archiver.toml"), began).unwrap();
    world.run(&["init"]).succeeded();
    let text = std::fs::read_to_string(world.path("akv-archiver.toml")).unwrap();
    assert!(text.starts_with("# ours\n") && text.contains("verifiers = [\"akv-archiver/"), "{text}");
    world.run(&["init"]).succeeded();
    assert_eq!(
        std::fs::read_to_string(world.path("akv-archiver.toml")).unwrap(),
        text,
        "a second init changes nothing"
    );
    world.run(&["snapshot"]).succeeded();
    world.run(&["verify"]).succeeded();
}

#[test]
fn logs_say_each_request_where_asked_and_a_filter_that_is_none_is_refused() {
    let world = World::with_archive();
    let quiet = world.run(&["-v", "snapshot"]).succeeded();
    assert!(
        quiet.stderr.contains("INFO") && quiet.stderr.contains("prod: ") && !quiet.stderr.contains("GET "),
        "{quiet:#?}"
    );
    let full = world.run(&["-vv", "snapshot"]).succeeded();
    assert!(full.stderr.contains("GET prod.vault.azure.net/keys 200 "), "{full:#?}");
    assert!(!full.stderr.contains('?') && !full.stderr.contains("Bearer"), "no query, no header: {full:#?}");
    let wrong = world.command(&["list"]).env("AKV_ARCHIVER_LOG", "akv_archiver=loud").output().unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("AKV_ARCHIVER_LOG is no filter"), "{wrong:?}");
}

#[test]
fn a_certificate_that_is_not_trusted_ends_the_run_at_once_and_names_the_setting() {
    let world = World::with_archive();
    world.edit_settings(|text| text.lines().filter(|line| !line.starts_with("ca_file")).collect::<Vec<_>>().join("\n"));
    let started = std::time::Instant::now();
    let refused = world.run(&["list"]).exited(22);
    assert!(started.elapsed() < std::time::Duration::from_secs(60), "nothing is asked for again");
    assert!(refused.stderr.contains("is not trusted") && refused.stderr.contains("network.ca_file"), "{refused:#?}");
    let (code, doctor) = world.json(&["doctor", "--for", "verify"]);
    let line = doctor["checks"].as_array().unwrap().iter().find(|it| it["check"] == "sign in").unwrap();
    assert!(code == 22 && line["fix"].as_str().unwrap().contains("network.ca_file"), "{doctor:#}");
}
