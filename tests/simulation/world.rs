//! A world: vaults, one archive, keys, and the people who use the vaults. What happens in it is noted for the model, not
//! judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use akv_archiver::ambient::{Ambient, SeededRandom};
use akv_archiver::capture::Renewal;
use akv_archiver::format::archive::{Archive, key_name};
use akv_archiver::format::paths;
use akv_archiver::jobs::protection::Demand;
use akv_archiver::jobs::snapshot::{AHEAD, Effort, Order, Rhythm};
use akv_archiver::model::{Geography, Kind, Mode, Object, Place, SoftDelete, VaultFacts, VaultUri};
use akv_archiver::policy::Policy;
use akv_archiver::seal::{Identities, NoPrompt, Recipients, generate};
use akv_archiver::store::memory::Memory as Store;
use akv_archiver::store::{Append as _, Worm};
use akv_archiver::tlog::{Signer, Verifier};
use akv_archiver::vault::memory::Memory as Vault;
use akv_archiver::vault::{Answer, Error, Read as _, Write};
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use serde_json::json;
use uuid::Uuid;

use super::chance::Chance;
use super::doors::{Change, Creation};
use super::keep::Keeping;
use super::stage::{Stage, StageClock};

/// What every secret value begins with: it may stand in sealed captures, and nowhere else.
pub(crate) const CANARY: &str = "canary-in-the-coal-mine";

/// Who opens and closes; made once, since nothing depends on which keys they are.
pub(crate) struct Keys {
    pub(crate) recipients: Arc<Recipients>,
    pub(crate) identities: Arc<Identities>,
}

pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let identity = generate(DateTime::UNIX_EPOCH);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("identity");
        std::fs::write(&file, identity.file.as_bytes()).unwrap();
        Keys {
            recipients: Arc::new(Recipients::parse(&[&identity.recipient]).unwrap()),
            identities: Arc::new(Identities::from_files(&[file], Arc::new(NoPrompt)).unwrap()),
        }
    })
}

/// A vault, and how it deals with what is deleted.
pub(crate) struct House {
    pub(crate) memory: Vault,
    pub(crate) facts: VaultFacts,
    deleting: Duration,
    recovering: Duration,
    purging: Duration,
}

pub(crate) struct World {
    pub(crate) stage: Arc<Stage>,
    pub(crate) ambient: Ambient,
    pub(crate) vaults: Vec<House>,
    pub(crate) store: Store,
    /// For how many days the store protects a file, and whether its administrator can take that back.
    pub(crate) days: u32,
    pub(crate) unlocked: bool,
    /// Whether each file has a protection of its own.
    pub(crate) versioned: bool,
    pub(crate) signer: Signer,
    pub(crate) verifiers: Vec<Verifier>,
    pub(crate) order: Order,
    notes: Mutex<Notes>,
}

/// What happened, for the model.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) created: Vec<Creation>,
    pub(crate) landings: Vec<Landing>,
    pub(crate) keepings: Vec<Keeping>,
    /// How often what happened.
    pub(crate) tally: BTreeMap<&'static str, u64>,
    /// Processes that met a fault.
    pub(crate) faulted: BTreeSet<String>,
    /// Names in transition, by vault, and until when: people wait for these.
    busy: BTreeMap<(usize, Object), DateTime<Utc>>,
    /// When a vault changes by itself.
    due: BTreeSet<DateTime<Utc>>,
    /// Backups that people made of what was new.
    backups: BTreeMap<(usize, Object), Vec<u8>>,
    /// Whether a vault changed since it was looked at.
    pub(crate) changed: bool,
}

/// A change that a restore made in a vault.
pub(crate) struct Landing {
    pub(crate) process: String,
    pub(crate) resumes: Option<(String, u64)>,
    pub(crate) vault: VaultUri,
    pub(crate) object: Object,
    pub(crate) change: Change,
    pub(crate) hsm: bool,
}

fn object(kind: Kind, name: &str) -> Object {
    Object::parse(&format!("{kind}/{name}")).unwrap()
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<World> {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let stage = Stage::new(seed, start);
        let clock: Arc<StageClock> = Arc::new(StageClock(stage.clone()));
        let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(seed)));
        let archive = Archive::new(Uuid::from_u128(u128::from(seed) << 64 | 7), start);
        let signer = Signer::from_seed(&key_name(archive.archive_id), &[3; 32]).unwrap();
        let chance = &mut Chance::new(!seed);
        let names = &["prod", "spare"][..if chance.one_in(3) { 2 } else { 1 }];
        let vaults: Vec<House> = names.iter().map(|name| house(name, clock.clone(), chance)).collect();
        vaults.iter().zip(0..).for_each(|(house, number)| house.memory.number_versions_from(number << 16));
        let worm = if chance.one_in(2) { Worm::VersionLevel } else { Worm::ContainerLevel };
        let mode = if chance.one_in(6) { Mode::Unlocked } else { Mode::Locked };
        let days = chance.between(20, 400) as u32;
        let (store, order) = (Store::protected(clock.clone(), worm, mode, days), order(chance));
        store.create(&paths::archive().unwrap(), archive.encode().unwrap().into()).now_or_never().unwrap().unwrap();
        let verifiers = vec![signer.verifier()];
        let notes = Mutex::new(Notes { changed: true, ..Notes::default() });
        let (unlocked, versioned) = (mode == Mode::Unlocked, worm == Worm::VersionLevel);
        Arc::new(World { stage, ambient, vaults, store, days, unlocked, versioned, signer, verifiers, order, notes })
    }

    pub(crate) fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        note(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.count_many(what, 1);
    }

    pub(crate) fn count_many(&self, what: &'static str, many: u64) {
        self.note(|notes| *notes.tally.entry(what).or_default() += many);
    }

    pub(crate) fn fault(&self, process: &str) {
        self.note(|notes| notes.faulted.insert(process.to_owned()));
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.ambient.now()
    }

    pub(crate) fn number(&self, vault: &VaultUri) -> usize {
        self.vaults.iter().position(|house| house.memory.uri() == vault).unwrap()
    }

    pub(crate) fn uris(&self) -> Vec<VaultUri> {
        self.vaults.iter().map(|house| house.memory.uri().clone()).collect()
    }

    /// Whether a vault may have changed since this was asked last.
    pub(crate) fn changed(&self) -> bool {
        let now = self.now();
        self.note(|notes| {
            let later = notes.due.split_off(&(now + TimeDelta::nanoseconds(1)));
            let due = !std::mem::replace(&mut notes.due, later).is_empty();
            std::mem::take(&mut notes.changed) | due
        })
    }

    /// A vault changes now, and again when these times are over. Until the last of them its names are left alone.
    fn changes(&self, number: usize, object: &Object, after: &[Duration]) {
        let now = self.now();
        let limbo = after.iter().max().copied().unwrap_or_default();
        self.note(|notes| {
            notes.changed = true;
            notes.due.extend(after.iter().map(|after| now + *after));
            notes.due.insert(now + TimeDelta::days(i64::from(self.vaults[number].facts.soft_delete.retention_days)));
            for kind in Kind::ALL {
                notes.busy.insert((number, Object::new(kind, object.name.clone())), now + limbo);
            }
        });
    }

    fn busy(&self, number: usize, object: &Object) -> bool {
        let now = self.now();
        self.note(|notes| notes.busy.get(&(number, object.clone())).is_some_and(|until| *until > now))
    }

    /// A process changes a vault. What it is told is not decided here.
    pub(crate) fn change(
        &self,
        number: usize,
        process: &str,
        resumes: Option<&(String, u64)>,
        change: &Change,
    ) -> Result<Option<Answer>, Error> {
        let house = &self.vaults[number];
        let (answer, object, hsm) = match change {
            Change::Restore(kind, blob) => {
                let answer = house.memory.restore(*kind, blob).now_or_never().unwrap().map(Some);
                let stored: serde_json::Value = serde_json::from_slice(blob).unwrap_or_default();
                let object: Object = serde_json::from_value(stored["object"].clone()).unwrap();
                let hsm = stored["versions"].as_array().unwrap().iter().any(|it| it["key_type"] == "RSA-HSM");
                (answer, object, hsm && *kind == Kind::Key)
            }
            Change::Recover(object) => {
                (house.memory.recover(object).now_or_never().unwrap().map(|()| None), object.clone(), false)
            }
            Change::Purge(object) => {
                (Write::purge(&house.memory, object).now_or_never().unwrap().map(|()| None), object.clone(), false)
            }
        };
        if answer.is_ok() {
            self.stage.tell(format_args!("{process}: took effect"));
            self.changes(number, &object, &[house.recovering, house.purging]);
            let (process, resumes, change) = (process.to_owned(), resumes.cloned(), change.clone());
            let vault = house.memory.uri().clone();
            self.note(|notes| notes.landings.push(Landing { process, resumes, vault, object, change, hsm }));
        }
        answer
    }

    /// Somebody uses a vault.
    pub(crate) fn somebody(&self, live: &dyn Fn(usize, &Object) -> bool, gone: &dyn Fn(usize, &Object) -> bool) {
        let (number, object, deed) = self.stage.chance(|chance| {
            let number = chance.below(self.vaults.len());
            let kind = *chance.pick(&[Kind::Key, Kind::Key, Kind::Secret, Kind::Secret, Kind::Certificate]).unwrap();
            let name = match kind {
                Kind::Certificate => ["tls-0", "tls-1"][chance.below(2)],
                Kind::Key => ["a", "b", "hsm-0", "hsm-1"][chance.below(4)],
                Kind::Secret => ["a", "b", "c"][chance.below(3)],
            };
            (number, self::object(kind, name), chance.below(100))
        });
        let house = &self.vaults[number];
        if self.busy(number, &object) {
            return;
        }
        let what = match (live(number, &object), gone(number, &object), deed) {
            (false, false, _) => self.put(number, &object),
            (true, _, 0..8) => self.replace(number, &object),
            (true, _, 8..25) => self.put(number, &object),
            (true, _, 25..55) => {
                self.edit(number, &object);
                "edits"
            }
            (true, _, 55..90) => {
                house.memory.delete(&object);
                self.changes(number, &object, &[house.deleting]);
                "deletes"
            }
            (true, _, _) => {
                let issuer = self.stage.chance(|chance| ["one", "two"][chance.below(2)]);
                house.memory.put_issuer(issuer, "Test");
                house.memory.set_contacts(&[&format!("{issuer}@example.com")]);
                "changes the settings beside"
            }
            (false, true, 0..40) => match house.memory.recover(&object).now_or_never().unwrap() {
                Ok(()) => {
                    self.changes(number, &object, &[house.recovering]);
                    "recovers"
                }
                Err(_) => "cannot recover",
            },
            (false, true, _) => match Write::purge(&house.memory, &object).now_or_never().unwrap() {
                Ok(()) => {
                    self.changes(number, &object, &[house.purging]);
                    self.count("objects purged by people");
                    "purges"
                }
                Err(_) => "cannot purge",
            },
        };
        self.count("changes made by people");
        self.stage.tell(format_args!("somebody {what} {object} in {}", house.memory.uri().name()));
    }

    /// Deletes many objects of a vault, and purges what it may: what restores are for.
    pub(crate) fn disaster(&self, number: usize, live: &[Object]) {
        let house = &self.vaults[number];
        let doomed: Vec<(Object, bool)> = self.stage.chance(|chance| {
            // Keys in HSMs are what can be brought back only once.
            let hsm = |object: &Object| object.name.as_str().starts_with("hsm");
            let doomed = live.iter().filter(|object| hsm(object) || !chance.one_in(3)).cloned().collect::<Vec<_>>();
            doomed.into_iter().map(|object| (object.clone(), hsm(&object) || !chance.one_in(3))).collect()
        });
        let replaced = self.stage.chance(|chance| chance.pick(live).cloned());
        let replaced = replaced.filter(|object| !self.busy(number, object));
        if let Some(object) = &replaced {
            self.replace(number, object);
        }
        for (object, purge) in doomed.iter().filter(|(it, _)| replaced.as_ref() != Some(it) && !self.busy(number, it)) {
            house.memory.delete(object);
            self.changes(number, object, &[house.deleting]);
            let parts = Kind::ALL.into_iter().filter(|kind| *kind == object.kind || object.kind == Kind::Certificate);
            // As an attacker who may, or whose vault has no protection.
            if *purge {
                parts.for_each(|kind| house.memory.purge(&Object::new(kind, object.name.clone())));
                self.changes(number, object, &[house.purging]);
            }
        }
        self.count("disasters");
        self.stage.tell(format_args!("a disaster befalls {}", house.memory.uri().name()));
    }

    /// Purges an object, makes another one of its name, and deletes that softly: a restore has to purge it.
    fn replace(&self, number: usize, object: &Object) -> &'static str {
        let house = &self.vaults[number];
        house.memory.delete(object);
        let parts = Kind::ALL.into_iter().filter(|kind| *kind == object.kind || object.kind == Kind::Certificate);
        house.memory.set_purge_limbo(Duration::ZERO);
        parts.for_each(|kind| house.memory.purge(&Object::new(kind, object.name.clone())));
        house.memory.set_purge_limbo(house.purging);
        // Somebody's own backup, older than what the archive has; or something new.
        let old = self.note(|notes| notes.backups.get(&(number, object.clone())).cloned());
        match old {
            Some(old) => {
                house.memory.restore(object.kind, &old).now_or_never().unwrap().unwrap();
                self.count("old backups restored by hand");
            }
            None => drop(self.put(number, object)),
        }
        house.memory.delete(object);
        self.changes(number, object, &[house.deleting]);
        "replaces and deletes"
    }

    /// Adds a version, and the object where it is new.
    pub(crate) fn put(&self, number: usize, object: &Object) -> &'static str {
        let house = &self.vaults[number];
        let hsm = object.kind == Kind::Key && object.name.as_str().starts_with("hsm");
        house.memory.put(object);
        for kind in Kind::ALL {
            let part = Object::new(kind, object.name.clone());
            if kind == object.kind || object.kind == Kind::Certificate {
                house.memory.change(&part, |version| {
                    if !version.material.starts_with(CANARY) {
                        version.material = format!("{CANARY} {} of {part}", version.material);
                    }
                    if hsm {
                        "RSA-HSM".clone_into(&mut version.key_type);
                    }
                });
            }
        }
        if let Ok(backup) = house.memory.backup(object).now_or_never().unwrap() {
            let first = (number, object.clone());
            self.note(|notes| _ = notes.backups.entry(first).or_insert_with(|| backup.blob.to_vec()));
        }
        self.changes(number, object, &[]);
        "writes"
    }

    /// Changes attributes or tags of one version, or of all.
    pub(crate) fn edit(&self, number: usize, object: &Object) {
        let (which, what, tag) = self.stage.chance(|chance| (chance.below(4), chance.below(3), chance.next()));
        // Versions have no order that could be seen here; their ids have.
        let of = |id: &str| which == 0 || u128::from_str_radix(id, 16).is_ok_and(|id| id % 3 == which as u128 - 1);
        self.vaults[number].memory.change(object, |version| {
            if of(&version.id) {
                match what {
                    0 => version.enabled = !version.enabled,
                    1 => drop(version.tags.insert("owner".to_owned(), format!("{CANARY} {tag:x}"))),
                    _ => version.tags.clear(),
                }
            }
        });
        self.changes(number, object, &[]);
    }
}

fn house(name: &str, clock: Arc<StageClock>, chance: &mut Chance) -> House {
    let uri = VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap();
    let purge_protection = chance.one_in(4);
    let retention_days = *chance.pick(&[7, 30, 90]).unwrap();
    let limbo = |chance: &mut Chance| match chance.one_in(3) {
        true => Duration::ZERO,
        false => Duration::from_secs(chance.between(1, 90) as u64),
    };
    let location = if chance.one_in(5) { "eastus" } else { "westeurope" };
    let facts = VaultFacts {
        resource_id: format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/{name}"),
        place: Place {
            subscription: "s".to_owned(),
            location: location.to_owned(),
            geography: Some(Geography(if location == "eastus" { "United States" } else { "Europe" }.to_owned())),
        },
        sku: "premium".to_owned(),
        soft_delete: SoftDelete { enabled: true, retention_days, purge_protection },
        rbac: true,
    };
    let memory = Vault::new(uri, clock);
    let (deleting, recovering, purging) = (limbo(chance), limbo(chance), limbo(chance));
    memory.set_delete_limbo(deleting);
    memory.set_recover_limbo(recovering);
    memory.set_purge_limbo(purging);
    memory.set_purge_protection(purge_protection);
    memory.set_retention(retention_days);
    if !chance.one_in(4) {
        memory.set_facts(facts.clone());
        memory.set_description(vec![json!({"id": "r"})], Vec::new());
    }
    House { memory, facts, deleting, recovering, purging }
}

fn order(chance: &mut Chance) -> Order {
    Order {
        policy: Arc::new(Policy::built_in("default").unwrap()),
        renewal: Renewal {
            recapture_every: TimeDelta::days(chance.between(1, 60)),
            protection_min: TimeDelta::days(chance.between(1, 100)),
            protected: true,
            full_every: TimeDelta::days(chance.between(0, 14)),
        },
        effort: Effort::Usual,
        in_flight: 1 + chance.below(4),
        ahead: if chance.one_in(2) { chance.below(2000) } else { AHEAD },
        worm: Demand::Required,
        rhythm: match chance.one_in(3) {
            true => Rhythm::default(),
            false => Rhythm { captures: 1 + chance.below(6), every: Duration::from_secs(1 + chance.below(600) as u64) },
        },
    }
}
