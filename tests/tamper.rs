//! The tamper corpus: everything that can be done to an archive's files is done to it, one thing at a time, and the verifier
//! must report each with the right code and leave with exit code 20 or 21. What it cannot see at its default level it must
//! see at the level that the table names. Of an untouched archive it must find nothing at any level.

mod archives;
mod content;
mod forged;
mod history;
mod image;
mod mutant;
mod place;
mod regions;
mod tally;

use akv_archiver::progress::Silent;
use akv_archiver::verify::{Code, Depth, Finding, Report, Severity, Status, Subset, inspect};

use archives::{Archive, Place, Sort};
use image::Image;
use mutant::{Level, Mutant};
use tally::{Outcome, Tally};

/// Threads that verify.
const THREADS: usize = 2;

/// What the verifier says of an image at a level.
fn judge(archive: &Archive, image: &Image, level: Level) -> Result<Report, String> {
    let open = |sealed: &[u8]| archive.house.identities.open(sealed);
    let depth = match level {
        Level::Default => Depth::default(),
        Level::Read => Depth { read: Some(Subset::ALL), ..Depth::default() },
        Level::Open => Depth { read: Some(Subset::ALL), open: Some(&open), ..Depth::default() },
        Level::Since => Depth { since: Some(&archive.seen), ..Depth::default() },
    };
    let standard = archive.house.standard();
    // An image answers at once: nothing is waited for.
    let verified = futures::executor::block_on(inspect(image, &standard, &depth, &Silent));
    verified.map_err(|error| error.to_string())
}

/// What is found of untouched archives here: a directory protects nothing, and what the vault in memory gives for a backup
/// is none of Azure's.
const BASELINE: [Code; 2] = [Code::StoreUnprotected, Code::BackupMalformed];

/// Whether the exit code would be 20 or 21, for what is not found of the untouched archive too.
fn alarming(report: &Report) -> bool {
    let worse = |finding: &Finding| finding.severity > Severity::Note && !BASELINE.contains(&finding.code);
    report.status != Status::Ok && report.findings.iter().any(worse)
}

/// What may be found beside what must be: what follows from damage of this kind, elsewhere.
fn follows(mutant: &Mutant, code: Code) -> bool {
    use Code::{
        CaptureMismatch, CaptureMissing, CoverageGap, LogChain, LogGap, ManifestMismatch, ManifestMissing, NoSnapshot,
    };
    let captures = [CaptureMismatch, CaptureMissing, NoSnapshot, CoverageGap];
    let history = [LogChain, LogGap, ManifestMismatch, ManifestMissing];
    let log = mutant.codes.iter().any(|code| code.name().starts_with("log-"));
    BASELINE.contains(&code)
        || (log && (history.contains(&code) || captures.contains(&code)))
        || mutant.codes.contains(&code)
}

/// What became of one mutant; an error tells what the verifier missed.
fn try_one(archive: &Archive, mutant: Mutant) -> Option<(Mutant, Outcome)> {
    let mut image = archive.image.clone();
    let Mutant { kind, sort, what, change, level, codes, path } = mutant;
    change(&mut image);
    // What changed nothing is no mutant.
    if image == archive.image {
        return None;
    }
    let mutant = Mutant { kind, sort, what, change: Box::new(|_| ()), level, codes, path };
    let mut first = None;
    for level in [Level::Default, mutant.level] {
        let report = match judge(archive, &image, level) {
            Ok(report) => report,
            Err(error) => return Some((mutant, Outcome::Missed(format!("{level:?}: {error}")))),
        };
        if alarming(&report) {
            first = first.or(Some(level));
        }
        if level == mutant.level {
            let outcome = check(&mutant, &report, first);
            return Some((mutant, outcome));
        }
    }
    None
}

fn check(mutant: &Mutant, report: &Report, first: Option<Level>) -> Outcome {
    let right = |finding: &&Finding| {
        mutant.codes.contains(&finding.code) && mutant.path.as_ref().is_none_or(|path| *path == finding.path)
    };
    let Some(found) = report.findings.iter().find(right) else {
        let codes: Vec<_> = report.findings.iter().map(|finding| (finding.code.name(), &finding.path)).collect();
        return Outcome::Missed(format!("found {codes:?}"));
    };
    let note = mutant.codes.iter().all(|code| code.severity() == Severity::Note);
    let strange = |finding: &&Finding| finding.severity > Severity::Note && !follows(mutant, finding.code);
    let other = report.findings.iter().find(strange);
    match (first, other) {
        (_, Some(other)) => Outcome::Missed(format!("another finding beside {}: {other:?}", found.code.name())),
        (None, None) if note => Outcome::Noted(found.code),
        (Some(_), None) if note => Outcome::Missed("more than a note".to_owned()),
        (None, None) => Outcome::Missed("exit code 0".to_owned()),
        (Some(level), None) => Outcome::Found(found.code, level),
    }
}

/// Tries all of them, and adds them to the tally.
fn try_all(archive: &Archive, mutants: Vec<Mutant>, tally: &mut Tally) {
    for level in Level::ALL {
        let report = judge(archive, &archive.image, level).unwrap();
        let found: Vec<_> = report.findings.iter().filter(|finding| !BASELINE.contains(&finding.code)).collect();
        assert_eq!(found, [] as [&Finding; 0], "untouched, {level:?}");
    }
    let mut parts: Vec<Vec<Mutant>> = (0..THREADS).map(|_| Vec::new()).collect();
    mutants.into_iter().enumerate().for_each(|(number, mutant)| parts[number % THREADS].push(mutant));
    let outcomes = std::thread::scope(|scope| {
        let work =
            |part: Vec<Mutant>| scope.spawn(move || part.into_iter().filter_map(|one| try_one(archive, one)).collect());
        let threads: Vec<_> = parts.into_iter().map(work).collect();
        threads.into_iter().flat_map(|thread| -> Vec<(Mutant, Outcome)> { thread.join().unwrap() }).collect::<Vec<_>>()
    });
    outcomes.into_iter().for_each(|(mutant, outcome)| tally.add(archive.place, mutant, outcome));
}

/// Whether it is one of the two entries of a restore.
fn restored(name: &str) -> bool {
    name.ends_with("prod.vault.azure.net/log/0000000004") || name.ends_with("prod.vault.azure.net/log/0000000005")
}

#[tokio::test]
async fn whatever_is_done_to_an_archive_is_reported() {
    let mut tally = Tally::default();
    let whole = Archive::make(Place::Versions, 3).await;
    let again = Archive::make(Place::Versions, 3).await;
    let stranger = Archive::make(Place::Versions, 5).await;
    let small = whole.only("dev.vault.azure.net").await;

    // Some bytes of each region of what is small; and of what is not in it, the first byte of each.
    let mut mutants = content::flips(&small, |name| match Sort::of(name) {
        Sort::Archive => 40,
        Sort::Manifest => 48,
        _ => 8,
    });
    mutants.extend(content::lengths(&small));
    mutants.extend(content::swaps(&small, true));
    try_all(&small, mutants, &mut tally);

    let mut mutants = content::flips(&whole, |name| usize::from(name.contains("/manifests/") || restored(name)));
    mutants.extend(content::swaps(&whole, false));
    mutants.extend(place::deletions(&whole));
    mutants.extend(place::versions(&whole));
    mutants.extend(place::additions(&whole));
    mutants.extend(place::protection(&whole));
    mutants.extend(history::reordered(&whole));
    mutants.extend(history::rolled_back(&whole));
    mutants.extend(history::forked(&whole));
    mutants.extend(history::mixed(&whole, "of another life", &again));
    mutants.extend(history::mixed(&whole, "of another archive", &stranger));
    mutants.extend(forged::captures(&whole).await);
    try_all(&whole, mutants, &mut tally);

    for place in [Place::Container, Place::Directory] {
        let small = Archive::make(place, 3).await.only("dev.vault.azure.net").await;
        let mut mutants = content::flips(&small, |_| 1);
        mutants.extend(content::swaps(&small, true));
        mutants.extend(place::deletions(&small));
        mutants.extend(place::additions(&small));
        mutants.extend(history::reordered(&small));
        mutants.extend(history::rolled_back(&small));
        mutants.extend(history::forked(&small));
        if place == Place::Container {
            mutants.extend(place::protection(&small));
        }
        try_all(&small, mutants, &mut tally);
    }
    println!("{tally}");
    assert!(tally.missed().is_empty(), "{:#?}", tally.missed());
    assert!(tally.found() >= 5000, "only {} mutants", tally.found());
}

#[tokio::test]
async fn a_witness_may_add_its_signature_to_the_head_of_a_log() {
    use akv_archiver::tlog::Signer;
    let archive = Archive::make(Place::Versions, 3).await;
    let mut image = archive.image.clone();
    let head = archive.log("dev.vault.azure.net").pop().unwrap();
    let bytes = image.bytes(&head).to_vec();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let note = text.split_once("\n\n").unwrap().1.split_once("\n\n").unwrap().0;
    let signed = Signer::from_seed("example.com/witness", &[1; 32]).unwrap().sign(&format!("{note}\n")).unwrap();
    let signature = signed.lines().last().unwrap();
    image.put(&head, [bytes.as_slice(), signature.as_bytes(), b"\n"].concat());
    assert_ne!(image, archive.image);
    for level in [Level::Default, Level::Read, Level::Since] {
        assert_eq!(judge(&archive, &image, level).unwrap().findings, [], "the format allows it");
    }
}
