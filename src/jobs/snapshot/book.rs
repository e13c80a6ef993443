//! The book of a run: what is known of every object, at any moment as a manifest could say it. It begins with what the
//! previous manifest has and ends as the lines of the new one; a commit half-way writes it as it stands. Compact, since a
//! vault may have a hundred thousand objects. Knows no vault, no store and no time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::{DateTime, Utc};

use super::kept::{Commons, Kept, Text};
use crate::capture::{Known, Swept};
use crate::error::Result;
use crate::format;
use crate::format::manifest::{CaptureRef, Counts, Gap, Line, State};
use crate::jobs::protection::Written;
use crate::model::{Digest, Kind, Object, VaultUri, hex};
use crate::store::Protection;

/// What a run knows of a vault's objects.
pub(super) struct Book {
    vault: VaultUri,
    /// In the order of a manifest's lines, like the deleted ones.
    records: BTreeMap<Object, Box<Record>>,
    deleted: BTreeMap<Object, Box<Kept>>,
    commons: Commons,
    gave_up: bool,
}

/// An object, and how far this run is with it.
struct Record {
    kept: Kept,
    look: Look,
}

impl Record {
    fn new(kept: Kept, look: Look) -> Box<Self> {
        Box::new(Record { kept, look })
    }
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

/// What a capture's content says of its object.
pub(super) struct Summary {
    pub(super) current: Option<String>,
    pub(super) versions: u64,
    pub(super) versions_fingerprint: Digest,
    pub(super) key_type: Option<String>,
    pub(super) thumbprint: Option<String>,
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
        Book { vault, records: BTreeMap::new(), deleted: BTreeMap::new(), commons: Commons::default(), gave_up: false }
    }

    /// Takes over a line of the previous manifest, if it has a capture of a live object.
    pub(super) fn remember(&mut self, line: Line) -> Result<()> {
        if line.state != State::Live || line.capture.is_none() {
            return Ok(());
        }
        let object = Object::new(line.kind, line.name.clone());
        let kept = Kept::of(line, &mut self.commons)?;
        self.records.insert(object, Record::new(kept, Look::Before));
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
            record.kept = Kept::listed(swept, salt);
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
                place.insert(Record::new(Kept::listed(swept, salt), look));
                Met::Now
            }
        }
    }

    /// A soft-deleted object was listed.
    pub(super) fn deleted(&mut self, object: Object, swept: &Swept, salt: [u8; 16]) {
        self.deleted.insert(object, Box::new(Kept::listed(swept, salt)));
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
        let mut kept = Kept::of(line, &mut self.commons)?;
        if let Some(stored) = &mut kept.capture {
            (stored.reused, stored.there) = (false, true);
        }
        **record = Record { kept, look: Look::Settled };
        Ok(())
    }

    /// It could not be captured. What the archive has of it stays beside the gap.
    pub(super) fn gap(&mut self, object: &Object, gap: Gap) {
        if let Some(record) = self.records.get_mut(object) {
            record.look = Look::Settled;
            record.kept.gap = Some(Box::new(gap));
        }
    }

    /// Whatever is listed and not settled is left as it is, since the vault does not answer.
    pub(super) fn give_up(&mut self) {
        self.gave_up = true;
    }

    /// Whether objects were left as they are.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// The managed keys and secrets whose certificate was not listed.
    pub(super) fn orphans(&self) -> Vec<Object> {
        let managed = self.records.iter().filter(|(_, record)| record.look == Look::Managed);
        let orphaned = managed.filter(|(object, _)| !self.records.contains_key(&owner(object)));
        orphaned.map(|(object, _)| object.clone()).collect()
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

    /// The file that should hold the capture of an object.
    pub(super) fn remembered(&self, object: &Object) -> Option<Remembered> {
        let kept = &self.records.get(object)?.kept;
        let stored = kept.capture.as_ref()?;
        let file = Written {
            path: kept.path(stored, &self.vault, object).ok()?,
            version: stored.version.as_ref().map(Text::to_string),
            size: stored.size,
            md5: stored.md5,
        };
        Some(Remembered { file, sha256: stored.sha256, there: stored.there })
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
            Look::Listed if self.gave_up => (State::Live, Some(given_up())),
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
        self.records.iter().filter_map(|(object, record)| Some((object, self.state(object, record).1?))).collect()
    }

    /// The lines of a manifest, in their order: of a name that is both, the live object comes before the deleted one.
    pub(super) fn lines(&self) -> impl Iterator<Item = Result<Line, format::Error>> {
        let (mut records, mut deleted) = (self.records.iter().peekable(), self.deleted.iter().peekable());
        std::iter::from_fn(move || {
            if let Some((object, kept)) = deleted.next_if(|gone| records.peek().is_none_or(|live| gone.0 < live.0)) {
                return Some(kept.line(&self.vault, object, State::Deleted, None));
            }
            let (object, record) = records.next()?;
            let (state, gap) = self.state(object, record);
            Some(record.kept.line(&self.vault, object, state, gap))
        })
    }
}

/// What the archive should hold.
pub(super) struct Remembered {
    pub(super) file: Written,
    pub(super) sha256: Digest,
    /// Whether it was seen tonight already.
    pub(super) there: bool,
}

fn owner(object: &Object) -> Object {
    Object::new(Kind::Certificate, object.name.clone())
}

fn interrupted() -> Gap {
    Gap { code: "interrupted".into(), detail: "the run did not come to this object; the next one does".into() }
}

fn given_up() -> Gap {
    let detail = "the vault had stopped answering, and this object was not asked for; the next run does";
    Gap { code: "given-up".into(), detail: detail.into() }
}
