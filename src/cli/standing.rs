//! Where vaults stand as a tired person reads it: what needs somebody first, a line for each vault, then the reasons.

use super::render::{maybe, plural, time};
use super::table::table;
use crate::jobs::status::{Report, Standing, Verdict, since};

/// A verdict in a table. What needs somebody is in capitals.
fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Tampered => "TAMPERED",
        Verdict::Unreadable => "UNREADABLE",
        Verdict::Never => "NEVER",
        Verdict::Stale => "STALE",
        Verdict::AtRisk => "AT RISK",
        Verdict::Shrunk => "SHRUNK",
        Verdict::Partial => "PARTIAL",
        Verdict::Ok => "OK",
    }
}

/// Where every vault stands.
pub(crate) fn status(report: &Report) -> String {
    if report.vaults.is_empty() {
        return format!("{}: the archive holds no snapshot, and the settings name no vault\n", word(report.status));
    }
    let (counted, others): (Vec<&Standing>, Vec<&Standing>) = report.vaults.iter().partition(|vault| vault.expected);
    let fine = counted.iter().filter(|vault| vault.status == Verdict::Ok).count();
    let total = plural(counted.len() as u64, "vault", "vaults");
    let beside = match others.len() {
        0 => String::new(),
        1 => ", beside 1 that does not count".to_owned(),
        others => format!(", beside {others} that do not count"),
    };
    let mut text = format!("{}: {fine} of {total} in order{beside}\n", word(report.status));
    let rows: Vec<[String; 7]> = report.vaults.iter().map(|vault| row(vault, report)).collect();
    let heading = ["status", "vault", "newest complete (UTC)", "age", "objects", "gaps", "protected until (UTC)"];
    text.push_str(&table(heading, &rows));
    for vault in &report.vaults {
        for reason in &vault.reasons {
            text.push_str(&format!("{}: {reason}\n", vault.name));
        }
        if !vault.expected {
            text.push_str(&format!("{}: the settings do not name it; it does not count\n", vault.name));
        } else if !vault.named {
            text.push_str(&format!("{}: the settings do not name it\n", vault.name));
        }
    }
    text
}

fn row(vault: &Standing, report: &Report) -> [String; 7] {
    let newest = vault.newest.as_ref();
    let until = vault.protection.as_ref().and_then(|shelter| shelter.until);
    [
        word(vault.status).to_owned(),
        vault.vault.host().to_owned(),
        maybe(vault.complete.as_ref(), |snapshot| time(snapshot.started)),
        maybe(vault.complete.as_ref(), |snapshot| {
            since((report.checked - snapshot.started).max(chrono::TimeDelta::zero()))
        }),
        maybe(newest, |snapshot| snapshot.seen.to_string()),
        maybe(newest, |snapshot| snapshot.gaps.to_string()),
        maybe(until, |until| match (until - report.checked).num_days() {
            days @ 0.. => format!("{} ({} left)", time(until), plural(days.unsigned_abs(), "day", "days")),
            _ => format!("{} (over)", time(until)),
        }),
    ]
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::format::manifest::Status;
    use crate::jobs::status::{Shelter, Snapshot, Source};
    use crate::model::VaultUri;

    #[test]
    fn the_worst_comes_first_and_reasons_stand_below() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let standing = |name: &str, status, expected, reasons: &[&str]| Standing {
            vault: VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap(),
            name: name.into(),
            status,
            named: expected,
            expected,
            newest: None,
            previous: None,
            complete: None,
            age_seconds: None,
            max_age_seconds: 93_600,
            entries: 0,
            protection: None,
            reasons: reasons.iter().map(|text| (*text).to_owned()).collect(),
            failure: None,
        };
        let snapshot = Snapshot {
            sequence: 3,
            started: at(0),
            status: Status::Complete,
            seen: 7,
            captured: 7,
            reused: 0,
            gaps: 0,
            excluded: 0,
            deleted: 0,
        };
        let mut shelter = Shelter::new(Source::Listing);
        shelter.until = Some(at(90 * 86_400));
        let old = Standing {
            newest: Some(snapshot.clone()),
            complete: Some(snapshot),
            protection: Some(shelter),
            ..standing("old", Verdict::Ok, false, &[])
        };
        let never = standing("new", Verdict::Never, true, &["no snapshot was ever committed"]);
        let report = Report { status: Verdict::Never, checked: at(86_400), vaults: vec![never, old] };
        let expected = "\
NEVER: 0 of 1 vault in order, beside 1 that does not count
STATUS  VAULT                NEWEST COMPLETE (UTC)  AGE     OBJECTS  GAPS  PROTECTED UNTIL (UTC)
NEVER   new.vault.azure.net  -                      -       -        -     -
OK      old.vault.azure.net  1970-01-01 00:00       1d 00h  7        0     1970-04-01 00:00 (89 days left)
new: no snapshot was ever committed
old: the settings do not name it; it does not count
";
        assert_eq!(status(&report), expected);
        let nothing = Report { vaults: Vec::new(), ..report };
        assert_eq!(status(&nothing), "NEVER: the archive holds no snapshot, and the settings name no vault\n");
    }
}
