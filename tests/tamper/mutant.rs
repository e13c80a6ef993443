//! One thing that was done to an archive, and what the verifier must say of it.

use akv_archiver::verify::Code;

use super::archives::{Archive, Sort};
use super::image::Image;

/// How deep one must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Without any flag.
    Default,
    /// With `--read-captures`.
    Read,
    /// With `--open`.
    Open,
    /// With `--since-report`.
    Since,
}

impl Level {
    pub(super) const ALL: [Level; 4] = [Level::Default, Level::Read, Level::Open, Level::Since];
}

type Change = Box<dyn FnOnce(&mut Image) + Send>;

/// A change to an archive.
pub(super) struct Mutant {
    /// What was done.
    pub(super) kind: &'static str,
    /// To which kind of file; to none where it is the archive as a whole.
    pub(super) sort: Option<Sort>,
    /// To which file, and where in it.
    pub(super) what: String,
    pub(super) change: Change,
    /// The least depth that must see it.
    pub(super) level: Level,
    /// One of these must be found. Where it is worse than a note, nothing else may be found that is.
    pub(super) codes: Vec<Code>,
    /// Where, if it is known to be one place.
    pub(super) path: Option<String>,
}

impl Mutant {
    /// Something done to one file.
    pub(super) fn of(
        kind: &'static str,
        name: &str,
        codes: &[Code],
        change: impl FnOnce(&mut Image) + Send + 'static,
    ) -> Mutant {
        Mutant {
            kind,
            sort: Some(Sort::of(name)),
            what: name.to_owned(),
            change: Box::new(change),
            level: Level::Default,
            codes: codes.to_vec(),
            path: Some(name.to_owned()),
        }
    }

    /// Something done to more than one file.
    pub(super) fn whole(
        kind: &'static str,
        what: impl Into<String>,
        codes: &[Code],
        change: impl FnOnce(&mut Image) + Send + 'static,
    ) -> Mutant {
        Mutant { sort: None, path: None, ..Mutant::of(kind, &what.into(), codes, change) }
    }

    /// Where exactly.
    pub(super) fn at(self, place: impl std::fmt::Display) -> Mutant {
        Mutant { what: format!("{} {place}", self.what), ..self }
    }

    /// It takes this to see it.
    pub(super) fn seen_by(self, level: Level) -> Mutant {
        Mutant { level, ..self }
    }

    /// The finding may be at another place.
    pub(super) fn anywhere(self) -> Mutant {
        Mutant { path: None, ..self }
    }
}

/// What may be found of a file whose bytes are others than they were.
pub(super) fn changed(sort: Sort) -> &'static [Code] {
    use Code::{ArchiveMalformed, CaptureMismatch, LogChain, LogMalformed, LogRoot, LogSignature, ManifestMismatch};
    match sort {
        // Of another archive, by its id: then it is the logs that do not belong to it.
        Sort::Archive => &[ArchiveMalformed, LogChain],
        Sort::Log => &[LogMalformed, LogSignature, LogRoot, LogChain],
        Sort::Manifest => &[ManifestMismatch],
        Sort::Capture | Sort::Settings => &[CaptureMismatch],
    }
}

/// What must be found of a file that is not there.
pub(super) fn gone(archive: &Archive, name: &str) -> (Level, Code) {
    let log = |name: &str| archive.image.files.keys().any(|other| Sort::of(other) == Sort::Log && *other == next(name));
    match Sort::of(name) {
        Sort::Archive => (Level::Default, Code::ArchiveMalformed),
        Sort::Log if log(name) => (Level::Default, Code::LogGap),
        Sort::Log => (Level::Since, Code::LogRollback),
        Sort::Manifest => (Level::Default, Code::ManifestMissing),
        Sort::Capture | Sort::Settings => (Level::Default, Code::CaptureMissing),
    }
}

/// The name of the log file `by` places behind another.
pub(super) fn later(name: &str, by: u64) -> String {
    let (folder, number) = name.rsplit_once('/').unwrap();
    format!("{folder}/{:010}", number.parse::<u64>().unwrap() + by)
}

fn next(name: &str) -> String {
    later(name, 1)
}
