//! C and D. Encoding, structure, `crit`, compression, nesting.

use keyward_verifier::Reason;
use serde_json::json;

use crate::minting::*;

#[test]
fn attack_038_not_three_parts() {
    let token = valid();
    let (signed, _) = token.rsplit_once('.').unwrap();
    for bad in ["", ".", "a", signed, &format!("{token}."), &format!("{token}.e30.e30"), &format!(".{token}")]
    {
        assert_refused(bad, Reason::Malformed);
    }
    assert_refused("..", Reason::HeaderInvalid);
}

#[test]
fn attack_039_dot_flood() {
    assert_refused(&".".repeat(1_000_000), Reason::TooLarge);
    assert_refused(&".".repeat(8192), Reason::Malformed);
}

#[test]
fn attack_040_oversized_parts() {
    assert_refused(&with_member("x", "a".repeat(1024)), Reason::TooLarge);
    assert_refused(&with_claim("x", "a".repeat(8192)), Reason::TooLarge);
    assert_refused(&format!("{}{}", valid(), "A".repeat(8192)), Reason::TooLarge);
    assert_refused(&format!("{}{}", valid(), "A".repeat(4000)), Reason::SignatureInvalid);
}

#[test]
fn attack_041_standard_base64_alphabet() {
    let payload = claims().to_string().replace("account-1", "???>>>");
    let token = with_claims_text(&payload);
    assert_accepted(&token);
    let swapped = token.replace('_', "/").replace('-', "+");
    assert_ne!(token, swapped);
    assert_refused(&swapped, Reason::Malformed);
}

#[test]
fn attack_042_padding() {
    let token = valid();
    assert_refused(&format!("{token}="), Reason::Malformed);
    assert_refused(&format!("{token}=="), Reason::Malformed);
    assert_refused(&token.replacen('.', "=.", 1), Reason::Malformed);
}

#[test]
fn attack_043_foreign_characters_in_a_part() {
    for insert in ["\n", " ", "\0", "ä", "\r\n", "%00"] {
        let mut token = valid();
        token.insert_str(5, insert);
        assert_refused(&token, Reason::Malformed);
        assert_refused(&format!("{}{insert}", valid()), Reason::Malformed);
    }
}

#[test]
fn attack_044_unused_bits_in_the_last_character() {
    // 256 bytes of signature leave four unused bits: the next letter would decode to the same bytes.
    let mut token = valid();
    let last = token.pop().unwrap();
    assert!("AQgw".contains(last));
    token.push((last as u8 + 1) as char);
    assert_refused(&token, Reason::Malformed);
}

#[test]
fn attack_045_impossible_length() {
    assert_refused(&format!("{}AAA", valid()), Reason::Malformed);
}

#[test]
fn attack_046_json_serialization() {
    let token = valid();
    let parts: Vec<_> = token.split('.').collect();
    let flattened = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
    assert_refused(&flattened.to_string(), Reason::Malformed);
}

#[test]
fn attack_047_polyglot() {
    assert_refused(&format!(r#"{{"  {}":"","payload":"e30"}}"#, valid()), Reason::Malformed);
}

#[test]
fn attack_049_not_an_object() {
    for text in ["[]", "\"a\"", "1", "null", "true", ""] {
        assert_refused(&with_header_text(text), Reason::HeaderInvalid);
        assert_refused(&with_claims_text(text), Reason::ClaimsInvalid);
    }
    let values: Vec<_> = claims().as_object().unwrap().values().cloned().collect();
    assert_refused(&with_claims_text(&json!(values).to_string()), Reason::ClaimsInvalid);
}

#[test]
fn attack_050_more_than_one_document() {
    for tail in ["{}", "//x", "/**/", ",", "\0", "}"] {
        assert_refused(&with_header_text(&format!("{}{tail}", header())), Reason::HeaderInvalid);
        assert_refused(&with_claims_text(&format!("{}{tail}", claims())), Reason::ClaimsInvalid);
    }
}

#[test]
fn attack_051_bad_unicode() {
    let with_name = |name: &[u8]| {
        let text = claims().to_string();
        let body = text.strip_prefix('{').unwrap().as_bytes();
        KEY.token(header().to_string().as_bytes(), &[b"{\"", name, b"\":1,", body].concat())
    };
    assert_accepted(&with_name(b"fine"));
    for name in [&b"\xff\xfe"[..], b"\xc0\xaf", b"\xed\xa0\x80", br"\ud800", br"\udc00x"] {
        assert_refused(&with_name(name), Reason::ClaimsInvalid);
    }
    assert_refused(&with_claims_text(&format!("\u{feff}{}", claims())), Reason::ClaimsInvalid);
    assert_refused(&with_header_text(&format!("\u{feff}{}", header())), Reason::HeaderInvalid);
}

#[test]
fn attack_052_repeated_header_members() {
    let body = header().to_string();
    let body = body.strip_prefix('{').unwrap();
    for first in [r#""alg":"none""#, r#""alg":"RS256""#, r#""kid":"a""#, r#""typ":"JWT""#, r#""x":1,"x":1"#] {
        assert_refused(&with_header_text(&format!("{{{first},{body}")), Reason::HeaderInvalid);
    }
    assert_accepted(&with_header_text(&format!(r#"{{"x":1,{body}"#)));
}

#[test]
fn attack_053_repeated_claims() {
    for name in ["sub", "exp", "aud", "iss", "scope", "nbf", "roles"] {
        let value = claims()[name].to_string();
        assert_refused(&with_more_claims(&format!("\"{name}\":{value}")), Reason::ClaimsInvalid);
    }
    assert_refused(&with_more_claims(r#""x":1,"y":2,"x":1"#), Reason::ClaimsInvalid);
    assert_accepted(&with_more_claims(r#""x":1,"y":2"#));
}

#[test]
fn attack_054_repeated_claims_in_escapes() {
    assert_refused(&with_more_claims(r#""\u0065xp":9999999999"#), Reason::ClaimsInvalid);
    assert_refused(&with_more_claims(r#""x":1,"\u0078":1"#), Reason::ClaimsInvalid);
    let kid = KEY.jwk().kid;
    let header = format!(r#"{{"alg":"RS256","\u0061lg":"RS256","typ":"at+jwt","kid":"{kid}"}}"#);
    assert_refused(&with_header_text(&header), Reason::HeaderInvalid);
}

#[test]
fn attack_055_names_in_other_case() {
    let lower = claims().to_string();
    assert_refused(&with_claims_text(&lower.replace("\"exp\"", "\"Exp\"")), Reason::ClaimsInvalid);
    let header = header().to_string();
    assert_refused(&with_header_text(&header.replace("\"alg\"", "\"ALG\"")), Reason::HeaderInvalid);
    // Beside the right name, another spelling is just an unknown claim.
    assert_accepted(&with_more_claims(r#""EXP":1,"Aud":"other""#));
}

#[test]
fn attack_056_prototype_members_are_data() {
    assert_accepted(&with_more_claims(r#""__proto__":{"roles":["admin"]},"constructor":{}"#));
}

#[test]
fn attack_057_nesting() {
    let nest = |levels: usize| format!("\"x\":{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_accepted(&with_more_claims(&nest(7)));
    assert_refused(&with_more_claims(&nest(8)), Reason::ClaimsInvalid);
    assert_refused(&with_more_claims(&nest(2500)), Reason::ClaimsInvalid);
    let header = header().to_string();
    let deep = format!("{},{}}}", header.strip_suffix('}').unwrap(), nest(8));
    assert_refused(&with_header_text(&deep), Reason::HeaderInvalid);
}

#[test]
fn attack_058_width() {
    let wide: Vec<_> = (0..100_000).map(|i| format!("\"c{i}\":1")).collect();
    assert_refused(&with_more_claims(&wide.join(",")), Reason::TooLarge);
    assert_refused(&with_claim("aud", vec!["a"; 100_000]), Reason::TooLarge);
    assert_accepted(&with_more_claims(&wide[..300].join(",")));
}

#[test]
fn attack_059_huge_number_in_an_unrelated_claim() {
    assert_refused(&with_more_claims(&format!("\"x\":{}", "9".repeat(1_000_000))), Reason::TooLarge);
    assert_refused(&with_more_claims(&format!("\"x\":{}", "9".repeat(4000))), Reason::ClaimsInvalid);
}

#[test]
fn attack_060_empty_payload() {
    assert_refused(&with_claims_text(""), Reason::ClaimsInvalid);
}

#[test]
fn attack_061_unknown_crit() {
    let token = with_header(|header| {
        header["crit"] = json!(["x"]);
        header["x"] = json!(1);
    });
    assert_refused(&token, Reason::CritUnsupported);
}

#[test]
fn attack_062_odd_crit() {
    for crit in [
        json!([]),
        json!(null),
        json!("x"),
        json!([1]),
        json!(["x", "x"]),
        json!(["alg"]),
        json!({}),
        json!(false),
    ] {
        assert_refused(&with_member("crit", crit), Reason::CritUnsupported);
    }
}

#[test]
fn attack_063_unencoded_payload() {
    let token = with_header(|header| {
        header["b64"] = json!(false);
        header["crit"] = json!(["b64"]);
    });
    assert_refused(&token, Reason::CritUnsupported);
    for payload in [claims().to_string(), "a.b".into()] {
        let mut header = header();
        header["b64"] = json!(false);
        let signed = format!("{}.{payload}", b64(header.to_string().as_bytes()));
        let signature = KEY.sign(&aws_lc_rs::signature::RSA_PKCS1_SHA256, &signed);
        assert_refused(&format!("{signed}.{}", b64(&signature)), Reason::Malformed);
    }
}

#[test]
fn attack_064_zip_inflates_nothing() {
    // The claims as one stored DEFLATE block (RFC 1951 §3.2.4).
    let claims = claims().to_string();
    let length = claims.len() as u16;
    let stored = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), claims.as_bytes()].concat();
    let mut header = header();
    header["zip"] = json!("DEF");
    assert_refused(&KEY.token(header.to_string().as_bytes(), &stored), Reason::ClaimsInvalid);
}

#[test]
fn attack_065_five_parts() {
    assert_refused(
        &format!("{}.e30.e30.e30.e30", b64(br#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#)),
        Reason::Malformed,
    );
}

#[test]
fn attack_069_nested_token() {
    let mut header = header();
    header["cty"] = json!("JWT");
    let mut token = valid();
    for _ in 0..3 {
        token = KEY.token(header.to_string().as_bytes(), token.as_bytes());
        assert_refused(&token, Reason::ClaimsInvalid);
    }
}
