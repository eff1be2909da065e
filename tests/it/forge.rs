//! Tokens that no honest issuer makes, and some that it does.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{KeyInit as _, Mac as _};
use keyward::signing::key::{LONGEST_SIGNATURE, PrivateKey, unseal};
use keyward::signing::{Bits, pem};
use keyward::store::{KeyState, SigningKeys as _};
use serde_json::Value;

use crate::app::TestApp;

/// Signs whatever it is given.
pub struct Forge {
    pub kid: String,
    private: PrivateKey,
    public_pem: String,
}

impl Forge {
    /// With the key that signs now.
    pub async fn of(app: &TestApp) -> Forge {
        let grants = &app.app.grants;
        let ring = grants.store.ring().await.unwrap();
        let active = ring.keys.iter().find(|key| key.state == KeyState::Active).unwrap();
        Forge {
            kid: active.kid.clone(),
            private: unseal(&grants.keyring, active).unwrap(),
            public_pem: pem::write_public(&active.public_jwk).unwrap(),
        }
    }

    /// With a key that nobody knows.
    pub fn stranger(kid: &str) -> Forge {
        let private = PrivateKey::generate(Bits::Rsa2048).unwrap();
        Forge { kid: kid.into(), private, public_pem: String::new() }
    }

    pub fn rs256(&self, header: &Value, claims: &Value) -> String {
        let input = input(header, claims);
        let mut signature = [0; LONGEST_SIGNATURE];
        let length = self.private.sign(input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(&signature[..length]))
    }

    /// What a verifier accepts that takes the algorithm from the header and the key from the JWKS.
    pub fn hs256(&self, header: &Value, claims: &Value) -> String {
        let input = input(header, claims);
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(self.public_pem.as_bytes()).unwrap();
        mac.update(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

/// What is signed: header and claims as they stand in a token.
pub fn input(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// With another member; `null` takes it out.
pub fn changed(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.as_object().unwrap().clone();
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value);
    }
    object.into()
}
