//! Why a note, a checkpoint or a proof is refused: a stable name for machines and a sentence for people.

use std::fmt;

use crate::error::bounded;

/// Why something is refused. The names are stable: vectors and findings carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A note is longer than the limit, or has too many signatures.
    NoteTooLarge,
    /// A note is not UTF-8, or holds control characters.
    NoteNotText,
    /// A note has no text, no empty line before its signatures, or no final newline.
    NoteLayout,
    /// A signature line is not of the form that the specification gives.
    SignatureLine,
    /// A signature of a known key does not verify.
    BadSignature,
    /// No signature of a known key is there.
    NoKnownSignature,
    /// A signer's or verifier's text is malformed or its key id does not match.
    BadKey,
    /// A note's text is not a checkpoint.
    NotACheckpoint,
    /// A proof does not lead to the root.
    BadProof,
    /// A frontier has not as many hashes as its size has subtrees; an index or size is outside its tree.
    BadShape,
}

impl Fault {
    /// The fault's stable name.
    pub fn code(self) -> &'static str {
        match self {
            Fault::NoteTooLarge => "note-too-large",
            Fault::NoteNotText => "note-not-text",
            Fault::NoteLayout => "note-layout",
            Fault::SignatureLine => "signature-line",
            Fault::BadSignature => "bad-signature",
            Fault::NoKnownSignature => "no-known-signature",
            Fault::BadKey => "bad-key",
            Fault::NotACheckpoint => "not-a-checkpoint",
            Fault::BadProof => "bad-proof",
            Fault::BadShape => "bad-shape",
        }
    }
}

/// A fault and where it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    /// Why, for machines.
    pub fault: Fault,
    /// Why, in a sentence: lower case, no full stop.
    pub detail: String,
}

impl Error {
    /// A fault.
    pub fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Error { fault, detail: bounded(detail.into()) }
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
