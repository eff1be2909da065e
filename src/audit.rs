//! The audit trail: what happened to accounts, sessions and keys, and from where; never a secret.
//!
//! Failed logins are not in it but in the log and the metrics: anyone can cause them, and the trail must not grow at
//! a stranger's will.

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::random::{NoRandomness, Random};
use crate::store::AuditEvent;

/// The stable names of audit events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A login succeeded.
    LoginSucceeded,
    /// A spent refresh token ended its session.
    RefreshReused,
    /// The store was behind a refresh token it had given out: it lost writes.
    RefreshHealed,
    /// A session was ended.
    SessionEnded,
    /// Every session of an account was ended.
    SessionsEnded,
    /// A password was changed.
    PasswordChanged,
    /// A password hash was replaced by a better one.
    PasswordRehashed,
    /// An operator changed an account.
    AccountChanged,
    /// An operator changed a client.
    ClientChanged,
    /// An operator changed the key ring.
    KeysChanged,
}

impl Kind {
    /// The name in the trail.
    pub fn name(self) -> &'static str {
        match self {
            Kind::LoginSucceeded => "login_succeeded",
            Kind::RefreshReused => "refresh_reused",
            Kind::RefreshHealed => "refresh_healed",
            Kind::SessionEnded => "session_ended",
            Kind::SessionsEnded => "sessions_ended",
            Kind::PasswordChanged => "password_changed",
            Kind::PasswordRehashed => "password_rehashed",
            Kind::AccountChanged => "account_changed",
            Kind::ClientChanged => "client_changed",
            Kind::KeysChanged => "keys_changed",
        }
    }
}

/// Builds an event at `now`.
///
/// # Errors
/// When there is no randomness for its id.
pub fn event(
    random: &Random,
    now: Timestamp,
    kind: Kind,
    (account, session): (Option<Uuid>, Option<Uuid>),
    source: &str,
) -> Result<AuditEvent, NoRandomness> {
    Ok(AuditEvent {
        id: random.uuid(now)?,
        at: now,
        kind: kind.name().into(),
        account,
        session,
        source: source.into(),
        detail: String::new(),
    })
}
