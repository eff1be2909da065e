//! The contract against the router, and every operation against bad tokens and bad bodies.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, header};
use keyward::http::{Route, admin_routes, error::Problem, routes};
use keyward::store::{Accounts as _, Sessions as _};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, PASSWORD, TestApp, Tokens};
use crate::bodies::{BODY_LIMIT, bad_bodies};
use crate::forge::{Forge, changed, input};
use crate::schema::{Contract, Listener, Operation};
use crate::wire::{Manner, raw, request, sent};

// ── the file and the program ────────────────────────────────────────────────────────────────────────────────────

#[test]
fn the_router_and_the_contract_list_the_same_operations() {
    let contract = Contract::load();
    let served = |routes: Vec<Route>| -> BTreeSet<(String, String)> {
        routes.into_iter().map(|route| (route.path.to_owned(), route.method.to_string())).collect()
    };
    let written = |listener| -> BTreeSet<(String, String)> {
        contract
            .on(listener)
            .map(|operation| (operation.path.clone(), operation.method.to_string()))
            .collect()
    };
    assert_eq!(served(routes()), written(Listener::Public));
    assert_eq!(served(admin_routes()), written(Listener::Admin));
}

#[test]
fn the_program_and_the_contract_know_the_same_problems() {
    let known: BTreeSet<&str> = Problem::ALL.iter().map(|problem| problem.uri()).collect();
    let written: BTreeSet<&str> = Contract::load().problems.iter().map(String::as_str).collect();
    assert_eq!(known, written);
    let answered = &Contract::load().answered;
    for problem in Problem::ALL {
        let (status, uri) = (problem.status().as_u16(), problem.uri());
        assert!(answered.contains(&(status, uri.to_owned())), "no response of the file has {status} {uri}");
    }
    assert_eq!(answered.len(), Problem::ALL.len(), "a response has a problem with another status");
}

#[test]
fn an_answer_that_the_contract_does_not_have_is_caught() {
    let contract = Contract::load();
    let judge = |method: Method, path: &str, status: u16, headers: &[(&str, &str)], body: &str| {
        let everywhere =
            ["x-content-type-options", "referrer-policy", "x-frame-options", "content-security-policy"];
        let headers = headers.iter().copied().chain(everywhere.map(|name| (name, "x")));
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = headers.collect::<Vec<(header::HeaderName, _)>>().into_iter().collect();
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, headers, body: Bytes::from(body.to_owned()) };
        contract.judge(Listener::Public, &method, path, &answer).err().unwrap_or_default()
    };
    let id = ("x-request-id", "r1");
    let text = ("content-type", "text/plain; charset=utf-8");
    assert_eq!(judge(Method::GET, "/livez", 200, &[id, text], "ok\n"), "");
    assert_eq!(judge(Method::GET, "/livez?a=b", 200, &[id, text], "ok\n"), "");
    assert_eq!(judge(Method::HEAD, "/livez", 200, &[id, text], ""), "");
    assert_eq!(judge(Method::DELETE, "/v1/sessions/x", 204, &[id], ""), "");
    for (why, wrong) in [
        ("status 201 is not", judge(Method::GET, "/livez", 201, &[id, text], "ok\n")),
        ("X-Request-Id is missing", judge(Method::GET, "/livez", 200, &[text], "ok\n")),
        ("X-Request-Id is there twice", judge(Method::GET, "/livez", 200, &[id, id, text], "ok\n")),
        ("X-Request-Id: ", judge(Method::GET, "/livez", 200, &[("x-request-id", "a b"), text], "ok\n")),
        (
            "set-cookie is not documented",
            judge(Method::GET, "/livez", 200, &[id, text, ("set-cookie", "a=b")], "ok\n"),
        ),
        ("no Content-Type", judge(Method::GET, "/livez", 200, &[id], "ok\n")),
        (
            "text/html is not documented",
            judge(Method::GET, "/livez", 200, &[id, ("content-type", "text/html")], "ok\n"),
        ),
        ("was expected", judge(Method::GET, "/livez", 200, &[id, text], "ok")),
        ("no Content-Type", judge(Method::DELETE, "/v1/sessions/x", 204, &[id], "x")),
        ("text/plain; charset=utf-8 is not", judge(Method::DELETE, "/v1/sessions/x", 204, &[id, text], "")),
        ("MethodNotAllowed", judge(Method::POST, "/livez", 200, &[id, text], "ok\n")),
        ("NotFound", judge(Method::GET, "/metrics", 200, &[id, text], "ok\n")),
        ("NotFound", judge(Method::DELETE, "/v1/sessions/", 204, &[id], "")),
    ] {
        assert!(wrong.contains(why), "{why:?} is not in {wrong:?}");
    }
    let json = ("content-type", "application/json");
    let sessions = |body: Value| {
        judge(Method::GET, "/v1/sessions", 200, &[id, json, ("cache-control", "no-store")], &body.to_string())
    };
    assert_eq!(sessions(json!({ "sessions": [] })), "");
    for wrong in [json!({}), json!([]), json!({ "sessions": [], "more": 1 }), json!({ "sessions": [{}] })] {
        assert_ne!(sessions(wrong.clone()), "", "{wrong}");
    }
}

// ── addresses and methods ───────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn what_is_not_in_the_contract_is_a_problem_document() {
    let app = TestApp::start().await;
    for path in [
        "/nowhere",
        "/v1",
        "/v1/",
        "/v1/login/",
        "/v1/sessions/",
        "/v1/sessions/a/b",
        "//",
        "/metrics",
        "/V1/me",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = app.bare(method, path, None).await.expect(404);
            assert_eq!(answer.problem(), "not-found", "{path}");
        }
    }
    let contract = Contract::load();
    for (listener, address) in [(Listener::Public, app.public), (Listener::Admin, app.admin)] {
        for path in contract.on(listener).map(|operation| &operation.path).collect::<BTreeSet<_>>() {
            let mut allowed: BTreeSet<&str> = contract
                .on(listener)
                .filter(|operation| operation.path == **path)
                .map(|operation| operation.method.as_str())
                .collect();
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                if allowed.contains(method.as_str()) {
                    continue;
                }
                let answer = raw(address, listener, request(&method, path, &[], "")).await.expect(405);
                assert_eq!(answer.problem(), "method-not-allowed");
                if allowed.contains("GET") {
                    allowed.insert("HEAD");
                }
                let told = answer.headers[header::ALLOW].to_str().unwrap();
                assert_eq!(told.split(',').map(str::trim).collect::<BTreeSet<_>>(), allowed, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn every_open_address_answers_get_and_head_and_says_when_nothing_changed() {
    let app = TestApp::start().await;
    for (listener, address) in [(Listener::Public, app.public), (Listener::Admin, app.admin)] {
        for operation in Contract::load().on(listener) {
            if operation.method != Method::GET || operation.scopes.is_some() {
                continue;
            }
            let path = &operation.path;
            let whole = raw(address, listener, request(&Method::GET, path, &[], "")).await.expect(200);
            assert!(!whole.body.is_empty(), "{path}");
            let head = raw(address, listener, request(&Method::HEAD, path, &[], "")).await.expect(200);
            assert!(head.body.is_empty(), "{path}");
            let tag = whole.headers.get(header::ETAG).map(|tag| tag.to_str().unwrap());
            assert_eq!(tag.is_some(), operation.statuses().any(|status| status == 304), "{path}");
            let Some(tag) = tag else { continue };
            for (given, status) in [
                (tag.to_owned(), 304),
                (format!("W/{tag}"), 304),
                (format!("\"x\", {tag}"), 304),
                ("*".to_owned(), 304),
                ("\"x\"".to_owned(), 200),
            ] {
                let asked = request(&Method::GET, path, &[("if-none-match", &given)], "");
                raw(address, listener, asked).await.expect(status);
            }
        }
    }
}

// ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn every_secured_operation_refuses_every_kind_of_bad_token_and_changes_nothing() {
    let scene = Scene::start().await;
    let forge = Forge::of(&scene.app).await;
    let claims = scene.tokens.claims();
    let good = json!({ "alg": "RS256", "typ": "at+jwt", "kid": forge.kid });
    let now = scene.app.clock.now().seconds();
    let with = |name: &str, value: Value| changed(&claims, name, value);

    // Without this, a forge that forges nothing would make every case below pass.
    scene.app.get("/v1/me", Some(&forge.rs256(&good, &claims))).await.expect(200);

    let mut bad: Vec<(String, String)> = vec![
        ("garbage".into(), "garbage".into()),
        ("three dots".into(), "..".into()),
        ("a refresh token".into(), scene.tokens.refresh.clone()),
        (
            "expired".into(),
            forge.rs256(&good, &changed(&with("exp", json!(now - 100)), "iat", json!(now - 700))),
        ),
        ("not yet valid".into(), forge.rs256(&good, &with("nbf", json!(now + 100)))),
        ("another audience".into(), forge.rs256(&good, &with("aud", json!("somebody-else")))),
        ("another issuer".into(), forge.rs256(&good, &with("iss", json!("http://localhost:9")))),
        ("no expiry".into(), forge.rs256(&good, &with("exp", Value::Null))),
        ("a JWT of another kind".into(), forge.rs256(&changed(&good, "typ", json!("JWT")), &claims)),
        ("an ID token".into(), forge.rs256(&changed(&good, "typ", json!("id+jwt")), &claims)),
        ("no typ".into(), forge.rs256(&changed(&good, "typ", Value::Null), &claims)),
        ("an unknown key".into(), forge.rs256(&changed(&good, "kid", json!("nobody")), &claims)),
        ("another key's signature".into(), Forge::stranger(&forge.kid).rs256(&good, &claims)),
        (
            "signed by HMAC under the public key".into(),
            forge.hs256(&changed(&good, "alg", json!("HS256")), &claims),
        ),
        ("the same, but called RS256".into(), forge.hs256(&good, &claims)),
        ("unsigned".into(), format!("{}.", input(&changed(&good, "alg", json!("none")), &claims))),
    ];
    let (head, signature) = scene.tokens.access.rsplit_once('.').unwrap();
    bad.push(("no signature".into(), format!("{head}.")));
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    bad.push(("a changed signature".into(), format!("{head}.{flipped}{}", &signature[1..])));

    let before = scene.snapshot().await;
    let mut secured = 0;
    for operation in Contract::load().on(Listener::Public) {
        let Some(scopes) = &operation.scopes else { continue };
        secured += 1;
        let (path, body) = scene.sound(operation);
        // What a logout says in its body would stand in for the access token.
        let body = if operation.path == "/v1/logout" { json!({ "all": true }) } else { body };
        let send = async |authorization: &[&str]| {
            let mut headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
            if operation.body.is_some() {
                headers.push(("content-type", "application/json"));
            }
            let text = operation.body.as_ref().map(|_| body.to_string()).unwrap_or_default();
            scene.app.send(request(&operation.method, &path, &headers, text)).await
        };
        let name = format!("{} {path}", operation.method);

        let answer = send(&[]).await.expect(401);
        assert_eq!(answer.problem(), "missing-token", "{name}");
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer", "{name}");
        for (what, token) in &bad {
            let answer = send(&[&format!("Bearer {token}")]).await;
            assert_eq!(answer.status, 401, "{name} with {what}: {answer:?}");
            assert_eq!(answer.problem(), "invalid-token", "{name} with {what}");
            assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer error=\"invalid_token\"", "{name}");
        }
        let token = &scene.tokens.access;
        for odd in ["Bearer", "Bearer ", &format!("Basic {token}"), token, &format!("Bearer {token} {token}")]
        {
            assert_eq!(send(&[odd]).await.expect(401).problem(), "invalid-token", "{name}");
        }
        let bearer = format!("Bearer {token}");
        assert_eq!(send(&[&bearer, &bearer]).await.expect(400).problem(), "malformed-request", "{name}");

        for needed in scopes {
            let all: Vec<&str> = claims["scope"].as_str().unwrap().split(' ').collect();
            assert!(all.contains(&needed.as_str()), "{name} needs {needed}, which the test's account lacks");
            let fewer: Vec<&str> = all.into_iter().filter(|scope| scope != needed).collect();
            let near = format!("{needed}s {}", &needed[..needed.len() - 1]);
            for scope in [fewer.join(" "), String::new(), near] {
                let answer =
                    send(&[&format!("Bearer {}", forge.rs256(&good, &with("scope", json!(scope))))]).await;
                assert_eq!(answer.status, 403, "{name} with scope {scope:?}: {answer:?}");
                assert_eq!(answer.problem(), "insufficient-scope", "{name}");
                let told = format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\"");
                assert_eq!(answer.headers[header::WWW_AUTHENTICATE], told, "{name}");
            }
        }
    }
    assert!(secured >= 5, "the contract lost its secured operations");
    assert_eq!(scene.snapshot().await, before, "a refused request changed something");
}

#[tokio::test]
async fn a_token_whose_session_is_over_is_invalid() {
    let scene = Scene::start().await;
    scene.app.bare(Method::POST, "/v1/logout", Some(&scene.tokens.access)).await.expect(204);
    for operation in Contract::load().on(Listener::Public) {
        if operation.scopes.as_ref().is_none_or(Vec::is_empty) {
            continue;
        }
        let (path, body) = scene.sound(operation);
        let answer = scene.app.json(operation.method.clone(), &path, Some(&scene.tokens.access), &body).await;
        assert_eq!(answer.expect(401).problem(), "invalid-token", "{path}");
    }
}

// ── bodies ──────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn every_operation_refuses_every_kind_of_bad_body_and_changes_nothing() {
    let scene = Scene::start().await;
    let before = scene.snapshot().await;
    let (mut read, mut wrong) = (0, Vec::new());
    for operation in Contract::load().on(Listener::Public) {
        let Some(schema) = &operation.body else { continue };
        read += 1;
        let (path, body) = scene.sound(operation);
        let authorization = operation.scopes.is_some().then(|| format!("Bearer {}", scene.tokens.access));
        let send = async |kinds: &[&str], body: &[u8]| {
            let mut headers: Vec<_> = kinds.iter().map(|kind| ("content-type", *kind)).collect();
            headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
            scene.app.send(request(&operation.method, &path, &headers, body.to_vec())).await
        };
        for (what, bad) in bad_bodies(schema, &body) {
            let answer = send(&["application/json"], &bad).await;
            // The detail says how the body must look.
            if answer.status != 400
                || answer.problem() != "malformed-request"
                || !answer.text("detail").contains("expected {")
            {
                wrong.push(format!("{path} with {what}: {}", answer.status));
            }
        }
        let mut judge = |what: &str, answer: Answer, status: u16, problem: &str| {
            if answer.status != status || answer.problem() != problem {
                wrong.push(format!("{path} with {what}: {answer:?}"));
            }
        };
        let sound = body.to_string();
        for kinds in [
            &[][..],
            &["text/plain"],
            &["application/x-www-form-urlencoded"],
            &["application/jsonp"],
            &["application/problem+json"],
            &["application/json, text/plain"],
            &["application/json", "application/json"],
        ] {
            judge(&format!("{kinds:?}"), send(kinds, sound.as_bytes()).await, 415, "unsupported-media-type");
        }
        let padded = |length: usize| format!("{sound}{}", " ".repeat(length - sound.len())).into_bytes();
        let large = padded(BODY_LIMIT + 1);
        judge("a byte too many", send(&["application/json"], &large).await, 413, "body-too-large");
        // One byte less is read to its end, where it is found not to be JSON.
        let mut whole = padded(BODY_LIMIT);
        *whole.last_mut().unwrap() = b'x';
        judge("just enough bytes", send(&["application/json"], &whole).await, 400, "malformed-request");

        let mut headers = vec![("content-type", "application/json")];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        let unmeasured = request(&operation.method, &path, &headers, large);
        let answer = sent(scene.app.public, Listener::Public, unmeasured, Manner::Chunked).await;
        judge("a byte too many, in chunks", answer, 413, "body-too-large");
    }
    assert!(read >= 4, "the contract lost its bodies");
    // The first ones tell; a bad body that got through may make the rest fail.
    let told = wrong.iter().take(12).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} bodies were not refused as they should be:\n{told}", wrong.len());
    assert_eq!(scene.snapshot().await, before, "a refused body changed something");
}

#[tokio::test]
async fn a_body_that_never_ends_is_told_so_in_time() {
    let app = TestApp::with(|config| config.http.body_timeout = Duration::from_millis(100)).await;
    let headers = [("content-type", "application/json")];
    for path in ["/v1/login", "/v1/refresh", "/v1/logout"] {
        let slow = request(&Method::POST, path, &headers, "{");
        let answer = sent(app.public, Listener::Public, slow, Manner::Endless).await;
        assert_eq!(answer.expect(408).problem(), "request-timeout", "{path}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_utf_8_is_refused() {
    let scene = Scene::start().await;
    for id in ["%ff", "%00", "x", "%2e%2e"] {
        let answer =
            scene.app.bare(Method::DELETE, &format!("/v1/sessions/{id}"), Some(&scene.tokens.access)).await;
        assert!(matches!(answer.status.as_u16(), 400 | 404), "{id}: {answer:?}");
    }
}

// ── what the tests play with ────────────────────────────────────────────────────────────────────────────────────

/// An account with two sessions, one that asks and one that could be hurt.
struct Scene {
    app: TestApp,
    tokens: Tokens,
    other: Tokens,
}

impl Scene {
    async fn start() -> Scene {
        let app = TestApp::start().await;
        app.add_user("alice").await;
        let (tokens, other) = (app.login("alice").await, app.login("alice").await);
        Scene { app, tokens, other }
    }

    /// A path and a body with which the operation would do its work. Members stand in the order of the declaration.
    fn sound(&self, operation: &Operation) -> (String, Value) {
        let path = operation.path.replace("{id}", &self.other.session.to_string());
        let body = match operation.path.as_str() {
            "/v1/login" => json!({ "identifier": "alice", "password": PASSWORD }),
            "/v1/refresh" => json!({ "refresh_token": self.other.refresh }),
            "/v1/logout" => json!({ "all": false }),
            "/v1/me/password" => {
                json!({ "current_password": PASSWORD, "new_password": "a herd of calm elephants" })
            }
            _ if operation.body.is_some() => panic!("{path} takes a body: give this test a sound one"),
            _ => json!({}),
        };
        (path, body)
    }

    /// What the account can see, and the durable state of its sessions.
    async fn snapshot(&self) -> (Value, Value, String) {
        let me = self.app.get("/v1/me", Some(&self.tokens.access)).await.expect(200).json();
        let sessions = self.app.get("/v1/sessions", Some(&self.other.access)).await.expect(200).json();
        let store = &self.app.app.grants.store;
        let account = Uuid::parse_str(me["id"].as_str().unwrap()).unwrap();
        let password = store.credential(account).await.unwrap().unwrap().password;
        let rows = store.sessions_of(account, self.app.clock.now(), 1_000).await.unwrap();
        (me, sessions, format!("{password:?} {rows:?}"))
    }
}
