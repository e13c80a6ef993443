//! Certificate issuers and contacts: settings of a vault that no object's backup carries (`azure.md` §3).

use super::errors::Fault;
use super::state::{Answer, Call, ok};
use crate::emulator::seed;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An issuer.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Issuer {
    name: String,
    provider: String,
    credentials: Option<Credentials>,
    org_details: Option<Organization>,
    enabled: bool,
    created: i64,
    updated: i64,
}

/// Credentials. The password is never shown again (DOC), so it is not even kept.
#[derive(Clone, Serialize, Deserialize)]
struct Credentials {
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<String>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Organization {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Shown although no client sets it (REC).
    #[serde(default)]
    zip: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    admin_details: Option<Vec<Value>>,
}

/// Somebody who is told about certificates.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Contact {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
}

impl Issuer {
    /// An issuer of a seed, made at `created`.
    pub(super) fn seeded(seed: &seed::Issuer, created: i64) -> Self {
        Issuer {
            name: seed.name.clone(),
            provider: seed.provider.clone(),
            credentials: seed.account_id.clone().map(|id| Credentials { account_id: Some(id) }),
            org_details: seed.organization.clone().map(|id| Organization { id: Some(id), ..Organization::default() }),
            enabled: true,
            created,
            updated: created,
        }
    }
}

impl Contact {
    /// A contact of a seed.
    pub(super) fn seeded(seed: &seed::Contact) -> Self {
        Contact { email: Some(seed.email.clone()), name: seed.name.clone(), phone: seed.phone.clone() }
    }
}

#[derive(Serialize)]
struct View {
    id: String,
    provider: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<Credentials>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_details: Option<Organization>,
    attributes: ViewAttributes,
}

#[derive(Serialize)]
struct ViewAttributes {
    enabled: bool,
    created: i64,
    updated: i64,
}

#[derive(Deserialize)]
struct Body {
    provider: Option<String>,
    credentials: Option<Credentials>,
    org_details: Option<Organization>,
    attributes: Option<BodyAttributes>,
}

#[derive(Deserialize)]
struct BodyAttributes {
    enabled: Option<bool>,
}

#[derive(Serialize)]
struct Line {
    id: String,
    provider: String,
}

#[derive(Serialize)]
struct Page {
    value: Vec<Line>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

fn id(call: &Call<'_>, name: &str) -> String {
    format!("{}/certificates/issuers/{name}", call.vault.url())
}

fn view(call: &Call<'_>, issuer: &Issuer) -> View {
    let Issuer { name, provider, credentials, org_details, enabled, created, updated } = issuer.clone();
    let attributes = ViewAttributes { enabled, created, updated };
    View { id: id(call, &name), provider, credentials, org_details, attributes }
}

fn find<'a>(call: &'a Call<'_>, name: &str) -> Result<&'a Issuer, Fault> {
    call.vault.issuers.get(&name.to_ascii_uppercase()).ok_or_else(|| Fault::issuer_not_found(name))
}

/// `GET /certificates/issuers`.
pub(super) fn list(call: &Call<'_>) -> Answer {
    let line = |issuer: &Issuer| Line { id: id(call, &issuer.name), provider: issuer.provider.clone() };
    ok(&Page { value: call.vault.issuers.values().map(line).collect(), next_link: None })
}

/// `GET /certificates/issuers/NAME`.
pub(super) fn get(call: &Call<'_>, name: &str) -> Answer {
    ok(&view(call, find(call, name)?))
}

/// `PUT /certificates/issuers/NAME`.
pub(super) fn set(call: &mut Call<'_>, name: &str) -> Answer {
    let body: Body = call.body()?;
    let issuer = Issuer {
        name: name.to_owned(),
        provider: body.provider.ok_or_else(|| Fault::missing("provider"))?,
        credentials: body.credentials,
        org_details: body.org_details,
        enabled: body.attributes.and_then(|attributes| attributes.enabled).unwrap_or(true),
        created: call.now,
        updated: call.now,
    };
    call.vault.issuers.insert(name.to_ascii_uppercase(), issuer);
    get(call, name)
}

/// `PATCH /certificates/issuers/NAME`: details that are given replace those there were, one by one (REC).
pub(super) fn update(call: &mut Call<'_>, name: &str) -> Answer {
    find(call, name)?;
    let body: Body = call.body()?;
    let now = call.now;
    if let Some(issuer) = call.vault.issuers.get_mut(&name.to_ascii_uppercase()) {
        issuer.provider = body.provider.unwrap_or_else(|| issuer.provider.clone());
        issuer.credentials = body.credentials.or(issuer.credentials.take());
        if let Some(details) = body.org_details {
            let old = issuer.org_details.take().unwrap_or_default();
            issuer.org_details = Some(Organization {
                id: details.id.or(old.id),
                zip: details.zip,
                admin_details: details.admin_details.or(old.admin_details),
            });
        }
        issuer.enabled = body.attributes.and_then(|attributes| attributes.enabled).unwrap_or(issuer.enabled);
        issuer.updated = now;
    }
    get(call, name)
}

/// `DELETE /certificates/issuers/NAME`: at once and for good.
pub(super) fn delete(call: &mut Call<'_>, name: &str) -> Answer {
    let answer = get(call, name)?;
    call.vault.issuers.remove(&name.to_ascii_uppercase());
    Ok(answer)
}

#[derive(Serialize)]
struct ContactsView<'a> {
    id: String,
    contacts: &'a [Contact],
}

#[derive(Deserialize)]
struct ContactsBody {
    contacts: Option<Vec<Contact>>,
}

/// `GET /certificates/contacts`.
pub(super) fn contacts(call: &Call<'_>) -> Answer {
    if call.vault.contacts.is_empty() {
        return Err(Fault::contacts_not_found());
    }
    ok(&ContactsView { id: format!("{}/certificates/contacts", call.vault.url()), contacts: &call.vault.contacts })
}

/// `PUT /certificates/contacts`: all of them at once.
pub(super) fn set_contacts(call: &mut Call<'_>) -> Answer {
    let body: ContactsBody = call.body()?;
    call.vault.contacts = body.contacts.filter(|all| !all.is_empty()).ok_or_else(|| Fault::missing("contacts"))?;
    contacts(call)
}

/// `DELETE /certificates/contacts`.
pub(super) fn delete_contacts(call: &mut Call<'_>) -> Answer {
    let answer = contacts(call)?;
    call.vault.contacts.clear();
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::fixture::Cloud;
    use serde_json::json;

    #[test]
    fn issuers_grow_detail_by_detail_as_recorded() {
        let mut cloud = Cloud::four(Limbo::Off);
        let path = "vvv/certificates/issuers/issuer1";
        cloud.good("PUT", path, r#"{"provider":"Test","attributes":{"enabled":true}}"#);
        cloud.good("PATCH", path, r#"{"credentials":{"account_id":"a","pwd":"p"},"org_details":{"id":"TestOrg"}}"#);
        cloud.good("PATCH", path, r#"{"org_details":{"admin_details":[{"email":"x@y"}]}}"#);
        let shown = cloud.good("PATCH", path, "{}");
        assert_eq!(shown["org_details"], json!({"id": "TestOrg", "zip": 0, "admin_details": [{"email": "x@y"}]}));
        assert_eq!(shown["credentials"], json!({"account_id": "a"}));
        let line = json!({"id": "https://vvv.vault.azure.net/certificates/issuers/issuer1", "provider": "Test"});
        assert_eq!(cloud.good("GET", "vvv/certificates/issuers", ""), json!({"value": [line], "nextLink": null}));
        cloud.good("DELETE", path, "");
        assert_eq!(cloud.bad("GET", path, "").1, "CertificateIssuerNotFound");
    }

    #[test]
    fn contacts_are_there_or_not_found() {
        let mut cloud = Cloud::four(Limbo::Off);
        assert_eq!(cloud.bad("GET", "vvv/certificates/contacts", "").1, "ContactsNotFound");
        let set = cloud.good("PUT", "vvv/certificates/contacts", r#"{"contacts":[{"email":"a@b"}]}"#);
        assert_eq!(set["id"], "https://vvv.vault.azure.net/certificates/contacts");
        assert_eq!(cloud.good("DELETE", "vvv/certificates/contacts", ""), set);
        assert_eq!(cloud.bad("DELETE", "vvv/certificates/contacts", "").0, 404);
    }
}
