//! What a verification found, as people read it: the verdict, what was looked at, how much of what, then the findings.

use std::collections::BTreeMap;

use super::render::{SHOWN, plural, time};
use crate::verify::{Code, Finding, Report, Severity, Status};

/// A verdict on one screen. Of what was found a thousand times, twenty are shown.
pub(crate) fn verdict(report: &Report) -> String {
    let checked = &report.checked;
    let word = match report.status {
        Status::Ok => "ok",
        Status::Noncompliant => "NONCOMPLIANT",
        Status::Tampered => "TAMPERED",
    };
    let until = checked
        .protected_until
        .map_or_else(String::new, |at| format!("; the newest snapshots are locked until {} at least", time(at)));
    let mut text = format!(
        "{word}: {}, {}, {}, {}{} in {}{until}\n",
        plural(checked.vaults, "vault", "vaults"),
        plural(checked.entries, "log entry", "log entries"),
        plural(checked.snapshots, "snapshot", "snapshots"),
        plural(checked.captures, "capture", "captures"),
        read(report),
        plural(checked.files, "file", "files"),
    );
    if !report.counts.is_empty() {
        let mut counts: Vec<(&Code, &u64)> = report.counts.iter().collect();
        counts.sort_by_key(|(code, _)| std::cmp::Reverse(code.severity()));
        let counts: Vec<String> = counts.iter().map(|(code, count)| format!("{count} {}", code.name())).collect();
        text.push_str(&format!("found: {}\n", counts.join(", ")));
    }
    let mut shown: BTreeMap<Code, usize> = BTreeMap::new();
    for finding in &report.findings {
        let number = shown.entry(finding.code).or_default();
        *number += 1;
        if *number <= SHOWN {
            text.push_str(&line(finding));
        } else if *number == SHOWN + 1 {
            let all = report.counts.get(&finding.code).copied().unwrap_or_default();
            let more = all.saturating_sub(SHOWN as u64);
            text.push_str(&format!("  … and {more} more {}; --output json shows them\n", finding.code.name()));
        }
    }
    text
}

/// How many captures were read, if any.
fn read(report: &Report) -> String {
    let checked = &report.checked;
    let parts =
        [(checked.read, "read"), (checked.opened, "opened"), (checked.skipped, "covered by the earlier report")];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Note => "note",
        Severity::Noncompliant => "noncompliant",
        Severity::Tampered => "tampered",
    };
    let place = if finding.path.is_empty() { String::new() } else { format!(" {}", finding.path) };
    format!("  {severity} {}{place}: {}\n", finding.code.name(), finding.detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{Checked, Findings};

    #[test]
    fn counts_come_first_and_what_is_alike_is_cut_short() {
        let mut findings = Findings::default();
        (0..25).for_each(|number| findings.add(Code::Orphan, format!("p{number:02}"), "nobody refers to it"));
        findings.add(Code::CaptureMissing, "x", "gone");
        let counts = findings.counts().clone();
        let checked = Checked { captures: 3, read: 2, opened: 1, skipped: 1, ..Checked::default() };
        let findings = findings.sorted();
        let text = verdict(&Report { status: Status::Tampered, counts, findings, checked, record: None });
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].contains("3 captures (2 read, 1 opened, 1 covered by the earlier report) in 0 files"),
            "{text}"
        );
        assert_eq!(lines[1], "found: 1 capture-missing, 25 orphan");
        assert_eq!(lines[2], "  tampered capture-missing x: gone");
        assert_eq!((lines.len(), lines[23]), (24, "  … and 5 more orphan; --output json shows them"));
    }
}
