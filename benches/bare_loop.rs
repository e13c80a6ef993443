//! A loop that makes the archiver's HTTP requests, with the archiver's HTTP client, and does nothing else: what a snapshot
//! would cost if reading, deciding, encrypting and proving were free. `benches/run` starts it; it must not know why.
//!
//! Usage: `bare_loop READY_FILE VAULT CONTAINER_URL IN_FLIGHT BLOB_BYTES [REQUESTS_PER_SECOND]`

// A benchmark is a test's kin: what cannot go on stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const API_VERSION: &str = "7.6";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Deserialize)]
struct Ready {
    proxy: String,
    ca_file: String,
    tenant_id: String,
    client_id: String,
    client_secret: String,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

/// The little of a list that tells what to ask next.
#[derive(Deserialize)]
struct Page {
    value: Vec<Item>,
    #[serde(rename = "nextLink")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(alias = "kid")]
    id: String,
    #[serde(default)]
    managed: bool,
}

/// A client of one vault and one container.
struct Bare {
    client: Client,
    vault: String,
    container: String,
    vault_token: String,
    blob_token: String,
    /// What is put in place of a capture, and its digest as the header wants it.
    blob: (Bytes, String),
    /// Between two requests to the vault, if they are paced.
    pace: Option<tokio::sync::Mutex<tokio::time::Interval>>,
    asked: AtomicU64,
    pages: AtomicU64,
}

impl Bare {
    async fn new(arguments: &[String]) -> Result<Bare> {
        let [ready, vault, container, _, size, rest @ ..] = arguments else { return Err("too few arguments".into()) };
        let ready: Ready = serde_json::from_slice(&std::fs::read(ready)?)?;
        let client = Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(600))
            .proxy(reqwest::Proxy::all(&ready.proxy)?)
            .tls_certs_merge(reqwest::Certificate::from_pem_bundle(&std::fs::read(&ready.ca_file)?)?)
            .build()?;
        let pace = match rest {
            [] => None,
            [rate, ..] => Some(tokio::sync::Mutex::new(tokio::time::interval(Duration::from_secs_f64(
                1.0 / rate.parse::<f64>()?,
            )))),
        };
        let blob = vec![0x5a; size.parse()?];
        let digest = <md5::Md5 as md5::Digest>::digest(&blob);
        let digest = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
        Ok(Bare {
            vault: format!("https://{vault}.vault.azure.net"),
            container: container.clone(),
            vault_token: token(&client, &ready, "https://vault.azure.net/.default").await?,
            blob_token: token(&client, &ready, "https://storage.azure.com/.default").await?,
            client,
            blob: (blob.into(), digest),
            pace,
            asked: AtomicU64::new(0),
            pages: AtomicU64::new(0),
        })
    }

    async fn ask(&self, method: Method, url: &str) -> Result<Bytes> {
        if let Some(pace) = &self.pace {
            pace.lock().await.tick().await;
        }
        let request = self.client.request(method.clone(), url).bearer_auth(&self.vault_token);
        let request =
            request.header("accept", "application/json").header("x-ms-client-request-id", one_id(&self.asked));
        let request = if method == Method::POST { request.header("content-length", "0") } else { request };
        Ok(sent(request).await?.bytes().await?)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}?api-version={API_VERSION}", self.vault)
    }

    /// Reads a list to its end, page by page; tells `found` of what no certificate brings along.
    async fn list(
        self: Arc<Self>,
        kind: &'static str,
        list: String,
        found: Option<mpsc::Sender<(&'static str, String)>>,
    ) -> Result<()> {
        let mut next = Some(self.url(&list));
        while let Some(url) = next.take() {
            self.pages.fetch_add(1, Ordering::Relaxed);
            let page: Page = serde_json::from_slice(&self.ask(Method::GET, &url).await?)?;
            next = page.next;
            let own = page.value.into_iter().filter(|item| !item.managed || kind == "certificates");
            if let Some(found) = &found {
                for item in own {
                    found.send((kind, item.id)).await?;
                }
            }
        }
        Ok(())
    }

    /// An object's requests: backup, versions, what has a public part, and the blob.
    async fn take(self: Arc<Self>, kind: &'static str, name: &str) -> Result<()> {
        self.ask(Method::POST, &self.url(&format!("{kind}/{name}/backup"))).await?;
        let mut next = Some(self.url(&format!("{kind}/{name}/versions")));
        while let Some(url) = next.take() {
            let page: Page = serde_json::from_slice(&self.ask(Method::GET, &url).await?)?;
            next = page.next;
            for version in page.value.iter().filter(|_| kind != "secrets") {
                let version = version.id.rsplit('/').next().unwrap_or_default();
                self.ask(Method::GET, &self.url(&format!("{kind}/{name}/{version}"))).await?;
            }
        }
        if kind == "keys" {
            self.ask(Method::GET, &self.url(&format!("{kind}/{name}/rotationpolicy"))).await?;
        }
        let (blob, digest) = &self.blob;
        let request = self
            .client
            .put(format!("{}/vaults/bare/captures/{kind}/{name}", self.container))
            .bearer_auth(&self.blob_token)
            .header("accept", "application/xml")
            .header("content-type", "application/octet-stream")
            .header("content-md5", digest)
            .header("if-none-match", "*")
            .header("x-ms-blob-content-md5", digest)
            .header("x-ms-blob-type", "BlockBlob")
            .header("x-ms-client-request-id", one_id(&self.asked))
            .header("x-ms-version", "2024-11-04")
            .body(blob.clone());
        sent(request).await?.bytes().await?;
        Ok(())
    }
}

/// An id for each request, cheaper than any random one.
fn one_id(counter: &AtomicU64) -> String {
    uuid::Uuid::from_u128(u128::from(counter.fetch_add(1, Ordering::Relaxed))).to_string()
}

async fn sent(request: RequestBuilder) -> Result<Response> {
    Ok(request.send().await?.error_for_status()?)
}

async fn token(client: &Client, ready: &Ready, scope: &str) -> Result<String> {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", ready.client_id.as_str()),
        ("client_secret", ready.client_secret.as_str()),
        ("scope", scope),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = client.post(format!("https://login.microsoftonline.com/{}/oauth2/v2.0/token", ready.tenant_id));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
    Ok(serde_json::from_slice::<Token>(&sent(request).await?.bytes().await?)?.access_token)
}

/// Objects taken, and pages of lists read.
async fn run(arguments: &[String]) -> Result<(u64, u64)> {
    let in_flight: usize = arguments.get(3).ok_or("too few arguments")?.parse()?;
    let bare = Arc::new(Bare::new(arguments).await?);
    let (found, mut objects) = mpsc::channel(in_flight);
    let mut lists = JoinSet::new();
    for kind in ["keys", "secrets", "certificates"] {
        lists.spawn(bare.clone().list(kind, kind.to_owned(), Some(found.clone())));
        lists.spawn(bare.clone().list(kind, format!("deleted{kind}"), None));
    }
    drop(found);
    let mut taking = JoinSet::new();
    let mut taken = 0;
    while let Some((kind, id)) = objects.recv().await {
        if taking.len() == in_flight {
            finished(&mut taking).await?;
        }
        let bare = bare.clone();
        taking.spawn(async move { bare.take(kind, id.rsplit('/').next().unwrap_or_default()).await });
        taken += 1;
    }
    while !taking.is_empty() {
        finished(&mut taking).await?;
    }
    while !lists.is_empty() {
        finished(&mut lists).await?;
    }
    Ok((taken, bare.pages.load(Ordering::Relaxed)))
}

/// Waits until one of the tasks is done.
async fn finished(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    tasks.join_next().await.unwrap_or(Ok(Ok(())))?
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` starts every benchmark alone; this one needs an emulator.
    if arguments.iter().all(|argument| argument.starts_with("--")) {
        println!("bare_loop is one part of a benchmark: start benches/run");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(run(&arguments)) {
        Ok((objects, pages)) => println!("{{\"objects\": {objects}, \"pages\": {pages}}}"),
        Err(error) => {
            eprintln!("bare_loop: {error:?}");
            std::process::exit(1);
        }
    }
}
