//! Killing the program: at any request of a snapshot, or of a change to a container's protection, and the archive is still
//! whole; the next run completes.

use std::time::{Duration, Instant};

use akv_archiver::emulator::faults::{Action, Rule, When};

use crate::support::world::{SEED, World};

/// Starts a command whose request number `n` to such hosts never gets an answer, kills it there, and tells whether it got
/// that far.
fn killed_at(world: &World, arguments: &[&str], host: &str, n: u64, when: When) -> bool {
    let before = world.azure.requests().len();
    world.azure.fault(Rule::new(Action::Stall(when)).host(host).window(n, 1)).unwrap();
    let mut child = world
        .command(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    let reached = loop {
        if world.azure.requests().iter().skip(before).any(|request| request.fault.is_some()) {
            break true;
        }
        if child.try_wait().unwrap().is_some() {
            break false;
        }
        assert!(Instant::now() < patience, "{arguments:?} neither ended nor reached request {n}");
        std::thread::yield_now();
    };
    child.kill().ok();
    child.wait().unwrap();
    world.azure.clear_faults();
    reached
}

#[test]
fn a_snapshot_that_is_killed_at_any_request_leaves_a_whole_archive() {
    let seed = SEED.replace("count = 3", "count = 1");
    let mut points = 0;
    for when in [When::Before, When::After] {
        let world = World::new(&seed);
        world.init("prod", "vaults").succeeded();
        for n in 0.. {
            // Something changes before each run, so that each has something to take.
            let value = format!(r#"{{"value":"{n}"}}"#);
            world.stranger().vault("PUT", "prod.vault.azure.net/secrets/app", &value);
            world.azure.advance(Duration::from_secs(5));
            if !killed_at(&world, &["snapshot"], "*", n, when) {
                break;
            }
            points += 1;
            // Before the first snapshot was ever committed there is no log, which is a finding and not a defect.
            let (code, verified) = world.json(&["verify"]);
            let findings = verified["findings"].as_array().unwrap();
            let harmless = findings.iter().all(|f| f["severity"] == "note" || f["code"] == "no-snapshot");
            assert!(harmless && (code == 0 || code == 21), "killed at request {n}: {verified:#}");
        }
        world.run(&["snapshot"]).succeeded();
        world.run(&["verify"]).succeeded();
    }
    assert!(points > 40, "only {points} points were tried");
}

/// At each request to Resource Manager, which the crash matrix has not: its doors are the store's. Those to the log are as
/// many as there are entries, and each run adds one.
#[test]
fn a_change_of_a_whole_container_that_is_killed_at_any_request_about_it_completes_when_run_again() {
    let seed = SEED.replace("count = 3", "count = 1").replace(
        "{ name = \"plain\" }",
        "{ name = \"plain\" }, { name = \"loose\", worm = \"container-level\", days = 365 }",
    );
    let mut points = 0;
    for when in [When::Before, When::After] {
        let world = World::new(&seed);
        world.init("prod", "loose").succeeded();
        world.run(&["snapshot"]).succeeded();
        let (mut days, mut entries) = (Some(365), Some(1));
        for n in 0.. {
            // An unlocked policy takes any number of extensions: each run has one to make.
            let period = format!("{}d", 400 + n);
            let extend = ["protect", "extend", "--for", &period, "--yes"];
            if !killed_at(&world, &extend, "management.azure.com", n, when) {
                break;
            }
            points += 1;
            assert_ne!(world.json(&["verify"]).1["status"], "tampered", "killed at request {n}");
            let (code, again) = world.json(&extend);
            assert!(code == 0 && matches!(again["status"].as_str(), Some("done" | "nothing")), "{n}: {again:#}");
            let longer = again["container"]["days_after"].as_u64();
            let told = world.json(&["verify"]).1["checked"]["entries"].as_u64();
            assert!(
                longer > days && told > entries,
                "killed at request {n}: {days:?} {entries:?}, then {longer:?} {told:?}"
            );
            (days, entries) = (longer, told);
        }
        assert_eq!(world.json(&["protect", "extend", "--for", "30d", "--lock", "--yes"]).1["status"], "done");
        world.run(&["verify"]).succeeded();
    }
    assert!(points >= 20, "only {points} points were tried");
    println!("protect of a container, killed: {points} points were tried");
}

#[test]
fn a_snapshot_that_is_asked_to_stop_commits_what_it_has() {
    let world = World::with_archive();
    // The second backup hangs until the signal has been sent; what is in flight is finished, the rest is left.
    world.azure.fault(Rule::new(Action::DelayMs(1500)).path("/backup").window(1, 1)).unwrap();
    let before = world.azure.requests().len();
    let child = world
        .command(&["snapshot", "--output", "json"])
        .env("AKV_ARCHIVER__CAPTURE__MAX_IN_FLIGHT", "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while !world.azure.requests().iter().skip(before).any(|request| request.fault.is_some()) {
        assert!(Instant::now() < patience, "the snapshot never reached the second backup");
        std::thread::yield_now();
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{report:#}");
    assert_eq!((&report["status"], &report["sequence"]), (&"partial".into(), &1.into()), "{report:#}");
    assert_eq!(report["objects"]["captured"], 2, "{report:#}");
    assert_eq!(report["objects"]["gaps"], 5, "{report:#}");
    let (_, next) = world.json(&["snapshot"]);
    assert_eq!(
        (&next["status"], &next["objects"]["captured"], &next["objects"]["reused"]),
        (&"complete".into(), &5.into(), &2.into()),
        "{next:#}"
    );
}

/// Starts the program, sends the signal once a request of it has stalled, and returns the exit code and what it printed.
fn signalled(world: &World, arguments: &[&str], signal: rustix::process::Signal) -> (Option<i32>, serde_json::Value) {
    let before = world.azure.requests().len();
    world.azure.fault(Rule::new(Action::Stall(When::Before)).window(0, 1)).unwrap();
    let mut command = world.command(&[&["-o", "json"], arguments].concat());
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(60);
    while !world.azure.requests().iter().skip(before).any(|request| request.fault.is_some()) {
        assert!(Instant::now() < patience, "{arguments:?} asked nothing");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
    let output = child.wait_with_output().unwrap();
    world.azure.clear_faults();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

#[test]
fn commands_that_only_look_end_at_a_signal_with_its_code_and_a_document() {
    use rustix::process::Signal;
    let world = World::with_archive();
    for (arguments, signal) in [
        (&["verify"][..], Signal::TERM),
        (&["status"], Signal::INT),
        (&["doctor"], Signal::TERM),
        (&["list"], Signal::TERM),
        (&["restore", "plan", "--all"], Signal::INT),
    ] {
        let (code, document) = signalled(&world, arguments, signal);
        assert_eq!((code, &document["error"]["kind"]), (Some(130), &"interrupted".into()), "{arguments:?}: {document}");
    }
}
