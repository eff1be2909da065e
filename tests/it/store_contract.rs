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

fn login(session: &Session) -> Begun<'_> {
    Begun { session, clear: None, forgive: None, event: None }
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
    assert_eq!(store.start_session(&login(&session)).await.unwrap(), Start::Started);
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
    }
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

async fn kept(store: &SqlStore, kid: &str) -> SigningKey {
    store.ring().await.unwrap().keys.into_iter().find(|key| key.kid == kid).unwrap()
}

fn activate(kid: &str) -> RingStep {
    RingStep::Activate { kid: kid.to_owned(), max_lifetime: 900 }
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

// ── accounts and clients ────────────────────────────────────────────────────────────────────────────────────────

contract! {
    async fn an_account_comes_back_as_it_was_added(ground) {
        let store = &ground.store;
        let new = new_account("ada");
        assert!(store.add_account(&new).await.unwrap());
        assert_eq!(store.account(new.account.id).await.unwrap().as_ref(), Some(&new.account));
        for identifier in &new.identifiers {
            let credential = store.credential_by_identifier(identifier).await.unwrap().unwrap();
            assert_eq!((credential.account, credential.password), (new.account.clone(), new.password.clone()));
        }
        assert!(store.credential_by_identifier("nobody").await.unwrap().is_none());
        assert!(store.credential_by_identifier("a\0b").await.unwrap().is_none());
        assert!(store.credential(uuid()).await.unwrap().is_none());
    }

    async fn a_taken_identifier_adds_nothing(ground) {
        let store = &ground.store;
        let first = new_account("ada");
        assert!(store.add_account(&first).await.unwrap());
        let mut second = new_account("bea");
        second.identifiers.push("ada".to_owned());
        assert!(!store.add_account(&second).await.unwrap());
        assert!(store.account(second.account.id).await.unwrap().is_none());
        assert!(store.credential_by_identifier("bea").await.unwrap().is_none());
    }

    async fn of_many_who_want_one_name_at_once_one_gets_it(ground) {
        let mut tasks = Vec::new();
        for _ in 0..16 {
            let store = ground.store.clone();
            tasks.push(tokio::spawn(async move { store.add_account(&new_account("ada")).await.unwrap() }));
        }
        let mut added = 0;
        for task in tasks {
            added += usize::from(task.await.unwrap());
        }
        assert_eq!(added, 1);
    }

    async fn accounts_are_paged_by_id(ground) {
        let store = &ground.store;
        let mut ids = Vec::new();
        for n in 0..5 {
            let new = new_account(&format!("user{n}"));
            ids.push(new.account.id);
            assert!(store.add_account(&new).await.unwrap());
        }
        ids.sort();
        let mut seen = Vec::new();
        loop {
            let page = store.accounts(seen.last().copied(), 2).await.unwrap();
            assert!(page.len() <= 2);
            if page.is_empty() {
                break;
            }
            seen.extend(page.iter().map(|account| account.id));
        }
        assert_eq!(seen, ids);
    }

    async fn disabling_raises_the_epoch_and_ends_every_session(ground) {
        let store = &ground.store;
        let (account, _, session) = logged_in(store).await;
        assert!(store.set_enabled(account.id, false, later(1)).await.unwrap());
        let after = store.account(account.id).await.unwrap().unwrap();
        assert_eq!((after.enabled, after.session_epoch), (false, 1));
        let ended = store.session(session.id).await.unwrap().unwrap().ended;
        assert_eq!(ended, Some((later(1), EndReason::AccountDisabled)));
        assert!(store.set_enabled(account.id, true, later(2)).await.unwrap());
        let after = store.account(account.id).await.unwrap().unwrap();
        assert_eq!((after.enabled, after.session_epoch), (true, 1));
        assert!(store.live_session(session.id, later(2)).await.unwrap().is_none());
        assert!(!store.set_enabled(uuid(), false, NOW).await.unwrap());
        assert!(!store.set_enabled(uuid(), true, NOW).await.unwrap());
    }

    async fn roles_are_replaced_and_none_can_smuggle_in_a_second(ground) {
        let store = &ground.store;
        let (account, _) = someone(store).await;
        assert!(store.set_roles(account.id, &words("admin"), NOW).await.unwrap());
        assert_eq!(store.account(account.id).await.unwrap().unwrap().roles, words("admin"));
        assert!(store.set_roles(account.id, &[], NOW).await.unwrap());
        assert_eq!(store.account(account.id).await.unwrap().unwrap().roles, words(""));
        assert!(!store.set_roles(uuid(), &words("admin"), NOW).await.unwrap());
        let smuggled = store.set_roles(account.id, &["reader admin".to_owned()], NOW).await;
        assert!(matches!(smuggled, Err(StoreError::Unavailable { step: "set_roles", .. })));
        assert_eq!(store.account(account.id).await.unwrap().unwrap().roles, words(""));
    }

    async fn a_password_change_ends_all_sessions_but_the_kept_one(ground) {
        let store = &ground.store;
        let (account, client, keep) = logged_in(store).await;
        let other = session(&account, &client);
        assert_eq!(store.start_session(&login(&other)).await.unwrap(), Start::Started);
        let stale = PasswordChange {
            account: account.id, expected: Some("v1:other"), sealed: "v1:new", keep: None, now: later(1),
        };
        assert_eq!(store.change_password(&stale).await.unwrap(), None);
        assert!(store.live_session(other.id, later(1)).await.unwrap().is_some());
        let change = PasswordChange { expected: Some("v1:sealed"), keep: Some(keep.id), ..stale };
        assert_eq!(store.change_password(&change).await.unwrap(), Some(1));
        let credential = store.credential(account.id).await.unwrap().unwrap();
        assert_eq!(credential.password.as_deref(), Some("v1:new"));
        assert_eq!(credential.account.session_epoch, 1);
        assert_eq!(credential.account.password_changed_at, Some(later(1)));
        let (kept, _) = store.live_session(keep.id, later(1)).await.unwrap().unwrap();
        assert_eq!(kept.epoch, 1);
        let reason = store.session(other.id).await.unwrap().unwrap().ended;
        assert_eq!(reason, Some((later(1), EndReason::PasswordChanged)));
        let advanced = store.advance(&presented(&keep, 1, later(GRACE))).await.unwrap();
        assert_eq!(name(&advanced), "advanced");
        let reset = PasswordChange { expected: None, keep: None, sealed: "v1:reset", ..stale };
        assert_eq!(store.change_password(&reset).await.unwrap(), Some(1));
        assert_eq!(store.change_password(&PasswordChange { account: uuid(), ..reset }).await.unwrap(), None);
    }

    async fn a_kept_session_of_someone_else_or_of_an_older_epoch_is_not_kept(ground) {
        let store = &ground.store;
        let (account, _, own) = logged_in(store).await;
        let (_, _, foreign) = logged_in(store).await;
        let change = PasswordChange {
            account: account.id, expected: None, sealed: "v1:new", keep: Some(foreign.id), now: later(1),
        };
        assert_eq!(store.change_password(&change).await.unwrap(), Some(1));
        assert_eq!(store.session(foreign.id).await.unwrap().unwrap().epoch, 0);
        ground.tell(&format!("UPDATE sessions SET ended_at = NULL, end_reason = NULL WHERE id = '{}'", own.id)).await;
        let change = PasswordChange { keep: Some(own.id), ..change };
        assert_eq!(store.change_password(&change).await.unwrap(), Some(1));
        assert!(store.live_session(own.id, later(1)).await.unwrap().is_none());
    }

    async fn a_rehash_moves_nothing_but_the_hash(ground) {
        let store = &ground.store;
        let (account, _, session) = logged_in(store).await;
        assert!(!store.rehash_password(account.id, "v1:other", "v1:better").await.unwrap());
        assert!(store.rehash_password(account.id, "v1:sealed", "v1:better").await.unwrap());
        let credential = store.credential(account.id).await.unwrap().unwrap();
        assert_eq!((credential.account, credential.password.as_deref()), (account, Some("v1:better")));
        assert!(store.live_session(session.id, NOW).await.unwrap().is_some());
    }

    async fn deleting_an_account_takes_identifiers_and_sessions_along(ground) {
        let store = &ground.store;
        let (account, _, session) = logged_in(store).await;
        assert!(store.delete_account(account.id).await.unwrap());
        assert!(!store.delete_account(account.id).await.unwrap());
        assert!(store.session(session.id).await.unwrap().is_none());
        assert!(store.credential_by_identifier(&account.name).await.unwrap().is_none());
        let outcome = store.advance(&presented(&session, 1, later(GRACE))).await.unwrap();
        assert_eq!(name(&outcome), "unknown");
    }

    async fn clients_are_added_changed_and_deleted_with_their_sessions(ground) {
        let store = &ground.store;
        let (_, web, session) = logged_in(store).await;
        assert_eq!(store.client(&web.name).await.unwrap().as_ref(), Some(&web));
        assert!(store.client("a\0b").await.unwrap().is_none());
        assert!(!store.add_client(&Client { id: uuid(), ..web.clone() }).await.unwrap());
        let first = client("aaa");
        assert!(store.add_client(&first).await.unwrap());
        assert_eq!(store.clients().await.unwrap(), vec![first.clone(), web.clone()]);
        let changed = Client { audiences: vec![], scopes: words("*"), access_lifetime: None, ..web.clone() };
        assert!(store.set_client(&changed).await.unwrap());
        assert_eq!(store.client(&web.name).await.unwrap().unwrap(), changed);
        assert!(!store.set_client(&client("bbb")).await.unwrap());
        assert!(store.delete_client(web.id).await.unwrap());
        assert!(!store.delete_client(web.id).await.unwrap());
        assert!(store.session(session.id).await.unwrap().is_none());
    }
}

// ── sessions ────────────────────────────────────────────────────────────────────────────────────────────────────

contract! {
    async fn a_session_comes_back_as_it_was_started(ground) {
        let store = &ground.store;
        let (account, _, session) = logged_in(store).await;
        assert_eq!(store.session(session.id).await.unwrap().as_ref(), Some(&session));
        let live = store.live_session(session.id, NOW).await.unwrap();
        assert_eq!(live, Some((session.clone(), account)));
        assert!(store.live_session(session.id, later(IDLE)).await.unwrap().is_none());
    }

    async fn an_honest_login_takes_failures_back_and_is_recorded_or_nothing_happens(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let pace = Pace { free: 1, first_delay_ms: 1_000, max_delay_ms: 8_000, forget_ms: 900_000 };
        for subject in ["a:alice", "s:home"] {
            for at in [0, 1] {
                assert_eq!(store.attempt(subject, pace, later(at)).await.unwrap(), Attempt::Allowed);
            }
            assert!(matches!(store.attempt(subject, pace, later(2)).await.unwrap(), Attempt::NotBefore(_)));
        }
        let event = AuditEvent {
            id: uuid(),
            at: NOW,
            kind: "login_succeeded".to_owned(),
            account: Some(account.id),
            session: None,
            source: "c0ffee".to_owned(),
            detail: String::new(),
        };
        let stale = Session { epoch: 7, ..session(&account, &client) };
        let fresh = session(&account, &client);
        let of = |session| Begun { session, clear: Some("a:alice"), forgive: Some("s:home"), event: Some(&event) };

        assert_eq!(store.start_session(&of(&stale)).await.unwrap(), Start::AccountMoved);
        assert!(store.audit(10).await.unwrap().is_empty());
        assert!(matches!(store.attempt("s:home", pace, later(2)).await.unwrap(), Attempt::NotBefore(_)));

        assert_eq!(store.start_session(&of(&fresh)).await.unwrap(), Start::Started);
        assert_eq!(store.audit(10).await.unwrap(), std::slice::from_ref(&event));
        for _ in 0..2 {
            assert_eq!(store.attempt("a:alice", pace, later(2)).await.unwrap(), Attempt::Allowed);
        }
        assert_eq!(store.attempt("s:home", pace, later(2)).await.unwrap(), Attempt::Allowed);
        assert!(matches!(store.attempt("s:home", pace, later(3)).await.unwrap(), Attempt::NotBefore(_)));
    }

    async fn no_session_starts_under_an_account_that_moved(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let stale = session(&account, &client);
        store.end_sessions_of(account.id, EndReason::LogoutAll, NOW).await.unwrap();
        assert_eq!(store.start_session(&login(&stale)).await.unwrap(), Start::AccountMoved);
        let account = store.account(account.id).await.unwrap().unwrap();
        let fresh = session(&account, &client);
        store.set_enabled(account.id, false, NOW).await.unwrap();
        assert_eq!(store.start_session(&login(&fresh)).await.unwrap(), Start::AccountMoved);
        assert_eq!(store.start_session(&login(&session(&new_account("x").account, &client))).await.unwrap(), Start::AccountMoved);
        assert!(store.session(stale.id).await.unwrap().is_none());
    }

    async fn no_login_outlives_the_password_change_it_races(ground) {
        for _ in 0..8 {
            let (account, client) = someone(&ground.store).await;
            let change = {
                let (store, account) = (ground.store.clone(), account.id);
                tokio::spawn(async move {
                    let change = PasswordChange { account, expected: None, sealed: "v1:n", keep: None, now: later(1) };
                    store.change_password(&change).await.unwrap().unwrap()
                })
            };
            let mut logins = Vec::new();
            for _ in 0..8 {
                let (store, session) = (ground.store.clone(), session(&account, &client));
                logins.push(tokio::spawn(async move { store.start_session(&login(&session)).await.unwrap() }));
            }
            let mut started = 0;
            for login in logins {
                started += u64::from(login.await.unwrap() == Start::Started);
            }
            assert_eq!(change.await.unwrap(), started, "each that began before the change was ended by it");
            assert!(ground.store.sessions_of(account.id, later(1), 100).await.unwrap().is_empty());
        }
    }

    async fn every_cell_of_the_outcome_table_holds(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        for since in [0, GRACE - 1, GRACE, GRACE + 1, IDLE - 1] {
            for ahead in -4..=3_i64 {
                let mut session = session(&account, &client);
                session.counter = 10;
                assert_eq!(store.start_session(&login(&session)).await.unwrap(), Start::Started);
                let counter = u32::try_from(10 + ahead).unwrap();
                let outcome = store.advance(&presented(&session, counter, later(since))).await.unwrap();
                let in_grace = since < GRACE;
                let expected = match ahead {
                    1.. => "healed",
                    0 if !in_grace => "advanced",
                    0 => "same",
                    -1 if in_grace => "same",
                    _ => "reused",
                };
                assert_eq!(name(&outcome), expected, "{ahead} ahead, {since} ms after");
                let stored = store.session(session.id).await.unwrap().unwrap();
                let mut wanted = session.clone();
                if matches!(expected, "healed" | "advanced") {
                    wanted.counter = if expected == "healed" { counter } else { 11 };
                    wanted.rotated_at = later(since);
                    wanted.last_used_at = later(since);
                    wanted.idle_expires_at = later(since + IDLE);
                    wanted.key_id = 2;
                }
                if expected == "reused" {
                    wanted.ended = Some((later(since), EndReason::Reuse));
                }
                assert_eq!(stored, wanted, "{ahead} ahead, {since} ms after");
                match outcome {
                    Advance::Advanced(live) | Advance::Same(live) | Advance::Healed(live) => {
                        assert_eq!(live.session, wanted);
                        assert_eq!(live.roles, account.roles);
                        assert_eq!(live.client_scopes, client.scopes);
                        assert_eq!(live.access_lifetime, client.access_lifetime);
                    }
                    Advance::Reused(ended) => {
                        assert_eq!(ended, wanted);
                        let again = store.advance(&presented(&session, 10, later(since))).await.unwrap();
                        assert!(matches!(again, Advance::Ended(EndReason::Reuse)));
                    }
                    other => panic!("{}", name(&other)),
                }
            }
        }
    }

    async fn of_64_at_once_one_advances_and_all_others_get_the_same(ground) {
        let (_, _, session) = logged_in(&ground.store).await;
        let mut tasks = Vec::new();
        for _ in 0..64 {
            let (store, token) = (ground.store.clone(), presented(&session, 1, later(GRACE)));
            tasks.push(tokio::spawn(async move { store.advance(&token).await.unwrap() }));
        }
        let (mut advanced, mut same) = (0, 0);
        for task in tasks {
            match task.await.unwrap() {
                Advance::Advanced(live) => {
                    advanced += 1;
                    assert_eq!(live.session.counter, 2);
                }
                Advance::Same(live) => {
                    same += 1;
                    assert_eq!((live.session.counter, live.session.rotated_at), (2, later(GRACE)));
                }
                other => panic!("{}", name(&other)),
            }
        }
        assert_eq!((advanced, same), (1, 63));
    }

    async fn a_clock_that_ran_ahead_is_healed_by_the_next_refresh(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let ahead = Session { rotated_at: later(3_600_000), expires_at: later(9_000_000), ..session(&account, &client) };
        assert_eq!(store.start_session(&login(&ahead)).await.unwrap(), Start::Started);
        let Advance::Advanced(live) = store.advance(&presented(&ahead, 1, NOW)).await.unwrap() else {
            panic!("the future is no grace")
        };
        assert_eq!((live.session.counter, live.session.rotated_at), (2, NOW));

        let skewed = Session { id: uuid(), rotated_at: later(30_000), ..ahead.clone() };
        assert_eq!(store.start_session(&login(&skewed)).await.unwrap(), Start::Started);
        let same = store.advance(&presented(&skewed, 1, NOW)).await.unwrap();
        assert_eq!(name(&same), "same", "another replica's clock may be a little ahead");
    }

    async fn idle_expiry_never_passes_the_absolute_one(ground) {
        let store = &ground.store;
        let (_, _, session) = logged_in(store).await;
        let mut at = NOW;
        for counter in 1.. {
            at = Timestamp(at.0 + IDLE - 1);
            match store.advance(&presented(&session, counter, at)).await.unwrap() {
                Advance::Advanced(live) => {
                    let idle = (at.0 + IDLE).min(session.expires_at.0);
                    assert_eq!(live.session.idle_expires_at, Timestamp(idle));
                }
                outcome => {
                    assert_eq!(name(&outcome), "expired");
                    assert!(at >= session.expires_at);
                    break;
                }
            }
        }
    }

    async fn a_refused_token_is_told_why_and_moves_nothing(ground) {
        let store = &ground.store;
        let (account, client, session) = logged_in(store).await;
        let token = presented(&session, 1, later(GRACE));
        let outcome = async |token: Presented<'_>| name(&store.advance(&token).await.unwrap());
        assert_eq!(outcome(Presented { client: uuid(), ..token.clone() }).await, "unknown");
        assert_eq!(outcome(Presented { session: uuid(), ..token.clone() }).await, "unknown");
        assert_eq!(outcome(Presented { now: later(IDLE), ..token.clone() }).await, "expired");
        for bad in ["https://orders", "", "%", "https://orders.example https://mail.example", "a\0b", "HTTPS://ORDERS.EXAMPLE"] {
            let asked = Presented { audience: Some(bad), ..token.clone() };
            assert_eq!(outcome(asked).await, "audience not allowed", "{bad:?}");
        }
        let none = Client { audiences: vec![], ..client.clone() };
        assert!(store.set_client(&none).await.unwrap());
        assert_eq!(outcome(token.clone()).await, "audience not allowed", "the session's own is gone too");
        assert_eq!(outcome(Presented { audience: Some(""), ..token.clone() }).await, "audience not allowed");
        assert_eq!(store.session(session.id).await.unwrap().unwrap(), session);
        assert_eq!(outcome(Presented { audience: Some(OWN), ..token.clone() }).await, "advanced");
        assert!(store.set_client(&client).await.unwrap());
        let next = presented(&session, 2, later(2 * GRACE));
        assert_eq!(outcome(Presented { audience: Some("https://mail.example"), ..next.clone() }).await, "advanced");
        ground.tell(&format!("UPDATE accounts SET session_epoch = 7 WHERE id = '{}'", account.id)).await;
        assert_eq!(outcome(presented(&session, 3, later(3 * GRACE))).await, "account moved");
        ground.tell(&format!("UPDATE accounts SET session_epoch = 0, enabled = 0 WHERE id = '{}'", account.id)).await;
        assert_eq!(outcome(presented(&session, 3, later(3 * GRACE))).await, "account moved");
    }

    async fn a_session_for_keyward_itself_needs_no_audience_of_the_client(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let own = Session { audience: None, ..session(&account, &client) };
        assert_eq!(store.start_session(&login(&own)).await.unwrap(), Start::Started);
        assert!(store.set_client(&Client { audiences: vec![], ..client }).await.unwrap());
        assert_eq!(name(&store.advance(&presented(&own, 1, later(GRACE))).await.unwrap()), "advanced");
    }

    async fn a_spent_token_ends_the_session_whatever_audience_it_asks_for(ground) {
        let store = &ground.store;
        let (account, client) = someone(store).await;
        let session = Session { counter: 5, ..session(&account, &client) };
        assert_eq!(store.start_session(&login(&session)).await.unwrap(), Start::Started);
        let spent = Presented { audience: Some("https://elsewhere"), ..presented(&session, 1, later(1)) };
        assert_eq!(name(&store.advance(&spent).await.unwrap()), "reused");
    }

    async fn rights_are_those_of_the_moment(ground) {
        let store = &ground.store;
        let (account, client, session) = logged_in(store).await;
        store.set_roles(account.id, &[], NOW).await.unwrap();
        store.set_client(&Client { scopes: words("a b"), access_lifetime: None, ..client }).await.unwrap();
        let Advance::Same(live) = store.advance(&presented(&session, 1, later(1))).await.unwrap() else { panic!() };
        assert_eq!((live.roles, live.client_scopes, live.access_lifetime), (vec![], words("a b"), None));
    }

    async fn sessions_end_once_and_only_for_their_owner(ground) {
        let store = &ground.store;
        let (account, client, first) = logged_in(store).await;
        let second = Session { created_at: later(5), ..session(&account, &client) };
        assert_eq!(store.start_session(&login(&second)).await.unwrap(), Start::Started);
        let listed = store.sessions_of(account.id, later(5), 10).await.unwrap();
        assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [second.id, first.id]);
        assert_eq!(store.sessions_of(account.id, later(5), 1).await.unwrap().len(), 1);
        assert!(!store.end_session(first.id, Some(uuid()), EndReason::Logout, later(6)).await.unwrap());
        assert!(store.end_session(first.id, Some(account.id), EndReason::Logout, later(6)).await.unwrap());
        assert!(!store.end_session(first.id, None, EndReason::Operator, later(7)).await.unwrap());
        let outcome = store.advance(&presented(&first, 1, later(GRACE))).await.unwrap();
        assert!(matches!(outcome, Advance::Ended(EndReason::Logout)));
        assert_eq!(store.end_sessions_of(account.id, EndReason::LogoutAll, later(8)).await.unwrap(), 1);
        assert_eq!(store.account(account.id).await.unwrap().unwrap().session_epoch, 1);
        assert!(store.sessions_of(account.id, later(8), 10).await.unwrap().is_empty());
        assert_eq!(store.end_sessions_of(uuid(), EndReason::LogoutAll, NOW).await.unwrap(), 0);
    }

    async fn all_sessions_of_all_accounts_can_end_at_once(ground) {
        let store = &ground.store;
        let (_, _, first) = logged_in(store).await;
        let (_, _, second) = logged_in(store).await;
        assert_eq!(store.end_all_sessions(EndReason::KeyCompromised, later(1)).await.unwrap(), 2);
        assert_eq!(store.end_all_sessions(EndReason::KeyCompromised, later(1)).await.unwrap(), 0);
        for session in [first, second] {
            let ended = store.session(session.id).await.unwrap().unwrap().ended;
            assert_eq!(ended, Some((later(1), EndReason::KeyCompromised)));
        }
    }

    async fn a_sweep_takes_the_dead_in_bounded_bites(ground) {
        let store = &ground.store;
        let (account, client, alive) = logged_in(store).await;
        for n in 0..6 {
            let session = session(&account, &client);
            let (idle, end) = if n < 3 { (later(10), later(20)) } else { (later(IDLE), later(IDLE)) };
            let session = Session { idle_expires_at: idle, expires_at: end, ..session };
            assert_eq!(store.start_session(&login(&session)).await.unwrap(), Start::Started);
            if n >= 3 {
                assert!(store.end_session(session.id, None, EndReason::Operator, later(10)).await.unwrap());
            }
        }
        assert_eq!(store.sweep_sessions(later(10), 100).await.unwrap(), 0);
        assert_eq!(store.sweep_sessions(later(11), 4).await.unwrap(), 4);
        assert_eq!(store.sweep_sessions(later(11), 4).await.unwrap(), 2);
        assert_eq!(store.sweep_sessions(later(11), 4).await.unwrap(), 0);
        assert!(store.session(alive.id).await.unwrap().is_some());
    }
}

// ── signing keys ────────────────────────────────────────────────────────────────────────────────────────────────

contract! {
    async fn the_ring_begins_once(ground) {
        let store = &ground.store;
        assert_eq!(store.ring().await.unwrap(), Ring::default());
        begun(store).await;
        assert_eq!(store.ring_generation().await.unwrap(), 1);
        let active = kept(store, "a").await;
        assert_eq!(active, SigningKey { activated_at: Some(NOW), ..key("a", KeyState::Active) });
        assert_eq!(kept(store, "b").await, key("b", KeyState::Staged));
        let again = RingStep::Begin {
            active: Box::new(key("c", KeyState::Active)),
            staged: Box::new(key("d", KeyState::Staged)),
        };
        for expected in [0, 1] {
            assert_eq!(store.change_ring(expected, &again, NOW).await.unwrap(), Applied::Conflict);
        }
        assert_eq!(store.ring().await.unwrap().keys.len(), 2);
    }

    async fn a_key_lives_from_staged_to_retired(ground) {
        let store = &ground.store;
        begun(store).await;
        assert_eq!(store.change_ring(1, &activate("b"), later(1)).await.unwrap(), Applied::At(2));
        let old = kept(store, "a").await;
        assert_eq!((old.state, old.private, old.retiring_at), (KeyState::Retiring, None, Some(later(1))));
        let new = kept(store, "b").await;
        assert_eq!((new.state, new.max_lifetime, new.activated_at), (KeyState::Active, 900, Some(later(1))));
        assert!(new.private.is_some());
        let retire = RingStep::Retire { kid: "a".to_owned() };
        assert_eq!(store.change_ring(2, &retire, later(2)).await.unwrap(), Applied::At(3));
        let gone = kept(store, "a").await;
        assert_eq!((gone.state, gone.retired_at), (KeyState::Retired, Some(later(2))));
        let publish = RingStep::Publish(Box::new(key("c", KeyState::Staged)));
        assert_eq!(store.change_ring(3, &publish, later(3)).await.unwrap(), Applied::At(4));
        assert_eq!(store.ring_generation().await.unwrap(), 4);
    }

    async fn a_step_whose_precondition_fails_changes_nothing(ground) {
        let store = &ground.store;
        begun(store).await;
        let before = store.ring().await.unwrap();
        let refused = [
            (0, activate("b")),
            (2, activate("b")),
            (1, activate("a")),
            (1, activate("nobody")),
            (1, RingStep::Retire { kid: "a".to_owned() }),
            (1, RingStep::Publish(Box::new(key("a", KeyState::Staged)))),
            (1, RingStep::Publish(Box::new(key("c", KeyState::Active)))),
            (1, RingStep::Publish(Box::new(key("c", KeyState::Revoked)))),
            (1, RingStep::Revoke { kids: words("a nobody"), activate: None, publish: vec![] }),
            (1, RingStep::Revoke { kids: vec![], activate: Some("b".to_owned()), publish: vec![] }),
            (1, RingStep::Revoke { kids: words("a"), activate: Some("a".to_owned()), publish: vec![] }),
            (1, RingStep::Revoke { kids: words("b"), activate: None, publish: vec![key("c", KeyState::Active)] }),
            (1, RingStep::Revoke { kids: words("b"), activate: None, publish: vec![key("b", KeyState::Staged)] }),
        ];
        for (expected, step) in refused {
            assert_eq!(store.change_ring(expected, &step, NOW).await.unwrap(), Applied::Conflict, "{step:?}");
            assert_eq!(store.ring().await.unwrap(), before, "{step:?}");
        }
    }

    async fn a_key_without_a_private_part_is_never_activated(ground) {
        let store = &ground.store;
        begun(store).await;
        let bare = SigningKey { private: None, ..key("c", KeyState::Staged) };
        assert_eq!(store.change_ring(1, &RingStep::Publish(Box::new(bare)), NOW).await.unwrap(), Applied::At(2));
        assert_eq!(store.change_ring(2, &activate("c"), NOW).await.unwrap(), Applied::Conflict);
        assert_eq!(kept(store, "a").await.state, KeyState::Active);
    }

    async fn a_verify_only_import_keeps_no_private_part(ground) {
        let store = &ground.store;
        begun(store).await;
        let imported = SigningKey { publish_until: Some(later(99)), ..key("c", KeyState::Retiring) };
        assert_eq!(store.change_ring(1, &RingStep::Publish(Box::new(imported)), later(1)).await.unwrap(), Applied::At(2));
        let imported = kept(store, "c").await;
        assert_eq!((imported.private, imported.retiring_at), (None, Some(later(1))));
        assert_eq!(imported.publish_until, Some(later(99)));
    }

    async fn algorithms_have_an_active_key_each(ground) {
        let store = &ground.store;
        begun(store).await;
        let other = SigningKey { alg: "EdDSA".to_owned(), ..key("e", KeyState::Staged) };
        assert_eq!(store.change_ring(1, &RingStep::Publish(Box::new(other)), NOW).await.unwrap(), Applied::At(2));
        assert_eq!(store.change_ring(2, &activate("e"), NOW).await.unwrap(), Applied::At(3));
        assert_eq!(kept(store, "a").await.state, KeyState::Active);
        assert_eq!(kept(store, "e").await.state, KeyState::Active);
    }

    async fn of_many_activations_at_once_one_wins(ground) {
        begun(&ground.store).await;
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let store = ground.store.clone();
            tasks.push(tokio::spawn(async move { store.change_ring(1, &activate("b"), NOW).await.unwrap() }));
        }
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                Applied::At(generation) => {
                    assert_eq!(generation, 2);
                    won += 1;
                }
                Applied::Conflict => {}
            }
        }
        assert_eq!(won, 1);
        assert_eq!(ground.store.ring_generation().await.unwrap(), 2);
    }

    async fn a_revoked_key_never_comes_back(ground) {
        let store = &ground.store;
        begun(store).await;
        let revoke = RingStep::Revoke {
            kids: words("a"),
            activate: Some("b".to_owned()),
            publish: vec![key("c", KeyState::Staged)],
        };
        assert_eq!(store.change_ring(1, &revoke, later(1)).await.unwrap(), Applied::At(2));
        let tombstone = kept(store, "a").await;
        assert_eq!((tombstone.state, tombstone.private.as_deref()), (KeyState::Revoked, None));
        assert_eq!(tombstone.revoked_at, Some(later(1)));
        assert_eq!((kept(store, "b").await.state, kept(store, "c").await.state), (KeyState::Active, KeyState::Staged));
        let back = [
            RingStep::Publish(Box::new(key("a", KeyState::Staged))),
            RingStep::Publish(Box::new(key("a", KeyState::Retiring))),
            activate("a"),
            RingStep::Retire { kid: "a".to_owned() },
            RingStep::Revoke { kids: words("a"), activate: None, publish: vec![] },
        ];
        for step in back {
            assert_eq!(store.change_ring(2, &step, NOW).await.unwrap(), Applied::Conflict, "{step:?}");
        }
        assert_eq!(kept(store, "a").await, tombstone);
        let all = RingStep::Revoke {
            kids: words("b c"),
            activate: None,
            publish: vec![key("d", KeyState::Active), key("e", KeyState::Staged)],
        };
        assert_eq!(store.change_ring(2, &all, later(2)).await.unwrap(), Applied::At(3));
        assert_eq!(kept(store, "d").await.activated_at, Some(later(2)));
    }

    async fn max_lifetime_only_grows_and_only_on_an_active_key(ground) {
        let store = &ground.store;
        begun(store).await;
        assert!(store.raise_max_lifetime("a", 700).await.unwrap());
        assert!(store.raise_max_lifetime("a", 650).await.unwrap());
        assert_eq!(kept(store, "a").await.max_lifetime, 700);
        assert!(!store.raise_max_lifetime("b", 700).await.unwrap());
        assert!(!store.raise_max_lifetime("nobody", 700).await.unwrap());
        assert_eq!(store.ring_generation().await.unwrap(), 1);
    }

    async fn signed_tokens_are_counted_per_key(ground) {
        let store = &ground.store;
        begun(store).await;
        store.note_signed("a", 3, 500).await.unwrap();
        store.note_signed("a", 4, 400).await.unwrap();
        store.note_signed("b", u64::MAX, u64::MAX).await.unwrap();
        store.note_signed("b", u64::MAX, u64::MAX).await.unwrap();
        store.note_signed("nobody", 1, 1).await.unwrap();
        let counts = store.signed_counts().await.unwrap();
        assert_eq!(counts.get("a"), Some(&(7, 500)));
        assert_eq!(counts.len(), 2);
        assert_eq!(store.ring_generation().await.unwrap(), 1);
    }
}

// ── secrets, limits, audit ──────────────────────────────────────────────────────────────────────────────────────

contract! {
    async fn two_versions_of_a_secret_live_at_a_time(ground) {
        let store = &ground.store;
        assert!(store.secrets("refresh").await.unwrap().is_empty());
        assert!(store.add_secret(&secret(1), 0, 2).await.unwrap());
        assert!(!store.add_secret(&secret(1), 0, 2).await.unwrap());
        assert!(!store.add_secret(&secret(3), 1, 2).await.unwrap(), "a version cannot be left out");
        assert!(store.add_secret(&secret(2), 1, 2).await.unwrap());
        assert!(store.add_secret(&secret(3), 2, 2).await.unwrap());
        assert_eq!(store.secrets("refresh").await.unwrap(), vec![secret(3), secret(2)]);
        assert!(store.add_secret(&secret(4), 3, 1).await.unwrap());
        assert_eq!(store.secrets("refresh").await.unwrap(), vec![secret(4)]);
        assert!(store.secrets("other").await.unwrap().is_empty());
    }

    async fn of_many_first_secrets_at_once_one_is_kept(ground) {
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let store = ground.store.clone();
            tasks.push(tokio::spawn(async move { store.add_secret(&secret(1), 0, 2).await.unwrap() }));
        }
        let mut added = 0;
        for task in tasks {
            added += usize::from(task.await.unwrap());
        }
        assert_eq!(added, 1);
    }

    async fn a_namespace_has_one_first_data_key(ground) {
        let store = &ground.store;
        let first = StoredDataKey {
            version: 1,
            namespace: "default".to_owned(),
            suite: 2,
            master_key_id: "m1".to_owned(),
            kcv: "1785c4966aa4b4c0".to_owned(),
            bytes: vec![0, 255, 1, 128],
            active: true,
        };
        assert!(store.data_keys("default").await.unwrap().is_empty());
        assert!(store.add_first_data_key(&first, NOW).await.unwrap());
        let second = StoredDataKey { version: 2, kcv: "00".to_owned(), ..first.clone() };
        assert!(!store.add_first_data_key(&second, NOW).await.unwrap());
        let elsewhere = StoredDataKey { namespace: "other".to_owned(), ..second };
        assert!(store.add_first_data_key(&elsewhere, NOW).await.unwrap());
        assert_eq!(store.data_keys("default").await.unwrap(), vec![first]);
        assert_eq!(store.data_keys("other").await.unwrap(), vec![elsewhere]);
    }

    async fn delays_grow_up_to_a_cap_and_are_forgotten(ground) {
        let store = &ground.store;
        let mut at = NOW;
        for delay in [0, 0, 0, 1_000, 2_000, 4_000, 5_000, 5_000] {
            assert_eq!(store.attempt("ada", PACE, at).await.unwrap(), Attempt::Allowed, "{delay}");
            let end = Timestamp(at.0 + delay);
            if delay > 0 {
                let early = Timestamp(end.0 - 1);
                assert_eq!(store.attempt("ada", PACE, early).await.unwrap(), Attempt::NotBefore(end));
            }
            at = end;
        }
        assert_eq!(store.attempt("bea", PACE, at).await.unwrap(), Attempt::Allowed);
        let much_later = Timestamp(at.0 + PACE.forget_ms);
        for _ in 0..4 {
            assert_eq!(store.attempt("ada", PACE, much_later).await.unwrap(), Attempt::Allowed);
        }
        assert!(matches!(store.attempt("ada", PACE, much_later).await.unwrap(), Attempt::NotBefore(_)));
        store.succeed("ada").await.unwrap();
        assert_eq!(store.attempt("ada", PACE, much_later).await.unwrap(), Attempt::Allowed);
    }

    async fn without_free_failures_the_first_already_delays(ground) {
        let store = &ground.store;
        let pace = Pace { free: 0, ..PACE };
        assert_eq!(store.attempt("ada", pace, NOW).await.unwrap(), Attempt::Allowed);
        assert_eq!(store.attempt("ada", pace, NOW).await.unwrap(), Attempt::NotBefore(later(1_000)));
    }

    async fn attempts_written_out_of_the_order_of_their_clocks_are_not_delayed_by_each_other(ground) {
        let pace = Pace { free: 3, first_delay_ms: 1_000, max_delay_ms: 8_000, forget_ms: 900_000 };
        for at in [5, 0, 3] {
            assert_eq!(ground.store.attempt("s:crowd", pace, later(at)).await.unwrap(), Attempt::Allowed, "{at}");
        }
    }

    async fn guesses_at_once_get_no_more_tries_than_one_after_another(ground) {
        let mut tasks = Vec::new();
        for _ in 0..32 {
            let store = ground.store.clone();
            tasks.push(tokio::spawn(async move { store.attempt("ada", PACE, NOW).await.unwrap() }));
        }
        let mut allowed = 0;
        for task in tasks {
            allowed += u32::from(task.await.unwrap() == Attempt::Allowed);
        }
        assert_eq!(allowed, PACE.free + 1);
    }

    async fn forgiving_takes_back_one_failure_and_no_more(ground) {
        let store = &ground.store;
        let mut at = NOW;
        for delay in [0, 0, 0, 1_000, 2_000] {
            assert_eq!(store.attempt("ada", PACE, at).await.unwrap(), Attempt::Allowed);
            at = Timestamp(at.0 + delay);
        }
        let early = Timestamp(at.0 - 1);
        assert_eq!(store.attempt("ada", PACE, early).await.unwrap(), Attempt::NotBefore(at));
        store.forgive("ada").await.unwrap();
        assert_eq!(store.attempt("ada", PACE, early).await.unwrap(), Attempt::Allowed);
        let again = Timestamp(early.0 + 2_000);
        assert_eq!(store.attempt("ada", PACE, early).await.unwrap(), Attempt::NotBefore(again), "the older stand");
        store.forgive("nobody").await.unwrap();
        for n in 0..PACE.free + 3 {
            assert_eq!(store.attempt("bea", PACE, NOW).await.unwrap(), Attempt::Allowed, "{n}");
            store.forgive("bea").await.unwrap();
        }
    }

    async fn limits_are_swept_in_bounded_bites(ground) {
        let store = &ground.store;
        for n in 0..5 {
            store.attempt(&format!("s{n}"), PACE, NOW).await.unwrap();
        }
        store.attempt("fresh", PACE, later(10)).await.unwrap();
        assert_eq!(store.sweep_limits(later(10), 3).await.unwrap(), 3);
        assert_eq!(store.sweep_limits(later(10), 3).await.unwrap(), 2);
        assert_eq!(store.sweep_limits(later(10), 3).await.unwrap(), 0);
    }

    async fn the_audit_trail_is_read_newest_first_and_swept_oldest_first(ground) {
        let store = &ground.store;
        let events: Vec<_> = (0..5).map(|n| event("login_failed", later(n))).collect();
        for event in &events {
            store.record(event).await.unwrap();
        }
        let newest = store.audit(2).await.unwrap();
        assert_eq!(newest.iter().map(|event| event.id).collect::<Vec<_>>(), [events[4].id, events[3].id]);
        assert_eq!(newest[0], AuditEvent { detail: "a\u{fffd}b".to_owned(), ..events[4].clone() });
        assert_eq!(store.sweep_audit(later(3), 2).await.unwrap(), 2);
        assert_eq!(store.sweep_audit(later(3), 2).await.unwrap(), 1);
        assert_eq!(store.audit(10).await.unwrap().len(), 2);
    }
}

// ── the database behind it ──────────────────────────────────────────────────────────────────────────────────────

contract! {
    async fn what_was_written_is_there_after_reopening(ground) {
        let (account, _, session) = logged_in(&ground.store).await;
        begun(&ground.store).await;
        let outcome = ground.store.advance(&presented(&session, 1, later(GRACE))).await.unwrap();
        assert_eq!(name(&outcome), "advanced");
        ground.store.close().await;
        let after = ground.again().await;
        assert_eq!(after.account(account.id).await.unwrap(), Some(account));
        assert_eq!(after.session(session.id).await.unwrap().unwrap().counter, 2);
        assert_eq!(after.ring_generation().await.unwrap(), 1);
        after.close().await;
    }

    async fn several_programs_write_to_one_database_without_an_error(ground) {
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let store = ground.again().await;
            let (_, _, session) = logged_in(&store).await;
            tasks.push(tokio::spawn(async move {
                for n in 0..50_u32 {
                    let at = later(i64::from(n + 1) * GRACE);
                    let outcome = store.advance(&presented(&session, n + 1, at)).await.unwrap();
                    assert_eq!(name(&outcome), "advanced");
                    store.record(&event("refreshed", at)).await.unwrap();
                    someone(&store).await;
                }
                store.close().await;
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(ground.store.audit(1_000).await.unwrap().len(), 200);
    }

    async fn many_may_open_a_new_database_at_once(ground) {
        ground.store.close().await;
        ground.tell("DROP TABLE schema_versions; DROP TABLE identifiers; DROP TABLE sessions; DROP TABLE accounts; \
            DROP TABLE clients; DROP TABLE key_ring; DROP TABLE signed_counts; DROP TABLE signing_keys; \
            DROP TABLE secrets; DROP TABLE secret_names; DROP TABLE encryption_keys; DROP TABLE limits; \
            DROP TABLE audit_events").await;
        let mut tasks = Vec::new();
        for _ in 0..6 {
            let location = ground.location.clone();
            tasks.push(tokio::spawn(async move { SqlStore::open(location).await.unwrap() }));
        }
        for task in tasks {
            let store = task.await.unwrap();
            assert_eq!(store.ring_generation().await.unwrap(), 0);
            store.close().await;
        }
    }

    async fn a_step_given_up_half_way_leaves_no_trace_and_no_lock(ground) {
        let (account, client) = someone(&ground.store).await;
        let (mut wanted, mut kept) = (Vec::new(), 0);
        for n in 0..150 {
            let session = session(&account, &client);
            let honest = login(&session);
            let start = ground.store.start_session(&honest);
            let patience = std::time::Duration::from_micros(n * 20);
            let finished = tokio::time::timeout(patience, start).await.is_ok();
            wanted.push((session, finished));
        }
        assert!(ground.store.set_roles(account.id, &words("admin"), NOW).await.unwrap());
        for (session, finished) in wanted {
            let found = ground.store.session(session.id).await.unwrap();
            assert!(found.is_some() || !finished, "what was reported is there");
            assert!(found.is_none_or(|found| found == session), "whole or not at all");
            kept += u32::from(finished);
        }
        assert!(kept < 150, "none was given up");
    }

    async fn a_newer_database_is_refused(ground) {
        ground.store.close().await;
        ground.tell("INSERT INTO schema_versions (version) VALUES (999)").await;
        let refused = SqlStore::open(ground.location.clone()).await;
        assert!(matches!(refused, Err(OpenError::Newer { found: 999, .. })));
    }

    async fn an_unreadable_row_is_called_corrupt(ground) {
        let store = &ground.store;
        let (account, client, session) = logged_in(store).await;
        begun(store).await;
        ground.tell("UPDATE sessions SET counter = 99999999999").await;
        assert!(is_corrupt(&store.session(session.id).await));
        assert!(is_corrupt(&store.sessions_of(account.id, NOW, 5).await));
        assert!(is_corrupt(&store.advance(&presented(&session, 1, later(IDLE))).await));
        ground.tell("UPDATE sessions SET counter = 1, ended_at = 5, end_reason = 'boredom'").await;
        assert!(is_corrupt(&store.session(session.id).await));
        assert!(is_corrupt(&store.advance(&presented(&session, 1, later(1))).await));
        ground.tell("UPDATE clients SET access_lifetime = -1").await;
        assert!(is_corrupt(&store.client(&client.name).await));
        ground.tell("UPDATE signing_keys SET max_lifetime = -1").await;
        assert!(is_corrupt(&store.ring().await));
        ground.tell("DELETE FROM key_ring").await;
        assert!(is_corrupt(&store.ring().await));
        assert!(is_corrupt(&store.ring_generation().await));
        store.record(&event("x", NOW)).await.unwrap();
        ground.tell("UPDATE audit_events SET account_id = 'nobody'").await;
        assert!(is_corrupt(&store.audit(1).await));
    }

    async fn every_call_is_counted(ground) {
        let store = &ground.store;
        assert!(store.calls().iter().all(|(_, n)| *n == 0));
        store.credential_by_identifier("ada").await.unwrap();
        store.credential_by_identifier("bea").await.unwrap();
        store.clone().attempt("ada", PACE, NOW).await.unwrap();
        let calls: Vec<_> = store.calls().into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(calls, [("credential_by_identifier", 2), ("attempt", 1)]);
    }

    async fn a_closed_store_says_which_step_it_could_not_take(ground) {
        ground.store.close().await;
        let refused = ground.store.credential_by_identifier("ada-secret-name").await;
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("`credential_by_identifier`"), "{words}");
        assert!(!words.contains("ada"), "{words}");
    }
}

#[tokio::test]
async fn sqlite_text_where_a_number_belongs_is_called_corrupt() {
    let ground = Ground::on_sqlite().await;
    let (account, _, session) = logged_in(&ground.store).await;
    ground.tell("UPDATE sessions SET rotated_at = 'yesterday'").await;
    assert!(is_corrupt(&ground.store.session(session.id).await));
    ground.tell("UPDATE accounts SET name = CAST(x'ff' AS TEXT)").await;
    assert!(is_corrupt(&ground.store.account(account.id).await));
    ground.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_make_the_sqlite_file_at_once() {
    for _ in 0..5 {
        let file = fresh_folder().join("keyward.db");
        let mut tasks = Vec::new();
        for _ in 0..6 {
            let location = Location::Sqlite(file.clone());
            tasks.push(tokio::spawn(async move { SqlStore::open(location).await.unwrap() }));
        }
        for task in tasks {
            let store = task.await.unwrap();
            assert_eq!(store.ring_generation().await.unwrap(), 0);
            store.close().await;
        }
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn the_sqlite_file_and_its_folder_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = fresh_folder().join("deep #1?");
    let store = SqlStore::open(Location::Sqlite(folder.join("key ward%20.db"))).await.unwrap();
    assert!(store.add_account(&new_account("ada")).await.unwrap());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.contains(&folder.join("key ward%20.db")), "{files:?}");
    assert_eq!(files.len(), 3, "the file, its log and the log's index: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    store.close().await;
    std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_location_that_cannot_be_is_refused_with_a_sentence() {
    let folder = fresh_folder();
    std::fs::create_dir_all(folder.join("keyward.db")).unwrap();
    let refused = SqlStore::open(Location::Sqlite(folder.join("keyward.db"))).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("keyward.db")));
    let refused = SqlStore::open(Location::Sqlite(PathBuf::from("/dev/null/keyward.db"))).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("/dev/null/keyward.db")));
    for address in ["mysql://user:hunter2@host/db", "postgres://user:hunter2@:bad:/db", "hunter2"] {
        let refused = SqlStore::open(Location::Postgres(address.to_owned())).await.map(|_| ());
        let words = refused.unwrap_err().to_string();
        assert!(!words.contains("hunter2"), "{words}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
