//! The way to a service: CONNECT, TLS, HTTP/1.1, and the headers that every service sends.

use std::io::{Read, Write};
use std::net::TcpStream;

use chrono::{DateTime, Utc};

use super::*;

/// The head of the answer to a raw request to the proxy.
fn raw(azure: &Azure, request: &str) -> String {
    let address = azure.emulator.ready().proxy.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn connect(azure: &Azure, target: &str) -> String {
    raw(azure, &format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n"))
}

#[test]
fn a_tunnel_leads_only_to_what_exists_in_azure() {
    let azure = Azure::start();
    for (target, answer, reason) in [
        ("prod.vault.azure.net:443", "HTTP/1.1 200", None),
        ("PROD.vault.azure.net:443", "HTTP/1.1 200", None),
        ("archive.blob.core.windows.net:443", "HTTP/1.1 200", None),
        ("management.azure.com:443", "HTTP/1.1 200", None),
        ("login.microsoftonline.com:443", "HTTP/1.1 200", None),
        ("nobody.vault.azure.net:443", "HTTP/1.1 502", Some("no such host")),
        ("nobody.blob.core.windows.net:443", "HTTP/1.1 502", Some("no such host")),
        ("a.prod.vault.azure.net:443", "HTTP/1.1 502", Some("no such host")),
        ("example.com:443", "HTTP/1.1 502", Some("example.com is no Azure service that is emulated")),
        ("evilvault.azure.net:443", "HTTP/1.1 502", Some("evilvault.azure.net is no Azure service that is emulated")),
        ("prod.vault.azure.net:8443", "HTTP/1.1 502", Some("Azure listens on port 443 only")),
    ] {
        let head = connect(&azure, target);
        assert!(head.starts_with(answer), "{target}: {head}");
        match reason {
            None => assert!(!head.contains("x-akv-emulator"), "{target}: {head}"),
            Some(reason) => assert!(head.contains(&format!("x-akv-emulator: {reason}\r\n")), "{target}: {head}"),
        }
    }
    let plain = raw(&azure, "GET http://prod.vault.azure.net/ HTTP/1.1\r\nhost: prod.vault.azure.net\r\n\r\n");
    assert!(plain.starts_with("HTTP/1.1 405"), "{plain}");
}

#[tokio::test]
async fn an_unknown_vault_is_a_connection_that_fails() {
    let azure = Azure::start();
    let error = azure.client.get("https://nobody.vault.azure.net/secrets").send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn the_authority_is_the_emulators_own() {
    let (azure, other) = (Azure::start(), Azure::start());
    let stranger = Certificate::from_pem(&std::fs::read(&other.emulator.ready().ca_file).unwrap()).unwrap();
    let proxy = Proxy::all(&azure.emulator.ready().proxy).unwrap();
    let client = Client::builder().proxy(proxy).tls_certs_only([stranger]).build().unwrap();
    assert!(client.get(SECRET).send().await.unwrap_err().is_connect());
    assert_eq!(azure.client.get(SECRET).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn every_service_dates_and_numbers_its_answers() {
    let azure = Azure::start();
    azure.emulator.advance(Duration::from_secs(90 * 86_400));
    let mut ids = std::collections::BTreeSet::new();
    for url in [
        SECRET,
        "https://archive.blob.core.windows.net/vaults?restype=container&comp=list",
        "https://management.azure.com/subscriptions?api-version=2022-12-01",
        "https://login.microsoftonline.com/common/discovery/instance",
    ] {
        let response = azure.client.get(url).header("x-ms-client-request-id", "mine").send().await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-ms-client-request-id"), "mine", "{url}");
        assert!(ids.insert(header("x-ms-request-id")), "{url}");
        let date: DateTime<Utc> = DateTime::parse_from_rfc2822(&header("date")).unwrap().into();
        assert!((azure.emulator.now() - date).num_seconds() < 60, "{url}: {date}");
    }
}

#[test]
fn what_was_made_for_one_run_goes_with_it() {
    let azure = Azure::start();
    let ca_file = azure.emulator.ready().ca_file.clone();
    let address = azure.emulator.ready().proxy.strip_prefix("http://").unwrap().to_owned();
    assert!(ca_file.exists());
    drop(azure);
    assert!(!ca_file.parent().unwrap().exists());
    assert!(TcpStream::connect(address).is_err());
}
