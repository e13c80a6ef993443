//! Damage to what is in one file: bytes flipped, cut off, added, and exchanged for those of other files.

use akv_archiver::verify::Code;
use bytes::Bytes;

use super::archives::{Archive, Sort};
use super::mutant::{Level, Mutant, changed};
use super::regions::regions;

/// At most this many bytes of each region of a file, evenly: the first and the last among them.
pub(super) type Density = fn(&str) -> usize;

/// Every byte region of every file, one bit at a time.
pub(super) fn flips(archive: &Archive, density: Density) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for (name, versions) in &archive.image.files {
        let (sort, bytes) = (Sort::of(name), &versions[0].bytes);
        for region in regions(sort, bytes) {
            let codes: &[Code] = match (sort, region.note) {
                (Sort::Log, true) => &[Code::LogSignature],
                (Sort::Log, false) => &[Code::LogMalformed, Code::LogRoot, Code::LogChain],
                _ => changed(sort),
            };
            let (length, most) = (region.bytes.len(), density(name));
            let picked =
                (0..length.min(most)).map(|n| if length <= most { n } else { n * (length - 1) / (most - 1).max(1) });
            for at in picked.map(|n| region.bytes.start + n) {
                let mut forged = bytes.to_vec();
                forged[at] = match forged[at] {
                    // Another digit, another letter: what a careful hand would write.
                    digit @ (b'0'..=b'8' | b'a'..=b'e') if at % 2 == 0 => digit + 1,
                    byte => byte ^ 1 << (at % 8),
                };
                mutants.extend(replaced(archive, "flipped", name, forged.into(), codes, at));
            }
        }
    }
    mutants
}

/// Every file cut off at every border between regions, emptied, and made longer.
pub(super) fn lengths(archive: &Archive) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for (name, versions) in &archive.image.files {
        let (sort, bytes) = (Sort::of(name), &versions[0].bytes);
        let codes = changed(sort);
        for region in regions(sort, bytes) {
            let kept = bytes.slice(..region.bytes.start);
            let kind = if kept.is_empty() { "emptied" } else { "truncated" };
            mutants.extend(replaced(archive, kind, name, kept, codes, region.bytes.start));
        }
        mutants.extend(replaced(archive, "truncated", name, bytes.slice(..bytes.len() - 1), codes, "by its last byte"));
        let longer: [(&str, Vec<u8>); 5] = [
            ("by a newline", b"\n".to_vec()),
            ("by a zero", vec![0]),
            ("by itself", bytes.to_vec()),
            ("by a line", b"\xe2\x80\x94 akv-archiver AAAA\n".to_vec()),
            ("without measure", vec![b' '; 5000]),
        ];
        for (what, more) in longer {
            let longer = [bytes, more.as_slice()].concat();
            mutants.extend(replaced(archive, "extended", name, longer.into(), codes, what));
            let before = [more.as_slice(), bytes].concat();
            let what = format!("{what}, in front");
            mutants.extend(replaced(archive, "extended", name, before.into(), codes, what));
        }
    }
    mutants
}

/// The bytes of every file in the place of every other, and both exchanged.
pub(super) fn swaps(archive: &Archive, kinds: bool) -> Vec<Mutant> {
    let names: Vec<&String> = archive.image.files.keys().collect();
    let mut mutants = Vec::new();
    for (number, one) in names.iter().enumerate() {
        for other in names.iter().skip(number + 1) {
            let (mine, theirs) = (archive.image.bytes(one), archive.image.bytes(other));
            let same = Sort::of(one) == Sort::of(other);
            if mine == theirs || !(same || kinds) {
                continue;
            }
            let kind = if same { "swapped with its kind" } else { "swapped with another kind" };
            let codes = [changed(Sort::of(one)), changed(Sort::of(other))].concat();
            let names = (one.to_string(), other.to_string());
            let swap = Mutant::of(kind, one, &codes, move |image| {
                image.put(&names.0, theirs);
                image.put(&names.1, mine);
            });
            // The one may hide the other: without archive.json nothing is looked at.
            mutants.push(swap.at(other).anywhere());
        }
    }
    mutants
}

/// Other bytes in the place of a file's: once so that the listing shows it, and once behind its back.
fn replaced(
    archive: &Archive,
    kind: &'static str,
    name: &str,
    bytes: Bytes,
    codes: &[Code],
    at: impl std::fmt::Display,
) -> Vec<Mutant> {
    let sort = Sort::of(name);
    let named = name.to_owned();
    let forged = bytes.clone();
    let shown = Mutant::of(kind, name, codes, move |image| image.put(&named, forged)).at(&at);
    let shown = if sort == Sort::Archive { shown.anywhere() } else { shown };
    let blind = born(archive, name, &bytes);
    let shown = if blind { with_report(shown) } else { shown };
    let hides = matches!(sort, Sort::Capture | Sort::Settings) && archive.image.files[name][0].md5.is_some();
    let named = name.to_owned();
    let hidden = hides.then(|| {
        Mutant::of(kind, name, codes, move |image| image.put_unseen(&named, bytes))
            .at(format!("{at}, behind the listing's back"))
            .seen_by(Level::Read)
    });
    [shown].into_iter().chain(hidden).collect()
}

/// Whether the bytes are an `archive.json` of this archive that only tells of another day of birth: no log says which.
fn born(archive: &Archive, name: &str, bytes: &[u8]) -> bool {
    let decode = akv_archiver::format::archive::Archive::decode;
    Sort::of(name) == Sort::Archive && decode(bytes).is_ok_and(|found| found.archive_id == archive.seen.archive_id)
}

fn with_report(mutant: Mutant) -> Mutant {
    Mutant { codes: vec![Code::ArchiveChanged], ..mutant.seen_by(Level::Since) }
}
