//! Times, counts and lists as reasons spell them. Decides nothing.

use std::fmt::Display;

use chrono::{DateTime, Utc};

use crate::restore::source::Versions;

/// Items of a list before "and N more": a key may have hundreds of versions.
const LISTED: usize = 12;

/// A time to the minute.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// A time to the minute, if there is one.
pub(super) fn maybe_time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "an unknown date".into(), time)
}

/// `1 version`, `2 versions`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The first items, and how many more there are.
pub(super) fn list(items: &[impl Display], separator: &str) -> String {
    let mut text: Vec<String> = items.iter().take(LISTED).map(ToString::to_string).collect();
    if items.len() > LISTED {
        text.push(format!("and {} more", items.len() - LISTED));
    }
    text.join(separator)
}

/// What would be missing of a capture whose object is recovered in the state that it had at this version.
pub(super) fn missing(captured: &Versions, at: Option<&str>) -> String {
    let created = |id: &str| captured.get(id).and_then(|version| version.attributes.created);
    let reached = at.and_then(created);
    let newer: Vec<&String> = captured.keys().filter(|id| at != Some(*id) && created(id) > reached).collect();
    match newer.as_slice() {
        [] => "what was changed after that, such as tags, would be missing".into(),
        newer => format!("captured {} would be missing: {}", count(newer.len(), "version"), list(newer, ", ")),
    }
}
