//! Whether what came back is what was captured. Pure: it compares two readings of an object and asks nobody. Differences
//! have stable codes, which docs/FINDINGS.md lists.
//!
//! Not compared, for it differs without anything being wrong: the recovery level, which is the target vault's own;
//! `exportable`, which a restore may flip, and `hsmPlatform`; whatever comes and goes with api-versions; the order of
//! `key_ops`; tags that are absent against tags that are empty (`azure.md` §1.7, §4.2).

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::live::Live;
use super::plan::Action;
use super::reading::{Reading, Version};
use crate::format::capture::Capture;

/// How bad a difference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It is what was captured, with something about it that must be put right.
    Minor,
    /// It is not what was captured, or less of it: then the step failed, whatever Azure answered.
    Grave,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $severity:ident;)+) => {
        /// What differs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$variant),+];

            /// The code as it appears in JSON and in docs/FINDINGS.md. Never changed, never used for something else.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $code),+ }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity),+ }
            }
        }
    };
}

codes! {
    /// A captured version is not there.
    VersionMissing = "version-missing", Grave;
    /// A version of a key has another public key, or shows none.
    OtherKey = "other-key", Grave;
    /// A version of a certificate has another thumbprint, or shows none.
    OtherCertificate = "other-certificate", Grave;
    /// A key that was in an HSM is not in one now, or the other way round; or it is of another type altogether.
    KeyType = "key-type", Grave;
    /// A certificate does not refer to the key and the secret that it had.
    Parts = "parts", Grave;
    /// The terms under which a key may leave the HSM.
    ReleasePolicy = "release-policy", Grave;
    /// A version that the capture does not have.
    ExtraVersion = "extra-version", Minor;
    /// The enabled flag, or one of the dates `nbf`, `exp`, `created`.
    Attributes = "attributes", Minor;
    /// Tags.
    Tags = "tags", Minor;
    /// A secret's content type.
    ContentType = "content-type", Minor;
    /// What a key may be used for.
    KeyOps = "key-ops", Minor;
    /// How a certificate is to be renewed.
    CertificatePolicy = "certificate-policy", Minor;
    /// How a key is to be rotated.
    RotationPolicy = "rotation-policy", Minor;
    /// There was nothing to compare with, or it could not be read.
    NotCompared = "not-compared", Minor;
}

/// One way in which a restored object differs from its capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// What differs.
    pub code: Code,
    /// How bad that is.
    pub severity: Severity,
    /// The version that differs; none where it is the object as a whole.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// One sentence, without the hidden parts of anything.
    pub detail: String,
}

impl Difference {
    fn new(code: Code, version: Option<&str>, detail: impl Into<String>) -> Self {
        Difference { code, severity: code.severity(), version: version.map(str::to_owned), detail: detail.into() }
    }

    /// That there was nothing to compare with, and why.
    pub fn not_compared(why: impl Display) -> Self {
        Difference::new(Code::NotCompared, None, format!("it could not be compared: {why}"))
    }

    /// That a key has no longer, or not yet, the rotation policy that it had.
    pub(super) fn rotation_policy(detail: impl Into<String>) -> Self {
        Difference::new(Code::RotationPolicy, None, detail)
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// Whether any difference means that the object is not the one that was captured.
pub fn grave(found: &[Difference]) -> bool {
    found.iter().any(|difference| difference.severity == Severity::Grave)
}

/// How the live object differs from its capture, the versions in the order of their ids, then the object as a whole.
///
/// What was recovered may have lived on after the capture: of that only what it lacks is a difference.
pub fn compare(captured: &Capture, live: &Live, action: Action) -> Vec<Difference> {
    readings(&Reading::of_capture(&captured.metadata), &Reading::of_live(live), action)
}

/// How one reading differs from another.
fn readings(captured: &Reading, live: &Reading, action: Action) -> Vec<Difference> {
    let copied = action.creates();
    let mut found = Vec::new();
    for (id, ours) in &captured.versions {
        let Some(theirs) = live.versions.get(id) else {
            found.push(Difference::new(Code::VersionMissing, Some(id), format!("version {id} did not come back")));
            continue;
        };
        identity(&mut found, id, ours, theirs);
        if copied {
            state(&mut found, id, ours, theirs);
        }
    }
    if copied {
        whole(&mut found, captured, live);
    }
    found
}

/// What makes a version the one that was captured, however long it lived on.
fn identity(found: &mut Vec<Difference>, id: &str, ours: &Version, theirs: &Version) {
    let mut told = |code, detail: String| found.push(Difference::new(code, Some(id), detail));
    if ours.public_key.is_some() && ours.public_key != theirs.public_key {
        told(Code::OtherKey, format!("version {id} came back with another public key"));
    }
    if ours.x5t.is_some() && ours.x5t != theirs.x5t {
        told(Code::OtherCertificate, format!("version {id} came back as another certificate"));
    }
    if let (Some(was), Some(is)) = (&ours.key_type, &theirs.key_type)
        && was != is
    {
        told(Code::KeyType, format!("version {id} was a key of type {was:?} and is one of type {is:?}"));
    }
    if let (Some(was), Some(is)) = (&ours.parts, &theirs.parts)
        && was != is
    {
        told(Code::Parts, format!("version {id} does not refer to the key and the secret that it had"));
    }
}

/// What a restore brings back as it was.
fn state(found: &mut Vec<Difference>, id: &str, ours: &Version, theirs: &Version) {
    let mut told = |code, what: &str| {
        found.push(Difference::new(code, Some(id), format!("version {id} came back with other {what}")));
    };
    let (a, b) = (&ours.attributes, &theirs.attributes);
    let fields = [
        ("enabled", a.enabled != b.enabled),
        ("nbf", a.not_before != b.not_before),
        ("exp", a.expires != b.expires),
        ("created", a.created != b.created),
    ];
    let differ: Vec<&str> = fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
    if !differ.is_empty() {
        told(Code::Attributes, &format!("attributes: {}", differ.join(", ")));
    }
    if ours.tags != theirs.tags {
        let names = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
            one.iter().filter(|(name, value)| other.get(*name) != Some(value)).count()
        };
        let (lost, new) = (names(&ours.tags, &theirs.tags), names(&theirs.tags, &ours.tags));
        told(Code::Tags, &format!("tags: {lost} of its own are not there, {new} are new"));
    }
    if ours.content_type != theirs.content_type {
        told(Code::ContentType, "content type");
    }
    // What bundles show of a key. Where one is missing, its public key is told to be.
    if let (Some(was), Some(is)) = (&ours.key_ops, &theirs.key_ops) {
        if was != is {
            told(Code::KeyOps, "permitted operations");
        }
        if ours.release_policy != theirs.release_policy {
            told(Code::ReleasePolicy, "terms for its release");
        }
    }
}

/// What belongs to the object and to none of its versions.
fn whole(found: &mut Vec<Difference>, captured: &Reading, live: &Reading) {
    for id in live.versions.keys().filter(|id| !captured.versions.contains_key(*id)) {
        found.push(Difference::new(Code::ExtraVersion, Some(id), format!("version {id} was not in the capture")));
    }
    if let Some(policy) = &captured.certificate_policy {
        let differ: Vec<&str> = match &live.certificate_policy {
            Some(theirs) => {
                policy.iter().filter(|(key, value)| theirs.get(*key) != Some(value)).map(|(k, _)| *k).collect()
            }
            None => vec!["all of it"],
        };
        if !differ.is_empty() {
            let detail = format!("it came back with another certificate policy: {}", differ.join(", "));
            found.push(Difference::new(Code::CertificatePolicy, None, detail));
        }
    }
    match (&captured.rotation_policy, &live.rotation_policy) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            found.push(Difference::rotation_policy("it came back with another rotation policy"));
        }
        (Some(ours), None) if !ours.is_empty() => {
            found.push(Difference::rotation_policy("its rotation policy could not be read, and so not compared"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
