//! What the caller may do somewhere, as Resource Manager adds it up from role assignments (Microsoft's reference,
//! Microsoft.Authorization, Permissions - List For Resource). A read, however much it tells of what could be changed.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::vaults::doing;
use super::{Arm, READ_ACCOUNTS};
use crate::azure::classify::management_error;
use crate::azure::failure::Failure;
use crate::model::{Grant, Permissions, VaultUri};
use crate::store::Site;
use crate::vault::{Error, Rights};

const PERMISSIONS_API: &str = "2022-04-01";
const READ_PERMISSIONS: &str = "Microsoft.Authorization/permissions/read";

/// One item of the list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    actions: Vec<String>,
    #[serde(default)]
    not_actions: Vec<String>,
    #[serde(default)]
    data_actions: Vec<String>,
    #[serde(default)]
    not_data_actions: Vec<String>,
}

/// What one item of the list grants.
pub(super) fn grant(item: Value) -> Option<Grant> {
    let Item { actions, not_actions, data_actions, not_data_actions } = serde_json::from_value(item).ok()?;
    Some(Grant { actions, not_actions, data_actions, not_data_actions })
}

impl Arm {
    async fn permissions(&self, id: &str, what: &str) -> Result<Permissions, Error> {
        let doing = format!("ask what this identity may do with {what}");
        let path = format!("{id}/providers/Microsoft.Authorization/permissions");
        let list = self.list(&path, PERMISSIONS_API, &doing, READ_PERMISSIONS).await?;
        let grants: Option<Vec<Grant>> = list.into_iter().map(grant).collect();
        grants.map(Permissions).ok_or_else(|| {
            let host = self.endpoint.host_str().unwrap_or_default();
            let failure = Failure::malformed("an item in it is no list of permissions".to_owned());
            management_error(&failure, host, &doing, READ_PERMISSIONS)
        })
    }

    /// What the caller may do with the container at `address`: all that is granted there and above.
    pub(in crate::azure) async fn container_rights(&self, address: &Url) -> Result<Permissions, Error> {
        let account = self.account(address).await?;
        let id = account.get("id").and_then(Value::as_str).unwrap_or_default();
        let container = address.path().trim_matches('/');
        self.permissions(&format!("{id}/blobServices/default/containers/{container}"), &format!("container {address}"))
            .await
    }

    /// Where the storage account of the container at `address` is.
    pub(in crate::azure) async fn site(&self, address: &Url) -> Result<Site, Error> {
        let account = self.account(address).await?;
        let text = |name: &str| account.get(name).and_then(Value::as_str);
        let subscription = text("id").and_then(|id| id.split('/').nth(2)).filter(|id| !id.is_empty());
        match (subscription, text("location")) {
            (Some(subscription), Some(location)) => {
                Ok(Site { subscription: subscription.to_owned(), location: location.to_lowercase().replace(' ', "") })
            }
            _ => {
                let host = self.endpoint.host_str().unwrap_or_default();
                let failure = Failure::malformed("it does not say where the account is".to_owned());
                let doing = format!("find the storage account of {}", address.host_str().unwrap_or_default());
                Err(management_error(&failure, host, &doing, READ_ACCOUNTS))
            }
        }
    }
}

#[async_trait]
impl Rights for Arm {
    async fn rights(&self, vault: &VaultUri) -> Result<Permissions, Error> {
        let resource = self.vault(vault).await;
        match self.id(vault, &resource) {
            Some(id) => self.permissions(&id, &format!("vault {}", vault.host())).await,
            None => Err(match resource {
                Err(error) => error,
                Ok(_) => {
                    let host = self.endpoint.host_str().unwrap_or_default();
                    let failure = Failure::malformed("it does not say the vault's id".to_owned());
                    management_error(&failure, host, &doing(vault), READ_PERMISSIONS)
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azure::fake::{Stage, answer};
    use crate::vault::Condition;

    const VAULT: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/prod";
    const ACCOUNT: &str = "/subscriptions/s2/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/archive";

    fn vault() -> String {
        format!(
            r#"{{"id":"{VAULT}","location":"westeurope","properties":{{"vaultUri":"https://prod.vault.azure.net/"}}}}"#
        )
    }

    #[tokio::test]
    async fn assignments_are_read_to_the_last_page() {
        let next = "https://management.azure.com/next?$skiptoken=1";
        let stage = Stage::new([
            answer(200, vault()),
            answer(200, format!(r#"{{"value":[{{"actions":["*/read"],"notActions":["b"]}}],"nextLink":"{next}"}}"#)),
            answer(200, r#"{"value":[{"actions":[],"dataActions":["Microsoft.KeyVault/*"],"notDataActions":["c"]}]}"#),
        ]);
        let uri = VaultUri::parse("https://prod.vault.azure.net").unwrap();
        let rights = stage.connection.arm().unwrap().knowing(VAULT).rights(&uri).await.unwrap();
        assert_eq!(rights.0.len(), 2);
        assert!(rights.allow("Microsoft.X/read") && rights.allow_data("Microsoft.KeyVault/vaults/keys/delete"));
        assert_eq!((rights.0[0].not_actions.len(), rights.0[1].not_data_actions.len()), (1, 1));
        let urls: Vec<String> = stage.fake.log().into_iter().map(|sent| sent.url).collect();
        assert!(urls[1].ends_with("/vaults/prod/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"));
        assert!(stage.fake.log().iter().all(|sent| sent.method == "GET"));
    }

    #[tokio::test]
    async fn who_may_not_ask_hears_which_action_is_missing_and_nonsense_is_not_no_permission() {
        let denied = r#"{"error":{"code":"AuthorizationFailed","message":"no"}}"#;
        let uri = VaultUri::parse("https://prod.vault.azure.net").unwrap();
        for (status, body, condition) in
            [(403, denied, Condition::Denied), (200, r#"{"value":[{"dataActions":["*"]}]}"#, Condition::Malformed)]
        {
            let stage = Stage::new([answer(200, vault()), answer(status, body)]);
            let error = stage.connection.arm().unwrap().knowing(VAULT).rights(&uri).await.unwrap_err();
            assert_eq!(error.condition, condition, "{error}");
            assert_eq!(error.hint.is_some_and(|hint| hint.contains(READ_PERMISSIONS)), status == 403);
        }
    }

    #[tokio::test]
    async fn a_container_is_asked_about_by_its_own_scope_which_inherits() {
        let account = format!(
            r#"{{"id":"{ACCOUNT}","location":"North Europe","properties":{{"primaryEndpoints":{{"blob":"https://archive.blob.core.windows.net/"}}}}}}"#
        );
        let stage = Stage::new([answer(200, account.clone()), answer(200, r#"{"value":[]}"#), answer(200, account)]);
        let arm = stage.connection.arm().unwrap().knowing(ACCOUNT);
        let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
        assert_eq!(arm.container_rights(&address).await.unwrap(), Permissions::default());
        let asked = stage.fake.log().pop().unwrap().url;
        assert!(asked.contains("/archive/blobServices/default/containers/vaults/providers/Microsoft.Authorization/"));
        let site = arm.site(&address).await.unwrap();
        assert_eq!((site.subscription.as_str(), site.location.as_str()), ("s2", "northeurope"));
    }
}
