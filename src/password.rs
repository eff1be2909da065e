//! Passwords: what may be chosen, how they are hashed, and how hashes from elsewhere are taken over.
//!
//! [`Hasher`] owns the threads that hash; nothing else runs there, and no hash is computed anywhere else.
//! A stored hash is a PHC string (or bcrypt's crypt string), which the caller keeps sealed.

mod calibrate;
mod common;
pub mod imported;
mod kernel;
mod memory;
mod phc;
mod pool;
mod queue;
mod settings;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

pub use calibrate::{CalibrateRefused, Proposal, calibrate};
pub use pool::{HashError, Hasher, Verdict, Work};
pub use settings::{HashSettings, StartRefused};

/// The longest password that is taken, in bytes as typed.
pub const MOST_BYTES: usize = 1024;

/// The longest normal form, in bytes: some characters grow elevenfold.
const MOST_NORMAL_BYTES: usize = 4096;

/// A password, wiped from memory when dropped.
///
/// Its normal form is NFKC (NIST SP 800-63B-4 §3.1.1.2); hashes made elsewhere are tried on the bytes as typed, too.
/// There is no way to print it:
///
/// ```compile_fail
/// let password = keyward::password::Password::new("correct horse battery").unwrap();
/// println!("{password:?}");
/// ```
pub struct Password {
    normal: Zeroizing<String>,
    /// Only if it differs from the normal form.
    typed: Option<Zeroizing<Vec<u8>>>,
}

impl Password {
    /// Takes a password as typed, whatever the policy says of it: old passwords must still be verifiable.
    ///
    /// # Errors
    /// [`PasswordRefused::Empty`], or [`PasswordRefused::TooLong`] above [`MOST_BYTES`].
    pub fn new(typed: &str) -> Result<Password, PasswordRefused> {
        if typed.is_empty() {
            return Err(PasswordRefused::Empty);
        }
        if typed.len() > MOST_BYTES {
            return Err(PasswordRefused::TooLong);
        }
        let normal = normal_form(typed).ok_or(PasswordRefused::TooLong)?;
        let differs = normal.as_str() != typed;
        Ok(Password { normal, typed: differs.then(|| Zeroizing::new(typed.as_bytes().to_vec())) })
    }

    /// What is hashed in place of a password that cannot be one, so that the same work is done; it matches nothing
    /// that a caller lets count.
    pub fn stand_in() -> Password {
        Password { normal: Zeroizing::new(" ".to_owned()), typed: None }
    }

    /// Characters in the normal form.
    pub fn length(&self) -> usize {
        self.normal.chars().count()
    }

    fn normal(&self) -> &[u8] {
        self.normal.as_bytes()
    }

    fn typed(&self) -> Option<&[u8]> {
        self.typed.as_ref().map(|bytes| bytes.as_slice())
    }

    fn bytes_held(&self) -> u64 {
        (self.normal.capacity() + self.typed().map_or(0, <[u8]>::len)) as u64
    }
}

/// What a new password must satisfy; there are no rules about its composition (NIST SP 800-63B-4 §3.1.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The least number of characters.
    pub min_length: usize,
}

impl Policy {
    /// Checks a new password; `identifiers` are the names of the account that it must not equal.
    ///
    /// # Errors
    /// The first reason to refuse it.
    pub fn check(&self, password: &Password, identifiers: &[&str]) -> Result<(), PasswordRefused> {
        if password.length() < self.min_length {
            return Err(PasswordRefused::TooShort { minimum: self.min_length });
        }
        let folded = fold(&password.normal);
        if common::is_common(&folded) {
            return Err(PasswordRefused::Common);
        }
        let same = |name: &&str| fold(&name.nfkc().collect::<String>()) == folded;
        if identifiers.iter().any(same) {
            return Err(PasswordRefused::Identifier);
        }
        Ok(())
    }
}

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// Nothing was typed.
    #[error("the password is empty")]
    Empty,
    /// Fewer characters than the policy asks for.
    #[error("the password is too short: at least {minimum} characters are needed")]
    TooShort {
        /// The least number of characters.
        minimum: usize,
    },
    /// More than [`MOST_BYTES`].
    #[error("the password is too long: at most 1024 bytes are taken")]
    TooLong,
    /// On the embedded list.
    #[error("the password is one of those that are guessed first")]
    Common,
    /// The account's name or e-mail address.
    #[error("the password is the same as the account's name or e-mail address")]
    Identifier,
}

/// NFKC, or nothing if it is too long. The room is taken at once: a string that grows leaves copies behind.
fn normal_form(typed: &str) -> Option<Zeroizing<String>> {
    let room = MOST_NORMAL_BYTES.min(typed.len().saturating_mul(11));
    let mut normal = Zeroizing::new(String::with_capacity(room));
    for character in typed.nfkc() {
        if normal.len() + character.len_utf8() > room {
            return None;
        }
        normal.push(character);
    }
    Some(normal)
}

/// Full case folding; one character becomes at most three times as long.
fn fold(normal: &str) -> Zeroizing<String> {
    let mut folded = Zeroizing::new(String::with_capacity(normal.len().saturating_mul(3)));
    folded.extend(normal.chars().default_case_fold());
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { min_length: 8 };

    fn judge(typed: &str, identifiers: &[&str]) -> Result<(), PasswordRefused> {
        POLICY.check(&Password::new(typed)?, identifiers)
    }

    #[test]
    fn ligatures_and_full_width_letters_are_the_plain_letters() {
        for (typed, plain) in [("o\u{fb01}ce", "ofice"), ("\u{ff30}\u{ff41}\u{ff53}\u{ff53}", "Pass")] {
            let password = Password::new(typed).unwrap();
            assert_eq!(password.normal(), plain.as_bytes());
            assert_eq!(password.typed(), Some(typed.as_bytes()));
        }
        assert!(Password::new("plain").unwrap().typed().is_none());
    }

    #[test]
    fn a_password_is_neither_empty_nor_endless() {
        assert_eq!(Password::new("").err(), Some(PasswordRefused::Empty));
        assert!(Password::new(&"x".repeat(1024)).is_ok());
        assert_eq!(Password::new(&"x".repeat(1025)).err(), Some(PasswordRefused::TooLong));
        // One character of three bytes becomes eighteen characters of thirty-three.
        assert!(Password::new(&"\u{fdfa}".repeat(124)).is_ok());
        assert_eq!(Password::new(&"\u{fdfa}".repeat(125)).err(), Some(PasswordRefused::TooLong));
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(judge("ééééééé", &[]), Err(PasswordRefused::TooShort { minimum: 8 }));
        assert_eq!(judge("éééééééé", &[]), Ok(()));
    }

    #[test]
    fn a_common_password_is_refused_in_any_case_and_width() {
        for typed in ["password1", "PassWord1", "\u{ff50}assword1"] {
            assert_eq!(judge(typed, &[]), Err(PasswordRefused::Common), "{typed}");
        }
        assert_eq!(judge("correct horse battery staple", &[]), Ok(()));
    }

    #[test]
    fn the_accounts_own_name_is_refused_in_any_case() {
        let names = ["straße.müller", "mueller@example.com"];
        assert_eq!(judge("STRASSE.MÜLLER", &names), Err(PasswordRefused::Identifier));
        assert_eq!(judge("Mueller@Example.com", &names), Err(PasswordRefused::Identifier));
        assert_eq!(judge("mueller@example.org", &names), Ok(()));
    }

    #[test]
    fn nothing_about_composition_is_asked() {
        assert_eq!(judge("aaaa bbbb cccc", &[]), Ok(()));
    }
}
