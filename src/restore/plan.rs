//! A plan, as a value and as a file: what will be done about each object, why, what it costs, and the state that it was
//! made from. Decides nothing, and trusts no file: what it reads must agree with itself.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::slot::{Seen, slots_of};
use crate::error::{Error, Result, bounded};
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
    /// Objects that would have been asked for with all others, and that the snapshot no longer names: the archive has
    /// captures of them, and this plan does not bring them back.
    #[serde(default)]
    pub gone: Vec<String>,
    /// What a person should know of how the captures were found.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The vault's settings, of which issuers and contacts are to be written too; none where that was not asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub settings: Option<SettingsFrom>,
}

/// Where the settings of a vault are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsFrom {
    /// The snapshot that names them.
    pub snapshot: u64,
    /// The sealed settings.
    pub capture: Box<CaptureRef>,
}

/// What every version of a plan has.
#[derive(Deserialize)]
struct Head {
    format: String,
}

impl Plan {
    /// The value of [`Plan::format`].
    pub const FORMAT: &str = "akv-archiver/plan/1";

    /// The longest plan file, in bytes. A step takes one or two kilobytes; a hundred thousand objects fit.
    pub const FILE_MAX: u64 = 256 * 1024 * 1024;

    /// Whether bytes are a plan, of whichever version: what a newer one may replace. A plan is made again in a moment,
    /// whoever made it; anything else may be dear.
    pub fn is_one(bytes: &[u8]) -> bool {
        serde_json::from_slice::<Head>(bytes).is_ok_and(|head| head.format.starts_with("akv-archiver/plan/"))
    }

    /// Reads a plan file. Refuses with `Usage` what is no plan, is one of another version, holds a field or a code that
    /// this program does not know, or contradicts itself: a plan goes through hands, and editors.
    pub fn parse(bytes: &[u8]) -> Result<Plan> {
        if bytes.len() as u64 > Plan::FILE_MAX {
            return Err(Error::usage(format!("the plan is longer than {} bytes", Plan::FILE_MAX)));
        }
        let no_plan = |error: serde_json::Error| Error::usage(bounded(format!("it is no plan: {error}")));
        let head: Head = serde_json::from_slice(bytes).map_err(no_plan)?;
        if head.format != Plan::FORMAT {
            let message = format!("it is a plan of format {:?}, not {:?}", head.format, Plan::FORMAT);
            return Err(Error::usage(bounded(message)).hint("make a new plan with this version"));
        }
        let plan: Plan = serde_json::from_slice(bytes).map_err(no_plan)?;
        match plan.contradiction() {
            Some(what) => Err(Error::usage(format!("the plan contradicts itself: {what}")).hint("make a new plan")),
            None => Ok(plan),
        }
    }

    /// What no plan of ours would say.
    fn contradiction(&self) -> Option<String> {
        let mut taken = BTreeSet::new();
        for Step { object, action, refusal, .. } in &self.steps {
            if (*action == Action::Refused) != refusal.is_some() {
                return Some(format!("{object} has a refusal's code or is refused, not both"));
            }
            if *action == Action::PurgeAndRestore && !self.allowed.purge {
                return Some(format!("{object} would be purged, which it does not allow"));
            }
            if action.changes()
                && let Some(slot) = slots_of(object).into_iter().find(|slot| !taken.insert(slot.clone()))
            {
                return Some(format!("two steps take the name of {slot}"));
            }
        }
        None
    }

    /// The steps that change something.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.action.changes())
    }

    /// Whether objects that might be wanted do not come back with it.
    pub fn lacks(&self) -> bool {
        !self.missing.is_empty() || !self.gone.is_empty()
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
    /// All actions.
    pub const ALL: [Action; 6] =
        [Action::Restore, Action::Recover, Action::PurgeAndRestore, Action::Nothing, Action::Wait, Action::Refused];

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

impl Refusal {
    /// Whether another vault might do.
    pub fn of_place(self) -> bool {
        matches!(
            self,
            Refusal::OtherCloud
                | Refusal::OtherSubscription
                | Refusal::OtherGeography
                | Refusal::PlaceUnknown
                | Refusal::StandardVault
        )
    }
}

macro_rules! refusals {
    ($($(#[$text:meta])* $variant:ident = $name:literal,)*) => {
        /// Why an object is refused. The names are a contract: `docs/RESTORE.md` lists them, and a test compares.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Refusal {
            $($(#[$text])* #[serde(rename = $name)] $variant,)*
        }

        impl Refusal {
            /// All refusals.
            pub const ALL: &[Refusal] = &[$(Refusal::$variant),*];

            /// The code in plans. Never changed, never used for something else.
            pub fn name(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $name,)*
                }
            }
        }
    };
}

refusals! {
    /// Another object, or another history of it, is live under the name.
    LiveOther = "live-other",
    /// A certificate owns the name.
    OwnedByCertificate = "owned-by-certificate",
    /// A certificate needs the names of its key and secret too, and one is taken.
    PartTaken = "part-taken",
    /// A certificate of the same plan takes the name.
    CertificateComes = "certificate-comes",
    /// Another capture of the same object comes before it in the same plan.
    AskedTwice = "asked-twice",
    /// A soft-deleted object that is older or another one holds the name, and could be purged.
    HeldPurgeable = "held-purgeable",
    /// The same, and purge protection keeps it until its date.
    HeldProtected = "held-protected",
    /// The two vaults are in different clouds.
    OtherCloud = "other-cloud",
    /// The backup belongs to another subscription.
    OtherSubscription = "other-subscription",
    /// The backup belongs to another geography.
    OtherGeography = "other-geography",
    /// Where one of the vaults is could not be found out.
    PlaceUnknown = "place-unknown",
    /// An HSM key does not fit into a standard vault.
    StandardVault = "standard-vault",
    /// By the log, an HSM key was restored into this name before.
    RestoredBefore = "restored-before",
    /// An intent on this name is open.
    IntentOpen = "intent-open",
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The example of `docs/JSON.md`: what is documented is what is read.
    fn example() -> Value {
        let document = include_str!("../../docs/JSON.md");
        let examples = document.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let mut plans = examples.filter(|example| example.contains(Plan::FORMAT));
        serde_json::from_str(plans.next().expect("docs/JSON.md shows no plan")).unwrap()
    }

    fn parse(plan: &Value) -> Result<Plan> {
        Plan::parse(&serde_json::to_vec(plan).unwrap())
    }

    #[test]
    fn the_documented_plan_is_read_and_written_the_same() {
        let plan = parse(&example()).unwrap();
        assert_eq!(serde_json::to_value(&plan).unwrap(), example());
        assert!(plan.changes().next().is_some() && plan.refused(), "it shows a change and a refusal");
    }

    #[test]
    fn what_a_plan_does_not_know_is_refused() {
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut plan = example();
            change(&mut plan);
            parse(&plan).unwrap_err()
        };
        let new = changed(&|plan| plan["format"] = json!("akv-archiver/plan/2"));
        assert!(new.to_string().contains("plan/2") && new.hint_text().is_some(), "{new}");
        changed(&|plan| plan["new"] = json!(1));
        changed(&|plan| plan["allowed"]["everything"] = json!(true));
        changed(&|plan| plan["steps"][0]["object"] = json!("tde-protector"));
        changed(&|plan| plan["steps"][0]["new"] = json!(1));
        changed(&|plan| plan["steps"][0]["action"] = json!("purge"));
        changed(&|plan| plan["steps"][0]["slot"]["new"] = json!(1));
        changed(&|plan| plan["steps"][1]["refusal"] = json!("no-idea"));
        changed(&|plan| plan["target"] = json!("https://prod.vault.azure.net/keys"));
        for junk in ["", "{}", "[]", "null", "{\"format\": 1}"] {
            assert!(Plan::parse(junk.as_bytes()).is_err(), "{junk}");
        }
    }

    #[test]
    fn a_plan_that_contradicts_itself_is_refused() {
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut plan = example();
            change(&mut plan);
            parse(&plan).unwrap_err().to_string()
        };
        let purge = changed(&|plan| plan["steps"][0]["action"] = json!("purge-and-restore"));
        assert!(purge.contains("does not allow"), "{purge}");
        changed(&|plan| plan["steps"][0]["refusal"] = json!("live-other"));
        changed(&|plan| plan["steps"][1]["action"] = json!("wait"));
        let twice = changed(&|plan| {
            let mut again = plan["steps"][0].clone();
            again["object"] = json!("certificate/TDE-protector");
            plan["steps"].as_array_mut().unwrap().push(again);
        });
        assert!(twice.contains("two steps take"), "{twice}");
    }

    #[test]
    fn codes_are_those_of_the_document() {
        let document = include_str!("../../docs/RESTORE.md");
        let column = |heading: &str| -> Vec<String> {
            let table = document.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
            let rows = table.take_while(|line| line.starts_with("| `"));
            rows.filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect()
        };
        assert_eq!(column("| action |"), Action::ALL.map(Action::name));
        assert_eq!(column("| code |"), Refusal::ALL.iter().map(|refusal| refusal.name()).collect::<Vec<_>>());
        for refusal in Refusal::ALL {
            assert_eq!(serde_json::to_value(refusal).unwrap(), json!(refusal.name()));
        }
        for action in Action::ALL {
            assert_eq!(serde_json::to_value(action).unwrap(), json!(action.name()));
        }
    }
}
