//! `restore plan`: arguments into a request, the plan into a file and onto the screen.

use std::process::ExitCode;
use std::sync::Arc;

use crate::assemble::Assembly;
use crate::cli::args::{Plan as Arguments, Term, Version};
use crate::cli::commands::identities;
use crate::cli::commands::rebuild::{self, With};
use crate::cli::console::Console;
use crate::cli::progress::Bar;
use crate::cli::{files, render};
use crate::error::{Error, Kind, Result};
use crate::jobs::restore::settings::{self, Rebuild};
use crate::jobs::restore::{Eyes, Point, Request, Selection, bring, make_plan, plan_files};
use crate::model::VaultUri;
use crate::restore::{Allowed, Plan};
use crate::vault;

/// Makes a plan, writes it and prints it.
pub(super) async fn run(assembly: &Assembly, console: &Console, arguments: Arguments) -> Result<ExitCode> {
    files::replaceable(&arguments.out, "plan", Plan::FILE_MAX, Plan::is_one)?;
    let (mut plan, around) = make(assembly, console, &arguments).await?;
    let (rebuild, vault_settings) = match around {
        Some(around) => {
            let (written, of_target) =
                rebuild::write(&arguments.out, &mut plan, around, arguments.with_vault_settings)?;
            (Some(written), of_target)
        }
        None => (None, Vec::new()),
    };
    let removed = if rebuild.is_none() { rebuild::clear(&arguments.out)? } else { Vec::new() };
    let replaced = arguments.out.exists();
    files::replace(&arguments.out, &serde_json::to_vec_pretty(&plan).map_err(|e| Error::internal(e.to_string()))?)?;
    let shown = With { plan: &plan, rebuild, vault_settings };
    console.result(&shown, || {
        let around = shown.rebuild.as_ref();
        let around = around.map(|written| rebuild::told(written, &shown.vault_settings, arguments.with_vault_settings));
        let file = arguments.out.display();
        let over = if replaced { ", over an earlier plan" } else { "" };
        let missing = plan.settings.as_ref().map_or(0, |_| rebuild::missing(&shown.vault_settings));
        let would = match (plan.changes().count(), missing) {
            (0, 0) => "Nothing would be changed".to_owned(),
            (n, 0) => format!("{n} would be changed"),
            (n, m) => format!("{n} would be changed, and {m} of the vault's settings would be written"),
        };
        let carries = match would.starts_with("Nothing") {
            true => String::new(),
            false => format!("; `akv-archiver restore apply {file}` carries it out"),
        };
        let mut next = format!("{would}. Written to {file}{over}{carries}.");
        for path in &removed {
            next.push_str(&format!("\nRemoved {}, which was of the earlier plan.", path.display()));
        }
        format!("{}{}{next}", render::restore::plan(&plan, &arguments.out), around.unwrap_or_default())
    });
    Ok(ExitCode::from(match (plan.refused(), plan.lacks()) {
        (true, _) => Kind::Refused.exit_code(),
        (false, true) => Kind::Partial.exit_code(),
        (false, false) => 0,
    }))
}

async fn make(assembly: &Assembly, console: &Console, arguments: &Arguments) -> Result<(Plan, Option<Rebuild>)> {
    let (request, identified) = request(arguments)?;
    let archive = match arguments.files.is_empty() || assembly.has_archive() {
        true => Some(assembly.archive()?),
        false => None,
    };
    let identities = Arc::new(identities(assembly)?);
    // Before anything is sent: a file that does not open needs no network to be told of.
    let brought = match arguments.files.as_slice() {
        [] => None,
        files => Some(bring(&identities, files)?),
    };
    let reader = match &archive {
        None => None,
        Some(archive) => match (archive.reader().await, &brought) {
            (Ok(reader), _) => Some(reader),
            // That the archive does not answer is why somebody has a file in hand.
            (Err(error), Some(_)) => {
                console.complain(&format!("akv-archiver: warning: going on without the archive: {error}"));
                None
            }
            (Err(error), None) => return Err(error),
        },
    };
    let source = match (identified, &arguments.vault, &brought, &reader) {
        (Some(vault), Some(named), _, Some(reader)) if assembly.archived_vault(named, reader).await? != vault => {
            let message = format!("the identifier is of vault {}, and --vault is another", vault.host());
            return Err(Error::usage(message).hint("leave --vault out: the identifier names it"));
        }
        (Some(vault), _, _, _) => vault,
        (None, _, Some(brought), _) => brought.vault.clone(),
        (None, named, None, Some(reader)) => assembly.one_vault(named.as_deref(), reader).await?,
        (None, _, None, None) => return Err(Error::internal("there is neither an archive nor a file")),
    };
    let target = match &arguments.to {
        Some(to) => assembly.vault_uri(to)?,
        None => source.clone(),
    };
    let (door, facts) = (assembly.vault(&target)?, assembly.facts(&target)?);
    let others: Vec<VaultUri> = assembly.settings.vaults.iter().map(|vault| vault.uri.clone()).collect();
    let bar = Bar::new(source.name());
    let eyes = Eyes {
        reader: reader.as_ref(),
        identities: &identities,
        source,
        target: &door,
        facts: Some(&facts as &dyn vault::Facts),
        others: &others,
        atlas: assembly.atlas(),
        ambient: &assembly.ambient,
        progress: &bar,
    };
    let plan = match brought {
        Some(brought) => plan_files(&eyes, brought, request.allowed).await?,
        None => make_plan(&eyes, &request).await?,
    };
    let around = match (rebuild::wanted(&plan, arguments.with_vault_settings)?, &reader) {
        (true, Some(reader)) => settings::rebuild(reader, &identities, &door, &plan).await?,
        (_, _) => None,
    };
    Ok((plan, around))
}

/// What the arguments ask for, and the vault of a version's whole identifier, if one is given.
fn request(arguments: &Arguments) -> Result<(Request, Option<VaultUri>)> {
    let (kinds, all, live_only) = (arguments.kinds.clone(), arguments.all, arguments.live_only);
    let mut selection = Selection { kinds, all, live_only, ..Selection::default() };
    for term in &arguments.objects {
        match term.clone() {
            Term::Object(object) => selection.objects.push(object),
            Term::Pattern(pattern) => selection.patterns.push(pattern),
        }
    }
    let mut vault = None;
    let point = match (arguments.snapshot, arguments.at, arguments.version.clone()) {
        (Some(number), _, _) => Point::Snapshot(number),
        (None, Some(time), _) => Point::Time(time),
        (None, None, Some(Version::Id(id))) => Point::Version(id),
        (None, None, Some(Version::Whole { vault: named, object, id })) => {
            let told = selection.objects.iter().all(|other| *other == object) && selection.patterns.is_empty();
            if !told {
                return Err(Error::usage(format!("the identifier is of {object}, and another object is named"))
                    .hint("leave the object out: the identifier names it"));
            }
            selection.objects = vec![object];
            vault = Some(named);
            Point::Version(id)
        }
        (None, None, None) => Point::Newest,
    };
    let allowed = Allowed {
        purge: arguments.allow_purge,
        recover_other: arguments.recover_other,
        single_restore_override: arguments.override_single_restore.clone(),
    };
    Ok((Request { selection, point, allowed, vault_settings: arguments.with_vault_settings }, vault))
}
