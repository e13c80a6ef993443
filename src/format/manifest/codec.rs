//! A manifest's bytes: canonical JSON Lines in one zstd frame, and the Merkle tree over the lines.

use super::check::check;
use super::{FORMAT, Line, Manifest};
use crate::format::{Error, Fault, json, zst};
use crate::model::Digest;
use crate::tlog::tree;

/// How large a manifest may be to be opened. The default is what format 1 allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub stored: usize,
    /// Bytes after decompression.
    pub content: usize,
    /// Lines, the header included.
    pub lines: usize,
    /// Bytes of one line, without its newline.
    pub line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { stored: 64 << 20, content: 256 << 20, lines: 1_000_000, line: 64 << 10 }
    }
}

/// A manifest as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The file.
    pub bytes: Vec<u8>,
    /// The file's digest.
    pub sha256: Digest,
    /// The root of the tree over the lines, header included.
    pub root: Digest,
    /// How many lines, header included.
    pub lines: u64,
}

/// A manifest as it was read, with the tree over its lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// What it says.
    pub manifest: Manifest,
    /// The file's digest.
    pub sha256: Digest,
    /// The root of the tree over the lines, header included.
    pub root: Digest,
    leaves: Vec<Digest>,
}

impl Decoded {
    /// How many lines, header included.
    pub fn lines(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// The proof that line `index`, counted from the header as 0, is under [`Decoded::root`]. The line's bytes are those
    /// of [`json::write`], the leaf is [`tree::leaf`] of them.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Digest>, Error> {
        Ok(tree::inclusion(&self.leaves, index)?)
    }
}

impl Manifest {
    /// The file. Fails if the manifest breaks a rule or a limit of the format: what cannot be read must not be written.
    pub fn encode(&self) -> Result<Encoded, Error> {
        check(self)?;
        let limits = Limits::default();
        let mut content = Vec::new();
        let mut leaves = Vec::with_capacity(self.lines.len() + 1);
        let header = std::iter::once_with(|| json::write(&self.header));
        for (number, line) in header.chain(self.lines.iter().map(json::write)).enumerate() {
            let line = line.map_err(|error| error.at(format!("line {number}")))?;
            bounded(line.len(), limits.line, &format!("line {number}"))?;
            leaves.push(tree::leaf(&line));
            content.extend_from_slice(&line);
            content.push(b'\n');
        }
        bounded(leaves.len(), limits.lines, "the number of lines")?;
        bounded(content.len(), limits.content, "the content")?;
        let bytes = zst::compress(&content)?;
        bounded(bytes.len(), limits.stored, "the file")?;
        let sha256 = Digest::of(&bytes);
        Ok(Encoded { bytes, sha256, root: tree::root(&leaves), lines: leaves.len() as u64 })
    }

    /// Reads a file.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, Error> {
        bounded(bytes.len(), limits.stored, "the file")?;
        let content = zst::decompress(bytes, limits.content)?;
        let layout = |what: &str| Error::new(Fault::ManifestLayout, what);
        let body = content.strip_suffix(b"\n").ok_or_else(|| layout("the last line has no newline"))?;
        let count = body.iter().filter(|byte| **byte == b'\n').count() + 1;
        bounded(count, limits.lines, "the number of lines")?;
        let mut leaves = Vec::with_capacity(count);
        let mut texts = body.split(|byte| *byte == b'\n');
        let mut next = |leaves: &mut Vec<Digest>| -> Result<Option<&[u8]>, Error> {
            let Some(text) = texts.next() else { return Ok(None) };
            bounded(text.len(), limits.line, &format!("line {}", leaves.len()))?;
            if text.is_empty() {
                return Err(layout(&format!("line {} is empty", leaves.len())));
            }
            leaves.push(tree::leaf(text));
            Ok(Some(text))
        };
        let header = next(&mut leaves)?.ok_or_else(|| layout("there is no header"))?;
        let header = json::read_format(header, FORMAT).map_err(|error| error.at("line 0"))?;
        let mut lines: Vec<Line> = Vec::with_capacity(count.saturating_sub(1).min(1 << 16));
        while let Some(text) = next(&mut leaves)? {
            lines.push(json::read(text).map_err(|error| error.at(format!("line {}", leaves.len() - 1)))?);
        }
        let manifest = Manifest { header, lines };
        check(&manifest)?;
        Ok(Decoded { manifest, sha256: Digest::of(bytes), root: tree::root(&leaves), leaves })
    }
}

fn bounded(size: usize, limit: usize, what: &str) -> Result<(), Error> {
    let fits = size <= limit;
    fits.then_some(()).ok_or_else(|| Error::new(Fault::TooLarge, format!("{what} is {size}, more than {limit}")))
}
