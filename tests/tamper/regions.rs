//! Where the parts of a file begin and end: tokens of JSON, lines of a note, parts of a zstd frame, lines and parts of an
//! age file. Reads bytes by itself, with nothing of the archiver's own parsers.

use std::ops::Range;

use super::archives::Sort;

/// A region, and whether it belongs to the signed note of a log file.
pub(super) struct Region {
    pub(super) bytes: Range<usize>,
    pub(super) note: bool,
}

/// The regions of a file, which together are all of it.
pub(super) fn regions(sort: Sort, bytes: &[u8]) -> Vec<Region> {
    let body = |borders: Vec<usize>| between(&borders, usize::MAX);
    let found = match sort {
        Sort::Archive => body(tokens(bytes)),
        Sort::Log => {
            let line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            let mut borders = tokens(&bytes[..line]);
            borders.push(line + 1);
            borders.push(line + 2);
            borders.extend(note(&bytes[line + 2..]).into_iter().map(|at| line + 2 + at));
            between(&borders, line + 2)
        }
        Sort::Manifest => body(frame(bytes)),
        Sort::Capture | Sort::Settings => body(sealed(bytes)),
    };
    assert_eq!(found.iter().map(|region| region.bytes.len()).sum::<usize>(), bytes.len());
    found
}

fn between(borders: &[usize], note: usize) -> Vec<Region> {
    let mut borders = [&[0], borders].concat();
    borders.dedup();
    borders.windows(2).map(|pair| Region { bytes: pair[0]..pair[1], note: pair[0] >= note }).collect()
}

/// The ends of the tokens of canonical JSON.
fn tokens(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => 2 + bytes[at + 1..].iter().position(|byte| *byte == b'"').unwrap(),
            b'{' | b'}' | b'[' | b']' | b',' | b':' | b'\n' => 1,
            _ => bytes[at..].iter().position(|byte| b",]}\n".contains(byte)).unwrap(),
        };
        ends.push(at);
    }
    ends
}

/// The ends of the lines of a note, and of the parts of a signature.
fn note(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        // A line without its newline, the newline, and in a signature dash, name and what was signed.
        match byte {
            b'\n' => ends.extend([at, at + 1]),
            b' ' => ends.extend([at, at + 1]),
            _ => {}
        }
    }
    ends
}

/// The ends of the parts of one zstd frame: magic, descriptor, sizes, each block's header and content, checksum.
fn frame(bytes: &[u8]) -> Vec<usize> {
    let descriptor = bytes[4];
    let single = descriptor & 0x20 != 0;
    let size = match descriptor >> 6 {
        0 => usize::from(single),
        code => 1 << code,
    };
    let mut at = 5 + usize::from(!single) + size;
    let mut ends = vec![4, 5, at];
    loop {
        let header = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0]);
        let content = if header >> 1 & 3 == 1 { 1 } else { (header >> 3) as usize };
        ends.extend([at + 3, at + 3 + content]);
        at += 3 + content;
        if header & 1 == 1 {
            break;
        }
    }
    if descriptor & 4 != 0 {
        ends.push(at + 4);
    }
    ends
}

/// The ends of the parts of an age file: each line of the header, the nonce, the body, its tag.
fn sealed(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    loop {
        let line = bytes[at..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let last = bytes[at..].starts_with(b"---");
        at += line;
        ends.push(at);
        if last {
            break;
        }
    }
    ends.extend([at + 16, bytes.len() - 16, bytes.len()]);
    ends
}
