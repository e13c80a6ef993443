//! The vaults of a run: what the settings name, and what their identities see. Says whom to ask for what; the choice
//! itself is `jobs::fleet`'s.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::{Archive, Assembly, cloud};
use crate::archive::Reader;
use crate::config::{self, Cloud, Credential};
use crate::error::{Error, Result};
use crate::jobs::fleet::{Chosen, Member, Origin, Rule, Survey, Wish, choose, survey};
use crate::model::{SubscriptionId, VaultChoice, VaultUri};
use crate::seal::Recipients;
use crate::tlog::Signer;

/// The vaults of a run.
pub struct Fleet {
    /// The vaults, each once.
    pub members: Vec<Member>,
    /// What a person should know of how they were chosen.
    pub warnings: Vec<String>,
    /// Why vaults may be missing that should be there.
    pub shortfall: Option<Error>,
    /// Whether any were looked for.
    pub searched: bool,
}

/// What all snapshots of a run share.
pub struct Writing<'a> {
    /// The archive, opened.
    pub reader: Reader<'a>,
    /// Who can open the captures.
    pub recipients: Arc<Recipients>,
    /// The key that signs the log.
    pub signer: Signer,
}

/// What one identity is asked to list.
struct Errand {
    identity: usize,
    /// Empty for everything that it sees.
    subscriptions: Vec<SubscriptionId>,
}

impl Assembly {
    /// The credentials of the settings' vaults and discoveries, in their order.
    pub(super) fn identities_of_vaults(&self) -> impl Iterator<Item = &Credential> {
        let vaults = self.settings.vaults.iter().map(|vault| &vault.credential);
        vaults.chain(self.settings.discover.iter().map(|rule| &rule.credential))
    }

    pub(super) fn found(&self) -> MutexGuard<'_, BTreeMap<VaultUri, config::Vault>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A vault of the settings, with the resource id that a search found where they give none.
    pub(super) fn located(&self, vault: &config::Vault) -> config::Vault {
        let found = self.found().get(&vault.uri).and_then(|found| found.resource_id.clone());
        config::Vault { resource_id: vault.resource_id.clone().or(found), ..vault.clone() }
    }

    /// Opens the archive for snapshots.
    pub async fn writing<'a>(&self, archive: &'a Archive) -> Result<Writing<'a>> {
        let reader = archive.reader().await?;
        let recipients = Arc::new(self.recipients()?);
        let signer = self.signer()?;
        if !archive.verifiers().contains(&signer.verifier()) {
            return Err(Error::usage(
                "the log signer is not among archive.verifiers: readers would call the new entry forged",
            )
            .hint(format!("add \"{}\" to archive.verifiers", signer.verifier())));
        }
        Ok(Writing { reader, recipients, signer })
    }

    /// Chooses the vaults of a run. With `all`, those that the settings' identities see join the settings' own.
    ///
    /// From here on [`Assembly::vault`] and [`Assembly::facts`] know the vaults that were found.
    pub async fn fleet(&self, all: bool, wish: &Wish) -> Result<Fleet> {
        self.settings.check_vaults()?;
        let mut identities: Vec<&Credential> = Vec::new();
        for credential in self.identities_of_vaults() {
            if !identities.contains(&credential) {
                identities.push(credential);
            }
        }
        let number = |credential: &Credential| identities.iter().position(|known| *known == credential).unwrap_or(0);
        let configured: Vec<Member> =
            self.settings.vaults.iter().map(|it| member(it, number(&it.credential))).collect();
        let mut rules: Vec<Rule> = self
            .settings
            .discover
            .iter()
            .map(|rule| Rule { identity: number(&rule.credential), choice: rule.choice.clone() })
            .collect();
        if all {
            rules.extend((0..identities.len()).map(|identity| Rule { identity, choice: VaultChoice::default() }));
        }
        let errands = errands(&configured, &rules, wish);
        let mut survey = Survey::default();
        for errand in &errands {
            let Some(credential) = identities.get(errand.identity) else { continue };
            let found = self.survey(credential, errand).await?;
            survey.seen.extend(found.seen);
            survey.warnings.extend(found.warnings);
            survey.shortfall = survey.shortfall.or(found.shortfall);
        }
        let Survey { seen, mut warnings, shortfall } = survey;
        let Chosen { members, warnings: of_choice } = match choose(configured, &seen, &rules, wish) {
            Ok(chosen) => chosen,
            // Nothing to take because nothing could be listed: then that is what went wrong.
            Err(error) => return Err(shortfall.unwrap_or(error)),
        };
        warnings.extend(of_choice);
        self.remember(&members, &identities);
        Ok(Fleet { members, warnings, shortfall, searched: !errands.is_empty() })
    }

    /// What `credential` sees.
    async fn survey(&self, credential: &Credential, errand: &Errand) -> Result<Survey> {
        let cloud = cloud(&self.settings)?;
        if matches!(self.settings.network.cloud, Cloud::Custom { .. }) && self.settings.vaults.is_empty() {
            return Err(Error::usage("vaults cannot be looked for: nothing tells the suffix of this cloud's vaults")
                .hint("with `endpoints`, name one vault as a [[vault]]; its address tells"));
        }
        let door = self.arm(&self.connection(credential)?, None)?;
        Ok(survey(&door, errand.identity, &errand.subscriptions, cloud.vault_suffix()).await)
    }

    fn remember(&self, members: &[Member], identities: &[&Credential]) {
        let mut found = self.found();
        for member in members {
            let Some(credential) = identities.get(member.identity) else { continue };
            let Member { name, uri, resource_id, .. } = member.clone();
            found.insert(
                uri.clone(),
                config::Vault { name, uri, credential: (*credential).clone(), resource_id, policy: None },
            );
        }
    }
}

fn member(vault: &config::Vault, identity: usize) -> Member {
    Member {
        name: vault.name.clone(),
        uri: vault.uri.clone(),
        origin: Origin::Settings,
        identity,
        resource_id: vault.resource_id.clone(),
        subscription: vault.resource_id.as_deref().and_then(SubscriptionId::of_resource),
        location: None,
        tags: None,
    }
}

/// Whom to ask for what: each identity at most once, for no more subscriptions than a rule or a wish needs.
fn errands(configured: &[Member], rules: &[Rule], wish: &Wish) -> Vec<Errand> {
    let wished = &wish.choice;
    if wish.is_met_by(configured) && wished.by_name_only() {
        return Vec::new();
    }
    let mut errands: Vec<Errand> = Vec::new();
    let mut ask = |identity: usize, subscriptions: Vec<SubscriptionId>| {
        match errands.iter_mut().find(|errand| errand.identity == identity) {
            None => errands.push(Errand { identity, subscriptions }),
            // Everything is more than some.
            Some(errand) if errand.subscriptions.is_empty() || subscriptions.is_empty() => errand.subscriptions.clear(),
            Some(errand) => errand.subscriptions.extend(subscriptions),
        }
    };
    for rule in rules {
        let own = &rule.choice.subscriptions;
        let both = || own.iter().filter(|id| wished.subscriptions.contains(id)).cloned().collect::<Vec<_>>();
        match (own.is_empty(), wished.subscriptions.is_empty()) {
            (false, true) => ask(rule.identity, own.clone()),
            (true, _) => ask(rule.identity, wished.subscriptions.clone()),
            (false, false) if both().is_empty() => {}
            (false, false) => ask(rule.identity, both()),
        }
    }
    // The settings tell neither tags nor, most often, the subscription of a vault that they name.
    let unknown = |member: &&Member| !wished.tags.is_empty() || member.subscription.is_none();
    if !wished.by_name_only() {
        for member in configured.iter().filter(|member| wished.admits_name(member.uri.name())).filter(unknown) {
            ask(member.identity, wished.subscriptions.clone());
        }
    }
    errands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Glob, Tag};

    fn id(number: u8) -> SubscriptionId {
        SubscriptionId::parse(&format!("{number:08}-0000-0000-0000-000000000000")).unwrap()
    }

    fn configured(name: &str, identity: usize, resource_id: Option<String>) -> Member {
        let uri = VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap();
        let credential = Credential::AzureCli { tenant_id: None };
        member(&config::Vault { name: name.into(), uri, credential, resource_id, policy: None }, identity)
    }

    fn rule(identity: usize, subscriptions: &[u8]) -> Rule {
        let subscriptions = subscriptions.iter().map(|number| id(*number)).collect();
        Rule { identity, choice: VaultChoice { subscriptions, ..VaultChoice::default() } }
    }

    fn asked(configured: &[Member], rules: &[Rule], wish: &Wish) -> Vec<(usize, Vec<SubscriptionId>)> {
        errands(configured, rules, wish).into_iter().map(|errand| (errand.identity, errand.subscriptions)).collect()
    }

    fn within(subscriptions: &[u8]) -> Wish {
        Wish { choice: rule(0, subscriptions).choice, names: Vec::new() }
    }

    #[test]
    fn nobody_is_asked_where_the_settings_name_everything() {
        let named = [configured("a", 0, None)];
        assert_eq!(asked(&named, &[], &Wish::default()), []);
        let wish = Wish { names: vec![Glob::parse("a").unwrap()], ..Wish::default() };
        assert_eq!(asked(&named, &[rule(0, &[])], &wish), []);
        let wish = Wish { names: vec![Glob::parse("b").unwrap()], ..Wish::default() };
        assert_eq!(asked(&named, &[rule(0, &[])], &wish), [(0, vec![])]);
    }

    #[test]
    fn each_identity_is_asked_once_and_for_no_more_than_is_needed() {
        let rules = [rule(0, &[1]), rule(1, &[]), rule(0, &[2]), rule(1, &[3])];
        assert_eq!(asked(&[], &rules, &Wish::default()), [(0, vec![id(1), id(2)]), (1, vec![])]);
        assert_eq!(asked(&[], &rules, &within(&[2, 3])), [(1, vec![id(2), id(3), id(3)]), (0, vec![id(2)])]);
    }

    #[test]
    fn a_named_vault_is_looked_up_where_a_condition_needs_it() {
        let resource = format!("/subscriptions/{}/resourceGroups/g/providers/x/a", id(1));
        let named = [configured("a", 0, Some(resource)), configured("b", 1, None)];
        assert_eq!(asked(&named, &[], &within(&[1])), [(1, vec![id(1)])]);
        let mut tagged = Wish::default();
        tagged.choice.tags = vec![Tag::parse("env=prod").unwrap()];
        assert_eq!(asked(&named, &[], &tagged), [(0, vec![]), (1, vec![])]);
        tagged.choice.exclude = vec![Glob::parse("b").unwrap()];
        assert_eq!(asked(&named, &[], &tagged), [(0, vec![])]);
    }
}
