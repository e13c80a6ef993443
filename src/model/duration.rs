//! Durations as people write them in settings and on the command line: one number, one unit.

use std::time::Duration;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
/// A century: anything longer is a slip of the finger.
const LONGEST: u64 = 36_525 * 86_400;

/// Parses `30d`, `26h`, `90m` or `45s`: a whole number without leading zeros, a unit, nothing else, and more than
/// nothing.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration: write a number and a unit, as in 45s, 90m, 26h or 30d");
    let mut characters = text.chars();
    let unit = characters.next_back().ok_or_else(wrong)?;
    let digits = characters.as_str();
    let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    if digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let total = number.checked_mul(seconds).filter(|total| *total <= LONGEST);
    total.map(Duration::from_secs).ok_or_else(|| format!("{text:?} is longer than a century"))
}

/// The shortest text that [`parse`] reads back; whole seconds.
pub fn render(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, each) = UNITS.into_iter().find(|(_, each)| seconds.is_multiple_of(*each)).unwrap_or(('s', 1));
    format!("{}{unit}", seconds / each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_reads_back() {
        for (text, seconds) in [("45s", 45), ("90m", 5_400), ("26h", 93_600), ("30d", 2_592_000), ("36525d", LONGEST)] {
            assert_eq!(parse(text).unwrap().as_secs(), seconds);
            assert_eq!(render(parse(text).unwrap()), text);
        }
        assert_eq!(render(parse("48h").unwrap()), "2d");
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            "",
            "d",
            "30",
            "0d",
            "05d",
            "+5d",
            "-5d",
            "1.5h",
            "5 d",
            "5D",
            "5w",
            "1h30m",
            "٣d",
            "99999999999999999999d",
        ] {
            let message = parse(wrong).unwrap_err();
            assert!(message.starts_with(&format!("{wrong:?} is not a duration")), "{message}");
        }
        assert_eq!(parse("36526d").unwrap_err(), "\"36526d\" is longer than a century");
    }
}
