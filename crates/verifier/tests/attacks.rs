//! The attack catalogue: every test is named by its row, mints its own bad token and names the exact reason.
//! `agreement` holds the opposite: what must pass, and that nothing panics.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

#[path = "attacks/agreement.rs"]
mod agreement;
#[path = "attacks/algorithm.rs"]
mod algorithm;
#[path = "attacks/claims.rs"]
mod claims;
#[path = "attacks/keys.rs"]
mod keys;
#[path = "attacks/lookup.rs"]
mod lookup;
mod minting;
#[path = "attacks/signature.rs"]
mod signature;
#[path = "attacks/structure.rs"]
mod structure;
