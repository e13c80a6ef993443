//! Times at rest: whole seconds in UTC, one spelling. Used by the derived serialisers of this room's types.

use chrono::{DateTime, Datelike as _, NaiveDateTime, Utc};
use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

const LONG: &str = "%Y-%m-%dT%H:%M:%SZ";
const SHORT: &str = "%Y%m%dT%H%M%SZ";

/// `20261121T013000Z`, for paths; `None` for a year that does not have four digits.
pub(super) fn short(time: &DateTime<Utc>) -> Option<String> {
    in_range(time).then(|| time.format(SHORT).to_string())
}

/// The time of a path.
pub(super) fn parse_short(text: &str) -> Option<DateTime<Utc>> {
    exactly(text, SHORT)
}

fn in_range(time: &DateTime<Utc>) -> bool {
    (0..=9999).contains(&time.year())
}

/// Parses, and insists on the spelling that formatting gives: `chrono` reads more than it writes.
fn exactly(text: &str, form: &str) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(text, form).ok()?.and_utc();
    // A leap second is one that `chrono` keeps as nanoseconds beyond a second; Azure's clocks have none.
    let whole = time.timestamp_subsec_nanos() == 0;
    (whole && in_range(&time) && time.format(form).to_string() == text).then_some(time)
}

/// `#[serde(with = "seconds")]`: `2026-11-21T01:30:00Z`. A fraction of a second is cut off in writing.
pub(super) mod seconds {
    use super::*;

    pub(in crate::format) fn serialize<S: Serializer>(time: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
        if !in_range(time) {
            return Err(ser::Error::custom("the year does not have four digits"));
        }
        to.collect_str(&time.format(LONG))
    }

    pub(in crate::format) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DateTime<Utc>, D::Error> {
        let text = String::deserialize(from)?;
        exactly(&text, LONG).ok_or_else(|| de::Error::custom("not a time such as 2026-11-21T01:30:00Z"))
    }
}

/// The same for a time that may be absent.
pub(super) mod maybe_seconds {
    use super::*;

    pub(in crate::format) fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => seconds::serialize(time, to),
            None => to.serialize_none(),
        }
    }

    pub(in crate::format) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<DateTime<Utc>>, D::Error> {
        seconds::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_one_spelling() {
        let time = parse_short("20261121T013000Z").unwrap();
        assert_eq!(short(&time).as_deref(), Some("20261121T013000Z"));
        for wrong in [
            "20261121T013000",
            "2026112T1013000Z",
            "20261121T013000z",
            "20261121T240000Z",
            "20261121T013060Z",
            " 0261121T013000Z",
            "+20261121T013000Z",
        ] {
            assert_eq!(parse_short(wrong), None, "{wrong}");
        }
        for wrong in
            ["2026-11-21T01:30:00.5Z", "2026-11-21T01:30:00+00:00", "2026-11-21 01:30:00Z", "2026-11-21T1:30:00Z"]
        {
            assert_eq!(exactly(wrong, LONG), None, "{wrong}");
        }
        assert!(exactly("0000-01-01T00:00:00Z", LONG).is_some());
        assert_eq!(short(&(DateTime::<Utc>::MAX_UTC)), None);
    }
}
