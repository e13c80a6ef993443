//! Targets for what people write: settings, policies, keys, and the words of a command line.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::{Judged, holds, no};
use crate::config::{ContainerUrl, Endpoint, ProxyUrl, Settings};
use crate::format::json;
use crate::format::paths::ArchivePath;
use crate::model::{
    Digest, Glob, Object, Pattern, StorePath, SubscriptionId, Tag, VaultUri, duration, moment, region_name,
};
use crate::policy::{Choice, Policy};
use crate::seal::{Identities, NoPrompt, Recipients};
use crate::tlog::{Signer, Verifier};
use crate::verify::Subset;

fn text(bytes: &[u8]) -> Result<&str, super::Not> {
    std::str::from_utf8(bytes).map_err(|_| no("it is not UTF-8"))
}

pub(super) fn settings(bytes: &[u8]) -> Judged {
    // The folder is nobody's: what settings name is looked for there, and not found.
    let settings = Settings::parse("FILE", text(bytes)?, Path::new("/nowhere"), &BTreeMap::new()).map_err(no)?;
    holds(settings.warnings().iter().all(|warning| !warning.is_empty()), "a warning says nothing")
}

pub(super) fn policy(bytes: &[u8]) -> Judged {
    let policy = Policy::parse(text(bytes)?, "FILE").map_err(no)?;
    let canonical = policy.canonical();
    holds(json::read::<Value>(canonical.as_bytes()).is_ok(), "its canonical form is not canonical")?;
    holds(Digest::of(canonical.as_bytes()) == policy.sha256(), "its digest is of something else")?;
    let _ = policy.findings();
    Ok(())
}

pub(super) fn identity(bytes: &[u8]) -> Judged {
    Identities::parse(Path::new("FILE"), bytes, Arc::new(NoPrompt)).map(drop).map_err(no)
}

pub(super) fn recipient(bytes: &[u8]) -> Judged {
    let lines: Vec<&str> = text(bytes)?.lines().collect();
    let recipients = Recipients::parse(&lines).map_err(no)?;
    holds(recipients.len() == lines.len(), "some recipient got lost")
}

pub(super) fn key(bytes: &[u8]) -> Judged {
    let text = text(bytes)?;
    if let Ok(signer) = Signer::parse(text) {
        holds(*signer.encode() == text, "a signer is written otherwise than it was read")?;
        return holds(Verifier::parse(text).is_err(), "a signer passes for a verifier");
    }
    let verifier = Verifier::parse(text).map_err(no)?;
    holds(verifier.to_string() == text, "a verifier is written otherwise than it was read")
}

pub(super) fn words(bytes: &[u8]) -> Judged {
    let text = text(bytes)?;
    let known = [paths(text)?, names(text)?, times(text)?, addresses(text)?];
    if known.contains(&true) { Ok(()) } else { Err(no("it is nothing")) }
}

fn paths(text: &str) -> Result<bool, super::Not> {
    let Some(path) = StorePath::parse(text) else { return Ok(false) };
    let safe = Path::new(text).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    holds(path.as_str() == text && safe, "a path is not what it was, or leads elsewhere")?;
    if let Some(file) = ArchivePath::parse(&path) {
        holds(file.store_path().is_ok_and(|again| again == path), "a file of an archive is somewhere else")?;
    }
    Ok(true)
}

fn names(text: &str) -> Result<bool, super::Not> {
    let glob = Glob::parse(text);
    if let Some(glob) = &glob {
        holds(glob.as_str() == text && glob.covers(glob), "a glob does not cover itself")?;
        let _ = glob.matches(text);
    }
    if let Some(object) = Object::parse(text) {
        holds(Object::parse(&object.to_string()).as_ref() == Some(&object), "an object is written as another")?;
        let pattern = Pattern::parse(&object.to_string());
        holds(pattern.is_some_and(|pattern| pattern.matches(&object)), "an object is not its own pattern")?;
    }
    if let Some(digest) = Digest::parse(text) {
        holds(digest.to_string() == text, "a digest is written otherwise than it was read")?;
    }
    if let Some(region) = region_name(text) {
        holds(region_name(&region).as_ref() == Some(&region), "a region's name is no region's name")?;
    }
    if let Ok(subset) = Subset::try_from(text.to_owned()) {
        holds(subset.to_string() == text, "a subset is written otherwise than it was read")?;
    }
    let subscription = SubscriptionId::parse(text);
    if let Some(id) = &subscription {
        holds(SubscriptionId::parse(id.as_str()).as_ref() == Some(id), "a subscription's id is none")?;
    }
    Ok(glob.is_some() || subscription.is_some() || Tag::parse(text).is_some())
}

fn times(text: &str) -> Result<bool, super::Not> {
    let span = duration::parse(text);
    if let Ok(span) = span {
        holds(duration::parse(&duration::render(span)) == Ok(span), "a duration is written as another")?;
    }
    for refused in [span.as_ref().err(), moment::parse(text).as_ref().err()].into_iter().flatten() {
        // It repeats the word, which stands on the screen already.
        holds(!refused.contains(char::is_control), "a refusal has control characters")?;
    }
    Ok(span.is_ok())
}

fn addresses(text: &str) -> Result<bool, super::Not> {
    let vault = VaultUri::parse(text);
    if let Some(vault) = &vault {
        holds(VaultUri::parse(vault.as_str()).as_ref() == Some(vault), "a vault is written as another")?;
        let plain = vault.host().bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        holds(plain, "a vault's host is no host")?;
    }
    if let Ok(container) = ContainerUrl::parse(text) {
        let again = ContainerUrl::parse(container.as_str());
        holds(again.is_ok_and(|again| again == container), "a container is written as another")?;
    }
    for refused in [ProxyUrl::parse(text).err(), Endpoint::parse(text).err()].into_iter().flatten() {
        // A proxy's address may have a password in it.
        holds(!refused.contains(char::is_control), "a refusal has control characters")?;
    }
    let _ = Choice::parse(text);
    Ok(vault.is_some())
}
