//! Azure Resource Manager: what only the management plane knows. Where a vault is and how it is set up, and whether a
//! container's policy is locked (`azure.md` §5, §7.3). Reads, all but `retention`, which lengthens and holds; goes through
//! the SDK's pipeline, for there is no crate.

mod discover;
mod regions;
mod retention;
mod rights;
mod vaults;

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_core::http::{ClientOptions, Method, Pipeline, Request};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::bodies;
use super::classify::management_error;
use super::failure::Failure;
use super::retry::Caller;
use super::trail::Trail;
use crate::model::{Atlas, Mode};
use crate::vault::{Condition, Error, Load};
pub(super) use regions::Regions;
pub(super) use retention::{Change, Standing};

const SUBSCRIPTIONS_API: &str = "2022-12-01";
const STORAGE_API: &str = "2023-05-01";

/// More entries than any list has: a subscription may hold a few thousand vaults.
const LONGEST_LIST: usize = 100_000;

const READ_SUBSCRIPTIONS: &str = "Microsoft.Resources/subscriptions/read";
const READ_ACCOUNTS: &str = "Microsoft.Storage/storageAccounts/read";
const READ_POLICIES: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/read";

/// Azure Resource Manager, reached with one identity.
pub struct Arm {
    endpoint: Url,
    pipeline: Pipeline,
    caller: Caller,
    known: Vec<String>,
    atlas: Atlas,
    regions: Arc<Regions>,
}

/// The default policy of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retention {
    /// Whether there is one and whether it is locked.
    pub(super) mode: Mode,
    /// Its days.
    pub(super) days: Option<u32>,
}

impl Arm {
    /// The management plane at `endpoint`, which takes tokens of `scope`.
    pub(super) fn new(
        endpoint: Url,
        scope: String,
        credential: Arc<dyn TokenCredential>,
        options: ClientOptions,
        caller: Caller,
        regions: Arc<Regions>,
    ) -> Self {
        let authorisation = BearerTokenAuthorizationPolicy::new(credential, [scope]);
        let pipeline = Pipeline::new(
            option_env!("CARGO_PKG_NAME"),
            option_env!("CARGO_PKG_VERSION"),
            options,
            Vec::new(),
            vec![Arc::new(authorisation)],
            None,
        );
        Arm { endpoint, pipeline, caller, known: Vec::new(), atlas: Atlas::default(), regions }
    }

    /// Adds a resource id that the operator gave, `/subscriptions/…`, of a vault or a storage account. It saves the
    /// search through all subscriptions, and the permission to list them.
    #[must_use]
    pub fn knowing(mut self, resource_id: impl Into<String>) -> Self {
        self.known.push(resource_id.into());
        self
    }

    /// Believes `atlas`, what the operator says of regions, before the service.
    #[must_use]
    pub fn believing(mut self, atlas: Atlas) -> Self {
        self.atlas = atlas;
        self
    }

    /// Gets one resource, as it is written.
    async fn get_raw(&self, url: Url, doing: &str, action: &str) -> Result<Box<RawValue>, Error> {
        let pipeline = &self.pipeline;
        let operation = |context: azure_core::http::Context<'static>| {
            let mut request = Request::new(url.clone(), Method::Get);
            request.insert_header("accept", "application/json");
            async move { pipeline.send(&context, &mut request, None).await.map(drop) }
        };
        let host = self.endpoint.host_str().unwrap_or_default();
        let told = |failure: &Failure| management_error(failure, host, doing, action);
        let read = self.caller.read(Load::Transaction, operation, |answer| bodies::object(&answer.body)).await;
        Ok(read.map_err(|failure| told(&failure))?.0)
    }

    /// Gets one resource, to look at.
    async fn get(&self, url: Url, doing: &str, action: &str) -> Result<Value, Error> {
        Ok(value(&self.get_raw(url, doing, action).await?))
    }

    /// Gets a list, all pages of it, to look at.
    async fn list(&self, path: &str, version: &str, doing: &str, action: &str) -> Result<Vec<Value>, Error> {
        let list = self.list_raw(self.url(path, version)?, doing, action).await?;
        Ok(list.iter().map(|item| value(item)).collect())
    }

    /// Gets a list, all pages of it, its items as they are written.
    async fn list_raw(&self, mut url: Url, doing: &str, action: &str) -> Result<Vec<Box<RawValue>>, Error> {
        let host = self.endpoint.host_str().unwrap_or_default();
        let malformed = |why: String| management_error(&Failure::malformed(why), host, doing, action);
        let mut trail = Trail::new(self.endpoint.clone());
        let mut all = Vec::new();
        loop {
            let body = self.get_raw(url, doing, action).await?;
            let page = bodies::list_page(body.get().as_bytes()).map_err(malformed)?;
            all.extend(page.items);
            if all.len() > LONGEST_LIST {
                return Err(malformed(format!("the list has more than {LONGEST_LIST} entries")));
            }
            match page.next {
                Some(link) => url = trail.follow(&link).map_err(malformed)?,
                None => return Ok(all),
            }
        }
    }

    /// The address of a resource. Ids come from answers and settings; they may name a path and nothing else.
    fn url(&self, path: &str, version: &str) -> Result<Url, Error> {
        let mut url = self.endpoint.clone();
        let plain = path.starts_with('/') && !path.split('/').any(|segment| segment == "." || segment == "..");
        if !plain || path.contains(['?', '#', '\\', '%']) {
            return Err(Error::new(Condition::Rejected, format!("{path:?} is no resource id")));
        }
        url.set_path(path);
        url.query_pairs_mut().append_pair("api-version", version);
        Ok(url)
    }

    async fn subscriptions(&self) -> Result<Vec<String>, Error> {
        let list = self.list("/subscriptions", SUBSCRIPTIONS_API, "list subscriptions", READ_SUBSCRIPTIONS).await?;
        Ok(list.iter().filter_map(|item| Some(item.get("subscriptionId")?.as_str()?.to_owned())).collect())
    }

    /// Looks for a resource through every subscription that this identity sees.
    async fn search(&self, sought: &Sought<'_>) -> Result<Box<RawValue>, Error> {
        for id in self.known.iter().filter(|id| mentions(id, sought.provider)) {
            let resource = self.get_raw(self.url(id, sought.version)?, &sought.doing, sought.action).await?;
            if (sought.fits)(&value(&resource)) {
                return Ok(resource);
            }
        }
        let mut refused = None;
        for subscription in self.subscriptions().await? {
            let path = format!("/subscriptions/{subscription}/providers/{}", sought.provider);
            match self.list_raw(self.url(&path, sought.version)?, &sought.doing, sought.action).await {
                Ok(list) => {
                    if let Some(found) = list.into_iter().find(|resource| (sought.fits)(&value(resource))) {
                        return Ok(found);
                    }
                }
                // It may stand in another one; if not, this is why it was not found.
                Err(error) if error.condition == Condition::Denied => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let text = format!("couldn't {}: no subscription that this identity sees has it", sought.doing);
            Error::new(Condition::NotFound, text).hint(format!("grant the identity {}", sought.action))
        }))
    }

    /// The storage account of the container at `address`.
    async fn account(&self, address: &Url) -> Result<Value, Error> {
        let host = address.host_str().unwrap_or_default();
        let sought = Sought {
            provider: "Microsoft.Storage/storageAccounts",
            version: STORAGE_API,
            doing: format!("find the storage account of {host}"),
            action: READ_ACCOUNTS,
            fits: &|account: &Value| {
                let endpoint = properties(account, "primaryEndpoints").and_then(|all| all.get("blob")?.as_str());
                endpoint.and_then(|text| Url::parse(text).ok()).is_some_and(|url| url.host_str() == Some(host))
            },
        };
        Ok(value(&self.search(&sought).await?))
    }

    /// The default policy of the container at `address`: the container's own, or else its account's.
    pub(super) async fn retention(&self, address: &Url) -> Result<Retention, Error> {
        let container = address.path().trim_matches('/');
        let account = self.account(address).await?;
        let id = account.get("id").and_then(Value::as_str).unwrap_or_default();
        let path = format!("{id}/blobServices/default/containers/{container}/immutabilityPolicies/default");
        let doing = format!("read the immutability policy of container {address}");
        let own = match self.get(self.url(&path, STORAGE_API)?, &doing, READ_POLICIES).await {
            Ok(policy) => retention(policy.get("properties")),
            Err(error) if error.condition == Condition::NotFound => retention(None),
            Err(error) => return Err(error),
        };
        if own.mode != Mode::None {
            return Ok(own);
        }
        let inherited = properties(&account, "immutableStorageWithVersioning");
        Ok(retention(inherited.and_then(|immutable| immutable.get("immutabilityPolicy"))))
    }
}

/// A resource that is looked for.
struct Sought<'a> {
    provider: &'static str,
    version: &'static str,
    doing: String,
    action: &'static str,
    fits: &'a (dyn Fn(&Value) -> bool + Sync),
}

/// What is written there, to look at. Every document that gets here is an object.
fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// Whether a resource id is of a type. Ids compare without case.
fn mentions(id: &str, provider: &str) -> bool {
    id.to_ascii_lowercase().contains(&format!("/{}/", provider.to_ascii_lowercase()))
}

fn properties<'a>(resource: &'a Value, name: &str) -> Option<&'a Value> {
    resource.get("properties")?.get(name)
}

/// Reads `state` and days of a policy. A deleted policy still answers, with zero days.
fn retention(policy: Option<&Value>) -> Retention {
    let days = policy
        .and_then(|policy| policy.get("immutabilityPeriodSinceCreationInDays")?.as_u64())
        .and_then(|days| u32::try_from(days).ok())
        .filter(|days| *days > 0);
    let state = policy.and_then(|policy| policy.get("state")?.as_str()).unwrap_or_default();
    let mode = match (state.to_ascii_lowercase().as_str(), days) {
        (_, None) | ("deleted" | "disabled" | "", _) => Mode::None,
        ("locked", _) => Mode::Locked,
        _ => Mode::Unlocked,
    };
    Retention { mode, days }
}

/// How many of the things that are read of resources are in this one.
#[cfg(feature = "fuzzing")]
pub(super) fn read_any(resource: &RawValue) -> usize {
    let found = value(resource);
    let known = [
        retention(found.get("properties")).days.is_some(),
        regions::shown(&found).is_some(),
        rights::grant(found.clone()).is_some(),
        retention::tells(&found),
        discover::sighting(found).is_some(),
    ];
    known.into_iter().filter(|known| *known).count()
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Stage, Step, answer};
    use super::*;
    use crate::model::{SoftDelete, VaultUri, geography_of};
    use crate::store::{Read as _, Worm};
    use crate::vault::Facts as _;

    const SUBSCRIPTIONS: &str = r#"{"value":[{"subscriptionId":"s1"},{"subscriptionId":"s2"}]}"#;
    const DENIED: &str =
        r#"{"error":{"code":"AuthorizationFailed","message":"The client 'x' does not have authorization"}}"#;

    fn vault(name: &str) -> String {
        format!(
            r#"{{"id":"/subscriptions/s2/resourceGroups/g/providers/Microsoft.KeyVault/vaults/{name}","location":"West Europe","properties":{{"vaultUri":"https://{name}.vault.azure.net/","sku":{{"family":"A","name":"premium"}},"enablePurgeProtection":true,"softDeleteRetentionInDays":30,"enableRbacAuthorization":true}}}}"#
        )
    }

    fn prod() -> VaultUri {
        VaultUri::parse("https://prod.vault.azure.net").unwrap()
    }

    #[tokio::test]
    async fn a_vault_is_found_by_its_host_through_pages_and_subscriptions() {
        let next = "https://management.azure.com/subscriptions/s2/providers/Microsoft.KeyVault/vaults?$skiptoken=1";
        let stage = Stage::new([
            answer(200, SUBSCRIPTIONS),
            answer(403, DENIED),
            answer(200, format!(r#"{{"value":[{}],"nextLink":"{next}"}}"#, vault("other"))),
            answer(200, format!(r#"{{"value":[{}]}}"#, vault("Prod"))),
            answer(403, DENIED),
        ]);
        let facts = stage.connection.arm().unwrap().facts(&prod()).await.unwrap();
        assert_eq!(facts.place.subscription, "s2");
        assert_eq!((facts.place.location.as_str(), facts.sku.as_str()), ("westeurope", "premium"));
        assert_eq!(facts.place.geography, geography_of("westeurope"));
        assert_eq!(facts.soft_delete, SoftDelete { enabled: true, retention_days: 30, purge_protection: true });
        assert!(facts.rbac && stage.done());
    }

    #[tokio::test]
    async fn a_vault_that_is_not_found_says_whether_permission_is_why() {
        let stage = Stage::new([answer(200, SUBSCRIPTIONS), answer(403, DENIED), answer(200, r#"{"value":[]}"#)]);
        let error = stage.connection.arm().unwrap().facts(&prod()).await.unwrap_err();
        assert_eq!(error.condition, Condition::Denied);
        assert!(error.hint.unwrap().contains("Microsoft.KeyVault/vaults/read"));

        let stage = Stage::new([answer(200, r#"{"value":[]}"#)]);
        let error = stage.connection.arm().unwrap().facts(&prod()).await.unwrap_err();
        assert_eq!(error.condition, Condition::NotFound);
    }

    #[tokio::test]
    async fn trap_a_link_to_another_host_gets_no_token() {
        let stage = Stage::new([answer(200, r#"{"value":[],"nextLink":"https://evil.example/subscriptions"}"#)]);
        let error = stage.connection.arm().unwrap().facts(&prod()).await.unwrap_err();
        assert_eq!(error.condition, Condition::Malformed);
        assert!(stage.fake.log().iter().all(|sent| sent.url.starts_with("https://management.azure.com/")));
    }

    #[tokio::test]
    async fn a_known_id_saves_the_search() {
        let stage = Stage::new([answer(200, vault("prod")), answer(403, DENIED)]);
        let id = "/subscriptions/s2/resourceGroups/g/providers/microsoft.keyvault/vaults/prod";
        stage.connection.arm().unwrap().knowing(id).facts(&prod()).await.unwrap();
        assert!(stage.fake.log()[0].url.starts_with("https://management.azure.com/subscriptions/s2/resourceGroups/g/"));
    }

    #[tokio::test]
    async fn an_id_cannot_lead_out_of_its_path() {
        let stage = Stage::new([]);
        let arm = stage.connection.arm().unwrap();
        for wrong in ["//evil.example/x", "/a/../b", "/a?x", "/a#x", "a", "/a\\b", "/%2e%2e/"] {
            let url = arm.url(wrong, "1");
            assert!(url.is_err() || url.unwrap().host_str() == Some("management.azure.com"), "{wrong}");
        }
        assert!(arm.url("/a/../b", "1").is_err());
    }

    fn account(policy: &str) -> Step {
        answer(
            200,
            format!(
                r#"{{"value":[{{"id":"/subscriptions/s1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/archive","properties":{{"primaryEndpoints":{{"blob":"https://archive.blob.core.windows.net/"}}{policy}}}}}]}}"#
            ),
        )
    }

    #[tokio::test]
    async fn the_lock_is_the_containers_or_else_the_accounts_and_unknown_if_denied() {
        let one = || answer(200, r#"{"value":[{"subscriptionId":"s1"}]}"#);
        let own = |state: &str, days: u32| {
            answer(
                200,
                format!(r#"{{"properties":{{"state":"{state}","immutabilityPeriodSinceCreationInDays":{days}}}}}"#),
            )
        };
        let inherited = r#","immutableStorageWithVersioning":{"enabled":true,"immutabilityPolicy":{"immutabilityPeriodSinceCreationInDays":30,"state":"Locked"}}"#;
        for (account, policy, lock, days) in [
            (account(""), own("Locked", 365), Some(Mode::Locked), Some(365)),
            (account(""), own("Unlocked", 365), Some(Mode::Unlocked), Some(365)),
            (account(""), own("Deleted", 0), Some(Mode::None), None),
            (account(inherited), own("Deleted", 0), Some(Mode::Locked), Some(30)),
            (account(""), answer(403, DENIED), None, None),
        ] {
            let stage = Stage::new([answer(200, ""), one(), account, policy]);
            let arm = Arc::new(stage.connection.arm().unwrap());
            let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
            let guard = stage.connection.container(&address, Some(arm)).unwrap().guard().await.unwrap();
            assert_eq!((guard.worm, guard.lock, guard.days), (Worm::None, lock, days));
            assert!(stage.done());
        }
    }
}
