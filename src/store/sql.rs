//! The SQL back end for SQLite and PostgreSQL: one text for both engines, through sqlx's `Any` driver.
//!
//! SQLite has one writing connection, so steps queue in the program instead of fighting over the file's lock; other
//! processes are waited for.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AnyPool, Executor, Transaction};
use tokio::sync::Semaphore;

use super::{AuditEvent, Store, StoreResult};
use connections::{Kept, Lent};
use group::{Group, Statement, Written};
use row::Failure;

mod accounts;
mod clients;
mod connections;
mod group;
mod keys;
mod limits;
mod open;
mod row;
mod secrets;
mod sessions;
mod writable;

pub use open::{Location, OpenError};

/// How often a step is tried that the database itself undid because others were in its way.
const TRIES: u32 = 4;

/// What Keyward remembers, in SQLite or PostgreSQL. Clones share connections and counters.
#[derive(Clone)]
pub struct SqlStore {
    database: Arc<Database>,
    crowd: Arc<Semaphore>,
    calls: Arc<[AtomicU64; Step::COUNT]>,
    refuses: Arc<AtomicBool>,
    note: Option<Arc<AuditEvent>>,
}

impl Store for SqlStore {
    fn noting(&self, event: AuditEvent) -> SqlStore {
        SqlStore { note: Some(Arc::new(event)), ..self.clone() }
    }
}

impl SqlStore {
    /// Opens the database, makes it if it is not there, and brings its tables up to date.
    ///
    /// # Errors
    /// One sentence each: not reachable, not creatable, or written by a newer Keyward.
    pub async fn open(location: Location) -> Result<SqlStore, OpenError> {
        let database = Arc::new(open::connect(&location).await?);
        let calls = Arc::new([const { AtomicU64::new(0) }; Step::COUNT]);
        let crowd = Arc::new(Semaphore::new(database.most_of_the_crowd()));
        let store = SqlStore { database, crowd, calls, refuses: Arc::default(), note: None };
        for attempt in 1.. {
            match open::migrate(&store).await {
                Err(OpenError::Database { again: true, .. }) if attempt < TRIES => pause(attempt).await,
                done => return done.map(|()| store),
            }
        }
        Ok(store)
    }

    /// Waits for running steps and closes every connection; later steps fail. Clones are closed with it.
    pub async fn close(&self) {
        match &*self.database {
            Database::Sqlite(sqlite) => {
                sqlite.readers.close().await;
                sqlite.writer.close().await;
            }
            Database::Postgres(pool) => pool.close().await,
        }
    }

    /// How often each step was called since the store was opened, by method name.
    pub fn calls(&self) -> Vec<(&'static str, u64)> {
        std::iter::zip(Step::NAMES, self.calls.iter())
            .map(|(name, n)| (*name, n.load(Ordering::Relaxed)))
            .collect()
    }

    /// Counts the call, runs `attempt`, and runs it again when the database undid it for the sake of others.
    async fn step<T, F>(&self, step: Step, attempt: impl Fn() -> F) -> StoreResult<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        if let Some(counter) = self.calls.get(step as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        // Kept to the end of the step.
        let _turn = if step.is_of_the_crowd() {
            let turn = tokio::time::timeout(connections::PATIENCE, self.crowd.acquire()).await;
            Some(turn.map_err(|_| Failure::Driver(sqlx::Error::PoolTimedOut).into_store_error(step.name()))?)
        } else {
            None
        };
        let mut tries = 1;
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(failure) if failure.worth_another_try() && tries < TRIES => pause(tries).await,
                Err(failure) => return Err(self.failed(step, failure)),
            }
            tries += 1;
        }
    }

    /// Reads with one statement.
    async fn read(&self, query: Query) -> Result<Vec<AnyRow>, Failure> {
        match &*self.database {
            Database::Sqlite(sqlite) => {
                let mut reader = sqlite.readers.lend().await?;
                let rows = query.fetch_all(&mut *reader).await?;
                reader.back();
                Ok(rows)
            }
            Database::Postgres(pool) => Ok(query.fetch_all(pool).await?),
        }
    }

    /// Reads the only row, if there is one.
    async fn read_one(&self, query: Query) -> Result<Option<AnyRow>, Failure> {
        Ok(self.read(query).await?.into_iter().next())
    }

    /// Writes with one statement; how many rows it changed.
    async fn write(&self, query: Query) -> Result<u64, Failure> {
        Ok(self.write_one(Statement { query, returning: false }).await?.rows())
    }

    /// Writes with one statement and returns the rows behind its `RETURNING`.
    async fn write_returning(&self, query: Query) -> Result<Vec<AnyRow>, Failure> {
        match self.write_one(Statement { query, returning: true }).await? {
            Written::Returned(rows) => Ok(rows),
            Written::Changed(_) => Ok(Vec::new()),
        }
    }

    async fn write_one(&self, statement: Statement) -> Result<Written, Failure> {
        if self.note.is_some() {
            let mut step = self.begin().await?;
            let written = group::written(statement, &mut *step).await?;
            match written.rows() {
                0 => step.rollback().await?,
                _ => step.commit().await?,
            }
            return Ok(written);
        }
        match &*self.database {
            Database::Sqlite(sqlite) => sqlite.writer.write(statement).await,
            Database::Postgres(pool) => group::written(statement, pool).await,
        }
    }

    /// A transaction that may write; on SQLite it holds the file's write lock from its beginning. Dropped without
    /// [`Change::commit`] it is undone.
    async fn begin(&self) -> Result<Change<'_>, Failure> {
        match &*self.database {
            Database::Sqlite(sqlite) => {
                let mut lent = sqlite.writer.lend().await?;
                query("BEGIN IMMEDIATE").execute(&mut *lent).await?;
                Ok(Change { under_way: UnderWay::Sqlite(lent), note: self.note.clone() })
            }
            Database::Postgres(pool) => {
                Ok(Change { under_way: UnderWay::Postgres(pool.begin().await?), note: self.note.clone() })
            }
        }
    }
}

enum Database {
    Sqlite(Box<Sqlite>),
    Postgres(AnyPool),
}

/// Boxed, because it is much larger than a pool.
struct Sqlite {
    writer: Group,
    readers: Kept,
}

impl Database {
    /// How many steps of logins may want a writing connection at once. The others wait before that queue, in which a
    /// refresh or a rotation would stand behind all of them.
    fn most_of_the_crowd(&self) -> usize {
        match self {
            Database::Sqlite(_) => 1,
            Database::Postgres(_) => 12,
        }
    }
}

/// A transaction under way.
struct Change<'a> {
    under_way: UnderWay<'a>,
    note: Option<Arc<AuditEvent>>,
}

enum UnderWay<'a> {
    Sqlite(Lent<'a>),
    Postgres(Transaction<'static, Any>),
}

impl Change<'_> {
    /// Makes it durable, together with the note of it.
    async fn commit(mut self) -> Result<(), Failure> {
        if let Some(event) = self.note.take() {
            limits::recording(&event).execute(&mut *self).await?;
        }
        match self.under_way {
            UnderWay::Sqlite(lent) => close(lent, "COMMIT").await,
            UnderWay::Postgres(transaction) => Ok(transaction.commit().await?),
        }
    }

    /// Makes it durable although it is not what the note tells of.
    async fn commit_unnoted(mut self) -> Result<(), Failure> {
        self.note = None;
        self.commit().await
    }

    /// Whether what was read must be held by a lock until the end: on SQLite nobody else writes meanwhile.
    fn needs_row_locks(&self) -> bool {
        matches!(self.under_way, UnderWay::Postgres(_))
    }

    /// Undoes it and keeps the connection.
    async fn rollback(self) -> Result<(), Failure> {
        match self.under_way {
            UnderWay::Sqlite(lent) => close(lent, "ROLLBACK").await,
            UnderWay::Postgres(transaction) => Ok(transaction.rollback().await?),
        }
    }
}

async fn close(mut lent: Lent<'_>, how: &'static str) -> Result<(), Failure> {
    query(how).execute(&mut *lent).await?;
    lent.back();
    Ok(())
}

impl Deref for Change<'_> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        match &self.under_way {
            UnderWay::Sqlite(lent) => lent,
            UnderWay::Postgres(transaction) => transaction,
        }
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        match &mut self.under_way {
            UnderWay::Sqlite(lent) => lent,
            UnderWay::Postgres(transaction) => transaction,
        }
    }
}

/// A statement of ours with its values.
type Query = sqlx::query::Query<'static, Any, sqlx::any::AnyArguments>;

fn query(sql: &'static str) -> Query {
    sqlx::query(sql)
}

/// The only row, if there is one. Reads to the end: a commit behind `RETURNING` comes after its rows.
async fn first<'e>(query: Query, on: impl Executor<'e, Database = Any>) -> Result<Option<AnyRow>, Failure> {
    Ok(query.fetch_all(on).await?.into_iter().next())
}

/// How many rows the statement changed.
async fn changed<'e>(query: Query, on: impl Executor<'e, Database = Any>) -> Result<u64, Failure> {
    Ok(query.execute(on).await?.rows_affected())
}

async fn pause(tries: u32) {
    tokio::time::sleep(Duration::from_millis(u64::from(tries) * 10)).await;
}

macro_rules! steps {
    ($($step:ident)*) => {
        /// The methods of the traits, for counting and for error messages.
        #[expect(non_camel_case_types, reason = "each is called as its method is")]
        #[derive(Clone, Copy)]
        enum Step { $($step),* }

        impl Step {
            const NAMES: &[&str] = &[$(stringify!($step)),*];
            const COUNT: usize = Step::NAMES.len();

            /// Whether it is a step of logins, which anybody can cause by the hundred.
            fn is_of_the_crowd(self) -> bool {
                matches!(self, Step::attempt | Step::succeed | Step::forgive | Step::conclude_login)
            }

            fn name(self) -> &'static str {
                match self { $(Step::$step => stringify!($step)),* }
            }
        }
    };
}

steps! {
    add_account account credential_by_identifier credential accounts set_enabled set_roles change_password
    rehash_password delete_account
    add_client client clients set_client delete_client
    conclude_login advance session live_session sessions_of end_session end_sessions_of end_all_sessions
    sweep_sessions
    ring ring_generation change_ring raise_max_lifetime note_signed signed_counts
    secrets add_secret data_keys add_first_data_key
    attempt succeed forgive sweep_limits record audit sweep_audit
    recover
}
