//! This machine's clock against a service's. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::Check;
use crate::error::{Error, Kind};

/// Clocks may differ by so much before a person should know: what Entra ID tolerates around a token's times.
const WARN: TimeDelta = TimeDelta::minutes(5);

/// The shortest life of an access token: by a clock that is further off, each one has expired or is not yet valid.
const FAIL: TimeDelta = TimeDelta::hours(1);

/// Compares clocks: theirs, as a `Date` header told, and ours.
pub(super) fn check_clock(subject: &str, theirs: DateTime<Utc>, ours: DateTime<Utc>) -> Check {
    const FIX: &str = "synchronise this machine's clock";
    let skew = ours - theirs;
    let detail = format!("{} s from the service's", skew.num_seconds());
    match skew.abs() {
        skew if skew <= WARN => Check::ok(subject, "clock", detail),
        skew if skew <= FAIL => Check::warn(subject, "clock", detail, FIX),
        _ => {
            let why = format!("{detail}: tokens are expired or not yet valid by one of the two");
            Check::fail(subject, "clock", Error::new(Kind::Refused, why).hint(FIX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::doctor::Verdict;

    #[test]
    fn five_minutes_are_borne_and_a_tokens_life_is_the_end() {
        let ours = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for (seconds, verdict) in
            [(300, Verdict::Ok), (301, Verdict::Warn), (3_600, Verdict::Warn), (3_601, Verdict::Fail)]
        {
            for skew in [TimeDelta::seconds(seconds), -TimeDelta::seconds(seconds)] {
                assert_eq!(check_clock("prod", ours + skew, ours).verdict, verdict, "{skew}");
            }
        }
    }
}
