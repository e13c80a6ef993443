//! The rules that a manifest keeps (docs/FORMAT.md section 5, rules 1 to 9), line by line: the writer is held to them
//! before it writes, the reader while it reads. Keeps counts and the names of certificates, and no line.

use std::cmp::Ordering;

use super::{CaptureRef, Counts, FORMAT, Header, Line, State, Status};
use crate::format::paths::ArchivePath;
use crate::format::{Error, Fault};
use crate::model::{Kind, Name, Object, VaultUri, unhex};

impl Line {
    /// The object.
    pub fn object(&self) -> Object {
        Object::new(self.kind, self.name.clone())
    }

    /// The key by which lines ascend: kind, name whatever its case, deleted last.
    pub fn order(&self) -> (Kind, &Name, bool) {
        (self.kind, &self.name, self.state == State::Deleted)
    }
}

impl Counts {
    /// The counts of these lines.
    pub fn of<'l>(lines: impl IntoIterator<Item = &'l Line>) -> Self {
        let mut counts = Counts::default();
        lines.into_iter().for_each(|line| counts.add(line));
        counts
    }

    /// Counts one more line.
    pub fn add(&mut self, line: &Line) {
        let (one, live) = match (line.state, &line.gap, &line.capture) {
            (State::Managed, ..) => (&mut self.managed, false),
            (State::Deleted, ..) => (&mut self.deleted, false),
            (State::Excluded, ..) => (&mut self.excluded, false),
            (State::Live, None, Some(capture)) if capture.reused => (&mut self.reused, true),
            (State::Live, None, Some(_)) => (&mut self.captured, true),
            // The earlier capture that may stand beside a gap is not this snapshot's merit.
            (State::Live, ..) => (&mut self.gaps, true),
        };
        *one += 1;
        self.seen += u64::from(live);
    }
}

/// Looks at a manifest once, from its header to its last line.
pub(super) struct Checker {
    vault: VaultUri,
    counts: Counts,
    last: Option<(Kind, Name, bool)>,
    /// Live certificates. They come before all keys and secrets, in order.
    certificates: Vec<Name>,
    lines: u64,
}

impl Checker {
    /// Begins with the header. What it says of the lines is looked at in the end.
    pub(super) fn new(header: &Header) -> Result<Self, Error> {
        if header.format != FORMAT {
            return Err(Error::new(Fault::UnknownFormat, format!("the format is not {FORMAT:?}")).at("line 0"));
        }
        check_settings(header).map_err(|error| error.at("line 0: settings"))?;
        let vault = header.vault.clone();
        Ok(Checker { vault, counts: Counts::default(), last: None, certificates: Vec::new(), lines: 0 })
    }

    /// The next line.
    pub(super) fn line(&mut self, line: &Line) -> Result<(), Error> {
        self.lines += 1;
        let place = |error: Error| error.at(format!("line {}: {}/{}", self.lines, line.kind, line.name));
        self.follows(line).map_err(place)?;
        check_line(line, &self.certificates).map_err(place)?;
        if let Some(capture) = &line.capture {
            check_capture(line, capture, &self.vault).map_err(place)?;
        }
        if (line.kind, line.state) == (Kind::Certificate, State::Live) {
            self.certificates.push(line.name.clone());
        }
        self.counts.add(line);
        self.last = Some((line.kind, line.name.clone(), line.state == State::Deleted));
        Ok(())
    }

    fn follows(&self, line: &Line) -> Result<(), Error> {
        let Some((kind, name, deleted)) = &self.last else { return Ok(()) };
        let fault = match (*kind, name, *deleted).cmp(&line.order()) {
            Ordering::Less => return Ok(()),
            Ordering::Equal => Fault::DuplicateObject,
            Ordering::Greater => Fault::Unordered,
        };
        Err(Error::new(fault, "it does not follow the line before it"))
    }

    /// Compares what the header says of the lines.
    pub(super) fn finish(self, header: &Header) -> Result<(), Error> {
        let bad = |what: String| Err(Error::new(Fault::BadCounts, what).at("line 0"));
        if header.counts != self.counts {
            return bad(format!("the header counts {:?}, the lines give {:?}", header.counts, self.counts));
        }
        if header.status == Status::Complete && self.counts.gaps > 0 {
            return bad(format!("called complete with {} gaps", self.counts.gaps));
        }
        Ok(())
    }
}

fn check_settings(header: &Header) -> Result<(), Error> {
    let bad = |what: &str| Err(Error::new(Fault::BadLine, what));
    let (reference, fingerprint) = match (&header.settings, &header.settings_fingerprint) {
        (None, None) => return Ok(()),
        (Some(reference), Some(fingerprint)) => (reference, fingerprint),
        _ => return bad("a capture and a fingerprint come together"),
    };
    if reference.kid.is_some() {
        return bad("Azure wraps no settings with a key");
    }
    check_md5(reference)?;
    match ArchivePath::parse(&reference.path) {
        Some(ArchivePath::Settings { vault, captured_at, fingerprint12 })
            if vault == header.vault
                && captured_at.timestamp() == reference.captured_at.timestamp()
                && fingerprint12 == fingerprint.short() =>
        {
            Ok(())
        }
        _ => Err(wrong_path(reference)),
    }
}

fn check_line(line: &Line, certificates: &[Name]) -> Result<(), Error> {
    let bad = |what: &str| Err(Error::new(Fault::BadLine, what));
    if unhex(&line.salt).is_none_or(|salt| salt.len() != 16) {
        return Err(Error::new(Fault::BadSalt, "the salt is not 16 bytes in hexadecimal"));
    }
    if line.purge_at.is_some() && line.state != State::Deleted {
        return bad("only a deleted object will be purged");
    }
    match (line.state, &line.capture, &line.gap) {
        (State::Live, None, None) => bad("a live object has a capture or a gap"),
        (State::Live, Some(capture), Some(_)) if !capture.reused => bad("the capture beside a gap is an earlier one"),
        (State::Live, ..) => Ok(()),
        (State::Managed, None, None) if line.kind == Kind::Certificate => bad("nobody manages a certificate"),
        (State::Managed, None, None) if certificates.binary_search(&line.name).is_err() => {
            bad("a managed object's certificate is not among the live lines")
        }
        (State::Managed | State::Excluded, None, None) => Ok(()),
        (State::Managed | State::Excluded, ..) => {
            bad("only a live object that is captured itself has a capture or a gap")
        }
        (State::Deleted, _, Some(_)) => bad("a deleted object has no gap"),
        (State::Deleted, Some(capture), None) if !capture.reused => bad("a deleted object's capture is an earlier one"),
        (State::Deleted, _, None) => Ok(()),
    }
}

fn check_capture(line: &Line, reference: &CaptureRef, vault: &VaultUri) -> Result<(), Error> {
    check_md5(reference)?;
    let Some(ArchivePath::Capture { vault: of, object, captured_at, fingerprint12 }) =
        ArchivePath::parse(&reference.path)
    else {
        return Err(wrong_path(reference));
    };
    // A deleted object's list item is another than that by which it was captured.
    let by_item = line.state != State::Live || fingerprint12 == line.fingerprint.short();
    let by_time = captured_at.timestamp() == reference.captured_at.timestamp();
    let ours = of == *vault && object == line.object();
    (ours && by_time && by_item).then_some(()).ok_or_else(|| wrong_path(reference))
}

fn check_md5(reference: &CaptureRef) -> Result<(), Error> {
    let whole = unhex(&reference.md5).is_some_and(|md5| md5.len() == 16);
    whole.then_some(()).ok_or_else(|| Error::new(Fault::BadLine, "the MD5 is not 16 bytes in hexadecimal"))
}

fn wrong_path(reference: &CaptureRef) -> Error {
    Error::new(Fault::BadPath, format!("{} is not the path of this capture", reference.path))
}
