//! PKCS #12 files without a password, as Key Vault hands out certificates with their key: made, and read back. Knows no
//! objects.
//!
//! Azure shrouds the bags with the empty password (REC); the empty password protects nothing, so the bags made here are
//! plain, and the MAC is made with it. Encrypted files of others are not read.

use super::der::{self, Reader};
use super::errors::Fault;
use aws_lc_rs::{digest, hmac};

const DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const KEY_BAG: [u8; 11] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x01];
const CERTIFICATE_BAG: [u8; 11] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
const X509_CERTIFICATE: [u8; 10] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const LOCAL_KEY_ID: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x15];
const SHA256: [u8; 9] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const ITERATIONS: u16 = 2000;

/// What a file holds.
pub(super) struct Contents {
    /// PKCS #8.
    pub(super) key: Option<Vec<u8>>,
    /// The first is the key's own.
    pub(super) certificates: Vec<Vec<u8>>,
}

fn content_info(content: &[u8]) -> Vec<u8> {
    let octets = der::value(der::OCTET_STRING, content);
    der::group(der::SEQUENCE, &[der::value(der::OID, &DATA), der::value(der::CONTEXT_0, &octets)])
}

fn bag(kind: &[u8], content: &[u8], with_id: bool) -> Vec<u8> {
    let mut parts = vec![der::value(der::OID, kind), der::value(der::CONTEXT_0, content)];
    if with_id {
        let id = der::value(der::SET, &der::value(der::OCTET_STRING, &[1, 0, 0, 0]));
        let attribute = der::group(der::SEQUENCE, &[der::value(der::OID, &LOCAL_KEY_ID), id]);
        parts.push(der::value(der::SET, &attribute));
    }
    der::group(der::SEQUENCE, &parts)
}

/// A file with a certificate and, if it may leave the vault, its key.
pub(super) fn write(key: Option<&[u8]>, certificates: &[Vec<u8>], salt: [u8; 20]) -> Vec<u8> {
    let mut bags = Vec::new();
    if let Some(key) = key {
        bags.push(bag(&KEY_BAG, key, true));
    }
    for (at, certificate) in certificates.iter().enumerate() {
        let octets = der::value(der::OCTET_STRING, certificate);
        let content =
            der::group(der::SEQUENCE, &[der::value(der::OID, &X509_CERTIFICATE), der::value(der::CONTEXT_0, &octets)]);
        bags.push(bag(&CERTIFICATE_BAG, &content, at == 0 && key.is_some()));
    }
    let safe = der::group(der::SEQUENCE, &[content_info(&der::group(der::SEQUENCE, &bags))]);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &mac_key(&salt)), &safe);
    let algorithm = der::group(der::SEQUENCE, &[der::value(der::OID, &SHA256), der::value(der::NULL, &[])]);
    let digest = der::group(der::SEQUENCE, &[algorithm, der::value(der::OCTET_STRING, tag.as_ref())]);
    let mac = der::group(
        der::SEQUENCE,
        &[digest, der::value(der::OCTET_STRING, &salt), der::integer(&ITERATIONS.to_be_bytes())],
    );
    der::group(der::SEQUENCE, &[der::integer(&[3]), content_info(&safe), mac])
}

/// The MAC key of the empty password (RFC 7292 appendix B): one block is enough for SHA-256.
fn mac_key(salt: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut input = vec![3; BLOCK];
    input.extend(salt.iter().cycle().take(BLOCK));
    // The empty password is a terminator of two zero bytes, repeated.
    input.extend([0; BLOCK]);
    let mut hash = digest::digest(&digest::SHA256, &input);
    for _ in 1..ITERATIONS {
        hash = digest::digest(&digest::SHA256, hash.as_ref());
    }
    hash.as_ref().to_vec()
}

/// Reads a file whose bags are plain.
///
/// # Errors
/// 400 for what is no PFX file, and for encrypted ones.
pub(super) fn read(file: &[u8]) -> Result<Contents, Fault> {
    let wrong = || {
        Fault::bad_parameter(
            "The specified PKCS#12 X.509 certificate content can not be read. Please check if certificate is in \
             valid PKCS#12 format. Encrypted content is not read by this emulator.",
        )
    };
    let mut contents = Contents { key: None, certificates: Vec::new() };
    let safe = authenticated_safe(file).ok_or_else(wrong)?;
    let mut infos = Reader(safe);
    while let Some(info) = infos.next() {
        let mut bags = Reader(data_sequence(info.content).ok_or_else(wrong)?);
        while let Some(bag) = bags.next() {
            read_bag(bag.content, &mut contents).ok_or_else(wrong)?;
        }
    }
    if contents.certificates.is_empty() { Err(wrong()) } else { Ok(contents) }
}

fn authenticated_safe(file: &[u8]) -> Option<&[u8]> {
    let mut outer = Reader(Reader(file).expect(der::SEQUENCE)?);
    outer.expect(der::INTEGER)?;
    data_sequence(outer.expect(der::SEQUENCE)?)
}

/// The sequence inside a plain content info.
fn data_sequence(info: &[u8]) -> Option<&[u8]> {
    let mut info = Reader(info);
    if info.expect(der::OID)? != DATA {
        return None;
    }
    let octets = Reader(info.expect(der::CONTEXT_0)?).expect(der::OCTET_STRING)?;
    Reader(octets).expect(der::SEQUENCE)
}

fn read_bag(bag: &[u8], contents: &mut Contents) -> Option<()> {
    let mut bag = Reader(bag);
    let kind = bag.expect(der::OID)?;
    let content = bag.expect(der::CONTEXT_0)?;
    if kind == KEY_BAG {
        contents.key = Some(content.to_vec());
    } else if kind == CERTIFICATE_BAG {
        let mut certificate = Reader(Reader(content).expect(der::SEQUENCE)?);
        certificate.expect(der::OID)?;
        let octets = Reader(certificate.expect(der::CONTEXT_0)?).expect(der::OCTET_STRING)?;
        contents.certificates.push(octets.to_vec());
    } else {
        return None;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_key_and_certificates_and_a_cut_one_nothing() {
        let file = write(Some(b"\x30\x00"), &[b"leaf".to_vec(), b"root".to_vec()], [9; 20]);
        let contents = read(&file).unwrap();
        assert_eq!(contents.key.unwrap(), b"\x30\x00");
        assert_eq!(contents.certificates, [b"leaf".to_vec(), b"root".to_vec()]);
        assert!(read(&file[..file.len() - 1]).is_err());
        assert!(read(b"not a file").is_err());
    }
}
