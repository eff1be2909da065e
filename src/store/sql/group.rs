//! Writes of one statement, committed together while they wait for the writing connection.
//!
//! A commit costs several times its statement. Whoever gets the connection carries out what all the others wait for,
//! in one transaction in the order of their coming, and nobody is answered before it is durable.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor};
use tokio::sync::oneshot;

use super::connections::{Kept, Lent};
use super::row::Failure;
use super::{Query, query};

/// What a statement brought about.
pub(super) enum Written {
    /// How many rows it changed.
    Changed(u64),
    /// The rows behind its `RETURNING`.
    Returned(Vec<AnyRow>),
}

impl Written {
    /// How many rows it changed, or changed and returned.
    pub(super) fn rows(&self) -> u64 {
        match self {
            Written::Changed(rows) => *rows,
            Written::Returned(rows) => rows.len() as u64,
        }
    }
}

/// One statement that writes.
pub(super) struct Statement {
    pub(super) query: Query,
    /// Whether it has a `RETURNING`.
    pub(super) returning: bool,
}

type Outcome = Result<Written, Failure>;

/// A statement that waits, and who waits for it.
struct Waiting {
    statement: Statement,
    answer: oneshot::Sender<Outcome>,
}

/// The writing connection of a SQLite file.
pub(super) struct Group {
    connection: Kept,
    waiting: Mutex<Vec<Waiting>>,
}

impl Group {
    pub(super) fn new(connection: Kept) -> Group {
        Group { connection, waiting: Mutex::default() }
    }

    /// The connection alone, for a step of several statements.
    pub(super) async fn lend(&self) -> Result<Lent<'_>, Failure> {
        self.connection.lend().await
    }

    pub(super) async fn close(&self) {
        self.connection.close().await;
    }

    /// Carries out one statement, durable on return. No more wait than there are callers, whom others bound.
    pub(super) async fn write(&self, statement: Statement) -> Outcome {
        let (answer, mut answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { statement, answer });
        tokio::select! {
            biased;
            outcome = &mut answered => return outcome.unwrap_or(Err(Failure::Abandoned)),
            lent = self.connection.lend() => self.carry_out(lent?).await,
        }
        answered.await.unwrap_or(Err(Failure::Abandoned))
    }

    /// Carries out all that wait, whose caller may be among them or served by now.
    async fn carry_out(&self, mut connection: Lent<'_>) {
        let mut group = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        // Whoever has given up meanwhile was told nothing; their statement is not begun any more.
        group.retain(|waiting| !waiting.answer.is_closed());
        if group.len() < 2 {
            let mut well = true;
            for Waiting { statement, answer } in group {
                let outcome = written(statement, &mut *connection).await;
                well = outcome.is_ok();
                _ = answer.send(outcome);
            }
            if well {
                connection.back();
            }
            return;
        }
        let (statements, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|waiting| (waiting.statement, waiting.answer)).unzip();
        match together(statements, &mut connection).await {
            Ok(outcomes) => {
                connection.back();
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    _ = answer.send(outcome);
                }
            }
            Err(failure) => {
                drop(connection);
                let failure = Arc::new(failure);
                for answer in answers {
                    _ = answer.send(Err(Failure::Shared(failure.clone())));
                }
            }
        }
    }
}

/// All in one transaction. A statement that breaks a rule of the tables changes nothing and fails alone; whatever else
/// goes wrong undoes them all.
async fn together(
    statements: Vec<Statement>,
    connection: &mut AnyConnection,
) -> Result<Vec<Outcome>, Failure> {
    query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let mut outcomes = Vec::with_capacity(statements.len());
    for statement in statements {
        match written(statement, &mut *connection).await {
            Err(failure) if !failure.breaks_a_rule() => return Err(failure),
            outcome => outcomes.push(outcome),
        }
    }
    query("COMMIT").execute(connection).await?;
    Ok(outcomes)
}

/// Carries out a statement and reads it to the end: a commit behind `RETURNING` comes after its rows.
pub(super) async fn written<'e>(statement: Statement, on: impl Executor<'e, Database = Any>) -> Outcome {
    let Statement { query, returning } = statement;
    Ok(match returning {
        true => Written::Returned(query.fetch_all(on).await?),
        false => Written::Changed(query.execute(on).await?.rows_affected()),
    })
}
