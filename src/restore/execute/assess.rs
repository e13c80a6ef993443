//! Looking what became of changes that somebody else began, or that were cut off. Begins none.

use futures::{FutureExt, StreamExt};

use super::{Done, Hands, Task, Work};
use crate::format::entry::{Became, Change};
use crate::restore::aftermath::{Aftermath, aftermath};
use crate::restore::limbo::Waited;
use crate::restore::slot::observe;
use crate::restore::source::Source;
use crate::vault::Condition;

/// What looking alone tells of a change that somebody began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assessed {
    /// It is over.
    Settled(Done),
    /// It is still to be done.
    ToDo,
    /// It cannot be told now.
    Later(String),
}

/// Looks what became of changes that somebody began. Changes nothing but, where a key came back, what no backup carries.
pub async fn assess(hands: &Hands<'_>, tasks: &[Task]) -> Vec<Assessed> {
    let work = Work::new(hands);
    let looks: Vec<_> = tasks.iter().map(|task| work.assess(task).boxed()).collect();
    let mut running = futures::stream::iter(looks).buffered(hands.in_flight.max(1));
    let mut assessed = Vec::with_capacity(tasks.len());
    while let Some(found) = running.next().await {
        hands.progress.step();
        assessed.push(found);
    }
    assessed
}

impl Work<'_> {
    async fn assess(&self, task: &Task) -> Assessed {
        let object = &task.object;
        if self.hands.stop.asked().is_some() {
            return Assessed::Later("stopped before it was looked at".to_owned());
        }
        // One that does not open now may do so later, with another identity; one that is damaged never will.
        let capture = match self.hands.captures.open(object).await {
            Ok(capture) => Some(capture),
            Err(error) if error.kind() == crate::error::Kind::Tampered || task.change == Change::Recover => None,
            Err(error) if error.kind() == crate::error::Kind::Refused => None,
            Err(error) => return Assessed::Later(error.to_string()),
        };
        let captured = capture.as_ref().map(|capture| Source::of(capture).versions);
        let mut limbo = self.patience.with(object);
        loop {
            let why = match observe(self.hands.vault, object).await {
                Ok(slot) => match aftermath(task.change, captured.as_ref(), &slot) {
                    Aftermath::Landed => {
                        let did = if task.change.creates() { "restored" } else { "recovered" };
                        return Assessed::Settled(self.came_back(task, capture.as_ref(), did).await);
                    }
                    Aftermath::Other(became, why) => return Assessed::Settled(Done::new(object, became, why)),
                    Aftermath::Open if task.change.creates() && capture.is_none() => {
                        let why = "nothing came back, and its capture cannot be had here; make a new plan";
                        return Assessed::Settled(Done::new(object, Became::Failed, why));
                    }
                    Aftermath::Open => return Assessed::ToDo,
                    Aftermath::Moving => "it is being deleted, purged or recovered".to_owned(),
                },
                Err(error) if error.condition == Condition::InTransition => error.to_string(),
                Err(error) => return Assessed::Later(error.to_string()),
            };
            if limbo.wait("settle").await != Waited::Again {
                return Assessed::Later(why);
            }
        }
    }
}
