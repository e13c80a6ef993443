//! Certificates and signing requests: made from a policy and a key, and read as far as an import needs it. Knows no objects.

use super::crypto::Material;
use super::der::{self, Reader};
use super::errors::Fault;
use super::policy::{Policy, Sans, X509Properties};
use chrono::NaiveDateTime;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa};
use rcgen::{KeyPair, KeyUsagePurpose, OtherNameValue, SanType, SerialNumber};
use std::net::IpAddr;
use std::time::Duration;

/// A certificate is valid from ten minutes before it is made (REC).
pub(super) const HEAD_START: i64 = 600;

/// The object identifier of user principal names.
const UPN: [u64; 10] = [1, 3, 6, 1, 4, 1, 311, 20, 2, 3];

fn failed(error: rcgen::Error) -> Fault {
    Fault::bad_parameter(format!("The certificate cannot be made: {error}"))
}

/// A self-signed certificate in DER.
pub(super) fn self_signed(
    policy: &Policy,
    key: &Material,
    valid: (i64, i64),
    serial: [u8; 16],
) -> Result<Vec<u8>, Fault> {
    let mut params = params(&policy.x509_props)?;
    let time = |seconds: i64| {
        let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        rcgen::date_time_ymd(1970, 1, 1) + since
    };
    (params.not_before, params.not_after) = (time(valid.0), time(valid.1));
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    let certificate = params.self_signed(&key_pair(key)?).map_err(failed)?;
    Ok(certificate.der().to_vec())
}

/// A certificate signing request in DER.
pub(super) fn request(policy: &Policy, key: &Material) -> Result<Vec<u8>, Fault> {
    let request = params(&policy.x509_props)?.serialize_request(&key_pair(key)?).map_err(failed)?;
    Ok(request.der().to_vec())
}

/// The key for signing; P-256K is not among what certificates are made with here.
fn key_pair(key: &Material) -> Result<KeyPair, Fault> {
    KeyPair::try_from(key.private.0.as_slice()).map_err(failed)
}

fn params(x509: &X509Properties) -> Result<CertificateParams, Fault> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(&x509.subject)?;
    for usage in &x509.key_usage {
        params.key_usages.push(match usage.as_str() {
            "digitalSignature" => KeyUsagePurpose::DigitalSignature,
            "nonRepudiation" => KeyUsagePurpose::ContentCommitment,
            "keyEncipherment" => KeyUsagePurpose::KeyEncipherment,
            "dataEncipherment" => KeyUsagePurpose::DataEncipherment,
            "keyAgreement" => KeyUsagePurpose::KeyAgreement,
            "keyCertSign" => KeyUsagePurpose::KeyCertSign,
            "cRLSign" => KeyUsagePurpose::CrlSign,
            "encipherOnly" => KeyUsagePurpose::EncipherOnly,
            "decipherOnly" => KeyUsagePurpose::DecipherOnly,
            other => return Err(Fault::bad_parameter(format!("Key usage \"{other}\" is not supported"))),
        });
    }
    for eku in &x509.ekus {
        let oid: Option<Vec<u64>> = eku.split('.').map(|part| part.parse().ok()).collect();
        let oid = oid.filter(|oid| oid.len() > 2);
        let oid = oid.ok_or_else(|| Fault::bad_parameter(format!("\"{eku}\" is no object identifier")))?;
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::Other(oid));
    }
    let text = |text: &String| {
        text.as_str().try_into().map_err(|_| Fault::bad_parameter(format!("\"{text}\" is no alternative name")))
    };
    if let Some(sans) = &x509.sans {
        for name in sans.dns_names.iter().flatten() {
            params.subject_alt_names.push(SanType::DnsName(text(name)?));
        }
        for address in sans.emails.iter().flatten() {
            params.subject_alt_names.push(SanType::Rfc822Name(text(address)?));
        }
        for name in sans.upns.iter().flatten() {
            let name = (UPN.to_vec(), OtherNameValue::Utf8String(name.clone()));
            params.subject_alt_names.push(SanType::OtherName(name));
        }
        for uri in sans.uris.iter().flatten() {
            params.subject_alt_names.push(SanType::URI(text(uri)?));
        }
        for address in sans.ip_addresses.iter().flatten() {
            let parsed =
                address.parse().map_err(|_| Fault::bad_parameter(format!("\"{address}\" is no IP address")))?;
            params.subject_alt_names.push(SanType::IpAddress(parsed));
        }
    }
    params.is_ca =
        if x509.basic_constraints.ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
    Ok(params)
}

/// A subject such as `C=US, O=Contoso, CN=a`. The certificate holds the parts in reverse (REC).
fn distinguished_name(subject: &str) -> Result<DistinguishedName, Fault> {
    let wrong = || Fault::bad_parameter(format!("The subject \"{subject}\" is not a distinguished name"));
    let mut parts = Vec::new();
    for part in split_unquoted(subject) {
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        let kind = match name.trim().to_ascii_uppercase().as_str() {
            "CN" => DnType::CommonName,
            "C" => DnType::CountryName,
            "L" => DnType::LocalityName,
            "S" | "ST" => DnType::StateOrProvinceName,
            "O" => DnType::OrganizationName,
            "OU" => DnType::OrganizationalUnitName,
            "DC" => DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]),
            "E" => DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
            _ => return Err(wrong()),
        };
        parts.push((kind, value.trim().trim_matches('"').to_owned()));
    }
    if parts.is_empty() {
        return Err(wrong());
    }
    let mut name = DistinguishedName::new();
    for (kind, value) in parts.into_iter().rev() {
        name.push(kind, value);
    }
    Ok(name)
}

fn split_unquoted(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        match parts.last_mut() {
            _ if c == ',' && !quoted => parts.push(String::new()),
            Some(part) => part.push(c),
            None => {}
        }
    }
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

/// What an import needs to know of a certificate.
pub(super) struct Facts {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// Most significant part last, as subjects are written in policies.
    pub(super) subject: String,
    /// SubjectPublicKeyInfo.
    pub(super) public_info: Vec<u8>,
    pub(super) sans: Option<Sans>,
    pub(super) ekus: Vec<String>,
    /// Sorted, as policies show them.
    pub(super) key_usage: Vec<String>,
    pub(super) ca: bool,
}

/// Reads a certificate in DER; `None` if it is none.
pub(super) fn read(certificate: &[u8]) -> Option<Facts> {
    let mut outer = Reader(Reader(certificate).expect(der::SEQUENCE)?);
    let mut body = Reader(outer.expect(der::SEQUENCE)?);
    let first = body.next()?;
    if first.tag == der::CONTEXT_0 {
        body.expect(der::INTEGER)?;
    }
    body.expect(der::SEQUENCE)?; // the signature's algorithm
    body.expect(der::SEQUENCE)?; // the issuer
    let mut validity = Reader(body.expect(der::SEQUENCE)?);
    let not_before = read_time(&mut validity)?;
    let not_after = read_time(&mut validity)?;
    let subject = read_subject(body.expect(der::SEQUENCE)?)?;
    let public_info = body.next()?.whole.to_vec();
    let (sans, ekus, key_usage, ca) = (None, Vec::new(), Vec::new(), false);
    let mut facts = Facts { not_before, not_after, subject, public_info, sans, ekus, key_usage, ca };
    while let Some(field) = body.next() {
        if field.tag == EXTENSIONS {
            read_extensions(Reader(field.content).expect(der::SEQUENCE)?, &mut facts)?;
        }
    }
    Some(facts)
}

/// The explicit context tag 3.
const EXTENSIONS: u8 = 0xa3;

fn read_extensions(content: &[u8], facts: &mut Facts) -> Option<()> {
    let mut extensions = Reader(content);
    while let Some(extension) = extensions.next() {
        let mut fields = Reader(extension.content);
        let oid = fields.expect(der::OID)?;
        let mut value = fields.next()?;
        if value.tag != der::OCTET_STRING {
            // What is critical says so before its value.
            value = fields.next()?;
        }
        let mut value = Reader(value.content);
        match oid {
            [0x55, 0x1d, 0x0f] => facts.key_usage = read_key_usage(value.next()?.content)?,
            [0x55, 0x1d, 0x11] => facts.sans = Some(read_sans(value.expect(der::SEQUENCE)?)),
            [0x55, 0x1d, 0x13] => {
                let flag = Reader(value.expect(der::SEQUENCE)?).next();
                facts.ca = flag.is_some_and(|flag| flag.tag == 1 && flag.content == [0xff]);
            }
            [0x55, 0x1d, 0x25] => {
                let mut purposes = Reader(value.expect(der::SEQUENCE)?);
                while let Some(purpose) = purposes.next() {
                    facts.ekus.push(dotted(purpose.content)?);
                }
            }
            _ => {}
        }
    }
    Some(())
}

/// The bits of a key usage by name (RFC 5280).
fn read_key_usage(bits: &[u8]) -> Option<Vec<String>> {
    const NAMES: [&str; 9] = [
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];
    let bits = bits.get(1..)?;
    let set = |at: usize| bits.get(at / 8).is_some_and(|byte| byte & (0x80 >> (at % 8)) != 0);
    let mut names: Vec<String> =
        NAMES.iter().enumerate().filter(|(at, _)| set(*at)).map(|(_, name)| (*name).to_owned()).collect();
    names.sort_unstable();
    Some(names)
}

/// Alternative names: three lists are all there, empty or not (REC); the two of newer api-versions if there is something in
/// them (GUESS[import-alternative-names]). User principal names are not read.
fn read_sans(content: &[u8]) -> Sans {
    let (mut emails, mut dns_names, mut uris, mut ip_addresses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut names = Reader(content);
    while let Some(name) = names.next() {
        let text = String::from_utf8_lossy(name.content).into_owned();
        match name.tag {
            0x81 => emails.push(text),
            0x82 => dns_names.push(text),
            0x86 => uris.push(text),
            0x87 => ip_addresses.extend(ip_address(name.content)),
            _ => {}
        }
    }
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let (uris, ip_addresses) = (some(uris), some(ip_addresses));
    Sans { emails: Some(emails), dns_names: Some(dns_names), upns: Some(Vec::new()), uris, ip_addresses }
}

/// An address of version 4 or 6 in its usual spelling.
fn ip_address(content: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(content).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(content).map(IpAddr::from)).ok()?;
    Some(address.to_string())
}

/// An object identifier in dots.
fn dotted(content: &[u8]) -> Option<String> {
    let mut parts: Vec<u64> = Vec::new();
    let mut part = 0_u64;
    for byte in content {
        part = part.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if parts.is_empty() {
                let first = (part / 40).min(2);
                parts.push(first);
                part -= first * 40;
            }
            parts.push(part);
            part = 0;
        }
    }
    Some(parts.iter().map(u64::to_string).collect::<Vec<_>>().join("."))
}

fn read_time(reader: &mut Reader<'_>) -> Option<i64> {
    let value = reader.next()?;
    let text = std::str::from_utf8(value.content).ok()?;
    let full = match value.tag {
        // UTCTime: years from 50 on are of the last century (RFC 5280).
        0x17 => format!("{}{text}", if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" }),
        0x18 => text.to_owned(),
        _ => return None,
    };
    Some(NaiveDateTime::parse_from_str(&full, "%Y%m%d%H%M%SZ").ok()?.and_utc().timestamp())
}

fn read_subject(content: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let mut sets = Reader(content);
    while let Some(set) = sets.next() {
        let mut pair = Reader(Reader(set.content).expect(der::SEQUENCE)?);
        let name = match pair.expect(der::OID)? {
            [0x55, 4, 3] => "CN",
            [0x55, 4, 6] => "C",
            [0x55, 4, 7] => "L",
            [0x55, 4, 8] => "S",
            [0x55, 4, 10] => "O",
            [0x55, 4, 11] => "OU",
            _ => continue,
        };
        let value = std::str::from_utf8(pair.next()?.content).ok()?.to_owned();
        parts.push(if value.contains(',') { format!("{name}=\"{value}\"") } else { format!("{name}={value}") });
    }
    parts.reverse();
    Some(parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::vault::crypto::{Curve, Spec, generate};

    #[test]
    fn a_certificate_says_what_its_policy_says_and_can_be_read_back() {
        let mut policy = Policy::defaults(0);
        policy.x509_props.subject = "C=US, O=\"Contoso, Ltd\", CN=www.contoso.com".into();
        let one = |text: &str| Some(vec![text.to_owned()]);
        policy.x509_props.sans = Some(Sans {
            dns_names: one("a.contoso.com"),
            uris: one("https://contoso.com/a"),
            ip_addresses: Some(vec!["10.0.0.1".into(), "2001:db8::1".into()]),
            ..Sans::default()
        });
        for spec in [Spec::Rsa(2048), Spec::Ec(Curve::P256), Spec::Ec(Curve::P521)] {
            let key = generate(spec).unwrap();
            let made = self_signed(&policy, &key, (1_700_000_000, 2_700_000_000), [7; 16]).unwrap();
            let facts = read(&made).unwrap();
            assert_eq!((facts.not_before, facts.not_after), (1_700_000_000, 2_700_000_000));
            assert_eq!(facts.subject, "C=US, O=\"Contoso, Ltd\", CN=www.contoso.com");
            assert_eq!(facts.public_info, key.public_info().unwrap());
            assert_eq!(facts.ekus, policy.x509_props.ekus);
            assert_eq!(facts.key_usage, policy.x509_props.key_usage);
            let sans = facts.sans.unwrap();
            assert_eq!((sans.dns_names, sans.uris), (one("a.contoso.com"), one("https://contoso.com/a")));
            assert_eq!(sans.ip_addresses.unwrap(), ["10.0.0.1", "2001:db8::1"]);
            assert!(!facts.ca);
            assert!(!request(&policy, &key).unwrap().is_empty());
        }
        policy.x509_props.subject = "nobody".into();
        assert!(request(&policy, &generate(Spec::Ec(Curve::P384)).unwrap()).is_err());
        assert!(read(b"0\x03abc").is_none());
    }
}
