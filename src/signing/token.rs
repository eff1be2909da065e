//! Signing: one compact JWS (RFC 7515 §3.1) out of claims, at the price of the RSA operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header};
use keyward_verifier::AccessClaims;

use crate::signing::SigningError;
use crate::signing::key::{LONGEST_SIGNATURE, PrivateKey};

/// The key that signs, with what is the same in all of its tokens.
pub struct ActiveKey {
    kid: String,
    private: PrivateKey,
    header: String,
    max_lifetime: AtomicU32,
    tally: Arc<Tally>,
}

/// What a key signed since the last flush, for display only.
#[derive(Debug, Default)]
pub(super) struct Tally {
    tokens: AtomicU64,
    latest_exp: AtomicU64,
}

impl ActiveKey {
    /// A key whose tokens may live `max_lifetime` seconds, as its row in the store says.
    ///
    /// # Errors
    /// [`SigningError::Unusable`] when the header cannot be written.
    pub fn new(kid: String, private: PrivateKey, max_lifetime: u32) -> Result<ActiveKey, SigningError> {
        let mut header = Header::new(Algorithm::RS256);
        header.typ = Some(AccessClaims::TYP.to_owned());
        header.kid = Some(kid.clone());
        let json = serde_json::to_vec(&header).map_err(|_| SigningError::Unusable("without a header"))?;
        let mut header = URL_SAFE_NO_PAD.encode(json);
        header.push('.');
        let max_lifetime = AtomicU32::new(max_lifetime);
        Ok(ActiveKey { kid, private, header, max_lifetime, tally: Arc::default() })
    }

    /// Its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The longest lifetime in seconds that is recorded in the store.
    pub fn max_lifetime(&self) -> u32 {
        self.max_lifetime.load(Ordering::Acquire)
    }

    pub(super) fn raised(&self, seconds: u32) {
        self.max_lifetime.fetch_max(seconds, Ordering::AcqRel);
    }

    pub(super) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }
}

impl Tally {
    fn count(&self, exp: u64) {
        self.latest_exp.fetch_max(exp, Ordering::Relaxed);
        self.tokens.fetch_add(1, Ordering::Relaxed);
    }

    /// Tokens since the last call, and the latest expiry of all.
    pub(super) fn take(&self) -> (u64, u64) {
        (self.tokens.swap(0, Ordering::Relaxed), self.latest_exp.load(Ordering::Relaxed))
    }

    pub(super) fn put_back(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }
}

/// Signs `claims` as an RFC 9068 access token. Takes a third of a millisecond of CPU with 2048 bit.
///
/// # Errors
/// [`SigningError::Lifetime`] when `exp - iat` is above what the key's row allows, [`SigningError::Sign`] when the
/// RSA operation fails.
pub fn sign(key: &ActiveKey, claims: &AccessClaims) -> Result<String, SigningError> {
    if claims.exp.saturating_sub(claims.iat) > u64::from(key.max_lifetime()) {
        return Err(SigningError::Lifetime);
    }
    let mut payload = Vec::with_capacity(512);
    serde_json::to_writer(&mut payload, claims).map_err(|_| SigningError::Sign)?;
    let room = key.header.len() + (payload.len() + LONGEST_SIGNATURE) / 3 * 4 + 9;
    let mut token = String::with_capacity(room);
    token.push_str(&key.header);
    URL_SAFE_NO_PAD.encode_string(&payload, &mut token);
    let mut signature = [0; LONGEST_SIGNATURE];
    let length = key.private.sign(token.as_bytes(), &mut signature)?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature.get(..length).ok_or(SigningError::Sign)?, &mut token);
    key.tally.count(claims.exp);
    Ok(token)
}
