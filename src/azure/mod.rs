//! Azure, and the only module that knows its SDK: Key Vault, Blob Storage, Resource Manager, sign-in. What it offers are
//! the doors of `vault` and `store`; no SDK type leaves it.
//!
//! The SDK builds and signs requests; everything that decides is here: retries (`retry`), what is read of an answer
//! (`wire`, `bodies`, `listing`), what a failure means (`classify`), where a list may lead (`trail`).

mod arm;
mod bodies;
mod challenge;
mod classify;
mod cloud;
mod container;
mod credential;
mod failure;
#[cfg(feature = "fuzzing")]
pub mod lent;
mod listing;
mod objects;
mod retry;
mod trail;
mod transport;
mod vault;
mod wire;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod recordings;

use std::sync::Arc;

use azure_core::credentials::{TokenCredential, TokenRequestOptions};
use azure_core::http::{
    ClientMethodOptions, ClientOptions, Context, HttpClient, RetryOptions, Transport, UserAgentOptions,
};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use url::Url;

pub use arm::Arm;
pub use cloud::{Cloud, CustomCloud};
pub use container::Container;
pub use credential::CredentialConfig;
use credential::Tokens;
pub use transport::Network;
pub use vault::Vault;

use crate::ambient::Ambient;
use crate::error::{Error, Kind, Result};
use crate::model::VaultUri;
use failure::{Cause, Tokenless, one_line, settle};
use retry::Caller;
use wire::{Meter, Side, Trial, Witness};

/// Key Vault's api-version unless settings say otherwise: the newest that is generally available (`azure.md` §1.8).
pub const API_VERSION: &str = "2025-07-01";

/// One identity on one network in one cloud. Doors made from it share its connections and its tokens.
#[derive(Clone)]
pub struct Connection {
    client: Arc<dyn HttpClient>,
    cloud: Cloud,
    credential: Arc<Tokens>,
    credential_name: &'static str,
    ambient: Ambient,
    api_version: String,
    regions: Arc<arm::Regions>,
}

impl Connection {
    /// Prepares a connection; nothing is sent.
    pub fn new(network: &Network, cloud: Cloud, credential: &CredentialConfig, ambient: Ambient) -> Result<Self> {
        Connection::over(network.client()?, cloud, credential, ambient)
    }

    /// A connection over any client.
    fn over(client: Arc<dyn HttpClient>, cloud: Cloud, config: &CredentialConfig, ambient: Ambient) -> Result<Self> {
        let client: Arc<dyn HttpClient> = transport::Bounded::new(client, transport::ANSWER_LIMIT);
        let witness = Witness::new(Side::Identity, ambient.clone(), Arc::default());
        let credential = config.credential(options(&client, &cloud, witness))?;
        let (credential_name, api_version) = (config.name(), API_VERSION.to_owned());
        let regions = Arc::default();
        Ok(Connection { client, cloud, credential, credential_name, ambient, api_version, regions })
    }

    /// Uses another api-version of Key Vault.
    #[must_use]
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.api_version = version.into();
        self
    }

    /// The cloud.
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// The vault at `uri`; nothing is sent.
    pub fn vault(&self, uri: &VaultUri) -> Result<Vault> {
        let (caller, mut options) = self.door();
        options.per_try_policies.insert(0, Arc::new(challenge::Challenges::default()));
        let unusable = |why: String| Error::usage(format!("the vault address {uri} cannot be used: {why}"));
        let origin = Url::parse(uri.as_str()).map_err(|error| unusable(error.to_string()))?;
        let objects = objects::Objects::new(uri, &self.credential(), &self.api_version, &options)
            .map_err(|error| unusable(one_line(&error.to_string())))?;
        Ok(Vault::new(uri.clone(), origin, objects, caller, self.api_version.clone()))
    }

    /// The container at `address`, such as `https://ACCOUNT.blob.core.windows.net/CONTAINER`; nothing is sent. With
    /// `arm`, its guard also tells whether the policy is locked.
    pub fn container(&self, address: &Url, arm: Option<Arc<Arm>>) -> Result<Container> {
        let names: Vec<&str> = address.path_segments().into_iter().flatten().filter(|name| !name.is_empty()).collect();
        let plain = address.scheme() == "https"
            && names.len() == 1
            && address.username().is_empty()
            && address.password().is_none()
            && address.query().is_none()
            && address.fragment().is_none();
        if !plain {
            // A query may be a shared access signature, which is a secret.
            let host = address.host_str().unwrap_or_default();
            return Err(Error::usage(format!("the container address on {host:?} is not https://HOST/CONTAINER"))
                .hint("give the address without a signature: access is by identity only"));
        }
        let mut address = address.clone();
        address.set_path(&names.concat());
        let (caller, mut client_options) = self.door();
        client_options.per_call_policies.push(Arc::new(container::ContentMd5));
        let options = BlobContainerClientOptions { client_options, ..BlobContainerClientOptions::default() };
        let client = BlobContainerClient::new(address.clone(), Some(self.credential()), Some(options))
            .map_err(|error| Error::usage(format!("container {address}: {}", one_line(&error.to_string()))))?;
        Ok(Container::new(address, client, caller, arm))
    }

    /// Azure Resource Manager; nothing is sent.
    pub fn arm(&self) -> Result<Arm> {
        let (caller, options) = self.door();
        let endpoint = Url::parse(self.cloud.management())
            .map_err(|error| Error::usage(format!("the management address cannot be used: {error}")))?;
        let regions = self.regions.clone();
        Ok(Arm::new(endpoint, self.cloud.management_scope(), self.credential(), options, caller, regions))
    }

    /// Gets a token for `scope` (see [`Cloud::vault_scope`]) and drops it, to see whether the credential works.
    pub async fn token_check(&self, scope: &str) -> Result<()> {
        let trial = Arc::new(Trial::default());
        let context = Context::new().with_value(trial.clone());
        let options = TokenRequestOptions { method_options: ClientMethodOptions { context } };
        let Err(error) = self.credential.get_token(&[scope], Some(options)).await else { return Ok(()) };
        let cause = settle(Err(error), &trial).err().map(|failure| failure.cause);
        let (kind, why) = match &cause {
            Some(Cause::NoToken(why, Tokenless::Refused)) => (Kind::Denied, why.clone()),
            Some(Cause::NoToken(why, Tokenless::Passing)) => (Kind::Unavailable, why.clone()),
            Some(Cause::NoToken(why, Tokenless::Untrusted)) => {
                (Kind::Refused, format!("the certificate that the identity service shows is not trusted: {why}"))
            }
            _ => (Kind::Denied, "the identity service's answer makes no sense".to_owned()),
        };
        let hint = cause.as_ref().and_then(classify::common_hint);
        let text = format!("couldn't sign in with the {} credential: {why}", self.credential_name);
        Err(Error::new(kind, text).hint(hint.unwrap_or("check the credential, or sign in again")))
    }

    fn credential(&self) -> Arc<dyn TokenCredential> {
        self.credential.clone()
    }

    /// What a new door needs: its caller, and options whose pipelines report to it.
    fn door(&self) -> (Caller, ClientOptions) {
        let meter = Arc::new(Meter::default());
        let witness = Witness::new(Side::Service, self.ambient.clone(), meter.clone());
        (
            Caller::new(self.ambient.clone(), meter, Some(self.credential.clone())),
            options(&self.client, &self.cloud, witness),
        )
    }
}

/// Options for an SDK client: our transport, our witness, none of its retries.
fn options(client: &Arc<dyn HttpClient>, cloud: &Cloud, witness: Arc<Witness>) -> ClientOptions {
    ClientOptions {
        per_try_policies: vec![witness],
        retry: RetryOptions::none(),
        transport: Some(Transport::new(client.clone())),
        // The SDK panics on anything but a short word here, so no version.
        user_agent: UserAgentOptions { application_id: Some("akv-archiver".to_owned()) },
        cloud: Some(cloud.configuration()),
        ..ClientOptions::default()
    }
}
