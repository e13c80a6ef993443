//! `doctor`: one line a check, each with its fix.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::identities;
use crate::assemble::{Archive, Assembly, Fleet, Service};
use crate::cli::args::{Doctor, Purpose};
use crate::cli::console::Console;
use crate::cli::diagnosis;
use crate::cli::progress::Bar;
use crate::config::Credential;
use crate::error::{Error, Kind, Result};
use crate::format::archive::ARCHIVE_MAX;
use crate::format::paths;
use crate::jobs::doctor::{
    Check, Custody, Doors, Site, Verdict, check_custody, check_keys, check_opening, check_seat, check_signer,
    check_store, check_target, check_vault,
};
use crate::jobs::fleet::Wish;
use crate::jobs::promises;
use crate::model::VaultUri;
use crate::progress::Progress;

/// Runs every check. The exit code is that of the first that failed.
pub(crate) async fn run(assembly: &Assembly, console: &Console, arguments: Doctor) -> Result<ExitCode> {
    let bar = Bar::new("doctor");
    bar.stage("checking", None);
    let Doctor { purpose, vaults: asked } = arguments;
    let asked = asked.iter().map(|text| assembly.vault_uri(text)).collect::<Result<Vec<VaultUri>>>()?;
    let mut checks = match purpose {
        Purpose::Snapshot => keys(assembly),
        Purpose::Restore => vec![signer(assembly)],
        Purpose::Verify => Vec::new(),
    };
    checks.extend(custody(assembly, purpose));
    let mut door = Door { assembly, known: Vec::new() };
    let archive = archive(&mut door, &mut checks).await;
    let mut site = None;
    if let Some(archive) = &archive {
        checks.extend(archive_checks(assembly, archive, purpose).await);
        if purpose != Purpose::Verify
            && let Some(seat) = assembly.seat()?
        {
            let (surroundings, found) = check_seat(seat.as_ref(), &assembly.ambient).await;
            checks.extend(surroundings);
            site = found;
        }
    }
    if purpose == Purpose::Snapshot {
        checks.extend(policies(assembly, archive.as_ref()).await);
    }
    if purpose != Purpose::Verify {
        let vaults = vaults(&mut door, asked, &mut checks).await;
        if purpose == Purpose::Restore {
            checks.extend(opening(assembly, archive.as_ref(), &vaults).await);
        }
        for (name, uri) in vaults {
            vault(&mut door, (&name, &uri), purpose, site.as_ref(), &mut checks).await;
        }
    }
    drop(bar);
    let worst = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    console.result(&json!({"status": worst, "checks": checks}), || diagnosis::doctor(&checks));
    let failed = checks.iter().find_map(|check| check.kind);
    Ok(ExitCode::from(failed.map_or(0, Kind::exit_code)))
}

/// The archive, if whoever asks is let in.
async fn archive(door: &mut Door<'_>, checks: &mut Vec<Check>) -> Option<Archive> {
    let credential = door.assembly.archive_credential();
    if !door.open(credential, Service::Storage, "archive", "archive.credential", checks).await {
        return None;
    }
    match door.assembly.archive() {
        Ok(archive) => Some(archive),
        Err(error) => {
            checks.push(Check::fail("archive", "settings", error));
            None
        }
    }
}

/// One vault.
async fn vault(
    door: &mut Door<'_>,
    (name, uri): (&str, &VaultUri),
    purpose: Purpose,
    site: Option<&Site>,
    checks: &mut Vec<Check>,
) {
    let assembly = door.assembly;
    let doors = async {
        let credential = assembly.vault_credential(uri)?;
        if !door.open(Some(credential), Service::Vaults, name, "the vault's credential", checks).await {
            return Ok(None);
        }
        Ok::<_, Error>(Some((assembly.vault(uri)?, assembly.facts(uri)?)))
    };
    match doors.await {
        Ok(None) => {}
        Ok(Some((vault, plane))) => {
            let doors = Doors { name, vault: &vault, facts: Some(&plane), rights: Some(&plane), site };
            checks.extend(match purpose {
                Purpose::Restore => check_target(&doors, &assembly.ambient).await,
                Purpose::Snapshot | Purpose::Verify => check_vault(&doors, &assembly.ambient).await,
            });
        }
        Err(error) => checks.push(Check::fail(name, "settings", error)),
    }
}

/// Whether what a restore is recorded with is at hand.
fn signer(assembly: &Assembly) -> Check {
    match (assembly.signer(), assembly.verifiers()) {
        (Ok(signer), Ok(verifiers)) => check_signer(&signer, &verifiers),
        (Err(error), _) => {
            Check::fail("keys", "signer", error.hint("`restore apply --without-log` restores without a record"))
        }
        (_, Err(error)) => Check::fail("keys", "verifiers", error),
    }
}

/// Whether captures can be opened here: one is, of the first vault that has any.
async fn opening(assembly: &Assembly, archive: Option<&Archive>, vaults: &[(String, VaultUri)]) -> Vec<Check> {
    let identities = match identities(assembly) {
        Ok(identities) => identities,
        Err(error) => return vec![Check::fail("keys", "identity", error)],
    };
    let Some(archive) = archive else { return Vec::new() };
    // That it cannot be read was told before.
    let Ok(reader) = archive.reader().await else { return Vec::new() };
    let mut last = None;
    for (_, uri) in vaults {
        let check = check_opening(&reader, uri, &identities).await;
        if check.verdict != Verdict::Warn {
            return vec![check];
        }
        last = Some(check);
    }
    last.into_iter().collect()
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
        setting: &str,
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
        let outcome = self.assembly.sign_in(&credential, service, setting).await;
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
fn custody(assembly: &Assembly, purpose: Purpose) -> Vec<Check> {
    let custody = |(what, path): (&'static str, &Path)| Custody {
        what,
        path: path.display().to_string(),
        mode: std::fs::metadata(path).ok().map(|found| found.permissions().mode()),
    };
    let files: Vec<Custody> = assembly.secret_files().into_iter().map(custody).collect();
    check_custody(&files, purpose == Purpose::Snapshot)
}

/// The vaults that are asked about; by default those that tonight's job would take: what the settings name, and what they
/// look for.
async fn vaults(door: &mut Door<'_>, asked: Vec<VaultUri>, checks: &mut Vec<Check>) -> Vec<(String, VaultUri)> {
    let assembly = door.assembly;
    if let Err(error) = assembly.settings.check_vaults() {
        checks.push(Check::fail("vaults", "named", error));
    }
    if !asked.is_empty() {
        return asked.into_iter().map(|uri| (uri.name().to_owned(), uri)).collect();
    }
    let named = || assembly.settings.vaults.iter().map(|vault| (vault.name.clone(), vault.uri.clone())).collect();
    if assembly.settings.discover.is_empty() {
        return named();
    }
    const CHECK: &str = "look for vaults";
    for rule in &assembly.settings.discover {
        if !door
            .open(Some(rule.credential.clone()), Service::Vaults, "discover", "the credential of [[discover]]", checks)
            .await
        {
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
    let recipients = match assembly.recipients() {
        Ok(recipients) => recipients.len(),
        Err(error) => return vec![Check::fail("keys", "recipients", error)],
    };
    let signer = match assembly.signer() {
        Ok(signer) => signer,
        Err(error) => return vec![Check::fail("keys", "signer", error)],
    };
    match assembly.verifiers() {
        Ok(verifiers) => check_keys(recipients, &signer, &verifiers),
        Err(error) => vec![Check::fail("keys", "verifiers", error)],
    }
}

/// What each policy in use demands of the archive.
async fn policies(assembly: &Assembly, archive: Option<&Archive>) -> Vec<Check> {
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

async fn archive_checks(assembly: &Assembly, archive: &Archive, purpose: Purpose) -> Vec<Check> {
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
    // Who only reads is not asked to add.
    let probe = probe.ok().filter(|_| purpose != Purpose::Verify);
    let mut checks = check_store(store, assembly.demand(), probe).await;
    checks.push(readable);
    checks
}
