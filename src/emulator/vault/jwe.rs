//! JSON Web Encryption, compact, with the two algorithms that backups use: RSA-OAEP-256 and A256CBC-HS512 (RFC 7516,
//! RFC 7518). Knows no backups.

use super::crypto::Material;
use super::encoding;
use super::errors::Fault;
use super::state::Chance;
use aws_lc_rs::cipher::{AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey};
use aws_lc_rs::cipher::{PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Header {
    kid: String,
    alg: String,
    enc: String,
}

fn failed<E>(_: E) -> Fault {
    Fault::internal("encrypting a backup failed")
}

/// Encrypts with a fresh content key and vector: two results for one plain text differ.
pub(super) fn seal(kid: &str, key: &Material, plain: &[u8], chance: &mut Chance) -> Result<String, Fault> {
    let header = Header { kid: kid.into(), alg: "RSA-OAEP-256".into(), enc: "A256CBC-HS512".into() };
    let header = encoding::url(&serde_json::to_vec(&header).map_err(failed)?);
    let content_key: [u8; 64] = chance.bytes();
    let vector: [u8; 16] = chance.bytes();
    let wrapped = key.encrypt("RSA-OAEP-256", &content_key)?;
    let (authentication, encryption) = content_key.split_at(32);
    let cipher = UnboundCipherKey::new(&AES_256, encryption).map_err(failed)?;
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(cipher).map_err(failed)?;
    let mut sealed = plain.to_vec();
    let context = EncryptionContext::Iv128(FixedLength::from(vector));
    cipher.less_safe_encrypt(&mut sealed, context).map_err(failed)?;
    let tag = tag(authentication, &header, &vector, &sealed);
    Ok([header, encoding::url(&wrapped), encoding::url(&vector), encoding::url(&sealed), encoding::url(&tag)].join("."))
}

/// The first half of the HMAC over header, vector, cipher text and the header's length in bits.
fn tag(key: &[u8], header: &str, vector: &[u8], sealed: &[u8]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA512, key));
    context.update(header.as_bytes());
    context.update(vector);
    context.update(sealed);
    context.update(&(header.len() as u64 * 8).to_be_bytes());
    context.sign().as_ref().iter().copied().take(32).collect()
}

/// A text in its five parts.
pub(super) struct Parts<'a> {
    header: &'a str,
    /// Which key it is for.
    pub(super) kid: String,
    wrapped: Vec<u8>,
    vector: [u8; 16],
    sealed: Vec<u8>,
    tag: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Takes a text apart; `None` if it is no such text.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('.');
        let header = parts.next()?;
        let fields: Header = serde_json::from_slice(&encoding::from_url(header)?).ok()?;
        if fields.alg != "RSA-OAEP-256" || fields.enc != "A256CBC-HS512" {
            return None;
        }
        let mut bytes = || encoding::from_url(parts.next()?);
        let (wrapped, vector, sealed, tag) = (bytes()?, bytes()?, bytes()?, bytes()?);
        if parts.next().is_some() {
            return None;
        }
        Some(Parts { header, kid: fields.kid, wrapped, vector: vector.try_into().ok()?, sealed, tag })
    }

    /// Decrypts; `None` if the tag does not hold.
    pub(super) fn open(&self, key: &Material) -> Option<Vec<u8>> {
        let content_key = key.decrypt("RSA-OAEP-256", &self.wrapped).ok()?;
        let (authentication, encryption) = content_key.split_at_checked(32)?;
        let expected = tag(authentication, self.header, &self.vector, &self.sealed);
        constant_time::verify_slices_are_equal(&expected, &self.tag).ok()?;
        let cipher = UnboundCipherKey::new(&AES_256, encryption).ok()?;
        let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(cipher).ok()?;
        let mut plain = self.sealed.clone();
        let context = DecryptionContext::Iv128(FixedLength::from(self.vector));
        Some(cipher.decrypt(&mut plain, context).ok()?.to_vec())
    }
}
