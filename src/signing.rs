//! The keys that sign access tokens: their life, the ring a replica holds, and what operators do with them.
//!
//! [`lifecycle`] decides, [`job`] and [`command`] change the store, [`ring`] is the snapshot that requests read,
//! [`token`] signs. No request asks the store for a key.

use crate::clock::Timestamp;
use crate::store::StoreError;

pub mod command;
pub mod job;
pub mod key;
pub mod lifecycle;
pub mod pem;
pub mod ring;
pub mod token;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use command::{Format, Imported, Mode, Reach, Revoked, Rotated, Row};
pub use job::{Job, Keysmith};
pub use key::{Bits, Maker};
pub use lifecycle::Policy;
pub use ring::{KeyRing, NotConfirmed, Published};
pub use token::{ActiveKey, sign};

/// The JOSE name of the one algorithm there is so far.
pub const ALG: &str = "RS256";

/// Why something about the signing keys was not done.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The store did not take or give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A private key could not be sealed.
    #[error("the signing key could not be sealed: {0}")]
    Seal(#[from] keyward_envelope::SealError),
    /// A private key does not open: another master key, another row, or changed bytes.
    #[error("signing key {kid} does not open: {cause}")]
    Open {
        /// Which.
        kid: String,
        /// Why.
        cause: keyward_envelope::OpenError,
    },
    /// An imported key was refused.
    #[error(transparent)]
    Pem(#[from] pem::PemError),
    /// A key cannot be used.
    #[error("the signing key is {0}")]
    Unusable(&'static str),
    /// A record of the ring contradicts itself.
    #[error(
        "signing key {kid} is neither published nor used, because {why}; `keyward keys revoke` removes it"
    )]
    Corrupt {
        /// Which.
        kid: String,
        /// What of its row disagrees.
        why: &'static str,
    },
    /// A key could not be generated.
    #[error("no signing key could be generated")]
    Generate,
    /// The signature was not made.
    #[error("the token could not be signed")]
    Sign,
    /// The token would outlive what the key's row says; see [`KeyRing::prepare`].
    #[error("the token would live longer than was recorded for its key")]
    Lifetime,
    /// The ring in the store is older than the one this replica holds.
    #[error("the store's key ring went back from generation {held} to {found}; was a backup restored?")]
    Backwards {
        /// What this replica holds.
        held: i64,
        /// What the store says.
        found: i64,
    },
    /// There is no key at all yet.
    #[error("there are no signing keys yet; they are made when the server first starts")]
    Empty,
    /// No active key is at hand, or its ring was not confirmed within the lease.
    #[error(transparent)]
    NotConfirmed(#[from] NotConfirmed),
    /// Others kept changing the ring.
    #[error("the key ring kept changing; try again")]
    Contended,
    /// The operator asked for something that is not possible; the sentence says why.
    #[error("{0}")]
    Refused(String),
}

/// A time for people: RFC 3339.
fn at(moment: Timestamp) -> String {
    moment.rfc3339()
}
