//! Arguments of the commands that come before the first run: `init` and `doctor`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Vault to archive, as its address or its name in the public cloud; may be repeated
    #[arg(long = "vault", value_name = "URI|NAME")]
    pub(crate) vaults: Vec<String>,
    /// Blob container that holds the archive, https://ACCOUNT.blob.core.windows.net/CONTAINER
    #[arg(long, value_name = "URL", conflicts_with = "directory")]
    pub(crate) container: Option<String>,
    /// Local directory that holds the archive
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Further age recipient that can open captures, such as the security team's; may be repeated
    #[arg(long = "recipient", value_name = "AGE1…")]
    pub(crate) recipients: Vec<String>,
    /// HTTP proxy to write into the settings
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// PEM file of further certificate authorities to write into the settings
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Credential to write into the settings, for vaults and archive alike
    #[arg(long, value_enum, default_value_t = Credential::ManagedIdentity)]
    pub(crate) credential: Credential,
    /// Tenant of a client-secret credential
    #[arg(long, value_name = "ID", required_if_eq("credential", "client-secret"))]
    pub(crate) tenant_id: Option<String>,
    /// Client of a client-secret credential, or of a user-assigned managed identity
    #[arg(long, value_name = "ID", required_if_eq("credential", "client-secret"))]
    pub(crate) client_id: Option<String>,
    /// Environment variable that will hold the client secret
    #[arg(long, value_name = "VAR", default_value = "AZURE_CLIENT_SECRET")]
    pub(crate) client_secret_env: String,
    /// Take a container that has no immutability policy, too
    #[arg(long)]
    pub(crate) allow_unprotected: bool,
}

/// Kinds of credentials that `init` can write; the settings know more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Credential {
    /// The identity of the machine, function or container job
    ManagedIdentity,
    /// The identity of a Kubernetes service account
    WorkloadIdentity,
    /// Whoever is logged in with `az login`
    AzureCli,
    /// An application with a secret
    ClientSecret,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// What these settings are for
    #[arg(long = "for", value_name = "COMMAND", value_enum, default_value_t = Purpose::Snapshot)]
    pub(crate) purpose: Purpose,
    /// Only this vault, by its name in the settings or its address, such as a restore's target; may be repeated
    #[arg(long = "vault", value_name = "URI|NAME")]
    pub(crate) vaults: Vec<String>,
}

/// What settings may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// The nightly job
    Snapshot,
    /// An operator's restore: opens a capture, and reads what the operator may do at the target
    Restore,
    /// Whoever only reads the archive, such as `verify` and `status`
    Verify,
}
