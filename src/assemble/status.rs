//! What `status` holds a vault to, from the settings and the vault's policy.

use chrono::TimeDelta;

use super::Assembly;
use crate::error::Result;
use crate::jobs::protection::Demand;
use crate::jobs::status::Rule;
use crate::model::VaultUri;
use crate::policy::Lock;

impl Assembly {
    /// What a vault of the archive is held to. `max_age` comes before the policy's recovery point objective.
    ///
    /// A vault is expected if the settings name it, or look for vaults of its name; where they do neither, as those of
    /// a mere onlooker, every vault is. So a vault that is gone for good can be taken out of the alarm, though its
    /// archive cannot be deleted.
    pub fn rule(&self, vault: &VaultUri, max_age: Option<TimeDelta>) -> Result<Rule> {
        let policy = self.policy(vault)?;
        let settings = &self.settings;
        let known = settings.vaults.iter().find(|known| known.uri == *vault);
        let sought = settings.discover.iter().any(|rule| rule.choice.admits_name(vault.name()));
        let onlooker = settings.vaults.is_empty() && settings.discover.is_empty();
        Ok(Rule {
            name: known.map_or(vault.name(), |known| &known.name).to_owned(),
            named: known.is_some(),
            expected: known.is_some() || sought || onlooker,
            max_age: max_age.unwrap_or(policy.cadence.rpo),
            protection_min: policy.retention.protection_min,
            worm: self.demand() == Demand::Required || policy.retention.lock == Lock::Required,
        })
    }
}
