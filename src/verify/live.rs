//! Comparing the newest snapshot with what a vault shows now. The lists come in as plain values: nothing here can ask a
//! vault for anything.

use chrono::{DateTime, TimeDelta, Utc};

use super::finding::{Code, Findings};
use crate::format::manifest::{Line, State};
use crate::format::paths;
use crate::model::{Digest, Object, VaultUri};

/// What a vault shows now.
#[derive(Clone, Debug)]
pub struct Live {
    /// The vault.
    pub vault: VaultUri,
    /// For how long the archive may lack what the vault has.
    pub rpo: TimeDelta,
    /// Its live objects.
    pub objects: Vec<Seen>,
}

/// A live object, as a list of the vault shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The object.
    pub object: Object,
    /// The fingerprint of its list item.
    pub fingerprint: Digest,
    /// When it was changed last, or made; by the vault's clock.
    pub changed: Option<DateTime<Utc>>,
    /// Whether a certificate owns it, and covers it.
    pub managed: bool,
}

/// What the newest snapshot has of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Older,
    This,
}

/// A comparison under way.
pub(super) struct Comparison<'a> {
    vault: &'a VaultUri,
    rpo: TimeDelta,
    now: DateTime<Utc>,
    objects: Vec<(&'a Seen, Held)>,
    gone: Vec<Object>,
}

impl<'a> Comparison<'a> {
    /// Begins; nothing of the snapshot is known yet.
    pub(super) fn new(live: &'a Live, now: DateTime<Utc>) -> Self {
        // What a certificate owns is covered by it: the certificate's own item shows every change.
        let own = live.objects.iter().filter(|seen| !seen.managed);
        let mut objects: Vec<_> = own.map(|seen| (seen, Held::Nothing)).collect();
        objects.sort_by(|(a, _), (b, _)| a.object.cmp(&b.object));
        objects.dedup_by(|(a, _), (b, _)| a.object == b.object);
        Comparison { vault: &live.vault, rpo: live.rpo, now, objects, gone: Vec::new() }
    }

    /// The next line of the newest snapshot's manifest.
    pub(super) fn see(&mut self, line: &Line) {
        let object = line.object();
        let place = self.objects.binary_search_by(|(seen, _)| seen.object.cmp(&object)).ok();
        match (place.and_then(|place| self.objects.get_mut(place)), line.state) {
            (Some((_, held)), State::Excluded) => *held = Held::This,
            (Some((seen, held)), State::Live) if line.capture.is_some() => {
                let same = line.gap.is_none() && seen.fingerprint == line.fingerprint;
                *held = if same { Held::This } else { Held::Older };
            }
            (None, State::Live) => self.gone.push(object),
            _ => {}
        }
    }

    /// What the two do not share.
    pub(super) fn report(self, findings: &mut Findings) {
        let place = |object: &Object| {
            format!(
                "{}{}/{}",
                paths::captures_prefix(self.vault),
                object.kind,
                object.name.as_str().to_ascii_lowercase()
            )
        };
        for (seen, held) in &self.objects {
            let what = match held {
                Held::This => continue,
                Held::Nothing => "the vault has it, and the newest snapshot does not",
                Held::Older => "the newest snapshot has it in an older state",
            };
            let overdue = seen.changed.is_some_and(|changed| self.now - changed > self.rpo);
            let since = seen.changed.map_or_else(|| "at an unknown time".to_owned(), |changed| changed.to_string());
            let code = if overdue { Code::LiveOverdue } else { Code::LiveAhead };
            findings.add(code, place(&seen.object), format!("{what}; it was changed {since}"));
        }
        for object in &self.gone {
            let detail = "the newest snapshot has it, and it is not live in the vault any more";
            findings.add(Code::LiveGone, place(object), detail);
        }
    }
}
