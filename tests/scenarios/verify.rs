//! Looking deeper than the default: everything is read and opened, the vault is asked, one run starts from another.

use crate::support::world::World;

#[test]
fn every_level_agrees_with_an_archive_that_nobody_touched() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    let made = world.run(&["verify", "--make-key", "report.key"]).succeeded();
    assert!(made.stdout.contains("akv-archiver/verified+"), "{made:#?}");
    let refused = world.run(&["verify", "--report", "seen.report"]).exited(2);
    assert!(refused.stderr.contains("--make-key"), "{refused:#?}");
    world.edit_settings(|text| format!("{text}\n[verify]\nsigner = \"report.key\"\n"));

    let (code, deep) = world.json(&["verify", "--open", "--live", "--max-age", "26h", "--report", "seen.report"]);
    assert_eq!((code, &deep["findings"]), (0, &serde_json::json!([])), "{deep:#}");
    assert_eq!((&deep["checked"]["read"], &deep["checked"]["opened"]), (&8.into(), &8.into()), "{deep:#}");

    let before = world.azure.requests().len();
    let (code, again) = world.json(&["verify", "--open", "--since-report", "seen.report", "--report", "seen.report"]);
    assert_eq!((code, &again["checked"]["skipped"], &again["checked"]["read"]), (0, &8.into(), &0.into()), "{again:#}");
    let requests = world.azure.requests();
    let read = requests.iter().skip(before).filter(|request| request.method == "GET" && request.path.contains(".age"));
    assert_eq!(read.count(), 0, "what the report covers is not downloaded");

    world.stranger().vault("PUT", "prod.vault.azure.net/secrets/new", r#"{"value":"x"}"#);
    let (code, live) = world.json(&["verify", "--live"]);
    assert_eq!((code, &live["counts"]), (0, &serde_json::json!({"live-ahead": 1})), "{live:#}");
}

#[test]
fn a_report_and_metrics_take_the_place_of_nothing_but_their_like() {
    let world = World::with_archive();
    world.run(&["verify", "--make-key", "report.key"]).succeeded();
    world.edit_settings(|text| format!("{text}\n[verify]\nsigner = \"report.key\"\n"));
    let before = world.azure.requests().len();
    for (arguments, what) in [
        (["verify", "--report", "akv-archiver.toml"], "is there, and is no report of `verify`"),
        (["status", "--metrics-file", "akv-archiver.toml"], "is there, and is no file of metrics"),
        (["verify", "--report", "missing/seen.report"], "couldn't write missing/seen.report"),
        (["status", "--metrics-file", "missing/akv.prom"], "couldn't write missing/akv.prom"),
    ] {
        let settings = std::fs::read(world.path("akv-archiver.toml")).unwrap();
        let refused = world.run(&arguments).exited(2);
        assert!(refused.stderr.contains(what), "{refused:#?}");
        assert_eq!(std::fs::read(world.path("akv-archiver.toml")).unwrap(), settings, "{arguments:?}");
    }
    assert_eq!(world.azure.requests().len(), before, "nothing was asked");
}

#[test]
fn a_changed_report_is_refused_and_not_ignored() {
    let world = World::with_archive();
    world.run(&["snapshot"]).succeeded();
    world.run(&["verify", "--make-key", "report.key"]).succeeded();
    world.edit_settings(|text| format!("{text}\n[verify]\nsigner = \"report.key\"\n"));
    world.run(&["verify", "--subset", "1/2", "--report", "seen.report"]).succeeded();
    let path = world.path("seen.report");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("1/2", "1/1")).unwrap();
    let before = world.azure.requests().len();
    let refused = world.run(&["verify", "--since-report", "seen.report"]).exited(20);
    assert!(refused.stderr.contains("the earlier report does not hold"), "{refused:#?}");
    assert_eq!(world.azure.requests().len(), before, "nothing was asked");
}
