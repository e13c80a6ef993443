//! How files are protected, and what was changed of it, as people read it.

use chrono::{DateTime, Utc};

use super::{SHOWN, maybe, plural, time};
use crate::cli::table::table;
use crate::format::entry::ProtectAction;
use crate::jobs::protect::{MOST_EXTENSIONS, Report, Row, Standing, Status, Turned};
use crate::model::Mode;

/// How everything is protected: by class, and by vault where there are several.
pub(crate) fn standing(standing: &Standing) -> String {
    let store = &standing.store;
    let lock = match store.lock {
        None => "whether it is locked could not be read",
        Some(Mode::None) => "no default policy",
        Some(Mode::Unlocked) => "UNLOCKED",
        Some(Mode::Locked) => "locked",
    };
    let mut text = match store.worm {
        "none" => "the store protects nothing of its own accord\n".to_owned(),
        worm => {
            let days = store.days.map_or_else(String::new, |days| format!(", {days} days"));
            format!("{} policy{days}, {lock}\n", worm)
        }
    };
    if store.legal_hold {
        text.push_str("a legal hold covers the whole store\n");
    }
    let rows: Vec<[String; 7]> = standing.classes.iter().filter(|row| row.versions > 0).map(row).collect();
    text.push_str(&table(
        ["class", "versions", "mode", "held", "locked until (UTC)", "shortest remaining", "at risk"],
        &rows,
    ));
    if standing.vaults.len() > 1 {
        let rows: Vec<[String; 4]> = standing
            .vaults
            .iter()
            .map(|vault| {
                let sum = |of: fn(&Row) -> u64| vault.classes.iter().map(of).sum::<u64>();
                let earliest = vault.classes.iter().filter_map(|row| row.earliest).min();
                [
                    vault.vault.host().to_owned(),
                    sum(|row| row.versions).to_string(),
                    maybe(earliest, time),
                    sum(|row| row.at_risk).to_string(),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(["vault", "versions", "first end (UTC)", "at risk"], &rows));
    }
    for note in &standing.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if standing.at_risk {
        text.push_str(
            "AT RISK: what the archive lives on is not locked for long enough; docs/PROTECTION.md tells what to do\n",
        );
    }
    text
}

fn row(row: &Row) -> [String; 7] {
    let modes = [(row.locked, "locked"), (row.unlocked, "unlocked"), (row.lapsed, "ended"), (row.unprotected, "none")];
    let several = modes.iter().filter(|(count, _)| *count > 0).count() > 1;
    let modes = modes.iter().filter(|(count, _)| *count > 0);
    let modes: Vec<String> =
        modes.map(|(count, mode)| if several { format!("{count} {mode}") } else { (*mode).to_owned() }).collect();
    [
        row.class.name().to_owned(),
        row.versions.to_string(),
        modes.join(", "),
        if row.held > 0 { row.held.to_string() } else { "-".to_owned() },
        span(row.earliest, row.latest),
        maybe(row.shortest_remaining_seconds, |seconds| match seconds {
            0 => "over".to_owned(),
            seconds => plural(seconds.unsigned_abs() / 86_400, "day", "days"),
        }),
        row.at_risk.to_string(),
    ]
}

fn span(earliest: Option<DateTime<Utc>>, latest: Option<DateTime<Utc>>) -> String {
    match (earliest, latest) {
        (Some(earliest), Some(latest)) if time(earliest) != time(latest) => {
            format!("{} to {}", time(earliest), time(latest))
        }
        (earliest, _) => maybe(earliest, time),
    }
}

/// What would be changed, or what was.
pub(crate) fn report(report: &Report) -> String {
    let (selected, change) = report.counts();
    let what = match report.until {
        Some(until) => format!("extend to {} UTC{}", time(until), if report.lock { " and lock" } else { "" }),
        None => report.action.name().to_owned(),
    };
    let of = format!("{change} of {}", plural(selected, "version", "versions"));
    let mut text = match report.status {
        Status::Nothing => {
            format!("{what}: nothing to change: {} so already\n", plural(selected, "version is", "versions are"))
        }
        Status::Planned => format!("{what}: {of} would be changed\n"),
        Status::Done => format!("{what}: done: {} changed\n", plural(report.changed, "version", "versions")),
        Status::Partial => format!("{what}: PARTIAL: {} changed\n", plural(report.changed, "version", "versions")),
        Status::Interrupted => {
            format!("{what}: INTERRUPTED: {} changed\n", plural(report.changed, "version", "versions"))
        }
    };
    if let Some(container) = &report.container {
        text.push_str(&turned(container));
    }
    if matches!(report.status, Status::Planned | Status::Nothing) {
        text.push_str(&affected(report));
    }
    for entry in &report.entries {
        text.push_str(&format!("entry {} in the log of {} tells of it\n", entry.sequence, entry.vault.host()));
    }
    failures(report, &mut text);
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if report.status == Status::Planned {
        text.push_str(&consequences(report));
    }
    text
}

/// By class what would be changed, and until when that is protected, before and after.
fn affected(report: &Report) -> String {
    let rows = report.classes.iter().map(|row| {
        let counts = [row.selected, row.already, row.change].map(|count| count.to_string());
        let [selected, already, change] = counts;
        let (before, after) = (span(row.earliest, row.latest), span(row.earliest_after, row.latest_after));
        [row.class.name().to_owned(), selected, already, change, before, after]
    });
    let rows: Vec<[String; 6]> = rows.collect();
    table(["class", "versions", "so already", "to change", "of these, protected until (UTC)", "afterwards"], &rows)
}

/// A container's own policy and holds, before and after.
fn turned(container: &Turned) -> String {
    let policy = |days: Option<u32>, lock: Mode| match days {
        None => "none".to_owned(),
        Some(days) => {
            let lock = if lock == Mode::Locked { "locked" } else { "unlocked" };
            format!("{}, {lock}", plural(days.into(), "day", "days"))
        }
    };
    let arrow = |before: String, after: String| if before == after { before } else { format!("{before} -> {after}") };
    let (before, after) = (policy(container.days, container.lock), policy(container.days_after, container.lock_after));
    let mut text = format!("policy of the container: {}\n", arrow(before, after));
    if container.lock == Mode::Locked {
        let longer = container.days_after > container.days;
        text.push_str(&match (container.extensions_used, container.extensions_after) {
            (_, Some(after)) if longer => format!("this is extension {after} of {MOST_EXTENSIONS}\n"),
            (Some(used), _) => format!("it was extended {used} of {MOST_EXTENSIONS} times\n"),
            (None, _) => format!("how many of its {MOST_EXTENSIONS} extensions are used is not known\n"),
        });
    }
    let tags = |tags: &[String]| if tags.is_empty() { "none".to_owned() } else { tags.join(", ") };
    text.push_str(&format!("legal holds: {}\n", arrow(tags(&container.tags), tags(&container.tags_after))));
    if container.tags_after.len() < container.tags.len() && !container.tags_after.is_empty() {
        text.push_str("the other holds stay: no file can be deleted while there is one\n");
    }
    text
}

fn failures(report: &Report, text: &mut String) {
    for failure in report.failures.iter().take(SHOWN) {
        text.push_str(&format!("  failed: {}: {}\n", failure.path, failure.error));
    }
    let more = report.failed.saturating_sub(SHOWN as u64);
    if more > 0 {
        text.push_str(&format!("  … and {more} more\n"));
    }
    if report.not_tried > 0 {
        text.push_str(&format!("{} not tried\n", plural(report.not_tried, "version was", "versions were")));
    }
    if report.failed + report.not_tried > 0 {
        text.push_str("run again: what is done is left alone\n");
    }
}

/// What somebody must know before going on.
fn consequences(report: &Report) -> String {
    let unlocked: u64 = report.classes.iter().map(|row| row.left_unlocked).sum();
    let mut text = String::new();
    if report.action == ProtectAction::Extend {
        if unlocked > 0 {
            let them = plural(unlocked, "version stays", "versions stay");
            text.push_str(&format!("{them} unlocked: whoever may set policies can take it back; --lock locks them\n"));
        }
        if unlocked < report.counts().1 {
            text.push_str("what is locked cannot be deleted before that day by anybody, nor paid for less\n");
        }
        if report.container.is_some() {
            text.push_str("it is so for every file in the container, and for all that will be put there\n");
        }
    }
    text.push_str("nothing was changed; --yes carries it out, after an entry in the log\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::Class;
    use crate::jobs::protect::{Affected, Failure, Store};
    use crate::model::StorePath;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_table_by_class_with_what_is_at_risk() {
        let log = Row {
            class: Class::Log,
            versions: 3,
            bytes: 9,
            locked: 2,
            unlocked: 1,
            lapsed: 0,
            unprotected: 0,
            held: 1,
            short: 0,
            at_risk: 1,
            earliest: Some(at(86_400)),
            latest: Some(at(2 * 86_400)),
            shortest_remaining_seconds: Some(86_400),
        };
        let store = Store { worm: "version-level", lock: Some(Mode::Locked), days: Some(365), legal_hold: false };
        let shown = standing(&Standing {
            at_risk: true,
            checked: at(0),
            store,
            classes: vec![log],
            vaults: Vec::new(),
            notes: vec!["something".into()],
        });
        let expected = "\
version-level policy, 365 days, locked
CLASS  VERSIONS  MODE                  HELD  LOCKED UNTIL (UTC)                    SHORTEST REMAINING  AT RISK
log    3         2 locked, 1 unlocked  1     1970-01-02 00:00 to 1970-01-03 00:00  1 day               1
note: something
AT RISK: what the archive lives on is not locked for long enough; docs/PROTECTION.md tells what to do
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_plan_tells_what_cannot_be_taken_back_and_an_outcome_what_failed() {
        let affected = Affected {
            class: Class::Archive,
            selected: 3,
            already: 1,
            change: 2,
            left_unlocked: 1,
            earliest: Some(at(0)),
            latest: Some(at(0)),
            earliest_after: Some(at(86_400)),
            latest_after: Some(at(86_400)),
        };
        let planned = Report {
            action: ProtectAction::Extend,
            until: Some(at(86_400)),
            lock: false,
            reason: None,
            status: Status::Planned,
            container: None,
            classes: vec![affected],
            entries: Vec::new(),
            changed: 0,
            failed: 0,
            not_tried: 0,
            failures: Vec::new(),
            notes: Vec::new(),
        };
        let expected = "\
extend to 1970-01-02 00:00 UTC: 2 of 3 versions would be changed
CLASS    VERSIONS  SO ALREADY  TO CHANGE  OF THESE, PROTECTED UNTIL (UTC)  AFTERWARDS
archive  3         1           2          1970-01-01 00:00                 1970-01-02 00:00
1 version stays unlocked: whoever may set policies can take it back; --lock locks them
what is locked cannot be deleted before that day by anybody, nor paid for less
nothing was changed; --yes carries it out, after an entry in the log
";
        assert_eq!(report(&planned), expected);
        let path = StorePath::parse("archive.json").unwrap();
        let failures = vec![Failure { path, version: None, error: "no".into() }];
        let partial = Report { status: Status::Partial, changed: 1, failed: 1, not_tried: 1, failures, ..planned };
        let expected = "\
extend to 1970-01-02 00:00 UTC: PARTIAL: 1 version changed
  failed: archive.json: no
1 version was not tried
run again: what is done is left alone
";
        assert_eq!(report(&partial), expected);
    }

    #[test]
    fn a_container_shows_which_extension_it_is_and_what_holds_are_left() {
        let extended = Turned {
            days: Some(365),
            days_after: Some(400),
            lock: Mode::Locked,
            lock_after: Mode::Locked,
            extensions_used: Some(1),
            extensions_after: Some(2),
            tag: None,
            tags: vec!["audit".into(), "case7".into()],
            tags_after: vec!["audit".into(), "case7".into()],
        };
        let shown = turned(&extended);
        assert_eq!(
            shown,
            "policy of the container: 365 days, locked -> 400 days, locked\nthis is extension 2 of 5\nlegal holds: audit, case7\n"
        );
        let released = Turned { days_after: Some(365), tags_after: vec!["audit".into()], ..extended.clone() };
        let shown = turned(&released);
        assert!(shown.contains("legal holds: audit, case7 -> audit\nthe other holds stay"), "{shown}");
        let untold = turned(&Turned { extensions_used: None, extensions_after: None, ..extended });
        assert!(untold.contains("how many of its 5 extensions are used is not known"), "{untold}");
    }
}
