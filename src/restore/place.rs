//! Whether a backup opens in a vault, by where the two vaults are: a backup opens only in its own cloud, subscription and
//! geography (`azure.md` §2), and an HSM key needs an HSM. Pure; knows nothing of names and what holds them.

use super::plan::Refusal;
use super::source::Source;
use crate::model::{Atlas, Place, SameWorld, VaultFacts, VaultUri};

/// Vaults named in an alternative; more would hide the one that is meant.
const NAMED: usize = 3;

/// The two vaults, and others that might do.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where the captures were taken.
    pub source: VaultUri,
    /// That vault as the manifest describes it.
    pub source_facts: Option<VaultFacts>,
    /// Where they will go.
    pub target: VaultUri,
    /// That vault as it is now.
    pub target_facts: Option<VaultFacts>,
    /// Which regions are in one geography.
    pub atlas: Atlas,
    /// Vaults whose facts could be read: refusals name those that would do.
    pub known: Vec<Known>,
}

/// A vault and its facts.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its address.
    pub uri: VaultUri,
    /// What it is now.
    pub facts: VaultFacts,
}

/// Why a backup would not open in a vault.
#[derive(Debug)]
pub(super) struct Obstacle {
    pub(super) refusal: Refusal,
    pub(super) reason: String,
    pub(super) alternatives: Vec<String>,
}

impl Route {
    /// Whether captures go back into the vault that they came from.
    pub fn home(&self) -> bool {
        self.source == self.target
    }

    /// What keeps a backup from opening in the target, if anything does.
    pub(super) fn obstacle(&self, source: &Source) -> Option<Obstacle> {
        let (refusal, reason) = self.misfit(source, &self.target, self.target_facts.as_ref())?;
        let mut alternatives = vec![self.elsewhere(source)];
        if refusal == Refusal::PlaceUnknown {
            alternatives.push("grant Microsoft.KeyVault/vaults/read on both vaults (policies/roles/)".into());
            alternatives.push("say in the settings in which geography a region is ([geography])".into());
            alternatives.push(format!("restore into the vault that it came from, {}", self.source));
        }
        Some(Obstacle { refusal, reason, alternatives })
    }

    /// The subscription that the vault was in when the capture was taken, where it is the target and is in another now.
    /// A vault can be moved, and a new one can take the name of an old one: which of the two it was does not show.
    pub(super) fn moved(&self) -> Option<&str> {
        let (then, now) = (self.source_facts.as_ref()?, self.target_facts.as_ref()?);
        let same = then.place.subscription.eq_ignore_ascii_case(&now.place.subscription);
        (self.home() && !same).then_some(then.place.subscription.as_str())
    }

    /// The alternative that is always there: another vault, by name where we know of one that would do.
    pub(super) fn elsewhere(&self, source: &Source) -> String {
        let fits: Vec<&Known> = self.known.iter().filter(|known| self.would_do(source, known)).collect();
        let names: Vec<&str> = fits.iter().take(NAMED).map(|known| known.uri.as_str()).collect();
        let more = fits.len() - names.len();
        match (names.as_slice(), source.hsm) {
            ([], false) => "restore into a vault of the same subscription and geography (--to)".into(),
            ([], true) => "restore into a premium vault of the same subscription and geography (--to)".into(),
            (names, _) if more > 0 => {
                format!("restore into another vault that would do (--to): {} or {more} more", names.join(", "))
            }
            (names, _) => format!("restore into another vault that would do (--to): {}", names.join(", ")),
        }
    }

    fn would_do(&self, source: &Source, known: &Known) -> bool {
        known.uri != self.target && self.misfit(source, &known.uri, Some(&known.facts)).is_none()
    }

    fn misfit(&self, source: &Source, to: &VaultUri, facts: Option<&VaultFacts>) -> Option<(Refusal, String)> {
        if source.hsm && facts.is_some_and(|facts| facts.sku.eq_ignore_ascii_case("standard")) {
            return Some((Refusal::StandardVault, "an HSM key does not fit into a standard vault".into()));
        }
        if self.source.suffix() != to.suffix() {
            let reason = format!(
                "the backup was made in the cloud of {}, the vault is in that of {}",
                self.source.suffix(),
                to.suffix()
            );
            return Some((Refusal::OtherCloud, reason));
        }
        let home = self.source == *to;
        let (from, facts) = match (&self.source_facts, facts) {
            (Some(from), Some(facts)) => (&from.place, &facts.place),
            // What came from there opens there.
            _ if home => return None,
            _ => {
                let reason = "where the two vaults are could not be read, and a backup opens only in its own \
                              subscription and geography";
                return Some((Refusal::PlaceUnknown, reason.into()));
            }
        };
        // A vault may be moved to another subscription, and remains the same subscription as itself.
        if !home && !from.subscription.eq_ignore_ascii_case(&facts.subscription) {
            let reason = format!(
                "the backup belongs to subscription {}, the vault to {}",
                from.subscription, facts.subscription
            );
            return Some((Refusal::OtherSubscription, reason));
        }
        self.apart(from, facts)
    }

    /// How two places are in different geographies.
    fn apart(&self, from: &Place, to: &Place) -> Option<(Refusal, String)> {
        match self.atlas.same_world(from, to) {
            SameWorld::Yes => None,
            SameWorld::No { from, to } => {
                Some((Refusal::OtherGeography, format!("the backup belongs to geography {from}, the vault to {to}")))
            }
            SameWorld::Unknown { regions } => {
                let reason = format!("in which geography {} is, is not known", regions.join(" and "));
                Some((Refusal::PlaceUnknown, reason))
            }
        }
    }
}
