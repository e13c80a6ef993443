//! `open`: a sealed capture from a file, such as one on a USB stick: of an object, or of a vault's settings. Needs an
//! identity, and neither archive nor network.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{assembly, identities};
use crate::cli::args::{Open, Output};
use crate::cli::console::Console;
use crate::cli::files;
use crate::cli::prompt::Terminal;
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::{self, Capture, NamedFile};
use crate::format::settings::{self, Settings};
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
    let sealed = files::read(&arguments.file, capture::SEALED_MAX)?;
    let packed = identities.open(&sealed).context(opening())?;
    let content = Content::unpack(&packed).context(opening())?;
    if arguments.metadata {
        console.bytes(&content.text()?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &arguments.extract {
        extract(&content, folder)?;
    }
    let folder = arguments.extract.as_deref();
    match (console.output(), &content) {
        (Output::Json, _) => console.document(&content.summary(folder)),
        (Output::Text, Content::Capture(capture)) => console.say(&told(&summary(capture, folder))),
        (Output::Text, Content::Settings(settings)) => console.say(&told_settings(settings, folder)),
    }
    Ok(ExitCode::SUCCESS)
}

/// What was sealed.
enum Content {
    Capture(Box<Capture>),
    Settings(Settings),
}

impl Content {
    fn unpack(packed: &[u8]) -> Result<Self> {
        let content = match settings::recognise(packed) {
            true => settings::unpack(packed).map(Content::Settings),
            false => capture::unpack(packed).map(|capture| Content::Capture(Box::new(capture))),
        };
        content.map_err(|error| Error::new(Kind::Tampered, error.to_string()))
    }

    fn files(&self) -> Result<Vec<NamedFile>> {
        Ok(match self {
            Content::Capture(capture) => capture::files(capture)?.into(),
            Content::Settings(settings) => settings::files(settings)?.into(),
        })
    }

    /// The file that says what it is: `metadata.json` or `settings.json`.
    fn text(&self) -> Result<Zeroizing<Vec<u8>>> {
        let text = self.files()?.into_iter().find(|(name, _)| name.ends_with(".json"));
        text.map(|(_, text)| text).ok_or_else(|| Error::internal("a capture has no JSON file"))
    }

    fn summary(&self, folder: Option<&Path>) -> Value {
        match self {
            Content::Capture(capture) => summary(capture, folder),
            Content::Settings(settings) => json!({
                "vault": settings.vault,
                "captured_at": settings.captured_at,
                "tool": settings.tool,
                "documents": names(settings),
                "extracted": folder,
            }),
        }
    }
}

fn names(settings: &Settings) -> Vec<&'static str> {
    settings.documents.keys().map(|document| document.name()).collect()
}

/// Writes the files, readable by their owner only: whoever has the blob and may restore has the object.
fn extract(content: &Content, folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(|error| {
        Error::usage(format!("couldn't create {}: {error}", folder.display()))
            .hint("name a folder that does not exist yet")
    })?;
    for (name, bytes) in content.files()? {
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

fn told_settings(settings: &Settings, folder: Option<&Path>) -> String {
    let Settings { vault, captured_at, .. } = settings;
    let at = captured_at.format("%Y-%m-%dT%H:%M:%SZ");
    let mut lines = format!("settings of {vault}, captured {at}\n  documents: {}\n", names(settings).join(", "));
    if let Some(folder) = folder {
        lines.push_str(&format!("Extracted into {}. README.txt tells how to read them.\n", folder.display()));
    }
    lines
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
