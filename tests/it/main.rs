//! The integration tests: one binary, the real service on real listeners.
#![expect(missing_docs, unreachable_pub, reason = "a test binary has no readers outside")]

mod app;
mod contract;
mod schema;
mod sessions;
mod store_contract;
