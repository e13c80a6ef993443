//! What somebody who may write to the storage, and has no signer, can make the verifier do: nothing but complain.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::BoxStream;

use super::*;
use crate::format::manifest::Line;
use crate::progress::Silent;

/// A store that counts what it is asked for.
struct Counted<'a> {
    store: &'a dyn Read,
    lists: AtomicUsize,
    gets: AtomicUsize,
}

impl<'a> Counted<'a> {
    fn new(store: &'a dyn Read) -> Self {
        Counted { store, lists: AtomicUsize::new(0), gets: AtomicUsize::new(0) }
    }

    fn asked(&self) -> (usize, usize) {
        (self.lists.load(Ordering::SeqCst), self.gets.load(Ordering::SeqCst))
    }
}

#[async_trait::async_trait]
impl Read for Counted<'_> {
    fn describe(&self) -> String {
        self.store.describe()
    }
    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.store.get(path, version, limit).await
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<store::Listed, store::Error>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        self.store.list(prefix)
    }
    async fn guard(&self) -> Result<Guard, store::Error> {
        self.store.guard().await
    }
}

fn stranger(house: &House) -> Signer {
    Signer::from_seed(house.signer.name(), &[9; 32]).unwrap()
}

/// Puts a manifest into the store that names captures nobody has, and returns what a log entry says of it.
async fn planted(house: &House, lines: usize) -> SnapshotRef {
    let mut manifest = newest(house).await;
    let secret = manifest.lines.iter().find(|line| line.kind == crate::model::Kind::Secret).unwrap().clone();
    let line = |number: usize| {
        let object = object(&format!("secret/planted-{number:05}"));
        let mut line = Line { name: object.name.clone(), ..secret.clone() };
        let capture = line.capture.as_mut().unwrap();
        capture.path = paths::capture(&host(), &object, capture.captured_at, &line.fingerprint).unwrap();
        line
    };
    manifest.lines = (0..lines).map(line).collect();
    manifest.header.started = house.ambient.now();
    manifest.header.counts = crate::format::manifest::Counts::of(manifest.lines.iter());
    let encoded = manifest.encode().unwrap();
    let sequence = house.files("/log/").await.len() as u64 + 1;
    let path = paths::manifest(&host(), sequence, encoded.sha256).unwrap();
    let snapshot = SnapshotRef { sequence, ..SnapshotRef::of(&manifest.header, &encoded, path.clone()) };
    let created = house.store.create(&path, encoded.bytes.into()).await.unwrap();
    SnapshotRef { version: created.version, ..snapshot }
}

#[tokio::test]
async fn what_a_stranger_signed_is_told_and_not_followed() {
    let house = house().await;
    let snapshot = planted(&house, 1000).await;
    let manifest = snapshot.manifest.to_string();
    append(&house, &stranger(&house), Event::Snapshot(snapshot), |_| ()).await;
    let store = Counted::new(&house.store);
    let report = verify(&store, &house.standard()).await.unwrap();
    let found: Vec<(Code, &str)> = report.findings.iter().map(|it| (it.code, it.path.as_str())).collect();
    assert_eq!(found, [(Code::LogSignature, log(3).as_str()), (Code::Orphan, manifest.as_str())]);
    assert!(report.findings[1].detail.contains("does not hold may"), "it may be that entry's: {report:?}");
    assert_eq!((report.checked.entries, report.checked.snapshots, report.checked.captures), (3, 2, 4));
    assert_eq!(store.asked(), (1, 6), "one list; archive.json, three log files, two manifests");
    assert!(report.record.unwrap().heads.is_empty());
}

#[tokio::test]
async fn an_entry_of_another_place_is_not_followed_whoever_signed_it() {
    let house = house().await;
    let snapshot = planted(&house, 1000).await;
    let elsewhere = |entry: &mut crate::format::entry::Entry| entry.archive_id = uuid::Uuid::from_u128(1);
    append(&house, &house.signer, Event::Snapshot(snapshot), elsewhere).await;
    let store = Counted::new(&house.store);
    let report = verify(&store, &house.standard()).await.unwrap();
    let counts: Vec<(Code, u64)> = report.counts.into_iter().collect();
    assert_eq!((counts.as_slice(), store.asked().0), ([(Code::LogChain, 1), (Code::Orphan, 1)].as_slice(), 1));
}

#[tokio::test]
async fn a_manifest_is_read_once_however_many_entries_name_it() {
    let house = house().await;
    let head = LogFile::parse(&bytes(&house, &log(2)).await).unwrap();
    let Event::Snapshot(snapshot) = head.entry().event.clone() else { panic!("no snapshot") };
    for sequence in 3..=5 {
        append(&house, &house.signer, Event::Snapshot(SnapshotRef { sequence, ..snapshot.clone() }), |_| ()).await;
    }
    let store = Counted::new(&house.store);
    let report = verify(&store, &house.standard()).await.unwrap();
    assert_eq!(report.counts.into_iter().collect::<Vec<_>>(), [(Code::ManifestMismatch, 3)]);
    assert_eq!(store.asked(), (1, 8), "archive.json, five log files, two manifests");
}

#[tokio::test]
async fn a_strangers_newest_snapshot_stands_for_nothing() {
    let house = house().await;
    let real = newest(&house).await;
    house.clock.advance(Duration::from_secs((365 - 90) * 86_400));
    let live = Live {
        vault: host(),
        rpo: TimeDelta::days(1),
        objects: real
            .lines
            .iter()
            .map(|line| Seen {
                object: line.object(),
                fingerprint: line.fingerprint,
                changed: Some(real.header.started),
                managed: false,
            })
            .collect(),
    };
    let standard = Standard { max_age: Some(TimeDelta::days(30)), ..house.standard() };
    let live = [live];
    let depth = Depth { live: &live, ..Depth::default() };
    let codes = async || {
        let mut counts = inspect(&house.store, &standard, &depth, &Silent).await.unwrap().counts;
        counts.retain(|code, _| code.severity() == Severity::Noncompliant);
        counts
    };
    let before = codes().await;
    assert!(before.contains_key(&Code::SnapshotStale) && before.contains_key(&Code::ProtectionShort), "{before:?}");
    let fresh = planted(&house, 1).await;
    append(&house, &stranger(&house), Event::Snapshot(fresh), |_| ()).await;
    assert_eq!(codes().await, before);
}

#[tokio::test]
async fn behind_an_entry_that_does_not_hold_those_that_hold_are_followed() {
    let house = house().await;
    let first = LogFile::parse(&bytes(&house, &log(1)).await).unwrap();
    house.store.corrupt(&log(1), LogFile::build(first.entry().clone(), &stranger(&house)).unwrap().bytes());
    let report = house.verify().await;
    assert_eq!(report.counts.keys().copied().collect::<Vec<_>>(), [Code::LogSignature, Code::LogChain, Code::Orphan]);
    assert_eq!(report.checked.snapshots, 1);
    let second = one(&house, "/manifests/", 1).await;
    assert!(report.findings.iter().all(|finding| finding.path != second), "{report:?}");
}

#[tokio::test]
async fn where_no_entry_holds_it_is_not_said_that_there_never_was_a_snapshot() {
    let mut house = house().await;
    house.verifiers = vec![stranger(&house).verifier()];
    let standard = Standard { max_age: Some(TimeDelta::zero()), ..house.standard() };
    let counts = verify(&house.store, &standard).await.unwrap().counts;
    assert_eq!(counts.into_keys().collect::<Vec<_>>(), [Code::LogSignature, Code::Orphan]);
}

#[tokio::test]
async fn a_later_programs_entry_that_is_rightly_signed_is_a_link_like_any_other() {
    let house = house().await;
    append(&house, &house.signer, unknown(), |_| ()).await;
    house.vault.put(&object("secret/a"));
    house.snapshot().await.unwrap();
    let report = house.verify().await;
    assert_eq!(report.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::UnknownEntry]);
    assert_eq!((report.checked.entries, report.checked.snapshots), (4, 3));
    assert_eq!(report.record.unwrap().heads.len(), 1);
}

#[tokio::test]
async fn captures_that_are_gone_are_looked_for_one_by_one_or_in_one_more_listing() {
    let names: Vec<String> = (0..120).map(|number| format!("secret/s{number:03}")).collect();
    let house = House::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    house.snapshot().await.unwrap();
    let captures = house.files("/captures/").await;
    let missing = async |overtaken: Vec<String>| {
        let overtaken = Overtaken(&house, overtaken);
        let store = Counted::new(&overtaken);
        let report = verify(&store, &house.standard()).await.unwrap();
        assert!(report.findings.iter().all(|finding| finding.code == Code::CaptureMissing), "{report:?}");
        (report.findings.len(), store.asked().0)
    };
    assert_eq!(missing(captures[..3].to_vec()).await, (0, 1 + 3));
    assert_eq!(missing(captures.clone()).await, (0, 1 + 1), "all came behind the reader");
    captures[..110].iter().for_each(|path| assert!(house.store.lose(path)));
    assert_eq!(missing(captures[110..].to_vec()).await, (110, 1 + 1), "some did, and others are gone");
    // Many manifests that each lack a few cost no more than one that lacks many.
    house.snapshot().await.unwrap();
    let again = house.files("/captures/").await;
    again.iter().for_each(|path| assert!(house.store.lose(path)));
    let (gone, lists) = missing(Vec::new()).await;
    assert!(gone > 200 && lists == 2, "{gone} {lists}");
}
