//! The five promises about the ring's life, under random schedules of replicas with skewed clocks, crashes, races
//! and commands. Keys are fakes here; time is the model's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use keyward_envelope::{DataKey, Keyring, Suite};
use proptest::prelude::*;

use crate::clock::{Clock, Timestamp};
use crate::signing::lifecycle::active;
use crate::signing::memory::{Crash, Memory};
use crate::signing::{Keysmith, Maker, Mode, Policy, Reach, Rotated, SigningError};
use crate::store::{KeyState, Ring, SigningKeys};

const START: i64 = 1_800_000_000_000;
const SKEW: u64 = 20;
const LIFETIME: u32 = 60;
const LONGER: u32 = 200;
/// The model's time goes in steps of this many seconds.
const STEP: u64 = 5;

const PRIVATE: &str = include_str!("testdata/pkcs8.pem");
const PUBLIC: &str = include_str!("testdata/other-spki.pem");

fn policy() -> Policy {
    let mut policy = Policy {
        every: Some(secs(300)),
        lead: Duration::ZERO,
        lease: secs(120),
        jwks_max_age: secs(30),
        verifier_poll: secs(10),
        clock_skew: secs(SKEW),
    };
    policy.lead = policy.reach();
    policy
}

#[derive(Clone, Debug)]
enum Event {
    /// So many steps, in each of which these replicas tick and all that may sign do, with the longer life or not.
    Pass(u64, Vec<usize>, bool),
    Confirm(usize),
    Tick(usize),
    Race(usize, usize),
    Crash(Crash),
    Conflict(u32),
    Rotate(usize, Mode),
    Revoke(usize, KeyState, Reach),
    Import(usize),
    ImportPublic(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let replica = || 0..3_usize;
    let crash = prop_oneof![(0..3_u32).prop_map(Crash::Before), (0..3_u32).prop_map(Crash::After)];
    let mode = prop_oneof![4 => Just(Mode::Rules), 1 => Just(Mode::Now), 1 => Just(Mode::Force)];
    let state = prop_oneof![Just(KeyState::Active), Just(KeyState::Staged), Just(KeyState::Retiring)];
    let reach = prop_oneof![Just(Reach::Key), Just(Reach::Staged)];
    prop_oneof![
        24 => (1..30_u64, prop::sample::subsequence(vec![0, 1, 2], 0..=3), prop::bool::weighted(0.2))
            .prop_map(|(steps, ticking, longer)| Event::Pass(steps, ticking, longer)),
        8 => replica().prop_map(Event::Confirm),
        8 => replica().prop_map(Event::Tick),
        6 => (replica(), replica()).prop_map(|(a, b)| Event::Race(a, b)),
        4 => crash.prop_map(Event::Crash),
        2 => (1..3_u32).prop_map(Event::Conflict),
        4 => (replica(), mode).prop_map(|(r, mode)| Event::Rotate(r, mode)),
        2 => (replica(), state, reach).prop_map(|(r, state, reach)| Event::Revoke(r, state, reach)),
        1 => replica().prop_map(Event::Import),
        1 => replica().prop_map(Event::ImportPublic),
    ]
}

struct Replica {
    clock: Clock,
    /// The ring it holds, by which of its own clock's times and at which true time it was confirmed.
    held: Option<(Ring, Timestamp, u64)>,
}

struct World {
    store: Memory,
    maker: Maker,
    policy: Policy,
    elapsed: u64,
    replicas: Vec<Replica>,
    verifiers: Vec<Clock>,
    /// What any replica served, and when: a verifier may hold any of these that is young enough.
    served: VecDeque<(u64, BTreeSet<String>)>,
    /// Per key the latest expiry of what it signed.
    tokens: BTreeMap<String, u64>,
    published: BTreeMap<String, u64>,
    revoked: BTreeMap<String, u64>,
    /// Keys that began to sign without waiting for their lead.
    hasty: BTreeSet<String>,
    before: Ring,
}

impl World {
    fn new(offsets: [u64; 6]) -> World {
        let clock = |offset: u64| Clock::wound(Timestamp(START).plus(secs(offset)));
        let data_key = DataKey::from_bytes(1, Suite::GcmCtx, &[7; 32]);
        let keyring = Keyring::new("default", vec![data_key], 1).ok().unwrap();
        World {
            store: Memory::default(),
            maker: Maker::fake(Arc::new(keyring), LIFETIME),
            policy: policy(),
            elapsed: 0,
            replicas: offsets[..3].iter().map(|by| Replica { clock: clock(*by), held: None }).collect(),
            verifiers: offsets[3..].iter().map(|by| clock(*by)).collect(),
            served: VecDeque::new(),
            tokens: BTreeMap::new(),
            published: BTreeMap::new(),
            revoked: BTreeMap::new(),
            hasty: BTreeSet::new(),
            before: Ring::default(),
        }
    }

    fn smith(&self, replica: usize) -> Keysmith<'_, Memory> {
        Keysmith {
            store: &self.store,
            maker: &self.maker,
            policy: &self.policy,
            clock: &self.replicas[replica].clock,
        }
    }

    async fn take(&mut self, event: &Event) {
        match *event {
            Event::Pass(steps, ref ticking, longer) => {
                for _ in 0..steps {
                    self.pass();
                    for r in ticking {
                        self.tick(*r).await;
                    }
                    for r in 0..self.replicas.len() {
                        self.sign(r, longer).await;
                    }
                    self.verify_all();
                }
            }
            Event::Crash(crash) => return self.store.crash(Some(crash)),
            Event::Conflict(count) => return self.store.conflicts(count),
            Event::Confirm(r) => self.confirm(r).await,
            Event::Tick(r) => self.tick(r).await,
            Event::Race(a, b) => {
                let (one, other) = (self.smith(a), self.smith(b));
                let (ticked, _) = tokio::join!(one.advance(0), other.rotate(Mode::Rules));
                if ticked.is_err() {
                    self.die(a);
                }
            }
            Event::Rotate(r, mode) => {
                let ring = self.store.peek();
                if let Ok(Rotated::Done { may_refuse_for, .. }) = self.smith(r).rotate(mode).await {
                    assert!(mode != Mode::Rules || may_refuse_for.is_zero());
                }
                if mode != Mode::Rules {
                    self.took_over(&ring);
                }
            }
            Event::Revoke(r, state, reach) => {
                let ring = self.store.peek();
                let Some(key) = ring.keys.iter().find(|key| key.state == state) else { return };
                let _ = self.smith(r).revoke(&key.kid, reach).await;
                self.took_over(&ring);
            }
            Event::Import(r) => {
                let before = self.store.peek();
                let done = self.smith(r).import(PRIVATE, None, None).await;
                self.came_back(&before, done.map(|imported| imported.kid));
            }
            Event::ImportPublic(r) => {
                let before = self.store.peek();
                let until = self.replicas[r].clock.now().plus(secs(100));
                let done = self.smith(r).import(PUBLIC, None, Some(until)).await;
                self.came_back(&before, done.map(|imported| imported.kid));
            }
        }
        self.store.crash(None);
        self.store.conflicts(0);
        self.look_at_the_store();
    }

    async fn tick(&mut self, r: usize) {
        let floor = self.replicas[r].held.as_ref().map_or(0, |(ring, _, _)| ring.generation);
        match self.smith(r).advance(floor).await {
            Ok(_) => self.confirm(r).await,
            Err(_) => self.die(r),
        }
        self.look_at_the_store();
    }

    fn took_over(&mut self, before: &Ring) {
        let after = self.store.peek();
        let (old, new) = (active(before).map(|key| &key.kid), active(&after).map(|key| &key.kid));
        if old != new {
            self.hasty.extend(new.cloned());
        }
    }

    fn came_back(&self, before: &Ring, done: Result<String, SigningError>) {
        if let Ok(kid) = done {
            assert!(before.keys.iter().all(|key| key.kid != kid), "{kid} was imported twice");
        }
    }

    fn die(&mut self, r: usize) {
        self.replicas[r].held = None;
    }

    async fn confirm(&mut self, r: usize) {
        let asked = self.replicas[r].clock.now();
        if let Ok(ring) = self.store.ring().await
            && ring.generation > 0
        {
            self.replicas[r].held = Some((ring, asked, self.elapsed));
        }
    }

    fn vouched(&self, r: usize) -> Option<(&Ring, u64)> {
        let replica = &self.replicas[r];
        let (ring, confirmed, truly) = replica.held.as_ref()?;
        (replica.clock.now().since(*confirmed) < self.policy.lease).then_some((ring, *truly))
    }

    async fn sign(&mut self, r: usize, longer: bool) {
        let Some((ring, confirmed)) = self.vouched(r) else { return };
        let Some(key) = active(ring) else { return };
        let (kid, allowed) = (key.kid.clone(), key.max_lifetime);
        let lifetime = if longer { LONGER } else { LIFETIME };
        if let Some(revoked) = self.revoked.get(&kid) {
            assert!(confirmed <= *revoked, "{kid} signs though its revocation was seen");
        }
        if lifetime > allowed && !self.store.raise_max_lifetime(&kid, lifetime).await.unwrap() {
            return;
        }
        let durable = self.store.peek().keys.iter().any(|k| k.kid == kid && k.activated_at.is_some());
        assert!(durable, "{kid} signs and is not durable");
        let exp = self.replicas[r].clock.now().seconds() + u64::from(lifetime);
        let latest = self.tokens.entry(kid).or_default();
        *latest = exp.max(*latest);
    }

    fn pass(&mut self) {
        self.elapsed += STEP;
        for clock in self.replicas.iter().map(|replica| &replica.clock).chain(&self.verifiers) {
            clock.advance(secs(STEP));
        }
        // A cache keeps a set for `max_age`, the verifier for another, and asks up to `verifier_poll` late.
        let held = self.policy.jwks_max_age.as_secs() * 2 + self.policy.verifier_poll.as_secs();
        while self.served.front().is_some_and(|(at, _)| at + held < self.elapsed) {
            self.served.pop_front();
        }
        for r in 0..self.replicas.len() {
            if let Some((ring, _)) = self.vouched(r) {
                self.served.push_back((self.elapsed, published(ring)));
            }
        }
    }

    fn verify_all(&self) {
        let slowest = self.verifiers.iter().map(Clock::now).min().unwrap_or_default();
        for (kid, exp) in &self.tokens {
            let hasty = self.hasty.contains(kid)
                && self.elapsed <= self.published[kid] + self.policy.reach().as_secs();
            if slowest.seconds() >= *exp || hasty || self.revoked.contains_key(kid) {
                continue;
            }
            for (at, set) in &self.served {
                assert!(
                    set.contains(kid),
                    "a verifier with a set of {at} s refuses an unexpired token of {kid}"
                );
            }
        }
    }

    fn look_at_the_store(&mut self) {
        let ring = self.store.peek();
        assert!(ring.generation >= self.before.generation);
        if ring.generation > 0 {
            let signing = ring.keys.iter().filter(|key| key.state == KeyState::Active).count();
            assert_eq!(signing, 1, "exactly one key is active");
        }
        for key in &ring.keys {
            let may_sign = matches!(key.state, KeyState::Staged | KeyState::Active);
            assert_eq!(key.private.is_some(), may_sign, "{} in {:?}", key.kid, key.state);
            self.published.entry(key.kid.clone()).or_insert(self.elapsed);
            if key.state == KeyState::Revoked {
                self.revoked.entry(key.kid.clone()).or_insert(self.elapsed);
            }
        }
        for old in &self.before.keys {
            let key = ring.keys.iter().find(|key| key.kid == old.kid).unwrap();
            assert!(key.state >= old.state, "{} went from {:?} to {:?}", key.kid, old.state, key.state);
        }
        self.before = ring;
    }
}

fn published(ring: &Ring) -> BTreeSet<String> {
    let gone = |state| matches!(state, KeyState::Retired | KeyState::Revoked);
    ring.keys.iter().filter(|key| !gone(key.state)).map(|key| key.kid.clone()).collect()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The extremes are where clocks hurt.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(SKEW), 0..=SKEW]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_breaks_a_promise(
        offsets in prop::array::uniform6(offset()),
        events in prop::collection::vec(event(), 1..60),
    ) {
        block_on(async {
            let mut world = World::new(offsets);
            for event in &events {
                world.take(event).await;
            }
            for _ in 0..2 {
                world.take(&Event::Pass(1, vec![0, 1, 2], false)).await;
            }
            let ring = world.store.peek();
            assert!(ring.keys.iter().any(|key| key.state == KeyState::Staged), "a staged key is in hand");
        });
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// Left alone, with every replica confirming, the ring rotates for ever.
    #[test]
    fn a_quiet_ring_keeps_rotating(offsets in prop::array::uniform6(offset()), confirming in 1..4_usize) {
        block_on(async {
            let mut world = World::new(offsets);
            world.take(&Event::Pass(600, (0..confirming).collect(), false)).await;
            let retired = world.before.keys.iter().filter(|key| key.state == KeyState::Retired).count();
            assert!(retired >= 4, "only {retired} keys have retired");
        });
    }
}
