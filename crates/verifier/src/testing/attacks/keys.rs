//! F. The quality of a published key, and what may stand beside it.

use serde_json::{Value, json};

use super::lookup::CERTIFICATE;
use crate::algorithm::Algorithm;
use crate::json::encode;
use crate::refusal::{Reason, SkipReason};
use crate::testing::forge::{Forge, named, set};
use crate::testing::key::TestKey;

pub(super) fn with(algorithm: Algorithm, name: &str, value: impl Into<Value>) -> Value {
    let mut jwk = TestKey::issuer(algorithm).jwk();
    jwk[name] = value.into();
    jwk
}

fn changed(name: &str, value: impl Into<Value>) -> Value {
    with(Algorithm::Rs256, name, value)
}

/// A set of these keys and a good one of another name.
fn beside(keys: &[Value]) -> String {
    set(&[keys, &[TestKey::stranger(Algorithm::Rs256).jwk()]].concat())
}

/// The changed key is skipped for this reason and verifies nothing; the unchanged one verifies.
fn skip(f: &mut Forge<'_>, key: Value, reason: SkipReason) {
    skip_in(f, Algorithm::Rs256, key, reason);
}

fn skip_in(f: &mut Forge<'_>, algorithm: Algorithm, key: Value, reason: SkipReason) {
    let issuer = f.signing(algorithm);
    f.present(issuer.valid())
        .of(algorithm)
        .served([beside(&[key])])
        .read_as(Ok(vec![(named(&issuer.key().kid()), reason)]))
        .twin_set(beside(&[issuer.key().jwk()]))
        .refused();
}

pub(in crate::testing) fn attack_083_modulus_too_small(f: &mut Forge<'_>) {
    let mut bits_2047 = vec![0xff; 256];
    bits_2047[0] = 0x7f;
    for n in [&[0xff; 128][..], &[0xff; 255], &bits_2047] {
        skip(f, changed("n", encode(n)), SkipReason::ModulusRefused);
    }
}

pub(in crate::testing) fn attack_084_exponent_one(f: &mut Forge<'_>) {
    skip(f, changed("e", "AQ"), SkipReason::ExponentRefused);
    skip(f, changed("e", "Aw"), SkipReason::ExponentRefused);
}

pub(in crate::testing) fn attack_085_exponent_even_zero_or_huge(f: &mut Forge<'_>) {
    let n = TestKey::issuer(Algorithm::Rs256).n();
    for e in [&[0][..], &[1, 0, 0], &[1, 0, 2], &[0, 1, 0, 1], &[2, 0, 0, 0, 1], &[1; 9], &n, &[]] {
        skip(f, changed("e", encode(e)), SkipReason::ExponentRefused);
    }
}

pub(in crate::testing) fn attack_086_modulus_too_large_even_or_padded(f: &mut Forge<'_>) {
    let n = TestKey::issuer(Algorithm::Rs256).n();
    let mut even = n.clone();
    even[255] &= 0xfe;
    let padded = [&[0], &n[..]].concat();
    for n in [&[0xff; 1025][..], &[0xff; 8192], &even, &padded, &[], &[0; 256]] {
        skip(f, changed("n", encode(n)), SkipReason::ModulusRefused);
    }
    for n in [json!(format!("{}==", encode(&n))), json!(5), json!(null), json!("*")] {
        skip(f, changed("n", n), SkipReason::Malformed);
    }
    skip(f, changed("e", "AQAC="), SkipReason::Malformed);
}

pub(in crate::testing) fn attack_087_modulus_of_a_faulty_generator(f: &mut Forge<'_>) {
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
    skip(f, changed("n", encode(&n)), SkipReason::WeakModulus);
    // With one bit changed it is a key like any other, though not the one that signed.
    *n.last_mut().unwrap() ^= 2;
    let token = f.signing(Algorithm::Rs256).valid();
    let keys = beside(&[changed("n", encode(&n))]);
    let presented = f.present(token).of(Algorithm::Rs256).served([keys]).read_as(Ok(vec![]));
    presented.refused_for(Reason::SignatureInvalid);
}

pub(in crate::testing) fn attack_088_point_off_the_curve(f: &mut Forge<'_>) {
    let (x, y) = TestKey::issuer(Algorithm::Es256).point();
    let mut off = y.clone();
    off[31] ^= 1;
    let padded = [&[0], &y[..]].concat();
    for bad in [&off[..], &y[..31], &y[1..], &padded, &[0; 32], &[0xff; 32], &[]] {
        skip_in(f, Algorithm::Es256, with(Algorithm::Es256, "y", encode(bad)), SkipReason::PointRefused);
    }
    skip_in(f, Algorithm::Es256, with(Algorithm::Es256, "x", encode(&x[..31])), SkipReason::PointRefused);
    let mut infinity = with(Algorithm::Es256, "x", encode(&[0; 32]));
    infinity["y"] = encode(&[0; 32]).into();
    skip_in(f, Algorithm::Es256, infinity, SkipReason::PointRefused);
    skip_in(f, Algorithm::Es256, with(Algorithm::Es256, "y", json!(null)), SkipReason::Malformed);
    for bad in [&x[..31], &[&x[..], &y].concat()] {
        skip_in(f, Algorithm::EdDsa, with(Algorithm::EdDsa, "x", encode(bad)), SkipReason::PointRefused);
    }
}

pub(in crate::testing) fn attack_089_private_members(f: &mut Forge<'_>) {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        skip(f, changed(name, "AQAB"), SkipReason::PrivateMaterial);
    }
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        skip_in(f, algorithm, with(algorithm, "d", "AQAB"), SkipReason::PrivateMaterial);
    }
}

pub(in crate::testing) fn attack_090_symmetric_key_in_the_set(f: &mut Forge<'_>) {
    let issuer = f.signing(Algorithm::Rs256);
    let oct = json!({ "kty": "oct", "kid": issuer.key().kid(), "k": "AQAB", "alg": "HS256" });
    skip(f, oct.clone(), SkipReason::PrivateMaterial);
    skip(f, changed("kty", "oct"), SkipReason::PrivateMaterial);
    let token = super::algorithm::hs256(&issuer, &[1, 0, 1]);
    f.present(token).served([beside(std::slice::from_ref(&oct))]).refused_for(Reason::AlgNotAllowed);
    // Under the name of a good key it makes that name ambiguous.
    let both = beside(&[issuer.key().jwk(), oct]);
    f.present(issuer.valid()).of(Algorithm::Rs256).served([both]).refused();
}

pub(in crate::testing) fn attack_091_one_name_for_two_keys(f: &mut Forge<'_>) {
    let issuer = f.signing(Algorithm::Rs256);
    let jwk = issuer.key().jwk();
    let twin = changed("n", encode(&TestKey::stranger(Algorithm::Rs256).n()));
    let mut other = TestKey::issuer(Algorithm::EdDsa).jwk();
    other["kid"] = issuer.key().kid().into();
    let ambiguous = (named(&issuer.key().kid()), SkipReason::KidAmbiguous);
    let pairs =
        [[jwk.clone(), twin.clone()], [twin, jwk.clone()], [jwk.clone(), jwk.clone()], [jwk.clone(), other]];
    for pair in pairs {
        let read = Ok(vec![ambiguous.clone(), ambiguous.clone()]);
        let presented = f.present(issuer.valid()).of(Algorithm::Rs256).served([beside(&pair)]);
        presented.read_as(read).twin_set(beside(std::slice::from_ref(&jwk))).refused();
    }
}

pub(in crate::testing) fn attack_092_key_for_another_use(f: &mut Forge<'_>) {
    for of in ["enc", "SIG", "sig enc", ""] {
        skip(f, changed("use", of), SkipReason::WrongUse);
    }
    skip(f, changed("use", 1), SkipReason::Malformed);
    skip_in(f, Algorithm::EdDsa, with(Algorithm::EdDsa, "use", "enc"), SkipReason::WrongUse);
}

pub(in crate::testing) fn attack_093_key_operations_without_verifying(f: &mut Forge<'_>) {
    for ops in [json!(["encrypt"]), json!([]), json!("verify"), json!(null), json!([1]), json!(["sign"])] {
        skip(f, changed("key_ops", ops), SkipReason::WrongKeyOps);
    }
    let token = f.signing(Algorithm::Rs256).valid();
    let keys = beside(&[changed("key_ops", json!(["verify"]))]);
    f.present(token).of(Algorithm::Rs256).served([keys]).accepted();
}

pub(in crate::testing) fn attack_094_key_operations_that_contradict_or_repeat(f: &mut Forge<'_>) {
    for ops in [json!(["deriveKey"]), json!(["verify", "encrypt"]), json!(["verify", "verify"])] {
        skip(f, changed("key_ops", ops), SkipReason::WrongKeyOps);
    }
}

pub(in crate::testing) fn attack_095_alg_of_another_kind_of_key(f: &mut Forge<'_>) {
    for alg in ["ES256", "EdDSA", "ES521", "PS384", "HS256", "none", "rs256"] {
        skip(f, changed("alg", alg), SkipReason::UnsupportedAlgorithm);
    }
    skip(f, changed("kty", "EC"), SkipReason::Malformed);
    skip(f, changed("kty", "rsa"), SkipReason::UnsupportedKeyType);
    for alg in ["RS256", "EdDSA", "ES384", "ES521"] {
        skip_in(f, Algorithm::Es256, with(Algorithm::Es256, "alg", alg), SkipReason::UnsupportedAlgorithm);
    }
    skip_in(f, Algorithm::Es256, with(Algorithm::Es256, "crv", "P-384"), SkipReason::UnsupportedCurve);
    skip_in(f, Algorithm::Es256, with(Algorithm::Es256, "kty", "OKP"), SkipReason::UnsupportedCurve);
    skip_in(f, Algorithm::EdDsa, with(Algorithm::EdDsa, "alg", "ES256"), SkipReason::UnsupportedAlgorithm);
    skip_in(f, Algorithm::EdDsa, with(Algorithm::EdDsa, "crv", "X25519"), SkipReason::UnsupportedCurve);
}

pub(in crate::testing) fn attack_103_certificate_that_disagrees_with_its_key(f: &mut Forge<'_>) {
    let issuer = f.signing(Algorithm::Rs256);
    let keys = beside(&[changed("x5c", json!([CERTIFICATE]))]);
    f.present(issuer.valid()).of(Algorithm::Rs256).served([&keys]).accepted();
    let forged = TestKey::stranger(Algorithm::Rs256)
        .token(issuer.header().to_string().as_bytes(), issuer.claims_json().to_string().as_bytes());
    f.present(forged).of(Algorithm::Rs256).served([keys]).refused();
}
