#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cipher;
mod context;
mod error;
mod format;
mod key;
mod keyring;
mod master;
mod secret;

pub use context::{ColumnContext, Context};
pub use error::{OpenError, SealError};
pub use format::Sealed;
pub use key::{DataKey, Suite, UnknownSuite, WrappedKey};
pub use keyring::{Keyring, KeyringError};
pub use master::{MasterKey, MasterKeyError, MasterKeys};
pub use secret::Secret;
