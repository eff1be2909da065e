//! Published keys: names, JWK and JWK Set (RFC 7517, RFC 7518 §6.3), thumbprints (RFC 7638).

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::algorithm::{Algorithm, Scheme};
use crate::json;
use crate::limits::MAX_KEY_ID_BYTES;

/// The name of a key: 1–128 visible ASCII characters without quotes or backslash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

/// A string is not 1–128 visible ASCII characters without quotes or backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id has 1 to 128 visible ASCII characters, none of them a quote or backslash")]
pub struct InvalidKeyId;

impl KeyId {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// The name is empty, too long, or has other characters.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyId> {
        Self::try_from(text.to_owned())
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyId;

    fn try_from(text: String) -> Result<Self, InvalidKeyId> {
        let fits = (1..=MAX_KEY_ID_BYTES).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\'));
        if fits && plain { Ok(Self(text)) } else { Err(InvalidKeyId) }
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        Self::parse(text)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

/// A public RSA key as it is published, always `"use":"sig"`; it is written with its members in one order.
///
/// To verify with keys that somebody else published, read them with [`crate::KeySet::parse`], which applies all rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    kty: KeyType,
    /// The modulus, big-endian, base64url.
    pub n: String,
    /// The public exponent, big-endian, base64url.
    pub e: String,
    /// The key's name.
    pub kid: KeyId,
    #[serde(rename = "use")]
    key_use: KeyUse,
    /// The only algorithm that the key serves, one of those for RSA keys.
    #[serde(deserialize_with = "rsa_algorithm")]
    pub alg: Algorithm,
}

impl Jwk {
    /// Describes a key by its big-endian modulus and exponent and names it by its thumbprint.
    ///
    /// Sizes and whether the algorithm is for RSA are not checked here but where keys are read.
    pub fn rsa(n: &[u8], e: &[u8], alg: Algorithm) -> Self {
        let (n, e) = (json::encode(minimal(n)), json::encode(minimal(e)));
        let kid = thumbprint(&n, &e);
        Self { kty: KeyType::Rsa, n, e, kid, key_use: KeyUse::Signature, alg }
    }
}

/// A JWK Set as it is published (RFC 7517 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys, in the order in which they are written.
    pub keys: Vec<Jwk>,
}

/// The SHA-256 thumbprint of an RSA key (RFC 7638), from its base64url modulus and exponent.
pub fn thumbprint(n_b64: &str, e_b64: &str) -> KeyId {
    let canonical = format!(r#"{{"e":"{e_b64}","kty":"RSA","n":"{n_b64}"}}"#);
    KeyId(json::encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum KeyType {
    #[serde(rename = "RSA")]
    Rsa,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum KeyUse {
    #[serde(rename = "sig")]
    Signature,
}

fn rsa_algorithm<'de, D: Deserializer<'de>>(from: D) -> Result<Algorithm, D::Error> {
    let algorithm = Algorithm::deserialize(from)?;
    match algorithm.scheme() {
        Scheme::Rsa(_) => Ok(algorithm),
        _ => Err(D::Error::custom("not an algorithm of RSA keys")),
    }
}

fn minimal(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: &str = concat!(
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF",
        "V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9",
        "c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1",
        "jF44-csFCur-kEgU8awapJzKnqDKgw"
    );

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        assert_eq!(thumbprint(N, "AQAB").as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_key_is_written_in_one_order_and_named_by_its_thumbprint() {
        let padded = [&[0, 0][..], &json::decode(N).unwrap()].concat();
        let jwk = Jwk::rsa(&padded, &[0, 1, 0, 1], Algorithm::Rs256);
        let kid = thumbprint(N, "AQAB");
        let text = format!(r#"{{"kty":"RSA","n":"{N}","e":"AQAB","kid":"{kid}","use":"sig","alg":"RS256"}}"#);
        assert_eq!(serde_json::to_string(&jwk).unwrap(), text);
        assert_eq!(serde_json::from_str::<Jwk>(&text).unwrap(), jwk);
        assert!(serde_json::from_str::<Jwk>(&text.replace("RS256", "ES256")).is_err());
    }

    #[test]
    fn a_key_id_is_plain_and_bounded() {
        assert!(KeyId::parse(&"k".repeat(128)).is_ok());
        for bad in ["", "a b", "a\"", "a'", "a\\", "a\n", "ä", &"k".repeat(129)] {
            assert_eq!(KeyId::parse(bad), Err(InvalidKeyId), "{bad:?}");
        }
    }
}
