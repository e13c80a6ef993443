//! The listener that clients are pointed at: an HTTP CONNECT proxy that is the host it is asked for. It takes the place
//! of Azure's network and name service; what is said inside the tunnel is `exchange`'s.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::azure::Azure;
use super::clock;
use super::exchange::exchange;
use super::tls::Authority;

/// What a connection needs.
#[derive(Clone)]
pub(super) struct Proxy {
    /// The services.
    pub azure: Arc<Azure>,
    /// Their certificates.
    pub authority: Arc<Authority>,
}

/// Hands every connection to `serve`, forever.
pub(super) async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    serve: impl Fn(TcpStream) -> F,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers must not wait for a full packet. Without it everything works, only slower.
                stream.set_nodelay(true).ok();
                tokio::spawn(serve(stream));
            }
            // Out of file handles, most likely: connections that end give some back.
            Err(_) => clock::sleep(Duration::from_millis(50)).await,
        }
    }
}

impl Proxy {
    /// Serves one client connection.
    pub(super) async fn serve(self, stream: TcpStream) {
        let service = service_fn(move |request| {
            let answer = self.clone().connect(request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new()
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // A client that breaks off is no business of anybody else.
        connection.await.ok();
    }

    /// Answers the CONNECT and starts the tunnel behind it.
    fn connect(self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::CONNECT {
            let text = "this is a proxy for Azure over TLS: send CONNECT, or set HTTPS_PROXY";
            return refusal(StatusCode::METHOD_NOT_ALLOWED, text);
        }
        let Some(host) = request.uri().host().map(|host| host.trim_end_matches('.').to_ascii_lowercase()) else {
            return refusal(StatusCode::BAD_REQUEST, "CONNECT needs HOST:PORT");
        };
        if request.uri().port_u16() != Some(443) {
            return refusal(StatusCode::BAD_GATEWAY, "Azure listens on port 443 only");
        }
        if let Some(reason) = self.azure.absent(&host) {
            return refusal(StatusCode::BAD_GATEWAY, &reason);
        }
        tokio::spawn(self.tunnel(host, request));
        Response::new(Full::default())
    }

    /// Is `host` for as long as the client stays.
    async fn tunnel(self, host: String, request: Request<Incoming>) {
        let Ok(config) = self.authority.config(&host) else { return };
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        // A client that does not trust the certificate goes away here.
        let Ok(stream) = TlsAcceptor::from(config).accept(TokioIo::new(upgraded)).await else { return };
        let host: Arc<str> = host.into();
        let service = service_fn(move |request| exchange(self.azure.clone(), host.clone(), request));
        let connection = http1::Builder::new()
            // Services date their answers by the emulator's clock.
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service);
        connection.await.ok();
    }
}

/// A refusal, told in a header too: few clients show the body of a failed CONNECT.
fn refusal(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("akv-archiver emulator: {text}\n")));
    *response.status_mut() = status;
    if let Ok(value) = text.parse() {
        response.headers_mut().insert("x-akv-emulator", value);
    }
    response
}
