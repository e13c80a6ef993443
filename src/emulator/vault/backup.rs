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
    // Whether a backup carries the rotation policy is unknown; that it does not is a GUESS[backup-without-rotation].
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
        // Unknown for a restore; the answer of a create is a GUESS[restore-hsm-key].
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
    // A key's blob at /certificates/restore has the right magic and the wrong content; the
    // answer is a GUESS[blob-of-other-kind].
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
    if phases.iter().all(|phase| *phase == Phase::Free) && !call.reserved(name) {
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

#[cfg(test)]
mod tests {
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::encoding;
    use crate::emulator::vault::fixture::Cloud;
    use serde_json::{Value, json};

    fn remove(cloud: &mut Cloud, vault: &str, path: &str) {
        cloud.good("DELETE", &format!("{vault}/{path}"), "");
        assert_eq!(cloud.ask("DELETE", &format!("{vault}/deleted{path}"), "").0, 204);
    }

    fn bytes(body: &str) -> Vec<u8> {
        let body: Value = serde_json::from_str(body).unwrap();
        encoding::from_url(body["value"].as_str().unwrap()).unwrap()
    }

    fn message(cloud: &mut Cloud, target: &str, body: &str) -> (u16, String) {
        let (status, json) = cloud.ask("POST", target, body);
        (status, json["error"]["message"].as_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn a_blob_has_the_recorded_shape_and_no_two_are_the_same() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("PUT", "vvv/secrets/s", r#"{"value":"tell nobody"}"#);
        cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"EC"}"#);
        for (path, magic) in [
            ("vvv/secrets/s", "\u{29}AzureKeyVaultSecretBackupV1.microsoft.com"),
            ("vvv/keys/k", "\u{26}AzureKeyVaultKeyBackupV1.microsoft.com"),
        ] {
            let (one, two) = (cloud.backup(path), cloud.backup(path));
            assert_ne!(one, two);
            let blob = String::from_utf8(bytes(&one)).unwrap();
            let token = blob.strip_prefix(magic).unwrap();
            assert_eq!(token.split('.').count(), 5);
            let header = encoding::from_url(token.split('.').next().unwrap()).unwrap();
            let header = String::from_utf8(header).unwrap();
            assert!(header.starts_with("{\"kid\":\""), "{header}");
            assert!(header.ends_with("\",\"alg\":\"RSA-OAEP-256\",\"enc\":\"A256CBC-HS512\"}"), "{header}");
            assert!(!one.contains('='));
        }
    }

    #[test]
    fn a_key_comes_back_with_its_versions_times_and_private_part() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"EC","tags":{"a":"b"}}"#);
        cloud.now += 5;
        cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"EC","attributes":{"exp":1900000000}}"#);
        cloud.now += 5;
        cloud.good("PATCH", "vvv/keys/k", r#"{"attributes":{"enabled":false}}"#);
        cloud.good("PUT", "vvv/keys/k/rotationpolicy", r#"{"attributes":{"expiryTime":"P30D"}}"#);
        let (versions, _) = cloud.pages("vvv/keys/k/versions");
        let current = cloud.good("GET", "vvv/keys/k", "");
        let old = versions.iter().find(|one| one["tags"]["a"] == "b").unwrap()["kid"].as_str().unwrap();
        let sign = format!("vvv/keys/k/{}/sign", old.rsplit('/').next().unwrap());
        let digest = json!({"alg": "ES256", "value": encoding::url(&[7; 32])});
        let signature = cloud.good("POST", &sign, &digest.to_string())["value"].clone();
        let blob = cloud.backup("vvv/keys/k");
        remove(&mut cloud, "vvv", "keys/k");
        cloud.now += 1000;
        assert_eq!(cloud.good("POST", "vvv/keys/restore", &blob), current);
        assert_eq!(cloud.pages("vvv/keys/k/versions").0, versions);
        assert!(cloud.good("GET", "vvv/keys/k/rotationpolicy", "")["attributes"].get("expiryTime").is_none());
        let check = json!({"alg": "ES256", "digest": encoding::url(&[7; 32]), "value": signature});
        let verify = sign.replace("/sign", "/verify");
        assert_eq!(cloud.good("POST", &verify, &check.to_string())["value"], true);

        // Into the vault next door: the recovery level is that of the target.
        let there = cloud.good("POST", "ppp/keys/restore", &blob);
        assert_eq!(there["key"]["x"], current["key"]["x"]);
        assert_eq!(there["attributes"]["recoveryLevel"], "Recoverable");
        assert_eq!(there["attributes"]["updated"], current["attributes"]["updated"]);
    }

    #[test]
    fn a_taken_name_is_refused_the_same_way_whatever_holds_it() {
        let mut cloud = Cloud::four(Limbo::Off);
        let id = cloud.good("PUT", "vvv/secrets/s", r#"{"value":"x"}"#)["id"].clone();
        let blob = cloud.backup("vvv/secrets/s");
        let live = message(&mut cloud, "vvv/secrets/restore", &blob);
        assert_eq!(live.0, 409);
        assert!(live.1.starts_with(&format!("There was a conflict restoring the secret '{}'.", id.as_str().unwrap())));
        assert_eq!(cloud.bad("POST", "vvv/secrets/restore", &blob).2, "");
        cloud.good("DELETE", "vvv/secrets/s", "");
        assert_eq!(message(&mut cloud, "vvv/secrets/restore", &blob), live);
    }

    #[test]
    fn a_blob_stays_in_its_subscription_and_geography_and_hsm_keys_in_premium_vaults() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("PUT", "vvv/secrets/s", r#"{"value":"x"}"#);
        cloud.good("POST", "ppp/keys/h/create", r#"{"kty":"EC-HSM"}"#);
        let (secret, key) = (cloud.backup("vvv/secrets/s"), cloud.backup("ppp/keys/h"));
        let abroad = message(&mut cloud, "abroad/secrets/restore", &secret);
        assert_eq!(abroad, (400, "Cannot decrypt backup blob.".into()));
        assert!(message(&mut cloud, "other/secrets/restore", &secret).1.contains("subscription"));
        let standard = message(&mut cloud, "vvv/keys/restore", &key);
        assert_eq!(standard, (400, "Hardware key operation not allowed on standard vault".into()));
        cloud.good("POST", "ppp/secrets/restore", &secret);
    }

    #[test]
    fn what_is_no_blob_of_this_kind_is_malformed() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("PUT", "vvv/secrets/s", r#"{"value":"x"}"#);
        cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"EC"}"#);
        let (secret, key) = (cloud.backup("vvv/secrets/s"), cloud.backup("vvv/keys/k"));
        let zeros = json!({"value": "AAAAAAAA"}).to_string();
        let mut changed = bytes(&key);
        let last = changed.len() - 1;
        changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
        changed[last - 1] = if changed[last - 1] == b'A' { b'B' } else { b'A' };
        let changed = json!({"value": encoding::url(&changed)}).to_string();
        for (target, body) in [
            ("vvv/keys/restore", &zeros),
            ("vvv/keys/restore", &secret),
            ("vvv/certificates/restore", &key),
            ("ppp/keys/restore", &changed),
        ] {
            let (status, code, _) = cloud.bad("POST", target, body);
            assert_eq!((status, code.as_str()), (400, "Malformed backup blob"), "{target}");
        }
        let text = json!({"value": "ZG9lc25vdGV4aXN0"}).to_string();
        assert_eq!(message(&mut cloud, "vvv/keys/restore", &text).1, "Backup blob is corrupt.");
        assert_eq!(cloud.bad("POST", "vvv/keys/restore", "{}").1, "BadParameter");
    }

    #[test]
    fn five_hundred_past_versions_can_be_backed_up_and_one_more_cannot() {
        let seed = |versions: u32| {
            format!(
                "[[vault]]\nname = \"vvv\"\nsubscription = \"s\"\nlocation = \"westeurope\"\nobjects = [\
                 {{kind = \"secret\", name = \"s\", versions = {versions}}}]"
            )
        };
        Cloud::new(&seed(501)).backup("vvv/secrets/s");
        let refused = Cloud::new(&seed(502)).bad("POST", "vvv/secrets/s/backup", "");
        assert_eq!((refused.0, refused.1.as_str()), (400, "BadRequest"));
    }

    #[test]
    fn a_certificate_comes_back_as_three_objects_and_its_parts_cannot_be_backed_up_alone() {
        let mut cloud = Cloud::new(
            "[[vault]]\nname = \"vvv\"\nsubscription = \"s\"\nlocation = \"westeurope\"\nobjects = [\
             {kind = \"certificate\", name = \"tls\", type = \"EC\", versions = 2}]",
        );
        let refused = message(&mut cloud, "vvv/keys/tls/backup", "");
        let text = "Operation \"backup\" is not allowed on this Key, since it is associated with a certificate";
        assert_eq!(refused, (403, text.into()));
        assert_eq!(cloud.bad("POST", "vvv/secrets/tls/backup", "").0, 403);
        let before: Vec<Value> =
            ["certificates/tls", "keys/tls"].map(|path| cloud.good("GET", &format!("vvv/{path}"), "")).into();
        let blob = cloud.backup("vvv/certificates/tls");
        assert!(bytes(&blob).starts_with(b"\x26AzureKeyVaultKeyBackupV1.microsoft.com"));
        remove(&mut cloud, "vvv", "certificates/tls");
        cloud.good("POST", "vvv/certificates/restore", &blob);
        let after: Vec<Value> =
            ["certificates/tls", "keys/tls"].map(|path| cloud.good("GET", &format!("vvv/{path}"), "")).into();
        assert_eq!(before, after);
        assert_eq!(cloud.good("GET", "vvv/secrets/tls", "")["managed"], true);
        assert_eq!(cloud.bad("POST", "vvv/certificates/restore", &blob).0, 409);
    }
}
