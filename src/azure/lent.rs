//! The parsers of this module, lent to `fuzzing`: bytes in, plain values out (feature `fuzzing` only). Adds nothing to
//! them, and sends nothing.

use std::time::Duration;

use azure_core::http::headers::Headers;
use bytes::Bytes;
use serde_json::value::RawValue;
use url::Url;
use zeroize::Zeroizing;

use super::classify::{Aim, Asked, Deed, blob_error, management_error, vault_error};
use super::failure::{Cause, Failure, Refusal};
use super::trail::Trail;
use super::wire::Answer;
use super::{arm, bodies, listing};
use crate::model::{Kind, StorePath, VaultUri};
use crate::store::Listed;

/// The vault that answers.
pub const VAULT: &str = "https://prod.vault.azure.net";

/// The largest backup blob that is taken.
pub const BLOB_LIMIT: usize = bodies::BLOB_LIMIT;

/// Items of a page of a list, and where the list goes on.
pub fn list_page(body: &[u8]) -> Result<(Vec<Box<RawValue>>, Option<String>), String> {
    bodies::list_page(body).map(|page| (page.items, page.next))
}

/// Where a link to the next page leads, if it may be followed.
pub fn follow(link: &str) -> Result<Url, String> {
    Trail::new(Url::parse(VAULT).map_err(|error| error.to_string())?).follow(link)
}

/// A backup blob.
pub fn backup(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    bodies::backup(body)
}

/// The body of a restore.
pub fn restore(blob: &[u8]) -> Zeroizing<String> {
    bodies::restore(blob)
}

/// Blobs of a page of a container's list, and where it goes on.
pub fn blob_page(body: &[u8]) -> Result<(Vec<Listed>, Option<String>), String> {
    listing::blob_page(body).map(|page| (page.items, page.next))
}

/// A refusal in the words of a vault's door, a container's and Resource Manager's.
pub fn refusals(status: u16, body: &[u8]) -> Vec<String> {
    let mut headers = Headers::new();
    if let Ok(text) = std::str::from_utf8(body.get(..body.len().min(64)).unwrap_or_default()) {
        headers.insert("retry-after", text.to_owned());
        headers.insert("date", text.to_owned());
    }
    let answer = Answer { status, headers, body: Bytes::copy_from_slice(body), took: Duration::ZERO };
    let failure = Failure::new(Cause::Refused(Refusal::of(&answer)));
    let mut all = vec![management_error(&failure, "management.azure.com", "list subscriptions", "read").message];
    if let Some(vault) = VaultUri::parse(VAULT) {
        let asked = Asked { vault: &vault, deed: Deed::BackUp, kind: Kind::Key, name: Some("tde") };
        all.push(vault_error(&failure, &asked).message);
    }
    if let (Ok(address), Some(path)) = (Url::parse("https://a.blob.core.windows.net/c"), StorePath::parse("a/b")) {
        all.push(blob_error(&failure, &address, &Aim::Create(&path)).message);
    }
    all
}

/// What is read of a resource of Resource Manager, or of a list of them: how many of the things it knows are there.
pub fn resource(body: &[u8]) -> Result<usize, String> {
    let raw = bodies::object(body)?;
    let mut read = arm::read_any(&raw);
    if let Ok(page) = bodies::list_page(body) {
        read += page.items.iter().map(|item| arm::read_any(item)).sum::<usize>();
    }
    Ok(read)
}
