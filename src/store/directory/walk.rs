//! Listing a directory store in the order of full paths, holding one folder's names at a time for each level. Knows how
//! a folder is read, and nothing of writing.

use std::cmp::Ordering;
use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};
use rustix::io::Errno;

use super::{Directory, Inner, PARTIAL, failure, open_folder};
use crate::model::StorePath;
use crate::store::{Error, Listed, Protection};

/// Items that are fetched from the file system at once.
const BATCH: usize = 256;

/// A folder that is being listed.
struct Level {
    folder: OwnedFd,
    /// Its path with a trailing slash; empty for the root.
    path: String,
    rest: VecDeque<Entry>,
}

struct Entry {
    name: std::ffi::CString,
    kind: FileType,
}

#[derive(Default)]
struct Walk {
    prefix: String,
    levels: Vec<Level>,
    started: bool,
}

pub(super) fn list(store: Directory, prefix: String) -> BoxStream<'static, Result<Listed, Error>> {
    let walk = Walk { prefix, ..Walk::default() };
    futures::stream::try_unfold((store, walk), |(store, mut walk)| async move {
        let (walk, batch) = store
            .blocking(move |inner| {
                let batch = walk.batch(inner)?;
                Ok((walk, batch))
            })
            .await?;
        Ok((!batch.is_empty()).then(|| (futures::stream::iter(batch.into_iter().map(Ok)), (store, walk))))
    })
    .try_flatten()
    .boxed()
}

impl Walk {
    /// The next items; none at the end.
    fn batch(&mut self, inner: &Inner) -> Result<Vec<Listed>, Error> {
        if !std::mem::replace(&mut self.started, true) {
            let root = inner.open_root()?;
            self.levels.push(read(inner, root, String::new())?);
        }
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some(level) = self.levels.last_mut() else { break };
            let Some(entry) = level.rest.pop_front() else {
                self.levels.pop();
                continue;
            };
            let failed = |path: &str, errno| failure("couldn't list", &inner.root.join(path), errno);
            let path = format!("{}{}", level.path, entry.name.to_string_lossy());
            let ours = StorePath::parse(&path);
            if entry.kind == FileType::Directory && ours.is_some() {
                let path = format!("{path}/");
                if path.starts_with(&self.prefix) || self.prefix.starts_with(&path) {
                    let folder = open_folder(&level.folder, &entry.name, OFlags::NOFOLLOW)
                        .map_err(|errno| failed(&path, errno))?;
                    let next = read(inner, folder, path)?;
                    self.levels.push(next);
                }
                continue;
            }
            // A folder that cannot be ours, such as `lost+found`, is one item: nothing of ours can be inside.
            let path = if entry.kind == FileType::Directory { format!("{path}/") } else { path };
            if !path.starts_with(&self.prefix) {
                continue;
            }
            match rustix::fs::statat(&level.folder, &entry.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => batch.push(listed(path, ours, &stat)),
                // A writer's leftover that went away; nothing of ours ever does.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(&path, errno)),
            }
        }
        Ok(batch)
    }
}

/// Reads a folder's names and brings them into the order of full paths: a folder sorts as if it ended with a slash.
fn read(inner: &Inner, folder: OwnedFd, path: String) -> Result<Level, Error> {
    let failed = |errno| failure("couldn't list", &inner.root.join(&path), errno);
    let mut entries = Vec::new();
    for entry in Dir::read_from(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") || name.to_bytes().starts_with(PARTIAL.as_bytes()) {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems leave it out of the listing.
            FileType::Unknown => match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(errno)),
            },
            kind => kind,
        };
        entries.push(Entry { name: name.to_owned(), kind });
    }
    entries.sort_unstable_by(in_path_order);
    Ok(Level { folder, path, rest: entries.into() })
}

fn in_path_order(a: &Entry, b: &Entry) -> Ordering {
    let key = |entry: &Entry| {
        let slash: &[u8] = if entry.kind == FileType::Directory { b"/" } else { b"" };
        [entry.name.to_bytes(), slash].concat()
    };
    key(a).cmp(&key(b))
}

/// What is no regular file is no file of ours, whatever its name.
fn listed(path: String, ours: Option<StorePath>, stat: &Stat) -> Listed {
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Listed {
        path: ours.filter(|_| regular).ok_or(path),
        version: None,
        current: true,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        md5: None,
        created: DateTime::<Utc>::from_timestamp(stat.st_mtime, nanoseconds).unwrap_or_default(),
        protection: Protection::default(),
    }
}
