//! HTTP as the emulated services see it: one request, one response, bodies whole. Knows no sockets.

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use serde::Serialize;

/// A request that has been read whole.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The host asked for, lower case, without a port.
    pub host: String,
    /// The path as sent, percent-encoding untouched, beginning with `/`.
    pub path: String,
    /// Query parameters in order, percent-decoded.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Request {
    /// The first value of a query parameter; names compare without case, as in Azure.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A header's value, if it is plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The path's segments, percent-decoded, empty ones at the end dropped.
    pub fn segments(&self) -> Vec<String> {
        let path = self.path.trim_matches('/');
        if path.is_empty() {
            return Vec::new();
        }
        path.split('/').map(percent_decode).collect()
    }
}

/// A response, whole.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Headers in order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

impl Response {
    /// A response without a body.
    pub fn new(status: StatusCode) -> Self {
        Response { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// A JSON response.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_default();
        Response::new(status).header("content-type", "application/json; charset=utf-8").body(body)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// Who is asking: taken from a token that the emulator issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The principal's name in the seed.
    pub name: String,
    /// Its application id.
    pub client_id: String,
    /// Its object id.
    pub object_id: String,
    /// The token's audience, such as `https://vault.azure.net`.
    pub audience: String,
    /// What it may do: actions and data actions, `*` matching any run of characters. `["*"]` is everything.
    pub actions: Vec<String>,
    /// Where its actions are granted, and below: ids such as `/subscriptions/…/resourceGroups/…`. Empty is everywhere.
    pub scopes: Vec<String>,
}

impl Caller {
    /// Whether one of the caller's actions covers `action`, such as `Microsoft.KeyVault/vaults/keys/backup/action`.
    pub fn may(&self, action: &str) -> bool {
        self.actions.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase()))
    }

    /// Whether the caller may do `action` on the resource `id`, or on everything in it.
    pub fn may_on(&self, action: &str, id: &str) -> bool {
        let id = format!("{}/", id.to_ascii_lowercase());
        let covers = |scope: &String| id.starts_with(&format!("{}/", scope.trim_end_matches('/').to_ascii_lowercase()));
        self.may(action) && (self.scopes.is_empty() || self.scopes.iter().any(covers))
    }
}

/// Whether `text` fits `pattern`, where `*` stands for any run of characters.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            let Some(rest) = text.strip_prefix(head) else { return false };
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| rest.get(at..).is_some_and(|rest| matches(tail, rest)))
        }
    }
}

/// Percent-decodes; what is no valid escape stays as it is.
pub fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = (byte == b'%').then(|| tail.get(..2)).flatten().and_then(|pair| std::str::from_utf8(pair).ok());
        match escape.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_match_with_wildcards() {
        for (pattern, action, fits) in [
            ("*", "Microsoft.KeyVault/vaults/keys/read", true),
            ("microsoft.keyvault/vaults/keys/*", "Microsoft.KeyVault/vaults/keys/backup/action", true),
            ("Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/vaults/keys/read", true),
            ("Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/vaults/keys/backup/action", false),
        ] {
            let caller = Caller {
                name: String::new(),
                client_id: String::new(),
                object_id: String::new(),
                audience: String::new(),
                actions: vec![pattern.into()],
                scopes: Vec::new(),
            };
            assert_eq!(caller.may(action), fits, "{pattern} {action}");
        }
    }

    #[test]
    fn actions_hold_where_they_are_granted_and_below() {
        let mut caller = Caller {
            name: String::new(),
            client_id: String::new(),
            object_id: String::new(),
            audience: String::new(),
            actions: vec!["a/*".into()],
            scopes: vec!["/subscriptions/S1/resourceGroups/rg-a".into(), "/subscriptions/s2".into()],
        };
        for (action, id, fits) in [
            ("a/read", "/subscriptions/s1/resourcegroups/rg-a/x", true),
            ("a/read", "/subscriptions/s1/resourceGroups/rg-a", true),
            ("a/read", "/subscriptions/s1/resourceGroups/rg-ab", false),
            ("a/read", "/subscriptions/s1", false),
            ("a/read", "/subscriptions/s2/resourceGroups/any", true),
            ("b/read", "/subscriptions/s2", false),
        ] {
            assert_eq!(caller.may_on(action, id), fits, "{action} {id}");
        }
        caller.scopes.clear();
        assert!(caller.may_on("a/read", "/subscriptions/s1"));
    }

    #[test]
    fn percent_decoding_keeps_what_is_no_escape() {
        assert_eq!(percent_decode("a%2Fb%zz%"), "a/b%zz%");
    }
}
