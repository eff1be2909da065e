//! The functions that turn a password into a hash, and the memory they work in.

use std::fmt;
use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

/// Bytes of salt and of output that new hashes have.
pub(super) const SALT: usize = 16;
pub(super) const OUTPUT: usize = 32;

/// Which function with which costs; shown as the label under which work is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipe {
    Argon2 { variant: Algorithm, version: Version, memory_kib: u32, iterations: u32, parallelism: u32 },
    Bcrypt { cost: u32 },
    Scrypt { log_n: u8, r: u32, p: u32 },
    Pbkdf2 { digest: Sha2, iterations: NonZeroU32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sha2 {
    Sha256,
    Sha512,
}

/// The kernel refused its parameters, or there was no memory for them.
#[derive(Debug)]
pub(super) struct Unhashable;

impl Recipe {
    /// Bytes of memory that computing it takes.
    pub(super) fn memory(&self) -> u64 {
        match *self {
            Recipe::Argon2 { memory_kib, .. } => u64::from(memory_kib) * 1024,
            Recipe::Bcrypt { .. } => 4168,
            Recipe::Scrypt { r, p, .. } => self
                .scrypt_table()
                .saturating_add(u64::from(r).saturating_mul(128).saturating_mul(u64::from(p))),
            Recipe::Pbkdf2 { .. } => 1024,
        }
    }

    /// scrypt's 128·N·r; zero for the others.
    pub(super) fn scrypt_table(&self) -> u64 {
        let Recipe::Scrypt { log_n, r, .. } = *self else { return 0 };
        let rows = 1_u64.checked_shl(u32::from(log_n)).unwrap_or(u64::MAX);
        rows.saturating_mul(u64::from(r)).saturating_mul(128)
    }

    /// Bytes that it takes beyond an arena of `arena_kib`.
    pub(super) fn memory_beyond(&self, arena_kib: u32) -> u64 {
        match *self {
            Recipe::Argon2 { memory_kib, .. } if memory_kib <= arena_kib => 0,
            _ => self.memory(),
        }
    }

    /// Fills `out` from the password's bytes and the salt.
    pub(super) fn compute(
        &self,
        password: &[u8],
        salt: &[u8],
        arena: &mut Arena,
        out: &mut [u8],
    ) -> Result<(), Unhashable> {
        match *self {
            Recipe::Argon2 { variant, version, memory_kib, iterations, parallelism } => {
                let params = Params::new(memory_kib, iterations, parallelism, Some(out.len()));
                arena.argon2(
                    &Argon2::new(variant, version, params.map_err(|_| Unhashable)?),
                    password,
                    salt,
                    out,
                )
            }
            Recipe::Bcrypt { cost } => {
                let salt = <[u8; 16]>::try_from(salt).map_err(|_| Unhashable)?;
                if !(4..=31).contains(&cost) {
                    return Err(Unhashable);
                }
                // bcrypt reads 72 bytes of the password and its terminating zero.
                let mut key = Zeroizing::new(Vec::with_capacity(73));
                key.extend(password.iter().copied().take(72).chain([0]));
                let hash = Zeroizing::new(bcrypt::bcrypt(cost, salt, &key[..key.len().min(72)]));
                out.copy_from_slice(hash.get(..out.len()).ok_or(Unhashable)?);
                Ok(())
            }
            Recipe::Scrypt { log_n, r, p } => {
                let params = scrypt::Params::new(log_n, r, p).map_err(|_| Unhashable)?;
                scrypt::scrypt(password, salt, &params, out).map_err(|_| Unhashable)
            }
            Recipe::Pbkdf2 { digest, iterations } => {
                let algorithm = match digest {
                    Sha2::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
                    Sha2::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
                };
                pbkdf2::derive(algorithm, iterations, salt, password, out);
                Ok(())
            }
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Recipe::Argon2 { variant, version, memory_kib, iterations, parallelism } => {
                write!(f, "{} m={memory_kib} t={iterations} p={parallelism}", variant.as_str())?;
                if version == Version::V0x13 { Ok(()) } else { f.write_str(" v=16") }
            }
            Recipe::Bcrypt { cost } => write!(f, "bcrypt cost={cost}"),
            Recipe::Scrypt { log_n, r, p } => write!(f, "scrypt ln={log_n} r={r} p={p}"),
            Recipe::Pbkdf2 { digest: Sha2::Sha256, iterations } => write!(f, "pbkdf2-sha256 i={iterations}"),
            Recipe::Pbkdf2 { digest: Sha2::Sha512, iterations } => write!(f, "pbkdf2-sha512 i={iterations}"),
        }
    }
}

/// The blocks that one thread fills again and again.
///
/// They are not wiped between two hashes: the next one overwrites them, and wiping costs as much as a pass of hashing.
/// Whoever can read them can read the passwords on their way here, too.
pub(super) struct Arena(Vec<Block>);

impl Arena {
    /// Room for `memory_kib`, touched now so that no later hash pays for it; nothing if there is no such memory.
    pub(super) fn new(memory_kib: u32) -> Option<Arena> {
        let count = usize::try_from(memory_kib).ok()?;
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(count).ok()?;
        blocks.resize(count, Block::default());
        Some(Arena(blocks))
    }

    pub(super) fn memory_kib(&self) -> usize {
        self.0.len()
    }

    fn argon2(
        &mut self,
        kernel: &Argon2<'_>,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), Unhashable> {
        let needed = kernel.params().block_count();
        let filled = if needed <= self.0.len() {
            kernel.hash_password_into_with_memory(password, salt, out, &mut self.0)
        } else {
            let mut larger = Arena::new(kernel.params().m_cost()).ok_or(Unhashable)?;
            kernel.hash_password_into_with_memory(password, salt, out, &mut larger.0)
        };
        filled.map_err(|_| Unhashable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_computes_the_vector_of_rfc_9106() {
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let kernel = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
        // One arena that is used before and is large enough, one that is too small.
        for memory_kib in [64, 8] {
            let mut arena = Arena::new(memory_kib).unwrap();
            arena.0.iter_mut().for_each(|block| block.as_mut().fill(u64::MAX));
            let mut tag = [0; 32];
            arena.argon2(&kernel, &[1; 32], &[2; 16], &mut tag).unwrap();
            assert_eq!(
                tag,
                [
                    0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53,
                    0xc9, 0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01,
                    0xe6, 0x59,
                ]
            );
        }
    }
}
