//! Which Azure: the public one, a sovereign one, or one that the operator describes. Addresses and token audiences,
//! nothing else (`azure.md` §1.8).

use std::sync::Arc;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use url::Url;

/// A cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cloud {
    /// Azure.
    #[default]
    Public,
    /// Azure US Government.
    UsGovernment,
    /// Azure operated by 21Vianet.
    China,
    /// Any other, described in full.
    Custom(Box<CustomCloud>),
}

/// The addresses of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomCloud {
    /// Where tokens come from, such as `https://login.microsoftonline.com`.
    pub authority: Url,
    /// Azure Resource Manager, such as `https://management.azure.com`.
    pub management: Url,
    /// The audience of its tokens, without `/.default`.
    pub management_audience: String,
    /// The suffix of vaults' host names, such as `vault.azure.net`.
    pub vault_suffix: String,
    /// The suffix of storage accounts' host names, such as `core.windows.net`.
    pub storage_suffix: String,
}

impl Cloud {
    /// Where tokens come from.
    pub fn authority(&self) -> &str {
        match self {
            Cloud::Public => "https://login.microsoftonline.com",
            Cloud::UsGovernment => "https://login.microsoftonline.us",
            Cloud::China => "https://login.chinacloudapi.cn",
            Cloud::Custom(custom) => custom.authority.as_str(),
        }
    }

    /// Azure Resource Manager.
    pub fn management(&self) -> &str {
        match self {
            Cloud::Public => "https://management.azure.com",
            Cloud::UsGovernment => "https://management.usgovcloudapi.net",
            Cloud::China => "https://management.chinacloudapi.cn",
            Cloud::Custom(custom) => custom.management.as_str().trim_end_matches('/'),
        }
    }

    /// The scope of a token for Azure Resource Manager.
    pub fn management_scope(&self) -> String {
        match self {
            Cloud::Custom(custom) => format!("{}/.default", custom.management_audience.trim_end_matches('/')),
            known => format!("{}/.default", known.management()),
        }
    }

    /// The suffix of vaults' host names.
    pub fn vault_suffix(&self) -> &str {
        match self {
            Cloud::Public => "vault.azure.net",
            Cloud::UsGovernment => "vault.usgovcloudapi.net",
            Cloud::China => "vault.azure.cn",
            Cloud::Custom(custom) => &custom.vault_suffix,
        }
    }

    /// The scope of a token for vaults. Requests take theirs from the vault's own challenge; this one is for checking a
    /// credential without a vault.
    pub fn vault_scope(&self) -> String {
        format!("https://{}/.default", self.vault_suffix())
    }

    /// The suffix of storage accounts' host names.
    pub fn storage_suffix(&self) -> &str {
        match self {
            Cloud::Public => "core.windows.net",
            Cloud::UsGovernment => "core.usgovcloudapi.net",
            Cloud::China => "core.chinacloudapi.cn",
            Cloud::Custom(custom) => &custom.storage_suffix,
        }
    }

    /// The scope of a token for storage: one for all clouds.
    pub fn storage_scope(&self) -> String {
        "https://storage.azure.com/.default".to_owned()
    }

    /// The SDK's form, which decides where credentials ask for tokens.
    pub(super) fn configuration(&self) -> Arc<CloudConfiguration> {
        let mut custom = CustomConfiguration::default();
        custom.authority_host = self.authority().to_owned();
        Arc::new(custom.into())
    }
}
