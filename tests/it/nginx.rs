//! Two replicas on one database behind nginx, which ends TLS, as people put them on the web.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::app::{Answer, PASSWORD, Tokens};
use crate::process::{PATIENCE, Place, Server, ask, finish, parse, until};

const NGINX: &str = "nginx";
const OPENSSL: &str = "openssl";
const CURL: &str = "curl";
/// The name in the certificate.
const NAME: &str = "id.example";
const JSON: (&str, &str) = ("content-type", "application/json");
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const OFFICE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// nginx in front of two replicas, which take turns.
struct Front {
    nginx: Child,
    at: SocketAddr,
    place: Place,
    replicas: [Server; 2],
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
    }
}

/// `None`, with the reason on standard error, where the tests run without other programs.
fn front(place: Place) -> Option<Front> {
    if !engines_run() {
        eprintln!("left out: nginx, because KEYWARD_TEST_ENGINES names no server (scripts/test --fast)");
        return None;
    }
    for program in [NGINX, OPENSSL, CURL] {
        assert!(
            found(program).is_some(),
            "{program} is missing: ./scripts/setup installs what the tests need"
        );
    }
    let replicas = [place.serve(), place.serve()];
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let [one, two] = [&replicas[0], &replicas[1]].map(|replica| replica.public);
    let folder = place.path("nginx");
    fs::create_dir(&folder).unwrap();
    certificate(&folder);
    let text = format!(
        "daemon off;
        master_process off;
        pid {0}/pid;
        error_log stderr warn;
        events {{ worker_connections 256; }}
        http {{
            access_log off;
            client_body_temp_path {0}/body;
            proxy_temp_path {0}/proxy;
            fastcgi_temp_path {0}/fastcgi;
            uwsgi_temp_path {0}/uwsgi;
            scgi_temp_path {0}/scgi;
            upstream keyward {{ server {one}; server {two}; keepalive 8; }}
            server {{
                listen {at} ssl;
                server_name {NAME};
                ssl_certificate {0}/certificate.pem;
                ssl_certificate_key {0}/key.pem;
                location / {{
                    proxy_pass http://keyward;
                    proxy_http_version 1.1;
                    proxy_set_header Connection \"\";
                    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                }}
            }}
        }}",
        folder.display()
    );
    fs::write(folder.join("nginx.conf"), text).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = program(NGINX);
    command.arg("-e").arg("stderr").arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
    let mut nginx = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let up = until(PATIENCE, || match nginx.try_wait().unwrap() {
        Some(_) => Some(false),
        None => TcpStream::connect(at).is_ok().then_some(true),
    });
    assert_eq!(up, Some(true), "{}", fs::read_to_string(folder.join("log")).unwrap());
    Some(Front { nginx, at, place, replicas })
}

/// For one test, signed by itself.
fn certificate(folder: &Path) {
    let mut command = program(OPENSSL);
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]);
    command.args(["-subj", &format!("/CN={NAME}"), "-addext", &format!("subjectAltName=DNS:{NAME}")]);
    command.arg("-keyout").arg(folder.join("key.pem")).arg("-out").arg(folder.join("certificate.pem"));
    finish(command, "").ok();
}

#[expect(clippy::disallowed_methods, reason = "which other programs tests may use is asked of scripts/test")]
fn engines_run() -> bool {
    std::env::var("KEYWARD_TEST_ENGINES").map_or(true, |engines| engines.contains("postgres"))
}

/// Where a program is, as `scripts/places.sh` looks for it: in PATH, and then where Debian has nginx.
#[expect(clippy::disallowed_methods, reason = "other programs are found as a shell finds them")]
fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn program(name: &str) -> Command {
    Command::new(found(name).unwrap_or_else(|| name.into()))
}

/// Behind a trusted nginx, with sources that may fail three times.
fn place() -> Place {
    Place::prepared()
        .set("KEYWARD_HTTP__TRUSTED_PROXIES", "127.0.0.1")
        .set("KEYWARD_LIMITS__SOURCE__FREE", "3")
        .set("KEYWARD_LIMITS__SOURCE__FIRST_DELAY", "1m")
        .set("KEYWARD_LIMITS__SOURCE__MAX_DELAY", "5m")
        .set("KEYWARD_LIMITS__ACCOUNT__FREE", "1000")
}

impl Front {
    /// curl that asks from a source address of one's own, of which loopback has many, and trusts no certificate yet.
    fn curl(&self, from: IpAddr, path: &str) -> Command {
        let mut command = program(CURL);
        command.args(["--silent", "--show-error", "--http1.1", "--raw", "--include", "--max-time", "30"]);
        command.args(["--interface", &from.to_string(), "--noproxy", "*"]);
        command.args(["--resolve", &format!("{NAME}:{}:{}", self.at.port(), self.at.ip())]);
        command.arg(format!("https://{NAME}:{}{path}", self.at.port()));
        command
    }

    /// Asks over TLS, trusting the one certificate.
    fn ask(&self, from: IpAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut command = self.curl(from, path);
        command.arg("--cacert").arg(self.place.path("nginx/certificate.pem")).args(["--request", method]);
        // Otherwise curl waits for leave to send a large body.
        for (name, value) in [("expect", "")].iter().chain(headers) {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        if method == "POST" {
            command.args(["--data-binary", "@-"]);
        }
        let done = finish(command, body).ok();
        let answer = parse(done.out.as_bytes()).unwrap_or_else(|| panic!("no whole answer: {done:?}"));
        crate::schema::check(&method.parse().unwrap(), path, &answer);
        answer
    }

    fn post(&self, from: IpAddr, path: &str, body: &Value) -> Answer {
        self.ask(from, "POST", path, &[JSON], &body.to_string())
    }

    fn login(&self, from: IpAddr, password: &str) -> Answer {
        self.post(from, "/v1/login", &json!({ "identifier": "alice", "password": password }))
    }

    /// How many requests to a path each replica has answered.
    fn answered(&self, path: &str) -> [usize; 2] {
        [0, 1].map(|which| {
            let log = self.replicas[which].log();
            log.lines().filter(|line| line.contains("answered") && line.contains(path)).count()
        })
    }
}

#[test]
fn a_session_goes_on_at_whichever_replica_nginx_chooses() {
    let Some(front) = front(place().set("KEYWARD_REFRESH__GRACE", "0s")) else { return };
    let mut tokens = Tokens::of(&front.login(HOME, PASSWORD).expect(200));
    for round in 0..20 {
        if round == 10 {
            front.place.run(&["keys", "rotate", "--force"]).ok();
        }
        let next = front.post(HOME, "/v1/refresh", &json!({ "refresh_token": tokens.refresh })).expect(200);
        let next = Tokens::of(&next);
        assert_ne!(next.refresh, tokens.refresh);
        tokens = next;
        // Not every time, or each replica would see one kind of request only.
        if round % 2 == 0 {
            let bearer = format!("Bearer {}", tokens.access);
            front.ask(HOME, "GET", "/v1/me", &[("authorization", &bearer)], "").expect(200);
        }
    }
    let shares = front.answered("/v1/refresh");
    assert!(shares.iter().all(|share| *share >= 4), "nginx chose only one replica: {shares:?}");
    assert_eq!(front.replicas[0].get("/.well-known/jwks.json", None).status, 200);
    let same = until(PATIENCE, || (front.replicas[0].kids() == front.replicas[1].kids()).then_some(()));
    assert!(same.is_some(), "the replicas publish different keys");

    // A lost answer is asked for again, and the other replica gives the same one.
    let again = place_with_grace(&front);
    let body = json!({ "refresh_token": tokens.refresh });
    let both = [&again.0, &again.1].map(|replica| replica.post("/v1/refresh", &body).expect(200).body);
    assert_eq!(both[0], both[1]);

    let body = json!({ "refresh_token": tokens.refresh, "all": true });
    assert_eq!(front.post(HOME, "/v1/logout", &body).status, 204);
    for replica in &front.replicas {
        replica.get("/v1/me", Some(&tokens.access)).expect(401);
    }
}

/// Two more replicas of the same deployment, which forgive retries.
fn place_with_grace(front: &Front) -> (Server, Server) {
    let grace = [("KEYWARD_REFRESH__GRACE", "60s")];
    (front.place.serve_with(&[], &grace), front.place.serve_with(&[], &grace))
}

#[test]
fn nginx_ends_tls_and_nobody_gets_in_without_it() {
    let Some(front) = front(place().set("KEYWARD_ISSUER", "https://id.example")) else { return };
    let metadata = front.ask(HOME, "GET", "/.well-known/oauth-authorization-server", &[], "").expect(200);
    assert_eq!(metadata.text("jwks_uri"), "https://id.example/.well-known/jwks.json");
    front.login(HOME, PASSWORD).expect(200);
    // To a client that trusts other certificates, and to one that speaks no TLS, it says nothing.
    finish(front.curl(HOME, "/livez"), "").code(60);
    let plain = ask(front.at, "GET", "/livez", &[], "").unwrap();
    assert_eq!(plain.status, 400);
    assert!(front.answered("/livez").iter().all(|asked| *asked == 0));
}

#[test]
fn sources_are_limited_by_their_own_address_and_not_by_that_of_the_proxy() {
    let Some(front) = front(place()) else { return };
    let wrong = "not the right password";
    for attempt in 0..4 {
        assert_eq!(front.login(OFFICE, wrong).status, 401, "attempt {attempt}");
    }
    // Both replicas know it, whichever nginx asks.
    for _ in 0..4 {
        let refused = front.login(OFFICE, PASSWORD).expect(429);
        assert_eq!(refused.problem(), "too-many-attempts");
        let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
    }
    // An address that the client itself wrote into the header is not believed.
    let body = json!({ "identifier": "alice", "password": PASSWORD }).to_string();
    for claimed in ["192.0.2.9", "127.0.0.1", "192.0.2.9, 127.0.0.1", "nonsense", "::1"] {
        let headers = [JSON, ("x-forwarded-for", claimed)];
        front.ask(OFFICE, "POST", "/v1/login", &headers, &body).expect(429);
    }
    // Others behind the same proxy are not held up.
    let tokens = Tokens::of(&front.login(HOME, PASSWORD).expect(200));
    front.post(OFFICE, "/v1/refresh", &json!({ "refresh_token": tokens.refresh })).expect(200);
    let shares = front.answered("/v1/login");
    assert!(shares.iter().all(|share| *share >= 3), "nginx chose only one replica: {shares:?}");
}

#[test]
fn a_stranger_who_is_no_trusted_proxy_cannot_choose_its_address() {
    let place = place().set("KEYWARD_HTTP__TRUSTED_PROXIES", "127.0.0.9");
    let server = place.serve();
    let body = json!({ "identifier": "alice", "password": "not the right password" }).to_string();
    for attempt in 0..6 {
        let claimed = format!("192.0.2.{attempt}");
        let answer = server.send("POST", "/v1/login", &[JSON, ("x-forwarded-for", &claimed)], &body);
        assert_eq!(answer.status, if attempt < 4 { 401 } else { 429 }, "attempt {attempt}");
    }
}

#[test]
fn nothing_is_lost_when_a_replica_stops_behind_nginx() {
    let Some(mut front) = front(place().set("KEYWARD_REFRESH__GRACE", "0s")) else { return };
    let mut tokens = Tokens::of(&front.login(HOME, PASSWORD).expect(200));
    let fresh = front.place.serve();
    std::mem::replace(&mut front.replicas[1], fresh).term().ok();
    for _ in 0..10 {
        let body = json!({ "refresh_token": tokens.refresh });
        tokens = Tokens::of(&front.post(HOME, "/v1/refresh", &body).expect(200));
    }
}

#[test]
fn nginx_passes_refusals_and_headers_on_as_they_are() {
    let Some(front) = front(place()) else { return };
    let large = format!("{{\"refresh_token\":\"{}\"}}", "a".repeat(20_000));
    assert_eq!(
        front.ask(HOME, "POST", "/v1/refresh", &[JSON], &large).expect(413).problem(),
        "body-too-large"
    );
    let keys = front.ask(HOME, "GET", "/.well-known/jwks.json", &[], "").expect(200);
    let etag = keys.headers["etag"].to_str().unwrap();
    front.ask(HOME, "GET", "/.well-known/jwks.json", &[("if-none-match", etag)], "").expect(304);
    let version = finish(
        {
            let mut command = program(NGINX);
            command.arg("-v");
            command
        },
        "",
    );
    println!("figure: nginx {}", version.ok().err.trim());
}
