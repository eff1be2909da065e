//! Growing delays and the audit trail.

use sqlx::any::AnyRow;

use super::row::{Failure, Record, id, printable};
use super::{Query, SqlStore, Step, query};
use crate::clock::Timestamp;
use crate::store::{Attempt, AuditEvent, Limits, Pace, StoreResult};

/// `$6` = now − forget: older than that and the row counts as a new one. No row comes back while a delay is running;
/// without one the times do not matter, because attempts at once are not written in the order of their clocks.
/// `$2` now, `$3` free failures, `$4` first delay, `$5` longest delay, `$7` the delay after a first failure ever.
const ATTEMPT: &str = "INSERT INTO limits (subject, failures, delay_ms, not_before, last_at) \
     VALUES ($1, 1, $7, $2 + $7, $2) ON CONFLICT (subject) DO UPDATE SET \
     failures = CASE WHEN limits.last_at <= $6 THEN 1 ELSE limits.failures + 1 END, \
     delay_ms = CASE WHEN limits.last_at <= $6 THEN $7 WHEN limits.failures < $3 THEN 0 \
         WHEN limits.delay_ms = 0 THEN $4 WHEN limits.delay_ms * 2 < $5 THEN limits.delay_ms * 2 ELSE $5 END, \
     not_before = $2 + CASE WHEN limits.last_at <= $6 THEN $7 WHEN limits.failures < $3 THEN 0 \
         WHEN limits.delay_ms = 0 THEN $4 WHEN limits.delay_ms * 2 < $5 THEN limits.delay_ms * 2 ELSE $5 END, \
     last_at = $2 \
     WHERE limits.delay_ms = 0 OR limits.not_before <= $2 OR limits.last_at <= $6 RETURNING failures";

const NOT_BEFORE: &str = "SELECT not_before FROM limits WHERE subject = $1 AND not_before > $2";

const CLEAR: &str = "DELETE FROM limits WHERE subject = $1";

/// Halving undoes the doubling; the delay before this attempt had run out, or it would not have been counted.
const FORGIVE: &str = "UPDATE limits SET failures = failures - 1, delay_ms = delay_ms / 2, not_before = 0 \
     WHERE subject = $1 AND failures > 0";

/// All failures of `$1`, as if there never was one, and one of `$2` as in [`FORGIVE`].
pub(super) const TAKE_BACK: &str = "UPDATE limits SET failures = CASE WHEN subject = $1 THEN 0 ELSE failures - 1 END, \
     delay_ms = CASE WHEN subject = $1 THEN 0 ELSE delay_ms / 2 END, not_before = 0 \
     WHERE subject IN ($1, $2) AND failures > 0";

const SWEEP: &str =
    "DELETE FROM limits WHERE subject IN (SELECT subject FROM limits WHERE last_at < $1 LIMIT $2)";

const RECORD: &str = "INSERT INTO audit_events (id, at, kind, account_id, session_id, source, detail) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";

const AUDIT: &str = "SELECT * FROM audit_events ORDER BY at DESC, id DESC LIMIT $1";

const SWEEP_AUDIT: &str =
    "DELETE FROM audit_events WHERE id IN (SELECT id FROM audit_events WHERE at < $1 LIMIT $2)";

/// No delay is longer than this, so that doubling and adding stay within an integer.
const LONGEST: i64 = 1 << 53;

impl Limits for SqlStore {
    async fn attempt(&self, subject: &str, pace: Pace, now: Timestamp) -> StoreResult<Attempt> {
        self.step(Step::attempt, || async move {
            for _ in 0..3 {
                if !self.write_returning(counting(subject, pace, now)).await?.is_empty() {
                    return Ok(Attempt::Allowed);
                }
                // Gone by now when another attempt was found honest in between; then this one counts after all.
                if let Some(row) = self.read_one(delay(subject, now)).await? {
                    return Ok(Attempt::NotBefore(Record(&row).time("not_before")?));
                }
            }
            Err(Failure::Refused("the delay changed under every attempt"))
        })
        .await
    }

    async fn succeed(&self, subject: &str) -> StoreResult<()> {
        self.step(Step::succeed, || async move {
            self.write(query(CLEAR).bind(subject)).await?;
            Ok(())
        })
        .await
    }

    async fn forgive(&self, subject: &str) -> StoreResult<()> {
        self.step(Step::forgive, || async move {
            self.write(query(FORGIVE).bind(subject)).await?;
            Ok(())
        })
        .await
    }

    async fn sweep_limits(&self, before: Timestamp, limit: u32) -> StoreResult<u64> {
        self.step(Step::sweep_limits, || async move {
            self.write(query(SWEEP).bind(before.0).bind(i64::from(limit))).await
        })
        .await
    }

    async fn record(&self, event: &AuditEvent) -> StoreResult<()> {
        self.step(Step::record, || async move {
            self.write(recording(event)).await?;
            Ok(())
        })
        .await
    }

    async fn audit(&self, limit: u32) -> StoreResult<Vec<AuditEvent>> {
        self.step(Step::audit, || async move {
            let rows = self.read(query(AUDIT).bind(i64::from(limit))).await?;
            rows.iter().map(read_event).collect()
        })
        .await
    }

    async fn sweep_audit(&self, before: Timestamp, limit: u32) -> StoreResult<u64> {
        self.step(Step::sweep_audit, || async move {
            self.write(query(SWEEP_AUDIT).bind(before.0).bind(i64::from(limit))).await
        })
        .await
    }
}

/// The statement that counts an attempt; it returns no row while a delay is running.
pub(super) fn counting(subject: &str, pace: Pace, now: Timestamp) -> Query {
    let longest = pace.max_delay_ms.clamp(0, LONGEST);
    let first_delay = pace.first_delay_ms.clamp(0, longest);
    query(ATTEMPT)
        .bind(subject)
        .bind(now.0)
        .bind(i64::from(pace.free))
        .bind(first_delay)
        .bind(longest)
        .bind(now.0.saturating_sub(pace.forget_ms))
        .bind(if pace.free == 0 { first_delay } else { 0 })
}

/// The statement that reads when a running delay ends.
pub(super) fn delay(subject: &str, now: Timestamp) -> Query {
    query(NOT_BEFORE).bind(subject).bind(now.0)
}

pub(super) fn recording(event: &AuditEvent) -> Query {
    query(RECORD)
        .bind(id(event.id))
        .bind(event.at.0)
        .bind(&event.kind)
        .bind(event.account.map(id))
        .bind(event.session.map(id))
        .bind(printable(&event.source))
        .bind(printable(&event.detail))
}

fn read_event(row: &AnyRow) -> Result<AuditEvent, Failure> {
    let row = Record(row);
    Ok(AuditEvent {
        id: row.uuid("id")?,
        at: row.time("at")?,
        kind: row.text("kind")?,
        account: row.maybe_uuid("account_id")?,
        session: row.maybe_uuid("session_id")?,
        source: row.text("source")?,
        detail: row.text("detail")?,
    })
}
