//! Changes of the ring: what is due is decided by [`plan`] and applied by compare-and-swap, on any replica.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, millis};
use crate::random::Random;
use crate::signing::lifecycle::{Plan, Policy, Readiness, plan};
use crate::signing::{KeyRing, Maker, SigningError, at, lifecycle};
use crate::store::{Applied, KeyState, Ring, RingStep, SigningKey, SigningKeys};

/// More than any ring ever has to do at once.
const MOST_STEPS: u32 = 200;
const CONFIRM_EVERY: Duration = Duration::from_millis(500);
const TICK_EVERY: Duration = Duration::from_secs(3);
const FLUSH_EVERY: u32 = 10;

/// Whoever may change the ring: the job of a replica, or the command line.
#[derive(Clone, Copy)]
pub struct Keysmith<'a, S> {
    /// Where the ring is kept.
    pub store: &'a S,
    /// Makes keys.
    pub maker: &'a Maker,
    /// The timing rules.
    pub policy: &'a Policy,
    /// Tells the time.
    pub clock: &'a Clock,
}

impl<S: SigningKeys> Keysmith<'_, S> {
    /// Makes the first two keys unless there are some; call it before [`KeyRing::load`].
    ///
    /// # Errors
    /// When the store does not answer or a key cannot be made.
    pub async fn bootstrap(&self) -> Result<(), SigningError> {
        let ring = self.store.ring().await?;
        if ring.generation == 0 { self.advance(0).await.map(drop) } else { Ok(()) }
    }

    /// Takes every step that is due; returns the ring with nothing left to do.
    ///
    /// `floor` is the generation the caller has seen: a ring older than that is left alone.
    ///
    /// # Errors
    /// [`SigningError::Backwards`] below `floor`, and when the store or the generator fails. Steps taken stay taken.
    pub async fn advance(&self, floor: i64) -> Result<Ring, SigningError> {
        for _ in 0..MOST_STEPS {
            let ring = self.store.ring().await?;
            if ring.generation < floor {
                return Err(SigningError::Backwards { held: floor, found: ring.generation });
            }
            let step = match plan(self.clock.now(), &ring, self.policy, Readiness::Clock) {
                None => return Ok(ring),
                Some(Plan::Begin) => self.begin(&ring).await?,
                Some(Plan::Stage) => RingStep::Publish(Box::new(self.generate(&ring).await?)),
                Some(Plan::Activate { kid, max_lifetime }) => RingStep::Activate { kid, max_lifetime },
                Some(Plan::Retire { kid }) => RingStep::Retire { kid },
            };
            self.apply(&ring, &step).await?;
        }
        Err(SigningError::Contended)
    }

    /// Tries one step on `ring` as it was read.
    pub(super) async fn apply(&self, ring: &Ring, step: &RingStep) -> Result<Applied, SigningError> {
        match step {
            RingStep::Activate { .. } => crate::failpoint!("rotate.before_activate"),
            RingStep::Retire { .. } => crate::failpoint!("rotate.before_retire"),
            RingStep::Revoke { .. } => crate::failpoint!("revoke.before_change"),
            _ => {}
        }
        let applied = self.store.change_ring(ring.generation, step, self.clock.now()).await?;
        let Applied::At(generation) = applied else {
            tracing::debug!(generation = ring.generation, "another replica changed the key ring first");
            return Ok(applied);
        };
        match step {
            RingStep::Activate { .. } => crate::failpoint!("rotate.after_activate"),
            RingStep::Publish(_) => crate::failpoint!("rotate.after_stage"),
            RingStep::Retire { .. } => crate::failpoint!("rotate.after_retire"),
            RingStep::Begin { .. } => crate::failpoint!("rotate.after_begin"),
            RingStep::Revoke { .. } => crate::failpoint!("revoke.after_change"),
        }
        self.announce(generation, ring, step);
        Ok(applied)
    }

    /// A staged key.
    pub(super) async fn generate(&self, ring: &Ring) -> Result<SigningKey, SigningError> {
        let mut key = self.maker.make(self.clock).await?;
        later_than_birth(&mut key, ring);
        crate::failpoint!("rotate.after_generate");
        Ok(key)
    }

    /// An active and a staged key, published together.
    pub(super) async fn pair(&self, ring: &Ring) -> Result<(SigningKey, SigningKey), SigningError> {
        let mut active = self.maker.make(self.clock).await?;
        let mut staged = self.maker.make(self.clock).await?;
        later_than_birth(&mut staged, ring);
        active.state = KeyState::Active;
        active.staged_at = staged.staged_at;
        active.activated_at = Some(staged.staged_at);
        crate::failpoint!("rotate.after_generate");
        Ok((active, staged))
    }

    async fn begin(&self, ring: &Ring) -> Result<RingStep, SigningError> {
        let (active, staged) = self.pair(ring).await?;
        Ok(RingStep::Begin { active: Box::new(active), staged: Box::new(staged) })
    }

    fn announce(&self, generation: i64, ring: &Ring, step: &RingStep) {
        match step {
            RingStep::Begin { active, staged } => {
                tracing::info!(
                    generation,
                    "first signing keys: {} signs, {} is staged",
                    active.kid,
                    staged.kid
                );
            }
            RingStep::Publish(key) => {
                let what = key.state.name();
                tracing::info!(generation, "signing key {} published as {what}", key.kid);
            }
            RingStep::Activate { kid, .. } => {
                let until = self.clock.now();
                match lifecycle::active(ring) {
                    Some(old) => tracing::info!(
                        generation,
                        "signing key {kid} activated; {} retires not before {}",
                        old.kid,
                        at(until.plus(self.policy.aftermath(old.max_lifetime))),
                    ),
                    None => tracing::warn!(generation, "signing key {kid} activated; no key was active"),
                }
            }
            RingStep::Retire { kid } => {
                tracing::info!(generation, "signing key {kid} retired: it left the JWKS");
            }
            RingStep::Revoke { kids, activate, publish } => {
                let fresh: Vec<_> = publish.iter().map(|key| key.kid.as_str()).collect();
                tracing::warn!(generation, ?kids, ?activate, ?fresh, "signing keys revoked as compromised");
            }
        }
    }
}

/// Stamps a key later than the first start, which alone exempts from the lead, even by a slow clock.
pub(super) fn later_than_birth(key: &mut SigningKey, ring: &Ring) {
    if let Some(birth) = lifecycle::birth(ring) {
        key.staged_at = key.staged_at.max(birth.plus(Duration::from_millis(1)));
    }
}

/// The background work of one replica.
pub struct Job<S> {
    /// Where the ring is kept.
    pub store: Arc<S>,
    /// The replica's snapshot.
    pub ring: Arc<KeyRing>,
    /// Makes keys.
    pub maker: Arc<Maker>,
    /// The timing rules.
    pub policy: Policy,
    /// Tells the time.
    pub clock: Clock,
    /// For jitter.
    pub random: Random,
}

impl<S: SigningKeys> Job<S> {
    /// One round: follow the store, take the steps that are due, follow again.
    ///
    /// # Errors
    /// When the store does not answer, went back, or a key cannot be made or opened.
    pub async fn tick(&self) -> Result<(), SigningError> {
        self.ring.confirm(&*self.store).await?;
        let smith =
            Keysmith { store: &*self.store, maker: &self.maker, policy: &self.policy, clock: &self.clock };
        let after = smith.advance(self.ring.generation()).await?;
        if after.generation == self.ring.generation() {
            Ok(())
        } else {
            self.ring.confirm(&*self.store).await
        }
    }

    /// Follows the store twice a second and ticks every few seconds, until `shutdown` turns true or is dropped.
    pub async fn run(&self, mut shutdown: tokio::sync::watch::Receiver<bool>) {
        let stopped = shutdown.wait_for(|stop| *stop);
        tokio::select! {
            _ = stopped => {}
            () = self.follow() => {}
            () = self.keep_ticking() => {}
        }
        if let Err(error) = self.ring.flush(&*self.store).await {
            tracing::warn!(%error, "the last counts of signed tokens were not stored");
        }
    }

    async fn follow(&self) {
        let mut trouble = Trouble::default();
        for round in 1_u32.. {
            tokio::time::sleep(self.jittered(CONFIRM_EVERY)).await;
            trouble.note("confirm the key ring", self.ring.confirm(&*self.store).await);
            if round.is_multiple_of(FLUSH_EVERY) {
                trouble.note("count signed tokens", self.ring.flush(&*self.store).await);
            }
        }
    }

    async fn keep_ticking(&self) {
        let mut trouble = Trouble::default();
        loop {
            trouble.note("keep the key ring moving", self.tick().await);
            tokio::time::sleep(self.jittered(TICK_EVERY)).await;
        }
    }

    /// Between three quarters and five quarters, so that replicas do not march in step.
    fn jittered(&self, about: Duration) -> Duration {
        let mut byte = [128];
        let random = self.random.fill(&mut byte).map_or(128, |()| i64::from(byte[0]));
        let span = millis(about) / 2;
        let wait = millis(about) - span / 2 + span * random / 256;
        Duration::from_millis(u64::try_from(wait).unwrap_or(0))
    }
}

/// Logs a failure when it begins and when it ends, not twice a second.
#[derive(Default)]
struct Trouble(Option<&'static str>);

impl Trouble {
    fn note(&mut self, what: &'static str, outcome: Result<(), SigningError>) {
        match (outcome, self.0) {
            (Err(error), None) => {
                tracing::error!(%error, "could not {what}; trying again");
                self.0 = Some(what);
            }
            (Ok(()), Some(failed)) if failed == what => {
                tracing::info!("could {what} again");
                self.0 = None;
            }
            _ => {}
        }
    }
}
