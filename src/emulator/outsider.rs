//! A client that is not the archiver: plain HTTP against the emulated Azure, for whoever plays the accident and the
//! attacker. None of the archiver's doors.

use super::run::{Credential, Ready};
use crate::error::{Context, Error, Kind, Result};

/// A plain HTTP client of the emulated Azure.
pub struct Outsider {
    client: reqwest::Client,
    tenant_id: String,
}

impl Outsider {
    /// A client that trusts the emulator.
    pub fn new(ready: &Ready) -> Result<Self> {
        let failed = |error: reqwest::Error| Error::internal(format!("couldn't make an HTTP client: {error}"));
        let pem = std::fs::read(&ready.ca_file)
            .map_err(|error| Error::internal(format!("{}: {error}", ready.ca_file.display())))?;
        let authority = reqwest::Certificate::from_pem(&pem).map_err(failed)?;
        let proxy = reqwest::Proxy::all(&ready.proxy).map_err(failed)?;
        let client = reqwest::Client::builder().proxy(proxy).tls_certs_merge([authority]).build().map_err(failed)?;
        Ok(Outsider { client, tenant_id: ready.tenant_id.clone() })
    }

    /// Sends one request as `who`, with a token for `audience`; returns the status and, for a refusal, its code.
    pub async fn send(
        &self,
        who: &Credential,
        audience: &str,
        method: &str,
        url: &str,
        body: &'static str,
    ) -> Result<(u16, String)> {
        self.try_send(who, audience, method, url, body)
            .await
            .map_err(|error| Error::new(Kind::Unavailable, error.to_string()))
            .context(format!("{method} {url}"))
    }

    async fn try_send(
        &self,
        who: &Credential,
        audience: &str,
        method: &str,
        url: &str,
        body: &'static str,
    ) -> std::result::Result<(u16, String), Box<dyn std::error::Error + Send + Sync>> {
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &who.client_id)
            .append_pair("client_secret", &who.client_secret)
            .append_pair("scope", &format!("{audience}/.default"))
            .finish();
        let login = format!("https://login.microsoftonline.com/{}/oauth2/v2.0/token", self.tenant_id);
        let answer = self
            .client
            .post(login)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await?;
        let token: serde_json::Value = serde_json::from_slice(&answer.bytes().await?)?;
        let token = token.get("access_token").and_then(serde_json::Value::as_str).unwrap_or_default();
        let answer = self
            .client
            .request(method.parse()?, url)
            .bearer_auth(token)
            .header("x-ms-version", "2026-04-06")
            .header("x-ms-blob-type", "BlockBlob")
            .body(body)
            .send()
            .await?;
        let status = answer.status().as_u16();
        let code =
            answer.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default().to_owned();
        Ok((status, code))
    }
}
