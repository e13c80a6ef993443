//! `vaults`: which vaults a snapshot would take, in which order, and how old their newest snapshots are. Changes nothing,
//! and needs no key.

use std::process::ExitCode;

use serde_json::json;

use super::fleet::Asked;
use crate::assemble::{Assembly, Fleet};
use crate::cli::args::Choice;
use crate::cli::console::Console;
use crate::cli::summary::{self, Listed};
use crate::error::{Error, Kind, Result};
use crate::jobs::fleet::{Shard, Standing, turns};

/// Lists the chosen vaults.
pub(crate) async fn run(assembly: &Assembly, console: &Console, choice: Choice) -> Result<ExitCode> {
    let asked = Asked::parse(choice)?;
    let Fleet { members, mut warnings, shortfall, .. } = asked.fleet(assembly).await?;
    warnings.extend(shortfall.as_ref().map(Error::to_string));
    let now = assembly.ambient.now();
    let shard = asked.shard.map(Shard::index);
    let archive = assembly.archive()?;
    let listed: Vec<Listed> = match archive.reader().await {
        Ok(reader) => {
            let every = asked.every(assembly, &members)?;
            let turns = turns(&reader, members, |member| every.get(&member.uri).copied(), now).await;
            warnings.extend(turns.iter().filter_map(|(_, standing)| match standing {
                Standing::Unknown(error) => Some(error.to_string()),
                Standing::Never | Standing::Taken { .. } => None,
            }));
            turns.into_iter().map(|(member, standing)| Listed::new(member, Some(&standing), shard, now)).collect()
        }
        // Which vaults there are does not depend on the archive.
        Err(error) => {
            warnings.push(format!("the age of snapshots is not known: {error}"));
            members.into_iter().map(|member| Listed::new(member, None, shard, now)).collect()
        }
    };
    console.result(&json!({"vaults": listed, "warnings": warnings}), || {
        let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        format!("{}{warnings}", summary::vaults(&listed))
    });
    Ok(ExitCode::from(shortfall.map_or(0, |error: Error| Kind::exit_code(error.kind()))))
}
