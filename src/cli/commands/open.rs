//! `open`: sealed captures from files, such as those on a USB stick: of objects, or of a vault's settings. Needs an
//! identity, and neither archive nor network.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{identities, perhaps_without_archive};
use crate::cli::args::{Open, Output};
use crate::cli::console::Console;
use crate::cli::files;
use crate::cli::prompt::Terminal;
use crate::cli::render;
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::{self, Capture, NamedFile};
use crate::format::settings::{self, Settings};
use crate::model::tags_of;
use crate::restore::Source;
use crate::seal::Identities;

/// Opens captures and shows what they are, their metadata, or extracts them.
pub(crate) fn run(config: Option<&Path>, console: &Console, arguments: Open) -> Result<ExitCode> {
    let identities = match arguments.identities.as_slice() {
        [] => identities(&perhaps_without_archive(config).map_err(|error| {
            Error::usage(format!("no --identity is given, and no settings name one: {error}"))
                .hint("name it with --identity FILE")
        })?)?,
        files => {
            let read = Identities::from_files(files, Arc::new(Terminal { passphrase: None }));
            // Hints of the settings' identities are of no use here.
            let missing = files.iter().find(|file| !file.exists());
            match (read, missing) {
                (Err(error), Some(file)) => {
                    let hint = format!("--identity: there is no file {}", file.display());
                    return Err(Error::new(error.kind(), error.message()).hint(hint));
                }
                (read, _) => read?,
            }
        }
    };
    match arguments.files.as_slice() {
        [file] => {
            let opened = Opened::new(file, &identities)?;
            if arguments.metadata {
                console.bytes(&opened.text()?);
                return Ok(ExitCode::SUCCESS);
            }
            let folder = arguments.extract.as_deref();
            if let Some(folder) = folder {
                opened.extract(folder)?;
            }
            console.result(&opened.summary(folder), || opened.told(folder));
            Ok(ExitCode::SUCCESS)
        }
        _ if arguments.metadata => {
            Err(Error::usage("--metadata prints one document, and several files are given").hint("open one at a time"))
        }
        several => each(console, &identities, several, arguments.extract.as_deref()),
    }
}

/// Opens several. One that does not open keeps none of the others from being shown; the first failure gives the exit code.
fn each(console: &Console, identities: &Identities, paths: &[PathBuf], folder: Option<&Path>) -> Result<ExitCode> {
    if let Some(folder) = folder {
        create(folder)?;
    }
    let (mut failed, mut documents) = (None, Vec::new());
    for path in paths {
        let opened = Opened::new(path, identities).and_then(|opened| {
            let own = folder.map(|folder| folder.join(stem(path)));
            if let Some(own) = &own {
                opened.extract(own)?;
            }
            Ok((opened, own))
        });
        match (opened, console.output()) {
            (Ok((opened, own)), Output::Json) => documents.push(opened.summary(own.as_deref())),
            (Ok((opened, own)), Output::Text) => console.say(&format!("{}\n", opened.told(own.as_deref()))),
            (Err(error), output) => {
                let (kind, message, hint) = (error.kind(), error.message(), error.hint_text());
                failed.get_or_insert(kind);
                match output {
                    Output::Json => documents.push(json!({
                        "file": path,
                        "error": {"kind": kind.name(), "message": message, "hint": hint},
                    })),
                    Output::Text => console.complain(&format!("akv-archiver: error: {error}")),
                }
            }
        }
    }
    if console.output() == Output::Json {
        console.document(&json!({ "captures": documents }));
    }
    Ok(ExitCode::from(failed.map_or(0, Kind::exit_code)))
}

/// A file's name without `.tar.zst.age`.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    name.split('.').find(|part| !part.is_empty()).unwrap_or("capture").to_owned()
}

/// An opened file.
struct Opened<'a> {
    path: &'a Path,
    content: Content,
}

/// What was sealed.
enum Content {
    Capture(Box<Capture>),
    Settings(Settings),
}

impl<'a> Opened<'a> {
    fn new(path: &'a Path, identities: &Identities) -> Result<Self> {
        let opening = || format!("couldn't open {}", path.display());
        let sealed = files::read(path, capture::SEALED_MAX)?;
        let packed = identities.open(&sealed).context(opening())?;
        let content = match settings::recognise(&packed) {
            true => settings::unpack(&packed).map(Content::Settings),
            false => capture::unpack(&packed).map(|capture| Content::Capture(Box::new(capture))),
        };
        let malformed = |error: crate::format::Error| {
            Error::new(Kind::Tampered, format!("it decrypts, and is no capture: {error}"))
                .hint("it is damaged, or something else that was encrypted to the same recipients")
        };
        Ok(Opened { path, content: content.map_err(malformed).context(opening())? })
    }

    fn files(&self) -> Result<Vec<NamedFile>> {
        Ok(match &self.content {
            Content::Capture(capture) => capture::files(capture)?.into(),
            Content::Settings(settings) => settings::files(settings)?.into(),
        })
    }

    /// The file that says what it is: `metadata.json` or `settings.json`.
    fn text(&self) -> Result<Zeroizing<Vec<u8>>> {
        let text = self.files()?.into_iter().find(|(name, _)| name.ends_with(".json"));
        text.map(|(_, text)| text).ok_or_else(|| Error::internal("a capture has no JSON file"))
    }

    /// Writes the files, readable by their owner only: whoever has the blob and may restore has the object.
    fn extract(&self, folder: &Path) -> Result<()> {
        create(folder)?;
        for (name, bytes) in self.files()? {
            files::create_private(&folder.join(name), &bytes)?;
        }
        Ok(())
    }

    fn summary(&self, folder: Option<&Path>) -> Value {
        match &self.content {
            Content::Capture(capture) => {
                let metadata = &capture.metadata;
                let source = Source::of(capture);
                json!({
                    "file": self.path,
                    "object": metadata.object.to_string(),
                    "vault": metadata.vault,
                    "captured_at": metadata.captured_at,
                    "tool": metadata.tool,
                    "versions": metadata.versions.len(),
                    "version_list": versions(&source),
                    "hsm": source.hsm,
                    "tags": tags(capture),
                    "backup": metadata.backup,
                    "rotation_policy": metadata.rotation_policy.is_some(),
                    "extracted": folder,
                })
            }
            Content::Settings(settings) => json!({
                "file": self.path,
                "vault": settings.vault,
                "captured_at": settings.captured_at,
                "tool": settings.tool,
                "documents": settings.documents.keys().map(|document| document.name()).collect::<Vec<_>>(),
                "extracted": folder,
            }),
        }
    }

    fn told(&self, folder: Option<&Path>) -> String {
        match &self.content {
            Content::Capture(capture) => render::opened(capture, &Source::of(capture), &tags(capture), folder),
            Content::Settings(settings) => render::opened_settings(settings, folder),
        }
    }
}

fn create(folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(|error| {
        Error::usage(format!("couldn't create {}: {error}", folder.display()))
            .hint("name a folder that does not exist yet")
    })
}

/// The tags of the current version, as the list showed them.
fn tags(capture: &Capture) -> std::collections::BTreeMap<String, String> {
    tags_of(&serde_json::from_str(capture.metadata.listed.get()).unwrap_or_default())
}

/// The versions, the newest first.
fn versions(source: &Source) -> Vec<Value> {
    let each = source.newest_first().into_iter().map(|(id, version)| {
        let attributes = &version.attributes;
        json!({
            "id": id,
            "enabled": attributes.enabled,
            "created": attributes.created,
            "updated": attributes.updated,
            "not_before": attributes.not_before,
            "expires": attributes.expires,
            "thumbprint": version.thumbprint,
        })
    });
    each.collect()
}
