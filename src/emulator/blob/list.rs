//! List Blobs: flat or by delimiter, page by page (shape: REC js/list_blobs_include_versions #5,
//! go/TestDeleteSpecificBlobVersion #6). A page costs its own length, not the container's.

use super::ask::{Action, Ask, not_emulated};
use super::container::endpoint;
use super::digest::{base64, from_base64};
use super::errors::{Code, Refusal};
use super::state::{Account, Blob, Container, Tick, Version, http_date};
use super::xml::Xml;
use crate::emulator::wire::{Request, Response};
use hyper::StatusCode;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The most results of a page.
const MOST: usize = 5000;

/// What a listing shows beside the current blobs.
#[derive(Default)]
struct Include {
    versions: bool,
    metadata: bool,
    policy: bool,
    hold: bool,
}

/// Where a page begins: a name, and with versions one of its versions.
#[derive(Debug, PartialEq, Eq)]
struct Marker {
    name: String,
    tick: Tick,
}

/// List Blobs.
pub(super) fn blobs(account: &mut Account, name: &str, ask: &Ask) -> Result<Response, Refusal> {
    ask.require(Action::BlobRead)?;
    let container = account.container(name)?;
    let request = ask.request;
    let include = include(request)?;
    let marker = request.query("marker").filter(|marker| !marker.is_empty());
    let start = marker.map(|text| Marker::parse(text).ok_or_else(|| Refusal::bad_query("marker", text))).transpose()?;
    let most = page_size(request)?;

    let mut xml = Xml::new();
    xml.open("EnumerationResults", &[("ServiceEndpoint", &endpoint(ask.account)), ("ContainerName", name)]);
    let given = |parameter| request.query(parameter).filter(|value| !value.is_empty());
    xml.optional("Prefix", given("prefix")).optional("Marker", marker).optional("StartFrom", given("startfrom"));
    xml.optional("MaxResults", given("maxresults")).optional("Delimiter", given("delimiter"));

    let mut page = Page { xml: Xml::part(), left: most, next: None };
    page.fill(container, request, &include, start);
    page.write(&mut xml, most);
    xml.close("EnumerationResults");
    Ok(Response::new(StatusCode::OK).header("content-type", "application/xml").body(xml.finish()))
}

/// How many results a page may have: at most 5,000, however many are asked for (DOC).
pub(super) fn page_size(request: &Request) -> Result<usize, Refusal> {
    let Some(text) = request.query("maxresults") else { return Ok(MOST) };
    match text.parse::<u32>() {
        Ok(0) => Err(Code::OUT_OF_RANGE_QUERY_PARAMETER_VALUE.into()),
        Ok(most) => Ok(usize::try_from(most).unwrap_or(MOST).min(MOST)),
        Err(_) => Err(Refusal::bad_query("maxresults", text)),
    }
}

fn include(request: &Request) -> Result<Include, Refusal> {
    let mut include = Include::default();
    for item in request.query("include").unwrap_or_default().split(',').map(str::trim) {
        match item {
            "versions" => include.versions = true,
            "metadata" => include.metadata = true,
            "immutabilitypolicy" => include.policy = true,
            "legalhold" => include.hold = true,
            // None of these exist here: no snapshots, soft-deleted blobs, tags, copies or special permissions.
            "" | "snapshots" | "deleted" | "tags" | "copy" | "permissions" => {}
            "uncommittedblobs" | "deletedwithversions" => return Err(not_emulated(item)),
            _ => return Err(Refusal::bad_query("include", item)),
        }
    }
    Ok(include)
}

impl Marker {
    /// Opaque to clients.
    fn text(&self) -> String {
        base64(format!("{:020}{}", self.tick.0, self.name).as_bytes())
    }

    fn parse(text: &str) -> Option<Marker> {
        let text = String::from_utf8(from_base64(text)?).ok()?;
        let (tick, name) = text.split_at_checked(20)?;
        Some(Marker { name: name.to_owned(), tick: Tick(tick.parse().ok()?) })
    }
}

/// A page being filled.
struct Page {
    xml: Xml,
    left: usize,
    next: Option<Marker>,
}

impl Page {
    fn fill(&mut self, container: &Container, request: &Request, include: &Include, start: Option<Marker>) {
        let prefix = request.query("prefix").unwrap_or_default();
        let delimiter = request.query("delimiter").filter(|delimiter| !delimiter.is_empty());
        let from = request.query("startfrom").unwrap_or_default();
        let resumed = start.as_ref().map_or("", |marker| &marker.name);
        let first = prefix.max(from).max(resumed);
        let mut blobs = container.blobs.range::<str, _>((Bound::Included(first), Bound::Unbounded));
        let mut last_group = String::new();
        while let Some((name, blob)) = blobs.next() {
            let Some(rest) = name.strip_prefix(prefix) else { return };
            let group = delimiter.and_then(|delimiter| Some(rest.split_once(delimiter)?.0.len() + delimiter.len()));
            if let Some(group) = group.and_then(|length| rest.get(..length)) {
                let group = format!("{prefix}{group}");
                if group == last_group || !is_shown(blob, include) {
                    continue;
                }
                if !self.take(&group, Tick(0)) {
                    return;
                }
                self.xml.open("BlobPrefix", &[]).name(&group).close("BlobPrefix");
                // Everything below the prefix is one result; go on behind it. What sorts even behind the greatest
                // character is caught by `last_group`.
                let behind = format!("{group}\u{10ffff}");
                blobs = container.blobs.range::<str, _>((Bound::Excluded(behind.as_str()), Bound::Unbounded));
                last_group = group;
                continue;
            }
            let seen = start.as_ref().filter(|marker| marker.name == *name).map_or(Tick(0), |marker| marker.tick);
            for (tick, version) in shown(blob, include).filter(|(tick, _)| *tick >= seen) {
                if !self.take(name, tick) {
                    return;
                }
                item(&mut self.xml, name, version, blob.current == Some(tick), container, include);
            }
        }
    }

    /// Whether there is room for one more; if not, the next page begins with it.
    fn take(&mut self, name: &str, tick: Tick) -> bool {
        if self.left == 0 {
            self.next = Some(Marker { name: name.to_owned(), tick });
            return false;
        }
        self.left -= 1;
        true
    }

    fn write(self, xml: &mut Xml, most: usize) {
        if self.left == most {
            xml.leaf("Blobs", "");
        } else {
            xml.open("Blobs", &[]).append(self.xml).close("Blobs");
        }
        xml.leaf("NextMarker", &self.next.map(|marker| marker.text()).unwrap_or_default());
    }
}

/// The versions that a listing shows of a blob, oldest first (REC).
fn shown<'a>(blob: &'a Blob, include: &Include) -> impl Iterator<Item = (Tick, &'a Version)> {
    let all = include.versions;
    blob.versions
        .iter()
        .map(|(tick, version)| (*tick, version))
        .filter(move |(tick, _)| all || blob.current == Some(*tick))
}

fn is_shown(blob: &Blob, include: &Include) -> bool {
    shown(blob, include).next().is_some()
}

/// One blob. Version ids only when versions are asked for: the documentation says they *may* be there otherwise.
fn item(xml: &mut Xml, name: &str, version: &Version, current: bool, container: &Container, include: &Include) {
    xml.open("Blob", &[]).name(name);
    if include.versions && container.protection.is_version_level() {
        xml.leaf("VersionId", &version.created.iso());
        xml.optional("IsCurrentVersion", current.then_some("true"));
    }
    let settings = &version.settings;
    let empty_or = |value: &Option<String>| value.clone().unwrap_or_default();
    xml.open("Properties", &[]);
    xml.leaf("Creation-Time", &version.created.http()).leaf("Last-Modified", &version.modified.http());
    xml.leaf("Etag", &version.modified.etag()).leaf("Content-Length", &version.content.0.len().to_string());
    xml.leaf("Content-Type", &settings.content_type);
    xml.leaf("Content-Encoding", &empty_or(&settings.content_encoding));
    xml.leaf("Content-Language", &empty_or(&settings.content_language));
    xml.leaf("Content-CRC64", "").leaf("Content-MD5", &empty_or(&settings.content_md5));
    xml.leaf("Cache-Control", &empty_or(&settings.cache_control));
    xml.leaf("Content-Disposition", &empty_or(&settings.content_disposition)).leaf("BlobType", "BlockBlob");
    match version.tier {
        None => xml.leaf("AccessTier", "Hot").leaf("AccessTierInferred", "true"),
        Some((tier, changed)) => {
            xml.leaf("AccessTier", tier.name()).optional("AccessTierChangeTime", changed.map(Tick::http).as_deref())
        }
    };
    if current {
        xml.leaf("LeaseStatus", "unlocked").leaf("LeaseState", "available");
    }
    xml.leaf("ServerEncrypted", "true");
    if let Some(policy) = version.policy.filter(|_| include.policy) {
        xml.leaf("ImmutabilityPolicyUntilDate", &http_date(policy.until));
        xml.leaf("ImmutabilityPolicyMode", policy.mode());
    }
    if include.hold && version.legal_hold {
        xml.leaf("LegalHold", "true");
    }
    xml.close("Properties");
    if include.metadata {
        metadata(xml, &version.metadata);
    }
    xml.leaf("OrMetadata", "").close("Blob");
}

/// A metadata element.
pub(super) fn metadata(xml: &mut Xml, metadata: &BTreeMap<String, String>) {
    if metadata.is_empty() {
        xml.leaf("Metadata", "");
        return;
    }
    xml.open("Metadata", &[]);
    for (name, value) in metadata {
        xml.leaf(name, value);
    }
    xml.close("Metadata");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_and_a_forged_one_is_not() {
        let marker = Marker { name: "a/b ü".into(), tick: Tick(7) };
        assert_eq!(Marker::parse(&marker.text()), Some(marker));
        for text in ["x", "", &base64(b"short"), &base64(b"no tick but long enough")] {
            assert_eq!(Marker::parse(text), None, "{text}");
        }
    }
}
