//! PKCS #12 files, as Key Vault hands out certificates with their key: made, and read back. Knows no
//! objects.
//!
//! Azure shrouds the bags with the empty password (REC); the empty password protects nothing, so the bags made here are
//! plain, and the MAC is made with it. Files of others are read with their password.

use super::der::{self, Reader};
use super::errors::Fault;
use super::pbe;
use aws_lc_rs::{digest, hmac};

const DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
const SHROUDED_KEY_BAG: [u8; 11] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02];
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

/// A file with a certificate and, if it may leave the vault, its key. The salt of its MAC, which protects nothing here, is
/// the digest of the certificate: a secret reads the same every time.
pub(super) fn write(key: Option<&[u8]>, certificates: &[Vec<u8>]) -> Vec<u8> {
    let salt = digest::digest(&digest::SHA256, certificates.first().map_or(&[], Vec::as_slice));
    let salt = salt.as_ref();
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
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &mac_key(salt)), &safe);
    let algorithm = der::group(der::SEQUENCE, &[der::value(der::OID, &SHA256), der::value(der::NULL, &[])]);
    let digest = der::group(der::SEQUENCE, &[algorithm, der::value(der::OCTET_STRING, tag.as_ref())]);
    let mac = der::group(
        der::SEQUENCE,
        &[digest, der::value(der::OCTET_STRING, salt), der::integer(&ITERATIONS.to_be_bytes())],
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

/// Reads a file. The MAC is not checked: a wrong password shows in what it decrypts to.
///
/// # Errors
/// 400 for what is no PFX file, for a wrong password, and for algorithms that `pbe` does not have.
pub(super) fn read(file: &[u8], password: &str) -> Result<Contents, Fault> {
    let wrong = || {
        Fault::bad_parameter(
            "The specified PKCS#12 X.509 certificate content can not be read. Please check if certificate is in \
             valid PKCS#12 format.",
        )
    };
    let mut contents = Contents { key: None, certificates: Vec::new() };
    let mut infos = Reader(authenticated_safe(file).ok_or_else(wrong)?);
    while let Some(info) = infos.next() {
        let bags = bags(info.content, password).ok_or_else(wrong)?;
        let mut bags = Reader(&bags);
        while let Some(bag) = bags.next() {
            read_bag(bag.content, password, &mut contents).ok_or_else(wrong)?;
        }
    }
    if contents.certificates.is_empty() { Err(wrong()) } else { Ok(contents) }
}

fn authenticated_safe(file: &[u8]) -> Option<&[u8]> {
    let mut outer = Reader(Reader(file).expect(der::SEQUENCE)?);
    outer.expect(der::INTEGER)?;
    let mut info = Reader(outer.expect(der::SEQUENCE)?);
    (info.expect(der::OID)? == DATA).then_some(())?;
    data_sequence(info.expect(der::CONTEXT_0)?)
}

/// The sequence inside the octets of a plain content info.
fn data_sequence(content: &[u8]) -> Option<&[u8]> {
    Reader(Reader(content).expect(der::OCTET_STRING)?).expect(der::SEQUENCE)
}

/// The bags of a content info, plain or encrypted.
fn bags(info: &[u8], password: &str) -> Option<Vec<u8>> {
    let mut info = Reader(info);
    let kind = info.expect(der::OID)?;
    let content = info.expect(der::CONTEXT_0)?;
    if kind == DATA {
        return Some(data_sequence(content)?.to_vec());
    }
    if kind != ENCRYPTED {
        return None;
    }
    let mut data = Reader(Reader(content).expect(der::SEQUENCE)?);
    data.expect(der::INTEGER)?;
    let mut encrypted = Reader(data.expect(der::SEQUENCE)?);
    encrypted.expect(der::OID)?;
    let algorithm = encrypted.expect(der::SEQUENCE)?;
    let sealed = encrypted.expect(IMPLICIT_0)?;
    let plain = pbe::decrypt(algorithm, password, sealed)?;
    Some(Reader(&plain).expect(der::SEQUENCE)?.to_vec())
}

/// The implicit context tag 0.
const IMPLICIT_0: u8 = 0x80;

fn read_bag(bag: &[u8], password: &str, contents: &mut Contents) -> Option<()> {
    let mut bag = Reader(bag);
    let kind = bag.expect(der::OID)?;
    let content = bag.expect(der::CONTEXT_0)?;
    if kind == KEY_BAG {
        contents.key = Some(content.to_vec());
    } else if kind == SHROUDED_KEY_BAG {
        let mut shrouded = Reader(Reader(content).expect(der::SEQUENCE)?);
        let algorithm = shrouded.expect(der::SEQUENCE)?;
        contents.key = Some(pbe::decrypt(algorithm, password, shrouded.expect(der::OCTET_STRING)?)?);
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
    use crate::emulator::vault::{crypto, encoding, x509};

    #[test]
    fn a_file_gives_back_key_and_certificates_and_a_cut_one_nothing() {
        let file = write(Some(b"\x30\x00"), &[b"leaf".to_vec(), b"root".to_vec()]);
        let contents = read(&file, "").unwrap();
        assert_eq!(contents.key.unwrap(), b"\x30\x00");
        assert_eq!(contents.certificates, [b"leaf".to_vec(), b"root".to_vec()]);
        assert!(read(&file[..file.len() - 1], "").is_err());
        assert!(read(b"not a file", "").is_err());
    }

    /// Written by OpenSSL 3 with its defaults, and with triple DES; the password is `secret`, the subject `CN=vector`.
    const MODERN: &str = "\
        MIIEHAIBAzCCA9IGCSqGSIb3DQEHAaCCA8MEggO/MIIDuzCCAnIGCSqGSIb3DQEHBqCCAmMwggJfAgEAMIICWAYJKoZIhvcNAQcB\
        MFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAh+h20kpXW+AwICCAAwDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEDeh\
        JQimBNlit+rkJ3Iezs2AggHwBYNOkreRJNszV+LI0aSrkbJkSLdfeb22NGxDHRbyVWvF+3P6E67UthKDfbjbHdQ3atLzwyWAvxfd\
        QFZ43rNt42YUJfgsTml6zh4bBdoZ9cSRP7l3oMuTU6gyq2chhELDeP9Rj2WgiUql1Mj3Y1wcS2mXh3AxU7M1yiwWPr83AE8MMxqU\
        /hdZZaMt2g71Rb9HZWQ1avKRjVMDtwB4yTfnQTKTaT36njCTa0CQn3F5lXH0QXOSdrBgzHGUk8R1j+f1Ew3gCFsnaBOYEtNysgdY\
        xAJzFHdtQGK1+efrNbApRLtgLjq7fbxOaD9G5Ou19/r1clfCKc+1oPUu4Seis4z6oaFEcOb/hUTeFuV0X2tN2pcKDhEzuS4Pv4OA\
        Ik4Q6vKpBpPNpQJcX9GvVQfQV8qLkwfVJKJ0BxE4+6iCQyeq6x4B2g3rYUVhPhZh7mDCNoVZokEa+/oVH8f10gFfVnalJYLYTJDd\
        rzV6D51ENzCTVz1m1dnsNElUz4DewVjIxmWQSg1iwEEEBtjsfIJQL7e5Tjfi24BeHypdpufTa0OVI5Hu64mvkPpYlt+fHaQsgCvL\
        Vu64rXNSv/V9UW/9b+pUmShdk5F9lUYhmMs65gYoYVpcWlMqd+gWWOrPXEmGB9KWOuLKQSSK3MyNMUYbLOhgDDCCAUEGCSqGSIb3\
        DQEHAaCCATIEggEuMIIBKjCCASYGCyqGSIb3DQEMCgECoIHvMIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjjfbOx\
        K9q3DQICCAAwDAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEOauaYX5w2k2ibr3Iilfbb4EgZCz6vbS3d6eefCHp+kDwBNvAF1B\
        d89O9fU5g1sXhCogPpgjk6tz+n+ckMLSMJBpGBa1MePKkrsGMJrqd3waY5SbXqfjapCOX0MYPjgHFLTreKDX3Qo/rlJbWecIoW+5\
        /ah2laB5MH5A3Pd4961naWmVVuGHbbMyb57bXg0Y8rn5vuy8Lz3wF3LIjAkbZNcwVHkxJTAjBgkqhkiG9w0BCRUxFgQUgJDjADLa\
        igXjP3HEFEFlxORImyMwQTAxMA0GCWCGSAFlAwQCAQUABCCNP0HZRRgJY/MH+LEl84pfF1O6lprJlR9CGFhCLRBeSwQILZz0ljwM\
        9XoCAggA";
    const LEGACY: &str = "\
        MIIDkgIBAzCCA1gGCSqGSIb3DQEHAaCCA0kEggNFMIIDQTCCAjcGCSqGSIb3DQEHBqCCAigwggIkAgEAMIICHQYJKoZIhvcNAQcB\
        MBwGCiqGSIb3DQEMAQMwDgQIue/4vQ7/POUCAggAgIIB8GH7BRDIClUcIvYcO2HTvCyrj+srRkJTYn5ygTs0wI/pRhmqJwGJLVcp\
        mppLWt7ZjOI052lYP7rtX0FSjDPxEjbpJmqQ6dcd5vEoiWOtXqS7/j9ZMdVNKTAQ0Ln0u3HwEqkL7N+ETMk6V/9wzNA41N1bWpnb\
        y47SniA62TTUAP4pe+KoHD1iJLJaLl7Fup2/mthfnadqc0W8hmoY7y2f36d/fAWw4NQRnxlrEWnDzijXZS6lAkN0PEAoi89z52VF\
        wemxUPuLvRB7zyMDviJrrLW1M2igOA+FloH/UISqtlnNqpy53qWnFnxtBLjbfxxzv8QKKcnAVpil5NxBZk2/1+tjArLZWEogFcGT\
        OPq+7Ut3egNcAf5NBqJauaruq2bRib7hIj7CpFsljogQpqjNfgRKBD4HhtJ42pZW4mbvpXX1hVua7Vjo/F+vxJlU+/SKO+DrDHca\
        h7whoBEuT4E+81EpdFVJx4NoZA7XvotwaaqvcRZQL3dSkaUREZwSbcj7EHl3350J19oWkr3oh96RLEeHt35sEt1w3yD/kP14BTTa\
        IudsJS3TKUA1XAEBOdrQMsXwgBnzEuv+xNjrQrycv53twGGQSfh+UKD7jbemNxu0hG1pgqCzqzluehqbiB1TnEcJKFXQvKec30U8\
        4GyTYgcwggECBgkqhkiG9w0BBwGggfQEgfEwge4wgesGCyqGSIb3DQEMCgECoIG0MIGxMBwGCiqGSIb3DQEMAQMwDgQIOhsw8X5b\
        zsQCAggABIGQ46Cd1jXxVuuoMJlyjX7fuFyi5ZXuFZaTKtobyWocz6kNXWn7hAGFawdFNYuC0xLyw0fTViibUBecSvi1gIwPi2av\
        AE18kzUCts88f3ANkaN7AuXQ93P954UmvgYaNiTbjhSYD+YIuL5zDd3oLOGgapedXGYYUlOBh7TYQHDnZxF++7u3r/CV2mkl7GSL\
        gMZVMSUwIwYJKoZIhvcNAQkVMRYEFICQ4wAy2ooF4z9xxBRBZcTkSJsjMDEwITAJBgUrDgMCGgUABBSncr0HzfRKqFMn/qGG6sy/\
        /G3sEAQIinxa9gxVD+YCAggA";

    #[test]
    fn files_of_openssl_open_with_their_password_only() {
        for file in [MODERN, LEGACY].map(|text| encoding::from_standard(text).unwrap()) {
            let contents = read(&file, "secret").unwrap();
            let key = crypto::from_pkcs8(&contents.key.unwrap()).unwrap();
            let facts = x509::read(&contents.certificates[0]).unwrap();
            assert_eq!(facts.subject, "CN=vector, C=US");
            assert_eq!(facts.public_info, key.public_info().unwrap());
            assert!(read(&file, "wrong").is_err());
        }
    }
}
