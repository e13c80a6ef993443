//! What every store must do, as one suite: memory and directory here, a container wherever one is at hand.
//!
//! [`run`] needs nothing but the traits and room under a prefix of its own, since what it writes to a real container
//! stays there.

use std::sync::Arc;

use akv_archiver::ambient::ManualClock;
use akv_archiver::model::{HoldTag, Mode, StorePath};
use akv_archiver::store::directory::Directory;
use akv_archiver::store::memory::Memory;
use akv_archiver::store::{Append, Condition, Listed, Period, Protect, Reach, Worm};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use futures::future::join_all;

/// Runs the whole suite under `prefix`, a path without a trailing slash below which nothing exists yet.
pub(crate) async fn run(store: &dyn Append, prefix: &str) {
    what_is_created_reads_back(store, &format!("{prefix}/create")).await;
    a_path_is_created_once(store, &format!("{prefix}/once")).await;
    what_is_missing_is_not_found(store, &format!("{prefix}/missing")).await;
    a_limit_is_kept(store, &format!("{prefix}/limit")).await;
    lists_are_ordered_by_path(store, &format!("{prefix}/order")).await;
    prefixes_are_plain_text(store, &format!("{prefix}/prefix")).await;
    an_empty_prefix_lists_everything(store, prefix).await;
    of_many_writers_one_wins(store, &format!("{prefix}/race")).await;
    many_files_are_listed_once_each(store, &format!("{prefix}/many")).await;
    messages_name_the_path(store, &format!("{prefix}/messages")).await;
}

fn path(text: impl AsRef<str>) -> StorePath {
    StorePath::parse(text.as_ref()).unwrap()
}

async fn list(store: &dyn Append, prefix: &str) -> Vec<Listed> {
    store.list(prefix).try_collect().await.unwrap()
}

async fn names(store: &dyn Append, prefix: &str) -> Vec<String> {
    list(store, prefix).await.into_iter().map(|item| item.path.unwrap().to_string()).collect()
}

/// The bytes as written, in the listing's size and digest too, by version and without; small and large.
async fn what_is_created_reads_back(store: &dyn Append, prefix: &str) {
    let versioned = store.guard().await.unwrap().worm == Worm::VersionLevel;
    let large: Bytes = (0u32..6 * 1024 * 1024 / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for (name, bytes) in [("one-byte", Bytes::from_static(b"\0")), ("six-mebibytes", large)] {
        let path = path(format!("{prefix}/{name}"));
        let created = store.create(&path, bytes.clone()).await.unwrap();
        assert_eq!(created.version.is_some(), versioned, "{path}");
        assert!(store.get(&path, None, bytes.len() as u64).await.unwrap() == bytes, "{path}");
        if let Some(version) = &created.version {
            assert!(store.get(&path, Some(version), bytes.len() as u64).await.unwrap() == bytes, "{path}");
        }
        let [item] = &list(store, path.as_str()).await[..] else { panic!("{path} is listed once") };
        assert_eq!(item.path.as_ref(), Ok(&path));
        assert_eq!((item.size, item.current), (bytes.len() as u64, true));
        assert_eq!(item.version, created.version);
        if let Some(md5) = item.md5 {
            use md5::Digest as _;
            assert_eq!(md5, <[u8; 16]>::from(md5::Md5::digest(&bytes)));
        }
    }
}

/// The same bytes or others: a second create is refused and changes nothing. Were the same bytes welcome, two writers
/// of one log entry could both believe that they won.
async fn a_path_is_created_once(store: &dyn Append, prefix: &str) {
    let path = path(format!("{prefix}/a"));
    store.create(&path, Bytes::from_static(b"first")).await.unwrap();
    for again in ["first", "other"] {
        let error = store.create(&path, Bytes::from_static(again.as_bytes())).await.unwrap_err();
        assert_eq!(error.condition, Condition::Exists, "{error}");
    }
    assert_eq!(store.get(&path, None, 100).await.unwrap(), "first");
    assert_eq!(list(store, prefix).await.len(), 1);
}

async fn what_is_missing_is_not_found(store: &dyn Append, prefix: &str) {
    store.create(&path(format!("{prefix}/here")), Bytes::from_static(b"x")).await.unwrap();
    for missing in [format!("{prefix}/a"), format!("{prefix}/no/such/folder/a"), format!("{prefix}/her")] {
        let error = store.get(&path(&missing), None, 100).await.unwrap_err();
        assert_eq!(error.condition, Condition::NotFound, "{missing}: {error}");
        assert!(list(store, &format!("{missing}/")).await.is_empty());
    }
    let version = Some("2020-01-01T00:00:00.0000000Z");
    let error = store.get(&path(format!("{prefix}/here")), version, 100).await.unwrap_err();
    assert_eq!(error.condition, Condition::NotFound, "{error}");
}

async fn a_limit_is_kept(store: &dyn Append, prefix: &str) {
    let path = path(format!("{prefix}/a"));
    store.create(&path, Bytes::from_static(b"12345")).await.unwrap();
    assert_eq!(store.get(&path, None, 5).await.unwrap(), "12345");
    for limit in [0, 4] {
        let error = store.get(&path, None, limit).await.unwrap_err();
        assert_eq!(error.condition, Condition::TooLarge, "{error}");
    }
}

/// Byte order of whole paths: `-` and `.` come before `/`, so a folder's files come after the files beside it whose
/// names go on with them. Capitals come before small letters.
async fn lists_are_ordered_by_path(store: &dyn Append, prefix: &str) {
    let ordered = ["B", "a-b/x", "a.b", "a/x/y", "a/xy", "a0", "ab", "b"];
    for name in ["ab", "a/xy", "B", "a-b/x", "b", "a0", "a/x/y", "a.b"] {
        store.create(&path(format!("{prefix}/{name}")), Bytes::from_static(b"x")).await.unwrap();
    }
    let expected: Vec<String> = ordered.iter().map(|name| format!("{prefix}/{name}")).collect();
    assert_eq!(names(store, &format!("{prefix}/")).await, expected);
}

/// A prefix need not end where a segment ends, and means nothing but its characters.
async fn prefixes_are_plain_text(store: &dyn Append, prefix: &str) {
    for name in ["log/0000000001", "log/0000000002", "log/0000000010", "login"] {
        store.create(&path(format!("{prefix}/{name}")), Bytes::from_static(b"x")).await.unwrap();
    }
    for (tail, count) in [("log", 4), ("log/", 3), ("log/000000000", 2), ("log/0000000010", 1), ("log/1", 0), ("l/", 0)]
    {
        assert_eq!(names(store, &format!("{prefix}/{tail}")).await.len(), count, "{tail}");
    }
    for odd in ["/log", "../prefix/log", "./", "lo*", "log//"] {
        assert!(names(store, &format!("{prefix}/{odd}")).await.is_empty(), "{odd}");
    }
}

async fn an_empty_prefix_lists_everything(store: &dyn Append, prefix: &str) {
    let all = names(store, "").await;
    let ours = names(store, prefix).await;
    assert!(!ours.is_empty() && ours.iter().all(|name| all.contains(name)));
    assert!(all.is_sorted(), "{all:?}");
}

/// The log's lock: of concurrent creates of one path exactly one succeeds, and its bytes are what stays.
async fn of_many_writers_one_wins(store: &dyn Append, prefix: &str) {
    let path = path(format!("{prefix}/0000000001"));
    let writers = (0..16).map(|n| {
        let path = &path;
        async move { store.create(path, Bytes::from(format!("writer {n}"))).await }
    });
    let results = join_all(writers).await;
    let winners: Vec<usize> = (0..16).filter(|n| results[*n].is_ok()).collect();
    let [winner] = winners[..] else { panic!("one winner, not {winners:?}") };
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error.condition, Condition::Exists, "{error}");
    }
    assert_eq!(store.get(&path, None, 100).await.unwrap(), format!("writer {winner}"));
    assert_eq!(list(store, prefix).await.len(), 1);
}

/// More than a store's page or batch holds, in one folder and in many.
async fn many_files_are_listed_once_each(store: &dyn Append, prefix: &str) {
    let mut expected: Vec<String> = (0..300).map(|n| format!("{prefix}/{}/{n:04}", n % 7)).collect();
    for some in expected.chunks(20) {
        let writers = some.iter().map(|name| async move {
            store.create(&path(name), Bytes::from(name.clone())).await.unwrap();
        });
        join_all(writers).await;
    }
    expected.sort();
    assert_eq!(names(store, prefix).await, expected);
}

async fn messages_name_the_path(store: &dyn Append, prefix: &str) {
    let path = path(format!("{prefix}/a"));
    let missing = store.get(&path, None, 1).await.unwrap_err();
    store.create(&path, Bytes::from_static(b"12")).await.unwrap();
    let exists = store.create(&path, Bytes::from_static(b"12")).await.unwrap_err();
    let large = store.get(&path, None, 1).await.unwrap_err();
    for error in [missing, exists, large] {
        assert!(error.message.contains(path.as_str()), "{error}");
    }
}

/// What a store does in which each version has a protection of its own. `now` is the store's time; a version is locked for
/// 365 days when it is made.
pub(crate) async fn protection<S: Append + Protect>(store: &S, prefix: &str, now: DateTime<Utc>) {
    assert_eq!(store.reach().await.unwrap(), Reach::Versions);
    let at = |days| DateTime::from_timestamp((now + TimeDelta::days(days)).timestamp(), 0).unwrap();
    let (one, other) = (path(format!("{prefix}/one")), path(format!("{prefix}/other")));
    let version = store.create(&one, Bytes::from_static(b"x")).await.unwrap().version;
    let version = version.as_deref();
    store.create(&other, Bytes::from_static(b"x")).await.unwrap();
    let standing = async |path: &StorePath| list(store, path.as_str()).await[0].protection;
    let (before, untouched) = (standing(&one).await, standing(&other).await);
    assert_eq!((before.mode, before.legal_hold), (Mode::Locked, false));

    let shorter = store.extend(&one, version, at(30), true).await.unwrap();
    assert_eq!((shorter, standing(&one).await), (before, before), "it never grows shorter");
    for _ in 0..2 {
        let longer = store.extend(&one, version, at(400), false).await.unwrap();
        assert_eq!((longer.until, longer.mode), (Some(at(400)), Mode::Locked), "and stays locked");
        assert_eq!(standing(&one).await, longer);
    }
    let fraction = at(500) + TimeDelta::milliseconds(1);
    assert_eq!(store.extend(&one, version, fraction, true).await.unwrap_err().condition, Condition::Refused);
    let never = at(akv_archiver::store::MOST_DAYS + 2);
    assert_eq!(store.extend(&one, version, never, true).await.unwrap_err().condition, Condition::Refused);

    for held in [true, true, false, false] {
        store.hold(&one, version, held).await.unwrap();
        let now = standing(&one).await;
        assert_eq!((now.legal_hold, now.until), (held, Some(at(400))), "a hold and a policy are independent");
    }
    assert_eq!(standing(&other).await, untouched, "no other version is touched");

    let (missing, unknown) = (path(format!("{prefix}/missing")), Some("2020-01-01T00:00:00.0000000Z"));
    for (path, version) in [(&missing, version), (&one, unknown)] {
        let error = store.extend(path, version, at(400), false).await.unwrap_err();
        assert_eq!(error.condition, Condition::NotFound, "{error}");
        let error = store.hold(path, version, true).await.unwrap_err();
        assert_eq!(error.condition, Condition::NotFound, "{error}");
    }
}

/// What a store does that is protected as a whole, with a locked policy of 365 days and no legal hold.
pub(crate) async fn whole_protection<S: Append + Protect>(store: &S, prefix: &str, now: DateTime<Utc>) {
    no_protection(store, prefix, now).await;
    let reach = async || match store.reach().await.unwrap() {
        Reach::Whole(whole) => whole,
        Reach::Versions => panic!("it is protected as a whole"),
    };
    let first = reach().await;
    assert_eq!(first.period, Some(Period { days: 365, locked: true, extensions: Some(0) }));
    assert_eq!(store.extend_whole(&first, 30).await.unwrap(), first, "it never grows shorter");
    assert_eq!(store.lock_whole(&first).await.unwrap(), first, "it is locked already");
    let mut seen = first.clone();
    for (extension, days) in (1..=5).zip(400..) {
        let longer = store.extend_whole(&seen, days).await.unwrap();
        assert_eq!(longer.period, Some(Period { days, locked: true, extensions: Some(extension) }));
        assert_eq!((store.extend_whole(&seen, days).await.unwrap(), reach().await), (longer.clone(), longer.clone()));
        assert_eq!(store.guard().await.unwrap().days, Some(days));
        let stale = store.extend_whole(&seen, 500).await.unwrap_err();
        let refused = if extension == 5 { [Condition::Refused, Condition::Changed] } else { [Condition::Changed; 2] };
        assert!(refused.contains(&stale.condition), "{stale}");
        seen = longer;
    }
    assert_eq!(store.extend_whole(&seen, 500).await.unwrap_err().condition, Condition::Refused, "five times, no more");
    let tag = |text: &str| HoldTag::parse(text).unwrap();
    for (text, held, tags) in [
        ("Case7", true, &["case7"][..]),
        ("case7", true, &["case7"]),
        ("audit", true, &["audit", "case7"]),
        ("case7", false, &["audit"]),
        ("case7", false, &["audit"]),
        ("audit", false, &[]),
    ] {
        let now = store.hold_whole(&tag(text), held).await.unwrap();
        assert!(now.tags.iter().eq(tags), "{text} {held}: {now:?}");
        assert_eq!((now.period, store.guard().await.unwrap().legal_hold), (seen.period, !tags.is_empty()));
    }
    for n in 0..10 {
        store.hold_whole(&tag(&format!("case{n}")), true).await.unwrap();
    }
    assert_eq!(store.hold_whole(&tag("case10"), true).await.unwrap_err().condition, Condition::Refused);
}

/// What a store does in which versions have none: it refuses, and says what a person could do.
pub(crate) async fn no_protection<S: Append + Protect>(store: &S, prefix: &str, now: DateTime<Utc>) {
    let path = path(format!("{prefix}/one"));
    let version = store.create(&path, Bytes::from_static(b"x")).await.unwrap().version;
    let version = version.as_deref();
    let until = DateTime::from_timestamp((now + TimeDelta::days(400)).timestamp(), 0).unwrap();
    for refused in [
        store.extend(&path, version, until, true).await.unwrap_err(),
        store.hold(&path, version, true).await.unwrap_err(),
    ] {
        assert_eq!(refused.condition, Condition::Refused, "{refused}");
    }
}

#[tokio::test]
async fn memory_protects_versions_as_azure_does() {
    use akv_archiver::ambient::Clock as _;
    let clock = clock();
    let store = Memory::protected(clock.clone(), Worm::VersionLevel, Mode::Locked, 365);
    protection(&store, "protection", clock.now()).await;
    let whole = Memory::protected(clock.clone(), Worm::ContainerLevel, Mode::Locked, 365);
    whole_protection(&whole, "protection", clock.now()).await;
    no_protection(&Memory::protected(clock.clone(), Worm::None, Mode::Locked, 365), "protection", clock.now()).await;
    let versions = Memory::protected(clock.clone(), Worm::VersionLevel, Mode::Locked, 365);
    let tag = HoldTag::parse("case7").unwrap();
    assert_eq!(versions.hold_whole(&tag, true).await.unwrap_err().condition, Condition::Refused);
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(DateTime::from_timestamp(1_700_000_000, 0).unwrap()))
}

#[tokio::test]
async fn memory_conforms() {
    run(&Memory::new(clock()), "conformance").await;
}

#[tokio::test]
async fn memory_with_versions_conforms() {
    run(&Memory::protected(clock(), Worm::VersionLevel, Mode::Locked, 365), "conformance").await;
}

#[tokio::test]
async fn memory_with_a_container_policy_conforms() {
    run(&Memory::protected(clock(), Worm::ContainerLevel, Mode::Locked, 365), "conformance").await;
}

#[tokio::test]
async fn directory_conforms() {
    let folder = tempfile::tempdir().unwrap();
    run(&Directory::new(folder.path(), false), "conformance").await;
}
