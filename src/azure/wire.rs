//! What passes on the wire, seen below the SDK's models: the bytes, headers and time of every answer, and how many
//! requests there were. Knows no service and decides nothing.
//!
//! The SDK parses answers into models that lose fields, and errors into codes that a backslash in the message
//! destroys (`sdk.md` §0.2). So a policy keeps each answer as it came, and everything else in `azure` reads that copy.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::headers::Headers;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{AsyncRawResponse, Context, Request};
use bytes::Bytes;
use chrono::{DateTime, Datelike as _, TimeDelta, Utc};

use crate::ambient::Ambient;
use crate::vault::Traffic;

/// One whole answer.
#[derive(Clone)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The headers, names in lower case.
    pub(super) headers: Headers,
    /// The body as it came.
    pub(super) body: Bytes,
    /// From the request's start to the body's end.
    pub(super) took: Duration,
}

impl Answer {
    /// A header's value.
    pub(super) fn header(&self, name: &'static str) -> Option<&str> {
        // The SDK's own way makes an error of every header that is not there.
        self.headers.iter().find(|(found, _)| found.as_str() == name).map(|(_, value)| value.as_str())
    }

    /// The service's clock, whole seconds.
    pub(super) fn date(&self) -> Option<DateTime<Utc>> {
        http_date(self.header("date")?)
    }

    /// Whether the service did what was asked.
    pub(super) fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl fmt::Debug for Answer {
    // Bodies hold backup blobs and tokens; they have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

/// A date as HTTP headers write it: `Fri, 21 Nov 2025 18:20:00 GMT`. None of a year that no format can hold: a service
/// that tells one tells nothing.
pub(super) fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let date = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
    (0..=9999).contains(&date.year()).then_some(date)
}

/// One try of an operation, as seen on the wire. Travels through the SDK's pipelines in their context.
#[derive(Debug, Default)]
pub(super) struct Trial(Mutex<Seen>);

/// What a [`Trial`] has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether the last request carried a token. One that did not cannot have had an effect.
    pub(super) authorised: bool,
    /// The answer to the last request; `None` if it never came.
    pub(super) answer: Option<Answer>,
    /// The identity service's answer, if it refused a token.
    pub(super) refused_token: Option<Answer>,
    /// Requests sent to the service.
    pub(super) requests: u32,
}

impl Trial {
    /// What was seen, leaving nothing behind.
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut self.seen())
    }

    /// Notes an answer to a request without a token that was not sent, since its answer was known.
    pub(super) fn told(&self, answer: Answer) {
        let mut seen = self.seen();
        (seen.authorised, seen.answer) = (false, Some(answer));
    }

    /// Requests sent to the service, and how long the last answer took; zero if there was none.
    pub(super) fn spent(&self) -> (u32, Duration) {
        let seen = self.seen();
        (seen.requests, seen.answer.as_ref().map(|answer| answer.took).unwrap_or_default())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts what passes through one door, and how far the service's clock is from ours.
#[derive(Debug, Default)]
pub(super) struct Meter {
    requests: AtomicU64,
    throttled: AtomicU64,
    retried: AtomicU64,
    skew: Mutex<Option<TimeDelta>>,
}

impl Meter {
    /// The counts so far.
    pub(super) fn traffic(&self) -> Traffic {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic { requests: count(&self.requests), throttled: count(&self.throttled), retried: count(&self.retried) }
    }

    /// Counts a try that repeats another.
    pub(super) fn retry(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    /// The service's clock minus ours, by the last answer that had a date.
    pub(super) fn skew(&self) -> Option<TimeDelta> {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, answer: &Answer, started: DateTime<Utc>) {
        if answer.status == 429 {
            self.throttled.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(date) = answer.date() {
            let middle = started + answer.took / 2;
            *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(date - middle);
        }
    }
}

/// Tells of a request to whoever reads logs. A query may hold a signature, headers a token and bodies anything: none of them
/// is shown.
fn log(request: &Request, status: Option<u16>, took: Duration) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (method, url) = (request.method(), request.url());
    let (host, path) = (url.host_str().unwrap_or_default(), url.path());
    let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    tracing::debug!("{method} {host}{path} {status} {} ms", took.as_millis());
}

/// Whose answers a [`Witness`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The service that was asked.
    Service,
    /// The identity service that gives tokens. Only refusals are kept: the rest are tokens.
    Identity,
}

/// The policy that keeps answers. It runs per request, below authentication: it sees each challenge and each token.
#[derive(Debug)]
pub(super) struct Witness {
    side: Side,
    ambient: Ambient,
    meter: Arc<Meter>,
}

impl Witness {
    /// A witness that counts into `meter`.
    pub(super) fn new(side: Side, ambient: Ambient, meter: Arc<Meter>) -> Arc<Self> {
        Arc::new(Witness { side, ambient, meter })
    }
}

#[async_trait]
impl Policy for Witness {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let Some((next, rest)) = next.split_first() else {
            return Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Other, "no transport"));
        };
        let trial = ctx.value::<Arc<Trial>>();
        let (started, began) = (self.ambient.now(), self.ambient.monotonic());
        self.meter.requests.fetch_add(1, Ordering::Relaxed);
        if let (Side::Service, Some(trial)) = (self.side, trial) {
            let authorised = request.headers().iter().any(|(name, _)| name.as_str() == "authorization");
            let mut seen = trial.seen();
            seen.authorised = authorised;
            seen.requests += 1;
            seen.answer = None;
        }
        let outcome = async {
            let (status, headers, body) = next.send(ctx, request, rest).await?.deconstruct();
            Ok::<_, azure_core::Error>((status, headers, body.collect().await?))
        };
        let outcome = outcome.await;
        let took = self.ambient.monotonic().saturating_sub(began);
        log(request, outcome.as_ref().ok().map(|(status, ..)| u16::from(*status)), took);
        let (status, headers, body) = outcome?;
        let answer = Answer { status: u16::from(status), headers: headers.clone(), body: body.clone(), took };
        self.meter.note(&answer, started);
        if let Some(trial) = trial {
            let mut seen = trial.seen();
            match self.side {
                Side::Service => seen.answer = Some(answer),
                Side::Identity if !answer.succeeded() => seen.refused_token = Some(answer),
                Side::Identity => {}
            }
        }
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}
