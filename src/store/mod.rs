//! A store: files that are created once and never changed. The traits are the capabilities that jobs are given; the
//! doors behind them are a directory, memory (for tests) and, in `azure`, a blob container.
//!
//! There is no delete, no overwrite and no way to shorten protection, by design: what a job cannot say, it cannot do by mistake. A store knows paths
//! and bytes, and nothing of what they mean.

pub mod directory;
pub mod memory;
mod protect;
mod seat;
mod whole;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;

use crate::error;
use crate::model::{Mode, StorePath};
pub use protect::{MOST_DAYS, Protect, check_until};
pub use seat::{Seat, Site};
pub use whole::{MOST_EXTENSIONS, MOST_TAGS, Period, Reach, Whole};

/// Reading a store.
#[async_trait]
pub trait Read: Send + Sync {
    /// The store in words, for messages: `container https://…` or `directory /mnt/archive`.
    fn describe(&self) -> String;

    /// One file whole, at most `limit` bytes of it ([`Condition::TooLarge`] beyond).
    ///
    /// `version` is one that [`Read::list`] or [`Append::create`] gave; without one, the store's current version.
    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, Error>;

    /// Every file and every version of it whose path begins with `prefix`, ordered by path, the oldest version first.
    ///
    /// A name in the store that is no [`StorePath`] is an item too ([`Listed::path`] is the error's text): whoever
    /// verifies must see it.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, Error>>;

    /// How the store as a whole protects what is put into it.
    async fn guard(&self) -> Result<Guard, Error>;
}

/// Adding to a store.
#[async_trait]
pub trait Append: Read {
    /// Creates a file with all its bytes, durably, or fails with [`Condition::Exists`] if the path is taken.
    ///
    /// An answer that never came is resolved by reading back before this returns: `Ok` means that these bytes are
    /// there, `Exists` that other bytes are. Any other error leaves it open.
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, Error>;
}

/// What a successful [`Append::create`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The version that was made, where the store has versions.
    pub version: Option<String>,
}

/// One version of one file, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The path; or the name as found, where it is no path of ours.
    pub path: Result<StorePath, String>,
    /// The version, where the store has versions.
    pub version: Option<String>,
    /// Whether a plain read returns this version.
    pub current: bool,
    /// Size in bytes.
    pub size: u64,
    /// MD5 of the content as the store keeps it; absent where the store keeps none.
    pub md5: Option<[u8; 16]>,
    /// When the version was created, by the store's clock.
    pub created: DateTime<Utc>,
    /// How this version is protected.
    pub protection: Protection,
}

/// How one stored version is protected against change and deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Whether a policy applies and can be taken back.
    pub mode: Mode,
    /// Until when. `None` with a mode other than [`Mode::None`] means that the store did not say.
    pub until: Option<DateTime<Utc>>,
    /// Whether a legal hold applies, which ends only when a person lifts it.
    pub legal_hold: bool,
}

/// How a store as a whole protects what is put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Which mechanism.
    pub worm: Worm,
    /// The default policy's lock; `None` if it may not be read (it is visible through Azure Resource Manager only).
    pub lock: Option<Mode>,
    /// Days of the default policy, if known.
    pub days: Option<u32>,
    /// Whether a legal hold covers the whole store.
    pub legal_hold: bool,
}

impl Guard {
    /// A store that protects nothing.
    pub const NONE: Guard = Guard { worm: Worm::None, lock: None, days: None, legal_hold: false };

    /// Whether what is put into the store is protected at all. A container that is made for version-level policies and
    /// has no default policy protects nothing: each version would have to bring its own.
    pub fn protects(&self) -> bool {
        self.legal_hold || (self.worm != Worm::None && self.lock != Some(Mode::None))
    }

    /// How a listed version is protected, all told. A version-level policy shows in the listing; a container-level one
    /// does not, and reaches from the version's creation. A lock that may not be read does not count.
    pub fn covers(&self, listed: &Listed) -> Protection {
        let legal_hold = self.legal_hold || listed.protection.legal_hold;
        match self.worm {
            Worm::ContainerLevel => Protection {
                mode: self.lock.unwrap_or(Mode::Unlocked),
                until: self.days.and_then(|days| listed.created.checked_add_signed(TimeDelta::days(i64::from(days)))),
                legal_hold,
            },
            Worm::VersionLevel | Worm::None => Protection { legal_hold, ..listed.protection },
        }
    }
}

/// Azure's two mechanisms for write-once storage, and none (`azure.md` §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worm {
    /// No protection: a plain container or a directory.
    None,
    /// A policy on the container: names cannot be overwritten.
    ContainerLevel,
    /// A policy on each version: an overwrite makes a new version, the old one stays.
    VersionLevel,
}

/// Why a store refused or failed, as a condition that a caller can branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Nothing at that path or version; or no such container or directory.
    NotFound,
    /// The path is taken; by other bytes, or by the same ones from another attempt.
    Exists,
    /// A permission is missing.
    Denied,
    /// The store's own rules, or their absence, forbid it, whoever asks.
    Refused,
    /// It is no longer what the caller saw.
    Changed,
    /// A server's certificate is not trusted.
    Untrusted,
    /// Throttled, unreachable or failing after retries.
    Unavailable,
    /// The disk or a quota is full.
    Full,
    /// More bytes than the caller allows.
    TooLarge,
    /// The store answered something that makes no sense.
    Malformed,
    /// Anything else that the local system reports.
    Io,
}

/// A store's failure: condition, sentence, hint.
#[derive(Clone)]
pub struct Error {
    /// What a caller can branch on.
    pub condition: Condition,
    /// What happened, lower case, with the path or address.
    pub message: String,
    /// What would help.
    pub hint: Option<String>,
}

impl Error {
    /// A failure.
    pub fn new(condition: Condition, message: impl Into<String>) -> Self {
        Error { condition, message: message.into(), hint: None }
    }

    /// Adds the fix.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.condition, self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for error::Error {
    fn from(error: Error) -> Self {
        let kind = match error.condition {
            Condition::NotFound => error::Kind::NotFound,
            Condition::Exists => error::Kind::Conflict,
            Condition::Denied => error::Kind::Denied,
            Condition::Refused => error::Kind::Refused,
            Condition::Changed => error::Kind::Conflict,
            Condition::Untrusted => error::Kind::Refused,
            Condition::Unavailable => error::Kind::Unavailable,
            Condition::TooLarge => error::Kind::Tampered,
            Condition::Malformed => error::Kind::Unavailable,
            Condition::Full | Condition::Io => error::Kind::Unavailable,
        };
        let plain = error::Error::new(kind, error.message);
        match error.hint {
            Some(hint) => plain.hint(hint),
            None => plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protection_that_ends_beyond_the_calendar_has_no_end_that_can_be_told() {
        let guard =
            Guard { worm: Worm::ContainerLevel, lock: Some(Mode::Locked), days: Some(u32::MAX), legal_hold: false };
        let listed = Listed {
            path: Ok(StorePath::parse("archive.json").unwrap()),
            version: None,
            current: true,
            size: 1,
            md5: None,
            created: DateTime::<Utc>::MAX_UTC,
            protection: Protection::default(),
        };
        assert_eq!(guard.covers(&listed).until, None);
        assert_eq!(Guard { days: Some(1), ..guard }.covers(&listed).until, None);
    }
}
