//! The vault's own settings in a snapshot: asked for, sealed and stored like a capture, unless the archive has them as they
//! are.

use super::take::{Sealed, seal_and_store};
use super::{Doors, Order};
use crate::archive::{md5, oldest_of};
use crate::capture::{self, Known, Settled};
use crate::error::{Context, Result};
use crate::format::manifest::{CaptureRef, Gap, Header};
use crate::format::paths;
use crate::format::settings::{Settings, fingerprint};
use crate::jobs::TOOL;
use crate::jobs::protection::{Written, read_back};
use crate::model::{Digest, VaultFacts, hex, unhex};
use crate::store::Guard;

/// What a header says of the vault's settings.
pub(super) struct Found {
    pub(super) facts: Option<VaultFacts>,
    pub(super) settings: Option<CaptureRef>,
    pub(super) fingerprint: Option<Digest>,
    /// Those that the archive does not have yet.
    pub(super) new: Option<Settings>,
    pub(super) gaps: Vec<Gap>,
}

/// Asks for the settings and looks whether the archive has them.
pub(super) async fn find(doors: &Doors<'_>, order: &Order, guard: &Guard, previous: Option<&Header>) -> Result<Found> {
    let now = doors.ambient.now();
    let Settled { facts, settings, gaps } = capture::settings(doors.vault, doors.facts, TOOL, now).await;
    let Some(settings) = settings else {
        return Ok(Found { facts, settings: None, fingerprint: None, new: None, gaps });
    };
    let digest = fingerprint(&settings).context("couldn't compare the vault's settings")?;
    let known = known(doors, order, guard, previous, digest).await?;
    let new = known.is_none().then_some(settings);
    Ok(Found { facts, fingerprint: known.is_some().then_some(digest), settings: known, new, gaps })
}

/// The settings that the archive has, if they are these and still there.
async fn known(
    doors: &Doors<'_>,
    order: &Order,
    guard: &Guard,
    previous: Option<&Header>,
    digest: Digest,
) -> Result<Option<CaptureRef>> {
    let same = previous.filter(|header| header.settings_fingerprint == Some(digest));
    let Some(earlier) = same.and_then(|header| header.settings.clone()) else { return Ok(None) };
    let listed = oldest_of(doors.store, &earlier.path).await.context("couldn't look for the vault's settings")?;
    let Some(listed) = listed.filter(|listed| {
        let bytes = listed.md5.is_none_or(|md5| unhex(&earlier.md5).as_deref() == Some(&md5));
        bytes && listed.size == earlier.size && (earlier.version.is_none() || listed.version == earlier.version)
    }) else {
        return Ok(None);
    };
    let protection = guard.covers(&listed);
    let (mode, protected_until) = (protection.mode, protection.until);
    let captured_at = earlier.captured_at;
    let state =
        Known { fingerprint: digest, versions: None, captured_at, compared_at: captured_at, mode, protected_until };
    let good = capture::still_good(&state, &order.renewal, doors.ambient.now());
    Ok(good.then_some(CaptureRef { mode, protected_until, reused: true, ..earlier }))
}

/// Stores new settings.
pub(super) async fn store(
    doors: &Doors<'_>,
    order: &Order,
    guard: &Guard,
    settings: Settings,
) -> Result<std::result::Result<(CaptureRef, Digest), Gap>> {
    let digest = fingerprint(&settings).context("couldn't compare the vault's settings")?;
    let path = |at| paths::settings(doors.vault.uri(), at, &digest);
    let stored = seal_and_store(doors, "the vault's settings", settings, path).await?;
    let Sealed { path, captured_at, version, bytes: sealed } = match stored {
        Ok(sealed) => sealed,
        Err(error) => {
            let detail = format!("the vault's settings cannot be packed: {error}");
            return Ok(Err(Gap { code: "unpackable".into(), detail }));
        }
    };
    let (size, md5) = (sealed.len() as u64, md5(&sealed));
    let written = Written { path: path.clone(), version: version.clone(), size, md5 };
    let protection = read_back(doors.store, guard, order.worm, &written).await?;
    let reference = CaptureRef {
        path,
        version,
        sha256: Digest::of(&sealed),
        md5: hex(&md5),
        size,
        captured_at,
        mode: protection.mode,
        protected_until: protection.until,
        kid: None,
        reused: false,
    };
    Ok(Ok((reference, digest)))
}
