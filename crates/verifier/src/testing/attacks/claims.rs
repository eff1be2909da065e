//! G. Claims of identity, audience and kind.

use serde_json::{Value, json};

use crate::refusal::Reason;
use crate::testing::forge::{Forge, set};

/// The target's `typ` without `application/`.
fn bare(f: &Forge<'_>) -> String {
    f.target.typ.strip_prefix("application/").unwrap_or(&f.target.typ).to_owned()
}

/// Names that only resemble the right one.
fn resembling(name: &str) -> Vec<String> {
    let forms = [
        format!("{name}.evil"),
        format!("{name}/"),
        format!("{name}:443"),
        format!("{name}\u{200b}"),
        format!("{name}\0"),
        format!(" {name}"),
        format!("x {name}"),
        shortened(name),
        name.to_uppercase(),
        name.replacen("https:", "http:", 1),
        name.replacen("://", "://u@", 1),
        name.replacen('e', "ｅ", 1),
        String::new(),
    ];
    forms.into_iter().filter(|form| form != name).collect()
}

fn shortened(name: &str) -> String {
    let mut name = name.to_owned();
    name.pop();
    name
}

pub(in crate::testing) fn attack_114_identities_of_wrong_type(f: &mut Forge<'_>) {
    for name in ["iss", "aud", "sub", "jti", "client_id", "sid", "scope"] {
        for value in [json!(5), json!({}), json!(null), json!(true), json!([5])] {
            f.refuse(f.mint.with_claim(name, value));
        }
    }
    for name in ["amr", "roles"] {
        for value in [json!("admin"), json!([1]), json!({}), json!(null)] {
            f.refuse(f.mint.with_claim(name, value));
        }
    }
    for name in ["iss", "sub", "jti", "client_id", "sid", "auth_time"] {
        f.refuse(f.mint.without_claim(name));
    }
}

pub(in crate::testing) fn attack_115_aud_missing(f: &mut Forge<'_>) {
    f.refuse(f.mint.without_claim("aud"));
}

pub(in crate::testing) fn attack_116_aud_of_nobody(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_claim("aud", json!([])));
    f.refuse_for(Reason::AudMismatch, f.mint.with_claim("aud", ""));
    f.refuse_for(Reason::AudMismatch, f.mint.with_claim("aud", json!([""])));
}

pub(in crate::testing) fn attack_117_aud_that_only_resembles(f: &mut Forge<'_>) {
    let audience = &*f.target.audience;
    f.accept(f.mint.with_claim("aud", json!(["https://other.example", audience])));
    f.refuse_for(Reason::ClaimsInvalid, f.mint.with_claim("aud", json!([audience, 1])));
    f.refuse_for(Reason::ClaimsInvalid, f.mint.with_claim("aud", json!([[audience]])));
    for aud in resembling(audience) {
        f.refuse(f.mint.with_claim("aud", json!([aud])));
        f.refuse(f.mint.with_claim("aud", aud));
    }
}

pub(in crate::testing) fn attack_118_iss_that_begins_or_contains_the_right_one(f: &mut Forge<'_>) {
    let issuer = &*f.target.issuer;
    let half: String = issuer.chars().take(issuer.chars().count() / 2).collect();
    let tail: String = issuer.chars().skip(1).collect();
    for iss in [half, tail, shortened(issuer), format!("{issuer}.evil"), format!("x {issuer}"), String::new()]
    {
        f.refuse(f.mint.with_claim("iss", iss));
    }
}

pub(in crate::testing) fn attack_119_iss_as_a_list(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_claim("iss", json!([f.target.issuer, "https://evil.example"])));
    f.refuse(f.mint.with_claim("iss", json!([f.target.issuer])));
}

pub(in crate::testing) fn attack_120_iss_made_equal_by_normalising(f: &mut Forge<'_>) {
    for iss in resembling(&f.target.issuer) {
        f.refuse(f.mint.with_claim("iss", iss));
    }
}

pub(in crate::testing) fn attack_121_token_of_one_issuer_and_key_of_another(f: &mut Forge<'_>) {
    let theirs = set(&[f.stranger().key().jwk()]);
    f.refuse(f.stranger().valid());
    f.present(f.mint.valid()).served([theirs]).refused();
    f.refuse_for(Reason::IssuerMismatch, f.mint.with_claim("iss", "https://other.example"));
}

pub(in crate::testing) fn attack_122_other_kinds_of_token(f: &mut Forge<'_>) {
    let own = bare(f);
    for typ in [
        "JWT",
        "at+jwt",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "internal+jwt",
        "client-authentication+jwt",
    ] {
        if !typ.eq_ignore_ascii_case(&own) {
            f.refuse(f.mint.with_member("typ", typ));
        }
    }
}

pub(in crate::testing) fn attack_123_typ_that_only_resembles(f: &mut Forge<'_>) {
    let own = bare(f);
    for typ in [
        format!("{own};x"),
        format!("{own} "),
        format!("text/{own}"),
        format!("text/abcdefg/{own}"),
        format!("applicatiox/{own}"),
        format!("application/application/{own}"),
        shortened(&own),
        "application/".to_owned(),
        String::new(),
    ] {
        f.refuse(f.mint.with_member("typ", typ));
    }
    f.refuse(f.mint.without_member("typ"));
    for typ in [json!(null), json!([own]), json!(1)] {
        f.refuse_for(Reason::HeaderInvalid, f.mint.with_member("typ", typ));
    }
    for typ in [own.to_uppercase(), format!("application/{own}"), format!("Application/{own}")] {
        f.accept(f.mint.with_member("typ", typ));
    }
}

pub(in crate::testing) fn attack_124_token_for_another_service(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_claim("aud", "https://another-service.example"));
    f.refuse(f.mint.with_claim("aud", json!(["https://another-service.example", f.target.issuer])));
}

pub(in crate::testing) fn attack_125_scope_that_is_no_list_of_words(f: &mut Forge<'_>) {
    for scope in [
        json!(["admin"]),
        json!("x\tadmin"),
        json!("x  admin"),
        json!(" admin"),
        json!("admin "),
        json!("a\"b"),
        json!("a\\b"),
        json!("a\u{a0}admin"),
        json!("x".repeat(129)),
    ] {
        f.refuse(f.mint.with_claim("scope", scope));
    }
    f.accept(f.mint.with_claim("scope", "x admin2 notadmin x"));
}

pub(in crate::testing) fn attack_126_roles_from_elsewhere(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_more_claims(r#""roles":["admin"]"#));
    f.refuse(f.mint.with_more_claims(r#""\u0072oles":["admin"]"#));
    f.refuse(f.mint.with_claim("roles", json!({ "admin": true })));
    f.refuse(f.mint.with_claim("roles", "admin"));
    f.accept(f.mint.with_claim("realm_access", json!({ "roles": ["admin"] })));
}

pub(in crate::testing) fn attack_127_identities_empty_long_or_with_control_characters(f: &mut Forge<'_>) {
    for name in ["sub", "jti", "client_id", "sid"] {
        for value in ["", "a\nb", "a\0", "\u{7f}", "\u{85}", &"a".repeat(256)] {
            f.refuse(f.mint.with_claim(name, value));
        }
        f.accept(f.mint.with_claim(name, "a".repeat(255)));
    }
    f.refuse_for(Reason::TooLarge, f.mint.with_claim("jti", "a".repeat(1_000_000)));
}

pub(in crate::testing) fn attack_128_text_that_keeps_a_pattern_busy(f: &mut Forge<'_>) {
    for busy in
        [format!("{}!", "a".repeat(4000)), format!("{}\u{1}", "/".repeat(4000)), "(a+)+$".into(), ".*".into()]
    {
        f.refuse(f.mint.with_claim("aud", &*busy));
        f.refuse_for(Reason::IssuerMismatch, f.mint.with_claim("iss", busy));
    }
}

pub(in crate::testing) fn attack_129_bound_token_without_its_proof(f: &mut Forge<'_>) {
    for cnf in [
        json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
        json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" }),
        json!({}),
        json!("x"),
        Value::Null,
    ] {
        f.refuse(f.mint.with_claim("cnf", cnf));
    }
}

pub(in crate::testing) fn attack_130_proof_of_possession_as_a_token(f: &mut Forge<'_>) {
    let jwk = f.stranger().key().jwk();
    let proof = json!({ "htm": "GET", "htu": "https://orders.example/", "iat": f.now, "jti": "p" });
    let mut header = f.mint.header();
    header["typ"] = "dpop+jwt".into();
    f.refuse(f.mint.token_of(&header, &proof));
    f.refuse(f.mint.token_of(&header, &f.mint.claims_json()));
    header["jwk"] = jwk;
    f.refuse(f.stranger().token_of(&header, &proof));
    header["alg"] = "none".into();
    f.refuse_for(Reason::AlgNotAllowed, f.mint.unsigned(&header));
    // Without its type it is a token that lacks everything.
    f.refuse_for(Reason::ClaimsInvalid, f.mint.with_payload(&proof.to_string()));
}
