//! `protect`: shows how files are protected, and changes it for whoever may.

use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};

use crate::assemble::Assembly;
use crate::cli::args::{Extend, Hold, Output, Protect, Selection};
use crate::cli::console::Console;
use crate::cli::operator::operator;
use crate::cli::progress::Bar;
use crate::cli::{files, render, signals};
use crate::error::{Error, Kind, Result};
use crate::format::entry::ProtectAction;
use crate::jobs::history;
use crate::jobs::protect::{Hands, Plan, Report, Status, Want, carry_out, plan, standing};
use crate::model::VaultUri;
use crate::progress::Progress;

/// Runs a `protect` command.
pub(crate) async fn run(assembly: &Assembly, console: &Console, command: Protect) -> Result<ExitCode> {
    let now = assembly.ambient.now();
    match command {
        Protect::Status { vaults } => status(assembly, console, &vaults).await,
        Protect::Extend(arguments) => {
            let want = extension(&arguments, now)?;
            change(assembly, console, want, &arguments.selection).await
        }
        Protect::Hold(arguments) => {
            change(assembly, console, hold(ProtectAction::Hold, &arguments), &arguments.selection).await
        }
        Protect::Release(arguments) => {
            change(assembly, console, hold(ProtectAction::Release, &arguments), &arguments.selection).await
        }
    }
}

fn vaults(assembly: &Assembly, named: &[String]) -> Result<Vec<VaultUri>> {
    let mut vaults = named.iter().map(|text| assembly.vault_uri(text)).collect::<Result<Vec<VaultUri>>>()?;
    vaults.sort();
    vaults.dedup();
    Ok(vaults)
}

async fn status(assembly: &Assembly, console: &Console, named: &[String]) -> Result<ExitCode> {
    let archive = assembly.archive()?;
    let reader = archive.reader().await?;
    let vaults = history::vaults(&reader, &vaults(assembly, named)?).await?;
    let bar = Bar::new("protect");
    let min_of = |vault: &VaultUri| Ok(assembly.policy(vault)?.retention.protection_min);
    let found = standing(archive.store(), &reader, &vaults, min_of, &bar, assembly.ambient.now()).await?;
    drop(bar);
    console.result(&found, || render::protect::standing(&found));
    Ok(ExitCode::from(match found.at_risk && assembly.standard()?.worm {
        true => Kind::Noncompliant.exit_code(),
        false => 0,
    }))
}

fn extension(arguments: &Extend, now: DateTime<Utc>) -> Result<Want> {
    let whole = |time: DateTime<Utc>| {
        time + TimeDelta::nanoseconds((1_000_000_000 - i64::from(time.timestamp_subsec_nanos())) % 1_000_000_000)
    };
    let until = match (arguments.until, arguments.period) {
        (Some(until), _) => whole(until),
        (None, Some(period)) => midnight_after(now, period).ok_or_else(|| Error::usage("--for is too long"))?,
        (None, None) => return Err(Error::usage("until when? say --until TIME or --for TIME")),
    };
    Ok(Want {
        action: ProtectAction::Extend,
        until: Some(until),
        lock: arguments.lock,
        reason: arguments.reason.clone(),
        tag: None,
        classes: arguments.selection.classes.clone(),
        paths: arguments.selection.paths.clone(),
    })
}

/// The next midnight after so much time: whoever runs the same command again on the same day finds nothing to do.
fn midnight_after(now: DateTime<Utc>, period: std::time::Duration) -> Option<DateTime<Utc>> {
    let until = now.checked_add_signed(TimeDelta::from_std(period).ok()?)?;
    let day = until.date_naive();
    let midnight = day.and_time(chrono::NaiveTime::MIN).and_utc();
    if midnight == until { Some(until) } else { Some(day.succ_opt()?.and_time(chrono::NaiveTime::MIN).and_utc()) }
}

fn hold(action: ProtectAction, arguments: &Hold) -> Want {
    Want {
        action,
        until: None,
        lock: false,
        reason: Some(arguments.reason.clone()),
        tag: arguments.tag.clone(),
        classes: arguments.selection.classes.clone(),
        paths: arguments.selection.paths.clone(),
    }
}

async fn change(assembly: &Assembly, console: &Console, want: Want, selection: &Selection) -> Result<ExitCode> {
    let keeper = assembly.keeper()?;
    let archive = assembly.archive()?;
    let reader = archive.reader().await?;
    let vaults = vaults(assembly, &selection.vaults)?;
    let bar = Bar::new("protect");
    bar.stage("reading the archive", None);
    let plan = plan(keeper.as_ref(), &reader, &vaults, want, &bar, assembly.ambient.now()).await?;
    drop(bar);
    if let Some(path) = &selection.list {
        files::replace_public(path, plan.list().as_bytes())?;
    }
    let report = Report::of(&plan, None);
    let asks = console.interactive() && console.output() == Output::Text;
    if report.status == Status::Nothing || !selection.yes && !asks {
        console.result(&report, || render::protect::report(&report));
        return Ok(ExitCode::SUCCESS);
    }
    let signer = assembly.signer()?;
    if !selection.yes {
        confirm(console, &render::protect::report(&report), &plan)?;
    }
    // From here on a signal ends the run between two versions.
    let stop = signals::listen();
    let bar = Bar::new("protect");
    let hands = Hands {
        store: archive.store(),
        keeper: keeper.as_ref(),
        reader: &reader,
        signer: &signer,
        ambient: &assembly.ambient,
        operator: &operator(),
        progress: &bar,
        stop,
    };
    let carried = carry_out(&hands, &plan).await?;
    drop(bar);
    let report = Report::of(&plan, Some(carried));
    console.result(&report, || render::protect::report(&report));
    Ok(ExitCode::from(match report.status {
        Status::Partial => Kind::Partial.exit_code(),
        Status::Interrupted => Kind::Interrupted.exit_code(),
        Status::Planned | Status::Nothing | Status::Done => 0,
    }))
}

/// Asks before anything is changed: for the day that protection will reach to or the days that it will last, which is what
/// nobody can take back.
fn confirm(console: &Console, what: &str, plan: &Plan) -> Result<()> {
    console.complain(what.trim_end());
    let days = plan.turn.as_ref().and_then(|turn| turn.after.period).map(|period| period.days.to_string());
    let wanted = match (plan.want.until, days) {
        (Some(_), Some(days)) => days,
        (Some(until), None) => until.format("%Y-%m-%d").to_string(),
        (None, _) => plan.want.action.name().to_owned(),
    };
    match console.ask(&format!("Type {wanted} to go on:")).as_deref() == Some(wanted.as_str()) {
        true => Ok(()),
        false => Err(Error::new(Kind::Refused, "not confirmed; nothing was changed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_ends_at_midnight_so_that_the_same_day_says_the_same() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let day = std::time::Duration::from_secs(86_400);
        for now in ["2026-11-21T00:00:01Z", "2026-11-21T12:30:00.5Z", "2026-11-22T00:00:00Z"] {
            assert_eq!(midnight_after(at(now), 10 * day), Some(at("2026-12-02T00:00:00Z")), "{now}");
        }
    }
}
