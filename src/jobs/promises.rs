//! What a policy demands of the archive, compared with the archive: enough recipients, a lock, a long enough period. Pure:
//! whoever asks the store hands its answer in.

use crate::error::{Error, Kind, Result};
use crate::jobs::doctor::Check;
use crate::model::{Mode, duration};
use crate::policy::{Lock, Policy};
use crate::store::Guard;

/// What the doctor's lines are about.
const SUBJECT: &str = "policy";

/// Refuses fewer recipients than the policy wants.
pub fn quorum(policy: &Policy, recipients: usize) -> Result<()> {
    let wanted = usize::from(policy.recipients.quorum);
    match recipients >= wanted {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "policy {:?} wants {wanted} recipients, and archive.recipients names {recipients}",
            policy.name
        ))
        .hint("add a recipient whose identity somebody else keeps, or choose another policy")),
    }
}

/// Refuses a store whose protection its administrator can take back, where the policy wants a lock.
///
/// A lock that may not be read is no reason to stop: a backup that is not taken is lost for certain. `doctor` and
/// `verify` speak of it.
pub fn lock(policy: &Policy, place: &str, guard: &Guard) -> Result<()> {
    let unlocked = !guard.protects() || matches!(guard.lock, Some(Mode::None | Mode::Unlocked)) && !guard.legal_hold;
    match policy.retention.lock {
        Lock::Required if unlocked => Err(Error::new(
            Kind::Noncompliant,
            format!("policy {:?} wants a locked archive, and {place} is not locked", policy.name),
        )
        .hint(
            "prove a restore under a policy with lock = \"optional\", then lock the container's immutability policy",
        )),
        _ => Ok(()),
    }
}

/// Everything that a policy demands, as checks of the doctor. `guard` is absent where the store could not be asked.
pub fn check(policy: &Policy, recipients: usize, store: Option<(&str, &Guard)>) -> Vec<Check> {
    let demanded = |what: &str, outcome: Result<()>, detail: String| match outcome {
        Ok(()) => Check::ok(SUBJECT, &format!("{}: {what}", policy.name), detail),
        Err(error) => Check::fail(SUBJECT, &format!("{}: {what}", policy.name), error),
    };
    let mut checks = vec![demanded(
        "recipients",
        quorum(policy, recipients),
        format!("{recipients}, at least {} wanted", policy.recipients.quorum),
    )];
    let Some((place, guard)) = store else { return checks };
    if policy.retention.lock == Lock::Required {
        let known = if guard.lock.is_some() { "locked" } else { "whether it is locked could not be read" };
        checks.push(demanded("lock", lock(policy, place, guard), known.to_owned()));
    }
    checks.extend(period(policy, guard));
    checks
}

/// Whether captures can be protected for as long as the policy wants at all.
fn period(policy: &Policy, guard: &Guard) -> Option<Check> {
    let days = guard.days.filter(|_| guard.protects())?;
    let what = format!("{}: protection", policy.name);
    let wanted = policy.retention.protection_min;
    let text = duration::render(wanted.to_std().unwrap_or_default());
    Some(match i64::from(days) * 86_400 >= wanted.num_seconds() {
        true => Check::ok(SUBJECT, &what, format!("{days} days, at least {text} wanted")),
        false => Check::warn(
            SUBJECT,
            &what,
            format!("{days} days, and the policy wants {text}: every run captures everything anew, and verify objects"),
            "extend the container's period, or choose a policy with a smaller protection_min",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::doctor::Verdict;
    use crate::store::Worm;

    fn regulated() -> Policy {
        Policy::built_in("regulated").unwrap()
    }

    fn guard(lock: Option<Mode>, days: u32) -> Guard {
        Guard { worm: Worm::VersionLevel, lock, days: Some(days), legal_hold: false }
    }

    #[test]
    fn too_few_recipients_are_refused() {
        quorum(&regulated(), 2).unwrap();
        let error = quorum(&regulated(), 1).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(error.message(), "policy \"regulated\" wants 2 recipients, and archive.recipients names 1");
        quorum(&Policy::built_in("default").unwrap(), 1).unwrap();
    }

    #[test]
    fn what_can_be_taken_back_is_no_lock() {
        let held = Guard { legal_hold: true, ..guard(Some(Mode::Unlocked), 365) };
        for (guard, fine) in [
            (guard(Some(Mode::Locked), 365), true),
            (guard(None, 365), true),
            (held, true),
            (guard(Some(Mode::Unlocked), 365), false),
            (guard(Some(Mode::None), 365), false),
            (Guard::NONE, false),
        ] {
            assert_eq!(lock(&regulated(), "here", &guard).is_ok(), fine, "{guard:?}");
            lock(&Policy::built_in("default").unwrap(), "here", &guard).unwrap();
        }
        assert_eq!(lock(&regulated(), "here", &Guard::NONE).unwrap_err().kind(), Kind::Noncompliant);
    }

    #[test]
    fn the_doctor_says_what_the_job_would_refuse_and_what_would_cost() {
        let verdicts = |recipients, guard: &Guard| {
            let checks = check(&regulated(), recipients, Some(("here", guard)));
            checks.into_iter().map(|check| check.verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(2, &guard(Some(Mode::Locked), 90)), [Verdict::Ok, Verdict::Ok, Verdict::Ok]);
        assert_eq!(verdicts(1, &guard(Some(Mode::Unlocked), 89)), [Verdict::Fail, Verdict::Fail, Verdict::Warn]);
        assert_eq!(check(&regulated(), 2, None).len(), 1);
    }
}
