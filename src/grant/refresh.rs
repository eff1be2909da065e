//! Refresh and logout by refresh token.

use zeroize::Zeroizing;

use super::{Asked, Grants, Issued, Origin, Refused, ended};
use crate::audit::Kind;
use crate::clock::millis;
use crate::session::RefreshToken;
use crate::store::{Advance, EndReason, Incidents, Presented, Session, Sessions as _, Store as _};

/// What a refresh asks for.
pub struct RefreshRequest {
    /// The refresh token, as presented.
    pub refresh_token: Zeroizing<String>,
    /// `client_id`.
    pub client: Option<String>,
    /// The audience of the access token; default the session's.
    pub audience: Option<String>,
    /// Space-separated scopes; default all that the session has.
    pub scope: Option<String>,
}

impl Grants {
    /// Judges a refresh token by the outcome table and answers with the session's current tokens.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn refresh(&self, request: &RefreshRequest, origin: &Origin) -> Result<Issued, Refused> {
        let scope = Self::scope(request.scope.as_deref())?;
        let client = self.client(request.client.as_deref()).await?;
        let token = RefreshToken::parse(&request.refresh_token).map_err(|_| Refused::RefreshTokenInvalid)?;
        let keys = self.refresh_keys.knowing(token.key_id, &self.store, &self.keyring, &self.clock).await?;
        keys.check(&token, client.id).map_err(|_| Refused::RefreshTokenInvalid)?;
        // Nobody can be answered without a signing key; the counter must not move for nothing.
        self.ring.signing().map_err(|cause| Refused::KeysUnavailable(cause.to_string()))?;

        let presented = Presented {
            session: token.session,
            counter: token.counter,
            client: client.id,
            key_id: keys.current_id(),
            audience: request.audience.as_deref(),
            own_audience: self.own_audience(),
            now: self.clock.now(),
            grace_ms: millis(self.config.refresh.grace),
            idle_ms: millis(self.config.session.idle),
            skew_ms: millis(self.config.rotation.clock_skew),
            incidents: None,
        };
        crate::failpoint!("refresh.before_advance");
        let mut outcome = self.store.advance(&presented).await?;
        if let Advance::Incident = outcome {
            let [reused, healed] = [Kind::RefreshReused, Kind::RefreshHealed]
                .map(|kind| self.event(kind, (None, Some(token.session)), origin, ""));
            let incidents = Some(Incidents { reused: &reused?, healed: &healed? });
            outcome = self.store.advance(&Presented { incidents, ..presented }).await?;
        }
        crate::failpoint!("refresh.after_advance");
        let live = match outcome {
            Advance::Advanced(live) | Advance::Same(live) => live,
            Advance::Healed(live) => {
                tracing::error!(
                    session = %live.session.id,
                    "the store was behind a refresh token it had given out: it lost writes (failover or restored backup?); the session was healed"
                );
                live
            }
            Advance::Reused(session) => {
                tracing::warn!(session = %session.id, "a spent refresh token was presented; the session is ended");
                crate::failpoint!("refresh.after_reuse");
                return Err(Refused::RefreshTokenReused);
            }
            Advance::Incident => return Err(Refused::Fault("an incident was not recorded".into())),
            Advance::Ended(EndReason::Reuse) => return Err(Refused::RefreshTokenReused),
            Advance::Ended(reason) => return Err(Refused::SessionEnded(Some(reason))),
            Advance::AccountMoved => return Err(Refused::SessionEnded(None)),
            Advance::Expired => return Err(Refused::SessionExpired),
            Advance::Unknown => return Err(Refused::RefreshTokenInvalid),
            Advance::AudienceNotAllowed => return Err(Refused::AudienceNotAllowed),
        };
        let asked = Asked { audience: request.audience.as_deref(), scope: scope.as_ref() };
        let issued = self.issue(&live, &client, asked, &keys).await;
        crate::failpoint!("refresh.before_answer");
        issued
    }

    /// Ends the session behind a refresh token, or all of its account's. Ending what has ended already is fine.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn logout_by_refresh_token(
        &self,
        text: &str,
        client: Option<&str>,
        all: bool,
        origin: &Origin,
    ) -> Result<(), Refused> {
        let client = self.client(client).await?;
        let token = RefreshToken::parse(text).map_err(|_| Refused::RefreshTokenInvalid)?;
        let keys = self.refresh_keys.knowing(token.key_id, &self.store, &self.keyring, &self.clock).await?;
        keys.check(&token, client.id).map_err(|_| Refused::RefreshTokenInvalid)?;
        let Some(session) = self.store.session(token.session).await? else { return Ok(()) };
        // What ended can end others no more: a thief's spent token must not sign the owner out everywhere.
        let grace_over = self.clock.now() >= session.rotated_at.plus(self.config.refresh.grace);
        let least = session.counter.saturating_sub(u32::from(!grace_over));
        if all && ended(&session).is_none() && token.counter >= least {
            return self.end_all(&session, origin).await;
        }
        self.end_one(session.id, session.account, origin).await
    }

    pub(super) async fn end_one(
        &self,
        session: uuid::Uuid,
        account: uuid::Uuid,
        origin: &Origin,
    ) -> Result<(), Refused> {
        let event = self.event(Kind::SessionEnded, (Some(account), Some(session)), origin, "logout")?;
        let store = self.store.noting(event);
        store.end_session(session, Some(account), EndReason::Logout, self.clock.now()).await?;
        Ok(())
    }

    pub(super) async fn end_all(&self, session: &Session, origin: &Origin) -> Result<(), Refused> {
        let whom = (Some(session.account), Some(session.id));
        let event = self.event(Kind::SessionsEnded, whom, origin, "logout everywhere")?;
        let store = self.store.noting(event);
        store.end_sessions_of(session.account, EndReason::LogoutAll, self.clock.now()).await?;
        Ok(())
    }
}
