//! The vault around the objects: finds the sealed settings of the snapshot that a plan is made from, opens them, and makes
//! of them what rebuilds a vault. Prints nothing; who calls it writes the files.

use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::Value;

use super::apply::Hands;
use super::{aside, open};
use crate::archive::{Reader, latest_snapshot};
use crate::error::{Context, Error, Kind, Result};
use crate::format::entry::{Entry, Event, SnapshotRef};
use crate::format::manifest::{CaptureRef, Header};
use crate::format::settings::{self, Settings};
use crate::model::{Kind as ObjectKind, Name, VaultUri};
use crate::restore::plan::SettingsFrom;
use crate::restore::settings::{AppliedSetting, SettingResult, look, write};
use crate::restore::{Origin, Plan, rebuild as texts};
use crate::seal::Identities;
use crate::vault;

/// Captures opened at the same time.
const IN_FLIGHT: usize = 8;

/// What rebuilds the vault around the objects.
pub struct Rebuild {
    /// Where the settings are, for a plan that is to apply them.
    pub from: SettingsFrom,
    /// A Bicep file.
    pub bicep: String,
    /// A shell script.
    pub script: String,
    /// What no blob brings back, in lines for a terminal.
    pub facts: Vec<String>,
    /// What the target has of the captured issuers and contacts.
    pub settings: Vec<AppliedSetting>,
}

/// Makes what rebuilds the vault that `plan` restores: from the settings of the newest snapshot that its steps name, or of
/// the newest one before it that has any. `None` where the archive has none. Changes nothing.
pub async fn rebuild(
    reader: &Reader<'_>,
    identities: &Arc<Identities>,
    target: &dyn vault::Read,
    plan: &Plan,
) -> Result<Option<Rebuild>> {
    let named = plan.steps.iter().filter_map(|step| match &step.from {
        Origin::Archive { snapshot, .. } => Some(*snapshot),
        Origin::File { .. } => None,
    });
    let Some(from) = find(reader, &plan.source, named.max()).await? else { return Ok(None) };
    let settings = open_settings(reader, identities, &plan.source, &from.capture).await?;
    let policies = rotation_policies(reader, identities, plan).await?;
    Ok(Some(Rebuild {
        bicep: texts::bicep(&settings, &plan.target),
        script: texts::script(&settings, &plan.target, &policies),
        facts: texts::facts(&settings),
        settings: look(target, &settings).await,
        from,
    }))
}

/// Demands that the settings that `plan` names are those that its snapshot names: a plan file may have gone through many
/// hands.
pub(super) async fn check_named(reader: Option<&Reader<'_>>, plan: &Plan) -> Result<()> {
    let Some(from) = &plan.settings else { return Ok(()) };
    let Some(reader) = reader else {
        return Err(Error::usage("the plan's settings are in an archive, and there is none here"));
    };
    match find(reader, &plan.source, Some(from.snapshot)).await?.as_ref() == Some(from) {
        true => Ok(()),
        false => {
            let message = format!("the plan's settings are not those of snapshot {}", from.snapshot);
            Err(Error::new(Kind::Tampered, message).hint("nothing was changed; make a new plan"))
        }
    }
}

/// Gives the target the issuers and contacts that `plan` names, as far as it does not have them; nothing where the plan
/// names none. Each that could not be written is told, and stops nothing: objects matter more.
pub(super) async fn give(hands: &Hands<'_>, plan: &Plan) -> Vec<AppliedSetting> {
    let (Some(from), Some(reader)) = (&plan.settings, hands.reader) else { return Vec::new() };
    hands.progress.stage("writing issuers and contacts", None);
    let applied = match open_settings(reader, hands.identities, &plan.source, &from.capture).await {
        Ok(settings) => write(hands.vault, &settings).await,
        Err(error) => {
            let (setting, detail) = ("settings".to_owned(), error.to_string());
            vec![AppliedSetting { setting, result: SettingResult::Failed, detail }]
        }
    };
    // Told now: whoever is cut off later prints no result.
    applied.iter().for_each(|it| hands.progress.note(&format!("{}: {}", it.setting, it.detail)));
    applied
}

/// The sealed settings that snapshot `at`, or the newest one, names; or the newest snapshot before it that names some.
async fn find(reader: &Reader<'_>, vault: &VaultUri, at: Option<u64>) -> Result<Option<SettingsFrom>> {
    // The head alone leads to the newest snapshot, however long the log is.
    if let Ok(Some(head)) = reader.head(vault).await
        && let Some(newest) = latest_snapshot(&head).filter(|newest| at.is_none_or(|at| at == newest.sequence))
        && let Ok(header) = header(reader, newest).await
        && let Some(capture) = header.settings
    {
        return Ok(Some(SettingsFrom { snapshot: newest.sequence, capture: Box::new(capture) }));
    }
    let entries = reader.entries(vault).await?.verified;
    let snapshots = entries.iter().rev().filter_map(snapshot).filter(|it| at.is_none_or(|at| it.sequence <= at));
    for snapshot in snapshots {
        match header(reader, snapshot).await {
            Ok(Header { settings: Some(capture), .. }) => {
                return Ok(Some(SettingsFrom { snapshot: snapshot.sequence, capture: Box::new(capture) }));
            }
            // Damage is gone around: an older snapshot's settings are better than none.
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Tampered => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn snapshot(entry: &Entry) -> Option<&SnapshotRef> {
    match &entry.event {
        Event::Snapshot(snapshot) => Some(snapshot),
        _ => None,
    }
}

async fn header(reader: &Reader<'_>, snapshot: &SnapshotRef) -> Result<Header> {
    reader.manifest_lines(snapshot, |_, _| Ok(())).await
}

async fn open_settings(
    reader: &Reader<'_>,
    identities: &Arc<Identities>,
    vault: &VaultUri,
    capture: &CaptureRef,
) -> Result<Settings> {
    let doing = format!("couldn't open {}", capture.path);
    let (sealed, context) = (reader.sealed(capture).await?, doing.clone());
    let packed = aside(identities, move |identities| identities.open(&sealed).context(context)).await?;
    let tampered = |why: String| Error::new(Kind::Tampered, format!("{doing}: {why}"));
    let settings = settings::unpack(&packed).map_err(|error| tampered(error.to_string()))?;
    match settings.vault == *vault {
        true => Ok(settings),
        false => Err(tampered(format!("it holds the settings of {}, not of {vault}", settings.vault))),
    }
}

/// The rotation policies that the plan's keys were captured with, by name.
async fn rotation_policies(
    reader: &Reader<'_>,
    identities: &Arc<Identities>,
    plan: &Plan,
) -> Result<Vec<(Name, Value)>> {
    let keys = plan.steps.iter().filter(|step| step.object.kind == ObjectKind::Key);
    let captures: Vec<(Name, CaptureRef)> = keys
        .filter_map(|step| match &step.from {
            Origin::Archive { capture, .. } => Some((step.object.name.clone(), CaptureRef::clone(capture))),
            Origin::File { .. } => None,
        })
        .collect();
    let opened: Vec<Result<(Name, Option<Value>)>> = futures::stream::iter(captures)
        .map(|(name, capture)| async move {
            let policy = open(reader, identities, &capture).await?.metadata.rotation_policy.take();
            Ok((name, policy.and_then(|raw| serde_json::from_str(raw.get()).ok())))
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    let opened = opened.into_iter().collect::<Result<Vec<_>>>()?;
    let mut found: Vec<(Name, Value)> = opened.into_iter().filter_map(|(name, policy)| Some((name, policy?))).collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::jobs::fixture::{House, object};
    use crate::jobs::restore::apply;
    use crate::vault::memory::Memory;
    use crate::vault::{Item, Read as _, Setting, Write as _};

    /// A house with an issuer, a contact and a key that rotates, archived; and an empty vault.
    async fn house() -> (House, Memory) {
        let house = House::new(&["key/k", "secret/s"]).await;
        house.vault.put_issuer("own", "Test");
        house.vault.set_contacts(&["a@b.example"]);
        let policy = serde_json::json!({
            "lifetimeActions": [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}}], "attributes": {},
        });
        let policy = serde_json::value::to_raw_value(&policy).unwrap();
        house.vault.write(Setting::RotationPolicy(&object("key/k").name, &policy)).await.unwrap();
        house.snapshot().await.unwrap();
        let spare = Memory::new(VaultUri::parse("https://spare.vault.azure.net").unwrap(), house.clock.clone());
        (house, spare)
    }

    async fn made(house: &House, target: &Memory) -> (Plan, Option<Rebuild>) {
        let mut plan = house.plan(&[]).await.unwrap();
        plan.target = target.uri().clone();
        let rebuilt = rebuild(&house.reader().await, &house.identities, target, &plan).await.unwrap();
        (plan, rebuilt)
    }

    #[tokio::test]
    async fn a_plan_gets_the_settings_of_its_snapshot_and_applies_them_once() {
        let (house, spare) = house().await;
        let (mut plan, rebuilt) = made(&house, &spare).await;
        let rebuilt = rebuilt.unwrap();
        assert!(rebuilt.script.contains("--issuer-name='own'") && rebuilt.script.contains("--email='a@b.example'"));
        assert!(
            rebuilt.script.contains(r#""timeAfterCreate":"P90D""#) && rebuilt.script.contains("vault=${1:-'spare'}")
        );
        assert!(rebuilt.facts.iter().any(|line| line.starts_with("certificate issuers: 1")));
        assert!(rebuilt.bicep.contains("nothing is known of it"), "no management plane was asked");
        assert!(rebuilt.settings.iter().all(|it| it.result == SettingResult::Missing), "{:?}", rebuilt.settings);
        let reader = house.reader().await;
        let hands = Hands { vault: &spare, ..house.hands(&house.store, &reader) };
        let apply = async |plan: &Plan| apply(&hands, plan).await.unwrap().vault_settings;
        assert!(apply(&plan).await.is_empty(), "nobody asked for it");
        assert!(spare.get(Item::Issuer("own".into())).await.is_err());
        plan.settings = Some(rebuilt.from);
        assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&plan).unwrap()).unwrap(), plan);
        let applied = apply(&plan).await;
        assert!(applied.len() == 2 && applied.iter().all(|it| it.result == SettingResult::Written), "{applied:?}");
        assert!(spare.get(Item::Issuer("own".into())).await.is_ok() && spare.get(Item::Contacts).await.is_ok());
        assert!(apply(&plan).await.iter().all(|it| it.result == SettingResult::Same));
    }

    #[tokio::test]
    async fn settings_that_the_snapshot_does_not_name_are_not_applied() {
        let (house, spare) = house().await;
        let (mut plan, rebuilt) = made(&house, &spare).await;
        house.clock.advance(Duration::from_secs(60));
        house.vault.put_issuer("evil", "Test");
        house.snapshot().await.unwrap();
        let later = made(&house, &spare).await.1.unwrap().from;
        plan.settings = Some(SettingsFrom { capture: later.capture, ..rebuilt.unwrap().from });
        let reader = house.reader().await;
        let hands = Hands { vault: &spare, ..house.hands(&house.store, &reader) };
        let error = apply(&hands, &plan).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Tampered);
        assert!(spare.get(Item::Issuer("own".into())).await.is_err(), "nothing was written");
    }

    #[tokio::test]
    async fn settings_that_do_not_open_keep_no_object_away() {
        let (house, spare) = house().await;
        let from = made(&house, &spare).await.1.unwrap().from;
        assert!(house.store.corrupt(from.capture.path.as_str(), "none"));
        house.wipe(&["secret/s"]);
        let plan = Plan { settings: Some(from), ..house.plan(&["secret/s"]).await.unwrap() };
        let applied = house.apply(&plan).await.unwrap();
        assert_eq!((applied.status.as_str(), applied.vault_settings.len()), ("done", 1));
        let told = &applied.vault_settings[0];
        assert_eq!((told.setting.as_str(), told.result), ("settings", SettingResult::Failed), "{told:?}");
    }

    #[tokio::test]
    async fn where_a_snapshot_has_no_settings_those_before_it_are_used_and_none_is_none() {
        let (house, spare) = house().await;
        let newest = house
            .commit(|manifest| {
                manifest.header.settings = None;
                manifest.header.settings_fingerprint = None;
            })
            .await;
        let (plan, rebuilt) = made(&house, &spare).await;
        assert!(matches!(&plan.steps[0].from, Origin::Archive { snapshot, .. } if *snapshot == newest));
        assert_eq!(rebuilt.unwrap().from.snapshot, newest - 1);
        let bare = House::new(&["secret/s"]).await;
        bare.vault.interfere(|_, _, call| match call {
            crate::vault::memory::Call::List(crate::vault::Listing::Issuers)
            | crate::vault::memory::Call::Get(Item::Contacts) => {
                Err(vault::Error::new(crate::vault::Condition::Denied, "no"))
            }
            _ => Ok(()),
        });
        bare.snapshot().await.unwrap();
        assert!(made(&bare, &spare).await.1.is_none());
    }
}
