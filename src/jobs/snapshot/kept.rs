//! A manifest's line in binary, without what follows from its object and vault: a vault may have a hundred thousand.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::capture::Swept;
use crate::error::{Error, Result};
use crate::format::manifest::{CaptureRef, Gap, Line, State};
use crate::format::{self, paths};
use crate::model::{Digest, Mode, Object, StorePath, VaultUri, hex, unhex};

/// A manifest line without what its object and vault already say.
pub(super) struct Kept {
    pub(super) salt: [u8; 16],
    pub(super) fingerprint: Digest,
    pub(super) versions_fingerprint: Option<Digest>,
    pub(super) versions: Option<u64>,
    pub(super) compared_at: Option<DateTime<Utc>>,
    pub(super) enabled: Option<bool>,
    pub(super) expires: Option<DateTime<Utc>>,
    pub(super) purge_at: Option<DateTime<Utc>>,
    pub(super) current: Option<Box<str>>,
    pub(super) key_type: Option<Arc<str>>,
    pub(super) thumbprint: Option<Box<str>>,
    pub(super) capture: Option<Stored>,
    pub(super) gap: Option<Box<Gap>>,
}

/// A capture without its path, which follows from the line.
pub(super) struct Stored {
    pub(super) sha256: Digest,
    pub(super) md5: [u8; 16],
    pub(super) size: u64,
    pub(super) captured_at: DateTime<Utc>,
    pub(super) protected_until: Option<DateTime<Utc>>,
    pub(super) version: Option<Box<str>>,
    pub(super) kid: Option<Arc<str>>,
    pub(super) mode: Mode,
    pub(super) reused: bool,
    /// Whether the store was seen to hold it tonight.
    pub(super) there: bool,
}

/// Words that repeat, such as key types and the few keys that wrap Azure's blobs, held once.
#[derive(Default)]
pub(super) struct Words(HashSet<Arc<str>>);

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
    pub(super) fn listed(swept: &Swept, salt: [u8; 16]) -> Self {
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

    pub(super) fn of(line: Line, words: &mut Words) -> Result<Self> {
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

    pub(super) fn path(&self, stored: &Stored, vault: &VaultUri, object: &Object) -> Result<StorePath, format::Error> {
        paths::capture(vault, object, stored.captured_at, &self.fingerprint)
    }

    pub(super) fn line(
        &self,
        vault: &VaultUri,
        object: &Object,
        state: State,
        gap: Option<Gap>,
    ) -> Result<Line, format::Error> {
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
