//! Login: equal work for every kind of failure, then a session.

use std::sync::Arc;
use std::time::Duration;

use keyward_envelope::{Context, Sealed};
use keyward_verifier::Scopes;
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
    Accounts as _, Attempt, Client, Concluded, Credential, Judged, Live, Session, Sessions as _, Store as _,
    StoreError,
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
        // Nobody can be answered without a signing key; no session may begin that nobody hears of.
        self.ring.signing().map_err(|cause| Refused::KeysUnavailable(cause.to_string()))?;
        self.hasher.refuse_if_full().map_err(hashing)?;
        let source = self.pace_source(origin).await?;

        let account = account_subject(self, &request.identifier);
        let subjects = [&account, &source];
        let begun = async {
            let compared = self.compare(request).await?;
            let session = compared
                .right
                .as_ref()
                .map(|credential| self.session_for(&client, credential, audience, scope.as_ref(), origin));
            self.conclude(compared, session.transpose()?, &client, subjects, origin).await
        };
        let (live, keys) = match begun.await {
            Ok(begun) => begun,
            Err(refused) => {
                if matches!(refused, Refused::InvalidCredentials | Refused::TooManyAttempts { .. }) {
                    let (source, account) = (source.key(), account.key());
                    tracing::info!(source, account, "login_failed");
                    release(watch, self.config.login.quantum).await;
                }
                self.take_back_unjudged(&refused, &source).await;
                return Err(refused);
            }
        };
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

    /// Looks the account up and hashes: in every case, in this order. What was found is told to nobody before the
    /// account's pacing has been asked.
    async fn compare(&self, request: &LoginRequest) -> Result<Compared, Refused> {
        let found = self.store.credential_by_identifier(&folded(&request.identifier)).await?;
        // A hash that cannot be opened is a fault of ours to be seen in the log, not in the answer.
        let phc = found.as_ref().and_then(|credential| {
            self.open_password(credential).unwrap_or_else(|cause| {
                tracing::error!(%cause, account = %credential.account.id, "a password hash cannot be opened");
                None
            })
        });
        let (password, possible) = typed(&request.password);
        let verdict = self.hasher.verify(password.clone(), phc).await.map_err(hashing)?;
        let right = found.filter(|found| verdict.matches && possible && found.account.enabled);
        Ok(Compared { right, password, rehash: verdict.rehash })
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
        credential: &Credential,
        password: Arc<Password>,
        origin: &Origin,
    ) -> Result<(), Refused> {
        let Ok(phc) = self.hasher.hash(password).await else { return Ok(()) };
        let id = credential.account.id;
        let sealed = seal_password(&self.keyring, id, &phc)?;
        let old = credential.password.as_deref().unwrap_or_default();
        let event = self.event(Kind::PasswordRehashed, (Some(id), None), origin, "")?;
        crate::failpoint!("login.before_rehash");
        self.store.noting(event).rehash_password(id, old, &sealed).await?;
        crate::failpoint!("login.after_rehash");
        Ok(())
    }

    fn session_for(
        &self,
        client: &Client,
        credential: &Credential,
        audience: Option<String>,
        asked: Option<&Scopes>,
        origin: &Origin,
    ) -> Result<Session, Refused> {
        let now = self.clock.now();
        let account = &credential.account;
        let granted = client::granted(&account.roles, &self.config.roles, &client.scopes);
        let scope = asked.map_or_else(|| granted.clone(), |asked| granted.intersection(asked));
        let absolute = now.plus(self.config.session.absolute);
        Ok(Session {
            id: self.random.uuid(now)?,
            account: account.id,
            client: client.id,
            audience,
            scope: scope.to_string(),
            counter: 1,
            rotated_at: now,
            key_id: self.refresh_keys.now().current_id(),
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
        })
    }

    /// Counts a failure, or makes the session durable and takes the failures back: only here the outcome comes out.
    async fn conclude(
        &self,
        compared: Compared,
        session: Option<Session>,
        client: &Client,
        [account, source]: [&Subject; 2],
        origin: &Origin,
    ) -> Result<(Live, Arc<RefreshKeys>), Refused> {
        let now = self.clock.now();
        let (account, source) = (account.key(), source.key());
        let pace = limit::pace(&self.config.limits.account);
        let judged = Judged { account: (&account, pace), source: &source, session: session.as_ref(), now };
        let store = match &session {
            Some(session) => {
                let whom = (Some(session.account), Some(session.id));
                self.store.noting(self.event(Kind::LoginSucceeded, whom, origin, &session.device)?)
            }
            None => self.store.clone(),
        };
        crate::failpoint!("login.before_start");
        match store.conclude_login(&judged).await? {
            Concluded::NotBefore(at) => return Err(Refused::TooManyAttempts { retry_after: until(at, now) }),
            Concluded::Failed | Concluded::AccountMoved => return Err(Refused::InvalidCredentials),
            Concluded::Started => {}
        }
        crate::failpoint!("login.after_start");
        let (Some(credential), Some(session)) = (compared.right, session) else {
            return Err(Refused::Fault("a session was started for nobody".into()));
        };
        if compared.rehash
            && let Err(cause) = self.rehash(&credential, compared.password, origin).await
        {
            tracing::warn!(%cause, "an outdated password hash was not replaced; the next login tries again");
        }
        let live = Live {
            session,
            roles: credential.account.roles,
            client_scopes: client.scopes.clone(),
            access_lifetime: client.access_lifetime,
        };
        Ok((live, self.refresh_keys.now()))
    }
}

/// A typed password beside a stored one.
struct Compared {
    /// Whose password it is; nobody's if it is wrong or the account disabled.
    right: Option<Credential>,
    /// The password, for a new hash.
    password: Arc<Password>,
    /// Whether the stored hash should be replaced.
    rehash: bool,
}

/// An identifier that cannot exist is looked up all the same, as the empty one, which nobody has.
fn folded(identifier: &str) -> String {
    account::fold(identifier).unwrap_or_default()
}

fn account_subject(grants: &Grants, identifier: &str) -> Subject {
    Subject::Account(grants.labels.identifier(&folded(identifier)))
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

/// A typed password and whether it can be anybody's: one that is refused by its form (too long) is hashed as a
/// stand-in and never matches.
pub(super) fn typed(text: &str) -> (Arc<Password>, bool) {
    match Password::new(text) {
        Ok(password) => (Arc::new(password), true),
        Err(_) => (Arc::new(Password::stand_in()), false),
    }
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
