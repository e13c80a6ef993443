//! Key Vault's data plane: a placeholder with one operation each way, until the state machine takes its place.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hyper::{Method, StatusCode};
use serde_json::json;

use super::seed::{self, Sku};
use super::wire::{Caller, Request, Response};

/// A source of unpredictable bytes.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// What Resource Manager tells of a vault.
#[derive(Clone, Debug)]
pub struct VaultFacts {
    /// Its name.
    pub name: String,
    /// Subscription id.
    pub subscription: String,
    /// Region.
    pub location: String,
    /// Tier.
    pub sku: Sku,
    /// Whether nobody may purge before the retention ends.
    pub purge_protection: bool,
    /// Days that deleted objects are kept.
    pub retention_days: u32,
}

/// Every vault.
pub struct Vaults {
    facts: Vec<VaultFacts>,
    secrets: BTreeMap<String, String>,
}

impl Vaults {
    /// The vaults of a seed.
    pub fn new(seed: &[seed::Vault], _now: DateTime<Utc>, _random: Random) -> Result<Self, String> {
        let facts = seed.iter().map(|vault| VaultFacts {
            name: vault.name.clone(),
            subscription: vault.subscription.clone(),
            location: vault.location.clone(),
            sku: vault.sku,
            purge_protection: vault.purge_protection,
            retention_days: vault.retention_days,
        });
        Ok(Vaults { facts: facts.collect(), secrets: BTreeMap::new() })
    }

    /// Answers a request.
    pub fn handle(&mut self, _: DateTime<Utc>, caller: Option<&Caller>, request: &Request, tenant: &str) -> Response {
        if caller.is_none_or(|caller| caller.audience != "https://vault.azure.net") {
            let challenge = format!(
                "Bearer authorization=\"https://login.microsoftonline.com/{tenant}\", resource=\"https://vault.azure.net\""
            );
            let error = json!({"error": {"code": "Unauthorized", "message": "AKV10000"}});
            return Response::json(StatusCode::UNAUTHORIZED, &error).header("www-authenticate", challenge);
        }
        let key = format!("{}{}", request.host, request.path);
        if request.method == Method::PUT {
            self.secrets.insert(key.clone(), String::from_utf8_lossy(&request.body).into_owned());
        }
        match self.secrets.get(&key).and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()) {
            Some(value) => Response::json(StatusCode::OK, &value),
            None => Response::json(StatusCode::NOT_FOUND, &json!({"error": {"code": "SecretNotFound"}})),
        }
    }

    /// Whether transitions take time.
    pub fn set_limbo(&mut self, _limbo: seed::Limbo) {}

    /// Whether there is a vault at `host`.
    pub fn knows(&self, host: &str) -> bool {
        self.facts.iter().any(|vault| format!("{}.vault.azure.net", vault.name) == host)
    }

    /// Everything, as bytes.
    pub fn save(&self) -> Vec<u8> {
        let names: Vec<&str> = self.facts.iter().map(|vault| vault.name.as_str()).collect();
        json!([names, self.secrets]).to_string().into_bytes()
    }

    /// What [`Vaults::save`] wrote.
    pub fn load(bytes: &[u8], _random: Random) -> Result<Self, String> {
        let (names, secrets): (Vec<String>, _) = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let facts = names.into_iter().map(|name| VaultFacts {
            name,
            subscription: String::new(),
            location: String::new(),
            sku: Sku::Standard,
            purge_protection: false,
            retention_days: 90,
        });
        Ok(Vaults { facts: facts.collect(), secrets })
    }

    /// What Resource Manager tells of each vault.
    pub fn facts(&self) -> Vec<VaultFacts> {
        self.facts.clone()
    }
}
