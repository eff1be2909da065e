//! What Keyward must remember, as atomic steps of the domain.
//!
//! Each method is one step that happens whole or not at all and is durable when it returns `Ok`; a caller never
//! combines two of them to get a guarantee. [`sql`] is the back end for SQLite and PostgreSQL.
#![expect(async_fn_in_trait, reason = "never a trait object: callers are generic, the service is concrete")]

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::clock::Timestamp;

pub mod sql;

/// Why a step could not be taken; what it would have changed is unchanged unless `Unavailable` struck at commit.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database did not answer or refused; the same step may succeed later.
    #[error("the database did not take the step `{step}`: {cause}")]
    Unavailable {
        /// Which method.
        step: &'static str,
        /// What the driver said.
        cause: String,
    },
    /// A row holds something this version cannot read.
    #[error("the database holds an unreadable {what}")]
    Corrupt {
        /// Which column or record.
        what: &'static str,
    },
}

/// The result of a step.
pub type StoreResult<T> = Result<T, StoreError>;

// ── accounts ────────────────────────────────────────────────────────────────────────────────────────────────────

/// An account as it stands in the store, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// UUIDv7, never reused: the `sub` of tokens.
    pub id: Uuid,
    /// The name it logs in with, as it was typed.
    pub name: String,
    /// The e-mail address it may log in with as well.
    pub email: Option<String>,
    /// Role names; configuration maps them to scopes.
    pub roles: Vec<String>,
    /// A disabled account can neither log in nor refresh.
    pub enabled: bool,
    /// Raised by password change, disable, delete and logout-everywhere; sessions of an older epoch are dead.
    pub session_epoch: i64,
    /// When it was added.
    pub created_at: Timestamp,
    /// When its password was last set, if it has one.
    pub password_changed_at: Option<Timestamp>,
}

/// An account together with its sealed password hash.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The account.
    pub account: Account,
    /// The sealed PHC string; `None` for an account without a password.
    pub password: Option<String>,
}

/// An account to be added.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The account; `session_epoch` is 0 and `enabled` true.
    pub account: Account,
    /// Name and e-mail address folded for look-up (see `account::fold`).
    pub identifiers: Vec<String>,
    /// The sealed PHC string.
    pub password: Option<String>,
}

/// A password to be set: one atomic change.
#[derive(Clone, Debug)]
pub struct PasswordChange<'a> {
    /// Whose.
    pub account: Uuid,
    /// The sealed string that was read before hashing; `None` sets it whatever it was (an operator's reset).
    pub expected: Option<&'a str>,
    /// The new sealed PHC string.
    pub sealed: &'a str,
    /// The session that goes on, carried over to the new epoch.
    pub keep: Option<Uuid>,
    /// Now.
    pub now: Timestamp,
}

/// Steps on accounts.
pub trait Accounts {
    /// Adds an account; `false` when one of the identifiers is taken, and then nothing is added. A role that is empty
    /// or holds white space is refused, here and in [`Accounts::set_roles`]; so are such audiences and scopes of clients.
    async fn add_account(&self, new: &NewAccount) -> StoreResult<bool>;
    /// The account with this id.
    async fn account(&self, id: Uuid) -> StoreResult<Option<Account>>;
    /// The account and password hash behind a folded identifier.
    async fn credential_by_identifier(&self, folded: &str) -> StoreResult<Option<Credential>>;
    /// The account and password hash by id.
    async fn credential(&self, id: Uuid) -> StoreResult<Option<Credential>>;
    /// Up to `limit` accounts with an id above `after`, by id.
    async fn accounts(&self, after: Option<Uuid>, limit: u32) -> StoreResult<Vec<Account>>;
    /// Enables or disables; disabling raises the epoch and ends every session. `false` if there is no such account.
    async fn set_enabled(&self, id: Uuid, enabled: bool, now: Timestamp) -> StoreResult<bool>;
    /// Replaces the roles. `false` if there is no such account.
    async fn set_roles(&self, id: Uuid, roles: &[String], now: Timestamp) -> StoreResult<bool>;
    /// Sets a password, raises the epoch, ends every session but `keep`; `None` when the account is gone or
    /// `expected` no longer holds, else the number of sessions ended.
    async fn change_password(&self, change: &PasswordChange<'_>) -> StoreResult<Option<u64>>;
    /// Replaces a hash of the same password by a better one, only if it is still `old`; no epoch, no session moves.
    async fn rehash_password(&self, id: Uuid, old: &str, new: &str) -> StoreResult<bool>;
    /// Deletes the account, its identifiers and its sessions. `false` if there is no such account.
    async fn delete_account(&self, id: Uuid) -> StoreResult<bool>;
}

// ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// An application on whose behalf people log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// UUID, never reused; bound into refresh tokens.
    pub id: Uuid,
    /// What requests send as `client_id`.
    pub name: String,
    /// Audiences its tokens may have beside Keyward's own; the first is the default. Empty: only Keyward's own.
    pub audiences: Vec<String>,
    /// Scopes its tokens may have; `*` alone: all that the roles grant.
    pub scopes: Vec<String>,
    /// Access-token lifetime in seconds, if it differs from the configured one.
    pub access_lifetime: Option<u32>,
    /// When it was added.
    pub created_at: Timestamp,
}

/// Steps on clients.
pub trait Clients {
    /// Adds a client; `false` when the name is taken.
    async fn add_client(&self, client: &Client) -> StoreResult<bool>;
    /// The client with this name.
    async fn client(&self, name: &str) -> StoreResult<Option<Client>>;
    /// All clients by name.
    async fn clients(&self) -> StoreResult<Vec<Client>>;
    /// Replaces audiences, scopes and lifetime of the client with `client.id`. `false` if there is none.
    async fn set_client(&self, client: &Client) -> StoreResult<bool>;
    /// Deletes a client and its sessions. `false` if there is none.
    async fn delete_client(&self, id: Uuid) -> StoreResult<bool>;
}

// ── sessions ────────────────────────────────────────────────────────────────────────────────────────────────────

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The user logged it out.
    Logout,
    /// The user logged out everywhere.
    LogoutAll,
    /// A spent refresh token was presented.
    Reuse,
    /// The password changed.
    PasswordChanged,
    /// The account was disabled.
    AccountDisabled,
    /// An operator ended it.
    Operator,
    /// The key behind its refresh token was compromised.
    KeyCompromised,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [EndReason; 7] = [
        EndReason::Logout,
        EndReason::LogoutAll,
        EndReason::Reuse,
        EndReason::PasswordChanged,
        EndReason::AccountDisabled,
        EndReason::Operator,
        EndReason::KeyCompromised,
    ];

    /// The name in the database and in the audit trail.
    pub fn name(self) -> &'static str {
        match self {
            EndReason::Logout => "logout",
            EndReason::LogoutAll => "logout_all",
            EndReason::Reuse => "reuse",
            EndReason::PasswordChanged => "password_changed",
            EndReason::AccountDisabled => "account_disabled",
            EndReason::Operator => "operator",
            EndReason::KeyCompromised => "key_compromised",
        }
    }
}

/// One login on one device. No row per token: `counter` names the current refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// UUIDv7: the `sid` of tokens.
    pub id: Uuid,
    /// Whose.
    pub account: Uuid,
    /// Through which client.
    pub client: Uuid,
    /// Default audience of its access tokens; `None`: Keyward's own.
    pub audience: Option<String>,
    /// Scope granted at login, space-separated; no refresh goes beyond it.
    pub scope: String,
    /// Counter of the current refresh token, from 1.
    pub counter: u32,
    /// When that counter was reached: the `iat` of its access tokens.
    pub rotated_at: Timestamp,
    /// Which refresh key made the current refresh token.
    pub key_id: u8,
    /// The account's epoch that it lives under.
    pub epoch: i64,
    /// When the password was checked.
    pub auth_time: Timestamp,
    /// Authentication methods, RFC 8176.
    pub amr: Vec<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// Last login, refresh or advance.
    pub last_used_at: Timestamp,
    /// It dies at this moment unless refreshed.
    pub idle_expires_at: Timestamp,
    /// It dies at this moment whatever happens.
    pub expires_at: Timestamp,
    /// When and why it ended, if it did.
    pub ended: Option<(Timestamp, EndReason)>,
    /// HMAC of the /24 or /48 it came from, hex.
    pub source: String,
    /// Readable device label, for the user's session list.
    pub device: String,
}

/// A login whose password has been compared, before anything of the outcome is told.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The account's subject of [`Limits`]: the login counts as a failure of it, unless its delay is running; a
    /// session makes all its failures forgotten.
    pub account: (&'a str, Pace),
    /// The source's subject of [`Limits`], counted before the comparison: a session takes one failure back.
    pub source: &'a str,
    /// The session to be started if the password was right.
    pub session: Option<&'a Session>,
    /// Now.
    pub now: Timestamp,
}

/// What a judged login came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concluded {
    /// The session is durable.
    Started,
    /// The account's delay is running, until this moment: whatever the password was, nothing changed.
    NotBefore(Timestamp),
    /// There was no session to start; the failure stands.
    Failed,
    /// The account was disabled, deleted or changed its epoch since it was read, or the client is gone; nothing was
    /// inserted and the failure stands.
    AccountMoved,
}

/// A refresh token whose MAC was found right, presented at a time.
#[derive(Clone, Debug)]
pub struct Presented<'a> {
    /// The session in the token.
    pub session: Uuid,
    /// The counter in the token.
    pub counter: u32,
    /// The client that presents it (already bound by the MAC).
    pub client: Uuid,
    /// The key to record when the counter moves.
    pub key_id: u8,
    /// The audience asked for, if any.
    pub audience: Option<&'a str>,
    /// Keyward's own audience, always allowed.
    pub own_audience: &'a str,
    /// Now.
    pub now: Timestamp,
    /// Grace in milliseconds.
    pub grace_ms: i64,
    /// Idle lifetime in milliseconds, counted anew from an advance.
    pub idle_ms: i64,
    /// How far another replica's clock may honestly be ahead, in milliseconds.
    pub skew_ms: i64,
    /// What to record of what must not happen without a record.
    pub incidents: Option<Incidents<'a>>,
}

/// The events of [`Advance::Reused`] and [`Advance::Healed`]; the account is filled in.
#[derive(Clone, Copy, Debug)]
pub struct Incidents<'a> {
    /// Recorded with the end of the session.
    pub reused: &'a AuditEvent,
    /// Recorded with the healing.
    pub healed: &'a AuditEvent,
}

/// A live session with what its tokens are made from, as of the step.
#[derive(Clone, Debug)]
pub struct Live {
    /// The session after the step.
    pub session: Session,
    /// The account's roles now.
    pub roles: Vec<String>,
    /// The client's scopes now.
    pub client_scopes: Vec<String>,
    /// The client's access-token lifetime now.
    pub access_lifetime: Option<u32>,
}

/// What became of a presented refresh token (the outcome table of the design; the status is decided elsewhere).
#[derive(Clone, Debug)]
pub enum Advance {
    /// The counter moved on by one.
    Advanced(Live),
    /// An honest retry inside the grace: nothing moved.
    Same(Live),
    /// The store had lost writes; the counter is now the presented one.
    Healed(Live),
    /// A spent token: the session has just been ended by this step.
    Reused(Session),
    /// It would be one of these two, but `incidents` were not given: nothing moved.
    Incident,
    /// It had ended before, for this reason.
    Ended(EndReason),
    /// Idle or absolute expiry has passed.
    Expired,
    /// The account is disabled or moved to a newer epoch.
    AccountMoved,
    /// No such session for this client; so too when account or client were deleted.
    Unknown,
    /// The audience asked for (or the session's own) is not among the client's; nothing moved. A spent token is
    /// [`Advance::Reused`] whatever it asks for.
    AudienceNotAllowed,
}

/// Steps on sessions.
pub trait Sessions {
    /// Counts a login against its account, or starts its session and takes the failures back: one step, so that of
    /// logins at once no wrong one gets a try more and no right one stands in another's way.
    async fn conclude_login(&self, judged: &Judged<'_>) -> StoreResult<Concluded>;
    /// Judges a presented refresh token and moves the session. Called without `incidents` first, because events that
    /// are seldom needed cost randomness; on [`Advance::Incident`] again with them.
    async fn advance(&self, presented: &Presented<'_>) -> StoreResult<Advance>;
    /// The session with this id, ended or not.
    async fn session(&self, id: Uuid) -> StoreResult<Option<Session>>;
    /// The session with its account, if both are alive at `now` and of one epoch.
    async fn live_session(&self, id: Uuid, now: Timestamp) -> StoreResult<Option<(Session, Account)>>;
    /// The account's living sessions, newest first, at most `limit`.
    async fn sessions_of(&self, account: Uuid, now: Timestamp, limit: u32) -> StoreResult<Vec<Session>>;
    /// Ends a session; `false` if it is not there or already ended. With `owner`, only if it belongs to that account.
    async fn end_session(
        &self,
        id: Uuid,
        owner: Option<Uuid>,
        reason: EndReason,
        now: Timestamp,
    ) -> StoreResult<bool>;
    /// Raises the account's epoch and ends all its sessions; how many.
    async fn end_sessions_of(&self, account: Uuid, reason: EndReason, now: Timestamp) -> StoreResult<u64>;
    /// Ends every session there is; how many.
    async fn end_all_sessions(&self, reason: EndReason, now: Timestamp) -> StoreResult<u64>;
    /// Forgets at most `limit` sessions that ended or expired before `before`; how many.
    async fn sweep_sessions(&self, before: Timestamp, limit: u32) -> StoreResult<u64>;
}

// ── signing keys ────────────────────────────────────────────────────────────────────────────────────────────────

/// Where a signing key stands in its life (NIST SP 800-57 part 1 §7, named as `docs` names them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// In the JWKS, not signing.
    Staged,
    /// Signs.
    Active,
    /// In the JWKS, no longer signs; its private part is destroyed.
    Retiring,
    /// Gone from the JWKS.
    Retired,
    /// Compromised: gone at once, a tombstone for ever.
    Revoked,
}

impl KeyState {
    /// Every state.
    pub const ALL: [KeyState; 5] =
        [KeyState::Staged, KeyState::Active, KeyState::Retiring, KeyState::Retired, KeyState::Revoked];

    /// The name in the database and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            KeyState::Staged => "staged",
            KeyState::Active => "active",
            KeyState::Retiring => "retiring",
            KeyState::Retired => "retired",
            KeyState::Revoked => "revoked",
        }
    }
}

/// A signing key as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// RFC 7638 SHA-256 thumbprint.
    pub kid: String,
    /// JOSE algorithm name, `RS256`.
    pub alg: String,
    /// Its state.
    pub state: KeyState,
    /// The public JWK as JSON.
    pub public_jwk: String,
    /// The sealed PKCS#8 private key; `None` once destroyed or never had.
    pub private: Option<String>,
    /// Longest access-token lifetime, in seconds, any client could get while it was active.
    pub max_lifetime: u32,
    /// When it was published (staged).
    pub staged_at: Timestamp,
    /// When it began to sign.
    pub activated_at: Option<Timestamp>,
    /// When it stopped signing.
    pub retiring_at: Option<Timestamp>,
    /// For a verify-only import: until when it stays published.
    pub publish_until: Option<Timestamp>,
    /// When it left the JWKS.
    pub retired_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// The ring: every key ever, and the number that each change raises by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    /// 0 when there never was a key.
    pub generation: i64,
    /// All keys, tombstones included.
    pub keys: Vec<SigningKey>,
}

/// One atomic change of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RingStep {
    /// First start: one key active from the outset and one staged.
    Begin {
        /// State `Active`.
        active: Box<SigningKey>,
        /// State `Staged`.
        staged: Box<SigningKey>,
    },
    /// Publishes a key: `Staged`, or `Retiring` for a verify-only import. Refused (conflict) if the kid ever existed.
    Publish(Box<SigningKey>),
    /// The staged key becomes active; the active one of the same algorithm, if any, becomes retiring, its private part
    /// is destroyed.
    Activate {
        /// A staged key that has its private part.
        kid: String,
        /// The `max_lifetime` it starts with, in seconds.
        max_lifetime: u32,
    },
    /// A retiring key leaves the JWKS.
    Retire {
        /// A retiring key.
        kid: String,
    },
    /// Compromise: the keys become tombstones, their private parts are destroyed; if `activate` is given that staged
    /// key becomes active in the same step, and `publish` keys are inserted with the state they carry.
    Revoke {
        /// Keys in any state but revoked.
        kids: Vec<String>,
        /// The staged key that takes over, with the `max_lifetime` it carries. Conflict while another is active.
        activate: Option<String>,
        /// Fresh keys.
        publish: Vec<SigningKey>,
    },
}

/// What became of a ring step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Done; the new generation.
    At(i64),
    /// Someone else changed the ring first, or a precondition of the step no longer holds. Nothing changed.
    Conflict,
}

/// Steps on the key ring.
pub trait SigningKeys {
    /// The ring with its generation, one consistent reading.
    async fn ring(&self) -> StoreResult<Ring>;
    /// The generation alone: what a replica confirms within its lease.
    async fn ring_generation(&self) -> StoreResult<i64>;
    /// Applies `step` if the ring is still at `expected`.
    async fn change_ring(&self, expected: i64, step: &RingStep, now: Timestamp) -> StoreResult<Applied>;
    /// Raises a key's `max_lifetime` to at least `seconds`, before a longer-lived token is signed with it. `false`
    /// if the key is no longer active. Does not move the generation.
    async fn raise_max_lifetime(&self, kid: &str, seconds: u32) -> StoreResult<bool>;
    /// Adds to the approximate count of tokens signed and raises the latest expiry (seconds), for display only.
    async fn note_signed(&self, kid: &str, tokens: u64, latest_exp: u64) -> StoreResult<()>;
    /// Per kid: (tokens signed, latest expiry in seconds), approximate.
    async fn signed_counts(&self) -> StoreResult<BTreeMap<String, (u64, u64)>>;
}

// ── sealed secrets and data keys ────────────────────────────────────────────────────────────────────────────────

/// A version of a root secret, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// Which secret, e.g. `refresh`.
    pub name: String,
    /// 1 to 255.
    pub version: u8,
    /// Sealed bytes.
    pub sealed: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A data key as the store holds it: sealed under a master key (column names of the envelope design).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDataKey {
    /// Unique over all namespaces, never reused.
    pub version: u32,
    /// Namespace, `default`.
    pub namespace: String,
    /// Suite number.
    pub suite: u8,
    /// Which master key seals it.
    pub master_key_id: String,
    /// Key check value, hex.
    pub kcv: String,
    /// nonce ‖ ciphertext ‖ tag.
    pub bytes: Vec<u8>,
    /// Seals new values.
    pub active: bool,
}

/// Steps on secrets and data keys.
pub trait Secrets {
    /// The living versions of a secret, newest first, at most two.
    async fn secrets(&self, name: &str) -> StoreResult<Vec<StoredSecret>>;
    /// Adds the version after the newest if that is still `expected` (0: none yet) and forgets all but `keep`
    /// versions. `false` on conflict.
    async fn add_secret(&self, secret: &StoredSecret, expected: u8, keep: u8) -> StoreResult<bool>;
    /// All data keys of a namespace by version.
    async fn data_keys(&self, namespace: &str) -> StoreResult<Vec<StoredDataKey>>;
    /// Inserts the first data key of a namespace, active. `false` if the namespace already has one.
    async fn add_first_data_key(&self, key: &StoredDataKey, now: Timestamp) -> StoreResult<bool>;
}

// ── limits and audit ────────────────────────────────────────────────────────────────────────────────────────────

/// The growing delay of one subject (a hashed account identifier or source address).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Failures that are free.
    pub free: u32,
    /// Delay after the first failure beyond; doubles with each further one.
    pub first_delay_ms: i64,
    /// The delay grows no further.
    pub max_delay_ms: i64,
    /// After this long without an attempt everything is forgotten.
    pub forget_ms: i64,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Go on; it is already counted as a failure until [`Limits::succeed`] or [`Limits::forgive`].
    Allowed,
    /// Not before this moment. Nothing was counted.
    NotBefore(Timestamp),
}

/// An entry of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// UUIDv7.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Stable name, e.g. `login_succeeded`, `refresh_reused`.
    pub kind: String,
    /// Whose account, if one is known.
    pub account: Option<Uuid>,
    /// Which session, if one is known.
    pub session: Option<Uuid>,
    /// HMAC label of the source network, or `cli`.
    pub source: String,
    /// Further words, never a secret.
    pub detail: String,
}

/// Steps on limits and the audit trail.
pub trait Limits {
    /// Counts an attempt of `subject` under `pace`, unless its delay is still running.
    async fn attempt(&self, subject: &str, pace: Pace, now: Timestamp) -> StoreResult<Attempt>;
    /// The attempt was honest: forget the failures of `subject`.
    async fn succeed(&self, subject: &str) -> StoreResult<()>;
    /// Takes back one counted failure of `subject` and its running delay; the others stand.
    async fn forgive(&self, subject: &str) -> StoreResult<()>;
    /// Forgets at most `limit` subjects whose last attempt was before `before`; how many.
    async fn sweep_limits(&self, before: Timestamp, limit: u32) -> StoreResult<u64>;
    /// Appends to the audit trail.
    async fn record(&self, event: &AuditEvent) -> StoreResult<()>;
    /// The newest `limit` events, newest first.
    async fn audit(&self, limit: u32) -> StoreResult<Vec<AuditEvent>>;
    /// Forgets at most `limit` events older than `before`; how many.
    async fn sweep_audit(&self, before: Timestamp, limit: u32) -> StoreResult<u64>;
}

/// Everything a back end offers.
pub trait Store: Accounts + Clients + Sessions + SigningKeys + Secrets + Limits + Sized {
    /// The same store, for one step that changes something: `event` is recorded with the change or not at all. It is
    /// not recorded when nothing changed.
    fn noting(&self, event: AuditEvent) -> Self;
}
