//! Resource Manager's JSON, field by field as recorded. Knows neither callers nor requests.

use serde_json::{Value, json};

use crate::emulator::blob::{AccountFacts, ContainerFacts};
use crate::emulator::regions::Region;
use crate::emulator::seed::{AccessPolicy, Diagnostic, Network, NetworkDefault, RoleAssignment, Sku, Worm};
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
    let policies: Vec<Value> =
        vault.settings.access_policies.iter().map(|policy| access_policy(policy, tenant_id)).collect();
    let mut properties = json!({
        "sku": {"family": "A", "name": sku},
        "tenantId": tenant_id,
        "accessPolicies": policies,
        "enabledForDeployment": false,
        "enableSoftDelete": true,
        "softDeleteRetentionInDays": vault.retention_days,
        "enableRbacAuthorization": policies.is_empty(),
        "vaultUri": format!("https://{}.vault.azure.net/", vault.name),
        "provisioningState": "Succeeded",
        "publicNetworkAccess": "Enabled",
    });
    // Absent, not false, where it is off: once on, it cannot be switched off.
    if vault.purge_protection {
        properties = with(properties, json!({"enablePurgeProtection": true}));
    }
    // Absent where nobody ever set any.
    if let Some(network) = &vault.settings.network {
        properties = with(properties, json!({"networkAcls": network_rules(network)}));
    }
    with(vault_resource(vault), json!({"properties": properties}))
}

fn access_policy(policy: &AccessPolicy, tenant_id: &str) -> Value {
    let AccessPolicy { object_id, keys, secrets, certificates } = policy;
    json!({
        "tenantId": tenant_id,
        "objectId": object_id,
        "permissions": {"keys": keys, "secrets": secrets, "certificates": certificates, "storage": []},
    })
}

fn network_rules(network: &Network) -> Value {
    let each = |name: &str, values: &[String]| values.iter().map(|value| json!({name: value})).collect::<Vec<_>>();
    let action = match network.default_action {
        NetworkDefault::Allow => "Allow",
        NetworkDefault::Deny => "Deny",
    };
    json!({
        "bypass": "AzureServices",
        "defaultAction": action,
        "ipRules": each("value", &network.ip_rules),
        "virtualNetworkRules": each("id", &network.subnets),
    })
}

/// A role assignment (DOC: the sample of Microsoft's reference). Its id is made up, and the same each time.
pub(super) fn role_assignment(vault: &VaultFacts, assignment: &RoleAssignment) -> Value {
    let subscription = format!("/subscriptions/{}", vault.subscription);
    let scope = match assignment.subscription {
        true => subscription.clone(),
        false => resource_id(&vault.subscription, VAULT, &vault.name),
    };
    let name = uuid_of(&format!("{scope}|{}|{}", assignment.role, assignment.principal));
    json!({
        "properties": {
            "roleDefinitionId":
                format!("{subscription}/providers/Microsoft.Authorization/roleDefinitions/{}", assignment.role),
            "principalId": assignment.principal,
            "principalType": "ServicePrincipal",
            "scope": scope,
        },
        "id": format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"),
        "type": "Microsoft.Authorization/roleAssignments",
        "name": name,
    })
}

/// What one assignment grants (DOC: the sample of Microsoft's reference). A principal of the seed has one list for both
/// planes: what could only be meant for data stands in one, what holds for both in each.
pub(super) fn permission(actions: &[String]) -> Value {
    const DATA: [&str; 7] = [
        "microsoft.keyvault/vaults/keys/",
        "microsoft.keyvault/vaults/secrets/",
        "microsoft.keyvault/vaults/certificates/",
        "microsoft.keyvault/vaults/certificatecas/",
        "microsoft.keyvault/vaults/certificatecontacts/",
        "microsoft.keyvault/vaults/keyrotationpolicies/",
        "microsoft.storage/storageaccounts/blobservices/containers/blobs/",
    ];
    let of_data = |action: &&String| DATA.iter().any(|data| action.to_ascii_lowercase().starts_with(data));
    let broad = |action: &&String| action.contains('*');
    let data: Vec<&String> = actions.iter().filter(|action| of_data(action) || broad(action)).collect();
    let management: Vec<&String> = actions.iter().filter(|action| !of_data(action)).collect();
    json!({"actions": management, "notActions": [], "dataActions": data, "notDataActions": []})
}

/// A diagnostic setting (DOC: the sample of Microsoft's reference).
pub(super) fn diagnostic_setting(vault: &VaultFacts, setting: &Diagnostic) -> Value {
    let vault = resource_id(&vault.subscription, VAULT, &vault.name);
    let log = |category: &String| json!({"category": category, "enabled": true, "retentionPolicy": {"enabled": false, "days": 0}});
    json!({
        "id": format!("{vault}/providers/microsoft.insights/diagnosticSettings/{}", setting.name),
        "type": "Microsoft.Insights/diagnosticSettings",
        "name": setting.name,
        "properties": {
            "workspaceId": setting.workspace,
            "metrics": [],
            "logs": setting.categories.iter().map(log).collect::<Vec<_>>(),
        },
    })
}

/// A UUID that is the same for the same text.
fn uuid_of(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
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
    let (Some(days), true) = (container.days, has_policy(container)) else {
        return json!({"immutabilityPeriodSinceCreationInDays": 0, "state": "Deleted"});
    };
    let mut properties = json!({
        "immutabilityPeriodSinceCreationInDays": days,
        "state": if container.locked { "Locked" } else { "Unlocked" },
    });
    // Shown where they were said (REC cli/test_immutability_policy #3, with_allow_protected_append_writes_all #3).
    for (name, value) in
        [("allowProtectedAppendWrites", container.appends), ("allowProtectedAppendWritesAll", container.appends_all)]
    {
        if let Some(value) = value {
            properties = with(properties, json!({name: value}));
        }
    }
    properties
}

fn has_policy(container: &ContainerFacts) -> bool {
    container.worm != Worm::None && container.days.is_some()
}

pub(super) fn container(account: &AccountFacts, container: &ContainerFacts, tenant_id: &str) -> Value {
    let id = container_id(account, container);
    // REC for no tag, DOC (the sample of Microsoft's reference) for some.
    let tags: Vec<Value> = container
        .holds
        .iter()
        .map(|hold| json!({"tag": hold.tag, "timestamp": hold.since, "objectIdentifier": hold.by, "tenantId": tenant_id}))
        .collect();
    let mut holds = json!({"hasLegalHold": container.legal_hold, "tags": tags});
    if let Some(appends) = container.held_appends {
        let since = container.holds.iter().map(|hold| hold.since.as_str()).max().unwrap_or_default();
        let history = json!({"allowProtectedAppendWritesAll": appends, "timestamp": since});
        holds = with(holds, json!({"protectedAppendWritesHistory": history}));
    }
    let mut properties = json!({
        "deleted": false,
        "remainingRetentionDays": 0,
        "defaultEncryptionScope": "$account-encryption-key",
        "denyEncryptionScopeOverride": false,
        "publicAccess": "None",
        "leaseStatus": "Unlocked",
        "leaseState": "Available",
        "legalHold": holds,
        "hasImmutabilityPolicy": has_policy(container),
        "hasLegalHold": container.legal_hold,
    });
    if has_policy(container) {
        // DOC: the sample of Microsoft's reference.
        let history: Vec<Value> = container
            .history
            .iter()
            .map(|it| {
                json!({
                    "update": it.update,
                    "immutabilityPeriodSinceCreationInDays": it.days,
                    "timestamp": it.at,
                    "objectIdentifier": it.by,
                    "tenantId": tenant_id,
                })
            })
            .collect();
        let policy = json!({
            "etag": quoted(&container.etag),
            "updateHistory": history,
            "properties": policy_properties(container),
        });
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

fn quoted(etag: &str) -> String {
    if etag.is_empty() { String::new() } else { format!("\"{etag}\"") }
}

/// The container's policy. One that never was or is gone reads as `Deleted` with 200 and an empty etag, not as 404.
pub(super) fn policy(account: &AccountFacts, container: &ContainerFacts) -> Value {
    json!({
        "etag": quoted(&container.etag),
        "id": format!("{}/immutabilityPolicies/default", container_id(account, container)),
        "name": "default",
        "type": "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies",
        "properties": policy_properties(container),
    })
}

/// What a change of legal holds answers. GUESS[hold-answer]: that it names all tags, and not those of the request alone.
pub(super) fn legal_hold(container: &ContainerFacts) -> Value {
    let tags: Vec<&str> = container.holds.iter().map(|hold| hold.tag.as_str()).collect();
    let told = json!({"hasLegalHold": container.legal_hold, "tags": tags});
    // REC cli/test_legal_hold_with_allow_protected_append_writes_all #4 to #7.
    match container.held_appends {
        Some(appends) => with(told, json!({"allowProtectedAppendWritesAll": appends})),
        None => told,
    }
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
