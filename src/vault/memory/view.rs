//! What the vault in memory answers: its objects in Azure's JSON. Changes nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::life::Rules;
use super::{Gone, Memory, State, Stored, Version, missing};
use crate::model::{Digest, Kind, Name, Object};
use crate::vault::{Error, Item, Listing};

impl Memory {
    pub(super) fn id(&self, collection: &str, name: &Name, version: Option<&str>) -> String {
        let version = version.map_or_else(String::new, |version| format!("/{version}"));
        format!("{}/{collection}/{name}{version}", self.uri)
    }

    /// A version as lists show it, under the id of the object or of the version.
    fn item(&self, rules: &Rules, stored: &Stored, version: &Version, whole: bool) -> Value {
        let Object { kind, name } = &stored.object;
        let id = self.id(kind.plural(), name, whole.then_some(version.id.as_str()));
        let mut item = json!({
            if *kind == Kind::Key { "kid" } else { "id" }: id,
            "attributes": {
                "enabled": version.enabled, "created": version.created, "updated": version.updated,
                "recoveryLevel": rules.recovery_level(), "recoverableDays": rules.retention_days,
            },
        });
        if let Some(item) = item.as_object_mut() {
            if !version.tags.is_empty() {
                item.insert("tags".into(), json!(version.tags));
            }
            if stored.managed {
                item.insert("managed".into(), true.into());
            }
            if *kind == Kind::Certificate {
                item.insert("x5t".into(), public(&version.material).into());
            }
        }
        item
    }

    pub(super) fn bundle(&self, rules: &Rules, stored: &Stored, version: &Version) -> Value {
        let mut bundle = self.item(rules, stored, version, true);
        if stored.object.kind == Kind::Key
            && let Some(members) = bundle.as_object_mut()
        {
            let kid = members.remove("kid");
            let key = json!({"kid": kid, "kty": version.key_type, "e": "AQAB", "n": public(&version.material)});
            members.insert("key".into(), key);
        }
        bundle
    }

    fn deleted_bundle(&self, rules: &Rules, Gone { stored, at, .. }: &Gone) -> Result<Value, Error> {
        let version = stored.newest().ok_or_else(|| missing(&stored.object))?;
        let mut bundle = self.bundle(rules, stored, version);
        if let Some(members) = bundle.as_object_mut() {
            let recovery = self.id(&format!("deleted{}", stored.object.kind.plural()), &stored.object.name, None);
            members.insert("recoveryId".into(), recovery.into());
            members.insert("deletedDate".into(), at.timestamp().into());
            members.insert("scheduledPurgeDate".into(), (*at + rules.retention()).timestamp().into());
        }
        Ok(bundle)
    }

    pub(super) fn items(&self, state: &State, what: &Listing) -> Result<Vec<Value>, Error> {
        let rules = &state.rules;
        Ok(match what {
            Listing::Live(kind) => {
                let stored = state.live.values().filter(|stored| stored.object.kind == *kind);
                stored.filter_map(|stored| Some(self.item(rules, stored, stored.newest()?, false))).collect()
            }
            Listing::Deleted(kind) => {
                let gone = state.visible().filter(|gone| gone.stored.object.kind == *kind);
                let bundles = gone.map(|gone| {
                    let mut bundle = self.deleted_bundle(rules, gone)?;
                    let id = self.id(kind.plural(), &gone.stored.object.name, None);
                    if let Some(members) = bundle.as_object_mut() {
                        members.remove("key");
                        members.insert(if *kind == Kind::Key { "kid" } else { "id" }.into(), id.into());
                    }
                    Ok(bundle)
                });
                bundles.collect::<Result<_, Error>>()?
            }
            Listing::Issuers => self.issuers(state),
            Listing::Versions(object) => {
                let stored = state.live.get(object).into_iter();
                // In no order: the newest first, as nobody may rely upon.
                stored
                    .flat_map(|stored| {
                        stored.versions.iter().rev().map(|version| self.item(rules, stored, version, true))
                    })
                    .collect()
            }
        })
    }

    pub(super) fn find(&self, state: &State, what: &Item) -> Result<Value, Error> {
        let (kind, name, version) = match what {
            Item::Key(name, version) => (Kind::Key, name, version),
            Item::Certificate(name, version) => (Kind::Certificate, name, version),
            Item::RotationPolicy(name) => {
                let key = Object::new(Kind::Key, name.clone());
                return match state.live.contains_key(&key) {
                    true => Ok(self.rotation_policy(state, name)),
                    false => Err(missing(&key)),
                };
            }
            Item::Issuer(name) => return self.issuer(state, name),
            Item::Contacts => return self.contacts(state),
            Item::Deleted(object) => {
                let gone = state.visible().find(|gone| gone.stored.object == *object);
                return self.deleted_bundle(&state.rules, gone.ok_or_else(|| missing(object))?);
            }
        };
        let object = Object::new(kind, name.clone());
        let stored = state.live.get(&object).ok_or_else(|| missing(&object))?;
        let found = match version {
            Some(id) => stored.versions.iter().find(|version| version.id == *id),
            None => stored.newest(),
        };
        Ok(self.bundle(&state.rules, stored, found.ok_or_else(|| missing(&object))?))
    }
}

/// Something that looks like a public key or a thumbprint.
fn public(material: &str) -> String {
    URL_SAFE_NO_PAD.encode(Digest::of(material.as_bytes()).0)
}
