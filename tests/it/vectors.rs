//! Vectors of others for primitives that Keyward combines itself. Those checked beside the code they judge:
//! RFC 7515 A.2 (RS256) in `crates/verifier/tests/attacks/agreement.rs`, RFC 7638 3.1 (thumbprint) in
//! `crates/verifier/src/jwk.rs`, RFC 9106 5.3 (Argon2id) in `src/password/kernel.rs`, and those of imported hashes
//! (RFC 7914, Openwall) in `src/password/phc.rs`.
//!
//! RFC 2202 has vectors for HMAC-MD5 and HMAC-SHA-1 only. Keyward makes a MAC with neither,
//! so there is nothing to hold against them; RFC 4231 repeats the same inputs for SHA-256.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// RFC 4231 4.2 to 4.8: key, data, HMAC-SHA-256 (of case 5 the first 128 bits).
fn cases() -> Vec<(Vec<u8>, Vec<u8>, &'static str)> {
    vec![
        (
            vec![0x0b; 20],
            b"Hi There".to_vec(),
            "b0344c61d8db38535ca8afceaf0bf12b 881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe".to_vec(),
            b"what do ya want for nothing?".to_vec(),
            "5bdcc146bf60754e6a042426089575c7 5a003f089d2739839dec58b964ec3843",
        ),
        (
            vec![0xaa; 20],
            vec![0xdd; 50],
            "773ea91e36800e46854db8ebd09181a7 2959098b3ef8c122d9635514ced565fe",
        ),
        (
            (1..=25).collect(),
            vec![0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a 85f0faa3e578f8077a2e3ff46729665b",
        ),
        (vec![0x0c; 20], b"Test With Truncation".to_vec(), "a3b6167473100ee06e0c796c2955552b"),
        (
            vec![0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
            "60e431591ee0b67f0d8a26aacbf5b77f 8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            vec![0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than block-size data. The key needs \
              to be hashed before being used by the HMAC algorithm."
                .to_vec(),
            "9b09ffa71b942fcb27635fbcd5b0e944 bfdc63644f0713938a7f51535c3a35e2",
        ),
    ]
}

#[test]
fn hmac_sha_256_gives_what_rfc_4231_says() {
    for (number, (key, data, expected)) in (1..).zip(cases()) {
        let expected = bytes(expected);
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).unwrap();
        mac.update(&data);
        let found = mac.finalize().into_bytes();
        assert_eq!(found[..expected.len()], expected, "case {number}");
    }
}

#[test]
fn a_key_padded_to_the_block_by_hand_gives_the_same_mac() {
    // As `session/keys.rs` does with its keys of 32 bytes.
    for (number, (key, data, expected)) in (1..).zip(cases()).filter(|(_, (key, ..))| key.len() <= 64) {
        let mut block = [0_u8; 64];
        block[..key.len()].copy_from_slice(&key);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        mac.update(&data);
        assert!(mac.verify_truncated_left(&bytes(expected)).is_ok(), "case {number}");
    }
}
