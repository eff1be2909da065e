//! Pacing of password attempts: a delay that grows with failures, per source address and per account identifier.

use crate::clock::{Timestamp, millis};
use crate::config::PaceSettings;
use crate::store::{Attempt, Limits, Pace, StoreResult};

/// Who is being paced; the label is a keyed hash.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A source address.
    Source(String),
    /// An account identifier, whether or not an account has it.
    Account(String),
}

impl Subject {
    /// Its key in the store.
    pub fn key(&self) -> String {
        match self {
            Subject::Source(label) => format!("s:{label}"),
            Subject::Account(label) => format!("a:{label}"),
        }
    }
}

/// The settings in the store's terms.
pub fn pace(settings: &PaceSettings) -> Pace {
    Pace {
        free: settings.free,
        first_delay_ms: millis(settings.first_delay),
        max_delay_ms: millis(settings.max_delay),
        forget_ms: millis(settings.forget),
    }
}

/// Counts an attempt; it stands as a failure until [`forgive`] or [`succeed`].
///
/// # Errors
/// The store's.
pub async fn attempt(
    store: &impl Limits,
    subject: &Subject,
    settings: &PaceSettings,
    now: Timestamp,
) -> StoreResult<Attempt> {
    store.attempt(&subject.key(), pace(settings), now).await
}

/// Takes back the one failure that an honest attempt was counted as. Others from the same source stand, so that one
/// known password does not buy fresh guesses at the rest.
///
/// # Errors
/// The store's.
pub async fn forgive(store: &impl Limits, subject: &Subject) -> StoreResult<()> {
    store.forgive(&subject.key()).await
}

/// Forgets all failures of a subject that has proved itself.
///
/// # Errors
/// The store's.
pub async fn succeed(store: &impl Limits, subject: &Subject) -> StoreResult<()> {
    store.succeed(&subject.key()).await
}
