//! A request as the operations see it: who asks, for what, when; its headers read with Azure's errors. Holds no state.

use super::errors::{Code, Refusal};
use super::state::Tick;
use crate::emulator::wire::{Caller, Request};
use chrono::{DateTime, NaiveDate, Utc};
use hyper::Method;
use std::collections::BTreeMap;

/// The prefix of all actions below.
const CONTAINERS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/";

/// What a principal may be allowed to do (platform.md §3.3). The first three are actions, the others data actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    ContainerRead,
    ContainerWrite,
    ContainerDelete,
    BlobRead,
    /// Create only; never over an existing name.
    BlobAdd,
    BlobWrite,
    BlobDelete,
    VersionDelete,
    /// Policies and holds of single blobs. azure-sdk-for-net#27243: Data Contributor lacks it, Data Owner has it.
    SuperUser,
}

impl Action {
    fn name(self) -> String {
        let rest = match self {
            Action::ContainerRead => "read",
            Action::ContainerWrite => "write",
            Action::ContainerDelete => "delete",
            Action::BlobRead => "blobs/read",
            Action::BlobAdd => "blobs/add/action",
            Action::BlobWrite => "blobs/write",
            Action::BlobDelete => "blobs/delete",
            Action::VersionDelete => "blobs/deleteBlobVersion/action",
            Action::SuperUser => "blobs/immutableStorage/runAsSuperUser/action",
        };
        format!("{CONTAINERS}{rest}")
    }
}

/// The oldest service version that takes bearer tokens, and the oldest that knows immutability headers (DOC).
const OLDEST: NaiveDate = date(2017, 11, 9);
const OLDEST_WORM: NaiveDate = date(2020, 6, 12);

const fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => NaiveDate::MIN,
    }
}

/// Headers that would change what an operation means and that the emulator does not model. Ignoring them, as Azurite
/// ignores immutability headers, would make tests pass for nothing.
const NOT_EMULATED: [&str; 7] = [
    "x-ms-copy-source",
    "x-ms-encryption-key",
    "x-ms-encryption-scope",
    "x-ms-if-tags",
    "x-ms-lease-id",
    "x-ms-structured-body",
    "x-ms-tags",
];

/// The most bytes of metadata, names and values (DOC).
const MOST_METADATA: usize = 8 * 1024;

/// A request that has passed authentication.
pub(super) struct Ask<'a> {
    pub(super) request: &'a Request,
    pub(super) caller: &'a Caller,
    pub(super) now: DateTime<Utc>,
    /// This request's own stamp.
    pub(super) tick: Tick,
    /// The account's name.
    pub(super) account: &'a str,
}

impl<'a> Ask<'a> {
    /// Whether the caller may.
    pub(super) fn may(&self, action: Action) -> bool {
        self.caller.may(&action.name())
    }

    /// Refuses a caller who may not.
    pub(super) fn require(&self, action: Action) -> Result<(), Refusal> {
        if self.may(action) { Ok(()) } else { Err(Code::AUTHORIZATION_PERMISSION_MISMATCH.into()) }
    }

    /// Whether this is a HEAD.
    pub(super) fn is_head(&self) -> bool {
        self.request.method == Method::HEAD
    }

    /// A header; one that is no text is refused.
    pub(super) fn header(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.request.headers.get(name) {
            None => Ok(None),
            Some(value) => value.to_str().map(Some).map_err(|_| Refusal::bad_header(name, "")),
        }
    }

    /// A header as an owned value; an empty one counts as absent.
    pub(super) fn owned(&self, name: &str) -> Result<Option<String>, Refusal> {
        Ok(self.header(name)?.filter(|value| !value.is_empty()).map(str::to_owned))
    }

    /// The version asked for, if one is.
    pub(super) fn version_id(&self) -> Result<Option<Tick>, Refusal> {
        if self.request.query("snapshot").is_some() {
            return Err(not_emulated("snapshot"));
        }
        let Some(text) = self.request.query("versionid") else { return Ok(None) };
        match Tick::from_version_id(text) {
            Some(tick) => Ok(Some(tick)),
            None => Err(Refusal::bad_query("versionid", text)),
        }
    }

    /// The metadata in the headers. HTTP/1 servers fold names to lower case, so their case is lost here.
    pub(super) fn metadata(&self) -> Result<BTreeMap<String, String>, Refusal> {
        let mut metadata = BTreeMap::new();
        let mut size = 0;
        for (header, value) in &self.request.headers {
            let Some(name) = header.as_str().strip_prefix("x-ms-meta-") else { continue };
            let value = value.to_str().map_err(|_| Refusal::from(Code::INVALID_METADATA))?;
            let identifier = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if name.is_empty() || !identifier || name.starts_with(|first: char| first.is_ascii_digit()) {
                return Err(Code::INVALID_METADATA.into());
            }
            size += name.len() + value.len();
            if metadata.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(Code::INVALID_METADATA.into());
            }
        }
        if size > MOST_METADATA { Err(Code::METADATA_TOO_LARGE.into()) } else { Ok(metadata) }
    }

    /// Refuses what the emulator cannot take: a missing or impossible `x-ms-version`, and headers that it would have to
    /// ignore. Service versions newer than this code are taken: clients pin theirs, and old ones never change.
    pub(super) fn check_headers(&self) -> Result<(), Refusal> {
        const VERSION: &str = "x-ms-version";
        let Some(text) = self.header(VERSION)? else { return Err(Refusal::no_header(VERSION)) };
        let bad = || Refusal::bad_header(VERSION, text);
        let version = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| bad())?;
        let worm = self.request.headers.keys().any(|name| name.as_str().starts_with("x-ms-immutability-policy"));
        if text.len() != 10 || version < OLDEST || (worm && version < OLDEST_WORM) {
            return Err(bad());
        }
        match NOT_EMULATED.iter().find(|name| self.request.headers.contains_key(**name)) {
            Some(name) => Err(not_emulated(name)),
            None => Ok(()),
        }
    }
}

/// The honest answer to what is beyond the emulator.
pub(super) fn not_emulated(what: &str) -> Refusal {
    Refusal::from(Code::NOT_EMULATED).with("Reason", what)
}
