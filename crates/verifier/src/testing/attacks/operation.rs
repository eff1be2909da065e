//! H. Transport, caching, revocation and operation, in the form in which they reach a verifier.

use serde_json::json;

use super::set::keep_to_the_last_good;
use crate::algorithm::Algorithm;
use crate::json::encode;
use crate::keyset::JwksError;
use crate::refusal::{Reason, SkipReason};
use crate::testing::forge::{Forge, halves, named, parts, set, with_signature};
use crate::testing::key::TestKey;

/// The claims of another account under header and signature of a good token.
fn forged(f: &Forge<'_>) -> String {
    let good = f.mint.valid();
    let [header, _, signature] = parts(&good);
    let mut claims = f.mint.claims_json();
    claims["sub"] = "account-2".into();
    format!("{header}.{}.{signature}", encode(claims.to_string().as_bytes()))
}

fn with_a_flipped_bit(token: &str, bit: usize) -> String {
    let (_, mut signature) = halves(token);
    signature[bit / 8] ^= 1 << (bit % 8);
    with_signature(token, &signature)
}

pub(in crate::testing) fn attack_131_two_tokens_at_once(f: &mut Forge<'_>) {
    let (good, bad) = (f.mint.valid(), forged(f));
    for joint in [", ", ",", "\n", "; access_token=", "&access_token=", "\0", " "] {
        f.refuse(format!("{good}{joint}{bad}"));
        f.refuse(format!("{bad}{joint}{good}"));
        f.refuse(format!("{good}{joint}{good}"));
    }
}

pub(in crate::testing) fn attack_132_remains_of_the_header_line(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    for form in
        ["Bearer {}", "bearer {}", "Bearer={}", " {}", "{} ", "{},", "\t{}", "\"{}\"", "Basic {}", "{}\r\n"]
    {
        f.refuse(form.replace("{}", &good));
    }
    for text in ["", " ", "Bearer", "Bearer ", "null", "undefined"] {
        f.refuse(text);
    }
}

pub(in crate::testing) fn attack_133_token_remembered_by_a_part_of_it(f: &mut Forge<'_>) {
    f.accept(f.mint.valid());
    // The same beginning, the same end, and the same length as a token that has just been good.
    f.refuse(forged(f));
    let good = f.mint.valid();
    f.refuse(with_a_flipped_bit(&good, 7));
    f.refuse(with_a_flipped_bit(&good, 8 * (halves(&good).1.len() - 1)));
}

pub(in crate::testing) fn attack_134_token_remembered_by_its_claims(f: &mut Forge<'_>) {
    f.accept(f.mint.valid());
    let good = f.mint.valid();
    let [_, payload, _] = parts(&good);
    let theirs = f.by_stranger("x", 1);
    let [header, _, signature] = parts(&theirs);
    f.refuse(format!("{header}.{payload}.{signature}"));
    f.refuse_for(Reason::KidUnknown, f.stranger().valid());
}

pub(in crate::testing) fn attack_135_token_remembered_past_its_end(f: &mut Forge<'_>) {
    let (good, now, leeway) = (f.mint.valid(), f.now, f.target.leeway);
    let dead = now + 600 + leeway;
    f.accept(&*good);
    f.present(&good).at(dead - 1).accepted();
    f.present(&good).at(dead).refused();
    f.present(&good).at(now - leeway - 1).refused_for(Reason::NotYetValid);
    f.refuse_for(Reason::ClaimsInvalid, f.mint.without_claim("iat"));
}

pub(in crate::testing) fn attack_136_token_remembered_past_its_key(f: &mut Forge<'_>) {
    let (good, old, new) = (f.mint.valid(), f.mint.jwks(), f.stranger().jwks());
    let kid = [f.mint.key().kid()];
    f.accept(&*good);
    f.present(&good).served([&old, &new]).refused_for(Reason::KidUnknown);
    f.present(&good).revoked(&kid).refused();
    f.present(good).served([&old, &new]).revoked(&kid).refused();
}

pub(in crate::testing) fn attack_137_token_remembered_by_a_laxer_policy(f: &mut Forge<'_>) {
    f.accept(f.mint.valid());
    let elsewhere = "https://another-service.example";
    let both = f.mint.with_claim("aud", json!([elsewhere, f.target.audience]));
    f.accept(both);
    f.refuse(f.mint.with_claim("aud", elsewhere));
    f.refuse_for(Reason::IssuerMismatch, f.mint.with_claim("iss", elsewhere));
}

pub(in crate::testing) fn attack_138_flood_of_different_tokens(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    for bit in 0..300 {
        f.refuse(with_a_flipped_bit(&good, bit));
    }
    f.accept(good);
}

pub(in crate::testing) fn attack_139_refusal_remembered_when_the_key_has_come(f: &mut Forge<'_>) {
    let (token, old, new) = (f.mint.valid(), f.stranger().jwks(), f.mint.jwks());
    f.present(&token).served([&old]).refused();
    f.present(&token).served([&old, &new]).accepted();
}

pub(in crate::testing) fn attack_140_failed_fetch_that_takes_the_keys_along(f: &mut Forge<'_>) {
    keep_to_the_last_good(f, "Internal Server Error", Err(JwksError::Malformed));
    keep_to_the_last_good(f, r#"{"error":"temporarily_unavailable"}"#, Err(JwksError::Malformed));
}

pub(in crate::testing) fn attack_141_failed_fetch_that_is_remembered(f: &mut Forge<'_>) {
    let good = f.mint.jwks();
    for failure in ["", "Bad Gateway", r#"{"keys":[]}"#] {
        f.present(f.mint.valid()).served([failure, &good]).accepted();
        f.present(f.stranger().valid()).served([failure, &good, failure]).refused();
    }
}

pub(in crate::testing) fn attack_142_worthless_token_that_asks_for_a_key(f: &mut Forge<'_>) {
    let year = 365 * 24 * 60 * 60;
    let old = f.stranger().with_claims(|claims| {
        claims["exp"] = json!(f.now - year);
        claims["iat"] = json!(f.now - year - 600);
    });
    f.refuse(old);
    f.refuse(f.stranger().with_claim("iss", "https://evil.example"));
    f.refuse(f.stranger().with_payload("no claims"));
    f.refuse_for(Reason::TypMismatch, f.stranger().with_member("typ", "logout+jwt"));
}

pub(in crate::testing) fn attack_143_failure_that_makes_good_tokens_bad(f: &mut Forge<'_>) {
    keep_to_the_last_good(f, "<html>503 Service Unavailable</html>", Err(JwksError::Malformed));
    let good = f.mint.jwks();
    let answers = [&*good, "", "Gateway Timeout", "<html></html>"];
    f.present(f.mint.valid()).served(answers).accepted();
    f.present(f.stranger().valid()).served(answers).refused();
}

pub(in crate::testing) fn attack_144_kid_that_ends_a_quotation_or_a_line(f: &mut Forge<'_>) {
    for kid in ["a\"", "a\", error=\"none", "a\r\nSet-Cookie: x=y", "a\\", "a'", "a\u{1b}[2J", "<script>"] {
        let reason = if kid == "<script>" { Reason::KidUnknown } else { Reason::HeaderInvalid };
        f.refuse_for(reason, f.mint.with_member("kid", kid));
    }
}

pub(in crate::testing) fn attack_145_policy_that_was_emptied(f: &mut Forge<'_>) {
    // No verifier can be built without issuer or audience, so there is none that takes what lacks them.
    for name in ["iss", "aud"] {
        f.refuse_for(Reason::ClaimsInvalid, f.mint.without_claim(name));
    }
    f.refuse(f.mint.with_claim("iss", ""));
    f.refuse_for(Reason::AudMismatch, f.mint.with_claim("aud", ""));
    f.refuse_for(Reason::AlgNotAllowed, f.mint.with_member("alg", ""));
    f.refuse_for(Reason::TypMismatch, f.mint.with_member("typ", ""));
}

pub(in crate::testing) fn attack_146_several_tokens_in_turn(f: &mut Forge<'_>) {
    for _ in 0..5 {
        f.refuse(f.stranger().valid());
        f.accept(f.mint.valid());
        f.refuse_for(Reason::SignatureInvalid, forged(f));
        f.accept(f.mint.with_claim("sub", "account-2"));
        f.refuse_for(Reason::AudMismatch, f.mint.with_claim("aud", "https://another-service.example"));
    }
}

pub(in crate::testing) fn attack_147_clock_that_jumps_back(f: &mut Forge<'_>) {
    let (good, now, leeway) = (f.mint.valid(), f.now, f.target.leeway);
    f.present(&good).at(now + 600 + leeway).refused_for(Reason::Expired);
    f.present(&good).at(now - leeway - 1).refused();
    let open = f.mint.without_claim("nbf");
    f.present(&open).at(now - leeway - 1).refused_for(Reason::IssuedInFuture);
    f.present(open).at(now - leeway).accepted();
}

pub(in crate::testing) fn attack_148_private_key_where_a_public_one_belongs(f: &mut Forge<'_>) {
    // The timing of private keys is the issuer's concern; a verifier does not even take one.
    let issuer = f.mint.key();
    let mut jwk = issuer.jwk();
    jwk["d"] = encode(&[0x5a; 32]).into();
    let keys = set(&[jwk, f.stranger().key().jwk()]);
    let read = Ok(vec![(named(&issuer.kid()), SkipReason::PrivateMaterial)]);
    f.present(f.mint.valid()).served([keys]).read_as(read).refused();
}

pub(in crate::testing) fn attack_149_algorithm_that_fails_at_first_use(f: &mut Forge<'_>) {
    for algorithm in Algorithm::ALL {
        let good = f.signing(algorithm).valid();
        let keys = set(&[TestKey::issuer(algorithm).jwk()]);
        let bad = with_a_flipped_bit(&good, 77);
        f.present(bad).of(algorithm).served([&keys]).refused();
        f.present(good).of(algorithm).served([&keys]).accepted();
    }
}

pub(in crate::testing) fn attack_150_claims_that_call_themselves_verified(f: &mut Forge<'_>) {
    let theirs = f.stranger();
    let mut claims = f.mint.claims_json();
    claims["verified"] = true.into();
    claims["key_id"] = f.mint.key().kid().into();
    f.refuse(theirs.token_of(&f.mint.header(), &claims));
    f.refuse_for(Reason::Malformed, claims.to_string());
    f.refuse_for(Reason::AlgNotAllowed, f.mint.unsigned(&json!({ "alg": "none", "verified": true })));
}
