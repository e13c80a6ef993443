//! What the vault in memory answers: its objects in Azure's JSON. Changes nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Memory, RETENTION, State, Stored, Version, missing};
use crate::model::{Digest, Kind, Name, Object};
use crate::vault::{Condition, Error, Item, Listing};

impl Memory {
    fn id(&self, collection: &str, name: &Name, version: Option<&str>) -> String {
        let version = version.map_or_else(String::new, |version| format!("/{version}"));
        format!("{}/{collection}/{name}{version}", self.uri)
    }

    /// A version as lists show it, under the id of the object or of the version.
    fn item(&self, stored: &Stored, version: &Version, whole: bool) -> Value {
        let Object { kind, name } = &stored.object;
        let id = self.id(kind.plural(), name, whole.then_some(version.id.as_str()));
        let mut item = json!({
            if *kind == Kind::Key { "kid" } else { "id" }: id,
            "attributes": {
                "enabled": version.enabled, "created": version.created, "updated": version.updated,
                "recoveryLevel": "Recoverable+Purgeable",
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

    pub(super) fn bundle(&self, stored: &Stored, version: &Version) -> Value {
        let mut bundle = self.item(stored, version, true);
        if stored.object.kind == Kind::Key
            && let Some(members) = bundle.as_object_mut()
        {
            let kid = members.remove("kid");
            let key = json!({"kid": kid, "kty": version.key_type, "e": "AQAB", "n": public(&version.material)});
            members.insert("key".into(), key);
        }
        bundle
    }

    fn deleted_bundle(&self, stored: &Stored, at: DateTime<Utc>) -> Result<Value, Error> {
        let version = stored.newest().ok_or_else(|| missing(&stored.object))?;
        let mut bundle = self.bundle(stored, version);
        if let Some(members) = bundle.as_object_mut() {
            let recovery = self.id(&format!("deleted{}", stored.object.kind.plural()), &stored.object.name, None);
            members.insert("recoveryId".into(), recovery.into());
            members.insert("deletedDate".into(), at.timestamp().into());
            members.insert("scheduledPurgeDate".into(), (at + RETENTION).timestamp().into());
        }
        Ok(bundle)
    }

    pub(super) fn items(&self, state: &State, what: &Listing) -> Result<Vec<Value>, Error> {
        Ok(match what {
            Listing::Live(kind) => {
                let stored = state.live.values().filter(|stored| stored.object.kind == *kind);
                stored.filter_map(|stored| Some(self.item(stored, stored.newest()?, false))).collect()
            }
            Listing::Deleted(kind) => {
                let stored = state.deleted.values().filter(|(stored, _)| stored.object.kind == *kind);
                let bundles = stored.map(|(stored, at)| {
                    let mut bundle = self.deleted_bundle(stored, *at)?;
                    let id = self.id(kind.plural(), &stored.object.name, None);
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
                    .flat_map(|stored| stored.versions.iter().rev().map(|version| self.item(stored, version, true)))
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
                let written = state.settings.rotation_policies.get(name).cloned();
                return match state.live.contains_key(&key) {
                    true => Ok(written.unwrap_or_else(|| json!({"lifetimeActions": [], "attributes": {}}))),
                    false => Err(missing(&key)),
                };
            }
            Item::Issuer(name) => return self.issuer(state, name),
            Item::Contacts => return self.contacts(state),
            Item::Deleted(object) => {
                if state.arriving.contains_key(object) {
                    return Err(Error::new(Condition::InTransition, format!("{object} is being recovered")));
                }
                let (stored, at) = state.deleted.get(object).ok_or_else(|| missing(object))?;
                return self.deleted_bundle(stored, *at);
            }
        };
        let object = Object::new(kind, name.clone());
        let stored = state.live.get(&object).ok_or_else(|| missing(&object))?;
        let found = match version {
            Some(id) => stored.versions.iter().find(|version| version.id == *id),
            None => stored.newest(),
        };
        Ok(self.bundle(stored, found.ok_or_else(|| missing(&object))?))
    }
}

/// Something that looks like a public key or a thumbprint.
fn public(material: &str) -> String {
    URL_SAFE_NO_PAD.encode(Digest::of(material.as_bytes()).0)
}
