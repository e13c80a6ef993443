//! Signing in, and what a token is good for.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;

const V2: &str = "/oauth2/v2.0/token";

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn discovery_leads_to_a_token_that_the_published_key_verifies() {
    let azure = Azure::start();
    let ready = azure.emulator.ready();
    let tenant = &ready.tenant_id;
    let anonymous = |url: String| answer(azure.client.get(url));
    let (_, instance) =
        anonymous("https://login.microsoftonline.com/common/discovery/instance?api-version=1.1".into()).await;
    let (_, document) = anonymous(instance["tenant_discovery_endpoint"].as_str().unwrap().to_owned()).await;
    assert_eq!(document["issuer"], format!("https://login.microsoftonline.com/{tenant}/v2.0"));
    assert_eq!(document["token_endpoint"], format!("https://login.microsoftonline.com/{tenant}{V2}"));
    let (_, keys) = anonymous(document["jwks_uri"].as_str().unwrap().to_owned()).await;

    let token = azure.token(VAULT).await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(keys["keys"][0][name].as_str().unwrap()).unwrap();
    RsaPublicKeyComponents { n: number("n"), e: number("e") }
        .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
    let claims = claims(&token);
    assert_eq!(claims["aud"], "https://vault.azure.net");
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{tenant}/"));
    assert_eq!((&claims["tid"], &claims["appid"]), (&json!(tenant), &json!(ready.client_id)));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3_600);
}

#[tokio::test]
async fn secrets_come_in_the_form_or_a_header_and_assertions_in_their_time() {
    let azure = Azure::start();
    let ready = azure.emulator.ready();
    let now = azure.emulator.now().timestamp();
    let with = |name: &'static str, value: &str| {
        let mut form = azure.form(VAULT);
        form.retain(|(key, _)| *key != "client_secret");
        form.push((name, value.to_owned()));
        form
    };
    let assertion = |claims: Value| {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(json!({"alg": "RS256", "typ": "JWT"})), part(claims))
    };
    let claims =
        |exp: i64| json!({"iss": "https://issuer", "sub": "job", "aud": "api://AzureADTokenExchange", "exp": exp});
    for (assertion, status, error) in [
        (assertion(claims(now + 600)), 200, Value::Null),
        (assertion(claims(now - 1)), 401, json!(700024)),
        (assertion(json!({"iss": "https://issuer", "exp": now + 600})), 400, json!(50027)),
        ("no.jwt".to_owned(), 400, json!(50027)),
    ] {
        let form = with("client_assertion", &assertion);
        let (found, body) = azure.sign_in(&ready.tenant_id, V2, &form).await;
        assert_eq!((found, &body["error_codes"][0]), (status, &error), "{body}");
    }
    let basic = STANDARD.encode(format!("{}:{}", ready.client_id, ready.client_secret));
    let url = format!("https://login.microsoftonline.com/{}{V2}", ready.tenant_id);
    let request = azure.client.post(url).header("authorization", format!("Basic {basic}"));
    let (status, _) = answer(request.body(format!("grant_type=client_credentials&scope={VAULT}"))).await;
    assert_eq!(status, 200);

    // The old endpoint names a resource and sends its numbers as text.
    let mut form = azure.form(VAULT);
    form.push(("resource", "https://management.core.windows.net/".into()));
    let (status, body) = azure.sign_in(&ready.tenant_id, "/oauth2/token", &form).await;
    assert_eq!((status, &body["expires_in"]), (200, &json!("3599")));
    assert_eq!(
        super::login::claims(body["access_token"].as_str().unwrap())["aud"],
        "https://management.core.windows.net/"
    );
}

#[tokio::test]
async fn refusals_are_entras_own() {
    let azure = Azure::start();
    let tenant = azure.emulator.ready().tenant_id.clone();
    let form = |name: &'static str, value: &str| {
        let mut form = azure.form(VAULT);
        form.retain(|(key, _)| *key != name);
        if !value.is_empty() {
            form.push((name, value.to_owned()));
        }
        form
    };
    let stranger = "99999999-9999-9999-9999-999999999999";
    for (tenant, form, status, error, number) in [
        (tenant.as_str(), form("client_secret", "wrong"), 401, "invalid_client", 7000215),
        (&tenant, form("client_secret", ""), 401, "invalid_client", 7000216),
        (&tenant, form("client_id", stranger), 400, "unauthorized_client", 700016),
        (stranger, form("none", ""), 400, "invalid_request", 90002),
        (&tenant, form("grant_type", ""), 400, "invalid_request", 900144),
        (&tenant, form("grant_type", "password"), 400, "unsupported_grant_type", 70003),
        (&tenant, form("scope", "https://vault.azure.net/user_impersonation"), 400, "invalid_scope", 1002012),
        (&tenant, form("scope", "https://prod.vault.azure.net/.default"), 400, "invalid_resource", 500011),
    ] {
        let (found, body) = azure.sign_in(tenant, V2, &form).await;
        assert_eq!((found, &body["error"], &body["error_codes"]), (status, &json!(error), &json!([number])), "{body}");
        let text = body["error_description"].as_str().unwrap();
        assert!(text.starts_with(&format!("AADSTS{number}: ")), "{text}");
        assert!(!text.contains("wrong\""), "{text}");
    }
}

#[tokio::test]
async fn a_token_opens_only_its_own_service_and_only_for_an_hour() {
    let azure = Azure::start();
    let (vault, storage) = (azure.token(VAULT).await, azure.token("https://storage.azure.com/.default").await);
    let arm = azure.token("https://management.azure.com/.default").await;
    let subscriptions = "https://management.azure.com/subscriptions?api-version=2022-12-01";

    assert_eq!(azure.put_secret(&vault).send().await.unwrap().status(), 200);
    assert_eq!(azure.get(SECRET, &storage).await.0, 401);
    let challenge = azure.client.get(SECRET).send().await.unwrap();
    let challenge = challenge.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.contains(&azure.emulator.ready().tenant_id), "{challenge}");

    assert_eq!(azure.get(subscriptions, &arm).await.0, 200);
    let (status, body) = azure.get(subscriptions, &vault).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("InvalidAuthenticationTokenAudience")));

    azure.emulator.advance(Duration::from_secs(3_600));
    assert_eq!(azure.get(SECRET, &vault).await.0, 401);
    let (status, body) = azure.get(subscriptions, &arm).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("InvalidAuthenticationToken")));
    assert_eq!(azure.get(SECRET, &azure.token(VAULT).await).await.0, 200);
}
