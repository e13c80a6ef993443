//! A log file: an entry's line, an empty line, the signed checkpoint of the log with this entry (docs/FORMAT.md
//! section 4). Everything that one file can be held to without a second one is checked here.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Entry, Event, FORMAT};
use crate::format::manifest::Decoded;
use crate::format::paths::{ArchivePath, SEQUENCE_MAX};
use crate::format::{Error, Fault, archive, json};
use crate::model::{Digest, VaultUri};
use crate::tlog::{Checkpoint, Frontier, Note, Signer, Verifier, note, tree};

/// The longest log file, in bytes.
pub const LOG_FILE_MAX: u64 = 16 * 1024 * 1024;

/// The most values in an entry: objects, arrays, their members and items. One that takes six bytes in a file takes 600 in
/// memory, and anybody who may write to the storage can put a file of them where every reader begins. An intent or a
/// result of a thousand steps has some ten thousand.
const VALUES_MAX: usize = 1 << 17;

/// A log file whose layout and entry are right. Its signature is not checked before [`LogFile::verify`].
#[derive(Clone, Debug, PartialEq)]
pub struct LogFile {
    line: Vec<u8>,
    entry: Entry,
    note: Vec<u8>,
}

impl Entry {
    /// The first entry of a vault's log.
    pub fn first(archive_id: Uuid, vault: &VaultUri, time: DateTime<Utc>, event: Event) -> Self {
        Entry {
            format: FORMAT.to_owned(),
            archive_id,
            vault: vault.host().to_owned(),
            sequence: 1,
            time,
            previous: None,
            frontier: Vec::new(),
            latest_snapshot: None,
            event,
        }
    }
}

impl LogFile {
    /// Writes and signs a file for this entry. The entry must be one that [`LogFile::parse`] accepts.
    pub fn build(entry: Entry, signer: &Signer) -> Result<Self, Error> {
        let line = json::write(&entry)?;
        // What cannot be read back must not be signed; reading it also drops the fraction of a second in its times.
        countable(&line)?;
        let entry: Entry = json::read_format(&line, FORMAT)?;
        let vault = check(&entry)?;
        let tree = tree_with(&entry, &line)?;
        let origin = archive::origin(entry.archive_id, &vault);
        let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root() };
        let file = LogFile { line, entry, note: checkpoint.sign(signer)?.into_bytes() };
        bounded(file.line.len() + file.note.len() + 2)?;
        Ok(file)
    }

    /// Parses a file. Says nothing about who signed it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        bounded(bytes.len())?;
        let layout = |what: &str| Error::new(Fault::LogLayout, format!("the log file {what}"));
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| layout("has no line"))?;
        let (line, rest) = bytes.split_at_checked(end).ok_or_else(|| layout("has no line"))?;
        let note = rest.strip_prefix(b"\n\n").ok_or_else(|| layout("has no empty line after its entry"))?;
        countable(line)?;
        let entry: Entry = json::read_format(line, FORMAT).map_err(|error| error.at("entry"))?;
        check(&entry).map_err(|error| error.at("entry"))?;
        Note::parse(note)?;
        Ok(LogFile { line: line.to_vec(), entry, note: note.to_vec() })
    }

    /// Checks the signature against pinned keys, and that what is signed is the log with this entry: its origin, its
    /// size and its root. Returns the checkpoint.
    pub fn verify(&self, known: &[Verifier]) -> Result<Checkpoint, Error> {
        let checkpoint = Checkpoint::open(&self.note, known)?;
        let vault = check(&self.entry)?;
        let origin = archive::origin(self.entry.archive_id, &vault);
        if checkpoint.origin != origin {
            let detail = format!("the checkpoint is of {:?}, the entry of {origin:?}", checkpoint.origin);
            return Err(Error::new(Fault::WrongOrigin, detail));
        }
        let tree = tree_with(&self.entry, &self.line)?;
        if checkpoint.size != tree.size() {
            let detail = format!("the checkpoint has size {}, the entry number {}", checkpoint.size, tree.size());
            return Err(Error::new(Fault::WrongSize, detail));
        }
        if checkpoint.root != tree.root() {
            return Err(Error::new(Fault::WrongRoot, "the checkpoint's root is not that of the log with this entry"));
        }
        Ok(checkpoint)
    }

    /// The entry that follows this one.
    pub fn successor(&self, time: DateTime<Utc>, event: Event) -> Result<Entry, Error> {
        let latest_snapshot = match &self.entry.event {
            Event::Snapshot(snapshot) => Some(snapshot.clone()),
            _ => self.entry.latest_snapshot.clone(),
        };
        Ok(Entry {
            format: FORMAT.to_owned(),
            archive_id: self.entry.archive_id,
            vault: self.entry.vault.clone(),
            sequence: self.entry.sequence + 1,
            time,
            previous: Some(self.digest()),
            frontier: self.tree()?.hashes().to_vec(),
            latest_snapshot,
            event,
        })
    }

    /// The entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The entry's line without its newline: what the tree's leaf is made of.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The signed note.
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// The whole file.
    pub fn bytes(&self) -> Vec<u8> {
        [self.line.as_slice(), b"\n\n", &self.note].concat()
    }

    /// The whole file's digest: the next entry's `previous`.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes())
    }

    /// The hash of this entry's leaf.
    pub fn leaf(&self) -> Digest {
        tree::leaf(&self.line)
    }

    /// The tree up to and with this entry, by what the entry itself says of the entries before it.
    pub fn tree(&self) -> Result<Frontier, Error> {
        tree_with(&self.entry, &self.line)
    }
}

fn tree_with(entry: &Entry, line: &[u8]) -> Result<Frontier, Error> {
    let mut tree = Frontier::new(entry.sequence.saturating_sub(1), entry.frontier.clone())?;
    tree.push(tree::leaf(line));
    Ok(tree)
}

fn bounded(length: usize) -> Result<(), Error> {
    let fits = length as u64 <= LOG_FILE_MAX;
    fits.then_some(()).ok_or_else(|| {
        Error::new(Fault::TooLarge, format!("the log file has {length} bytes, more than {LOG_FILE_MAX}"))
    })
}

/// Refuses a line with more values than an entry may have, before room is made for them.
fn countable(line: &[u8]) -> Result<(), Error> {
    json::countable(line, VALUES_MAX).map_err(|error| error.at("the entry"))
}

/// What the members of one entry must say of each other. Returns the vault.
fn check(entry: &Entry) -> Result<VaultUri, Error> {
    let chain = |what: String| Error::new(Fault::BadChain, what);
    let number = entry.sequence;
    let vault = VaultUri::parse(&format!("https://{}", entry.vault)).filter(|vault| vault.host() == entry.vault);
    let vault = vault.ok_or_else(|| Error::new(Fault::BadMember, "the vault is not a host name"))?;
    if entry.format != FORMAT {
        return Err(Error::new(Fault::UnknownFormat, format!("the format is not {FORMAT:?}")));
    }
    if !(1..=SEQUENCE_MAX).contains(&number) {
        return Err(chain(format!("there is no sequence number {number}")));
    }
    if entry.previous.is_none() != (number == 1) {
        return Err(chain(format!(
            "entry {number} must {}name a previous file",
            if number == 1 { "not " } else { "" }
        )));
    }
    Frontier::new(number - 1, entry.frontier.clone()).map_err(|error| chain(error.detail))?;
    if let Some(latest) = &entry.latest_snapshot {
        if latest.sequence == 0 || latest.sequence >= number {
            return Err(chain(format!("entry {number} names snapshot {} as one before it", latest.sequence)));
        }
        check_manifest_path(latest, &vault)?;
    }
    match &entry.event {
        Event::Snapshot(snapshot) if snapshot.sequence != number => {
            Err(chain(format!("the snapshot in entry {number} says it is in entry {}", snapshot.sequence)))
        }
        Event::Snapshot(snapshot) => check_manifest_path(snapshot, &vault),
        Event::RestoreResult(result) if result.intent == 0 || result.intent >= number => {
            Err(chain(format!("the result in entry {number} is of an intent in entry {}", result.intent)))
        }
        Event::Protect(protect) => protect.check(),
        _ => Ok(()),
    }?;
    Ok(vault)
}

/// A manifest's path names its digest, and so the two must agree.
fn check_manifest_path(snapshot: &super::SnapshotRef, of: &VaultUri) -> Result<(), Error> {
    match ArchivePath::parse(&snapshot.manifest) {
        Some(ArchivePath::Manifest { vault, sha256, .. }) if vault == *of && sha256 == snapshot.sha256 => Ok(()),
        _ => Err(Error::new(Fault::BadPath, format!("{} is not the path of this manifest", snapshot.manifest))),
    }
}

impl super::SnapshotRef {
    /// Refuses a manifest that is not the one this snapshot committed to, in every particular.
    pub fn check_manifest(&self, found: &Decoded) -> Result<(), Error> {
        let header = &found.manifest.header;
        let fault = if (found.sha256, found.size) != (self.sha256, self.size) {
            Fault::WrongDigest
        } else if (found.root, found.lines()) != (self.root, self.lines) {
            Fault::WrongRoot
        } else if (header.counts, header.status, header.started.timestamp())
            != (self.counts, self.status, self.started.timestamp())
        {
            Fault::BadCounts
        } else {
            return Ok(());
        };
        Err(Error::new(fault, format!("{} is not the manifest that entry {} describes", self.manifest, self.sequence)))
    }
}

/// The longest note is far shorter than the longest file; a file that fits has room for both.
const _: () = assert!((note::NOTE_MAX as u64) < LOG_FILE_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::{RestoreIntent, RestoreResult, SnapshotRef};
    use crate::format::manifest::{Counts, Status};
    use crate::format::paths;
    use proptest::prelude::*;

    fn vault() -> VaultUri {
        VaultUri::parse("https://prod.vault.azure.net").unwrap()
    }

    fn time() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_224_600, 0).unwrap()
    }

    fn signer() -> Signer {
        Signer::from_seed("akv-archiver/test", &[7; 32]).unwrap()
    }

    fn snapshot(sequence: u64) -> Event {
        let sha256 = Digest::of(&sequence.to_be_bytes());
        Event::Snapshot(SnapshotRef {
            sequence,
            manifest: paths::manifest(&vault(), sequence, sha256).unwrap(),
            version: None,
            sha256,
            size: 1,
            root: sha256,
            lines: 1,
            status: Status::Complete,
            counts: Counts::default(),
            started: time(),
        })
    }

    fn other(kind: u8, sequence: u64) -> Event {
        match kind {
            0 => snapshot(sequence),
            1 if sequence > 1 => Event::RestoreResult(RestoreResult { intent: sequence - 1, outcomes: Vec::new() }),
            2 => serde_json::from_str(r#"{"type":"drill","b":[1,{"c":null}],"a":"x"}"#).unwrap(),
            _ => Event::RestoreIntent(RestoreIntent {
                plan: Uuid::from_u128(3),
                target: vault(),
                steps: Vec::new(),
                operator: "ada".to_owned(),
                single_restore_override: None,
            }),
        }
    }

    /// A log with events of these kinds.
    fn log(kinds: &[u8]) -> Vec<LogFile> {
        let mut files: Vec<LogFile> = Vec::new();
        for (kind, sequence) in kinds.iter().zip(1..) {
            let event = other(*kind, sequence);
            let entry = match files.last() {
                Some(head) => head.successor(time(), event).unwrap(),
                None => Entry::first(Uuid::from_u128(1), &vault(), time(), event),
            };
            files.push(LogFile::build(entry, &signer()).unwrap());
        }
        files
    }

    #[test]
    fn a_successor_knows_the_newest_snapshot_before_it() {
        let files = log(&[3, 0, 2, 0, 1]);
        let latest: Vec<Option<u64>> =
            files.iter().map(|file| file.entry().latest_snapshot.as_ref().map(|snapshot| snapshot.sequence)).collect();
        assert_eq!(latest, [None, None, Some(2), Some(2), Some(4)]);
    }

    #[test]
    fn an_unknown_event_goes_through_unharmed_and_the_log_goes_on() {
        let files = log(&[0, 2, 0]);
        let found = LogFile::parse(&files[1].bytes()).unwrap();
        assert_eq!(found.entry().event.kind(), "drill");
        assert!(matches!(&found.entry().event, Event::Unknown(opaque) if opaque.kind() == "drill"));
        assert_eq!(json::write(found.entry()).unwrap(), found.line());
        found.verify(&[signer().verifier()]).unwrap();
        assert_eq!(files[2].entry().previous, Some(found.digest()));
    }

    #[test]
    fn what_could_not_be_read_is_not_signed() {
        let good = Entry::first(Uuid::from_u128(1), &vault(), time(), snapshot(1));
        assert!(LogFile::build(good.clone(), &signer()).is_ok());
        for (wrong, fault) in [
            (Entry { sequence: 2, ..good.clone() }, Fault::BadChain),
            (Entry { frontier: vec![Digest::of(b"")], ..good.clone() }, Fault::BadChain),
            (Entry { vault: "Prod.vault.azure.net".to_owned(), ..good.clone() }, Fault::BadMember),
            (Entry { vault: "other.vault.azure.net".to_owned(), ..good.clone() }, Fault::BadPath),
            (Entry { event: snapshot(2), ..good.clone() }, Fault::BadChain),
            (Entry { format: "akv-archiver/log/2".to_owned(), ..good.clone() }, Fault::UnknownFormat),
        ] {
            assert_eq!(LogFile::build(wrong, &signer()).unwrap_err().fault, fault);
        }
        assert_eq!(LogFile::parse(&vec![b'a'; LOG_FILE_MAX as usize + 1]).unwrap_err().fault, Fault::TooLarge);
    }

    #[test]
    fn an_entry_of_more_values_than_memory_is_made_for_is_refused_before_it_is_parsed() {
        let fault = |line: &str| LogFile::parse(format!("{line}\n\n").as_bytes()).unwrap_err().fault;
        let of = |item: &str, count: usize| vec![item; count].join(",");
        // What is wrong with each besides is not found any more, or only then.
        assert_eq!(fault(&format!("[{}]", of("{}", VALUES_MAX / 2))), Fault::TooLarge);
        assert_ne!(fault(&format!("[{}]", of("{}", VALUES_MAX / 2 - 1))), Fault::TooLarge);
        assert_eq!(fault(&format!("{{\"a\\\"\":[{}", of("0", VALUES_MAX))), Fault::TooLarge, "a quote in a name");
        assert_ne!(
            fault(&format!("{{\"\\\"{}\":0}}", of("[{", VALUES_MAX))),
            Fault::TooLarge,
            "in a text nothing counts"
        );
        // What a batch of a restore writes fits, whatever its sentences say.
        let outcome = crate::format::entry::Outcome {
            object: crate::model::Object::parse("secret/a").unwrap(),
            result: crate::format::entry::Became::Different,
            detail: of("[", 500),
        };
        let result = Event::RestoreResult(RestoreResult { intent: 1, outcomes: vec![outcome; 1000] });
        let first = log(&[3]).remove(0);
        LogFile::build(first.successor(time(), result).unwrap(), &signer()).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_log_reads_back_and_its_checkpoints_are_of_one_growing_tree(kinds in prop::collection::vec(0u8..4, 1..12)) {
            let files = log(&kinds);
            let leaves: Vec<Digest> = files.iter().map(LogFile::leaf).collect();
            for (number, file) in files.iter().enumerate() {
                let found = LogFile::parse(&file.bytes()).unwrap();
                prop_assert_eq!(&found, file);
                let checkpoint = found.verify(&[signer().verifier()]).unwrap();
                prop_assert_eq!(checkpoint.root, tree::root(&leaves[..=number]));
                prop_assert_eq!(found.tree().unwrap().root(), checkpoint.root);
            }
        }

        #[test]
        fn no_changed_byte_goes_unnoticed(kinds in prop::collection::vec(0u8..4, 1..4), at: prop::sample::Index, bit in 0u8..8) {
            let mut bytes = log(&kinds).pop().unwrap().bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let known = [signer().verifier()];
            prop_assert!(LogFile::parse(&bytes).and_then(|file| file.verify(&known)).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = LogFile::parse(&bytes);
            let _ = LogFile::parse(&[bytes.as_slice(), b"\n\n", &bytes].concat());
        }
    }
}
