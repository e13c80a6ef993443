//! Tags of legal holds on a whole container: the name under which one hold is put on and lifted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of one legal hold: 3 to 23 lower-case letters and digits.
///
/// Azure takes capitals too, and makes them lower case (Microsoft's reference, Blob Containers - Set Legal Hold): two
/// spellings are one tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HoldTag(String);

impl HoldTag {
    /// Parses a tag as a person writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (3..=23).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| HoldTag(text.to_ascii_lowercase()))
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HoldTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<HoldTag> for String {
    fn from(tag: HoldTag) -> String {
        tag.0
    }
}

impl TryFrom<String> for HoldTag {
    type Error = &'static str;

    /// What was written down has one spelling.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match HoldTag::parse(&text) {
            Some(tag) if tag.0 == text => Ok(tag),
            _ => Err("a tag is 3 to 23 lower-case letters and digits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_are_one_tag_and_one_is_written_down() {
        assert_eq!(HoldTag::parse("Case7"), HoldTag::parse("case7"));
        assert_eq!(serde_json::to_string(&HoldTag::parse("Case7").unwrap()).unwrap(), "\"case7\"");
        assert!(serde_json::from_str::<HoldTag>("\"case7\"").is_ok());
        assert!(serde_json::from_str::<HoldTag>("\"Case7\"").is_err());
        for wrong in ["", "ab", "case 7", "case-7", "größe", &"a".repeat(24)] {
            assert_eq!(HoldTag::parse(wrong), None, "{wrong}");
        }
    }
}
