//! A manifest's line in binary, without what follows from its object and vault: a vault may have a hundred thousand.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
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
    pub(super) compared_at: Option<DateTime<Utc>>,
    pub(super) enabled: Option<bool>,
    pub(super) expires: Option<DateTime<Utc>>,
    pub(super) purge_at: Option<DateTime<Utc>>,
    current: Option<Text>,
    thumbprint: Option<Box<str>>,
    common: Option<Arc<Common>>,
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
    pub(super) version: Option<Text>,
    pub(super) mode: Mode,
    pub(super) reused: bool,
    /// Whether the store was seen to hold it tonight.
    pub(super) there: bool,
}

/// What many captures have in common: the type of key, the one of a few keys that wraps Azure's blobs, how many versions.
#[derive(PartialEq, Eq, Hash)]
struct Common {
    versions: Option<u64>,
    key_type: Option<String>,
    kid: Option<String>,
}

/// What captures have in common, held once.
#[derive(Default)]
pub(super) struct Commons(HashSet<Arc<Common>>);

impl Commons {
    /// More different ones than this are not worth remembering.
    const MOST: usize = 1_000;

    fn keep(&mut self, common: Common) -> Arc<Common> {
        if let Some(known) = self.0.get(&common) {
            return known.clone();
        }
        let common = Arc::new(common);
        if self.0.len() < Self::MOST {
            self.0.insert(common.clone());
        }
        common
    }
}

/// The id of a version, in half the space where it can be: vaults number versions with 32 hexadecimal digits, containers
/// with the time to the ten-millionth of a second. Either is made of sixteen symbols at most.
pub(super) enum Text {
    Digits([u8; 16]),
    Time([u8; 16]),
    Other(Box<str>),
}

impl Text {
    const DIGITS: &[u8] = b"0123456789abcdef";
    /// What comes after them ends the text.
    const TIME: &[u8] = b"0123456789-:.TZ";

    fn of(text: String) -> Self {
        let whole = text.len() == 32;
        let digits = whole.then(|| halved(&text, Self::DIGITS)).flatten().map(Text::Digits);
        digits.or_else(|| halved(&text, Self::TIME).map(Text::Time)).unwrap_or_else(|| Text::Other(text.into()))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (halves, symbols) = match self {
            Text::Digits(halves) => (halves, Self::DIGITS),
            Text::Time(halves) => (halves, Self::TIME),
            Text::Other(text) => return f.write_str(text),
        };
        let places = halves.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        places
            .map_while(|place| symbols.get(usize::from(place)))
            .try_for_each(|symbol| f.write_char(char::from(*symbol)))
    }
}

/// Two symbols to a byte; `None` for a text that is longer than 32 symbols or has others.
fn halved(text: &str, symbols: &[u8]) -> Option<[u8; 16]> {
    let mut halves = [0xff; 16];
    for (at, byte) in text.bytes().enumerate() {
        let place = symbols.iter().position(|symbol| *symbol == byte)? as u8;
        let pair = halves.get_mut(at / 2)?;
        *pair = if at % 2 == 0 { place << 4 | 15 } else { *pair & 0xf0 | place };
    }
    Some(halves)
}

impl Kept {
    pub(super) fn listed(swept: &Swept, salt: [u8; 16]) -> Self {
        Kept {
            salt,
            fingerprint: swept.fingerprint,
            versions_fingerprint: None,
            compared_at: None,
            enabled: swept.attributes.enabled,
            expires: swept.attributes.expires,
            purge_at: swept.purge_at,
            current: None,
            thumbprint: None,
            common: None,
            capture: None,
            gap: None,
        }
    }

    pub(super) fn of(mut line: Line, commons: &mut Commons) -> Result<Self> {
        let sixteen = |text: &str| -> Result<[u8; 16]> {
            let bytes = unhex(text).and_then(|bytes| bytes.try_into().ok());
            bytes.ok_or_else(|| Error::internal("a checked manifest line holds something that is not 16 bytes"))
        };
        let kid = line.capture.as_mut().and_then(|capture| capture.kid.take());
        let common = commons.keep(Common { versions: line.versions, key_type: line.key_type, kid });
        let stored = |capture: CaptureRef| -> Result<Stored> {
            Ok(Stored {
                sha256: capture.sha256,
                md5: sixteen(&capture.md5)?,
                size: capture.size,
                captured_at: capture.captured_at,
                protected_until: capture.protected_until,
                version: capture.version.map(Text::of),
                mode: capture.mode,
                reused: true,
                there: false,
            })
        };
        Ok(Kept {
            salt: sixteen(&line.salt)?,
            fingerprint: line.fingerprint,
            versions_fingerprint: line.versions_fingerprint,
            compared_at: line.compared_at,
            enabled: line.enabled,
            expires: line.expires,
            purge_at: line.purge_at,
            current: line.current.map(Text::of),
            thumbprint: line.thumbprint.map(String::into_boxed_str),
            common: Some(common),
            capture: line.capture.map(stored).transpose()?,
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
        let common = self.common.as_deref();
        let capture = |stored: &Stored| -> Result<CaptureRef, format::Error> {
            Ok(CaptureRef {
                path: self.path(stored, vault, object)?,
                version: stored.version.as_ref().map(Text::to_string),
                sha256: stored.sha256,
                md5: hex(&stored.md5),
                size: stored.size,
                captured_at: stored.captured_at,
                mode: stored.mode,
                protected_until: stored.protected_until,
                kid: common.and_then(|common| common.kid.clone()),
                reused: stored.reused,
            })
        };
        Ok(Line {
            salt: hex(&self.salt),
            kind: object.kind,
            name: object.name.clone(),
            state,
            fingerprint: self.fingerprint,
            current: self.current.as_ref().map(Text::to_string),
            versions_fingerprint: self.versions_fingerprint,
            versions: common.and_then(|common| common.versions),
            compared_at: self.compared_at,
            enabled: self.enabled,
            expires: self.expires,
            key_type: common.and_then(|common| common.key_type.clone()),
            thumbprint: self.thumbprint.as_deref().map(str::to_owned),
            purge_at: self.purge_at,
            capture: self.capture.as_ref().map(capture).transpose()?,
            gap,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(text: &str) -> (Text, String) {
        let kept = Text::of(text.to_owned());
        let spelt = kept.to_string();
        (kept, spelt)
    }

    #[test]
    fn ids_of_versions_take_no_memory_of_their_own() {
        let vaults = "0123456789abcdef0123456789abcdef";
        assert!(matches!(kept(vaults), (Text::Digits(_), spelt) if spelt == vaults));
        for containers in ["2026-11-21T18:20:00.0000001Z", "", "2026-11-21T18:20:00.00000010000Z"] {
            assert!(matches!(kept(containers), (Text::Time(_), spelt) if spelt == containers), "{containers}");
        }
        for others in
            ["0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef", "00000000000000000-0000000000000000", "é"]
        {
            assert!(matches!(kept(others), (Text::Other(_), spelt) if spelt == others), "{others}");
        }
    }

    /// A hundred thousand of them are to fit, and a commit beside them.
    #[test]
    fn a_line_takes_less_than_three_hundred_bytes() {
        assert!(size_of::<Kept>() <= 288, "{}", size_of::<Kept>());
    }

    proptest! {
        #[test]
        fn every_text_comes_out_as_it_went_in(digits in "[0-9a-f]{30,34}", time in "[0-9:.TZ-]{0,34}", other: String) {
            for text in [digits, time, other] {
                prop_assert_eq!(kept(&text).1, text);
            }
        }
    }
}
