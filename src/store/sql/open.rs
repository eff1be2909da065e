//! Opening: files and their modes, connections and their settings, migrations.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions, Connection};

use super::connections::{Kept, PATIENCE};
use super::group::Group;
use super::row::{Failure, Record};
use super::{Database, SqlStore, Sqlite, first, query};

/// Numbered from 1, only ever added to.
const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/0001_start.sql")];

const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;

/// A connection that lay idle for longer is asked whether it still lives before it is used.
const FRESH: Duration = Duration::from_secs(10);

const SQLITE_WRITER: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON";
const SQLITE_READER: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON";

/// Where the database is. No `Debug`: the address of a server may hold a password.
#[derive(Clone)]
pub enum Location {
    /// A file; it is created with mode 0600, its directory with 0700.
    Sqlite(PathBuf),
    /// `postgres://user@host/database`.
    Postgres(String),
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its directory could not be made.
    #[error("the database file {} cannot be opened: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The address of the server is not one.
    #[error("the database address cannot be read: {0}")]
    Address(String),
    /// The database did not answer or refused.
    #[error("the database cannot be opened: {cause}")]
    Database {
        /// What the driver said.
        cause: String,
        /// Others were in the way.
        again: bool,
    },
    /// A newer Keyward has been here.
    #[error(
        "the database was written by a newer Keyward (its tables have version {found}, this program knows \
         {known}): use that version, or restore a backup from before the upgrade"
    )]
    Newer {
        /// Version of the tables.
        found: i64,
        /// Newest version this program knows.
        known: i64,
    },
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> OpenError {
        OpenError::Database { again: failure.worth_another_try(), cause: failure.words() }
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> OpenError {
        Failure::Driver(error).into()
    }
}

/// The connections for writing and for reading. None is made before it is needed.
pub(super) async fn connect(location: &Location) -> Result<Database, OpenError> {
    sqlx::any::install_default_drivers();
    match location {
        Location::Sqlite(path) => {
            let file = prepare(path).map_err(|cause| OpenError::File { path: path.clone(), cause })?;
            let options = options(&sqlite_address(&file)?)?;
            readable(&file, &options).await?;
            let writer = Group::new(Kept::new(options.clone(), SQLITE_WRITER, 1));
            let readers = Kept::new(options, SQLITE_READER, SQLITE_READERS);
            Ok(Database::Sqlite(Box::new(Sqlite { writer, readers })))
        }
        Location::Postgres(address) => {
            if !address.starts_with("postgres://") && !address.starts_with("postgresql://") {
                return Err(OpenError::Address("it does not begin with postgres://".to_owned()));
            }
            Ok(Database::Postgres(postgres_pool().connect_lazy_with(options(address)?)))
        }
    }
}

/// Brings the tables to the newest version, under a lock so that of several starting processes one does it.
pub(super) async fn migrate(store: &SqlStore) -> Result<(), OpenError> {
    let mut step = store.begin().await?;
    if let Database::Postgres(_) = *store.database {
        query("SELECT pg_advisory_xact_lock(7236571)").execute(&mut *step).await?;
    }
    query("CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY)")
        .execute(&mut *step)
        .await?;
    let newest = query("SELECT COALESCE(MAX(version), 0) AS newest FROM schema_versions");
    let row = first(newest, &mut *step).await?.ok_or(Failure::Corrupt("schema version"))?;
    let found = Record(&row).int("newest")?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    for (version, text) in (1_i64..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        let text = match *store.database {
            Database::Sqlite(_) => text.to_owned(),
            Database::Postgres(_) => text.replace(" BLOB", " BYTEA"),
        };
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *step).await?;
        query("INSERT INTO schema_versions (version) VALUES ($1)").bind(version).execute(&mut *step).await?;
    }
    Ok(step.commit().await?)
}

/// Makes directory and file with their modes before SQLite would make them with the umask's, and says where they are.
fn prepare(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let folder = fs::canonicalize(folder)?;
    let file = folder.join(name);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
        Ok(_) => File::open(&folder)?.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(file)
}

/// Reads the file once by itself: a pool would only say, seconds later, that it has no connection.
async fn readable(file: &Path, options: &AnyConnectOptions) -> Result<(), OpenError> {
    let read = async {
        let mut connection = AnyConnection::connect_with(options).await?;
        sqlx::raw_sql("PRAGMA busy_timeout = 5000; SELECT count(*) FROM sqlite_master")
            .execute(&mut connection)
            .await?;
        connection.close().await
    };
    read.await.map_err(|cause| OpenError::File { path: file.to_owned(), cause: io::Error::other(cause) })
}

fn sqlite_address(file: &Path) -> Result<String, OpenError> {
    let Some(path) = file.to_str() else {
        return Err(OpenError::File { path: file.to_owned(), cause: io::ErrorKind::InvalidFilename.into() });
    };
    let mut address = String::from("sqlite://");
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                address.push(char::from(byte))
            }
            other => address.push_str(&format!("%{other:02X}")),
        }
    }
    Ok(address)
}

fn options(address: &str) -> Result<AnyConnectOptions, OpenError> {
    let options: AnyConnectOptions =
        address.parse().map_err(|_| OpenError::Address("it is not a URL".to_owned()))?;
    Ok(options.disable_statement_logging())
}

fn postgres_pool() -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .before_acquire(|connection, state| {
            Box::pin(async move {
                if state.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}
