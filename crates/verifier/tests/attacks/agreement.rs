//! Agreement with the RFC's vector, with an independent implementation, and with the crate's own promises.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};
use keyward_verifier::{AccessClaims, ConfigError, KeySet, PublicKey, Reason, Verifier};
use proptest::prelude::*;

use crate::minting::*;

/// RFC 7515 A.2: the key, the signing input and the signature.
const N: &str = concat!(
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ",
    "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2",
    "R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcD",
    "TW9gb54h4FRWyuXpoQ"
);
const SIGNED: &str = concat!(
    "eyJhbGciOiJSUzI1NiJ9.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
);
const SIGNATURE: &str = concat!(
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU",
    "Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_d",
    "O--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig",
    "cN_IoypGlUPQGe77Rw"
);

#[test]
fn the_signature_of_rfc_7515_a_2_is_good_and_any_other_is_not() {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let key = PublicKey::rsa(&decode(N), &[1, 0, 1]).unwrap();
    let mut signature = decode(SIGNATURE);
    assert_eq!(key.verify(SIGNED.as_bytes(), &signature), Ok(()));
    signature[100] ^= 1;
    assert!(key.verify(SIGNED.as_bytes(), &signature).is_err());
}

fn oracle(token: &str) -> Option<AccessClaims> {
    let text = serde_json::to_vec(&KEY.jwk()).unwrap();
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_slice(&text).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    // The oracle reads the real clock.
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(&jwk).unwrap();
    jsonwebtoken::decode::<AccessClaims>(token, &key, &validation).ok().map(|data| data.claims)
}

#[test]
fn an_independent_implementation_agrees_on_valid_tokens() {
    let mut several = access_claims();
    several.nbf = None;
    several.roles.clear();
    for claims in [access_claims(), several] {
        let token = with_claims_text(&serde_json::to_string(&claims).unwrap());
        let verified = verifier().verify(&token, &KEYS, NOW).unwrap();
        assert_eq!((verified.claims(), verified.key_id()), (&claims, &KEY.jwk().kid));
        assert_eq!(oracle(&token), Some(verified.into_claims()));
    }
    let list = with_claim("aud", vec!["https://other.example", AUDIENCE]);
    assert_eq!(oracle(&list), Some(verifier().verify(&list, &KEYS, NOW).unwrap().into_claims()));
}

#[test]
fn an_empty_or_boundless_policy_is_refused() {
    let builder = |issuer: &str, audience: &str| Verifier::builder().issuer(issuer).audience(audience);
    assert_eq!(builder("", "a").rs256().build().unwrap_err(), ConfigError::NoIssuer);
    assert_eq!(builder("i", "").rs256().build().unwrap_err(), ConfigError::NoAudience);
    assert_eq!(builder("i", "a").algorithms(&[]).build().unwrap_err(), ConfigError::NoAlgorithm);
    assert_eq!(builder("i", "a").rs256().typ("").build().unwrap_err(), ConfigError::NoTyp);
    let lifetime = std::time::Duration::from_millis(999);
    assert_eq!(
        builder("i", "a").rs256().max_lifetime(lifetime).build().unwrap_err(),
        ConfigError::NoLifetime
    );
}

#[test]
fn another_typ_may_be_configured() {
    let verifier = Verifier::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .rs256()
        .typ("application/x+jwt")
        .build()
        .unwrap();
    assert!(verifier.verify(&with_member("typ", "X+jwt"), &KEYS, NOW).is_ok());
    assert_eq!(verifier.verify(&valid(), &KEYS, NOW).unwrap_err().reason, Reason::TypMismatch);
}

proptest! {
    #[test]
    fn no_token_panics(token in ".{0,200}") {
        prop_assert!(outcome(&token, &KEYS).is_err());
    }

    #[test]
    fn no_header_panics(header in prop::collection::vec(any::<u8>(), 0..300)) {
        let token = [&b64(&header), "e30", "AA"].join(".");
        prop_assert!(outcome(&token, &KEYS).is_err());
    }

    #[test]
    fn no_key_set_panics(text in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(KeySet::parse(&text).is_err());
    }

    #[test]
    fn no_numbers_of_a_key_panic(n in prop::collection::vec(any::<u8>(), 0..1100), e in prop::collection::vec(any::<u8>(), 0..12)) {
        if let Ok(key) = PublicKey::rsa(&n, &e) {
            prop_assert!(key.verify(b"message", &n).is_err());
        }
    }

    #[test]
    fn one_changed_byte_is_refused_without_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let good = valid();
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(token) = String::from_utf8(bytes) {
            prop_assert_eq!(outcome(&token, &KEYS).is_ok(), token == good);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_signed_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let token = KEY.token(header().to_string().as_bytes(), &payload);
        prop_assert_eq!(outcome(&token, &KEYS), Err(Reason::ClaimsInvalid));
    }

    #[test]
    fn any_claim_may_have_any_value(name in "iss|aud|exp|iat|nbf|scope|amr|roles|sid|cnf|x", value in "[\\[\\]{}\",:0-9a-z.eE+-]{0,30}") {
        let _ = outcome(&with_more_claims(&format!("\"{name}\":{value}")), &KEYS);
        let mut claims = claims();
        claims[&name] = "<here>".into();
        let _ = outcome(&with_claims_text(&claims.to_string().replace("\"<here>\"", &value)), &KEYS);
    }
}
