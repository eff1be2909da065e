//! The JOSE header, reduced to the four members that decide anything.

use serde::Deserialize;

use crate::json::{self, Present, Unknown, some};
use crate::jwk::KeyId;

/// Keys, key locations and compression in a header are attacker's data and are not even kept (RFC 8725 §3.10).
#[derive(Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    #[serde(default, deserialize_with = "some")]
    pub(crate) kid: Option<KeyId>,
    #[serde(default, deserialize_with = "some")]
    typ: Option<String>,
    #[serde(default)]
    pub(crate) crit: Present,
    #[serde(flatten)]
    _others: Unknown,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        json::parse(bytes)
    }

    /// Whether `typ` names this media type, with or without `application/`, in any case (RFC 7515 §4.1.9).
    pub(crate) fn is_typ(&self, expected: &str) -> bool {
        self.typ.as_deref().is_some_and(|typ| bare(typ).eq_ignore_ascii_case(bare(expected)))
    }
}

fn bare(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    }
}
