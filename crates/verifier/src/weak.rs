//! Recognises keys for which others than their owner can sign.

const GENERATOR: u32 = 65_537;
/// The odd primes up to here make chance hits rarer than one in 2^27 keys.
const LARGEST_PRIME: u32 = 167;

/// Whether a big-endian RSA modulus comes from a faulty generator whose factors can be computed (ROCA, CVE-2017-15361):
/// it is a power of 65,537 modulo every small prime, as all products of that generator are.
pub(crate) fn is_modulus(modulus: &[u8]) -> bool {
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

/// The y-coordinates, little-endian, of the Ed25519 points whose order divides 8; 0 and 1 also as p and p + 1.
const SMALL_ORDER: [[u8; 32]; 7] = [
    ends(0x00, 0x00, 0x00),
    ends(0x01, 0x00, 0x00),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    ends(0xec, 0xff, 0x7f),
    ends(0xed, 0xff, 0x7f),
    ends(0xee, 0xff, 0x7f),
];

const fn ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// Whether an Ed25519 key is a point of small order: a fixed signature then fits one message in eight or all of them.
pub(crate) fn is_ed25519_point(key: &[u8]) -> bool {
    let Some((last, rest)) = key.split_last() else { return false };
    SMALL_ORDER.iter().any(|[y @ .., top]| y == rest && *top == last & 0x7f)
}
