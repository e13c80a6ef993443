//! Bringing objects back: find captures, open them, look at the slots, plan; and carry a plan out. Prints nothing, and knows
//! neither Azure nor the settings file.

mod apply;
mod claim;
pub mod log;
mod plan;
pub mod settings;
mod resume;

pub use apply::{Hands, Logbook, apply};
pub use claim::read_ledger;
pub use plan::{Eyes, make_plan};
pub use resume::{Mode, Resumed, ResumedStep, open_intents, resume};

use crate::archive::Reader;
use crate::error::{Context, Error, Kind, Result};
use crate::format::capture::{self, Capture};
use crate::format::manifest::CaptureRef;
use crate::model::{Object, VaultUri};
use crate::restore::Origin;
use crate::seal::Identities;

/// Fetches a sealed capture and opens it.
pub async fn open(reader: &Reader<'_>, identities: &Identities, reference: &CaptureRef) -> Result<Capture> {
    let sealed = reader.sealed(reference).await?;
    let packed = identities.open(&sealed).context(format!("couldn't open {}", reference.path))?;
    capture::unpack(&packed)
        .map_err(|error| Error::new(Kind::Tampered, format!("couldn't open {}: {error}", reference.path)))
}

/// Opens the capture of `object` of `vault`, wherever it is.
pub async fn fetch(
    reader: Option<&Reader<'_>>,
    identities: &Identities,
    vault: &VaultUri,
    object: &Object,
    from: &Origin,
) -> Result<Capture> {
    let Origin::Archive { capture: reference, .. } = from else {
        return Err(Error::new(Kind::Refused, format!("the capture of {object} came from a file")));
    };
    let reader = reader.ok_or_else(|| Error::usage(format!("the capture of {object} is in an archive")))?;
    let capture = open(reader, identities, reference).await?;
    match capture.metadata.object == *object && capture.metadata.vault == *vault {
        true => Ok(capture),
        false => {
            Err(Error::new(Kind::Tampered, format!("{} holds another object than {object} of {vault}", reference.path)))
        }
    }
}

#[cfg(test)]
mod tests;
