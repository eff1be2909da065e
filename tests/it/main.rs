//! The integration tests: one binary, the real service on real listeners.
#![expect(unreachable_pub, reason = "a test binary has no readers outside")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod app;
mod bodies;
mod contract;
mod forge;
mod fuzz;
mod honest;
mod keys;
mod login;
mod refresh;
mod schema;
mod sessions;
mod store_contract;
mod vectors;
mod wire;
