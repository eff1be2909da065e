//! One tour through everything at trace level; then every byte that was logged, answered or stored is searched for
//! every secret that the tour made.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use keyward::app::Deployment;
use keyward::clock::Clock;
use keyward::config::{Config, Overrides};
use keyward::random::Random;
use keyward::secrets::{LABELS, REFRESH, root_secret};
use keyward::signing::key::unseal;
use keyward::store::{Accounts as _, Limits as _, SigningKeys as _};
use keyward_envelope::{Context, Sealed};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use serde_json::{Value, json};

use crate::app::Answer;
use crate::process::{Done, Place};

/// So many bytes in a row of anything secret are a leak.
const RUN: usize = 16;

/// Finds runs of secrets, in any spelling, in one pass over a text.
#[derive(Default)]
struct Scanner {
    runs: HashMap<Vec<u8>, String>,
    /// Whether any run may begin with bytes of this [`mark`]: most places are done with after one look.
    beginnings: Vec<bool>,
}

impl Scanner {
    /// A secret that is text: any 16 bytes of it, or the whole if it is shorter.
    fn text(&mut self, name: &str, secret: &str) {
        self.windows(name, secret.as_bytes(), RUN);
        self.windows(name, STANDARD.encode(secret).trim_end_matches('=').as_bytes(), RUN);
        self.windows(name, secret.bytes().map(|b| format!("{b:02x}")).collect::<String>().as_bytes(), RUN);
    }

    /// A secret of bytes: any 8 of them as they are, or 16 characters of their usual spellings.
    fn bytes(&mut self, name: &str, secret: &[u8]) {
        self.windows(name, secret, RUN / 2);
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let list: Vec<String> = secret.iter().map(u8::to_string).collect();
        let texts = [hex.to_uppercase(), hex, list.join(", "), list.join(",")];
        for text in texts {
            self.windows(name, text.as_bytes(), RUN);
        }
        for skip in 0..3 {
            for engine in [STANDARD, URL_SAFE_NO_PAD] {
                let text = engine.encode(&secret[skip..]);
                // The last characters mix with what follows.
                self.windows(name, text.trim_end_matches('=').as_bytes().split_last().unwrap().1, RUN);
            }
        }
    }

    fn windows(&mut self, name: &str, secret: &[u8], length: usize) {
        self.beginnings.resize(1 << 22, false);
        assert!(secret.len() >= 8, "{name} is too short to be looked for");
        for run in secret.windows(length.min(secret.len())) {
            self.beginnings[mark(run)] = true;
            self.runs.entry(run.to_vec()).or_insert_with(|| name.to_owned());
        }
    }

    /// The names of what is found.
    fn find(&self, place: &[u8]) -> Vec<String> {
        let mut lengths: Vec<usize> = self.runs.keys().map(Vec::len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut found = Vec::new();
        for (at, beginning) in place.windows(4).enumerate() {
            if !self.beginnings[mark(beginning)] {
                continue;
            }
            let here = lengths.iter().filter_map(|length| self.runs.get(place.get(at..at + length)?));
            found.extend(here.cloned());
        }
        found.sort();
        found.dedup();
        found
    }
}

/// 22 bits of the first four bytes.
fn mark(bytes: &[u8]) -> usize {
    (u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).wrapping_mul(0x9e37_79b9) >> 10) as usize
}

/// What is searched: a name and the bytes.
type Places = Vec<(String, Vec<u8>)>;

/// Talks to the server, keeps everything that came back, and learns the tokens.
struct Tour {
    client: Client<HttpConnector, Full<Bytes>>,
    public: SocketAddr,
    admin: SocketAddr,
    places: Places,
    /// Names and values of access and refresh tokens.
    tokens: Vec<(String, String)>,
}

impl Tour {
    async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let to = if path == "/metrics" { self.admin } else { self.public };
        let mut request = Request::builder().method(method.clone()).uri(format!("http://{to}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let (parts, body) = self.client.request(request).await.unwrap().into_parts();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        let place = format!("{} of {method} {path}", answer.status);
        self.places.push((format!("headers, {place}"), spelt(&answer.headers)));
        if answer.status == 200 && (path == "/v1/login" || path == "/v1/refresh") {
            for member in ["access_token", "refresh_token"] {
                self.tokens.push((member.to_owned(), answer.text(member)));
            }
        } else {
            self.places.push((format!("body, {place}"), answer.body.to_vec()));
        }
        answer
    }

    async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[JSON], &body.to_string()).await
    }

    async fn with(&mut self, method: Method, path: &str, access: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {access}");
        self.send(method, path, &[JSON, ("authorization", &bearer)], body).await
    }

    async fn login(&mut self, name: &str, password: &str) -> Answer {
        self.post("/v1/login", &json!({ "identifier": name, "password": password })).await
    }

    async fn refresh(&mut self, token: &str) -> Answer {
        self.post("/v1/refresh", &json!({ "refresh_token": token })).await
    }

    /// Everything a user does, does wrong, and does in the wrong place.
    async fn walk(&mut self, name: &str, password: &str, new: &str) {
        for path in ["/", "/livez", "/readyz", "/.well-known/jwks.json", "/openapi.yaml", "/nowhere"] {
            self.send(Method::GET, path, &[], "").await;
        }
        self.login(name, GUESS).await.expect(401);
        self.login("nobody", password).await.expect(401);
        self.login(password, password).await.expect(401);
        let first = self.login(name, password).await.expect(200);
        let (access, refresh) = (first.text("access_token"), first.text("refresh_token"));
        self.with(Method::GET, "/v1/me", &access, "").await.expect(200);
        self.with(Method::GET, "/v1/sessions", &access, "").await.expect(200);

        let next = self.refresh(&refresh).await.expect(200);
        let next_access = next.text("access_token");
        self.refresh(&next.text("refresh_token")).await.expect(200);
        self.refresh(&refresh).await.expect(401);
        self.with(Method::GET, "/v1/me", &next_access, "").await.expect(401);

        let open = self.login(name, password).await.expect(200);
        let (access, refresh) = (open.text("access_token"), open.text("refresh_token"));
        let forged = format!("{}AAAA", &access[..access.len() - 4]);
        self.with(Method::GET, "/v1/me", &forged, "").await.expect(401);
        self.misplace(&access, &refresh, name, password).await;

        let change = |current: &str, new: &str| json!({ "current_password": current, "new_password": new });
        let path = "/v1/me/password";
        self.with(Method::PUT, path, &access, &change(GUESS, new).to_string()).await.expect(403);
        self.with(Method::PUT, path, &access, &change(password, name).to_string()).await.expect(422);
        self.with(Method::PUT, path, &access, &change(password, new).to_string()).await.expect(204);
        let other = self.login(name, new).await.expect(200);
        let ended = format!("/v1/sessions/{}", other.text("session_id"));
        self.with(Method::DELETE, &ended, &access, "").await.expect(204);
        self.refresh(&other.text("refresh_token")).await.expect(401);
        self.post("/v1/logout", &json!({ "refresh_token": refresh })).await.expect(204);
        self.with(Method::POST, "/v1/logout", &access, "{}").await.expect(204);
        self.send(Method::GET, "/metrics", &[], "").await.expect(200);
    }

    /// Secrets where they do not belong.
    async fn misplace(&mut self, access: &str, refresh: &str, name: &str, password: &str) {
        let cut = format!("{{\"identifier\": \"{name}\", \"password\": \"{password}");
        let bodies = [
            cut.clone(),
            format!("{cut}\"}} and more"),
            format!("[\"{name}\", \"{password}\", \"{refresh}\"]"),
            format!("\"{refresh}\""),
            json!({ "identifier": name, "password": [password] }).to_string(),
            json!({ "identifier": { "password": password }, "password": access }).to_string(),
            json!({ "identifier": name, "password": password, password: 1, refresh: 2 }).to_string(),
            json!({ "identifier": name, "password": password, "client_id": access }).to_string(),
            json!({ "identifier": name, "password": password, "audience": refresh }).to_string(),
            json!({ "identifier": name, "password": password, "scope": access }).to_string(),
            json!({ "refresh_token": password }).to_string(),
            json!({ "refresh_token": access }).to_string(),
            json!({ "refresh_token": refresh, "audience": password }).to_string(),
        ];
        for path in ["/v1/login", "/v1/refresh", "/v1/logout"] {
            for body in &bodies {
                self.send(Method::POST, path, &[JSON], body).await;
                self.send(Method::POST, path, &[("content-type", "text/plain")], body).await;
            }
            self.send(Method::POST, path, &[("content-type", access)], "{}").await;
        }
        let basic = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        let quoted = format!("Bearer \"{access}\"");
        let (twice, cookie) = (format!("Bearer {access}, {access}"), format!("refresh_token={refresh}"));
        for value in [&basic, &quoted, &twice, &format!("Bearer {refresh}"), &refresh.to_owned()] {
            self.send(Method::GET, "/v1/me", &[("authorization", value)], "").await.expect(401);
        }
        let odd =
            [("user-agent", access), ("cookie", &cookie), ("traceparent", access), ("referer", refresh)];
        self.send(Method::GET, "/v1/me", &odd, "").await.expect(401);
        self.send(Method::GET, "/livez", &[("x-forwarded-for", access)], "").await.expect(200);
        for path in ["/v1/sessions", "/v1/logout", "/elsewhere", "/v1/me"] {
            self.with(Method::DELETE, &format!("{path}/{refresh}"), access, "").await;
            let query = format!("{path}?access_token={access}&password={}", password.replace(' ', "%20"));
            self.send(Method::GET, &query, &[], "").await;
        }
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const GUESS: &str = "GUESSED-wrong-zebra-5521";
const PASSPHRASE: &str = "correct-horse";

fn spelt(headers: &HeaderMap) -> Vec<u8> {
    headers
        .iter()
        .flat_map(|(name, value)| [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat())
        .collect()
}

fn keep(places: &mut Places, name: &str, done: Done) -> Done {
    places.push((format!("output of {name}"), done.out.clone().into_bytes()));
    places.push((format!("log of {name}"), done.err.clone().into_bytes()));
    done
}

fn files(places: &mut Places, when: &str, folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        places.push((format!("{} {when}", path.display()), fs::read(&path).unwrap()));
    }
}

/// Learns what is sealed in the store, and keeps the audit trail.
async fn open(place: &Place, scanner: &mut Scanner, places: &mut Places, accounts: &[&str]) {
    let mut overrides = Overrides::default();
    for (key, folder) in [("data_dir", "data"), ("keys_dir", "keys")] {
        overrides.flag("--test", key, place.path(folder).display().to_string());
    }
    let master = fs::read_to_string(place.path("keys/master.key")).unwrap();
    let word = master.split_whitespace().nth(1).unwrap();
    scanner.bytes("master key", &URL_SAFE_NO_PAD.decode(word).unwrap());
    let inline = [("KEYWARD_MASTER_KEY".to_owned(), master.trim().to_owned())].into_iter();
    let config = Config::load(overrides, inline).unwrap();
    let shown = format!("{config:?} {config:#?} {:?} {:?}", config.explain(), config.master_key.is_some());
    places.push(("Debug of the configuration".into(), shown.into_bytes()));

    let on = Deployment::open(config, Clock::system(), Random::system()).await.unwrap();
    for name in accounts {
        let found = on.store.credential_by_identifier(name).await.unwrap().unwrap();
        let sealed = Sealed::parse(found.password.unwrap()).unwrap();
        let context = Context::column("accounts", "password").row(found.account.id.to_string());
        let phc = on.keyring.unseal(&context, &sealed).unwrap();
        let phc = std::str::from_utf8(phc.expose()).unwrap();
        let (salt, hash) = phc.rsplit_once('$').unwrap();
        scanner.text("PHC string", hash);
        scanner.text("PHC string", salt.rsplit_once('$').unwrap().1);
    }
    let ring = on.store.ring().await.unwrap();
    for key in ring.keys.iter().filter(|key| key.private.is_some()) {
        let der = unseal(&on.keyring, key).unwrap().to_pkcs8().unwrap();
        let private = rsa::RsaPrivateKey::from_pkcs8_der(&der).unwrap();
        assert_eq!(private.size() % 256, 0);
        scanner.bytes("private signing key", &private.d().to_bytes_be());
        for prime in private.primes() {
            scanner.bytes("private signing key", &prime.to_bytes_be());
        }
    }
    for name in [REFRESH, LABELS] {
        let now = on.clock.now();
        for (_, secret) in root_secret(&on.store, &on.keyring, &on.random, name, now).await.unwrap() {
            scanner.bytes("root secret", &secret[..]);
        }
    }
    let trail = on.store.audit(100_000).await.unwrap();
    assert!(!trail.is_empty());
    places.push(("audit trail".into(), format!("{trail:?}").into_bytes()));
    on.store.close().await;
}

/// The part of a token that nobody may see: of an access token the signature, of a refresh token the MAC.
fn learn(scanner: &mut Scanner, name: &str, token: &str) {
    match token.strip_prefix("kwr1.") {
        Some(encoded) => {
            scanner.bytes("refresh token", &URL_SAFE_NO_PAD.decode(encoded).unwrap()[21..]);
            // From where the counter is past: 21 bytes are 28 characters.
            scanner.windows("refresh token", &encoded.as_bytes()[28..], RUN);
        }
        None => {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            scanner.text(name, signature);
            scanner.bytes(name, &URL_SAFE_NO_PAD.decode(signature).unwrap());
            // The jti, and whatever else is only in this token.
            let payload = signed.rsplit_once('.').unwrap().1;
            let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
            scanner.text("jti", claims["jti"].as_str().unwrap());
            scanner.windows(name, payload.as_bytes(), payload.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_the_whole_tour_is_found_where_it_does_not_belong() {
    let place = Place::new().set("KEYWARD_LOG__LEVEL", "trace").set("KEYWARD_REFRESH__GRACE", "0s");
    let place =
        place.set("KEYWARD_LIMITS__ACCOUNT__FREE", "1000").set("KEYWARD_LIMITS__SOURCE__FREE", "1000");
    let people = [
        ("anna", "anna's FIRST-heron-8713", "anna's SECOND-heron-9124"),
        ("bert", "bert's FIRST-otter-4410", "bert's SECOND-otter-6638"),
    ];
    let (mut scanner, mut places) = (Scanner::default(), Places::new());
    for (name, password, new) in people {
        let added = place.run_with(&["user", "add", name, "--password-stdin"], password);
        keep(&mut places, "user add", added).ok();
        scanner.text("password", password);
        scanner.text("password", new);
        for password in [password, new] {
            scanner.windows("password", STANDARD.encode(format!("{name}:{password}")).as_bytes(), RUN);
            scanner.windows("password", password.replace(' ', "%20").as_bytes(), RUN);
        }
    }
    scanner.text("password", GUESS);
    let server = place.serve();
    let names = ["anna", "bert"];
    open(&place, &mut scanner, &mut places, &names).await;

    let mut control = String::new();
    for ((name, password, new), http2) in people.into_iter().zip([false, true]) {
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let (public, admin) = (server.public, server.admin);
        let mut tour = Tour { client, public, admin, places: Places::new(), tokens: Vec::new() };
        tour.walk(name, password, new).await;
        assert_eq!(tour.tokens.len(), 10, "three logins and two refreshes");
        tour.tokens.iter().for_each(|(name, token)| learn(&mut scanner, name, token));
        control.clone_from(&tour.tokens[0].1);
        places.append(&mut tour.places);
    }
    let operator = "an operator's THIRD-newt-2257";
    scanner.text("password", operator);
    scanner.text("passphrase", PASSPHRASE);
    let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/src/signing/testdata");
    let (plain, sealed) = (format!("{testdata}/pkcs8.pem"), format!("{testdata}/encrypted.pem"));
    let master = fs::read_to_string(place.path("keys/master.key")).unwrap();
    let inline = format!("master_key = \"{}\"\n", master.trim());
    for (file, text) in [
        ("good.toml", inline.clone()),
        ("bad.toml", format!("{inline}issuer = 7\n")),
        ("typo.toml", inline.replace("master_key", "master_kye")),
        ("cut.toml", inline.replace("\"\n", "\n")),
    ] {
        fs::write(place.path(file), text).unwrap();
    }
    for (args, input, code) in [
        (["user", "passwd", "anna", "--password-stdin"].as_slice(), operator, 0),
        (&["user", "passwd", "bert", "--password-stdin"], "short", 1),
        (&["user", "add", "anna", "--password-stdin"], operator, 1),
        (&["user", "show", "anna", "--json"], "", 0),
        (&["session", "list", "anna", "--json"], "", 0),
        (&["keys", "import", "--pem", &sealed, "--passphrase-stdin"], PASSPHRASE, 0),
        (&["keys", "import", "--pem", &sealed, "--passphrase-stdin"], GUESS, 1),
        (&["keys", "import", "--pem", &plain], "", 1),
        (&["keys", "rotate", "--force"], "", 0),
        (&["keys", "list", "--json"], "", 0),
        (&["data-keys", "rotate", "refresh"], "", 0),
        (&["config", "show"], "", 0),
        (&["config", "show", "--json"], "", 0),
        (&["config", "check"], "", 0),
        (&["config", "show", "--config", "good.toml"], "", 0),
        (&["config", "check", "--config", "bad.toml"], "", 2),
        (&["config", "check", "--config", "typo.toml"], "", 2),
        (&["config", "check", "--config", "cut.toml"], "", 2),
    ] {
        keep(&mut places, &args.join(" "), place.run_with(args, input)).code(code);
    }
    open(&place, &mut scanner, &mut places, &names).await;
    files(&mut places, "while it runs", &place.path("data"));
    let done = keep(&mut places, "serve", server.term()).ok();
    for words in ["TRACE", "h2::", "answered"] {
        assert!(done.err.contains(words), "the log was not at trace level: {words} is missing");
    }
    files(&mut places, "after it stopped", &place.path("data"));
    files(&mut places, "after it stopped", &place.path("keys"));
    assert!(places.iter().any(|(name, bytes)| name.contains("-wal while") && bytes.len() > 100_000));

    let mut leaks = Vec::new();
    for (name, bytes) in &places {
        let found = scanner.find(bytes);
        if name.contains("/keys/master.key ") {
            assert_eq!(found, ["master key"], "the scanner does not find the one secret that is on the disk");
            continue;
        }
        leaks.extend(found.into_iter().map(|what| format!("{what} in {name}")));
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
    planted(&scanner, &control);
}

/// The scanner must see what it would be looking for: each secret, amid a log, in each spelling.
fn planted(scanner: &Scanner, access: &str) {
    let signature = access.rsplit_once('.').unwrap().1;
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let passwords = [
        GUESS.to_owned(),
        "s FIRST-heron-8713".into(),
        STANDARD.encode("bert:bert's FIRST-otter-4410"),
        STANDARD.encode(GUESS),
    ];
    let tokens = [
        access.to_owned(),
        signature[40..57].to_owned(),
        hex[3..23].to_owned(),
        format!("{:?}", &raw[100..120]),
        STANDARD.encode(&raw[7..40]),
    ];
    for (what, spellings) in [("password", passwords.as_slice()), ("access_token", &tokens)] {
        for spelling in spellings {
            let line =
                format!("2027-01-15T08:00:00Z TRACE request{{id=7}}: keyward: x=\"{spelling}\" ms=3\n");
            assert!(scanner.find(line.as_bytes()).iter().any(|found| found == what), "{what} as {spelling}");
        }
    }
    let mut page = vec![0; 4_096];
    page[1_000..1_008].copy_from_slice(&raw[50..58]);
    assert_eq!(scanner.find(&page), ["access_token"]);
    assert!(scanner.find(&page[..1_007]).is_empty());
}
