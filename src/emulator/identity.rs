//! Who the emulated Azure is: its tenant, its applications and the keys behind its certificates and tokens. Kept in the
//! state directory, made anew otherwise. Knows no protocol.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::clock;
use super::seed::Principal;
use super::tls;
use crate::error::{Error, Result};

/// The tenant and every secret in it. No `Debug`: it is all secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    /// The tenant's id.
    pub tenant_id: String,
    /// The applications that may sign in; the first may do everything.
    pub applications: Vec<Application>,
    /// The certificate authority's certificate, PEM.
    pub ca_certificate: String,
    /// Its key, PEM.
    pub ca_key: String,
    /// The key that signs tokens: RSA, PKCS #8, base64.
    pub token_key: String,
}

/// An application with its service principal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Application {
    /// Its name in the seed; `default` for the one that may do everything.
    pub name: String,
    /// Its application id.
    pub client_id: String,
    /// Its service principal's object id.
    pub object_id: String,
    /// Its only secret.
    pub client_secret: String,
    /// What it may do, as in [`wire::Caller`](super::wire::Caller).
    pub actions: Vec<String>,
    /// Where, as in [`wire::Caller`](super::wire::Caller).
    #[serde(default)]
    pub scopes: Vec<String>,
}

impl Identity {
    /// A new tenant with one application that may do everything, and one for each principal.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) if a key cannot be made.
    pub(super) fn generate(principals: &[Principal]) -> Result<Self> {
        let owner = Principal { name: "default".into(), actions: vec!["*".into()], scopes: Vec::new() };
        let (ca_certificate, ca_key) = tls::new_authority()?;
        let token_key = KeyPair::generate(KeySize::Rsa2048)
            .and_then(|key| key.as_der())
            .map_err(|_| Error::internal("couldn't make the key that signs tokens"))?;
        Ok(Identity {
            tenant_id: clock::uuid().to_string(),
            applications: std::iter::once(&owner).chain(principals).map(Application::generate).collect(),
            ca_certificate,
            ca_key,
            token_key: STANDARD.encode(token_key.as_ref()),
        })
    }

    /// The key that signs tokens.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) if the stored key is damaged.
    pub(super) fn token_key(&self) -> Result<KeyPair> {
        let damaged = || Error::usage("the stored key that signs tokens is damaged");
        let der = STANDARD.decode(&self.token_key).map_err(|_| damaged())?;
        KeyPair::from_pkcs8(&der).map_err(|_| damaged())
    }
}

impl Application {
    fn generate(principal: &Principal) -> Self {
        // Entra's own secrets are 40 characters long.
        let mut secret = [0; 30];
        clock::fill(&mut secret);
        Application {
            name: principal.name.clone(),
            client_id: clock::uuid().to_string(),
            object_id: clock::uuid().to_string(),
            client_secret: URL_SAFE_NO_PAD.encode(secret),
            actions: principal.actions.clone(),
            scopes: principal.scopes.clone(),
        }
    }
}
