//! The planner: a pure function of captures, slots and places. All refusals are found at once, each with what could be
//! done instead.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::slot::{Deleted, Seen, Slot};
use super::source::{Source, Versions};
use crate::format::manifest::CaptureRef;
use crate::model::{Geography, Kind, Object, VaultFacts, VaultUri};

/// A plan, as written to a plan file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// `akv-archiver/plan/1`.
    pub format: String,
    /// The plan's id.
    pub plan: Uuid,
    /// When the slots were looked at.
    pub created: DateTime<Utc>,
    /// The archive that the captures are in.
    pub archive_id: Uuid,
    /// The vault that the captures were taken from.
    pub source: VaultUri,
    /// The vault that will be changed.
    pub target: VaultUri,
    /// What to do, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The value of [`Plan::format`].
    pub const FORMAT: &str = "akv-archiver/plan/1";

    /// The steps that change something.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.action, Action::Restore | Action::Recover))
    }

    /// Whether any step was refused.
    pub fn refused(&self) -> bool {
        self.steps.iter().any(|step| step.action == Action::Refused)
    }
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
    /// Why.
    pub reason: String,
    /// What could be done instead.
    pub alternatives: Vec<String>,
    /// The snapshot that the capture was found in.
    pub snapshot: u64,
    /// The capture.
    pub capture: CaptureRef,
    /// Whether the key material lives in an HSM.
    pub hsm: bool,
    /// The slot as it was when the plan was made.
    pub slot: Seen,
}

/// What is done about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Create it from its backup.
    Restore,
    /// Recover the soft-deleted object, which costs nothing and loses nothing.
    Recover,
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
            Action::Nothing => "nothing",
            Action::Wait => "wait",
            Action::Refused => "refused",
        }
    }
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

/// One object that somebody wants back.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What its capture holds.
    pub source: Source,
    /// Where its capture is.
    pub capture: CaptureRef,
    /// The snapshot that it was found in.
    pub snapshot: u64,
}

/// The two vaults.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where the captures were taken.
    pub source: VaultUri,
    /// That vault as the manifest describes it.
    pub source_facts: Option<VaultFacts>,
    /// Where they will go.
    pub target: VaultUri,
    /// That vault as it is now.
    pub target_facts: Option<VaultFacts>,
}

/// What is decided for one object.
struct Verdict {
    action: Action,
    reason: String,
    alternatives: Vec<String>,
}

fn verdict(action: Action, reason: impl Into<String>) -> Verdict {
    Verdict { action, reason: reason.into(), alternatives: Vec::new() }
}

fn refuse(reason: impl Into<String>, alternatives: &[&str]) -> Verdict {
    Verdict {
        action: Action::Refused,
        reason: reason.into(),
        alternatives: alternatives.iter().map(|&a| a.to_owned()).collect(),
    }
}

/// Plans each object. Certificates come first, since a certificate brings its key and secret with it.
///
/// `slots` holds the slot of every wanted object and, for a certificate, those of the key and secret of its name.
pub fn plan(wanted: &[Wanted], slots: &BTreeMap<Object, Slot>, route: &Route) -> Vec<Step> {
    let mut steps: Vec<Step> = wanted
        .iter()
        .map(|wanted| {
            let object = &wanted.source.object;
            let slot = slots.get(object).unwrap_or(&Slot::InTransition);
            let Verdict { action, reason, alternatives } = decide(wanted, slot, slots, route);
            Step {
                object: object.clone(),
                action,
                reason,
                alternatives,
                snapshot: wanted.snapshot,
                capture: wanted.capture.clone(),
                hsm: wanted.source.hsm,
                slot: slot.seen(),
            }
        })
        .collect();
    steps.sort_by(|a, b| a.object.cmp(&b.object));
    steps
}

fn decide(wanted: &Wanted, slot: &Slot, slots: &BTreeMap<Object, Slot>, route: &Route) -> Verdict {
    let source = &wanted.source;
    match slot {
        Slot::Live { managed: true, .. } if source.object.kind != Kind::Certificate => refuse(
            "a certificate of this name owns the name",
            &["restore into another vault (--to)", "delete the certificate first, if it is not needed"],
        ),
        Slot::Live { versions, .. } => live(source, versions),
        Slot::Deleted(deleted) => soft_deleted(source, deleted),
        Slot::InTransition => verdict(Action::Wait, "the name is being deleted, purged or recovered right now"),
        Slot::Free => free(wanted, slots, route),
    }
}

fn live(source: &Source, versions: &Versions) -> Verdict {
    let drift = drift(&source.versions, versions);
    if drift.is_empty() {
        return verdict(Action::Nothing, "it is live, with the same versions");
    }
    refuse(
        format!("a different object is live under this name: {}", drift.join("; ")),
        &["keep the live one", "restore into another vault of the same subscription and geography (--to)"],
    )
}

/// Differences between captured and live versions, in words. The same ids with the same public parts are the same.
fn drift(captured: &Versions, live: &Versions) -> Vec<String> {
    let mut differences = Vec::new();
    for (id, version) in captured {
        match live.get(id) {
            None => differences.push(format!("version {id} is only in the archive")),
            Some(other)
                if version.thumbprint.is_some()
                    && other.thumbprint.is_some()
                    && version.thumbprint != other.thumbprint =>
            {
                differences.push(format!("version {id} has another public key"));
            }
            Some(_) => {}
        }
    }
    differences.extend(
        live.keys().filter(|id| !captured.contains_key(*id)).map(|id| format!("version {id} is only in the vault")),
    );
    differences
}

fn soft_deleted(source: &Source, deleted: &Deleted) -> Verdict {
    let until =
        deleted.purge_at.map_or_else(|| "an unknown date".into(), |at| at.format("%Y-%m-%d %H:%M UTC").to_string());
    let known = deleted.version.as_ref().is_some_and(|version| source.versions.contains_key(version));
    let newest = source.newest().and_then(|(_, version)| version.attributes.updated);
    let as_new = match (deleted.attributes.updated, newest) {
        (Some(theirs), Some(ours)) => theirs >= ours,
        _ => known,
    };
    if as_new {
        let note = if known { "the same version" } else { "a newer version than the archive has" };
        return verdict(
            Action::Recover,
            format!("it is soft-deleted until {until} with {note}: recovering costs nothing and loses nothing"),
        );
    }
    let reason = format!(
        "the name is held until {until} by a soft-deleted object that is older than the capture, or another one"
    );
    match deleted.attributes.purgeable() {
        true => refuse(
            reason,
            &[
                "recover it by hand, to see what it is (az keyvault … recover)",
                "purge it by hand, if nobody needs it, and plan again",
                "restore into another vault (--to)",
            ],
        ),
        false => refuse(
            format!("{reason}; purge protection keeps it there"),
            &[
                "recover it by hand, to see what it is (az keyvault … recover)",
                "restore into another vault (--to)",
                "wait until that date",
            ],
        ),
    }
}

fn free(wanted: &Wanted, slots: &BTreeMap<Object, Slot>, route: &Route) -> Verdict {
    let source = &wanted.source;
    if source.object.kind == Kind::Certificate {
        for kind in [Kind::Key, Kind::Secret] {
            let part = Object::new(kind, source.object.name.clone());
            if slots.get(&part).is_some_and(|slot| *slot != Slot::Free) {
                return refuse(
                    format!("a certificate needs the {kind} of its name too, and {part} is taken"),
                    &["restore into another vault (--to)", "move that object out of the way, if it is not needed"],
                );
            }
        }
    }
    if let Some(refusal) = place(source, route) {
        return refusal;
    }
    let newest = source.newest().map_or("", |(id, _)| id.as_str());
    let count = source.versions.len();
    let days = route.target_facts.as_ref().map(|facts| facts.soft_delete.retention_days);
    let cost = days.map_or_else(String::new, |days| format!("; deleting it again would hold the name for {days} days"));
    verdict(
        Action::Restore,
        format!("the name is free: {count} {}, newest {newest}{cost}", if count == 1 { "version" } else { "versions" }),
    )
}

/// Whether a blob from the one vault opens in the other: same cloud, subscription and geography, and an HSM for HSM keys.
fn place(source: &Source, route: &Route) -> Option<Verdict> {
    const ELSEWHERE: &[&str] = &["restore into a vault of the same subscription and geography (--to)"];
    if let Some(target) = &route.target_facts
        && source.hsm
        && target.sku.eq_ignore_ascii_case("standard")
    {
        return Some(refuse("an HSM key does not fit into a standard vault", &["restore into a premium vault (--to)"]));
    }
    if route.source == route.target {
        return None;
    }
    if route.source.suffix() != route.target.suffix() {
        return Some(refuse("the two vaults are in different clouds", ELSEWHERE));
    }
    let (Some(from), Some(to)) = (&route.source_facts, &route.target_facts) else {
        return Some(refuse(
            "where the two vaults are could not be read, and a backup opens only in its own subscription and geography",
            &[
                "grant Microsoft.KeyVault/vaults/read on both vaults (policies/roles/)",
                "restore into the vault it came from",
            ],
        ));
    };
    if !from.place.subscription.eq_ignore_ascii_case(&to.place.subscription) {
        return Some(refuse(
            format!(
                "the backup belongs to subscription {}, the target vault to {}",
                from.place.subscription, to.place.subscription
            ),
            ELSEWHERE,
        ));
    }
    let name = |geography: &Option<Geography>| geography.as_ref().map_or("unknown".into(), ToString::to_string);
    if from.place.geography.is_none() || from.place.geography != to.place.geography {
        let reason = format!(
            "the backup belongs to geography {}, the target vault to {}",
            name(&from.place.geography),
            name(&to.place.geography)
        );
        return Some(refuse(reason, ELSEWHERE));
    }
    None
}
