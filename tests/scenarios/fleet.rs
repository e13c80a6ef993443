//! Many vaults in one run: found by tags and names, shared among processes, cut short, denied.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::support::world::World;

const ONE: &str = "11111111-1111-1111-1111-111111111111";
const TWO: &str = "22222222-2222-2222-2222-222222222222";

/// Vaults as name, subscription, `env`. The first one is `prod`, which the settings name.
const SIX: [(&str, &str, &str); 6] = [
    ("prod", ONE, "prod"),
    ("prod-web", ONE, "prod"),
    ("prod-scratch", ONE, "prod"),
    ("test-web", ONE, "test"),
    ("prod-pay", TWO, "prod"),
    ("prod-old", TWO, "retired"),
];

/// A world of these vaults with a secret each, and an archive in a directory.
fn world(vaults: &[(&str, &str, &str)], principals: &str) -> World {
    let mut seed = String::new();
    for (name, subscription, env) in vaults {
        writeln!(
            seed,
            "[[vault]]\nname = \"{name}\"\nsubscription = \"{subscription}\"\nlocation = \"westeurope\"\n\
             tags = {{ Env = \"{env}\" }}\nobjects = [{{ kind = \"secret\", name = \"s\" }}]"
        )
        .unwrap();
    }
    let world = World::new(&format!("{seed}{principals}"));
    world.init_directory("archive").succeeded();
    world
}

/// A credential for the settings: the default principal's, or that of one of the seed.
fn credential(world: &World, principal: Option<&str>) -> String {
    let ready = world.azure.ready();
    let (tenant, mut client, mut secret) =
        (&ready.tenant_id, ready.client_id.clone(), "client_secret_env = \"AZURE_CLIENT_SECRET\"".to_owned());
    if let Some(name) = principal {
        let principal = &ready.principals[name];
        client.clone_from(&principal.client_id);
        std::fs::write(world.path(name), &principal.client_secret).unwrap();
        secret = format!("client_secret_file = \"{name}\"");
    }
    format!("{{ kind = \"client-secret\", tenant_id = \"{tenant}\", client_id = \"{client}\", {secret} }}")
}

fn add(world: &World, table: &str) {
    world.edit_settings(|text| format!("{text}\n{table}\n"));
}

fn names(vaults: &Value) -> Vec<&str> {
    vaults
        .as_array()
        .unwrap()
        .iter()
        .map(|vault| vault["vault"].as_str().unwrap().trim_start_matches("https://").split('.').next().unwrap())
        .collect()
}

#[test]
fn vaults_are_found_by_tags_and_names_in_several_subscriptions() {
    let world = world(&SIX, "");
    let credential = credential(&world, None);
    add(
        &world,
        &format!("[[discover]]\ntags = {{ env = \"prod\" }}\nexclude = [\"*-scratch\"]\ncredential = {credential}"),
    );

    let (code, listed) = world.json(&["vaults"]);
    assert_eq!(code, 0, "{listed:#}");
    assert_eq!(names(&listed["vaults"]), ["prod", "prod-pay", "prod-web"]);
    let of = |index: usize, field: &str| listed["vaults"][index][field].as_str().unwrap().to_owned();
    assert_eq!([of(0, "origin"), of(1, "origin")], ["settings", "discovered"]);
    assert_eq!([of(0, "subscription"), of(1, "subscription")], [ONE, TWO]);
    assert_eq!((of(1, "location").as_str(), &listed["vaults"][1]["newest_snapshot"]), ("westeurope", &Value::Null));
    assert!(!world.path("archive/vaults").exists(), "`vaults` changed the archive");

    let (code, summary) = world.json(&["snapshot"]);
    assert_eq!(code, 0, "{summary:#}");
    assert_eq!(names(&summary["vaults"]), ["prod", "prod-pay", "prod-web"]);
    let total = &summary["total"];
    assert_eq!([&total["vaults"], &total["complete"], &total["objects"]["captured"]], [3, 3, 3], "{summary:#}");
    assert_eq!(summary["warnings"], serde_json::json!([]));
    world.run(&["verify"]).succeeded();

    // Flags narrow; --all widens; what the settings name is narrowed too.
    for (flags, expected) in [
        (&["--all"][..], &["prod", "prod-old", "prod-pay", "prod-scratch", "prod-web", "test-web"][..]),
        (&["--all", "--tag", "env=test"], &["test-web"]),
        (&["--all", "--subscription", TWO], &["prod-old", "prod-pay"]),
        (&["--include", "*-web"], &["prod-web"]),
        (&["--all", "--vault", "*-web", "--exclude", "test-*"], &["prod-web"]),
        (&["--vault", "prod", "--vault", "prod"], &["prod"]),
    ] {
        let (code, listed) = world.json(&[&["vaults"], flags].concat());
        let found: BTreeSet<&str> = names(&listed["vaults"]).into_iter().collect();
        assert_eq!((code, found), (0, expected.iter().copied().collect()), "{flags:?}");
    }
    let (code, refused) = world.json(&["vaults", "--vault", "prd"]);
    assert_eq!((code, &refused["error"]["kind"]), (2, &"usage".into()), "{refused:#}");
    let (code, refused) = world.json(&["snapshot", "--tag", "env=none"]);
    assert_eq!((code, &refused["error"]["kind"]), (10, &"not-found".into()), "{refused:#}");

    // What was never archived comes first, then what was archived longest ago.
    let (_, listed) = world.json(&["vaults", "--all"]);
    let order = names(&listed["vaults"]);
    assert_eq!(order[..3], ["prod-old", "prod-scratch", "test-web"]);
    let (_, listed) = world.json(&["vaults", "--all", "--due", "1h"]);
    assert_eq!(names(&listed["vaults"]), ["prod-old", "prod-scratch", "test-web"]);
    // Without an age, the policy's: once a day.
    for due in [&["--due", "1h"][..], &["--due"]] {
        let (code, summary) = world.json(&[&["snapshot"], due].concat());
        assert_eq!((code, &summary["total"]["vaults"]), (0, &0.into()), "{summary:#}");
    }
}

#[test]
fn a_vault_that_is_named_needs_no_search_and_is_taken_once() {
    let world = world(&SIX[..2], "");
    add(&world, &format!("[[discover]]\ncredential = {}", credential(&world, None)));
    let before = world.azure.requests().len();
    let (code, report) = world.json(&["snapshot", "--vault", "prod", "--vault", "prod.vault.azure.net"]);
    assert_eq!((code, &report["status"], &report["sequence"]), (0, &"complete".into(), &1.into()), "{report:#}");
    let searched = world.azure.requests().iter().skip(before).any(|it| it.path.ends_with("/vaults/prod-web"));
    assert!(!searched);
}

#[test]
fn a_denied_vault_fails_alone() {
    let nobody = "[[principal]]\nname = \"nobody\"\nactions = []\n";
    let world = world(&SIX[..3], nobody);
    let nobody = credential(&world, Some("nobody"));
    add(&world, &format!("[[vault]]\nuri = \"https://prod-web.vault.azure.net\"\ncredential = {nobody}"));
    add(
        &world,
        &format!(
            "[[vault]]\nuri = \"https://prod-scratch.vault.azure.net\"\ncredential = {}",
            credential(&world, None)
        ),
    );
    let (code, summary) = world.json(&["snapshot"]);
    assert_eq!(code, 12, "{summary:#}");
    assert_eq!(names(&summary["vaults"]), ["prod", "prod-web", "prod-scratch"]);
    let statuses: Vec<&str> =
        summary["vaults"].as_array().unwrap().iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["complete", "failed", "complete"]);
    let failed = &summary["vaults"][1];
    assert_eq!(failed["kind"], "denied");
    assert!(failed["error"].as_str().unwrap().contains("prod-web") && failed["hint"].is_string(), "{failed:#}");
    assert_eq!([&summary["total"]["complete"], &summary["total"]["failed"]], [2, 1]);

    let text = world.run(&["snapshot"]).exited(12);
    assert!(text.stdout.contains("2 of 3 complete") && text.stdout.contains("failed: couldn't take"), "{text:#?}");
    assert!(text.stderr.contains("prod-web.vault.azure.net: FAILED"), "a line for each: {text:#?}");
}

#[test]
fn a_denied_subscription_is_told_and_hides_no_other() {
    let job = format!(
        "[[principal]]\nname = \"job\"\nactions = [\"Microsoft.Resources/*\", \"Microsoft.KeyVault/*\"]\n\
         scopes = [\"/subscriptions/{ONE}\"]\n"
    );
    let world = world(&SIX, &job);
    add(&world, &format!("[[discover]]\ninclude = [\"prod-*\"]\ncredential = {}", credential(&world, Some("job"))));
    let (code, summary) = world.json(&["snapshot"]);
    assert_eq!(code, 0, "{summary:#}");
    assert_eq!(names(&summary["vaults"]), ["prod", "prod-scratch", "prod-web"]);
    let warnings = summary["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains(TWO), "{warnings:?}");

    let (_, checked) = world.json(&["doctor"]);
    let of = |subject: &str, check: &str, verdict: &str| {
        let fits = |it: &&Value| it["subject"] == subject && it["check"] == check && it["verdict"] == verdict;
        checked["checks"].as_array().unwrap().iter().filter(fits).count()
    };
    assert_eq!([of("discover", "look for vaults", "ok"), of("discover", "look for vaults", "warn")], [1, 1]);
    assert_eq!(of("prod-scratch", "back up secrets", "ok"), 1, "{checked:#}");

    // A subscription that is not there is a slip, and no success; of one where nothing may be listed nothing is known.
    let nowhere = TWO.replace('2', "3");
    world.edit_settings(|text| {
        text.replace("include = [\"prod-*\"]", &format!("subscriptions = [\"{ONE}\", \"{nowhere}\"]"))
    });
    let (code, listed) = world.json(&["vaults"]);
    assert_eq!((code, names(&listed["vaults"]).len()), (3, 4), "{listed:#}");
    world.edit_settings(|text| {
        text.replace(&format!("subscriptions = [\"{ONE}\", \"{nowhere}\"]"), &format!("subscriptions = [\"{TWO}\"]"))
    });
    let (code, listed) = world.json(&["vaults"]);
    assert_eq!((code, names(&listed["vaults"])), (12, vec!["prod"]), "{listed:#}");
    let (code, refused) = world.json(&["vaults", "--exclude", "prod"]);
    assert_eq!((code, &refused["error"]["kind"]), (12, &"denied".into()), "{refused:#}");
}

#[test]
fn shares_are_disjoint_and_together_they_are_everything() {
    // More vaults than a page of Resource Manager's list has.
    let names_of_all: Vec<String> = (0..24).map(|n| format!("vault-{n}")).chain(["prod".to_owned()]).collect();
    let vaults: Vec<(&str, &str, &str)> = names_of_all.iter().map(|name| (name.as_str(), ONE, "x")).collect();
    let world = world(&vaults, "");
    let mut seen = Vec::new();
    for index in 0..3 {
        let (code, listed) = world.json(&["vaults", "--all", "--shard", &format!("{index}/3")]);
        assert_eq!(code, 0, "{listed:#}");
        assert!(listed["vaults"].as_array().unwrap().iter().all(|vault| vault["shard"] == index));
        let mut job = world.command(&["-o", "json", "vaults", "--all", "--shard", "/3"]);
        let output = job.env("JOB_COMPLETION_INDEX", index.to_string()).output().unwrap();
        let of_job: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(names(&of_job["vaults"]), names(&listed["vaults"]));
        seen.extend(names(&listed["vaults"]).into_iter().map(str::to_owned));
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names_of_all.into_iter().collect());
    let lost = world.run(&["snapshot", "--shard", "/3"]).exited(2);
    assert!(lost.stderr.contains("JOB_COMPLETION_INDEX is not set"), "{lost:#?}");
}

#[test]
fn a_run_whose_time_is_over_says_what_it_left_and_the_next_begins_there() {
    let world = world(&SIX[..4], "");
    for (name, ..) in &SIX[1..4] {
        let credential = credential(&world, None);
        add(&world, &format!("[[vault]]\nuri = \"https://{name}.vault.azure.net\"\ncredential = {credential}"));
    }
    world.edit_settings(|text| text.replace("# vaults_in_flight = 4", "vaults_in_flight = 1"));
    // Each vault takes several seconds, so that a run of two can take one at most.
    let limits = |latency_ms| akv_archiver::emulator::seed::Limits { latency_ms, ..Default::default() };
    world.azure.set_limits(limits(500));
    let (code, first) = world.json(&["snapshot", "--deadline", "2s"]);
    assert_eq!(code, 3, "{first:#}");
    let skipped: Vec<&Value> =
        first["vaults"].as_array().unwrap().iter().filter(|it| it["status"] == "skipped").collect();
    assert_eq!((first["vaults"].as_array().unwrap().len(), skipped.len() >= 3), (4, true), "{first:#}");
    assert_eq!(first["total"]["skipped"], skipped.len());
    assert!(skipped.iter().all(|it| it["sequence"].is_null()));

    world.azure.set_limits(limits(0));
    let (_, listed) = world.json(&["vaults"]);
    let next: BTreeSet<&str> = names(&listed["vaults"]).into_iter().take(skipped.len()).collect();
    let left: BTreeSet<&str> =
        skipped.iter().filter_map(|it| it["vault"].as_str()?.strip_prefix("https://")?.split('.').next()).collect();
    assert_eq!(next, left, "those that were left come first");
    let (code, second) = world.json(&["snapshot", "--deadline", "8m"]);
    assert_eq!((code, &second["total"]["complete"]), (0, &4.into()), "{second:#}");
    world.run(&["verify"]).succeeded();
}
