//! `doctor`: one line a check, each with its fix.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::assemble::{Archive, Assembly, Fleet, Service};
use crate::cli::console::Console;
use crate::cli::diagnosis;
use crate::cli::progress::Bar;
use crate::config::Credential;
use crate::error::{Error, Kind, Result};
use crate::format::archive::ARCHIVE_MAX;
use crate::format::paths;
use crate::jobs::doctor::{
    Check, Custody, Doors, Verdict, check_custody, check_keys, check_seat, check_store, check_vault,
};
use crate::jobs::fleet::Wish;
use crate::jobs::promises;
use crate::model::VaultUri;
use crate::progress::Progress;

/// Runs every check. The exit code is that of the first that failed.
pub(crate) async fn run(assembly: &Assembly, console: &Console) -> Result<ExitCode> {
    let bar = Bar::new("doctor");
    bar.stage("checking", None);
    let mut checks = keys(assembly);
    checks.extend(custody(assembly));
    let mut door = Door { assembly, known: Vec::new() };
    let mut site = None;
    let archive = match assembly.archive() {
        Ok(archive) => {
            let let_in = door.open(assembly.archive_credential(), Service::Storage, "archive", &mut checks).await;
            Some(archive).filter(|_| let_in)
        }
        Err(error) => {
            checks.push(Check::fail("archive", "settings", error));
            None
        }
    };
    if let Some(archive) = &archive {
        checks.extend(archive_checks(assembly, archive).await);
        if let Some(seat) = assembly.seat()? {
            let (surroundings, found) = check_seat(seat.as_ref(), &assembly.ambient).await;
            checks.extend(surroundings);
            site = found;
        }
    }
    checks.extend(policies(assembly, archive.as_ref()).await);
    for (name, uri) in vaults(&mut door, &mut checks).await {
        match assembly.vault(&uri) {
            Ok(vault) => {
                let credential = assembly.vault_credential(&uri)?;
                if door.open(Some(credential), Service::Vaults, &name, &mut checks).await {
                    let plane = assembly.facts(&uri)?;
                    let doors = Doors {
                        name: &name,
                        vault: &vault,
                        facts: Some(&plane),
                        rights: Some(&plane),
                        site: site.as_ref(),
                    };
                    checks.extend(check_vault(&doors, &assembly.ambient).await);
                }
            }
            Err(error) => checks.push(Check::fail(&name, "settings", error)),
        }
    }
    drop(bar);
    let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    console.result(&json!({"status": worst, "checks": checks}), || diagnosis::doctor(&checks));
    let failed = checks.iter().find_map(|check| check.kind);
    Ok(ExitCode::from(failed.map_or(0, Kind::exit_code)))
}

/// The way in: credentials that were tried, and whether they signed in. One that does not is told once, and what lies
/// behind it is not asked: every answer would be the same.
struct Door<'a> {
    assembly: &'a Assembly,
    known: Vec<(Credential, Service, bool)>,
}

impl Door<'_> {
    async fn open(
        &mut self,
        credential: Option<Credential>,
        service: Service,
        subject: &str,
        checks: &mut Vec<Check>,
    ) -> bool {
        let Some(credential) = credential else { return true };
        let known = |(tried, at, _): &&(Credential, Service, bool)| *tried == credential && *at == service;
        if let Some((_, _, opens)) = self.known.iter().find(known) {
            return *opens;
        }
        // Who is not let in at one service is not let in at another.
        if self.known.iter().any(|(tried, _, opens)| *tried == credential && !opens) {
            return false;
        }
        let outcome = self.assembly.sign_in(&credential, service).await;
        let opens = outcome.is_ok();
        checks.push(match outcome {
            Ok(()) => Check::ok(subject, "sign in", "accepted"),
            Err(error) => Check::fail(subject, "sign in", error),
        });
        self.known.push((credential, service, opens));
        opens
    }
}

/// How the files that hold secrets are kept.
fn custody(assembly: &Assembly) -> Vec<Check> {
    let custody = |(what, path): (&'static str, &Path)| Custody {
        what,
        path: path.display().to_string(),
        mode: std::fs::metadata(path).ok().map(|found| found.permissions().mode()),
    };
    let files: Vec<Custody> = assembly.secret_files().into_iter().map(custody).collect();
    check_custody(&files, assembly.settings.archive.signer.is_some())
}

/// The vaults that tonight's job would take: what the settings name, and what they look for.
async fn vaults(door: &mut Door<'_>, checks: &mut Vec<Check>) -> Vec<(String, VaultUri)> {
    let assembly = door.assembly;
    let named = || assembly.settings.vaults.iter().map(|vault| (vault.name.clone(), vault.uri.clone())).collect();
    if assembly.settings.discover.is_empty() {
        return named();
    }
    const CHECK: &str = "look for vaults";
    for rule in &assembly.settings.discover {
        if !door.open(Some(rule.credential.clone()), Service::Vaults, "discover", checks).await {
            return named();
        }
    }
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
async fn policies(assembly: &Assembly, archive: Option<&Archive>) -> Vec<Check> {
    if assembly.settings.archive.signer.is_none() {
        return Vec::new();
    }
    let guard = match archive.map(Archive::store) {
        Some(store) => store.guard().await.ok().map(|guard| (store.describe(), guard)),
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
