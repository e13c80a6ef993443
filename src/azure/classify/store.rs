//! What failures mean at a blob container (`azure.md` §7.2, §9.7).

use super::{common, common_hint, words};
use crate::azure::failure::{Cause, Failure, Refusal, Tokenless, Unreached};
use crate::model::StorePath;
use crate::store::{Condition, Error};

/// What was asked of a container.
#[derive(Clone, Copy, Debug)]
pub(in crate::azure) enum Aim<'a> {
    /// Read a blob.
    Read(&'a StorePath),
    /// List blobs.
    List,
    /// Read the container's properties.
    Inspect,
    /// Create a blob.
    Create(&'a StorePath),
    /// Change how a version is protected.
    Protect(&'a StorePath),
}

impl Aim<'_> {
    fn phrase(&self) -> String {
        match self {
            Aim::Read(path) => format!("read {path}"),
            Aim::List => "list blobs".to_owned(),
            Aim::Inspect => "read the properties".to_owned(),
            Aim::Create(path) => format!("create {path}"),
            Aim::Protect(path) => format!("protect {path}"),
        }
    }

    /// The permission that it takes and the role that has it.
    fn permission(&self) -> (&'static str, &'static str) {
        const BLOBS: (&str, &str) = (
            "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
            "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
        );
        match self {
            Aim::Create(_) => (BLOBS.0, "policies/roles/archive-writer.json"),
            Aim::Protect(_) => (
                "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/immutableStorage/runAsSuperUser/action",
                "policies/roles/retention-admin.json",
            ),
            Aim::Read(_) | Aim::List => (BLOBS.1, "policies/roles/archive-reader.json"),
            Aim::Inspect => {
                ("Microsoft.Storage/storageAccounts/blobServices/containers/read", "policies/roles/archive-reader.json")
            }
        }
    }
}

/// Whether the service says that the name is taken. A container with a policy of its own may give either reason, and
/// which is not documented (`azure.md` §7.2).
pub(in crate::azure) fn taken(refusal: &Refusal) -> bool {
    let codes = ["BlobAlreadyExists", "BlobImmutableDueToPolicy", "BlobImmutableDueToLegalHold"];
    refusal.status == 409 && codes.iter().any(|code| refusal.is(code)) || refusal.status == 412
}

/// Whether the service, and not some server in between, says that there is no such blob.
pub(in crate::azure) fn gone(refusal: &Refusal) -> bool {
    refusal.status == 404 && ["BlobNotFound", "ResourceNotFound"].iter().any(|code| refusal.is(code))
}

/// A failure at the container at `address`.
pub(in crate::azure) fn blob_error(failure: &Failure, address: &url::Url, aim: &Aim<'_>) -> Error {
    let host = address.host_str().unwrap_or_default();
    let condition = condition(&failure.cause, aim);
    let cause = match &failure.cause {
        Cause::Refused(refusal) => words(refusal),
        other => common(other, host).unwrap_or_default(),
    };
    let unknown = if failure.unclear && matches!(aim, Aim::Create(_) | Aim::Protect(_)) {
        "whether it took effect is not known: "
    } else {
        ""
    };
    let error = Error::new(condition, format!("couldn't {} in container {address}: {unknown}{cause}", aim.phrase()));
    match hint(condition, &failure.cause, aim, host) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn condition(cause: &Cause, aim: &Aim<'_>) -> Condition {
    let refusal = match cause {
        Cause::Refused(refusal) => refusal,
        // A name that does not resolve must not look like a blob that does not exist.
        Cause::Unreached(Unreached::Certificate, _) | Cause::NoToken(_, Tokenless::Untrusted) => {
            return Condition::Untrusted;
        }
        Cause::Unreached(..) | Cause::Lost(_) | Cause::NoToken(_, Tokenless::Passing) => return Condition::Unavailable,
        Cause::NoToken(_, Tokenless::Refused) => return Condition::Denied,
        Cause::Malformed(_) => return Condition::Malformed,
    };
    match refusal.status {
        401 | 403 => Condition::Denied,
        404 if gone(refusal) || refusal.is("ContainerNotFound") => Condition::NotFound,
        408 | 429 | 500..=599 => Condition::Unavailable,
        409 | 412 if matches!(aim, Aim::Create(_)) && taken(refusal) => Condition::Exists,
        // A rule: the policy would be shorter, or the container has none of this kind. Which codes say so is not recorded.
        400 | 409 if matches!(aim, Aim::Protect(_)) => Condition::Refused,
        // Archived, being rehydrated, container being deleted, or changed while it was read.
        409 | 412 => Condition::Unavailable,
        413 => Condition::TooLarge,
        _ => Condition::Malformed,
    }
}

fn hint(condition: Condition, cause: &Cause, aim: &Aim<'_>, host: &str) -> Option<String> {
    if matches!(cause, Cause::Unreached(Unreached::Name | Unreached::Proxy, _)) {
        return Some(format!("does the storage account exist? check the name {host}"));
    }
    if let Some(hint) = common_hint(cause) {
        return Some(hint.to_owned());
    }
    let Cause::Refused(refusal) = cause else { return None };
    let (action, role) = aim.permission();
    Some(match condition {
        Condition::Denied if refusal.is("AuthorizationFailure") => format!(
            "let this client's address through the storage account's firewall, or grant the identity {action} (role {role})"
        ),
        Condition::Denied => format!("grant the identity {action} on the container (role {role})"),
        Condition::NotFound if refusal.is("ContainerNotFound") => {
            "create the container with a WORM policy first, and check archive.container".to_owned()
        }
        Condition::Unavailable if refusal.is("BlobArchived") => {
            "the blob is in the archive tier: rehydrate it, which takes hours".to_owned()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    fn told(status: u16, code: &str, aim: &Aim<'_>) -> Error {
        let refusal = Refusal { status, code: Some(code.into()), ..Refusal::default() };
        let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
        blob_error(&Failure::new(Cause::Refused(refusal)), &address, aim)
    }

    #[test]
    fn codes_of_the_real_service_have_the_conditions_that_callers_branch_on() {
        let path = StorePath::parse("archive.json").unwrap();
        let (read, create, protect) = (Aim::Read(&path), Aim::Create(&path), Aim::Protect(&path));
        for (status, code, aim, condition) in [
            (404, "BlobNotFound", &read, Condition::NotFound),
            (404, "ContainerNotFound", &create, Condition::NotFound),
            (409, "BlobAlreadyExists", &create, Condition::Exists),
            (409, "BlobImmutableDueToPolicy", &create, Condition::Exists),
            (409, "BlobImmutableDueToLegalHold", &create, Condition::Exists),
            (409, "BlobArchived", &read, Condition::Unavailable),
            (409, "ContainerBeingDeleted", &create, Condition::Unavailable),
            (412, "ConditionNotMet", &create, Condition::Exists),
            (412, "ConditionNotMet", &read, Condition::Unavailable),
            (403, "AuthorizationPermissionMismatch", &create, Condition::Denied),
            (503, "ServerBusy", &read, Condition::Unavailable),
            (400, "InvalidHeaderValue", &create, Condition::Malformed),
            (400, "InvalidHeaderValue", &protect, Condition::Refused),
            (403, "AuthorizationPermissionMismatch", &protect, Condition::Denied),
            (404, "BlobNotFound", &protect, Condition::NotFound),
            (409, "BlobImmutableDueToPolicy", &protect, Condition::Refused),
            (409, "BlobOperationNotSupported", &protect, Condition::Refused),
        ] {
            assert_eq!(told(status, code, aim).condition, condition, "{status} {code}");
        }
    }

    #[test]
    fn a_missing_permission_is_named_with_its_role() {
        let path = StorePath::parse("archive.json").unwrap();
        let hint = told(403, "AuthorizationPermissionMismatch", &Aim::Create(&path)).hint.unwrap();
        assert!(hint.contains("blobs/add/action") && hint.contains("archive-writer.json"), "{hint}");
        let hint = told(403, "AuthorizationPermissionMismatch", &Aim::Read(&path)).hint.unwrap();
        assert!(hint.contains("blobs/read") && hint.contains("archive-reader.json"), "{hint}");
        let hint = told(403, "AuthorizationPermissionMismatch", &Aim::Protect(&path)).hint.unwrap();
        assert!(hint.contains("runAsSuperUser") && hint.contains("retention-admin.json"), "{hint}");
    }

    #[test]
    fn trouble_with_the_network_never_looks_like_a_missing_blob() {
        let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
        let path = StorePath::parse("archive.json").unwrap();
        let told = |cause: Cause| blob_error(&Failure::new(cause), &address, &Aim::Read(&path));
        for why in [Unreached::Name, Unreached::Proxy, Unreached::Connection] {
            assert_eq!(told(Cause::Unreached(why, "x".into())).condition, Condition::Unavailable);
        }
        for cause in
            [Cause::Unreached(Unreached::Certificate, "x".into()), Cause::NoToken("x".into(), Tokenless::Untrusted)]
        {
            let error = told(cause);
            assert_eq!(error.condition, Condition::Untrusted, "no reason to ask again");
            assert!(error.hint.unwrap().contains("network.ca_file"));
        }
        let page = Failure::new(Cause::Refused(Refusal { status: 404, ..Refusal::default() }));
        assert_eq!(blob_error(&page, &address, &Aim::Read(&path)).condition, Condition::Malformed);
    }
}
