//! `snapshot`: one run over the chosen vaults, several at a time, one vault's failure never stopping another's.

use std::process::ExitCode;
use std::time::Duration;

use super::fleet::Asked;
use crate::assemble::{Archive, Assembly, Fleet, Writing};
use crate::cli::args::Snapshot;
use crate::cli::console::Console;
use crate::cli::progress::Bars;
use crate::cli::{render, signals, summary};
use crate::error::{Context, Error, Kind, Result};
use crate::jobs::fleet::{self, Member, Summary, exit_kind};
use crate::jobs::snapshot::{AHEAD, Doors, Effort, Order, Report, Rhythm, snapshot};
use crate::progress::{Halt, Stop};
use crate::vault;

/// What every vault of a run shares.
struct Run<'a> {
    assembly: &'a Assembly,
    archive: &'a Archive,
    writing: Writing<'a>,
    effort: Effort,
    bars: Bars<'a>,
    stop: &'static Stop,
    /// Whether there is one vault, named by the settings: then its report is the result.
    alone: bool,
}

/// Takes snapshots of the chosen vaults.
pub(crate) async fn run(assembly: &Assembly, console: &Console, arguments: Snapshot) -> Result<ExitCode> {
    let started = assembly.ambient.now();
    let stop = signals::listen();
    if let Some(deadline) = arguments.deadline {
        stop_after(assembly, stop, deadline);
    }
    assembly.settings.check_snapshot()?;
    for warning in assembly.settings.warnings() {
        console.complain(&format!("warning: {warning}"));
    }
    let effort = effort(&arguments);
    let asked = Asked::parse(arguments.choice)?;
    let fleet = tokio::select! {
        fleet = asked.fleet(assembly) => fleet?,
        halt = stop.wait() => return Err(nothing_begun(halt)),
    };
    // What the settings cannot promise is found before the archive is asked.
    for member in &fleet.members {
        assembly.policy(&member.uri).and_then(|policy| assembly.promise(&policy)).context(member.name.as_str())?;
    }
    let archive = assembly.archive()?;
    // What is printed follows from what was asked, not from how many vaults there happen to be tonight.
    let alone = !fleet.searched && asked.shard.is_none() && asked.due.is_none() && fleet.members.len() == 1;
    let Fleet { members, warnings, shortfall, .. } = fleet;
    let ready = tokio::select! {
        ready = ready(assembly, &archive, &asked, &members, alone) => Some(ready?),
        _ = stop.wait() => None,
    };
    let mut outcomes = match ready {
        Some((writing, members)) => {
            let run = Run { assembly, archive: &archive, writing, effort, bars: Bars::new(console), stop, alone };
            let at_once = usize::from(assembly.settings.capture.vaults_in_flight);
            fleet::run(members, at_once, stop, |member| run.one(member)).await
        }
        None => members.into_iter().map(skipped).collect(),
    };
    let kind = exit_kind(outcomes.iter().map(|(_, outcome)| outcome.as_ref()), shortfall.as_ref(), stop.asked());
    if alone && let Some((_, outcome)) = outcomes.pop() {
        let report = outcome?;
        console.result(&report, || render::snapshot(&report));
    } else {
        let seconds = (assembly.ambient.now() - started).num_milliseconds().max(0) as f64 / 1000.0;
        let warnings = warnings.into_iter().chain(shortfall.as_ref().map(Error::to_string)).collect();
        let summary = Summary::new(outcomes.into_iter().map(report).collect(), seconds, warnings);
        console.result(&summary, || summary::snapshots(&summary));
    }
    Ok(ExitCode::from(kind.map_or(0, Kind::exit_code)))
}

/// What every vault needs, and the order in which they have their turns.
async fn ready<'a>(
    assembly: &Assembly,
    archive: &'a Archive,
    asked: &Asked,
    members: &[Member],
    alone: bool,
) -> Result<(Writing<'a>, Vec<Member>)> {
    let writing = assembly.writing(archive).await?;
    if alone {
        return Ok((writing, members.to_vec()));
    }
    let every = asked.every(assembly, members)?;
    let every = |member: &Member| every.get(&member.uri).copied();
    let turns = fleet::turns(&writing.reader, members.to_vec(), every, assembly.ambient.now()).await;
    Ok((writing, turns.into_iter().map(|(member, _)| member).collect()))
}

fn skipped(member: Member) -> (Member, Result<Report>) {
    let report = Report::skipped(member.uri.as_str());
    (member, Ok(report))
}

fn effort(arguments: &Snapshot) -> Effort {
    match (arguments.recapture, arguments.full) {
        (true, _) => Effort::Take,
        (false, true) => Effort::Compare,
        (false, false) => Effort::Usual,
    }
}

fn report((member, outcome): (Member, Result<Report>)) -> Report {
    outcome.unwrap_or_else(|error| Report::failed(member.uri.as_str(), &error))
}

/// Asks to stop when the time is over.
fn stop_after(assembly: &Assembly, stop: &'static Stop, deadline: Duration) {
    let ambient = assembly.ambient.clone();
    tokio::spawn(async move {
        ambient.sleep(deadline).await;
        stop.ask(Halt::Deadline);
    });
}

fn nothing_begun(halt: Halt) -> Error {
    match halt {
        Halt::Signal => Error::new(Kind::Interrupted, "stopped while looking for vaults; no snapshot was begun"),
        Halt::Deadline => Error::new(Kind::Partial, "the time was over before it was clear which vaults there are")
            .hint("give the run a longer --deadline"),
    }
}

impl Run<'_> {
    fn order(&self, member: &Member) -> Result<Order> {
        let policy = self.assembly.policy(&member.uri)?;
        Ok(Order {
            renewal: self.assembly.renewal(&policy),
            policy,
            effort: self.effort,
            in_flight: usize::from(self.assembly.settings.capture.max_in_flight),
            ahead: AHEAD,
            worm: self.assembly.demand(),
            rhythm: Rhythm::default(),
        })
    }

    async fn one(&self, member: Member) -> Result<Report> {
        let outcome = self.take(&member).await.context(format!("couldn't take a snapshot of {}", member.name));
        if !self.alone {
            self.bars.tell(&summary::outcome(&member, &outcome));
        }
        outcome
    }

    async fn take(&self, member: &Member) -> Result<Report> {
        let door = self.assembly.governed(&member.uri)?;
        let facts = self.assembly.facts(&member.uri)?;
        let bar = self.bars.bar(member.name.clone());
        let doors = Doors {
            vault: &door,
            facts: Some(&facts as &dyn vault::Facts),
            store: self.archive.store(),
            reader: &self.writing.reader,
            recipients: &self.writing.recipients,
            signer: &self.writing.signer,
            ambient: &self.assembly.ambient,
            progress: &bar,
            stop: self.stop,
        };
        snapshot(&doors, &self.order(member)?).await
    }
}
