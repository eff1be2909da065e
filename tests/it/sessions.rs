//! Login, refresh, logout, as a browser's code meets them.

use std::time::Duration;

use axum::http::{Method, Request, header};
use keyward::audit::Kind;
use keyward::clock::Stopwatch;
use keyward::signing::Reach;
use serde_json::json;

use crate::app::{Answer, PASSWORD, TestApp, Tokens};

#[tokio::test]
async fn a_user_logs_in_reads_their_account_refreshes_and_logs_out() {
    let it = TestApp::start().await;
    let alice = it.add_user("alice").await;
    let tokens = it.login("alice").await;
    let me = it.get("/v1/me", Some(&tokens.access)).await.expect(200);
    assert_eq!(me.text("id"), alice.id.to_string());

    it.clock.advance(std::time::Duration::from_secs(60));
    let next = it.refresh(&tokens.refresh).await.expect(200);
    assert_ne!(next.text("refresh_token"), tokens.refresh);
    assert_ne!(next.text("access_token"), tokens.access);

    it.json(axum::http::Method::POST, "/v1/logout", Some(&next.text("access_token")), &json!({}))
        .await
        .expect(204);
    let over = it.get("/v1/me", Some(&next.text("access_token"))).await.expect(401);
    assert_eq!(over.problem(), "invalid-token");
    let over = it.refresh(&next.text("refresh_token")).await.expect(401);
    assert_eq!(over.problem(), "session-ended");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_get_the_same_answer() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let wrong =
        it.post("/v1/login", &json!({"identifier": "alice", "password": "wrong horse battery"})).await;
    let unknown = it.post("/v1/login", &json!({"identifier": "mallory", "password": PASSWORD})).await;
    assert_eq!(wrong.clone().expect(401).body, unknown.expect(401).body);
    assert_eq!(wrong.problem(), "invalid-credentials");
}

impl TestApp {
    /// Logs out with a refresh token.
    async fn log_out(&self, token: &str, all: bool) -> Answer {
        self.post("/v1/logout", &json!({ "refresh_token": token, "all": all })).await
    }

    async fn still_on(&self, tokens: &Tokens) -> bool {
        let status = self.get("/v1/me", Some(&tokens.access)).await.status;
        assert!(status == 200 || status == 401);
        status == 200
    }
}

#[tokio::test]
async fn logging_out_ends_one_session_for_good_and_twice_is_fine() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let (one, two, three) = (it.login("alice").await, it.login("alice").await, it.login("alice").await);
    for _ in 0..2 {
        it.log_out(&one.refresh, false).await.expect(204);
        it.bare(Method::POST, "/v1/logout", Some(&two.access)).await.expect(204);
    }
    assert!(!it.still_on(&one).await && !it.still_on(&two).await && it.still_on(&three).await);
    for over in [&one, &two] {
        assert_eq!(it.refresh(&over.refresh).await.expect(401).problem(), "session-ended");
    }
    it.refresh(&three.refresh).await.expect(200);
    assert_eq!(it.audited(Kind::SessionEnded).await, 2);
}

#[tokio::test]
async fn logging_out_everywhere_ends_every_session_of_the_account_alone() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    it.add_user("bob").await;
    let bob = it.login("bob").await;
    for by_refresh_token in [true, false] {
        let (one, two) = (it.login("alice").await, it.login("alice").await);
        let all = json!({ "all": true });
        match by_refresh_token {
            true => it.log_out(&one.refresh, true).await.expect(204),
            false => it.json(Method::POST, "/v1/logout", Some(&one.access), &all).await.expect(204),
        };
        for over in [&one, &two] {
            assert!(!it.still_on(over).await);
            assert_eq!(it.refresh(&over.refresh).await.expect(401).problem(), "session-ended");
        }
        it.login("alice").await;
    }
    assert!(it.still_on(&bob).await);
}

#[tokio::test]
async fn a_spent_or_foreign_refresh_token_cannot_log_the_owner_out_everywhere() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    it.add_client("shop", &[], None).await;
    let (victim, other) = (it.login("alice").await, it.login("alice").await);
    let mut current = victim.clone();
    for _ in 0..2 {
        it.wind(Duration::from_secs(60)).await;
        current = Tokens::of(&it.refresh(&current.refresh).await.expect(200));
    }
    it.log_out(&victim.refresh, true).await.expect(204);
    assert!(!it.still_on(&current).await, "its own session it ends");
    assert!(it.still_on(&other).await, "the others it does not");

    let body = json!({ "refresh_token": other.refresh, "client_id": "shop" });
    assert_eq!(it.post("/v1/logout", &body).await.expect(401).problem(), "refresh-token-invalid");
    let mut guess = other.refresh.clone();
    let last = if guess.pop() == Some('A') { 'E' } else { 'A' };
    guess.push(last);
    it.log_out(&guess, true).await.expect(401);
    it.post("/v1/logout", &json!({})).await.expect(401);
    assert!(it.still_on(&other).await);
}

#[tokio::test]
async fn an_account_sees_its_living_sessions_and_ends_them_one_by_one() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    it.add_user("bob").await;
    let bob = it.login("bob").await;
    let one = it.login("alice").await;
    it.wind(Duration::from_secs(60)).await;
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let body = json!({ "identifier": "alice", "password": PASSWORD }).to_string();
    let login = Request::post("/v1/login")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, agent)
        .body(body.into())
        .unwrap();
    let two = Tokens::of(&it.send(login).await.expect(200));

    let listed = it.get("/v1/sessions", Some(&one.access)).await.expect(200).json();
    let listed: Vec<_> = listed["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| (session["id"].as_str().unwrap(), &session["current"], &session["device"]))
        .collect();
    let (first, second) = (one.session.to_string(), two.session.to_string());
    let newest_first = [
        (second.as_str(), &json!(false), &json!("Firefox on Linux")),
        (first.as_str(), &json!(true), &json!("unknown device")),
    ];
    assert_eq!(listed, newest_first);

    let end = async |tokens: &Tokens, id: &str| {
        it.bare(Method::DELETE, &format!("/v1/sessions/{id}"), Some(&tokens.access)).await
    };
    let nobody = uuid::Uuid::from_u128(7).to_string();
    for id in [bob.session.to_string().as_str(), nobody.as_str(), "no-id-at-all"] {
        assert_eq!(end(&one, id).await.expect(404).problem(), "session-not-found");
    }
    end(&one, &second).await.expect(204);
    end(&one, &second).await.expect(404);
    assert!(!it.still_on(&two).await && it.still_on(&one).await && it.still_on(&bob).await);
    assert_eq!(it.refresh(&two.refresh).await.expect(401).problem(), "session-ended");
    end(&one, &first).await.expect(204);
    assert!(!it.still_on(&one).await);
}

#[tokio::test]
async fn a_token_that_may_only_read_changes_nothing() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let body = json!({ "identifier": "alice", "password": PASSWORD, "scope": "account:read" });
    let reader = Tokens::of(&it.post("/v1/login", &body).await.expect(200));
    it.get("/v1/sessions", Some(&reader.access)).await.expect(200);
    let own = format!("/v1/sessions/{}", reader.session);
    let refused = it.bare(Method::DELETE, &own, Some(&reader.access)).await.expect(403);
    assert_eq!(refused.problem(), "insufficient-scope");
    let change = json!({ "current_password": PASSWORD, "new_password": "an entirely new giraffe" });
    it.json(Method::PUT, "/v1/me/password", Some(&reader.access), &change).await.expect(403);
    assert!(it.still_on(&reader).await);
    it.login("alice").await;
}

#[tokio::test]
async fn a_new_password_is_held_to_the_policy_before_anything_changes() {
    let it = TestApp::start().await;
    it.add_user("alice.wonderland").await;
    let tokens = it.login("alice.wonderland").await;
    let other = it.login("alice.wonderland").await;
    for refused in ["short", "ALICE.wonderland", "password1234", &"x".repeat(1_025)] {
        let change = json!({ "current_password": PASSWORD, "new_password": refused });
        let answer = it.json(Method::PUT, "/v1/me/password", Some(&tokens.access), &change).await;
        assert_eq!(answer.expect(422).problem(), "password-refused", "{refused}");
    }
    assert!(it.still_on(&other).await);
    it.login("alice.wonderland").await;
}

#[tokio::test]
async fn a_running_service_follows_what_another_process_does_to_its_store() {
    let it = TestApp::start().await;
    it.add_user("alice").await;
    let tokens = it.login("alice").await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let jobs = tokio::spawn(it.app.clone().run_jobs(stopped));
    let shop = json!({ "identifier": "alice", "password": PASSWORD, "client_id": "shop" });
    it.post("/v1/login", &shop).await.expect(400);

    let operator = it.replica(2).await;
    operator.add_client("shop", &[], None).await;
    operator.keysmith().revoke(&tokens.kid(), Reach::Key).await.unwrap();
    let watch = Stopwatch::start();
    while it.still_on(&tokens).await || it.post("/v1/login", &shop).await.status != 200 {
        assert!(watch.elapsed() < Duration::from_secs(30), "it does not follow");
        tokio::task::yield_now().await;
    }
    stop.send(true).unwrap();
    jobs.await.unwrap();
}

#[tokio::test]
async fn what_happened_is_counted_by_outcome_and_names_nobody() {
    let it = TestApp::start().await;
    let alice = it.add_user("alice").await;
    let first = it.login("alice").await;
    it.post("/v1/login", &json!({ "identifier": "alice", "password": "wrong horse battery" }))
        .await
        .expect(401);
    it.wind(Duration::from_secs(60)).await;
    let second = Tokens::of(&it.refresh(&first.refresh).await.expect(200));
    it.wind(Duration::from_secs(60)).await;
    it.refresh(&second.refresh).await.expect(200);
    it.refresh(&first.refresh).await.expect(401);
    it.get("/v1/me", Some(&second.access)).await.expect(401);
    it.get("/v1/me", Some("not.a.token")).await.expect(401);
    it.get(&format!("/v1/nowhere/{}", second.session), None).await.expect(404);

    let metrics = it.metrics().await;
    for line in [
        "keyward_logins_total{outcome=\"ok\"} 1",
        "keyward_logins_total{outcome=\"invalid_credentials\"} 1",
        "keyward_refreshes_total{outcome=\"ok\"} 2",
        "keyward_refreshes_total{outcome=\"token_reused\"} 1",
        "keyward_http_answers_total{method=\"GET\",path=\"/v1/me\",status=\"401\"} 2",
        "keyward_http_answers_total{method=\"GET\",path=\"unmatched\",status=\"404\"} 1",
        "keyward_ring_generation 1",
        "keyward_store_steps_total{step=\"advance\"} 4",
    ] {
        assert!(metrics.lines().any(|metric| metric == line), "{line} is not in {metrics}");
    }
    assert!(metrics.contains("keyward_refused_tokens_total{outcome="));
    for name in ["alice", &alice.id.to_string(), &first.session.to_string()] {
        assert!(!metrics.contains(name), "{name}");
    }
}
