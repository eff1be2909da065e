#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod algorithm;
mod builder;
mod claims;
mod compact;
mod entry;
mod header;
mod json;
mod jwk;
mod key;
mod keyset;
pub mod limits;
mod policy;
mod refusal;
mod scope;
#[cfg(feature = "testing")]
pub mod testing;
mod verified;
mod verifier;
mod weak;

pub use algorithm::Algorithm;
pub use builder::{ConfigError, Unset, VerifierBuilder};
pub use claims::{AccessClaims, Audience};
pub use jwk::{InvalidKeyId, Jwk, JwkSet, KeyId, thumbprint};
pub use key::PublicKey;
pub use keyset::{JwksError, KeySet};
pub use refusal::{Reason, Refusal, SkipReason};
pub use scope::{InvalidScope, Scopes};
pub use verified::{External, Verified};
pub use verifier::Verifier;
