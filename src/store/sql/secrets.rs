//! Sealed root secrets and data keys.

use sqlx::any::AnyRow;

use super::row::{Failure, Record};
use super::{SqlStore, Step, changed, query};
use crate::clock::Timestamp;
use crate::store::{Secrets, StoreResult, StoredDataKey, StoredSecret};

const NEWEST: &str =
    "SELECT name, version, sealed, created_at FROM secrets WHERE name = $1 ORDER BY version DESC LIMIT 2";

const MEET: &str = "INSERT INTO secret_names (name, newest) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING";

const MOVE_ON: &str = "UPDATE secret_names SET newest = newest + 1 WHERE name = $1 AND newest = $2";

const ADD: &str = "INSERT INTO secrets (name, version, sealed, created_at) VALUES ($1, $2, $3, $4)";

const FORGET: &str = "DELETE FROM secrets WHERE name = $1 AND version <= $2";

/// A destroyed key is a tombstone that holds its version; there is nothing in it.
const DATA_KEYS: &str = "SELECT version, namespace, key, kek_id, suite, kcv, active FROM encryption_keys \
     WHERE namespace = $1 AND state <> 'destroyed' ORDER BY version";

const ADD_FIRST: &str = "INSERT INTO encryption_keys (version, namespace, key, kek_id, suite, kcv, active, state, \
     created_at, activated_at) SELECT $1, $2, $3, $4, $5, $6, 1, 'active', $7, $7 \
     WHERE NOT EXISTS (SELECT 1 FROM encryption_keys WHERE namespace = $2) ON CONFLICT DO NOTHING";

impl Secrets for SqlStore {
    async fn secrets(&self, name: &str) -> StoreResult<Vec<StoredSecret>> {
        self.step(Step::secrets, || async move {
            let rows = self.read(query(NEWEST).bind(name)).await?;
            rows.iter().map(read_secret).collect()
        })
        .await
    }

    async fn add_secret(&self, secret: &StoredSecret, expected: u8, keep: u8) -> StoreResult<bool> {
        self.step(Step::add_secret, || async move {
            if expected.checked_add(1) != Some(secret.version) {
                return Ok(false);
            }
            let version = i64::from(secret.version);
            let mut step = self.begin().await?;
            query(MEET).bind(&secret.name).execute(&mut *step).await?;
            let move_on = query(MOVE_ON).bind(&secret.name).bind(i64::from(expected));
            if changed(move_on, &mut *step).await? == 0 {
                step.rollback().await?;
                return Ok(false);
            }
            let add =
                query(ADD).bind(&secret.name).bind(version).bind(&secret.sealed).bind(secret.created_at.0);
            add.execute(&mut *step).await?;
            let forget = query(FORGET).bind(&secret.name).bind(version - i64::from(keep.max(1)));
            forget.execute(&mut *step).await?;
            step.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn data_keys(&self, namespace: &str) -> StoreResult<Vec<StoredDataKey>> {
        self.step(Step::data_keys, || async move {
            let rows = self.read(query(DATA_KEYS).bind(namespace)).await?;
            rows.iter().map(read_data_key).collect()
        })
        .await
    }

    async fn add_first_data_key(&self, key: &StoredDataKey, now: Timestamp) -> StoreResult<bool> {
        self.step(Step::add_first_data_key, || async move {
            let add = query(ADD_FIRST)
                .bind(i64::from(key.version))
                .bind(&key.namespace)
                .bind(key.bytes.as_slice())
                .bind(&key.master_key_id)
                .bind(i64::from(key.suite))
                .bind(&key.kcv)
                .bind(now.0);
            Ok(self.write(add).await? == 1)
        })
        .await
    }
}

fn read_secret(row: &AnyRow) -> Result<StoredSecret, Failure> {
    let row = Record(row);
    Ok(StoredSecret {
        name: row.text("name")?,
        version: row.number("version")?,
        sealed: row.text("sealed")?,
        created_at: row.time("created_at")?,
    })
}

fn read_data_key(row: &AnyRow) -> Result<StoredDataKey, Failure> {
    let row = Record(row);
    Ok(StoredDataKey {
        version: row.number("version")?,
        namespace: row.text("namespace")?,
        suite: row.number("suite")?,
        master_key_id: row.text("kek_id")?,
        kcv: row.text("kcv")?,
        bytes: row.bytes("key")?,
        active: row.flag("active")?,
    })
}
