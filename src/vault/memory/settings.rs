//! What the vault in memory has beside objects: certificate issuers, contacts, and what the management plane says of it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{Call, Memory, State, missing, raw};
use crate::model::{Atlas, Kind, Name, Object, VaultFacts, VaultUri};
use crate::vault::{Condition, Description, Error, Facts, Setting};

/// Settings of the vault.
#[derive(Default)]
pub(super) struct Settings {
    /// Issuers as they are shown, by name in lower case.
    issuers: BTreeMap<String, Value>,
    /// Contacts as they were given.
    contacts: Vec<Value>,
    /// Rotation policies that were written, by the key's name.
    pub(super) rotation_policies: BTreeMap<Name, Value>,
    atlas: Atlas,
    facts: Option<VaultFacts>,
    role_assignments: Vec<Value>,
    diagnostic_settings: Vec<Value>,
}

/// An object's member, as an object.
fn members<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    let inner = value.as_object_mut()?.entry(name).or_insert_with(|| json!({}));
    inner.as_object_mut()
}

impl State {
    /// Keeps what was written, and dates it.
    pub(super) fn write(&mut self, setting: Setting<'_>, now: DateTime<Utc>) -> Result<(), Error> {
        let rejected = |why: &str| Error::new(Condition::Rejected, why.to_owned());
        let mut body: Value =
            serde_json::from_str(setting.body()?.get()).map_err(|error| rejected(&error.to_string()))?;
        let now = now.timestamp();
        let date = |body: &mut Value, created: i64| {
            if let Some(attributes) = members(body, "attributes") {
                attributes.insert("created".into(), created.into());
                attributes.insert("updated".into(), now.into());
            }
        };
        match setting {
            Setting::RotationPolicy(name, _) => {
                let key = Object::new(Kind::Key, name.clone());
                if !self.live.contains_key(&key) {
                    return Err(missing(&key));
                }
                let policies = &mut self.settings.rotation_policies;
                let created = policies.get(name).and_then(|policy| policy.pointer("/attributes/created")?.as_i64());
                date(&mut body, created.unwrap_or(now));
                policies.insert(name.clone(), body);
            }
            Setting::Issuer(name, _) => {
                if body.get("provider").and_then(Value::as_str).is_none() {
                    return Err(rejected("an issuer needs a provider"));
                }
                if let Some(attributes) = members(&mut body, "attributes") {
                    attributes.entry("enabled").or_insert(true.into());
                }
                date(&mut body, now);
                self.settings.put_issuer(name, body);
            }
            Setting::Contacts(_) => {
                let contacts = body.get("contacts").and_then(Value::as_array).filter(|all| !all.is_empty());
                self.settings.contacts = contacts.ok_or_else(|| rejected("there are no contacts in it"))?.clone();
            }
        }
        Ok(())
    }
}

impl Settings {
    fn put_issuer(&mut self, name: &str, mut issuer: Value) {
        if let Some(members) = issuer.as_object_mut() {
            members.insert("name".into(), name.into());
        }
        self.issuers.insert(name.to_lowercase(), issuer);
    }
}

impl Memory {
    /// Adds a certificate issuer, or replaces it.
    pub fn put_issuer(&self, name: &str, provider: &str) {
        let issuer = json!({"provider": provider, "attributes": {"enabled": true}});
        self.state().settings.put_issuer(name, issuer);
    }

    /// Replaces the contacts by these e-mail addresses; none at first.
    pub fn set_contacts(&self, contacts: &[&str]) {
        self.state().settings.contacts = contacts.iter().map(|address| json!({"email": address})).collect();
    }

    /// What is known of regions; the built-in table at first.
    pub fn set_atlas(&self, atlas: Atlas) {
        self.state().settings.atlas = atlas;
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

    fn shown_issuer(&self, mut issuer: Value) -> Value {
        if let Some(members) = issuer.as_object_mut()
            && let Some(Value::String(name)) = members.remove("name")
        {
            members.insert("id".into(), format!("{}/certificates/issuers/{name}", self.uri).into());
        }
        issuer
    }

    pub(super) fn issuers(&self, state: &State) -> Vec<Value> {
        let line = |issuer: &Value| {
            let issuer = self.shown_issuer(issuer.clone());
            json!({"id": issuer.get("id"), "provider": issuer.get("provider")})
        };
        state.settings.issuers.values().map(line).collect()
    }

    pub(super) fn issuer(&self, state: &State, name: &str) -> Result<Value, Error> {
        let missing = || Error::new(Condition::NotFound, format!("there is no issuer {name:?} in memory"));
        let issuer = state.settings.issuers.get(&name.to_lowercase()).ok_or_else(missing)?;
        Ok(self.shown_issuer(issuer.clone()))
    }

    pub(super) fn contacts(&self, state: &State) -> Result<Value, Error> {
        match state.settings.contacts.as_slice() {
            [] => Err(Error::new(Condition::NotFound, "there are no contacts in memory")),
            contacts => Ok(json!({"id": format!("{}/certificates/contacts", self.uri), "contacts": contacts})),
        }
    }

    /// A key's rotation policy: what was written, or what each key has at first.
    pub(super) fn rotation_policy(&self, state: &State, name: &Name) -> Value {
        let first = || {
            let notify = json!({"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}});
            json!({"lifetimeActions": [notify], "attributes": {}})
        };
        let mut policy = state.settings.rotation_policies.get(name).cloned().unwrap_or_else(first);
        if let Some(members) = policy.as_object_mut() {
            members.insert("id".into(), format!("{}/rotationpolicy", self.id("keys", name, None)).into());
        }
        policy
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

    async fn atlas(&self, _: &str) -> Atlas {
        self.state().settings.atlas.clone()
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
