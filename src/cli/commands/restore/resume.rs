//! `restore resume`.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::confirm;
use crate::assemble::{Archive, Assembly};
use crate::cli::args::Resume;
use crate::cli::commands::identities;
use crate::cli::console::Console;
use crate::cli::operator::operator;
use crate::cli::progress::Bar;
use crate::cli::{restores, signals};
use crate::error::{Context, Kind, Result};
use crate::format::entry::Became;
use crate::jobs::history;
use crate::jobs::restore::{Hands, Logbook, Mode, Resumed, open_intents, resume};
use crate::model::VaultUri;
use crate::restore::Record;

pub(super) async fn run(assembly: &Assembly, console: &Console, arguments: Resume) -> Result<ExitCode> {
    let archive = assembly.archive()?;
    let reader = archive.reader().await?;
    let vaults = match (&arguments.vault, arguments.intent) {
        (Some(vault), _) => vec![assembly.archived_vault(vault, &reader).await?],
        // A number means something in one log only.
        (None, Some(_)) => vec![assembly.one_vault(None, &reader).await?],
        (None, None) => history::vaults(&reader, &[]).await?,
    };
    let mode = match (arguments.dry_run, arguments.abandon) {
        (true, _) => Mode::DryRun,
        (false, true) => Mode::Abandon,
        (false, false) => Mode::Finish,
    };
    let open = open_intents(&reader, &vaults, arguments.intent).await?;
    if mode != Mode::DryRun && !arguments.yes {
        for (_, record) in &open {
            confirm(console, &restores::intent(record), &record.intent.target, false)?;
        }
    }
    let mut resumed = Vec::new();
    for (vault, record) in &open {
        let one = one(assembly, &archive, &arguments, vault, record, mode).await;
        let one = one.context(format!("couldn't resume intent {} of {}", record.sequence, vault.host()))?;
        let interrupted = one.interrupted;
        resumed.push(one);
        if interrupted {
            break;
        }
    }
    console.result(&json!({"resumed": resumed}), || restores::resumed(&resumed));
    Ok(ExitCode::from(exit_code(&resumed, mode)))
}

async fn one(
    assembly: &Assembly,
    archive: &Archive,
    arguments: &Resume,
    vault: &VaultUri,
    record: &Record,
    mode: Mode,
) -> Result<Resumed> {
    let reader = archive.reader().await?;
    let identities = Arc::new(identities(assembly)?);
    let signer = assembly.signer()?;
    let target = assembly.governed(&record.intent.target)?;
    let operator = operator();
    let bar = Bar::new(record.intent.target.name());
    let hands = Hands {
        logbook: Some(Logbook { store: archive.store(), signer: &signer }),
        reader: Some(&reader),
        identities: &identities,
        vault: &target,
        ambient: &assembly.ambient,
        operator: &operator,
        progress: &bar,
        stop: signals::listen(),
        wait: arguments.wait.unwrap_or(assembly.settings.restore.wait),
        in_flight: usize::from(assembly.settings.capture.max_in_flight),
    };
    resume(&hands, vault, record, mode).await
}

fn exit_code(resumed: &[Resumed], mode: Mode) -> u8 {
    let done = |one: &Resumed| one.closed && one.steps.iter().all(|step| step.result == Some(Became::Done));
    match mode {
        _ if resumed.iter().any(|one| one.interrupted) => Kind::Interrupted.exit_code(),
        Mode::Finish if !resumed.iter().all(done) => Kind::Partial.exit_code(),
        Mode::Abandon | Mode::DryRun if !resumed.iter().all(|one| one.closed) => Kind::Partial.exit_code(),
        _ => 0,
    }
}
