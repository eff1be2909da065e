//! Sessions: beginning, the judging of refresh tokens, ending, forgetting.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::accounts::{account_columns, end_all_but, read_account};
use super::limits::{TAKE_BACK, counting, delay, recording};
use super::row::{Failure, Record, id, joined, printable};
use super::{Change, Query, SqlStore, Step, changed, first, query};
use crate::clock::Timestamp;
use crate::store::{
    Account, Advance, AuditEvent, Concluded, EndReason, Incidents, Judged, Live, Presented, Session,
    Sessions, StoreResult,
};

macro_rules! session_columns {
    () => {
        "sessions.id AS session_id, sessions.account_id AS session_account, sessions.client_id AS session_client, \
         sessions.audience AS session_audience, sessions.scope AS session_scope, \
         sessions.counter AS session_counter, sessions.rotated_at AS session_rotated_at, \
         sessions.key_id AS session_key_id, sessions.epoch AS session_epoch, \
         sessions.auth_time AS session_auth_time, sessions.amr AS session_amr, \
         sessions.created_at AS session_created_at, sessions.last_used_at AS session_last_used_at, \
         sessions.idle_expires_at AS session_idle_expires_at, sessions.expires_at AS session_expires_at, \
         sessions.ended_at AS session_ended_at, sessions.end_reason AS session_end_reason, \
         sessions.source AS session_source, sessions.device AS session_device"
    };
}

/// Holds the account still until the session stands: a disabling or password change comes wholly before or after.
/// SQLite's writer is alone anyway.
const HOLD_ACCOUNT: &str = "UPDATE accounts SET session_epoch = session_epoch \
     WHERE id = $1 AND enabled = 1 AND session_epoch = $2";

const START: &str = "INSERT INTO sessions (id, account_id, client_id, audience, scope, counter, rotated_at, key_id, \
     epoch, auth_time, amr, created_at, last_used_at, idle_expires_at, expires_at, source, device, outcome) \
     SELECT $1, $2, clients.id, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 'started' \
     FROM clients JOIN accounts ON accounts.id = $2 AND accounts.enabled = 1 AND accounts.session_epoch = $9 \
     WHERE clients.id = $3";

/// The counter moves: the presented one is ahead, or current and its grace is over (`$5` = now − grace). A clock that
/// once ran ahead by more than `$10` − now left a time in the future, which is no grace: the next refresh heals it.
macro_rules! moves {
    () => {
        "($2 > counter OR ($2 = counter AND (rotated_at <= $5 OR rotated_at > $10)))"
    };
}

/// The presented counter is spent: one behind after the grace, or further behind.
macro_rules! spent {
    () => {
        "($2 < counter - 1 OR ($2 = counter - 1 AND rotated_at <= $5))"
    };
}

/// What is not done without a record of it, unless `$11` says that there will be one.
macro_rules! incident {
    () => {
        concat!("($2 > counter OR ", spent!(), ")")
    };
}

/// The outcome table of the design as one statement. Expressions on the right see the row as it was. A spent token
/// ends the session whatever audience it asks for.
const ADVANCE: &str = concat!(
    "UPDATE sessions SET outcome = CASE WHEN $2 > counter THEN 'healed' WHEN ",
    moves!(),
    " THEN 'advanced' WHEN ",
    spent!(),
    " THEN 'reused' ELSE 'same' END, counter = CASE WHEN $2 > counter THEN $2 WHEN ",
    moves!(),
    " THEN $2 + 1 ELSE counter END, rotated_at = CASE WHEN ",
    moves!(),
    " THEN $4 ELSE rotated_at END, last_used_at = CASE WHEN ",
    moves!(),
    " THEN $4 ELSE last_used_at END, key_id = CASE WHEN ",
    moves!(),
    " THEN $7 ELSE key_id END, idle_expires_at = CASE WHEN NOT ",
    moves!(),
    " THEN idle_expires_at WHEN $6 < expires_at THEN $6 ELSE expires_at END, ended_at = CASE WHEN ",
    spent!(),
    " THEN $4 END, end_reason = CASE WHEN ",
    spent!(),
    " THEN 'reuse' END \
     WHERE id = $1 AND client_id = $3 AND ended_at IS NULL AND $4 < idle_expires_at AND $4 < expires_at \
     AND EXISTS (SELECT 1 FROM accounts WHERE accounts.id = sessions.account_id AND accounts.enabled = 1 \
         AND accounts.session_epoch = sessions.epoch) \
     AND ($11 = 1 OR NOT ",
    incident!(),
    ") AND (",
    spent!(),
    " OR COALESCE($8, sessions.audience, $9) = $9 OR EXISTS (SELECT 1 FROM clients \
         WHERE clients.id = sessions.client_id AND COALESCE($8, sessions.audience) <> '' \
         AND replace(' ' || clients.audiences || ' ', ' ' || COALESCE($8, sessions.audience) || ' ', '') \
             <> ' ' || clients.audiences || ' ')) \
     RETURNING ",
    session_columns!(),
    ", sessions.outcome AS outcome, \
     (SELECT roles FROM accounts WHERE accounts.id = sessions.account_id) AS account_roles, \
     (SELECT scopes FROM clients WHERE clients.id = sessions.client_id) AS client_scopes, \
     (SELECT access_lifetime FROM clients WHERE clients.id = sessions.client_id) AS client_access_lifetime"
);

const DIAGNOSE: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", accounts.enabled AS account_enabled, accounts.session_epoch AS account_epoch, \
     clients.audiences AS client_audiences, CASE WHEN $4 >= sessions.idle_expires_at OR $4 >= sessions.expires_at \
     THEN 1 ELSE 0 END AS expired, CASE WHEN ",
    incident!(),
    " THEN 1 ELSE 0 END AS incident FROM sessions JOIN accounts ON accounts.id = sessions.account_id \
     JOIN clients ON clients.id = sessions.client_id WHERE sessions.id = $1 AND sessions.client_id = $3"
);

const BY_ID: &str = concat!("SELECT ", session_columns!(), " FROM sessions WHERE id = $1");

/// `$2` is now.
const ALIVE: &str = concat!(
    "SELECT ",
    session_columns!(),
    ", ",
    account_columns!(),
    " FROM sessions JOIN accounts ON accounts.id = sessions.account_id AND accounts.enabled = 1 \
     AND accounts.session_epoch = sessions.epoch WHERE sessions.id = $1 AND sessions.ended_at IS NULL \
     AND $2 < sessions.idle_expires_at AND $2 < sessions.expires_at"
);

const ALIVE_OF: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM sessions JOIN accounts ON accounts.id = sessions.account_id AND accounts.enabled = 1 \
     AND accounts.session_epoch = sessions.epoch WHERE sessions.account_id = $1 AND sessions.ended_at IS NULL \
     AND $2 < sessions.idle_expires_at AND $2 < sessions.expires_at \
     ORDER BY sessions.created_at DESC, sessions.id DESC LIMIT $3"
);

const END: &str = "UPDATE sessions SET ended_at = $3, end_reason = $4 \
     WHERE id = $1 AND ended_at IS NULL AND ($2 IS NULL OR account_id = $2)";

const RAISE_EPOCH: &str =
    "UPDATE accounts SET session_epoch = session_epoch + 1, updated_at = $2 WHERE id = $1";

const END_ALL: &str = "UPDATE sessions SET ended_at = $1, end_reason = $2 WHERE ended_at IS NULL";

/// Idle expiry is never after the absolute one, so it alone tells what has expired.
const SWEEP: &str = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions \
     WHERE idle_expires_at < $1 OR (ended_at IS NOT NULL AND ended_at < $1) LIMIT $2)";

impl Sessions for SqlStore {
    async fn conclude_login(&self, judged: &Judged<'_>) -> StoreResult<Concluded> {
        let (subject, pace) = judged.account;
        self.step(Step::conclude_login, || async move {
            let mut step = self.begin().await?;
            if first(counting(subject, pace, judged.now), &mut *step).await?.is_none() {
                let delay = first(delay(subject, judged.now), &mut *step).await?;
                step.rollback().await?;
                // Over since the first statement looked: then the next login is considered at once.
                let until = delay.map(|row| Record(&row).time("not_before")).transpose()?;
                return Ok(Concluded::NotBefore(until.unwrap_or(judged.now)));
            }
            let outcome = match judged.session {
                None => Concluded::Failed,
                Some(session) if start(session, &mut step).await? => {
                    query(TAKE_BACK).bind(subject).bind(judged.source).execute(&mut *step).await?;
                    Concluded::Started
                }
                Some(_) => Concluded::AccountMoved,
            };
            match outcome {
                Concluded::Started => step.commit().await?,
                _ => step.commit_unnoted().await?,
            }
            Ok(outcome)
        })
        .await
    }

    async fn advance(&self, presented: &Presented<'_>) -> StoreResult<Advance> {
        self.step(Step::advance, || async move {
            // The second statement can find that its reason has just gone away; then the first is due again.
            for _ in 0..3 {
                let moved = match &presented.incidents {
                    None => self.write_returning(bind_advance(presented)).await?.first().map(read_advance),
                    Some(incidents) => advance_on_record(self, presented, incidents).await?,
                };
                if let Some(outcome) = moved {
                    return outcome;
                }
                if let Some(refused) = diagnose(self, presented).await? {
                    return Ok(refused);
                }
            }
            Err(Failure::Refused("the session changed under every attempt"))
        })
        .await
    }

    async fn session(&self, session: Uuid) -> StoreResult<Option<Session>> {
        self.step(Step::session, || async move {
            let row = self.read_one(query(BY_ID).bind(id(session))).await?;
            row.map(|row| read_session(&row)).transpose()
        })
        .await
    }

    async fn live_session(&self, session: Uuid, now: Timestamp) -> StoreResult<Option<(Session, Account)>> {
        self.step(Step::live_session, || async move {
            let row = self.read_one(query(ALIVE).bind(id(session)).bind(now.0)).await?;
            row.map(|row| Ok((read_session(&row)?, read_account(&row)?))).transpose()
        })
        .await
    }

    async fn sessions_of(&self, account: Uuid, now: Timestamp, limit: u32) -> StoreResult<Vec<Session>> {
        self.step(Step::sessions_of, || async move {
            let alive = query(ALIVE_OF).bind(id(account)).bind(now.0).bind(i64::from(limit));
            self.read(alive).await?.iter().map(read_session).collect()
        })
        .await
    }

    async fn end_session(
        &self,
        session: Uuid,
        owner: Option<Uuid>,
        reason: EndReason,
        now: Timestamp,
    ) -> StoreResult<bool> {
        self.step(Step::end_session, || async move {
            let end = query(END).bind(id(session)).bind(owner.map(id)).bind(now.0).bind(reason.name());
            Ok(self.write(end).await? == 1)
        })
        .await
    }

    async fn end_sessions_of(&self, account: Uuid, reason: EndReason, now: Timestamp) -> StoreResult<u64> {
        self.step(Step::end_sessions_of, || async move {
            let mut step = self.begin().await?;
            if changed(query(RAISE_EPOCH).bind(id(account)).bind(now.0), &mut *step).await? == 0 {
                step.rollback().await?;
                return Ok(0);
            }
            let ended = changed(end_all_but(None, account, reason, now), &mut *step).await?;
            step.commit().await?;
            Ok(ended)
        })
        .await
    }

    async fn end_all_sessions(&self, reason: EndReason, now: Timestamp) -> StoreResult<u64> {
        self.step(Step::end_all_sessions, || async move {
            self.write(query(END_ALL).bind(now.0).bind(reason.name())).await
        })
        .await
    }

    async fn sweep_sessions(&self, before: Timestamp, limit: u32) -> StoreResult<u64> {
        self.step(Step::sweep_sessions, || async move {
            self.write(query(SWEEP).bind(before.0).bind(i64::from(limit))).await
        })
        .await
    }
}

/// Inserts the session, if its account is as it was read and its client is there.
async fn start(session: &Session, step: &mut Change<'_>) -> Result<bool, Failure> {
    if step.needs_row_locks() {
        let hold = query(HOLD_ACCOUNT).bind(id(session.account)).bind(session.epoch);
        hold.execute(&mut **step).await?;
    }
    let start = query(START)
        .bind(id(session.id))
        .bind(id(session.account))
        .bind(id(session.client))
        .bind(&session.audience)
        .bind(&session.scope)
        .bind(i64::from(session.counter))
        .bind(session.rotated_at.0)
        .bind(i64::from(session.key_id))
        .bind(session.epoch)
        .bind(session.auth_time.0)
        .bind(joined(&session.amr)?)
        .bind(session.created_at.0)
        .bind(session.last_used_at.0)
        .bind(session.idle_expires_at.min(session.expires_at).0)
        .bind(session.expires_at.0)
        .bind(printable(&session.source))
        .bind(printable(&session.device));
    Ok(changed(start, &mut **step).await? == 1)
}

/// The audience asked for, in a form that can be compared: one with a space or NUL in it is nobody's, like the empty.
fn asked<'a>(presented: &Presented<'a>) -> Option<&'a str> {
    presented.audience.map(|audience| if audience.contains([' ', '\0']) { "" } else { audience })
}

fn bind_advance(presented: &Presented<'_>) -> Query {
    query(ADVANCE)
        .bind(id(presented.session))
        .bind(i64::from(presented.counter))
        .bind(id(presented.client))
        .bind(presented.now.0)
        .bind(presented.now.0.saturating_sub(presented.grace_ms))
        .bind(presented.now.0.saturating_add(presented.idle_ms))
        .bind(i64::from(presented.key_id))
        .bind(asked(presented))
        .bind(presented.own_audience)
        .bind(presented.now.0.saturating_add(presented.skew_ms))
        .bind(i64::from(presented.incidents.is_some()))
}

/// As [`ADVANCE`] by itself, and an incident is recorded with what it changed.
async fn advance_on_record(
    store: &SqlStore,
    presented: &Presented<'_>,
    incidents: &Incidents<'_>,
) -> Result<Option<Result<Advance, Failure>>, Failure> {
    let mut step = store.begin().await?;
    let Some(row) = first(bind_advance(presented), &mut *step).await? else {
        step.rollback().await?;
        return Ok(None);
    };
    let outcome = read_advance(&row)?;
    let incident = match &outcome {
        Advance::Reused(session) => Some((incidents.reused, session)),
        Advance::Healed(live) => Some((incidents.healed, &live.session)),
        _ => None,
    };
    if let Some((event, session)) = incident {
        let event = AuditEvent { account: Some(session.account), session: Some(session.id), ..event.clone() };
        recording(&event).execute(&mut *step).await?;
    }
    step.commit().await?;
    Ok(Some(Ok(outcome)))
}

fn read_advance(row: &AnyRow) -> Result<Advance, Failure> {
    let session = read_session(row)?;
    let record = Record(row);
    let outcome: fn(Live) -> Advance = match record.text("outcome")?.as_str() {
        "reused" => return Ok(Advance::Reused(session)),
        "advanced" => Advance::Advanced,
        "same" => Advance::Same,
        "healed" => Advance::Healed,
        _ => return Err(Failure::Corrupt("outcome")),
    };
    Ok(outcome(Live {
        session,
        roles: record.list("account_roles")?,
        client_scopes: record.list("client_scopes")?,
        access_lifetime: record.maybe_number("client_access_lifetime")?,
    }))
}

/// Why [`ADVANCE`] found nothing to do; `None` when by now it would.
async fn diagnose(store: &SqlStore, presented: &Presented<'_>) -> Result<Option<Advance>, Failure> {
    let read = query(DIAGNOSE)
        .bind(id(presented.session))
        .bind(i64::from(presented.counter))
        .bind(id(presented.client))
        .bind(presented.now.0)
        .bind(presented.now.0.saturating_sub(presented.grace_ms));
    let Some(row) = store.read_one(read).await? else { return Ok(Some(Advance::Unknown)) };
    let session = read_session(&row)?;
    let record = Record(&row);
    if let Some((_, reason)) = session.ended {
        return Ok(Some(Advance::Ended(reason)));
    }
    if record.flag("expired")? {
        return Ok(Some(Advance::Expired));
    }
    if !record.flag("account_enabled")? || record.int("account_epoch")? != session.epoch {
        return Ok(Some(Advance::AccountMoved));
    }
    if record.flag("incident")? {
        return Ok(presented.incidents.is_none().then_some(Advance::Incident));
    }
    let allowed = match asked(presented).or(session.audience.as_deref()) {
        None => true,
        Some(audience) if audience == presented.own_audience => true,
        Some(audience) => record.list("client_audiences")?.iter().any(|of_client| of_client == audience),
    };
    Ok((!allowed).then_some(Advance::AudienceNotAllowed))
}

fn read_session(row: &AnyRow) -> Result<Session, Failure> {
    let row = Record(row);
    let ended = match (row.maybe_time("session_ended_at")?, row.maybe_text("session_end_reason")?) {
        (None, None) => None,
        (Some(at), Some(name)) => {
            let reason = EndReason::ALL.into_iter().find(|reason| reason.name() == name);
            Some((at, reason.ok_or(Failure::Corrupt("session_end_reason"))?))
        }
        _ => return Err(Failure::Corrupt("session_ended_at")),
    };
    Ok(Session {
        id: row.uuid("session_id")?,
        account: row.uuid("session_account")?,
        client: row.uuid("session_client")?,
        audience: row.maybe_text("session_audience")?,
        scope: row.text("session_scope")?,
        counter: row.number("session_counter")?,
        rotated_at: row.time("session_rotated_at")?,
        key_id: row.number("session_key_id")?,
        epoch: row.int("session_epoch")?,
        auth_time: row.time("session_auth_time")?,
        amr: row.list("session_amr")?,
        created_at: row.time("session_created_at")?,
        last_used_at: row.time("session_last_used_at")?,
        idle_expires_at: row.time("session_idle_expires_at")?,
        expires_at: row.time("session_expires_at")?,
        ended,
        source: row.text("session_source")?,
        device: row.text("session_device")?,
    })
}
