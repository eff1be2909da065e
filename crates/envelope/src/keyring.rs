use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cipher::Cipher;
use crate::format::MAX_PLAINTEXT;
use crate::key::check_version;
use crate::{Context, DataKey, OpenError, SealError, Sealed, Secret, Suite};

const MOST_SEALS: u64 = 1 << 32;

/// The data keys of one namespace: one active key that seals, and all those whose values must still open.
///
/// It never changes; a reload makes a new one. It does no input or output and can be shared between threads.
pub struct Keyring {
    namespace: String,
    active: ParsedKey,
    others: Vec<ParsedKey>,
    retired: BTreeSet<u32>,
}

/// Why a key ring was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The active version is not among the keys.
    #[error("the active data key, version {0}, is missing")]
    ActiveMissing(u32),
    /// Two keys have the same version.
    #[error("two data keys have version {0}")]
    Duplicate(u32),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] SealError),
}

impl Keyring {
    /// Parses the keys, so that sealing and opening need not.
    ///
    /// # Errors
    /// If the active version is missing, a version occurs twice, or one is outside of 1 … 999,999,999.
    pub fn new(namespace: impl Into<String>, keys: Vec<DataKey>, active: u32) -> Result<Self, KeyringError> {
        let mut seen = BTreeSet::new();
        let mut others = Vec::with_capacity(keys.len());
        for key in &keys {
            if !seen.insert(key.version()) {
                return Err(KeyringError::Duplicate(key.version()));
            }
            others.push(ParsedKey::new(key)?);
        }
        let position = others.iter().position(|key| key.version == active);
        let active = others.swap_remove(position.ok_or(KeyringError::ActiveMissing(active))?);
        Ok(Self { namespace: namespace.into(), active, others, retired: BTreeSet::new() })
    }

    /// Names the versions that are retired, so that their values are refused as such and not as unknown.
    #[must_use]
    pub fn with_retired(self, versions: impl IntoIterator<Item = u32>) -> Self {
        Self { retired: versions.into_iter().collect(), ..self }
    }

    /// The namespace whose keys these are.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The version that new values get.
    #[must_use]
    pub const fn active_version(&self) -> u32 {
        self.active.version
    }

    /// Seals a plaintext with the active key, for this context only, under a fresh random nonce.
    ///
    /// The count of 2^32 seals per key lives in this key ring only; one that survives restarts is not kept
    /// yet.
    ///
    /// # Errors
    /// [`SealError::TooLong`] above 1,048,548 bytes, [`SealError::Exhausted`] after 2^32 seals,
    /// [`SealError::Backend`] if generator or cipher fail.
    pub fn seal(&self, context: &Context, plaintext: &[u8]) -> Result<Sealed, SealError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(SealError::TooLong);
        }
        let key = &self.active;
        key.count_use()?;
        let payload = key.cipher.seal(&key.associated_data(context), plaintext)?;
        Ok(Sealed::from_payload(key.version, &payload))
    }

    /// Opens a sealed value with exactly the key that its version names; no other key is tried.
    ///
    /// # Errors
    /// [`OpenError::Authentication`] for a wrong key, a wrong context or changed bytes alike;
    /// [`OpenError::UnknownVersion`] and [`OpenError::Retired`] if that key is not here.
    pub fn unseal(&self, context: &Context, sealed: &Sealed) -> Result<Secret<Vec<u8>>, OpenError> {
        let key = self.find(sealed.version())?;
        let mut buffer = zeroize::Zeroizing::new(sealed.payload()?);
        key.cipher.open(&key.associated_data(context), &mut buffer)?;
        Ok(Secret::new(std::mem::take(&mut *buffer)))
    }

    /// Whether the value was sealed by another key than the active one.
    #[must_use]
    pub const fn needs_reseal(&self, sealed: &Sealed) -> bool {
        sealed.version() != self.active.version
    }

    fn find(&self, version: u32) -> Result<&ParsedKey, OpenError> {
        let found = std::iter::once(&self.active).chain(&self.others).find(|key| key.version == version);
        found.ok_or_else(|| match self.retired.contains(&version) {
            true => OpenError::Retired,
            false => OpenError::UnknownVersion(version),
        })
    }
}

struct ParsedKey {
    version: u32,
    suite: Suite,
    cipher: Cipher,
    seals: AtomicU64,
}

impl ParsedKey {
    fn new(key: &DataKey) -> Result<Self, SealError> {
        check_version(key.version())?;
        Ok(Self {
            version: key.version(),
            suite: key.suite(),
            cipher: key.cipher()?,
            seals: AtomicU64::new(0),
        })
    }

    fn associated_data(&self, context: &Context) -> Vec<u8> {
        match self.suite {
            Suite::Gcm => Vec::new(),
            Suite::GcmCtx => context.encode(),
        }
    }

    /// SP 800-38D §8.3: with random 96-bit nonces a key seals at most 2^32 times.
    fn count_use(&self) -> Result<(), SealError> {
        if self.seals.fetch_add(1, Ordering::Relaxed) < MOST_SEALS {
            Ok(())
        } else {
            Err(SealError::Exhausted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known_key(version: u32, suite: Suite) -> DataKey {
        DataKey::from_bytes(version, suite, &std::array::from_fn(|i| i as u8))
    }

    fn known_answer(version: u32, suite: Suite) -> (String, Keyring, Context) {
        let keyring = Keyring::new("default", vec![known_key(version, suite)], version).ok().unwrap();
        let context =
            Context::column("user_secrets", "totp_secret").row("018f5b7e-7b3a-7c3e-9c1d-2f6a1d0b9e44");
        let nonce = std::array::from_fn(|i| 0xa0 + i as u8);
        let key = &keyring.active;
        let aad = key.associated_data(&context);
        let payload = key.cipher.seal_with_nonce(nonce, &aad, b"sk_live_abc123def456").unwrap();
        (Sealed::from_payload(version, &payload).into_string(), keyring, context)
    }

    #[test]
    fn suite_gcm_gives_the_known_answer() {
        let (text, keyring, context) = known_answer(1, Suite::Gcm);
        assert_eq!(text, "v1:oKGio6SlpqeoqaqrlXMjQSy9Z-ADB-TiNUmkuxaYbCbQ0ee3N33bKo5bdBKwnAOc");
        let sealed = Sealed::parse(text).unwrap();
        let elsewhere = Context::column("a", "b").unbound_row();
        for place in [context, elsewhere] {
            assert_eq!(keyring.unseal(&place, &sealed).ok().unwrap().expose(), b"sk_live_abc123def456");
        }
    }

    #[test]
    fn suite_gcm_ctx_gives_the_known_answer() {
        let (text, keyring, context) = known_answer(2, Suite::GcmCtx);
        assert_eq!(text, "v2:oKGio6SlpqeoqaqrlXMjQSy9Z-ADB-TiNUmkuxaYbCZLaryeIoYpbJmRZtwzaH-w");
        let sealed = Sealed::parse(text).unwrap();
        assert_eq!(keyring.unseal(&context, &sealed).ok().unwrap().expose(), b"sk_live_abc123def456");
    }

    #[test]
    fn a_key_seals_at_most_two_to_the_thirty_two_times() {
        let (_, keyring, context) = known_answer(1, Suite::GcmCtx);
        keyring.active.seals.store(MOST_SEALS - 1, Ordering::Relaxed);
        let last = keyring.seal(&context, b"x").unwrap();
        assert_eq!(keyring.seal(&context, b"x"), Err(SealError::Exhausted));
        assert_eq!(keyring.seal(&context, b"x"), Err(SealError::Exhausted));
        assert!(keyring.unseal(&context, &last).is_ok());
    }

    #[test]
    fn a_key_ring_needs_its_active_key_once() {
        let key = |version| known_key(version, Suite::GcmCtx);
        let refusal = |keys, active| Keyring::new("default", keys, active).err();
        assert_eq!(refusal(vec![], 1), Some(KeyringError::ActiveMissing(1)));
        assert_eq!(refusal(vec![key(1)], 2), Some(KeyringError::ActiveMissing(2)));
        assert_eq!(refusal(vec![key(1), key(2), key(1)], 2), Some(KeyringError::Duplicate(1)));
        assert_eq!(refusal(vec![key(0)], 0), Some(KeyringError::Key(SealError::Version(0))));
    }
}
