//! JSON with the rules that tokens need: bounded depth, no name twice, `null` is a wrong type.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::limits::MAX_DEPTH;

/// Parses one UTF-8 document of at most eight levels, or says no.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok().filter(|_| is_shallow(bytes))?;
    serde_json::from_str(text).ok()
}

/// Decodes base64url without padding; any other spelling of the same bytes is refused (RFC 7515 §2).
pub(crate) fn decode(segment: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(segment).ok()
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Counts brackets outside strings; whether they match is left to the parser.
fn is_shallow(bytes: &[u8]) -> bool {
    // So few brackets cannot nest too deeply, wherever they stand; that is every honest token, and quickly counted.
    if bytes.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= MAX_DEPTH {
        return true;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// For an optional member that must have its type when it is there.
pub(crate) fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Whether a member is there, whatever its value.
#[derive(Clone, Copy, Default)]
pub(crate) struct Present(pub(crate) bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Self(true))
    }
}

/// Takes the members that a struct does not know (as its flattened field) and refuses a name given twice.
pub(crate) struct Unknown;

impl<'de> Deserialize<'de> for Unknown {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Unknown {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without repeated names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, _>()? {
            if !seen.insert(name) {
                return Err(A::Error::custom("repeated name"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings_only() {
        assert!(is_shallow(br#"[[[[[[[["[[\"[{"]]]]]]]]"#));
        assert!(!is_shallow(b"[[[[[[[[["));
        assert!(is_shallow(b"[],[],[],[],[],[],[],[],[]"));
    }

    #[test]
    fn a_repeated_unknown_name_is_refused_also_when_escaped() {
        assert!(parse::<Unknown>(br#"{"a":1,"b":2}"#).is_some());
        assert!(parse::<Unknown>(br#"{"a":1,"\u0061":2}"#).is_none());
    }
}
