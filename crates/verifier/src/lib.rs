#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod claims;
mod header;
mod json;
mod jwk;
mod keyset;
mod refusal;
mod roca;
mod scope;
mod verifier;

pub use claims::{AccessClaims, Audience};
pub use jwk::{Algorithm, InvalidKeyId, Jwk, JwkSet, KeyId, thumbprint};
pub use keyset::{JwksError, KeySet, PublicKey, SkipReason};
pub use refusal::{Reason, Refusal};
pub use scope::{InvalidScope, Scopes};
pub use verifier::{ConfigError, External, Unset, Verified, Verifier, VerifierBuilder};
