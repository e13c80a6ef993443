//! What went wrong, said so that a caller can act on it: a [`Kind`] for machines, a sentence and a hint for people.
//!
//! This file names no other module. Doors (`vault`, `store`) have errors of their own, with the conditions that a
//! caller branches on; they become an [`Error`] where nobody is left to branch. Findings, gaps and refusals are not
//! errors: they are values in the modules that produce them.

use std::fmt;

/// What a machine should do about an error. Each kind is one exit code (`docs/EXIT-CODES.md`); codes never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A defect of this program. Exit 1.
    Internal,
    /// The command line or the configuration is wrong; nothing was sent. Exit 2.
    Usage,
    /// Done in part; what is missing is recorded. Exit 3.
    Partial,
    /// The archive, snapshot or object does not exist. Exit 10.
    NotFound,
    /// A name is taken, or another writer won. Exit 11.
    Conflict,
    /// A permission is missing; the message names it. Exit 12.
    Denied,
    /// Throttled or unreachable after retries: the only kind to retry blindly. Exit 13.
    Unavailable,
    /// No identity at hand opens the capture. Exit 14.
    NoIdentity,
    /// Bytes, a signature or history do not hold. Exit 20.
    Tampered,
    /// Intact, but unlocked, stale or protected too briefly. Exit 21.
    Noncompliant,
    /// A safety rule forbids it. Exit 22.
    Refused,
    /// Stopped by a signal; what was done is committed. Exit 130.
    Interrupted,
}

impl Kind {
    /// Every kind, in the order of their exit codes.
    pub const ALL: [Kind; 12] = [
        Kind::Internal,
        Kind::Usage,
        Kind::Partial,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Denied,
        Kind::Unavailable,
        Kind::NoIdentity,
        Kind::Tampered,
        Kind::Noncompliant,
        Kind::Refused,
        Kind::Interrupted,
    ];

    /// The process exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Internal => 1,
            Kind::Usage => 2,
            Kind::Partial => 3,
            Kind::NotFound => 10,
            Kind::Conflict => 11,
            Kind::Denied => 12,
            Kind::Unavailable => 13,
            Kind::NoIdentity => 14,
            Kind::Tampered => 20,
            Kind::Noncompliant => 21,
            Kind::Refused => 22,
            Kind::Interrupted => 130,
        }
    }

    /// The kind's name in JSON output.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Internal => "internal",
            Kind::Usage => "usage",
            Kind::Partial => "partial",
            Kind::NotFound => "not-found",
            Kind::Conflict => "conflict",
            Kind::Denied => "denied",
            Kind::Unavailable => "unavailable",
            Kind::NoIdentity => "no-identity",
            Kind::Tampered => "tampered",
            Kind::Noncompliant => "noncompliant",
            Kind::Refused => "refused",
            Kind::Interrupted => "interrupted",
        }
    }
}

/// An error at the end of its way: what could not be done, why, and what would help.
///
/// The text reads outside-in (`couldn't restore key "a": the name is held …`), is lower case and has no full stop.
/// It never holds a secret.
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

/// The usual result of everything above the doors.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None }
    }

    /// A wrong command line or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Error::new(Kind::Usage, message)
    }

    /// A defect of this program.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(Kind::Internal, message)
    }

    /// Adds the fix, shown on a line of its own. The innermost hint wins: it knows most.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert(hint.into());
        self
    }

    /// Says what was being done: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What a machine should do.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence, without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The fix, if one is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {}

/// Says what was being done when a call failed.
pub trait Context<T> {
    /// Turns the failure into an [`Error`] whose text begins with `context`.
    fn context(self, context: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, context: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(context))
    }
}

/// Longer than any sentence of ours, in characters: what is longer quotes what somebody made long.
const DETAIL_MAX: usize = 500;

/// A sentence that may quote what was read: without control characters, and cut where it gets too long.
pub fn bounded(detail: String) -> String {
    match detail.char_indices().nth(DETAIL_MAX) {
        None if !detail.contains(char::is_control) => detail,
        cut => {
            let end = cut.map_or(detail.len(), |(end, _)| end);
            let plain = detail.get(..end).unwrap_or_default().replace(char::is_control, " ");
            if cut.is_some() { plain + "…" } else { plain }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_code_and_a_name_of_its_own() {
        let codes: BTreeSet<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        let names: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
        assert_eq!(names.len(), Kind::ALL.len());
        assert!(!codes.contains(&0));
    }

    #[test]
    fn context_reads_outside_in_and_the_innermost_hint_wins() {
        let error = Error::usage("no such file").hint("create it").context("couldn't read \"a\"").hint("give up");
        assert_eq!(error.to_string(), "couldn't read \"a\": no such file");
        assert_eq!(error.hint_text(), Some("create it"));
    }
}
