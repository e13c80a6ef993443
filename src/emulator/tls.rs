//! Certificates for Azure's host names: a certificate authority made at start, and a leaf for each host when it is first
//! asked for. Knows no HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::aws_lc_rs::digest::{Context, SHA256};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, SerialNumber, date_time_ymd,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::{Error, Result};

/// What the authority may vouch for. A client trusts it, and its key may lie in a state directory: it must be of no use
/// against any other site.
const DOMAINS: [&str; 5] = [
    "vault.azure.net",
    "managedhsm.azure.net",
    "blob.core.windows.net",
    "management.azure.com",
    "login.microsoftonline.com",
];

/// Issues server certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    leaf_key: KeyPair,
    configs: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

fn failed(what: &str) -> impl FnOnce(rcgen::Error) -> Error {
    move |error| Error::internal(format!("couldn't {what}: {error}"))
}

/// The authority's certificate without its key. The same on every start, so that the issuer's name in leaf certificates
/// fits the certificate that clients already trust.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "akv-archiver emulator");
    // Clients judge by their own clocks, wherever the emulator's clock is.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: DOMAINS.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect(),
        excluded_subtrees: Vec::new(),
    });
    params
}

/// A new authority: certificate and key, PEM.
///
/// # Errors
/// [`Kind::Internal`](crate::error::Kind::Internal) if a key cannot be made.
pub(super) fn new_authority() -> Result<(String, String)> {
    let key = KeyPair::generate().map_err(failed("make the certificate authority's key"))?;
    let certificate = authority_params().self_signed(&key).map_err(failed("make the certificate authority"))?;
    Ok((certificate.pem(), key.serialize_pem()))
}

impl Authority {
    /// The authority with the given certificate and key, PEM.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) if they are damaged.
    pub(super) fn new(certificate: &str, key: &str) -> Result<Self> {
        let damaged = |error| Error::usage(format!("the stored certificate authority is damaged: {error}"));
        CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| Error::usage(format!("the stored certificate authority is damaged: {error}")))?;
        let key = KeyPair::from_pem(key).map_err(damaged)?;
        let leaf_key = KeyPair::generate().map_err(failed("make a server key"))?;
        Ok(Authority { issuer: Issuer::new(authority_params(), key), leaf_key, configs: Mutex::default() })
    }

    /// What a TLS server needs to be `host`: HTTP/1.1 only, so that every client meets the same wire.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) if no certificate can be made for that name.
    pub(super) fn config(&self, host: &str) -> Result<Arc<ServerConfig>> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(host) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.issue(host)?);
        configs.insert(host.to_owned(), config.clone());
        Ok(config)
    }

    /// A serial number for each host and key: some clients refuse two certificates of one issuer with the same.
    fn serial(&self, host: &str) -> SerialNumber {
        let mut context = Context::new(&SHA256);
        context.update(self.leaf_key.public_key_raw());
        context.update(host.as_bytes());
        SerialNumber::from_slice(context.finish().as_ref().get(..16).unwrap_or_default())
    }

    fn issue(&self, host: &str) -> Result<ServerConfig> {
        let mut params = CertificateParams::new([host.to_owned()]).map_err(failed("name a certificate"))?;
        // The subject alternative name says it all; a common name ends at 64 characters, and host names do not.
        params.distinguished_name.push(DnType::CommonName, "akv-archiver emulator server");
        params.serial_number = Some(self.serial(host));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2120, 1, 1);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // OpenSSL's strict mode, the default of Python 3.13, wants it.
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&self.leaf_key, &self.issuer).map_err(failed("issue a certificate"))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let failed = |error| Error::internal(format!("couldn't set up TLS for {host}: {error}"));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .map_err(failed)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
