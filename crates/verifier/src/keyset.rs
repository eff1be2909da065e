//! The keys of one issuer, parsed once (RFC 7517, RFC 7518 §6.3).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::json::{self, Unknown};
use crate::jwk::{Algorithm, JwkSet, KeyId};
use crate::refusal::{Reason, Refusal, coded};
use crate::roca;

const MAX_SET_BYTES: usize = 64 * 1024;
const MAX_KEYS: usize = 100;
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const EXPONENTS: std::ops::Range<u64> = 65_537..1 << 33;
/// Members that only private or symmetric keys have (RFC 7518 §6, RFC 9864 and ML-DSA's `priv`).
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// The keys of one issuer by name, ready to verify with. Sets of different issuers are never merged.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: BTreeMap<KeyId, PublicKey>,
    skipped: Vec<(Option<KeyId>, SkipReason)>,
    revoked: BTreeSet<KeyId>,
}

/// A document is no usable JWK Set; whoever holds an older set keeps it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// More than 64 KiB.
    #[error("the key set exceeds 64 KiB")]
    TooLarge,
    /// Not one JSON object with an array `keys` of objects, none with a repeated name, at most eight levels deep.
    #[error("the document is not a JWK Set")]
    Malformed,
    /// More than 100 keys.
    #[error("the key set has more than 100 keys")]
    TooManyKeys,
    /// No key is left after skipping those that are unusable, or there was none.
    #[error("the key set has no usable key")]
    NoUsableKey {
        /// The keys of the set and what is wrong with each.
        skipped: Vec<(Option<KeyId>, SkipReason)>,
    },
}

coded! {
    /// Why a key of a set is not used.
    SkipReason {
        /// A member is missing, of the wrong type, or not canonical base64url.
        Malformed = "malformed",
        /// The key has no name, so no token can ask for it.
        KidMissing = "kid_missing",
        /// The name is not a [`KeyId`].
        KidInvalid = "kid_invalid",
        /// Another key of the set has the same name; none of them is used.
        KidAmbiguous = "kid_ambiguous",
        /// The key is symmetric or carries private members: its owner has leaked it.
        PrivateMaterial = "private_material",
        /// `kty` is not `RSA`.
        UnsupportedKeyType = "unsupported_key_type",
        /// `alg` names another algorithm.
        UnsupportedAlgorithm = "unsupported_algorithm",
        /// `use` is not `sig`.
        WrongUse = "wrong_use",
        /// `key_ops` lacks `verify`, repeats itself, or holds what contradicts signing.
        WrongKeyOps = "wrong_key_ops",
        /// The modulus is even, padded, or not of 2048–8192 bits.
        ModulusRefused = "modulus_refused",
        /// The modulus comes from a generator whose keys can be broken (CVE-2017-15361).
        WeakModulus = "weak_modulus",
        /// The exponent is even, padded, or not within 65,537..2^33.
        ExponentRefused = "exponent_refused",
    }
}

impl KeySet {
    /// Reads a JWK Set as an issuer serves it. Keys that cannot be used are skipped and listed in [`KeySet::skipped`].
    ///
    /// # Errors
    /// The document is too large, is no JWK Set, or holds no usable key.
    pub fn parse(json: &[u8]) -> Result<Self, JwksError> {
        if json.len() > MAX_SET_BYTES {
            return Err(JwksError::TooLarge);
        }
        let Document { keys: entries, .. } = json::parse(json).ok_or(JwksError::Malformed)?;
        if entries.len() > MAX_KEYS {
            return Err(JwksError::TooManyKeys);
        }
        let mut bearers = BTreeMap::new();
        for kid in entries.iter().filter_map(|entry| entry.string("kid").ok().flatten()) {
            *bearers.entry(kid).or_insert(0_usize) += 1;
        }
        let (mut keys, mut skipped) = (BTreeMap::new(), Vec::new());
        for entry in &entries {
            let kid = entry.kid();
            let unique = |kid: &KeyId| bearers.get(kid.as_str()) == Some(&1);
            match (entry.public_key(), kid) {
                (Err(reason @ SkipReason::PrivateMaterial), kid) => skipped.push((kid.ok(), reason)),
                (_, Err(reason)) => skipped.push((None, reason)),
                (_, Ok(kid)) if !unique(&kid) => skipped.push((Some(kid), SkipReason::KidAmbiguous)),
                (Err(reason), Ok(kid)) => skipped.push((Some(kid), reason)),
                (Ok(key), Ok(kid)) => {
                    keys.insert(kid, key);
                }
            }
        }
        if keys.is_empty() {
            return Err(JwksError::NoUsableKey { skipped });
        }
        Ok(Self { keys, skipped, revoked: BTreeSet::new() })
    }

    /// Takes a set of one's own, under the same rules.
    ///
    /// # Errors
    /// As [`KeySet::parse`].
    pub fn from_jwks(set: &JwkSet) -> Result<Self, JwksError> {
        Self::parse(&serde_json::to_vec(set).map_err(|_| JwksError::Malformed)?)
    }

    /// Adds tombstones: these keys verify nothing, whether the set holds them or not.
    #[must_use]
    pub fn with_revoked(mut self, kids: impl IntoIterator<Item = KeyId>) -> Self {
        self.revoked.extend(kids);
        self
    }

    /// The usable key of this name, unless it was revoked.
    pub fn find(&self, kid: &KeyId) -> Option<&PublicKey> {
        self.select(kid).ok()
    }

    /// The number of usable keys, those with a tombstone not counted.
    pub fn len(&self) -> usize {
        self.keys.keys().filter(|kid| !self.revoked.contains(*kid)).count()
    }

    /// Whether no key is left to verify with.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that were not taken, by name where they have one.
    pub fn skipped(&self) -> &[(Option<KeyId>, SkipReason)] {
        &self.skipped
    }

    pub(crate) fn select(&self, kid: &KeyId) -> Result<&PublicKey, Reason> {
        if self.revoked.contains(kid) {
            return Err(Reason::KidRevoked);
        }
        let is_skipped = || self.skipped.iter().any(|(name, _)| name.as_ref() == Some(kid));
        self.keys.get(kid).ok_or_else(|| if is_skipped() { Reason::KeyMismatch } else { Reason::KidUnknown })
    }
}

/// A public key bound to the one algorithm that it serves.
#[derive(Clone, Debug)]
pub struct PublicKey {
    algorithm: Algorithm,
    parsed: ParsedPublicKey,
}

impl PublicKey {
    /// Takes an RSA key by its big-endian modulus and exponent, without leading zeros, for RS256.
    ///
    /// # Errors
    /// The modulus is even, weak or not of 2048–8192 bits, or the exponent is even or not within 65,537..2^33.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, SkipReason> {
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        let top_bits = |number: &[u8]| number.first().map_or(0, |byte| 8 - byte.leading_zeros() as usize);
        let bits = n.len().saturating_sub(1).saturating_mul(8).saturating_add(top_bits(n));
        if top_bits(n) == 0 || !MODULUS_BITS.contains(&bits) || !is_odd(n) {
            return Err(SkipReason::ModulusRefused);
        }
        // Eight bytes are enough: with a leading digit that is not zero, anything longer is too large by then.
        let value = e.iter().take(8).fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        if top_bits(e) == 0 || !EXPONENTS.contains(&value) || !is_odd(e) {
            return Err(SkipReason::ExponentRefused);
        }
        if roca::is_weak(n) {
            return Err(SkipReason::WeakModulus);
        }
        let parsed = RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| SkipReason::ModulusRefused)?;
        Ok(Self { algorithm: Algorithm::Rs256, parsed })
    }

    /// The only algorithm that the key serves.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks a signature over exactly these bytes (RFC 8017 §8.2.2 with SHA-256).
    ///
    /// # Errors
    /// [`Reason::SignatureInvalid`], whatever is wrong with it.
    pub fn verify_rs256(&self, message: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        self.parsed.verify_sig(message, signature).map_err(|_| Reason::SignatureInvalid.into())
    }
}

#[derive(serde::Deserialize)]
struct Document {
    keys: Vec<Entry>,
    #[serde(flatten)]
    _others: Unknown,
}

/// One object of the array `keys`, before anything is known about it.
struct Entry(BTreeMap<String, Value>);

impl Entry {
    fn string(&self, name: &str) -> Result<Option<&str>, SkipReason> {
        self.0.get(name).map(|value| value.as_str().ok_or(SkipReason::Malformed)).transpose()
    }

    fn kid(&self) -> Result<KeyId, SkipReason> {
        let kid = self.0.get("kid").ok_or(SkipReason::KidMissing)?;
        kid.as_str().and_then(|kid| KeyId::parse(kid).ok()).ok_or(SkipReason::KidInvalid)
    }

    fn public_key(&self) -> Result<PublicKey, SkipReason> {
        let kty = self.string("kty")?;
        if kty == Some("oct") || PRIVATE_MEMBERS.iter().any(|name| self.0.contains_key(*name)) {
            return Err(SkipReason::PrivateMaterial);
        }
        if kty.ok_or(SkipReason::Malformed)? != "RSA" {
            return Err(SkipReason::UnsupportedKeyType);
        }
        if self.string("use")?.is_some_and(|of| of != "sig") {
            return Err(SkipReason::WrongUse);
        }
        if self.0.get("key_ops").is_some_and(|ops| !allows_verifying(ops)) {
            return Err(SkipReason::WrongKeyOps);
        }
        // A key without `alg` gets the one algorithm of its type that is supported, never that of a token.
        if self.string("alg")?.is_some_and(|alg| alg != Algorithm::Rs256.name()) {
            return Err(SkipReason::UnsupportedAlgorithm);
        }
        PublicKey::rsa(&self.number("n")?, &self.number("e")?)
    }

    fn number(&self, name: &str) -> Result<Vec<u8>, SkipReason> {
        self.string(name)?.and_then(json::decode).ok_or(SkipReason::Malformed)
    }
}

/// RFC 7517 §4.3; a public key has nothing to do but verify, but some issuers list both halves.
fn allows_verifying(ops: &Value) -> bool {
    let Some(ops) = ops.as_array() else { return false };
    let mut seen = BTreeSet::new();
    ops.iter().all(|op| op.as_str().is_some_and(|op| matches!(op, "verify" | "sign") && seen.insert(op)))
        && seen.contains("verify")
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key without repeated members")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("repeated member"));
                    }
                }
                Ok(Entry(members))
            }
        }
        from.deserialize_map(Members)
    }
}
