//! Key Vault's data plane as a state machine: the time, the caller and a request go in, a response comes out. At least as
//! strict as Azure. Knows no sockets, no clock and no tokens; has no request limits and no faults, which are the server's.
//!
//! What each behaviour rests on is marked where it is written, in the words that `emulator` explains. Section numbers are
//! those of `azure.md`.

mod api;
mod auth;
mod backup;
mod certificates;
mod crypto;
mod der;
mod encoding;
mod errors;
mod issuers;
mod jwe;
mod key_import;
mod keys;
mod lifecycle;
mod object;
mod pbe;
mod pem;
mod pending;
mod pfx;
mod policy;
mod populate;
mod rotation;
mod route;
mod rows;
mod secrets;
mod state;
mod usage;
mod view;
mod worlds;
mod x509;

#[cfg(test)]
mod fixture;

use super::seed;
use super::wire::{Caller, Request, Response};
use api::Api;
use certificates::CertificateContent;
use chrono::{DateTime, Utc};
use errors::Fault;
use hyper::StatusCode;
use keys::KeyContent;
use object::{Content, Kind};
use route::Operation;
use secrets::SecretContent;
use state::{Answer, Call, Chance, State};
use std::collections::BTreeMap;

/// Fills a buffer with random bytes: the only source of chance beside the library that makes keys.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// What Azure Resource Manager needs to know of a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultFacts {
    /// Its name.
    pub name: String,
    /// Its subscription's id.
    pub subscription: String,
    /// Its region.
    pub location: String,
    /// Its tier.
    pub sku: seed::Sku,
    /// Whether nobody may purge before the retention ends.
    pub purge_protection: bool,
    /// Days between delete and purge.
    pub retention_days: u32,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// What else Resource Manager shows.
    pub settings: seed::Settings,
}

/// All vaults of the emulated cloud.
pub struct Vaults {
    state: State,
    limbo: seed::Limbo,
    chance: Chance,
}

impl Vaults {
    /// Vaults as the seed describes them. Key material is made later, when it is first asked for.
    ///
    /// # Errors
    /// What is wrong with the seed, naming vault and object.
    pub fn new(seed: &[seed::Vault], now: DateTime<Utc>, random: Random) -> Result<Vaults, String> {
        let mut chance = Chance(random);
        let mut vaults = BTreeMap::new();
        for vault in seed {
            let made = populate::vault(vault, now.timestamp(), &mut chance)?;
            if vaults.insert(vault.name.to_ascii_lowercase(), made).is_some() {
                return Err(format!("vault {:?} is in the seed twice", vault.name));
            }
        }
        Ok(Vaults { state: State { vaults, worlds: BTreeMap::new() }, limbo: seed::Limbo::Off, chance })
    }

    /// Vaults as [`Vaults::save`] wrote them. Limbo is off until it is set again.
    ///
    /// # Errors
    /// Where the bytes do not hold.
    pub fn load(bytes: &[u8], random: Random) -> Result<Vaults, String> {
        let state = serde_json::from_slice(bytes).map_err(|error| format!("the state of Key Vault: {error}"))?;
        Ok(Vaults { state, limbo: seed::Limbo::Off, chance: Chance(random) })
    }

    /// Everything that the vaults hold, private keys in clear.
    pub fn save(&self) -> Vec<u8> {
        serde_json::to_vec(&self.state).unwrap_or_default()
    }

    /// Whether changes take effect at once, as slowly as on Azure, or after times of one's own.
    pub fn set_limbo(&mut self, limbo: seed::Limbo) {
        self.limbo = limbo;
    }

    /// Whether a vault answers to this host.
    pub fn knows(&self, host: &str) -> bool {
        vault_name(host).is_some_and(|name| self.state.vaults.contains_key(&name))
    }

    /// Whether a key is in the HSM, and how many bits its modulus has if it is an RSA key. `None` where there is no such
    /// key, live or deleted.
    pub fn key_type(&self, host: &str, name: &str) -> Option<(bool, Option<u32>)> {
        let vault = self.state.vaults.get(&vault_name(host)?)?;
        let key = &vault.keys.any(name).ok()?.current().ok()?.content;
        let bits = if let crypto::Spec::Rsa(bits) = key.spec { Some(bits) } else { None };
        Some((key.hsm, bits))
    }

    /// What there is, by name.
    pub fn facts(&self) -> Vec<VaultFacts> {
        let facts = |vault: &state::Vault| VaultFacts {
            name: vault.name.clone(),
            subscription: vault.subscription.clone(),
            location: vault.location.clone(),
            sku: vault.sku(),
            purge_protection: vault.purge_protection,
            retention_days: vault.retention_days,
            tags: vault.tags.clone(),
            settings: vault.settings.clone(),
        };
        self.state.vaults.values().map(facts).collect()
    }

    /// Answers a request. `caller` is whoever the token names, `None` without a valid one.
    pub fn handle(
        &mut self,
        now: DateTime<Utc>,
        caller: Option<&Caller>,
        request: &Request,
        tenant_id: &str,
    ) -> Response {
        let mut trusted = false;
        let response = self
            .answer(now.timestamp(), caller, request, tenant_id, &mut trusted)
            .unwrap_or_else(|fault| fault.response());
        self.decorate(response, now, request, trusted)
    }

    fn answer(
        &mut self,
        now: i64,
        caller: Option<&Caller>,
        request: &Request,
        tenant: &str,
        trusted: &mut bool,
    ) -> Answer {
        let found = vault_name(&request.host).and_then(|name| self.state.vaults.get_mut(&name));
        let vault = found.ok_or_else(|| Fault::no_such_path(&request.host))?;
        let caller = auth::authenticate(caller, tenant)?;
        let api = Api::parse(request.query("api-version"))?;
        let segments = request.segments();
        let operation = route::parse(&request.method, &request.path, &segments)?;
        match operation.name() {
            // An empty name never gets to the service: its front end answers, in HTML (REC).
            Some("") => return Ok(runtime_error()),
            Some(name) if !route::valid_name(name) => return Err(Fault::bad_name(name)),
            _ => {}
        }
        auth::authorize(caller, &operation.action(), vault, tenant)?;
        *trusted = true;
        pending::complete_due(vault, now)?;
        let worlds = &mut self.state.worlds;
        let mut call = Call { now, api, limbo: self.limbo, vault, worlds, chance: &mut self.chance, request };
        perform(&mut call, &operation)
    }

    /// The headers of every answer (REC).
    fn decorate(&mut self, response: Response, now: DateTime<Utc>, request: &Request, trusted: bool) -> Response {
        let location = vault_name(&request.host)
            .and_then(|name| self.state.vaults.get(&name))
            .map(|vault| vault.location.clone())
            .unwrap_or_default();
        let mut response = response
            .header("cache-control", "no-cache")
            .header("pragma", "no-cache")
            .header("expires", "-1")
            .header("date", now.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
            .header("x-ms-keyvault-region", location)
            .header("x-ms-request-id", self.chance.guid());
        if let Some(id) = request.header("x-ms-client-request-id") {
            response = response.header("x-ms-client-request-id", id);
        }
        response = response
            .header("x-ms-keyvault-service-version", "1.9.3070.2")
            .header("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;");
        if trusted {
            response = response
                .header("x-ms-keyvault-rbac-assignment-id", "0ca71076-4c54-51c3-8622-e5e45ccee0d6")
                .header("x-ms-keyvault-rbac-cache", "ra_age=1;da_age=1;rd_age=1;brd_age=1;ra_notif_age=1;dec_lev=0;");
        }
        response
            .header("x-content-type-options", "nosniff")
            .header("strict-transport-security", "max-age=31536000;includeSubDomains")
    }
}

fn vault_name(host: &str) -> Option<String> {
    Some(host.to_ascii_lowercase().strip_suffix(".vault.azure.net")?.to_owned())
}

/// The front end's page for requests that it does not understand (REC, shortened).
fn runtime_error() -> Response {
    Response::new(StatusCode::BAD_REQUEST).header("content-type", "text/html; charset=utf-8").body(
        "<!DOCTYPE html>\r\n<html>\r\n    <head>\r\n        <title>Runtime Error</title>\r\n    </head>\r\n    <body \
         bgcolor=\"white\">\r\n        <h1>Server Error in '/' Application.</h1>\r\n    </body>\r\n</html>\r\n",
    )
}

fn perform(call: &mut Call<'_>, operation: &Operation) -> Answer {
    match operation {
        Operation::List(kind)
        | Operation::ListVersions(kind, _)
        | Operation::ListDeleted(kind)
        | Operation::GetDeleted(kind, _)
        | Operation::Delete(kind, _)
        | Operation::Recover(kind, _)
        | Operation::Purge(kind, _) => match kind {
            Kind::Key => common::<KeyContent>(call, operation),
            Kind::Secret => common::<SecretContent>(call, operation),
            Kind::Certificate => common::<CertificateContent>(call, operation),
        },
        Operation::Backup(kind, name) => backup::backup(call, *kind, name),
        Operation::Restore(kind) => backup::restore(call, *kind),
        Operation::Get(Kind::Key, name, version) => keys::get(call, name, version.as_deref()),
        Operation::Get(Kind::Secret, name, version) => secrets::get(call, name, version.as_deref()),
        Operation::Get(Kind::Certificate, name, version) => certificates::get(call, name, version.as_deref()),
        Operation::Update(Kind::Key, name, version) => keys::update(call, name, version.as_deref()),
        Operation::Update(Kind::Secret, name, version) => secrets::update(call, name, version.as_deref()),
        Operation::Update(Kind::Certificate, name, version) => certificates::update(call, name, version.as_deref()),
        Operation::CreateKey(name) => keys::create(call, name),
        Operation::ImportKey(name) => key_import::import(call, name),
        Operation::RotateKey(name) => keys::rotate(call, name),
        Operation::GetRotationPolicy(name) => rotation::get(call, name),
        Operation::SetRotationPolicy(name) => rotation::set(call, name),
        Operation::UseKey(using, name, version) => usage::perform(call, *using, name, version.as_deref()),
        Operation::SetSecret(name) => secrets::set(call, name),
        Operation::CreateCertificate(name) => pending::create(call, name),
        Operation::ImportCertificate(name) => certificates::import(call, name),
        Operation::GetPolicy(name) => certificates::policy(call, name),
        Operation::UpdatePolicy(name) => certificates::update_policy(call, name),
        Operation::GetPending(name) => pending::get(call, name),
        Operation::UpdatePending(name) => pending::cancel(call, name),
        Operation::DeletePending(name) => pending::delete(call, name),
        Operation::MergePending(name) => pending::merge(call, name),
        Operation::ListIssuers => issuers::list(call),
        Operation::GetIssuer(name) => issuers::get(call, name),
        Operation::SetIssuer(name) => issuers::set(call, name),
        Operation::UpdateIssuer(name) => issuers::update(call, name),
        Operation::DeleteIssuer(name) => issuers::delete(call, name),
        Operation::GetContacts => issuers::contacts(call),
        Operation::SetContacts => issuers::set_contacts(call),
        Operation::DeleteContacts => issuers::delete_contacts(call),
    }
}

/// What is the same for all kinds.
fn common<C: Content>(call: &mut Call<'_>, operation: &Operation) -> Answer {
    match operation {
        Operation::List(_) => rows::list::<C>(call),
        Operation::ListVersions(_, name) => rows::versions::<C>(call, name),
        Operation::ListDeleted(_) => rows::list_deleted::<C>(call),
        Operation::GetDeleted(_, name) => lifecycle::get_deleted::<C>(call, name),
        Operation::Delete(_, name) => lifecycle::delete::<C>(call, name),
        Operation::Recover(_, name) => lifecycle::recover::<C>(call, name),
        Operation::Purge(_, name) => lifecycle::purge::<C>(call, name),
        _ => Err(Fault::internal("an operation was sent the wrong way")),
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::{Cloud, dice};
    use super::*;
    use crate::emulator::seed::Limbo;

    #[test]
    fn every_answer_has_the_recorded_headers() {
        let mut cloud = Cloud::four(Limbo::Off);
        let names = |response: &Response| {
            let mut names: Vec<String> = response.headers.iter().map(|(name, _)| name.clone()).collect();
            names.sort_unstable();
            names
        };
        let recorded = [
            "cache-control",
            "content-type",
            "date",
            "expires",
            "pragma",
            "strict-transport-security",
            "x-content-type-options",
            "x-ms-keyvault-network-info",
            "x-ms-keyvault-rbac-assignment-id",
            "x-ms-keyvault-rbac-cache",
            "x-ms-keyvault-region",
            "x-ms-keyvault-service-version",
            "x-ms-request-id",
        ];
        let response = cloud.send("GET", "vvv/keys", "");
        assert_eq!(names(&response), recorded);
        assert!(response.headers.contains(&("x-ms-keyvault-region".into(), "westeurope".into())));
        assert!(response.headers.contains(&("date".into(), "Fri, 15 Jan 2027 08:00:00 GMT".into())));
        assert_eq!(names(&cloud.send("GET", "vvv/keys/none", "")), recorded);
        cloud.caller = None;
        assert!(!names(&cloud.send("GET", "vvv/keys", "")).contains(&"x-ms-keyvault-rbac-cache".to_owned()));
    }

    #[test]
    fn what_is_saved_can_be_loaded_with_its_keys_and_wrapping_keys() {
        let mut cloud = Cloud::four(Limbo::Off);
        let key = cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"RSA"}"#);
        cloud.good(
            "POST",
            "vvv/certificates/c/create",
            r#"{"policy":{"issuer":{"name":"Unknown"},"key_props":{"kty":"EC"},"x509_props":{"subject":"CN=c"}}}"#,
        );
        let blob = cloud.backup("vvv/keys/k");
        let saved = cloud.vaults.save();
        cloud.vaults = Vaults::load(&saved, dice()).unwrap();
        assert_eq!(cloud.vaults.save(), saved);
        assert_eq!(cloud.good("GET", "vvv/keys/k", ""), key);
        assert_eq!(cloud.good("GET", "vvv/certificates/c/pending", "")["status"], "inProgress");
        cloud.good("POST", "ppp/keys/restore", &blob);
        assert!(Vaults::load(&saved[..saved.len() - 1], dice()).is_err());
    }

    #[test]
    fn a_request_needs_a_known_vault_version_path_and_name() {
        let mut cloud = Cloud::four(Limbo::Off);
        assert!(cloud.vaults.knows("VVV.vault.azure.net") && !cloud.vaults.knows("nobody.vault.azure.net"));
        assert_eq!(cloud.vaults.facts().len(), 4);
        assert_eq!(cloud.bad("GET", "vvv/keys?api-version=", "").1, "BadParameter");
        assert_eq!(cloud.bad("GET", "vvv/keys?api-version=1.0", "").1, "BadParameter");
        assert_eq!(cloud.bad("GET", "vvv/nonsense", "").0, 404);
        assert_eq!(cloud.bad("PUT", "vvv/keys", "").0, 405);
        let page = cloud.send("POST", "vvv/keys//backup", "");
        assert_eq!(page.status, 400);
        assert!(page.body.starts_with(b"<!DOCTYPE html>"));
    }
}
