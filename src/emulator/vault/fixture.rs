//! A small cloud for tests, driven through its front door. Randomness repeats, time stands where the test puts it.

use super::{Random, Vaults};
use crate::emulator::seed::{Limbo, Seed};
use crate::emulator::wire::{Caller, Request, Response};
use chrono::DateTime;
use hyper::{HeaderMap, Method};
use serde_json::Value;

pub(super) const TENANT: &str = "99999999-0000-0000-0000-000000000000";
pub(super) const NOW: i64 = 1_800_000_000;

pub(super) struct Cloud {
    pub(super) vaults: Vaults,
    pub(super) now: i64,
    pub(super) caller: Option<Caller>,
    pub(super) api: &'static str,
}

/// Bytes that differ from each other and not from run to run.
pub(super) fn dice() -> Random {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    Box::new(move |bytes| {
        for byte in bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 24) as u8;
        }
    })
}

impl Cloud {
    pub(super) fn new(seed: &str) -> Self {
        let seed: Seed = toml::from_str(seed).unwrap();
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        let mut vaults = Vaults::new(&seed.vaults, now, dice()).unwrap();
        vaults.set_limbo(seed.limits.limbo);
        Cloud { vaults, now: NOW, caller: Some(caller(&["*"])), api: "7.6" }
    }

    /// A vault `v`, a premium vault `p` beside it, and vaults abroad and of another subscription.
    pub(super) fn four(limbo: Limbo) -> Self {
        let vault = |name: &str, subscription: &str, location: &str, more: &str| {
            format!(
                "[[vault]]\nname = \"{name}\"\nsubscription = \"{subscription}\"\nlocation = \"{location}\"\n{more}\n"
            )
        };
        let seed = [
            vault("vvv", "s1", "westeurope", "retention_days = 7"),
            vault("ppp", "s1", "northeurope", "sku = \"premium\"\npurge_protection = true"),
            vault("abroad", "s1", "eastus", ""),
            vault("other", "s2", "westeurope", "sku = \"premium\""),
        ];
        let mut cloud = Cloud::new(&seed.concat());
        cloud.vaults.set_limbo(limbo);
        cloud
    }

    /// Sends a request to `VAULT/path?query`; `api-version` is added.
    pub(super) fn send(&mut self, method: &str, target: &str, body: &str) -> Response {
        let (vault, rest) = target.split_once('/').unwrap();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut query: Vec<(String, String)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if !query.iter().any(|(name, _)| name == "api-version") {
            query.push(("api-version".into(), self.api.into()));
        }
        let request = Request {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            host: format!("{vault}.vault.azure.net"),
            path: format!("/{path}"),
            query,
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
        };
        let now = DateTime::from_timestamp(self.now, 0).unwrap();
        self.vaults.handle(now, self.caller.as_ref(), &request, TENANT)
    }

    /// As [`Cloud::send`]: status and JSON.
    pub(super) fn ask(&mut self, method: &str, target: &str, body: &str) -> (u16, Value) {
        let response = self.send(method, target, body);
        let json = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        (response.status.as_u16(), json)
    }

    /// As [`Cloud::ask`], for what must succeed.
    pub(super) fn good(&mut self, method: &str, target: &str, body: &str) -> Value {
        let (status, json) = self.ask(method, target, body);
        assert!((200..300).contains(&status), "{method} {target}: {status} {json}");
        json
    }

    /// As [`Cloud::ask`], for what must fail: status, code, inner code.
    pub(super) fn bad(&mut self, method: &str, target: &str, body: &str) -> (u16, String, String) {
        let (status, json) = self.ask(method, target, body);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (status, text(&json["error"]["code"]), text(&json["error"]["innererror"]["code"]))
    }

    /// Takes a backup and gives the body that restores it.
    pub(super) fn backup(&mut self, target: &str) -> String {
        self.good("POST", &format!("{target}/backup"), "").to_string()
    }

    /// Follows next links to the end: all items, and the sizes of the pages.
    pub(super) fn pages(&mut self, target: &str) -> (Vec<Value>, Vec<usize>) {
        let (mut items, mut sizes, mut next) = (Vec::new(), Vec::new(), target.to_owned());
        loop {
            let page = self.good("GET", &next, "");
            let value = page["value"].as_array().unwrap();
            sizes.push(value.len());
            items.extend(value.iter().cloned());
            let Some(link) = page["nextLink"].as_str() else {
                assert!(page.as_object().unwrap().contains_key("nextLink"));
                return (items, sizes);
            };
            let (host, rest) = link.strip_prefix("https://").unwrap().split_once(":443/").unwrap();
            next = format!("{}/{rest}", host.strip_suffix(".vault.azure.net").unwrap());
        }
    }
}

pub(super) fn caller(actions: &[&str]) -> Caller {
    Caller {
        name: "tester".into(),
        client_id: "c1".into(),
        object_id: "o1".into(),
        audience: "https://vault.azure.net".into(),
        actions: actions.iter().map(ToString::to_string).collect(),
        scopes: Vec::new(),
    }
}
