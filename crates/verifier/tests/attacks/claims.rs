//! G. Claims.

use std::time::Duration;

use keyward_verifier::{KeySet, Reason, Verifier};
use serde_json::{Value, json};

use crate::minting::*;

/// The claims with one value written as it stands, signed.
fn raw(name: &str, literal: &str) -> String {
    let mut claims = claims();
    claims[name] = "<here>".into();
    with_claims_text(&claims.to_string().replace("\"<here>\"", literal))
}

fn exact() -> Verifier {
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).rs256();
    builder.leeway(Duration::ZERO).build().unwrap()
}

fn exact_outcome(token: &str, now: u64) -> Result<(), Reason> {
    let keys: &KeySet = &KEYS;
    exact().verify(token, keys, now).map(|_| ()).map_err(|refusal| refusal.reason)
}

#[test]
fn attack_104_exp_missing() {
    assert_refused(&without_claim("exp"), Reason::ClaimsInvalid);
}

#[test]
fn attack_105_exp_of_wrong_type() {
    for exp in [json!("9999999999"), json!(true), json!(null), json!([NOW + 600]), json!({})] {
        assert_refused(&with_claim("exp", exp), Reason::ClaimsInvalid);
    }
    for name in ["iat", "nbf", "auth_time"] {
        for value in [json!("1"), json!(true), json!(null), json!([1])] {
            assert_refused(&with_claim(name, value), Reason::ClaimsInvalid);
        }
    }
}

#[test]
fn attack_106_exp_outside_of_numbers() {
    for exp in
        ["NaN", "Infinity", "1e400", "-1", "-1.5", "18446744073709551616", "1e300", "01800000600", "+1"]
    {
        assert_refused(&raw("exp", exp), Reason::ClaimsInvalid);
    }
    assert_refused(&raw("exp", "9007199254740993"), Reason::LifetimeTooLong);
    assert_refused(&raw("exp", &u64::MAX.to_string()), Reason::LifetimeTooLong);
    assert_refused(&raw("exp", "-0"), Reason::ClaimsInvalid);
}

#[test]
fn attack_107_fractions_give_no_extra_life() {
    let token = raw("exp", &format!("{}.9", NOW + 600));
    assert_eq!(exact_outcome(&token, NOW + 599), Ok(()));
    assert_eq!(exact_outcome(&token, NOW + 600), Err(Reason::Expired));
    let token = raw("nbf", &format!("{NOW}.1"));
    assert_eq!(exact_outcome(&token, NOW), Err(Reason::NotYetValid));
    assert_eq!(exact_outcome(&token, NOW + 1), Ok(()));
}

#[test]
fn attack_108_exp_in_milliseconds() {
    assert_refused(&with_claim("exp", (NOW + 600) * 1000), Reason::LifetimeTooLong);
    assert_refused(&with_claim("exp", NOW + 86_401), Reason::LifetimeTooLong);
    assert_accepted(&with_claim("exp", NOW + 86_400));
}

#[test]
fn attack_109_exp_is_the_first_second_of_death() {
    assert_eq!(exact_outcome(&valid(), NOW + 599), Ok(()));
    assert_eq!(exact_outcome(&valid(), NOW + 600), Err(Reason::Expired));
}

#[test]
fn attack_110_leeway_is_bounded_and_counted_once() {
    let at = |now| verifier().verify(&valid(), &KEYS, now).map(|_| ()).map_err(|refusal| refusal.reason);
    assert_eq!(at(NOW + 629), Ok(()));
    assert_eq!(at(NOW + 630), Err(Reason::Expired));
    let builder = || Verifier::builder().issuer(ISSUER).audience(AUDIENCE).rs256();
    assert!(builder().leeway(Duration::from_secs(120)).build().is_ok());
    assert!(builder().leeway(Duration::from_millis(120_001)).build().is_err());
}

#[test]
fn attack_111_sums_neither_overflow_nor_underflow() {
    assert_refused(&with_claim("nbf", u64::MAX), Reason::NotYetValid);
    assert_refused(&with_claim("iat", u64::MAX), Reason::ClaimsInvalid);
    assert_eq!(exact_outcome(&valid(), u64::MAX), Err(Reason::Expired));
    let at = |now| verifier().verify(&valid(), &KEYS, now).map(|_| ()).map_err(|refusal| refusal.reason);
    assert_eq!((at(u64::MAX), at(0)), (Err(Reason::Expired), Err(Reason::NotYetValid)));
}

#[test]
fn attack_112_nbf_in_the_future() {
    assert_refused(&with_claim("nbf", NOW + 31), Reason::NotYetValid);
    assert_accepted(&with_claim("nbf", NOW + 30));
    assert_accepted(&without_claim("nbf"));
}

#[test]
fn attack_113_iat_in_the_future_or_missing() {
    assert_refused(&with_claim("iat", NOW + 31), Reason::IssuedInFuture);
    assert_accepted(&with_claim("iat", NOW + 30));
    assert_refused(&without_claim("iat"), Reason::ClaimsInvalid);
    assert_refused(&with_claim("iat", NOW + 601), Reason::ClaimsInvalid);
}

#[test]
fn attack_114_identities_of_wrong_type() {
    for name in ["iss", "aud", "sub", "jti", "client_id", "sid", "scope"] {
        for value in [json!(5), json!({}), json!(null), json!(true), json!([5])] {
            assert_refused(&with_claim(name, value), Reason::ClaimsInvalid);
        }
    }
    for name in ["amr", "roles"] {
        for value in [json!("admin"), json!([1]), json!({}), json!(null)] {
            assert_refused(&with_claim(name, value), Reason::ClaimsInvalid);
        }
    }
    for name in ["iss", "sub", "jti", "client_id", "sid", "auth_time"] {
        assert_refused(&without_claim(name), Reason::ClaimsInvalid);
    }
}

#[test]
fn attack_115_aud_missing() {
    assert_refused(&without_claim("aud"), Reason::ClaimsInvalid);
}

#[test]
fn attack_116_aud_of_nobody() {
    assert_refused(&with_claim("aud", json!([])), Reason::ClaimsInvalid);
    assert_refused(&with_claim("aud", ""), Reason::AudMismatch);
}

#[test]
fn attack_117_aud_that_only_resembles() {
    assert_accepted(&with_claim("aud", json!(["https://other.example", AUDIENCE])));
    assert_refused(&with_claim("aud", json!([AUDIENCE, 1])), Reason::ClaimsInvalid);
    for aud in
        ["https://orders.example.evil", "https://orders", "HTTPS://ORDERS.EXAMPLE", "https://orders.example/"]
    {
        assert_refused(&with_claim("aud", aud), Reason::AudMismatch);
        assert_refused(&with_claim("aud", json!([aud])), Reason::AudMismatch);
    }
}

#[test]
fn attack_118_iss_that_begins_or_contains_the_right_one() {
    for iss in ["https://id", "https://id.example.evil", "", "x https://id.example"] {
        assert_refused(&with_claim("iss", iss), Reason::IssuerMismatch);
    }
}

#[test]
fn attack_119_iss_as_a_list() {
    assert_refused(&with_claim("iss", json!([ISSUER, "https://evil.example"])), Reason::ClaimsInvalid);
    assert_refused(&with_claim("iss", json!([ISSUER])), Reason::ClaimsInvalid);
}

#[test]
fn attack_120_iss_is_compared_byte_by_byte() {
    for iss in [
        "https://id.example/",
        "https://ID.example",
        "https://id.example:443",
        "https://u@id.example",
        "https://ｉd.example",
        "http://id.example",
    ] {
        assert_refused(&with_claim("iss", iss), Reason::IssuerMismatch);
    }
}

#[test]
fn attack_122_other_kinds_of_token() {
    for typ in ["JWT", "logout+jwt", "dpop+jwt", "secevent+jwt", "internal+jwt", "refresh+jwt"] {
        assert_refused(&with_member("typ", typ), Reason::TypMismatch);
    }
}

#[test]
fn attack_123_typ_tricks() {
    for typ in [
        "at+jwt;x",
        "at+jwt ",
        "text/at+jwt",
        "text/abcdefg/at+jwt",
        "applicatiox/at+jwt",
        "application/application/at+jwt",
        "application/",
        "",
        "at jwt",
    ] {
        assert_refused(&with_member("typ", typ), Reason::TypMismatch);
    }
    for typ in [json!(null), json!(["at+jwt"]), json!(1)] {
        assert_refused(&with_member("typ", typ), Reason::HeaderInvalid);
    }
    let missing = with_header(|header| {
        header.as_object_mut().unwrap().remove("typ");
    });
    assert_refused(&missing, Reason::TypMismatch);
    for typ in ["AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        assert_accepted(&with_member("typ", typ));
    }
}

#[test]
fn attack_124_token_for_another_service() {
    assert_refused(&with_claim("aud", "https://billing.example"), Reason::AudMismatch);
}

#[test]
fn attack_125_scope_is_no_text() {
    for scope in [json!(["admin"]), json!("x\tadmin"), json!("x  admin"), json!(" admin"), json!("a\"b")] {
        assert_refused(&with_claim("scope", scope), Reason::ClaimsInvalid);
    }
    let claims = verifier().verify(&with_claim("scope", "x notadmin x"), &KEYS, NOW).unwrap().into_claims();
    assert!(!claims.scope.contains("admin") && claims.scope.contains("x"));
}

#[test]
fn attack_126_roles_from_elsewhere() {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("roles");
    claims["realm_access"] = json!({ "roles": ["admin"] });
    let verified = verifier().verify(&with_claims_text(&claims.to_string()), &KEYS, NOW).unwrap();
    assert!(verified.claims().roles.is_empty());
    assert_refused(&with_more_claims(r#""roles":["admin"]"#), Reason::ClaimsInvalid);
}

#[test]
fn attack_127_identities_empty_long_or_with_control_characters() {
    for name in ["sub", "jti", "client_id", "sid"] {
        for value in ["", "a\nb", "a\0", "\u{7f}", "\u{85}", &"a".repeat(256)] {
            assert_refused(&with_claim(name, value), Reason::ClaimsInvalid);
        }
        assert_accepted(&with_claim(name, "a".repeat(255)));
    }
    assert_refused(&with_claim("jti", "a".repeat(1_000_000)), Reason::TooLarge);
}

#[test]
fn attack_129_bound_token_as_bearer() {
    for cnf in [json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }), json!({}), Value::Null] {
        assert_refused(&with_claim("cnf", cnf), Reason::CnfUnsupported);
    }
}
