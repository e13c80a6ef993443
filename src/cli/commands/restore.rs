//! `restore plan` and `restore apply`.

use std::path::Path;
use std::process::ExitCode;

use super::rebuild::{self, With};
use super::{identities, object};
use crate::assemble::Assembly;
use crate::cli::args::{Apply, Plan as PlanArguments, Restore};
use crate::cli::console::Console;
use crate::cli::progress::Bar;
use crate::cli::{files, render};
use crate::error::{Context, Error, Kind, Result};
use crate::jobs::restore::settings::apply_settings;
use crate::jobs::restore::{Eyes, Hands, apply, make_plan, settings};
use crate::model::Object;
use crate::restore::{Action, Plan};
use crate::vault;

/// A plan file holds a line or two per object; a hundred thousand objects fit.
const PLAN_MAX: u64 = 256 * 1024 * 1024;

/// Runs a `restore` command.
pub(crate) async fn run(assembly: &Assembly, console: &Console, command: Restore) -> Result<ExitCode> {
    match command {
        Restore::Plan(arguments) => plan(assembly, console, arguments).await,
        Restore::Apply(arguments) => carry_out(assembly, console, arguments).await,
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
        format!("{}{}{next}", render::plan(&plan), around.unwrap_or_default())
    });
    Ok(ExitCode::from(match (plan.refused(), plan.missing.is_empty()) {
        (true, _) => Kind::Refused.exit_code(),
        (false, false) => Kind::Partial.exit_code(),
        (false, true) => 0,
    }))
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
    let vault_settings = apply_settings(&reader, &identities, &target, &plan).await?;
    drop(bar);
    let partial = applied.status == "partial" || rebuild::open(&vault_settings);
    let shown = With { inner: &applied, rebuild: None, vault_settings };
    console
        .result(&shown, || format!("{}{}", render::applied(&applied), rebuild::told_settings(&shown.vault_settings)));
    Ok(ExitCode::from(if partial { Kind::Partial.exit_code() } else { 0 }))
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
