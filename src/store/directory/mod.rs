//! A store in a local directory: durable, write-once by convention, honest about having no protection. Knows the file
//! system and nothing of what the files mean.
//!
//! A file is written under a temporary name in its own folder, made durable, and given its name by a rename that
//! refuses to replace. Whatever happens in between, a name either holds all its bytes or does not exist. Folders are
//! opened one segment at a time, relative to the one before, and symbolic links are never followed below the root:
//! whoever may write into the archive cannot make it point elsewhere.
//!
//! Temporary names begin with `~partial-`. `~` cannot occur in a [`StorePath`], so what a crash left behind is never
//! taken for a file; it may be removed when no writer runs.

mod walk;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode as Bits, OFlags};
use rustix::io::Errno;

use super::{Append, Condition, Created, Error, Guard, Listed, Read, Worm};
use crate::model::{Mode, StorePath};

const PARTIAL: &str = "~partial-";

/// A directory as a store.
#[derive(Clone, Debug)]
pub struct Directory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    shared: bool,
    /// Distinguishes the temporary names of one process.
    serial: AtomicU64,
    /// Folders whose own entry this process has made durable. A folder found in place may have been made by a process
    /// that died, or runs still, between making it and syncing its parent: existing is not enough.
    settled: Mutex<HashSet<String>>,
}

impl Directory {
    /// The store in `root`, which must exist when the first call is made: a missing mount must not become an archive
    /// on the wrong disk.
    ///
    /// Files are readable by their owner only (0400, folders 0700), or by everyone if `shared` (0444, 0755).
    pub fn new(root: impl Into<PathBuf>, shared: bool) -> Self {
        Directory(Arc::new(Inner { root: root.into(), shared, serial: AtomicU64::new(0), settled: Mutex::default() }))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.0.clone();
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(Condition::Io, format!("work on {} was cut short", self.describe()))),
        }
    }
}

#[async_trait]
impl Read for Directory {
    fn describe(&self) -> String {
        format!("directory {}", self.0.root.display())
    }

    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, Error> {
        if let Some(version) = version {
            return Err(Error::new(
                Condition::NotFound,
                format!("{path} has no version {version:?}: a directory keeps no versions"),
            ));
        }
        let path = path.clone();
        self.blocking(move |inner| inner.get(&path, limit)).await
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, Error>> {
        walk::list(self.clone(), prefix.to_owned())
    }

    async fn guard(&self) -> Result<Guard, Error> {
        self.blocking(|inner| inner.open_root().map(drop)).await?;
        Ok(Guard { worm: Worm::None, lock: Some(Mode::None), days: None, legal_hold: false })
    }
}

#[async_trait]
impl Append for Directory {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, Error> {
        let path = path.clone();
        self.blocking(move |inner| inner.create(&path, &bytes)).await?;
        Ok(Created { version: None })
    }
}

impl Inner {
    fn open_root(&self) -> Result<OwnedFd, Error> {
        open_folder(rustix::fs::CWD, &self.root, OFlags::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => {
                let what = if errno == Errno::NOENT { "does not exist" } else { "is not a directory" };
                Error::new(Condition::NotFound, format!("directory {} {what}", self.root.display()))
                    .hint("create it, or mount it, and run again; it is never created by itself")
            }
            errno => failure("couldn't open", &self.root, errno),
        })
    }

    fn get(&self, path: &StorePath, limit: u64) -> Result<Bytes, Error> {
        let missing = || Error::new(Condition::NotFound, format!("there is no {path} in {}", self.root.display()));
        let failed = |errno| failure("couldn't read", &self.root.join(path.as_str()), errno);
        let mut folder = self.open_root()?;
        let (folders, name) = split(path);
        for segment in folders {
            folder = match open_folder(&folder, segment, OFlags::NOFOLLOW) {
                Err(Errno::NOENT) => return Err(missing()),
                opened => opened.map_err(failed)?,
            };
        }
        // NONBLOCK: opening a pipe that someone put there must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&folder, name, flags, Bits::empty()) {
            Err(Errno::NOENT) => return Err(missing()),
            opened => opened.map_err(failed)?,
        };
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(Condition::Malformed, format!("{path} is not a regular file")));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0).min(1 << 26));
        File::from(file)
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| failed(errno_of(&error)))?;
        if bytes.len() as u64 > limit {
            return Err(Error::new(Condition::TooLarge, format!("{path} is larger than {limit} bytes")));
        }
        Ok(bytes.into())
    }

    fn create(&self, path: &StorePath, bytes: &[u8]) -> Result<(), Error> {
        let failed = |errno| failure("couldn't write", &self.root.join(path.as_str()), errno);
        let (folders, name) = split(path);
        let mut chain = vec![self.open_root()?];
        for segment in folders {
            if let Some(parent) = chain.last() {
                let folder = self.enter(parent, segment).map_err(failed)?;
                chain.push(folder);
            }
        }
        let Some(folder) = chain.last() else { return Err(failed(Errno::NOENT)) };
        let partial = self.write_partial(folder, bytes).map_err(failed)?;
        match partial.publish(name) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Error::new(Condition::Exists, format!("{path} exists already"))),
            Err(errno) => return Err(failed(errno)),
        }
        self.settle(path, &chain).map_err(failed)
    }

    /// Opens a folder, making it if it is missing.
    fn enter(&self, parent: &OwnedFd, segment: &str) -> Result<OwnedFd, Errno> {
        match open_folder(parent, segment, OFlags::NOFOLLOW) {
            Err(Errno::NOENT) => {}
            opened => return opened,
        }
        let bits = Bits::from_raw_mode(if self.shared { 0o755 } else { 0o700 });
        let made = match rustix::fs::mkdirat(parent, segment, bits) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno),
        };
        let folder = open_folder(parent, segment, OFlags::NOFOLLOW)?;
        if made && self.shared {
            // Others were asked for: the process's umask does not decide.
            rustix::fs::fchmod(&folder, bits)?;
        }
        Ok(folder)
    }

    fn write_partial<'a>(&self, folder: &'a OwnedFd, bytes: &[u8]) -> Result<Partial<'a>, Errno> {
        let bits = Bits::from_raw_mode(if self.shared { 0o444 } else { 0o400 });
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let process = rustix::process::getpid().as_raw_nonzero();
        loop {
            // In a container every process is number one, so a name may be another's, or left over: try the next.
            let name = format!("{PARTIAL}{process}-{}", self.serial.fetch_add(1, Ordering::Relaxed));
            let file = match rustix::fs::openat(folder, &name, flags, bits) {
                Err(Errno::EXIST) => continue,
                opened => opened?,
            };
            let partial = Partial { folder, name, present: true };
            let mut file = File::from(file);
            file.write_all(bytes).map_err(|error| errno_of(&error))?;
            if self.shared {
                rustix::fs::fchmod(&file, bits)?;
            }
            rustix::fs::fsync(&file)?;
            return Ok(partial);
        }
    }

    /// Makes a new name durable: its folder, and each folder above whose own entry may not be durable yet.
    fn settle(&self, path: &StorePath, chain: &[OwnedFd]) -> Result<(), Errno> {
        let mut inside = path.as_str();
        let mut certain = false;
        for folder in chain.iter().rev() {
            if !certain {
                rustix::fs::fsync(folder)?;
            }
            let Some((parent, _)) = inside.rsplit_once('/') else { break };
            inside = parent;
            // What was synced before needs no sync of the folders above; they were synced with it.
            certain = certain || self.settled.lock().unwrap_or_else(PoisonError::into_inner).contains(inside);
        }
        if !certain {
            let folders = path.as_str().match_indices('/').filter_map(|(end, _)| path.as_str().get(..end));
            let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
            settled.extend(folders.map(str::to_owned));
        }
        Ok(())
    }
}

/// A file under its temporary name; removed unless it gets its own.
struct Partial<'a> {
    folder: &'a OwnedFd,
    name: String,
    present: bool,
}

impl Partial<'_> {
    /// Gives the file its name, or fails with `EXIST`.
    fn publish(self, name: &str) -> Result<(), Errno> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        return self.rename(name);
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        self.link(name)
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn rename(mut self, name: &str) -> Result<(), Errno> {
        use rustix::fs::{RenameFlags, renameat_with};
        match renameat_with(self.folder, &self.name, self.folder, name, RenameFlags::NOREPLACE) {
            // Network and user-space file systems often lack this rename.
            Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => self.link(name),
            renamed => {
                self.present = renamed.is_err();
                renamed
            }
        }
    }

    /// A hard link refuses to replace as well; the temporary name goes when `self` does.
    fn link(self, name: &str) -> Result<(), Errno> {
        match rustix::fs::linkat(self.folder, &self.name, self.folder, name, AtFlags::empty()) {
            // NFS sends a request again whose answer was lost, and the second is refused for what the first has done.
            Err(Errno::EXIST) if self.has(name) => Ok(()),
            linked => linked,
        }
    }

    /// Whether a name is one of this file.
    fn has(&self, name: &str) -> bool {
        let stat = |name: &str| rustix::fs::statat(self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
        matches!((stat(&self.name), stat(name)), (Ok(ours), Ok(there)) if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino))
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if self.present {
            // Nothing depends on it: a leftover is invisible.
            let _ = rustix::fs::unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

fn split(path: &StorePath) -> (impl Iterator<Item = &str>, &str) {
    let (folders, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
    (folders.split('/').filter(|segment| !segment.is_empty()), name)
}

fn open_folder(at: impl rustix::fd::AsFd, path: impl rustix::path::Arg, extra: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | extra, Bits::empty())
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn failure(what: &str, path: &Path, errno: Errno) -> Error {
    let (condition, cause, hint) = match errno {
        Errno::NOSPC => (Condition::Full, "the disk is full", Some("free some space and run again; nothing is lost")),
        Errno::DQUOT => (Condition::Full, "the quota is used up", Some("raise the quota and run again")),
        Errno::FBIG => (Condition::Full, "the file system or a limit allows no file of that size", None),
        Errno::ACCESS | Errno::PERM => {
            (Condition::Denied, "permission denied", Some("check the owner and mode of the directory"))
        }
        Errno::ROFS => (Condition::Denied, "the file system is read-only", None),
        Errno::LOOP | Errno::NOTDIR => (
            Condition::Malformed,
            "part of the path is a symbolic link or no folder",
            Some("links are not followed inside an archive; find out who put it there"),
        ),
        _ => return Error::new(Condition::Io, format!("{what} {}: {}", path.display(), std::io::Error::from(errno))),
    };
    let error = Error::new(condition, format!("{what} {}: {cause}", path.display()));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use futures::TryStreamExt as _;

    use super::*;

    fn path(text: &str) -> StorePath {
        StorePath::parse(text).unwrap()
    }

    async fn names(store: &Directory, prefix: &str) -> Vec<Result<String, String>> {
        let items: Vec<Listed> = store.list(prefix).try_collect().await.unwrap();
        items.into_iter().map(|item| item.path.map(String::from)).collect()
    }

    #[tokio::test]
    async fn a_missing_root_is_an_error_and_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let store = Directory::new(folder.path().join("mount"), false);
        let error = store.create(&path("a"), Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(error.condition, Condition::NotFound);
        assert!(error.message.ends_with("mount does not exist") && error.hint.is_some(), "{error}");
        assert_eq!(store.guard().await.unwrap_err().condition, Condition::NotFound);
        assert_eq!(store.list("").try_next().await.unwrap_err().condition, Condition::NotFound);
        assert!(!folder.path().join("mount").exists());

        std::fs::write(folder.path().join("mount"), b"").unwrap();
        let error = store.guard().await.unwrap_err();
        assert!(error.message.ends_with("mount is not a directory"), "{error}");
    }

    #[tokio::test]
    async fn files_are_private_unless_shared_whatever_the_umask() {
        let before = rustix::process::umask(Bits::from_raw_mode(0o077));
        for (shared, file, dir) in [(false, 0o400, 0o700), (true, 0o444, 0o755)] {
            let folder = tempfile::tempdir().unwrap();
            let store = Directory::new(folder.path(), shared);
            store.create(&path("a/b/c"), Bytes::from_static(b"x")).await.unwrap();
            let mode = |p: &str| std::fs::metadata(folder.path().join(p)).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode("a/b/c"), mode("a"), mode("a/b")), (file, dir, dir));
        }
        rustix::process::umask(before);
    }

    #[tokio::test]
    async fn leftovers_of_a_crash_are_invisible_and_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let process = std::process::id();
        for serial in 0..3 {
            std::fs::write(folder.path().join(format!("{PARTIAL}{process}-{serial}")), b"half").unwrap();
        }
        let store = Directory::new(folder.path(), false);
        store.create(&path("whole"), Bytes::from_static(b"all of it")).await.unwrap();
        assert_eq!(names(&store, "").await, [Ok("whole".to_owned())]);
        assert_eq!(store.get(&path("whole"), None, 100).await.unwrap(), "all of it");
    }

    #[tokio::test]
    async fn a_refused_file_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = Directory::new(folder.path(), false);
        store.create(&path("a"), Bytes::from_static(b"1")).await.unwrap();
        assert_eq!(store.create(&path("a"), Bytes::from_static(b"2")).await.unwrap_err().condition, Condition::Exists);
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["a"]);
        assert_eq!(std::fs::metadata(folder.path().join("a")).unwrap().nlink(), 1);
    }

    #[test]
    fn where_rename_replaces_a_hard_link_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Directory::new(folder.path(), false);
        let root = store.0.open_root().unwrap();
        store.0.write_partial(&root, b"first").unwrap().link("a").unwrap();
        assert_eq!(store.0.write_partial(&root, b"other").unwrap().link("a"), Err(Errno::EXIST));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["a"]);
        assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"first");
    }

    #[tokio::test]
    async fn links_are_not_followed_and_are_seen() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret"), b"not yours").unwrap();
        symlink(outside.path(), folder.path().join("vaults")).unwrap();
        symlink(outside.path().join("secret"), folder.path().join("file")).unwrap();
        let store = Directory::new(folder.path(), false);

        for p in ["vaults/secret", "file"] {
            let error = store.get(&path(p), None, 100).await.unwrap_err();
            assert_eq!(error.condition, Condition::Malformed, "{error}");
        }
        let error = store.create(&path("vaults/new"), Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(error.condition, Condition::Malformed);
        assert!(!outside.path().join("new").exists());
        let error = store.create(&path("file"), Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(error.condition, Condition::Exists);
        assert_eq!(names(&store, "").await, [Err("file".to_owned()), Err("vaults".to_owned())]);
    }

    #[tokio::test]
    async fn the_root_itself_may_be_a_link() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        symlink("real", folder.path().join("link")).unwrap();
        let store = Directory::new(folder.path().join("link"), false);
        store.create(&path("a"), Bytes::from_static(b"1")).await.unwrap();
        assert!(folder.path().join("real/a").exists());
    }

    #[tokio::test]
    async fn foreign_names_are_items_and_foreign_folders_are_one_item() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lost+found")).unwrap();
        std::fs::write(folder.path().join("lost+found/x"), b"").unwrap();
        std::fs::write(folder.path().join("no te"), b"").unwrap();
        let store = Directory::new(folder.path(), false);
        store.create(&path("m"), Bytes::from_static(b"1")).await.unwrap();
        let found = names(&store, "").await;
        assert_eq!(found, [Err("lost+found/".to_owned()), Ok("m".to_owned()), Err("no te".to_owned())]);
    }

    #[tokio::test]
    async fn a_pipe_in_a_files_place_does_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        let root = rustix::fs::open(folder.path(), OFlags::DIRECTORY, Bits::empty()).unwrap();
        rustix::fs::mknodat(root, "pipe", FileType::Fifo, Bits::from_raw_mode(0o600), 0).unwrap();
        let error = Directory::new(folder.path(), false).get(&path("pipe"), None, 100).await.unwrap_err();
        assert_eq!(error.message, "pipe is not a regular file");
    }

    #[tokio::test]
    async fn two_processes_may_share_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Directory::new(folder.path(), false), Directory::new(folder.path(), false));
        for n in 0..20 {
            let target = path(&format!("log/{n}"));
            let (a, b) = tokio::join!(
                one.create(&target, Bytes::from_static(b"one")),
                two.create(&target, Bytes::from_static(b"two")),
            );
            assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
            let winner: &[u8] = if a.is_ok() { b"one" } else { b"two" };
            assert_eq!(one.get(&target, None, 10).await.unwrap(), winner);
        }
    }

    #[test]
    fn failures_of_the_system_become_conditions() {
        for (errno, condition) in [
            (Errno::NOSPC, Condition::Full),
            (Errno::DQUOT, Condition::Full),
            (Errno::ACCESS, Condition::Denied),
            (Errno::PERM, Condition::Denied),
            (Errno::ROFS, Condition::Denied),
            (Errno::IO, Condition::Io),
        ] {
            let error = failure("couldn't write", Path::new("/archive/a"), errno);
            assert_eq!(error.condition, condition);
            assert!(error.message.starts_with("couldn't write /archive/a: "), "{error}");
        }
    }

    #[tokio::test]
    async fn trap_a_link_whose_answer_was_lost_is_not_taken_for_somebody_elses_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = Directory::new(folder.path(), false);
        let root = store.0.open_root().unwrap();
        let partial = || store.0.write_partial(&root, b"same").unwrap();
        let first = partial();
        std::fs::hard_link(folder.path().join(&first.name), folder.path().join("taken")).unwrap();
        assert_eq!(first.link("taken"), Ok(()));
        assert_eq!(partial().link("taken"), Err(Errno::EXIST), "the same bytes, and another file");
        assert_eq!(names(&store, "").await, [Ok("taken".to_owned())], "no temporary name is left");
    }
}
