//! Backup and restore of whole objects: Azure's blob, really encrypted, and every reason to refuse one. Knows no lists and no
//! life cycle but whether a name is free.
//!
//! The blob is a length byte, a magic, and a JWE for the geography's wrapping key (`azure.md` §1.3, REC). What is inside
//! Azure's own is unknown; here it is JSON with everything that a restore brings back.

use super::certificates::{self, CertificateContent, CertificateExtra};
use super::encoding;
use super::errors::Fault;
use super::jwe::{self, Parts};
use super::keys::KeyContent;
use super::object::{Content, Kind, Life, Object, Phase, Version};
use super::secrets::SecretContent;
use super::state::{Answer, Call, ok};
use super::worlds;
use serde::{Deserialize, Serialize};

/// Past versions that a backup can hold (DOC).
const MAX_PAST_VERSIONS: usize = 500;

/// The magic: certificates have that of keys (REC).
fn magic(kind: Kind) -> &'static str {
    match kind {
        Kind::Key | Kind::Certificate => "AzureKeyVaultKeyBackupV1.microsoft.com",
        Kind::Secret => "AzureKeyVaultSecretBackupV1.microsoft.com",
    }
}

#[derive(Serialize, Deserialize)]
struct Payload {
    kind: Kind,
    subscription: String,
    geography: String,
    key: Option<Object<KeyContent>>,
    secret: Option<Object<SecretContent>>,
    certificate: Option<Object<CertificateContent>>,
}

#[derive(Serialize, Deserialize)]
struct Blob {
    value: Option<String>,
}

/// `POST /TYPE/NAME/backup`. Disabled and expired objects too (REC).
pub(super) fn backup(call: &mut Call<'_>, kind: Kind, name: &str) -> Answer {
    let mut payload = Payload {
        kind,
        subscription: call.vault.subscription.clone(),
        geography: worlds::geography(&call.vault.location).to_owned(),
        key: None,
        secret: None,
        certificate: None,
    };
    match kind {
        Kind::Key => payload.key = Some(key(call, name)?),
        Kind::Secret => payload.secret = Some(allowed::<SecretContent>(call, name)?.clone()),
        Kind::Certificate => {
            allowed::<CertificateContent>(call, name)?;
            certificates::complete_all(call, name)?;
            let mut certificate = call.shelf::<CertificateContent>().any(name)?.clone();
            // A restored certificate has no request any more (REC).
            certificate.extra = CertificateExtra { issued: None, ..certificate.extra };
            payload.certificate = Some(certificate);
            payload.key = Some(call.shelf::<KeyContent>().any(name)?.clone());
            payload.secret = Some(call.shelf::<SecretContent>().any(name)?.clone());
        }
    }
    let plain = serde_json::to_vec(&payload).map_err(|_| Fault::internal("a backup cannot be written"))?;
    let world = worlds::of_region(call.worlds, &call.vault.location, call.chance)?;
    let sealed = jwe::seal(&world.kid, &world.key, &plain, call.chance)?;
    let magic = magic(kind);
    let blob = [&[magic.len() as u8], magic.as_bytes(), sealed.as_bytes()].concat();
    ok(&Blob { value: Some(encoding::url(&blob)) })
}

/// The live object, if it may be backed up by itself and is not too long.
fn allowed<'a, C: Content>(call: &'a Call<'_>, name: &str) -> Result<&'a Object<C>, Fault> {
    let object = call.shelf::<C>().live(name, call.moment())?;
    if object.managed() {
        return Err(Fault::managed_backup(C::KIND));
    }
    if object.versions.len() > MAX_PAST_VERSIONS + 1 {
        return Err(Fault::too_many_versions(C::KIND, object.versions.len()));
    }
    Ok(object)
}

fn key(call: &mut Call<'_>, name: &str) -> Result<Object<KeyContent>, Fault> {
    allowed::<KeyContent>(call, name)?;
    let object = call.shelf_mut::<KeyContent>().any_mut(name)?;
    for version in &mut object.versions {
        version.content.material()?;
    }
    // Whether a backup carries the rotation policy is unknown; that it does not is a GUESS.
    Ok(Object { extra: None, ..object.clone() })
}

/// `POST /TYPE/restore`.
pub(super) fn restore(call: &mut Call<'_>, kind: Kind) -> Answer {
    let body: Blob = call.body()?;
    let value = body.value.ok_or_else(|| Fault::missing("value"))?;
    let payload = open(call, kind, &value)?;
    if !payload.subscription.eq_ignore_ascii_case(&call.vault.subscription) {
        return Err(Fault::foreign_subscription());
    }
    let hsm = |object: &Object<KeyContent>| object.versions.iter().any(|version| version.content.hsm);
    if payload.key.as_ref().is_some_and(hsm) && !call.vault.premium {
        // Unknown for a restore; the answer of a create is a GUESS.
        return Err(Fault::hsm_on_standard());
    }
    match (kind, payload.key, payload.secret, payload.certificate) {
        (Kind::Key, Some(key), _, _) => {
            free(call, kind, &key)?;
            place(call, key)
        }
        (Kind::Secret, _, Some(secret), _) => {
            free(call, kind, &secret)?;
            place(call, secret)
        }
        (Kind::Certificate, Some(key), Some(secret), Some(certificate)) => {
            free(call, kind, &certificate)?;
            place(call, key)?;
            place(call, secret)?;
            place(call, certificate)
        }
        _ => Err(Fault::malformed_blob()),
    }
}

/// What is in a blob, if it is one of this kind and of this geography.
fn open(call: &mut Call<'_>, kind: Kind, value: &str) -> Result<Payload, Fault> {
    let blob = encoding::from_url(value).ok_or_else(Fault::corrupt_blob)?;
    let (length, rest) = blob.split_first().ok_or_else(Fault::corrupt_blob)?;
    let (found, text) = rest.split_at_checked(usize::from(*length)).ok_or_else(Fault::corrupt_blob)?;
    if found != magic(kind).as_bytes() {
        return Err(Fault::malformed_blob());
    }
    let text = std::str::from_utf8(text).map_err(|_| Fault::malformed_blob())?;
    let parts = Parts::parse(text).ok_or_else(Fault::malformed_blob)?;
    let world = worlds::of_region(call.worlds, &call.vault.location, call.chance)?;
    if parts.kid != world.kid {
        return Err(Fault::undecryptable_blob());
    }
    let plain = parts.open(&world.key).ok_or_else(Fault::malformed_blob)?;
    let payload: Payload = serde_json::from_slice(&plain).map_err(|_| Fault::malformed_blob())?;
    // A key's blob at /certificates/restore has the right magic and the wrong content; the answer is a GUESS.
    if payload.kind == kind { Ok(payload) } else { Err(Fault::malformed_blob()) }
}

/// Whether all names that the object takes are free.
fn free<C: Content>(call: &Call<'_>, kind: Kind, object: &Object<C>) -> Result<(), Fault> {
    let (name, moment) = (&object.name, call.moment());
    let phases = match kind {
        Kind::Key => vec![call.shelf::<KeyContent>().phase(name, moment)],
        Kind::Secret => vec![call.shelf::<SecretContent>().phase(name, moment)],
        Kind::Certificate => vec![
            call.shelf::<CertificateContent>().phase(name, moment),
            call.shelf::<KeyContent>().phase(name, moment),
            call.shelf::<SecretContent>().phase(name, moment),
        ],
    };
    if phases.iter().all(|phase| *phase == Phase::Free) {
        return Ok(());
    }
    let version = object.versions.last().map(|version: &Version<C>| version.id.as_str());
    Err(Fault::restore_conflict(kind, &call.vault.id(kind, name, version)))
}

/// Puts a restored object in its place, with the versions, times and attributes that it had (REC).
fn place<C: Content>(call: &mut Call<'_>, object: Object<C>) -> Answer {
    let name = object.name.clone();
    call.shelf_mut::<C>().put(Object { life: Life::Live, ..object });
    ok(&C::bundle(call, &name)?)
}
