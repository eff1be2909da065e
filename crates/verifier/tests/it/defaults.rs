//! Every default and bound that README.md states, each from both sides.

use std::time::Duration;

use keyward_verifier::testing::TestKey;
use keyward_verifier::{Algorithm, ConfigError, JwksError, KeyId, KeySet, Reason, SkipReason, limits};
use serde_json::{Value, json};

use super::{assert_skipped, check, mint, policy, set_with, with};

const KEY: fn() -> TestKey = || TestKey::issuer(Algorithm::Rs256);

fn at(token: &str, now: u64) -> Result<(), Reason> {
    check(&policy().build().unwrap(), token, &mint().key_set(), now)
}

fn now() -> u64 {
    mint().clock().now()
}

fn outcome(token: &str) -> Result<(), Reason> {
    at(token, now())
}

fn claims() -> Value {
    serde_json::to_value(mint().claims()).unwrap()
}

fn with_claims(claims: &str) -> String {
    KEY().token(mint().header().to_string().as_bytes(), claims.as_bytes())
}

fn with_header(header: &str) -> String {
    KEY().token(header.as_bytes(), claims().to_string().as_bytes())
}

fn with_claim(name: &str, value: impl Into<Value>) -> String {
    with_claims(&with(claims(), name, value).to_string())
}

/// An object's text with more members at its end, written as they stand.
fn more(object: &Value, members: &str) -> String {
    format!("{},{members}}}", object.to_string().strip_suffix('}').unwrap())
}

#[test]
fn the_bounds_are_those_of_the_readme() {
    let readme = include_str!("../../README.md");
    let rows = [
        ("leeway", format!("{} s", limits::LEEWAY.as_secs())),
        ("leeway at most", format!("{} s", limits::MAX_LEEWAY.as_secs())),
        ("lifetime", format!("{} h", limits::MAX_LIFETIME.as_secs() / 3600)),
        ("token", format!("{} KiB", limits::MAX_TOKEN_BYTES / 1024)),
        ("header", format!("{} KiB", limits::MAX_HEADER_BYTES / 1024)),
        ("JSON depth", limits::MAX_DEPTH.to_string()),
        ("key set", format!("{} KiB, {} keys", limits::MAX_SET_BYTES / 1024, limits::MAX_KEYS)),
        ("RSA modulus", format!("{}–{} bits", limits::MODULUS_BITS.start(), limits::MODULUS_BITS.end())),
    ];
    for (name, value) in rows {
        let row = format!("| {name} | {value} |");
        assert!(readme.contains(&row), "{row}");
    }
}

#[test]
fn the_leeway_is_30_seconds_on_every_claim_of_time() {
    let token = with_claims(&claims().to_string());
    let exp = now() + 600;
    assert_eq!((at(&token, exp + 29), at(&token, exp + 30)), (Ok(()), Err(Reason::Expired)));
    assert_eq!(outcome(&with_claim("nbf", now() + 30)), Ok(()));
    assert_eq!(outcome(&with_claim("nbf", now() + 31)), Err(Reason::NotYetValid));
    assert_eq!(outcome(&with_claim("iat", now() + 30)), Ok(()));
    assert_eq!(outcome(&with_claim("iat", now() + 31)), Err(Reason::IssuedInFuture));
}

#[test]
fn the_leeway_is_at_most_120_seconds() {
    let most = policy().leeway(Duration::from_secs(120)).build().unwrap();
    let (token, keys) = (mint().token(&mint().claims()), mint().key_set());
    assert_eq!(check(&most, &token, &keys, now() + 719), Ok(()));
    assert_eq!(check(&most, &token, &keys, now() + 720), Err(Reason::Expired));
    let more = policy().leeway(Duration::from_nanos(120_000_000_001)).build();
    assert_eq!(more.unwrap_err(), ConfigError::LeewayTooLong);
    let none = policy().leeway(Duration::ZERO).build().unwrap();
    assert_eq!(check(&none, &token, &keys, now() + 600), Err(Reason::Expired));
    assert_eq!(check(&none, &token, &keys, now() + 599), Ok(()));
}

#[test]
fn the_type_is_that_of_access_tokens() {
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        assert_eq!(outcome(&with_header(&with(mint().header(), "typ", typ).to_string())), Ok(()), "{typ}");
    }
    for typ in ["JWT", "internal+jwt", "id+jwt", "at+jwt ", ""] {
        let token = with_header(&with(mint().header(), "typ", typ).to_string());
        assert_eq!(outcome(&token), Err(Reason::TypMismatch), "{typ}");
    }
    let bare = with_header(&super::without(mint().header(), "typ").to_string());
    assert_eq!(outcome(&bare), Err(Reason::TypMismatch));
}

#[test]
fn a_token_lives_24_hours_at_most() {
    assert_eq!(outcome(&with_claim("exp", now() + 86_400)), Ok(()));
    assert_eq!(outcome(&with_claim("exp", now() + 86_401)), Err(Reason::LifetimeTooLong));
    let shorter = policy().max_lifetime(Duration::from_secs(599)).build().unwrap();
    let token = mint().token(&mint().claims());
    assert_eq!(check(&shorter, &token, &mint().key_set(), now()), Err(Reason::LifetimeTooLong));
}

#[test]
fn exp_and_iat_are_required_and_nbf_is_not() {
    let lacking = |name: &str| outcome(&with_claims(&super::without(claims(), name).to_string()));
    assert_eq!((lacking("exp"), lacking("iat")), (Err(Reason::ClaimsInvalid), Err(Reason::ClaimsInvalid)));
    assert_eq!(lacking("nbf"), Ok(()));
}

#[test]
fn a_token_has_8_kib_at_most() {
    let long = |pad: usize| with_claim("pad", "x".repeat(pad));
    let fits = (5000..6000).map(long).take_while(|token| token.len() <= 8192).last().unwrap();
    assert!(fits.len() > 8189, "base64 has no length in between: {}", fits.len());
    assert_eq!(outcome(&fits), Ok(()));
    let over = (5000..6000).map(long).find(|token| token.len() > 8192).unwrap();
    assert_eq!(outcome(&over), Err(Reason::TooLarge));
}

#[test]
fn a_header_has_1_kib_at_most() {
    let header = with(mint().header(), "pad", "");
    let room = 1024 - header.to_string().len();
    let padded = |pad: usize| with_header(&with(header.clone(), "pad", "x".repeat(pad)).to_string());
    assert_eq!(outcome(&padded(room)), Ok(()));
    assert_eq!(outcome(&padded(room + 1)), Err(Reason::TooLarge));
}

#[test]
fn json_nests_8_levels_at_most() {
    let nest = |levels: usize| format!("\"x\":{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(outcome(&with_claims(&more(&claims(), &nest(7)))), Ok(()));
    assert_eq!(outcome(&with_claims(&more(&claims(), &nest(8)))), Err(Reason::ClaimsInvalid));
    assert_eq!(outcome(&with_header(&more(&mint().header(), &nest(7)))), Ok(()));
    assert_eq!(outcome(&with_header(&more(&mint().header(), &nest(8)))), Err(Reason::HeaderInvalid));
    let set = |levels| KeySet::parse(more(&json!({ "keys": [KEY().jwk()] }), &nest(levels)).as_bytes());
    assert!(set(7).is_ok());
    assert_eq!(set(8).unwrap_err(), JwksError::Malformed);
}

#[test]
fn a_key_set_has_64_kib_and_100_keys_at_most() {
    let set = mint().jwks();
    let padded = |length: usize| format!("{set}{}", " ".repeat(length - set.len()));
    assert!(KeySet::parse(padded(65_536).as_bytes()).is_ok());
    assert_eq!(KeySet::parse(padded(65_537).as_bytes()).unwrap_err(), JwksError::TooLarge);
    assert_eq!(set_with(&vec![json!({}); 99]).len(), 1);
    let many = json!({ "keys": vec![json!({}); 101] }).to_string();
    assert_eq!(KeySet::parse(many.as_bytes()).unwrap_err(), JwksError::TooManyKeys);
}

#[test]
fn crit_of_any_kind_is_refused() {
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!(null), json!("x"), json!(false), json!({})]
    {
        let token = with_header(&with(mint().header(), "crit", crit.clone()).to_string());
        assert_eq!(outcome(&token), Err(Reason::CritUnsupported), "{crit}");
    }
}

#[test]
fn a_name_given_twice_is_refused_wherever_it_stands() {
    for name in ["alg", "kid", "typ"] {
        let twice = more(&mint().header(), &format!("\"{name}\":{}", mint().header()[name]));
        assert_eq!(outcome(&with_header(&twice)), Err(Reason::HeaderInvalid), "{name}");
    }
    assert_eq!(
        outcome(&with_header(&more(&mint().header(), r#""x":1,"\u0078":1"#))),
        Err(Reason::HeaderInvalid)
    );
    for (name, value) in claims().as_object().unwrap() {
        let twice = more(&claims(), &format!("\"{name}\":{value}"));
        assert_eq!(outcome(&with_claims(&twice)), Err(Reason::ClaimsInvalid), "{name}");
    }
    assert_eq!(outcome(&with_claims(&more(&claims(), r#""x":1,"x":1"#))), Err(Reason::ClaimsInvalid));
    for twice in [r#""keys":[]"#, r#""x":1,"x":1"#] {
        let set = more(&json!({ "keys": [KEY().jwk()] }), twice);
        assert_eq!(KeySet::parse(set.as_bytes()).unwrap_err(), JwksError::Malformed);
    }
    for (name, value) in KEY().jwk().as_object().unwrap() {
        let key = more(&KEY().jwk(), &format!("\"{name}\":{value}"));
        let set = format!(r#"{{"keys":[{key}]}}"#);
        assert_eq!(KeySet::parse(set.as_bytes()).unwrap_err(), JwksError::Malformed, "{name}");
    }
}

#[test]
fn a_token_bound_to_a_key_is_refused() {
    for cnf in
        [json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }), json!({}), json!(null), json!(1)]
    {
        assert_eq!(outcome(&with_claim("cnf", cnf)), Err(Reason::CnfUnsupported));
    }
}

#[test]
fn an_unknown_kty_crv_or_alg_is_skipped() {
    let (rsa, ec) = (KEY().jwk(), TestKey::issuer(Algorithm::Es256).jwk());
    assert_skipped(with(rsa.clone(), "kty", "AKP"), SkipReason::UnsupportedKeyType);
    assert_skipped(with(ec, "crv", "P-384"), SkipReason::UnsupportedCurve);
    assert_skipped(with(rsa.clone(), "alg", "RSA-OAEP-256"), SkipReason::UnsupportedAlgorithm);
    let keys = set_with(&[with(rsa.clone(), "kty", "AKP")]);
    let verifier = policy().build().unwrap();
    let token = mint().token(&mint().claims());
    assert_eq!(check(&verifier, &token, &keys, now()), Err(Reason::KeyMismatch));
    assert_eq!(check(&verifier, &token, &set_with(&[rsa]), now()), Ok(()));
}

#[test]
fn keys_of_one_name_are_ambiguous() {
    let twin = with(TestKey::stranger(Algorithm::Es256).jwk(), "kid", KEY().kid());
    let token = mint().token(&mint().claims());
    for keys in [[KEY().jwk(), twin.clone()], [twin, KEY().jwk()], [KEY().jwk(), KEY().jwk()]] {
        let keys = set_with(&keys);
        let ambiguous = (Some(KeyId::parse(&KEY().kid()).unwrap()), SkipReason::KidAmbiguous);
        assert_eq!(keys.skipped(), [ambiguous.clone(), ambiguous]);
        let verifier = policy().build().unwrap();
        assert_eq!(check(&verifier, &token, &keys, now()), Err(Reason::KeyMismatch));
    }
}

#[test]
fn private_and_symmetric_keys_are_skipped_and_counted() {
    let oct = json!({ "kty": "oct", "kid": "shared", "alg": "HS256", "k": "AQAB" });
    let mut keys = vec![oct];
    for (at, name) in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"].into_iter().enumerate() {
        let algorithm = Algorithm::ALL[at % Algorithm::ALL.len()];
        let key = with(with(TestKey::issuer(algorithm).jwk(), name, "AQAB"), "kid", format!("key-{at}"));
        assert_skipped(key.clone(), SkipReason::PrivateMaterial);
        keys.push(key);
    }
    let set = set_with(&keys);
    assert_eq!((set.leaked(), set.len()), (10, 1));
    assert_eq!(set_with(&[json!({ "kty": "AKP", "kid": "k" })]).leaked(), 0);
    let alone = json!({ "keys": keys }).to_string();
    let JwksError::NoUsableKey { skipped } = KeySet::parse(alone.as_bytes()).unwrap_err() else {
        panic!("a set of leaked keys was taken")
    };
    assert_eq!(skipped.len(), 10);
}

#[test]
fn a_key_id_has_128_bytes_at_most() {
    let named = |length: usize| with(mint().header(), "kid", "k".repeat(length)).to_string();
    assert_eq!(outcome(&with_header(&named(128))), Err(Reason::KidUnknown));
    assert_eq!(outcome(&with_header(&named(129))), Err(Reason::HeaderInvalid));
}

#[test]
fn identifiers_have_255_bytes_at_most() {
    for name in ["sub", "jti", "client_id", "sid"] {
        assert_eq!(outcome(&with_claim(name, "x".repeat(255))), Ok(()), "{name}");
        assert_eq!(outcome(&with_claim(name, "x".repeat(256))), Err(Reason::ClaimsInvalid), "{name}");
    }
}
