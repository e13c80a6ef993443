//! HTTP conditions (`If-Match` and its kin) as Blob Storage judges them. Pure.

use super::ask::Ask;
use super::errors::{Code, Refusal};
use super::state::{Tick, Version};
use super::worm::parse_http_date;
use chrono::{DateTime, Utc};

/// What the conditions guard: a failed one reads differently for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// GET and HEAD: 304 where HTTP wants it.
    Read,
    /// Put Blob and Put Block List: `If-None-Match: *` over an existing blob is 409 `BlobAlreadyExists` (REC
    /// py/test_create_small_block_blob_with_no_overwrite #2), a specific ETag 412 (REC go/TestBlobPutBlobIfNoneMatchFalse).
    Create,
    /// Everything else that writes.
    Change,
}

/// Whether the request's conditions hold for what is there.
pub(super) fn check(ask: &Ask, guard: Guard, present: Option<&Version>) -> Result<(), Refusal> {
    let stamp = present.map(|version| version.modified);
    let unchanged = if guard == Guard::Read { Code::NOT_MODIFIED } else { Code::CONDITION_NOT_MET };
    if let Some(wanted) = ask.header("if-match")? {
        refuse_unless(stamp.is_some_and(|stamp| matches(wanted, stamp)), Code::CONDITION_NOT_MET)?;
    }
    if let Some(unwanted) = ask.header("if-none-match")? {
        let code = if guard == Guard::Create && unwanted.trim() == "*" { Code::BLOB_ALREADY_EXISTS } else { unchanged };
        refuse_unless(!stamp.is_some_and(|stamp| matches(unwanted, stamp)), code)?;
    }
    let modified = stamp.map(|stamp| DateTime::from_timestamp(stamp.time().timestamp(), 0).unwrap_or_default());
    if let Some(since) = date(ask, "if-modified-since")? {
        refuse_unless(modified.is_none_or(|modified| modified > since), unchanged)?;
    }
    if let Some(since) = date(ask, "if-unmodified-since")? {
        refuse_unless(modified.is_none_or(|modified| modified <= since), Code::CONDITION_NOT_MET)?;
    }
    Ok(())
}

fn refuse_unless(holds: bool, code: Code) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(code.into()) }
}

/// Quotes are optional, since listings show ETags without them.
fn matches(condition: &str, stamp: Tick) -> bool {
    condition.trim() == "*" || condition.trim().trim_matches('"') == stamp.etag()
}

fn date(ask: &Ask, name: &str) -> Result<Option<DateTime<Utc>>, Refusal> {
    let Some(text) = ask.header(name)? else { return Ok(None) };
    parse_http_date(text).map(Some).ok_or_else(|| Refusal::bad_header(name, text))
}
