//! kill -9 between every two steps of what must survive it, and at any other moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use keyward::clock::{Clock, Stopwatch};
use keyward::random::Random;
use keyward_verifier::{KeySet, Verifier};
use serde_json::{Value, json};

use crate::app::{Answer, PASSWORD, Tokens};
use crate::process::{Done, PATIENCE, Place, Server, ask, finish, until};

const NEW: &str = "a herd of quiet llamas";
const ISSUER: &str = "http://localhost:8080";
const AGE_MS: i64 = 40 * 86_400_000;
const AT_ONCE: (&str, &str) = ("KEYWARD_REFRESH__GRACE", "0s");
const RETRIED: (&str, &str) = ("KEYWARD_REFRESH__GRACE", "60s");

/// Every place where the program can be told to die, and what brings it there; several ways take turns.
const POINTS: &[(&str, &[Way])] = &[
    ("start.after_tables", &[Way::FirstStart]),
    ("start.after_master_key", &[Way::FirstStart]),
    ("start.after_data_key", &[Way::FirstStart]),
    ("start.after_client", &[Way::FirstStart]),
    ("rotate.after_begin", &[Way::FirstStart]),
    ("rotate.after_generate", &[Way::Due, Way::Rotate, Way::FirstStart]),
    ("rotate.before_activate", &[Way::Rotate, Way::Due]),
    ("rotate.after_activate", &[Way::Due, Way::Rotate]),
    ("rotate.after_stage", &[Way::Rotate, Way::Due]),
    ("rotate.before_retire", &[Way::Due]),
    ("rotate.after_retire", &[Way::Due]),
    ("revoke.before_change", &[Way::Revoke]),
    ("revoke.after_change", &[Way::Revoke]),
    ("signing.after_raise", &[Way::LongLogin]),
    ("login.before_start", &[Way::Login]),
    ("login.after_start", &[Way::Login]),
    ("login.before_answer", &[Way::Login]),
    ("login.before_rehash", &[Way::Rehash]),
    ("login.after_rehash", &[Way::Rehash]),
    ("refresh.before_advance", &[Way::Refresh]),
    ("refresh.after_advance", &[Way::Refresh]),
    ("refresh.before_answer", &[Way::Refresh]),
    ("refresh.after_reuse", &[Way::Reuse]),
    ("password.before_change", &[Way::Password]),
    ("password.after_change", &[Way::Password]),
    ("password.before_answer", &[Way::Password]),
    ("passwd.before_change", &[Way::Passwd]),
    ("passwd.after_change", &[Way::Passwd]),
    ("secrets.before_add", &[Way::RefreshKey, Way::FirstStart, Way::Compromised]),
    ("secrets.after_add", &[Way::Compromised, Way::RefreshKey, Way::FirstStart]),
    ("secrets.before_end_all", &[Way::Compromised]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The server starts in an empty directory.
    FirstStart,
    /// The server finds keys whose time has come.
    Due,
    /// `keys rotate --force` beside a busy server.
    Rotate,
    /// `keys revoke --compromised` beside a busy server.
    Revoke,
    /// `data-keys rotate` beside a busy server.
    RefreshKey,
    /// `data-keys rotate --compromised` beside a server.
    Compromised,
    /// `user passwd` beside a busy server.
    Passwd,
    /// Requests to the server.
    Login,
    LongLogin,
    Rehash,
    Refresh,
    Reuse,
    Password,
}

/// A deployment in which one round takes place.
struct Scene {
    place: Place,
    alice: Vec<Session>,
    paula: Vec<Session>,
}

/// A client's side of a session.
#[derive(Clone)]
struct Session {
    /// The newest refresh token that arrived.
    refresh: String,
    /// Every access token that arrived.
    access: Vec<String>,
}

impl Session {
    fn of(tokens: &Tokens) -> Session {
        Session { refresh: tokens.refresh.clone(), access: vec![tokens.access.clone()] }
    }

    /// Refreshes once; `Err` when no whole answer came. A refusal is a failure of the test.
    fn refresh(&mut self, server: &Server) -> std::io::Result<()> {
        let answer = post(server, "/v1/refresh", None, &json!({ "refresh_token": self.refresh }))?;
        self.took(&Tokens::of(&answer.expect(200)));
        Ok(())
    }

    fn took(&mut self, tokens: &Tokens) {
        self.refresh.clone_from(&tokens.refresh);
        self.access.push(tokens.access.clone());
    }
}

fn post(server: &Server, path: &str, token: Option<&str>, body: &Value) -> std::io::Result<Answer> {
    let bearer = format!("Bearer {}", token.unwrap_or_default());
    let mut headers = vec![("content-type", "application/json")];
    let method = match token {
        Some(_) => {
            headers.push(("authorization", &bearer));
            "PUT"
        }
        None => "POST",
    };
    ask(server.public, method, path, &headers, &body.to_string())
}

impl Scene {
    /// With a retiring key that never signed, three sessions of alice and two of paula, access tokens of an hour.
    fn new() -> Scene {
        static FIRST: OnceLock<Scene> = OnceLock::new();
        let first = FIRST.get_or_init(|| {
            let place = Scene::empty().place;
            let server = place.serve();
            place.run(&["keys", "rotate"]).ok();
            let followed = until(PATIENCE, || (server.kids().len() == 3).then_some(()));
            assert!(followed.is_some());
            for name in ["alice", "paula"] {
                place.add_user(name);
            }
            place.run(&["client", "add", "long", "--access-lifetime", "90m"]).ok();
            let log_in = |name| Session::of(&server.login(name));
            let (alice, paula) = ([(); 3].map(|()| log_in("alice")), [(); 2].map(|()| log_in("paula")));
            server.term().ok();
            Scene { place, alice: alice.into(), paula: paula.into() }
        });
        Scene { place: first.place.copy(), alice: first.alice.clone(), paula: first.paula.clone() }
    }

    fn empty() -> Scene {
        let place =
            Place::new().set("KEYWARD_ACCESS__LIFETIME", "1h").set("KEYWARD_ACCESS__MAX_LIFETIME", "2h");
        Scene { place, alice: Vec::new(), paula: Vec::new() }
    }

    /// Brings the program to `point` in the way of the round, where it dies.
    fn crash(&mut self, point: &str, way: Way, nth: usize) {
        let once = format!("{point}:1");
        let nth = format!("{point}:{nth}");
        let done = match way {
            Way::FirstStart => self.server(&once, &[], |_| {}),
            Way::Due => {
                age(&self.place.path("data/keyward.db"));
                self.server(&once, &[], |_| {})
            }
            Way::Rotate => self.command(&once, &["keys", "rotate", "--force"]),
            Way::Revoke => {
                let kid = self.active();
                self.command(&once, &["keys", "revoke", &kid, "--compromised"])
            }
            Way::RefreshKey => self.command(&once, &["data-keys", "rotate", "refresh"]),
            Way::Compromised => self.command(&once, &["data-keys", "rotate", "refresh", "--compromised"]),
            Way::Passwd => self.command(&once, &["user", "passwd", "paula", "--password-stdin"]),
            Way::Refresh => self.server(&nth, &[AT_ONCE], |_| {}),
            Way::Login | Way::Rehash => {
                // Another cost than the stored hash has: the login makes a new one.
                let more = ("KEYWARD_PASSWORD__ITERATIONS", if way == Way::Rehash { "2" } else { "1" });
                let mut got = Vec::new();
                let spec = if way == Way::Rehash { &once } else { &nth };
                let done = self.server(spec, &[AT_ONCE, more], |server| {
                    let body = json!({ "identifier": "alice", "password": PASSWORD });
                    while let Ok(answer) = post(server, "/v1/login", None, &body) {
                        got.push(Session::of(&Tokens::of(&answer.expect(200))));
                    }
                });
                self.alice.extend(got);
                done
            }
            Way::LongLogin => self.server(&once, &[AT_ONCE], |server| {
                let body = json!({ "identifier": "alice", "password": PASSWORD, "client_id": "long" });
                assert!(post(server, "/v1/login", None, &body).is_err());
            }),
            Way::Reuse => {
                let spent = self.paula[0].refresh.clone();
                let server = self.place.serve_with(&[], &[AT_ONCE]);
                self.paula[0].refresh(&server).unwrap();
                self.paula[0].refresh(&server).unwrap();
                server.kill();
                self.server(&once, &[AT_ONCE], |server| {
                    let body = json!({ "refresh_token": spent });
                    assert!(post(server, "/v1/refresh", None, &body).is_err());
                })
            }
            Way::Password => {
                let token = self.paula[0].access[0].clone();
                self.server(&once, &[AT_ONCE], |server| {
                    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
                    assert!(post(server, "/v1/me/password", Some(&token), &body).is_err());
                })
            }
        };
        assert!(done.was_killed(), "{point} {way:?} was not reached: {done:?}");
        assert!(done.err.contains(&format!("failpoint hit: {point}\n")), "{point} {way:?}: {done:?}");
    }

    /// A server that is to die at `spec`, while alice's clients refresh and `act` runs.
    fn server(&mut self, spec: &str, env: &[(&str, &str)], act: impl FnOnce(&Server)) -> Done {
        let env = [env, &[("KEYWARD_FAIL_AT", spec)]].concat();
        let server = match self.place.try_serve(&[], &env) {
            Ok(server) => server,
            Err(done) => return done,
        };
        let watch = Stopwatch::start();
        std::thread::scope(|scope| {
            for session in &mut self.alice {
                let server = &server;
                scope.spawn(move || while watch.elapsed() < PATIENCE && session.refresh(server).is_ok() {});
            }
            act(&server);
        });
        server.wait()
    }

    /// A command that is to die at `spec`, beside a server whose clients do not notice.
    fn command(&mut self, spec: &str, args: &[&str]) -> Done {
        let server = self.place.serve_with(&[], &[AT_ONCE]);
        let stop = AtomicBool::new(args.contains(&"--compromised") && args[0] == "data-keys");
        let done = std::thread::scope(|scope| {
            for session in &mut self.alice {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        session.refresh(server).unwrap();
                    }
                });
            }
            let mut command = self.place.command(args);
            command.env("KEYWARD_FAIL_AT", spec);
            let done = finish(command, NEW);
            stop.store(true, Ordering::Relaxed);
            done
        });
        server.kill();
        done
    }

    fn keys(&self) -> Vec<(String, String)> {
        let listed = self.place.json(&["keys", "list", "--json"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        listed.as_array().unwrap().iter().map(|key| (text(&key["kid"]), text(&key["state"]))).collect()
    }

    fn active(&self) -> String {
        let keys = self.keys();
        let mut active = keys.iter().filter(|(_, state)| state == "active");
        let (kid, _) = active.next().unwrap_or_else(|| panic!("no active key: {keys:?}"));
        assert!(active.next().is_none(), "two active keys: {keys:?}");
        kid.clone()
    }

    /// Starts it again and looks at everything that must hold.
    fn holds(&mut self, point: &str, way: Way) {
        let server = self.place.serve_with(&[], &[RETRIED]);
        self.active();
        let staged = until(PATIENCE, || self.keys().iter().any(|(_, state)| state == "staged").then_some(()));
        assert!(staged.is_some(), "no key is in hand: {:?}", self.keys());
        let served = until(PATIENCE, || (server.kids()[0] == self.active()).then_some(()));
        assert!(served.is_some(), "the active key is not served first");

        let (alice, paula) = match (point, way) {
            (_, Way::FirstStart) => ([].into(), [].into()),
            // The refresh key is gone: everybody logs in again, and the command can be given again.
            ("secrets.before_end_all", _) => (vec![false; self.alice.len()], vec![false; 2]),
            ("refresh.after_reuse", _) => (vec![true; self.alice.len()], vec![false, true]),
            ("password.after_change" | "password.before_answer", _) => {
                (vec![true; self.alice.len()], vec![true, false])
            }
            ("passwd.after_change", _) => (vec![true; self.alice.len()], vec![false, false]),
            _ => (vec![true; self.alice.len()], vec![true; 2]),
        };
        for (session, lives) in self.alice.iter_mut().zip(alice).chain(self.paula.iter_mut().zip(paula)) {
            if lives {
                session.refresh(&server).unwrap();
            } else {
                server.refresh(&session.refresh).expect(401);
            }
        }
        if way == Way::FirstStart {
            for name in ["alice", "paula"] {
                self.place.add_user(name);
            }
        }
        let changed =
            ["password.after_change", "password.before_answer", "passwd.after_change"].contains(&point);
        let (right, wrong) = if changed { (NEW, PASSWORD) } else { (PASSWORD, NEW) };
        server.login_with("paula", right).expect(200);
        assert_eq!(server.login_with("paula", wrong).expect(401).problem(), "invalid-credentials");
        self.alice.push(Session::of(&server.login("alice")));
        self.tokens_verify(&server);

        if way == Way::LongLogin {
            let body = json!({ "identifier": "alice", "password": PASSWORD, "client_id": "long" });
            let tokens = Tokens::of(&server.post("/v1/login", &body).expect(200));
            let claims = tokens.claims();
            assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() > 5_000, "{claims}");
            self.alice.push(Session::of(&tokens));
        }
        if way == Way::Compromised {
            self.place.run(&["data-keys", "rotate", "refresh", "--compromised"]).ok();
            let ended = || self.alice.iter().all(|session| server.refresh(&session.refresh).status == 401);
            assert!(until(PATIENCE, || ended().then_some(())).is_some(), "a session survived");
            self.alice = vec![Session::of(&server.login("alice"))];
        }
        // Whatever was half done, the next rotation gets through and breaks nothing.
        self.place.run(&["keys", "rotate", "--force"]).ok();
        let served = until(PATIENCE, || (server.kids()[0] == self.active()).then_some(()));
        assert!(served.is_some(), "the server did not follow the rotation");
        self.alice.push(Session::of(&server.login("alice")));
        self.tokens_verify(&server);
        server.term().ok();
    }

    /// Every token that ever arrived is good, by the served keys and to the server, unless its key was revoked.
    fn tokens_verify(&self, server: &Server) {
        let verifier = Verifier::builder().issuer(ISSUER).audience(ISSUER).rs256().build().unwrap();
        let set = KeySet::parse(&server.get("/.well-known/jwks.json", None).expect(200).body).unwrap();
        let revoked = self.keys().into_iter().filter(|(_, state)| state == "revoked").map(|(kid, _)| kid);
        let revoked: Vec<String> = revoked.collect();
        let now = Clock::system().now().seconds();
        for token in self.alice.iter().chain(&self.paula).flat_map(|session| &session.access) {
            let verdict = verifier.verify(token, &set, now);
            if revoked.contains(&kid(token)) {
                assert!(verdict.is_err(), "a token of a revoked key verifies");
            } else if let Err(refusal) = verdict {
                panic!("an unexpired token does not verify: {:?}", refusal.reason);
            }
        }
        let newest = self.alice.last().unwrap().access.last().unwrap();
        server.get("/v1/me", Some(newest)).expect(200);
    }
}

fn kid(token: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

/// Makes every signing key older, so that a rotation and a retirement are due.
fn age(database: &Path) {
    let address = format!("sqlite://{}", database.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&address).await.unwrap();
        sqlx::query("UPDATE signing_keys SET staged_at = staged_at - $1, activated_at = activated_at - $1, retiring_at = retiring_at - $1")
            .bind(AGE_MS)
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    });
}

#[expect(clippy::disallowed_methods, reason = "how long the proof runs is asked of the shell that runs it")]
fn rounds() -> usize {
    std::env::var("KEYWARD_PROOF_ROUNDS").ok().map_or(30, |rounds| rounds.parse().unwrap())
}

#[test]
fn a_crash_between_any_two_steps_leaves_a_state_that_goes_on() {
    let rounds = rounds().max(POINTS.len());
    let mut hits: BTreeMap<&str, u32> = POINTS.iter().map(|(point, _)| (*point, 0)).collect();
    for round in 0..rounds {
        let (point, ways) = POINTS[round % POINTS.len()];
        let turn = round / POINTS.len();
        let way = ways[turn % ways.len()];
        eprintln!("round {round}: {point}, {way:?}");
        let mut scene = if way == Way::FirstStart { Scene::empty() } else { Scene::new() };
        scene.crash(point, way, 1 + turn % 5);
        *hits.entry(point).or_default() += 1;
        scene.holds(point, way);
    }
    for (point, hits) in &hits {
        println!("figure: failpoint {point} hits {hits}");
    }
    println!("figure: crash rounds {rounds}");
    assert!(hits.values().all(|hits| *hits > 0), "a failpoint was never hit: {hits:?}");
}

#[test]
fn no_acknowledged_refresh_is_lost_by_a_crash_at_any_moment() {
    let rounds = (rounds() / 5).max(3);
    let mut scene = Scene::new();
    let random = Random::seeded(11);
    let total = AtomicU32::new(0);
    for _ in 0..rounds {
        let mut byte = [0];
        random.fill(&mut byte).unwrap();
        let server = scene.place.serve_with(&[], &[AT_ONCE]);
        let (seen, watch) = (AtomicU32::new(0), Stopwatch::start());
        std::thread::scope(|scope| {
            for session in &mut scene.alice {
                let (server, seen) = (&server, &seen);
                scope.spawn(move || {
                    while watch.elapsed() < PATIENCE && session.refresh(server).is_ok() {
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let enough = || seen.load(Ordering::Relaxed) > u32::from(byte[0]) / 2;
            assert!(until(PATIENCE, || enough().then_some(())).is_some(), "the clients stand still");
            server.signal(rustix::process::Signal::KILL);
        });
        assert!(server.wait().was_killed());
        total.fetch_add(seen.load(Ordering::Relaxed), Ordering::Relaxed);
        let server = scene.place.serve_with(&[], &[RETRIED]);
        for session in &mut scene.alice {
            session.refresh(&server).unwrap();
        }
        scene.tokens_verify(&server);
        server.term().ok();
    }
    println!("figure: crash at random moments rounds {rounds} acknowledged {}", total.into_inner());
}

#[test]
fn every_failpoint_of_the_program_has_its_rounds() {
    let mut found: Vec<String> = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let names = text.split("failpoint!(\"").skip(1).filter_map(|rest| rest.split('"').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }
    found.retain(|name| name != "nobody.armed.this");
    found.sort();
    found.dedup();
    let mut known: Vec<&str> = POINTS.iter().map(|(point, _)| *point).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}
