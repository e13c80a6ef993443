//! A plan, as a value and as a file: what will be done about each object, why, what it costs, and the state that it was
//! made from. Decides nothing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::slot::Seen;
use crate::format::manifest::CaptureRef;
use crate::model::{Digest, Object, VaultUri};

/// A plan, as written to a plan file. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// `akv-archiver/plan/1`.
    pub format: String,
    /// The plan's id.
    pub plan: Uuid,
    /// When the slots were looked at.
    pub created: DateTime<Utc>,
    /// The archive that the captures are in, or that was asked about captures in files and records their restore; none
    /// where captures came from files and no archive was there.
    pub archive_id: Option<Uuid>,
    /// The vault that the captures were taken from.
    pub source: VaultUri,
    /// The vault that will be changed.
    pub target: VaultUri,
    /// Whether everything that the snapshot has was asked for.
    pub whole: bool,
    /// What the operator allowed.
    pub allowed: Allowed,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// Objects that were asked for with all others and have no capture anywhere.
    #[serde(default)]
    pub missing: Vec<String>,
    /// What a person should know of how the captures were found.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Plan {
    /// The value of [`Plan::format`].
    pub const FORMAT: &str = "akv-archiver/plan/1";

    /// The steps that change something.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.action.changes())
    }

    /// Whether any step was refused.
    pub fn refused(&self) -> bool {
        self.steps.iter().any(|step| step.action == Action::Refused)
    }
}

/// What the operator allowed when the plan was made, beyond what loses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// To purge soft-deleted objects that hold the names of others.
    pub purge: bool,
    /// To recover a soft-deleted object though it is older than the capture, or another one.
    pub recover_other: bool,
    /// Why an HSM key may be restored into a vault a second time; the log records it.
    pub single_restore_override: Option<String>,
}

/// What to do about one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `KIND/NAME`.
    #[serde(with = "object_text")]
    pub object: Object,
    /// What will be done.
    pub action: Action,
    /// The code of a refusal; none for every other action.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refusal: Option<Refusal>,
    /// Why.
    pub reason: String,
    /// What it costs that cannot be had back, such as how long the name will be held; empty where it costs nothing.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub cost: String,
    /// What could be done instead.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub alternatives: Vec<String>,
    /// Where the capture is.
    pub from: Origin,
    /// Whether the key material lives in an HSM.
    pub hsm: bool,
    /// The slot as it was when the plan was made.
    pub slot: Seen,
}

/// Where a capture is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Origin {
    /// In the archive, named by a snapshot of the source vault.
    Archive {
        /// The snapshot's sequence number.
        snapshot: u64,
        /// The capture.
        capture: Box<CaptureRef>,
    },
    /// In a file that somebody brought, without an archive that vouches for it.
    File {
        /// The file's path, as it was given.
        path: String,
        /// SHA-256 of the sealed file, so that the file that is applied is the one that was planned with.
        sha256: Digest,
    },
}

/// What is done about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Create it from its backup.
    Restore,
    /// Recover the soft-deleted object.
    Recover,
    /// Purge the soft-deleted object that holds the name, wait until the name is free, and create it from its backup.
    PurgeAndRestore,
    /// It is there already.
    Nothing,
    /// The name is in transition: look again later.
    Wait,
    /// Azure would refuse it, or it would lose something.
    Refused,
}

impl Action {
    /// The action's name in plans and logs.
    pub fn name(self) -> &'static str {
        match self {
            Action::Restore => "restore",
            Action::Recover => "recover",
            Action::PurgeAndRestore => "purge-and-restore",
            Action::Nothing => "nothing",
            Action::Wait => "wait",
            Action::Refused => "refused",
        }
    }

    /// Whether it changes the vault.
    pub fn changes(self) -> bool {
        matches!(self, Action::Restore | Action::Recover | Action::PurgeAndRestore)
    }

    /// Whether it creates an object from a backup, which needs the capture opened.
    pub fn creates(self) -> bool {
        matches!(self, Action::Restore | Action::PurgeAndRestore)
    }
}

/// Why an object is refused. The names are a contract (`docs/JSON.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Another object, or another history of it, is live under the name.
    LiveOther,
    /// A certificate owns the name.
    OwnedByCertificate,
    /// A certificate needs the names of its key and secret too, and one is taken.
    PartTaken,
    /// A certificate of the same plan takes the name.
    CertificateComes,
    /// A soft-deleted object that is older or another one holds the name, and could be purged.
    HeldPurgeable,
    /// The same, and purge protection keeps it until its date.
    HeldProtected,
    /// The two vaults are in different clouds.
    OtherCloud,
    /// The backup belongs to another subscription.
    OtherSubscription,
    /// The backup belongs to another geography.
    OtherGeography,
    /// Where one of the vaults is could not be read.
    PlaceUnknown,
    /// An HSM key does not fit into a standard vault.
    StandardVault,
    /// By the log, an HSM key was restored into this name before.
    RestoredBefore,
    /// Somebody else's intent on this name is open.
    IntentOpen,
}

mod object_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::Object;

    pub(super) fn serialize<S: Serializer>(object: &Object, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(object)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        let text = String::deserialize(deserializer)?;
        Object::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not KIND/NAME")))
    }
}
