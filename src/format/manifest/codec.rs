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
    /// The file's length in bytes.
    pub size: u64,
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
        let texts = split(&content, limits)?;
        let (header, rest) = texts.split_first().ok_or_else(|| Error::new(Fault::ManifestLayout, "no header"))?;
        let header = json::read_format(header, FORMAT).map_err(|error| error.at("line 0"))?;
        let lines = rest
            .iter()
            .zip(1..)
            .map(|(text, number)| json::read(text).map_err(|error| error.at(format!("line {number}"))))
            .collect::<Result<Vec<Line>, Error>>()?;
        let manifest = Manifest { header, lines };
        check(&manifest)?;
        let leaves: Vec<Digest> = texts.iter().map(|text| tree::leaf(text)).collect();
        let (sha256, size, root) = (Digest::of(bytes), bytes.len() as u64, tree::root(&leaves));
        Ok(Decoded { manifest, sha256, size, root, leaves })
    }
}

/// The lines without their newlines, counted and measured before any is looked at.
fn split<'a>(content: &'a [u8], limits: &Limits) -> Result<Vec<&'a [u8]>, Error> {
    let layout = |what: String| Error::new(Fault::ManifestLayout, what);
    let body = content.strip_suffix(b"\n").ok_or_else(|| layout("the last line has no newline".to_owned()))?;
    let count = body.iter().filter(|byte| **byte == b'\n').count() + 1;
    bounded(count, limits.lines, "the number of lines")?;
    let lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
    for (number, line) in lines.iter().enumerate() {
        bounded(line.len(), limits.line, &format!("line {number}"))?;
        if line.is_empty() {
            return Err(layout(format!("line {number} is empty")));
        }
    }
    Ok(lines)
}

fn bounded(size: usize, limit: usize, what: &str) -> Result<(), Error> {
    let fits = size <= limit;
    fits.then_some(()).ok_or_else(|| Error::new(Fault::TooLarge, format!("{what} is {size}, more than {limit}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::SnapshotRef;
    use crate::format::manifest::{CaptureRef, Counts, Gap, Header, State, Status};
    use crate::format::paths;
    use crate::model::{Kind, Mode, Name, Object, VaultUri, hex};
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn time() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_224_600, 0).unwrap()
    }

    fn vault() -> VaultUri {
        VaultUri::parse("https://prod.vault.azure.net").unwrap()
    }

    fn manifest(mut lines: Vec<Line>) -> Manifest {
        lines.sort_by(|a, b| a.order().cmp(&b.order()));
        lines.dedup_by(|a, b| a.order() == b.order());
        let counts = Counts::of(&lines);
        let header = Header {
            format: FORMAT.to_owned(),
            archive_id: Uuid::from_u128(1),
            sequence: 1,
            vault: vault(),
            facts: None,
            started: time(),
            finished: time(),
            tool: "akv-archiver 0.1.0".to_owned(),
            status: if counts.gaps == 0 { Status::Complete } else { Status::Partial },
            full_at: None,
            policy_sha256: Digest::of(b"{}"),
            counts,
            gaps: Vec::new(),
        };
        Manifest { header, lines }
    }

    fn line(kind: Kind, name: &str, state: State, taken: Option<bool>, salt: [u8; 16]) -> Line {
        let object = Object::new(kind, Name::parse(name).unwrap());
        let fingerprint = Digest::of(name.as_bytes());
        let capture = taken.map(|reused| CaptureRef {
            path: paths::capture(&vault(), &object, time(), &fingerprint).unwrap(),
            version: Some("2026-11-21T01:30:01.0000000Z".to_owned()),
            sha256: fingerprint,
            md5: hex(&salt),
            size: 7,
            captured_at: time(),
            mode: Mode::Locked,
            protected_until: Some(time()),
            kid: None,
            reused,
        });
        let gap = (state == State::Live && taken.is_none())
            .then(|| Gap { code: "denied".to_owned(), detail: "the vault said no".to_owned() });
        Line {
            salt: hex(&salt),
            kind,
            name: object.name,
            state,
            fingerprint,
            current: None,
            versions_fingerprint: taken.map(|_| fingerprint),
            versions: taken.map(|_| 3),
            enabled: Some(true),
            expires: None,
            key_type: None,
            thumbprint: None,
            purge_at: (state == State::Deleted).then(time),
            capture,
            gap,
        }
    }

    fn any_line() -> impl Strategy<Value = Line> {
        let kind = prop::sample::select(Kind::ALL.to_vec());
        let taken = prop_oneof![Just(None), any::<bool>().prop_map(Some)];
        (kind, "[a-zA-Z0-9-]{1,4}", any::<bool>(), taken, any::<[u8; 16]>()).prop_map(
            |(kind, name, live, taken, salt)| {
                let state = if live { State::Live } else { State::Deleted };
                line(kind, &name, state, taken.filter(|reused| live || *reused), salt)
            },
        )
    }

    #[test]
    fn limits_hold_before_anything_is_parsed() {
        let lines = (0..20).map(|n| line(Kind::Key, &format!("k{n}"), State::Live, Some(false), [n; 16])).collect();
        let encoded = manifest(lines).encode().unwrap();
        let fault = |limits: Limits| Manifest::decode(&encoded.bytes, &limits).map_err(|error| error.fault);
        let limits = Limits::default();
        assert!(fault(limits).is_ok());
        assert_eq!(fault(Limits { stored: encoded.bytes.len() - 1, ..limits }), Err(Fault::TooLarge));
        assert_eq!(fault(Limits { content: 5000, ..limits }), Err(Fault::TooLarge));
        assert_eq!(fault(Limits { lines: 20, ..limits }), Err(Fault::TooLarge));
        assert_eq!(fault(Limits { line: 300, ..limits }), Err(Fault::TooLarge));
    }

    #[test]
    fn what_could_not_be_read_is_not_written() {
        let good = manifest(vec![line(Kind::Key, "a", State::Live, Some(false), [1; 16])]);
        assert!(good.encode().is_ok());
        let mut long = good.clone();
        long.header.tool = "x".repeat(70_000);
        assert_eq!(long.encode().unwrap_err().fault, Fault::TooLarge);
        let mut wrong = good;
        wrong.header.counts.seen = 2;
        assert_eq!(wrong.encode().unwrap_err().fault, Fault::BadCounts);
    }

    #[test]
    fn a_snapshot_knows_its_manifest_in_every_particular() {
        let manifest = manifest(vec![line(Kind::Key, "a", State::Live, Some(false), [1; 16])]);
        let encoded = manifest.encode().unwrap();
        let found = Manifest::decode(&encoded.bytes, &Limits::default()).unwrap();
        let good = SnapshotRef {
            sequence: 1,
            manifest: paths::manifest(&vault(), 1, encoded.sha256).unwrap(),
            version: None,
            sha256: encoded.sha256,
            size: encoded.bytes.len() as u64,
            root: encoded.root,
            lines: 2,
            status: Status::Complete,
            counts: manifest.header.counts,
            started: time(),
        };
        assert_eq!(good.check_manifest(&found), Ok(()));
        for (wrong, fault) in [
            (SnapshotRef { sha256: encoded.root, ..good.clone() }, Fault::WrongDigest),
            (SnapshotRef { size: 1, ..good.clone() }, Fault::WrongDigest),
            (SnapshotRef { root: encoded.sha256, ..good.clone() }, Fault::WrongRoot),
            (SnapshotRef { lines: 1, ..good.clone() }, Fault::WrongRoot),
            (SnapshotRef { status: Status::Partial, ..good.clone() }, Fault::BadCounts),
            (SnapshotRef { counts: Counts::default(), ..good.clone() }, Fault::BadCounts),
            (SnapshotRef { started: DateTime::UNIX_EPOCH, ..good.clone() }, Fault::BadCounts),
        ] {
            assert_eq!(wrong.check_manifest(&found).unwrap_err().fault, fault);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_reads_back_and_every_line_is_proven(lines in prop::collection::vec(any_line(), 0..12)) {
            let manifest = manifest(lines);
            let encoded = manifest.encode().unwrap();
            let found = Manifest::decode(&encoded.bytes, &Limits::default()).unwrap();
            prop_assert_eq!(&found.manifest, &manifest);
            prop_assert_eq!((found.sha256, found.root, found.lines()), (encoded.sha256, encoded.root, encoded.lines));
            prop_assert_eq!(found.manifest.encode().unwrap(), encoded);
            for (index, line) in (1..).zip(&manifest.lines) {
                let (leaf, proof) = (tree::leaf(&json::write(line).unwrap()), found.inclusion(index).unwrap());
                tree::verify_inclusion(index, found.lines(), leaf, &proof, &found.root).unwrap();
            }
            prop_assert!(found.inclusion(found.lines()).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Manifest::decode(&bytes, &Limits::default());
            let _ = Manifest::decode(&zst::compress(&bytes).unwrap(), &Limits::default());
        }
    }
}
