//! The role definitions in policies/roles: valid, and without the power to do what they must not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::support::world::World;

/// A definition as `az role definition create` takes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Role {
    name: String,
    is_custom: bool,
    description: String,
    actions: Vec<String>,
    not_actions: Vec<String>,
    data_actions: Vec<String>,
    not_data_actions: Vec<String>,
    assignable_scopes: Vec<String>,
}

impl Role {
    fn powers(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().chain(&self.data_actions).map(String::as_str)
    }

    fn has(&self, power: &str) -> bool {
        self.powers().any(|it| it == power)
    }
}

const BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/";

/// Powers that no role of ours has. Each is the end of an action's name.
const NEVER: &[&str] = &[
    "*",
    "/delete",
    "/purge/action",
    "/getSecret/action",
    "/setSecret/action",
    "/decrypt/action",
    "/encrypt/action",
    "/sign/action",
    "/verify/action",
    "/wrap/action",
    "/unwrap/action",
    "/release/action",
    "/import/action",
    "/create/action",
    "/rotate/action",
    "/update/action",
    "/listkeys/action",
    "/deleteBlobVersion/action",
    "/permanentDelete/action",
    "/blobs/write",
    "/blobs/move/action",
    "/blobs/tags/write",
    "/roleAssignments/write",
];

fn roles() -> BTreeMap<String, Role> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/roles");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let role = serde_json::from_str(&std::fs::read_to_string(&path).unwrap());
            let role = role.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), role)
        })
        .collect()
}

fn excesses(role: &Role) -> Vec<&str> {
    let lower = |text: &str| text.to_ascii_lowercase();
    role.powers().filter(|power| NEVER.iter().any(|never| lower(power).ends_with(&lower(never)))).collect()
}

#[test]
fn definitions_are_whole() {
    let roles = roles();
    let names: Vec<&str> = roles.keys().map(String::as_str).collect();
    let all = [
        "archive-reader",
        "archive-writer",
        "contacts-reader",
        "purge-operator",
        "restore-operator",
        "retention-admin",
        "settings-writer",
        "snapshot-reader",
    ];
    assert_eq!(names, all);
    for (file, role) in &roles {
        assert_eq!(role.name, format!("akv-archiver {}", file.replace('-', " ")));
        assert!(role.is_custom && !role.description.is_empty() && role.description.len() <= 1024, "{file}");
        assert_eq!(role.assignable_scopes, ["/subscriptions/00000000-0000-0000-0000-000000000000"], "{file}");
        // What is taken away again is easily given back by another role: grant little instead.
        assert!(role.not_actions.is_empty() && role.not_data_actions.is_empty(), "{file}");
        assert!(role.powers().all(|power| power.starts_with("Microsoft.")), "{file}");
    }
}

const PURGES: [&str; 3] = [
    "Microsoft.KeyVault/vaults/keys/purge/action",
    "Microsoft.KeyVault/vaults/secrets/purge/action",
    "Microsoft.KeyVault/vaults/certificates/purge/action",
];

#[test]
fn nobody_can_destroy_or_read_a_secret_but_who_holds_the_role_that_only_purges() {
    for (file, role) in roles() {
        let allowed: &[&str] = if file == "purge-operator" { &PURGES } else { &[] };
        assert_eq!(excesses(&role), allowed, "{file} must not have more");
    }
    assert_eq!(roles()["purge-operator"].powers().collect::<Vec<_>>(), PURGES, "and nothing else");
}

#[test]
fn an_excess_is_found() {
    let mut role = roles().remove("snapshot-reader").unwrap();
    for power in [
        "Microsoft.KeyVault/vaults/keys/purge/action",
        "Microsoft.KeyVault/*",
        "Microsoft.KeyVault/vaults/secrets/getSecret/Action",
    ] {
        role.data_actions = vec![power.to_owned()];
        assert_eq!(excesses(&role), [power]);
    }
}

#[test]
fn backing_up_restoring_and_retention_are_apart() {
    let roles = roles();
    for (file, role) in &roles {
        let backs_up = role.powers().any(|power| power.ends_with("/backup/action"));
        let restores =
            role.powers().any(|power| power.ends_with("/restore/action") || power.ends_with("/recover/action"));
        let retains = role.powers().any(|power| power.contains("runAsSuperUser") || power.ends_with("/lock/action"));
        let adds = role.has(&format!("{BLOBS}add/action"));
        let can = (backs_up, restores, retains, adds);
        let expected = match file.as_str() {
            "snapshot-reader" => (true, false, false, false),
            "restore-operator" => (false, true, false, false),
            "retention-admin" => (false, false, true, false),
            "archive-writer" => (false, false, false, true),
            _ => (false, false, false, false),
        };
        assert_eq!(can, expected, "{file}: back up, restore, retain, add");
    }
    // What can be written in a vault, and by whom: what no backup carries, and contacts for want of another power to read
    // them with.
    for (file, role) in &roles {
        let written: Vec<&str> =
            role.powers().filter(|power| power.ends_with("/write") && power.contains("KeyVault")).collect();
        let expected: &[&str] = match file.as_str() {
            "contacts-reader" => &["Microsoft.KeyVault/vaults/certificatecontacts/write"],
            "restore-operator" => &["Microsoft.KeyVault/vaults/keyrotationpolicies/write"],
            "settings-writer" => &[
                "Microsoft.KeyVault/vaults/certificatecas/write",
                "Microsoft.KeyVault/vaults/certificatecontacts/write",
                "Microsoft.KeyVault/vaults/keyrotationpolicies/write",
            ],
            _ => &[],
        };
        assert_eq!(written, expected, "{file}");
    }
    let writer = roles["archive-writer"].data_actions.clone();
    assert_eq!(
        writer,
        [format!("{BLOBS}add/action"), format!("{BLOBS}read")],
        "the writer adds and reads, nothing else"
    );
}

/// One action behind policies and holds of versions; the others are for a container as a whole. Finding its account is
/// archive-writer's, without which nobody could write to the log what is done.
#[test]
fn retention_is_nothing_but_retention() {
    const CONTAINERS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/";
    let roles = roles();
    let role = &roles["retention-admin"];
    assert_eq!(role.data_actions, [format!("{BLOBS}immutableStorage/runAsSuperUser/action")]);
    let actions = [
        "read",
        "setLegalHold/action",
        "clearLegalHold/action",
        "immutabilityPolicies/read",
        "immutabilityPolicies/write",
        "immutabilityPolicies/extend/action",
        "immutabilityPolicies/lock/action",
    ];
    assert_eq!(role.actions, actions.map(|action| format!("{CONTAINERS}{action}")));
}

/// What hints in a text promise: an action, where one is named, and the role that is said to have it.
fn promises(text: &str) -> Vec<(Option<String>, String)> {
    let flat: String = text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for (at, opening) in flat.match_indices("policies/roles/") {
        let Some((role, _)) = flat[at + opening.len()..].split_once(".json") else { continue };
        if role.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
            let grant = flat[..at].strip_suffix(" (").and_then(|before| before.rsplit_once("grant "));
            let action = grant.map(|(_, action)| action).filter(|action| !action.contains(' '));
            found.push((action.map(str::to_owned), role.to_owned()));
        }
    }
    found
}

#[test]
fn hints_name_roles_that_have_what_they_promise() {
    let roles = roles();
    let mut broken = Vec::new();
    for (path, text) in crate::documents::sources_and_documents() {
        for (action, name) in promises(&text) {
            match roles.get(&name) {
                None => broken.push(format!("{path} names policies/roles/{name}.json, which does not exist")),
                Some(role) => {
                    let lacking = action.filter(|action| !role.has(action));
                    broken.extend(
                        lacking.map(|action| format!("{path} says that {name} has {action}, which it has not")),
                    );
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));

    let text = "\"grant A/b/read \\\n    (policies/roles/archive-reader.json)\" and policies/roles/other.json";
    let expected = [(Some("A/b/read".to_owned()), "archive-reader".to_owned()), (None, "other".to_owned())];
    assert_eq!(promises(text), expected);
}

/// Every action that the doors to Azure name as missing is in a role of ours: whoever holds the roles is told of none.
#[test]
fn what_the_doors_ask_for_is_in_a_role() {
    let roles = roles();
    let mut asked = BTreeSet::new();
    for (path, text) in crate::documents::sources_and_documents() {
        if path.starts_with("src/azure/") {
            let code = text.split("#[cfg(test)]").next().unwrap();
            let words = code.split('"').filter(|word| word.starts_with("Microsoft.") && !word.contains(['{', ' ']));
            asked.extend(
                words
                    .filter(|word| word.ends_with("/read") || word.ends_with("/action") || word.ends_with("/write"))
                    .map(str::to_owned),
            );
        }
    }
    assert!(asked.contains("Microsoft.Insights/diagnosticSettings/read") && asked.len() > 8, "{asked:?}");
    let lacking: Vec<&String> = asked.iter().filter(|action| !roles.values().any(|role| role.has(action))).collect();
    assert!(lacking.is_empty(), "no role has {lacking:?}");
}

/// The demo's identities hold these roles and nothing else, on an Azure that refuses what they lack: so the roles are
/// enough for all that the demo does.
#[test]
fn the_demo_lives_on_these_roles() {
    let roles = roles();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/seed.toml");
    let seed: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let held = |name: &str| -> BTreeSet<String> {
        let principals = seed["principal"].as_array().unwrap();
        let principal = principals.iter().find(|principal| principal["name"].as_str() == Some(name)).unwrap();
        principal["actions"].as_array().unwrap().iter().map(|action| action.as_str().unwrap().to_owned()).collect()
    };
    let granted = |names: &[&str]| -> BTreeSet<String> {
        names.iter().flat_map(|name| roles[*name].powers()).map(str::to_owned).collect()
    };
    let differ = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.symmetric_difference(b).cloned().collect::<Vec<_>>();
    let job = ["snapshot-reader", "contacts-reader", "archive-writer"];
    let operator = ["restore-operator", "archive-writer"];
    assert_eq!(differ(&held("nightly-job"), &granted(&job)), [""; 0], "only in the seed, or only in {job:?}");
    assert_eq!(differ(&held("operator"), &granted(&operator)), [""; 0], "only in the seed, or only in {operator:?}");
}

/// An operator's roles without whatever changes something are enough to plan a restore, and planning sends nothing but
/// reads: on an Azure that refuses what they lack, and tells what it was asked.
#[test]
fn planning_a_restore_needs_no_power_to_change_anything() {
    let roles = roles();
    let changes = |power: &str| {
        ["/restore/action", "/recover/action", "/add/action", "/write"].iter().any(|it| power.ends_with(it))
    };
    let powers: Vec<&str> = ["restore-operator", "archive-reader"]
        .iter()
        .flat_map(|name| roles[*name].powers())
        .filter(|power| !changes(power))
        .collect();
    assert!(
        powers.iter().all(|power| power.ends_with("/read") || power.ends_with("/readMetadata/action")),
        "{powers:?}"
    );
    let actions = powers.iter().map(|power| format!("\"{power}\"")).collect::<Vec<_>>().join(", ");
    let seed = crate::support::world::SEED;
    let world = World::new(&format!("{seed}\n[[principal]]\nname = \"planner\"\nactions = [{actions}]\n"));
    world.init("prod", "vaults").succeeded();
    world.run(&["snapshot"]).succeeded();
    let stranger = world.stranger();
    for gone in ["keys/tde-protector", "secrets/app-0001", "certificates/tls"] {
        assert_eq!(stranger.vault("DELETE", &format!("prod.vault.azure.net/{gone}"), "").0, 200);
    }
    let owner = world.azure.ready().client_id.clone();
    let planner = world.azure.ready().principals["planner"].clone();
    world.edit_settings(|text| text.replace(&owner, &planner.client_id));
    // Nothing that could sign is at hand, either.
    std::fs::remove_file(world.path("signer.key")).unwrap();
    let before = world.azure.requests().len();
    for arguments in [
        &["--all"][..],
        &["--all", "--to", "https://spare.vault.azure.net"],
        &["key/tde-*", "secret/app-0001", "--snapshot", "1"],
        &["--kind", "certificate", "--at", "2999-01-01"],
    ] {
        let mut command = world.command(&[&["restore", "plan"], arguments].concat());
        let ran = command.env("AZURE_CLIENT_SECRET", &planner.client_secret).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    let asked: Vec<_> = world.azure.requests().into_iter().skip(before).collect();
    let (tokens, reads): (Vec<_>, Vec<_>) = asked.iter().partition(|request| request.host.starts_with("login."));
    assert!(tokens.len() >= 4 && reads.len() > 50, "{} and {}", tokens.len(), reads.len());
    let writes: Vec<_> = reads.iter().filter(|request| request.method != "GET").collect();
    assert!(writes.is_empty(), "{writes:#?}");
    assert!(reads.iter().all(|request| request.status != Some(403)), "nothing was asked for that it may not have");
    assert!(reads.iter().any(|request| request.caller.as_deref() == Some("planner")));
}
