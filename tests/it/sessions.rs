//! Login, refresh, logout, as a browser's code meets them.

use serde_json::json;

use crate::app::{PASSWORD, TestApp};

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
