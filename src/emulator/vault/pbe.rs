//! Password-based decryption of the parts of PFX files: triple DES as Azure and Windows write it, and PBES2 with AES as
//! OpenSSL writes it. Knows no PFX structure. RC2, which older files use for certificates, is not supported.

use super::der::{self, Reader};
use aws_lc_rs::cipher::{self, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, pbkdf2};
use std::num::NonZeroU32;

const TRIPLE_DES: [u8; 10] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x03];
const PBES2: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const HMAC_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const AES_128_CBC: [u8; 9] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];
const AES_256_CBC: [u8; 9] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];

/// The most rounds that are worked off: a file must not keep the service busy.
const MAX_ROUNDS: u32 = 1_000_000;

/// Decrypts; `algorithm` is the content of an AlgorithmIdentifier. `None` for a wrong password or an unknown algorithm.
pub(super) fn decrypt(algorithm: &[u8], password: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let mut algorithm = Reader(algorithm);
    let oid = algorithm.expect(der::OID)?;
    let mut parameters = Reader(algorithm.expect(der::SEQUENCE)?);
    if oid == TRIPLE_DES {
        return triple_des(&mut parameters, password, sealed);
    }
    if oid != PBES2 {
        return None;
    }
    let mut derivation = Reader(parameters.expect(der::SEQUENCE)?);
    let mut scheme = Reader(parameters.expect(der::SEQUENCE)?);
    let (kind, length) = match scheme.expect(der::OID)? {
        oid if oid == AES_256_CBC => (&cipher::AES_256, 32),
        oid if oid == AES_128_CBC => (&cipher::AES_128, 16),
        _ => return None,
    };
    let vector: [u8; 16] = scheme.expect(der::OCTET_STRING)?.try_into().ok()?;
    let key = pbkdf2_key(&mut derivation, password, length)?;
    open(UnboundCipherKey::new(kind, &key).ok()?, DecryptionContext::Iv128(FixedLength::from(vector)), sealed)
}

#[expect(deprecated, reason = "only to read what Azure and Windows write")]
fn triple_des(parameters: &mut Reader<'_>, password: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let salt = parameters.expect(der::OCTET_STRING)?;
    let rounds = rounds(parameters.expect(der::INTEGER)?)?;
    let terminated: Vec<u8> = password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
    // No password is written in two ways, as an empty text and as none at all; Azure does the latter (REC).
    let spellings = if password.is_empty() { vec![Vec::new(), terminated] } else { vec![terminated] };
    spellings.iter().find_map(|password| {
        let key = pkcs12_key(1, password, salt, rounds, 24);
        let vector: [u8; 8] = pkcs12_key(2, password, salt, rounds, 8).try_into().ok()?;
        let key = UnboundCipherKey::new(&cipher::DES_EDE3_FOR_LEGACY_USE_ONLY, &key).ok()?;
        let plain = open(key, DecryptionContext::Iv64(FixedLength::from(vector)), sealed)?;
        Reader(&plain).expect(der::SEQUENCE).is_some().then_some(plain)
    })
}

fn open(key: UnboundCipherKey, context: DecryptionContext, sealed: &[u8]) -> Option<Vec<u8>> {
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
    let mut plain = sealed.to_vec();
    Some(key.decrypt(&mut plain, context).ok()?.to_vec())
}

fn rounds(integer: &[u8]) -> Option<u32> {
    let rounds = integer.iter().try_fold(0_u32, |sum, byte| sum.checked_mul(256)?.checked_add(u32::from(*byte)))?;
    (1..=MAX_ROUNDS).contains(&rounds).then_some(rounds)
}

fn pbkdf2_key(derivation: &mut Reader<'_>, password: &str, length: usize) -> Option<Vec<u8>> {
    if derivation.expect(der::OID)? != PBKDF2 {
        return None;
    }
    let mut parameters = Reader(derivation.expect(der::SEQUENCE)?);
    let salt = parameters.expect(der::OCTET_STRING)?;
    let rounds = NonZeroU32::new(rounds(parameters.expect(der::INTEGER)?)?)?;
    let mut algorithm = pbkdf2::PBKDF2_HMAC_SHA1;
    while let Some(field) = parameters.next() {
        // The optional length says nothing new; the function is SHA-1 unless it is named.
        if field.tag == der::SEQUENCE {
            if Reader(field.content).expect(der::OID)? != HMAC_SHA256 {
                return None;
            }
            algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        }
    }
    let mut key = vec![0; length];
    pbkdf2::derive(algorithm, rounds, salt, password.as_bytes(), &mut key);
    Some(key)
}

/// The derivation of RFC 7292 appendix B with SHA-1: `purpose` is 1 for a key, 2 for a vector.
fn pkcs12_key(purpose: u8, password: &[u8], salt: &[u8], rounds: u32, length: usize) -> Vec<u8> {
    const BLOCK: usize = 64;
    let fill = |bytes: &[u8]| -> Vec<u8> {
        let size = bytes.len().div_ceil(BLOCK) * BLOCK;
        bytes.iter().copied().cycle().take(size).collect()
    };
    let mut input = [fill(salt), fill(password)].concat();
    let mut out = Vec::new();
    while out.len() < length {
        let mut hash =
            digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[vec![purpose; BLOCK], input.clone()].concat());
        for _ in 1..rounds {
            hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, hash.as_ref());
        }
        out.extend_from_slice(hash.as_ref());
        // Every block of the input grows by the hash, repeated, plus one.
        let step = hash.as_ref().iter().copied().cycle().take(BLOCK).collect::<Vec<u8>>();
        for block in input.chunks_mut(BLOCK) {
            let mut carry = 1_u16;
            for (byte, add) in block.iter_mut().zip(&step).rev() {
                carry += u16::from(*byte) + u16::from(*add);
                *byte = (carry & 0xff) as u8;
                carry >>= 8;
            }
        }
    }
    out.truncate(length);
    out
}
