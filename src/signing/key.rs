//! A private signing key: generated, sealed, unsealed, and held parsed.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use keyward_envelope::{Context, Keyring, Sealed};
use keyward_verifier::{Jwk, thumbprint};
use zeroize::Zeroizing;

use crate::clock::{Clock, Timestamp};
use crate::signing::{ALG, SigningError, pem};
use crate::store::{KeyState, SigningKey};

/// The longest RSA signature a key of ours makes, in bytes.
pub const LONGEST_SIGNATURE: usize = 512;

/// The size of the RSA modulus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bits {
    /// 2048 bit.
    #[default]
    Rsa2048,
    /// 3072 bit.
    Rsa3072,
    /// 4096 bit.
    Rsa4096,
}

impl TryFrom<u32> for Bits {
    type Error = String;

    fn try_from(bits: u32) -> Result<Bits, String> {
        match bits {
            2048 => Ok(Bits::Rsa2048),
            3072 => Ok(Bits::Rsa3072),
            4096 => Ok(Bits::Rsa4096),
            other => Err(format!("RSA keys have 2048, 3072 or 4096 bits, not {other}")),
        }
    }
}

/// A private RSA key, parsed once; aws-lc overwrites its memory when it is dropped.
pub struct PrivateKey(KeyPair);

impl PrivateKey {
    /// Generates a key. Takes tenths of a second up to seconds: call it on a blocking thread.
    ///
    /// # Errors
    /// [`SigningError::Generate`] when the generator fails.
    pub fn generate(bits: Bits) -> Result<PrivateKey, SigningError> {
        let size = match bits {
            Bits::Rsa2048 => KeySize::Rsa2048,
            Bits::Rsa3072 => KeySize::Rsa3072,
            Bits::Rsa4096 => KeySize::Rsa4096,
        };
        KeyPair::generate(size).map(PrivateKey).map_err(|_| SigningError::Generate)
    }

    /// Parses PKCS#8 DER (RFC 5208) and checks that its numbers belong together.
    ///
    /// # Errors
    /// [`SigningError::Unusable`] when it is not a consistent RSA key of at most 4096 bit.
    pub fn from_pkcs8(der: &[u8]) -> Result<PrivateKey, SigningError> {
        let pair =
            KeyPair::from_pkcs8(der).map_err(|_| SigningError::Unusable("not a consistent RSA key"))?;
        if pair.public_modulus_len() > LONGEST_SIGNATURE {
            return Err(SigningError::Unusable("longer than 4096 bit"));
        }
        Ok(PrivateKey(pair))
    }

    /// The key as PKCS#8 DER.
    ///
    /// # Errors
    /// [`SigningError::Generate`] when it cannot be written.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, SigningError> {
        let der = self.0.as_der().map_err(|_| SigningError::Generate)?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    /// The public half.
    ///
    /// # Errors
    /// [`SigningError::Unusable`] when the modulus or exponent is out of bounds.
    pub fn public(&self) -> Result<Jwk, SigningError> {
        use aws_lc_rs::signature::KeyPair as _;
        Ok(pem::public_from_pkcs1(self.0.public_key().as_ref(), pem::LARGEST_PRIVATE)?)
    }

    /// Signs with RSASSA-PKCS1-v1_5 and SHA-256 (RFC 8017 §8.2) into `out`; how many bytes it took.
    ///
    /// # Errors
    /// [`SigningError::Sign`] when the operation fails.
    pub fn sign(&self, message: &[u8], out: &mut [u8; LONGEST_SIGNATURE]) -> Result<usize, SigningError> {
        let length = self.0.public_modulus_len();
        let signature = out.get_mut(..length).ok_or(SigningError::Sign)?;
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, signature)
            .map_err(|_| SigningError::Sign)?;
        Ok(length)
    }
}

/// Unseals and parses the private half of a stored key, which must be the one its `kid` names.
///
/// # Errors
/// [`SigningError::Open`] when it does not open, [`SigningError::Corrupt`] when it is missing or another key.
pub fn unseal(keyring: &Keyring, key: &SigningKey) -> Result<PrivateKey, SigningError> {
    let corrupt = |why| SigningError::Corrupt { kid: key.kid.clone(), why };
    let shut = |cause| SigningError::Open { kid: key.kid.clone(), cause };
    let sealed = key.private.as_deref().ok_or_else(|| corrupt("its private part is missing"))?;
    let der = Sealed::parse(sealed).and_then(|sealed| keyring.unseal(&place(&key.kid), &sealed));
    let private = PrivateKey::from_pkcs8(der.map_err(shut)?.expose())
        .map_err(|_| corrupt("its private part is not a consistent RSA key"))?;
    if private.public()?.kid.as_str() == key.kid {
        Ok(private)
    } else {
        Err(corrupt("its private part belongs to another public key"))
    }
}

/// The public half of a stored key, which must be the one its `kid` names.
///
/// # Errors
/// [`SigningError::Corrupt`] when it cannot be read or its thumbprint (RFC 7638) is another.
pub fn public(key: &SigningKey) -> Result<Jwk, SigningError> {
    let corrupt = |why| SigningError::Corrupt { kid: key.kid.clone(), why };
    let jwk: Jwk =
        serde_json::from_str(&key.public_jwk).map_err(|_| corrupt("its public part cannot be read"))?;
    if jwk.kid.as_str() == key.kid && thumbprint(&jwk.n, &jwk.e) == jwk.kid {
        Ok(jwk)
    } else {
        Err(corrupt("its id is not the thumbprint of its public part"))
    }
}

/// A staged record for a key: its private half sealed for this row, stamped with `now`.
///
/// # Errors
/// When the key cannot be written or sealed.
pub fn staged(
    keyring: &Keyring,
    pkcs8: &[u8],
    public: &Jwk,
    max_lifetime: u32,
    now: Timestamp,
) -> Result<SigningKey, SigningError> {
    let mut key = record(public, max_lifetime, now)?;
    key.private = Some(keyring.seal(&place(&key.kid), pkcs8)?.into_string());
    Ok(key)
}

/// A staged record of a public key alone.
pub(super) fn record(public: &Jwk, max_lifetime: u32, now: Timestamp) -> Result<SigningKey, SigningError> {
    let jwk =
        serde_json::to_string(public).map_err(|_| SigningError::Unusable("its JWK cannot be written"))?;
    Ok(written(public.kid.as_str(), jwk, max_lifetime, now))
}

fn written(kid: &str, public_jwk: String, max_lifetime: u32, now: Timestamp) -> SigningKey {
    SigningKey {
        kid: kid.to_owned(),
        alg: ALG.to_owned(),
        state: KeyState::Staged,
        public_jwk,
        private: None,
        max_lifetime,
        staged_at: now,
        activated_at: None,
        retiring_at: None,
        publish_until: None,
        retired_at: None,
        revoked_at: None,
    }
}

fn place(kid: &str) -> Context {
    Context::column("signing_keys", "private").row(kid)
}

/// Makes the keys of a ring: their size, the lifetime they start with, and what seals them.
pub struct Maker {
    keyring: Arc<Keyring>,
    source: Source,
    lifetime: u32,
}

enum Source {
    Rsa(Bits),
    /// Numbers instead of keys, for the model of the ring's life.
    #[cfg(test)]
    Fake(std::sync::atomic::AtomicU32),
}

impl Maker {
    /// Keys of `bits`, sealed by `keyring`, that may sign tokens of up to `lifetime` seconds from the outset.
    pub fn new(keyring: Arc<Keyring>, bits: Bits, lifetime: u32) -> Maker {
        Maker { keyring, source: Source::Rsa(bits), lifetime }
    }

    #[cfg(test)]
    pub(super) fn fake(keyring: Arc<Keyring>, lifetime: u32) -> Maker {
        Maker { keyring, source: Source::Fake(std::sync::atomic::AtomicU32::new(0)), lifetime }
    }

    /// Generates a staged key on a blocking thread; it is stamped when it is ready.
    ///
    /// # Errors
    /// When generating or sealing fails.
    pub async fn make(&self, clock: &Clock) -> Result<SigningKey, SigningError> {
        let bits = match &self.source {
            Source::Rsa(bits) => *bits,
            #[cfg(test)]
            Source::Fake(count) => {
                let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                return Ok(fake(&format!("k{number}"), self.lifetime, clock.now()));
            }
        };
        let keyring = Arc::clone(&self.keyring);
        let (lifetime, clock) = (self.lifetime, clock.clone());
        tokio::task::spawn_blocking(move || {
            let key = PrivateKey::generate(bits)?;
            staged(&keyring, &key.to_pkcs8()?, &key.public()?, lifetime, clock.now())
        })
        .await
        .map_err(|_| SigningError::Generate)?
    }

    /// A staged record of an imported private key.
    ///
    /// # Errors
    /// When it is not consistent or cannot be sealed.
    pub fn adopt(&self, pkcs8: &[u8], now: Timestamp) -> Result<SigningKey, SigningError> {
        let key = PrivateKey::from_pkcs8(pkcs8)?;
        let mut signature = [0; LONGEST_SIGNATURE];
        key.sign(b"the halves belong together", &mut signature)?;
        staged(&self.keyring, pkcs8, &key.public()?, self.lifetime, now)
    }
}

#[cfg(test)]
pub(super) fn fake(kid: &str, max_lifetime: u32, now: Timestamp) -> SigningKey {
    let jwk = format!("{{\"kid\":\"{kid}\"}}");
    SigningKey { private: Some(format!("private {kid}")), ..written(kid, jwk, max_lifetime, now) }
}
