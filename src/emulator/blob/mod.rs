//! Blob Storage: a placeholder with one operation each way, until the state machine takes its place.

use chrono::{DateTime, Utc};
use hyper::StatusCode;

use super::seed::{self, Worm};
use super::wire::{Caller, Request, Response};

/// What Resource Manager tells of a storage account.
#[derive(Clone, Debug)]
pub struct AccountFacts {
    /// Its name.
    pub name: String,
    /// Subscription id.
    pub subscription: String,
    /// Region.
    pub location: String,
    /// Its containers.
    pub containers: Vec<ContainerFacts>,
}

/// What Resource Manager tells of a container.
#[derive(Clone, Debug)]
pub struct ContainerFacts {
    /// Its name.
    pub name: String,
    /// Its write-once mechanism.
    pub worm: Worm,
    /// Days of its policy.
    pub days: Option<u32>,
    /// Whether the policy is locked.
    pub locked: bool,
    /// Whether a legal hold covers it.
    pub legal_hold: bool,
}

/// Every storage account.
pub struct Blobs {
    accounts: Vec<AccountFacts>,
}

impl Blobs {
    /// The accounts of a seed.
    pub fn new(seed: &[seed::Account], _now: DateTime<Utc>) -> Result<Self, String> {
        let accounts = seed.iter().map(|account| AccountFacts {
            name: account.account.clone(),
            subscription: account.subscription.clone(),
            location: account.location.clone(),
            containers: account
                .containers
                .iter()
                .map(|container| ContainerFacts {
                    name: container.name.clone(),
                    worm: container.worm,
                    days: container.days,
                    locked: container.locked,
                    legal_hold: container.legal_hold,
                })
                .collect(),
        });
        Ok(Blobs { accounts: accounts.collect() })
    }

    /// Answers a request.
    pub fn handle(&mut self, _now: DateTime<Utc>, _caller: Option<&Caller>, _request: &Request) -> Response {
        Response::new(StatusCode::UNAUTHORIZED)
    }

    /// Whether there is an account at `host`.
    pub fn knows(&self, host: &str) -> bool {
        self.accounts.iter().any(|account| format!("{}.blob.core.windows.net", account.name) == host)
    }

    /// Everything, as bytes.
    pub fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// What [`Blobs::save`] wrote.
    pub fn load(_bytes: &[u8]) -> Result<Self, String> {
        Ok(Blobs { accounts: Vec::new() })
    }

    /// What Resource Manager tells of each account.
    pub fn accounts(&self) -> Vec<AccountFacts> {
        self.accounts.clone()
    }
}
