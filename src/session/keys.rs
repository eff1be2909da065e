//! The keys behind refresh tokens: two versions live at a time, each with a MAC key and a derivation key.

use aws_lc_rs::hkdf;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::token::{InvalidRefreshToken, RefreshToken};
use crate::clock::Timestamp;

const MAC_LABEL: &[u8] = b"keyward/refresh/1";
const DERIVE_LABEL: &[u8] = b"keyward/refresh-derived/1";

struct RefreshKey {
    id: u8,
    mac: Hmac<Sha256>,
    derive: Hmac<Sha256>,
}

/// The refresh keys that are alive, the newest first.
pub struct RefreshKeys(Vec<RefreshKey>);

/// What a session, its counter and its claims determine about an access token: the same each time they are the same.
pub struct DerivedId {
    /// The `jti`, 22 base64url characters.
    pub jti: String,
    entropy: u64,
}

impl DerivedId {
    /// A whole number of seconds from 0 to `most`.
    pub fn jitter(&self, most: u64) -> u64 {
        most.checked_add(1).map_or(self.entropy, |values| self.entropy % values)
    }
}

impl RefreshKeys {
    /// From root secrets with their versions, the newest first.
    ///
    /// # Errors
    /// A sentence, when there is none.
    pub fn new(secrets: &[(u8, Zeroizing<[u8; 32]>)]) -> Result<RefreshKeys, String> {
        if secrets.is_empty() {
            return Err("there is no refresh key".into());
        }
        secrets
            .iter()
            .map(|(id, secret)| {
                let mut derived = Zeroizing::new([0_u8; 32]);
                hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
                    .extract(&secret[..])
                    .expand(&[DERIVE_LABEL], hkdf::HKDF_SHA256)
                    .and_then(|okm| okm.fill(&mut derived[..]))
                    .map_err(|_| "the refresh key could not be derived".to_owned())?;
                Ok(RefreshKey { id: *id, mac: keyed(secret), derive: keyed(&derived) })
            })
            .collect::<Result<_, String>>()
            .map(RefreshKeys)
    }

    /// The version that makes new tokens.
    pub fn current_id(&self) -> u8 {
        self.0.first().map_or(0, |key| key.id)
    }

    /// How many versions are alive here.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether this version is alive here.
    pub fn knows(&self, id: u8) -> bool {
        self.find(id).is_some()
    }

    /// Makes the refresh token of `session` at `counter`, with the key `id` or, if that is gone, the current one.
    pub fn make(&self, id: u8, session: Uuid, counter: u32, client: Uuid) -> Option<RefreshToken> {
        let key = self.find(id).or_else(|| self.0.first())?;
        let mut token = RefreshToken { key_id: key.id, session, counter, mac: [0; 32] };
        token.mac = mac_of(key, &token, client).finalize().into_bytes().into();
        Some(token)
    }

    /// Checks the MAC, in constant time.
    ///
    /// # Errors
    /// [`InvalidRefreshToken`] when no living key made it for this client.
    pub fn check(&self, token: &RefreshToken, client: Uuid) -> Result<(), InvalidRefreshToken> {
        let key = self.find(token.key_id).ok_or(InvalidRefreshToken)?;
        mac_of(key, token, client).verify_slice(&token.mac).map_err(|_| InvalidRefreshToken)
    }

    /// Derives what must be the same for an honest retry from the session's state and a digest of the other claims.
    pub fn derive(
        &self,
        id: u8,
        session: Uuid,
        counter: u32,
        rotated_at: Timestamp,
        claims_digest: &[u8; 32],
    ) -> Option<DerivedId> {
        let key = self.find(id).or_else(|| self.0.first())?;
        let mut mac = key.derive.clone();
        mac.update(session.as_bytes());
        mac.update(&counter.to_be_bytes());
        mac.update(&u64::try_from(rotated_at.0).unwrap_or(0).to_be_bytes());
        mac.update(claims_digest);
        let bytes = mac.finalize().into_bytes();
        let mut entropy = [0; 8];
        entropy.copy_from_slice(&bytes[16..24]);
        Some(DerivedId { jti: URL_SAFE_NO_PAD.encode(&bytes[..16]), entropy: u64::from_be_bytes(entropy) })
    }

    fn find(&self, id: u8) -> Option<&RefreshKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

pub(super) fn keyed(secret: &[u8; 32]) -> Hmac<Sha256> {
    // A key of 32 bytes is padded to the hash's block, which is what every HMAC does (RFC 2104 §2).
    let mut block = Zeroizing::new([0_u8; 64]);
    block[..32].copy_from_slice(secret);
    <Hmac<Sha256> as KeyInit>::new((&*block).into())
}

fn mac_of(key: &RefreshKey, token: &RefreshToken, client: Uuid) -> Hmac<Sha256> {
    let mut mac = key.mac.clone();
    mac.update(MAC_LABEL);
    mac.update(token.session.as_bytes());
    mac.update(&token.counter.to_be_bytes());
    mac.update(client.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(versions: &[u8]) -> RefreshKeys {
        let secrets: Vec<_> = versions.iter().map(|v| (*v, Zeroizing::new([*v; 32]))).collect();
        RefreshKeys::new(&secrets).unwrap()
    }

    #[test]
    fn a_token_is_good_only_for_its_session_counter_client_and_key() {
        let keys = keys(&[2, 1]);
        let (session, client) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let good = keys.make(2, session, 5, client).unwrap();
        assert_eq!(keys.check(&good, client), Ok(()));
        assert!(keys.check(&good, Uuid::from_u128(3)).is_err());
        for change in [
            (|t: &mut RefreshToken| t.counter = 6) as fn(&mut RefreshToken),
            |t| t.session = Uuid::from_u128(9),
            |t| t.key_id = 1,
            |t| t.key_id = 7,
            |t| t.mac[31] ^= 1,
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(keys.check(&bad, client).is_err());
        }
    }

    #[test]
    fn the_previous_key_still_checks_and_the_one_before_does_not() {
        let (session, client) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let old = keys(&[1]).make(1, session, 1, client).unwrap();
        assert!(keys(&[2, 1]).check(&old, client).is_ok());
        assert!(keys(&[3, 2]).check(&old, client).is_err());
    }

    #[test]
    fn derived_ids_differ_with_every_input_and_share_no_byte_run_with_the_mac() {
        let keys = keys(&[1]);
        let session = Uuid::from_u128(1);
        let derive =
            |counter, at, digest| keys.derive(1, session, counter, Timestamp(at), &[digest; 32]).unwrap();
        let first = derive(1, 1_000, 0);
        assert_eq!(first.jti, derive(1, 1_000, 0).jti);
        for other in [derive(2, 1_000, 0), derive(1, 1_001, 0), derive(1, 1_000, 1)] {
            assert_ne!(first.jti, other.jti);
        }
        let text = keys.make(1, session, 1, Uuid::nil()).unwrap().to_text();
        assert!(!text.contains(&first.jti));
        assert!((0..100).all(|at| derive(1, at, 0).jitter(30) <= 30));
    }
}
