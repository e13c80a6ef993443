//! Runs that are asked to stop, whatever they wait for, and the runs after them.

use super::*;

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
