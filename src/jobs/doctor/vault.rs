//! A vault: what the nightly job would ask it for, each once, and how it is set up. Nothing is changed: where a
//! permission shows only in use, it is used on a name that no object has.

use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::privilege::{check_vault_rights, unknown_rights};
use super::{Check, check_clock, check_pair, check_place};
use crate::ambient::Ambient;
use crate::model::{Kind as ObjectKind, Name, Object, VaultFacts};
use crate::store::Site;
use crate::vault::{self, Condition, Item, Listing};

/// Microsoft's default, and the longest: what we recommend.
const RETENTION_DAYS: u32 = 90;

/// A vault, and whom to ask about it.
pub struct Doors<'a> {
    /// What people call it.
    pub name: &'a str,
    /// The vault.
    pub vault: &'a dyn vault::Read,
    /// The management plane, about the vault.
    pub facts: Option<&'a dyn vault::Facts>,
    /// The management plane, about whoever asks.
    pub rights: Option<&'a dyn vault::Rights>,
    /// Where the archive is, if known.
    pub site: Option<&'a Site>,
}

/// Checks one vault: the lists, the backups, the clock, what the management plane says of it and of us.
pub async fn check_vault(doors: &Doors<'_>, ambient: &Ambient) -> Vec<Check> {
    let Doors { name, vault, .. } = *doors;
    let mut checks = Vec::new();
    let Some(date) = check_lists(name, vault, &mut checks).await else { return checks };
    for kind in ObjectKind::ALL {
        checks.push(check_backup(name, vault, kind, ambient).await);
    }
    checks.push(check_rotation(name, vault, ambient).await);
    checks.push(check_issuers(name, vault).await);
    checks.push(check_contacts(name, vault).await);
    checks.extend(date.map(|date| check_clock(name, date, ambient.now())));
    let facts = match doors.facts {
        Some(door) => check_described(name, door.describe(vault.uri()).await, &mut checks),
        None => None,
    };
    if let (Some(facts), Some(door)) = (&facts, doors.facts) {
        let atlas = door.atlas(&facts.place.subscription).await;
        checks.extend(check_pair(name, &facts.place, &atlas));
    }
    if let (Some(facts), Some(site)) = (&facts, doors.site) {
        checks.extend(check_place(name, &facts.place, site));
    }
    if let Some(door) = doors.rights {
        checks.extend(match door.rights(vault.uri()).await {
            Ok(held) => check_vault_rights(name, &held, facts.as_ref().map(|facts| facts.rbac)),
            Err(error) => vec![unknown_rights(
                name,
                &error,
                "grant Microsoft.Authorization/permissions/read (policies/roles/snapshot-reader.json)",
            )],
        });
    }
    checks
}

/// Checks that the lists may be read. Returns the vault's clock, where it told; `None` where there is no point in asking the
/// vault anything else.
pub(super) async fn check_lists(
    name: &str,
    vault: &dyn vault::Read,
    checks: &mut Vec<Check>,
) -> Option<Option<DateTime<Utc>>> {
    let mut date = None;
    for kind in ObjectKind::ALL {
        let what = format!("list {}", kind.plural());
        match first_page(vault, kind).await {
            Ok(exchange) => {
                date = exchange.and_then(|exchange| exchange.date).or(date);
                checks.push(Check::ok(name, &what, "allowed"));
            }
            Err(error) => {
                let hopeless =
                    matches!(error.condition, Condition::Unresolved | Condition::Untrusted | Condition::Unavailable);
                checks.push(Check::fail(name, &what, error));
                if hopeless {
                    return None;
                }
            }
        }
    }
    Some(date)
}

async fn first_page(vault: &dyn vault::Read, kind: ObjectKind) -> Result<Option<vault::Exchange>, vault::Error> {
    match vault.list(Listing::Live(kind)).next().await {
        Some(page) => page.map(|page| Some(page.exchange)),
        None => Ok(None),
    }
}

/// A name that no object has: whether we may back it up shows in the answer, 404 or 403.
fn nobody(ambient: &Ambient) -> Option<Name> {
    Name::parse(&format!("akv-archiver-doctor-{}", crate::model::hex(&ambient.bytes::<8>())))
}

async fn check_backup(subject: &str, vault: &dyn vault::Read, kind: ObjectKind, ambient: &Ambient) -> Check {
    let what = format!("back up {}", kind.plural());
    let Some(name) = nobody(ambient) else { return Check::ok(subject, &what, "not checked") };
    match vault.backup(&Object::new(kind, name)).await {
        Err(error) if error.condition == Condition::NotFound => Check::ok(subject, &what, "allowed"),
        Err(error) => Check::fail(subject, &what, error),
        Ok(_) => Check::ok(subject, &what, "allowed"),
    }
}

async fn check_rotation(subject: &str, vault: &dyn vault::Read, ambient: &Ambient) -> Check {
    let what = "read rotation policies";
    let Some(name) = nobody(ambient) else { return Check::ok(subject, what, "not checked") };
    match vault.get(Item::RotationPolicy(name)).await {
        Ok(_) => Check::ok(subject, what, "allowed"),
        Err(error) if error.condition == Condition::NotFound => Check::ok(subject, what, "allowed"),
        Err(error) if matches!(error.condition, Condition::Denied | Condition::Forbidden) => Check::warn(
            subject,
            what,
            "denied: a key's rotation policy is not archived",
            "grant Microsoft.KeyVault/vaults/keyrotationpolicies/read (policies/roles/snapshot-reader.json)",
        ),
        Err(error) => Check::fail(subject, what, error),
    }
}

async fn check_issuers(subject: &str, vault: &dyn vault::Read) -> Check {
    let outcome = match vault.list(Listing::Issuers).next().await {
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Ok(()),
    };
    optional(
        subject,
        "read certificate issuers",
        outcome,
        "certificate issuers are not archived",
        "grant Microsoft.KeyVault/vaults/certificatecas/read (policies/roles/snapshot-reader.json)",
    )
}

async fn check_contacts(subject: &str, vault: &dyn vault::Read) -> Check {
    let outcome = match vault.get(Item::Contacts).await {
        Err(error) if error.condition != Condition::NotFound => Err(error),
        _ => Ok(()),
    };
    optional(
        subject,
        "read certificate contacts",
        outcome,
        "certificate contacts are not archived; the role is optional, since it can also set them",
        "grant Microsoft.KeyVault/vaults/certificatecontacts/write (policies/roles/contacts-reader.json)",
    )
}

/// Something that a snapshot goes without, and has a gap for: not being allowed it is no failure.
fn optional(subject: &str, what: &str, outcome: Result<(), vault::Error>, lost: &str, fix: &str) -> Check {
    match outcome {
        Ok(()) => Check::ok(subject, what, "allowed"),
        Err(error) if matches!(error.condition, Condition::Denied | Condition::Forbidden) => {
            Check::warn(subject, what, format!("not allowed: {lost}"), fix)
        }
        Err(error) => {
            let fix = error.hint.clone().unwrap_or_else(|| "run again; a snapshot has a gap for it until then".into());
            Check::warn(subject, what, format!("could not be read: {error}"), &fix)
        }
    }
}

/// What the management plane tells of the vault, each part a line of its own.
fn check_described(subject: &str, told: vault::Description, checks: &mut Vec<Check>) -> Option<VaultFacts> {
    let vault::Description { facts, role_assignments, diagnostic_settings, .. } = told;
    checks.push(optional(
        subject,
        "read role assignments",
        role_assignments.map(drop),
        "role assignments are not archived",
        "grant Microsoft.Authorization/roleAssignments/read (policies/roles/snapshot-reader.json)",
    ));
    checks.push(optional(
        subject,
        "read diagnostic settings",
        diagnostic_settings.map(drop),
        "diagnostic settings are not archived",
        "grant Microsoft.Insights/diagnosticSettings/read (policies/roles/snapshot-reader.json)",
    ));
    match facts {
        Ok(facts) => {
            checks.extend(judge_facts(subject, &facts));
            Some(facts)
        }
        Err(error) => {
            let fix = error
                .hint
                .clone()
                .unwrap_or_else(|| "grant Microsoft.KeyVault/vaults/read (policies/roles/snapshot-reader.json)".into());
            let detail = format!("could not be read, so manifests lack them: {error}");
            checks.push(Check::warn(subject, "vault facts", detail, &fix));
            None
        }
    }
}

fn judge_facts(subject: &str, facts: &VaultFacts) -> Vec<Check> {
    let geography = facts.place.geography.as_ref().map_or_else(|| "geography unknown".to_owned(), ToString::to_string);
    let place =
        format!("{} in {} ({geography}), subscription {}", facts.sku, facts.place.location, facts.place.subscription);
    let days = facts.soft_delete.retention_days;
    let retention = match days >= RETENTION_DAYS {
        true => Check::ok(subject, "soft delete", format!("{days} days")),
        false => Check::warn(
            subject,
            "soft delete",
            format!("{days} days, and this cannot be changed after creation"),
            "a deleted object is gone for recovery after that: keep snapshots more frequent than that",
        ),
    };
    let purge = match facts.soft_delete.purge_protection {
        true => Check::ok(subject, "purge protection", "on"),
        false => Check::warn(
            subject,
            "purge protection",
            "off: whoever may purge can destroy an object at once",
            &format!("az keyvault update --name {subject} --enable-purge-protection true"),
        ),
    };
    vec![Check::ok(subject, "place", place), retention, purge]
}
