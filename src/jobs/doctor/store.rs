//! The archive's store: reachable, write-once, ours to add to. Nothing is added: the attempt is at a name that is taken.

use super::privilege::{check_archive_rights, unknown_rights};
use super::{Check, check_clock};
use crate::ambient::Ambient;
use crate::error::{self, Kind};
use crate::jobs::protection::Demand;
use crate::model::{Mode, StorePath};
use crate::store::{self, Guard, Site, Worm};

/// Checks the archive's store: reachable, protected, ours to add to.
///
/// `probe` is a file that exists, with its bytes: creating it again must fail because it is there, not for lack of a
/// permission.
pub async fn check_store(
    store: &dyn store::Append,
    demand: Demand,
    probe: Option<(StorePath, bytes::Bytes)>,
) -> Vec<Check> {
    const SUBJECT: &str = "archive";
    let guard = match store.guard().await {
        Ok(guard) => guard,
        Err(error) => return vec![Check::fail(SUBJECT, "reach", error)],
    };
    let mut checks = vec![Check::ok(SUBJECT, "reach", store.describe()), check_guard(SUBJECT, store, &guard, demand)];
    if let Some((path, bytes)) = probe {
        checks.push(match store.create(&path, bytes).await {
            Err(error) if error.condition == store::Condition::Exists => {
                Check::ok(SUBJECT, "add files", "allowed, and overwriting is refused")
            }
            Err(error) => Check::fail(SUBJECT, "add files", error),
            Ok(_) => Check::warn(
                SUBJECT,
                "add files",
                format!("{path} could be created twice: the store does not honour write-once"),
                "use a store that honours If-None-Match",
            ),
        });
    }
    checks
}

/// Checks what surrounds the store in Azure: what the job may do there beside adding, and the clock. Returns where the
/// archive is, if that may be known.
pub async fn check_seat(seat: &dyn store::Seat, ambient: &Ambient) -> (Vec<Check>, Option<Site>) {
    const SUBJECT: &str = "archive";
    let mut checks = match seat.rights().await {
        Ok(held) => check_archive_rights(SUBJECT, &held),
        Err(error) => vec![unknown_rights(
            SUBJECT,
            &error,
            "grant Microsoft.Authorization/permissions/read (policies/roles/archive-writer.json)",
        )],
    };
    let now = ambient.now();
    checks.extend(seat.clock_skew().await.map(|skew| check_clock(SUBJECT, now + skew, now)));
    match seat.site().await {
        Ok(site) => {
            checks.push(Check::ok(SUBJECT, "place", format!("{}, subscription {}", site.location, site.subscription)));
            (checks, Some(site))
        }
        Err(error) => {
            let fix = "grant Microsoft.Storage/storageAccounts/read (policies/roles/archive-writer.json)";
            let detail = format!("not known, so it is not compared with the vaults': {error}");
            checks.push(Check::warn(SUBJECT, "place", detail, fix));
            (checks, None)
        }
    }
}

fn check_guard(subject: &str, store: &dyn store::Read, guard: &Guard, demand: Demand) -> Check {
    let what = "write-once";
    let days = guard.days.map_or_else(String::new, |days| format!(", {days} days"));
    match (guard.worm, guard.lock) {
        _ if !guard.protects() && demand == Demand::Optional => Check::warn(
            subject,
            what,
            format!("{} protects nothing, as the settings allow", store.describe()),
            "use a container with a locked immutability policy",
        ),
        _ if !guard.protects() => Check::fail(
            subject,
            what,
            error::Error::new(Kind::Noncompliant, format!("{} has no immutability policy", store.describe())).hint(
                "give the container a time-based retention policy and lock it, or set archive.worm = \"optional\"",
            ),
        ),
        (worm, Some(Mode::Locked)) => Check::ok(subject, what, format!("{}, locked{days}", level(worm))),
        (worm, Some(_)) => Check::warn(
            subject,
            what,
            format!("{}, not locked{days}: its administrator can delete the policy", level(worm)),
            "prove a restore, then lock the policy (it can only be extended after that)",
        ),
        (worm, None) => Check::warn(
            subject,
            what,
            format!("{}; whether it is locked could not be read", level(worm)),
            "grant Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/read (policies/roles/archive-reader.json)",
        ),
    }
}

fn level(worm: Worm) -> &'static str {
    match worm {
        Worm::None => "none",
        Worm::ContainerLevel => "container-level policy",
        Worm::VersionLevel => "version-level policy",
    }
}
