//! One public key, parsed once and bound to one algorithm (RFC 7518 §6, RFC 8037 §2).

use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};

use crate::algorithm::{Algorithm, Scheme};
use crate::limits::{EXPONENTS, MODULUS_BITS};
use crate::refusal::{Reason, Refusal, SkipReason};
use crate::weak;

const COORDINATE_BYTES: usize = 32;
const UNCOMPRESSED: u8 = 4;

/// A public key bound to the one algorithm that it serves (RFC 8725 §3.1).
#[derive(Clone, Debug)]
pub struct PublicKey {
    algorithm: Algorithm,
    parsed: ParsedPublicKey,
}

impl PublicKey {
    /// Takes an RSA key for RS256, under the rules of [`PublicKey::rsa_for`].
    ///
    /// # Errors
    /// As [`PublicKey::rsa_for`].
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, SkipReason> {
        Self::rsa_for(Algorithm::Rs256, n, e)
    }

    /// Takes an RSA key by its big-endian modulus and exponent, without leading zeros, for one of the RSA algorithms.
    ///
    /// # Errors
    /// The modulus is even, weak or not of 2048–8192 bits, the exponent is even or not within 65,537..2^33, or the
    /// algorithm is not for RSA keys.
    pub fn rsa_for(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<Self, SkipReason> {
        let Scheme::Rsa(parameters) = algorithm.scheme() else {
            return Err(SkipReason::UnsupportedAlgorithm);
        };
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
        if weak::is_modulus(n) {
            return Err(SkipReason::WeakModulus);
        }
        let parsed = RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(parameters)
            .map_err(|_| SkipReason::ModulusRefused)?;
        Ok(Self { algorithm, parsed })
    }

    /// Takes a P-256 key for ES256 by its big-endian coordinates of 32 bytes each.
    ///
    /// # Errors
    /// A coordinate has another length, or the point is not on the curve.
    pub fn p256(x: &[u8], y: &[u8]) -> Result<Self, SkipReason> {
        if x.len() != COORDINATE_BYTES || y.len() != COORDINATE_BYTES {
            return Err(SkipReason::PointRefused);
        }
        Self::point(Algorithm::Es256, &[&[UNCOMPRESSED], x, y].concat())
    }

    /// Takes an Ed25519 key for EdDSA by its 32 bytes (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// It has another length, or is one of the points of small order, for which anybody can sign.
    pub fn ed25519(x: &[u8]) -> Result<Self, SkipReason> {
        if x.len() != COORDINATE_BYTES || weak::is_ed25519_point(x) {
            return Err(SkipReason::PointRefused);
        }
        Self::point(Algorithm::EdDsa, x)
    }

    fn point(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, SkipReason> {
        let (Scheme::P256(scheme) | Scheme::Ed25519(scheme)) = algorithm.scheme() else {
            return Err(SkipReason::UnsupportedAlgorithm);
        };
        let parsed = ParsedPublicKey::new(scheme, bytes).map_err(|_| SkipReason::PointRefused)?;
        Ok(Self { algorithm, parsed })
    }

    /// The only algorithm that the key serves.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks a signature over exactly these bytes with the key's algorithm.
    ///
    /// # Errors
    /// [`Reason::SignatureInvalid`], whatever is wrong with it.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        self.parsed.verify_sig(message, signature).map_err(|_| Reason::SignatureInvalid.into())
    }
}
