use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::OpenError;
use crate::cipher::{NONCE, TAG};

pub(crate) const MAX_VERSION: u32 = 999_999_999;
pub(crate) const MAX_PLAINTEXT: usize = MAX_PAYLOAD - MIN_PAYLOAD;
const MIN_PAYLOAD: usize = NONCE + TAG;
const MAX_PAYLOAD: usize = 1 << 20;

/// A sealed value in the form that is stored: `v<version>:<base64url>`, checked, never a plaintext.
///
/// The version is 1 … 999,999,999 without a leading zero; the rest is canonical base64url without padding
/// (RFC 4648 §5) of 28 bytes … 1 MiB: nonce (12), ciphertext, tag (16).
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    version: u32,
    text: String,
}

impl Sealed {
    /// Checks the whole format; uses no key, so it says nothing about whether the value opens.
    ///
    /// # Errors
    /// [`OpenError::Malformed`] for anything that [`Keyring::seal`](crate::Keyring::seal) cannot have
    /// written.
    pub fn parse(text: impl Into<String>) -> Result<Self, OpenError> {
        let text = text.into();
        match check(&text) {
            Some(version) => Ok(Self { version, text }),
            None => Err(OpenError::Malformed),
        }
    }

    /// The version of the key that sealed the value.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The text to store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text to store, without a copy.
    #[must_use]
    pub fn into_string(self) -> String {
        self.text
    }

    pub(crate) fn from_payload(version: u32, payload: &[u8]) -> Self {
        let mut text = String::with_capacity(11 + payload.len().div_ceil(3) * 4);
        text.push('v');
        text.push_str(&version.to_string());
        text.push(':');
        URL_SAFE_NO_PAD.encode_string(payload, &mut text);
        Self { version, text }
    }

    pub(crate) fn payload(&self) -> Result<Vec<u8>, OpenError> {
        let (_, encoded) = self.text.split_once(':').ok_or(OpenError::Malformed)?;
        URL_SAFE_NO_PAD.decode(encoded).map_err(|_| OpenError::Malformed)
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("version", &self.version).finish_non_exhaustive()
    }
}

fn check(text: &str) -> Option<u32> {
    let (digits, encoded) = text.strip_prefix('v')?.split_once(':')?;
    let version = version(digits)?;
    let length = encoded.len() / 4 * 3 + (encoded.len() % 4).saturating_sub(1);
    let well_formed = (MIN_PAYLOAD..=MAX_PAYLOAD).contains(&length) && is_canonical(encoded.as_bytes());
    well_formed.then_some(version)
}

fn version(digits: &str) -> Option<u32> {
    let plain = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || digits.starts_with('0') { None } else { digits.parse().ok() }
}

/// Unused bits and impossible lengths show in the last group of four alone, so nothing else is decoded here.
fn is_canonical(encoded: &[u8]) -> bool {
    let last = &encoded[encoded.len() / 4 * 4..];
    encoded.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && URL_SAFE_NO_PAD.decode_slice(last, &mut [0; 4]).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(length: usize) -> String {
        format!("v1:{}", URL_SAFE_NO_PAD.encode(vec![0xfb; length]))
    }

    fn is_malformed(text: &str) -> bool {
        Sealed::parse(text) == Err(OpenError::Malformed)
    }

    #[test]
    fn every_length_below_28_bytes_is_malformed() {
        for length in 0..28 {
            assert!(is_malformed(&sealed(length)), "{length}");
        }
        for length in 28..64 {
            assert!(Sealed::parse(sealed(length)).is_ok(), "{length}");
        }
    }

    #[test]
    fn a_payload_above_one_mebibyte_is_malformed() {
        assert!(Sealed::parse(sealed(MAX_PAYLOAD)).is_ok());
        assert!(is_malformed(&sealed(MAX_PAYLOAD + 1)));
        assert!(is_malformed(&sealed(10 << 20)));
        assert!(is_malformed(&"A".repeat(10 << 20)));
        assert!(is_malformed(&format!("v{}", "1".repeat(10 << 20))));
    }

    #[test]
    fn the_version_has_exactly_one_spelling() {
        let body = URL_SAFE_NO_PAD.encode([7; 28]);
        for version in [1, 9, 10, 4_294, 999_999_999] {
            assert_eq!(Sealed::parse(format!("v{version}:{body}")).unwrap().version(), version);
        }
        let bad = [
            "",
            "v",
            "v0",
            "v00",
            "v01",
            "V1",
            "1",
            "v+1",
            "v-1",
            "v 1",
            " v1",
            "v1 ",
            "v1_000",
            "v1.0",
            "v1e3",
            "v0x1",
            "v1000000000",
            "v4294967297",
            "v18446744073709551617",
            "v١",
            "v１",
            "v²",
            "vv1",
            "v1:v1",
            "v1\0",
            "\u{feff}v1",
        ];
        for prefix in bad {
            assert!(is_malformed(&format!("{prefix}:{body}")), "{prefix:?}");
        }
        for text in [format!("v1{body}"), format!("v1;{body}"), format!("v1：{body}"), body] {
            assert!(is_malformed(&text), "{text}");
        }
    }

    #[test]
    fn only_canonical_base64url_is_accepted() {
        let body = URL_SAFE_NO_PAD.encode([0xfb; 28]);
        assert!(body.contains('-') && body.len() == 38 && body.ends_with("-w"));
        let stem = &body[..37];
        // The last character carries four unused bits: of sixteen spellings one is canonical.
        for last in ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']) {
            let canonical = matches!(last, 'A' | 'Q' | 'g' | 'w');
            assert_eq!(Sealed::parse(format!("v1:{stem}{last}")).is_ok(), canonical, "{last}");
        }
        let standard = body.replace('-', "+");
        let slashes = URL_SAFE_NO_PAD.encode([0xff; 28]).replace('_', "/");
        assert!(slashes.contains('/'));
        let spoiled = [
            standard,
            slashes,
            format!("{body}="),
            format!("{body}=="),
            format!("={body}"),
            format!("{body}\n"),
            format!("{body} "),
            format!(" {body}"),
            format!("{}\r\n{}", &body[..20], &body[20..]),
            format!("{}\t{}", &body[..20], &body[21..]),
            format!("{}\0{}", &body[..20], &body[21..]),
            format!("{}é{}", &body[..20], &body[22..]),
            format!("{body}:"),
            format!("{body}AAA"),
        ];
        for text in spoiled {
            assert!(is_malformed(&format!("v1:{text}")), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_only_the_version() {
        let sealed = Sealed::parse(sealed(40)).unwrap();
        assert_eq!(format!("{sealed:?}"), "Sealed { version: 1, .. }");
        assert_eq!(sealed.to_string(), sealed.as_str());
        assert_eq!(sealed.clone().into_string(), sealed.as_str());
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_keeps_what_it_accepts(text in "\\PC*|v[0-9]{0,11}:[A-Za-z0-9_+/=-]{0,80}") {
            if let Ok(sealed) = Sealed::parse(text.as_str()) {
                let again = Sealed::from_payload(sealed.version(), &sealed.payload().unwrap());
                prop_assert_eq!(again.as_str(), text.as_str());
            }
        }

        #[test]
        fn parse_agrees_with_a_full_decoder(body in "[A-Za-z0-9_-]{36,60}|[A-Za-z0-9_+=-]{36,42}") {
            let full = URL_SAFE_NO_PAD.decode(&body).is_ok_and(|payload| payload.len() >= MIN_PAYLOAD);
            prop_assert_eq!(Sealed::parse(format!("v7:{body}")).is_ok(), full);
        }
    }
}
