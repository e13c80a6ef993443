//! How many mutants there were, of which kind, and what was found of them: as tables for people.

use std::collections::BTreeMap;
use std::fmt;

use akv_archiver::verify::Code;

use super::archives::Sort;
use super::mutant::{Level, Mutant};

/// What became of a mutant.
pub(super) enum Outcome {
    /// The verifier left with 20 or 21, at this level for the first time, and said so.
    Found(Code, Level),
    /// It does no harm, and the verifier told of it.
    Noted(Code),
    /// It did not, or said something else.
    Missed(String),
}

/// All of them.
#[derive(Default)]
pub(super) struct Tally {
    kinds: BTreeMap<&'static str, BTreeMap<Option<Sort>, u64>>,
    notes: BTreeMap<(&'static str, Code), u64>,
    codes: BTreeMap<Code, u64>,
    levels: BTreeMap<Level, u64>,
    places: BTreeMap<&'static str, u64>,
    missed: Vec<String>,
}

impl Tally {
    pub(super) fn add(&mut self, place: &'static str, mutant: Mutant, outcome: Outcome) {
        let Mutant { kind, sort, what, level, codes, .. } = mutant;
        match outcome {
            Outcome::Noted(code) => *self.notes.entry((kind, code)).or_default() += 1,
            Outcome::Found(code, level) => {
                *self.kinds.entry(kind).or_default().entry(sort).or_default() += 1;
                *self.codes.entry(code).or_default() += 1;
                *self.levels.entry(level).or_default() += 1;
                *self.places.entry(place).or_default() += 1;
            }
            Outcome::Missed(why) => {
                self.missed.push(format!("{place}: {kind}: {what}: not {codes:?} at {level:?}: {why}"));
            }
        }
    }

    /// How many were found.
    pub(super) fn found(&self) -> u64 {
        self.codes.values().sum()
    }

    pub(super) fn missed(&self) -> &[String] {
        &self.missed
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorts: Vec<Option<Sort>> = Sort::ALL.into_iter().map(Some).chain([None]).collect();
        writeln!(f, "| mutants | archive.json | log | manifest | capture | settings | archive | all |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        let mut sums = vec![0; sorts.len()];
        for (kind, counts) in &self.kinds {
            write!(f, "| {kind}")?;
            for (number, sort) in sorts.iter().enumerate() {
                let count = counts.get(sort).copied().unwrap_or_default();
                sums[number] += count;
                write!(f, " | {count}")?;
            }
            writeln!(f, " | {} |", counts.values().sum::<u64>())?;
        }
        let sums: Vec<String> = sums.iter().map(u64::to_string).collect();
        writeln!(f, "| all | {} | {} |", sums.join(" | "), self.found())?;
        writeln!(f)?;
        self.codes.iter().try_for_each(|(code, count)| writeln!(f, "| `{}` | {count} |", code.name()))?;
        writeln!(f)?;
        self.levels.iter().try_for_each(|(level, count)| writeln!(f, "| first seen at {level:?} | {count} |"))?;
        self.places.iter().try_for_each(|(place, count)| writeln!(f, "| in a {place} store | {count} |"))?;
        writeln!(f)?;
        for ((kind, code), count) in &self.notes {
            writeln!(f, "| harmless, and told as `{}`: {kind} | {count} |", code.name())?;
        }
        writeln!(f, "{} mutants, {} missed", self.found() + self.missed.len() as u64, self.missed.len())
    }
}
