//! What verification needs: what to hold an archive to, who signs reports and who is believed.

use std::collections::BTreeMap;

use super::{Assembly, read_signer};
use crate::error::{Context, Error, Result};
use crate::jobs::protection::Demand;
use crate::model::VaultUri;
use crate::policy::Lock;
use crate::tlog::{Signer, Verifier};
use crate::verify::{Live, Seen, Standard};

/// The name of a key that signs reports.
pub const REPORT_KEY: &str = "akv-archiver/verified";

impl Assembly {
    /// What verification holds the archive to: for each vault, its policy.
    pub fn standard(&self) -> Result<Standard> {
        let general = self.chosen(&self.settings.capture.policy)?;
        let mut locked = general.retention.lock == Lock::Required;
        let mut protection_min_of = BTreeMap::new();
        for vault in &self.settings.vaults {
            let policy = self.policy(&vault.uri)?;
            locked |= policy.retention.lock == Lock::Required;
            protection_min_of.insert(vault.uri.clone(), policy.retention.protection_min);
        }
        Ok(Standard {
            vaults: self.settings.vaults.iter().map(|vault| vault.uri.clone()).collect(),
            verifiers: self.verifiers()?,
            worm: locked || self.demand() == Demand::Required,
            protection_min: general.retention.protection_min,
            protection_min_of,
            max_age: None,
            now: self.ambient.now(),
        })
    }

    /// What a vault of the settings shows now: its lists, read like those of a snapshot.
    pub async fn live(&self, vault: &VaultUri) -> Result<Live> {
        let door = self.governed(vault)?;
        let seen = crate::jobs::live::look(&door).await.context(format!("couldn't compare with {}", vault.host()))?;
        let objects = seen.into_iter().map(|item| Seen {
            object: item.object,
            fingerprint: item.fingerprint,
            changed: item.attributes.updated.or(item.attributes.created),
            managed: item.managed,
        });
        Ok(Live { vault: vault.clone(), rpo: self.policy(vault)?.cadence.rpo, objects: objects.collect() })
    }

    /// The key that signs reports.
    pub fn report_signer(&self) -> Result<Signer> {
        let path = self.settings.verify.signer.as_deref().ok_or_else(|| {
            Error::usage("verify.signer is not set, and a report must be signed")
                .hint("`akv-archiver verify --make-key FILE` makes a key; name it in [verify] signer")
        })?;
        let signer = read_signer(path)?;
        self.not_of_the_log(&signer.verifier())?;
        Ok(signer)
    }

    /// The keys whose reports are believed: those that are pinned, and our own.
    pub fn report_verifiers(&self) -> Result<Vec<Verifier>> {
        let mut known = Vec::new();
        for text in &self.settings.verify.verifiers {
            let key = Verifier::parse(text)
                .map_err(|error| Error::usage(format!("verify.verifiers: {text:?} is no verifier key: {error}")))?;
            self.not_of_the_log(&key)?;
            known.push(key);
        }
        if self.settings.verify.signer.is_some() {
            known.push(self.report_signer()?.verifier());
        }
        match known.is_empty() {
            false => Ok(known),
            true => Err(Error::usage("no report could be believed: [verify] names neither verifiers nor a signer")
                .hint("pin the verifier key of whoever wrote the report in [verify] verifiers")),
        }
    }

    /// Whoever writes an archive does not say of it that it holds.
    fn not_of_the_log(&self, key: &Verifier) -> Result<()> {
        match self.verifiers()?.contains(key) {
            false => Ok(()),
            true => Err(Error::usage("[verify] names a key that signs the log, and would sign what it says of itself")
                .hint("`akv-archiver verify --make-key FILE` makes one for reports")),
        }
    }
}
