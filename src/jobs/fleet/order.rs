//! Whose turn it is: the vault whose newest snapshot is oldest comes first, so that runs which are cut short each night
//! still come round to every vault.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;

use super::Member;
use crate::archive::{Reader, latest_snapshot};
use crate::error::{Error, Result};
use crate::format::manifest::Status;

/// Logs looked at at the same time.
const IN_FLIGHT: usize = 8;

/// Where a vault stands in the archive.
#[derive(Debug)]
pub enum Standing {
    /// It has no snapshot.
    Never,
    /// Its newest snapshot.
    Taken {
        /// Its sequence number.
        sequence: u64,
        /// When that run began.
        started: DateTime<Utc>,
        /// Whether it covers everything it saw.
        status: Status,
    },
    /// Its log could not be read, or does not hold.
    Unknown(Error),
}

impl Standing {
    /// When its newest snapshot was begun.
    pub fn started(&self) -> Option<DateTime<Utc>> {
        match self {
            Standing::Taken { started, .. } => Some(*started),
            Standing::Never | Standing::Unknown(_) => None,
        }
    }
}

/// Which vaults are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Those whose newest snapshot is this old.
    Age(Duration),
    /// Those whose newest snapshot is as old as their policy says.
    Policy,
}

impl Due {
    /// How old a vault's newest snapshot must be, if its policy wants one `snapshot_every` so often.
    ///
    /// By policy a twentieth less: a job that is started each night begins a few seconds sooner or later than the night
    /// before, and must not leave out every second night for that.
    pub fn after(self, snapshot_every: TimeDelta) -> Duration {
        match self {
            Due::Age(age) => age,
            Due::Policy => (snapshot_every - snapshot_every / 20).to_std().unwrap_or_default(),
        }
    }
}

/// The vaults whose turn it is, in its order: those that are due at `now`. `every` says how old a vault's newest snapshot
/// must be for that; none where any will do.
pub async fn turns(
    reader: &Reader<'_>,
    members: Vec<Member>,
    every: impl Fn(&Member) -> Option<Duration>,
    now: DateTime<Utc>,
) -> Vec<(Member, Standing)> {
    let mut vaults = standings(reader, members).await;
    vaults.retain(|(member, standing)| every(member).is_none_or(|every| due(standing, every, now)));
    order(&mut vaults);
    vaults
}

/// Looks up where each vault stands. A log that cannot be read is no failure here: the snapshot of that vault will say
/// more.
async fn standings(reader: &Reader<'_>, members: Vec<Member>) -> Vec<(Member, Standing)> {
    let look = |member: Member| async move {
        let standing = match head(reader, &member).await {
            Ok(standing) => standing,
            Err(error) => Standing::Unknown(error),
        };
        (member, standing)
    };
    futures::stream::iter(members).map(look).buffered(IN_FLIGHT).collect().await
}

async fn head(reader: &Reader<'_>, member: &Member) -> Result<Standing> {
    let head = reader.head(&member.uri).await?;
    Ok(match head.as_ref().and_then(latest_snapshot) {
        Some(snapshot) => {
            Standing::Taken { sequence: snapshot.sequence, started: snapshot.started, status: snapshot.status }
        }
        None => Standing::Never,
    })
}

/// Puts vaults in the order of their turns: those without a snapshot first, then by the age of the newest one. Equals
/// keep their order.
fn order(vaults: &mut [(Member, Standing)]) {
    vaults.sort_by_key(|(_, standing)| standing.started());
}

/// Whether a vault's next snapshot is due at `now`, if one is wanted `every` so often.
///
/// A partial snapshot is unfinished business, and always due: a run that was cut short goes on where it stopped, and does
/// not wait until the part that it has is old.
fn due(standing: &Standing, every: Duration, now: DateTime<Utc>) -> bool {
    match standing {
        Standing::Never | Standing::Unknown(_) => true,
        Standing::Taken { status: Status::Partial, .. } => true,
        // A snapshot from the future, by a clock that was wrong, must not be believed for long.
        Standing::Taken { started, .. } => (now - started).to_std().map_or(true, |age| age >= every),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::member;
    use super::*;
    use crate::error::Kind;
    use crate::jobs::fixture::House;

    fn taken(minute: i64, status: Status) -> Standing {
        Standing::Taken { sequence: 1, started: DateTime::from_timestamp(minute * 60, 0).unwrap(), status }
    }

    #[test]
    fn the_oldest_comes_first_and_what_was_never_taken_before_it() {
        let broken = Standing::Unknown(Error::new(Kind::Tampered, "broken"));
        let mut vaults: Vec<(Member, Standing)> = vec![
            (member("new"), taken(30, Status::Complete)),
            (member("old"), taken(10, Status::Complete)),
            (member("never"), Standing::Never),
            (member("same"), taken(10, Status::Partial)),
            (member("broken"), broken),
        ];
        order(&mut vaults);
        let names: Vec<&str> = vaults.iter().map(|(member, _)| member.name.as_str()).collect();
        assert_eq!(names, ["never", "broken", "old", "same", "new"]);
    }

    #[test]
    fn a_snapshot_is_due_when_the_newest_is_old_partial_missing_or_from_the_future() {
        let now = DateTime::from_timestamp(100 * 60, 0).unwrap();
        let hour = Duration::from_secs(3_600);
        for (standing, expected) in [
            (taken(41, Status::Complete), false),
            (taken(40, Status::Complete), true),
            (taken(99, Status::Partial), true),
            (taken(101, Status::Complete), true),
            (Standing::Never, true),
            (Standing::Unknown(Error::new(Kind::Unavailable, "x")), true),
        ] {
            assert_eq!(due(&standing, hour, now), expected, "{standing:?}");
        }
    }

    #[test]
    fn a_nightly_job_that_begins_a_minute_early_is_due_by_policy() {
        let day = TimeDelta::days(1);
        assert_eq!(Due::Age(Duration::from_secs(5)).after(day), Duration::from_secs(5));
        let every = Due::Policy.after(day);
        let newest = taken(0, Status::Complete);
        let at = |minute: i64| DateTime::from_timestamp(minute * 60, 0).unwrap();
        for (minute, expected) in [(24 * 60, true), (24 * 60 - 1, true), (24 * 60 - 72, true), (24 * 60 - 73, false)] {
            assert_eq!(due(&newest, every, at(minute)), expected, "{minute}");
        }
    }

    #[tokio::test]
    async fn the_archive_tells_where_each_vault_stands() {
        let house = House::new(&["key/k"]).await;
        house.snapshot().await.unwrap();
        let second = house.snapshot().await.unwrap();
        let reader = house.reader().await;
        let found = standings(&reader, vec![member("prod"), member("other")]).await;
        let Standing::Taken { sequence, started, status } = &found[0].1 else { panic!("{found:?}") };
        assert_eq!((Some(*sequence), *status), (second.sequence, Status::Complete));
        assert_eq!(*started, house.ambient.now());
        assert!(matches!(found[1].1, Standing::Never));

        let all = |every| turns(&reader, vec![member("prod"), member("other")], move |_| every, house.ambient.now());
        let names =
            |turns: Vec<(Member, Standing)>| turns.into_iter().map(|(member, _)| member.name).collect::<Vec<_>>();
        assert_eq!(names(all(None).await), ["other", "prod"]);
        assert_eq!(names(all(Some(Duration::from_secs(3_600))).await), ["other"]);

        let newest = house.files("/log/").await.pop().unwrap();
        house.store.corrupt(&newest, "junk");
        let found = standings(&reader, vec![member("prod"), member("other")]).await;
        assert!(matches!(&found[0].1, Standing::Unknown(error) if error.kind() == Kind::Tampered), "{found:?}");
    }
}
