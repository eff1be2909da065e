//! G. Claims of time.

use serde_json::json;

use crate::refusal::Reason;
use crate::testing::forge::Forge;

pub(in crate::testing) fn attack_104_exp_missing(f: &mut Forge<'_>) {
    f.refuse(f.mint.without_claim("exp"));
}

pub(in crate::testing) fn attack_105_exp_of_wrong_type(f: &mut Forge<'_>) {
    for exp in [json!("9999999999"), json!(true), json!(null), json!([f.now + 600]), json!({})] {
        f.refuse(f.mint.with_claim("exp", exp));
    }
    for name in ["iat", "nbf", "auth_time"] {
        for value in [json!("1"), json!(true), json!(null), json!([1])] {
            f.refuse(f.mint.with_claim(name, value));
        }
    }
}

pub(in crate::testing) fn attack_106_exp_that_is_no_second(f: &mut Forge<'_>) {
    for exp in
        ["NaN", "Infinity", "1e400", "-1", "-1.5", "-0", "18446744073709551616", "1e300", "01800000600", "+1"]
    {
        f.refuse(f.mint.with_literal("exp", exp));
    }
    for exp in [9_007_199_254_740_993, u64::MAX] {
        f.refuse_for(Reason::LifetimeTooLong, f.mint.with_claim("exp", exp));
    }
}

pub(in crate::testing) fn attack_107_fraction_that_lengthens_a_life(f: &mut Forge<'_>) {
    let (now, leeway) = (f.now, f.target.leeway);
    let token = f.mint.with_literal("exp", &format!("{}.9", now + 600));
    f.present(&token).at(now + 599 + leeway).accepted();
    f.present(token).at(now + 600 + leeway).refused();
    let token = f.mint.with_literal("nbf", &format!("{now}.1"));
    f.present(&token).at(now - leeway).refused_for(Reason::NotYetValid);
    f.present(token).at(now + 1 - leeway).accepted();
}

pub(in crate::testing) fn attack_108_exp_in_milliseconds(f: &mut Forge<'_>) {
    f.refuse(f.mint.with_claim("exp", (f.now + 600) * 1000));
    f.refuse(f.mint.with_claim("exp", f.now + f.target.max_lifetime + 1));
    f.accept(f.mint.with_claim("exp", f.now + f.target.max_lifetime));
}

pub(in crate::testing) fn attack_109_the_second_of_exp_itself(f: &mut Forge<'_>) {
    let dead = f.now + 600 + f.target.leeway;
    f.present(f.mint.valid()).at(dead - 1).accepted();
    f.present(f.mint.valid()).at(dead).refused();
}

pub(in crate::testing) fn attack_110_leeway_counted_twice(f: &mut Forge<'_>) {
    let leeway = f.target.leeway;
    let dying = |f: &Forge<'_>, exp| {
        f.mint.with_claims(|claims| {
            claims["exp"] = json!(exp);
            claims["iat"] = json!(f.now - 900);
            claims["nbf"] = json!(f.now - 900);
        })
    };
    f.accept(dying(f, f.now - leeway + 1));
    for late in [leeway, leeway + 1, 2 * leeway.max(1) - 1, 121, 300] {
        if late >= leeway {
            f.refuse(dying(f, f.now - late));
        }
    }
}

pub(in crate::testing) fn attack_111_sums_that_overflow(f: &mut Forge<'_>) {
    f.refuse_for(Reason::NotYetValid, f.mint.with_claim("nbf", u64::MAX));
    f.refuse_for(Reason::ClaimsInvalid, f.mint.with_claim("iat", u64::MAX));
    f.present(f.mint.valid()).at(u64::MAX).refused();
    f.present(f.mint.valid()).at(0).refused_for(Reason::NotYetValid);
    let eternal = f.mint.with_claims(|claims| {
        for name in ["exp", "iat", "nbf"] {
            claims[name] = u64::MAX.into();
        }
    });
    f.refuse_for(Reason::NotYetValid, eternal);
}

pub(in crate::testing) fn attack_112_nbf_in_the_future(f: &mut Forge<'_>) {
    let latest = f.now + f.target.leeway;
    f.refuse(f.mint.with_claim("nbf", latest + 1));
    f.refuse(f.mint.with_claim("nbf", f.now + 3600));
    f.accept(f.mint.with_claim("nbf", latest));
    f.accept(f.mint.without_claim("nbf"));
}

pub(in crate::testing) fn attack_113_iat_in_the_future_or_missing(f: &mut Forge<'_>) {
    let latest = f.now + f.target.leeway;
    f.refuse(f.mint.with_claim("iat", latest + 1));
    f.accept(f.mint.with_claim("iat", latest));
    let later = f.mint.with_claims(|claims| {
        claims["iat"] = json!(f.now + 3600);
        claims["exp"] = json!(f.now + 4200);
    });
    f.refuse(later);
    f.refuse_for(Reason::ClaimsInvalid, f.mint.without_claim("iat"));
    f.refuse_for(Reason::ClaimsInvalid, f.mint.with_claim("iat", f.now + 601));
}
