//! The emulator from outside: an ordinary HTTP client, a proxy setting, a certificate authority, Azure's host names.

mod arm;
mod control;
mod faults;
mod login;
mod proxy;
mod state;

use std::time::Duration;

use akv_archiver::emulator::seed::Seed;
use akv_archiver::emulator::{Emulator, Options};
use reqwest::{Certificate, Client, Method, Proxy, RequestBuilder};
use serde_json::{Value, json};

const VAULT: &str = "https://vault.azure.net/.default";
const SECRET: &str = "https://prod.vault.azure.net/secrets/s?api-version=7.4";

const SEED: &str = r#"
    [[vault]]
    name = "prod"
    subscription = "11111111-1111-1111-1111-111111111111"
    location = "westeurope"
    sku = "premium"
    purge_protection = true
    retention_days = 30
    tags = { owner = "payments" }
    network = { default_action = "Deny", ip_rules = ["1.2.3.4/32"], subnets = ["/subscriptions/s/subnets/a"] }
    access_policies = [{ object_id = "33333333-3333-3333-3333-333333333333", keys = ["get", "list"] }]
    role_assignments = [
      { role = "44444444-4444-4444-4444-444444444444", principal = "33333333-3333-3333-3333-333333333333" },
      { role = "55555555-5555-5555-5555-555555555555", principal = "33333333-3333-3333-3333-333333333333", subscription = true },
    ]
    diagnostic_settings = [{ name = "audit", workspace = "/subscriptions/s/workspaces/w", categories = ["AuditEvent"] }]
    issuers = [{ name = "digicert", provider = "DigiCert", account_id = "a1", organization = "o1" }]
    contacts = [{ email = "pki@example.com", name = "PKI" }]
    [[vault]]
    name = "test"
    subscription = "11111111-1111-1111-1111-111111111111"
    location = "northeurope"
    [[storage]]
    account = "archive"
    subscription = "22222222-2222-2222-2222-222222222222"
    location = "northeurope"
    containers = [
      { name = "vaults", worm = "version-level", days = 365, locked = true },
      { name = "drafts", worm = "container-level", days = 7 },
      { name = "plain" },
    ]
    [[principal]]
    name = "reader"
    actions = ["Microsoft.KeyVault/vaults/read"]
"#;

/// An emulator, and a client that knows its proxy and its authority and nothing else.
struct Azure {
    emulator: Emulator,
    client: Client,
}

impl Azure {
    fn start() -> Self {
        Azure::with(SEED, Options::default())
    }

    fn with(seed: &str, options: Options) -> Self {
        let emulator = Emulator::start(Seed::parse(seed).unwrap(), options).unwrap();
        let ready = emulator.ready();
        let authority = Certificate::from_pem(&std::fs::read(&ready.ca_file).unwrap()).unwrap();
        let client =
            Client::builder().proxy(Proxy::all(&ready.proxy).unwrap()).tls_certs_only([authority]).build().unwrap();
        Azure { emulator, client }
    }

    /// The form of a sign-in with the identity that may do everything.
    fn form(&self, scope: &str) -> Vec<(&'static str, String)> {
        let ready = self.emulator.ready();
        vec![
            ("grant_type", "client_credentials".into()),
            ("client_id", ready.client_id.clone()),
            ("client_secret", ready.client_secret.clone()),
            ("scope", scope.into()),
        ]
    }

    async fn sign_in(&self, tenant: &str, path: &str, form: &[(&'static str, String)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let url = format!("https://login.microsoftonline.com/{tenant}{path}");
        let request = self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
        answer(request).await
    }

    /// A token of the identity that may do everything.
    async fn token(&self, scope: &str) -> String {
        let tenant = self.emulator.ready().tenant_id.clone();
        let (status, body) = self.sign_in(&tenant, "/oauth2/v2.0/token", &self.form(scope)).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    fn request(&self, method: Method, url: &str, token: &str) -> RequestBuilder {
        self.client.request(method, url).bearer_auth(token)
    }

    async fn get(&self, url: &str, token: &str) -> (u16, Value) {
        answer(self.request(Method::GET, url, token)).await
    }

    fn put_secret(&self, token: &str) -> RequestBuilder {
        let body = json!({"value": "v"}).to_string();
        self.request(Method::PUT, SECRET, token).header("content-type", "application/json").body(body)
    }
}

/// What `happening` brings; fails if it does not come.
async fn soon<T>(happening: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), happening).await.expect("it never happened")
}

/// Returns once `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Status and JSON body.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status}: {error}: {text:?}")))
}
