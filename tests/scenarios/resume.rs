//! A restore that is cut off, seen by whoever comes next: the log, another operator, `restore resume`.

use std::collections::BTreeMap;

use akv_archiver::emulator::faults::{Action, Rule, Status, When};

use crate::support::world::World;

#[test]
fn a_restore_whose_result_was_not_recorded_is_shown_kept_apart_and_closed() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let spare = ["--to", "https://spare.vault.azure.net"];
    let names = ["key/tde-protector", "secret/app-0000"];
    world.run(&[&["restore", "plan"], &names[..], &spare[..]].concat()).succeeded();
    let refusal = Status { code: 403, headers: BTreeMap::new(), body: None, when: When::Before };
    let result = Rule::new(Action::Status(refusal)).method("PUT").path("0000000003");
    world.azure.fault(result.window(0, 1000)).unwrap();
    let ran = world.run(&["restore", "apply", "--yes"]).exited(12);
    assert!(ran.stderr.contains("the vault was changed (2 done)") && ran.stderr.contains("restore resume"), "{ran:#?}");
    world.azure.clear_faults();

    let (code, log) = world.json(&["restore", "log", "--object", "key/tde-protector"]);
    assert_eq!((code, &log["restores"][0]["closed"]), (0, &serde_json::Value::Null), "{log:#}");
    assert_eq!(log["restores"][0]["operator"], "operator");
    let text = world.run(&["restore", "log"]).succeeded();
    assert!(text.stdout.contains("OPEN") && text.stdout.contains("restore resume"), "{text:#?}");

    // Whoever comes next is told, and keeps his hands off.
    let ran = world.run(&["restore", "apply", "--yes"]).exited(11);
    assert!(ran.stderr.contains("operator at 20") && ran.stderr.contains("no result is recorded"), "{ran:#?}");

    world.run(&["restore", "resume"]).exited(2);
    let (code, looked) = world.json(&["restore", "resume", "--dry-run"]);
    assert_eq!((code, &looked["resumed"][0]["closed"]), (3, &false.into()), "{looked:#}");
    let restores = || world.azure.requests().iter().filter(|request| request.path.ends_with("/restore")).count();
    let before = restores();
    let (code, resumed) = world.json(&["restore", "resume", "--intent", "2", "--yes"]);
    assert_eq!((code, &resumed["resumed"][0]["closed"]), (0, &true.into()), "{resumed:#}");
    assert_eq!(restores(), before, "what is there is not asked for again");
    let (_, log) = world.json(&["restore", "log"]);
    assert!(log["restores"][0]["closed"].is_string(), "{log:#}");
    world.run(&["restore", "resume", "--intent", "2", "--yes"]).exited(10);
    world.run(&["restore", "resume", "--dry-run"]).succeeded();
    world.run(&["verify"]).succeeded();

    // The HSM key has been restored into the vault, and the ledger knows.
    world.stranger().vault("DELETE", "spare.vault.azure.net/keys/tde-protector", "");
    world.azure.advance(std::time::Duration::from_secs(10));
    world.stranger().vault("DELETE", "spare.vault.azure.net/deletedkeys/tde-protector", "");
    world.azure.advance(std::time::Duration::from_secs(10));
    let (code, plan) = world.json(&[&["restore", "plan", "key/tde-protector"], &spare[..]].concat());
    if code == 0 {
        assert_eq!(plan["steps"][0]["action"], "restore", "{plan:#}");
        let ran = world.run(&["restore", "apply", "--yes"]).exited(22);
        assert!(ran.stderr.contains("is an HSM key, and was restored into"), "{ran:#?}");
    } else {
        assert_eq!((code, &plan["steps"][0]["refusal"]), (22, &"restored-before".into()), "{plan:#}");
    }
}
