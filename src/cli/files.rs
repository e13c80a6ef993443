//! Files that commands read and write: bounded, whole, and private where they hold secrets.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let fail = |error: std::io::Error| failed("read", path, &error);
    let mut bytes = Vec::new();
    File::open(path).map_err(fail)?.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    match bytes.len() as u64 <= limit {
        true => Ok(bytes),
        false => Err(Error::usage(format!("{} is larger than {limit} bytes", path.display()))),
    }
}

/// Creates a file that must not exist yet, readable by its owner only.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> Result<()> {
    create(path, bytes, 0o600)
}

/// Creates a file that must not exist yet.
pub(crate) fn create_public(path: &Path, bytes: &[u8]) -> Result<()> {
    create(path, bytes, 0o644)
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| failed("create", path, &error))
}

/// Refuses to write a `what` over a file that is none, and one that cannot be written at all: asked before the work is
/// done, not after. An empty file holds nothing to lose.
pub(crate) fn replaceable(path: &Path, what: &str, limit: u64, known: impl Fn(&[u8]) -> bool) -> Result<()> {
    let other = || {
        Error::usage(format!("{} is there, and is no {what}", path.display()))
            .hint(format!("name another file; only an earlier {what} is replaced"))
    };
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() || found.len() > limit => return Err(other()),
        Ok(_) => {
            let bytes = read(path, limit)?;
            if !bytes.is_empty() && !known(&bytes) {
                return Err(other());
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read", path, &error)),
    }
    let beside = beside(path)?;
    let tried = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
    tried.and_then(|_| std::fs::remove_file(&beside)).map_err(|error| failed("write", path, &error))
}

/// Writes a file whole or not at all, over an earlier one of the name, readable by its owner only.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_with(path, bytes, 0o600)
}

/// Writes a file whole or not at all, over an earlier one of the name, for everybody to read.
pub(crate) fn replace_public(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_with(path, bytes, 0o644)
}

fn replace_with(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let beside = beside(path)?;
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    });
    written.map_err(|error| {
        // What is left of it is of no use to anybody; that it may not be removable changes nothing.
        let _ = std::fs::remove_file(&beside);
        failed("write", path, &error)
    })
}

/// Where a file is written before it takes its name.
fn beside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::usage(format!("{} is no file name", path.display())))?;
    Ok(path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id())))
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        ErrorKind::PermissionDenied => Kind::Denied,
        ErrorKind::AlreadyExists => Kind::Conflict,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::Unavailable,
        _ => Kind::Usage,
    };
    Error::new(kind, format!("couldn't {doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn private_files_are_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signer.key");
        create_private(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(create_private(&path, b"two").unwrap_err().kind(), Kind::Conflict);
        assert_eq!(read(&path, 3).unwrap(), b"one");
        assert_eq!(read(&path, 2).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn only_a_file_of_its_kind_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        let asked = |path: &Path| {
            replaceable(path, "report", 8, |bytes| bytes.starts_with(b"ours")).map_err(|error| error.to_string())
        };
        assert_eq!(asked(&path), Ok(()));
        for (text, free) in [("", true), ("ours 1", true), ("theirs", false), ("ours, and too long", false)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(asked(&path).is_ok(), free, "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert!(asked(folder.path()).unwrap_err().ends_with(" is there, and is no report"));
        assert!(asked(&folder.path().join("missing/seen")).unwrap_err().starts_with("couldn't write "));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left of the attempts");
    }

    #[test]
    fn a_replaced_file_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path, 9).unwrap(), b"two");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        replace_public(&path, b"three").unwrap();
        assert_eq!(mode() & 0o600, 0o600, "and what the umask leaves to others");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
