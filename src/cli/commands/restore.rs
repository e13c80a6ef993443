//! `restore` commands: this file has what several of them share.

mod apply;
mod log;
mod plan;
mod resume;

use std::path::Path;
use std::process::ExitCode;

use crate::assemble::Assembly;
use crate::cli::args::Restore;
use crate::cli::console::Console;
use crate::cli::files;
use crate::error::{Context, Error, Kind, Result};
use crate::model::VaultUri;
use crate::restore::Plan;

/// Runs a `restore` command.
pub(crate) async fn run(assembly: &Assembly, console: &Console, command: Restore) -> Result<ExitCode> {
    match command {
        Restore::Plan(arguments) => plan::run(assembly, console, *arguments).await,
        Restore::Apply(arguments) => apply::run(assembly, console, arguments).await,
        Restore::Resume(arguments) => resume::run(assembly, console, arguments).await,
        Restore::Log(arguments) => log::run(assembly, console, arguments).await,
    }
}

fn read_plan(path: &Path) -> Result<Plan> {
    if !path.exists() {
        return Err(Error::usage(format!("there is no plan {}", path.display()))
            .hint("`akv-archiver restore plan` writes one, and changes nothing"));
    }
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
