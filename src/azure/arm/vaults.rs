//! What Resource Manager holds of a vault: its resource, the role assignments and the diagnostic settings (`azure.md`
//! §5). The resource is read once, and kept as it is written.

use async_trait::async_trait;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::{Arm, Sought, mentions, properties, value};
use crate::azure::classify::management_error;
use crate::azure::failure::Failure;
use crate::model::{Atlas, Place, SoftDelete, VaultFacts, VaultUri};
use crate::vault::{Condition, Description, Error, Facts};

/// The resource type.
const VAULTS: &str = "Microsoft.KeyVault/vaults";
/// Versions before this one retire on 2027-02-27 (`azure.md` §5).
pub(super) const VAULTS_API: &str = "2026-02-01";
const ROLES_API: &str = "2022-04-01";
/// There is no later one, and none that is no preview.
const DIAGNOSTICS_API: &str = "2021-05-01-preview";

pub(super) const READ_VAULTS: &str = "Microsoft.KeyVault/vaults/read";
const READ_ROLES: &str = "Microsoft.Authorization/roleAssignments/read";
const READ_DIAGNOSTICS: &str = "Microsoft.Insights/diagnosticSettings/read";

pub(super) fn doing(vault: &VaultUri) -> String {
    format!("look up vault {}", vault.host())
}

impl Arm {
    /// A vault's resource.
    pub(super) async fn vault(&self, vault: &VaultUri) -> Result<Box<RawValue>, Error> {
        let fits = |resource: &Value| {
            // With or without a trailing slash, in any case (`azure.md` §5).
            let uri = properties(resource, "vaultUri").and_then(Value::as_str);
            uri.and_then(VaultUri::parse).is_some_and(|uri| uri == *vault)
        };
        let sought =
            Sought { provider: VAULTS, version: VAULTS_API, doing: doing(vault), action: READ_VAULTS, fits: &fits };
        self.search(&sought).await
    }

    /// What is understood of a vault's resource.
    async fn understood(&self, vault: &VaultUri, resource: &RawValue) -> Result<VaultFacts, Error> {
        let found = value(resource);
        let host = self.endpoint.host_str().unwrap_or_default();
        let partial = |what: &str| {
            let failure = Failure::malformed(format!("it does not say the vault's {what}"));
            management_error(&failure, host, &doing(vault), READ_VAULTS)
        };
        let text = |value: Option<&Value>, what: &str| {
            value.and_then(Value::as_str).map(str::to_owned).ok_or_else(|| partial(what))
        };
        let resource_id = text(found.get("id"), "id")?;
        let subscription = resource_id.split('/').nth(2).ok_or_else(|| partial("subscription"))?.to_owned();
        // Written `westeurope` by some versions of the service and `West Europe` by others.
        let location = text(found.get("location"), "location")?.to_lowercase().replace(' ', "");
        let geography = self.known_regions(&subscription).await.geography(&location);
        let flag = |name: &str| properties(&found, name).and_then(Value::as_bool);
        let days = properties(&found, "softDeleteRetentionInDays").and_then(Value::as_u64);
        Ok(VaultFacts {
            resource_id,
            place: Place { subscription, location, geography },
            sku: text(properties(&found, "sku").and_then(|sku| sku.get("name")), "tier")?.to_lowercase(),
            soft_delete: SoftDelete {
                // Absent means on, and for 90 days: so it is for every vault made since 2020.
                enabled: flag("enableSoftDelete").unwrap_or(true),
                retention_days: days.and_then(|days| u32::try_from(days).ok()).unwrap_or(90),
                purge_protection: flag("enablePurgeProtection").unwrap_or(false),
            },
            rbac: flag("enableRbacAuthorization").unwrap_or(false),
        })
    }

    /// The id under which more can be asked about a vault: that of its resource or, where that may not be read, the one
    /// that the operator gave.
    pub(super) fn id(&self, vault: &VaultUri, resource: &Result<Box<RawValue>, Error>) -> Option<String> {
        match resource {
            Ok(resource) => value(resource).get("id")?.as_str().map(str::to_owned),
            Err(_) => {
                let named =
                    |id: &&String| id.rsplit('/').next().is_some_and(|name| name.eq_ignore_ascii_case(vault.name()));
                self.known.iter().filter(|id| mentions(id, VAULTS)).find(named).cloned()
            }
        }
    }

    async fn role_assignments(&self, vault: &VaultUri, id: &str) -> Result<Vec<Box<RawValue>>, Error> {
        let mut url = self.url(&format!("{id}/providers/Microsoft.Authorization/roleAssignments"), ROLES_API)?;
        // Those of the vault and of all that it is in, but not those of single objects in it.
        url.query_pairs_mut().append_pair("$filter", "atScope()");
        self.list_raw(url, &format!("list the role assignments of vault {}", vault.host()), READ_ROLES).await
    }

    async fn diagnostic_settings(&self, vault: &VaultUri, id: &str) -> Result<Vec<Box<RawValue>>, Error> {
        let url: Url = self.url(&format!("{id}/providers/Microsoft.Insights/diagnosticSettings"), DIAGNOSTICS_API)?;
        self.list_raw(url, &format!("list the diagnostic settings of vault {}", vault.host()), READ_DIAGNOSTICS).await
    }
}

/// Why something about a vault could not be asked: nobody said where it is.
fn unplaced(what: &str, vault: &VaultUri, why: Option<&Error>) -> Error {
    let text = format!("couldn't list the {what} of vault {}: its resource id is not known", vault.host());
    let error = Error::new(why.map_or(Condition::Malformed, |why| why.condition), text);
    match why.and_then(|why| why.hint.clone()) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[async_trait]
impl Facts for Arm {
    async fn facts(&self, vault: &VaultUri) -> Result<VaultFacts, Error> {
        self.understood(vault, &self.vault(vault).await?).await
    }

    async fn atlas(&self, subscription: &str) -> Atlas {
        self.known_regions(subscription).await
    }

    async fn describe(&self, vault: &VaultUri) -> Description {
        let resource = self.vault(vault).await;
        let facts = async {
            match &resource {
                Ok(resource) => self.understood(vault, resource).await,
                Err(error) => Err(error.clone()),
            }
        };
        let Some(id) = self.id(vault, &resource) else {
            let facts = facts.await;
            let unplaced = |what: &str| unplaced(what, vault, resource.as_ref().err());
            return Description {
                facts,
                role_assignments: Err(unplaced("role assignments")),
                diagnostic_settings: Err(unplaced("diagnostic settings")),
                resource,
            };
        };
        let (facts, role_assignments, diagnostic_settings) =
            futures::join!(facts, self.role_assignments(vault, &id), self.diagnostic_settings(vault, &id));
        Description { facts, resource, role_assignments, diagnostic_settings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::fake::{Stage, answer};

    const ID: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/prod";
    const DENIED: &str = r#"{"error":{"code":"AuthorizationFailed","message":"no"}}"#;

    fn prod() -> VaultUri {
        VaultUri::parse("https://prod.vault.azure.net").unwrap()
    }

    fn resource() -> String {
        format!(
            r#"{{"id":"{ID}","location":"westeurope", "properties":{{"vaultUri":"https://prod.vault.azure.net/","sku":{{"name":"standard"}},"unheard":1.50}}}}"#
        )
    }

    fn none() -> crate::azure::fake::Step {
        answer(200, r#"{"value":[]}"#)
    }

    async fn described(stage: &Stage) -> Description {
        stage.connection.arm().unwrap().knowing(ID).describe(&prod()).await
    }

    #[tokio::test]
    async fn a_vault_is_described_in_few_reads_and_in_the_services_own_words() {
        let roles = r#"{"value":[{"id":"/r/1", "properties":{"principalId":"p"}}]}"#;
        let more = r#"{"value":[{"id":"/r/2"}],"nextLink":"https://management.azure.com/next?$skiptoken=1"}"#;
        let stage = Stage::new([
            answer(200, resource()),
            answer(200, r#"{"value":[]}"#),
            answer(200, more),
            answer(200, roles),
            answer(200, r#"{"value":[]}"#),
        ]);
        let told = described(&stage).await;
        assert_eq!(told.resource.unwrap().get(), resource());
        assert_eq!(told.facts.unwrap().sku, "standard");
        let roles: Vec<String> = told.role_assignments.unwrap().iter().map(|role| role.get().to_owned()).collect();
        assert_eq!(roles, [r#"{"id":"/r/2"}"#, r#"{"id":"/r/1", "properties":{"principalId":"p"}}"#]);
        assert!(told.diagnostic_settings.unwrap().is_empty() && stage.done());
        let urls: Vec<String> = stage.fake.log().into_iter().map(|sent| sent.url).collect();
        assert!(urls[1].contains("/subscriptions/s/locations?"), "{urls:?}");
        assert!(urls[2].contains("/vaults/prod/providers/Microsoft.Authorization/roleAssignments?"), "{urls:?}");
        assert!(urls[2].contains("%24filter=atScope%28%29"), "{urls:?}");
        assert!(
            urls[4].ends_with(
                "/vaults/prod/providers/Microsoft.Insights/diagnosticSettings?api-version=2021-05-01-preview"
            ),
            "{urls:?}"
        );
    }

    #[tokio::test]
    async fn each_part_is_denied_on_its_own_with_the_action_that_is_missing() {
        let stage = Stage::new([answer(200, resource()), none(), answer(403, DENIED), none()]);
        let told = described(&stage).await;
        assert!(told.resource.is_ok() && told.diagnostic_settings.is_ok());
        let error = told.role_assignments.unwrap_err();
        assert_eq!(error.condition, Condition::Denied);
        assert!(error.hint.unwrap().contains("Microsoft.Authorization/roleAssignments/read"));

        let stage = Stage::new([answer(200, resource()), none(), none(), answer(403, DENIED)]);
        let error = described(&stage).await.diagnostic_settings.unwrap_err();
        assert!(error.hint.unwrap().contains("Microsoft.Insights/diagnosticSettings/read"));
    }

    #[tokio::test]
    async fn a_resource_that_may_not_be_read_hides_the_rest_only_where_its_id_is_not_known() {
        let stage = Stage::new([answer(403, DENIED), none(), none()]);
        let told = described(&stage).await;
        assert_eq!(told.resource.unwrap_err().condition, Condition::Denied);
        assert!(told.role_assignments.is_ok() && told.diagnostic_settings.is_ok());

        let subscriptions = r#"{"value":[{"subscriptionId":"s"}]}"#;
        let stage = Stage::new([answer(200, subscriptions), answer(403, DENIED)]);
        let told = stage.connection.arm().unwrap().describe(&prod()).await;
        let error = told.role_assignments.unwrap_err();
        assert_eq!(error.condition, Condition::Denied);
        assert!(error.message.ends_with("its resource id is not known"), "{error}");
        assert!(error.hint.unwrap().contains("Microsoft.KeyVault/vaults/read"));
        assert_eq!(told.facts.unwrap_err().condition, Condition::Denied);
    }
}
