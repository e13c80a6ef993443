//! Results as people read them: one screen each, the important line first.

pub(crate) mod protect;
pub(crate) mod restore;

use chrono::{DateTime, Utc};

use super::table::{table, under};
use crate::jobs::history::{History, Listed, Snapshot, Standing};
use crate::jobs::snapshot::{Outcome, Report as SnapshotReport, gap_codes};
use crate::model::Mode;

/// Findings and gaps shown before "… and N more".
pub(super) const SHOWN: usize = 20;

/// A time to the minute.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

pub(super) fn maybe<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

mod opened;

pub(crate) use opened::{opened, opened_settings};

/// A snapshot, in a few lines.
pub(crate) fn snapshot(report: &SnapshotReport) -> String {
    let host = report.vault.trim_start_matches("https://");
    let mut text = match (report.status, report.sequence) {
        (Outcome::Skipped, _) => format!("{host}: skipped: the run was stopped before anything was taken\n"),
        (Outcome::Failed, _) | (_, None) => {
            format!("{host}: failed: {}\n", report.error.as_deref().unwrap_or("nothing was committed"))
        }
        (status, Some(sequence)) => {
            let word = if status == Outcome::Complete { "complete" } else { "PARTIAL" };
            let objects = &report.objects;
            format!(
                "{host}: snapshot {sequence} {word}: {} seen, {} captured, {} unchanged, {} in {:.1} s with {}\n",
                plural(objects.seen, "object", "objects"),
                objects.captured,
                objects.reused,
                plural(objects.gaps, "gap", "gaps"),
                report.seconds,
                plural(report.requests, "request", "requests"),
            )
        }
    };
    for gap in report.gaps.iter().take(SHOWN) {
        text.push_str(&format!("  gap {}: {}\n", gap.code, gap.detail));
    }
    if report.gaps.len() > SHOWN {
        let codes: Vec<String> =
            gap_codes(&report.gaps).iter().map(|(code, count)| format!("{count} {code}")).collect();
        text.push_str(&format!("  … {} gaps in all: {}\n", report.gaps.len(), codes.join(", ")));
    }
    for warning in &report.warnings {
        text.push_str(&format!("  warning: {warning}\n"));
    }
    if report.interrupted && report.sequence.is_some() {
        text.push_str("  interrupted: what was done is committed; run again to go on\n");
    }
    text
}

/// Snapshots, the newest first.
pub(crate) fn snapshots(snapshots: &[Snapshot]) -> String {
    let rows: Vec<[String; 8]> = snapshots
        .iter()
        .map(|s| {
            let status = format!("{:?}", s.status).to_lowercase();
            let [seen, captured, reused, gaps] = [s.seen, s.captured, s.reused, s.gaps].map(|n| n.to_string());
            [s.vault.host().to_owned(), s.sequence.to_string(), time(s.started), status, seen, captured, reused, gaps]
        })
        .collect();
    under(["vault", "snapshot", "started (UTC)", "status", "objects", "captured", "unchanged", "gaps"], &rows)
}

fn protection(mode: Option<Mode>, until: Option<DateTime<Utc>>) -> String {
    match (mode, until) {
        (None, _) => "-".into(),
        (Some(Mode::None), _) => "none".into(),
        (Some(mode), until) => format!(
            "{} {}",
            format!("{mode:?}").to_lowercase(),
            until.map_or_else(String::new, |at| format!("until {}", time(at)))
        ),
    }
}

/// Objects of the newest snapshots.
pub(crate) fn objects(listed: &[Listed]) -> String {
    let rows: Vec<[String; 6]> = listed
        .iter()
        .map(|l| {
            let state = match (&l.gap, l.captured_at, l.state) {
                (Some(gap), None, _) => format!("gap: {gap}"),
                (Some(gap), Some(_), _) => format!("gap: {gap}; has an earlier capture"),
                (None, _, Standing::Excluded) => "left out by the policy".to_owned(),
                (None, _, Standing::Gone) => "gone: purged, or its time ran out".to_owned(),
                (None, _, state) => format!("{state:?}").to_lowercase(),
            };
            [
                l.vault.host().to_owned(),
                l.object.clone(),
                state,
                maybe(l.versions, |n| n.to_string()),
                maybe(l.captured_at, time),
                protection(l.protection, l.protected_until),
            ]
        })
        .collect();
    under(["vault", "object", "state", "versions", "captured (UTC)", "protected"], &rows)
}

/// Captures of one object, the newest first.
pub(crate) fn history(history: &History) -> String {
    let rows: Vec<[String; 5]> = history
        .captures
        .iter()
        .map(|c| {
            [
                c.snapshot.to_string(),
                time(c.captured_at),
                maybe(c.versions, |n| n.to_string()),
                maybe(c.current.clone(), |id| id),
                protection(Some(c.protection), c.protected_until),
            ]
        })
        .collect();
    let mut text = format!("{} in {}:\n", history.object, history.vault.host());
    text.push_str(&table(["snapshot", "captured (UTC)", "versions", "newest version", "protected"], &rows));
    if history.excluded {
        text.push_str("the archive's policy leaves it out: the newest snapshot did not read it\n");
    }
    for sequence in &history.unreadable {
        text.push_str(&format!("snapshot {sequence} cannot be read; `akv-archiver verify` tells why\n"));
    }
    text
}
