//! What the emulated Key Vault remembers, and what an operation gets to work with. Knows no operation.

use super::Random;
use super::api::Api;
use super::certificates::CertificateContent;
use super::errors::Fault;
use super::issuers::{Contact, Issuer};
use super::keys::KeyContent;
use super::object::{Content, DAY, Kind, Moment, Shelf};
use super::pending::Pending;
use super::secrets::SecretContent;
use super::worlds::World;
use crate::emulator::seed::{Limbo, Settings, Sku, Waits};
use crate::emulator::wire::{Request, Response};
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that survives a restart.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    /// Vaults by lower-case name.
    pub(super) vaults: BTreeMap<String, Vault>,
    /// Wrapping keys of backups, by geography.
    pub(super) worlds: BTreeMap<String, World>,
}

/// One vault.
#[derive(Serialize, Deserialize)]
pub(super) struct Vault {
    pub(super) name: String,
    pub(super) subscription: String,
    pub(super) location: String,
    pub(super) premium: bool,
    pub(super) purge_protection: bool,
    pub(super) retention_days: u32,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    pub(super) keys: Shelf<KeyContent>,
    pub(super) secrets: Shelf<SecretContent>,
    pub(super) certificates: Shelf<CertificateContent>,
    /// Certificates being created, by upper-cased name.
    pub(super) pending: BTreeMap<String, Pending>,
    /// Issuers by upper-cased name.
    pub(super) issuers: BTreeMap<String, Issuer>,
    pub(super) contacts: Vec<Contact>,
    /// What Resource Manager shows beside. Absent in a state that was saved before there was any.
    #[serde(default)]
    pub(super) settings: Settings,
}

impl Vault {
    pub(super) fn sku(&self) -> Sku {
        if self.premium { Sku::Premium } else { Sku::Standard }
    }

    /// `https://NAME.vault.azure.net`.
    pub(super) fn url(&self) -> String {
        format!("https://{}.vault.azure.net", self.name.to_ascii_lowercase())
    }

    /// The identifier of an object or of one of its versions.
    pub(super) fn id(&self, kind: Kind, name: &str, version: Option<&str>) -> String {
        let object = format!("{}/{}/{name}", self.url(), kind.plural());
        version.map_or(object.clone(), |version| format!("{object}/{version}"))
    }

    /// How a deleted object comes back, or does not (`azure.md` §1.7, DOC; the `Customized` forms REC).
    pub(super) fn recovery_level(&self) -> &'static str {
        match (self.retention_days < 90, self.purge_protection) {
            (true, false) => "CustomizedRecoverable+Purgeable",
            (true, true) => "CustomizedRecoverable",
            (false, false) => "Recoverable+Purgeable",
            (false, true) => "Recoverable",
        }
    }

    pub(super) fn moment(&self, now: i64) -> Moment {
        Moment { now, retention: i64::from(self.retention_days) * DAY }
    }
}

/// Randomness, handed in from outside so that a run can be repeated.
pub(super) struct Chance(pub(super) Random);

impl Chance {
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// A version id or request id: 32 hexadecimal digits.
    pub(super) fn id(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid().simple().to_string()
    }

    /// A GUID with hyphens.
    pub(super) fn guid(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid().to_string()
    }

    /// Seconds with the given median, 90th percentile and maximum, at least one.
    fn seconds(&mut self, [median, most, max]: [i64; 3]) -> i64 {
        let draw = i64::from(u16::from_be_bytes(self.bytes::<2>()) % 1000);
        let between = |low: i64, high: i64, from: i64, width: i64| low + (high - low) * (draw - from) / width;
        match draw {
            0..500 => between(1, median, 0, 500),
            500..900 => between(median, most, 500, 400),
            _ => between(most, max, 900, 100),
        }
    }
}

/// A change that takes a while to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Delete,
    Purge,
    Recover,
    Create,
}

/// Seconds that a seed or a test gives a change.
fn set(waits: &Waits, kind: Kind, change: Change) -> i64 {
    let wait = match change {
        Change::Delete => waits.delete,
        Change::Purge => waits.purge,
        Change::Recover => waits.recover,
        Change::Create => return 0,
    };
    i64::from(match kind {
        Kind::Key => wait.key,
        Kind::Secret => wait.secret,
        Kind::Certificate => wait.certificate,
    })
}

/// What an operation works with.
pub(super) struct Call<'a> {
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) api: Api,
    pub(super) limbo: Limbo,
    pub(super) vault: &'a mut Vault,
    pub(super) worlds: &'a mut BTreeMap<String, World>,
    pub(super) chance: &'a mut Chance,
    pub(super) request: &'a Request,
}

/// What an operation comes to.
pub(super) type Answer = Result<Response, Fault>;

/// 200 with a JSON body.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    Ok(Response::json(StatusCode::OK, body))
}

impl Call<'_> {
    pub(super) fn moment(&self) -> Moment {
        self.vault.moment(self.now)
    }

    pub(super) fn shelf<C: Content>(&self) -> &Shelf<C> {
        C::shelf(self.vault)
    }

    pub(super) fn shelf_mut<C: Content>(&mut self) -> &mut Shelf<C> {
        C::shelf_mut(self.vault)
    }

    /// Whether a certificate of this name is being made: its key and secret will need the name too.
    pub(super) fn reserved(&self, name: &str) -> bool {
        self.vault.pending.contains_key(&Shelf::<CertificateContent>::key(name))
    }

    /// When a change made now can be seen (`azure.md` §1.6: median, 90th percentile and maximum of the recordings; REC,
    /// except that no 90th percentile was noted for purge and recover, and nothing for the creation of certificates).
    pub(super) fn visible_at(&mut self, kind: Kind, change: Change) -> i64 {
        match self.limbo {
            Limbo::Off => return self.now,
            Limbo::Set(waits) => return self.now + set(&waits, kind, change),
            Limbo::Real => {}
        }
        let range = match (change, kind) {
            (Change::Delete, Kind::Key) => [11, 27, 68],
            (Change::Delete, Kind::Secret) => [20, 79, 130],
            (Change::Delete, Kind::Certificate) => [20, 56, 106],
            (Change::Purge, Kind::Key) => [15, 60, 204],
            (Change::Purge, Kind::Secret) => [15, 60, 203],
            (Change::Purge, Kind::Certificate) => [11, 30, 52],
            (Change::Recover, _) => [20, 40, 61],
            (Change::Create, _) => [5, 10, 20],
        };
        self.now + self.chance.seconds(range)
    }

    /// The request's JSON body.
    ///
    /// # Errors
    /// 400 `BadParameter` with the place where the JSON stops making sense.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.request.body).map_err(|error| Fault::bad_body(&error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_follow_the_recorded_distribution() {
        let mut next = 0_u16;
        let mut chance = Chance(Box::new(move |bytes| {
            bytes.copy_from_slice(&next.to_be_bytes());
            next += 1;
        }));
        let mut waits: Vec<i64> = (0..1000).map(|_| chance.seconds([20, 79, 130])).collect();
        assert!(waits.iter().all(|wait| (1..=130).contains(wait)));
        waits.sort_unstable();
        assert_eq!((waits[500], waits[900]), (20, 79));
    }
}
