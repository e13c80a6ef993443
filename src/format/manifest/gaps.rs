//! Keeping the header within the limit of a line however much of a vault could not be read. Knows no code but its own.

use super::{Gap, Header};
use crate::format::json;

/// The code of the gap that counts those which the header has no room for.
pub const MORE: &str = "more";

/// Gaps that a header keeps.
const GAPS_MAX: usize = 50;

/// Characters of a gap's detail that a header keeps.
const DETAIL_MAX: usize = 1000;

/// Bytes of canonical JSON that a header spends on gaps: half a line, so that there is room for all else.
const BYTES_MAX: usize = 32 << 10;

impl Header {
    /// What a header may say of so many gaps (docs/FORMAT.md section 5): the first of them, and how many more there are
    /// in a last one with the code [`MORE`]. Decide the snapshot's status before: codes are lost here.
    pub fn cap_gaps(gaps: Vec<Gap>) -> Vec<Gap> {
        let all = gaps.len();
        let mut bytes = 0;
        let mut kept: Vec<Gap> = gaps
            .into_iter()
            .take(GAPS_MAX)
            .map(shorten)
            .take_while(|gap| {
                bytes += json::write(gap).map_or(BYTES_MAX, |text| text.len() + 1);
                bytes <= BYTES_MAX
            })
            .collect();
        if let more @ 1.. = all - kept.len() {
            let detail = format!("{more} more gaps of the vault are not listed here");
            kept.push(Gap { code: MORE.to_owned(), detail });
        }
        kept
    }
}

fn shorten(mut gap: Gap) -> Gap {
    if let Some((end, _)) = gap.detail.char_indices().nth(DETAIL_MAX) {
        gap.detail.truncate(end);
        gap.detail.push('…');
    }
    gap
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(count: usize, detail: &str) -> Vec<Gap> {
        (0..count).map(|n| Gap { code: "malformed-item".into(), detail: format!("{n} {detail}") }).collect()
    }

    #[test]
    fn few_gaps_stay_as_they_are() {
        assert_eq!(Header::cap_gaps(Vec::new()), []);
        assert_eq!(Header::cap_gaps(gaps(50, "no id")), gaps(50, "no id"));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let capped = Header::cap_gaps(gaps(120, "no id"));
        assert_eq!(capped[..50], gaps(50, "no id"));
        assert_eq!(
            capped[50..],
            [Gap { code: MORE.into(), detail: "70 more gaps of the vault are not listed here".into() }]
        );
    }

    #[test]
    fn the_worst_details_leave_room_in_the_line() {
        // Six bytes of JSON for one of text; four for one character.
        for bad in ["\u{1}", "𐍈", "\"", "x"] {
            let capped = Header::cap_gaps(gaps(60, &bad.repeat(100_000)));
            assert!(json::write(&capped).unwrap().len() < 33 << 10, "{bad:?}");
            assert!(capped.len() > 5, "{bad:?}: {}", capped.len());
            assert!(capped[0].detail.ends_with('…') && capped[0].detail.chars().count() == 1001);
            let more = 60 - (capped.len() - 1);
            assert!(capped.last().unwrap().detail.starts_with(&format!("{more} more")), "{bad:?}");
        }
    }
}
