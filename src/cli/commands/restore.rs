//! `restore` commands: this file has `restore apply`.

mod plan;

use std::path::Path;
use std::process::ExitCode;

use super::identities;
use crate::assemble::Assembly;
use crate::cli::args::{Apply, Restore};
use crate::cli::console::Console;
use crate::cli::progress::Bar;
use crate::cli::{files, render};
use crate::error::{Context, Error, Kind, Result};
use crate::jobs::restore::{Hands, apply};
use crate::restore::{Action, Plan};

/// A plan file holds a line or two per object; a hundred thousand objects fit.
const PLAN_MAX: u64 = 256 * 1024 * 1024;

/// Runs a `restore` command.
pub(crate) async fn run(assembly: &Assembly, console: &Console, command: Restore) -> Result<ExitCode> {
    match command {
        Restore::Plan(arguments) => plan::run(assembly, console, *arguments).await,
        Restore::Apply(arguments) => carry_out(assembly, console, arguments).await,
    }
}

async fn carry_out(assembly: &Assembly, console: &Console, arguments: Apply) -> Result<ExitCode> {
    let plan = read_plan(&arguments.plan)?;
    let archive = assembly.archive()?;
    let reader = archive.reader().await?;
    let identities = identities(assembly)?;
    let signer = if arguments.without_log { None } else { Some(assembly.signer()?) };
    let target = assembly.vault(&plan.target)?;
    if plan.changes().next().is_some() && !arguments.yes {
        confirm(console, &plan)?;
    }
    let operator = operator();
    let bar = Bar::new(plan.target.name());
    let hands = Hands {
        store: archive.store(),
        reader: &reader,
        identities: &identities,
        signer: signer.as_ref(),
        vault: &target,
        ambient: &assembly.ambient,
        operator: &operator,
        progress: &bar,
    };
    let applied = apply(&hands, &plan).await?;
    drop(bar);
    console.result(&applied, || render::applied(&applied));
    Ok(ExitCode::from(if applied.status == "partial" { Kind::Partial.exit_code() } else { 0 }))
}

fn read_plan(path: &Path) -> Result<Plan> {
    let bytes = files::read(path, PLAN_MAX)?;
    let plan: Plan = serde_json::from_slice(&bytes)
        .map_err(|error| Error::usage(format!("{} is not a plan file: {error}", path.display())))
        .context("couldn't read the plan")?;
    match plan.format == Plan::FORMAT {
        true => Ok(plan),
        false => Err(Error::usage(format!(
            "{} is a plan of format {:?}, not {:?}",
            path.display(),
            plan.format,
            Plan::FORMAT
        ))
        .hint("make a new plan with this version")),
    }
}

/// Asks before anything is changed: yes for some objects, the vault's name for many.
fn confirm(console: &Console, plan: &Plan) -> Result<()> {
    if !console.interactive() {
        return Err(Error::usage("there is no terminal to ask on").hint("read the plan, then add --yes"));
    }
    console.complain(render::plan(plan).trim_end());
    let restores = plan.steps.iter().filter(|step| step.action == Action::Restore).count();
    let (question, wanted) = match restores > 1 {
        true => (format!("Type the name of the vault, {}, to go on:", plan.target.name()), plan.target.name()),
        false => (format!("Change {}? Type yes to go on:", plan.target.host()), "yes"),
    };
    match console.ask(&question).as_deref() == Some(wanted) {
        true => Ok(()),
        false => Err(Error::new(Kind::Refused, "not confirmed; nothing was changed")),
    }
}

/// Who is doing this, as the system tells: evidence, not authentication.
fn operator() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".into());
    let plain = |c: char| c.is_alphanumeric() || "@._-\\".contains(c);
    user.chars().filter(|c| plain(*c)).take(128).collect()
}
