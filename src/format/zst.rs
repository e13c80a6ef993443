//! The one place that compresses and decompresses: a single zstd frame of declared size, bounded before anything is
//! allocated. Whole for captures, whose buffers are wiped; line by line for manifests, which hold no secret.

use std::io::{BufRead, BufReader, Read, Write};

use zeroize::Zeroizing;
use zstd::stream::{read, write};
use zstd::zstd_safe;

use super::{Error, Fault};

/// zstd's own default: captures hardly compress, and manifests do at any level.
const LEVEL: i32 = 3;

/// What a frame begins with.
pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The bit of the byte behind it that says: the window is the whole content.
const SINGLE_SEGMENT: u8 = 0x20;

/// The largest window that a frame which is read piece by piece may need: what RFC 8878 asks every decoder to support.
const WINDOW_MAX: u64 = 8 << 20;

/// One frame that declares its size.
pub(super) fn compress(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    zstd::bulk::compress(bytes, LEVEL).map_err(|error| failed(&error))
}

/// The content of exactly one frame, at most `limit` bytes. Never grows its buffer, so that no copy is left behind.
pub(super) fn decompress(frame: &[u8], limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let size = declared(frame, limit)?;
    let mut content = Zeroizing::new(Vec::with_capacity(size));
    let written = zstd::bulk::Decompressor::new().and_then(|mut zstd| zstd.decompress_to_buffer(frame, &mut *content));
    let written = written.map_err(|_| bad("the zstd frame is damaged"))?;
    (written == size).then_some(content).ok_or_else(|| bad("the zstd frame does not hold what it declares"))
}

/// How much exactly one frame declares to hold, at most `limit` bytes.
fn declared(frame: &[u8], limit: usize) -> Result<usize, Error> {
    // Skippable frames and those of zstd's early versions begin otherwise, and are read by the same library.
    if !frame.starts_with(&MAGIC) {
        return Err(bad("not a zstd frame"));
    }
    let declared = zstd_safe::get_frame_content_size(frame).map_err(|_| bad("not a zstd frame"))?;
    let declared = declared.ok_or_else(|| bad("the zstd frame does not declare its size"))?;
    let size = usize::try_from(declared)
        .ok()
        .filter(|size| *size <= limit)
        .ok_or_else(|| Error::new(Fault::TooLarge, format!("decompresses to {declared} bytes, more than {limit}")))?;
    match zstd_safe::find_frame_compressed_size(frame) {
        Ok(length) if length == frame.len() => Ok(size),
        Ok(length) => Err(bad(&format!("bytes follow the zstd frame, which ends at byte {length}"))),
        Err(_) => Err(bad("the zstd frame is cut short or damaged")),
    }
}

/// How much of its content a frame may refer back to (RFC 8878 section 3.1.1.1): what must be kept to decompress it
/// piece by piece.
fn window(frame: &[u8], content: usize) -> Option<u64> {
    let descriptor = *frame.get(MAGIC.len())?;
    if descriptor & SINGLE_SEGMENT != 0 {
        return Some(content as u64);
    }
    let window = *frame.get(MAGIC.len() + 1)?;
    let base = 1_u64 << (10 + (window >> 3));
    Some(base + (base >> 3) * u64::from(window & 7))
}

/// One frame that declares its size, made of lines.
pub(super) struct Writer(write::Encoder<'static, Vec<u8>>);

impl Writer {
    /// A frame that will hold exactly `size` bytes, and is expected to have at most `limit` itself.
    ///
    /// All the space that it may need is set aside at once. What is not written to is not resident, whereas a buffer that
    /// grows leaves one of half its size behind each time, in a heap that cannot give it back.
    pub(super) fn new(size: usize, limit: usize) -> Result<Self, Error> {
        let space = Vec::with_capacity(zstd_safe::compress_bound(size).min(limit));
        let encoder = write::Encoder::new(space, LEVEL).and_then(|mut encoder| {
            encoder.set_pledged_src_size(Some(size as u64))?;
            Ok(encoder)
        });
        encoder.map(Writer).map_err(|error| failed(&error))
    }

    /// Appends a line and its newline.
    pub(super) fn line(&mut self, text: &[u8]) -> Result<(), Error> {
        let Writer(encoder) = self;
        encoder.write_all(text).and_then(|()| encoder.write_all(b"\n")).map_err(|error| failed(&error))
    }

    /// The frame. Fails unless as much was written as was said.
    pub(super) fn finish(self) -> Result<Vec<u8>, Error> {
        self.0.finish().map_err(|error| failed(&error))
    }
}

/// The content of exactly one frame, line by line. Keeps a window and one line.
pub(super) struct Reader<'a> {
    content: BufReader<read::Decoder<'static, &'a [u8]>>,
    line: Vec<u8>,
    left: usize,
}

impl<'a> Reader<'a> {
    /// Looks at the frame, which must declare at most `limit` bytes, and decompresses nothing yet.
    pub(super) fn new(frame: &'a [u8], limit: usize) -> Result<Self, Error> {
        let left = declared(frame, limit)?;
        if window(frame, left).is_none_or(|window| window > WINDOW_MAX) {
            return Err(bad(&format!("the zstd frame needs a window of more than {WINDOW_MAX} bytes")));
        }
        let decoder = read::Decoder::with_buffer(frame).map_err(|error| failed(&error))?.single_frame();
        Ok(Reader { content: BufReader::new(decoder), line: Vec::new(), left })
    }

    /// The next line without its newline, at most `limit` bytes; `None` after the last one.
    pub(super) fn line(&mut self, limit: usize) -> Result<Option<&[u8]>, Error> {
        let layout = |what: &str| Error::new(Fault::ManifestLayout, what);
        self.line.clear();
        let most = (limit as u64).saturating_add(1);
        let read = self.content.by_ref().take(most).read_until(b'\n', &mut self.line);
        let read = read.map_err(|_| bad("the zstd frame is damaged"))?;
        let differs = || bad("the zstd frame does not hold what it declares");
        self.left = self.left.checked_sub(read).ok_or_else(differs)?;
        match self.line.strip_suffix(b"\n") {
            Some([]) => Err(layout("the line is empty")),
            Some(text) => Ok(Some(text)),
            None if self.line.len() > limit => Err(Error::new(Fault::TooLarge, format!("more than {limit} bytes"))),
            None if self.left > 0 => Err(differs()),
            None if self.line.is_empty() => Ok(None),
            None => Err(layout("the last line has no newline")),
        }
    }
}

fn bad(what: &str) -> Error {
    Error::new(Fault::BadZstd, what)
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(Fault::BadZstd, format!("zstd failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(frame: &[u8], limit: usize) -> Fault {
        decompress(frame, limit).unwrap_err().fault
    }

    #[test]
    fn only_one_whole_frame_of_declared_size_is_opened() {
        let frame = compress(&[7; 1000]).unwrap();
        assert_eq!(decompress(&frame, 1000).unwrap().as_slice(), [7; 1000]);
        assert_eq!(fault(&frame, 999), Fault::TooLarge);
        assert_eq!(fault(&[], 10), Fault::BadZstd);
        assert_eq!(fault(b"plain text", 10), Fault::BadZstd);
        assert_eq!(fault(&frame[..frame.len() - 1], 1000), Fault::BadZstd);
        assert_eq!(fault(&[frame.as_slice(), b"x"].concat(), 1000), Fault::BadZstd);
        assert_eq!(fault(&[frame.clone(), frame.clone()].concat(), 2000), Fault::BadZstd);
        // A stream of unknown length, as `zstd` writes it from a pipe.
        let streamed = zstd::stream::encode_all([7_u8; 1000].as_slice(), 3).unwrap();
        assert_eq!(fault(&streamed, 1000), Fault::BadZstd);
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        let bomb = compress(&vec![0; 50_000_000]).unwrap();
        assert!(bomb.len() < 5_000);
        assert_eq!(fault(&bomb, 1_000_000), Fault::TooLarge);
    }

    fn lines(frame: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let read = || {
            let mut reader = Reader::new(frame, 1 << 20)?;
            let mut lines = Vec::new();
            while let Some(line) = reader.line(limit)? {
                lines.push(line.to_vec());
            }
            Ok(lines)
        };
        read().map_err(|error: Error| error.fault)
    }

    #[test]
    fn a_frame_can_be_written_and_read_line_by_line() {
        let texts: Vec<Vec<u8>> = (0..5000).map(|n| format!("line {n}").into_bytes()).collect();
        let whole: Vec<u8> = texts.iter().flat_map(|text| [text.as_slice(), b"\n"].concat()).collect();
        let mut writer = Writer::new(whole.len(), usize::MAX).unwrap();
        texts.iter().for_each(|text| writer.line(text).unwrap());
        let frame = writer.finish().unwrap();
        assert_eq!(frame, compress(&whole).unwrap(), "the same frame as in one piece");
        assert_eq!(lines(&frame, 9).unwrap(), texts);
        assert_eq!(lines(&frame, 8), Err(Fault::TooLarge));
        assert_eq!(lines(&compress(b"a\nb").unwrap(), 1), Err(Fault::ManifestLayout));
        assert_eq!(lines(&compress(b"a\n\nb\n").unwrap(), 1), Err(Fault::ManifestLayout));
        assert_eq!(lines(&compress(b"").unwrap(), 1), Ok(Vec::new()));
        for size in [whole.len() - 1, whole.len() + 1] {
            let mut writer = Writer::new(size, 0).unwrap();
            let written = texts.iter().try_for_each(|text| writer.line(text)).and_then(|()| writer.finish());
            assert_eq!(written.unwrap_err().fault, Fault::BadZstd, "{size} bytes were promised");
        }
    }

    #[test]
    fn the_window_is_told_from_the_frame() {
        // Two megabytes from level 3, whatever the content; a single segment where the content is smaller.
        for (size, want) in [(1000, 1000), (3 << 20, 2 << 20)] {
            let frame = compress(&vec![b'\n'; size]).unwrap();
            assert_eq!(window(&frame, size), Some(want));
        }
        assert_eq!(window(&[0, 0, 0, 0, 0, 0b1011], 0), Some((1 << 11) + (3 << 8)), "RFC 8878 section 3.1.1.1.2");
        assert_eq!(window(&[0, 0, 0, 0, 0, 0xff], 0), Some((1 << 41) + (7 << 38)));
        assert_eq!(window(&MAGIC, 0), None);
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_other_bytes_but_never_a_panic(content: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            let mut frame = compress(&content).unwrap();
            prop_assert_eq!(&*decompress(&frame, 1 << 20).unwrap(), &content);
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
            let _ = decompress(&frame, 1 << 20);
            let _ = decompress(&content, 1 << 20);
            let _ = lines(&frame, 1 << 10);
            let _ = lines(&content, 1 << 10);
        }
    }
}
