//! What the doctor alone asks for: who signs in where, which files hold secrets, where the archive is.

use std::path::Path;

use super::Assembly;
use crate::config::{self, Credential, Store};
use crate::error::{Context, Result};
use crate::model::VaultUri;
use crate::store::Seat;

/// Where a credential is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Key Vault.
    Vaults,
    /// Blob storage.
    Storage,
}

impl Assembly {
    /// Who the archiver is at the archive; nobody at a directory.
    pub fn archive_credential(&self) -> Option<Credential> {
        match &self.settings.archive.store {
            Store::Container { credential, .. } => Some(credential.clone()),
            Store::Directory { .. } | Store::Nowhere => None,
        }
    }

    /// Who the archiver is at a vault.
    pub fn vault_credential(&self, uri: &VaultUri) -> Result<Credential> {
        Ok(self.vault_settings(uri)?.credential)
    }

    /// Signs in, and does nothing with it. `setting` is what a credential that is not whole is named by.
    pub async fn sign_in(&self, credential: &Credential, service: Service, setting: &str) -> Result<()> {
        super::sign_in(credential).context(setting)?;
        let connection = self.connection(credential)?;
        let scope = match service {
            Service::Vaults => connection.cloud().vault_scope(),
            Service::Storage => connection.cloud().storage_scope(),
        };
        connection.token_check(&scope).await
    }

    /// The archive's surroundings in Azure; a directory has none.
    pub fn seat(&self) -> Result<Option<Box<dyn Seat>>> {
        Ok(match &self.settings.archive.store {
            Store::Container { .. } => Some(Box::new(self.container()?)),
            Store::Directory { .. } | Store::Nowhere => None,
        })
    }

    /// The files that hold secrets, each with what it is.
    pub fn secret_files(&self) -> Vec<(&'static str, &Path)> {
        let archive = &self.settings.archive;
        let mut files: Vec<(&'static str, &Path)> = Vec::new();
        files.extend(archive.signer.iter().map(|path| ("signer", path.as_path())));
        files.extend(self.settings.verify.signer.iter().map(|path| ("report key", path.as_path())));
        files.extend(archive.identities.iter().map(|path| ("identity", path.as_path())));
        if let Some(config::Secret::File(path)) = &archive.identity_passphrase {
            files.push(("passphrase", path));
        }
        let at_the_archive = match &archive.store {
            Store::Container { credential, .. } => Some(credential),
            Store::Directory { .. } | Store::Nowhere => None,
        };
        for credential in self.identities_of_vaults().chain(at_the_archive) {
            if let Credential::ClientSecret { secret: config::Secret::File(path), .. } = credential
                && !files.contains(&("client secret", path.as_path()))
            {
                files.push(("client secret", path));
            }
        }
        files
    }
}
