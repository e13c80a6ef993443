//! Request limits: how many requests a vault or an account takes in a window, and the answer beyond it. Pure; the time
//! is handed in.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::faults::service_error;
use super::wire::{Request, Response};

/// What a request counts as (`azure.md` §1.9, §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// Making a key in software.
    KeyCreate,
    /// Making a key in an HSM.
    HsmKeyCreate,
    /// Everything else on keys. The limit is that of RSA 2048 and EC keys in software: a path does not tell which key
    /// it is about.
    Key,
    /// Setting a secret.
    SecretCreate,
    /// Everything else in a vault.
    Vault,
    /// Any request to a storage account.
    Storage,
}

impl Class {
    /// The class of a request; none where no limit is emulated.
    pub(super) fn of(request: &Request) -> Option<Class> {
        if request.host.ends_with(".blob.core.windows.net") {
            return Some(Class::Storage);
        }
        if !request.host.ends_with(".vault.azure.net") && !request.host.ends_with(".managedhsm.azure.net") {
            return None;
        }
        let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        Some(match (&request.method, path.as_slice()) {
            (&Method::POST, ["keys", _, "create"]) if hsm(request) => Class::HsmKeyCreate,
            (&Method::POST, ["keys", _, "create"]) => Class::KeyCreate,
            (_, ["keys" | "deletedkeys", ..]) => Class::Key,
            (&Method::PUT, ["secrets", _]) => Class::SecretCreate,
            _ => Class::Vault,
        })
    }

    /// Its name in the control interface.
    pub(super) fn name(self) -> &'static str {
        match self {
            Class::KeyCreate => "key-create",
            Class::HsmKeyCreate => "hsm-key-create",
            Class::Key => "key",
            Class::SecretCreate => "secret-create",
            Class::Vault => "vault",
            Class::Storage => "storage",
        }
    }

    fn limit(self) -> usize {
        match self {
            Class::HsmKeyCreate => 10,
            Class::KeyCreate => 20,
            Class::SecretCreate => 300,
            Class::Key | Class::Vault => 4_000,
            Class::Storage => 20_000,
        }
    }

    fn window(self) -> TimeDelta {
        TimeDelta::seconds(if self == Class::Storage { 1 } else { 10 })
    }
}

fn hsm(request: &Request) -> bool {
    #[derive(Deserialize)]
    struct Create {
        kty: String,
    }
    serde_json::from_slice::<Create>(&request.body).is_ok_and(|create| create.kty.ends_with("-HSM"))
}

/// A subscription takes as much as five vaults.
const SUBSCRIPTION: usize = 5;

/// Sliding windows, one for each vault or account and class, one for each subscription and class.
#[derive(Debug, Default)]
pub(super) struct Windows {
    taken: HashMap<(String, Class), VecDeque<DateTime<Utc>>>,
}

impl Windows {
    /// Counts a request; beyond a limit, the answer in its place. A request that is turned away does not count: the
    /// documentation says so, and in another place the opposite.
    pub(super) fn take(
        &mut self,
        now: DateTime<Utc>,
        request: &Request,
        subscription: Option<&str>,
    ) -> Option<Response> {
        let class = Class::of(request)?;
        let mut scopes = vec![(request.host.clone(), class.limit())];
        // Storage has no such limit.
        if let Some(subscription) = subscription.filter(|_| class != Class::Storage) {
            scopes.push((subscription.to_owned(), class.limit() * SUBSCRIPTION));
        }
        let full = scopes.iter().any(|(scope, limit)| {
            let window = self.taken.entry((scope.clone(), class)).or_default();
            while window.front().is_some_and(|taken| now - *taken >= class.window()) {
                window.pop_front();
            }
            window.len() >= *limit
        });
        if full {
            let busy = StatusCode::SERVICE_UNAVAILABLE;
            let status = if class == Class::Storage { busy } else { StatusCode::TOO_MANY_REQUESTS };
            return Some(service_error(&request.host, status));
        }
        for (scope, _) in scopes {
            self.taken.entry((scope, class)).or_default().push_back(now);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hyper::HeaderMap;

    fn request(method: Method, host: &str, path: &str, body: &'static str) -> Request {
        let (host, path, body) = (host.to_owned(), path.to_owned(), Bytes::from_static(body.as_bytes()));
        Request { method, host, path, query: Vec::new(), headers: HeaderMap::new(), body }
    }

    #[test]
    fn requests_are_classed_by_what_they_do() {
        let vault = "a.vault.azure.net";
        for (request, class) in [
            (request(Method::POST, vault, "/keys/k/create", r#"{"kty":"RSA"}"#), Some(Class::KeyCreate)),
            (request(Method::POST, vault, "/keys/k/create", r#"{"kty":"EC-HSM"}"#), Some(Class::HsmKeyCreate)),
            (request(Method::POST, vault, "/keys/k/backup", ""), Some(Class::Key)),
            (request(Method::GET, vault, "/deletedkeys", ""), Some(Class::Key)),
            (request(Method::PUT, vault, "/secrets/s", ""), Some(Class::SecretCreate)),
            (request(Method::GET, vault, "/secrets/s/", ""), Some(Class::Vault)),
            (request(Method::PUT, "a.blob.core.windows.net", "/c/b", ""), Some(Class::Storage)),
            (request(Method::GET, "management.azure.com", "/subscriptions", ""), None),
        ] {
            assert_eq!(Class::of(&request), class, "{} {}", request.method, request.path);
        }
    }

    #[test]
    fn a_window_fills_and_slides() {
        let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let create = request(Method::POST, "a.vault.azure.net", "/keys/k/create", "{}");
        let mut windows = Windows::default();
        let at = |seconds: i64| start + TimeDelta::seconds(seconds);
        for second in 0..20 {
            assert!(windows.take(at(second / 5), &create, None).is_none(), "{second}");
        }
        let refused = windows.take(at(9), &create, None).unwrap();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        // Ten seconds after the first five, five more fit; what was refused did not count.
        assert_eq!((0..9).filter(|_| windows.take(at(10), &create, None).is_none()).count(), 5);
        // Another vault has its own window.
        let other = request(Method::POST, "b.vault.azure.net", "/keys/k/create", "{}");
        assert!(windows.take(at(10), &other, None).is_none());
    }

    #[test]
    fn a_subscription_takes_as_much_as_five_vaults() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut windows = Windows::default();
        let taken = (0..10)
            .flat_map(|vault| std::iter::repeat_n(format!("v{vault}.vault.azure.net"), 15))
            .filter(|host| windows.take(now, &request(Method::POST, host, "/keys/k/create", "{}"), Some("s")).is_none())
            .count();
        assert_eq!(taken, 100);
    }
}
