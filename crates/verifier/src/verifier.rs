//! The check of an external token: signed with an issuer's private key, verified with a published one.

use crate::algorithm::Algorithm;
use crate::builder::{Unset, VerifierBuilder};
use crate::claims::{AccessClaims, Payload};
use crate::compact::Compact;
use crate::header::Header;
use crate::json;
use crate::jwk::KeyId;
use crate::keyset::KeySet;
use crate::policy::Policy;
use crate::refusal::{Reason, Refusal};
use crate::verified::{External, Verified};

/// Checks access tokens of one issuer for one audience; it holds no keys, does no I/O and reads no clock.
#[derive(Clone, Debug)]
pub struct Verifier {
    policy: Policy,
    algorithms: Vec<Algorithm>,
}

impl Verifier {
    pub(crate) fn new(policy: Policy, algorithms: Vec<Algorithm>) -> Self {
        Self { policy, algorithms }
    }

    /// Starts a policy. It can be built once issuer, audience and algorithms are given:
    ///
    /// ```
    /// # use keyward_verifier::Verifier;
    /// Verifier::builder().issuer("https://id.example").audience("https://orders.example").rs256().build()?;
    /// # Ok::<(), keyward_verifier::ConfigError>(())
    /// ```
    ///
    /// Each of them missing does not compile:
    ///
    /// ```compile_fail,E0599
    /// # use keyward_verifier::Verifier;
    /// Verifier::builder().audience("https://orders.example").rs256().build()?; // whose tokens?
    /// # Ok::<(), keyward_verifier::ConfigError>(())
    /// ```
    /// ```compile_fail,E0599
    /// # use keyward_verifier::Verifier;
    /// Verifier::builder().issuer("https://id.example").rs256().build()?; // meant for whom?
    /// # Ok::<(), keyward_verifier::ConfigError>(())
    /// ```
    /// ```compile_fail,E0599
    /// # use keyward_verifier::Verifier;
    /// Verifier::builder().issuer("https://id.example").audience("https://orders.example").build()?; // signed how?
    /// # Ok::<(), keyward_verifier::ConfigError>(())
    /// ```
    pub fn builder() -> VerifierBuilder<Unset, Unset, Unset> {
        VerifierBuilder::new()
    }

    /// Checks a compact token (RFC 7515 §7.1, RFC 9068 §4) at `now`, in seconds since 1970.
    ///
    /// Nothing of the claims is read before the signature has been found good.
    ///
    /// # Errors
    /// The first check that failed, in the order of [`Reason`].
    pub fn verify(
        &self,
        token: &str,
        keys: &KeySet,
        now: u64,
    ) -> Result<Verified<External, AccessClaims>, Refusal> {
        let token = Compact::split(token)?;
        let (kid, algorithm) = self.admit(&token.header)?;
        let key = keys.select(&kid)?;
        if key.algorithm() != algorithm {
            return Err(Reason::KeyMismatch.into());
        }
        key.verify(token.signed.as_bytes(), &token.signature)?;
        let payload: Payload = json::parse(&token.payload).ok_or(Reason::ClaimsInvalid)?;
        self.policy.accept(&payload, now)?;
        Ok(Verified::new(payload.into(), kid))
    }

    fn admit(&self, header: &[u8]) -> Result<(KeyId, Algorithm), Reason> {
        let header = Header::parse(header).ok_or(Reason::HeaderInvalid)?;
        if header.crit.0 {
            return Err(Reason::CritUnsupported);
        }
        let algorithm = Algorithm::from_name(&header.alg).filter(|named| self.algorithms.contains(named));
        let algorithm = algorithm.ok_or(Reason::AlgNotAllowed)?;
        if !header.is_typ(&self.policy.typ) {
            return Err(Reason::TypMismatch);
        }
        Ok((header.kid.ok_or(Reason::KidMissing)?, algorithm))
    }
}
