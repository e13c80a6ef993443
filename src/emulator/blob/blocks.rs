//! Put Block and Put Block List: large blobs in parts.

use super::ask::{Action, Ask};
use super::digest::{crc64, from_base64};
use super::errors::{Code, Refusal};
use super::state::{Account, Container, Content};
use super::worm::{self, Act};
use super::write::{Draft, check_body, commit};
use super::xml;
use crate::emulator::wire::Response;
use bytes::Bytes;
use hyper::StatusCode;

/// Put Block. Needs the permission to write, not only to add (platform.md §3.3).
pub(super) fn stage(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::BlobWrite)?;
    let Some(id) = ask.request.query("blockid") else {
        return Err(Refusal::from(Code::MISSING_REQUIRED_QUERY_PARAMETER).with("QueryParameterName", "blockid"));
    };
    if from_base64(id).is_none_or(|bytes| bytes.is_empty() || bytes.len() > 64) {
        return Err(Code::INVALID_BLOCK_ID.into());
    }
    let body = &ask.request.body;
    if body.is_empty() {
        return Err(Refusal::bad_header("Content-Length", "0"));
    }
    check_body(ask)?;
    let container = account.container(container)?;
    if let Some(present) = container.current(name) {
        worm::permits(container, present, Act::Overwrite, ask.now)?;
    }
    let staged = container.staged.entry(name.to_owned()).or_default();
    // All ids of a blob have one length (DOC Put Block).
    if staged.keys().next().is_some_and(|other| other.len() != id.len()) {
        return Err(Code::INVALID_BLOB_OR_BLOCK.into());
    }
    staged.insert(id.to_owned(), Content(body.clone()));
    let response = Response::new(StatusCode::CREATED).header("x-ms-request-server-encrypted", "true");
    Ok(with_checksum(response, ask))
}

/// Put Block List. The blob has no MD5 unless the caller gives one (REC
/// go/TestBlobPutBlockListWithImmutabilityPolicy #3 and #4).
pub(super) fn put_list(account: &mut Account, container: &str, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::BlobWrite)?;
    check_body(ask)?;
    let draft = Draft::parse(ask)?.with_default_type();
    let container = account.container(container)?;
    let text = std::str::from_utf8(&ask.request.body).map_err(|_| Refusal::from(Code::INVALID_XML_DOCUMENT))?;
    let wanted = xml::children(text, "BlockList").ok_or(Code::INVALID_XML_DOCUMENT)?;
    let mut content = Vec::new();
    let mut blocks = Vec::with_capacity(wanted.len());
    for (source, id) in wanted {
        let block = match source.as_str() {
            "Uncommitted" => staged(container, name, &id),
            "Committed" => committed(container, name, &id),
            "Latest" => staged(container, name, &id).or_else(|| committed(container, name, &id)),
            _ => return Err(Code::INVALID_XML_DOCUMENT.into()),
        };
        let block = block.ok_or(Code::INVALID_BLOCK_LIST)?;
        content.extend_from_slice(&block);
        blocks.push((id, block.len()));
    }
    let response = commit(container, name, ask, content.into(), blocks, draft)?;
    Ok(with_checksum(response, ask))
}

fn staged(container: &Container, name: &str, id: &str) -> Option<Bytes> {
    container.staged.get(name)?.get(id).map(|block| block.0.clone())
}

fn committed(container: &Container, name: &str, id: &str) -> Option<Bytes> {
    let version = container.current(name)?;
    let at = version.blocks.iter().position(|(present, _)| present == id)?;
    let start: usize = version.blocks.iter().take(at).map(|(_, length)| length).sum();
    let (_, length) = version.blocks.get(at)?;
    let end = start.checked_add(*length)?;
    (end <= version.content.0.len()).then(|| version.content.0.slice(start..end))
}

/// The checksum of what was sent: the MD5 to those who sent one, the CRC-64 to others (DOC, REC).
fn with_checksum(response: Response, ask: &Ask) -> Response {
    match ask.request.header("content-md5") {
        Some(sent) => response.header("content-md5", sent),
        None => response.header("x-ms-content-crc64", crc64(&ask.request.body)),
    }
}
