use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;

use crate::{OpenError, SealError};

pub(crate) const KEY: usize = 32;
pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;

/// AES-256-GCM over the payload `nonce ‖ ciphertext ‖ tag`, with the key schedule computed once.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    pub(crate) fn new(key: &[u8; KEY]) -> Result<Self, Unspecified> {
        Ok(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?)))
    }

    pub(crate) fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce)?;
        self.seal_with_nonce(nonce, aad, plaintext)
    }

    /// For [`seal`](Self::seal) and for known answers only: a nonce that returns reveals the key's
    /// authentication part.
    pub(crate) fn seal_with_nonce(
        &self,
        nonce: [u8; NONCE],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut payload = Vec::with_capacity(NONCE + plaintext.len() + TAG);
        payload.extend_from_slice(&nonce);
        payload.extend_from_slice(plaintext);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut payload[NONCE..])?;
        payload.extend_from_slice(tag.as_ref());
        Ok(payload)
    }

    /// Turns the payload into the plaintext in place; the caller wipes the buffer, whose spare capacity holds
    /// remains.
    pub(crate) fn open(&self, aad: &[u8], payload: &mut Vec<u8>) -> Result<(), OpenError> {
        let nonce = payload.first_chunk::<NONCE>().ok_or(OpenError::Malformed)?;
        let nonce = Nonce::from(nonce);
        let plaintext = self
            .0
            .open_within(nonce, Aad::from(aad), payload, NONCE..)
            .map_err(|Unspecified| OpenError::Authentication)?;
        let length = plaintext.len();
        payload.truncate(length);
        Ok(())
    }
}
