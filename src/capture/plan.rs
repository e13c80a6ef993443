//! What to take, what to reuse: a pure function of the sweep, the previous manifest, the policy and the time.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::sweep::Sweep;
use crate::format::manifest::{Line, Manifest, State};
use crate::model::{Kind, Object};

/// When an unchanged object's capture may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A capture older than this is taken again: Azure rotates the keys that wrap its backup blobs, and a new capture
    /// is protected for the full period again.
    pub recapture_every: TimeDelta,
    /// A capture whose protection ends sooner than this is taken again.
    pub protection_min: TimeDelta,
    /// How often an unchanged object's versions are compared too, since changes to older versions do not show in lists.
    pub full_every: TimeDelta,
}

/// What to do about one live object.
#[derive(Debug, PartialEq)]
pub enum Task {
    /// Take it.
    Take,
    /// The earlier capture is still good.
    Reuse(Box<Line>),
    /// The list shows no change; the versions decide.
    Compare(Box<Line>),
    /// A certificate owns it and is captured with it.
    Managed,
    /// A certificate owns it by its own word, and no such certificate is listed.
    Orphaned,
}

/// What to do about every live object.
#[derive(Debug)]
pub struct Plan {
    /// One task per object.
    pub tasks: BTreeMap<Object, Task>,
    /// Whether versions are compared in this run.
    pub full: bool,
}

/// Decides. `previous` is the newest committed manifest, `full` forces the comparison of versions, `now` is the time by
/// this machine's clock.
pub fn plan(sweep: &Sweep, previous: Option<&Manifest>, policy: &Policy, full: bool, now: DateTime<Utc>) -> Plan {
    let known: BTreeMap<Object, &Line> = previous
        .iter()
        .flat_map(|manifest| &manifest.lines)
        .filter(|line| line.state == State::Live && line.capture.is_some())
        .map(|line| (Object::new(line.kind, line.name.clone()), line))
        .collect();
    let last_full = previous.and_then(|manifest| manifest.header.full_at);
    let full = full || last_full.is_none_or(|last| now - last >= policy.full_every);
    let tasks = sweep
        .live
        .iter()
        .map(|(object, swept)| {
            let task = if swept.managed && object.kind != Kind::Certificate {
                let owner = Object::new(Kind::Certificate, object.name.clone());
                if sweep.live.contains_key(&owner) { Task::Managed } else { Task::Orphaned }
            } else {
                match known.get(object) {
                    Some(line) if line.fingerprint == swept.fingerprint && still_good(line, policy, now) => {
                        let line = Box::new((*line).clone());
                        if full { Task::Compare(line) } else { Task::Reuse(line) }
                    }
                    _ => Task::Take,
                }
            };
            (object.clone(), task)
        })
        .collect();
    Plan { tasks, full }
}

fn still_good(line: &Line, policy: &Policy, now: DateTime<Utc>) -> bool {
    line.capture.as_ref().is_some_and(|capture| {
        let young = now - capture.captured_at < policy.recapture_every;
        let protected = capture.protected_until.is_none_or(|until| until - now >= policy.protection_min);
        young && protected
    })
}
