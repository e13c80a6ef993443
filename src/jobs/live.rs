//! What a vault shows now, for a comparison with its archive: the lists of live objects, to their true ends. Written apart
//! from the sweep of a snapshot, so that the two can be compared; knows no archive.

use futures::StreamExt;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Context, Error, Kind, Result};
use crate::format::fingerprint::fingerprint;
use crate::model::{self, Attributes, Digest, Object, VaultUri, object_in};
use crate::vault::{self, Listing};

/// A live object as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The object.
    pub object: Object,
    /// Equal fingerprints mean that nothing changed that a list can show.
    pub fingerprint: Digest,
    /// The current version's attributes.
    pub attributes: Attributes,
    /// Whether a certificate owns it.
    pub managed: bool,
}

/// Every live object of a vault. A list that cannot be read to its end is an error: half a comparison misleads.
pub async fn look(vault: &dyn vault::Read) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for kind in model::Kind::ALL {
        let mut pages = vault.list(Listing::Live(kind));
        while let Some(page) = pages.next().await {
            let page = page.map_err(Error::from).context(format!("couldn't list {}", kind.plural()))?;
            for raw in &page.items {
                items.push(item(vault.uri(), kind, raw)?);
            }
        }
    }
    Ok(items)
}

fn item(vault: &VaultUri, kind: model::Kind, raw: &RawValue) -> Result<Item> {
    let wrong = |what: &str| Error::new(Kind::Unavailable, format!("an item of the list of {} {what}", kind.plural()));
    let value: Value = serde_json::from_str(raw.get()).map_err(|_| wrong("cannot be read"))?;
    let id = value.get("kid").or_else(|| value.get("id")).and_then(Value::as_str);
    let object = id.and_then(|id| object_in(vault, id)).map(|(object, _)| object).filter(|object| object.kind == kind);
    Ok(Item {
        object: object.ok_or_else(|| wrong("names nothing of this vault"))?,
        fingerprint: fingerprint(raw).map_err(|_| wrong("cannot be compared"))?,
        attributes: Attributes::of(&value),
        managed: value.get("managed").and_then(Value::as_bool).unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::fixture::House;

    #[tokio::test]
    async fn it_sees_what_the_vault_lists_and_certificates_own() {
        let house = House::new(&["key/k", "secret/a", "certificate/tls"]).await;
        let items = look(&house.vault).await.unwrap();
        let mut found: Vec<(String, bool)> = items.iter().map(|item| (item.object.to_string(), item.managed)).collect();
        found.sort();
        let want = [
            ("certificate/tls", false),
            ("key/k", false),
            ("key/tls", true),
            ("secret/a", false),
            ("secret/tls", true),
        ];
        assert_eq!(found, want.map(|(name, managed)| (name.to_owned(), managed)));
        assert!(items.iter().all(|item| item.attributes.updated.is_some()));
    }

    #[test]
    fn what_makes_no_sense_is_an_error_and_not_left_out() {
        let vault = VaultUri::parse("https://v.vault.azure.net").unwrap();
        for (text, what) in [
            (r#"{"id":"https://other.vault.azure.net/secrets/a"}"#, "names nothing"),
            (r#"{"id":"https://v.vault.azure.net/keys/a"}"#, "names nothing"),
            (r#"{}"#, "names nothing"),
        ] {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            let error = item(&vault, model::Kind::Secret, &raw).unwrap_err();
            assert!(error.message().contains(what), "{error}");
        }
    }
}
