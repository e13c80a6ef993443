//! The control interface: plain HTTP and JSON on a port of its own, for tests and for people with `curl`. Moves the
//! clock, sets limits, injects faults, reads the log, stops the emulator. docs/EMULATOR.md describes it for users.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::azure::Azure;
use super::faults::Rule;
use super::seed::{Limbo, Limits, Percent};

/// The largest body that is read.
const MAX_BODY: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

/// New limits; what is absent stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    enforce: Option<bool>,
    percent: Option<Percent>,
    latency_ms: Option<u64>,
    limbo: Option<Limbo>,
}

/// Status and document of a refusal.
struct Refused(StatusCode, String);

/// Serves one connection of the control interface.
pub(super) async fn serve(azure: Arc<Azure>, stream: TcpStream) {
    let service = service_fn(|request| respond(&azure, request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if connection.await.is_ok_and(|()| azure.stop_requested()) {
        // Only now: the answer to the request that asked for it has been sent.
        azure.stop();
    }
}

async fn respond(azure: &Azure, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let (method, path) = (head.method, head.uri.path());
    let answer = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => answer(azure, &method, path, head.uri.query(), &body.to_bytes()),
        Err(error) => Err(Refused(StatusCode::BAD_REQUEST, format!("couldn't read the request: {error}"))),
    };
    let (status, document) = match answer {
        Ok(document) => (StatusCode::OK, document),
        Err(Refused(status, message)) => (status, json!({"error": message})),
    };
    let mut response = Response::new(Full::from(format!("{document}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if azure.stop_requested() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))
}

fn answer(azure: &Azure, method: &Method, path: &str, query: Option<&str>, body: &[u8]) -> Result<Value, Refused> {
    match (method, path) {
        (&Method::GET, "/health") => Ok(json!({"status": "ok", "now": azure.clock.now()})),
        (&Method::GET, "/requests") => Ok(json!({"requests": azure.requests(since(query)?)})),
        (&Method::GET, "/traffic") => Ok(json!({"traffic": azure.journal(|journal| journal.tallies())})),
        (&Method::POST, "/clock") => {
            let Advance { advance_seconds } = parse(body)?;
            azure.advance(Duration::from_secs(advance_seconds));
            Ok(json!({"now": azure.clock.now()}))
        }
        (&Method::GET, "/limits") => Ok(json!(azure.limits())),
        (&Method::POST, "/limits") => {
            let Change { enforce, percent, latency_ms, limbo } = parse(body)?;
            let old = azure.limits();
            azure.set_limits(Limits {
                enforce: enforce.unwrap_or(old.enforce),
                percent: percent.unwrap_or(old.percent),
                latency_ms: latency_ms.unwrap_or(old.latency_ms),
                limbo: limbo.unwrap_or(old.limbo),
            });
            Ok(json!(azure.limits()))
        }
        (&Method::GET, "/faults") => Ok(json!({"faults": azure.faults()})),
        (&Method::POST, "/faults") => {
            let rule: Rule = parse(body)?;
            match azure.fault(rule) {
                Ok(id) => Ok(json!({"id": id})),
                Err(error) => Err(Refused(StatusCode::BAD_REQUEST, error.message().to_owned())),
            }
        }
        (&Method::DELETE, "/faults") => {
            azure.clear_faults();
            Ok(json!({"faults": []}))
        }
        (&Method::POST, "/shutdown") => {
            azure.request_stop();
            Ok(json!({"status": "stopping"}))
        }
        (_, "/health" | "/requests" | "/traffic" | "/clock" | "/limits" | "/faults" | "/shutdown") => {
            Err(Refused(StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not take {method}")))
        }
        _ => Err(Refused(StatusCode::NOT_FOUND, format!("there is no {path}"))),
    }
}

fn since(query: Option<&str>) -> Result<u64, Refused> {
    let bad = |what: &str| Refused(StatusCode::BAD_REQUEST, format!("{what}: the only parameter is since=NUMBER"));
    match query.unwrap_or_default() {
        "" => Ok(0),
        query => query.strip_prefix("since=").and_then(|n| n.parse().ok()).ok_or_else(|| bad(query)),
    }
}
