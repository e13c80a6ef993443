//! Entra ID at `login.microsoftonline.com`: discovery, and tokens for applications that sign in with a secret or an
//! assertion. A state machine without state: everything it knows is in [`Tokens`].
//!
//! Error codes and texts are Entra's; clients and people search for them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::identity::Application;
use super::tokens::{LIFETIME, Tokens};
use super::wire::{Request, Response};

const LOGIN: &str = "https://login.microsoftonline.com";

/// Resources that exist in every tenant. A token for anything else is refused, as in Azure.
const RESOURCES: [&str; 6] = [
    "https://vault.azure.net",
    "https://managedhsm.azure.net",
    "https://storage.azure.com",
    "https://management.azure.com",
    "https://management.core.windows.net",
    "https://graph.microsoft.com",
];

/// A refusal: Entra's number, the OAuth error, the status, the text.
struct Refusal {
    number: u32,
    error: &'static str,
    status: StatusCode,
    text: String,
}

fn refusal(number: u32, error: &'static str, status: StatusCode, text: impl Into<String>) -> Refusal {
    Refusal { number, error, status, text: text.into() }
}

fn bad(number: u32, error: &'static str, text: impl Into<String>) -> Refusal {
    refusal(number, error, StatusCode::BAD_REQUEST, text)
}

/// Answers a request to `login.microsoftonline.com`; `id` becomes the trace id.
pub(super) fn handle(tokens: &Tokens, now: DateTime<Utc>, id: Uuid, request: &Request) -> Response {
    let segments = request.segments();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let answer = match (&request.method, path.as_slice()) {
        (&Method::GET, [_, "discovery", "instance"]) => Ok(instance(tokens)),
        (&Method::GET, [tenant, "v2.0", ".well-known", "openid-configuration"]) => discovery(tokens, tenant, true),
        (&Method::GET, [tenant, ".well-known", "openid-configuration"]) => discovery(tokens, tenant, false),
        (&Method::GET, [_, "discovery", "keys"] | [_, "discovery", "v2.0", "keys"]) => Ok(tokens.key_set()),
        (&Method::POST, [tenant, "oauth2", "v2.0", "token"]) => token(tokens, tenant, true, now, id, request),
        (&Method::POST, [tenant, "oauth2", "token"]) => token(tokens, tenant, false, now, id, request),
        _ => return Response::new(StatusCode::NOT_FOUND),
    };
    match answer {
        Ok(body) => Response::json(StatusCode::OK, &body).header("x-ms-clitelem", "1,0,0,,"),
        Err(refusal) => error(&refusal, now, id, request),
    }
    .header(
        "cache-control",
        if request.method == Method::GET { "max-age=86400, private" } else { "no-store, no-cache" },
    )
    .header("strict-transport-security", "max-age=31536000; includeSubDomains")
    .header("x-content-type-options", "nosniff")
    .header("x-ms-ests-server", "2.1.19343.4 - akv-archiver emulator")
}

/// Entra's error body.
fn error(refusal: &Refusal, now: DateTime<Utc>, id: Uuid, request: &Request) -> Response {
    let timestamp = now.format("%Y-%m-%d %H:%M:%SZ").to_string();
    let correlation = request.header("client-request-id").map_or_else(|| id.to_string(), str::to_owned);
    let Refusal { number, error, status, text } = refusal;
    let body = json!({
        "error": error,
        "error_description": format!(
            "AADSTS{number}: {text} Trace ID: {id} Correlation ID: {correlation} Timestamp: {timestamp}"
        ),
        "error_codes": [number],
        "timestamp": timestamp,
        "trace_id": id.to_string(),
        "correlation_id": correlation,
        "error_uri": format!("{LOGIN}/error?code={number}"),
    });
    Response::json(*status, &body).header("x-ms-clitelem", format!("1,{number},0,,"))
}

fn instance(tokens: &Tokens) -> Value {
    let aliases = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"];
    json!({
        "tenant_discovery_endpoint":
            format!("{LOGIN}/{}/v2.0/.well-known/openid-configuration", tokens.tenant_id()),
        "api-version": "1.1",
        "metadata": [{
            "preferred_network": "login.microsoftonline.com",
            "preferred_cache": "login.windows.net",
            "aliases": aliases,
        }],
    })
}

fn known_tenant(tokens: &Tokens, tenant: &str) -> Result<(), Refusal> {
    if tenant.eq_ignore_ascii_case(tokens.tenant_id()) {
        return Ok(());
    }
    Err(bad(
        90002,
        "invalid_request",
        format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
             correct cloud. Check with your subscription administrator, this may happen if there are no active \
             subscriptions for the tenant."
        ),
    ))
}

fn discovery(tokens: &Tokens, tenant: &str, v2: bool) -> Result<Value, Refusal> {
    // The shared endpoints serve every tenant and leave a placeholder in the issuer.
    let shared = matches!(tenant, "common" | "organizations");
    if !shared {
        known_tenant(tokens, tenant)?;
    }
    let named = if shared { "{tenantid}" } else { tokens.tenant_id() };
    let base = format!("{LOGIN}/{tenant}");
    let (oauth, keys) = if v2 { ("oauth2/v2.0", "discovery/v2.0/keys") } else { ("oauth2", "discovery/keys") };
    let issuer = if v2 { format!("{LOGIN}/{named}/v2.0") } else { format!("https://sts.windows.net/{named}/") };
    Ok(json!({
        "token_endpoint": format!("{base}/{oauth}/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}/{keys}"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer,
        "request_uri_parameter_supported": false,
        "authorization_endpoint": format!("{base}/{oauth}/authorize"),
        "device_authorization_endpoint": format!("{base}/{oauth}/devicecode"),
        "http_logout_supported": true,
        "end_session_endpoint": format!("{base}/{oauth}/logout"),
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
        "rbac_url": "https://pas.windows.net",
    }))
}

/// The form of a token request.
struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn require(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| {
            bad(900144, "invalid_request", format!("The request body must contain the following parameter: '{name}'."))
        })
    }
}

fn token(
    tokens: &Tokens,
    tenant: &str,
    v2: bool,
    now: DateTime<Utc>,
    id: Uuid,
    request: &Request,
) -> Result<Value, Refusal> {
    known_tenant(tokens, tenant)?;
    let form = Form(url::form_urlencoded::parse(&request.body).into_owned().collect());
    match form.require("grant_type")? {
        "client_credentials" => {}
        other => {
            let text = format!("The app requested an unsupported grant type '{other}'.");
            return Err(bad(70003, "unsupported_grant_type", text));
        }
    }
    let application = sign_in(tokens, &form, request, now)?;
    let audience = if v2 { audience(form.require("scope")?)? } else { form.require("resource")?.to_owned() };
    if !exists(&audience) {
        let text = format!(
            "The resource principal named {audience} was not found in the tenant named {}. This can happen if the \
             application has not been installed by the administrator of the tenant or consented to by any user in the \
             tenant. You might have sent your authentication request to the wrong tenant.",
            tokens.tenant_id()
        );
        return Err(bad(500011, "invalid_resource", text));
    }
    let issued = tokens
        .issue(application, &audience, now, id)
        .map_err(|error| refusal(90033, "temporarily_unavailable", StatusCode::SERVICE_UNAVAILABLE, error.message()))?;
    let seconds = LIFETIME - 1;
    Ok(if v2 {
        json!({"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": issued})
    } else {
        // Version 1 sends numbers as text.
        json!({
            "token_type": "Bearer",
            "expires_in": seconds.to_string(),
            "ext_expires_in": seconds.to_string(),
            "expires_on": (now.timestamp() + LIFETIME).to_string(),
            "not_before": now.timestamp().to_string(),
            "resource": audience,
            "access_token": issued,
        })
    })
}

/// The one resource that a version 2 scope names.
fn audience(scope: &str) -> Result<String, Refusal> {
    let resources: Vec<&str> =
        scope.split_whitespace().filter(|scope| !matches!(*scope, "openid" | "profile" | "offline_access")).collect();
    match resources.as_slice() {
        [one] => one.strip_suffix("/.default").map(str::to_owned),
        _ => None,
    }
    .ok_or_else(|| {
        let text = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with \
             /.default suffixed to the resource identifier (application ID URI)."
        );
        bad(1002012, "invalid_scope", text)
    })
}

fn exists(audience: &str) -> bool {
    let audience = audience.trim_end_matches('/');
    let account = audience.strip_prefix("https://").and_then(|host| host.strip_suffix(".blob.core.windows.net"));
    RESOURCES.contains(&audience) || account.is_some_and(|name| !name.is_empty())
}

/// The application that signs in, by secret (in the form or in a Basic header) or by assertion.
fn sign_in<'a>(
    tokens: &'a Tokens,
    form: &Form,
    request: &Request,
    now: DateTime<Utc>,
) -> Result<&'a Application, Refusal> {
    let basic = request.header("authorization").and_then(basic);
    let client_id = match (form.get("client_id"), &basic) {
        (Some(id), _) => id,
        (None, Some((id, _))) => id,
        (None, None) => form.require("client_id")?,
    };
    let application = tokens.application(client_id).ok_or_else(|| {
        let text = format!(
            "Application with identifier '{client_id}' was not found in the directory '{}'. This can happen if the \
             application has not been installed by the administrator of the tenant or consented to by any user in the \
             tenant. You may have sent your authentication request to the wrong tenant.",
            tokens.tenant_id()
        );
        bad(700016, "unauthorized_client", text)
    })?;
    if let Some(assertion) = form.get("client_assertion") {
        check_assertion(assertion, now)?;
        return Ok(application);
    }
    let denied = |number, text: String| Err(refusal(number, "invalid_client", StatusCode::UNAUTHORIZED, text));
    match form.get("client_secret").or(basic.as_ref().map(|(_, secret)| secret.as_str())) {
        Some(secret) if secret == application.client_secret => Ok(application),
        Some(_) => denied(
            7000215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                 value, not the client secret ID, for a secret added to app '{client_id}'."
            ),
        ),
        None => denied(
            7000216,
            "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."
                .to_owned(),
        ),
    }
}

/// Client id and secret of a Basic header, each form-encoded (RFC 6749, section 2.3.1).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |text: &str| super::wire::percent_decode(&text.replace('+', " "));
    Some((decode(id), decode(secret)))
}

/// The claims that Entra looks at in an assertion.
#[derive(Deserialize)]
struct Assertion {
    iss: String,
    sub: String,
    exp: i64,
    nbf: Option<i64>,
}

/// Accepts a well-formed assertion within its time. Whose key signed it is not checked: the emulator knows neither the
/// certificates nor the federated issuers of anybody's applications.
fn check_assertion(assertion: &str, now: DateTime<Utc>) -> Result<(), Refusal> {
    let parts: Vec<&str> = assertion.split('.').collect();
    let claims = match parts.as_slice() {
        [header, claims, signature] => json_part::<Value>(header)
            .filter(|header| header.get("alg").is_some_and(Value::is_string) && !signature.is_empty())
            .and_then(|_| json_part::<Assertion>(claims))
            .filter(|claims| !claims.iss.is_empty() && !claims.sub.is_empty()),
        _ => None,
    };
    let Some(claims) = claims else {
        return Err(bad(50027, "invalid_request", "JWT token is invalid or malformed."));
    };
    let now = now.timestamp();
    if now >= claims.exp || claims.nbf.is_some_and(|nbf| now < nbf) {
        let text = format!(
            "Client assertion is not within its valid time range. Current time: {now}, expiry time of assertion {}.",
            claims.exp
        );
        return Err(refusal(700024, "invalid_client", StatusCode::UNAUTHORIZED, text));
    }
    Ok(())
}

fn json_part<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
