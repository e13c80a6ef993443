//! HTTP on the wire: reads requests whole into [`wire::Request`]s and writes [`wire::Response`]s back. Knows no service.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use super::wire::{self, percent_decode};

/// The largest body that is read.
pub(super) const MAX_BODY: usize = 300 << 20;

/// Why a request was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// Its body is larger than [`MAX_BODY`].
    TooLarge,
    /// The client went away.
    Gone,
}

/// Reads a request to `host` whole; returns its query as sent, too.
///
/// # Errors
/// [`Unread`] if the body is too large or never ends.
pub(super) async fn read(host: &str, request: hyper::Request<Incoming>) -> Result<(wire::Request, String), Unread> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY)
        .collect()
        .await
        .map_err(|error| if error.is::<LengthLimitError>() { Unread::TooLarge } else { Unread::Gone })?;
    let query = head.uri.query().unwrap_or_default().to_owned();
    let request = wire::Request {
        method: head.method,
        host: host.to_owned(),
        path: head.uri.path().to_owned(),
        query: pairs(&query),
        headers: head.headers,
        body: body.to_bytes(),
    };
    Ok((request, query))
}

/// Query parameters in order. A plus sign is a plus sign only if it is escaped, as in forms.
fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode(&text.replace('+', " "));
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
}

/// A response for hyper. `cut` breaks the connection in the middle of the body.
pub(super) fn write(response: wire::Response, method: &Method, cut: bool) -> hyper::Response<Reply> {
    let head = *method == Method::HEAD;
    let mut written = hyper::Response::new(Reply(match (head, cut) {
        (true, _) => Stage::Done,
        (false, true) => Stage::Half(response.body),
        (false, false) => Stage::Whole(response.body),
    }));
    *written.status_mut() = response.status;
    for (name, value) in response.headers {
        let header = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
        match header {
            // A length counts only where there is no body to count: hyper knows the others better.
            (Ok(name), _) if name == hyper::header::CONTENT_LENGTH && !head => {}
            (Ok(name), Ok(value)) => {
                written.headers_mut().append(name, value);
            }
            // What no header can hold would be a defect of a service: visible, but not fatal to the others.
            _ => *written.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
    written
}

/// The body of a response.
pub(super) struct Reply(Stage);

/// What is still to be sent.
enum Stage {
    /// All of it.
    Whole(Bytes),
    /// Its first half, and then …
    Half(Bytes),
    /// … a pause, in which hyper sends what it has, and then …
    Pause,
    /// … the break.
    Break,
    /// Nothing.
    Done,
}

/// The connection is to break here.
#[derive(Debug)]
pub(super) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is broken on purpose")
    }
}

impl std::error::Error for Broken {}

impl Body for Reply {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match std::mem::replace(&mut self.0, Stage::Done) {
            Stage::Whole(body) if !body.is_empty() => Poll::Ready(Some(Ok(Frame::data(body)))),
            Stage::Half(body) => {
                self.0 = Stage::Pause;
                Poll::Ready(Some(Ok(Frame::data(body.slice(..body.len() / 2)))))
            }
            Stage::Pause => {
                self.0 = Stage::Break;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Stage::Break => Poll::Ready(Some(Err(Broken))),
            Stage::Whole(_) | Stage::Done => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Stage::Whole(body) => body.is_empty(),
            Stage::Done => true,
            Stage::Half(_) | Stage::Pause | Stage::Break => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Stage::Whole(body) | Stage::Half(body) => SizeHint::with_exact(body.len() as u64),
            Stage::Pause | Stage::Break | Stage::Done => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_in_order() {
        let query = pairs("api-version=7.6&$skiptoken=a%2Bb%3D%3D&comp&x=1+2&&x=3");
        let query: Vec<(&str, &str)> = query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(query, [("api-version", "7.6"), ("$skiptoken", "a+b=="), ("comp", ""), ("x", "1 2"), ("x", "3")]);
    }

    #[test]
    fn only_an_answer_to_head_keeps_a_length_of_its_own() {
        let response = || wire::Response::new(StatusCode::OK).header("content-length", "4711");
        assert_eq!(write(response(), &Method::HEAD, false).headers()["content-length"], "4711");
        assert!(write(response(), &Method::GET, false).headers().get("content-length").is_none());
    }
}
