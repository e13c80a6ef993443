//! Why a file of an archive is refused: a stable name for machines, and a sentence that says where.

use std::fmt;

use crate::{error, tlog};

/// Why something is refused. The names are stable: vectors and findings carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Longer than format 1 allows.
    TooLarge,
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON.
    NotJson,
    /// A JSON object names a member twice.
    DuplicateMember,
    /// A number is not an integer from -(2^53 - 1) to 2^53 - 1.
    BadNumber,
    /// JSON is nested too deeply.
    TooDeep,
    /// A member is missing, or of the wrong type.
    BadMember,
    /// Not the one spelling of the value, or a member is unknown.
    NotCanonical,
    /// Of a format that this program does not know.
    UnknownFormat,
    /// A path that format 1 does not give to this file.
    BadPath,
    /// A log file is not an entry, an empty line and a note.
    LogLayout,
    /// An entry's sequence number, previous digest, frontier or references do not fit each other.
    BadChain,
    /// The checkpoint belongs to another log.
    WrongOrigin,
    /// The checkpoint's size is not the entry's sequence number.
    WrongSize,
    /// The checkpoint's root is not that of the tree with this entry.
    WrongRoot,
    /// The signed note in a log file is refused, or a proof is.
    Log(tlog::Fault),
    /// Not one whole zstd frame of declared size.
    BadZstd,
    /// A manifest is not a header and object lines, each ended by a newline.
    ManifestLayout,
    /// Manifest lines are not in order.
    Unordered,
    /// A manifest has two lines for one object.
    DuplicateObject,
    /// A manifest line's salt is not 16 bytes in hexadecimal.
    BadSalt,
    /// A manifest line says things that exclude each other, or too little.
    BadLine,
    /// A manifest's counts or status are not those of its lines.
    BadCounts,
    /// A tar does not consist of exactly its known files in their one form.
    BadTar,
    /// `backup.blob` is not the file that `metadata.json` describes.
    WrongDigest,
}

impl Fault {
    /// The fault's stable name.
    pub fn code(self) -> &'static str {
        match self {
            Fault::TooLarge => "too-large",
            Fault::NotUtf8 => "not-utf8",
            Fault::NotJson => "not-json",
            Fault::DuplicateMember => "duplicate-member",
            Fault::BadNumber => "bad-number",
            Fault::TooDeep => "too-deep",
            Fault::BadMember => "bad-member",
            Fault::NotCanonical => "not-canonical",
            Fault::UnknownFormat => "unknown-format",
            Fault::BadPath => "bad-path",
            Fault::LogLayout => "log-layout",
            Fault::BadChain => "bad-chain",
            Fault::WrongOrigin => "wrong-origin",
            Fault::WrongSize => "wrong-size",
            Fault::WrongRoot => "wrong-root",
            Fault::Log(fault) => fault.code(),
            Fault::BadZstd => "bad-zstd",
            Fault::ManifestLayout => "manifest-layout",
            Fault::Unordered => "unordered",
            Fault::DuplicateObject => "duplicate-object",
            Fault::BadSalt => "bad-salt",
            Fault::BadLine => "bad-line",
            Fault::BadCounts => "bad-counts",
            Fault::BadTar => "bad-tar",
            Fault::WrongDigest => "wrong-digest",
        }
    }
}

/// A fault and where it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    /// Why, for machines.
    pub fault: Fault,
    /// Why and where, in a sentence: lower case, no full stop. Never quotes a blob or what Azure said of an object.
    pub detail: String,
}

impl Error {
    /// A fault.
    pub fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Error { fault, detail: error::bounded(detail.into()) }
    }

    /// Says where: `place: detail`.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.detail = error::bounded(format!("{place}: {}", self.detail));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fault.code(), self.detail)
    }
}

impl std::error::Error for Error {}

impl From<tlog::Error> for Error {
    fn from(error: tlog::Error) -> Self {
        Error { fault: Fault::Log(error.fault), detail: error.detail }
    }
}

impl From<Error> for error::Error {
    fn from(error: Error) -> Self {
        match error.fault {
            Fault::UnknownFormat => error::Error::new(error::Kind::Usage, error.detail)
                .hint("a newer akv-archiver wrote this; use that or a later one"),
            _ => error::Error::new(error::Kind::Tampered, error.detail),
        }
    }
}
