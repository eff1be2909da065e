//! Recognises RSA moduli of a faulty generator whose factors can be computed (ROCA, CVE-2017-15361).

const GENERATOR: u32 = 65_537;
/// The odd primes up to here make chance hits rarer than one in 2^27 keys.
const LARGEST_PRIME: u32 = 167;

/// Whether the big-endian modulus is a power of 65,537 modulo every small prime, as all products of that generator are.
pub(crate) fn is_weak(modulus: &[u8]) -> bool {
    primes().all(|prime| {
        let rest = modulus.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % prime);
        powers(prime).any(|power| power == rest)
    })
}

fn primes() -> impl Iterator<Item = u32> {
    (3..=LARGEST_PRIME).filter(|n| (2..*n).all(|divisor| n % divisor != 0))
}

fn powers(prime: u32) -> impl Iterator<Item = u32> {
    let next = move |power: &u32| Some(power * (GENERATOR % prime) % prime).filter(|power| *power != 1);
    std::iter::successors(Some(1), next)
}
