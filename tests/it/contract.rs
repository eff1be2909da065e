//! The contract against the router, and every operation against bad tokens and bad bodies.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{KeyInit as _, Mac as _};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use keyward::http::{Route, admin_routes, error::Problem, routes};
use keyward::signing::key::{LONGEST_SIGNATURE, PrivateKey, unseal};
use keyward::signing::pem;
use keyward::store::{Accounts as _, KeyState, Sessions as _, SigningKeys as _};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, PASSWORD, TestApp, Tokens};
use crate::schema::{Contract, Listener, Operation};

const BODY_LIMIT: usize = 16 * 1024;

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
    let mut read = 0;
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
            assert_eq!(answer.status, 400, "{path} with {what}: {answer:?}");
            assert_eq!(answer.problem(), "malformed-request", "{path} with {what}");
            assert!(
                answer.text("detail").contains("expected {"),
                "{path} with {what} is told how it must look"
            );
        }
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
            let answer = send(kinds, sound.as_bytes()).await;
            assert_eq!(answer.status, 415, "{path} as {kinds:?}: {answer:?}");
            assert_eq!(answer.problem(), "unsupported-media-type", "{path} as {kinds:?}");
        }
        let padded = |length: usize| format!("{sound}{}", " ".repeat(length - sound.len())).into_bytes();
        let large = padded(BODY_LIMIT + 1);
        assert_eq!(send(&["application/json"], &large).await.expect(413).problem(), "body-too-large");
        // One byte less is read to its end, where it is found not to be JSON.
        let mut whole = padded(BODY_LIMIT);
        *whole.last_mut().unwrap() = b'x';
        assert_eq!(send(&["application/json"], &whole).await.expect(400).problem(), "malformed-request");

        let mut headers = vec![("content-type", "application/json")];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        let unmeasured = request(&operation.method, &path, &headers, large);
        let answer = sent(scene.app.public, Listener::Public, unmeasured, Manner::Chunked).await;
        assert_eq!(answer.expect(413).problem(), "body-too-large");
    }
    assert!(read >= 4, "the contract lost its bodies");
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

/// Bodies that are wrong in one way each, with the way's name; all of them are `malformed-request`.
fn bad_bodies(schema: &Value, sound: &Value) -> Vec<(String, Vec<u8>)> {
    let object = sound.as_object().unwrap();
    let text = sound.to_string();
    let mut bad: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: String, body: &dyn AsRef<[u8]>| bad.push((what, body.as_ref().to_vec()));

    add("an unknown member".into(), &changed(sound, "unknown", json!(1)).to_string());
    add("an unknown deep member".into(), &format!("{{\"unknown\":{}", "[".repeat(8_000)));
    for name in schema["properties"].as_object().unwrap().keys() {
        for wrong in [json!(42), json!(-1.5), json!([]), json!(["a"]), json!({}), json!({ "a": 1 })] {
            add(format!("{name} = {wrong}"), &changed(sound, name, wrong).to_string());
        }
        // A string where a truth value belongs, and the reverse.
        let crossed =
            if schema["properties"][name]["type"] == "boolean" { json!("true") } else { json!(true) };
        add(format!("{name} = {crossed}"), &changed(sound, name, crossed).to_string());
        add(format!("a deep {name}"), &format!("{{\"{name}\":{}", "[{\"a\":".repeat(2_000)));
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap();
        let mut fewer = object.clone();
        fewer.remove(name).unwrap();
        add(format!("no {name}"), &Value::from(fewer).to_string());
        add(format!("{name} = null"), &format!("{{\"{name}\":null,{}", &text[1..]));
    }
    for (name, value) in object {
        add(format!("{name} twice"), &format!("{{\"{name}\":{value},{}", &text[1..]));
        add(format!("{name} in capitals"), &text.replace(name.as_str(), &name.to_uppercase()));
        if let Some(value) = value.as_str() {
            let (before, after) = text.split_once(value).unwrap();
            let around = |middle: &[u8]| [before.as_bytes(), middle, after.as_bytes()].concat();
            add(format!("{name} not in UTF-8"), &around(b"\xff\xfe"));
            add(format!("{name} with an overlong NUL"), &around(b"\xc0\x80"));
            add(format!("{name} with half a surrogate pair"), &around(b"\\ud800"));
            add(format!("{name} with a raw control character"), &around(b"\n"));
        }
    }
    for whole in [
        "[]",
        "null",
        "true",
        "42",
        "\"text\"",
        "{}x",
        "NaN",
        "\u{feff}{}",
        "{'a':1}",
        "{\"a\":1,}",
        "/**/{}",
        "[null,null,true]",
    ] {
        add(format!("only {whole}"), &whole);
    }
    // Members in the order of the declaration: what a lenient reader takes for the object itself.
    let values: Vec<&Value> = object.values().collect();
    let nulls = std::iter::repeat_n(json!(null), 5);
    for length in values.len()..=5 {
        let row: Vec<Value> = values.iter().copied().cloned().chain(nulls.clone()).take(length).collect();
        add(format!("an array of {length}"), &Value::from(row).to_string());
    }
    add("an array of an object".into(), &format!("[{text}]"));
    add("an object and more".into(), &format!("{text}{text}"));
    add("a depth of brackets".into(), &"[".repeat(BODY_LIMIT));
    add("a depth of braces".into(), &"{\"a\":".repeat(3_000));
    add("UTF-16".into(), &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    for end in 0..text.len() {
        add(format!("only {end} bytes"), &&text.as_bytes()[..end]);
    }
    bad
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

/// Signs whatever it is given.
struct Forge {
    kid: String,
    private: PrivateKey,
    public_pem: String,
}

impl Forge {
    /// With the key that signs now.
    async fn of(app: &TestApp) -> Forge {
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
    fn stranger(kid: &str) -> Forge {
        let private = PrivateKey::generate(keyward::signing::Bits::Rsa2048).unwrap();
        Forge { kid: kid.into(), private, public_pem: String::new() }
    }

    fn rs256(&self, header: &Value, claims: &Value) -> String {
        let input = input(header, claims);
        let mut signature = [0; LONGEST_SIGNATURE];
        let length = self.private.sign(input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(&signature[..length]))
    }

    /// What a verifier accepts that takes the algorithm from the header and the key from the JWKS.
    fn hs256(&self, header: &Value, claims: &Value) -> String {
        let input = input(header, claims);
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(self.public_pem.as_bytes()).unwrap();
        mac.update(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

fn input(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// With another member; `null` takes it out.
fn changed(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.as_object().unwrap().clone();
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value);
    }
    object.into()
}

fn request(method: &Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body.into()).unwrap()
}

/// Sends to either listener and holds the answer against the contract.
async fn raw(address: SocketAddr, listener: Listener, request: Request<Bytes>) -> Answer {
    sent(address, listener, request, Manner::Whole).await
}

async fn sent(address: SocketAddr, listener: Listener, request: Request<Bytes>, manner: Manner) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (mut parts, rest) = request.into_parts();
    parts.uri = format!("http://{address}{}", parts.uri).parse().unwrap();
    let rest = Some(rest).filter(|body| !body.is_empty());
    let client = Client::builder(TokioExecutor::new()).build_http::<Slice>();
    let response = client.request(Request::from_parts(parts, Slice { rest, manner })).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = Answer { status: parts.status, headers: parts.headers, body };
    Contract::load().check(listener, &method, &path, &answer);
    answer
}

/// How a body is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// With its length.
    Whole,
    /// Without.
    Chunked,
    /// Without, and then nothing, for ever.
    Endless,
}

struct Slice {
    rest: Option<Bytes>,
    manner: Manner,
}

impl Body for Slice {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.rest.take(), self.manner) {
            (Some(bytes), _) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            (None, Manner::Endless) => Poll::Pending,
            (None, _) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.manner != Manner::Endless
    }

    fn size_hint(&self) -> SizeHint {
        match self.manner {
            Manner::Whole => SizeHint::with_exact(self.rest.as_ref().map_or(0, Bytes::len) as u64),
            _ => SizeHint::default(),
        }
    }
}
