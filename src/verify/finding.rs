//! Findings: values with stable codes. The codes are a contract: docs/FINDINGS.md lists them, and a test compares.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// How bad a finding is. Ordered, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing to do.
    Note,
    /// Intact, but not as protected or complete as it must be. Exit 21.
    Noncompliant,
    /// Bytes, a signature or history do not hold. Exit 20.
    Tampered,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $severity:ident;)+) => {
        /// What was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$variant),+];

            /// The code as it appears in JSON and in docs/FINDINGS.md. Never changed, never used for something else.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $code),+ }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity),+ }
            }
        }
    };
}

codes! {
    /// `archive.json` cannot be read as what it is.
    ArchiveMalformed = "archive-malformed", Tampered;
    /// `archive.json` is not the one that an earlier report saw.
    ArchiveChanged = "archive-changed", Tampered;
    /// A sequence number is missing from a log.
    LogGap = "log-gap", Tampered;
    /// A log file cannot be read as what it is.
    LogMalformed = "log-malformed", Tampered;
    /// A log file is not signed by a pinned key, or the signature is wrong.
    LogSignature = "log-signature", Tampered;
    /// A log entry does not follow from the one before it, or is another archive's or vault's.
    LogChain = "log-chain", Tampered;
    /// A signed root is not the root of the entries.
    LogRoot = "log-root", Tampered;
    /// A log ends before the head that an earlier report saw.
    LogRollback = "log-rollback", Tampered;
    /// A log is not a continuation of the one that an earlier report saw.
    LogFork = "log-fork", Tampered;
    /// A manifest that the log names is not there.
    ManifestMissing = "manifest-missing", Tampered;
    /// A manifest cannot be read as what it is.
    ManifestMalformed = "manifest-malformed", Tampered;
    /// A manifest is not the one that the log names: digest, size, root, counts or vault differ, or two entries name it.
    ManifestMismatch = "manifest-mismatch", Tampered;
    /// A capture that a manifest names is not there.
    CaptureMissing = "capture-missing", Tampered;
    /// A stored capture has another size, MD5, SHA-256 or version than its manifest says, or two manifests disagree.
    CaptureMismatch = "capture-mismatch", Tampered;
    /// A capture with the right digest is not what such a file must be.
    CaptureMalformed = "capture-malformed", Tampered;
    /// A capture with the right digest holds another object, another moment or another vault than its path says.
    CaptureMislabelled = "capture-mislabelled", Tampered;
    /// The backup in a capture is wrapped with another key than its manifest says.
    KidMismatch = "kid-mismatch", Tampered;
    /// A path has more than one version: somebody wrote over it. The oldest version is the archive.
    ExtraVersion = "extra-version", Tampered;
    /// A file was deleted, and a version of it is left, which is what readers use.
    NameDeleted = "name-deleted", Tampered;
    /// A file has no write-once protection, where that is required.
    Unprotected = "unprotected", Noncompliant;
    /// A file's protection, or the store's default policy, is not locked: its administrator can take it back.
    Unlocked = "unlocked", Noncompliant;
    /// Whether the store's default policy is locked could not be read.
    LockUnknown = "lock-unknown", Noncompliant;
    /// What the newest snapshot needs is not protected for long enough.
    ProtectionShort = "protection-short", Noncompliant;
    /// `archive.json`, a log entry or a manifest, which no snapshot renews, is not protected for long enough.
    RecordShort = "record-short", Noncompliant;
    /// The newest snapshot of a vault does not cover everything it saw.
    CoverageGap = "coverage-gap", Noncompliant;
    /// No snapshot was ever committed.
    NoSnapshot = "no-snapshot", Noncompliant;
    /// The newest complete snapshot of a vault is too old.
    SnapshotStale = "snapshot-stale", Noncompliant;
    /// No identity at hand opens a capture.
    CaptureUnreadable = "capture-unreadable", Noncompliant;
    /// The backup in a capture does not begin as Azure's do.
    BackupMalformed = "backup-malformed", Noncompliant;
    /// The vault has what the newest snapshot lacks, and has had it for longer than the policy allows.
    LiveOverdue = "live-overdue", Noncompliant;
    /// A capture or manifest that no log entry refers to, as a run leaves behind that was cut short.
    Orphan = "orphan", Note;
    /// A file that is no part of an archive.
    ForeignFile = "foreign-file", Note;
    /// A log entry is dated before the one it follows: a clock was wrong.
    ClockBackwards = "clock-backwards", Note;
    /// A log entry of a type that this program does not know; its place in the chain was checked.
    UnknownEntry = "unknown-entry", Note;
    /// The store protects nothing, and that is allowed by configuration.
    StoreUnprotected = "store-unprotected", Note;
    /// The vault has what the newest snapshot lacks, for no longer than the policy allows.
    LiveAhead = "live-ahead", Note;
    /// The newest snapshot has an object that is not in the vault any more.
    LiveGone = "live-gone", Note;
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One thing that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// Where: a path in the store, or empty for the archive as a whole.
    pub path: String,
    /// One sentence.
    pub detail: String,
}

/// How many findings of one code are kept, each with its path: somebody who deletes a million files must not exhaust
/// the memory of whoever finds out.
pub const KEPT: u64 = 10_000;

/// A growing list of findings.
#[derive(Debug, Default)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<Code, u64>,
}

impl Findings {
    /// Adds one.
    pub fn add(&mut self, code: Code, path: impl Into<String>, detail: impl Into<String>) {
        let count = self.counts.entry(code).or_default();
        *count += 1;
        if *count <= KEPT {
            let (path, detail) = (path.into(), detail.into());
            self.kept.push(Finding { code, severity: code.severity(), path, detail });
        }
    }

    /// How many there are of each code, those that are not kept among them.
    pub fn counts(&self) -> &BTreeMap<Code, u64> {
        &self.counts
    }

    /// How many there are of a severity.
    pub fn of(&self, severity: Severity) -> u64 {
        self.counts.iter().filter(|(code, _)| code.severity() == severity).map(|(_, count)| count).sum()
    }

    /// Those that are kept, the worst first, then by code and path.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.kept
            .sort_by(|a, b| b.severity.cmp(&a.severity).then(a.code.cmp(&b.code)).then_with(|| a.path.cmp(&b.path)));
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn findings_without_end_are_counted_and_not_kept() {
        let mut findings = Findings::default();
        (0..KEPT + 5).for_each(|number| findings.add(Code::CaptureMissing, number.to_string(), "gone"));
        findings.add(Code::Orphan, "a", "b");
        assert_eq!(findings.counts(), &BTreeMap::from([(Code::CaptureMissing, KEPT + 5), (Code::Orphan, 1)]));
        assert_eq!((findings.of(Severity::Tampered), findings.of(Severity::Noncompliant)), (KEPT + 5, 0));
        let sorted = findings.sorted();
        assert_eq!((sorted.len() as u64, sorted[0].code), (KEPT + 1, Code::CaptureMissing));
    }

    #[test]
    fn codes_are_unique_and_the_document_lists_just_these() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        let document = include_str!("../../docs/FINDINGS.md").split("\n## After a restore\n").next().unwrap();
        let listed: BTreeSet<(&str, &str)> = document
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| line.split_once("` | "))
            .filter_map(|(code, rest)| Some((code, rest.split(" |").next()?)))
            .collect();
        let known: BTreeSet<(&str, &str)> = Code::ALL
            .iter()
            .map(|code| {
                let severity = match code.severity() {
                    Severity::Note => "note",
                    Severity::Noncompliant => "noncompliant",
                    Severity::Tampered => "tampered",
                };
                (code.name(), severity)
            })
            .collect();
        assert_eq!(listed, known);
    }
}
