use crate::format::MAX_PLAINTEXT;

/// Why a sealed value or a wrapped key did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Wrong key, wrong context or changed bytes: deliberately one answer for all three.
    #[error("the value does not open here")]
    Authentication,
    /// No key of this version is in the key ring; a reload may bring it.
    #[error("no data key has version {0}")]
    UnknownVersion(u32),
    /// The key of this version is retired: kept sealed, no longer used.
    #[error("the data key of this value is retired")]
    Retired,
    /// The bytes are not in the format, so no key was tried.
    #[error("the value is not in the sealed format")]
    Malformed,
    /// The master key that is needed is not at hand now.
    #[error("the master key is not available")]
    KeyUnavailable,
}

impl OpenError {
    /// Whether the same call can succeed later without anyone changing the stored value.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::KeyUnavailable)
    }
}

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The payload would exceed 1 MiB.
    #[error("a sealed plaintext has at most {MAX_PLAINTEXT} bytes")]
    TooLong,
    /// The key has sealed 2^32 values, the most that random 96-bit nonces allow (SP 800-38D §8.3).
    #[error("the data key is used up: rotate it")]
    Exhausted,
    /// A key version outside of 1 … 999,999,999.
    #[error("{0} is not a key version")]
    Version(u32),
    /// The system's random generator or the cipher failed.
    #[error("the random generator or the cipher failed")]
    Backend,
}

impl From<aws_lc_rs::error::Unspecified> for SealError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Backend
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_master_key_is_retryable() {
        assert!(OpenError::KeyUnavailable.is_retryable());
        let others = [
            OpenError::Authentication,
            OpenError::UnknownVersion(1),
            OpenError::Retired,
            OpenError::Malformed,
        ];
        assert!(others.iter().all(|error| !error.is_retryable()));
    }
}
