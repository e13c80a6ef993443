//! Checking protection: everything is write-once, the policy is locked, and what the newest snapshot needs stays so for
//! long enough.

use super::finding::{Code, Findings};
use super::inventory::{Inventory, Shelf};
use super::snapshots::Needed;
use super::{Checked, Standard};
use crate::model::{Mode, VaultUri};
use crate::store::{self, Guard, Worm};

/// Checks the store as a whole.
pub(super) fn check_store(guard: &Guard, standard: &Standard, store: &dyn store::Read, findings: &mut Findings) {
    match (guard.worm, guard.lock) {
        _ if !guard.protects() && !standard.worm => {
            findings.add(Code::StoreUnprotected, "", format!("{} protects nothing, as the settings allow", store.describe()));
        }
        _ if !guard.protects() => findings.add(Code::Unprotected, "", format!("{} has no immutability policy", store.describe())),
        (_, None) => findings.add(
            Code::LockUnknown,
            "",
            "whether the container's policy is locked could not be read: grant \
             Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/read (policies/roles/archive-reader.json)",
        ),
        (_, Some(Mode::Locked)) => {}
        (_, Some(_)) => findings.add(Code::Unlocked, "", "the container's immutability policy is not locked: its administrator can delete it"),
    }
}

/// Checks every file of the archive, however old: it had protection when it was written, and what it has is locked.
pub(super) fn check_all(inventory: &Inventory, guard: &Guard, standard: &Standard, findings: &mut Findings) {
    if !standard.worm || !guard.protects() {
        return;
    }
    inventory.each_protection(guard, |path, protection| match protection.mode {
        Mode::None if !protection.legal_hold => findings.add(Code::Unprotected, path(), "no policy covers it"),
        // A container's unlocked policy is one finding, not one for each file in it.
        Mode::Unlocked if guard.worm == Worm::VersionLevel && guard.lock != Some(Mode::Unlocked) => {
            findings.add(Code::Unlocked, path(), "its policy is not locked");
        }
        _ => {}
    });
}

/// Checks what the newest snapshot of a vault needs.
pub(super) fn check_needed(
    shelf: &Shelf,
    guard: &Guard,
    standard: &Standard,
    vault: &VaultUri,
    needed: &Needed,
    findings: &mut Findings,
    checked: &mut Checked,
) {
    if !guard.protects() {
        return;
    }
    let enough = standard.now + *standard.protection_min_of.get(vault).unwrap_or(&standard.protection_min);
    let mut check = |path: &dyn Fn() -> String, protection: store::Protection| {
        let Some(until) = protection.until else { return };
        checked.protected_until = Some(checked.protected_until.map_or(until, |earliest| earliest.min(until)));
        if standard.worm && until < enough && !protection.legal_hold {
            let detail =
                format!("it is protected until {until}, and the newest snapshot needs it longer: take a new snapshot");
            findings.add(Code::ProtectionShort, path(), detail);
        }
    };
    for index in &needed.captures {
        if let Some((protection, _)) = shelf.captures.standing(*index) {
            check(&|| shelf.captures.path_at(*index), protection);
        }
    }
    for listed in &needed.others {
        check(&|| listed.path.as_ref().map(ToString::to_string).unwrap_or_default(), guard.covers(listed));
    }
}
