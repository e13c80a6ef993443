//! Why a policy decides as it does: each rule in order, and the conditions that stood against it.

use serde::Serialize;

use super::selection::{Condition, Facts};
use super::{Decision, Policy, Rule};
use crate::model::Glob;

/// Why a policy decides as it does.
#[derive(Clone, Debug)]
pub struct Explanation<'p> {
    /// The rules, in order.
    pub rules: Vec<Considered<'p>>,
    /// What follows from what is known.
    pub decision: Decision<'p>,
    /// Whether it would be the same whatever is not known.
    pub certain: bool,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Considered<'p> {
    /// The rule.
    pub rule: &'p Rule,
    /// Whether it decided.
    pub outcome: Outcome,
    /// Why not, a phrase for each condition: those that do not hold, or those that nobody can tell.
    pub because: Vec<String>,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is the first that selects the object.
    Decides,
    /// A condition does not hold.
    Passed,
    /// All that is known holds; what is not known would tell.
    Open,
    /// An earlier rule decided.
    NotReached,
}

pub(super) fn explain<'p>(policy: &'p Policy, facts: &Facts<'_>) -> Explanation<'p> {
    let mut decided = None;
    let rules: Vec<Considered<'p>> = policy
        .rules
        .iter()
        .map(|rule| {
            let (outcome, because) = match decided {
                Some(_) => (Outcome::NotReached, Vec::new()),
                None => consider(rule, facts),
            };
            if outcome == Outcome::Decides {
                decided = Some(rule);
            }
            Considered { rule, outcome, because }
        })
        .collect();
    let decision = policy.decided_by(decided);
    // A rule that might have come first changes nothing where it says the same.
    let same = |rule: &'p Rule| {
        let other = policy.decided_by(Some(rule));
        other.take == decision.take && other.recapture_every == decision.recapture_every
    };
    let certain = rules.iter().all(|considered| considered.outcome != Outcome::Open || same(considered.rule));
    Explanation { rules, decision, certain }
}

fn consider(rule: &Rule, facts: &Facts<'_>) -> (Outcome, Vec<String>) {
    let (mut failed, mut unknown) = (Vec::new(), Vec::new());
    for condition in rule.selection.conditions() {
        match condition.holds(facts) {
            Some(true) => {}
            Some(false) => failed.push(why_not(condition, facts)),
            None => unknown.push(unasked(condition)),
        }
    }
    match (failed.is_empty(), unknown.is_empty()) {
        (false, _) => (Outcome::Passed, failed),
        (true, false) => (Outcome::Open, unknown),
        (true, true) => (Outcome::Decides, Vec::new()),
    }
}

fn one_of(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.as_slice() {
        [one] => one.clone(),
        several => format!("any of {}", several.join(", ")),
    }
}

fn globs(patterns: &[Glob]) -> String {
    one_of(patterns.iter().map(Glob::to_string))
}

fn why_not(condition: Condition<'_>, facts: &Facts<'_>) -> String {
    let object = facts.object;
    match condition {
        Condition::Vault(patterns) => {
            let vault = facts.vault.map(|vault| vault.host()).unwrap_or_default();
            format!("the vault is {vault}, not {}", globs(patterns))
        }
        Condition::Kind(kinds) => {
            format!("it is a {}, not {}", object.kind, one_of(kinds.iter().map(|kind| format!("a {kind}"))))
        }
        Condition::Name(patterns) => format!("its name is {}, not {}", object.name, globs(patterns)),
        Condition::Tag(name, wanted) => match facts.tags.and_then(|tags| tags.get(name)) {
            Some(value) => format!("its tag {name} is {value:?}, not {:?}", wanted.as_str()),
            None => format!("it has no tag {name}"),
        },
        Condition::Enabled(true) => "it is disabled".to_owned(),
        Condition::Enabled(false) => "it is enabled".to_owned(),
    }
}

fn unasked(condition: Condition<'_>) -> String {
    match condition {
        Condition::Vault(patterns) => format!("it asks for the vault {}, and none was named", globs(patterns)),
        Condition::Tag(name, wanted) => {
            format!("it asks for the tag {name}={}, and tags were not given", wanted.as_str())
        }
        Condition::Enabled(_) => "it asks whether the object is enabled, and that is not known".to_owned(),
        // What names the object is always known.
        Condition::Kind(_) | Condition::Name(_) => String::new(),
    }
}
