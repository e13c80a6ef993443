//! Issuers and contacts of a vault: what a captured vault had, what the target has, and writing what it lacks. What is
//! there and different is somebody's decision, and stays.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::format::settings::{Document, Settings};
use crate::vault::{self, Condition, Item, Setting};

/// What became of a setting, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppliedSetting {
    /// `issuer NAME` or `contacts`.
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
        let mut applied = compare(vault, &captured).await;
        if applied.result == SettingResult::Missing {
            (applied.result, applied.detail) = match vault.write(captured.setting()).await {
                Ok(()) => (SettingResult::Written, format!("written{}", captured.short_of())),
                Err(error) => (SettingResult::Failed, told(&error)),
            };
        }
        done.push(applied);
    }
    done
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
