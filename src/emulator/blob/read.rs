//! Get Blob, Get Blob Properties, Get Blob Metadata, of the current version or of one by its id.

use super::ask::{Action, Ask};
use super::conditions::{self, Guard};
use super::digest::{crc64, md5};
use super::errors::{Code, Refusal};
use super::state::{Account, Container, Tick, Tier, Version, http_date};
use crate::emulator::wire::Response;
use hyper::StatusCode;
use std::ops::Range;

/// The longest range for which a checksum is computed (DOC Get Blob).
const MOST_CHECKED: usize = 4 * 1024 * 1024;

impl Container {
    /// The version that a request names: by id, else the current one.
    pub(super) fn find(&self, name: &str, id: Option<Tick>) -> Result<&Version, Refusal> {
        let version = match id {
            None => self.current(name),
            Some(tick) if self.protection.is_version_level() => {
                self.blobs.get(name).and_then(|blob| blob.versions.get(&tick))
            }
            Some(_) => None,
        };
        version.ok_or_else(|| Code::BLOB_NOT_FOUND.into())
    }

    /// Whether `tick` is the current version of a name.
    pub(super) fn is_current(&self, name: &str, tick: Tick) -> bool {
        self.blobs.get(name).is_some_and(|blob| blob.current == Some(tick))
    }
}

/// Get Blob and, by HEAD, Get Blob Properties.
pub(super) fn get(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::BlobRead)?;
    let container = account.container(container)?;
    let id = ask.version_id()?;
    let version = container.find(name, id)?;
    conditions::check(ask, Guard::Read, Some(version))?;
    let content = &version.content.0;
    let archived = matches!(version.tier, Some((Tier::Archive, _)));
    if archived && !ask.is_head() {
        return Err(Code::BLOB_ARCHIVED.into());
    }
    let range = if ask.is_head() { None } else { range(ask, content.len())? };
    let hash = version.settings.content_md5.as_deref();
    let response = match range {
        None => {
            let response = Response::new(StatusCode::OK).header("content-length", content.len().to_string());
            optional(response, "content-md5", hash).body(content.clone())
        }
        Some(range) => {
            let part = content.slice(range.clone());
            let response = Response::new(StatusCode::PARTIAL_CONTENT)
                .header("content-range", format!("bytes {}-{}/{}", range.start, range.end - 1, content.len()));
            let response = range_checksum(response, ask, &part)?;
            // The hash of the whole under another name, since Content-MD5 would be of the part (REC
            // py/test_create_small_block_blob_with_no_overwrite #4).
            optional(response, "x-ms-blob-content-md5", hash).body(part)
        }
    };
    Ok(describe(response, version, container.is_current(name, version.created), id.is_some(), container, ask))
}

/// Get Blob Metadata.
pub(super) fn metadata(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::BlobRead)?;
    let container = account.container(container)?;
    let version = container.find(name, ask.version_id()?)?;
    conditions::check(ask, Guard::Read, Some(version))?;
    let response = super::write::stamped(StatusCode::OK, version, container.protection.is_version_level());
    Ok(with_metadata(response, version))
}

/// The headers that describe a version. Which ones appear when is recorded: lease state only of the current version
/// asked for without an id (go/TestDeleteSpecificBlobVersion #12), the tier only by HEAD (#11, go/TestSetLegalHold #2).
fn describe(
    response: Response,
    version: &Version,
    current: bool,
    by_id: bool,
    container: &Container,
    ask: &Ask,
) -> Response {
    let settings = &version.settings;
    let mut response = response
        .header("accept-ranges", "bytes")
        .header("content-type", &settings.content_type)
        .header("etag", format!("\"{}\"", version.modified.etag()))
        .header("last-modified", version.modified.http())
        .header("x-ms-blob-type", "BlockBlob")
        .header("x-ms-creation-time", version.created.http())
        .header("x-ms-server-encrypted", "true");
    response = optional(response, "cache-control", settings.cache_control.as_deref());
    response = optional(response, "content-disposition", settings.content_disposition.as_deref());
    response = optional(response, "content-encoding", settings.content_encoding.as_deref());
    response = optional(response, "content-language", settings.content_language.as_deref());
    if container.protection.is_version_level() {
        response = response.header("x-ms-version-id", version.created.iso());
        response = optional(response, "x-ms-is-current-version", current.then_some("true"));
    }
    if !by_id {
        response = response.header("x-ms-lease-state", "available").header("x-ms-lease-status", "unlocked");
    }
    if ask.is_head() {
        response = match version.tier {
            None => response.header("x-ms-access-tier", "Hot").header("x-ms-access-tier-inferred", "true"),
            Some((tier, changed)) => {
                let response = response.header("x-ms-access-tier", tier.name());
                optional(response, "x-ms-access-tier-change-time", changed.map(Tick::http).as_deref())
            }
        };
    }
    if let Some(policy) = version.policy {
        response = response
            .header("x-ms-immutability-policy-until-date", http_date(policy.until))
            .header("x-ms-immutability-policy-mode", policy.mode());
    }
    response = optional(response, "x-ms-legal-hold", version.legal_hold.then_some("true"));
    with_metadata(response, version)
}

fn with_metadata(mut response: Response, version: &Version) -> Response {
    for (name, value) in &version.metadata {
        response = response.header(&format!("x-ms-meta-{name}"), value);
    }
    response
}

fn optional(response: Response, name: &str, value: Option<&str>) -> Response {
    match value {
        Some(value) => response.header(name, value),
        None => response,
    }
}

/// The part asked for, cut to the content's length. `x-ms-range` outranks `range`; a range that is not of the form
/// `bytes=1-` or `bytes=1-2` is ignored as HTTP says; one that begins behind the end is refused (DOC), which makes
/// every range of an empty blob an error.
fn range(ask: &Ask, length: usize) -> Result<Option<Range<usize>>, Refusal> {
    let Some(text) = ask.header("x-ms-range")?.or(ask.header("range")?) else { return Ok(None) };
    let Some((start, end)) = parse_range(text) else { return Ok(None) };
    if start >= length {
        return Err(Refusal::from(Code::INVALID_RANGE).header("content-range", format!("bytes */{length}")));
    }
    Ok(Some(start..end.map_or(length, |end| end.saturating_add(1).min(length))))
}

fn parse_range(text: &str) -> Option<(usize, Option<usize>)> {
    let (start, end) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let start = start.parse().ok()?;
    if end.is_empty() {
        return Some((start, None));
    }
    let end = end.parse().ok()?;
    (start <= end).then_some((start, Some(end)))
}

fn range_checksum(response: Response, ask: &Ask, part: &[u8]) -> Result<Response, Refusal> {
    let asked = |name| Ok::<_, Refusal>(ask.header(name)?.is_some_and(|value| value.eq_ignore_ascii_case("true")));
    let (with_md5, with_crc) = (asked("x-ms-range-get-content-md5")?, asked("x-ms-range-get-content-crc64")?);
    if (with_md5 || with_crc) && part.len() > MOST_CHECKED {
        return Err(Refusal::bad_header("x-ms-range", ask.header("x-ms-range")?.unwrap_or_default()));
    }
    let response = if with_md5 { response.header("content-md5", md5(part)) } else { response };
    Ok(if with_crc { response.header("x-ms-content-crc64", crc64(part)) } else { response })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_ranges_are_ranges() {
        assert_eq!(parse_range("bytes=0-33554431"), Some((0, Some(33_554_431))));
        assert_eq!(parse_range("bytes=5-"), Some((5, None)));
        for text in ["", "bytes=", "bytes=-5", "bytes=5-4", "lines=1-2", "bytes=1-2,4-5", "bytes=+1-2x"] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }
}
