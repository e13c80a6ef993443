//! `snapshot`: one run over each vault, one vault's failure never stopping the next.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use crate::assemble::{Archive, Assembly};
use crate::cli::args::Snapshot;
use crate::cli::console::Console;
use crate::cli::progress::Bar;
use crate::cli::{render, signals};
use crate::config;
use crate::error::{Context, Error, Kind, Result};
use crate::jobs::promises::lock;
use crate::jobs::snapshot::{Doors, Order, Outcome, Report, snapshot};
use crate::policy::{Lock, Policy};
use crate::progress::Stop;
use crate::vault;

/// Takes snapshots of the chosen vaults.
pub(crate) async fn run(assembly: &Assembly, console: &Console, arguments: Snapshot) -> Result<ExitCode> {
    let stop = signals::listen();
    assembly.settings.check_snapshot()?;
    for warning in assembly.settings.warnings() {
        console.complain(&format!("warning: {warning}"));
    }
    let vaults = assembly.settings.select(&arguments.vaults)?;
    let archive = assembly.archive()?;
    let policies = policies(assembly, &vaults)?;
    let guard = match policies.iter().any(|policy| policy.retention.lock == Lock::Required) {
        true => Some(archive.store().guard().await.context("couldn't tell how the archive is protected")?),
        false => None,
    };
    let mut outcomes = Vec::new();
    for (vault, policy) in vaults.iter().zip(&policies) {
        if stop.asked().is_some() {
            break;
        }
        let locked = guard.as_ref().map_or(Ok(()), |guard| lock(policy, &archive.store().describe(), guard));
        let outcome = match locked {
            Ok(()) => one(assembly, &archive, vault, &order(assembly, policy, arguments.full), stop).await,
            Err(error) => Err(error),
        };
        outcomes.push((*vault, outcome));
    }
    conclude(console, outcomes, stop)
}

/// The policy of each vault. What the settings cannot promise is found before anything is sent.
fn policies(assembly: &Assembly, vaults: &[&config::Vault]) -> Result<Vec<Arc<Policy>>> {
    let policy = |vault: &&config::Vault| {
        let policy = assembly.policy(&vault.uri)?;
        assembly.promise(&policy).context(vault.name.as_str())?;
        Ok(policy)
    };
    vaults.iter().map(policy).collect()
}

fn order(assembly: &Assembly, policy: &Policy, full: bool) -> Order {
    Order {
        policy: assembly.renewal(policy),
        policy_sha256: policy.sha256(),
        full,
        in_flight: usize::from(assembly.settings.capture.max_in_flight),
        worm: assembly.demand(),
    }
}

async fn one(
    assembly: &Assembly,
    archive: &Archive,
    vault: &config::Vault,
    order: &Order,
    stop: &Stop,
) -> Result<Report> {
    let reader = archive.reader().await?;
    let recipients = Arc::new(assembly.recipients()?);
    let signer = assembly.signer()?;
    if !archive.verifiers().contains(&signer.verifier()) {
        return Err(Error::usage(
            "the log signer is not among archive.verifiers: readers would call the new entry forged",
        )
        .hint(format!("add \"{}\" to archive.verifiers", signer.verifier())));
    }
    let door = assembly.governed(&vault.uri)?;
    let facts = assembly.facts(&vault.uri)?;
    let bar = Bar::new(vault.name.clone());
    let doors = Doors {
        vault: &door,
        facts: Some(&facts as &dyn vault::Facts),
        store: archive.store(),
        reader: &reader,
        recipients: &recipients,
        signer: &signer,
        ambient: &assembly.ambient,
        progress: &bar,
        stop,
    };
    snapshot(&doors, order).await.context(format!("couldn't take a snapshot of {}", vault.name))
}

/// Prints what became of each vault. The worst outcome decides the exit code.
fn conclude(console: &Console, outcomes: Vec<(&config::Vault, Result<Report>)>, stop: &Stop) -> Result<ExitCode> {
    let alone = outcomes.len() == 1;
    let mut code = 0;
    let mut reports = Vec::new();
    for (vault, outcome) in outcomes {
        match outcome {
            Ok(report) => {
                if report.status == Outcome::Partial && code == 0 {
                    code = Kind::Partial.exit_code();
                }
                reports.push(report);
            }
            Err(error) if alone => return Err(error),
            Err(error) => {
                // Tampering outranks every other failure; of those, the first is told.
                if error.kind() == Kind::Tampered || matches!(code, 0 | 3) {
                    code = error.kind().exit_code();
                }
                reports.push(Report::failed(vault.uri.as_str(), &error));
            }
        }
    }
    if stop.asked().is_some() {
        code = Kind::Interrupted.exit_code();
    }
    let text = || reports.iter().map(render::snapshot).collect::<String>();
    match reports.as_slice() {
        [only] => console.result(only, text),
        several => {
            let failed = several.iter().filter(|report| report.status == Outcome::Failed).count();
            console.result(&json!({"vaults": several, "failed": failed}), text);
        }
    }
    Ok(ExitCode::from(code))
}
