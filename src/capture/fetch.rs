//! Fetching one object whole: backup, then versions, then what neither carries. A version that was created while we
//! looked means a torn read, and the object is taken again.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ambient::Ambient;
use crate::format::capture::{self, BackupFacts, Capture, Metadata, ServiceFacts};
use crate::format::fingerprint::fingerprint;
use crate::format::jwk::thumbprint;
use crate::format::manifest::Gap;
use crate::model::{Attributes, Digest, Kind, Object, VaultUri, object_in};
use crate::vault::{self, Condition, Item, Listing};

/// How far a vault's clock may be from ours. A date beyond that says nothing of when a backup was taken, nor what has
/// changed since.
const SKEW_MAX: TimeDelta = TimeDelta::days(1);

/// Attempts at an object that keeps changing under our hands.
const ATTEMPTS: u32 = 4;

/// From here on Key Vault may refuse to back up an object (500 past versions, Microsoft's backup guide).
const VERSIONS_WARN: usize = 400;

/// Beyond this an object that cannot be backed up is one that has too many versions (the same guide; `azure.md` §1.3).
const VERSIONS_MAX: usize = 500;

/// A capture, and what the manifest says of it.
#[derive(Debug)]
pub struct Fetched {
    /// The capture.
    pub capture: Capture,
    /// The newest version's id.
    pub current: Option<String>,
    /// Digest of the versions list.
    pub versions_fingerprint: Digest,
    /// A key's type.
    pub key_type: Option<String>,
    /// Thumbprint of the current public key or certificate.
    pub thumbprint: Option<String>,
    /// Whether so many versions exist that Azure may soon refuse a backup.
    pub many_versions: bool,
}

/// Takes one object. `listed` is its item in the sweep.
///
/// What cannot be taken is a [`Gap`], never an error: one object must not stop the others.
pub async fn fetch(
    vault: &dyn vault::Read,
    object: &Object,
    listed: &RawValue,
    tool: &str,
    ambient: &Ambient,
) -> Result<Fetched, Gap> {
    for attempt in 1..=ATTEMPTS {
        let backup = match vault.backup(object).await {
            Ok(backup) => backup,
            Err(error) => return Err(no_backup(vault, object, &error).await),
        };
        let now = ambient.now();
        match describe_backup(vault, object, listed, tool, backup, now).await.map_err(|error| gap_of(object, &error))? {
            Some(fetched) => return Ok(fetched),
            // The service's times have whole seconds: one that began this second is only clear of us in the next.
            None if attempt < ATTEMPTS => ambient.sleep(Duration::from_millis(1100)).await,
            None => {}
        }
    }
    let detail = format!("{object} changed during each of {ATTEMPTS} attempts to back it up");
    Err(Gap { code: "torn-read".into(), detail })
}

fn gap_of(object: &Object, error: &vault::Error) -> Gap {
    let code = match error.condition {
        Condition::NotFound => "vanished",
        other => other.name(),
    };
    Gap { code: code.into(), detail: format!("{object}: {error}") }
}

/// Why a backup failed. Azure refuses an object with too many versions in more than one way: as a bad request, or by
/// taking too long. Only the number of versions tells.
async fn no_backup(vault: &dyn vault::Read, object: &Object, error: &vault::Error) -> Gap {
    if matches!(error.condition, Condition::Rejected | Condition::Unavailable)
        && let Ok(versions) = read_versions(vault, object).await
        && versions.len() > VERSIONS_MAX
    {
        let count = versions.len();
        let detail = format!("{object} has {count} versions, and Azure backs up at most {VERSIONS_MAX}: {error}");
        return Gap { code: "too-many-versions".into(), detail };
    }
    gap_of(object, error)
}

/// A backup with all that it does not tell; `None` for a torn read.
async fn describe_backup(
    vault: &dyn vault::Read,
    object: &Object,
    listed: &RawValue,
    tool: &str,
    backup: vault::Backup,
    now: DateTime<Utc>,
) -> Result<Option<Fetched>, vault::Error> {
    let Some((began, captured_at)) = times(&backup.exchange) else {
        let message = "the answer to the backup has no date, and without it nobody can tell what changed meanwhile";
        return Err(vault::Error::new(Condition::Malformed, message));
    };
    if (captured_at - now).abs() > SKEW_MAX {
        let message = format!("the answer to the backup is dated {captured_at}, and this machine's clock shows {now}");
        return Err(vault::Error::new(Condition::Malformed, message).hint("set this machine's clock"));
    }
    let versions = read_versions(vault, object).await?;
    if versions.iter().any(|version| version.changed_since(began)) {
        return Ok(None);
    }
    let current = versions.iter().max_by_key(|v| (v.attributes.created, v.attributes.updated)).map(|v| v.id.clone());
    let bundles = read_bundles(vault, object, &versions).await?;
    let rotation_policy = match object.kind {
        Kind::Key => optional(vault.get(Item::RotationPolicy(object.name.clone())).await)?.map(|answer| answer.body),
        _ => None,
    };
    let newest = bundles.iter().find(|(id, _)| *id == current).map(|(_, body)| body);
    let (key_type, thumbprint) = described(object.kind, newest.map(|body| body.get()));
    let many_versions = versions.len() > VERSIONS_WARN;
    let metadata = Metadata {
        format: capture::FORMAT.into(),
        vault: vault.uri().clone(),
        object: object.clone(),
        captured_at,
        tool: tool.to_owned(),
        backup: BackupFacts::of(&backup.blob),
        listed: listed.to_owned(),
        versions: versions.iter().map(|version| version.raw.clone()).collect(),
        bundles: bundles.into_iter().map(|(_, body)| body).collect(),
        rotation_policy,
        service: ServiceFacts {
            api_version: backup.exchange.api_version.clone(),
            region: backup.exchange.region.clone(),
            service_version: backup.exchange.service_version.clone(),
            request_id: backup.exchange.request_id.clone(),
        },
    };
    let versions_fingerprint = digest_of(&versions);
    let capture = Capture { blob: backup.blob, metadata };
    Ok(Some(Fetched { capture, current, versions_fingerprint, key_type, thumbprint, many_versions }))
}

/// The second in which the backup began, by the service's clock: its `Date` less the time the request took, rounded
/// down, so that in doubt an object is taken again. And the `Date` itself.
fn times(exchange: &vault::Exchange) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let date = exchange.date?;
    let took = TimeDelta::milliseconds(i64::try_from(exchange.took_ms).ok()?);
    let began = DateTime::from_timestamp(date.checked_sub_signed(took)?.timestamp(), 0)?;
    Some((began, date))
}

struct Version {
    id: String,
    raw: Box<RawValue>,
    attributes: Attributes,
    fingerprint: Digest,
}

impl Version {
    /// Whether it was created or changed in this second or later. The backup may then hold it as it was, or not at all.
    fn changed_since(&self, second: DateTime<Utc>) -> bool {
        let Attributes { created, updated, .. } = &self.attributes;
        [created, updated].into_iter().flatten().any(|at| *at >= second)
    }
}

async fn read_versions(vault: &dyn vault::Read, object: &Object) -> Result<Vec<Version>, vault::Error> {
    let mut versions = Vec::new();
    let mut pages = vault.list(Listing::Versions(object.clone()));
    while let Some(page) = pages.next().await {
        for raw in page?.items {
            let item: Value = serde_json::from_str(raw.get()).unwrap_or_default();
            let id = item.get("kid").or_else(|| item.get("id")).and_then(Value::as_str);
            let id = id.and_then(|id| object_in(vault.uri(), id));
            let malformed = || {
                let message = format!("the versions of {object} hold an item that is none of them");
                vault::Error::new(Condition::Malformed, message)
            };
            let Some((_, Some(id))) = id.filter(|(named, _)| named == object) else { return Err(malformed()) };
            let fingerprint = fingerprint(&raw).map_err(|_| malformed())?;
            versions.push(Version { id, attributes: Attributes::of(&item), fingerprint, raw });
        }
    }
    if versions.is_empty() {
        return Err(vault::Error::new(
            Condition::NotFound,
            format!("{object} has no versions; it was deleted meanwhile"),
        ));
    }
    versions.sort_by(|a, b| a.id.cmp(&b.id));
    versions.dedup_by(|a, b| a.id == b.id);
    Ok(versions)
}

/// A digest of an object's versions list: equal means that no version changed.
pub async fn versions_fingerprint(vault: &dyn vault::Read, object: &Object) -> Result<Digest, Gap> {
    let versions = read_versions(vault, object).await.map_err(|error| gap_of(object, &error))?;
    Ok(digest_of(&versions))
}

fn digest_of(versions: &[Version]) -> Digest {
    let joined: Vec<u8> = versions.iter().flat_map(|version| version.fingerprint.0).collect();
    Digest::of(&joined)
}

/// The bundles that carry public parts: every version of a key and of a certificate. Secrets have none that we may read.
async fn read_bundles(
    vault: &dyn vault::Read,
    object: &Object,
    versions: &[Version],
) -> Result<Vec<(Option<String>, Box<RawValue>)>, vault::Error> {
    let mut bundles = Vec::new();
    for version in versions {
        let id = Some(version.id.clone());
        let item = match object.kind {
            Kind::Key => Item::Key(object.name.clone(), id.clone()),
            Kind::Certificate => Item::Certificate(object.name.clone(), id.clone()),
            Kind::Secret => break,
        };
        let body = vault.get(item).await?.body;
        if !is_of(vault.uri(), object, &version.id, &body) {
            let message = format!("the answer for version {} of {object} is not that version", version.id);
            return Err(vault::Error::new(Condition::Malformed, message));
        }
        bundles.push((id, body));
    }
    Ok(bundles)
}

/// Whether a bundle says of itself that it is this version of this object.
fn is_of(vault: &VaultUri, object: &Object, version: &str, bundle: &RawValue) -> bool {
    let bundle: Value = serde_json::from_str(bundle.get()).unwrap_or_default();
    let id = bundle.get("key").and_then(|key| key.get("kid")).or_else(|| bundle.get("id")).and_then(Value::as_str);
    let named = id.and_then(|id| object_in(vault, id));
    named.is_some_and(|(named, id)| named == *object && id.as_deref() == Some(version))
}

/// What is not there, or may not be read, is simply not taken along.
fn optional(answer: Result<vault::Answer, vault::Error>) -> Result<Option<vault::Answer>, vault::Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if matches!(error.condition, Condition::NotFound | Condition::Denied | Condition::Forbidden) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A key's type and the thumbprint of the newest version.
fn described(kind: Kind, bundle: Option<&str>) -> (Option<String>, Option<String>) {
    let bundle: Value = bundle.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match kind {
        Kind::Key => {
            let key = bundle.get("key");
            let key_type = key.and_then(|key| key.get("kty")).and_then(Value::as_str).map(str::to_owned);
            (key_type, key.and_then(thumbprint))
        }
        Kind::Certificate => (None, bundle.get("x5t").and_then(Value::as_str).map(str::to_owned)),
        Kind::Secret => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::{Clock, ManualClock, SeededRandom};
    use crate::capture::{Found, List, Room, sweep};
    use crate::model::VaultUri;
    use crate::vault::Read as _;
    use crate::vault::memory::{Call, Memory, Moment};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    const START: i64 = 1_800_000_000;

    struct Bench {
        vault: Memory,
        clock: Arc<ManualClock>,
        ambient: Ambient,
    }

    /// A vault with one object, made a minute ago.
    fn bench(text: &str) -> Bench {
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(START, 0).unwrap()));
        let vault = Memory::new(VaultUri::parse("https://v.vault.azure.net").unwrap(), clock.clone());
        vault.put(&Object::parse(text).unwrap());
        clock.advance(Duration::from_secs(60));
        let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(1)));
        Bench { vault, clock, ambient }
    }

    impl Bench {
        async fn fetch(&self, text: &str) -> Result<Fetched, Gap> {
            let listed = r#"{"id":"as listed"}"#.to_owned();
            let listed = RawValue::from_string(listed).unwrap();
            fetch(&self.vault, &Object::parse(text).unwrap(), &listed, "tool", &self.ambient).await
        }
    }

    #[tokio::test]
    async fn a_capture_holds_all_versions_their_public_parts_and_the_rotation_policy() {
        let bench = bench("key/k");
        let key = Object::parse("key/k").unwrap();
        let newest = bench.vault.put(&key);
        bench.vault.change(&key, |version| version.key_type = "RSA-HSM".into());
        bench.clock.advance(Duration::from_secs(5));
        let fetched = bench.fetch("key/k").await.unwrap();
        let Metadata { versions, bundles, rotation_policy, captured_at, backup, .. } = &fetched.capture.metadata;
        assert_eq!((versions.len(), bundles.len(), rotation_policy.is_some()), (2, 2, true));
        assert!(versions[0].get() < versions[1].get(), "ordered by version id, whatever the order of the list");
        assert_eq!((fetched.current.as_deref(), fetched.key_type.as_deref()), (Some(newest.as_str()), Some("RSA-HSM")));
        assert!(fetched.thumbprint.is_some() && !fetched.many_versions);
        assert_eq!(captured_at.timestamp(), START + 65);
        assert_eq!(backup.size, fetched.capture.blob.len() as u64);
        let secret = self::bench("secret/s").fetch("secret/s").await.unwrap();
        assert!(secret.capture.metadata.bundles.is_empty() && secret.thumbprint.is_none());
        let certificate = self::bench("certificate/c").fetch("certificate/c").await.unwrap();
        assert_eq!((certificate.capture.metadata.bundles.len(), certificate.thumbprint.is_some()), (1, true));
    }

    #[tokio::test]
    async fn a_version_that_appears_between_backup_and_list_has_the_object_taken_again() {
        let bench = bench("key/k");
        let backups = Arc::new(AtomicU32::new(0));
        let counted = backups.clone();
        bench.vault.interfere(move |vault, moment, call| {
            if let (Moment::After, Call::Backup(object)) = (moment, call)
                && counted.fetch_add(1, Ordering::SeqCst) == 0
            {
                vault.put(object);
            }
            Ok(())
        });
        let fetched = bench.fetch("key/k").await.unwrap();
        assert_eq!(backups.load(Ordering::SeqCst), 2);
        assert_eq!(fetched.capture.metadata.versions.len(), 2);
        let blob: Value = serde_json::from_slice(&fetched.capture.blob).unwrap();
        assert_eq!(blob["versions"].as_array().unwrap().len(), 2, "the blob and its description are of one moment");
    }

    #[tokio::test]
    async fn a_change_of_an_old_version_between_backup_and_list_is_a_torn_read_too() {
        let bench = bench("secret/s");
        let first = Arc::new(AtomicU32::new(0));
        bench.vault.interfere(move |vault, moment, call| {
            if let (Moment::After, Call::Backup(object)) = (moment, call)
                && first.fetch_add(1, Ordering::SeqCst) == 0
            {
                vault.change(object, |version| version.enabled = false);
            }
            Ok(())
        });
        let fetched = bench.fetch("secret/s").await.unwrap();
        let blob: Value = serde_json::from_slice(&fetched.capture.blob).unwrap();
        assert_eq!(blob["versions"][0]["enabled"], false);
    }

    #[tokio::test]
    async fn an_object_that_never_stands_still_is_a_gap_after_a_bounded_number_of_attempts() {
        let bench = bench("key/k");
        bench.vault.interfere(|vault, moment, call| {
            if let (Moment::After, Call::Backup(object)) = (moment, call) {
                vault.put(object);
            }
            Ok(())
        });
        let before = bench.vault.traffic().requests;
        assert_eq!(bench.fetch("key/k").await.unwrap_err().code, "torn-read");
        assert_eq!(bench.vault.traffic().requests - before, 2 * u64::from(ATTEMPTS), "a backup and a list each");
        assert!(bench.clock.now().timestamp() >= START + 60 + i64::from(ATTEMPTS) - 1, "each in a second of its own");
    }

    #[tokio::test]
    async fn in_doubt_about_the_second_an_object_is_taken_again() {
        // Created at .900 of a second in which the slow backup began at .950: the times say the same second.
        let bench = bench("secret/s");
        bench.clock.advance(Duration::from_millis(900));
        let secret = Object::parse("secret/s").unwrap();
        bench.vault.put(&secret);
        bench.clock.advance(Duration::from_millis(50));
        let (clock, calls) = (bench.clock.clone(), Arc::new(AtomicU32::new(0)));
        let counted = calls.clone();
        bench.vault.interfere(move |_, moment, call| {
            if let (Moment::Before, Call::Backup(_)) = (moment, call) {
                counted.fetch_add(1, Ordering::SeqCst);
                clock.advance(Duration::from_millis(1500));
            }
            Ok(())
        });
        let fetched = bench.fetch("secret/s").await.unwrap();
        assert_eq!((calls.load(Ordering::SeqCst), fetched.capture.metadata.versions.len()), (2, 2));
    }

    #[test]
    fn the_second_in_which_a_backup_began_is_rounded_down() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        let exchange = |took_ms| vault::Exchange { date: at(100), took_ms, ..vault::Exchange::default() };
        for (took, began) in [(0, 100), (1, 99), (999, 99), (1000, 99), (1001, 98)] {
            assert_eq!(times(&exchange(took)).map(|(began, _)| began), at(began), "{took} ms");
        }
        assert_eq!(times(&exchange(u64::MAX)), None);
        assert_eq!(times(&vault::Exchange::default()), None);
    }

    #[tokio::test]
    async fn what_goes_away_or_is_refused_is_a_gap_with_its_code() {
        let fails = |condition: Condition| {
            move |_: &Memory, moment: Moment, call: &Call<'_>| match (moment, call) {
                (Moment::Before, Call::Backup(_)) => Err(vault::Error::new(condition, "no")),
                _ => Ok(()),
            }
        };
        for (condition, code) in [
            (Condition::NotFound, "vanished"),
            (Condition::Denied, "denied"),
            (Condition::Forbidden, "forbidden"),
            (Condition::Malformed, "malformed"),
        ] {
            let bench = bench("secret/s");
            bench.vault.interfere(fails(condition));
            let gap = bench.fetch("secret/s").await.unwrap_err();
            assert_eq!((gap.code.as_str(), gap.detail.as_str()), (code, "secret/s: no"));
        }
        let bench = bench("secret/s");
        bench.vault.interfere(|vault, moment, call| {
            if let (Moment::After, Call::Backup(object)) = (moment, call) {
                vault.delete(object);
            }
            Ok(())
        });
        assert_eq!(bench.fetch("secret/s").await.unwrap_err().code, "vanished", "deleted after its backup");
    }

    #[tokio::test]
    async fn a_backup_that_fails_for_too_many_versions_says_how_many() {
        for (versions, condition, code) in [
            (501, Condition::Rejected, "too-many-versions"),
            (501, Condition::Unavailable, "too-many-versions"),
            (501, Condition::Denied, "denied"),
            (500, Condition::Unavailable, "unavailable"),
        ] {
            let bench = bench("secret/s");
            (1..versions).for_each(|_| drop(bench.vault.put(&Object::parse("secret/s").unwrap())));
            bench.vault.interfere(move |_, _, call| match call {
                Call::Backup(_) => Err(vault::Error::new(condition, "no")),
                _ => Ok(()),
            });
            let gap = bench.fetch("secret/s").await.unwrap_err();
            assert_eq!(gap.code, code, "{versions} {condition:?}");
            assert!(code != "too-many-versions" || gap.detail.starts_with("secret/s has 501 versions"), "{gap:?}");
        }
        // A backup that works is not asked how many versions it holds.
        let bench = bench("secret/s");
        (1..501).for_each(|_| drop(bench.vault.put(&Object::parse("secret/s").unwrap())));
        bench.clock.advance(Duration::from_secs(60));
        let fetched = bench.fetch("secret/s").await.unwrap();
        assert!(fetched.many_versions && fetched.capture.metadata.versions.len() == 501);
    }

    #[tokio::test]
    async fn a_rotation_policy_that_may_not_be_read_is_left_out_and_one_that_cannot_be_is_a_gap() {
        for (condition, taken) in [
            (Condition::Denied, true),
            (Condition::NotFound, true),
            (Condition::Forbidden, true),
            (Condition::Throttled, false),
        ] {
            let bench = bench("key/k");
            bench.vault.interfere(move |_, _, call| match call {
                Call::Get(Item::RotationPolicy(_)) => Err(vault::Error::new(condition, "no")),
                _ => Ok(()),
            });
            match bench.fetch("key/k").await {
                Ok(fetched) => assert!(taken && fetched.capture.metadata.rotation_policy.is_none(), "{condition:?}"),
                Err(gap) => assert!(!taken && gap.code == "throttled", "{condition:?}: {gap:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_foreign_item_among_the_versions_is_no_part_of_the_object() {
        let bench = bench("key/k");
        let listed = |id: &str| RawValue::from_string(format!(r#"{{"kid":"{id}"}}"#)).unwrap();
        for foreign in [
            "https://v.vault.azure.net/keys/other/1",
            "https://v.vault.azure.net/keys/k",
            "https://w.vault.azure.net/keys/k/1",
            "nonsense",
        ] {
            let vault = Foreign(&bench.vault, listed(foreign));
            let object = Object::parse("key/k").unwrap();
            let gap = fetch(&vault, &object, &listed("x"), "tool", &bench.ambient).await.unwrap_err();
            assert_eq!(gap.code, "malformed", "{foreign}");
            assert_eq!(versions_fingerprint(&vault, &object).await.unwrap_err().code, "malformed");
        }
    }

    /// A vault whose versions list holds one item too many.
    struct Foreign<'a>(&'a Memory, Box<RawValue>);

    #[async_trait::async_trait]
    impl vault::Read for Foreign<'_> {
        fn uri(&self) -> &VaultUri {
            self.0.uri()
        }
        fn list(&self, what: Listing) -> futures::stream::BoxStream<'_, Result<vault::Page, vault::Error>> {
            let page = vault::Page { items: vec![self.1.clone()], exchange: vault::Exchange::default() };
            self.0.list(what).chain(futures::stream::iter([Ok(page)])).boxed()
        }
        async fn get(&self, what: Item) -> Result<vault::Answer, vault::Error> {
            self.0.get(what).await
        }
        async fn backup(&self, object: &Object) -> Result<vault::Backup, vault::Error> {
            self.0.backup(object).await
        }
        fn traffic(&self) -> vault::Traffic {
            self.0.traffic()
        }
    }

    #[tokio::test]
    async fn a_change_that_no_list_shows_changes_the_digest_of_the_versions() {
        let bench = bench("secret/s");
        let secret = Object::parse("secret/s").unwrap();
        let old = bench.vault.put(&secret);
        bench.vault.put(&secret);
        let shown = async || match sweep(&bench.vault, [List::Live(Kind::Secret)], &Room::default()).next().await {
            Some(Found::Live(_, swept)) => swept.fingerprint,
            other => panic!("{other:?}"),
        };
        let listed = shown().await;
        let before = versions_fingerprint(&bench.vault, &secret).await.unwrap();
        assert_eq!(versions_fingerprint(&bench.vault, &secret).await.unwrap(), before);
        bench.vault.change(&secret, |version| version.enabled &= version.id != old);
        assert_eq!(shown().await, listed);
        assert_ne!(versions_fingerprint(&bench.vault, &secret).await.unwrap(), before);
    }
}
