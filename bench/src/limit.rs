//! The limits: the bare operations that no service can do without, in CPU time per operation.

use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;

use crate::{Outcome, cpu};

/// A token's header and payload have about this length.
const MESSAGE: usize = 640;

/// RSA-2048, PKCS#1 v1.5, SHA-256, with a key parsed once.
pub struct Rsa(pub KeyPair);

impl Rsa {
    pub fn generate() -> Outcome<Rsa> {
        Ok(Rsa(KeyPair::generate(KeySize::Rsa2048)?))
    }

    pub fn sign(&self, message: &[u8], signature: &mut [u8]) -> Outcome<()> {
        Ok(self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, signature)?)
    }

    /// CPU time of one signature while `threads` threads sign.
    pub fn cost(&self, threads: usize, times: u32) -> Outcome<Duration> {
        mean_of(threads, || {
            let (message, mut signature) = ([b'x'; MESSAGE], [0; 256]);
            self.sign(&message, &mut signature)?;
            let before = cpu::of_this_thread();
            for _ in 0..times {
                self.sign(&message, &mut signature)?;
            }
            Ok((cpu::of_this_thread() - before) / times)
        })
    }
}

/// CPU time of one Argon2id hash with the shipped parameters while `threads` threads hash, each in its own arena.
pub fn argon2(password: &keyward::config::PasswordSettings, threads: usize, times: u32) -> Outcome<Duration> {
    let params = Params::new(password.memory_kib, password.iterations, password.parallelism, Some(32))
        .map_err(|wrong| wrong.to_string())?;
    let kernel = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    mean_of(threads, || {
        let mut arena = vec![Block::default(); kernel.params().block_count()];
        let mut out = [0; 32];
        let mut hash =
            || kernel.hash_password_into_with_memory(b"a password", &[7; 16], &mut out, &mut arena);
        hash().map_err(|failed| failed.to_string())?;
        let before = cpu::of_this_thread();
        for _ in 0..times {
            hash().map_err(|failed| failed.to_string())?;
        }
        Ok((cpu::of_this_thread() - before) / times)
    })
}

fn mean_of(threads: usize, work: impl Fn() -> Outcome<Duration> + Sync) -> Outcome<Duration> {
    let costs = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let joined = running.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?);
        joined.collect::<Outcome<Vec<Duration>>>()
    })?;
    Ok(costs.iter().sum::<Duration>() / u32::try_from(threads)?)
}
