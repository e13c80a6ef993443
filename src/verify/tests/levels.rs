//! Beyond the default level: reading, opening, the vault as it is now, age, and reports that one run leaves to the next.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::BoxStream;
use zeroize::Zeroizing;

use super::*;
use crate::format::capture::{BackupFacts, Capture, pack, unpack};
use crate::format::settings;
use crate::progress::Silent;
use crate::seal::{Identities, NoPrompt, generate};

const MAGIC: &str = "AzureKeyVaultKeyBackupV1.microsoft.com";
const KID: &str = "57117840-50cb-4f22-8b2e-c5b7e5d088be";

fn codes_in(report: &Report) -> Vec<Code> {
    report.counts.keys().copied().collect()
}

async fn inspected(house: &House, depth: &Depth<'_>) -> Report {
    inspect(&house.store, &house.standard(), depth, &Silent).await.unwrap()
}

/// Everything is read that the report does not cover.
fn again(since: &Record) -> Depth<'_> {
    Depth { read: Some(Subset::ALL), since: Some(since), ..Depth::default() }
}

fn reading<'a>() -> Depth<'a> {
    Depth { read: Some(Subset::ALL), ..Depth::default() }
}

/// A store that lists what it was given, and answers with other bytes for some paths, or with none.
struct Lying<'a>(&'a House, BTreeSet<String>, Option<&'static [u8]>);

#[async_trait::async_trait]
impl Read for Lying<'_> {
    fn describe(&self) -> String {
        self.0.store.describe()
    }
    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
        match (self.1.contains(path.as_str()), self.2) {
            (true, Some(bytes)) => Ok(Bytes::from_static(bytes)),
            (true, None) => Err(store::Error::new(store::Condition::NotFound, "gone")),
            (false, _) => self.0.store.get(path, version, limit).await,
        }
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<store::Listed, store::Error>> {
        self.0.store.list(prefix)
    }
    async fn guard(&self) -> Result<store::Guard, store::Error> {
        self.0.store.guard().await
    }
}

async fn captures(house: &House) -> BTreeSet<String> {
    house.files(".tar.zst.age").await.into_iter().collect()
}

#[tokio::test]
async fn only_reading_finds_other_bytes_of_the_same_size_and_md5() {
    let house = house().await;
    let all = captures(&house).await;
    for (bytes, code) in [(Some(b"forged".as_slice()), Code::CaptureMismatch), (None, Code::CaptureMissing)] {
        let lying = Lying(&house, all.clone(), bytes);
        assert_eq!(verify(&lying, &house.standard()).await.unwrap().findings, []);
        let report = inspect(&lying, &house.standard(), &reading(), &Silent).await.unwrap();
        let found: BTreeSet<String> = report.findings.iter().map(|finding| finding.path.clone()).collect();
        assert_eq!((codes_in(&report).as_slice(), found), ([code].as_slice(), all.clone()));
        assert_eq!(report.record.unwrap().covers, [], "what was not as it must be is read again next time");
    }
    let report = inspected(&house, &reading()).await;
    assert_eq!(
        (report.findings.as_slice(), report.checked.read, report.checked.opened),
        (&[][..], all.len() as u64, 0)
    );
}

#[tokio::test]
async fn the_parts_together_read_everything_once() {
    let house = House::new(&["key/k", "secret/a", "secret/b", "secret/c", "secret/d", "secret/e"]).await;
    house.snapshot().await.unwrap();
    let all = captures(&house).await;
    let mut found = Vec::new();
    for part in 1..=3 {
        let read = Some(Subset::try_from(format!("{part}/3")).unwrap());
        let lying = Lying(&house, all.clone(), None);
        let depth = Depth { read, ..Depth::default() };
        let report = inspect(&lying, &house.standard(), &depth, &Silent).await.unwrap();
        assert!(report.checked.read < all.len() as u64);
        found.extend(report.findings.into_iter().map(|finding| finding.path));
    }
    found.sort();
    assert_eq!(found, all.into_iter().collect::<Vec<_>>());
}

/// A blob that begins as Azure's do.
fn blob(magic: &str, kid: &str) -> Vec<u8> {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"kid":"{kid}","alg":"RSA-OAEP-256","enc":"A256CBC-HS512"}}"#));
    [&[magic.len() as u8], magic.as_bytes(), header.as_bytes(), b".AAAA.BBBB.CCCC.DDDD"].concat()
}

/// The capture of key/k, as of a second later and with a backup that begins as it should, changed and packed.
async fn repacked(house: &House, change: impl FnOnce(&mut Capture)) -> Vec<u8> {
    let sealed = bytes(house, &one(house, "/captures/key/k/", 0).await).await;
    let mut capture = unpack(&house.identities.open(&sealed).unwrap()).unwrap();
    capture.blob = Zeroizing::new(blob(MAGIC, KID));
    capture.metadata.captured_at += TimeDelta::seconds(1);
    change(&mut capture);
    if capture.metadata.backup.header.as_ref().is_none_or(|header| header.alg != "lie") {
        capture.metadata.backup = BackupFacts::of(&capture.blob);
    }
    pack(&capture).unwrap().to_vec()
}

/// Puts a sealed file in the place of a capture of key/k, and commits a snapshot that names it.
async fn plant(house: &House, sealed: Vec<u8>, kid: Option<&str>) -> String {
    let line = newest(house).await.lines.swap_remove(0);
    let at = line.capture.as_ref().unwrap().captured_at + TimeDelta::seconds(1);
    let path = paths::capture(&host(), &line.object(), at, &line.fingerprint).unwrap();
    let created = house.store.create(&path, sealed.clone().into()).await.unwrap();
    let reference = CaptureRef {
        path: path.clone(),
        version: created.version,
        sha256: crate::model::Digest::of(&sealed),
        md5: crate::model::hex(&crate::archive::md5(&sealed)),
        size: sealed.len() as u64,
        captured_at: at,
        kid: kid.map(str::to_owned),
        ..line.capture.unwrap()
    };
    house.commit(|manifest| manifest.lines[0].capture = Some(reference)).await;
    path.to_string()
}

/// What opening finds at the place of the planted file.
async fn opened(house: &House, path: &str) -> Vec<Code> {
    let open = |sealed: &[u8]| house.identities.open(sealed);
    let report = inspected(house, &Depth { open: Some(&open), ..reading() }).await;
    assert_eq!(report.checked.opened, report.checked.captures);
    report.findings.iter().filter(|finding| finding.path == path).map(|finding| finding.code).collect()
}

#[tokio::test]
async fn what_is_sealed_is_looked_into() {
    let other = VaultUri::parse("https://other.vault.azure.net").unwrap();
    type Change = Box<dyn FnOnce(&mut Capture)>;
    let cases: Vec<(Change, Option<&str>, &[Code])> = vec![
        (Box::new(|_| ()), Some(KID), &[]),
        (Box::new(|_| ()), Some("another"), &[Code::KidMismatch]),
        (Box::new(|_| ()), None, &[Code::KidMismatch]),
        (Box::new(|it| it.blob = Zeroizing::new(b"{}".to_vec())), None, &[Code::BackupMalformed]),
        (
            Box::new(|it| it.blob = Zeroizing::new(blob("AzureKeyVaultSecretBackupV1.microsoft.com", KID))),
            Some(KID),
            &[Code::BackupMalformed],
        ),
        (Box::new(|it| it.metadata.object = object("key/other")), Some(KID), &[Code::CaptureMislabelled]),
        (Box::new(move |it| it.metadata.vault = other), Some(KID), &[Code::CaptureMislabelled]),
        (Box::new(|it| it.metadata.captured_at += TimeDelta::seconds(1)), Some(KID), &[Code::CaptureMislabelled]),
        (
            Box::new(|it| it.metadata.listed = serde_json::value::RawValue::from_string("{}".into()).unwrap()),
            Some(KID),
            &[Code::CaptureMislabelled],
        ),
        (
            Box::new(|it| {
                it.metadata.backup = BackupFacts::of(&it.blob);
                it.metadata.backup.header.as_mut().unwrap().alg = "lie".into();
            }),
            Some(KID),
            &[Code::CaptureMalformed],
        ),
    ];
    for (number, (change, kid, expected)) in cases.into_iter().enumerate() {
        let house = House::new(&["key/k"]).await;
        house.snapshot().await.unwrap();
        house.snapshot().await.unwrap();
        let packed = repacked(&house, change).await;
        let path = plant(&house, house.recipients.close(&packed).unwrap(), kid).await;
        assert_eq!(opened(&house, &path).await, expected, "case {number}");
    }
}

#[tokio::test]
async fn what_does_not_open_or_unpack_is_told_apart() {
    let house = house().await;
    let path = plant(&house, b"no age file".to_vec(), None).await;
    assert_eq!(opened(&house, &path).await, [Code::CaptureMalformed]);
    let house = self::house().await;
    let path = plant(&house, house.recipients.close(b"no tar").unwrap(), None).await;
    assert_eq!(opened(&house, &path).await, [Code::CaptureMalformed]);

    let stranger = generate(chrono::DateTime::UNIX_EPOCH);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identity");
    std::fs::write(&file, stranger.file.as_bytes()).unwrap();
    let identities = Identities::from_files(&[file], std::sync::Arc::new(NoPrompt)).unwrap();
    let open = |sealed: &[u8]| identities.open(sealed);
    let house = self::house().await;
    let report = inspected(&house, &Depth { open: Some(&open), ..reading() }).await;
    assert_eq!((codes_in(&report), report.status), (vec![Code::CaptureUnreadable], Status::Noncompliant));
    assert_eq!(report.counts[&Code::CaptureUnreadable], 4);
}

#[tokio::test]
async fn sealed_settings_are_looked_into_too() {
    for (shift, expected) in [(0, vec![]), (1, vec![Code::CaptureMislabelled])] {
        let house = House::new(&["key/k"]).await;
        house.snapshot().await.unwrap();
        let at = house.ambient.now();
        let content = settings::Settings {
            format: settings::FORMAT.into(),
            vault: host(),
            captured_at: at + TimeDelta::seconds(shift),
            tool: "akv-archiver 0.1.0".into(),
            documents: Default::default(),
        };
        let fingerprint = settings::fingerprint(&content).unwrap();
        let sealed = house.recipients.close(&settings::pack(&content).unwrap()).unwrap();
        let path = paths::settings(&host(), at, &fingerprint).unwrap();
        let created = house.store.create(&path, sealed.clone().into()).await.unwrap();
        let line = newest_of(&house, 0).await.lines.swap_remove(0);
        let reference = CaptureRef {
            path: path.clone(),
            version: created.version,
            sha256: crate::model::Digest::of(&sealed),
            md5: crate::model::hex(&crate::archive::md5(&sealed)),
            size: sealed.len() as u64,
            captured_at: at,
            kid: None,
            ..line.capture.unwrap()
        };
        house
            .commit(|manifest| {
                manifest.header.settings = Some(reference);
                manifest.header.settings_fingerprint = Some(fingerprint);
            })
            .await;
        assert_eq!(opened(&house, path.as_str()).await, expected);
    }
}

async fn newest_of(house: &House, number: usize) -> Manifest {
    let path = one(house, "/manifests/", number).await;
    Manifest::decode(&bytes(house, &path).await, &Limits::default()).unwrap().manifest
}

/// What the vault shows, as its lists tell it.
async fn live(house: &House) -> Live {
    let seen = crate::jobs::live::look(&house.vault).await.unwrap().into_iter().map(|item| Seen {
        object: item.object,
        fingerprint: item.fingerprint,
        changed: item.attributes.updated,
        managed: item.managed,
    });
    Live { vault: host(), rpo: TimeDelta::hours(26), objects: seen.collect() }
}

#[tokio::test]
async fn the_vault_as_it_is_now() {
    let house = House::new(&["key/k", "secret/a", "secret/b", "certificate/tls"]).await;
    house.snapshot().await.unwrap();
    let found = async || {
        let live = [live(&house).await];
        let report = inspected(&house, &Depth { live: &live, ..Depth::default() }).await;
        report.findings.into_iter().map(|finding| (finding.code, finding.path)).collect::<Vec<_>>()
    };
    assert_eq!(found().await, []);
    house.clock.advance(Duration::from_secs(60));
    house.vault.put(&object("secret/a"));
    house.vault.put(&object("secret/new"));
    house.vault.delete(&object("secret/b"));
    let place = |name: &str| format!("vaults/prod.vault.azure.net/captures/secret/{name}");
    let expected = |code| vec![(code, place("a")), (code, place("new")), (Code::LiveGone, place("b"))];
    assert_eq!(found().await, expected(Code::LiveAhead));
    house.clock.advance(Duration::from_secs(26 * 3600));
    assert_eq!(found().await, expected(Code::LiveAhead), "just within the objective");
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(found().await, expected(Code::LiveOverdue));
    house.snapshot().await.unwrap();
    assert_eq!(found().await, []);
}

#[tokio::test]
async fn the_newest_complete_snapshot_may_be_too_old() {
    let house = house().await;
    let stale = async || {
        let standard = Standard { max_age: Some(TimeDelta::hours(26)), ..house.standard() };
        let report = verify(&house.store, &standard).await.unwrap();
        report.findings.into_iter().filter(|finding| finding.code == Code::SnapshotStale).count()
    };
    let started = newest(&house).await.header.started;
    let age = house.ambient.now() - started;
    house.clock.advance((TimeDelta::hours(26) - age).to_std().unwrap());
    assert_eq!(stale().await, 0);
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(stale().await, 1);
    let gap = || Some(Gap { code: "denied".into(), detail: "no".into() });
    house.commit(|manifest| manifest.lines[0] = Line { capture: None, gap: gap(), ..manifest.lines[0].clone() }).await;
    assert_eq!(stale().await, 1, "a partial snapshot is none that counts");
    house.snapshot().await.unwrap();
    assert_eq!(stale().await, 0);
}

#[tokio::test]
async fn a_snapshot_that_is_dated_ahead_is_not_fresh_until_its_time_has_come() {
    let house = house().await;
    let started = newest(&house).await.header.started;
    for (ahead, expected) in [(0, 0), (300, 0), (301, 1), (400 * 86_400, 1)] {
        let now = started - TimeDelta::seconds(ahead);
        let standard = Standard { max_age: Some(TimeDelta::hours(26)), now, ..house.standard() };
        let findings = verify(&house.store, &standard).await.unwrap().findings;
        let stale = findings.iter().filter(|finding| finding.code == Code::SnapshotStale);
        assert_eq!(stale.clone().count(), expected, "{ahead}");
        assert!(stale.clone().all(|finding| finding.detail.contains("in the future")), "{findings:?}");
    }
}

/// The report of a run, written and read back.
fn passed_on(report: &Report) -> Record {
    let signer = Signer::from_seed("akv-archiver/verified", &[5; 32]).unwrap();
    let bytes = report.record.as_ref().unwrap().sign(&signer).unwrap();
    Record::open(&bytes, &[signer.verifier()]).unwrap()
}

#[tokio::test]
async fn what_an_earlier_report_covers_is_not_read_again() {
    let house = house().await;
    let first = inspected(&house, &reading()).await;
    let record = passed_on(&first);
    assert_eq!(Some(&record), first.record.as_ref());
    let second = inspected(&house, &again(&record)).await;
    assert_eq!((second.checked.read, second.checked.skipped), (0, 4));
    assert_eq!(
        second.record.as_ref().unwrap().covers[0].since,
        record.covers[0].since,
        "it is as old as what it relies on"
    );

    house.vault.put(&object("secret/a"));
    house.snapshot().await.unwrap();
    let third = inspected(&house, &again(&passed_on(&second))).await;
    assert_eq!((third.checked.read, third.checked.skipped), (1, 4), "what came since is read");
    let open = |sealed: &[u8]| house.identities.open(sealed);
    let fourth = inspected(&house, &Depth { open: Some(&open), ..again(&passed_on(&third)) }).await;
    assert_eq!((fourth.checked.read, fourth.checked.skipped), (5, 0), "what was not opened is");

    // What the listing shows another digest of is told at once; what is not locked any more is read again.
    house.store.corrupt(&one(&house, "/captures/key/", 0).await, "x");
    let fifth = inspected(&house, &again(&record)).await;
    assert!(fifth.counts.contains_key(&Code::CaptureMismatch));
    house.clock.advance(Duration::from_secs(366 * 86_400));
    assert_eq!(inspected(&house, &again(&record)).await.checked.skipped, 0);
}

#[tokio::test]
async fn parts_add_up_over_reports() {
    let house = House::new(&["key/k", "secret/a", "secret/b", "secret/c"]).await;
    house.snapshot().await.unwrap();
    let mut record = None;
    for part in 1..=3 {
        let read = Some(Subset::try_from(format!("{part}/3")).unwrap());
        let depth = Depth { read, since: record.as_ref(), ..Depth::default() };
        record = Some(passed_on(&inspected(&house, &depth).await));
    }
    let record = record.unwrap();
    assert_eq!(record.covers.len(), 3);
    let all = inspected(&house, &Depth { since: Some(&record), ..reading() }).await;
    assert_eq!((all.checked.read, all.checked.skipped), (0, all.checked.captures));
    assert_eq!(all.record.unwrap().covers.len(), 1, "one cover of all replaces those of the parts");
}

#[tokio::test]
async fn log_rollback() {
    let house = house().await;
    let record = inspected(&house, &reading()).await.record.unwrap();
    house.store.lose(&log(2));
    assert!(!codes(&house).await.iter().any(|code| code.severity() > Severity::Note), "alone it cannot be seen");
    let report = inspected(&house, &Depth { since: Some(&record), ..reading() }).await;
    assert_eq!((report.findings[0].code, report.status), (Code::LogRollback, Status::Tampered));
    assert_eq!(report.checked.skipped, 0, "nothing of the report is relied on");
    let left = report.record.unwrap();
    assert_eq!((left.heads.len(), left.covers.len()), (0, 0));

    // All of the vault's files.
    let house = self::house().await;
    for path in house.files("vaults/").await {
        house.store.lose(&path);
    }
    let report = inspected(&house, &Depth { since: Some(&record), ..Depth::default() }).await;
    assert_eq!(codes_in(&report), [Code::LogRollback, Code::NoSnapshot]);
}

#[tokio::test]
async fn log_fork() {
    let house = house().await;
    let record = inspected(&house, &reading()).await.record.unwrap();
    // The signer itself writes another second entry.
    let first = LogFile::parse(&bytes(&house, &log(1)).await).unwrap();
    let forged = LogFile::build(first.successor(house.ambient.now(), unknown()).unwrap(), &house.signer).unwrap();
    house.store.corrupt(&log(2), forged.bytes());
    assert!(!codes(&house).await.iter().any(|code| code.severity() > Severity::Note), "alone it cannot be seen");
    let report = inspected(&house, &Depth { since: Some(&record), ..reading() }).await;
    assert_eq!((report.findings[0].code, report.status), (Code::LogFork, Status::Tampered));
    assert_eq!(report.checked.skipped, 0);
}

#[tokio::test]
async fn a_report_that_does_not_hold_is_refused() {
    let house = house().await;
    let record = inspected(&house, &reading()).await.record.unwrap();
    let signer = Signer::from_seed("akv-archiver/verified", &[5; 32]).unwrap();
    let (known, signed) = ([signer.verifier()], record.sign(&signer).unwrap());
    assert_eq!(Record::open(&signed, &known).unwrap(), record);
    for at in (0..signed.len()).step_by(7) {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        // The name in a signature line is bound by the key's id; every other byte is signed.
        assert!(Record::open(&changed, &known).is_err(), "byte {at}");
        assert!(Record::open(&signed[..at], &known).is_err(), "cut at {at}");
    }
    assert!(Record::open(&signed, &house.verifiers).is_err(), "the log's signer is not believed");
    let other = Record { archive_id: uuid::Uuid::from_u128(9), ..record };
    let swapped = [&other.sign(&signer).unwrap()[..], b""].concat();
    let other = Record::open(&swapped, &known).unwrap();
    let depth = Depth { since: Some(&other), ..Depth::default() };
    let error = inspect(&house.store, &house.standard(), &depth, &Silent).await.unwrap_err();
    assert!(error.kind() == Kind::Usage && error.message().contains("is of archive"), "{error}");
}

#[tokio::test]
async fn only_a_report_remembers_when_an_archive_was_born() {
    let house = house().await;
    let record = inspected(&house, &reading()).await.record.unwrap();
    let whole = String::from_utf8(bytes(&house, "archive.json").await).unwrap();
    house.store.corrupt("archive.json", whole.replace("created\":\"20", "created\":\"19"));
    assert_eq!(inspected(&house, &reading()).await.findings, []);
    let found = inspected(&house, &Depth { since: Some(&record), ..Depth::default() }).await.findings;
    assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::ArchiveChanged]);
}
