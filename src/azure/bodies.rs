//! Reading JSON answers as they are: whole, bounded by the transport, kept raw. An error names the place and never
//! quotes what stands there.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The largest backup blob that is taken, in bytes. Recorded ones have at most 58 KB; they grow with each version
/// (`azure.md` §1.3).
pub(super) const BLOB_LIMIT: usize = 32 << 20;

/// Base64url as Key Vault writes it: without padding, though some versions have sent it.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A page of a list.
#[derive(Debug)]
pub(super) struct ListPage {
    /// The items as written, whatever they are: one that makes no sense must not hide the others.
    pub(super) items: Vec<Box<RawValue>>,
    /// Where the list goes on.
    pub(super) next: Option<String>,
}

/// Parses any JSON.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| place(body, &error))
}

/// Parses a JSON object, keeping it as written.
pub(super) fn object(body: &[u8]) -> Result<Box<RawValue>, String> {
    let value: Box<RawValue> = json(body)?;
    if value.get().starts_with('{') { Ok(value) } else { Err("it is JSON, but no object".to_owned()) }
}

/// Parses a page of a list: `{"value":[…],"nextLink":…}`. An empty page is a page.
pub(super) fn list_page(body: &[u8]) -> Result<ListPage, String> {
    #[derive(Deserialize)]
    struct Raw {
        value: Vec<Box<RawValue>>,
        #[serde(rename = "nextLink")]
        next_link: Option<String>,
    }
    let raw: Raw = json(body)?;
    Ok(ListPage { items: raw.value, next: raw.next_link.filter(|link| !link.is_empty()) })
}

/// Decodes a backup: `{"value":"<base64url>"}`.
pub(super) fn backup(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        value: Cow<'a, str>,
    }
    let raw: Raw<'_> = serde_json::from_slice(body).map_err(|error| place(body, &error))?;
    if raw.value.len() / 4 * 3 > BLOB_LIMIT {
        return Err(format!("the backup blob is larger than {BLOB_LIMIT} bytes"));
    }
    let blob = BASE64URL.decode(raw.value.as_bytes()).map_err(|_| "the backup blob is not base64url".to_owned())?;
    if blob.is_empty() { Err("the backup blob is empty".to_owned()) } else { Ok(Zeroizing::new(blob)) }
}

/// The body of a restore.
pub(super) fn restore(blob: &[u8]) -> Zeroizing<String> {
    let mut body = Zeroizing::new(String::with_capacity(blob.len() / 3 * 4 + 32));
    body.push_str("{\"value\":\"");
    BASE64URL.encode_string(blob, &mut body);
    body.push_str("\"}");
    body
}

fn place(body: &[u8], error: &serde_json::Error) -> String {
    if body.trim_ascii_start().starts_with(b"<") {
        return "it is a page of HTML or XML, not JSON".to_owned();
    }
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends too early",
        serde_json::error::Category::Data => "the JSON has another shape than expected",
        _ => "it is no JSON",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_fields_that_no_model_knows_survive() {
        let body = br#"{"value":[{"kid":"https://v/keys/a","attributes":{"enabled":true,"hsmPlatform":"2"},"newField":{"x":1.50}}],"nextLink":null,"later":1}"#;
        let page = list_page(body).unwrap();
        assert_eq!(
            page.items[0].get(),
            r#"{"kid":"https://v/keys/a","attributes":{"enabled":true,"hsmPlatform":"2"},"newField":{"x":1.50}}"#
        );
        assert_eq!(page.next, None);
    }

    #[test]
    fn trap_an_empty_page_is_not_the_end() {
        let page = list_page(br#"{"value":[],"nextLink":"https://v:443/keys?$skiptoken=a"}"#).unwrap();
        assert!(page.items.is_empty() && page.next.is_some());
    }

    #[test]
    fn nonsense_is_told_with_its_place_and_never_quoted() {
        for (body, words) in [
            (&b"<html>hunter2</html>"[..], "HTML"),
            (br#"{"value":[{"a":"hunter2"}"#, "ends too early, at line 1"),
            (br#"{"value":"hunter2"}"#, "another shape"),
            (b"hunter2", "no JSON"),
            (b"", "ends too early"),
        ] {
            let error = list_page(body).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
        assert!(object(b"[]").is_err());
    }

    #[test]
    fn backups_are_decoded_and_encoded_as_the_service_writes_them() {
        let blob = backup(br#"{"value":"JkF6dXJl_-8"}"#).unwrap();
        assert_eq!(*blob, b"&Azure\xff\xef");
        assert_eq!(restore(&blob).as_str(), r#"{"value":"JkF6dXJl_-8"}"#);
        assert_eq!(*backup(br#"{"value":"JkF6dXJl_-8="}"#).unwrap(), *blob);
        for wrong in [&br#"{"value":""}"#[..], br#"{"value":"+/"}"#, br#"{"value":null}"#, b"{}"] {
            assert!(backup(wrong).is_err());
        }
    }
}
