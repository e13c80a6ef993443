//! Bringing objects back: find captures, open them, look at the slots, plan; and carry a plan out. Prints nothing, and knows
//! neither Azure nor the settings file.

mod apply;
mod brought;
mod choose;
mod claim;
pub mod log;
mod plan;
mod resume;
pub mod settings;

pub use apply::{Hands, Logbook, apply};
pub use brought::{Brought, bring, plan_files};
pub use choose::{Point, Request, Selection};
pub use claim::read_ledger;
pub use plan::{Eyes, make_plan};
pub use resume::{Mode, Resumed, ResumedStep, open_intents, resume};

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::Reader;
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::{self, Capture};
use crate::format::manifest::CaptureRef;
use crate::model::{Digest, Object, VaultUri};
use crate::restore::Origin;
use crate::seal::Identities;

/// Fetches a sealed capture and opens it.
pub async fn open(reader: &Reader<'_>, identities: &Arc<Identities>, reference: &CaptureRef) -> Result<Capture> {
    let sealed = reader.sealed(reference).await?;
    let path = reference.path.clone();
    aside(identities, move |identities| {
        let packed = identities.open(&sealed).context(format!("couldn't open {path}"))?;
        capture::unpack(&packed).map_err(|error| Error::new(Kind::Tampered, format!("couldn't open {path}: {error}")))
    })
    .await
}

/// Works with identities on a thread that may block: opening takes a processor for a while, and plugins talk to programs and
/// people, while answers that have come wait to be read and grow too old.
async fn aside<T: Send + 'static>(
    identities: &Arc<Identities>,
    work: impl FnOnce(&Identities) -> Result<T> + Send + 'static,
) -> Result<T> {
    let identities = Arc::clone(identities);
    let working = tokio::task::spawn_blocking(move || work(&identities));
    working.await.map_err(|error| Error::internal(format!("the thread that opens captures ended: {error}")))?
}

/// Opens the capture of an object of a vault, wherever it is: in the archive, with the digest that its manifest gives, or
/// in a file, with the digest that the plan gives.
///
/// # Errors
/// `Tampered` where the bytes are not those, and where they are a capture of something else: anyone can seal one to public
/// recipients. `Usage` where it is in the archive and there is no archive.
pub async fn fetch(
    reader: Option<&Reader<'_>>,
    identities: &Arc<Identities>,
    vault: &VaultUri,
    object: &Object,
    from: &Origin,
) -> Result<Capture> {
    let (capture, place) = match (from, reader) {
        (Origin::Archive { capture, .. }, Some(reader)) => {
            (open(reader, identities, capture).await?, capture.path.to_string())
        }
        (Origin::Archive { .. }, None) => {
            return Err(Error::usage(format!("the capture of {object} is in an archive, and there is none here"))
                .hint("set `container` or `directory` in [archive]"));
        }
        (Origin::File { path, sha256 }, _) => {
            let file = PathBuf::from(path);
            let (capture, found) = aside(identities, move |identities| open_file(identities, &file)).await?;
            if found != *sha256 {
                return Err(Error::new(Kind::Tampered, format!("{path} is not the file that the plan was made with"))
                    .hint("nothing was changed with it; make a new plan"));
            }
            (capture, path.clone())
        }
    };
    match capture.metadata.object == *object && capture.metadata.vault == *vault {
        true => Ok(capture),
        false => Err(Error::new(Kind::Tampered, format!("{place} holds another object than {object} of {vault}"))
            .hint("whoever wrote its name put another capture in its place; take one of another snapshot")),
    }
}

/// Opens a sealed capture in a file, and digests the file.
fn open_file(identities: &Identities, path: &Path) -> Result<(Capture, Digest)> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        Error::usage(format!("couldn't read {shown}: {error}")).hint("is the stick still there?")
    };
    let mut sealed = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(capture::SEALED_MAX + 1).read_to_end(&mut sealed).map_err(failed)?;
    if sealed.len() as u64 > capture::SEALED_MAX {
        return Err(Error::new(Kind::Tampered, format!("{shown} is larger than any sealed capture")));
    }
    let packed = identities.open(&sealed).context(format!("couldn't open {shown}"))?;
    if crate::format::settings::recognise(&packed) {
        return Err(Error::usage(format!("{shown} holds the settings of a vault, and no object"))
            .hint("`akv-archiver open` shows them"));
    }
    let capture = capture::unpack(&packed)
        .map_err(|error| Error::new(Kind::Tampered, format!("couldn't open {shown}: {error}")))?;
    Ok((capture, Digest::of(&sealed)))
}

#[cfg(test)]
mod tests;
