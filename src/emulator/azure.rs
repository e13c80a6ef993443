//! The emulated Azure as a whole: the services behind their host names, and everything that control moves. Knows no
//! sockets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use super::arm::{self, World};
use super::blob::Blobs;
use super::clock::Clock;
use super::faults::{Action, Counted, Faults, Rule};
use super::identity::Identity;
use super::journal::{Journal, Logged};
use super::limits::Windows;
use super::login;
use super::seed::Limits;
use super::tokens::Tokens;
use super::vault::Vaults;
use super::wire::{Caller, Request, Response};
use crate::error::{Error, Result};

/// Resource Manager's host.
pub(super) const ARM: &str = "management.azure.com";
/// Entra's host.
pub(super) const LOGIN: &str = "login.microsoftonline.com";

/// Which part of the state has changed since it was last saved.
pub(super) mod changed {
    /// The clock.
    pub(crate) const CLOCK: u8 = 1;
    /// The vaults.
    pub(crate) const VAULTS: u8 = 2;
    /// The storage accounts.
    pub(crate) const BLOBS: u8 = 4;
}

/// Azure.
pub(super) struct Azure {
    /// Its clock. Move it with [`Azure::advance`].
    pub clock: Clock,
    /// Its tokens.
    pub tokens: Tokens,
    vaults: Mutex<Vaults>,
    blobs: Mutex<Blobs>,
    /// The subscription of each vault, by host.
    subscriptions: HashMap<String, String>,
    limits: Mutex<Limits>,
    windows: Mutex<Windows>,
    faults: Mutex<Faults>,
    cleared: watch::Sender<u64>,
    journal: Mutex<Journal>,
    changed: AtomicU8,
    stop_requested: AtomicBool,
    stop: watch::Sender<bool>,
}

/// A fault that is to be carried out.
pub(super) struct Strike {
    /// The rule's id.
    pub id: u64,
    /// What is to happen.
    pub action: Action,
    /// Fires when the faults are cleared.
    pub cleared: watch::Receiver<u64>,
}

/// A poisoned lock means that a request died half-way. The emulator goes on: every other request would fail otherwise,
/// and hide the first.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Azure {
    /// Azure with the given services.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) if the identity is damaged.
    pub(super) fn new(
        clock: Clock,
        identity: &Identity,
        mut vaults: Vaults,
        blobs: Blobs,
        limits: Limits,
    ) -> Result<Self> {
        vaults.set_limbo(limits.limbo);
        let subscriptions = vaults
            .facts()
            .into_iter()
            .map(|vault| (format!("{}.vault.azure.net", vault.name.to_ascii_lowercase()), vault.subscription))
            .collect();
        Ok(Azure {
            clock,
            tokens: Tokens::new(identity)?,
            vaults: Mutex::new(vaults),
            blobs: Mutex::new(blobs),
            subscriptions,
            limits: Mutex::new(limits),
            windows: Mutex::default(),
            faults: Mutex::default(),
            cleared: watch::Sender::new(0),
            journal: Mutex::default(),
            changed: AtomicU8::new(u8::MAX),
            stop_requested: AtomicBool::new(false),
            stop: watch::Sender::new(false),
        })
    }

    /// Why there is nothing to talk to at `host`, if so.
    pub(super) fn absent(&self, host: &str) -> Option<String> {
        let known = if host.ends_with(".vault.azure.net") || host.ends_with(".managedhsm.azure.net") {
            lock(&self.vaults).knows(host)
        } else if host.ends_with(".blob.core.windows.net") {
            lock(&self.blobs).knows(host)
        } else if host == ARM || host == LOGIN {
            true
        } else {
            return Some(format!("{host} is no Azure service that is emulated"));
        };
        // Vaults and accounts come to life with their names: an unknown one does not resolve.
        (!known).then(|| "no such host".to_owned())
    }

    /// The service's own answer. May take as long as making an RSA key does.
    pub(super) fn serve(&self, now: DateTime<Utc>, id: Uuid, caller: Option<&Caller>, request: &Request) -> Response {
        let changes = !request.method.is_safe();
        match request.host.as_str() {
            LOGIN => login::handle(&self.tokens, now, id, request),
            ARM => {
                let world = self.world();
                let response = arm::handle(&world, &mut lock(&self.blobs), now, caller, request);
                self.note(if changes { changed::BLOBS } else { 0 });
                response
            }
            host if host.ends_with(".blob.core.windows.net") => {
                let response = lock(&self.blobs).handle(now, caller, request);
                self.note(if changes { changed::BLOBS } else { 0 });
                response
            }
            _ => {
                let response = lock(&self.vaults).handle(now, caller, request, self.tokens.tenant_id());
                self.note(if changes { changed::VAULTS } else { 0 });
                response
            }
        }
    }

    fn world(&self) -> World {
        World {
            tenant_id: self.tokens.tenant_id().to_owned(),
            vaults: lock(&self.vaults).facts(),
            accounts: lock(&self.blobs).accounts(),
        }
    }

    /// The answer in place of the service's if a request limit is reached.
    pub(super) fn throttle(&self, now: DateTime<Utc>, request: &Request) -> Option<Response> {
        let percent = match &*lock(&self.limits) {
            Limits { enforce: true, percent, .. } => *percent,
            Limits { enforce: false, .. } => return None,
        };
        let subscription = self.subscriptions.get(&request.host).map(String::as_str);
        let key = |name: &str| lock(&self.vaults).key_type(&request.host, name);
        lock(&self.windows).take(now, request, subscription, percent, key)
    }

    /// How long every request takes at least.
    pub(super) fn latency(&self) -> Duration {
        Duration::from_millis(lock(&self.limits).latency_ms)
    }

    /// The limits in force.
    pub(super) fn limits(&self) -> Limits {
        lock(&self.limits).clone()
    }

    /// Replaces the limits.
    pub(super) fn set_limits(&self, limits: Limits) {
        lock(&self.vaults).set_limbo(limits.limbo);
        self.note(changed::VAULTS);
        *lock(&self.limits) = limits;
    }

    /// Moves the clock forward.
    pub(super) fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.note(changed::CLOCK);
    }

    /// Puts a fault in force; returns its id.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::error::Kind::Usage) if the rule asks for what HTTP cannot say.
    pub(super) fn fault(&self, rule: Rule) -> Result<u64> {
        match rule.problem() {
            None => Ok(lock(&self.faults).add(rule)),
            Some(problem) => Err(Error::usage(problem)),
        }
    }

    /// Drops every fault; what stalled goes on.
    pub(super) fn clear_faults(&self) {
        lock(&self.faults).clear();
        self.cleared.send_modify(|times| *times += 1);
    }

    /// The faults in force.
    pub(super) fn faults(&self) -> Vec<Counted> {
        lock(&self.faults).list()
    }

    /// The fault that strikes a request of `caller`.
    pub(super) fn strike(&self, request: &Request, caller: Option<&Caller>) -> Option<Strike> {
        // Subscribed first: a clearance right after the match must not be missed.
        let cleared = self.cleared.subscribe();
        let (id, action) = lock(&self.faults).strike(request, caller)?;
        Some(Strike { id, action, cleared })
    }

    /// Works on the request log.
    pub(super) fn journal<T>(&self, work: impl FnOnce(&mut Journal) -> T) -> T {
        work(&mut lock(&self.journal))
    }

    /// The requests after number `n`.
    pub(super) fn requests(&self, n: u64) -> Vec<Logged> {
        self.journal(|journal| journal.since(n))
    }

    /// Notes that parts have changed: bits of [`changed`].
    pub(super) fn note(&self, part: u8) {
        self.changed.fetch_or(part, Ordering::SeqCst);
    }

    /// What has changed since this was last asked: bits of [`changed`].
    pub(super) fn take_changed(&self) -> u8 {
        self.changed.swap(0, Ordering::SeqCst)
    }

    /// The vaults, as bytes.
    pub(super) fn save_vaults(&self) -> Vec<u8> {
        lock(&self.vaults).save()
    }

    /// The storage accounts, as bytes.
    pub(super) fn save_blobs(&self) -> Vec<u8> {
        lock(&self.blobs).save()
    }

    /// Notes that the emulator shall stop once the answer that says so is sent.
    pub(super) fn request_stop(&self) {
        self.stop_requested.store(true, Ordering::SeqCst);
    }

    /// Whether the emulator shall stop.
    pub(super) fn stop_requested(&self) -> bool {
        self.stop_requested.load(Ordering::SeqCst)
    }

    /// Stops the emulator.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns when the emulator is asked to stop.
    pub(super) async fn stopped(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        self.stop.subscribe().wait_for(|stop| *stop).await.ok();
    }
}
