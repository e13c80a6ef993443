//! A pattern for objects, `KIND/NAME` with wildcards: `key/payments-*`, `*/tls-*`.

use std::fmt;

use super::glob::Glob;
use super::object::{Kind, Object};

/// A pattern for objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    kind: Option<Kind>,
    name: Glob,
}

impl Pattern {
    /// Parses `KIND/PATTERN`, where the kind may be `*`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        let kind = match kind {
            "*" => None,
            kind => Some(Kind::parse(kind)?),
        };
        Some(Pattern { kind, name: Glob::parse(name)? })
    }

    /// Whether it describes an object.
    pub fn matches(&self, object: &Object) -> bool {
        self.kind.is_none_or(|kind| kind == object.kind) && self.name.matches(object.name.as_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.map_or("*", Kind::name), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_kind_and_a_name_with_wildcards() {
        let fits =
            |pattern: &str, object: &str| Pattern::parse(pattern).unwrap().matches(&Object::parse(object).unwrap());
        for (pattern, object) in [("key/tde-*", "key/TDE-1"), ("keys/*", "key/a"), ("*/tls-?", "certificate/tls-1")] {
            assert!(fits(pattern, object), "{pattern} {object}");
        }
        for (pattern, object) in [("key/tde-*", "secret/tde-1"), ("*/tls-?", "key/tls-12")] {
            assert!(!fits(pattern, object), "{pattern} {object}");
        }
        for wrong in ["tde-*", "k*/a", "key/", "key/a/b", "/a", ""] {
            assert_eq!(Pattern::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Pattern::parse("keys/a*").unwrap().to_string(), "key/a*");
    }
}
