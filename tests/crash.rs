//! The crash matrix: a snapshot and a restore are cut off at each of their requests, to the vault and to the store, in every
//! way that a request can fail. `verify` is the judge; then the job runs again and completes, and what the archive claims
//! opens and is restored.

use std::sync::Arc;
use std::time::Duration;

use akv_archiver::archive::Reader;
use akv_archiver::error::{Error, Kind};
use akv_archiver::format::capture::unpack;
use akv_archiver::format::entry::{Became, Event};
use akv_archiver::format::manifest::Status;
use akv_archiver::jobs::restore::read_ledger;
use akv_archiver::jobs::snapshot::{Outcome, Rhythm};
use akv_archiver::model::{Kind as ObjectKind, Object};
use akv_archiver::restore::{Action, Plan};
use akv_archiver::store::memory::Memory as Store;
use akv_archiver::vault::Read as _;
use akv_archiver::verify::{Code, Severity};

use crate::support::faulty::{After, Course, Fault, Faulty, FaultyVault, Plan as Cut};
use crate::support::house::{House, house, object};

const OBJECTS: [&str; 4] = ["key/tde", "secret/a", "secret/b", "certificate/tls"];

/// In how many ways each request of a snapshot fails.
const WAYS: u64 = 6;

/// The ways in which request `at` can fail.
fn cuts(at: u64) -> impl Iterator<Item = Cut> {
    Fault::ALL.into_iter().flat_map(move |fault| After::ALL.map(|after| Cut { at, fault, after }))
}

/// No damage: nothing but notes, and that there is no snapshot yet or the newest is not whole.
async fn judge(house: &House, store: &Store, cut: &str) {
    let findings = house.verify(store).await;
    let allowed = [Code::NoSnapshot, Code::CoverageGap];
    let harmless = findings.iter().all(|f| f.severity == Severity::Note || allowed.contains(&f.code));
    assert!(harmless, "{cut}: {findings:#?}");
}

/// Opens everything that the newest complete snapshot claims to have; how much that is.
async fn claims(house: &House, store: &Store, cut: &str) -> usize {
    let reader = Reader::open(store, &house.verifiers).await.unwrap();
    let entries = reader.entries(house.vault.uri()).await.unwrap();
    assert_eq!(entries.damaged, [] as [u64; 0], "{cut}");
    let mut snapshots = entries.verified.iter().filter_map(|entry| match &entry.event {
        Event::Snapshot(snapshot) if snapshot.status == Status::Complete => Some(snapshot),
        _ => None,
    });
    let Some(snapshot) = snapshots.next_back() else { return 0 };
    let manifest = reader.manifest(snapshot).await.unwrap();
    let mut opened = 0;
    for line in &manifest.lines {
        let Some(reference) = &line.capture else { continue };
        let sealed = reader.sealed(reference).await.unwrap();
        let capture = unpack(&house.identities.open(&sealed).unwrap()).unwrap();
        assert_eq!(capture.metadata.object, line.object(), "{cut}");
        opened += 1;
    }
    opened
}

/// Takes everything out of the vault for good.
fn wipe(house: &House, objects: &[&str]) {
    for text in objects {
        house.vault.delete(&object(text));
        let name = object(text).name;
        let parts = ObjectKind::ALL.map(|kind| Object::new(kind, name.clone()));
        let whole = object(text).kind == ObjectKind::Certificate;
        parts.iter().filter(|part| whole || **part == object(text)).for_each(|part| house.vault.purge(part));
    }
}

/// What is asked of a snapshot that was cut off.
#[derive(Clone, Copy)]
struct Job {
    name: &'static str,
    earlier: bool,
    half_way: bool,
}

impl Job {
    /// The house before the run that is cut off.
    async fn before(self) -> (House, Store) {
        let (mut house, store) = house(&OBJECTS).await;
        if self.half_way {
            house.order.rhythm = Rhythm { captures: 2, every: Duration::from_secs(3600) };
        }
        if self.earlier {
            house.snapshot(&store).await.unwrap();
            house.vault.put(&object("secret/a"));
            house.vault.put(&object("secret/new"));
            house.vault.delete(&object("secret/b"));
        }
        (house, store)
    }

    async fn is_cut_off_at_any_request(self) {
        let (house, store) = self.before().await;
        let course = Course::new(None);
        let run = snapshot(&house, &store, &course).await.unwrap();
        assert_eq!(run.unwrap(), Outcome::Complete);
        let (requests, mut points) = (course.requests(), 0);
        for cut in (0..requests).flat_map(cuts) {
            points += 1;
            self.is_cut_off_at(cut).await;
        }
        eprintln!("{}: {requests} requests, {points} points", self.name);
        assert_eq!(points, requests * WAYS);
    }

    async fn is_cut_off_at(self, cut: Cut) {
        let what = format!("{}: {cut:?}", self.name);
        let (house, store) = self.before().await;
        let course = Course::new(Some(cut));
        match snapshot(&house, &store, &course).await {
            None => assert_eq!(cut.after, After::Silence, "{what}"),
            // What cannot be read of one object, or of the settings, is a gap.
            Some(Ok(_)) => assert_eq!(cut.after, After::Well, "{what}"),
            Some(Err(error)) => assert_eq!(error.kind(), Kind::Unavailable, "{what}: {error}"),
        }
        assert!(course.requests() > cut.at, "{what}: it never came to that");
        judge(&house, &store, &what).await;
        let claimed = claims(&house, &store, &what).await;
        assert!(!self.earlier || claimed >= OBJECTS.len() - 1, "{what}: what was committed is lost");
        assert_eq!(house.snapshot(&store).await.unwrap(), Outcome::Complete, "{what}");
        house.judge(&store, &what).await;
        let live: &[&str] =
            if self.earlier { &["key/tde", "secret/a", "secret/new", "certificate/tls"] } else { &OBJECTS };
        wipe(&house, live);
        let plan = house.plan(&store, live).await.unwrap();
        assert_eq!(house.apply(&store, &plan).await.unwrap(), "done", "{what}");
    }
}

/// A snapshot through doors on a course; `None` where it was killed.
async fn snapshot(house: &House, store: &Store, course: &Arc<Course>) -> Option<Result<Outcome, Error>> {
    let (vault, store) = (FaultyVault::new(&house.vault, course), Faulty::new(store, course));
    course.run(house.snapshot_through(&vault, &store)).await
}

#[tokio::test]
async fn a_first_snapshot_is_cut_off_at_any_request() {
    Job { name: "first snapshot", earlier: false, half_way: false }.is_cut_off_at_any_request().await;
}

#[tokio::test]
async fn a_later_snapshot_is_cut_off_at_any_request() {
    Job { name: "later snapshot", earlier: true, half_way: false }.is_cut_off_at_any_request().await;
}

#[tokio::test]
async fn a_snapshot_that_commits_half_way_is_cut_off_at_any_request() {
    Job { name: "snapshot with a commit half-way", earlier: false, half_way: true }.is_cut_off_at_any_request().await;
}

const LOST: [&str; 5] = ["certificate/tls", "key/gone", "key/held", "key/soft", "secret/s"];

/// A vault after an accident: one of each, an HSM key among them, and a name that another object holds. And the plan.
async fn accident() -> (House, Store, Plan) {
    let (house, store) = house(&LOST).await;
    house.vault.change(&object("key/gone"), |version| version.key_type = "RSA-HSM".to_owned());
    house.snapshot(&store).await.unwrap();
    wipe(&house, &["certificate/tls", "key/gone", "key/held", "secret/s"]);
    house.vault.delete(&object("key/soft"));
    house.vault.put(&object("key/held"));
    house.vault.delete(&object("key/held"));
    // What is resumed purges nothing that may have been deleted after it began, by whoever's clock.
    house.clock.advance(Duration::from_secs(2 * 3600));
    house.vault.set_limbo(Duration::from_secs(30));
    let plan = planned(&house, &store).await;
    assert_eq!(plan.changes().count(), LOST.len(), "{plan:#?}");
    (house, store, plan)
}

/// A plan for everything, in which what holds a captured object's name is purged.
async fn planned(house: &House, store: &Store) -> Plan {
    let mut plan = house.plan(store, &LOST).await.unwrap();
    plan.allowed.purge = true;
    let held = object("key/held");
    for step in plan.steps.iter_mut().filter(|step| step.object == held && step.slot.state == "deleted") {
        (step.action, step.refusal) = (Action::PurgeAndRestore, None);
    }
    plan
}

/// Carries a plan out through doors on a course, or resumes what is open; `None` where it was killed.
async fn restore(house: &House, store: &Store, plan: Option<&Plan>, course: &Arc<Course>) -> Option<Result<(), Error>> {
    let (vault, store) = (FaultyVault::new(&house.vault, course), Faulty::new(store, course));
    course
        .run(async {
            match plan {
                Some(plan) => house.apply_through(&vault, &store, plan).await.map(drop),
                None => house.resume_through(&vault, &store).await.map(drop),
            }
        })
        .await
}

/// Whatever a cut left: finishes it, and holds the vault, the log and the ledger to what must be so.
async fn finish(house: &House, store: &Store, cut: &str) {
    house.judge(store, cut).await;
    house.clock.advance(Duration::from_secs(60));
    house.resume(store).await.unwrap_or_else(|error| panic!("{cut}: {error}"));
    let again = planned(house, store).await;
    assert!(!again.refused(), "{cut}: {again:#?}");
    if again.changes().count() > 0 {
        assert_eq!(house.apply(store, &again).await.unwrap(), "done", "{cut}");
    }
    let last = if again.changes().count() > 0 { house.plan(store, &LOST).await.unwrap() } else { again };
    assert!(last.steps.iter().all(|step| step.action == Action::Nothing), "{cut}: {last:#?}");
    house.judge(store, cut).await;
    let reader = Reader::open(store, &house.verifiers).await.unwrap();
    let entries = reader.entries(house.vault.uri()).await.unwrap().verified;
    let (mut open, mut done) = (Vec::new(), Vec::new());
    for entry in &entries {
        match &entry.event {
            Event::RestoreIntent(_) => open.push(entry.sequence),
            Event::RestoreResult(result) => {
                assert_eq!(open.pop(), Some(result.intent), "{cut}: one result for each intent");
                done.extend(result.outcomes.iter().filter(|one| one.result == Became::Done).map(|one| &one.object));
            }
            _ => {}
        }
    }
    assert_eq!(open, [] as [u64; 0], "{cut}");
    assert!(LOST.iter().all(|text| done.contains(&&object(text))), "{cut}: {done:?}");
    let ledger = read_ledger(&reader, house.vault.uri(), true).await.unwrap();
    let spent = |text: &str| ledger.spent(house.vault.uri(), &object(text)).is_some();
    assert!(spent("key/gone") && !spent("key/held"), "{cut}");
}

#[tokio::test]
async fn a_restore_is_cut_off_at_any_request() {
    let (house, store, plan) = accident().await;
    let course = Course::new(None);
    restore(&house, &store, Some(&plan), &course).await.unwrap().unwrap();
    finish(&house, &store, "undisturbed").await;
    let cuts = course.cuts();
    println!("restore: {} requests, {} points", course.requests(), cuts.len());
    for cut in cuts {
        let (house, store, plan) = accident().await;
        let course = Course::new(Some(cut));
        let ended = restore(&house, &store, Some(&plan), &course).await;
        assert_eq!(ended.is_none(), cut.after == After::Silence, "{cut:?}");
        assert!(course.requests() > cut.at, "{cut:?}: it never came to that");
        finish(&house, &store, &format!("{cut:?}")).await;
    }
}

#[tokio::test]
async fn a_restore_that_is_resumed_is_cut_off_at_any_request() {
    /// A restore that died at a request; whether its intent was in the log.
    async fn died(at: u64) -> (House, Store, bool) {
        let (house, store, plan) = accident().await;
        let cut = Cut { at, fault: Fault::Landed, after: After::Dead };
        restore(&house, &store, Some(&plan), &Course::new(Some(cut))).await.unwrap().unwrap_err();
        let reader = Reader::open(&store, &house.verifiers).await.unwrap();
        let begun = reader.entries(house.vault.uri()).await.unwrap().verified.len() > 1;
        drop(reader);
        house.clock.advance(Duration::from_secs(60));
        (house, store, begun)
    }
    let mut intent = 0;
    let (house, store) = loop {
        match died(intent).await {
            (house, store, true) => break (house, store),
            _ => intent += 1,
        }
    };
    let course = Course::new(None);
    restore(&house, &store, None, &course).await.unwrap().unwrap();
    finish(&house, &store, "undisturbed").await;
    let cuts = course.cuts();
    println!("restore that is resumed: {} requests, {} points", course.requests(), cuts.len());
    for cut in cuts {
        let (house, store, _) = died(intent).await;
        let course = Course::new(Some(cut));
        let ended = restore(&house, &store, None, &course).await;
        assert_eq!(ended.is_none(), cut.after == After::Silence, "{cut:?}");
        assert!(course.requests() > cut.at, "{cut:?}: it never came to that");
        finish(&house, &store, &format!("{cut:?}")).await;
    }
}
