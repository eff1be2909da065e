//! How values appear in sentences and tables: one line, no control characters, no credentials.

const LONGEST: usize = 100;

/// The text on one line, with the user of a URL masked.
pub(super) fn plain(text: &str) -> String {
    let masked = masked(text);
    masked.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// The same, cut to a length that fits a sentence; nothing at all is written as `""`.
pub(super) fn short(text: &str) -> String {
    let plain = plain(text);
    match plain.char_indices().nth(LONGEST) {
        _ if plain.is_empty() => "\"\"".to_owned(),
        Some((end, _)) => format!("{}…", plain.get(..end).unwrap_or_default()),
        None => plain,
    }
}

fn masked(text: &str) -> String {
    let user = |rest: &str| {
        let authority = rest.get(..rest.find(['/', '?', '#']).unwrap_or(rest.len()))?;
        authority.rfind('@')
    };
    match text.split_once("://") {
        Some((scheme, rest)) => match user(rest).and_then(|at| rest.get(at..)) {
            Some(behind) => format!("{scheme}://***{behind}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_line_without_credentials() {
        assert_eq!(short(""), "\"\"");
        assert_eq!(short("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(short("https://me:secret@host/x@y"), "https://***@host/x@y");
        assert_eq!(short(&"é".repeat(200)).chars().count(), LONGEST + 1);
    }
}
