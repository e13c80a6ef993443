//! One exchange with an emulated service: log, latency, fault, limit, caller, service, and the headers that every
//! service sends. Knows no sockets.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::StatusCode;
use hyper::body::Incoming;
use uuid::Uuid;

use super::azure::{Azure, Strike};
use super::clock;
use super::faults::{Action, Rewrite, When};
use super::http::{self, Broken, Reply, Unread};
use super::journal::{Logged, Tally};
use super::limits::Class;
use super::wire::{Caller, Request, Response};

/// Answers a request to the service at `host`.
///
/// # Errors
/// [`Broken`] if the connection is to close without an answer.
pub(super) async fn exchange(
    azure: Arc<Azure>,
    host: Arc<str>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Reply>, Broken> {
    let method = request.method().clone();
    let (request, query) = match http::read(&host, request).await {
        Ok(read) => read,
        Err(Unread::Gone) => return Err(Broken),
        Err(Unread::TooLarge) => {
            let refused = Response::new(StatusCode::PAYLOAD_TOO_LARGE).header("connection", "close");
            return Ok(http::write(refused, &method, false));
        }
    };
    let id = clock::uuid();
    let now = azure.clock.now();
    let caller = azure.tokens.caller(request.header("authorization"), now);
    let n = azure.journal(|journal| journal.begin(entry(&request, query, caller.as_deref(), now)));
    let mut strike = azure.strike(&request, caller.as_deref());
    if let Some(strike) = &strike {
        azure.journal(|journal| journal.fault(n, strike.id));
    }
    clock::sleep(azure.latency()).await;
    let mut response = answer(&azure, id, caller.as_deref(), &request, strike.as_mut()).await?;
    complete(&azure, id, &request, &mut response);
    if let Some(Strike { action: Action::Rewrite(rewrite), .. }) = &strike {
        rewrite.apply(&mut response);
    }
    let tally = tally(&request, &response);
    azure.journal(|journal| {
        journal.answered(n, tally.status);
        journal.add(&request.host, tally);
    });
    let cut = strike.is_some_and(|strike| strike.action == Action::Rewrite(Rewrite::Cut));
    Ok(http::write(response, &method, cut))
}

fn entry(request: &Request, query: String, caller: Option<&Caller>, now: DateTime<Utc>) -> Logged {
    Logged {
        n: 0,
        time: now,
        host: request.host.clone(),
        method: request.method.to_string(),
        path: request.path.clone(),
        query,
        length: request.body.len(),
        status: None,
        fault: None,
        caller: caller.map(|caller| caller.name.clone()),
        user_agent: request.header("user-agent").map(str::to_owned),
    }
}

fn tally(request: &Request, response: &Response) -> Tally {
    Tally {
        class: Class::of(request).map(Class::name),
        status: response.status.as_u16(),
        requests: 1,
        received: request.body.len() as u64,
        sent: response.body.len() as u64,
    }
}

/// The service's answer, or what a fault makes of it.
async fn answer(
    azure: &Azure,
    id: Uuid,
    caller: Option<&Caller>,
    request: &Request,
    mut strike: Option<&mut Strike>,
) -> Result<Response, Broken> {
    if let Some(strike) = &mut strike {
        match &strike.action {
            Action::Status(status) if status.when == When::Before => return Ok(status.response(&request.host)),
            Action::Reset(When::Before) => return Err(Broken),
            Action::Stall(When::Before) => stall(strike).await,
            Action::DelayMs(delay) => clock::sleep(Duration::from_millis(*delay)).await,
            _ => {}
        }
    }
    // The moment at which it takes effect, after every delay.
    let now = azure.clock.now();
    let response = match azure.throttle(now, request) {
        Some(refused) => refused,
        // Most answers are there sooner than another thread could take over the other connections.
        None if is_quick(request) => azure.serve(now, id, caller, request),
        // Which must not wait while a service makes a key.
        None => tokio::task::block_in_place(|| azure.serve(now, id, caller, request)),
    };
    if let Some(strike) = &mut strike {
        match &strike.action {
            Action::Status(status) => return Ok(status.response(&request.host)),
            Action::Reset(_) => return Err(Broken),
            Action::Stall(When::After) => stall(strike).await,
            Action::Stall(When::Before) | Action::DelayMs(_) | Action::Rewrite(_) => {}
        }
    }
    Ok(response)
}

/// Whether the answer needs no key to be made, save for one that a seed left to be made.
fn is_quick(request: &Request) -> bool {
    let storage = request.host.ends_with(".blob.core.windows.net");
    request.method.is_safe() || storage || request.path.starts_with("/secrets/") || request.path.ends_with("/backup")
}

/// Waits until the faults are cleared. If the client goes away first, hyper drops the exchange here.
async fn stall(strike: &mut Strike) {
    // The sender outlives every exchange, so waiting cannot fail.
    strike.cleared.changed().await.ok();
}

/// The headers that every service sends.
fn complete(azure: &Azure, id: Uuid, request: &Request, response: &mut Response) {
    let mut add = |name: &str, value: String| {
        if !response.headers.iter().any(|(present, _)| present == name) {
            response.headers.push((name.to_owned(), value));
        }
    };
    add("date", azure.clock.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    add("x-ms-request-id", id.to_string());
    if let Some(client) = request.header("x-ms-client-request-id") {
        add("x-ms-client-request-id", client.to_owned());
    }
}
