//! The vaults that an identity sees (`azure.md` §5): one list of subscriptions, one list of vaults for each. Every field is
//! read as text and handed on; what it is worth is judged where it is used.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::vaults::{READ_VAULTS, VAULTS_API};
use super::{Arm, READ_SUBSCRIPTIONS, SUBSCRIPTIONS_API};
use crate::azure::classify::management_error;
use crate::azure::failure::Failure;
use crate::model::SubscriptionId;
use crate::vault::{Discover, Error, Sighting};

/// A vault, as far as a choice needs it.
#[derive(Deserialize)]
struct Resource {
    id: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    properties: Properties,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Properties {
    vault_uri: String,
}

/// The vault that one item of the list describes.
pub(super) fn sighting(item: Value) -> Option<Sighting> {
    let found: Resource = serde_json::from_value(item).ok()?;
    Some(Sighting {
        resource_id: found.id,
        address: found.properties.vault_uri,
        // Written `westeurope` by some versions of the service and `West Europe` by others.
        location: found.location.to_lowercase().replace(' ', ""),
        tags: found.tags.unwrap_or_default(),
    })
}

impl Arm {
    fn nonsense(&self, doing: &str, action: &str, why: &str) -> Error {
        let host = self.endpoint.host_str().unwrap_or_default();
        management_error(&Failure::malformed(why.to_owned()), host, doing, action)
    }
}

#[async_trait]
impl Discover for Arm {
    async fn subscriptions(&self) -> Result<Vec<SubscriptionId>, Error> {
        let doing = "list subscriptions";
        let list = self.list("/subscriptions", SUBSCRIPTIONS_API, doing, READ_SUBSCRIPTIONS).await?;
        let id = |item: &Value| SubscriptionId::parse(item.get("subscriptionId")?.as_str()?);
        let ids: Option<Vec<SubscriptionId>> = list.iter().map(id).collect();
        ids.ok_or_else(|| self.nonsense(doing, READ_SUBSCRIPTIONS, "a subscription in it has no id"))
    }

    async fn vaults(&self, subscription: &SubscriptionId) -> Result<Vec<Sighting>, Error> {
        let doing = format!("list the vaults of subscription {subscription}");
        let path = format!("/subscriptions/{subscription}/providers/Microsoft.KeyVault/vaults");
        let list = self.list(&path, VAULTS_API, &doing, READ_VAULTS).await?;
        let sightings: Option<Vec<Sighting>> = list.into_iter().map(sighting).collect();
        sightings.ok_or_else(|| self.nonsense(&doing, READ_VAULTS, "a vault in it is not described as a vault is"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::fake::{Stage, answer};
    use crate::vault::Condition;

    const ONE: &str = "11111111-1111-1111-1111-111111111111";

    fn vault(name: &str, more: &str) -> String {
        format!(
            r#"{{"id":"/subscriptions/{ONE}/resourceGroups/g/providers/Microsoft.KeyVault/vaults/{name}","location":"West Europe"{more}}}"#
        )
    }

    #[tokio::test]
    async fn the_vaults_of_a_subscription_are_read_to_the_last_page() {
        let next = "https://management.azure.com/subscriptions/x/providers/Microsoft.KeyVault/vaults?$skiptoken=1";
        let uri = r#","tags":{"env":"prod"},"properties":{"vaultUri":"https://a.vault.azure.net"}"#;
        let stage = Stage::new([
            answer(200, format!(r#"{{"value":[{{"subscriptionId":"{ONE}"}}]}}"#)),
            answer(200, format!(r#"{{"value":[{}],"nextLink":"{next}"}}"#, vault("a", uri))),
            answer(200, r#"{"value":[],"nextLink":"https://management.azure.com/b?$skiptoken=2"}"#),
            // A vault that is being made has no address yet, and tags may be null.
            answer(200, format!(r#"{{"value":[{}]}}"#, vault("b", r#","tags":null,"properties":{}"#))),
        ]);
        let arm = stage.connection.arm().unwrap();
        let subscriptions = Discover::subscriptions(&arm).await.unwrap();
        let found = Discover::vaults(&arm, &subscriptions[0]).await.unwrap();
        assert_eq!(found.iter().map(|it| it.address.as_str()).collect::<Vec<_>>(), ["https://a.vault.azure.net", ""]);
        assert_eq!((found[0].location.as_str(), found[0].tags["env"].as_str()), ("westeurope", "prod"));
        assert!(found[1].tags.is_empty() && stage.done());
    }

    #[tokio::test]
    async fn what_is_no_list_of_vaults_is_no_empty_list() {
        let denied = r#"{"error":{"code":"AuthorizationFailed","message":"no"}}"#;
        for (status, body, condition) in [
            (200, r#"{"value":[{"name":"a"}]}"#, Condition::Malformed),
            (200, r#"{"value":[{"id":"/x","tags":["a"]}]}"#, Condition::Malformed),
            (200, r#"{"value":[],"nextLink":"https://evil.example/x"}"#, Condition::Malformed),
            (403, denied, Condition::Denied),
        ] {
            let stage = Stage::new([answer(status, body)]);
            let arm = stage.connection.arm().unwrap();
            let error = Discover::vaults(&arm, &SubscriptionId::parse(ONE).unwrap()).await.unwrap_err();
            assert_eq!(error.condition, condition, "{body}");
            assert!(error.message.contains(ONE), "{error}");
        }
        let stage = Stage::new([answer(200, r#"{"value":[{"subscriptionId":"../x"}]}"#)]);
        let error = Discover::subscriptions(&stage.connection.arm().unwrap()).await.unwrap_err();
        assert_eq!(error.condition, Condition::Malformed);
    }
}
