//! Judging where a vault stands: how old its newest complete snapshot is, what that lacks, how long it is protected.
//! Pure: time is an argument, and whoever read the archive hands in what was found.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::format::entry::SnapshotRef;
use crate::format::manifest::Status;
use crate::model::{Mode, duration};
use crate::store::Protection;

/// A snapshot that is dated further ahead of this machine's clock has no age that could be believed.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(5);

/// How long before the end of what no snapshot renews somebody is told, at most: a container may protect for no longer than
/// the policy's minimum, and an alarm that never ends is none.
const NOTICE: TimeDelta = TimeDelta::days(30);

/// Where a vault stands, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Its log, its newest manifest, or a file that it needs, is not what was signed.
    Tampered,
    /// The archive could not be read, so nothing is known.
    Unreadable,
    /// It has no snapshot.
    Never,
    /// Its newest complete snapshot is older than it may be, or it has none that is complete.
    Stale,
    /// What its newest snapshot needs is not locked, or not for long enough.
    AtRisk,
    /// Its newest snapshot saw far fewer objects than the one before.
    Shrunk,
    /// Its newest snapshot has gaps; an earlier one that is complete is young enough.
    Partial,
    /// Complete, young, protected.
    Ok,
}

impl Verdict {
    /// Every verdict, the worst first.
    pub const ALL: [Verdict; 8] = [
        Verdict::Tampered,
        Verdict::Unreadable,
        Verdict::Never,
        Verdict::Stale,
        Verdict::AtRisk,
        Verdict::Shrunk,
        Verdict::Partial,
        Verdict::Ok,
    ];

    /// Its stable name, in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Tampered => "tampered",
            Verdict::Unreadable => "unreadable",
            Verdict::Never => "never",
            Verdict::Stale => "stale",
            Verdict::AtRisk => "at-risk",
            Verdict::Shrunk => "shrunk",
            Verdict::Partial => "partial",
            Verdict::Ok => "ok",
        }
    }
}

/// What a vault is held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What people call it.
    pub name: String,
    /// Whether the settings name it.
    pub named: bool,
    /// Whether somebody must come if it does not hold: the settings name it, or look for vaults of its name.
    pub expected: bool,
    /// How old its newest complete snapshot may be.
    pub max_age: TimeDelta,
    /// How much longer what its newest snapshot needs must be protected when that is taken.
    pub protection_min: TimeDelta,
    /// Whether files must be locked at all.
    pub worm: bool,
}

/// Where it was read how files are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// In a listing of the store: so it is now.
    Listing,
    /// In the manifest: so it was when each file was stored.
    Manifest,
}

/// How the files that a snapshot needs are protected, all told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shelter {
    /// Where that was read.
    pub source: Source,
    /// Files that the snapshot needs.
    pub files: u64,
    /// Of these, files that are not there.
    pub missing: u64,
    /// Of these, files that nothing protects.
    pub unprotected: u64,
    /// Of these, files whose policy can be taken back, or may be so for all that is known.
    pub unlocked: u64,
    /// When the first of them loses its protection; a legal hold has no end.
    pub until: Option<DateTime<Utc>>,
}

impl Shelter {
    /// No files yet.
    pub fn new(source: Source) -> Self {
        Shelter { source, files: 0, missing: 0, unprotected: 0, unlocked: 0, until: None }
    }

    /// One file more; `None` for one that is not there.
    pub fn add(&mut self, protection: Option<Protection>) {
        self.files += 1;
        match protection {
            None => self.missing += 1,
            Some(Protection { legal_hold: true, .. }) => {}
            Some(Protection { mode: Mode::None, .. }) => self.unprotected += 1,
            Some(Protection { mode, until, .. }) => {
                self.unlocked += u64::from(mode == Mode::Unlocked);
                self.until = match (self.until, until) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
        }
    }
}

/// What was found of a vault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Its newest snapshot.
    pub newest: Option<SnapshotRef>,
    /// The one before that.
    pub previous: Option<SnapshotRef>,
    /// Its newest complete one.
    pub complete: Option<SnapshotRef>,
    /// How what the newest one needs is protected.
    pub shelter: Option<Shelter>,
    /// When the first of what no snapshot renews, `archive.json` and the log, loses its protection.
    pub records_until: Option<DateTime<Utc>>,
}

/// Judges, and says why in sentences; none where all is well.
pub fn judge(found: &Found, rule: &Rule, now: DateTime<Utc>) -> (Verdict, Vec<String>) {
    let Some(newest) = &found.newest else {
        return (Verdict::Never, vec!["no snapshot was ever committed".to_owned()]);
    };
    let mut judged: Vec<(Verdict, String)> = Vec::new();
    judged.extend(age(found.complete.as_ref(), rule, now).map(|why| (Verdict::Stale, why)));
    judged.extend(found.shelter.iter().flat_map(|shelter| risks(shelter, newest.started.min(now), rule)));
    judged.extend(found.records_until.and_then(|until| records(until, rule, now)).map(|why| (Verdict::AtRisk, why)));
    judged.extend(found.previous.as_ref().and_then(|before| loss(before, newest)).map(|why| (Verdict::Shrunk, why)));
    if newest.status == Status::Partial {
        let gaps = newest.counts.gaps;
        judged.push((
            Verdict::Partial,
            match gaps {
                0 => "the newest snapshot is partial: something of the vault itself is missing".to_owned(),
                1 => "the newest snapshot is partial: 1 gap".to_owned(),
                gaps => format!("the newest snapshot is partial: {gaps} gaps"),
            },
        ));
    }
    let verdict = judged.iter().map(|(verdict, _)| *verdict).min().unwrap_or(Verdict::Ok);
    judged.sort_by_key(|(verdict, _)| *verdict);
    (verdict, judged.into_iter().map(|(_, why)| why).collect())
}

/// A vault that had fewer objects may lose half of them on an ordinary day.
const MANY: u64 = 10;

/// Whether a vault lost all that it had, or half of a good deal. What the policy leaves out is still there.
fn loss(before: &SnapshotRef, newest: &SnapshotRef) -> Option<String> {
    let there = |snapshot: &SnapshotRef| snapshot.counts.seen.saturating_add(snapshot.counts.excluded);
    let (had, has) = (there(before), there(newest));
    (had > 0 && has == 0 || had >= MANY && has <= had / 2)
        .then(|| format!("the newest snapshot saw {has} of the {had} objects that the one before it saw"))
}

/// Why the newest complete snapshot is not young enough.
fn age(complete: Option<&SnapshotRef>, rule: &Rule, now: DateTime<Utc>) -> Option<String> {
    let Some(complete) = complete else { return Some("no complete snapshot was found".to_owned()) };
    let age = now - complete.started;
    if age < -AHEAD_MAX {
        // Otherwise a clock that was wrong once would keep the alarm silent for as long as it was wrong.
        return Some("the newest complete snapshot is dated in the future: some clock is wrong".to_owned());
    }
    (age > rule.max_age).then(|| {
        let allowed = duration::render(rule.max_age.to_std().unwrap_or_default());
        format!("the newest complete snapshot is {} old, and {allowed} is allowed", since(age))
    })
}

/// Why the archive's own records may be lost, which no run renews.
fn records(until: DateTime<Utc>, rule: &Rule, now: DateTime<Utc>) -> Option<String> {
    (rule.worm && until < now + rule.protection_min.min(NOTICE)).then(|| {
        let ends = if until <= now { "ended" } else { "ends" };
        format!(
            "protection of the log or of archive.json {ends} on {}, and no snapshot renews it: `protect extend` does",
            until.format("%Y-%m-%d %H:%M")
        )
    })
}

/// Why what the newest snapshot needs may be lost. `taken` is when that was taken: a run renews what is protected too
/// briefly, and what grows shorter until the next one is no fault.
fn risks(shelter: &Shelter, taken: DateTime<Utc>, rule: &Rule) -> Vec<(Verdict, String)> {
    let mut found = Vec::new();
    let of = |count: u64, what: &str| format!("{count} of {} files that it needs {what}", shelter.files);
    if shelter.missing > 0 {
        found.push((Verdict::Tampered, of(shelter.missing, "are not in the store")));
    }
    if !rule.worm {
        return found;
    }
    if shelter.unprotected > 0 {
        found.push((Verdict::AtRisk, of(shelter.unprotected, "have no protection")));
    }
    if shelter.unlocked > 0 {
        found.push((Verdict::AtRisk, of(shelter.unlocked, "are not known to be locked")));
    }
    if let Some(until) = shelter.until.filter(|until| *until < taken + rule.protection_min) {
        let wanted = duration::render(rule.protection_min.to_std().unwrap_or_default());
        let why =
            format!("protection ends on {}, and {wanted} from each snapshot is wanted", until.format("%Y-%m-%d %H:%M"));
        found.push((Verdict::AtRisk, why));
    }
    found
}

/// A length of time in two units: days and hours, or hours and minutes.
pub fn since(age: TimeDelta) -> String {
    match age.num_days() {
        0 => format!("{}h {:02}m", age.num_hours(), age.num_minutes() % 60),
        days => format!("{days}d {:02}h", age.num_hours() % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::Counts;
    use crate::model::{Digest, StorePath};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn snapshot(started: DateTime<Utc>, status: Status, gaps: u64) -> SnapshotRef {
        SnapshotRef {
            sequence: 1,
            manifest: StorePath::parse("vaults/a/manifests/x").unwrap(),
            version: None,
            sha256: Digest::of(b""),
            size: 1,
            root: Digest::of(b""),
            lines: 1,
            status,
            counts: Counts { seen: 3, gaps, ..Counts::default() },
            started,
        }
    }

    fn rule() -> Rule {
        Rule {
            name: "prod".into(),
            named: true,
            expected: true,
            max_age: TimeDelta::hours(26),
            protection_min: TimeDelta::days(60),
            worm: true,
        }
    }

    fn locked(days: i64) -> Option<Protection> {
        Some(Protection { mode: Mode::Locked, until: Some(at(0) + TimeDelta::days(days)), legal_hold: false })
    }

    fn shelter(files: &[Option<Protection>]) -> Shelter {
        let mut shelter = Shelter::new(Source::Listing);
        files.iter().for_each(|file| shelter.add(*file));
        shelter
    }

    fn found(started: DateTime<Utc>, files: &[Option<Protection>]) -> Found {
        let newest = snapshot(started, Status::Complete, 0);
        let shelter = Some(shelter(files));
        Found { complete: Some(newest.clone()), newest: Some(newest), shelter, ..Found::default() }
    }

    fn verdict(found: &Found, now: DateTime<Utc>) -> Verdict {
        judge(found, &rule(), now).0
    }

    #[test]
    fn a_snapshot_is_stale_one_second_after_its_time_and_not_before() {
        let hours = |hours: i64| hours * 3_600;
        for (now, expected) in [
            (0, Verdict::Ok),
            (hours(26), Verdict::Ok),
            (hours(26) + 1, Verdict::Stale),
            (-300, Verdict::Ok),
            (-301, Verdict::Stale),
        ] {
            assert_eq!(verdict(&found(at(0), &[locked(365)]), at(now)), expected, "{now}");
        }
        let (_, why) = judge(&found(at(0), &[locked(365)]), &rule(), at(hours(51)));
        assert_eq!(why, ["the newest complete snapshot is 2d 03h old, and 26h is allowed"]);
    }

    #[test]
    fn a_partial_snapshot_is_no_new_one_and_none_at_all_is_the_worst() {
        let complete = snapshot(at(0), Status::Complete, 0);
        let partial = snapshot(at(86_400), Status::Partial, 2);
        let mut both = Found { newest: Some(partial), complete: Some(complete), ..Found::default() };
        assert_eq!(
            judge(&both, &rule(), at(90_000)),
            (Verdict::Partial, vec!["the newest snapshot is partial: 2 gaps".to_owned()])
        );
        let (verdict, why) = judge(&both, &rule(), at(93_601));
        assert_eq!((verdict, why.len()), (Verdict::Stale, 2), "the older complete one counts: {why:?}");
        both.complete = None;
        assert_eq!(judge(&both, &rule(), at(86_400)).0, Verdict::Stale);
        assert_eq!(judge(&Found::default(), &rule(), at(0)).0, Verdict::Never);
    }

    #[test]
    fn protection_is_measured_when_the_snapshot_is_taken() {
        for (days, now, expected) in [
            (60, 0, Verdict::Ok),
            // A day later it is 59, and the next run renews it.
            (60, 86_400, Verdict::Ok),
            (59, 0, Verdict::AtRisk),
        ] {
            assert_eq!(verdict(&found(at(0), &[locked(365), locked(days)]), at(now)), expected, "{days} {now}");
        }
        // A snapshot that is dated a little ahead does not ask for more.
        assert_eq!(verdict(&found(at(200), &[locked(60)]), at(0)), Verdict::Ok);
    }

    #[test]
    fn what_is_not_locked_is_at_risk_and_what_is_gone_is_tampered_with() {
        let none = Some(Protection::default());
        let held = Some(Protection { legal_hold: true, ..Protection::default() });
        let unlocked = locked(365).map(|it| Protection { mode: Mode::Unlocked, ..it });
        for (file, worm, expected) in [
            (none, true, Verdict::AtRisk),
            (unlocked, true, Verdict::AtRisk),
            (held, true, Verdict::Ok),
            (none, false, Verdict::Ok),
            (unlocked, false, Verdict::Ok),
            (None, true, Verdict::Tampered),
            (None, false, Verdict::Tampered),
        ] {
            let rule = Rule { worm, ..rule() };
            assert_eq!(judge(&found(at(0), &[locked(365), file]), &rule, at(0)).0, expected, "{file:?}");
        }
        assert_eq!(shelter(&[held, none, locked(9), locked(5), locked(7)]).until, locked(5).unwrap().until);
    }

    #[test]
    fn records_that_no_snapshot_renews_are_at_risk_before_their_protection_ends() {
        let min = rule().protection_min.min(NOTICE);
        let found = |until| Found { records_until: Some(until), ..found(at(0), &[]) };
        assert_eq!(verdict(&found(at(0) + min), at(0)), Verdict::Ok);
        let (verdict, why) = judge(&found(at(0) + min), &rule(), at(1));
        assert_eq!((verdict, why.len()), (Verdict::AtRisk, 1));
        assert!(why[0].contains("ends on") && why[0].contains("protect extend"), "{why:?}");
        assert!(judge(&found(at(0)), &rule(), at(1)).1[0].contains("ended on"));
        let loose = Rule { worm: false, ..rule() };
        assert_eq!(judge(&found(at(0)), &loose, at(1)).0, Verdict::Ok, "where nothing must be locked");
    }

    #[test]
    fn a_vault_that_lost_half_of_many_objects_or_all_that_it_had_has_shrunk() {
        for (had, has, excluded, expected) in [
            (20, 0, 0, Verdict::Shrunk),
            (20, 10, 0, Verdict::Shrunk),
            (20, 11, 0, Verdict::Ok),
            (20, 0, 20, Verdict::Ok),
            (9, 4, 0, Verdict::Ok),
            (1, 0, 0, Verdict::Shrunk),
            (0, 0, 0, Verdict::Ok),
        ] {
            let counted = |seen, excluded| SnapshotRef {
                counts: Counts { seen, excluded, ..Counts::default() },
                ..snapshot(at(0), Status::Complete, 0)
            };
            let newest = counted(has, excluded);
            let found = Found { previous: Some(counted(had, 0)), newest: Some(newest), ..found(at(0), &[locked(365)]) };
            assert_eq!(judge(&found, &rule(), at(0)).0, expected, "{had} {has} {excluded}");
        }
    }

    #[test]
    fn the_worst_reason_comes_first_and_names_are_in_order() {
        let newest = snapshot(at(0), Status::Partial, 1);
        let shelter = Some(shelter(&[None, locked(1)]));
        let found = Found { newest: Some(newest), shelter, ..Found::default() };
        let (verdict, why) = judge(&found, &rule(), at(0));
        assert_eq!((verdict, why.len()), (Verdict::Tampered, 4));
        assert!(why[0].contains("1 of 2 files") && why[3].contains("1 gap"), "{why:?}");
        assert!(Verdict::ALL.is_sorted());
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.name());
        }
    }

    #[test]
    fn a_length_of_time_has_two_units() {
        let shown = |seconds| since(TimeDelta::seconds(seconds));
        assert_eq!((shown(59), shown(3_661), shown(90_000)), ("0h 00m".into(), "1h 01m".into(), "1d 01h".into()));
    }
}
