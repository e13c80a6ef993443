//! A manifest's bytes: canonical JSON Lines in one zstd frame, and the Merkle tree over the lines. Both directions hold
//! one line at a time; who wants all of them in memory has [`Manifest`].

use std::borrow::Borrow;

use super::check::Checker;
use super::{FORMAT, Header, Line, Manifest};
use crate::format::{Error, Fault, json, zst};
use crate::model::Digest;
use crate::tlog::{Frontier, tree};

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

/// Writes a manifest without holding its lines. `lines` is called twice, since a frame begins with the length of its
/// content, and must give the same lines in the same order both times: make them from what they are made from, salts
/// included.
///
/// Fails if the manifest breaks a rule or a limit of the format, for what cannot be read must not be written; and with
/// [`Fault::WrongRoot`] if the lines were not the same twice.
pub fn encode<I, L>(header: &Header, lines: impl Fn() -> I) -> Result<Encoded, Error>
where
    I: IntoIterator<Item = Result<L, Error>>,
    L: Borrow<Line>,
{
    let limits = Limits::default();
    let head = json::write(header).map_err(|error| error.at("line 0"))?;
    let mut checker = Checker::new(header)?;
    let mut measure = Measure::default();
    measure.add(&head, &limits)?;
    for line in lines() {
        let line = line?;
        checker.line(line.borrow())?;
        measure.add(&write(line.borrow(), &measure)?, &limits)?;
    }
    checker.finish(header)?;

    let changed = || Error::new(Fault::WrongRoot, "the lines were others when they were asked for again");
    let mut again = Measure::default();
    let mut writer = zst::Writer::new(measure.content, limits.stored)?;
    again.add(&head, &limits)?;
    writer.line(&head)?;
    for line in lines() {
        let text = write(line?.borrow(), &again)?;
        again.add(&text, &limits)?;
        if again.content > measure.content {
            return Err(changed());
        }
        writer.line(&text)?;
    }
    if again != measure {
        return Err(changed());
    }
    let bytes = writer.finish()?;
    bounded(bytes.len(), limits.stored, "the file")?;
    let (sha256, root, lines) = (Digest::of(&bytes), measure.tree.root(), measure.tree.size());
    Ok(Encoded { bytes, sha256, root, lines })
}

fn write(line: &Line, measure: &Measure) -> Result<Vec<u8>, Error> {
    json::write(line).map_err(|error| error.at(format!("line {}", measure.tree.size())))
}

/// The lines so far: their tree and their length.
#[derive(Debug, Default, PartialEq)]
struct Measure {
    tree: Frontier,
    content: usize,
}

impl Measure {
    /// One more line, without its newline. Returns its leaf.
    fn add(&mut self, text: &[u8], limits: &Limits) -> Result<Digest, Error> {
        bounded(text.len(), limits.line, &format!("line {}", self.tree.size()))?;
        let leaf = tree::leaf(text);
        self.tree.push(leaf);
        self.content = self.content.saturating_add(text.len() + 1);
        bounded(usize::try_from(self.tree.size()).unwrap_or(usize::MAX), limits.lines, "the number of lines")?;
        bounded(self.content, limits.content, "the content")?;
        Ok(leaf)
    }
}

/// A manifest that is being read, line by line: an iterator over the lines below the header.
///
/// Everything that can be told at a line is checked at that line; that the header counts right, and what the root is,
/// is known from [`Decoder::finish`] only. After an error there are no more lines.
pub struct Decoder<'a> {
    bytes: &'a [u8],
    content: zst::Reader<'a>,
    limits: Limits,
    header: Header,
    checker: Option<Checker>,
    measure: Measure,
}

/// What is known of a manifest once all of it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// Line 0.
    pub header: Header,
    /// The file's digest.
    pub sha256: Digest,
    /// The file's length in bytes.
    pub size: u64,
    /// The root of the tree over the lines, header included.
    pub root: Digest,
    /// How many lines, header included.
    pub lines: u64,
}

impl<'a> Decoder<'a> {
    /// Begins to read a file: its frame and its header.
    pub fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        bounded(bytes.len(), limits.stored, "the file")?;
        let mut content = zst::Reader::new(bytes, limits.content)?;
        let mut measure = Measure::default();
        let text = content.line(limits.line).map_err(|error| error.at("line 0"))?;
        let text = text.ok_or_else(|| Error::new(Fault::ManifestLayout, "no header"))?;
        measure.add(text, limits)?;
        let header: Header = json::read_format(text, FORMAT).map_err(|error| error.at("line 0"))?;
        let checker = Some(Checker::new(&header)?);
        Ok(Decoder { bytes, content, limits: *limits, header, checker, measure })
    }

    /// Line 0.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads what is left and checks what only the end can tell.
    pub fn finish(mut self) -> Result<Whole, Error> {
        while self.step()?.is_some() {}
        let checker = self.checker.take();
        checker.ok_or_else(|| Error::new(Fault::ManifestLayout, "a line was refused"))?.finish(&self.header)?;
        Ok(Whole {
            header: self.header,
            sha256: Digest::of(self.bytes),
            size: self.bytes.len() as u64,
            root: self.measure.tree.root(),
            lines: self.measure.tree.size(),
        })
    }

    /// The next line and its leaf. An error takes the checker away: nothing after it is to be believed.
    fn step(&mut self) -> Result<Option<(Line, Digest)>, Error> {
        let Some(mut checker) = self.checker.take() else { return Ok(None) };
        let number = self.measure.tree.size();
        let place = |error: Error| error.at(format!("line {number}"));
        let next = match self.content.line(self.limits.line).map_err(place)? {
            Some(text) => {
                let leaf = self.measure.add(text, &self.limits)?;
                let line: Line = json::read(text).map_err(place)?;
                checker.line(&line)?;
                Some((line, leaf))
            }
            None => None,
        };
        self.checker = Some(checker);
        Ok(next)
    }
}

impl Iterator for Decoder<'_> {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().map(|next| next.map(|(line, _)| line)).transpose()
    }
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
    /// The file: [`encode`], of lines that are in memory.
    pub fn encode(&self) -> Result<Encoded, Error> {
        encode(&self.header, || self.lines.iter().map(Ok))
    }

    /// Reads a file into memory: [`Decoder`], and the leaves for proofs.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, Error> {
        let mut decoder = Decoder::new(bytes, limits)?;
        // So far the tree has one leaf, and that is its root.
        let (mut lines, mut leaves) = (Vec::new(), vec![decoder.measure.tree.root()]);
        while let Some((line, leaf)) = decoder.step()? {
            lines.push(line);
            leaves.push(leaf);
        }
        let Whole { header, sha256, size, root, .. } = decoder.finish()?;
        Ok(Decoded { manifest: Manifest { header, lines }, sha256, size, root, leaves })
    }
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
            policy_sha256: Digest::of(b"{}"),
            counts,
            gaps: Vec::new(),
            settings: None,
            settings_fingerprint: None,
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
            compared_at: None,
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

    fn keys(names: &[&str]) -> Manifest {
        manifest(names.iter().map(|name| line(Kind::Key, name, State::Live, Some(false), [1; 16])).collect())
    }

    #[test]
    fn lines_that_change_between_two_readings_are_not_written() {
        let good = keys(&["a", "b", "c"]);
        let written = |second: &dyn Fn(&mut Vec<Line>)| {
            let asked = std::cell::Cell::new(false);
            let encoded = encode(&good.header, || {
                let mut lines = good.lines.clone();
                if asked.replace(true) {
                    second(&mut lines);
                }
                lines.into_iter().map(Ok)
            });
            encoded.map_err(|error| error.fault)
        };
        assert_eq!(written(&|_| ()), Ok(good.encode().unwrap()));
        assert_eq!(written(&|lines| lines[1].salt = hex(&[9; 16])), Err(Fault::WrongRoot), "of the same length");
        assert_eq!(written(&|lines| drop(lines.pop())), Err(Fault::WrongRoot));
        assert_eq!(written(&|lines| lines.push(lines[0].clone())), Err(Fault::WrongRoot));
        let error = Error::new(Fault::BadPath, "no path");
        assert_eq!(encode::<_, Line>(&good.header, || [Err(error.clone())]), Err(error.clone()));
    }

    #[test]
    fn a_manifest_is_read_line_by_line_and_judged_in_the_end() {
        let good = keys(&["a", "b", "c"]);
        let encoded = good.encode().unwrap();
        let mut decoder = Decoder::new(&encoded.bytes, &Limits::default()).unwrap();
        assert_eq!(decoder.header(), &good.header);
        assert_eq!(decoder.next().unwrap().unwrap(), good.lines[0]);
        // What nobody asked for is looked at all the same.
        let whole = decoder.finish().unwrap();
        assert_eq!((whole.header, whole.sha256, whole.root), (good.header, encoded.sha256, encoded.root));
        assert_eq!((whole.size, whole.lines), (encoded.bytes.len() as u64, 4));
    }

    #[test]
    fn nothing_is_read_after_a_line_that_does_not_hold() {
        let good = keys(&["a", "b", "c"]);
        let text = |lines: &[&Line]| {
            let mut text = json::write(&good.header).unwrap();
            for line in lines {
                text.push(b'\n');
                text.extend(json::write(*line).unwrap());
            }
            text.push(b'\n');
            zst::compress(&text).unwrap()
        };
        let [a, b, c] = [&good.lines[0], &good.lines[1], &good.lines[2]];
        let bytes = text(&[a, c, b]);
        let mut decoder = Decoder::new(&bytes, &Limits::default()).unwrap();
        assert!(decoder.next().unwrap().is_ok() && decoder.next().unwrap().is_ok());
        let error = decoder.next().unwrap().unwrap_err();
        assert_eq!(
            (error.fault, error.detail.as_str()),
            (Fault::Unordered, "line 3: key/b: it does not follow the line before it")
        );
        assert!(decoder.next().is_none());
        assert_eq!(decoder.finish().unwrap_err().fault, Fault::ManifestLayout);
        let bytes = text(&[a, b]);
        let decoder = Decoder::new(&bytes, &Limits::default()).unwrap();
        assert_eq!(decoder.finish().unwrap_err().fault, Fault::BadCounts, "the header counts three");
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
