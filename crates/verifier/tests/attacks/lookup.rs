//! B. Keys and places of keys that the header brings along.

use keyward_verifier::{KeyId, KeySet, Reason};
use serde_json::json;

use crate::minting::*;

/// Signed by a stranger under the issuer's `kid`, with one more header member.
fn by_stranger(name: &str, value: serde_json::Value) -> String {
    let mut header = header();
    header[name] = value;
    STRANGER.token(header.to_string().as_bytes(), claims().to_string().as_bytes())
}

#[test]
fn attack_022_embedded_jwk() {
    let jwk = serde_json::to_value(STRANGER.jwk()).unwrap();
    assert_refused(&by_stranger("jwk", jwk.clone()), Reason::SignatureInvalid);
    let own = json!({ "alg": "RS256", "typ": "at+jwt", "kid": STRANGER.jwk().kid, "jwk": jwk });
    let token = STRANGER.token(own.to_string().as_bytes(), claims().to_string().as_bytes());
    // A whole key nearly fills the header's limit; the token must fall to the key lookup, not to its size.
    assert_refused(&token, Reason::KidUnknown);
}

#[test]
fn attack_023_embedded_symmetric_jwk() {
    let header =
        json!({ "alg": "HS256", "typ": "at+jwt", "kid": KEY.jwk().kid, "jwk": { "kty": "oct", "k": "AA" } });
    assert_refused(&with_header_text(&header.to_string()), Reason::AlgNotAllowed);
}

#[test]
fn attack_024_jku() {
    assert_refused(&by_stranger("jku", json!("https://evil.example/jwks.json")), Reason::SignatureInvalid);
}

#[test]
fn attack_025_jku_towards_the_inside() {
    for jku in [
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "gopher://localhost/",
        "https://id.example@evil.example/",
    ] {
        assert_refused(&by_stranger("jku", json!(jku)), Reason::SignatureInvalid);
    }
}

#[test]
fn attack_026_x5u_and_x5c() {
    assert_refused(&by_stranger("x5u", json!("https://evil.example/cert.pem")), Reason::SignatureInvalid);
    assert_refused(
        &by_stranger("x5c", json!(["MIIBszCCARygAwIBAgIBADANBgkqhkiG9w0BAQ"])),
        Reason::SignatureInvalid,
    );
}

#[test]
fn attack_027_certificate_thumbprint_instead_of_kid() {
    for name in ["x5t", "x5t#S256"] {
        let header = json!({ "alg": "RS256", "typ": "at+jwt", name: KEY.jwk().kid });
        assert_refused(&with_header_text(&header.to_string()), Reason::KidMissing);
    }
}

#[test]
fn attack_028_kid_as_a_path() {
    for kid in ["../../../../dev/null", "/dev/null", "..", "file:///dev/null"] {
        assert_refused(&with_member("kid", kid), Reason::KidUnknown);
    }
}

#[test]
fn attack_029_kid_as_an_injection() {
    for kid in
        ["x' UNION SELECT 'k'--", "a\r\nX: y", "{\"$ne\":null}", "\"|id", "*)(uid=*))(|(uid=* ", "${7*7} "]
    {
        assert_refused(&with_member("kid", kid), Reason::HeaderInvalid);
    }
}

#[test]
fn attack_030_kid_that_forges_log_lines_or_fills_them() {
    assert_refused(&with_member("kid", "a\nlevel=info granted"), Reason::HeaderInvalid);
    assert_refused(&with_member("kid", "k".repeat(129)), Reason::HeaderInvalid);
    assert_refused(&with_member("kid", "k".repeat(4096)), Reason::TooLarge);
    assert_refused(&with_member("kid", "k".repeat(128)), Reason::KidUnknown);
}

#[test]
fn attack_031_kid_of_wrong_type() {
    for kid in [json!(0), json!(null), json!([]), json!({}), json!(true), json!([KEY.jwk().kid]), json!("")] {
        assert_refused(&with_member("kid", kid), Reason::HeaderInvalid);
    }
}

#[test]
fn attack_037_no_kid() {
    let token = with_header(|header| {
        header.as_object_mut().unwrap().remove("kid");
    });
    assert_refused(&token, Reason::KidMissing);
}

#[test]
fn attack_121_key_of_another_issuer() {
    let theirs = KeySet::from_jwks(&STRANGER.set()).unwrap();
    assert_eq!(outcome(&valid(), &theirs), Err(Reason::KidUnknown));
    assert_accepted(&valid());
}

#[test]
fn a_revoked_key_is_refused_by_name_also_when_the_set_no_longer_holds_it() {
    let kid = KEY.jwk().kid;
    let gone = KeySet::from_jwks(&STRANGER.set()).unwrap().with_revoked([kid.clone()]);
    assert_eq!(outcome(&valid(), &gone), Err(Reason::KidRevoked));
    let held = KEYS.clone().with_revoked([kid.clone(), KeyId::parse("another").unwrap()]);
    assert!(held.find(&kid).is_none() && KEYS.find(&kid).is_some());
}
