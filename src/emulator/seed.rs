//! The seed file: what Azure holds when the emulator starts. TOML; unknown fields are errors. docs/EMULATOR.md describes
//! every field for users; the types here are that description in code.

mod check;
mod limbo;
mod settings;

use serde::{Deserialize, Serialize};

pub use limbo::{Limbo, Wait, Waits};
pub use settings::{AccessPolicy, Contact, Diagnostic, Issuer, Network, NetworkDefault, RoleAssignment, Settings};

use crate::error::{Error, Result};

/// A whole seed file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Request limits, latency, limbo.
    #[serde(default)]
    pub limits: Limits,
    /// Vaults.
    #[serde(default, rename = "vault")]
    pub vaults: Vec<Vault>,
    /// Storage accounts.
    #[serde(default, rename = "storage")]
    pub accounts: Vec<Account>,
    /// Further identities, beside the one in the ready file that may do everything.
    #[serde(default, rename = "principal")]
    pub principals: Vec<Principal>,
}

impl Seed {
    /// Reads a seed file.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) with line and column for what is no seed file, and with the object's
    /// name for what Azure would not allow.
    pub fn parse(text: &str) -> Result<Seed> {
        let seed: Seed = toml::from_str(text).map_err(|error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            let message = error.message().replace('\n', ", ");
            Error::usage(format!("seed line {line}, column {column}: {message}"))
                .hint("docs/EMULATOR.md describes every field")
        })?;
        check::check(&seed)?;
        Ok(seed)
    }
}

/// Line and column, from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
    (before.matches('\n').count() + 1, column + 1)
}

/// How hard the emulated services push back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Whether the documented requests per 10 s are enforced, with 429 beyond.
    #[serde(default)]
    pub enforce: bool,
    /// How much of these is enforced, so that few requests reach them.
    #[serde(default)]
    pub percent: Percent,
    /// Added to every request.
    #[serde(default)]
    pub latency_ms: u64,
    /// Whether delete, recover and purge complete at once, or after which while.
    #[serde(default)]
    pub limbo: Limbo,
}

/// 1 to 100 of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Percent(u8);

impl Percent {
    /// This part of `whole`, at least one.
    pub(super) fn of(self, whole: u64) -> u64 {
        (whole * u64::from(self.0) / 100).max(1)
    }
}

impl Default for Percent {
    fn default() -> Self {
        Percent(100)
    }
}

impl TryFrom<u8> for Percent {
    type Error = String;

    fn try_from(percent: u8) -> std::result::Result<Self, String> {
        let fits = (1..=100).contains(&percent);
        fits.then_some(Percent(percent)).ok_or_else(|| format!("{percent} is not between 1 and 100"))
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> u8 {
        percent.0
    }
}

/// A vault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// Its name: `https://NAME.vault.azure.net`.
    pub name: String,
    /// Subscription id.
    pub subscription: String,
    /// Region, such as `westeurope`.
    pub location: String,
    /// `standard` or `premium`.
    #[serde(default)]
    pub sku: Sku,
    /// Whether nobody may purge before the retention ends.
    #[serde(default)]
    pub purge_protection: bool,
    /// 7 to 90.
    #[serde(default = "ninety")]
    pub retention_days: u32,
    /// The tags of the vault itself.
    #[serde(default)]
    pub tags: std::collections::BTreeMap<String, String>,
    /// Network rules; none at first, as in a new vault.
    pub network: Option<Network>,
    /// Access policies.
    #[serde(default)]
    pub access_policies: Vec<AccessPolicy>,
    /// Role assignments.
    #[serde(default)]
    pub role_assignments: Vec<RoleAssignment>,
    /// Diagnostic settings.
    #[serde(default)]
    pub diagnostic_settings: Vec<Diagnostic>,
    /// Certificate issuers.
    #[serde(default)]
    pub issuers: Vec<Issuer>,
    /// Who is told about certificates.
    #[serde(default)]
    pub contacts: Vec<Contact>,
    /// What it holds.
    #[serde(default)]
    pub objects: Vec<Object>,
}

impl Vault {
    /// What Resource Manager shows of it beyond its place and tier.
    pub fn settings(&self) -> Settings {
        Settings {
            network: self.network.clone(),
            access_policies: self.access_policies.clone(),
            role_assignments: self.role_assignments.clone(),
            diagnostic_settings: self.diagnostic_settings.clone(),
        }
    }
}

fn ninety() -> u32 {
    90
}

/// A vault's tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sku {
    /// Software keys only.
    #[default]
    Standard,
    /// HSM keys too.
    Premium,
}

/// One object, or `count` of them named `NAME-0000`, `NAME-0001`, ….
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// `key`, `secret` or `certificate`.
    pub kind: ObjectKind,
    /// Its name, or the stem of many.
    pub name: String,
    /// Key type, for keys and for a certificate's key: `RSA`, `RSA-HSM`, `EC`, `EC-HSM`. Default `RSA`.
    #[serde(rename = "type")]
    pub key_type: Option<String>,
    /// RSA modulus: 2048, 3072, 4096. Default 2048.
    pub bits: Option<u32>,
    /// EC curve: `P-256`, `P-384`, `P-521`, `P-256K`. Default `P-256`.
    pub curve: Option<String>,
    /// How many versions. Default 1.
    #[serde(default = "one")]
    pub versions: u32,
    /// How many objects; absent means one, named `name` itself.
    pub count: Option<u32>,
    /// A secret's value. Default: random.
    pub value: Option<String>,
    /// Whether it may be used. Default true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Days from the emulator's start until it expires; negative for already expired.
    pub expires_in_days: Option<i64>,
    /// Days from the emulator's start until it may be used; negative for since then.
    pub valid_in_days: Option<i64>,
    /// Tags.
    #[serde(default)]
    pub tags: std::collections::BTreeMap<String, String>,
}

impl Object {
    /// The names it stands for: `NAME`, or `NAME-0000` … when there is a count.
    pub fn names(&self) -> Vec<String> {
        match self.count {
            None => vec![self.name.clone()],
            Some(count) => (0..count).map(|index| format!("{}-{index:04}", self.name)).collect(),
        }
    }
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

/// What kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A key.
    Key,
    /// A secret.
    Secret,
    /// A certificate with its managed key and secret.
    Certificate,
}

/// A storage account.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its name: `https://ACCOUNT.blob.core.windows.net`.
    pub account: String,
    /// Subscription id.
    pub subscription: String,
    /// Region.
    pub location: String,
    /// Containers.
    #[serde(default)]
    pub containers: Vec<Container>,
}

/// A blob container.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its write-once mechanism.
    #[serde(default)]
    pub worm: Worm,
    /// Days of the default policy, 1 to 146,000. Required for `container-level`; a `version-level` container without it
    /// keeps versions but protects none of its own accord, as on Azure.
    pub days: Option<u32>,
    /// Whether the default policy is locked.
    #[serde(default)]
    pub locked: bool,
    /// Whether a legal hold covers the container.
    #[serde(default)]
    pub legal_hold: bool,
}

/// Write-once mechanisms (`azure.md` §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Worm {
    /// None.
    #[default]
    None,
    /// A policy on the container.
    ContainerLevel,
    /// A policy on each version.
    VersionLevel,
}

/// An identity with limited permissions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Its name; the ready file lists its client id and secret under it.
    pub name: String,
    /// Actions and data actions, `*` matching any run of characters.
    pub actions: Vec<String>,
    /// Where they are granted: ids of subscriptions, resource groups or resources. Empty means everywhere.
    #[serde(default)]
    pub scopes: Vec<String>,
}
