//! The runbook, carried out: every command block of docs/RUNBOOK.md runs, chapter by chapter, after the accident that the
//! chapter is about. Blocks marked `az` need Microsoft's command line, and are run by its judge (tests/interop/az).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::documents::read;
use crate::support::world::{World, principal};

/// A command block: its info string without `sh`, and its text.
struct Block {
    info: String,
    text: String,
}

/// The command blocks of a Markdown text by chapter, indented ones too.
fn chapters(text: &str) -> BTreeMap<String, Vec<Block>> {
    let mut chapters: BTreeMap<String, Vec<Block>> = BTreeMap::new();
    let mut chapter = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            chapter = title.to_owned();
        }
        if let Some(info) = line.trim_start().strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().map(str::trim).take_while(|line| *line != "```").collect();
            let info =
                info.strip_prefix("sh").unwrap_or_else(|| panic!("a block that nobody runs: {line} in {chapter}"));
            let block = Block { info: info.trim().to_owned(), text: body.join("\n") };
            chapters.entry(chapter.clone()).or_default().push(block);
        }
    }
    chapters
}

/// An archive with a snapshot, and the identity where the runbook says that it is.
fn archived() -> World {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    world
}

/// Deletes an object and lets the delete come to its end.
fn delete(world: &World, path: &str) {
    let (status, answer) = world.stranger().vault("DELETE", &format!("prod.vault.azure.net/{path}"), "");
    assert_eq!(status, 200, "{answer:#}");
    world.azure.advance(Duration::from_secs(120));
}

/// The state of an object in a vault, as somebody else sees it.
fn seen(world: &World, vault: &str, path: &str) -> (u16, Value) {
    world.stranger().vault("GET", &format!("{vault}.vault.azure.net/{path}"), "")
}

/// Runs the blocks of a chapter as they are written, and returns what they printed.
fn follow(world: &World, chapter: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let mut chapters = chapters(&read("docs/RUNBOOK.md"));
    let blocks = chapters.remove(chapter).unwrap_or_else(|| panic!("there is no chapter {chapter:?}"));
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_akv-archiver")).parent().unwrap();
    let mut printed = Vec::new();
    for block in blocks.iter().filter(|block| block.info.is_empty()) {
        let like = world.command(&[]);
        let mut shell = std::process::Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &block.text]).current_dir(world.folder.path()).env_clear();
        for (name, value) in like.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", program.display())).stdin(std::process::Stdio::null());
        shell.envs(variables.iter().copied());
        let output = shell.output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{chapter}: {}\n{stdout}\n{stderr}", block.text);
        printed.push(stdout);
    }
    assert!(!printed.is_empty(), "{chapter} has no block that runs here");
    printed
}

#[test]
fn every_block_is_in_a_chapter_that_is_carried_out() {
    let chapters = chapters(&read("docs/RUNBOOK.md"));
    let here: Vec<&str> = chapters
        .iter()
        .filter(|(_, blocks)| blocks.iter().any(|block| block.info.is_empty()))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        here,
        [
            "A key is gone",
            "Before you begin",
            "Restore into a second region",
            "SQL Managed Instance lost its TDE protector",
            "The subscription is gone",
            "The vault is gone",
        ]
    );
    let judged: Vec<&str> = chapters
        .iter()
        .filter(|(_, blocks)| blocks.iter().any(|block| block.info == "az"))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(judged, ["Break glass without this tool"]);
    assert!(chapters.values().flatten().all(|block| ["", "az"].contains(&block.info.as_str())));
    assert!(read("tests/interop/az/judge.py").contains("docs/RUNBOOK.md"), "the judge runs the blocks that need az");
}

/// With an operator's roles: what the nightly job needs and an operator has not is no complaint.
#[test]
fn before_you_begin() {
    let world = World::taken_over_by(&principal(&["restore-operator", "archive-writer"], &[]));
    let printed = follow(&world, "Before you begin", &[]);
    assert!(printed[0].contains("tde-protector"), "{printed:#?}");
    assert!(printed[0].contains(": 0 failures, 0 warnings"), "{printed:#?}");
}

#[test]
fn a_key_is_gone() {
    let world = archived();
    delete(&world, "keys/tde-protector");
    world.run(&["snapshot"]).succeeded();
    let printed = follow(&world, "A key is gone", &[]);
    assert!(printed[0].contains("recover"), "{printed:#?}");
    let (status, _) = seen(&world, "prod", "keys/tde-protector");
    assert_eq!(status, 200, "{printed:#?}");
}

#[test]
fn the_vault_is_gone() {
    let world = archived();
    for path in ["keys/tde-protector", "keys/signing", "secrets/app-0000", "certificates/tls"] {
        delete(&world, path);
    }
    // The job runs before anybody is woken.
    world.run(&["snapshot"]).succeeded();
    let printed = follow(&world, "The vault is gone", &[]);
    for path in ["keys/tde-protector", "keys/signing", "keys/tls", "secrets/tls", "certificates/tls"] {
        assert_eq!(seen(&world, "spare", path).0, 200, "{path}: {printed:#?}");
    }
    for file in ["rebuild.bicep", "rebuild.sh"] {
        assert!(world.path(file).exists(), "{file}");
    }
    let again: Value = serde_json::from_slice(&std::fs::read(world.path("again.json")).unwrap()).unwrap();
    assert!(again["steps"].as_array().unwrap().iter().all(|step| step["action"] == "nothing"), "{again:#}");
}

#[test]
fn the_subscription_is_gone() {
    let world = archived();
    let (_, history) = world.json(&["history", "certificate/tls"]);
    let path = history["captures"][0]["path"].as_str().unwrap();
    let (status, sealed) = world.stranger().blob("GET", &format!("vaults/{path}"), &[], b"");
    assert_eq!(status, 200);
    std::fs::write(world.path("capture.age"), sealed).unwrap();
    let printed = follow(&world, "The subscription is gone", &[("CAPTURE", "capture.age")]);
    assert!(printed.last().unwrap().contains("x5c") || printed.last().unwrap().contains("cer"), "{printed:#?}");
}

#[test]
fn a_second_region() {
    let world = archived();
    follow(&world, "Restore into a second region", &[]);
    let modulus = |vault: &str| seen(&world, vault, "keys/tde-protector").1["key"]["n"].clone();
    assert!(modulus("prod").is_string() && modulus("prod") == modulus("spare"));
}

#[test]
fn sql_lost_its_protector() {
    let world = archived();
    let (_, versions) = seen(&world, "prod", "keys/tde-protector/versions?maxresults=25");
    let id = versions["value"][0]["kid"].as_str().unwrap().to_owned();
    delete(&world, "keys/tde-protector");
    follow(&world, "SQL Managed Instance lost its TDE protector", &[("KEY_ID", &id)]);
    let version = id.rsplit('/').next().unwrap();
    assert_eq!(seen(&world, "prod", &format!("keys/tde-protector/{version}")).0, 200);
}
