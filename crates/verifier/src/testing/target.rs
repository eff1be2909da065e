use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::claims::AccessClaims;
use crate::limits;

/// What the verifier under attack was configured with; the attacks are made to measure.
///
/// The defaults are those of [`Verifier::builder`](crate::Verifier::builder), with RS256 alone.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) typ: String,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) leeway: u64,
    pub(super) max_lifetime: u64,
}

impl Target {
    /// Whose tokens are accepted, and for whom.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            typ: AccessClaims::TYP.to_owned(),
            algorithms: vec![Algorithm::Rs256],
            leeway: limits::LEEWAY.as_secs(),
            max_lifetime: limits::MAX_LIFETIME.as_secs(),
        }
    }

    /// The algorithms that the verifier accepts, at least one; ordinary tokens are signed with the first.
    #[must_use]
    pub fn algorithms(self, algorithms: &[Algorithm]) -> Self {
        Self { algorithms: algorithms.to_vec(), ..self }
    }

    /// The media type that `typ` must name.
    #[must_use]
    pub fn typ(self, typ: impl Into<String>) -> Self {
        Self { typ: typ.into(), ..self }
    }

    /// How far the clocks may differ, in whole seconds.
    #[must_use]
    pub fn leeway(self, leeway: Duration) -> Self {
        Self { leeway: leeway.as_secs(), ..self }
    }

    /// The longest `exp` − `iat`, in whole seconds, of at least an hour.
    #[must_use]
    pub fn max_lifetime(self, max_lifetime: Duration) -> Self {
        Self { max_lifetime: max_lifetime.as_secs(), ..self }
    }
}
