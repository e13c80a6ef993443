//! Damage to which files there are, under which names, in which versions, and how they are protected.

use akv_archiver::format::manifest::{Limits, Manifest};
use akv_archiver::model::Mode;
use akv_archiver::store::{Guard, Protection, Worm};
use akv_archiver::verify::Code;
use chrono::TimeDelta;

use super::archives::{Archive, Sort};
use super::image::Image;
use super::mutant::{Mutant, changed, gone, later};

/// Every file deleted, moved to another name, and written in other letters.
pub(super) fn deletions(archive: &Archive) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for name in archive.image.files.keys() {
        let (level, code) = gone(archive, name);
        let lost = |kind, change: Box<dyn FnOnce(&mut Image) + Send>| {
            Mutant::of(kind, name, &[code], change).seen_by(level).anywhere()
        };
        let named = name.clone();
        mutants.push(lost("deleted", Box::new(move |image| drop(image.files.remove(&named)))));
        let upper = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
        let host = name.replacen("vault.azure.net", "Vault.azure.net", 1);
        for to in [upper, name.to_uppercase(), host, format!("{name}.bak"), format!("old/{name}"), format!("{name} ")] {
            if to == *name {
                continue;
            }
            let (named, to) = (name.clone(), to);
            mutants.push(lost("moved away", Box::new(move |image| image.rename(&named, &to))));
        }
        if archive.image.files[name][0].id.is_some() {
            let named = name.clone();
            let change = move |image: &mut Image| image.oldest(&named).current = false;
            mutants.push(Mutant::of("deleted, the version is left", name, &[Code::NameDeleted], change));
        }
    }
    mutants
}

/// Every file written over, in a store that keeps versions; and the true one gone, so that the other is the oldest.
pub(super) fn versions(archive: &Archive) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    let names: Vec<&String> = archive.image.files.keys().collect();
    for name in &names {
        let sort = Sort::of(name);
        let before = names.iter().rev().find(|other| Sort::of(other) == sort && other.as_str() < name.as_str());
        let earlier = before.map(|before| archive.image.bytes(before));
        let own = archive.image.bytes(name);
        let shorter = own.slice(..own.len() / 2);
        let all = [Some(own), Some(shorter), Some(bytes::Bytes::new()), Some("forged".into()), earlier];
        for bytes in all.into_iter().flatten() {
            let (named, forged) = (name.to_string(), bytes.clone());
            let over = move |image: &mut Image| image.write_over(&named, forged);
            mutants.push(Mutant::of("written over", name, &[Code::ExtraVersion], over));
            let same = bytes == archive.image.bytes(name);
            if same && matches!(sort, Sort::Log | Sort::Archive) {
                // The same bytes; and nothing tells of the version of these.
                continue;
            }
            let named = name.to_string();
            let over = move |image: &mut Image| {
                image.write_over(&named, bytes);
                image.files.get_mut(&named).unwrap().remove(0);
            };
            mutants.push(Mutant::of("written over, the true one gone", name, changed(sort), over).anywhere());
        }
    }
    mutants
}

/// Files that no archive needs, which are told and do no harm; and files under names that an archive does need.
pub(super) fn additions(archive: &Archive) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    let mut add = |kind, like: &str, to: String, code| {
        assert!(!archive.image.files.contains_key(&to), "{to} is there");
        let (name, bytes) = (like.to_owned(), archive.image.bytes(like));
        let change = move |image: &mut Image| image.add(&to, bytes, &name);
        mutants.push(Mutant { sort: Some(Sort::of(like)), ..Mutant::whole(kind, like, &[code], change) });
    };
    for name in archive.image.files.keys() {
        let other = match Sort::of(name) {
            Sort::Archive => None,
            Sort::Log => None,
            Sort::Manifest => Some(name.replacen("/000000000", "/000000007", 1)),
            Sort::Capture | Sort::Settings => Some(name.replacen("/2027", "/2026", 1)),
        };
        if let Some(other) = other {
            add("copied to another name", name, other, Code::Orphan);
        }
        let upper = name.replacen("vault.azure.net", "VAULT.azure.net", 1);
        let strays = [format!("{name}.bak"), name.to_uppercase(), format!("copy of/{name}"), upper];
        for stray in strays.into_iter().filter(|stray| stray != name) {
            add("copied beside", name, stray, Code::ForeignFile);
        }
    }
    for host in ["prod.vault.azure.net", "dev.vault.azure.net"] {
        let log = archive.log(host);
        let Some(head) = log.last() else { continue };
        for name in &log {
            add("replayed", name, later(head, 1), Code::LogChain);
            add("replayed", name, later(head, 5), Code::LogGap);
        }
    }
    mutants
}

/// How every file, and the store, could be protected less.
pub(super) fn protection(archive: &Archive) -> Vec<Mutant> {
    let now = archive.house.standard().now;
    let mut mutants = Vec::new();
    let mut guard = |what: &str, codes: &[Code], guard: Guard| {
        mutants.push(Mutant::whole("protection lowered", what, codes, move |image| image.guard = guard));
    };
    let whole = &archive.image.guard;
    guard("the store's policy is gone", &[Code::Unprotected], Guard { lock: Some(Mode::None), ..whole.clone() });
    guard("the store protects nothing", &[Code::Unprotected], Guard::NONE);
    guard("the store's policy is unlocked", &[Code::Unlocked], Guard { lock: Some(Mode::Unlocked), ..whole.clone() });
    guard("the store's policy cannot be read", &[Code::LockUnknown], Guard { lock: None, ..whole.clone() });
    if whole.worm == Worm::ContainerLevel {
        let short = [Code::ProtectionShort, Code::RecordShort];
        for days in [0, 1, 89] {
            let what = format!("the store's policy is for {days} days");
            guard(&what, &short, Guard { days: Some(days), ..whole.clone() });
        }
        guard("the store does not say for how long", &short, Guard { days: None, ..whole.clone() });
        return mutants;
    }
    let needed = needed(archive);
    for (name, versions) in &archive.image.files {
        let whole = versions[0].protection;
        let ends = |days| Protection { until: Some(now + TimeDelta::days(days)), ..whole };
        let mut lowered = vec![
            (Code::Unprotected, Protection::default()),
            (Code::Unprotected, Protection { mode: Mode::None, ..whole }),
            (Code::Unlocked, Protection { mode: Mode::Unlocked, ..whole }),
        ];
        let short = [ends(89), ends(1), ends(0), ends(-1), ends(-400), Protection { until: None, ..whole }];
        match Sort::of(name) {
            _ if needed.contains(name) => lowered.extend(short.map(|protection| (Code::ProtectionShort, protection))),
            // Captures that only older snapshots need may run out.
            Sort::Capture | Sort::Settings => {}
            Sort::Archive | Sort::Log | Sort::Manifest => {
                lowered.extend(short.map(|protection| (Code::RecordShort, protection)));
            }
        }
        for (code, protection) in lowered {
            let named = name.clone();
            let change = move |image: &mut Image| image.oldest(&named).protection = protection;
            mutants.push(Mutant::of("protection lowered", name, &[code], change));
        }
    }
    mutants
}

/// What the newest snapshots need.
fn needed(archive: &Archive) -> Vec<String> {
    let mut needed = Vec::new();
    for host in archive.seen.heads.keys() {
        let log = archive.log(host);
        let manifest = archive.names(Sort::Manifest).into_iter().rfind(|name| name.contains(host.as_str())).unwrap();
        let Manifest { header, lines } =
            Manifest::decode(&archive.image.bytes(&manifest), &Limits::default()).unwrap().manifest;
        let captures = header.settings.into_iter().chain(lines.into_iter().filter_map(|line| line.capture));
        needed.extend(captures.map(|capture| capture.path.to_string()));
        needed.extend([manifest, log.last().unwrap().clone()]);
    }
    needed
}
