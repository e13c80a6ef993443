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
use crate::model::{Attributes, Digest, Kind, Object, object_of_id};
use crate::vault::{self, Condition, Item, Listing};

/// Attempts at an object that keeps changing under our hands.
const ATTEMPTS: u32 = 4;

/// From here on Key Vault may refuse to back up an object (500 past versions, Microsoft's backup guide).
const VERSIONS_WARN: usize = 400;

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
        match attempt_fetch(vault, object, listed, tool).await.map_err(|error| gap_of(object, &error))? {
            Some(fetched) => return Ok(fetched),
            // The service's times have whole seconds: one that began this second is only clear of us in the next.
            None if attempt < ATTEMPTS => ambient.sleep(Duration::from_millis(1100)).await,
            None => {}
        }
    }
    let detail = format!("{object} got a new version during each of {ATTEMPTS} attempts to back it up");
    Err(Gap { code: "torn-read".into(), detail })
}

fn gap_of(object: &Object, error: &vault::Error) -> Gap {
    let code = match error.condition {
        Condition::NotFound => "vanished",
        other => other.name(),
    };
    Gap { code: code.into(), detail: format!("{object}: {error}") }
}

/// One attempt; `None` for a torn read.
async fn attempt_fetch(
    vault: &dyn vault::Read,
    object: &Object,
    listed: &RawValue,
    tool: &str,
) -> Result<Option<Fetched>, vault::Error> {
    let backup = vault.backup(object).await?;
    let began = began(&backup.exchange);
    let versions = read_versions(vault, object).await?;
    let torn = versions.iter().any(|version| match (version.attributes.created, began) {
        (Some(created), Some(began)) => created >= began,
        _ => false,
    });
    if torn {
        return Ok(None);
    }
    let current = versions.iter().max_by_key(|v| (v.attributes.created, v.attributes.updated)).map(|v| v.id.clone());
    let bundles = read_bundles(vault, object, &versions).await?;
    let rotation_policy = match object.kind {
        Kind::Key => optional(vault.get(Item::RotationPolicy(object.name.clone())).await)?.map(|answer| answer.body),
        _ => None,
    };
    let newest = bundles.iter().find(|(id, _)| *id == current).map(|(_, body)| body);
    let (key_type, thumbprint) = describe(object.kind, newest.map(|body| body.get()));
    let many_versions = versions.len() > VERSIONS_WARN;
    let metadata = Metadata {
        format: capture::FORMAT.into(),
        vault: vault.uri().clone(),
        object: object.clone(),
        captured_at: backup.exchange.date.or(began).unwrap_or_default(),
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

/// The second in which the backup began, by the service's clock: its `Date` less the time the request took. Rounded
/// down, so that in doubt an object is taken again.
fn began(exchange: &vault::Exchange) -> Option<DateTime<Utc>> {
    let took = TimeDelta::milliseconds(i64::try_from(exchange.took_ms).ok()?);
    let began = exchange.date? - took;
    DateTime::from_timestamp(began.timestamp(), 0)
}

struct Version {
    id: String,
    raw: Box<RawValue>,
    attributes: Attributes,
    fingerprint: Digest,
}

async fn read_versions(vault: &dyn vault::Read, object: &Object) -> Result<Vec<Version>, vault::Error> {
    let mut versions = Vec::new();
    let mut pages = vault.list(Listing::Versions(object.clone()));
    while let Some(page) = pages.next().await {
        for raw in page?.items {
            let item: Value = serde_json::from_str(raw.get()).unwrap_or_default();
            let id = item.get("kid").or_else(|| item.get("id")).and_then(Value::as_str).and_then(object_of_id);
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
        bundles.push((id, vault.get(item).await?.body));
    }
    Ok(bundles)
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
fn describe(kind: Kind, bundle: Option<&str>) -> (Option<String>, Option<String>) {
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
