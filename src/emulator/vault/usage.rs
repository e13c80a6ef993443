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
    encoding::from_url(&text)
        .ok_or_else(|| Fault::bad_parameter(format!("Property \"{property}\" is not base64url")))
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
