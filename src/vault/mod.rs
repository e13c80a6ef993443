//! A vault: what can be read from it, and what can be put back. The traits are the capabilities that jobs are given: a
//! snapshot holds a [`Read`] and can therefore neither change the vault nor read a secret's value, for there is no call
//! for either. Answers are Azure's raw JSON, never models: models lose what they do not know.

mod discover;
mod gate;
mod governor;
pub mod memory;
mod rights;
mod setting;

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

pub use discover::{Discover, Sighting};
pub use gate::{Gate, Heard, Load, Outcome, Pass};
pub use governor::{Governor, Subscription};
pub use rights::Rights;
pub use setting::Setting;

use crate::error;
use crate::model::{Atlas, Kind, Name, Object, VaultFacts, VaultUri};

/// Reading a vault. There is deliberately no way to get a secret's value.
#[async_trait]
pub trait Read: Send + Sync {
    /// The vault's address.
    fn uri(&self) -> &VaultUri;

    /// The pages of a list, to its true end. Empty pages are normal and are yielded too; the stream ends only where the
    /// service says so, and fails on a link to another host or one that was followed before (`azure.md` §1.2).
    fn list(&self, what: Listing) -> BoxStream<'_, Result<Page, Error>>;

    /// One thing, whole.
    async fn get(&self, what: Item) -> Result<Answer, Error>;

    /// Azure's backup blob of an object, decoded: the bytes that `az keyvault … backup -f` writes.
    async fn backup(&self, object: &Object) -> Result<Backup, Error>;

    /// What has been asked so far, for reports.
    fn traffic(&self) -> Traffic;
}

/// Changing a vault: only what a restore needs.
#[async_trait]
pub trait Write: Read {
    /// Creates an object from a backup blob. `Conflict` does not say whether the name is live, deleted or in
    /// transition: look at the slot. `Rejected` for a blob of another geography or subscription, of an HSM key where the
    /// vault has no HSM, and for what is no blob of this kind.
    ///
    /// An answer that never came may hide a success: the caller compares what is there.
    async fn restore(&self, kind: Kind, blob: &[u8]) -> Result<Answer, Error>;

    /// Starts the recovery of a deleted object; it completes some time later, and until then the name looks free. `Live`
    /// where there is nothing to recover, `InTransition` while it is being deleted, purged or recovered, `Forbidden` for
    /// what a certificate owns.
    async fn recover(&self, object: &Object) -> Result<(), Error>;

    /// Purges a deleted object, which nothing brings back. Its name looks free at once, and stays taken for some time
    /// (`azure.md` §1.6). `NotFound` where nothing deleted holds the name; `Live` and `InTransition` as for
    /// [`Write::recover`]; `Forbidden` for what a certificate owns, and under purge protection.
    async fn purge(&self, object: &Object) -> Result<(), Error>;

    /// Writes what no backup carries, over what is there. `NotFound` for the policy of a key that is not live, `Rejected`
    /// for what the vault does not take.
    async fn write(&self, setting: Setting<'_>) -> Result<(), Error>;
}

/// What the management plane says of a vault.
#[async_trait]
pub trait Facts: Send + Sync {
    /// The vault's place, tier and settings. `Denied` where the identity may not ask.
    async fn facts(&self, vault: &VaultUri) -> Result<VaultFacts, Error>;

    /// All that it holds of the vault, in its own JSON. The vault's resource is read once.
    async fn describe(&self, vault: &VaultUri) -> Description;

    /// Which regions share a security world, as far as this subscription is told. Fails never: what may not be read is in
    /// the built-in table. Asked once and remembered.
    async fn atlas(&self, subscription: &str) -> Atlas;
}

/// What the management plane holds of a vault. Each part has a permission of its own, and may be denied on its own.
#[derive(Debug)]
pub struct Description {
    /// What this program understands of the resource.
    pub facts: Result<VaultFacts, Error>,
    /// The vault's resource: tier, network rules, access policies, private endpoints, tags.
    pub resource: Result<Box<RawValue>, Error>,
    /// The role assignments that hold for the vault: its own and those that it inherits.
    pub role_assignments: Result<Vec<Box<RawValue>>, Error>,
    /// Where the vault's logs go.
    pub diagnostic_settings: Result<Vec<Box<RawValue>>, Error>,
}

/// A list that a vault offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Every live object of a kind, each with the attributes of its current version.
    Live(Kind),
    /// Every soft-deleted object of a kind.
    Deleted(Kind),
    /// Every version of one object; empty where there is none. The order means nothing.
    Versions(Object),
    /// The certificate issuers: an id and a provider each.
    Issuers,
}

/// A thing that can be got whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A key's bundle with its public key: of one version, or the current one.
    Key(Name, Option<String>),
    /// A certificate's bundle with its policy and public part: of one version, or the current one.
    Certificate(Name, Option<String>),
    /// A deleted object.
    Deleted(Object),
    /// A key's rotation policy.
    RotationPolicy(Name),
    /// A certificate issuer by its name, which is no object's name. Its password is never shown.
    Issuer(String),
    /// Those who are told about certificates; `NotFound` where there is nobody.
    Contacts,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// The items as the service wrote them.
    pub items: Vec<Box<RawValue>>,
    /// What the response said beside its body.
    pub exchange: Exchange,
}

/// A raw JSON answer.
#[derive(Debug)]
pub struct Answer {
    /// The body as the service wrote it.
    pub body: Box<RawValue>,
    /// What the response said beside its body.
    pub exchange: Exchange,
}

/// A backup blob.
pub struct Backup {
    /// Azure's bytes, base64url-decoded. Sensitive: whoever may restore can make the object live again.
    pub blob: Zeroizing<Vec<u8>>,
    /// What the response said beside its body.
    pub exchange: Exchange,
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backup({} bytes)", self.blob.len())
    }
}

/// What a response said beside its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The service's clock (`Date`), whole seconds.
    pub date: Option<DateTime<Utc>>,
    /// How long the request that succeeded took, in milliseconds.
    pub took_ms: u64,
    /// `x-ms-keyvault-region`.
    pub region: Option<String>,
    /// `x-ms-keyvault-service-version`.
    pub service_version: Option<String>,
    /// `x-ms-request-id`.
    pub request_id: Option<String>,
    /// The api-version that was asked for.
    pub api_version: String,
}

/// Requests made through a door so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// HTTP requests sent, each retry and each authentication challenge counted.
    pub requests: u64,
    /// Of these, how many were answered 429.
    pub throttled: u64,
    /// How often something was asked again because the try before had failed, for whatever reason.
    pub retried: u64,
}

/// Why a vault refused or failed, as a condition that a caller can branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// No such object, version or deleted object.
    NotFound,
    /// The name is taken, in one of several ways that the answer does not tell.
    Conflict,
    /// The object is being deleted, purged or recovered; look again later (`ObjectIsBeing…`).
    InTransition,
    /// The name is held by a soft-deleted object (`ObjectIsDeletedButRecoverable`).
    SoftDeleted,
    /// The object is live, where a deleted one was expected (`RequestNotAllowedOnNonDeletedObject`).
    Live,
    /// A permission is missing.
    Denied,
    /// The firewall or private-link settings refuse this client (`ForbiddenByFirewall`).
    Firewall,
    /// The operation is forbidden for this object: managed by a certificate, purge protection, disabled.
    Forbidden,
    /// The vault's name does not resolve.
    Unresolved,
    /// A server's certificate is not trusted.
    Untrusted,
    /// The service refuses the request as malformed, such as a blob that it cannot read.
    Rejected,
    /// Throttled after retries.
    Throttled,
    /// Unreachable or failing after retries.
    Unavailable,
    /// The answer makes no sense: HTML, truncated JSON, a link to another host.
    Malformed,
}

impl Condition {
    /// The condition's stable name, used as the code of a gap.
    pub fn name(self) -> &'static str {
        match self {
            Condition::NotFound => "not-found",
            Condition::Conflict => "conflict",
            Condition::InTransition => "in-transition",
            Condition::SoftDeleted => "soft-deleted",
            Condition::Live => "live",
            Condition::Denied => "denied",
            Condition::Firewall => "firewall",
            Condition::Forbidden => "forbidden",
            Condition::Unresolved => "unresolved",
            Condition::Untrusted => "untrusted",
            Condition::Rejected => "rejected",
            Condition::Throttled => "throttled",
            Condition::Unavailable => "unavailable",
            Condition::Malformed => "malformed",
        }
    }
}

/// A vault's failure: condition, sentence, hint, and the service's own words.
#[derive(Clone)]
pub struct Error {
    /// What a caller can branch on.
    pub condition: Condition,
    /// What happened, lower case, with the object or address. Never holds a body.
    pub message: String,
    /// What would help.
    pub hint: Option<String>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The service's `error.code` and `innererror.code`.
    pub code: Option<String>,
}

impl Error {
    /// A failure.
    pub fn new(condition: Condition, message: impl Into<String>) -> Self {
        Error { condition, message: message.into(), hint: None, status: None, code: None }
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
        use error::Kind;
        let kind = match error.condition {
            Condition::NotFound | Condition::Unresolved => Kind::NotFound,
            Condition::Conflict | Condition::InTransition | Condition::SoftDeleted | Condition::Live => Kind::Conflict,
            Condition::Denied | Condition::Firewall => Kind::Denied,
            Condition::Forbidden | Condition::Rejected | Condition::Untrusted => Kind::Refused,
            Condition::Throttled | Condition::Unavailable | Condition::Malformed => Kind::Unavailable,
        };
        let plain = error::Error::new(kind, error.message);
        match error.hint {
            Some(hint) => plain.hint(hint),
            None => plain,
        }
    }
}
