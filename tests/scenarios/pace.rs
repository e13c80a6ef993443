//! A vault that says that it is asked too much.

use akv_archiver::emulator::faults::{Action, Rule, Status, When};
use chrono::TimeDelta;
use serde_json::Value;

use crate::support::world::World;

fn throttled(headers: &[(&str, &str)]) -> Action {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Action::Status(Status { code: 429, headers, body: None, when: When::Before })
}

#[test]
fn refusals_cost_time_and_no_object() {
    let world = World::with_archive();
    // Key Vault's own 429 does not say how long to wait.
    let rule = Rule::new(throttled(&[])).host("prod.*").path("/backup").window(0, 9);
    world.azure.fault(rule).unwrap();
    let (code, report) = world.json(&["snapshot"]);
    assert_eq!((code, &report["status"]), (0, &"complete".into()), "{report:#}");
    assert_eq!((&report["throttled"], &report["objects"]["gaps"]), (&9.into(), &0.into()), "{report:#}");
    world.run(&["verify"]).succeeded();
}

#[test]
fn a_vault_that_asks_for_time_is_left_alone_for_so_long() {
    let world = World::with_archive();
    let before = world.azure.requests().len();
    let rule = Rule::new(throttled(&[("retry-after", "2")])).host("prod.*").path("/backup");
    world.azure.fault(rule).unwrap();
    // Some twelve requests a second: the vault is far from finished when the first backup is asked for.
    let mut command = world.command(&["--output", "json", "snapshot"]);
    let output = command.env("AKV_ARCHIVER__CAPTURE__SHARE", "0.03").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["status"], &report["throttled"]), (&"complete".into(), &1.into()), "{report:#}");

    let mut asked = world.azure.requests();
    asked.drain(..before);
    asked.retain(|request| request.host == "prod.vault.azure.net");
    let refused = asked.iter().position(|request| request.fault.is_some()).unwrap();
    // Whoever is not told waits as well: nobody asks for anything, but for what was on its way when the answer came.
    let quiet = (refused + 1..asked.len()).map(|n| asked[n].time - asked[n - 1].time).max().unwrap();
    assert!(quiet >= TimeDelta::milliseconds(1_500), "{quiet}");
    assert!(asked.len() - refused > 7, "there was more to ask");
}
