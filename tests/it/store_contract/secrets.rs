//! What the store promises of root secrets and data keys.

use super::*;

contract! {
    async fn two_versions_of_a_secret_live_at_a_time(ground) {
        let store = &ground.store;
        assert!(store.secrets("refresh").await.unwrap().is_empty());
        assert!(store.add_secret(&secret(1), 0, 2).await.unwrap());
        assert!(!store.add_secret(&secret(1), 0, 2).await.unwrap());
        assert!(!store.add_secret(&secret(3), 1, 2).await.unwrap(), "a version cannot be left out");
        assert!(store.add_secret(&secret(2), 1, 2).await.unwrap());
        assert!(store.add_secret(&secret(3), 2, 2).await.unwrap());
        assert_eq!(store.secrets("refresh").await.unwrap(), vec![secret(3), secret(2)]);
        assert!(store.add_secret(&secret(4), 3, 1).await.unwrap());
        assert_eq!(store.secrets("refresh").await.unwrap(), vec![secret(4)]);
        assert!(store.secrets("other").await.unwrap().is_empty());
    }

    async fn of_many_first_secrets_at_once_one_is_kept(ground) {
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let store = ground.store.clone();
            tasks.push(tokio::spawn(async move { store.add_secret(&secret(1), 0, 2).await.unwrap() }));
        }
        let mut added = 0;
        for task in tasks {
            added += usize::from(task.await.unwrap());
        }
        assert_eq!(added, 1);
    }

    async fn a_namespace_has_one_first_data_key(ground) {
        let store = &ground.store;
        let first = StoredDataKey {
            version: 1,
            namespace: "default".to_owned(),
            suite: 2,
            master_key_id: "m1".to_owned(),
            kcv: "1785c4966aa4b4c0".to_owned(),
            bytes: vec![0, 255, 1, 128],
            active: true,
        };
        assert!(store.data_keys("default").await.unwrap().is_empty());
        assert!(store.add_first_data_key(&first, NOW).await.unwrap());
        let second = StoredDataKey { version: 2, kcv: "00".to_owned(), ..first.clone() };
        assert!(!store.add_first_data_key(&second, NOW).await.unwrap());
        let elsewhere = StoredDataKey { namespace: "other".to_owned(), ..second };
        assert!(store.add_first_data_key(&elsewhere, NOW).await.unwrap());
        assert_eq!(store.data_keys("default").await.unwrap(), vec![first]);
        assert_eq!(store.data_keys("other").await.unwrap(), vec![elsewhere]);
    }
}
