//! `verify`: proving that an archive holds, as deep as asked; and the reports that one run leaves to the next.

use std::path::Path;
use std::process::ExitCode;

use chrono::TimeDelta;
use serde_json::json;
use zeroize::Zeroizing;

use super::{assembly, identities};
use crate::ambient::Ambient;
use crate::assemble::{Assembly, REPORT_KEY, new_signer};
use crate::cli::args::Verify;
use crate::cli::console::Console;
use crate::cli::progress::Bar;
use crate::cli::{files, verdict};
use crate::error::{Context, Error, Kind, Result};
use crate::progress::Progress;
use crate::verify::{self, Depth, Live, RECORD_MAX, Record, Status, Subset};

/// Verifies the archive, or makes a key that signs reports.
pub(crate) async fn run(config: Option<&Path>, console: &Console, arguments: Verify) -> Result<ExitCode> {
    match &arguments.make_key {
        Some(path) => make_key(console, path),
        None => check(&assembly(config)?, console, &arguments).await,
    }
}

async fn check(assembly: &Assembly, console: &Console, arguments: &Verify) -> Result<ExitCode> {
    // Everything that can be wrong with keys and files is found before anything is sent.
    if let Some(path) = &arguments.report {
        files::replaceable(path, "report of `verify`", RECORD_MAX, Record::is_one)?;
    }
    let archive = assembly.archive()?;
    if archive.verifiers().is_empty() {
        // Says the same as opening the archive does.
        archive.reader().await?;
    }
    let signer = arguments.report.is_some().then(|| assembly.report_signer()).transpose()?;
    let since = arguments.since_report.as_deref().map(|path| earlier(assembly, path)).transpose()?;
    let identities = arguments.open.then(|| identities(assembly)).transpose()?;
    let open =
        identities.map(|identities| move |sealed: &[u8]| -> Result<Zeroizing<Vec<u8>>> { identities.open(sealed) });
    let mut standard = assembly.standard()?;
    standard.max_age = arguments.max_age.map(|age| TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX));
    let bar = Bar::new("verify");
    let live = look(assembly, arguments.live, &bar).await?;
    let reads = arguments.read_captures || arguments.open || arguments.subset.is_some();
    let depth = Depth {
        read: reads.then(|| arguments.subset.unwrap_or(Subset::ALL)),
        open: open.as_ref().map(|open| open as &verify::Opener),
        live: &live,
        since: since.as_ref(),
    };
    let report = verify::inspect(archive.store(), &standard, &depth, &bar).await?;
    drop(bar);
    console.result(&report, || verdict::verdict(&report));
    if let (Some(path), Some(signer)) = (&arguments.report, signer) {
        let record = report.record.as_ref().ok_or_else(|| {
            Error::new(Kind::Tampered, "no report was written: archive.json does not say which archive this is")
        })?;
        files::replace(path, &record.sign(&signer)?)?;
    }
    Ok(match report.status {
        Status::Ok => ExitCode::SUCCESS,
        Status::Noncompliant => ExitCode::from(Kind::Noncompliant.exit_code()),
        Status::Tampered => ExitCode::from(Kind::Tampered.exit_code()),
    })
}

/// What the vaults of the settings show now.
async fn look(assembly: &Assembly, asked: bool, bar: &Bar) -> Result<Vec<Live>> {
    let mut live = Vec::new();
    if !asked {
        return Ok(live);
    }
    if assembly.settings.vaults.is_empty() {
        return Err(
            Error::usage("the settings name no vault to compare with").hint("add a [[vault]], or leave --live out")
        );
    }
    bar.stage("listing vaults", None);
    for vault in &assembly.settings.vaults {
        live.push(assembly.live(&vault.uri).await?);
    }
    Ok(live)
}

/// An earlier report. One that does not hold is refused, not ignored.
fn earlier(assembly: &Assembly, path: &Path) -> Result<Record> {
    let known = assembly.report_verifiers()?;
    Record::open(&files::read(path, RECORD_MAX)?, &known).context(path.display())
}

fn make_key(console: &Console, path: &Path) -> Result<ExitCode> {
    let signer = new_signer(REPORT_KEY, &Ambient::system())?;
    files::create_private(path, format!("{}\n", signer.encode().as_str()).as_bytes()).map_err(|error| {
        match error.kind() {
            Kind::Conflict => error.hint("a key is never written over: name another file"),
            _ => error,
        }
    })?;
    let verifier = signer.verifier().to_string();
    console.result(&json!({"signer": path, "verifier": verifier}), || {
        format!(
            "Made {}. Its verifier, for [verify] verifiers of whoever starts from its reports:\n{verifier}",
            path.display()
        )
    });
    Ok(ExitCode::SUCCESS)
}
