//! `status`: whether the archive is fresh and protected, for a person, a script and a monitor.

use std::path::Path;
use std::process::ExitCode;

use chrono::TimeDelta;

use super::assembly;
use crate::ambient::Ambient;
use crate::cli::args::Status;
use crate::cli::console::Console;
use crate::cli::progress::Bar;
use crate::cli::{files, metrics, standing};
use crate::error::{Error, Kind, Result};
use crate::jobs::status::{Depth, Report, status};
use crate::model::VaultUri;
use crate::progress::Progress;

/// Looks, prints, and writes the metrics, also where nothing could be looked at: a monitor that hears nothing new cannot
/// tell an archive in order from a check that does not run.
pub(crate) async fn run(config: Option<&Path>, console: &Console, arguments: Status) -> Result<ExitCode> {
    if let Some(path) = &arguments.metrics_file {
        files::replaceable(path, "file of metrics", metrics::MOST, metrics::is_one)?;
    }
    let outcome = look(config, &arguments).await;
    let kind = match &outcome {
        Ok(report) => report.kind(),
        Err(error) => Some(error.kind()),
    };
    let code = kind.map_or(0, Kind::exit_code);
    let written = match &arguments.metrics_file {
        Some(path) => {
            let text = metrics::metrics(outcome.as_ref().ok(), code, Ambient::system().now());
            files::replace_public(path, text.as_bytes())
        }
        None => Ok(()),
    };
    let report = match (outcome, &written) {
        (Ok(report), _) => report,
        (Err(error), Ok(())) => return Err(error),
        (Err(error), Err(unwritten)) => {
            console.complain(&format!("warning: {unwritten}"));
            return Err(error);
        }
    };
    console.result(&report, || standing::status(&report));
    written?;
    Ok(ExitCode::from(code))
}

async fn look(config: Option<&Path>, arguments: &Status) -> Result<Report> {
    let assembly = assembly(config)?;
    let max_age = match arguments.max_age.map(TimeDelta::from_std) {
        Some(age) => Some(age.map_err(|_| Error::usage("--max-age is too long"))?),
        None => None,
    };
    let named: Vec<VaultUri> = assembly.settings.vaults.iter().map(|vault| vault.uri.clone()).collect();
    let depth = match arguments.quick {
        true => Depth::Promises,
        false => Depth::Listing,
    };
    if depth == Depth::Promises && named.is_empty() {
        return Err(Error::usage("--quick looks at vaults that the settings name, and they name none")
            .hint("leave --quick out: a listing of the archive shows which vaults it holds"));
    }
    let bar = Bar::new("status");
    bar.stage("reading the archive", None);
    let archive = assembly.archive()?;
    let reader = archive.reader().await?;
    let rule = |vault: &VaultUri| assembly.rule(vault, max_age);
    status(archive.store(), &reader, &named, depth, rule, assembly.ambient.now()).await
}
