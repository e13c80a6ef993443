//! From settings to doors: which store, which vaults, which keys. The only place that knows both the settings and Azure;
//! what it hands out are the doors that jobs are written against.

mod doctor;
mod fleet;
mod protect;
mod status;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use url::Url;
use zeroize::Zeroizing;

pub use doctor::Service;
pub use fleet::{Fleet, Writing};
pub use verify::REPORT_KEY;

use crate::ambient::Ambient;
use crate::archive::Reader;
use crate::azure::{Arm, Cloud, Connection, Container, CredentialConfig, CustomCloud, Network, Vault};
use crate::capture;
use crate::config::{self, CloudName, Credential, Settings, Store, Worm};
use crate::error::{Context, Error, Kind, Result};
use crate::jobs::protection::Demand;
use crate::jobs::{history, promises};
use crate::located::read_text;
use crate::model::{Atlas, VaultUri};
use crate::policy::{self, Choice, Lock, Policy};
use crate::seal::{Identities, Prompt, Recipients};
use crate::store;
use crate::store::directory::Directory;
use crate::tlog::{Signer, Verifier};
use crate::vault::{Governor, Subscription};

/// A key file is one line.
const KEY_FILE_MAX: u64 = 4096;

/// Settings, and everything that can be made from them.
pub struct Assembly {
    /// The settings.
    pub settings: Settings,
    /// Time and chance.
    pub ambient: Ambient,
    connections: std::sync::Mutex<BTreeMap<String, Connection>>,
    /// The pace of each subscription, by id in lower case. Vaults of unknown subscriptions share one: they may be in the
    /// same.
    subscriptions: std::sync::Mutex<BTreeMap<Option<String>, Arc<Subscription>>>,
    /// Vaults that were found, as if the settings named them.
    found: std::sync::Mutex<BTreeMap<VaultUri, config::Vault>>,
    policies: std::sync::Mutex<BTreeMap<Choice, Arc<Policy>>>,
}

/// The archive's store, open for reading and adding.
pub struct Archive {
    store: Box<dyn store::Append>,
    verifiers: Vec<Verifier>,
}

impl Archive {
    /// The store.
    pub fn store(&self) -> &dyn store::Append {
        self.store.as_ref()
    }

    /// The pinned keys.
    pub fn verifiers(&self) -> &[Verifier] {
        &self.verifiers
    }

    /// Opens the archive in the store.
    pub async fn reader(&self) -> Result<Reader<'_>> {
        if self.verifiers.is_empty() {
            return Err(Error::usage("archive.verifiers is empty: nothing in the archive could be believed")
                .hint("pin the verifier key that `akv-archiver init` printed"));
        }
        Reader::open(self.store.as_ref(), &self.verifiers).await
    }
}

impl Assembly {
    /// Prepares to assemble; nothing is opened or sent.
    pub fn new(settings: Settings, ambient: Ambient) -> Self {
        Assembly {
            settings,
            ambient,
            connections: std::sync::Mutex::default(),
            subscriptions: std::sync::Mutex::default(),
            found: std::sync::Mutex::default(),
            policies: std::sync::Mutex::default(),
        }
    }

    /// The connection of a credential. Doors of the same credential share it, and so its tokens.
    fn connection(&self, credential: &Credential) -> Result<Connection> {
        let name = format!("{credential:?}");
        let mut connections = self.connections.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(connection) = connections.get(&name) {
            return Ok(connection.clone());
        }
        let network = Network {
            proxy: self.settings.network.proxy.as_ref().map(|proxy| url(proxy.as_str())).transpose()?,
            ca_file: self.settings.network.ca_file.clone(),
            ..Network::default()
        };
        let connection =
            Connection::new(&network, cloud(&self.settings)?, &sign_in(credential)?, self.ambient.clone())?;
        connections.insert(name, connection.clone());
        Ok(connection)
    }

    /// The archive's store.
    pub fn archive(&self) -> Result<Archive> {
        let store: Box<dyn store::Append> = match &self.settings.archive.store {
            Store::Container { .. } => Box::new(self.container()?),
            Store::Directory { path, shared } => Box::new(Directory::new(path.clone(), *shared)),
            Store::Nowhere => {
                return Err(Error::usage("the settings name no archive")
                    .hint("set `container` or `directory` in [archive]; docs/SETTINGS.md describes both"));
            }
        };
        Ok(Archive { store, verifiers: self.verifiers()? })
    }

    /// Whether the settings name an archive.
    pub fn has_archive(&self) -> bool {
        self.settings.archive.store != Store::Nowhere
    }

    fn container(&self) -> Result<Container> {
        let Store::Container { url: address, credential, resource_id, .. } = &self.settings.archive.store else {
            return Err(Error::internal("something else was taken for a container"));
        };
        let connection = self.connection(credential)?;
        let arm = self.arm(&connection, resource_id.as_deref())?;
        connection.container(&url(address.as_str())?, Some(Arc::new(arm)))
    }

    /// The vault at `uri`, with the credential that the settings give for it, or that it was found with; for a vault that
    /// neither know, such as the target of a restore, with that of the first vault.
    pub fn vault(&self, uri: &VaultUri) -> Result<Vault> {
        self.connection(&self.vault_settings(uri)?.credential)?.vault(uri)
    }

    /// The vault at `uri`, asked no faster than the settings' share of its limit and of its subscription's: for a
    /// snapshot or a restore, which ask a great deal.
    pub fn governed(&self, uri: &VaultUri) -> Result<Vault> {
        let door = self.vault(uri)?;
        if self.settings.capture.limits == config::Limits::None {
            return Ok(door);
        }
        let vault = self.vault_settings(uri)?;
        let id = vault.resource_id.as_deref().filter(|_| vault.uri == *uri).and_then(subscription_id);
        let subscription = self.subscription(id);
        Ok(door.gated(Governor::new(subscription, self.ambient.clone())))
    }

    fn subscription(&self, id: Option<String>) -> Arc<Subscription> {
        let mut known = self.subscriptions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let new = || Subscription::new(self.settings.capture.share, self.ambient.clone());
        known.entry(id).or_insert_with(new).clone()
    }

    /// The management plane, as the identity that reads the vault.
    pub fn facts(&self, uri: &VaultUri) -> Result<Arm> {
        let vault = self.vault_settings(uri)?;
        self.arm(&self.connection(&vault.credential)?, vault.resource_id.as_deref())
    }

    /// What is known of regions where nobody can be asked: the settings, and the built-in table.
    pub fn atlas(&self) -> Atlas {
        Atlas::new(self.settings.geography.clone())
    }

    fn arm(&self, connection: &Connection, known: Option<&str>) -> Result<Arm> {
        let arm = connection.arm()?.believing(self.atlas());
        Ok(match known {
            Some(id) => arm.knowing(id),
            None => arm,
        })
    }

    /// What the settings say of a vault; of one that a run found, what they would say. A vault that nobody knows, such as
    /// the target of a restore, is read like the first one.
    fn vault_settings(&self, uri: &VaultUri) -> Result<config::Vault> {
        if let Some(vault) = self.settings.vaults.iter().find(|vault| vault.uri == *uri) {
            return Ok(self.located(vault));
        }
        if let Some(vault) = self.found().get(uri) {
            return Ok(vault.clone());
        }
        let credential = self.identities_of_vaults().next().cloned().ok_or_else(|| {
            Error::usage(format!("the settings name no vault, so there is no credential for {uri}"))
                .hint("add a [[vault]] with `uri` and `credential`")
        })?;
        Ok(config::Vault { name: uri.name().to_owned(), uri: uri.clone(), credential, resource_id: None, policy: None })
    }

    /// The address that a name on the command line means: a vault of the settings, an address, or a host.
    pub fn vault_uri(&self, text: &str) -> Result<VaultUri> {
        let named = self.settings.vaults.iter().find(|vault| vault.name == text).map(|vault| vault.uri.clone());
        named
            .or_else(|| VaultUri::parse(text))
            .or_else(|| VaultUri::parse(&format!("https://{text}")).filter(|_| text.contains('.')))
            .ok_or_else(|| {
                let known: Vec<&str> = self.settings.vaults.iter().map(|vault| vault.name.as_str()).collect();
                Error::usage(format!(
                    "{text:?} is neither a vault of the settings nor an address such as https://NAME.vault.azure.net"
                ))
                .hint(format!("the settings name: {}", known.join(", ")))
            })
    }

    /// A vault of the archive: as in the settings, or by the name that the archive knows it by, for vaults that the settings
    /// do not name, or name otherwise.
    pub async fn archived_vault(&self, text: &str, reader: &Reader<'_>) -> Result<VaultUri> {
        if let Ok(uri) = self.vault_uri(text) {
            return Ok(uri);
        }
        let there = reader.vaults().await?;
        let named: Vec<&VaultUri> = there.iter().filter(|vault| vault.name().eq_ignore_ascii_case(text)).collect();
        let hosts = |vaults: &[&VaultUri]| vaults.iter().map(|vault| vault.host()).collect::<Vec<_>>().join(", ");
        match named.as_slice() {
            [only] => Ok((*only).clone()),
            [] => {
                Err(Error::new(Kind::NotFound, format!("neither the settings nor the archive know a vault {text:?}"))
                    .hint(format!("the archive holds: {}", hosts(&there.iter().collect::<Vec<_>>()))))
            }
            several => Err(Error::usage(format!("{text:?} is the name of several vaults in the archive"))
                .hint(format!("say which: {}", hosts(several)))),
        }
    }

    /// The vaults of the archive that are named, or all that it holds.
    pub async fn archived_vaults(&self, named: &[String], reader: &Reader<'_>) -> Result<Vec<VaultUri>> {
        let mut asked = Vec::new();
        for text in named {
            asked.push(self.archived_vault(text, reader).await?);
        }
        history::vaults(reader, &asked).await
    }

    /// The vault that is meant: the one named, or the only one there is.
    pub async fn one_vault(&self, named: Option<&str>, reader: &Reader<'_>) -> Result<VaultUri> {
        if let Some(text) = named {
            return self.archived_vault(text, reader).await;
        }
        if let [only] = self.settings.vaults.as_slice() {
            return Ok(only.uri.clone());
        }
        match history::vaults(reader, &[]).await?.as_slice() {
            [only] => Ok(only.clone()),
            several => {
                let hosts: Vec<&str> = several.iter().map(VaultUri::host).collect();
                Err(Error::usage("there are several vaults")
                    .hint(format!("say which with --vault: {}", hosts.join(", "))))
            }
        }
    }

    /// Who can open new captures.
    pub fn recipients(&self) -> Result<Recipients> {
        Recipients::parse(&self.settings.archive.recipients).context("archive.recipients")
    }

    /// Who opens captures here.
    pub fn identities(&self, prompt: impl FnOnce(Option<Zeroizing<String>>) -> Arc<dyn Prompt>) -> Result<Identities> {
        let archive = &self.settings.archive;
        if archive.identities.is_empty() {
            return Err(Error::new(Kind::NoIdentity, "no identity is at hand, and captures open only with one")
                .hint("set archive.identity, or AKV_ARCHIVER__ARCHIVE__IDENTITY, to an age identity file"));
        }
        let passphrase = archive.identity_passphrase.as_ref().map(config::Secret::read).transpose()?;
        Identities::from_files(&archive.identities, prompt(passphrase)).context("archive.identity")
    }

    /// The key that signs the log.
    pub fn signer(&self) -> Result<Signer> {
        let path = self.settings.archive.signer.as_deref().ok_or_else(|| {
            Error::usage("archive.signer is not set, and the log must be signed")
                .hint("name the key file that `akv-archiver init` made")
        })?;
        read_signer(path)
    }

    /// The pinned keys.
    pub fn verifiers(&self) -> Result<Vec<Verifier>> {
        let parse = |text: &String| {
            Verifier::parse(text)
                .map_err(|error| Error::usage(format!("archive.verifiers: {text:?} is no verifier key: {error}")))
        };
        self.settings.archive.verifiers.iter().map(parse).collect()
    }

    /// Whether the store must be write-once.
    pub fn demand(&self) -> Demand {
        match &self.settings.archive.store {
            Store::Container { worm: Worm::Required, .. } => Demand::Required,
            Store::Container { worm: Worm::Optional, .. } | Store::Directory { .. } | Store::Nowhere => {
                Demand::Optional
            }
        }
    }

    /// The policy that the settings choose for a vault.
    pub fn policy(&self, vault: &VaultUri) -> Result<Arc<Policy>> {
        self.chosen(self.settings.policy(vault))
    }

    /// A policy that the settings choose; its file is read once, so that one run has one policy.
    pub fn chosen(&self, choice: &Choice) -> Result<Arc<Policy>> {
        let mut policies = self.policies.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(policy) = policies.get(choice) {
            return Ok(policy.clone());
        }
        let policy = Arc::new(read_policy(choice)?);
        policies.insert(choice.clone(), policy.clone());
        Ok(policy)
    }

    /// Refuses what the settings can never give and the policy demands: enough recipients, a store that can be locked.
    pub fn promise(&self, policy: &Policy) -> Result<()> {
        promises::quorum(policy, self.recipients()?.len())?;
        let worm = self.demand() == Demand::Required;
        match policy.retention.lock {
            Lock::Required if !worm => Err(Error::usage(format!(
                "policy {:?} wants a locked archive, and the settings allow one without protection",
                policy.name
            ))
            .hint(
                "take `worm = \"optional\"` out of [archive], archive into a container, or choose a policy with lock = \"optional\"",
            )),
            _ => Ok(()),
        }
    }

    /// When an unchanged object's capture may be reused under a policy.
    pub fn renewal(&self, policy: &Policy) -> capture::Renewal {
        capture::Renewal {
            recapture_every: policy.cadence.recapture_every,
            protection_min: policy.retention.protection_min,
            protected: self.demand() == Demand::Required,
            full_every: policy.cadence.full_every,
        }
    }
}

/// Reads a policy.
pub fn read_policy(choice: &Choice) -> Result<Policy> {
    match choice {
        Choice::BuiltIn(name) => Policy::built_in(name).ok_or_else(|| {
            Error::internal(format!("the policy {name:?}, which comes with the program, does not hold"))
        }),
        Choice::File(path) => {
            let text = read_text(path, policy::LIMIT)
                .map_err(|error| error.hint("`policy` in [capture] or a [[vault]] names it: docs/POLICIES.md"))?;
            Policy::parse(&text, &path.display().to_string())
        }
    }
}

/// Reads a log signer from its file.
pub fn read_signer(path: &Path) -> Result<Signer> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| {
        Error::usage(format!("couldn't read the log signer {}: {error}", path.display()))
            .hint("archive.signer names the file that `akv-archiver init` made")
    };
    let mut text = Zeroizing::new(String::with_capacity(256));
    std::fs::File::open(path).map_err(failed)?.take(KEY_FILE_MAX).read_to_string(&mut text).map_err(failed)?;
    Signer::parse(text.trim_end())
        .map_err(|error| Error::usage(format!("{} holds no log signer: {error}", path.display())))
}

/// A new log signer for an archive.
pub fn new_signer(name: &str, ambient: &Ambient) -> Result<Signer> {
    let seed = Zeroizing::new(ambient.bytes::<32>());
    Signer::from_seed(name, &seed).map_err(|error| Error::internal(format!("couldn't make a log signer: {error}")))
}

fn url(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| Error::usage(format!("an address in the settings cannot be used: {error}")))
}

/// The subscription in a resource id: `/subscriptions/ID/resourceGroups/…`.
fn subscription_id(resource_id: &str) -> Option<String> {
    let mut segments = resource_id.trim_start_matches('/').split('/');
    let subscriptions = segments.next()?.eq_ignore_ascii_case("subscriptions");
    segments.next().filter(|id| subscriptions && !id.is_empty()).map(str::to_ascii_lowercase)
}

fn cloud(settings: &Settings) -> Result<Cloud> {
    Ok(match &settings.network.cloud {
        config::Cloud::Known(CloudName::Public) => Cloud::Public,
        config::Cloud::Known(CloudName::UsGovernment) => Cloud::UsGovernment,
        config::Cloud::Known(CloudName::China) => Cloud::China,
        config::Cloud::Custom { authority, management } => {
            let suffix_of_vaults = settings.vaults.first().map(|vault| vault.uri.suffix().to_owned());
            let host = match &settings.archive.store {
                Store::Container { url: address, .. } => url(address.as_str())?.host_str().map(str::to_owned),
                Store::Directory { .. } | Store::Nowhere => None,
            };
            let suffix_of_storage =
                host.as_deref().and_then(|host| host.split_once(".blob.")).map(|(_, suffix)| suffix.to_owned());
            Cloud::Custom(Box::new(CustomCloud {
                authority: url(authority.as_str())?,
                management: url(management.as_str())?,
                management_audience: management.as_str().to_owned(),
                vault_suffix: suffix_of_vaults.unwrap_or_else(|| "vault.azure.net".into()),
                storage_suffix: suffix_of_storage.unwrap_or_else(|| "core.windows.net".into()),
            }))
        }
    })
}

fn sign_in(credential: &Credential) -> Result<CredentialConfig> {
    Ok(match credential.clone() {
        Credential::ManagedIdentity { client_id } => CredentialConfig::ManagedIdentity { client_id },
        Credential::ClientSecret { tenant_id, client_id, secret } => {
            CredentialConfig::ClientSecret { tenant_id, client_id, secret: secret.read()? }
        }
        Credential::ClientAssertion { tenant_id, client_id, assertion_file } => {
            CredentialConfig::ClientAssertion { tenant_id, client_id, token_file: assertion_file }
        }
        Credential::WorkloadIdentity { tenant_id, client_id, token_file } => {
            CredentialConfig::WorkloadIdentity { tenant_id, client_id, token_file }
        }
        Credential::AzureCli { tenant_id } => CredentialConfig::AzureCli { tenant_id, subscription: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_id_names_its_subscription() {
        let id = |text: &str| subscription_id(text);
        let vault = "/subscriptions/0000AAAA-1/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/prod";
        assert_eq!(id(vault).as_deref(), Some("0000aaaa-1"));
        assert_eq!(id("/Subscriptions/0000aaaa-1").as_deref(), Some("0000aaaa-1"));
        for none in ["", "/subscriptions", "/subscriptions//resourceGroups", "/providers/x"] {
            assert_eq!(id(none), None, "{none}");
        }
    }
}
