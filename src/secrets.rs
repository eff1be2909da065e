//! Opens what is sealed: the master key, the data keys under it, and the root secrets under those.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use keyward_envelope::{
    Context, DataKey, Keyring, MasterKeyError, MasterKeys, OpenError, SealError, Sealed, Suite, WrappedKey,
};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::clock::{Clock, Timestamp};
use crate::random::{NoRandomness, Random};
use crate::session::RefreshKeys;
use crate::store::{Secrets, StoreError, StoredDataKey, StoredSecret};

const NAMESPACE: &str = "default";
/// The root secret behind refresh tokens; two versions live at a time.
pub const REFRESH: &str = "refresh";
/// The root secret behind labels of networks and identifiers.
pub const LABELS: &str = "labels";
const LIVING_VERSIONS: u8 = 2;
const RELOAD_EVERY_MS: i64 = 1_000;

/// Why the sealed values cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The master key cannot be used; the sentence says what to do.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The database holds sealed values, and the master key is not there.
    #[error(
        "the database {database} holds sealed values, but the master key {master_key} is missing: put that file back, or name it with `master_key_file`; Keyward never makes a new one for an existing database"
    )]
    MasterKeyMissing {
        /// Where the database is.
        database: String,
        /// Where the key was looked for.
        master_key: PathBuf,
    },
    /// The master key is another one.
    #[error(
        "the database {database} is sealed under another master key than {master_key} holds: use the one that belongs to this database"
    )]
    MasterKeyWrong {
        /// Where the database is.
        database: String,
        /// Which key was tried.
        master_key: String,
    },
    /// A sealed value does not open.
    #[error("a sealed {what} does not open: {cause}")]
    Open {
        /// Which value.
        what: &'static str,
        /// How.
        cause: OpenError,
    },
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// Another process changed the same secret at the same time.
    #[error("another process changed the secret `{0}` at the same moment: run the command again")]
    Conflict(String),
    /// Something that the derivation refuses.
    #[error("{0}")]
    Unusable(String),
}

/// Where the master key comes from and which database it belongs to.
pub struct MasterKeySource<'a> {
    /// The key itself, from configuration, instead of a file.
    pub inline: Option<&'a str>,
    /// The key file.
    pub file: &'a Path,
    /// The folder of the database, in which the file must not lie.
    pub data_dir: &'a Path,
}

/// Opens the keyring; makes the master key and the first data key when the database holds nothing sealed yet.
///
/// # Errors
/// [`SecretsError`], each a sentence that names what is missing or wrong.
pub async fn open_keyring(
    store: &impl Secrets,
    source: &MasterKeySource<'_>,
    now: Timestamp,
) -> Result<Keyring, SecretsError> {
    let mut stored = store.data_keys(NAMESPACE).await?;
    let master = master_keys(source, stored.is_empty())?;
    if stored.is_empty() {
        let first = DataKey::generate(1, Suite::GcmCtx)?.wrap(master.current(), NAMESPACE)?;
        store.add_first_data_key(&to_stored(first), now).await?;
        crate::failpoint!("start.after_data_key");
        // Whoever was first, both go on with what is durable.
        stored = store.data_keys(NAMESPACE).await?;
    }
    let active = stored.iter().find(|key| key.active).map_or(0, |key| key.version);
    let keys = stored
        .into_iter()
        .map(|key| {
            to_wrapped(key)?.unwrap(&master, NAMESPACE).map_err(|cause| match cause {
                OpenError::KeyUnavailable | OpenError::Authentication => SecretsError::MasterKeyWrong {
                    database: source.data_dir.display().to_string(),
                    master_key: match source.inline {
                        Some(_) => "the setting `master_key`".into(),
                        None => source.file.display().to_string(),
                    },
                },
                cause => SecretsError::Open { what: "data key", cause },
            })
        })
        .collect::<Result<Vec<_>, SecretsError>>()?;
    Keyring::new(NAMESPACE, keys, active).map_err(|cause| SecretsError::Unusable(cause.to_string()))
}

fn master_keys(source: &MasterKeySource<'_>, may_make: bool) -> Result<MasterKeys, SecretsError> {
    if let Some(text) = source.inline {
        return Ok(MasterKeys::parse(text)?);
    }
    if source.file.exists() {
        return Ok(MasterKeys::read(source.file, Some(source.data_dir))?);
    }
    if !may_make {
        return Err(SecretsError::MasterKeyMissing {
            database: source.data_dir.display().to_string(),
            master_key: source.file.to_owned(),
        });
    }
    match MasterKeys::create(source.file) {
        Ok(_) => crate::failpoint!("start.after_master_key"),
        // Another process made it a moment ago.
        Err(_) if source.file.exists() => {}
        Err(refused) => return Err(refused.into()),
    }
    Ok(MasterKeys::read(source.file, Some(source.data_dir))?)
}

fn to_stored(key: WrappedKey) -> StoredDataKey {
    StoredDataKey {
        version: key.version,
        namespace: NAMESPACE.into(),
        suite: u8::try_from(key.suite.number()).unwrap_or_default(),
        master_key_id: key.master_key_id,
        kcv: key.kcv,
        bytes: key.bytes,
        active: true,
    }
}

fn to_wrapped(key: StoredDataKey) -> Result<WrappedKey, SecretsError> {
    let suite = Suite::try_from(i64::from(key.suite))
        .map_err(|_| SecretsError::Store(StoreError::Corrupt { what: "encryption_keys.suite" }))?;
    let (version, master_key_id, kcv, bytes) = (key.version, key.master_key_id, key.kcv, key.bytes);
    Ok(WrappedKey { version, suite, master_key_id, kcv, bytes })
}

fn context(name: &str, version: u8) -> Context {
    Context::column("secrets", "value").row(format!("{name}.{version}"))
}

/// The living versions of a root secret, the newest first; the first version is made when there is none.
///
/// # Errors
/// [`SecretsError`].
pub async fn root_secret(
    store: &impl Secrets,
    keyring: &Keyring,
    random: &Random,
    name: &'static str,
    now: Timestamp,
) -> Result<Vec<(u8, Zeroizing<[u8; 32]>)>, SecretsError> {
    if store.secrets(name).await?.is_empty() {
        add_version(store, keyring, random, name, 0, now).await?;
    }
    store.secrets(name).await?.into_iter().map(|secret| open_secret(keyring, &secret)).collect()
}

fn open_secret(keyring: &Keyring, secret: &StoredSecret) -> Result<(u8, Zeroizing<[u8; 32]>), SecretsError> {
    let open = |cause| SecretsError::Open { what: "root secret", cause };
    let sealed = Sealed::parse(&secret.sealed).map_err(open)?;
    let bytes = keyring.unseal(&context(&secret.name, secret.version), &sealed).map_err(open)?;
    let mut key = Zeroizing::new([0; 32]);
    if bytes.expose().len() != key.len() {
        return Err(open(OpenError::Malformed));
    }
    key.copy_from_slice(bytes.expose());
    Ok((secret.version, key))
}

/// Adds a version; the newest two live on. `Ok(false)`: another process added one first.
async fn add_version(
    store: &impl Secrets,
    keyring: &Keyring,
    random: &Random,
    name: &str,
    newest: u8,
    now: Timestamp,
) -> Result<bool, SecretsError> {
    let version = newest.checked_add(1).ok_or_else(|| SecretsError::Unusable(format!(
        "the secret `{name}` has had all its 255 versions; there is no way to rotate it further in this version of Keyward"
    )))?;
    let mut key = Zeroizing::new([0_u8; 32]);
    random.fill(&mut key[..])?;
    let sealed = keyring.seal(&context(name, version), &key[..])?.into_string();
    let secret = StoredSecret { name: name.into(), version, sealed, created_at: now };
    crate::failpoint!("secrets.before_add");
    let added = store.add_secret(&secret, newest, LIVING_VERSIONS).await?;
    crate::failpoint!("secrets.after_add");
    Ok(added)
}

/// Rotates a root secret: the new version makes tokens at once, the one before still checks them. With `forget_old`
/// the rotation is done twice, so that nothing made before is good any more. The new version's number.
///
/// # Errors
/// [`SecretsError::Conflict`] when another process did the same at the same time.
pub async fn rotate_secret(
    store: &impl Secrets,
    keyring: &Keyring,
    random: &Random,
    name: &'static str,
    forget_old: bool,
    now: Timestamp,
) -> Result<u8, SecretsError> {
    for _ in 0..if forget_old { LIVING_VERSIONS } else { 1 } {
        let newest = store.secrets(name).await?.first().map_or(0, |secret| secret.version);
        if !add_version(store, keyring, random, name, newest, now).await? {
            return Err(SecretsError::Conflict(name.into()));
        }
    }
    Ok(store.secrets(name).await?.first().map_or(0, |secret| secret.version))
}

/// The refresh keys in memory; they follow the store within half a second, and at once when an unknown id turns up.
pub struct LiveRefreshKeys {
    keys: ArcSwap<RefreshKeys>,
    read_at: Mutex<Timestamp>,
}

impl LiveRefreshKeys {
    /// Reads them, making the first.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub async fn load(
        store: &impl Secrets,
        keyring: &Keyring,
        random: &Random,
        now: Timestamp,
    ) -> Result<LiveRefreshKeys, SecretsError> {
        let secrets = root_secret(store, keyring, random, REFRESH, now).await?;
        let keys = RefreshKeys::new(&secrets).map_err(SecretsError::Unusable)?;
        Ok(LiveRefreshKeys { keys: ArcSwap::from_pointee(keys), read_at: Mutex::new(now) })
    }

    /// The keys as last read.
    pub fn now(&self) -> Arc<RefreshKeys> {
        self.keys.load_full()
    }

    /// Reads them anew.
    ///
    /// # Errors
    /// [`SecretsError`]; the old keys stay.
    pub async fn reload(&self, store: &impl Secrets, keyring: &Keyring) -> Result<(), SecretsError> {
        let stored = store.secrets(REFRESH).await?;
        let known = self.keys.load();
        if stored.len() == known.count() && stored.iter().all(|secret| known.knows(secret.version)) {
            return Ok(());
        }
        let secrets =
            stored.iter().map(|secret| open_secret(keyring, secret)).collect::<Result<Vec<_>, _>>()?;
        self.keys.store(Arc::new(RefreshKeys::new(&secrets).map_err(SecretsError::Unusable)?));
        Ok(())
    }

    /// The keys, read anew first if `id` is unknown; at most once a second for all strangers together.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub async fn knowing(
        &self,
        id: u8,
        store: &impl Secrets,
        keyring: &Keyring,
        clock: &Clock,
    ) -> Result<Arc<RefreshKeys>, SecretsError> {
        let keys = self.now();
        if keys.knows(id) {
            return Ok(keys);
        }
        let mut read_at = self.read_at.lock().await;
        let now = clock.now();
        if !self.now().knows(id) && now.0.saturating_sub(read_at.0) >= RELOAD_EVERY_MS {
            self.reload(store, keyring).await?;
            *read_at = now;
        }
        Ok(self.now())
    }
}
