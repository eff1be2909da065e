//! Which signature is accepted with which key.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use keyward_verifier::testing::TestKey;
use keyward_verifier::{Algorithm, JwkSet, KeyId, KeySet, PublicKey, Reason, SkipReason, Verifier};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{AUDIENCE, ISSUER, assert_skipped, b64, check, mint, set_with, with, without};

fn allowing(algorithms: &[Algorithm]) -> Verifier {
    Verifier::builder().issuer(ISSUER).audience(AUDIENCE).algorithms(algorithms).build().unwrap()
}

/// A token signed by this key whose header names that algorithm and the key's name.
fn token(key: TestKey, alg: &str, kid: &str) -> String {
    let claims = mint().claims();
    mint().keys([key]).token_of(
        &json!({ "alg": alg, "kid": kid, "typ": "at+jwt" }),
        &serde_json::to_value(&claims).unwrap(),
    )
}

fn outcome(verifier: &Verifier, token: &str, keys: &KeySet) -> Result<(), Reason> {
    check(verifier, token, keys, mint().clock().now())
}

fn issuer(algorithm: Algorithm) -> TestKey {
    TestKey::issuer(algorithm)
}

fn jwk(algorithm: Algorithm) -> Value {
    issuer(algorithm).jwk()
}

#[test]
fn every_algorithm_is_accepted_where_it_is_allowed_and_only_there() {
    for algorithm in Algorithm::ALL {
        let key = issuer(algorithm);
        let (token, keys) = (token(key, algorithm.name(), &key.kid()), set_with(&[key.jwk()]));
        assert_eq!(outcome(&allowing(&[algorithm]), &token, &keys), Ok(()), "{algorithm}");
        let others: Vec<_> = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        assert_eq!(outcome(&allowing(&others), &token, &keys), Err(Reason::AlgNotAllowed), "{algorithm}");
    }
}

#[test]
fn a_key_serves_no_algorithm_but_its_own() {
    let verifier = allowing(&Algorithm::ALL);
    for own in Algorithm::ALL {
        for named in Algorithm::ALL {
            let keys = set_with(&[jwk(own)]);
            // Well signed as the header says, where the key can do that at all.
            let token = token(issuer(named), named.name(), &issuer(own).kid());
            let expected = if own == named { Ok(()) } else { Err(Reason::KeyMismatch) };
            assert_eq!(outcome(&verifier, &token, &keys), expected, "{named} with a key for {own}");
        }
    }
}

#[test]
fn a_signature_of_another_algorithm_under_the_right_name_is_bad() {
    let verifier = allowing(&Algorithm::ALL);
    for own in Algorithm::ALL {
        for used in Algorithm::ALL.into_iter().filter(|used| *used != own) {
            let token = token(issuer(used), own.name(), &issuer(own).kid());
            let keys = set_with(&[jwk(own)]);
            assert_eq!(outcome(&verifier, &token, &keys), Err(Reason::SignatureInvalid), "{used} as {own}");
        }
    }
}

#[test]
fn a_key_without_alg_serves_the_one_algorithm_of_its_type() {
    let verifier = allowing(&Algorithm::ALL);
    for algorithm in Algorithm::ALL {
        let keys = set_with(&[without(jwk(algorithm), "alg")]);
        let token = token(issuer(algorithm), algorithm.name(), &issuer(algorithm).kid());
        let default = matches!(algorithm, Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa);
        let expected = if default { Ok(()) } else { Err(Reason::KeyMismatch) };
        assert_eq!(outcome(&verifier, &token, &keys), expected, "{algorithm}");
    }
}

#[test]
fn eddsa_has_two_names_for_one_key_type() {
    let (key, verifier) = (issuer(Algorithm::EdDsa), allowing(&[Algorithm::EdDsa]));
    for published in ["EdDSA", "Ed25519"] {
        let keys = set_with(&[with(key.jwk(), "alg", published)]);
        for named in ["EdDSA", "Ed25519"] {
            assert_eq!(outcome(&verifier, &token(key, named, &key.kid()), &keys), Ok(()));
        }
        let other = token(key, "Ed448", &key.kid());
        assert_eq!(outcome(&verifier, &other, &keys), Err(Reason::AlgNotAllowed));
    }
    assert_skipped(with(key.jwk(), "alg", "Ed448"), SkipReason::UnsupportedAlgorithm);
}

#[test]
fn alg_kty_and_crv_of_a_key_must_agree() {
    use Algorithm::{EdDsa, Es256, Rs256};
    for (algorithm, foreign) in
        [(Rs256, "ES256"), (Rs256, "EdDSA"), (Es256, "RS256"), (Es256, "EdDSA"), (EdDsa, "ES256")]
    {
        assert_skipped(with(jwk(algorithm), "alg", foreign), SkipReason::UnsupportedAlgorithm);
    }
    for curve in ["P-384", "P-521", "secp256k1", "Ed25519", "p-256", ""] {
        assert_skipped(with(jwk(Es256), "crv", curve), SkipReason::UnsupportedCurve);
    }
    for curve in ["Ed448", "X25519", "P-256", "ed25519"] {
        assert_skipped(with(jwk(EdDsa), "crv", curve), SkipReason::UnsupportedCurve);
    }
    assert_skipped(with(jwk(Es256), "kty", "OKP"), SkipReason::UnsupportedCurve);
    assert_skipped(with(jwk(EdDsa), "kty", "EC"), SkipReason::UnsupportedCurve);
    assert_skipped(with(jwk(Es256), "kty", "RSA"), SkipReason::Malformed);
    for (algorithm, member) in
        [(Es256, "crv"), (Es256, "x"), (Es256, "y"), (EdDsa, "crv"), (EdDsa, "x"), (Rs256, "n"), (Rs256, "e")]
    {
        assert_skipped(without(jwk(algorithm), member), SkipReason::Malformed);
        assert_skipped(with(jwk(algorithm), member, 1), SkipReason::Malformed);
    }
}

#[test]
fn coordinates_have_32_bytes_and_lie_on_the_curve() {
    let decode = |jwk: &Value, name: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()
    };
    for (algorithm, name) in [(Algorithm::Es256, "x"), (Algorithm::Es256, "y"), (Algorithm::EdDsa, "x")] {
        let jwk = jwk(algorithm);
        let good = decode(&jwk, name);
        for bad in [&good[1..], &good[..31], &[&[0], &good[..]].concat(), &[&good[..], &[0]].concat(), &[]] {
            assert_skipped(with(jwk.clone(), name, b64(bad)), SkipReason::PointRefused);
        }
    }
    let jwk = jwk(Algorithm::Es256);
    let mut off = decode(&jwk, "y");
    off[31] ^= 1;
    assert_skipped(with(jwk.clone(), "y", b64(&off)), SkipReason::PointRefused);
    assert_skipped(with(with(jwk, "x", b64(&[0; 32])), "y", b64(&[0; 32])), SkipReason::PointRefused);
}

/// The y-coordinates of all Ed25519 points of small order, with each that has a second spelling.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn ed25519_keys_for_which_anybody_can_sign_are_refused() {
    // R = 1 and S = 0 fit whenever the message's hash is a multiple of the key's order.
    let mut forged = [0; 64];
    forged[0] = 1;
    let mut broken = 0;
    for hex in SMALL_ORDER {
        let mut point: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        for sign in [0, 0x80] {
            point[31] = point[31] & 0x7f | sign;
            let raw = UnparsedPublicKey::new(&ED25519, &point);
            broken += usize::from((0..64_u8).any(|message| raw.verify(&[message], &forged).is_ok()));
            assert_eq!(PublicKey::ed25519(&point).unwrap_err(), SkipReason::PointRefused, "{hex}");
        }
    }
    assert!(broken >= 8, "the library alone lets forgeries through for {broken} of them");
}

#[test]
fn rsa_keys_have_2048_to_8192_bits_for_every_rsa_algorithm() {
    let modulus = |bits: usize| {
        let mut n = vec![0xff; bits.div_ceil(8)];
        n[0] >>= (8 - bits % 8) % 8;
        n
    };
    for algorithm in [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512, Algorithm::Ps256] {
        for bits in [2048, 2049, 3072, 8192] {
            let key = PublicKey::rsa_for(algorithm, &modulus(bits), &[1, 0, 1]).unwrap();
            assert_eq!(key.algorithm(), algorithm);
        }
        for bits in [1024, 2047, 8193, 16_384] {
            let refused = PublicKey::rsa_for(algorithm, &modulus(bits), &[1, 0, 1]);
            assert_eq!(refused.unwrap_err(), SkipReason::ModulusRefused, "{bits}");
        }
    }
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let refused = PublicKey::rsa_for(algorithm, &modulus(2048), &[1, 0, 1]);
        assert_eq!(refused.unwrap_err(), SkipReason::UnsupportedAlgorithm);
    }
    assert_eq!(PublicKey::rsa(&modulus(2048), &[1, 0, 1]).unwrap().algorithm(), Algorithm::Rs256);
}

#[test]
fn a_set_that_is_read_as_ones_own_has_rsa_keys_only() {
    let text = json!({ "keys": [jwk(Algorithm::Ps256)] }).to_string();
    let set: JwkSet = serde_json::from_str(&text).unwrap();
    assert_eq!(KeySet::from_jwks(&set).unwrap().len(), 1);
    let foreign = json!({ "keys": [jwk(Algorithm::Es256)] }).to_string();
    assert!(serde_json::from_str::<JwkSet>(&foreign).is_err());
}

proptest! {
    #[test]
    fn no_coordinates_and_no_signature_panic(
        x in prop::collection::vec(any::<u8>(), 30..34),
        y in prop::collection::vec(any::<u8>(), 30..34),
        signature in prop::collection::vec(any::<u8>(), 0..140),
    ) {
        for key in [PublicKey::p256(&x, &y), PublicKey::ed25519(&x)].into_iter().flatten() {
            prop_assert!(key.verify(b"message", &signature).is_err());
        }
        for algorithm in Algorithm::ALL {
            let set = set_with(&[jwk(algorithm)]);
            let kid = KeyId::parse(&issuer(algorithm).kid()).unwrap();
            prop_assert!(set.find(&kid).unwrap().verify(b"message", &signature).is_err());
        }
    }
}
