//! The core from outside: published test vectors, algorithms and keys, every default, what the crate costs.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod rfc;
mod wycheproofs;
