//! From a seed to vaults that look as if they had been in use for a while: every version was made in the past, at a moment
//! of its own. Knows no requests.

use super::certificates::{self, CertificateExtra, NewVersion};
use super::encoding;
use super::keys::{KeyContent, parse_type};
use super::object::{Attributes, Content, DAY, Kind, Phase, Tags, Version};
use super::pending;
use super::policy::Policy;
use super::route::valid_name;
use super::secrets::SecretContent;
use super::state::{Chance, Vault};
use super::x509;
use crate::emulator::seed::{self, ObjectKind, Sku};
use std::collections::BTreeMap;

/// Certificates of a seed are valid so long.
const MONTHS: u32 = 24;

/// A vault as the seed describes it.
///
/// # Errors
/// What is wrong with the seed, naming vault and object.
pub(super) fn vault(seed: &seed::Vault, now: i64, chance: &mut Chance) -> Result<Vault, String> {
    let name = &seed.name;
    let plain =
        (3..=24).contains(&name.len()) && valid_name(name) && name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !plain {
        return Err(format!("vault name {name:?} is not 3 to 24 letters, digits and hyphens beginning with a letter"));
    }
    if !(7..=90).contains(&seed.retention_days) {
        return Err(format!("vault {name:?}: retention_days is {}, not 7 to 90", seed.retention_days));
    }
    let mut vault = Vault {
        name: name.clone(),
        subscription: seed.subscription.clone(),
        location: seed.location.clone(),
        premium: seed.sku == Sku::Premium,
        purge_protection: seed.purge_protection,
        retention_days: seed.retention_days,
        tags: seed.tags.clone(),
        keys: super::object::Shelf::default(),
        secrets: super::object::Shelf::default(),
        certificates: super::object::Shelf::default(),
        pending: BTreeMap::new(),
        issuers: BTreeMap::new(),
        contacts: Vec::new(),
    };
    for object in &seed.objects {
        for name in names(object) {
            add(&mut vault, object, &name, now, chance)
                .map_err(|problem| format!("vault {:?}, {} {name:?}: {problem}", seed.name, noun(object.kind)))?;
        }
    }
    Ok(vault)
}

fn noun(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Key => Kind::Key.noun(),
        ObjectKind::Secret => Kind::Secret.noun(),
        ObjectKind::Certificate => Kind::Certificate.noun(),
    }
}

fn names(object: &seed::Object) -> Vec<String> {
    match object.count {
        None => vec![object.name.clone()],
        Some(count) => (0..count).map(|at| format!("{}-{at:04}", object.name)).collect(),
    }
}

fn add(vault: &mut Vault, object: &seed::Object, name: &str, now: i64, chance: &mut Chance) -> Result<(), String> {
    if !valid_name(name) {
        return Err("the name is not 1 to 127 letters, digits and hyphens".into());
    }
    if object.versions == 0 {
        return Err("versions is 0".into());
    }
    let moment = vault.moment(now);
    let taken = match object.kind {
        ObjectKind::Key => vault.keys.phase(name, moment) != Phase::Free,
        ObjectKind::Secret => vault.secrets.phase(name, moment) != Phase::Free,
        ObjectKind::Certificate => {
            vault.keys.phase(name, moment) != Phase::Free || vault.secrets.phase(name, moment) != Phase::Free
        }
    };
    if taken {
        return Err("the name is taken by another object of this seed".into());
    }
    let key_type = object.key_type.as_deref().unwrap_or("RSA");
    let (spec, hsm) = parse_type(key_type, object.bits, object.curve.as_deref())
        .map_err(|_| format!("type {key_type:?} with these bits or this curve is not one that a vault has"))?;
    if hsm && !vault.premium {
        return Err(format!("type {key_type} needs a vault with sku = \"premium\""));
    }
    let tags = (!object.tags.is_empty()).then(|| object.tags.clone());
    for version in 0..object.versions {
        let attributes = past(object, version, now, chance);
        let id = chance.id();
        match object.kind {
            ObjectKind::Key => push(vault, now, name, id, attributes, tags.clone(), KeyContent::new(spec, hsm)),
            ObjectKind::Secret => {
                // Only the current version has the value that the seed names.
                let given = object.value.clone().filter(|_| version + 1 == object.versions);
                let value = given.unwrap_or_else(|| encoding::url(&chance.bytes::<24>()));
                let content = SecretContent { value: Some(value), content_type: None };
                push(vault, now, name, id, attributes, tags.clone(), content);
            }
            ObjectKind::Certificate => {
                let key = KeyContent::new(spec, hsm);
                let new = certificate(name, id, attributes, tags.clone(), key)?;
                certificates::push(vault, now, name, new).map_err(|_| "it cannot be made".to_owned())?;
            }
        }
    }
    Ok(())
}

fn push<C: Content>(
    vault: &mut Vault,
    now: i64,
    name: &str,
    id: String,
    attributes: Attributes,
    tags: Option<Tags>,
    content: C,
) {
    let moment = vault.moment(now);
    let version = Version { id, attributes, tags, managed: false, content };
    C::shelf_mut(vault).push(name, moment, version, C::Extra::default());
}

/// Attributes of a version made weeks ago: thirty days between versions, and a random part of a day, so that nothing looks
/// freshly changed and no two moments are the same.
fn past(object: &seed::Object, version: u32, now: i64, chance: &mut Chance) -> Attributes {
    let age = i64::from(object.versions - version) * 30 * DAY;
    let part = i64::from(u32::from_be_bytes(chance.bytes())) % DAY;
    let mut attributes = Attributes::new(now - age - part);
    attributes.enabled = object.enabled;
    attributes.exp = object.expires_in_days.map(|days| now.saturating_add(days.saturating_mul(DAY)));
    attributes
}

/// A certificate whose key and body are made when they are first needed.
fn certificate(
    name: &str,
    id: String,
    mut attributes: Attributes,
    tags: Option<Tags>,
    key: KeyContent,
) -> Result<NewVersion, String> {
    let mut policy = Policy::defaults(attributes.created);
    policy.issuer.name = "Self".into();
    policy.x509_props.subject = format!("CN={name}");
    policy.x509_props.validity_months = MONTHS;
    policy.key_props.kty = key.kty().to_owned();
    policy.set_spec(key.spec);
    attributes.nbf = Some(attributes.created - x509::HEAD_START);
    attributes.exp = attributes.exp.or(Some(pending::expiry(attributes.created, MONTHS)));
    if attributes.exp <= attributes.nbf {
        return Err("it would expire before it was made: lower the number of versions".into());
    }
    Ok(NewVersion {
        id,
        attributes,
        tags,
        chain: Vec::new(),
        key: KeyContent { ops: policy.key_ops(), exportable: true, ..key },
        extra: CertificateExtra { policy, issued: None },
    })
}

#[cfg(test)]
mod tests {
    use crate::emulator::seed::Seed;
    use crate::emulator::vault::Vaults;
    use crate::emulator::vault::fixture::{Cloud, NOW, dice};
    use chrono::DateTime;

    fn seed(objects: &str, more: &str) -> String {
        format!(
            "[[vault]]\nname = \"vvv\"\nsubscription = \"s\"\nlocation = \"westeurope\"\nobjects = [{objects}]\n{more}"
        )
    }

    #[test]
    fn seeded_objects_have_a_past() {
        let mut cloud = Cloud::new(&seed(
            r#"{kind = "key", name = "k", type = "EC", versions = 3, tags = {a = "b"}},
               {kind = "secret", name = "old", value = "x", versions = 2, enabled = false, expires_in_days = -1},
               {kind = "certificate", name = "tls", type = "EC"}"#,
            "",
        ));
        let (versions, _) = cloud.pages("vvv/keys/k/versions");
        let mut created: Vec<i64> =
            versions.iter().map(|version| version["attributes"]["created"].as_i64().unwrap()).collect();
        created.sort_unstable();
        created.dedup();
        assert_eq!(created.len(), 3);
        assert!(created.iter().all(|made| *made < NOW - 29 * 86_400));
        assert!(versions.iter().all(|version| version["tags"]["a"] == "b"));
        let (secrets, _) = cloud.pages("vvv/secrets");
        assert_eq!(secrets[0]["attributes"]["exp"], NOW - 86_400);
        assert_eq!(secrets[0]["attributes"]["enabled"], false);
        cloud.good("PATCH", "vvv/secrets/old", r#"{"attributes":{"enabled":true}}"#);
        assert_eq!(cloud.good("GET", "vvv/secrets/old", "")["value"], "x");
        let certificate = cloud.good("GET", "vvv/certificates/tls", "");
        assert_eq!(certificate["policy"]["key_props"]["crv"], "P-256");
        assert!(certificate["attributes"]["nbf"].as_i64().unwrap() < NOW);
    }

    #[test]
    fn thousands_of_keys_are_listed_without_making_one() {
        let mut cloud = Cloud::new(&seed(r#"{kind = "key", name = "k", bits = 4096, count = 3000}"#, ""));
        assert_eq!(cloud.pages("vvv/keys").0.len(), 3000);
        assert!(!String::from_utf8(cloud.vaults.save()).unwrap().contains("\"private\""));
    }

    #[test]
    fn a_wrong_seed_is_refused_with_the_name_of_what_is_wrong() {
        for (objects, more, word) in [
            (r#"{kind = "key", name = "h", type = "RSA-HSM"}"#, "", "premium"),
            (r#"{kind = "key", name = "k", type = "oct"}"#, "", "oct"),
            (r#"{kind = "key", name = "a_b"}"#, "", "a_b"),
            (r#"{kind = "secret", name = "t"}, {kind = "certificate", name = "T"}"#, "", "taken"),
            ("", "retention_days = 91", "91"),
        ] {
            let parsed: Seed = toml::from_str(&seed(objects, more)).unwrap();
            let made = Vaults::new(&parsed.vaults, DateTime::from_timestamp(NOW, 0).unwrap(), dice());
            assert!(made.err().unwrap().contains(word), "{word}");
        }
    }
}
