//! B. Keys, places of keys and names of keys that the header brings along.

use serde_json::{Value, json};

use super::algorithm::hs256;
use crate::algorithm::Algorithm;
use crate::refusal::{Reason, SkipReason};
use crate::testing::forge::{Forge, halves, named, set, with_signature};
use crate::testing::key::TestKey;

/// What looks like the beginning of a certificate.
pub(super) const CERTIFICATE: &str = "MIIBszCCARygAwIBAgIBADANBgkqhkiG9w0BAQ";

pub(in crate::testing) fn attack_022_embedded_key(f: &mut Forge<'_>) {
    let jwk = f.stranger().key().jwk();
    f.refuse(f.by_stranger("jwk", jwk.clone()));
    // A whole key nearly fills the header's limit; the token must fall to the key lookup, not to its size.
    f.refuse_for(Reason::KidUnknown, f.stranger().with_member("jwk", jwk));
}

pub(in crate::testing) fn attack_023_embedded_symmetric_key(f: &mut Forge<'_>) {
    let header = json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "AA" }, "kid": f.mint.key().kid(), "typ": f.target.typ });
    f.refuse(f.mint.with_header_text(&header.to_string()));
    f.refuse(hs256(&f.mint, &[0]));
}

pub(in crate::testing) fn attack_024_address_of_a_key_set(f: &mut Forge<'_>) {
    f.refuse(f.by_stranger("jku", "https://evil.example/jwks.json"));
    let token = f.stranger().with_member("jku", "https://evil.example/jwks.json");
    f.refuse_for(Reason::KidUnknown, token);
}

pub(in crate::testing) fn attack_025_address_towards_the_inside(f: &mut Forge<'_>) {
    for jku in [
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://localhost:6379/_",
        "https://localhost/jwks.json",
        &format!("{}@evil.example/", f.target.issuer),
    ] {
        f.refuse(f.by_stranger("jku", jku));
    }
}

pub(in crate::testing) fn attack_026_certificates_and_their_address(f: &mut Forge<'_>) {
    f.refuse(f.by_stranger("x5u", "https://evil.example/cert.pem"));
    f.refuse(f.by_stranger("x5c", json!([CERTIFICATE])));
}

pub(in crate::testing) fn attack_027_certificate_thumbprint_instead_of_a_name(f: &mut Forge<'_>) {
    for name in ["x5t", "x5t#S256"] {
        let token = f.mint.with_header(|header| {
            let kid = header.as_object_mut().unwrap().remove("kid").unwrap();
            header[name] = kid;
        });
        f.refuse(token);
        f.refuse_for(Reason::SignatureInvalid, f.by_stranger(name, f.mint.key().kid()));
    }
}

pub(in crate::testing) fn attack_028_kid_as_a_path(f: &mut Forge<'_>) {
    for kid in ["../../../../dev/null", "/dev/null", "..", "file:///dev/null", "..%2f..%2fdev%2fnull"] {
        f.refuse(f.mint.with_member("kid", kid));
    }
}

pub(in crate::testing) fn attack_029_kid_as_an_injection(f: &mut Forge<'_>) {
    for kid in
        ["x' UNION SELECT 'k'--", "a\r\nX: y", "{\"$ne\":null}", "\"|id", "*)(uid=*))(|(uid=* ", "${7*7} "]
    {
        f.refuse(f.mint.with_member("kid", kid));
    }
}

pub(in crate::testing) fn attack_030_kid_that_forges_log_lines_or_fills_them(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_member("kid", "a\nlevel=info granted"));
    f.refuse(f.mint.with_member("kid", "k".repeat(129)));
    f.refuse_for(Reason::TooLarge, f.mint.with_member("kid", "k".repeat(4096)));
    f.refuse_for(Reason::KidUnknown, f.mint.with_member("kid", "k".repeat(128)));
}

pub(in crate::testing) fn attack_031_kid_of_wrong_type(f: &mut Forge<'_>) {
    let kid = f.mint.key().kid();
    for kid in [json!(0), json!(null), json!([]), json!({}), json!(true), json!([kid]), json!("")] {
        f.refuse(f.mint.with_member("kid", kid));
    }
}

pub(in crate::testing) fn attack_032_many_unknown_kids(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    let (_, signature) = halves(&good);
    for at in 0..200 {
        let mut header = f.mint.header();
        header["kid"] = format!("{:016x}", 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(at)).into();
        f.refuse(with_signature(&f.mint.unsigned(&header), &signature));
    }
}

pub(in crate::testing) fn attack_033_unknown_kids_that_keep_good_tokens_waiting(f: &mut Forge<'_>) {
    for at in 0..20 {
        f.refuse(f.mint.with_member("kid", format!("unknown-{at}")));
        f.accept(f.mint.valid());
    }
}

pub(in crate::testing) fn attack_034_kid_as_part_of_an_address(f: &mut Forge<'_>) {
    for kid in ["a?b=c", "a&kid=b", "a#b", "@evil.example", "%0d%0aX:y", "a/../b"] {
        f.refuse(f.mint.with_member("kid", kid));
    }
}

pub(in crate::testing) fn attack_035_known_kid_with_bad_signatures(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    let (_, signature) = halves(&good);
    for at in 0..50 {
        let mut bad = signature.clone();
        bad[at] ^= 1;
        f.refuse(with_signature(&good, &bad));
    }
}

pub(in crate::testing) fn attack_036_one_kid_at_two_issuers(f: &mut Forge<'_>) {
    let mut theirs = f.stranger().key().jwk();
    theirs["kid"] = f.mint.key().kid().into();
    let forged = f.stranger().with_member("kid", f.mint.key().kid());
    f.refuse_for(Reason::SignatureInvalid, &*forged);
    let pool = set(&[f.mint.key().jwk(), theirs, TestKey::stranger(Algorithm::Rs512).jwk()]);
    let ambiguous = (named(&f.mint.key().kid()), SkipReason::KidAmbiguous);
    for token in [forged, f.mint.valid()] {
        let read = Ok(vec![ambiguous.clone(), ambiguous.clone()]);
        f.present(token).served([&pool]).read_as(read).refused();
    }
}

pub(in crate::testing) fn attack_037_no_kid(f: &mut Forge<'_>) {
    let token = f.mint.without_member("kid");
    f.refuse(&*token);
    let jwk = f.mint.key().jwk();
    let keys: Vec<Value> = (0..100)
        .map(|at| {
            let mut jwk = jwk.clone();
            jwk["kid"] = format!("key-{at}").into();
            jwk
        })
        .collect();
    f.present(token).served([set(&keys)]).read_as(Ok(vec![])).refused();
}
