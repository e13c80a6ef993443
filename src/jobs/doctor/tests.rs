//! Tests of the doctor, against a vault and a store in memory.

use std::sync::Arc;

use chrono::TimeDelta;

use super::*;
use crate::jobs::fixture::{House, clock};
use crate::jobs::protection::Demand;
use crate::model::{Grant, Kind as ObjectKind, Mode, Permissions, SoftDelete, StorePath, VaultFacts};
use crate::store::memory::Memory;
use crate::store::{Guard, Site, Worm};
use crate::tlog::Signer;
use crate::vault::memory::Call;
use crate::vault::{self, Condition, Item, Listing};

async fn checked(house: &House) -> Vec<Check> {
    let doors = Doors { name: "prod", vault: &house.vault, facts: Some(&house.vault), rights: None, site: None };
    check_vault(&doors, &house.ambient).await
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
        place: crate::model::Place { subscription: "s".into(), location: "westeurope".into(), geography: None },
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
    assert_eq!(checks.len(), 15);
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
async fn weak_soft_delete_is_a_warning() {
    let house = House::new(&[]).await;
    house.vault.set_facts(facts(7, false));
    let checks = checked(&house).await;
    assert_eq!(find(&checks, "soft delete").verdict, Verdict::Warn);
    assert_eq!(find(&checks, "purge protection").verdict, Verdict::Warn);
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
    assert_eq!(verdicts(check_keys(1, &signer, &[signer.verifier()])), [Verdict::Warn, Verdict::Ok]);
    assert_eq!(verdicts(check_keys(2, &signer, &[])), [Verdict::Ok, Verdict::Fail]);
}
#[tokio::test]
async fn parts_that_a_snapshot_goes_without_are_told_with_their_role_and_fail_nothing() {
    let house = House::new(&[]).await;
    house.vault.set_facts(facts(90, true));
    house.vault.interfere(|_, _, call| match call {
        Call::List(Listing::Issuers) | Call::Get(Item::Contacts) => Err(failed(Condition::Denied)),
        _ => Ok(()),
    });
    let checks = checked(&house).await;
    for (what, role) in
        [("read certificate issuers", "snapshot-reader"), ("read certificate contacts", "contacts-reader")]
    {
        let check = find(&checks, what);
        assert_eq!(check.verdict, Verdict::Warn);
        assert!(check.detail.starts_with("not allowed: "), "{check:?}");
        assert!(
            check.fix.as_ref().is_some_and(|fix| fix.contains(&format!("policies/roles/{role}.json"))),
            "{check:?}"
        );
    }
    assert_eq!(checks.iter().filter(|check| check.verdict != Verdict::Ok).count(), 2);
}

/// A seat by script.
struct Place {
    rights: Result<Permissions, Condition>,
    skew: i64,
}

#[async_trait::async_trait]
impl crate::store::Seat for Place {
    async fn site(&self) -> Result<Site, crate::store::Error> {
        match &self.rights {
            Ok(_) => Ok(Site { subscription: "s".into(), location: "westeurope".into() }),
            Err(_) => Err(crate::store::Error::new(crate::store::Condition::Denied, "no")),
        }
    }
    async fn rights(&self) -> Result<Permissions, crate::store::Error> {
        self.rights.clone().map_err(|_| crate::store::Error::new(crate::store::Condition::Denied, "no"))
    }
    async fn clock_skew(&self) -> Option<TimeDelta> {
        Some(TimeDelta::seconds(self.skew))
    }
}

#[async_trait::async_trait]
impl vault::Rights for Place {
    async fn rights(&self, _: &crate::model::VaultUri) -> Result<Permissions, vault::Error> {
        self.rights.clone().map_err(failed)
    }
}

#[tokio::test]
async fn what_surrounds_vault_and_archive_is_judged_and_never_fails_for_want_of_a_permission() {
    let house = House::new(&[]).await;
    house.vault.set_facts(facts(90, true));
    let grant = Grant { actions: vec!["*".into()], data_actions: vec!["*".into()], ..Grant::default() };
    let owner = Place { rights: Ok(Permissions(vec![grant])), skew: 301 };
    let (checks, site) = check_seat(&owner, &house.ambient).await;
    let site = site.unwrap();
    assert_eq!(find(&checks, "clock").verdict, Verdict::Warn);
    assert_eq!(find(&checks, "least privilege: overwrite").verdict, Verdict::Warn);
    let of = async |rights: &Place, site: Option<&Site>| {
        let doors = Doors { name: "prod", vault: &house.vault, facts: Some(&house.vault), rights: Some(rights), site };
        check_vault(&doors, &house.ambient).await
    };
    let checks = of(&owner, Some(&site)).await;
    for what in
        ["least privilege: destroy", "least privilege: read secrets", "archive's region", "archive's subscription"]
    {
        assert_eq!(find(&checks, what).verdict, Verdict::Warn, "{what}");
    }

    let blind = Place { rights: Err(Condition::Denied), skew: 0 };
    let (checks, site) = check_seat(&blind, &house.ambient).await;
    assert!(site.is_none() && checks.iter().all(|check| check.verdict != Verdict::Fail));
    let checks = of(&blind, None).await;
    let unknown = find(&checks, "least privilege");
    assert!(unknown.fix.as_ref().is_some_and(|fix| fix.contains("Authorization/permissions/read")), "{unknown:?}");
    assert!(checks.iter().all(|check| check.verdict != Verdict::Fail));
}
