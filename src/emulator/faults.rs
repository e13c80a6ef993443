//! Faults: rules that say which request goes wrong, and how. Pure matching and counting; `server` carries them out.
//!
//! Each fault strikes before or after the effect of a request: *lost*, the service never saw it, or *landed*, the
//! service did as asked and only the answer is missing.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::wire::{self, Caller, Request, Response};

/// The most spaces before a body.
const PAD_MAX: usize = 1 << 30;

/// Which requests a fault strikes, and what happens then. What is absent matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Host name; `*` stands for any run of characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Part of the path, as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Part of the query, percent-decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Name of the principal whose token comes with it. Key Vault's clients send their first request without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// How many matching requests pass unharmed first.
    #[serde(default)]
    pub after: u64,
    /// How many are struck. Default 1.
    #[serde(default = "once")]
    pub count: u64,
    /// What happens to them.
    pub action: Action,
}

fn once() -> u64 {
    1
}

/// What happens to a request that is struck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An answer of this status.
    Status(Status),
    /// The connection closes without an answer.
    Reset(When),
    /// No answer until the client goes away or the faults are cleared.
    Stall(When),
    /// An answer that comes this many milliseconds late.
    DelayMs(u64),
    /// The service's answer, spoilt.
    Rewrite(Rewrite),
}

/// An answer in place of the service's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The status, 200 to 599.
    pub code: u16,
    /// Headers; lower case names.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Body. Default: an error in the format of the service.
    #[serde(default)]
    pub body: Option<String>,
    /// Whether the service did as asked. Default: it did not.
    #[serde(default)]
    pub when: When,
}

/// Whether a fault strikes before or after the effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// *Lost*: the service never sees the request.
    #[default]
    Before,
    /// *Landed*: the service does as asked.
    After,
}

/// How an answer is spoilt. What is not spoilt stays: status, headers, body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Rewrite {
    /// The body becomes a web server's error page.
    Html,
    /// The body ends in the middle, and its length says so too: nothing in HTTP gives it away.
    Truncate,
    /// The connection breaks in the middle of the body.
    Cut,
    /// The content type becomes `application/octet-stream`.
    ContentType,
    /// The body is empty.
    Empty,
    /// The body becomes this text.
    Body(String),
    /// Every occurrence of a text in the body becomes another.
    Replace {
        /// The text. Where it does not occur, nothing happens.
        from: String,
        /// What stands there instead.
        to: String,
    },
    /// The body begins with so many spaces, which JSON permits.
    Pad(usize),
    /// A header gets another value, or none.
    Header {
        /// Its name, in lower case.
        name: String,
        /// Its value; without one the header is taken out.
        #[serde(default)]
        value: Option<String>,
    },
}

impl Rule {
    /// Strikes the next request with `action`, whatever it is.
    pub fn new(action: Action) -> Self {
        Rule { host: None, method: None, path: None, query: None, caller: None, after: 0, count: 1, action }
    }

    /// Only requests to hosts that fit; `*` stands for any run of characters.
    #[must_use]
    pub fn host(mut self, pattern: &str) -> Self {
        self.host = Some(pattern.to_owned());
        self
    }

    /// Only requests of this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests with this in their path.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only requests with this in their query.
    #[must_use]
    pub fn query(mut self, part: &str) -> Self {
        self.query = Some(part.to_owned());
        self
    }

    /// Only requests with a token of this principal.
    #[must_use]
    pub fn caller(mut self, name: &str) -> Self {
        self.caller = Some(name.to_owned());
        self
    }

    /// The first `passed` matching requests pass, the `struck` after them do not.
    #[must_use]
    pub fn window(mut self, passed: u64, struck: u64) -> Self {
        (self.after, self.count) = (passed, struck);
        self
    }

    /// What is wrong with the rule, if anything.
    pub fn problem(&self) -> Option<String> {
        let headers: Vec<(&String, &str)> = match &self.action {
            Action::Status(status) if !(200..=599).contains(&status.code) => {
                return Some(format!("status code {} is not between 200 and 599", status.code));
            }
            Action::Status(status) => status.headers.iter().map(|(name, value)| (name, value.as_str())).collect(),
            Action::Rewrite(Rewrite::Header { name, value }) => vec![(name, value.as_deref().unwrap_or_default())],
            Action::Rewrite(Rewrite::Pad(spaces)) if *spaces > PAD_MAX => {
                return Some(format!("{spaces} spaces are more than {PAD_MAX}"));
            }
            Action::Rewrite(_) | Action::Reset(_) | Action::Stall(_) | Action::DelayMs(_) => return None,
        };
        let bad = headers.into_iter().find(|(name, value)| {
            hyper::header::HeaderName::from_lowercase(name.as_bytes()).is_err()
                || hyper::header::HeaderValue::from_str(value).is_err()
        });
        bad.map(|(name, _)| format!("{name:?} is no header in lower case, or its value is none"))
    }

    fn matches(&self, request: &Request, caller: Option<&Caller>) -> bool {
        let fits = |wanted: &Option<String>, fits: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(fits);
        let query = || {
            let pairs: Vec<String> = request.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
            pairs.join("&")
        };
        fits(&self.host, &|host| wire::matches(&host.to_ascii_lowercase(), &request.host))
            && fits(&self.method, &|method| request.method.as_str().eq_ignore_ascii_case(method))
            && fits(&self.path, &|path| request.path.contains(path))
            && fits(&self.query, &|part| query().contains(part))
            && fits(&self.caller, &|name| caller.is_some_and(|caller| caller.name == name))
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub struct Faults {
    next_id: u64,
    rules: Vec<Counted>,
}

/// A rule and what it has seen.
#[derive(Clone, Debug, Serialize)]
pub struct Counted {
    /// Its id.
    pub id: u64,
    /// The rule.
    pub rule: Rule,
    /// Matching requests so far.
    pub seen: u64,
    /// Requests struck so far.
    pub hits: u64,
}

impl Faults {
    /// Adds a rule behind those in force; returns its id.
    pub fn add(&mut self, rule: Rule) -> u64 {
        self.next_id += 1;
        self.rules.push(Counted { id: self.next_id, rule, seen: 0, hits: 0 });
        self.next_id
    }

    /// Drops every rule.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rules in force with their counts.
    pub fn list(&self) -> Vec<Counted> {
        self.rules.clone()
    }

    /// What strikes this request of `caller`: the first rule that is due. Rules behind it do not see the request.
    pub fn strike(&mut self, request: &Request, caller: Option<&Caller>) -> Option<(u64, Action)> {
        for counted in self.rules.iter_mut().filter(|counted| counted.rule.matches(request, caller)) {
            counted.seen += 1;
            if counted.seen > counted.rule.after && counted.hits < counted.rule.count {
                counted.hits += 1;
                return Some((counted.id, counted.rule.action.clone()));
            }
        }
        None
    }
}

impl Status {
    /// This answer in the format of the service at `host`.
    pub fn response(&self, host: &str) -> Response {
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let plain = self.body.is_none() && status.as_u16() >= 400;
        let mut response = if plain { service_error(host, status) } else { Response::new(status) };
        if let Some(body) = &self.body {
            response.body = Bytes::from(body.clone());
        }
        response.headers.retain(|(name, _)| !self.headers.contains_key(name));
        response.headers.extend(self.headers.clone());
        response
    }
}

/// An error as the service at `host` would put it.
pub fn service_error(host: &str, status: StatusCode) -> Response {
    let blob = host.ends_with(".blob.core.windows.net");
    let (code, message) = match (status.as_u16(), blob) {
        (429, false) => (
            "Throttled",
            "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
        ),
        (500, true) => ("InternalError", "The server encountered an internal error. Please retry the request."),
        (503, true) => ("ServerBusy", "The server is currently unable to receive requests. Please retry your request."),
        (403, true) => (
            "AuthorizationPermissionMismatch",
            "This request is not authorized to perform this operation using this permission.",
        ),
        (500, false) => ("InternalServerError", "An unexpected error occurred."),
        (503, false) => ("ServiceUnavailable", "The service is temporarily unavailable."),
        (403, false) => ("Forbidden", "Caller is not authorized to perform action on resource."),
        _ => ("InjectedFault", "This answer was asked for through the emulator's control interface."),
    };
    if blob {
        let body = format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        return Response::new(status)
            .header("content-type", "application/xml")
            .header("x-ms-error-code", code)
            .body(body);
    }
    if host == "login.microsoftonline.com" {
        let body = json!({"error": "temporarily_unavailable", "error_description": format!("AADSTS90033: {message}")});
        return Response::json(status, &body);
    }
    Response::json(status, &json!({"error": {"code": code, "message": message}}))
}

impl Rewrite {
    /// Spoils `response`, which is complete. [`Rewrite::Cut`] is for whoever writes the body to the wire.
    pub fn apply(&self, response: &mut Response) {
        fn set(response: &mut Response, name: &str, value: Option<&str>) {
            response.headers.retain(|(present, _)| present != name);
            response.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        }
        match self {
            Rewrite::Html => {
                set(response, "content-type", Some("text/html; charset=utf-8"));
                response.body = Bytes::from_static(
                    b"<!DOCTYPE html>\r\n<html><head><title>Runtime Error</title></head><body><h1>Server Error in '/' \
                      Application.</h1></body></html>\r\n",
                );
            }
            Rewrite::Truncate => response.body = response.body.slice(..response.body.len() / 2),
            Rewrite::ContentType => set(response, "content-type", Some("application/octet-stream")),
            Rewrite::Empty => response.body = Bytes::new(),
            Rewrite::Body(text) => response.body = Bytes::from(text.clone()),
            Rewrite::Replace { from, to } => {
                let body = String::from_utf8_lossy(&response.body).replace(from, to);
                response.body = Bytes::from(body);
            }
            Rewrite::Pad(spaces) => {
                let mut body = vec![b' '; *spaces];
                body.extend_from_slice(&response.body);
                response.body = Bytes::from(body);
            }
            Rewrite::Header { name, value } => return set(response, name, value.as_deref()),
            Rewrite::Cut => return,
        }
        set(response, "content-length", None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::{HeaderMap, Method};

    fn request(method: Method, url: &str) -> Request {
        let url = url::Url::parse(url).unwrap();
        Request {
            method,
            host: url.host_str().unwrap().to_owned(),
            path: url.path().to_owned(),
            query: url.query_pairs().into_owned().collect(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn a_rule_strikes_only_what_it_names() {
        let rule: Rule = serde_json::from_str(
            r#"{"host": "*.vault.azure.net", "method": "post", "path": "/backup", "query": "api-version=7.6",
                "action": {"reset": "after"}}"#,
        )
        .unwrap();
        for (method, url, struck) in [
            (Method::POST, "https://a.vault.azure.net/keys/k/backup?api-version=7.6", true),
            (Method::GET, "https://a.vault.azure.net/keys/k/backup?api-version=7.6", false),
            (Method::POST, "https://a.vault.azure.net/keys/k?api-version=7.6", false),
            (Method::POST, "https://a.vault.azure.net/keys/k/backup?api-version=7.5", false),
            (Method::POST, "https://a.blob.core.windows.net/keys/k/backup?api-version=7.6", false),
        ] {
            let mut faults = Faults::default();
            faults.add(rule.clone());
            assert_eq!(faults.strike(&request(method, url), None).is_some(), struck, "{url}");
        }
    }

    #[test]
    fn rules_count_passes_and_hits_and_the_first_that_is_due_takes_the_request() {
        let mut faults = Faults::default();
        let second = faults.add(Rule::new(Action::DelayMs(1)).window(1, 2)) + 1;
        faults.add(Rule::new(Action::Reset(When::Before)).window(0, 1));
        let request = request(Method::GET, "https://a.vault.azure.net/keys");
        let struck: Vec<Option<u64>> = (0..5).map(|_| faults.strike(&request, None).map(|(id, _)| id)).collect();
        assert_eq!(struck, [Some(second), Some(second - 1), Some(second - 1), None, None]);
        let seen: Vec<(u64, u64)> = faults.list().iter().map(|counted| (counted.seen, counted.hits)).collect();
        assert_eq!(seen, [(5, 2), (3, 1)]);
    }

    #[test]
    fn a_rule_in_json_is_checked() {
        for (text, part) in [
            (r#"{"action": {"explode": 1}}"#, "unknown variant `explode`"),
            (r#"{"action": {"reset": "before"}, "hots": "a"}"#, "unknown field `hots`"),
            (r#"{"action": {"reset": "later"}}"#, "unknown variant `later`"),
            (r#"{"action": {"status": {"code": 503, "then": 1}}}"#, "unknown field `then`"),
            (r#"{"host": "a"}"#, "missing field `action`"),
            (r#"{"action": {"rewrite": {"replace": {"from": "a"}}}}"#, "missing field `to`"),
            (r#"{"action": {"rewrite": {"header": {"name": "a", "valeu": "b"}}}}"#, "unknown field `valeu`"),
        ] {
            let error = serde_json::from_str::<Rule>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let status = |code, header: &str| Status {
            code,
            headers: [(header.to_owned(), "1".to_owned())].into(),
            body: None,
            when: When::Before,
        };
        assert_eq!(Rule::new(Action::Status(status(503, "retry-after"))).problem(), None);
        assert!(Rule::new(Action::Status(status(99, "retry-after"))).problem().is_some());
        assert!(Rule::new(Action::Status(status(503, "Retry After"))).problem().is_some());
    }

    #[test]
    fn a_status_speaks_the_language_of_the_service() {
        let status = Status { code: 503, headers: BTreeMap::new(), body: None, when: When::Before };
        let blob = status.response("a.blob.core.windows.net");
        assert!(blob.headers.contains(&("x-ms-error-code".into(), "ServerBusy".into())));
        assert!(std::str::from_utf8(&blob.body).unwrap().contains("<Code>ServerBusy</Code>"));
        let vault = Status { code: 429, ..status }.response("a.vault.azure.net");
        let body: serde_json::Value = serde_json::from_slice(&vault.body).unwrap();
        assert_eq!(body["error"]["code"], "Throttled");
        assert!(!vault.headers.iter().any(|(name, _)| name == "retry-after"));
    }

    #[test]
    fn a_truncated_answer_does_not_claim_its_old_length() {
        let mut response = Response::json(StatusCode::OK, &json!({"value": "abcdefgh"})).header("content-length", "20");
        let whole = response.body.len();
        Rewrite::Truncate.apply(&mut response);
        assert_eq!(response.body.len(), whole / 2);
        assert!(!response.headers.iter().any(|(name, _)| name == "content-length"));
        assert!(serde_json::from_slice::<serde_json::Value>(&response.body).is_err());
    }

    #[test]
    fn a_rule_may_wait_for_a_token() {
        let mut faults = Faults::default();
        faults.add(Rule::new(Action::DelayMs(1)).caller("default"));
        let request = request(Method::GET, "https://a.vault.azure.net/keys");
        let caller = |name: &str| Caller {
            name: name.into(),
            client_id: String::new(),
            object_id: String::new(),
            audience: String::new(),
            actions: Vec::new(),
            scopes: Vec::new(),
        };
        assert_eq!(faults.strike(&request, None), None);
        assert_eq!(faults.strike(&request, Some(&caller("other"))), None);
        assert!(faults.strike(&request, Some(&caller("default"))).is_some());
    }

    #[test]
    fn bodies_and_headers_are_spoilt_as_asked() {
        let spoilt = |rewrite: &str| {
            let rewrite: Rewrite = serde_json::from_str(rewrite).unwrap();
            let mut response = Response::json(StatusCode::OK, &json!({"nextLink": null})).header("date", "today");
            rewrite.apply(&mut response);
            let date = response.headers.iter().find(|(name, _)| name == "date").map(|(_, value)| value.clone());
            (String::from_utf8(response.body.to_vec()).unwrap(), date)
        };
        let today = Some("today".to_owned());
        assert_eq!(spoilt(r#"{"body": "other"}"#), ("other".into(), today.clone()));
        let replace = r#"{"replace": {"from": "null", "to": "\"x\""}}"#;
        assert_eq!(spoilt(replace), (r#"{"nextLink":"x"}"#.into(), today.clone()));
        assert_eq!(spoilt(r#"{"pad": 3}"#), (r#"   {"nextLink":null}"#.into(), today));
        let body = r#"{"nextLink":null}"#.to_owned();
        assert_eq!(spoilt(r#"{"header": {"name": "date", "value": "then"}}"#), (body.clone(), Some("then".into())));
        assert_eq!(spoilt(r#"{"header": {"name": "date"}}"#), (body, None));
        let header = |name: &str| Rule::new(Action::Rewrite(Rewrite::Header { name: name.into(), value: None }));
        assert!(header("Date").problem().is_some() && header("date").problem().is_none());
        assert!(Rule::new(Action::Rewrite(Rewrite::Pad(usize::MAX))).problem().is_some());
    }
}
