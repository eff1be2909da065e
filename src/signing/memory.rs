//! The ring in memory: what a back end promises, with crashes and conflicts at will.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::clock::Timestamp;
use crate::store::{Applied, KeyState, Ring, RingStep, SigningKey, SigningKeys, StoreError, StoreResult};

/// When the process dies: counted in changes of the ring from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    Before(u32),
    After(u32),
}

#[derive(Default)]
pub(super) struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    ring: Ring,
    counts: BTreeMap<String, (u64, u64)>,
    crash: Option<Crash>,
    conflicts: u32,
    down: bool,
    full_reads: u32,
}

impl Memory {
    pub(super) fn crash(&self, crash: Option<Crash>) {
        self.state().crash = crash;
    }

    /// The next `count` changes meet another replica's change.
    pub(super) fn conflicts(&self, count: u32) {
        self.state().conflicts = count;
    }

    pub(super) fn down(&self, down: bool) {
        self.state().down = down;
    }

    /// Puts the ring back to an older one, as a restored backup does.
    pub(super) fn restore(&self, ring: Ring) {
        self.state().ring = ring;
    }

    pub(super) fn full_reads(&self) -> u32 {
        self.state().full_reads
    }

    pub(super) fn edit(&self, kid: &str, change: impl FnOnce(&mut SigningKey)) {
        let mut state = self.state();
        change(state.ring.keys.iter_mut().find(|key| key.kid == kid).unwrap());
        state.ring.generation += 1;
    }

    pub(super) fn peek(&self) -> Ring {
        self.state().ring.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Lets others come between any two steps.
    async fn call(&self, step: &'static str) -> StoreResult<MutexGuard<'_, State>> {
        tokio::task::yield_now().await;
        self.up(step)
    }

    fn up(&self, step: &'static str) -> StoreResult<MutexGuard<'_, State>> {
        let state = self.state();
        if state.down { Err(unavailable(step)) } else { Ok(state) }
    }
}

impl SigningKeys for Memory {
    async fn ring(&self) -> StoreResult<Ring> {
        let mut state = self.call("ring").await?;
        state.full_reads += 1;
        Ok(state.ring.clone())
    }

    async fn ring_generation(&self) -> StoreResult<i64> {
        Ok(self.call("ring_generation").await?.ring.generation)
    }

    async fn change_ring(&self, expected: i64, step: &RingStep, now: Timestamp) -> StoreResult<Applied> {
        let mut state = self.call("change_ring").await?;
        if state.conflicts > 0 {
            state.conflicts -= 1;
            return Ok(Applied::Conflict);
        }
        let due = match state.crash {
            Some(Crash::Before(left) | Crash::After(left)) => left == 0,
            None => false,
        };
        match &mut state.crash {
            Some(Crash::Before(left) | Crash::After(left)) if *left > 0 => *left -= 1,
            Some(Crash::Before(_)) => return Err(unavailable("crashed before")),
            _ => {}
        }
        if state.ring.generation != expected {
            return Ok(Applied::Conflict);
        }
        let mut ring = state.ring.clone();
        if apply(&mut ring.keys, expected, step, now).is_none() {
            return Ok(Applied::Conflict);
        }
        ring.generation += 1;
        state.ring = ring;
        if due { Err(unavailable("crashed after")) } else { Ok(Applied::At(state.ring.generation)) }
    }

    async fn raise_max_lifetime(&self, kid: &str, seconds: u32) -> StoreResult<bool> {
        let mut state = self.call("raise_max_lifetime").await?;
        let key = state.ring.keys.iter_mut().find(|key| key.kid == kid && key.state == KeyState::Active);
        Ok(key.map(|key| key.max_lifetime = key.max_lifetime.max(seconds)).is_some())
    }

    async fn note_signed(&self, kid: &str, tokens: u64, latest_exp: u64) -> StoreResult<()> {
        let mut state = self.call("note_signed").await?;
        let count = state.counts.entry(kid.to_owned()).or_default();
        *count = (count.0 + tokens, count.1.max(latest_exp));
        Ok(())
    }

    async fn signed_counts(&self) -> StoreResult<BTreeMap<String, (u64, u64)>> {
        Ok(self.call("signed_counts").await?.counts.clone())
    }
}

fn apply(keys: &mut Vec<SigningKey>, generation: i64, step: &RingStep, now: Timestamp) -> Option<()> {
    match step {
        RingStep::Begin { active, staged } => {
            let fits = generation == 0
                && keys.is_empty()
                && active.state == KeyState::Active
                && staged.state == KeyState::Staged;
            fits.then(|| keys.extend([(**active).clone(), (**staged).clone()]))
        }
        RingStep::Publish(key) => insert(keys, key),
        RingStep::Activate { kid, max_lifetime } => activate(keys, kid, Some(*max_lifetime), now),
        RingStep::Retire { kid } => {
            let key = keys.iter_mut().find(|key| key.kid == *kid && key.state == KeyState::Retiring)?;
            key.state = KeyState::Retired;
            key.retired_at = Some(now);
            Some(())
        }
        RingStep::Revoke { kids, activate: heir, publish } => {
            for kid in kids {
                let key = keys.iter_mut().find(|key| key.kid == *kid && key.state != KeyState::Revoked)?;
                key.state = KeyState::Revoked;
                key.private = None;
                key.revoked_at = Some(now);
            }
            if let Some(heir) = heir {
                activate(keys, heir, None, now)?;
            }
            publish.iter().try_for_each(|key| insert(keys, key))
        }
    }
}

fn insert(keys: &mut Vec<SigningKey>, key: &SigningKey) -> Option<()> {
    let fresh = keys.iter().all(|known| known.kid != key.kid);
    fresh.then(|| keys.push(key.clone()))
}

fn activate(keys: &mut [SigningKey], kid: &str, max_lifetime: Option<u32>, now: Timestamp) -> Option<()> {
    let next = keys.iter().position(|key| key.kid == kid && key.state == KeyState::Staged)?;
    for old in keys.iter_mut().filter(|key| key.state == KeyState::Active) {
        old.state = KeyState::Retiring;
        old.private = None;
        old.retiring_at = Some(now);
    }
    let next = &mut keys[next];
    next.state = KeyState::Active;
    next.activated_at = Some(now);
    next.max_lifetime = max_lifetime.unwrap_or(next.max_lifetime);
    Some(())
}

fn unavailable(step: &'static str) -> StoreError {
    StoreError::Unavailable { step, cause: "a test says so".to_owned() }
}
