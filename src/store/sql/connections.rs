//! The connections to a SQLite file; those to PostgreSQL are kept by sqlx's pool.
//!
//! At every release sqlx's pool starts a task and asks the connection whether it still lives. On SQLite, where each
//! question wakes a thread, that cost a third of an RSA signature. Here a connection comes back only from work that
//! ended well; any other is closed, which undoes whatever it had begun.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::row::Failure;

/// How long a step waits for a free connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Connections to a SQLite file, made when they are first needed.
pub(super) struct Kept {
    options: AnyConnectOptions,
    settings: &'static str,
    most: u32,
    places: Semaphore,
    idle: Mutex<Vec<AnyConnection>>,
}

impl Kept {
    /// At most `most` connections, each begun with the pragmas in `settings`.
    pub(super) fn new(options: AnyConnectOptions, settings: &'static str, most: u32) -> Kept {
        let places = Semaphore::new(most as usize);
        Kept { options, settings, most, places, idle: Mutex::default() }
    }

    /// A connection, when one is free; those who wait are served in order.
    pub(super) async fn lend(&self) -> Result<Lent<'_>, Failure> {
        let waited = tokio::time::timeout(PATIENCE, self.places.acquire()).await;
        let place = waited
            .map_err(|_| Failure::Driver(sqlx::Error::PoolTimedOut))?
            .map_err(|_| Failure::Driver(sqlx::Error::PoolClosed))?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let mut fresh = self.options.connect().await?;
                sqlx::raw_sql(self.settings).execute(&mut fresh).await?;
                fresh
            }
        };
        Ok(Lent { connection, home: self, place })
    }

    /// Waits for all that are lent and closes them.
    pub(super) async fn close(&self) {
        let _all = self.places.acquire_many(self.most).await;
        self.places.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            if let Err(cause) = connection.close().await {
                tracing::debug!(%cause, "a connection was not closed in order");
            }
        }
    }
}

/// A connection of [`Kept`]; dropped without [`Lent::back`] it is closed.
pub(super) struct Lent<'a> {
    connection: AnyConnection,
    home: &'a Kept,
    // After the connection: its place is free when it is.
    place: SemaphorePermit<'a>,
}

impl Lent<'_> {
    /// Its work ended well and left no transaction open.
    pub(super) fn back(self) {
        self.home.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.connection);
        drop(self.place);
    }
}

impl Deref for Lent<'_> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}
