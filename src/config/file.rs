//! `akv-archiver.toml` as it is written: every field optional, since the environment may supply it. What one field alone
//! can get wrong is found here, with line and column; what several can only get wrong together, in `check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::address::{ContainerUrl, Endpoint, ProxyUrl};
use super::{CloudName, Limits, Worm};
use crate::model::{Geography, Glob, SubscriptionId, Tag, VaultUri, duration, region_name};
use crate::policy::Choice;

/// Settings fit on a page; anything larger is something else.
pub(super) const LIMIT: u64 = 1 << 20;

/// Azure takes minutes: who waits for a day waits for something else.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// The fields of a credential as written; which of them belong together is `check`'s to say.
pub(super) type RawCredential = BTreeMap<String, String>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) network: RawNetwork,
    pub(super) archive: RawArchive,
    pub(super) vault: Vec<RawVault>,
    pub(super) discover: Vec<RawDiscover>,
    pub(super) capture: RawCapture,
    pub(super) geography: RawGeography,
    pub(super) restore: RawRestore,
    pub(super) verify: RawVerify,
}

/// Geographies as a table of regions and names.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub(super) struct RawGeography(pub(super) BTreeMap<String, Geography>);

impl RawGeography {
    /// Adds a region, in any spelling, instead of what was said of it before.
    pub(super) fn insert(&mut self, region: &str, name: &str) -> Result<Option<Geography>, String> {
        let plain = region_name(region)
            .ok_or_else(|| format!("{region:?} is no region: letters and digits, such as westeurope"))?;
        let geography = Geography::parse(name)
            .ok_or_else(|| format!("{name:?} is no geography's name: 1 to 64 characters, such as Europe"))?;
        Ok(self.0.insert(plain, geography))
    }
}

impl TryFrom<BTreeMap<String, String>> for RawGeography {
    type Error = String;

    fn try_from(regions: BTreeMap<String, String>) -> Result<Self, String> {
        let mut all = RawGeography::default();
        for (region, name) in regions {
            if all.insert(&region, &name)?.is_some() {
                return Err(format!("the region {region:?} is there twice, in two spellings"));
            }
        }
        Ok(all)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNetwork {
    pub(super) proxy: Option<ProxyUrl>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cloud: Option<CloudName>,
    pub(super) endpoints: Option<RawEndpoints>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEndpoints {
    pub(super) authority: Option<Endpoint>,
    pub(super) management: Option<Endpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawArchive {
    pub(super) container: Option<ContainerUrl>,
    pub(super) directory: Option<PathBuf>,
    pub(super) shared: Option<bool>,
    pub(super) worm: Option<Worm>,
    pub(super) resource_id: Option<ResourceId>,
    pub(super) credential: Option<RawCredential>,
    pub(super) recipients: Option<Vec<String>>,
    pub(super) recipients_file: Option<PathBuf>,
    pub(super) signer: Option<PathBuf>,
    pub(super) verifiers: Option<Vec<String>>,
    pub(super) identity: Option<OneOrMany>,
    pub(super) identity_passphrase_env: Option<String>,
    pub(super) identity_passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawVault {
    pub(super) name: Option<VaultName>,
    pub(super) uri: Option<VaultUri>,
    pub(super) credential: Option<RawCredential>,
    pub(super) resource_id: Option<ResourceId>,
    pub(super) policy: Option<Choice>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDiscover {
    pub(super) subscriptions: Option<Vec<SubscriptionId>>,
    pub(super) tags: Option<RawTags>,
    pub(super) include: Option<Vec<Glob>>,
    pub(super) exclude: Option<Vec<Glob>>,
    pub(super) credential: Option<RawCredential>,
}

/// Tags as a table of names and values.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub(super) struct RawTags(pub(super) Vec<Tag>);

impl TryFrom<BTreeMap<String, String>> for RawTags {
    type Error = String;

    fn try_from(tags: BTreeMap<String, String>) -> Result<Self, String> {
        let tag = |(name, value): (String, String)| {
            Tag::new(&name, &value)
                .ok_or_else(|| format!("{name:?} is no tag: 1 to 512 characters, and 256 for its value"))
        };
        tags.into_iter().map(tag).collect::<Result<_, _>>().map(RawTags)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCapture {
    pub(super) policy: Option<Choice>,
    pub(super) max_in_flight: Option<InFlight>,
    pub(super) share: Option<Share>,
    pub(super) vaults_in_flight: Option<VaultsInFlight>,
    pub(super) limits: Option<Limits>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRestore {
    pub(super) wait: Option<Wait>,
}

/// The table `[verify]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawVerify {
    pub(super) signer: Option<PathBuf>,
    pub(super) verifiers: Option<Vec<String>>,
}

/// A path, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
pub(super) enum OneOrMany {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl OneOrMany {
    pub(super) fn into_paths(self) -> Vec<PathBuf> {
        match self {
            OneOrMany::One(path) => vec![path],
            OneOrMany::Many(paths) => paths,
        }
    }

    pub(super) fn paths_mut(&mut self) -> &mut [PathBuf] {
        match self {
            OneOrMany::One(path) => std::slice::from_mut(path),
            OneOrMany::Many(paths) => paths,
        }
    }
}

/// A value with a rule of its own, checked where it stands.
macro_rules! checked {
    ($name:ident($inner:ty), $from:ty, $text:literal, $check:expr) => {
        #[derive(Clone, Debug, Deserialize)]
        #[serde(try_from = $text)]
        pub(super) struct $name(pub(super) $inner);

        impl TryFrom<$from> for $name {
            type Error = String;

            fn try_from(value: $from) -> Result<Self, String> {
                let check: fn($from) -> Result<$inner, String> = $check;
                check(value).map($name)
            }
        }
    };
}

checked!(InFlight(u16), i64, "i64", |number| match u16::try_from(number) {
    Ok(number @ 1..=256) => Ok(number),
    _ => Err(format!("{number} is not between 1 and 256")),
});
checked!(VaultsInFlight(u16), i64, "i64", |number| match u16::try_from(number) {
    Ok(number @ 1..=64) => Ok(number),
    _ => Err(format!("{number} is not between 1 and 64")),
});
checked!(Share(f64), f64, "f64", |share| match share > 0.0 && share <= 1.0 {
    true => Ok(share),
    false => Err(format!("{share} is not above 0 and at most 1")),
});
checked!(Wait(Duration), String, "String", |text| match duration::parse(&text)? {
    wait if wait <= LONGEST_WAIT => Ok(wait),
    _ => Err(format!("{text:?} is longer than a day")),
});
checked!(VaultName(String), String, "String", |text| {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text),
        false => Err(format!("{text:?} is not a vault's name in settings: 1 to 64 letters, digits, `.`, `_` and `-`")),
    }
});
checked!(ResourceId(String), String, "String", |text| {
    let segments: Vec<&str> = text.split('/').collect();
    match segments[..] {
        ["", first, subscription, _, ..] if first.eq_ignore_ascii_case("subscriptions") && !subscription.is_empty() => {
            Ok(text)
        }
        _ => Err(format!("{text:?} is not a resource id such as /subscriptions/…/resourceGroups/…/providers/…")),
    }
});

impl Raw {
    /// Makes relative paths mean what they meant where they were written.
    pub(super) fn resolve(&mut self, base: &Path) {
        let Raw { network, archive, vault, discover, capture, geography: _, restore: _, verify } = self;
        let single = [&mut network.ca_file, &mut archive.directory, &mut archive.recipients_file, &mut archive.signer];
        let paths = single
            .into_iter()
            .chain([&mut archive.identity_passphrase_file, &mut verify.signer])
            .flatten()
            .chain(archive.identity.as_mut().map(OneOrMany::paths_mut).into_iter().flatten());
        for path in paths {
            *path = base.join(&*path);
        }
        for choice in vault.iter_mut().map(|vault| &mut vault.policy).chain([&mut capture.policy]).flatten() {
            choice.resolve(base);
        }
        let credentials = vault
            .iter_mut()
            .map(|vault| &mut vault.credential)
            .chain(discover.iter_mut().map(|rule| &mut rule.credential))
            .chain([&mut archive.credential]);
        for (field, value) in credentials.flatten().flatten() {
            *value = resolved(field, value, base);
        }
    }
}

/// A credential's field, with a path made absolute.
pub(super) fn resolved(field: &str, value: &str, base: &Path) -> String {
    match field.ends_with("_file") {
        true => base.join(value).to_string_lossy().into_owned(),
        false => value.to_owned(),
    }
}
