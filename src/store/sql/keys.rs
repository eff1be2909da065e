//! The ring of signing keys.

use std::collections::BTreeMap;

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::row::{Failure, Record};
use super::{SqlStore, Step, changed, first, query};
use crate::clock::Timestamp;
use crate::store::{Applied, KeyState, Ring, RingStep, SigningKey, SigningKeys, StoreResult};

/// One statement, so that generation and keys belong together; a ring without keys is one row of nulls.
const RING: &str = "SELECT key_ring.generation, signing_keys.* FROM key_ring LEFT JOIN signing_keys ON 1 = 1";

const MOVE_ON: &str = "UPDATE key_ring SET generation = generation + 1 WHERE generation = $1";

const INSERT: &str = "INSERT INTO signing_keys (kid, alg, state, public_jwk, private, max_lifetime, staged_at, \
     activated_at, retiring_at, publish_until, retired_at, revoked_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING";

const STEP_DOWN: &str = "UPDATE signing_keys SET state = 'retiring', private = NULL, retiring_at = $2 \
     WHERE state = 'active' AND alg = (SELECT successor.alg FROM signing_keys AS successor WHERE successor.kid = $1)";

/// Without a private part a key could not sign, and with another active of its algorithm it must not.
const STEP_UP: &str = "UPDATE signing_keys SET state = 'active', activated_at = $2, \
     max_lifetime = COALESCE($3, max_lifetime) WHERE kid = $1 AND state = 'staged' AND private IS NOT NULL \
     AND NOT EXISTS (SELECT 1 FROM signing_keys AS other WHERE other.alg = signing_keys.alg AND other.state = 'active')";

const RETIRE: &str =
    "UPDATE signing_keys SET state = 'retired', retired_at = $2 WHERE kid = $1 AND state = 'retiring'";

const REVOKE: &str = "UPDATE signing_keys SET state = 'revoked', private = NULL, revoked_at = $2 \
     WHERE kid = $1 AND state <> 'revoked'";

const RAISE: &str = "UPDATE signing_keys SET max_lifetime = CASE WHEN max_lifetime < $2 THEN $2 ELSE max_lifetime END \
     WHERE kid = $1 AND state = 'active'";

const NOTE: &str = "INSERT INTO signed_counts (kid, tokens, latest_exp) \
     SELECT kid, $2, $3 FROM signing_keys WHERE kid = $1 \
     ON CONFLICT (kid) DO UPDATE SET tokens = signed_counts.tokens + excluded.tokens, \
     latest_exp = CASE WHEN excluded.latest_exp > signed_counts.latest_exp THEN excluded.latest_exp \
         ELSE signed_counts.latest_exp END";

impl SigningKeys for SqlStore {
    async fn ring(&self) -> StoreResult<Ring> {
        self.step(Step::ring, || async move {
            let rows = self.read(query(RING)).await?;
            let mut ring = Ring { generation: generation(rows.first())?, keys: Vec::new() };
            for row in &rows {
                if Record(row).maybe_text("kid")?.is_some() {
                    ring.keys.push(read_key(row)?);
                }
            }
            ring.keys.sort_by(|a, b| (a.staged_at, &a.kid).cmp(&(b.staged_at, &b.kid)));
            Ok(ring)
        })
        .await
    }

    async fn ring_generation(&self) -> StoreResult<i64> {
        self.step(Step::ring_generation, || async move {
            generation(self.read_one(query("SELECT generation FROM key_ring")).await?.as_ref())
        })
        .await
    }

    async fn change_ring(&self, expected: i64, change: &RingStep, now: Timestamp) -> StoreResult<Applied> {
        self.step(Step::change_ring, || async move {
            let mut step = self.begin().await?;
            let holds = changed(query(MOVE_ON).bind(expected), &mut *step).await? == 1
                && apply(&mut step, change, now).await?;
            if !holds {
                step.rollback().await?;
                return Ok(Applied::Conflict);
            }
            step.commit().await?;
            Ok(Applied::At(expected + 1))
        })
        .await
    }

    async fn raise_max_lifetime(&self, kid: &str, seconds: u32) -> StoreResult<bool> {
        self.step(Step::raise_max_lifetime, || async move {
            Ok(self.write(query(RAISE).bind(kid).bind(i64::from(seconds))).await? == 1)
        })
        .await
    }

    async fn note_signed(&self, kid: &str, tokens: u64, latest_exp: u64) -> StoreResult<()> {
        self.step(Step::note_signed, || async move {
            let note = query(NOTE).bind(kid).bind(display(tokens)).bind(display(latest_exp));
            self.write(note).await?;
            Ok(())
        })
        .await
    }

    async fn signed_counts(&self) -> StoreResult<BTreeMap<String, (u64, u64)>> {
        self.step(Step::signed_counts, || async move {
            let rows = self.read(query("SELECT kid, tokens, latest_exp FROM signed_counts")).await?;
            rows.iter()
                .map(|row| {
                    let row = Record(row);
                    Ok((row.text("kid")?, (row.number("tokens")?, row.number("latest_exp")?)))
                })
                .collect()
        })
        .await
    }
}

/// Takes the rows through `change`; `false` when a precondition does not hold and everything must be undone.
async fn apply(step: &mut AnyConnection, change: &RingStep, now: Timestamp) -> Result<bool, Failure> {
    match change {
        RingStep::Begin { active, staged } => {
            let untouched = first(query("SELECT kid FROM signing_keys LIMIT 1"), &mut *step).await?.is_none();
            Ok(untouched
                && active.state == KeyState::Active
                && staged.state == KeyState::Staged
                && insert(step, active, now).await?
                && insert(step, staged, now).await?)
        }
        RingStep::Publish(key) => {
            Ok(matches!(key.state, KeyState::Staged | KeyState::Retiring) && insert(step, key, now).await?)
        }
        RingStep::Activate { kid, max_lifetime } => {
            query(STEP_DOWN).bind(kid).bind(now.0).execute(&mut *step).await?;
            step_up(step, kid, Some(*max_lifetime), now).await
        }
        RingStep::Retire { kid } => Ok(changed(query(RETIRE).bind(kid).bind(now.0), &mut *step).await? == 1),
        RingStep::Revoke { kids, activate, publish } => {
            for kid in kids {
                if changed(query(REVOKE).bind(kid).bind(now.0), &mut *step).await? != 1 {
                    return Ok(false);
                }
            }
            if let Some(kid) = activate
                && !step_up(step, kid, None, now).await?
            {
                return Ok(false);
            }
            for key in publish {
                if !insert(step, key, now).await? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

async fn step_up(
    step: &mut AnyConnection,
    kid: &str,
    max_lifetime: Option<u32>,
    now: Timestamp,
) -> Result<bool, Failure> {
    let up = query(STEP_UP).bind(kid).bind(now.0).bind(max_lifetime.map(i64::from));
    Ok(changed(up, &mut *step).await? == 1)
}

/// Inserts a key that never was; the moment of its present state is `now` unless it carries one.
async fn insert(step: &mut AnyConnection, key: &SigningKey, now: Timestamp) -> Result<bool, Failure> {
    let signs = matches!(key.state, KeyState::Staged | KeyState::Active);
    let moment = |state, carried: Option<Timestamp>| {
        if key.state == state { Some(carried.unwrap_or(now).0) } else { carried.map(|at| at.0) }
    };
    let insert = query(INSERT)
        .bind(&key.kid)
        .bind(&key.alg)
        .bind(key.state.name())
        .bind(&key.public_jwk)
        .bind(key.private.as_ref().filter(|_| signs))
        .bind(i64::from(key.max_lifetime))
        .bind(key.staged_at.0)
        .bind(moment(KeyState::Active, key.activated_at))
        .bind(moment(KeyState::Retiring, key.retiring_at))
        .bind(key.publish_until.map(|at| at.0))
        .bind(moment(KeyState::Retired, key.retired_at))
        .bind(moment(KeyState::Revoked, key.revoked_at));
    Ok(changed(insert, &mut *step).await? == 1)
}

/// Counts are for people to look at; far beyond any real one they stop growing faster.
fn display(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX).min(1 << 53)
}

fn generation(row: Option<&AnyRow>) -> Result<i64, Failure> {
    Record(row.ok_or(Failure::Corrupt("key ring"))?).int("generation")
}

fn read_key(row: &AnyRow) -> Result<SigningKey, Failure> {
    let row = Record(row);
    let state = row.text("state")?;
    Ok(SigningKey {
        kid: row.text("kid")?,
        alg: row.text("alg")?,
        state: KeyState::ALL
            .into_iter()
            .find(|known| known.name() == state)
            .ok_or(Failure::Corrupt("state"))?,
        public_jwk: row.text("public_jwk")?,
        private: row.maybe_text("private")?,
        max_lifetime: row.number("max_lifetime")?,
        staged_at: row.time("staged_at")?,
        activated_at: row.maybe_time("activated_at")?,
        retiring_at: row.maybe_time("retiring_at")?,
        publish_until: row.maybe_time("publish_until")?,
        retired_at: row.maybe_time("retired_at")?,
        revoked_at: row.maybe_time("revoked_at")?,
    })
}
