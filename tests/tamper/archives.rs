//! The archives that are tampered with: two vaults, one of them with everything that a log can hold, in each kind of store.
//! Knows of no mutation.

use std::sync::Arc;

use akv_archiver::jobs::protection::Demand;
use akv_archiver::jobs::snapshot::Outcome;
use akv_archiver::model::{Mode, VaultUri};
use akv_archiver::progress::Silent;
use akv_archiver::store::directory::Directory;
use akv_archiver::store::memory::Memory as Store;
use akv_archiver::store::{Append, Worm};
use akv_archiver::vault::memory::{Call, Memory as Vault, Moment};
use akv_archiver::vault::{Condition, Error};
use akv_archiver::verify::{Depth, Record, Subset, inspect};

use super::image::Image;
use crate::support::house::{House, clock, furnish, object};

/// The kinds of files that an archive has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    Archive,
    Log,
    Manifest,
    Capture,
    Settings,
}

impl Sort {
    pub(super) const ALL: [Sort; 5] = [Sort::Archive, Sort::Log, Sort::Manifest, Sort::Capture, Sort::Settings];

    pub(super) fn of(name: &str) -> Sort {
        match name {
            _ if name.contains("/log/") => Sort::Log,
            _ if name.contains("/manifests/") => Sort::Manifest,
            _ if name.contains("/captures/") => Sort::Capture,
            _ if name.contains("/settings/") => Sort::Settings,
            _ => Sort::Archive,
        }
    }
}

/// An archive, whose it is, and what its last verification wrote down.
pub(super) struct Archive {
    pub(super) place: &'static str,
    pub(super) house: Arc<House>,
    pub(super) image: Image,
    pub(super) seen: Record,
}

/// Where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A container with a policy on each version.
    Versions,
    /// A container with a policy on the container, and no versions.
    Container,
    /// A directory: no versions, no digests in its list, no protection.
    Directory,
}

impl Archive {
    /// The archive of a year, in short: snapshots whole and partial, captures taken and reused, an object deleted and
    /// recovered, settings; and a second vault beside the first.
    pub(super) async fn make(place: Place, seed: u8) -> Archive {
        let clock = clock();
        let folder = tempfile::tempdir().unwrap();
        let (name, worm, store): (_, _, Box<dyn Append>) = match place {
            Place::Versions => {
                let store = Store::protected(clock.clone(), Worm::VersionLevel, Mode::Locked, 365);
                ("version-level", Demand::Required, Box::new(store))
            }
            Place::Container => {
                let store = Store::protected(clock.clone(), Worm::ContainerLevel, Mode::Locked, 365);
                ("container-level", Demand::Required, Box::new(store))
            }
            Place::Directory => ("directory", Demand::Optional, Box::new(Directory::new(folder.path(), false))),
        };
        let store = store.as_ref();
        let objects = ["key/tde", "secret/a", "secret/b", "certificate/tls"];
        let mut house = furnish(&objects, clock.clone(), store, worm, seed).await;
        assert_eq!(house.snapshot(store).await.unwrap(), Outcome::Complete);
        house.vault.put(&object("secret/a"));
        house.vault.delete(&object("secret/b"));
        assert_eq!(house.snapshot(store).await.unwrap(), Outcome::Complete);
        house.vault.put(&object("key/tde"));
        house.vault.put(&object("secret/new"));
        house.vault.put_issuer("ca", "DigiCert");
        house.vault.interfere(|_, moment, call| match (moment, call) {
            (Moment::Before, Call::Backup(_)) => Err(Error::new(Condition::Denied, "not today")),
            _ => Ok(()),
        });
        assert_eq!(house.snapshot(store).await.unwrap(), Outcome::Partial);
        house.vault.leave_alone();
        let plan = house.plan(store, &["secret/b"]).await.unwrap();
        assert_eq!(house.apply(store, &plan).await.unwrap(), "done");
        assert_eq!(house.snapshot(store).await.unwrap(), Outcome::Complete);
        let dev = Vault::new(VaultUri::parse("https://dev.vault.azure.net").unwrap(), clock.clone());
        ["key/k", "secret/s"].iter().for_each(|text| drop(dev.put(&object(text))));
        let prod = std::mem::replace(&mut house.vault, dev);
        for _ in 0..2 {
            assert_eq!(house.snapshot(store).await.unwrap(), Outcome::Complete);
            house.vault.put(&object("secret/s"));
        }
        house.vault = prod;
        let house = Arc::new(house);
        let image = Image::of(store).await;
        let seen = seen(&house, &image).await;
        Archive { place: name, house, image, seen }
    }

    /// The same with the files of one vault.
    pub(super) async fn only(&self, host: &str) -> Archive {
        let mut image = self.image.clone();
        image.files.retain(|name, _| Sort::of(name) == Sort::Archive || name.contains(host));
        let seen = seen(&self.house, &image).await;
        Archive { place: self.place, house: self.house.clone(), image, seen }
    }

    /// The names of files of a sort, in order.
    pub(super) fn names(&self, sort: Sort) -> Vec<String> {
        self.image.files.keys().filter(|name| Sort::of(name) == sort).cloned().collect()
    }

    /// The names of a vault's log, in order.
    pub(super) fn log(&self, host: &str) -> Vec<String> {
        let prefix = format!("vaults/{host}/log/");
        self.image.files.keys().filter(|name| name.starts_with(&prefix)).cloned().collect()
    }
}

/// What a verification of everything writes down.
async fn seen(house: &House, image: &Image) -> Record {
    let depth = Depth { read: Some(Subset::ALL), ..Depth::default() };
    inspect(image, &house.standard(), &depth, &Silent).await.unwrap().record.unwrap()
}
