//! Snapshots against a vault and a store in memory.

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

/// A clock on which nobody's patience ends.
#[derive(Debug)]
struct Patient(Arc<ManualClock>);

#[async_trait::async_trait]
impl Clock for Patient {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }
    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

async fn patient(objects: &[&str]) -> Arc<House> {
    let house = House::new(objects).await;
    let ambient = Ambient::new(Arc::new(Patient(house.clock.clone())), Arc::new(SeededRandom::new(7)));
    Arc::new(House { ambient, ..house })
}

/// Asks the run to stop after so many backups.
fn stop_after(house: &Arc<House>, backups: u32, why: Halt) {
    let (inside, done) = (Arc::downgrade(house), AtomicU32::new(0));
    house.vault.interfere(move |_, moment, call| {
        if let (Moment::After, Call::Backup(_), Some(house)) = (moment, call, inside.upgrade())
            && done.fetch_add(1, Ordering::SeqCst) + 1 == backups
        {
            house.stop.ask(why);
        }
        Ok(())
    });
}

#[tokio::test]
async fn a_run_that_is_stopped_commits_what_it_has_and_the_next_one_takes_the_rest() {
    for why in [Halt::Signal, Halt::Deadline] {
        let house = patient(OBJECTS).await;
        stop_after(&house, 1, why);
        let report = house.snapshot().await.unwrap();
        let [seen, captured, reused, _] = counts(&report);
        assert_eq!((captured, reused, report.status, report.interrupted), (1, 0, Outcome::Partial, true));
        assert!((1..=4).contains(&seen), "what was not listed yet is not known to be there");
        assert!(codes(&report).iter().all(|code| *code == "interrupted"));
        let mut house = Arc::into_inner(house).unwrap();
        house.vault.leave_alone();
        house.stop = Stop::new();
        assert_eq!(counts(&house.snapshot().await.unwrap()), [4, 3, 1, 0]);
        assert_eq!(house.verify().await.findings, []);
    }
}

#[tokio::test]
async fn a_run_that_is_stopped_keeps_what_the_archive_has_of_the_objects_it_did_not_come_to() {
    let house = patient(OBJECTS).await;
    house.snapshot().await.unwrap();
    ["key/k", "secret/a", "secret/b", "certificate/tls"].iter().for_each(|text| drop(house.vault.put(&object(text))));
    stop_after(&house, 1, Halt::Deadline);
    let report = house.snapshot().await.unwrap();
    assert_eq!((counts(&report), report.status), ([4, 1, 0, 3], Outcome::Partial));
    let waiting: Vec<Line> = manifest(&house).await.lines.into_iter().filter(|line| line.gap.is_some()).collect();
    assert_eq!(waiting.len(), 3);
    assert!(waiting.iter().all(|line| line.capture.as_ref().is_some_and(|capture| capture.reused)), "{waiting:?}");
    assert_eq!(house.verify().await.findings.iter().map(|f| f.code).collect::<Vec<_>>(), [Code::CoverageGap]);
}

/// A vault in which the backup of one object never comes to an end.
struct Stalled<'a>(&'a House);

#[async_trait::async_trait]
impl crate::vault::Read for Stalled<'_> {
    fn uri(&self) -> &crate::model::VaultUri {
        self.0.vault.uri()
    }
    fn list(&self, what: Listing) -> BoxStream<'_, Result<crate::vault::Page, crate::vault::Error>> {
        self.0.vault.list(what)
    }
    async fn get(&self, what: crate::vault::Item) -> Result<crate::vault::Answer, crate::vault::Error> {
        self.0.vault.get(what).await
    }
    async fn backup(&self, object: &Object) -> Result<crate::vault::Backup, crate::vault::Error> {
        match object.name.as_str() {
            "stalls" => {
                self.0.stop.ask(Halt::Signal);
                std::future::pending().await
            }
            _ => self.0.vault.backup(object).await,
        }
    }
    fn traffic(&self) -> crate::vault::Traffic {
        self.0.vault.traffic()
    }
}

#[tokio::test]
async fn what_stalls_does_not_hold_a_run_that_was_asked_to_stop() {
    let mut house = House::new(&["secret/a", "secret/b", "secret/stalls"]).await;
    house.order.in_flight = 1;
    let report = house.snapshot_with(&Stalled(&house), &house.store).await.unwrap();
    assert_eq!((counts(&report), codes(&report)), ([3, 2, 0, 1], vec!["interrupted"]));
}

/// A store that is asked for what is in it and never answers.
struct Hanging<'a>(&'a Memory);

#[async_trait::async_trait]
impl Read for Hanging<'_> {
    fn describe(&self) -> String {
        self.0.describe()
    }
    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, store::Error> {
        self.0.get(path, version, limit).await
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, store::Error>> {
        match prefix.contains("/captures") {
            true => stream::pending().boxed(),
            false => self.0.list(prefix),
        }
    }
    async fn guard(&self) -> Result<Guard, store::Error> {
        self.0.guard().await
    }
}

#[async_trait::async_trait]
impl Append for Hanging<'_> {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, store::Error> {
        self.0.create(path, bytes).await
    }
}

#[tokio::test]
async fn a_store_that_hangs_does_not_hold_a_run_that_was_asked_to_stop() {
    let house = patient(OBJECTS).await;
    let store = Hanging(&house.store);
    let doors = Doors {
        vault: &house.vault,
        facts: None,
        store: &store,
        reader: &house.reader().await,
        recipients: &house.recipients,
        signer: &house.signer,
        ambient: &house.ambient,
        progress: &crate::progress::Silent,
        stop: &house.stop,
    };
    let mut run = begin(&doors, &house.order).await.unwrap();
    stop_after(&house, 1, Halt::Deadline);
    run.all().await.unwrap();
    assert!(run.halted.is_some() && run.gained > 0);
    let error = finish(&mut run, Duration::ZERO).await.unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.message().contains("could not be committed"), "{error}");
}

#[tokio::test]
async fn a_run_that_is_stopped_before_it_took_anything_leaves_the_archive_as_it_is() {
    let house = House::new(OBJECTS).await;
    house.snapshot().await.unwrap();
    house.stop.ask(Halt::Signal);
    let report = house.snapshot().await.unwrap();
    assert_eq!((report.status, report.interrupted, report.sequence), (Outcome::Skipped, true, None));
    assert_eq!(house.files("/log/").await.len(), 1);
}

#[tokio::test]
async fn comparing_versions_goes_on_where_a_stopped_run_left_off() {
    let house = House::new(&["secret/a", "secret/b", "secret/c"]).await;
    house.snapshot().await.unwrap();
    house.clock.advance(Duration::from_secs(7 * 86_400));
    let house = {
        let house = Arc::new(house);
        let inside = Arc::downgrade(&house);
        house.vault.interfere(move |_, moment, call| {
            if let (Moment::After, Call::List(Listing::Versions(_)), Some(house)) = (moment, call, inside.upgrade()) {
                house.stop.ask(Halt::Deadline);
            }
            Ok(())
        });
        assert_eq!(counts(&house.snapshot().await.unwrap()), [3, 0, 1, 2]);
        house.vault.leave_alone();
        Arc::into_inner(house).unwrap()
    };
    let compared = |manifest: Manifest| manifest.lines.iter().filter(|line| line.compared_at.is_some()).count();
    assert_eq!(compared(manifest(&house).await), 1);
    let mut house = House { stop: Stop::new(), ..house };
    let before = crate::vault::Read::traffic(&house.vault).requests;
    assert_eq!(counts(&house.snapshot().await.unwrap()), [3, 0, 3, 0]);
    assert_eq!(
        crate::vault::Read::traffic(&house.vault).requests - before,
        8 + 2,
        "the lists, the settings, and two objects' versions"
    );
    assert_eq!(compared(manifest(&house).await), 3);
    house.order.effort = Effort::Take;
    assert_eq!(counts(&house.snapshot().await.unwrap()), [3, 3, 0, 0], "all of it, changed or not");
}

#[tokio::test]
async fn a_long_run_commits_half_way_and_what_it_committed_is_not_taken_twice() {
    let names: Vec<String> = (0..7).map(|n| format!("secret/s{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut house = House::new(&names).await;
    house.order.rhythm = Rhythm { captures: 3, every: HOUR };
    house.vault.interfere(|_, moment, call| match (moment, call) {
        (Moment::Before, Call::Backup(object)) if object.name.as_str() == "s6" => Err(refuse(VaultCondition::Denied)),
        _ => Ok(()),
    });
    let report = house.snapshot().await.unwrap();
    assert_eq!((counts(&report), report.sequence), ([7, 6, 0, 1], Some(3)), "after three, after six, and at the end");
    let entries = house.reader().await.entries(crate::vault::Read::uri(&house.vault)).await.unwrap().verified;
    let statuses: Vec<(u64, Status)> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            crate::format::entry::Event::Snapshot(snapshot) => Some((snapshot.counts.captured, snapshot.status)),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [(3, Status::Partial), (6, Status::Partial), (6, Status::Partial)]);
    house.vault.leave_alone();
    assert_eq!(counts(&house.snapshot().await.unwrap()), [7, 1, 6, 0]);
    assert_eq!(house.verify().await.findings, []);
}

#[tokio::test]
async fn lists_that_are_read_no_further_than_needed_come_to_their_end_too() {
    let names: Vec<String> = (0..9).flat_map(|n| [format!("secret/s{n}"), format!("key/k{n}")]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (in_flight, captures) in [(1, 1_000), (1, 2), (4, 3), (64, 1)] {
        let mut house = House::new(&names).await;
        (house.order.ahead, house.order.in_flight) = (1, in_flight);
        house.order.rhythm = Rhythm { captures, every: HOUR };
        assert_eq!(counts(&house.snapshot().await.unwrap()), [18, 18, 0, 0]);
        assert_eq!(house.verify().await.findings, []);
    }
}

/// A vault whose lists of deleted objects are empty, and answer when the first object is done.
struct Late<'a>(&'a House, tokio::sync::Semaphore);

#[async_trait::async_trait]
impl crate::vault::Read for Late<'_> {
    fn uri(&self) -> &crate::model::VaultUri {
        self.0.vault.uri()
    }
    fn list(&self, what: Listing) -> BoxStream<'_, Result<crate::vault::Page, crate::vault::Error>> {
        if !matches!(what, Listing::Deleted(_)) {
            return self.0.vault.list(what);
        }
        stream::once(async {
            drop(self.1.acquire().await.unwrap());
            Ok(crate::vault::Page { items: Vec::new(), exchange: crate::vault::Exchange::default() })
        })
        .boxed()
    }
    async fn get(&self, what: crate::vault::Item) -> Result<crate::vault::Answer, crate::vault::Error> {
        self.0.vault.get(what).await
    }
    async fn backup(&self, object: &Object) -> Result<crate::vault::Backup, crate::vault::Error> {
        self.0.vault.backup(object).await
    }
    fn traffic(&self) -> crate::vault::Traffic {
        self.0.vault.traffic()
    }
}

impl crate::progress::Progress for Late<'_> {
    fn stage(&self, _: &str, _: Option<u64>) {}
    fn expect(&self, _: u64) {}
    fn step(&self) {
        self.1.add_permits(1);
    }
    fn note(&self, _: &str) {}
}

#[tokio::test]
async fn a_page_without_items_does_not_keep_a_commit_waiting_for_ever() {
    for in_flight in [1, 2, 4] {
        let mut house = House::new(&["secret/a", "secret/b", "secret/c", "secret/d", "secret/e"]).await;
        (house.order.rhythm, house.order.in_flight) = (Rhythm { captures: 1, every: HOUR }, in_flight);
        let late = Late(&house, tokio::sync::Semaphore::new(0));
        let run = house.snapshot_heard(&late, &house.store, &late);
        // Nothing here takes time: whatever is not over by then never will be.
        let report = tokio::time::timeout(Duration::from_secs(60), run).await.expect("the run hangs").unwrap();
        assert_eq!(counts(&report), [5, 5, 0, 0]);
        assert_eq!(house.verify().await.findings, []);
    }
}

/// A house of many secrets, four of which are taken at a time.
async fn many(count: usize) -> House {
    let names: Vec<String> = (0..count).map(|n| format!("secret/s{n:03}")).collect();
    let mut house = House::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    house.order.in_flight = 4;
    house
}

/// Why the backup of an object fails, if it does.
type Ails = Box<dyn Fn(&Object) -> Option<VaultCondition> + Send + Sync>;

/// A vault in which the backups of some objects are given up after minutes, as [`crate::azure`] does.
struct Ailing<'a> {
    house: &'a House,
    ails: Ails,
    asked: AtomicU32,
}

impl<'a> Ailing<'a> {
    fn new(house: &'a House, ails: impl Fn(&Object) -> Option<VaultCondition> + Send + Sync + 'static) -> Self {
        Ailing { house, ails: Box::new(ails), asked: AtomicU32::new(0) }
    }
}

#[async_trait::async_trait]
impl crate::vault::Read for Ailing<'_> {
    fn uri(&self) -> &crate::model::VaultUri {
        self.house.vault.uri()
    }
    fn list(&self, what: Listing) -> BoxStream<'_, Result<crate::vault::Page, crate::vault::Error>> {
        self.house.vault.list(what)
    }
    async fn get(&self, what: crate::vault::Item) -> Result<crate::vault::Answer, crate::vault::Error> {
        self.house.vault.get(what).await
    }
    async fn backup(&self, object: &Object) -> Result<crate::vault::Backup, crate::vault::Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let Some(condition) = (self.ails)(object) else { return self.house.vault.backup(object).await };
        // Meanwhile others, and the lists, go on.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        self.house.clock.advance(Duration::from_secs(180));
        Err(refuse(condition))
    }
    fn traffic(&self) -> crate::vault::Traffic {
        self.house.vault.traffic()
    }
}

#[tokio::test]
async fn a_vault_that_stops_answering_is_not_asked_for_every_object_and_what_was_done_is_committed() {
    for condition in [VaultCondition::Unavailable, VaultCondition::Throttled, VaultCondition::Unresolved] {
        let house = many(500).await;
        let answers = AtomicU32::new(20);
        let fewer = move |left: u32| left.checked_sub(1);
        let silent = move |_: &Object| {
            answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_err().then_some(condition)
        };
        let vault = Ailing::new(&house, silent);
        let report = house.snapshot_with(&vault, &house.store).await.unwrap();
        let asked = vault.asked.load(Ordering::SeqCst);
        assert!(asked < 60, "{asked} backups were asked for");
        assert_eq!((counts(&report), report.status), ([500, 20, 0, 480], Outcome::Partial));
        let tried = report.gaps.iter().filter(|gap| gap.code == condition.name()).count();
        let left = report.gaps.iter().filter(|gap| gap.code == "given-up").count();
        assert_eq!((tried, left), (asked as usize - 20, 500 - asked as usize));
        assert!(!report.interrupted && report.warnings.iter().any(|text| text.contains("stopped answering")));
        assert_eq!(counts(&house.snapshot().await.unwrap()), [500, 480, 20, 0]);
        assert_eq!(house.verify().await.findings, []);
    }
}

#[tokio::test]
async fn what_a_silent_vault_kept_back_keeps_its_earlier_capture() {
    let house = many(30).await;
    house.snapshot().await.unwrap();
    (0..30).for_each(|n| drop(house.vault.put(&object(&format!("secret/s{n:03}")))));
    let vault = Ailing::new(&house, |_| Some(VaultCondition::Unavailable));
    let report = house.snapshot_with(&vault, &house.store).await.unwrap();
    assert!(codes(&report).contains(&"given-up"), "{report:?}");
    let lines = manifest(&house).await.lines;
    assert!(lines.iter().all(|line| line.gap.is_some() && line.capture.as_ref().is_some_and(|it| it.reused)));
}

#[tokio::test]
async fn objects_that_ail_side_by_side_are_not_taken_for_a_vault_that_is_silent() {
    // Sixteen neighbours, and one in three of all others: whatever else is asked for is answered.
    let ails = |number: u32| (4..20).contains(&number) || number.is_multiple_of(3);
    let house = many(90).await;
    let vault = Ailing::new(&house, move |object| {
        let number: u32 = object.name.as_str()[1..].parse().unwrap();
        ails(number).then_some(VaultCondition::Unavailable)
    });
    let report = house.snapshot_with(&vault, &house.store).await.unwrap();
    let ailing = (0..90).filter(|number| ails(*number)).count() as u64;
    assert_eq!(counts(&report), [90, 90 - ailing, 0, ailing]);
    assert!(codes(&report).iter().all(|code| *code == "unavailable"), "{report:?}");
}

#[tokio::test]
async fn time_is_a_reason_to_commit_too() {
    let mut house = House::new(OBJECTS).await;
    house.order.rhythm = Rhythm { captures: 1_000, every: Duration::from_secs(300) };
    let clock = house.clock.clone();
    house.vault.interfere(move |_, moment, call| {
        if let (Moment::After, Call::Backup(_)) = (moment, call) {
            clock.advance(Duration::from_secs(200));
        }
        Ok(())
    });
    assert_eq!(house.snapshot().await.unwrap().sequence, Some(2), "once after two objects, once at the end");
    assert_eq!(house.verify().await.findings, []);
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
    for part in ["/captures/", "/manifests/"] {
        for (what, lie, kind) in lies {
            let house = House::new(&["key/k"]).await;
            let error = house.snapshot_into(&Liar(&house.store, part, lie)).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{what} in {part}: {error}");
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
