//! `list` and `history`: reading an archive.

use std::process::ExitCode;

use serde_json::json;

use super::object;
use crate::assemble::Assembly;
use crate::cli::args::{History, List};
use crate::cli::console::Console;
use crate::cli::render;
use crate::error::Result;
use crate::jobs::history;

/// Lists objects or snapshots.
pub(crate) async fn list(assembly: &Assembly, console: &Console, arguments: List) -> Result<ExitCode> {
    let archive = assembly.archive()?;
    let reader = archive.reader().await?;
    let vaults = assembly.archived_vaults(&arguments.vaults, &reader).await?;
    if arguments.snapshots {
        let mut snapshots = Vec::new();
        for vault in &vaults {
            snapshots.extend(history::snapshots(&reader, vault).await?);
        }
        console.result(&json!({"snapshots": snapshots}), || render::snapshots(&snapshots));
    } else {
        let mut objects = Vec::new();
        for vault in &vaults {
            objects.extend(history::objects(&reader, vault, arguments.ever).await?);
        }
        console.result(&json!({"objects": objects}), || render::objects(&objects));
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists the captures of one object.
pub(crate) async fn history(assembly: &Assembly, console: &Console, arguments: History) -> Result<ExitCode> {
    let object = object(&arguments.object)?;
    let archive = assembly.archive()?;
    let reader = archive.reader().await?;
    let vault = assembly.one_vault(arguments.vault.as_deref(), &reader).await?;
    let history = history::captures(&reader, &vault, &object).await?;
    console.result(&history, || render::history(&history));
    Ok(ExitCode::SUCCESS)
}
