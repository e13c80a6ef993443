//! Put Blob, and the commit that it shares with Put Block List: conditions, permissions, write-once rules, the new
//! version. Block blobs only.

use super::ask::{Action, Ask, not_emulated};
use super::conditions::{self, Guard};
use super::digest::{crc64, from_base64, md5};
use super::errors::{Code, Refusal};
use super::state::{Account, Container, Content, Policy, Settings, Tier, Version};
use super::worm::{self, Act};
use crate::emulator::wire::Response;
use bytes::Bytes;
use hyper::StatusCode;
use std::collections::BTreeMap;

/// Everything about a new version that comes in headers.
pub(super) struct Draft {
    settings: Settings,
    metadata: BTreeMap<String, String>,
    tier: Option<Tier>,
    policy: Option<Policy>,
    hold: Option<bool>,
}

/// Put Blob.
pub(super) fn put(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    const TYPE: &str = "x-ms-blob-type";
    match ask.header(TYPE)? {
        Some("BlockBlob") => {}
        Some(kind @ ("PageBlob" | "AppendBlob")) => return Err(not_emulated(kind)),
        Some(other) => return Err(Refusal::bad_header(TYPE, other)),
        None => return Err(Refusal::no_header(TYPE)),
    }
    if !ask.may(Action::BlobWrite) {
        ask.require(Action::BlobAdd)?;
    }
    let body = &ask.request.body;
    let mut draft = Draft::parse(ask)?;
    if draft.settings.content_type.is_empty() {
        draft.settings.content_type = ask.owned("content-type")?.unwrap_or_else(default_type);
    }
    check_body(ask)?;
    let hash = md5(body);
    // Of a one-shot upload Azure checks this hash, too; of a block list it takes it on trust (DOC Put Blob).
    if draft.settings.content_md5.as_ref().is_some_and(|sent| *sent != hash) {
        return Err(Code::MD5_MISMATCH.into());
    }
    draft.settings.content_md5 = Some(hash.clone());
    let response = commit(account.container(container)?, name, ask, body.clone(), Vec::new(), draft)?;
    Ok(response.header("content-md5", hash).header("x-ms-content-crc64", crc64(body)))
}

/// Makes the new version and answers with its stamps. The answer says nothing of the policy that the version got, nor
/// of one that was asked for (REC go/TestUploadBlockWithImmutabilityPolicy #2): only HEAD and listings do.
pub(super) fn commit(
    container: &mut Container,
    name: &str,
    ask: &Ask,
    content: Bytes,
    blocks: Vec<(String, usize)>,
    draft: Draft,
) -> Result<Response, Refusal> {
    let versions = container.protection.is_version_level();
    if (draft.policy.is_some() || draft.hold.is_some()) && !versions {
        // GUESS[policy-on-unversioned]: the code. That version-level support is needed is documented.
        return Err(Code::BLOB_OPERATION_NOT_SUPPORTED.into());
    }
    let present = container.current(name);
    // GUESS[condition-first]: conditions come before the permission to overwrite and before the write-once rules, so
    // that
    // `If-None-Match: *` over an existing name answers `BlobAlreadyExists` to a caller who may only add, and in a
    // container-level container (azure.md §11.6: the code there is unknown; clients should take either).
    conditions::check(ask, Guard::Create, present)?;
    if let Some(present) = present {
        ask.require(Action::BlobWrite)?;
        worm::permits(container, present, Act::Overwrite, ask.now)?;
    }
    let created = container.next_version(name, ask.tick);
    let version = Version {
        content: Content(content),
        created,
        modified: ask.tick,
        settings: draft.settings,
        metadata: draft.metadata,
        blocks,
        tier: draft.tier.map(|tier| (tier, None)),
        policy: draft.policy.or_else(|| worm::inherited(container.protection, created)),
        legal_hold: draft.hold.unwrap_or(false),
    };
    let response = stamped(StatusCode::CREATED, &version, versions);
    container.put(name, version);
    Ok(response)
}

/// A response with the stamps of a version.
pub(super) fn stamped(status: StatusCode, version: &Version, versions: bool) -> Response {
    let response = Response::new(status)
        .header("etag", format!("\"{}\"", version.modified.etag()))
        .header("last-modified", version.modified.http())
        .header("x-ms-request-server-encrypted", "true");
    if versions { response.header("x-ms-version-id", version.created.iso()) } else { response }
}

impl Draft {
    /// Reads the headers. The content type stays empty if none is given for the blob.
    pub(super) fn parse(ask: &Ask) -> Result<Draft, Refusal> {
        let policy = worm::requested_policy(ask)?;
        let hold = worm::requested_hold(ask)?;
        if policy.is_some() || hold.is_some() {
            ask.require(Action::SuperUser)?;
        }
        Ok(Draft { settings: settings(ask)?, metadata: ask.metadata()?, tier: tier(ask)?, policy, hold })
    }

    /// Gives the blob the type that Azure gives where none is known.
    pub(super) fn with_default_type(mut self) -> Draft {
        if self.settings.content_type.is_empty() {
            self.settings.content_type = default_type();
        }
        self
    }
}

/// The type of a blob for which none was given (REC go/TestBlobPutBlockListWithImmutabilityPolicy #4).
pub(super) fn default_type() -> String {
    "application/octet-stream".into()
}

/// The stored headers in a request.
pub(super) fn settings(ask: &Ask) -> Result<Settings, Refusal> {
    Ok(Settings {
        content_type: ask.owned("x-ms-blob-content-type")?.unwrap_or_default(),
        content_md5: hash(ask, "x-ms-blob-content-md5")?,
        content_encoding: ask.owned("x-ms-blob-content-encoding")?,
        content_language: ask.owned("x-ms-blob-content-language")?,
        cache_control: ask.owned("x-ms-blob-cache-control")?,
        content_disposition: ask.owned("x-ms-blob-content-disposition")?,
    })
}

/// The access tier in a request.
pub(super) fn tier(ask: &Ask) -> Result<Option<Tier>, Refusal> {
    const TIER: &str = "x-ms-access-tier";
    let Some(text) = ask.header(TIER)? else { return Ok(None) };
    Tier::parse(text).map(Some).ok_or_else(|| Refusal::bad_header(TIER, text))
}

/// Compares the body with the checksums sent along.
pub(super) fn check_body(ask: &Ask) -> Result<(), Refusal> {
    let body = &ask.request.body;
    if hash(ask, "content-md5")?.is_some_and(|sent| sent != md5(body)) {
        return Err(Code::MD5_MISMATCH.into());
    }
    const CRC: &str = "x-ms-content-crc64";
    let Some(sent) = ask.header(CRC)? else { return Ok(()) };
    if from_base64(sent).is_none_or(|bytes| bytes.len() != 8) {
        return Err(Refusal::bad_header(CRC, sent));
    }
    if sent == crc64(body) { Ok(()) } else { Err(Code::CRC64_MISMATCH.into()) }
}

fn hash(ask: &Ask, name: &str) -> Result<Option<String>, Refusal> {
    let sent = ask.owned(name)?;
    let valid = |sent: &str| from_base64(sent).is_some_and(|bytes| bytes.len() == 16);
    if sent.as_deref().is_none_or(valid) { Ok(sent) } else { Err(Code::INVALID_MD5.into()) }
}
