//! Policies as users meet them: checked, shown and explained without a vault, and kept by snapshots.

use serde_json::{Value, json};

use crate::support::world::{SEED, World};

const OWN: &str = r#"format = "akv-archiver/policy/1"
name = "own"
description = "Ours."
[[rule]]
name = "scratch"
why = "the pipeline makes them anew"
vaults = ["dev-*"]
names = ["scratch-*"]
take = false
[[rule]]
name = "payments"
tags = { team = "payments" }
take = true
recapture_every = "7d"
"#;

fn with_own() -> World {
    let world = World::new(SEED);
    std::fs::write(world.path("own.toml"), OWN).unwrap();
    world
}

/// Lets the settings choose a policy for all vaults.
fn choose(world: &World, policy: &str) {
    world.edit_settings(|text| text.replace("[capture]\n", &format!("[capture]\npolicy = \"{policy}\"\n")));
}

#[test]
fn a_policy_is_explained_without_settings_and_without_a_vault() {
    let world = with_own();
    let explain = |arguments: &[&str]| {
        world.run(&[&["policy", "explain", "--policy", "own.toml"], arguments].concat()).succeeded().stdout
    };
    let text = explain(&["secret/scratch-7", "--vault", "dev-app"]);
    assert_eq!(
        text,
        "secret/scratch-7 in dev-app.vault.azure.net, by policy own:\n\
         RULE      OUTCOME  BECAUSE\n\
         scratch   DECIDES  every condition holds\n\
         payments  -        an earlier rule decided\n\
         Left out by rule \"scratch\": the pipeline makes them anew. Snapshots record its name and no capture.\n"
    );
    let text = explain(&["secret/app", "--tag", "team=payments"]);
    assert!(text.contains("Taken by rule \"payments\". Captured anew after 7d"), "{text}");
    let text = explain(&["key/app"]);
    assert!(text.contains("tag team=payments, and tags were not given") && text.contains("Not certain"), "{text}");
    let ran = world.run(&["policy", "explain", "key/a", "--policy", "own.toml", "--tag", "no"]).exited(2);
    assert!(ran.stderr.contains("NAME=VALUE"), "{ran:#?}");
    assert!(world.azure.requests().is_empty());
}

#[test]
fn explanations_are_documents_for_machines() {
    let world = with_own();
    let (code, told) = world.json(&[
        "policy",
        "explain",
        "secret/a",
        "--policy",
        "own.toml",
        "--tag",
        "team=payments",
        "--vault",
        "prod",
    ]);
    let (_, shown) = world.json(&["policy", "show", "own.toml"]);
    let expected = json!({
        "object": "secret/a", "vault": "https://prod.vault.azure.net", "policy": "own", "sha256": shown["sha256"],
        "rules": [
            {"rule": "scratch", "outcome": "passed", "because": ["the vault is prod.vault.azure.net, not dev-*", "its name is a, not scratch-*"]},
            {"rule": "payments", "outcome": "decides", "because": []},
        ],
        "certain": true, "take": true, "rule": "payments", "why": null, "recapture_every": 604_800,
        "class": "standard", "protection_min": 5_184_000, "lock": "optional",
    });
    assert_eq!((code, told), (0, expected));
}

#[test]
fn what_is_shown_has_the_digest_that_manifests_quote() {
    let world = with_own();
    let text = world.run(&["policy", "show", "own.toml"]).succeeded().stdout;
    let (canonical, rest) = text.split_once('\n').unwrap();
    let digest = akv_archiver::model::Digest::of(canonical.as_bytes());
    assert_eq!(rest, format!("sha256 {digest}\n"));
    let (_, shown) = world.json(&["policy", "show", "own.toml"]);
    assert_eq!((shown["policy"].to_string(), &shown["sha256"]), (canonical.to_owned(), &json!(digest)));
    // The settings' policy, where none is named.
    world.init_directory("archive").succeeded();
    assert_eq!(world.json(&["policy", "show"]).1["name"], "default");
    choose(&world, "own.toml");
    assert_eq!(world.json(&["policy", "show"]).1, shown);
    // And a snapshot's manifest.
    world.run(&["snapshot"]).succeeded();
    let folder = world.path("archive/vaults/prod.vault.azure.net/manifests");
    let manifest = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let manifest = String::from_utf8(zstd::decode_all(std::fs::File::open(manifest).unwrap()).unwrap()).unwrap();
    assert!(manifest.contains(&format!("\"policy_sha256\":\"{digest}\"")), "{manifest}");
}

#[test]
fn a_check_names_what_is_wrong_and_what_is_unwise() {
    let world = with_own();
    std::fs::write(world.path("bad.toml"), OWN.replace("take = false", "take = flase")).unwrap();
    std::fs::write(world.path("wrong.toml"), OWN.replace("why = ", "way = ")).unwrap();
    let ran = world.run(&["policy", "check", "own.toml", "regulated", "bad.toml"]).exited(2);
    assert!(ran.stdout.contains("own.toml: policy own, 2 rules, sha256 "), "{ran:#?}");
    assert!(ran.stdout.contains("note      quorum-one     -     one recipient is enough"), "{ran:#?}");
    assert!(ran.stdout.contains("bad.toml: WRONG: bad.toml:9:8: "), "{ran:#?}");
    let (code, checked) = world.json(&["policy", "check", "wrong.toml", "own.toml"]);
    assert_eq!(code, 2, "{checked:#}");
    let error = &checked["policies"][0]["error"];
    assert_eq!(error["kind"], "usage");
    assert!(error["message"].as_str().unwrap().starts_with("wrong.toml:6:1: unknown field `way`"), "{error:#}");
    let own = &checked["policies"][1];
    assert_eq!((&own["source"], &own["name"], &own["rules"]), (&json!("own.toml"), &json!("own"), &json!(2)));
    let codes: Vec<&Value> = own["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]).collect();
    assert_eq!(codes, ["quorum-one", "lock-optional"]);
    // Without arguments, the policies that the settings use.
    let ran = world.run(&["policy", "check"]).exited(2);
    assert!(ran.stderr.contains("there are no settings"), "{ran:#?}");
    world.init_directory("archive").succeeded();
    let (code, checked) = world.json(&["policy", "check"]);
    assert_eq!((code, &checked["policies"][0]["source"]), (0, &json!("default")));
    choose(&world, "own");
    let ran = world.run(&["policy", "check"]).exited(2);
    assert!(ran.stderr.contains("akv-archiver.toml:") && ran.stderr.contains("there is no policy \"own\""), "{ran:#?}");
    assert!(world.azure.requests().is_empty());
}

#[test]
fn settings_that_hold_what_moved_say_where_to() {
    let world = World::with_archive();
    world.edit_settings(|text| text.replace("[capture]\n", "[capture]\nrecapture_every = \"3d\"\n"));
    let ran = world.run(&["snapshot"]).exited(2);
    assert!(
        ran.stderr.contains("unknown field `recapture_every`") && ran.stderr.contains("docs/POLICIES.md"),
        "{ran:#?}"
    );
}

#[test]
fn a_policy_that_cannot_be_read_is_said_before_anything_is_sent() {
    let world = World::with_archive();
    let before = world.azure.requests().len();
    choose(&world, "gone.toml");
    for command in ["snapshot", "verify"] {
        let ran = world.run(&[command]).exited(2);
        assert!(ran.stderr.contains("gone.toml") && ran.stderr.contains("hint:"), "{ran:#?}");
    }
    assert_eq!(world.azure.requests().len(), before);
    let (code, doctor) = world.json(&["doctor"]);
    assert_eq!(code, 2, "{doctor:#}");
}

/// The checks of the doctor that are about policies.
fn policy_checks(doctor: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = doctor["checks"].as_array().unwrap().iter().filter(|check| check["subject"] == "policy");
    checks.map(|check| (text(&check["check"]), text(&check["verdict"]))).collect()
}

fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(check, verdict)| ((*check).to_owned(), (*verdict).to_owned())).collect()
}

#[test]
fn a_quorum_of_recipients_is_demanded_before_anything_is_sent() {
    let world = World::with_archive();
    choose(&world, "regulated");
    let before = world.azure.requests().len();
    let ran = world.run(&["snapshot"]).exited(2);
    assert!(ran.stderr.contains("wants 2 recipients, and archive.recipients names 1"), "{ran:#?}");
    assert_eq!(world.azure.requests().len(), before);
    let (code, doctor) = world.json(&["doctor"]);
    assert_eq!(code, 2, "{doctor:#}");
    let checks = [("regulated: recipients", "fail"), ("regulated: lock", "ok"), ("regulated: protection", "ok")];
    assert_eq!(policy_checks(&doctor), expected(&checks));

    // Two of the same are one.
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";
    let add = |recipients: &str| {
        world.edit_settings(|text| {
            let (before, after) = text.split_once("recipients = [\n").unwrap();
            format!(
                "{before}recipients = [\n{recipients}{}",
                after.split_once("  \"age1").map_or(String::new(), |(_, rest)| format!("  \"age1{rest}"))
            )
        });
    };
    add(&format!("  \"{other} one\",\n  \"{other} two\",\n"));
    let ran = world.run(&["snapshot"]).exited(2);
    assert!(ran.stderr.contains("is given twice"), "{ran:#?}");
    add(&format!("  \"{other}\",\n"));
    world.run(&["snapshot"]).succeeded();
    let (code, doctor) = world.json(&["doctor"]);
    assert_eq!(code, 0, "{doctor:#}");
    world.run(&["verify"]).succeeded();
}

fn without_quorum() -> String {
    OWN.replace("[[rule]]\nname = \"scratch\"", "[retention]\nlock = \"required\"\n[[rule]]\nname = \"scratch\"")
}

#[test]
fn a_lock_is_demanded_of_settings_and_of_containers() {
    // Settings that allow an archive without protection.
    let world = World::new(SEED);
    std::fs::write(world.path("own.toml"), without_quorum()).unwrap();
    world.init_directory("archive").succeeded();
    choose(&world, "own.toml");
    let ran = world.run(&["snapshot"]).exited(2);
    assert!(
        ran.stderr.contains("policy \"own\" wants a locked archive, and the settings allow one without"),
        "{ran:#?}"
    );
    let (_, verified) = world.json(&["verify"]);
    assert!(verified["findings"].as_array().unwrap().iter().any(|it| it["code"] == "unprotected"), "{verified:#}");

    // A container whose administrator can take the protection back.
    let world = World::new(SEED);
    std::fs::write(world.path("own.toml"), without_quorum()).unwrap();
    world.init("prod", "unlocked").succeeded();
    world.run(&["snapshot"]).succeeded();
    choose(&world, "own.toml");
    let ran = world.run(&["snapshot"]).exited(21);
    assert!(ran.stderr.contains("is not locked") && ran.stderr.contains("hint:"), "{ran:#?}");
    let (code, doctor) = world.json(&["doctor"]);
    assert_eq!(code, 21, "{doctor:#}");
    let checks = [("own: recipients", "ok"), ("own: lock", "fail"), ("own: protection", "ok")];
    assert_eq!(policy_checks(&doctor), expected(&checks));
}

#[test]
fn each_vault_has_its_policy_and_verification_knows_it() {
    let world = World::with_archive();
    std::fs::write(
        world.path("own.toml"),
        OWN.replace(
            "[[rule]]\nname = \"scratch\"",
            "[retention]\nprotection_min = \"400d\"\n[[rule]]\nname = \"scratch\"",
        ),
    )
    .unwrap();
    world.run(&["snapshot"]).succeeded();
    world.run(&["verify"]).succeeded();
    // The container protects for 365 days.
    world.edit_settings(|text| text.replace("[[vault]]\n", "[[vault]]\npolicy = \"own.toml\"\n"));
    let ran = world.run(&["verify"]).exited(21);
    assert!(ran.stdout.contains("protection-short"), "{ran:#?}");
    let (_, doctor) = world.json(&["doctor"]);
    assert!(policy_checks(&doctor).contains(&("own: protection".to_owned(), "warn".to_owned())), "{doctor:#}");
    let text = world.run(&["policy", "explain", "key/a"]).succeeded().stdout;
    assert!(text.starts_with("key/a in prod.vault.azure.net, by policy own:"), "{text}");
}

/// The first block of a kind after a heading of a document.
fn block(path: &str, heading: &str, kind: &str) -> String {
    let document = crate::documents::read(path);
    let rest = document.split_once(&format!("\n{heading}\n")).unwrap().1;
    let block = rest.split_once(&format!("```{kind}\n")).unwrap().1;
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_documented_example_says_what_it_is_said_to_say() {
    let world = World::new(SEED);
    std::fs::write(world.path("payments.toml"), block("docs/POLICIES.md", "## A file", "toml")).unwrap();
    let example = block("docs/POLICIES.md", "## Which rule decided?", "console");
    let (command, output) = example.split_once('\n').unwrap();
    let arguments: Vec<&str> = command.strip_prefix("$ akv-archiver ").unwrap().split(' ').collect();
    assert_eq!(world.run(&arguments).succeeded().stdout, output);
}

/// The names of the members of a document, those of objects in lists included.
fn members(value: &Value) -> std::collections::BTreeSet<String> {
    let within = |items: Vec<&Value>| items.into_iter().flat_map(members).collect::<Vec<_>>();
    match value {
        Value::Object(map) => map.keys().cloned().chain(within(map.values().collect())).collect(),
        Value::Array(items) => within(items.iter().collect()).into_iter().collect(),
        _ => std::collections::BTreeSet::new(),
    }
}

#[test]
fn documents_for_machines_have_the_documented_members() {
    let world = with_own();
    std::fs::write(world.path("wrong.toml"), "").unwrap();
    for (heading, arguments) in [
        ("## policy check", &["policy", "check", "own.toml", "wrong.toml"][..]),
        ("## policy explain", &["policy", "explain", "secret/a", "--policy", "own.toml"]),
    ] {
        let documented: Value = serde_json::from_str(&block("docs/JSON.md", heading, "json")).unwrap();
        assert_eq!(members(&world.json(arguments).1), members(&documented), "{heading}");
    }
    let (_, shown) = world.json(&["policy", "show", "own.toml"]);
    let documented: Value = serde_json::from_str(&block("docs/JSON.md", "## policy show", "json")).unwrap();
    assert!(members(&documented).is_subset(&members(&shown)));
}
