//! Certificates in the making: a request is taken with 202, polled, and becomes a version when its time has come. Only the
//! vault itself (`Self`) issues; a request to another issuer stays in progress, as none is there to answer.

use super::certificates::{self, CertificateContent, CertificateExtra, NewVersion};
use super::crypto;
use super::encoding::{self, Octets};
use super::errors::Fault;
use super::keys::{KeyContent, check_tags};
use super::object::{Attributes, AttributesPatch, Kind, Phase, Shelf, Tags};
use super::policy::{Policy, PolicyPatch};
use super::state::{Answer, Call, Change, Vault, ok};
use super::x509;
use crate::emulator::wire::Response;
use chrono::{DateTime, Months};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

/// A request that is in progress.
#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    name: String,
    request: Issued,
    /// When it completes; `None` while an issuer is waited for, or after a cancellation.
    ready: Option<i64>,
    cancelled: bool,
    policy: Policy,
    key: KeyContent,
    enabled: bool,
    tags: Option<Tags>,
    serial: Octets,
    version: String,
}

/// A request and what came of it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Issued {
    id: String,
    issuer: String,
    /// The signing request in base64.
    csr: String,
}

#[derive(Serialize)]
struct View {
    id: String,
    issuer: IssuerView,
    csr: String,
    cancellation_requested: bool,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_details: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    request_id: String,
}

#[derive(Serialize)]
struct IssuerView {
    name: String,
}

impl View {
    fn new(vault: &Vault, name: &str, request: &Issued, state: Option<&Pending>) -> Self {
        let own = vault.id(Kind::Certificate, name, None);
        View {
            id: format!("{own}/pending"),
            issuer: IssuerView { name: request.issuer.clone() },
            csr: request.csr.clone(),
            cancellation_requested: state.is_some_and(|pending| pending.cancelled),
            status: if state.is_some() { "inProgress" } else { "completed" },
            // REC
            status_details: state.is_some().then_some(
                "Pending certificate created. Certificate request is in progress. This may take some time based on \
                 the issuer provider. Please check again later.",
            ),
            target: state.is_none().then_some(own),
            request_id: request.id.clone(),
        }
    }
}

#[derive(Deserialize)]
struct CreateBody {
    policy: Option<PolicyPatch>,
    attributes: Option<AttributesPatch>,
    tags: Option<Tags>,
}

/// `POST /certificates/NAME/create`: 202 with the place to poll (REC).
pub(super) fn create(call: &mut Call<'_>, name: &str) -> Answer {
    let body: CreateBody = call.body()?;
    check_tags(body.tags.as_ref())?;
    certificates::writable(call, name)?;
    let slot = Shelf::<CertificateContent>::key(name);
    if call.reserved(name) {
        return Err(Fault::request_in_progress(name));
    }
    let exists = call.shelf::<CertificateContent>().phase(name, call.moment()) == Phase::Live;
    let mut policy = if exists {
        call.shelf::<CertificateContent>().any(name)?.extra.policy.clone()
    } else {
        Policy::defaults(call.now)
    };
    match body.policy {
        Some(patch) => policy.apply(patch, call.now)?,
        None if !exists => return Err(Fault::missing("policy")),
        None => {}
    }
    let ready = issuer_answers_at(call, &policy)?;
    let key = key_for(call, name, exists, &policy)?;
    let material = key.material.as_ref().ok_or_else(|| Fault::internal("a request has no key"))?;
    let csr = encoding::standard(&x509::request(&policy, material)?);
    let request = Issued { id: call.chance.id(), issuer: policy.issuer.name.clone(), csr };
    let pending = Pending {
        name: name.to_owned(),
        request,
        ready,
        cancelled: false,
        policy,
        key,
        enabled: body.attributes.and_then(|patch| patch.enabled).unwrap_or(true),
        tags: body.tags,
        serial: Octets(certificates::serial(call).to_vec()),
        version: call.chance.id(),
    };
    let view = View::new(call.vault, name, &pending.request, Some(&pending));
    let location = format!("{}?api-version={}&request_id={}", view.id, call.api.name(), view.request_id);
    call.vault.pending.insert(slot, pending);
    Ok(later(Response::json(StatusCode::ACCEPTED, &view).header("location", location)))
}

/// When the issuer will have answered; `None` for never.
fn issuer_answers_at(call: &mut Call<'_>, policy: &Policy) -> Result<Option<i64>, Fault> {
    let issuer = &policy.issuer.name;
    if issuer.is_empty() {
        return Err(Fault::missing("issuer"));
    }
    if issuer.eq_ignore_ascii_case("Self") {
        return Ok(Some(call.visible_at(Kind::Certificate, Change::Create)));
    }
    if !issuer.eq_ignore_ascii_case("Unknown") && !call.vault.issuers.contains_key(&issuer.to_ascii_uppercase()) {
        return Err(Fault::issuer_not_found(issuer));
    }
    Ok(None)
}

fn key_for(call: &Call<'_>, name: &str, exists: bool, policy: &Policy) -> Result<KeyContent, Fault> {
    let (spec, hsm) = policy.key_spec()?;
    if hsm && !call.vault.premium {
        return Err(Fault::hsm_on_standard());
    }
    let old = if exists && policy.key_props.reuse_key {
        let current = call.shelf::<KeyContent>().any(name)?.current()?;
        current.content.material.clone().filter(|material| material.spec == spec)
    } else {
        None
    };
    let material = match old {
        Some(material) => material,
        None => crypto::generate(spec)?,
    };
    Ok(KeyContent {
        ops: policy.key_ops(),
        exportable: policy.key_props.exportable,
        material: Some(material),
        ..KeyContent::new(spec, hsm)
    })
}

/// Turns requests whose time has come into versions.
pub(super) fn complete_due(vault: &mut Vault, now: i64) -> Result<(), Fault> {
    let is_due = |pending: &Pending| pending.ready.is_some_and(|ready| ready <= now);
    let due: Vec<String> =
        vault.pending.iter().filter(|(_, pending)| is_due(pending)).map(|(slot, _)| slot.clone()).collect();
    for slot in due {
        let Some(pending) = vault.pending.remove(&slot) else { continue };
        let made = pending.ready.unwrap_or(now);
        let material = pending.key.material.as_ref().ok_or_else(|| Fault::internal("a request has no key"))?;
        let valid = (made - x509::HEAD_START, expiry(made, pending.policy.x509_props.validity_months));
        let serial = pending.serial.0.as_slice().try_into().unwrap_or([0x40; 16]);
        let certificate = x509::self_signed(&pending.policy, material, valid, serial)?;
        pending.complete(vault, made, valid, vec![Octets(certificate)])?;
    }
    Ok(())
}

impl Pending {
    /// Writes the version that was asked for.
    fn complete(self, vault: &mut Vault, made: i64, valid: (i64, i64), chain: Vec<Octets>) -> Result<(), Fault> {
        let Pending { name, request, policy, key, enabled, tags, version, .. } = self;
        let attributes = Attributes { enabled, nbf: Some(valid.0), exp: Some(valid.1), created: made, updated: made };
        let extra = CertificateExtra { policy, issued: Some(request) };
        let new = NewVersion { id: version, attributes, tags, chain, key, extra };
        certificates::push(vault, made, &name, new)
    }
}

/// So many months after a moment (REC: to the second).
pub(super) fn expiry(made: i64, months: u32) -> i64 {
    DateTime::from_timestamp(made, 0)
        .and_then(|made| made.checked_add_months(Months::new(months)))
        .map_or(made, |end| end.timestamp())
}

/// When to ask again (REC).
fn later(response: Response) -> Response {
    response.header("retry-after", "10")
}

/// `GET /certificates/NAME/pending`.
pub(super) fn get(call: &Call<'_>, name: &str) -> Answer {
    if let Some(pending) = call.vault.pending.get(&Shelf::<CertificateContent>::key(name)) {
        return ok(&View::new(call.vault, &pending.name, &pending.request, Some(pending))).map(later);
    }
    let object = call.shelf::<CertificateContent>().live(name, call.moment())?;
    let request = object.extra.issued.as_ref().ok_or_else(|| Fault::pending_not_found(name))?;
    ok(&View::new(call.vault, &object.name, request, None))
}

#[derive(Deserialize)]
struct MergeBody {
    x5c: Option<Vec<String>>,
}

/// `POST /certificates/NAME/pending/merge`: the certificate that an issuer made of the signing request. 201 (DOC; the SDKs
/// take nothing else).
pub(super) fn merge(call: &mut Call<'_>, name: &str) -> Answer {
    let body: MergeBody = call.body()?;
    let wrong = |what: &str| Fault::bad_parameter(format!("The certificate cannot be merged: {what}"));
    let chain: Option<Vec<Octets>> =
        body.x5c.unwrap_or_default().iter().map(|one| encoding::from_standard(one).map(Octets)).collect();
    let chain = chain.filter(|chain| !chain.is_empty()).ok_or_else(|| Fault::missing("x5c"))?;
    let slot = Shelf::<CertificateContent>::key(name);
    let pending = call.vault.pending.get(&slot).ok_or_else(|| Fault::pending_not_found(name))?;
    let facts = chain.first().and_then(|first| x509::read(&first.0)).ok_or_else(|| wrong("it is not X.509"))?;
    let material = pending.key.material.as_ref().ok_or_else(|| Fault::internal("a request has no key"))?;
    if facts.public_info != material.public_info()? {
        return Err(wrong("its key is not that of the request"));
    }
    if let Some(pending) = call.vault.pending.remove(&slot) {
        pending.complete(call.vault, call.now, (facts.not_before, facts.not_after), chain)?;
    }
    let made = certificates::get(call, name, None)?;
    Ok(Response { status: StatusCode::CREATED, ..made })
}

#[derive(Deserialize)]
struct CancelBody {
    cancellation_requested: Option<bool>,
}

/// `PATCH /certificates/NAME/pending`: asks for cancellation; a request in progress then never completes
/// (GUESS[cancelled-never-completes]).
pub(super) fn cancel(call: &mut Call<'_>, name: &str) -> Answer {
    let body: CancelBody = call.body()?;
    let wanted = body.cancellation_requested.ok_or_else(|| Fault::missing("cancellation_requested"))?;
    let slot = Shelf::<CertificateContent>::key(name);
    let pending = call.vault.pending.get_mut(&slot).ok_or_else(|| Fault::pending_not_found(name))?;
    pending.cancelled |= wanted;
    if pending.cancelled {
        pending.ready = None;
    }
    get(call, name)
}

/// `DELETE /certificates/NAME/pending`: forgets the request.
pub(super) fn delete(call: &mut Call<'_>, name: &str) -> Answer {
    let answer = get(call, name)?;
    let moment = call.moment();
    if call.vault.pending.remove(&Shelf::<CertificateContent>::key(name)).is_none() {
        call.shelf_mut::<CertificateContent>().live_mut(name, moment)?.extra.issued = None;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::encoding;
    use crate::emulator::vault::fixture::Cloud;
    use crate::emulator::vault::{crypto, policy::Policy, x509};
    use crate::emulator::wire::Response;
    use serde_json::{Value, json};

    const CREATE: &str =
        r#"{"policy":{"issuer":{"name":"Self"},"key_props":{"kty":"EC"},"x509_props":{"subject":"CN=a"}}}"#;

    #[test]
    fn a_self_signed_certificate_is_asked_for_polled_and_there_as_three_objects() {
        let mut cloud = Cloud::four(Limbo::Real);
        let response = cloud.send("POST", "vvv/certificates/tls/create", CREATE);
        assert_eq!(response.status, 202);
        let asked: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(asked["status"], "inProgress");
        let location = response.headers.iter().find(|(name, _)| name == "location").unwrap().1.clone();
        let id = asked["request_id"].as_str().unwrap();
        assert_eq!(
            location,
            format!("https://vvv.vault.azure.net/certificates/tls/pending?api-version=7.6&request_id={id}")
        );
        let advised = |response: &Response| response.headers.contains(&("retry-after".into(), "10".into()));
        let poll = cloud.send("GET", "vvv/certificates/tls/pending", "");
        assert!(advised(&response) && advised(&poll));
        assert_eq!(serde_json::from_slice::<Value>(&poll.body).unwrap(), asked);
        assert_eq!(cloud.bad("GET", "vvv/certificates/tls", "").0, 404);
        // Meanwhile nobody else gets the name.
        assert_eq!(cloud.bad("POST", "vvv/keys/tls/create", r#"{"kty":"EC"}"#).0, 403);
        assert_eq!(cloud.bad("PUT", "vvv/secrets/tls", r#"{"value":"x"}"#).0, 403);
        assert_eq!(cloud.bad("POST", "vvv/certificates/tls/create", CREATE).0, 409);

        cloud.now += 21;
        assert!(!advised(&cloud.send("GET", "vvv/certificates/tls/pending", "")));
        let done = cloud.good("GET", "vvv/certificates/tls/pending", "");
        assert_eq!((&done["status"], done.get("status_details")), (&json!("completed"), None));
        assert_eq!(done["target"], "https://vvv.vault.azure.net/certificates/tls");
        let bundle = cloud.good("GET", "vvv/certificates/tls", "");
        let created = bundle["attributes"]["created"].as_i64().unwrap();
        assert_eq!(bundle["attributes"]["nbf"], created - 600);
        assert_eq!(bundle["pending"]["id"], "https://vvv.vault.azure.net/certificates/tls/pending");
        let key = cloud.good("GET", "vvv/keys/tls", "");
        assert_eq!((&key["key"]["kid"], &key["managed"]), (&bundle["kid"], &json!(true)));
        assert_eq!(key["key"]["key_ops"], json!(["sign", "verify"]));
        let secret = cloud.good("GET", "vvv/secrets/tls", "");
        assert_eq!((&secret["id"], &secret["kid"]), (&bundle["sid"], &bundle["kid"]));
        assert_eq!(secret["contentType"], "application/x-pkcs12");
        // A second version renews from the policy that is there.
        cloud.good("POST", "vvv/certificates/tls/create", "{}");
        cloud.now += 21;
        assert_eq!(cloud.pages("vvv/certificates/tls/versions").0.len(), 2);
        assert_eq!(cloud.pages("vvv/keys/tls/versions").0.len(), 2);
    }

    #[test]
    fn another_issuer_is_waited_for_until_its_certificate_is_merged() {
        let mut cloud = Cloud::four(Limbo::Off);
        let body = CREATE.replace("Self", "Unknown");
        let csr = cloud.good("POST", "vvv/certificates/tls/create", &body)["csr"].clone();
        assert_eq!(cloud.good("GET", "vvv/certificates/tls/pending", "")["status"], "inProgress");
        assert!(!encoding::from_standard(csr.as_str().unwrap()).unwrap().is_empty());
        let mut policy = Policy::defaults(0);
        policy.x509_props.subject = "CN=a".into();
        let stranger = crypto::generate(crypto::Spec::Ec(crypto::Curve::P256)).unwrap();
        let foreign = x509::self_signed(&policy, &stranger, (0, 2_000_000_000), [1; 16]).unwrap();
        let body = json!({"x5c": [encoding::standard(&foreign)]}).to_string();
        assert_eq!(cloud.bad("POST", "vvv/certificates/tls/pending/merge", &body).0, 400);
        assert_eq!(cloud.bad("POST", "vvv/certificates/x/create", &CREATE.replace("Self", "nobody")).0, 404);
        cloud.good("DELETE", "vvv/certificates/tls/pending", "");
        assert_eq!(cloud.bad("GET", "vvv/certificates/tls/pending", "").0, 404);

        // With the key used again, the first certificate answers the second request.
        let reuse = CREATE.replace(r#""kty":"EC""#, r#""kty":"EC","reuse_key":true"#);
        cloud.good("POST", "vvv/certificates/own/create", &reuse);
        let own = cloud.good("GET", "vvv/certificates/own", "");
        cloud.good("POST", "vvv/certificates/own/create", r#"{"policy":{"issuer":{"name":"Unknown"}}}"#);
        let (status, merged) =
            cloud.ask("POST", "vvv/certificates/own/pending/merge", &json!({"x5c": [own["cer"]]}).to_string());
        assert_eq!((status, &merged["cer"]), (201, &own["cer"]));
        assert_ne!(merged["id"], own["id"]);
    }
}
