use serde_json::{Value, json};

use super::clock::WoundClock;
use super::key::TestKey;
use crate::algorithm::Algorithm;
use crate::claims::{AccessClaims, Audience};
use crate::keyset::KeySet;
use crate::scope::Scopes;

/// How long its tokens live, in seconds.
const LIFETIME: u64 = 600;

/// Makes tokens as an issuer would, for the tests of a service that takes them.
///
/// ```
/// use std::time::Duration;
/// use keyward_verifier::{Reason, Scopes, Verifier, testing::Mint};
///
/// let mint = Mint::new("https://id.example", "https://orders.example");
/// let verifier = Verifier::builder()
///     .issuer("https://id.example")
///     .audience("https://orders.example")
///     .rs256()
///     .build()?;
///
/// let mut claims = mint.claims();
/// claims.scope = Scopes::parse("orders:read")?;
/// let token = mint.token(&claims);
/// let verified = verifier.verify(&token, &mint.key_set(), mint.clock().now())?;
/// assert!(verified.claims().scope.contains("orders:read"));
///
/// mint.clock().advance(Duration::from_secs(3600));
/// let refusal = verifier.verify(&token, &mint.key_set(), mint.clock().now()).unwrap_err();
/// assert_eq!(refusal.reason, Reason::Expired);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mint {
    issuer: String,
    audience: String,
    typ: String,
    clock: WoundClock,
    keys: Vec<TestKey>,
}

impl Mint {
    /// An issuer of this name whose tokens are for this audience, signed with RS256, of the type `at+jwt`.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            typ: AccessClaims::TYP.to_owned(),
            clock: WoundClock::default(),
            keys: vec![TestKey::issuer(Algorithm::Rs256)],
        }
    }

    /// Publishes these keys and signs with the first.
    #[must_use]
    pub fn keys(self, keys: impl IntoIterator<Item = TestKey>) -> Self {
        Self { keys: keys.into_iter().collect(), ..self }
    }

    /// Writes another `typ` into headers.
    #[must_use]
    pub fn typ(self, typ: impl Into<String>) -> Self {
        Self { typ: typ.into(), ..self }
    }

    /// The time at which tokens are issued; it stands still until it is wound.
    pub fn clock(&self) -> &WoundClock {
        &self.clock
    }

    /// Claims of a token that is issued now and lives for ten minutes.
    pub fn claims(&self) -> AccessClaims {
        let now = self.clock.now();
        AccessClaims {
            iss: self.issuer.clone(),
            sub: "account-1".to_owned(),
            aud: Audience::one(&self.audience),
            exp: now + LIFETIME,
            iat: now,
            nbf: Some(now),
            jti: "token-1".to_owned(),
            client_id: "web".to_owned(),
            scope: Scopes::from_tokens(["orders:read", "orders:write"]).unwrap(),
            sid: "session-1".to_owned(),
            auth_time: now - 60,
            amr: vec!["pwd".to_owned()],
            roles: vec!["clerk".to_owned()],
        }
    }

    /// Signs claims.
    pub fn token(&self, claims: &AccessClaims) -> String {
        self.token_of(&self.header(), &serde_json::to_value(claims).unwrap())
    }

    /// Signs any header and any claims.
    pub fn token_of(&self, header: &Value, claims: &Value) -> String {
        self.key().token(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// The header of its tokens.
    pub fn header(&self) -> Value {
        json!({ "alg": self.key().algorithm(), "kid": self.key().kid(), "typ": self.typ })
    }

    /// The key that signs.
    pub fn key(&self) -> TestKey {
        *self.keys.first().unwrap()
    }

    /// The JWK Set that it serves.
    pub fn jwks(&self) -> String {
        json!({ "keys": self.keys.iter().map(TestKey::jwk).collect::<Vec<_>>() }).to_string()
    }

    /// The same set, read.
    pub fn key_set(&self) -> KeySet {
        KeySet::parse(self.jwks().as_bytes()).unwrap()
    }
}
