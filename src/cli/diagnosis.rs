//! The doctor's checks as a person reads them: a group for each thing that was looked at, a line for each check, its fix
//! below it, and at the end how many need somebody.

use super::render::plural;
use crate::jobs::doctor::{Check, Verdict};

/// Checks by subject, in the order in which subjects come first.
pub(crate) fn doctor(checks: &[Check]) -> String {
    let mut subjects: Vec<&str> = Vec::new();
    for check in checks {
        if !subjects.contains(&check.subject.as_str()) {
            subjects.push(&check.subject);
        }
    }
    let width = checks.iter().map(|check| check.check.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for subject in subjects {
        text.push_str(&format!("{subject}\n"));
        for check in checks.iter().filter(|check| check.subject == subject) {
            let mark = match check.verdict {
                Verdict::Ok => "OK  ",
                Verdict::Warn => "WARN",
                Verdict::Fail => "FAIL",
            };
            text.push_str(&format!("  {mark} {:<width$}  {}\n", check.check, check.detail));
            if let Some(fix) = &check.fix {
                text.push_str(&format!("       hint: {fix}\n"));
            }
        }
    }
    let of = |verdict| checks.iter().filter(|check| check.verdict == verdict).count() as u64;
    text.push_str(&format!(
        "{}: {}, {}\n",
        plural(checks.len() as u64, "check", "checks"),
        plural(of(Verdict::Fail), "failure", "failures"),
        plural(of(Verdict::Warn), "warning", "warnings"),
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn checks_stand_with_what_they_are_about_and_are_counted() {
        let checks = [
            Check::ok("prod", "list keys", "allowed"),
            Check::warn("archive", "write-once", "not locked", "lock it"),
            Check::fail("prod", "clock", Error::usage("2 h off")),
        ];
        let expected = "\
prod
  OK   list keys   allowed
  FAIL clock       2 h off
archive
  WARN write-once  not locked
       hint: lock it
3 checks: 1 failure, 1 warning
";
        assert_eq!(doctor(&checks), expected);
    }
}
