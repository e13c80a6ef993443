//! Files that are not protected as they should be.

use super::*;

/// A house whose store was guarded so when the snapshot was taken.
async fn guarded(guard: Guard) -> House {
    let clock = clock();
    let store = Memory::new(clock.clone());
    store.set_guard(guard);
    let mut house = House::with(&["key/k"], clock, store).await;
    house.order.worm = crate::jobs::protection::Demand::Optional;
    house.snapshot().await.unwrap();
    house.order.worm = crate::jobs::protection::Demand::Required;
    house
}

#[tokio::test]
async fn unprotected_and_unlocked_and_unknown() {
    let level = |worm, lock| Guard { worm, lock, days: Some(365), legal_hold: false };
    let version = |lock| level(Worm::VersionLevel, lock);
    for (guard, expected) in [
        (Guard::NONE, vec![Code::Unprotected]),
        (Guard { days: None, ..version(Some(Mode::None)) }, vec![Code::Unprotected]),
        (version(Some(Mode::Unlocked)), vec![Code::Unlocked]),
        (level(Worm::ContainerLevel, Some(Mode::Unlocked)), vec![Code::Unlocked]),
        (level(Worm::ContainerLevel, None), vec![Code::LockUnknown]),
        (level(Worm::ContainerLevel, Some(Mode::Locked)), vec![]),
        (Guard { days: None, ..version(Some(Mode::Locked)) }, vec![Code::ProtectionShort, Code::RecordShort]),
        (Guard { legal_hold: true, days: None, ..version(Some(Mode::Locked)) }, vec![]),
        (Guard { legal_hold: true, ..version(Some(Mode::Unlocked)) }, vec![]),
    ] {
        let house = guarded(guard.clone()).await;
        assert_eq!(codes(&house).await, expected, "{guard:?}");
    }
    let house = guarded(version(Some(Mode::Unlocked))).await;
    house.store.set_guard(version(Some(Mode::Locked)));
    assert_eq!(codes(&house).await, [Code::Unlocked], "the files that came before the lock");
    let mut house = guarded(Guard::NONE).await;
    house.order.worm = crate::jobs::protection::Demand::Optional;
    assert_eq!(codes(&house).await, [Code::StoreUnprotected]);
}

#[tokio::test]
async fn protection_short() {
    let house = house().await;
    house.clock.advance(Duration::from_secs((365 - 90) * 86_400 - 120));
    assert_eq!(codes(&house).await, [] as [Code; 0]);
    house.clock.advance(Duration::from_secs(180));
    assert_eq!(codes(&house).await, [Code::ProtectionShort, Code::RecordShort]);
    house.snapshot().await.unwrap();
    assert_eq!(codes(&house).await, [Code::RecordShort], "a new snapshot renews what it needs, not the log behind it");
    let report = house.verify().await;
    let short = |part: &str| report.findings.iter().filter(|finding| finding.path.contains(part)).count();
    assert_eq!((short("archive.json"), short("/log/"), short("/manifests/"), short("/captures/")), (1, 2, 2, 0));
}
