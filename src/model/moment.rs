//! A moment as people write it: RFC 3339, or a date with or without a time of day, which is UTC then. No clock: what today
//! is, it does not know.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// Parses `2026-11-20T03:00:00Z`, `2026-11-20T04:00:00+01:00`, `2026-11-20 03:00`, `2026-11-20 03:00:00` or `2026-11-20`.
/// Without an offset it is UTC; a date alone is its first moment.
///
/// # Errors
/// A sentence that says how to write it.
pub fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let plain = text.strip_suffix(" UTC").or_else(|| text.strip_suffix('Z')).unwrap_or(text).replacen('T', " ", 1);
    let time = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(&plain, form).ok())
        .or_else(|| Some(NaiveDate::parse_from_str(&plain, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN)));
    time.map(|time| time.and_utc()).ok_or_else(|| {
        format!("{text:?} is no time such as 2026-11-20, \"2026-11-20 03:00\" or 2026-11-20T03:00:00+01:00")
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_time_without_an_offset_is_utc_and_a_date_is_its_first_moment() {
        let three = "2026-11-20T03:00:00+00:00";
        for (text, meant) in [
            ("2026-11-20T03:00:00Z", three),
            ("2026-11-20T04:00:00+01:00", three),
            ("2026-11-20 04:00:00+01:00", three),
            ("2026-11-20 03:00", three),
            ("2026-11-20 03:00 UTC", three),
            ("2026-11-20T03:00", three),
            ("2026-11-20T03:00Z", three),
            ("2026-11-20 03:00:00", three),
            ("2026-11-20", "2026-11-20T00:00:00+00:00"),
        ] {
            assert_eq!(parse(text).unwrap().to_rfc3339(), meant, "{text}");
        }
        for wrong in ["", "yesterday", "2026-11", "2026-13-01", "20.11.2026", "03:00", "2026-11-20 3 pm", "2026-02-30"]
        {
            assert!(parse(wrong).unwrap_err().contains("such as"), "{wrong}");
        }
    }
}
