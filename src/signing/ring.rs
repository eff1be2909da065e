//! The ring as a replica holds it: one immutable snapshot per generation, read without locks or I/O.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_envelope::Keyring;
use keyward_verifier::{JwkSet, KeyId, KeySet};
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Timestamp};
use crate::signing::token::{ActiveKey, Tally};
use crate::signing::{Policy, SigningError, key};
use crate::store::{KeyState, Ring, SigningKey, SigningKeys};

const ATTEMPTS: u32 = 5;

/// The key ring of this replica.
pub struct KeyRing {
    keyring: Arc<Keyring>,
    policy: Policy,
    clock: Clock,
    snapshot: ArcSwap<Snapshot>,
    /// Written after `snapshot` and read before it, so that it never vouches for an older one.
    confirmed_at: AtomicI64,
    refreshing: tokio::sync::Mutex<()>,
    tallies: Mutex<BTreeMap<String, Arc<Tally>>>,
}

/// The ring could not be confirmed with the store within the lease, or holds no usable active key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key ring was not confirmed with the store within the lease")]
pub struct NotConfirmed;

/// A public document whose bytes and headers are made once; the JWKS once per generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The body, e.g. the JWK Set (RFC 7517 §5), which is never empty.
    pub body: Vec<u8>,
    /// A strong entity tag with its quotes (RFC 9110 §8.8.3); it depends on `body` alone.
    pub etag: String,
    /// The value of `Cache-Control`.
    pub cache_control: String,
}

impl Published {
    /// With the entity tag of `body`.
    pub fn new(body: Vec<u8>, cache_control: String) -> Published {
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(&body)));
        Published { body, etag, cache_control }
    }
}

struct Snapshot {
    generation: i64,
    active: Option<Arc<ActiveKey>>,
    published: Arc<Published>,
    keys: Arc<KeySet>,
}

impl KeyRing {
    /// Reads the ring from the store, unseals the active key, and makes sure that every key is what its id says.
    ///
    /// # Errors
    /// [`SigningError::Empty`] when there are no keys yet, [`SigningError::Corrupt`] when the halves or the id of one
    /// disagree, [`SigningError::Open`] when a private half does not open.
    pub async fn load<S: SigningKeys>(
        store: &S,
        keyring: Arc<Keyring>,
        policy: Policy,
        clock: Clock,
    ) -> Result<KeyRing, SigningError> {
        let now = clock.now();
        let ring = store.ring().await?;
        let (snapshot, problem) = Snapshot::build(&ring, &keyring, &policy, None)?;
        if let Some(problem) = problem {
            return Err(problem);
        }
        let loaded = KeyRing {
            keyring,
            policy,
            clock,
            tallies: Mutex::default(),
            snapshot: ArcSwap::from_pointee(snapshot),
            confirmed_at: AtomicI64::new(now.0),
            refreshing: tokio::sync::Mutex::new(()),
        };
        loaded.remember_tally();
        Ok(loaded)
    }

    /// Asks the store for its generation and reads the ring anew if it moved. The old snapshot, and with it the
    /// private key that no longer signs, is destroyed when the last signature in flight is done.
    ///
    /// # Errors
    /// When the store does not answer or holds an older or unreadable ring; the snapshot then stays, unconfirmed.
    pub async fn confirm<S: SigningKeys>(&self, store: &S) -> Result<(), SigningError> {
        let _one_at_a_time = self.refreshing.lock().await;
        let asked_at = self.clock.now();
        let held = self.generation();
        let found = store.ring_generation().await?;
        if found == held {
            self.confirmed(asked_at);
            return Ok(());
        }
        if found < held {
            return Err(SigningError::Backwards { held, found });
        }
        let ring = store.ring().await?;
        if ring.generation < found {
            return Err(SigningError::Backwards { held: found, found: ring.generation });
        }
        let before = self.snapshot.load_full();
        let (snapshot, problem) =
            Snapshot::build(&ring, &self.keyring, &self.policy, before.active.as_ref())?;
        tracing::info!(generation = snapshot.generation, "the key ring moved from generation {held}");
        self.snapshot.store(Arc::new(snapshot));
        self.remember_tally();
        self.confirmed(asked_at);
        problem.map_or(Ok(()), Err)
    }

    /// The generation of the ring it holds.
    pub fn generation(&self) -> i64 {
        self.snapshot.load().generation
    }

    /// When the store was last asked and agreed.
    pub fn confirmed_at(&self) -> Timestamp {
        Timestamp(self.confirmed_at.load(Ordering::Acquire))
    }

    /// The key to sign with.
    ///
    /// # Errors
    /// [`NotConfirmed`]: answer 503, not ready.
    pub fn signing(&self) -> Result<Arc<ActiveKey>, NotConfirmed> {
        self.vouched()?.active.clone().ok_or(NotConfirmed)
    }

    /// What the JWKS endpoint answers.
    ///
    /// # Errors
    /// [`NotConfirmed`]: answer 503, not ready.
    pub fn jwks(&self) -> Result<Arc<Published>, NotConfirmed> {
        Ok(Arc::clone(&self.vouched()?.published))
    }

    /// The keys that our own routes verify tokens with; revoked ones are remembered as such.
    ///
    /// # Errors
    /// [`NotConfirmed`]: a key revoked meanwhile would still be trusted.
    pub fn keys(&self) -> Result<Arc<KeySet>, NotConfirmed> {
        Ok(Arc::clone(&self.vouched()?.keys))
    }

    /// The key to sign with, once its row in the store allows tokens of `lifetime` seconds. Asks the store only for
    /// the first longer-lived token.
    ///
    /// # Errors
    /// [`SigningError::NotConfirmed`] as [`KeyRing::signing`], and when the store does not take the longer lifetime.
    pub async fn prepare<S: SigningKeys>(
        &self,
        lifetime: u32,
        store: &S,
    ) -> Result<Arc<ActiveKey>, SigningError> {
        for _ in 0..ATTEMPTS {
            let key = self.signing()?;
            if lifetime <= key.max_lifetime() {
                return Ok(key);
            }
            if store.raise_max_lifetime(key.kid(), lifetime).await? {
                crate::failpoint!("signing.after_raise");
                key.raised(lifetime);
                return Ok(key);
            }
            self.confirm(store).await?;
        }
        Err(SigningError::Contended)
    }

    /// Adds what was signed since the last flush to the store's approximate counts.
    ///
    /// # Errors
    /// When the store does not take it; the counts wait for the next flush.
    pub async fn flush<S: SigningKeys>(&self, store: &S) -> Result<(), SigningError> {
        let tallies: Vec<_> =
            self.tallies().iter().map(|(kid, tally)| (kid.clone(), Arc::clone(tally))).collect();
        for (kid, tally) in tallies {
            let (tokens, latest_exp) = tally.take();
            if tokens == 0 {
                continue;
            }
            if let Err(error) = store.note_signed(&kid, tokens, latest_exp).await {
                tally.put_back(tokens);
                return Err(error.into());
            }
        }
        // A tally that only this map holds belongs to a key that is gone.
        self.tallies().retain(|_, tally| Arc::strong_count(tally) > 1);
        Ok(())
    }

    fn vouched(&self) -> Result<arc_swap::Guard<Arc<Snapshot>>, NotConfirmed> {
        let confirmed_at = self.confirmed_at();
        let now = self.clock.now();
        // A clock set back must not stretch the lease.
        let from_the_future = confirmed_at.since(now) > self.policy.clock_skew;
        if from_the_future || now.since(confirmed_at) >= self.policy.lease {
            return Err(NotConfirmed);
        }
        Ok(self.snapshot.load())
    }

    fn confirmed(&self, asked_at: Timestamp) {
        self.confirmed_at.store(asked_at.0, Ordering::Release);
    }

    fn remember_tally(&self) {
        if let Some(active) = &self.snapshot.load().active {
            self.tallies().insert(active.kid().to_owned(), active.tally());
        }
    }

    fn tallies(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Tally>>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    /// A damaged key is left out and a private half that does not open does not sign; the first such problem is
    /// reported beside the snapshot, so that a key revoked in the same generation stops signing all the same.
    fn build(
        ring: &Ring,
        keyring: &Keyring,
        policy: &Policy,
        held: Option<&Arc<ActiveKey>>,
    ) -> Result<(Snapshot, Option<SigningError>), SigningError> {
        let (mut set, mut active, mut problems) = (JwkSet::default(), None, Vec::new());
        for record in published(ring) {
            let checked = key::public(record).map(|jwk| (jwk, private_half(record, keyring, held)));
            let (jwk, half) = match checked {
                Ok((_, Err(damaged @ SigningError::Corrupt { .. }))) | Err(damaged) => {
                    problems.push(damaged);
                    continue;
                }
                Ok(sound) => sound,
            };
            set.keys.push(jwk);
            match half {
                Ok(signs) => active = active.or(signs),
                Err(problem) => problems.push(problem),
            }
        }
        for problem in &problems {
            tracing::error!(%problem, "the key ring is not whole");
        }
        let mut problem = problems.into_iter().next();
        if active.is_none() {
            problem = problem.or(Some(SigningError::Empty));
        }
        if set.keys.is_empty() {
            return Err(problem.unwrap_or(SigningError::Empty));
        }
        let body = serde_json::to_vec(&set).map_err(|_| SigningError::Unusable("not fit for a JWK set"))?;
        let cache_control = format!("public, max-age={}", policy.jwks_max_age.as_secs());
        let revoked = ring
            .keys
            .iter()
            .filter(|key| key.state == KeyState::Revoked)
            .map(|key| {
                let why = "it is no key id";
                KeyId::parse(&key.kid).map_err(|_| SigningError::Corrupt { kid: key.kid.clone(), why })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let keys = KeySet::from_jwks(&set).map_err(|_| SigningError::Unusable("not fit for a JWK set"))?;
        for (kid, reason) in keys.skipped() {
            tracing::error!(?kid, ?reason, "a published key is one that verifiers refuse; revoke it");
        }
        let snapshot = Snapshot {
            generation: ring.generation,
            active,
            published: Arc::new(Published::new(body, cache_control)),
            keys: Arc::new(keys.with_revoked(revoked)),
        };
        Ok((snapshot, problem))
    }
}

/// The key to sign with, if the record is the active one; a staged one must only open, before its turn comes.
fn private_half(
    record: &SigningKey,
    keyring: &Keyring,
    held: Option<&Arc<ActiveKey>>,
) -> Result<Option<Arc<ActiveKey>>, SigningError> {
    match (record.state, held) {
        (KeyState::Active, Some(held)) if held.kid() == record.kid => {
            held.raised(record.max_lifetime);
            Ok(Some(Arc::clone(held)))
        }
        (KeyState::Active, _) => {
            let private = key::unseal(keyring, record)?;
            Ok(Some(Arc::new(ActiveKey::new(record.kid.clone(), private, record.max_lifetime)?)))
        }
        (KeyState::Staged, _) => key::unseal(keyring, record).map(|_| None),
        _ => Ok(None),
    }
}

/// Active first, because some clients take `keys[0]`; then staged, then retiring; by age within a state.
fn published(ring: &Ring) -> impl Iterator<Item = &SigningKey> {
    let mut published: Vec<(u8, &SigningKey)> =
        ring.keys.iter().filter_map(|key| rank(key.state).map(|rank| (rank, key))).collect();
    published.sort_by(|(a, x), (b, y)| (a, x.staged_at, &x.kid).cmp(&(b, y.staged_at, &y.kid)));
    published.into_iter().map(|(_, key)| key)
}

fn rank(state: KeyState) -> Option<u8> {
    match state {
        KeyState::Active => Some(0),
        KeyState::Staged => Some(1),
        KeyState::Retiring => Some(2),
        KeyState::Retired | KeyState::Revoked => None,
    }
}
