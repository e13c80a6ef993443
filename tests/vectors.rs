//! The vectors of format 1: one file, one failure, named. `vectors/generate` makes them from mutations of good files;
//! here they are compared with what is committed, and every committed file is run through the parser, which must
//! accept it or refuse it for exactly the reason it names.
//!
//! `AKV_ARCHIVER_REGENERATE_VECTORS=1 cargo test vectors` writes them anew; review the difference.

// Clippy's leave for tests covers test functions only, not what they share.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Once};

use akv_archiver::format::archive::Archive;
use akv_archiver::format::capture;
use akv_archiver::format::entry::LogFile;
use akv_archiver::format::manifest::{Limits, Manifest};
use akv_archiver::format::settings;
use akv_archiver::tlog::{Note, Verifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::sample::Index;

/// What a vector is put through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Archive,
    Capture,
    Log,
    Manifest,
    Note,
    Settings,
}

impl Subject {
    const ALL: [Subject; 6] =
        [Subject::Archive, Subject::Capture, Subject::Log, Subject::Manifest, Subject::Note, Subject::Settings];

    fn folder(self) -> &'static str {
        match self {
            Subject::Archive => "archive",
            Subject::Capture => "capture",
            Subject::Log => "log",
            Subject::Manifest => "manifest",
            Subject::Note => "note",
            Subject::Settings => "settings",
        }
    }

    /// `ok`, or the code of the fault.
    fn judge(self, bytes: &[u8], verifiers: &[Verifier]) -> &'static str {
        let result = match self {
            Subject::Archive => Archive::decode(bytes).map(drop),
            Subject::Capture => capture::unpack(bytes).map(drop),
            Subject::Settings => settings::unpack(bytes).map(drop),
            Subject::Log => LogFile::parse(bytes).and_then(|file| file.verify(verifiers)).map(drop),
            Subject::Manifest => Manifest::decode(bytes, &Limits::default()).map(drop),
            Subject::Note => Note::parse(bytes).and_then(|note| note.verify(verifiers).map(drop)).map_err(Into::into),
        };
        result.err().map_or("ok", |error| error.fault.code())
    }
}

/// One vector.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Vector {
    subject: Subject,
    name: String,
    expect: String,
    comment: String,
    verifiers: Vec<String>,
    bytes: Vec<u8>,
}

impl Vector {
    fn path(&self) -> PathBuf {
        folder().join(self.subject.folder()).join(format!("{}.txt", self.name))
    }

    /// A header of `name: value` lines, an empty line, the bytes: as they are if they are plain text, or in base64.
    fn text(&self) -> String {
        let plain = |text: &&str| text.chars().all(|c| c == '\n' || !c.is_control());
        let plain = std::str::from_utf8(&self.bytes).ok().filter(plain);
        let mut text = format!("expect: {}\ncomment: {}\n", self.expect, self.comment);
        self.verifiers.iter().for_each(|verifier| text.push_str(&format!("verifier: {verifier}\n")));
        match plain {
            Some(payload) => text.push_str(&format!("payload: text\n\n{payload}")),
            None => {
                text.push_str("payload: base64\n\n");
                for line in STANDARD.encode(&self.bytes).as_bytes().chunks(76) {
                    text.push_str(std::str::from_utf8(line).unwrap());
                    text.push('\n');
                }
            }
        }
        text
    }

    fn parse(subject: Subject, name: &str, text: &str) -> Self {
        let (header, payload) = text.split_once("\n\n").unwrap();
        let fields: Vec<(&str, &str)> = header.lines().map(|line| line.split_once(": ").unwrap()).collect();
        let all = |wanted: &str| {
            let matching = fields.iter().filter(|(name, _)| *name == wanted);
            matching.map(|(_, value)| (*value).to_owned()).collect::<Vec<String>>()
        };
        let one = |wanted: &str| all(wanted).pop().unwrap_or_else(|| panic!("{name}: no {wanted}"));
        let bytes = match one("payload").as_str() {
            "text" => payload.as_bytes().to_vec(),
            "base64" => STANDARD.decode(payload.replace('\n', "")).unwrap(),
            other => panic!("{name}: payload {other}"),
        };
        let (expect, comment, verifiers) = (one("expect"), one("comment"), all("verifier"));
        Vector { subject, name: name.to_owned(), expect, comment, verifiers, bytes }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn committed() -> BTreeMap<PathBuf, Vector> {
    static REGENERATED: Once = Once::new();
    REGENERATED.call_once(|| {
        if std::env::var_os("AKV_ARCHIVER_REGENERATE_VECTORS").is_some() {
            regenerate();
        }
    });
    let mut vectors = BTreeMap::new();
    for subject in Subject::ALL {
        for file in fs::read_dir(folder().join(subject.folder())).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let vector = Vector::parse(subject, &name, &fs::read_to_string(&path).unwrap());
            vectors.insert(path, vector);
        }
    }
    vectors
}

/// Every vector's folder, name and bytes: what fuzzing starts from.
pub(crate) fn payloads() -> Vec<(&'static str, String, Vec<u8>)> {
    committed().into_values().map(|vector| (vector.subject.folder(), vector.name, vector.bytes)).collect()
}

fn regenerate() {
    for subject in Subject::ALL {
        let folder = folder().join(subject.folder());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
    }
    generate::all().iter().for_each(|vector| fs::write(vector.path(), vector.text()).unwrap());
}

#[test]
fn every_vector_is_judged_as_it_says() {
    let vectors = committed();
    assert!(vectors.len() > 100, "{} vectors", vectors.len());
    let mut wrong = Vec::new();
    for (path, vector) in &vectors {
        let verifiers: Vec<Verifier> = vector.verifiers.iter().map(|text| Verifier::parse(text).unwrap()).collect();
        let verdict = vector.subject.judge(&vector.bytes, &verifiers);
        if verdict != vector.expect {
            wrong.push(format!("{}: {verdict}, not {}", path.display(), vector.expect));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

proptest! {
    #[test]
    fn no_damage_to_a_vector_makes_a_parser_panic(pick: Index, at: Index, byte: u8, cut: bool) {
        static VECTORS: LazyLock<Vec<Vector>> = LazyLock::new(|| committed().into_values().collect());
        let vector = pick.get(&VECTORS);
        let mut bytes = vector.bytes.clone();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(if cut { at } else { bytes.len() });
        }
        let verifiers: Vec<Verifier> = vector.verifiers.iter().map(|text| Verifier::parse(text).unwrap()).collect();
        for subject in Subject::ALL {
            let _ = subject.judge(&bytes, &verifiers);
        }
    }
}

#[test]
fn the_committed_vectors_are_those_that_the_generator_makes() {
    let all = generate::all();
    let count = all.len();
    let made: BTreeMap<PathBuf, Vector> = all.into_iter().map(|vector| (vector.path(), vector)).collect();
    assert_eq!(made.len(), count, "two vectors share a name");
    let committed = committed();
    assert_eq!(made.keys().collect::<Vec<_>>(), committed.keys().collect::<Vec<_>>());
    for (path, vector) in &made {
        assert_eq!(vector.text(), fs::read_to_string(path).unwrap(), "{}", path.display());
        assert_eq!(Some(vector), committed.get(path));
    }
}

#[test]
fn every_reason_is_described_and_has_a_vector() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let row = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let described: BTreeSet<String> = readme.lines().filter_map(row).collect();
    let used: BTreeSet<String> = committed().into_values().map(|vector| vector.expect).collect();
    assert_eq!(described, used);
}

#[test]
fn the_specification_shows_the_vectors() {
    let specification = fs::read_to_string(folder().join("../../docs/FORMAT.md")).unwrap();
    for example in generate::examples() {
        assert!(specification.contains(&example), "docs/FORMAT.md does not show\n{example}");
    }
}
