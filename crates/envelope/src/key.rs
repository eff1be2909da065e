use std::fmt::{self, Write};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::cipher::{Cipher, KEY, NONCE, TAG};
use crate::format::MAX_VERSION;
use crate::{Context, MasterKey, MasterKeys, OpenError, SealError};

/// How a key seals; a property of the key's record, never of the sealed text. Numbers above 2 are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// AES-256-GCM without associated data: the context is ignored. For interchange and import only.
    Gcm = 1,
    /// AES-256-GCM bound to the context; the one to use.
    GcmCtx = 2,
}

/// A suite number that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("suite {0} is not known")]
pub struct UnknownSuite(pub i64);

impl Suite {
    /// The number that is stored beside the key.
    #[must_use]
    pub const fn number(self) -> i64 {
        self as i64
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gcm => "gcm",
            Self::GcmCtx => "gcm-ctx",
        }
    }
}

impl TryFrom<i64> for Suite {
    type Error = UnknownSuite;

    fn try_from(number: i64) -> Result<Self, UnknownSuite> {
        match number {
            1 => Ok(Self::Gcm),
            2 => Ok(Self::GcmCtx),
            _ => Err(UnknownSuite(number)),
        }
    }
}

/// A key of 32 random bytes that seals values; it is stored only as a [`WrappedKey`].
pub struct DataKey {
    version: u32,
    suite: Suite,
    bytes: Zeroizing<[u8; KEY]>,
}

impl DataKey {
    /// Makes a new key from the system's random generator.
    ///
    /// # Errors
    /// [`SealError::Version`] outside of 1 … 999,999,999, [`SealError::Backend`] if the generator fails.
    pub fn generate(version: u32, suite: Suite) -> Result<Self, SealError> {
        check_version(version)?;
        let mut bytes = Zeroizing::new([0; KEY]);
        aws_lc_rs::rand::fill(&mut *bytes)?;
        Ok(Self { version, suite, bytes })
    }

    /// Takes over a key that was made elsewhere; the caller wipes its own copy.
    ///
    /// A version outside of 1 … 999,999,999 is refused where the key is used.
    #[must_use]
    pub fn from_bytes(version: u32, suite: Suite, bytes: &[u8; KEY]) -> Self {
        Self { version, suite, bytes: Zeroizing::new(*bytes) }
    }

    /// The number that stands in front of everything this key seals.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// How this key seals.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The key check value: 16 hex digits that tell keys apart and reveal nothing of the key.
    ///
    /// HKDF-Expand with SHA-256 (RFC 5869 §2.3) of the key, info `keyward/kcv/1`, 8 bytes.
    #[must_use]
    pub fn kcv(&self) -> String {
        hex(&fingerprint(&self.bytes, b"keyward/kcv/1"))
    }

    /// Seals the key itself under a master key, bound to its version, its suite and the namespace.
    ///
    /// # Errors
    /// [`SealError::Version`] outside of 1 … 999,999,999, [`SealError::Backend`] if generator or cipher fail.
    pub fn wrap(&self, master: &MasterKey, namespace: &str) -> Result<WrappedKey, SealError> {
        check_version(self.version)?;
        let ctx = wrapping_context(self.version, self.suite, namespace);
        Ok(WrappedKey {
            version: self.version,
            suite: self.suite,
            master_key_id: master.id().to_owned(),
            kcv: self.kcv(),
            bytes: Cipher::new(master.bytes())?.seal(&ctx.encode(), &*self.bytes)?,
        })
    }

    pub(crate) fn cipher(&self) -> Result<Cipher, SealError> {
        Ok(Cipher::new(&self.bytes)?)
    }
}

/// A data key as it is stored: sealed under a master key, with what is needed to open it.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// The version of the data key.
    pub version: u32,
    /// How the data key seals.
    pub suite: Suite,
    /// Which master key opens this.
    pub master_key_id: String,
    /// The key check value of the data key.
    pub kcv: String,
    /// Nonce (12), ciphertext (32) and tag (16).
    pub bytes: Vec<u8>,
}

impl WrappedKey {
    /// Opens the data key and checks that it is the one whose check value was stored.
    ///
    /// # Errors
    /// [`OpenError::KeyUnavailable`] for an unknown master key, [`OpenError::Malformed`] for a wrong length,
    /// [`OpenError::Authentication`] if anything in the record, or the namespace, is not what was wrapped.
    pub fn unwrap(&self, masters: &MasterKeys, namespace: &str) -> Result<DataKey, OpenError> {
        let master = masters.find(&self.master_key_id).ok_or(OpenError::KeyUnavailable)?;
        if self.bytes.len() != NONCE + KEY + TAG {
            return Err(OpenError::Malformed);
        }
        let ctx = wrapping_context(self.version, self.suite, namespace);
        let mut buffer = Zeroizing::new(self.bytes.clone());
        Cipher::new(master.bytes())
            .map_err(|_| OpenError::Authentication)?
            .open(&ctx.encode(), &mut buffer)?;
        let bytes = buffer.first_chunk::<KEY>().ok_or(OpenError::Malformed)?;
        let key = DataKey::from_bytes(self.version, self.suite, bytes);
        match verify_slices_are_equal(key.kcv().as_bytes(), self.kcv.as_bytes()) {
            Ok(()) => Ok(key),
            Err(_) => Err(OpenError::Authentication),
        }
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappedKey")
            .field("version", &self.version)
            .field("suite", &self.suite)
            .field("master_key_id", &self.master_key_id)
            .field("kcv", &self.kcv)
            .finish_non_exhaustive()
    }
}

pub(crate) fn check_version(version: u32) -> Result<(), SealError> {
    if (1..=MAX_VERSION).contains(&version) { Ok(()) } else { Err(SealError::Version(version)) }
}

fn wrapping_context(version: u32, suite: Suite, namespace: &str) -> Context {
    Context::column("encryption_keys", "key").row(version.to_string()).tenant(namespace).purpose(suite.name())
}

/// HKDF-Expand with SHA-256 to 8 bytes; up to 32 bytes that is one HMAC over `info ‖ 1` (RFC 5869 §2.3).
pub(crate) fn fingerprint(key: &[u8; KEY], info: &[u8]) -> [u8; 8] {
    let mut hmac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    hmac.update(info);
    hmac.update(&[1]);
    let mut out = [0; 8];
    out.copy_from_slice(&hmac.sign().as_ref()[..8]);
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTERS: &str = "\
        new AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n\
        old ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8\n";

    fn masters() -> MasterKeys {
        MasterKeys::parse(MASTERS).unwrap()
    }

    fn wrapped() -> WrappedKey {
        DataKey::from_bytes(7, Suite::GcmCtx, &[9; 32]).wrap(masters().current(), "default").unwrap()
    }

    fn refusal(wrapped: &WrappedKey, namespace: &str) -> OpenError {
        wrapped.unwrap(&masters(), namespace).err().unwrap()
    }

    #[test]
    fn the_check_value_is_the_known_answer() {
        let key: [u8; 32] = std::array::from_fn(|i| i as u8);
        assert_eq!(DataKey::from_bytes(1, Suite::Gcm, &key).kcv(), "1785c4966aa4b4c0");
    }

    #[test]
    fn a_wrapped_key_opens_to_the_same_key() {
        let key = DataKey::generate(3, Suite::GcmCtx).unwrap();
        for master in [masters().current(), masters().find("old").unwrap()] {
            let wrapped = key.wrap(master, "default").unwrap();
            assert_eq!((wrapped.bytes.len(), wrapped.master_key_id.as_str()), (60, master.id()));
            let opened = wrapped.unwrap(&masters(), "default").ok().unwrap();
            assert_eq!(*opened.bytes, *key.bytes);
            assert_eq!((opened.version(), opened.suite()), (3, Suite::GcmCtx));
        }
    }

    #[test]
    fn generated_keys_differ() {
        let key = || DataKey::generate(1, Suite::GcmCtx).unwrap().kcv();
        assert_ne!(key(), key());
    }

    #[test]
    fn a_wrapped_key_cannot_be_moved() {
        let original = wrapped();
        assert_eq!(refusal(&original, "other"), OpenError::Authentication);
        let moved = [
            WrappedKey { version: 8, ..original.clone() },
            WrappedKey { suite: Suite::Gcm, ..original.clone() },
            WrappedKey { master_key_id: "old".into(), ..original.clone() },
            WrappedKey { kcv: "0011223344556677".into(), ..original.clone() },
            WrappedKey { kcv: String::new(), ..original.clone() },
        ];
        for record in moved {
            assert_eq!(refusal(&record, "default"), OpenError::Authentication, "{record:?}");
        }
        for position in 0..original.bytes.len() {
            let mut flipped = original.clone();
            flipped.bytes[position] ^= 1;
            assert_eq!(refusal(&flipped, "default"), OpenError::Authentication, "{position}");
        }
    }

    #[test]
    fn an_unknown_master_key_is_unavailable() {
        let record = WrappedKey { master_key_id: "gone".into(), ..wrapped() };
        assert_eq!(refusal(&record, "default"), OpenError::KeyUnavailable);
    }

    #[test]
    fn a_wrapped_key_of_another_length_is_malformed() {
        for length in (0..60).chain(61..70) {
            let record = WrappedKey { bytes: vec![0; length], ..wrapped() };
            assert_eq!(refusal(&record, "default"), OpenError::Malformed, "{length}");
        }
    }

    #[test]
    fn a_version_outside_the_format_is_refused() {
        for version in [0, MAX_VERSION + 1, u32::MAX] {
            assert_eq!(DataKey::generate(version, Suite::Gcm).err(), Some(SealError::Version(version)));
            let key = DataKey::from_bytes(version, Suite::Gcm, &[0; 32]);
            assert_eq!(key.wrap(masters().current(), "").err(), Some(SealError::Version(version)));
        }
    }

    #[test]
    fn suites_have_their_numbers() {
        for suite in [Suite::Gcm, Suite::GcmCtx] {
            assert_eq!(Suite::try_from(suite.number()), Ok(suite));
        }
        for number in [i64::MIN, -1, 0, 3, i64::MAX] {
            assert_eq!(Suite::try_from(number), Err(UnknownSuite(number)));
        }
    }

    #[test]
    fn debug_of_a_wrapped_key_shows_no_bytes() {
        let shown = format!("{:?}", wrapped());
        assert!(shown.ends_with(", .. }") && !shown.contains("bytes"), "{shown}");
    }
}
