//! `restore log`.

use std::process::ExitCode;

use crate::assemble::Assembly;
use crate::cli::args::RestoreLog;
use crate::cli::commands::object;
use crate::cli::console::Console;
use crate::cli::restores;
use crate::error::Result;
use crate::jobs::restore::log::restores as read;

pub(super) async fn run(assembly: &Assembly, console: &Console, arguments: RestoreLog) -> Result<ExitCode> {
    let wanted = arguments.object.as_deref().map(object).transpose()?;
    let archive = assembly.archive()?;
    let reader = archive.reader().await?;
    let vaults = assembly.archived_vaults(&arguments.vaults, &reader).await?;
    let found = read(&reader, &vaults, wanted.as_ref()).await?;
    console.result(&found, || restores::log(&found));
    Ok(ExitCode::SUCCESS)
}
