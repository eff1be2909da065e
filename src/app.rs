//! Puts the rooms together: what every command opens, and what `serve` runs on top.

use std::sync::Arc;
use std::time::Duration;

use keyward_envelope::Keyring;
use keyward_verifier::{AccessClaims, External, Verified, Verifier};
use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

use crate::client::{self, Directory};
use crate::clock::Clock;
use crate::config::{Config, Setting, Source};
use crate::grant::Grants;
use crate::metrics::Metrics;
use crate::password::{HashSettings, Hasher};
use crate::random::{NoRandomness, Random};
use crate::secrets::{self, LiveRefreshKeys, MasterKeySource, SecretsError};
use crate::session::Labels;
use crate::signing::{self, Bits, Job, KeyRing, Keysmith, Maker, Published};
use crate::store::sql::{self, SqlStore};
use crate::store::{Client, Clients as _, Limits as _, Sessions as _, SigningKeys as _, StoreError};

/// Why Keyward could not be put together; each is a sentence for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error(transparent)]
    Database(#[from] sql::OpenError),
    /// The sealed values.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// A step of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing keys.
    #[error(transparent)]
    Signing(#[from] signing::SigningError),
    /// The hashing pool.
    #[error(transparent)]
    Hashing(#[from] crate::password::StartRefused),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// A setting that only shows when it is used.
    #[error("{0}")]
    Setting(String),
}

/// The store and the keys of one deployment, opened: what every command works on.
pub struct Deployment {
    /// Every setting.
    pub config: Arc<Config>,
    /// What is remembered.
    pub store: SqlStore,
    /// Opens and seals.
    pub keyring: Arc<Keyring>,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
}

impl Deployment {
    /// Opens the database and what is sealed in it; makes both when they are not there yet.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(config: Config, clock: Clock, random: Random) -> Result<Deployment, OpenError> {
        let store = SqlStore::open(sql::Location::Sqlite(database(&config))).await?;
        crate::failpoint!("start.after_tables");
        if config.explain().iter().any(from_environment) {
            tracing::warn!(
                "the master key comes from the environment, which other processes of this user can read; a file named by master_key_file is safer"
            );
        }
        let inline = config.master_key.as_ref().map(|key| key.expose());
        let source = MasterKeySource { inline, file: &config.master_key_file, data_dir: &config.data_dir };
        let keyring = Arc::new(secrets::open_keyring(&store, &source, clock.now()).await?);
        let deployment = Deployment { config: Arc::new(config), store, keyring, clock, random };
        deployment.ensure_first_client().await?;
        Ok(deployment)
    }

    async fn ensure_first_client(&self) -> Result<(), OpenError> {
        // Once there are keys, a deployment without clients is what its operator wants.
        if !self.store.clients().await?.is_empty() || self.store.ring_generation().await? > 0 {
            return Ok(());
        }
        let now = self.clock.now();
        let web = Client {
            id: self.random.uuid(now)?,
            name: client::FIRST_PARTY.into(),
            audiences: Vec::new(),
            scopes: vec!["*".into()],
            access_lifetime: None,
            created_at: now,
        };
        // `false`: another process was first, which is as good.
        self.store.add_client(&web).await?;
        crate::failpoint!("start.after_client");
        Ok(())
    }
}

fn from_environment(setting: &Setting) -> bool {
    setting.key == "master_key" && matches!(setting.source, Source::Environment(_))
}

/// The contract, compiled in.
pub const CONTRACT: &str = include_str!("../openapi.yaml");

/// The database file.
pub fn database(config: &Config) -> std::path::PathBuf {
    config.data_dir.join("keyward.db")
}

/// Why an access token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRefused {
    /// The token is at fault; why is in the log and the metrics alone.
    Invalid,
    /// The keys are not confirmed with the store, so nothing can be said of it.
    Unavailable,
}

/// The running service.
pub struct App {
    /// Every setting.
    pub config: Arc<Config>,
    /// What may be had, and everything that decides it.
    pub grants: Grants,
    /// What is counted.
    pub metrics: Metrics,
    /// The metadata document.
    pub metadata: Published,
    /// The contract, `openapi.yaml`.
    pub contract: Published,
    /// Looks after the signing keys.
    pub signing: Job<SqlStore>,
    verifier: Verifier,
}

impl App {
    /// Starts the service on an opened deployment: hashing pool, signing keys, directories. No listener yet.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn start(deployment: Deployment) -> Result<App, OpenError> {
        let Deployment { config, store, keyring, clock, random } = deployment;
        let hasher = Hasher::start(hash_settings(&config), random.clone())?;
        let maker = Arc::new(maker(&config, &keyring)?);
        let policy = signing_policy(&config);
        Keysmith { store: &store, maker: &maker, policy: &policy, clock: &clock }.bootstrap().await?;
        let ring = KeyRing::load(&store, keyring.clone(), policy.clone(), clock.clone()).await?;
        let ring = Arc::new(ring);
        let signing = Job {
            store: Arc::new(store.clone()),
            ring: ring.clone(),
            maker,
            policy,
            clock: clock.clone(),
            random: random.clone(),
        };
        let now = clock.now();
        let refresh_keys = LiveRefreshKeys::load(&store, &keyring, &random, now).await?;
        let labels = secrets::root_secret(&store, &keyring, &random, secrets::LABELS, now).await?;
        let (_, label_key) =
            labels.first().ok_or_else(|| OpenError::Setting("there is no label key".into()))?;
        let labels = Labels::new(label_key);
        let clients = Directory::load(&store, &clock).await?;
        let verifier = Verifier::builder()
            .issuer(config.issuer.clone())
            .audience(config.audience.clone())
            .rs256()
            .leeway(config.access.leeway)
            .build()
            .map_err(|wrong| OpenError::Setting(wrong.to_string()))?;
        let metadata = metadata(&config)?;
        let contract = Published::new(CONTRACT.as_bytes().to_vec(), "no-cache".into());
        let metrics = Metrics::new();
        let grants = Grants {
            store,
            keyring,
            ring,
            refresh_keys,
            labels,
            clients,
            hasher,
            config: config.clone(),
            clock,
            random,
        };
        Ok(App { config, grants, metrics, metadata, contract, signing, verifier })
    }

    /// Checks an access token for Keyward's own audience.
    ///
    /// # Errors
    /// [`TokenRefused`].
    pub fn verify(&self, token: &str) -> Result<Verified<External, AccessClaims>, TokenRefused> {
        let now = self.grants.clock.now();
        let set = self.grants.ring.keys().map_err(|cause| {
            tracing::error!(%cause, "tokens cannot be checked");
            TokenRefused::Unavailable
        })?;
        self.verifier.verify(token, &set, now.seconds()).map_err(|refusal| {
            let reason = refusal.reason.code();
            self.metrics.refused_token(reason);
            tracing::info!(reason, "an access token was refused");
            TokenRefused::Invalid
        })
    }

    /// Whether this replica can do its work, or why not.
    ///
    /// # Errors
    /// A sentence.
    pub async fn ready(&self) -> Result<(), &'static str> {
        let grants = &self.grants;
        grants.ring.signing().map_err(|_| "the signing keys are not confirmed with the store")?;
        match tokio::time::timeout(Duration::from_secs(2), grants.store_answers()).await {
            Ok(Ok(())) if grants.store.takes_changes() => Ok(()),
            Ok(Ok(())) => Err("the database takes no changes"),
            _ => Err("the store does not answer"),
        }
    }

    /// Follows the store: clients and refresh keys, as `signing` follows the key ring, and whether it takes changes
    /// again. Called every half second.
    pub async fn follow(&self) {
        let grants = &self.grants;
        let now = grants.clock.now();
        if let Err(cause) = grants.clients.reload(&grants.store, now).await {
            tracing::error!(%cause, "the clients could not be read");
        }
        if let Err(cause) = grants.refresh_keys.reload(&grants.store, &grants.keyring).await {
            tracing::error!(%cause, "the refresh keys could not be read");
        }
        // Following comes first: a write that must wait is given up and tried again in the next round.
        match tokio::time::timeout(Duration::from_secs(2), grants.store.recover()).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => tracing::debug!(%cause, "the database still takes no changes"),
            Err(_) => tracing::debug!("the database still keeps changes waiting"),
        }
    }

    /// Forgets what need not be remembered any longer, in small steps.
    pub async fn sweep(&self) {
        let (grants, config) = (&self.grants, &self.config);
        let now = grants.clock.now();
        let forget = config.limits.account.forget.max(config.limits.source.forget);
        let outcome = async {
            for _ in 0..50 {
                if grants.store.sweep_sessions(now.minus(config.session.keep_ended), 1_000).await? < 1_000 {
                    break;
                }
            }
            // As fast as strangers can add subjects, in steps that keep nobody waiting.
            for _ in 0..50 {
                if grants.store.sweep_limits(now.minus(forget), 5_000).await? < 5_000 {
                    break;
                }
            }
            for _ in 0..50 {
                if grants.store.sweep_audit(now.minus(config.audit.keep), 1_000).await? < 1_000 {
                    break;
                }
            }
            Ok::<(), StoreError>(())
        };
        if let Err(cause) = outcome.await {
            tracing::warn!(%cause, "old records could not be swept; tried again in a minute");
        }
    }

    /// Runs the background work until `stop` turns true.
    pub async fn run_jobs(self: Arc<App>, mut stop: watch::Receiver<bool>) {
        tokio::join!(self.signing.run(stop.clone()), async {
            let mut follow = tokio::time::interval(Duration::from_millis(500));
            let mut sweep = tokio::time::interval(Duration::from_secs(60));
            for timer in [&mut follow, &mut sweep] {
                timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            }
            loop {
                tokio::select! {
                    () = stopped(&mut stop) => break,
                    _ = follow.tick() => self.follow().await,
                    _ = sweep.tick() => self.sweep().await,
                }
            }
        });
    }
}

impl Grants {
    async fn store_answers(&self) -> Result<(), StoreError> {
        self.store.session(Uuid::nil()).await.map(|_| ())
    }
}

/// Resolves when `stop` turns true or its sender is gone.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The guard on the value must not live across an await of the caller.
    let _ = stop.wait_for(|stop| *stop).await.map(drop);
}

/// The signing rules of the configuration.
pub fn signing_policy(config: &Config) -> signing::Policy {
    let rotation = &config.rotation;
    signing::Policy {
        every: rotation.every,
        lead: rotation.lead,
        lease: rotation.lease,
        jwks_max_age: rotation.jwks_max_age,
        verifier_poll: rotation.verifier_poll,
        clock_skew: rotation.clock_skew,
    }
}

/// The hashing settings of the configuration.
pub fn hash_settings(config: &Config) -> HashSettings {
    let password = &config.password;
    HashSettings {
        memory_kib: password.memory_kib,
        iterations: password.iterations,
        parallelism: password.parallelism,
        threads: password.threads,
        queue: password.queue,
        queue_bytes: password.queue_memory,
        deadline: password.deadline,
        quantum: config.login.quantum,
    }
}

/// RFC 8414 metadata; OpenID Connect Discovery's path serves the same for verifiers that look only there.
fn metadata(config: &Config) -> Result<Published, OpenError> {
    #[derive(Serialize)]
    struct Metadata<'a> {
        issuer: &'a str,
        jwks_uri: String,
        response_types_supported: [&'a str; 0],
        grant_types_supported: [&'a str; 0],
        scopes_supported: Vec<&'a str>,
        subject_types_supported: [&'a str; 1],
        id_token_signing_alg_values_supported: [&'a str; 1],
        service_documentation: String,
    }
    let mut scopes: Vec<&str> = config.roles.values().flatten().map(String::as_str).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let issuer = &config.issuer;
    let document = Metadata {
        issuer,
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        response_types_supported: [],
        grant_types_supported: [],
        scopes_supported: scopes,
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["RS256"],
        service_documentation: format!("{issuer}/openapi.yaml"),
    };
    let body = serde_json::to_vec(&document).map_err(|wrong| OpenError::Setting(wrong.to_string()))?;
    let max_age = config.rotation.jwks_max_age.as_secs();
    Ok(Published::new(body, format!("public, max-age={max_age}")))
}

/// Makes signing keys as the configuration says.
///
/// # Errors
/// When the configured size is not one of the three.
pub fn maker(config: &Config, keyring: &Arc<Keyring>) -> Result<Maker, OpenError> {
    let bits =
        Bits::try_from(config.signing.rsa_bits).map_err(|wrong| OpenError::Setting(wrong.to_string()))?;
    let lifetime = u32::try_from(config.access.lifetime.as_secs()).unwrap_or(u32::MAX);
    Ok(Maker::new(keyring.clone(), bits, lifetime))
}
