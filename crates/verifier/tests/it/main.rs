//! The core from outside: algorithms and keys, every default, published test vectors, what the crate brings along.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod algorithms;
mod crates;
mod defaults;
mod rfc;
mod wycheproofs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_verifier::testing::{Mint, TestKey};
use keyward_verifier::{Algorithm, KeyId, KeySet, Reason, SkipReason, Verifier, VerifierBuilder};
use serde_json::{Value, json};

const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "https://orders.example";

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn mint() -> Mint {
    Mint::new(ISSUER, AUDIENCE)
}

fn policy() -> VerifierBuilder<String, String, Vec<Algorithm>> {
    Verifier::builder().issuer(ISSUER).audience(AUDIENCE).rs256()
}

fn check(verifier: &Verifier, token: &str, keys: &KeySet, now: u64) -> Result<(), Reason> {
    verifier.verify(token, keys, now).map(drop).map_err(|refusal| refusal.reason)
}

/// A set of these keys and one good key more.
fn set_with(keys: &[Value]) -> KeySet {
    let good = TestKey::stranger(Algorithm::Rs256).jwk();
    let keys = [keys, &[good]].concat();
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// The key is skipped for this reason, and the rest of its set is not harmed.
#[track_caller]
fn assert_skipped(jwk: Value, reason: SkipReason) {
    let set = set_with(std::slice::from_ref(&jwk));
    let kid = KeyId::parse(jwk["kid"].as_str().unwrap()).unwrap();
    assert_eq!(set.skipped(), [(Some(kid), reason)], "{jwk}");
    assert_eq!(set.len(), 1);
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
    jwk[name] = value.into();
    jwk
}

fn without(mut jwk: Value, name: &str) -> Value {
    jwk.as_object_mut().unwrap().remove(name).unwrap();
    jwk
}
