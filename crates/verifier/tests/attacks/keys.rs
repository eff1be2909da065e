//! F. Key quality and what a key set may contain.

use keyward_verifier::{JwksError, KeyId, KeySet, Reason, SkipReason};
use serde_json::{Value, json};

use crate::minting::*;

fn jwk() -> Value {
    serde_json::to_value(KEY.jwk()).unwrap()
}

fn changed(name: &str, value: impl Into<Value>) -> Value {
    let mut jwk = jwk();
    jwk[name] = value.into();
    jwk
}

/// A set of these keys and a good one of another name.
fn set(keys: &[Value]) -> KeySet {
    let stranger = serde_json::to_value(STRANGER.jwk()).unwrap();
    let all = [keys, &[stranger]].concat();
    let text = json!({ "keys": all }).to_string();
    KeySet::parse(text.as_bytes()).unwrap()
}

/// The changed key is skipped for this reason and verifies nothing; its unchanged twin verifies.
#[track_caller]
fn assert_skipped(key: Value, reason: SkipReason) {
    let bad = set(&[key]);
    assert_eq!(bad.skipped(), [(Some(KEY.jwk().kid), reason)]);
    assert_eq!(bad.len(), 1);
    assert_eq!(outcome(&valid(), &bad), Err(Reason::KeyMismatch));
    assert_eq!(outcome(&valid(), &set(&[jwk()])), Ok(()));
}

fn number(bytes: usize) -> Vec<u8> {
    vec![0xff; bytes]
}

#[test]
fn attack_083_modulus_too_small() {
    assert_skipped(changed("n", b64(&number(128))), SkipReason::ModulusRefused);
    let mut bits_2047 = number(256);
    bits_2047[0] = 0x7f;
    assert_skipped(changed("n", b64(&bits_2047)), SkipReason::ModulusRefused);
}

#[test]
fn attack_084_exponent_one() {
    assert_skipped(changed("e", "AQ"), SkipReason::ExponentRefused);
    assert_skipped(changed("e", "Aw"), SkipReason::ExponentRefused);
}

#[test]
fn attack_085_exponent_even_zero_or_huge() {
    for e in [&[0][..], &[1, 0, 2], &[0, 1, 0, 1], &[2, 0, 0, 0, 1], &[1; 9], &KEY.n, &[]] {
        assert_skipped(changed("e", b64(e)), SkipReason::ExponentRefused);
    }
}

#[test]
fn attack_086_modulus_too_large_even_or_padded() {
    let mut even = KEY.n.clone();
    even[255] &= 0xfe;
    let padded = [&[0], &KEY.n[..]].concat();
    for n in [&number(1025)[..], &number(8192), &even, &padded, &[], &[0; 256]] {
        assert_skipped(changed("n", b64(n)), SkipReason::ModulusRefused);
    }
}

#[test]
fn attack_087_modulus_of_a_faulty_generator() {
    // All moduli of that generator are powers of 65,537 modulo the small primes; here is one that is such a power.
    let mut n = vec![1_u8];
    for _ in 0..128 {
        let mut carry = 0_u64;
        for digit in &mut n {
            carry += u64::from(*digit) * 65_537;
            *digit = carry as u8;
            carry >>= 8;
        }
        n.extend(carry.to_le_bytes().iter().take(3));
    }
    n.truncate(n.iter().rposition(|digit| *digit != 0).unwrap() + 1);
    n.reverse();
    assert_skipped(changed("n", b64(&n)), SkipReason::WeakModulus);
    n.reverse();
    n[0] ^= 2;
    n.reverse();
    assert!(set(&[changed("n", b64(&n))]).skipped().is_empty());
}

#[test]
fn numbers_must_be_canonical_base64url_strings() {
    let padded = format!("{}==", KEY.jwk().n);
    for n in [json!(padded), json!(5), json!(null), json!("*")] {
        assert_skipped(changed("n", n), SkipReason::Malformed);
    }
    assert_skipped(changed("e", "AQAC="), SkipReason::Malformed);
}

#[test]
fn attack_089_private_members() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert_skipped(changed(name, "AQAB"), SkipReason::PrivateMaterial);
    }
}

#[test]
fn attack_090_symmetric_key() {
    let oct = json!({ "kty": "oct", "kid": KEY.jwk().kid, "k": "AQAB", "alg": "HS256" });
    assert_skipped(oct.clone(), SkipReason::PrivateMaterial);
    assert_skipped(changed("kty", "oct"), SkipReason::PrivateMaterial);
    // Under the name of a good key it makes that name ambiguous.
    assert_eq!(outcome(&valid(), &set(&[jwk(), oct])), Err(Reason::KeyMismatch));
}

#[test]
fn attack_091_duplicate_kid() {
    let twin = changed("n", STRANGER.jwk().n);
    let kid = Some(KEY.jwk().kid);
    for keys in [[jwk(), twin.clone()], [twin, jwk()], [jwk(), jwk()]] {
        let keys = set(&keys);
        let ambiguous = (kid.clone(), SkipReason::KidAmbiguous);
        assert_eq!(keys.skipped(), [ambiguous.clone(), ambiguous]);
        assert_eq!(outcome(&valid(), &keys), Err(Reason::KeyMismatch));
    }
    assert_accepted(&valid());
}

#[test]
fn attack_092_wrong_use() {
    for of in ["enc", "SIG", ""] {
        assert_skipped(changed("use", of), SkipReason::WrongUse);
    }
    assert_skipped(changed("use", 1), SkipReason::Malformed);
}

#[test]
fn attack_093_key_ops_without_verify() {
    for ops in [json!(["encrypt"]), json!([]), json!("verify"), json!(null), json!([1]), json!(["sign"])] {
        assert_skipped(changed("key_ops", ops), SkipReason::WrongKeyOps);
    }
    assert_eq!(outcome(&valid(), &set(&[changed("key_ops", json!(["verify"]))])), Ok(()));
}

#[test]
fn attack_094_key_ops_that_contradict_use_or_repeat() {
    for ops in [json!(["deriveKey"]), json!(["verify", "encrypt"]), json!(["verify", "verify"])] {
        assert_skipped(changed("key_ops", ops), SkipReason::WrongKeyOps);
    }
}

#[test]
fn attack_095_alg_of_another_key_type() {
    for alg in ["ES256", "EdDSA", "ES521", "PS512", "HS256", "none", "rs256"] {
        assert_skipped(changed("alg", alg), SkipReason::UnsupportedAlgorithm);
    }
    assert_skipped(changed("kty", "EC"), SkipReason::Malformed);
}

#[test]
fn attack_096_unknown_keys_do_not_harm_the_set() {
    let named = |kid: &str| Some(KeyId::parse(kid).unwrap());
    let keys = set(&[
        json!({ "kty": "AKP", "kid": "akp", "alg": "ML-DSA-44", "pub": "AA" }),
        json!({ "kty": "EC", "kid": "ec", "crv": "secp256k1", "x": "AA", "y": "AA" }),
        json!({ "kid": "bare" }),
        json!({ "kty": "RSA", "n": "AA", "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": "a b", "n": "AA", "e": "AQAB" }),
        json!({}),
        jwk(),
    ]);
    assert_eq!(
        keys.skipped(),
        [
            (named("akp"), SkipReason::UnsupportedKeyType),
            (named("ec"), SkipReason::UnsupportedCurve),
            (named("bare"), SkipReason::Malformed),
            (None, SkipReason::KidMissing),
            (None, SkipReason::KidInvalid),
            (None, SkipReason::KidMissing),
        ]
    );
    assert_eq!(outcome(&valid(), &keys), Ok(()));
}

#[test]
fn attack_097_no_key_set() {
    let parse = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err();
    assert_eq!(parse(r#"{"keys":[]}"#), JwksError::NoUsableKey { skipped: vec![] });
    let whole = serde_json::to_string(&KEY.set()).unwrap();
    let twice = format!(r#"{{"keys":[],{}"#, whole.strip_prefix('{').unwrap());
    let repeated = whole.replacen("\"kty\"", "\"n\":\"AA\",\"kty\"", 1);
    let truncated = &whole[..whole.len() - 1];
    for bad in [
        "{}",
        "",
        "[]",
        "null",
        "<html></html>",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        truncated,
        &twice,
        &repeated,
    ] {
        assert_eq!(parse(bad), JwksError::Malformed, "{bad}");
    }
    let private = json!({ "keys": [changed("d", "AQAB")] }).to_string();
    let leaked = (Some(KEY.jwk().kid), SkipReason::PrivateMaterial);
    assert_eq!(parse(&private), JwksError::NoUsableKey { skipped: vec![leaked] });
    assert!(KeySet::parse(whole.as_bytes()).is_ok());
}

#[test]
fn attack_098_huge_key_set() {
    let many = |n: usize| json!({ "keys": vec![json!({}); n] }).to_string();
    assert_eq!(KeySet::parse(many(101).as_bytes()).unwrap_err(), JwksError::TooManyKeys);
    assert_eq!(KeySet::parse(many(100_000).as_bytes()).unwrap_err(), JwksError::TooLarge);
    assert_eq!(KeySet::parse(&b" ".repeat(64 * 1024 + 1)).unwrap_err(), JwksError::TooLarge);
    assert_eq!(set(&vec![json!({}); 99]).len(), 1);
}

#[test]
fn attack_103_x5c_that_disagrees_with_the_numbers() {
    let keys = set(&[changed("x5c", json!(["MIIBszCCARygAwIBAgIBADANBgkqhkiG9w0BAQ"]))]);
    assert_eq!(outcome(&valid(), &keys), Ok(()));
    let forged = STRANGER.token(header().to_string().as_bytes(), claims().to_string().as_bytes());
    assert_eq!(outcome(&forged, &keys), Err(Reason::SignatureInvalid));
}
