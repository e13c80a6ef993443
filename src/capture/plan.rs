//! What to do about a live object: a pure function of what the list shows, what the archive has, the policy and the time.

use chrono::{DateTime, TimeDelta, Utc};

use super::sweep::Swept;
use crate::model::{Digest, Mode};

/// When an unchanged object's capture may be reused: what an archive policy comes to for one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
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

/// The capture of an object that the archive has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The fingerprint of the list item when it was taken.
    pub fingerprint: Digest,
    /// The digest of its versions list then.
    pub versions: Option<Digest>,
    /// When it was taken.
    pub captured_at: DateTime<Utc>,
    /// When its versions were last found to be those of the vault.
    pub compared_at: DateTime<Utc>,
    /// How it is protected.
    pub mode: Mode,
    /// Until when, if the store says.
    pub protected_until: Option<DateTime<Utc>>,
}

/// What an operator asks for beyond the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Nothing: reuse what the lists show to be unchanged, as long as the policy allows.
    #[default]
    Usual,
    /// Compare the versions of every unchanged object now.
    Compare,
    /// Take everything.
    Take,
}

/// What to do about one live object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Take it.
    Take,
    /// The earlier capture is still good.
    Reuse,
    /// The list shows no change; the versions decide: whether the digest of their list is still this one.
    Compare(Option<Digest>),
}

/// How far ahead of ours another clock may be.
const SKEW_MAX: TimeDelta = TimeDelta::days(1);

/// Decides. `now` is the time by this machine's clock.
pub fn decide(swept: &Swept, known: Option<&Known>, renewal: &Renewal, effort: Effort, now: DateTime<Utc>) -> Task {
    let Some(known) = known else { return Task::Take };
    if effort == Effort::Take || known.fingerprint != swept.fingerprint || !still_good(known, renewal, now) {
        return Task::Take;
    }
    match effort == Effort::Compare || due(known.compared_at, renewal.full_every, now) {
        true => Task::Compare(known.versions),
        false => Task::Reuse,
    }
}

/// Whether so much time has passed. A time that lies ahead was told by a clock that was wrong, or by somebody who would
/// have us wait: it does not count.
fn due(last: DateTime<Utc>, every: TimeDelta, now: DateTime<Utc>) -> bool {
    now - last >= every || last > now + SKEW_MAX
}

/// Whether a capture that is the object's present state may be reused: young enough, and protected for long enough.
pub fn still_good(known: &Known, renewal: &Renewal, now: DateTime<Utc>) -> bool {
    let young = !due(known.captured_at, renewal.recapture_every, now);
    let long_enough = known.protected_until.is_none_or(|until| until - now >= renewal.protection_min);
    let protected = known.mode != Mode::None || !renewal.protected;
    young && long_enough && protected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Attributes;
    use serde_json::value::RawValue;

    const RENEWAL: Renewal = Renewal {
        recapture_every: TimeDelta::days(30),
        protection_min: TimeDelta::days(10),
        protected: true,
        full_every: TimeDelta::days(7),
    };

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn swept() -> Swept {
        Swept {
            raw: RawValue::from_string("{}".into()).unwrap(),
            fingerprint: Digest::of(b"as listed"),
            attributes: Attributes::default(),
            managed: false,
            purge_at: None,
        }
    }

    /// A capture taken a day ago and protected for a year.
    fn known() -> Known {
        let captured_at = now() - TimeDelta::days(1);
        let protected_until = Some(captured_at + TimeDelta::days(365));
        let fingerprint = Digest::of(b"as listed");
        let versions = Some(Digest::of(b"versions"));
        Known { fingerprint, versions, captured_at, compared_at: captured_at, mode: Mode::Locked, protected_until }
    }

    fn decided(known: &Known, effort: Effort) -> Task {
        decide(&swept(), Some(known), &RENEWAL, effort, now())
    }

    fn usual(change: impl FnOnce(&mut Known)) -> Task {
        let mut known = known();
        change(&mut known);
        decided(&known, Effort::Usual)
    }

    #[test]
    fn what_did_not_change_is_reused_and_what_did_is_taken() {
        assert_eq!(usual(|_| ()), Task::Reuse);
        assert_eq!(usual(|known| known.fingerprint = Digest::of(b"other")), Task::Take);
        assert_eq!(decide(&swept(), None, &RENEWAL, Effort::Usual, now()), Task::Take);
    }

    #[test]
    fn a_capture_that_is_old_or_protected_too_briefly_is_taken_again_to_the_second() {
        let second = TimeDelta::seconds(1);
        let aged = |age| usual(|known| (known.captured_at, known.compared_at) = (now() - age, now()));
        assert_eq!(aged(RENEWAL.recapture_every - second), Task::Reuse);
        assert_eq!(aged(RENEWAL.recapture_every), Task::Take);
        assert_eq!(aged(TimeDelta::days(-2)), Task::Take, "taken in two days, by its own word");
        let left = |left| usual(|known| known.protected_until = Some(now() + left));
        assert_eq!(left(RENEWAL.protection_min), Task::Reuse);
        assert_eq!(left(RENEWAL.protection_min - second), Task::Take);
        let unsaid = usual(|known| known.protected_until = None);
        assert_eq!(unsaid, Task::Reuse, "a store that does not say would have everything taken every night");
    }

    #[test]
    fn a_capture_without_protection_is_taken_again_where_protection_is_demanded() {
        let bare = Known { mode: Mode::None, protected_until: None, ..known() };
        assert_eq!(decided(&bare, Effort::Usual), Task::Take);
        let lenient = Renewal { protected: false, ..RENEWAL };
        assert_eq!(decide(&swept(), Some(&bare), &lenient, Effort::Usual, now()), Task::Reuse);
    }

    #[test]
    fn versions_are_compared_when_asked_for_and_when_due() {
        let compared = |age| usual(|known| known.compared_at = now() - age);
        assert_eq!(compared(RENEWAL.full_every - TimeDelta::seconds(1)), Task::Reuse);
        assert_eq!(compared(RENEWAL.full_every), Task::Compare(Some(Digest::of(b"versions"))));
        assert_eq!(
            compared(TimeDelta::days(-2)),
            Task::Compare(Some(Digest::of(b"versions"))),
            "a clock that was wrong must not keep us waiting"
        );
        assert_eq!(decided(&known(), Effort::Compare), Task::Compare(Some(Digest::of(b"versions"))));
        assert_eq!(decided(&known(), Effort::Take), Task::Take);
    }
}
