//! `restore` commands: this file has what several of them share.

mod apply;
mod log;
mod plan;
mod resume;

use std::path::Path;
use std::process::ExitCode;

use crate::assemble::Assembly;
use crate::cli::args::Restore;
use crate::cli::console::Console;
use crate::cli::files;
use crate::error::{Context, Error, Kind, Result};
use crate::model::VaultUri;
use crate::restore::Plan;

/// Runs a `restore` command.
pub(crate) async fn run(assembly: &Assembly, console: &Console, command: Restore) -> Result<ExitCode> {
    match command {
        Restore::Plan(arguments) => plan::run(assembly, console, *arguments).await,
        Restore::Apply(arguments) => apply::run(assembly, console, arguments).await,
        Restore::Resume(arguments) => resume::run(assembly, console, arguments).await,
        Restore::Log(arguments) => log::run(assembly, console, arguments).await,
    }
}

fn read_plan(path: &Path) -> Result<Plan> {
    if !path.exists() {
        return Err(Error::usage(format!("there is no plan {}", path.display()))
            .hint("`akv-archiver restore plan` writes one, and changes nothing"));
    }
    Plan::parse(&files::read(path, Plan::FILE_MAX)?).context(format!("couldn't read the plan {}", path.display()))
}

/// Asks before anything is changed: for the vault's name where much is, for yes otherwise. `what` is shown before.
fn confirm(console: &Console, what: &str, target: &VaultUri, much: bool) -> Result<()> {
    if !console.interactive() {
        return Err(Error::usage("there is no terminal to ask on").hint("read what would be done, then add --yes"));
    }
    console.complain(what.trim_end());
    let (question, wanted) = match much {
        true => (format!("Type the name of the vault, {}, to go on:", target.name()), target.name()),
        false => (format!("Change {}? Type yes to go on:", target.host()), "yes"),
    };
    match console.ask(&question).as_deref() == Some(wanted) {
        true => Ok(()),
        false => Err(Error::new(Kind::Refused, "not confirmed; nothing was changed")),
    }
}

/// Who is doing this, as the system tells: evidence, not authentication.
pub(super) fn operator() -> String {
    let short = |path: &str| files::read(Path::new(path), 1 << 20).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let variable = |name: &str| std::env::var(name).ok();
    let uid = rustix::process::getuid().as_raw();
    told(&variable, uid, &short)
}

/// The user by the environment; where that does not tell, as in containers, the one of this process, and the host.
fn told(variable: &dyn Fn(&str) -> Option<String>, uid: u32, read: &dyn Fn(&str) -> Option<String>) -> String {
    let plain = |text: String| -> Option<String> {
        let plain = |c: &char| c.is_alphanumeric() || "@._-\\".contains(*c);
        let text: String = text.chars().filter(plain).take(128).collect();
        (!text.is_empty()).then_some(text)
    };
    let named = |name: &str| variable(name).and_then(plain);
    if let Some(user) = named("USER").or_else(|| named("LOGNAME")) {
        return user;
    }
    let of_uid = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    };
    let listed = read("/etc/passwd").and_then(|passwd| passwd.lines().find_map(of_uid)).and_then(plain);
    let user = listed.unwrap_or_else(|| format!("uid-{uid}"));
    // A container's user says little without the container.
    match named("HOSTNAME").or_else(|| read("/etc/hostname").and_then(plain)) {
        Some(host) => format!("{user}@{host}").chars().take(128).collect(),
        None => user,
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn the_operator_is_the_user_or_else_the_user_of_the_process_and_its_host() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\njunk\nann:x:1000:1000::/home/ann:/bin/sh\n";
        let who = |environment: &[(&str, &str)], uid, files: &[(&str, &str)]| {
            let of = |table: &[(&str, &str)], name: &str| {
                table.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            told(&|name| of(environment, name), uid, &|path| of(files, path))
        };
        let files = [("/etc/passwd", passwd), ("/etc/hostname", "pod-7\n")];
        assert_eq!(who(&[("USER", "CORP\\bob"), ("LOGNAME", "x"), ("HOSTNAME", "h")], 0, &files), "CORP\\bob");
        assert_eq!(who(&[("USER", ""), ("LOGNAME", "eve\u{1b}[2J")], 0, &files), "eve2J");
        assert_eq!(who(&[], 1000, &files), "ann@pod-7");
        assert_eq!(who(&[("HOSTNAME", "job-1")], 65532, &files), "uid-65532@job-1");
        assert_eq!(who(&[], 0, &[]), "uid-0");
        let long = "h".repeat(500);
        assert_eq!(who(&[("HOSTNAME", &long)], 0, &[]).len(), 128);
    }
}
