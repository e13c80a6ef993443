//! The role definitions in policies/roles: valid, and without the power to do what they must not.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

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
    assert_eq!(names, ["archive-reader", "archive-writer", "restore-operator", "retention-admin", "snapshot-reader"]);
    for (file, role) in &roles {
        assert_eq!(role.name, format!("akv-archiver {}", file.replace('-', " ")));
        assert!(role.is_custom && !role.description.is_empty() && role.description.len() <= 1024, "{file}");
        assert_eq!(role.assignable_scopes, ["/subscriptions/00000000-0000-0000-0000-000000000000"], "{file}");
        // What is taken away again is easily given back by another role: grant little instead.
        assert!(role.not_actions.is_empty() && role.not_data_actions.is_empty(), "{file}");
        assert!(role.powers().all(|power| power.starts_with("Microsoft.")), "{file}");
    }
}

#[test]
fn nobody_can_destroy_or_read_a_secret() {
    for (file, role) in roles() {
        assert_eq!(excesses(&role), [""; 0], "{file} must not have these");
    }
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
    let writer = roles["archive-writer"].data_actions.clone();
    assert_eq!(
        writer,
        [format!("{BLOBS}add/action"), format!("{BLOBS}read")],
        "the writer adds and reads, nothing else"
    );
}

#[test]
fn hints_name_roles_that_exist() {
    let roles = roles();
    for (path, text) in crate::documents::sources_and_documents() {
        for (at, _) in text.match_indices("roles/") {
            let name: String =
                text[at + "roles/".len()..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            if text[at..].starts_with(&format!("roles/{name}.json")) && !name.is_empty() {
                assert!(roles.contains_key(&name), "{path} names policies/roles/{name}.json, which does not exist");
            }
        }
    }
}
