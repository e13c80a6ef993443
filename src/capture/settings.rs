//! Reading what no object's backup carries: the vault's issuers and contacts, and what the management plane holds of it.
//! Never fails: what cannot be read is a gap of its own, and the rest is taken.

use std::collections::BTreeMap;

use chrono::{DateTime, SubsecRound as _, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::format::json::{self, Numbers};
use crate::format::manifest::Gap;
use crate::format::settings::{self, Document, Settings};
use crate::model::VaultFacts;
use crate::vault::{self, Condition, Item, Listing};

/// Issuers asked for at the same time. A vault has a handful.
const AT_ONCE: usize = 4;

/// What is known of a vault beside its objects.
#[derive(Debug)]
pub struct Settled {
    /// What the management plane told, as far as this program understands it.
    pub facts: Option<VaultFacts>,
    /// Everything that was told; `None` where nothing could be read.
    pub settings: Option<Settings>,
    /// What could not be read.
    pub gaps: Vec<Gap>,
}

/// Asks for the settings of a vault. Costs it two requests, and one for each issuer; the rest is asked of the management
/// plane, if there is one to ask. `now` dates what is found.
pub async fn settings(
    vault: &dyn vault::Read,
    facts: Option<&dyn vault::Facts>,
    tool: &str,
    now: DateTime<Utc>,
) -> Settled {
    let described = async {
        match facts {
            Some(facts) => Some(facts.describe(vault.uri()).await),
            None => None,
        }
    };
    let (described, issuers, contacts) = futures::join!(described, issuers(vault), contacts(vault));
    let mut found = Found::default();
    let facts = described.and_then(|described| {
        found.take(Document::Vault, "facts", described.resource);
        found.take(Document::RoleAssignments, "roles", list(described.role_assignments));
        found.take(Document::DiagnosticSettings, "diagnostics", list(described.diagnostic_settings));
        match described.facts {
            Ok(facts) => Some(facts),
            // Not twice, where the resource itself could not be read.
            Err(error) => {
                if found.documents.contains_key(&Document::Vault) {
                    found.gap("facts", &error);
                }
                None
            }
        }
    });
    found.take(Document::Issuers, "issuers", issuers);
    found.take(Document::Contacts, "contacts", contacts);
    let Found { documents, gaps } = found;
    let settings = (!documents.is_empty()).then(|| Settings {
        format: settings::FORMAT.to_owned(),
        vault: vault.uri().clone(),
        captured_at: now.trunc_subsecs(0),
        tool: tool.to_owned(),
        documents,
    });
    Settled { facts, settings, gaps }
}

/// What was found so far, and what was not.
#[derive(Default)]
struct Found {
    documents: BTreeMap<Document, Box<RawValue>>,
    gaps: Vec<Gap>,
}

impl Found {
    fn take(&mut self, document: Document, part: &str, answer: Result<Box<RawValue>, vault::Error>) {
        // What could not be packed later would take the other documents with it.
        let sound = answer.and_then(|body| match json::canonical(&body, Numbers::Verbatim) {
            Ok(_) => Ok(body),
            Err(why) => {
                Err(vault::Error::new(Condition::Malformed, format!("the document {:?}: {why}", document.name())))
            }
        });
        match sound {
            Ok(body) => drop(self.documents.insert(document, body)),
            Err(error) => self.gap(part, &error),
        }
    }

    fn gap(&mut self, part: &str, error: &vault::Error) {
        let detail = match &error.hint {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        self.gaps.push(Gap { code: format!("vault-{part}-{}", error.condition.name()), detail });
    }
}

/// A list as one document, its items untouched.
fn list(items: Result<Vec<Box<RawValue>>, vault::Error>) -> Result<Box<RawValue>, vault::Error> {
    to_raw_value(&items?).map_err(|error| vault::Error::new(Condition::Malformed, error.to_string()))
}

/// All issuers, each whole. One that goes away while we look is none.
async fn issuers(vault: &dyn vault::Read) -> Result<Box<RawValue>, vault::Error> {
    let pages: Vec<vault::Page> = vault.list(Listing::Issuers).try_collect().await?;
    let names =
        pages.iter().flat_map(|page| &page.items).map(|line| issuer_name(line)).collect::<Result<Vec<_>, _>>()?;
    let answers: Vec<Option<Box<RawValue>>> = futures::stream::iter(names)
        .map(|name| async { unless_missing(vault.get(Item::Issuer(name)).await) })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    list(Ok(answers.into_iter().flatten().collect()))
}

/// The last segment of an issuer's id.
fn issuer_name(line: &RawValue) -> Result<String, vault::Error> {
    let line: Value = serde_json::from_str(line.get()).unwrap_or_default();
    let id = line.get("id").and_then(Value::as_str);
    let name = id.and_then(|id| Some(id.rsplit_once("/issuers/")?.1.to_owned()));
    name.filter(|name| !name.is_empty()).ok_or_else(|| {
        vault::Error::new(Condition::Malformed, "the list of certificate issuers has an item that names none")
    })
}

/// The contacts, or `null` where there are none.
async fn contacts(vault: &dyn vault::Read) -> Result<Box<RawValue>, vault::Error> {
    Ok(unless_missing(vault.get(Item::Contacts).await)?.unwrap_or_else(|| RawValue::NULL.to_owned()))
}

fn unless_missing(answer: Result<vault::Answer, vault::Error>) -> Result<Option<Box<RawValue>>, vault::Error> {
    match answer {
        Ok(answer) => Ok(Some(answer.body)),
        Err(error) if error.condition == Condition::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::ManualClock;
    use crate::model::{Place, SoftDelete, VaultUri};
    use crate::vault::Read as _;
    use crate::vault::memory::{Call, Memory, Moment};
    use serde_json::json;
    use std::sync::Arc;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 500_000_000).unwrap()
    }

    fn vault() -> Memory {
        Memory::new(VaultUri::parse("https://v.vault.azure.net").unwrap(), Arc::new(ManualClock::new(now())))
    }

    fn facts() -> VaultFacts {
        VaultFacts {
            resource_id: "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v".into(),
            place: Place { subscription: "s".into(), location: "westeurope".into(), geography: None },
            sku: "premium".into(),
            soft_delete: SoftDelete { enabled: true, retention_days: 90, purge_protection: true },
            rbac: true,
        }
    }

    fn codes(settled: &Settled) -> Vec<&str> {
        settled.gaps.iter().map(|gap| gap.code.as_str()).collect()
    }

    fn document(settled: &Settled, document: Document) -> Value {
        serde_json::from_str(settled.settings.as_ref().unwrap().documents[&document].get()).unwrap()
    }

    #[tokio::test]
    async fn everything_is_asked_for_once_and_kept() {
        let vault = vault();
        vault.put_issuer("digicert", "DigiCert");
        vault.put_issuer("own", "Test");
        vault.set_contacts(&["a@b.example"]);
        vault.set_facts(facts());
        vault.set_description(vec![json!({"id": "/r/1"})], vec![json!({"id": "/d/1"}), json!({"id": "/d/2"})]);
        let settled = settings(&vault, Some(&vault), "tool", now()).await;
        assert!(settled.gaps.is_empty(), "{:?}", settled.gaps);
        assert_eq!(settled.facts.as_ref(), Some(&facts()));
        assert_eq!(document(&settled, Document::Issuers)[1]["attributes"]["enabled"], true, "whole, not as listed");
        assert_eq!(document(&settled, Document::Contacts)["contacts"][0]["email"], "a@b.example");
        assert_eq!(document(&settled, Document::RoleAssignments), json!([{"id": "/r/1"}]));
        assert_eq!(document(&settled, Document::DiagnosticSettings).as_array().unwrap().len(), 2);
        assert_eq!(document(&settled, Document::Vault)["properties"]["sku"]["name"], "premium");
        let found = settled.settings.unwrap();
        assert_eq!((found.captured_at.timestamp_subsec_nanos(), found.tool.as_str()), (0, "tool"));
        assert!(settings::pack(&found).is_ok());
    }

    #[tokio::test]
    async fn a_vault_without_issuers_is_asked_twice_and_nothing_is_something() {
        let vault = vault();
        let settled = settings(&vault, None, "tool", now()).await;
        assert_eq!(vault.traffic().requests, 2);
        assert_eq!(
            (document(&settled, Document::Issuers), document(&settled, Document::Contacts)),
            (json!([]), Value::Null)
        );
        assert!(settled.gaps.is_empty() && settled.facts.is_none());
    }

    #[tokio::test]
    async fn each_part_that_cannot_be_read_is_a_gap_and_the_others_are_taken() {
        let vault = vault();
        vault.put_issuer("own", "Test");
        for (refused, code) in [
            (Call::List(&Listing::Issuers), "vault-issuers-denied"),
            (Call::Get(&Item::Issuer("own".into())), "vault-issuers-denied"),
            (Call::Get(&Item::Contacts), "vault-contacts-denied"),
        ] {
            let refused = format!("{refused:?}");
            vault.interfere(move |_, moment, call| match moment {
                Moment::Before if format!("{call:?}") == refused => {
                    Err(vault::Error::new(Condition::Denied, "no").hint("grant it"))
                }
                _ => Ok(()),
            });
            let settled = settings(&vault, None, "tool", now()).await;
            assert_eq!(codes(&settled), [code]);
            assert_eq!(settled.gaps[0].detail, "no; grant it");
            assert_eq!(settled.settings.unwrap().documents.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_denied_management_plane_is_a_gap_for_each_part_of_it() {
        let vault = vault();
        let settled = settings(&vault, Some(&vault), "tool", now()).await;
        assert_eq!(codes(&settled), ["vault-facts-denied", "vault-roles-denied", "vault-diagnostics-denied"]);
        assert_eq!((settled.facts, settled.settings.unwrap().documents.len()), (None, 2));
    }

    #[tokio::test]
    async fn where_nothing_can_be_read_there_are_no_settings() {
        let vault = vault();
        vault.interfere(|_, _, _| Err(vault::Error::new(Condition::Unavailable, "no")));
        let settled = settings(&vault, Some(&vault), "tool", now()).await;
        assert!(settled.settings.is_none());
        assert_eq!(settled.gaps.len(), 5);
        assert!(settled.gaps.iter().all(|gap| gap.code.ends_with("-unavailable")));
    }

    #[tokio::test]
    async fn an_issuer_that_goes_away_meanwhile_is_no_gap() {
        let vault = vault();
        vault.put_issuer("own", "Test");
        vault.interfere(|_, moment, call| match (moment, call) {
            (Moment::Before, Call::Get(Item::Issuer(_))) => Err(vault::Error::new(Condition::NotFound, "gone")),
            _ => Ok(()),
        });
        let settled = settings(&vault, None, "tool", now()).await;
        assert_eq!((settled.gaps.len(), document(&settled, Document::Issuers)), (0, json!([])));
    }

    #[test]
    fn a_document_that_could_not_be_packed_does_not_take_the_others_with_it() {
        let mut found = Found::default();
        found.take(Document::Vault, "facts", Ok(RawValue::from_string(r#"{"a":1,"a":2}"#.to_owned()).unwrap()));
        found.take(Document::Contacts, "contacts", Ok(RawValue::NULL.to_owned()));
        assert_eq!((found.documents.len(), found.gaps[0].code.as_str()), (1, "vault-facts-malformed"));
    }

    #[test]
    fn a_line_that_names_no_issuer_is_refused() {
        let name = |text: &str| issuer_name(&RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(name(r#"{"id":"https://v.vault.azure.net/certificates/issuers/issuer1"}"#).unwrap(), "issuer1");
        for wrong in
            [r#"{"id":"https://v.vault.azure.net/certificates/tls"}"#, "{}", r#"{"id":1}"#, r#"{"id":"/issuers/"}"#]
        {
            assert_eq!(name(wrong).unwrap_err().condition, Condition::Malformed, "{wrong}");
        }
    }
}
