//! Resource Manager's JSON, field by field as recorded. Knows neither callers nor requests.

use serde_json::{Value, json};

use crate::emulator::blob::{AccountFacts, ContainerFacts};
use crate::emulator::regions::Region;
use crate::emulator::seed::{Sku, Worm};
use crate::emulator::vault::VaultFacts;

/// The resource type of vaults.
pub(super) const VAULT: &str = "Microsoft.KeyVault/vaults";
/// The resource type of storage accounts.
pub(super) const ACCOUNT: &str = "Microsoft.Storage/storageAccounts";

/// The resource group of a vault or account: one each, named after it.
pub(super) fn group_of(name: &str) -> String {
    format!("rg-{}", name.to_ascii_lowercase())
}

fn resource_id(subscription: &str, kind: &str, name: &str) -> String {
    format!("/subscriptions/{subscription}/resourceGroups/{}/providers/{kind}/{name}", group_of(name))
}

pub(super) fn tenant(id: &str) -> Value {
    json!({"id": format!("/tenants/{id}"), "tenantId": id, "displayName": "akv-archiver emulator"})
}

pub(super) fn subscription(id: &str, tenant_id: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{id}"),
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": id,
        "tenantId": tenant_id,
        "displayName": format!("Emulated {}", id.split('-').next().unwrap_or(id)),
        "state": "Enabled",
        "subscriptionPolicies":
            {"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
    })
}

pub(super) fn location(subscription: &str, region: &Region) -> Value {
    let id = |name: &str| format!("/subscriptions/{subscription}/locations/{name}");
    let pairs: Vec<Value> = region.paired.iter().map(|name| json!({"name": name, "id": id(name)})).collect();
    json!({
        "id": id(region.name),
        "name": region.name,
        "type": "Region",
        "displayName": region.display,
        "regionalDisplayName": format!("({}) {}", region.group, region.display),
        "metadata": {
            "regionType": "Physical",
            "regionCategory": "Recommended",
            "geography": region.geography,
            "geographyGroup": region.group,
            "pairedRegion": pairs,
        },
    })
}

pub(super) fn logical(subscription: &str, name: &str, display: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{subscription}/locations/{name}"),
        "name": name,
        "type": "Region",
        "displayName": display,
        "regionalDisplayName": display,
        "metadata": {"regionType": "Logical", "regionCategory": "Other"},
    })
}

pub(super) fn group(subscription: &str, name: &str, location: &str) -> Value {
    let group = group_of(name);
    json!({
        "id": format!("/subscriptions/{subscription}/resourceGroups/{group}"),
        "name": group,
        "type": "Microsoft.Resources/resourceGroups",
        "location": location,
        "tags": {},
        "properties": {"provisioningState": "Succeeded"},
    })
}

fn resource(subscription: &str, kind: &str, name: &str, location: &str) -> Value {
    json!({
        "id": resource_id(subscription, kind, name),
        "name": name,
        "type": kind,
        "location": location,
        "tags": {},
    })
}

pub(super) fn vault_resource(vault: &VaultFacts) -> Value {
    with(resource(&vault.subscription, VAULT, &vault.name, &vault.location), json!({"tags": vault.tags}))
}

pub(super) fn account_resource(account: &AccountFacts) -> Value {
    resource(&account.subscription, ACCOUNT, &account.name, &account.location)
}

/// Adds fields to a JSON object.
fn with(mut value: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
        fields.extend(more);
    }
    value
}

pub(super) fn vault(vault: &VaultFacts, tenant_id: &str) -> Value {
    let sku = match vault.sku {
        Sku::Standard => "standard",
        Sku::Premium => "premium",
    };
    let mut properties = json!({
        "sku": {"family": "A", "name": sku},
        "tenantId": tenant_id,
        "accessPolicies": [],
        "enabledForDeployment": false,
        "enableSoftDelete": true,
        "softDeleteRetentionInDays": vault.retention_days,
        "enableRbacAuthorization": true,
        "vaultUri": format!("https://{}.vault.azure.net/", vault.name),
        "provisioningState": "Succeeded",
        "publicNetworkAccess": "Enabled",
    });
    // Absent, not false, where it is off: once on, it cannot be switched off.
    if vault.purge_protection {
        properties = with(properties, json!({"enablePurgeProtection": true}));
    }
    with(vault_resource(vault), json!({"properties": properties}))
}

pub(super) fn account(account: &AccountFacts) -> Value {
    let endpoint = |service: &str| format!("https://{}.{service}.core.windows.net/", account.name);
    let more = json!({
        "sku": {"name": "Standard_LRS", "tier": "Standard"},
        "kind": "StorageV2",
        "identity": {"type": "None"},
        "properties": {
            "dnsEndpointType": "Standard",
            "publicNetworkAccess": "Enabled",
            "allowCrossTenantReplication": false,
            "privateEndpointConnections": [],
            "isNfsV3Enabled": false,
            "isLocalUserEnabled": false,
            "isSftpEnabled": false,
            "minimumTlsVersion": "TLS1_2",
            "allowBlobPublicAccess": false,
            "allowSharedKeyAccess": false,
            "isHnsEnabled": false,
            "networkAcls":
                {"bypass": "AzureServices", "virtualNetworkRules": [], "ipRules": [], "defaultAction": "Allow"},
            "supportsHttpsTrafficOnly": true,
            "encryption": {
                "services": {"blob": {"keyType": "Account", "enabled": true}},
                "keySource": "Microsoft.Storage",
            },
            "accessTier": "Hot",
            "provisioningState": "Succeeded",
            "primaryEndpoints": {"blob": endpoint("blob")},
            "primaryLocation": account.location,
            "statusOfPrimary": "available",
        },
    });
    with(account_resource(account), more)
}

pub(super) fn blob_service(account: &AccountFacts) -> Value {
    let versioning = account.containers.iter().any(|container| container.worm == Worm::VersionLevel);
    let mut properties = json!({
        "cors": {"corsRules": []},
        "deleteRetentionPolicy": {"allowPermanentDelete": false, "enabled": false},
    });
    // Version-level immutability needs versioning; where it is off, Azure leaves the field out.
    if versioning {
        properties = with(properties, json!({"isVersioningEnabled": true}));
    }
    json!({
        "sku": {"name": "Standard_LRS", "tier": "Standard"},
        "id": format!("{}/blobServices/default", resource_id(&account.subscription, ACCOUNT, &account.name)),
        "name": "default",
        "type": "Microsoft.Storage/storageAccounts/blobServices",
        "properties": properties,
    })
}

fn container_id(account: &AccountFacts, container: &ContainerFacts) -> String {
    let account = resource_id(&account.subscription, ACCOUNT, &account.name);
    format!("{account}/blobServices/default/containers/{}", container.name)
}

fn etag(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let hex: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn policy_properties(container: &ContainerFacts) -> Value {
    match (container.worm, container.days) {
        (Worm::None, _) | (_, None) => json!({"immutabilityPeriodSinceCreationInDays": 0, "state": "Deleted"}),
        (_, Some(days)) => json!({
            "allowProtectedAppendWrites": false,
            "allowProtectedAppendWritesAll": false,
            "immutabilityPeriodSinceCreationInDays": days,
            "state": if container.locked { "Locked" } else { "Unlocked" },
        }),
    }
}

fn has_policy(container: &ContainerFacts) -> bool {
    container.worm != Worm::None && container.days.is_some()
}

pub(super) fn container(account: &AccountFacts, container: &ContainerFacts) -> Value {
    let id = container_id(account, container);
    let tags = if container.legal_hold { json!([{"tag": "emulator"}]) } else { json!([]) };
    let mut properties = json!({
        "deleted": false,
        "remainingRetentionDays": 0,
        "defaultEncryptionScope": "$account-encryption-key",
        "denyEncryptionScopeOverride": false,
        "publicAccess": "None",
        "leaseStatus": "Unlocked",
        "leaseState": "Available",
        "legalHold": {"hasLegalHold": container.legal_hold, "tags": tags},
        "hasImmutabilityPolicy": has_policy(container),
        "hasLegalHold": container.legal_hold,
    });
    if has_policy(container) {
        let policy = policy_properties(container);
        let policy = json!({"etag": etag(&format!("{id}{policy}")), "properties": policy});
        properties = with(properties, json!({"immutabilityPolicy": policy}));
    }
    if container.worm == Worm::VersionLevel {
        properties = with(properties, json!({"immutableStorageWithVersioning": {"enabled": true}}));
    }
    json!({
        "etag": etag(&id),
        "id": id,
        "name": container.name,
        "type": "Microsoft.Storage/storageAccounts/blobServices/containers",
        "properties": properties,
    })
}

/// The container's policy. One that never was or is gone reads as `Deleted` with 200 and an empty etag, not as 404.
pub(super) fn policy(account: &AccountFacts, container: &ContainerFacts) -> Value {
    let id = format!("{}/immutabilityPolicies/default", container_id(account, container));
    let properties = policy_properties(container);
    json!({
        "etag": if has_policy(container) { etag(&format!("{id}{properties}")) } else { String::new() },
        "id": id,
        "name": "default",
        "type": "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies",
        "properties": properties,
    })
}

/// The cloud's endpoints. The 2019 version of the interface lists clouds, later ones describe their own.
pub(super) fn endpoints(api_version: Option<&str>) -> Value {
    let cloud = json!({
        "name": "AzureCloud",
        "portal": "https://portal.azure.com",
        "authentication": {
            "loginEndpoint": "https://login.microsoftonline.com",
            "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "media": "https://rest.media.azure.net",
        "graphAudience": "https://graph.windows.net/",
        "graph": "https://graph.windows.net/",
        "activeDirectoryDataLake": "https://datalake.azure.net/",
        "batch": "https://batch.core.windows.net/",
        "resourceManager": "https://management.azure.com/",
        "microsoftGraphResourceId": "https://graph.microsoft.com/",
        "sqlManagement": "https://management.core.windows.net:8443/",
        "gallery": "https://gallery.azure.com/",
        "suffixes": {
            "storage": "core.windows.net",
            "keyVaultDns": "vault.azure.net",
            "mhsmDns": "managedhsm.azure.net",
            "sqlServerHostname": "database.windows.net",
            "acrLoginServer": "azurecr.io",
        },
    });
    if api_version.is_some_and(|version| version < "2020") { json!([cloud]) } else { cloud }
}
