//! Patterns for names of objects and vaults: `*` for any run of characters, `?` for one. Case does not matter, since it
//! does not in Azure's names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A pattern for names: letters, digits, `-`, `.` and `_`, and the wildcards `*` and `?`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String);

impl Glob {
    /// Parses a pattern of 1 to 256 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'*' | b'?');
        ((1..=256).contains(&text.len()) && text.bytes().all(fits)).then(|| Glob(text.to_owned()))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern describes all of `name`.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where to go on when what followed the last star does not fit: one character later.
        let mut again = None;
        loop {
            match (pattern.get(p), name.get(n)) {
                (Some(b'*'), _) => {
                    again = Some((p + 1, n));
                    p += 1;
                }
                (Some(one), Some(other)) if *one == b'?' || one.eq_ignore_ascii_case(other) => {
                    (p, n) = (p + 1, n + 1);
                }
                (None, None) => return true,
                _ => match again {
                    Some((after_star, from)) if from < name.len() => {
                        again = Some((after_star, from + 1));
                        (p, n) = (after_star, from + 1);
                    }
                    _ => return false,
                },
            }
        }
    }

    /// Whether every name that `other` describes is surely described by this pattern too. May be false where it is so:
    /// two patterns that say the same in different ways.
    pub fn covers(&self, other: &Glob) -> bool {
        // Read as a name, `other` has wildcards among its characters. Our `*` may swallow them; our `?` stands for one
        // character, and may not stand for a `*`.
        let same = self.0.eq_ignore_ascii_case(&other.0);
        same || (self.matches(&other.0) && !(self.0.contains('?') && other.0.contains('*')))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Glob::parse(&text).ok_or_else(|| {
            format!("{text:?} is no pattern: letters, digits, `-`, `.`, `_`, and the wildcards `*` and `?`")
        })
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> String {
        glob.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_pattern_describes_the_whole_name_whatever_its_case() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "anything"),
            ("tde-*", "TDE-protector"),
            ("*-key", "a-key-key"),
            ("a?c", "abc"),
            ("*a*b*", "xxaxxbxx"),
            ("prod", "PROD"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("tde", "tde-protector"), ("a?c", "ac"), ("?", ""), ("*x", "xy"), ("a*b", "acbd")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        for wrong in ["", "a b", "a/b", "[ab]", "ä"] {
            assert_eq!(Glob::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pattern_covers_narrower_ones() {
        let covers = |one: &str, other: &str| Glob::parse(one).unwrap().covers(&Glob::parse(other).unwrap());
        for (one, other) in [("*", "?"), ("a*", "AB*c"), ("a?c", "abc"), ("a?", "A?"), ("a?*", "a?*")] {
            assert!(covers(one, other), "{one} {other}");
        }
        for (one, other) in [("a*", "*"), ("a?", "a*"), ("abc", "a?c"), ("a", "b")] {
            assert!(!covers(one, other), "{one} {other}");
        }
    }

    #[test]
    fn many_stars_take_no_long_time() {
        assert!(!matches(&format!("{}c", "a*".repeat(120)), &"a".repeat(127)));
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_with_any_part_replaced_by_a_star(name in "[a-z-]{0,20}", from: prop::sample::Index, to: prop::sample::Index) {
            let (from, to) = (from.index(name.len() + 1), to.index(name.len() + 1));
            let (from, to) = (from.min(to), from.max(to));
            let pattern = format!("{}*{}", &name[..from], &name[to..]);
            prop_assert!(matches(&pattern, &name));
        }

        #[test]
        fn what_a_covered_pattern_describes_the_other_describes(one in "[ab*?]{1,5}", other in "[ab*?]{1,5}", name in "[ab]{0,6}") {
            let (one, other) = (Glob::parse(&one).unwrap(), Glob::parse(&other).unwrap());
            prop_assert!(!(one.covers(&other) && other.matches(&name)) || one.matches(&name));
        }
    }
}
