//! Accounts, their identifiers and passwords.

use std::collections::BTreeSet;

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::row::{Failure, Record, id, joined};
use super::{SqlStore, Step, changed, first, query};
use crate::clock::Timestamp;
use crate::store::{Account, Accounts, Credential, EndReason, NewAccount, PasswordChange, StoreResult};

macro_rules! account_columns {
    () => {
        "accounts.id AS account_id, accounts.name AS account_name, accounts.email AS account_email, \
         accounts.roles AS account_roles, accounts.enabled AS account_enabled, \
         accounts.session_epoch AS account_epoch, accounts.created_at AS account_created_at, \
         accounts.password_changed_at AS account_password_changed_at"
    };
}
pub(super) use account_columns;

const ADD: &str = "INSERT INTO accounts (id, name, email, roles, enabled, session_epoch, password, \
     password_changed_at, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";

const ADD_IDENTIFIER: &str =
    "INSERT INTO identifiers (folded, account_id) VALUES ($1, $2) ON CONFLICT (folded) DO NOTHING";

const BY_ID: &str = concat!("SELECT ", account_columns!(), ", accounts.password FROM accounts WHERE id = $1");

const BY_IDENTIFIER: &str = concat!(
    "SELECT ",
    account_columns!(),
    ", accounts.password FROM identifiers JOIN accounts ON accounts.id = identifiers.account_id \
     WHERE identifiers.folded = $1"
);

const PAGE: &str =
    concat!("SELECT ", account_columns!(), " FROM accounts WHERE id > $1 ORDER BY id LIMIT $2");

const ENABLE: &str = "UPDATE accounts SET enabled = 1, updated_at = $2 WHERE id = $1";

const DISABLE: &str =
    "UPDATE accounts SET enabled = 0, session_epoch = session_epoch + 1, updated_at = $2 WHERE id = $1";

const SET_ROLES: &str = "UPDATE accounts SET roles = $2, updated_at = $3 WHERE id = $1";

const SET_PASSWORD: &str = "UPDATE accounts SET password = $2, password_changed_at = $3, updated_at = $3, \
     session_epoch = session_epoch + 1 WHERE id = $1 AND ($4 IS NULL OR password = $4) \
     RETURNING session_epoch AS account_epoch";

const CARRY_OVER: &str = "UPDATE sessions SET epoch = $3 WHERE id = $1 AND account_id = $2 AND epoch = $3 - 1 \
     AND ended_at IS NULL";

/// Also the account's own statement for ending its sessions: all of them when `$4` is null.
pub(super) const END_ALL_BUT: &str = "UPDATE sessions SET ended_at = $2, end_reason = $3 \
     WHERE account_id = $1 AND ended_at IS NULL AND ($4 IS NULL OR id <> $4)";

const REHASH: &str = "UPDATE accounts SET password = $3 WHERE id = $1 AND password = $2";

impl Accounts for SqlStore {
    async fn add_account(&self, new: &NewAccount) -> StoreResult<bool> {
        self.step(Step::add_account, || async move {
            let account = &new.account;
            let mut step = self.begin().await?;
            query(ADD)
                .bind(id(account.id))
                .bind(&account.name)
                .bind(&account.email)
                .bind(joined(&account.roles)?)
                .bind(i64::from(account.enabled))
                .bind(account.session_epoch)
                .bind(&new.password)
                .bind(account.password_changed_at.map(|at| at.0))
                .bind(account.created_at.0)
                .execute(&mut *step)
                .await?;
            // In order, so that two steps with the same identifiers never wait for each other in a circle.
            for folded in new.identifiers.iter().collect::<BTreeSet<_>>() {
                let add = query(ADD_IDENTIFIER).bind(folded).bind(id(account.id));
                if changed(add, &mut *step).await? == 0 {
                    step.rollback().await?;
                    return Ok(false);
                }
            }
            step.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn account(&self, account: Uuid) -> StoreResult<Option<Account>> {
        self.step(Step::account, || async move {
            let row = self.read_one(query(BY_ID).bind(id(account))).await?;
            row.map(|row| read_account(&row)).transpose()
        })
        .await
    }

    async fn credential_by_identifier(&self, folded: &str) -> StoreResult<Option<Credential>> {
        self.step(Step::credential_by_identifier, || async move {
            // PostgreSQL has no NUL in text and would call it an error; it belongs to nobody.
            let folded = if folded.contains('\0') { "" } else { folded };
            let row = self.read_one(query(BY_IDENTIFIER).bind(folded)).await?;
            row.map(|row| read_credential(&row)).transpose()
        })
        .await
    }

    async fn credential(&self, account: Uuid) -> StoreResult<Option<Credential>> {
        self.step(Step::credential, || async move {
            let row = self.read_one(query(BY_ID).bind(id(account))).await?;
            row.map(|row| read_credential(&row)).transpose()
        })
        .await
    }

    async fn accounts(&self, after: Option<Uuid>, limit: u32) -> StoreResult<Vec<Account>> {
        self.step(Step::accounts, || async move {
            let after = after.map(id).unwrap_or_default();
            let page = self.read(query(PAGE).bind(after).bind(i64::from(limit))).await?;
            page.iter().map(read_account).collect()
        })
        .await
    }

    async fn set_enabled(&self, account: Uuid, enabled: bool, now: Timestamp) -> StoreResult<bool> {
        self.step(Step::set_enabled, || async move {
            if enabled {
                return Ok(self.write(query(ENABLE).bind(id(account)).bind(now.0)).await? == 1);
            }
            let mut step = self.begin().await?;
            let found = changed(query(DISABLE).bind(id(account)).bind(now.0), &mut *step).await? == 1;
            if !found {
                step.rollback().await?;
                return Ok(false);
            }
            end_all_but(None, account, EndReason::AccountDisabled, now).execute(&mut *step).await?;
            step.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn set_roles(&self, account: Uuid, roles: &[String], now: Timestamp) -> StoreResult<bool> {
        self.step(Step::set_roles, || async move {
            let set = query(SET_ROLES).bind(id(account)).bind(joined(roles)?).bind(now.0);
            Ok(self.write(set).await? == 1)
        })
        .await
    }

    async fn change_password(&self, change: &PasswordChange<'_>) -> StoreResult<Option<u64>> {
        self.step(Step::change_password, || async move {
            let mut step = self.begin().await?;
            let set = query(SET_PASSWORD)
                .bind(id(change.account))
                .bind(change.sealed)
                .bind(change.now.0)
                .bind(change.expected);
            let Some(row) = first(set, &mut *step).await? else {
                step.rollback().await?;
                return Ok(None);
            };
            let epoch = Record(&row).int("account_epoch")?;
            let mut kept = None;
            if let Some(keep) = change.keep {
                let carry = query(CARRY_OVER).bind(id(keep)).bind(id(change.account)).bind(epoch);
                kept = (changed(carry, &mut *step).await? == 1).then_some(keep);
            }
            let end = end_all_but(kept, change.account, EndReason::PasswordChanged, change.now);
            let ended = changed(end, &mut *step).await?;
            step.commit().await?;
            Ok(Some(ended))
        })
        .await
    }

    async fn rehash_password(&self, account: Uuid, old: &str, new: &str) -> StoreResult<bool> {
        self.step(Step::rehash_password, || async move {
            Ok(self.write(query(REHASH).bind(id(account)).bind(old).bind(new)).await? == 1)
        })
        .await
    }

    async fn delete_account(&self, account: Uuid) -> StoreResult<bool> {
        self.step(Step::delete_account, || async move {
            let delete = query("DELETE FROM accounts WHERE id = $1").bind(id(account));
            Ok(self.write(delete).await? == 1)
        })
        .await
    }
}

/// The statement that ends an account's sessions but `keep`.
pub(super) fn end_all_but(
    keep: Option<Uuid>,
    account: Uuid,
    reason: EndReason,
    now: Timestamp,
) -> super::Query {
    query(END_ALL_BUT).bind(id(account)).bind(now.0).bind(reason.name()).bind(keep.map(id))
}

pub(super) fn read_account(row: &AnyRow) -> Result<Account, Failure> {
    let row = Record(row);
    Ok(Account {
        id: row.uuid("account_id")?,
        name: row.text("account_name")?,
        email: row.maybe_text("account_email")?,
        roles: row.list("account_roles")?,
        enabled: row.flag("account_enabled")?,
        session_epoch: row.int("account_epoch")?,
        created_at: row.time("account_created_at")?,
        password_changed_at: row.maybe_time("account_password_changed_at")?,
    })
}

fn read_credential(row: &AnyRow) -> Result<Credential, Failure> {
    Ok(Credential { account: read_account(row)?, password: Record(row).maybe_text("password")? })
}
