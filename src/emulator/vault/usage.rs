//! Using keys: encrypt, decrypt, wrap, unwrap, sign, verify, and when a key may not be used. Knows no way to change one.

use super::encoding;
use super::errors::Fault;
use super::keys::KeyContent;
use super::object::{Content, Kind, Version};
use super::route::KeyUse;
use super::state::{Answer, Call, ok};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Body {
    alg: Option<String>,
    value: Option<String>,
    /// What `verify` checks `value` against.
    digest: Option<String>,
}

#[derive(Serialize)]
struct Outcome {
    kid: String,
    value: String,
}

#[derive(Serialize)]
struct Verdict {
    value: bool,
}

/// `POST /keys/NAME[/VERSION]/OPERATION`.
pub(super) fn perform(call: &mut Call<'_>, using: KeyUse, name: &str, version: Option<&str>) -> Answer {
    let body: Body = call.body()?;
    let algorithm = body.alg.ok_or_else(|| Fault::missing("alg"))?;
    let value = bytes("value", body.value)?;
    let (now, moment) = (call.now, call.moment());
    let key = call.shelf_mut::<KeyContent>().live_mut(name, moment)?;
    let object = key.name.clone();
    let version = key.version_mut(version)?;
    usable(version, using, now)?;
    let id = version.id.clone();
    let material = version.content.material()?;
    let value = match using {
        KeyUse::Encrypt | KeyUse::WrapKey => material.encrypt(&algorithm, &value)?,
        KeyUse::Decrypt | KeyUse::UnwrapKey => material.decrypt(&algorithm, &value)?,
        KeyUse::Sign => material.sign(&algorithm, &value)?,
        KeyUse::Verify => {
            let digest = bytes("digest", body.digest)?;
            return ok(&Verdict { value: material.verify(&algorithm, &digest, &value)? });
        }
    };
    ok(&Outcome { kid: call.vault.id(KeyContent::KIND, &object, Some(&id)), value: encoding::url(&value) })
}

fn bytes(property: &str, text: Option<String>) -> Result<Vec<u8>, Fault> {
    let text = text.ok_or_else(|| Fault::missing(property))?;
    encoding::from_url(&text).ok_or_else(|| Fault::bad_parameter(format!("Property \"{property}\" is not base64url")))
}

/// Whether the key may be used so, now. Outside its validity a key still decrypts, unwraps and verifies (DOC).
fn usable(version: &Version<KeyContent>, using: KeyUse, now: i64) -> Result<(), Fault> {
    let operation = using.name();
    if !version.attributes.enabled {
        return Err(Fault::disabled(Kind::Key, operation));
    }
    if !version.content.ops.iter().any(|op| op == operation) {
        return Err(Fault::operation_not_permitted(operation));
    }
    if matches!(using, KeyUse::Encrypt | KeyUse::WrapKey | KeyUse::Sign) {
        if version.attributes.nbf.is_some_and(|nbf| now < nbf) {
            return Err(Fault::outside_validity(operation, "not yet valid"));
        }
        if version.attributes.exp.is_some_and(|exp| now >= exp) {
            return Err(Fault::outside_validity(operation, "expired"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::fixture::{Cloud, NOW};
    use serde_json::json;

    #[test]
    fn a_key_wraps_and_unwraps_across_versions() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"RSA"}"#);
        let wrapped = cloud.good("POST", "vvv/keys/k/wrapkey", r#"{"alg":"RSA-OAEP-256","value":"YWJjZGVm"}"#);
        let kid = wrapped["kid"].as_str().unwrap();
        let version = kid.rsplit('/').next().unwrap().to_owned();
        cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"EC"}"#);
        let body = json!({"alg": "RSA-OAEP-256", "value": wrapped["value"]}).to_string();
        let unwrapped = cloud.good("POST", &format!("vvv/keys/k/{version}/unwrapkey"), &body);
        assert_eq!(unwrapped, json!({"kid": kid, "value": "YWJjZGVm"}));
        assert_eq!(cloud.bad("POST", "vvv/keys/k/unwrapkey", &body).2, "KeyOperationForbidden");
    }

    #[test]
    fn disabled_and_expired_keys_are_refused_but_expired_ones_still_verify() {
        let mut cloud = Cloud::four(Limbo::Off);
        let attributes = json!({"kty": "EC", "attributes": {"exp": NOW + 10}}).to_string();
        cloud.good("POST", "vvv/keys/k/create", &attributes);
        let digest = crate::emulator::vault::encoding::url(&[1; 32]);
        let sign = json!({"alg": "ES256", "value": digest}).to_string();
        let signature = cloud.good("POST", "vvv/keys/k/sign", &sign)["value"].clone();
        cloud.now = NOW + 10;
        assert_eq!(cloud.bad("POST", "vvv/keys/k/sign", &sign).2, "KeyExpired");
        let verify = json!({"alg": "ES256", "digest": digest, "value": signature}).to_string();
        assert_eq!(cloud.good("POST", "vvv/keys/k/verify", &verify), json!({"value": true}));
        cloud.good("PATCH", "vvv/keys/k", r#"{"attributes":{"enabled":false}}"#);
        assert_eq!(cloud.bad("POST", "vvv/keys/k/verify", &verify).2, "KeyDisabled");
        cloud.good("GET", "vvv/keys/k", "");
    }
}
