//! Clients.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::row::{Failure, Record, id, joined};
use super::{SqlStore, Step, query};
use crate::store::{Client, Clients, StoreResult};

const ADD: &str = "INSERT INTO clients (id, name, audiences, scopes, access_lifetime, created_at) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING";

const BY_NAME: &str = "SELECT * FROM clients WHERE name = $1";

const SET: &str = "UPDATE clients SET audiences = $2, scopes = $3, access_lifetime = $4 WHERE id = $1";

impl Clients for SqlStore {
    async fn add_client(&self, client: &Client) -> StoreResult<bool> {
        self.step(Step::add_client, || async move {
            let add = query(ADD)
                .bind(id(client.id))
                .bind(&client.name)
                .bind(joined(&client.audiences)?)
                .bind(joined(&client.scopes)?)
                .bind(client.access_lifetime.map(i64::from))
                .bind(client.created_at.0);
            Ok(self.write(add).await? == 1)
        })
        .await
    }

    async fn client(&self, name: &str) -> StoreResult<Option<Client>> {
        self.step(Step::client, || async move {
            // PostgreSQL has no NUL in text and would call it an error; no client is called so.
            let name = if name.contains('\0') { "" } else { name };
            let row = self.read_one(query(BY_NAME).bind(name)).await?;
            row.map(|row| read_client(&row)).transpose()
        })
        .await
    }

    async fn clients(&self) -> StoreResult<Vec<Client>> {
        self.step(Step::clients, || async move {
            let rows = self.read(query("SELECT * FROM clients")).await?;
            let mut clients = rows.iter().map(read_client).collect::<Result<Vec<_>, _>>()?;
            // Here, because the engines do not sort text alike.
            clients.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(clients)
        })
        .await
    }

    async fn set_client(&self, client: &Client) -> StoreResult<bool> {
        self.step(Step::set_client, || async move {
            let set = query(SET)
                .bind(id(client.id))
                .bind(joined(&client.audiences)?)
                .bind(joined(&client.scopes)?)
                .bind(client.access_lifetime.map(i64::from));
            Ok(self.write(set).await? == 1)
        })
        .await
    }

    async fn delete_client(&self, client: Uuid) -> StoreResult<bool> {
        self.step(Step::delete_client, || async move {
            let delete = query("DELETE FROM clients WHERE id = $1").bind(id(client));
            Ok(self.write(delete).await? == 1)
        })
        .await
    }
}

fn read_client(row: &AnyRow) -> Result<Client, Failure> {
    let row = Record(row);
    Ok(Client {
        id: row.uuid("id")?,
        name: row.text("name")?,
        audiences: row.list("audiences")?,
        scopes: row.list("scopes")?,
        access_lifetime: row.maybe_number("access_lifetime")?,
        created_at: row.time("created_at")?,
    })
}
