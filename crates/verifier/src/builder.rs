//! How a verifier's policy is put together.

use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::claims::AccessClaims;
use crate::limits::{LEEWAY, MAX_LEEWAY, MAX_LIFETIME};
use crate::policy::Policy;
use crate::verifier::Verifier;

/// Marks a member of [`VerifierBuilder`] that has yet to be given.
#[derive(Clone, Copy, Debug)]
pub struct Unset;

/// A policy in the making; only one that has issuer, audience and algorithms has a `build` method.
#[derive(Clone, Debug)]
pub struct VerifierBuilder<I, A, G> {
    issuer: I,
    audience: A,
    algorithms: G,
    typ: String,
    leeway: Duration,
    max_lifetime: Duration,
}

impl VerifierBuilder<Unset, Unset, Unset> {
    pub(crate) fn new() -> Self {
        Self {
            issuer: Unset,
            audience: Unset,
            algorithms: Unset,
            typ: AccessClaims::TYP.to_owned(),
            leeway: LEEWAY,
            max_lifetime: MAX_LIFETIME,
        }
    }
}

impl<I, A, G> VerifierBuilder<I, A, G> {
    /// Whose tokens are accepted: `iss` must have exactly these bytes.
    pub fn issuer(self, issuer: impl Into<String>) -> VerifierBuilder<String, A, G> {
        let Self { audience, algorithms, typ, leeway, max_lifetime, .. } = self;
        VerifierBuilder { issuer: issuer.into(), audience, algorithms, typ, leeway, max_lifetime }
    }

    /// For whom tokens must be meant: a member of `aud` must have exactly these bytes.
    pub fn audience(self, audience: impl Into<String>) -> VerifierBuilder<I, String, G> {
        let Self { issuer, algorithms, typ, leeway, max_lifetime, .. } = self;
        VerifierBuilder { issuer, audience: audience.into(), algorithms, typ, leeway, max_lifetime }
    }

    /// Which signature algorithms are accepted; a key must be for the very one that its token names.
    pub fn algorithms(self, algorithms: &[Algorithm]) -> VerifierBuilder<I, A, Vec<Algorithm>> {
        let Self { issuer, audience, typ, leeway, max_lifetime, .. } = self;
        VerifierBuilder { issuer, audience, algorithms: algorithms.to_vec(), typ, leeway, max_lifetime }
    }

    /// Accepts RS256, which is what Keyward signs with by default, and nothing else.
    pub fn rs256(self) -> VerifierBuilder<I, A, Vec<Algorithm>> {
        self.algorithms(&[Algorithm::Rs256])
    }

    /// How far the issuer's clock may be off: at most 120 s, cut to whole seconds; 30 s by default.
    #[must_use]
    pub fn leeway(self, leeway: Duration) -> Self {
        Self { leeway, ..self }
    }

    /// The longest `exp` − `iat` that is accepted, in whole seconds; 24 h by default.
    #[must_use]
    pub fn max_lifetime(self, max_lifetime: Duration) -> Self {
        Self { max_lifetime, ..self }
    }

    /// The media type that `typ` must name; `at+jwt` by default.
    #[must_use]
    pub fn typ(self, typ: impl Into<String>) -> Self {
        Self { typ: typ.into(), ..self }
    }
}

impl VerifierBuilder<String, String, Vec<Algorithm>> {
    /// Checks the policy.
    ///
    /// # Errors
    /// A value is empty or out of its range.
    pub fn build(self) -> Result<Verifier, ConfigError> {
        let Self { issuer, audience, algorithms, typ, leeway, max_lifetime } = self;
        if issuer.is_empty() {
            Err(ConfigError::NoIssuer)
        } else if audience.is_empty() {
            Err(ConfigError::NoAudience)
        } else if algorithms.is_empty() {
            Err(ConfigError::NoAlgorithm)
        } else if typ.is_empty() {
            Err(ConfigError::NoTyp)
        } else if leeway > MAX_LEEWAY {
            Err(ConfigError::LeewayTooLong)
        } else if max_lifetime.as_secs() == 0 {
            Err(ConfigError::NoLifetime)
        } else {
            let (leeway, max_lifetime) = (leeway.as_secs(), max_lifetime.as_secs());
            let policy = Policy { issuer, audience, typ, leeway, max_lifetime };
            Ok(Verifier::new(policy, algorithms))
        }
    }
}

/// A policy makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The issuer is empty.
    #[error("the issuer is empty")]
    NoIssuer,
    /// The audience is empty.
    #[error("the audience is empty")]
    NoAudience,
    /// No algorithm is accepted.
    #[error("no algorithm is accepted")]
    NoAlgorithm,
    /// The type is empty.
    #[error("the token type is empty")]
    NoTyp,
    /// The leeway exceeds 120 s.
    #[error("the leeway exceeds 120 seconds")]
    LeewayTooLong,
    /// The longest lifetime is under a second.
    #[error("the longest lifetime is under a second")]
    NoLifetime,
}
