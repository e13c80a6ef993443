//! Resource Manager: what it tells of vaults, accounts and policies, and to whom.

use super::*;

const SUBSCRIPTION: &str = "https://management.azure.com/subscriptions/11111111-1111-1111-1111-111111111111";
const ACCOUNT: &str = "https://management.azure.com/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/\
                       rg-archive/providers/Microsoft.Storage/storageAccounts/archive";
const ARM: &str = "https://management.azure.com/.default";

async fn read(azure: &Azure, token: &str, url: String) -> Value {
    let (status, body) = azure.get(&url, token).await;
    assert_eq!(status, 200, "{url}: {body}");
    body
}

#[tokio::test]
async fn a_vault_shows_what_a_restore_must_know() {
    let azure = Azure::start();
    let token = azure.token(ARM).await;
    let group = format!("{SUBSCRIPTION}/resourcegroups/RG-PROD/providers/Microsoft.KeyVault/vaults");
    let vault = read(&azure, &token, format!("{group}/Prod?api-version=2024-11-01")).await;
    assert_eq!(
        vault["id"],
        "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-prod/providers/Microsoft.KeyVault/vaults/prod"
    );
    assert_eq!(vault["location"], "westeurope");
    let properties = &vault["properties"];
    assert_eq!(properties["sku"], json!({"family": "A", "name": "premium"}));
    assert_eq!(properties["tenantId"], json!(azure.emulator.ready().tenant_id));
    assert_eq!(
        (&properties["enablePurgeProtection"], &properties["softDeleteRetentionInDays"]),
        (&json!(true), &json!(30))
    );
    assert_eq!(properties["vaultUri"], "https://prod.vault.azure.net/");

    // Where purge protection is off, the field is absent.
    let filter = "$filter=resourceType%20eq%20%27Microsoft.KeyVault%2Fvaults%27%20and%20name%20eq%20%27test%27";
    let found = read(&azure, &token, format!("{SUBSCRIPTION}/resources?{filter}&api-version=2015-11-01")).await;
    let id = found["value"][0]["id"].as_str().unwrap();
    assert_eq!(found["value"].as_array().unwrap().len(), 1);
    let test = read(&azure, &token, format!("https://management.azure.com{id}?api-version=2024-11-01")).await;
    assert_eq!(test["properties"].get("enablePurgeProtection"), None);
}

#[tokio::test]
async fn the_settings_of_a_vault_are_those_of_the_seed() {
    let azure = Azure::start();
    let token = azure.token(ARM).await;
    let vault = format!("{SUBSCRIPTION}/resourceGroups/rg-prod/providers/Microsoft.KeyVault/vaults/prod");
    let shown = read(&azure, &token, format!("{vault}?api-version=2026-02-01")).await;
    assert_eq!(shown["tags"], json!({"owner": "payments"}));
    let properties = &shown["properties"];
    assert_eq!(
        properties["networkAcls"],
        json!({
            "bypass": "AzureServices",
            "defaultAction": "Deny",
            "ipRules": [{"value": "1.2.3.4/32"}],
            "virtualNetworkRules": [{"id": "/subscriptions/s/subnets/a"}],
        })
    );
    let policy = &properties["accessPolicies"][0];
    assert_eq!(policy["objectId"], "33333333-3333-3333-3333-333333333333");
    assert_eq!(policy["permissions"]["keys"], json!(["get", "list"]));
    assert_eq!(properties["enableRbacAuthorization"], false, "a vault with access policies");
    let test = read(&azure, &token, format!("{}?api-version=2026-02-01", vault.replace("prod", "test"))).await;
    assert_eq!(test["properties"].get("networkAcls"), None);
    assert_eq!((&test["properties"]["enableRbacAuthorization"], &test["tags"]), (&json!(true), &json!({})));

    let roles = format!("{vault}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01");
    let found = read(&azure, &token, format!("{roles}&$filter=atScope()")).await;
    let scopes: Vec<&str> =
        found["value"].as_array().unwrap().iter().map(|it| it["properties"]["scope"].as_str().unwrap()).collect();
    let id = vault.trim_start_matches("https://management.azure.com");
    assert_eq!(scopes, [id, "/subscriptions/11111111-1111-1111-1111-111111111111"]);
    assert!(found["value"][0]["id"].as_str().unwrap().starts_with(id));
    assert_ne!(found["value"][0]["name"], found["value"][1]["name"]);
    assert_eq!(read(&azure, &token, roles.clone()).await, found, "the same each time");
    assert_eq!(azure.get(&format!("{roles}&$filter=principalId%20eq%20x"), &token).await.0, 400);

    let logs = format!("{vault}/providers/microsoft.insights/diagnosticSettings?api-version=2021-05-01-preview");
    let logs = read(&azure, &token, logs).await;
    assert_eq!(logs["value"][0]["properties"]["logs"][0]["category"], "AuditEvent");
    assert_eq!(logs["value"][0]["properties"]["workspaceId"], "/subscriptions/s/workspaces/w");

    let vaults = azure.token("https://vault.azure.net/.default").await;
    let data = |path: &str| format!("https://prod.vault.azure.net/certificates/{path}?api-version=7.6");
    let issuer = read(&azure, &vaults, data("issuers/digicert")).await;
    assert_eq!(issuer["org_details"]["id"], "o1");
    let contacts = read(&azure, &vaults, data("contacts")).await;
    assert_eq!(contacts["contacts"], json!([{"email": "pki@example.com", "name": "PKI"}]));
}

#[tokio::test]
async fn lists_come_in_pages_until_there_is_no_next_link() {
    let azure = Azure::start();
    let token = azure.token(ARM).await;
    let mut next = Some(format!("{SUBSCRIPTION}/providers/Microsoft.KeyVault/vaults?api-version=2024-11-01&$top=1"));
    let mut names = Vec::new();
    while let Some(url) = next {
        let page = read(&azure, &token, url).await;
        names.extend(page["value"].as_array().unwrap().iter().map(|vault| vault["name"].as_str().unwrap().to_owned()));
        next = page.get("nextLink").map(|link| link.as_str().unwrap().to_owned());
    }
    assert_eq!(names, ["prod", "test"]);
    let deleted = format!("{SUBSCRIPTION}/providers/Microsoft.KeyVault/deletedVaults?api-version=2024-11-01");
    assert_eq!(read(&azure, &token, deleted).await, json!({"value": []}));
}

#[tokio::test]
async fn locations_tell_geographies_and_some_have_none() {
    let azure = Azure::start();
    let token = azure.token(ARM).await;
    let locations = read(&azure, &token, format!("{SUBSCRIPTION}/locations?api-version=2022-12-01")).await;
    let metadata = |name: &str| {
        let found = locations["value"].as_array().unwrap().iter().find(|location| location["name"] == name);
        found.unwrap()["metadata"].clone()
    };
    assert_eq!(metadata("westeurope")["geography"], metadata("northeurope")["geography"]);
    assert_eq!(metadata("westeurope")["pairedRegion"][0]["name"], "northeurope");
    assert_ne!(metadata("westeurope")["geography"], metadata("germanywestcentral")["geography"]);
    assert_eq!(metadata("europe").get("geography"), None);
}

#[tokio::test]
async fn the_lock_of_a_container_is_visible() {
    let azure = Azure::start();
    let token = azure.token(ARM).await;
    let container = |name: &str, rest: &str| {
        let url = format!("{ACCOUNT}/blobServices/default/containers/{name}{rest}?api-version=2023-05-01");
        read(&azure, &token, url)
    };
    for (name, state, days) in [("vaults", "Locked", 365), ("drafts", "Unlocked", 7), ("plain", "Deleted", 0)] {
        let policy = container(name, "/immutabilityPolicies/default").await;
        assert_eq!(policy["properties"]["state"], state);
        assert_eq!(policy["properties"]["immutabilityPeriodSinceCreationInDays"], days);
        assert_eq!(policy["etag"].as_str().unwrap().is_empty(), state == "Deleted");
        assert_eq!(container(name, "").await["properties"]["hasImmutabilityPolicy"], state != "Deleted");
    }
    assert_eq!(container("vaults", "").await["properties"]["immutableStorageWithVersioning"]["enabled"], true);
    let service = read(&azure, &token, format!("{ACCOUNT}/blobServices/default?api-version=2023-05-01")).await;
    assert_eq!(service["properties"]["isVersioningEnabled"], true);
    let account = read(&azure, &token, format!("{ACCOUNT}?api-version=2023-05-01")).await;
    assert_eq!(account["properties"]["primaryEndpoints"]["blob"], "https://archive.blob.core.windows.net/");
}

#[tokio::test]
async fn refusals_name_the_reason_and_the_missing_action() {
    let azure = Azure::start();
    let token = azure.token(ARM).await;
    let vaults = format!("{SUBSCRIPTION}/providers/Microsoft.KeyVault/vaults");
    let foreign = SUBSCRIPTION.replace('1', "3");
    for (url, status, code) in [
        (vaults.clone(), 400, "MissingApiVersionParameter"),
        (format!("{foreign}/locations?api-version=2022-12-01"), 404, "SubscriptionNotFound"),
        (
            format!(
                "{SUBSCRIPTION}/resourceGroups/rg-none/providers/Microsoft.KeyVault/vaults/none?api-version=2024-11-01"
            ),
            404,
            "ResourceNotFound",
        ),
        (format!("{ACCOUNT}/blobServices/default/containers/none?api-version=2023-05-01"), 404, "ContainerNotFound"),
        (format!("{SUBSCRIPTION}/resources?$filter=tagName&api-version=2021-04-01"), 400, "InvalidFilterInQueryString"),
    ] {
        let (found, body) = azure.get(&url, &token).await;
        assert_eq!((found, &body["error"]["code"]), (status, &json!(code)), "{url}");
    }
    let (status, body) = answer(azure.client.get(format!("{vaults}?api-version=2024-11-01"))).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("AuthenticationFailed")));

    let reader = azure.emulator.ready().principals["reader"].clone();
    let form = [
        ("grant_type", "client_credentials".into()),
        ("client_id", reader.client_id),
        ("client_secret", reader.client_secret),
        ("scope", ARM.into()),
    ];
    let tenant = azure.emulator.ready().tenant_id.clone();
    let (_, body) = azure.sign_in(&tenant, "/oauth2/v2.0/token", &form).await;
    let reader = body["access_token"].as_str().unwrap();
    assert_eq!(azure.get(&format!("{vaults}?api-version=2024-11-01"), reader).await.0, 200);
    for (extension, action) in [
        ("Microsoft.Authorization/roleAssignments", "'Microsoft.Authorization/roleAssignments/read'"),
        ("Microsoft.Insights/diagnosticSettings", "'Microsoft.Insights/diagnosticSettings/read'"),
    ] {
        let vault = format!("{SUBSCRIPTION}/resourceGroups/rg-prod/providers/Microsoft.KeyVault/vaults/prod");
        let (status, body) = azure.get(&format!("{vault}/providers/{extension}?api-version=2022-04-01"), reader).await;
        assert_eq!(status, 403);
        assert!(body["error"]["message"].as_str().unwrap().contains(action), "{body}");
    }
    // Denied before it is looked up: what one may not read, one may not learn to exist either.
    for name in ["vaults", "none"] {
        let url = format!(
            "{ACCOUNT}/blobServices/default/containers/{name}/immutabilityPolicies/default?api-version=2023-05-01"
        );
        let (status, body) = azure.get(&url, reader).await;
        assert_eq!((status, &body["error"]["code"]), (403, &json!("AuthorizationFailed")));
        let message = body["error"]["message"].as_str().unwrap();
        let action = "'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/read'";
        assert!(message.contains(action), "{message}");
    }
    let resources = format!("{SUBSCRIPTION}/resources?api-version=2021-04-01");
    assert_eq!(read(&azure, reader, resources).await["value"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_cloud_describes_itself_to_anybody() {
    let azure = Azure::start();
    let url = "https://management.azure.com/metadata/endpoints?api-version=";
    let (_, cloud) = answer(azure.client.get(format!("{url}2022-09-01"))).await;
    assert_eq!(cloud["suffixes"]["keyVaultDns"], "vault.azure.net");
    let (_, clouds) = answer(azure.client.get(format!("{url}2019-05-01"))).await;
    assert_eq!(clouds, json!([cloud]));
}

#[tokio::test]
async fn tags_are_shown_and_scopes_decide_who_may_list_where() {
    let seed = SEED.replacen("tags = { owner = \"payments\" }", "tags = { Env = \"prod\" }", 1).replace(
        "    [[principal]]",
        "    [[principal]]\n    name = \"group\"\n    actions = [\"*\"]\n    \
         scopes = [\"/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-prod\"]\n    [[principal]]",
    );
    let azure = Azure::with(&seed, Options::default());
    let token = azure.token(ARM).await;
    let vaults = format!("{SUBSCRIPTION}/providers/Microsoft.KeyVault/vaults?api-version=2026-02-01");
    let list = read(&azure, &token, vaults.clone()).await;
    assert_eq!([&list["value"][0]["tags"], &list["value"][1]["tags"]], [&json!({"Env": "prod"}), &json!({})]);

    let group = azure.emulator.ready().principals["group"].clone();
    let tenant = azure.emulator.ready().tenant_id.clone();
    let sign_in = async |scope: &str| {
        let form = [
            ("grant_type", "client_credentials".into()),
            ("client_id", group.client_id.clone()),
            ("client_secret", group.client_secret.clone()),
            ("scope", scope.to_owned()),
        ];
        let (_, body) = azure.sign_in(&tenant, "/oauth2/v2.0/token", &form).await;
        body["access_token"].as_str().unwrap().to_owned()
    };
    let (arm, vault) = (sign_in(ARM).await, sign_in(VAULT).await);
    let one = |name: &str| {
        format!(
            "{SUBSCRIPTION}/resourceGroups/rg-{name}/providers/Microsoft.KeyVault/vaults/{name}?api-version=2026-02-01"
        )
    };
    for (url, token, status) in [
        ("https://management.azure.com/subscriptions?api-version=2022-12-01".to_owned(), &arm, 200),
        (vaults, &arm, 403),
        (one("prod"), &arm, 200),
        (one("test"), &arm, 403),
        ("https://prod.vault.azure.net/secrets?api-version=7.4".to_owned(), &vault, 200),
        ("https://test.vault.azure.net/secrets?api-version=7.4".to_owned(), &vault, 403),
    ] {
        assert_eq!(azure.get(&url, token).await.0, status, "{url}");
    }
}

#[tokio::test]
async fn the_caller_hears_what_it_may_do_in_both_planes() {
    let seed = SEED.replace(
        "    [[principal]]",
        "    [[principal]]\n    name = \"curious\"\n    actions = [\"Microsoft.Authorization/permissions/read\", \
         \"Microsoft.KeyVault/vaults/keys/read\", \"Microsoft.KeyVault/vaults/sec*\"]\n    [[principal]]",
    );
    let azure = Azure::with(&seed, Options::default());
    let vault = format!("{SUBSCRIPTION}/resourceGroups/rg-prod/providers/Microsoft.KeyVault/vaults/prod");
    let of = |scope: &str| format!("{scope}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01");
    let token = azure.token(ARM).await;
    for scope in [vault.clone(), format!("{ACCOUNT}/blobServices/default/containers/vaults")] {
        let all = read(&azure, &token, of(&scope)).await;
        assert_eq!([&all["value"][0]["actions"], &all["value"][0]["dataActions"]], [&json!(["*"]), &json!(["*"])]);
    }
    let none = format!("{ACCOUNT}/blobServices/default/containers/none");
    assert_eq!(azure.get(&of(&none), &token).await.0, 404);

    let curious = azure.emulator.ready().principals["curious"].clone();
    let form = [
        ("grant_type", "client_credentials".into()),
        ("client_id", curious.client_id),
        ("client_secret", curious.client_secret),
        ("scope", ARM.into()),
    ];
    let tenant = azure.emulator.ready().tenant_id.clone();
    let (_, body) = azure.sign_in(&tenant, "/oauth2/v2.0/token", &form).await;
    let held = read(&azure, body["access_token"].as_str().unwrap(), of(&vault)).await;
    assert_eq!(
        held["value"],
        json!([{
            "actions": ["Microsoft.Authorization/permissions/read", "Microsoft.KeyVault/vaults/sec*"],
            "notActions": [],
            "dataActions": ["Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/sec*"],
            "notDataActions": [],
        }])
    );
}
