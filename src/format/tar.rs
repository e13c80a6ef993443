//! A tar of few known files in one order and one form (docs/FORMAT.md section 6), and what its files have in common. A
//! header is compared with the one that would be written, so that nothing a tar can otherwise say needs to be thought of:
//! links, owners, extensions, paths that lead elsewhere. Knows no file's meaning.

use ::tar::{EntryType, Header};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Error, Fault, json, zst};

const BLOCK: usize = 512;

/// The most values of a JSON file: some forty of each version, of more versions than any vault will list.
const VALUES_MAX: usize = 1 << 20;

/// A file that such a tar has: its name, and its greatest length in bytes.
#[derive(Clone, Copy)]
pub(super) struct File(pub(super) &'static str, pub(super) usize);

/// A file of a tar: its name and its bytes.
pub type NamedFile = (&'static str, Zeroizing<Vec<u8>>);

/// The compressed tar of these files, ready to be sealed; `mtime` in seconds since 1970.
pub(super) fn pack<const N: usize>(
    files: [File; N],
    contents: [&[u8]; N],
    mtime: u64,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let length = contents.iter().map(|content| BLOCK + content.len().next_multiple_of(BLOCK)).sum::<usize>();
    // Reserved whole, so that growing leaves no copy behind.
    let mut tar = Zeroizing::new(Vec::with_capacity(length + 2 * BLOCK));
    for (File(name, limit), content) in files.into_iter().zip(contents) {
        bounded(name, content.len() as u64, limit)?;
        tar.extend_from_slice(header(name, content.len() as u64, mtime)?.as_bytes());
        tar.extend_from_slice(content);
        let padded = tar.len().next_multiple_of(BLOCK);
        tar.resize(padded, 0);
    }
    let end = tar.len() + 2 * BLOCK;
    tar.resize(end, 0);
    Ok(Zeroizing::new(zst::compress(&tar)?))
}

/// The tar that [`pack`] compressed, of at most the length that these files can make.
pub(super) fn decompress<const N: usize>(files: [File; N], bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    // A header, padding, and the end.
    let longest = files.iter().map(|File(_, limit)| limit + 2 * BLOCK).sum::<usize>() + 2 * BLOCK;
    zst::decompress(bytes, longest)
}

/// The contents of these files and their time. Only what [`pack`] makes is read.
pub(super) fn read<const N: usize>(files: [File; N], tar: &[u8]) -> Result<([&[u8]; N], u64), Error> {
    let (mut rest, mut at) = (tar, None);
    let mut contents: [&[u8]; N] = [&[]; N];
    for (File(name, limit), content) in files.into_iter().zip(&mut contents) {
        let (found, mtime) = member(&mut rest, name, limit, at)?;
        (*content, at) = (found, Some(mtime));
    }
    if rest.len() != 2 * BLOCK || rest.iter().any(|byte| *byte != 0) {
        return Err(bad("the tar does not end with two blocks of zeros after its last file"));
    }
    at.map(|at| (contents, at)).ok_or_else(|| bad("the tar has no file"))
}

/// The time of a tar's files.
pub(super) fn mtime(captured_at: DateTime<Utc>) -> Result<u64, Error> {
    u64::try_from(captured_at.timestamp()).map_err(|_| bad("the capture is from before 1970"))
}

/// A JSON file's text: one document and a newline.
pub(super) fn write_json<T: Serialize>(name: &str, document: &T) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |error: serde_json::Error| Error::new(Fault::NotJson, format!("{name}: {error}"));
    let mut length = Length(0);
    serde_json::to_writer(&mut length, document).map_err(failed)?;
    let mut text = Zeroizing::new(Vec::with_capacity(length.0 + 1));
    serde_json::to_writer(&mut *text, document).map_err(failed)?;
    json::countable(&text, VALUES_MAX).map_err(|error| error.at(name))?;
    text.push(b'\n');
    Ok(text)
}

/// Counts what is written: a buffer of the right length never moves, and so leaves no copy behind.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Overwrites the service's own words, which may be more than anybody should have written into a tag.
pub(super) fn wipe<'a>(words: impl IntoIterator<Item = &'a mut Box<RawValue>>) {
    for raw in words {
        String::from(Box::<str>::from(std::mem::take(raw))).zeroize();
    }
}

/// The document of a JSON file, which must name its `format`.
pub(super) fn read_json<T: DeserializeOwned>(name: &str, text: &[u8], format: &str) -> Result<T, Error> {
    let text = text.strip_suffix(b"\n");
    let text = text.ok_or_else(|| Error::new(Fault::NotJson, format!("{name}: the newline at the end is missing")))?;
    json::countable(text, VALUES_MAX).map_err(|error| error.at(name))?;
    json::check_format(text, format).map_err(|error| error.at(name))?;
    serde_json::from_slice(text).map_err(|error| {
        // The error's own text repeats the value, which may be anything.
        let at = format!("line {} column {}", error.line(), error.column());
        Error::new(Fault::BadMember, format!("{name}: {at}: not what the format has there"))
    })
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_document_of_more_values_than_memory_is_made_for_is_neither_written_nor_parsed() {
        const FORMAT: &str = "akv-archiver/test/1";
        let of = |items: usize| json!({"format": FORMAT, "items": vec![0; items]});
        // One for the document, one for each brace and bracket, and commas: one between the members, one fewer than items.
        let most = VALUES_MAX - 3;
        let text = write_json("a.json", &of(most)).unwrap();
        assert_eq!(read_json::<Value>("a.json", &text, FORMAT).unwrap(), of(most));
        let error = write_json("a.json", &of(most + 1)).unwrap_err();
        assert_eq!(
            (error.fault, error.to_string().as_str()),
            (Fault::TooLarge, "a.json: 1048577 values, more than 1048576")
        );
        let text = [serde_json::to_vec(&of(most + 1)).unwrap(), b"\n".to_vec()].concat();
        assert_eq!(read_json::<Value>("a.json", &text, FORMAT).unwrap_err().fault, Fault::TooLarge);
    }
}
