//! The vault around the objects, for `restore plan --all --to` and `restore apply`: files beside the plan, and lines for
//! the terminal.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::files;
use crate::error::{Error, Kind, Result};
use crate::jobs::restore::settings::Rebuild;
use crate::restore::Plan;
use crate::restore::rebuild::BEGINNINGS;
use crate::restore::settings::{AppliedSetting, SettingResult};

/// A plan as JSON, with what is said of the vault around the objects.
#[derive(Serialize)]
pub(crate) struct With<'a> {
    #[serde(flatten)]
    pub(crate) plan: &'a Plan,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rebuild: Option<Written>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) vault_settings: Vec<AppliedSetting>,
}

/// What was written beside a plan.
#[derive(Serialize)]
pub(crate) struct Written {
    bicep: PathBuf,
    script: PathBuf,
    facts: Vec<String>,
}

/// Whether a plan is of a whole vault that is made anew elsewhere. Nothing else may ask for the vault's settings.
pub(crate) fn wanted(plan: &Plan, with_vault_settings: bool) -> Result<bool> {
    let wanted = plan.whole && plan.source != plan.target;
    match with_vault_settings && !wanted {
        true => Err(Error::usage("--with-vault-settings is for a whole vault that goes into another one")
            .hint("give --all and --to, or leave it out")),
        false => Ok(wanted),
    }
}

/// Writes the Bicep file and the script beside the plan, and names the settings in the plan if they are to be applied.
pub(crate) fn write(
    out: &Path,
    plan: &mut Plan,
    rebuild: Rebuild,
    apply: bool,
) -> Result<(Written, Vec<AppliedSetting>)> {
    let Rebuild { from, bicep, script, facts, settings } = rebuild;
    let paths = beside(out);
    for ((path, text), beginning) in paths.iter().zip([&bicep, &script]).zip(BEGINNINGS) {
        check_ours(path, beginning)?;
        files::replace(path, text.as_bytes())?;
    }
    let [bicep, script] = paths;
    let written = Written { bicep, script, facts };
    plan.settings = apply.then_some(from);
    Ok((written, settings))
}

/// Removes the files of an earlier plan from beside a plan that has none: they would make another vault. Returns those that
/// were removed. What is not ours stays.
pub(crate) fn clear(out: &Path) -> Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for (path, beginning) in beside(out).into_iter().zip(BEGINNINGS) {
        if ours(&path, beginning) == Some(true) {
            std::fs::remove_file(&path).map_err(|error| {
                Error::usage(format!("couldn't remove {} of an earlier plan: {error}", path.display()))
            })?;
            removed.push(path);
        }
    }
    Ok(removed)
}

/// The Bicep file and the script beside a plan.
fn beside(out: &Path) -> [PathBuf; 2] {
    [out.with_extension("bicep"), out.with_extension("sh")]
}

/// Whether a file is of an earlier plan, by its beginning; `None` where there is none.
fn ours(path: &Path, beginning: &str) -> Option<bool> {
    let mut there = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(beginning.len() as u64).read_to_end(&mut there).ok()?;
    Some(there == beginning.as_bytes())
}

/// Files of an earlier plan are replaced, those of anybody else are not.
fn check_ours(path: &Path, beginning: &str) -> Result<()> {
    match ours(path, beginning) {
        None | Some(true) => Ok(()),
        Some(false) => Err(Error::new(Kind::Conflict, format!("{} is no file of an earlier plan", path.display()))
            .hint("write the plan elsewhere with --out")),
    }
}

/// What no blob brings back, and what does.
pub(crate) fn told(written: &Written, settings: &[AppliedSetting], apply: bool) -> String {
    let mut text = "\nNo backup carries the vault itself. The snapshot has of it:\n".to_owned();
    written.facts.iter().for_each(|fact| text.push_str(&format!("  {fact}\n")));
    if apply {
        text.push_str(&told_settings(settings));
    }
    let by_itself = match apply {
        true => {
            "`restore apply` writes issuers and contacts that are missing, then objects, rotation policies with their keys"
        }
        false => {
            "`restore apply` writes rotation policies with their keys; with --with-vault-settings issuers and contacts too"
        }
    };
    text.push_str(&format!(
        "{by_itself}.\n{} makes the vault; {} has the commands for issuers, contacts and rotation policies.\n\n",
        written.bicep.display(),
        written.script.display()
    ));
    text
}

/// One line for each issuer, and for the contacts.
pub(crate) fn told_settings(settings: &[AppliedSetting]) -> String {
    settings.iter().map(|it| format!("  {}: {}\n", it.setting, it.detail)).collect()
}

/// How many would be written.
pub(crate) fn missing(settings: &[AppliedSetting]) -> usize {
    settings.iter().filter(|it| it.result == SettingResult::Missing).count()
}

/// Whether something is left to do by hand.
pub(crate) fn open(settings: &[AppliedSetting]) -> bool {
    settings.iter().any(|it| matches!(it.result, SettingResult::Different | SettingResult::Failed))
}
