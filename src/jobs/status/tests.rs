//! Tests of `status`, against a store in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use futures::stream::BoxStream;

use super::*;
use crate::format::manifest::Gap;
use crate::jobs::fixture::House;
use crate::model::{Mode, Object};
use crate::store::{Guard, Listed, Worm};
use crate::vault::Read as _;

fn rule(vault: &VaultUri) -> Rule {
    let named = vault.name() == "prod";
    Rule {
        name: vault.name().to_owned(),
        named,
        expected: named,
        max_age: TimeDelta::hours(26),
        protection_min: TimeDelta::days(60),
        worm: true,
    }
}

async fn asked(house: &House, named: &[VaultUri], depth: Depth) -> Report {
    let reader = house.reader().await;
    status(&house.store, &reader, named, depth, |vault| Ok(rule(vault)), house.ambient.now()).await.unwrap()
}

async fn one(house: &House, depth: Depth) -> Standing {
    let report = asked(house, &[house.vault.uri().clone()], depth).await;
    assert_eq!(report.vaults.len(), 1);
    report.vaults.into_iter().next().unwrap()
}

fn other() -> VaultUri {
    VaultUri::parse("https://other.vault.azure.net").unwrap()
}

/// Makes the newest snapshot one with a gap.
async fn partial(house: &House) -> u64 {
    let gap = Gap { code: "denied".into(), detail: "no".into() };
    let spoil = |manifest: &mut crate::format::manifest::Manifest| {
        let line = &mut manifest.lines[0];
        line.gap = Some(gap);
        line.capture.iter_mut().for_each(|capture| capture.reused = true);
    };
    house.commit(spoil).await
}

#[tokio::test]
async fn a_young_whole_and_locked_snapshot_is_in_order_at_either_depth() {
    let house = House::new(&["key/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    for (depth, source, files) in [(Depth::Listing, Source::Listing, 4), (Depth::Promises, Source::Manifest, 3)] {
        let found = one(&house, depth).await;
        assert_eq!((found.status, &found.reasons), (Verdict::Ok, &Vec::new()));
        assert_eq!((found.age_seconds, found.max_age_seconds, found.entries), (Some(0), 93_600, 1));
        let newest = found.newest.unwrap();
        assert_eq!((newest.sequence, newest.seen, newest.gaps), (1, 2, 0));
        let shelter = found.protection.unwrap();
        assert_eq!((shelter.source, shelter.files, shelter.missing, shelter.unlocked), (source, files, 0, 0));
        assert_eq!(shelter.until, Some(house.ambient.now() + TimeDelta::days(365)));
    }
}

#[tokio::test]
async fn the_newest_complete_snapshot_is_found_behind_partial_ones_and_other_entries() {
    let house = House::new(&["key/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    let taken = house.ambient.now();
    partial(&house).await;
    let plan = house.plan(&["key/a"]).await.unwrap();
    house.apply(&plan).await.unwrap();
    let newest = partial(&house).await;
    for depth in [Depth::Listing, Depth::Promises] {
        let found = one(&house, depth).await;
        assert_eq!((found.status, found.newest.unwrap().sequence), (Verdict::Partial, newest));
        let complete = found.complete.unwrap();
        assert_eq!((complete.sequence, complete.started), (1, taken));
    }
    house.clock.advance(Duration::from_secs(27 * 3_600));
    let found = one(&house, Depth::Listing).await;
    assert_eq!((found.status, found.reasons.len()), (Verdict::Stale, 2), "{found:?}");
}

#[tokio::test]
async fn a_vault_that_was_emptied_has_shrunk_also_where_something_was_restored_since() {
    let names: Vec<String> = (0..12).map(|number| format!("secret/s{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let house = House::new(&names).await;
    house.snapshot().await.unwrap();
    names.iter().for_each(|name| house.vault.delete(&Object::parse(name).unwrap()));
    house.snapshot().await.unwrap();
    let plan = house.plan(&names[..1]).await.unwrap();
    house.apply(&plan).await.unwrap();
    for depth in [Depth::Listing, Depth::Promises] {
        let report = asked(&house, &[house.vault.uri().clone()], depth).await;
        let found = &report.vaults[0];
        assert_eq!((found.status, report.kind()), (Verdict::Shrunk, None), "{found:?}");
        let counts = |snapshot: &Option<Snapshot>| snapshot.as_ref().map(|it| (it.seen, it.deleted));
        assert_eq!((counts(&found.previous), counts(&found.newest)), (Some((12, 0)), Some((0, 12))));
        assert_eq!(found.reasons, ["the newest snapshot saw 0 of the 12 objects that the one before it saw"]);
    }
    house.snapshot().await.unwrap();
    assert_eq!(one(&house, Depth::Listing).await.status, Verdict::Ok);
}

#[tokio::test]
async fn no_complete_snapshot_at_all_is_stale_and_none_of_any_kind_never() {
    let house = House::new(&["key/a"]).await;
    assert_eq!(one(&house, Depth::Listing).await.status, Verdict::Never);
    assert_eq!(one(&house, Depth::Promises).await.status, Verdict::Never);
    house.vault.interfere(|_, _, call| match call {
        crate::vault::memory::Call::Backup(_) => Err(crate::vault::Error::new(crate::vault::Condition::Denied, "no")),
        _ => Ok(()),
    });
    house.snapshot().await.unwrap();
    let found = one(&house, Depth::Listing).await;
    assert_eq!((found.status, found.complete, found.age_seconds), (Verdict::Stale, None, None));
    assert!(found.newest.is_some());
}

#[tokio::test]
async fn vaults_that_nobody_names_are_shown_and_judged_and_do_not_fail_the_run() {
    let house = House::new(&["key/a"]).await;
    house.snapshot().await.unwrap();
    house.clock.advance(Duration::from_secs(30 * 3_600));
    let report = asked(&house, &[other()], Depth::Listing).await;
    let statuses: Vec<(&str, Verdict, bool)> =
        report.vaults.iter().map(|it| (it.name.as_str(), it.status, it.named)).collect();
    assert_eq!(statuses, [("other", Verdict::Never, false), ("prod", Verdict::Stale, true)]);
    assert_eq!((report.status, report.kind()), (Verdict::Stale, Some(Kind::Noncompliant)));
    let report = asked(&house, &[], Depth::Promises).await;
    assert_eq!((report.vaults.len(), report.status, report.kind()), (0, Verdict::Never, Some(Kind::Noncompliant)));

    let reader = house.reader().await;
    let nobody = |vault: &VaultUri| Ok(Rule { expected: false, ..rule(vault) });
    let report = status(&house.store, &reader, &[], Depth::Listing, nobody, house.ambient.now()).await.unwrap();
    assert_eq!((report.vaults[0].status, report.status, report.kind()), (Verdict::Stale, Verdict::Ok, None));
}

#[tokio::test]
async fn what_is_damaged_is_told_and_hides_no_other_vault() {
    for part in ["/log/", "/manifests/"] {
        let house = House::new(&["key/a"]).await;
        house.snapshot().await.unwrap();
        house.store.corrupt(&house.files(part).await.pop().unwrap(), "junk");
        for depth in [Depth::Listing, Depth::Promises] {
            let report = asked(&house, &[house.vault.uri().clone(), other()], depth).await;
            let statuses: Vec<Verdict> = report.vaults.iter().map(|it| it.status).collect();
            assert_eq!(statuses, [Verdict::Tampered, Verdict::Never], "{part} {depth:?}");
            assert_eq!(report.kind(), Some(Kind::Tampered));
        }
    }
}

#[tokio::test]
async fn a_capture_or_an_entry_that_is_gone_is_seen_in_the_listing() {
    let house = House::new(&["key/a"]).await;
    house.snapshot().await.unwrap();
    house.snapshot().await.unwrap();
    let capture = house.files("/captures/").await.pop().unwrap();
    let first = house.files("/log/").await.remove(0);
    house.store.lose(&capture);
    assert_eq!(one(&house, Depth::Promises).await.status, Verdict::Ok, "what was promised");
    let found = one(&house, Depth::Listing).await;
    assert_eq!((found.status, found.protection.unwrap().missing), (Verdict::Tampered, 1));
    house.store.lose(&first);
    let found = one(&house, Depth::Promises).await;
    assert_eq!(found.status, Verdict::Tampered);
    assert!(found.reasons[0].contains("1 of 2 entries are missing"), "{found:?}");
    assert!(found.complete.is_some(), "what could be read is shown");
}

#[tokio::test]
async fn protection_is_what_the_store_says_now_and_not_what_it_said_then() {
    let house = House::new(&["key/a"]).await;
    let store = crate::store::memory::Memory::protected(house.clock.clone(), Worm::ContainerLevel, Mode::Locked, 365);
    let house = House::with(&["key/a"], house.clock.clone(), store).await;
    house.snapshot().await.unwrap();
    assert_eq!(one(&house, Depth::Listing).await.status, Verdict::Ok);
    for (lock, days, expected) in [
        (Some(Mode::Locked), 59, Verdict::AtRisk),
        (Some(Mode::Unlocked), 365, Verdict::AtRisk),
        (None, 365, Verdict::AtRisk),
        (Some(Mode::Locked), 60, Verdict::Ok),
    ] {
        house.store.set_guard(Guard { worm: Worm::ContainerLevel, lock, days: Some(days), legal_hold: false });
        assert_eq!(one(&house, Depth::Listing).await.status, expected, "{lock:?} {days}");
        assert_eq!(one(&house, Depth::Promises).await.status, Verdict::Ok);
    }
}

/// A store that counts what it is asked, and may fail on logs.
struct Counted<'a> {
    house: &'a House,
    lists: AtomicUsize,
    gets: AtomicUsize,
    fails: bool,
}

#[async_trait]
impl store::Read for Counted<'_> {
    fn describe(&self) -> String {
        self.house.store.describe()
    }
    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        if self.fails && path.as_str().contains("/log/") {
            return Err(store::Error::new(store::Condition::Unavailable, "no answer"));
        }
        self.house.store.get(path, version, limit).await
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, store::Error>> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.house.store.list(prefix)
    }
    async fn guard(&self) -> Result<Guard, store::Error> {
        self.house.store.guard().await
    }
}

#[tokio::test]
async fn a_vault_costs_its_head_and_its_manifest_whatever_the_length_of_its_log() {
    let house = House::new(&["key/a"]).await;
    for _ in 0..5 {
        house.snapshot().await.unwrap();
    }
    let counted = |fails| Counted { house: &house, lists: AtomicUsize::new(0), gets: AtomicUsize::new(0), fails };
    let store = counted(false);
    let reader = Reader::open(&store, &house.verifiers).await.unwrap();
    let named = [house.vault.uri().clone()];
    let now = house.ambient.now();
    let before = (store.lists.load(Ordering::Relaxed), store.gets.load(Ordering::Relaxed));
    assert_eq!(before, (1, 1), "archive.json");
    status(&store, &reader, &named, Depth::Listing, |vault| Ok(rule(vault)), now).await.unwrap();
    assert_eq!((store.lists.load(Ordering::Relaxed), store.gets.load(Ordering::Relaxed)), (2, 3));

    let store = counted(true);
    let reader = Reader::open(&store, &house.verifiers).await.unwrap();
    let report = status(&store, &reader, &named, Depth::Listing, |vault| Ok(rule(vault)), now).await.unwrap();
    assert_eq!((report.vaults[0].status, report.kind()), (Verdict::Unreadable, Some(Kind::Unavailable)));
}
