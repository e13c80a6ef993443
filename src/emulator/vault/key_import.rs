//! Keys from outside: JSON Web Keys with their private numbers. Knows no key that is already there.

use super::crypto::{self, Curve, RsaNumbers};
use super::encoding;
use super::errors::Fault;
use super::keys::{KeyContent, ReleasePolicy, add, bundle};
use super::object::{AttributesPatch, Tags};
use super::state::{Answer, Call, ok};
use serde::Deserialize;

#[derive(Deserialize)]
struct ImportBody {
    key: Option<ImportJwk>,
    #[serde(rename = "Hsm", alias = "hsm")]
    hsm: Option<bool>,
    attributes: Option<AttributesPatch>,
    tags: Option<Tags>,
    release_policy: Option<ReleasePolicy>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ImportJwk {
    kty: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<String>,
    p: Option<String>,
    q: Option<String>,
    dp: Option<String>,
    dq: Option<String>,
    qi: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// `PUT /keys/NAME`. Keys wrapped for an HSM (`key_hsm`) are not taken: no HSM is there to open them.
pub(super) fn import(call: &mut Call<'_>, name: &str) -> Answer {
    // REC: the message when the key does not hold.
    let wrong = || Fault::bad_parameter("The property \"key\" must be a valid JsonWebKey object.");
    let body: ImportBody = call.body()?;
    let key = body.key.ok_or_else(wrong)?;
    let number = |field: &Option<String>| field.as_deref().and_then(encoding::from_url).ok_or_else(wrong);
    let kty = key.kty.as_deref().unwrap_or_default();
    let material = match kty.trim_end_matches("-HSM") {
        "RSA" => crypto::import_rsa(&RsaNumbers {
            n: number(&key.n)?,
            e: number(&key.e)?,
            d: number(&key.d)?,
            p: number(&key.p)?,
            q: number(&key.q)?,
            dp: number(&key.dp)?,
            dq: number(&key.dq)?,
            qi: number(&key.qi)?,
        })?,
        "EC" => {
            let curve = key.crv.as_deref().and_then(Curve::parse).ok_or_else(wrong)?;
            crypto::import_ec(curve, &number(&key.d)?, &number(&key.x)?, &number(&key.y)?)?
        }
        _ => return Err(wrong()),
    };
    let mut content = KeyContent::new(material.spec, body.hsm.unwrap_or(kty.ends_with("-HSM")));
    if let Some(ops) = key.key_ops.filter(|ops| !ops.is_empty()) {
        content.ops = ops;
    }
    content.material = Some(material);
    content.release_policy = body.release_policy;
    add(call, name, content, body.attributes, body.tags, "import")?;
    ok(&bundle(call, name, None)?)
}

#[cfg(test)]
mod tests {
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::fixture::Cloud;
    use serde_json::json;

    #[test]
    fn recorded_keys_can_be_imported_and_inconsistent_ones_cannot() {
        let mut cloud = Cloud::four(Limbo::Off);
        let recorded = json!({"Hsm": false, "key": {"kty": "EC", "crv": "P-521",
            "d": "AfqngG4fnCqOyjTsRiBL6sxt61XHHwLSN3YjLhHWrFTdV9Uev7c-3oiXXwExwLkeEMZk1bOuSJO3_rZbX0ymkwAM",
            "x": "AbrVIZG8gPu6vTAbrs7OFStWCCDzbH29jAKaQqCaMS36wZvYjpT7ErJdE6RuqDs4m9iIb8VaP1FU5go4vAEIVvyS",
            "y": "AXjftbkXFhvx5d0ooAHtNwY-1xgXAUtpKLiZKiWMjRchKaX6YRc2wHCCib1KqstdqGxrqKhv99_V9Al57QcLL71Q"}});
        let made = cloud.good("PUT", "vvv/keys/k", &recorded.to_string());
        assert_eq!((&made["key"]["x"], &made["key"]["y"]), (&recorded["key"]["x"], &recorded["key"]["y"]));
        let mut wrong = recorded;
        wrong["key"]["y"] = wrong["key"]["x"].clone();
        let (status, refused) = cloud.ask("PUT", "vvv/keys/k", &wrong.to_string());
        assert_eq!(status, 400);
        assert_eq!(refused["error"]["message"], "The property \"key\" must be a valid JsonWebKey object.");
    }

    #[test]
    fn an_rsa_key_of_1024_bits_is_taken_as_recorded() {
        let mut cloud = Cloud::four(Limbo::Off);
        let one = crate::emulator::vault::encoding::url(&[0x81; 128]);
        let key = json!({"kty": "RSA", "n": one, "e": "AQAB", "d": "AQ", "p": "AQ", "q": "AQ", "dp": "AQ", "dq": "AQ", "qi": "AQ"});
        let made = cloud.good("PUT", "vvv/keys/k", &json!({"key": key}).to_string());
        assert_eq!(made["key"]["n"], one);
        cloud.backup("vvv/keys/k");
        // The library here does not use keys so short.
        assert_eq!(cloud.bad("POST", "vvv/keys/k/encrypt", r#"{"alg":"RSA-OAEP","value":"AQ"}"#).0, 400);
    }
}
