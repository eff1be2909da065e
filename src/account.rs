//! Accounts: how an identifier is compared, and what makes a name or an address acceptable.

use caseless::Caseless as _;
use unicode_normalization::UnicodeNormalization as _;

/// Longest identifier that is looked up, in bytes.
pub const MAX_IDENTIFIER: usize = 320;

/// The form in which identifiers are compared: NFKC, case-folded, NFKC again (Unicode 3.13, toNFKC_Casefold without
/// the default-ignorables), surrounding white space removed. `None` when it is empty or longer than
/// [`MAX_IDENTIFIER`] bytes.
pub fn fold(identifier: &str) -> Option<String> {
    if identifier.len() > MAX_IDENTIFIER {
        return None;
    }
    let folded: String = identifier.trim().nfkc().default_case_fold().nfkc().collect();
    (!folded.is_empty() && folded.len() <= MAX_IDENTIFIER).then_some(folded)
}

/// Why a name or an address cannot be an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentifier {
    /// Empty, too long, or with control characters, spaces or `@`.
    #[error("a name is 1 to 320 bytes without spaces, control characters and `@`")]
    Name,
    /// Not of the form local@domain.
    #[error("an e-mail address has the form local@domain, without spaces")]
    Email,
}

/// Folds a name; a name has no `@`, so that no name can pass for somebody's address.
///
/// # Errors
/// [`BadIdentifier::Name`].
pub fn fold_name(name: &str) -> Result<String, BadIdentifier> {
    let plain = !name.chars().any(unseen);
    let folded = fold(name).ok_or(BadIdentifier::Name)?;
    if plain && !folded.contains('@') { Ok(folded) } else { Err(BadIdentifier::Name) }
}

/// White space, controls, and characters that show nothing or turn the text around them (Unicode's
/// Default_Ignorable_Code_Point and bidirectional controls): two names that look alike must not be two.
fn unseen(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Folds an e-mail address.
///
/// # Errors
/// [`BadIdentifier::Email`].
pub fn fold_email(email: &str) -> Result<String, BadIdentifier> {
    let plain = !email.chars().any(unseen);
    let folded = fold(email).ok_or(BadIdentifier::Email)?;
    let shaped = folded
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if plain && shaped { Ok(folded) } else { Err(BadIdentifier::Email) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_fold_to_one() {
        for same in ["Alice", "ALICE", " alice ", "ａｌｉｃｅ"] {
            assert_eq!(fold(same).as_deref(), Some("alice"), "{same}");
        }
        assert_eq!(fold("Straße"), fold("STRASSE"));
        assert_ne!(fold("alice"), fold("alicе"), "a Cyrillic e is another letter");
    }

    #[test]
    fn a_name_cannot_pass_for_an_address() {
        assert_eq!(fold_name("bob@example.org"), Err(BadIdentifier::Name));
        assert_eq!(fold_name("bob＠example.org"), Err(BadIdentifier::Name));
        assert_eq!(fold_name("bo\u{200b}b"), Err(BadIdentifier::Name), "nobody sees the difference from bob");
        assert_eq!(fold_name("\u{202e}bob"), Err(BadIdentifier::Name));
        assert!(fold_email("bob@example.org").is_ok());
        for bad in ["bob", "@example.org", "bob@", "a@b@c", "a b@c"] {
            assert_eq!(fold_email(bad), Err(BadIdentifier::Email), "{bad}");
        }
    }

    #[test]
    fn an_overlong_or_empty_identifier_is_none() {
        assert_eq!(fold(""), None);
        assert_eq!(fold("   "), None);
        assert_eq!(fold(&"a".repeat(MAX_IDENTIFIER + 1)), None);
        assert_eq!(fold(&"\u{FDFA}".repeat(100)), None, "NFKC makes this one longer");
    }
}
