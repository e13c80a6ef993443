//! Azure Blob Storage as a pure state machine: the time, the caller and a request go in, a response comes out. Strict
//! where Azure is strict, above all about write-once storage (azure.md §7); what it does not model it refuses with 501
//! instead of ignoring it. Knows no sockets, no clock and no archives.
//!
//! What each behaviour rests on is marked where it is written, in the words that `emulator` explains.

mod ask;
mod blocks;
mod change;
mod conditions;
mod container;
mod digest;
mod errors;
mod govern;
mod list;
mod read;
mod state;
mod worm;
mod write;
mod xml;

#[cfg(test)]
mod tests;

use super::seed;
use super::wire::{Caller, Request, Response, percent_decode};
use ask::{Ask, not_emulated};
use chrono::{DateTime, Utc};
use errors::{Code, Refusal};
pub use govern::{Governed, Ungoverned};
use hyper::Method;
use serde::{Deserialize, Serialize};
use state::{Account, Protection, Tick};
use std::collections::BTreeMap;

/// What follows an account's name in its host name.
const SUFFIX: &str = ".blob.core.windows.net";
/// The audience of tokens for every account.
const AUDIENCE: &str = "https://storage.azure.com";
/// The longest name of a blob in characters (DOC).
const MOST_NAME: usize = 1024;

/// All storage accounts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Blobs {
    accounts: BTreeMap<String, Account>,
    /// The stamp of the last request.
    last: Tick,
}

/// What the management plane knows of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFacts {
    /// Its name.
    pub name: String,
    /// Subscription id.
    pub subscription: String,
    /// Region.
    pub location: String,
    /// Its containers, by name.
    pub containers: Vec<ContainerFacts>,
}

/// What the management plane knows of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its name.
    pub name: String,
    /// Its write-once mechanism.
    pub worm: seed::Worm,
    /// Days of the default policy, if there is one.
    pub days: Option<u32>,
    /// Whether that policy is locked.
    pub locked: bool,
    /// Whether a legal hold covers the container.
    pub legal_hold: bool,
    /// Its legal holds.
    pub holds: Vec<HoldFacts>,
    /// `allowProtectedAppendWritesAll` of the legal holds, where it was said.
    pub held_appends: Option<bool>,
    /// The policy's ETag, without quotes; empty where there is none.
    pub etag: String,
    /// `allowProtectedAppendWrites`, where it was said.
    pub appends: Option<bool>,
    /// `allowProtectedAppendWritesAll`, where it was said.
    pub appends_all: Option<bool>,
    /// What became of the policy so far.
    pub history: Vec<UpdateFacts>,
}

/// A legal hold on a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldFacts {
    /// Its tag.
    pub tag: String,
    /// Since when, as Azure writes times.
    pub since: String,
    /// The object id of whoever put it on.
    pub by: String,
}

/// A change of a container's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateFacts {
    /// `put`, `lock` or `extend`.
    pub update: String,
    /// The days from then on.
    pub days: u32,
    /// When, as Azure writes times.
    pub at: String,
    /// The object id of whoever did it.
    pub by: String,
}

impl Blobs {
    /// The accounts of a seed, created at `now`.
    ///
    /// # Errors
    ///
    /// If a name is invalid or taken twice, or a protection lacks its days: says which.
    pub fn new(seed: &[seed::Account], now: DateTime<Utc>) -> Result<Blobs, String> {
        let last = Tick::of(now);
        Ok(Blobs { accounts: state::accounts(seed, last)?, last })
    }

    /// Whether `host` is the blob endpoint of one of the accounts.
    pub fn knows(&self, host: &str) -> bool {
        host.strip_suffix(SUFFIX).is_some_and(|name| self.accounts.contains_key(name))
    }

    /// Answers a request. The answer to a HEAD has no body, but the `content-length` that a GET would have.
    pub fn handle(&mut self, now: DateTime<Utc>, caller: Option<&Caller>, request: &Request) -> Response {
        let tick = self.tick(now);
        let id = request_id(tick);
        let head = request.method == Method::HEAD;
        let answer = self.answer(now, tick, caller, request);
        let mut response = answer.unwrap_or_else(|refusal| refusal.response(head, &id, tick));
        if head {
            response.body = bytes::Bytes::new();
        } else if !response.headers.iter().any(|(name, _)| name == "content-length") {
            let length = response.body.len().to_string();
            response = response.header("content-length", length);
        }
        response = response
            .header("date", state::http_date(now))
            .header("server", "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0")
            .header("x-ms-request-id", id);
        for echoed in ["x-ms-version", "x-ms-client-request-id"] {
            if let Some(value) = request.header(echoed) {
                response = response.header(echoed, value);
            }
        }
        response
    }

    /// The stamp of a request.
    fn tick(&mut self, now: DateTime<Utc>) -> Tick {
        self.last = Tick(Tick::of(now).0.max(self.last.0.saturating_add(1)));
        self.last
    }

    /// Everything, as JSON.
    pub fn save(&self) -> Vec<u8> {
        // Strings, numbers and maps keyed by them always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What [`Blobs::save`] saved.
    ///
    /// # Errors
    ///
    /// If `bytes` are nothing that was saved: says where.
    pub fn load(bytes: &[u8]) -> Result<Blobs, String> {
        serde_json::from_slice(bytes).map_err(|error| format!("saved blob storage: {error}"))
    }

    /// What the management plane shows.
    pub fn accounts(&self) -> Vec<AccountFacts> {
        let facts = |(name, account): (&String, &Account)| AccountFacts {
            name: name.clone(),
            subscription: account.subscription.clone(),
            location: account.location.clone(),
            containers: account.containers.iter().map(|(name, container)| container_facts(name, container)).collect(),
        };
        self.accounts.iter().map(facts).collect()
    }

    fn answer(
        &mut self,
        now: DateTime<Utc>,
        tick: Tick,
        caller: Option<&Caller>,
        request: &Request,
    ) -> Result<Response, Refusal> {
        let name = request.host.strip_suffix(SUFFIX).unwrap_or_default();
        let account = self.accounts.get_mut(name).ok_or(Code::INVALID_URI)?;
        let caller = authenticate(name, caller, request)?;
        let ask = Ask { request, caller, now, tick, account: name };
        ask.check_headers()?;
        let comp = request.query("comp").map(str::to_ascii_lowercase);
        dispatch(account, &Target::of(request)?, comp.as_deref(), &ask)
    }
}

fn container_facts(name: &str, container: &state::Container) -> ContainerFacts {
    let worm = match container.protection {
        Protection::None => seed::Worm::None,
        Protection::ContainerLevel(_) => seed::Worm::ContainerLevel,
        Protection::VersionLevel(_) => seed::Worm::VersionLevel,
    };
    let retention = container.protection.retention();
    ContainerFacts {
        name: name.to_owned(),
        worm,
        days: retention.map(|retention| retention.days),
        locked: retention.is_some_and(|retention| retention.locked),
        legal_hold: container.is_held(),
        holds: container
            .holds
            .iter()
            .map(|hold| HoldFacts { tag: hold.tag.clone(), since: hold.since.iso(), by: hold.by.clone() })
            .collect(),
        held_appends: container.held_appends,
        etag: container.record.changed.filter(|_| retention.is_some()).map(govern::etag).unwrap_or_default(),
        appends: container.record.appends,
        appends_all: container.record.appends_all,
        history: container
            .record
            .history
            .iter()
            .map(|it| UpdateFacts { update: it.update.clone(), days: it.days, at: it.at.iso(), by: it.by.clone() })
            .collect(),
    }
}

/// Only bearer tokens are taken, as on an account with `allowSharedKeyAccess: false`. A wrong audience is 401
/// `InvalidAuthenticationInfo` on Azure (AzureStor#119), not the 403 of Azurite.
fn authenticate<'a>(account: &str, caller: Option<&'a Caller>, request: &Request) -> Result<&'a Caller, Refusal> {
    let challenge = |code: Code| {
        let how = format!(
            "Bearer authorization_uri=https://login.microsoftonline.com/common/oauth2/authorize resource_id={AUDIENCE}"
        );
        Refusal::from(code).header("www-authenticate", how)
    };
    let authorization = request.header("authorization").unwrap_or_default();
    let Some(caller) = caller else {
        let scheme = authorization.split(' ').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("SharedKey") || request.query("sig").is_some() {
            return Err(Code::KEY_BASED_AUTHENTICATION_NOT_PERMITTED.into());
        }
        let token = authorization.split_once(' ').is_some_and(|(_, token)| !token.trim().is_empty());
        return Err(challenge(if token {
            Code::INVALID_AUTHENTICATION_INFO
        } else {
            Code::NO_AUTHENTICATION_INFORMATION
        }));
    };
    let audience = caller.audience.strip_suffix('/').unwrap_or(&caller.audience);
    if audience == AUDIENCE || audience == format!("https://{account}{SUFFIX}") {
        return Ok(caller);
    }
    let detail = "Audience validation failed. Audience did not match.";
    Err(challenge(Code::INVALID_AUTHENTICATION_INFO).with("AuthenticationErrorDetail", detail))
}

/// What a path names.
enum Target {
    Account,
    Container(String),
    Blob(String, String),
}

impl Target {
    fn of(request: &Request) -> Result<Target, Refusal> {
        let path = request.path.strip_prefix('/').ok_or(Code::INVALID_URI)?;
        let (container, blob) = path.split_once('/').unwrap_or((path, ""));
        let (container, blob) = (percent_decode(container), percent_decode(blob));
        let whole = request.query("restype").is_some_and(|kind| kind.eq_ignore_ascii_case("container"));
        match (container.is_empty(), blob.is_empty(), whole) {
            (true, true, false) => Ok(Target::Account),
            (false, true, true) => Ok(Target::Container(container)),
            // One segment alone is a blob in the container `$root`.
            (false, true, false) => Ok(Target::Blob("$root".into(), container)),
            (false, false, false) if blob.chars().count() <= MOST_NAME => Ok(Target::Blob(container, blob)),
            _ => Err(Code::INVALID_URI.into()),
        }
    }
}

fn dispatch(account: &mut Account, target: &Target, comp: Option<&str>, ask: &Ask) -> Result<Response, Refusal> {
    let method = ask.request.method.as_str();
    match target {
        Target::Account => match (method, comp) {
            ("GET", Some("list")) => container::list(account, ask),
            _ => Err(beyond(method, comp)),
        },
        Target::Container(name) => match (method, comp) {
            ("PUT", None) => container::create(account, name, ask),
            ("GET" | "HEAD", None | Some("metadata")) => container::properties(account, name, ask),
            ("DELETE", None) => container::delete(account, name, ask),
            ("GET", Some("list")) => list::blobs(account, name, ask),
            _ => Err(beyond(method, comp)),
        },
        Target::Blob(container, name) => {
            let operation = match (method, comp) {
                ("PUT", None) => write::put,
                ("PUT", Some("block")) => blocks::stage,
                ("PUT", Some("blocklist")) => blocks::put_list,
                ("GET" | "HEAD", None) => read::get,
                ("GET" | "HEAD", Some("metadata")) => read::metadata,
                ("DELETE", None) => change::delete,
                ("PUT", Some("metadata")) => change::set_metadata,
                ("PUT", Some("properties")) => change::set_settings,
                ("PUT", Some("tier")) => change::set_tier,
                ("PUT", Some("immutabilitypolicies")) => change::set_policy,
                ("DELETE", Some("immutabilitypolicies")) => change::delete_policy,
                ("PUT", Some("legalhold")) => change::set_hold,
                _ => return Err(beyond(method, comp)),
            };
            operation(account, container, name, ask)
        }
    }
}

/// The answer to an operation that is not offered: leases, snapshots, copies, tags, … or that Azure does not know.
fn beyond(method: &str, comp: Option<&str>) -> Refusal {
    match (method, comp) {
        ("GET" | "HEAD" | "PUT" | "POST" | "DELETE", Some(comp)) => not_emulated(&format!("{method} comp={comp}")),
        _ => Code::UNSUPPORTED_HTTP_VERB.into(),
    }
}

/// A request id in Azure's form, from the request's own stamp.
fn request_id(tick: Tick) -> String {
    let tick = tick.0;
    format!(
        "{:08x}-{:04x}-006b-{:04x}-{:06x}000000",
        tick >> 32,
        (tick >> 16) & 0xffff,
        tick & 0xffff,
        tick & 0xff_ffff
    )
}
