//! Text that must not be shown.

use std::{fs, io, path::Path};

use zeroize::{Zeroize, Zeroizing};

/// A secret setting: wiped when dropped, without Debug or Display.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over without copying it; white space at both ends is dropped.
    pub fn new(mut text: String) -> SecretText {
        if text.trim().len() != text.len() {
            let trimmed = text.trim().to_owned();
            text.zeroize();
            text = trimmed;
        }
        SecretText(Zeroizing::new(text))
    }

    /// Reads the file of a `…_file` setting.
    ///
    /// # Errors
    /// What the system says, or invalid data if the file is not UTF-8 or holds nothing but white space.
    pub fn from_file(path: &Path) -> io::Result<SecretText> {
        let secret = SecretText::new(fs::read_to_string(path)?);
        if secret.expose().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
        }
        Ok(secret)
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
