//! What the vault in memory has beside objects: certificate issuers, contacts, and what the management plane says of it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Call, Memory, State, raw};
use crate::model::{Name, VaultFacts, VaultUri};
use crate::vault::{Condition, Description, Error, Facts, Setting};

/// Settings of the vault.
#[derive(Default)]
pub(super) struct Settings {
    /// Providers of issuers, by name.
    issuers: BTreeMap<String, String>,
    /// E-mail addresses.
    contacts: Vec<String>,
    /// Rotation policies that were written, by the key's name.
    pub(super) rotation_policies: BTreeMap<Name, Value>,
    facts: Option<VaultFacts>,
    role_assignments: Vec<Value>,
    diagnostic_settings: Vec<Value>,
}

impl State {
    /// Keeps what was written, as far as this vault shows it again.
    pub(super) fn write(&mut self, setting: Setting<'_>) -> Result<(), Error> {
        let value = |raw: &RawValue| -> Result<Value, Error> {
            serde_json::from_str(raw.get()).map_err(|error| Error::new(Condition::Rejected, error.to_string()))
        };
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        match setting {
            Setting::RotationPolicy(name, policy) => {
                self.settings.rotation_policies.insert(name.clone(), value(policy)?);
            }
            Setting::Issuer(name, issuer) => {
                self.settings.issuers.insert(name.to_owned(), text(&value(issuer)?, "provider"));
            }
            Setting::Contacts(contacts) => {
                let contacts = value(contacts)?;
                let list = contacts.get("contacts").and_then(Value::as_array).cloned().unwrap_or_default();
                self.settings.contacts = list.iter().map(|contact| text(contact, "email")).collect();
            }
        }
        Ok(())
    }
}

impl Memory {
    /// Adds a certificate issuer, or replaces it.
    pub fn put_issuer(&self, name: &str, provider: &str) {
        self.state().settings.issuers.insert(name.to_owned(), provider.to_owned());
    }

    /// Replaces the contacts by these e-mail addresses; none at first.
    pub fn set_contacts(&self, contacts: &[&str]) {
        self.state().settings.contacts = contacts.iter().map(|address| (*address).to_owned()).collect();
    }

    /// What the management plane says of the vault; nothing at first, so that asking is [`Condition::Denied`].
    pub fn set_facts(&self, facts: VaultFacts) {
        self.state().settings.facts = Some(facts);
    }

    /// The vault's role assignments and diagnostic settings, shown once there are facts; none at first.
    pub fn set_description(&self, role_assignments: Vec<Value>, diagnostic_settings: Vec<Value>) {
        let settings = &mut self.state().settings;
        settings.role_assignments = role_assignments;
        settings.diagnostic_settings = diagnostic_settings;
    }

    fn issuer_id(&self, name: &str) -> String {
        format!("{}/certificates/issuers/{name}", self.uri)
    }

    pub(super) fn issuers(&self, state: &State) -> Vec<Value> {
        let issuers = state.settings.issuers.iter();
        issuers.map(|(name, provider)| json!({"id": self.issuer_id(name), "provider": provider})).collect()
    }

    pub(super) fn issuer(&self, state: &State, name: &str) -> Result<Value, Error> {
        let missing = || Error::new(Condition::NotFound, format!("there is no issuer {name:?} in memory"));
        let provider = state.settings.issuers.get(name).ok_or_else(missing)?;
        Ok(json!({"id": self.issuer_id(name), "provider": provider, "attributes": {"enabled": true}}))
    }

    pub(super) fn contacts(&self, state: &State) -> Result<Value, Error> {
        let contacts: Vec<Value> = state.settings.contacts.iter().map(|email| json!({"email": email})).collect();
        match contacts.is_empty() {
            true => Err(Error::new(Condition::NotFound, "there are no contacts in memory")),
            false => Ok(json!({"id": format!("{}/certificates/contacts", self.uri), "contacts": contacts})),
        }
    }

    fn known(state: &State, vault: &VaultUri) -> Result<VaultFacts, Error> {
        let denied = || Error::new(Condition::Denied, format!("{vault} may not be asked about"));
        state.settings.facts.clone().ok_or_else(denied)
    }
}

/// The resource, as far as the facts tell.
fn resource(facts: &VaultFacts, vault: &VaultUri) -> Value {
    json!({
        "id": facts.resource_id,
        "location": facts.place.location,
        "properties": {
            "sku": {"family": "A", "name": facts.sku},
            "vaultUri": format!("{vault}/"),
            "enableRbacAuthorization": facts.rbac,
        },
    })
}

#[async_trait]
impl Facts for Memory {
    async fn facts(&self, vault: &VaultUri) -> Result<VaultFacts, Error> {
        self.call(&Call::Facts, |state| Memory::known(state, vault)).map(|(facts, _)| facts)
    }

    async fn describe(&self, vault: &VaultUri) -> Description {
        let told = self.call(&Call::Describe, |state| {
            let facts = Memory::known(state, vault)?;
            let all = |values: &[Value]| values.iter().map(raw).collect::<Result<Vec<_>, Error>>();
            Ok(Description {
                resource: raw(&resource(&facts, vault)),
                facts: Ok(facts),
                role_assignments: all(&state.settings.role_assignments),
                diagnostic_settings: all(&state.settings.diagnostic_settings),
            })
        });
        match told {
            Ok((description, _)) => description,
            Err(error) => Description {
                facts: Err(error.clone()),
                resource: Err(error.clone()),
                role_assignments: Err(error.clone()),
                diagnostic_settings: Err(error),
            },
        }
    }
}
