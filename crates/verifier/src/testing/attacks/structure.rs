//! C. Encoding and structure.

use serde_json::{Value, json};

use crate::json::encode;
use crate::refusal::Reason;
use crate::testing::forge::{Forge, halves, parts};

pub(in crate::testing) fn attack_038_not_three_parts(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    let [header, payload, _] = parts(&good);
    for bad in [
        "",
        ".",
        "a",
        header,
        halves(&good).0,
        &format!("{good}."),
        &format!("{good}.e30.e30"),
        &format!(".{good}"),
    ] {
        f.refuse(bad);
    }
    f.refuse_for(Reason::HeaderInvalid, "..");
    f.refuse_for(Reason::HeaderInvalid, format!(".{payload}."));
}

pub(in crate::testing) fn attack_039_dot_flood(f: &mut Forge<'_>) {
    f.refuse_for(Reason::TooLarge, ".".repeat(1_000_000));
    f.refuse(".".repeat(8192));
}

pub(in crate::testing) fn attack_040_oversized_parts(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_member("x", "a".repeat(1024)));
    f.refuse(f.mint.with_member("x", "a".repeat(10_000_000)));
    f.refuse(f.mint.with_claim("x", "a".repeat(8192)));
    let good = f.mint.valid();
    f.refuse(format!("{good}{}", "A".repeat(8192)));
    f.refuse_for(Reason::SignatureInvalid, format!("{good}{}", "A".repeat(4000)));
}

pub(in crate::testing) fn attack_041_standard_base64_alphabet(f: &mut Forge<'_>) {
    // Whatever their place among three bytes, some of these question marks and signs give a digit that differs.
    let token = f.mint.with_claim("x", "???>>>~~~???>>>");
    f.accept(&*token);
    let swapped = token.replace('_', "/").replace('-', "+");
    assert_ne!(token, swapped);
    f.refuse(swapped);
}

pub(in crate::testing) fn attack_042_padding(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    f.refuse(format!("{good}="));
    f.refuse(format!("{good}=="));
    f.refuse(good.replacen('.', "=.", 1));
    f.refuse(good.replace('.', "==."));
}

pub(in crate::testing) fn attack_043_foreign_characters_in_a_part(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    for insert in ["\n", " ", "\0", "ä", "\r\n", "%00", "\u{200b}"] {
        let (start, end) = good.split_at(5);
        f.refuse(format!("{start}{insert}{end}"));
        f.refuse(format!("{good}{insert}"));
        f.refuse(format!("{insert}{good}"));
        f.refuse(good.replacen('.', &format!("{insert}."), 1));
    }
}

pub(in crate::testing) fn attack_044_unused_bits_in_the_last_character(f: &mut Forge<'_>) {
    // 64 or 256 bytes of signature leave four unused bits: the next letter would decode to the same bytes.
    let mut token = f.mint.valid();
    let last = token.pop().unwrap();
    assert!("AQgw".contains(last));
    token.push((last as u8 + 1) as char);
    f.refuse(token);
    let good = f.mint.valid();
    let [header, _, signature] = parts(&good);
    f.refuse(format!("{header}.AB.{signature}"));
}

pub(in crate::testing) fn attack_045_impossible_length(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    f.refuse(format!("{good}AAA"));
    let [header, _, signature] = parts(&good);
    f.refuse(format!("{header}.A.{signature}"));
    f.refuse(format!("{header}.AAAAA.{signature}"));
}

pub(in crate::testing) fn attack_046_json_serialization(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    let [header, payload, signature] = parts(&good);
    f.refuse(json!({ "protected": header, "payload": payload, "signature": signature }).to_string());
    let one = json!([{ "protected": header, "signature": signature }]);
    f.refuse(json!({ "payload": payload, "signatures": one }).to_string());
}

pub(in crate::testing) fn attack_047_text_that_is_compact_and_json(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    let [header, payload, signature] = parts(&good);
    let forged = encode(br#"{"sub":"admin"}"#);
    f.refuse(format!(r#"{{"  {good}":"","payload":"e30"}}"#));
    f.refuse(format!(
        r#"{{"  {header}.{forged}.":"","protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#
    ));
}

pub(in crate::testing) fn attack_048_several_signatures_of_which_one_is_good(f: &mut Forge<'_>) {
    let good = f.mint.valid();
    let [header, payload, signature] = parts(&good);
    let forged = f.by_stranger("x", 1);
    let [other, _, bad] = parts(&forged);
    let signatures =
        json!([{ "protected": header, "signature": signature }, { "protected": other, "signature": bad }]);
    f.refuse(json!({ "payload": payload, "signatures": signatures }).to_string());
    f.refuse(format!("{good}.{bad}"));
}

pub(in crate::testing) fn attack_049_not_an_object(f: &mut Forge<'_>) {
    for text in ["[]", "\"a\"", "1", "null", "true", ""] {
        f.refuse_for(Reason::HeaderInvalid, f.mint.with_header_text(text));
        f.refuse(f.mint.with_payload(text));
    }
    let values: Vec<_> = f.mint.claims_json().as_object().unwrap().values().cloned().collect();
    f.refuse(f.mint.with_payload(&Value::from(values).to_string()));
    let values: Vec<_> = f.mint.header().as_object().unwrap().values().cloned().collect();
    f.refuse_for(Reason::HeaderInvalid, f.mint.with_header_text(&Value::from(values).to_string()));
}

pub(in crate::testing) fn attack_050_more_than_one_document(f: &mut Forge<'_>) {
    for tail in ["{}", "//x", "/**/", ",", "\0", "}"] {
        let (header, claims) = (f.mint.header(), f.mint.claims_json());
        f.refuse_for(Reason::HeaderInvalid, f.mint.with_header_text(&format!("{header}{tail}")));
        f.refuse(f.mint.with_payload(&format!("{claims}{tail}")));
    }
}

pub(in crate::testing) fn attack_051_bad_unicode(f: &mut Forge<'_>) {
    let (header, claims) = (f.mint.header().to_string(), f.mint.claims_json().to_string());
    let with_name = |text: &str, name: &[u8]| [b"{\"", name, b"\":1,", &text.as_bytes()[1..]].concat();
    f.accept(f.mint.raw(&header, with_name(&claims, b"fine")));
    for name in [&b"\xff\xfe"[..], b"\xc0\xaf", b"\xed\xa0\x80", br"\ud800", br"\udc00x"] {
        f.refuse(f.mint.raw(&header, with_name(&claims, name)));
        f.refuse_for(Reason::HeaderInvalid, f.mint.raw(with_name(&header, name), &claims));
    }
    f.refuse(f.mint.with_payload(&format!("\u{feff}{claims}")));
    f.refuse_for(Reason::HeaderInvalid, f.mint.with_header_text(&format!("\u{feff}{header}")));
}

pub(in crate::testing) fn attack_052_repeated_header_members(f: &mut Forge<'_>) {
    let header = f.mint.header().to_string();
    let body = header.strip_prefix('{').unwrap();
    let alg = format!("\"alg\":{}", f.mint.header()["alg"]);
    for first in [r#""alg":"none""#, &alg, r#""kid":"a""#, r#""typ":"JWT""#, r#""x":1,"x":1"#] {
        f.refuse(f.mint.with_header_text(&format!("{{{first},{body}")));
    }
    f.accept(f.mint.with_header_text(&format!(r#"{{"x":1,{body}"#)));
}

pub(in crate::testing) fn attack_053_repeated_claims(f: &mut Forge<'_>) {
    for name in ["sub", "exp", "aud", "iss", "scope", "nbf", "roles", "jti", "sid"] {
        let value = f.mint.claims_json()[name].to_string();
        f.refuse(f.mint.with_more_claims(&format!("\"{name}\":{value}")));
    }
    f.refuse(f.mint.with_more_claims(r#""exp":9999999999"#));
    f.refuse(f.mint.with_more_claims(r#""x":1,"y":2,"x":1"#));
    f.accept(f.mint.with_more_claims(r#""x":1,"y":2"#));
}

pub(in crate::testing) fn attack_054_repeated_claims_in_escapes(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_more_claims(r#""\u0065xp":9999999999"#));
    f.refuse(f.mint.with_more_claims(r#""x":1,"\u0078":1"#));
    let header = f.mint.header().to_string();
    let repeated = format!(r#"{{"\u0061lg":"none",{}"#, header.strip_prefix('{').unwrap());
    f.refuse_for(Reason::HeaderInvalid, f.mint.with_header_text(&repeated));
}

pub(in crate::testing) fn attack_055_names_in_other_case(f: &mut Forge<'_>) {
    let claims = f.mint.claims_json().to_string();
    f.refuse(f.mint.with_payload(&claims.replace("\"exp\"", "\"Exp\"")));
    f.refuse(f.mint.with_payload(&claims.replace("\"aud\"", "\"AUD\"")));
    let header = f.mint.header().to_string();
    f.refuse_for(Reason::HeaderInvalid, f.mint.with_header_text(&header.replace("\"alg\"", "\"ALG\"")));
    f.refuse_for(Reason::KidMissing, f.mint.with_header_text(&header.replace("\"kid\"", "\"Kid\"")));
    // Beside the right name, another spelling is just an unknown claim.
    f.accept(f.mint.with_more_claims(r#""EXP":1,"Aud":"other""#));
}

pub(in crate::testing) fn attack_056_prototype_members_count_as_claims(f: &mut Forge<'_>) {
    let exp = f.now + 600;
    let without = f.mint.without_claim("exp");
    f.refuse(&*without);
    let nested = f.mint.with_claims(|claims| {
        claims.as_object_mut().unwrap().remove("exp");
        claims["__proto__"] = json!({ "exp": exp });
        claims["constructor"] = json!({ "prototype": { "exp": exp } });
    });
    f.refuse(nested);
    f.accept(f.mint.with_more_claims(r#""__proto__":{"roles":["admin"]},"constructor":{}"#));
}

pub(in crate::testing) fn attack_057_nesting(f: &mut Forge<'_>) {
    let nest = |levels: usize| format!("\"x\":{}{}", "[".repeat(levels), "]".repeat(levels));
    f.accept(f.mint.with_more_claims(&nest(7)));
    f.refuse(f.mint.with_more_claims(&nest(8)));
    f.refuse(f.mint.with_more_claims(&nest(2000)));
    f.refuse(f.mint.with_more_claims(&format!("\"x\":{}", r#"{"a":"#.repeat(500))));
    f.refuse_for(Reason::TooLarge, f.mint.with_more_claims(&nest(10_000)));
    let header = f.mint.header().to_string();
    let deep = format!("{},{}}}", header.strip_suffix('}').unwrap(), nest(8));
    f.refuse_for(Reason::HeaderInvalid, f.mint.with_header_text(&deep));
}

pub(in crate::testing) fn attack_058_width(f: &mut Forge<'_>) {
    let wide: Vec<_> = (0..100_000).map(|at| format!("\"c{at}\":1")).collect();
    f.refuse(f.mint.with_more_claims(&wide.join(",")));
    f.refuse(f.mint.with_claim("aud", vec!["a"; 100_000]));
    f.refuse(f.mint.with_claim("x", "a".repeat(1_000_000)));
    f.accept(f.mint.with_more_claims(&wide[..200].join(",")));
}

pub(in crate::testing) fn attack_059_huge_number_in_an_unrelated_claim(f: &mut Forge<'_>) {
    f.refuse_for(Reason::TooLarge, f.mint.with_more_claims(&format!("\"x\":{}", "9".repeat(1_000_000))));
    f.refuse(f.mint.with_more_claims(&format!("\"x\":{}", "9".repeat(4000))));
    f.refuse(f.mint.with_more_claims("\"x\":1e999999"));
}

pub(in crate::testing) fn attack_060_empty_or_detached_payload(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_payload(""));
    let good = f.mint.valid();
    let [header, _, signature] = parts(&good);
    f.refuse_for(Reason::SignatureInvalid, format!("{header}..{signature}"));
}
