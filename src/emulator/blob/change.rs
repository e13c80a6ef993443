//! What changes a blob that exists: delete, metadata, stored headers, tier, immutability policy, legal hold.

use super::ask::{Action, Ask, not_emulated};
use super::conditions::{self, Guard};
use super::errors::{Code, Refusal};
use super::state::{Account, Container, Tick, Tier, Version};
use super::worm::{self, Act};
use super::write::{default_type, settings, stamped, tier};
use crate::emulator::wire::Response;
use hyper::StatusCode;

/// Delete Blob. Of a container with versions the current version becomes a previous one, unless it is protected; a
/// previous version is deleted for good by its id.
pub(super) fn delete(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    const SNAPSHOTS: &str = "x-ms-delete-snapshots";
    let id = ask.version_id()?;
    ask.require(if id.is_some() { Action::VersionDelete } else { Action::BlobDelete })?;
    if ask.request.query("deletetype").is_some() {
        return Err(not_emulated("deletetype"));
    }
    match ask.header(SNAPSHOTS)? {
        // REC js/blob_versioning: refused by the name of the parameter, not of the header.
        Some(_) if id.is_some() => {
            return Err(Refusal::bad_query("versionid", ask.request.query("versionid").unwrap_or_default()));
        }
        None | Some("include") => {}
        Some("only") => return Err(not_emulated(SNAPSHOTS)),
        Some(other) => return Err(Refusal::bad_header(SNAPSHOTS, other)),
    }
    let container = account.container(container)?;
    let versions = container.protection.is_version_level();
    let version = container.find(name, id)?;
    conditions::check(ask, Guard::Change, Some(version))?;
    let tick = version.created;
    if id.is_some() && container.is_current(name, tick) {
        return Err(Code::OPERATION_NOT_ALLOWED_ON_ROOT_BLOB.into());
    }
    worm::permits(container, version, Act::Delete, ask.now)?;
    let permanent = id.is_some() || !versions;
    if permanent {
        container.remove(name, tick);
    } else if let Some(blob) = container.blobs.get_mut(name) {
        blob.current = None;
    }
    Ok(Response::new(StatusCode::ACCEPTED).header("x-ms-delete-type-permanent", permanent.to_string()))
}

/// Set Blob Metadata: a new version where versions are kept (DOC).
pub(super) fn set_metadata(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::BlobWrite)?;
    let metadata = ask.metadata()?;
    let container = account.container(container)?;
    let mut version = changeable(container, name, ask)?.clone();
    let versions = container.protection.is_version_level();
    if versions {
        version.created = container.next_version(name, ask.tick);
        version.policy = worm::inherited(container.protection, version.created);
    }
    version.modified = ask.tick;
    version.metadata = metadata;
    let response = stamped(StatusCode::OK, &version, versions);
    container.put(name, version);
    Ok(response)
}

/// Set Blob Properties: replaces all stored headers; never a new version.
pub(super) fn set_settings(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::BlobWrite)?;
    let mut settings = settings(ask)?;
    if settings.content_type.is_empty() {
        settings.content_type = default_type();
    }
    let container = account.container(container)?;
    let tick = changeable(container, name, ask)?.created;
    let version = container.version_mut(name, tick)?;
    version.settings = settings;
    version.modified = ask.tick;
    Ok(stamped(StatusCode::OK, version, false))
}

/// Set Blob Tier. Write-once rules do not forbid it (azure.md §7.4). Rehydration takes hours on Azure and is not
/// emulated; of a previous version it is refused (REC go/TestBlockBlobSetTierOnVersions #15).
pub(super) fn set_tier(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::BlobWrite)?;
    let wanted = tier(ask)?.ok_or_else(|| Refusal::no_header("x-ms-access-tier"))?;
    let container = account.container(container)?;
    let tick = container.find(name, ask.version_id()?)?.created;
    let current = container.is_current(name, tick);
    let version = container.version_mut(name, tick)?;
    match version.tier {
        Some((Tier::Archive, _)) if wanted == Tier::Archive => {}
        Some((Tier::Archive, _)) if current => return Err(not_emulated("rehydration")),
        Some((Tier::Archive, _)) => return Err(Code::BLOB_OPERATION_NOT_SUPPORTED.into()),
        _ => version.tier = Some((wanted, Some(ask.tick))),
    }
    Ok(Response::new(StatusCode::OK))
}

/// Set Blob Immutability Policy. The ETag stays (DOC).
pub(super) fn set_policy(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    let wanted = worm::requested_policy(ask)?.ok_or_else(|| Refusal::no_header(worm::UNTIL))?;
    let version = governed(account, container, name, ask)?;
    let policy = worm::replace(version.policy, wanted)?;
    version.policy = Some(policy);
    Ok(Response::new(StatusCode::OK)
        .header(worm::UNTIL, super::state::http_date(policy.until))
        .header(worm::MODE, policy.mode()))
}

/// Delete Blob Immutability Policy: only an unlocked one.
pub(super) fn delete_policy(
    account: &mut Account,
    container: &str,
    name: &str,
    ask: &Ask,
) -> Result<Response, Refusal> {
    let version = governed(account, container, name, ask)?;
    if version.policy.is_some_and(|policy| policy.locked) {
        return Err(Code::BLOB_IMMUTABLE_DUE_TO_POLICY.into());
    }
    version.policy = None;
    Ok(Response::new(StatusCode::OK))
}

/// Set Blob Legal Hold. GUESS[legal-hold-action]: that it takes the action that policies take; Microsoft's pages disagree.
pub(super) fn set_hold(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    let hold = worm::requested_hold(ask)?.ok_or_else(|| Refusal::no_header(worm::HOLD))?;
    let version = governed(account, container, name, ask)?;
    version.legal_hold = hold;
    Ok(Response::new(StatusCode::OK).header(worm::HOLD, hold.to_string()))
}

/// The current version, if its metadata and stored headers may be changed.
fn changeable<'a>(container: &'a Container, name: &str, ask: &Ask) -> Result<&'a Version, Refusal> {
    let version = container.find(name, None)?;
    conditions::check(ask, Guard::Change, Some(version))?;
    worm::permits(container, version, Act::Change, ask.now)?;
    Ok(version)
}

/// The version named by the request, to set its policy or hold: for those who may, in containers that have them.
fn governed<'a>(account: &'a mut Account, container: &str, name: &str, ask: &Ask) -> Result<&'a mut Version, Refusal> {
    ask.require(Action::SuperUser)?;
    let container = account.container(container)?;
    let version = container.find(name, ask.version_id()?)?;
    conditions::check(ask, Guard::Change, Some(version))?;
    let tick = version.created;
    if !container.protection.is_version_level() {
        return Err(Code::BLOB_OPERATION_NOT_SUPPORTED.into()); // GUESS[policy-on-unversioned]: the code.
    }
    container.version_mut(name, tick)
}

impl Container {
    fn version_mut(&mut self, name: &str, tick: Tick) -> Result<&mut Version, Refusal> {
        let version = self.blobs.get_mut(name).and_then(|blob| blob.versions.get_mut(&tick));
        version.ok_or_else(|| Code::BLOB_NOT_FOUND.into())
    }
}
