//! The command line: arguments, dispatch, rendering, exit codes. The only place that prints; knows what every command is
//! called and how it reads, and leaves what it does to `jobs`.

mod args;
mod commands;
mod console;
#[cfg(feature = "emulator")]
mod demo;
mod diagnosis;
mod files;
mod logging;
mod metrics;
mod progress;
mod prompt;
mod render;
mod restores;
mod signals;
mod standing;
mod summary;
mod table;
mod verdict;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::error::{Error, Kind, Result};
use args::{Cli, Output};
use console::Console;

/// Threads for what may block: sealing, files, names of hosts. Many more than processors only cost memory.
const BLOCKING: usize = 16;

/// Runs the program with the given arguments, the program's name first.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let wants_json = wants_json(&arguments);
    let cli = match Cli::try_parse_from(without_separator(arguments)) {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error, wants_json),
    };
    let console = Arc::new(Console::new(cli.output));
    if let Err(error) = logging::start(cli.verbose) {
        return fail(&console, &error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(BLOCKING).build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&console, &Error::internal(format!("couldn't start: {error}"))),
    };
    let ears = {
        let _inside = runtime.enter();
        if cli.command.hears_signals() { None } else { signals::Ears::new() }
    };
    // In a task of its own: this thread would have to be woken for every answer.
    let shared = console.clone();
    let running = runtime.spawn(async move { commands::run(cli, &shared).await });
    let outcome = runtime.block_on(until_signalled(running, ears));
    // Threads that still wait for the network must not hold up the end of the program.
    runtime.shutdown_background();
    match outcome {
        Ok(_) if console.lost() => {
            let error = Error::new(Kind::Unavailable, "the result could not be written to standard output");
            fail(&console, &error.hint("what was done is done; is the disk full?"))
        }
        Ok(code) => code,
        Err(error) => fail(&console, &error),
    }
}

/// Waits for the command, or for a signal where the command leaves that to us. It may be asking somebody for a passphrase, and
/// hear nothing itself.
async fn until_signalled(running: JoinHandle<Result<ExitCode>>, ears: Option<signals::Ears>) -> Result<ExitCode> {
    let signalled = async move {
        match ears {
            Some(mut ears) => ears.hear().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        outcome = running => {
            let lost = |error| Err(Error::internal(format!("the command ended without a result: {error}")));
            outcome.unwrap_or_else(lost)
        }
        () = signalled => Err(Error::new(Kind::Interrupted, "stopped by a signal before it was done").hint("run it again")),
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

/// Whether the arguments ask for JSON, as far as that can be told of arguments that may be wrong.
fn wants_json(arguments: &[OsString]) -> bool {
    let one = arguments.iter().any(|argument| argument == "--output=json" || argument == "-ojson");
    one || arguments
        .windows(2)
        .any(|pair| matches!(pair, [flag, value] if (flag == "--output" || flag == "-o") && value == "json"))
}

/// Reports a command line that cannot be parsed. Help and version are errors to clap, and successes to a shell.
fn unparsed(error: &clap::Error, wants_json: bool) -> ExitCode {
    if wants_json && error.use_stderr() {
        let text = error.render().to_string();
        // The sentence and what it speaks of; usage and tips after the first empty line are for people.
        let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect::<Vec<_>>();
        let message = lines.join(" ").trim_start_matches("error: ").to_owned();
        return fail(
            &Console::new(Output::Json),
            &Error::usage(message).hint("`akv-archiver --help` lists commands and options"),
        );
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 })
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
