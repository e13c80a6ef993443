//! The command line: arguments, dispatch, rendering, exit codes. The only place that prints; knows what every command is
//! called and how it reads, and leaves what it does to `jobs`.

mod args;
mod commands;
mod console;
#[cfg(feature = "emulator")]
mod demo;
mod files;
mod logging;
mod progress;
mod prompt;
mod render;
mod table;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use serde_json::json;

use crate::error::{Error, Kind};
use crate::progress::Stop;
use args::{Cli, Output};
use console::Console;

/// Asked by SIGINT and SIGTERM; looked at by jobs between steps.
static STOP: Stop = Stop::new();

/// Runs the program with the given arguments, the program's name first.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(without_separator(arguments)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, and successes to a shell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 });
        }
    };
    logging::start(cli.verbose);
    let console = Console::new(cli.output);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&console, &Error::internal(format!("couldn't start: {error}"))),
    };
    let outcome = runtime.block_on(async {
        stop_on_signals();
        commands::run(cli, &console, &STOP).await
    });
    // Threads that still wait for the network must not hold up the end of the program.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => fail(&console, &error),
    }
}

/// The commands as clap describes them, for completions and manual pages.
fn command() -> clap::Command {
    Cli::command()
}

/// `cargo demo -- --keep` reaches us as `demo -- --keep`, since the alias has used up one separator already.
fn without_separator(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if let [_, command, separator, ..] = arguments.as_slice()
        && command == "demo"
        && separator == "--"
    {
        arguments.remove(2);
    }
    arguments
}

fn stop_on_signals() {
    tokio::spawn(async {
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
            return;
        };
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if STOP.asked() {
                // Asked twice: somebody is in a hurry. Nothing is lost, only what was in flight is not committed.
                std::process::exit(i32::from(Kind::Interrupted.exit_code()));
            }
            STOP.ask();
        }
    });
}

/// Reports an error: a sentence and a hint for people, a document for machines.
fn fail(console: &Console, error: &Error) -> ExitCode {
    match console.output() {
        Output::Text => {
            console.complain(&format!("akv-archiver: error: {error}"));
            if let Some(hint) = error.hint_text() {
                console.complain(&format!("hint: {hint}"));
            }
        }
        Output::Json => console.document(&json!({
            "error": {"kind": error.kind().name(), "message": error.message(), "hint": error.hint_text()},
        })),
    }
    ExitCode::from(error.kind().exit_code())
}
