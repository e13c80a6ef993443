//! Targets for Azure's answers, and what is read of them later on.

use serde_json::Value;

use super::{Judged, holds, no};
use crate::azure::lent;
use crate::format::fingerprint::fingerprint;
use crate::format::jwk::thumbprint;
use crate::model::{Attributes, VaultUri, object_in, tags_of};

pub(super) fn list_page(bytes: &[u8]) -> Judged {
    let (items, next) = lent::list_page(bytes).map_err(no)?;
    let vault = VaultUri::parse(lent::VAULT).ok_or_else(|| no("no vault"))?;
    for item in &items {
        let value: Value = serde_json::from_str(item.get()).unwrap_or_default();
        let (_, _, _) = (Attributes::of(&value), tags_of(&value), value.get("key").and_then(thumbprint));
        if let Some(id) = value.get("id").or_else(|| value.get("kid")).and_then(Value::as_str)
            && let Some((object, _)) = object_in(&vault, id)
        {
            holds(object.name.as_str().len() <= 127, "an object has a name that no object can have")?;
        }
        if let (Ok(one), Ok(other)) = (fingerprint(item), fingerprint(item)) {
            holds(one == other, "an item has two fingerprints")?;
        }
    }
    match next {
        Some(link) => holds(
            lent::follow(&link).is_ok_and(|url| url.host_str() == Some(vault.host())) || lent::follow(&link).is_err(),
            "the list leads to another host",
        ),
        None => Ok(()),
    }
}

pub(super) fn backup(bytes: &[u8]) -> Judged {
    let blob = lent::backup(bytes).map_err(no)?;
    holds(!blob.is_empty() && blob.len() <= lent::BLOB_LIMIT, "the blob is empty, or larger than the limit")?;
    holds(blob.len() < bytes.len(), "the blob is longer than the answer")?;
    let again = lent::backup(lent::restore(&blob).as_bytes());
    holds(again.is_ok_and(|again| again == blob), "sent back it is another blob")
}

pub(super) fn error_body(bytes: &[u8]) -> Judged {
    for status in [302, 400, 401, 403, 404, 409, 412, 429, 503] {
        for words in lent::refusals(status, bytes) {
            // All of them are refusals, and held to what refusals are held to: one that says too much is told.
            if words.chars().count() > super::REFUSAL_MAX || words.chars().any(char::is_control) {
                return Err(no(words));
            }
        }
    }
    Ok(())
}

pub(super) fn blob_list(bytes: &[u8]) -> Judged {
    let (items, _) = lent::blob_page(bytes).map_err(no)?;
    holds(items.len() * 7 <= bytes.len(), "there are more blobs than the page has room for")
}

pub(super) fn resource(bytes: &[u8]) -> Judged {
    let read = lent::resource(bytes).map_err(no)?;
    holds(read <= bytes.len(), "there is more in it than it has room for")
}
