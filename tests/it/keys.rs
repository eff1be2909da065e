//! The life of signing keys as verifiers and clients meet it: rotation, revocation, a lost lease.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, header};
use keyward::clock::Timestamp;
use keyward::signing::{Mode, Reach, Rotated};
use keyward::store::{KeyState, Sessions as _, SigningKeys as _};
use keyward_verifier::{KeySet, Reason, Refusal, Verifier};
use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use crate::app::{Answer, PASSWORD, TestApp, Tokens};
use crate::process::Place;

const JWKS: &str = "/.well-known/jwks.json";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

impl TestApp {
    async fn set(&self) -> KeySet {
        KeySet::parse(&self.get(JWKS, None).await.expect(200).body).unwrap()
    }

    async fn kids(&self) -> Vec<String> {
        let set = self.get(JWKS, None).await.expect(200).json();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    fn verifier(&self) -> Verifier {
        let config = &self.app.config;
        Verifier::builder()
            .issuer(config.issuer.clone())
            .audience(config.audience.clone())
            .rs256()
            .leeway(Duration::ZERO)
            .build()
            .unwrap()
    }

    fn check(&self, tokens: &Tokens, set: &KeySet) -> Result<(), Refusal> {
        self.verifier().verify(&tokens.access, set, self.clock.now().seconds()).map(drop)
    }

    fn expired(&self, tokens: &Tokens) -> bool {
        tokens.claims()["exp"].as_u64().unwrap() <= self.clock.now().seconds()
    }

    /// The kids in one state, in the order of their publication.
    async fn in_state(&self, state: KeyState) -> Vec<String> {
        let mut keys = self.app.grants.store.ring().await.unwrap().keys;
        keys.retain(|key| key.state == state);
        keys.sort_by(|a, b| (a.staged_at, &a.kid).cmp(&(b.staged_at, &b.kid)));
        keys.into_iter().map(|key| key.kid).collect()
    }

    async fn tick(&self) {
        self.app.signing.tick().await.unwrap();
    }
}

#[tokio::test]
async fn through_months_of_the_shipped_schedule_every_unexpired_token_verifies() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let (mut tokens, mut signers) = (it.login("alice").await, Vec::new());
    for day in 0..100 {
        // A verifier that fetched the set just before max_age ran out.
        let set = it.set().await;
        it.clock.advance(Duration::from_secs(300));
        it.tick().await;
        let fresh = match day % 80 {
            79 => it.login("alice").await,
            _ => Tokens::of(&it.refresh(&tokens.refresh).await.expect(200)),
        };
        assert_eq!(it.check(&fresh, &set), Ok(()), "day {day}");
        if !it.expired(&tokens) {
            assert_eq!(it.check(&tokens, &it.set().await), Ok(()), "day {day}");
        }
        it.get("/v1/me", Some(&fresh.access)).await.expect(200);
        if signers.last() != Some(&fresh.kid()) {
            signers.push(fresh.kid());
        }
        tokens = fresh;
        it.clock.advance(DAY - Duration::from_secs(300));
        it.tick().await;
    }
    assert_eq!(signers.len(), 4, "every thirty days another key signs: {signers:?}");
    assert_eq!(it.in_state(KeyState::Retired).await.len(), 3);
    let destroyed = it.app.grants.store.ring().await.unwrap().keys;
    let destroyed = destroyed.iter().filter(|key| key.private.is_none()).count();
    assert_eq!(destroyed, 3, "what no longer signs has no private part");
}

/// Rotating every ten minutes, looked at in steps of `max_age`, by two replicas: the tightest timing the rules allow.
#[tokio::test]
async fn a_verifier_that_refreshes_within_max_age_never_meets_an_unknown_key() {
    let seconds = Duration::from_secs;
    let it = TestApp::with(|config| {
        let rotation = &mut config.rotation;
        rotation.jwks_max_age = seconds(30);
        rotation.lease = seconds(60);
        rotation.verifier_poll = seconds(10);
        rotation.clock_skew = seconds(5);
        rotation.lead = seconds(135);
        rotation.every = Some(seconds(600));
    })
    .await;
    let other = it.replica(2).await;
    it.add_user("alice").await;
    let mut newest = it.login("alice").await;
    let mut given = vec![newest.clone()];
    let mut signers = vec![newest.kid()];
    for step in 0..180 {
        let stale = it.set().await;
        it.clock.advance(seconds(30));
        // The replicas take turns at being late: one may sign with a key that the other has just put away.
        let (early, late) = if step % 2 == 0 { (&it, &other) } else { (&other, &it) };
        early.tick().await;
        newest = Tokens::of(&late.refresh(&newest.refresh).await.expect(200));
        assert_eq!(it.check(&newest, &stale), Ok(()), "step {step}");
        late.tick().await;
        given.retain(|tokens| !it.expired(tokens));
        given.push(newest.clone());
        let set = other.set().await;
        for tokens in &given {
            assert_eq!(it.check(tokens, &set), Ok(()), "step {step}");
        }
        assert_eq!(it.get(JWKS, None).await.body, other.get(JWKS, None).await.body, "step {step}");
        if !signers.contains(&newest.kid()) {
            signers.push(newest.kid());
        }
    }
    assert!((8..=10).contains(&signers.len()), "{signers:?}");
}

#[tokio::test]
async fn the_jwks_names_active_then_staged_then_retiring_keys_and_is_cached_by_its_etag() {
    let it = TestApp::start().await;
    let other = it.replica(2).await;
    it.add_user("alice").await;
    let if_none_match = async |tag: &str| -> Answer {
        it.send(Request::get(JWKS).header(header::IF_NONE_MATCH, tag).body(Bytes::new()).unwrap()).await
    };
    let mut tags: Vec<String> = Vec::new();
    for round in 0..3 {
        let answer = it.get(JWKS, None).await.expect(200);
        let tag = answer.headers[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(answer.headers[header::CACHE_CONTROL], "public, max-age=300");
        assert_eq!(other.get(JWKS, None).await.headers[header::ETAG], tag.as_str());
        let states = [KeyState::Active, KeyState::Staged, KeyState::Retiring];
        let mut order = Vec::new();
        for state in states {
            order.extend(it.in_state(state).await);
        }
        assert_eq!(it.kids().await, order, "round {round}");
        assert_eq!(order.len(), 2 + round);
        assert_eq!(it.login("alice").await.kid(), order[0]);
        for matching in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
            let unchanged = if_none_match(&matching).await.expect(304);
            assert!(unchanged.body.is_empty());
            assert_eq!(unchanged.headers[header::ETAG], tag.as_str());
        }
        for old in &tags {
            if_none_match(old).await.expect(200);
        }
        tags.push(tag);
        it.keysmith().rotate(Mode::Force).await.unwrap();
        it.wind(MINUTE).await;
        other.wind(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn an_operator_cannot_rotate_before_the_staged_key_was_published_for_its_lead() {
    let it = TestApp::start().await;
    it.clock.advance(HOUR);
    it.tick().await;
    let first = it.keysmith().rotate(Mode::Rules).await.unwrap();
    assert!(matches!(first, Rotated::Done { .. }), "the first two keys were born together: {first:?}");
    let again = it.keysmith().rotate(Mode::Rules).await.unwrap();
    assert_eq!(again, Rotated::NotBefore(it.clock.now().plus(DAY)));
}

#[tokio::test]
async fn a_replica_that_lost_its_lease_neither_signs_nor_publishes_nor_calls_itself_ready() {
    let it = TestApp::start().await;
    let alice = it.add_user("alice").await;
    let tokens = it.login("alice").await;
    it.clock.advance(HOUR - Duration::from_millis(1));
    it.get("/readyz", None).await.expect(200);
    it.get(JWKS, None).await.expect(200);
    it.clock.advance(Duration::from_millis(1));
    for path in [JWKS, "/readyz"] {
        assert_eq!(it.get(path, None).await.expect(503).problem(), "unavailable", "{path}");
    }
    assert_eq!(it.refresh(&tokens.refresh).await.expect(503).problem(), "unavailable");
    it.get("/v1/me", Some(&tokens.access)).await.expect(503);
    let login = json!({ "identifier": "alice", "password": PASSWORD });
    assert_eq!(it.post("/v1/login", &login).await.expect(503).problem(), "unavailable");
    let sessions = it.app.grants.store.sessions_of(alice.id, it.clock.now(), 10).await.unwrap();
    assert_eq!(sessions.len(), 1, "no session begins that nobody hears of");
    it.get("/livez", None).await.expect(200);

    it.tick().await;
    it.get("/readyz", None).await.expect(200);
    it.get(JWKS, None).await.expect(200);
    let next = Tokens::of(&it.refresh(&tokens.refresh).await.expect(200));
    it.get("/v1/me", Some(&next.access)).await.expect(200);
    assert_eq!(it.refresh(&tokens.refresh).await.expect(200).text("access_token"), next.access);
}

#[tokio::test]
async fn without_its_database_a_replica_still_publishes_its_keys_and_fails_the_rest_in_one_way() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let tokens = it.login("alice").await;
    let published = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", JWKS];
    let before = it.app.grants.store.calls();
    for path in published {
        it.get(path, None).await.expect(200);
    }
    assert_eq!(it.app.grants.store.calls(), before, "no database on the way");

    it.app.grants.store.close().await;
    for path in published {
        it.get(path, None).await.expect(200);
    }
    let login = json!({ "identifier": "alice", "password": PASSWORD });
    let answers = [
        it.refresh(&tokens.refresh).await,
        it.post("/v1/login", &login).await,
        it.get("/v1/me", Some(&tokens.access)).await,
        it.post("/v1/logout", &json!({ "refresh_token": tokens.refresh })).await,
        it.get("/readyz", None).await,
    ];
    for answer in answers {
        assert_eq!(answer.clone().expect(503).problem(), "unavailable");
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(
            !body.contains("database") && !body.contains("pool"),
            "the cause is in the log alone: {body}"
        );
    }
    it.get("/livez", None).await.expect(200);
    assert!(it.app.signing.tick().await.is_err());
}

#[tokio::test]
async fn a_revoked_key_is_refused_by_every_replica_that_follows_and_never_comes_back() {
    let it = TestApp::start().await;
    let other = it.replica(2).await;
    it.add_user("alice").await;
    let (before, staged) = (it.login("alice").await, it.kids().await[1].clone());
    let old_set = it.set().await;
    it.keysmith().revoke(&before.kid(), Reach::Key).await.unwrap();
    it.get("/v1/me", Some(&before.access)).await.expect(200);
    it.wind(Duration::ZERO).await;
    assert_eq!(it.get("/v1/me", Some(&before.access)).await.expect(401).problem(), "invalid-token");
    other.get("/v1/me", Some(&before.access)).await.expect(200);
    other.wind(Duration::ZERO).await;
    other.get("/v1/me", Some(&before.access)).await.expect(401);

    let own = it.app.grants.ring.keys().unwrap();
    assert_eq!(it.check(&before, &own).unwrap_err().reason, Reason::KidRevoked);
    assert_eq!(it.check(&before, &it.set().await).unwrap_err().reason, Reason::KidUnknown);
    let after = Tokens::of(&other.refresh(&before.refresh).await.expect(200));
    assert_eq!((after.kid(), &after.refresh), (staged, &before.refresh), "the staged key took over");
    assert_eq!(it.check(&after, &old_set), Ok(()), "it was published all along");
    it.get("/v1/me", Some(&after.access)).await.expect(200);

    it.keysmith().revoke(&after.kid(), Reach::Staged).await.unwrap();
    it.wind(Duration::ZERO).await;
    let kids = it.kids().await;
    assert_eq!(kids.len(), 2);
    let restarted = it.replica(3).await;
    for revoked in it.in_state(KeyState::Revoked).await {
        assert!(!kids.contains(&revoked));
    }
    assert_eq!(restarted.kids().await, kids);
    for tokens in [&before, &after] {
        restarted.get("/v1/me", Some(&tokens.access)).await.expect(401);
    }
    it.clock.advance(DAY * 40);
    it.tick().await;
    assert_eq!(it.in_state(KeyState::Revoked).await.len(), 3, "tombstones stay");
}

#[tokio::test]
async fn a_key_stays_published_as_long_as_the_longest_token_that_it_signed() {
    let long = 3_600;
    let it = TestApp::start().await;
    it.add_user("alice").await;
    it.add_client("patient", &[], Some(long)).await;
    let login = json!({ "identifier": "alice", "password": PASSWORD, "client_id": "patient" });
    let of = |state: KeyState| it.in_state(state);

    // The first key signs for ordinary clients alone, the second for the patient one as well.
    let plain = it.login("alice").await.kid();
    it.keysmith().rotate(Mode::Force).await.unwrap();
    it.wind(Duration::ZERO).await;
    let tokens = Tokens::of(&it.post("/v1/login", &login).await.expect(200));
    let lifetime = tokens.claims()["exp"].as_u64().unwrap() - tokens.claims()["iat"].as_u64().unwrap();
    assert!((3_420..=3_600).contains(&lifetime), "{lifetime}");
    let ring = it.app.grants.store.ring().await.unwrap();
    let recorded = |kid: &str| ring.keys.iter().find(|key| key.kid == kid).unwrap().max_lifetime;
    assert_eq!((recorded(&plain), recorded(&tokens.kid())), (600, long), "durable before the answer left");
    it.keysmith().rotate(Mode::Force).await.unwrap();
    it.wind(Duration::ZERO).await;
    assert_eq!(of(KeyState::Retiring).await.len(), 2);

    let margin = it.app.config.rotation.lease + it.app.config.rotation.clock_skew * 2;
    it.clock.advance(margin + Duration::from_secs(600) - Duration::from_millis(1));
    it.tick().await;
    assert_eq!(of(KeyState::Retiring).await.len(), 2);
    it.clock.advance(Duration::from_millis(1));
    it.tick().await;
    assert_eq!(of(KeyState::Retiring).await, [tokens.kid()]);
    assert!(!it.kids().await.contains(&plain));
    it.clock.advance(Duration::from_secs(3_000) - Duration::from_millis(1));
    it.tick().await;
    assert!(it.kids().await.contains(&tokens.kid()));
    it.clock.advance(Duration::from_millis(1));
    it.tick().await;
    assert!(!it.kids().await.contains(&tokens.kid()));
}

#[tokio::test]
async fn an_hour_long_token_verifies_to_its_last_second_after_its_key_was_put_away() {
    let it = TestApp::with(|config| config.access.jitter_percent = 0).await;
    it.add_user("alice").await;
    it.add_client("patient", &[], Some(3_600)).await;
    let login = json!({ "identifier": "alice", "password": PASSWORD, "client_id": "patient" });
    let tokens = Tokens::of(&it.post("/v1/login", &login).await.expect(200));
    it.keysmith().rotate(Mode::Force).await.unwrap();
    for _ in 0..59 {
        it.clock.advance(MINUTE);
        it.tick().await;
        assert_eq!(it.check(&tokens, &it.set().await), Ok(()));
    }
    it.clock.advance(Duration::from_secs(59));
    assert_eq!(it.check(&tokens, &it.set().await), Ok(()));
    it.clock.advance(Duration::from_secs(1));
    assert_eq!(it.check(&tokens, &it.set().await).unwrap_err().reason, Reason::Expired);
}

async fn one_token_of(bits: u32) {
    let it = TestApp::with(|config| config.signing.rsa_bits = bits).await;
    it.add_user("alice").await;
    let tokens = it.login("alice").await;
    assert_eq!(it.check(&tokens, &it.set().await), Ok(()));
    let signature = tokens.access.rsplit('.').next().unwrap();
    assert_eq!(signature.len(), (bits as usize / 8 * 4).div_ceil(3), "base64url of {bits} bits");
    it.get("/v1/me", Some(&tokens.access)).await.expect(200);
}

#[tokio::test]
async fn keys_of_3072_bits_sign_when_the_configuration_says_so() {
    one_token_of(3_072).await;
}

#[tokio::test]
async fn keys_of_4096_bits_sign_when_the_configuration_says_so() {
    one_token_of(4_096).await;
}

#[tokio::test]
async fn keys_of_another_size_take_over_when_the_configuration_changes() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let old = it.login("alice").await;
    let mut config = keyward::config::Config::clone(&it.app.config);
    config.signing.rsa_bits = 3_072;
    let larger = TestApp::at(it.dir.clone(), config, it.clock.clone(), 2).await;
    larger.keysmith().rotate(Mode::Force).await.unwrap();
    larger.keysmith().rotate(Mode::Force).await.unwrap();
    larger.wind(Duration::ZERO).await;
    let new = larger.login("alice").await;
    assert!(new.access.len() > old.access.len() + 100);
    for tokens in [&old, &new] {
        assert_eq!(larger.check(tokens, &larger.set().await), Ok(()));
    }
    it.wind(Duration::ZERO).await;
    it.get("/v1/me", Some(&new.access)).await.expect(200);
    assert!(it.app.grants.ring.confirmed_at() > Timestamp(0));
}

/// What somebody does who can write to the database but has no master key.
#[test]
fn a_server_does_not_start_on_a_swapped_key_until_that_key_is_revoked() {
    let place = Place::prepared();
    let listed = place.json(&["keys", "list", "--json"]);
    let kid = listed.as_array().unwrap().iter().find(|key| key["state"] == "staged").unwrap()["kid"].clone();
    let kid = kid.as_str().unwrap();
    let swap = format!(
        "UPDATE signing_keys SET public_jwk = replace((SELECT public_jwk FROM signing_keys WHERE kid <> '{kid}'),
            (SELECT kid FROM signing_keys WHERE kid <> '{kid}'), '{kid}') WHERE kid = '{kid}'"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        sqlx::any::install_default_drivers();
        let address = format!("sqlite://{}", place.path("data/keyward.db").display());
        let mut connection = AnyConnection::connect(&address).await.unwrap();
        let done = sqlx::raw_sql(AssertSqlSafe(swap)).execute(&mut connection).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
        connection.close().await.unwrap();
    });

    let refused = place.try_serve(&[], &[]).err().unwrap().code(1);
    for word in [kid, "thumbprint", "`keyward keys revoke`"] {
        assert!(refused.err.contains(word), "{refused:?}");
    }
    place.run(&["keys", "export", "--public", kid]).refused(1, &[kid, "thumbprint"]);
    place.run(&["keys", "revoke", kid, "--compromised"]).ok();
    let server = place.serve();
    assert!(!server.kids().contains(&kid.to_owned()));
    server.login("alice");
}
