//! Least privilege: what the job's identity could do and never needs to. Judged from what Azure says that it may, never by
//! trying: an attempt that succeeds has done the damage.

use super::Check;
use crate::model::Permissions;

/// Which of Azure's two planes an action is of.
#[derive(Clone, Copy)]
enum Plane {
    Management,
    Data,
}

/// A power that the nightly job must not have: a name, what it means, and the actions that give it.
struct Power {
    name: &'static str,
    danger: &'static str,
    actions: &'static [(Plane, &'static str)],
}

use Plane::{Data, Management};

/// What nobody needs who only backs up a vault. Actions of Microsoft's list for Microsoft.KeyVault.
const OVER_VAULTS: &[Power] = &[
    Power {
        name: "destroy",
        danger: "whoever takes the job over can delete what it backs up",
        actions: &[
            (Data, "Microsoft.KeyVault/vaults/keys/delete"),
            (Data, "Microsoft.KeyVault/vaults/keys/purge/action"),
            (Data, "Microsoft.KeyVault/vaults/secrets/delete"),
            (Data, "Microsoft.KeyVault/vaults/secrets/purge/action"),
            (Data, "Microsoft.KeyVault/vaults/certificates/delete"),
            (Data, "Microsoft.KeyVault/vaults/certificates/purge/action"),
            (Management, "Microsoft.KeyVault/vaults/delete"),
            (Management, "Microsoft.KeyVault/locations/deletedVaults/purge/action"),
        ],
    },
    Power {
        name: "read secrets",
        danger: "a backup needs no value in the clear",
        actions: &[(Data, "Microsoft.KeyVault/vaults/secrets/getSecret/action")],
    },
    Power {
        name: "use keys",
        danger: "a backup needs no use of a key",
        actions: &[
            (Data, "Microsoft.KeyVault/vaults/keys/decrypt/action"),
            (Data, "Microsoft.KeyVault/vaults/keys/unwrap/action"),
            (Data, "Microsoft.KeyVault/vaults/keys/sign/action"),
            (Data, "Microsoft.KeyVault/vaults/keys/release/action"),
        ],
    },
    Power {
        name: "restore",
        danger: "who backs up and restores can copy a secret into a vault where they may read it",
        actions: &[
            (Data, "Microsoft.KeyVault/vaults/keys/restore/action"),
            (Data, "Microsoft.KeyVault/vaults/secrets/restore/action"),
            (Data, "Microsoft.KeyVault/vaults/certificates/restore/action"),
        ],
    },
    Power {
        name: "change",
        danger: "the job could alter what it is to preserve",
        actions: &[
            (Data, "Microsoft.KeyVault/vaults/keys/create/action"),
            (Data, "Microsoft.KeyVault/vaults/keys/import/action"),
            (Data, "Microsoft.KeyVault/vaults/keys/update/action"),
            (Data, "Microsoft.KeyVault/vaults/keys/rotate/action"),
            (Data, "Microsoft.KeyVault/vaults/keyrotationpolicies/write"),
            (Data, "Microsoft.KeyVault/vaults/secrets/setSecret/action"),
            (Data, "Microsoft.KeyVault/vaults/secrets/update/action"),
            (Data, "Microsoft.KeyVault/vaults/certificates/create/action"),
            (Data, "Microsoft.KeyVault/vaults/certificates/import/action"),
            (Data, "Microsoft.KeyVault/vaults/certificates/update/action"),
        ],
    },
    Power {
        name: "grant",
        danger: "it could give itself all the rest",
        actions: &[
            (Management, "Microsoft.Authorization/roleAssignments/write"),
            (Management, "Microsoft.KeyVault/vaults/write"),
            (Management, "Microsoft.KeyVault/vaults/accessPolicies/write"),
        ],
    },
];

/// What nobody needs who only adds to an archive. Actions of Microsoft's list for Microsoft.Storage.
const OVER_ARCHIVES: &[Power] = &[
    Power {
        name: "destroy",
        danger: "what no policy locks, whoever takes the job over can delete",
        actions: &[
            (Data, "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete"),
            (Data, "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/deleteBlobVersion/action"),
            (Data, "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/permanentDelete/action"),
            (Management, "Microsoft.Storage/storageAccounts/blobServices/containers/delete"),
            (Management, "Microsoft.Storage/storageAccounts/delete"),
        ],
    },
    Power {
        name: "overwrite",
        danger: "adding needs blobs/add/action only; what no policy locks could be replaced",
        actions: &[
            (Data, "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write"),
            (Data, "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/move/action"),
        ],
    },
    Power {
        name: "set protection",
        danger: "it could shorten or remove what is not locked, or lock what you want to end",
        actions: &[
            (
                Data,
                "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/immutableStorage/runAsSuperUser/action",
            ),
            (Management, "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/write"),
            (Management, "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/delete"),
            (Management, "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/lock/action"),
            (Management, "Microsoft.Storage/storageAccounts/blobServices/containers/clearLegalHold/action"),
        ],
    },
    Power {
        name: "grant",
        danger: "it could give itself all the rest",
        actions: &[
            (Management, "Microsoft.Authorization/roleAssignments/write"),
            (Management, "Microsoft.Storage/storageAccounts/write"),
            (Management, "Microsoft.Storage/storageAccounts/listkeys/action"),
        ],
    },
];

/// Judges what the job's identity may do with a vault. `rbac` is whether role assignments decide about the objects in it;
/// `None` where that is not known.
pub(super) fn check_vault_rights(subject: &str, held: &Permissions, rbac: Option<bool>) -> Vec<Check> {
    let mut checks = judge(
        subject,
        OVER_VAULTS,
        held,
        rbac != Some(false),
        "give the job the role policies/roles/snapshot-reader.json only",
    );
    if rbac == Some(false) {
        checks.push(Check::warn(
            subject,
            "access policies",
            "they decide what may be done with objects, and are not judged here",
            "compare them with policies/README.md, or let role assignments decide",
        ));
    }
    checks
}

/// Judges what the job's identity may do with the archive's container.
pub(super) fn check_archive_rights(subject: &str, held: &Permissions) -> Vec<Check> {
    judge(subject, OVER_ARCHIVES, held, true, "give the job the role policies/roles/archive-writer.json only")
}

/// What to say where Azure may not be asked.
pub(super) fn unknown_rights(subject: &str, why: &dyn std::fmt::Display, fix: &str) -> Check {
    Check::warn(subject, "least privilege", format!("what the identity may do could not be asked: {why}"), fix)
}

fn judge(subject: &str, powers: &[Power], held: &Permissions, data: bool, fix: &str) -> Vec<Check> {
    let mut checks = Vec::new();
    for power in powers {
        let allowed = |(plane, action): &&(Plane, &'static str)| match plane {
            Management => held.allow(action),
            Data => data && held.allow_data(action),
        };
        let excess: Vec<&str> =
            power.actions.iter().filter(allowed).map(|(_, action)| action.trim_start_matches("Microsoft.")).collect();
        let Some((first, more)) = excess.split_first() else { continue };
        let more = match more.len() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        let detail = format!("may {}: {first}{more}: {}", power.name, power.danger);
        checks.push(Check::warn(subject, &format!("least privilege: {}", power.name), detail, fix));
    }
    if checks.is_empty() {
        checks.push(Check::ok(subject, "least privilege", "role assignments give it nothing that it must not have"));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::doctor::Verdict;
    use crate::model::Grant;

    fn held(actions: &[&str], data: &[&str]) -> Permissions {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Permissions(vec![Grant { actions: owned(actions), data_actions: owned(data), ..Grant::default() }])
    }

    fn names(checks: &[Check]) -> Vec<&str> {
        checks.iter().map(|check| check.check.trim_start_matches("least privilege: ")).collect()
    }

    /// A role as policies/roles has it.
    fn role(name: &str) -> Permissions {
        let path = format!("{}/policies/roles/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let role: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let list = |field: &str| -> Vec<String> {
            role[field].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
        };
        let (actions, data_actions) = (list("Actions"), list("DataActions"));
        Permissions(vec![Grant { actions, data_actions, ..Grant::default() }])
    }

    #[test]
    fn the_documented_roles_give_nothing_too_much_and_the_others_do() {
        let both = Permissions([role("snapshot-reader").0, role("contacts-reader").0].concat());
        assert_eq!(check_vault_rights("v", &both, Some(true))[0].verdict, Verdict::Ok);
        assert_eq!(check_archive_rights("a", &role("archive-writer"))[0].verdict, Verdict::Ok);
        assert_eq!(check_archive_rights("a", &role("archive-reader"))[0].verdict, Verdict::Ok);
        assert_eq!(names(&check_vault_rights("v", &role("restore-operator"), Some(true))), ["restore", "change"]);
        assert_eq!(names(&check_vault_rights("v", &role("purge-operator"), Some(true))).len(), 1);
        assert_eq!(names(&check_archive_rights("a", &role("retention-admin"))), ["set protection"]);
    }

    #[test]
    fn wildcards_count_in_their_plane_and_what_a_role_takes_away_does_not() {
        let officer = held(&[], &["Microsoft.KeyVault/vaults/secrets/*"]);
        let checks = check_vault_rights("v", &officer, Some(true));
        assert_eq!(names(&checks), ["destroy", "read secrets", "restore", "change"]);
        assert!(checks.iter().all(|check| check.verdict == Verdict::Warn && check.fix.is_some()));
        assert!(checks[0].detail.contains("KeyVault/vaults/secrets/delete and 1 more"), "{checks:?}");
        let owner = held(&["*"], &[]);
        assert_eq!(names(&check_vault_rights("v", &owner, Some(true))), ["destroy", "grant"]);
        assert_eq!(names(&check_archive_rights("a", &owner)), ["destroy", "set protection", "grant"]);
        let mut contributor = owner;
        contributor.0[0].not_actions = vec!["Microsoft.Authorization/*".to_owned()];
        let checks = check_vault_rights("v", &contributor, None);
        assert!(checks[1].detail.contains("KeyVault/vaults/write") && !checks[1].detail.contains("roleAssign"));
    }

    #[test]
    fn where_access_policies_decide_data_actions_say_nothing() {
        let all = held(&["Microsoft.KeyVault/vaults/read"], &["Microsoft.KeyVault/*"]);
        let checks = check_vault_rights("v", &all, Some(false));
        assert_eq!(names(&checks), ["least privilege", "access policies"]);
        assert_eq!((checks[0].verdict, checks[1].verdict), (Verdict::Ok, Verdict::Warn));
    }
}
