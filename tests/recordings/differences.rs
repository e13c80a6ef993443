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

/// Judges what was found by the committed list.
///
/// # Panics
/// If a difference is not listed or an entry does not occur, with all of them.
pub(super) fn judge(found: &[Found]) {
    let file: File = toml::from_str(include_str!("differences.toml")).unwrap();
    let count = file.difference.len();
    assert!(count <= MOST, "{count} entries in differences.toml, more than {MOST}: the list may only shrink");
    assert!(file.difference.iter().all(|entry| entry.reason.len() > 20), "every entry gives its reason");
    let wrong = wrong(&file.difference, found);
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// What is wrong: differences that are not listed, and entries that do not occur.
fn wrong(allowed: &[Allowed], found: &[Found]) -> String {
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
        let Allowed { request, at: place, what, .. } = entry;
        writeln!(text, "entry {} no longer occurs, take it out: {request} {place} {what}", at + 1).unwrap();
    }
    text
}

#[test]
fn only_what_is_listed_and_occurs_is_right() {
    let found = |at: &str, file: &str| Found {
        file: file.into(),
        place: String::new(),
        request: "GET /keys".into(),
        answer: 200,
        difference: Difference::new(at, "value", "old words", "new words"),
    };
    let allowed = |request: &str, at: &str, file: &str, recorded: &str| Allowed {
        request: request.into(),
        file: file.into(),
        answer: 200,
        at: at.into(),
        what: "value".into(),
        recorded: recorded.into(),
        reason: String::new(),
    };
    for entry in [allowed("*", "$.a.b", "", ""), allowed("GET /keys", "*.b", "2020", "old")] {
        assert_eq!(wrong(&[entry], &[found("$.a.b", "of 2020")]), "");
    }
    for entry in [
        allowed("GET /secrets", "$.a.b", "", ""),
        allowed("*", "$.a", "", ""),
        allowed("*", "$.a.b", "2021", ""),
        allowed("*", "$.a.b", "", "new"),
    ] {
        let wrong = wrong(&[entry], &[found("$.a.b", "of 2020")]);
        assert!(wrong.contains("GET /keys → 200: $.a.b value") && wrong.contains("no longer occurs"), "{wrong}");
    }
}
