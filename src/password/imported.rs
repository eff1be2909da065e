//! Hashes made elsewhere: which are taken over, and what they may cost.
//!
//! bcrypt (`$2a$`, `$2b$`, `$2y$`), and PHC strings of scrypt (`$scrypt$ln=…`), PBKDF2 (`$pbkdf2-sha256$i=…`, sha512) and
//! Argon2i, d and id. They are replaced by Argon2id at the first login.

use std::fmt::Display;
use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use super::kernel::Recipe;
use super::phc::Stored;

const BCRYPT_COST: RangeInclusive<u32> = 4..=14;
/// Bytes: 128·N·r.
const SCRYPT_MEMORY: RangeInclusive<u64> = 1 << 20..=64 << 20;
const SCRYPT_PASSES: RangeInclusive<u32> = 1..=16;
const PBKDF2_ITERATIONS: RangeInclusive<u32> = 1_000..=2_000_000;
/// KiB; the least is what the algorithm itself asks for (RFC 9106 §3.1).
const ARGON2_MEMORY: RangeInclusive<u32> = 8..=256 << 10;
const ARGON2_ITERATIONS: RangeInclusive<u32> = 1..=10;
const ARGON2_LANES: RangeInclusive<u32> = 1..=8;
const LEAST_OUTPUT: usize = 16;

/// A hash from elsewhere that may be stored as it is.
pub struct ForeignHash {
    text: Zeroizing<String>,
    recipe: Recipe,
}

impl ForeignHash {
    /// The string to store, which [`super::Hasher::verify`] reads.
    pub fn into_phc(self) -> Zeroizing<String> {
        self.text
    }

    /// The string to store.
    pub fn phc(&self) -> &str {
        &self.text
    }

    /// The function and its costs, for example `bcrypt cost=12`.
    pub fn label(&self) -> String {
        self.recipe.to_string()
    }
}

/// Why a hash is not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportRefused {
    /// Neither a PHC string nor a crypt string that is known here.
    #[error(
        "this is no password hash that can be imported: bcrypt ($2a$, $2b$, $2y$) or a PHC string of argon2, scrypt, pbkdf2-sha256 or pbkdf2-sha512 is expected"
    )]
    Unknown,
    /// A cost that would let one login hold up the others, or one that protects nothing.
    #[error("{what} is {given}, but only {least} to {most} are taken")]
    OutOfBounds {
        /// Which cost.
        what: &'static str,
        /// What the string says.
        given: u64,
        /// The least that is taken.
        least: u64,
        /// The most that is taken.
        most: u64,
    },
}

/// Reads a hash and checks its costs; nothing is computed.
///
/// # Errors
/// [`ImportRefused`] in a sentence for whoever imports.
pub fn parse(text: &str) -> Result<ForeignHash, ImportRefused> {
    let Stored { recipe, output, .. } = Stored::parse(text).ok_or(ImportRefused::Unknown)?;
    match recipe {
        Recipe::Bcrypt { cost } => within("bcrypt's cost", cost, BCRYPT_COST)?,
        Recipe::Scrypt { p, .. } => {
            within("scrypt's memory in bytes", recipe.scrypt_table(), SCRYPT_MEMORY)?;
            within("scrypt's p", p, SCRYPT_PASSES)?;
        }
        Recipe::Pbkdf2 { iterations, .. } => {
            within("PBKDF2's iterations", iterations.get(), PBKDF2_ITERATIONS)?
        }
        Recipe::Argon2 { memory_kib, iterations, parallelism, .. } => {
            within("Argon2's memory in KiB", memory_kib, ARGON2_MEMORY)?;
            within("Argon2's t", iterations, ARGON2_ITERATIONS)?;
            within("Argon2's p", parallelism, ARGON2_LANES)?;
        }
    }
    within("the hash's length in bytes", output.len() as u64, LEAST_OUTPUT as u64..=64)?;
    Ok(ForeignHash { text: Zeroizing::new(text.to_owned()), recipe })
}

fn within<T: PartialOrd + Copy + Display + Into<u64>>(
    what: &'static str,
    given: T,
    bounds: RangeInclusive<T>,
) -> Result<(), ImportRefused> {
    if bounds.contains(&given) {
        return Ok(());
    }
    let (least, most) = ((*bounds.start()).into(), (*bounds.end()).into());
    Err(ImportRefused::OutOfBounds { what, given: given.into(), least, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "c2l4dGVlbiBieXRlIHNhbA";
    const OUT: &str = "NmO+n/UPVHutR5xOdjKtwOJtmdtnlAbzLNDoCWL/SjU";
    const CRYPT: &str = "abcdefghijklmnopqrstuuD3mHdCr44zlIZ.VZCaYRpfQhXMYnEo.";

    fn refusal(text: &str) -> ImportRefused {
        parse(text).err().unwrap_or_else(|| panic!("{text} was taken"))
    }

    #[test]
    fn costs_at_the_bounds_are_taken() {
        for (costs, label) in [
            ("$scrypt$ln=16,r=8,p=16", "scrypt ln=16 r=8 p=16"),
            ("$scrypt$ln=10,r=8,p=1", "scrypt ln=10 r=8 p=1"),
            ("$pbkdf2-sha256$i=2000000", "pbkdf2-sha256 i=2000000"),
            ("$pbkdf2-sha512$i=1000,l=32", "pbkdf2-sha512 i=1000"),
            ("$argon2id$v=19$m=262144,t=10,p=8", "argon2id m=262144 t=10 p=8"),
            ("$argon2i$m=4096,t=3,p=1", "argon2i m=4096 t=3 p=1 v=16"),
            ("$argon2d$v=19$m=8,t=1,p=1", "argon2d m=8 t=1 p=1"),
        ] {
            let text = format!("{costs}${SALT}${OUT}");
            let hash = parse(&text).map_err(|refused| format!("{text}: {refused}")).unwrap();
            assert_eq!((hash.label().as_str(), hash.phc()), (label, text.as_str()));
        }
        for prefix in ["$2a$04$", "$2b$10$", "$2y$14$"] {
            assert!(parse(&format!("{prefix}{CRYPT}")).is_ok(), "{prefix}");
        }
    }

    #[test]
    fn costs_beyond_the_bounds_are_refused_with_the_numbers() {
        let sentence = refusal(&format!("$2b$15${CRYPT}")).to_string();
        assert_eq!(sentence, "bcrypt's cost is 15, but only 4 to 14 are taken");
        for costs in [
            "$scrypt$ln=17,r=8,p=1",
            "$scrypt$ln=9,r=8,p=1",
            "$scrypt$ln=32,r=4096,p=1",
            "$scrypt$ln=14,r=8,p=17",
            "$pbkdf2-sha256$i=2000001",
            "$pbkdf2-sha512$i=999",
            "$argon2id$v=19$m=262145,t=1,p=1",
            "$argon2id$v=19$m=4294967295,t=4294967295,p=1",
            "$argon2id$v=19$m=4096,t=11,p=1",
            "$argon2id$v=19$m=4096,t=1,p=9",
        ] {
            let refused = refusal(&format!("{costs}${SALT}${OUT}"));
            assert!(matches!(refused, ImportRefused::OutOfBounds { .. }), "{costs}: {refused}");
        }
        let short = refusal(&format!("$argon2id$v=19$m=64,t=1,p=1${SALT}$AAAAAAAAAAAAAAAA"));
        assert!(matches!(short, ImportRefused::OutOfBounds { given: 12, .. }));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in [
            String::new(),
            "$".to_owned(),
            "hunter2".to_owned(),
            format!("$2x$10${CRYPT}"),
            format!("$2b$3${CRYPT}"),
            format!("$2b$+9${CRYPT}"),
            format!("$2b$03${CRYPT}"),
            format!("$2b$10${}", &CRYPT[1..]),
            format!("$2b$10${}é", &CRYPT[2..]),
            format!("$2b$10$ {}", &CRYPT[1..]),
            format!("$argon2id$v=19$m=64,t=1${SALT}${OUT}"),
            format!("$argon2id$v=18$m=64,t=1,p=1${SALT}${OUT}"),
            format!("$argon2id$v=19$m=64,t=1,p=1,data=AAAA${SALT}${OUT}"),
            format!("$argon2id$v=19$m=8,t=1,p=2${SALT}${OUT}"),
            format!("$argon2id$v=19$m=64,t=1,p=1,m=65${SALT}${OUT}"),
            format!("$argon2id$v=19$m=64,t=1,p=1${SALT}"),
            format!("$argon2id$v=19$m=64,t=1,p=1${SALT}${OUT}$"),
            format!("$argon2id$v=19$m=64,t=1,p=1$c2hvcnQ${OUT}"),
            format!("$scrypt$v=1$ln=14,r=8,p=1${SALT}${OUT}"),
            format!("$scrypt$ln=0,r=8,p=1${SALT}${OUT}"),
            format!("$scrypt$ln=14,r=4294967295,p=4294967295${SALT}${OUT}"),
            format!("$pbkdf2-sha256$i=0${SALT}${OUT}"),
            format!("$pbkdf2-sha256$i=1000,l=33${SALT}${OUT}"),
            format!("$pbkdf2-sha1$i=1000${SALT}${OUT}"),
            format!("$md5${SALT}${OUT}"),
        ] {
            assert_eq!(refusal(&text), ImportRefused::Unknown, "{text}");
        }
    }
}
