//! What to take, what to reuse: a pure function of the sweep, the previous manifest, the policy and the time.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::sweep::Sweep;
use crate::format::manifest::{Line, Manifest, State};
use crate::model::{Kind, Mode, Object};

/// When an unchanged object's capture may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A capture older than this is taken again: Azure rotates the keys that wrap its backup blobs, and a new capture
    /// is protected for the full period again.
    pub recapture_every: TimeDelta,
    /// A capture whose protection ends sooner than this is taken again.
    pub protection_min: TimeDelta,
    /// Whether a capture that was stored without protection is taken again: it was stored before protection was
    /// demanded, and no policy reaches back to it.
    pub protected: bool,
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

/// How far ahead of ours another clock may be.
const SKEW_MAX: TimeDelta = TimeDelta::days(1);

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
    // A time that lies ahead was told by a clock that was wrong, or by somebody who would have us wait: it does not count.
    let full = full || last_full.is_none_or(|last| now - last >= policy.full_every || last > now + SKEW_MAX);
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
        let young = now - capture.captured_at < policy.recapture_every && capture.captured_at <= now + SKEW_MAX;
        let long_enough = capture.protected_until.is_none_or(|until| until - now >= policy.protection_min);
        let protected = capture.mode != Mode::None || !policy.protected;
        young && long_enough && protected
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::ManualClock;
    use crate::capture::sweep;
    use crate::format::manifest::{self, CaptureRef, Counts, Header, Status};
    use crate::format::paths;
    use crate::model::{Digest, VaultUri};
    use crate::vault::memory::Memory;
    use std::sync::Arc;

    const POLICY: Policy = Policy {
        recapture_every: TimeDelta::days(30),
        protection_min: TimeDelta::days(10),
        protected: true,
        full_every: TimeDelta::days(7),
    };

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn object(text: &str) -> Object {
        Object::parse(text).unwrap()
    }

    fn vault(objects: &[&str]) -> Memory {
        let vault =
            Memory::new(VaultUri::parse("https://v.vault.azure.net").unwrap(), Arc::new(ManualClock::new(now())));
        objects.iter().for_each(|text| drop(vault.put(&object(text))));
        vault
    }

    /// The manifest that a snapshot of this sweep would have left, taken a day ago and protected for a year.
    fn manifest(sweep: &Sweep) -> Manifest {
        let vault = VaultUri::parse("https://v.vault.azure.net").unwrap();
        let taken = now() - TimeDelta::days(1);
        let line = |(object, swept): (&Object, &crate::capture::Swept)| Line {
            salt: "00".repeat(16),
            kind: object.kind,
            name: object.name.clone(),
            state: State::Live,
            fingerprint: swept.fingerprint,
            current: None,
            versions_fingerprint: None,
            versions: None,
            enabled: None,
            expires: None,
            key_type: None,
            thumbprint: None,
            purge_at: None,
            capture: Some(CaptureRef {
                path: paths::capture(&vault, object, taken, &swept.fingerprint).unwrap(),
                version: None,
                sha256: Digest::of(b""),
                md5: String::new(),
                size: 1,
                captured_at: taken,
                mode: Mode::Locked,
                protected_until: Some(taken + TimeDelta::days(365)),
                kid: None,
                reused: false,
            }),
            gap: None,
        };
        Manifest {
            lines: sweep.live.iter().map(line).collect(),
            header: Header {
                format: manifest::FORMAT.into(),
                archive_id: uuid::Uuid::nil(),
                sequence: 1,
                vault: vault.clone(),
                facts: None,
                started: taken,
                finished: taken,
                tool: String::new(),
                status: Status::Complete,
                full_at: Some(taken),
                policy_sha256: Digest::of(b""),
                counts: Counts::default(),
                gaps: Vec::new(),
                settings: None,
                settings_fingerprint: None,
            },
        }
    }

    /// What is decided for `secret/a`, after its earlier line was changed.
    async fn decided(change: impl FnOnce(&mut Manifest)) -> Task {
        let sweep = sweep(&vault(&["secret/a"])).await.unwrap();
        let mut before = manifest(&sweep);
        change(&mut before);
        plan(&sweep, Some(&before), &POLICY, false, now()).tasks.remove(&object("secret/a")).unwrap()
    }

    fn capture(manifest: &mut Manifest) -> &mut CaptureRef {
        manifest.lines[0].capture.as_mut().unwrap()
    }

    #[tokio::test]
    async fn what_did_not_change_is_reused_and_what_did_is_taken() {
        assert!(matches!(decided(|_| ()).await, Task::Reuse(line) if line.name.as_str() == "a"));
        assert_eq!(decided(|before| before.lines[0].fingerprint = Digest::of(b"other")).await, Task::Take);
        assert_eq!(decided(|before| before.lines.clear()).await, Task::Take);
        assert_eq!(decided(|before| before.lines[0].capture = None).await, Task::Take, "a gap is tried again");
        assert_eq!(decided(|before| before.lines[0].state = State::Deleted).await, Task::Take, "it came back");
        let sweep = sweep(&vault(&["secret/a"])).await.unwrap();
        let first = plan(&sweep, None, &POLICY, false, now());
        assert!(first.full && first.tasks[&object("secret/a")] == Task::Take, "the first run takes all there is");
    }

    #[tokio::test]
    async fn a_capture_that_is_old_or_protected_too_briefly_is_taken_again_to_the_second() {
        let second = TimeDelta::seconds(1);
        let aged = |age| decided(move |before| capture(before).captured_at = now() - age);
        assert!(matches!(aged(POLICY.recapture_every - second).await, Task::Reuse(_)));
        assert_eq!(aged(POLICY.recapture_every).await, Task::Take);
        let left = |left| decided(move |before| capture(before).protected_until = Some(now() + left));
        assert!(matches!(left(POLICY.protection_min).await, Task::Reuse(_)));
        assert_eq!(left(POLICY.protection_min - second).await, Task::Take);
        let unsaid = decided(|before| capture(before).protected_until = None).await;
        assert!(matches!(unsaid, Task::Reuse(_)), "a store that does not say would have everything taken every night");
    }

    #[tokio::test]
    async fn a_capture_without_protection_is_taken_again_where_protection_is_demanded() {
        let bare = |before: &mut Manifest| (capture(before).mode, capture(before).protected_until) = (Mode::None, None);
        assert_eq!(decided(bare).await, Task::Take);
        let sweep = sweep(&vault(&["secret/a"])).await.unwrap();
        let mut before = manifest(&sweep);
        bare(&mut before);
        let lenient = Policy { protected: false, ..POLICY };
        let tasks = plan(&sweep, Some(&before), &lenient, false, now()).tasks;
        assert!(matches!(tasks[&object("secret/a")], Task::Reuse(_)));
    }

    #[tokio::test]
    async fn versions_are_compared_when_asked_for_when_due_and_when_never_done() {
        let sweep = sweep(&vault(&["secret/a"])).await.unwrap();
        let mut before = manifest(&sweep);
        for (full_at, asked, full) in [
            (Some(now() - POLICY.full_every + TimeDelta::seconds(1)), false, false),
            (Some(now() - POLICY.full_every + TimeDelta::seconds(1)), true, true),
            (Some(now() - POLICY.full_every), false, true),
            (None, false, true),
        ] {
            before.header.full_at = full_at;
            let plan = plan(&sweep, Some(&before), &POLICY, asked, now());
            let compared = matches!(plan.tasks[&object("secret/a")], Task::Compare(_));
            assert_eq!((plan.full, compared), (full, full), "{full_at:?} {asked}");
        }
    }

    #[tokio::test]
    async fn what_a_certificate_owns_is_left_to_it_and_is_an_orphan_without_it() {
        let vault = vault(&["certificate/tls", "key/own"]);
        let whole = plan(&sweep(&vault).await.unwrap(), None, &POLICY, false, now()).tasks;
        assert_eq!(whole[&object("certificate/tls")], Task::Take);
        assert_eq!((&whole[&object("key/tls")], &whole[&object("secret/tls")]), (&Task::Managed, &Task::Managed));
        assert_eq!(whole[&object("key/own")], Task::Take);
        vault.lose(&object("certificate/tls"));
        let orphaned = plan(&sweep(&vault).await.unwrap(), None, &POLICY, false, now()).tasks;
        assert_eq!((orphaned.len(), &orphaned[&object("key/tls")]), (3, &Task::Orphaned));
    }
}
