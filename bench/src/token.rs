//! Claims to compact token, beside the bare RSA operation on the same bytes.

use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeyPair;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use keyward::clock::Clock;
use keyward::signing::key::PrivateKey;
use keyward::signing::{ActiveKey, sign};
use keyward_verifier::{AccessClaims, Audience, JwkSet, KeySet, Scopes, Verifier};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha2::Digest as _;

use crate::limit::Rsa;
use crate::table::{Line, median, micros, ratio};
use crate::{Outcome, cpu};

const ROUNDS: usize = 60;
const BATCH: u32 = 50;
/// The two for scale are slow.
const SMALL: u32 = 10;

pub const ISSUER: &str = "http://localhost:8080";

/// The DER of SHA-256's DigestInfo without the digest (RFC 8017 §9.2).
const SHA256_PREFIX: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0, 0x04,
    0x20,
];

pub fn measure() -> Outcome<Vec<Line>> {
    let raw = Rsa::generate()?;
    let pkcs8 = raw.0.as_der()?;
    let raw = Rsa(KeyPair::from_pkcs8(pkcs8.as_ref())?);
    let private = PrivateKey::from_pkcs8(pkcs8.as_ref())?;
    let public = private.public()?;
    let kid = public.kid.to_string();
    let key = ActiveKey::new(kid.clone(), private, 3_600)?;
    let slow = RsaPrivateKey::from_pkcs8_der(pkcs8.as_ref())?;
    let encoding = EncodingKey::from_rsa_der(slow.to_pkcs1_der()?.as_bytes());
    let mut header = Header::new(Algorithm::RS256);
    header.typ = Some(AccessClaims::TYP.into());
    header.kid = Some(kid);

    let verifier = Verifier::builder().issuer(ISSUER).audience(ISSUER).rs256().build()?;
    let keys = KeySet::from_jwks(&JwkSet { keys: vec![public] })?;
    let now = Clock::system().now().seconds();
    let mut claims = claims(now)?;
    let check = |token: &str, claims: &AccessClaims| -> Outcome<()> {
        let verified = verifier.verify(token, &keys, now).map_err(|refusal| format!("{refusal:?}"))?;
        if verified.claims() == claims { Ok(()) } else { Err("the token says something else".into()) }
    };

    let mut costs: [Vec<Duration>; 4] = Default::default();
    let mut signature = [0; 256];
    for _ in 0..ROUNDS {
        let (mut tokens, mut names) = (Vec::with_capacity(100), Vec::with_capacity(100));
        costs[0].push(timed(BATCH, |number| {
            claims.jti.replace_range(.., &format!("{number:022}"));
            let token = sign(&key, &claims)?;
            tokens.push(token);
            names.push(claims.jti.clone());
            Ok(())
        })?);
        for (token, jti) in tokens.iter().zip(&names) {
            claims.jti.clone_from(jti);
            check(token, &claims)?;
        }
        let signed: Vec<&str> =
            tokens.iter().filter_map(|token| token.rsplit_once('.')).map(|(signed, _)| signed).collect();
        costs[1].push(timed(BATCH, |number| {
            let message = signed.get(number as usize).ok_or("too few tokens")?;
            raw.sign(message.as_bytes(), &mut signature)
        })?);
        tokens.clear();
        costs[2].push(timed(SMALL, |_| {
            tokens.push(jsonwebtoken::encode(&header, &claims, &encoding)?);
            Ok(())
        })?);
        for token in &tokens {
            check(token, &claims)?;
        }
        let digest = sha2::Sha256::digest(b"what is signed");
        costs[3].push(timed(SMALL, |_| {
            let padding = Pkcs1v15Sign { hash_len: Some(32), prefix: SHA256_PREFIX.into() };
            std::hint::black_box(slow.sign(padding, &digest)?);
            Ok(())
        })?);
    }
    let [ours, limit, encode, rsa] = &costs;
    let to_limit = |costs: &[Duration]| {
        median(costs.iter().zip(limit).map(|(cost, limit)| cost.as_secs_f64() / limit.as_secs_f64()))
    };
    let middle = |costs: &[Duration]| median(costs.iter().map(|cost| micros(*cost)));
    let scale = |what: &str, costs: &[Duration]| Line {
        what: what.into(),
        bound: String::new(),
        measured: format!("{:.3}", to_limit(costs)),
        met: None,
        raw: format!("{:.1} µs", middle(costs)),
    };
    let raw = format!("{:.1} µs of CPU; RSA alone {:.1} µs", middle(ours), middle(limit));
    Ok(vec![
        ratio("claims → compact token, to RSA-2048", to_limit(ours), 1.10, raw),
        scale("for scale: jsonwebtoken `encode`", encode),
        scale("for scale: the `rsa` crate, signature alone", rsa),
    ])
}

/// What a login of this service gives.
pub fn claims(now: u64) -> Outcome<AccessClaims> {
    Ok(AccessClaims {
        iss: ISSUER.into(),
        sub: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        aud: Audience::one(ISSUER),
        exp: now + 600,
        iat: now,
        nbf: Some(now),
        jti: "0".repeat(22),
        client_id: "web".into(),
        scope: Scopes::parse("account:manage account:read")?,
        sid: "01890a5d-ac96-774b-bcce-b302099a8058".into(),
        auth_time: now,
        amr: vec!["pwd".into()],
        roles: vec!["user".into()],
    })
}

/// CPU time of one call.
pub fn timed(times: u32, mut work: impl FnMut(u32) -> Outcome<()>) -> Outcome<Duration> {
    let before = cpu::of_this_thread();
    for number in 0..times {
        work(number)?;
    }
    Ok((cpu::of_this_thread() - before) / times)
}
