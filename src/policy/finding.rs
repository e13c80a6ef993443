//! What is allowed in a policy and probably not meant, or unwise. Codes are stable; docs/POLICIES.md lists them, and a
//! test compares the two.

use chrono::TimeDelta;
use serde::Serialize;

use super::{Effect, Lock, Policy, Rule};
use crate::model::{Glob, duration};

/// Microsoft advises to take backups anew when a key was rotated, and at least so often that what opens them is
/// current. A quarter is the longest that we have seen defended.
const RECAPTURE_MAX: TimeDelta = TimeDelta::days(90);

/// What was found. Codes are never changed and never used for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// No object is taken.
    TakesNothing,
    /// A rule that an earlier one leaves nothing for.
    UnreachableRule,
    /// A pattern that no object's name can fit.
    MatchesNothing,
    /// A snapshot is stale before the next is due.
    RpoTooTight,
    /// A capture's protection may end before a missed renewal is made up for.
    ProtectionBeforeRenewal,
    /// Captures grow old.
    RecaptureRare,
    /// New objects are left out until somebody adds a rule.
    LeavesOutTheRest,
    /// One lost identity loses the archive.
    QuorumOne,
    /// Protection that its administrator can take back is enough.
    LockOptional,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Probably not what was meant.
    Warning,
    /// Worth knowing; may well be meant.
    Note,
}

impl Code {
    /// All codes, in the order in which they are reported.
    pub const ALL: [Code; 9] = [
        Code::TakesNothing,
        Code::UnreachableRule,
        Code::MatchesNothing,
        Code::RpoTooTight,
        Code::ProtectionBeforeRenewal,
        Code::RecaptureRare,
        Code::LeavesOutTheRest,
        Code::QuorumOne,
        Code::LockOptional,
    ];

    /// The code in reports.
    pub fn name(self) -> &'static str {
        match self {
            Code::TakesNothing => "takes-nothing",
            Code::UnreachableRule => "unreachable-rule",
            Code::MatchesNothing => "matches-nothing",
            Code::RpoTooTight => "rpo-too-tight",
            Code::ProtectionBeforeRenewal => "protection-before-renewal",
            Code::RecaptureRare => "recapture-rare",
            Code::LeavesOutTheRest => "leaves-out-the-rest",
            Code::QuorumOne => "quorum-one",
            Code::LockOptional => "lock-optional",
        }
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Code::LeavesOutTheRest | Code::QuorumOne | Code::LockOptional => Severity::Note,
            _ => Severity::Warning,
        }
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One finding. Its JSON form is a contract (`docs/JSON.md`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was found.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The rule that it concerns.
    pub rule: Option<String>,
    /// In a sentence.
    pub detail: String,
}

impl Finding {
    fn of(code: Code, rule: Option<&Rule>, detail: impl Into<String>) -> Self {
        Finding { code, severity: code.severity(), rule: rule.map(|rule| rule.name.clone()), detail: detail.into() }
    }
}

/// All findings, in the order of their codes.
pub(super) fn findings(policy: &Policy) -> Vec<Finding> {
    let mut found = of_rules(policy);
    found.extend(of_times(policy));
    if policy.recipients.quorum == 1 {
        let detail = "one recipient is enough: whoever loses its identity loses the archive";
        found.push(Finding::of(Code::QuorumOne, None, detail));
    }
    if policy.retention.lock == Lock::Optional {
        let detail = "the archive may lie where its administrator can delete it: set lock = \"required\" once a restore is proved and the container locked";
        found.push(Finding::of(Code::LockOptional, None, detail));
    }
    found.sort_by_key(|finding| finding.code);
    found
}

fn of_rules(policy: &Policy) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        let earlier = policy.rules.iter().take(index);
        if let Some(earlier) = earlier.clone().find(|earlier| earlier.selection.covers(&rule.selection)) {
            let detail = format!("it never decides: rule {:?} before it selects all that it selects", earlier.name);
            found.push(Finding::of(Code::UnreachableRule, Some(rule), detail));
            continue;
        }
        if let Some(pattern) = unmatchable(rule) {
            let detail = format!(
                "no object's name has a `.` or `_`, so {pattern:?} fits none: names are letters, digits and `-`"
            );
            found.push(Finding::of(Code::MatchesNothing, Some(rule), detail));
        }
        if rule.effect == Effect::LeaveOut && rule.selection.is_everything() {
            let takes = earlier.clone().any(|rule| rule.effect != Effect::LeaveOut);
            found.push(match takes {
                true => Finding::of(
                    Code::LeavesOutTheRest,
                    Some(rule),
                    "what no earlier rule selects is left out: so will be every new object, until somebody adds a rule",
                ),
                false => Finding::of(Code::TakesNothing, Some(rule), "everything is left out, and nothing is archived"),
            });
        }
    }
    found
}

fn unmatchable(rule: &Rule) -> Option<&Glob> {
    rule.selection.names.iter().find(|glob| glob.as_str().contains(['.', '_']))
}

fn of_times(policy: &Policy) -> Vec<Finding> {
    let cadence = &policy.cadence;
    let mut found = Vec::new();
    if cadence.rpo < cadence.snapshot_every {
        let detail = format!(
            "a snapshot is due every {}, and is stale after {}: each is stale before the next is due",
            text(cadence.snapshot_every),
            text(cadence.rpo)
        );
        found.push(Finding::of(Code::RpoTooTight, None, detail));
    }
    let rules = policy.rules.iter().filter_map(|rule| match rule.effect {
        Effect::Take { recapture_every: Some(span) } => Some((Some(rule), span)),
        _ => None,
    });
    for (rule, recapture) in std::iter::once((None, cadence.recapture_every)).chain(rules) {
        if policy.retention.protection_min < recapture + recapture {
            let detail = format!(
                "captures are renewed every {}, and {} of protection are enough: where a renewal fails, the old capture's \
                 protection can lapse before the next is due; let protection_min be at least twice recapture_every",
                text(recapture),
                text(policy.retention.protection_min)
            );
            found.push(Finding::of(Code::ProtectionBeforeRenewal, rule, detail));
        }
        if recapture > RECAPTURE_MAX {
            let detail = format!(
                "captures of unchanged objects grow up to {} old, and Azure rotates the keys that open them: {} at most",
                text(recapture),
                text(RECAPTURE_MAX)
            );
            found.push(Finding::of(Code::RecaptureRare, rule, detail));
        }
    }
    found
}

/// A duration as settings write it.
fn text(span: TimeDelta) -> String {
    duration::render(span.to_std().unwrap_or_default())
}
