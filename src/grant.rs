//! What may be had for a password or a refresh token: the one room where login, refresh and logout are decided.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use keyward_envelope::Keyring;
use keyward_verifier::{AccessClaims, Audience, Scopes};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::audit::{self, Kind};
use crate::client::{self, Directory};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::limit::{self, Subject};
use crate::password::{Hasher, PasswordRefused, Policy};
use crate::random::{NoRandomness, Random};
use crate::secrets::{LiveRefreshKeys, SecretsError};
use crate::session::{Labels, RefreshKeys};
use crate::signing::{KeyRing, token};
use crate::store::sql::SqlStore;
use crate::store::{AuditEvent, Client, EndReason, Live, Session, StoreError};

mod account;
mod login;
mod refresh;

pub use account::{Caller, ListedSession, Me, PasswordRequest};
pub use login::{LoginRequest, seal_password};
pub use refresh::RefreshRequest;

/// Verifiers take tokens of at most 8 KiB.
const MOST_TOKEN: usize = 8 * 1024;

/// Everything that decisions need, handed in once.
pub struct Grants {
    /// What is remembered.
    pub store: SqlStore,
    /// Opens and seals.
    pub keyring: Arc<Keyring>,
    /// The signing keys.
    pub ring: Arc<KeyRing>,
    /// The refresh keys.
    pub refresh_keys: LiveRefreshKeys,
    /// Keyed labels.
    pub labels: Labels,
    /// The clients.
    pub clients: Directory,
    /// The password hashing pool.
    pub hasher: Hasher,
    /// Every setting.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
}

/// Where a request came from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The address it came from.
    pub address: IpAddr,
    /// A readable device label.
    pub device: String,
}

/// What a login or a refresh is answered with.
pub struct Issued {
    /// The compact access token.
    pub access_token: Zeroizing<String>,
    /// Seconds from its `iat` to its `exp`.
    pub expires_in: u64,
    /// The refresh token.
    pub refresh_token: Zeroizing<String>,
    /// The scope of the access token.
    pub scope: Scopes,
    /// The session.
    pub session_id: Uuid,
}

/// Why something was not granted. The HTTP status is decided in `http/error.rs`.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Unknown account, wrong password, disabled account: one answer.
    #[error("identifier or password is wrong")]
    InvalidCredentials,
    /// The current password, given to change it, is wrong.
    #[error("the current password is wrong")]
    WrongPassword,
    /// Too many attempts.
    #[error("too many attempts")]
    TooManyAttempts {
        /// When the next one is considered.
        retry_after: Duration,
    },
    /// The hashing pool is full.
    #[error("too many logins at once")]
    Overloaded {
        /// When it may be less full.
        retry_after: Duration,
    },
    /// No such client.
    #[error("the client is unknown")]
    UnknownClient,
    /// The client may not have this audience.
    #[error("the client may not have this audience")]
    AudienceNotAllowed,
    /// The scope has characters that RFC 6749 §3.3 does not allow, or is too long.
    #[error("the scope is malformed")]
    InvalidScope,
    /// Not a refresh token of ours, for this client.
    #[error("the refresh token is not valid")]
    RefreshTokenInvalid,
    /// A spent refresh token; its session has been ended.
    #[error("a spent refresh token was presented; the session has been ended")]
    RefreshTokenReused,
    /// The session is over.
    #[error("the session has ended ({})", .0.map_or("account changed", EndReason::name))]
    SessionEnded(Option<EndReason>),
    /// The session has expired.
    #[error("the session has expired")]
    SessionExpired,
    /// No such session of this account.
    #[error("there is no such session")]
    NoSuchSession,
    /// The new password is not acceptable.
    #[error(transparent)]
    PasswordRefused(#[from] PasswordRefused),
    /// Something changed the account while the request was under way.
    #[error("the account changed meanwhile")]
    Conflict,
    /// The signing keys are not confirmed, or there is none.
    #[error("the signing keys are not available: {0}")]
    KeysUnavailable(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sealed value failed.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// A fault of ours.
    #[error("internal fault: {0}")]
    Fault(String),
}

impl Grants {
    /// Keyward's own audience.
    pub fn own_audience(&self) -> &str {
        &self.config.audience
    }

    /// The password policy in force.
    pub fn policy(&self) -> Policy {
        Policy { min_length: self.config.password.min_length }
    }

    async fn client(&self, name: Option<&str>) -> Result<Arc<Client>, Refused> {
        let name = name.unwrap_or(client::FIRST_PARTY);
        self.clients.find(name, &self.store, &self.clock).await?.ok_or(Refused::UnknownClient)
    }

    fn scope(asked: Option<&str>) -> Result<Option<Scopes>, Refused> {
        asked.map(Scopes::parse).transpose().map_err(|_| Refused::InvalidScope)
    }

    /// An event of the audit trail, to be recorded in the step that it tells of.
    fn event(
        &self,
        kind: Kind,
        whom: (Option<Uuid>, Option<Uuid>),
        origin: &Origin,
        detail: &str,
    ) -> Result<AuditEvent, NoRandomness> {
        let source = self.labels.network(origin.address);
        let mut event = audit::event(&self.random, self.clock.now(), kind, whom, &source)?;
        event.detail = detail.into();
        Ok(event)
    }

    /// Takes back what an allowed attempt counted if no password was judged after it: the caller learnt nothing.
    async fn take_back_unjudged(&self, refused: &Refused, subject: &Subject) {
        let judged = matches!(
            refused,
            Refused::InvalidCredentials | Refused::WrongPassword | Refused::TooManyAttempts { .. }
        );
        if !judged && let Err(cause) = limit::forgive(&self.store, subject).await {
            tracing::warn!(%cause, "an attempt that was not judged stays counted as a failure");
        }
    }

    /// The answer for a live session at its counter: the same bytes for the same session state, request and key.
    async fn issue(
        &self,
        live: &Live,
        client: &Client,
        asked: Asked<'_>,
        keys: &RefreshKeys,
    ) -> Result<Issued, Refused> {
        let session = &live.session;
        let scope = self.narrowed(live, asked.scope);
        let lifetime = self.lifetime(live.access_lifetime);
        let key = self
            .ring
            .prepare(lifetime, &self.store)
            .await
            .map_err(|cause| Refused::KeysUnavailable(cause.to_string()))?;

        let audience = asked.audience.or(session.audience.as_deref()).unwrap_or(self.own_audience());
        let iat = session.rotated_at.seconds();
        let exp = (iat + u64::from(lifetime)).min(session.expires_at.seconds());
        let mut claims = AccessClaims {
            iss: self.config.issuer.clone(),
            sub: session.account.to_string(),
            aud: Audience::one(audience),
            exp,
            iat,
            nbf: Some(iat),
            jti: String::new(),
            client_id: client.name.clone(),
            scope: scope.clone(),
            sid: session.id.to_string(),
            auth_time: session.auth_time.seconds(),
            amr: session.amr.clone(),
            roles: live.roles.clone(),
        };
        let missing = || Refused::Fault("there is no refresh key".into());
        let derived = keys
            .derive(session.key_id, session.id, session.counter, session.rotated_at, &digest(&claims)?)
            .ok_or_else(missing)?;
        let most = exp.saturating_sub(iat) * u64::from(self.config.access.jitter_percent) / 100;
        claims.exp = exp - derived.jitter(most);
        claims.jti = derived.jti;

        let access_token = token::sign(&key, &claims).map_err(|cause| Refused::Fault(cause.to_string()))?;
        if access_token.len() > MOST_TOKEN {
            let cause = format!(
                "a token of {} bytes would be refused by verifiers: the account has too many roles or scopes",
                access_token.len()
            );
            return Err(Refused::Fault(cause));
        }
        let refresh_token = keys
            .make(session.key_id, session.id, session.counter, session.client)
            .ok_or_else(missing)?
            .to_text();
        Ok(Issued {
            access_token: Zeroizing::new(access_token),
            expires_in: claims.exp.saturating_sub(iat),
            refresh_token,
            scope,
            session_id: session.id,
        })
    }

    /// requested ∩ granted at login ∩ client ∩ roles, all as of now.
    fn narrowed(&self, live: &Live, asked: Option<&Scopes>) -> Scopes {
        let now = client::granted(&live.roles, &self.config.roles, &live.client_scopes);
        let session = Scopes::parse(&live.session.scope).unwrap_or_default();
        let granted = now.intersection(&session);
        asked.map_or_else(|| granted.clone(), |asked| granted.intersection(asked))
    }

    /// Seconds; no client gets more than `access.max_lifetime`, nor a token that expires within the grace.
    fn lifetime(&self, clients: Option<u32>) -> u32 {
        let seconds = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        let access = &self.config.access;
        clients
            .unwrap_or(seconds(access.lifetime))
            .min(seconds(access.max_lifetime))
            .max(seconds(self.config.shortest_lifetime()))
    }
}

/// What a request asked for beyond its credentials.
#[derive(Clone, Copy, Default)]
struct Asked<'a> {
    audience: Option<&'a str>,
    scope: Option<&'a Scopes>,
}

fn digest(claims: &AccessClaims) -> Result<[u8; 32], Refused> {
    let bytes = serde_json::to_vec(claims).map_err(|cause| Refused::Fault(cause.to_string()))?;
    Ok(Sha256::digest(&bytes).into())
}

fn ended(session: &Session) -> Option<EndReason> {
    session.ended.map(|(_, reason)| reason)
}

fn until(moment: Timestamp, now: Timestamp) -> Duration {
    moment.since(now)
}
