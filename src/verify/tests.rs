//! Each finding provoked once, by the least tampering that does it, against a store in memory.

mod hostile;
mod levels;
mod protection;
mod settings;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::format::entry::{Event, LogFile, SnapshotRef};
use crate::format::manifest::{CaptureRef, Gap, Limits, Line, Manifest};
use crate::jobs::fixture::{House, clock, object};
use crate::model::{Mode, StorePath, VaultUri};
use crate::store::memory::Memory;
use crate::store::{Append, Guard, Read, Worm};
use crate::tlog::Signer;

fn host() -> VaultUri {
    VaultUri::parse("https://prod.vault.azure.net").unwrap()
}

/// A house with two snapshots; the second reuses one capture of the first and has one of its own.
async fn house() -> House {
    let house = House::new(&["key/k", "secret/a"]).await;
    house.snapshot().await.unwrap();
    house.vault.put(&object("secret/a"));
    house.snapshot().await.unwrap();
    house
}

async fn codes(house: &House) -> Vec<Code> {
    let report = house.verify().await;
    let worst = report.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Note);
    let status = match worst {
        Severity::Note => Status::Ok,
        Severity::Noncompliant => Status::Noncompliant,
        Severity::Tampered => Status::Tampered,
    };
    assert_eq!(report.status, status);
    assert!(report.findings.is_sorted_by(|a, b| a.severity >= b.severity), "the worst first");
    report.findings.iter().map(|finding| finding.code).collect::<BTreeSet<_>>().into_iter().collect()
}

async fn bytes(house: &House, path: &str) -> Vec<u8> {
    house.store.get(&StorePath::parse(path).unwrap(), None, u64::MAX).await.unwrap().to_vec()
}

async fn one(house: &House, part: &str, number: usize) -> String {
    house.files(part).await.swap_remove(number)
}

fn log(sequence: u64) -> String {
    paths::log(&host(), sequence).unwrap().to_string()
}

/// Appends an entry of our own making, signed as `signer` signs.
async fn append(house: &House, signer: &Signer, event: Event, change: impl FnOnce(&mut crate::format::entry::Entry)) {
    let last = house.files("/log/").await.len() as u64;
    let head = LogFile::parse(&bytes(house, &log(last)).await).unwrap();
    let mut entry = head.successor(house.ambient.now(), event).unwrap();
    change(&mut entry);
    let file = LogFile::build(entry, signer).unwrap();
    let path = StorePath::parse(&log(last + 1)).unwrap();
    house.store.create(&path, Bytes::from(file.bytes())).await.unwrap();
}

fn unknown() -> Event {
    serde_json::from_str(r#"{"type":"drill"}"#).unwrap()
}

#[tokio::test]
async fn an_archive_that_nobody_touched_has_no_findings() {
    let house = house().await;
    let report = house.verify().await;
    assert_eq!(report.findings, []);
    let Checked { vaults, entries, snapshots, captures, files, bytes, protected_until, .. } = report.checked;
    assert_eq!((vaults, entries, snapshots, captures, files), (1, 2, 2, 4, 9));
    assert!(bytes > 1000 && protected_until.is_some_and(|until| until > house.ambient.now() + TimeDelta::days(364)));
}

#[tokio::test]
async fn archive_malformed() {
    let house = house().await;
    house.store.corrupt("archive.json", "{}");
    assert_eq!(codes(&house).await, [Code::ArchiveMalformed]);
    house.store.corrupt("archive.json", vec![b' '; 5000]);
    assert_eq!(codes(&house).await, [Code::ArchiveMalformed]);
    house.store.lose("archive.json");
    assert_eq!(codes(&house).await, [Code::ArchiveMalformed], "its files are there, and it is gone");
    let empty = Memory::new(clock());
    let error = verify(&empty, &house.standard()).await.unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::NotFound, "no archive is no finding");
}

#[tokio::test]
async fn log_gap() {
    let house = house().await;
    house.store.lose(&log(1));
    let report = house.verify().await;
    let first = &report.findings[0];
    assert_eq!((first.code, first.detail.as_str()), (Code::LogGap, "entries 1 to 1 are missing"));
    let orphans: Vec<_> = report.findings.iter().filter(|finding| finding.code == Code::Orphan).collect();
    assert!(!orphans.is_empty() && orphans.iter().all(|finding| finding.detail.contains("does not hold may")));
}

#[tokio::test]
async fn log_malformed() {
    let house = house().await;
    house.store.corrupt(&log(2), "nonsense");
    assert!(codes(&house).await.contains(&Code::LogMalformed));
}

#[tokio::test]
async fn log_signature() {
    let mut house = house().await;
    let stranger = Signer::from_seed(house.signer.name(), &[9; 32]).unwrap();
    house.verifiers = vec![stranger.verifier()];
    let found: Vec<Finding> = verify(&house.store, &house.standard()).await.unwrap().findings;
    assert_eq!(found[..2].iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::LogSignature; 2]);
    assert!(found[2..].iter().all(|finding| finding.code == Code::Orphan), "nothing that holds names the files");
}

#[tokio::test]
async fn log_chain() {
    let other = House::new(&["key/other"]).await;
    other.clock.advance(Duration::from_secs(1));
    other.snapshot().await.unwrap();
    let house = house().await;
    append(&house, &house.signer, unknown(), |entry| entry.previous = Some(crate::model::Digest::of(b"other"))).await;
    assert_eq!(codes(&house).await, [Code::LogChain, Code::UnknownEntry]);
    let house = self::house().await;
    append(&house, &house.signer, unknown(), |entry| entry.latest_snapshot = None).await;
    assert_eq!(codes(&house).await, [Code::LogChain, Code::UnknownEntry]);
    let house = self::house().await;
    append(&house, &house.signer, unknown(), |entry| entry.archive_id = uuid::Uuid::from_u128(1)).await;
    assert!(codes(&house).await.contains(&Code::LogChain), "a file of another archive");
}

#[tokio::test]
async fn a_log_that_was_rewritten_from_the_middle_does_not_chain() {
    let house = house().await;
    // The same signer signs another first entry; the second still names the old one.
    let first = LogFile::parse(&bytes(&house, &log(1)).await).unwrap();
    let mut entry = first.entry().clone();
    entry.time += TimeDelta::seconds(1);
    let forged = LogFile::build(entry, &house.signer).unwrap();
    house.store.corrupt(&log(1), forged.bytes());
    assert_eq!(codes(&house).await, [Code::LogChain]);
}

#[tokio::test]
async fn log_root() {
    let house = house().await;
    // The checkpoint of the first entry under the second: signed by us, for another tree.
    let (first, second) = (bytes(&house, &log(1)).await, bytes(&house, &log(2)).await);
    let split = |file: &[u8]| file.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let forged = [&second[..split(&second)], &first[split(&first)..]].concat();
    house.store.corrupt(&log(2), forged);
    assert_eq!(codes(&house).await, [Code::LogRoot, Code::Orphan], "what it names is nobody's any more");
}

#[tokio::test]
async fn manifest_missing() {
    let house = house().await;
    let path = one(&house, "/manifests/", 0).await;
    house.store.lose(&path);
    let report = house.verify().await;
    assert_eq!((report.findings[0].code, report.findings[0].path.as_str()), (Code::ManifestMissing, path.as_str()));
    assert!(report.findings[1..].iter().all(|finding| finding.code == Code::Orphan), "{report:?}");
}

#[tokio::test]
async fn manifest_mismatch() {
    let house = house().await;
    let path = one(&house, "/manifests/", 1).await;
    let mut changed = bytes(&house, &path).await;
    *changed.last_mut().unwrap() ^= 1;
    house.store.corrupt(&path, changed);
    assert_eq!(codes(&house).await, [Code::ManifestMismatch, Code::Orphan]);
}

/// Commits a manifest of our own making, as a writer with a bug would.
async fn commit(house: &House, manifest: Vec<u8>, root: crate::model::Digest, lines: u64) {
    let head = LogFile::parse(&bytes(house, &log(2)).await).unwrap();
    let Event::Snapshot(before) = &head.entry().event else { panic!("no snapshot") };
    let sha256 = crate::model::Digest::of(&manifest);
    let path = paths::manifest(&host(), 3, sha256).unwrap();
    let size = manifest.len() as u64;
    let created = house.store.create(&path, manifest.into()).await.unwrap();
    let counts = before.counts;
    let snapshot = SnapshotRef {
        sequence: 3,
        manifest: path,
        version: created.version,
        sha256,
        size,
        root,
        lines,
        counts,
        ..before.clone()
    };
    append(house, &house.signer, Event::Snapshot(snapshot), |_| ()).await;
}

async fn newest(house: &House) -> Manifest {
    let path = one(house, "/manifests/", 1).await;
    Manifest::decode(&bytes(house, &path).await, &Limits::default()).unwrap().manifest
}

#[tokio::test]
async fn manifest_malformed() {
    let house = house().await;
    commit(&house, b"no zstd".to_vec(), crate::model::Digest::of(b""), 3).await;
    assert_eq!(codes(&house).await, [Code::ManifestMalformed]);
}

#[tokio::test]
async fn a_manifest_whose_root_is_not_the_signed_one_is_a_mismatch() {
    let house = house().await;
    let encoded = newest(&house).await.encode().unwrap();
    commit(&house, encoded.bytes, crate::model::Digest::of(b"other"), encoded.lines).await;
    assert_eq!(codes(&house).await, [Code::ManifestMismatch]);
}

#[tokio::test]
async fn capture_missing() {
    let house = house().await;
    house.store.lose(&one(&house, "/captures/key/", 0).await);
    assert_eq!(codes(&house).await, [Code::CaptureMissing]);
}

#[tokio::test]
async fn capture_mismatch() {
    let house = house().await;
    let path = one(&house, "/captures/key/", 0).await;
    let mut changed = bytes(&house, &path).await;
    *changed.last_mut().unwrap() ^= 1;
    house.store.corrupt(&path, changed.clone());
    assert_eq!(codes(&house).await, [Code::CaptureMismatch], "same length, another MD5");
    changed.pop();
    house.store.corrupt(&path, changed);
    assert_eq!(codes(&house).await, [Code::CaptureMismatch]);
}

#[tokio::test]
async fn the_earlier_capture_beside_a_gap_is_looked_at_like_any_other() {
    let house = house().await;
    house
        .commit(|manifest| {
            let key = &mut manifest.lines[0];
            key.gap = Some(Gap { code: "denied".into(), detail: "no".into() });
            key.capture.as_mut().unwrap().reused = true;
        })
        .await;
    assert_eq!(codes(&house).await, [Code::CoverageGap]);
    house.clock.advance(Duration::from_secs((365 - 90) * 86_400));
    let short = house.verify().await.findings;
    let key = one(&house, "/captures/key/", 0).await;
    assert!(short.iter().any(|finding| finding.code == Code::ProtectionShort && finding.path == key), "{short:?}");
    house.store.lose(&key);
    assert!(codes(&house).await.contains(&Code::CaptureMissing));
}

#[tokio::test]
async fn gaps_of_the_vault_that_were_not_listed_are_not_forgotten_in_the_count() {
    let gap = |code: &str| Gap { code: code.into(), detail: "…".into() };
    for (gaps, want) in [
        (vec![], "lacks 1 object"),
        (vec![gap("denied")], "lacks 1 object, and 1 thing could not be read of the vault itself"),
        (
            vec![gap("denied"), gap("more")],
            "lacks 1 object, and more than 1 thing could not be read of the vault itself",
        ),
    ] {
        let house = house().await;
        house
            .commit(|manifest| {
                manifest.header.gaps = gaps;
                manifest.lines[0] = Line { capture: None, gap: Some(gap("denied")), ..manifest.lines[0].clone() };
            })
            .await;
        let findings = house.verify().await.findings;
        assert!(findings[0].detail.ends_with(want), "{findings:?}");
    }
}

#[tokio::test]
async fn two_manifests_that_disagree_about_one_capture_are_a_mismatch() {
    for member in 0..2 {
        let house = house().await;
        let mut manifest = newest(&house).await;
        let capture = manifest.lines[0].capture.as_mut().unwrap();
        match member {
            0 => capture.sha256 = crate::model::Digest::of(b"other"),
            _ => capture.size += 1,
        }
        let encoded = manifest.encode().unwrap();
        commit(&house, encoded.bytes, encoded.root, encoded.lines).await;
        assert_eq!(codes(&house).await, [Code::CaptureMismatch]);
    }
}

#[tokio::test]
async fn extra_version() {
    let house = house().await;
    for path in house.files("").await {
        house.store.attacker_put(&path, "forged").unwrap();
    }
    let report = house.verify().await;
    assert_eq!(report.findings.len(), 9, "and nothing else, for the oldest version is the archive");
    assert_eq!(codes(&house).await, [Code::ExtraVersion]);
}

#[tokio::test]
async fn name_deleted() {
    let house = house().await;
    house.clock.advance(Duration::from_secs(366 * 86_400));
    let files = house.files("").await;
    for path in &files {
        house.store.attacker_remove(path).unwrap();
    }
    let report = house.verify().await;
    let found: Vec<&Finding> = report.findings.iter().filter(|finding| finding.code == Code::NameDeleted).collect();
    assert_eq!(found.iter().map(|finding| finding.path.clone()).collect::<Vec<_>>(), files);
    let aged = [Code::NameDeleted, Code::ProtectionShort, Code::RecordShort];
    assert!(codes(&house).await.iter().all(|code| aged.contains(code)));
}

#[tokio::test]
async fn no_snapshot() {
    let house = House::new(&[]).await;
    assert_eq!(codes(&house).await, [Code::NoSnapshot]);
    let path = paths::capture(&host(), &object("key/k"), house.ambient.now(), &crate::model::Digest::of(b"")).unwrap();
    house.store.create(&path, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(codes(&house).await, [Code::NoSnapshot, Code::Orphan], "a first run that was cut short");
}

#[tokio::test]
async fn orphan_and_foreign_file() {
    let house = house().await;
    let path = paths::capture(&host(), &object("key/k"), house.ambient.now(), &crate::model::Digest::of(b"")).unwrap();
    house.store.create(&path, Bytes::from_static(b"x")).await.unwrap();
    for name in ["notes.txt", "not a path", "vaults/prod.vault.azure.net/log/1"] {
        house.store.attacker_put(name, "x").unwrap();
    }
    let report = house.verify().await;
    let found: Vec<(Code, &str)> = report.findings.iter().map(|f| (f.code, f.path.as_str())).collect();
    assert_eq!(
        found,
        [
            (Code::Orphan, path.as_str()),
            (Code::ForeignFile, "not a path"),
            (Code::ForeignFile, "notes.txt"),
            (Code::ForeignFile, "vaults/prod.vault.azure.net/log/1"),
        ]
    );
    assert!(report.findings[0].detail.contains("cut short"));
    assert_eq!(report.status, Status::Ok);
}

#[tokio::test]
async fn clock_backwards_and_unknown_entry() {
    let house = house().await;
    append(&house, &house.signer, unknown(), |entry| entry.time -= TimeDelta::days(1)).await;
    assert_eq!(codes(&house).await, [Code::ClockBackwards, Code::UnknownEntry]);
    assert_eq!(house.verify().await.status, Status::Ok);
}

/// A store whose full listing was begun before the last snapshot reached `captures/` and ended after it was committed.
struct Overtaken<'a>(&'a House, Vec<String>);

#[async_trait::async_trait]
impl store::Read for Overtaken<'_> {
    fn describe(&self) -> String {
        self.0.store.describe()
    }
    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
        self.0.store.get(path, version, limit).await
    }
    fn list<'a>(&'a self, prefix: &'a str) -> futures::stream::BoxStream<'a, Result<store::Listed, store::Error>> {
        use futures::StreamExt;
        let whole = prefix.is_empty();
        let late = move |path: &StorePath| whole && self.1.iter().any(|late| late == path.as_str());
        let items = self.0.store.list(prefix).filter(move |item| {
            let hidden = item.as_ref().is_ok_and(|listed| listed.path.as_ref().is_ok_and(late));
            std::future::ready(!hidden)
        });
        Box::pin(items)
    }
    async fn guard(&self) -> Result<store::Guard, store::Error> {
        self.0.store.guard().await
    }
}

#[tokio::test]
async fn a_snapshot_that_is_committed_while_the_store_is_listed_is_no_tampering() {
    let house = House::new(&["secret/a"]).await;
    house.snapshot().await.unwrap();
    let before = house.files("/captures/").await;
    house.vault.put(&crate::jobs::fixture::object("secret/a"));
    house.clock.advance(std::time::Duration::from_secs(60));
    house.snapshot().await.unwrap();
    let late: Vec<String> = house.files("/captures/").await.into_iter().filter(|path| !before.contains(path)).collect();
    assert_eq!(late.len(), 1);
    let report = super::verify(&Overtaken(&house, late), &house.standard()).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.checked.captures, 3);
}

#[tokio::test]
async fn a_vault_that_the_settings_name_must_have_a_snapshot() {
    let house = house().await;
    let mut standard = house.standard();
    standard.vaults = vec![crate::model::VaultUri::parse("https://forgotten.vault.azure.net").unwrap()];
    let report = super::verify(&house.store, &standard).await.unwrap();
    let found: Vec<(Code, &str)> = report.findings.iter().map(|f| (f.code, f.path.as_str())).collect();
    assert_eq!(found, [(Code::NoSnapshot, "forgotten.vault.azure.net")]);
}
