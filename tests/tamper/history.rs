//! Damage to what happened when: logs reordered, rolled back, written anew with the right key or a stranger's, and mixed with
//! those of other archives.

use std::collections::BTreeMap;

use akv_archiver::format::entry::{Event, LogFile};
use akv_archiver::tlog::Signer;
use akv_archiver::verify::Code;
use chrono::TimeDelta;

use super::archives::{Archive, Sort};
use super::image::Image;
use super::mutant::{Level, Mutant, changed, later};

/// The entries of every log in another order.
pub(super) fn reordered(archive: &Archive) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for host in archive.seen.heads.keys() {
        let log = archive.log(host);
        let mut order = |what: String, codes: &[Code], to: Vec<(String, String)>| {
            let change = move |image: &mut Image| {
                let taken: Vec<_> =
                    to.iter().map(|(from, to)| (to.clone(), image.files.remove(from).unwrap())).collect();
                image.files.extend(taken);
            };
            let whole = Mutant::whole("reordered", format!("{host} {what}"), codes, change);
            mutants.push(Mutant { sort: Some(Sort::Log), ..whole });
        };
        let places = log.len();
        let moved = |place: &dyn Fn(usize) -> usize| -> Vec<(String, String)> {
            (0..places).map(|n| (log[n].clone(), log[place(n)].clone())).collect()
        };
        order("backwards".into(), &[Code::LogChain], moved(&|n| places - 1 - n));
        for by in 1..places {
            order(format!("rotated by {by}"), &[Code::LogChain], moved(&|n| (n + by) % places));
        }
        for one in 0..places {
            for other in one + 1..places {
                let swapped = |n| {
                    if n == one {
                        other
                    } else if n == other {
                        one
                    } else {
                        n
                    }
                };
                order(format!("{one} for {other}"), &[Code::LogChain], moved(&swapped));
            }
            for by in 1..4 {
                let shifted = log[one..].iter().map(|name| (name.clone(), later(name, by))).collect();
                order(format!("from {one} on by {by} later"), &[Code::LogGap, Code::LogChain], shifted);
            }
        }
    }
    mutants
}

/// The newest entries of every log gone, with what they name and without; and whole logs. Only a report tells.
pub(super) fn rolled_back(archive: &Archive) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for host in archive.seen.heads.keys() {
        let log = archive.log(host);
        for kept in 0..log.len() {
            for files in [Sort::ALL.as_slice(), &[Sort::Log, Sort::Manifest], &[Sort::Log]] {
                let named = named_by(archive, host, kept);
                let keep = move |name: &str| named.contains(&name.to_owned()) || !files.contains(&Sort::of(name));
                let prefix = format!("vaults/{host}/");
                let change =
                    move |image: &mut Image| image.files.retain(|name, _| !name.starts_with(&prefix) || keep(name));
                let what = format!("{host} to {kept} entries, {files:?} gone");
                mutants.push(Mutant::whole("rolled back", what, &[Code::LogRollback], change).seen_by(Level::Since));
            }
        }
    }
    mutants
}

/// The files that the first entries of a log name, and their own.
fn named_by(archive: &Archive, host: &str, entries: usize) -> Vec<String> {
    use akv_archiver::format::manifest::{Limits, Manifest};
    let mut named = Vec::new();
    for name in archive.log(host).into_iter().take(entries) {
        let file = LogFile::parse(&archive.image.bytes(&name)).unwrap();
        if let Event::Snapshot(snapshot) = &file.entry().event {
            let bytes = archive.image.bytes(snapshot.manifest.as_str());
            let Manifest { header, lines } = Manifest::decode(&bytes, &Limits::default()).unwrap().manifest;
            let captures = header.settings.into_iter().chain(lines.into_iter().filter_map(|line| line.capture));
            named.extend(captures.map(|capture| capture.path.to_string()));
            named.push(snapshot.manifest.to_string());
        }
        named.push(name);
    }
    named
}

/// What somebody may write into an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    /// A second later.
    Later,
    /// Something happened that did not, or otherwise.
    Event,
    /// It never happened.
    Gone,
    /// It happened twice.
    Twice,
}

/// Every log written anew from every entry on, valid in itself: signed with the archive's own key, with a stranger's of the same
/// name, and with a stranger's of another name. And one entry alone, so that the rest does not follow.
pub(super) fn forked(archive: &Archive) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    let own = &archive.house.signer;
    let name = own.name();
    let stranger = Signer::from_seed(name, &[66; 32]).unwrap();
    let other = Signer::from_seed("akv-archiver/stranger", &[66; 32]).unwrap();
    for host in archive.seen.heads.keys() {
        let places = archive.log(host).len();
        for from in 0..places {
            for lie in [Lie::Later, Lie::Event, Lie::Gone, Lie::Twice] {
                for (signer, who) in [(own, "its own key"), (&stranger, "a stranger's key"), (&other, "another name")] {
                    let Some(forged) = rewritten(archive, host, from, lie, signer) else { continue };
                    // Whoever holds the signer may append: that is no other history.
                    if lie == Lie::Twice && from + 1 == places && who == "its own key" {
                        continue;
                    }
                    let what = format!("{host} from {from} on with {who}: {lie:?}");
                    let shorter = lie == Lie::Gone;
                    let mine = signer.name() == name && who == "its own key";
                    let log = archive.log(host);
                    let alone = forged.first_key_value().map(|(name, bytes)| (name.clone(), bytes.clone()));
                    let change = move |image: &mut Image| {
                        log.iter().skip(from).for_each(|name| drop(image.files.remove(name)));
                        for (name, bytes) in forged {
                            image.add(&name, bytes, "archive.json");
                        }
                    };
                    let (level, codes) = match (mine, shorter) {
                        (false, true) if from + 1 == places => (Level::Since, vec![Code::LogRollback]),
                        (false, _) => (Level::Default, vec![Code::LogSignature, Code::LogChain]),
                        (true, true) => (Level::Since, vec![Code::LogRollback]),
                        (true, false) => (Level::Since, vec![Code::LogFork, Code::ManifestMismatch]),
                    };
                    let whole = Mutant::whole("forked", what, &codes, change);
                    mutants.push(Mutant { sort: Some(Sort::Log), ..whole.seen_by(level) });
                    if let Some((name, bytes)) = alone.filter(|_| from + 1 < places && lie != Lie::Gone) {
                        let codes = [Code::LogChain, Code::LogSignature, Code::LogRoot, Code::ManifestMismatch];
                        let named = name.clone();
                        let change = move |image: &mut Image| image.put(&named, bytes);
                        mutants.push(
                            Mutant::of("forged alone", &name, &codes, change).at(format!("{who}: {lie:?}")).anywhere(),
                        );
                    }
                }
            }
        }
    }
    mutants
}

/// A log from an entry on, with a lie in it and everything after it following from it.
fn rewritten(
    archive: &Archive,
    host: &str,
    from: usize,
    lie: Lie,
    signer: &Signer,
) -> Option<BTreeMap<String, Vec<u8>>> {
    let log = archive.log(host);
    let parsed: Vec<LogFile> = log.iter().map(|name| LogFile::parse(&archive.image.bytes(name)).unwrap()).collect();
    let mut events: Vec<_> =
        parsed[from..].iter().map(|file| (file.entry().time, file.entry().event.clone())).collect();
    match lie {
        Lie::Later => events[0].0 += TimeDelta::seconds(1),
        Lie::Gone => drop(events.remove(0)),
        Lie::Twice => events.insert(0, events[0].clone()),
        Lie::Event => match &mut events[0].1 {
            Event::Snapshot(snapshot) => snapshot.started -= TimeDelta::seconds(1),
            Event::RestoreIntent(intent) => intent.operator.push('s'),
            Event::RestoreResult(result) => result.outcomes[0].detail.push('!'),
            _ => return None,
        },
    }
    let mut before = from.checked_sub(1).map(|before| parsed[before].clone());
    let mut forged = BTreeMap::new();
    for (number, (time, mut event)) in events.into_iter().enumerate() {
        if let Event::Snapshot(snapshot) = &mut event {
            snapshot.sequence = (from + number + 1) as u64;
        }
        let entry = match &before {
            Some(before) => before.successor(time, event).unwrap(),
            None => {
                let mut entry = parsed[0].entry().clone();
                (entry.time, entry.event) = (time, event);
                if entry.sequence != 1 { return None } else { entry }
            }
        };
        // What refers to what was left out cannot be written at all.
        let file = LogFile::build(entry, signer).ok()?;
        forged.insert(later(&log[0], (from + number) as u64), file.bytes());
        before = Some(file);
    }
    Some(forged)
}

/// Files of another archive, and of another life of this one, in the place of this one's; and its entries behind this one's.
pub(super) fn mixed(archive: &Archive, kind: &'static str, other: &Archive) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for name in archive.image.files.keys() {
        let sort = Sort::of(name);
        for theirs in other.names(sort) {
            let (named, bytes) = (name.clone(), other.image.bytes(&theirs));
            if bytes == archive.image.bytes(name) {
                continue;
            }
            let codes: &[Code] = match sort {
                Sort::Archive => &[Code::LogChain, Code::ArchiveMalformed],
                _ => changed(sort),
            };
            let head = sort == Sort::Log && archive.log(host(name)).last() == Some(name);
            // An entry of another life at the very end may follow from the one before it, where all before is the same.
            let codes = if head { [codes, &[Code::LogFork]].concat() } else { codes.to_vec() };
            let change = move |image: &mut Image| image.put(&named, bytes);
            mutants.push(Mutant::of(kind, name, &codes, change).at(&theirs).anywhere());
        }
    }
    for host in archive.seen.heads.keys() {
        let head = archive.log(host).pop().unwrap();
        for theirs in other.names(Sort::Log) {
            let (to, bytes) = (later(&head, 1), other.image.bytes(&theirs));
            let change = move |image: &mut Image| image.add(&to, bytes, "archive.json");
            let codes = [Code::LogChain, Code::LogSignature, Code::LogRoot];
            mutants.push(Mutant { sort: Some(Sort::Log), ..Mutant::whole(kind, &theirs, &codes, change) });
        }
    }
    mutants
}

fn host(name: &str) -> &str {
    name.split('/').nth(1).unwrap()
}
