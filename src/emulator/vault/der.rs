//! The little DER that keys, certificates and PFX files need: writing values, and walking through them. Knows no structure
//! above tag, length and content.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// The explicit context tag 0.
pub(super) const CONTEXT_0: u8 = 0xa0;

/// One value.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | bytes.len() as u8);
        out.extend(bytes);
    }
    out.extend_from_slice(content);
    out
}

/// A value made of values.
pub(super) fn group(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    value(tag, &parts.concat())
}

/// A non-negative integer from its big-endian bytes.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let mut content: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if content.first().is_none_or(|byte| *byte & 0x80 != 0) {
        content.insert(0, 0);
    }
    value(INTEGER, &content)
}

/// Walks through values that follow each other.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// A value that was read.
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// Tag, length and content.
    pub(super) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next value; `None` at the end or where the bytes are no DER.
    pub(super) fn next(&mut self) -> Option<Value<'a>> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, header) = match *first {
            short @ 0..0x80 => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7f);
                if !(1..=4).contains(&count) {
                    return None;
                }
                let length = rest.get(..count)?.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
                (length, 2 + count)
            }
        };
        let end = header.checked_add(length)?;
        let value = Value { tag: *tag, content: self.0.get(header..end)?, whole: self.0.get(..end)? };
        self.0 = self.0.get(end..)?;
        Some(value)
    }

    /// The content of the next value, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|value| value.tag == tag).map(|value| value.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_what_is_cut_cannot() {
        let long = vec![7; 300];
        let written = group(SEQUENCE, &[integer(&[0, 0x80]), value(OCTET_STRING, &long)]);
        let mut outer = Reader(&written);
        let mut inner = Reader(outer.expect(SEQUENCE).unwrap());
        assert_eq!(inner.expect(INTEGER).unwrap(), [0, 0x80]);
        assert_eq!(inner.expect(OCTET_STRING).unwrap(), long);
        assert!(inner.next().is_none());
        assert!(Reader(&written[..written.len() - 1]).next().is_none());
        assert!(Reader(&[0x30, 0x85, 1, 1, 1, 1, 1]).next().is_none());
    }
}
