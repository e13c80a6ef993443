//! Rows of the decision table for names that something soft-deleted holds.

use super::*;

#[test]
fn a_soft_deleted_object_at_least_as_new_is_recovered() {
    let same = one(wanted("key/k"), deleted("v2", Some(30), "Recoverable"), &home());
    assert_eq!(same.action, Action::Recover);
    assert!(same.reason.contains("loses nothing"), "{}", same.reason);
    let newer = one(wanted("key/k"), deleted("v3", Some(31), "Recoverable"), &home());
    assert_eq!(newer.action, Action::Recover);
    assert!(!newer.reason.contains("loses nothing"), "nobody can know: {}", newer.reason);
    let dateless = one(wanted("key/k"), deleted("v2", None, "Recoverable"), &home());
    assert_eq!(dateless.action, Action::Recover, "the version is known");
}

#[test]
fn a_stranger_in_another_vaults_bin_stays_there() {
    let route = Route { target: uri("https://other.vault.azure.net"), ..home() };
    let stranger = one(wanted("key/k"), deleted("v3", Some(31), "Recoverable"), &route);
    assert_eq!(stranger.action, Action::Refused, "{stranger:?}");
    let known = one(wanted("key/k"), deleted("v2", Some(30), "Recoverable"), &route);
    assert_eq!(known.action, Action::Recover, "{known:?}");
}

#[test]
fn a_soft_deleted_object_that_is_older_or_unknown_holds_the_name() {
    let purgeable = one(wanted("key/k"), deleted("v1", Some(29), "Recoverable+Purgeable"), &home());
    assert_eq!(purgeable.refusal, Some(Refusal::HeldPurgeable));
    assert_eq!(
        purgeable.reason,
        "the name is held until 2027-01-16 08:00 UTC by an older state of it, soft-deleted: version v1, last changed \
         2027-01-15 08:00 UTC; recovering it would bring back version v1, last changed 2027-01-15 08:00 UTC; captured 1 \
         version would be missing: v2"
    );
    assert_eq!(
        purgeable.alternatives,
        [
            "recover what is there: plan with --recover-other",
            "purge what is there, if nobody needs it: plan with --allow-purge",
            "restore into a vault of the same subscription and geography (--to)",
            "wait until that date: then the name comes free, and plan again",
        ]
    );
    let kept = one(wanted("key/k"), deleted("v1", Some(29), "Recoverable+ProtectedSubscription"), &home());
    assert_eq!(kept.refusal, Some(Refusal::HeldProtected));
    assert!(kept.reason.contains("until 2027-01-16") && kept.reason.contains("purge protection"), "{}", kept.reason);
    assert!(!kept.alternatives.iter().any(|text| text.contains("purge")), "{kept:?}");
    let stranger = one(wanted("key/k"), deleted("other", None, ""), &home());
    assert_eq!(stranger.refusal, Some(Refusal::HeldProtected));
    assert!(stranger.reason.contains("whether any of the captured 2 versions is in it"), "{}", stranger.reason);
}

#[test]
fn what_a_vault_protects_is_not_purged_whatever_the_object_says() {
    let mut protected = facts("s1", "westeurope", "premium").unwrap();
    protected.soft_delete.purge_protection = true;
    let route = Route { target_facts: Some(protected), ..home() };
    let allowed = Allowed { purge: true, ..Allowed::default() };
    let step = allowing(wanted("key/k"), deleted("v1", Some(29), "Recoverable+Purgeable"), &route, &allowed);
    assert_eq!(step.refusal, Some(Refusal::HeldProtected));
}

#[test]
fn what_holds_the_name_is_purged_by_leave_only_and_its_loss_is_told() {
    let allowed = Allowed { purge: true, ..Allowed::default() };
    let step = allowing(wanted("key/k"), deleted("v9", Some(29), "Recoverable+Purgeable"), &home(), &allowed);
    assert_eq!(step.action, Action::PurgeAndRestore);
    assert!(step.reason.ends_with("purging it is allowed; then 2 versions, newest v2"), "{}", step.reason);
    assert_eq!(
        step.cost,
        "what is purged is lost for good (version v9, last changed 2027-01-15 08:00 UTC, and all versions before it); \
         freeing the name takes Azure up to some minutes; deleting it again would hold the name for 90 days"
    );
    let same = allowing(wanted("key/k"), deleted("v2", Some(30), "Purgeable"), &home(), &allowed);
    assert_eq!(same.action, Action::Recover, "what can be had back without loss is not purged");
}

#[test]
fn nothing_is_purged_for_a_backup_that_would_not_open() {
    let allowed = Allowed { purge: true, ..Allowed::default() };
    let held = || deleted("v1", Some(29), "Recoverable+Purgeable");
    let far = allowing(wanted("key/k"), held(), &away(facts("s1", "eastus", "premium")), &allowed);
    assert_eq!(far.refusal, Some(Refusal::OtherGeography));
    assert!(far.reason.starts_with("the name is held until") && far.reason.contains("geography"), "{}", far.reason);
    assert!(far.alternatives[0].contains("--recover-other"), "{far:?}");
    let moved = Route { target_facts: facts("s2", "westeurope", "premium"), ..home() };
    assert_eq!(allowing(wanted("key/k"), held(), &moved, &allowed).refusal, Some(Refusal::OtherSubscription));
    let free = one(wanted("key/k"), Slot::Free, &moved);
    assert_eq!(free.action, Action::Restore, "a vault that was moved is still the same vault");
    assert!(free.reason.contains("in subscription s1") && free.reason.contains("may refuse"), "{}", free.reason);
}

#[test]
fn another_object_is_recovered_by_leave_only_and_what_will_be_missing_is_told() {
    let allowed = Allowed { recover_other: true, purge: true, ..Allowed::default() };
    let step = allowing(wanted("key/k"), deleted("v1", Some(29), "Recoverable+Purgeable"), &home(), &allowed);
    assert_eq!(step.action, Action::Recover, "where both are allowed, nothing is purged");
    assert_eq!(step.cost, "captured 1 version would be missing: v2; the object that is recovered takes the name");
    let edited = allowing(wanted("key/k"), deleted("v2", Some(29), "Recoverable"), &home(), &allowed);
    assert!(edited.cost.starts_with("what was changed after that, such as tags, would be missing"), "{edited:?}");
    let stranger = allowing(wanted("key/k"), deleted("v9", Some(29), "Recoverable"), &home(), &allowed);
    assert!(stranger.cost.starts_with("whether any of the captured 2 versions"), "{stranger:?}");
}
