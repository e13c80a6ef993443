//! Runs over several vaults as people read them: a table with a line for each vault, then what needs somebody.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::render::{maybe, plural, time};
use super::table::{lean, table};
use crate::error::Result;
use crate::jobs::fleet::{Member, Origin, Standing, Summary};
use crate::jobs::snapshot::{Outcome, Report};
use crate::jobs::status::since;

fn word(status: Outcome) -> &'static str {
    match status {
        Outcome::Complete => "complete",
        Outcome::Partial => "PARTIAL",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "skipped",
    }
}

fn host(address: &str) -> &str {
    address.trim_start_matches("https://")
}

/// One vault of several, in a line, when it is done.
pub(crate) fn outcome(member: &Member, outcome: &Result<Report>) -> String {
    match outcome {
        Ok(report) => format!(
            "{}: {}: {}, {} captured, {}",
            member.uri.host(),
            word(report.status),
            plural(report.objects.seen, "object", "objects"),
            report.objects.captured,
            plural(report.objects.gaps, "gap", "gaps"),
        ),
        Err(error) => format!("{}: FAILED: {error}", member.uri.host()),
    }
}

/// A run over several vaults.
pub(crate) fn snapshots(summary: &Summary) -> String {
    if summary.vaults.is_empty() {
        return nothing(summary.warnings.iter());
    }
    let mut rows: Vec<[String; 10]> = summary.vaults.iter().map(row).collect();
    let total = &summary.total;
    let counts = [total.objects.seen, total.objects.captured, total.objects.reused, total.objects.gaps];
    let [seen, captured, reused, gaps] = counts.map(|n| n.to_string());
    let [requests, throttled] = [total.requests, total.throttled].map(|n| n.to_string());
    let status = format!("{} of {} complete", total.complete, total.vaults);
    let seconds = format!("{:.1}", total.seconds);
    rows.push(["total".into(), status, seen, captured, reused, gaps, requests, throttled, seconds, String::new()]);
    let heading =
        ["vault", "status", "objects", "captured", "unchanged", "gaps", "requests", "429", "seconds", "snapshot"];
    let mut text = table(heading, &rows);
    gaps_of(&summary.vaults, &mut text);
    for report in &summary.vaults {
        for warning in &report.warnings {
            text.push_str(&format!("warning: {}: {warning}\n", host(&report.vault)));
        }
    }
    for report in summary.vaults.iter().filter(|report| report.status == Outcome::Failed) {
        text.push_str(&format!("failed: {}\n", report.error.as_deref().unwrap_or("nothing was committed")));
        if let Some(hint) = &report.hint {
            text.push_str(&format!("  hint: {hint}\n"));
        }
    }
    for warning in &summary.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    if total.skipped > 0 {
        let vaults = plural(total.skipped, "vault was", "vaults were");
        text.push_str(&format!("stopped: {vaults} not begun; run again to go on with the oldest\n"));
    }
    text
}

/// What stands in place of a table without lines. Where vaults are to be looked for and none is found, that is an error.
fn nothing<'a>(warnings: impl Iterator<Item = &'a String>) -> String {
    let warnings: String = warnings.map(|warning| format!("warning: {warning}\n")).collect();
    format!("no vault is due, or none falls to this process\n{warnings}")
}

fn row(report: &Report) -> [String; 10] {
    let name = host(&report.vault).to_owned();
    let status = word(report.status).to_owned();
    if matches!(report.status, Outcome::Failed | Outcome::Skipped) {
        let mut row = std::array::from_fn(|_| "-".to_owned());
        [row[0], row[1]] = [name, status];
        return row;
    }
    let objects = &report.objects;
    let counts = [objects.seen, objects.captured, objects.reused, objects.gaps, report.requests, report.throttled];
    let [seen, captured, reused, gaps, requests, throttled] = counts.map(|n| n.to_string());
    let seconds = format!("{:.1}", report.seconds);
    let sequence = maybe(report.sequence, |n| n.to_string());
    [name, status, seen, captured, reused, gaps, requests, throttled, seconds, sequence]
}

/// Gaps by vault and code, with the first of each in full.
fn gaps_of(reports: &[Report], text: &mut String) {
    for report in reports {
        let mut codes: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
        for gap in &report.gaps {
            codes.entry(&gap.code).or_insert((0, &gap.detail)).0 += 1;
        }
        for (code, (count, first)) in codes {
            let count = plural(count, "gap", "gaps");
            text.push_str(&format!("{}: {count} {code}: {first}\n", host(&report.vault)));
        }
    }
}

/// A vault that a run would take. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    name: String,
    vault: String,
    subscription: Option<String>,
    location: Option<String>,
    origin: Origin,
    shard: Option<u32>,
    sequence: Option<u64>,
    newest_snapshot: Option<DateTime<Utc>>,
    age_seconds: Option<i64>,
}

impl Listed {
    /// A vault and, where the archive could be read, where it stands there.
    pub(crate) fn new(member: Member, standing: Option<&Standing>, shard: Option<u32>, now: DateTime<Utc>) -> Self {
        let newest = match standing {
            Some(Standing::Taken { sequence, started, .. }) => Some((*sequence, *started)),
            _ => None,
        };
        Listed {
            name: member.name,
            vault: member.uri.as_str().to_owned(),
            subscription: member.subscription.map(|id| id.as_str().to_owned()),
            location: member.location,
            origin: member.origin,
            shard,
            sequence: newest.map(|(sequence, _)| sequence),
            newest_snapshot: newest.map(|(_, started)| started),
            age_seconds: newest.map(|(_, started)| (now - started).num_seconds().max(0)),
        }
    }
}

/// The vaults that a run would take.
pub(crate) fn vaults(listed: &[Listed]) -> String {
    if listed.is_empty() {
        return nothing(std::iter::empty());
    }
    let row = |it: &Listed| {
        let origin = match it.origin {
            Origin::Settings => "settings",
            Origin::Discovered => "discovered",
        };
        [
            it.name.clone(),
            host(&it.vault).to_owned(),
            maybe(it.subscription.clone(), |id| id),
            maybe(it.location.clone(), |location| location),
            origin.to_owned(),
            maybe(it.shard, |index| index.to_string()),
            maybe(it.newest_snapshot, time),
            maybe(it.age_seconds, |seconds| since(TimeDelta::seconds(seconds))),
        ]
    };
    let rows: Vec<[String; 8]> = listed.iter().map(row).collect();
    lean(["name", "vault", "subscription", "location", "from", "shard", "newest snapshot (UTC)", "age"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::jobs::snapshot::{Objects, ReportedGap};

    #[test]
    fn a_summary_says_first_how_much_then_what_is_wrong() {
        let nobody = Summary::new(Vec::new(), 0.1, Vec::new());
        assert_eq!(snapshots(&nobody), "no vault is due, or none falls to this process\n");
        let gap =
            |name: &str| ReportedGap { object: None, code: "denied".into(), detail: format!("secret/{name}: denied") };
        let partial = Report {
            status: Outcome::Partial,
            sequence: Some(3),
            objects: Objects { seen: 12, captured: 2, reused: 8, gaps: 2, excluded: 0 },
            gaps: vec![gap("a"), gap("b")],
            requests: 40,
            throttled: 1,
            seconds: 1.25,
            ..Report::skipped("https://a.vault.azure.net")
        };
        let error = Error::usage("couldn't take a snapshot of b: no").hint("grant it");
        let failed = Report::failed("https://b.vault.azure.net", &error);
        let skipped = Report::skipped("https://c.vault.azure.net");
        let summary = Summary::new(vec![partial, failed, skipped], 2.0, vec!["a subscription was denied".into()]);
        let text = snapshots(&summary);
        let expected = "\
VAULT              STATUS           OBJECTS  CAPTURED  UNCHANGED  GAPS  REQUESTS  429  SECONDS  SNAPSHOT
a.vault.azure.net  PARTIAL          12       2         8          2     40        1    1.2      3
b.vault.azure.net  FAILED           -        -         -          -     -         -    -        -
c.vault.azure.net  skipped          -        -         -          -     -         -    -        -
total              0 of 3 complete  12       2         8          2     40        1    2.0
a.vault.azure.net: 2 gaps denied: secret/a: denied
failed: couldn't take a snapshot of b: no
  hint: grant it
warning: a subscription was denied
stopped: 1 vault was not begun; run again to go on with the oldest
";
        assert_eq!(text, expected);
    }
}
