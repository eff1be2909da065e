//! Every bound and every default in one place.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

/// The longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest header, once decoded.
pub const MAX_HEADER_BYTES: usize = 1024;
/// How deep JSON may nest, in headers, claims and key sets; the outermost object is level one.
pub const MAX_DEPTH: usize = 8;
/// The longest JWK Set that is read.
pub const MAX_SET_BYTES: usize = 64 * 1024;
/// The most keys in a set, counting those that are skipped.
pub const MAX_KEYS: usize = 100;
/// The longest key id.
pub const MAX_KEY_ID_BYTES: usize = 128;
/// The longest `sub`, `jti`, `client_id` and `sid`.
pub const MAX_IDENTIFIER_BYTES: usize = 255;
/// The most tokens in a scope.
pub const MAX_SCOPE_TOKENS: usize = 64;
/// The longest token of a scope.
pub const MAX_SCOPE_TOKEN_BYTES: usize = 128;

/// How far the issuer's clock may be off unless told otherwise.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// The most leeway that can be asked for.
pub const MAX_LEEWAY: Duration = Duration::from_secs(120);
/// The longest `exp` − `iat` that is accepted unless told otherwise.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The sizes of an RSA modulus, in bits.
pub const MODULUS_BITS: RangeInclusive<usize> = 2048..=8192;
/// The exponents of an RSA key; even ones are refused as well.
pub const EXPONENTS: Range<u64> = 65_537..1 << 33;
