//! Issuers and contacts of a vault: what a captured vault had, what the target has, and writing what it lacks. What is
//! there and different is somebody's decision, and stays.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::limbo::lost;
use crate::format::settings::{Document, Settings};
use crate::vault::{self, Condition, Item, Setting};

/// How often a setting is written whose answers are lost. Nothing is written over: before each try it is looked at.
const TRIES: u32 = 2;

/// What became of a setting, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppliedSetting {
    /// `issuer NAME` or `contacts`; `settings` for all of them, where the captured ones could not be opened.
    pub setting: String,
    /// What became of it.
    pub result: SettingResult,
    /// One sentence.
    pub detail: String,
}

/// What became of a setting. The names are a contract (`docs/JSON.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingResult {
    /// The target does not have it; it would be written.
    Missing,
    /// It was written.
    Written,
    /// The target has it already.
    Same,
    /// The target has another of the name, which was left alone.
    Different,
    /// It could not be read or written.
    Failed,
}

/// A captured setting that a vault takes back.
enum Captured<'a> {
    Issuer(String, &'a RawValue),
    Contacts(&'a RawValue),
}

impl Captured<'_> {
    fn name(&self) -> String {
        match self {
            Captured::Issuer(name, _) => format!("issuer {name}"),
            Captured::Contacts(_) => "contacts".to_owned(),
        }
    }

    fn item(&self) -> Item {
        match self {
            Captured::Issuer(name, _) => Item::Issuer(name.clone()),
            Captured::Contacts(_) => Item::Contacts,
        }
    }

    fn raw(&self) -> &RawValue {
        match self {
            Captured::Issuer(_, raw) | Captured::Contacts(raw) => raw,
        }
    }

    fn setting(&self) -> Setting<'_> {
        match self {
            Captured::Issuer(name, raw) => Setting::Issuer(name, raw),
            Captured::Contacts(raw) => Setting::Contacts(raw),
        }
    }

    /// What is lost though it be written.
    fn short_of(&self) -> &'static str {
        match self {
            Captured::Issuer(_, raw) if value_of(raw).pointer("/credentials/account_id").is_some() => {
                ", without its password, which no vault shows; set it with `az keyvault certificate issuer update`"
            }
            _ => "",
        }
    }
}

/// What the target has of the captured issuers and contacts: nothing is written.
pub async fn look(vault: &dyn vault::Read, settings: &Settings) -> Vec<AppliedSetting> {
    let mut found = Vec::new();
    for captured in captured(settings) {
        found.push(compare(vault, &captured).await);
    }
    found
}

/// Writes the captured issuers and contacts that the target does not have. Never overwrites: what is there and different
/// is told. What fails is told too, and the others are tried.
pub async fn write(vault: &dyn vault::Write, settings: &Settings) -> Vec<AppliedSetting> {
    let mut done = Vec::new();
    for captured in captured(settings) {
        done.push(write_one(vault, &captured).await);
    }
    done
}

async fn write_one(vault: &dyn vault::Write, captured: &Captured<'_>) -> AppliedSetting {
    let ended = |result, detail| AppliedSetting { setting: captured.name(), result, detail };
    let written = || ended(SettingResult::Written, format!("written{}", captured.short_of()));
    let mut found = compare(vault, captured).await;
    let mut tries = 0;
    while found.result == SettingResult::Missing {
        let Err(error) = vault.write(captured.setting()).await else { return written() };
        tries += 1;
        let failed = ended(SettingResult::Failed, told(&error));
        if !lost(error.condition) {
            return failed;
        }
        // An answer that was lost says nothing, and looking does.
        found = match compare(vault, captured).await {
            now if now.result == SettingResult::Same => written(),
            now if now.result == SettingResult::Failed => failed,
            now if now.result == SettingResult::Missing && tries == TRIES => failed,
            now => now,
        };
    }
    found
}

fn captured(settings: &Settings) -> Vec<Captured<'_>> {
    let mut all = Vec::new();
    let issuers = settings.documents.get(&Document::Issuers).map(|raw| raw.get());
    let issuers: Vec<&RawValue> = issuers.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    for issuer in issuers {
        let id = value_of(issuer).get("id").and_then(Value::as_str).map(str::to_owned);
        if let Some((_, name)) = id.as_deref().and_then(|id| id.rsplit_once("/issuers/")) {
            all.push(Captured::Issuer(name.to_owned(), issuer));
        }
    }
    all.sort_by_key(Captured::name);
    let contacts = settings.documents.get(&Document::Contacts);
    all.extend(contacts.filter(|raw| !people(&value_of(raw)).is_empty()).map(|raw| Captured::Contacts(raw)));
    all
}

async fn compare(vault: &(impl vault::Read + ?Sized), captured: &Captured<'_>) -> AppliedSetting {
    let (result, detail) = match vault.get(captured.item()).await {
        Ok(answer) if same(captured, &value_of(&answer.body)) => {
            (SettingResult::Same, "the vault has it already".to_owned())
        }
        Ok(_) => {
            let detail =
                "the vault has another one, which is left alone; change it by hand if the captured one is right";
            (SettingResult::Different, detail.to_owned())
        }
        Err(error) if error.condition == Condition::NotFound => {
            (SettingResult::Missing, format!("would be written{}", captured.short_of()))
        }
        Err(error) => (SettingResult::Failed, told(&error)),
    };
    AppliedSetting { setting: captured.name(), result, detail }
}

fn told(error: &vault::Error) -> String {
    match &error.hint {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

fn same(captured: &Captured<'_>, live: &Value) -> bool {
    let ours = value_of(captured.raw());
    match captured {
        Captured::Issuer(..) => issuer(&ours) == issuer(live),
        Captured::Contacts(_) => people(&ours) == people(live),
    }
}

/// What of an issuer a person decided; the rest is the service's, or comes and goes with api-versions.
fn issuer(issuer: &Value) -> (BTreeMap<&str, String>, bool, BTreeSet<String>) {
    let decided = ["/provider", "/credentials/account_id", "/org_details/id"];
    let decided = decided.into_iter().filter_map(|at| Some((at, issuer.pointer(at)?.as_str()?.to_owned()))).collect();
    let enabled = issuer.pointer("/attributes/enabled").and_then(Value::as_bool).unwrap_or(true);
    let admins = issuer.pointer("/org_details/admin_details").and_then(Value::as_array).into_iter().flatten();
    (decided, enabled, admins.map(Value::to_string).collect())
}

/// Contacts in whatever order.
fn people(contacts: &Value) -> BTreeSet<[String; 3]> {
    let list = contacts.get("contacts").and_then(Value::as_array).into_iter().flatten();
    let person = |contact: &Value| {
        ["email", "name", "phone"].map(|name| contact.get(name).and_then(Value::as_str).unwrap_or_default().to_owned())
    };
    list.map(person).collect()
}

fn value_of(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::ambient::ManualClock;
    use crate::format::settings::FORMAT;
    use crate::model::VaultUri;
    use crate::vault::Read as _;
    use crate::vault::memory::{Call, Memory, Moment};

    fn vault() -> Memory {
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()));
        Memory::new(VaultUri::parse("https://spare.vault.azure.net").unwrap(), clock)
    }

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    fn settings(issuers: &[(&str, &str)], contacts: &[&str]) -> Settings {
        let issuer = |(name, provider): &(&str, &str)| {
            json!({"id": format!("https://prod.vault.azure.net/certificates/issuers/{name}"), "provider": provider,
                "attributes": {"enabled": true, "created": 1, "updated": 2}})
        };
        let issuers: Vec<Value> = issuers.iter().map(issuer).collect();
        let contacts: Vec<Value> = contacts.iter().map(|email| json!({"email": email})).collect();
        let contacts = json!({"id": "https://prod.vault.azure.net/certificates/contacts", "contacts": contacts});
        Settings {
            format: FORMAT.to_owned(),
            vault: VaultUri::parse("https://prod.vault.azure.net").unwrap(),
            captured_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            tool: "tool".to_owned(),
            documents: BTreeMap::from([
                (Document::Issuers, raw(&issuers.into())),
                (Document::Contacts, raw(&contacts)),
            ]),
        }
    }

    fn results(applied: &[AppliedSetting]) -> Vec<(&str, SettingResult)> {
        applied.iter().map(|it| (it.setting.as_str(), it.result)).collect()
    }

    #[tokio::test]
    async fn what_is_missing_is_written_and_what_is_there_and_different_stays() {
        use SettingResult::{Different, Missing, Same, Written};
        let vault = vault();
        vault.put_issuer("b", "Other");
        vault.put_issuer("c", "Test");
        let settings = settings(&[("c", "Test"), ("a", "Test"), ("b", "Test")], &["x@y.example"]);
        let look = look(&vault, &settings).await;
        let expected = [("issuer a", Missing), ("issuer b", Different), ("issuer c", Same), ("contacts", Missing)];
        assert_eq!(results(&look), expected);
        assert!(vault.get(Item::Issuer("a".into())).await.is_err(), "looking writes nothing");
        let done = write(&vault, &settings).await;
        let expected = [("issuer a", Written), ("issuer b", Different), ("issuer c", Same), ("contacts", Written)];
        assert_eq!(results(&done), expected);
        let other = vault.get(Item::Issuer("b".into())).await.unwrap().body;
        assert_eq!(value_of(&other)["provider"], "Other", "not overwritten");
        assert!(write(&vault, &settings).await.iter().all(|it| matches!(it.result, Same | Different)));
    }

    #[tokio::test]
    async fn one_that_is_denied_is_told_with_its_hint_and_the_others_are_written() {
        let vault = vault();
        vault.interfere(|_, moment, call| match (moment, call) {
            (Moment::Before, Call::Write(Setting::Issuer("a", _))) => {
                Err(vault::Error::new(Condition::Denied, "no").hint("grant it"))
            }
            _ => Ok(()),
        });
        let done = write(&vault, &settings(&[("a", "Test"), ("b", "Test")], &[])).await;
        assert_eq!(results(&done), [("issuer a", SettingResult::Failed), ("issuer b", SettingResult::Written)]);
        assert_eq!(done[0].detail, "no; grant it");
    }

    #[tokio::test]
    async fn a_lost_answer_is_looked_after_and_asked_for_once_more() {
        for (lost, times, expected) in [
            (Moment::After, 1, SettingResult::Written),
            (Moment::Before, 1, SettingResult::Written),
            (Moment::Before, 2, SettingResult::Failed),
        ] {
            let (vault, left) = (vault(), std::sync::atomic::AtomicU32::new(times));
            vault.interfere(move |_, moment, call| {
                let of = matches!(call, Call::Write(_)) && moment == lost;
                let order = std::sync::atomic::Ordering::SeqCst;
                match of && left.fetch_update(order, order, |left| left.checked_sub(1)).is_ok() {
                    true => Err(vault::Error::new(Condition::Unavailable, "no answer")),
                    false => Ok(()),
                }
            });
            let done = write(&vault, &settings(&[("a", "Test")], &[])).await;
            assert_eq!(results(&done), [("issuer a", expected)], "{lost:?}, {times}");
        }
    }

    #[tokio::test]
    async fn contacts_of_nobody_are_nothing_and_a_vault_without_documents_has_nothing() {
        let vault = vault();
        assert!(look(&vault, &settings(&[], &[])).await.is_empty());
        let mut none = settings(&[("a", "Test")], &["x@y.example"]);
        none.documents.insert(Document::Contacts, RawValue::NULL.to_owned());
        none.documents.remove(&Document::Issuers);
        assert!(write(&vault, &none).await.is_empty());
        assert_eq!(vault.traffic().requests, 0);
    }

    #[test]
    fn what_the_service_adds_to_an_issuer_is_no_difference_and_what_a_person_set_is() {
        let base = json!({"provider": "DigiCert", "credentials": {"account_id": "a"}, "attributes": {"enabled": true},
            "org_details": {"id": "1", "admin_details": [{"email": "a"}, {"email": "b"}]}});
        let mut other = base.clone();
        other["id"] = "https://elsewhere".into();
        other["attributes"]["created"] = 1.into();
        other["org_details"]["zip"] = 0.into();
        other["org_details"]["admin_details"].as_array_mut().unwrap().reverse();
        assert_eq!(issuer(&base), issuer(&other));
        for (at, value) in [
            ("/provider", json!("Test")),
            ("/credentials/account_id", json!("b")),
            ("/attributes/enabled", json!(false)),
            ("/org_details/id", json!("2")),
            ("/org_details/admin_details", json!([{"email": "a"}])),
        ] {
            let mut other = base.clone();
            *other.pointer_mut(at).unwrap() = value;
            assert_ne!(issuer(&base), issuer(&other), "{at}");
        }
        let person = |email: &str, phone: &str| json!({"email": email, "phone": phone});
        let list = |list: &[Value]| people(&json!({"contacts": list}));
        assert_eq!(list(&[person("a", "1"), person("b", "2")]), list(&[person("b", "2"), person("a", "1")]));
        assert_ne!(list(&[person("a", "1")]), list(&[person("a", "2")]));
    }
}
