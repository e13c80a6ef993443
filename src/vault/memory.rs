//! A vault in memory, for tests and simulations: stricter than the real one where that costs nothing. Knows no HTTP and
//! no Azure SDK, and keeps no secret worth keeping. Never a vault for anything.
//!
//! [`Memory::interfere`] hooks into every call, before its effect and after it: there a test changes the vault under the
//! caller's hands (a torn read), or fails the call with its effect undone (lost) or done (landed).

mod life;
mod settings;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use zeroize::Zeroizing;

use super::{Answer, Backup, Condition, Error, Exchange, Item, Listing, Page, Read, Setting, Traffic, Write};
use crate::ambient::Clock;
use crate::model::{Kind, Object, VaultUri};

/// A call, as a hook sees it.
#[derive(Debug)]
pub enum Call<'a> {
    /// [`Read::list`], when its first page is asked for.
    List(&'a Listing),
    /// [`Read::get`].
    Get(&'a Item),
    /// [`Read::backup`].
    Backup(&'a Object),
    /// [`Write::restore`].
    Restore(Kind),
    /// [`Write::recover`].
    Recover(&'a Object),
    /// [`Write::purge`].
    Purge(&'a Object),
    /// [`Write::write`].
    Write(Setting<'a>),
    /// [`Facts::facts`](super::Facts::facts).
    Facts,
    /// [`Facts::describe`](super::Facts::describe).
    Describe,
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the call has any effect.
    Before,
    /// When its effect is done and its answer is on the way.
    After,
}

type Hook = Arc<dyn Fn(&Memory, Moment, &Call<'_>) -> Result<(), Error> + Send + Sync>;

/// A vault in memory.
pub struct Memory {
    uri: VaultUri,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    hook: Mutex<Option<Hook>>,
}

struct State {
    live: BTreeMap<Object, Stored>,
    deleted: BTreeMap<Object, Gone>,
    /// Objects on their way to being live, and since when they are.
    arriving: BTreeMap<Object, (Stored, DateTime<Utc>)>,
    /// Names that a purge still holds, and until when.
    purging: BTreeMap<Object, DateTime<Utc>>,
    settings: settings::Settings,
    rules: life::Rules,
    /// The time of the call under way.
    now: DateTime<Utc>,
    versions: u64,
    traffic: Traffic,
}

/// A deleted object.
struct Gone {
    stored: Stored,
    at: DateTime<Utc>,
    /// When it can first be seen; until then it only holds its name.
    visible: DateTime<Utc>,
}

/// An object with all its versions, as a backup holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    object: Object,
    managed: bool,
    versions: Vec<Version>,
    /// What a certificate brings with it.
    parts: Vec<Stored>,
}

/// One version of an object in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// Unix seconds of its creation.
    pub created: i64,
    /// Unix seconds of its last change.
    pub updated: i64,
    /// Whether it may be used.
    pub enabled: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// A key's type.
    pub key_type: String,
    /// What its public part is made from: another text, another key.
    pub material: String,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({})", self.uri)
    }
}

impl Memory {
    /// An empty vault.
    pub fn new(uri: VaultUri, clock: Arc<dyn Clock>) -> Self {
        Memory { uri, clock, state: Mutex::new(State::new()), hook: Mutex::default() }
    }

    /// Calls `hook` before and after the effect of every call; its error is what the caller gets.
    pub fn interfere(&self, hook: impl Fn(&Memory, Moment, &Call<'_>) -> Result<(), Error> + Send + Sync + 'static) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    /// Numbers versions from here on: Azure gives no id twice, and neither must two vaults of one test.
    pub fn number_versions_from(&self, first: u64) {
        self.state().versions = first;
    }

    /// Calls no hook any more.
    pub fn leave_alone(&self) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Adds a version to an object, and the object where it is new. A certificate brings its key and secret with it.
    /// Returns the version's id.
    pub fn put(&self, object: &Object) -> String {
        let now = self.clock.now().timestamp();
        let mut state = self.state();
        state.versions += 1;
        let id = format!("{:032x}", state.versions);
        let parts = match object.kind {
            Kind::Certificate => vec![Kind::Certificate, Kind::Key, Kind::Secret],
            kind => vec![kind],
        };
        for kind in parts {
            let part = Object::new(kind, object.name.clone());
            state.forget(&part);
            let managed = kind != object.kind;
            let new = || Stored { object: part.clone(), managed, versions: Vec::new(), parts: Vec::new() };
            state.live.entry(part.clone()).or_insert_with(new).versions.push(Version {
                id: id.clone(),
                created: now,
                updated: now,
                enabled: true,
                tags: BTreeMap::new(),
                key_type: "RSA".to_owned(),
                material: format!("{}/{id}", self.uri.host()),
            });
        }
        id
    }

    /// Changes versions of a live object. The change is dated now.
    pub fn change(&self, object: &Object, change: impl Fn(&mut Version)) {
        let now = self.clock.now().timestamp();
        if let Some(stored) = self.state().live.get_mut(object) {
            for version in &mut stored.versions {
                let before = version.clone();
                change(version);
                if *version != before {
                    version.updated = now;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle(self.clock.now());
        state
    }

    fn hook(&self, moment: Moment, call: &Call<'_>) -> Result<(), Error> {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        hook.map_or(Ok(()), |hook| hook(self, moment, call))
    }

    /// One call: counted, hooked, timed.
    fn call<T>(
        &self,
        call: &Call<'_>,
        effect: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<(T, Exchange), Error> {
        let began = self.clock.now();
        self.state().traffic.requests += 1;
        self.hook(Moment::Before, call)?;
        let answer = effect(&mut self.state())?;
        let now = self.clock.now();
        self.hook(Moment::After, call)?;
        let exchange = Exchange {
            date: DateTime::from_timestamp(now.timestamp(), 0),
            took_ms: u64::try_from((now - began).num_milliseconds()).unwrap_or(0),
            api_version: "memory".to_owned(),
            ..Exchange::default()
        };
        Ok((answer, exchange))
    }
}

impl Stored {
    fn newest(&self) -> Option<&Version> {
        self.versions.last()
    }
}

fn missing(object: &Object) -> Error {
    Error::new(Condition::NotFound, format!("there is no {object} in memory"))
}

fn raw(value: &Value) -> Result<Box<RawValue>, Error> {
    to_raw_value(value).map_err(|error| Error::new(Condition::Malformed, error.to_string()))
}

#[async_trait]
impl Read for Memory {
    fn uri(&self) -> &VaultUri {
        &self.uri
    }

    /// Pages of at most two items, the first of all and the last empty.
    fn list(&self, what: Listing) -> BoxStream<'_, Result<Page, Error>> {
        let pages = stream::once(async move {
            let pages = || {
                let (items, exchange) = self.call(&Call::List(&what), |state| self.items(state, &what))?;
                let items = items.iter().map(raw).collect::<Result<Vec<_>, _>>()?;
                let mut pages = vec![Vec::new()];
                for item in items {
                    match pages.last_mut() {
                        Some(page) if page.len() == 1 => page.push(item),
                        _ => pages.push(vec![item]),
                    }
                }
                pages.push(Vec::new());
                Ok(pages.into_iter().map(move |items| Ok(Page { items, exchange: exchange.clone() })).collect())
            };
            let pages: Vec<Result<Page, Error>> = pages().unwrap_or_else(|error| vec![Err(error)]);
            stream::iter(pages)
        });
        pages.flatten().boxed()
    }

    async fn get(&self, what: Item) -> Result<Answer, Error> {
        let (body, exchange) = self.call(&Call::Get(&what), |state| self.find(state, &what))?;
        Ok(Answer { body: raw(&body)?, exchange })
    }

    async fn backup(&self, object: &Object) -> Result<Backup, Error> {
        let (stored, exchange) = self.call(&Call::Backup(object), |state| {
            let mut stored = state.live.get(object).cloned().ok_or_else(|| missing(object))?;
            if stored.managed {
                return Err(Error::new(Condition::Forbidden, format!("{object} belongs to a certificate")));
            }
            if object.kind == Kind::Certificate {
                let parts = [Kind::Key, Kind::Secret].map(|kind| Object::new(kind, object.name.clone()));
                stored.parts = parts.iter().filter_map(|part| state.live.get(part).cloned()).collect();
            }
            Ok(stored)
        })?;
        let blob = serde_json::to_vec(&stored).map_err(|e| Error::new(Condition::Malformed, e.to_string()))?;
        Ok(Backup { blob: Zeroizing::new(blob), exchange })
    }

    fn traffic(&self) -> Traffic {
        self.state().traffic
    }
}

#[async_trait]
impl Write for Memory {
    /// All or nothing: of a certificate, all three names must be free.
    async fn restore(&self, kind: Kind, blob: &[u8]) -> Result<Answer, Error> {
        let rejected = || Error::new(Condition::Rejected, "the blob is none of this vault");
        let (body, exchange) = self.call(&Call::Restore(kind), |state| {
            let mut stored: Stored = serde_json::from_slice(blob).map_err(|_| rejected())?;
            if stored.object.kind != kind {
                return Err(rejected());
            }
            let parts = std::mem::take(&mut stored.parts);
            let all: Vec<Stored> = std::iter::once(stored.clone()).chain(parts).collect();
            if all.iter().any(|part| state.taken(&part.object)) {
                // As Azure has it: the name, and nothing of what holds it.
                return Err(Error::new(
                    Condition::Conflict,
                    format!("there was a conflict restoring {}", stored.object),
                ));
            }
            let body = self.bundle(&state.rules, &stored, stored.newest().ok_or_else(rejected)?);
            state.live.extend(all.into_iter().map(|part| (part.object.clone(), part)));
            Ok(body)
        })?;
        Ok(Answer { body: raw(&body)?, exchange })
    }

    async fn recover(&self, object: &Object) -> Result<(), Error> {
        let now = self.clock.now();
        self.call(&Call::Recover(object), |state| state.recover(object, now)).map(|((), _)| ())
    }

    async fn purge(&self, object: &Object) -> Result<(), Error> {
        let now = self.clock.now();
        self.call(&Call::Purge(object), |state| state.purge(object, now)).map(|((), _)| ())
    }

    async fn write(&self, setting: Setting<'_>) -> Result<(), Error> {
        let now = self.clock.now();
        self.call(&Call::Write(setting), |state| state.write(setting, now)).map(|((), _)| ())
    }
}
