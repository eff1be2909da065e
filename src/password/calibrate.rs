//! Which Argon2id costs fit a given time on this machine.

use std::time::Duration;

use argon2::{Algorithm, Version};

use super::kernel::{Arena, OUTPUT, Recipe, SALT};
use crate::clock::Stopwatch;

/// The least that is proposed (OWASP): m in KiB, and t with it.
const LEAST_MEMORY_KIB: u32 = 19_456;
const LEAST_ITERATIONS: u32 = 2;
const MOST_ITERATIONS: u32 = 10;
const STEP_KIB: u32 = 1024;

/// Costs for Argon2id, and what they took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// m in KiB, at least 19,456.
    pub memory_kib: u32,
    /// t, at least 2.
    pub iterations: u32,
    /// p, in lanes.
    pub parallelism: u32,
    /// How long one hash took.
    pub took: Duration,
    /// False if even the least costs take longer than was asked for; they are proposed all the same.
    pub within_target: bool,
}

/// Why there is no proposal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrateRefused {
    /// Less memory is allowed than the least that is proposed.
    #[error("at least {LEAST_MEMORY_KIB} KiB of memory are needed")]
    TooLittleMemory,
    /// Zero lanes, or too many.
    #[error("between 1 and 16 lanes are possible")]
    Lanes,
    /// The memory could not be had, or the kernel failed.
    #[error("a hash of {memory_kib} KiB could not be computed")]
    Unhashable {
        /// m in KiB.
        memory_kib: u32,
    },
}

/// Measures hashes on the calling thread and proposes the highest costs within `target`, which takes some seconds.
///
/// Memory is raised first, up to `most_memory_kib`, and only then the number of passes.
///
/// # Errors
/// [`CalibrateRefused`] in a sentence for the operator.
pub fn calibrate(
    target: Duration,
    most_memory_kib: u32,
    parallelism: u32,
) -> Result<Proposal, CalibrateRefused> {
    let mut arena = Arena::new(0);
    let measure = |memory_kib, iterations| {
        let refused = CalibrateRefused::Unhashable { memory_kib };
        if arena.as_ref().is_none_or(|arena| arena.memory_kib() < memory_kib as usize) {
            arena = Arena::new(memory_kib);
        }
        let Some(arena) = &mut arena else { return Err(refused) };
        let recipe = Recipe::Argon2 {
            variant: Algorithm::Argon2id,
            version: Version::V0x13,
            memory_kib,
            iterations,
            parallelism,
        };
        let mut times = [Duration::ZERO; 3];
        for time in &mut times {
            let watch = Stopwatch::start();
            let hashed = recipe.compute(b"a password of usual length", &[0; SALT], arena, &mut [0; OUTPUT]);
            if hashed.is_err() {
                return Err(refused);
            }
            *time = watch.elapsed();
        }
        times.sort_unstable();
        Ok(times[1])
    };
    propose(target, most_memory_kib, parallelism, measure)
}

/// The decision alone; `measure` is given m and t.
fn propose(
    target: Duration,
    most_memory_kib: u32,
    parallelism: u32,
    mut measure: impl FnMut(u32, u32) -> Result<Duration, CalibrateRefused>,
) -> Result<Proposal, CalibrateRefused> {
    if most_memory_kib < LEAST_MEMORY_KIB {
        return Err(CalibrateRefused::TooLittleMemory);
    }
    if !(1..=16).contains(&parallelism) {
        return Err(CalibrateRefused::Lanes);
    }
    let (mut memory_kib, mut iterations) = (LEAST_MEMORY_KIB, LEAST_ITERATIONS);
    let mut took = measure(memory_kib, iterations)?;
    let within_target = took <= target;
    // The least that was too slow; the search between it and what was fast enough halves the distance.
    let mut too_much = None;
    while within_target && memory_kib < most_memory_kib {
        let next = match too_much {
            None => memory_kib.saturating_mul(2).min(most_memory_kib),
            Some(limit) => (memory_kib + (limit - memory_kib) / 2) / STEP_KIB * STEP_KIB,
        };
        if next <= memory_kib {
            break;
        }
        let time = measure(next, iterations)?;
        if time <= target {
            (memory_kib, took) = (next, time);
        } else {
            too_much = Some(next);
        }
    }
    while within_target && memory_kib == most_memory_kib && iterations < MOST_ITERATIONS {
        let time = measure(memory_kib, iterations + 1)?;
        if time > target {
            break;
        }
        (iterations, took) = (iterations + 1, time);
    }
    Ok(Proposal { memory_kib, iterations, parallelism, took, within_target })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which a MiB takes a millisecond a pass.
    fn proposed(target_ms: u64, most_memory_kib: u32) -> Proposal {
        let measure = |m: u32, t: u32| Ok(Duration::from_micros(u64::from(m) * u64::from(t) * 1000 / 1024));
        propose(Duration::from_millis(target_ms), most_memory_kib, 1, measure).unwrap()
    }

    #[test]
    fn memory_is_raised_to_within_a_step_of_the_target() {
        let proposal = proposed(200, 1 << 20);
        assert_eq!((proposal.memory_kib, proposal.iterations), (100 * 1024, 2));
        assert!(proposal.within_target);
        let proposal = proposed(50, 1 << 20);
        assert_eq!((proposal.memory_kib, proposal.iterations), (25 * 1024, 2));
    }

    #[test]
    fn passes_are_raised_only_when_memory_is_at_its_bound() {
        let proposal = proposed(200, 32 * 1024);
        assert_eq!((proposal.memory_kib, proposal.iterations), (32 * 1024, 6));
        assert_eq!(proposal.took, Duration::from_millis(192));
        assert_eq!(proposed(1_000_000, 32 * 1024).iterations, MOST_ITERATIONS);
    }

    #[test]
    fn a_slow_machine_is_told_so_and_gets_the_least() {
        let proposal = proposed(10, 1 << 20);
        assert_eq!((proposal.memory_kib, proposal.iterations), (LEAST_MEMORY_KIB, LEAST_ITERATIONS));
        assert!(!proposal.within_target);
    }

    #[test]
    fn bounds_that_leave_no_choice_are_refused() {
        assert_eq!(calibrate(Duration::ZERO, 19_455, 1), Err(CalibrateRefused::TooLittleMemory));
        assert_eq!(calibrate(Duration::ZERO, 19_456, 0), Err(CalibrateRefused::Lanes));
    }

    #[test]
    fn a_real_hash_is_measured() {
        let proposal = calibrate(Duration::ZERO, LEAST_MEMORY_KIB, 1).unwrap();
        assert!(proposal.took > Duration::ZERO && !proposal.within_target);
    }
}
