//! The rules that a manifest's lines keep (docs/FORMAT.md section 5, rules 1 to 7). The writer is held to them before
//! it writes, the reader after it has read.

use std::collections::HashSet;

use super::{Counts, FORMAT, Header, Line, Manifest, State, Status};
use crate::format::paths::ArchivePath;
use crate::format::{Error, Fault};
use crate::model::{Kind, Name, VaultUri, unhex};

impl Line {
    /// The key by which lines ascend: kind, name whatever its case, live or managed before deleted.
    pub fn order(&self) -> (Kind, &Name, bool) {
        (self.kind, &self.name, self.state == State::Deleted)
    }
}

impl Counts {
    /// The counts of these lines.
    pub fn of(lines: &[Line]) -> Self {
        let mut counts = Counts::default();
        for line in lines {
            match (line.state, &line.capture) {
                (State::Managed, _) => counts.managed += 1,
                (State::Deleted, _) => counts.deleted += 1,
                (State::Live, Some(capture)) if capture.reused => counts.reused += 1,
                (State::Live, Some(_)) => counts.captured += 1,
                (State::Live, None) => counts.gaps += 1,
            }
        }
        counts.seen = counts.captured + counts.reused + counts.gaps;
        counts
    }
}

/// Refuses a manifest that breaks a rule.
pub(super) fn check(manifest: &Manifest) -> Result<(), Error> {
    let Manifest { header, lines } = manifest;
    check_header(header, lines)?;
    for (number, (one, next)) in lines.iter().zip(lines.iter().skip(1)).enumerate() {
        let fault = match one.order().cmp(&next.order()) {
            std::cmp::Ordering::Less => continue,
            std::cmp::Ordering::Equal => Fault::DuplicateObject,
            std::cmp::Ordering::Greater => Fault::Unordered,
        };
        let detail = format!("line {}: {}/{} does not follow the line before it", number + 2, next.kind, next.name);
        return Err(Error::new(fault, detail));
    }
    let live = lines.iter().filter(|line| line.kind == Kind::Certificate && line.state == State::Live);
    let certificates: HashSet<&Name> = live.map(|line| &line.name).collect();
    for (number, line) in lines.iter().enumerate() {
        check_line(line, &header.vault, &certificates)
            .map_err(|error| error.at(format!("line {}: {}/{}", number + 1, line.kind, line.name)))?;
    }
    Ok(())
}

fn check_header(header: &Header, lines: &[Line]) -> Result<(), Error> {
    if header.format != FORMAT {
        return Err(Error::new(Fault::UnknownFormat, format!("the format is not {FORMAT:?}")).at("line 0"));
    }
    let counts = Counts::of(lines);
    if header.counts != counts {
        let detail = format!("line 0: the header counts {:?}, the lines give {counts:?}", header.counts);
        return Err(Error::new(Fault::BadCounts, detail));
    }
    if header.status == Status::Complete && counts.gaps > 0 {
        return Err(Error::new(Fault::BadCounts, format!("line 0: called complete with {} gaps", counts.gaps)));
    }
    Ok(())
}

fn check_line(line: &Line, vault: &VaultUri, certificates: &HashSet<&Name>) -> Result<(), Error> {
    let bad = |what: &str| Err(Error::new(Fault::BadLine, what));
    if unhex(&line.salt).is_none_or(|salt| salt.len() != 16) {
        return Err(Error::new(Fault::BadSalt, "the salt is not 16 bytes in hexadecimal"));
    }
    match line.state {
        State::Live if line.capture.is_some() == line.gap.is_some() => {
            return bad("a live object has either a capture or a gap");
        }
        State::Managed if line.capture.is_some() || line.gap.is_some() || line.kind == Kind::Certificate => {
            return bad("only a key or a secret is managed, and it has neither capture nor gap");
        }
        State::Managed if !certificates.contains(&line.name) => {
            return bad("a managed object's certificate is not among the live lines");
        }
        State::Deleted if line.gap.is_some() || line.capture.as_ref().is_some_and(|capture| !capture.reused) => {
            return bad("a deleted object has no gap, and no capture but an earlier one");
        }
        State::Live | State::Managed if line.purge_at.is_some() => {
            return bad("only a deleted object will be purged");
        }
        _ => {}
    }
    let Some(capture) = &line.capture else { return Ok(()) };
    if unhex(&capture.md5).is_none_or(|md5| md5.len() != 16) {
        return bad("the MD5 is not 16 bytes in hexadecimal");
    }
    match ArchivePath::parse(&capture.path) {
        Some(ArchivePath::Capture { vault: of, object, captured_at, .. })
            if of == *vault
                && object.kind == line.kind
                && object.name == line.name
                && captured_at.timestamp() == capture.captured_at.timestamp() =>
        {
            Ok(())
        }
        _ => Err(Error::new(Fault::BadPath, format!("{} is not the path of this capture", capture.path))),
    }
}
