//! Why a token or a key was not accepted: closed sets of names, never a byte of what was refused.

/// Declares an enum whose variants each have a stable snake_case code, so that the list of all cannot be incomplete.
macro_rules! coded {
    ($(#[$meta:meta])* $enum:ident { $($(#[$doc:meta])* $name:ident = $code:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $enum { $($(#[$doc])* $name,)* }

        impl $enum {
            /// All values, in the order in which the checks run.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable snake_case name, for counters and logs.
            pub fn code(&self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.code())
            }
        }
    };
}
/// A token was refused; the reason is for counters and logs, not for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("token refused: {reason}")]
#[non_exhaustive]
pub struct Refusal {
    /// The first check that failed.
    pub reason: Reason,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

coded! {
    /// The check that a token failed, in the order in which the checks run.
    Reason {
        /// The token exceeds 8 KiB, or its header 1 KiB.
        TooLarge = "too_large",
        /// Not three segments of canonical, unpadded base64url (RFC 7515 §7.1).
        Malformed = "malformed",
        /// The header is not one JSON object with members of the right types and syntax, each at most once.
        HeaderInvalid = "header_invalid",
        /// The header has a `crit` member; no extension is understood (RFC 7515 §4.1.11).
        CritUnsupported = "crit_unsupported",
        /// `alg` is not among the configured algorithms.
        AlgNotAllowed = "alg_not_allowed",
        /// `typ` is absent or names another kind of token (RFC 8725 §3.11).
        TypMismatch = "typ_mismatch",
        /// The header names no key.
        KidMissing = "kid_missing",
        /// The key was revoked; its tokens are worthless whatever they say.
        KidRevoked = "kid_revoked",
        /// The issuer publishes no key of this name.
        KidUnknown = "kid_unknown",
        /// The key of this name is unusable, ambiguous, or for another algorithm.
        KeyMismatch = "key_mismatch",
        /// The signature is not one of this key over these bytes.
        SignatureInvalid = "signature_invalid",
        /// A required claim is absent, repeated, of the wrong type or out of its bounds.
        ClaimsInvalid = "claims_invalid",
        /// `iss` is not, byte for byte, the configured issuer.
        IssuerMismatch = "issuer_mismatch",
        /// `aud` does not contain the configured audience.
        AudMismatch = "aud_mismatch",
        /// The token is bound to a key (`cnf`), whose possession is not checked yet (RFC 7800).
        CnfUnsupported = "cnf_unsupported",
        /// `exp` plus the leeway has come.
        Expired = "expired",
        /// `nbf` is later than now plus the leeway.
        NotYetValid = "not_yet_valid",
        /// `iat` is later than now plus the leeway.
        IssuedInFuture = "issued_in_future",
        /// `exp` − `iat` exceeds the longest lifetime allowed.
        LifetimeTooLong = "lifetime_too_long",
    }
}

coded! {
    /// Why a key of a set is not used.
    SkipReason {
        /// A member is missing, of the wrong type, or not canonical base64url.
        Malformed = "malformed",
        /// The key has no name, so no token can ask for it.
        KidMissing = "kid_missing",
        /// The name is not a [`KeyId`](crate::KeyId).
        KidInvalid = "kid_invalid",
        /// Another key of the set has the same name; none of them is used.
        KidAmbiguous = "kid_ambiguous",
        /// The key is symmetric or carries private members: its owner has leaked it.
        PrivateMaterial = "private_material",
        /// `kty` is not `RSA`, `EC` or `OKP`.
        UnsupportedKeyType = "unsupported_key_type",
        /// `crv` is not `P-256` or `Ed25519`, whichever fits `kty`.
        UnsupportedCurve = "unsupported_curve",
        /// `alg` names an algorithm that is not supported or not for such a key.
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
        /// The point has coordinates of the wrong length, is not on its curve, or is of small order.
        PointRefused = "point_refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_snake_case() {
        let reasons: Vec<_> = Reason::ALL.iter().map(Reason::code).collect();
        let skips: Vec<_> = SkipReason::ALL.iter().map(SkipReason::code).collect();
        for codes in [reasons, skips] {
            assert_eq!(codes.iter().collect::<std::collections::BTreeSet<_>>().len(), codes.len());
            assert!(codes.iter().all(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        }
    }

    #[test]
    fn a_refusal_shows_its_code_and_nothing_else() {
        assert_eq!(Refusal::from(Reason::AudMismatch).to_string(), "token refused: aud_mismatch");
    }
}
