//! `restore` commands: this file has `restore plan`, and what several of them share.

mod apply;
mod log;
mod resume;

use std::path::Path;
use std::process::ExitCode;

use super::rebuild::{self, With};
use super::{identities, object};
use crate::assemble::Assembly;
use crate::cli::args::{Plan as PlanArguments, Restore};
use crate::cli::console::Console;
use crate::cli::progress::Bar;
use crate::cli::{files, render};
use crate::error::{Context, Error, Kind, Result};
use crate::jobs::restore::{Eyes, make_plan, settings};
use crate::model::{Object, VaultUri};
use crate::restore::Plan;
use crate::vault;

/// Runs a `restore` command.
pub(crate) async fn run(assembly: &Assembly, console: &Console, command: Restore) -> Result<ExitCode> {
    match command {
        Restore::Plan(arguments) => plan(assembly, console, arguments).await,
        Restore::Apply(arguments) => apply::run(assembly, console, arguments).await,
        Restore::Resume(arguments) => resume::run(assembly, console, arguments).await,
        Restore::Log(arguments) => log::run(assembly, console, arguments).await,
    }
}

async fn plan(assembly: &Assembly, console: &Console, arguments: PlanArguments) -> Result<ExitCode> {
    let objects = arguments.objects.iter().map(|text| object(text)).collect::<Result<Vec<Object>>>()?;
    let archive = assembly.archive()?;
    let reader = archive.reader().await?;
    let identities = identities(assembly)?;
    let source = assembly.one_vault(arguments.vault.as_deref(), &reader).await?;
    let target_uri = match &arguments.to {
        Some(to) => assembly.vault_uri(to)?,
        None => source.clone(),
    };
    let target = assembly.vault(&target_uri)?;
    let facts = assembly.facts(&target_uri)?;
    let bar = Bar::new(source.name());
    let eyes = Eyes {
        reader: &reader,
        identities: &identities,
        source,
        target: &target,
        facts: Some(&facts as &dyn vault::Facts),
        ambient: &assembly.ambient,
        progress: &bar,
    };
    let mut plan = make_plan(&eyes, &objects, arguments.snapshot).await?;
    let around = match rebuild::wanted(&plan, arguments.with_vault_settings)? {
        true => settings::rebuild(&reader, &identities, &target, &plan).await?,
        false => None,
    };
    drop(bar);
    let (rebuilt, vault_settings) = match around {
        Some(around) => {
            let (written, of_target) =
                rebuild::write(&arguments.out, &mut plan, around, arguments.with_vault_settings)?;
            (Some(written), of_target)
        }
        None => (None, Vec::new()),
    };
    files::replace(&arguments.out, &serde_json::to_vec_pretty(&plan).map_err(|e| Error::internal(e.to_string()))?)?;
    let shown = With { inner: &plan, rebuild: rebuilt, vault_settings };
    console.result(&shown, || {
        let around = shown.rebuild.as_ref();
        let around = around.map(|written| rebuild::told(written, &shown.vault_settings, arguments.with_vault_settings));
        let next = match plan.changes().count() {
            0 => "Nothing would be changed.".to_owned(),
            n => format!(
                "{n} would be changed. Written to {file}; `akv-archiver restore apply {file}` carries it out.",
                file = arguments.out.display()
            ),
        };
        format!("{}{}{next}", render::restore::plan(&plan, &arguments.out), around.unwrap_or_default())
    });
    Ok(ExitCode::from(match (plan.refused(), plan.missing.is_empty()) {
        (true, _) => Kind::Refused.exit_code(),
        (false, false) => Kind::Partial.exit_code(),
        (false, true) => 0,
    }))
}

fn read_plan(path: &Path) -> Result<Plan> {
    Plan::parse(&files::read(path, Plan::FILE_MAX)?).context(format!("couldn't read the plan {}", path.display()))
}

/// Asks before anything is changed: for the vault's name where much is, for yes otherwise. `what` is shown before.
fn confirm(console: &Console, what: &str, target: &VaultUri, much: bool) -> Result<()> {
    if !console.interactive() {
        return Err(Error::usage("there is no terminal to ask on").hint("read what would be done, then add --yes"));
    }
    console.complain(what.trim_end());
    let (question, wanted) = match much {
        true => (format!("Type the name of the vault, {}, to go on:", target.name()), target.name()),
        false => (format!("Change {}? Type yes to go on:", target.host()), "yes"),
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
