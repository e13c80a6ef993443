//! From method and path to an operation and the data action that it needs. Knows no state.
//!
//! Data actions: `azure.md` §1.8 and Microsoft's table of permissions (DOC). Deleted objects are read with the actions of
//! live ones (GUESS[actions-on-deleted]: no action of their own is documented).

use super::errors::Fault;
use super::object::Kind;
use hyper::Method;

/// An operation with the names from its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    List(Kind),
    ListVersions(Kind, String),
    ListDeleted(Kind),
    Get(Kind, String, Option<String>),
    GetDeleted(Kind, String),
    Delete(Kind, String),
    Recover(Kind, String),
    Purge(Kind, String),
    Backup(Kind, String),
    Restore(Kind),
    Update(Kind, String, Option<String>),
    CreateKey(String),
    ImportKey(String),
    RotateKey(String),
    GetRotationPolicy(String),
    SetRotationPolicy(String),
    UseKey(KeyUse, String, Option<String>),
    SetSecret(String),
    CreateCertificate(String),
    ImportCertificate(String),
    GetPolicy(String),
    UpdatePolicy(String),
    GetPending(String),
    UpdatePending(String),
    DeletePending(String),
    MergePending(String),
    ListIssuers,
    GetIssuer(String),
    SetIssuer(String),
    UpdateIssuer(String),
    DeleteIssuer(String),
    GetContacts,
    SetContacts,
    DeleteContacts,
}

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyUse {
    Encrypt,
    Decrypt,
    WrapKey,
    UnwrapKey,
    Sign,
    Verify,
}

impl KeyUse {
    fn parse(segment: &str) -> Option<Self> {
        Some(match segment.to_ascii_lowercase().as_str() {
            "encrypt" => KeyUse::Encrypt,
            "decrypt" => KeyUse::Decrypt,
            "wrapkey" => KeyUse::WrapKey,
            "unwrapkey" => KeyUse::UnwrapKey,
            "sign" => KeyUse::Sign,
            "verify" => KeyUse::Verify,
            _ => return None,
        })
    }

    /// The entry of `key_ops` that allows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            KeyUse::Encrypt => "encrypt",
            KeyUse::Decrypt => "decrypt",
            KeyUse::WrapKey => "wrapKey",
            KeyUse::UnwrapKey => "unwrapKey",
            KeyUse::Sign => "sign",
            KeyUse::Verify => "verify",
        }
    }
}

/// The operation that a method and path ask for. Segments that name operations compare without case.
///
/// # Errors
/// 404 for a path that is none, 405 for a method that the path does not have, 400 for a name that cannot be one.
pub(super) fn parse(method: &Method, path: &str, segments: &[String]) -> Result<Operation, Fault> {
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let words: Vec<&str> = lower.iter().map(String::as_str).collect();
    let Some((collection, words)) = words.split_first() else { return Err(Fault::no_such_path(path)) };
    let names = segments.get(1..).unwrap_or_default();
    let (kind, deleted) = match *collection {
        "keys" => (Kind::Key, false),
        "secrets" => (Kind::Secret, false),
        "certificates" => (Kind::Certificate, false),
        "deletedkeys" => (Kind::Key, true),
        "deletedsecrets" => (Kind::Secret, true),
        "deletedcertificates" => (Kind::Certificate, true),
        _ => return Err(Fault::no_such_path(path)),
    };
    let found = if deleted {
        deleted_object(method, kind, words, names)
    } else {
        special(method, kind, words, names).or_else(|| live_object(method, kind, words, names))
    };
    match found {
        Some(operation) => Ok(operation),
        None => {
            // The path may be right with another method.
            let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
            let known = methods.iter().any(|method| {
                if deleted {
                    deleted_object(method, kind, words, names).is_some()
                } else {
                    special(method, kind, words, names).or_else(|| live_object(method, kind, words, names)).is_some()
                }
            });
            Err(if known { Fault::no_such_method(method.as_str()) } else { Fault::no_such_path(path) })
        }
    }
}

fn deleted_object(method: &Method, kind: Kind, words: &[&str], names: &[String]) -> Option<Operation> {
    let name = || names.first().cloned().unwrap_or_default();
    match (method, words) {
        (&Method::GET, []) => Some(Operation::ListDeleted(kind)),
        (&Method::GET, [_]) => Some(Operation::GetDeleted(kind, name())),
        (&Method::DELETE, [_]) => Some(Operation::Purge(kind, name())),
        (&Method::POST, [_, "recover"]) => Some(Operation::Recover(kind, name())),
        _ => None,
    }
}

/// Paths of one kind only, which must not be taken for the name of an object.
fn special(method: &Method, kind: Kind, words: &[&str], names: &[String]) -> Option<Operation> {
    let name = || names.first().cloned().unwrap_or_default();
    let second = || names.get(1).cloned().unwrap_or_default();
    match (kind, method, words) {
        (_, &Method::POST, ["restore"]) => Some(Operation::Restore(kind)),
        (Kind::Key, &Method::POST, [_, "create"]) => Some(Operation::CreateKey(name())),
        (Kind::Key, &Method::PUT, [_]) => Some(Operation::ImportKey(name())),
        (Kind::Key, &Method::POST, [_, "rotate"]) => Some(Operation::RotateKey(name())),
        (Kind::Key, &Method::GET, [_, "rotationpolicy"]) => Some(Operation::GetRotationPolicy(name())),
        (Kind::Key, &Method::PUT, [_, "rotationpolicy"]) => Some(Operation::SetRotationPolicy(name())),
        (Kind::Key, &Method::POST, [_, using]) => {
            KeyUse::parse(using).map(|using| Operation::UseKey(using, name(), None))
        }
        (Kind::Key, &Method::POST, [_, _, using]) => {
            KeyUse::parse(using).map(|using| Operation::UseKey(using, name(), Some(second())))
        }
        (Kind::Secret, &Method::PUT, [_]) => Some(Operation::SetSecret(name())),
        (Kind::Certificate, _, ["contacts"]) => match *method {
            Method::GET => Some(Operation::GetContacts),
            Method::PUT => Some(Operation::SetContacts),
            Method::DELETE => Some(Operation::DeleteContacts),
            _ => None,
        },
        (Kind::Certificate, &Method::GET, ["issuers"]) => Some(Operation::ListIssuers),
        (Kind::Certificate, _, ["issuers", _]) => match *method {
            Method::GET => Some(Operation::GetIssuer(second())),
            Method::PUT => Some(Operation::SetIssuer(second())),
            Method::PATCH => Some(Operation::UpdateIssuer(second())),
            Method::DELETE => Some(Operation::DeleteIssuer(second())),
            _ => None,
        },
        (Kind::Certificate, &Method::POST, [_, "create"]) => Some(Operation::CreateCertificate(name())),
        (Kind::Certificate, &Method::POST, [_, "import"]) => Some(Operation::ImportCertificate(name())),
        (Kind::Certificate, &Method::GET, [_, "policy"]) => Some(Operation::GetPolicy(name())),
        (Kind::Certificate, &Method::PATCH, [_, "policy"]) => Some(Operation::UpdatePolicy(name())),
        (Kind::Certificate, &Method::GET, [_, "pending"]) => Some(Operation::GetPending(name())),
        (Kind::Certificate, &Method::PATCH, [_, "pending"]) => Some(Operation::UpdatePending(name())),
        (Kind::Certificate, &Method::DELETE, [_, "pending"]) => Some(Operation::DeletePending(name())),
        (Kind::Certificate, &Method::POST, [_, "pending", "merge"]) => Some(Operation::MergePending(name())),
        _ => None,
    }
}

fn live_object(method: &Method, kind: Kind, words: &[&str], names: &[String]) -> Option<Operation> {
    let name = || names.first().cloned().unwrap_or_default();
    let version = || names.get(1).cloned();
    match (method, words) {
        (&Method::GET, []) => Some(Operation::List(kind)),
        (&Method::GET, [_]) => Some(Operation::Get(kind, name(), None)),
        (&Method::GET, [_, "versions"]) => Some(Operation::ListVersions(kind, name())),
        (&Method::GET, [_, _]) => Some(Operation::Get(kind, name(), version())),
        (&Method::POST, [_, "backup"]) => Some(Operation::Backup(kind, name())),
        (&Method::PATCH, [_]) => Some(Operation::Update(kind, name(), None)),
        (&Method::PATCH, [_, _]) => Some(Operation::Update(kind, name(), version())),
        (&Method::DELETE, [_]) => Some(Operation::Delete(kind, name())),
        _ => None,
    }
}

impl Operation {
    /// The data action without its prefix `Microsoft.KeyVault/vaults/`.
    pub(super) fn action(&self) -> String {
        let of = |kind: &Kind, what: &str| format!("{}/{what}", kind.plural());
        match self {
            Operation::Get(Kind::Secret, ..) => "secrets/getSecret/action".into(),
            Operation::List(Kind::Secret)
            | Operation::ListVersions(Kind::Secret, _)
            | Operation::ListDeleted(Kind::Secret)
            | Operation::GetDeleted(Kind::Secret, _) => "secrets/readMetadata/action".into(),
            Operation::List(kind)
            | Operation::ListVersions(kind, _)
            | Operation::ListDeleted(kind)
            | Operation::Get(kind, ..)
            | Operation::GetDeleted(kind, _) => of(kind, "read"),
            Operation::Delete(kind, _) => of(kind, "delete"),
            Operation::Recover(kind, _) => of(kind, "recover/action"),
            Operation::Purge(kind, _) => of(kind, "purge/action"),
            Operation::Backup(kind, _) => of(kind, "backup/action"),
            Operation::Restore(kind) => of(kind, "restore/action"),
            Operation::Update(kind, ..) => of(kind, "update/action"),
            Operation::CreateKey(_) => "keys/create/action".into(),
            Operation::ImportKey(_) => "keys/import/action".into(),
            Operation::RotateKey(_) => "keys/rotate/action".into(),
            Operation::GetRotationPolicy(_) => "keyrotationpolicies/read".into(),
            Operation::SetRotationPolicy(_) => "keyrotationpolicies/write".into(),
            Operation::UseKey(using, ..) => match using {
                KeyUse::WrapKey => "keys/wrap/action".into(),
                KeyUse::UnwrapKey => "keys/unwrap/action".into(),
                other => format!("keys/{}/action", other.name()),
            },
            Operation::SetSecret(_) => "secrets/setSecret/action".into(),
            Operation::CreateCertificate(_) | Operation::MergePending(_) => "certificates/create/action".into(),
            Operation::ImportCertificate(_) => "certificates/import/action".into(),
            Operation::GetPolicy(_) | Operation::GetPending(_) => "certificates/read".into(),
            Operation::UpdatePolicy(_) | Operation::UpdatePending(_) | Operation::DeletePending(_) => {
                "certificates/update/action".into()
            }
            Operation::ListIssuers | Operation::GetIssuer(_) => "certificatecas/read".into(),
            Operation::SetIssuer(_) | Operation::UpdateIssuer(_) => "certificatecas/write".into(),
            Operation::DeleteIssuer(_) => "certificatecas/delete".into(),
            // DOC: even reading contacts needs the permission to manage them; there is no action to read.
            Operation::GetContacts | Operation::SetContacts | Operation::DeleteContacts => {
                "certificatecontacts/write".into()
            }
        }
    }

    /// The object's name, where the operation has one.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Operation::ListVersions(_, name)
            | Operation::Get(_, name, _)
            | Operation::GetDeleted(_, name)
            | Operation::Delete(_, name)
            | Operation::Recover(_, name)
            | Operation::Purge(_, name)
            | Operation::Backup(_, name)
            | Operation::Update(_, name, _)
            | Operation::CreateKey(name)
            | Operation::ImportKey(name)
            | Operation::RotateKey(name)
            | Operation::GetRotationPolicy(name)
            | Operation::SetRotationPolicy(name)
            | Operation::UseKey(_, name, _)
            | Operation::SetSecret(name)
            | Operation::CreateCertificate(name)
            | Operation::ImportCertificate(name)
            | Operation::GetPolicy(name)
            | Operation::UpdatePolicy(name)
            | Operation::GetPending(name)
            | Operation::UpdatePending(name)
            | Operation::DeletePending(name)
            | Operation::MergePending(name)
            | Operation::GetIssuer(name)
            | Operation::SetIssuer(name)
            | Operation::UpdateIssuer(name)
            | Operation::DeleteIssuer(name) => Some(name),
            Operation::List(_)
            | Operation::ListDeleted(_)
            | Operation::Restore(_)
            | Operation::ListIssuers
            | Operation::GetContacts
            | Operation::SetContacts
            | Operation::DeleteContacts => None,
        }
    }
}

/// Whether a name is one: `^[0-9a-zA-Z-]{1,127}$` (DOC).
pub(super) fn valid_name(name: &str) -> bool {
    (1..=127).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: Method, path: &str) -> Result<Operation, Fault> {
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        parse(&method, path, &segments)
    }

    #[test]
    fn paths_lead_to_operations_with_their_action() {
        for (method, path, action) in [
            (Method::GET, "keys", "keys/read"),
            (Method::GET, "secrets", "secrets/readMetadata/action"),
            (Method::GET, "secrets/a", "secrets/getSecret/action"),
            (Method::GET, "deletedsecrets/a", "secrets/readMetadata/action"),
            (Method::POST, "keys/a/backup", "keys/backup/action"),
            (Method::POST, "keys/restore", "keys/restore/action"),
            (Method::POST, "keys/a/0f/wrapkey", "keys/wrap/action"),
            (Method::GET, "certificates/contacts", "certificatecontacts/write"),
            (Method::GET, "certificates/issuers/restore", "certificatecas/read"),
            (Method::GET, "certificates/a/pending", "certificates/read"),
            (Method::DELETE, "deletedcertificates/a", "certificates/purge/action"),
        ] {
            assert_eq!(route(method, path).unwrap().action(), action, "{path}");
        }
        assert_eq!(route(Method::DELETE, "keys").unwrap_err().response().status, 405);
        assert_eq!(route(Method::GET, "kays").unwrap_err().response().status, 404);
        assert_eq!(route(Method::GET, "secrets/a/b/c").unwrap_err().response().status, 404);
    }
}
