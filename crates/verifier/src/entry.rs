//! A key as it stands in a JWK Set, and whether it is fit for use (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::json;
use crate::jwk::KeyId;
use crate::key::PublicKey;
use crate::refusal::SkipReason;

/// Members that only private or symmetric keys have (RFC 7518 §6, RFC 9864 and ML-DSA's `priv`).
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// One object of the array `keys`, before anything is known about it.
pub(crate) struct Entry(BTreeMap<String, Value>);

impl Entry {
    pub(crate) fn string(&self, name: &str) -> Result<Option<&str>, SkipReason> {
        self.0.get(name).map(|value| value.as_str().ok_or(SkipReason::Malformed)).transpose()
    }

    pub(crate) fn kid(&self) -> Result<KeyId, SkipReason> {
        let kid = self.0.get("kid").ok_or(SkipReason::KidMissing)?;
        kid.as_str().and_then(|kid| KeyId::parse(kid).ok()).ok_or(SkipReason::KidInvalid)
    }

    pub(crate) fn public_key(&self) -> Result<PublicKey, SkipReason> {
        let kty = self.string("kty")?;
        if kty == Some("oct") || PRIVATE_MEMBERS.iter().any(|name| self.0.contains_key(*name)) {
            return Err(SkipReason::PrivateMaterial);
        }
        let kty = kty.ok_or(SkipReason::Malformed)?;
        if !matches!(kty, "RSA" | "EC" | "OKP") {
            return Err(SkipReason::UnsupportedKeyType);
        }
        if self.string("use")?.is_some_and(|of| of != "sig") {
            return Err(SkipReason::WrongUse);
        }
        if self.0.get("key_ops").is_some_and(|ops| !allows_verifying(ops)) {
            return Err(SkipReason::WrongKeyOps);
        }
        let alg =
            self.string("alg")?.map(|alg| Algorithm::from_name(alg).ok_or(SkipReason::UnsupportedAlgorithm));
        let alg = alg.transpose()?;
        // A key without `alg` gets one algorithm from its type, never that of a token (RFC 8725 §3.1).
        match kty {
            "RSA" => {
                PublicKey::rsa_for(alg.unwrap_or(Algorithm::Rs256), &self.number("n")?, &self.number("e")?)
            }
            "EC" => {
                self.agree("P-256", alg, Algorithm::Es256)?;
                PublicKey::p256(&self.number("x")?, &self.number("y")?)
            }
            _ => {
                self.agree("Ed25519", alg, Algorithm::EdDsa)?;
                PublicKey::ed25519(&self.number("x")?)
            }
        }
    }

    /// Whether the curve is this one, and `alg`, if any, the algorithm that goes with it.
    fn agree(&self, curve: &str, alg: Option<Algorithm>, only: Algorithm) -> Result<(), SkipReason> {
        if self.string("crv")?.ok_or(SkipReason::Malformed)? != curve {
            Err(SkipReason::UnsupportedCurve)
        } else if alg.is_some_and(|alg| alg != only) {
            Err(SkipReason::UnsupportedAlgorithm)
        } else {
            Ok(())
        }
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
