//! A network that answers by script and remembers what it was asked. For tests of this module: every trap of the SDK
//! shows on the wire, and needs no server to be shown.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream;
use zeroize::Zeroizing;

use super::{Cloud, Connection, CredentialConfig};
use crate::ambient::{Ambient, Clock, ManualClock, SeededRandom};

/// Stands in every token and in the client's secret: neither may show anywhere.
pub(super) const CANARY: &str = "canary-3f9a";

/// The challenge of a vault in the public cloud.
pub(super) const CHALLENGE: &str =
    r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net""#;

/// What happens to one request.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// It is answered.
    Answer(u16, Vec<(&'static str, String)>, Bytes),
    /// No connection can be made, for this reason.
    NoConnection(&'static str),
    /// It is sent, and the connection breaks.
    Lost,
    /// The answer breaks off after these bytes.
    Cut(u16, &'static str),
}

/// An answer without headers.
pub(super) fn answer(status: u16, body: impl Into<Bytes>) -> Step {
    Step::Answer(status, Vec::new(), body.into())
}

/// An answer with headers.
pub(super) fn with(status: u16, headers: &[(&'static str, &str)], body: impl Into<Bytes>) -> Step {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Step::Answer(status, headers, body.into())
}

/// One request as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Sent {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn authorised(&self) -> bool {
        self.header("authorization").is_some()
    }
}

/// The network. Steps are for requests that carry a token; vaults challenge the others, unless `early` has a step.
#[derive(Debug, Default)]
pub(super) struct Fake {
    steps: Mutex<VecDeque<Step>>,
    early: Mutex<VecDeque<Step>>,
    login: Mutex<VecDeque<Step>>,
    log: Mutex<Vec<Sent>>,
    tokens: Mutex<usize>,
}

impl Fake {
    /// Every request so far but those for tokens.
    pub(super) fn log(&self) -> Vec<Sent> {
        self.log.lock().unwrap().clone()
    }

    /// Those of them that carried a token.
    pub(super) fn authorised(&self) -> Vec<Sent> {
        self.log().into_iter().filter(Sent::authorised).collect()
    }

    /// What happens to the next requests without a token.
    pub(super) fn early(&self, steps: impl IntoIterator<Item = Step>) {
        self.early.lock().unwrap().extend(steps);
    }

    /// What happens to the next requests for a token.
    pub(super) fn login(&self, steps: impl IntoIterator<Item = Step>) {
        self.login.lock().unwrap().extend(steps);
    }

    /// How often a token was asked for.
    pub(super) fn tokens(&self) -> usize {
        *self.tokens.lock().unwrap()
    }

    fn next(&self, request: &Request) -> Step {
        let url = request.url();
        if url.host_str() == Some("login.microsoftonline.com") {
            *self.tokens.lock().unwrap() += 1;
            let token = format!(r#"{{"token_type":"Bearer","expires_in":86400,"access_token":"{CANARY}-token"}}"#);
            return self.login.lock().unwrap().pop_front().unwrap_or_else(|| answer(200, token));
        }
        let body = match request.body() {
            Body::Bytes(bytes) => bytes.clone(),
            Body::SeekableStream(_) => Bytes::from_static(b"a stream"),
        };
        let headers = request.headers().iter();
        let sent = Sent {
            method: format!("{:?}", request.method()).to_uppercase(),
            url: url.to_string(),
            headers: headers.map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned())).collect(),
            body,
        };
        let authorised = sent.authorised();
        self.log.lock().unwrap().push(sent);
        if authorised {
            let step = self.steps.lock().unwrap().pop_front();
            return step.unwrap_or_else(|| panic!("an unexpected request: {url}"));
        }
        let challenge = || {
            with(401, &[("www-authenticate", CHALLENGE)], r#"{"error":{"code":"Unauthorized","message":"AKV10000"}}"#)
        };
        self.early.lock().unwrap().pop_front().unwrap_or_else(challenge)
    }
}

#[async_trait]
impl HttpClient for Fake {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let broken =
            |kind, text: &'static str| azure_core::Error::with_error(kind, std::io::Error::other(text), "failed");
        match self.next(request) {
            Step::Answer(status, pairs, body) => {
                let mut headers = Headers::new();
                pairs.into_iter().for_each(|(name, value)| headers.insert(name, value));
                Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
            }
            Step::NoConnection(why) => Err(broken(ErrorKind::Connection, why)),
            Step::Lost => Err(broken(ErrorKind::Io, "connection reset by peer")),
            Step::Cut(status, body) => {
                let pieces =
                    [Ok(Bytes::from_static(body.as_bytes())), Err(broken(ErrorKind::Io, "unexpected end of file"))];
                Ok(AsyncRawResponse::new(status.into(), Headers::new(), Box::pin(stream::iter(pieces))))
            }
        }
    }
}

/// A connection over a scripted network, with a clock that stands still.
pub(super) struct Stage {
    pub(super) fake: Arc<Fake>,
    pub(super) connection: Connection,
    clock: Arc<ManualClock>,
}

impl Stage {
    /// A stage where requests with a token meet `steps`, in order. Any further one fails the test.
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let fake = Arc::new(Fake { steps: Mutex::new(steps.into_iter().collect()), ..Fake::default() });
        let clock = Arc::new(ManualClock::new(start()));
        let credential = CredentialConfig::ClientSecret {
            tenant_id: "11111111-1111-1111-1111-111111111111".into(),
            client_id: "c".into(),
            secret: Zeroizing::new(CANARY.into()),
        };
        let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(7)));
        let connection = Connection::over(fake.clone(), Cloud::Public, &credential, ambient).unwrap();
        Stage { fake, connection, clock }
    }

    /// Seconds slept so far.
    pub(super) fn slept(&self) -> i64 {
        (self.clock.now() - start()).num_seconds()
    }

    /// Whether every step was used.
    pub(super) fn done(&self) -> bool {
        self.fake.steps.lock().unwrap().is_empty()
    }
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_763_749_200, 0).unwrap()
}
