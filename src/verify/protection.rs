//! Checking protection: everything is write-once, the policy is locked, and what the newest snapshot needs stays so for
//! long enough.

use std::collections::BTreeSet;

use super::finding::{Code, Findings};
use super::inventory::{Inventory, Shelf};
use super::snapshots::Needed;
use super::{Checked, Standard};
use crate::model::{Mode, StorePath, VaultUri};
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
        // For as long as the hold lasts, nobody needs the policy.
        (_, Some(_)) if guard.legal_hold => {}
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
        Mode::Unlocked
            if guard.worm == Worm::VersionLevel && guard.lock != Some(Mode::Unlocked) && !protection.legal_hold =>
        {
            findings.add(Code::Unlocked, path(), "its policy is not locked");
        }
        _ => {}
    });
}

/// Checks what no snapshot renews: `archive.json`, the whole log, the manifests that it names. What the newest snapshot needs
/// of these (`needed`) is checked with that.
pub(super) fn check_records(
    inventory: &Inventory,
    guard: &Guard,
    standard: &Standard,
    needed: &BTreeSet<StorePath>,
    findings: &mut Findings,
) {
    if !standard.worm || !guard.protects() {
        return;
    }
    let min_of = |vault: &VaultUri| *standard.protection_min_of.get(vault).unwrap_or(&standard.protection_min);
    let longest = inventory.shelves.keys().map(min_of).max().unwrap_or(standard.protection_min);
    let archive = inventory.archive.iter().map(|listed| (listed, longest));
    let of_vaults = inventory.shelves.iter().flat_map(|(vault, shelf)| {
        let manifests = shelf.manifests.values().filter(|(_, referenced)| *referenced).map(|(listed, _)| listed);
        shelf.log.values().chain(manifests).map(move |listed| (listed, min_of(vault)))
    });
    for (listed, min) in archive.chain(of_vaults) {
        let (Ok(path), protection) = (&listed.path, guard.covers(listed)) else { continue };
        if protection.legal_hold || needed.contains(path) {
            continue;
        }
        let detail = match protection.until {
            Some(until) if until < standard.now + min => {
                let ends = if until <= standard.now { "ended" } else { "ends" };
                format!("its protection {ends} at {until}, and no snapshot renews it: `protect extend` does")
            }
            // Where the lock could not be read, or nothing protects the file, that is a finding already.
            None if guard.lock.is_some() && protection.mode != Mode::None => {
                "the store does not say until when it is protected, and no snapshot renews it".to_owned()
            }
            Some(_) | None => continue,
        };
        findings.add(Code::RecordShort, path.as_str(), detail);
    }
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
        let Some(until) = protection.until else {
            // Where the lock could not be read, or nothing protects the file, that is a finding already.
            let untold = standard.worm && guard.lock.is_some() && protection.mode != Mode::None;
            if untold && !protection.legal_hold {
                let detail = "the store does not say until when it is protected, and the newest snapshot needs it";
                findings.add(Code::ProtectionShort, path(), detail);
            }
            return;
        };
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
