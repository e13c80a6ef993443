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
    Check, Custody, Verdict, check_archive_rights, check_clock, check_custody, check_keys, check_place, check_store,
    check_vault, check_vault_rights,
};
use crate::jobs::fleet::Wish;
use crate::jobs::promises;
use crate::model::VaultUri;
use crate::progress::Progress;
use crate::store::{Read as _, Seat as _, Site};
use crate::vault::{self, Read as _, Rights as _};

/// Runs every check. The exit code is that of the first that failed.
pub(crate) async fn run(assembly: &Assembly, console: &Console) -> Result<ExitCode> {
    let bar = Bar::new("doctor");
    bar.stage("checking", None);
    let mut checks = keys(assembly);
    checks.extend(custody(assembly));
    let mut door = Door { assembly, known: Vec::new() };
    let site = match assembly.archive() {
        Ok(archive) => match door.open(assembly.archive_credential(), Service::Storage, "archive", &mut checks).await {
            true => {
                checks.extend(archive_checks(assembly, &archive).await);
                checks.extend(policies(assembly, &archive).await);
                seat(assembly, &mut checks).await?
            }
            false => None,
        },
        Err(error) => {
            checks.push(Check::fail("archive", "settings", error));
            None
        }
    };
    for (name, uri) in vaults(assembly, &mut checks).await {
        match assembly.vault(&uri) {
            Ok(vault) => {
                let credential = assembly.vault_credential(&uri)?;
                if door.open(Some(credential), Service::Vaults, &name, &mut checks).await {
                    checks.extend(vault_checks(assembly, &name, &vault, site.as_ref()).await?);
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

/// Where the archive is and what the job may do there. Returns the place, if it is known.
async fn seat(assembly: &Assembly, checks: &mut Vec<Check>) -> Result<Option<Site>> {
    const SUBJECT: &str = "archive";
    let Some(seat) = assembly.seat()? else { return Ok(None) };
    match seat.rights().await {
        Ok(held) => checks.extend(check_archive_rights(SUBJECT, &held)),
        Err(error) => checks.push(unknown_rights(SUBJECT, &error.to_string(), "archive-writer")),
    }
    // The account is asked of Resource Manager; the container itself tells the time.
    if let Err(error) = seat.guard().await {
        tracing::debug!(%error, "the container does not tell its time");
    }
    if let Some(skew) = seat.clock_skew() {
        let now = assembly.ambient.now();
        checks.push(check_clock(SUBJECT, now + skew, now));
    }
    match seat.site().await {
        Ok(site) => Ok(Some(site)),
        Err(error) => {
            let fix = "grant Microsoft.Storage/storageAccounts/read (policies/roles/archive-writer.json)";
            checks.push(Check::warn(SUBJECT, "place", format!("not known: {error}"), fix));
            Ok(None)
        }
    }
}

async fn vault_checks(
    assembly: &Assembly,
    name: &str,
    vault: &dyn vault::Read,
    site: Option<&Site>,
) -> Result<Vec<Check>> {
    let facts = assembly.facts(vault.uri())?;
    let seen = check_vault(name, vault, Some(&facts as &dyn vault::Facts), &assembly.ambient).await;
    let mut checks = seen.checks;
    // What could not be reached cannot be judged either.
    if checks.first().is_some_and(|first| first.kind == Some(Kind::NotFound)) {
        return Ok(checks);
    }
    match assembly.vault_rights(vault.uri())?.rights(vault.uri()).await {
        Ok(held) => checks.extend(check_vault_rights(name, &held, seen.facts.as_ref().map(|facts| facts.rbac))),
        Err(error) => checks.push(unknown_rights(name, &error.to_string(), "snapshot-reader")),
    }
    if let (Some(facts), Some(site)) = (&seen.facts, site) {
        checks.extend(check_place(name, &facts.place, site));
    }
    Ok(checks)
}

fn unknown_rights(subject: &str, why: &str, role: &str) -> Check {
    let fix = format!("grant Microsoft.Authorization/permissions/read (policies/roles/{role}.json)");
    Check::warn(subject, "least privilege", format!("what the identity may do could not be asked: {why}"), &fix)
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
async fn policies(assembly: &Assembly, archive: &Archive) -> Vec<Check> {
    if assembly.settings.archive.signer.is_none() {
        return Vec::new();
    }
    let guard = archive.store().guard().await.ok().map(|guard| (archive.store().describe(), guard));
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
