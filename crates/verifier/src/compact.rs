//! The outer form of a token: three segments of base64url (RFC 7515 §7.1).

use crate::json;
use crate::limits::{MAX_HEADER_BYTES, MAX_TOKEN_BYTES};
use crate::refusal::Reason;

/// So that nothing is decoded of a header that is too long.
const MAX_ENCODED_HEADER: usize = (MAX_HEADER_BYTES * 4).div_ceil(3);

/// What a token consists of; nothing of it has been understood or trusted yet.
pub(crate) struct Compact<'a> {
    /// Header and payload as they were received, which is what the signature covers.
    pub(crate) signed: &'a str,
    pub(crate) header: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    pub(crate) fn split(token: &'a str) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Reason::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Reason::Malformed)?;
        if header.len() > MAX_ENCODED_HEADER {
            return Err(Reason::TooLarge);
        }
        let decode = |segment| json::decode(segment).ok_or(Reason::Malformed);
        // A further dot is in the payload, where it is no base64url.
        Ok(Self { signed, header: decode(header)?, payload: decode(payload)?, signature: decode(signature)? })
    }
}
