//! What operators do with signing keys. Each works on the store like one more replica and needs no running server.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::signing::lifecycle::{
    active, earliest_activation, next_staged, next_transition, safe_to_delete_at,
};
use crate::signing::pem::{self, PemKey};
use crate::signing::{Keysmith, SigningError, at, job, key};
use crate::store::{Applied, KeyState, Ring, RingStep, SigningKey, SigningKeys};

const ATTEMPTS: u32 = 20;

/// Verifiers take sets of at most 100 keys and 64 KiB; this leaves room for rotations to come.
const MOST_PUBLISHED: usize = 30;

/// What a rotation by hand waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The rules: the staged key must have been published for its lead.
    Rules,
    /// Connected verifiers, but not the clock. None can be connected yet, so it waits for nothing.
    Now,
    /// Nothing.
    Force,
}

/// What became of a rotation by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The staged key signs now.
    Done {
        /// The key that signs now.
        active: String,
        /// The key that signed before and when it leaves the JWKS at the earliest.
        retiring: Option<(String, Timestamp)>,
        /// The next key in hand; `None` if it could not be made, and then a running server makes it.
        staged: Option<String>,
        /// For so long readers of the plain JWKS may still refuse the new key; zero if the rules were kept.
        may_refuse_for: Duration,
    },
    /// The rules allow it at this moment; nothing changed but that a staged key is in hand.
    NotBefore(Timestamp),
}

/// What a revocation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The keys that are gone.
    pub kids: Vec<String>,
    /// The key that took over, if the active one was revoked.
    pub active: Option<String>,
    /// Fresh keys that were published.
    pub fresh: Vec<String>,
    /// For so long readers of the plain JWKS may still trust the revoked keys.
    pub may_trust_for: Duration,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Its thumbprint.
    pub kid: String,
    /// `Staged`, or `Retiring` for verification only.
    pub state: KeyState,
    /// When it may sign at the earliest, or until when it stays published.
    pub until: Timestamp,
}

/// How a public key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SubjectPublicKeyInfo PEM.
    Pem,
    /// A JWK (RFC 7517 §4).
    Jwk,
}

/// A line of `keys list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its thumbprint.
    pub kid: String,
    /// JOSE algorithm name.
    pub alg: String,
    /// Its state.
    pub state: KeyState,
    /// Since when it is known.
    pub age: Duration,
    /// Where it goes next by itself, and when.
    pub next: Option<(KeyState, Timestamp)>,
    /// From when on no unexpired token needs it.
    pub safe_to_delete_at: Option<Timestamp>,
    /// About how many unexpired tokens it signed, at most.
    pub outstanding: u64,
}

impl<S: SigningKeys> Keysmith<'_, S> {
    /// Activates the staged key, as soon as `mode` allows, and puts a fresh one in its place.
    ///
    /// # Errors
    /// [`SigningError::Empty`] before the first start, [`SigningError::Refused`] when the set would grow too large,
    /// and when the store or the generator fails.
    pub async fn rotate(&self, mode: Mode) -> Result<Rotated, SigningError> {
        let mut tried: Option<(String, Duration)> = None;
        for _ in 0..ATTEMPTS {
            let ring = self.begun().await?;
            // Someone else, or our own step whose answer was lost, has done it: rotating again would be once too often.
            if let Some((kid, may_refuse_for)) = tried.take_if(|(kid, _)| signs(&ring, kid)) {
                let retiring = last_retiring(&ring)
                    .and_then(|old| Some((old.kid.clone(), safe_to_delete_at(old, self.policy)?)));
                let staged = self.restage().await;
                return Ok(Rotated::Done { active: kid, retiring, staged, may_refuse_for });
            }
            has_room(&ring)?;
            let Some(staged) = next_staged(&ring) else {
                let fresh = self.generate(&ring).await?;
                self.apply(&ring, &RingStep::Publish(Box::new(fresh))).await?;
                continue;
            };
            let now = self.clock.now();
            let allowed = earliest_activation(staged, &ring, self.policy);
            if mode == Mode::Rules && now < allowed {
                return Ok(Rotated::NotBefore(allowed));
            }
            let known_to_all = staged.staged_at.plus(self.policy.reach());
            let may_refuse_for = if now >= allowed { Duration::ZERO } else { known_to_all.since(now) };
            tried = Some((staged.kid.clone(), may_refuse_for));
            let step = RingStep::Activate { kid: staged.kid.clone(), max_lifetime: staged.max_lifetime };
            if let Applied::At(_) = self.apply(&ring, &step).await? {
                let retiring = active(&ring)
                    .map(|old| (old.kid.clone(), now.plus(self.policy.aftermath(old.max_lifetime))));
                let active = staged.kid.clone();
                return Ok(Rotated::Done { active, retiring, staged: self.restage().await, may_refuse_for });
            }
        }
        Err(SigningError::Contended)
    }

    /// Revokes a compromised key at once and for ever. The staged key takes over from an active one, and a fresh one
    /// is staged in the same step. With `Reach::Staged` what is staged goes as well: same master key, same leak.
    ///
    /// # Errors
    /// [`SigningError::Refused`] when there is no such key or it is revoked already, and when the store or the
    /// generator fails.
    pub async fn revoke(&self, kid: &str, reach: Reach) -> Result<Revoked, SigningError> {
        for _ in 0..ATTEMPTS {
            let ring = self.begun().await?;
            let target = find(&ring, kid)?;
            if target.state == KeyState::Revoked {
                return Err(SigningError::Refused(format!("signing key {kid} is revoked already")));
            }
            let condemned = |key: &&SigningKey| {
                key.kid == kid || (reach == Reach::Staged && key.state == KeyState::Staged)
            };
            let kids: Vec<String> = ring.keys.iter().filter(condemned).map(|key| key.kid.clone()).collect();
            let mut left = ring.clone();
            left.keys.retain(|key| !kids.contains(&key.kid));

            let mut heir = None;
            let mut publish = Vec::new();
            if active(&left).is_none() {
                heir = next_staged(&left).map(|key| key.kid.clone());
                match &heir {
                    Some(heir) => left.keys.retain(|key| key.kid != *heir),
                    None => {
                        let (active, staged) = self.pair(&ring).await?;
                        publish.extend([active, staged]);
                    }
                }
            }
            if publish.is_empty() && next_staged(&left).is_none() {
                publish.push(self.generate(&ring).await?);
            }
            let revoked = Revoked {
                active: heir.clone().or_else(|| first_active(&publish)),
                fresh: publish.iter().map(|key| key.kid.clone()).collect(),
                kids: kids.clone(),
                may_trust_for: self.policy.reach(),
            };
            let step = RingStep::Revoke { kids, activate: heir, publish };
            if let Applied::At(_) = self.apply(&ring, &step).await? {
                return Ok(revoked);
            }
        }
        Err(SigningError::Contended)
    }

    /// Imports a key from PEM: staged, to sign after its lead and after those staged before it; or, with
    /// `verify_only_until`, published for verification until then, without its private half.
    ///
    /// # Errors
    /// [`SigningError::Pem`] when the file is not a fitting RSA key, [`SigningError::Refused`] when the key was there
    /// before (a revoked one never comes back), is public only, or the time has passed.
    pub async fn import(
        &self,
        text: &str,
        passphrase: Option<&str>,
        verify_only_until: Option<Timestamp>,
    ) -> Result<Imported, SigningError> {
        let read = pem::read(text, passphrase)?;
        for _ in 0..ATTEMPTS {
            let ring = self.begun().await?;
            has_room(&ring)?;
            let mut key = self.imported(&read, verify_only_until)?;
            job::later_than_birth(&mut key, &ring);
            if let Some(known) = ring.keys.iter().find(|known| known.kid == key.kid) {
                return Err(SigningError::Refused(match known.state {
                    KeyState::Revoked => format!("signing key {} was revoked and never comes back", key.kid),
                    state => format!("signing key {} is in the ring already, {}", key.kid, state.name()),
                }));
            }
            let imported = Imported {
                kid: key.kid.clone(),
                state: key.state,
                until: verify_only_until.unwrap_or_else(|| earliest_activation(&key, &ring, self.policy)),
            };
            if let Applied::At(_) = self.apply(&ring, &RingStep::Publish(Box::new(key))).await? {
                return Ok(imported);
            }
        }
        Err(SigningError::Contended)
    }

    /// The public half of a key, whatever its state.
    ///
    /// # Errors
    /// [`SigningError::Refused`] when there is no such key, [`SigningError::Corrupt`] when its id is not its thumbprint.
    pub async fn export_public(&self, kid: &str, format: Format) -> Result<String, SigningError> {
        let ring = self.begun().await?;
        let key = find(&ring, kid)?;
        key::public(key)?;
        match format {
            Format::Jwk => Ok(key.public_jwk.clone()),
            Format::Pem => Ok(pem::write_public(&key.public_jwk)?),
        }
    }

    /// Every key there ever was: active, staged, retiring, then what is gone; the newest first within each.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self) -> Result<Vec<Row>, SigningError> {
        let ring = self.store.ring().await?;
        let counts = self.store.signed_counts().await?;
        let now = self.clock.now();
        let mut keys: Vec<&SigningKey> = ring.keys.iter().collect();
        keys.sort_by_key(|key| (order(key.state), std::cmp::Reverse(key.staged_at)));
        let row = |key: &SigningKey| {
            let (tokens, latest_exp) = counts.get(&key.kid).copied().unwrap_or_default();
            Row {
                kid: key.kid.clone(),
                alg: key.alg.clone(),
                state: key.state,
                age: now.since(key.staged_at),
                next: next_transition(key, &ring, self.policy),
                safe_to_delete_at: safe_to_delete_at(key, self.policy),
                outstanding: if latest_exp > now.seconds() { tokens } else { 0 },
            }
        };
        Ok(keys.into_iter().map(row).collect())
    }

    async fn begun(&self) -> Result<Ring, SigningError> {
        let ring = self.store.ring().await?;
        if ring.generation == 0 { Err(SigningError::Empty) } else { Ok(ring) }
    }

    /// The activation is done and stays done; a failure here is healed by the next tick of any server.
    async fn restage(&self) -> Option<String> {
        let staged = async {
            for _ in 0..ATTEMPTS {
                let ring = self.store.ring().await?;
                if let Some(key) = next_staged(&ring) {
                    return Ok(key.kid.clone());
                }
                let fresh = self.generate(&ring).await?;
                self.apply(&ring, &RingStep::Publish(Box::new(fresh))).await?;
            }
            Err(SigningError::Contended)
        };
        staged.await.inspect_err(|error| tracing::warn!(%error, "no fresh key was staged")).ok()
    }

    fn imported(&self, read: &PemKey, until: Option<Timestamp>) -> Result<SigningKey, SigningError> {
        let now = self.clock.now();
        let Some(until) = until else {
            return match read {
                PemKey::Private(pkcs8, _) => self.maker.adopt(pkcs8, now),
                PemKey::Public(_) => Err(SigningError::Refused(
                    "a public key can only be imported for verification, with an end".to_owned(),
                )),
            };
        };
        if until <= now {
            return Err(SigningError::Refused(format!("{} has passed", at(until))));
        }
        let (PemKey::Private(_, public) | PemKey::Public(public)) = read;
        let mut key = key::record(public, 0, now)?;
        key.state = KeyState::Retiring;
        key.retiring_at = Some(now);
        key.publish_until = Some(until);
        Ok(key)
    }
}

/// How far a revocation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The named key alone.
    Key,
    /// The named key and everything staged.
    Staged,
}

fn find<'a>(ring: &'a Ring, kid: &str) -> Result<&'a SigningKey, SigningError> {
    ring.keys
        .iter()
        .find(|key| key.kid == kid)
        .ok_or_else(|| SigningError::Refused(format!("there is no signing key {kid}; see `keys list`")))
}

fn signs(ring: &Ring, kid: &str) -> bool {
    active(ring).is_some_and(|key| key.kid == kid)
}

fn last_retiring(ring: &Ring) -> Option<&SigningKey> {
    let rotated = |key: &&SigningKey| key.state == KeyState::Retiring && key.publish_until.is_none();
    ring.keys.iter().filter(rotated).max_by_key(|key| key.retiring_at)
}

fn first_active(keys: &[SigningKey]) -> Option<String> {
    keys.iter().find(|key| key.state == KeyState::Active).map(|key| key.kid.clone())
}

fn has_room(ring: &Ring) -> Result<(), SigningError> {
    let published = ring.keys.iter().filter(|key| order(key.state) < 3).count();
    if published < MOST_PUBLISHED {
        return Ok(());
    }
    Err(SigningError::Refused(format!(
        "{published} signing keys are published already; wait until some have retired"
    )))
}

fn order(state: KeyState) -> u8 {
    match state {
        KeyState::Active => 0,
        KeyState::Staged => 1,
        KeyState::Retiring => 2,
        KeyState::Retired => 3,
        KeyState::Revoked => 4,
    }
}
