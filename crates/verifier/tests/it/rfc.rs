//! The examples of RFC 7515 appendix A, RFC 7520 §4 and RFC 8037 appendix A, at the signature layer.
//!
//! They have no `typ` and no claims of an access token, so no verifier accepts any of them as a whole.

use aws_lc_rs::signature::{
    ECDSA_P521_SHA512_FIXED, RSA_PSS_2048_8192_SHA384, RsaPublicKeyComponents, UnparsedPublicKey,
};
use aws_lc_rs::{hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_verifier::{Algorithm, JwksError, KeyId, KeySet, Reason, SkipReason, Verifier};
use serde_json::{Value, json};

/// An example whose protected header may name no key; `kid` is then ours.
struct Example {
    jwk: Value,
    header: &'static str,
    payload: &'static str,
    signature: &'static str,
}

impl Example {
    fn kid(&self) -> KeyId {
        KeyId::parse(self.jwk["kid"].as_str().unwrap_or("k")).unwrap()
    }

    fn set(&self) -> Result<KeySet, JwksError> {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = self.kid().as_str().into();
        KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes())
    }

    fn signed(&self) -> String {
        format!("{}.{}", self.header, self.payload)
    }

    fn signature(&self) -> Vec<u8> {
        decode(self.signature)
    }

    /// The set's own key accepts it, and no change of it.
    #[track_caller]
    fn assert_good(&self) {
        let set = self.set().unwrap();
        let key = set.find(&self.kid()).unwrap();
        let (signed, mut signature) = (self.signed(), self.signature());
        assert_eq!(key.verify(signed.as_bytes(), &signature), Ok(()));
        assert!(key.verify(&signed.as_bytes()[1..], &signature).is_err());
        for at in 0..signature.len() {
            signature[at] ^= 1;
            assert!(key.verify(signed.as_bytes(), &signature).is_err(), "byte {at}");
            signature[at] ^= 1;
        }
    }

    /// Its key is of no use, and a verifier that allows everything does not allow its algorithm.
    #[track_caller]
    fn assert_unsupported(&self, reason: SkipReason) {
        let JwksError::NoUsableKey { skipped } = self.set().unwrap_err() else {
            panic!("a set without a fault")
        };
        assert_eq!(skipped, [(Some(self.kid()), reason)]);
        self.assert_not_allowed();
    }

    #[track_caller]
    fn assert_not_allowed(&self) {
        assert_eq!(self.outcome(), Reason::AlgNotAllowed);
    }

    /// Why the whole example is no access token, with some good key in the set.
    fn outcome(&self) -> Reason {
        let verifier =
            Verifier::builder().issuer("joe").audience("a").algorithms(&Algorithm::ALL).build().unwrap();
        let token = format!("{}.{}", self.signed(), self.signature);
        let keys = self.set().or_else(|_| rfc_7515_a_3().set()).unwrap();
        verifier.verify(&token, &keys, 1_300_819_000).unwrap_err().reason
    }
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

const JOE: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const BILBO: &str = "bilbo.baggins@hobbiton.example";
const SHARED: &str = "018c0ae5-4d9b-471b-bfd6-eef314bc7037";
const ROAD: &str = concat!(
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9h",
    "ZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3",
    "ZXB0IG9mZiB0by4"
);

fn rfc_7515_a_1() -> Example {
    let k = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    Example {
        jwk: json!({ "kty": "oct", "k": k }),
        header: "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        payload: JOE,
        signature: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    }
}

fn rfc_7515_a_2() -> Example {
    let n = concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SF",
        "d2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo",
        "7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkM",
        "Ls91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    );
    Example {
        jwk: json!({ "kty": "RSA", "n": n, "e": "AQAB" }),
        header: "eyJhbGciOiJSUzI1NiJ9",
        payload: JOE,
        signature: concat!(
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9",
            "uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB",
            "_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq",
            "Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
        ),
    }
}

fn rfc_7515_a_3() -> Example {
    let (x, y) =
        ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    Example {
        jwk: json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }),
        header: "eyJhbGciOiJFUzI1NiJ9",
        payload: JOE,
        signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    }
}

fn rfc_7515_a_4() -> Example {
    Example {
        jwk: json!({
            "kty": "EC",
            "crv": "P-521",
            "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
            "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
        }),
        header: "eyJhbGciOiJFUzUxMiJ9",
        payload: "UGF5bG9hZA",
        signature: concat!(
            "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCA",
            "PZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
        ),
    }
}

fn bilbos_rsa_key() -> Value {
    let n = concat!(
        "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFK",
        "rKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD",
        "5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig",
        "3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw"
    );
    json!({ "kty": "RSA", "kid": BILBO, "use": "sig", "n": n, "e": "AQAB" })
}

fn bilbos_p_521_key() -> Value {
    let x = "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt";
    let y = "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1";
    json!({ "kty": "EC", "kid": BILBO, "use": "sig", "crv": "P-521", "x": x, "y": y })
}

fn shared_key() -> Value {
    let k = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg";
    json!({ "kty": "oct", "kid": SHARED, "use": "sig", "alg": "HS256", "k": k })
}

fn rfc_7520_4_1() -> Example {
    Example {
        jwk: bilbos_rsa_key(),
        header: "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
        payload: ROAD,
        signature: concat!(
            "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84w",
            "nB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadn",
            "HXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ4",
            "1Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg"
        ),
    }
}

fn rfc_7520_4_2() -> Example {
    Example {
        jwk: bilbos_rsa_key(),
        header: "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
        payload: ROAD,
        signature: concat!(
            "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllV",
            "o6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTr",
            "xUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOc",
            "bH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw"
        ),
    }
}

fn rfc_7520_4_3() -> Example {
    Example {
        jwk: bilbos_p_521_key(),
        header: "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
        payload: ROAD,
        signature: concat!(
            "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sD",
            "DyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2"
        ),
    }
}

fn rfc_7520_4_4() -> Example {
    Example {
        jwk: shared_key(),
        header: "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9",
        payload: ROAD,
        signature: "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
    }
}

/// §4.6: `kid` stands in the unprotected header, which a compact token does not have.
fn rfc_7520_4_6() -> Example {
    Example {
        jwk: shared_key(),
        header: "eyJhbGciOiJIUzI1NiJ9",
        payload: ROAD,
        signature: "bWUSVaxorn7bEF1djytBd0kHv70Ly5pvbomzMWSOr20",
    }
}

/// §4.7: nothing is protected but the payload.
fn rfc_7520_4_7() -> Example {
    Example {
        jwk: shared_key(),
        header: "",
        payload: ROAD,
        signature: "xuLifqLGiblpv9zBpuZczWhNj1gARaLV3UxvxhJxZuk",
    }
}

/// §4.8, the first of three signatures; its `kid` is unprotected.
fn rfc_7520_4_8() -> Example {
    Example {
        jwk: bilbos_rsa_key(),
        header: "eyJhbGciOiJSUzI1NiJ9",
        payload: ROAD,
        signature: concat!(
            "MIsjqtVlOpa71KE-Mss8_Nq2YH4FGhiocsqrgi5NvyG53uoimic1tcMdSg-qptrzZc7CG6Svw2Y13TDIqHzTUrL_lR2ZFcryNFiHkS",
            "w129EghGpwkpxaTn_THJTCglNbADko1MZBCdwzJxwqZc-1RlpO2HibUYyXSwO97BSe0_evZKdjvvKSgsIqjytKSeAMbhMBdMma622",
            "_BG5t4sdbuCHtFjp9iJmkio47AIwqkZV1aIZsv33uPUqBBCXbYoQJwt7mxPftHmNlGoOSMxR_3thmXTCm4US-xiNOyhbm8afKK64j",
            "U6_TPtQHiJeQJxz9G3Tx-083B745_AfYOnlC9w"
        ),
    }
}

fn rfc_8037_a_4() -> Example {
    Example {
        jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
        header: "eyJhbGciOiJFZERTQSJ9",
        payload: "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
        signature: "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    }
}

fn assert_hmac(example: &Example) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &decode(example.jwk["k"].as_str().unwrap()));
    hmac::verify(&key, example.signed().as_bytes(), &example.signature()).unwrap();
}

fn assert_p_521(example: &Example) {
    let number = |name: &str| decode(example.jwk[name].as_str().unwrap());
    let point = [&[4][..], &number("x"), &number("y")].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point);
    key.verify(example.signed().as_bytes(), &example.signature()).unwrap();
}

#[test]
fn rfc_7515_a_1_hs256_is_good_and_refused() {
    assert_hmac(&rfc_7515_a_1());
    rfc_7515_a_1().assert_unsupported(SkipReason::PrivateMaterial);
}

#[test]
fn rfc_7515_a_2_rs256_is_good() {
    rfc_7515_a_2().assert_good();
    assert_eq!(rfc_7515_a_2().outcome(), Reason::TypMismatch);
}

#[test]
fn rfc_7515_a_3_es256_is_good() {
    rfc_7515_a_3().assert_good();
    assert_eq!(rfc_7515_a_3().outcome(), Reason::TypMismatch);
}

#[test]
fn rfc_7515_a_4_es512_is_good_and_refused() {
    assert_p_521(&rfc_7515_a_4());
    rfc_7515_a_4().assert_unsupported(SkipReason::UnsupportedCurve);
}

#[test]
fn rfc_7520_4_1_rs256_is_good() {
    rfc_7520_4_1().assert_good();
    assert_eq!(rfc_7520_4_1().outcome(), Reason::TypMismatch);
}

#[test]
fn rfc_7520_4_2_ps384_is_good_and_refused() {
    let example = rfc_7520_4_2();
    let number = |name: &str| decode(example.jwk[name].as_str().unwrap());
    let key = RsaPublicKeyComponents { n: number("n"), e: number("e") };
    let parameters: &signature::RsaParameters = &RSA_PSS_2048_8192_SHA384;
    key.verify(parameters, example.signed().as_bytes(), &example.signature()).unwrap();
    example.assert_not_allowed();
    let keys = example.set().unwrap();
    let rs256 = keys.find(&example.kid()).unwrap();
    assert!(rs256.verify(example.signed().as_bytes(), &example.signature()).is_err());
    let named = Example {
        jwk: json!({ "alg": "PS384", "kty": "RSA", "n": example.jwk["n"], "e": "AQAB" }),
        ..example
    };
    named.assert_unsupported(SkipReason::UnsupportedAlgorithm);
}

#[test]
fn rfc_7520_4_3_es512_is_good_and_refused() {
    assert_p_521(&rfc_7520_4_3());
    rfc_7520_4_3().assert_unsupported(SkipReason::UnsupportedCurve);
}

#[test]
fn rfc_7520_4_4_hs256_is_good_and_refused() {
    assert_hmac(&rfc_7520_4_4());
    rfc_7520_4_4().assert_unsupported(SkipReason::PrivateMaterial);
}

#[test]
fn rfc_7520_4_5_a_detached_payload_is_not_put_back() {
    let detached = Example { payload: "", ..rfc_7520_4_4() };
    detached.assert_unsupported(SkipReason::PrivateMaterial);
    let rs256 = Example { payload: "", ..rfc_7520_4_1() };
    let key = rs256.set().unwrap();
    assert!(key.find(&rs256.kid()).unwrap().verify(rs256.signed().as_bytes(), &rs256.signature()).is_err());
}

#[test]
fn rfc_7520_4_6_and_4_7_unprotected_headers_are_refused() {
    assert_hmac(&rfc_7520_4_6());
    rfc_7520_4_6().assert_unsupported(SkipReason::PrivateMaterial);
    assert_hmac(&rfc_7520_4_7());
    assert_eq!(rfc_7520_4_7().outcome(), Reason::HeaderInvalid);
}

#[test]
fn rfc_7520_4_8_one_of_several_signatures_is_good_and_the_whole_refused() {
    let example = rfc_7520_4_8();
    example.assert_good();
    let whole = json!({ "payload": example.payload, "signatures": [
        { "protected": example.header, "header": { "kid": BILBO }, "signature": example.signature },
        { "protected": rfc_7520_4_4().header, "signature": rfc_7520_4_4().signature },
    ]});
    let verifier =
        Verifier::builder().issuer("joe").audience("a").algorithms(&Algorithm::ALL).build().unwrap();
    let refusal = verifier.verify(&whole.to_string(), &example.set().unwrap(), 0).unwrap_err();
    assert_eq!(refusal.reason, Reason::Malformed);
}

#[test]
fn rfc_8037_a_4_eddsa_is_good() {
    rfc_8037_a_4().assert_good();
    assert_eq!(rfc_8037_a_4().outcome(), Reason::TypMismatch);
}
