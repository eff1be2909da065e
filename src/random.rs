//! Randomness that is handed in: the operating system's, or a seeded stream for tests.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock::Timestamp;

/// A source of random bytes.
#[derive(Clone)]
pub struct Random(Source);

#[derive(Clone)]
enum Source {
    System,
    Seeded(Arc<Mutex<(u64, u64)>>),
}

/// The operating system gave no randomness; nothing that needs it may go on.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random generator failed")]
pub struct NoRandomness;

impl Random {
    /// The system's generator.
    pub fn system() -> Random {
        Random(Source::System)
    }

    /// A stream that is the same for the same seed. For tests: it is not secret.
    pub fn seeded(seed: u64) -> Random {
        Random(Source::Seeded(Arc::new(Mutex::new((seed, 0)))))
    }

    /// Fills `out`.
    ///
    /// # Errors
    /// [`NoRandomness`] when the system's generator fails.
    pub fn fill(&self, out: &mut [u8]) -> Result<(), NoRandomness> {
        match &self.0 {
            Source::System => SystemRandom::new().fill(out).map_err(|_| NoRandomness),
            Source::Seeded(state) => {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                for chunk in out.chunks_mut(32) {
                    let mut hash = Sha256::new();
                    hash.update(state.0.to_be_bytes());
                    hash.update(state.1.to_be_bytes());
                    state.1 += 1;
                    chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
                }
                Ok(())
            }
        }
    }

    /// A new UUIDv7 (RFC 9562 §5.7) made at `now`.
    ///
    /// # Errors
    /// As [`Random::fill`].
    pub fn uuid(&self, now: Timestamp) -> Result<Uuid, NoRandomness> {
        let mut bytes = [0_u8; 10];
        self.fill(&mut bytes)?;
        let millis = u64::try_from(now.0).unwrap_or(0);
        Ok(uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid())
    }
}
