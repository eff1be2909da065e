//! What tests need: keys, tokens, a clock that is wound by hand, and the attack catalogue (feature `testing`).
//!
//! [`Mint`] makes good tokens for the tests of a service; [`conformance!`](crate::conformance) runs the whole
//! catalogue, [`ATTACKS`], against a verifier as a service has configured it. Everything here may panic.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod attacks;
mod clock;
mod conformance;
mod forge;
mod key;
mod mint;
mod number;
mod table;
mod target;

pub use clock::WoundClock;
#[doc(hidden)]
pub use conformance::assert_withstood;
pub use conformance::{Attack, Defect, Input, Verdict};
pub use key::TestKey;
pub use mint::Mint;
pub use table::ATTACKS;
pub use target::Target;
