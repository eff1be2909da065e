//! Clients: the directory that requests look into, and what a client's tokens may carry.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use keyward_verifier::Scopes;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::store::{Client, Clients, StoreResult};

/// The client that requests without `client_id` belong to.
pub const FIRST_PARTY: &str = "web";

/// A stranger's unknown name makes the directory ask the store at most this often, in milliseconds.
const RELOAD_EVERY_MS: i64 = 1_000;

/// All clients in memory, so that a refresh token can be checked before the store is touched.
pub struct Directory {
    known: ArcSwap<Known>,
    reloading: Mutex<()>,
}

#[derive(Default)]
struct Known {
    by_name: HashMap<String, Arc<Client>>,
    by_id: HashMap<Uuid, String>,
    read_at: Option<Timestamp>,
}

impl Directory {
    /// Reads all clients.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(store: &impl Clients, clock: &Clock) -> StoreResult<Directory> {
        let directory = Directory { known: ArcSwap::default(), reloading: Mutex::new(()) };
        directory.reload(store, clock.now()).await?;
        Ok(directory)
    }

    /// Reads all clients anew; called every half second and on an unknown name.
    ///
    /// # Errors
    /// The store's; the old directory stays.
    pub async fn reload(&self, store: &impl Clients, now: Timestamp) -> StoreResult<()> {
        let mut known = Known { read_at: Some(now), ..Known::default() };
        for client in store.clients().await? {
            known.by_id.insert(client.id, client.name.clone());
            known.by_name.insert(client.name.clone(), Arc::new(client));
        }
        self.known.store(Arc::new(known));
        Ok(())
    }

    /// The client called `name`; a miss asks the store once, for all who wait.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(
        &self,
        name: &str,
        store: &impl Clients,
        clock: &Clock,
    ) -> StoreResult<Option<Arc<Client>>> {
        if let Some(client) = self.known.load().by_name.get(name) {
            return Ok(Some(client.clone()));
        }
        let _one = self.reloading.lock().await;
        let stale = |read_at: Timestamp| clock.now().0.saturating_sub(read_at.0) >= RELOAD_EVERY_MS;
        if self.known.load().read_at.is_none_or(stale) {
            self.reload(store, clock.now()).await?;
        }
        Ok(self.known.load().by_name.get(name).cloned())
    }

    /// The name of the client with this id, if it is known.
    pub fn name_of(&self, id: Uuid) -> Option<String> {
        self.known.load().by_id.get(&id).cloned()
    }
}

/// The client may not have the audience asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAllowed;

/// The audience for a request: the one asked for, else the client's first, else Keyward's own (`None`).
///
/// # Errors
/// [`NotAllowed`] when the client may not have the audience asked for.
pub fn audience_for(client: &Client, asked: Option<&str>, own: &str) -> Result<Option<String>, NotAllowed> {
    match asked {
        None => Ok(client.audiences.first().cloned()),
        Some(asked) if asked == own => Ok(Some(own.into())),
        Some(asked) if client.audiences.iter().any(|a| a == asked) => Ok(Some(asked.into())),
        Some(_) => Err(NotAllowed),
    }
}

/// The scopes that `roles` grant by configuration, narrowed to the client's.
pub fn granted(
    roles: &[String],
    configured: &BTreeMap<String, Vec<String>>,
    client_scopes: &[String],
) -> Scopes {
    let all = client_scopes.iter().any(|scope| scope == "*");
    let names = roles
        .iter()
        .filter_map(|role| configured.get(role))
        .flatten()
        .filter(|scope| all || client_scopes.contains(scope))
        .map(String::as_str)
        .collect::<Vec<_>>();
    Scopes::parse(&names.join(" ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(audiences: &[&str]) -> Client {
        Client {
            id: Uuid::nil(),
            name: "web".into(),
            audiences: audiences.iter().map(|a| (*a).to_owned()).collect(),
            scopes: vec!["*".into()],
            access_lifetime: None,
            created_at: Timestamp(0),
        }
    }

    #[test]
    fn the_default_audience_is_the_clients_first_and_keywards_own_is_always_allowed() {
        let (plain, shop) = (client(&[]), client(&["orders", "billing"]));
        assert_eq!(audience_for(&plain, None, "me"), Ok(None));
        assert_eq!(audience_for(&shop, None, "me"), Ok(Some("orders".into())));
        assert_eq!(audience_for(&shop, Some("billing"), "me"), Ok(Some("billing".into())));
        assert_eq!(audience_for(&shop, Some("me"), "me"), Ok(Some("me".into())));
        assert_eq!(audience_for(&shop, Some("order"), "me"), Err(NotAllowed));
    }

    #[test]
    fn scopes_are_what_roles_grant_and_the_client_may_have() {
        let configured = BTreeMap::from([
            ("user".to_owned(), vec!["account:read".to_owned(), "orders.read".to_owned()]),
            ("admin".to_owned(), vec!["orders.write".to_owned()]),
        ]);
        let roles = vec!["user".to_owned(), "nonsense".to_owned()];
        let of = |client: &[&str]| {
            granted(&roles, &configured, &client.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
                .to_string()
        };
        assert_eq!(of(&["*"]), "account:read orders.read");
        assert_eq!(of(&["orders.read", "orders.write"]), "orders.read");
        assert_eq!(of(&[]), "");
    }
}
