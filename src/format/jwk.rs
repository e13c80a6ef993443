//! Thumbprints of public keys (RFC 7638), so that a restored key can be compared with the one that was lost.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::model::Digest;

/// The thumbprint of a JSON Web Key, SHA-256 in base64url; `None` for a key without a public part or one that is
/// malformed.
///
/// Key Vault's own types and curve names count as the registered ones (`azure.md` §1.7), so that the result is what any
/// other implementation computes from the same public key.
pub fn thumbprint(jwk: &Value) -> Option<String> {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(member(name)?.trim_end_matches('=')).ok();
    // RFC 7638 section 3: the required members only, in order, no white space. All of these values are plain ASCII.
    let text = match member("kty")? {
        "RSA" | "RSA-HSM" => {
            format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, integer(&bytes("e")?)?, integer(&bytes("n")?)?)
        }
        "EC" | "EC-HSM" => {
            let (curve, width) = match member("crv")? {
                "P-256" => ("P-256", 32),
                "P-384" => ("P-384", 48),
                "P-521" => ("P-521", 66),
                "P-256K" | "secp256k1" => ("secp256k1", 32),
                _ => return None,
            };
            let (x, y) = (coordinate(&bytes("x")?, width)?, coordinate(&bytes("y")?, width)?);
            format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        _ => return None,
    };
    Some(URL_SAFE_NO_PAD.encode(Digest::of(text.as_bytes()).0))
}

/// RFC 7518 section 2: the fewest octets.
fn integer(bytes: &[u8]) -> Option<String> {
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some(URL_SAFE_NO_PAD.encode(bytes.get(first..)?))
}

/// RFC 7518 section 6.2.1.2: as many octets as the curve's field has.
fn coordinate(bytes: &[u8], width: usize) -> Option<String> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let significant = bytes.get(first..)?;
    let mut full = vec![0; width.checked_sub(significant.len())?];
    full.extend_from_slice(significant);
    Some(URL_SAFE_NO_PAD.encode(full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// RFC 7638 section 3.1.
    const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

    #[test]
    fn an_rsa_key_has_the_thumbprint_of_the_rfc_also_in_an_hsm() {
        for kty in ["RSA", "RSA-HSM"] {
            let jwk = json!({"kty": kty, "n": N, "e": "AQAB", "kid": "https://v/keys/a/1", "key_ops": ["sign"]});
            assert_eq!(thumbprint(&jwk).as_deref(), Some(THUMBPRINT));
        }
        let padded = json!({"kty": "RSA", "n": N, "e": "AAEAAQ=="});
        assert_eq!(thumbprint(&padded).as_deref(), Some(THUMBPRINT));
    }

    #[test]
    fn an_elliptic_key_has_one_thumbprint_however_it_is_spelt() {
        // The P-256 key of RFC 7517 appendix A.1; the thumbprint is SHA-256 of the text that RFC 7638 prescribes.
        let (x, y) = ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let want = URL_SAFE_NO_PAD.encode(Digest::of(text.as_bytes()).0);
        for kty in ["EC", "EC-HSM"] {
            let jwk = json!({"kty": kty, "crv": "P-256", "x": x, "y": y});
            assert_eq!(thumbprint(&jwk).as_deref(), Some(want.as_str()));
        }
        let short = |x: &str| thumbprint(&json!({"kty": "EC", "crv": "P-521", "x": x, "y": "AQ"}));
        assert!(short("AQ").is_some());
        assert_eq!(short("AQ"), short("AAAB"));
        let koblitz = |crv: &str| thumbprint(&json!({"kty": "EC", "crv": crv, "x": x, "y": y}));
        assert_eq!(koblitz("P-256K"), koblitz("secp256k1"));
        assert_ne!(koblitz("P-256K"), koblitz("P-256"));
    }

    #[test]
    fn what_is_no_public_key_has_none() {
        for jwk in [
            json!(null),
            json!({}),
            json!({"kty": "oct-HSM"}),
            json!({"kty": "RSA", "n": N}),
            json!({"kty": "RSA", "n": "", "e": "AQAB"}),
            json!({"kty": "RSA", "n": "not base64!", "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-257", "x": "AQ", "y": "AQ"}),
            json!({"kty": "EC", "crv": "P-256", "x": N, "y": "AQ"}),
        ] {
            assert_eq!(thumbprint(&jwk), None, "{jwk}");
        }
    }
}
