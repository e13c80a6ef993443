//! Secrets: set, get, update, and what they look like. The value of a secret behind a certificate is not stored: it is made
//! of the certificate and its key.

use super::errors::Fault;
use super::keys::check_tags;
use super::object::{Attributes, AttributesPatch, Content, Kind, Object, Phase, Shelf, Tags, Version};
use super::state::{Answer, Call, Vault, ok};
use super::view::AttributesView;
use serde::{Deserialize, Serialize};

/// The longest value (DOC: 25 KB).
const MAX_VALUE: usize = 25 * 1024;

/// The formats of a secret behind a certificate.
pub(super) const PFX: &str = "application/x-pkcs12";
pub(super) const PEM: &str = "application/x-pem-file";

/// One version of a secret. Not `Debug`: it holds the value.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SecretContent {
    /// `None` behind a certificate.
    pub(super) value: Option<String>,
    pub(super) content_type: Option<String>,
}

#[derive(Serialize)]
pub(super) struct SecretBundle {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(rename = "contentType", skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    managed: Option<bool>,
    attributes: AttributesView,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Tags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
}

/// One version without its value, whatever the object's phase.
fn bundle(call: &Call<'_>, name: &str, version: Option<&str>) -> Result<SecretBundle, Fault> {
    let object = call.shelf::<SecretContent>().any(name)?;
    let version = object.version(version)?;
    Ok(SecretBundle {
        value: None,
        content_type: version.content.content_type.clone(),
        id: call.vault.id(Kind::Secret, &object.name, Some(&version.id)),
        managed: version.managed.then_some(true),
        attributes: AttributesView::new(call.vault, call.api, &version.attributes),
        tags: version.tags.clone(),
        kid: version.managed.then(|| call.vault.id(Kind::Key, &object.name, Some(&version.id))),
    })
}

impl Content for SecretContent {
    const KIND: Kind = Kind::Secret;
    type Extra = ();
    type Bundle = SecretBundle;
    type Item = SecretBundle;

    fn shelf(vault: &Vault) -> &Shelf<Self> {
        &vault.secrets
    }

    fn shelf_mut(vault: &mut Vault) -> &mut Shelf<Self> {
        &mut vault.secrets
    }

    fn bundle(call: &mut Call<'_>, name: &str) -> Result<SecretBundle, Fault> {
        bundle(call, name, None)
    }

    fn item(call: &mut Call<'_>, name: &str, version: Option<&str>, _deleted: bool) -> Result<SecretBundle, Fault> {
        // Items have no `kid` (REC), and in lists of objects no version in their id.
        let id = call.vault.id(Kind::Secret, &call.shelf::<SecretContent>().any(name)?.name, version);
        Ok(SecretBundle { id, kid: None, ..bundle(call, name, version)? })
    }

    fn has_policy_row((): &()) -> bool {
        false
    }
}

#[derive(Deserialize)]
struct SetBody {
    value: Option<String>,
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    attributes: Option<AttributesPatch>,
    tags: Option<Tags>,
}

/// `PUT /secrets/NAME`.
pub(super) fn set(call: &mut Call<'_>, name: &str) -> Answer {
    let body: SetBody = call.body()?;
    let value = body.value.ok_or_else(|| Fault::missing("value"))?;
    if value.len() > MAX_VALUE {
        return Err(Fault::bad_parameter("The secret value is longer than 25 KB"));
    }
    check_tags(body.tags.as_ref())?;
    let moment = call.moment();
    let shelf = call.shelf::<SecretContent>();
    shelf.writable(name, moment)?;
    let managed = shelf.phase(name, moment) == Phase::Live && shelf.any(name).is_ok_and(Object::managed);
    if managed || call.reserved(name) {
        return Err(Fault::managed(Kind::Secret, "set"));
    }
    let mut attributes = Attributes::new(call.now);
    if let Some(patch) = body.attributes {
        patch.apply(&mut attributes)?;
    }
    let content = SecretContent { value: Some(value.clone()), content_type: body.content_type };
    let version = Version { id: call.chance.id(), attributes, tags: body.tags, managed: false, content };
    call.shelf_mut::<SecretContent>().push(name, moment, version, ());
    ok(&SecretBundle { value: Some(value), ..bundle(call, name, None)? })
}

/// `GET /secrets/NAME[/VERSION]`. Disabled secrets cannot be read (REC); expired ones can (DOC).
pub(super) fn get(call: &mut Call<'_>, name: &str, version: Option<&str>) -> Answer {
    let shown = call.shelf::<SecretContent>().live(name, call.moment())?.version(version)?;
    if !shown.attributes.enabled {
        return Err(Fault::disabled(Kind::Secret, "get"));
    }
    let id = shown.id.clone();
    if let Some(value) = shown.content.value.clone() {
        return ok(&SecretBundle { value: Some(value), ..bundle(call, name, Some(&id))? });
    }
    let kept = shown.content.content_type.clone().unwrap_or_default();
    let shown_as = converted(call, &kept)?;
    let value = Some(super::certificates::secret_value(call, name, &id, &shown_as)?);
    ok(&SecretBundle { value, content_type: Some(shown_as), ..bundle(call, name, Some(&id))? })
}

/// The format in which the secret behind a certificate is wanted: as it is kept, or PFX as PEM, and nothing else (DOC; that
/// the answer's content type is that of the conversion is a GUESS[out-content-type], the error's text is too).
fn converted(call: &Call<'_>, kept: &str) -> Result<String, Fault> {
    match call.request.query("outContentType").filter(|_| call.api.out_content_type()) {
        None => Ok(kept.to_owned()),
        Some(wanted) if wanted == kept || (kept == PFX && wanted == PEM) => Ok(wanted.to_owned()),
        Some(wanted) => Err(Fault::bad_parameter(format!("A secret of type {kept} cannot be converted to {wanted}"))),
    }
}

#[derive(Deserialize)]
struct UpdateBody {
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    attributes: Option<AttributesPatch>,
    tags: Option<Tags>,
}

/// `PATCH /secrets/NAME[/VERSION]`.
pub(super) fn update(call: &mut Call<'_>, name: &str, version: Option<&str>) -> Answer {
    let body: UpdateBody = call.body()?;
    check_tags(body.tags.as_ref())?;
    let (now, moment) = (call.now, call.moment());
    let changed = call.shelf_mut::<SecretContent>().live_mut(name, moment)?.version_mut(version)?;
    if changed.managed {
        return Err(Fault::managed(Kind::Secret, "update"));
    }
    if let Some(patch) = &body.attributes {
        patch.apply(&mut changed.attributes)?;
    }
    if body.content_type.is_some() {
        changed.content.content_type = body.content_type;
    }
    if body.tags.is_some() {
        changed.tags = body.tags;
    }
    changed.attributes.updated = now;
    ok(&bundle(call, name, version)?)
}

#[cfg(test)]
mod tests {
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::fixture::Cloud;

    #[test]
    fn a_secret_is_set_versioned_updated_and_hidden_when_disabled() {
        let mut cloud = Cloud::four(Limbo::Off);
        let first = cloud.good("PUT", "vvv/secrets/s", r#"{"value":"one","contentType":"text","tags":{"a":"b"}}"#);
        assert_eq!((&first["value"], &first["contentType"]), (&"one".into(), &"text".into()));
        cloud.now += 5;
        let second = cloud.good("PUT", "vvv/secrets/S", r#"{"value":"two"}"#);
        assert_eq!(cloud.good("GET", "vvv/secrets/s/", "")["value"], "two");
        let id = first["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        assert_eq!(cloud.good("GET", &format!("vvv/secrets/s/{id}"), ""), first);
        cloud.now += 5;
        let updated = cloud.good("PATCH", "vvv/secrets/s", r#"{"attributes":{"enabled":false}}"#);
        assert!(updated.get("value").is_none());
        assert_eq!(updated["attributes"]["created"], second["attributes"]["created"]);
        assert_ne!(updated["attributes"]["updated"], second["attributes"]["updated"]);
        let (status, refused) = cloud.ask("GET", "vvv/secrets/s", "");
        assert_eq!((status, &refused["error"]["innererror"]["code"]), (403, &"SecretDisabled".into()));
        assert_eq!(refused["error"]["message"], "Operation get is not allowed on a disabled secret.");
        // A disabled secret is backed up all the same.
        cloud.backup("vvv/secrets/s");
    }

    #[test]
    fn names_and_bodies_are_checked() {
        let mut cloud = Cloud::four(Limbo::Off);
        for (target, body) in [
            ("vvv/secrets/a_b", r#"{"value":"x"}"#.to_owned()),
            ("vvv/secrets/s", "{}".to_owned()),
            ("vvv/secrets/s", "value".to_owned()),
            ("vvv/secrets/s", format!(r#"{{"value":"{}"}}"#, "x".repeat(25 * 1024 + 1))),
            ("vvv/secrets/s", r#"{"value":"x","attributes":{"nbf":5,"exp":5}}"#.to_owned()),
        ] {
            assert_eq!(cloud.bad("PUT", target, &body).1, "BadParameter", "{target}");
        }
        let (status, missing) = cloud.ask("POST", "vvv/secrets/none/backup", "");
        assert_eq!(status, 404);
        let message = missing["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("A secret with (name/id) none was not found in this key vault. If you"));
    }
}
