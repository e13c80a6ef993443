//! What the archive has before a run begins: the captures of the previous manifest, each as good as the file that is in
//! the store tonight, not as what a manifest said of it a month ago.

use futures::StreamExt;

use super::Doors;
use super::book::{Book, Remembered};
use crate::archive::latest_snapshot;
use crate::error::{Context, Kind, Result};
use crate::format::capture::SEALED_MAX;
use crate::format::entry::LogFile;
use crate::format::manifest::{Gap, Header};
use crate::format::paths;
use crate::model::{Digest, StorePath};
use crate::store::{self, Condition, Guard, Listed};

/// What was found.
pub(super) struct Stock {
    /// The captures that may be reused.
    pub(super) book: Book,
    /// The previous manifest's header.
    pub(super) previous: Option<Header>,
    /// What is wrong with the previous manifest.
    pub(super) damage: Option<Gap>,
    /// Captures that it names and the store does not hold.
    pub(super) struck: u64,
}

/// Reads the newest manifest and compares it with one listing of the store.
///
/// A manifest that is damaged or gone is a gap and no reason to stop: everything is taken anew, for a job that stops
/// taking snapshots loses what comes after. It hides nothing: the head of the log holds, or we would not be here; the log
/// goes on naming the manifest, and `verify` finds the damage for as long as the archive lives.
pub(super) async fn take_stock(doors: &Doors<'_>, guard: &Guard, head: Option<&LogFile>) -> Result<Stock> {
    let vault = doors.vault.uri();
    let mut stock = Stock { book: Book::new(vault.clone()), previous: None, damage: None, struck: 0 };
    let Some(snapshot) = head.and_then(latest_snapshot) else { return Ok(stock) };
    let book = &mut stock.book;
    match doors.reader.manifest_lines(snapshot, |_, line| book.remember(line)).await {
        Ok(header) => stock.previous = Some(header),
        Err(error) if error.kind() == Kind::Tampered => {
            book.clear();
            let detail = format!("the previous manifest does not hold, so everything was taken again: {error}");
            stock.damage = Some(Gap { code: "previous-manifest".into(), detail });
        }
        Err(error) => return Err(error.context("couldn't read the previous manifest")),
    }
    if !stock.book.is_empty() {
        compare(doors.store, guard, &mut stock.book, &paths::captures_prefix(vault)).await?;
        stock.struck = stock.book.strike_missing();
    }
    Ok(stock)
}

async fn compare(store: &dyn store::Read, guard: &Guard, book: &mut Book, prefix: &str) -> Result<()> {
    // The oldest version of a path comes first, and is the one that counts.
    let mut last: Option<StorePath> = None;
    let mut list = store.list(prefix);
    while let Some(listed) = list.next().await {
        let listed = listed.context("couldn't list the captures in the archive")?;
        let Ok(path) = &listed.path else { continue };
        if last.as_ref() == Some(path) {
            continue;
        }
        last = Some(path.clone());
        let Some(object) = paths::object_below(prefix, path) else { continue };
        let remembered = book.remembered(&object).filter(|it| it.file.path == *path && !it.there);
        let Some(remembered) = remembered else { continue };
        if holds(store, &remembered, &listed).await? {
            book.protected(&object, guard.covers(&listed));
        }
    }
    Ok(())
}

/// Whether a listed file is the one that a manifest names. Where the listing shows no digest, only reading it tells.
async fn holds(store: &dyn store::Read, remembered: &Remembered, listed: &Listed) -> Result<bool> {
    let Remembered { file, sha256, .. } = remembered;
    let told = listed.size == file.size && (file.version.is_none() || listed.version == file.version);
    match listed.md5 {
        _ if !told => Ok(false),
        Some(md5) => Ok(md5 == file.md5),
        None => match store.get(&file.path, listed.version.as_deref(), SEALED_MAX).await {
            Ok(bytes) => Ok(Digest::of(&bytes) == *sha256),
            Err(error) if matches!(error.condition, Condition::NotFound | Condition::TooLarge) => Ok(false),
            Err(error) => Err(error.into()),
        },
    }
}
