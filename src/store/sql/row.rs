//! Reading rows and writing values, and what can go wrong with either.

use std::sync::Arc;

use sqlx::Row;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::store::StoreError;

/// Why an attempt at a step did not succeed.
pub(super) enum Failure {
    Driver(sqlx::Error),
    Corrupt(&'static str),
    Refused(&'static str),
    /// What failed was done for several at once.
    Shared(Arc<Failure>),
    /// Whoever carried it out for others was given up half way, which happens when the runtime ends: it is not known
    /// whether it was done.
    Abandoned,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        match error {
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Failure::Corrupt("row"),
            other => Failure::Driver(other),
        }
    }
}

impl Failure {
    /// Whether the database undid the attempt for the sake of others: SQLite's BUSY and LOCKED families,
    /// PostgreSQL's serialization failure and deadlock.
    pub(super) fn worth_another_try(&self) -> bool {
        match self {
            Failure::Driver(error) => {
                let code = error.as_database_error().and_then(|error| error.code());
                matches!(code.as_deref(), Some("40001" | "40P01"))
                    || matches!(sqlite_family(error), Some(5 | 6))
            }
            Failure::Shared(failure) => failure.worth_another_try(),
            Failure::Abandoned => true,
            Failure::Corrupt(_) | Failure::Refused(_) => false,
        }
    }

    /// Whether SQLite undid this statement and nothing else: its TOOBIG, CONSTRAINT and MISMATCH families. Others
    /// may have ended the transaction around it.
    pub(super) fn breaks_a_rule(&self) -> bool {
        matches!(self, Failure::Driver(error) if matches!(sqlite_family(error), Some(18..=20)))
    }

    /// What the driver said; database messages name columns and constraints, never bound values.
    pub(super) fn words(&self) -> String {
        match self {
            Failure::Driver(sqlx::Error::Database(error)) => match error.code() {
                Some(code) => format!("{} (code {code})", error.message()),
                None => error.message().to_owned(),
            },
            Failure::Driver(other) => other.to_string(),
            Failure::Corrupt(what) => format!("unreadable {what}"),
            Failure::Refused(why) => (*why).to_owned(),
            Failure::Shared(failure) => failure.words(),
            Failure::Abandoned => "it was given up half way".to_owned(),
        }
    }

    pub(super) fn into_store_error(self, step: &'static str) -> StoreError {
        match self {
            Failure::Corrupt(what) => StoreError::Corrupt { what },
            other => StoreError::Unavailable { step, cause: other.words() },
        }
    }
}

/// The low byte of SQLite's number, which names its family. SQLSTATE has five characters, those numbers fewer.
fn sqlite_family(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    let number: u32 = (code.len() < 5).then(|| code.parse().ok())??;
    Some(number & 0xff)
}

/// A row whose columns are read by name; what cannot be read is [`Failure::Corrupt`] and named.
pub(super) struct Record<'r>(pub(super) &'r AnyRow);

impl Record<'_> {
    pub(super) fn maybe_text(&self, column: &'static str) -> Result<Option<String>, Failure> {
        self.0.try_get(column).map_err(|_| Failure::Corrupt(column))
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, Failure> {
        self.maybe_text(column)?.ok_or(Failure::Corrupt(column))
    }

    pub(super) fn maybe_int(&self, column: &'static str) -> Result<Option<i64>, Failure> {
        self.0.try_get(column).map_err(|_| Failure::Corrupt(column))
    }

    pub(super) fn int(&self, column: &'static str) -> Result<i64, Failure> {
        self.maybe_int(column)?.ok_or(Failure::Corrupt(column))
    }

    /// An integer within the range of `N`.
    pub(super) fn number<N: TryFrom<i64>>(&self, column: &'static str) -> Result<N, Failure> {
        N::try_from(self.int(column)?).map_err(|_| Failure::Corrupt(column))
    }

    pub(super) fn maybe_number<N: TryFrom<i64>>(&self, column: &'static str) -> Result<Option<N>, Failure> {
        let int = self.maybe_int(column)?;
        int.map(|int| N::try_from(int).map_err(|_| Failure::Corrupt(column))).transpose()
    }

    pub(super) fn flag(&self, column: &'static str) -> Result<bool, Failure> {
        match self.int(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Failure::Corrupt(column)),
        }
    }

    pub(super) fn time(&self, column: &'static str) -> Result<Timestamp, Failure> {
        self.int(column).map(Timestamp)
    }

    pub(super) fn maybe_time(&self, column: &'static str) -> Result<Option<Timestamp>, Failure> {
        Ok(self.maybe_int(column)?.map(Timestamp))
    }

    pub(super) fn maybe_uuid(&self, column: &'static str) -> Result<Option<Uuid>, Failure> {
        let text = self.maybe_text(column)?;
        text.map(|text| Uuid::try_parse(&text).map_err(|_| Failure::Corrupt(column))).transpose()
    }

    pub(super) fn uuid(&self, column: &'static str) -> Result<Uuid, Failure> {
        self.maybe_uuid(column)?.ok_or(Failure::Corrupt(column))
    }

    pub(super) fn bytes(&self, column: &'static str) -> Result<Vec<u8>, Failure> {
        let bytes: Option<Vec<u8>> = self.0.try_get(column).map_err(|_| Failure::Corrupt(column))?;
        bytes.ok_or(Failure::Corrupt(column))
    }

    pub(super) fn list(&self, column: &'static str) -> Result<Vec<String>, Failure> {
        Ok(self.text(column)?.split_ascii_whitespace().map(str::to_owned).collect())
    }
}

/// A list as it is stored. An element with white space would come back as two, perhaps as two rights: refused.
pub(super) fn joined(list: &[String]) -> Result<String, Failure> {
    if list
        .iter()
        .any(|element| element.is_empty() || element.contains(|c: char| c.is_whitespace() || c == '\0'))
    {
        return Err(Failure::Refused("an element of a list is empty or holds white space"));
    }
    Ok(list.join(" "))
}

/// Free text without NUL, which PostgreSQL cannot store.
pub(super) fn printable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The form in which ids are stored: hyphenated, lower case.
pub(super) fn id(id: Uuid) -> String {
    id.as_hyphenated().to_string()
}
