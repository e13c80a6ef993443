//! `open`: a sealed capture from a file, such as one on a USB stick. Needs an identity, and neither archive nor network.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{assembly, identities};
use crate::cli::args::{Open, Output};
use crate::cli::console::Console;
use crate::cli::files;
use crate::cli::prompt::Terminal;
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::{Capture, SEALED_MAX, files as capture_files, unpack};
use crate::seal::Identities;

/// Opens a capture and shows what it is, its metadata, or extracts it.
pub(crate) fn run(config: Option<&Path>, console: &Console, arguments: Open) -> Result<ExitCode> {
    let opening = || format!("couldn't open {}", arguments.file.display());
    let identities = match arguments.identities.as_slice() {
        [] => identities(&assembly(config).map_err(|error| {
            Error::usage(format!("no --identity is given, and no settings name one: {error}"))
                .hint("name it with --identity FILE")
        })?)?,
        files => Identities::from_files(files, Arc::new(Terminal { passphrase: None }))?,
    };
    let sealed = files::read(&arguments.file, SEALED_MAX)?;
    let packed = identities.open(&sealed).context(opening())?;
    let capture = unpack(&packed).map_err(|error| Error::new(Kind::Tampered, error.to_string())).context(opening())?;
    if arguments.metadata {
        let [_, (_, metadata), _] = capture_files(&capture)?;
        console.bytes(&metadata);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &arguments.extract {
        extract(&capture, folder)?;
    }
    let summary = summary(&capture, arguments.extract.as_deref());
    match console.output() {
        Output::Json => console.document(&summary),
        Output::Text => console.say(&told(&summary)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the three files, readable by their owner only: whoever has the blob and may restore has the object.
fn extract(capture: &Capture, folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(|error| {
        Error::usage(format!("couldn't create {}: {error}", folder.display()))
            .hint("name a folder that does not exist yet")
    })?;
    for (name, bytes) in capture_files(capture)? {
        files::create_private(&folder.join(name), &bytes)?;
    }
    Ok(())
}

fn summary(capture: &Capture, folder: Option<&Path>) -> Value {
    let metadata = &capture.metadata;
    json!({
        "object": metadata.object.to_string(),
        "vault": metadata.vault,
        "captured_at": metadata.captured_at,
        "tool": metadata.tool,
        "versions": metadata.versions.len(),
        "backup": metadata.backup,
        "rotation_policy": metadata.rotation_policy.is_some(),
        "extracted": folder,
    })
}

fn told(summary: &Value) -> String {
    let text = |field: &str| {
        summary
            .get(field)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .unwrap_or_default()
    };
    let backup = summary.get("backup");
    let of_backup = |field: &str| backup.and_then(|backup| backup.get(field)).map(Value::to_string).unwrap_or_default();
    let mut lines = format!(
        "{} from {}, captured {}\n  versions: {}\n  backup.blob: {} bytes, SHA-256 {}\n",
        text("object"),
        text("vault"),
        text("captured_at"),
        text("versions"),
        of_backup("size"),
        of_backup("sha256").trim_matches('"'),
    );
    if let Some(folder) = summary.get("extracted").and_then(Value::as_str) {
        lines.push_str(&format!("Extracted into {folder}. README.txt tells how to restore with `az`.\n"));
    }
    lines
}
