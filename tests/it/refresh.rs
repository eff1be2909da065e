//! The outcome table of refresh tokens, and all that may change between a token and its retry.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use keyward::audit::Kind;
use keyward::config::Config;
use keyward::secrets::{REFRESH, rotate_secret};
use keyward::signing::Mode;
use keyward::store::{Accounts as _, EndReason, PasswordChange, Session, Sessions as _};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::app::{Answer, TestApp, Tokens};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const GRACE: Duration = Duration::from_secs(10);

impl TestApp {
    async fn stored(&self, session: Uuid) -> Session {
        self.app.grants.store.session(session).await.unwrap().unwrap()
    }

    /// The genuine token of a session at any counter.
    async fn token_at(&self, session: Uuid, counter: u32) -> String {
        let (keys, row) = (self.app.grants.refresh_keys.now(), self.stored(session).await);
        keys.make(row.key_id, session, counter, row.client).unwrap().to_text().to_string()
    }

    /// A session at counter 3 whose last rotation is just now, with the answer that rotation gave.
    async fn third(&self, name: &str) -> (Tokens, Answer) {
        let first = self.login(name).await;
        self.wind(MINUTE).await;
        let second = self.refresh(&first.refresh).await.expect(200).text("refresh_token");
        self.wind(MINUTE).await;
        let answer = self.refresh(&second).await.expect(200);
        (Tokens::of(&answer), answer)
    }

    async fn alive(&self, session: Uuid) -> bool {
        self.app.grants.store.live_session(session, self.clock.now()).await.unwrap().is_some()
    }
}

fn bytes_of(refresh: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(refresh.strip_prefix("kwr1.").unwrap()).unwrap()
}

fn token_of(bytes: &[u8]) -> String {
    format!("kwr1.{}", URL_SAFE_NO_PAD.encode(bytes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_presenters_of_one_token_at_two_replicas_get_the_same_bytes() {
    let it = Arc::new(TestApp::start().await);
    let other = Arc::new(it.replica(2).await);
    it.add_user("alice").await;
    let first = it.login("alice").await;
    let mut token = first.refresh.clone();
    for round in 2..5 {
        it.wind(MINUTE).await;
        other.wind(Duration::ZERO).await;
        let mut presenters = JoinSet::new();
        for number in 0..64 {
            let replica = if number % 2 == 0 { it.clone() } else { other.clone() };
            let token = token.clone();
            presenters.spawn(async move { replica.refresh(&token).await.expect(200).body });
        }
        let bodies: BTreeSet<_> = presenters.join_all().await.into_iter().collect();
        assert_eq!(bodies.len(), 1, "round {round}");
        assert_eq!(it.stored(first.session).await.counter, round);
        let body: serde_json::Value = serde_json::from_slice(bodies.first().unwrap()).unwrap();
        token = body["refresh_token"].as_str().unwrap().to_owned();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presenters_who_meet_a_rotation_of_keys_all_get_the_same_refresh_token() {
    let it = Arc::new(TestApp::start().await);
    it.add_user("alice").await;
    let first = it.login("alice").await;
    it.wind(MINUTE).await;
    let mut presenters = JoinSet::new();
    for number in 0..64 {
        let (it, token) = (it.clone(), first.refresh.clone());
        presenters.spawn(async move {
            if number % 16 == 8 {
                it.keysmith().rotate(Mode::Force).await.unwrap();
                it.wind(Duration::ZERO).await;
            }
            let tokens = Tokens::of(&it.refresh(&token).await.expect(200));
            it.get("/v1/me", Some(&tokens.access)).await.expect(200);
            (tokens.refresh.clone(), tokens.claims().to_string())
        });
    }
    let given: BTreeSet<_> = presenters.join_all().await.into_iter().collect();
    assert_eq!(given.len(), 1, "{given:?}");
    assert_eq!(it.stored(first.session).await.counter, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_with_a_spent_token_ends_the_session_once() {
    let it = Arc::new(TestApp::start().await);
    let other = Arc::new(it.replica(2).await);
    it.add_user("alice").await;
    let (third, _) = it.third("alice").await;
    other.wind(Duration::ZERO).await;
    let spent = it.token_at(third.session, 1).await;
    let mut crowd = JoinSet::new();
    for number in 0..32 {
        let replica = if number % 2 == 0 { it.clone() } else { other.clone() };
        let token = spent.clone();
        crowd.spawn(async move { replica.refresh(&token).await.expect(401).problem() });
    }
    assert!(crowd.join_all().await.iter().all(|problem| problem == "refresh-token-reused"));
    assert_eq!(it.audited(Kind::RefreshReused).await, 1);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    Same,
    Advanced,
    Reused,
    Healed,
}

#[tokio::test]
async fn every_cell_of_the_outcome_table_holds() {
    use Expected::{Advanced, Healed, Reused, Same};
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let short = GRACE - Duration::from_millis(1);
    for (presented, wait, expected) in [
        (3, Duration::ZERO, Same),
        (3, short, Same),
        (3, GRACE, Advanced),
        (3, DAY, Advanced),
        (2, Duration::ZERO, Same),
        (2, short, Same),
        (2, GRACE, Reused),
        (2, DAY, Reused),
        (1, Duration::ZERO, Reused),
        (1, short, Reused),
        (1, GRACE, Reused),
        (4, Duration::ZERO, Healed),
        (4, GRACE, Healed),
        (9, short, Healed),
        (u32::MAX, DAY, Healed),
    ] {
        let cell = format!("counter {presented} of 3 after {wait:?}");
        let (third, answer) = it.third("alice").await;
        let token = it.token_at(third.session, presented).await;
        it.wind(wait).await;
        let healed = it.audited(Kind::RefreshHealed).await;
        let given = it.refresh(&token).await;
        let row = it.stored(third.session).await;
        match expected {
            Same => {
                assert_eq!(given.expect(200).body, answer.body, "{cell}");
                assert_eq!(row.counter, 3, "{cell}");
            }
            Advanced => {
                let given = Tokens::of(&given.expect(200));
                assert_eq!(given.refresh, it.token_at(third.session, 4).await, "{cell}");
                assert_ne!(given.access, third.access, "{cell}");
                assert_eq!(row.counter, 4, "{cell}");
            }
            Reused => {
                assert_eq!(given.expect(401).problem(), "refresh-token-reused", "{cell}");
                assert_eq!(row.ended.map(|(_, why)| why), Some(EndReason::Reuse), "{cell}");
            }
            Healed => {
                assert_eq!(given.expect(200).text("refresh_token"), token, "{cell}");
                assert_eq!(row.counter, presented, "{cell}");
                assert_eq!(it.audited(Kind::RefreshHealed).await, healed + 1, "{cell}");
            }
        }
        assert_eq!(it.alive(third.session).await, expected != Reused, "{cell}");
    }
}

#[tokio::test]
async fn a_spent_token_ends_its_session_for_good_and_is_audited_once() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let bystander = it.login("alice").await;
    let (third, _) = it.third("alice").await;
    let spent = it.token_at(third.session, 1).await;
    for token in [&spent, &spent, &third.refresh, &it.token_at(third.session, 2).await] {
        assert_eq!(it.refresh(token).await.expect(401).problem(), "refresh-token-reused");
    }
    it.wind(DAY).await;
    assert_eq!(it.refresh(&third.refresh).await.expect(401).problem(), "refresh-token-reused");
    assert_eq!(it.get("/v1/me", Some(&third.access)).await.expect(401).problem(), "invalid-token");
    assert_eq!(it.audited(Kind::RefreshReused).await, 1);
    it.refresh(&bystander.refresh).await.expect(200);
}

#[tokio::test]
async fn a_guess_never_ends_a_session() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let (third, answer) = it.third("alice").await;
    for counter in [1, 2, 3, 4, u32::MAX] {
        let genuine = bytes_of(&it.token_at(third.session, counter).await);
        for byte in 0..genuine.len() {
            let mut guess = genuine.clone();
            guess[byte] ^= 1;
            let refused = it.refresh(&token_of(&guess)).await.expect(401);
            assert_eq!(refused.problem(), "refresh-token-invalid", "byte {byte} of counter {counter}");
        }
    }
    it.wind(GRACE - Duration::from_millis(1)).await;
    assert_eq!(it.refresh(&third.refresh).await.expect(200).body, answer.body);
    assert_eq!(it.audited(Kind::RefreshReused).await + it.audited(Kind::RefreshHealed).await, 0);
}

#[tokio::test]
async fn a_token_serves_neither_another_client_nor_another_session() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    it.add_client("shop", &[], None).await;
    let (one, two) = (it.login("alice").await, it.login("alice").await);
    for (client, status, problem) in
        [("shop", 401, "refresh-token-invalid"), ("nobody", 400, "unknown-client")]
    {
        let body = json!({ "refresh_token": one.refresh, "client_id": client });
        assert_eq!(it.post("/v1/refresh", &body).await.expect(status).problem(), problem);
    }
    let mut spliced = bytes_of(&one.refresh);
    spliced[1..17].copy_from_slice(two.session.as_bytes());
    assert_eq!(it.refresh(&token_of(&spliced)).await.expect(401).problem(), "refresh-token-invalid");
    let unknown = it.app.grants.refresh_keys.now();
    let web = it.stored(one.session).await.client;
    let unknown = unknown.make(unknown.current_id(), Uuid::from_u128(7), 1, web).unwrap().to_text();
    assert_eq!(it.refresh(&unknown).await.expect(401).problem(), "refresh-token-invalid");
    for tokens in [one, two] {
        assert_eq!(Tokens::of(&it.refresh(&tokens.refresh).await.expect(200)), tokens);
    }
}

#[tokio::test]
async fn a_retry_after_the_signing_key_rotated_gets_the_same_claims_from_the_new_key() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let (third, _) = it.third("alice").await;
    let parent = it.token_at(third.session, 2).await;
    it.keysmith().rotate(Mode::Force).await.unwrap();
    it.wind(Duration::from_secs(5)).await;
    for token in [&parent, &third.refresh] {
        let retried = Tokens::of(&it.refresh(token).await.expect(200));
        assert_eq!((&retried.refresh, retried.session), (&third.refresh, third.session));
        assert_eq!(retried.claims(), third.claims());
        assert_ne!(retried.kid(), third.kid());
        it.get("/v1/me", Some(&retried.access)).await.expect(200);
    }
    it.get("/v1/me", Some(&third.access)).await.expect(200);
}

#[tokio::test]
async fn a_retry_never_carries_more_rights_than_the_account_has_by_then() {
    let it = TestApp::with(|config| {
        config.roles.insert("clerk".into(), vec!["orders:write".into()]);
        config.roles.insert("boss".into(), vec!["orders:delete".into()]);
    })
    .await;
    let alice = it.add_user("alice").await;
    let roles = async |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert!(it.app.grants.store.set_roles(alice.id, &names, it.clock.now()).await.unwrap());
    };
    roles(&["user", "clerk"]).await;
    let (third, _) = it.third("alice").await;
    assert_eq!(third.claims()["scope"], "account:manage account:read orders:write");

    roles(&["user"]).await;
    let retried = it.refresh(&third.refresh).await.expect(200);
    assert_eq!(retried.text("scope"), "account:manage account:read");
    let retried = Tokens::of(&retried);
    assert_eq!(retried.refresh, third.refresh);
    assert_eq!(retried.claims()["scope"], "account:manage account:read");
    assert_eq!(retried.claims()["roles"], json!(["user"]));
    assert_ne!(retried.claims()["jti"], third.claims()["jti"], "other claims are another token");

    roles(&["user", "clerk", "boss"]).await;
    for wait in [Duration::ZERO, MINUTE] {
        it.wind(wait).await;
        let body = json!({ "refresh_token": third.refresh, "scope": "orders:write orders:delete" });
        let granted = it.post("/v1/refresh", &body).await.expect(200).text("scope");
        assert_eq!(granted, "orders:write", "no refresh goes beyond what the login had");
    }
}

#[tokio::test]
async fn a_store_that_lost_its_last_writes_is_healed_by_the_tokens_it_gave_out() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let (third, _) = it.third("alice").await;
    let (dir, config) = it.copy();
    it.wind(MINUTE).await;
    let fourth = Tokens::of(&it.refresh(&third.refresh).await.expect(200));
    it.wind(MINUTE).await;
    let fifth = Tokens::of(&it.refresh(&fourth.refresh).await.expect(200));

    let restored = TestApp::at(dir, config, it.clock.clone(), 9).await;
    assert_eq!(restored.stored(third.session).await.counter, 3);
    restored.wind(MINUTE).await;
    let healed = Tokens::of(&restored.refresh(&fifth.refresh).await.expect(200));
    assert_eq!(healed.refresh, fifth.refresh);
    assert_eq!(restored.audited(Kind::RefreshHealed).await, 1);
    restored.get("/v1/me", Some(&healed.access)).await.expect(200);
    assert_eq!(Tokens::of(&restored.refresh(&fourth.refresh).await.expect(200)), healed, "an honest retry");
    restored.wind(MINUTE).await;
    let sixth = restored.refresh(&healed.refresh).await.expect(200);
    assert_eq!(sixth.text("refresh_token"), restored.token_at(third.session, 6).await);
    assert_eq!(restored.audited(Kind::RefreshHealed).await, 1);
    assert_eq!(restored.refresh(&fourth.refresh).await.expect(401).problem(), "refresh-token-reused");
}

impl TestApp {
    async fn rotate_refresh_key(&self) {
        let grants = &self.app.grants;
        let now = self.clock.now();
        rotate_secret(&grants.store, &grants.keyring, &grants.random, REFRESH, false, now).await.unwrap();
    }
}

#[tokio::test]
async fn a_rotation_of_the_refresh_key_ends_nothing_and_a_second_one_refuses_the_oldest_tokens() {
    let it = TestApp::start().await;
    let other = it.replica(2).await;
    it.add_user("alice").await;
    let idle = it.login("alice").await;
    let (third, answer) = it.third("alice").await;
    it.rotate_refresh_key().await;
    it.wind(Duration::from_secs(5)).await;
    assert_eq!(
        it.refresh(&third.refresh).await.expect(200).body,
        answer.body,
        "inside the grace nothing moves"
    );

    it.wind(MINUTE).await;
    let fourth = Tokens::of(&it.refresh(&third.refresh).await.expect(200));
    assert_eq!((bytes_of(&third.refresh)[0], bytes_of(&fourth.refresh)[0]), (1, 2));
    let retried = other.refresh(&fourth.refresh).await.expect(200);
    assert_eq!(Tokens::of(&retried), fourth, "a replica that meets an unknown key reads the keys anew");
    let parent = it.refresh(&third.refresh).await.expect(200);
    assert_eq!(Tokens::of(&parent), fourth, "the parent is of the older key and still good");

    it.rotate_refresh_key().await;
    it.wind(MINUTE).await;
    let fifth = Tokens::of(&it.refresh(&fourth.refresh).await.expect(200));
    assert_eq!(bytes_of(&fifth.refresh)[0], 3);
    for forgotten in [&idle, &third] {
        assert_eq!(it.refresh(&forgotten.refresh).await.expect(401).problem(), "refresh-token-invalid");
    }
    assert!(it.alive(idle.session).await && it.alive(fifth.session).await, "refused, not ended");
}

#[tokio::test]
async fn a_compromised_refresh_key_ends_every_session() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let sessions = [it.login("alice").await, it.login("alice").await];
    let rotated = std::process::Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(["data-keys", "rotate", "refresh", "--compromised"])
        .arg("--data-dir")
        .arg(&it.app.config.data_dir)
        .arg("--keys-dir")
        .arg(&it.app.config.keys_dir)
        .output()
        .unwrap();
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    it.wind(Duration::from_secs(1)).await;
    for tokens in sessions {
        let why = it.stored(tokens.session).await.ended.map(|(_, why)| why);
        assert_eq!(why, Some(EndReason::KeyCompromised));
        assert_eq!(it.refresh(&tokens.refresh).await.expect(401).problem(), "refresh-token-invalid");
        it.get("/v1/me", Some(&tokens.access)).await.expect(401);
    }
    let fresh = it.login("alice").await;
    it.refresh(&fresh.refresh).await.expect(200);
}

#[tokio::test]
async fn a_session_dies_of_idleness_and_of_age_and_no_access_token_outlives_it() {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let it = TestApp::with(|config| {
        config.session.idle = hours(2);
        config.session.absolute = hours(5);
    })
    .await;
    it.add_user("alice").await;
    let idle = it.login("alice").await;
    it.wind(hours(2) - Duration::from_millis(1)).await;
    let used = Tokens::of(&it.refresh(&idle.refresh).await.expect(200));
    it.wind(hours(2)).await;
    assert_eq!(it.refresh(&used.refresh).await.expect(401).problem(), "session-expired");

    let mut tokens = it.login("alice").await;
    let end = it.clock.now().plus(hours(5));
    let mut shortened = 0;
    while it.clock.now() < end {
        let claims = tokens.claims();
        assert!(claims["exp"].as_u64().unwrap() <= end.seconds());
        shortened += u32::from(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() < 570);
        it.wind(Duration::from_secs(59)).await;
        let answer = it.refresh(&tokens.refresh).await;
        if it.clock.now() >= end {
            assert_eq!(answer.expect(401).problem(), "session-expired");
        } else {
            tokens = Tokens::of(&answer.expect(200));
        }
    }
    assert!(shortened >= 9, "the last ten minutes' tokens are shortened by more than the jitter");
    assert_eq!(it.get("/v1/me", Some(&tokens.access)).await.expect(401).problem(), "invalid-token");
}

#[tokio::test]
async fn the_jitter_only_shortens_by_at_most_the_configured_share_and_is_the_same_for_a_retry() {
    let it = TestApp::start().await;
    let other = it.replica(2).await;
    it.add_user("alice").await;
    let mut tokens = it.login("alice").await;
    let mut lifetimes = BTreeSet::new();
    for _ in 0..60 {
        it.wind(MINUTE).await;
        other.wind(Duration::ZERO).await;
        let answer = it.refresh(&tokens.refresh).await.expect(200);
        assert_eq!(other.refresh(&tokens.refresh).await.expect(200).body, answer.body);
        tokens = Tokens::of(&answer);
        let claims = tokens.claims();
        let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(answer.json()["expires_in"], lifetime);
        assert!((570..=600).contains(&lifetime), "{lifetime}");
        lifetimes.insert(lifetime);
    }
    assert!(lifetimes.len() > 10, "{lifetimes:?}");
}

#[tokio::test]
async fn no_eight_bytes_of_a_refresh_tokens_mac_leave_in_anything_else() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let mut tokens = it.login("alice").await;
    let jwks = it.get("/.well-known/jwks.json", None).await.body;
    for _ in 0..100 {
        it.wind(MINUTE).await;
        let answer = it.refresh(&tokens.refresh).await.expect(200);
        tokens = Tokens::of(&answer);
        let mac = &bytes_of(&tokens.refresh)[21..];
        assert_eq!(mac.len(), 32);
        let mut places: Vec<Vec<u8>> = tokens
            .access
            .split('.')
            .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap())
            .chain([tokens.access.clone().into_bytes(), jwks.to_vec(), tokens.session.as_bytes().to_vec()])
            .collect();
        places.push(URL_SAFE_NO_PAD.decode(tokens.claims()["jti"].as_str().unwrap()).unwrap());
        places.extend(answer.headers.values().map(|value| value.as_bytes().to_vec()));
        places.push(it.get("/v1/sessions", Some(&tokens.access)).await.expect(200).body.to_vec());
        places.push(format!("{:?}", it.stored(tokens.session).await).into_bytes());
        for run in mac.windows(8) {
            let hex: String = run.iter().map(|byte| format!("{byte:02x}")).collect();
            let base64: Vec<String> = (0..3).map(|skip| URL_SAFE_NO_PAD.encode(&run[skip..])).collect();
            let forms = [run.to_vec(), hex.into_bytes()].into_iter();
            // The last character of each alignment mixes with what follows.
            let forms = forms.chain(base64.iter().map(|text| text.as_bytes()[..text.len() - 1].to_vec()));
            for form in forms {
                let found = places.iter().any(|place| place.windows(form.len()).any(|window| window == form));
                assert!(!found, "{form:?}");
            }
        }
    }
}

#[tokio::test]
async fn audience_and_scope_may_be_narrowed_at_refresh_and_never_widened() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    it.add_client("shop", &["orders", "billing"], None).await;
    let login = json!({
        "identifier": "alice", "password": crate::app::PASSWORD, "client_id": "shop", "scope": "account:read",
    });
    let tokens = Tokens::of(&it.post("/v1/login", &login).await.expect(200));
    assert_eq!(tokens.claims()["aud"], "orders");
    let ask = async |audience: Option<&str>, scope: Option<&str>| {
        let mut body = json!({ "refresh_token": tokens.refresh, "client_id": "shop" });
        if let Some(audience) = audience {
            body["audience"] = audience.into();
        }
        if let Some(scope) = scope {
            body["scope"] = scope.into();
        }
        it.post("/v1/refresh", &body).await
    };
    let own = it.app.config.audience.clone();
    for (audience, scope, expected) in [
        (None, None, ("orders", "account:read")),
        (Some("billing"), None, ("billing", "account:read")),
        (Some(own.as_str()), Some("account:read"), (own.as_str(), "account:read")),
        (None, Some("account:read account:manage root"), ("orders", "account:read")),
        (None, Some("account:manage"), ("orders", "")),
    ] {
        let answer = ask(audience, scope).await.expect(200);
        assert_eq!(answer.text("scope"), expected.1);
        let given = Tokens::of(&answer);
        assert_eq!((given.claims()["aud"].as_str(), &given.refresh), (Some(expected.0), &tokens.refresh));
    }
    it.wind(MINUTE).await;
    for unknown in ["warehouse", "", "orders billing", "order"] {
        assert_eq!(
            ask(Some(unknown), None).await.expect(400).problem(),
            "audience-not-allowed",
            "{unknown:?}"
        );
    }
    assert_eq!(ask(None, Some("a\"b")).await.expect(400).problem(), "invalid-scope");
    assert_eq!(it.stored(tokens.session).await.counter, 1, "a refused request moves nothing");
    ask(None, None).await.expect(200);
    it.wind(MINUTE).await;
    let spent = ask(Some("warehouse"), None).await.expect(401);
    assert_eq!(spent.problem(), "refresh-token-reused", "a spent token is spent whatever it asks for");
}

#[tokio::test]
async fn disabling_deleting_and_a_new_password_end_the_sessions_that_they_should() {
    let it = TestApp::start().await;
    let store = &it.app.grants.store;
    let now = it.clock.now();
    let (alice, bob, carol) =
        (it.add_user("alice").await, it.add_user("bob").await, it.add_user("carol").await);
    let (disabled, deleted) = (it.login("alice").await, it.login("bob").await);
    let (kept, other) = (it.login("carol").await, it.login("carol").await);

    assert!(store.set_enabled(alice.id, false, now).await.unwrap());
    assert!(store.delete_account(bob.id).await.unwrap());
    let body = json!({ "current_password": crate::app::PASSWORD, "new_password": "an entirely new giraffe" });
    let changed = it.json(axum::http::Method::PUT, "/v1/me/password", Some(&kept.access), &body).await;
    changed.expect(204);
    for (tokens, problem) in
        [(&disabled, "session-ended"), (&deleted, "refresh-token-invalid"), (&other, "session-ended")]
    {
        assert_eq!(it.refresh(&tokens.refresh).await.expect(401).problem(), problem);
        assert_eq!(it.get("/v1/me", Some(&tokens.access)).await.expect(401).problem(), "invalid-token");
    }
    assert!(store.set_enabled(alice.id, true, now).await.unwrap());
    assert_eq!(it.refresh(&disabled.refresh).await.expect(401).problem(), "session-ended", "it stays ended");

    it.get("/v1/me", Some(&kept.access)).await.expect(200);
    it.wind(MINUTE).await;
    let kept = Tokens::of(&it.refresh(&kept.refresh).await.expect(200));
    let sealed = store.credential(carol.id).await.unwrap().unwrap().password.unwrap();
    let reset = PasswordChange { account: carol.id, expected: None, sealed: &sealed, keep: None, now };
    assert_eq!(store.change_password(&reset).await.unwrap(), Some(1));
    assert_eq!(it.refresh(&kept.refresh).await.expect(401).problem(), "session-ended");
}

/// An operator may set the grace to nothing; then every presentation moves on.
#[tokio::test]
async fn without_a_grace_every_refresh_advances_and_every_retry_is_a_reuse() {
    let it = TestApp::with(|config: &mut Config| config.refresh.grace = Duration::ZERO).await;
    it.add_user("alice").await;
    let first = it.login("alice").await;
    let second = Tokens::of(&it.refresh(&first.refresh).await.expect(200));
    let third = Tokens::of(&it.refresh(&second.refresh).await.expect(200));
    assert_ne!(second.refresh, third.refresh);
    assert_eq!(it.refresh(&second.refresh).await.expect(401).problem(), "refresh-token-reused");
}
