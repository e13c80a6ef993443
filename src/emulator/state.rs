//! The state directory: what outlives a run. Each file is replaced as a whole, so that a crash leaves the old or the
//! new. Knows no service: their states are bytes.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::error::{Error, Kind, Result};

/// The version of the directory's layout.
const VERSION: u32 = 1;

const MAIN: &str = "emulator.json";
const VAULTS: &str = "vaults.state";
const BLOBS: &str = "blobs.state";

/// A state directory in use by this process alone.
pub(super) struct StateDirectory {
    path: PathBuf,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

/// What was saved.
pub(super) struct Saved {
    /// Tenant, applications, keys.
    pub identity: Identity,
    /// How far the clock is ahead, in milliseconds.
    pub clock_offset_ms: i64,
    /// The vaults.
    pub vaults: Vec<u8>,
    /// The storage accounts.
    pub blobs: Vec<u8>,
}

/// The file that makes a directory a state directory; written last when it is new.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Main {
    version: u32,
    clock_offset_ms: i64,
    identity: Identity,
}

fn failed(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let what = format!("couldn't {what} {}", path.display());
    move |error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(Kind::NotFound, format!("{what}: {error}")),
        std::io::ErrorKind::PermissionDenied => Error::new(Kind::Denied, format!("{what}: {error}")),
        _ => Error::new(Kind::Unavailable, format!("{what}: {error}")),
    }
}

/// Replaces a file as a whole, readable by its owner only.
///
/// # Errors
/// By the kind of the input or output error; the old file is then still there.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()
    };
    write().map_err(failed("write", path))
}

impl StateDirectory {
    /// Opens a state directory, making it if need be; returns what it holds unless it is new.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if another emulator uses it, [`Kind::Usage`] if its content is damaged, otherwise by the kind
    /// of the input or output error.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Saved>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
        let lock = lock.map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("the state directory {} is used by another emulator", path.display());
                return Err(Error::new(Kind::Conflict, message).hint("stop it, or choose another directory"));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", &lock_path)(error)),
        }
        let directory = StateDirectory { path: path.to_owned(), _lock: lock };
        let saved = directory.load()?;
        Ok((directory, saved))
    }

    fn load(&self) -> Result<Option<Saved>> {
        let main = self.path.join(MAIN);
        let text = match fs::read(&main) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &main)(error)),
        };
        // What serde says about a file of secrets could quote one.
        let main: Main = serde_json::from_slice(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::usage(format!("{}: damaged at line {line}, column {column}", main.display()))
        })?;
        if main.version != VERSION {
            let message = format!("{} has layout {}, not {VERSION}", self.path.display(), main.version);
            return Err(Error::usage(message).hint("start with a new state directory"));
        }
        let read = |name: &str| {
            let path = self.path.join(name);
            fs::read(&path).map_err(failed("read", &path))
        };
        Ok(Some(Saved {
            identity: main.identity,
            clock_offset_ms: main.clock_offset_ms,
            vaults: read(VAULTS)?,
            blobs: read(BLOBS)?,
        }))
    }

    /// Where the directory is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Saves the vaults.
    ///
    /// # Errors
    /// As [`replace`].
    pub(super) fn save_vaults(&self, bytes: &[u8]) -> Result<()> {
        replace(&self.path.join(VAULTS), bytes)
    }

    /// Saves the storage accounts.
    ///
    /// # Errors
    /// As [`replace`].
    pub(super) fn save_blobs(&self, bytes: &[u8]) -> Result<()> {
        replace(&self.path.join(BLOBS), bytes)
    }

    /// Saves identity and clock. The first time this makes the directory a state directory: services come before.
    ///
    /// # Errors
    /// As [`replace`].
    pub(super) fn save_main(&self, identity: &Identity, clock_offset_ms: i64) -> Result<()> {
        let main = Main { version: VERSION, clock_offset_ms, identity: identity.clone() };
        let text = serde_json::to_vec_pretty(&main)
            .map_err(|error| Error::internal(format!("couldn't write the emulator's identity: {error}")))?;
        replace(&self.path.join(MAIN), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_new_until_its_identity_is_saved_and_has_one_user() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        let identity = Identity::generate(&[]).unwrap();
        let (directory, saved) = StateDirectory::open(&path).unwrap();
        assert!(saved.is_none());
        assert_eq!(StateDirectory::open(&path).err().unwrap().kind(), Kind::Conflict);
        directory.save_vaults(b"v").unwrap();
        directory.save_blobs(b"b").unwrap();
        drop(directory);

        let (directory, saved) = StateDirectory::open(&path).unwrap();
        assert!(saved.is_none(), "a crash before the identity was saved leaves a new directory");
        directory.save_main(&identity, 4_000).unwrap();
        drop(directory);

        let saved = StateDirectory::open(&path).unwrap().1.unwrap();
        assert_eq!((saved.clock_offset_ms, saved.vaults, saved.blobs), (4_000, b"v".to_vec(), b"b".to_vec()));
        assert_eq!(saved.identity.tenant_id, identity.tenant_id);
    }

    #[test]
    fn secrets_are_for_the_owner_only_and_damage_does_not_quote_them() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let identity = Identity::generate(&[]).unwrap();
        let (directory, _) = StateDirectory::open(parent.path()).unwrap();
        directory.save_main(&identity, 0).unwrap();
        let main = parent.path().join(MAIN);
        assert_eq!(fs::metadata(&main).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&main).unwrap();
        fs::write(&main, text.replace("\"client_secret\"", "\"client_secret\": 1, \"x\"")).unwrap();
        drop(directory);
        let error = StateDirectory::open(parent.path()).err().unwrap();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(!error.message().contains(&identity.applications[0].client_secret), "{error}");
    }
}
