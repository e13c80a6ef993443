//! Taking vaults side by side: some at a time, each failing alone, none begun once somebody asked to stop. Knows nothing
//! of what taking one means.

use futures::StreamExt;

use super::Member;
use crate::error::Result;
use crate::jobs::snapshot::Report;
use crate::progress::Stop;

/// Takes `members` in their order, `at_once` at a time. Whoever is being taken when somebody asks to stop ends by itself;
/// whoever was not begun is reported as skipped. The results are in the order of the members.
pub async fn run<F>(
    members: Vec<Member>,
    at_once: usize,
    stop: &Stop,
    take: impl Fn(Member) -> F,
) -> Vec<(Member, Result<Report>)>
where
    F: Future<Output = Result<Report>>,
{
    let one = |(turn, member): (usize, Member)| {
        let take = &take;
        async move {
            let outcome = match stop.asked() {
                Some(_) => Ok(Report::skipped(member.uri.as_str())),
                None => take(member.clone()).await,
            };
            (turn, member, outcome)
        }
    };
    // Unordered: a large vault must not keep the places of those behind it empty.
    let running = futures::stream::iter(members.into_iter().enumerate()).map(one).buffer_unordered(at_once.max(1));
    let mut outcomes: Vec<(usize, Member, Result<Report>)> = running.collect().await;
    outcomes.sort_by_key(|(turn, ..)| *turn);
    outcomes.into_iter().map(|(_, member, outcome)| (member, outcome)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::tests::member;
    use super::*;
    use crate::error::Error;
    use crate::jobs::snapshot::Outcome;
    use crate::progress::Halt;

    fn done(member: &Member) -> Report {
        Report { status: Outcome::Complete, ..Report::skipped(member.uri.as_str()) }
    }

    fn statuses(outcomes: &[(Member, Result<Report>)]) -> Vec<(&str, Option<Outcome>)> {
        let status = |outcome: &Result<Report>| outcome.as_ref().ok().map(|report| report.status);
        outcomes.iter().map(|(member, outcome)| (member.name.as_str(), status(outcome))).collect()
    }

    #[tokio::test]
    async fn a_failure_stops_nobody_and_a_slow_vault_holds_up_nobody() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let others = tokio::sync::Semaphore::new(0);
        let members = ["slow", "a", "bad", "b", "c"].map(member).to_vec();
        let outcomes = run(members, 2, &Stop::new(), async |member: Member| {
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            match member.name.as_str() {
                // Ends only when all others have.
                "slow" => others.acquire_many(4).await.unwrap().forget(),
                _ => {
                    tokio::task::yield_now().await;
                    others.add_permits(1);
                }
            }
            running.fetch_sub(1, Ordering::Relaxed);
            if member.name == "bad" { Err(Error::usage("no")) } else { Ok(done(&member)) }
        })
        .await;
        let complete = Some(Outcome::Complete);
        assert_eq!(
            statuses(&outcomes),
            [("slow", complete), ("a", complete), ("bad", None), ("b", complete), ("c", complete)]
        );
        assert_eq!(most.into_inner(), 2);
    }

    #[tokio::test]
    async fn whoever_is_not_begun_when_the_time_is_over_is_skipped_and_told() {
        let stop = Stop::new();
        let outcomes = run(["a", "b", "c"].map(member).to_vec(), 1, &stop, async |member: Member| {
            if member.name == "b" {
                stop.ask(Halt::Deadline);
            }
            Ok(done(&member))
        })
        .await;
        let (complete, skipped) = (Some(Outcome::Complete), Some(Outcome::Skipped));
        assert_eq!(statuses(&outcomes), [("a", complete), ("b", complete), ("c", skipped)]);
    }
}
