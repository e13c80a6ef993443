//! Why one try failed, as plain data: refused, not reached, lost, or answered with nonsense; and whether it may have
//! taken effect all the same. Reads errors of every service; judges none of them (that is `classify`).

use std::error::Error as _;
use std::time::Duration;

use azure_core::error::ErrorKind;
use serde::Deserialize;
use serde_json::Value;

use super::transport::TooLong;
use super::wire::{Answer, Seen, Trial, http_date};

/// A failed try.
#[derive(Debug)]
pub(super) struct Failure {
    /// Why.
    pub(super) cause: Cause,
    /// Whether this try or an earlier one may have taken effect: it was sent with a token, and no answer says no.
    pub(super) unclear: bool,
}

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Cause {
    /// The service refused.
    Refused(Refusal),
    /// Nothing could be sent.
    Unreached(Unreached, String),
    /// It was sent, and no whole answer came.
    Lost(String),
    /// There was no token to send it with.
    NoToken(String, Tokenless),
    /// The answer makes no sense.
    Malformed(String),
}

/// Why there was no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tokenless {
    /// Whoever asks is not let in, or holds nothing to ask with.
    Refused,
    /// The identity service did not answer, or is busy: that may pass.
    Passing,
    /// The identity service's certificate is not trusted.
    Untrusted,
}

/// Why nothing could be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreached {
    /// The host's name does not resolve.
    Name,
    /// The proxy would not connect to the host, which is also how it says that a name does not resolve.
    Proxy,
    /// The server's certificate is not trusted.
    Certificate,
    /// Anything else: refused, reset, timed out.
    Connection,
}

/// A service's refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// `error.code`, or `x-ms-error-code`.
    pub(super) code: Option<String>,
    /// `error.innererror.code`.
    pub(super) inner: Option<String>,
    /// The service's own words, on one line, bounded.
    pub(super) sentence: Option<String>,
    /// How long the service asks to wait.
    pub(super) retry_after: Option<Duration>,
}

impl Cause {
    /// What happened, without anybody's own words: for logs.
    pub(super) fn brief(&self) -> String {
        match self {
            Cause::Refused(refusal) => match refusal.codes() {
                Some(codes) => format!("{} {codes}", refusal.status),
                None => format!("HTTP {}", refusal.status),
            },
            Cause::Unreached(why, _) => format!("not reached ({why:?})"),
            Cause::Lost(_) => "no whole answer".to_owned(),
            Cause::NoToken(..) => "no token".to_owned(),
            Cause::Malformed(_) => "an answer that makes no sense".to_owned(),
        }
    }
}

impl Failure {
    /// A failure that cannot have had an effect.
    pub(super) fn new(cause: Cause) -> Self {
        Failure { cause, unclear: false }
    }

    /// An answer that makes no sense.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Failure::new(Cause::Malformed(detail.into()))
    }

    /// The refusal, if it is one.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match &self.cause {
            Cause::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl Refusal {
    /// Whether the service's code, or its inner code, is `code`.
    pub(super) fn is(&self, code: &str) -> bool {
        [&self.code, &self.inner].into_iter().flatten().any(|found| found == code)
    }

    /// Code and inner code for people: `Forbidden/ForbiddenByRbac`.
    pub(super) fn codes(&self) -> Option<String> {
        match (&self.code, &self.inner) {
            (Some(code), Some(inner)) => Some(format!("{code}/{inner}")),
            (code, inner) => code.clone().or_else(|| inner.clone()),
        }
    }

    /// Reads an answer that is no success. Its body may be JSON of two kinds, XML, HTML or nothing.
    pub(super) fn of(answer: &Answer) -> Self {
        let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
        let mut refusal = from_json(body).or_else(|| from_xml(body)).unwrap_or_default();
        refusal.status = answer.status;
        if let Some(code) = answer.header("x-ms-error-code") {
            refusal.code = Some(one_line(code));
        }
        refusal.retry_after = retry_after(answer);
        refusal
    }
}

/// What came of a try: the answer as it was on the wire if it is a success, whatever the SDK made of it.
pub(super) fn settle(result: azure_core::Result<()>, trial: &Trial) -> Result<Answer, Failure> {
    let Seen { authorised, answer, refused_token, .. } = trial.take();
    let error = result.err();
    let no_token = error.as_ref().is_some_and(|error| *error.kind() == ErrorKind::Credential);
    let cause = match (answer, error) {
        (_, Some(error)) if no_token => token_cause(&error, refused_token.as_ref()),
        (Some(answer), _) if answer.succeeded() => return Ok(answer),
        // A challenge that the SDK would not take up, such as one for another vault's domain.
        (Some(answer), Some(error))
            if answer.status == 401 && !matches!(error.kind(), ErrorKind::HttpResponse { .. }) =>
        {
            Cause::Malformed(format!("the challenge for a token cannot be used: {}", one_line(&error.to_string())))
        }
        (Some(answer), _) => Cause::Refused(Refusal::of(&answer)),
        (None, Some(error)) => transport_cause(&error),
        (None, None) => Cause::Malformed("there was no answer".to_owned()),
    };
    let open = match &cause {
        Cause::Refused(refusal) => refusal.status == 408 || refusal.status >= 500,
        Cause::Lost(_) | Cause::Malformed(_) => true,
        Cause::Unreached(..) | Cause::NoToken(..) => false,
    };
    Err(Failure { cause, unclear: open && authorised })
}

fn token_cause(error: &azure_core::Error, refused: Option<&Answer>) -> Cause {
    if let Some(answer) = refused {
        let refusal = Refusal::of(answer);
        let passing = match refusal.status == 429 || refusal.status >= 500 {
            true => Tokenless::Passing,
            false => Tokenless::Refused,
        };
        let words = refusal.sentence.or(refusal.code).unwrap_or_else(|| format!("HTTP {}", answer.status));
        return Cause::NoToken(words, passing);
    }
    let network = chain(error).any(|error| {
        let kind = error.downcast_ref::<azure_core::Error>().map(azure_core::Error::kind);
        matches!(kind, Some(ErrorKind::Io | ErrorKind::Connection)) || error.is::<reqwest::Error>()
    });
    let why = match network {
        true if mentions(error, "certificate") => Tokenless::Untrusted,
        true => Tokenless::Passing,
        false => Tokenless::Refused,
    };
    Cause::NoToken(detail(error), why)
}

fn transport_cause(error: &azure_core::Error) -> Cause {
    if let Some(long) = chain(error).find_map(|error| error.downcast_ref::<TooLong>()) {
        return Cause::Malformed(long.to_string());
    }
    let detail = detail(error);
    match error.kind() {
        ErrorKind::Connection => {
            let why = if mentions(error, DEAD_PROXY) {
                Unreached::Connection
            } else if mentions(error, "dns error") {
                Unreached::Name
            } else if mentions(error, "tunnel error: unsuccessful") {
                Unreached::Proxy
            } else if mentions(error, "certificate") {
                Unreached::Certificate
            } else {
                Unreached::Connection
            };
            Cause::Unreached(why, detail)
        }
        ErrorKind::Io => Cause::Lost(detail),
        // The text of these errors may quote the body.
        ErrorKind::DataConversion => Cause::Malformed("the answer cannot be parsed".to_owned()),
        _ => Cause::Malformed(detail),
    }
}

type Dyn = dyn std::error::Error + 'static;

/// The error and what caused it, outermost first.
fn chain<'a>(error: &'a Dyn) -> impl Iterator<Item = &'a Dyn> {
    std::iter::successors(Some(error), |error: &&'a Dyn| -> Option<&'a Dyn> { (**error).source() })
}

/// How the HTTP client says that it did not get as far as the proxy.
const DEAD_PROXY: &str = "tunnel error: failed to create underlying connection";

/// Whether a cause of the error has these words.
fn mentions(error: &azure_core::Error, words: &str) -> bool {
    chain(error).skip(1).any(|error| error.to_string().contains(words))
}

/// What lies at the bottom, and whether it is the proxy that was not reached: nothing is wrong with the host, then.
fn detail(error: &azure_core::Error) -> String {
    match mentions(error, DEAD_PROXY) {
        true => format!("the proxy cannot be reached: {}", innermost(error)),
        false => innermost(error),
    }
}

/// What lies at the bottom of an error: the outer layers only say that a request failed (`sdk.md` §0.11), and
/// reqwest's own text quotes the address.
fn innermost(error: &azure_core::Error) -> String {
    if chain(error).any(|error| error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout)) {
        return "it took too long".to_owned();
    }
    let deepest = chain(error).filter(|error| !error.is::<reqwest::Error>()).last();
    let network = error.source().is_some_and(|_| chain(error).any(|error| error.is::<reqwest::Error>()));
    match deepest {
        Some(deepest) if !(network && deepest.is::<azure_core::Error>()) => one_line(&deepest.to_string()),
        _ => "the connection failed".to_owned(),
    }
}

/// Key Vault and Azure Resource Manager nest an object under `error`; Entra ID writes a word there and a description
/// beside it.
fn from_json(body: &[u8]) -> Option<Refusal> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let error = value.get("error")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(one_line);
    Some(if error.is_string() {
        Refusal { code: text(Some(error)), sentence: text(value.get("error_description")), ..Refusal::default() }
    } else {
        Refusal {
            code: text(error.get("code")),
            inner: text(error.get("innererror").and_then(|inner| inner.get("code"))),
            sentence: text(error.get("message")),
            ..Refusal::default()
        }
    })
}

/// Blob Storage: `<Error><Code>…</Code><Message>…\nRequestId:…</Message></Error>`.
fn from_xml(body: &[u8]) -> Option<Refusal> {
    #[derive(Deserialize)]
    #[serde(rename = "Error")]
    struct Error {
        #[serde(rename = "Code")]
        code: String,
        #[serde(rename = "Message")]
        message: Option<String>,
    }
    let error: Error = azure_core::xml::from_xml(body).ok()?;
    let sentence = error.message.as_deref().and_then(|message| message.lines().next()).map(one_line);
    Some(Refusal { code: Some(one_line(&error.code)), sentence, ..Refusal::default() })
}

/// How long the service asks to wait: seconds, a date by its own clock, or milliseconds in Azure's own headers.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let milliseconds = ["x-ms-retry-after-ms", "retry-after-ms"]
        .into_iter()
        .find_map(|name| answer.header(name).and_then(number))
        .map(Duration::from_millis);
    milliseconds.or_else(|| {
        let text = answer.header("retry-after")?;
        number(text).map(Duration::from_secs).or_else(|| (http_date(text)? - answer.date()?).to_std().ok())
    })
}

/// A service's words made fit for one line of a terminal: no control characters, at most 300 characters.
pub(super) fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::http::headers::Headers;
    use bytes::Bytes;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
        let mut all = Headers::new();
        headers.iter().for_each(|(name, value)| all.insert(*name, *value));
        Answer { status, headers: all, body: Bytes::from_static(body.as_bytes()), took: Duration::ZERO }
    }

    #[test]
    fn trap_an_escape_in_the_message_does_not_lose_the_code() {
        let body = r#"{"error":{"code":"Forbidden","message":"Caller is not authorized.\r\nCaller: \"x\"\r\nVault: v","innererror":{"code":"ForbiddenByRbac"}}}"#;
        let refusal = Refusal::of(&answer(403, &[], body));
        assert_eq!(refusal.codes().as_deref(), Some("Forbidden/ForbiddenByRbac"));
        assert_eq!(refusal.sentence.as_deref(), Some("Caller is not authorized. Caller: \"x\" Vault: v"));
    }

    #[test]
    fn errors_of_blob_storage_and_entra_id_are_read() {
        let body = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>BlobImmutableDueToPolicy</Code><Message>This operation is not permitted as the blob is immutable due to a policy.\nRequestId:1\nTime:2</Message></Error>";
        let refusal = Refusal::of(&answer(409, &[], body));
        assert_eq!(refusal.code.as_deref(), Some("BlobImmutableDueToPolicy"));
        assert!(refusal.sentence.unwrap().ends_with("due to a policy."));

        let body = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1","error_codes":[7000215]}"#;
        let refusal = Refusal::of(&answer(401, &[], body));
        assert!(refusal.sentence.unwrap().starts_with("AADSTS7000215"));

        let head = Refusal::of(&answer(404, &[("x-ms-error-code", "BlobNotFound")], ""));
        assert_eq!(head.code.as_deref(), Some("BlobNotFound"));
        assert_eq!(Refusal::of(&answer(400, &[], "<html><title>Runtime Error</title></html>")).code, None);
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let date = ("date", "Fri, 21 Nov 2025 18:20:00 GMT");
        for (headers, seconds) in [
            (&[("retry-after", "7")][..], Some(7)),
            (&[("retry-after", "Fri, 21 Nov 2025 18:20:09 GMT"), date], Some(9)),
            (&[("retry-after", "Fri, 21 Nov 2025 18:00:00 GMT"), date], None),
            (&[("x-ms-retry-after-ms", "3000")], Some(3)),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            assert_eq!(retry_after(&answer(429, headers, "")).map(|d| d.as_secs()), seconds, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn a_dead_proxy_is_told_from_a_host_that_does_not_answer() {
        use azure_core::http::{Method, Request};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let network = crate::azure::Network { proxy: Some(proxy.parse().unwrap()), ..Default::default() };
        let request = Request::new("https://prod.vault.azure.net".parse().unwrap(), Method::Get);
        let error = network.client().unwrap().execute_request(&request).await.unwrap_err();
        let Cause::Unreached(Unreached::Connection, why) = transport_cause(&error) else { panic!("{error:?}") };
        assert!(why.starts_with("the proxy cannot be reached: "), "{why}");
    }

    #[test]
    fn words_of_a_service_cannot_move_the_cursor() {
        assert_eq!(one_line("a\u{1b}[2Jb\r\n c"), "a [2Jb c");
        assert!(one_line(&"x".repeat(5000)).chars().count() <= 301);
    }
}
