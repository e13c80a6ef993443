//! A part of all captures: N runs with the parts 1 to N read every capture once, whatever is added meanwhile.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Digest;

/// The most parts.
const PARTS_MAX: u32 = 1000;

/// Part K of N. A capture is in the part that the digest of its path says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subset {
    part: u32,
    of: u32,
}

impl Subset {
    /// All captures.
    pub const ALL: Subset = Subset { part: 1, of: 1 };

    /// Whether the capture at `path` is in it.
    pub fn contains(self, path: &str) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = Digest::of(path.as_bytes()).0;
        self.of == 1 || u64::from_be_bytes([a, b, c, d, e, f, g, h]) % u64::from(self.of) + 1 == u64::from(self.part)
    }
}

impl fmt::Display for Subset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

impl From<Subset> for String {
    fn from(subset: Subset) -> String {
        subset.to_string()
    }
}

impl TryFrom<String> for Subset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| number.to_string() == text);
        let parts = text.split_once('/').and_then(|(part, of)| Some((number(part)?, number(of)?)));
        match parts {
            Some((part, of)) if (1..=of).contains(&part) && of <= PARTS_MAX => Ok(Subset { part, of }),
            _ => Err(format!("{text:?} is not K/N, such as 3/7: from 1/N to N/N, of at most {PARTS_MAX} parts")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subset(text: &str) -> Result<Subset, String> {
        Subset::try_from(text.to_owned())
    }

    #[test]
    fn every_path_is_in_one_part_of_each_number_of_parts() {
        for of in [1, 2, 7, 31] {
            let parts: Vec<Subset> = (1..=of).map(|part| subset(&format!("{part}/{of}")).unwrap()).collect();
            let mut sizes = vec![0; parts.len()];
            for number in 0..2000 {
                let path = format!("vaults/v/captures/key/k{number}");
                let found: Vec<usize> = (0..parts.len()).filter(|part| parts[*part].contains(&path)).collect();
                assert_eq!(found.len(), 1, "{path}");
                sizes[found[0]] += 1;
            }
            assert!(sizes.iter().all(|size| *size > 2000 / of as usize / 2), "{sizes:?}");
        }
    }

    #[test]
    fn the_part_of_a_path_never_changes() {
        assert!(subset("3/7").unwrap().contains("vaults/prod.vault.azure.net/captures/key/k"));
    }

    #[test]
    fn it_has_one_spelling() {
        assert_eq!(subset("3/7").unwrap().to_string(), "3/7");
        assert_eq!(subset("1/1").unwrap(), Subset::ALL);
        for wrong in ["", "3", "0/7", "8/7", "03/7", "+3/7", "3/0", "1/1001", "3/7/1", "3 / 7"] {
            assert!(subset(wrong).is_err(), "{wrong:?}");
        }
    }
}
