//! A live object, read as far as a comparison needs it, and the one thing about it that may have to be written once more:
//! a key's rotation policy. Never reads a secret's value.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::value::RawValue;

use super::equivalence::{Code, Difference, compare};
use super::limbo::lost;
use super::plan::Action;
use super::source::{Versions, add_bundle, add_item, newest};
use crate::format::capture::Capture;
use crate::model::{Kind, Object};
use crate::vault::{self, Condition, Item, Listing, Setting};

/// Bundles asked for at the same time: most objects have a version or two.
const AT_ONCE: usize = 4;

/// How often a rotation policy is written whose answers are lost: twice is the same as once.
const TRIES: u32 = 2;

/// What a vault shows of a live object.
#[derive(Debug)]
pub struct Live {
    /// The items of its versions list.
    pub(super) versions: Vec<Box<RawValue>>,
    /// The bundles of a key's versions, or that of a certificate's newest one.
    pub(super) bundles: Vec<Box<RawValue>>,
    /// A key's rotation policy; none where it may not be read.
    pub(super) rotation_policy: Option<Box<RawValue>>,
}

impl Live {
    /// The versions, as a slot has them.
    pub fn versions(&self) -> Versions {
        let mut versions = Versions::new();
        for item in &self.versions {
            add_item(&mut versions, item);
        }
        for bundle in &self.bundles {
            add_bundle(&mut versions, bundle);
        }
        versions
    }

    /// Whether a certificate owns it.
    pub fn managed(&self) -> bool {
        let mut versions = Versions::new();
        self.versions.iter().fold(false, |managed, item| managed | add_item(&mut versions, item))
    }
}

/// Reads a live object; `None` where there is no version, which is also how a name looks while a restore or a recovery is
/// on its way.
///
/// Costs a request for the list. A key costs one more for each version and one for its rotation policy, a certificate one
/// for its policy, a secret nothing: its bundle is its value.
pub async fn read(vault: &dyn vault::Read, object: &Object) -> Result<Option<Live>, vault::Error> {
    let pages: Vec<vault::Page> = vault.list(Listing::Versions(object.clone())).try_collect().await?;
    let versions: Vec<Box<RawValue>> = pages.into_iter().flat_map(|page| page.items).collect();
    let mut known = Versions::new();
    for item in &versions {
        add_item(&mut known, item);
    }
    let Some((current, _)) = newest(&known) else { return Ok(None) };
    let name = || object.name.clone();
    let items: Vec<Item> = match object.kind {
        Kind::Key => known.keys().map(|id| Item::Key(name(), Some(id.clone()))).collect(),
        Kind::Certificate => vec![Item::Certificate(name(), Some(current.clone()))],
        Kind::Secret => Vec::new(),
    };
    let bundles = stream::iter(items).map(|item| async { vault.get(item).await.map(|answer| answer.body) });
    let bundles = bundles.buffered(AT_ONCE).try_collect().await?;
    let rotation_policy = match object.kind {
        Kind::Key => rotation_policy(vault, object).await?,
        _ => None,
    };
    Ok(Some(Live { versions, bundles, rotation_policy }))
}

/// A key's rotation policy; none where there is none, or it may not be read.
async fn rotation_policy(vault: &dyn vault::Read, object: &Object) -> Result<Option<Box<RawValue>>, vault::Error> {
    match vault.get(Item::RotationPolicy(object.name.clone())).await {
        Ok(answer) => Ok(Some(answer.body)),
        Err(error) if matches!(error.condition, Condition::NotFound | Condition::Denied | Condition::Forbidden) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Writes the rotation policy that a key was captured with, if `found` says that it has another one now, and looks whether
/// it is there. Returns the differences that are left: a write that is refused is one, with what to do, and no failure.
pub async fn reapply_rotation_policy(
    vault: &dyn vault::Write,
    captured: &Capture,
    mut found: Vec<Difference>,
) -> Vec<Difference> {
    let (Some(policy), Some(at)) = (
        &captured.metadata.rotation_policy,
        found.iter().position(|difference| difference.code == Code::RotationPolicy),
    ) else {
        return found;
    };
    match write_rotation_policy(vault, captured, policy).await {
        Ok(()) => drop(found.remove(at)),
        Err(why) => {
            if let Some(difference) = found.get_mut(at) {
                *difference = Difference::rotation_policy(format!(
                    "{difference}, and the captured one couldn't be written: {why}"
                ));
            }
        }
    }
    found
}

async fn write_rotation_policy(vault: &dyn vault::Write, captured: &Capture, policy: &RawValue) -> Result<(), String> {
    let object = &captured.metadata.object;
    let mut tries = 0;
    loop {
        let error = vault.write(Setting::RotationPolicy(&object.name, policy)).await.err();
        let told = error.as_ref().map(|error| match &error.hint {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        });
        let heard = error.is_none_or(|error| !lost(error.condition));
        if let (true, Some(why)) = (heard, &told) {
            return Err(why.clone());
        }
        // An answer of success is not yet the policy that was asked for, and a lost one may hide it.
        let now = rotation_policy(vault, object).await.map_err(|error| error.to_string())?;
        let alone = Live { versions: Vec::new(), bundles: Vec::new(), rotation_policy: now };
        if compare(captured, &alone, Action::Restore).iter().all(|found| found.code != Code::RotationPolicy) {
            return Ok(());
        }
        tries += 1;
        if heard || tries == TRIES {
            return Err(told.unwrap_or_else(|| "it was accepted, and is not there".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::ambient::ManualClock;
    use crate::format::capture::{self, BackupFacts, Metadata, ServiceFacts};
    use crate::model::VaultUri;
    use crate::vault::memory::{Call, Memory, Moment};
    use crate::vault::{Read as _, Write as _};

    fn object(text: &str) -> Object {
        Object::parse(text).unwrap()
    }

    fn vault(objects: &[&str]) -> Memory {
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        let vault = Memory::new(VaultUri::parse("https://prod.vault.azure.net").unwrap(), clock);
        objects.iter().for_each(|text| drop(vault.put(&object(text))));
        vault
    }

    /// A capture of what is there.
    async fn captured(vault: &Memory, text: &str) -> Capture {
        let live = read(vault, &object(text)).await.unwrap().unwrap();
        let metadata = Metadata {
            format: capture::FORMAT.into(),
            vault: vault.uri().clone(),
            object: object(text),
            captured_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            tool: "tool".into(),
            backup: BackupFacts::of(b"blob"),
            listed: RawValue::NULL.to_owned(),
            versions: live.versions,
            bundles: live.bundles,
            rotation_policy: live.rotation_policy,
            service: ServiceFacts::default(),
        };
        Capture { blob: b"blob".to_vec().into(), metadata }
    }

    fn policy(period: &str) -> Box<RawValue> {
        let action = json!({"trigger": {"timeAfterCreate": period}, "action": {"type": "Rotate"}});
        to_raw_value(&json!({"lifetimeActions": [action], "attributes": {"expiryTime": "P120D"}})).unwrap()
    }

    #[tokio::test]
    async fn an_object_is_read_with_few_requests_and_equals_itself() {
        let vault = vault(&["key/k", "key/k", "secret/s", "certificate/c", "certificate/c"]);
        for (text, requests) in [("key/k", 4), ("secret/s", 1), ("certificate/c", 2), ("key/none", 1)] {
            let before = vault.traffic().requests;
            let live = read(&vault, &object(text)).await.unwrap();
            assert_eq!(vault.traffic().requests - before, requests, "{text}");
            let Some(live) = live else {
                assert_eq!(text, "key/none");
                continue;
            };
            assert!(!live.versions().is_empty() && !live.managed());
            assert_eq!(compare(&captured(&vault, text).await, &live, Action::Restore), []);
        }
        assert!(read(&vault, &object("key/c")).await.unwrap().unwrap().managed());
    }

    #[tokio::test]
    async fn a_captured_rotation_policy_is_written_once_more_where_another_came_back() {
        let vault = vault(&["key/k"]);
        let name = object("key/k").name;
        vault.write(Setting::RotationPolicy(&name, &policy("P90D"))).await.unwrap();
        let capture = captured(&vault, "key/k").await;
        vault.write(Setting::RotationPolicy(&name, &policy("P10D"))).await.unwrap();
        vault.change(&object("key/k"), |version| drop(version.tags.insert("a".into(), "b".into())));
        let look = || async {
            let live = read(&vault, &object("key/k")).await.unwrap().unwrap();
            compare(&capture, &live, Action::Restore)
        };
        let found = look().await;
        let codes = |found: &[Difference]| found.iter().map(|it| it.code).collect::<Vec<_>>();
        assert_eq!(codes(&found), [Code::Tags, Code::RotationPolicy]);
        let left = reapply_rotation_policy(&vault, &capture, found).await;
        assert_eq!((codes(&left), codes(&look().await)), (vec![Code::Tags], vec![Code::Tags]));
        let before = vault.traffic().requests;
        reapply_rotation_policy(&vault, &capture, left).await;
        assert_eq!(vault.traffic().requests, before, "where it is the same, nothing is written");
    }

    #[tokio::test]
    async fn a_rotation_policy_that_may_not_be_written_is_a_difference_with_its_hint() {
        let vault = vault(&["key/k"]);
        let name = object("key/k").name;
        vault.write(Setting::RotationPolicy(&name, &policy("P90D"))).await.unwrap();
        let capture = captured(&vault, "key/k").await;
        vault.write(Setting::RotationPolicy(&name, &policy("P10D"))).await.unwrap();
        vault.interfere(|_, moment, call| match (moment, call) {
            (Moment::Before, Call::Write(_)) => Err(vault::Error::new(Condition::Denied, "no").hint("grant it")),
            _ => Ok(()),
        });
        let live = read(&vault, &object("key/k")).await.unwrap().unwrap();
        let found = compare(&capture, &live, Action::Restore);
        let left = reapply_rotation_policy(&vault, &capture, found).await;
        assert_eq!(left[0].code, Code::RotationPolicy);
        assert!(left[0].detail.ends_with("couldn't be written: no; grant it"), "{}", left[0].detail);
    }

    #[tokio::test]
    async fn a_rotation_policy_that_may_not_be_read_stops_no_comparison() {
        let vault = vault(&["key/k"]);
        vault.interfere(|_, moment, call| match (moment, call) {
            (Moment::Before, Call::Get(Item::RotationPolicy(_))) => Err(vault::Error::new(Condition::Denied, "no")),
            _ => Ok(()),
        });
        assert!(read(&vault, &object("key/k")).await.unwrap().unwrap().rotation_policy.is_none());
    }
}
