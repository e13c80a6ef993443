//! What the storage accounts hold: accounts, containers, blobs, versions, and how they are written to disk. Knows
//! nothing of HTTP and decides nothing: `worm` holds the rules, the operations hold the behaviour.

use super::super::seed;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A moment in units of 100 ns since the year 1, as Azure stamps writes: it is the ETag and Last-Modified, and on a first
/// upload the version id, too (REC go/TestSetImmutabilityPolicy #1: ETag `0x8DAC1C5A8A4FFD2` is
/// 2022-11-08T20:13:10.8450258Z). Unique within one emulator, since every request gets its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Tick(pub(super) u64);

/// The Unix epoch as a tick.
const EPOCH: u64 = 621_355_968_000_000_000;
const PER_SECOND: u64 = 10_000_000;

impl Tick {
    /// The tick of a moment; moments before 1970 count as 1970.
    pub(super) fn of(time: DateTime<Utc>) -> Tick {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        Tick(seconds.saturating_mul(PER_SECOND).saturating_add(EPOCH + u64::from(time.timestamp_subsec_nanos() / 100)))
    }

    /// The moment, to the 100 ns.
    pub(super) fn time(self) -> DateTime<Utc> {
        let since = self.0.saturating_sub(EPOCH);
        let seconds = i64::try_from(since / PER_SECOND).unwrap_or(0);
        let nanos = u32::try_from(since % PER_SECOND * 100).unwrap_or(0);
        DateTime::from_timestamp(seconds, nanos).unwrap_or_default()
    }

    /// The ETag without quotes, as blob listings show it; headers and container listings quote it (REC).
    pub(super) fn etag(self) -> String {
        format!("0x{:X}", self.0)
    }

    /// The stamp with seven decimals: version ids, and the time in error bodies.
    pub(super) fn iso(self) -> String {
        format!("{}.{:07}Z", self.time().format("%Y-%m-%dT%H:%M:%S"), self.0 % PER_SECOND)
    }

    /// The tick that a version id names.
    pub(super) fn from_version_id(text: &str) -> Option<Tick> {
        let time = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
        Some(Tick::of(time)).filter(|tick| tick.iso() == text)
    }

    /// `Tue, 08 Nov 2022 20:13:10 GMT`.
    pub(super) fn http(self) -> String {
        http_date(self.time())
    }
}

/// A moment as HTTP writes it; whole seconds.
pub(super) fn http_date(time: DateTime<Utc>) -> String {
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A storage account.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) subscription: String,
    pub(super) location: String,
    pub(super) containers: BTreeMap<String, Container>,
}

/// What protects a container. With version-level protection the container keeps versions, else not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Protection {
    None,
    ContainerLevel(Retention),
    /// With the policy that new versions take, if the container has one: version-level support does not need it.
    VersionLevel(Option<Retention>),
}

/// A container's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retention {
    pub(super) days: u32,
    pub(super) locked: bool,
}

impl Retention {
    /// The policy of a version created then.
    pub(super) fn from(self, created: Tick) -> Policy {
        let created = DateTime::from_timestamp(created.time().timestamp(), 0).unwrap_or_default();
        let until = created.checked_add_signed(TimeDelta::days(self.days.into())).unwrap_or(created);
        Policy { until, locked: self.locked }
    }
}

/// The longest retention in days (azure.md §7.1).
pub(super) const MOST_DAYS: u32 = 146_000;

impl Protection {
    fn of(seed: &seed::Container) -> Result<Protection, String> {
        if seed.days.is_some_and(|days| !(1..=MOST_DAYS).contains(&days)) {
            return Err(format!("`days` is from 1 to {MOST_DAYS}"));
        }
        let retention = seed.days.map(|days| Retention { days, locked: seed.locked });
        match (seed.worm, retention) {
            (_, None) if seed.locked => Err("`locked` needs `days`".into()),
            (seed::Worm::None, None) => Ok(Protection::None),
            (seed::Worm::None, Some(_)) => Err("`days` needs `worm`".into()),
            (seed::Worm::ContainerLevel, None) => Err("`worm = \"container-level\"` needs `days`".into()),
            (seed::Worm::ContainerLevel, Some(retention)) => Ok(Protection::ContainerLevel(retention)),
            (seed::Worm::VersionLevel, retention) => Ok(Protection::VersionLevel(retention)),
        }
    }

    /// The container's own policy.
    pub(super) fn retention(self) -> Option<Retention> {
        match self {
            Protection::None => None,
            Protection::ContainerLevel(retention) => Some(retention),
            Protection::VersionLevel(retention) => retention,
        }
    }

    /// Whether an immutability policy exists, of either kind.
    pub(super) fn has_policy(self) -> bool {
        self.retention().is_some()
    }

    /// Whether the container keeps versions and per-version policies.
    pub(super) fn is_version_level(self) -> bool {
        matches!(self, Protection::VersionLevel(_))
    }
}

/// A legal hold on a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    pub(super) tag: String,
    /// Since when.
    pub(super) since: Tick,
    /// The object id of whoever put it on.
    pub(super) by: String,
}

/// The hold of a container that the seed has held.
fn seeded_hold(tick: Tick) -> Hold {
    Hold { tag: "emulator".to_owned(), since: tick, by: uuid::Uuid::nil().to_string() }
}

/// Reads legal holds, or the flag that stood in their place.
fn holds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Hold>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Saved {
        Flag(bool),
        Holds(Vec<Hold>),
    }
    Ok(match Saved::deserialize(deserializer)? {
        Saved::Flag(true) => vec![seeded_hold(Tick(EPOCH))],
        Saved::Flag(false) => Vec::new(),
        Saved::Holds(holds) => holds,
    })
}

/// What became of a container's policy so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// When it was changed last: its ETag.
    pub(super) changed: Option<Tick>,
    /// `allowProtectedAppendWrites` and `allowProtectedAppendWritesAll`, where they were said.
    pub(super) appends: Option<bool>,
    pub(super) appends_all: Option<bool>,
    /// Its creation, its lock, its extensions.
    pub(super) history: Vec<Update>,
}

/// A change of a container's policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Update {
    /// `put`, `lock` or `extend`.
    pub(super) update: String,
    pub(super) days: u32,
    pub(super) at: Tick,
    pub(super) by: String,
}

/// A blob container.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Container {
    pub(super) modified: Tick,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) protection: Protection,
    /// Legal holds on the container as a whole. Saved states of old have a flag.
    #[serde(default, alias = "legal_hold", deserialize_with = "holds")]
    pub(super) holds: Vec<Hold>,
    /// `allowProtectedAppendWritesAll` of the legal holds, where it was said.
    #[serde(default)]
    pub(super) held_appends: Option<bool>,
    /// What else Resource Manager shows of the container's policy.
    #[serde(default)]
    pub(super) record: Record,
    /// By name, in the order in which a listing shows them. No blob is without versions.
    pub(super) blobs: BTreeMap<String, Blob>,
    /// Blocks that were put and not committed, by blob name and block id.
    pub(super) staged: BTreeMap<String, BTreeMap<String, Content>>,
}

impl Container {
    pub(super) fn new(modified: Tick) -> Self {
        Container {
            modified,
            metadata: BTreeMap::new(),
            protection: Protection::None,
            holds: Vec::new(),
            held_appends: None,
            record: Record::default(),
            blobs: BTreeMap::new(),
            staged: BTreeMap::new(),
        }
    }

    /// Whether a legal hold covers every blob.
    pub(super) fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    /// The version that a name stands for now.
    pub(super) fn current(&self, name: &str) -> Option<&Version> {
        let blob = self.blobs.get(name)?;
        blob.versions.get(&blob.current?)
    }

    /// The version id of what a request puts under a name. On an overwrite Azure's is a millisecond behind the ETag (REC
    /// go/TestDeleteSpecificBlobVersion #2 to #5), so that neither can be told from the other.
    pub(super) fn next_version(&self, name: &str, tick: Tick) -> Tick {
        let newest = self.blobs.get(name).and_then(|blob| blob.versions.last_key_value());
        newest.map_or(tick, |(newest, _)| Tick(tick.0.saturating_add(10_000).max(newest.0.saturating_add(1))))
    }

    /// Makes `version` the current one. Without versioning it takes the place of what was there.
    pub(super) fn put(&mut self, name: &str, version: Version) {
        let keeps = self.protection.is_version_level();
        let blob =
            self.blobs.entry(name.to_owned()).or_insert_with(|| Blob { versions: BTreeMap::new(), current: None });
        if !keeps {
            blob.versions.clear();
        }
        blob.current = Some(version.created);
        blob.versions.insert(version.created, version);
        self.staged.remove(name);
    }

    /// Removes one version, and the name with its last.
    pub(super) fn remove(&mut self, name: &str, tick: Tick) {
        let Some(blob) = self.blobs.get_mut(name) else { return };
        blob.versions.remove(&tick);
        if blob.current == Some(tick) {
            blob.current = None;
        }
        if blob.versions.is_empty() {
            self.blobs.remove(name);
        }
    }
}

/// All that a name ever stood for and still is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Blob {
    /// Oldest first. Never empty.
    pub(super) versions: BTreeMap<Tick, Version>,
    /// The current one; none after the blob was deleted and only versions remain.
    pub(super) current: Option<Tick>,
}

/// One version of a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) content: Content,
    /// Also the version id.
    pub(super) created: Tick,
    /// Also the ETag.
    pub(super) modified: Tick,
    pub(super) settings: Settings,
    pub(super) metadata: BTreeMap<String, String>,
    /// Ids and lengths of the blocks it was committed from; none after Put Blob.
    pub(super) blocks: Vec<(String, usize)>,
    /// The access tier, if one was chosen, and when it was changed last.
    pub(super) tier: Option<(Tier, Option<Tick>)>,
    pub(super) policy: Option<Policy>,
    pub(super) legal_hold: bool,
}

/// The stored HTTP headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) content_type: String,
    pub(super) content_md5: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
}

/// Retention of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    /// Whole seconds, since headers carry no more.
    pub(super) until: DateTime<Utc>,
    pub(super) locked: bool,
}

impl Policy {
    /// As HEAD and listings spell it: lower case (REC go/TestUploadBlockWithImmutabilityPolicy #3), though requests say
    /// `Locked` and `Unlocked`.
    pub(super) fn mode(&self) -> &'static str {
        if self.locked { "locked" } else { "unlocked" }
    }
}

/// Access tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Tier {
    Hot,
    Cool,
    Cold,
    Archive,
}

impl Tier {
    pub(super) fn parse(text: &str) -> Option<Tier> {
        [Tier::Hot, Tier::Cool, Tier::Cold, Tier::Archive].into_iter().find(|tier| tier.name() == text)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Tier::Hot => "Hot",
            Tier::Cool => "Cool",
            Tier::Cold => "Cold",
            Tier::Archive => "Archive",
        }
    }
}

/// Bytes that are saved as base64.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content(pub(super) Bytes);

impl std::fmt::Debug for Content {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} bytes", self.0.len())
    }
}

impl Serialize for Content {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::digest::base64(&self.0))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes =
            super::digest::from_base64(&text).ok_or_else(|| serde::de::Error::custom("content is no base64"))?;
        Ok(Content(bytes.into()))
    }
}

/// The accounts that a seed describes.
pub(super) fn accounts(seed: &[seed::Account], tick: Tick) -> Result<BTreeMap<String, Account>, String> {
    let mut accounts = BTreeMap::new();
    for wanted in seed {
        let name = &wanted.account;
        if !is_account_name(name) {
            return Err(format!("storage account {name:?}: a name is 3 to 24 lower-case letters and digits"));
        }
        let mut containers = BTreeMap::new();
        for wanted in &wanted.containers {
            let at = |problem: String| format!("container {:?} of storage account {name:?}: {problem}", wanted.name);
            if !is_container_name(&wanted.name) {
                return Err(at("a name is 3 to 63 lower-case letters, digits and single hyphens".into()));
            }
            let mut container = Container::new(tick);
            container.protection = Protection::of(wanted).map_err(at)?;
            container.holds = wanted.legal_hold.then(|| seeded_hold(tick)).into_iter().collect();
            if let Some(retention) = container.protection.retention() {
                container.record.changed = Some(tick);
                let update = |update: &str| Update {
                    update: update.to_owned(),
                    days: retention.days,
                    at: tick,
                    by: uuid::Uuid::nil().to_string(),
                };
                container.record.history = vec![update("put")];
                container.record.history.extend(retention.locked.then(|| update("lock")));
            }
            if containers.insert(wanted.name.clone(), container).is_some() {
                return Err(at("named twice".into()));
            }
        }
        let account =
            Account { subscription: wanted.subscription.clone(), location: wanted.location.clone(), containers };
        if accounts.insert(name.clone(), account).is_some() {
            return Err(format!("storage account {name:?}: named twice"));
        }
    }
    Ok(accounts)
}

fn is_account_name(name: &str) -> bool {
    (3..=24).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether Azure takes the name for a container (DOC naming-and-referencing-containers).
pub(super) fn is_container_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_version_id_and_etag_and_time_as_recorded() {
        // go/TestSetImmutabilityPolicy #1.
        let tick = Tick::from_version_id("2022-11-08T20:13:10.8450258Z").unwrap();
        assert_eq!(tick.etag(), "0x8DAC1C5A8A4FFD2");
        assert_eq!(tick.iso(), "2022-11-08T20:13:10.8450258Z");
        assert_eq!(tick.http(), "Tue, 08 Nov 2022 20:13:10 GMT");
    }

    #[test]
    fn a_version_id_has_one_spelling() {
        for text in ["", "2022-11-08", "2022-11-08T20:13:10.845Z", "2022-11-08T20:13:10.8450258+00:00"] {
            assert_eq!(Tick::from_version_id(text), None, "{text}");
        }
    }

    #[test]
    fn a_seed_that_makes_no_sense_is_refused_by_name() {
        let parse = |text: &str| accounts(&toml::from_str::<seed::Seed>(text).unwrap().accounts, Tick(EPOCH));
        let account = |containers: &str| {
            format!(
                "[[storage]]\naccount = \"arc\"\nsubscription = \"s\"\nlocation = \"l\"\ncontainers = [{containers}]"
            )
        };
        for containers in [
            "{ name = \"vaults\", worm = \"version-level\", days = 1, locked = true }",
            "{ name = \"vaults\", worm = \"version-level\" }",
        ] {
            assert!(parse(&account(containers)).is_ok(), "{containers}");
        }
        for (containers, problem) in [
            ("{ name = \"vaults\", worm = \"container-level\" }", "needs `days`"),
            ("{ name = \"vaults\", worm = \"container-level\", days = 0 }", "from 1 to 146000"),
            ("{ name = \"vaults\", days = 1 }", "needs `worm`"),
            ("{ name = \"vaults\", worm = \"version-level\", locked = true }", "needs `days`"),
            ("{ name = \"Vaults\" }", "lower-case"),
            ("{ name = \"vaults\" }, { name = \"vaults\" }", "twice"),
        ] {
            let error = parse(&account(containers)).unwrap_err();
            assert!(error.contains(problem), "{containers}: {error}");
        }
    }
}
