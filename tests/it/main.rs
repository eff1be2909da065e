//! The integration tests: one binary, the real service on real listeners.
#![expect(unreachable_pub, reason = "a test binary has no readers outside")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod abuse;
mod app;
mod architecture;
mod bodies;
mod cli;
mod contract;
mod crash;
mod docs;
mod forge;
mod fuzz;
mod honest;
mod keys;
mod leaks;
mod login;
mod nginx;
mod process;
mod refresh;
mod schema;
mod serve;
mod sessions;
mod store_contract;
mod vectors;
mod wire;
