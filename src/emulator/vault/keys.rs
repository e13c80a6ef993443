//! Keys: create, rotate, update, and what they look like. Importing them is in `key_import`, using them in `usage`. Key
//! material is made when it is
//! first needed, so that a vault of thousands is there at once.

use super::crypto::{self, Curve, Material, Public, Spec};
use super::encoding;
use super::errors::Fault;
use super::object::{Attributes, AttributesPatch, Content, DAY, Kind, Object, Phase, Shelf, Tags, Version};
use super::rotation::RotationPolicy;
use super::state::{Answer, Call, Vault, ok};
use super::view::AttributesView;
use serde::{Deserialize, Serialize};

/// One version of a key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeyContent {
    pub(super) spec: Spec,
    /// Whether the type ends in `-HSM`.
    pub(super) hsm: bool,
    pub(super) ops: Vec<String>,
    pub(super) exportable: bool,
    pub(super) release_policy: Option<ReleasePolicy>,
    /// Made when first needed.
    pub(super) material: Option<Material>,
}

/// When an exportable key may be released. Kept and shown only: nothing here releases keys.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct ReleasePolicy {
    /// Shown although the client left it out (REC).
    #[serde(rename = "contentType", default = "json_type")]
    content_type: String,
    data: String,
    #[serde(default)]
    immutable: bool,
}

fn json_type() -> String {
    "application/json; charset=utf-8".into()
}

impl KeyContent {
    /// A key whose material is yet to be made.
    pub(super) fn new(spec: Spec, hsm: bool) -> Self {
        let ops = default_ops(spec);
        KeyContent { spec, hsm, ops, exportable: false, release_policy: None, material: None }
    }

    pub(super) fn kty(&self) -> &'static str {
        match (self.spec, self.hsm) {
            (Spec::Rsa(_), false) => "RSA",
            (Spec::Rsa(_), true) => "RSA-HSM",
            (Spec::Ec(_), false) => "EC",
            (Spec::Ec(_), true) => "EC-HSM",
        }
    }

    /// The material, made now if it was not before.
    pub(super) fn material(&mut self) -> Result<&Material, Fault> {
        if self.material.is_none() {
            self.material = Some(crypto::generate(self.spec)?);
        }
        self.material.as_ref().ok_or_else(|| Fault::internal("a key has no material"))
    }
}

/// The operations of a key whose creator named none (REC).
pub(super) fn default_ops(spec: Spec) -> Vec<String> {
    let ops: &[&str] = match spec {
        Spec::Rsa(_) => &["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"],
        Spec::Ec(_) => &["sign", "verify"],
    };
    ops.iter().map(ToString::to_string).collect()
}

/// `RSA`, `EC` and their `-HSM` forms; whether it is one.
///
/// # Errors
/// 400 for types that a vault does not make (`oct` needs a Managed HSM; DOC) and for wrong sizes and curves.
pub(super) fn parse_type(kty: &str, bits: Option<u32>, curve: Option<&str>) -> Result<(Spec, bool), Fault> {
    let hsm = kty.ends_with("-HSM");
    let spec = match kty.trim_end_matches("-HSM") {
        "RSA" => match bits.unwrap_or(2048) {
            size @ (2048 | 3072 | 4096) => Spec::Rsa(size),
            other => return Err(Fault::bad_parameter(format!("Key size {other} is not supported"))),
        },
        "EC" => {
            let name = curve.unwrap_or("P-256");
            Spec::Ec(
                Curve::parse(name).ok_or_else(|| Fault::bad_parameter(format!("Curve \"{name}\" is not supported")))?,
            )
        }
        _ => return Err(Fault::bad_parameter(format!("Key type \"{kty}\" is not supported"))),
    };
    Ok((spec, hsm))
}

#[derive(Serialize)]
pub(super) struct Jwk {
    kid: String,
    kty: &'static str,
    key_ops: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

#[derive(Serialize)]
pub(super) struct KeyBundle {
    key: Jwk,
    attributes: AttributesView,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Tags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    managed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_policy: Option<ReleasePolicy>,
}

#[derive(Serialize)]
pub(super) struct KeyItem {
    kid: String,
    attributes: AttributesView,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Tags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    managed: Option<bool>,
}

fn attributes_view(call: &Call<'_>, version: &Version<KeyContent>) -> AttributesView {
    let content = &version.content;
    let mut view = AttributesView::new(call.vault, call.api, &version.attributes);
    // REC for 2048; that EC keys show no size is a GUESS[ec-key-size].
    if let (Spec::Rsa(bits), true) = (content.spec, call.api.key_size()) {
        view.key_size = Some(bits);
    }
    // Keys behind certificates do not show it (REC).
    view.exportable = (call.api.exportable() && !version.managed).then_some(content.exportable);
    // "1" was recorded in 2023; keys made since then are in FIPS 140-3 level 3 modules, "2" (DOC).
    view.hsm_platform = call.api.hsm_platform().then_some(if content.hsm { "2" } else { "0" });
    view
}

/// One version as the service shows it, whatever the object's phase.
pub(super) fn bundle(call: &mut Call<'_>, name: &str, version: Option<&str>) -> Result<KeyBundle, Fault> {
    call.shelf_mut::<KeyContent>().any_mut(name)?.version_mut(version)?.content.material()?;
    let object = call.shelf::<KeyContent>().any(name)?;
    let version = object.version(version)?;
    let content = &version.content;
    let mut jwk = Jwk {
        kid: call.vault.id(Kind::Key, &object.name, Some(&version.id)),
        kty: content.kty(),
        key_ops: content.ops.clone(),
        n: None,
        e: None,
        crv: None,
        x: None,
        y: None,
    };
    match (content.material.as_ref().map(|material| &material.public), content.spec) {
        (Some(Public::Rsa { n, e }), _) => {
            (jwk.n, jwk.e) = (Some(encoding::url(&n.0)), Some(encoding::url(&e.0)));
        }
        (Some(Public::Ec { x, y }), Spec::Ec(curve)) => {
            jwk.crv = Some(curve.name());
            (jwk.x, jwk.y) = (Some(encoding::url(&x.0)), Some(encoding::url(&y.0)));
        }
        _ => return Err(Fault::internal("a key has no public part")),
    }
    Ok(KeyBundle {
        key: jwk,
        attributes: attributes_view(call, version),
        tags: version.tags.clone(),
        managed: version.managed.then_some(true),
        release_policy: content.release_policy.clone(),
    })
}

impl Content for KeyContent {
    const KIND: Kind = Kind::Key;
    type Extra = Option<RotationPolicy>;
    type Bundle = KeyBundle;
    type Item = KeyItem;

    fn shelf(vault: &Vault) -> &Shelf<Self> {
        &vault.keys
    }

    fn shelf_mut(vault: &mut Vault) -> &mut Shelf<Self> {
        &mut vault.keys
    }

    fn bundle(call: &mut Call<'_>, name: &str) -> Result<KeyBundle, Fault> {
        // The answer to a delete has no release policy (REC); whether the others that are made of this
        // bundle do is a GUESS[release-policy-shown].
        Ok(KeyBundle { release_policy: None, ..bundle(call, name, None)? })
    }

    fn item(call: &mut Call<'_>, name: &str, version: Option<&str>, _deleted: bool) -> Result<KeyItem, Fault> {
        let object = call.shelf::<KeyContent>().any(name)?;
        let shown = object.version(version)?;
        Ok(KeyItem {
            kid: call.vault.id(Kind::Key, &object.name, version),
            attributes: attributes_view(call, shown),
            tags: shown.tags.clone(),
            managed: shown.managed.then_some(true),
        })
    }

    fn has_policy_row(extra: &Self::Extra) -> bool {
        extra.is_some()
    }
}

#[derive(Deserialize)]
struct CreateBody {
    kty: Option<String>,
    key_size: Option<u32>,
    key_ops: Option<Vec<String>>,
    attributes: Option<AttributesPatch>,
    tags: Option<Tags>,
    crv: Option<String>,
    release_policy: Option<ReleasePolicy>,
}

/// Adds a version to a key, or makes the key. `operation` is for the refusal of keys that belong to certificates.
pub(super) fn add(
    call: &mut Call<'_>,
    name: &str,
    content: KeyContent,
    patch: Option<AttributesPatch>,
    tags: Option<Tags>,
    operation: &str,
) -> Result<(), Fault> {
    let moment = call.moment();
    let shelf = call.shelf::<KeyContent>();
    shelf.writable(name, moment)?;
    let existing = (shelf.phase(name, moment) == Phase::Live).then(|| shelf.any(name)).transpose()?;
    if existing.is_some_and(Object::managed) || call.reserved(name) {
        return Err(Fault::managed(Kind::Key, operation));
    }
    if content.hsm && !call.vault.premium {
        return Err(Fault::hsm_on_standard());
    }
    let mut attributes = Attributes::new(call.now);
    attributes.exp = existing.and_then(|key| key.extra.as_ref()).and_then(|policy| policy.expiry(call.now));
    let mut content = content;
    if let Some(patch) = patch {
        patch.apply(&mut attributes)?;
        content.exportable = patch.exportable.unwrap_or(content.exportable);
    }
    // A key that only imports other keys is short-lived (REC for the creation of RSA-HSM keys; that every such key is, is
    // a GUESS[import-key-expiry]).
    if content.ops == ["import"] {
        attributes.exp = attributes.exp.or(Some(call.now + 2 * DAY));
    }
    check_tags(tags.as_ref())?;
    check_ops(&content.ops)?;
    content.material()?;
    let version = Version { id: call.chance.id(), attributes, tags, managed: false, content };
    call.shelf_mut::<KeyContent>().push(name, moment, version, None);
    Ok(())
}

/// A vault takes at most 15 tags (DOC).
pub(super) fn check_tags(tags: Option<&Tags>) -> Result<(), Fault> {
    if tags.is_some_and(|tags| tags.len() > 15) {
        return Err(Fault::bad_parameter("An object cannot have more than 15 tags"));
    }
    Ok(())
}

fn check_ops(ops: &[String]) -> Result<(), Fault> {
    const KNOWN: [&str; 8] = ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey", "import", "deriveKey"];
    match ops.iter().find(|op| !KNOWN.contains(&op.as_str()) && *op != "export") {
        Some(op) => Err(Fault::bad_parameter(format!("Key operation \"{op}\" is not supported"))),
        None => Ok(()),
    }
}

/// `POST /keys/NAME/create`.
pub(super) fn create(call: &mut Call<'_>, name: &str) -> Answer {
    let body: CreateBody = call.body()?;
    let kty = body.kty.ok_or_else(|| Fault::missing("kty"))?;
    let (spec, hsm) = parse_type(&kty, body.key_size, body.crv.as_deref())?;
    let mut content = KeyContent::new(spec, hsm);
    if let Some(ops) = body.key_ops.filter(|ops| !ops.is_empty()) {
        content.ops = ops;
    }
    content.release_policy = body.release_policy;
    add(call, name, content, body.attributes, body.tags, "create")?;
    ok(&bundle(call, name, None)?)
}

/// `POST /keys/NAME/rotate`: a new version like the current one, expiring as the policy says (REC).
pub(super) fn rotate(call: &mut Call<'_>, name: &str) -> Answer {
    let current = call.shelf::<KeyContent>().live(name, call.moment())?.current()?;
    let content = KeyContent { material: None, ..current.content.clone() };
    let tags = current.tags.clone();
    add(call, name, content, None, tags, "rotate")?;
    ok(&bundle(call, name, None)?)
}

/// `GET /keys/NAME[/VERSION]`. Disabled keys can be read (REC).
pub(super) fn get(call: &mut Call<'_>, name: &str, version: Option<&str>) -> Answer {
    call.shelf::<KeyContent>().live(name, call.moment())?;
    ok(&bundle(call, name, version)?)
}

#[derive(Deserialize)]
struct UpdateBody {
    key_ops: Option<Vec<String>>,
    attributes: Option<AttributesPatch>,
    tags: Option<Tags>,
    release_policy: Option<ReleasePolicy>,
}

/// `PATCH /keys/NAME[/VERSION]`.
pub(super) fn update(call: &mut Call<'_>, name: &str, version: Option<&str>) -> Answer {
    let body: UpdateBody = call.body()?;
    check_tags(body.tags.as_ref())?;
    check_ops(body.key_ops.as_deref().unwrap_or_default())?;
    let (now, moment) = (call.now, call.moment());
    let changed = call.shelf_mut::<KeyContent>().live_mut(name, moment)?.version_mut(version)?;
    if changed.managed {
        return Err(Fault::managed(Kind::Key, "update"));
    }
    if let Some(patch) = &body.attributes {
        patch.apply(&mut changed.attributes)?;
    }
    if let Some(ops) = body.key_ops {
        changed.content.ops = ops;
    }
    if body.tags.is_some() {
        changed.tags = body.tags;
    }
    if body.release_policy.is_some() {
        changed.content.release_policy = body.release_policy;
    }
    changed.attributes.updated = now;
    ok(&bundle(call, name, version)?)
}

#[cfg(test)]
mod tests {
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::fixture::{Cloud, NOW};
    use serde_json::{Value, json};

    fn fields(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn a_key_that_only_imports_keys_lives_for_two_days() {
        let mut cloud = Cloud::four(Limbo::Off);
        let import = r#"{"kty":"RSA-HSM","key_ops":["import"]}"#;
        assert_eq!(cloud.good("POST", "ppp/keys/k/create", import)["attributes"]["exp"], NOW + 2 * 86_400);
        let ordinary = cloud.good("POST", "ppp/keys/k/create", r#"{"kty":"RSA-HSM","key_ops":["sign"]}"#);
        assert!(ordinary["attributes"]["exp"].is_null());
    }

    #[test]
    fn the_answer_to_a_delete_has_no_release_policy() {
        let mut cloud = Cloud::four(Limbo::Off);
        let create = r#"{"kty":"RSA-HSM","attributes":{"exportable":true},"release_policy":{"data":"e30"}}"#;
        assert!(cloud.good("POST", "ppp/keys/k/create", create)["release_policy"].is_object());
        assert!(cloud.good("DELETE", "ppp/keys/k", "")["release_policy"].is_null());
    }

    #[test]
    fn a_key_shows_the_fields_of_the_api_version_that_is_asked_for() {
        let mut cloud = Cloud::four(Limbo::Off);
        let made = cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"RSA"}"#);
        assert_eq!(made["key"]["key_ops"].as_array().unwrap().len(), 6);
        assert_eq!(made["key"]["e"], "AQAB");
        for (api, expected) in [
            ("2016-10-01", vec!["created", "enabled", "recoveryLevel", "updated"]),
            ("7.1", vec!["created", "enabled", "recoverableDays", "recoveryLevel", "updated"]),
            ("7.4", vec!["created", "enabled", "exportable", "recoverableDays", "recoveryLevel", "updated"]),
        ] {
            let shown = cloud.good("GET", &format!("vvv/keys/k?api-version={api}"), "");
            assert_eq!(fields(&shown["attributes"]), expected, "{api}");
        }
        let shown = cloud.good("GET", "vvv/keys/k?api-version=2025-07-01", "");
        assert_eq!(
            (&shown["attributes"]["key_size"], &shown["attributes"]["hsmPlatform"]),
            (&json!(2048), &json!("0"))
        );
    }

    #[test]
    fn the_fields_stand_in_the_order_of_the_recordings() {
        let mut cloud = Cloud::four(Limbo::Off);
        let response = cloud.send("POST", "vvv/keys/k/create", r#"{"kty":"EC","crv":"P-521"}"#);
        let body = String::from_utf8(response.body.to_vec()).unwrap();
        let order = ["{\"key\":{\"kid\":", "\"kty\":\"EC\"", "\"key_ops\":[\"sign\",\"verify\"]", "\"crv\":\"P-521\""];
        let places: Vec<Option<usize>> = order.iter().map(|text| body.find(text)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{body}");
        assert!(body.ends_with(
            "\"recoveryLevel\":\"CustomizedRecoverable+Purgeable\",\"recoverableDays\":7,\"exportable\":false,\
             \"hsmPlatform\":\"0\"}}"
        ));
    }

    #[test]
    fn hsm_keys_need_a_premium_vault() {
        let mut cloud = Cloud::four(Limbo::Off);
        let (status, refused) = cloud.ask("POST", "vvv/keys/h/create", r#"{"kty":"EC-HSM"}"#);
        assert_eq!(status, 400);
        assert_eq!(refused["error"]["message"], "Hardware key operation not allowed on standard vault");
        assert_eq!(cloud.good("POST", "ppp/keys/h/create", r#"{"kty":"EC-HSM"}"#)["key"]["kty"], "EC-HSM");
        for wrong in
            [r#"{"kty":"oct"}"#, r#"{"kty":"RSA","key_size":1024}"#, r#"{"kty":"EC","crv":"P-1"}"#, "{}", "[", ""]
        {
            assert_eq!(cloud.bad("POST", "vvv/keys/w/create", wrong).1, "BadParameter", "{wrong}");
        }
    }

    #[test]
    fn rotation_makes_a_version_that_expires_as_the_policy_says() {
        let mut cloud = Cloud::four(Limbo::Off);
        let first = cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"EC","crv":"P-256K"}"#);
        cloud.good("PUT", "vvv/keys/k/rotationpolicy", r#"{"attributes":{"expiryTime":"P30D"}}"#);
        cloud.now += 10;
        let second = cloud.good("POST", "vvv/keys/k/rotate", "");
        assert_ne!(first["key"]["x"], second["key"]["x"]);
        assert_eq!(second["key"]["crv"], "P-256K");
        assert_eq!(second["attributes"]["exp"], NOW + 10 + 30 * 86_400);
        assert_eq!(cloud.good("GET", "vvv/keys/K/", "")["key"]["kid"], second["key"]["kid"]);
    }
}
