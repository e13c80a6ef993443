//! Logs to standard error. Silent unless asked: results and errors are not logs.

use std::ffi::OsStr;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::error::{Error, Result};

/// Overrides what the command line asks for.
const VARIABLE: &str = "AKV_ARCHIVER_LOG";

/// Starts logging: `verbose` 0 shows warnings, 1 stages and what is tried again, 2 each request. `AKV_ARCHIVER_LOG` overrides.
///
/// The SDK's own logs are held back even then: at debug level they show whole addresses, with what signs them.
pub(crate) fn start(verbose: u8) -> Result<()> {
    let ours = match verbose {
        0 => "warn",
        1 => "akv_archiver=info,warn",
        _ => "akv_archiver=debug,warn",
    };
    let filter = match std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) {
        Some(text) => asked(&text)?,
        None => EnvFilter::new(ours),
    };
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    Ok(())
}

fn asked(text: &OsStr) -> Result<EnvFilter> {
    let wrong = |why: String| {
        Error::usage(format!("{VARIABLE} is no filter: {why}"))
            .hint("give a level such as debug, or akv_archiver=debug")
    };
    let text = text.to_str().ok_or_else(|| wrong("it is not text".to_owned()))?;
    EnvFilter::try_new(text).map_err(|error| wrong(error.to_string()))
}
