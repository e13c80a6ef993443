//! Looking for vaults: everything that one identity sees, or what it sees of some subscriptions. A subscription that
//! cannot be read is told and does not hide the others.

use futures::StreamExt;

use super::{Member, Origin};
use crate::error::{Error, Kind};
use crate::model::{SubscriptionId, VaultUri};
use crate::vault::{self, Condition, Discover, Sighting};

/// Subscriptions asked about at the same time: Resource Manager counts requests by identity.
const IN_FLIGHT: usize = 4;

/// What an identity sees.
#[derive(Debug, Default)]
pub struct Survey {
    /// The vaults.
    pub seen: Vec<Member>,
    /// What could not be looked at, and vaults that cannot be used.
    pub warnings: Vec<String>,
    /// Set where vaults may have been missed that a run should have taken: nothing could be listed, or a list failed for
    /// another reason than a permission that the identity does not have.
    pub shortfall: Option<Error>,
}

/// Lists the vaults that `door` shows: of `subscriptions`, or of every subscription where none is given.
///
/// `suffix` is that of the cloud's vaults, such as `vault.azure.net`: no token of ours goes to a vault elsewhere.
pub async fn survey(door: &dyn Discover, identity: usize, subscriptions: &[SubscriptionId], suffix: &str) -> Survey {
    let mut survey = Survey::default();
    let mut subscriptions = match subscriptions.is_empty() {
        false => subscriptions.to_vec(),
        true => match door.subscriptions().await {
            Ok(subscriptions) => subscriptions,
            Err(error) => {
                survey.shortfall = Some(Error::from(error).context("couldn't look for vaults"));
                return survey;
            }
        },
    };
    subscriptions.sort();
    subscriptions.dedup();
    if subscriptions.is_empty() {
        survey.warnings.push("the identity sees no subscription, and so no vault".to_owned());
    }
    let total = subscriptions.len();
    let lists = futures::stream::iter(subscriptions)
        .map(|subscription| async move { (door.vaults(&subscription).await, subscription) })
        .buffered(IN_FLIGHT);
    let mut lists = std::pin::pin!(lists);
    let mut failures: Vec<vault::Error> = Vec::new();
    while let Some((list, subscription)) = lists.next().await {
        match list {
            Ok(sightings) => {
                sightings.into_iter().for_each(|it| survey.see(it, identity, &subscription, suffix));
            }
            Err(error) => {
                survey.warnings.push(error.to_string());
                failures.push(error);
            }
        }
    }
    survey.shortfall = shortfall(failures, total);
    survey
}

fn shortfall(mut failures: Vec<vault::Error>, total: usize) -> Option<Error> {
    if !failures.is_empty() && failures.len() == total {
        return Some(Error::from(failures.swap_remove(0)).context("couldn't look for vaults"));
    }
    // Who may not list a subscription's vaults has nothing to take there; any other failure hides vaults tonight.
    let passing = failures.into_iter().find(|error| error.condition != Condition::Denied)?;
    Some(Error::new(Kind::Partial, format!("vaults may have been missed: {passing}")))
}

impl Survey {
    fn see(&mut self, sighting: Sighting, identity: usize, subscription: &SubscriptionId, suffix: &str) {
        let Sighting { resource_id, address, location, tags } = sighting;
        let Some(uri) = VaultUri::parse(&address) else {
            self.warnings.push(match address.as_str() {
                "" => format!("{resource_id} has no address yet, and was left out"),
                _ => format!("{resource_id} says that its address is {address:?}, which is none, and was left out"),
            });
            return;
        };
        if !uri.suffix().eq_ignore_ascii_case(suffix) {
            let text = format!("{resource_id} says that its address is {uri}, outside of {suffix}, and was left out");
            self.warnings.push(text);
            return;
        }
        self.seen.push(Member {
            name: uri.name().to_owned(),
            uri,
            origin: Origin::Discovered,
            identity,
            resource_id: Some(resource_id),
            subscription: Some(subscription.clone()),
            location: Some(location).filter(|location| !location.is_empty()),
            tags: Some(tags),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;

    use super::*;
    use crate::error::Result;

    /// Subscriptions by number, each with what a list of it answers.
    struct Plane(BTreeMap<u8, Result<Vec<&'static str>, Condition>>);

    fn id(number: u8) -> SubscriptionId {
        SubscriptionId::parse(&format!("{number:08}-0000-0000-0000-000000000000")).unwrap()
    }

    #[async_trait]
    impl Discover for Plane {
        async fn subscriptions(&self) -> Result<Vec<SubscriptionId>, vault::Error> {
            match self.0.is_empty() {
                true => Err(vault::Error::new(Condition::Unavailable, "no answer")),
                false => Ok(self.0.keys().map(|number| id(*number)).collect()),
            }
        }

        async fn vaults(&self, subscription: &SubscriptionId) -> Result<Vec<Sighting>, vault::Error> {
            let found = self.0.iter().find(|(number, _)| id(**number) == *subscription);
            let missing = Err(Condition::NotFound);
            let sighting = |address: &&str| Sighting {
                resource_id: format!("/subscriptions/{subscription}/{address}"),
                address: (*address).to_owned(),
                location: String::new(),
                tags: BTreeMap::new(),
            };
            match found.map_or(&missing, |(_, answer)| answer) {
                Ok(addresses) => Ok(addresses.iter().map(sighting).collect()),
                Err(condition) => Err(vault::Error::new(*condition, format!("couldn't list {subscription}"))),
            }
        }
    }

    async fn look(
        plane: Vec<Result<Vec<&'static str>, Condition>>,
        of: &[u8],
    ) -> (Vec<String>, Vec<String>, Option<Kind>) {
        let plane = Plane((1..).zip(plane).collect());
        let of: Vec<SubscriptionId> = of.iter().map(|number| id(*number)).collect();
        let survey = survey(&plane, 0, &of, "vault.azure.net").await;
        let names = survey.seen.into_iter().map(|member| member.name).collect();
        (names, survey.warnings, survey.shortfall.map(|error| error.kind()))
    }

    const A: &str = "https://A.vault.azure.net/";
    const B: &str = "https://b.vault.azure.net";

    #[tokio::test]
    async fn a_denied_subscription_hides_no_other_and_is_told() {
        let (names, warnings, shortfall) = look(vec![Ok(vec![A]), Err(Condition::Denied), Ok(vec![B])], &[]).await;
        assert_eq!(names, ["a", "b"]);
        assert_eq!((warnings, shortfall), (vec![format!("couldn't list {}", id(2))], None));
    }

    #[tokio::test]
    async fn what_may_have_been_missed_tonight_is_no_success() {
        let (names, warnings, shortfall) = look(vec![Ok(vec![A]), Err(Condition::Unavailable)], &[]).await;
        assert_eq!((names.len(), warnings.len(), shortfall), (1, 1, Some(Kind::Partial)));
        // A subscription that was asked for and does not exist is a slip, not an empty one.
        assert_eq!(look(vec![Ok(vec![A])], &[1, 9]).await.2, Some(Kind::Partial));
        // If nothing at all could be listed, that is the answer, with its own reason.
        assert_eq!(look(vec![Err(Condition::Denied), Err(Condition::Denied)], &[]).await.2, Some(Kind::Denied));
        assert_eq!(look(vec![], &[]).await.2, Some(Kind::Unavailable));
    }

    #[tokio::test]
    async fn subscriptions_that_are_named_are_asked_once_and_no_other_is() {
        let (names, warnings, _) = look(vec![Ok(vec![A]), Ok(vec![B])], &[2, 2]).await;
        assert_eq!((names, warnings), (vec!["b".to_owned()], vec![]));
    }

    #[tokio::test]
    async fn trap_no_token_goes_to_an_address_outside_the_cloud() {
        let foreign = vec!["https://a.vault.azure.net.evil.example", "https://a.evil.example", "https://b/keys", "", A];
        let (names, warnings, shortfall) = look(vec![Ok(foreign)], &[]).await;
        assert_eq!((names, warnings.len(), shortfall), (vec!["a".to_owned()], 4, None));
    }
}
