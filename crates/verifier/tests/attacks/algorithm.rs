//! A. Algorithm and key choice.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_verifier::{KeySet, Reason};
use serde_json::json;

use crate::minting::*;

/// The catalogue's HS256 forgery: the published key, in some spelling, as the shared secret.
fn hs256(secret: &[u8]) -> String {
    let mut header = header();
    header["alg"] = "HS256".into();
    let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims().to_string().as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", b64(tag.as_ref()))
}

/// A token signed by the issuer's key in another scheme, under the given name.
fn signed_as(alg: &str, encoding: &'static dyn RsaEncoding) -> String {
    let mut header = header();
    header["alg"] = alg.into();
    let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims().to_string().as_bytes()));
    format!("{signed}.{}", b64(&KEY.sign(encoding, &signed)))
}

fn unsigned(token: &str) -> String {
    format!("{}.", token.rsplit_once('.').unwrap().0)
}

fn pem(label: &str, der: &[u8], line_end: &str) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "-----BEGIN {label}-----{line_end}{}{line_end}-----END {label}-----{line_end}",
        lines.join(line_end)
    )
}

#[test]
fn attack_001_alg_none_without_signature() {
    assert_refused(&unsigned(&with_member("alg", "none")), Reason::AlgNotAllowed);
    assert_refused(&unsigned(&with_header_text(r#"{"alg":"none"}"#)), Reason::AlgNotAllowed);
}

#[test]
fn attack_002_alg_none_in_other_case() {
    for alg in ["None", "NONE", "nOnE"] {
        assert_refused(&unsigned(&with_member("alg", alg)), Reason::AlgNotAllowed);
    }
}

#[test]
fn attack_003_alg_none_with_leftover_signature() {
    assert_refused(&with_member("alg", "none"), Reason::AlgNotAllowed);
}

#[test]
fn attack_004_empty_signature() {
    assert_refused(&unsigned(&valid()), Reason::SignatureInvalid);
}

#[test]
fn attack_005_alg_missing_or_of_wrong_type() {
    assert_refused(&with_header_text("{}"), Reason::HeaderInvalid);
    for alg in [json!(null), json!(1), json!(["RS256"]), json!({ "RS256": 1 }), json!(true)] {
        assert_refused(&with_member("alg", alg), Reason::HeaderInvalid);
    }
    assert_refused(&with_member("alg", ""), Reason::AlgNotAllowed);
}

#[test]
fn attack_006_public_pem_as_hmac_secret() {
    assert_refused(&hs256(pem("RSA PUBLIC KEY", KEY.public_der(), "\n").as_bytes()), Reason::AlgNotAllowed);
}

#[test]
fn attack_007_public_pem_variants_as_hmac_secret() {
    let text = pem("RSA PUBLIC KEY", KEY.public_der(), "\n");
    let crlf = pem("RSA PUBLIC KEY", KEY.public_der(), "\r\n");
    let spki = pem("PUBLIC KEY", KEY.public_der(), "\n");
    for secret in [text.trim_end(), &crlf, &spki, &format!(" {text}")] {
        assert_refused(&hs256(secret.as_bytes()), Reason::AlgNotAllowed);
    }
    assert_refused(&hs256(KEY.public_der()), Reason::AlgNotAllowed);
}

#[test]
fn attack_008_public_jwk_as_hmac_secret() {
    let jwk = serde_json::to_vec(&KEY.jwk()).unwrap();
    let set = serde_json::to_vec(&KEY.set()).unwrap();
    assert_refused(&hs256(&jwk), Reason::AlgNotAllowed);
    assert_refused(&hs256(&set), Reason::AlgNotAllowed);
}

#[test]
fn attack_009_public_key_in_other_forms_as_hmac_secret() {
    let field = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let ssh = [field(b"ssh-rsa"), field(&KEY.e), field(&[&[0], &KEY.n[..]].concat())].concat();
    assert_refused(&hs256(format!("ssh-rsa {}", STANDARD.encode(ssh)).as_bytes()), Reason::AlgNotAllowed);
    assert_refused(&hs256(&KEY.n), Reason::AlgNotAllowed);
}

#[test]
fn attack_010_key_without_alg_does_not_take_that_of_the_token() {
    let mut set = serde_json::to_value(KEY.set()).unwrap();
    set["keys"][0].as_object_mut().unwrap().remove("alg");
    let keys = KeySet::parse(set.to_string().as_bytes()).unwrap();
    assert_eq!(outcome(&hs256(&KEY.n), &keys), Err(Reason::AlgNotAllowed));
    assert_eq!(outcome(&signed_as("PS256", &RSA_PSS_SHA256), &keys), Err(Reason::AlgNotAllowed));
    assert_eq!(outcome(&valid(), &keys), Ok(()));
}

#[test]
fn attack_011_rsa_key_used_in_another_scheme() {
    let schemes: [(&str, &'static dyn RsaEncoding); 3] =
        [("PS256", &RSA_PSS_SHA256), ("RS384", &RSA_PKCS1_SHA384), ("RS512", &RSA_PKCS1_SHA512)];
    for (alg, encoding) in schemes {
        assert_refused(&signed_as(alg, encoding), Reason::AlgNotAllowed);
        assert_refused(&signed_as("RS256", encoding), Reason::SignatureInvalid);
    }
}

#[test]
fn attack_014_alg_from_an_unprotected_header() {
    let token = valid();
    let parts: Vec<_> = token.split('.').collect();
    let flattened = json!({ "header": { "alg": "RS256" }, "payload": parts[1], "signature": parts[2] });
    assert_refused(&flattened.to_string(), Reason::Malformed);
}

#[test]
fn attack_015_unknown_alg() {
    for alg in ["RS1", "HS1", "ES256K", "ML-DSA-44", "dir", "RSA-OAEP", "RS2566"] {
        assert_refused(&with_member("alg", alg), Reason::AlgNotAllowed);
    }
}

#[test]
fn attack_016_eddsa_under_either_name() {
    for alg in ["EdDSA", "Ed25519", "Ed448", "ES256"] {
        assert_refused(&with_member("alg", alg), Reason::AlgNotAllowed);
    }
}

#[test]
fn attack_017_alg_look_alikes() {
    for alg in ["RS256 ", " RS256", "rs256", "ＲＳ256", "RS256\u{0}", "RS256\n"] {
        assert_refused(&with_member("alg", alg), Reason::AlgNotAllowed);
    }
}

#[test]
fn attack_018_alg_of_the_key_differs_from_that_of_the_token() {
    let mut set = serde_json::to_value(KEY.set()).unwrap();
    set["keys"][0]["alg"] = "RS512".into();
    set["keys"].as_array_mut().unwrap().push(serde_json::to_value(STRANGER.jwk()).unwrap());
    let keys = KeySet::parse(set.to_string().as_bytes()).unwrap();
    assert_eq!(outcome(&valid(), &keys), Err(Reason::KeyMismatch));
    assert_accepted(&valid());
}

#[test]
fn attack_019_hs256_under_the_kid_of_an_rsa_key() {
    assert_refused(&hs256(b"a secret of thirty-two bytes....."), Reason::AlgNotAllowed);
}

#[test]
fn attack_020_empty_hmac_secret() {
    assert_refused(&hs256(b""), Reason::AlgNotAllowed);
    assert_refused(&hs256(&[0; 16]), Reason::AlgNotAllowed);
}

#[test]
fn attack_021_no_key_at_hand_accepts_nothing() {
    let none = KEYS.clone().with_revoked([KEY.jwk().kid]);
    assert!(none.is_empty());
    assert_eq!(outcome(&unsigned(&with_member("alg", "none")), &none), Err(Reason::AlgNotAllowed));
    assert_eq!(outcome(&valid(), &none), Err(Reason::KidRevoked));
    assert_accepted(&valid());
}
