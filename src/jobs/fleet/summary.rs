//! What a run over several vaults did: one report for each, all of them added up, and the exit code that they deserve.

use serde::Serialize;

use crate::error::{Error, Kind};
use crate::jobs::snapshot::{Objects, Outcome, Report};
use crate::progress::Halt;

/// What a run did. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Debug, PartialEq, Serialize)]
pub struct Summary {
    /// One report for each vault, in the order of their turns.
    pub vaults: Vec<Report>,
    /// All of them.
    pub total: Total,
    /// What a person should know of how the vaults were chosen.
    pub warnings: Vec<String>,
}

/// Reports added up.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Total {
    /// How many vaults.
    pub vaults: u64,
    /// Of these, how many ended `complete`.
    pub complete: u64,
    /// How many ended `partial`.
    pub partial: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were not begun.
    pub skipped: u64,
    /// How many of what.
    pub objects: Objects,
    /// HTTP requests to vaults.
    pub requests: u64,
    /// Of these, how many were answered 429.
    pub throttled: u64,
    /// Seconds that the run took; less than the vaults' together where several were taken at the same time.
    pub seconds: f64,
}

impl Summary {
    /// Adds reports up.
    pub fn new(vaults: Vec<Report>, seconds: f64, warnings: Vec<String>) -> Self {
        let mut total = Total { vaults: vaults.len() as u64, seconds, ..Total::default() };
        for report in &vaults {
            *match report.status {
                Outcome::Complete => &mut total.complete,
                Outcome::Partial => &mut total.partial,
                Outcome::Failed => &mut total.failed,
                Outcome::Skipped => &mut total.skipped,
            } += 1;
            let Objects { seen, captured, reused, gaps, excluded } = report.objects;
            total.objects.seen += seen;
            total.objects.captured += captured;
            total.objects.reused += reused;
            total.objects.gaps += gaps;
            total.objects.excluded += excluded;
            total.requests += report.requests;
            total.throttled += report.throttled;
        }
        Summary { vaults, total, warnings }
    }
}

/// The exit code that a run deserves: `None` for success. Tampering outranks all; a signal everything else; a vault that
/// failed one that is partial or was not begun. Of several failures the first counts.
pub fn exit_kind<'a>(
    outcomes: impl Iterator<Item = Result<&'a Report, &'a Error>>,
    shortfall: Option<&Error>,
    halt: Option<Halt>,
) -> Option<Kind> {
    let of_vault = |outcome: Result<&Report, &Error>| match outcome {
        Ok(report) => matches!(report.status, Outcome::Partial | Outcome::Skipped).then_some(Kind::Partial),
        Err(error) => Some(error.kind()),
    };
    let signal = halt.filter(|halt| *halt == Halt::Signal).map(|_| Kind::Interrupted);
    let rank = |kind: Kind| match kind {
        Kind::Tampered => 3,
        Kind::Interrupted => 2,
        Kind::Partial => 0,
        _ => 1,
    };
    let kinds = outcomes.filter_map(of_vault).chain(shortfall.map(Error::kind)).chain(signal);
    kinds.reduce(|worst, kind| if rank(kind) > rank(worst) { kind } else { worst })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(status: Outcome) -> Report {
        let mut report = Report::skipped("https://a.vault.azure.net");
        report.status = status;
        report.objects = Objects { seen: 3, captured: 1, reused: 1, gaps: 1, excluded: 0 };
        (report.requests, report.throttled, report.seconds) = (5, 2, 1.5);
        report
    }

    #[test]
    fn reports_are_added_up() {
        let reports = [Outcome::Complete, Outcome::Partial, Outcome::Skipped, Outcome::Failed, Outcome::Complete];
        let Summary { total, .. } = Summary::new(reports.map(report).into(), 2.0, Vec::new());
        assert_eq!((total.vaults, total.complete, total.partial, total.failed, total.skipped), (5, 2, 1, 1, 1));
        assert_eq!(total.objects, Objects { seen: 15, captured: 5, reused: 5, gaps: 5, excluded: 0 });
        assert_eq!((total.requests, total.throttled, total.seconds), (25, 10, 2.0));
    }

    #[test]
    fn the_worst_outcome_decides() {
        use Outcome::{Complete, Partial, Skipped};
        let exit = |reports: &[Outcome], errors: &[Kind], shortfall: Option<Kind>, halt: Option<Halt>| {
            let reports: Vec<Report> = reports.iter().map(|status| report(*status)).collect();
            let errors: Vec<Error> = errors.iter().map(|kind| Error::new(*kind, "x")).collect();
            let shortfall = shortfall.map(|kind| Error::new(kind, "x"));
            exit_kind(reports.iter().map(Ok).chain(errors.iter().map(Err)), shortfall.as_ref(), halt)
        };
        assert_eq!(exit(&[Complete, Complete], &[], None, None), None);
        assert_eq!(exit(&[], &[], None, None), None);
        assert_eq!(exit(&[Complete, Partial], &[], None, None), Some(Kind::Partial));
        assert_eq!(exit(&[Complete, Skipped], &[], None, Some(Halt::Deadline)), Some(Kind::Partial));
        // Everything was done before the time was over.
        assert_eq!(exit(&[Complete], &[], None, Some(Halt::Deadline)), None);
        assert_eq!(exit(&[Complete], &[], None, Some(Halt::Signal)), Some(Kind::Interrupted));
        assert_eq!(exit(&[Partial], &[Kind::Denied, Kind::Unavailable], None, None), Some(Kind::Denied));
        assert_eq!(exit(&[], &[Kind::Denied, Kind::Tampered], None, Some(Halt::Signal)), Some(Kind::Tampered));
        assert_eq!(exit(&[Skipped], &[Kind::Denied], None, Some(Halt::Signal)), Some(Kind::Interrupted));
        assert_eq!(exit(&[Complete], &[], Some(Kind::Partial), None), Some(Kind::Partial));
        assert_eq!(exit(&[Complete], &[], Some(Kind::Unavailable), None), Some(Kind::Unavailable));
    }
}
