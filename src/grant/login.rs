//! Login: equal work for every kind of failure, then a session.

use std::sync::Arc;
use std::time::Duration;

use keyward_envelope::{Context, Sealed};
use zeroize::Zeroizing;

use super::{Asked, Grants, Issued, Origin, Refused, until};
use crate::account;
use crate::audit::Kind;
use crate::client;
use crate::clock::Stopwatch;
use crate::limit::{self, Subject};
use crate::password::{HashError, Password};
use crate::session::RefreshKeys;
use crate::store::{
    Accounts as _, Attempt, Client, Credential, Live, Session, Sessions as _, Start, StoreError,
};

/// What a login asks for.
pub struct LoginRequest {
    /// Name or e-mail address, as typed.
    pub identifier: String,
    /// The password, as typed.
    pub password: Zeroizing<String>,
    /// `client_id`.
    pub client: Option<String>,
    /// The audience of the access token.
    pub audience: Option<String>,
    /// Space-separated scopes.
    pub scope: Option<String>,
}

impl Grants {
    /// Checks a password and starts a session.
    ///
    /// Every failure that depends on the account does the same hashing and the same store calls, and is released at
    /// the next multiple of `login.quantum`.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn login(&self, request: &LoginRequest, origin: &Origin) -> Result<Issued, Refused> {
        let watch = Stopwatch::start();
        let scope = Self::scope(request.scope.as_deref())?;
        let client = self.client(request.client.as_deref()).await?;
        let audience = client::audience_for(&client, request.audience.as_deref(), self.own_audience())
            .map_err(|client::NotAllowed| Refused::AudienceNotAllowed)?;
        let source = self.pace_source(origin).await?;

        let checked = self.check_password(request, origin).await;
        let credential = match checked {
            Ok(credential) => credential,
            Err(refused) => {
                if matches!(refused, Refused::InvalidCredentials | Refused::TooManyAttempts { .. }) {
                    release(watch, self.config.login.quantum).await;
                }
                return Err(refused);
            }
        };
        crate::failpoint!("login.before_session");
        let started = self.start(&client, &credential, audience, scope.as_ref(), origin).await?;
        let Some((live, keys)) = started else {
            self.record(Kind::LoginFailed, (None, None), origin, "").await?;
            release(watch, self.config.login.quantum).await;
            return Err(Refused::InvalidCredentials);
        };
        crate::failpoint!("login.after_session");
        limit::forgive(&self.store, &source).await?;
        let whom = (Some(live.session.account), Some(live.session.id));
        self.record(Kind::LoginSucceeded, whom, origin, &live.session.device).await?;
        let asked = Asked { audience: request.audience.as_deref(), scope: scope.as_ref() };
        let issued = self.issue(&live, &client, asked, &keys).await;
        crate::failpoint!("login.before_answer");
        issued
    }

    /// A source that must wait is told so before anything is hashed: that says nothing about any account.
    pub(super) async fn pace_source(&self, origin: &Origin) -> Result<Subject, Refused> {
        let now = self.clock.now();
        let source = Subject::Source(self.labels.address(origin.address));
        match limit::attempt(&self.store, &source, &self.config.limits.source, now).await? {
            Attempt::Allowed => Ok(source),
            Attempt::NotBefore(at) => Err(Refused::TooManyAttempts { retry_after: until(at, now) }),
        }
    }

    /// The account if the password is right. Pacing, look-up and hashing happen in every case, in this order; what
    /// they found is looked at only afterwards.
    async fn check_password(&self, request: &LoginRequest, origin: &Origin) -> Result<Credential, Refused> {
        let now = self.clock.now();
        // An identifier that cannot exist is looked up all the same, as the empty one, which nobody has.
        let folded = account::fold(&request.identifier).unwrap_or_default();
        let subject = Subject::Account(self.labels.identifier(&folded));
        let attempt = limit::attempt(&self.store, &subject, &self.config.limits.account, now).await?;
        let found = self.store.credential_by_identifier(&folded).await?;
        let phc = found.as_ref().and_then(|credential| self.open_password(credential).transpose());
        let phc = phc.transpose()?;
        // A password that is refused by its form (too long) is hashed as a stand-in and never matches.
        let (password, possible) = match Password::new(&request.password) {
            Ok(password) => (Arc::new(password), true),
            Err(_) => (Arc::new(Password::stand_in()), false),
        };
        let verdict = self.hasher.verify(password.clone(), phc).await.map_err(hashing)?;

        if let Attempt::NotBefore(at) = attempt {
            self.record(Kind::LoginFailed, (None, None), origin, "").await?;
            return Err(Refused::TooManyAttempts { retry_after: until(at, now) });
        }
        match found {
            Some(credential) if verdict.matches && possible && credential.account.enabled => {
                limit::clear(&self.store, &subject).await?;
                if verdict.rehash {
                    return self.rehash(credential, password, origin).await;
                }
                Ok(credential)
            }
            _ => {
                self.record(Kind::LoginFailed, (None, None), origin, "").await?;
                Err(Refused::InvalidCredentials)
            }
        }
    }

    /// The PHC string behind a credential, if it has one.
    pub(super) fn open_password(
        &self,
        credential: &Credential,
    ) -> Result<Option<Zeroizing<String>>, Refused> {
        let Some(sealed) = &credential.password else { return Ok(None) };
        let unreadable = || Refused::Store(StoreError::Corrupt { what: "accounts.password" });
        let sealed = Sealed::parse(sealed).map_err(|_| unreadable())?;
        let context = password_context(credential.account.id);
        let opened = self.keyring.unseal(&context, &sealed).map_err(|_| unreadable())?;
        let text = std::str::from_utf8(opened.expose()).map_err(|_| unreadable())?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    /// A hash made with other parameters than today's is replaced while the password is at hand; a full pool puts it
    /// off until the next login.
    async fn rehash(
        &self,
        mut credential: Credential,
        password: Arc<Password>,
        origin: &Origin,
    ) -> Result<Credential, Refused> {
        let Ok(phc) = self.hasher.hash(password).await else { return Ok(credential) };
        let id = credential.account.id;
        let sealed = seal_password(&self.keyring, id, &phc)?;
        let old = credential.password.take().unwrap_or_default();
        crate::failpoint!("login.before_rehash");
        if self.store.rehash_password(id, &old, &sealed).await? {
            crate::failpoint!("login.after_rehash");
            self.record(Kind::PasswordRehashed, (Some(id), None), origin, "").await?;
        }
        credential.password = Some(sealed);
        Ok(credential)
    }

    /// A durable session, unless the account moved since it was read.
    async fn start(
        &self,
        client: &Client,
        credential: &Credential,
        audience: Option<String>,
        asked: Option<&keyward_verifier::Scopes>,
        origin: &Origin,
    ) -> Result<Option<(Live, Arc<RefreshKeys>)>, Refused> {
        let now = self.clock.now();
        let account = &credential.account;
        let keys = self.refresh_keys.now();
        let granted = client::granted(&account.roles, &self.config.roles, &client.scopes);
        let scope = asked.map_or_else(|| granted.clone(), |asked| granted.intersection(asked));
        let absolute = now.plus(self.config.session.absolute);
        let session = Session {
            id: self.random.uuid(now)?,
            account: account.id,
            client: client.id,
            audience,
            scope: scope.to_string(),
            counter: 1,
            rotated_at: now,
            key_id: keys.current_id(),
            epoch: account.session_epoch,
            auth_time: now,
            amr: vec!["pwd".into()],
            created_at: now,
            last_used_at: now,
            idle_expires_at: now.plus(self.config.session.idle).min(absolute),
            expires_at: absolute,
            ended: None,
            source: self.labels.network(origin.address),
            device: origin.device.clone(),
        };
        match self.store.start_session(&session).await? {
            Start::AccountMoved => Ok(None),
            Start::Started => Ok(Some((
                Live {
                    session,
                    roles: account.roles.clone(),
                    client_scopes: client.scopes.clone(),
                    access_lifetime: client.access_lifetime,
                },
                keys,
            ))),
        }
    }
}

/// Where an account's password hash is sealed.
fn password_context(account: uuid::Uuid) -> Context {
    Context::column("accounts", "password").row(account.to_string())
}

/// Seals a PHC string for its account.
///
/// # Errors
/// When sealing fails.
pub fn seal_password(
    keyring: &keyward_envelope::Keyring,
    account: uuid::Uuid,
    phc: &str,
) -> Result<String, Refused> {
    keyring
        .seal(&password_context(account), phc.as_bytes())
        .map(keyward_envelope::Sealed::into_string)
        .map_err(|cause| Refused::Fault(cause.to_string()))
}

/// What a hashing failure means for the caller.
pub(super) fn hashing(cause: HashError) -> Refused {
    match cause {
        HashError::Overloaded { retry_after } => Refused::Overloaded { retry_after },
        other => Refused::Fault(other.to_string()),
    }
}

/// Waits for the next multiple of `quantum` since the request came in.
pub(super) async fn release(watch: Stopwatch, quantum: Duration) {
    let (spent, quantum) = (watch.elapsed().as_nanos(), quantum.as_nanos());
    if quantum > 0 {
        let rest = quantum - spent % quantum;
        tokio::time::sleep(Duration::from_nanos(u64::try_from(rest).unwrap_or(0))).await;
    }
}
