//! A real Keyward on a real listener, with a wound clock and seeded randomness.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use keyward::account;
use keyward::app::{App, Deployment};
use keyward::audit::Kind;
use keyward::clock::{Clock, Timestamp};
use keyward::config::{Config, Overrides};
use keyward::grant::seal_password;
use keyward::http;
use keyward::password::Password;
use keyward::random::Random;
use keyward::signing::Keysmith;
use keyward::store::sql::SqlStore;
use keyward::store::{self, Account, Accounts as _, Clients as _, Limits as _, NewAccount};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use uuid::Uuid;

/// When every test begins: 2027-01-15T08:00:00Z.
pub const START: Timestamp = Timestamp(1_800_000_000_000);
/// A password that the policy accepts.
pub const PASSWORD: &str = "plenty of tame giraffes";

/// Whether the long rounds are wanted (`scripts/proofs`).
#[expect(clippy::disallowed_methods, reason = "a switch of the tests, no setting")]
pub fn proofs() -> bool {
    std::env::var_os("KEYWARD_PROOFS").is_some()
}

/// A running Keyward and the means to talk to it.
pub struct TestApp {
    pub app: Arc<App>,
    pub clock: Clock,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    pub dir: Arc<TempDir>,
    client: Client<HttpConnector, Full<Bytes>>,
    _stop: watch::Sender<bool>,
}

/// An answer, checked against the contract before a test sees it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// A member of the body that is a string.
    pub fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member} in {self:?}")).to_owned()
    }

    /// The last word of the problem's `type`.
    pub fn problem(&self) -> String {
        self.text("type").rsplit(':').next().unwrap_or_default().to_owned()
    }

    /// Panics unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// The settings that tests start from: as shipped, but hashing is cheap and failures are released at once.
pub fn settings(dir: &TempDir) -> Config {
    let mut config = Config::load(Overrides::default(), std::iter::empty()).unwrap();
    config.data_dir = dir.path().join("data");
    config.keys_dir = dir.path().join("keys");
    config.master_key_file = config.keys_dir.join("master.key");
    config.password.memory_kib = 1024;
    config.password.iterations = 1;
    config.login.quantum = Duration::from_millis(1);
    config
}

impl TestApp {
    /// With the settings of [`settings`].
    pub async fn start() -> TestApp {
        TestApp::with(|_| {}).await
    }

    /// With settings changed by `change`.
    pub async fn with(change: impl FnOnce(&mut Config)) -> TestApp {
        let dir = Arc::new(TempDir::new().unwrap());
        let mut config = settings(&dir);
        change(&mut config);
        TestApp::at(dir, config, Clock::wound(START), 1).await
    }

    /// On an existing directory and clock: a restart, or another replica.
    pub async fn at(dir: Arc<TempDir>, config: Config, clock: Clock, seed: u64) -> TestApp {
        let deployment = Deployment::open(config, clock.clone(), Random::seeded(seed)).await.unwrap();
        let app = Arc::new(App::start(deployment).await.unwrap());
        let (stop, stopped) = watch::channel(false);
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (public, admin) = (listen().await, listen().await);
        let addresses = (public.local_addr().unwrap(), admin.local_addr().unwrap());
        for (listener, router) in [(public, http::public(&app)), (admin, http::admin(&app))] {
            let (settings, stopped) = (app.config.http.clone(), stopped.clone());
            tokio::spawn(async move {
                http::server::serve(vec![listener], router, &settings, stopped).await;
            });
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        TestApp { app, clock, public: addresses.0, admin: addresses.1, dir, client, _stop: stop }
    }

    /// Another replica on the same store and clock.
    pub async fn replica(&self, seed: u64) -> TestApp {
        let config = Config::clone(&self.app.config);
        TestApp::at(self.dir.clone(), config, self.clock.clone(), seed).await
    }

    /// Adds an account with the role `user` and [`PASSWORD`].
    pub async fn add_user(&self, name: &str) -> Account {
        self.add_user_with(name, Some(PASSWORD)).await
    }

    /// Adds an account with a password, or without any.
    pub async fn add_user_with(&self, name: &str, password: Option<&str>) -> Account {
        let phc = match password {
            Some(password) => {
                let password = Arc::new(Password::new(password).unwrap());
                Some(self.app.grants.hasher.hash(password).await.unwrap())
            }
            None => None,
        };
        self.add_user_hashed(name, phc.as_ref().map(|phc| phc.as_str())).await
    }

    /// Adds an account whose password hash was made elsewhere.
    pub async fn add_user_hashed(&self, name: &str, phc: Option<&str>) -> Account {
        let grants = &self.app.grants;
        let id = grants.random.uuid(self.clock.now()).unwrap();
        let sealed = phc.map(|phc| seal_password(&grants.keyring, id, phc).unwrap());
        let account = Account {
            id,
            name: name.into(),
            email: None,
            roles: vec!["user".into()],
            enabled: true,
            session_epoch: 0,
            created_at: self.clock.now(),
            password_changed_at: sealed.is_some().then(|| self.clock.now()),
        };
        let identifiers = vec![account::fold_name(name).unwrap()];
        let new = NewAccount { account: account.clone(), identifiers, password: sealed };
        assert!(grants.store.add_account(&new).await.unwrap());
        account
    }

    /// Adds a client that may have every scope of the roles.
    pub async fn add_client(
        &self,
        name: &str,
        audiences: &[&str],
        access_lifetime: Option<u32>,
    ) -> store::Client {
        let grants = &self.app.grants;
        let client = store::Client {
            id: grants.random.uuid(self.clock.now()).unwrap(),
            name: name.into(),
            audiences: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
            scopes: vec!["*".into()],
            access_lifetime,
            created_at: self.clock.now(),
        };
        assert!(grants.store.add_client(&client).await.unwrap());
        self.app.follow().await;
        client
    }

    /// Winds the clock; the key ring and what else follows the store are confirmed as the background work would.
    pub async fn wind(&self, by: Duration) {
        self.clock.advance(by);
        self.app.grants.ring.confirm(&self.app.grants.store).await.unwrap();
        self.app.follow().await;
    }

    /// What an operator's commands on signing keys work with.
    pub fn keysmith(&self) -> Keysmith<'_, SqlStore> {
        let (grants, job) = (&self.app.grants, &self.app.signing);
        Keysmith { store: &grants.store, maker: &job.maker, policy: &job.policy, clock: &grants.clock }
    }

    /// A copy of database and keys as they are on disk now, and the settings to start from it.
    pub fn copy(&self) -> (Arc<TempDir>, Config) {
        let dir = Arc::new(TempDir::new().unwrap());
        let copied = Command::new("cp").arg("-a").arg(self.dir.path().join(".")).arg(dir.path()).status();
        assert!(copied.unwrap().success());
        // The log's index is shared memory of the running process; the copy makes its own.
        let _ = std::fs::remove_file(dir.path().join("data/keyward.db-shm"));
        let mut config = Config::clone(&self.app.config);
        config.data_dir = dir.path().join("data");
        config.keys_dir = dir.path().join("keys");
        config.master_key_file = config.keys_dir.join("master.key");
        (dir, config)
    }

    /// How many of the audit events have this name.
    pub async fn audited(&self, kind: Kind) -> usize {
        let events = self.app.grants.store.audit(100_000).await.unwrap();
        events.iter().filter(|event| event.kind == kind.name()).count()
    }

    /// Sends any request to the public listener.
    pub async fn send(&self, request: Request<Bytes>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("http://{}{}", self.public, parts.uri).parse().unwrap();
        let response = self.client.request(Request::from_parts(parts, Full::new(body))).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        crate::schema::check(&method, &path, &answer);
        answer
    }

    /// Sends JSON.
    pub async fn json(&self, method: Method, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Bytes::from(body.to_string())).unwrap()).await
    }

    /// `POST` with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, path, None, body).await
    }

    /// A request without a body.
    pub async fn bare(&self, method: Method, path: &str, token: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Bytes::new()).unwrap()).await
    }

    /// `GET` with an access token.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.bare(Method::GET, path, token).await
    }

    /// Logs in with [`PASSWORD`].
    pub async fn login(&self, name: &str) -> Tokens {
        let body = json!({ "identifier": name, "password": PASSWORD });
        Tokens::of(&self.post("/v1/login", &body).await.expect(200))
    }

    /// Presents a refresh token.
    pub async fn refresh(&self, token: &str) -> Answer {
        self.post("/v1/refresh", &json!({ "refresh_token": token })).await
    }

    /// Text from the admin listener.
    pub async fn metrics(&self) -> String {
        let uri = format!("http://{}/metrics", self.admin);
        let request = Request::get(uri).body(Full::default()).unwrap();
        let body = self.client.request(request).await.unwrap().into_body().collect().await.unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }
}

/// What a login or a refresh gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    pub session: Uuid,
}

impl Tokens {
    pub fn of(answer: &Answer) -> Tokens {
        Tokens {
            access: answer.text("access_token"),
            refresh: answer.text("refresh_token"),
            session: Uuid::parse_str(&answer.text("session_id")).unwrap(),
        }
    }

    /// The claims, read without checking anything.
    pub fn claims(&self) -> Value {
        self.part(1)
    }

    /// The `kid` of the access token.
    pub fn kid(&self) -> String {
        self.part(0)["kid"].as_str().unwrap().to_owned()
    }

    fn part(&self, number: usize) -> Value {
        let part = self.access.split('.').nth(number).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }
}
