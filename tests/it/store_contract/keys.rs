//! What the store promises of the ring of signing keys.

use super::*;

async fn kept(store: &SqlStore, kid: &str) -> SigningKey {
    store.ring().await.unwrap().keys.into_iter().find(|key| key.kid == kid).unwrap()
}

fn activate(kid: &str) -> RingStep {
    RingStep::Activate { kid: kid.to_owned(), max_lifetime: 900 }
}

contract! {
    async fn the_ring_begins_once(ground) {
        let store = &ground.store;
        assert_eq!(store.ring().await.unwrap(), Ring::default());
        begun(store).await;
        assert_eq!(store.ring_generation().await.unwrap(), 1);
        let active = kept(store, "a").await;
        assert_eq!(active, SigningKey { activated_at: Some(NOW), ..key("a", KeyState::Active) });
        assert_eq!(kept(store, "b").await, key("b", KeyState::Staged));
        let again = RingStep::Begin {
            active: Box::new(key("c", KeyState::Active)),
            staged: Box::new(key("d", KeyState::Staged)),
        };
        for expected in [0, 1] {
            assert_eq!(store.change_ring(expected, &again, NOW).await.unwrap(), Applied::Conflict);
        }
        assert_eq!(store.ring().await.unwrap().keys.len(), 2);
    }

    async fn a_key_lives_from_staged_to_retired(ground) {
        let store = &ground.store;
        begun(store).await;
        assert_eq!(store.change_ring(1, &activate("b"), later(1)).await.unwrap(), Applied::At(2));
        let old = kept(store, "a").await;
        assert_eq!((old.state, old.private, old.retiring_at), (KeyState::Retiring, None, Some(later(1))));
        let new = kept(store, "b").await;
        assert_eq!((new.state, new.max_lifetime, new.activated_at), (KeyState::Active, 900, Some(later(1))));
        assert!(new.private.is_some());
        let retire = RingStep::Retire { kid: "a".to_owned() };
        assert_eq!(store.change_ring(2, &retire, later(2)).await.unwrap(), Applied::At(3));
        let gone = kept(store, "a").await;
        assert_eq!((gone.state, gone.retired_at), (KeyState::Retired, Some(later(2))));
        let publish = RingStep::Publish(Box::new(key("c", KeyState::Staged)));
        assert_eq!(store.change_ring(3, &publish, later(3)).await.unwrap(), Applied::At(4));
        assert_eq!(store.ring_generation().await.unwrap(), 4);
    }

    async fn a_step_whose_precondition_fails_changes_nothing(ground) {
        let store = &ground.store;
        begun(store).await;
        let before = store.ring().await.unwrap();
        let refused = [
            (0, activate("b")),
            (2, activate("b")),
            (1, activate("a")),
            (1, activate("nobody")),
            (1, RingStep::Retire { kid: "a".to_owned() }),
            (1, RingStep::Publish(Box::new(key("a", KeyState::Staged)))),
            (1, RingStep::Publish(Box::new(key("c", KeyState::Active)))),
            (1, RingStep::Publish(Box::new(key("c", KeyState::Revoked)))),
            (1, RingStep::Revoke { kids: words("a nobody"), activate: None, publish: vec![] }),
            (1, RingStep::Revoke { kids: vec![], activate: Some("b".to_owned()), publish: vec![] }),
            (1, RingStep::Revoke { kids: words("a"), activate: Some("a".to_owned()), publish: vec![] }),
            (1, RingStep::Revoke { kids: words("b"), activate: None, publish: vec![key("c", KeyState::Active)] }),
            (1, RingStep::Revoke { kids: words("b"), activate: None, publish: vec![key("b", KeyState::Staged)] }),
        ];
        for (expected, step) in refused {
            assert_eq!(store.change_ring(expected, &step, NOW).await.unwrap(), Applied::Conflict, "{step:?}");
            assert_eq!(store.ring().await.unwrap(), before, "{step:?}");
        }
    }

    async fn a_key_without_a_private_part_is_never_activated(ground) {
        let store = &ground.store;
        begun(store).await;
        let bare = SigningKey { private: None, ..key("c", KeyState::Staged) };
        assert_eq!(store.change_ring(1, &RingStep::Publish(Box::new(bare)), NOW).await.unwrap(), Applied::At(2));
        assert_eq!(store.change_ring(2, &activate("c"), NOW).await.unwrap(), Applied::Conflict);
        assert_eq!(kept(store, "a").await.state, KeyState::Active);
    }

    async fn a_verify_only_import_keeps_no_private_part(ground) {
        let store = &ground.store;
        begun(store).await;
        let imported = SigningKey { publish_until: Some(later(99)), ..key("c", KeyState::Retiring) };
        assert_eq!(store.change_ring(1, &RingStep::Publish(Box::new(imported)), later(1)).await.unwrap(), Applied::At(2));
        let imported = kept(store, "c").await;
        assert_eq!((imported.private, imported.retiring_at), (None, Some(later(1))));
        assert_eq!(imported.publish_until, Some(later(99)));
    }

    async fn algorithms_have_an_active_key_each(ground) {
        let store = &ground.store;
        begun(store).await;
        let other = SigningKey { alg: "EdDSA".to_owned(), ..key("e", KeyState::Staged) };
        assert_eq!(store.change_ring(1, &RingStep::Publish(Box::new(other)), NOW).await.unwrap(), Applied::At(2));
        assert_eq!(store.change_ring(2, &activate("e"), NOW).await.unwrap(), Applied::At(3));
        assert_eq!(kept(store, "a").await.state, KeyState::Active);
        assert_eq!(kept(store, "e").await.state, KeyState::Active);
    }

    async fn of_many_activations_at_once_one_wins(ground) {
        begun(&ground.store).await;
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let store = ground.store.clone();
            tasks.push(tokio::spawn(async move { store.change_ring(1, &activate("b"), NOW).await.unwrap() }));
        }
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                Applied::At(generation) => {
                    assert_eq!(generation, 2);
                    won += 1;
                }
                Applied::Conflict => {}
            }
        }
        assert_eq!(won, 1);
        assert_eq!(ground.store.ring_generation().await.unwrap(), 2);
    }

    async fn a_revoked_key_never_comes_back(ground) {
        let store = &ground.store;
        begun(store).await;
        let revoke = RingStep::Revoke {
            kids: words("a"),
            activate: Some("b".to_owned()),
            publish: vec![key("c", KeyState::Staged)],
        };
        assert_eq!(store.change_ring(1, &revoke, later(1)).await.unwrap(), Applied::At(2));
        let tombstone = kept(store, "a").await;
        assert_eq!((tombstone.state, tombstone.private.as_deref()), (KeyState::Revoked, None));
        assert_eq!(tombstone.revoked_at, Some(later(1)));
        assert_eq!((kept(store, "b").await.state, kept(store, "c").await.state), (KeyState::Active, KeyState::Staged));
        let back = [
            RingStep::Publish(Box::new(key("a", KeyState::Staged))),
            RingStep::Publish(Box::new(key("a", KeyState::Retiring))),
            activate("a"),
            RingStep::Retire { kid: "a".to_owned() },
            RingStep::Revoke { kids: words("a"), activate: None, publish: vec![] },
        ];
        for step in back {
            assert_eq!(store.change_ring(2, &step, NOW).await.unwrap(), Applied::Conflict, "{step:?}");
        }
        assert_eq!(kept(store, "a").await, tombstone);
        let all = RingStep::Revoke {
            kids: words("b c"),
            activate: None,
            publish: vec![key("d", KeyState::Active), key("e", KeyState::Staged)],
        };
        assert_eq!(store.change_ring(2, &all, later(2)).await.unwrap(), Applied::At(3));
        assert_eq!(kept(store, "d").await.activated_at, Some(later(2)));
    }

    async fn max_lifetime_only_grows_and_only_on_an_active_key(ground) {
        let store = &ground.store;
        begun(store).await;
        assert!(store.raise_max_lifetime("a", 700).await.unwrap());
        assert!(store.raise_max_lifetime("a", 650).await.unwrap());
        assert_eq!(kept(store, "a").await.max_lifetime, 700);
        assert!(!store.raise_max_lifetime("b", 700).await.unwrap());
        assert!(!store.raise_max_lifetime("nobody", 700).await.unwrap());
        assert_eq!(store.ring_generation().await.unwrap(), 1);
    }

    async fn signed_tokens_are_counted_per_key(ground) {
        let store = &ground.store;
        begun(store).await;
        store.note_signed("a", 3, 500).await.unwrap();
        store.note_signed("a", 4, 400).await.unwrap();
        store.note_signed("b", u64::MAX, u64::MAX).await.unwrap();
        store.note_signed("b", u64::MAX, u64::MAX).await.unwrap();
        store.note_signed("nobody", 1, 1).await.unwrap();
        let counts = store.signed_counts().await.unwrap();
        assert_eq!(counts.get("a"), Some(&(7, 500)));
        assert_eq!(counts.len(), 2);
        assert_eq!(store.ring_generation().await.unwrap(), 1);
    }
}
