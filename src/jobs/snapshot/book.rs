//! The book of a run: what is known of every object, at any moment as a manifest could say it. It begins with what the
//! previous manifest has and ends as the lines of the new one; a commit half-way writes it as it stands. Compact, since a
//! vault may have a hundred thousand objects. Knows no vault, no store and no time.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::capture::{Known, Swept};
use crate::error::{Error, Result};
use crate::format::manifest::{CaptureRef, Counts, Gap, Line, State};
use crate::format::{self, paths};
use crate::model::{Digest, Kind, Mode, Object, StorePath, VaultUri, hex, unhex};
use crate::store::Protection;

/// What a run knows of a vault's objects.
pub(super) struct Book {
    vault: VaultUri,
    records: HashMap<Object, Record>,
    deleted: BTreeMap<Object, Kept>,
    words: Words,
}

/// An object, and how far this run is with it.
struct Record {
    kept: Box<Kept>,
    look: Look,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// The previous manifest has it; this run has not met it yet.
    Before,
    /// Listed; its turn has not come.
    Listed,
    /// A certificate owns it.
    Managed,
    /// The policy leaves it out.
    Excluded,
    /// There is an outcome.
    Settled,
}

/// A manifest line without what its object and vault already say.
struct Kept {
    salt: [u8; 16],
    fingerprint: Digest,
    versions_fingerprint: Option<Digest>,
    versions: Option<u64>,
    compared_at: Option<DateTime<Utc>>,
    enabled: Option<bool>,
    expires: Option<DateTime<Utc>>,
    purge_at: Option<DateTime<Utc>>,
    current: Option<Box<str>>,
    key_type: Option<Arc<str>>,
    thumbprint: Option<Box<str>>,
    capture: Option<Stored>,
    gap: Option<Box<Gap>>,
}

/// A capture without its path, which follows from the line.
struct Stored {
    sha256: Digest,
    md5: [u8; 16],
    size: u64,
    captured_at: DateTime<Utc>,
    protected_until: Option<DateTime<Utc>>,
    version: Option<Box<str>>,
    kid: Option<Arc<str>>,
    mode: Mode,
    reused: bool,
    /// Whether the store was seen to hold it tonight.
    there: bool,
}

/// What a capture's content says of its object.
pub(super) struct Summary {
    pub(super) current: Option<String>,
    pub(super) versions: u64,
    pub(super) versions_fingerprint: Digest,
    pub(super) key_type: Option<String>,
    pub(super) thumbprint: Option<String>,
}

/// Words that repeat, such as key types and the few keys that wrap Azure's blobs, held once.
#[derive(Default)]
struct Words(HashSet<Arc<str>>);

impl Words {
    /// More different ones than this are not worth remembering.
    const MOST: usize = 1_000;

    fn keep(&mut self, word: String) -> Arc<str> {
        if let Some(known) = self.0.get(word.as_str()) {
            return known.clone();
        }
        let word: Arc<str> = word.into();
        if self.0.len() < Self::MOST {
            self.0.insert(word.clone());
        }
        word
    }
}

impl Kept {
    fn listed(swept: &Swept, salt: [u8; 16]) -> Self {
        Kept {
            salt,
            fingerprint: swept.fingerprint,
            versions_fingerprint: None,
            versions: None,
            compared_at: None,
            enabled: swept.attributes.enabled,
            expires: swept.attributes.expires,
            purge_at: swept.purge_at,
            current: None,
            key_type: None,
            thumbprint: None,
            capture: None,
            gap: None,
        }
    }

    fn of(line: Line, words: &mut Words) -> Result<Self> {
        let sixteen = |text: &str| -> Result<[u8; 16]> {
            let bytes = unhex(text).and_then(|bytes| bytes.try_into().ok());
            bytes.ok_or_else(|| Error::internal("a checked manifest line holds something that is not 16 bytes"))
        };
        let stored = |capture: CaptureRef, words: &mut Words| -> Result<Stored> {
            Ok(Stored {
                sha256: capture.sha256,
                md5: sixteen(&capture.md5)?,
                size: capture.size,
                captured_at: capture.captured_at,
                protected_until: capture.protected_until,
                version: capture.version.map(String::into_boxed_str),
                kid: capture.kid.map(|kid| words.keep(kid)),
                mode: capture.mode,
                reused: true,
                there: false,
            })
        };
        Ok(Kept {
            salt: sixteen(&line.salt)?,
            fingerprint: line.fingerprint,
            versions_fingerprint: line.versions_fingerprint,
            versions: line.versions,
            compared_at: line.compared_at,
            enabled: line.enabled,
            expires: line.expires,
            purge_at: line.purge_at,
            current: line.current.map(String::into_boxed_str),
            key_type: line.key_type.map(|kind| words.keep(kind)),
            thumbprint: line.thumbprint.map(String::into_boxed_str),
            capture: line.capture.map(|capture| stored(capture, words)).transpose()?,
            gap: None,
        })
    }

    fn path(&self, stored: &Stored, vault: &VaultUri, object: &Object) -> Result<StorePath, format::Error> {
        paths::capture(vault, object, stored.captured_at, &self.fingerprint)
    }

    fn line(&self, vault: &VaultUri, object: &Object, state: State, gap: Option<Gap>) -> Result<Line, format::Error> {
        let capture = |stored: &Stored| -> Result<CaptureRef, format::Error> {
            Ok(CaptureRef {
                path: self.path(stored, vault, object)?,
                version: stored.version.as_deref().map(str::to_owned),
                sha256: stored.sha256,
                md5: hex(&stored.md5),
                size: stored.size,
                captured_at: stored.captured_at,
                mode: stored.mode,
                protected_until: stored.protected_until,
                kid: stored.kid.as_deref().map(str::to_owned),
                reused: stored.reused,
            })
        };
        Ok(Line {
            salt: hex(&self.salt),
            kind: object.kind,
            name: object.name.clone(),
            state,
            fingerprint: self.fingerprint,
            current: self.current.as_deref().map(str::to_owned),
            versions_fingerprint: self.versions_fingerprint,
            versions: self.versions,
            compared_at: self.compared_at,
            enabled: self.enabled,
            expires: self.expires,
            key_type: self.key_type.as_deref().map(str::to_owned),
            thumbprint: self.thumbprint.as_deref().map(str::to_owned),
            purge_at: self.purge_at,
            capture: self.capture.as_ref().map(capture).transpose()?,
            gap,
        })
    }
}

/// Whether an object is met for the first time in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// For the first time.
    Now,
    /// A list repeated itself.
    Already,
}

impl Book {
    /// An empty book.
    pub(super) fn new(vault: VaultUri) -> Self {
        Book { vault, records: HashMap::new(), deleted: BTreeMap::new(), words: Words::default() }
    }

    /// Takes over a line of the previous manifest, if it has a capture of a live object.
    pub(super) fn remember(&mut self, line: Line) -> Result<()> {
        if line.state != State::Live || line.capture.is_none() {
            return Ok(());
        }
        let object = Object::new(line.kind, line.name.clone());
        let kept = Box::new(Kept::of(line, &mut self.words)?);
        self.records.insert(object, Record { kept, look: Look::Before });
        Ok(())
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.deleted.clear();
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.deleted.is_empty()
    }

    /// The capture that the archive has of an object.
    pub(super) fn known(&self, object: &Object) -> Option<Known> {
        let kept = &self.records.get(object)?.kept;
        let stored = kept.capture.as_ref()?;
        Some(Known {
            fingerprint: kept.fingerprint,
            versions: kept.versions_fingerprint,
            captured_at: stored.captured_at,
            compared_at: kept.compared_at.map_or(stored.captured_at, |at| at.max(stored.captured_at)),
            mode: stored.mode,
            protected_until: stored.protected_until,
        })
    }

    /// A live object was listed. Until it is settled, it counts as one that the run did not come to.
    pub(super) fn listed(&mut self, object: &Object, swept: &Swept, salt: [u8; 16]) -> Met {
        self.meet(object, swept, salt, Look::Listed)
    }

    /// A key or secret was listed that belongs to a certificate.
    pub(super) fn managed(&mut self, object: &Object, swept: &Swept, salt: [u8; 16]) -> Met {
        self.alone(object, swept, salt, Look::Managed)
    }

    /// An object was listed that the policy leaves out.
    pub(super) fn excluded(&mut self, object: &Object, swept: &Swept, salt: [u8; 16]) -> Met {
        self.alone(object, swept, salt, Look::Excluded)
    }

    fn alone(&mut self, object: &Object, swept: &Swept, salt: [u8; 16], look: Look) -> Met {
        let met = self.meet(object, swept, salt, look);
        if let (Met::Now, Some(record)) = (met, self.records.get_mut(object)) {
            *record.kept = Kept::listed(swept, salt);
        }
        met
    }

    fn meet(&mut self, object: &Object, swept: &Swept, salt: [u8; 16], look: Look) -> Met {
        match self.records.entry(object.clone()) {
            Entry::Occupied(mut record) if record.get().look == Look::Before => {
                let record = record.get_mut();
                record.look = look;
                record.kept.salt = salt;
                Met::Now
            }
            Entry::Occupied(_) => Met::Already,
            Entry::Vacant(place) => {
                place.insert(Record { kept: Box::new(Kept::listed(swept, salt)), look });
                Met::Now
            }
        }
    }

    /// A soft-deleted object was listed.
    pub(super) fn deleted(&mut self, object: Object, swept: &Swept, salt: [u8; 16]) {
        self.deleted.insert(object, Kept::listed(swept, salt));
    }

    /// The earlier capture stays. `compared_at`, if its versions were compared just now.
    pub(super) fn reuse(&mut self, object: &Object, compared_at: Option<DateTime<Utc>>) {
        if let Some(record) = self.records.get_mut(object) {
            record.look = Look::Settled;
            record.kept.compared_at = compared_at.or(record.kept.compared_at);
        }
    }

    /// It was captured.
    pub(super) fn taken(
        &mut self,
        object: &Object,
        swept: &Swept,
        capture: CaptureRef,
        summary: Summary,
    ) -> Result<()> {
        let Some(record) = self.records.get_mut(object) else { return Ok(()) };
        let line = Line {
            salt: hex(&record.kept.salt),
            kind: object.kind,
            name: object.name.clone(),
            state: State::Live,
            fingerprint: swept.fingerprint,
            current: summary.current,
            versions_fingerprint: Some(summary.versions_fingerprint),
            versions: Some(summary.versions),
            compared_at: None,
            enabled: swept.attributes.enabled,
            expires: swept.attributes.expires,
            key_type: summary.key_type,
            thumbprint: summary.thumbprint,
            purge_at: None,
            capture: Some(capture),
            gap: None,
        };
        let mut kept = Kept::of(line, &mut self.words)?;
        if let Some(stored) = &mut kept.capture {
            (stored.reused, stored.there) = (false, true);
        }
        *record = Record { kept: Box::new(kept), look: Look::Settled };
        Ok(())
    }

    /// It could not be captured. What the archive has of it stays beside the gap.
    pub(super) fn gap(&mut self, object: &Object, gap: Gap) {
        if let Some(record) = self.records.get_mut(object) {
            record.look = Look::Settled;
            record.kept.gap = Some(Box::new(gap));
        }
    }

    /// The managed keys and secrets whose certificate was not listed.
    pub(super) fn orphans(&self) -> Vec<Object> {
        let orphaned = |(object, record): &(&Object, &Record)| {
            record.look == Look::Managed && !self.records.contains_key(&owner(object))
        };
        self.records.iter().filter(orphaned).map(|(object, _)| object.clone()).collect()
    }

    /// A list of live objects was read to its end: what this run did not meet is not in the vault any more.
    pub(super) fn close(&mut self, kind: Kind) {
        self.records.retain(|object, record| object.kind != kind || record.look != Look::Before);
    }

    /// A list of live objects could not be read: what this run did not meet may still be there.
    pub(super) fn leave_open(&mut self, kind: Kind, gap: &Gap) {
        let unmet =
            self.records.iter_mut().filter(|(object, record)| object.kind == kind && record.look == Look::Before);
        for (_, record) in unmet {
            record.look = Look::Settled;
            record.kept.gap = Some(Box::new(gap.clone()));
        }
    }

    /// What the store shows at a capture's path, which is to be found among those remembered.
    pub(super) fn remembered(&self, object: &Object, path: &StorePath) -> Option<Remembered> {
        let kept = &self.records.get(object)?.kept;
        let stored = kept.capture.as_ref()?;
        (kept.path(stored, &self.vault, object).ok()? == *path).then(|| Remembered {
            sha256: stored.sha256,
            md5: stored.md5,
            size: stored.size,
            version: stored.version.as_deref().map(str::to_owned),
            there: stored.there,
        })
    }

    /// The store holds the capture of `object`, protected so.
    pub(super) fn protected(&mut self, object: &Object, protection: Protection) {
        if let Some(stored) = self.records.get_mut(object).and_then(|record| record.kept.capture.as_mut()) {
            stored.there = true;
            stored.mode = protection.mode;
            stored.protected_until = protection.until;
        }
    }

    /// Forgets the captures that the store does not hold; returns how many.
    pub(super) fn strike_missing(&mut self) -> u64 {
        let before = self.records.len();
        self.records.retain(|_, record| record.kept.capture.as_ref().is_some_and(|stored| stored.there));
        (before - self.records.len()) as u64
    }

    fn state(&self, object: &Object, record: &Record) -> (State, Option<Gap>) {
        let gap = record.kept.gap.as_deref().cloned();
        match record.look {
            Look::Settled => (State::Live, gap),
            Look::Excluded => (State::Excluded, None),
            Look::Before | Look::Listed => (State::Live, Some(interrupted())),
            Look::Managed => match self.records.get(&owner(object)).map(|owner| owner.look) {
                Some(Look::Excluded) => (State::Excluded, None),
                Some(_) => (State::Managed, None),
                None => (State::Live, Some(interrupted())),
            },
        }
    }

    /// How many of what.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts { deleted: self.deleted.len() as u64, ..Counts::default() };
        for (object, record) in &self.records {
            let slot = match self.state(object, record) {
                (State::Managed, _) => &mut counts.managed,
                (State::Excluded, _) => &mut counts.excluded,
                (State::Deleted, _) => &mut counts.deleted,
                (State::Live, Some(_)) => &mut counts.gaps,
                (State::Live, None) if record.kept.capture.as_ref().is_some_and(|stored| stored.reused) => {
                    &mut counts.reused
                }
                (State::Live, None) => &mut counts.captured,
            };
            *slot += 1;
        }
        counts.seen = counts.captured + counts.reused + counts.gaps;
        counts
    }

    /// The objects that have a gap, in order, and the gap.
    pub(super) fn gaps(&self) -> Vec<(&Object, Gap)> {
        let mut gaps: Vec<(&Object, Gap)> =
            self.records.iter().filter_map(|(object, record)| Some((object, self.state(object, record).1?))).collect();
        gaps.sort_by(|a, b| a.0.cmp(b.0));
        gaps
    }

    /// The order of a manifest's lines.
    pub(super) fn order(&self) -> Vec<Place<'_>> {
        let live = self.records.keys().map(|object| Place { object, deleted: false });
        let mut places: Vec<Place<'_>> =
            live.chain(self.deleted.keys().map(|object| Place { object, deleted: true })).collect();
        places.sort_unstable();
        places
    }

    /// A manifest's line.
    pub(super) fn line(&self, place: Place<'_>) -> Result<Line, format::Error> {
        let Place { object, deleted } = place;
        let gone = || format::Error::new(format::Fault::BadLine, format!("{object} is not in the book"));
        if deleted {
            let kept = self.deleted.get(object).ok_or_else(gone)?;
            return kept.line(&self.vault, object, State::Deleted, None);
        }
        let record = self.records.get(object).ok_or_else(gone)?;
        let (state, gap) = self.state(object, record);
        record.kept.line(&self.vault, object, state, gap)
    }
}

/// Where a line stands in a manifest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place<'a> {
    object: &'a Object,
    deleted: bool,
}

/// What the archive should hold.
pub(super) struct Remembered {
    pub(super) sha256: Digest,
    pub(super) md5: [u8; 16],
    pub(super) size: u64,
    pub(super) version: Option<String>,
    /// Whether it was seen tonight already.
    pub(super) there: bool,
}

fn owner(object: &Object) -> Object {
    Object::new(Kind::Certificate, object.name.clone())
}

fn interrupted() -> Gap {
    Gap { code: "interrupted".into(), detail: "the run did not come to this object; the next one does".into() }
}
