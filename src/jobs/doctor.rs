//! The doctor: asks every door whether tonight's job would get through, and says what to do where it would not. Changes
//! nothing: where a permission can only be seen by using it, it is used on something that cannot succeed.

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use serde::Serialize;

use super::protection::Demand;
use crate::ambient::Ambient;
use crate::error::{self, Kind};
use crate::model::{Kind as ObjectKind, Mode, Name, Object, StorePath, VaultFacts};
use crate::store::{self, Guard, Worm};
use crate::tlog::{Signer, Verifier};
use crate::vault::{self, Condition, Item, Listing};

/// Clocks may differ by so much before a person should know. Tokens and signatures tolerate about five minutes.
const SKEW_MAX: TimeDelta = TimeDelta::seconds(60);

/// Microsoft's default, and the longest: what we recommend.
const RETENTION_DAYS: u32 = 90;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The job runs, but somebody should look.
    Warn,
    /// The job would fail.
    Fail,
}

/// One check: one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was asked about: a vault's name, `archive`, `keys`.
    pub subject: String,
    /// What was checked.
    pub check: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The kind of the failure, which decides the exit code.
    #[serde(skip)]
    pub kind: Option<Kind>,
}

impl Check {
    /// A check that found things as they should be.
    pub fn ok(subject: &str, check: &str, detail: impl Into<String>) -> Self {
        Check {
            subject: subject.into(),
            check: check.into(),
            verdict: Verdict::Ok,
            detail: detail.into(),
            fix: None,
            kind: None,
        }
    }

    /// A check that found something to look at.
    pub fn warn(subject: &str, check: &str, detail: impl Into<String>, fix: &str) -> Self {
        Check { verdict: Verdict::Warn, fix: Some(fix.into()), ..Check::ok(subject, check, detail) }
    }

    /// A check that failed.
    pub fn fail(subject: &str, check: &str, error: impl Into<error::Error>) -> Self {
        let error = error.into();
        Check {
            verdict: Verdict::Fail,
            fix: error.hint_text().map(str::to_owned),
            kind: Some(error.kind()),
            ..Check::ok(subject, check, error.message())
        }
    }
}

/// Checks one vault: the lists, the backups, the clock, what the management plane says.
pub async fn check_vault(
    name: &str,
    vault: &dyn vault::Read,
    facts: Option<&dyn vault::Facts>,
    ambient: &Ambient,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut date = None;
    for kind in ObjectKind::ALL {
        let what = format!("list {}", kind.plural());
        match first_page(vault, kind).await {
            Ok(exchange) => {
                date = exchange.and_then(|exchange| exchange.date).or(date);
                checks.push(Check::ok(name, &what, "allowed"));
            }
            Err(error) => {
                let hopeless = matches!(error.condition, Condition::Unresolved | Condition::Unavailable);
                checks.push(Check::fail(name, &what, error));
                if hopeless {
                    return checks;
                }
            }
        }
    }
    for kind in ObjectKind::ALL {
        checks.push(check_backup(name, vault, kind, ambient).await);
    }
    checks.push(check_rotation(name, vault, ambient).await);
    checks.extend(date.map(|date| check_clock(name, date, ambient.now())));
    checks.extend(check_facts(name, vault, facts).await);
    checks
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

fn check_clock(subject: &str, theirs: DateTime<Utc>, ours: DateTime<Utc>) -> Check {
    let skew = ours - theirs;
    let seconds = skew.num_seconds();
    match skew.abs() <= SKEW_MAX {
        true => Check::ok(subject, "clock", format!("{seconds} s from the service's")),
        false => {
            Check::warn(subject, "clock", format!("{seconds} s from the service's"), "synchronise this machine's clock")
        }
    }
}

async fn check_facts(subject: &str, vault: &dyn vault::Read, facts: Option<&dyn vault::Facts>) -> Vec<Check> {
    let Some(door) = facts else { return Vec::new() };
    match door.facts(vault.uri()).await {
        Ok(facts) => judge_facts(subject, &facts),
        Err(error) => {
            let fix = error
                .hint
                .clone()
                .unwrap_or_else(|| "grant Microsoft.KeyVault/vaults/read (policies/roles/snapshot-reader.json)".into());
            vec![Check::warn(
                subject,
                "vault facts",
                format!("could not be read, so manifests lack them: {error}"),
                &fix,
            )]
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

/// Checks the archive's store: reachable, protected, ours to add to.
///
/// `probe` is a file that exists, with its bytes: creating it again must fail because it is there, not for lack of a
/// permission.
pub async fn check_store(
    store: &dyn store::Append,
    demand: Demand,
    probe: Option<(StorePath, bytes::Bytes)>,
) -> Vec<Check> {
    const SUBJECT: &str = "archive";
    let guard = match store.guard().await {
        Ok(guard) => guard,
        Err(error) => return vec![Check::fail(SUBJECT, "reach", error)],
    };
    let mut checks = vec![Check::ok(SUBJECT, "reach", store.describe()), check_guard(SUBJECT, store, &guard, demand)];
    if let Some((path, bytes)) = probe {
        checks.push(match store.create(&path, bytes).await {
            Err(error) if error.condition == store::Condition::Exists => {
                Check::ok(SUBJECT, "add files", "allowed, and overwriting is refused")
            }
            Err(error) => Check::fail(SUBJECT, "add files", error),
            Ok(_) => Check::warn(
                SUBJECT,
                "add files",
                format!("{path} could be created twice: the store does not honour write-once"),
                "use a store that honours If-None-Match",
            ),
        });
    }
    checks
}

fn check_guard(subject: &str, store: &dyn store::Read, guard: &Guard, demand: Demand) -> Check {
    let what = "write-once";
    let days = guard.days.map_or_else(String::new, |days| format!(", {days} days"));
    match (guard.worm, guard.lock) {
        _ if !guard.protects() && demand == Demand::Optional => Check::warn(
            subject,
            what,
            format!("{} protects nothing, as the settings allow", store.describe()),
            "use a container with a locked immutability policy",
        ),
        _ if !guard.protects() => Check::fail(
            subject,
            what,
            error::Error::new(Kind::Noncompliant, format!("{} has no immutability policy", store.describe())).hint(
                "give the container a time-based retention policy and lock it, or set archive.worm = \"optional\"",
            ),
        ),
        (worm, Some(Mode::Locked)) => Check::ok(subject, what, format!("{}, locked{days}", level(worm))),
        (worm, Some(_)) => Check::warn(
            subject,
            what,
            format!("{}, not locked{days}: its administrator can delete the policy", level(worm)),
            "prove a restore, then lock the policy (it can only be extended after that)",
        ),
        (worm, None) => Check::warn(
            subject,
            what,
            format!("{}; whether it is locked could not be read", level(worm)),
            "grant Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/read (policies/roles/archive-reader.json)",
        ),
    }
}

fn level(worm: Worm) -> &'static str {
    match worm {
        Worm::None => "none",
        Worm::ContainerLevel => "container-level policy",
        Worm::VersionLevel => "version-level policy",
    }
}

/// Checks the keys: who can open captures, who signs, and whether that signer is pinned.
pub fn check_keys(recipients: usize, signer: Option<&Signer>, verifiers: &[Verifier]) -> Vec<Check> {
    const SUBJECT: &str = "keys";
    let readers = match recipients {
        1 => Check::warn(
            SUBJECT,
            "recipients",
            "one: whoever loses that identity loses the archive",
            "add a second recipient, kept elsewhere, to archive.recipients",
        ),
        n => Check::ok(SUBJECT, "recipients", n.to_string()),
    };
    let Some(signer) = signer else { return vec![readers] };
    let pinned = verifiers.contains(&signer.verifier());
    let signing = match pinned {
        true => Check::ok(SUBJECT, "signer", format!("{}, pinned", signer.name())),
        false => Check::fail(
            SUBJECT,
            "signer",
            error::Error::usage("the log signer is not among archive.verifiers: readers would call its entries forged")
                .hint(format!("add \"{}\" to archive.verifiers", signer.verifier())),
        ),
    };
    vec![readers, signing]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::fixture::{House, clock};
    use crate::model::{Place, SoftDelete};
    use crate::store::memory::Memory;
    use crate::vault::memory::Call;
    use std::sync::Arc;

    async fn checked(house: &House) -> Vec<Check> {
        check_vault("prod", &house.vault, Some(&house.vault), &house.ambient).await
    }

    fn failed(condition: Condition) -> vault::Error {
        vault::Error::new(condition, "injected")
    }

    fn find<'a>(checks: &'a [Check], what: &str) -> &'a Check {
        checks.iter().find(|check| check.check == what).unwrap_or_else(|| panic!("no check {what}: {checks:?}"))
    }

    fn facts(days: u32, purge_protection: bool) -> VaultFacts {
        VaultFacts {
            resource_id: "/x".into(),
            place: Place { subscription: "s".into(), location: "westeurope".into(), geography: None },
            sku: "premium".into(),
            soft_delete: SoftDelete { enabled: true, retention_days: days, purge_protection },
            rbac: true,
        }
    }

    #[tokio::test]
    async fn a_vault_that_is_as_it_should_be_passes_every_check_and_is_not_changed() {
        let house = House::new(&["key/k"]).await;
        house.vault.set_facts(facts(90, true));
        let checks = checked(&house).await;
        assert!(checks.iter().all(|check| check.verdict == Verdict::Ok && check.fix.is_none()), "{checks:?}");
        assert_eq!(checks.len(), 11);
    }

    #[tokio::test]
    async fn each_missing_permission_is_a_line_of_its_own_with_its_kind() {
        let house = House::new(&["key/k"]).await;
        house.vault.interfere(|_, _, call| match call {
            Call::List(Listing::Live(ObjectKind::Secret)) => Err(failed(Condition::Denied)),
            Call::Backup(object) if object.kind == ObjectKind::Key => Err(failed(Condition::Denied).hint("grant it")),
            _ => Ok(()),
        });
        let checks = checked(&house).await;
        let wrong: Vec<(&str, Option<Kind>)> = checks
            .iter()
            .filter(|check| check.verdict == Verdict::Fail)
            .map(|check| (check.check.as_str(), check.kind))
            .collect();
        assert_eq!(wrong, [("list secrets", Some(Kind::Denied)), ("back up keys", Some(Kind::Denied))]);
        assert_eq!(find(&checks, "back up keys").fix.as_deref(), Some("grant it"));
        let unread = find(&checks, "vault facts");
        assert!(unread.verdict == Verdict::Warn && unread.fix.as_ref().is_some_and(|fix| fix.contains("vaults/read")));
    }

    #[tokio::test]
    async fn a_rotation_policy_is_only_called_readable_where_the_answer_says_so() {
        for (condition, verdict) in [
            (Condition::NotFound, Verdict::Ok),
            (Condition::Denied, Verdict::Warn),
            (Condition::Unavailable, Verdict::Fail),
            (Condition::Malformed, Verdict::Fail),
        ] {
            let house = House::new(&[]).await;
            house.vault.interfere(move |_, _, call| match call {
                Call::Get(Item::RotationPolicy(_)) => Err(failed(condition)),
                _ => Ok(()),
            });
            assert_eq!(find(&checked(&house).await, "read rotation policies").verdict, verdict, "{condition:?}");
        }
    }

    #[tokio::test]
    async fn a_vault_that_cannot_be_reached_is_asked_once() {
        let house = House::new(&[]).await;
        house.vault.interfere(|_, _, _| Err(failed(Condition::Unresolved)));
        let checks = checked(&house).await;
        assert_eq!((checks.len(), checks[0].kind), (1, Some(Kind::NotFound)));
    }

    #[tokio::test]
    async fn weak_soft_delete_and_a_wrong_clock_are_warnings() {
        let house = House::new(&[]).await;
        house.vault.set_facts(facts(7, false));
        let checks = checked(&house).await;
        assert_eq!(find(&checks, "soft delete").verdict, Verdict::Warn);
        assert_eq!(find(&checks, "purge protection").verdict, Verdict::Warn);
        let ours = house.ambient.now();
        for (skew, verdict) in [(60, Verdict::Ok), (-60, Verdict::Ok), (61, Verdict::Warn), (-61, Verdict::Warn)] {
            assert_eq!(check_clock("prod", ours - TimeDelta::seconds(skew), ours).verdict, verdict, "{skew}");
        }
    }

    #[tokio::test]
    async fn the_store_is_judged_by_its_policy_and_by_what_it_does_with_a_second_creation() {
        let probe = || Some((StorePath::parse("archive.json").unwrap(), bytes::Bytes::from_static(b"x")));
        let guard = |worm, lock| Guard { worm, lock, days: Some(365), legal_hold: false };
        for (guard, demand, verdict) in [
            (guard(Worm::VersionLevel, Some(Mode::Locked)), Demand::Required, Verdict::Ok),
            (guard(Worm::ContainerLevel, Some(Mode::Unlocked)), Demand::Required, Verdict::Warn),
            (guard(Worm::ContainerLevel, None), Demand::Required, Verdict::Warn),
            (Guard::NONE, Demand::Optional, Verdict::Warn),
            (Guard::NONE, Demand::Required, Verdict::Fail),
        ] {
            let house = House::new(&[]).await;
            house.store.set_guard(guard.clone());
            let checks = check_store(&house.store, demand, probe()).await;
            assert_eq!(find(&checks, "write-once").verdict, verdict, "{guard:?}");
            assert_eq!(find(&checks, "add files").verdict, Verdict::Ok);
        }
        let forgetful = Memory::new(clock());
        assert_eq!(find(&check_store(&forgetful, Demand::Optional, probe()).await, "add files").verdict, Verdict::Warn);
    }

    #[test]
    fn one_recipient_is_a_risk_and_a_signer_that_is_not_pinned_a_failure() {
        let signer = Arc::new(Signer::from_seed("a", &[1; 32]).unwrap());
        let verdicts = |checks: Vec<Check>| checks.iter().map(|check| check.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(check_keys(1, Some(&signer), &[signer.verifier()])), [Verdict::Warn, Verdict::Ok]);
        assert_eq!(verdicts(check_keys(2, Some(&signer), &[])), [Verdict::Ok, Verdict::Fail]);
        assert_eq!(verdicts(check_keys(2, None, &[])), [Verdict::Ok]);
    }
}
