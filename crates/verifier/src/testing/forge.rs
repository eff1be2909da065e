use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::conformance::Input;
use super::key::TestKey;
use super::mint::Mint;
use super::target::Target;
use crate::algorithm::Algorithm;
use crate::json::{decode, encode};
use crate::jwk::KeyId;
use crate::keyset::JwksError;
use crate::refusal::{Reason, SkipReason};

/// What [`KeySet::parse`](crate::KeySet::parse) says of a document: the keys it skips, or what is wrong with it.
pub(super) type Reading = Result<Vec<(Option<KeyId>, SkipReason)>, JwksError>;

/// Collects the variants of one attack.
pub(super) struct Forge<'a> {
    pub(super) target: &'a Target,
    /// Makes tokens that the target takes.
    pub(super) mint: Mint,
    pub(super) now: u64,
    reason: Reason,
    steps: Vec<Step>,
    twins: BTreeMap<&'static str, String>,
}

/// One presentation and what must come of it.
pub(super) struct Step {
    pub(super) input: Input,
    /// The same without the attack.
    pub(super) twin: Input,
    pub(super) expected: Result<(), Reason>,
    /// What the last document served is read as, where that matters.
    pub(super) reading: Option<Reading>,
}

impl<'a> Forge<'a> {
    pub(super) fn new(target: &'a Target, reason: Reason) -> Self {
        let keys = target.algorithms.iter().map(|algorithm| TestKey::issuer(*algorithm));
        let mint = Mint::new(&target.issuer, &target.audience).typ(&target.typ).keys(keys);
        let now = mint.clock().now();
        Self { target, mint, now, reason, steps: Vec::new(), twins: BTreeMap::new() }
    }

    pub(super) fn finish(self) -> Vec<Step> {
        self.steps
    }

    /// Another issuer of the same name, whose only key is the stranger's.
    pub(super) fn stranger(&self) -> Mint {
        self.mint.clone().keys([TestKey::stranger(self.mint.key().algorithm())])
    }

    /// The issuer, signing with its key for this algorithm.
    pub(super) fn signing(&self, algorithm: Algorithm) -> Mint {
        self.mint.clone().keys([TestKey::issuer(algorithm)])
    }

    /// A good header and good claims under the issuer's key id, with one more header member, signed by the stranger.
    pub(super) fn by_stranger(&self, name: &str, value: impl Into<Value>) -> String {
        let mut header = self.mint.header();
        header[name] = value.into();
        self.stranger().token_of(&header, &self.mint.claims_json())
    }

    pub(super) fn refuse(&mut self, token: impl Into<String>) {
        self.present(token).refused();
    }

    pub(super) fn refuse_for(&mut self, reason: Reason, token: impl Into<String>) {
        self.present(token).refused_for(reason);
    }

    /// For a token that names an algorithm other than that of ordinary tokens.
    pub(super) fn refuse_in(&mut self, algorithm: Algorithm, token: impl Into<String>) {
        self.present(token).of(algorithm).refused();
    }

    pub(super) fn accept(&mut self, token: impl Into<String>) {
        self.present(token).accepted();
    }

    pub(super) fn present(&mut self, token: impl Into<String>) -> Presentation<'_, 'a> {
        let input =
            Input { token: token.into(), now: self.now, served: vec![self.mint.jwks()], revoked: Vec::new() };
        let algorithm = self.mint.key().algorithm();
        Presentation { forge: self, input, algorithm, twin_set: None, reading: None }
    }

    fn twin(&mut self, algorithm: Algorithm) -> Input {
        let mint = self.signing(algorithm);
        let token = self.twins.entry(algorithm.name()).or_insert_with(|| mint.valid()).clone();
        Input { token, now: self.now, served: vec![self.mint.jwks()], revoked: Vec::new() }
    }
}

/// A presentation in the making.
#[must_use]
pub(super) struct Presentation<'f, 'a> {
    forge: &'f mut Forge<'a>,
    input: Input,
    algorithm: Algorithm,
    twin_set: Option<String>,
    reading: Option<Reading>,
}

impl Presentation<'_, '_> {
    pub(super) fn at(mut self, now: u64) -> Self {
        self.input.now = now;
        self
    }

    pub(super) fn served<S: Into<String>>(mut self, answers: impl IntoIterator<Item = S>) -> Self {
        self.input.served = answers.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn revoked(mut self, kids: &[String]) -> Self {
        self.input.revoked = kids.iter().map(|kid| KeyId::parse(kid).unwrap()).collect();
        self
    }

    /// The algorithm that the token names; if the target does not take it, that is all that it can be refused for.
    pub(super) fn of(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The key set under which the untouched token is presented.
    pub(super) fn twin_set(mut self, set: String) -> Self {
        self.twin_set = Some(set);
        self
    }

    pub(super) fn read_as(mut self, reading: Reading) -> Self {
        self.reading = Some(reading);
        self
    }

    pub(super) fn refused(self) {
        let reason = self.forge.reason;
        self.refused_for(reason);
    }

    pub(super) fn refused_for(self, reason: Reason) {
        self.expect(Err(reason));
    }

    pub(super) fn accepted(self) {
        self.expect(Ok(()));
    }

    fn expect(self, expected: Result<(), Reason>) {
        let Self { forge, input, algorithm, twin_set, reading } = self;
        let rank = |reason| Reason::ALL.iter().position(|member| *member == reason);
        let gets_past_alg =
            expected.map_or_else(|reason| rank(reason) > rank(Reason::AlgNotAllowed), |()| true);
        let allowed = forge.target.algorithms.contains(&algorithm);
        let expected = if allowed || !gets_past_alg { expected } else { Err(Reason::AlgNotAllowed) };
        let ordinary = forge.mint.key().algorithm();
        let mut twin = forge.twin(if allowed { algorithm } else { ordinary });
        if let Some(set) = twin_set.filter(|_| allowed) {
            twin.served = vec![set];
        }
        forge.steps.push(Step { input, twin, expected, reading });
    }
}

/// Tokens with one thing about them changed, all well signed.
impl Mint {
    pub(super) fn claims_json(&self) -> Value {
        serde_json::to_value(self.claims()).unwrap()
    }

    pub(super) fn valid(&self) -> String {
        self.token(&self.claims())
    }

    /// Signed over these very bytes.
    pub(super) fn raw(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.key().token(header.as_ref(), payload.as_ref())
    }

    pub(super) fn with_header_text(&self, header: &str) -> String {
        self.raw(header, self.claims_json().to_string())
    }

    pub(super) fn with_header(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = self.header();
        change(&mut header);
        self.token_of(&header, &self.claims_json())
    }

    pub(super) fn with_member(&self, name: &str, value: impl Into<Value>) -> String {
        self.with_header(|header| header[name] = value.into())
    }

    pub(super) fn without_member(&self, name: &str) -> String {
        self.with_header(|header| {
            header.as_object_mut().unwrap().remove(name).unwrap();
        })
    }

    pub(super) fn with_payload(&self, payload: &str) -> String {
        self.raw(self.header().to_string(), payload)
    }

    pub(super) fn with_claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims_json();
        change(&mut claims);
        self.token_of(&self.header(), &claims)
    }

    pub(super) fn with_claim(&self, name: &str, value: impl Into<Value>) -> String {
        self.with_claims(|claims| claims[name] = value.into())
    }

    pub(super) fn without_claim(&self, name: &str) -> String {
        self.with_claims(|claims| {
            claims.as_object_mut().unwrap().remove(name).unwrap();
        })
    }

    /// With the value of a claim written as it stands.
    pub(super) fn with_literal(&self, name: &str, literal: &str) -> String {
        let mut claims = self.claims_json();
        claims[name] = "<here>".into();
        self.with_payload(&claims.to_string().replace("\"<here>\"", literal))
    }

    /// With more members, written as they stand, at the end of the claims.
    pub(super) fn with_more_claims(&self, members: &str) -> String {
        let claims = self.claims_json().to_string();
        self.with_payload(&format!("{},{members}}}", claims.strip_suffix('}').unwrap()))
    }

    pub(super) fn unsigned(&self, header: &Value) -> String {
        format!(
            "{}.{}.",
            encode(header.to_string().as_bytes()),
            encode(self.claims_json().to_string().as_bytes())
        )
    }
}

/// What the signature covers, and the signature.
pub(super) fn halves(token: &str) -> (&str, Vec<u8>) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    (signed, decode(signature).unwrap())
}

pub(super) fn with_signature(token: &str, signature: &[u8]) -> String {
    format!("{}.{}", halves(token).0, encode(signature))
}

pub(super) fn parts(token: &str) -> [&str; 3] {
    let mut parts = token.split('.');
    [(); 3].map(|()| parts.next().unwrap())
}

/// A JWK Set of these keys.
pub(super) fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

pub(super) fn named(kid: &str) -> Option<KeyId> {
    Some(KeyId::parse(kid).unwrap())
}
