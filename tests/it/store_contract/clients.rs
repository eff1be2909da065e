//! What the store promises of clients.

use super::*;

contract! {
    async fn clients_are_added_changed_and_deleted_with_their_sessions(ground) {
        let store = &ground.store;
        let (_, web, session) = logged_in(store).await;
        assert_eq!(store.client(&web.name).await.unwrap().as_ref(), Some(&web));
        assert!(store.client("a\0b").await.unwrap().is_none());
        assert!(!store.add_client(&Client { id: uuid(), ..web.clone() }).await.unwrap());
        let first = client("aaa");
        assert!(store.add_client(&first).await.unwrap());
        assert_eq!(store.clients().await.unwrap(), vec![first.clone(), web.clone()]);
        let changed = Client { audiences: vec![], scopes: words("*"), access_lifetime: None, ..web.clone() };
        assert!(store.set_client(&changed).await.unwrap());
        assert_eq!(store.client(&web.name).await.unwrap().unwrap(), changed);
        assert!(!store.set_client(&client("bbb")).await.unwrap());
        assert!(store.delete_client(web.id).await.unwrap());
        assert!(!store.delete_client(web.id).await.unwrap());
        assert!(store.session(session.id).await.unwrap().is_none());
    }
}
