//! Full validation of an RS256 access token, beside the bare check of the same bytes with a parsed key.

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::RsaPublicKeyComponents;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use keyward::clock::Clock;
use keyward::signing::key::PrivateKey;
use keyward::signing::{ActiveKey, sign};
use keyward_verifier::{AccessClaims, JwkSet, KeySet, Verifier};

use crate::Outcome;
use crate::limit::Rsa;
use crate::table::{Line, median, micros, ratio};
use crate::token::{ISSUER, claims, timed};

const ROUNDS: usize = 60;
const BATCH: u32 = 300;

pub fn measure() -> Outcome<Vec<Line>> {
    let pkcs8 = Rsa::generate()?.0.as_der()?;
    let private = PrivateKey::from_pkcs8(pkcs8.as_ref())?;
    let public = private.public()?;
    let (n, e) = (URL_SAFE_NO_PAD.decode(&public.n)?, URL_SAFE_NO_PAD.decode(&public.e)?);
    let rival = DecodingKey::from_rsa_components(&public.n, &public.e)?;
    let key = ActiveKey::new(public.kid.to_string(), private, 3_600)?;
    let keys = KeySet::from_jwks(&JwkSet { keys: vec![public] })?;
    let verifier = Verifier::builder().issuer(ISSUER).audience(ISSUER).rs256().build()?;

    let now = Clock::system().now().seconds();
    let token = sign(&key, &claims(now)?)?;
    let (signed, signature) = token.rsplit_once('.').ok_or("no signature")?;
    let signature = URL_SAFE_NO_PAD.decode(signature)?;
    let components = RsaPublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
    let parsed: ParsedPublicKey = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[ISSUER]);
    validation.set_issuer(&[ISSUER]);

    let mut costs: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        costs[0].push(timed(BATCH, |_| {
            let verified = verifier.verify(black_box(&token), &keys, now);
            black_box(verified.map_err(|refusal| format!("{refusal:?}"))?);
            Ok(())
        })?);
        costs[1].push(timed(BATCH, |_| Ok(parsed.verify_sig(black_box(signed.as_bytes()), &signature)?))?);
        costs[2].push(timed(BATCH, |_| {
            black_box(jsonwebtoken::decode::<AccessClaims>(black_box(&token), &rival, &validation)?);
            Ok(())
        })?);
    }
    let [ours, limit, rival] = &costs;
    let to_limit = |costs: &[Duration]| {
        median(costs.iter().zip(limit).map(|(cost, limit)| cost.as_secs_f64() / limit.as_secs_f64()))
    };
    let middle = |costs: &[Duration]| median(costs.iter().map(|cost| micros(*cost)));
    let raw = format!("{:.1} µs of CPU; the signature alone {:.1} µs", middle(ours), middle(limit));
    Ok(vec![
        ratio("RS256, full validation without a cache, to the signature", to_limit(ours), 1.15, raw),
        Line {
            what: "for scale: jsonwebtoken `decode`, which checks less".into(),
            bound: String::new(),
            measured: format!("{:.3}", to_limit(rival)),
            met: None,
            raw: format!("{:.1} µs", middle(rival)),
        },
    ])
}
