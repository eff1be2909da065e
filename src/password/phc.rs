//! Stored hashes: reading and writing them, and trying passwords on them in constant time.

use std::num::NonZeroU32;

use argon2::password_hash::phc::{ParamsString, PasswordHash};
use argon2::{Algorithm, Params, Version};
use aws_lc_rs::constant_time;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};
use base64::engine::{DecodePaddingMode, Engine as _};
use zeroize::Zeroizing;

use super::Password;
use super::kernel::{Arena, Recipe, Sha2, Unhashable};

/// bcrypt's own alphabet; its spare bits are not always zero in the wild.
const CRYPT64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// A stored hash: what to compute, and what must come out.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) recipe: Recipe,
    pub(super) salt: Vec<u8>,
    pub(super) output: Zeroizing<Vec<u8>>,
}

/// What a password turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Normal,
    Typed,
}

impl Stored {
    /// Reads a PHC string of Argon2, scrypt or PBKDF2, or a crypt string of bcrypt.
    pub(super) fn parse(text: &str) -> Option<Stored> {
        if text.starts_with("$2") { bcrypt_string(text) } else { phc_string(text) }
    }

    /// Tries the normal form and, if it differs, the bytes as typed; `count` is told before each.
    pub(super) fn find(
        &self,
        password: &Password,
        arena: &mut Arena,
        mut count: impl FnMut(&Recipe),
    ) -> Result<Found, Unhashable> {
        let tries = [(Some(password.normal()), Found::Normal), (password.typed(), Found::Typed)];
        for (bytes, found) in tries {
            let Some(bytes) = bytes else { continue };
            count(&self.recipe);
            let mut out = Zeroizing::new(vec![0; self.output.len()]);
            self.recipe.compute(bytes, &self.salt, arena, &mut out)?;
            if constant_time::verify_slices_are_equal(&out, &self.output).is_ok() {
                return Ok(found);
            }
        }
        Ok(Found::Nothing)
    }

    /// The PHC string, if it is Argon2.
    pub(super) fn argon2_string(&self) -> Option<Zeroizing<String>> {
        let Recipe::Argon2 { variant, version, memory_kib, iterations, parallelism } = self.recipe else {
            return None;
        };
        let mut text = Zeroizing::new(String::with_capacity(192));
        text.push_str(&format!(
            "${}$v={}$m={memory_kib},t={iterations},p={parallelism}$",
            variant.as_str(),
            u32::from(version)
        ));
        STANDARD_NO_PAD.encode_string(&self.salt, &mut text);
        text.push('$');
        STANDARD_NO_PAD.encode_string(self.output.as_slice(), &mut text);
        Some(text)
    }
}

fn phc_string(text: &str) -> Option<Stored> {
    let hash = PasswordHash::new(text).ok()?;
    let params = &hash.params;
    let recipe = match hash.algorithm.as_str() {
        name @ ("argon2d" | "argon2i" | "argon2id") => {
            only(params, &["m", "t", "p"])?;
            let recipe = Recipe::Argon2 {
                variant: Algorithm::new(name).ok()?,
                // Strings without a version are older than version 1.3.
                version: Version::try_from(hash.version.unwrap_or(0x10)).ok()?,
                memory_kib: params.get_decimal("m")?,
                iterations: params.get_decimal("t")?,
                parallelism: params.get_decimal("p")?,
            };
            let Recipe::Argon2 { memory_kib, iterations, parallelism, .. } = recipe else { return None };
            Params::new(memory_kib, iterations, parallelism, None).ok()?;
            recipe
        }
        "scrypt" => {
            only(params, &["ln", "r", "p"])?;
            let (log_n, r, p) =
                (params.get_decimal("ln")?, params.get_decimal("r")?, params.get_decimal("p")?);
            // Far above every cap; it keeps the products below from overflowing.
            if !(1..=32).contains(&log_n) || !(1..=4096).contains(&r) || !(1..=4096).contains(&p) {
                return None;
            }
            Recipe::Scrypt { log_n: u8::try_from(log_n).ok()?, r, p }
        }
        name @ ("pbkdf2-sha256" | "pbkdf2-sha512") => {
            only(params, &["i", "l"])?;
            let length = params.get_decimal("l").and_then(|length| usize::try_from(length).ok());
            if length.is_some_and(|length| hash.hash.as_ref().is_none_or(|output| output.len() != length)) {
                return None;
            }
            let digest = if name == "pbkdf2-sha256" { Sha2::Sha256 } else { Sha2::Sha512 };
            Recipe::Pbkdf2 { digest, iterations: NonZeroU32::new(params.get_decimal("i")?)? }
        }
        _ => return None,
    };
    if hash.version.is_some() && !matches!(recipe, Recipe::Argon2 { .. }) {
        return None;
    }
    let output = Zeroizing::new(hash.hash?.as_bytes().to_vec());
    Some(Stored { recipe, salt: hash.salt?.to_vec(), output })
}

/// Each parameter is one of `names` and stands there once.
fn only(params: &ParamsString, names: &[&str]) -> Option<()> {
    let known = names.iter().filter(|name| params.get(**name).is_some()).count();
    (params.iter().count() == known).then_some(())
}

fn bcrypt_string(text: &str) -> Option<Stored> {
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let (cost, rest) = rest.split_once('$')?;
    if cost.len() != 2 || !cost.bytes().all(|digit| digit.is_ascii_digit()) || rest.len() != 53 {
        return None;
    }
    let cost = cost.parse().ok().filter(|cost| (4..=31).contains(cost))?;
    let (salt, output) = rest.split_at_checked(22)?;
    Some(Stored {
        recipe: Recipe::Bcrypt { cost },
        salt: CRYPT64.decode(salt).ok()?,
        output: Zeroizing::new(CRYPT64.decode(output).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fixtures of `correct horse battery` were made with Python's hashlib, bcrypt 5.0 and argon2-cffi;
    /// the others are public: RFC 7914 §12, RFC 9106 §5.3, and Openwall's crypt_blowfish.
    const PASSWORD: &str = "correct horse battery";

    fn found(text: &str, password: &str) -> Found {
        let stored = Stored::parse(text).unwrap_or_else(|| panic!("{text} is not read"));
        let password = Password::new(password).unwrap();
        stored.find(&password, &mut Arena::new(64).unwrap(), |_| ()).unwrap()
    }

    #[test]
    fn hashes_of_other_programs_are_understood() {
        for text in [
            "$2a$05$abcdefghijklmnopqrstuuD3mHdCr44zlIZ.VZCaYRpfQhXMYnEo.",
            "$2b$05$abcdefghijklmnopqrstuuD3mHdCr44zlIZ.VZCaYRpfQhXMYnEo.",
            "$2y$05$abcdefghijklmnopqrstuuD3mHdCr44zlIZ.VZCaYRpfQhXMYnEo.",
            "$scrypt$ln=10,r=8,p=1$c2l4dGVlbiBieXRlIHNhbA$AO+Qn5rf3loI0GlsiozAlajzHQhpTjOgtExeRkJ1ihg",
            "$pbkdf2-sha256$i=1000$c2l4dGVlbiBieXRlIHNhbA$0jCG77B+ZMarPZ0V/nWfStkDmRe8fKHXTfJqIn8NMVU",
            "$pbkdf2-sha512$i=1000$c2l4dGVlbiBieXRlIHNhbA$rU4+LXNnfyZTFoCA/lyqwAI23FwQPXA1J8WUvWKIN0asda65BYVS3ajgw8RORUx2kWMyEjgepCG1IEmnGuv2Yg",
            "$argon2d$v=19$m=64,t=2,p=1$c2l4dGVlbiBieXRlIHNhbA$I91prPVtmEy5nNsoD3yJnyc5mLywO1QP4oc85A6zrtQ",
            "$argon2i$v=19$m=64,t=2,p=1$c2l4dGVlbiBieXRlIHNhbA$bdB/OSdVwSw6FALfWGjMe8XDvi/EJcfxiCcGbXXIhM8",
            "$argon2id$v=19$m=64,t=2,p=1$c2l4dGVlbiBieXRlIHNhbA$NmO+n/UPVHutR5xOdjKtwOJtmdtnlAbzLNDoCWL/SjU",
            "$argon2id$v=19$m=256,t=1,p=4$c2l4dGVlbiBieXRlIHNhbA$D4XQUPQlHxDuVZQ91TeBkg",
            "$argon2i$v=16$m=64,t=2,p=1$c2l4dGVlbiBieXRlIHNhbA$mvflMX6xgRoI7i6iNnDcBfj91Sh8P3LF865hWqEg+Co",
            "$argon2i$m=64,t=2,p=1$c2l4dGVlbiBieXRlIHNhbA$mvflMX6xgRoI7i6iNnDcBfj91Sh8P3LF865hWqEg+Co",
        ] {
            assert_eq!(found(text, PASSWORD), Found::Normal, "{text}");
            assert_eq!(found(text, "Correct horse battery"), Found::Nothing, "{text}");
        }
    }

    #[test]
    fn public_vectors_hold() {
        assert_eq!(
            found("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            Found::Normal
        );
        let mut out = [0; 64];
        let recipe = Recipe::Scrypt { log_n: 10, r: 8, p: 16 };
        recipe.compute(b"password", b"NaCl", &mut Arena::new(0).unwrap(), &mut out).unwrap();
        assert_eq!(out[..8], [0xfd, 0xba, 0xbe, 0x1c, 0x9d, 0x34, 0x72, 0x00]);
    }

    #[test]
    fn bcrypt_sees_seventy_two_bytes() {
        let long = "x".repeat(80);
        let mut out = vec![0; 23];
        let recipe = Recipe::Bcrypt { cost: 4 };
        recipe.compute(long.as_bytes(), &[7; 16], &mut Arena::new(0).unwrap(), &mut out).unwrap();
        let stored = Stored { recipe, salt: vec![7; 16], output: Zeroizing::new(out) };
        for (length, expected) in [(72, Found::Normal), (71, Found::Nothing), (73, Found::Normal)] {
            let password = Password::new(&"x".repeat(length)).unwrap();
            assert_eq!(stored.find(&password, &mut Arena::new(0).unwrap(), |_| ()).unwrap(), expected);
        }
    }

    #[test]
    fn a_foreign_hash_of_unnormalised_bytes_is_found() {
        let text = "$2b$04$abcdefghijklmnopqrstuu1FCE1PYrQexL.D0XhigrzP.TbH34oGC";
        assert_eq!(found(text, "o\u{fb03}ce hours"), Found::Typed);
        assert_eq!(found(text, "office hours"), Found::Nothing);
    }

    #[test]
    fn a_written_hash_is_read_again() {
        let text =
            "$argon2id$v=19$m=64,t=2,p=1$c2l4dGVlbiBieXRlIHNhbA$NmO+n/UPVHutR5xOdjKtwOJtmdtnlAbzLNDoCWL/SjU";
        assert_eq!(Stored::parse(text).unwrap().argon2_string().unwrap().as_str(), text);
    }

    #[test]
    fn nothing_that_is_parsed_panics() {
        let seed = "$argon2id$v=19$m=64,t=2,p=1,m=64$c2l4dGVlbiBieXRlIHNhbA$NmO+n/UPVHutR5xOdjKtwOJtmdtnlAbzLNDoCWL/SjU";
        for at in 0..seed.len() {
            for with in ["", "$", "=", ",", "é", "9999999999999999999", "\0"] {
                let _ = Stored::parse(&format!("{}{with}{}", &seed[..at], &seed[at + 1..]));
                let _ = Stored::parse(&seed[..at]);
            }
        }
    }
}
