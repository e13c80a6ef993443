//! Request limits: how many requests a vault or an account takes in a window, and the answer beyond it. Pure; the time
//! is handed in.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::faults::service_error;
use super::seed::Percent;
use super::wire::{Request, Response};

/// What a request counts as (`azure.md` §1.9, §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// Making a key in software.
    KeyCreate,
    /// Making a key in an HSM.
    HsmKeyCreate,
    /// Everything else on keys, each counting by its type.
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

    fn limit(self) -> u64 {
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

/// What a request on a key counts, so that 4,000 fill a window: a window holds so many of the smallest in software, and
/// of any mixture what its parts come to (`azure.md` §1.9).
fn weight((hsm, bits): (bool, Option<u32>)) -> u64 {
    let software = match bits {
        Some(3072) => 4,
        Some(4096) => 8,
        // RSA 2048 and elliptic curves.
        _ => 1,
    };
    if hsm { 2 * software } else { software }
}

/// The key that a path is about.
fn key(request: &Request) -> Option<String> {
    let mut segments = request.segments().into_iter().skip(1);
    segments.next()
}

/// A subscription takes as much as five vaults.
const SUBSCRIPTION: u64 = 5;

/// What was taken lately.
#[derive(Debug, Default)]
struct Window {
    taken: VecDeque<(DateTime<Utc>, u64)>,
    sum: u64,
}

impl Window {
    fn slide(&mut self, now: DateTime<Utc>, length: TimeDelta) {
        while let Some((_, weight)) = self.taken.pop_front_if(|(taken, _)| now - *taken >= length) {
            self.sum -= weight;
        }
    }

    fn push(&mut self, now: DateTime<Utc>, weight: u64) {
        self.taken.push_back((now, weight));
        self.sum += weight;
    }
}

/// Sliding windows: for each class, one for each vault or account and one for each subscription.
#[derive(Debug, Default)]
pub(super) struct Windows(HashMap<Class, HashMap<String, Window>>);

impl Windows {
    /// Counts a request; beyond `percent` of a limit, the answer in its place. `key` tells whether the key of a name is in
    /// the HSM, and the bits of an RSA key. A request that is turned away does not count: the documentation says so, and
    /// in another place the opposite.
    pub(super) fn take(
        &mut self,
        now: DateTime<Utc>,
        request: &Request,
        subscription: Option<&str>,
        percent: Percent,
        type_of: impl FnOnce(&str) -> Option<(bool, Option<u32>)>,
    ) -> Option<Response> {
        let class = Class::of(request)?;
        let known = if class == Class::Key { key(request).and_then(|name| type_of(&name)) } else { None };
        let weight = known.map_or(1, weight);
        let limit = percent.of(class.limit());
        // Storage has no limit for a subscription.
        let subscription = subscription.filter(|_| class != Class::Storage).map(|id| (id, limit * SUBSCRIPTION));
        let scopes = [Some((request.host.as_str(), limit)), subscription];
        let windows = self.0.entry(class).or_default();
        for (scope, limit) in scopes.into_iter().flatten() {
            let Some(window) = windows.get_mut(scope) else {
                windows.insert(scope.to_owned(), Window::default());
                continue;
            };
            window.slide(now, class.window());
            // The first always fits, however much it counts.
            if window.sum + weight > limit && window.sum > 0 {
                let busy = StatusCode::SERVICE_UNAVAILABLE;
                let status = if class == Class::Storage { busy } else { StatusCode::TOO_MANY_REQUESTS };
                return Some(service_error(&request.host, status));
            }
        }
        for (scope, _) in scopes.into_iter().flatten() {
            if let Some(window) = windows.get_mut(scope) {
                window.push(now, weight);
            }
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

    /// Takes a request about a key in software.
    fn take(
        windows: &mut Windows,
        now: DateTime<Utc>,
        request: &Request,
        subscription: Option<&str>,
    ) -> Option<Response> {
        windows.take(now, request, subscription, Percent::default(), |_| None)
    }

    /// How many requests about keys of these types, in turn, one window takes.
    fn keys(types: &[(bool, Option<u32>)], percent: u8) -> usize {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut windows = Windows::default();
        let percent = Percent::try_from(percent).unwrap();
        let get = request(Method::POST, "a.vault.azure.net", "/keys/k/backup", "");
        let mut taken = |(hsm, bits): &(bool, Option<u32>)| {
            let kind = |name: &str| (name == "k").then_some((*hsm, *bits));
            windows.take(now, &get, None, percent, kind).is_none()
        };
        types.iter().cycle().take_while(|kind| taken(kind)).count()
    }

    #[test]
    fn keys_count_by_type_and_add_up() {
        for (kind, limit) in [
            ((false, None), 4_000),
            ((false, Some(2048)), 4_000),
            ((false, Some(3072)), 1_000),
            ((false, Some(4096)), 500),
            ((true, None), 2_000),
            ((true, Some(2048)), 2_000),
            ((true, Some(3072)), 500),
            ((true, Some(4096)), 250),
        ] {
            assert_eq!(keys(&[kind], 100), limit, "{kind:?}");
        }
        // 1/4000 and 1/250 of a window in turn: 235 pairs and one more of the small.
        assert_eq!(keys(&[(false, None), (true, Some(4096))], 100), 471);
        assert_eq!(keys(&[(true, None)], 5), 100);
    }

    #[test]
    fn a_window_fills_and_slides() {
        let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let create = request(Method::POST, "a.vault.azure.net", "/keys/k/create", "{}");
        let mut windows = Windows::default();
        let at = |seconds: i64| start + TimeDelta::seconds(seconds);
        for second in 0..20 {
            assert!(take(&mut windows, at(second / 5), &create, None).is_none(), "{second}");
        }
        let refused = take(&mut windows, at(9), &create, None).unwrap();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        // Ten seconds after the first five, five more fit; what was refused did not count.
        assert_eq!((0..9).filter(|_| take(&mut windows, at(10), &create, None).is_none()).count(), 5);
        // Another vault has its own window.
        let other = request(Method::POST, "b.vault.azure.net", "/keys/k/create", "{}");
        assert!(take(&mut windows, at(10), &other, None).is_none());
    }

    #[test]
    fn a_subscription_takes_as_much_as_five_vaults() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let mut windows = Windows::default();
        let taken = (0..10)
            .flat_map(|vault| std::iter::repeat_n(format!("v{vault}.vault.azure.net"), 15))
            .filter(|host| {
                take(&mut windows, now, &request(Method::POST, host, "/keys/k/create", "{}"), Some("s")).is_none()
            })
            .count();
        assert_eq!(taken, 100);
    }
}
