//! What the operator sets, and whether it can work on this machine.

use std::time::Duration;

use argon2::{Algorithm, Params, Version};

use super::kernel::{OUTPUT, Recipe};
use crate::random::NoRandomness;

/// How new hashes are made, and what may be in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashSettings {
    /// Argon2id's m, in KiB.
    pub memory_kib: u32,
    /// Argon2id's t.
    pub iterations: u32,
    /// Argon2id's p, in lanes; all lanes of one hash are computed by one thread.
    pub parallelism: u32,
    /// Hashing threads; 0 means one less than the machine has cores, and at least one.
    pub threads: usize,
    /// The most jobs that wait.
    pub queue: usize,
    /// The most bytes that all admitted jobs together need beyond the threads' arenas: foreign or older hashes that
    /// need more memory than the current ones, and the passwords themselves.
    pub queue_bytes: u64,
    /// A job that cannot start within this is refused.
    pub deadline: Duration,
    /// What a comparison must stay below, or the time of an answer tells whose hash it was: `login.quantum`.
    pub quantum: Duration,
}

impl HashSettings {
    /// What new hashes are computed with, if Argon2 takes it.
    pub(super) fn recipe(&self) -> Result<Recipe, StartRefused> {
        let HashSettings { memory_kib, iterations, parallelism, .. } = *self;
        if Params::new(memory_kib, iterations, parallelism, Some(OUTPUT)).is_err() {
            return Err(StartRefused::Parameters { memory_kib, iterations, parallelism });
        }
        let (variant, version) = (Algorithm::Argon2id, Version::V0x13);
        Ok(Recipe::Argon2 { variant, version, memory_kib, iterations, parallelism })
    }

    /// How many threads that is on this machine.
    pub(super) fn threads_here(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1)),
            threads => threads,
        }
    }

    /// Refuses what would end in the container being killed under load.
    pub(super) fn fits(&self, limit: Option<u64>) -> Result<(), StartRefused> {
        let (threads, memory_kib, beyond) = (self.threads_here(), self.memory_kib, self.queue_bytes);
        let arenas = u64::try_from(threads).unwrap_or(u64::MAX).saturating_mul(u64::from(memory_kib) * 1024);
        let needed = arenas.saturating_add(beyond);
        match limit {
            Some(limit) if needed > limit => Err(StartRefused::Memory {
                needed: needed.div_ceil(1 << 20),
                threads,
                memory_kib,
                beyond: beyond.div_ceil(1 << 20),
                limit: limit >> 20,
            }),
            _ => Ok(()),
        }
    }
}

/// Why the hasher does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartRefused {
    /// Argon2 does not take these parameters.
    #[error(
        "Argon2 cannot hash with m={memory_kib} t={iterations} p={parallelism}: m must be at least 8 times p, and neither t nor p zero"
    )]
    Parameters {
        /// m in KiB.
        memory_kib: u32,
        /// t.
        iterations: u32,
        /// p.
        parallelism: u32,
    },
    /// It would not fit into the container.
    #[error(
        "hashing needs {needed} MiB ({threads} threads of {memory_kib} KiB, and {beyond} MiB for other hashes), but the memory limit is {limit} MiB: lower password.threads, password.memory_kib or password.queue_memory"
    )]
    Memory {
        /// MiB in all.
        needed: u64,
        /// Threads.
        threads: usize,
        /// KiB per thread.
        memory_kib: u32,
        /// MiB beyond the arenas.
        beyond: u64,
        /// MiB that there are.
        limit: u64,
    },
    /// The arenas could not be allocated.
    #[error("there is no memory for the hashing threads")]
    Allocation,
    /// A thread could not be started.
    #[error("a hashing thread could not be started")]
    Thread(#[source] std::io::Error),
    /// No salt could be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_numbers() {
        let settings = HashSettings {
            memory_kib: 65_536,
            iterations: 2,
            parallelism: 1,
            threads: 4,
            queue: 256,
            queue_bytes: 80 << 20,
            deadline: Duration::from_secs(2),
            quantum: Duration::from_millis(100),
        };
        let refused = settings.fits(Some(256 << 20)).unwrap_err().to_string();
        assert!(
            refused.contains("336 MiB") && refused.contains("256 MiB") && refused.contains("4 threads"),
            "{refused}"
        );
        assert!(settings.fits(Some(336 << 20)).is_ok());
        assert!(settings.fits(None).is_ok());
    }
}
