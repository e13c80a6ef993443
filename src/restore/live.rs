//! A live object, read as far as a comparison needs it, and the one thing about it that may have to be written once more:
//! a key's rotation policy. Never reads a secret's value.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::value::RawValue;

use super::equivalence::{Code, Difference, compare};
use super::plan::Action;
use super::source::{Versions, add_bundle, add_item, newest};
use crate::format::capture::Capture;
use crate::model::{Kind, Object};
use crate::vault::{self, Condition, Item, Listing, Setting};

/// Bundles asked for at the same time: most objects have a version or two.
const AT_ONCE: usize = 4;

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
    let name = &captured.metadata.object.name;
    vault.write(Setting::RotationPolicy(name, policy)).await.map_err(|error| match &error.hint {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })?;
    // An answer of success is not yet the policy that was asked for.
    let now = rotation_policy(vault, &captured.metadata.object).await.map_err(|error| error.to_string())?;
    let alone = Live { versions: Vec::new(), bundles: Vec::new(), rotation_policy: now };
    let same = compare(captured, &alone, Action::Restore).iter().all(|found| found.code != Code::RotationPolicy);
    if same { Ok(()) } else { Err("it was accepted, and is not there".to_owned()) }
}
