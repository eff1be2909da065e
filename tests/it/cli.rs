//! Every command of the program, and that a running server follows each within a second.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use keyward::clock::{Clock, Stopwatch};
use serde_json::{Value, json};

use crate::app::{PASSWORD, Tokens};
use crate::process::{Done, PATIENCE, Place, finish, until};

mod audit;
mod terminal;
mod warnings;

const OTHER: &str = "a herd of quiet llamas";
const PEM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/signing/testdata/");

/// Rules under which a staged key may sign after four seconds.
fn impatient(place: Place) -> Place {
    place
        .set("KEYWARD_LEASE", "1s")
        .set("KEYWARD_JWKS__MAX_AGE", "1s")
        .set("KEYWARD_VERIFIER_POLL", "1s")
        .set("KEYWARD_CLOCK_SKEW", "0s")
        .set("KEYWARD_ROTATION__LEAD", "4s")
}

/// Everything that the listing commands tell but ages.
fn told(place: &Place) -> Value {
    let mut keys = place.json(&["keys", "list", "--json"]);
    for key in keys.as_array_mut().unwrap() {
        key["age_seconds"].take();
    }
    let list = |what| place.json(&[what, "list", "--json"]);
    json!({ "users": list("user"), "clients": list("client"), "keys": keys })
}

#[track_caller]
fn is_time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    keyward::clock::Timestamp::parse_rfc3339(text).unwrap();
}

/// Panics unless the members of an object are exactly these.
#[track_caller]
fn has_members(object: &Value, members: &[&str]) {
    let mut found: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let mut members = members.to_vec();
    found.sort_unstable();
    members.sort_unstable();
    assert_eq!(found, members, "{object}");
}

/// Panics unless `look` comes true within a second, counted from the end of the command before.
#[track_caller]
fn within_a_second(what: &str, mut look: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    let seen = until(PATIENCE, || look().then(|| watch.elapsed()));
    let spent = seen.unwrap_or(PATIENCE);
    assert!(spent <= Duration::from_secs(1), "{what} took {spent:?}");
}

#[test]
fn accounts_are_added_shown_changed_and_deleted() {
    let place = Place::prepared();
    let add = ["user", "add", "Bob", "--email", "bob@example.org", "--role", "user", "--role", "auditor"];
    let added = place.run_with(&[&add[..], &["--password-stdin"]].concat(), &format!("{PASSWORD}\n")).ok();
    assert!(added.out.contains("Bob is added"), "{added:?}");
    assert!(added.out.contains("`auditor` is not in [roles]"), "{added:?}");

    let users = place.json(&["user", "list", "--json"]);
    let bob = users.as_array().unwrap().iter().find(|user| user["name"] == "Bob").unwrap();
    has_members(bob, &["id", "name", "email", "roles", "enabled", "created_at", "password_changed_at"]);
    assert_eq!((&bob["email"], &bob["enabled"]), (&json!("bob@example.org"), &json!(true)));
    assert_eq!(bob["roles"], json!(["user", "auditor"]));
    is_time(&bob["created_at"]);
    is_time(&bob["password_changed_at"]);
    let id = bob["id"].as_str().unwrap();
    for who in [id, "Bob", "BOB", "bob@example.org", "BOB@Example.ORG"] {
        assert_eq!(place.json(&["user", "show", who, "--json"])[0], *bob, "{who}");
    }
    let table = place.run(&["user", "list"]).ok().out;
    assert!(table.lines().next().unwrap().starts_with("ID ") && table.lines().count() == 3, "{table}");

    place.run(&["user", "disable", "bob"]).ok();
    assert_eq!(place.json(&["user", "show", id, "--json"])[0]["enabled"], false);
    place.run(&["user", "enable", "bob"]).ok();
    assert_eq!(place.json(&["user", "show", id, "--json"])[0], *bob);
    place.run(&["user", "roles", "bob", "--role", "user"]).ok();
    assert_eq!(place.json(&["user", "show", id, "--json"])[0]["roles"], json!(["user"]));
    place.run(&["user", "roles", "bob", "--none"]).ok();
    assert_eq!(place.json(&["user", "show", id, "--json"])[0]["roles"], json!([]));

    place.run(&["user", "add", "nobody", "--no-password"]).ok();
    assert_eq!(place.json(&["user", "show", "nobody", "--json"])[0]["password_changed_at"], Value::Null);

    place.run(&["user", "delete", "bob@example.org"]).ok();
    place.run(&["user", "show", "bob"]).refused(1, &["bob", "keyward user list"]);
    place.add_user("bob");
}

#[test]
fn passwords_come_from_standard_input_alone() {
    let place = Place::prepared();
    let before = told(&place);
    for args in [
        &["user", "add", "bob", PASSWORD][..],
        &["user", "add", "bob", "--password", PASSWORD],
        &["user", "add", "bob", &format!("--password={PASSWORD}")],
        &["user", "add", "bob", &format!("--password-stdin={PASSWORD}")],
        &["user", "passwd", "alice", PASSWORD],
        &["user", "passwd", "alice", "--password", PASSWORD],
    ] {
        place.run_with(args, PASSWORD).code(2);
    }
    // Without a terminal nothing can be asked.
    for args in [&["user", "add", "bob"][..], &["user", "passwd", "alice"]] {
        place.run_with(args, PASSWORD).refused(1, &["--password-stdin"]);
    }
    assert_eq!(told(&place), before);
    place.serve().login("alice");
}

#[test]
fn a_password_is_refused_by_the_policy_before_anything_changes() {
    let place = Place::prepared();
    let before = told(&place);
    let long = "a1 ".repeat(400);
    for bad in ["", "giraffe", "password1234", "Alice-of-Example", &long] {
        for command in [&["user", "add", "alice-of-example"][..], &["user", "passwd", "alice"]] {
            if command[1] == "passwd" && bad.starts_with("Alice") {
                continue;
            }
            let done =
                place.run_with(&[command, &["--password-stdin"]].concat(), bad).refused(1, &["password"]);
            assert!(bad.is_empty() || !done.err.contains(bad), "{done:?}");
        }
    }
    assert_eq!(told(&place), before);
    place.serve().login("alice");
}

#[test]
fn bad_input_is_refused_with_its_exit_code_and_changes_nothing() {
    let place = Place::prepared();
    place.add_user("bob");
    let before = told(&place);
    let kid = before["keys"][0]["kid"].as_str().unwrap().to_owned();
    let nobody = "00000000-0000-4000-8000-000000000000";
    let pem = |name: &str| format!("{PEM}{name}");
    let (private, public) = (pem("pkcs8.pem"), pem("spki.pem"));
    let (short, ec, absent) = (pem("short.pem"), pem("ec.pem"), pem("absent.pem"));
    let refused: &[&[&str]] = &[
        &["user", "add", "alice", "--no-password"],
        &["user", "add", "ALICE", "--no-password"],
        &["user", "add", "", "--no-password"],
        &["user", "add", "carol", "--email", "no-address", "--no-password"],
        &["user", "add", "carol", "--role", "two words", "--no-password"],
        &["user", "show", "nobody"],
        &["user", "disable", "nobody"],
        &["user", "enable", nobody],
        &["user", "passwd", "nobody", "--password-stdin"],
        &["user", "roles", "alice", "--role", "a b"],
        &["user", "delete", "nobody"],
        &["session", "list", "nobody"],
        &["session", "end", nobody],
        &["session", "end", "--all-of", "nobody"],
        &["client", "add", "web"],
        &["client", "add", "two words"],
        &["client", "add", "app", "--audience", "a b"],
        &["client", "add", "app", "--scope", "a\"b"],
        &["client", "add", "app", "--access-lifetime", "5"],
        &["client", "add", "app", "--access-lifetime", "2d"],
        &["client", "set", "nobody"],
        &["client", "delete", "nobody"],
        &["keys", "revoke", "nothing", "--compromised"],
        &["keys", "export", "--public", "nothing"],
        &["keys", "import", "--pem", &absent],
        &["keys", "import", "--pem", &short],
        &["keys", "import", "--pem", &ec],
        &["keys", "import", "--pem", &public],
        &["keys", "import", "--pem", &private, "--verify-only", "--until", "2020-01-01T00:00:00Z"],
        &["keys", "import", "--pem", &private, "--verify-only", "--until", "tomorrow"],
        &["password", "calibrate", "--target", "50"],
        &["password", "calibrate", "--most-memory", "lots"],
    ];
    for args in refused {
        place.run_with(args, PASSWORD).refused(1, &[]);
    }
    // Key ids are base64url, so one in 64 begins with a hyphen.
    let hyphen = "-hABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno";
    for args in [&["keys", "revoke", hyphen, "--compromised"][..], &["keys", "export", "--public", hyphen]] {
        place.run(args).refused(1, &[hyphen]);
    }
    place.run(&["keys", "revoke", "--compromised", "--", hyphen]).refused(1, &[hyphen]);
    let misused: &[&[&str]] = &[
        &[],
        &["user"],
        &["user", "adopt", "bob"],
        &["user", "roles", "bob"],
        &["user", "roles", "bob", "--none", "--role", "user"],
        &["user", "add", "carol", "--password-stdin", "--hash-stdin"],
        &["session", "end"],
        &["session", "end", "not-an-id"],
        &["session", "end", nobody, "--all-of", "alice"],
        &["keys", "revoke", &kid],
        &["keys", "rotate", "--now", "--force"],
        &["keys", "rotate", "--wait", "--now"],
        &["keys", "import", "--pem", &private, "--verify-only"],
        &["keys", "export", "--public", &kid, "--format", "der"],
        &["data-keys", "rotate", "everything"],
    ];
    for args in misused {
        let done = place.run_with(args, PASSWORD).code(2);
        assert!(done.out.is_empty() && done.err.contains("--help"), "{args:?}: {done:?}");
    }
    place.run(&["user", "list", "--config", "nowhere.toml"]).refused(2, &["nowhere.toml"]);
    Place::bare().run(&["user", "list"]).refused(1, &["keyward.db", "--data-dir"]);
    assert_eq!(told(&place), before);
}

#[test]
fn hashes_of_other_systems_are_imported_and_log_in() {
    let place = Place::prepared();
    // bcrypt of `plenty of tame giraffes` would be slow here; PBKDF2 with few rounds is refused, so Argon2 it is.
    let phc = {
        use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(2048, 2, 1, None).unwrap());
        argon.hash_password_with_salt(PASSWORD.as_bytes(), b"0123456789abcdef").unwrap().to_string()
    };
    let place = place.set("KEYWARD_LOGIN__QUANTUM", "2s");
    place.run_with(&["user", "add", "moved", "--hash-stdin"], &phc).ok();
    for bad in ["", "plain", "$5$rounds=1000$salt$hash", &phc[..phc.len() / 2]] {
        place.run_with(&["user", "add", "other", "--hash-stdin"], bad).refused(1, &[]);
    }
    place.run(&["user", "show", "other"]).refused(1, &["other"]);
    place.serve().login("moved");
}

#[test]
fn sessions_are_listed_and_ended() {
    let place = Place::prepared();
    let server = place.serve();
    let (first, second) = (server.login("alice"), server.login("alice"));
    let listed = place.json(&["session", "list", "alice", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let row = listed.as_array().unwrap().iter().find(|row| row["id"] == first.session.to_string()).unwrap();
    let times = ["created_at", "last_used_at", "expires_at"];
    has_members(row, &[&["id", "client", "device", "scope"][..], &times].concat());
    assert_eq!(row["client"], "web");
    times.iter().for_each(|time| is_time(&row[*time]));

    let id = first.session.to_string();
    place.run(&["session", "end", &id]).ok();
    within_a_second("the end of a session", || server.refresh(&first.refresh).status == 401);
    assert_eq!(server.refresh(&first.refresh).problem(), "session-ended");
    server.get("/v1/me", Some(&first.access)).expect(401);
    server.get("/v1/me", Some(&second.access)).expect(200);
    place.run(&["session", "end", &id]).refused(1, &[&id]);

    let ended = place.run(&["session", "end", "--all-of", "alice"]).ok().out;
    assert!(ended.contains("ended: 1"), "{ended}");
    within_a_second("the end of all", || server.refresh(&second.refresh).status == 401);
    assert_eq!(place.json(&["session", "list", "alice", "--json"]), json!([]));
    assert_eq!(place.run(&["session", "list", "alice"]).ok().out.lines().count(), 1);
}

#[test]
fn a_running_server_follows_changes_of_accounts_within_a_second() {
    let place = Place::prepared();
    let server = place.serve();
    place.add_user("bob");
    within_a_second("a new account", || server.login_with("bob", PASSWORD).status == 200);

    let tokens = server.login("bob");
    place.run(&["user", "roles", "bob", "--none"]).ok();
    within_a_second("new roles", || server.refresh(&tokens.refresh).expect(200).text("scope").is_empty());
    place.run(&["user", "roles", "bob", "--role", "user"]).ok();
    within_a_second("old roles", || !server.refresh(&tokens.refresh).expect(200).text("scope").is_empty());

    place.run_with(&["user", "passwd", "bob", "--password-stdin"], OTHER).ok();
    within_a_second("a new password", || server.login_with("bob", OTHER).status == 200);
    assert_eq!(server.login_with("bob", PASSWORD).expect(401).problem(), "invalid-credentials");
    assert_eq!(server.refresh(&tokens.refresh).expect(401).problem(), "session-ended");
    server.get("/v1/me", Some(&tokens.access)).expect(401);

    let tokens = Tokens::of(&server.login_with("bob", OTHER).expect(200));
    place.run(&["user", "disable", "bob"]).ok();
    within_a_second("a disabled account", || server.refresh(&tokens.refresh).status == 401);
    server.get("/v1/me", Some(&tokens.access)).expect(401);
    assert_eq!(server.login_with("bob", OTHER).expect(401).problem(), "invalid-credentials");
    place.run(&["user", "enable", "bob"]).ok();
    within_a_second("an enabled account", || server.login_with("bob", OTHER).status == 200);
    assert_eq!(server.refresh(&tokens.refresh).status, 401, "a session came back with its account");

    let tokens = Tokens::of(&server.login_with("bob", OTHER).expect(200));
    place.run(&["user", "delete", "bob"]).ok();
    within_a_second("a deleted account", || server.refresh(&tokens.refresh).status == 401);
    server.get("/v1/me", Some(&tokens.access)).expect(401);
    assert_eq!(server.login_with("bob", OTHER).expect(401).problem(), "invalid-credentials");
}

#[test]
fn clients_are_added_changed_and_deleted_and_a_running_server_follows_within_a_second() {
    let place = Place::prepared();
    let server = place.serve();
    let login = |client: &str, audience: Option<&str>| {
        let mut body = json!({ "identifier": "alice", "password": PASSWORD, "client_id": client });
        if let Some(audience) = audience {
            body["audience"] = audience.into();
        }
        server.post("/v1/login", &body)
    };
    assert_eq!(login("app", None).expect(400).problem(), "unknown-client");
    let audiences = ["--audience", "https://orders.example", "--audience", "https://mail.example"];
    place.run(&[&["client", "add", "app", "--access-lifetime", "5m"][..], &audiences].concat()).ok();
    within_a_second("a new client", || login("app", None).status == 200);
    let tokens = Tokens::of(&login("app", None).expect(200));
    assert_eq!(tokens.claims()["aud"], "https://orders.example");
    assert_eq!(tokens.claims()["client_id"], "app");
    let lifetime = tokens.claims()["exp"].as_i64().unwrap() - tokens.claims()["iat"].as_i64().unwrap();
    assert!((285..=300).contains(&lifetime), "{lifetime}");
    login("app", Some("https://mail.example")).expect(200);
    assert_eq!(login("app", Some("https://evil.example")).expect(400).problem(), "audience-not-allowed");

    let clients = place.json(&["client", "list", "--json"]);
    let app = clients.as_array().unwrap().iter().find(|client| client["name"] == "app").unwrap();
    has_members(app, &["name", "id", "audiences", "scopes", "access_lifetime_seconds"]);
    assert_eq!(app["audiences"], json!(["https://orders.example", "https://mail.example"]));
    assert_eq!((&app["scopes"], &app["access_lifetime_seconds"]), (&json!(["*"]), &json!(300)));
    assert_eq!(place.run(&["client", "list"]).ok().out.lines().count(), 3);

    place.run(&["client", "set", "app", "--scope", "account:read"]).ok();
    let scope = || login("app", None).expect(200).text("scope");
    within_a_second("a changed client", || scope() == "account:read");
    let clients = place.json(&["client", "list", "--json"]);
    let set = clients.as_array().unwrap().iter().find(|client| client["name"] == "app").unwrap();
    let kept = ["id", "audiences", "access_lifetime_seconds"];
    assert!(kept.iter().all(|member| set[*member] == app[*member]), "more than the scope changed: {set}");
    place.run(&["client", "set", "app", "--default-lifetime", "--no-audience"]).ok();
    let clients = place.json(&["client", "list", "--json"]);
    let set = clients.as_array().unwrap().iter().find(|client| client["name"] == "app").unwrap();
    assert_eq!((&set["audiences"], &set["access_lifetime_seconds"]), (&json!([]), &Value::Null));

    let tokens = Tokens::of(&login("app", None).expect(200));
    place.run(&["client", "delete", "app"]).ok();
    let refresh = json!({ "refresh_token": tokens.refresh, "client_id": "app" });
    within_a_second("a deleted client", || server.post("/v1/refresh", &refresh).status != 200);
    within_a_second("a deleted client at login", || login("app", None).status == 400);
    server.get("/v1/me", Some(&tokens.access)).expect(401);

    place.run(&["client", "delete", "web"]).ok();
    drop(server);
    assert_eq!(place.serve().login_with("alice", PASSWORD).expect(400).problem(), "unknown-client");
    assert_eq!(place.json(&["client", "list", "--json"]), json!([]), "what was deleted came back");
}

#[test]
fn keys_rotate_by_the_rules_and_a_running_server_follows_within_a_second() {
    let place = impatient(Place::prepared());
    let server = place.serve();
    let before = server.login("alice");
    let kids = server.kids();
    let listed = place.json(&["keys", "list", "--json"]);
    let members = ["kid", "alg", "state", "age_seconds", "next_state", "next_at", "safe_to_delete_at"];
    has_members(&listed[0], &[&members[..], &["tokens_outstanding_about"]].concat());
    let states = |listed: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        listed.as_array().unwrap().iter().map(|key| (text(&key["kid"]), text(&key["state"]))).collect()
    };
    let in_state = |kid: &str, state: &str| {
        states(&place.json(&["keys", "list", "--json"])).contains(&(kid.into(), state.into()))
    };
    assert_eq!(states(&listed), [(kids[0].clone(), "active".into()), (kids[1].clone(), "staged".into())]);

    // The pair of the first start may rotate at once; the next one may not.
    let done = place.run(&["keys", "rotate"]).ok();
    assert!(done.out.contains(&format!("{} signs now", kids[1])), "{done:?}");
    within_a_second("a rotated key", || server.kids()[0] == kids[1]);
    assert!(in_state(&kids[0], "retiring") && in_state(&kids[1], "active"));
    within_a_second("the next staged key", || server.kids().len() == 3);
    let after = server.login("alice");
    assert_eq!((kid(&before), kid(&after)), (kids[0].clone(), kids[1].clone()));
    for token in [&before.access, &after.access] {
        server.get("/v1/me", Some(token)).expect(200);
    }
    let early = place.run(&["keys", "rotate"]).refused(3, &["not before", "--wait", "--force"]);
    let at = early.err.split("not before ").nth(1).unwrap().split(':').take(3).collect::<Vec<_>>().join(":");
    is_time(&json!(at.trim()));
    assert_eq!(server.kids()[0], kids[1]);

    let watch = Stopwatch::start();
    let done = place.run(&["keys", "rotate", "--wait"]).ok();
    assert!(done.out.contains("waiting until") && watch.elapsed() < Duration::from_secs(20), "{done:?}");
    let third = server.kids().into_iter().find(|kid| !kids.contains(kid)).unwrap();
    assert!(done.out.contains(&format!("{third} signs now")), "{done:?}");
    within_a_second("a rotated key", || server.kids()[0] == third);

    let done = place.run(&["keys", "rotate", "--force"]).ok();
    assert!(done.out.contains("may refuse new tokens"), "{done:?}");
    within_a_second("a forced key", || server.kids()[0] != third);
    let done = place.run(&["keys", "rotate", "--now"]).ok();
    let newest = done.out.split(' ').next().unwrap().to_owned();
    within_a_second("the key of now", || server.kids()[0] == newest);
    assert_eq!(kid(&server.login("alice")), newest);
    server.get("/v1/me", Some(&before.access)).expect(200);
    let table = place.run(&["keys", "list"]).ok().out;
    assert!(table.contains("generation ") && table.contains("retiring"), "{table}");
}

#[test]
fn a_revoked_key_is_refused_by_a_running_server_within_a_second_and_never_comes_back() {
    let place = Place::prepared();
    let server = place.serve();
    let (tokens, kids) = (server.login("alice"), server.kids());
    place.run(&["keys", "revoke", &kids[0]]).code(2);
    let done = place.run(&["keys", "revoke", &kids[0], "--compromised"]).ok();
    assert!(done.out.contains(&format!("{} is revoked", kids[0])), "{done:?}");
    assert!(done.out.contains(&format!("{} signs now", kids[1])), "{done:?}");
    within_a_second("a revocation", || server.get("/v1/me", Some(&tokens.access)).status == 401);
    assert!(!server.kids().contains(&kids[0]) && server.kids()[0] == kids[1]);
    let fresh = Tokens::of(&server.refresh(&tokens.refresh).expect(200));
    server.get("/v1/me", Some(&fresh.access)).expect(200);
    place.run(&["keys", "revoke", &kids[0], "--compromised"]).refused(1, &["revoked already"]);

    let staged = server.kids()[1].clone();
    place.run(&["keys", "revoke", &kids[1], "--compromised", "--all"]).ok();
    within_a_second("both revoked", || {
        let now = server.kids();
        now.len() == 2 && !now.contains(&kids[1]) && !now.contains(&staged)
    });
    server.get("/v1/me", Some(&fresh.access)).expect(401);
    drop(server);
    let server = place.serve();
    server.get("/v1/me", Some(&tokens.access)).expect(401);
    server.refresh(&tokens.refresh).expect(200);
}

#[test]
fn keys_are_imported_and_exported_and_a_running_server_publishes_them_within_a_second() {
    let place = Place::prepared();
    let server = place.serve();
    let pem = |name: &str| format!("{PEM}{name}");
    let imported = place.run(&["keys", "import", "--pem", &pem("pkcs8.pem")]).ok().out;
    let kid = imported.split(' ').next().unwrap();
    within_a_second("an imported key", || server.kids().iter().any(|known| known == kid));
    place.run(&["keys", "import", "--pem", &pem("pkcs1.pem")]).refused(1, &[kid, "already"]);
    let public = place.run(&["keys", "export", "--public", kid]).ok().out;
    assert_eq!(public.trim(), fs::read_to_string(pem("spki.pem")).unwrap().trim());
    let jwk = place.run(&["keys", "export", "--public", kid, "--format", "jwk"]).ok().out;
    let jwk: Value = serde_json::from_str(&jwk).unwrap();
    assert_eq!((&jwk["kid"], &jwk["kty"], jwk.get("d")), (&json!(kid), &json!("RSA"), None));

    let until = Clock::system().now().plus(Duration::from_secs(86_400)).rfc3339();
    let verify = ["keys", "import", "--pem", &pem("other-spki.pem"), "--verify-only", "--until", &until];
    let other = place.run(&verify).ok().out;
    let other = other.split(' ').next().unwrap();
    within_a_second("a key to verify with", || server.kids().iter().any(|known| known == other));
    // A revoked key is never imported again.
    place.run(&["keys", "revoke", kid, "--compromised"]).ok();
    within_a_second("its revocation", || !server.kids().iter().any(|known| known == kid));
    place.run(&["keys", "import", "--pem", &pem("pkcs8.pem")]).refused(1, &[kid, "revoked"]);
}

#[test]
fn the_refresh_key_rotates_under_a_running_server_and_a_compromise_ends_every_session() {
    let place = Place::prepared();
    let server = place.serve();
    let first = server.login("alice");
    let done = place.run(&["data-keys", "rotate", "refresh"]).ok();
    assert!(done.out.contains("version 2"), "{done:?}");
    let key_id = |tokens: &Tokens| {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        URL_SAFE_NO_PAD.decode(tokens.refresh.strip_prefix("kwr1.").unwrap()).unwrap()[0]
    };
    assert_eq!(key_id(&first), 1);
    within_a_second("the new refresh key", || key_id(&server.login("alice")) == 2);
    let second = server.login("alice");
    server.refresh(&first.refresh).expect(200);
    server.refresh(&second.refresh).expect(200);

    place.run(&["data-keys", "rotate", "refresh"]).ok();
    within_a_second("the third refresh key", || key_id(&server.login("alice")) == 3);
    assert_eq!(server.refresh(&first.refresh).expect(401).problem(), "refresh-token-invalid");
    server.refresh(&second.refresh).expect(200);

    let third = server.login("alice");
    let done = place.run(&["data-keys", "rotate", "refresh", "--compromised"]).ok();
    assert!(done.out.contains("version 5") && done.out.contains("sessions are ended"), "{done:?}");
    within_a_second("the end of all sessions", || {
        [&second, &third].iter().all(|tokens| server.refresh(&tokens.refresh).status == 401)
    });
    server.get("/v1/me", Some(&third.access)).expect(401);
    within_a_second("the fifth refresh key", || key_id(&server.login("alice")) == 5);
    let again = server.login("alice");
    server.refresh(&again.refresh).expect(200);
}

#[test]
fn a_proposed_cost_is_a_configuration_that_is_good() {
    let place = Place::bare();
    let proposed =
        place.run(&["password", "calibrate", "--target", "20ms", "--most-memory", "32MiB"]).ok().out;
    let start = proposed.find("[password]").unwrap();
    fs::write(place.path("keyward.toml"), &proposed[start..]).unwrap();
    let checked = place.run(&["config", "check", "--config", "keyward.toml"]).ok();
    assert!(checked.out.contains("good"), "{checked:?}");
    assert!(!place.path("data").exists() && !place.path("keys").exists(), "calibrating made a deployment");
}

#[test]
fn settings_are_checked_and_shown_with_their_source_and_without_secrets() {
    let place = Place::bare().set("KEYWARD_REFRESH__GRACE", "5s").set("KEYWARD_LOGIN__QUANTUM", "50ms");
    let key = format!("m1 {}hus", "hush".repeat(10));
    let text = format!("master_key = \"{key}\"\n[refresh]\ngrace = \"7s\"\n[session]\nidle = \"7d\"\n");
    fs::write(place.path("keyward.toml"), text).unwrap();
    let flags = ["--config", "keyward.toml", "--data-dir", "elsewhere"];
    let shown = place.json(&[&["config", "show", "--json"][..], &flags].concat());
    for row in shown.as_array().unwrap() {
        has_members(row, &["key", "value", "source"]);
    }
    let row = |key: &str| {
        let row = shown.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
        (row["value"].as_str().unwrap().to_owned(), row["source"].as_str().unwrap().to_owned())
    };
    assert_eq!(row("refresh.grace"), ("5s".into(), "environment KEYWARD_REFRESH__GRACE".into()));
    assert_eq!(row("session.idle"), ("7d".into(), "file keyward.toml".into()));
    assert_eq!(row("data_dir"), ("elsewhere".into(), "flag --data-dir".into()));
    assert_eq!(row("rotation.every"), ("30d".into(), "default".into()));
    assert_eq!(row("master_key").0, "[redacted]");
    for command in [&["config", "show"][..], &["config", "check"]] {
        let done = place.run(&[command, &flags].concat()).ok();
        assert!(!done.out.contains("hush") && !done.err.contains("hush"), "{done:?}");
    }
    let named = Place::bare().set("KEYWARD_CONFIG", "gone.toml");
    let done = named.run(&["config", "check"]).code(2);
    assert!(done.out.contains("gone.toml") || done.err.contains("gone.toml"), "{done:?}");
    let done = Place::bare().set("KEYWARD_REFRESH__GRACE", "1h").run(&["config", "check"]).code(2);
    assert!(done.out.contains("refresh.grace") || done.err.contains("refresh.grace"), "{done:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::prepared();
    for args in [
        &["user", "list"][..],
        &["user", "list", "--json"],
        &["keys", "list", "--json"],
        &["client", "list"],
        &["config", "show"],
        &["config", "show", "--json"],
        &["--help"],
    ] {
        let mut command = place.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && err.is_empty(), "{args:?}: {:?} {err}", done.status);
    }
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("{} user list | head -n 1", env!("CARGO_BIN_EXE_keyward")));
    shell.current_dir(place.path("."));
    let done = finish(shell, "").ok();
    assert!(done.out.starts_with("ID ") && done.err.is_empty(), "{done:?}");
}

#[test]
fn rotations_while_people_log_in_and_refresh_fail_no_request() {
    let place = Place::prepared();
    let server = place.serve_with(&[], &[("KEYWARD_REFRESH__GRACE", "0s")]);
    let (stop, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let busy = || {
        let mut got = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let mut tokens = server.login("alice");
            for _ in 0..5 {
                tokens = Tokens::of(&server.refresh(&tokens.refresh).expect(200));
                server.get("/v1/me", Some(&tokens.access)).expect(200);
                answered.fetch_add(2, Ordering::Relaxed);
            }
            got.push(tokens);
        }
        got
    };
    let tokens: Vec<Tokens> = std::thread::scope(|scope| {
        let actors: Vec<_> = (0..3).map(|_| scope.spawn(busy)).collect();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let go_on = || {
                let enough = answered.load(Ordering::Relaxed) + 80;
                let some = until(PATIENCE, || (answered.load(Ordering::Relaxed) >= enough).then_some(()));
                assert!(some.is_some(), "the actors stand still");
            };
            for _ in 0..4 {
                go_on();
                let before = server.kids();
                place.run(&["keys", "rotate", "--force"]).ok();
                let followed = until(PATIENCE, || (server.kids().first() != before.first()).then_some(()));
                assert!(followed.is_some(), "the server does not follow");
            }
            go_on();
        }));
        stop.store(true, Ordering::Relaxed);
        let got = actors.into_iter().flat_map(|actor| actor.join().unwrap()).collect();
        outcome.unwrap();
        got
    });
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered >= 320, "{answered}");
    let mut kids: Vec<String> = tokens.iter().map(kid).collect();
    kids.dedup();
    assert!(kids.len() >= 3, "the server did not follow the rotations: {kids:?}");
    // Not one token was lost on the way.
    for tokens in &tokens {
        server.get("/v1/me", Some(&tokens.access)).expect(200);
    }
}

#[test]
fn every_command_takes_the_place_of_its_deployment() {
    let place = Place::prepared();
    let elsewhere = Place::bare();
    let (data, keys) = (place.path("data"), place.path("keys"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let flags = [text(&data), text(&keys)];
    let flags = ["--data-dir", &flags[0], "--keys-dir", &flags[1]];
    let run = |args: &[&str]| -> Done { elsewhere.run(&[args, &flags[..]].concat()) };
    for args in [&["user", "list"][..], &["session", "list", "alice"], &["client", "list"], &["keys", "list"]]
    {
        run(args).ok();
    }
    let file = format!("data_dir = {:?}\nkeys_dir = {:?}\n", data, keys);
    fs::write(elsewhere.path("there.toml"), file).unwrap();
    let users = elsewhere.json(&["--config", "there.toml", "user", "list", "--json"]);
    assert_eq!(users[0]["name"], "alice");
    assert!(!elsewhere.path("data").exists() && !elsewhere.path("keys").exists());
}

/// The key that signed an access token.
fn kid(tokens: &Tokens) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = URL_SAFE_NO_PAD.decode(tokens.access.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}
