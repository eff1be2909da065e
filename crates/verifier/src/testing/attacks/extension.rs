//! D. Extensions, compression, encryption, nesting.

use serde_json::{Value, json};

use crate::json::encode;
use crate::refusal::Reason;
use crate::testing::forge::{Forge, parts};

/// Five parts, of which the last four hold nothing worth decrypting.
fn encrypted(header: &Value) -> String {
    let [key, iv, text, tag] = [256, 12, 300, 16].map(|length| encode(&vec![0x5a; length]));
    format!("{}.{key}.{iv}.{text}.{tag}", encode(header.to_string().as_bytes()))
}

/// One stored DEFLATE block (RFC 1951 §3.2.4).
fn stored(text: &str) -> Vec<u8> {
    let length = text.len() as u16;
    [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), text.as_bytes()].concat()
}

pub(in crate::testing) fn attack_061_unknown_crit(f: &mut Forge<'_>) {
    for name in ["x", "exp", "http://example.com/UNDEFINED"] {
        let token = f.mint.with_header(|header| {
            header["crit"] = json!([name]);
            header[name] = json!(1);
        });
        f.refuse(token);
    }
}

pub(in crate::testing) fn attack_062_odd_crit(f: &mut Forge<'_>) {
    for crit in [
        json!([]),
        json!(null),
        json!("x"),
        json!([1]),
        json!(["x"]),
        json!(["x", "x"]),
        json!(["alg"]),
        json!(["typ", "kid"]),
        json!({}),
        json!(false),
    ] {
        f.refuse(f.mint.with_member("crit", crit));
    }
}

pub(in crate::testing) fn attack_063_unencoded_payload(f: &mut Forge<'_>) {
    let named = f.mint.with_header(|header| {
        header["b64"] = json!(false);
        header["crit"] = json!(["b64"]);
    });
    f.refuse(named);
    let mut header = f.mint.header();
    header["b64"] = json!(false);
    for payload in [f.mint.claims_json().to_string(), "a.b".into()] {
        let signed = format!("{}.{payload}", encode(header.to_string().as_bytes()));
        let signature = encode(&f.mint.key().sign(signed.as_bytes()));
        f.refuse_for(Reason::Malformed, format!("{signed}.{signature}"));
    }
}

pub(in crate::testing) fn attack_064_compressed_payload(f: &mut Forge<'_>) {
    let mut header = f.mint.header();
    header["zip"] = json!("DEF");
    f.refuse(f.mint.raw(header.to_string(), stored(&f.mint.claims_json().to_string())));
}

pub(in crate::testing) fn attack_065_encrypted_and_compressed(f: &mut Forge<'_>) {
    f.refuse(encrypted(&json!({ "alg": "dir", "enc": "A256GCM", "zip": "DEF" })));
    f.refuse(format!("{}....", encode(br#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#)));
}

pub(in crate::testing) fn attack_066_a_billion_hashes(f: &mut Forge<'_>) {
    let mut header =
        json!({ "alg": "PBES2-HS256+A128KW", "enc": "A128CBC-HS256", "p2s": "AAAA", "p2c": 2_147_483_647 });
    f.refuse(encrypted(&header));
    header["kid"] = f.mint.key().kid().into();
    header["typ"] = f.target.typ.clone().into();
    f.refuse_for(Reason::AlgNotAllowed, f.mint.token_of(&header, &f.mint.claims_json()));
}

pub(in crate::testing) fn attack_067_encrypted_to_the_public_key(f: &mut Forge<'_>) {
    for alg in ["RSA-OAEP", "RSA-OAEP-256", "RSA1_5", "ECDH-ES"] {
        f.refuse(encrypted(
            &json!({ "alg": alg, "enc": "A256GCM", "kid": f.mint.key().kid(), "typ": f.target.typ }),
        ));
        f.refuse_for(Reason::AlgNotAllowed, f.mint.with_member("alg", alg));
    }
}

pub(in crate::testing) fn attack_068_encrypted_around_an_unsigned_token(f: &mut Forge<'_>) {
    f.refuse(encrypted(
        &json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM", "cty": "JWT", "kid": f.mint.key().kid() }),
    ));
    let inner = f.mint.unsigned(&json!({ "alg": "none", "typ": f.target.typ }));
    f.refuse_for(Reason::AlgNotAllowed, &*inner);
    let mut header = f.mint.header();
    header["cty"] = "JWT".into();
    f.refuse_for(Reason::ClaimsInvalid, f.mint.raw(header.to_string(), inner));
}

pub(in crate::testing) fn attack_069_nested_tokens(f: &mut Forge<'_>) {
    let mut header = f.mint.header();
    header["cty"] = json!("JWT");
    let mut token = f.mint.valid();
    for _ in 0..3 {
        token = f.mint.raw(header.to_string(), &token);
        f.refuse(&*token);
    }
    // Each layer makes it longer by a third; a hundred of them fill no memory that can be had.
    for _ in 0..20 {
        token = f.mint.raw(header.to_string(), &token);
    }
    f.refuse_for(Reason::TooLarge, token);
}

pub(in crate::testing) fn attack_070_members_and_parts_of_an_encrypted_token(f: &mut Forge<'_>) {
    for (name, value) in [("enc", json!("A256GCM")), ("epk", json!({ "kty": "EC" })), ("apu", json!("QQ"))] {
        f.refuse_for(Reason::SignatureInvalid, f.by_stranger(name, value.clone()));
        let token = f.mint.with_header(|header| {
            header["alg"] = "ECDH-ES".into();
            header[name] = value;
        });
        f.refuse_for(Reason::AlgNotAllowed, token);
    }
    f.refuse(encrypted(&f.mint.header()));
    let good = f.mint.valid();
    let [header, payload, signature] = parts(&good);
    f.refuse(format!("{header}.{payload}.{signature}.{payload}.{signature}"));
}

pub(in crate::testing) fn attack_071_decryption_as_an_oracle(f: &mut Forge<'_>) {
    // Good or bad, padded or not: every ciphertext gets one answer, because none is decrypted.
    let token = encrypted(&json!({ "alg": "RSA1_5", "enc": "A128CBC-HS256", "kid": f.mint.key().kid() }));
    let (start, _) = token.rsplit_once('.').unwrap();
    for tag in [[0_u8; 16], [1; 16], [0xff; 16]] {
        f.refuse(format!("{start}.{}", encode(&tag)));
    }
    f.refuse(format!("{start}."));
}
