//! The keys of one issuer, parsed once (RFC 7517 §5).

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::Entry;
use crate::json::{self, Unknown};
use crate::jwk::{JwkSet, KeyId};
use crate::key::PublicKey;
use crate::limits::{MAX_KEYS, MAX_SET_BYTES};
use crate::refusal::{Reason, SkipReason};

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

    /// How many keys were skipped because they are symmetric or carry private members: any number but 0 is an alarm.
    pub fn leaked(&self) -> usize {
        self.skipped.iter().filter(|(_, reason)| *reason == SkipReason::PrivateMaterial).count()
    }

    pub(crate) fn select(&self, kid: &KeyId) -> Result<&PublicKey, Reason> {
        if self.revoked.contains(kid) {
            return Err(Reason::KidRevoked);
        }
        let is_skipped = || self.skipped.iter().any(|(name, _)| name.as_ref() == Some(kid));
        self.keys.get(kid).ok_or_else(|| if is_skipped() { Reason::KeyMismatch } else { Reason::KidUnknown })
    }
}

#[derive(serde::Deserialize)]
struct Document {
    keys: Vec<Entry>,
    #[serde(flatten)]
    _others: Unknown,
}
