//! Project Wycheproof's vectors: what is valid passes, and nothing else, not even what is merely acceptable.

use aws_lc_rs::hmac;
use keyward_verifier::{Algorithm, JwksError, KeyId, KeySet, PublicKey, SkipReason};
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use super::b64;

/// How many vectors passed and how many were refused.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    good: usize,
    bad: usize,
}

impl Tally {
    #[track_caller]
    fn count(&mut self, test: (usize, TestResult, &str), passed: bool) {
        let (id, expected, comment) = test;
        assert_eq!(passed, expected == TestResult::Valid, "{id}: {comment}");
        *(if passed { &mut self.good } else { &mut self.bad }) += 1;
    }
}

fn tally(good: usize, bad: usize) -> Tally {
    Tally { good, bad }
}

/// As a verifier meets the key: published in a set.
fn published(mut jwk: Value) -> Result<PublicKey, SkipReason> {
    jwk["kid"] = "k".into();
    match KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()) {
        Ok(set) => Ok(set.find(&KeyId::parse("k").unwrap()).unwrap().clone()),
        Err(JwksError::NoUsableKey { skipped }) => Err(skipped[0].1),
        Err(other) => panic!("{other}"),
    }
}

fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<PublicKey, SkipReason> {
    // The vectors write numbers as ASN.1 does, with a zero before a high bit.
    let n = n.strip_prefix(&[0]).unwrap_or(n);
    published(json!({ "kty": "RSA", "alg": algorithm, "n": b64(n), "e": b64(e) }))
}

fn pkcs1(name: rsa_pkcs1_verify::TestName, algorithm: Algorithm) -> Tally {
    let mut tally = Tally::default();
    for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
        let key = rsa(algorithm, &group.key.n, &group.key.e);
        if **group.key.e == [3] {
            assert_eq!(key.unwrap_err(), SkipReason::ExponentRefused);
            continue;
        }
        let key = key.unwrap();
        for test in &group.tests {
            let passed = key.verify(&test.msg, &test.sig).is_ok();
            tally.count((test.tc_id, test.result, &test.comment), passed);
        }
    }
    tally
}

#[test]
fn rsa_pkcs1_with_sha_256() {
    use rsa_pkcs1_verify::TestName::*;
    assert_eq!(pkcs1(Rsa2048Sha256, Algorithm::Rs256), tally(7, 250));
    assert_eq!(pkcs1(Rsa3072Sha256, Algorithm::Rs256), tally(7, 251));
    assert_eq!(pkcs1(Rsa4096Sha256, Algorithm::Rs256), tally(7, 251));
    assert_eq!(pkcs1(Rsa8192Sha256, Algorithm::Rs256), tally(7, 251));
}

#[test]
fn rsa_pkcs1_with_longer_digests() {
    use rsa_pkcs1_verify::TestName::*;
    assert_eq!(pkcs1(Rsa2048Sha384, Algorithm::Rs384), tally(7, 251));
    assert_eq!(pkcs1(Rsa3072Sha384, Algorithm::Rs384), tally(7, 252));
    assert_eq!(pkcs1(Rsa2048Sha512, Algorithm::Rs512), tally(7, 251));
    assert_eq!(pkcs1(Rsa4096Sha512, Algorithm::Rs512), tally(7, 252));
}

#[test]
fn a_signature_of_one_rsa_algorithm_is_none_of_another() {
    let set = rsa_pkcs1_verify::TestSet::load(rsa_pkcs1_verify::TestName::Rsa2048Sha256).unwrap();
    let group = &set.test_groups[0];
    let good = group.tests.iter().find(|test| test.result == TestResult::Valid).unwrap();
    for algorithm in [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512, Algorithm::Ps256] {
        let key = rsa(algorithm, &group.key.n, &group.key.e).unwrap();
        assert_eq!(key.verify(&good.msg, &good.sig).is_ok(), algorithm == Algorithm::Rs256, "{algorithm}");
    }
}

fn pss(name: rsa_pss_verify::TestName) -> impl Iterator<Item = (PublicKey, rsa_pss_verify::Test)> {
    let groups = rsa_pss_verify::TestSet::load(name).unwrap().test_groups;
    groups.into_iter().flat_map(|group| {
        let key = rsa(Algorithm::Ps256, &group.key.n, &group.key.e).unwrap();
        group.tests.into_iter().map(move |test| (key.clone(), test))
    })
}

#[test]
fn rsa_pss_with_sha_256_and_its_salt() {
    use rsa_pss_verify::TestName::*;
    for name in [RsaPss2048Sha256Mgf1SaltLen32, RsaPss3072Sha256Mgf1SaltLen32, RsaPss4096Sha256Mgf1SaltLen32]
    {
        let mut seen = Tally::default();
        for (key, test) in pss(name) {
            let passed = key.verify(&test.msg, &test.sig).is_ok();
            seen.count((test.tc_id, test.result, &test.comment), passed);
        }
        assert_eq!(seen, tally(63, 45));
    }
}

#[test]
fn rsa_pss_with_another_salt_or_digest_is_refused() {
    use rsa_pss_verify::TestName::*;
    let others = [
        RsaPss2048Sha256Mgf1SaltLen0,
        RsaPss2048Sha256Mgf1Sha1_20,
        RsaPss2048Sha384Mgf1SaltLen48,
        RsaPss2048Sha512_256Mgf1SaltLen32,
    ];
    let mut valid = 0;
    for (key, test) in others.into_iter().flat_map(pss) {
        // What is a change there can be the rule here.
        let ours = test.comment.ends_with("s_len changed to 32");
        assert!(ours || key.verify(&test.msg, &test.sig).is_err(), "{}: {}", test.tc_id, test.comment);
        valid += usize::from(test.result == TestResult::Valid);
    }
    assert!(valid > 240, "each of them was good under its own parameters: {valid}");
}

#[test]
fn ecdsa_on_p_256_with_signatures_of_fixed_length() {
    let mut seen = Tally::default();
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    for group in set.test_groups {
        let (x, y) = group.key.key[1..].split_at(32);
        let key = published(json!({ "kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y) })).unwrap();
        for test in &group.tests {
            let passed = key.verify(&test.msg, &test.sig).is_ok();
            seen.count((test.tc_id, test.result, &test.comment), passed);
        }
    }
    assert_eq!(seen, tally(173, 89));
}

#[test]
fn ecdsa_in_der_is_refused() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256).unwrap();
    for group in set.test_groups {
        let (x, y) = group.key.key[1..].split_at(32);
        let key = PublicKey::p256(x, y).unwrap();
        for test in &group.tests {
            assert!(key.verify(&test.msg, &test.sig).is_err(), "{}: {}", test.tc_id, test.comment);
        }
    }
}

#[test]
fn keys_of_other_curves_are_skipped() {
    use ecdsa::TestName::*;
    let others = [
        ("P-384", EcdsaSecp384r1Sha384P1363),
        ("P-521", EcdsaSecp521r1Sha512P1363),
        ("secp256k1", EcdsaSecp256k1Sha256P1363),
    ];
    for (curve, name) in others {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let (x, y) = group.key.key[1..].split_at((group.key.key.len() - 1) / 2);
            let jwk = |crv: &str| json!({ "kty": "EC", "crv": crv, "x": b64(x), "y": b64(y) });
            assert_eq!(published(jwk(curve)).unwrap_err(), SkipReason::UnsupportedCurve);
            assert_eq!(published(jwk("P-256")).unwrap_err(), SkipReason::PointRefused, "relabelled {curve}");
        }
    }
    for group in eddsa::TestSet::load(eddsa::TestName::Ed448).unwrap().test_groups {
        let jwk = |crv: &str| json!({ "kty": "OKP", "crv": crv, "x": b64(&group.key.pk) });
        assert_eq!(published(jwk("Ed448")).unwrap_err(), SkipReason::UnsupportedCurve);
        assert_eq!(published(jwk("Ed25519")).unwrap_err(), SkipReason::PointRefused);
    }
}

#[test]
fn ed25519() {
    let mut seen = Tally::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = published(json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(&group.key.pk) })).unwrap();
        for test in &group.tests {
            let passed = key.verify(&test.msg, &test.sig).is_ok();
            seen.count((test.tc_id, test.result, &test.comment), passed);
        }
    }
    assert_eq!(seen, tally(88, 63));
}

/// No public interface takes HMAC yet; this holds the function that internal tokens will be checked with, which must
/// not take a tag that was cut short.
#[test]
fn hmac_with_sha_256_and_a_whole_tag() {
    let mut seen = Tally::default();
    for group in mac::TestSet::load(mac::TestName::HmacSha256).unwrap().test_groups {
        for test in &group.tests {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &test.key);
            let passed = hmac::verify(&key, &test.msg, &test.tag).is_ok();
            let expected = if group.tag_size == 256 { test.result } else { TestResult::Invalid };
            seen.count((test.tc_id, expected, &test.comment), passed);
        }
    }
    assert_eq!(seen, tally(33, 141));
}
