//! Durations such as `10s` and sizes such as `64MiB`, read exactly and written the same way.

use std::time::Duration;

/// The longest duration that a setting takes: 3650 days.
pub(super) const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a whole number followed by `ms`, `s`, `m`, `h` or `d`; none above 3650 days.
pub fn duration(text: &str) -> Option<Duration> {
    scaled(text, &TIMES).map(Duration::from_millis).filter(|duration| *duration <= LONGEST)
}

/// Reads a whole number followed by `B`, `KiB`, `MiB` or `GiB`, as bytes.
pub fn size(text: &str) -> Option<u64> {
    scaled(text, &SIZES)
}

/// Writes a duration in the largest unit that leaves a whole number; fractions of a millisecond are dropped.
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIMES, "0s")
}

/// Writes a number of bytes in the largest unit that leaves a whole number.
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES, "0B")
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

fn show(amount: u64, units: &[(&str, u64)], zero: &str) -> String {
    match units.iter().find(|(_, scale)| amount.is_multiple_of(*scale)) {
        Some((unit, scale)) if amount > 0 => format!("{}{unit}", amount / scale),
        _ => zero.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_exactly() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_whole_number_and_a_unit_is_no_duration() {
        for text in [
            "",
            "s",
            "10",
            " 10s",
            "10 s",
            "-1s",
            "+1s",
            "1.5h",
            "1h30m",
            "10S",
            "3651d",
            "99999999999999999999d",
            "１s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(duration("3650d"), Some(LONGEST));
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("1B"), Some(1));
        for text in ["64MB", "64", "64mib", "18446744073709551615GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0..=315_360_000_000u64, bytes: u64) {
            let shown = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(shown)), Some(shown));
            prop_assert_eq!(size(&show_size(bytes)), Some(bytes));
        }
    }
}
