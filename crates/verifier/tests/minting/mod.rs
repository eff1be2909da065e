//! Mints tokens, good and bad, with keys that live as long as the test run.
use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_verifier::{
    AccessClaims, Algorithm, Audience, Jwk, JwkSet, KeySet, Reason, Refusal, Scopes, Verifier,
};
use serde_json::{Value, json};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://id.example";
pub(crate) const AUDIENCE: &str = "https://orders.example";

/// The issuer's key, published as the only member of [`KEYS`].
pub(crate) static KEY: LazyLock<Key> = LazyLock::new(Key::generate);
/// A key that the issuer has nothing to do with.
pub(crate) static STRANGER: LazyLock<Key> = LazyLock::new(Key::generate);
pub(crate) static KEYS: LazyLock<KeySet> = LazyLock::new(|| KeySet::from_jwks(&KEY.set()).unwrap());

pub(crate) struct Key {
    pair: RsaKeyPair,
    pub(crate) n: Vec<u8>,
    pub(crate) e: Vec<u8>,
}

impl Key {
    fn generate() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        // RSAPublicKey (RFC 8017 A.1.1) of a 2048-bit key: 4 bytes of SEQUENCE, 4 of INTEGER, a zero, n, 2 of INTEGER, e.
        let der = pair.public_key().as_ref();
        let (n, e) = (der[9..265].to_vec(), der[267..].to_vec());
        Self { pair, n, e }
    }

    pub(crate) fn jwk(&self) -> Jwk {
        Jwk::rsa(&self.n, &self.e, Algorithm::Rs256)
    }

    pub(crate) fn set(&self) -> JwkSet {
        JwkSet { keys: vec![self.jwk()] }
    }

    pub(crate) fn public_der(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub(crate) fn sign(&self, encoding: &'static dyn RsaEncoding, message: &str) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        signature
    }

    /// A compact token over exactly these bytes, with a good RS256 signature.
    pub(crate) fn token(&self, header: &[u8], payload: &[u8]) -> String {
        let signed = format!("{}.{}", b64(header), b64(payload));
        format!("{signed}.{}", b64(&self.sign(&RSA_PKCS1_SHA256, &signed)))
    }
}

pub(crate) fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn header() -> Value {
    json!({ "alg": "RS256", "kid": KEY.jwk().kid, "typ": "at+jwt" })
}

pub(crate) fn access_claims() -> AccessClaims {
    AccessClaims {
        iss: ISSUER.into(),
        sub: "account-1".into(),
        aud: Audience::one(AUDIENCE),
        exp: NOW + 600,
        iat: NOW,
        nbf: Some(NOW),
        jti: "token-1".into(),
        client_id: "web".into(),
        scope: Scopes::parse("orders:read orders:write").unwrap(),
        sid: "session-1".into(),
        auth_time: NOW - 60,
        amr: vec!["pwd".into()],
        roles: vec!["clerk".into()],
    }
}

pub(crate) fn claims() -> Value {
    serde_json::to_value(access_claims()).unwrap()
}

pub(crate) fn valid() -> String {
    with_claims_text(&claims().to_string())
}

/// A well-signed token whose header was changed first.
pub(crate) fn with_header(change: impl FnOnce(&mut Value)) -> String {
    let mut header = header();
    change(&mut header);
    with_header_text(&header.to_string())
}

/// A well-signed token with one header member set.
pub(crate) fn with_member(name: &str, value: impl Into<Value>) -> String {
    with_header(|header| header[name] = value.into())
}

pub(crate) fn with_header_text(header: &str) -> String {
    KEY.token(header.as_bytes(), claims().to_string().as_bytes())
}

/// A well-signed token with one claim set.
pub(crate) fn with_claim(name: &str, value: impl Into<Value>) -> String {
    let mut claims = claims();
    claims[name] = value.into();
    with_claims_text(&claims.to_string())
}

pub(crate) fn without_claim(name: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name).unwrap();
    with_claims_text(&claims.to_string())
}

/// A well-signed token with more members, written as they stand, at the end of its claims.
pub(crate) fn with_more_claims(members: &str) -> String {
    let claims = claims().to_string();
    with_claims_text(&format!("{},{members}}}", claims.strip_suffix('}').unwrap()))
}

pub(crate) fn with_claims_text(payload: &str) -> String {
    KEY.token(header().to_string().as_bytes(), payload.as_bytes())
}

/// The signed part and the signature of a valid token.
pub(crate) fn halves() -> (String, Vec<u8>) {
    let token = valid();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    (signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

pub(crate) fn verifier() -> Verifier {
    Verifier::builder().issuer(ISSUER).audience(AUDIENCE).rs256().build().unwrap()
}

pub(crate) fn outcome(token: &str, keys: &KeySet) -> Result<(), Reason> {
    verifier().verify(token, keys, NOW).map(|_| ()).map_err(|Refusal { reason, .. }| reason)
}

#[track_caller]
pub(crate) fn assert_accepted(token: &str) {
    assert_eq!(outcome(token, &KEYS), Ok(()), "{token}");
}

/// The token is refused for this reason, and its unmodified twin is not.
#[track_caller]
pub(crate) fn assert_refused(token: &str, reason: Reason) {
    assert_eq!(outcome(token, &KEYS), Err(reason), "{token:.2000}");
    assert_accepted(&valid());
}
