//! `completions` and `man`: documents made from the command line's own description.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::args::Output;
use crate::cli::console::Console;
use crate::cli::{command, files};
use crate::error::{Error, Result};

/// Prints a completion script.
pub(crate) fn completions(console: &Console, shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "akv-archiver", &mut script);
    print(console, "script", &script);
    Ok(ExitCode::SUCCESS)
}

/// Prints the main manual page, or writes one page per command into a folder.
pub(crate) fn man(console: &Console, folder: Option<&Path>) -> Result<ExitCode> {
    let command = command();
    let Some(folder) = folder else {
        print(console, "page", &page(command)?);
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(folder)
        .map_err(|error| Error::usage(format!("couldn't create {}: {error}", folder.display())))?;
    write_pages(command, "akv-archiver", folder)?;
    console.result(&json!({"folder": folder}), || format!("Manual pages are in {}.", folder.display()));
    Ok(ExitCode::SUCCESS)
}

/// A document as it is, or as the one member of a JSON document.
fn print(console: &Console, name: &str, document: &[u8]) {
    match console.output() {
        Output::Text => console.bytes(document),
        Output::Json => console.document(&json!({name: String::from_utf8_lossy(document)})),
    }
}

fn write_pages(command: clap::Command, name: &str, folder: &Path) -> Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let name = format!("{name}-{}", subcommand.get_name());
        write_pages(subcommand.clone(), &name, folder)?;
    }
    // The name of a page is that of the whole path of commands; clap wants it for as long as the program runs.
    let named = command.name(Box::leak(name.to_owned().into_boxed_str()) as &'static str);
    files::replace(&folder.join(format!("{name}.1")), &page(named)?)
}

fn page(command: clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command);
    man.render(&mut page).map_err(|error| Error::internal(format!("couldn't render a manual page: {error}")))?;
    Ok(page)
}
