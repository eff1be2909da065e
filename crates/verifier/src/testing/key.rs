use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

use super::number;
use crate::algorithm::Algorithm;
use crate::json::encode;

/// A key pair that everybody has, bound to one algorithm: for tests, never for a service.
#[derive(Clone, Copy, Debug)]
pub struct TestKey {
    owner: Owner,
    algorithm: Algorithm,
}

#[derive(Clone, Copy, Debug)]
enum Owner {
    Issuer,
    Stranger,
}

impl TestKey {
    /// The key that plays the issuer's; the same at every call.
    pub fn issuer(algorithm: Algorithm) -> Self {
        Self { owner: Owner::Issuer, algorithm }
    }

    /// A key that the issuer has nothing to do with; the same at every call.
    pub fn stranger(algorithm: Algorithm) -> Self {
        Self { owner: Owner::Stranger, algorithm }
    }

    /// The name under which it is published.
    pub fn kid(&self) -> String {
        format!("test-{:?}-{}", self.owner, self.algorithm).to_lowercase()
    }

    /// The only algorithm that it serves.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key as it is published (RFC 7517, RFC 7518 §6, RFC 8037 §2).
    pub fn jwk(&self) -> Value {
        let mut jwk = match self.algorithm {
            Algorithm::Es256 => {
                let (x, y) = self.point();
                json!({ "kty": "EC", "crv": "P-256", "x": encode(&x), "y": encode(&y) })
            }
            Algorithm::EdDsa => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(&self.ed25519_public()) })
            }
            _ => json!({ "kty": "RSA", "n": encode(&self.n()), "e": "AQAB" }),
        };
        jwk["kid"] = self.kid().into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm.name().into();
        jwk
    }

    /// Signs these bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self.algorithm {
            Algorithm::Rs256 => self.sign_rsa(&RSA_PKCS1_SHA256, message),
            Algorithm::Rs384 => self.sign_rsa(&RSA_PKCS1_SHA384, message),
            Algorithm::Rs512 => self.sign_rsa(&RSA_PKCS1_SHA512, message),
            Algorithm::Ps256 => self.sign_rsa(&RSA_PSS_SHA256, message),
            Algorithm::Es256 => self.p256().sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Algorithm::EdDsa => self.ed25519().sign(message).as_ref().to_vec(),
        }
    }

    /// A compact token over exactly these bytes (RFC 7515 §7.1), whatever they are, with a good signature.
    pub fn token(&self, header: &[u8], payload: &[u8]) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        format!("{signed}.{}", encode(&self.sign(signed.as_bytes())))
    }

    /// Signs with the RSA key in a scheme that is not its own.
    pub(super) fn sign_rsa(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.rsa().public_modulus_len()];
        self.rsa().sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    /// RSA's private operation on a whole block (RFC 8017 §5.2.1), for paddings that no library writes.
    ///
    /// It is slow, and the same blocks come with every target, so it remembers.
    pub(super) fn sign_block(&self, block: &[u8]) -> Vec<u8> {
        type Signatures = BTreeMap<(usize, Vec<u8>), Vec<u8>>;
        static DONE: Mutex<Signatures> = Mutex::new(BTreeMap::new());
        let key = (self.owner as usize, block.to_vec());
        if let Some(signature) = DONE.lock().unwrap().get(&key) {
            return signature.clone();
        }
        let [_, n, _, d] = self.numbers();
        let signature = number::power(block, d, n);
        DONE.lock().unwrap().insert(key, signature.clone());
        signature
    }

    /// The modulus of the RSA key, big-endian.
    pub(super) fn n(&self) -> Vec<u8> {
        let [_, n, ..] = self.numbers();
        n.strip_prefix(&[0]).unwrap_or(n).to_vec()
    }

    /// The version, modulus, public and private exponent of RSAPrivateKey (RFC 8017 A.1.2).
    fn numbers(&self) -> [&'static [u8]; 4] {
        *integers(RSA[self.owner as usize]).first_chunk().unwrap()
    }

    /// The RSA key as RSAPublicKey (RFC 8017 A.1.1).
    pub(super) fn pkcs1(&self) -> Vec<u8> {
        self.rsa().public_key().as_ref().to_vec()
    }

    /// The RSA key as SubjectPublicKeyInfo (RFC 5280 §4.1).
    pub(super) fn spki(&self) -> Vec<u8> {
        AsDer::<PublicKeyX509Der<'_>>::as_der(self.rsa().public_key()).unwrap().as_ref().to_vec()
    }

    /// The coordinates of the P-256 key.
    pub(super) fn point(&self) -> (Vec<u8>, Vec<u8>) {
        let pair = self.p256();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        (x.to_vec(), y.to_vec())
    }

    fn ed25519_public(&self) -> Vec<u8> {
        self.ed25519().public_key().as_ref().to_vec()
    }

    fn rsa(&self) -> &'static RsaKeyPair {
        static PAIRS: LazyLock<[RsaKeyPair; 2]> =
            LazyLock::new(|| RSA.map(|der| RsaKeyPair::from_der(der).unwrap()));
        &PAIRS[self.owner as usize]
    }

    fn p256(&self) -> EcdsaKeyPair {
        let der = P256[self.owner as usize];
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).unwrap()
    }

    fn ed25519(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_pkcs8(ED25519[self.owner as usize]).unwrap()
    }
}

static RSA: [&[u8]; 2] = [include_bytes!("keys/rsa-1.der"), include_bytes!("keys/rsa-2.der")];
static P256: [&[u8]; 2] = [include_bytes!("keys/p256-1.der"), include_bytes!("keys/p256-2.der")];
static ED25519: [&[u8]; 2] = [include_bytes!("keys/ed25519-1.der"), include_bytes!("keys/ed25519-2.der")];

/// The INTEGERs of a SEQUENCE whose length takes two bytes, as in all our RSA keys.
fn integers(der: &'static [u8]) -> Vec<&'static [u8]> {
    let mut rest = &der[4..];
    let mut found = Vec::new();
    while let [2, tail @ ..] = rest {
        let (length, tail) = match tail {
            [0x82, high, low, tail @ ..] => (usize::from(*high) << 8 | usize::from(*low), tail),
            [0x81, length, tail @ ..] => (usize::from(*length), tail),
            [length, tail @ ..] => (usize::from(*length), tail),
            [] => panic!("cut short"),
        };
        let (number, tail) = tail.split_at(length);
        found.push(number);
        rest = tail;
    }
    found
}
