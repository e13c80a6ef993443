//! Logs to standard error. Silent unless asked: results and errors are not logs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging: `verbose` 0 shows warnings, 1 what we do, 2 each request. `AKV_ARCHIVER_LOG` overrides.
///
/// The SDK's own logs are held back even then: at debug level they show addresses, and those name objects.
pub(crate) fn start(verbose: u8) {
    let ours = match verbose {
        0 => "warn",
        1 => "akv_archiver=info,warn",
        _ => "akv_archiver=debug,warn",
    };
    let filter = EnvFilter::try_from_env("AKV_ARCHIVER_LOG").unwrap_or_else(|_| EnvFilter::new(ours));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}
