//! The command line: arguments, dispatch, rendering, exit codes. The only place that prints; knows what every command is
//! called and how it reads, and leaves what it does to `jobs`.

mod args;
mod commands;
mod console;
mod core_dumps;
#[cfg(feature = "emulator")]
mod demo;
mod diagnosis;
mod files;
mod logging;
mod metrics;
mod operator;
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
    core_dumps::never();
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
        return fail(&Console::new(Output::Json), &usage(&error.render().to_string()));
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 })
}

/// What clap says to people, as an error: the sentence with what it speaks of, and the tips.
fn usage(text: &str) -> Error {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let synopsis = lines.iter().find_map(|line| line.strip_prefix("Usage: "));
    let command = synopsis.and_then(|usage| usage.split(" [").next()?.split(" <").next()).unwrap_or("akv-archiver");
    let help = format!("`{command} --help` lists commands and options");
    let Some(first) = lines.first().and_then(|line| line.strip_prefix("error: ")) else {
        // Instead of an error clap shows the help of whatever lacks its command.
        return Error::usage(format!("{command}: a command is missing")).hint(help);
    };
    let rest = lines.iter().skip(1).take_while(|line| !line.is_empty()).copied();
    let message = std::iter::once(first).chain(rest).collect::<Vec<_>>().join(" ");
    let tips: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("tip: ")).collect();
    Error::usage(message).hint(if tips.is_empty() { help } else { tips.join("; ") })
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Cli, usage};

    #[test]
    fn what_clap_says_of_a_wrong_command_line_is_an_error_with_its_tips() {
        let told = |arguments: &[&str]| {
            let error = Cli::try_parse_from([&["akv-archiver"], arguments].concat()).unwrap_err();
            let error = usage(&error.render().to_string());
            (error.message().to_owned(), error.hint_text().unwrap_or_default().to_owned())
        };
        let (message, hint) = told(&["snapsot"]);
        assert_eq!(message, "unrecognized subcommand 'snapsot'");
        assert_eq!(hint, "a similar subcommand exists: 'snapshot'");
        let (message, hint) = told(&["restore"]);
        assert_eq!(message, "akv-archiver restore: a command is missing");
        assert_eq!(hint, "`akv-archiver restore --help` lists commands and options");
        let (message, hint) = told(&[]);
        assert!(
            message == "akv-archiver: a command is missing" && hint.starts_with("`akv-archiver --help`"),
            "{message}"
        );
        let (message, hint) = told(&["restore", "plan"]);
        assert!(message.starts_with("the following required arguments were not provided: <"), "{message}");
        assert_eq!(hint, "`akv-archiver restore plan --help` lists commands and options");
    }
}
