//! Operations on containers: create, look, delete, list. Lists of blobs are in `list`.

use super::ask::{Action, Ask, not_emulated};
use super::errors::{Code, Refusal};
use super::list::page_size;
use super::state::{Account, Container, is_container_name};
use super::worm;
use super::xml::Xml;
use crate::emulator::wire::Response;
use hyper::StatusCode;
use std::ops::Bound;

impl Account {
    /// A container that exists.
    pub(super) fn container(&mut self, name: &str) -> Result<&mut Container, Refusal> {
        self.containers.get_mut(name).ok_or_else(|| Code::CONTAINER_NOT_FOUND.into())
    }
}

/// Create Container. Containers made here are unprotected: protection is set through Azure Resource Manager.
pub(super) fn create(account: &mut Account, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::ContainerWrite)?;
    if !is_container_name(name) {
        return Err(Code::INVALID_RESOURCE_NAME.into());
    }
    if account.containers.contains_key(name) {
        return Err(Code::CONTAINER_ALREADY_EXISTS.into());
    }
    if ask.header("x-ms-blob-public-access")?.is_some() {
        return Err(not_emulated("x-ms-blob-public-access"));
    }
    let mut container = Container::new(ask.tick);
    container.metadata = ask.metadata()?;
    let response = stamped(StatusCode::CREATED, &container);
    account.containers.insert(name.to_owned(), container);
    Ok(response)
}

/// Get Container Properties and Get Container Metadata. Whether a policy is locked cannot be seen here, only through
/// Azure Resource Manager (azure.md §7.3).
pub(super) fn properties(account: &mut Account, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::ContainerRead)?;
    let container = account.container(name)?;
    let mut response = stamped(StatusCode::OK, container)
        .header("x-ms-lease-status", "unlocked")
        .header("x-ms-lease-state", "available")
        .header("x-ms-has-immutability-policy", container.protection.has_policy().to_string())
        .header("x-ms-has-legal-hold", container.is_held().to_string())
        .header("x-ms-immutable-storage-with-versioning-enabled", container.protection.is_version_level().to_string())
        .header("x-ms-default-encryption-scope", "$account-encryption-key")
        .header("x-ms-deny-encryption-scope-override", "false");
    for (name, value) in &container.metadata {
        response = response.header(&format!("x-ms-meta-{name}"), value);
    }
    Ok(response)
}

/// Delete Container.
pub(super) fn delete(account: &mut Account, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::ContainerDelete)?;
    worm::permits_deletion(account.container(name)?)?;
    account.containers.remove(name);
    Ok(Response::new(StatusCode::ACCEPTED))
}

/// List Containers (shape: REC cli/test_storage_container_soft_delete_scenarios #4).
pub(super) fn list(account: &Account, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::ContainerRead)?;
    let request = ask.request;
    let prefix = request.query("prefix").unwrap_or_default();
    let include = request.query("include").unwrap_or_default();
    let with_metadata = include.split(',').any(|item| item.trim() == "metadata");
    let marker = request.query("marker").filter(|marker| !marker.is_empty());
    // Azure's markers for containers are readable: `/account/container`.
    let start = match marker.map(|marker| (marker, marker.rsplit_once('/'))) {
        None => prefix,
        Some((_, Some((_, name)))) => name,
        Some((marker, None)) => return Err(Refusal::bad_query("marker", marker)),
    };
    let most = page_size(request)?;

    let mut xml = Xml::new();
    xml.open("EnumerationResults", &[("ServiceEndpoint", &endpoint(ask.account))]);
    xml.optional("Prefix", request.query("prefix")).optional("Marker", marker);
    xml.optional("MaxResults", request.query("maxresults"));
    let found = || {
        account
            .containers
            .range::<str, _>((Bound::Included(start), Bound::Unbounded))
            .filter(|(name, _)| name.starts_with(prefix))
    };
    if found().next().is_none() {
        xml.leaf("Containers", "");
    } else {
        xml.open("Containers", &[]);
        for (name, container) in found().take(most) {
            item(&mut xml, name, container, with_metadata);
        }
        xml.close("Containers");
    }
    let next = found().nth(most).map(|(name, _)| format!("/{}/{name}", ask.account));
    xml.leaf("NextMarker", &next.unwrap_or_default()).close("EnumerationResults");
    Ok(Response::new(StatusCode::OK).header("content-type", "application/xml").body(xml.finish()))
}

fn item(xml: &mut Xml, name: &str, container: &Container, with_metadata: bool) {
    xml.open("Container", &[]).leaf("Name", name).open("Properties", &[]);
    xml.leaf("Last-Modified", &container.modified.http());
    xml.leaf("Etag", &format!("\"{}\"", container.modified.etag()));
    xml.leaf("LeaseStatus", "unlocked").leaf("LeaseState", "available");
    xml.leaf("DefaultEncryptionScope", "$account-encryption-key").leaf("DenyEncryptionScopeOverride", "false");
    xml.leaf("HasImmutabilityPolicy", &container.protection.has_policy().to_string());
    xml.leaf("HasLegalHold", &container.is_held().to_string());
    let versions = container.protection.is_version_level();
    xml.leaf("ImmutableStorageWithVersioningEnabled", &versions.to_string()).close("Properties");
    if with_metadata {
        super::list::metadata(xml, &container.metadata);
    }
    xml.close("Container");
}

/// `https://ACCOUNT.blob.core.windows.net/`.
pub(super) fn endpoint(account: &str) -> String {
    format!("https://{account}{}/", super::SUFFIX)
}

fn stamped(status: StatusCode, container: &Container) -> Response {
    Response::new(status)
        .header("etag", format!("\"{}\"", container.modified.etag()))
        .header("last-modified", container.modified.http())
}
