//! Reading List Blobs answers. The SDK's model fails a whole page of 5,000 for one word that it does not know
//! (`sdk.md` §1), so the XML is read here, as loosely as is safe: what is unknown counts as unprotected.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::wire::http_date;
use crate::model::{Mode, StorePath};
use crate::store::{Listed, Protection};

/// A page of a listing.
#[derive(Debug)]
pub(super) struct BlobPage {
    /// The blobs' versions in the service's order: by name.
    pub(super) items: Vec<Listed>,
    /// Where the listing goes on.
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename = "EnumerationResults")]
struct Results {
    #[serde(rename = "Blobs")]
    blobs: Blobs,
    #[serde(rename = "NextMarker")]
    next_marker: Option<String>,
}

#[derive(Deserialize)]
struct Blobs {
    #[serde(rename = "Blob", default)]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    #[serde(rename = "Name")]
    name: Name,
    #[serde(rename = "VersionId")]
    version: Option<String>,
    #[serde(rename = "IsCurrentVersion")]
    current: Option<String>,
    #[serde(rename = "Properties")]
    properties: Properties,
}

#[derive(Deserialize)]
struct Name {
    #[serde(rename = "@Encoded")]
    encoded: Option<String>,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    length: u64,
    #[serde(rename = "Content-MD5")]
    md5: Option<String>,
    #[serde(rename = "Creation-Time")]
    created: Option<String>,
    #[serde(rename = "Last-Modified")]
    modified: Option<String>,
    #[serde(rename = "ImmutabilityPolicyUntilDate")]
    until: Option<String>,
    #[serde(rename = "ImmutabilityPolicyMode")]
    mode: Option<String>,
    #[serde(rename = "LegalHold")]
    legal_hold: Option<String>,
}

/// Parses a page.
pub(super) fn blob_page(body: &[u8]) -> Result<BlobPage, String> {
    // The error's text quotes the whole body.
    let results: Results =
        azure_core::xml::from_xml(body).map_err(|_| "it is no list of blobs, or it ends too early".to_owned())?;
    let items = results.blobs.blobs.into_iter().map(listed).collect::<Result<_, _>>()?;
    Ok(BlobPage { items, next: results.next_marker.filter(|marker| !marker.is_empty()) })
}

fn listed(blob: Blob) -> Result<Listed, String> {
    // An encoded name holds what XML cannot; it is none of ours, and stays encoded for whoever shows it.
    let plain = !blob.name.encoded.as_deref().is_some_and(yes);
    let path = Some(&blob.name.text).filter(|_| plain).and_then(|name| StorePath::parse(name));
    let name = blob.name.text;
    let properties = blob.properties;
    let date = |text: &Option<String>| text.as_deref().and_then(http_date);
    let created: Option<DateTime<Utc>> = date(&properties.created).or_else(|| date(&properties.modified));
    Ok(Listed {
        created: created.ok_or_else(|| format!("{name:?} is listed without a time of creation"))?,
        path: path.ok_or(name),
        current: blob.version.is_none() || blob.current.as_deref().is_some_and(yes),
        version: blob.version,
        size: properties.length,
        md5: properties.md5.as_deref().and_then(md5),
        protection: Protection {
            mode: properties.mode.as_deref().map_or(Mode::None, mode),
            until: date(&properties.until),
            legal_hold: properties.legal_hold.as_deref().is_some_and(yes),
        },
    })
}

/// A policy's mode. The service answers in lower case to what it takes capitalised (`azure.md` §7.2). A mode that is
/// not known to be locked can be taken back, for all we know.
pub(super) fn mode(text: &str) -> Mode {
    if text.eq_ignore_ascii_case("locked") { Mode::Locked } else { Mode::Unlocked }
}

/// A header's or element's `true`.
pub(super) fn yes(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("true")
}

/// An MD5 in base64.
pub(super) fn md5(text: &str) -> Option<[u8; 16]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_a_year_that_no_format_of_ours_can_write_is_none() {
        assert!(http_date("Fri, 21 Nov 2025 18:20:00 GMT").is_some());
        for year in ["10000", "262142"] {
            assert_eq!(http_date(&format!("21 Nov {year} 18:20:00 GMT")), None, "{year}");
        }
    }

    fn page(blobs: &str) -> Result<BlobPage, String> {
        let body = format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a/\" ContainerName=\"c\"><Blobs>{blobs}</Blobs><NextMarker>m</NextMarker></EnumerationResults>"
        );
        blob_page(body.as_bytes())
    }

    fn blob(name: &str, rest: &str) -> String {
        format!(
            "<Blob>{name}<VersionId>2025-11-21T18:20:00.0000001Z</VersionId><IsCurrentVersion>true</IsCurrentVersion><Properties><Creation-Time>Fri, 21 Nov 2025 18:20:00 GMT</Creation-Time><Content-Length>5</Content-Length><Content-MD5>XUFAKrxLKna5cZ2REBfFkg==</Content-MD5><New>x</New>{rest}</Properties><Unheard><Of>1</Of></Unheard></Blob>"
        )
    }

    #[test]
    fn trap_a_mode_that_the_sdk_does_not_know_does_not_fail_the_page() {
        for (text, expected) in [
            ("locked", Mode::Locked),
            ("Locked", Mode::Locked),
            ("unlocked", Mode::Unlocked),
            ("frozen", Mode::Unlocked),
        ] {
            let rest = format!(
                "<LeaseDuration>aeon</LeaseDuration><ImmutabilityPolicyMode>{text}</ImmutabilityPolicyMode><ImmutabilityPolicyUntilDate>Sat, 21 Nov 2026 18:20:00 GMT</ImmutabilityPolicyUntilDate><LegalHold>false</LegalHold>"
            );
            let page = page(&blob("<Name>log/1</Name>", &rest)).unwrap();
            assert_eq!(page.items[0].protection.mode, expected, "{text}");
            assert!(page.items[0].protection.until.is_some());
        }
    }

    #[test]
    fn everything_that_a_verifier_needs_is_read() {
        let page = page(&blob("<Name>log/1</Name>", "")).unwrap();
        let item = &page.items[0];
        assert_eq!(item.path.as_ref().unwrap().as_str(), "log/1");
        assert_eq!((item.size, item.current, item.protection), (5, true, Protection::default()));
        assert_eq!(item.md5.unwrap()[0], 0x5d);
        assert_eq!(item.created.timestamp(), 1_763_749_200);
        assert_eq!(page.next.as_deref(), Some("m"));
    }

    #[test]
    fn names_that_are_no_paths_are_seen_and_never_taken_for_one() {
        for (xml, name) in [
            ("<Name>a b</Name>", "a b"),
            ("<Name>a//b</Name>", "a//b"),
            ("<Name>../x</Name>", "../x"),
            ("<Name Encoded=\"true\">log%2F1%EF%BF%BF</Name>", "log%2F1%EF%BF%BF"),
            ("<Name Encoded=\"true\">log/1</Name>", "log/1"),
            ("<Name>&lt;b&gt;</Name>", "<b>"),
            ("<Name> log/1</Name>", " log/1"),
        ] {
            let page = page(&blob(xml, "")).unwrap();
            assert_eq!(page.items[0].path, Err(name.to_owned()), "{xml}");
        }
    }

    #[test]
    fn a_list_that_is_cut_or_no_list_is_refused() {
        assert!(page("<Blob><Name>a</Name>").is_err());
        assert!(blob_page(b"<html></html>").is_err());
        assert!(blob_page(b"").is_err());
        assert!(page("").unwrap().items.is_empty());
    }
}
