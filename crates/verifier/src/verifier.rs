//! The policy of one verifier and the check of a token against it.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::claims::{AccessClaims, Payload};
use crate::header::Header;
use crate::json;
use crate::jwk::{Algorithm, KeyId};
use crate::keyset::KeySet;
use crate::refusal::{Reason, Refusal};

const MAX_TOKEN_BYTES: usize = 8 * 1024;
const MAX_HEADER_BYTES: usize = 1024;
const MAX_LEEWAY: Duration = Duration::from_secs(120);

/// Checks access tokens of one issuer for one audience; it holds no keys, does no I/O and reads no clock.
#[derive(Clone, Debug)]
pub struct Verifier {
    issuer: String,
    audience: String,
    algorithms: Vec<Algorithm>,
    typ: String,
    leeway: u64,
    max_lifetime: u64,
}

impl Verifier {
    /// Starts a policy. It can be built once issuer, audience and algorithms are given:
    ///
    /// ```compile_fail,E0599
    /// # use keyward_verifier::Verifier;
    /// Verifier::builder().issuer("https://id.example").rs256().build(); // whose tokens, but for whom?
    /// ```
    pub fn builder() -> VerifierBuilder<Unset, Unset, Unset> {
        VerifierBuilder {
            issuer: Unset,
            audience: Unset,
            algorithms: Unset,
            typ: AccessClaims::TYP.to_owned(),
            leeway: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(24 * 60 * 60),
        }
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
        let parts = Parts::split(token)?;
        let (kid, algorithm) = self.admit(&parts.header)?;
        let key = keys.select(&kid)?;
        if key.algorithm() != algorithm {
            return Err(Reason::KeyMismatch.into());
        }
        match algorithm {
            Algorithm::Rs256 => key.verify_rs256(parts.signed.as_bytes(), &parts.signature)?,
        }
        let payload: Payload = json::parse(&parts.payload).ok_or(Reason::ClaimsInvalid)?;
        self.accept(&payload, now)?;
        Ok(Verified { claims: payload.into(), key_id: kid, kind: PhantomData })
    }

    fn admit(&self, header: &[u8]) -> Result<(KeyId, Algorithm), Reason> {
        let header = Header::parse(header).ok_or(Reason::HeaderInvalid)?;
        if header.crit.0 {
            return Err(Reason::CritUnsupported);
        }
        let algorithm = self.algorithms.iter().find(|algorithm| algorithm.name() == header.alg);
        let algorithm = *algorithm.ok_or(Reason::AlgNotAllowed)?;
        if !header.is_typ(&self.typ) {
            return Err(Reason::TypMismatch);
        }
        Ok((header.kid.ok_or(Reason::KidMissing)?, algorithm))
    }

    fn accept(&self, payload: &Payload, now: u64) -> Result<(), Reason> {
        let latest = now.saturating_add(self.leeway);
        let lifetime = payload.exp.checked_sub(payload.iat).ok_or(Reason::ClaimsInvalid)?;
        if payload.iss != self.issuer {
            Err(Reason::IssuerMismatch)
        } else if !payload.aud.contains(&self.audience) {
            Err(Reason::AudMismatch)
        } else if payload.cnf.0 {
            Err(Reason::CnfUnsupported)
        } else if now >= payload.exp.saturating_add(self.leeway) {
            Err(Reason::Expired)
        } else if payload.nbf.is_some_and(|nbf| nbf > latest) {
            Err(Reason::NotYetValid)
        } else if payload.iat > latest {
            Err(Reason::IssuedInFuture)
        } else if lifetime > self.max_lifetime {
            Err(Reason::LifetimeTooLong)
        } else {
            Ok(())
        }
    }
}

/// What a token consists of once its outer form has been found right.
struct Parts<'a> {
    /// Header and payload as they were received, which is what the signature covers.
    signed: &'a str,
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Reason::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Reason::Malformed)?;
        let decode = |segment| json::decode(segment).ok_or(Reason::Malformed);
        // A further dot is in the payload, where it is no base64url.
        let parts = Self {
            signed,
            header: decode(header)?,
            payload: decode(payload)?,
            signature: decode(signature)?,
        };
        if parts.header.len() > MAX_HEADER_BYTES { Err(Reason::TooLarge) } else { Ok(parts) }
    }
}

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

    /// Which signature algorithms are accepted.
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
            Ok(Verifier { issuer, audience, algorithms, typ, leeway, max_lifetime })
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
