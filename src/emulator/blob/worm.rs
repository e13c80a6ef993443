//! The write-once rules of both mechanisms (azure.md §7), pure: what a container and a version let a caller do at a
//! moment. Knows no requests but the three headers in which a policy arrives.

use super::ask::Ask;
use super::errors::{Code, Refusal};
use super::state::{Container, MOST_DAYS, Policy, Protection, Tick, Version, http_date};
use chrono::{DateTime, TimeDelta, Utc};

/// What a caller wants to do to a blob that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Put new content under its name.
    Overwrite,
    /// Delete it, or one of its versions.
    Delete,
    /// Change its metadata or stored headers.
    Change,
}

/// Whether `act` on `version` is permitted now.
///
/// Version-level: bytes already written are protected, the meaning of the name is not: an overwrite makes a new version
/// (DOC; azure.md §7.1). Deleting a protected current version is refused (REC go/TestSetImmutabilityPolicy #4), even
/// under an unlocked policy and against the documentation. Container-level: names are protected as well; after expiry
/// a blob may be deleted but still not overwritten or changed (DOC). An unlocked policy protects blobs like a locked one.
pub(super) fn permits(container: &Container, version: &Version, act: Act, now: DateTime<Utc>) -> Result<(), Code> {
    let hold = container.is_held() || version.legal_hold;
    match container.protection {
        Protection::VersionLevel(_) if act == Act::Overwrite => Ok(()),
        _ if hold => Err(Code::BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD),
        Protection::VersionLevel(_) if is_kept(version, now) => Err(Code::BLOB_IMMUTABLE_DUE_TO_POLICY),
        Protection::ContainerLevel(retention) => {
            let expired = retention.from(version.created).until <= now;
            if act == Act::Delete && expired { Ok(()) } else { Err(Code::BLOB_IMMUTABLE_DUE_TO_POLICY) }
        }
        Protection::VersionLevel(_) | Protection::None => Ok(()),
    }
}

fn is_kept(version: &Version, now: DateTime<Utc>) -> bool {
    version.policy.is_some_and(|policy| policy.until > now)
}

/// Whether the container itself may be deleted. An empty one may, even with a locked policy (REC
/// cli/test_immutability_policy #16); a version-level container must be emptied first whatever its versions' retention
/// (DOC). The codes are those of MicrosoftDocs/feedback#1844
/// (ISSUE[container-deletion]); which of them covers version-level is a GUESS[container-deletion].
pub(super) fn permits_deletion(container: &Container) -> Result<(), Code> {
    match container.protection {
        _ if container.blobs.is_empty() => Ok(()),
        _ if container.is_held() => Err(Code::CONTAINER_HAS_LEGAL_HOLD),
        Protection::None => Ok(()),
        _ => Err(Code::CONTAINER_IMMUTABILITY_POLICY_LOCKED),
    }
}

/// The policy that a version created now takes from its container; every new version does, overwrites too (DOC).
pub(super) fn inherited(protection: Protection, created: Tick) -> Option<Policy> {
    match protection {
        Protection::VersionLevel(retention) => Some(retention?.from(created)),
        Protection::ContainerLevel(_) | Protection::None => None,
    }
}

/// What becomes of a version's policy when `wanted` is set: an unlocked one takes anything, a locked one stays locked
/// and only grows (DOC). The error code is a GUESS[locked-policy-code]; the refusal is not.
pub(super) fn replace(present: Option<Policy>, wanted: Policy) -> Result<Policy, Code> {
    match present {
        Some(present) if present.locked && (!wanted.locked || wanted.until < present.until) => {
            Err(Code::BLOB_IMMUTABLE_DUE_TO_POLICY)
        }
        _ => Ok(wanted),
    }
}

/// The until-date header.
pub(super) const UNTIL: &str = "x-ms-immutability-policy-until-date";
/// The mode header.
pub(super) const MODE: &str = "x-ms-immutability-policy-mode";
/// The legal hold header.
pub(super) const HOLD: &str = "x-ms-legal-hold";

/// The policy in a request's headers. Without a mode it is unlocked; a date that has passed is invalid (DOC
/// set-blob-immutability-policy); a mode without a date is refused.
pub(super) fn requested_policy(ask: &Ask) -> Result<Option<Policy>, Refusal> {
    let mode = ask.header(MODE)?;
    let Some(until_text) = ask.header(UNTIL)? else {
        return if mode.is_some() { Err(Refusal::no_header(UNTIL)) } else { Ok(None) };
    };
    let locked = match mode {
        None => false,
        Some(mode) if mode.eq_ignore_ascii_case("unlocked") => false,
        Some(mode) if mode.eq_ignore_ascii_case("locked") => true,
        Some(mode) => return Err(Refusal::bad_header(MODE, mode)),
    };
    let bad = || Refusal::bad_header(UNTIL, until_text);
    let until = parse_http_date(until_text).ok_or_else(bad)?;
    let latest = ask.now.checked_add_signed(TimeDelta::days(MOST_DAYS.into()));
    if until <= ask.now || latest.is_some_and(|latest| until > latest) {
        return Err(bad());
    }
    Ok(Some(Policy { until, locked }))
}

/// The legal hold in a request's headers.
pub(super) fn requested_hold(ask: &Ask) -> Result<Option<bool>, Refusal> {
    match ask.header(HOLD)? {
        None => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(text) => Err(Refusal::bad_header(HOLD, text)),
    }
}

/// Reads a date as HTTP writes it.
pub(super) fn parse_http_date(text: &str) -> Option<DateTime<Utc>> {
    let date = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
    (http_date(date) == text).then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u32) -> DateTime<Utc> {
        parse_http_date(&format!("{} Jan 2026 00:00:00 GMT", ["Thu, 01", "Fri, 02", "Sat, 03"][day as usize])).unwrap()
    }

    #[test]
    fn a_locked_policy_only_grows() {
        let policy = |at, locked| Policy { until: day(at), locked };
        let unlocked = Some(policy(1, false));
        let locked = Some(policy(1, true));
        for (present, wanted, allowed) in [
            (None, policy(0, false), true),
            (unlocked, policy(0, false), true),
            (unlocked, policy(0, true), true),
            (locked, policy(1, true), true),
            (locked, policy(2, true), true),
            (locked, policy(0, true), false),
            (locked, policy(2, false), false),
        ] {
            assert_eq!(replace(present, wanted).is_ok(), allowed, "{present:?} {wanted:?}");
        }
    }

    #[test]
    fn only_http_dates_are_dates() {
        assert!(parse_http_date("Fri, 11 Jun 2049 20:00:00 GMT").is_some());
        for text in ["", "2049-06-11T20:00:00Z", "Fri, 11 Jun 2049 20:00:00 +0200", "Mon, 11 Jun 2049 20:00:00 GMT"] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
