//! `doctor`: one line a check, each with its fix.

use std::process::ExitCode;

use serde_json::json;

use crate::assemble::{Archive, Assembly, Fleet};
use crate::cli::console::Console;
use crate::cli::progress::Bar;
use crate::cli::render;
use crate::error::{Error, Kind, Result};
use crate::format::archive::ARCHIVE_MAX;
use crate::format::paths;
use crate::jobs::doctor::{Check, Verdict, check_keys, check_store, check_vault};
use crate::jobs::fleet::Wish;
use crate::jobs::promises;
use crate::model::VaultUri;
use crate::progress::Progress;
use crate::vault;

/// Runs every check. The exit code is that of the first that failed.
pub(crate) async fn run(assembly: &Assembly, console: &Console) -> Result<ExitCode> {
    let bar = Bar::new("doctor");
    bar.stage("checking", None);
    let mut checks = keys(assembly);
    match assembly.archive() {
        Ok(archive) => checks.extend(archive_checks(assembly, &archive).await),
        Err(error) => checks.push(Check::fail("archive", "settings", error)),
    }
    checks.extend(policies(assembly).await);
    for (name, uri) in vaults(assembly, &mut checks).await {
        match assembly.vault(&uri) {
            Ok(door) => {
                let facts = assembly.facts(&uri)?;
                let facts = Some(&facts as &dyn vault::Facts);
                checks.extend(check_vault(&name, &door, facts, &assembly.ambient).await);
            }
            Err(error) => checks.push(Check::fail(&name, "settings", error)),
        }
    }
    drop(bar);
    let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    console.result(&json!({"status": worst, "checks": checks}), || render::doctor(&checks));
    let failed = checks.iter().find_map(|check| check.kind);
    Ok(ExitCode::from(failed.map_or(0, Kind::exit_code)))
}

/// The vaults that tonight's job would take: what the settings name, and what they look for.
async fn vaults(assembly: &Assembly, checks: &mut Vec<Check>) -> Vec<(String, VaultUri)> {
    let named = || assembly.settings.vaults.iter().map(|vault| (vault.name.clone(), vault.uri.clone())).collect();
    if assembly.settings.discover.is_empty() {
        return named();
    }
    const CHECK: &str = "look for vaults";
    match assembly.fleet(false, &Wish::default()).await {
        Ok(Fleet { members, warnings, shortfall, .. }) => {
            for warning in warnings {
                checks.push(Check::warn(
                    "discover",
                    CHECK,
                    warning,
                    "grant the snapshot reader role there, or exclude it",
                ));
            }
            checks.push(match shortfall {
                Some(error) => Check::fail("discover", CHECK, error),
                None => Check::ok("discover", CHECK, format!("{} chosen", members.len())),
            });
            members.into_iter().map(|member| (member.name, member.uri)).collect()
        }
        Err(error) => {
            checks.push(Check::fail("discover", CHECK, error));
            named()
        }
    }
}

fn keys(assembly: &Assembly) -> Vec<Check> {
    let archive = &assembly.settings.archive;
    let recipients = match assembly.recipients() {
        Ok(recipients) => recipients.len(),
        Err(error) if !archive.recipients.is_empty() => return vec![Check::fail("keys", "recipients", error)],
        Err(_) => 0,
    };
    // Who only reads archives has no signer, and needs none.
    let signer = match archive.signer.is_some().then(|| assembly.signer()).transpose() {
        Ok(signer) => signer,
        Err(error) => return vec![Check::fail("keys", "signer", error)],
    };
    match assembly.archive() {
        Ok(archive) => check_keys(recipients, signer.as_ref(), archive.verifiers()),
        Err(error) => vec![Check::fail("keys", "verifiers", error)],
    }
}

/// What each policy in use demands of the archive. Who only reads archives takes no snapshot that it could hinder.
async fn policies(assembly: &Assembly) -> Vec<Check> {
    if assembly.settings.archive.signer.is_none() {
        return Vec::new();
    }
    let store = assembly.archive().ok();
    let guard = match &store {
        Some(archive) => archive.store().guard().await.ok().map(|guard| (archive.store().describe(), guard)),
        None => None,
    };
    let recipients = assembly.recipients().map_or(0, |recipients| recipients.len());
    let mut checks = Vec::new();
    for choice in assembly.settings.policies() {
        match assembly.chosen(choice) {
            Ok(policy) => {
                let asked = guard.as_ref().map(|(place, guard)| (place.as_str(), guard));
                let mut of_policy = promises::check(&policy, recipients, asked);
                if let (Err(error), true) =
                    (assembly.promise(&policy), of_policy.iter().all(|check| check.kind.is_none()))
                {
                    of_policy.push(Check::fail("policy", &format!("{}: settings", policy.name), error));
                }
                checks.extend(of_policy);
            }
            Err(error) => checks.push(Check::fail("policy", &choice.to_string(), error)),
        }
    }
    checks
}

async fn archive_checks(assembly: &Assembly, archive: &Archive) -> Vec<Check> {
    let store = archive.store();
    let probe = async {
        let path = paths::archive()?;
        let bytes = store.get(&path, None, ARCHIVE_MAX).await.map_err(Error::from)?;
        Ok::<_, Error>((path, bytes))
    };
    let probe = probe.await;
    let readable = match (&probe, archive.reader().await) {
        (_, Ok(reader)) => Check::ok("archive", "open", format!("archive {}", reader.archive().archive_id)),
        (_, Err(error)) => Check::fail("archive", "open", error),
    };
    let mut checks = check_store(store, assembly.demand(), probe.ok()).await;
    checks.push(readable);
    checks
}
