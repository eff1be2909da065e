//! The contract of the store, one suite for every engine.
//!
//! `KEYWARD_TEST_ENGINES` names the engines (default `sqlite,postgres`), `KEYWARD_TEST_POSTGRES` a server on which
//! databases may be made.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use std::path::PathBuf;

use keyward::clock::Timestamp;
use keyward::random::Random;
use keyward::store::sql::{Location, OpenError, SqlStore};
use keyward::store::*;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const GRACE: i64 = 10_000;
const IDLE: i64 = 1_000_000;
const OWN: &str = "http://localhost:8080";

// ── engines ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// An empty database of one engine.
struct Ground {
    store: SqlStore,
    location: Location,
    /// For statements that the store would never send.
    address: String,
    /// The server and the database to drop on it.
    server: Option<(String, String)>,
}

impl Ground {
    async fn on_sqlite() -> Ground {
        let file = fresh_folder().join("keyward.db");
        let address = format!("sqlite://{}", file.display());
        Ground::open(Location::Sqlite(file), address, None).await
    }

    async fn on_postgres() -> Ground {
        let server = setting("KEYWARD_TEST_POSTGRES").expect(
            "PostgreSQL is not running: run ./scripts/with-postgres cargo test, or set KEYWARD_TEST_ENGINES=sqlite",
        );
        let name = format!("kw_{}", uuid().simple());
        tell(&server, &format!("CREATE DATABASE {name}")).await;
        let (path, query) =
            server.split_once('?').map_or((server.as_str(), ""), |(path, query)| (path, query));
        let (host, _) = path.rsplit_once('/').unwrap();
        let address = format!("{host}/{name}?{query}");
        Ground::open(Location::Postgres(address.clone()), address, Some((server, name))).await
    }

    async fn open(location: Location, address: String, server: Option<(String, String)>) -> Ground {
        let store = SqlStore::open(location.clone()).await.unwrap();
        Ground { store, location, address, server }
    }

    async fn again(&self) -> SqlStore {
        SqlStore::open(self.location.clone()).await.unwrap()
    }

    async fn tell(&self, sql: &str) {
        tell(&self.address, sql).await;
    }

    async fn leave(self) {
        self.store.close().await;
        if let Location::Sqlite(file) = &self.location {
            std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
        }
        if let Some((server, name)) = self.server {
            tell(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

async fn tell(address: &str, sql: &str) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(address).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the engines to test on are the environment's choice")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn fresh_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{}", uuid().simple()))
}

async fn grounds() -> Vec<Ground> {
    let engines = setting("KEYWARD_TEST_ENGINES").unwrap_or_else(|| "sqlite,postgres".to_owned());
    let mut grounds = Vec::new();
    for engine in engines.split(',') {
        grounds.push(match engine.trim() {
            "sqlite" => Ground::on_sqlite().await,
            "postgres" => Ground::on_postgres().await,
            other => panic!("KEYWARD_TEST_ENGINES names `{other}`; there are sqlite and postgres"),
        });
    }
    grounds
}

/// Each body runs on every engine, on a database of its own.
macro_rules! contract {
    ($($(#[$doc:meta])* async fn $name:ident($ground:ident) $body:block)*) => { $(
        $(#[$doc])*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            for ground in grounds().await {
                { let $ground = &ground; $body }
                ground.leave().await;
            }
        }
    )* };
}

mod accounts;
mod clients;
mod database;
mod keys;
mod limits;
mod secrets;
mod sessions;

// ── things ──────────────────────────────────────────────────────────────────────────────────────────────────────

fn uuid() -> Uuid {
    Random::system().uuid(NOW).unwrap()
}

fn later(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn new_account(name: &str) -> NewAccount {
    let account = Account {
        id: uuid(),
        name: name.to_owned(),
        email: Some(format!("{name}@example.com")),
        roles: words("reader writer"),
        enabled: true,
        session_epoch: 0,
        created_at: NOW,
        password_changed_at: Some(NOW),
    };
    let identifiers = vec![name.to_owned(), format!("{name}@example.com")];
    NewAccount { account, identifiers, password: Some("v1:sealed".to_owned()) }
}

fn client(name: &str) -> Client {
    Client {
        id: uuid(),
        name: name.to_owned(),
        audiences: words("https://orders.example https://mail.example"),
        scopes: words("orders:read orders:write"),
        access_lifetime: Some(300),
        created_at: NOW,
    }
}

/// Free of delays.
const UNPACED: Pace = Pace { free: 1_000_000, first_delay_ms: 0, max_delay_ms: 0, forget_ms: 1 };

fn judged(session: &Session) -> Judged<'_> {
    Judged { account: ("a:somebody", UNPACED), source: "s:somewhere", session: Some(session), now: NOW }
}

async fn start(store: &SqlStore, session: &Session) -> Concluded {
    store.conclude_login(&judged(session)).await.unwrap()
}

fn session(account: &Account, client: &Client) -> Session {
    Session {
        id: uuid(),
        account: account.id,
        client: client.id,
        audience: Some("https://orders.example".to_owned()),
        scope: "orders:read".to_owned(),
        counter: 1,
        rotated_at: NOW,
        key_id: 1,
        epoch: account.session_epoch,
        auth_time: NOW,
        amr: words("pwd otp"),
        created_at: NOW,
        last_used_at: NOW,
        idle_expires_at: later(IDLE),
        expires_at: later(3 * IDLE),
        ended: None,
        source: "c0ffee".to_owned(),
        device: "Firefox on Linux".to_owned(),
    }
}

async fn someone(store: &SqlStore) -> (Account, Client) {
    let new = new_account(&format!("user{}", uuid().simple()));
    let client = client(&format!("web{}", uuid().simple()));
    assert!(store.add_account(&new).await.unwrap());
    assert!(store.add_client(&client).await.unwrap());
    (new.account, client)
}

async fn logged_in(store: &SqlStore) -> (Account, Client, Session) {
    let (account, client) = someone(store).await;
    let session = session(&account, &client);
    assert_eq!(start(store, &session).await, Concluded::Started);
    (account, client, session)
}

fn presented(session: &Session, counter: u32, now: Timestamp) -> Presented<'static> {
    Presented {
        session: session.id,
        counter,
        client: session.client,
        key_id: 2,
        audience: None,
        own_audience: OWN,
        now,
        grace_ms: GRACE,
        idle_ms: IDLE,
        skew_ms: 60_000,
        incidents: None,
    }
}

/// Advances as a service does: an incident a second time, with its events.
async fn advance(store: &SqlStore, presented: &Presented<'_>) -> Advance {
    let outcome = store.advance(presented).await.unwrap();
    if name(&outcome) != "incident" {
        return outcome;
    }
    let (reused, healed) = (event("refresh_reused", presented.now), event("refresh_healed", presented.now));
    let incidents = Some(Incidents { reused: &reused, healed: &healed });
    store.advance(&Presented { incidents, ..presented.clone() }).await.unwrap()
}

fn name(outcome: &Advance) -> &'static str {
    match outcome {
        Advance::Advanced(_) => "advanced",
        Advance::Same(_) => "same",
        Advance::Healed(_) => "healed",
        Advance::Reused(_) => "reused",
        Advance::Ended(_) => "ended",
        Advance::Expired => "expired",
        Advance::AccountMoved => "account moved",
        Advance::Incident => "incident",
        Advance::Unknown => "unknown",
        Advance::AudienceNotAllowed => "audience not allowed",
    }
}

fn key(kid: &str, state: KeyState) -> SigningKey {
    SigningKey {
        kid: kid.to_owned(),
        alg: "RS256".to_owned(),
        state,
        public_jwk: "{}".to_owned(),
        private: Some("v1:private".to_owned()),
        max_lifetime: 600,
        staged_at: NOW,
        activated_at: None,
        retiring_at: None,
        publish_until: None,
        retired_at: None,
        revoked_at: None,
    }
}

async fn begun(store: &SqlStore) {
    let begin = RingStep::Begin {
        active: Box::new(key("a", KeyState::Active)),
        staged: Box::new(key("b", KeyState::Staged)),
    };
    assert_eq!(store.change_ring(0, &begin, NOW).await.unwrap(), Applied::At(1));
}

fn secret(version: u8) -> StoredSecret {
    StoredSecret { name: "refresh".to_owned(), version, sealed: format!("v1:{version}"), created_at: NOW }
}

const PACE: Pace = Pace { free: 3, first_delay_ms: 1_000, max_delay_ms: 5_000, forget_ms: 100_000 };

fn event(kind: &str, at: Timestamp) -> AuditEvent {
    AuditEvent {
        id: uuid(),
        at,
        kind: kind.to_owned(),
        account: Some(uuid()),
        session: None,
        source: "cli".to_owned(),
        detail: "a\0b".to_owned(),
    }
}

fn is_corrupt<T>(result: &StoreResult<T>) -> bool {
    matches!(result, Err(StoreError::Corrupt { .. }))
}
