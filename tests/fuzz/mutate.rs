//! Damage: what storage, networks, editors and attackers do to bytes. Seeded, so that a failure comes again.

use akv_archiver::ambient::{Random as _, SeededRandom};

/// Words that parsers stumble over.
const WORDS: &[&[u8]] = &[
    b"9223372036854775807",
    b"18446744073709551616",
    b"-0",
    b"1e999",
    b"0.1",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\n\n",
    b"\x00",
    b"\x1b[2J",
    b"../",
    b"/etc/passwd",
    b"%2e%2e",
    b"https://evil.example",
    b"AGE-SECRET-KEY-1",
    b"PRIVATE+KEY+",
    b"]]>",
    b"<!DOCTYPE x [<!ENTITY a \"b\">]>",
    b"&a;",
    b"'",
    b"\"",
    b"0001-01-01T00:00:00Z",
    b"9999-12-31T23:59:60Z",
    b"253402300800",
    b"-62135596801",
    b"\xe2\x80\xae",
];

/// No mutant is longer, in bytes: parsers are held to their limits by tests of their own.
const LONGEST: usize = 64 << 10;

/// Makes mutants of seeds.
pub(super) struct Mutator<'a> {
    random: SeededRandom,
    seeds: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    pub(super) fn new(seed: u64, seeds: &'a [Vec<u8>]) -> Self {
        Mutator { random: SeededRandom::new(seed), seeds }
    }

    fn below(&mut self, limit: usize) -> usize {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % limit.max(1) as u64) as usize
    }

    /// A place in it and, from there, a length.
    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let from = self.below(bytes.len() + 1);
        let most = [4, 64, bytes.len()][self.below(3)];
        from..(from + self.below(most + 1)).min(bytes.len())
    }

    /// The next mutant: one to four kinds of damage to a seed.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.seeds[self.below(self.seeds.len())].clone();
        for _ in 0..=self.below(4) {
            self.damage(&mut bytes);
        }
        bytes.truncate(LONGEST);
        bytes
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let range = self.range(bytes);
        match self.below(10) {
            0 | 1 if range.start < bytes.len() => bytes[range.start] ^= 1 << self.below(8),
            2 if range.start < bytes.len() => bytes[range.start] = self.below(256) as u8,
            3 => bytes.truncate(range.start),
            4 => drop(bytes.drain(range)),
            5 => {
                let word = WORDS[self.below(WORDS.len())];
                bytes.splice(range.start..range.start, word.iter().copied());
            }
            6 => {
                let word = WORDS[self.below(WORDS.len())];
                bytes.splice(range, word.iter().copied());
            }
            7 => {
                // The same again, up to 300 times: nesting, repeated members, long words.
                let times = [1, 2, 40, 300][self.below(4)];
                let piece = bytes[range.clone()].repeat(times);
                bytes.splice(range.end..range.end, piece.into_iter().take(LONGEST));
            }
            8 => {
                let other = self.seeds[self.below(self.seeds.len())].clone();
                let from = self.range(&other);
                bytes.splice(range, other[from].iter().copied());
            }
            _ => self.renumber(bytes, range.start),
        }
    }

    /// Puts another number where the next one stands.
    fn renumber(&mut self, bytes: &mut Vec<u8>, from: usize) {
        let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
        let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = ["0", "1", "00", "-1", "2147483648", "9007199254740992", "99999999999999999999"][self.below(7)];
        bytes.splice(start..start + length, number.bytes());
    }
}
