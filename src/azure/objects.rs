//! The SDK's three clients of a vault as one: the same operation for keys, secrets and certificates. Sends requests and
//! drops the models that come back; what was answered is read from the wire.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::pager::{PagerContinuation, PagerOptions};
use azure_core::http::{ClientMethodOptions, ClientOptions, Context};
use azure_security_keyvault_certificates::models as certificate;
use azure_security_keyvault_certificates::{CertificateClient, CertificateClientOptions};
use azure_security_keyvault_keys::models as key;
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use azure_security_keyvault_secrets::models as secret;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use bytes::Bytes;
use futures::StreamExt as _;
use url::Url;

use crate::model::{Kind, Object, VaultUri};
use crate::vault::{Item, Listing, Setting};

/// The context of one try, passed through the SDK's pipeline.
type Ctx = Context<'static>;

type Sent = azure_core::Result<()>;

/// A vault's clients.
pub(super) struct Objects {
    keys: KeyClient,
    secrets: SecretClient,
    certificates: CertificateClient,
}

fn method(context: Ctx) -> ClientMethodOptions<'static> {
    ClientMethodOptions { context }
}

/// The first page of a pager that starts at its continuation. A pager whose page failed is spent, so each page has its
/// own: that is what lets a page be tried again without starting the list over.
macro_rules! one_page {
    ($pager:expr) => {
        $pager?.into_pages().next().await.map_or(Ok(()), |page| page.map(drop))
    };
}

impl Objects {
    /// Clients for `vault`.
    pub(super) fn new(
        vault: &VaultUri,
        credential: &Arc<dyn TokenCredential>,
        api_version: &str,
        client_options: &ClientOptions,
    ) -> azure_core::Result<Self> {
        // The challenge decides for whom the token is; that it is for this vault's own domain is always verified.
        let (api_version, verify_challenge_resource) = (api_version.to_owned(), Some(true));
        Ok(Objects {
            keys: KeyClient::new(
                vault.as_str(),
                credential.clone(),
                Some(KeyClientOptions {
                    api_version: api_version.clone(),
                    client_options: client_options.clone(),
                    verify_challenge_resource,
                }),
            )?,
            secrets: SecretClient::new(
                vault.as_str(),
                credential.clone(),
                Some(SecretClientOptions {
                    api_version: api_version.clone(),
                    client_options: client_options.clone(),
                    verify_challenge_resource,
                }),
            )?,
            certificates: CertificateClient::new(
                vault.as_str(),
                credential.clone(),
                Some(CertificateClientOptions {
                    api_version,
                    client_options: client_options.clone(),
                    verify_challenge_resource,
                }),
            )?,
        })
    }

    /// One page of a list: the first, or the one that `link` leads to.
    pub(super) async fn page(&self, what: &Listing, link: Option<Url>, context: Ctx) -> Sent {
        let method_options = PagerOptions { context, continuation: link.map(PagerContinuation::Link) };
        match what {
            Listing::Live(Kind::Key) => {
                let options = key::KeyClientListKeyPropertiesOptions { method_options, ..Default::default() };
                one_page!(self.keys.list_key_properties(Some(options)))
            }
            Listing::Live(Kind::Secret) => {
                let options = secret::SecretClientListSecretPropertiesOptions { method_options, ..Default::default() };
                one_page!(self.secrets.list_secret_properties(Some(options)))
            }
            Listing::Live(Kind::Certificate) => {
                let options = certificate::CertificateClientListCertificatePropertiesOptions {
                    method_options,
                    ..Default::default()
                };
                one_page!(self.certificates.list_certificate_properties(Some(options)))
            }
            Listing::Deleted(Kind::Key) => {
                let options = key::KeyClientListDeletedKeyPropertiesOptions { method_options, ..Default::default() };
                one_page!(self.keys.list_deleted_key_properties(Some(options)))
            }
            Listing::Deleted(Kind::Secret) => {
                let options =
                    secret::SecretClientListDeletedSecretPropertiesOptions { method_options, ..Default::default() };
                one_page!(self.secrets.list_deleted_secret_properties(Some(options)))
            }
            Listing::Deleted(Kind::Certificate) => {
                let options = certificate::CertificateClientListDeletedCertificatePropertiesOptions {
                    method_options,
                    ..Default::default()
                };
                one_page!(self.certificates.list_deleted_certificate_properties(Some(options)))
            }
            Listing::Versions(object) => self.versions_page(object, method_options).await,
            Listing::Issuers => {
                let options =
                    certificate::CertificateClientListIssuerPropertiesOptions { method_options, ..Default::default() };
                one_page!(self.certificates.list_issuer_properties(Some(options)))
            }
        }
    }

    async fn versions_page(&self, object: &Object, method_options: PagerOptions<'static>) -> Sent {
        let name = object.name.as_str();
        match object.kind {
            Kind::Key => {
                let options = key::KeyClientListKeyPropertiesVersionsOptions { method_options, ..Default::default() };
                one_page!(self.keys.list_key_properties_versions(name, Some(options)))
            }
            Kind::Secret => {
                let options =
                    secret::SecretClientListSecretPropertiesVersionsOptions { method_options, ..Default::default() };
                one_page!(self.secrets.list_secret_properties_versions(name, Some(options)))
            }
            Kind::Certificate => {
                let options = certificate::CertificateClientListCertificatePropertiesVersionsOptions {
                    method_options,
                    ..Default::default()
                };
                one_page!(self.certificates.list_certificate_properties_versions(name, Some(options)))
            }
        }
    }

    /// One thing, whole.
    pub(super) async fn get(&self, what: &Item, context: Ctx) -> Sent {
        let method_options = method(context);
        match what {
            Item::Key(name, version) => {
                let options = key::KeyClientGetKeyOptions { key_version: version.clone(), method_options };
                self.keys.get_key(name.as_str(), Some(options)).await.map(drop)
            }
            Item::Certificate(name, version) => {
                let options = certificate::CertificateClientGetCertificateOptions {
                    certificate_version: version.clone(),
                    method_options,
                };
                self.certificates.get_certificate(name.as_str(), Some(options)).await.map(drop)
            }
            Item::RotationPolicy(name) => {
                let options = key::KeyClientGetKeyRotationPolicyOptions { method_options };
                self.keys.get_key_rotation_policy(name.as_str(), Some(options)).await.map(drop)
            }
            Item::Issuer(name) => {
                let options = certificate::CertificateClientGetIssuerOptions { method_options };
                self.certificates.get_issuer(name, Some(options)).await.map(drop)
            }
            Item::Contacts => {
                let options = certificate::CertificateClientGetContactsOptions { method_options };
                self.certificates.get_contacts(Some(options)).await.map(drop)
            }
            Item::Deleted(object) => {
                let name = object.name.as_str();
                match object.kind {
                    Kind::Key => {
                        let options = key::KeyClientGetDeletedKeyOptions { method_options };
                        self.keys.get_deleted_key(name, Some(options)).await.map(drop)
                    }
                    Kind::Secret => {
                        let options = secret::SecretClientGetDeletedSecretOptions { method_options };
                        self.secrets.get_deleted_secret(name, Some(options)).await.map(drop)
                    }
                    Kind::Certificate => {
                        let options = certificate::CertificateClientGetDeletedCertificateOptions { method_options };
                        self.certificates.get_deleted_certificate(name, Some(options)).await.map(drop)
                    }
                }
            }
        }
    }

    /// An object's backup.
    pub(super) async fn back_up(&self, object: &Object, context: Ctx) -> Sent {
        let (name, method_options) = (object.name.as_str(), method(context));
        match object.kind {
            Kind::Key => {
                let options = key::KeyClientBackupKeyOptions { method_options };
                self.keys.backup_key(name, Some(options)).await.map(drop)
            }
            Kind::Secret => {
                let options = secret::SecretClientBackupSecretOptions { method_options };
                self.secrets.backup_secret(name, Some(options)).await.map(drop)
            }
            Kind::Certificate => {
                let options = certificate::CertificateClientBackupCertificateOptions { method_options };
                self.certificates.backup_certificate(name, Some(options)).await.map(drop)
            }
        }
    }

    /// Restores from `body`, the JSON that holds the blob.
    pub(super) async fn restore(&self, kind: Kind, body: Bytes, context: Ctx) -> Sent {
        let method_options = method(context);
        match kind {
            Kind::Key => {
                let options = key::KeyClientRestoreKeyOptions { method_options };
                self.keys.restore_key(body.into(), Some(options)).await.map(drop)
            }
            Kind::Secret => {
                let options = secret::SecretClientRestoreSecretOptions { method_options };
                self.secrets.restore_secret(body.into(), Some(options)).await.map(drop)
            }
            Kind::Certificate => {
                let options = certificate::CertificateClientRestoreCertificateOptions { method_options };
                self.certificates.restore_certificate(body.into(), Some(options)).await.map(drop)
            }
        }
    }

    /// Starts a recovery.
    pub(super) async fn recover(&self, object: &Object, context: Ctx) -> Sent {
        let (name, method_options) = (object.name.as_str(), method(context));
        match object.kind {
            Kind::Key => {
                let options = key::KeyClientRecoverDeletedKeyOptions { method_options };
                self.keys.recover_deleted_key(name, Some(options)).await.map(drop)
            }
            Kind::Secret => {
                let options = secret::SecretClientRecoverDeletedSecretOptions { method_options };
                self.secrets.recover_deleted_secret(name, Some(options)).await.map(drop)
            }
            Kind::Certificate => {
                let options = certificate::CertificateClientRecoverDeletedCertificateOptions { method_options };
                self.certificates.recover_deleted_certificate(name, Some(options)).await.map(drop)
            }
        }
    }

    /// Starts a purge.
    pub(super) async fn purge(&self, object: &Object, context: Ctx) -> Sent {
        let (name, method_options) = (object.name.as_str(), method(context));
        match object.kind {
            Kind::Key => {
                let options = key::KeyClientPurgeDeletedKeyOptions { method_options };
                self.keys.purge_deleted_key(name, Some(options)).await.map(drop)
            }
            Kind::Secret => {
                let options = secret::SecretClientPurgeDeletedSecretOptions { method_options };
                self.secrets.purge_deleted_secret(name, Some(options)).await.map(drop)
            }
            Kind::Certificate => {
                let options = certificate::CertificateClientPurgeDeletedCertificateOptions { method_options };
                self.certificates.purge_deleted_certificate(name, Some(options)).await.map(drop)
            }
        }
    }

    /// Writes a setting: `body` is its JSON.
    pub(super) async fn write(&self, setting: Setting<'_>, body: Bytes, context: Ctx) -> Sent {
        let method_options = method(context);
        match setting {
            Setting::RotationPolicy(name, _) => {
                let options = key::KeyClientUpdateKeyRotationPolicyOptions { method_options };
                self.keys.update_key_rotation_policy(name.as_str(), body.into(), Some(options)).await.map(drop)
            }
            Setting::Issuer(name, _) => {
                let options = certificate::CertificateClientSetIssuerOptions { method_options };
                self.certificates.set_issuer(name, body.into(), Some(options)).await.map(drop)
            }
            Setting::Contacts(_) => {
                let options = certificate::CertificateClientSetContactsOptions { method_options };
                self.certificates.set_contacts(body.into(), Some(options)).await.map(drop)
            }
        }
    }
}
