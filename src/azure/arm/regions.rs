//! The regions that a subscription is shown, with their geographies (`azure.md` §2): one request per subscription, shared
//! by all doors of a connection. Knows no vault, and not what follows from a geography.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::OnceCell;

use super::{Arm, SUBSCRIPTIONS_API};
use crate::model::{Atlas, Geography, region_name};

const READ_LOCATIONS: &str = "Microsoft.Resources/subscriptions/locations/read";

type Shown = Vec<Region>;

/// A region as it is shown.
#[derive(Clone, Debug)]
pub(super) struct Region {
    name: String,
    geography: Geography,
    /// The region that it is paired with, if any.
    pair: Option<String>,
}

/// What was told so far, by subscription. That nothing was told is remembered too: a run that asks for each of a hundred
/// vaults would be refused a hundred times.
#[derive(Debug, Default)]
pub(in crate::azure) struct Regions(Mutex<BTreeMap<String, Arc<OnceCell<Shown>>>>);

impl Regions {
    fn cell(&self, subscription: &str) -> Arc<OnceCell<Shown>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry(subscription.to_ascii_lowercase()).or_default().clone()
    }
}

impl Arm {
    /// The atlas of a subscription: what the operator says, what the service shows, the built-in table.
    pub(super) async fn known_regions(&self, subscription: &str) -> Atlas {
        let cell = self.regions.cell(subscription);
        let shown = cell.get_or_init(|| self.ask_regions(subscription)).await;
        let pairs = shown.iter().filter_map(|region| Some((region.name.clone(), region.pair.clone()?)));
        let live = shown.iter().map(|region| (region.name.clone(), region.geography.clone()));
        self.atlas.clone().with_live(live).with_pairs(pairs)
    }

    async fn ask_regions(&self, subscription: &str) -> Shown {
        let path = format!("/subscriptions/{subscription}/locations");
        let doing = format!("list the regions of subscription {subscription}");
        match self.list(&path, SUBSCRIPTIONS_API, &doing, READ_LOCATIONS).await {
            Ok(list) => list.iter().filter_map(shown).collect(),
            Err(error) => {
                tracing::debug!(%error, "going by the built-in table of regions");
                Vec::new()
            }
        }
    }
}

/// A region. Those that are no place, such as `global`, have no geography.
pub(super) fn shown(item: &Value) -> Option<Region> {
    let name = region_name(item.get("name")?.as_str()?)?;
    let metadata = item.get("metadata")?;
    let geography = metadata.get("geography")?.as_str().and_then(Geography::parse)?;
    let pair = metadata.get("pairedRegion").and_then(|pairs| pairs.get(0)?.get("name")?.as_str().and_then(region_name));
    Some(Region { name, geography, pair })
}

#[cfg(test)]
mod tests {
    use crate::azure::fake::{Stage, Step, answer};
    use crate::model::{Atlas, Geography, VaultUri, geography_of};
    use crate::vault::Facts as _;

    const DENIED: &str = r#"{"error":{"code":"AuthorizationFailed","message":"no"}}"#;

    fn named(name: &str) -> Geography {
        Geography::parse(name).unwrap()
    }

    fn locations(regions: &[(&str, &str)]) -> Step {
        let region = |(name, geography): &(&str, &str)| {
            format!(
                r#"{{"name":"{name}","displayName":"x","metadata":{{"regionType":"Physical","geography":"{geography}","pairedRegion":[{{"name":"{name}2"}},7]}}}}"#
            )
        };
        let mut regions: Vec<String> = regions.iter().map(region).collect();
        // What is no place has no geography.
        regions.push(r#"{"name":"global","metadata":{"regionType":"Logical"}},{}"#.to_owned());
        answer(200, format!(r#"{{"value":[{}]}}"#, regions.join(",")))
    }

    fn vault(name: &str, location: &str) -> Step {
        answer(
            200,
            format!(
                r#"{{"id":"/subscriptions/S1/resourceGroups/g/providers/Microsoft.KeyVault/vaults/{name}","location":"{location}","properties":{{"vaultUri":"https://{name}.vault.azure.net/","sku":{{"name":"standard"}}}}}}"#
            ),
        )
    }

    async fn geography(stage: &Stage, name: &str, atlas: Atlas) -> Option<Geography> {
        let id = format!("/subscriptions/S1/resourceGroups/g/providers/Microsoft.KeyVault/vaults/{name}");
        let uri = VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap();
        let arm = stage.connection.arm().unwrap().knowing(id).believing(atlas);
        arm.facts(&uri).await.unwrap().place.geography
    }

    #[tokio::test]
    async fn regions_are_asked_for_once_per_subscription_and_believed() {
        let stage = Stage::new([
            vault("a", "West Europe"),
            locations(&[("westeurope", "European Union"), ("atlantis", "Ocean")]),
            vault("b", "atlantis"),
            vault("c", "uksouth"),
            locations(&[]),
        ]);
        let table = Atlas::default;
        assert_eq!(geography(&stage, "a", table()).await, Some(named("European Union")));
        assert_eq!(geography(&stage, "b", table()).await, Some(named("Ocean")), "another door, the same answer");
        assert_eq!(geography(&stage, "c", table()).await, geography_of("uksouth"), "the table has what is not shown");
        let arm = stage.connection.arm().unwrap();
        assert_eq!(arm.atlas("s1").await.geography("westeurope"), Some(named("European Union")));
        assert_eq!(arm.atlas("s1").await.pair("West Europe"), Some("westeurope2"));
        assert!(arm.atlas("s1").await.shows("Atlantis") && !arm.atlas("s1").await.shows("uksouth"));
        assert!(!stage.done());
        arm.atlas("s2").await;
        assert!(stage.done(), "another subscription may be shown others");
        let urls: Vec<String> = stage.fake.log().into_iter().map(|sent| sent.url).collect();
        assert!(urls[1].contains("/subscriptions/S1/locations?api-version=2022-12-01"), "{urls:?}");
    }

    #[tokio::test]
    async fn what_may_not_be_read_or_makes_no_sense_leaves_the_table() {
        let nonsense = r#"{"value":[{"name":"west-europe","metadata":{"geography":"a"}},{"name":"westeurope","metadata":{"geography":"a\nb"}},7]}"#;
        for step in [answer(403, DENIED), answer(404, "{}"), answer(200, nonsense)] {
            let stage = Stage::new([vault("a", "westeurope"), step, vault("b", "atlantis")]);
            assert_eq!(geography(&stage, "a", Atlas::default()).await, geography_of("westeurope"));
            assert_eq!(geography(&stage, "b", Atlas::default()).await, None);
            assert!(stage.done(), "and is not asked again");
        }
        let stage = Stage::new([]);
        let atlas = stage.connection.arm().unwrap().atlas("../x").await;
        assert_eq!(atlas, Atlas::default());
    }

    #[tokio::test]
    async fn the_operator_is_believed_before_the_service() {
        let stage = Stage::new([vault("a", "westeurope"), locations(&[("westeurope", "European Union")])]);
        let atlas = Atlas::new([("westeurope".to_owned(), named("Mine"))]);
        assert_eq!(geography(&stage, "a", atlas).await, Some(named("Mine")));
    }
}
