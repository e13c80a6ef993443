//! Every refusal of Key Vault, word for word, in one table. Knows no state; who refuses what is decided elsewhere.
//!
//! The marks are explained in `emulator`.

use super::object::Kind;
use crate::emulator::wire::Response;
use hyper::StatusCode;
use serde::Serialize;

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
    inner: Option<&'static str>,
    challenge: Option<String>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    innererror: Option<Inner<'a>>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'a str,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Fault { status, code, message: message.into(), inner: None, challenge: None }
    }

    fn inner(mut self, code: &'static str) -> Self {
        self.inner = Some(code);
        self
    }

    /// The answer on the wire.
    pub(super) fn response(&self) -> Response {
        let innererror = self.inner.map(|code| Inner { code });
        let body = Envelope { error: Error { code: self.code, message: &self.message, innererror } };
        let response = Response::json(self.status, &body);
        match &self.challenge {
            Some(challenge) => response.header("www-authenticate", challenge),
            None => response,
        }
    }

    // 401

    /// No token. REC, in the wording of 2026.
    pub(super) fn unauthenticated(tenant: &str) -> Self {
        Fault::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "AKV10000: Request is missing a Bearer, PoP, or MTLS_POP token.",
        )
        .challenge(tenant)
    }

    /// A token for another service. MEM[wrong-audience].
    pub(super) fn wrong_audience(tenant: &str, audience: &str) -> Self {
        let message = format!("AKV10022: Invalid audience. Expected {}, found: {audience}.", super::auth::AUDIENCE);
        Fault::new(StatusCode::UNAUTHORIZED, "Unauthorized", message).challenge(tenant)
    }

    fn challenge(mut self, tenant: &str) -> Self {
        self.challenge = Some(format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{tenant}\", resource=\"{}\"",
            super::auth::AUDIENCE
        ));
        self
    }

    // 403

    /// A refusal by the permission model. ISSUE[forbidden-by-rbac].
    pub(super) fn forbidden_by_rbac(message: String) -> Self {
        Fault::new(StatusCode::FORBIDDEN, "Forbidden", message).inner("ForbiddenByRbac")
    }

    /// Use of a disabled object. REC for secrets; keys by analogy, GUESS[disabled].
    pub(super) fn disabled(kind: Kind, operation: &str) -> Self {
        let message = format!("Operation {operation} is not allowed on a disabled {}.", kind.noun());
        let inner = match kind {
            Kind::Key => "KeyDisabled",
            Kind::Secret => "SecretDisabled",
            Kind::Certificate => "CertificateDisabled",
        };
        Fault::new(StatusCode::FORBIDDEN, "Forbidden", message).inner(inner)
    }

    /// A key's private operation outside its validity. DOC for the rule, GUESS[outside-validity] for the text.
    pub(super) fn outside_validity(operation: &str, which: &'static str) -> Self {
        let inner = if which == "expired" { "KeyExpired" } else { "KeyNotYetValid" };
        let message = format!("Operation {operation} is not allowed on a key that is {which}.");
        Fault::new(StatusCode::FORBIDDEN, "Forbidden", message).inner(inner)
    }

    /// An operation that `key_ops` does not list. MEM[operation-not-permitted].
    pub(super) fn operation_not_permitted(operation: &str) -> Self {
        let message = format!("Operation {operation} is not permitted on this key.");
        Fault::new(StatusCode::FORBIDDEN, "Forbidden", message).inner("KeyOperationForbidden")
    }

    /// A change to the key or secret behind a certificate. REC for delete; other operations by analogy, GUESS[managed].
    pub(super) fn managed(kind: Kind, operation: &str) -> Self {
        let message =
            format!("Operation \"{operation}\" is not allowed as this object's lifetime is managed by Key Vault.");
        Fault::new(StatusCode::FORBIDDEN, "Forbidden", message).inner(Self::managed_code(kind))
    }

    /// Backup of the key or secret behind a certificate alone. ISSUE[managed-backup] for the text,
    /// GUESS[managed-backup] for status and codes.
    pub(super) fn managed_backup(kind: Kind) -> Self {
        let message = format!(
            "Operation \"backup\" is not allowed on this {}, since it is associated with a certificate",
            kind.title()
        );
        Fault::new(StatusCode::FORBIDDEN, "Forbidden", message).inner(Self::managed_code(kind))
    }

    fn managed_code(kind: Kind) -> &'static str {
        if kind == Kind::Secret { "SecretManagedByKeyVault" } else { "KeyManagedByKeyVault" }
    }

    /// Purge in a vault with purge protection. ISSUE[purge-protected] for the text, GUESS[purge-protected] for the
    /// absence of an inner code.
    pub(super) fn purge_protected(vault: &str, location: &str) -> Self {
        let message = format!(
            "Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault service \
             will automatically purge it after the retention period has passed.\r\nVault: {vault};location={location}"
        );
        Fault::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    // 404, 405

    /// No live object of that name or version. REC.
    pub(super) fn not_found(kind: Kind, id: &str) -> Self {
        let noun = kind.noun();
        let message = format!(
            "A {noun} with (name/id) {id} was not found in this key vault. If you recently deleted this {noun} you \
             may be able to recover it using the correct recovery command. For help resolving this issue, please see \
             https://go.microsoft.com/fwlink/?linkid=2125182"
        );
        Fault::new(StatusCode::NOT_FOUND, kind.not_found_code(), message)
    }

    /// No deleted object of that name, or not yet. REC.
    pub(super) fn deleted_not_found(kind: Kind, name: &str) -> Self {
        let message = format!("Deleted {} not found: {name}", kind.title());
        Fault::new(StatusCode::NOT_FOUND, kind.not_found_code(), message)
    }

    /// No certificate contacts. REC.
    pub(super) fn contacts_not_found() -> Self {
        Fault::new(StatusCode::NOT_FOUND, "ContactsNotFound", "Contacts not found")
    }

    /// No such issuer. REC.
    pub(super) fn issuer_not_found(name: &str) -> Self {
        Fault::new(StatusCode::NOT_FOUND, "CertificateIssuerNotFound", format!("Issuer {name} not found"))
    }

    /// No pending operation of a certificate. MEM[pending-not-found].
    pub(super) fn pending_not_found(name: &str) -> Self {
        let message = format!("Pending certificate not found: {name}");
        Fault::new(StatusCode::NOT_FOUND, "PendingCertificateNotFound", message)
    }

    /// A path that is no operation. GUESS[no-such-path].
    pub(super) fn no_such_path(path: &str) -> Self {
        Fault::new(StatusCode::NOT_FOUND, "NotFound", format!("No operation has the path {path}"))
    }

    /// A path that exists, with a method that does not. GUESS[no-such-method].
    pub(super) fn no_such_method(method: &str) -> Self {
        let message = format!("The HTTP method {method} is not allowed on this path");
        Fault::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    // 409

    /// Creation over a soft-deleted name. REC for secrets.
    pub(super) fn deleted_but_recoverable(kind: Kind, name: &str) -> Self {
        let message = format!(
            "{} {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this \
             state, the {} can only be recovered or purged.",
            kind.title(),
            kind.noun()
        );
        Fault::new(StatusCode::CONFLICT, "Conflict", message).inner("ObjectIsDeletedButRecoverable")
    }

    /// Recover while the delete propagates. REC.
    pub(super) fn being_deleted(kind: Kind, name: &str) -> Self {
        let message = format!("{} {name} is currently being deleted.", kind.title());
        Fault::new(StatusCode::CONFLICT, "Conflict", message).inner("ObjectIsBeingDeleted")
    }

    /// Purge while the delete propagates: the same without the name. REC.
    pub(super) fn being_deleted_for_purge(kind: Kind) -> Self {
        let message = format!("{} is currently being deleted.", kind.title());
        Fault::new(StatusCode::CONFLICT, "Conflict", message).inner("ObjectIsBeingDeleted")
    }

    /// Creation while a purge propagates. MEM[being-deleted-for-create].
    pub(super) fn being_deleted_for_create(kind: Kind, name: &str) -> Self {
        let message =
            format!("{} {name} is currently being deleted and cannot be re-created; retry later.", kind.title());
        Fault::new(StatusCode::CONFLICT, "Conflict", message).inner("ObjectIsBeingDeleted")
    }

    /// Creation while a recover propagates. ISSUE[being-recovered].
    pub(super) fn being_recovered(kind: Kind, name: &str) -> Self {
        let message =
            format!("{} {name} is currently being recovered and cannot be re-created; retry later.", kind.title());
        Fault::new(StatusCode::CONFLICT, "Conflict", message).inner("ObjectIsBeingRecovered")
    }

    /// Restore onto a name that is live, soft-deleted, being purged or being recovered: the answer does not say which,
    /// and has no inner code. REC for live and purging, ISSUE[restore-conflict] for soft-deleted.
    pub(super) fn restore_conflict(kind: Kind, id: &str) -> Self {
        let noun = kind.noun();
        let message = format!(
            "There was a conflict restoring the {noun} '{id}'. This can happen if either: a second {noun} with the \
             same name was created after the first {noun} was deleted; thus trying to restore a {noun} whose name is \
             already in use. To fix this, rename the second {noun} to something else so that the restore works. The \
             second probable cause of this exception is when multiple operations are performed in parallel against \
             the {noun}. To avoid this error, perform operations against a {noun} in a sequential manner."
        );
        Fault::new(StatusCode::CONFLICT, "Conflict", message)
    }

    /// A new certificate whose name an independent key or secret holds. GUESS[name-held].
    pub(super) fn name_held(kind: Kind, name: &str) -> Self {
        let message = format!("A {} named {name} that belongs to no certificate exists already.", kind.noun());
        Fault::new(StatusCode::CONFLICT, "Conflict", message)
    }

    /// A certificate is being made already. GUESS[request-in-progress].
    pub(super) fn request_in_progress(name: &str) -> Self {
        let message = format!("A request for a new version of certificate {name} is in progress.");
        Fault::new(StatusCode::CONFLICT, "Conflict", message)
    }

    // 400

    /// Recover of a live object: 400, although the code says 405. REC.
    pub(super) fn exists_already(kind: Kind, name: &str) -> Self {
        let message = format!("{} exists already: {name}", kind.title());
        Fault::new(StatusCode::BAD_REQUEST, "MethodNotAllowed", message).inner("RequestNotAllowedOnNonDeletedObject")
    }

    /// A parameter that does not hold. REC for the code.
    pub(super) fn bad_parameter(message: impl Into<String>) -> Self {
        Fault::new(StatusCode::BAD_REQUEST, "BadParameter", message)
    }

    /// A name outside `^[0-9a-zA-Z-]{1,127}$`. DOC for the pattern, MEM[bad-name] for the text.
    pub(super) fn bad_name(name: &str) -> Self {
        Fault::bad_parameter(format!("The request URI contains an invalid name: {name}"))
    }

    /// No `api-version`. MEM[missing-api-version].
    pub(super) fn missing_api_version() -> Self {
        Fault::bad_parameter("api-version must be specified")
    }

    /// An `api-version` that the service does not know. MEM[unknown-api-version].
    pub(super) fn unknown_api_version(version: &str) -> Self {
        Fault::bad_parameter(format!(
            "The specified version ({version}) is not recognized. Consider using the latest supported version \
             (2025-07-01)."
        ))
    }

    /// A body that is not the expected JSON. GUESS[bad-body].
    pub(super) fn bad_body(problem: &str) -> Self {
        Fault::bad_parameter(format!("The request body is not valid: {problem}"))
    }

    /// A body without a required property. GUESS[missing].
    pub(super) fn missing(property: &str) -> Self {
        Fault::bad_parameter(format!("Property \"{property}\" is required and was not given"))
    }

    /// A digest of the wrong length. MEM[bad-length].
    pub(super) fn bad_length(given: usize, algorithm: &str, wanted: usize) -> Self {
        Fault::bad_parameter(format!(
            "Invalid length of 'value': {given} bytes. {algorithm} requires {wanted} bytes, encoded with base64url."
        ))
    }

    /// An HSM key in a standard vault. ISSUE[hsm-on-standard] for the text, GUESS[hsm-on-standard] for the code.
    pub(super) fn hsm_on_standard() -> Self {
        Fault::bad_parameter("Hardware key operation not allowed on standard vault")
    }

    /// More than 500 past versions. ISSUE[too-many-versions] for 400 BadRequest, DOC for the limit,
    /// GUESS[too-many-versions] for the text.
    pub(super) fn too_many_versions(kind: Kind, versions: usize) -> Self {
        let message = format!(
            "Backup of a {} with {versions} versions is not supported: the limit is 500 past versions.",
            kind.noun()
        );
        Fault::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// A blob with an unknown or a wrong magic, or whose content does not hold. REC.
    pub(super) fn malformed_blob() -> Self {
        Fault::new(StatusCode::BAD_REQUEST, "Malformed backup blob", "Backup blob contains invalid or corrupt version.")
    }

    /// A blob that cannot be parsed at all. REC.
    pub(super) fn corrupt_blob() -> Self {
        Fault::new(StatusCode::BAD_REQUEST, "Malformed backup blob", "Backup blob is corrupt.")
    }

    /// A blob of another geography. ISSUE[undecryptable-blob] for the text, GUESS[undecryptable-blob] for status and
    /// code.
    pub(super) fn undecryptable_blob() -> Self {
        Fault::bad_parameter("Cannot decrypt backup blob.")
    }

    /// A blob of another subscription. GUESS[foreign-subscription]: nothing about this answer is known but that restore
    /// is refused (DOC).
    pub(super) fn foreign_subscription() -> Self {
        Fault::bad_parameter("Backup blob belongs to a different subscription and cannot be restored into this vault.")
    }

    // 500

    /// A defect of the emulator.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message)
    }
}
