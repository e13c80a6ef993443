//! `restore log`.

use std::process::ExitCode;

use crate::assemble::Assembly;
use crate::cli::args::RestoreLog;
use crate::cli::commands::object;
use crate::cli::console::Console;
use crate::cli::restores;
use crate::error::Result;
use crate::jobs::history;
use crate::jobs::restore::log::restores as read;

pub(super) async fn run(assembly: &Assembly, console: &Console, arguments: RestoreLog) -> Result<ExitCode> {
    let wanted = arguments.object.as_deref().map(object).transpose()?;
    let asked: Vec<_> = arguments.vaults.iter().map(|text| assembly.vault_uri(text)).collect::<Result<_>>()?;
    let archive = assembly.archive()?;
    let reader = archive.reader().await?;
    let vaults = history::vaults(&reader, &asked).await?;
    let found = read(&reader, &vaults, wanted.as_ref()).await?;
    console.result(&found, || restores::log(&found));
    Ok(ExitCode::SUCCESS)
}
