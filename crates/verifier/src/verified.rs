//! What a verifier hands out, and nobody else can make.

use std::fmt;
use std::marker::PhantomData;

use crate::jwk::KeyId;

/// Marks what was checked with an issuer's public key, as opposed to a secret shared between services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum External {}

/// Claims that a verifier has found good. Nobody else can make one:
///
/// ```compile_fail,E0451
/// # use keyward_verifier::{AccessClaims, External, KeyId, Verified};
/// fn forge(claims: AccessClaims, key_id: KeyId) -> Verified<External, AccessClaims> {
///     Verified { claims, key_id, kind: std::marker::PhantomData }
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Verified<K, C> {
    claims: C,
    key_id: KeyId,
    kind: PhantomData<fn() -> K>,
}

impl<K, C> Verified<K, C> {
    pub(crate) fn new(claims: C, key_id: KeyId) -> Self {
        Self { claims, key_id, kind: PhantomData }
    }

    /// The claims.
    pub fn claims(&self) -> &C {
        &self.claims
    }

    /// The claims, no longer marked as verified.
    pub fn into_claims(self) -> C {
        self.claims
    }

    /// The key that the token was signed with.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }
}

impl<K, C: fmt::Debug> fmt::Debug for Verified<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("claims", &self.claims).field("key_id", &self.key_id).finish()
    }
}
