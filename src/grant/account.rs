//! What an account may see and do with an access token of Keyward's own audience.

use std::sync::Arc;

use keyward_verifier::{AccessClaims, External, Verified};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::login::{hashing, release, seal_password, typed};
use super::{Grants, Origin, Refused, until};
use crate::account;
use crate::audit::Kind;
use crate::clock::Stopwatch;
use crate::limit::{self, Subject};
use crate::password::Password;
use crate::store::{
    Account, Accounts as _, Attempt, AuditEvent, EndReason, PasswordChange, Session, Sessions as _,
    Store as _,
};

/// The living session and account behind a verified access token.
pub struct Caller {
    /// The session.
    pub session: Session,
    /// The account.
    pub account: Account,
}

/// What an account sees of itself.
pub struct Me {
    /// The account.
    pub account: Account,
    /// The session that asks.
    pub session: Uuid,
}

/// A session in the account's list.
pub struct ListedSession {
    /// The session.
    pub session: Session,
    /// The name of its client.
    pub client: String,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// A change of one's own password.
pub struct PasswordRequest {
    /// The password now.
    pub current: Zeroizing<String>,
    /// The password to be.
    pub new: Zeroizing<String>,
}

impl Grants {
    /// The caller behind a verified token: its session and account must be alive now, not only when it was signed.
    ///
    /// # Errors
    /// [`Refused::SessionEnded`].
    pub async fn caller(&self, token: &Verified<External, AccessClaims>) -> Result<Caller, Refused> {
        let over = || Refused::SessionEnded(None);
        let claims = token.claims();
        let session = Uuid::parse_str(&claims.sid).map_err(|_| over())?;
        let (session, account) =
            self.store.live_session(session, self.clock.now()).await?.ok_or_else(over)?;
        if account.id.to_string() != claims.sub {
            return Err(over());
        }
        Ok(Caller { session, account })
    }

    /// Up to 100 living sessions, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn sessions(&self, caller: &Caller) -> Result<Vec<ListedSession>, Refused> {
        let found = self.store.sessions_of(caller.account.id, self.clock.now(), 100).await?;
        Ok(found
            .into_iter()
            .map(|session| ListedSession {
                client: self.clients.name_of(session.client).unwrap_or_default(),
                current: session.id == caller.session.id,
                session,
            })
            .collect())
    }

    /// Ends one of the caller's sessions.
    ///
    /// # Errors
    /// [`Refused::NoSuchSession`] when it is not the caller's or not alive.
    pub async fn end_session(&self, caller: &Caller, id: Uuid, origin: &Origin) -> Result<(), Refused> {
        let account = caller.account.id;
        let event =
            self.event(Kind::SessionEnded, (Some(account), Some(id)), origin, "ended by its owner")?;
        let store = self.store.noting(event);
        let ended = store.end_session(id, Some(account), EndReason::Logout, self.clock.now()).await?;
        if ended { Ok(()) } else { Err(Refused::NoSuchSession) }
    }

    /// Ends the session of a verified access token, or all of its account's; fine if they are over already.
    ///
    /// # Errors
    /// The store's.
    pub async fn logout(
        &self,
        token: &Verified<External, AccessClaims>,
        all: bool,
        origin: &Origin,
    ) -> Result<(), Refused> {
        match self.caller(token).await {
            Ok(caller) if all => self.end_all(&caller.session, origin).await,
            Ok(caller) => self.end_one(caller.session.id, caller.account.id, origin).await,
            Err(Refused::SessionEnded(_)) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Changes the caller's password; the caller's session goes on, all others end.
    ///
    /// # Errors
    /// [`Refused`]; the password is unchanged.
    pub async fn change_password(
        &self,
        caller: &Caller,
        request: &PasswordRequest,
        origin: &Origin,
    ) -> Result<(), Refused> {
        let watch = Stopwatch::start();
        let new = Password::new(&request.new)?;
        let account = &caller.account;
        let identifiers = [Some(account.name.as_str()), account.email.as_deref()];
        self.policy().check(&new, &identifiers.into_iter().flatten().collect::<Vec<_>>())?;
        self.hasher.refuse_if_full().map_err(hashing)?;
        let source = self.pace_source(origin).await?;
        let folded = account::fold(&account.name).unwrap_or_default();
        let subject = Subject::Account(self.labels.identifier(&folded));

        let checked = self.current_password_of(account.id, &request.current, &subject).await;
        let sealed_before = match checked {
            Ok(sealed) => sealed,
            Err(refused) => {
                if matches!(refused, Refused::WrongPassword | Refused::TooManyAttempts { .. }) {
                    release(watch, self.config.login.quantum).await;
                }
                self.take_back_unjudged(&refused, &source).await;
                return Err(refused);
            }
        };
        limit::succeed(&self.store, &subject).await?;
        limit::forgive(&self.store, &source).await?;
        let phc = self.hasher.hash(Arc::new(new)).await.map_err(hashing)?;
        let sealed = seal_password(&self.keyring, account.id, &phc)?;
        let whom = (Some(account.id), Some(caller.session.id));
        let event = self.event(Kind::PasswordChanged, whom, origin, "")?;
        self.set_password(caller, sealed_before.as_deref(), &sealed, event).await?;
        crate::failpoint!("password.before_answer");
        Ok(())
    }

    /// The sealed hash of the account, once `current` proved to be its password; paced as a login is.
    async fn current_password_of(
        &self,
        account: Uuid,
        current: &str,
        subject: &Subject,
    ) -> Result<Option<String>, Refused> {
        let credential = self.store.credential(account).await?.ok_or(Refused::Conflict)?;
        let phc = self.open_password(&credential)?;
        let (current, possible) = typed(current);
        let verdict = self.hasher.verify(current, phc).await.map_err(hashing)?;
        let now = self.clock.now();
        let attempt = limit::attempt(&self.store, subject, &self.config.limits.account, now).await?;
        if let Attempt::NotBefore(at) = attempt {
            return Err(Refused::TooManyAttempts { retry_after: until(at, now) });
        }
        if verdict.matches && possible { Ok(credential.password) } else { Err(Refused::WrongPassword) }
    }

    async fn set_password(
        &self,
        caller: &Caller,
        expected: Option<&str>,
        sealed: &str,
        event: AuditEvent,
    ) -> Result<(), Refused> {
        crate::failpoint!("password.before_change");
        let change = PasswordChange {
            account: caller.account.id,
            expected,
            sealed,
            keep: Some(caller.session.id),
            now: self.clock.now(),
        };
        let ended = self.store.noting(event).change_password(&change).await?;
        crate::failpoint!("password.after_change");
        ended.map(|_| ()).ok_or(Refused::Conflict)
    }
}
