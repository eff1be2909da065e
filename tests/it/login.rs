//! Login: what a failure costs and tells, how failures slow down the next one, how hashes become better.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, header};
use keyward::audit::Kind;
use keyward::clock::Stopwatch;
use keyward::config::Config;
use keyward::limit;
use keyward::store::{Accounts as _, Concluded, Judged, Sessions as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::app::{Answer, PASSWORD, START, TestApp, Tokens, proofs, settings};

const WRONG: &str = "wrong horse battery";

impl TestApp {
    async fn try_login(&self, identifier: &str, password: &str) -> Answer {
        self.post("/v1/login", &json!({ "identifier": identifier, "password": password })).await
    }

    /// As through a proxy, for a client at `address`.
    async fn try_login_from(&self, address: &str, identifier: &str, password: &str) -> Answer {
        let body = json!({ "identifier": identifier, "password": password }).to_string();
        let request = Request::post("/v1/login")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-forwarded-for", address);
        self.send(request.body(Bytes::from(body)).unwrap()).await
    }

    /// How often each step of the store was called and each hash was computed so far.
    fn work(&self) -> BTreeMap<String, u64> {
        let grants = &self.app.grants;
        let calls = grants.store.calls().into_iter().map(|(step, count)| (format!("store {step}"), count));
        let hashes =
            grants.hasher.work().into_iter().map(|work| (format!("hash {}", work.recipe), work.count));
        calls.chain(hashes).collect()
    }

    /// A login and what it cost.
    async fn cost(&self, identifier: &str, password: &str) -> (Answer, BTreeMap<String, u64>) {
        let before = self.work();
        let answer = self.try_login(identifier, password).await;
        let mut spent = self.work();
        for (what, count) in &mut spent {
            *count -= before.get(what).copied().unwrap_or_default();
        }
        spent.retain(|_, count| *count > 0);
        (answer, spent)
    }

    /// The PHC string of an account, opened.
    async fn phc(&self, identifier: &str) -> String {
        use keyward_envelope::{Context, Sealed};
        let grants = &self.app.grants;
        let credential = grants.store.credential_by_identifier(identifier).await.unwrap().unwrap();
        let sealed = Sealed::parse(credential.password.unwrap()).unwrap();
        let context = Context::column("accounts", "password").row(credential.account.id.to_string());
        String::from_utf8(grants.keyring.unseal(&context, &sealed).unwrap().expose().to_vec()).unwrap()
    }
}

fn unpaced(config: &mut Config) {
    config.limits.account.free = 1_000_000;
    config.limits.source.free = 1_000_000;
}

fn retry_after(answer: &Answer) -> u64 {
    answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap()
}

/// What an answer tells, without what differs in every answer.
fn told(answer: &Answer) -> (u16, Vec<(String, String)>, Bytes) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "x-request-id" && *name != header::DATE);
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (answer.status.as_u16(), headers.collect(), answer.body.clone())
}

#[tokio::test]
async fn every_kind_of_failed_login_costs_the_same_and_tells_the_same() {
    let it = TestApp::with(|config| config.limits.source.free = 1_000_000).await;
    for name in ["alice", "dora", "lena"] {
        it.add_user(name).await;
    }
    it.add_user_with("paula", None).await;
    let dora = it.app.grants.store.credential_by_identifier("dora").await.unwrap().unwrap().account;
    assert!(it.app.grants.store.set_enabled(dora.id, false, it.clock.now()).await.unwrap());
    for _ in 0..6 {
        it.try_login("lena", WRONG).await.expect(401);
    }

    let (first, cost) = it.cost("nobody", PASSWORD).await;
    let hashes: u64 = cost.iter().filter(|(what, _)| what.starts_with("hash")).map(|(_, count)| count).sum();
    assert_eq!(hashes, 1, "{cost:?}");
    assert_eq!(first.clone().expect(401).problem(), "invalid-credentials");
    let (long_name, long_password) = ("a".repeat(400), "x".repeat(1_500));
    for (what, identifier, password) in [
        ("wrong password", "alice", WRONG),
        ("disabled, right password", "dora", PASSWORD),
        ("disabled, wrong password", "dora", WRONG),
        ("no password", "paula", PASSWORD),
        ("overlong password", "alice", &long_password),
        ("overlong password of nobody", "nobody", &long_password),
        ("empty password", "alice", ""),
        ("empty identifier", "", PASSWORD),
        ("blank identifier", "  ", PASSWORD),
        ("overlong identifier", &long_name, PASSWORD),
        ("identifier with NUL", "ali\0ce", PASSWORD),
    ] {
        let (answer, spent) = it.cost(identifier, password).await;
        assert_eq!(spent, cost, "{what}");
        assert_eq!(told(&answer), told(&first), "{what}");
    }
    for password in [PASSWORD, WRONG] {
        let (answer, spent) = it.cost("lena", password).await;
        assert_eq!(spent, cost, "limited");
        assert_eq!(answer.expect(429).problem(), "too-many-attempts");
    }
}

#[tokio::test]
async fn a_password_with_two_forms_costs_the_same_for_every_account() {
    let it = TestApp::with(unpaced).await;
    it.add_user("alice").await;
    it.add_user_with("paula", None).await;
    let (_, cost) = it.cost("nobody", "\u{fb01}fteen giraffes").await;
    for identifier in ["alice", "paula", ""] {
        assert_eq!(it.cost(identifier, "\u{fb01}fteen giraffes").await.1, cost, "{identifier:?}");
    }
}

#[tokio::test]
async fn a_hash_of_other_parameters_is_replaced_at_the_next_login_and_only_then() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let before = it.login("alice").await;
    assert!(it.phc("alice").await.starts_with("$argon2id$v=19$m=1024,t=1,p=1$"));
    let mut config = Config::clone(&it.app.config);
    config.password.iterations = 2;
    let dearer = TestApp::at(it.dir.clone(), config, it.clock.clone(), 2).await;
    dearer.try_login("alice", WRONG).await.expect(401);
    assert_eq!(dearer.audited(Kind::PasswordRehashed).await, 0);
    for _ in 0..2 {
        dearer.login("alice").await;
        assert!(dearer.phc("alice").await.starts_with("$argon2id$v=19$m=1024,t=2,p=1$"));
        assert_eq!(dearer.audited(Kind::PasswordRehashed).await, 1);
    }
    dearer.refresh(&before.refresh).await.expect(200);
    dearer.try_login("alice", WRONG).await.expect(401);
}

/// The hash is a test vector of crypt_blowfish.
#[tokio::test]
async fn a_bcrypt_hash_from_elsewhere_becomes_argon2id_at_the_first_login() {
    let it = TestApp::start().await;
    it.add_user_hashed("bob", Some("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")).await;
    it.try_login("bob", WRONG).await.expect(401);
    assert!(it.phc("bob").await.starts_with("$2a$05$"));
    it.try_login("bob", "U*U").await.expect(200);
    let phc = it.phc("bob").await;
    assert!(phc.starts_with("$argon2id$v=19$m=1024,t=1,p=1$"));
    it.try_login("bob", "U*U").await.expect(200);
    it.try_login("bob", "U*U*").await.expect(401);
    assert_eq!(it.phc("bob").await, phc);
    assert_eq!(it.audited(Kind::PasswordRehashed).await, 1);
}

#[tokio::test]
async fn failures_delay_the_next_try_ever_longer_whatever_password_it_brings() {
    let it = TestApp::with(|config| config.limits.source.free = 1_000_000).await;
    let other = it.replica(2).await;
    it.add_user("alice").await;
    for identifier in ["alice", "nobody"] {
        for spelling in [identifier, &identifier.to_uppercase(), &format!(" {identifier} ")] {
            it.try_login(spelling, WRONG).await.expect(401);
            other.try_login(spelling, WRONG).await.expect(401);
        }
        for delay in [1, 2, 4, 8, 16, 30, 30] {
            for password in [WRONG, PASSWORD] {
                let refused = it.try_login(identifier, password).await.expect(429);
                assert_eq!((refused.problem().as_str(), retry_after(&refused)), ("too-many-attempts", delay));
            }
            it.clock.advance(Duration::from_millis(delay * 1_000 - 1));
            assert_eq!(retry_after(&other.try_login(identifier, PASSWORD).await.expect(429)), 1);
            it.clock.advance(Duration::from_millis(1));
            it.try_login(identifier, WRONG).await.expect(401);
        }
    }
    it.clock.advance(Duration::from_secs(30));
    it.login("alice").await;
    for _ in 0..6 {
        it.try_login("alice", WRONG).await.expect(401);
    }
    assert_eq!(retry_after(&it.try_login("alice", PASSWORD).await.expect(429)), 1, "a success forgot it all");
    it.clock.advance(Duration::from_secs(900));
    for _ in 0..6 {
        it.try_login("alice", WRONG).await.expect(401);
    }
}

/// With three free failures of a source, and a proxy that says who asks.
async fn behind_a_proxy() -> TestApp {
    TestApp::with(|config| {
        config.limits.source.free = 3;
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await
}

#[tokio::test]
async fn a_source_is_paced_over_all_identifiers_and_others_are_not() {
    let it = behind_a_proxy().await;
    let other = it.replica(2).await;
    it.add_user("alice").await;
    for number in 0..4 {
        let replica = if number % 2 == 0 { &it } else { &other };
        replica.try_login_from("192.0.2.1", &format!("guess{number}"), PASSWORD).await.expect(401);
    }
    for delay in [1, 2, 4] {
        let before = it.work();
        let refused = it.try_login_from("192.0.2.1", "alice", PASSWORD).await.expect(429);
        assert_eq!(retry_after(&refused), delay);
        let hashes =
            |work: BTreeMap<String, u64>| work.into_iter().filter(|(what, _)| what.starts_with("hash"));
        assert!(
            hashes(it.work()).eq(hashes(before)),
            "a source that must wait is told so before anything is hashed"
        );
        it.try_login_from("192.0.2.2", "alice", PASSWORD).await.expect(200);
        it.clock.advance(Duration::from_secs(delay));
        it.try_login_from("192.0.2.1", "mallory", PASSWORD).await.expect(401);
    }
}

#[tokio::test]
async fn ones_own_success_buys_no_fresh_guesses_at_others() {
    let it = behind_a_proxy().await;
    it.add_user("mallory").await;
    let from = "192.0.2.1";
    for victim in ["ann", "bea", "cleo"] {
        it.try_login_from(from, victim, WRONG).await.expect(401);
        it.try_login_from(from, "mallory", PASSWORD).await.expect(200);
    }
    it.try_login_from(from, "dora", WRONG).await.expect(401);
    for (identifier, password) in [("mallory", PASSWORD), ("ella", WRONG)] {
        assert_eq!(retry_after(&it.try_login_from(from, identifier, password).await.expect(429)), 1);
    }
    it.clock.advance(Duration::from_secs(1));
    it.try_login_from(from, "mallory", PASSWORD).await.expect(200);
    it.try_login_from(from, "ella", WRONG).await.expect(401);
    assert_eq!(retry_after(&it.try_login_from(from, "fay", WRONG).await.expect(429)), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_turned_away_unheard_is_not_paced_for_it() {
    let it = TestApp::with(|config| {
        config.password.threads = 1;
        config.password.queue = 1;
        config.password.memory_kib = 32 * 1_024;
    })
    .await;
    let it = Arc::new(it);
    for number in 0..20 {
        it.add_user(&format!("user{number}")).await;
    }
    let mut turned_away = 0;
    for _ in 0..6 {
        let mut storm = JoinSet::new();
        for number in 0..20 {
            let it = it.clone();
            storm.spawn(async move { it.try_login(&format!("user{number}"), PASSWORD).await });
        }
        for answer in storm.join_all().await {
            assert!(answer.status == 200 || answer.status == 503, "{answer:?}");
            turned_away += u32::from(answer.status == 503);
        }
    }
    assert!(turned_away > 40, "{turned_away}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_logins_at_once_do_not_stand_in_each_others_way() {
    let it = Arc::new(TestApp::start().await);
    it.add_user("alice").await;
    let mut logins = JoinSet::new();
    for _ in 0..20 {
        let it = it.clone();
        logins.spawn(async move { it.try_login("alice", PASSWORD).await.status });
    }
    assert_eq!(logins.join_all().await, [200; 20]);
}

#[tokio::test]
async fn guessing_the_password_with_a_stolen_access_token_is_paced_like_a_login() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let tokens = it.login("alice").await;
    let change = async |current: &str| {
        let body = json!({ "current_password": current, "new_password": "an entirely new giraffe" });
        it.json(Method::PUT, "/v1/me/password", Some(&tokens.access), &body).await
    };
    for _ in 0..6 {
        assert_eq!(change(WRONG).await.expect(403).problem(), "wrong-password");
    }
    for current in [WRONG, PASSWORD] {
        assert_eq!(retry_after(&change(current).await.expect(429)), 1);
    }
    it.try_login("alice", PASSWORD).await.expect(429);
    it.clock.advance(Duration::from_secs(1));
    change(PASSWORD).await.expect(204);
    it.try_login("alice", "an entirely new giraffe").await.expect(200);
}

#[tokio::test]
async fn a_session_of_an_epoch_that_has_passed_is_never_begun() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let tokens = it.login("alice").await;
    let store = &it.app.grants.store;
    let mut late = store.session(tokens.session).await.unwrap().unwrap();
    late.id = it.app.grants.random.uuid(it.clock.now()).unwrap();
    let body = json!({ "current_password": PASSWORD, "new_password": "an entirely new giraffe" });
    it.json(Method::PUT, "/v1/me/password", Some(&tokens.access), &body).await.expect(204);
    let pace = limit::pace(&it.app.config.limits.account);
    let judged = Judged { account: ("a:", pace), source: "s:", session: Some(&late), now: it.clock.now() };
    assert_eq!(store.conclude_login(&judged).await.unwrap(), Concluded::AccountMoved);
    assert_eq!(store.session(late.id).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_with_the_old_password_survives_the_change_that_it_raced() {
    let it = Arc::new(TestApp::with(unpaced).await);
    it.add_user("alice").await;
    let mut password = PASSWORD.to_owned();
    for round in 0..5 {
        let kept = Tokens::of(&it.try_login("alice", &password).await.expect(200));
        let new = format!("giraffe number {round} of many");
        let body = json!({ "current_password": password, "new_password": new });
        let mut racing = JoinSet::new();
        for number in 0..12 {
            let (it, body, old, access) = (it.clone(), body.clone(), password.clone(), kept.access.clone());
            racing.spawn(async move {
                if number == 3 {
                    it.json(Method::PUT, "/v1/me/password", Some(&access), &body).await.expect(204);
                    return None;
                }
                let answer = it.try_login("alice", &old).await;
                (answer.status == 200).then(|| Tokens::of(&answer))
            });
        }
        let begun: Vec<Tokens> = racing.join_all().await.into_iter().flatten().collect();
        for tokens in begun {
            assert_eq!(it.refresh(&tokens.refresh).await.expect(401).problem(), "session-ended");
            it.get("/v1/me", Some(&tokens.access)).await.expect(401);
        }
        it.get("/v1/me", Some(&kept.access)).await.expect(200);
        it.refresh(&kept.refresh).await.expect(200);
        password = new;
    }
}

#[tokio::test]
async fn a_login_grants_what_was_asked_and_roles_and_client_allow() {
    let it = TestApp::with(|config| {
        config.roles.insert("clerk".into(), vec!["orders:read".into(), "orders:write".into()]);
    })
    .await;
    let alice = it.add_user("alice").await;
    let roles = ["user".to_owned(), "clerk".to_owned()];
    assert!(it.app.grants.store.set_roles(alice.id, &roles, it.clock.now()).await.unwrap());
    let mut shop = it.add_client("shop", &["orders"], None).await;
    shop.scopes = vec!["orders:read".into(), "orders:delete".into()];
    {
        use keyward::store::Clients as _;
        assert!(it.app.grants.store.set_client(&shop).await.unwrap());
    }
    it.app.follow().await;
    let all = "account:manage account:read orders:read orders:write";
    let own = it.app.config.audience.clone();
    for (more, scope, audience) in [
        (json!({}), all, own.as_str()),
        (json!({ "client_id": "web", "scope": "orders:read root" }), "orders:read", &own),
        (json!({ "client_id": "shop" }), "orders:read", "orders"),
        (json!({ "client_id": "shop", "scope": "orders:write orders:delete" }), "", "orders"),
        (json!({ "client_id": "shop", "audience": own }), "orders:read", &own),
    ] {
        let mut body = json!({ "identifier": "ALICE", "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = it.post("/v1/login", &body).await.expect(200);
        let claims = Tokens::of(&answer).claims();
        assert_eq!(
            (&claims["scope"], &claims["aud"]),
            (&Value::from(scope), &Value::from(audience)),
            "{more}"
        );
        assert_eq!(answer.text("scope"), scope);
    }
    for (more, problem) in [
        (json!({ "client_id": "nobody" }), "unknown-client"),
        (json!({ "audience": "orders" }), "audience-not-allowed"),
        (json!({ "scope": "a\\b" }), "invalid-scope"),
    ] {
        let mut body = json!({ "identifier": "alice", "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(it.post("/v1/login", &body).await.expect(400).problem(), problem);
    }
}

/// How far two samples differ in rank, in standard deviations (Mann and Whitney, normal approximation).
fn rank_difference(a: &[Duration], b: &[Duration]) -> f64 {
    let mut all: Vec<(Duration, bool)> =
        a.iter().map(|x| (*x, true)).chain(b.iter().map(|x| (*x, false))).collect();
    all.sort();
    let ranks = (1..).zip(&all).filter(|(_, (_, of_a))| *of_a).map(|(rank, _)| f64::from(rank)).sum::<f64>();
    let (n, m) = (a.len() as f64, b.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

fn median(sample: &[Duration]) -> Duration {
    let mut sorted = sample.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

#[test]
fn the_rank_test_sees_a_shift_and_no_difference_where_there_is_none() {
    let sample = |start: u64, step: u64| -> Vec<_> {
        (0..100).map(|n| Duration::from_micros(start + n * 7919 % 1_000 * step)).collect()
    };
    assert!(rank_difference(&sample(0, 1), &sample(0, 1)).abs() < 0.5);
    assert!(rank_difference(&sample(0, 1), &sample(300, 1)) < -5.0);
    assert!(rank_difference(&sample(300, 1), &sample(0, 1)) > 5.0);
}

/// Samples are taken until a planted millisecond is seen; then nothing else may be seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_login_latency_tells_nothing_about_the_account() {
    const KINDS: [(&str, &str, &str); 4] = [
        ("unknown", "nobody", PASSWORD),
        ("wrong", "alice", WRONG),
        ("disabled", "dora", PASSWORD),
        ("passwordless", "paula", PASSWORD),
    ];
    let dir = Arc::new(tempfile::TempDir::new().unwrap());
    let mut config = settings(&dir);
    unpaced(&mut config);
    config.login.quantum = Duration::from_millis(5);
    if proofs() {
        let shipped = Config::load(keyward::config::Overrides::default(), std::iter::empty()).unwrap();
        (config.password, config.login) = (shipped.password, shipped.login);
    }
    let (batch, most) = if proofs() { (200, 2_000) } else { (60, 1_200) };
    let it = TestApp::at(dir, config, keyward::clock::Clock::wound(START), 1).await;
    let dora = it.add_user("dora").await;
    assert!(it.app.grants.store.set_enabled(dora.id, false, it.clock.now()).await.unwrap());
    it.add_user("alice").await;
    it.add_user_with("paula", None).await;

    let mut samples: [Vec<Duration>; 4] = Default::default();
    let millisecond = Duration::from_millis(1);
    loop {
        for round in 0..batch {
            for turn in 0..KINDS.len() {
                // Every kind follows every other equally often.
                let kind = (turn * [1, 3][round % 2] + round / 2) % KINDS.len();
                let (_, identifier, password) = KINDS[kind];
                let watch = Stopwatch::start();
                let answer = it.try_login(identifier, password).await;
                let spent = watch.elapsed();
                answer.expect(401);
                samples[kind].push(spent);
            }
        }
        let planted: Vec<_> = samples[1].iter().map(|spent| *spent + millisecond).collect();
        let seen = rank_difference(&planted, &samples[0]);
        if seen > 6.0 {
            println!("figure: login_latency_planted_1ms samples {} z {seen:.1}", planted.len());
            break;
        }
        assert!(samples[0].len() < most, "this machine is too noisy to see one millisecond: z {seen:.1}");
    }
    for (index, (name, ..)) in KINDS.iter().enumerate() {
        let z = rank_difference(&samples[index], &samples[0]);
        println!(
            "figure: login_latency_{name} median {:?} z_against_unknown {z:.1}",
            median(&samples[index])
        );
        assert!(z.abs() < 4.5, "{name} differs from unknown by {z:.1} standard deviations");
    }
}
