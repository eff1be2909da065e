//! The embedded list of passwords that are guessed first.

/// Sorted by bytes, one entry a line, a newline after each; where it comes from stands in `common-passwords.md`.
const LIST: &str = include_str!("common-passwords.txt");

/// Whether the folded text is on the list.
pub(super) fn is_common(folded: &str) -> bool {
    let wanted = folded.as_bytes();
    let list = LIST.as_bytes();
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = list[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        let end = list[middle..].iter().position(|byte| *byte == b'\n').map_or(list.len(), |at| middle + at);
        match list[start..end].cmp(wanted) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_folded_and_without_short_entries() {
        let lines: Vec<&str> = LIST.lines().collect();
        assert!(lines.len() > 10_000);
        assert!(lines.windows(2).all(|pair| pair[0].as_bytes() < pair[1].as_bytes()));
        assert!(lines.iter().all(|line| line.chars().count() >= 8 && line.to_lowercase() == **line));
    }

    #[test]
    fn every_entry_is_found_and_its_neighbours_are_not() {
        for line in LIST.lines() {
            assert!(is_common(line), "{line}");
            assert!(!is_common(&format!("{line}\u{1}")));
        }
        for absent in
            ["", "\n", "a", "~~~~~~~~~~~~~~~~~~", "correct horse battery staple", "password\nprincess"]
        {
            assert!(!is_common(absent), "{absent:?}");
        }
    }
}
