//! What failures mean at a vault and at Azure Resource Manager (`azure.md` §1.4, §1.5, §5).

use super::{common, common_hint, words};
use crate::azure::failure::{Cause, Failure, Refusal, Tokenless, Unreached};
use crate::model::{Kind, VaultUri};
use crate::vault::{Condition, Error};

/// What was asked of a vault, for messages and for the permission that it takes.
#[derive(Clone, Copy, Debug)]
pub(in crate::azure) struct Asked<'a> {
    /// The vault.
    pub(in crate::azure) vault: &'a VaultUri,
    /// What was to be done.
    pub(in crate::azure) deed: Deed,
    /// To which kind of object.
    pub(in crate::azure) kind: Kind,
    /// To which object or issuer; none for lists and restores.
    pub(in crate::azure) name: Option<&'a str>,
}

/// What was to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::azure) enum Deed {
    /// List live objects.
    List,
    /// List deleted objects.
    ListDeleted,
    /// List an object's versions.
    ListVersions,
    /// Get a bundle.
    Get,
    /// Get a deleted bundle.
    GetDeleted,
    /// Get a key's rotation policy.
    GetRotationPolicy,
    /// List certificate issuers.
    ListIssuers,
    /// Get a certificate issuer.
    GetIssuer,
    /// Get those who are told about certificates.
    GetContacts,
    /// Back up.
    BackUp,
    /// Restore.
    Restore,
    /// Recover.
    Recover,
    /// Purge.
    Purge,
    /// Write a key's rotation policy.
    SetRotationPolicy,
    /// Write a certificate issuer.
    SetIssuer,
    /// Write those who are told about certificates.
    SetContacts,
}

impl Deed {
    fn phrase(self) -> &'static str {
        match self {
            Deed::List => "list",
            Deed::ListDeleted => "list deleted",
            Deed::ListVersions => "list versions of",
            Deed::Get => "get",
            Deed::GetDeleted => "get deleted",
            Deed::GetRotationPolicy => "get the rotation policy of",
            Deed::ListIssuers => "list the issuers of",
            Deed::GetIssuer => "get the issuer",
            Deed::GetContacts => "get the contacts of",
            Deed::BackUp => "back up",
            Deed::Restore => "restore a",
            Deed::Recover => "recover deleted",
            Deed::Purge => "purge deleted",
            Deed::SetRotationPolicy => "write the rotation policy of",
            Deed::SetIssuer => "write the issuer",
            Deed::SetContacts => "write the contacts of",
        }
    }

    /// The permission's name in a vault with access policies.
    fn policy_permission(self) -> &'static str {
        match self {
            Deed::List | Deed::ListDeleted | Deed::ListVersions => "list",
            Deed::Get | Deed::GetDeleted => "get",
            Deed::GetRotationPolicy => "getrotationpolicy",
            Deed::ListIssuers => "listissuers",
            Deed::GetIssuer => "getissuers",
            Deed::GetContacts | Deed::SetContacts => "managecontacts",
            Deed::SetRotationPolicy => "setrotationpolicy",
            Deed::SetIssuer => "setissuers",
            Deed::BackUp => "backup",
            Deed::Restore => "restore",
            Deed::Recover => "recover",
            Deed::Purge => "purge",
        }
    }

    fn role(self) -> &'static str {
        match self {
            // Part of a restore: a backup does not carry it.
            Deed::Restore | Deed::Recover | Deed::SetRotationPolicy => "policies/roles/restore-operator.json",
            Deed::Purge => "policies/roles/purge-operator.json",
            Deed::SetIssuer | Deed::SetContacts => "policies/roles/settings-writer.json",
            Deed::GetContacts => "policies/roles/contacts-reader.json",
            _ => "policies/roles/snapshot-reader.json",
        }
    }
}

impl Asked<'_> {
    /// The Azure role's data action that this takes (`azure.md` §1.8).
    fn action(&self) -> String {
        let verb = match self.deed {
            Deed::GetRotationPolicy => return "Microsoft.KeyVault/vaults/keyrotationpolicies/read".to_owned(),
            Deed::ListIssuers | Deed::GetIssuer => return "Microsoft.KeyVault/vaults/certificatecas/read".to_owned(),
            // There is no action that only reads them (Microsoft's table of permissions).
            Deed::GetContacts | Deed::SetContacts => {
                return "Microsoft.KeyVault/vaults/certificatecontacts/write".to_owned();
            }
            Deed::SetRotationPolicy => return "Microsoft.KeyVault/vaults/keyrotationpolicies/write".to_owned(),
            Deed::SetIssuer => return "Microsoft.KeyVault/vaults/certificatecas/write".to_owned(),
            Deed::Purge => "purge/action",
            Deed::BackUp => "backup/action",
            Deed::Restore => "restore/action",
            Deed::Recover => "recover/action",
            // Listing and looking at secrets without reading a value.
            _ if self.kind == Kind::Secret => "readMetadata/action",
            _ => "read",
        };
        format!("Microsoft.KeyVault/vaults/{}/{verb}", self.kind.plural())
    }

    /// `couldn't back up key "tde" of vault prod.vault.azure.net`.
    fn subject(&self) -> String {
        let object = match self.name {
            Some(name) if matches!(self.deed, Deed::GetIssuer | Deed::SetIssuer) => format!("{name:?}"),
            Some(name) => format!("{} \"{name}\"", self.kind),
            None if self.deed == Deed::Restore => self.kind.to_string(),
            None => self.kind.plural().to_owned(),
        };
        let place = if self.deed == Deed::Restore { "into" } else { "of" };
        format!("couldn't {} {object} {place} vault {}", self.deed.phrase(), self.vault.host())
    }
}

/// A failure at a vault.
pub(in crate::azure) fn vault_error(failure: &Failure, asked: &Asked<'_>) -> Error {
    let host = asked.vault.host();
    let condition = condition(&failure.cause);
    let unknown = failure.unclear && asked.deed == Deed::Restore;
    let cause = match &failure.cause {
        Cause::Refused(refusal) => words(refusal),
        other => common(other, host).unwrap_or_default(),
    };
    let mut error = if unknown {
        // A success whose answer was lost looks like a conflict when asked again; only the vault knows.
        let mut error = Error::new(
            Condition::Unavailable,
            format!("{}: whether it took effect is not known: {cause}", asked.subject()),
        );
        error = error.hint("look at what the vault holds under that name before trying again");
        error
    } else {
        Error::new(condition, format!("{}: {cause}", asked.subject()))
    };
    if let Cause::Refused(refusal) = &failure.cause {
        error.status = Some(refusal.status);
        error.code = refusal.codes();
    }
    match hint(condition, &failure.cause, asked) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn condition(cause: &Cause) -> Condition {
    match cause {
        Cause::Refused(refusal) => refused(refusal),
        Cause::Unreached(Unreached::Name | Unreached::Proxy, _) => Condition::Unresolved,
        Cause::Unreached(Unreached::Certificate, _) | Cause::NoToken(_, Tokenless::Untrusted) => Condition::Untrusted,
        Cause::Unreached(..) | Cause::Lost(_) | Cause::NoToken(_, Tokenless::Passing) => Condition::Unavailable,
        Cause::NoToken(_, Tokenless::Refused) => Condition::Denied,
        Cause::Malformed(_) => Condition::Malformed,
    }
}

/// The table of `azure.md` §1.4 and §1.5.
fn refused(refusal: &Refusal) -> Condition {
    let inner = refusal.inner.as_deref().unwrap_or_default();
    match refusal.status {
        400 | 405 if refusal.is("RequestNotAllowedOnNonDeletedObject") => Condition::Live,
        // Key Vault's own refusals have a code; pages of servers in between have none.
        400 | 404 | 405 if refusal.code.is_none() => Condition::Malformed,
        400 | 405 | 413 | 415 | 422 => Condition::Rejected,
        401 => Condition::Denied,
        403 => forbidden(refusal),
        404 | 410 => Condition::NotFound,
        408 | 500..=599 => Condition::Unavailable,
        409 if inner == "ObjectIsDeletedButRecoverable" => Condition::SoftDeleted,
        409 if inner.starts_with("ObjectIsBeing") => Condition::InTransition,
        409 => Condition::Conflict,
        429 => Condition::Throttled,
        _ => Condition::Malformed,
    }
}

/// 403 has four meanings; the inner code tells, and where it is missing only the text does.
fn forbidden(refusal: &Refusal) -> Condition {
    let text = refusal.sentence.as_deref().unwrap_or_default().to_ascii_lowercase();
    match refusal.inner.as_deref() {
        Some("ForbiddenByPolicy" | "ForbiddenByRbac") => Condition::Denied,
        Some("ForbiddenByFirewall" | "ForbiddenByConnection") => Condition::Firewall,
        Some(code) if code.ends_with("Disabled") || code.ends_with("ManagedByKeyVault") => Condition::Forbidden,
        _ if text.contains("purge protection") || text.contains("is not allowed") => Condition::Forbidden,
        _ if text.contains("client address") || text.contains("public network access") => Condition::Firewall,
        _ => Condition::Denied,
    }
}

fn hint(condition: Condition, cause: &Cause, asked: &Asked<'_>) -> Option<String> {
    if let Some(hint) = common_hint(cause).filter(|_| condition != Condition::Unresolved) {
        return Some(hint.to_owned());
    }
    Some(match condition {
        Condition::Denied => format!(
            "grant the identity {} on the vault (role {}); in a vault with access policies, {} permission \"{}\"",
            asked.action(),
            asked.deed.role(),
            asked.kind,
            asked.deed.policy_permission()
        ),
        Condition::Firewall => {
            "let this client's address through the vault's firewall, or run inside its private network".to_owned()
        }
        Condition::Unresolved => format!(
            "does the vault exist? check the name {}; a private vault resolves only inside its network",
            asked.vault.host()
        ),
        Condition::InTransition => {
            "it is being deleted, recovered or purged, which takes minutes: look again later".to_owned()
        }
        Condition::Throttled => "the vault is busy: run again later, or lower the job's share".to_owned(),
        _ => return None,
    })
}

/// A failure at Azure Resource Manager while `doing`, which takes `action`.
pub(in crate::azure) fn management_error(failure: &Failure, host: &str, doing: &str, action: &str) -> Error {
    let condition = match &failure.cause {
        Cause::Refused(refusal) => match refusal.status {
            401 | 403 => Condition::Denied,
            404 if refusal.code.is_some() => Condition::NotFound,
            408 | 500..=599 => Condition::Unavailable,
            409 => Condition::Conflict,
            429 => Condition::Throttled,
            400 if refusal.code.is_some() => Condition::Rejected,
            _ => Condition::Malformed,
        },
        // Unresolved would speak of the vault's name; here it is the management plane's.
        other => match condition(other) {
            Condition::Unresolved => Condition::Unavailable,
            condition => condition,
        },
    };
    let cause = match &failure.cause {
        Cause::Refused(refusal) => words(refusal),
        other => common(other, host).unwrap_or_default(),
    };
    let mut error = Error::new(condition, format!("couldn't {doing}: {cause}"));
    if let Cause::Refused(refusal) = &failure.cause {
        error.status = Some(refusal.status);
        error.code = refusal.codes();
    }
    match common_hint(&failure.cause) {
        Some(hint) => error.hint(hint),
        None if condition == Condition::Denied => error.hint(format!("grant the identity {action}")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::wire::Answer;
    use azure_core::http::headers::Headers;
    use bytes::Bytes;
    use std::time::Duration;

    fn refusal(status: u16, body: &str) -> Failure {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let answer = Answer { status, headers: Headers::new(), body, took: Duration::ZERO };
        Failure::new(Cause::Refused(Refusal::of(&answer)))
    }

    fn told(failure: &Failure, deed: Deed) -> Error {
        let vault = VaultUri::parse("https://prod.vault.azure.net").unwrap();
        vault_error(failure, &Asked { vault: &vault, deed, kind: Kind::Key, name: Some("tde") })
    }

    #[test]
    fn bodies_of_the_real_service_have_the_conditions_that_callers_branch_on() {
        for (status, body, condition) in [
            (
                404,
                r#"{"error":{"code":"KeyNotFound","message":"Deleted Key not found: testbackuprestore750667021"}}"#,
                Condition::NotFound,
            ),
            (
                409,
                r#"{"error":{"code":"Conflict","message":"There was a conflict restoring the key 'https://fakevault.local/keys/testbackuprestore750667021/d36a04cb852947c0aa4507a793bec2f3'. This can happen if either: a second key with the same name was created after the first key was deleted"}}"#,
                Condition::Conflict,
            ),
            (
                409,
                r#"{"error":{"code":"Conflict","message":"Secret secret1 is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged.","innererror":{"code":"ObjectIsDeletedButRecoverable"}}}"#,
                Condition::SoftDeleted,
            ),
            (
                409,
                r#"{"error":{"code":"Conflict","message":"Secret is currently being deleted.","innererror":{"code":"ObjectIsBeingDeleted"}}}"#,
                Condition::InTransition,
            ),
            (
                400,
                r#"{"error":{"code":"MethodNotAllowed","message":"Secret exists already: secret1","innererror":{"code":"RequestNotAllowedOnNonDeletedObject"}}}"#,
                Condition::Live,
            ),
            (
                403,
                r#"{"error":{"code":"Forbidden","message":"Operation get is not allowed on a disabled secret.","innererror":{"code":"SecretDisabled"}}}"#,
                Condition::Forbidden,
            ),
            (
                403,
                r#"{"error":{"code":"Forbidden","message":"Operation \"delete\" is not allowed as this object's lifetime is managed by Key Vault.","innererror":{"code":"SecretManagedByKeyVault"}}}"#,
                Condition::Forbidden,
            ),
            (
                403,
                r#"{"error":{"code":"Forbidden","message":"Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault service will automatically purge it after the retention period has passed.\r\nVault: XXX;location=westeurope"}}"#,
                Condition::Forbidden,
            ),
            (
                403,
                r#"{"error":{"code":"Forbidden","message":"Caller is not authorized to perform action on resource.\r\nCaller: appid=1","innererror":{"code":"ForbiddenByRbac"}}}"#,
                Condition::Denied,
            ),
            (
                403,
                r#"{"error":{"code":"Forbidden","message":"Client address is not authorized and caller is not a trusted service.\r\nClient address: 1.2.3.4","innererror":{"code":"ForbiddenByFirewall"}}}"#,
                Condition::Firewall,
            ),
            (
                400,
                r#"{"error":{"code":"Malformed backup blob","message":"Backup blob contains invalid or corrupt version."}}"#,
                Condition::Rejected,
            ),
            (
                401,
                r#"{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}"#,
                Condition::Denied,
            ),
            (
                429,
                r#"{"error":{"code":"Throttled","message":"Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"}}"#,
                Condition::Throttled,
            ),
            (503, "", Condition::Unavailable),
            (400, "<!DOCTYPE html><html><title>Runtime Error</title></html>", Condition::Malformed),
            (404, "<html>no such page</html>", Condition::Malformed),
            (302, "", Condition::Malformed),
        ] {
            assert_eq!(told(&refusal(status, body), Deed::BackUp).condition, condition, "{status} {body}");
        }
    }

    #[test]
    fn a_missing_permission_is_named_with_its_role() {
        let body = r#"{"error":{"code":"Forbidden","message":"no","innererror":{"code":"ForbiddenByRbac"}}}"#;
        let error = told(&refusal(403, body), Deed::BackUp);
        assert_eq!(
            error.message,
            "couldn't back up key \"tde\" of vault prod.vault.azure.net: 403 Forbidden/ForbiddenByRbac: no"
        );
        let hint = error.hint.unwrap();
        assert!(hint.contains("Microsoft.KeyVault/vaults/keys/backup/action"), "{hint}");
        assert!(hint.contains("policies/roles/snapshot-reader.json"), "{hint}");
        assert_eq!((error.status, error.code.as_deref()), (Some(403), Some("Forbidden/ForbiddenByRbac")));
    }

    #[test]
    fn listing_secrets_never_asks_for_the_right_to_read_them() {
        let vault = VaultUri::parse("https://prod.vault.azure.net").unwrap();
        for deed in [Deed::List, Deed::ListDeleted, Deed::ListVersions, Deed::GetDeleted] {
            let asked = Asked { vault: &vault, deed, kind: Kind::Secret, name: None };
            assert_eq!(asked.action(), "Microsoft.KeyVault/vaults/secrets/readMetadata/action");
        }
    }

    #[test]
    fn a_vault_that_does_not_resolve_is_not_an_outage() {
        for why in [Unreached::Name, Unreached::Proxy] {
            let error = told(&Failure::new(Cause::Unreached(why, "x".into())), Deed::List);
            assert_eq!(error.condition, Condition::Unresolved);
            assert!(error.hint.unwrap().contains("does the vault exist?"));
        }
        let error = told(&Failure::new(Cause::Unreached(Unreached::Connection, "refused".into())), Deed::List);
        assert_eq!(error.condition, Condition::Unavailable);
    }

    #[test]
    fn trap_a_restore_that_may_have_happened_is_neither_a_conflict_nor_a_success() {
        let mut failure = refusal(409, r#"{"error":{"code":"Conflict","message":"exists"}}"#);
        failure.unclear = true;
        let error = told(&failure, Deed::Restore);
        assert_eq!(error.condition, Condition::Unavailable);
        assert!(error.message.contains("not known"), "{error}");
    }
}
