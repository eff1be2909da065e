//! Scopes: what a token allows (RFC 6749 §3.3).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_SCOPE_TOKEN_BYTES, MAX_SCOPE_TOKENS};

/// A set of scope tokens, kept and shown in byte order, written as one space-separated string.
///
/// At most 64 tokens of 1–128 bytes each. The empty string is the empty set; repeated tokens count once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scopes(BTreeSet<String>);

/// A string is not a list of scope tokens separated by single spaces, or it exceeds the limits of [`Scopes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of at most 64 scope tokens separated by single spaces")]
pub struct InvalidScope;

impl Scopes {
    /// Parses scope tokens separated by single spaces.
    ///
    /// # Errors
    /// Characters outside RFC 6749's `scope-token`, empty tokens (so also leading, trailing and double spaces), or
    /// more or longer tokens than allowed.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        if text.is_empty() { Ok(Self::default()) } else { Self::from_tokens(text.split(' ')) }
    }

    /// Collects single tokens.
    ///
    /// # Errors
    /// As [`Scopes::parse`].
    pub fn from_tokens<T: AsRef<str>>(tokens: impl IntoIterator<Item = T>) -> Result<Self, InvalidScope> {
        let mut set = BTreeSet::new();
        for token in tokens {
            let token = token.as_ref();
            if !is_token(token) || (set.len() == MAX_SCOPE_TOKENS && !set.contains(token)) {
                return Err(InvalidScope);
            }
            set.insert(token.to_owned());
        }
        Ok(Self(set))
    }

    /// Whether exactly this token is in the set.
    pub fn contains(&self, token: &str) -> bool {
        self.0.contains(token)
    }

    /// Whether every token of this set is in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The tokens that both sets hold.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The tokens in byte order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, token) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

impl FromStr for Scopes {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Scopes {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        Self::parse(&text)
    }
}

impl From<Scopes> for String {
    fn from(scopes: Scopes) -> Self {
        scopes.to_string()
    }
}

fn is_token(token: &str) -> bool {
    (1..=MAX_SCOPE_TOKEN_BYTES).contains(&token.len())
        && token.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_do_not_matter() {
        let scopes = Scopes::parse("write read write").unwrap();
        assert_eq!(scopes.to_string(), "read write");
        assert_eq!(scopes, Scopes::parse("read write").unwrap());
        assert_eq!(serde_json::to_string(&scopes).unwrap(), r#""read write""#);
    }

    #[test]
    fn matching_is_exact() {
        let scopes = Scopes::parse("notadmin admin2 orders:read").unwrap();
        assert!(!scopes.contains("admin") && !scopes.contains("") && !scopes.contains("orders:read admin2"));
        assert!(scopes.contains("orders:read"));
    }

    #[test]
    fn only_scope_tokens_and_single_spaces_pass() {
        for bad in [" ", "a  b", " a", "a ", "a\tb", "a\nb", "a\"b", "a\\b", "ä", "a\0"] {
            assert_eq!(Scopes::parse(bad), Err(InvalidScope), "{bad:?}");
        }
        assert!(Scopes::parse("").unwrap().is_empty());
    }

    #[test]
    fn number_and_length_are_bounded() {
        let many = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(Scopes::from_tokens(many(64)).unwrap().len(), 64);
        assert!(Scopes::from_tokens(many(65)).is_err());
        assert!(Scopes::parse(&"a".repeat(128)).is_ok());
        assert!(Scopes::parse(&"a".repeat(129)).is_err());
    }

    #[test]
    fn an_intersection_holds_what_both_hold() {
        let (a, b) = (Scopes::parse("a b c").unwrap(), Scopes::parse("b c d").unwrap());
        assert_eq!(a.intersection(&b).to_string(), "b c");
        assert!(a.intersection(&b).is_subset(&a) && !a.is_subset(&b));
    }
}
