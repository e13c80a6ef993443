//! The HTTP client under every pipeline: proxy, certificate authorities, time limits, and a bound on what an answer may
//! make us hold. Knows no service.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use bytes::Bytes;
use futures::StreamExt;
use url::Url;

use crate::error::{Error, Result};

/// The largest answer that is read, in bytes. A page of 5,000 blobs has about 8 MB, a backup blob less; parts of a
/// download are 4 MiB.
pub(super) const ANSWER_LIMIT: u64 = 64 << 20;

const CONNECT: Duration = Duration::from_secs(20);
/// The longest silence while an answer is waited for or read, unless told otherwise. It is counted from the request's
/// beginning, so a body must be on its way by then.
const SILENCE: Duration = Duration::from_secs(60);
/// A body of so many bytes may take longer than any silence, on a slow line; only [`REQUEST`] bounds it.
const LARGE: u64 = 256 << 10;
/// The longest that one request may take, body and answer included.
const REQUEST: Duration = Duration::from_secs(600);

/// Where managed identities get tokens: addresses of the machine itself, never to be asked through a proxy.
const NEVER_PROXIED: &str = "169.254.0.0/16,127.0.0.0/8,localhost,::1";

/// How to reach Azure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// An HTTP proxy. Without one, the usual environment variables apply.
    pub proxy: Option<Url>,
    /// A file of certificate authorities in PEM, trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The longest silence while an answer is waited for or read. Without one, a minute.
    pub silence: Option<Duration>,
}

impl Network {
    /// The client for these settings.
    pub(super) fn client(&self) -> Result<Arc<dyn HttpClient>> {
        let silence = self.silence.unwrap_or(SILENCE);
        let usual = self.build(reqwest::Client::builder().read_timeout(silence))?;
        let uploads = self.build(reqwest::Client::builder())?;
        Ok(Arc::new(Clients { usual, uploads }))
    }

    fn build(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
        let mut builder = builder
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            // A redirect would carry a token to wherever it points.
            .redirect(reqwest::redirect::Policy::none())
            .http1_only();
        if let Some(url) = &self.proxy {
            // The address may hold a password, so only its host is named.
            let host = url.host_str().unwrap_or_default();
            let proxy = reqwest::Proxy::all(url.clone())
                .map_err(|_| Error::usage(format!("the proxy {host:?} has an address that cannot be used")))?;
            builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(NEVER_PROXIED)));
        } else {
            builder = from_environment(builder.no_proxy(), |name| std::env::var(name).ok())?;
        }
        if let Some(file) = &self.ca_file {
            let pem = std::fs::read(file)
                .map_err(|error| Error::usage(format!("couldn't read ca_file {}: {error}", file.display())))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|authorities| !authorities.is_empty())
                .ok_or_else(|| {
                    Error::usage(format!("ca_file {} holds no certificates in PEM", file.display()))
                        .hint("give a file with -----BEGIN CERTIFICATE----- blocks")
                })?;
            builder = builder.tls_certs_merge(authorities);
        }
        builder.build().map_err(|error| {
            let file = self.ca_file.as_ref().map(|file| format!(" with ca_file {}", file.display()));
            let why = std::error::Error::source(&error).map_or_else(|| "unknown cause".to_owned(), ToString::to_string);
            Error::usage(format!("couldn't set up TLS{}: {why}", file.unwrap_or_default()))
        })
    }
}

/// Two clients that differ in how long a silence they bear: reqwest counts it from the request's beginning, while the body
/// is still being sent.
#[derive(Debug)]
struct Clients {
    usual: reqwest::Client,
    uploads: reqwest::Client,
}

#[async_trait]
impl HttpClient for Clients {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let large = request.body().len().is_none_or(|length| length >= LARGE);
        let client = if large { &self.uploads } else { &self.usual };
        client.execute_request(request).await
    }
}

/// The answer was longer than [`ANSWER_LIMIT`].
#[derive(Debug)]
pub(super) struct TooLong(u64);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is longer than {} bytes", self.0)
    }
}

impl std::error::Error for TooLong {}

/// A client that stops reading an answer at a limit. The SDK holds whole answers in memory and has no limit itself.
#[derive(Debug)]
pub(super) struct Bounded {
    inner: Arc<dyn HttpClient>,
    limit: u64,
}

impl Bounded {
    /// `inner`, with answers of at most `limit` bytes.
    pub(super) fn new(inner: Arc<dyn HttpClient>, limit: u64) -> Arc<Self> {
        Arc::new(Bounded { inner, limit })
    }
}

#[async_trait]
impl HttpClient for Bounded {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let (status, headers, body) = self.inner.execute_request(request).await?.deconstruct();
        let limit = self.limit;
        let mut left = limit;
        let body = body.map(move |chunk: azure_core::Result<Bytes>| {
            let chunk = chunk?;
            left = left
                .checked_sub(chunk.len() as u64)
                .ok_or_else(|| azure_core::Error::new(ErrorKind::Other, TooLong(limit)))?;
            Ok(chunk)
        });
        Ok(AsyncRawResponse::new(status, headers, Box::pin(body)))
    }
}

/// The environment's proxy, for HTTPS only: all of Azure is HTTPS, and what is not is the machine's own identity service,
/// whose token no proxy may see. A proxy there would be given its own machine's identity, and hand it to us.
fn from_environment(
    builder: reqwest::ClientBuilder,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<reqwest::ClientBuilder> {
    let first = |names: &[&str]| names.iter().find_map(|name| variable(name)).filter(|value| !value.is_empty());
    let Some(address) = first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]) else { return Ok(builder) };
    let never = [NEVER_PROXIED.to_owned(), first(&["NO_PROXY", "no_proxy"]).unwrap_or_default()].join(",");
    let proxy = reqwest::Proxy::https(&address)
        .map_err(|_| Error::usage("HTTPS_PROXY or ALL_PROXY holds an address that cannot be used"))?;
    Ok(builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(&never))))
}

#[cfg(test)]
mod tests {
    use super::super::failure::{Cause, Unreached, settle};
    use super::super::wire::Trial;
    use super::*;
    use azure_core::http::Method;

    #[test]
    fn a_ca_file_that_is_missing_or_no_pem_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let network = Network { ca_file: Some(file.clone()), ..Network::default() };
        assert!(network.client().unwrap_err().message().contains("ca.pem"));
        std::fs::write(&file, "no certificate").unwrap();
        let error = network.client().unwrap_err();
        assert!(error.message().contains("ca.pem"), "{error}");
        assert_eq!(error.kind(), crate::error::Kind::Usage);
    }

    /// A proxy on this machine that answers every request with `reply` and closes.
    async fn proxy(reply: &'static str) -> Network {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        Network { proxy: Some(url), ..Network::default() }
    }

    async fn failure(network: &Network) -> Cause {
        let client = network.client().unwrap();
        let request = Request::new(Url::parse("https://prod.vault.azure.net/keys").unwrap(), Method::Get);
        let result = client.execute_request(&request).await.map(drop);
        settle(result, &Trial::default()).unwrap_err().cause
    }

    #[tokio::test]
    async fn a_proxy_that_cannot_resolve_a_host_is_told_from_one_that_is_down() {
        let unresolved = failure(&proxy("HTTP/1.1 502 Bad Gateway\r\n\r\n").await).await;
        assert!(matches!(unresolved, Cause::Unreached(Unreached::Proxy, _)), "{unresolved:?}");
        let closed = failure(&proxy("").await).await;
        assert!(matches!(closed, Cause::Unreached(Unreached::Connection, _)), "{closed:?}");

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        let down = failure(&Network { proxy: Some(url), ..Network::default() }).await;
        let Cause::Unreached(Unreached::Connection, why) = down else { panic!("{down:?}") };
        assert!(why.to_lowercase().contains("refused") && !why.contains("vault.azure.net/keys"), "{why}");
    }

    /// Takes requests with bodies of `length` bytes whole, and answers each or never.
    async fn takes(length: usize, answers: bool) -> Url {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut request, mut part) = (Vec::new(), vec![0; 1 << 16]);
                let whole = |request: &[u8]| {
                    request
                        .windows(4)
                        .position(|end| end == b"\r\n\r\n")
                        .is_some_and(|at| request.len() >= at + 4 + length)
                };
                while !whole(&request) {
                    match stream.read(&mut part).await {
                        Ok(count @ 1..) => request.extend(&part[..count]),
                        _ => break,
                    }
                }
                if !answers {
                    std::future::pending::<()>().await;
                }
                let _ = stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
            }
        });
        url
    }

    #[tokio::test]
    async fn trap_the_time_that_a_body_takes_to_be_sent_is_no_silence() {
        // No silence at all is borne: what is answered all the same, however late, was not timed.
        let network = Network { silence: Some(Duration::ZERO), ..Network::default() };
        for (length, answered) in [(1, false), (usize::try_from(LARGE).unwrap(), true)] {
            let mut request = Request::new(takes(length, answered).await, Method::Put);
            request.set_body(Bytes::from(vec![b'x'; length]));
            let answer = network.client().unwrap().execute_request(&request).await;
            assert_eq!(answer.is_ok(), answered, "{length} bytes: {:?}", answer.err());
        }
    }

    #[tokio::test]
    async fn trap_an_answer_without_end_is_not_held_in_memory() {
        #[derive(Debug)]
        struct Endless;
        #[async_trait]
        impl HttpClient for Endless {
            async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
                let body = futures::stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 100]))).take(100_000);
                Ok(AsyncRawResponse::new(200.into(), azure_core::http::headers::Headers::new(), Box::pin(body)))
            }
        }
        let request = Request::new(Url::parse("https://prod.vault.azure.net/keys").unwrap(), Method::Get);
        let answer = Bounded::new(Arc::new(Endless), 1000).execute_request(&request).await.unwrap();
        let result = answer.try_into_raw_response().await.map(drop);
        let cause = settle(result, &Trial::default()).unwrap_err().cause;
        assert!(matches!(&cause, Cause::Malformed(why) if why.contains("longer than 1000 bytes")), "{cause:?}");
    }

    #[test]
    fn a_proxy_password_is_not_in_an_error() {
        let network =
            Network { proxy: Some(Url::parse("ftp://user:hunter2@proxy.example").unwrap()), ..Network::default() };
        if let Err(error) = network.client() {
            assert!(!error.message().contains("hunter2"), "{error}");
        }
    }
}
