//! How the bad input of every row is made. The functions carry the names of their rows in [`super::table`].

pub(super) mod algorithm;
pub(super) mod claims;
pub(super) mod extension;
pub(super) mod keys;
pub(super) mod lookup;
pub(super) mod operation;
mod padding;
pub(super) mod set;
pub(super) mod signature;
pub(super) mod structure;
pub(super) mod time;
