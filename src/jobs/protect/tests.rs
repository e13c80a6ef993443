//! Tests of `protect`, against a store in memory.

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;

use super::*;
use crate::error::Kind;
use crate::format::entry::{Class, Event, ProtectAction, list};
use crate::jobs::fixture::House;
use crate::model::{Digest, HoldTag, Mode, VaultUri};
use crate::progress::{Halt, Silent, Stop};
use crate::store::{Append as _, Guard, Listed, Protect as _, Reach, Read as _, Worm};
use crate::vault::Read as _;
use crate::verify::Code;

/// A house with two snapshots: `secret/b` changed between them.
async fn house() -> House {
    let house = House::new(&["key/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    house.vault.put(&crate::jobs::fixture::object("secret/b"));
    house.snapshot().await.unwrap();
    house
}

fn want(action: ProtectAction) -> Want {
    Want {
        action,
        until: None,
        lock: false,
        reason: Some("case 7".to_owned()),
        tag: None,
        classes: Class::ALL.to_vec(),
        paths: Vec::new(),
    }
}

fn until(house: &House, days: i64) -> Want {
    let until = DateTime::from_timestamp((house.ambient.now() + TimeDelta::days(days)).timestamp(), 0);
    Want { until, reason: None, ..want(ProtectAction::Extend) }
}

async fn planned(house: &House, want: Want) -> Plan {
    let vaults = [house.vault.uri().clone()];
    plan(&house.store, &house.reader().await, &vaults, want, &Silent, house.ambient.now()).await.unwrap()
}

async fn done(house: &House, plan: &Plan) -> Carried {
    let (reader, stop) = (house.reader().await, Stop::new());
    carry_out(&hands(house, &reader, &stop), plan).await.unwrap()
}

fn hands<'a>(house: &'a House, reader: &'a crate::archive::Reader<'a>, stop: &'a Stop) -> Hands<'a> {
    Hands {
        store: &house.store,
        keeper: &house.store,
        reader,
        signer: &house.signer,
        ambient: &house.ambient,
        operator: "tester",
        progress: &Silent,
        stop,
    }
}

async fn listed(house: &House) -> Vec<Listed> {
    house.store.list("").try_collect().await.unwrap()
}

async fn table(house: &House) -> Standing {
    let vaults = [house.vault.uri().clone()];
    let min = |_: &VaultUri| Ok(TimeDelta::days(90));
    standing(&house.store, &house.reader().await, &vaults, min, &Silent, house.ambient.now()).await.unwrap()
}

fn counts(classes: &[Affected]) -> Vec<(Class, u64, u64)> {
    classes.iter().map(|row| (row.class, row.selected, row.change)).collect()
}

#[tokio::test]
async fn every_version_has_the_class_of_what_needs_it() {
    let house = house().await;
    house
        .store
        .create(
            &"vaults/prod.vault.azure.net/captures/key/a/20270115T080000Z-0123456789ab.tar.zst.age"
                .to_owned()
                .try_into()
                .unwrap(),
            "x".into(),
        )
        .await
        .unwrap();
    house.store.attacker_put("archive.json", "forged").unwrap();
    house.store.attacker_put("not ours", "x").unwrap();
    let standing = table(&house).await;
    let versions: Vec<(Class, u64)> = standing.classes.iter().map(|row| (row.class, row.versions)).collect();
    let expected = [
        (Class::Archive, 1),
        (Class::Log, 2),
        (Class::Manifests, 2),
        (Class::Captures, 3),
        (Class::OldCaptures, 1),
        (Class::Unreferenced, 2),
    ];
    assert_eq!(versions, expected);
    assert!(!standing.at_risk);
    assert_eq!(standing.vaults[0].classes.len(), 5, "archive.json belongs to no vault");
    house.clock.advance(std::time::Duration::from_secs(300 * 86_400));
    let standing = table(&house).await;
    assert!(standing.at_risk && standing.classes.iter().all(|row| row.short == row.versions), "{standing:#?}");
}

#[tokio::test]
async fn an_extension_is_recorded_and_done_once() {
    let house = house().await;
    let plan = planned(&house, until(&house, 400)).await;
    assert_eq!(plan.versions.len(), 9);
    assert_eq!(house.files("/log/").await.len(), 2, "a plan changes nothing");
    let carried = done(&house, &plan).await;
    assert_eq!((carried.changed, carried.failed, carried.not_tried), (10, 0, 0), "with the entry's own file");
    let wanted = plan.want.until;
    assert!(
        listed(&house).await.iter().all(|item| item.protection.until == wanted && item.protection.mode == Mode::Locked)
    );

    let entries = house.reader().await.entries(house.vault.uri()).await.unwrap().verified;
    let Event::Protect(event) = &entries[2].event else { panic!("{entries:?}") };
    assert_eq!(
        (event.action, event.until, event.versions, event.operator.as_str()),
        (ProtectAction::Extend, wanted, 9, "tester")
    );
    assert_eq!(event.sha256, Digest::of(plan.list().as_bytes()));
    assert_eq!(event.classes, [Class::Archive, Class::Log, Class::Manifests, Class::Captures, Class::OldCaptures]);
    assert_eq!(entries[2].latest_snapshot.as_ref().unwrap().sequence, 2, "snapshots are found behind it");
    let all: Vec<Listed> = listed(&house).await;
    let before = all.iter().filter(|item| !item.path.as_ref().unwrap().as_str().ends_with("log/0000000003"));
    let text = list(before.map(|item| (item.path.as_ref().unwrap(), item.version.as_deref())));
    assert_eq!(Digest::of(text.as_bytes()), event.sha256, "anybody can compute it from a listing");

    let again = planned(&house, plan.want.clone()).await;
    assert_eq!((again.versions.len(), again.classes.iter().map(|row| row.already).sum::<u64>()), (0, 10));
    assert_eq!(done(&house, &again).await, Carried::default());
    assert_eq!(house.files("/log/").await.len(), 3, "nothing to do leaves no trace");
    assert_eq!(house.verify().await.findings, []);
    house.snapshot().await.unwrap();
    assert_eq!(house.verify().await.findings, []);
}

#[tokio::test]
async fn what_proves_the_others_is_always_protected_with_them_and_only_released_if_named() {
    let house = house().await;
    let captures = Want {
        classes: vec![Class::Captures],
        paths: vec!["vaults/prod.vault.azure.net/captures/key/a/".to_owned()],
        ..want(ProtectAction::Hold)
    };
    let held = planned(&house, captures.clone()).await;
    assert_eq!(counts(&held.classes), [(Class::Archive, 1, 1), (Class::Log, 2, 2), (Class::Captures, 1, 1)]);
    assert_eq!(done(&house, &held).await.changed, 5);
    let released = planned(&house, Want { action: ProtectAction::Release, ..captures }).await;
    assert_eq!(counts(&released.classes), [(Class::Captures, 1, 1)]);
    assert_eq!(done(&house, &released).await.changed, 1);
    let still = table(&house).await.classes.iter().map(|row| row.held).sum::<u64>();
    assert_eq!(still, 4, "archive.json and three log entries");
    assert_eq!(done(&house, &planned(&house, want(ProtectAction::Release)).await).await.changed, 4);
    assert!(listed(&house).await.iter().all(|item| !item.protection.legal_hold));
    assert_eq!(house.verify().await.findings, []);
}

#[tokio::test]
async fn an_unlocked_policy_stays_unlocked_unless_it_is_to_be_locked() {
    let clock = crate::jobs::fixture::clock();
    let store = crate::store::memory::Memory::protected(clock.clone(), Worm::VersionLevel, Mode::Unlocked, 365);
    let house = House::with(&["key/a"], clock, store).await;
    house.snapshot().await.unwrap();
    let extended = planned(&house, until(&house, 400)).await;
    assert!(extended.classes.iter().all(|row| row.left_unlocked == row.change));
    done(&house, &extended).await;
    assert!(listed(&house).await.iter().all(|item| item.protection.mode == Mode::Unlocked));
    let locked = planned(&house, Want { lock: true, ..until(&house, 30) }).await;
    assert!(locked.classes.iter().all(|row| row.change > 0 && row.left_unlocked == 0));
    done(&house, &locked).await;
    let all = listed(&house).await;
    assert!(all.iter().all(|item| item.protection.mode == Mode::Locked), "{all:#?}");
    let own = all.iter().filter(|item| item.protection.until < extended.want.until).count();
    assert_eq!(own, 1, "what was longer stays longer; the second entry has what the store gives");
}

#[tokio::test]
async fn a_hold_alone_protects_for_as_long_as_it_lasts_and_is_not_reused_on() {
    let clock = crate::jobs::fixture::clock();
    let store = crate::store::memory::Memory::new(clock.clone());
    let guard = crate::store::Guard { worm: Worm::VersionLevel, lock: Some(Mode::None), days: None, legal_hold: false };
    store.set_guard(guard.clone());
    let mut house = House::with(&["key/a"], clock, store).await;
    house.order.worm = crate::jobs::protection::Demand::Optional;
    house.snapshot().await.unwrap();
    house.order.worm = crate::jobs::protection::Demand::Required;
    let locked = crate::store::Guard { lock: Some(Mode::Locked), days: Some(365), ..guard };
    house.store.set_guard(locked);
    let bare = house.verify().await;
    assert_eq!(bare.counts.get(&Code::Unprotected), Some(&5), "{bare:#?}");
    done(&house, &planned(&house, want(ProtectAction::Hold)).await).await;
    assert_eq!(house.verify().await.findings, [], "held: nobody can delete it");
    assert!(!table(&house).await.at_risk);
    let report = house.snapshot().await.unwrap();
    assert_eq!((report.objects.captured, report.objects.reused), (1, 0), "the hold may be lifted any day");
    done(&house, &planned(&house, want(ProtectAction::Release)).await).await;
    assert!(house.verify().await.counts.contains_key(&Code::Unprotected));
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_written() {
    let house = house().await;
    let reader = house.reader().await;
    let vaults = [house.vault.uri().clone()];
    for days in [0, 150_000] {
        let error = plan(&house.store, &reader, &vaults, until(&house, days), &Silent, house.ambient.now()).await;
        assert_eq!(error.unwrap_err().kind(), Kind::Usage, "{days}");
    }
    let stranger = [VaultUri::parse("https://other.vault.azure.net").unwrap()];
    let error = plan(&house.store, &reader, &stranger, until(&house, 400), &Silent, house.ambient.now()).await;
    assert_eq!(error.unwrap_err().kind(), Kind::NotFound);
    let tagged = Want { tag: HoldTag::parse("case7"), ..want(ProtectAction::Hold) };
    let error = plan(&house.store, &reader, &vaults, tagged, &Silent, house.ambient.now()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "holds on versions have no tags");
    assert_eq!(house.files("/log/").await.len(), 2);
}

#[tokio::test]
async fn whoever_asks_to_stop_is_heard_between_two_versions() {
    let house = house().await;
    let plan = planned(&house, until(&house, 400)).await;
    let (reader, stop) = (house.reader().await, Stop::new());
    stop.ask(Halt::Signal);
    let carried = carry_out(&hands(&house, &reader, &stop), &plan).await.unwrap();
    assert_eq!((carried.changed, carried.not_tried, carried.interrupted), (0, 10, true));
    assert_eq!(Report::of(&plan, Some(carried)).status, Status::Interrupted);
    assert_eq!(done(&house, &planned(&house, plan.want.clone()).await).await.not_tried, 0);
}

#[tokio::test]
async fn a_version_that_fails_holds_up_no_other_and_is_told() {
    let house = house().await;
    let plan = planned(&house, until(&house, 400)).await;
    let lost = house.files("/captures/key/").await.remove(0);
    house.store.lose(&lost);
    let carried = done(&house, &plan).await;
    assert_eq!((carried.changed, carried.failed), (9, 1));
    assert_eq!(carried.failures[0].path.as_str(), lost);
    assert_eq!(Report::of(&plan, Some(carried)).status, Status::Partial);
}

#[tokio::test]
async fn damage_is_told_and_leaves_nothing_unprotected_that_can_be_told_apart() {
    let house = house().await;
    let manifest = house.files("/manifests/").await.remove(0);
    house.store.corrupt(&manifest, "junk");
    let plan = planned(&house, until(&house, 400)).await;
    assert!(plan.notes[0].contains("snapshot 1"), "{:?}", plan.notes);
    let of = |class| counts(&plan.classes).into_iter().find(|row| row.0 == class).map_or(0, |row| row.1);
    assert_eq!((of(Class::Captures), of(Class::OldCaptures), of(Class::Unreferenced)), (3, 0, 1));
}

/// What no snapshot renews loses its protection; an extension puts it right.
#[tokio::test]
async fn verify_finds_records_whose_protection_runs_out() {
    let house = house().await;
    house.clock.advance(std::time::Duration::from_secs(276 * 86_400));
    house.snapshot().await.unwrap();
    let codes: Vec<(Code, String)> =
        house.verify().await.findings.into_iter().map(|finding| (finding.code, finding.path)).collect();
    assert!(codes.iter().all(|(code, _)| *code == Code::RecordShort), "{codes:?}");
    let paths: Vec<&str> =
        codes.iter().map(|(_, path)| path.rsplit_once('/').map_or(path.as_str(), |(head, _)| head)).collect();
    let vault = |part: &str| format!("vaults/prod.vault.azure.net/{part}");
    assert_eq!(paths, ["archive.json", &vault("log"), &vault("log"), &vault("manifests"), &vault("manifests")]);
    let least = Want { classes: vec![Class::Manifests], ..until(&house, 400) };
    done(&house, &planned(&house, least).await).await;
    assert_eq!(house.verify().await.findings, []);
    let later: DateTime<Utc> = house.ambient.now() + TimeDelta::days(500);
    house.clock.advance((later - house.ambient.now()).to_std().unwrap());
    let gone = house.verify().await;
    assert!(gone.findings.iter().any(|finding| finding.detail.contains("ended")), "{gone:#?}");
    done(&house, &planned(&house, want(ProtectAction::Hold)).await).await;
    assert!(!house.verify().await.counts.contains_key(&Code::RecordShort), "a hold has no end");
    house.store.hold(&"archive.json".to_owned().try_into().unwrap(), None, false).await.unwrap();
    assert_eq!(house.verify().await.counts.get(&Code::RecordShort), Some(&1));
}

/// A house whose store has one policy for all files, with two snapshots a day apart.
async fn whole(mode: Mode) -> House {
    let clock = crate::jobs::fixture::clock();
    let store = crate::store::memory::Memory::protected(clock.clone(), Worm::ContainerLevel, mode, 365);
    let house = House::with(&["key/a", "secret/b"], clock, store).await;
    house.snapshot().await.unwrap();
    house.clock.advance(std::time::Duration::from_secs(86_400));
    house.vault.put(&crate::jobs::fixture::object("secret/b"));
    house.snapshot().await.unwrap();
    house
}

/// What has the oldest file protected for so many days, and nothing chosen: in a whole there is nothing to choose.
async fn lasting(house: &House, days: i64) -> Want {
    let oldest = listed(house).await.iter().map(|item| item.created).min().unwrap();
    Want { until: Some(oldest + TimeDelta::days(days)), ..all(until(house, 0)) }
}

/// The same without a choice.
fn all(want: Want) -> Want {
    Want { classes: Vec::new(), ..want }
}

fn tagged(action: ProtectAction, tag: &str) -> Want {
    Want { tag: HoldTag::parse(tag), ..all(want(action)) }
}

async fn tried(house: &House, want: Want) -> crate::error::Result<Plan> {
    plan(&house.store, &house.reader().await, &[], want, &Silent, house.ambient.now()).await
}

async fn policy(house: &House) -> (Option<u32>, Option<Mode>) {
    let guard = house.store.guard().await.unwrap();
    (guard.days, guard.lock)
}

#[tokio::test]
async fn a_whole_store_is_extended_until_its_oldest_file_lasts_as_long_as_asked() {
    let house = whole(Mode::Locked).await;
    let want = lasting(&house, 401).await;
    let plan = tried(&house, want.clone()).await.unwrap();
    let turn = plan.turn.as_ref().unwrap();
    assert_eq!(turn.after.period.unwrap().days, 401);
    let rows = &plan.classes;
    assert_eq!(rows[0].earliest_after.unwrap(), want.until.unwrap(), "the oldest file, to the second");
    assert!(rows.iter().all(|row| row.earliest_after >= want.until && row.change == row.selected), "{rows:#?}");
    assert_eq!(policy(&house).await, (Some(365), Some(Mode::Locked)), "a plan changes nothing");
    let carried = done(&house, &plan).await;
    assert_eq!((carried.changed, policy(&house).await), (plan.versions.len() as u64, (Some(401), Some(Mode::Locked))));

    let entries = house.reader().await.entries(house.vault.uri()).await.unwrap().verified;
    let Event::Protect(event) = &entries[2].event else { panic!("{entries:?}") };
    let container = event.container.as_ref().unwrap();
    assert_eq!((container.days, &container.tag, event.until), (Some(401), &None, want.until));
    assert_eq!(event.sha256, Digest::of(plan.list().as_bytes()));
    assert_eq!(event.versions, 9, "of every class: there is nothing that it does not cover");
    let report = Report::of(&plan, Some(carried)).container.unwrap();
    assert_eq!((report.extensions_used, report.extensions_after, report.days_after), (Some(0), Some(1), Some(401)));

    let again = tried(&house, want).await.unwrap();
    assert_eq!((Report::of(&again, None).status, done(&house, &again).await), (Status::Nothing, Carried::default()));
    assert_eq!(house.files("/log/").await.len(), 3, "nothing to do leaves no trace");
    assert_eq!(house.verify().await.findings, []);
}

#[tokio::test]
async fn an_unlocked_policy_of_a_whole_stays_so_unless_it_is_to_be_locked() {
    let house = whole(Mode::Unlocked).await;
    let plan = tried(&house, lasting(&house, 401).await).await.unwrap();
    assert!(plan.classes.iter().all(|row| row.left_unlocked == row.change));
    done(&house, &plan).await;
    assert_eq!(policy(&house).await, (Some(401), Some(Mode::Unlocked)));
    let lock = tried(&house, Want { lock: true, ..all(until(&house, 30)) }).await.unwrap();
    assert!(lock.classes.iter().all(|row| row.change == row.selected && row.left_unlocked == 0));
    done(&house, &lock).await;
    assert_eq!(policy(&house).await, (Some(401), Some(Mode::Locked)), "what is longer stays longer");
    let Reach::Whole(now) = house.store.reach().await.unwrap() else { panic!() };
    assert_eq!(now.period.unwrap().extensions, Some(0), "before the lock nothing is used up");
}

#[tokio::test]
async fn holds_of_a_whole_have_tags_and_one_that_is_lifted_leaves_the_others() {
    let house = whole(Mode::Locked).await;
    for (action, tag, held) in [
        (ProtectAction::Hold, "Case7", true),
        (ProtectAction::Hold, "audit", true),
        (ProtectAction::Release, "case7", true),
        (ProtectAction::Release, "audit", false),
    ] {
        let plan = tried(&house, tagged(action, tag)).await.unwrap();
        done(&house, &plan).await;
        assert_eq!(house.store.guard().await.unwrap().legal_hold, held, "{tag}");
        let left = Report::of(&plan, None).container.unwrap().tags_after;
        assert_eq!(left.is_empty(), !held);
        let again = tried(&house, tagged(action, tag)).await.unwrap();
        assert_eq!(Report::of(&again, None).status, Status::Nothing);
    }
    let entries = house.reader().await.entries(house.vault.uri()).await.unwrap().verified;
    let Event::Protect(event) = &entries[2].event else { panic!("{entries:?}") };
    assert_eq!(event.container.as_ref().unwrap().tag, HoldTag::parse("case7"));
    assert_eq!(house.verify().await.findings, []);
}

#[tokio::test]
async fn what_a_whole_cannot_be_is_refused_before_anything_is_written() {
    let house = whole(Mode::Locked).await;
    let vault = house.vault.uri().clone();
    let ask = async |named: &[VaultUri], want| {
        let reader = house.reader().await;
        plan(&house.store, &reader, named, want, &Silent, house.ambient.now()).await.unwrap_err()
    };
    let paths = Want { paths: vec!["vaults/".to_owned()], ..all(until(&house, 400)) };
    for (named, want) in [
        (&[vault][..], all(until(&house, 400))),
        (&[], until(&house, 400)),
        (&[], paths),
        (&[], all(want(ProtectAction::Hold))),
    ] {
        let error = ask(named, want).await;
        assert_eq!(error.kind(), Kind::Refused, "{error}");
    }
    let far = ask(&[], lasting(&house, 146_001).await).await;
    assert_eq!(far.kind(), Kind::Refused, "{far}");
    for days in 400..405 {
        let plan = tried(&house, all(until(&house, days))).await.unwrap();
        done(&house, &plan).await;
    }
    let entries = house.files("/log/").await.len();
    let error = ask(&[], all(until(&house, 500))).await;
    assert!(error.kind() == Kind::Refused && error.to_string().contains("extended 5 times"), "{error}");
    assert_eq!(Report::of(&tried(&house, all(until(&house, 30))).await.unwrap(), None).status, Status::Nothing);
    assert_eq!(house.files("/log/").await.len(), entries);

    house.store.set_guard(Guard::NONE);
    assert_eq!(ask(&[], all(until(&house, 400))).await.kind(), Kind::Refused, "no policy to extend");
    done(&house, &tried(&house, tagged(ProtectAction::Hold, "case7")).await.unwrap()).await;
    assert!(house.store.attacker_remove("archive.json").is_err(), "a hold needs no policy");
}

#[tokio::test]
async fn a_whole_that_somebody_changed_since_the_plan_is_left_alone_and_nothing_is_written() {
    let house = whole(Mode::Locked).await;
    let plan = tried(&house, all(until(&house, 400))).await.unwrap();
    house.store.extend_whole(&plan.turn.as_ref().unwrap().before, 370).await.unwrap();
    let (reader, stop) = (house.reader().await, Stop::new());
    let error = carry_out(&hands(&house, &reader, &stop), &plan).await.unwrap_err();
    assert_eq!((error.kind(), house.files("/log/").await.len()), (Kind::Conflict, 2), "{error}");

    let plan = tried(&house, all(until(&house, 400))).await.unwrap();
    stop.ask(Halt::Signal);
    let carried = carry_out(&hands(&house, &reader, &stop), &plan).await.unwrap();
    assert!(carried.interrupted && policy(&house).await.0 == Some(370));
}
