//! A. Algorithm and key choice.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::json::encode;
use crate::refusal::{Reason, SkipReason};
use crate::testing::forge::{Forge, halves, named, parts, set};
use crate::testing::key::TestKey;
use crate::testing::mint::Mint;

fn rsa() -> TestKey {
    TestKey::issuer(Algorithm::Rs256)
}

/// A token under the issuer's key id whose MAC was made with this secret.
pub(super) fn hs256(mint: &Mint, secret: &[u8]) -> String {
    let mut header = mint.header();
    header["alg"] = "HS256".into();
    let signed = mint.unsigned(&header);
    let signed = signed.strip_suffix('.').unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

/// A token under the name of the issuer's RS256 key, in another scheme of the same key and under the given name.
fn in_scheme(f: &Forge<'_>, alg: &str, encoding: &'static dyn RsaEncoding) -> String {
    let mut header = f.signing(Algorithm::Rs256).header();
    header["alg"] = alg.into();
    let signed = f.mint.unsigned(&header);
    let signed = signed.strip_suffix('.').unwrap();
    format!("{signed}.{}", encode(&rsa().sign_rsa(encoding, signed.as_bytes())))
}

fn with_alg(f: &Forge<'_>, alg: &str) -> Value {
    let mut header = f.mint.header();
    header["alg"] = alg.into();
    header
}

fn pem(label: &str, der: &[u8], line_end: &str) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let body = lines.join(line_end);
    format!("-----BEGIN {label}-----{line_end}{body}{line_end}-----END {label}-----{line_end}")
}

pub(in crate::testing) fn attack_001_alg_none_without_signature(f: &mut Forge<'_>) {
    f.refuse(f.mint.unsigned(&with_alg(f, "none")));
    f.refuse(f.mint.unsigned(&json!({ "alg": "none" })));
}

pub(in crate::testing) fn attack_002_alg_none_in_other_case(f: &mut Forge<'_>) {
    for alg in ["None", "NONE", "nOnE"] {
        f.refuse(f.mint.unsigned(&with_alg(f, alg)));
    }
}

pub(in crate::testing) fn attack_003_alg_none_with_leftover_signature(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_member("alg", "none"));
    let good = f.mint.valid();
    f.refuse(format!("{}{}", f.mint.unsigned(&with_alg(f, "none")), parts(&good)[2]));
}

pub(in crate::testing) fn attack_004_empty_signature(f: &mut Forge<'_>) {
    f.refuse(f.mint.unsigned(&f.mint.header()));
}

pub(in crate::testing) fn attack_005_alg_missing_or_of_wrong_type(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_header_text("{}"));
    f.refuse(f.mint.without_member("alg"));
    for alg in [json!(null), json!(1), json!(["RS256"]), json!({ "RS256": 1 }), json!(true)] {
        f.refuse(f.mint.with_member("alg", alg));
    }
    f.refuse_for(Reason::AlgNotAllowed, f.mint.with_member("alg", ""));
}

pub(in crate::testing) fn attack_006_public_pem_as_hmac_secret(f: &mut Forge<'_>) {
    f.refuse(hs256(&f.mint, pem("PUBLIC KEY", &rsa().spki(), "\n").as_bytes()));
}

pub(in crate::testing) fn attack_007_public_pem_variants_as_hmac_secret(f: &mut Forge<'_>) {
    for (label, der) in [("PUBLIC KEY", rsa().spki()), ("RSA PUBLIC KEY", rsa().pkcs1())] {
        let text = pem(label, &der, "\n");
        for secret in [&text, text.trim_end(), &pem(label, &der, "\r\n"), &format!(" {text}")] {
            f.refuse(hs256(&f.mint, secret.as_bytes()));
        }
        f.refuse(hs256(&f.mint, &der));
    }
}

pub(in crate::testing) fn attack_008_public_jwk_as_hmac_secret(f: &mut Forge<'_>) {
    for secret in [f.mint.key().jwk().to_string(), f.mint.jwks(), f.mint.key().jwk()["kid"].to_string()] {
        f.refuse(hs256(&f.mint, secret.as_bytes()));
    }
}

pub(in crate::testing) fn attack_009_public_key_in_other_forms_as_hmac_secret(f: &mut Forge<'_>) {
    let field = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let n = rsa().n();
    let ssh = [field(b"ssh-rsa"), field(&[1, 0, 1]), field(&[&[0], &n[..]].concat())].concat();
    f.refuse(hs256(&f.mint, format!("ssh-rsa {}", STANDARD.encode(ssh)).as_bytes()));
    f.refuse(hs256(&f.mint, &n));
}

pub(in crate::testing) fn attack_010_key_without_alg_takes_that_of_the_token(f: &mut Forge<'_>) {
    let mut bare = rsa().jwk();
    bare.as_object_mut().unwrap().remove("alg");
    let keys = set(&[bare]);
    let issuer = f.signing(Algorithm::Rs256);
    f.present(hs256(&issuer, &rsa().n())).served([&keys]).refused();
    for (alg, token) in [
        (Algorithm::Ps256, in_scheme(f, "PS256", &RSA_PSS_SHA256)),
        (Algorithm::Rs512, in_scheme(f, "RS512", &RSA_PKCS1_SHA512)),
    ] {
        f.present(token).of(alg).served([&keys]).refused_for(Reason::KeyMismatch);
    }
    f.present(issuer.valid()).of(Algorithm::Rs256).served([&keys]).accepted();
}

pub(in crate::testing) fn attack_011_rsa_key_used_in_another_scheme(f: &mut Forge<'_>) {
    let schemes: [(Algorithm, &'static dyn RsaEncoding); 3] = [
        (Algorithm::Ps256, &RSA_PSS_SHA256),
        (Algorithm::Rs384, &RSA_PKCS1_SHA384),
        (Algorithm::Rs512, &RSA_PKCS1_SHA512),
    ];
    let keys = set(&[rsa().jwk()]);
    for (alg, encoding) in schemes {
        f.present(in_scheme(f, alg.name(), encoding)).of(alg).served([&keys]).refused();
        let unnamed = in_scheme(f, "RS256", encoding);
        f.present(unnamed).of(Algorithm::Rs256).served([&keys]).refused_for(Reason::SignatureInvalid);
        let back = f.signing(Algorithm::Rs256).with_member("kid", TestKey::issuer(alg).kid());
        f.present(back).of(Algorithm::Rs256).served([set(&[TestKey::issuer(alg).jwk()])]).refused();
    }
}

pub(in crate::testing) fn attack_012_es256_with_a_key_of_another_curve(f: &mut Forge<'_>) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(48);
    let header = json!({ "alg": "ES256", "kid": "other-curve", "typ": f.target.typ });
    let signed = f.mint.unsigned(&header);
    let signed = signed.strip_suffix('.').unwrap();
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", encode(signature.as_ref()));
    for (crv, reason) in [
        ("P-384", SkipReason::UnsupportedCurve),
        ("P-521", SkipReason::UnsupportedCurve),
        ("secp256k1", SkipReason::UnsupportedCurve),
        ("P-256", SkipReason::PointRefused),
    ] {
        let key = json!({ "kty": "EC", "kid": "other-curve", "crv": crv, "x": encode(x), "y": encode(y) });
        let keys = set(&[key, TestKey::issuer(Algorithm::Es256).jwk()]);
        let read = Ok(vec![(named("other-curve"), reason)]);
        f.present(&token).of(Algorithm::Es256).served([&keys]).read_as(read).twin_set(keys).refused();
    }
}

pub(in crate::testing) fn attack_013_ec_point_as_hmac_secret(f: &mut Forge<'_>) {
    let (x, y) = TestKey::issuer(Algorithm::Es256).point();
    let issuer = f.signing(Algorithm::Es256);
    for secret in [[&x[..], &y].concat(), [&[4], &x[..], &y].concat(), x] {
        f.refuse(hs256(&issuer, &secret));
    }
}

pub(in crate::testing) fn attack_014_alg_from_an_unprotected_header(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    let [_, payload, signature] = parts(&good);
    let header = f.mint.header();
    f.refuse(json!({ "header": header, "payload": payload, "signature": signature }).to_string());
}

pub(in crate::testing) fn attack_015_unknown_alg(f: &mut Forge<'_>) {
    for alg in ["RS1", "HS1", "HS384", "ES256K", "ES512", "PS384", "ML-DSA-44", "dir", "RSA-OAEP", "RS2566"] {
        f.refuse(f.mint.with_member("alg", alg));
        f.refuse(f.mint.unsigned(&with_alg(f, alg)));
    }
}

pub(in crate::testing) fn attack_016_eddsa_of_another_key(f: &mut Forge<'_>) {
    for alg in ["Ed448", "ed25519", "EDDSA", "EdDSA-25519"] {
        f.refuse_for(Reason::AlgNotAllowed, f.signing(Algorithm::EdDsa).with_member("alg", alg));
    }
    let keys = set(&[rsa().jwk()]);
    let mut ed448 = TestKey::issuer(Algorithm::EdDsa).jwk();
    ed448["crv"] = "Ed448".into();
    let read = Ok(vec![(named(&TestKey::issuer(Algorithm::EdDsa).kid()), SkipReason::UnsupportedCurve)]);
    let ed448 = set(&[ed448, rsa().jwk()]);
    for alg in ["EdDSA", "Ed25519"] {
        let token = f.signing(Algorithm::Rs256).with_member("alg", alg);
        f.present(token).of(Algorithm::EdDsa).served([&keys]).refused();
        let token = f.signing(Algorithm::EdDsa).with_member("alg", alg);
        f.present(token).of(Algorithm::EdDsa).served([&ed448]).read_as(read.clone()).refused();
    }
}

pub(in crate::testing) fn attack_017_alg_look_alikes(f: &mut Forge<'_>) {
    let name = f.mint.key().algorithm().name();
    let wide =
        format!("{}{}", char::from_u32(0xff21 + u32::from(name.as_bytes()[0] - b'A')).unwrap(), &name[1..]);
    let affixed = ["{} ", " {}", "{}\0", "{}\n", "\u{200b}{}"].map(|form| form.replace("{}", name));
    for alg in affixed.into_iter().chain([wide, name.to_lowercase()]) {
        f.refuse(f.mint.with_member("alg", alg));
    }
}

pub(in crate::testing) fn attack_018_alg_of_the_key_differs_from_that_of_the_token(f: &mut Forge<'_>) {
    let token = f.signing(Algorithm::Rs256).valid();
    for alg in ["RS384", "RS512", "PS256"] {
        let mut jwk = rsa().jwk();
        jwk["alg"] = alg.into();
        f.present(&token).of(Algorithm::Rs256).served([set(&[jwk])]).refused();
    }
}

pub(in crate::testing) fn attack_019_hs256_under_the_name_of_a_public_key(f: &mut Forge<'_>) {
    f.refuse(hs256(&f.mint, b"a secret of thirty-two bytes....."));
    for algorithm in Algorithm::ALL {
        f.refuse(hs256(&f.signing(algorithm), f.signing(algorithm).key().kid().as_bytes()));
    }
}

pub(in crate::testing) fn attack_020_hmac_secret_empty_or_short(f: &mut Forge<'_>) {
    for secret in [&[][..], &[0], &[0; 16], b"secret"] {
        f.refuse(hs256(&f.mint, secret));
    }
}

pub(in crate::testing) fn attack_021_no_key_at_hand_accepts_the_unsigned(f: &mut Forge<'_>) {
    let kid = [f.mint.key().kid()];
    f.present(f.mint.unsigned(&with_alg(f, "none"))).revoked(&kid).refused();
    f.present(f.mint.unsigned(&f.mint.header())).revoked(&kid).refused_for(Reason::KidRevoked);
    let good = f.mint.valid();
    f.present(halves(&good).0).revoked(&kid).refused_for(Reason::Malformed);
    f.present(good).revoked(&kid).refused_for(Reason::KidRevoked);
}
