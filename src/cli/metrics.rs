//! What `status` found as metrics, in the Prometheus text format 0.0.4. Names are a contract: docs/MONITORING.md lists
//! them, and a test compares the two. Knows nothing of where they are written.

use chrono::{DateTime, Utc};

use crate::jobs::status::{Report, Standing, Verdict};

/// A gauge: its name without the prefix, and what it tells.
type Gauge = (&'static str, &'static str);

/// What a gauge shows of a vault; nothing where that is not known.
type Value = fn(&Standing) -> Option<i64>;

const PREFIX: &str = "akv_archiver_";

/// Gauges of the run.
const UP: Gauge = ("status_up", "Whether the archive could be looked at: 1, or 0 where nothing else below is known");
const CHECKED: Gauge = ("status_timestamp_seconds", "When it was looked at");
const EXIT: Gauge = ("status_exit_code", "The exit code of status");

/// Gauges of each vault, which have the label `vault`. A value that is not known is absent, and so is its line.
const VAULT: [(Gauge, Value); 11] = [
    (("expected", "Whether the settings name the vault or look for it: 1 or 0"), |it| Some(i64::from(it.expected))),
    (("newest_snapshot_timestamp_seconds", "When the newest snapshot was begun, complete or not"), |it| {
        Some(it.newest.as_ref()?.started.timestamp())
    }),
    (("newest_complete_snapshot_timestamp_seconds", "When the newest complete snapshot was begun"), |it| {
        Some(it.complete.as_ref()?.started.timestamp())
    }),
    (("max_age_seconds", "How old the newest complete snapshot may be"), |it| Some(it.max_age_seconds)),
    (("objects", "Live objects that the newest snapshot saw"), |it| number(it.newest.as_ref()?.seen)),
    (("deleted_objects", "Soft-deleted objects that the newest snapshot saw"), |it| {
        number(it.newest.as_ref()?.deleted)
    }),
    (("excluded_objects", "Objects that the policy leaves out of the newest snapshot"), |it| {
        number(it.newest.as_ref()?.excluded)
    }),
    (("gaps", "Objects that the newest snapshot could not take"), |it| number(it.newest.as_ref()?.gaps)),
    (("log_entries", "Entries in the vault's log; this never falls"), |it| number(it.entries)),
    (
        (
            "protected_until_timestamp_seconds",
            "When the first file that the newest snapshot needs loses its protection",
        ),
        |it| Some(it.protection.as_ref()?.until?.timestamp()),
    ),
    (
        (
            "unprotected_files",
            "Files that the newest snapshot needs and that are not there, not protected or not locked",
        ),
        |it| {
            let shelter = it.protection.as_ref()?;
            number(shelter.missing + shelter.unprotected + shelter.unlocked)
        },
    ),
];

/// One line for each vault and verdict.
const VERDICT: Gauge = ("vault_status", "Where the vault stands: 1 for its verdict, 0 for every other");

/// The longest file that is taken for metrics of ours: some 40 lines for each of ten thousand vaults.
pub(crate) const MOST: u64 = 64 << 20;

/// Whether bytes are metrics that an earlier run wrote.
pub(crate) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(format!("# HELP {PREFIX}{} ", UP.0).as_bytes())
}

fn number(count: u64) -> Option<i64> {
    i64::try_from(count).ok()
}

/// The metrics of a run. Without a report the run failed, and that is all there is to tell.
pub(crate) fn metrics(report: Option<&Report>, exit_code: u8, now: DateTime<Utc>) -> String {
    let mut text = String::new();
    plain(&mut text, UP, i64::from(report.is_some()));
    plain(&mut text, CHECKED, now.timestamp());
    plain(&mut text, EXIT, i64::from(exit_code));
    let vaults = report.map(|report| report.vaults.as_slice()).unwrap_or_default();
    for (gauge, value) in VAULT {
        let mut lines = vaults.iter().filter_map(|vault| Some((vault, value(vault)?))).peekable();
        if lines.peek().is_some() {
            head(&mut text, gauge);
            lines.for_each(|(vault, value)| {
                text.push_str(&format!("{PREFIX}{}{{vault=\"{}\"}} {value}\n", gauge.0, label(vault.vault.host())));
            });
        }
    }
    if !vaults.is_empty() {
        head(&mut text, VERDICT);
    }
    for (vault, verdict) in vaults.iter().flat_map(|vault| Verdict::ALL.map(|verdict| (vault, verdict))) {
        let host = label(vault.vault.host());
        let holds = i64::from(vault.status == verdict);
        text.push_str(&format!("{PREFIX}{}{{vault=\"{host}\",status=\"{}\"}} {holds}\n", VERDICT.0, verdict.name()));
    }
    text
}

fn plain(text: &mut String, gauge: Gauge, value: i64) {
    head(text, gauge);
    text.push_str(&format!("{PREFIX}{} {value}\n", gauge.0));
}

fn head(text: &mut String, (name, help): Gauge) {
    text.push_str(&format!("# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} gauge\n"));
}

/// A label's value: backslash, quote and line break are escaped.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::status::{Shelter, Snapshot, Source};
    use crate::model::VaultUri;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn standing(name: &str, status: Verdict) -> Standing {
        Standing {
            vault: VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap(),
            name: name.into(),
            status,
            named: true,
            expected: true,
            newest: None,
            previous: None,
            complete: None,
            age_seconds: None,
            max_age_seconds: 93_600,
            entries: 0,
            protection: None,
            reasons: Vec::new(),
            failure: None,
        }
    }

    fn report() -> Report {
        let snapshot = Snapshot {
            sequence: 3,
            started: at(1_000),
            status: crate::format::manifest::Status::Complete,
            seen: 7,
            captured: 1,
            reused: 6,
            gaps: 0,
            excluded: 2,
            deleted: 5,
        };
        let mut shelter = Shelter::new(Source::Listing);
        shelter.until = Some(at(9_000));
        let prod = Standing {
            newest: Some(snapshot.clone()),
            complete: Some(snapshot),
            age_seconds: Some(60),
            entries: 3,
            protection: Some(shelter),
            ..standing("prod", Verdict::Ok)
        };
        Report { status: Verdict::Never, checked: at(1_060), vaults: vec![standing("new", Verdict::Never), prod] }
    }

    #[test]
    fn a_run_reads_as_prometheus_text() {
        let text = metrics(Some(&report()), 21, at(1_060));
        assert!(is_one(text.as_bytes()) && !is_one(b"[archive]\n"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1..3], ["# TYPE akv_archiver_status_up gauge", "akv_archiver_status_up 1"]);
        for line in [
            "akv_archiver_status_timestamp_seconds 1060",
            "akv_archiver_status_exit_code 21",
            "akv_archiver_expected{vault=\"new.vault.azure.net\"} 1",
            "akv_archiver_newest_complete_snapshot_timestamp_seconds{vault=\"prod.vault.azure.net\"} 1000",
            "akv_archiver_objects{vault=\"prod.vault.azure.net\"} 7",
            "akv_archiver_deleted_objects{vault=\"prod.vault.azure.net\"} 5",
            "akv_archiver_protected_until_timestamp_seconds{vault=\"prod.vault.azure.net\"} 9000",
            "akv_archiver_vault_status{vault=\"new.vault.azure.net\",status=\"never\"} 1",
            "akv_archiver_vault_status{vault=\"new.vault.azure.net\",status=\"ok\"} 0",
        ] {
            assert_eq!(lines.iter().filter(|it| **it == line).count(), 1, "{line} in {text}");
        }
        assert!(!text.contains("objects{vault=\"new"), "what is not known is absent: {text}");
        // Every sample stands below one head of its own name, and every head has samples.
        let heads: Vec<&str> =
            lines.iter().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" gauge")).collect();
        let mut samples: Vec<&str> = lines
            .iter()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split([' ', '{']).next())
            .collect();
        samples.dedup();
        assert_eq!(samples, heads);
        assert_eq!(lines.iter().filter(|line| line.starts_with("# HELP ")).count(), heads.len());
    }

    #[test]
    fn a_run_that_failed_says_so_and_nothing_else() {
        let text = metrics(None, 13, at(5));
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            ["akv_archiver_status_up 0", "akv_archiver_status_timestamp_seconds 5", "akv_archiver_status_exit_code 13"]
        );
    }

    #[test]
    fn labels_cannot_end_their_quotes() {
        assert_eq!(label("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    #[test]
    fn the_document_lists_these_metrics() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/MONITORING.md");
        let document = std::fs::read_to_string(path).unwrap();
        let rows = document.lines().skip_while(|line| !line.starts_with("| metric |")).skip(2);
        let listed: Vec<&str> = rows.map_while(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let gauges = [UP, CHECKED, EXIT].into_iter().chain(VAULT.map(|(gauge, _)| gauge)).chain([VERDICT]);
        let known: Vec<String> = gauges.map(|(name, _)| format!("{PREFIX}{name}")).collect();
        assert_eq!(listed, known);
    }
}
