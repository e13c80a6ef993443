//! Certificates: three objects in one, the certificate, its key and its secret, under one name and with one version id. What
//! they look like, import, update. Making them from a policy is in `pending`.

use super::crypto::{self, Material};
use super::encoding::{self, Octets};
use super::errors::Fault;
use super::keys::{KeyContent, check_tags};
use super::object::{Attributes, AttributesPatch, Content, Kind, Phase, Shelf, Tags, Version};
use super::pem;
use super::pending::Issued;
use super::pfx;
use super::policy::{BasicConstraints, Policy, PolicyPatch, X509Properties};
use super::secrets::{PEM, SecretContent};
use super::state::{Answer, Call, Vault, ok};
use super::view::AttributesView;
use super::x509;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

/// One version of a certificate.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CertificateContent {
    /// The certificate in DER, then its issuers. Empty until it is first needed.
    pub(super) chain: Vec<Octets>,
}

/// What a certificate holds beside its versions.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct CertificateExtra {
    pub(super) policy: Policy,
    /// How the current version was made, if by a request to this vault. Imports and restores have none (REC).
    pub(super) issued: Option<Issued>,
}

#[derive(Serialize)]
pub(super) struct CertificateBundle {
    id: String,
    kid: String,
    sid: String,
    x5t: String,
    cer: String,
    attributes: AttributesView,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Tags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<Link>,
}

#[derive(Serialize)]
struct PolicyView {
    id: String,
    #[serde(flatten)]
    policy: Policy,
}

#[derive(Serialize)]
struct Link {
    id: String,
}

#[derive(Serialize)]
pub(super) struct CertificateItem {
    id: String,
    x5t: String,
    attributes: AttributesView,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Tags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'static str>,
}

fn thumbprint(certificate: &[u8]) -> String {
    encoding::url(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate).as_ref())
}

/// The certificate of a version in DER, made now if it was not before.
fn certificate(call: &mut Call<'_>, name: &str, id: &str) -> Result<Vec<u8>, Fault> {
    let object = call.shelf::<CertificateContent>().any(name)?;
    let version = object.version(Some(id))?;
    if let Some(first) = version.content.chain.first() {
        return Ok(first.0.clone());
    }
    let policy = object.extra.policy.clone();
    let valid = (version.attributes.nbf.unwrap_or_default(), version.attributes.exp.unwrap_or_default());
    let key = material(call, name, id)?;
    let made = x509::self_signed(&policy, &key, valid, serial(call))?;
    let version = call.shelf_mut::<CertificateContent>().any_mut(name)?.version_mut(Some(id))?;
    version.content.chain = vec![Octets(made.clone())];
    Ok(made)
}

/// A positive serial number of 16 bytes.
pub(super) fn serial(call: &mut Call<'_>) -> [u8; 16] {
    let [first, rest @ ..] = call.chance.bytes::<16>();
    let mut serial = [0x40 | (first & 0x3f); 16];
    for (to, from) in serial.iter_mut().skip(1).zip(rest) {
        *to = from;
    }
    serial
}

/// Makes what was left to be made of every version: before a backup nothing may be missing.
pub(super) fn complete_all(call: &mut Call<'_>, name: &str) -> Result<(), Fault> {
    let versions = &call.shelf::<CertificateContent>().any(name)?.versions;
    let ids: Vec<String> = versions.iter().map(|version| version.id.clone()).collect();
    for id in ids {
        certificate(call, name, &id)?;
        material(call, name, &id)?;
    }
    Ok(())
}

fn material(call: &mut Call<'_>, name: &str, id: &str) -> Result<Material, Fault> {
    Ok(call.shelf_mut::<KeyContent>().any_mut(name)?.version_mut(Some(id))?.content.material()?.clone())
}

/// One version, whatever the object's phase; policy and request belong to the object and are shown without a version (REC).
fn bundle(call: &mut Call<'_>, name: &str, version: Option<&str>) -> Result<CertificateBundle, Fault> {
    let id = call.shelf::<CertificateContent>().any(name)?.version(version)?.id.clone();
    let der = certificate(call, name, &id)?;
    let object = call.shelf::<CertificateContent>().any(name)?;
    let shown = object.version(Some(&id))?;
    let own = call.vault.id(Kind::Certificate, &object.name, None);
    let whole = version.is_none();
    let pending = call.reserved(name);
    Ok(CertificateBundle {
        id: call.vault.id(Kind::Certificate, &object.name, Some(&id)),
        kid: call.vault.id(Kind::Key, &object.name, Some(&id)),
        sid: call.vault.id(Kind::Secret, &object.name, Some(&id)),
        x5t: thumbprint(&der),
        cer: encoding::standard(&der),
        attributes: AttributesView::new(call.vault, call.api, &shown.attributes),
        tags: shown.tags.clone(),
        policy: whole.then(|| PolicyView { id: format!("{own}/policy"), policy: object.extra.policy.clone() }),
        pending: (whole && (pending || object.extra.issued.is_some())).then(|| Link { id: format!("{own}/pending") }),
    })
}

impl Content for CertificateContent {
    const KIND: Kind = Kind::Certificate;
    type Extra = CertificateExtra;
    type Bundle = CertificateBundle;
    type Item = CertificateItem;

    fn shelf(vault: &Vault) -> &Shelf<Self> {
        &vault.certificates
    }

    fn shelf_mut(vault: &mut Vault) -> &mut Shelf<Self> {
        &mut vault.certificates
    }

    fn bundle(call: &mut Call<'_>, name: &str) -> Result<CertificateBundle, Fault> {
        bundle(call, name, None)
    }

    fn item(call: &mut Call<'_>, name: &str, version: Option<&str>, deleted: bool) -> Result<CertificateItem, Fault> {
        let id = call.shelf::<CertificateContent>().any(name)?.version(version)?.id.clone();
        let x5t = thumbprint(&certificate(call, name, &id)?);
        let object = call.shelf::<CertificateContent>().any(name)?;
        let shown = object.version(Some(&id))?;
        Ok(CertificateItem {
            id: call.vault.id(Kind::Certificate, &object.name, version),
            x5t,
            // Lists of live certificates do not show the recovery level, lists of deleted ones do (REC).
            attributes: if deleted {
                AttributesView::new(call.vault, call.api, &shown.attributes)
            } else {
                AttributesView::bare(&shown.attributes)
            },
            tags: shown.tags.clone(),
            // Empty in every recording, and only in lists of live certificates.
            subject: (!deleted && call.api.certificate_subject()).then_some(""),
        })
    }

    fn has_policy_row(_: &CertificateExtra) -> bool {
        true
    }
}

/// Whether a certificate may be written under this name: all three names must be free, or belong to the certificate.
pub(super) fn writable(call: &Call<'_>, name: &str) -> Result<(), Fault> {
    let moment = call.moment();
    let own = call.shelf::<CertificateContent>();
    own.writable(name, moment)?;
    let (keys, secrets) = (call.shelf::<KeyContent>(), call.shelf::<SecretContent>());
    keys.writable(name, moment)?;
    secrets.writable(name, moment)?;
    if own.phase(name, moment) == Phase::Free {
        if keys.phase(name, moment) == Phase::Live {
            return Err(Fault::name_held(Kind::Key, name));
        }
        if secrets.phase(name, moment) == Phase::Live {
            return Err(Fault::name_held(Kind::Secret, name));
        }
    }
    Ok(())
}

/// A new version with all that belongs to it.
pub(super) struct NewVersion {
    pub(super) id: String,
    pub(super) attributes: Attributes,
    pub(super) tags: Option<Tags>,
    pub(super) chain: Vec<Octets>,
    pub(super) key: KeyContent,
    pub(super) extra: CertificateExtra,
}

/// Writes a version of the certificate, of its key and of its secret (REC: the same version id and times).
pub(super) fn push(vault: &mut Vault, now: i64, name: &str, new: NewVersion) -> Result<(), Fault> {
    let moment = vault.moment(now);
    let NewVersion { id, attributes, tags, chain, key, extra } = new;
    let content_type = Some(extra.policy.secret_props.content_type.clone());
    let secret = SecretContent { value: None, content_type };
    let behind = |id: &str, attributes: &Attributes| (id.to_owned(), attributes.clone());
    let (key_id, key_attributes) = behind(&id, &attributes);
    let (secret_id, secret_attributes) = behind(&id, &attributes);
    vault.keys.push(
        name,
        moment,
        Version { id: key_id, attributes: key_attributes, tags: tags.clone(), managed: true, content: key },
        None,
    );
    vault.secrets.push(
        name,
        moment,
        Version { id: secret_id, attributes: secret_attributes, tags: tags.clone(), managed: true, content: secret },
        (),
    );
    let version = Version { id, attributes, tags, managed: false, content: CertificateContent { chain } };
    vault.certificates.push(name, moment, version, extra.clone());
    vault.certificates.any_mut(name)?.extra = extra;
    Ok(())
}

/// The value of the secret behind a certificate: PFX in base64, or PEM; without the key if the key may not leave.
pub(super) fn secret_value(call: &mut Call<'_>, name: &str, id: &str, content_type: &str) -> Result<String, Fault> {
    certificate(call, name, id)?;
    let key = material(call, name, id)?;
    let shown = call.shelf::<CertificateContent>().any(name)?.version(Some(id))?;
    let chain: Vec<Vec<u8>> = shown.content.chain.iter().map(|one| one.0.clone()).collect();
    // As the policy was when this version was made: the certificate's policy is that of the next version.
    let exportable = call.shelf::<KeyContent>().any(name)?.version(Some(id))?.content.exportable;
    let private = exportable.then_some(key.private.0.as_slice());
    if content_type == PEM {
        return Ok(pem::write(private, &chain));
    }
    Ok(encoding::standard(&pfx::write(private, &chain)))
}

/// `GET /certificates/NAME[/VERSION]`.
pub(super) fn get(call: &mut Call<'_>, name: &str, version: Option<&str>) -> Answer {
    call.shelf::<CertificateContent>().live(name, call.moment())?;
    ok(&bundle(call, name, version)?)
}

#[derive(Deserialize)]
struct ImportBody {
    value: Option<String>,
    #[serde(default)]
    pwd: Option<String>,
    #[serde(default)]
    policy: PolicyPatch,
    attributes: Option<AttributesPatch>,
    tags: Option<Tags>,
}

/// `POST /certificates/NAME/import`: PEM, base64 of PEM, or base64 of a PFX file.
pub(super) fn import(call: &mut Call<'_>, name: &str) -> Answer {
    let body: ImportBody = call.body()?;
    let value = body.value.ok_or_else(|| Fault::missing("value"))?;
    check_tags(body.tags.as_ref())?;
    writable(call, name)?;
    let (contents, content_type) = contents(&value, body.pwd.as_deref().unwrap_or_default())?;
    let wrong = |what: &str| Fault::bad_parameter(format!("The certificate cannot be imported: {what}"));
    let private = contents.key.ok_or_else(|| wrong("it has no private key"))?;
    let material = crypto::from_pkcs8(&private).map_err(|_| wrong("its key is not supported"))?;
    let public = material.public_info()?;
    let mut chain = contents.certificates;
    // The certificate of the key comes first, whatever the order in the file.
    let own = chain.iter().position(|one| x509::read(one).is_some_and(|facts| facts.public_info == public));
    chain.swap(0, own.ok_or_else(|| wrong("no certificate belongs to its key"))?);
    let facts = chain.first().and_then(|one| x509::read(one)).ok_or_else(|| wrong("it is not X.509"))?;

    let mut policy = Policy::defaults(call.now);
    policy.issuer.name = "Unknown".into();
    policy.secret_props.content_type = content_type.to_owned();
    // Rounded up, as 60 months and ten minutes became 61 (REC).
    let months = (facts.not_after - facts.not_before) as f64 / (30.44 * 86_400.0);
    // What the request says of the certificate is ignored: the certificate knows better (REC).
    policy.apply(body.policy.without_x509(), call.now)?;
    policy.x509_props = X509Properties {
        subject: facts.subject,
        sans: facts.sans,
        ekus: facts.ekus,
        key_usage: facts.key_usage,
        validity_months: (months.ceil() as u32).max(1),
        basic_constraints: BasicConstraints { ca: facts.ca },
    };
    let content = KeyContent { material: Some(material.clone()), ..KeyContent::new(material.spec, false) };
    policy.key_props.kty = content.kty().to_owned();
    policy.set_spec(material.spec);
    let mut attributes =
        Attributes { nbf: Some(facts.not_before), exp: Some(facts.not_after), ..Attributes::new(call.now) };
    attributes.enabled = body.attributes.and_then(|patch| patch.enabled).unwrap_or(true);
    let new = NewVersion {
        id: call.chance.id(),
        attributes,
        tags: body.tags,
        chain: chain.into_iter().map(Octets).collect(),
        key: KeyContent { ops: policy.key_ops(), exportable: policy.key_props.exportable, ..content },
        extra: CertificateExtra { policy, issued: None },
    };
    push(call.vault, call.now, name, new)?;
    ok(&bundle(call, name, None)?)
}

fn contents(value: &str, password: &str) -> Result<(pfx::Contents, &'static str), Fault> {
    if let Some(contents) = pem::read(value) {
        return Ok((contents, "application/x-pem-file"));
    }
    let bytes = encoding::from_standard(value).unwrap_or_default();
    if let Some(contents) = std::str::from_utf8(&bytes).ok().and_then(pem::read) {
        return Ok((contents, "application/x-pem-file"));
    }
    Ok((pfx::read(&bytes, password)?, "application/x-pkcs12"))
}

#[derive(Deserialize)]
struct UpdateBody {
    attributes: Option<AttributesPatch>,
    tags: Option<Tags>,
    policy: Option<PolicyPatch>,
}

/// `PATCH /certificates/NAME[/VERSION]`. Key and secret are enabled and disabled with the certificate
/// (GUESS[certificate-disables-all]).
pub(super) fn update(call: &mut Call<'_>, name: &str, version: Option<&str>) -> Answer {
    let body: UpdateBody = call.body()?;
    check_tags(body.tags.as_ref())?;
    let (now, moment) = (call.now, call.moment());
    let object = call.shelf_mut::<CertificateContent>().live_mut(name, moment)?;
    if let Some(patch) = body.policy {
        object.extra.policy.apply(patch, now)?;
    }
    let changed = object.version_mut(version)?;
    changed.attributes.updated = now;
    changed.tags = body.tags.or(changed.tags.take());
    let enabled = body.attributes.and_then(|patch| patch.enabled).unwrap_or(changed.attributes.enabled);
    changed.attributes.enabled = enabled;
    let id = changed.id.clone();
    let key = call.shelf_mut::<KeyContent>().any_mut(name)?.version_mut(Some(&id))?;
    (key.attributes.enabled, key.attributes.updated) = (enabled, now);
    let secret = call.shelf_mut::<SecretContent>().any_mut(name)?.version_mut(Some(&id))?;
    (secret.attributes.enabled, secret.attributes.updated) = (enabled, now);
    ok(&bundle(call, name, version)?)
}

fn policy_answer(call: &Call<'_>, name: &str) -> Answer {
    let object = call.shelf::<CertificateContent>().live(name, call.moment())?;
    let id = format!("{}/policy", call.vault.id(Kind::Certificate, &object.name, None));
    ok(&PolicyView { id, policy: object.extra.policy.clone() })
}

/// `GET /certificates/NAME/policy`.
pub(super) fn policy(call: &Call<'_>, name: &str) -> Answer {
    policy_answer(call, name)
}

/// `PATCH /certificates/NAME/policy`.
pub(super) fn update_policy(call: &mut Call<'_>, name: &str) -> Answer {
    let patch: PolicyPatch = call.body()?;
    let (now, moment) = (call.now, call.moment());
    call.shelf_mut::<CertificateContent>().live_mut(name, moment)?.extra.policy.apply(patch, now)?;
    policy_answer(call, name)
}

#[cfg(test)]
mod tests {
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::fixture::Cloud;
    use serde_json::json;

    const CREATE: &str = r#"{"policy":{"issuer":{"name":"Self"},"key_props":{"kty":"EC"},
        "secret_props":{"contentType":"application/x-pem-file"},"x509_props":{"subject":"C=US, CN=a"}}}"#;

    #[test]
    fn what_the_secret_hands_out_can_be_imported_again() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("POST", "vvv/certificates/pem/create", CREATE);
        cloud.good("POST", "vvv/certificates/pfx/create", &CREATE.replace("x-pem-file", "x-pkcs12"));
        for name in ["pem", "pfx"] {
            let original = cloud.good("GET", &format!("vvv/certificates/{name}"), "");
            let secret = cloud.good("GET", &format!("vvv/secrets/{name}"), "");
            let body = json!({"value": secret["value"], "tags": {"a": "b"}}).to_string();
            let copy = cloud.good("POST", &format!("vvv/certificates/{name}-copy/import"), &body);
            assert_eq!((&copy["cer"], &copy["x5t"]), (&original["cer"], &original["x5t"]), "{name}");
            assert_eq!(copy["policy"]["x509_props"]["subject"], "C=US, CN=a");
            assert_eq!(copy["policy"]["secret_props"]["contentType"], secret["contentType"]);
            assert!(copy.get("pending").is_none());
            let key = cloud.good("GET", &format!("vvv/keys/{name}-copy"), "");
            assert_eq!(key["key"]["x"], cloud.good("GET", &format!("vvv/keys/{name}"), "")["key"]["x"]);
        }
        for wrong in ["", "no certificate", "AAAA", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"] {
            let body = json!({"value": wrong}).to_string();
            assert_eq!(cloud.bad("POST", "vvv/certificates/x/import", &body).0, 400, "{wrong}");
        }
    }

    #[test]
    fn the_secret_of_a_version_stays_as_it_was_whatever_the_policy_becomes() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("POST", "vvv/certificates/a/create", CREATE);
        let pem = cloud.good("GET", "vvv/secrets/a", "");
        let body = r#"{"key_props":{"exportable":false},"secret_props":{"contentType":"application/x-pkcs12"}}"#;
        cloud.good("PATCH", "vvv/certificates/a/policy", body);
        assert_eq!(cloud.good("GET", "vvv/secrets/a", ""), pem);
        cloud.good("POST", "vvv/certificates/a/create", "{}");
        let pfx = cloud.good("GET", "vvv/secrets/a", "");
        assert_eq!(pfx["contentType"], "application/x-pkcs12");
        assert_eq!(cloud.good("GET", "vvv/secrets/a", ""), pfx, "the same bytes every time");
        let wanted = |format: &str| format!("vvv/secrets/a?api-version=2025-07-01&outContentType=application/{format}");
        let converted = cloud.good("GET", &wanted("x-pem-file"), "");
        assert_eq!(converted["contentType"], "application/x-pem-file");
        assert!(
            converted["value"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"),
            "the key may not leave"
        );
        assert_eq!(cloud.good("GET", &wanted("x-pkcs12"), ""), pfx);
        assert_eq!(cloud.bad("GET", &wanted("pdf"), ""), (400, "BadParameter".into(), String::new()));
    }

    #[test]
    fn a_name_held_by_a_key_or_secret_of_its_own_is_no_name_for_a_certificate() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("POST", "vvv/keys/a/create", r#"{"kty":"EC"}"#);
        cloud.good("PUT", "vvv/secrets/b", r#"{"value":"x"}"#);
        for name in ["A", "B"] {
            assert_eq!(cloud.bad("POST", &format!("vvv/certificates/{name}/create"), CREATE).0, 409);
        }
    }

    #[test]
    fn lists_show_other_attributes_for_live_and_for_deleted_certificates() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("POST", "vvv/certificates/a/create", CREATE);
        let (live, _) = cloud.pages("vvv/certificates");
        assert_eq!(live[0]["subject"], "");
        assert!(live[0]["attributes"].get("recoveryLevel").is_none());
        cloud.good("DELETE", "vvv/certificates/a", "");
        let (deleted, _) = cloud.pages("vvv/deletedcertificates");
        assert!(deleted[0].get("subject").is_none());
        assert_eq!(deleted[0]["attributes"]["recoverableDays"], 7);
    }

    #[test]
    fn disabling_a_certificate_disables_its_secret_and_old_versions_show_no_policy() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("POST", "vvv/certificates/a/create", CREATE);
        let bundle = cloud.good("PATCH", "vvv/certificates/a", r#"{"attributes":{"enabled":false}}"#);
        assert_eq!(bundle["attributes"]["enabled"], false);
        assert_eq!(cloud.bad("GET", "vvv/secrets/a", "").2, "SecretDisabled");
        let version = bundle["id"].as_str().unwrap().rsplit('/').next().unwrap();
        let old = cloud.good("GET", &format!("vvv/certificates/a/{version}"), "");
        assert!(old.get("policy").is_none() && old.get("pending").is_none());
        let policy = cloud.good("PATCH", "vvv/certificates/a/policy", r#"{"x509_props":{"validity_months":3}}"#);
        assert_eq!(policy["x509_props"]["validity_months"], 3);
        assert_eq!(policy["key_props"]["kty"], "EC");
        assert_eq!(cloud.good("GET", "vvv/certificates/a/policy", ""), policy);
    }
}
