//! Real keys: made, imported, shown as JWK numbers, used. Knows no objects, no versions, no permissions.
//!
//! The library makes keys with its own random generator and takes no other, so key material is the one thing in the
//! emulator that a seed does not repeat.

use super::der;
use super::encoding::Octets;
use super::errors::Fault;
use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256};
use aws_lc_rs::rsa::{OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey};
use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// What kind of key pair, wherever it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Spec {
    /// RSA with so many bits of modulus.
    Rsa(u32),
    Ec(Curve),
}

/// Elliptic curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Curve {
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
    #[serde(rename = "P-521")]
    P521,
    #[serde(rename = "P-256K")]
    P256K,
}

impl Curve {
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Curve::P256, Curve::P384, Curve::P521, Curve::P256K].into_iter().find(|curve| curve.name() == name)
    }

    /// The name in a JWK; secp256k1 has the name that Key Vault gives it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
            Curve::P256K => "P-256K",
        }
    }

    /// Bytes of a coordinate.
    fn width(self) -> usize {
        match self {
            Curve::P256 | Curve::P256K => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            Curve::P521 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
            Curve::P256K => &signature::ECDSA_P256K1_SHA256_FIXED_SIGNING,
        }
    }

    fn verification(self) -> &'static signature::EcdsaVerificationAlgorithm {
        match self {
            Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Curve::P521 => &signature::ECDSA_P521_SHA512_FIXED,
            Curve::P256K => &signature::ECDSA_P256K1_SHA256_FIXED,
        }
    }

    /// The signature algorithm and its digest.
    fn algorithm(self) -> (&'static str, &'static digest::Algorithm) {
        match self {
            Curve::P256 => ("ES256", &digest::SHA256),
            Curve::P384 => ("ES384", &digest::SHA384),
            Curve::P521 => ("ES512", &digest::SHA512),
            Curve::P256K => ("ES256K", &digest::SHA256),
        }
    }
}

/// A key pair. Not `Debug`: it holds the private key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Material {
    pub(super) spec: Spec,
    /// PKCS #8.
    pub(super) private: Octets,
    pub(super) public: Public,
}

/// The public numbers of a JWK, big-endian: RSA without leading zeros, coordinates at full width (RFC 7518).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Public {
    Rsa { n: Octets, e: Octets },
    Ec { x: Octets, y: Octets },
}

/// The private numbers of a JWK to import.
pub(super) struct RsaNumbers {
    pub(super) n: Vec<u8>,
    pub(super) e: Vec<u8>,
    pub(super) d: Vec<u8>,
    pub(super) p: Vec<u8>,
    pub(super) q: Vec<u8>,
    pub(super) dp: Vec<u8>,
    pub(super) dq: Vec<u8>,
    pub(super) qi: Vec<u8>,
}

fn broken(what: &'static str) -> impl Fn(aws_lc_rs::error::Unspecified) -> Fault {
    move |_| Fault::internal(format!("{what} failed"))
}

fn rejected<E>(_: E) -> Fault {
    Fault::bad_parameter("The key material cannot be used for this operation")
}

/// Makes a key pair.
pub(super) fn generate(spec: Spec) -> Result<Material, Fault> {
    match spec {
        Spec::Rsa(bits) => {
            let size = match bits {
                2048 => KeySize::Rsa2048,
                3072 => KeySize::Rsa3072,
                4096 => KeySize::Rsa4096,
                _ => return Err(Fault::bad_parameter(format!("Key size {bits} is not supported"))),
            };
            rsa_material(&RsaKeyPair::generate(size).map_err(broken("making an RSA key"))?)
        }
        Spec::Ec(curve) => {
            ec_material(curve, &EcdsaKeyPair::generate(curve.signing()).map_err(broken("making an EC key"))?)
        }
    }
}

fn rsa_material(pair: &RsaKeyPair) -> Result<Material, Fault> {
    let private = pair.as_der().map_err(broken("writing an RSA key"))?;
    let n = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
    let e = pair.public_key().exponent().big_endian_without_leading_zero().to_vec();
    Ok(Material {
        spec: Spec::Rsa(bits(&n)),
        private: Octets(private.as_ref().to_vec()),
        public: Public::Rsa { n: Octets(n), e: Octets(e) },
    })
}

/// Bits of a modulus without leading zero bytes.
fn bits(n: &[u8]) -> u32 {
    let lead = n.first().map_or(0, |byte| byte.leading_zeros());
    (n.len() as u32 * 8).saturating_sub(lead)
}

fn ec_material(curve: Curve, pair: &EcdsaKeyPair) -> Result<Material, Fault> {
    let private = pair.to_pkcs8v1().map_err(broken("writing an EC key"))?;
    let point = pair.public_key().as_ref();
    let short = || Fault::internal("an EC point is too short");
    let (x, y) = point.get(1..).and_then(|point| point.split_at_checked(curve.width())).ok_or_else(short)?;
    Ok(Material {
        spec: Spec::Ec(curve),
        private: Octets(private.as_ref().to_vec()),
        public: Public::Ec { x: Octets(x.to_vec()), y: Octets(y.to_vec()) },
    })
}

const RSA_ENCRYPTION: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// Imports an RSA key. Azure takes a modulus of 1024 bits (REC); such a key is kept and backed up, but the library here
/// refuses to use it.
pub(super) fn import_rsa(numbers: &RsaNumbers) -> Result<Material, Fault> {
    let RsaNumbers { n, e, d, p, q, dp, dq, qi } = numbers;
    let mut parts = vec![der::integer(&[0])];
    parts.extend([n, e, d, p, q, dp, dq, qi].map(|number| der::integer(number)));
    let algorithm = der::group(der::SEQUENCE, &[der::value(der::OID, &RSA_ENCRYPTION), der::value(der::NULL, &[])]);
    let inner = der::group(der::SEQUENCE, &parts);
    let pkcs8 = der::group(der::SEQUENCE, &[der::integer(&[0]), algorithm, der::value(der::OCTET_STRING, &inner)]);
    let strip = |number: &[u8]| Octets(number.iter().copied().skip_while(|byte| *byte == 0).collect());
    let (n, e) = (strip(n), strip(e));
    match bits(&n.0) {
        2048..=4096 => from_pkcs8(&pkcs8),
        1024..2048 => {
            Ok(Material { spec: Spec::Rsa(bits(&n.0)), private: Octets(pkcs8), public: Public::Rsa { n, e } })
        }
        other => Err(Fault::bad_parameter(format!("Key size {other} is not supported"))),
    }
}

/// Imports an EC key.
pub(super) fn import_ec(curve: Curve, d: &[u8], x: &[u8], y: &[u8]) -> Result<Material, Fault> {
    let width = curve.width();
    let fill = |number: &[u8]| -> Option<Vec<u8>> {
        let missing = width.checked_sub(number.len())?;
        Some([vec![0; missing], number.to_vec()].concat())
    };
    let wrong = || Fault::bad_parameter("The property \"key\" must be a valid JsonWebKey object.");
    let (d, x, y) = (fill(d).ok_or_else(wrong)?, fill(x).ok_or_else(wrong)?, fill(y).ok_or_else(wrong)?);
    let point = [vec![4], x, y].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &d, &point).map_err(|_| wrong())?;
    ec_material(curve, &pair)
}

/// Reads a private key in PKCS #8, of any kind that the service has.
pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Result<Material, Fault> {
    if let Ok(pair) = RsaKeyPair::from_pkcs8(pkcs8) {
        return rsa_material(&pair);
    }
    for curve in [Curve::P256, Curve::P384, Curve::P521, Curve::P256K] {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(curve.signing(), pkcs8) {
            return ec_material(curve, &pair);
        }
    }
    Err(Fault::bad_parameter("The property \"key\" must be a valid JsonWebKey object."))
}

/// How an RSA signature is made and checked.
type RsaScheme =
    (&'static signature::RsaSignatureEncoding, &'static signature::RsaParameters, &'static digest::Algorithm);

fn rsa_scheme(algorithm: &str) -> Option<RsaScheme> {
    use signature as s;
    Some(match algorithm {
        "RS256" => (&s::RSA_PKCS1_SHA256, &s::RSA_PKCS1_2048_8192_SHA256, &digest::SHA256),
        "RS384" => (&s::RSA_PKCS1_SHA384, &s::RSA_PKCS1_2048_8192_SHA384, &digest::SHA384),
        "RS512" => (&s::RSA_PKCS1_SHA512, &s::RSA_PKCS1_2048_8192_SHA512, &digest::SHA512),
        "PS256" => (&s::RSA_PSS_SHA256, &s::RSA_PSS_2048_8192_SHA256, &digest::SHA256),
        "PS384" => (&s::RSA_PSS_SHA384, &s::RSA_PSS_2048_8192_SHA384, &digest::SHA384),
        "PS512" => (&s::RSA_PSS_SHA512, &s::RSA_PSS_2048_8192_SHA512, &digest::SHA512),
        _ => return None,
    })
}

fn unsupported(algorithm: &str) -> Fault {
    Fault::bad_parameter(format!("Algorithm \"{algorithm}\" is not supported by this key"))
}

fn import_digest(value: &[u8], algorithm: &str, kind: &'static digest::Algorithm) -> Result<Digest, Fault> {
    Digest::import_less_safe(value, kind).map_err(|_| Fault::bad_length(value.len(), algorithm, kind.output_len()))
}

impl Material {
    /// Signs a digest.
    pub(super) fn sign(&self, algorithm: &str, value: &[u8]) -> Result<Vec<u8>, Fault> {
        match self.spec {
            Spec::Rsa(_) => {
                let (scheme, _, kind) = rsa_scheme(algorithm).ok_or_else(|| unsupported(algorithm))?;
                let digest = import_digest(value, algorithm, kind)?;
                let pair = RsaKeyPair::from_pkcs8(&self.private.0).map_err(rejected)?;
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign_digest(scheme, &digest, &mut out).map_err(broken("signing"))?;
                Ok(out)
            }
            Spec::Ec(curve) => {
                let (name, kind) = curve.algorithm();
                if algorithm != name {
                    return Err(unsupported(algorithm));
                }
                let digest = import_digest(value, algorithm, kind)?;
                let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), &self.private.0).map_err(rejected)?;
                Ok(pair.sign_digest(&digest).map_err(broken("signing"))?.as_ref().to_vec())
            }
        }
    }

    /// Whether a signature over a digest holds.
    pub(super) fn verify(&self, algorithm: &str, value: &[u8], signed: &[u8]) -> Result<bool, Fault> {
        match (&self.public, self.spec) {
            (Public::Rsa { .. }, _) => {
                let (_, parameters, kind) = rsa_scheme(algorithm).ok_or_else(|| unsupported(algorithm))?;
                let digest = import_digest(value, algorithm, kind)?;
                let pair = RsaKeyPair::from_pkcs8(&self.private.0).map_err(rejected)?;
                let key = UnparsedPublicKey::new(parameters, pair.public_key().as_ref());
                Ok(key.verify_digest(&digest, signed).is_ok())
            }
            (Public::Ec { x, y }, Spec::Ec(curve)) => {
                let (name, kind) = curve.algorithm();
                if algorithm != name {
                    return Err(unsupported(algorithm));
                }
                let digest = import_digest(value, algorithm, kind)?;
                let point = [&[4], x.0.as_slice(), y.0.as_slice()].concat();
                let key = UnparsedPublicKey::new(curve.verification(), point);
                Ok(key.verify_digest(&digest, signed).is_ok())
            }
            (Public::Ec { .. }, Spec::Rsa(_)) => Err(Fault::internal("a key's kinds disagree")),
        }
    }

    fn decrypting(&self, algorithm: &str) -> Result<PrivateDecryptingKey, Fault> {
        match self.spec {
            Spec::Rsa(_) => PrivateDecryptingKey::from_pkcs8(&self.private.0).map_err(rejected),
            Spec::Ec(_) => Err(unsupported(algorithm)),
        }
    }

    /// Encrypts with the public key: also what wrapping a key is.
    pub(super) fn encrypt(&self, algorithm: &str, plain: &[u8]) -> Result<Vec<u8>, Fault> {
        let Public::Rsa { n, e } = &self.public else { return Err(unsupported(algorithm)) };
        // Of the numbers: reading the private key checks it, which takes longer than all the rest.
        let numbers = signature::RsaPublicKeyComponents { n: n.0.as_slice(), e: e.0.as_slice() };
        let public: PublicEncryptingKey = numbers.try_into().map_err(rejected)?;
        let mut out = vec![0; public.key_size_bytes()];
        let too_long = |_| Fault::bad_parameter("The value is too long for the key and algorithm");
        let length = match algorithm {
            "RSA-OAEP" | "RSA-OAEP-256" => {
                let scheme = if algorithm == "RSA-OAEP" { &OAEP_SHA1_MGF1SHA1 } else { &OAEP_SHA256_MGF1SHA256 };
                let key = OaepPublicEncryptingKey::new(public).map_err(broken("reading the key"))?;
                key.encrypt(scheme, plain, &mut out, None).map_err(too_long)?.len()
            }
            "RSA1_5" => {
                let key = Pkcs1PublicEncryptingKey::new(public).map_err(broken("reading the key"))?;
                key.encrypt(plain, &mut out).map_err(too_long)?.len()
            }
            other => return Err(unsupported(other)),
        };
        out.truncate(length);
        Ok(out)
    }

    /// Decrypts with the private key: also what unwrapping a key is.
    pub(super) fn decrypt(&self, algorithm: &str, sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        let private = self.decrypting(algorithm)?;
        let mut out = vec![0; private.key_size_bytes()];
        let wrong = |_| Fault::bad_parameter("The parameter is incorrect.");
        let length = match algorithm {
            "RSA-OAEP" | "RSA-OAEP-256" => {
                let scheme = if algorithm == "RSA-OAEP" { &OAEP_SHA1_MGF1SHA1 } else { &OAEP_SHA256_MGF1SHA256 };
                let key = OaepPrivateDecryptingKey::new(private).map_err(broken("reading the key"))?;
                key.decrypt(scheme, sealed, &mut out, None).map_err(wrong)?.len()
            }
            "RSA1_5" => {
                let key = Pkcs1PrivateDecryptingKey::new(private).map_err(broken("reading the key"))?;
                key.decrypt(sealed, &mut out).map_err(wrong)?.len()
            }
            other => return Err(unsupported(other)),
        };
        out.truncate(length);
        Ok(out)
    }

    /// The public key as SubjectPublicKeyInfo.
    pub(super) fn public_info(&self) -> Result<Vec<u8>, Fault> {
        let der = match self.spec {
            Spec::Rsa(_) => RsaKeyPair::from_pkcs8(&self.private.0).map_err(rejected)?.public_key().as_der(),
            Spec::Ec(curve) => {
                EcdsaKeyPair::from_pkcs8(curve.signing(), &self.private.0).map_err(rejected)?.public_key().as_der()
            }
        };
        Ok(der.map_err(broken("writing a public key"))?.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_signs_with_its_own_algorithm_only() {
        for curve in [Curve::P256, Curve::P384, Curve::P521, Curve::P256K] {
            let key = generate(Spec::Ec(curve)).unwrap();
            let (name, kind) = curve.algorithm();
            let digest = vec![9; kind.output_len()];
            let signed = key.sign(name, &digest).unwrap();
            assert_eq!(signed.len(), 2 * curve.width());
            assert!(key.verify(name, &digest, &signed).unwrap());
            assert!(!key.verify(name, &vec![8; kind.output_len()], &signed).unwrap());
            assert_eq!(key.sign("RS256", &digest).unwrap_err().response().status, 400);
            assert_eq!(key.sign(name, &[1]).unwrap_err().response().status, 400);
        }
    }

    #[test]
    fn an_rsa_key_signs_encrypts_and_survives_export() {
        let key = generate(Spec::Rsa(2048)).unwrap();
        for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
            let length = rsa_scheme(algorithm).unwrap().2.output_len();
            let signed = key.sign(algorithm, &vec![3; length]).unwrap();
            assert!(key.verify(algorithm, &vec![3; length], &signed).unwrap(), "{algorithm}");
        }
        let again = from_pkcs8(&key.private.0).unwrap();
        assert!(again.public == key.public);
        for algorithm in ["RSA-OAEP", "RSA-OAEP-256", "RSA1_5"] {
            let sealed = key.encrypt(algorithm, b"abcdef").unwrap();
            assert_eq!(again.decrypt(algorithm, &sealed).unwrap(), b"abcdef", "{algorithm}");
        }
        assert!(key.encrypt("A256GCM", b"abcdef").is_err());
    }
}
