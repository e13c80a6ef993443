//! Targets for bytes at rest: what an archive holds, and what this program wrote for itself. Canonical formats must come
//! out again as they went in; the others, as something that reads back the same.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::{Judged, holds, no};
use crate::format::archive::{Archive, key_name};
use crate::format::capture::{self, BLOB_MAX, BlobHeader};
use crate::format::entry::{Event, LogFile};
use crate::format::fingerprint::fingerprint;
use crate::format::json::Numbers;
use crate::format::manifest::{Decoder, Limits, Manifest};
use crate::format::{self, settings};
use crate::restore::{Plan, Source};
use crate::seal::{Identities, NoPrompt};
use crate::tlog::{Checkpoint, Note, Signer};
use crate::verify::Record;

/// An identity that seals nothing but the corpus.
const IDENTITY: &str = include_str!("../../fuzz/identity.txt");

/// The signer of the vectors.
fn signer() -> Result<Signer, super::Not> {
    Signer::from_seed(&key_name(Uuid::from_u128(0x6f9b_1c52_9d0e_4a37_8c1e_5b2f_7a3d_4e60)), &[7; 32]).map_err(no)
}

pub(super) fn archive(bytes: &[u8]) -> Judged {
    let archive = Archive::decode(bytes).map_err(no)?;
    holds(archive.encode().is_ok_and(|text| text == bytes), "it is written otherwise than it was read")
}

pub(super) fn manifest(bytes: &[u8]) -> Judged {
    let frame = format::in_a_frame(bytes);
    let limits = Limits::default();
    let streamed = Decoder::new(&frame, &limits).and_then(Decoder::finish);
    let found = Manifest::decode(&frame, &limits);
    holds(streamed.is_ok() == found.is_ok(), "read line by line and read whole, the verdict differs")?;
    let (streamed, found) = (streamed.map_err(no)?, found.map_err(no)?);
    holds((streamed.root, streamed.lines) == (found.root, found.lines()), "read line by line, it has another root")?;
    let again = found.manifest.encode().map_err(|_| super::Not::Broken("it can be read and not written"))?;
    holds((again.root, again.lines) == (found.root, found.lines()), "written again it has another root")?;
    let last = found.lines() - 1;
    holds(found.inclusion(last).is_ok(), "there is no proof of its last line")
}

pub(super) fn log(bytes: &[u8]) -> Judged {
    let file = LogFile::parse(bytes).map_err(no)?;
    holds(file.bytes() == bytes, "it is written otherwise than it was read")?;
    let signer = signer()?;
    let checkpoint = file.verify(&[signer.verifier()]).map_err(no)?;
    holds(checkpoint.size == file.entry().sequence, "the checkpoint is of another size")?;
    let next = file.successor(file.entry().time, file.entry().event.clone()).map_err(no)?;
    holds(next.previous == Some(file.digest()), "its successor does not name it")
}

pub(super) fn note(bytes: &[u8]) -> Judged {
    let note = Note::parse(bytes).map_err(no)?;
    let text = note.unverified_text();
    holds(bytes.starts_with(text.as_bytes()), "its text is not what it begins with")?;
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        holds(text.starts_with(&checkpoint.text()), "the checkpoint is not what stands there")?;
    }
    note.verify(&[signer()?.verifier()]).map(drop).map_err(no)
}

pub(super) fn event(bytes: &[u8]) -> Judged {
    let event: Event = format::json::read(bytes).map_err(no)?;
    holds(format::json::write(&event).is_ok_and(|text| text == bytes), "it is written otherwise than it was read")
}

pub(super) fn json(bytes: &[u8]) -> Judged {
    let raw = format::json::parse(bytes).map_err(no)?;
    let canonical = format::json::canonical(raw, Numbers::Verbatim).map_err(no)?;
    let again = format::json::parse(&canonical).and_then(|raw| format::json::canonical(raw, Numbers::Verbatim));
    holds(again.is_ok_and(|text| text == canonical), "its canonical form is not canonical")?;
    if let Ok(value) = format::json::read::<Value>(bytes) {
        holds(canonical == bytes, "it passes for canonical, and is not")?;
        holds(format::json::write(&value).is_ok_and(|text| text == bytes), "it is written otherwise than read")?;
    }
    let _ = fingerprint(raw);
    Ok(())
}

pub(super) fn capture(bytes: &[u8]) -> Judged {
    let found = capture::unpack(&format::in_a_frame(bytes)).map_err(no)?;
    holds(found.blob.len() <= BLOB_MAX, "its blob is larger than the limit")?;
    let _ = Source::of(&found);
    let packed = capture::pack(&found).map_err(|_| super::Not::Broken("it can be read and not written"))?;
    let again = capture::unpack(&packed).map_err(|_| super::Not::Broken("what was written cannot be read"))?;
    holds(again.blob == found.blob, "written again it has another blob")?;
    holds(capture::pack(&again).is_ok_and(|bytes| *bytes == *packed), "the same capture gives other bytes")
}

pub(super) fn vault_settings(bytes: &[u8]) -> Judged {
    let frame = format::in_a_frame(bytes);
    let found = settings::unpack(&frame).map_err(no)?;
    holds(settings::recognise(&frame), "it is not recognised")?;
    let packed = settings::pack(&found).map_err(|_| super::Not::Broken("it can be read and not written"))?;
    let again = settings::unpack(&packed).map_err(|_| super::Not::Broken("what was written cannot be read"))?;
    let same = settings::fingerprint(&again).ok() == settings::fingerprint(&found).ok();
    holds(same, "written again it has another fingerprint")
}

pub(super) fn sealed(bytes: &[u8]) -> Judged {
    let identities = Identities::parse(Path::new("FILE"), IDENTITY.as_bytes(), Arc::new(NoPrompt)).map_err(no)?;
    let opened = identities.open(bytes).map_err(no)?;
    holds(opened.len() < bytes.len(), "it holds more than it has")
}

pub(super) fn backup_header(bytes: &[u8]) -> Judged {
    let header = BlobHeader::parse(bytes).ok_or_else(|| no("it has no known shape"))?;
    holds(header.magic.bytes().all(|byte| byte.is_ascii_graphic()), "its magic is no word")
}

pub(super) fn plan(bytes: &[u8]) -> Judged {
    let plan = Plan::parse(bytes).map_err(no)?;
    let text = serde_json::to_vec(&plan).map_err(no)?;
    holds(Plan::parse(&text).is_ok_and(|again| again == plan), "written again it is another plan")
}

pub(super) fn report(bytes: &[u8]) -> Judged {
    let signer = signer()?;
    let report = Record::open(bytes, &[signer.verifier()]).map_err(no)?;
    let again = report.sign(&signer).and_then(|text| Record::open(&text, &[signer.verifier()]));
    holds(again.is_ok_and(|again| again == report), "signed again it is another report")
}
