//! `restore apply`.

use std::process::ExitCode;
use std::sync::Arc;

use super::{confirm, read_plan};
use crate::assemble::Assembly;
use crate::cli::args::Apply;
use crate::cli::commands::identities;
use crate::cli::commands::rebuild;
use crate::cli::console::Console;
use crate::cli::operator::operator;
use crate::cli::progress::Bar;
use crate::cli::{render, signals};
use crate::error::{Kind, Result};
use crate::jobs::restore::{Hands, Logbook, apply};
use crate::restore::Plan;

pub(super) async fn run(assembly: &Assembly, console: &Console, arguments: Apply) -> Result<ExitCode> {
    let plan = read_plan(&arguments.plan)?;
    // A plan that was made of files without an archive is carried out without one.
    let archive = match plan.archive_id {
        Some(_) => Some(assembly.archive()?),
        None => None,
    };
    let reader = match &archive {
        Some(archive) => Some(archive.reader().await?),
        None => None,
    };
    let identities = Arc::new(identities(assembly)?);
    let signer = match archive.is_none() || arguments.without_log {
        true => None,
        false => Some(assembly.signer()?),
    };
    let target = assembly.governed(&plan.target)?;
    if plan.changes().next().is_some() && signer.is_none() {
        console.complain(&unrecorded(&plan, archive.is_some() && assembly.signer().is_ok()));
    }
    if (plan.changes().next().is_some() || plan.settings.is_some()) && !arguments.yes {
        confirm(console, &render::restore::plan(&plan, &arguments.plan), &plan.target, plan.whole)?;
    }
    // From here on a signal ends the run between two objects, and what was done is recorded.
    let stop = signals::listen();
    let operator = operator();
    let bar = Bar::new(plan.target.name());
    let hands = Hands {
        logbook: archive
            .as_ref()
            .zip(signer.as_ref())
            .map(|(archive, signer)| Logbook { store: archive.store(), signer }),
        reader: reader.as_ref(),
        identities: &identities,
        vault: &target,
        ambient: &assembly.ambient,
        operator: &operator,
        progress: &bar,
        stop,
        wait: arguments.wait.unwrap_or(assembly.settings.restore.wait),
        in_flight: usize::from(assembly.settings.capture.max_in_flight),
    };
    let applied = apply(&hands, &plan).await?;
    drop(bar);
    let partial = applied.status == "partial" || rebuild::open(&applied.vault_settings);
    console.result(&applied, || {
        format!("{}{}", render::restore::applied(&applied), rebuild::told_settings(&applied.vault_settings))
    });
    Ok(ExitCode::from(match (applied.interrupted, partial) {
        (true, _) => Kind::Interrupted.exit_code(),
        (false, true) => Kind::Partial.exit_code(),
        (false, false) => 0,
    }))
}

/// What nobody will find in the log, and so has to be written down elsewhere. Nothing is refused here: that a log could be
/// read and signed does not say that it can be written, and a key has to come back all the same.
fn unrecorded(plan: &Plan, signer: bool) -> String {
    let mut text = format!(
        "akv-archiver: warning: the log will not tell of this restore. Record by hand who restored what into {} from captures \
         of {}, when and why, and keep the plan ({}) with what is printed here. `restore resume` cannot finish it, and \
         nobody else is kept off its names",
        plan.target.host(),
        plan.source.host(),
        plan.plan
    );
    if signer {
        text.push_str("\nhint: a signer is at hand: leave --without-log out, unless the log cannot be written");
    }
    text
}
