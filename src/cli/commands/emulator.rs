//! `emulator`: Azure on localhost, until it is told to stop.

use std::process::ExitCode;

use serde_json::json;

use crate::cli::args::{Emulator, Output};
use crate::cli::console::Console;
use crate::emulator;
use crate::error::Result;

/// Runs the emulator.
pub(crate) async fn run(console: &Console, arguments: Emulator) -> Result<ExitCode> {
    let ready_file = arguments.ready_file.as_deref();
    let ran = emulator::run(&arguments.seed, arguments.state, ready_file, |ready| match console.output() {
        // Secrets are in the ready file, which only its owner can read, and never on a screen.
        Output::Text => console.say(&format!(
            "Azure is on localhost. proxy {}, ca_file {}, control {}. Stop with ctrl-c.",
            ready.proxy,
            ready.ca_file.display(),
            ready.control
        )),
        Output::Json => {
            console.document(&json!({"proxy": ready.proxy, "ca_file": ready.ca_file, "control": ready.control}))
        }
    });
    ran.await?;
    Ok(ExitCode::SUCCESS)
}
