//! Entra's access tokens: real JWTs, signed with RS256. A signature is checked when a token is first seen, its times on
//! every use. Pure but for its key; knows no HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::identity::{Application, Identity};
use super::wire::Caller;
use crate::error::{Error, Result};

/// Seconds that a token holds.
pub(super) const LIFETIME: i64 = 3_600;

/// Tokens that are remembered as checked; beyond, all are forgotten and checked again.
const REMEMBERED: usize = 1_000;

/// Issues and checks tokens.
pub(super) struct Tokens {
    tenant_id: String,
    applications: Vec<Application>,
    key: KeyPair,
    key_id: String,
    checked: Mutex<HashMap<String, Checked>>,
}

/// What a token of this tenant says.
#[derive(Clone)]
struct Checked {
    caller: Arc<Caller>,
    nbf: i64,
    exp: i64,
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    appid: String,
    nbf: i64,
    exp: i64,
}

impl Tokens {
    /// The tokens of a tenant.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) if the stored key is damaged.
    pub(super) fn new(identity: &Identity) -> Result<Self> {
        let key = identity.token_key()?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key().as_ref());
        let key_id = URL_SAFE_NO_PAD.encode(digest.as_ref().get(..20).unwrap_or_default());
        Ok(Tokens {
            tenant_id: identity.tenant_id.clone(),
            applications: identity.applications.clone(),
            key,
            key_id,
            checked: Mutex::default(),
        })
    }

    /// The application with that id.
    pub(super) fn application(&self, client_id: &str) -> Option<&Application> {
        self.applications.iter().find(|application| application.client_id.eq_ignore_ascii_case(client_id))
    }

    /// The tenant's id.
    pub(super) fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    fn issuer(&self) -> String {
        format!("https://sts.windows.net/{}/", self.tenant_id)
    }

    /// A token for `audience`.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) if signing fails.
    pub(super) fn issue(
        &self,
        application: &Application,
        audience: &str,
        now: DateTime<Utc>,
        id: Uuid,
    ) -> Result<String> {
        let now = now.timestamp();
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.key_id, "x5t": self.key_id});
        let claims = json!({
            "aud": audience,
            "iss": self.issuer(),
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME,
            "appid": application.client_id,
            "appidacr": "1",
            "idp": self.issuer(),
            "idtyp": "app",
            "oid": application.object_id,
            "sub": application.object_id,
            "tid": self.tenant_id,
            "uti": URL_SAFE_NO_PAD.encode(id.as_bytes()),
            "ver": "1.0",
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| Error::internal("couldn't sign a token"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Who presents `authorization`; nobody if it is no token of this tenant that holds at `now`.
    pub(super) fn caller(&self, authorization: Option<&str>, now: DateTime<Utc>) -> Option<Arc<Caller>> {
        let (scheme, token) = authorization?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let token = token.trim();
        let known = self.checked.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned();
        let checked = match known {
            Some(checked) => checked,
            None => self.check(token)?,
        };
        let now = now.timestamp();
        (checked.nbf <= now && now < checked.exp).then_some(checked.caller)
    }

    /// Checks a token, whenever it may hold, and remembers it.
    fn check(&self, token: &str) -> Option<Checked> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?).ok()?;
        if claims.iss != self.issuer() {
            return None;
        }
        let application = self.application(&claims.appid)?;
        let caller = Arc::new(Caller {
            name: application.name.clone(),
            client_id: application.client_id.clone(),
            object_id: application.object_id.clone(),
            audience: claims.aud.trim_end_matches('/').to_owned(),
            actions: application.actions.clone(),
            scopes: application.scopes.clone(),
        });
        let checked = Checked { caller, nbf: claims.nbf, exp: claims.exp };
        let mut remembered = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(token.to_owned(), checked.clone());
        Some(checked)
    }

    /// The key set that checks the tokens (RFC 7517).
    pub(super) fn key_set(&self) -> Value {
        let public = self.key.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{
            "kty": "RSA",
            "use": "sig",
            "kid": self.key_id,
            "x5t": self.key_id,
            "n": number(public.modulus().big_endian_without_leading_zero()),
            "e": number(public.exponent().big_endian_without_leading_zero()),
            "issuer": format!("https://login.microsoftonline.com/{}/v2.0", self.tenant_id),
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_token_holds_for_its_hour_and_only_as_issued() {
        let tokens = Tokens::new(&Identity::generate(&[]).unwrap()).unwrap();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let application = tokens.applications[0].clone();
        let token = tokens.issue(&application, "https://vault.azure.net/", now, Uuid::nil()).unwrap();
        let at = |seconds: i64, token: &str| {
            tokens.caller(Some(&format!("Bearer {token}")), now + TimeDelta::seconds(seconds))
        };

        let caller = at(LIFETIME - 1, &token).unwrap();
        assert_eq!(caller.audience, "https://vault.azure.net");
        assert!(caller.may("Microsoft.KeyVault/vaults/read"));
        assert_eq!(at(LIFETIME, &token), None);
        assert_eq!(at(-1, &token), None);
        assert_eq!(tokens.caller(Some(&format!("Basic {token}")), now), None);
        assert_eq!(tokens.caller(Some("Bearer"), now), None);

        let mut parts: Vec<&str> = token.split('.').collect();
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let forged = URL_SAFE_NO_PAD.encode(claims.replace("vault.azure.net", "storage.azure.com"));
        parts[1] = &forged;
        assert_eq!(at(0, &parts.join(".")), None);
        let stranger = Tokens::new(&Identity::generate(&[]).unwrap()).unwrap();
        assert_eq!(stranger.caller(Some(&format!("Bearer {token}")), now), None);
    }
}
