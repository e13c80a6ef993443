//! Paths in a store: relative, plain ASCII, no dot segments. What this type lets through is safe as a blob name, as a
//! file name and in a terminal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A path of one or more segments joined by `/`; each has 1 to 255 characters of `A-Z a-z 0-9 . _ -`, none is `.` or
/// `..`, and the whole has at most 1,024 characters (the limit of a blob name).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

impl StorePath {
    /// Parses a path.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let segment = |s: &str| (1..=255).contains(&s.len()) && s != "." && s != ".." && s.bytes().all(plain);
        (text.len() <= 1024 && text.split('/').all(segment)).then(|| StorePath(text.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for StorePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        StorePath::parse(&text).ok_or_else(|| format!("{text:?} is not a store path"))
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> String {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_paths() {
        assert!(StorePath::parse("vaults/v.vault.azure.net/log/0000000001").is_some());
        for wrong in ["", "/", "/a", "a/", "a//b", ".", "a/../b", "a/./b", "a b", "a\\b", "ä", "a\n", &"a".repeat(256)]
        {
            assert!(StorePath::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
