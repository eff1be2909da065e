use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_envelope::{Context, DataKey, Keyring, Suite};
use keyward_verifier::{AccessClaims, Audience, JwkSet, KeyId, Scopes, Verifier};

use super::command::{Format, Mode, Reach, Rotated};
use super::key::PrivateKey;
use super::lifecycle::{self, Plan, Readiness, plan};
use super::memory::{Crash, Memory};
use super::pem::{self, PemError, PemKey};
use super::{Bits, Job, KeyRing, Keysmith, Maker, NotConfirmed, Policy, SigningError, sign};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::random::Random;
use crate::store::{KeyState, Ring, SigningKey, SigningKeys};

const START: Timestamp = Timestamp(1_800_000_000_000);
const LIFETIME: u32 = 300;
const DAY: Duration = Duration::from_secs(86_400);

/// The timing rules of an operator who sets none.
fn policy() -> Policy {
    crate::app::signing_policy(&Config::from_text("").unwrap())
}

struct Shop {
    store: Arc<Memory>,
    keyring: Arc<Keyring>,
    maker: Arc<Maker>,
    policy: Policy,
    clock: Clock,
}

impl Shop {
    async fn open() -> Shop {
        let data_key = DataKey::from_bytes(1, Suite::GcmCtx, &[9; 32]);
        let keyring = Arc::new(Keyring::new("default", vec![data_key], 1).ok().unwrap());
        let maker = Arc::new(Maker::new(Arc::clone(&keyring), Bits::Rsa2048, LIFETIME));
        let (store, clock) = (Arc::new(Memory::default()), Clock::wound(START));
        let shop = Shop { store, keyring, maker, policy: policy(), clock };
        shop.smith().bootstrap().await.unwrap();
        shop
    }

    fn smith(&self) -> Keysmith<'_, Memory> {
        Keysmith { store: &*self.store, maker: &self.maker, policy: &self.policy, clock: &self.clock }
    }

    async fn ring(&self) -> KeyRing {
        let keyring = Arc::clone(&self.keyring);
        KeyRing::load(&*self.store, keyring, self.policy.clone(), self.clock.clone()).await.ok().unwrap()
    }

    async fn job(&self) -> Job<Memory> {
        Job {
            store: Arc::clone(&self.store),
            ring: Arc::new(self.ring().await),
            maker: Arc::clone(&self.maker),
            policy: self.policy.clone(),
            clock: self.clock.clone(),
            random: Random::seeded(1),
        }
    }

    fn kid(&self, state: KeyState) -> String {
        self.store.peek().keys.iter().find(|key| key.state == state).unwrap().kid.clone()
    }

    fn claims(&self) -> AccessClaims {
        let now = self.clock.now().seconds();
        AccessClaims {
            iss: "https://issuer.test".to_owned(),
            sub: "018f5b7e-7b3a-7c3e-9c1d-2f6a1d0b9e44".to_owned(),
            aud: Audience::one("orders"),
            exp: now + u64::from(LIFETIME),
            iat: now,
            nbf: None,
            jti: "018f5b7e-7b3a-7c3e-9c1d-2f6a1d0b9e45".to_owned(),
            client_id: "web".to_owned(),
            scope: Scopes::default(),
            sid: "018f5b7e-7b3a-7c3e-9c1d-2f6a1d0b9e46".to_owned(),
            auth_time: now,
            amr: vec!["pwd".to_owned()],
            roles: vec!["ünïcode \"quoted\"".to_owned()],
        }
    }
}

fn verifier() -> Verifier {
    Verifier::builder().issuer("https://issuer.test").audience("orders").rs256().build().unwrap()
}

fn set(ring: &KeyRing) -> JwkSet {
    serde_json::from_slice(&ring.jwks().unwrap().body).unwrap()
}

// ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn a_token_satisfies_our_verifier_and_jsonwebtoken() {
    let shop = Shop::open().await;
    let ring = shop.ring().await;
    let claims = shop.claims();
    let token = sign(&ring.signing().unwrap(), &claims).unwrap();

    let now = shop.clock.now().seconds();
    let keys = ring.keys().unwrap();
    let verified = verifier().verify(&token, &keys, now).unwrap();
    assert_eq!(*verified.claims(), claims);

    let kid = shop.kid(KeyState::Active);
    let text = String::from_utf8(ring.jwks().unwrap().body.clone()).unwrap();
    let theirs: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&text).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(theirs.find(&kid).unwrap()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    rules.set_audience(&["orders"]);
    rules.validate_exp = false;
    let decoded = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &rules).unwrap();
    assert_eq!(decoded.claims["sub"], claims.sub.as_str());
    assert_eq!(decoded.header.kid, Some(kid.clone()));

    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let expected = format!(r#"{{"typ":"at+jwt","alg":"RS256","kid":"{kid}"}}"#);
    assert_eq!(String::from_utf8(header).unwrap(), expected);
}

#[tokio::test]
async fn a_token_may_not_outlive_what_is_durable_for_its_key() {
    let shop = Shop::open().await;
    let ring = shop.ring().await;
    let mut claims = shop.claims();
    claims.exp += 1;
    let key = ring.signing().unwrap();
    assert!(matches!(sign(&key, &claims), Err(SigningError::Lifetime)));

    let key = ring.prepare(LIFETIME + 1, &*shop.store).await.unwrap();
    let record = shop.store.peek();
    assert_eq!(lifecycle::active(&record).unwrap().max_lifetime, LIFETIME + 1);
    assert!(sign(&key, &claims).is_ok());

    shop.store.down(true);
    assert!(ring.prepare(LIFETIME + 1, &*shop.store).await.is_ok());
    assert!(ring.prepare(LIFETIME + 2, &*shop.store).await.is_err());
}

#[tokio::test]
async fn a_longer_life_moves_to_the_new_key_when_the_old_one_no_longer_signs() {
    let shop = Shop::open().await;
    let ring = shop.ring().await;
    let old = ring.signing().unwrap();
    shop.smith().rotate(Mode::Rules).await.unwrap();
    let key = ring.prepare(LIFETIME * 2, &*shop.store).await.unwrap();
    assert_ne!(key.kid(), old.kid());
    assert_eq!(key.max_lifetime(), LIFETIME * 2);
}

#[tokio::test]
async fn counts_reach_the_store_once_even_from_a_key_that_is_gone() {
    let shop = Shop::open().await;
    let ring = shop.ring().await;
    let kid = ring.signing().unwrap().kid().to_owned();
    for _ in 0..3 {
        sign(&ring.signing().unwrap(), &shop.claims()).unwrap();
    }
    shop.smith().rotate(Mode::Rules).await.unwrap();
    ring.confirm(&*shop.store).await.unwrap();
    shop.store.down(true);
    assert!(ring.flush(&*shop.store).await.is_err());
    shop.store.down(false);
    ring.flush(&*shop.store).await.unwrap();
    ring.flush(&*shop.store).await.unwrap();
    let counts = shop.store.signed_counts().await.unwrap();
    assert_eq!(counts[&kid], (3, shop.claims().exp));
    assert_eq!(counts.len(), 1);
    let row = shop.smith().list().await.unwrap().into_iter().find(|row| row.kid == kid).unwrap();
    assert_eq!(row.outstanding, 3);
    shop.clock.advance(DAY);
    let row = shop.smith().list().await.unwrap().into_iter().find(|row| row.kid == kid).unwrap();
    assert_eq!(row.outstanding, 0);
}

/// The fastest of many, so that a busy machine does not decide it.
#[tokio::test]
async fn a_signature_costs_hardly_more_than_the_rsa_operation() {
    let shop = Shop::open().await;
    let ring = shop.ring().await;
    let (key, claims) = (ring.signing().unwrap(), shop.claims());
    let private = super::key::PrivateKey::generate(Bits::Rsa2048).ok().unwrap();
    let time = |work: &dyn Fn()| {
        let watch = crate::clock::Stopwatch::start();
        (0..5).for_each(|_| work());
        watch.elapsed()
    };
    let (mut raw, mut whole) = (Duration::MAX, Duration::MAX);
    let close = (0..300).any(|round| {
        raw = raw.min(time(&|| {
            private.sign(&[7; 600], &mut [0; super::key::LONGEST_SIGNATURE]).unwrap();
        }));
        whole = whole.min(time(&|| {
            sign(&key, &claims).unwrap();
        }));
        round > 20 && whole < raw.mul_f64(1.10)
    });
    assert!(close, "{whole:?} against {raw:?}");
}

// ── the snapshot ────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn the_set_lists_active_then_staged_then_retiring_and_no_private_member() {
    let shop = Shop::open().await;
    shop.smith().rotate(Mode::Rules).await.unwrap();
    let ring = shop.ring().await;
    let states: Vec<String> = set(&ring).keys.iter().map(|key| key.kid.to_string()).collect();
    let expected = [KeyState::Active, KeyState::Staged, KeyState::Retiring].map(|state| shop.kid(state));
    assert_eq!(states, expected);
    let published = ring.jwks().unwrap();
    assert_eq!(published.cache_control, "public, max-age=300");
    let json: serde_json::Value = serde_json::from_slice(&published.body).unwrap();
    for key in json["keys"].as_array().unwrap() {
        let members: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(
            members.iter().all(|name| ["kty", "n", "e", "kid", "use", "alg"].contains(name)),
            "{members:?}"
        );
    }
}

#[tokio::test]
async fn the_etag_changes_exactly_when_the_set_does() {
    let shop = Shop::open().await;
    let ring = shop.ring().await;
    let first = ring.jwks().unwrap();
    shop.store.edit(&shop.kid(KeyState::Active), |key| key.max_lifetime += 1);
    ring.confirm(&*shop.store).await.unwrap();
    assert_eq!(ring.generation(), 2);
    assert_eq!(ring.jwks().unwrap(), first);
    shop.smith().rotate(Mode::Rules).await.unwrap();
    ring.confirm(&*shop.store).await.unwrap();
    let second = ring.jwks().unwrap();
    assert_ne!(second.etag, first.etag);
    assert_ne!(second.body, first.body);
    assert!(second.etag.starts_with('"') && second.etag.ends_with('"') && second.etag.len() == 45);
}

#[tokio::test]
async fn an_unmoved_ring_is_not_read_again_and_its_key_not_parsed_again() {
    let shop = Shop::open().await;
    let ring = shop.ring().await;
    let (reads, key) = (shop.store.full_reads(), ring.signing().unwrap());
    for _ in 0..10 {
        ring.confirm(&*shop.store).await.unwrap();
        ring.signing().unwrap();
        ring.jwks().unwrap();
    }
    assert_eq!(shop.store.full_reads(), reads);
    shop.store.edit(&shop.kid(KeyState::Staged), |key| key.max_lifetime += 1);
    ring.confirm(&*shop.store).await.unwrap();
    assert!(Arc::ptr_eq(&key, &ring.signing().unwrap()));
}

#[tokio::test]
async fn a_ring_unconfirmed_for_its_lease_neither_signs_nor_serves() {
    let shop = Shop::open().await;
    let ring = shop.ring().await;
    shop.store.down(true);
    shop.clock.advance(shop.policy.lease - Duration::from_millis(1));
    assert!(ring.confirm(&*shop.store).await.is_err());
    assert!(ring.signing().is_ok());
    shop.clock.advance(Duration::from_millis(1));
    assert_eq!(ring.signing().err(), Some(NotConfirmed));
    assert_eq!(ring.jwks().err(), Some(NotConfirmed));
    assert_eq!(ring.keys().err(), Some(NotConfirmed));
    shop.store.down(false);
    ring.confirm(&*shop.store).await.unwrap();
    assert!(ring.signing().is_ok());
}

#[tokio::test]
async fn a_ring_that_goes_backwards_is_refused_and_runs_out() {
    let shop = Shop::open().await;
    let backup = shop.store.peek();
    let kid = shop.kid(KeyState::Active);
    let job = shop.job().await;
    shop.smith().revoke(&kid, Reach::Key).await.unwrap();
    job.tick().await.unwrap();
    let (etag, generation) = (job.ring.jwks().unwrap().etag.clone(), job.ring.generation());
    shop.store.restore(backup.clone());
    let refused = job.tick().await;
    assert!(matches!(refused, Err(SigningError::Backwards { held: 2, found: 1 })), "{refused:?}");
    assert_eq!(shop.store.peek(), backup, "a tick leaves an older ring alone");
    assert_eq!((job.ring.jwks().unwrap().etag.clone(), job.ring.generation()), (etag, generation));
    shop.clock.advance(shop.policy.lease);
    assert!(job.tick().await.is_err());
    assert!(job.ring.signing().is_err());
    shop.store.restore(Ring::default());
    assert!(job.tick().await.is_err());
    assert!(shop.store.peek().keys.is_empty(), "no second first start over a lost ring");
}

#[tokio::test]
async fn a_key_moved_to_another_row_or_swapped_does_not_sign() {
    let shop = Shop::open().await;
    let (active, staged) = (shop.kid(KeyState::Active), shop.kid(KeyState::Staged));
    let foreign = shop.store.peek().keys.iter().find(|key| key.kid == staged).unwrap().private.clone();
    shop.store.edit(&active, |key| key.private = foreign);
    let loaded = KeyRing::load(&*shop.store, Arc::clone(&shop.keyring), policy(), shop.clock.clone()).await;
    assert!(matches!(loaded.err(), Some(SigningError::Open { kid, .. }) if kid == active));
}

type Swap<'a> = &'a dyn Fn(&mut SigningKey);

/// Even what is sealed for its row, as only a holder of the data key can, must fit the rest of it.
#[tokio::test]
async fn a_key_whose_row_contradicts_itself_is_neither_published_nor_used_but_named() {
    let shop = Shop::open().await;
    let whole = shop.store.peek();
    let stranger = PrivateKey::generate(Bits::Rsa2048).unwrap();
    let (der, jwk) = (stranger.to_pkcs8().unwrap(), stranger.public().unwrap());
    let sealed = |kid: &str, bytes: &[u8]| {
        let place = Context::column("signing_keys", "private").row(kid);
        Some(shop.keyring.seal(&place, bytes).unwrap().into_string())
    };
    for state in [KeyState::Active, KeyState::Staged] {
        let kid = shop.kid(state);
        let mut named = jwk.clone();
        named.kid = KeyId::parse(&kid).unwrap();
        let swaps: [(&str, Swap<'_>); 5] = [
            ("thumbprint", &|key| key.public_jwk = serde_json::to_string(&jwk).unwrap()),
            ("thumbprint", &|key| key.public_jwk = serde_json::to_string(&named).unwrap()),
            ("cannot be read", &|key| key.public_jwk = "{}".to_owned()),
            ("another public key", &|key| key.private = sealed(&key.kid, &der)),
            ("consistent", &|key| key.private = sealed(&key.kid, &der[1..])),
        ];
        for (word, swap) in swaps {
            shop.store.restore(whole.clone());
            let running = shop.ring().await;
            shop.store.edit(&kid, swap);
            let load = KeyRing::load(&*shop.store, Arc::clone(&shop.keyring), policy(), shop.clock.clone());
            let refused = load.await.err().unwrap().to_string();
            assert!(refused.contains(&kid) && refused.contains(word), "{refused}");

            // A running replica goes on with the private half that it checked when it loaded it.
            let untouched = state == KeyState::Active && !matches!(word, "thumbprint" | "cannot be read");
            match running.confirm(&*shop.store).await {
                Ok(()) => assert!(untouched, "{word}"),
                Err(refused) => assert!(refused.to_string().contains(&kid), "{refused}"),
            }
            assert_eq!(set(&running).keys.iter().any(|key| key.kid.as_str() == kid), untouched, "{word}");
            assert_eq!(running.signing().is_ok_and(|key| key.kid() == kid), untouched, "{word}");
        }
        shop.smith().revoke(&kid, Reach::Key).await.unwrap();
        let healed = shop.ring().await;
        assert!(set(&healed).keys.iter().all(|key| key.kid.as_str() != kid));
        shop.store.restore(whole.clone());
    }
}

#[tokio::test]
async fn a_revoked_key_stops_although_its_heir_does_not_open() {
    let shop = Shop::open().await;
    let ring = shop.ring().await;
    let revoked = shop.kid(KeyState::Active);
    shop.store.edit(&shop.kid(KeyState::Staged), |key| key.private = Some("v1:AAAA".to_owned()));
    shop.smith().revoke(&revoked, Reach::Key).await.unwrap();
    assert!(ring.confirm(&*shop.store).await.is_err());
    assert_eq!(ring.signing().err(), Some(NotConfirmed));
    assert!(set(&ring).keys.iter().all(|key| key.kid.as_str() != revoked));
}

#[tokio::test]
async fn a_private_half_is_sealed_in_the_store_and_destroyed_when_its_key_no_longer_signs() {
    let shop = Shop::open().await;
    let active = shop.kid(KeyState::Active);
    let sealed = shop.store.peek().keys[0].private.clone().unwrap();
    assert!(sealed.starts_with("v1:"), "{sealed}");
    shop.smith().rotate(Mode::Rules).await.unwrap();
    let old = shop.store.peek().keys.into_iter().find(|key| key.kid == active).unwrap();
    assert_eq!((old.state, old.private), (KeyState::Retiring, None));
}

// ── the job and the commands ────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn a_ring_lives_through_rotation_and_retirement_by_itself() {
    let shop = Shop::open().await;
    let job = shop.job().await;
    let (first, second) = (shop.kid(KeyState::Active), shop.kid(KeyState::Staged));
    let token = sign(&job.ring.signing().unwrap(), &shop.claims()).unwrap();
    shop.clock.advance(DAY * 30 - Duration::from_millis(1));
    job.tick().await.unwrap();
    assert_eq!(job.ring.generation(), 1);
    shop.clock.advance(Duration::from_millis(1));
    job.tick().await.unwrap();
    assert_eq!((job.ring.generation(), job.ring.signing().unwrap().kid()), (3, second.as_str()));

    let record = shop.store.peek().keys.into_iter().find(|key| key.kid == first).unwrap();
    let ends = lifecycle::safe_to_delete_at(&record, &shop.policy).unwrap();
    assert_eq!(ends.since(shop.clock.now()), Duration::from_secs(3_600 + 300 + 120));
    shop.clock.advance(ends.since(shop.clock.now()) - Duration::from_millis(1));
    job.tick().await.unwrap();
    let late = START.seconds();
    assert!(verifier().verify(&token, &job.ring.keys().unwrap(), late).is_ok());
    shop.clock.advance(Duration::from_millis(1));
    job.tick().await.unwrap();
    assert_eq!(job.ring.generation(), 4);
    assert!(verifier().verify(&token, &job.ring.keys().unwrap(), late).is_err());
}

#[tokio::test]
async fn bootstrap_makes_two_keys_once_however_many_replicas_start() {
    let shop = Shop::open().await;
    let before = shop.store.peek();
    assert_eq!((before.generation, before.keys.len()), (1, 2));
    shop.smith().bootstrap().await.unwrap();
    assert_eq!(shop.store.peek(), before);

    shop.store.restore(Ring::default());
    let (one, other) = (shop.smith(), shop.smith());
    let (a, b) = tokio::join!(one.bootstrap(), other.bootstrap());
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(shop.store.peek().keys.len(), 2);
}

#[tokio::test]
async fn the_first_rotation_needs_no_lead_and_the_second_does() {
    let shop = Shop::open().await;
    let (first, second) = (shop.kid(KeyState::Active), shop.kid(KeyState::Staged));
    shop.clock.advance(Duration::from_secs(1));
    let Rotated::Done { active, retiring, staged, may_refuse_for } =
        shop.smith().rotate(Mode::Rules).await.unwrap()
    else {
        panic!("refused");
    };
    assert_eq!((active, may_refuse_for), (second, Duration::ZERO));
    assert_eq!(retiring.unwrap().0, first);
    assert_eq!(staged, Some(shop.kid(KeyState::Staged)));
    let allowed = shop.clock.now().plus(shop.policy.lead);
    assert_eq!(shop.smith().rotate(Mode::Rules).await.unwrap(), Rotated::NotBefore(allowed));

    shop.clock.advance(Duration::from_secs(60));
    let Rotated::Done { may_refuse_for, .. } = shop.smith().rotate(Mode::Force).await.unwrap() else {
        panic!("refused");
    };
    assert_eq!(may_refuse_for, shop.policy.reach() - Duration::from_secs(60));
}

#[tokio::test]
async fn a_rotation_survives_conflicts_and_reports_endless_ones() {
    let shop = Shop::open().await;
    shop.store.conflicts(3);
    assert!(matches!(shop.smith().rotate(Mode::Rules).await, Ok(Rotated::Done { .. })));
    shop.store.conflicts(1_000);
    assert!(matches!(shop.smith().rotate(Mode::Force).await, Err(SigningError::Contended)));
}

#[tokio::test]
async fn two_rotations_at_once_are_one() {
    let shop = Shop::open().await;
    let (first, second) = (shop.kid(KeyState::Active), shop.kid(KeyState::Staged));
    let (one, other) = (shop.smith(), shop.smith());
    let (a, b) = tokio::join!(one.rotate(Mode::Force), other.rotate(Mode::Force));
    assert_eq!(shop.kid(KeyState::Active), second);
    for done in [a.unwrap(), b.unwrap()] {
        let Rotated::Done { active, retiring, .. } = done else { panic!("refused") };
        let until = START.plus(shop.policy.aftermath(LIFETIME));
        assert_eq!((active, retiring), (second.clone(), Some((first.clone(), until))));
    }
    let staged = shop.store.peek().keys.iter().filter(|key| key.state == KeyState::Staged).count();
    assert_eq!(staged, 1);
}

#[tokio::test]
async fn a_rotation_that_dies_before_staging_is_healed_by_the_next_tick() {
    let shop = Shop::open().await;
    let job = shop.job().await;
    shop.store.crash(Some(Crash::Before(1)));
    let done = shop.smith().rotate(Mode::Rules).await.unwrap();
    assert!(matches!(done, Rotated::Done { staged: None, .. }));
    shop.store.crash(None);
    job.tick().await.unwrap();
    assert!(lifecycle::next_staged(&shop.store.peek()).is_some());
}

#[tokio::test]
async fn a_revoked_key_is_gone_its_tokens_are_refused_and_it_never_comes_back() {
    let shop = Shop::open().await;
    let ring = shop.ring().await;
    let revoked = shop.smith().import(&file("pkcs8"), None, None).await.unwrap().kid;
    let (active, staged) = (shop.kid(KeyState::Active), shop.kid(KeyState::Staged));
    let token = sign(&ring.signing().unwrap(), &shop.claims()).unwrap();
    let done = shop.smith().revoke(&active, Reach::Key).await.unwrap();
    assert_eq!((done.kids, done.active, done.fresh), (vec![active.clone()], Some(staged), vec![]));
    ring.confirm(&*shop.store).await.unwrap();
    let refused = verifier().verify(&token, &ring.keys().unwrap(), shop.claims().iat).err().unwrap();
    assert!(format!("{refused:?}").to_lowercase().contains("revoked"), "{refused:?}");
    assert!(shop.smith().revoke(&active, Reach::Key).await.is_err());

    let done = shop.smith().revoke(&revoked, Reach::Key).await.unwrap();
    assert_eq!(done.active, None);
    assert_eq!(done.fresh, vec![shop.kid(KeyState::Staged)]);
    let again = shop.smith().import(&file("pkcs1"), None, None).await;
    assert!(again.err().unwrap().to_string().contains("never comes back"));
}

#[tokio::test]
async fn revoking_all_replaces_both_keys_in_one_step() {
    let shop = Shop::open().await;
    let before = shop.store.peek();
    let done = shop.smith().revoke(&shop.kid(KeyState::Active), Reach::Staged).await.unwrap();
    assert_eq!((done.kids.len(), done.fresh.len()), (2, 2));
    let after = shop.store.peek();
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(done.active, Some(shop.kid(KeyState::Active)));
    assert!(before.keys.iter().all(|key| done.kids.contains(&key.kid)));
    // The fresh staged key is no twin of a first start: it waits for its lead.
    let staged = lifecycle::next_staged(&after).unwrap();
    assert!(lifecycle::earliest_activation(staged, &after, &shop.policy) > shop.clock.now());
    assert!(shop.ring().await.signing().is_ok());
}

#[tokio::test]
async fn an_imported_key_signs_in_its_turn() {
    let shop = Shop::open().await;
    let imported = shop.smith().import(&file("encrypted"), Some("correct-horse"), None).await.unwrap();
    assert_eq!(imported.state, KeyState::Staged);
    assert!(imported.until > shop.clock.now());
    let twice = shop.smith().import(&file("pkcs8"), None, None).await;
    assert!(twice.err().unwrap().to_string().contains("already"));
    shop.smith().rotate(Mode::Rules).await.unwrap();
    shop.clock.advance(shop.policy.lead + Duration::from_secs(1));
    shop.smith().rotate(Mode::Rules).await.unwrap();
    let ring = shop.ring().await;
    assert_eq!(ring.signing().unwrap().kid(), imported.kid);
    let token = sign(&ring.signing().unwrap(), &shop.claims()).unwrap();
    assert!(verifier().verify(&token, &ring.keys().unwrap(), shop.claims().iat).is_ok());
    let pem = shop.smith().export_public(&imported.kid, Format::Pem).await.unwrap();
    assert_eq!(pem, file("spki"));
    let jwk = shop.smith().export_public(&imported.kid, Format::Jwk).await.unwrap();
    assert!(jwk.contains(&imported.kid) && !jwk.contains("\"d\""));
}

#[tokio::test]
async fn a_verify_only_key_is_published_until_its_end_without_its_private_half() {
    let shop = Shop::open().await;
    let job = shop.job().await;
    let until = shop.clock.now().plus(DAY);
    assert!(shop.smith().import(&file("spki-8192"), None, None).await.is_err());
    assert!(shop.smith().import(&file("spki-8192"), None, Some(shop.clock.now())).await.is_err());
    let public = shop.smith().import(&file("spki-8192"), None, Some(until)).await.unwrap();
    let private = shop.smith().import(&file("pkcs8"), None, Some(until)).await.unwrap();
    job.tick().await.unwrap();
    let published: Vec<_> = set(&job.ring).keys.into_iter().map(|key| key.kid.to_string()).collect();
    assert!(published.contains(&public.kid) && published.contains(&private.kid));
    assert!(shop.store.peek().keys.iter().all(|key| key.kid != private.kid || key.private.is_none()));
    shop.clock.advance(DAY);
    job.tick().await.unwrap();
    assert_eq!(set(&job.ring).keys.len(), 2);
}

#[tokio::test]
async fn the_list_says_what_comes_next_and_when() {
    let shop = Shop::open().await;
    shop.smith().rotate(Mode::Rules).await.unwrap();
    let rows = shop.smith().list().await.unwrap();
    let due = shop.clock.now().plus(DAY * 30);
    let states: Vec<_> = rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [KeyState::Active, KeyState::Staged, KeyState::Retiring]);
    assert_eq!(rows[0].next, Some((KeyState::Retiring, due)));
    assert_eq!(rows[1].next, Some((KeyState::Active, due)));
    let end = shop.clock.now().plus(shop.policy.aftermath(LIFETIME));
    assert_eq!(rows[2].next, Some((KeyState::Retired, end)));
    assert_eq!(rows[2].safe_to_delete_at, Some(end));
    assert_eq!(rows[0].safe_to_delete_at, None);
}

#[tokio::test]
async fn the_running_job_follows_a_command_within_a_second_and_stops_when_told() {
    let mut shop = Shop::open().await;
    shop.clock = Clock::system();
    let job = Arc::new(shop.job().await);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn({
        let job = Arc::clone(&job);
        async move { job.run(stopped).await }
    });
    let before = job.ring.generation();
    shop.smith().rotate(Mode::Force).await.unwrap();
    let wanted = shop.store.peek().generation;
    assert!(wanted > before);
    let watch = crate::clock::Stopwatch::start();
    while job.ring.generation() < wanted {
        assert!(watch.elapsed() < Duration::from_secs(2), "it did not follow");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[test]
fn the_shortest_lead_that_the_configuration_takes_is_the_reach() {
    let reach = policy().reach().as_secs();
    assert!(Config::from_text(&format!("rotation.lead = \"{reach}s\"")).is_ok());
    let refused = Config::from_text(&format!("rotation.lead = \"{}s\"", reach - 1)).err().unwrap();
    assert!(refused.to_string().contains("rotation.lead"), "{refused}");
}

#[test]
fn rotation_off_stages_and_retires_but_never_activates() {
    let policy = Policy { every: None, ..policy() };
    let mut active = super::key::fake("a", 60, START);
    active.state = KeyState::Active;
    active.activated_at = Some(START);
    let mut ring = Ring { generation: 1, keys: vec![active] };
    let later = START.plus(DAY * 1_000);
    assert_eq!(plan(later, &ring, &policy, Readiness::Clock), Some(Plan::Stage));
    ring.keys.push(super::key::fake("b", 60, START));
    assert_eq!(plan(later, &ring, &policy, Readiness::Clock), None);
    assert_eq!(lifecycle::next_transition(&ring.keys[0], &ring, &policy), None);
}

// ── PEM ─────────────────────────────────────────────────────────────────────────────────────────────────────────

fn file(name: &str) -> String {
    let path = format!("{}/src/signing/testdata/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn refusal(text: &str, passphrase: Option<&str>) -> PemError {
    pem::read(text, passphrase).err().unwrap()
}

#[test]
fn every_shape_of_one_key_reads_as_that_key() {
    let expected = match pem::read(&file("spki"), None).ok().unwrap() {
        PemKey::Public(jwk) => jwk,
        PemKey::Private(..) => panic!("public"),
    };
    let pass = Some("correct-horse");
    for name in ["pkcs1", "pkcs8", "encrypted", "encrypted-scrypt"] {
        match pem::read(&file(name), pass) {
            Ok(PemKey::Private(pkcs8, jwk)) => {
                assert_eq!(jwk, expected, "{name}");
                let key = PrivateKey::from_pkcs8(&pkcs8).ok().unwrap();
                assert_eq!(key.public().ok().unwrap(), expected, "{name}");
            }
            Ok(PemKey::Public(_)) => panic!("{name} is private"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert!(matches!(pem::read(&file("pkcs1-public"), None), Ok(PemKey::Public(jwk)) if jwk == expected));
    let windows = format!("Bag Attributes\r\n{}", file("pkcs8").replace('\n', "\r\n"));
    assert!(matches!(pem::read(&windows, None), Ok(PemKey::Private(_, jwk)) if jwk == expected));
    assert_eq!(pem::write_public(&serde_json::to_string(&expected).unwrap()), Ok(file("spki")));
}

#[test]
fn what_cannot_be_a_signing_key_is_refused_in_words() {
    assert_eq!(refusal(&file("encrypted"), None), PemError::PassphraseNeeded);
    assert_eq!(refusal(&file("encrypted"), Some("wrong")), PemError::Passphrase);
    assert_eq!(refusal(&file("encrypted-legacy"), Some("correct-horse")), PemError::Encryption);
    assert_eq!(refusal(&file("short"), None), PemError::Size { bits: 1024, most: 4096 });
    assert_eq!(refusal(&file("long"), None), PemError::Size { bits: 8192, most: 4096 });
    assert_eq!(refusal(&file("exponent-3"), None), PemError::Exponent);
    assert_eq!(refusal(&file("ec"), None), PemError::NotRsa);
    assert_eq!(refusal(&file("pss"), None), PemError::NotRsa);
    assert!(refusal(&file("certificate"), None).to_string().contains("openssl x509"));
    assert_eq!(refusal(&(file("pkcs8") + &file("pkcs1")), None), PemError::SeveralBlocks);
    for text in [
        "",
        "no key",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----",
    ] {
        assert_eq!(refusal(text, None), PemError::NoBlock, "{text}");
    }
    assert_eq!(refusal(&"-----BEGIN ".repeat(100_000), None), PemError::NoBlock);
}

/// One modulo every small prime: what verifiers take for a key of the broken generator.
#[test]
fn a_key_that_can_be_factored_is_refused() {
    use rsa::BigUint;
    let is_prime = |n: &u32| (2..*n).all(|divisor| !n.is_multiple_of(divisor));
    let primorial: BigUint = (2..=167).filter(is_prime).map(BigUint::from).product();
    let modulus = (BigUint::from(3_u32) << 2046) / &primorial * primorial + 1_u32;
    let jwk =
        keyward_verifier::Jwk::rsa(&modulus.to_bytes_be(), &[1, 0, 1], keyward_verifier::Algorithm::Rs256);
    let text = pem::write_public(&serde_json::to_string(&jwk).unwrap()).unwrap();
    assert_eq!(refusal(&text, None), PemError::Weak);
}

#[test]
fn a_private_key_whose_numbers_disagree_is_refused() {
    let text = file("pkcs1");
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    for position in [300, 600, 700, 1_150] {
        let mut broken = der.clone();
        broken[position] ^= 1;
        let broken = base64::engine::general_purpose::STANDARD.encode(broken);
        let text = format!("-----BEGIN RSA PRIVATE KEY-----\n{broken}\n-----END RSA PRIVATE KEY-----\n");
        match pem::read(&text, None) {
            Err(error) => assert!(matches!(error, PemError::Inconsistent | PemError::NotRsa), "{error}"),
            // The redundant CRT numbers are computed anew.
            Ok(PemKey::Private(pkcs8, _)) => assert!(PrivateKey::from_pkcs8(&pkcs8).is_ok()),
            Ok(PemKey::Public(_)) => panic!("private"),
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(-----BEGIN (RSA |ENCRYPTED |)(PRIVATE|PUBLIC) KEY-----)?[A-Za-z0-9+/=\n]{0,200}(-----END (RSA |ENCRYPTED |)(PRIVATE|PUBLIC) KEY-----)?") {
        let _ = pem::read(&text, Some("x"));
    }
}
