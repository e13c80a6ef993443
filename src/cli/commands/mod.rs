//! One file per command: arguments in, a job run, its result printed, an exit code out.

mod archive;
mod doctor;
mod documents;
#[cfg(feature = "emulator")]
mod emulator;
mod fleet;
mod init;
mod open;
mod policy;
mod protect;
mod rebuild;
mod restore;
mod snapshot;
mod status;
mod vaults;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::args::{Cli, Command};
use super::console::Console;
use super::prompt::Terminal;
use crate::ambient::Ambient;
use crate::assemble::Assembly;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::model::Object;
use crate::seal::Identities;

/// Runs a command.
pub(crate) async fn run(cli: Cli, console: &Console) -> Result<ExitCode> {
    let config = cli.config.as_deref();
    match cli.command {
        Command::Init(arguments) => init::run(config, console, arguments).await,
        Command::Doctor(arguments) => doctor::run(&assembly(config)?, console, arguments).await,
        Command::Snapshot(arguments) => snapshot::run(&assembly(config)?, console, arguments).await,
        Command::Vaults(arguments) => vaults::run(&assembly(config)?, console, arguments).await,
        Command::List(arguments) => archive::list(&assembly(config)?, console, arguments).await,
        Command::History(arguments) => archive::history(&assembly(config)?, console, arguments).await,
        Command::Status(arguments) => status::run(config, console, arguments).await,
        Command::Verify(arguments) => verify::run(config, console, arguments).await,
        Command::Protect(command) => protect::run(&assembly(config)?, console, command).await,
        Command::Policy(command) => policy::run(config, console, command),
        Command::Open(arguments) => open::run(config, console, arguments),
        Command::Restore(command) => restore::run(&perhaps_without_archive(config)?, console, command).await,
        Command::Completions { shell } => documents::completions(console, shell),
        Command::Man { out } => documents::man(console, out.as_deref()),
        #[cfg(feature = "emulator")]
        Command::Emulator(arguments) => emulator::run(console, arguments).await,
        #[cfg(feature = "emulator")]
        Command::Demo(arguments) => super::demo::run(console, arguments).await,
        #[cfg(not(feature = "emulator"))]
        Command::Emulator(_) | Command::Demo(_) => Err(Error::usage("this build has no emulator")
            .hint("build with `cargo build --release --features emulator`, or run `cargo demo` in a clone")),
    }
}

/// The process environment. A variable that is not text cannot be a setting of ours.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let text = |value: std::ffi::OsString| value.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

/// The working directory.
pub(crate) fn working_directory() -> Result<std::path::PathBuf> {
    std::env::current_dir().map_err(|error| Error::usage(format!("the working directory is gone: {error}")))
}

/// What can be assembled without an archive, where the settings name none.
fn perhaps_without_archive(config: Option<&Path>) -> Result<Assembly> {
    let settings = Settings::load_perhaps_without_archive(config, &working_directory()?, &environment())?;
    Ok(Assembly::new(settings, Ambient::system()))
}

fn assembly(config: Option<&Path>) -> Result<Assembly> {
    let settings = Settings::load(config, &working_directory()?, &environment())?;
    Ok(Assembly::new(settings, Ambient::system()))
}

/// The identities that open captures; a passphrase is asked for on the terminal.
fn identities(assembly: &Assembly) -> Result<Identities> {
    assembly.identities(|passphrase| Arc::new(Terminal { passphrase }))
}

/// An object as named on the command line.
fn object(text: &str) -> Result<Object> {
    Object::parse(text).ok_or_else(|| {
        Error::usage(format!("{text:?} is not an object"))
            .hint("name it KIND/NAME, such as key/tde-protector, secret/app or certificate/tls")
    })
}
