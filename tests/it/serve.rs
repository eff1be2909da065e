//! `keyward serve` as people and supervisors meet it.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyward::clock::Stopwatch;
use keyward::random::Random;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::{Value, json};

use crate::app::{PASSWORD, Tokens};
use crate::process::{PATIENCE, Place, Server, answer, ask, finish, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_keyward");
const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn an_empty_directory_becomes_a_running_service() {
    let place = Place::bare().set("KEYWARD_LISTEN", "127.0.0.1:0").set("KEYWARD_ADMIN_LISTEN", "127.0.0.1:0");
    let server = place.serve();

    let printed = server.printed();
    let (public, admin) = (format!("http://{}", server.public), format!("http://{}", server.admin));
    for words in [
        "issuer    http://localhost:8080",
        &public,
        &admin,
        "data/keyward.db",
        "keys/master.key",
        "TLS must end in front",
        &format!("\n  {PROGRAM} user add alice\n"),
        &format!("\n  curl -s {public}/v1/login -H 'content-type: application/json' -d '"),
        &format!("\n  {PROGRAM} keys list\n"),
    ] {
        assert!(printed.contains(words), "{words:?} is missing in {printed}");
    }
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys/master.key"), mode("keys")), (0o600, 0o700));
    assert_eq!((mode("data/keyward.db"), mode("data")), (0o600, 0o700));

    let ready: Value = serde_json::from_slice(&fs::read(place.path("serve-0.ready")).unwrap()).unwrap();
    let expected = json!({
        "public": [public], "admin": [admin], "issuer": "http://localhost:8080", "pid": server.pid(),
    });
    assert_eq!(ready, expected);

    let page = server.get("/", None).expect(200);
    let page = std::str::from_utf8(&page.body).unwrap();
    for words in ["Keyward is running", "http://localhost:8080", "keyward user add alice", "jwks.json"] {
        assert!(page.contains(words), "{page}");
    }
    assert_eq!(server.get("/livez", None).expect(200).body, "ok\n");
    assert_eq!(server.get("/readyz", None).expect(200).body, "ready\n");
    assert_eq!(server.kids().len(), 2, "an active and a staged key are there before the first request");
    let metrics = ask(server.admin, "GET", "/metrics", &[], "").unwrap().expect(200);
    assert!(std::str::from_utf8(&metrics.body).unwrap().ends_with("# EOF\n"));
    assert_eq!(server.get("/metrics", None).status, 404, "metrics are on the admin listener only");

    place.run_with(&["user", "add", "alice", "--password-stdin"], PASSWORD).ok();
    let tokens = server.login("alice");
    assert_eq!(tokens.claims()["iss"], "http://localhost:8080");
    server.get("/v1/me", Some(&tokens.access)).expect(200);
    let listed = place.run(&["keys", "list"]).ok().out;
    assert!(listed.contains("active") && listed.contains("staged"), "{listed}");
    let clients = place.json(&["client", "list", "--json"]);
    assert_eq!((clients.as_array().unwrap().len(), &clients[0]["name"]), (1, &json!("web")));

    let done = server.term().ok();
    assert!(done.err.contains("stopped"), "{}", done.err);
    assert!(!place.path("serve-0.ready").exists(), "a stopped server is not ready");
}

#[test]
fn the_defaults_are_those_of_the_documentation_and_showing_them_makes_nothing() {
    let place = Place::bare();
    let settings = place.json(&["config", "show", "--json"]);
    let value = |key: &str| {
        let found = settings.as_array().unwrap().iter().find(|setting| setting["key"] == key);
        let found = found.unwrap_or_else(|| panic!("no {key}"));
        assert_eq!(found["source"], "default", "{found}");
        found["value"].as_str().unwrap().to_owned()
    };
    let addresses = |key| {
        let list = value(key);
        let parts = list.split(|c: char| !(c.is_alphanumeric() || "[]:.".contains(c)));
        let parts = parts.map(|part| part.trim_start_matches('[').replace(']', ""));
        parts.filter(|part| part.contains(':')).collect::<Vec<_>>()
    };
    assert_eq!(addresses("listen"), ["127.0.0.1:8080", "::1:8080"]);
    assert_eq!(addresses("admin_listen"), ["127.0.0.1:8081", "::1:8081"]);
    assert_eq!(value("issuer"), "http://localhost:8080");
    assert_eq!((value("data_dir"), value("keys_dir")), ("data".into(), "keys".into()));
    assert_eq!(value("master_key_file"), "keys/master.key");
    assert_eq!(fs::read_dir(place.path(".")).unwrap().count(), 0);
}

#[test]
fn folders_of_one_s_own_are_used_and_named_in_the_next_commands() {
    let place = Place::new();
    fs::write(place.path("my own.toml"), "[refresh]\ngrace = \"5s\"\n").unwrap();
    let flags = ["--config", "my own.toml", "--data-dir", "var/lib", "--keys-dir", "etc"];
    let server = place.serve_with(&flags, &[]);
    let printed = server.printed();
    let flags = "--config 'my own.toml' --data-dir var/lib --keys-dir etc\n";
    for command in ["user add alice", "keys list"] {
        assert!(printed.contains(&format!("\n  {PROGRAM} {command} {flags}")), "{printed}");
    }
    assert!(place.path("var/lib/keyward.db").exists() && place.path("etc/master.key").exists());
    let add = ["user", "add", "alice", "--data-dir", "var/lib", "--keys-dir", "etc", "--password-stdin"];
    place.run_with(&add, PASSWORD).ok();
    server.login("alice");
}

#[test]
fn the_printed_commands_work_when_pasted_and_name_the_program_as_it_was_started() {
    let place = Place::new();
    fs::create_dir(place.path("my tools")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, place.path("my tools/keyward")).unwrap();
    let mut command = place.command(&["serve", "--ready-file", "ready", "--data-dir", "my data"]);
    command.arg0("my tools/keyward").stdin(Stdio::null());
    command.stdout(fs::File::create(place.path("out")).unwrap());
    let mut child = command.stderr(fs::File::create(place.path("err")).unwrap()).spawn().unwrap();
    let printed = || fs::read_to_string(place.path("out")).unwrap();
    let next = until(PATIENCE, || {
        let printed = printed();
        let lines: Vec<_> = printed.lines().map(|line| line.trim().to_owned()).collect();
        lines.iter().any(|line| line.contains("keys list")).then(|| lines[lines.len() - 3..].to_vec())
    });
    let paste = |line: &str, input: &str| {
        let mut shell = place.command(&[]);
        let environment: Vec<_> =
            shell.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
        shell = Command::new("sh");
        shell.arg("-c").arg(line).envs(environment).current_dir(place.path("."));
        finish(shell, input)
    };
    // Only the password differs from a paste.
    let done = next.clone().map(|next| {
        let added = paste(&format!("{} --password-stdin", next[0]), PASSWORD);
        let login = paste(&next[1].replace("PASSWORD-OF-ALICE", PASSWORD), "");
        let untouched = paste(&next[1], "");
        (added, login, untouched, paste(&next[2], ""))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let (added, login, untouched, listed) = done.unwrap_or_else(|| panic!("it printed {}", printed()));
    let next = next.unwrap();
    assert_eq!(next[0], "'my tools/keyward' user add alice --data-dir 'my data'");
    assert_eq!(next[2], "'my tools/keyward' keys list --data-dir 'my data'");
    assert!(added.ok().out.contains("alice is added"));
    assert!(login.ok().out.contains("access_token"));
    assert!(untouched.ok().out.contains("invalid-credentials"));
    assert!(listed.ok().out.contains("active"));
}

#[test]
fn sigterm_lets_a_running_login_finish_and_exits_with_zero() {
    let place = Place::prepared()
        .set("KEYWARD_PASSWORD__MEMORY_KIB", "65536")
        .set("KEYWARD_PASSWORD__ITERATIONS", "10");
    place.add_user("slow");
    let server = place.serve();
    let body = json!({ "identifier": "slow", "password": PASSWORD }).to_string();
    let mut stream = TcpStream::connect(server.public).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /v1/login HTTP/1.1\r\nhost: a\r\n{}: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        JSON.0,
        JSON.1,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The handler asks for the body: now the request runs.
    let mut go = [0; 25];
    stream.read_exact(&mut go).unwrap();
    assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
    // Connections without a request must not keep it.
    let _silent = TcpStream::connect(server.public).unwrap();
    server.signal(Signal::TERM);
    server.logs("SIGTERM: no new connections");
    let closed = until(PATIENCE, || TcpStream::connect(server.public).is_err().then_some(()));
    assert!(closed.is_some(), "it still accepts connections");
    stream.write_all(body.as_bytes()).unwrap();
    let done = answer(stream).unwrap().expect(200);
    let log = server.wait().ok().err;
    assert!(log.contains("stopped") && !log.contains("given up"), "{log}");
    // Its session is durable.
    let refresh = Tokens::of(&done).refresh;
    place.serve().refresh(&refresh).expect(200);
}

#[test]
fn a_request_that_never_ends_does_not_keep_a_stopping_server() {
    let place = Place::prepared()
        .set("KEYWARD_HTTP__SHUTDOWN_DEADLINE", "200ms")
        .set("KEYWARD_HTTP__BODY_TIMEOUT", "10s");
    let server = place.serve();
    let mut stream = TcpStream::connect(server.public).unwrap();
    let head = "POST /v1/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut go = [0; 25];
    stream.read_exact(&mut go).unwrap();
    let watch = Stopwatch::start();
    let done = server.term().ok();
    assert!(watch.elapsed() < Duration::from_secs(5), "{:?}", watch.elapsed());
    assert!(done.err.contains("given up"), "{}", done.err);
}

#[test]
fn a_second_signal_does_not_wait_for_what_runs() {
    let place = Place::prepared()
        .set("KEYWARD_HTTP__SHUTDOWN_DEADLINE", "5m")
        .set("KEYWARD_HTTP__REQUEST_TIMEOUT", "5m")
        .set("KEYWARD_HTTP__BODY_TIMEOUT", "5m");
    let server = place.serve();
    let mut stream = TcpStream::connect(server.public).unwrap();
    let head = "POST /v1/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 25]).unwrap();
    server.signal(Signal::TERM);
    server.logs("SIGTERM: no new connections");
    server.term().ok();
}

#[test]
fn a_ready_file_that_a_killed_server_left_tells_nobody_that_the_next_one_is_ready() {
    let place = Place::prepared();
    let stale = place.path("again.ready");
    fs::write(&stale, "{}").unwrap();
    let server = place.serve_as("again");
    let ready: Value = serde_json::from_slice(&fs::read(&stale).unwrap()).unwrap();
    assert_eq!(ready["pid"], server.pid());
    server.kill();
    assert!(stale.exists());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ready = stale.to_str().unwrap();
    place.run(&["serve", "--ready-file", ready, "--listen", &address]).refused(1, &["in use"]);
    assert!(!stale.exists(), "a server that did not start is ready");
}

#[test]
fn a_second_start_keeps_keys_sessions_and_tokens() {
    let place = Place::prepared();
    let first = place.serve();
    let (tokens, kids) = (first.login("alice"), first.kids());
    let master = fs::read(place.path("keys/master.key")).unwrap();
    first.signal(Signal::INT);
    first.wait().ok();
    let second = place.serve();
    assert_eq!(second.kids(), kids);
    assert_eq!(fs::read(place.path("keys/master.key")).unwrap(), master);
    second.get("/v1/me", Some(&tokens.access)).expect(200);
    second.refresh(&tokens.refresh).expect(200);
}

#[test]
fn an_existing_database_without_its_master_key_refuses_to_start_and_makes_no_new_one() {
    let place = Place::prepared();
    let key = place.path("keys/master.key");
    let away = place.path("master.key.away");
    fs::rename(&key, &away).unwrap();
    for command in [&["serve"][..], &["user", "list"]] {
        place.run(command).refused(1, &["data", "keys/master.key", "missing"]);
        assert!(!key.exists(), "a new master key was made");
    }
    fs::rename(&away, &key).unwrap();
    place.serve().login("alice");
}

#[test]
fn another_deployment_s_master_key_refuses_to_start() {
    let place = Place::prepared();
    let other = Place::new();
    other.serve().term().ok();
    fs::copy(other.path("keys/master.key"), place.path("keys/master.key")).unwrap();
    for command in [&["serve"][..], &["user", "list"]] {
        place.run(command).refused(1, &["data", "keys/master.key", "another master key"]);
    }
}

#[test]
fn a_master_key_that_everybody_may_read_or_that_lies_with_the_data_refuses_to_start() {
    let place = Place::prepared();
    let key = place.path("keys/master.key");
    for mode in [0o604, 0o666, 0o602] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        place.run(&["serve"]).refused(1, &["keys/master.key", "600"]);
    }
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    place.run(&["serve", "--keys-dir", "data"]).refused(2, &["keys_dir", "data_dir"]);
    fs::copy(&key, place.path("data/master.key")).unwrap();
    // By a link, which the names alone do not show.
    std::os::unix::fs::symlink("data", place.path("elsewhere")).unwrap();
    place.run(&["serve", "--keys-dir", "elsewhere"]).refused(1, &["data"]);
}

#[test]
fn a_port_in_use_is_refused_with_the_flag_that_chooses_another() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.run(&["serve", "--listen", &address]).refused(1, &[&address, "in use", "--listen"]);
    place.run(&["serve", "--admin-listen", &address]).refused(1, &[&address, "in use", "--admin-listen"]);
    assert!(!place.path("data").exists() && !place.path("keys").exists(), "a refused start leaves nothing");
}

#[test]
fn a_wrong_configuration_is_refused_in_one_sentence_and_makes_nothing() {
    let place = Place::new();
    let file = |name: &str, text: &str| fs::write(place.path(name), text).unwrap();
    file("unknown.toml", "[refresh]\ngraze = \"10s\"\n");
    file("toml.toml", "issuer = \n");
    file("timing.toml", "[rotation]\nlead = \"10m\"\n");
    for (args, words) in [
        (&["--listen", "0.0.0.0:0"][..], &["issuer", "listen"][..]),
        (&["--listen", "[::]:0"], &["issuer", "listen"]),
        (&["--config", "unknown.toml"], &["refresh.graze", "not a setting", "grace"]),
        (&["--config", "toml.toml"], &["line 1", "toml.toml"]),
        (&["--config", "nowhere.toml"], &["nowhere.toml", "--config"]),
        (&["--config", "timing.toml"], &["rotation.lead", "lease", "jwks.max_age"]),
        (&["--issuer", "http://example.com"], &["issuer", "https"]),
        (&["--cors-origin", "*"], &["http.cors_origins"]),
        (&["--listen", "localhost"], &["listen"]),
    ] {
        place.run(&[&["serve"], args].concat()).refused(2, words);
    }
    let unknown = Place::new().set("KEYWARD_REFRESH_GRACE", "5s");
    unknown.run(&["serve"]).refused(2, &["KEYWARD_REFRESH_GRACE", "KEYWARD_REFRESH__GRACE"]);
    for (key, fault) in
        [("abc", "two words"), ("m1 a!b", "base64url"), ("m1 abcd", "32 bytes"), ("# none", "no key")]
    {
        let malformed = Place::new().set("KEYWARD_MASTER_KEY", key);
        let words = ["`master_key`", "environment KEYWARD_MASTER_KEY", fault, "`id key`"];
        for command in [&["serve"][..], &["user", "add", "alice", "--no-password"]] {
            let done = malformed.run(command).refused(2, &words);
            assert!(!done.err.contains(key), "the key is shown: {done:?}");
        }
        let checked = malformed.run(&["config", "check"]).code(2);
        assert!(words.iter().all(|word| checked.out.contains(word)), "{checked:?}");
        assert_eq!(fs::read_dir(malformed.path(".")).unwrap().count(), 0);
    }
    assert!(!place.path("data").exists() && !place.path("keys").exists());
    place.run(&["serve", "--liisten", "127.0.0.1:0"]).code(2);
}

#[test]
fn a_server_beyond_loopback_with_an_issuer_starts_and_signs_as_that_issuer() {
    let place = Place::prepared();
    let issuer = "https://login.example.org/auth";
    let server = place.serve_with(&["--listen", "0.0.0.0:0", "--issuer", issuer], &[]);
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], server.public.port()));
    let body = json!({ "identifier": "alice", "password": PASSWORD }).to_string();
    let tokens = Tokens::of(&ask(here, "POST", "/v1/login", &[JSON], &body).unwrap().expect(200));
    assert_eq!((&tokens.claims()["iss"], &tokens.claims()["aud"]), (&json!(issuer), &json!(issuer)));
    let metadata = ask(here, "GET", "/.well-known/openid-configuration", &[], "").unwrap().json();
    assert_eq!(metadata["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
}

#[test]
fn pages_of_allowed_origins_may_call_and_a_refused_one_is_logged_with_its_flag() {
    let place = Place::prepared();
    let flags = ["--cors-origin", "https://app.example", "--cors-origin", "http://localhost:5173"];
    let server = place.serve_with(&flags, &[]);
    let header = |name: &str, answer: &crate::app::Answer| {
        answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let asks = [
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    for origin in ["https://app.example", "http://localhost:5173"] {
        let own = ("origin", origin);
        let preflight = server.send("OPTIONS", "/v1/login", &[own, asks[0], asks[1]], "");
        assert_eq!(header("access-control-allow-origin", &preflight).as_deref(), Some(origin));
        let methods = header("access-control-allow-methods", &preflight).unwrap();
        assert!(["GET", "POST", "PUT", "DELETE"].iter().all(|method| methods.contains(method)));
        let allowed = header("access-control-allow-headers", &preflight).unwrap().to_lowercase();
        assert!(allowed.contains("authorization") && allowed.contains("content-type"));

        let body = json!({ "identifier": "alice", "password": PASSWORD }).to_string();
        let login = server.send("POST", "/v1/login", &[own, JSON], &body).expect(200);
        assert_eq!(header("access-control-allow-origin", &login).as_deref(), Some(origin));
        let vary = header("vary", &login).unwrap().to_lowercase();
        assert!(vary.contains("origin"), "a cache would mix origins up: {vary}");
        let refusal = server.send("POST", "/v1/login", &[own, JSON], "{}").expect(400);
        assert_eq!(header("access-control-allow-origin", &refusal).as_deref(), Some(origin));
    }
    let stranger = ("origin", "https://evil.example");
    let preflight = server.send("OPTIONS", "/v1/login", &[stranger, asks[0], asks[1]], "");
    assert_eq!(header("access-control-allow-origin", &preflight), None);
    let answer = server.send("POST", "/v1/login", &[stranger, JSON], "{}");
    assert_eq!(header("access-control-allow-origin", &answer), None);
    server.logs("--cors-origin");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("--cors-origin")).unwrap();
    assert!(line.contains("https://evil.example"), "{line}");
    assert!(!log.contains("https://app.example"), "an allowed origin is no news: {log}");
    // What everybody may read is readable from anywhere.
    let keys = server.send("GET", "/.well-known/jwks.json", &[stranger], "").expect(200);
    assert_eq!(header("access-control-allow-origin", &keys).as_deref(), Some("*"));
}

#[test]
fn slow_headers_and_slow_bodies_are_cut_off_in_time() {
    let place = Place::prepared()
        .set("KEYWARD_HTTP__HEADER_TIMEOUT", "300ms")
        .set("KEYWARD_HTTP__BODY_TIMEOUT", "300ms");
    let server = place.serve();
    let soon = Duration::from_secs(5);
    let closes = |what: &str, opening: &[u8]| {
        let watch = Stopwatch::start();
        let mut stream = TcpStream::connect(server.public).unwrap();
        stream.write_all(opening).unwrap();
        stream.set_read_timeout(Some(soon)).unwrap();
        let mut got = Vec::new();
        let end = stream.read_to_end(&mut got);
        assert!(end.is_ok() && watch.elapsed() < soon, "{what} keeps its connection: {end:?}");
        got
    };
    closes("half a head", b"GET /livez HTTP/1.1\r\nhost: a\r\nx-slow: ");
    closes("half a request line", b"GET /li");
    closes("a connection without a word", b"");
    closes("an idle connection", b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n");
    closes("half of the HTTP/2 preface", b"PRI * HTTP/2");
    closes("the whole preface and no more", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    closes("a body nobody reads", b"GET /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n");
    closes("a refused body", b"POST /v1/login HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n");
    let typed = "POST /v1/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    for (what, rest) in [
        ("half a body", "content-length: 100\r\n\r\n{\"identifier\""),
        ("no body", "content-length: 100\r\n\r\n"),
        ("half a chunked body", "transfer-encoding: chunked\r\n\r\n5\r\n{\"ide\r\n"),
    ] {
        let got = closes(what, format!("{typed}{rest}").as_bytes());
        let got = String::from_utf8_lossy(&got);
        assert!(got.starts_with("HTTP/1.1 408 "), "{what}: {got}");
        assert!(got.contains("urn:keyward:problem:request-timeout"), "{what}: {got}");
    }
    dripped(&server, soon);
    server.login("alice");
}

/// Bytes that keep coming, one by one, do not stretch the time.
fn dripped(server: &Server, soon: Duration) {
    for opening in [
        "GET /livez HTTP/1.1\r\nx-slow: ",
        "POST /v1/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9000\r\n\r\n",
    ] {
        let watch = Stopwatch::start();
        let mut stream = TcpStream::connect(server.public).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        stream.write_all(opening.as_bytes()).unwrap();
        let ended = until(soon, || {
            let broken = stream.write_all(b"a").is_err();
            (broken || stream.read(&mut [0; 1024]).is_ok()).then_some(())
        });
        assert!(ended.is_some() && watch.elapsed() < soon, "dripping stretched {opening:?}");
    }
}

#[test]
fn a_body_of_one_byte_too_many_is_refused_however_it_is_sent() {
    let place = Place::prepared();
    let server = place.serve();
    let body = |length: usize| format!("{{\"refresh_token\":\"{}\"}}", "a".repeat(length - 20));
    let (fits, over) = (body(16 * 1024), body(16 * 1024 + 1));
    assert_eq!(over.len(), 16 * 1024 + 1);
    assert_eq!(
        server.send("POST", "/v1/refresh", &[JSON], &fits).expect(401).problem(),
        "refresh-token-invalid"
    );
    assert_eq!(server.send("POST", "/v1/refresh", &[JSON], &over).expect(413).problem(), "body-too-large");
    let chunked = |body: &str| {
        let mut stream = TcpStream::connect(server.public).unwrap();
        let head = "POST /v1/refresh HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for chunk in body.as_bytes().chunks(1000) {
            let sent = stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes());
            sent.and_then(|()| stream.write_all(chunk)).and_then(|()| stream.write_all(b"\r\n")).unwrap();
        }
        // A server that has answered already may have closed.
        let _ = stream.write_all(b"0\r\n\r\n");
        let answer = answer(stream).unwrap();
        crate::schema::check(&"POST".parse().unwrap(), "/v1/refresh", &answer);
        answer
    };
    assert_eq!(chunked(&fits).expect(401).problem(), "refresh-token-invalid");
    assert_eq!(chunked(&over).expect(413).problem(), "body-too-large");
}

#[test]
fn a_request_is_found_in_the_log_by_its_trace_and_its_id() {
    let place = Place::prepared().set("KEYWARD_LOG__FORMAT", "json");
    let server = place.serve();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let id = |answer: &crate::app::Answer| answer.headers["x-request-id"].to_str().unwrap().to_owned();
    let kept = server.send("GET", "/livez", &[("traceparent", &parent), ("x-request-id", "mine-1.a_B")], "");
    assert_eq!(id(&kept), "mine-1.a_B");
    let answered = |id: &str| {
        let found = until(PATIENCE, || {
            let log = server.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["span"]["id"] == id && line["fields"]["message"] == "answered")
        });
        found.unwrap_or_else(|| panic!("request {id} is not in the log: {}", server.log()))
    };
    let line = answered("mine-1.a_B");
    assert_eq!(line["span"]["trace_id"], trace);
    assert_eq!((&line["span"]["path"], &line["fields"]["status"]), (&json!("/livez"), &json!(200)));

    // Ids that could forge log lines, and none at all, are replaced by fresh ones.
    let long = "a".repeat(65);
    let mut made = Vec::new();
    for given in [None, Some("two words"), Some("a\"b"), Some(long.as_str()), Some("")] {
        let headers: Vec<_> = given.iter().map(|id| ("x-request-id", *id)).collect();
        let id = id(&server.send("GET", "/nothing/secret-7", &headers, "").expect(404));
        assert!(Some(id.as_str()) != given && uuid::Uuid::parse_str(&id).is_ok(), "{given:?} gave {id}");
        assert_eq!(answered(&id)["span"]["trace_id"], "");
        made.push(id);
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 5);
    assert!(!server.log().contains("secret-7"), "a path of the caller's is in the log");
}

#[test]
fn garbage_on_the_socket_ends_connections_and_nothing_else() {
    let place = Place::prepared();
    let server = place.serve();
    let random = Random::seeded(7);
    let openings: [&[u8]; 8] = [
        b"",
        b"GET /livez HTTP/1.1\r\n",
        b"POST /v1/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 200\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /%00%ff HTTP/1.1\r\nhost: a\r\nx-forwarded-for: ",
        b"GET /v1/me HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ",
        b"POST /v1/login HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551616\r\n\r\n",
    ];
    for round in 0..160_usize {
        let mut noise = vec![0; 16 + round * 7];
        random.fill(&mut noise).unwrap();
        let mut stream = TcpStream::connect(server.public).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(openings[round % openings.len()]);
        let _ = stream.write_all(&noise);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        let status = got.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.first());
        assert_ne!(status, Some(&b'5'), "round {round}: {}", String::from_utf8_lossy(&got));
    }
    server.login("alice");
    let log = server.term().ok().err;
    assert!(!log.contains("panick"), "{log}");
}

#[test]
fn it_answers_on_ipv6_and_on_every_address_it_was_given() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("left out: this machine has no IPv6");
        return;
    }
    let place = Place::prepared();
    let server = place.serve_with(&["--listen", "[::1]:0", "--listen", "127.0.0.1:0"], &[]);
    assert!(server.public.is_ipv6());
    server.login("alice");
    let ready: Value = serde_json::from_slice(&fs::read(place.path("serve-0.ready")).unwrap()).unwrap();
    let addresses = ready["public"].as_array().unwrap();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        let address = address.as_str().unwrap().trim_start_matches("http://").parse().unwrap();
        ask(address, "GET", "/livez", &[], "").unwrap().expect(200);
        assert!(server.printed().contains(&format!("http://{address}")));
    }
}

#[test]
fn first_starts_at_the_same_moment_agree_on_every_key() {
    let place = Place::new();
    let servers: Vec<Server> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..3)
            .map(|number| {
                let place = &place;
                let log = format!("{number}");
                scope.spawn(move || place.serve_as(&log))
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    place.add_user("alice");
    let tokens = servers[0].login("alice");
    for server in &servers {
        assert_eq!(server.kids(), servers[0].kids());
        server.get("/v1/me", Some(&tokens.access)).expect(200);
        server.refresh(&tokens.refresh).expect(200);
    }
}

#[test]
fn an_account_may_be_added_before_the_first_start() {
    let place = Place::new();
    place.add_user("alice");
    assert_eq!(place.json(&["keys", "list", "--json"]), json!([]));
    place.run(&["keys", "rotate"]).refused(1, &[]);
    place.serve().login("alice");
}

#[test]
fn a_server_whose_output_nobody_reads_runs_on() {
    let place = Place::prepared();
    let mut child = place
        .command(&["serve", "--ready-file", "ready"])
        .stdout(std::process::Stdio::piped())
        .stderr(fs::File::create(place.path("log")).unwrap())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let log = || fs::read_to_string(place.path("log")).unwrap();
    let ready = until(PATIENCE, || log().contains(" ready ms=").then_some(()));
    let address = fs::read(place.path("ready")).ok().map(|text| {
        let ready: Value = serde_json::from_slice(&text).unwrap();
        ready["public"][0].as_str().unwrap().trim_start_matches("http://").parse().unwrap()
    });
    let answered = address.map(|address| ask(address, "GET", "/readyz", &[], ""));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready.is_some(), "{}", log());
    answered.unwrap().unwrap().expect(200);
}

#[test]
fn connections_beyond_the_limit_are_closed_and_the_others_go_on() {
    let place = Place::prepared().set("KEYWARD_HTTP__MAX_CONNECTIONS", "4");
    let server = place.serve();
    let held: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(server.public).unwrap()).collect();
    for mut stream in &held {
        stream.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
    }
    let mut beyond = TcpStream::connect(server.public).unwrap();
    beyond.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!matches!(beyond.read(&mut [0; 64]), Ok(1..)), "it was served");
    server.logs("max_connections is reached");
    for mut stream in held {
        stream.write_all(b"host: a\r\nconnection: close\r\n\r\n").unwrap();
        answer(stream).unwrap().expect(200);
    }
    let served = until(PATIENCE, || ask(server.public, "GET", "/livez", &[], "").ok());
    served.unwrap().expect(200);
}

/// The soft limit of open files of a server that was started under `limits`, and what it logged.
fn started_under(limits: &str) -> (u64, String) {
    let place = Place::prepared().after(limits);
    let server = place.serve();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    (line.split_whitespace().next().unwrap().parse().unwrap(), server.log())
}

#[test]
fn a_low_soft_limit_of_open_files_is_raised_to_what_the_connections_need() {
    let (soft, log) = started_under("ulimit -S -n 256");
    assert!(soft >= 4096 || log.contains("the hard limit of open files"), "{soft}: {log}");
}

#[test]
fn a_hard_limit_of_open_files_that_is_too_low_is_named_with_what_to_do() {
    let (soft, log) = started_under("ulimit -S -n 150 && ulimit -H -n 200");
    assert_eq!(soft, 200);
    let line = log.lines().find(|line| line.contains("the hard limit of open files is 200")).unwrap();
    for words in ["http.max_connections = 4096", "LimitNOFILE", "ulimit"] {
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn a_forwarded_address_that_is_not_believed_is_said_once_with_the_setting_that_would_believe_it() {
    let place = Place::prepared();
    let server = place.serve();
    let forwarded = ("x-forwarded-for", "192.0.2.7");
    for _ in 0..3 {
        server.send("POST", "/v1/refresh", &[JSON, forwarded], "{}").expect(400);
    }
    let lines = |log: &str| log.lines().filter(|line| line.contains("X-Forwarded-For")).count();
    let log = server.term().ok().err;
    assert_eq!(lines(&log), 1, "{log}");
    assert!(log.contains("http.trusted_proxies"), "{log}");
    assert!(!log.lines().any(|line| line.contains("X-Forwarded-For") && line.contains("192.0.2.7")), "{log}");

    let server = place.serve_with(&[], &[("KEYWARD_HTTP__TRUSTED_PROXIES", "127.0.0.1")]);
    server.send("POST", "/v1/refresh", &[JSON, forwarded], "{}").expect(400);
    server.send("POST", "/v1/refresh", &[JSON], "{}").expect(400);
    let log = server.term().ok().err;
    assert_eq!(lines(&log), 0, "{log}");
}

/// No file of the server may grow beyond `bytes`, as if the disk had no more room.
fn room_for(server: &Server, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, ..getrlimit(Resource::Fsize) }).unwrap();
}

/// How often it tried whether the database takes changes again.
fn trials(server: &Server) -> u64 {
    let metrics = ask(server.admin, "GET", "/metrics", &[], "").unwrap().expect(200);
    let text = std::str::from_utf8(&metrics.body).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("keyward_store_steps_total{step=\"recover\"} "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_full_disk_makes_it_unready_until_there_is_room_and_takes_no_refresh_back() {
    // The signal would end it; a full disk sends none. Less is logged, because the log must not meet the limit.
    let place = Place::prepared().after("trap '' XFSZ").set("KEYWARD_LOG__LEVEL", "warn,keyward::store=info");
    let server = place.serve();
    let (mut held, other) = (server.login("alice"), server.login("alice"));
    let wal = || fs::metadata(place.path("data/keyward.db-wal")).unwrap().len();
    let grown = until(PATIENCE, || {
        held = Tokens::of(&server.refresh(&held.refresh).expect(200));
        (wal() > 192 * 1024).then_some(())
    });
    assert!(grown.is_some(), "{} bytes", wal());
    server.get("/readyz", None).expect(200);
    assert_eq!(trials(&server), 0, "nothing is written for the sake of looking");

    room_for(&server, Some(128 * 1024));
    server.post("/v1/logout", &json!({ "refresh_token": other.refresh })).expect(503);
    let unready =
        || server.get("/readyz", None).expect(503).text("detail") == "the database takes no changes";
    assert!(unready(), "a change that carries a note of itself counts as any other");
    server.login_with("alice", PASSWORD).expect(503);
    server.refresh(&held.refresh).expect(503);
    for tokens in [&held, &other] {
        server.get("/v1/me", Some(&tokens.access)).expect(200);
    }
    server.get("/livez", None).expect(200);
    assert_eq!(server.kids().len(), 2);
    let tried = until(PATIENCE, || (trials(&server) >= 3).then_some(()));
    assert!(tried.is_some() && unready(), "what fails again and again proves nothing: {}", server.log());

    room_for(&server, None);
    let ready = until(Duration::from_secs(5), || {
        let answer = ask(server.public, "GET", "/readyz", &[], "").unwrap();
        (answer.status == 200).then_some(())
    });
    assert!(ready.is_some(), "{}", server.log());
    server.login("alice");
    for tokens in [&mut held, &mut { other }] {
        *tokens = Tokens::of(&server.refresh(&tokens.refresh).expect(200));
    }
    let log = server.log();
    let said = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    assert_eq!((said("free disk space"), said("the database takes changes again")), (1, 1), "{log}");

    // Killed with a full disk, it has lost nothing either.
    room_for(&server, Some(128 * 1024));
    server.login_with("alice", PASSWORD).expect(503);
    server.kill();
    let server = place.serve();
    server.refresh(&held.refresh).expect(200);
    for log in [log, server.log()] {
        assert!(!log.contains("the store was behind"), "{log}");
    }
}
