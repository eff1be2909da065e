//! Agreement with an independent implementation, and with the crate's own promises.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};
use keyward_verifier::testing::{Mint, TestKey};
use keyward_verifier::{AccessClaims, Algorithm, ConfigError, KeyId, KeySet, PublicKey, Reason, Verifier};
use proptest::prelude::*;
use serde_json::{Value, json};

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://orders.example";

fn mint() -> Mint {
    Mint::new(ISSUER, AUDIENCE)
}

fn verifier(algorithm: Algorithm) -> Verifier {
    Verifier::builder().issuer(ISSUER).audience(AUDIENCE).algorithms(&[algorithm]).build().unwrap()
}

fn accepted(token: &str, mint: &Mint) -> Result<AccessClaims, Reason> {
    let verified = verifier(mint.key().algorithm()).verify(token, &mint.key_set(), mint.clock().now());
    verified.map(|verified| verified.into_claims()).map_err(|refusal| refusal.reason)
}

fn with_claim(mint: &Mint, name: &str, value: impl Into<Value>) -> String {
    let mut claims = serde_json::to_value(mint.claims()).unwrap();
    claims[name] = value.into();
    mint.token_of(&mint.header(), &claims)
}

fn oracle(token: &str, key: TestKey) -> Option<AccessClaims> {
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.jwk()).unwrap();
    let mut validation = Validation::new(key.algorithm().name().parse().unwrap());
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    // The oracle reads the real clock.
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(&jwk).unwrap();
    jsonwebtoken::decode::<AccessClaims>(token, &key, &validation).ok().map(|data| data.claims)
}

#[test]
fn an_independent_implementation_agrees_on_valid_tokens_of_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let mint = mint().keys([TestKey::issuer(algorithm)]);
        let mut bare = mint.claims();
        bare.nbf = None;
        bare.roles.clear();
        for claims in [mint.claims(), bare] {
            let token = mint.token(&claims);
            assert_eq!(accepted(&token, &mint), Ok(claims.clone()), "{algorithm}");
            assert_eq!(oracle(&token, mint.key()), Some(claims), "{algorithm}");
        }
        let several = with_claim(&mint, "aud", vec!["https://other.example", AUDIENCE]);
        assert_eq!(oracle(&several, mint.key()), accepted(&several, &mint).ok(), "{algorithm}");
        let stranger = mint.clone().keys([TestKey::stranger(algorithm)]);
        let forged = stranger.token_of(&mint.header(), &serde_json::to_value(mint.claims()).unwrap());
        assert_eq!(accepted(&forged, &mint), Err(Reason::SignatureInvalid), "{algorithm}");
        assert_eq!(oracle(&forged, mint.key()), None, "{algorithm}");
    }
}

#[test]
fn what_is_verified_names_its_key() {
    let mint = mint();
    let token = mint.token(&mint.claims());
    let verified = verifier(Algorithm::Rs256).verify(&token, &mint.key_set(), mint.clock().now()).unwrap();
    assert_eq!(verified.key_id().as_str(), mint.key().kid());
}

#[test]
fn ed25519_goes_by_either_of_its_names() {
    let mint = mint().keys([TestKey::issuer(Algorithm::EdDsa)]);
    let claims = serde_json::to_value(mint.claims()).unwrap();
    let mut header = mint.header();
    header["alg"] = "Ed25519".into();
    assert_eq!(accepted(&mint.token_of(&header, &claims), &mint), Ok(mint.claims()));
}

#[test]
fn scopes_match_whole_words_and_roles_come_from_their_own_claim() {
    let mint = mint();
    let claims = accepted(&with_claim(&mint, "scope", "x notadmin x"), &mint).unwrap();
    assert!(!claims.scope.contains("admin") && claims.scope.contains("x"));
    let mut claims = serde_json::to_value(mint.claims()).unwrap();
    claims["realm_access"] = json!({ "roles": ["admin"] });
    claims.as_object_mut().unwrap().remove("roles");
    assert!(accepted(&mint.token_of(&mint.header(), &claims), &mint).unwrap().roles.is_empty());
}

#[test]
fn a_revoked_key_is_not_found_and_not_counted() {
    let mint = mint();
    let kid = KeyId::parse(&mint.key().kid()).unwrap();
    let held = mint.key_set().with_revoked([kid.clone(), KeyId::parse("another").unwrap()]);
    assert!(held.find(&kid).is_none() && held.is_empty());
    assert!(mint.key_set().find(&kid).is_some() && mint.key_set().len() == 1);
}

#[test]
fn an_empty_or_boundless_policy_is_refused() {
    let builder = |issuer: &str, audience: &str| Verifier::builder().issuer(issuer).audience(audience);
    assert_eq!(builder("", "a").rs256().build().unwrap_err(), ConfigError::NoIssuer);
    assert_eq!(builder("i", "").rs256().build().unwrap_err(), ConfigError::NoAudience);
    assert_eq!(builder("i", "a").algorithms(&[]).build().unwrap_err(), ConfigError::NoAlgorithm);
    let rs256 = || builder("i", "a").rs256();
    assert_eq!(rs256().typ("").build().unwrap_err(), ConfigError::NoTyp);
    let (lifetime, leeway) = (Duration::from_millis(999), Duration::from_millis(120_001));
    assert_eq!(rs256().max_lifetime(lifetime).build().unwrap_err(), ConfigError::NoLifetime);
    assert_eq!(rs256().leeway(leeway).build().unwrap_err(), ConfigError::LeewayTooLong);
    assert!(rs256().leeway(Duration::from_secs(120)).build().is_ok());
}

fn refused(token: &str) -> Option<Reason> {
    accepted(token, &mint()).err()
}

proptest! {
    #[test]
    fn no_token_panics(token in ".{0,200}") {
        prop_assert!(refused(&token).is_some());
    }

    #[test]
    fn no_header_panics(header in prop::collection::vec(any::<u8>(), 0..300)) {
        let token = [&URL_SAFE_NO_PAD.encode(header), "e30", "AA"].join(".");
        prop_assert!(refused(&token).is_some());
    }

    #[test]
    fn no_key_set_panics(text in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(KeySet::parse(&text).is_err());
    }

    #[test]
    fn no_numbers_of_a_key_panic(
        n in prop::collection::vec(any::<u8>(), 0..1100),
        e in prop::collection::vec(any::<u8>(), 0..12),
        [x, y] in any::<[[u8; 32]; 2]>(),
    ) {
        for key in [PublicKey::rsa(&n, &e), PublicKey::p256(&x, &y), PublicKey::ed25519(&x)].into_iter().flatten() {
            prop_assert!(key.verify(b"message", &n).is_err());
        }
    }

    #[test]
    fn one_changed_byte_is_refused_without_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let good = mint().token(&mint().claims());
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(token) = String::from_utf8(bytes) {
            prop_assert_eq!(refused(&token).is_none(), token == good);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_signed_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let token = mint().key().token(mint().header().to_string().as_bytes(), &payload);
        prop_assert_eq!(refused(&token), Some(Reason::ClaimsInvalid));
    }

    #[test]
    fn any_claim_may_have_any_value(
        name in "iss|aud|exp|iat|nbf|scope|amr|roles|sid|cnf|x",
        value in "[\\[\\]{}\",:0-9a-z.eE+-]{0,30}",
    ) {
        let mint = mint();
        let mut claims = serde_json::to_value(mint.claims()).unwrap();
        claims[&name] = "<here>".into();
        let text = claims.to_string().replace("\"<here>\"", &value);
        let more = format!("{},\"{name}\":{value}}}", text.strip_suffix('}').unwrap());
        for payload in [text, more] {
            let _ = refused(&mint.key().token(mint.header().to_string().as_bytes(), payload.as_bytes()));
        }
    }
}
