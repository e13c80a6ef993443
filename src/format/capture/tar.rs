//! The tar of a capture: three regular files in one order and one form (docs/FORMAT.md section 6). A header is
//! compared with the one that would be written, so that nothing a tar can otherwise say needs to be thought of: links,
//! owners, extensions, paths that lead elsewhere.

use ::tar::{EntryType, Header};
use zeroize::Zeroizing;

use super::{BLOB_MAX, METADATA_MAX, README_MAX};
use crate::format::{Error, Fault};

const BLOCK: usize = 512;

/// The longest tar that the three files can make.
pub(super) const TAR_MAX: usize = BLOB_MAX + METADATA_MAX + README_MAX + 8 * BLOCK;

/// The contents of the three files.
pub(super) struct Files<'a> {
    pub(super) blob: &'a [u8],
    pub(super) metadata: &'a [u8],
    pub(super) readme: &'a [u8],
}

impl<'a> Files<'a> {
    /// In the order of the tar, with names and limits.
    fn members(&self) -> [(&'static str, &'a [u8], usize); 3] {
        [
            ("backup.blob", self.blob, BLOB_MAX),
            ("metadata.json", self.metadata, METADATA_MAX),
            ("README.txt", self.readme, README_MAX),
        ]
    }
}

/// The tar; `mtime` in seconds since 1970.
pub(super) fn write(files: &Files<'_>, mtime: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let length =
        files.members().iter().map(|(_, content, _)| BLOCK + content.len().next_multiple_of(BLOCK)).sum::<usize>();
    // Reserved whole, so that growing leaves no copy of the blob behind.
    let mut tar = Zeroizing::new(Vec::with_capacity(length + 2 * BLOCK));
    for (name, content, limit) in files.members() {
        bounded(name, content.len() as u64, limit)?;
        tar.extend_from_slice(header(name, content.len() as u64, mtime)?.as_bytes());
        tar.extend_from_slice(content);
        let padded = tar.len().next_multiple_of(BLOCK);
        tar.resize(padded, 0);
    }
    let end = tar.len() + 2 * BLOCK;
    tar.resize(end, 0);
    Ok(tar)
}

/// The three files and their time. Only what [`write`] makes is read.
pub(super) fn read(tar: &[u8]) -> Result<(Files<'_>, u64), Error> {
    let mut rest = tar;
    let (blob, mtime) = member(&mut rest, "backup.blob", BLOB_MAX, None)?;
    let (metadata, _) = member(&mut rest, "metadata.json", METADATA_MAX, Some(mtime))?;
    let (readme, _) = member(&mut rest, "README.txt", README_MAX, Some(mtime))?;
    if rest.len() != 2 * BLOCK || rest.iter().any(|byte| *byte != 0) {
        return Err(bad("the tar does not end with two blocks of zeros after README.txt"));
    }
    Ok((Files { blob, metadata, readme }, mtime))
}

/// Takes one member off the front.
fn member<'a>(rest: &mut &'a [u8], name: &str, limit: usize, at: Option<u64>) -> Result<(&'a [u8], u64), Error> {
    let short = || bad(format!("the tar ends before {name} does"));
    let (block, after) = rest.split_at_checked(BLOCK).ok_or_else(short)?;
    let found = Header::from_byte_slice(block);
    let malformed = |_| bad(format!("the header of {name} is malformed"));
    let (size, mtime) = (found.entry_size().map_err(malformed)?, found.mtime().map_err(malformed)?);
    if header(name, size, at.unwrap_or(mtime))?.as_bytes().as_slice() != block {
        return Err(bad(format!("where {name} belongs is another file, or it is not a plain file of that time")));
    }
    let size = bounded(name, size, limit)?;
    let (content, after) = after.split_at_checked(size).ok_or_else(short)?;
    let (padding, after) = after.split_at_checked(size.next_multiple_of(BLOCK) - size).ok_or_else(short)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(bad(format!("the padding after {name} is not zero")));
    }
    *rest = after;
    Ok((content, mtime))
}

/// The one header that a file of this name, size and time has.
fn header(name: &str, size: u64, mtime: u64) -> Result<Header, Error> {
    let mut header = Header::new_ustar();
    header.set_path(name).map_err(|error| bad(format!("{name}: {error}")))?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(mtime);
    header.set_cksum();
    Ok(header)
}

fn bounded(name: &str, size: u64, limit: usize) -> Result<usize, Error> {
    usize::try_from(size)
        .ok()
        .filter(|size| *size <= limit)
        .ok_or_else(|| Error::new(Fault::TooLarge, format!("{name} has {size} bytes, more than {limit}")))
}

fn bad(detail: impl Into<String>) -> Error {
    Error::new(Fault::BadTar, detail)
}
