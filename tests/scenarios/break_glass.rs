//! A key comes back without this program: age, zstd, tar and one HTTP request.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::world::World;

/// Whether the tools are here. Where they must be (`CI`), their absence is a failure.
fn tools_are_here() -> bool {
    let missing: Vec<&str> = ["age", "zstd", "tar"]
        .into_iter()
        .filter(|tool| {
            Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
        })
        .collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{missing:?} must be installed here");
    eprintln!("skipped the half that needs {missing:?}");
    false
}

/// `age -d | zstd -d | tar x` in a folder.
fn open_with_tools(sealed: &Path, identity: &Path, folder: &Path) {
    let script = format!(
        "age -d -i '{}' '{}' | zstd -d | tar x -C '{}'",
        identity.display(),
        sealed.display(),
        folder.display()
    );
    let status = Command::new("bash").args(["-o", "pipefail", "-c", &script]).status().unwrap();
    assert!(status.success());
}

/// The same with three libraries, so that this is tried wherever the suite runs.
fn open_with_libraries(sealed: &Path, identity: &Path, folder: &Path) {
    let text = std::fs::read_to_string(identity).unwrap();
    let key: age::x25519::Identity =
        text.lines().find(|line| line.starts_with("AGE-SECRET-KEY")).unwrap().parse().unwrap();
    let packed = age::decrypt(&key, &std::fs::read(sealed).unwrap()).unwrap();
    let tar = zstd::stream::decode_all(packed.as_slice()).unwrap();
    tar::Archive::new(tar.as_slice()).unpack(folder).unwrap();
}

#[test]
fn a_key_comes_back_without_this_program() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let stranger = world.stranger();
    let before = stranger.vault("GET", "prod.vault.azure.net/keys/tde-protector", "").1;
    let (_, history) = world.json(&["history", "key/tde-protector"]);
    let path = history["captures"][0]["path"].as_str().unwrap();
    let (status, sealed) = stranger.blob("GET", &format!("vaults/{path}"), &[], b"");
    assert_eq!(status, 200);
    std::fs::write(world.path("capture.age"), sealed).unwrap();
    let open: fn(&Path, &Path, &Path) = if tools_are_here() { open_with_tools } else { open_with_libraries };
    std::fs::create_dir(world.path("opened")).unwrap();
    open(&world.path("capture.age"), &world.path("identity.txt"), &world.path("opened"));

    let readme = std::fs::read_to_string(world.path("opened/README.txt")).unwrap();
    assert!(readme.contains("az keyvault key restore"), "{readme}");
    let blob = std::fs::read(world.path("opened/backup.blob")).unwrap();
    use base64::Engine as _;
    let body = format!(r#"{{"value":"{}"}}"#, base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(blob));
    let (status, restored) = stranger.vault("POST", "spare.vault.azure.net/keys/restore", &body);
    assert_eq!(status, 200, "{restored:#}");
    assert_eq!(restored["key"]["n"], before["key"]["n"]);
    let (_, versions) = stranger.vault("GET", "spare.vault.azure.net/keys/tde-protector/versions?maxresults=25", "");
    assert!(versions["value"].is_array());
}

#[test]
fn a_capture_on_a_stick_opens_without_archive_or_network() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let (_, history) = world.json(&["history", "key/tde-protector"]);
    let path = history["captures"][0]["path"].as_str().unwrap();
    let (_, sealed) = world.stranger().blob("GET", &format!("vaults/{path}"), &[], b"");
    let stick = tempfile::tempdir().unwrap();
    std::fs::write(stick.path().join("capture.age"), &sealed).unwrap();
    std::fs::rename(world.path("identity.txt"), stick.path().join("identity.txt")).unwrap();
    let before = world.azure.requests().len();
    let run = |arguments: &[&str]| {
        let output =
            world.command(&[&["open", "capture.age"], arguments].concat()).current_dir(stick.path()).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, _, stderr) = run(&[]);
    assert!(code == 2 && stderr.contains("--identity"), "{stderr}");
    let (code, summary, stderr) = run(&["--identity", "identity.txt", "--extract", "opened", "-o", "json"]);
    assert_eq!(code, 0, "{stderr}");
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["object"], &summary["versions"]), (&"key/tde-protector".into(), &3.into()));
    let blob = std::fs::read(stick.path().join("opened/backup.blob")).unwrap();
    assert_eq!(summary["backup"]["size"], blob.len());
    assert!(blob[1..].starts_with(b"AzureKeyVaultKeyBackupV1.microsoft.com"));
    let (code, metadata, _) = run(&["--identity", "identity.txt", "--metadata"]);
    assert_eq!((code, metadata.into_bytes()), (0, std::fs::read(stick.path().join("opened/metadata.json")).unwrap()));
    let (code, _, _) = run(&["--identity", "identity.txt", "--extract", "opened"]);
    assert_eq!(code, 2, "an existing folder is left alone");
    let mut broken = sealed;
    let last = broken.len() - 1;
    broken[last] ^= 1;
    std::fs::write(stick.path().join("capture.age"), &broken).unwrap();
    let (code, _, stderr) = run(&["--identity", "identity.txt"]);
    assert_eq!(code, 20, "{stderr}");
    assert_eq!(world.azure.requests().len(), before, "nothing was sent");
}
