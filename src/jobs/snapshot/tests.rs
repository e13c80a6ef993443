//! Snapshots against a vault and a store in memory.

mod pace;
mod stopping;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use chrono::TimeDelta;
use futures::stream::{self, BoxStream, StreamExt};

use super::*;
use crate::ambient::{Clock, ManualClock, SeededRandom};
use crate::archive::latest_snapshot;
use crate::format::manifest::{Line, Manifest};
use crate::jobs::fixture::{House, clock, object};
use crate::model::{Mode, Object, StorePath};
use crate::progress::{Halt, Silent};
use crate::store::memory::Memory;
use crate::store::{Append, Condition, Created, Guard, Listed, Protection, Read, Worm};
use crate::vault::Condition as VaultCondition;
use crate::vault::Listing;
use crate::vault::memory::{Call, Moment};
use crate::verify::{self, Code, Status as Verdict};

const HOUR: Duration = Duration::from_secs(3600);
const OBJECTS: &[&str] = &["key/k", "secret/a", "secret/b", "certificate/tls"];

/// The counts of a report, checked to add up.
fn counts(report: &Report) -> [u64; 4] {
    let Objects { seen, captured, reused, gaps, .. } = report.objects;
    assert_eq!(seen, captured + reused + gaps, "{report:?}");
    assert_eq!(report.gaps.iter().filter(|gap| gap.object.is_some()).count() as u64, gaps, "{report:?}");
    [seen, captured, reused, gaps]
}

fn codes(report: &Report) -> Vec<&str> {
    report.gaps.iter().map(|gap| gap.code.as_str()).collect()
}

async fn manifest(house: &House) -> Manifest {
    let reader = house.reader().await;
    let head = reader.head(crate::vault::Read::uri(&house.vault)).await.unwrap().unwrap();
    reader.manifest(latest_snapshot(&head).unwrap()).await.unwrap()
}

fn refuse(condition: VaultCondition) -> crate::vault::Error {
    crate::vault::Error::new(condition, "injected")
}

#[tokio::test]
async fn everything_is_taken_once_then_reused_and_what_changed_is_taken_again() {
    let house = House::new(OBJECTS).await;
    let first = house.snapshot().await.unwrap();
    assert_eq!((counts(&first), first.status, first.sequence), ([4, 4, 0, 0], Outcome::Complete, Some(1)));
    let requests = first.requests;
    let files = house.files("").await.len();
    let second = house.snapshot().await.unwrap();
    assert_eq!((counts(&second), second.sequence), ([4, 0, 4, 0], Some(2)));
    assert_eq!(
        second.requests - requests,
        8,
        "the six lists, issuers and contacts, and nothing for what did not change"
    );
    assert_eq!(house.files("").await.len(), files + 2, "a manifest and a log entry");
    house.vault.put(&object("secret/a"));
    house.vault.delete(&object("secret/b"));
    let third = house.snapshot().await.unwrap();
    assert_eq!(counts(&third), [3, 1, 2, 0]);
    let manifest = manifest(&house).await;
    assert_eq!((manifest.header.counts.managed, manifest.header.counts.deleted), (2, 1));
    let gone = manifest.lines.iter().find(|line| line.name.as_str() == "b").unwrap();
    assert!(gone.purge_at.is_some() && gone.capture.is_none());
    assert_eq!(house.verify().await.findings, []);
}

#[tokio::test]
async fn a_change_that_no_list_shows_is_found_when_versions_are_compared() {
    let mut house = House::new(&["secret/a", "secret/b"]).await;
    house.vault.put(&object("secret/a"));
    house.snapshot().await.unwrap();
    let newest = house.vault.put(&object("secret/a"));
    house.snapshot().await.unwrap();
    // Every version but the newest is disabled, and so the list shows nothing.
    house.vault.change(&object("secret/a"), |version| version.enabled &= version.id == newest);
    assert_eq!(counts(&house.snapshot().await.unwrap()), [2, 0, 2, 0]);
    house.order.effort = Effort::Compare;
    assert_eq!(counts(&house.snapshot().await.unwrap()), [2, 1, 1, 0]);
}

#[tokio::test]
async fn what_cannot_be_taken_is_a_gap_and_taken_the_next_time() {
    let house = House::new(OBJECTS).await;
    house.vault.interfere(|_, moment, call| match (moment, call) {
        (Moment::Before, Call::Backup(object)) if object.name.as_str() == "a" => Err(refuse(VaultCondition::Denied)),
        (Moment::Before, Call::Backup(object)) if object.name.as_str() == "k" => Err(refuse(VaultCondition::NotFound)),
        _ => Ok(()),
    });
    let report = house.snapshot().await.unwrap();
    assert_eq!((counts(&report), report.status), ([4, 2, 0, 2], Outcome::Partial));
    assert_eq!(codes(&report), ["vanished", "denied"]);
    let findings = house.verify().await.findings;
    assert_eq!(findings.iter().map(|f| f.code).collect::<Vec<_>>(), [Code::CoverageGap]);
    assert!(findings[0].detail.contains("lacks 2 objects"), "{findings:?}");
    house.vault.leave_alone();
    assert_eq!(counts(&house.snapshot().await.unwrap()), [4, 2, 2, 0]);
}

#[tokio::test]
async fn a_list_that_is_denied_makes_a_partial_snapshot_without_a_single_gap_among_objects() {
    let house = House::new(&["key/k", "secret/a"]).await;
    house.vault.interfere(|_, _, call| match call {
        Call::List(Listing::Deleted(crate::model::Kind::Key)) => Err(refuse(VaultCondition::Denied)),
        _ => Ok(()),
    });
    let report = house.snapshot().await.unwrap();
    assert_eq!((counts(&report), report.status), ([2, 2, 0, 0], Outcome::Partial));
    assert_eq!(codes(&report), ["list-denied"]);
    let findings = house.verify().await.findings;
    assert!(findings[0].detail.contains("1 thing could not be read"), "{findings:?}");
}

#[tokio::test]
async fn where_nothing_can_be_listed_nothing_is_committed() {
    let house = House::new(&["key/k"]).await;
    house.vault.interfere(|_, _, call| match call {
        Call::List(_) => Err(refuse(VaultCondition::Firewall)),
        _ => Ok(()),
    });
    assert_eq!(house.snapshot().await.unwrap_err().kind(), Kind::Denied);
    assert_eq!(house.files("vaults/").await, [""; 0]);
}

#[tokio::test]
async fn an_object_that_cannot_be_packed_does_not_stop_the_others() {
    let house = House::new(&["secret/a", "secret/b"]).await;
    let much = "x".repeat(crate::format::capture::BLOB_MAX + 1);
    house.vault.change(&object("secret/a"), |version| version.material = much.clone());
    let report = house.snapshot().await.unwrap();
    assert_eq!((counts(&report), codes(&report)), ([2, 1, 0, 1], vec!["unpackable"]));
}

#[tokio::test]
async fn a_gap_does_not_forget_what_the_archive_has() {
    let house = House::new(&["secret/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    house.vault.put(&object("secret/a"));
    house.vault.interfere(|_, moment, call| match (moment, call) {
        (Moment::Before, Call::Backup(_)) => Err(refuse(VaultCondition::Denied)),
        _ => Ok(()),
    });
    let report = house.snapshot().await.unwrap();
    assert_eq!((counts(&report), codes(&report)), ([2, 0, 1, 1], vec!["denied"]));
    let line = manifest(&house).await.lines.remove(0);
    assert!(line.gap.is_some() && line.capture.is_some_and(|capture| capture.reused));
    house.vault.leave_alone();
    assert_eq!(
        counts(&house.snapshot().await.unwrap()),
        [2, 1, 1, 0],
        "the earlier capture is not taken for the new state"
    );
    assert_eq!(house.verify().await.findings, []);
}

#[tokio::test]
async fn a_list_that_fails_leaves_what_it_would_have_shown_as_gaps() {
    let house = House::new(&["key/k", "secret/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    house.vault.interfere(|_, _, call| match call {
        Call::List(Listing::Live(crate::model::Kind::Secret)) => Err(refuse(VaultCondition::Denied)),
        _ => Ok(()),
    });
    let report = house.snapshot().await.unwrap();
    assert_eq!((counts(&report), report.status), ([3, 0, 1, 2], Outcome::Partial));
    assert_eq!(codes(&report), ["list-denied"; 3], "the list itself, and both secrets");
    house.vault.leave_alone();
    assert_eq!(counts(&house.snapshot().await.unwrap()), [3, 0, 3, 0], "nothing had to be taken again");
}

#[tokio::test]
async fn a_certificate_that_appears_while_lists_are_read_is_taken_and_its_key_is_no_orphan() {
    let house = House::new(&["secret/a"]).await;
    let made = AtomicU32::new(0);
    house.vault.interfere(move |vault, moment, call| {
        if let (Moment::After, Call::List(Listing::Live(crate::model::Kind::Certificate))) = (moment, call)
            && made.fetch_add(1, Ordering::SeqCst) == 0
        {
            vault.put(&object("certificate/new"));
        }
        Ok(())
    });
    let report = house.snapshot().await.unwrap();
    assert_eq!((counts(&report), codes(&report)), ([2, 2, 0, 0], vec![]), "{report:?}");
    assert_eq!(manifest(&house).await.header.counts.managed, 2);
}

fn policy(rules: &str) -> Arc<Policy> {
    let text = format!("{}\n{rules}", include_str!("../../../policies/default.toml"));
    Arc::new(Policy::parse(&text, "test").unwrap())
}

#[tokio::test]
async fn what_the_policy_leaves_out_is_named_and_neither_asked_for_nor_counted() {
    let mut house = House::new(OBJECTS).await;
    house.order.policy = policy(
        r#"
        [[rule]]
        name = "scratch"
        why = "made anew by the pipeline"
        names = ["a", "tls"]
        take = false
        "#,
    );
    let report = house.snapshot().await.unwrap();
    assert_eq!((counts(&report), report.status), ([2, 2, 0, 0], Outcome::Complete));
    assert_eq!(report.objects.excluded, 4, "the secret, the certificate, and its key and secret");
    let manifest = manifest(&house).await;
    assert_eq!(manifest.header.counts.excluded, 4);
    assert_eq!(manifest.header.policy_sha256, house.order.policy.sha256());
    assert_eq!(house.files("/captures/").await.len(), 2);
    assert_eq!(house.verify().await.findings, []);
    house.order.policy = policy("");
    assert_eq!(counts(&house.snapshot().await.unwrap()), [4, 2, 2, 0]);
}

#[tokio::test]
async fn a_rule_has_what_it_selects_taken_more_often() {
    let mut house = House::new(&["secret/a", "secret/b"]).await;
    house.order.policy = policy("[[rule]]\nname = \"often\"\nnames = [\"b\"]\ntake = true\nrecapture_every = \"2d\"");
    house.order.renewal.recapture_every = TimeDelta::days(30);
    house.snapshot().await.unwrap();
    house.clock.advance(Duration::from_secs(2 * 86_400));
    assert_eq!(counts(&house.snapshot().await.unwrap()), [2, 1, 1, 0]);
    assert_eq!(manifest(&house).await.lines[1].capture.as_ref().unwrap().captured_at, house.ambient.now());
}

#[tokio::test]
async fn a_key_whose_certificate_is_gone_is_a_gap() {
    let house = House::new(&["certificate/tls"]).await;
    house.vault.lose(&object("certificate/tls"));
    let report = house.snapshot().await.unwrap();
    assert_eq!(codes(&report), ["managed-without-certificate"; 2]);
    assert_eq!(counts(&report), [2, 0, 0, 2]);
}

#[tokio::test]
async fn a_store_that_protects_nothing_is_refused_before_the_vault_is_asked() {
    let clock = clock();
    let house = House::with(&["key/k"], clock.clone(), Memory::new(clock)).await;
    assert_eq!(house.snapshot().await.unwrap_err().kind(), Kind::Noncompliant);
    assert_eq!(crate::vault::Read::traffic(&house.vault).requests, 0);
    assert_eq!(house.files("vaults/").await, [""; 0]);
}

#[tokio::test]
async fn without_the_demand_anything_is_taken_and_taken_again_once_protection_is_demanded() {
    let clock = clock();
    let mut house = House::with(&["key/k"], clock.clone(), Memory::new(clock)).await;
    (house.order.worm, house.order.renewal.protected) = (Demand::Optional, false);
    assert_eq!(house.snapshot().await.unwrap().status, Outcome::Complete);
    assert_eq!(counts(&house.snapshot().await.unwrap()), [1, 0, 1, 0]);
    let guard = Guard { worm: Worm::VersionLevel, lock: Some(Mode::Locked), days: Some(365), legal_hold: false };
    house.store.set_guard(guard);
    (house.order.worm, house.order.renewal.protected) = (Demand::Required, true);
    assert_eq!(counts(&house.snapshot().await.unwrap()), [1, 1, 0, 0]);
    assert_eq!(counts(&house.snapshot().await.unwrap()), [1, 0, 1, 0]);
}

#[tokio::test]
async fn captures_are_renewed_before_their_protection_ends() {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    house.clock.advance(Duration::from_secs(29 * 86_400));
    assert_eq!(counts(&house.snapshot().await.unwrap()), [1, 0, 1, 0]);
    house.clock.advance(Duration::from_secs(86_400));
    assert_eq!(counts(&house.snapshot().await.unwrap()), [1, 1, 0, 0]);
    assert_eq!(house.verify().await.findings, []);
    assert!(TimeDelta::days(31) < house.order.renewal.protection_min, "or this test tells nothing of the two rules");
}

#[tokio::test]
async fn a_capture_that_is_gone_or_changed_is_not_reused() {
    let house = House::new(&["key/k", "secret/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    let captures: Vec<StorePath> =
        manifest(&house).await.lines.into_iter().filter_map(|line| line.capture).map(|capture| capture.path).collect();
    assert!(house.store.lose(captures[0].as_str()));
    assert!(house.store.corrupt(captures[1].as_str(), "other"));
    let second = house.snapshot().await.unwrap();
    assert_eq!(counts(&second), [3, 2, 1, 0]);
    assert!(second.warnings.iter().any(|warning| warning.starts_with("2 captures")), "{second:?}");
    assert_eq!(house.verify().await.status, Verdict::Tampered, "the loss stays a finding");
    assert_eq!(counts(&house.snapshot().await.unwrap()), [3, 0, 3, 0]);
}

#[tokio::test]
async fn an_unlocked_policy_is_a_warning_about_what_is_new() {
    let clock = clock();
    let store = Memory::protected(clock.clone(), Worm::VersionLevel, Mode::Unlocked, 365);
    let house = House::with(&["key/k"], clock, store).await;
    assert_eq!(house.snapshot().await.unwrap().warnings.len(), 1);
    let guard = Guard { worm: Worm::VersionLevel, lock: Some(Mode::Locked), days: Some(365), legal_hold: false };
    house.store.set_guard(guard);
    assert_eq!(house.snapshot().await.unwrap().warnings, [""; 0], "nothing new was stored under an unlocked policy");
}

#[tokio::test]
async fn a_damaged_previous_manifest_costs_a_full_run_and_stays_a_finding() {
    let house = House::new(OBJECTS).await;
    house.snapshot().await.unwrap();
    let damaged = house.files("/manifests/").await.remove(0);
    assert!(house.store.corrupt(&damaged, "nonsense"));
    let report = house.snapshot().await.unwrap();
    assert_eq!((counts(&report), report.status, report.warnings.len()), ([4, 4, 0, 0], Outcome::Complete, 1));
    assert_eq!(codes(&report), ["previous-manifest"]);
    let verdict = house.verify().await;
    assert_eq!(verdict.status, Verdict::Tampered);
    assert!(verdict.findings.iter().any(|f| f.code == Code::ManifestMismatch && f.path == damaged));
    let healed = house.snapshot().await.unwrap();
    assert_eq!((counts(&healed), codes(&healed)), ([4, 0, 4, 0], vec![]));
    assert_eq!(house.verify().await.status, Verdict::Tampered, "history does not forget");
}

#[tokio::test]
async fn a_head_that_was_not_signed_by_us_is_not_built_upon() {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    let head = house.files("/log/").await.remove(0);
    house.store.corrupt(&head, "nonsense");
    assert_eq!(house.snapshot().await.unwrap_err().kind(), Kind::Tampered);
    assert_eq!(house.files("/log/").await.len(), 1);
}

#[tokio::test]
async fn two_runs_at_once_both_commit_and_the_archive_is_whole() {
    let house = House::new(OBJECTS).await;
    let (one, two) = tokio::join!(house.snapshot(), house.snapshot());
    let mut sequences = [one.unwrap().sequence, two.unwrap().sequence];
    sequences.sort();
    assert_eq!(sequences, [Some(1), Some(2)]);
    assert_eq!(house.verify().await.findings, []);
}

/// What is done to an item of a listing.
type Lie = fn(Listed) -> Vec<Listed>;

/// A store that takes everything and lies about the files whose path contains a text.
struct Liar<'a>(&'a Memory, &'static str, Lie);

#[async_trait::async_trait]
impl Read for Liar<'_> {
    fn describe(&self) -> String {
        "a liar".into()
    }
    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
        self.0.get(path, version, limit).await
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, store::Error>> {
        let lie = move |item: Result<Listed, store::Error>| {
            let item = item.unwrap();
            let concerned = item.path.as_ref().is_ok_and(|path| path.as_str().contains(self.1));
            stream::iter(if concerned { self.2(item) } else { vec![item] }).map(Ok)
        };
        self.0.list(prefix).flat_map(lie).boxed()
    }
    async fn guard(&self) -> Result<Guard, store::Error> {
        self.0.guard().await
    }
}

#[async_trait::async_trait]
impl Append for Liar<'_> {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, store::Error> {
        self.0.create(path, bytes).await
    }
}

#[tokio::test]
async fn a_store_that_lies_is_found_out_before_anything_refers_to_what_it_holds() {
    let lies: [(&str, Lie, Kind); 6] = [
        ("other bytes", |item| vec![Listed { md5: Some([0; 16]), ..item }], Kind::Tampered),
        ("another length", |item| vec![Listed { size: item.size + 1, ..item }], Kind::Tampered),
        ("a version too many", |item| vec![item.clone(), item], Kind::Tampered),
        ("nothing there", |_| vec![], Kind::Tampered),
        ("another version", |item| vec![Listed { version: Some("x".into()), ..item }], Kind::Tampered),
        ("no policy", |item| vec![Listed { protection: Protection::default(), ..item }], Kind::Noncompliant),
    ];
    // A few captures are looked up one by one, more of them in one listing; one is lied about.
    let many =
        ["key/k", "secret/a", "secret/b", "secret/c", "secret/d", "secret/e", "secret/f", "secret/g", "secret/h"];
    for (objects, part) in [(&many[..1], "/captures/key/k/"), (&many, "/captures/key/k/"), (&many, "/manifests/")] {
        for (what, lie, kind) in lies {
            let house = House::new(objects).await;
            let error = house.snapshot_into(&Liar(&house.store, part, lie)).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{what} in {part}: {error}");
            assert!(!error.message().contains("/captures/secret/"), "{what}: {error}");
            assert_eq!(house.files("/log/").await, [""; 0], "{what} in {part} was committed");
        }
    }
}

/// A store that keeps no MD5 is asked for the bytes themselves.
#[tokio::test]
async fn without_a_listed_digest_the_bytes_are_read() {
    let house = House::new(&["key/k"]).await;
    let bare = Liar(&house.store, "/", |item| vec![Listed { md5: None, ..item }]);
    assert_eq!(house.snapshot_into(&bare).await.unwrap().status, Outcome::Complete);
}

#[tokio::test]
async fn a_name_that_is_taken_gives_way_to_the_next_second() {
    let house = House::new(&["key/k"]).await;
    house.snapshot().await.unwrap();
    let taken = house.files("/captures/").await.remove(0);
    let other = House::new(&["key/k"]).await;
    other.store.create(&StorePath::parse(&taken).unwrap(), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(other.snapshot().await.unwrap().status, Outcome::Complete);
    assert_eq!(other.files("/captures/").await.len(), 2);
    let again = other.store.create(&StorePath::parse(&taken).unwrap(), Bytes::from_static(b"y")).await;
    assert_eq!(again.unwrap_err().condition, Condition::Exists);
    let findings: Vec<Code> = other.verify().await.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(findings, [Code::Orphan]);
}

#[tokio::test]
async fn what_two_runs_take_in_the_same_second_says_inside_what_its_name_says() {
    let house = House::new(&["key/k", "secret/a"]).await;
    house.vault.put_issuer("ca", "Test");
    // One after the other by this order of awaiting, at the same time by the clock.
    let now = house.ambient.now();
    house.snapshot().await.unwrap();
    let first = house.files("/captures/").await.len() + house.files("/settings/").await.len();
    let other = House::new(&["key/k", "secret/a"]).await;
    other.vault.put_issuer("ca", "Test");
    assert_eq!(other.ambient.now(), now);
    for taken in [house.files("/captures/").await, house.files("/settings/").await].concat() {
        other.store.create(&StorePath::parse(&taken).unwrap(), Bytes::from_static(b"x")).await.unwrap();
    }
    other.snapshot().await.unwrap();
    assert_eq!(other.files("/captures/").await.len() + other.files("/settings/").await.len(), 2 * first);
    let open = |sealed: &[u8]| other.identities.open(sealed);
    let depth = verify::Depth { read: Some(verify::Subset::ALL), open: Some(&open), ..verify::Depth::default() };
    let report = verify::inspect(&other.store, &other.standard(), &depth, &Silent).await.unwrap();
    assert_eq!(report.checked.opened, first as u64);
    // Blobs of the vault in memory do not begin as Azure's do.
    let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert!(codes.iter().all(|code| [Code::Orphan, Code::BackupMalformed].contains(code)), "{codes:?}");
}

/// A store in which another run is faster by a moment with each manifest: with the same bytes, or with others.
struct Twin<'a>(&'a Memory, Option<&'static [u8]>);

#[async_trait::async_trait]
impl Read for Twin<'_> {
    fn describe(&self) -> String {
        self.0.describe()
    }
    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
        self.0.get(path, version, limit).await
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, store::Error>> {
        self.0.list(prefix)
    }
    async fn guard(&self) -> Result<Guard, store::Error> {
        self.0.guard().await
    }
}

#[async_trait::async_trait]
impl Append for Twin<'_> {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, store::Error> {
        if path.as_str().contains("/manifests/") {
            self.0.create(path, self.1.map_or_else(|| bytes.clone(), Bytes::from_static)).await?;
        }
        self.0.create(path, bytes).await
    }
}

#[tokio::test]
async fn a_manifest_that_another_run_wrote_in_the_same_words_is_as_good_as_ours() {
    for other in [None, Some(&b"something else"[..])] {
        let house = House::new(&["key/k"]).await;
        match house.snapshot_into(&Twin(&house.store, other)).await {
            Ok(report) => assert!(other.is_none() && report.status == Outcome::Complete, "{report:?}"),
            Err(error) => assert!(other.is_some() && error.kind() == Kind::Tampered, "{error}"),
        }
        assert_eq!(house.files("/manifests/").await.len(), 1);
        assert_eq!(house.files("/log/").await.len(), usize::from(other.is_none()));
        assert!(other.is_some() || house.verify().await.findings.is_empty());
    }
}
