//! What a seed says of a vault's settings: those that Resource Manager shows, and certificate issuers and contacts. The
//! emulator shows them; what anybody may do follows from the principals' actions alone.

use serde::{Deserialize, Serialize};

/// What Resource Manager shows of a vault beyond its place and tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Network rules.
    pub network: Option<Network>,
    /// Access policies. A vault that has some shows itself as one that does without roles.
    pub access_policies: Vec<AccessPolicy>,
    /// Role assignments.
    pub role_assignments: Vec<RoleAssignment>,
    /// Diagnostic settings.
    pub diagnostic_settings: Vec<Diagnostic>,
}

/// Network rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// What holds for everybody else.
    #[serde(default)]
    pub default_action: NetworkDefault,
    /// Addresses that may come in, such as `1.2.3.4/32`.
    #[serde(default)]
    pub ip_rules: Vec<String>,
    /// Resource ids of subnets that may come in.
    #[serde(default)]
    pub subnets: Vec<String>,
}

/// What holds where no rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkDefault {
    /// Everybody may come in.
    #[default]
    Allow,
    /// Nobody.
    Deny,
}

/// What an identity may do in a vault with access policies, in the words of those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessPolicy {
    /// The identity's object id.
    pub object_id: String,
    /// Permissions on keys, such as `get`.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Permissions on secrets.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Permissions on certificates.
    #[serde(default)]
    pub certificates: Vec<String>,
}

/// A role that an identity has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleAssignment {
    /// The role definition's id, a UUID.
    pub role: String,
    /// The identity's object id, a UUID.
    pub principal: String,
    /// Whether it is assigned for the whole subscription and not for the vault alone.
    #[serde(default)]
    pub subscription: bool,
}

/// Where logs go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnostic {
    /// Its name.
    pub name: String,
    /// Resource id of a Log Analytics workspace.
    pub workspace: String,
    /// Categories that are logged, such as `AuditEvent`.
    pub categories: Vec<String>,
}

/// A certificate issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its name in the vault.
    pub name: String,
    /// `DigiCert`, `GlobalSign`, `Test` or another.
    pub provider: String,
    /// The account at the provider.
    pub account_id: Option<String>,
    /// The organisation's id at the provider.
    pub organization: Option<String>,
}

/// Somebody who is told about certificates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// E-mail address.
    pub email: String,
    /// Name.
    pub name: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
}
