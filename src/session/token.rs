//! The refresh token: `kwr1.` ‖ base64url(key id ‖ session id ‖ counter ‖ MAC).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;
use zeroize::Zeroizing;

const PREFIX: &str = "kwr1.";
const BODY: usize = 1 + 16 + 4;
const MAC: usize = 32;
const TEXT: usize = PREFIX.len() + (BODY + MAC) * 4 / 3 + 1;

/// A refresh token taken apart; its MAC is not checked yet (`RefreshKeys::check` does that).
#[derive(Clone)]
pub struct RefreshToken {
    /// Which refresh key made it.
    pub key_id: u8,
    /// Which session it belongs to.
    pub session: Uuid,
    /// Which token of that session it is.
    pub counter: u32,
    pub(super) mac: [u8; MAC],
}

/// The text is not a refresh token, or nobody here made it. One error for all of it, so that a guess learns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid refresh token")]
pub struct InvalidRefreshToken;

impl RefreshToken {
    /// Takes the text apart.
    ///
    /// # Errors
    /// [`InvalidRefreshToken`] unless it is exactly the canonical form.
    pub fn parse(text: &str) -> Result<RefreshToken, InvalidRefreshToken> {
        if text.len() != TEXT {
            return Err(InvalidRefreshToken);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidRefreshToken)?;
        let mut bytes = Zeroizing::new([0_u8; BODY + MAC]);
        let decoded =
            URL_SAFE_NO_PAD.decode_slice(encoded, &mut bytes[..]).map_err(|_| InvalidRefreshToken)?;
        if decoded != BODY + MAC {
            return Err(InvalidRefreshToken);
        }
        let mut session = [0; 16];
        session.copy_from_slice(&bytes[1..17]);
        let mut counter = [0; 4];
        counter.copy_from_slice(&bytes[17..21]);
        let mut mac = [0; MAC];
        mac.copy_from_slice(&bytes[21..]);
        Ok(RefreshToken {
            key_id: bytes[0],
            session: Uuid::from_bytes(session),
            counter: u32::from_be_bytes(counter),
            mac,
        })
    }

    /// The text that a client presents.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0_u8; BODY + MAC]);
        bytes[0] = self.key_id;
        bytes[1..17].copy_from_slice(self.session.as_bytes());
        bytes[17..21].copy_from_slice(&self.counter.to_be_bytes());
        bytes[21..].copy_from_slice(&self.mac);
        let mut text = Zeroizing::new(String::with_capacity(TEXT));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&bytes[..], &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(key_id: u8, counter: u32, mac: [u8; MAC]) -> RefreshToken {
        RefreshToken { key_id, session: Uuid::from_u128(0x0123_4567_89ab), counter, mac }
    }

    #[test]
    fn padding_whitespace_and_other_prefixes_are_refused() {
        let good = token(1, 7, [9; MAC]).to_text();
        assert!(RefreshToken::parse(&good).is_ok());
        for bad in [format!("{}=", *good), format!(" {}", *good), good.replace("kwr1", "kwr2"), String::new()]
        {
            assert!(RefreshToken::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unused_bits_must_be_zero() {
        let good = token(1, 7, [0; MAC]).to_text();
        let (head, last) = good.split_at(good.len() - 1);
        assert_eq!(last, "A");
        assert!(RefreshToken::parse(&format!("{head}B")).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(key_id: u8, counter: u32, mac: [u8; MAC]) {
            let text = token(key_id, counter, mac).to_text();
            let read = RefreshToken::parse(&text).unwrap();
            prop_assert_eq!((read.key_id, read.counter, read.mac), (key_id, counter, mac));
            prop_assert_eq!(&*read.to_text(), &*text);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,120}") {
            let _ = RefreshToken::parse(&text);
        }
    }
}
