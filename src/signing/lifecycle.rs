//! When a signing key moves on: pure rules without clock or store.
//!
//! Timestamps in the ring were written by any replica's clock; two clocks differ by at most `clock_skew`.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::{KeyState, Ring, SigningKey};

/// The timing rules; the configuration refuses those that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a key signs; `None`: it is rotated by hand only.
    pub every: Option<Duration>,
    /// How long a key is published before it may sign.
    pub lead: Duration,
    /// A replica that could not confirm its ring for this long neither signs nor serves the JWKS.
    pub lease: Duration,
    /// `max-age` of the JWKS, sent in whole seconds.
    pub jwks_max_age: Duration,
    /// How often verifiers are told to poll.
    pub verifier_poll: Duration,
    /// Largest difference between any two machines' clocks.
    pub clock_skew: Duration,
}

impl Policy {
    /// How long after a change of the set a reader may still hold the older one, whatever clock stamped the change.
    ///
    /// Twice `max_age`, because some caches drop `Age`.
    pub fn reach(&self) -> Duration {
        self.lease
            .saturating_add(self.jwks_max_age.saturating_mul(2))
            .saturating_add(self.verifier_poll)
            .saturating_add(self.clock_skew)
    }

    /// How long a key of this `max_lifetime` (seconds) stays published after it stopped signing.
    ///
    /// Twice the skew: the clock that stamps `exp` and the one that judges it differ as much as the two that stamp
    /// `retiring_at` and judge that.
    pub fn aftermath(&self, max_lifetime: u32) -> Duration {
        self.lease
            .saturating_add(Duration::from_secs(u64::from(max_lifetime)))
            .saturating_add(self.clock_skew.saturating_mul(2))
    }
}

/// What beside the clock an activation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// Nothing: readers of the plain JWKS are covered by the clock rule.
    Clock,
}

/// The next change of the ring that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// There never was a key: make an active and a staged one.
    Begin,
    /// No staged key is in hand: generate and publish one.
    Stage,
    /// The staged key begins to sign.
    Activate {
        /// Which.
        kid: String,
        /// The longest token lifetime it starts with, in seconds.
        max_lifetime: u32,
    },
    /// The key leaves the JWKS.
    Retire {
        /// Which.
        kid: String,
    },
}

/// Decides the next change of the ring, if one is due at `now`.
pub fn plan(now: Timestamp, ring: &Ring, policy: &Policy, readiness: Readiness) -> Option<Plan> {
    if ring.generation == 0 && ring.keys.is_empty() {
        return Some(Plan::Begin);
    }
    let Some(staged) = next_staged(ring) else { return Some(Plan::Stage) };
    let due = match rotation_due(ring, policy) {
        Due::Now => true,
        Due::At(at) => now >= at && now >= earliest_activation(staged, ring, policy),
        Due::Never => false,
    };
    if due && readiness == Readiness::Clock {
        return Some(Plan::Activate { kid: staged.kid.clone(), max_lifetime: staged.max_lifetime });
    }
    ring.keys
        .iter()
        .filter(|key| key.state == KeyState::Retiring)
        .find(|key| safe_to_delete_at(key, policy).is_some_and(|at| now >= at))
        .map(|key| Plan::Retire { kid: key.kid.clone() })
}

/// The earliest moment at which a staged key may sign without any verifier meeting it unprepared.
///
/// Keys of the first start need no lead: nobody can hold a set without them.
pub fn earliest_activation(key: &SigningKey, ring: &Ring, policy: &Policy) -> Timestamp {
    if birth(ring) == Some(key.staged_at) { key.staged_at } else { key.staged_at.plus(policy.lead) }
}

/// From when on no unexpired token needs the key; `None` while it may still sign, or was revoked.
pub fn safe_to_delete_at(key: &SigningKey, policy: &Policy) -> Option<Timestamp> {
    match key.state {
        KeyState::Retiring => key
            .publish_until
            .or_else(|| key.retiring_at.map(|since| since.plus(policy.aftermath(key.max_lifetime)))),
        KeyState::Retired => key.retired_at,
        KeyState::Staged | KeyState::Active | KeyState::Revoked => None,
    }
}

/// The state a key goes to next by itself, and when; `None` if it moves by hand only or not at all.
pub fn next_transition(key: &SigningKey, ring: &Ring, policy: &Policy) -> Option<(KeyState, Timestamp)> {
    let rotation = || {
        let staged = next_staged(ring)?;
        let ready = earliest_activation(staged, ring, policy);
        match rotation_due(ring, policy) {
            Due::Now => Some((staged, ready)),
            Due::At(at) => Some((staged, ready.max(at))),
            Due::Never => None,
        }
    };
    match key.state {
        KeyState::Staged => {
            rotation().filter(|(next, _)| next.kid == key.kid).map(|(_, at)| (KeyState::Active, at))
        }
        KeyState::Active => rotation().map(|(_, at)| (KeyState::Retiring, at)),
        KeyState::Retiring => safe_to_delete_at(key, policy).map(|at| (KeyState::Retired, at)),
        KeyState::Retired | KeyState::Revoked => None,
    }
}

/// The key that signs.
pub fn active(ring: &Ring) -> Option<&SigningKey> {
    ring.keys.iter().find(|key| key.state == KeyState::Active)
}

/// The staged key whose turn is next: the one published first.
pub fn next_staged(ring: &Ring) -> Option<&SigningKey> {
    ring.keys
        .iter()
        .filter(|key| key.state == KeyState::Staged)
        .min_by(|a, b| (a.staged_at, &a.kid).cmp(&(b.staged_at, &b.kid)))
}

/// When the first start published its two keys: the first that was active from the outset tells.
pub(super) fn birth(ring: &Ring) -> Option<Timestamp> {
    ring.keys.iter().filter(|key| key.activated_at == Some(key.staged_at)).map(|key| key.staged_at).min()
}

enum Due {
    Now,
    At(Timestamp),
    Never,
}

fn rotation_due(ring: &Ring, policy: &Policy) -> Due {
    match (active(ring), policy.every) {
        (None, _) => Due::Now,
        (Some(_), None) => Due::Never,
        (Some(active), Some(every)) => Due::At(active.activated_at.unwrap_or(active.staged_at).plus(every)),
    }
}
