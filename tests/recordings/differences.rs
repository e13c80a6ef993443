//! The allow-list: what the emulator may answer otherwise than Azure did, each with its reason. A difference that is not
//! listed fails, and so does a listed one that no longer occurs: the list only shrinks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;

use super::compare::Difference;

/// How many entries there are. It may be lowered.
const MOST: usize = 13;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    difference: Vec<Allowed>,
}

/// One entry. It covers every occurrence of one difference in one operation's answers of one status.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    /// The operation, such as `GET /deletedkeys/{name}`, or `*`.
    request: String,
    /// A part of the recording's name, where that narrows it down.
    #[serde(default)]
    file: String,
    /// The recorded status.
    answer: u16,
    at: String,
    what: String,
    /// A part of what was recorded, where that narrows it down.
    #[serde(default)]
    recorded: String,
    reason: String,
}

impl Allowed {
    fn covers(&self, found: &Found) -> bool {
        (self.request == "*" || self.request == found.request)
            && self.answer == found.answer
            && found.file.contains(&self.file)
            && match self.at.strip_prefix('*') {
                Some(end) => found.difference.at.ends_with(end),
                None => self.at == found.difference.at,
            }
            && self.what == found.difference.what
            && found.difference.recorded.contains(&self.recorded)
    }
}

/// A difference and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) file: String,
    pub(super) place: String,
    pub(super) request: String,
    pub(super) answer: u16,
    pub(super) difference: Difference,
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

/// What is wrong: differences that are not listed, and entries that do not occur.
///
/// # Panics
/// If there is any of either, with all of them.
pub(super) fn judge(found: &[Found]) {
    let file: File = toml::from_str(include_str!("differences.toml")).unwrap();
    let allowed = file.difference;
    assert!(allowed.len() <= MOST, "{} entries in differences.toml, more than {MOST}: the list may only shrink", allowed.len());
    assert!(allowed.iter().all(|entry| entry.reason.len() > 20), "every entry gives its reason");
    let mut text = String::new();
    let mut unlisted: BTreeMap<String, Vec<&Found>> = BTreeMap::new();
    let mut occurs: BTreeSet<usize> = BTreeSet::new();
    for found in found {
        let entries: Vec<usize> = (0..allowed.len()).filter(|at| allowed[*at].covers(found)).collect();
        occurs.extend(&entries);
        if entries.is_empty() {
            let Found { request, answer, difference, .. } = found;
            let key = format!("{request} → {answer}: {} {}", difference.at, difference.what);
            unlisted.entry(key).or_default().push(found);
        }
    }
    for (key, all) in &unlisted {
        writeln!(text, "{key} ({} times)", all.len()).unwrap();
        for found in all.iter().take(2) {
            let Difference { recorded, ours, .. } = &found.difference;
            writeln!(text, "    {}: expected {}, found {}", found.place, short(recorded), short(ours)).unwrap();
        }
    }
    for (at, entry) in allowed.iter().enumerate().filter(|(at, _)| !occurs.contains(at)) {
        writeln!(text, "entry {} no longer occurs, take it out: {} {} {}", at + 1, entry.request, entry.at, entry.what).unwrap();
    }
    assert!(text.is_empty(), "\n{text}");
}
