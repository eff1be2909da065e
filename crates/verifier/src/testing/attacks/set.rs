//! F. The key set as a document, and where it comes from.

use serde_json::{Value, json};

use super::keys::with;
use crate::algorithm::Algorithm;
use crate::keyset::JwksError;
use crate::refusal::{Reason, SkipReason};
use crate::testing::forge::{Forge, Reading, named, set};

/// After this answer of the issuer, the keys of the last good one still count, and none that only this one may hold.
pub(super) fn keep_to_the_last_good(f: &mut Forge<'_>, answer: &str, reading: Reading) {
    let good = f.mint.jwks();
    let forged = f.stranger().valid();
    f.present(f.mint.valid()).served([&*good, answer]).read_as(reading.clone()).accepted();
    f.present(forged).served([&*good, answer]).read_as(reading).refused();
}

pub(in crate::testing) fn attack_096_one_strange_key_spoils_the_set(f: &mut Forge<'_>) {
    let keys = set(&[
        json!({ "kty": "AKP", "kid": "akp", "alg": "ML-DSA-44", "pub": "AA" }),
        json!({ "kty": "EC", "kid": "ec", "crv": "secp256k1", "x": "AA", "y": "AA" }),
        json!({ "kty": "OKP", "kid": "okp", "crv": "Ed448", "x": "AA" }),
        json!({ "kty": "RSA", "kid": "rsa", "alg": "RSA-OAEP", "n": "AA", "e": "AQAB" }),
        json!({ "kid": "bare" }),
        json!({ "kty": "RSA", "n": "AA", "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": "a b", "n": "AA", "e": "AQAB" }),
        json!({}),
        f.mint.key().jwk(),
    ]);
    let skipped = vec![
        (named("akp"), SkipReason::UnsupportedKeyType),
        (named("ec"), SkipReason::UnsupportedCurve),
        (named("okp"), SkipReason::UnsupportedCurve),
        (named("rsa"), SkipReason::UnsupportedAlgorithm),
        (named("bare"), SkipReason::Malformed),
        (None, SkipReason::KidMissing),
        (None, SkipReason::KidInvalid),
        (None, SkipReason::KidMissing),
    ];
    f.present(f.mint.valid()).served([&keys]).read_as(Ok(skipped)).accepted();
    for kid in ["akp", "ec", "okp", "rsa", "bare"] {
        f.present(f.mint.with_member("kid", kid)).served([&keys]).twin_set(keys.clone()).refused();
    }
}

pub(in crate::testing) fn attack_097_answer_that_is_no_key_set(f: &mut Forge<'_>) {
    let whole = f.stranger().jwks();
    let twice = format!(r#"{{"keys":[],{}"#, whole.strip_prefix('{').unwrap());
    let repeated = whole.replacen("\"kty\"", "\"use\":\"sig\",\"kty\"", 1);
    let lone = f.stranger().key().jwk().to_string();
    for answer in [
        "",
        "{}",
        "[]",
        "null",
        "<html><body>Welcome</body></html>",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        &whole[..whole.len() - 1],
        &whole[1..],
        &twice,
        &repeated,
        &lone,
    ] {
        keep_to_the_last_good(f, answer, Err(JwksError::Malformed));
    }
    keep_to_the_last_good(f, r#"{"keys":[]}"#, Err(JwksError::NoUsableKey { skipped: vec![] }));
    let mut leaked = f.stranger().key().jwk();
    leaked["d"] = "AQAB".into();
    let skipped = vec![(named(&f.stranger().key().kid()), SkipReason::PrivateMaterial)];
    keep_to_the_last_good(f, &set(&[leaked]), Err(JwksError::NoUsableKey { skipped }));
}

pub(in crate::testing) fn attack_098_huge_key_set(f: &mut Forge<'_>) {
    let many = |count: usize, key: Value| set(&[vec![json!({}); count], vec![key]].concat());
    let theirs = f.stranger().key().jwk();
    keep_to_the_last_good(f, &many(100, theirs.clone()), Err(JwksError::TooManyKeys));
    keep_to_the_last_good(f, &many(100_000, theirs.clone()), Err(JwksError::TooLarge));
    let padded = format!("{}{}", set(&[theirs]), " ".repeat(64 * 1024));
    keep_to_the_last_good(f, &padded, Err(JwksError::TooLarge));
    let skipped = vec![(None, SkipReason::KidMissing); 99];
    let most = many(99, f.mint.key().jwk());
    f.present(f.mint.valid()).served([most]).read_as(Ok(skipped)).accepted();
}

pub(in crate::testing) fn attack_099_key_set_that_moved_elsewhere(f: &mut Forge<'_>) {
    // Nobody follows a redirect, so its own body is what there is to read.
    for body in
        ["", "<a href=\"http://evil.example/jwks.json\">Found</a>", r#"{"location":"http://evil.example/"}"#]
    {
        keep_to_the_last_good(f, body, Err(JwksError::Malformed));
    }
}

pub(in crate::testing) fn attack_100_key_set_in_the_clear(f: &mut Forge<'_>) {
    for place in ["http://id.example/jwks.json", "HTTP://127.0.0.1/jwks.json"] {
        f.refuse(f.stranger().with_member("jku", place));
        f.refuse_for(Reason::SignatureInvalid, f.by_stranger("jku", place));
    }
}

pub(in crate::testing) fn attack_101_old_copy_that_brings_a_removed_key_back(f: &mut Forge<'_>) {
    let old = f.mint.jwks();
    let new = f.stranger().jwks();
    let token = f.mint.valid();
    f.present(&token).served([&old, &new]).refused_for(Reason::KidUnknown);
    let kid = [f.mint.key().kid()];
    f.present(token).served([&old, &new, &old]).revoked(&kid).refused();
}

pub(in crate::testing) fn attack_102_issuer_that_was_discovered_elsewhere(f: &mut Forge<'_>) {
    for issuer in ["https://evil.example", "https://id.evil.example"] {
        f.refuse(f.mint.with_claim("iss", issuer));
        let found = f.mint.with_claims(|claims| {
            claims["issuer"] = claims["iss"].take();
            claims["iss"] = issuer.into();
        });
        f.refuse(found);
    }
    let key = with(Algorithm::Rs256, "issuer", "https://evil.example");
    let token = f.signing(Algorithm::Rs256).with_claim("iss", "https://evil.example");
    f.present(token).of(Algorithm::Rs256).served([set(&[key])]).refused();
}
