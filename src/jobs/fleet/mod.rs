//! Many vaults in one run: which are meant, which of them this process takes, in which order. Choosing is pure; looking
//! for vaults ([`survey`]) and for the age of their snapshots ([`turns`]) is not. Knows no Azure and no settings file:
//! an identity is a number that the caller gives.

mod order;
mod run;
mod shard;
mod summary;
mod survey;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use order::{Due, Standing, turns};
pub use run::run;
pub use shard::Shard;
pub use summary::{Summary, Total, exit_kind};
pub use survey::{Survey, survey};

use crate::error::{Error, Kind, Result};
use crate::model::{Glob, SubscriptionId, VaultChoice, VaultUri};

/// A vault that a run may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name in the settings, or else in Azure.
    pub name: String,
    /// Its address.
    pub uri: VaultUri,
    /// How the run came to know it.
    pub origin: Origin,
    /// Which of the caller's identities reads it.
    pub identity: usize,
    /// Its resource id, if known.
    pub resource_id: Option<String>,
    /// Its subscription, if known.
    pub subscription: Option<SubscriptionId>,
    /// Its region, if known.
    pub location: Option<String>,
    /// Its tags, if it was seen through the management plane.
    pub tags: Option<BTreeMap<String, String>>,
}

/// How a run came to know a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The settings name it.
    Settings,
    /// The management plane showed it.
    Discovered,
}

/// Which of the vaults that an identity sees belong to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The identity.
    pub identity: usize,
    /// The conditions.
    pub choice: VaultChoice,
}

/// What the command line asks for: conditions on every vault, whether the settings name it or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Conditions that narrow the run.
    pub choice: VaultChoice,
    /// Only these, by name or host; none given means any.
    pub names: Vec<Glob>,
}

/// The vaults of a run, and what a person should know of how they were chosen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Each vault once: those of the settings in their order, then the others by host.
    pub members: Vec<Member>,
    /// Vaults that were left out for want of knowledge.
    pub warnings: Vec<String>,
}

impl Member {
    fn is_called(&self, pattern: &Glob) -> bool {
        [&self.name, self.uri.name(), self.uri.host()].into_iter().any(|name| pattern.matches(name))
    }
}

impl Wish {
    /// Whether every vault that is wished for is among `configured`, so that nothing has to be looked for.
    pub fn is_met_by(&self, configured: &[Member]) -> bool {
        let exact = |name: &Glob| !name.as_str().contains(['*', '?']);
        let known = |name: &Glob| configured.iter().any(|member| member.is_called(name));
        !self.names.is_empty() && self.names.iter().all(|name| exact(name) && known(name))
    }
}

/// Chooses: what the settings name, and what of the `seen` fits a rule, each vault once, narrowed to what is wished for.
/// A vault that the settings name keeps their name and identity, and learns from `seen` where it is.
///
/// # Errors
/// `Usage` for a name that no vault has; `NotFound` where no vault is left, since a run that takes nothing must not look
/// like one that succeeded.
pub fn choose(configured: Vec<Member>, seen: &[Member], rules: &[Rule], wish: &Wish) -> Result<Chosen> {
    let mut chosen = Chosen::default();
    let mut taken: BTreeSet<VaultUri> = BTreeSet::new();
    for mut member in configured {
        if !taken.insert(member.uri.clone()) {
            continue;
        }
        if let Some(sighting) = seen.iter().find(|sighting| sighting.uri == member.uri) {
            member.resource_id = member.resource_id.or_else(|| sighting.resource_id.clone());
            member.subscription = sighting.subscription.clone().or(member.subscription);
            member.location = sighting.location.clone();
            member.tags = sighting.tags.clone();
        }
        chosen.members.push(member);
    }
    let named = chosen.members.len();
    for rule in rules {
        let fitting = seen.iter().filter(|member| member.identity == rule.identity);
        for member in fitting.filter(|member| admits(&rule.choice, member)) {
            if taken.insert(member.uri.clone()) {
                chosen.members.push(member.clone());
            }
        }
    }
    if let Some(found) = chosen.members.get_mut(named..) {
        found.sort_by(|a, b| a.uri.cmp(&b.uri));
    }
    narrow(&mut chosen, wish)?;
    Ok(chosen)
}

/// Keeps what is wished for.
fn narrow(chosen: &mut Chosen, wish: &Wish) -> Result<()> {
    if let Some(name) = wish.names.iter().find(|name| !chosen.members.iter().any(|member| member.is_called(name))) {
        let known: Vec<&str> = chosen.members.iter().take(20).map(|member| member.name.as_str()).collect();
        return Err(Error::usage(format!("there is no vault {:?} to choose", name.as_str())).hint(
            match known.is_empty() {
                true => "add it as a [[vault]], or look for it with --all".to_owned(),
                false => format!("known are: {}; --all looks for more", known.join(", ")),
            },
        ));
    }
    let known = chosen.members.len();
    let warnings = &mut chosen.warnings;
    chosen.members.retain(|member| {
        if !wish.names.is_empty() && !wish.names.iter().any(|name| member.is_called(name)) {
            return false;
        }
        let fits = admits(&wish.choice, member);
        let unseen = (!wish.choice.subscriptions.is_empty() && member.subscription.is_none())
            || (!wish.choice.tags.is_empty() && member.tags.is_none());
        if !fits && unseen && wish.choice.admits_name(member.uri.name()) {
            warnings.push(format!(
                "{} was left out: Resource Manager does not show it, so its subscription and tags are not known",
                member.uri.host()
            ));
        }
        fits
    });
    match chosen.members.is_empty() {
        false => Ok(()),
        true => Err(Error::new(Kind::NotFound, format!("no vault is chosen: none of {known} fits every condition"))
            .hint("`akv-archiver vaults` shows what a run would take; check the conditions, and which vaults the identity may read")),
    }
}

fn admits(choice: &VaultChoice, member: &Member) -> bool {
    choice.admits(member.uri.name(), member.subscription.as_ref(), member.tags.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tag;

    const ONE: &str = "11111111-1111-1111-1111-111111111111";
    const TWO: &str = "22222222-2222-2222-2222-222222222222";

    pub(super) fn member(name: &str) -> Member {
        Member {
            name: name.to_owned(),
            uri: VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap(),
            origin: Origin::Settings,
            identity: 0,
            resource_id: None,
            subscription: None,
            location: None,
            tags: None,
        }
    }

    fn seen(name: &str, identity: usize, subscription: &str, env: &str) -> Member {
        Member {
            origin: Origin::Discovered,
            identity,
            resource_id: Some(format!("/subscriptions/{subscription}/x/{name}")),
            subscription: SubscriptionId::parse(subscription),
            location: Some("westeurope".into()),
            tags: Some([("env".to_owned(), env.to_owned())].into()),
            ..member(name)
        }
    }

    fn globs(texts: &[&str]) -> Vec<Glob> {
        texts.iter().map(|text| Glob::parse(text).unwrap()).collect()
    }

    fn all(identity: usize) -> Rule {
        Rule { identity, choice: VaultChoice::default() }
    }

    fn names(chosen: &Chosen) -> Vec<&str> {
        chosen.members.iter().map(|member| member.name.as_str()).collect()
    }

    #[test]
    fn a_configured_vault_wins_over_the_same_one_found_and_learns_from_it() {
        let configured = vec![Member { name: "main".into(), identity: 1, ..member("prod") }, member("lonely")];
        let found = [seen("web", 0, ONE, "prod"), seen("prod", 0, ONE, "prod"), seen("api", 0, TWO, "dev")];
        let chosen = choose(configured, &found, &[all(0)], &Wish::default()).unwrap();
        assert_eq!(names(&chosen), ["main", "lonely", "api", "web"]);
        let main = &chosen.members[0];
        assert_eq!((main.identity, main.origin), (1, Origin::Settings));
        assert_eq!(main.subscription, SubscriptionId::parse(ONE));
        assert!(main.resource_id.is_some() && main.tags.is_some());
        assert_eq!(chosen.members[2].origin, Origin::Discovered);
    }

    #[test]
    fn a_rule_takes_what_its_own_identity_sees_and_each_vault_is_taken_once() {
        let found = [seen("a", 0, ONE, "prod"), seen("b", 1, ONE, "prod"), seen("a", 1, ONE, "prod")];
        let prod = VaultChoice { tags: vec![Tag::parse("env=prod").unwrap()], ..VaultChoice::default() };
        let rules = [Rule { identity: 1, choice: prod.clone() }, Rule { identity: 0, choice: prod }];
        let chosen = choose(Vec::new(), &found, &rules, &Wish::default()).unwrap();
        assert_eq!(names(&chosen), ["a", "b"]);
        assert_eq!(chosen.members[0].identity, 1, "the first rule that fits");
        assert_eq!(choose(Vec::new(), &found, &[all(2)], &Wish::default()).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn wishes_narrow_configured_vaults_too() {
        let configured = || vec![member("prod-a"), member("prod-scratch"), member("dev")];
        let found = [seen("prod-a", 0, ONE, "prod"), seen("prod-b", 0, ONE, "prod")];
        let wish = |choice: VaultChoice| Wish { choice, names: Vec::new() };
        let narrowed =
            wish(VaultChoice { include: globs(&["prod-*"]), exclude: globs(&["*-scratch"]), ..VaultChoice::default() });
        let chosen = choose(configured(), &found, &[all(0)], &narrowed).unwrap();
        assert_eq!((names(&chosen), chosen.warnings.len()), (vec!["prod-a", "prod-b"], 0));

        // Of those that nobody showed to us a condition cannot be judged; that is told, once each.
        let there =
            wish(VaultChoice { subscriptions: vec![SubscriptionId::parse(ONE).unwrap()], ..Default::default() });
        let chosen = choose(configured(), &found, &[], &there).unwrap();
        assert_eq!(names(&chosen), ["prod-a"]);
        assert_eq!(chosen.warnings.len(), 2);
        assert!(chosen.warnings[1].starts_with("dev.vault.azure.net was left out"));

        let nowhere = wish(VaultChoice { tags: vec![Tag::parse("env=none").unwrap()], ..Default::default() });
        assert_eq!(choose(vec![member("a")], &[], &[], &nowhere).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn names_choose_by_setting_azure_name_or_host_and_twice_is_once() {
        let configured = || vec![Member { name: "main".into(), ..member("prod") }, member("dev")];
        for name in ["main", "prod", "PROD", "prod.vault.azure.net", "ma*"] {
            let wish = Wish { names: globs(&[name, name]), ..Wish::default() };
            assert_eq!(names(&choose(configured(), &[], &[], &wish).unwrap()), ["main"], "{name}");
            assert_eq!(wish.is_met_by(&configured()), !name.contains('*'), "{name}");
        }
        let wish = Wish { names: globs(&["dev", "prd"]), ..Wish::default() };
        assert!(!wish.is_met_by(&configured()) && !Wish::default().is_met_by(&configured()));
        let error = choose(configured(), &[], &[], &wish).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Usage, "there is no vault \"prd\" to choose"));
        assert!(error.hint_text().unwrap().contains("main, dev"));
    }
}
