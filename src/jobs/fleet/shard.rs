//! Which of several processes takes a vault, without any of them talking to another: rendezvous hashing (Thaler and
//! Ravishankar, 1998). Pure.

use crate::error::{Error, Result};
use crate::model::Digest;

/// More processes than anybody runs at once.
const MOST: u32 = 10_000;

/// One share of the vaults: number `index`, from 0, of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// Parses `I/N`, or `/N` with the number that the platform gave this process: `JOB_COMPLETION_INDEX` in an indexed
    /// Kubernetes job.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`].
    pub fn parse(text: &str, completion_index: Option<&str>) -> Result<Self> {
        let wrong = |why: &str| {
            Error::usage(format!("{text:?} is no shard: {why}"))
                .hint("write --shard I/N with I from 0 to N - 1, such as --shard 0/8; or --shard /8 in an indexed job")
        };
        let (index, of) = text.split_once('/').ok_or_else(|| wrong("it has no `/`"))?;
        let of = number(of).filter(|of| (1..=MOST).contains(of));
        let of = of.ok_or_else(|| wrong(&format!("the number of shards is 1 to {MOST}")))?;
        let index = match (index, completion_index) {
            ("", Some(given)) => {
                number(given).ok_or_else(|| wrong(&format!("JOB_COMPLETION_INDEX is {given:?}, which is no number")))?
            }
            ("", None) => return Err(wrong("its own number is left out, and JOB_COMPLETION_INDEX is not set")),
            (index, _) => number(index).ok_or_else(|| wrong("its own number is none"))?,
        };
        match index < of {
            true => Ok(Shard { index, of }),
            false => Err(wrong(&format!("there is no shard {index} among {of}, since they count from 0"))),
        }
    }

    /// Its number, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Whether the vault at `host` belongs to this shard.
    pub fn takes(self, host: &str) -> bool {
        of_host(host, self.of) == self.index
    }
}

/// Digits and nothing else: `+1` and ` 1` are slips.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The shard that takes a vault: of all shard numbers the one whose SHA-256 over `NUMBER/HOST` is highest. One more shard
/// takes its share evenly from all others, and moves no vault between those.
fn of_host(host: &str, of: u32) -> u32 {
    let host = host.to_ascii_lowercase();
    (0..of).max_by_key(|shard| Digest::of(format!("{shard}/{host}").as_bytes())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Vec<String> {
        (0..2_000).map(|n| format!("vault-{n}.vault.azure.net")).collect()
    }

    /// docs/FLEET.md has the same vector, computed with `sha256sum`.
    #[test]
    fn the_documented_vector_holds() {
        let document = include_str!("../../../docs/FLEET.md");
        for (host, of, shard) in [
            ("prod.vault.azure.net", 8, 1),
            ("billing.vault.azure.net", 8, 2),
            ("web.vault.azure.net", 8, 6),
            ("Prod.vault.azure.net", 8, 1),
        ] {
            assert_eq!(of_host(host, of), shard, "{host}");
            if host.starts_with(char::is_lowercase) {
                assert!(document.contains(&format!("| `{host}` | {of} | {shard} |")), "{host} in docs/FLEET.md");
            }
        }
        let highest = (0..8).map(|n| Digest::of(format!("{n}/prod.vault.azure.net").as_bytes()).to_string()).max();
        assert!(document.contains(&highest.unwrap()), "the digest in docs/FLEET.md");
    }

    #[test]
    fn every_vault_belongs_to_exactly_one_shard_and_shards_are_about_equal() {
        for host in hosts() {
            let takers = (0..8).filter(|index| Shard { index: *index, of: 8 }.takes(&host)).count();
            assert_eq!(takers, 1, "{host}");
        }
        for index in 0..8 {
            let taken = hosts().iter().filter(|host| Shard { index, of: 8 }.takes(host)).count();
            assert!((200..=300).contains(&taken), "shard {index} has {taken} of 2000");
        }
    }

    #[test]
    fn one_more_shard_takes_its_share_and_moves_nothing_else() {
        let moved: Vec<(u32, u32)> = hosts()
            .iter()
            .map(|host| (of_host(host, 8), of_host(host, 9)))
            .filter(|(before, after)| before != after)
            .collect();
        assert!(moved.iter().all(|(_, after)| *after == 8));
        assert!((150..=300).contains(&moved.len()), "{} of 2000 moved", moved.len());
    }

    #[test]
    fn a_shard_counts_from_zero_and_may_take_its_number_from_the_job() {
        assert_eq!(Shard::parse("7/8", None).unwrap(), Shard { index: 7, of: 8 });
        assert_eq!(Shard::parse("/8", Some("3")).unwrap(), Shard { index: 3, of: 8 });
        // A number that is given counts.
        assert_eq!(Shard::parse("0/1", Some("3")).unwrap(), Shard { index: 0, of: 1 });
        for (text, index, why) in [
            ("/8", None, "JOB_COMPLETION_INDEX is not set"),
            ("/8", Some("first"), "JOB_COMPLETION_INDEX is \"first\""),
            ("/8", Some("8"), "no shard 8 among 8"),
            ("8/8", None, "no shard 8 among 8"),
            ("3", None, "no `/`"),
            ("0/0", None, "1 to 10000"),
            ("0/99999999999", None, "1 to 10000"),
            ("-1/8", None, "its own number is none"),
            ("+1/8", None, "its own number is none"),
        ] {
            let error = Shard::parse(text, index).unwrap_err();
            assert!(error.message().contains(why), "{text}: {error}");
            assert!(error.hint_text().is_some());
        }
    }
}
