//! Long runs: commits half-way, lists that are read no further than needed, a vault that stops answering.

use super::*;

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
