//! Keyward: authentication and token issuing. Passwords in, RS256 access tokens out, keys that rotate by themselves.
//!
//! The rooms and who may enter which are described in ARCHITECTURE.md; `tests/it/architecture.rs` keeps it true.

pub mod account;
pub mod app;
pub mod audit;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod failpoint;
pub mod grant;
pub mod http;
pub mod limit;
pub mod metrics;
pub mod password;
pub mod random;
pub mod secrets;
pub mod session;
pub mod signing;
pub mod store;
